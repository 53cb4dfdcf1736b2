//! How alike a recording is to what was said, how late it is, and whether it came twice. Judged by the samples alone.
//!
//! What was said is cut into blocks of two thirds of a second. Each block looks for itself in the recording by normalised
//! correlation, so that loudness does not count; the blocks then agree on one delay, each within 40 ms of it, because
//! a jitter buffer may leave out or draw out pauses between them. Both sides are compared at 8 kHz: the prompts and
//! G.711 hold no more. Pure; owns nothing.

use crate::demo::fourier::{Complex, transform};
use crate::domain::audio::MIX_RATE_HZ;
use crate::media::resample::{Rates, Resampler};

/// From this similarity on it counts as heard. Measured on pieces of the prompts of 0.9 and 1.3 s, all of one voice:
/// other speech reaches 0.30 and 0.17, one of two equally loud voices in an Opus mix has at least 0.50 and 0.54, speech
/// alone through Opus, G.711 or L16 at least 0.96.
pub const HEARD_FROM: f32 = 0.4;
/// A recording is searched from this long before the speech was said (ms): nobody hears before it is said, and a
/// clock that lies would show.
pub const EARLY_MS: usize = 100;
/// A recording is searched up to this long after (ms): the longest hold of a transmitter and a jitter buffer.
pub const LATE_MS: usize = 3_000;

/// What the comparison found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likeness {
    /// 1 is the same waveform, 0 nothing in common.
    pub similarity: f32,
    /// At which delay it is most alike (ms); means something only if it was heard.
    pub delay_ms: i32,
    /// The similarity at the best delay that is another one, of what was heard at the first one as well: a second copy.
    pub again: f32,
}

impl Likeness {
    /// Whether this is the speech.
    pub fn is_heard(&self) -> bool {
        self.similarity >= HEARD_FROM
    }

    /// Whether it came a second time.
    pub fn is_heard_twice(&self) -> bool {
        self.is_heard() && self.again >= HEARD_FROM
    }
}

/// Looks for `said` in `heard`, both at 16 kHz. `heard` begins [`EARLY_MS`] before `said` did; what is missing of it up
/// to [`LATE_MS`] after its end was silent.
pub fn likeness(said: &[i16], heard: &[i16]) -> Likeness {
    let (said, mut heard) = (narrow(said), narrow(heard));
    let lags = (EARLY_MS + LATE_MS) * PER_MS;
    heard.resize(said.len() + lags + BLOCK, 0.0);
    let energy = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>();
    let whole = energy(&said);
    let mut near = vec![0f32; lags / PER_MS];
    let mut exact = near.clone();
    let mut blocks: Vec<Vec<f32>> = Vec::new();
    if whole == 0.0 {
        return Likeness { similarity: 0.0, delay_ms: 0, again: 0.0 };
    }
    for at in (0..said.len()).step_by(BLOCK) {
        let block = &said[at..(at + BLOCK).min(said.len())];
        let weight = energy(block) / whole;
        if weight < WEIGHT_MIN {
            continue;
        }
        let found = search(block, &heard[at..at + lags + block.len()]);
        for (lag, sum) in exact.iter_mut().enumerate() {
            *sum += weight * found[lag];
        }
        let around = |lag: usize| &found[lag.saturating_sub(STRAY_MS)..(lag + STRAY_MS + 1).min(found.len())];
        let best_around = |lag| weight * around(lag).iter().copied().fold(0.0, f32::max);
        let block: Vec<f32> = (0..near.len()).map(best_around).collect();
        near.iter_mut().zip(&block).for_each(|(sum, own)| *sum += own);
        blocks.push(block);
    }
    let similarity = near.iter().copied().fold(0.0, f32::max);
    // All of the plateau is as good; the blocks' own best delays say where in it.
    let on_plateau = |lag: &usize| near[*lag] >= similarity - PLATEAU;
    let first = (0..near.len()).find(on_plateau).unwrap_or(0);
    let plateau = first..(first + 2 * STRAY_MS + 1).min(near.len());
    let best = plateau.max_by(|a, b| exact[*a].total_cmp(&exact[*b])).unwrap_or(first);
    let elsewhere = (0..near.len()).filter(|lag| lag.abs_diff(best) > TWICE_APART_MS);
    // A block that came late, and only once, is no second copy of those that did not.
    let both = |lag: usize| blocks.iter().map(|block| block[lag].min(block[best])).sum();
    let again = elsewhere.map(both).fold(0.0, f32::max);
    Likeness { similarity, delay_ms: best as i32 - EARLY_MS as i32, again }
}

