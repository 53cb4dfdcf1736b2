//! Speech on its way into a transmitter: held until the channel is clear and the grant is there, then played, with the
//! key sign around it. When the keyer says so: `keying`; in which order: `hold`; this does what they say.

use crate::domain::floor::MissCause;
use crate::domain::port::{Pacing, TransmitKeying};
use crate::domain::report::MediaLimit;
use crate::domain::time::MonoTime;
use crate::wire::rtp_extension::FloorNotice;
use crate::wire::telephone_event::TelephoneEvent;

use super::discard::Discard;
use super::fan_out::{Framed, NotSent, Spoken, is_speech, put};
use super::hearing::{Stage, Voices};
use super::hold::{HeldFrame, NotHeld};
use super::keying::TransmitChange;
use super::outbox::{Carries, Outbox, PacketKind};
use super::port::{Held, Port};
use super::sender::{Head, Voice};
use super::shard::Shard;
use super::silence::{between, silence};
use super::slab::{BurstSlot, PortSlot};
use crate::domain::talker::Alias;

impl Shard {
    /// A relayed packet for a port that may have to wait.
    pub(super) fn hold(
        &mut self,
        port: PortSlot,
        burst: BurstSlot,
        spoken: &Spoken<'_>,
        now: MonoTime,
        out: &mut Outbox,
    ) {
        let frame = HeldFrame {
            burst: Held::Relayed(burst),
            sequence: spoken.sequence,
            timestamp: spoken.timestamp,
            speech: is_speech(self.bursts[burst].format, spoken.level, spoken.payload),
            arrived_at: now,
        };
        self.hold_frame(port, frame, spoken.payload, now, out);
    }

    /// A frame of our own encoder for the same.
    pub(super) fn hold_mixed(
        &mut self,
        port: PortSlot,
        (sounding, said): (Voices, Voices),
        frame: MixedFrame<'_>,
        now: MonoTime,
        out: &mut Outbox,
    ) {
        let MixedFrame { encoder, speech, payload } = frame;
        let open = &mut self.ports[port];
        open.mix_sequence += 1;
        let frame = HeldFrame {
            burst: Held::Mixed { sounding, said, encoder },
            sequence: open.mix_sequence,
            timestamp: 0,
            speech,
            arrived_at: now,
        };
        self.hold_frame(port, frame, payload, now, out);
    }

    fn hold_frame(&mut self, port: PortSlot, frame: HeldFrame<Held>, payload: &[u8], now: MonoTime, out: &mut Outbox) {
        let open = &mut self.ports[port];
        let (packet_ms, hold_max_ms) = (open.format_out().packet_ms, open.spec.transmit.hold_max_ms);
        if open.hearing.is_emergency() {
            open.transmit.knock();
        }
        if open.transmit.has_failed() {
            let cause = open.failed_by;
            self.miss(port, frame.burst, u32::from(packet_ms), cause);
            return;
        }
        if open.hold.is_none() {
            open.hold = self.spare_holds.pop();
            if let Some(hold) = &mut open.hold {
                hold.reset(packet_ms);
            }
        }
        let Some(hold) = &mut open.hold else {
            let id = open.spec.port;
            self.miss(port, frame.burst, u32::from(packet_ms), MissCause::Full);
            self.hit_limit(MediaLimit::Holds, Some(id), now, out);
            return;
        };
        match hold.push(frame, payload, hold_max_ms, now) {
            Ok(()) => self.pump(port, now, out),
            Err(NotHeld::Late) => self.counters.discard(Discard::Late),
            Err(NotHeld::Full) => self.miss(port, frame.burst, u32::from(packet_ms), MissCause::HoldOverrun),
            Err(NotHeld::TooLong) => self.miss(port, frame.burst, u32::from(packet_ms), MissCause::Full),
        }
    }

