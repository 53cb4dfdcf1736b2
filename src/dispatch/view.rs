//! The roster: what an agency may see, as plain values for API, console and CLI. Read only; everything in it comes from
//! state and from what media reported. An agency sees its own, the incidents it is in, and its invitations.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::audio::Gain;
use crate::domain::configuration::{Gateway, GatewayKind, PathClass, Security};
use crate::domain::event::Alarm;
use crate::domain::floor::{FloorPolicy, Priority};
use crate::domain::id::{
    AgencyId, BurstId, EmergencyId, GatewayId, IncidentId, LinkId, PatchName, PortId, TalkgroupId, TrunkId, UserId,
};
use crate::domain::incident::{Audience, CutTarget, Direction, LinkRequest};
use crate::domain::talker::Alias;
use crate::domain::time::{MonoTime, Now, WallTime};

use super::live::{Dialled, Live, PortFacts};
use super::sharing::path_of;
use super::state::{HandOver, Incident, Link, PlacedLink, Position, State};

/// All an agency may see at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Roster {
    pub at: WallTime,
    pub agencies: Vec<AgencyView>,
    pub talkgroups: Vec<TalkgroupView>,
    pub incidents: Vec<IncidentView>,
    /// Invitations this agency has not answered.
    pub invitations: Vec<InvitationView>,
    pub emergencies: Vec<EmergencyView>,
    #[schema(value_type = Vec<Object>)]
    pub alarms: Vec<Alarm>,
    pub cuts: Vec<CutTarget>,
    /// What a changed configuration file would widen, waiting for this agency's yes.
    pub proposed: Vec<String>,
    pub trunks: Vec<TrunkView>,
}

/// A PBX or border controller that calls come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrunkView {
    pub trunk: TrunkId,
    /// It answers, and accepts us.
    pub up: bool,
    /// So long (s).
    pub for_s: u64,
}

/// An agency as its partners see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgencyView {
    pub agency: AgencyId,
    pub name: String,
    pub contact_24h: String,
    /// Whether someone sits at its responsible position; none: it has none, or nobody has been heard of.
    pub staffed: Option<bool>,
}

/// A talkgroup and its gateways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TalkgroupView {
    pub talkgroup: TalkgroupId,
    pub agency: AgencyId,
    pub name: String,
    pub coverage: String,
    pub security: Security,
    pub cut: bool,
    pub gateways: Vec<GatewayView>,
}

/// A gateway as media last spoke of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GatewayView {
    pub gateway: GatewayId,
    pub path: PathClass,
    /// `alive`, `lost`, or `unsupervised` if nothing can tell; of a phone `in_call`, `registered` or `away`.
    pub life: Life,
    /// Addresses are shown to the owner only.
    #[schema(value_type = Option<String>)]
    pub listens_on: Option<SocketAddr>,
    #[schema(value_type = Option<String>)]
    pub peer: Option<SocketAddr>,
    pub talking: bool,
    /// Speech has come from it since its legs were opened.
    pub proven_receive: bool,
    /// Audio has been delivered to it.
    pub delivered: bool,
}

/// Liveness by the kind's own sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    Alive,
    Lost,
    Unsupervised,
    /// A phone in a call.
    InCall,
    /// A phone that can be called and is in no call.
    Registered,
    /// A phone that is not known to be anywhere.
    Away,
    /// A line that was told to dial and has heard nothing yet.
    Dialling,
    /// A line whose far side's bell rings.
    Ringing,
    /// A line whose far side has answered and has not confirmed: it hears nobody and nobody hears it.
    Waiting,
}

/// An incident as its members see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IncidentView {
    pub incident: IncidentId,
    pub spoken: String,
    pub title: String,
    pub kind: String,
    pub exercise: bool,
    pub host: AgencyId,
    pub host_offered_to: Option<AgencyId>,
    pub opened: WallTime,
    pub closes_in_s: Option<u64>,
    pub members: Vec<AgencyId>,
    /// Who rings, and for how long (s).
    pub ringing: BTreeMap<AgencyId, u64>,
    /// What the last shift of this agency told the next; an administrator sees every agency's.
    pub hand_overs: Vec<HandOverView>,
    pub patches: Vec<PatchView>,
}

