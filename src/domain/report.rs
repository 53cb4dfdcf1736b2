//! What a shard saw: changes, never samples. Reports go up; only dispatch decides what they mean.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::audio::Level;
use super::floor::{BurstEnd, Denial, MissCause};
use super::id::{BurstId, GroupId, LegId, PatchId, PortId};
use super::order::RouteVersion;
use super::port::ShardId;
use super::talker::Alias;
use super::time::MonoTime;

/// One change seen by one shard.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// The batch is in force and everything sent before it has left.
    Applied { shard: ShardId, version: RouteVersion },
    /// A talker got the floor in a patch. One burst may hold the floor of several patches.
    BurstStarted {
        burst: BurstId,
        patch: PatchId,
        leg: LegId,
        port: PortId,
        talker: Alias,
        emergency: bool,
        at: MonoTime,
    },
    /// A talker lost the floor of a patch.
    BurstEnded { burst: BurstId, patch: PatchId, leg: LegId, cause: BurstEnd, duration_ms: u32, at: MonoTime },
    /// What became of a burst at one port that was entitled to it: once per burst and port, when nothing of it is
    /// left to play. A port that is cut off and linked again while its talker speaks on tells each part: they add up.
    BurstHeard { burst: BurstId, outcome: PortOutcome },
    /// A key was not granted; once per key.
    Denied { patch: PatchId, leg: LegId, cause: Denial, at: MonoTime },
    /// A key was shorter than its port's minimum burst: so much was said to nobody (ms).
    TooShort { port: PortId, said_ms: u16, at: MonoTime },
    /// A key waits; position 1 is next.
    Queued { patch: PatchId, leg: LegId, position: u8, at: MonoTime },
    /// The port's peer is now this address.
    Latched { port: PortId, address: SocketAddr, at: MonoTime },
    /// The peer is alive by its kind's own sign, or no longer is.
    Alive { port: PortId, alive: bool, at: MonoTime },
    /// First speech since its legs were opened: the receive path is proven.
    Proven { port: PortId, at: MonoTime },
    /// The far side raised EMERGENCY itself.
    EmergencyKeyed { port: PortId, talker: Alias, at: MonoTime },
    /// Transmission fell over to the next gateway of the talkgroup, or none is left.
    TransmitMoved { group: GroupId, port: Option<PortId>, at: MonoTime },
    /// A detector saw something; it acts on nothing itself.
    Suspected { leg: LegId, port: PortId, of: Suspicion, at: MonoTime },
    /// The system refuses a port its sockets, in its own words, or refuses them no longer. The shell says it, no shard.
    Sockets { port: PortId, refused: Option<String>, at: MonoTime },
    /// A limit was hit and something counted was not done.
    LimitHit { limit: MediaLimit, port: Option<PortId>, at: MonoTime },
}

/// What became of a burst at one port that was entitled to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortOutcome {
    pub port: PortId,
    /// Audio delivered (ms).
    pub heard_ms: u32,
    /// Audio not delivered (ms), with the last cause.
    pub missed_ms: u32,
    pub missed: Option<MissCause>,
}

/// What a detector saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suspicion {
    /// This port returns what was sent to it: so much later, so much softer, in so many generations without a fresh talker.
    Returns { delay_ms: u16, down: Level, generations: u8 },
    /// Two ports key each other in turn without speech.
    PingPong { other: PortId, turns: u8 },
    /// Keyed far beyond any speech.
    StuckReceiver { keyed_ms: u32 },
    /// Energy without speech: a wrong key or an open microphone.
    NoiseWithoutSpeech { ms: u32 },
}

/// The limits of the media core, each with its own counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaLimit {
    Ports,
    Patches,
    Legs,
    /// Talkgroups and RF channels.
    Groups,
    Bursts,
    /// Patches in which one burst asks for the floor.
    Talks,
    /// Bursts at one port.
    Ears,
    Decoders,
    Encoders,
    JitterBuffers,
    Holds,
    /// Delay lines of receivers.
    Delays,
    Outbox,
    Reports,
    TrunkRing,
    PacketRate,
}

impl MediaLimit {
    /// Every variant, in the order of its number: one counter each.
    pub const ALL: [Self; 16] = [
        Self::Ports,
        Self::Patches,
        Self::Legs,
        Self::Groups,
        Self::Bursts,
        Self::Talks,
        Self::Ears,
        Self::Decoders,
        Self::Encoders,
        Self::JitterBuffers,
        Self::Holds,
        Self::Delays,
        Self::Outbox,
        Self::Reports,
        Self::TrunkRing,
        Self::PacketRate,
    ];
}
