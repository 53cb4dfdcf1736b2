//! What arrives at one port: is it from the peer, is it new, which stream is it of, how much is lost. Not the payload
//! and not the key. Owned by the port. A stranger who sends to the port's socket costs one comparison; a peer that
//! sends too much is cut to its rate.
//!
//! ```text
//!   peer:    Unlatched -- first allowed source --> Latched -- 2 s silent, another allowed source --> Latched
//!            Static: one address for ever
//!   stream:  none -- any SSRC --> Stream -- new SSRC, or a jump that goes on --> Stream (new_stream)
//! ```

use std::net::SocketAddr;

use crate::domain::port::PeerRule;
use crate::domain::time::MonoTime;

use super::discard::Discard;

/// What of an RTP header this needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
}

/// A packet that is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Sequence number with its wraps; grows over streams as well, so that no number means two packets of a port.
    pub sequence: u64,
    /// The first packet of a stream: another SSRC, or the same started over.
    pub new_stream: bool,
    /// A later packet of the stream came before it: what it says of the key is old news.
    pub overtaken: bool,
    /// The peer is now this source: report it and connect the socket.
    pub latched: bool,
}

/// One block of a receiver report (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceptionReport {
    pub ssrc: u32,
    /// Since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Since the stream began; negative with duplicates; 24 bits on the wire.
    pub cumulative_lost: i32,
    pub highest_sequence: u32,
    /// In timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the last sender report's NTP time; zero if none.
    pub last_sender_report: u32,
    /// Since then, in 1/65536 s.
    pub delay_since_last: u32,
}

/// One port's ear.
#[derive(Clone, Debug)]
pub struct Receiver {
    rule: PeerRule,
    peer: Peer,
    bucket: Bucket,
    clock_hz: u32,
    stream: Option<Stream>,
    /// Added to the next stream's numbers.
    next_base: u64,
    /// The SSRC left last, and when.
    left: Option<(u32, MonoTime)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Unlatched,
    Latched { address: SocketAddr, heard_at: MonoTime },
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    /// Extended by our base; `first` is the lowest the stream may use.
    first: u64,
    highest: u64,
    /// Which of the 128 numbers up to `highest` have been seen, the highest in bit 0.
    seen: u128,
    heard_at: MonoTime,
    /// A packet far from what is expected, and how many have followed it in order.
    strange: Option<Strange>,
    received: u64,
    /// Expected and received at the last report.
    reported: (u64, u64),
    /// RFC 3550 A.8, scaled by 16.
    jitter_16: u32,
    transit: Option<u32>,
    sender_report: Option<(u32, MonoTime)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Strange {
    next: u16,
    run: u8,
}

/// Where a number lies in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Ahead(u64),
    Within { back: u32 },
    TooFarBack,
    TooFarAhead,
}

impl Receiver {
    /// Nobody has been heard. `clock_hz` is the RTP clock, for the jitter.
    pub fn new(rule: PeerRule, clock_hz: u32, packets_per_second_max: u16) -> Self {
        Self {
            rule,
            peer: Peer::Unlatched,
            bucket: Bucket::new(packets_per_second_max),
            clock_hz,
            stream: None,
            next_base: 0x1_0000,
            left: None,
        }
    }

    /// One RTP packet with a valid header.
    pub fn accept(&mut self, source: SocketAddr, arrival: Arrival, now: MonoTime) -> Result<Accepted, Discard> {
        let moves = self.judge_source(source, now)?;
        // After the source: a stranger shall not use up the peer's rate.
        if !self.bucket.take(now) {
            return Err(Discard::RateLimited);
        }
        let accepted = self.judge_stream(arrival, now);
        // A peer is latched by a packet that counts.
        if accepted.is_ok() {
            self.peer = Peer::Latched { address: source, heard_at: now };
        }
        accepted.map(|accepted| Accepted { latched: moves, ..accepted })
    }

    /// Whether a packet from there may be heard at all; of an encrypted call this is asked before it is opened.
    pub fn admits(&self, source: SocketAddr, now: MonoTime) -> Result<(), Discard> {
        self.judge_source(source, now).map(|_| ())
    }