/// A shift change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HandOverView {
    pub agency: AgencyId,
    pub from: UserId,
    pub to: UserId,
    pub note: String,
    pub at: WallTime,
}

/// A net.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PatchView {
    pub name: PatchName,
    pub floor: FloorPolicy,
    pub talkers: Vec<TalkerView>,
    pub links: Vec<LinkView>,
}

/// Who holds the floor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TalkerView {
    pub burst: BurstId,
    pub talkgroup: TalkgroupId,
    pub gateway: GatewayId,
    pub talker: Alias,
    pub emergency: bool,
    pub for_ms: u64,
}

/// A talkgroup's place in a net.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LinkView {
    pub link: LinkId,
    pub spoken: String,
    pub talkgroup: TalkgroupId,
    pub owner: AgencyId,
    pub phase: LinkPhase,
    pub direction: Direction,
    pub hears: bool,
    pub talks: bool,
    pub gain: Gain,
    pub priority: Priority,
    pub lease_left_s: u64,
    pub hard_end_left_s: u64,
    pub overtime_minutes: Option<u32>,
    pub audience: Audience,
    pub path: PathClass,
    pub proven_receive: bool,
    pub proven_transmit: bool,
    /// A net with a secure talkgroup and a path or partner that is not.
    pub not_secure_reason: Option<String>,
}

/// How a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkPhase {
    /// Routed, and a gateway is alive.
    Linked,
    /// Routed; nothing can tell whether the far side lives.
    Unsupervised,
    /// Routed, and every gateway is lost.
    Lost,
    /// Its owner's position is lost and the owner wants silence.
    Muted,
    /// One direction is muted because it returned what was sent to it.
    Isolated,
}

/// An invitation as the invited agency sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InvitationView {
    pub incident: IncidentId,
    pub spoken: String,
    pub title: String,
    pub kind: String,
    pub exercise: bool,
    pub host: AgencyId,
    pub agency: AgencyId,
    pub note: String,
    pub rings_for_s: u64,
    pub proposed: Vec<LinkRequest>,
}

/// An open emergency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EmergencyView {
    pub emergency: EmergencyId,
    pub spoken: String,
    pub agency: AgencyId,
    pub talkgroup: TalkgroupId,
    pub talker: Alias,
    pub place: String,
    pub since: WallTime,
    pub acknowledged: Vec<AgencyId>,
    /// Not one human has acknowledged it at these.
    pub not_confirmed: Vec<AgencyId>,
}

/// Builds the roster for an agency; `None` is the host's administrator, who sees everything.
pub fn roster(
    state: &State,
    live: &Live,
    bound: &BTreeMap<PortId, SocketAddr>,
    agency: Option<&AgencyId>,
    now: Now,
) -> Roster {
    let own = |owner: &AgencyId| agency.is_none_or(|agency| agency == owner);
    let visible: Vec<(&IncidentId, &Incident)> = state
        .incidents
        .iter()
        .map(|(id, incident)| (id, &**incident))
        .filter(|(_, incident)| agency.is_none_or(|agency| incident.members.contains_key(agency)))
        .collect();
    let linked: BTreeSet<&TalkgroupId> =
        visible.iter().flat_map(|(_, incident)| incident.links().map(|(_, _, _, link)| &link.talkgroup)).collect();
    let talkgroups = state.configuration.talkgroups.iter();
    let trunk = |(id, (up, since)): (&TrunkId, &(bool, MonoTime))| TrunkView {
        trunk: id.clone(),
        up: *up,
        for_s: now.mono.ms_since(*since) / 1000,
    };
    Roster {
        at: now.wall,
        trunks: live.trunks.iter().map(trunk).collect(),
        agencies: agencies(state),
        talkgroups: talkgroups
            .filter(|(id, talkgroup)| own(&talkgroup.agency) || linked.contains(id))
            .map(|(id, talkgroup)| talkgroup_view(state, live, bound, id, own(&talkgroup.agency)))
            .collect(),
        incidents: visible
            .iter()
            .map(|(id, incident)| incident_view(state, live, (**id, incident), agency, now))
            .collect(),
        invitations: invitations(state, agency, now),
        emergencies: emergencies(state, agency),
        alarms: state.alarms.iter().filter(|alarm| concerns(state, alarm, agency)).cloned().collect(),
        cuts: state
            .cuts
            .iter()
            .filter(|target| agency.is_none_or(|a| owner_of(state, target) == Some(a)))
            .cloned()
            .collect(),
        proposed: state
            .proposals
            .iter()
            .filter(|(owner, _)| own(owner))
            .flat_map(|(_, proposal)| proposal.what.iter().cloned())
            .collect(),
    }
}