    /// Plays what may be played: keys if the channel is clear, sends if the grant is there.
    pub(super) fn pump(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        if self.ports[port].hold.as_ref().is_none_or(super::hold::Hold::is_empty) {
            return;
        }
        if self.ports[port].transmit.is_raised() || self.busy_by(port).is_none() {
            let change = self.ports[port].transmit.begin(now);
            self.apply_transmit(port, change, now, out);
        }
        if !self.ports[port].transmit.may_send() {
            return;
        }
        // A shard that was held up finds its channel's ears open again before its next tick.
        self.inhibit_channel(port, now, out);
        let Some(mut hold) = self.ports[port].hold.take() else { return };
        hold.open(now);
        let declared = self.ports[port].spec.transmit.pacing;
        loop {
            // What waited is played in its own time; only a packet or two may leave at once.
            let pacing = if hold.len() > AT_ONCE_MAX { Pacing::Paced } else { declared };
            let Some(played) = hold.pop(pacing, now) else { break };
            if played.left_out > 0 {
                self.ports[port].sender.close_gap(played.left_out);
            }
            self.play(port, &played.frame, played.payload, now, out);
        }
        self.ports[port].hold = Some(hold);
    }

    fn play(&mut self, port: PortSlot, frame: &HeldFrame<Held>, payload: &[u8], now: MonoTime, out: &mut Outbox) {
        let packet_ms = u32::from(self.ports[port].format_out().packet_ms);
        let sent = match frame.burst {
            Held::Mixed { encoder, .. } => self.send_mixed(port, encoder, payload, now, out),
            Held::Relayed(burst) if self.bursts.get(burst).is_none() => return,
            Held::Relayed(burst) => {
                let stream = self.stream_of(burst);
                let framed = Framed { sequence: frame.sequence, timestamp: frame.timestamp, stream };
                self.send_relayed(port, burst, framed, payload, now, out)
            }
        };
        match sent {
            Ok(()) => {
                let ears = self.ports[port].hearing.ears_mut().iter_mut();
                ears.filter(|ear| frame.burst.says(ear)).for_each(|ear| ear.hear(packet_ms));
            }
            Err(NotSent::NoPeer) => self.miss(port, frame.burst, packet_ms, MissCause::NoPeer),
            Err(NotSent::NoRoom) => self.miss(port, frame.burst, packet_ms, MissCause::Full),
            Err(NotSent::Refused) => {}
        }
    }

    /// A frame of our own encoder, or none of anybody's.
    pub(super) fn send_mixed(
        &mut self,
        port: PortSlot,
        encoder: u32,
        payload: &[u8],
        now: MonoTime,
        out: &mut Outbox,
    ) -> Result<(), NotSent> {
        let open = &mut self.ports[port];
        let Some(to) = open.peer() else { return Err(NotSent::NoPeer) };
        open.sent_at = Some(now);
        let elements = open.elements(Alias::default(), None);
        let voice = Voice::Mix { encoder };
        let Some(head) = own_head(open, port, to, Carries::Mix, voice, now, out) else { return Err(NotSent::Refused) };
        if put(open, port, to, Carries::Mix, &head, &elements, payload, out) {
            self.counters.mixed += 1;
            return Ok(());
        }
        open.stray();
        self.counters.limit(MediaLimit::Outbox);
        Err(NotSent::NoRoom)
    }

    /// Which encoder is behind a burst's packets.
    fn stream_of(&self, burst: BurstSlot) -> u64 {
        match self.port_of(burst).and_then(|port| self.ports.get(port)) {
            Some(open) => open.stream(),
            None => self.bursts[burst].port.0 as u64,
        }
    }

    fn miss(&mut self, port: PortSlot, held: Held, ms: u32, cause: MissCause) {
        // Who has no peer yet has no decoder that could have heard anything.
        if cause != MissCause::NoPeer {
            self.ports[port].stray();
        }
        for ear in self.ports[port].hearing.ears_mut().iter_mut().filter(|ear| held.says(ear)) {
            if ear.missed != Some(cause) {
                self.counters.miss(cause);
            }
            ear.miss(ms, cause);
        }
    }

