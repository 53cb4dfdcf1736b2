//! Between the mixer's 16 kHz and the 8 or 48 kHz of codecs and sound cards, one channel.
//!
//! A polyphase linear-phase filter whose coefficients are computed at compile time: the same bits on every
//! machine, nothing allocated, at most 2 ms of delay. Not a general resampler: clock drift is taken up by the
//! jitter buffer. Owned by one decoder or encoder. Why it is ours: docs/decisions/003-resampling.md.

/// One direction of one stream; keeps the filter's memory between calls.
#[derive(Clone, Debug)]
pub struct Resampler {
    rates: Rates,
    history: [f32; HISTORY],
}

/// The pairs of rates the mixer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rates {
    /// 16 kHz on both sides: samples are copied.
    Same,
    /// 8 to 16 kHz.
    Up8To16,
    /// 16 to 8 kHz.
    Down16To8,
    /// 16 to 48 kHz.
    Up16To48,
    /// 48 to 16 kHz.
    Down48To16,
}

impl Rates {
    /// From a codec's sample rate (Hz) to the mixer's; `None` if there is no filter for it.
    pub const fn to_mixer(rate_hz: u32) -> Option<Self> {
        match rate_hz {
            8_000 => Some(Rates::Up8To16),
            16_000 => Some(Rates::Same),
            48_000 => Some(Rates::Down48To16),
            _ => None,
        }
    }

    /// From the mixer's rate to a codec's sample rate (Hz); `None` if there is no filter for it.
    pub const fn from_mixer(rate_hz: u32) -> Option<Self> {
        match rate_hz {
            8_000 => Some(Rates::Down16To8),
            16_000 => Some(Rates::Same),
            48_000 => Some(Rates::Up16To48),
            _ => None,
        }
    }

    /// Samples that come out for so many that go in.
    pub const fn output_samples(self, input_samples: usize) -> usize {
        match self {
            Rates::Same => input_samples,
            Rates::Up8To16 => input_samples * 2,
            Rates::Down16To8 => input_samples / 2,
            Rates::Up16To48 => input_samples * 3,
            Rates::Down48To16 => input_samples / 3,
        }
    }

    /// How many input samples belong together: a call takes whole multiples of it.
    pub const fn input_step(self) -> usize {
        match self {
            Rates::Same | Rates::Up8To16 | Rates::Up16To48 => 1,
            Rates::Down16To8 => 2,
            Rates::Down48To16 => 3,
        }
    }
}

impl Resampler {
    /// With an empty (silent) memory.
    pub const fn new(rates: Rates) -> Self {
        Self { rates, history: [0.0; HISTORY] }
    }

    /// Forgets the stream it heard.
    pub fn reset(&mut self) {
        self.history = [0.0; HISTORY];
    }

    /// Which way it goes.
    pub const fn rates(&self) -> Rates {
        self.rates
    }

    /// Converts `input`, whole multiples of [`Rates::input_step`]; returns how many samples it wrote to `out`.
    ///
    /// # Panics
    /// If `out` is shorter than [`Rates::output_samples`]: a bug of the caller.
    pub fn run(&mut self, input: &[i16], out: &mut [i16]) -> usize {
        debug_assert!(input.len().is_multiple_of(self.rates.input_step()));
        match self.rates {
            Rates::Same => {
                out[..input.len()].copy_from_slice(input);
                input.len()
            }
            Rates::Up8To16 => self.convolve(input, out, 1, &UP_2),
            Rates::Down16To8 => self.convolve(input, out, 2, &DOWN_2),
            Rates::Up16To48 => self.convolve(input, out, 1, &UP_3),
            Rates::Down48To16 => self.convolve(input, out, 3, &DOWN_3),
        }
    }

    /// For every `step` input samples one output per phase of `bank`.
    fn convolve<const TAPS: usize>(
        &mut self,
        input: &[i16],
        out: &mut [i16],
        step: usize,
        bank: &[[f32; TAPS]],
    ) -> usize {
        let mut line = [0f32; HISTORY + BLOCK];
        let mut written = 0;
        for block in input.chunks(BLOCK) {
            line[..HISTORY].copy_from_slice(&self.history);
            for (slot, sample) in line[HISTORY..].iter_mut().zip(block) {
                *slot = f32::from(*sample);
            }
            for end in (HISTORY + 1..HISTORY + 1 + block.len()).step_by(step) {
                let window = line[..end].last_chunk::<TAPS>().expect("HISTORY holds the longest filter");
                for phase in bank {
                    out[written] = nearest(dot(phase, window));
                    written += 1;
                }
            }
            self.history.copy_from_slice(&line[block.len()..block.len() + HISTORY]);
        }
        written
    }
}

