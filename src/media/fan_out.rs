//! One packet of a burst on its way to everybody who may hear it: relayed at once, sent once to each other shard, and
//! kept for the mix. The payload is never touched here; headers are the sender's.

use crate::domain::audio::Format;
use crate::domain::floor::MissCause;
use crate::domain::report::MediaLimit;
use crate::domain::time::MonoTime;
use crate::wire::rtp::RtpHeader;
use crate::wire::rtp_extension::{AudioLevel, Elements, FloorNotice, Keying};
use crate::wire::trunk::{Speech, TrunkMessage};

use super::burst::Source;
use super::discard::Discard;
use super::hearing::{Mode, Stage};
use super::outbox::{Carries, Outbox, PacketKind};
use super::port::Port;
use super::sender::{Head, Voice};
use super::shard::Shard;
use super::silence::between;
use super::slab::{BurstSlot, PatchSlot, PortSlot};

/// One packet of a burst.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spoken<'a> {
    /// Grows over the streams of its port.
    pub sequence: u64,
    pub timestamp: u32,
    /// Tells encoders apart.
    pub stream: u64,
    pub level: Option<AudioLevel>,
    pub payload: &'a [u8],
}

/// For which ears a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Those whose patch is homed here.
    Homed,
    /// Those of one patch.
    Patch(PatchSlot),
}

impl Shard {
    /// A packet from a talker of this shard.
    pub(super) fn speak(&mut self, burst: BurstSlot, spoken: &Spoken<'_>, now: MonoTime, out: &mut Outbox) {
        let Some(open) = self.bursts.get_mut(burst) else { return };
        open.packet_at = now;
        open.newest = Some(open.newest.map_or(spoken.sequence, |newest| newest.max(spoken.sequence)));
        if let Some(level) = spoken.level {
            open.level = level.level;
        }
        if !open.lists.talks.iter().any(|talk| talk.state.is_sent()) {
            self.counters.discard(Discard::NoFloor);
            return;
        }
        let (id, format) = (open.id, open.format);
        self.deliver(burst, Reach::Homed, spoken, now, out);
        for at in 0..self.bursts[burst].lists.talks.len() {
            let talk = self.bursts[burst].lists.talks[at];
            if self.patches.get(talk.patch).is_none() || !talk.state.is_sent() {
                continue;
            }
            if self.patches[talk.patch].floor.is_some() {
                self.speak_to_shards(burst, talk.patch, spoken, 1, now, out);
            } else {
                let speech = TrunkMessage::Speech(self.speech(burst, spoken));
                self.tell_home(burst, talk.patch, speech, now, out);
            }
        }
        out.push_tap(id, spoken.sequence as u32, format, now, spoken.payload);
        self.keep(burst, spoken, now);
    }

    /// A packet from another shard, granted in one patch: to the ears here and, at the patch's home, to the others.
    pub(super) fn speak_from_trunk(
        &mut self,
        burst: BurstSlot,
        patch: PatchSlot,
        spoken: &Spoken<'_>,
        now: MonoTime,
        out: &mut Outbox,
    ) {
        let open = &mut self.bursts[burst];
        open.packet_at = now;
        if let Some(level) = spoken.level {
            open.level = level.level;
        }
        self.deliver(burst, Reach::Patch(patch), spoken, now, out);
        if self.patches[patch].floor.is_some() {
            self.speak_to_shards(burst, patch, spoken, 1, now, out);
        }
        self.keep(burst, spoken, now);
    }

    fn speak_to_shards(
        &mut self,
        burst: BurstSlot,
        patch: PatchSlot,
        spoken: &Spoken<'_>,
        hops: u8,
        now: MonoTime,
        out: &mut Outbox,
    ) {
        let Some(talk) = self.bursts[burst].talk(patch).copied() else { return };
        if !talk.state.is_heard() {
            return;
        }
        for shard in talk.shards.iter() {
            let speech = TrunkMessage::Speech(Speech { soft: !talk.loud, ..self.speech(burst, spoken) });
            self.tell_shard(shard, burst, patch, speech, hops, now, out);
        }
    }

