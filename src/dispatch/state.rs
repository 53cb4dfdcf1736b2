//! Everything durable that dispatch knows. Changed by [`super::evolve()`] only, so that a replay gives the same.
//!
//! Incidents are shared values: a clone of the state costs a few reference counts, which is what lets `decide` try
//! a whole command on a copy. Closed incidents are not here; the journal has them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::audio::Gain;
use crate::domain::configuration::{Configuration, OnLoss, Talkgroup};
use crate::domain::event::Alarm;
use crate::domain::floor::{FloorPolicy, Priority};
use crate::domain::id::{
    AgencyId, AgreementId, BurstId, EmergencyId, GatewayId, IncidentId, LinkId, PatchId, PatchName, TalkgroupId,
    TemplateId, UserId,
};
use crate::domain::incident::{Actor, CutTarget, Direction, Grant, Lease, LinkRequest};
use crate::domain::talker::Alias;
use crate::domain::time::{MonoTime, Now, WallTime};

use super::partings::Partings;

/// Everything durable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The configuration in force.
    pub configuration: Arc<Configuration>,
    /// What a reload would widen, by the agency that must say yes.
    pub proposals: BTreeMap<AgencyId, Proposal>,
    /// Open incidents.
    pub incidents: BTreeMap<IncidentId, Arc<Incident>>,
    /// Open emergencies.
    pub emergencies: BTreeMap<EmergencyId, Emergency>,
    /// Red buttons that are pressed.
    pub cuts: BTreeSet<CutTarget>,
    /// Responsible positions that have been heard of.
    pub positions: BTreeMap<AgencyId, Position>,
    /// Raised and not cleared.
    pub alarms: BTreeSet<Alarm>,
    /// Losses of the journal that a person has confirmed: they are not alarmed about again.
    pub losses_confirmed: BTreeSet<Alarm>,
    /// Bursts that hold the floor of an incident's patch; outlives the patch until the burst's end is known.
    pub talking: BTreeMap<BurstId, BTreeMap<PatchId, Talking>>,
    /// Who was lately linked with whom.
    pub partings: Partings,
    /// Counts the starts of the daemon on this journal.
    pub epoch: u64,
    /// The latest moment any event speaks of.
    pub known: Now,
}

/// A changed file that waits for an agency's yes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    pub configuration: Arc<Configuration>,
    pub what: Vec<String>,
    pub at: Now,
}

/// The scope of a cross-agency session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    pub title: String,
    pub kind: String,
    pub exercise: bool,
    pub host: AgencyId,
    /// To whom the host role is offered.
    pub offered: Option<AgencyId>,
    pub template: Option<TemplateId>,
    pub lease_s: u32,
    pub opened: Now,
    /// Where links go unless they say otherwise.
    pub first: PatchId,
    /// Agencies that accepted, the host among them.
    pub members: BTreeMap<AgencyId, Member>,
    /// Invitations that ring.
    pub invitations: BTreeMap<AgencyId, Invitation>,
    pub patches: BTreeMap<PatchId, Patch>,
    /// A forced close has been announced.
    pub closing: Option<Term>,
}

/// An agency in an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub since: Now,
    /// The agreement that said yes for it.
    pub by: Option<AgreementId>,
    /// Its last shift change.
    #[serde(default)]
    pub hand_over: Option<HandOver>,
}

/// What one shift told the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandOver {
    pub from: UserId,
    /// A name as people say it: nobody checks that it has a token.
    pub to: UserId,
    pub note: String,
    pub at: Now,
}

/// An invitation without an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invitation {
    pub by: Actor,
    pub at: Now,
    pub note: String,
    pub proposed: Vec<LinkRequest>,
    pub escalated: bool,
}

/// A net of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Patch {
    pub name: PatchName,
    pub floor: FloorPolicy,
    /// A talkgroup's number here: stable, and never another's while the patch lives.
    pub parties: BTreeMap<TalkgroupId, u8>,
    pub links: BTreeMap<LinkId, Link>,
    /// When each agency last talked here.
    pub talked: BTreeMap<AgencyId, Now>,
}

