//! Notices to one port, at its own edge: tones on an idle channel only, never into a patch, never over speech. A talker
//! that begins takes the channel at once; the notice it cut short is not repeated.

use crate::domain::audio::{Frame, MIX_FRAME};
use crate::domain::id::PortId;
use crate::domain::order::Notice;
use crate::domain::time::MonoTime;

use super::codec::{Encoder, LastingEncoder, PACKET_SAMPLES_MAX, PAYLOAD_BYTES_MAX, Payload};
use super::outbox::Outbox;
use super::port::Port;
use super::shard::Shard;
use super::slab::PortSlot;
use super::tone::{Tone, TonePlayer};

/// What a port still has to be told.
#[derive(Default)]
pub struct Announcing {
    waiting: [Option<Waiting>; WAITING_MAX],
    playing: Option<TonePlayer>,
    encoder: Option<Encoder>,
}

/// A tone, and until when it is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    tone: Tone,
    until: Option<MonoTime>,
}

impl Announcing {
    /// Whether a notice sounds now, or keys its transmitter.
    pub fn is_playing(&self) -> bool {
        self.playing.is_some()
    }

    fn wait(&mut self, tone: Tone, until: Option<MonoTime>) {
        if let Some(same) = self.waiting.iter_mut().flatten().find(|waiting| waiting.tone == tone) {
            same.until = until;
            return;
        }
        // The oldest news is the least worth.
        if self.waiting.iter().all(Option::is_some) {
            self.waiting.rotate_left(1);
            self.waiting[WAITING_MAX - 1] = None;
        }
        if let Some(place) = self.waiting.iter_mut().find(|place| place.is_none()) {
            *place = Some(Waiting { tone, until });
        }
    }

    fn next(&mut self) -> Option<Tone> {
        let next = self.waiting[0].take();
        self.waiting.rotate_left(1);
        next.map(|waiting| waiting.tone)
    }

    /// What is no news any more is not said.
    fn drop_stale(&mut self, now: MonoTime) {
        while self.waiting[0].is_some_and(|waiting| waiting.until.is_some_and(|until| now >= until)) {
            self.next();
        }
    }

    /// Whether what sounds, or comes next, is about the key that its talker holds.
    fn is_of_key(&self) -> bool {
        let tone = self.playing.as_ref().map(TonePlayer::tone).or(self.waiting[0].map(|waiting| waiting.tone));
        matches!(tone, Some(Tone::Grant | Tone::Deny | Tone::Queued))
    }
}

impl Shard {
    pub(super) fn queue_notice(&mut self, port: PortId, notice: Notice, now: MonoTime) {
        if let Some(port) = self.slot_of(port) {
            let of_key = matches!(notice, Notice::Granted | Notice::Denied | Notice::Queued);
            let until = of_key.then(|| now.plus_ms(KEY_NEWS_MS));
            self.ports[port].announcing.wait(tone_of(notice), until);
        }
    }

    /// Every 20 ms: the next frame of each notice that sounds.
    pub(super) fn announce(&mut self, now: MonoTime, out: &mut Outbox) {
        for index in 0..self.ports.reach() {
            let Some(port) = self.ports.slot_at(index) else { continue };
            let announcing = &mut self.ports[port].announcing;
            announcing.drop_stale(now);
            if announcing.playing.is_none() && announcing.waiting[0].is_none() {
                continue;
            }
            if self.is_idle(port) {
                self.play_notice(port, now, out);
            } else {
                self.stop_notice(port);
            }
        }
    }

    /// Nobody is heard there and nobody talks there; who can hear while it talks may be told of its key.
    fn is_idle(&self, port: PortSlot) -> bool {
        let open = &self.ports[port];
        let quiet = open.hearing.ears().iter().all(|ear| ear.stage == super::hearing::Stage::Over);
        let talks = open.keyer.is_keyed() || open.keyer.is_candidate();
        let may_be_told = !open.spec.transmit.half_duplex && open.announcing.is_of_key();
        quiet && open.hold.is_none() && (!talks || may_be_told)
    }