/// Eight independent sums let the compiler use vector registers; floats may not be reordered by itself.
#[inline]
fn dot<const TAPS: usize>(taps: &[f32; TAPS], window: &[f32; TAPS]) -> f32 {
    let mut sums = [0f32; 8];
    for (taps, window) in taps.as_chunks::<8>().0.iter().zip(window.as_chunks::<8>().0) {
        sums = std::array::from_fn(|lane| sums[lane] + taps[lane] * window[lane]);
    }
    (sums[0] + sums[4]) + (sums[1] + sums[5]) + ((sums[2] + sums[6]) + (sums[3] + sums[7]))
}

/// Rounds without a call into the C library: beyond 2^22 a float has no room for fractions.
#[inline]
fn nearest(sample: f32) -> i16 {
    const ROUNDER: f32 = 12_582_912.0;
    ((sample + ROUNDER) - ROUNDER) as i16 // `as` saturates
}

/// The longest filter's memory, input samples.
const HISTORY: usize = 192;
/// Input samples converted at once; a multiple of every step.
const BLOCK: usize = 240;

/// Kaiser's beta for 65 dB of rejection.
const BETA: f64 = 6.2;
/// 63 taps at 16 kHz: 1.94 ms. Half amplitude at 3,800 Hz keeps 3,400 Hz whole and folds nothing audible.
const HALF_TAPS: usize = 63;
const HALF_CUTOFF: f64 = 3_800.0 / 16_000.0;
/// 191 taps at 48 kHz: 1.98 ms. Half amplitude at 7,600 Hz keeps 7,100 Hz whole.
const THIRD_TAPS: usize = 191;
const THIRD_CUTOFF: f64 = 7_600.0 / 48_000.0;

static UP_2: [[f32; 32]; 2] = phases::<2, 32>(HALF_TAPS, HALF_CUTOFF);
static DOWN_2: [[f32; 64]; 1] = phases::<1, 64>(HALF_TAPS, HALF_CUTOFF);
static UP_3: [[f32; 64]; 3] = phases::<3, 64>(THIRD_TAPS, THIRD_CUTOFF);
static DOWN_3: [[f32; 192]; 1] = phases::<1, 192>(THIRD_TAPS, THIRD_CUTOFF);

/// The prototype cut into phases, each oldest sample first and of unity gain at 0 Hz.
const fn phases<const PHASES: usize, const TAPS: usize>(taps: usize, cutoff: f64) -> [[f32; TAPS]; PHASES] {
    let mut bank = [[0f32; TAPS]; PHASES];
    let mut phase = 0;
    while phase < PHASES {
        let mut sum = 0.0;
        let mut at = phase;
        while at < taps {
            sum += tap(at, taps, cutoff);
            at += PHASES;
        }
        at = phase;
        while at < taps {
            bank[phase][TAPS - 1 - at / PHASES] = (tap(at, taps, cutoff) / sum) as f32;
            at += PHASES;
        }
        phase += 1;
    }
    bank
}

/// One coefficient of the Kaiser-windowed sinc; `cutoff` in cycles per sample.
const fn tap(at: usize, taps: usize, cutoff: f64) -> f64 {
    let half = (taps as f64 - 1.0) / 2.0;
    let x = at as f64 - half;
    let sinc = if x == 0.0 { 2.0 * cutoff } else { sine(TAU * cutoff * x) / (TAU / 2.0 * x) };
    let edge = x / half;
    sinc * bessel(BETA * BETA * (1.0 - edge * edge)) / bessel(BETA * BETA)
}

const TAU: f64 = std::f64::consts::TAU;

/// `f64::sin` is not const: the Taylor series on -pi..pi.
const fn sine(x: f64) -> f64 {
    let turns = (x / TAU) as i64 as f64;
    let mut x = x - turns * TAU;
    if x > TAU / 2.0 {
        x -= TAU;
    } else if x < -TAU / 2.0 {
        x += TAU;
    }
    let (mut sum, mut term, mut n) = (x, x, 1.0);
    while n < 30.0 {
        term *= -x * x / ((n + 1.0) * (n + 2.0));
        sum += term;
        n += 2.0;
    }
    sum
}