/// A talkgroup's place in a patch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    pub talkgroup: TalkgroupId,
    pub owner: AgencyId,
    /// Who linked it, and when.
    pub by: Actor,
    pub since: Now,
    /// The owner's yes; its direction is the owner's latest word.
    pub grant: Grant,
    /// What the host leaves of it.
    pub host_direction: Direction,
    pub gain: Gain,
    pub priority: Priority,
    pub lease: Term,
    /// When the lease was given or last extended.
    pub leased: Now,
    pub hard_end: Term,
    /// Talked or heard last.
    pub used: Option<Now>,
    /// The last warning given (s before the end).
    pub warned_s: Option<u32>,
    /// Past its lease and not cut yet.
    pub overtime: Option<Overtime>,
    pub idle_warned: bool,
    /// The owner says that it was heard, or that it hears.
    pub confirmed_receive: bool,
    pub confirmed_transmit: bool,
    pub isolated: Option<Isolation>,
}

/// An end that no clock step moves: boot time decides, the wall clock is for people and for the next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    pub end: MonoTime,
    pub ends: WallTime,
}

/// A lease that ran out while the link was needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overtime {
    pub since: Now,
    /// Alarms given, one a minute.
    pub minutes: u32,
}

/// One direction of a link is muted because it returned what was sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    pub direction: Direction,
    pub until: Term,
}

/// A talker who needs help.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Emergency {
    pub agency: AgencyId,
    pub talkgroup: TalkgroupId,
    pub talker: Alias,
    pub place: String,
    pub by: Actor,
    pub at: Now,
    pub acknowledged: BTreeMap<AgencyId, Now>,
}

/// Whether someone sits at an agency's responsible position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    Staffed { since: Now },
    Lost { since: Now },
}

/// A burst in a patch of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Talking {
    pub incident: IncidentId,
    pub talkgroup: TalkgroupId,
    pub gateway: GatewayId,
    pub talker: Alias,
    pub emergency: bool,
    pub at: Now,
}

impl Term {
    /// The end of a lease written at this moment.
    pub fn of(lease: Lease, at: Now) -> Self {
        Self { end: at.mono.plus_ms(lease.remaining_ms), ends: lease.ends }
    }
    /// So many milliseconds from now.
    pub fn after(ms: u64, now: Now) -> Self {
        Self::of(Lease::of(ms, now.wall), now)
    }
    /// Time left (ms), zero if it is over.
    pub fn left_ms(self, now: Now) -> u64 {
        self.end.ms_since(now.mono)
    }
    /// As an event carries it.
    pub fn as_lease(self, now: Now) -> Lease {
        Lease { remaining_ms: self.left_ms(now), ends: self.ends }
    }
}

impl Link {
    /// Whether the owner and the host both let it talk into the patch.
    pub fn talks(&self) -> bool {
        self.grant.direction.talks() && self.host_direction.talks() && !self.isolates(Direction::Talk)
    }
    /// Whether the owner and the host both let it hear the patch.
    pub fn hears(&self) -> bool {
        self.grant.direction.hears() && self.host_direction.hears() && !self.isolates(Direction::Listen)
    }
    fn isolates(&self, way: Direction) -> bool {
        self.isolated.is_some_and(|isolation| isolation.direction.covers(way))
    }
}

/// A link with where it is.
#[derive(Clone, Copy, Debug)]
pub struct PlacedLink<'a> {
    pub incident_id: IncidentId,
    pub incident: &'a Incident,
    pub patch_id: PatchId,
    pub patch: &'a Patch,
    pub link_id: LinkId,
    pub link: &'a Link,
}

