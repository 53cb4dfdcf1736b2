//! Floor words: the right to talk in a patch, in the vocabulary of 3GPP TS 24.380. Policy only; behaviour is media's.

use serde::{Deserialize, Serialize};

/// How a patch shares the right to talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FloorPolicy {
    /// Whether talkers ask, or the loudest are chosen.
    pub mode: FloorMode,
    /// Talkers at once: 1 is strict push-to-talk.
    pub holders_max: u8,
    /// Requests that may wait; 0 denies at once.
    pub queue_max: u8,
    /// How long the floor stays with a burst's group after it ended (ms).
    pub hang_ms: u16,
    /// The longest burst (ms); gateway and talkgroup may have a shorter one.
    pub talk_limit_ms: u32,
}

/// Whether talkers ask or are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FloorMode {
    /// Request, grant, deny.
    Ptt,
    /// Everybody may talk; the loudest `holders_max` are heard.
    Open,
}

/// Hard limit of `holders_max`: three voices are what listeners can follow, eight what a mix may cost.
pub const HOLDERS_MAX: usize = 8;
/// Hard limit of `queue_max`.
pub const QUEUE_MAX: usize = 8;

impl Default for FloorPolicy {
    fn default() -> Self {
        Self { mode: FloorMode::Ptt, holders_max: 3, queue_max: 0, hang_ms: 500, talk_limit_ms: 60_000 }
    }
}

/// The link's rank, set by the host, capped by the port's owner. Higher is heard first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct Priority(pub u8);

/// Why a talker does not get the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Denial {
    /// Others hold it.
    Busy,
    /// The leg may only listen.
    ListenOnly,
    /// Its burst was revoked and it has not unkeyed since.
    StillRevoked,
    /// The patch's home shard cannot be reached.
    Unreachable,
    /// A pool or table is full.
    Full,
}

impl Denial {
    /// Every variant, in the order of its number: one counter each.
    pub const ALL: [Self; 5] = [Self::Busy, Self::ListenOnly, Self::StillRevoked, Self::Unreachable, Self::Full];
}

/// Why a burst ended. Every burst that starts ends with exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BurstEnd {
    /// The talker let go: key-up by event or extension.
    Released,
    /// Packets stopped for `rx_end_ms`.
    Silence,
    /// The talk limit.
    TimedOut,
    /// Someone of higher rank took the floor.
    PreEmpted,
    /// A dispatcher took the floor away.
    Revoked,
    /// The talker's leg left the patch, or lost the right to talk.
    LegLeft,
    /// The patch closed.
    PatchClosed,
    /// The talker's port closed.
    PortClosed,
    /// The radio transmits on the channel it would have received on.
    Inhibited,
    /// The shard ended or was rebuilt.
    Restart,
}

impl BurstEnd {
    /// Every variant, in the order of its number: one counter each.
    pub const ALL: [Self; 10] = [
        Self::Released,
        Self::Silence,
        Self::TimedOut,
        Self::PreEmpted,
        Self::Revoked,
        Self::LegLeft,
        Self::PatchClosed,
        Self::PortClosed,
        Self::Inhibited,
        Self::Restart,
    ];
}

/// Why a port that was entitled to a burst did not hear (all of) it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissCause {
    /// A cut took the audio away.
    Cut,
    /// The channel did not become clear, or the grant did not come, within `hold_max_ms`.
    HoldOverrun,
    /// The gateway or its trunk denied the transmission, twice.
    TransmitDenied,
    /// Talk limit of the listening port's transmitter.
    TalkLimit,
    /// Shorter than `min_burst_ms`.
    TooShort,
    /// Declared squelch tail.
    SquelchTail,
    /// A higher rank was heard instead.
    OutRanked,
    /// The half-duplex port was receiving.
    Receiving,
    /// Another port on the same RF channel was transmitting, or just had.
    Inhibited,
    /// No address is known for the port yet.
    NoPeer,
    /// A codec, hold or hearing pool was exhausted.
    Full,
    /// The port or its shard went away.
    Gone,
}

impl MissCause {
    /// Every variant, in the order of its number: one counter each.
    pub const ALL: [Self; 12] = [
        Self::Cut,
        Self::HoldOverrun,
        Self::TransmitDenied,
        Self::TalkLimit,
        Self::TooShort,
        Self::SquelchTail,
        Self::OutRanked,
        Self::Receiving,
        Self::Inhibited,
        Self::NoPeer,
        Self::Full,
        Self::Gone,
    ];
}
