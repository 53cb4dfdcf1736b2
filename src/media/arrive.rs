//! Packets in: whose they are, what they say of the key, and where they go from here. The life of a packet begins in
//! [`Shard::take_packet`]; every early return is a discard with its reason.

use std::net::SocketAddr;

use crate::domain::audio::{Format, Level};
use crate::domain::floor::{BurstEnd, MissCause};
use crate::domain::port::ReceiveKeying;
use crate::domain::report::{MediaLimit, Report};
use crate::domain::talker::Alias;
use crate::domain::time::{FRAME_MS, MonoTime};
use crate::wire::DATAGRAM_BYTES_MAX;
use crate::wire::rtp::RtpPacket;
use crate::wire::rtp_extension::{Elements, FloorNotice, Keying};
use crate::wire::telephone_event::TelephoneEvent;

use super::burst::TalkState;
use super::codec::PACKET_SAMPLES_MAX;
use super::copies::COPY_KEPT_MS;
use super::delay::{DelayLine, Delayed};
use super::discard::Discard;
use super::fan_out::Spoken;
use super::hearing::Stage;
use super::keying::{Cue, FarFloor, KeyChange, TransmitChange};
use super::level;
use super::outbox::Outbox;
use super::receiver::Arrival;
use super::shard::Shard;
use super::slab::{BurstSlot, PortSlot};

impl Shard {
    pub(super) fn take_packet(
        &mut self,
        port: PortSlot,
        source: SocketAddr,
        packet: &[u8],
        now: MonoTime,
        out: &mut Outbox,
    ) -> Result<(), Discard> {
        let open = self.ports.get_mut(port).ok_or(Discard::NoPort)?;
        if packet.len() > DATAGRAM_BYTES_MAX {
            return Err(Discard::TooLong);
        }
        let packet = RtpPacket::parse(packet).map_err(|_| Discard::Malformed)?;
        let header = packet.header;
        let arrival = Arrival { ssrc: header.ssrc, sequence: header.sequence, timestamp: header.timestamp };
        let accepted = open.receiver.accept(source, arrival, now)?;
        self.counters.received += 1;
        open.sign_at = now;
        open.streams += u32::from(accepted.new_stream);
        let elements = Elements::read(packet.extension, &open.spec.extension);
        let event = (open.spec.events == Some(header.payload_type)).then(|| TelephoneEvent::parse(packet.payload));
        let format = open.spec.payloads.iter().find(|payload| payload.number == header.payload_type);
        let format = format.map(|payload| payload.format);
        if accepted.latched {
            let id = open.spec.port;
            out.push_latch(port, source);
            self.report(Report::Latched { port: id, address: source, at: now }, out);
        }
        // State, not change: the packet that overtook this one has said it better.
        let keying = elements.keying.filter(|_| !accepted.overtaken);
        self.take_keying(port, keying, elements.talker, now, out);
        if self.ports[port].keyer.is_deaf(now) {
            return Err(Discard::Inhibited);
        }
        if let Some(event) = event {
            let key = event.and_then(|event| key_of(&event)).ok_or(Discard::NotKeyed)?;
            if key && self.ports[port].lifted == Some(header.timestamp) {
                return Ok(());
            }
            if key && self.ports[port].pressed.replace(header.timestamp) != Some(header.timestamp) {
                self.ask_again(port, now, out);
            }
            self.cue(port, Cue::Event(key), now, out);
            return Ok(());
        }
        let format = format.ok_or(Discard::UnknownPayload)?;
        let key = keying.map(|keying| keying.ptt || keying.cor);
        if packet.payload.len() <= PAUSE_BYTES {
            self.cue(port, Cue::Pause { key }, now, out);
            return Ok(());
        }
        self.set_format(port, format, now, out);
        let level =
            elements.level.map(|level| level.level).or_else(|| self.vox_level(port, format, packet.payload, now, out));
        self.cue(port, Cue::Audio { key, level }, now, out);
        let delayed = Delayed {
            sequence: accepted.sequence,
            timestamp: header.timestamp,
            level: elements.level,
            arrived_at: now,
        };
        self.take_audio(port, delayed, packet.payload, now, out)
    }