fn agencies(state: &State) -> Vec<AgencyView> {
    let view = |(id, agency): (&AgencyId, &crate::domain::configuration::Agency)| AgencyView {
        agency: id.clone(),
        name: agency.name.clone(),
        contact_24h: agency.contact_24h.clone(),
        staffed: state.positions.get(id).map(|position| matches!(position, Position::Staffed { .. })),
    };
    state.configuration.agencies.iter().map(view).collect()
}

fn talkgroup_view(
    state: &State,
    live: &Live,
    bound: &BTreeMap<PortId, SocketAddr>,
    id: &TalkgroupId,
    owns: bool,
) -> TalkgroupView {
    let talkgroup = &state.configuration.talkgroups[id];
    let gateways = state.configuration.gateways.iter().filter(|(_, gateway)| gateway.talkgroup == *id);
    TalkgroupView {
        talkgroup: id.clone(),
        agency: talkgroup.agency.clone(),
        name: talkgroup.name.clone(),
        coverage: talkgroup.coverage.clone(),
        security: talkgroup.security,
        cut: state.is_cut(id),
        gateways: gateways
            .map(|(gateway, configured)| {
                let port = PortId::of_gateway(gateway);
                let facts = live.ports.get(&port);
                GatewayView {
                    gateway: gateway.clone(),
                    // A call may be better than what was promised of it.
                    path: live.calls.get(&port).map_or(configured.kind.path_class(), |call| call.path),
                    life: life(live, gateway, configured),
                    listens_on: bound.get(&port).copied().filter(|_| owns),
                    peer: facts.and_then(|facts| facts.latched).filter(|_| owns),
                    talking: live.talks(port),
                    proven_receive: facts.is_some_and(|facts| facts.proven_at.is_some()),
                    delivered: facts.is_some_and(|facts| facts.delivered_at.is_some()),
                }
            })
            .collect(),
    }
}

fn life(live: &Live, id: &GatewayId, gateway: &Gateway) -> Life {
    let port = PortId::of_gateway(id);
    if matches!(gateway.kind, GatewayKind::Sip(_)) {
        return if live.calls.contains_key(&port) { Life::Alive } else { Life::Lost };
    }
    if gateway.kind.comes_by_call() {
        match live.dialled.get(&port) {
            Some(Dialled::Begun) => return Life::Dialling,
            Some(Dialled::Rings) => return Life::Ringing,
            Some(Dialled::Waits { .. }) => return Life::Waiting,
            Some(Dialled::Confirmed) | None => {}
        }
        return match (live.calls.contains_key(&port), live.registered.contains(id)) {
            (true, _) => Life::InCall,
            (false, true) => Life::Registered,
            (false, false) => Life::Away,
        };
    }
    match live.ports.get(&port).and_then(|facts| facts.alive) {
        Some(true) => Life::Alive,
        Some(false) => Life::Lost,
        None => Life::Unsupervised,
    }
}