impl State {
    /// All links of all incidents, in the order of their ids.
    pub fn links(&self) -> impl Iterator<Item = PlacedLink<'_>> {
        self.incidents.iter().flat_map(|(incident_id, incident)| {
            incident.links().map(move |(patch_id, patch, link_id, link)| PlacedLink {
                incident_id: *incident_id,
                incident,
                patch_id,
                patch,
                link_id,
                link,
            })
        })
    }
    /// Where a talkgroup is linked.
    pub fn links_of<'a>(&'a self, talkgroup: &'a TalkgroupId) -> impl Iterator<Item = PlacedLink<'a>> {
        self.links().filter(move |placed| placed.link.talkgroup == *talkgroup)
    }
    /// One link.
    pub fn find_link(&self, link: LinkId) -> Option<PlacedLink<'_>> {
        self.incidents.iter().find_map(|(incident_id, incident)| {
            incident.patches.iter().find_map(|(patch_id, patch)| {
                patch.links.get(&link).map(|found| PlacedLink {
                    incident_id: *incident_id,
                    incident,
                    patch_id: *patch_id,
                    patch,
                    link_id: link,
                    link: found,
                })
            })
        })
    }
    /// The incident a patch belongs to; none for home patches.
    pub fn find_patch(&self, patch: PatchId) -> Option<(IncidentId, &Incident, &Patch)> {
        self.incidents.iter().find_map(|(id, incident)| incident.patches.get(&patch).map(|p| (*id, &**incident, p)))
    }
    /// What was written about a talkgroup.
    pub fn talkgroup(&self, talkgroup: &TalkgroupId) -> Option<&Talkgroup> {
        self.configuration.talkgroups.get(talkgroup)
    }
    /// Whether its owner, or the owner's whole agency, pressed the red button.
    pub fn is_cut(&self, talkgroup: &TalkgroupId) -> bool {
        self.cuts.contains(&CutTarget::Talkgroup(talkgroup.clone()))
            || self.talkgroup(talkgroup).is_some_and(|t| self.cuts.contains(&CutTarget::Agency(t.agency.clone())))
    }
    /// Whether an agency's links pass nothing because nobody sits at its position.
    pub fn is_muted(&self, agency: &AgencyId) -> bool {
        let wants = self.configuration.agencies.get(agency).and_then(|a| a.responsible.as_ref()).map(|r| r.on_loss);
        wants == Some(OnLoss::Mute) && matches!(self.positions.get(agency), Some(Position::Lost { .. }))
    }
    /// Bursts that hold the floor of a patch.
    pub fn talking_in(&self, patch: PatchId) -> impl Iterator<Item = (BurstId, &Talking)> {
        self.talking.iter().filter_map(move |(burst, by_patch)| by_patch.get(&patch).map(|talking| (*burst, talking)))
    }
    /// Open emergencies of talkgroups that are linked in this patch.
    pub fn emergencies_in<'a>(&'a self, patch: &'a Patch) -> impl Iterator<Item = (EmergencyId, &'a Emergency)> {
        self.emergencies
            .iter()
            .filter(|(_, emergency)| patch.links.values().any(|link| link.talkgroup == emergency.talkgroup))
            .map(|(id, emergency)| (*id, emergency))
    }
    /// Whether an emergency is open anywhere in an incident.
    pub fn has_emergency(&self, incident: &Incident) -> bool {
        incident.patches.values().any(|patch| self.emergencies_in(patch).next().is_some())
    }
    /// Agencies that can hear of an emergency: the talker's own, and those linked where its talkgroup is.
    pub fn concerned_by(&self, emergency: &Emergency) -> BTreeSet<AgencyId> {
        self.links_of(&emergency.talkgroup)
            .flat_map(|placed| placed.patch.links.values().map(|link| link.owner.clone()))
            .chain([emergency.agency.clone()])
            .collect()
    }
}

impl Incident {
    /// All links with their patches.
    pub fn links(&self) -> impl Iterator<Item = (PatchId, &Patch, LinkId, &Link)> {
        self.patches.iter().flat_map(|(patch_id, patch)| {
            patch.links.iter().map(move |(link_id, link)| (*patch_id, patch, *link_id, link))
        })
    }
    /// A patch by the name people gave it.
    pub fn patch_named(&self, name: &PatchName) -> Option<(PatchId, &Patch)> {
        self.patches.iter().find(|(_, patch)| patch.name == *name).map(|(id, patch)| (*id, patch))
    }
}
