//! Is this burst the return of that one? Compares compact prints of speech, not samples, so that codecs, gains
//! and the filter of a radio between the two do not matter.
//!
//! A [`Printer`] turns 20 ms frames into [`Print`]s: how loud six bands are against their own last half second.
//! A [`Trail`] keeps one burst's prints of the last 3 s. A [`ReturnDetector`] belongs to a pair: each tick it takes the
//! candidate's newest print and correlates it with the trail at every delay from 0 to 3 s.
//!
//! It reports; it decides nothing. Simulcast (under 50 ms), a repeated phrase (no two utterances keep the same time
//! for two seconds) and silence are no return.

use crate::domain::audio::{Frame, Gain};
use crate::media::level::rms_db;

/// One frame's print.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Print {
    /// Each band against its own recent mean (dB).
    bands: [f32; BANDS],
    /// Level of the frame [dB below full scale]; 0 in a default print, which is not [`Print::is_live`].
    level_db: f32,
    live: bool,
}

impl Print {
    /// Loud enough to compare.
    pub const fn is_live(&self) -> bool {
        self.live
    }
}

/// Makes prints of one burst's frames.
#[derive(Clone, Debug, Default)]
pub struct Printer {
    filters: FilterBank,
    /// Band powers, smoothed over two frames: the return is not aligned with our frames.
    powers: [f32; BANDS],
    means_db: [f32; BANDS],
    frames: u32,
}

impl Printer {
    /// The print of the next frame.
    pub fn print(&mut self, frame: &Frame) -> Print {
        let mut bands = [0.0; BANDS];
        self.frames = (self.frames + 1).min(MEAN_FRAMES);
        let powers = self.filters.powers(frame);
        for (band, slot) in bands.iter_mut().enumerate() {
            self.powers[band] += (powers[band] - self.powers[band]) * SMOOTHING;
            let db = 10.0 * (self.powers[band] + POWER_FLOOR).log10();
            self.means_db[band] += (db - self.means_db[band]) / self.frames as f32;
            *slot = db - self.means_db[band];
        }
        let level_db = rms_db(frame);
        Print { bands, level_db, live: level_db > LIVE_DB }
    }
}

/// The last 3 s of one burst's prints; also after it ended, if fed with `None`.
#[derive(Clone, Debug)]
pub struct Trail {
    prints: [Print; TRAIL_FRAMES],
    newest: usize,
}

impl Default for Trail {
    fn default() -> Self {
        Self { prints: [Print::default(); TRAIL_FRAMES], newest: 0 }
    }
}

impl Trail {
    /// Call once per tick, with nothing when nothing was heard.
    pub fn push(&mut self, print: Option<Print>) {
        self.newest = (self.newest + 1) % TRAIL_FRAMES;
        self.prints[self.newest] = print.unwrap_or_default();
    }

    /// The print of so many frames ago.
    fn ago(&self, frames: usize) -> &Print {
        &self.prints[(self.newest + TRAIL_FRAMES - frames) % TRAIL_FRAMES]
    }
}

/// A burst was found to be the return of another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Return {
    /// From the original to its return (ms), to the nearest 20.
    pub delay_ms: u32,
    /// How much weaker the return is; negative means louder.
    pub down: Gain,
    /// Likeness in percent; at least [`LIKENESS_MIN`] of 1.
    pub likeness_percent: u8,
}

/// Compares one candidate with one trail.
#[derive(Clone, Debug)]
pub struct ReturnDetector {
    lags: [Sums; TRAIL_FRAMES],
    /// The delay that looks like a return, and for how many frames it has: a phrase said again a little faster
    /// resembles the first at a delay that shrinks.
    suspected: (usize, u32),
}

/// Correlation at one delay, older frames counting less.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    cross: f32,
    original: f32,
    candidate: f32,
    /// Frames compared in which both were live.
    frames: f32,
    down_db: f32,
}

impl Default for ReturnDetector {
    fn default() -> Self {
        Self { lags: [Sums::default(); TRAIL_FRAMES], suspected: (0, 0) }
    }
}

impl ReturnDetector {
    /// Forgets the pair it compared.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Call once per tick after the trail was pushed, with the candidate's print of that tick.
    pub fn compare(&mut self, trail: &Trail, candidate: Option<Print>) -> Option<Return> {
        let candidate = candidate?;
        if !candidate.live {
            return None;
        }
        let candidate_energy: f32 = candidate.bands.iter().map(|band| band * band).sum();
        for (lag, sums) in self.lags.iter_mut().enumerate() {
            let original = trail.ago(lag);
            let (mut cross, mut original_energy) = (0.0, 0.0);
            for (a, b) in original.bands.iter().zip(&candidate.bands) {
                cross += a * b;
                original_energy += a * a;
            }
            sums.fade();
            sums.candidate += candidate_energy;
            if original.live {
                sums.cross += cross;
                sums.original += original_energy;
                sums.frames += 1.0;
                sums.down_db += original.level_db - candidate.level_db;
            }
        }
        self.verdict()
    }