fn incident_view(
    state: &State,
    live: &Live,
    (id, incident): (IncidentId, &Incident),
    viewer: Option<&AgencyId>,
    now: Now,
) -> IncidentView {
    let patches = incident.patches.iter().map(|(patch_id, patch)| PatchView {
        name: patch.name.clone(),
        floor: patch.floor,
        talkers: state
            .talking_in(*patch_id)
            .map(|(burst, talking)| TalkerView {
                burst,
                talkgroup: talking.talkgroup.clone(),
                gateway: talking.gateway.clone(),
                talker: talking.talker,
                emergency: talking.emergency,
                for_ms: now.mono.ms_since(talking.at.mono),
            })
            .collect(),
        links: patch
            .links
            .iter()
            .map(|(link_id, link)| {
                let placed =
                    PlacedLink { incident_id: id, incident, patch_id: *patch_id, patch, link_id: *link_id, link };
                link_view(state, live, &placed, now)
            })
            .collect(),
    });
    IncidentView {
        incident: id,
        spoken: id.spoken(),
        title: incident.title.clone(),
        kind: incident.kind.clone(),
        exercise: incident.exercise,
        host: incident.host.clone(),
        host_offered_to: incident.offered.clone(),
        opened: incident.opened.wall,
        closes_in_s: incident.closing.map(|term| term.left_ms(now) / 1000),
        members: incident.members.keys().cloned().collect(),
        ringing: incident.invitations.iter().map(|(a, i)| (a.clone(), now.mono.ms_since(i.at.mono) / 1000)).collect(),
        hand_overs: hand_overs(incident, viewer),
        patches: patches.collect(),
    }
}

fn hand_overs(incident: &Incident, viewer: Option<&AgencyId>) -> Vec<HandOverView> {
    let own = incident.members.iter().filter(|(agency, _)| viewer.is_none_or(|viewer| viewer == *agency));
    own.filter_map(|(agency, member)| {
        let HandOver { from, to, note, at } = member.hand_over.clone()?;
        Some(HandOverView { agency: agency.clone(), from, to, note, at: at.wall })
    })
    .collect()
}

fn link_view(state: &State, live: &Live, placed: &PlacedLink<'_>, now: Now) -> LinkView {
    let link = placed.link;
    let facts = |facts: &dyn Fn(&PortFacts) -> bool| {
        let gateways = state.configuration.gateways.iter().filter(|(_, gateway)| gateway.talkgroup == link.talkgroup);
        gateways.filter_map(|(id, _)| live.ports.get(&PortId::of_gateway(id))).any(facts)
    };
    LinkView {
        link: placed.link_id,
        spoken: placed.link_id.spoken(),
        talkgroup: link.talkgroup.clone(),
        owner: link.owner.clone(),
        phase: phase(state, live, link),
        direction: link.grant.direction,
        hears: link.hears(),
        talks: link.talks(),
        gain: link.gain,
        priority: link.priority,
        lease_left_s: link.lease.left_ms(now) / 1000,
        hard_end_left_s: link.hard_end.left_ms(now) / 1000,
        overtime_minutes: link.overtime.map(|overtime| overtime.minutes),
        audience: link.grant.audience.clone(),
        path: path_of(&state.configuration, &link.talkgroup),
        proven_receive: link.confirmed_receive || facts(&|facts| facts.proven_at.is_some()),
        proven_transmit: link.confirmed_transmit || facts(&|facts| facts.delivered_at.is_some()),
        not_secure_reason: link.grant.not_secure_reason.clone(),
    }
}

/// How a link stands now.
pub fn phase(state: &State, live: &Live, link: &Link) -> LinkPhase {
    if state.is_muted(&link.owner) {
        return LinkPhase::Muted;
    }
    if link.isolated.is_some() {
        return LinkPhase::Isolated;
    }
    let gateways = state.configuration.gateways.iter().filter(|(_, gateway)| gateway.talkgroup == link.talkgroup);
    let lives: Vec<Life> = gateways.map(|(id, gateway)| life(live, id, gateway)).collect();
    if lives.contains(&Life::Alive) || lives.contains(&Life::InCall) {
        LinkPhase::Linked
    } else if lives.contains(&Life::Unsupervised) || !lives.is_empty() && !lives.contains(&Life::Lost) {
        // Phones come and go: that none is in a call is no loss.
        LinkPhase::Unsupervised
    } else {
        LinkPhase::Lost
    }
}

