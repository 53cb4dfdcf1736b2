//! What a shard wants sent, told and tapped in one round. Owned, flushed and cleared by the caller; made once, never
//! grows: what does not fit is refused to the shard, which counts it.
//!
//! Each waiting packet remembers whose speech it is, so that a cut can take it back before the flush.

use std::net::SocketAddr;
use std::vec::Drain;

use crate::domain::audio::Format;
use crate::domain::id::BurstId;
use crate::domain::port::ShardId;
use crate::domain::report::Report;
use crate::domain::time::MonoTime;

use super::limits::ShardLimits;
use super::slab::{LegSlot, PortSlot};

/// What a port's packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// A voice packet, or a telephone event.
    Rtp,
    /// A report or keep-alive, sent to the RTCP address by the caller's rule.
    Rtcp,
}

/// A packet to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure<'a> {
    /// Through this port's socket.
    pub port: PortSlot,
    /// To its peer.
    pub to: SocketAddr,
    /// RTP or RTCP.
    pub kind: PacketKind,
    /// The whole packet.
    pub bytes: &'a [u8],
}

/// One frame of one burst for a recorder: payload as it came, once per packet and shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tap<'a> {
    /// Whose speech.
    pub burst: BurstId,
    /// Place of the frame in its burst; gaps are losses.
    pub sequence: u32,
    /// What the payload is.
    pub format: Format,
    /// When it arrived.
    pub at: MonoTime,
    /// The payload.
    pub payload: &'a [u8],
}

/// Whose speech a waiting packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    /// Nobody's: RTCP, keying, notices.
    Nobody,
    /// One talker's payload, from its leg to the ear's leg.
    One { burst: BurstId, talker: LegSlot, ear: LegSlot },
    /// Several talkers', or one's re-encoded.
    Mix,
}

/// Everything one round wants from the world.
#[derive(Debug)]
pub struct Outbox {
    packets: Vec<Waiting>,
    arena: Arena,
    trunk: Vec<WaitingFrame>,
    trunk_arena: Arena,
    reports: Vec<Report>,
    reports_max: usize,
    latches: Vec<(PortSlot, SocketAddr)>,
    taps: Vec<WaitingTap>,
    tap_arena: Arena,
    tapped: bool,
}

impl Outbox {
    /// Reserves everything.
    pub fn new(limits: &ShardLimits) -> Self {
        Self {
            packets: Vec::with_capacity(limits.outbox_packets),
            arena: Arena::new(limits.outbox_bytes),
            trunk: Vec::with_capacity(limits.trunk_frames),
            trunk_arena: Arena::new(limits.trunk_bytes),
            reports: Vec::with_capacity(limits.reports),
            reports_max: limits.reports,
            latches: Vec::with_capacity(limits.ports),
            taps: Vec::with_capacity(limits.taps),
            tap_arena: Arena::new(limits.taps * TAP_PAYLOAD),
            tapped: false,
        }
    }

    /// Whether frames are wanted for a recorder.
    pub fn set_tapped(&mut self, tapped: bool) {
        self.tapped = tapped;
    }

