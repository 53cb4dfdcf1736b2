//! Who may hear whom, as media is told it: compiled from the state, never remembered, so that it cannot drift.
//!
//! One table holds the whole daemon's routes; a shard gets its slice. Every list is in the order of its ids.

mod calls;
mod diff;
mod homing;
mod meet;

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::audio::Gain;
use crate::domain::configuration::{Configuration, Gateway, GatewayKind};
use crate::domain::event::Alarm;
use crate::domain::floor::Priority;
use crate::domain::id::{AgencyId, AgencyKey, GroupId, LegId, LinkId, PatchId, PortId, TalkgroupId};
use crate::domain::incident::PartyClass;
use crate::domain::order::{GroupSpec, LegSpec, PatchSpec, RouteTable};
use crate::domain::port::{PeerRule, PortRole, PortSpec, ShardId};
use crate::domain::talker::Alias;

use super::state::{Incident, Link, Patch, State};

pub use calls::admit_calls;
pub use diff::{Change, diff};
pub use homing::{Homes, patch_home};
pub use meet::{meet, narrows};

/// Parties of one patch: one bit each in a leg's audience.
pub const PARTIES_MAX: usize = 64;

/// Every route the state allows.
pub fn compile(state: &State, shards: u8) -> RouteTable {
    let configuration = &*state.configuration;
    let homes = Homes::of(configuration, shards);
    let mut table = RouteTable::default();
    for (id, gateway) in &configuration.gateways {
        let mut port = port_spec(PortId::of_gateway(id), gateway, homes.of_talkgroup(&gateway.talkgroup));
        // Of gateway, talkgroup and patch the shortest counts; the patch's is its floor's.
        let members_ms = configuration.talkgroups.get(&gateway.talkgroup).map_or(u32::MAX, |t| t.talk_limit_ms);
        port.receive.talk_limit_ms = port.receive.talk_limit_ms.min(members_ms);
        table.ports.push(port);
    }
    for (talkgroup, spec) in &configuration.talkgroups {
        let transmit = spec.transmit.iter().map(PortId::of_gateway).collect();
        table.groups.push(GroupSpec { group: GroupId::of_talkgroup(talkgroup), transmit });
        push_home_patch(&mut table, configuration, talkgroup, &homes, shards);
    }
    let muted = state.alarms.iter().any(Alarm::is_loss);
    for incident in state.incidents.values() {
        for (patch_id, patch) in &incident.patches {
            push_patch(&mut table, state, incident, *patch_id, patch, &homes, shards);
        }
    }
    if muted {
        let home: BTreeSet<PatchId> = configuration.talkgroups.keys().map(PatchId::home_of).collect();
        for leg in table.legs.iter_mut().filter(|leg| !home.contains(&leg.patch)) {
            (leg.hears, leg.talks) = (false, false);
        }
    }
    let mut emergencies = BTreeSet::new();
    for emergency in state.emergencies.values() {
        let carries = |gateway: &&Gateway| gateway.talkgroup == emergency.talkgroup;
        let ports = configuration.gateways.iter().filter(|(_, gateway)| carries(gateway));
        emergencies.extend(ports.map(|(id, _)| (PortId::of_gateway(id), emergency.talker)));
    }
    table.emergencies = emergencies.into_iter().collect();
    sort(&mut table);
    table
}

/// What one shard has to know: its ports and their talkgroups, every patch that it homes or has a leg in, and all
/// legs of those.
pub fn slice(table: &RouteTable, shard: ShardId) -> RouteTable {
    let ports: Vec<PortSpec> = table.ports.iter().filter(|port| port.home == shard).cloned().collect();
    let groups: BTreeSet<GroupId> = ports.iter().filter_map(|port| port.group).collect();
    let reached: BTreeSet<PatchId> =
        table.legs.iter().filter(|leg| leg.port_home == shard).map(|leg| leg.patch).collect();
    let patches: Vec<PatchSpec> =
        table.patches.iter().filter(|patch| patch.home == shard || reached.contains(&patch.patch)).copied().collect();
    let kept: BTreeSet<PatchId> = patches.iter().map(|patch| patch.patch).collect();
    let legs: Vec<LegSpec> = table.legs.iter().filter(|leg| kept.contains(&leg.patch)).copied().collect();
    let known: BTreeSet<PortId> = legs.iter().map(|leg| leg.port).chain(ports.iter().map(|port| port.port)).collect();
    RouteTable {
        ports,
        groups: table.groups.iter().filter(|group| groups.contains(&group.group)).cloned().collect(),
        patches,
        legs,
        emergencies: table.emergencies.iter().filter(|(port, _)| known.contains(port)).copied().collect(),
    }
}

fn port_spec(port: PortId, gateway: &Gateway, home: ShardId) -> PortSpec {
    let peer = match &gateway.kind {
        GatewayKind::Rtp(rtp) => rtp.peer.clone(),
        // Nobody, until a call says who.
        GatewayKind::Sip(_) | GatewayKind::Phone(_) => PeerRule::Latch(Vec::new()),
    };
    PortSpec {
        port,
        home,
        agency: AgencyKey::of(&gateway.agency),
        role: gateway.port.role,
        group: Some(GroupId::of_talkgroup(&gateway.talkgroup)),
        rf_channel: gateway.port.rf_channel.as_ref().map(GroupId::of_rf_channel),
        peer,
        payloads: gateway.port.payloads.clone(),
        events: gateway.port.events,
        extension: gateway.port.extension,
        receive: gateway.port.receive,
        transmit: gateway.port.transmit,
        trim: gateway.port.trim,
        level: gateway.port.level,
        alias: Alias::new(&gateway.port.alias),
        packets_per_second_max: gateway.port.packets_per_second_max,
        silence_max_ms: gateway.kind.silence_max_ms(),
    }
}