fn invitations(state: &State, agency: Option<&AgencyId>, now: Now) -> Vec<InvitationView> {
    let mut views = Vec::new();
    for (id, incident) in &state.incidents {
        for (invited, invitation) in &incident.invitations {
            if agency.is_some_and(|agency| agency != invited) {
                continue;
            }
            views.push(InvitationView {
                incident: *id,
                spoken: id.spoken(),
                title: incident.title.clone(),
                kind: incident.kind.clone(),
                exercise: incident.exercise,
                host: incident.host.clone(),
                agency: invited.clone(),
                note: invitation.note.clone(),
                rings_for_s: now.mono.ms_since(invitation.at.mono) / 1000,
                proposed: invitation.proposed.clone(),
            });
        }
    }
    views
}

fn emergencies(state: &State, agency: Option<&AgencyId>) -> Vec<EmergencyView> {
    let mut views = Vec::new();
    for (id, emergency) in &state.emergencies {
        let concerned = state.concerned_by(emergency);
        if agency.is_some_and(|agency| !concerned.contains(agency)) {
            continue;
        }
        let acknowledged: Vec<AgencyId> = emergency.acknowledged.keys().cloned().collect();
        views.push(EmergencyView {
            emergency: *id,
            spoken: id.spoken(),
            agency: emergency.agency.clone(),
            talkgroup: emergency.talkgroup.clone(),
            talker: emergency.talker,
            place: emergency.place.clone(),
            since: emergency.at.wall,
            not_confirmed: concerned.into_iter().filter(|agency| !acknowledged.contains(agency)).collect(),
            acknowledged,
        });
    }
    views
}

fn owner_of<'a>(state: &'a State, target: &'a CutTarget) -> Option<&'a AgencyId> {
    match target {
        CutTarget::Agency(agency) => Some(agency),
        CutTarget::Talkgroup(talkgroup) => state.talkgroup(talkgroup).map(|talkgroup| &talkgroup.agency),
    }
}

/// Whether an alarm is an agency's business: its own resources, and whatever concerns the daemon as a whole.
pub fn concerns(state: &State, alarm: &Alarm, agency: Option<&AgencyId>) -> bool {
    let Some(agency) = agency else { return true };
    let of_gateway = |gateway: &GatewayId| {
        state.configuration.gateways.get(gateway).is_some_and(|gateway| {
            let owner = state.talkgroup(&gateway.talkgroup).map(|talkgroup| &talkgroup.agency);
            owner == Some(agency)
        })
    };
    match alarm {
        Alarm::JournalFailing { .. } | Alarm::ShardRebuilt { .. } => true,
        Alarm::StreamSetAside { .. } | Alarm::RecordsLost { .. } => true,
        Alarm::ConfigurationFaulty { .. } | Alarm::TrunkLost { .. } => true,
        Alarm::GatewayLost { gateway }
        | Alarm::GatewayNotOpen { gateway, .. }
        | Alarm::GatewayFloods { gateway }
        | Alarm::StuckReceiver { gateway }
        | Alarm::NoiseWithoutSpeech { gateway } => of_gateway(gateway),
        Alarm::PingPong { gateway, other } => of_gateway(gateway) || of_gateway(other),
        Alarm::NoTransmitter { talkgroup } => {
            state.talkgroup(talkgroup).is_some_and(|talkgroup| talkgroup.agency == *agency)
        }
        Alarm::EmergencyUnacknowledged { emergency, .. } => {
            state.emergencies.get(emergency).is_some_and(|emergency| state.concerned_by(emergency).contains(agency))
        }
        Alarm::Overtime { incident, .. } => {
            state.incidents.get(incident).is_some_and(|incident| incident.members.contains_key(agency))
        }
        // Partners must know that nobody watches over a link.
        Alarm::PositionLost { agency: lost } => {
            lost == agency
                || state.incidents.values().any(|i| i.members.contains_key(lost) && i.members.contains_key(agency))
        }
    }
}
