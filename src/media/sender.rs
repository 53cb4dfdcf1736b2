//! RTP headers of one outgoing stream: one SSRC, sequence numbers that never repeat under it, timestamps that tell
//! the truth about time. Not the payload, not the socket. Owned by the port; the listener's decoder is who notices
//! if anything here is wrong.
//!
//! ```text
//!            begin                          end, or begin of another
//!   Silent --------> Relay{base, first} ------------------------------> Silent
//!     |                out = base + (in - first) - left out
//!     +------------> Mix: out = highest + 1, one frame on
//! ```
//!
//! Gaps of the talker's sequence stay, so that the listener's decoder conceals them. A new burst starts at highest + 1,
//! its timestamp moved on by the time since the last packet.

use crate::domain::audio::Format;
use crate::domain::random::Entropy;
use crate::domain::time::MonoTime;

use super::discard::Discard;
use super::silence::{BETWEEN_MS, between};

/// Whose audio the stream carries. `B` is whatever the owner calls a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice<B> {
    /// One talker's payloads; `stream` tells encoders apart: it changes with port or SSRC, not with the burst.
    Relay { burst: B, stream: u64 },
    /// Our own encoder, on our own 20 ms clock; `encoder` tells one from the next, as mixes change hands.
    Mix { encoder: u32 },
}

/// What the RTP header of one packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub ssrc: u32,
    /// With the number of wraps; the wire carries the low 16 bits.
    pub sequence: u64,
    pub timestamp: u32,
    /// First packet of a burst (RFC 3551 section 4.1).
    pub marker: bool,
}

impl Head {
    /// As the wire carries it.
    pub const fn wire_sequence(&self) -> u16 {
        self.sequence as u16
    }
}

/// What a sender report says of this stream (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentTotals {
    pub ssrc: u32,
    /// The timestamp that would be sent now.
    pub timestamp: u32,
    pub packets: u32,
    pub octets: u32,
}

/// One outgoing stream.
#[derive(Clone, Copy, Debug)]
pub struct Sender<B> {
    format: Format,
    ssrc: u32,
    /// The next packet's number if nothing is skipped: highest + 1.
    next_sequence: u64,
    /// Which of the 128 numbers below `next_sequence` have been sent, the newest in bit 0.
    sent: u128,
    /// Timestamp and time of the newest packet; `None` before the first.
    newest: Option<(u32, MonoTime)>,
    /// The encoder heard last under this SSRC.
    encoder: Option<Encoder>,
    state: State<B>,
    packets: u32,
    octets: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoder {
    Talker(u64),
    Ours(u32),
}

#[derive(Clone, Copy, Debug)]
enum State<B> {
    Silent,
    /// Begun, nothing sent of it: the first packet sets the mapping.
    Ready {
        burst: B,
        marker: bool,
    },
    Relay {
        burst: B,
        map: Mapping,
    },
    Mix {
        marker: bool,
    },
}

/// From a talker's numbers to ours.
#[derive(Clone, Copy, Debug)]
struct Mapping {
    /// The newest input number and the output number it got.
    newest_in: u64,
    newest_out: u64,
    /// The lowest output number of this burst.
    base: u64,
    timestamp_in: u32,
    timestamp_out: u32,
}

impl<B: Copy + Eq> Sender<B> {
    /// A stream with an SSRC, first sequence number and timestamp of its own (RFC 3550 section 5.1: random).
    pub fn new(format: Format, entropy: &mut Entropy) -> Self {
        Self {
            format,
            ssrc: entropy.next_u32(),
            // One wrap up: no subtraction ever reaches below zero. In the lower half, so that a packet lost at the
            // beginning of an SRTP stream cannot be taken for one before a wrap (RFC 3711 section 3.3.1).
            next_sequence: 0x1_0000 + entropy.below(0x8000),
            sent: 0,
            newest: None,
            encoder: None,
            state: State::Silent,
            packets: 0,
            octets: 0,
        }
    }

