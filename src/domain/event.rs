//! What happened: what the journal keeps, state evolves by and subscribers hear. Events are never refused.
//!
//! No credentials, no audio and no addresses of people stand in events.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::audio::Gain;
use super::configuration::Configuration;
use super::floor::{BurstEnd, FloorPolicy, MissCause, Priority};
use super::id::{
    AgencyId, AgreementId, BurstId, EmergencyId, GatewayId, IncidentId, LinkId, PatchId, PatchName, PositionId,
    TalkgroupId, TemplateId, TrunkId, UserId,
};
use super::incident::{Actor, CutTarget, Direction, Lease, LinkRequest, LinkTerms, PartyClass, UnlinkCause};
use super::report::Suspicion;
use super::talker::Alias;
use super::time::Now;

/// Where an event is kept: one stream per incident, per agency, and one for the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    Node,
    Agency(AgencyId),
    Incident(IncidentId),
}

/// An event with its envelope, as evolve sees it: live or replayed alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    pub stream: Stream,
    pub actor: Actor,
    pub at: Now,
    pub event: Event,
}

/// A net of a new incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenedPatch {
    pub patch: PatchId,
    pub name: PatchName,
    pub floor: FloorPolicy,
}

/// What became of a burst at one gateway that was asked to hear it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardBy {
    pub gateway: GatewayId,
    pub heard_ms: u32,
    pub missed_ms: u32,
    pub missed: Option<MissCause>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    // The node.
    Started {
        version: String,
        epoch: u64,
    },
    Stopped,
    ClockStepped {
        by_ms: i64,
    },
    ConfigurationAdopted {
        configuration: Box<Configuration>,
    },
    ChangeProposed {
        agency: AgencyId,
        configuration: Box<Configuration>,
        what: Vec<String>,
    },
    ChangeConfirmed {
        agency: AgencyId,
    },
    ChangeWithdrawn {
        agency: AgencyId,
    },
    AlarmRaised {
        alarm: Alarm,
    },
    AlarmCleared {
        alarm: Alarm,
    },
    /// An administrator has seen what this alarm says is lost.
    LossConfirmed {
        alarm: Alarm,
        reason: String,
    },

    // An incident's life.
    IncidentOpened {
        incident: IncidentId,
        title: String,
        kind: String,
        exercise: bool,
        host: AgencyId,
        template: Option<TemplateId>,
        patches: Vec<OpenedPatch>,
        lease_s: u32,
    },
    PatchAdded {
        incident: IncidentId,
        patch: OpenedPatch,
    },
    PatchClosed {
        incident: IncidentId,
        patch: PatchId,
    },
    FloorSet {
        incident: IncidentId,
        patch: PatchId,
        floor: FloorPolicy,
    },
    Invited {
        incident: IncidentId,
        agency: AgencyId,
        note: String,
        proposed: Vec<LinkRequest>,
    },
    InvitationEscalated {
        incident: IncidentId,
        agency: AgencyId,
        contact_24h: String,
    },
    Accepted {
        incident: IncidentId,
        agency: AgencyId,
        by: Option<AgreementId>,
    },
    Declined {
        incident: IncidentId,
        agency: AgencyId,
        reason: String,
    },
    Linked {
        incident: IncidentId,
        patch: PatchId,
        terms: Box<LinkTerms>,
    },
    /// A line was told to dial.
    Dialled {
        incident: IncidentId,
        link: LinkId,
        line: GatewayId,
        /// The last digits of the number, enough to tell calls apart: a journal has no addresses of people.
        ends_in: String,
    },
    Adjusted {
        incident: IncidentId,
        link: LinkId,
        direction: Direction,
        gain: Gain,
        priority: Priority,
    },
    Extended {
        incident: IncidentId,
        link: LinkId,
        lease: Lease,
    },
    Admitted {
        incident: IncidentId,
        link: LinkId,
        agencies: BTreeSet<AgencyId>,
        classes: BTreeSet<PartyClass>,
        not_secure_reason: Option<String>,
    },
    ExpiryWarned {
        incident: IncidentId,
        link: LinkId,
        left_s: u32,
    },
    OvertimeBegan {
        incident: IncidentId,
        link: LinkId,
    },
    OvertimeRuns {
        incident: IncidentId,
        link: LinkId,
        minutes: u32,
    },
    IdleWarned {
        incident: IncidentId,
        link: LinkId,
        idle_s: u32,
    },
    Confirmed {
        incident: IncidentId,
        link: LinkId,
        receive: bool,
        transmit: bool,
    },
    Unlinked {
        incident: IncidentId,
        link: LinkId,
        cause: UnlinkCause,
    },
    HostOffered {
        incident: IncidentId,
        to: AgencyId,
    },
    HostTaken {
        incident: IncidentId,
        host: AgencyId,
    },
    HandedOver {
        incident: IncidentId,
        agency: AgencyId,
        from: UserId,
        to: UserId,
        note: String,
        emergencies: Vec<EmergencyId>,
        leases: Vec<LinkId>,
    },
    Left {
        incident: IncidentId,
        agency: AgencyId,
    },
    Removed {
        incident: IncidentId,
        agency: AgencyId,
    },
    /// An emergency came in between; the host closes again when it is over.
    CloseWithdrawn {
        incident: IncidentId,
    },
    CloseWarned {
        incident: IncidentId,
        in_s: u32,
    },
    Closed {
        incident: IncidentId,
    },
    Noted {
        incident: IncidentId,
        agency: AgencyId,
        text: String,
    },
    FloorRevoked {
        incident: IncidentId,
        patch: PatchId,
        burst: Option<BurstId>,
    },
    /// A burst has the floor of a patch of an incident: kept so that a crash cannot leave it without an end.
    TalkBegan {
        incident: IncidentId,
        patch: PatchId,
        burst: BurstId,
        talkgroup: TalkgroupId,
        gateway: GatewayId,
        talker: Alias,
        emergency: bool,
    },
    /// A burst is over in a patch of an incident, with what became of it.
    Talked {
        incident: IncidentId,
        patch: PatchId,
        burst: BurstId,
        talkgroup: TalkgroupId,
        gateway: GatewayId,
        talker: Alias,
        emergency: bool,
        duration_ms: u32,
        end: BurstEnd,
        heard_by: Vec<HeardBy>,
    },
    Isolated {
        incident: IncidentId,
        link: LinkId,
        direction: Direction,
        for_ms: u32,
        suspicion: Suspicion,
    },
    IsolationEnded {
        incident: IncidentId,
        link: LinkId,
    },
    LoopSuspected {
        incident: IncidentId,
        link: LinkId,
        suspicion: Suspicion,
    },

    // An agency's own.
    EmergencyDeclared {
        emergency: EmergencyId,
        agency: AgencyId,
        talkgroup: TalkgroupId,
        talker: Alias,
        place: String,
    },
    EmergencyAcknowledged {
        emergency: EmergencyId,
        agency: AgencyId,
    },
    EmergencyCleared {
        emergency: EmergencyId,
        reason: String,
    },
    CutMade {
        agency: AgencyId,
        target: CutTarget,
    },
    CutLifted {
        agency: AgencyId,
        target: CutTarget,
    },
    PositionStaffed {
        agency: AgencyId,
        position: PositionId,
    },
    PositionLost {
        agency: AgencyId,
        position: PositionId,
    },
}