    fn verdict(&mut self) -> Option<Return> {
        let likeness: [f32; TRAIL_FRAMES] = std::array::from_fn(|lag| self.lags[lag].likeness());
        let (best, best_likeness) =
            likeness.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0));
        let away = |lag: usize| lag.abs_diff(best) > RIVAL_DISTANCE;
        let rival = (0..TRAIL_FRAMES).filter(|lag| away(*lag)).map(|lag| likeness[lag]).fold(0.0, f32::max);
        let sums = &self.lags[best];
        let sure = best >= DELAY_MIN_FRAMES
            && best_likeness >= LIKENESS_MIN
            && best_likeness - rival >= RIVAL_MARGIN
            && sums.frames >= FRAMES_MIN;
        self.suspected = match self.suspected {
            _ if !sure => (0, 0),
            (delay, frames) if frames > 0 && delay.abs_diff(best) <= 1 => (delay, frames + 1),
            _ => (best, 1),
        };
        (self.suspected.1 >= SUSPECTED_FRAMES).then(|| Return {
            delay_ms: best as u32 * 20,
            down: Gain((sums.down_db / sums.frames * 100.0).clamp(-12_700.0, 12_700.0) as i16),
            likeness_percent: (best_likeness * 100.0) as u8,
        })
    }
}

impl Sums {
    fn fade(&mut self) {
        for sum in [&mut self.cross, &mut self.original, &mut self.candidate, &mut self.frames, &mut self.down_db] {
            *sum *= MEMORY;
        }
    }

    fn likeness(&self) -> f32 {
        if self.original <= 0.0 || self.candidate <= 0.0 {
            return 0.0;
        }
        self.cross / (self.original * self.candidate).sqrt()
    }
}

/// Two-pole resonances with a zero at 0 Hz and at half the rate, side by side: the bands are the vector's lanes.
#[derive(Clone, Copy, Debug, Default)]
struct FilterBank {
    past_in: [f32; 2],
    past_out: [[f32; BANDS]; 2],
}

impl FilterBank {
    /// Mean power of each band in one frame.
    fn powers(&mut self, frame: &Frame) -> [f32; BANDS] {
        let mut energies = [0f32; BANDS];
        for sample in frame {
            let now = f32::from(*sample);
            let change = now - self.past_in[1];
            self.past_in = [now, self.past_in[0]];
            let mut out = [0f32; BANDS];
            for band in 0..BANDS {
                out[band] = GAIN[band] * change - A1[band] * self.past_out[0][band] - A2[band] * self.past_out[1][band];
                energies[band] += out[band] * out[band];
            }
            self.past_out = [out, self.past_out[0]];
        }
        energies.map(|energy| energy / frame.len() as f32)
    }
}

const BANDS: usize = 6;
/// Centres 400, 700, 1,100, 1,600, 2,200, 2,800 Hz at 16 kHz, Q of 3: within what a radio passes
/// (bilinear band-pass, 0 dB at the centre).
const GAIN: [f32; BANDS] = [0.025_410, 0.043_282, 0.065_225, 0.089_223, 0.112_479, 0.129_300];
const A1: [f32; BANDS] = [-1.925_183, -1.841_597, -1.697_818, -1.473_667, -1.152_797, -0.790_579];
const A2: [f32; BANDS] = [0.949_180, 0.913_436, 0.869_549, 0.821_553, 0.775_041, 0.741_400];
const SMOOTHING: f32 = 0.5;
/// Half a second.
const MEAN_FRAMES: u32 = 25;
/// About -66 dB: bands below it are all alike.
const POWER_FLOOR: f32 = 270.0;
const LIVE_DB: f32 = -50.0;