    /// The far side starts over: another SSRC, and nothing of the old stream counts.
    pub fn restart(&mut self, entropy: &mut Entropy) {
        let old = self.ssrc;
        *self = Self::new(self.format, entropy);
        if self.ssrc == old {
            self.ssrc = !old;
        }
    }

    /// Somebody else is heard from now on. If that changes the encoder behind a stream whose decoder goes on from what
    /// it has heard, the head of a packet of [`between`] comes back, to be sent at once.
    pub fn begin(&mut self, voice: Voice<B>, now: MonoTime) -> Option<Head> {
        let encoder = match voice {
            Voice::Relay { stream, .. } => Encoder::Talker(stream),
            Voice::Mix { encoder } => Encoder::Ours(encoder),
        };
        let changed = self.encoder.is_some_and(|before| before != encoder);
        self.encoder = Some(encoder);
        let silence = (changed && between(self.format.codec).is_some()).then(|| {
            let timestamp = self.timestamp_at(now);
            self.commit(self.next_sequence, timestamp, true, now)
        });
        let marker = silence.is_none();
        self.state = match voice {
            Voice::Relay { burst, .. } => State::Ready { burst, marker },
            // Where nothing has to tell the decoder, one mix goes on as the other.
            Voice::Mix { .. } if marker && matches!(self.state, State::Mix { .. }) => self.state,
            Voice::Mix { .. } => State::Mix { marker },
        };
        silence
    }

    /// The head of a talker's packet. Refused: a packet of another burst than the one begun (`AfterEnd`), one whose
    /// number was used already (`Duplicate`), one that lies too far back (`Late`).
    pub fn relay(&mut self, burst: B, sequence: u64, timestamp: u32, now: MonoTime) -> Result<Head, Discard> {
        match self.state {
            State::Ready { burst: begun, marker } if begun == burst => {
                let base = self.next_sequence;
                let timestamp_out = self.timestamp_at(now);
                let map =
                    Mapping { newest_in: sequence, newest_out: base, base, timestamp_in: timestamp, timestamp_out };
                self.state = State::Relay { burst, map };
                Ok(self.commit(base, timestamp_out, marker, now))
            }
            State::Relay { burst: begun, map } if begun == burst => {
                self.continue_relay(burst, map, sequence, timestamp, now)
            }
            State::Silent | State::Ready { .. } | State::Relay { .. } | State::Mix { .. } => Err(Discard::AfterEnd),
        }
    }

    /// The head of the next packet of our own encoder; `None` unless a mix was begun.
    pub fn mix(&mut self, now: MonoTime) -> Option<Head> {
        let State::Mix { marker } = self.state else { return None };
        let late_ms = u64::from(self.format.packet_ms) + PAUSE_FROM_MS;
        let marker = marker || self.newest.is_some_and(|(_, at)| now.ms_since(at) > late_ms);
        let timestamp = match self.newest {
            Some((newest, _)) if !marker => newest.wrapping_add(self.format.ticks_per_packet()),
            Some(_) | None => self.timestamp_at(now),
        };
        self.state = State::Mix { marker: false };
        Some(self.commit(self.next_sequence, timestamp, marker, now))
    }

    /// The hold left out frames of a pause: the gap they would leave is closed, in sequence and in time.
    pub fn close_gap(&mut self, frames: u16) {
        if let State::Relay { map, .. } = &mut self.state {
            map.newest_in = map.newest_in.saturating_add(u64::from(frames));
            // Numbers before the closed gap would now map onto others.
            map.base = map.newest_out + 1;
            let ticks = self.format.ticks_per_packet().wrapping_mul(u32::from(frames));
            map.timestamp_in = map.timestamp_in.wrapping_add(ticks);
        }
    }

    /// The burst, or the mix, is over: late packets of it are refused.
    pub fn end(&mut self) {
        self.state = State::Silent;
    }

    /// A packet of this stream has been handed to the outbox.
    pub fn count(&mut self, payload_bytes: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload_bytes as u32);
    }