    fn play_notice(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        if self.ports[port].announcing.playing.is_none() {
            let format = self.ports[port].format_out();
            let Ok(encoder) = self.codecs.take_encoder(format) else { return };
            let announcing = &mut self.ports[port].announcing;
            announcing.encoder = Some(encoder);
            announcing.playing = announcing.next().map(TonePlayer::new);
        }
        if self.ports[port].needs_hold() {
            if !self.ports[port].transmit.is_raised() && self.busy_by(port).is_some() {
                return;
            }
            let change = self.ports[port].transmit.begin(now);
            self.apply_transmit(port, change, now, out);
            if self.ports[port].transmit.has_failed() {
                self.stop_notice(port);
            }
            if !self.ports[port].transmit.may_send() {
                return;
            }
        }
        let Some(mut player) = self.ports[port].announcing.playing.take() else { return };
        let mut frame: Frame = [0; MIX_FRAME];
        if !player.next_frame(&mut frame) {
            self.stop_notice(port);
            return;
        }
        self.ports[port].announcing.playing = Some(player);
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        if let Some(encoder) = &mut self.ports[port].announcing.encoder {
            encoder.push(&frame);
        }
        while let Some((length, encoder)) = self.ports[port].pull_notice(&mut payload) {
            // A notice that finds no room is no speech: it is counted as a packet the outbox refused.
            let _refused_is_counted = self.send_mixed(port, encoder, &payload[..length], now, out);
        }
    }

    /// It has sounded, or speech takes the channel. `finish` lowers the transmitter.
    pub(super) fn stop_notice(&mut self, port: PortSlot) {
        let announcing = &mut self.ports[port].announcing;
        announcing.playing = None;
        if let Some(encoder) = announcing.encoder.take() {
            self.codecs.give_encoder(encoder);
        }
    }
}

impl Port {
    /// The next whole packet of its notice: how long, and which coder's.
    fn pull_notice(&mut self, payload: &mut Payload) -> Option<(usize, u32)> {
        let is_lasting = LastingEncoder::is_for(self.format_out().codec);
        let encoder = self.announcing.encoder.as_mut()?;
        if !is_lasting {
            return Some((encoder.pull(payload)?, encoder.life()));
        }
        let mut samples = [0; PACKET_SAMPLES_MAX];
        let count = encoder.pull_samples(&mut samples)?;
        Some(self.encode(&samples[..count], payload))
    }
}

fn tone_of(notice: Notice) -> Tone {
    match notice {
        Notice::Linked => Tone::Linked,
        Notice::Unlinked => Tone::Unlinked,
        Notice::PartnerLost => Tone::PartnerLost,
        Notice::Restored => Tone::Restored,
        Notice::ExpiresSoon => Tone::ExpiresSoon,
        Notice::ClosesSoon => Tone::ClosesSoon,
        Notice::NotSecure => Tone::Reminder,
        Notice::Granted => Tone::Grant,
        Notice::Denied => Tone::Deny,
        Notice::Queued => Tone::Queued,
        Notice::Confirm => Tone::Confirm,
    }
}

/// Who is told of a key later than this has forgotten it (ms).
const KEY_NEWS_MS: u64 = 2_000;
/// More news than these in one talk is noise.
const WAITING_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notice_has_a_tone_of_its_own() {
        let all = [
            Notice::Linked,
            Notice::Unlinked,
            Notice::PartnerLost,
            Notice::Restored,
            Notice::ExpiresSoon,
            Notice::ClosesSoon,
            Notice::NotSecure,
            Notice::Granted,
            Notice::Denied,
            Notice::Queued,
            Notice::Confirm,
        ];
        for (at, notice) in all.iter().enumerate() {
            let same = all[..at].iter().find(|other| tone_of(**other) == tone_of(*notice));
            assert_eq!(same, None, "sounds like {notice:?}");
        }
    }
}
