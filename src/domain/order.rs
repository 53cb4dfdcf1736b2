//! What a shard must do. Orders go down, are idempotent, and are compiled from dispatch's state, never remembered.
//!
//! A batch carries the version it leads to. A shard that has applied a batch *and flushed what followed* reports
//! [`super::report::Report::Applied`]; only then is a cut answered.

use serde::{Deserialize, Serialize};

use super::audio::Gain;
use super::floor::{FloorPolicy, Priority};
use super::id::{AgencyKey, BurstId, GroupId, LegId, LinkId, PatchId, PortId};
use super::port::{PortRole, PortSpec, ShardId};
use super::talker::Alias;

/// Counts every change of the routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RouteVersion(pub u64);

/// Orders that belong together; a shard applies all of them before the next packet.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderBatch {
    /// The version of the routes after this batch.
    pub version: RouteVersion,
    /// In order.
    pub orders: Vec<Order>,
}

/// One change of a shard's world.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Open a port or change it; a change that touches its stream ends its bursts.
    OpenPort(PortSpec),
    /// Close a port: its bursts end, its hold is purged, it is unkeyed.
    ClosePort(PortId),
    /// The ports of a talkgroup in order of preference for transmitting; exactly one is keyed.
    SetGroup(GroupSpec),
    /// Forget a talkgroup.
    DropGroup(GroupId),
    /// Open a patch or change its policy.
    OpenPatch(PatchSpec),
    /// Close a patch with all its legs.
    ClosePatch(PatchId),
    /// Add a leg or change it; what narrows acts before the next packet.
    Join(LegSpec),
    /// Remove a leg: nothing more crosses, outbox, hold and rings included.
    Leave(LegId),
    /// Take the floor from one burst, or from all of a patch.
    Revoke { patch: PatchId, burst: Option<BurstId> },
    /// An emergency of a port's talker opens or closes; an empty alias means whoever talks there.
    Emergency { port: PortId, talker: Alias, open: bool },
    /// A talker keyed or let go in words that came with no packet; as an RFC 4733 event of its port would.
    Key { port: PortId, keyed: bool },
    /// A notice at one port's own edge, on an idle channel only. What a talker is told of its own key sounds while it
    /// keys, or soon after, or not at all.
    Announce { port: PortId, notice: Notice },
    /// This and nothing else: whatever the table omits is closed.
    Only(RouteTable),
}

/// Every port, patch and leg a shard has to know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteTable {
    pub ports: Vec<PortSpec>,
    pub groups: Vec<GroupSpec>,
    pub patches: Vec<PatchSpec>,
    pub legs: Vec<LegSpec>,
    pub emergencies: Vec<(PortId, Alias)>,
}

/// A talkgroup's radio ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSpec {
    pub group: GroupId,
    /// Ports that may transmit for it, the preferred one first; fail-over happens between bursts.
    pub transmit: Vec<PortId>,
}

/// A patch as media sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchSpec {
    pub patch: PatchId,
    /// The shard where its floor lives; never changes.
    pub home: ShardId,
    /// The incident's host, whose dispatcher outranks links; the owner in a home patch.
    pub host: AgencyKey,
    pub floor: FloorPolicy,
}

/// A port's place in a patch.
///
/// Every shard that has a leg of a patch, and the patch's home, is given the patch and *all* its legs: so each can
/// judge by itself who may hear whom, and a cut needs nobody's message to take effect.
///
/// A listener hears a talker if both are legs of one patch, `talker.talks`, `listener.hears`, they are neither one
/// port nor radio ports of one group, and each side's audience holds the other's party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegSpec {
    pub leg: LegId,
    pub link: LinkId,
    pub patch: PatchId,
    pub port: PortId,
    /// The shard of the port, so that the patch's home can reach it.
    pub port_home: ShardId,
    /// What others must know of a port that lives elsewhere: its talkgroup, its owner, what it is.
    pub group: Option<GroupId>,
    pub agency: AgencyKey,
    pub role: PortRole,
    /// The port's input gain: whoever decodes its talker applies it.
    pub trim: Gain,
    /// Receives what others say.
    pub hears: bool,
    /// May ask for the floor.
    pub talks: bool,
    /// Applied to what this leg hears.
    pub gain: Gain,
    pub priority: Priority,
    /// This leg's number among the parties of the patch (0 to 63).
    pub party: u8,
    /// The parties its owner's grant lets hear it and be heard by it, one bit each.
    pub audience: u64,
}

impl LegSpec {
    /// The audience half of the hearing rule, which is symmetric.
    pub const fn meets(&self, other: &LegSpec) -> bool {
        self.audience >> (other.party & 63) & 1 == 1 && other.audience >> (self.party & 63) & 1 == 1
    }
}

/// What a party hears about its own links and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    Linked,
    Unlinked,
    PartnerLost,
    Restored,
    ExpiresSoon,
    /// A forced close was announced.
    ClosesSoon,
    /// A secure talkgroup is linked over a path that is not.
    NotSecure,
    /// Its key got the floor.
    Granted,
    /// Its key got no floor.
    Denied,
    /// Its key waits for the floor.
    Queued,
    /// It was dialled, and is asked to confirm that it comes in.
    Confirm,
}