    /// What the keyer says, done.
    pub(super) fn apply_transmit(&mut self, port: PortSlot, change: TransmitChange, now: MonoTime, out: &mut Outbox) {
        match change {
            TransmitChange::None => {}
            TransmitChange::Raise | TransmitChange::RaiseOnAir => {
                self.sign(port, true, now, out);
                self.inhibit_channel(port, now, out);
            }
            // Speech follows in the pump.
            TransmitChange::OnAir => {}
            TransmitChange::Pause => {
                self.sign(port, false, now, out);
                self.pause_hold(port, now);
            }
            TransmitChange::Rekey => {
                self.sign(port, false, now, out);
                self.sign(port, true, now, out);
                self.pause_hold(port, now);
            }
            TransmitChange::Lower => self.sign(port, false, now, out),
            TransmitChange::Failed(cause) => {
                self.sign(port, false, now, out);
                self.ports[port].failed_by = cause;
                if cause == MissCause::TransmitDenied {
                    self.ports[port].failed_until = now.plus_ms(FAILED_FOR_MS);
                }
                self.give_up(port, cause);
            }
        }
    }

    fn pause_hold(&mut self, port: PortSlot, now: MonoTime) {
        let hold_max_ms = self.ports[port].spec.transmit.hold_max_ms;
        if let Some(hold) = &mut self.ports[port].hold {
            hold.pause(hold_max_ms, now);
        }
    }

    /// All that is held is missed.
    fn give_up(&mut self, port: PortSlot, cause: MissCause) {
        let open = &mut self.ports[port];
        let packet_ms = u32::from(open.format_out().packet_ms);
        open.stray();
        let Some(hold) = &mut open.hold else { return };
        let (hearing, counters) = (&mut open.hearing, &mut self.counters);
        hold.give_up(|frame| {
            for ear in hearing.ears_mut().iter_mut().filter(|ear| frame.burst.says(ear)) {
                if ear.missed != Some(cause) {
                    counters.miss(cause);
                }
                ear.miss(packet_ms, cause);
            }
        });
    }

    /// Whatever was, the transmitter is lowered: the port closes.
    pub(super) fn lower(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        let change = self.ports[port].transmit.stop();
        self.apply_transmit(port, change, now, out);
    }

    /// Gives the key sign, or takes it back, in the port's own way.
    fn sign(&mut self, port: PortSlot, keyed: bool, now: MonoTime, out: &mut Outbox) {
        match self.ports[port].spec.transmit.keying {
            TransmitKeying::Presence => {}
            TransmitKeying::Ext => {
                self.ports[port].unkeys_due = if keyed { 0 } else { UNKEYS };
                self.send_sign(port, keyed, now, out);
            }
            TransmitKeying::Event => self.send_event(port, keyed, now, out),
        }
    }

    /// A packet that carries no speech, only the keying element.
    fn send_sign(&mut self, port: PortSlot, keyed: bool, now: MonoTime, out: &mut Outbox) {
        // Whoever is keyed by it shall know who is about to speak.
        let heard = self.ports[port].hearing.ears().iter().find(|ear| ear.chosen && ear.stage == Stage::Live);
        let talker = heard.and_then(|ear| self.bursts.get(ear.burst)).map_or(Alias::default(), |burst| burst.talker);
        let open = &mut self.ports[port];
        let Some(to) = open.peer() else { return };
        open.sent_at = Some(now);
        let voice = open.sign_voice();
        let Some(head) = own_head(open, port, to, Carries::Nobody, voice, now, out) else { return };
        let elements = open.elements(talker, Some(keyed));
        let mut payload = [0; super::codec::PAYLOAD_BYTES_MAX];
        let length = silence(open.format_out(), &mut payload);
        put(open, port, to, Carries::Nobody, &head, &elements, &payload[..length], out);
        // It overtakes what waits, whose coder began anew after the last sign before it.
        if open.hold.as_ref().is_none_or(super::hold::Hold::is_empty) {
            open.stray();
        }
    }