/// Normalised correlation of a block with each place of `heard`: the best of each millisecond of lag.
fn search(block: &[f32], heard: &[f32]) -> Vec<f32> {
    let size = heard.len().next_power_of_two();
    let spectrum = |samples: &[f32]| {
        let mut line: Vec<Complex> = samples.iter().map(|sample| Complex { re: *sample, im: 0.0 }).collect();
        line.resize(size, Complex::default());
        transform(&mut line);
        line
    };
    // The inverse transform is the transform of the conjugate; of real sequences only the real part is wanted.
    let wanted = spectrum(block);
    let mut product: Vec<Complex> =
        spectrum(heard).iter().zip(&wanted).map(|(heard, block)| heard.times(block.conjugate()).conjugate()).collect();
    transform(&mut product);
    let mut sums = vec![0f64; heard.len() + 1];
    for (at, sample) in heard.iter().enumerate() {
        sums[at + 1] = sums[at] + f64::from(sample * sample);
    }
    let own: f32 = block.iter().map(|sample| sample * sample).sum();
    let quiet = f64::from(SILENT_POWER) * block.len() as f64;
    let alike = |lag: usize| {
        let energy = sums[lag + block.len()] - sums[lag];
        // Silence resembles nothing; its rounding errors would.
        if energy < quiet { 0.0 } else { product[lag].re / size as f32 / (own * energy as f32).sqrt() }
    };
    let lags = heard.len() - block.len();
    (0..lags / PER_MS).map(|ms| (ms * PER_MS..(ms + 1) * PER_MS).map(alike).fold(0.0, f32::max)).collect()
}

/// 8 kHz, -1 to 1.
fn narrow(samples: &[i16]) -> Vec<f32> {
    let even = &samples[..samples.len() & !1];
    let mut out = vec![0; even.len() / 2];
    Resampler::new(Rates::Down16To8).run(even, &mut out);
    let mut before = 0.0;
    let brighter = |sample: i16| {
        let sample = f32::from(sample) / 32_768.0;
        let bright = sample - BRIGHTNESS * before;
        before = sample;
        bright
    };
    out.into_iter().map(brighter).collect()
}

