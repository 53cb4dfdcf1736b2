//! Tones at a port's own edge, told from what people say: they come only where one was ordered and has not been heard,
//! and where anybody could be sounding they begin with a tone that no voice of a world has, or with one that a voice has
//! too and that is all that can be heard.

use std::collections::BTreeMap;

use crosspatch::domain::order::Notice;
use crosspatch::domain::time::MonoTime;

use crate::worlds::field::Ear;
use crate::worlds::stamp::{AMPLITUDE, Said, VOICES_MAX, Voice, amplitude_at, tone_hz};

/// What each ear has still to be told.
#[derive(Default)]
pub struct Notices {
    at: BTreeMap<Ear, Waiting>,
    pub heard: u64,
}

#[derive(Clone, Copy)]
struct Waiting {
    ordered: MonoTime,
    /// When the last packet came that was it beyond doubt.
    heard: Option<MonoTime>,
    /// The beginning of what may come is also a voice's tone.
    like_a_voice: bool,
}

/// What a packet is, as far as notices are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Speech,
    Notice,
    /// Or the speech of a voice that sounds like it.
    NoticeOr(Voice),
}

impl Notices {
    pub fn ordered(&mut self, ear: Ear, notice: Notice, now: MonoTime) {
        let like_a_voice = match notice {
            Notice::Denied | Notice::NotSecure => true,
            Notice::Linked
            | Notice::Unlinked
            | Notice::PartnerLost
            | Notice::Restored
            | Notice::ExpiresSoon
            | Notice::ClosesSoon
            | Notice::Granted
            | Notice::Queued
            | Notice::Confirm => false,
        };
        let waiting = self.at.entry(ear).or_insert(Waiting { ordered: now, heard: None, like_a_voice });
        waiting.ordered = now;
        waiting.like_a_voice |= like_a_voice;
    }

    /// A packet of sound for an ear, and whether anybody could be sounding there.
    pub fn judge(&mut self, ear: Ear, said: &Said, rate_hz: u32, is_idle: bool, now: MonoTime) -> Verdict {
        let Some(waiting) = self.at.get_mut(&ear) else { return Verdict::Speech };
        let Said::Sound(sound) = said else { return Verdict::Speech };
        if now.ms_since(waiting.ordered) > NEWS_MS {
            self.at.remove(&ear);
            return Verdict::Speech;
        }
        let amplitude = |tone_hz: f64| amplitude_at(tone_hz, sound, rate_hz);
        let own = BEGINNINGS_HZ.into_iter().map(amplitude).fold(0.0, f64::max);
        let voices = (0..VOICES_MAX).map(|voice| amplitude(tone_hz(voice))).fold(0.0, f64::max);
        let sounds = waiting.heard.is_some_and(|at| now.ms_since(at) < LONGEST_MS);
        if is_idle || own > voices && own > QUIET {
            self.heard += u64::from(!sounds);
            waiting.heard = Some(now);
            return Verdict::Notice;
        }
        let power = sound.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / sound.len().max(1) as f64;
        if power.sqrt() < QUIET || sounds && voices < RINGING {
            return Verdict::Notice; // a transmitter that is keyed for it, a pause in it, or its end
        }
        let pure = |voice: &Voice| amplitude(tone_hz(*voice)).powi(2) / 2.0 > PURE * power;
        let begins = waiting.like_a_voice && BEGINNINGS_OF_VOICES.iter().any(pure);
        match LIKE_VOICES.into_iter().find(|voice| (sounds || begins) && pure(voice)) {
            Some(voice) => Verdict::NoticeOr(voice),
            None => Verdict::Speech,
        }
    }

    /// Whether something that was ordered may sound yet: time must not leap.
    pub fn rings(&self, now: MonoTime) -> bool {
        self.at.values().any(|waiting| {
            let last = waiting.heard.map_or(waiting.ordered, |at| at.max(waiting.ordered));
            now.ms_since(last) < RINGS_MS
        })
    }
}

/// Linked, unlinked and partner lost, the two warnings, restored, queued.
const BEGINNINGS_HZ: [f64; 5] = [600.0, 900.0, 1_400.0, 500.0, 800.0];
/// Denied (400 Hz) and the reminder (1,000 Hz).
const BEGINNINGS_OF_VOICES: [Voice; 2] = [0, 4];
/// The same, and the middle of what is told of a partner (700 Hz).
const LIKE_VOICES: [Voice; 3] = [0, 4, 2];
/// Of a packet with such a tone so much is that tone, even if it ends there.
const PURE: f64 = 0.4;
/// What a coder makes of silence, and of no tone, is softer.
const QUIET: f64 = 0.04 * AMPLITUDE;
/// How loud a coder's rest of a tone is at most.
const RINGING: f64 = 0.35 * AMPLITUDE;
/// The longest tone, and what a coder adds (ms).
const LONGEST_MS: u64 = 520;
/// A transmitter is on the air by then, and the pause in a tone is over (ms).
const RINGS_MS: u64 = 1_200;
/// A notice that waits for an idle channel is news for as long as worlds talk without a pause (ms).
const NEWS_MS: u64 = 120_000;