    /// One RTCP packet: from the peer's host, whatever its port, and within the rate.
    pub fn accept_control(&mut self, source: SocketAddr, now: MonoTime) -> Result<(), Discard> {
        self.admits_control(source)?;
        if self.bucket.take(now) { Ok(()) } else { Err(Discard::RateLimited) }
    }

    /// Whether RTCP from there may be heard at all.
    pub fn admits_control(&self, source: SocketAddr) -> Result<(), Discard> {
        let known = match (&self.rule, self.peer) {
            (PeerRule::Static(address), Peer::Unlatched | Peer::Latched { .. }) => same_host(*address, source),
            (PeerRule::Latch(_), Peer::Latched { address, .. }) => same_host(address, source),
            (PeerRule::Latch(_), Peer::Unlatched) => false,
        };
        if known { Ok(()) } else { Err(Discard::WrongSource) }
    }

    /// A sender report of the current stream; `ntp` is its 64-bit NTP time. Others' are ignored.
    pub fn handle_sender_report(&mut self, ssrc: u32, ntp: u64, now: MonoTime) {
        if let Some(stream) = self.stream.as_mut().filter(|stream| stream.ssrc == ssrc) {
            stream.sender_report = Some(((ntp >> 16) as u32, now));
        }
    }

    /// What to tell the peer of its stream; `None` before the first packet. Starts a new interval.
    pub fn report(&mut self, now: MonoTime) -> Option<ReceptionReport> {
        self.stream.as_mut().map(|stream| stream.report(now))
    }

    /// Where to send: the static address, or the latched one.
    pub fn peer(&self) -> Option<SocketAddr> {
        match (&self.rule, self.peer) {
            (PeerRule::Static(address), Peer::Unlatched | Peer::Latched { .. }) => Some(*address),
            (PeerRule::Latch(_), Peer::Latched { address, .. }) => Some(address),
            (PeerRule::Latch(_), Peer::Unlatched) => None,
        }
    }

    /// When a packet was last accepted.
    pub const fn heard_at(&self) -> Option<MonoTime> {
        match self.peer {
            Peer::Unlatched => None,
            Peer::Latched { heard_at, .. } => Some(heard_at),
        }
    }

    /// The SSRC heard now.
    pub fn ssrc(&self) -> Option<u32> {
        self.stream.map(|stream| stream.ssrc)
    }

    /// Another rule for the same port: a peer it does not allow is forgotten at once.
    pub fn set_rule(&mut self, rule: PeerRule) {
        let allowed = match (&rule, self.peer) {
            (PeerRule::Static(only), Peer::Latched { address, .. }) => same_peer(*only, address),
            (PeerRule::Latch(networks), Peer::Latched { address, .. }) => {
                networks.iter().any(|network| network.contains(address.ip()))
            }
            (PeerRule::Static(_) | PeerRule::Latch(_), Peer::Unlatched) => true,
        };
        if !allowed {
            self.peer = Peer::Unlatched;
        }
        self.rule = rule;
    }

    /// Whether the source may be heard, and whether that moves the latch.
    fn judge_source(&self, source: SocketAddr, now: MonoTime) -> Result<bool, Discard> {
        match (&self.rule, self.peer) {
            (PeerRule::Static(address), Peer::Unlatched) if same_peer(*address, source) => Ok(true),
            (PeerRule::Static(address), Peer::Latched { .. }) if same_peer(*address, source) => Ok(false),
            (PeerRule::Static(_), Peer::Unlatched | Peer::Latched { .. }) => Err(Discard::WrongSource),
            (PeerRule::Latch(_), Peer::Latched { address, .. }) if same_peer(address, source) => Ok(false),
            (PeerRule::Latch(networks), Peer::Unlatched | Peer::Latched { .. })
                if !networks.iter().any(|network| network.contains(source.ip())) =>
            {
                Err(Discard::NotAllowed)
            }
            (PeerRule::Latch(_), Peer::Unlatched) => Ok(true),
            (PeerRule::Latch(_), Peer::Latched { heard_at, .. }) if now.ms_since(heard_at) >= LATCH_MOVES_AFTER_MS => {
                Ok(true)
            }
            (PeerRule::Latch(_), Peer::Latched { .. }) => Err(Discard::WrongSource),
        }
    }

