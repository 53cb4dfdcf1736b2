//! Sums voices into one frame: 32-bit sums, minus one's own, clipped once at the very end.
//!
//! One [`Mix`] per distinct set of bursts with gains; a listener who talks gets the same sum without his own
//! voice. Because every voice is scaled to whole numbers before it is added, taking it away again gives bit for
//! bit what a sum without it would have been, also where the full sum clips. No soft clip: with levelled talkers
//! the sum of three stays 8 dB below full scale on average, and a curve would bend every sample to save a few.

use crate::domain::audio::{Frame, Gain, MIX_FRAME};

/// A running sum of voices.
#[derive(Clone, Debug)]
pub struct Mix {
    sum: [i32; MIX_FRAME],
}

impl Default for Mix {
    fn default() -> Self {
        Self { sum: [0; MIX_FRAME] }
    }
}

impl Mix {
    /// Back to silence.
    pub fn clear(&mut self) {
        self.sum = [0; MIX_FRAME];
    }

    /// Adds a voice.
    pub fn add(&mut self, voice: &Frame, gain: Gain) {
        let factor = Factor::of(gain);
        for (sum, sample) in self.sum.iter_mut().zip(voice) {
            *sum += factor.scale(*sample);
        }
    }

    /// The sum of all.
    pub fn all(&self, out: &mut Frame) {
        for (out, sum) in out.iter_mut().zip(&self.sum) {
            *out = clip(*sum);
        }
    }

    /// The sum of all but one, which was added with the same gain.
    pub fn all_but(&self, own: &Frame, gain: Gain, out: &mut Frame) {
        let factor = Factor::of(gain);
        for ((out, sum), own) in out.iter_mut().zip(&self.sum).zip(own) {
            *out = clip(*sum - factor.scale(*own));
        }
    }
}

/// Scales a lone voice in place, clipping it: what a listener without a mix gets.
pub fn scale(voice: &mut Frame, gain: Gain) {
    let factor = Factor::of(gain);
    for sample in voice {
        *sample = clip(factor.scale(*sample));
    }
}

fn clip(sum: i32) -> i16 {
    sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// A gain as a whole number of 4096ths, so that adding and taking away round alike.
#[derive(Clone, Copy)]
struct Factor(i32);

impl Factor {
    fn of(gain: Gain) -> Self {
        if gain == Gain::UNITY {
            return Self(ONE);
        }
        let within = Gain(gain.0.clamp(-GAIN_MAX.0, GAIN_MAX.0));
        Self((within.factor() * ONE as f32).round() as i32)
    }

    fn scale(self, sample: i16) -> i32 {
        (i32::from(sample) * self.0) >> SHIFT
    }
}

/// +-20 dB: a factor of 10 keeps a sample's product within 32 bits, and 6,000 voices' sum too.
const GAIN_MAX: Gain = Gain(2_000);
const SHIFT: i32 = 12;
const ONE: i32 = 1 << SHIFT;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::random::Entropy;

    fn voices(count: usize, seed: u64) -> Vec<(Frame, Gain)> {
        let mut entropy = Entropy::new(seed);
        (0..count)
            .map(|_| {
                let gain = Gain(entropy.below(4_001) as i16 - 2_000);
                (std::array::from_fn(|_| entropy.next_u32() as i16), gain)
            })
            .collect()
    }

    #[test]
    fn minus_self_is_bit_exact_even_where_the_sum_clipped() {
        let mut clipped = 0;
        for seed in 0..50 {
            let voices = voices(2 + seed as usize % 7, seed);
            let mut mix = Mix::default();
            voices.iter().for_each(|(voice, gain)| mix.add(voice, *gain));
            let (mut full, mut others, mut expected) = ([0; MIX_FRAME], [0; MIX_FRAME], [0; MIX_FRAME]);
            mix.all(&mut full);
            clipped += full.iter().filter(|sample| **sample == i16::MAX).count();
            for own in 0..voices.len() {
                let mut without = Mix::default();
                for (at, (voice, gain)) in voices.iter().enumerate() {
                    if at != own {
                        without.add(voice, *gain);
                    }
                }
                without.all(&mut expected);
                mix.all_but(&voices[own].0, voices[own].1, &mut others);
                assert_eq!(others, expected, "seed {seed}, without voice {own}");
            }
        }
        assert!(clipped > 1_000, "sums have to clip for this test to mean anything");
    }

    #[test]
    fn a_lone_voice_at_unity_passes_untouched() {
        let (voice, _) = voices(1, 7)[0];
        let mut mix = Mix::default();
        mix.add(&voice, Gain::UNITY);
        let mut out = [0; MIX_FRAME];
        mix.all(&mut out);
        assert_eq!(out, voice);
        mix.all_but(&voice, Gain::UNITY, &mut out);
        assert_eq!(out, [0; MIX_FRAME], "he does not hear himself");
    }

    #[test]
    fn gains_are_decibels() {
        let mut voice = [1_000; MIX_FRAME];
        scale(&mut voice, Gain(600));
        assert_eq!(voice[0], 1_995);
        scale(&mut voice, Gain(9_900));
        assert_eq!(voice[0], 19_950, "clamped to 20 dB");
    }
}