    /// A talker whose client reads our keying element is told of the floor at once, in a packet of its own.
    pub(super) fn set_notice(&mut self, port: PortSlot, notice: FloorNotice, now: MonoTime, out: &mut Outbox) {
        let Some(open) = self.ports.get_mut(port) else { return };
        if open.floor_notice == notice {
            return;
        }
        open.floor_notice = notice;
        if open.spec.transmit.keying == TransmitKeying::Ext && !open.is_radio() {
            let keyed = open.transmit.is_raised();
            self.send_sign(port, keyed, now, out);
        }
    }

    /// `*` before a burst, `#` after it: one report of the start and three of the end (RFC 4733 section 2.5.1.4).
    fn send_event(&mut self, port: PortSlot, keyed: bool, now: MonoTime, out: &mut Outbox) {
        let open = &mut self.ports[port];
        let (Some(to), Some(payload_type)) = (open.peer(), open.spec.events) else { return };
        let event = TelephoneEvent::event_of(if keyed { '*' } else { '#' }).unwrap_or(0);
        let mut timestamp = None;
        for report in 0..4u16 {
            let voice = open.sign_voice();
            let Some(head) = own_head(open, port, to, Carries::Nobody, voice, now, out) else { return };
            let told =
                TelephoneEvent { event, end: report > 0, volume: 10, duration: if report > 0 { 800 } else { 160 } };
            let header = crate::wire::rtp::RtpHeader {
                payload_type,
                marker: report == 0,
                sequence: head.wire_sequence(),
                timestamp: *timestamp.get_or_insert(head.timestamp),
                ssrc: head.ssrc,
            };
            let Ok(payload) = told.bytes() else { return };
            let sent = out.push_packet(port, to, PacketKind::Rtp, Carries::Nobody, |room| {
                header.write_packet(&[], &payload, room).unwrap_or(0)
            });
            if sent {
                open.sender.count(payload.len());
            }
        }
    }

    /// Why the port may not transmit now, if so: its own receiver, or the RF channel, is busy.
    pub(super) fn busy_by(&self, port: PortSlot) -> Option<MissCause> {
        let open = &self.ports[port];
        let receives = |port: &Port| port.keyer.is_keyed() || port.keyer.is_candidate();
        if open.spec.transmit.half_duplex && receives(open) {
            return Some(MissCause::Receiving);
        }
        let mates = self.ports_by_channel.get(&open.spec.rf_channel?)?;
        for mate in mates.iter().filter(|mate| **mate != port).filter_map(|mate| self.ports.get(*mate)) {
            if mate.transmit.is_raised() {
                return Some(MissCause::Inhibited);
            }
            if receives(mate) {
                return Some(MissCause::Receiving);
            }
        }
        None
    }

    /// While one transmits, all on its RF channel are deaf, itself included if it is half duplex.
    fn inhibit_channel(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        if self.ports[port].spec.transmit.half_duplex {
            let change = self.ports[port].keyer.inhibit(now);
            self.apply_key(port, change, now, out);
        }
        let Some(channel) = self.ports[port].spec.rf_channel else { return };
        let mates = self.ports_by_channel.get(&channel).map_or(0, Vec::len);
        for at in 0..mates {
            let mate = self.ports_by_channel.get(&channel).and_then(|mates| mates.get(at)).copied();
            let Some(mate) = mate.filter(|mate| *mate != port) else { continue };
            let change = self.ports[mate].keyer.inhibit(now);
            self.apply_key(mate, change, now, out);
        }
    }

    /// Every 20 ms: grants by time, holds that waited too long, tails, key signs that must be repeated.
    pub(super) fn tick_transmitters(&mut self, now: MonoTime, out: &mut Outbox) {
        for index in 0..self.ports.reach() {
            let Some(port) = self.ports.slot_at(index).filter(|port| self.ports[*port].needs_hold()) else { continue };
            let change = self.ports[port].transmit.tick(now);
            self.apply_transmit(port, change, now, out);
            self.give_up_overdue(port, now, out);
            self.pump(port, now, out);
            self.finish(port, now, out);
            self.repeat_sign(port, now, out);
            if self.ports[port].transmit.is_raised() {
                self.inhibit_channel(port, now, out);
            }
        }
    }

