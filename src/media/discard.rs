//! What was not used, and why: one counter for each reason, so that an operator's question is answered by a name.

use crate::domain::floor::{BurstEnd, Denial, MissCause};
use crate::domain::report::MediaLimit;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident)*) => {
        /// Why a packet or frame was not used.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Discard {
            $($(#[$doc])* $name,)*
        }
        impl Discard {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

reasons! {
    /// The port is closed.
    NoPort
    /// Not RTP, RTCP or a trunk frame at all.
    Malformed
    /// A payload type the port does not have.
    UnknownPayload
    /// Longer than any packet of a voice codec.
    TooLong
    /// From an address that is not the port's peer.
    WrongSource
    /// From an address outside the allow-list.
    NotAllowed
    /// More packets a second than the port may send.
    RateLimited
    /// Of an encrypted call, and not made with its keys.
    NotAuthentic
    /// Of an encrypted call: its packet has come before, or is so old that nobody can tell.
    Replayed
    /// Seen before.
    Duplicate
    /// Too far behind the newest.
    Late
    /// Sequence far from what is expected, not yet confirmed by the packets after it (RFC 3550 A.1).
    SequenceJump
    /// Of a stream that its source has just left for a new SSRC.
    OldStream
    /// Of a burst that has ended.
    AfterEnd
    /// The talker has not keyed.
    NotKeyed
    /// The talker holds no floor.
    NoFloor
    /// Another gateway of the talkgroup delivers the same voice.
    VotedOut
    /// The RF channel is, or was just, transmitting.
    Inhibited
    /// Declared squelch tail.
    SquelchTail
    /// Shorter than the minimum burst.
    TooShort
    /// A trunk frame of a patch, leg or burst unknown here.
    UnknownRoute
    /// A trunk frame that has come too far or back home.
    Looped
    /// What orders purged from the outbox.
    Purged
    /// A pool, slab or queue is full.
    Full
}

/// All counters of one shard; they only grow.
#[derive(Clone, Debug)]
pub struct Counters {
    discards: [u64; Discard::ALL.len()],
    burst_ends: [u64; BurstEnd::ALL.len()],
    misses: [u64; MissCause::ALL.len()],
    denials: [u64; Denial::ALL.len()],
    limits: [u64; MediaLimit::ALL.len()],
    /// RTP packets accepted from ports.
    pub received: u64,
    /// Packets sent with a talker's payload untouched.
    pub relayed: u64,
    /// Packets sent from the mix path.
    pub mixed: u64,
    /// Frames encoded.
    pub encoded: u64,
    /// Frames decoded.
    pub decoded: u64,
    /// Frames exchanged with other shards.
    pub steered: u64,
    /// Bursts that got a floor here.
    pub bursts: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            discards: [0; Discard::ALL.len()],
            burst_ends: [0; BurstEnd::ALL.len()],
            misses: [0; MissCause::ALL.len()],
            denials: [0; Denial::ALL.len()],
            limits: [0; MediaLimit::ALL.len()],
            received: 0,
            relayed: 0,
            mixed: 0,
            encoded: 0,
            decoded: 0,
            steered: 0,
            bursts: 0,
        }
    }
}

impl Counters {
    /// Packets not used for this reason.
    pub fn discards(&self, why: Discard) -> u64 {
        self.discards[why as usize]
    }
    /// Bursts that ended so.
    pub fn burst_ends(&self, why: BurstEnd) -> u64 {
        self.burst_ends[why as usize]
    }
    /// Ports that missed (part of) a burst for this cause.
    pub fn misses(&self, why: MissCause) -> u64 {
        self.misses[why as usize]
    }
    /// Keys that got no floor for this reason.
    pub fn denials(&self, why: Denial) -> u64 {
        self.denials[why as usize]
    }
    /// Times this limit was hit.
    pub fn limits(&self, which: MediaLimit) -> u64 {
        self.limits[which as usize]
    }

    pub(super) fn discard(&mut self, why: Discard) {
        self.discards[why as usize] += 1;
    }
    pub(super) fn burst_end(&mut self, why: BurstEnd) {
        self.burst_ends[why as usize] += 1;
    }
    pub(super) fn miss(&mut self, why: MissCause) {
        self.misses[why as usize] += 1;
    }
    pub(super) fn denial(&mut self, why: Denial) {
        self.denials[why as usize] += 1;
    }
    pub(super) fn limit(&mut self, which: MediaLimit) {
        self.limits[which as usize] += 1;
    }
}
