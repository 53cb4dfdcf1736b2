//! What someone asks of dispatch. Console, CLI, API and timers send the same commands and see the same refusals.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::audio::Gain;
use super::configuration::Configuration;
use super::floor::{FloorPolicy, Priority};
use super::id::{
    AgencyId, BurstId, EmergencyId, IncidentId, LinkId, PatchName, PositionId, TalkgroupId, TemplateId, UserId,
};
use super::incident::{CutTarget, Direction, LinkRequest, PartyClass};
use super::talker::Alias;

/// Who asks. The shell authenticates; dispatch judges what that principal may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    pub user: UserId,
    /// The agency it acts for; none for the host's administrator.
    pub agency: Option<AgencyId>,
    pub role: Role,
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads what its agency may see.
    Observer,
    /// Commands its own agency.
    Dispatcher,
    /// Adopts configurations; commands no agency's audio.
    Admin,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", tag = "do", deny_unknown_fields)]
pub enum Command {
    OpenIncident {
        #[serde(default)]
        template: Option<TemplateId>,
        #[serde(default)]
        title: Option<String>,
        #[serde(default)]
        kind: Option<String>,
        #[serde(default)]
        exercise: bool,
        #[serde(default)]
        invite: Vec<AgencyId>,
        #[serde(default)]
        links: Vec<LinkRequest>,
    },
    Invite {
        incident: IncidentId,
        agency: AgencyId,
        #[serde(default)]
        note: String,
        /// Links the host proposes; the invited agency answers for its own.
        #[serde(default)]
        links: Vec<LinkRequest>,
    },
    Accept {
        incident: IncidentId,
        #[serde(default)]
        links: Vec<LinkRequest>,
    },
    Decline {
        incident: IncidentId,
        #[serde(default)]
        reason: String,
    },
    AddPatch {
        incident: IncidentId,
        name: PatchName,
        #[serde(default)]
        floor: Option<FloorPolicy>,
    },
    ClosePatch {
        incident: IncidentId,
        name: PatchName,
    },
    SetFloor {
        incident: IncidentId,
        name: PatchName,
        floor: FloorPolicy,
    },
    Link {
        incident: IncidentId,
        request: LinkRequest,
    },
    /// Dials a number with a line of its own; whoever answers is in the net once it has confirmed by a star.
    Dial {
        incident: IncidentId,
        /// Digits, with or without a leading plus.
        number: String,
        /// How the line is linked; its talkgroup names it.
        request: LinkRequest,
    },
    Unlink {
        link: LinkId,
    },
    /// Direction may be narrowed by owner and host; widened and raised only within the owner's grant and cap.
    Adjust {
        link: LinkId,
        #[serde(default)]
        direction: Option<Direction>,
        #[serde(default)]
        gain: Option<Gain>,
        #[serde(default)]
        priority: Option<Priority>,
    },
    /// One link, or all own links of the incident (the host: all).
    Extend {
        incident: IncidentId,
        #[serde(default)]
        link: Option<LinkId>,
        by_s: u32,
    },
    /// The owner widens the audience of its link.
    Admit {
        link: LinkId,
        #[serde(default)]
        agencies: BTreeSet<AgencyId>,
        #[serde(default)]
        classes: BTreeSet<PartyClass>,
        /// The owner's yes to meeting what is not secure.
        #[serde(default)]
        not_secure_reason: Option<String>,
    },
    OfferHost {
        incident: IncidentId,
        to: AgencyId,
    },
    TakeHost {
        incident: IncidentId,
    },
    /// Shift change: the next dispatcher gets a note, the open emergencies and the leases.
    HandOver {
        incident: IncidentId,
        to: UserId,
        note: String,
    },
    Leave {
        incident: IncidentId,
    },
    Remove {
        incident: IncidentId,
        agency: AgencyId,
    },
    Close {
        incident: IncidentId,
        #[serde(default)]
        force: bool,
    },
    Note {
        incident: IncidentId,
        text: String,
    },
    DeclareEmergency {
        talkgroup: TalkgroupId,
        #[serde(default)]
        talker: Alias,
        #[serde(default)]
        place: String,
    },
    AcknowledgeEmergency {
        emergency: EmergencyId,
    },
    ClearEmergency {
        emergency: EmergencyId,
        #[serde(default)]
        reason: String,
    },
    /// The red button: own resources out of everything, at once.
    Cut {
        target: CutTarget,
    },
    /// Own resources may be linked again; nothing is linked by this.
    Restore {
        target: CutTarget,
    },
    /// Takes the floor from a talker of the patch; the host, or the owner of the talker's talkgroup.
    Revoke {
        incident: IncidentId,
        name: PatchName,
        #[serde(default)]
        burst: Option<BurstId>,
    },
    /// The responsible position is staffed.
    Beat {
        position: PositionId,
    },
    /// The owner heard (or was heard) on a link that nothing else can prove.
    Confirm {
        link: LinkId,
        #[serde(default)]
        receive: bool,
        #[serde(default)]
        transmit: bool,
    },
    /// Ends an isolation before its time; the owner of the leg.
    EndIsolation {
        link: LinkId,
    },
    /// A changed file. What narrows acts at once, what widens another agency's resource becomes a proposal.
    Adopt {
        #[schema(value_type = Object)]
        configuration: Box<Configuration>,
    },
    /// The agency concerned accepts what a reload would widen.
    ConfirmChange {
        agency: AgencyId,
    },
    /// The host's administrator has seen what the journal lost: audio may cross agency borders again.
    ConfirmLoss {
        /// Who looked, at what, and whom they called.
        reason: String,
    },
}