/// Samples of the comparison in a millisecond.
const PER_MS: usize = MIX_RATE_HZ as usize / 2 / 1_000;
/// First-order pre-emphasis: vowels of one voice are all alike at their pitch, and differ above it.
const BRIGHTNESS: f32 = 0.9;
/// Long enough that other speech does not look alike, short enough that a pause left out between two
/// words costs little.
const BLOCK: usize = 650 * PER_MS;
/// How far one block may lie from the others (ms): two frames left out.
const STRAY_MS: usize = 40;
/// A second copy is at least this far from the first (ms): nearer than twice the stray it could be the first.
const TWICE_APART_MS: usize = 100;
/// A block with less of the energy is a pause.
const WEIGHT_MIN: f32 = 0.02;
/// Two similarities nearer than this are one plateau.
const PLATEAU: f32 = 0.001;
/// Below -70 dBov nothing was heard.
const SILENT_POWER: f32 = 1e-7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::speech::Speech;
    use crate::domain::audio::{Codec, Format};
    use crate::domain::random::Entropy;
    use crate::media::codec::{Decoder, Encoder, PACKET_SAMPLES_MAX, PAYLOAD_BYTES_MAX};

    /// Noise whose loudness and colour change in syllables: as unlike itself elsewhere as speech.
    fn voice(seed: u64, ms: usize) -> Vec<i16> {
        let mut random = Entropy::new(seed);
        let mut slow = 0.0;
        (0..ms * 16)
            .map(|at| {
                let syllable = (at as f32 / 16_000.0 * 4.0 * std::f32::consts::TAU + seed as f32).sin().max(0.0);
                slow += 0.3 * ((random.next_u64() >> 48) as f32 - 32_768.0 - slow);
                (slow * syllable * 0.5) as i16
            })
            .collect()
    }

    /// A recording in which `pieces` sound at these delays (ms), added up.
    fn recording(pieces: &[(&[i16], usize)]) -> Vec<i16> {
        let mut heard = vec![0i16; 16 * 6_000];
        for (piece, delay_ms) in pieces {
            for (slot, sample) in heard[(EARLY_MS + delay_ms) * 16..].iter_mut().zip(*piece) {
                *slot = slot.saturating_add(*sample);
            }
        }
        heard
    }

    #[test]
    fn a_known_delay_is_found_to_the_millisecond() {
        let said = voice(1, 1_700);
        for delay_ms in [0, 63, 480, 2_400] {
            let found = likeness(&said, &recording(&[(&said, delay_ms)]));
            assert!(found.similarity > 0.99 && !found.is_heard_twice(), "{found:?}");
            assert!((found.delay_ms - delay_ms as i32).abs() <= 1, "{found:?} for {delay_ms} ms");
        }
    }

    #[test]
    fn loudness_does_not_count_and_silence_is_not_heard() {
        let said = voice(1, 1_500);
        let soft: Vec<i16> = said.iter().map(|sample| sample / 20).collect();
        assert!(likeness(&said, &recording(&[(&soft, 90)])).similarity > 0.97);
        let silence = likeness(&said, &recording(&[]));
        assert_eq!((silence.similarity, silence.is_heard()), (0.0, false));
        assert!(!likeness(&said, &[]).is_heard());
        assert!(!likeness(&[0; 16_000], &recording(&[(&said, 0)])).is_heard());
    }

    #[test]
    fn another_voice_is_not_heard_and_two_at_once_both_are() {
        let (one, other) = (voice(1, 1_500), voice(2, 1_500));
        let alone = recording(&[(&other, 100)]);
        assert!(!likeness(&one, &alone).is_heard(), "{:?}", likeness(&one, &alone));
        let both = recording(&[(&one, 60), (&other, 100)]);
        for said in [&one, &other] {
            let found = likeness(said, &both);
            assert!(found.is_heard() && !found.is_heard_twice(), "{found:?}");
        }
    }

    #[test]
    fn a_second_copy_is_noticed() {
        let said = voice(3, 1_500);
        for second_ms in [230, 900, 2_500] {
            let found = likeness(&said, &recording(&[(&said, 80), (&said, second_ms)]));
            assert!(found.is_heard_twice(), "{found:?} for a copy at {second_ms} ms");
        }
    }

    #[test]
    fn an_end_that_comes_later_than_its_beginning_is_no_second_copy() {
        // What a sender that stalled on a busy machine makes of a piece.
        let said = voice(3, 2_000);
        let (beginning, end) = said.split_at(1_300 * 16);
        let found = likeness(&said, &recording(&[(beginning, 80), (end, 1_300 + 80 + 400)]));
        assert!(found.is_heard() && !found.is_heard_twice(), "{found:?}");
        let twice = likeness(&said, &recording(&[(&said, 80), (end, 1_300 + 80 + 400)]));
        assert!(twice.again > 0.25, "an end alone that comes twice shows: {twice:?}");
    }

    #[test]
    fn a_frame_left_out_in_a_pause_costs_little() {
        let said = voice(4, 2_000);
        let mut heard = recording(&[(&said, 120)]);
        heard.drain((EARLY_MS + 120 + 1_000) * 16..(EARLY_MS + 120 + 1_020) * 16);
        let found = likeness(&said, &heard);
        assert!(found.similarity > 0.8 && !found.is_heard_twice(), "{found:?}");
    }

    #[test]
    fn what_was_cut_off_after_a_third_is_not_heard() {
        let said = voice(5, 1_800);
        let found = likeness(&said, &recording(&[(&said[..600 * 16], 80)]));
        assert!(!found.is_heard(), "{found:?}");
    }

    /// Through a codec and back.
    fn coded(codec: Codec, said: &[i16]) -> Vec<i16> {
        let format = Format::usual(codec);
        let (mut encoder, mut decoder) = (Encoder::new(format).unwrap(), Decoder::new(format).unwrap());
        let (mut payload, mut decoded) = ([0; PAYLOAD_BYTES_MAX], [0; PACKET_SAMPLES_MAX]);
        let mut heard = vec![0; EARLY_MS * 16];
        for frame in said.as_chunks().0 {
            encoder.push(frame);
            let length = encoder.pull(&mut payload).unwrap();
            let samples = decoder.decode(&payload[..length], &mut decoded).unwrap();
            heard.extend_from_slice(&decoded[..samples]);
        }
        heard
    }

    #[test]
    fn a_prompt_is_known_through_each_codec_and_from_another_prompt_of_the_same_voice() {
        let mut prompts = ["demo-instruct", "demo-congrats", "demo-echotest"].map(|name| Speech::load(name).unwrap());
        let pieces: Vec<Vec<i16>> = (0..6).map(|at| prompts[at % 3].say(1_300).as_flattened().to_vec()).collect();
        for (at, said) in pieces.iter().enumerate() {
            for codec in [Codec::Opus, Codec::Pcmu, Codec::L16] {
                let found = likeness(said, &coded(codec, said));
                assert!(found.similarity > 0.9 && found.again < 0.3 && found.delay_ms < 15, "{codec:?}: {found:?}");
            }
            let other = likeness(said, &coded(Codec::Opus, &pieces[(at + 1) % 6]));
            assert!(other.similarity < 0.33, "{other:?}");
        }
    }
}