    fn judge_stream(&mut self, arrival: Arrival, now: MonoTime) -> Result<Accepted, Discard> {
        let Some(mut stream) = self.stream else { return Ok(self.begin_stream(arrival, now)) };
        if stream.ssrc != arrival.ssrc {
            let just_left = |(ssrc, at): (u32, MonoTime)| ssrc == arrival.ssrc && now.ms_since(at) < OLD_STREAM_MS;
            if self.left.is_some_and(just_left) {
                return Err(Discard::OldStream);
            }
            self.left = Some((stream.ssrc, now));
            return Ok(self.begin_stream(arrival, now));
        }
        let place = stream.place(arrival.sequence);
        let silent = now.ms_since(stream.heard_at) >= LATCH_MOVES_AFTER_MS;
        let verdict = match place {
            Place::Ahead(sequence) => {
                stream.advance(sequence);
                Ok(sequence)
            }
            // Nothing is so late: the sender has begun anew near where it was.
            Place::Within { .. } if silent => return Ok(self.begin_stream(arrival, now)),
            Place::Within { back } if stream.seen >> back & 1 == 1 => Err(Discard::Duplicate),
            Place::Within { back } => {
                stream.seen |= 1 << back;
                Ok(stream.highest - u64::from(back))
            }
            Place::TooFarBack | Place::TooFarAhead => {
                if silent || stream.confirms_restart(arrival.sequence) {
                    return Ok(self.begin_stream(arrival, now));
                }
                self.stream = Some(stream);
                let reason = if place == Place::TooFarBack { Discard::Late } else { Discard::SequenceJump };
                return Err(reason);
            }
        };
        if verdict.is_ok() {
            stream.note(arrival.timestamp, self.clock_hz, now);
        }
        self.stream = Some(stream);
        let overtaken = matches!(place, Place::Within { .. });
        verdict.map(|sequence| Accepted { sequence, new_stream: false, overtaken, latched: false })
    }

    fn begin_stream(&mut self, arrival: Arrival, now: MonoTime) -> Accepted {
        if let Some(stream) = self.stream {
            // The next multiple of 65,536 above all numbers used, so that the low bits stay the wire's.
            self.next_base = ((stream.highest >> 16) + 2) << 16;
        }
        let sequence = self.next_base + u64::from(arrival.sequence);
        let mut stream = Stream::new(arrival.ssrc, sequence, now);
        stream.note(arrival.timestamp, self.clock_hz, now);
        self.stream = Some(stream);
        Accepted { sequence, new_stream: true, overtaken: false, latched: false }
    }
}

impl Stream {
    fn new(ssrc: u32, sequence: u64, now: MonoTime) -> Self {
        Self {
            ssrc,
            first: sequence,
            highest: sequence,
            seen: 1,
            heard_at: now,
            strange: None,
            received: 0,
            reported: (0, 0),
            jitter_16: 0,
            transit: None,
            sender_report: None,
        }
    }

    /// RFC 3550 A.1's arithmetic: the nearest number with these low bits.
    fn place(&self, sequence: u16) -> Place {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead != 0 && ahead < DROPOUT_MAX {
            return Place::Ahead(self.highest + u64::from(ahead));
        }
        let back = (self.highest as u16).wrapping_sub(sequence);
        if back < WINDOW {
            Place::Within { back: u32::from(back) }
        } else if back < DROPOUT_MAX {
            Place::TooFarBack
        } else {
            Place::TooFarAhead
        }
    }

    fn advance(&mut self, sequence: u64) {
        let step = sequence - self.highest;
        self.seen = if step < 128 { self.seen << step } else { 0 } | 1;
        self.highest = sequence;
    }