    /// The packets, in the order in which they should leave.
    pub fn packets(&self) -> impl Iterator<Item = Departure<'_>> {
        self.packets.iter().filter(|waiting| !waiting.purged).map(|waiting| Departure {
            port: waiting.port,
            to: waiting.to,
            kind: waiting.kind,
            bytes: self.arena.get(waiting.at),
        })
    }
    /// The frames for other shards, in order.
    pub fn trunk_frames(&self) -> impl Iterator<Item = (ShardId, &[u8])> {
        self.trunk.iter().filter(|frame| !frame.purged).map(|frame| (frame.to, self.trunk_arena.get(frame.at)))
    }
    /// Takes the reports, oldest first.
    pub fn drain_reports(&mut self) -> Drain<'_, Report> {
        self.reports.drain(..)
    }
    /// Ports whose peer is known or has moved: their socket may be connected.
    pub fn latches(&self) -> &[(PortSlot, SocketAddr)] {
        &self.latches
    }
    /// Frames for a recorder; none unless asked for.
    pub fn taps(&self) -> impl Iterator<Item = Tap<'_>> {
        self.taps.iter().map(|tap| Tap {
            burst: tap.burst,
            sequence: tap.sequence,
            format: tap.format,
            at: tap.at,
            payload: self.tap_arena.get(tap.bytes),
        })
    }
    /// Forgets everything but reports not yet taken.
    pub fn clear(&mut self) {
        self.packets.clear();
        self.arena.clear();
        self.trunk.clear();
        self.trunk_arena.clear();
        self.latches.clear();
        self.taps.clear();
        self.tap_arena.clear();
    }

    /// Reserve, fill, commit: `fill` writes the packet and returns its length. False if there is no room.
    pub(super) fn push_packet(
        &mut self,
        port: PortSlot,
        to: SocketAddr,
        kind: PacketKind,
        carries: Carries,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> bool {
        if self.packets.len() == self.packets.capacity() {
            return false;
        }
        let Some(at) = self.arena.fill(PACKET_LENGTH_MAX, fill) else { return false };
        self.packets.push(Waiting { port, to, kind, carries, at, purged: false });
        true
    }

    /// The same for a frame to another shard. `speech` names the talker's leg whose removal takes it back.
    pub(super) fn push_trunk(
        &mut self,
        to: ShardId,
        speech: Option<(BurstId, LegSlot)>,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> bool {
        if self.trunk.len() == self.trunk.capacity() {
            return false;
        }
        let Some(at) = self.trunk_arena.fill(TRUNK_LENGTH_MAX, fill) else { return false };
        self.trunk.push(WaitingFrame { to, speech, at, purged: false });
        true
    }

    /// Room for this many more reports.
    pub(super) fn reports_left(&self) -> usize {
        self.reports_max - self.reports.len()
    }

    /// False if there is no room: the report is lost, the caller counts.
    pub(super) fn push_report(&mut self, report: Report) -> bool {
        let fits = self.reports.len() < self.reports_max;
        if fits {
            self.reports.push(report);
        }
        fits
    }

    pub(super) fn push_latch(&mut self, port: PortSlot, address: SocketAddr) {
        if self.latches.len() < self.latches.capacity() {
            self.latches.push((port, address));
        }
    }

    pub(super) fn push_tap(&mut self, burst: BurstId, sequence: u32, format: Format, at: MonoTime, payload: &[u8]) {
        if !self.tapped || self.taps.len() == self.taps.capacity() {
            return;
        }
        let bytes = self.tap_arena.fill(payload.len(), |room| {
            room[..payload.len()].copy_from_slice(payload);
            payload.len()
        });
        if let Some(bytes) = bytes {
            self.taps.push(WaitingTap { burst, sequence, format, at, bytes });
        }
    }

    /// Takes back every waiting packet and speech frame that `may_leave` does not let go; returns how many.
    pub(super) fn purge(
        &mut self,
        packet_may_leave: impl Fn(PortSlot, Carries) -> bool,
        speech_may_leave: impl Fn(BurstId, LegSlot) -> bool,
    ) -> usize {
        let mut purged = 0;
        for waiting in self.packets.iter_mut().filter(|waiting| !waiting.purged) {
            if !packet_may_leave(waiting.port, waiting.carries) {
                waiting.purged = true;
                purged += 1;
            }
        }
        for frame in self.trunk.iter_mut().filter(|frame| !frame.purged) {
            if frame.speech.is_some_and(|(burst, talker)| !speech_may_leave(burst, talker)) {
                frame.purged = true;
                purged += 1;
            }
        }
        purged
    }
}

#[derive(Debug)]
struct Waiting {
    port: PortSlot,
    to: SocketAddr,
    kind: PacketKind,
    carries: Carries,
    at: Span,
    purged: bool,
}

#[derive(Debug)]
struct WaitingFrame {
    to: ShardId,
    speech: Option<(BurstId, LegSlot)>,
    at: Span,
    purged: bool,
}

#[derive(Debug)]
struct WaitingTap {
    burst: BurstId,
    sequence: u32,
    format: Format,
    at: MonoTime,
    bytes: Span,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    length: u32,
}

/// One stretch of bytes, filled from the front.
#[derive(Debug)]
struct Arena {
    bytes: Box<[u8]>,
    used: usize,
}

impl Arena {
    fn new(size: usize) -> Self {
        Self { bytes: vec![0; size].into_boxed_slice(), used: 0 }
    }
    fn clear(&mut self) {
        self.used = 0;
    }
    fn get(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..(span.start + span.length) as usize]
    }
    fn fill(&mut self, room: usize, fill: impl FnOnce(&mut [u8]) -> usize) -> Option<Span> {
        let start = self.used;
        let length = fill(self.bytes.get_mut(start..start + room)?);
        self.used += length;
        Some(Span { start: start as u32, length: length as u32 })
    }
}

/// The longest packet sent: RFC 6716's longest Opus frame (1,275 bytes) or 40 ms of L16 at 16 kHz (1,280), an RTP
/// header and our extensions, inside one Ethernet frame.
pub const PACKET_LENGTH_MAX: usize = 1400;
/// A packet and the head of a trunk frame.
pub const TRUNK_LENGTH_MAX: usize = PACKET_LENGTH_MAX + 136;
/// Bytes reserved for each tapped frame on average: 20 ms of Opus or G.711.
const TAP_PAYLOAD: usize = 320;

#[cfg(test)]
mod tests {
    use super::super::slab::Slot;
    use super::*;

    fn limits() -> ShardLimits {
        ShardLimits { outbox_packets: 2, ..ShardLimits::small() }
    }

    #[test]
    fn a_purged_packet_does_not_leave_and_a_full_outbox_refuses() {
        let mut out = Outbox::new(&limits());
        let to: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let port = PortSlot::new(0, 0);
        let mix = |out: &mut Outbox, byte: u8, carries| {
            out.push_packet(port, to, PacketKind::Rtp, carries, |room| {
                room[0] = byte;
                1
            })
        };
        assert!(mix(&mut out, 1, Carries::Mix));
        assert!(mix(&mut out, 2, Carries::Nobody));
        assert!(!mix(&mut out, 3, Carries::Nobody), "a third packet in an outbox of two");
        assert_eq!(out.purge(|_, carries| carries != Carries::Mix, |_, _| true), 1);
        assert_eq!(out.packets().map(|departure| departure.bytes[0]).collect::<Vec<_>>(), [2]);
        out.clear();
        assert_eq!(out.packets().count(), 0);
    }
}
