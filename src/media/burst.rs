//! One continuous transmission by one talker as one shard knows it: where it comes from, in which patches it has the
//! floor, which ports here hear it. Not its audio path. Owned by the shard from key to the last outcome told; it has
//! one end in each patch.

use crate::domain::audio::{Format, Frame, Level, MIX_FRAME};
use crate::domain::floor::{BurstEnd, Denial};
use crate::domain::id::{BurstId, PortId};
use crate::domain::port::ShardId;
use crate::domain::talker::Alias;
use crate::domain::time::MonoTime;

use super::level::Leveller;
use super::patch::ShardSet;
use super::playout::{Heard, Playout};
use super::slab::{LegSlot, PatchSlot, PortSlot};

/// Patches one port may talk in: its home patch, two incidents with four nets each, and room.
pub const TALKS_MAX: usize = 16;

/// A burst.
pub struct Burst {
    /// Chosen where the talker is.
    pub id: BurstId,
    /// Where its packets come from.
    pub source: Source,
    /// The talker's port, here or elsewhere.
    pub port: PortId,
    /// As far as the wire says.
    pub talker: Alias,
    /// Heard before all else.
    pub emergency: bool,
    /// What its payloads are.
    pub format: Format,
    /// A request of another shard names no format: nobody's ear is opened before the first speech has.
    pub format_known: bool,
    /// Bursts are numbered as they come to this shard.
    pub order: u64,
    /// When its talker keyed.
    pub keyed_at: MonoTime,
    /// When its latest packet came.
    pub packet_at: MonoTime,
    /// Why its talker stopped, once it has.
    pub ended: Option<BurstEnd>,
    /// How loud its latest packet or frame was.
    pub level: Level,
    /// The highest extended sequence number so far.
    pub newest: Option<u64>,
    /// The newest packet when an ear's outcome was last told while it went on: whoever hears it from then on has heard
    /// what came before, or may not.
    pub told: Option<u64>,
    /// Declared squelch tail that was dropped at its end (ms).
    pub tail_ms: u16,
    /// Learns its talker's level, if its port asked for that.
    pub leveller: Option<Leveller>,
    /// Whether what was learnt before is applied; decided when it began.
    pub levelled: bool,
    /// Its way into the mix, if somebody needs it decoded.
    pub playout: Option<Playout>,
    /// This tick's 20 ms of it.
    pub frame: Frame,
    /// What those hold.
    pub frame_heard: Heard,
    /// Its lists; they outlive it in a pool.
    pub lists: BurstLists,
}

/// Memory that a burst borrows.
#[derive(Debug)]
pub struct BurstLists {
    /// One for each patch it asked the floor of.
    pub talks: Vec<Talk>,
    /// Every port here that hears it or still owes its outcome.
    pub ears: Vec<PortSlot>,
}

/// Where a burst's packets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A port of this shard.
    Here(PortSlot),
    /// Another shard.
    Trunk(ShardId),
}

/// A burst in one patch.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    /// Which patch.
    pub patch: PatchSlot,
    /// The talker's leg there.
    pub leg: LegSlot,
    /// Whether it may be heard.
    pub state: TalkState,
    /// Other shards with legs that may hear it.
    pub shards: ShardSet,
    /// Among those heard; an open floor leaves out who is softer than others.
    pub loud: bool,
}

/// Whether a burst may be heard in a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TalkState {
    /// The patch's home has not answered yet.
    Asked { at: MonoTime },
    /// Others talk; it waits.
    Queued,
    /// It has the floor.
    Granted { since: MonoTime },
    /// An emergency past its talk limit: its own agency's consoles still hear it.
    PastLimit,
    /// No longer, or never, until it unkeys.
    Refused(Refusal),
}

/// Why a burst is not heard in a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It never had the floor.
    Denied(Denial),
    /// It has had it.
    Ended(BurstEnd),
}

impl TalkState {
    /// Whether anybody hears it.
    pub fn is_heard(self) -> bool {
        match self {
            TalkState::Granted { .. } | TalkState::PastLimit => true,
            TalkState::Asked { .. } | TalkState::Queued | TalkState::Refused(_) => false,
        }
    }
    /// Whether its packets go to the patch's home.
    pub fn is_sent(self) -> bool {
        match self {
            TalkState::Asked { .. } | TalkState::Granted { .. } | TalkState::PastLimit => true,
            TalkState::Queued | TalkState::Refused(_) => false,
        }
    }
}

impl BurstLists {
    /// Reserves for as many ears as the shard has ports.
    pub fn new(ports: usize) -> Self {
        Self { talks: Vec::with_capacity(TALKS_MAX), ears: Vec::with_capacity(ports) }
    }
}

impl Burst {
    /// The burst in one patch.
    pub fn talk(&self, patch: PatchSlot) -> Option<&Talk> {
        self.lists.talks.iter().find(|talk| talk.patch == patch)
    }
    /// The same, to change it.
    pub fn talk_mut(&mut self, patch: PatchSlot) -> Option<&mut Talk> {
        self.lists.talks.iter_mut().find(|talk| talk.patch == patch)
    }
    /// Whether nobody hears it and nobody may any more unless it asks anew.
    pub fn is_silent(&self) -> bool {
        self.lists.talks.iter().all(|talk| match talk.state {
            TalkState::Refused(_) => true,
            TalkState::Asked { .. } | TalkState::Queued | TalkState::Granted { .. } | TalkState::PastLimit => false,
        })
    }
    /// A wire sequence number with its wraps: the nearest to the newest.
    pub fn extend(&mut self, sequence: u16) -> u64 {
        let newest = self.newest.unwrap_or(FIRST_SEQUENCE | u64::from(sequence));
        let step = sequence.wrapping_sub(newest as u16) as i16;
        let extended = newest.wrapping_add_signed(i64::from(step));
        self.newest = Some(newest.max(extended));
        extended
    }
    /// Whether nothing has come from the talker's shard for longer than any talker pauses.
    pub fn is_lost(&self, now: MonoTime) -> bool {
        matches!(self.source, Source::Trunk(_)) && now.ms_since(self.packet_at) > PAUSE_MAX_MS
    }
    /// The newest packet that is in this tick's frame or was in an earlier one, if it is decoded at all.
    pub fn played(&self) -> Option<u64> {
        let ahead = self.playout.as_ref()?.packets_ahead();
        self.newest?.checked_sub(ahead)
    }
    /// Silence until something is decoded.
    pub fn clear_frame(&mut self) {
        self.frame = [0; MIX_FRAME];
        self.frame_heard = Heard::NotYet;
    }
}

/// Presence ends after 450 ms where talkers send nothing in a pause (ms).
const PAUSE_MAX_MS: u64 = 450;
/// Room below the first number for packets that come late.
const FIRST_SEQUENCE: u64 = 0x1_0000;