    fn speech<'a>(&self, burst: BurstSlot, spoken: &Spoken<'a>) -> Speech<'a> {
        let open = &self.bursts[burst];
        Speech {
            format: open.format,
            soft: false,
            level: spoken.level,
            sequence: spoken.sequence as u16,
            timestamp: spoken.timestamp,
            talker: open.talker,
            payload: spoken.payload,
        }
    }

    fn deliver(&mut self, burst: BurstSlot, reach: Reach, spoken: &Spoken<'_>, now: MonoTime, out: &mut Outbox) {
        let packet_ms = u32::from(self.bursts[burst].format.packet_ms);
        for at in 0..self.bursts[burst].lists.ears.len() {
            let port = self.bursts[burst].lists.ears[at];
            let Some(open) = self.ports.get_mut(port) else { continue };
            let mode = open.hearing.mode();
            let Some(ear) = open.hearing.ear_mut(burst) else { continue };
            let reached = match reach {
                Reach::Homed => self.patches.get(ear.patch).is_some_and(|patch| patch.floor.is_some()),
                Reach::Patch(patch) => ear.patch == patch,
            };
            let heard = ear.relayed_elsewhere >= Some(spoken.sequence);
            if !reached || heard || ear.stage != Stage::Live {
                continue;
            }
            if !ear.chosen {
                ear.miss(packet_ms, MissCause::OutRanked);
                continue;
            }
            match mode {
                Mode::Relay(relayed) if relayed == burst => self.relay(port, burst, spoken, packet_ms, now, out),
                // It is heard in the tick.
                Mode::Mix => ear.left_to_mix = true,
                Mode::Relay(_) | Mode::Silent => {}
            }
        }
    }

    /// One talker's payload to one port.
    fn relay(
        &mut self,
        port: PortSlot,
        burst: BurstSlot,
        spoken: &Spoken<'_>,
        packet_ms: u32,
        now: MonoTime,
        out: &mut Outbox,
    ) {
        if let Some(ear) = self.ports[port].hearing.ear_mut(burst) {
            ear.relayed = ear.relayed.max(Some(spoken.sequence));
        }
        self.ports[port].stray();
        if self.ports[port].needs_hold() {
            self.hold(port, burst, spoken, now, out);
            return;
        }
        let frame = Framed { sequence: spoken.sequence, timestamp: spoken.timestamp, stream: spoken.stream };
        let missed = match self.send_relayed(port, burst, frame, spoken.payload, now, out) {
            Ok(()) => None,
            Err(NotSent::NoPeer) => Some(MissCause::NoPeer),
            Err(NotSent::NoRoom) => Some(MissCause::Full),
            // Late or twice: it was counted where the stream is known.
            Err(NotSent::Refused) => return,
        };
        if let Some(ear) = self.ports[port].hearing.ear_mut(burst) {
            match missed {
                None => ear.hear(packet_ms),
                Some(cause) => ear.miss(packet_ms, cause),
            }
        }
    }

    /// Header rewritten, payload untouched.
    pub(super) fn send_relayed(
        &mut self,
        port: PortSlot,
        burst: BurstSlot,
        frame: Framed,
        payload: &[u8],
        now: MonoTime,
        out: &mut Outbox,
    ) -> Result<(), NotSent> {
        let open = &mut self.ports[port];
        let Some(to) = open.peer() else { return Err(NotSent::NoPeer) };
        open.sent_at = Some(now);
        let voice = Voice::Relay { burst, stream: frame.stream };
        let Some(ear) = open.hearing.ear(burst) else { return Err(NotSent::Refused) };
        let carries = Carries::One { burst: self.bursts[burst].id, talker: ear.talker, ear: ear.leg };
        if open.voice != Some(voice) {
            open.voice = Some(voice);
            if let (Some(head), Some(rest)) = (open.sender.begin(voice, now), between(open.format_out().codec)) {
                let elements = open.elements(self.bursts[burst].talker, None);
                put(open, port, to, carries, &head, &elements, rest, out);
            }
        }
        let head = match open.sender.relay(burst, frame.sequence, frame.timestamp, now) {
            Ok(head) => head,
            Err(why) => {
                self.counters.discard(why);
                return Err(NotSent::Refused);
            }
        };
        let elements = open.elements(self.bursts[burst].talker, None);
        if put(open, port, to, carries, &head, &elements, payload, out) {
            self.counters.relayed += 1;
            return Ok(());
        }
        self.counters.limit(MediaLimit::Outbox);
        Err(NotSent::NoRoom)
    }

    /// Keeps a packet for the mix and the detectors, if anybody needs it decoded.
    fn keep(&mut self, burst: BurstSlot, spoken: &Spoken<'_>, now: MonoTime) {
        if let Some(playout) = &mut self.bursts[burst].playout {
            // The same packet may come over several patches: the buffer refuses the second.
            playout.push(now, 0, spoken.sequence as u16, spoken.timestamp, spoken.payload);
        }
    }

    /// Where a burst's packets come from, if that is a port of this shard.
    pub(super) fn port_of(&self, burst: BurstSlot) -> Option<PortSlot> {
        match self.bursts.get(burst)?.source {
            Source::Here(port) => Some(port),
            Source::Trunk(_) => None,
        }
    }
}