    /// A packet of a talker: at once, or after the delay that tells speech from a short key and from a tail.
    fn take_audio(
        &mut self,
        port: PortSlot,
        packet: Delayed,
        payload: &[u8],
        now: MonoTime,
        out: &mut Outbox,
    ) -> Result<(), Discard> {
        let open = &mut self.ports[port];
        if !open.keyer.is_keyed() && !open.keyer.is_candidate() {
            return Err(Discard::NotKeyed);
        }
        open.packet_at = now;
        open.copy.place(packet.timestamp, open.format_in);
        let Some(delay) = &mut open.delay else {
            return if open.keyer.is_keyed() {
                self.say(port, packet, payload, now, out)
            } else {
                Err(Discard::NotKeyed)
            };
        };
        if !delay.push(packet, payload) {
            return Err(Discard::Full);
        }
        self.drain_delay(port, now, out);
        Ok(())
    }

    /// What is certainly speech by now: followed by as much as may be squelch tail.
    pub(super) fn drain_delay(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        let open = &self.ports[port];
        if !open.keyer.is_keyed() {
            return;
        }
        if open.copy.is_voted_out() {
            let kept_from = MonoTime(now.0.saturating_sub(COPY_KEPT_MS * 1_000_000));
            return self.say_delayed(port, kept_from, now, out);
        }
        let tail_ns = u64::from(open.spec.receive.tail_ms) * 1_000_000;
        let speech_until = MonoTime(open.packet_at.plus_ms(FRAME_MS).0.saturating_sub(tail_ns));
        self.say_delayed(port, speech_until, now, out);
        let open = &self.ports[port];
        if !open.needs_delay() && open.delay.as_ref().is_some_and(DelayLine::is_empty) {
            self.give_delay_line_back(port);
        }
    }

    fn say_delayed(&mut self, port: PortSlot, before: MonoTime, now: MonoTime, out: &mut Outbox) {
        let Some(mut delay) = self.ports[port].delay.take() else { return };
        while let Some((packet, payload)) = delay.pop_before(before) {
            if let Err(why) = self.say(port, packet, payload, now, out) {
                self.counters.discard(why);
            }
        }
        self.ports[port].delay = Some(delay);
    }

    fn say(
        &mut self,
        port: PortSlot,
        packet: Delayed,
        payload: &[u8],
        now: MonoTime,
        out: &mut Outbox,
    ) -> Result<(), Discard> {
        self.vote(port, &packet, now, out)?;
        let open = &self.ports[port];
        let burst = open.burst.ok_or(Discard::NoFloor)?;
        let spoken = Spoken {
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            stream: open.stream(),
            level: packet.level,
            payload,
        };
        self.speak(burst, &spoken, now, out);
        Ok(())
    }

    fn take_keying(&mut self, port: PortSlot, keying: Option<Keying>, talker: Alias, now: MonoTime, out: &mut Outbox) {
        let open = &mut self.ports[port];
        if !talker.is_empty() {
            open.wire_talker = talker;
        }
        let Some(keying) = keying else { return };
        let talker = open.talker();
        // Who speaks next through the same port is not in need because this one was.
        if keying.emergency && open.wire_emergency != Some(talker) {
            open.wire_emergency = Some(talker);
            let report = Report::EmergencyKeyed { port: open.spec.port, talker, at: now };
            self.report(report, out);
            self.weigh_emergency(port, now, out);
        }
        let open = &mut self.ports[port];
        let change = match (keying.granted, keying.busy) {
            (true, _) => open.transmit.grant(now),
            (false, true) => open.transmit.deny(now),
            (false, false) => open.transmit.answer(answer_of(keying.floor), now),
        };
        if change == TransmitChange::None {
            return;
        }
        self.apply_transmit(port, change, now, out);
        self.pump(port, now, out);
    }

    /// A talker that changes its format in mid-burst has begun another one.
    fn set_format(&mut self, port: PortSlot, format: Format, now: MonoTime, out: &mut Outbox) {
        let open = &mut self.ports[port];
        if open.format_in == format {
            return;
        }
        open.format_in = format;
        if let Some(burst) = open.burst {
            let keyed_at = open.keyed_at;
            self.end_burst(burst, BurstEnd::Released, now, out);
            self.key(port, keyed_at, now, out);
        }
    }