/// Something a person must look at; raised once and cleared once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "alarm")]
pub enum Alarm {
    /// Cuts are in force that the journal does not know.
    JournalFailing {
        cause: String,
    },
    /// A stream's chain is broken and it lies aside: nothing crosses agency borders until its loss is confirmed.
    StreamSetAside {
        stream: String,
        /// A new stream of the same name has another.
        #[serde(default)]
        number: i64,
    },
    /// Records from one position to another were answered once and are gone: the same.
    RecordsLost {
        first: u64,
        last: u64,
    },
    /// Running on the configuration of the journal because the file is faulty.
    ConfigurationFaulty {
        faults: u32,
    },
    ShardRebuilt {
        shard: u8,
    },
    GatewayLost {
        gateway: GatewayId,
    },
    /// The system gives it no sockets, in its own words.
    GatewayNotOpen {
        gateway: GatewayId,
        cause: String,
    },
    /// No address of it answers, or none accepts us: calls through it fail.
    TrunkLost {
        trunk: TrunkId,
    },
    /// It sends more packets than it may.
    GatewayFloods {
        gateway: GatewayId,
    },
    NoTransmitter {
        talkgroup: TalkgroupId,
    },
    StuckReceiver {
        gateway: GatewayId,
    },
    NoiseWithoutSpeech {
        gateway: GatewayId,
    },
    PingPong {
        gateway: GatewayId,
        other: GatewayId,
    },
    EmergencyUnacknowledged {
        emergency: EmergencyId,
        agency: AgencyId,
    },
    PositionLost {
        agency: AgencyId,
    },
    /// A lease ran out while its link was needed.
    Overtime {
        incident: IncidentId,
        link: LinkId,
    },
}