/// 3 s and the present.
const TRAIL_FRAMES: usize = 151;
/// 60 ms is the first delay that is surely not under 50.
const DELAY_MIN_FRAMES: usize = 3;
/// 1.5 s.
const MEMORY: f32 = 1.0 - 1.0 / 75.0;
/// Over a second of both talking, faded.
const FRAMES_MIN: f32 = 45.0;
/// A real return through two codecs and a radio band has 0.85 to 0.99; other speech rarely 0.5.
pub const LIKENESS_MIN: f32 = 0.8;
/// Half a second.
const SUSPECTED_FRAMES: u32 = 25;
/// Something steady is alike at every delay.
const RIVAL_MARGIN: f32 = 0.2;
const RIVAL_DISTANCE: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audio::MIX_FRAME;
    use crate::domain::random::Entropy;

    /// Speech-like sound: syllables of random length, pitch and two formants, with pauses. `pace` is how fast the
    /// same words are said, in percent; `seed` is which words.
    fn speech(seed: u64, pace: u64, frames: usize) -> Vec<i16> {
        let mut entropy = Entropy::new(seed);
        let mut breath = Entropy::new(seed ^ 0x55);
        let mut out = Vec::new();
        while out.len() < frames * MIX_FRAME {
            let length = ((80 + entropy.below(160)) * 16 * 100 / pace) as usize;
            let formants = [300.0 + entropy.below(600) as f32, 900.0 + entropy.below(1_900) as f32];
            let (pitch, loud) = (90 + entropy.below(120) as usize, 2_000.0 + entropy.below(8_000) as f32);
            let pause = if entropy.percent(25) { length / 2 } else { 0 };
            for n in 0..length + pause {
                let envelope = if n < length { (std::f32::consts::PI * n as f32 / length as f32).sin() } else { 0.0 };
                let since_pulse = (n % (16_000 / pitch)) as f32 / 16_000.0;
                let ring = |hz: f32| (std::f32::consts::TAU * hz * since_pulse).sin() * (-since_pulse * 300.0).exp();
                let voice = ring(formants[0]) + 0.5 * ring(formants[1]);
                out.push((voice * envelope * loud + breath.below(60) as f32 - 30.0) as i16);
            }
        }
        out.truncate(frames * MIX_FRAME);
        out
    }

    /// Both as heard by the shard, from one moment on; what the detector says first and when.
    fn verdict(original: &[i16], candidate: &[i16]) -> Option<(usize, Return)> {
        let (mut first, mut second) = (Printer::default(), Printer::default());
        let (mut trail, mut detector) = (Trail::default(), ReturnDetector::default());
        let pairs = original.as_chunks::<MIX_FRAME>().0.iter().zip(candidate.as_chunks::<MIX_FRAME>().0);
        for (tick, (original, candidate)) in pairs.enumerate() {
            trail.push(Some(first.print(original)));
            if let Some(found) = detector.compare(&trail, Some(second.print(candidate))) {
                return Some((tick, found));
            }
        }
        None
    }

    /// Later, quieter, through a radio's band, with noise.
    fn returned(original: &[i16], delay: usize, down_db: f32, noise: u64) -> Vec<i16> {
        let mut entropy = Entropy::new(99);
        let (mut low, mut high, mut last) = (0f32, 0f32, 0f32);
        let delayed = std::iter::repeat_n(&0, delay).chain(original);
        let through = delayed.take(original.len()).map(|sample| {
            let now = f32::from(*sample) * 10f32.powf(-down_db / 20.0);
            low += (now - low) * 0.6;
            high = 0.9 * (high + low - last);
            last = low;
            (high + entropy.below(noise + 1) as f32 - noise as f32 / 2.0) as i16
        });
        through.collect()
    }

    #[test]
    fn a_return_is_found_with_its_delay_and_level() {
        for (seed, delay_ms, down_db) in [(1, 60, 0.0), (2, 130, 6.0), (3, 450, 12.0), (4, 1_210, 3.0), (5, 2_900, 6.0)]
        {
            let original = speech(seed, 100, 500);
            let candidate = returned(&original, delay_ms * 16, down_db, 100);
            let (tick, found) = verdict(&original, &candidate).unwrap_or_else(|| panic!("{delay_ms} ms was missed"));
            assert!(found.delay_ms.abs_diff(delay_ms as u32) <= 20, "{found:?} for {delay_ms} ms");
            let down = f32::from(found.down.0) / 100.0;
            assert!((-1.0..5.0).contains(&(down - down_db)), "{found:?} for {down_db} dB"); // the band takes some
            assert!(tick < delay_ms / 20 + 200, "found only after {tick} frames");
        }
    }

    #[test]
    fn other_speech_a_repeated_phrase_and_simulcast_are_no_return() {
        for seed in 1..20 {
            let original = speech(seed, 100, 500);
            assert_eq!(verdict(&original, &speech(seed + 100, 100, 500)), None, "other words, seed {seed}");
            let mut repeated = vec![0; 40_000];
            repeated.extend(speech(seed, 108, 500));
            assert_eq!(verdict(&original, &repeated), None, "the same words again, 8 % faster, seed {seed}");
            let simulcast = returned(&original, 16 * (seed as usize * 2), 3.0, 100);
            assert_eq!(verdict(&original, &simulcast), None, "{} ms, seed {seed}", seed * 2);
        }
    }

    #[test]
    fn silence_noise_and_a_steady_tone_are_no_return() {
        let mut entropy = Entropy::new(3);
        let noise: Vec<i16> = (0..160_000).map(|_| entropy.below(2_000) as i16 - 1_000).collect();
        let tone: Vec<i16> = (0..160_000).map(|n| ((n as f32 * 0.4).sin() * 8_000.0) as i16).collect();
        let more_noise: Vec<i16> = (0..160_000).map(|_| entropy.below(2_000) as i16 - 1_000).collect();
        assert_eq!(verdict(&[0; 160_000], &[0; 160_000]), None);
        assert_eq!(verdict(&noise, &more_noise), None);
        assert_eq!(verdict(&tone, &returned(&tone, 8_000, 3.0, 0)), None);
    }
}