/// The modified Bessel function I0 of the square root of `square`.
const fn bessel(square: f64) -> f64 {
    let (mut sum, mut term, mut n) = (1.0, 1.0, 1.0);
    while n < 30.0 {
        term *= square / 4.0 / (n * n);
        sum += term;
        n += 1.0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn tone(hz: f64, rate_hz: f64, samples: usize) -> Vec<i16> {
        (0..samples).map(|n| ((TAU * hz * n as f64 / rate_hz).sin() * 16_000.0).round() as i16).collect()
    }

    /// Amplitude of one frequency relative to the tone that went in (dB).
    fn amplitude_db(samples: &[i16], hz: f64, rate_hz: f64) -> f64 {
        let (mut re, mut im) = (0.0, 0.0);
        for (n, sample) in samples.iter().enumerate() {
            let angle = TAU * hz * n as f64 / rate_hz;
            re += f64::from(*sample) * angle.cos();
            im += f64::from(*sample) * angle.sin();
        }
        20.0 * (2.0 * re.hypot(im) / samples.len() as f64 / 16_000.0 + 1e-9).log10()
    }

    fn through(rates: Rates, input: &[i16]) -> Vec<i16> {
        let mut filter = Resampler::new(rates);
        let mut out = vec![0; rates.output_samples(input.len())];
        let mut written = 0;
        for block in input.chunks(input.len() / 50) {
            written += filter.run(block, &mut out[written..]);
        }
        assert_eq!(written, out.len());
        out.split_off(written / 10)
    }

    #[test]
    fn speech_band_passes_flat_and_images_stay_60_db_down() {
        for (rates, from_hz, to_hz, top_hz) in [
            (Rates::Up8To16, 8e3, 16e3, 3_400.0),
            (Rates::Down16To8, 16e3, 8e3, 3_400.0),
            (Rates::Up16To48, 16e3, 48e3, 7_000.0),
            (Rates::Down48To16, 48e3, 16e3, 7_000.0),
        ] {
            for hz in [100.0, 1_000.0, 2_000.0, 3_000.0, top_hz] {
                let out = through(rates, &tone(hz, from_hz, from_hz as usize));
                let passed = amplitude_db(&out, hz, to_hz);
                assert!(passed.abs() < 0.3, "{rates:?} at {hz} Hz changed by {passed:.2} dB");
                if to_hz > from_hz {
                    let image = amplitude_db(&out, from_hz - hz, to_hz);
                    assert!(image < -60.0, "{rates:?}: image of {hz} Hz at {image:.1} dB");
                }
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_does_not_fold_back() {
        for (rates, from_hz, to_hz, hz) in
            [(Rates::Down16To8, 16e3, 8e3, 4_500.0), (Rates::Down48To16, 48e3, 16e3, 8_300.0)]
        {
            let out = through(rates, &tone(hz, from_hz, from_hz as usize));
            let alias = amplitude_db(&out, to_hz - hz, to_hz);
            assert!(alias < -60.0, "{rates:?}: {hz} Hz came back at {alias:.1} dB");
        }
    }

    #[test]
    fn an_impulse_is_at_most_2_ms_late() {
        for (rates, to_khz) in
            [(Rates::Up8To16, 16), (Rates::Down16To8, 8), (Rates::Up16To48, 48), (Rates::Down48To16, 16)]
        {
            let mut input = vec![0i16; 960];
            input[0] = 16_000;
            let mut out = vec![0; rates.output_samples(960)];
            Resampler::new(rates).run(&input, &mut out);
            let peak = (0..out.len()).max_by_key(|n| out[*n].unsigned_abs()).unwrap();
            assert!(peak <= 2 * to_khz, "{rates:?}: peak after {peak} samples");
        }
    }

    #[test]
    fn the_cut_into_calls_does_not_change_a_sample() {
        let input = tone(700.0, 48e3, 2_880);
        for rates in [Rates::Up8To16, Rates::Down16To8, Rates::Up16To48, Rates::Down48To16] {
            let mut whole = vec![0; rates.output_samples(2_880)];
            Resampler::new(rates).run(&input, &mut whole);
            let (mut pieces, mut filter) = (Vec::new(), Resampler::new(rates));
            for piece in input.chunks(6 * 13) {
                let mut out = vec![0; rates.output_samples(piece.len())];
                filter.run(piece, &mut out);
                pieces.extend(out);
            }
            assert_eq!(whole, pieces, "{rates:?}");
        }
    }
}