    fn give_up_overdue(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        if self.ports[port].hold.as_ref().is_some_and(|hold| hold.is_overdue(now)) {
            let raised = self.ports[port].transmit.is_raised();
            let cause = if raised { None } else { self.busy_by(port) };
            self.give_up(port, cause.unwrap_or(MissCause::HoldOverrun));
            let change = self.ports[port].transmit.overrun(now);
            self.apply_transmit(port, change, now, out);
        }
    }

    /// Nothing is left to play and nobody talks: the transmitter may come down, the hold goes back.
    fn finish(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        let open = &mut self.ports[port];
        // What only plays its end may be in the jitter buffer and not yet here.
        if open.hearing.ears().iter().any(|ear| ear.stage != Stage::Over && ear.chosen) || open.announcing.is_playing()
        {
            return;
        }
        if !open.hold.as_mut().is_none_or(super::hold::Hold::close) {
            return;
        }
        if let Some(hold) = open.hold.take() {
            self.spare_holds.push(hold);
        }
        let change = open.transmit.end(now);
        self.apply_transmit(port, change, now, out);
    }

    fn repeat_sign(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        let open = &mut self.ports[port];
        if open.spec.transmit.keying != TransmitKeying::Ext {
            return;
        }
        let silent = open.sent_at.is_none_or(|sent| now.ms_since(sent) >= SIGN_EVERY_MS);
        let starved = open.hold.as_ref().is_none_or(super::hold::Hold::is_empty) && !open.announcing.is_playing();
        match (open.transmit.is_raised(), open.transmit.may_send()) {
            (true, false) => self.send_sign(port, true, now, out),
            (true, true) if starved && silent => self.send_sign(port, true, now, out),
            (true, true) => {}
            (false, _) if open.unkeys_due > 0 => {
                open.unkeys_due -= 1;
                self.send_sign(port, false, now, out);
            }
            // A talker who has keyed must not miss the one packet that says what became of it, nor wait for ever for
            // a floor that is gone with us.
            (false, _) if silent && open.floor_notice != FloorNotice::Silent && !open.is_radio() => {
                self.send_sign(port, false, now, out);
            }
            (false, _) => {}
        }
    }
}

/// A frame of our own encoder on its way into a hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct MixedFrame<'a> {
    /// Which encoder.
    pub encoder: u32,
    /// False if certainly nobody speaks in it.
    pub speech: bool,
    pub payload: &'a [u8],
}

/// The head of a packet that is no talker's; a silence frame goes first if another encoder's came before.
fn own_head(
    open: &mut Port,
    port: PortSlot,
    to: std::net::SocketAddr,
    carries: Carries,
    voice: Voice<BurstSlot>,
    now: MonoTime,
    out: &mut Outbox,
) -> Option<Head> {
    if open.voice != Some(voice) {
        open.voice = Some(voice);
        if let (Some(head), Some(rest)) = (open.sender.begin(voice, now), between(open.format_out().codec)) {
            let elements = open.elements(Alias::default(), None);
            put(open, port, to, carries, &head, &elements, rest, out);
        }
    }
    open.sender.mix(now)
}

/// Packets that may leave a hold at once: one that waited for this tick and one that came with it.
const AT_ONCE_MAX: usize = 2;
/// The key's end is told this often more: it must not be lost.
const UNKEYS: u8 = 3;
/// A keyed gateway that hears nothing for this long may believe its key lost, a talker its floor (ms).
const SIGN_EVERY_MS: u64 = 100;
/// A transmitter that refused twice is not preferred for so long (ms).
const FAILED_FOR_MS: u64 = 10_000;