impl Alarm {
    /// Whether history is lost: what was taken may be among it, so nothing crosses agency borders while it stands.
    pub const fn is_loss(&self) -> bool {
        match self {
            Alarm::StreamSetAside { .. } | Alarm::RecordsLost { .. } => true,
            Alarm::JournalFailing { .. }
            | Alarm::ConfigurationFaulty { .. }
            | Alarm::ShardRebuilt { .. }
            | Alarm::GatewayLost { .. }
            | Alarm::GatewayNotOpen { .. }
            | Alarm::TrunkLost { .. }
            | Alarm::GatewayFloods { .. }
            | Alarm::NoTransmitter { .. }
            | Alarm::StuckReceiver { .. }
            | Alarm::NoiseWithoutSpeech { .. }
            | Alarm::PingPong { .. }
            | Alarm::EmergencyUnacknowledged { .. }
            | Alarm::PositionLost { .. }
            | Alarm::Overtime { .. } => false,
        }
    }
}

impl fmt::Display for Alarm {
    /// A sentence for a dispatcher.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JournalFailing { cause } => {
                write!(f, "The journal does not record: {cause}. Nothing new is granted.")
            }
            Self::StreamSetAside { stream, .. } => {
                let rule = "nothing crosses agency borders until that is confirmed";
                write!(f, "The journal's stream {stream} is damaged: {rule}.")
            }
            Self::RecordsLost { first, last } => {
                let rule = "nothing crosses agency borders until that is confirmed";
                write!(f, "The journal lost records {first} to {last}: {rule}.")
            }
            Self::ConfigurationFaulty { faults } => {
                write!(f, "The configuration file has {faults} faults; the last good one is in force.")
            }
            Self::ShardRebuilt { shard } => write!(f, "Media thread {shard} was rebuilt."),
            Self::GatewayLost { gateway } => write!(f, "Gateway {gateway} is lost."),
            Self::GatewayNotOpen { gateway, cause } => {
                write!(f, "Gateway {gateway} is not open: this machine refuses it {cause}.")
            }
            Self::TrunkLost { trunk } => {
                write!(f, "Trunk {trunk} is lost: it does not answer, or does not accept us.")
            }
            Self::GatewayFloods { gateway } => {
                write!(f, "Gateway {gateway} sends more packets than it may: what is too much is not heard.")
            }
            Self::NoTransmitter { talkgroup } => write!(f, "No gateway transmits for {talkgroup}."),
            Self::StuckReceiver { gateway } => write!(f, "Gateway {gateway} receives without end: a stuck squelch?"),
            Self::NoiseWithoutSpeech { gateway } => write!(f, "Gateway {gateway} receives noise and no speech."),
            Self::PingPong { gateway, other } => write!(f, "Gateways {gateway} and {other} key each other in turn."),
            Self::EmergencyUnacknowledged { emergency, agency } => {
                write!(f, "{agency} has not acknowledged the emergency {}.", emergency.spoken())
            }
            Self::PositionLost { agency } => write!(f, "Nobody sits at the responsible position of {agency}."),
            Self::Overtime { incident, link } => {
                let (link, incident) = (link.spoken(), incident.spoken());
                write!(f, "Link {link} of incident {incident} is past its lease: extend it or let it go.")
            }
        }
    }
}
