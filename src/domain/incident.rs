//! Words of the session model: directions, audiences, grants, leases, causes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::audio::Gain;
use super::floor::Priority;
use super::id::{AgencyId, AgreementId, LinkId, PatchName, TalkgroupId, UserId};
use super::time::WallTime;

/// Which way audio may cross a link, seen from the linked talkgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Hears and is heard.
    #[default]
    Both,
    /// Hears the patch, is not heard.
    Listen,
    /// Is heard, does not hear the patch.
    Talk,
}

impl Direction {
    pub const fn hears(self) -> bool {
        matches!(self, Direction::Both | Direction::Listen)
    }
    pub const fn talks(self) -> bool {
        matches!(self, Direction::Both | Direction::Talk)
    }
    /// Whether a grant of `self` covers `wanted`.
    pub fn covers(self, wanted: Direction) -> bool {
        self == Direction::Both || self == wanted
    }
}

/// A kind of listener an owner may admit without knowing whom it will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartyClass {
    /// Agencies that join after this owner accepted.
    LaterAgencies,
    /// Recorders of the agencies in the audience.
    Recording,
    /// Whoever those agencies have dialled.
    Telephones,
}

/// Who may hear a talkgroup in a patch and be heard by it. Joining later does not widen it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Audience {
    pub agencies: BTreeSet<AgencyId>,
    pub classes: BTreeSet<PartyClass>,
}

/// An owner's yes: without a live one no audio of its talkgroup crosses an agency border (law 1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The owner of the talkgroup.
    pub issuer: AgencyId,
    /// Who said yes for it.
    pub by: Actor,
    pub direction: Direction,
    pub audience: Audience,
    /// Never lives longer than this, whatever is extended.
    pub hard_end: Lease,
    /// The owner named the hard end. One that it did not name moves with the renewals of a standing agreement.
    #[serde(default)]
    pub hard_end_named: bool,
    /// Why a secure talkgroup may use a path or partner that is not.
    pub not_secure_reason: Option<String>,
    /// Said yes to being heard in several incidents at once.
    pub shared_incidents: bool,
    /// Room for the issuer's signature when daemons peer.
    pub signature: Option<String>,
}

/// An end: by time of day for people, by remaining time for the clock that cannot be stepped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Left when it was written (ms).
    pub remaining_ms: u64,
    /// Its end by the wall clock of that moment.
    pub ends: WallTime,
}

impl Lease {
    /// A lease of so many milliseconds from now.
    pub const fn of(ms: u64, now: WallTime) -> Self {
        Self { remaining_ms: ms, ends: now.plus_ms(ms) }
    }
}

/// What is asked when a talkgroup is to be linked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkRequest {
    pub talkgroup: TalkgroupId,
    /// The incident's first patch unless named.
    #[serde(default)]
    pub patch: Option<PatchName>,
    #[serde(default)]
    pub direction: Direction,
    #[serde(default)]
    pub gain: Gain,
    #[serde(default)]
    pub priority: Priority,
    /// Lease (s); the policy's default if absent.
    #[serde(default)]
    pub lease_s: Option<u32>,
    /// Hard end of the grant (s); the policy's default if absent.
    #[serde(default)]
    pub hard_end_s: Option<u32>,
    /// Classes the owner ticks, beside the agencies present now.
    #[serde(default)]
    pub classes: BTreeSet<PartyClass>,
    /// The owner knows that its members' answers will be heard in every incident the talkgroup is in.
    #[serde(default)]
    pub shared_incidents: bool,
    /// Needed where a secure talkgroup meets what is not secure.
    #[serde(default)]
    pub not_secure_reason: Option<String>,
}

impl LinkRequest {
    /// The talkgroup both ways into the first patch, everything else as policy says.
    pub fn plain(talkgroup: TalkgroupId) -> Self {
        Self {
            talkgroup,
            patch: None,
            direction: Direction::Both,
            gain: Gain::UNITY,
            priority: Priority::default(),
            lease_s: None,
            hard_end_s: None,
            classes: BTreeSet::new(),
            shared_incidents: false,
            not_secure_reason: None,
        }
    }
}

/// Who caused an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// A person or program with a token.
    User { user: UserId, agency: Option<AgencyId> },
    /// A written agreement.
    Agreement(AgreementId),
    /// A deadline that passed.
    Timer,
    /// What media reported.
    Media,
    /// Start after a stop or crash.
    Recovery,
    /// A changed configuration file.
    Reload,
}

/// Why a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnlinkCause {
    /// Its owner, or the host, unlinked it.
    Unlinked,
    /// Its owner pulled the red button.
    Cut,
    /// Its lease ran out.
    Expired,
    /// The hard end of the grant came.
    HardEnd,
    /// Its agency left.
    AgencyLeft,
    /// The host removed the agency.
    AgencyRemoved,
    /// Its patch or incident closed.
    Closed,
    /// Its owner's responsible position was lost and the owner wanted that.
    PositionLost,
    /// Nobody talked, and the owner wanted that.
    Idle,
    /// The configuration no longer allows it.
    Reconfigured,
    /// Whom it dialled hung up, or was not reached, or the call did not survive a restart.
    CallEnded,
}

/// What the red button is pressed on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CutTarget {
    Agency(AgencyId),
    Talkgroup(TalkgroupId),
}

/// A link as written into an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkTerms {
    pub link: LinkId,
    pub talkgroup: TalkgroupId,
    pub direction: Direction,
    pub gain: Gain,
    pub priority: Priority,
    pub lease: Lease,
    pub grant: Grant,
}
