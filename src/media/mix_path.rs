//! The tick's sound: each burst that somebody needs is decoded once, each distinct mix is summed and encoded once.
//! Relayed packets have left long before. A port hears neither its own burst nor what the routes do not allow, because
//! only its ears are summed.

use crate::domain::audio::{Frame, MIX_FRAME};
use crate::domain::floor::MissCause;
use crate::domain::port::Overlap;
use crate::domain::report::MediaLimit;
use crate::domain::time::{FRAME_MS, MonoTime};

use super::codec::{LastingEncoder, PACKET_SAMPLES_MAX, PAYLOAD_BYTES_MAX};
use super::fan_out::NotSent;
use super::hearing::{Ear, Mode, Stage};
use super::level::{Leveller, level};
use super::mixer::Mix;
use super::outbox::Outbox;
use super::playout::{Heard, Playout};
use super::shard::Shard;
use super::slab::{BurstSlot, PortSlot};
use super::transmit::MixedFrame;

impl Shard {
    /// Somebody needs the burst decoded from now on. Without a decoder its ears in a mix miss it, counted there.
    pub(super) fn need_decoded(&mut self, burst: BurstSlot) {
        let open = &mut self.bursts[burst];
        if open.playout.is_some() {
            return;
        }
        let Some(jitter) = self.spare_jitters.pop() else {
            self.counters.limit(MediaLimit::JitterBuffers);
            return;
        };
        match self.codecs.take_decoder(open.format) {
            Ok(decoder) => open.playout = Some(Playout::new(open.format, jitter, decoder)),
            Err(_) => {
                self.counters.limit(MediaLimit::Decoders);
                self.spare_jitters.push(jitter);
            }
        }
    }

    /// Its decoder and jitter buffer go back.
    pub(super) fn give_playout(&mut self, burst: BurstSlot) {
        if let Some(playout) = self.bursts[burst].playout.take() {
            let (jitter, decoder) = playout.into_parts();
            self.spare_jitters.push(jitter);
            self.codecs.give_decoder(decoder);
        }
    }

    /// Whether a talker is brought to the usual level is decided as its burst begins, from what was learnt of it.
    pub(super) fn prepare_level(&mut self, burst: BurstSlot, port: PortSlot) {
        let open = &self.ports[port];
        if !open.spec.level {
            // Half the pool stays for mixes; the detectors use the rest.
            if 2 * self.spare_jitters.len() > self.spare_jitters.capacity() {
                self.need_decoded(burst);
            }
            return;
        }
        let learnt = open.learnt;
        self.need_decoded(burst);
        let talk = &mut self.bursts[burst];
        talk.leveller = Some(Leveller::new(learnt));
        talk.levelled = learnt.is_some_and(|gain| gain.0.abs() >= LEVEL_FROM);
    }

    /// What its talker taught.
    pub(super) fn remember_level(&mut self, burst: BurstSlot, port: PortSlot) {
        if let Some(learnt) = self.bursts[burst].leveller.as_ref().and_then(Leveller::learnt) {
            self.ports[port].learnt = Some(learnt);
        }
    }

    /// All of it, in order.
    pub(super) fn mix(&mut self, now: MonoTime, out: &mut Outbox) {
        self.decode_bursts(now);
        self.mixes.begin();
        for index in 0..self.ports.reach() {
            let Some(port) = self.ports.slot_at(index) else { continue };
            if self.ports[port].hearing.mode() == Mode::Mix {
                self.place(port, now);
            } else {
                self.ports[port].mix_group = None;
            }
        }
        for group in 0..self.mixes.len() {
            if !self.mixes.group(group).members.is_empty() {
                self.send_group(group, now, out);
            }
        }
        self.mixes.end(&mut self.codecs);
    }

    fn decode_bursts(&mut self, now: MonoTime) {
        for index in 0..self.bursts.reach() {
            let Some(burst) = self.bursts.slot_at(index) else { continue };
            let open = &mut self.bursts[burst];
            let Some(playout) = &mut open.playout else {
                open.clear_frame();
                continue;
            };
            open.frame_heard = playout.frame(now, &mut open.frame);
            if matches!(open.frame_heard, Heard::Voice | Heard::Concealed) {
                self.counters.decoded += 1;
                open.level = level(&open.frame);
            }
            let speaking = playout.is_speaking();
            if let Some(leveller) = &mut open.leveller {
                let mut copy = open.frame;
                leveller.apply(&mut copy, speaking);
                if open.levelled {
                    open.frame = copy;
                }
            }
        }
    }