/// A packet's place in its burst.
#[derive(Clone, Copy, Debug)]
pub(super) struct Framed {
    pub sequence: u64,
    pub timestamp: u32,
    pub stream: u64,
}

/// Why a packet did not go into the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotSent {
    /// Its peer is not known.
    NoPeer,
    /// The outbox is full.
    NoRoom,
    /// The sender would not number it; counted.
    Refused,
}

impl Port {
    /// What our packets to this port say beside speech. `keyed` overrides the transmitter's own state.
    pub(super) fn elements(&self, talker: crate::domain::talker::Alias, keyed: Option<bool>) -> Elements {
        use crate::domain::port::TransmitKeying;
        let by_extension = self.spec.transmit.keying == TransmitKeying::Ext;
        let keying = by_extension.then(|| Keying {
            ptt: keyed.unwrap_or(true),
            cor: false,
            granted: false,
            busy: false,
            emergency: self.hearing.is_emergency(),
            floor: if self.floor_notice == FloorNotice::Silent && keyed.unwrap_or(true) {
                FloorNotice::Taken
            } else {
                self.floor_notice
            },
        });
        Elements { level: None, keying, talker }
    }
}

/// Writes one packet into the outbox; counted as sent if there was room.
#[expect(clippy::too_many_arguments, reason = "one packet is these things; a struct would only name them twice")]
pub(super) fn put(
    open: &mut Port,
    port: PortSlot,
    to: std::net::SocketAddr,
    carries: Carries,
    head: &Head,
    elements: &Elements,
    payload: &[u8],
    out: &mut Outbox,
) -> bool {
    let header = RtpHeader {
        payload_type: open.payload_out(),
        marker: head.marker,
        sequence: head.wire_sequence(),
        timestamp: head.timestamp,
        ssrc: head.ssrc,
    };
    let ids = open.spec.extension;
    let sent = out.push_packet(port, to, PacketKind::Rtp, carries, |room| {
        let mut extension = [0; crate::wire::rtp_extension::ELEMENTS_BYTES_MAX];
        let length = elements.write(&ids, &mut extension).unwrap_or(0);
        header.write_packet(&extension[..length], payload, room).unwrap_or(0)
    });
    if sent {
        open.sender.count(payload.len());
    }
    sent
}

/// Whether certainly nobody speaks in a payload: by its sender's meter, else by its samples if they are plain, else by
/// an Opus frame too short to hold speech (a DTX or silence frame).
pub(super) fn is_speech(format: Format, level: Option<AudioLevel>, payload: &[u8]) -> bool {
    use crate::domain::audio::Codec;
    if let Some(level) = level {
        return level.voice || level.level.0 < QUIET_DBOV;
    }
    match format.codec {
        Codec::Opus => payload.len() > 8,
        // Positive and negative zero and the seven smallest steps around them.
        Codec::Pcmu => payload.iter().any(|byte| !byte & 0x7f > 0x10),
        Codec::Pcma => payload.iter().any(|byte| (byte ^ 0x55) & 0x7f > 0x08),
        Codec::L16 => payload.chunks_exact(2).any(|pair| i16::from_be_bytes([pair[0], pair[1]]).unsigned_abs() > 128),
        Codec::G722 => true,
    }
}

/// Below this level nobody speaks, whatever a meter's voice bit says [-dBov].
const QUIET_DBOV: u8 = 60;