    /// A VOX port whose packets name no level borrows a decoder for it. Without one it is deaf, and that is told.
    fn vox_level(
        &mut self,
        port: PortSlot,
        format: Format,
        payload: &[u8],
        now: MonoTime,
        out: &mut Outbox,
    ) -> Option<Level> {
        let open = &mut self.ports[port];
        if open.spec.receive.keying != ReceiveKeying::Vox {
            return None;
        }
        if open.vox.as_ref().is_none_or(|(measures, _)| *measures != format) {
            self.give_vox(port);
            match self.codecs.take_decoder(format) {
                Ok(decoder) => self.ports[port].vox = Some((format, decoder)),
                Err(_) => self.tell_limit(port, MediaLimit::Decoders, now, out),
            }
        }
        let mut samples = [0; PACKET_SAMPLES_MAX];
        let (_, decoder) = self.ports[port].vox.as_mut()?;
        let length = decoder.decode(payload, &mut samples).ok()?;
        Some(level::level(&samples[..length]))
    }

    /// What measured its packets goes back.
    pub(super) fn give_vox(&mut self, port: PortSlot) {
        if let Some((_, decoder)) = self.ports[port].vox.take() {
            self.codecs.give_decoder(decoder);
        }
    }

    pub(super) fn cue(&mut self, port: PortSlot, cue: Cue, now: MonoTime, out: &mut Outbox) {
        let change = self.ports[port].keyer.handle_cue(cue, now);
        self.apply_key(port, change, now, out);
    }

    pub(super) fn apply_key(&mut self, port: PortSlot, change: KeyChange, now: MonoTime, out: &mut Outbox) {
        match change {
            KeyChange::None => {}
            KeyChange::Candidate => self.take_delay_line(port, now, out),
            KeyChange::Keyed { since } => {
                self.take_delay_line(port, now, out);
                self.keyed(port, since, now, out);
            }
            KeyChange::TooShort { heard_ms } => {
                self.counters.miss(MissCause::TooShort);
                let told = Report::TooShort { port: self.ports[port].spec.port, said_ms: heard_ms, at: now };
                self.report(told, out);
                self.ports[port].copy.leave();
                let cleared = self.ports[port].delay.as_mut().map_or(0, super::delay::DelayLine::clear);
                for _ in 0..cleared {
                    self.counters.discard(Discard::TooShort);
                }
                self.give_delay_line_back(port);
            }
            KeyChange::Unkeyed { cause, tail_from } => self.unkeyed(port, cause, tail_from, now, out),
            KeyChange::OverLimit => {
                if let Some(burst) = self.ports[port].burst {
                    self.time_out(burst, now, out);
                }
            }
        }
    }

    /// The port's own talk limit has passed: patches homed elsewhere did not know it.
    fn time_out(&mut self, burst: BurstSlot, now: MonoTime, out: &mut Outbox) {
        for at in 0..self.bursts[burst].lists.talks.len() {
            let talk = self.bursts[burst].lists.talks[at];
            if matches!(talk.state, TalkState::Granted { .. }) {
                self.release(burst, talk.patch, BurstEnd::TimedOut, now, out);
            }
        }
    }

    fn keyed(&mut self, port: PortSlot, since: MonoTime, now: MonoTime, out: &mut Outbox) {
        let open = &mut self.ports[port];
        open.keyed_at = since;
        if !open.proven {
            open.proven = true;
            let report = Report::Proven { port: open.spec.port, at: now };
            self.report(report, out);
        }
        if self.enter_vote(port, now, out) {
            self.key(port, since, now, out);
        }
    }

    fn unkeyed(&mut self, port: PortSlot, cause: BurstEnd, tail_from: MonoTime, now: MonoTime, out: &mut Outbox) {
        self.say_delayed(port, tail_from, now, out);
        self.drop_tail(port);
        self.give_delay_line_back(port);
        let open = &mut self.ports[port];
        open.copy.leave();
        open.wire_talker = Alias::default();
        if let Some(burst) = open.burst {
            self.remember_level(burst, port);
            self.end_burst(burst, cause, now, out);
        } else {
            self.set_notice(port, FloorNotice::Silent, now, out);
        }
        if let Some(group) = self.voting_group(port) {
            self.take_over(group, port, now, out);
        }
    }

    /// For a key that may be too short, or whose end may be a tail. Without one its beginning is lost, told by name.
    fn take_delay_line(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        if self.ports[port].needs_delay() {
            self.borrow_delay_line(port, now, out);
        }
    }

