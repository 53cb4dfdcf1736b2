//! How loud a frame is, whether it holds speech, and a slow leveller with a fast limiter.
//!
//! The speech decision errs toward speech: it chooses which frames a hold or a jitter buffer may leave out and
//! feeds VOX and the detectors. It never gates a talker with the floor (law 11). The leveller moves with talkers,
//! not with syllables; what it learnt of a talker is a value the caller keeps.

use crate::domain::audio::{Frame, Gain, Level, MIX_FRAME};

/// Root mean square of some samples [dB below full scale]; silence is -127.
pub fn rms_db(samples: &[i16]) -> f32 {
    let energy: i64 = samples.iter().map(|sample| i64::from(*sample) * i64::from(*sample)).sum();
    if energy == 0 {
        return SILENCE_DB;
    }
    let mean = energy as f32 / samples.len() as f32;
    (10.0 * (mean / (32_768.0 * 32_768.0)).log10()).max(SILENCE_DB)
}

/// The same on RFC 6464's scale.
pub fn level(samples: &[i16]) -> Level {
    Level((-rms_db(samples)).round().clamp(0.0, 127.0) as u8)
}

/// Tells speech from background by level above a slowly rising floor, with 200 ms of hangover.
#[derive(Clone, Debug, Default)]
pub struct SpeechDetector {
    floor_db: Option<f32>,
    hangover_frames: u8,
}

impl SpeechDetector {
    /// Whether this 20 ms frame holds speech, or stands between two that do.
    pub fn judge(&mut self, frame: &Frame) -> bool {
        let now_db = rms_db(frame);
        let floor_db = self.floor_db.unwrap_or(now_db);
        let floor_db = if now_db < floor_db { (floor_db + now_db) / 2.0 } else { floor_db + FLOOR_RISE_DB };
        let floor_db = floor_db.clamp(FLOOR_LOWEST_DB, FLOOR_HIGHEST_DB);
        self.floor_db = Some(floor_db);
        if now_db > floor_db + ABOVE_FLOOR_DB {
            self.hangover_frames = HANGOVER_FRAMES;
            return true;
        }
        let hanging = self.hangover_frames > 0;
        self.hangover_frames = self.hangover_frames.saturating_sub(1);
        hanging
    }
}

/// Brings talkers to one level. Keep [`Leveller::learnt`] per talker and hand it in at the next burst.
#[derive(Clone, Debug)]
pub struct Leveller {
    /// Mean power of the speech heard so far, relative to full scale.
    speech_power: f32,
    /// Speech frames heard, up to [`LEARNT_FRAMES`].
    speech_frames: u32,
    gain_db: f32,
    limit: f32,
}

impl Leveller {
    /// With the gain learnt from this talker's last burst, or from nothing.
    pub fn new(learnt: Option<Gain>) -> Self {
        let gain_db = learnt.map_or(0.0, |gain| f32::from(gain.0) / 100.0).clamp(-GAIN_MAX_DB, GAIN_MAX_DB);
        let (speech_power, speech_frames) = match learnt {
            Some(_) => (power(TARGET_DB - gain_db), LEARNT_FRAMES),
            None => (0.0, 0),
        };
        Self { speech_power, speech_frames, gain_db, limit: 1.0 }
    }

    /// What to remember of this talker; `None` before half a second of speech.
    pub fn learnt(&self) -> Option<Gain> {
        (self.speech_frames >= WORTH_FRAMES).then(|| Gain((self.wanted_db() * 100.0).round() as i16))
    }

    /// Levels one frame in place; only frames with speech teach it.
    pub fn apply(&mut self, frame: &mut Frame, is_speech: bool) {
        let from = self.gain_db;
        if is_speech {
            self.learn(frame);
            let step_db = if self.speech_frames < LEARNT_FRAMES { STEP_NEW_DB } else { STEP_KNOWN_DB };
            self.gain_db += (self.wanted_db() - self.gain_db).clamp(-step_db, step_db);
        }
        let (from, to) = (amplitude(from), amplitude(self.gain_db));
        let limit_from = self.limit;
        self.limit = self.limit_for(frame, from.max(to));
        for (at, sample) in frame.iter_mut().enumerate() {
            let gain = from + (to - from) * (at as f32 / MIX_FRAME as f32);
            let closing = (at as f32 / LIMIT_RAMP as f32).min(1.0);
            let limit = limit_from + (self.limit - limit_from) * closing;
            *sample = (f32::from(*sample) * gain * limit) as i16; // `as` saturates
        }
    }

    fn learn(&mut self, frame: &Frame) {
        let now = power(rms_db(frame));
        self.speech_frames = (self.speech_frames + 1).min(LEARNT_FRAMES);
        self.speech_power += (now - self.speech_power) / self.speech_frames as f32;
    }

    fn wanted_db(&self) -> f32 {
        let speech_db = 10.0 * self.speech_power.max(1e-12).log10();
        (TARGET_DB - speech_db).clamp(-GAIN_MAX_DB, GAIN_MAX_DB)
    }

    /// Closes within the frame, opens by half a decibel per frame.
    fn limit_for(&self, frame: &Frame, gain: f32) -> f32 {
        let peak = frame.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
        let peak = f32::from(peak) * gain;
        let needed = if peak > PEAK_MAX { PEAK_MAX / peak } else { 1.0 };
        needed.min(self.limit * LIMIT_OPENS)
    }
}

fn power(db: f32) -> f32 {
    10f32.powf(db / 10.0)
}

fn amplitude(db: f32) -> f32 {
    10f32.powf(db / 20.0)
}