    /// Whether enough packets in order have followed a strange one: the talker has started over.
    fn confirms_restart(&mut self, sequence: u16) -> bool {
        let run = match self.strange {
            Some(Strange { next, run }) if next == sequence => run + 1,
            Some(_) | None => 1,
        };
        self.strange = Some(Strange { next: sequence.wrapping_add(1), run });
        run >= RESTART_RUN
    }

    fn note(&mut self, timestamp: u32, clock_hz: u32, now: MonoTime) {
        self.received += 1;
        self.strange = None;
        let arrival = (u128::from(now.0) * u128::from(clock_hz) / 1_000_000_000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        // A pause between bursts is no jitter.
        let paused = now.ms_since(self.heard_at) >= JITTER_PAUSE_MS;
        if let Some(before) = self.transit.filter(|_| !paused) {
            let difference = (transit.wrapping_sub(before) as i32).unsigned_abs().min(clock_hz);
            self.jitter_16 = self.jitter_16 + difference - ((self.jitter_16 + 8) >> 4);
        }
        self.transit = Some(transit);
        self.heard_at = now;
    }

    fn report(&mut self, now: MonoTime) -> ReceptionReport {
        let expected = self.highest - self.first + 1;
        let (expected_before, received_before) = self.reported;
        let (interval, got) = (expected - expected_before, self.received - received_before);
        self.reported = (expected, self.received);
        let lost = interval.saturating_sub(got);
        let fraction = (lost * 256).checked_div(interval).unwrap_or(0);
        let cumulative = expected as i64 - self.received as i64;
        let (last, delay) = match self.sender_report {
            Some((middle, at)) => (middle, (now.since(at).as_nanos() * 65_536 / 1_000_000_000) as u32),
            None => (0, 0),
        };
        ReceptionReport {
            ssrc: self.ssrc,
            fraction_lost: fraction.min(255) as u8,
            cumulative_lost: cumulative.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: self.highest as u32,
            jitter: self.jitter_16 >> 4,
            last_sender_report: last,
            delay_since_last: delay,
        }
    }
}

/// A token bucket: one second's worth at most, refilled evenly.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    per_second: u64,
    /// Packets, times 10^9.
    tokens: u64,
    filled_at: Option<MonoTime>,
}

impl Bucket {
    const fn new(per_second: u16) -> Self {
        Self { per_second: per_second as u64, tokens: per_second as u64 * 1_000_000_000, filled_at: None }
    }

    fn take(&mut self, now: MonoTime) -> bool {
        if let Some(before) = self.filled_at {
            // More than a second's nanoseconds fill it anyway, and the product fits 64 bits.
            let elapsed = now.0.saturating_sub(before.0).min(1_000_000_000);
            self.tokens = (self.tokens + elapsed * self.per_second).min(self.per_second * 1_000_000_000);
        }
        self.filled_at = Some(self.filled_at.map_or(now, |before| before.max(now)));
        let enough = self.tokens >= 1_000_000_000;
        if enough {
            self.tokens -= 1_000_000_000;
        }
        enough
    }
}

fn same_peer(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && same_host(one, other)
}

/// Mapped IPv4 is IPv4.
fn same_host(one: SocketAddr, other: SocketAddr) -> bool {
    one.ip().to_canonical() == other.ip().to_canonical()
}

/// A latch moves after this silence: longer than any pause of a live sender, shorter than a dispatcher's patience (ms).
const LATCH_MOVES_AFTER_MS: u64 = 2_000;
/// Packets of the SSRC left behind may still be under way for this long (ms).
const OLD_STREAM_MS: u64 = 200;
/// RFC 3550 A.1: a gap as large as this is another beginning.
const DROPOUT_MAX: u16 = 3_000;
/// Packets behind the newest that are still accepted once.
const WINDOW: u16 = 128;
/// Packets in order that prove a new beginning under the same SSRC.
const RESTART_RUN: u8 = 3;
/// Between packets further apart than this no jitter is measured (ms).
const JITTER_PAUSE_MS: u64 = 500;

#[cfg(test)]
mod tests;