    /// Finds the group of a port that hears a mix.
    fn place(&mut self, port: PortSlot, now: MonoTime) {
        let solo = self.solo(port);
        let open = &mut self.ports[port];
        self.mixes.wanted.clear();
        for ear in open.hearing.ears_mut() {
            let Some(burst) = self.bursts.get(ear.burst).filter(|_| ear.chosen && ear.stage != Stage::Over) else {
                continue;
            };
            match &burst.playout {
                // It only plays its end and nothing of it is left: more frames would keep a held transmitter up.
                Some(playout) if ear.stage == Stage::Ending && playout.is_empty() => {}
                // Its shard, or the word of its end, is lost: silence would keep a presence-keyed radio up.
                Some(playout) if playout.is_empty() && burst.is_lost(now) => {}
                Some(_) if !ear.is_due(burst.played()) => {}
                Some(_) if solo.is_some_and(|solo| solo != ear.burst) => {
                    if burst.frame_heard == Heard::Voice {
                        ear.miss(FRAME_MS as u32, MissCause::OutRanked);
                    }
                }
                Some(_) => {
                    // What is made up for a packet that did not come is nothing that was said.
                    ear.mixed_ms += if burst.frame_heard == Heard::Voice { FRAME_MS as u32 } else { 0 };
                    self.mixes.wanted.push((ear.burst, ear.gain));
                }
                None => ear.miss(FRAME_MS as u32, MissCause::Full),
            }
        }
        let may_hear = |burst| open.hearing.ear(burst).is_some_and(|ear| ear.stage != Stage::Over);
        // The end of its last talker fills a packet up with silence.
        let ends = open.hearing.ears().iter().any(|ear| self.mixes.fills(open.mix_group, ear.burst));
        if self.mixes.wanted.is_empty() && !ends {
            open.mix_group = None;
            return;
        }
        open.mix_group = self.mixes.place(port, open.mix_group, open.format_out(), may_hear, &mut self.codecs);
        if open.mix_group.is_none() {
            self.counters.limit(MediaLimit::Encoders);
            open.hearing.ears_mut().iter_mut().for_each(|ear| ear.miss_mixed(MissCause::Full));
        }
    }

    /// On a radio the end of one burst and the beginning of the next do not sound together: the higher rank does, and
    /// of equals the one that came first.
    fn solo(&self, port: PortSlot) -> Option<BurstSlot> {
        let open = &self.ports[port];
        if open.spec.transmit.overlap == Overlap::Mix {
            return None;
        }
        let sounds = |ear: &&Ear| {
            let burst = self.bursts.get(ear.burst).filter(|_| ear.chosen && ear.stage != Stage::Over);
            burst.is_some_and(|burst| {
                ear.is_due(burst.played()) && matches!(burst.frame_heard, Heard::Voice | Heard::Concealed)
            })
        };
        open.hearing.ears().iter().filter(sounds).max_by_key(|ear| ear.weight()).map(|ear| ear.burst)
    }

    /// Sums, encodes once, sends to each member.
    fn send_group(&mut self, group: usize, now: MonoTime, out: &mut Outbox) {
        let mut sum = Mix::default();
        let (mut sounds, mut speech) = (self.mixes.is_filling(group), false);
        for (burst, gain) in &self.mixes.group(group).parts {
            let burst = &self.bursts[*burst];
            sounds |= burst.frame_heard != Heard::NotYet;
            speech |= burst.playout.as_ref().is_some_and(Playout::is_speaking);
            sum.add(&burst.frame, *gain);
        }
        if !sounds {
            return;
        }
        let mut frame: Frame = [0; MIX_FRAME];
        sum.all(&mut frame);
        let bursts = &self.bursts;
        let sounding = |burst: BurstSlot| matches!(bursts[burst].frame_heard, Heard::Voice | Heard::Concealed);
        self.mixes.push(group, &frame, speech, sounding);
        if LastingEncoder::is_for(self.mixes.group(group).format.codec) {
            self.send_each(group, now, out);
            return;
        }
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        while let Some(frame) = self.mixes.pull(group, &mut payload) {
            self.counters.encoded += 1;
            for at in 0..self.mixes.group(group).members.len() {
                let member = self.mixes.group(group).members[at];
                self.send_mix_to(member, group, frame, now, out);
            }
            self.mixes.next_packet(group);
        }
    }

    /// Each listener's decoder goes on from what it has heard itself: summed once, coded for each.
    fn send_each(&mut self, group: usize, now: MonoTime, out: &mut Outbox) {
        let (mut samples, mut payload) = ([0; PACKET_SAMPLES_MAX], [0; PAYLOAD_BYTES_MAX]);
        while let Some((count, speech)) = self.mixes.pull_samples(group, &mut samples) {
            for at in 0..self.mixes.group(group).members.len() {
                let member = self.mixes.group(group).members[at];
                self.counters.encoded += 1;
                let (length, encoder) = self.ports[member].encode(&samples[..count], &mut payload);
                let frame = MixedFrame { encoder, speech, payload: &payload[..length] };
                self.send_mix_to(member, group, frame, now, out);
            }
            self.mixes.next_packet(group);
        }
    }

    fn send_mix_to(&mut self, port: PortSlot, group: usize, frame: MixedFrame<'_>, now: MonoTime, out: &mut Outbox) {
        let packet_ms = u32::from(self.ports[port].format_out().packet_ms);
        if self.ports[port].needs_hold() {
            let hearing = &mut self.ports[port].hearing;
            let voices = hearing.voices(self.mixes.sounding(group));
            for ear in hearing.ears_mut() {
                ear.take_mixed(packet_ms);
            }
            self.hold_mixed(port, voices, frame, now, out);
            return;
        }
        let sent = self.send_mixed(port, frame.encoder, frame.payload, now, out);
        for ear in self.ports[port].hearing.ears_mut().iter_mut().filter(|ear| ear.mixed_ms > 0) {
            let ms = ear.take_mixed(packet_ms);
            match sent {
                Ok(()) => ear.hear(ms),
                Err(NotSent::NoPeer) => ear.miss(ms, MissCause::NoPeer),
                Err(NotSent::NoRoom | NotSent::Refused) => ear.miss(ms, MissCause::Full),
            }
        }
    }
}

/// A talker within 6 dB of the usual level is relayed as he is [hundredths of a dB].
const LEVEL_FROM: i16 = 600;