    pub(super) fn borrow_delay_line(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        let open = &mut self.ports[port];
        if open.delay.is_some() {
            return;
        }
        open.delay = self.spare_delays.pop();
        if open.delay.is_none() {
            self.tell_limit(port, MediaLimit::Delays, now, out);
        }
    }

    fn give_delay_line_back(&mut self, port: PortSlot) {
        if let Some(mut delay) = self.ports[port].delay.take() {
            delay.clear();
            self.spare_delays.push(delay);
        }
    }

    fn drop_tail(&mut self, port: PortSlot) {
        let open = &mut self.ports[port];
        let packet_ms = u16::from(open.format_in.packet_ms);
        let dropped = open.delay.as_mut().map_or(0, super::delay::DelayLine::clear) as u16;
        let Some(burst) = open.burst else { return };
        for _ in 0..dropped {
            self.counters.discard(Discard::SquelchTail);
        }
        self.miss_tail(burst, dropped * packet_ms);
    }

    /// Declared squelch tail is no speech, but what is dropped is counted at everybody who would have heard it: once,
    /// through however many patches its end is told.
    pub(super) fn miss_tail(&mut self, burst: BurstSlot, tail_ms: u16) {
        if tail_ms == 0 || self.bursts[burst].tail_ms > 0 {
            return;
        }
        self.bursts[burst].tail_ms = tail_ms;
        for at in 0..self.bursts[burst].lists.ears.len() {
            let port = self.bursts[burst].lists.ears[at];
            let ear = self.ports.get_mut(port).and_then(|port| port.hearing.ear_mut(burst));
            if let Some(ear) = ear.filter(|ear| ear.stage == Stage::Live) {
                ear.miss(u32::from(tail_ms), MissCause::SquelchTail);
            }
        }
    }

    /// Every 20 ms: keys that went silent, copies that stall.
    pub(super) fn tick_keys(&mut self, now: MonoTime, out: &mut Outbox) {
        for index in 0..self.ports.reach() {
            let Some(port) = self.ports.slot_at(index) else { continue };
            let change = self.ports[port].keyer.tick(now);
            self.apply_key(port, change, now, out);
            if now.ms_since(self.ports[port].sign_at) >= VOX_KEPT_MS {
                self.give_vox(port);
            }
        }
        for index in 0..self.groups.reach() {
            let Some(group) = self.groups.slot_at(index) else { continue };
            self.check_copy(group, now, out);
        }
    }

    /// What a port's packets may hit again and again: counted each time, told at most every ten seconds.
    pub(super) fn tell_limit(&mut self, port: PortSlot, limit: MediaLimit, now: MonoTime, out: &mut Outbox) {
        self.counters.limit(limit);
        let Some(open) = self.ports.get_mut(port) else { return };
        if open.limit_told_at.is_some_and(|told| now.ms_since(told) < LIMIT_TOLD_EVERY_MS) {
            return;
        }
        open.limit_told_at = Some(now);
        let report = Report::LimitHit { limit, port: Some(open.spec.port), at: now };
        self.report(report, out);
    }
}

/// What a far side that has a floor of its own, another Crosspatch, says of it to whom keys it.
fn answer_of(notice: FloorNotice) -> FarFloor {
    match notice {
        FloorNotice::Granted => FarFloor::Granted,
        FloorNotice::Queued(_) => FarFloor::Queued,
        FloorNotice::Denied => FarFloor::Denied,
        FloorNotice::Revoked => FarFloor::Revoked,
        // Others talk there; what becomes of our request is another word's to say.
        FloorNotice::Silent | FloorNotice::Idle | FloorNotice::Taken => FarFloor::Silent,
    }
}

/// `*` keys and `#` lets go, at their start: what telephones and radio gateways agree on most.
fn key_of(event: &TelephoneEvent) -> Option<bool> {
    match event.digit() {
        Some('*') => Some(true),
        Some('#') => Some(false),
        Some(_) | None => None,
    }
}

/// An Opus frame of its header alone says that the talker pauses (RFC 6716 section 3.1); no other codec has one.
const PAUSE_BYTES: usize = 1;
const LIMIT_TOLD_EVERY_MS: u64 = 10_000;
/// Longer than any pause between packets of one talker (ms).
const VOX_KEPT_MS: u64 = 1_000;