    /// For a sender report.
    pub fn totals(&self, now: MonoTime) -> SentTotals {
        let timestamp = self.newest.map_or(0, |(newest, at)| newest.wrapping_add(self.ticks(now.since(at).as_nanos())));
        SentTotals { ssrc: self.ssrc, timestamp, packets: self.packets, octets: self.octets }
    }

    /// Under which SSRC.
    pub const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Whether anything is sent now.
    pub const fn is_silent(&self) -> bool {
        matches!(self.state, State::Silent)
    }

    fn continue_relay(
        &mut self,
        burst: B,
        map: Mapping,
        sequence: u64,
        timestamp: u32,
        now: MonoTime,
    ) -> Result<Head, Discard> {
        let ahead = sequence as i128 - map.newest_in as i128;
        if ahead <= 0 {
            let behind = (-ahead) as u64;
            let out = map.newest_out.checked_sub(behind).filter(|out| *out >= map.base).ok_or(Discard::Late)?;
            let back = self.next_sequence - 1 - out;
            if back >= 128 {
                return Err(Discard::Late);
            }
            if self.sent >> back & 1 == 1 {
                return Err(Discard::Duplicate);
            }
            self.sent |= 1 << back;
            let late_by = self.format.ticks_per_packet().wrapping_mul(behind as u32);
            let timestamp = map.timestamp_out.wrapping_sub(late_by);
            return Ok(Head { ssrc: self.ssrc, sequence: out, timestamp, marker: false });
        }
        // A talker that jumps far (a restarted encoder) shall not drag the listener's window along.
        let steps = (ahead as u128).min(u128::from(GAP_MAX)) as u64;
        let out = map.newest_out + steps;
        let expected = self.format.ticks_per_packet().wrapping_mul(steps as u32);
        let elapsed = timestamp.wrapping_sub(map.timestamp_in);
        let ticks_max = self.format.clock_hz.saturating_mul(TIMESTAMP_JUMP_MAX_S);
        let advance =
            if elapsed >= 1 && elapsed <= ticks_max && u128::from(steps) == ahead as u128 { elapsed } else { expected };
        let timestamp_out = map.timestamp_out.wrapping_add(advance);
        let map =
            Mapping { newest_in: sequence, newest_out: out, base: map.base, timestamp_in: timestamp, timestamp_out };
        self.state = State::Relay { burst, map };
        Ok(self.commit(out, timestamp_out, false, now))
    }

    /// Uses a number that is higher than all before.
    fn commit(&mut self, sequence: u64, timestamp: u32, marker: bool, now: MonoTime) -> Head {
        assert!(sequence >= self.next_sequence, "a sequence number never repeats under one SSRC");
        let step = sequence + 1 - self.next_sequence;
        self.sent = if step < 128 { self.sent << step } else { 0 } | 1;
        self.next_sequence = sequence + 1;
        self.newest = Some((timestamp, now));
        Head { ssrc: self.ssrc, sequence, timestamp, marker }
    }

    /// The timestamp of a packet that continues the stream now: the last one's, moved on by the time since, at least
    /// by the length of a packet.
    fn timestamp_at(&self, now: MonoTime) -> u32 {
        match self.newest {
            None => self.ssrc.rotate_left(16) ^ self.next_sequence as u32,
            Some((newest, at)) => {
                let least = self.format.ticks_per_packet().max(self.format.clock_hz / 1000 * BETWEEN_MS);
                newest.wrapping_add(self.ticks(now.since(at).as_nanos()).max(least))
            }
        }
    }

    fn ticks(&self, nanos: u128) -> u32 {
        (nanos * u128::from(self.format.clock_hz) / 1_000_000_000) as u32
    }
}

/// A packet of ours that is later than this comes after a pause, and says so (ms).
const PAUSE_FROM_MS: u64 = 60;
/// A gap longer than this is no loss but another beginning (packets); two seconds.
const GAP_MAX: u64 = 100;
/// Timestamps that jump further than this within a burst are not believed (s).
const TIMESTAMP_JUMP_MAX_S: u32 = 10;

#[cfg(test)]
mod tests;