/// What all legs of a link have in common.
struct Place {
    link: LinkId,
    patch: PatchId,
    hears: bool,
    talks: bool,
    gain: Gain,
    priority: Priority,
    party: u8,
    audience: u64,
    /// The same for its recorders: an owner is recorded by others only if it ticks that (law 1).
    recorded: u64,
}

fn push_legs(
    table: &mut RouteTable,
    configuration: &Configuration,
    talkgroup: &TalkgroupId,
    homes: &Homes,
    at: &Place,
) {
    for (id, gateway) in configuration.gateways.iter().filter(|(_, gateway)| gateway.talkgroup == *talkgroup) {
        let port = PortId::of_gateway(id);
        let records = gateway.port.role == PortRole::Recorder;
        table.legs.push(LegSpec {
            leg: LegId::of(at.link, port),
            link: at.link,
            patch: at.patch,
            port,
            port_home: homes.of_talkgroup(talkgroup),
            group: Some(GroupId::of_talkgroup(talkgroup)),
            agency: AgencyKey::of(&gateway.agency),
            role: gateway.port.role,
            trim: gateway.port.trim,
            hears: at.hears,
            talks: at.talks && !records && gateway.kind.may_talk(),
            gain: at.gain,
            priority: at.priority,
            party: at.party,
            audience: if records { at.recorded } else { at.audience },
        });
    }
}

/// Members of a talkgroup hear each other with no incident, lease or consent; a red button does not part them.
fn push_home_patch(
    table: &mut RouteTable,
    configuration: &Configuration,
    talkgroup: &TalkgroupId,
    homes: &Homes,
    shards: u8,
) {
    let Some(spec) = configuration.talkgroups.get(talkgroup) else { return };
    let patch = PatchId::home_of(talkgroup);
    let host = AgencyKey::of(&spec.agency);
    table.patches.push(PatchSpec { patch, home: patch_home(patch, shards), host, floor: spec.floor });
    let at = Place {
        link: LinkId::home_of(talkgroup),
        patch,
        hears: true,
        talks: true,
        gain: Gain::UNITY,
        priority: spec.priority_max,
        party: 0,
        audience: 1,
        recorded: 1,
    };
    push_legs(table, configuration, talkgroup, homes, &at);
}

fn push_patch(
    table: &mut RouteTable,
    state: &State,
    incident: &Incident,
    patch_id: PatchId,
    patch: &Patch,
    homes: &Homes,
    shards: u8,
) {
    let host = AgencyKey::of(&incident.host);
    table.patches.push(PatchSpec { patch: patch_id, home: patch_home(patch_id, shards), host, floor: patch.floor });
    for (link_id, link) in &patch.links {
        // The grant is its owner's; a talkgroup that changed hands is nobody's to hear.
        let owned = state.talkgroup(&link.talkgroup).is_some_and(|t| t.agency == link.grant.issuer);
        let cap = state.talkgroup(&link.talkgroup).map_or(Priority::default(), |t| t.priority_max);
        let open = owned && !state.is_muted(&link.owner) && !state.is_cut(&link.talkgroup);
        let at = Place {
            link: *link_id,
            patch: patch_id,
            hears: open && link.hears(),
            talks: open && link.talks(),
            gain: link.gain,
            priority: link.priority.min(cap),
            party: patch.parties.get(&link.talkgroup).copied().unwrap_or(0),
            audience: audience(&state.configuration, patch, link),
            recorded: audience(&state.configuration, patch, link) & recorded(patch, link),
        };
        push_legs(table, &state.configuration, &link.talkgroup, homes, &at);
    }
}

/// The parties of a patch that a link's owner lets hear it and be heard by it. Half of the rule: the other party's
/// owner must have said the same. Whom another agency has dialled is nobody's agency: its owner has to tick that.
pub fn audience(configuration: &Configuration, patch: &Patch, link: &Link) -> u64 {
    let admitted = |agency: &AgencyId| {
        *agency == link.owner
            || link.grant.audience.agencies.contains(agency)
            || link.grant.audience.classes.contains(&PartyClass::LaterAgencies)
    };
    patch
        .links
        .values()
        .filter(|other| admitted(&other.owner))
        .filter(|other| {
            let is_known = other.owner == link.owner || link.grant.audience.classes.contains(&PartyClass::Telephones);
            is_known || configuration.line_of(&other.talkgroup).is_none()
        })
        .filter_map(|other| patch.parties.get(&other.talkgroup))
        .fold(0, |bits, party| bits | 1 << (party & 63))
}

/// The parties of a patch whose owners let recorders of this link's owner hear them.
pub fn recorded(patch: &Patch, link: &Link) -> u64 {
    let ticked =
        |other: &&Link| other.owner == link.owner || other.grant.audience.classes.contains(&PartyClass::Recording);
    let parties = patch.links.values().filter(ticked).filter_map(|other| patch.parties.get(&other.talkgroup));
    parties.fold(0, |bits, party| bits | 1 << (party & 63))
}

fn sort(table: &mut RouteTable) {
    table.ports.sort_by_key(|port| port.port);
    table.groups.sort_by_key(|group| group.group);
    table.patches.sort_by_key(|patch| patch.patch);
    table.legs.sort_by_key(|leg| leg.leg);
}

/// A table's entries by id.
fn by_id<T, I: Ord>(list: &[T], id: impl Fn(&T) -> I) -> BTreeMap<I, &T> {
    list.iter().map(|item| (id(item), item)).collect()
}