const SILENCE_DB: f32 = -127.0;

/// 1.5 dB per second: a pause between words is shorter than what would lift the floor into speech.
const FLOOR_RISE_DB: f32 = 0.03;
const FLOOR_LOWEST_DB: f32 = -66.0;
/// Whatever is louder than -36 dB is taken for speech for ever, be it a siren: it might be meant.
const FLOOR_HIGHEST_DB: f32 = -45.0;
const ABOVE_FLOOR_DB: f32 = 9.0;
const HANGOVER_FRAMES: u8 = 10;

/// Speech at -26 dB leaves the crest of a voice and two more talkers below full scale (ITU-T P.56 practice).
const TARGET_DB: f32 = -26.0;
const GAIN_MAX_DB: f32 = 20.0;
/// An unknown talker is brought from 20 dB off to within 3 dB in less than 2 s: 15 dB per second.
const STEP_NEW_DB: f32 = 0.3;
/// A known one is followed by 2 dB per second: no syllable is heard to pump.
const STEP_KNOWN_DB: f32 = 0.04;
/// 2 s of speech.
const LEARNT_FRAMES: u32 = 100;
/// Half a second of speech.
const WORTH_FRAMES: u32 = 25;
/// -1 dB below full scale.
const PEAK_MAX: f32 = 29_200.0;
/// 2 ms.
const LIMIT_RAMP: usize = 32;
/// 0.5 dB.
const LIMIT_OPENS: f32 = 1.06;

#[cfg(test)]
mod tests {
    use super::*;

    /// 300 ms of voice at an RMS level, 200 ms of pause at -60 dB, and so on.
    fn syllables(n: usize, db: f32) -> Frame {
        let db = if n % 25 < 15 { db } else { -60.0 };
        let peak = 32_768.0 * amplitude(db) * std::f32::consts::SQRT_2;
        std::array::from_fn(|at| ((at as f32 * 0.3).sin() * peak) as i16)
    }

    #[test]
    fn the_level_of_a_full_scale_square_is_0_and_of_nothing_127() {
        assert_eq!(level(&[32_767; 320]), Level(0));
        assert_eq!(level(&[0; 320]), Level::SILENCE);
        assert_eq!(level(&syllables(0, -26.0)), Level(26));
    }

    #[test]
    fn talkers_20_db_apart_are_within_3_db_after_2_s() {
        let mut ends = Vec::new();
        for db in [-16.0, -36.0] {
            let (mut leveller, mut detector) = (Leveller::new(None), SpeechDetector::default());
            let mut last = 0.0;
            for n in 0..100 {
                let mut frame = syllables(n, db);
                let speech = detector.judge(&frame);
                leveller.apply(&mut frame, speech);
                if n % 25 < 15 {
                    last = rms_db(&frame);
                }
            }
            ends.push(last);
        }
        assert!((ends[0] - ends[1]).abs() < 3.0, "{ends:?}");
    }

    #[test]
    fn a_remembered_talker_is_right_from_the_first_frame() {
        let (mut first, mut detector) = (Leveller::new(None), SpeechDetector::default());
        for n in 0..200 {
            let mut frame = syllables(n, -40.0);
            let speech = detector.judge(&frame);
            first.apply(&mut frame, speech);
        }
        let mut again = Leveller::new(first.learnt());
        let mut frame = syllables(0, -40.0);
        again.apply(&mut frame, true);
        assert!((rms_db(&frame) - TARGET_DB).abs() < 3.0, "{}", rms_db(&frame));
    }

    #[test]
    fn a_known_talker_who_starts_to_shout_is_followed_slowly_not_pumped() {
        let (mut leveller, mut detector) = (Leveller::new(Some(Gain(0))), SpeechDetector::default());
        let mut gains = Vec::new();
        for n in 0..500 {
            let mut frame = syllables(n, if n < 100 { -36.0 } else { -12.0 });
            let speech = detector.judge(&frame);
            leveller.apply(&mut frame, speech);
            gains.push(leveller.gain_db);
        }
        assert!(gains.windows(50).all(|second| (second[0] - second[49]).abs() < 2.1));
        assert!(gains[499] < gains[100] - 8.0, "he is followed at last");
    }

    #[test]
    fn a_shout_is_limited_not_clipped() {
        for peak in [3_500.0, 5_000.0, 20_000.0] {
            let mut leveller = Leveller::new(Some(Gain(2_000)));
            for _ in 0..3 {
                let mut frame: Frame = std::array::from_fn(|at| ((at as f32 * 0.3).sin() * peak) as i16);
                leveller.apply(&mut frame, true);
                let loudest = frame[LIMIT_RAMP..].iter().map(|sample| sample.unsigned_abs()).max();
                assert!(loudest <= Some(29_300), "{peak} became {loudest:?}");
            }
        }
    }

    #[test]
    fn steady_noise_is_no_speech_but_a_voice_in_it_is() {
        let mut entropy = crate::domain::random::Entropy::new(1);
        let mut detector = SpeechDetector::default();
        let mut noise = || -> Frame { std::array::from_fn(|_| entropy.below(400) as i16 - 200) };
        let mut wrong = 0;
        for _ in 0..200 {
            wrong += usize::from(detector.judge(&noise()));
        }
        assert_eq!(wrong, 0);
        let missed = (0..15).filter(|n| !detector.judge(&syllables(*n, -30.0))).count();
        assert_eq!(missed, 0);
        let after = (0..50).filter(|_| detector.judge(&noise())).count();
        assert_eq!(after, usize::from(HANGOVER_FRAMES));
    }
}
