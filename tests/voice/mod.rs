//! Speech-like sound made from a seed: syllables of random length, pitch and formants, with pauses.

use crosspatch::domain::audio::MIX_FRAME;
use crosspatch::domain::random::Entropy;

/// Whole 20 ms frames at 16 kHz, one after the other, at about -24 dB below full scale.
pub fn speech(seed: u64, frames: usize) -> Vec<i16> {
    let mut entropy = Entropy::new(seed);
    let mut out = Vec::new();
    while out.len() < frames * MIX_FRAME {
        let length = (80 + entropy.below(160) as usize) * 16;
        let formants = [300.0 + entropy.below(600) as f32, 900.0 + entropy.below(1_900) as f32];
        let (pitch, loud) = (90 + entropy.below(120) as usize, 3_000.0 + entropy.below(9_000) as f32);
        let pause = if entropy.percent(25) { length } else { 0 };
        for n in 0..length + pause {
            let envelope = if n < length { (std::f32::consts::PI * n as f32 / length as f32).sin() } else { 0.0 };
            let since_pulse = (n % (16_000 / pitch)) as f32 / 16_000.0;
            let ring = |hz: f32| (std::f32::consts::TAU * hz * since_pulse).sin() * (-since_pulse * 300.0).exp();
            out.push(((ring(formants[0]) + 0.5 * ring(formants[1])) * envelope * loud) as i16);
        }
    }
    out.truncate(frames * MIX_FRAME);
    out
}
