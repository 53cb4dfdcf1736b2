//! Sound as the wire and the mixer know it: codecs, formats, gains, levels.

use serde::{Deserialize, Serialize};

/// The mixer's sample rate (Hz), one channel.
pub const MIX_RATE_HZ: u32 = 16_000;
/// Samples in one 20 ms frame of the mixer.
pub const MIX_FRAME: usize = 320;
/// One 20 ms frame at the mixer's rate.
pub type Frame = [i16; MIX_FRAME];

/// A voice codec as RTP names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// RFC 7587; its RTP clock is always 48,000 Hz.
    Opus,
    /// G.711 mu-law, RFC 3551.
    Pcmu,
    /// G.711 A-law, RFC 3551.
    Pcma,
    /// 16 kHz audio whose RTP clock is 8,000 Hz by RFC 3551's old error.
    G722,
    /// 16-bit big-endian linear samples, RFC 3551.
    L16,
}

/// What a stream's payloads are: two formats are relayable only if an unaware decoder would not notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Format {
    /// Which law the bytes follow.
    pub codec: Codec,
    /// RTP clock (Hz).
    pub clock_hz: u32,
    /// Channels in the payload: 1 or 2.
    pub channels: u8,
    /// Audio in one packet (ms).
    pub packet_ms: u8,
}

impl Format {
    /// The format most gateways speak for a codec: one channel, 20 ms; L16 at 16 kHz.
    pub const fn usual(codec: Codec) -> Self {
        let clock_hz = match codec {
            Codec::Opus => 48_000,
            Codec::Pcmu | Codec::Pcma | Codec::G722 => 8_000,
            Codec::L16 => 16_000,
        };
        Self { codec, clock_hz, channels: 1, packet_ms: 20 }
    }

    /// Whether a talker's payload may reach this listener's decoder untouched (law 5).
    pub fn relayable(self, listener: Format) -> bool {
        self == listener
    }

    /// RTP timestamp units in one packet.
    pub const fn ticks_per_packet(self) -> u32 {
        self.clock_hz / 1000 * self.packet_ms as u32
    }
}

/// A gain in hundredths of a decibel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct Gain(pub i16);

impl Gain {
    /// Nothing changed.
    pub const UNITY: Gain = Gain(0);
    /// The linear factor.
    pub fn factor(self) -> f32 {
        10f32.powf(f32::from(self.0) / 2000.0)
    }
}

/// A level below the overload point (dBov): 0 is full scale, 127 is silence (RFC 6464's scale).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Level(pub u8);

impl Level {
    /// No sound at all.
    pub const SILENCE: Level = Level(127);
}
