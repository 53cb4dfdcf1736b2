//! Every codec into every other: what comes out is the same tone, as loud, and the same voice.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

mod voice;

use std::f64::consts::TAU;
use std::ops::Range;

use crosspatch::domain::audio::{Codec, Format, MIX_FRAME};
use crosspatch::media::codec::{Decoder, Encoder, LastingEncoder, PACKET_SAMPLES_MAX, PAYLOAD_BYTES_MAX};
use crosspatch::media::silence::between;

fn formats() -> Vec<Format> {
    let mut all: Vec<Format> =
        [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::L16].map(Format::usual).into();
    all.push(Format { clock_hz: 8_000, ..Format::usual(Codec::L16) });
    all.push(Format { clock_hz: 48_000, packet_ms: 10, ..Format::usual(Codec::L16) });
    all.push(Format { packet_ms: 60, ..Format::usual(Codec::Opus) });
    all.push(Format { channels: 2, packet_ms: 10, ..Format::usual(Codec::Opus) });
    all.push(Format { packet_ms: 30, ..Format::usual(Codec::Pcma) });
    all
}

fn through(format: Format, input: &[i16]) -> Vec<i16> {
    let (mut encoder, mut decoder) = (Encoder::new(format).unwrap(), Decoder::new(format).unwrap());
    let (mut payload, mut decoded, mut out) = ([0; PAYLOAD_BYTES_MAX], [0; PACKET_SAMPLES_MAX], Vec::new());
    for frame in input.as_chunks::<MIX_FRAME>().0 {
        encoder.push(frame);
        while let Some(length) = encoder.pull(&mut payload) {
            let samples = decoder.decode(&payload[..length], &mut decoded).unwrap();
            out.extend(&decoded[..samples]);
        }
    }
    out
}

/// RMS of one frequency, and of everything else [both in dB below full scale].
fn tone_and_rest_db(samples: &[i16], hz: f64) -> (f64, f64) {
    let (mut re, mut im, mut energy) = (0.0, 0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let (angle, sample) = (TAU * hz * n as f64 / 16_000.0, f64::from(*sample) / 32_768.0);
        re += sample * angle.cos();
        im += sample * angle.sin();
        energy += sample * sample;
    }
    let count = samples.len() as f64;
    let tone = 2.0 * (re * re + im * im) / (count * count);
    (10.0 * tone.log10(), 10.0 * (energy / count - tone).max(1e-13).log10())
}

/// The best normalised correlation over a range of delays, and that delay [samples].
fn likeness(a: &[i16], b: &[i16], delays: Range<usize>) -> (f64, usize) {
    let length = a.len().min(b.len()) - delays.end;
    let dot = |x: &[i16], y: &[i16]| -> f64 {
        x.iter().zip(y).map(|(x, y)| i64::from(*x) * i64::from(*y)).sum::<i64>() as f64
    };
    let a = &a[..length];
    let at = |delay: usize| {
        let b = &b[delay..delay + length];
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    delays.map(|delay| (at(delay), delay)).max_by(|x, y| x.0.total_cmp(&y.0)).unwrap()
}

#[test]
fn any_codec_into_any_other_keeps_a_tone_its_pitch_level_and_purity() {
    // 1,000 Hz at -20 dB for 2 s; the first 400 ms are left to the codecs to settle.
    let tone: Vec<i16> = (0..32_000).map(|n| ((TAU * n as f64 / 16.0).sin() * 4_634.0).round() as i16).collect();
    for first in formats() {
        for second in formats() {
            let out = through(second, &through(first, &tone));
            let (level_db, rest_db) = tone_and_rest_db(&out[6_400..out.len() / 16 * 16], 1_000.0);
            let pair = format!("{first:?} into {second:?}");
            assert!((level_db + 20.0).abs() < 1.0, "{pair}: tone at {level_db:.1} dB");
            assert!(level_db - rest_db > 20.0, "{pair}: everything else at {rest_db:.1} dB");
        }
    }
}

#[test]
fn any_codec_into_any_other_keeps_the_voice() {
    let voice = voice::speech(11, 60);
    let alone: Vec<(Format, Vec<i16>, usize)> = formats()
        .into_iter()
        .map(|format| {
            let out = through(format, &voice);
            let delay = likeness(&voice, &out, 0..400).1;
            (format, out, delay)
        })
        .collect();
    for (first, once, first_delay) in &alone {
        for (second, _, second_delay) in &alone {
            let delay = first_delay + second_delay;
            let (like, _) = likeness(&voice, &through(*second, once), delay.saturating_sub(5)..delay + 5);
            assert!(like > 0.85, "{first:?} into {second:?}: likeness {like:.3}");
        }
    }
}

#[test]
fn opus_redundancy_brings_back_a_lost_frame_better_than_a_guess() {
    let voice = voice::speech(5, 200);
    let format = Format::usual(Codec::Opus);
    let mut encoder = Encoder::new(format).unwrap();
    encoder.expect_loss(20);
    let (mut payload, mut payloads) = ([0; PAYLOAD_BYTES_MAX], Vec::new());
    for frame in voice.as_chunks::<MIX_FRAME>().0 {
        encoder.push(frame);
        let length = encoder.pull(&mut payload).unwrap();
        payloads.push(payload[..length].to_vec());
    }
    let play = |recover: bool| -> Vec<i16> {
        let (mut decoder, mut decoded, mut out) = (Decoder::new(format).unwrap(), [0; PACKET_SAMPLES_MAX], Vec::new());
        for at in 0..payloads.len() {
            if at % 5 == 4 && at + 1 < payloads.len() {
                let next: &[u8] = if recover { &payloads[at + 1] } else { &[] };
                decoder.recover(next, &mut decoded[..MIX_FRAME]);
                out.extend(&decoded[..MIX_FRAME]);
            } else {
                let samples = decoder.decode(&payloads[at], &mut decoded).unwrap();
                out.extend(&decoded[..samples]);
            }
        }
        out
    };
    let (recovered, guessed) = (likeness(&voice, &play(true), 0..200).0, likeness(&voice, &play(false), 0..200).0);
    assert!(recovered > guessed + 0.02, "recovered {recovered:.3}, guessed {guessed:.3}");
}

#[test]
fn concealment_is_better_than_a_hole_for_codecs_without_their_own() {
    let voice = voice::speech(6, 200);
    for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::L16] {
        let format = Format::usual(codec);
        let play = |conceal: bool| -> Vec<i16> {
            let (mut encoder, mut decoder) = (Encoder::new(format).unwrap(), Decoder::new(format).unwrap());
            let (mut payload, mut decoded, mut out) = ([0; PAYLOAD_BYTES_MAX], [0; PACKET_SAMPLES_MAX], Vec::new());
            for (at, frame) in voice.as_chunks::<MIX_FRAME>().0.iter().enumerate() {
                encoder.push(frame);
                let length = encoder.pull(&mut payload).unwrap();
                if at % 5 != 4 {
                    decoder.decode(&payload[..length], &mut decoded).unwrap();
                } else if conceal {
                    decoder.conceal(&mut decoded[..MIX_FRAME]);
                } else {
                    decoded[..MIX_FRAME].fill(0);
                }
                out.extend(&decoded[..MIX_FRAME]);
            }
            out
        };
        let (concealed, hole) = (likeness(&voice, &play(true), 0..200).0, likeness(&voice, &play(false), 0..200).0);
        assert!(concealed > hole + 0.01, "{codec:?}: concealed {concealed:.3}, with holes {hole:.3}");
    }
}

/// How much louder than it was said a voice is heard, at its loudest in 100 ms, by a G.722 decoder whose last talker was
/// cut off in mid-speech (dB, the 95th of 100 cuts).
fn overshoot_db(next: impl Fn(LastingEncoder) -> (Option<&'static [u8]>, LastingEncoder)) -> f64 {
    let format = Format::usual(Codec::G722);
    let peak = |sound: &[i16]| sound.iter().map(|sample| f64::from(sample.unsigned_abs())).fold(1.0, f64::max);
    let mut all: Vec<f64> = (0..100)
        .map(|seed| {
            let (mut decoder, mut decoded) = (Decoder::new(format).unwrap(), [0; PACKET_SAMPLES_MAX]);
            let (mut coder, mut payload) = (LastingEncoder::new(), [0; PAYLOAD_BYTES_MAX]);
            for frame in voice::speech(seed, 60).chunks(MIX_FRAME).take(20 + seed as usize % 17) {
                let length = coder.encode(frame, &mut payload);
                decoder.decode(&payload[..length], &mut decoded).unwrap();
            }
            let (rest, mut coder) = next(coder);
            if let Some(rest) = rest {
                decoder.decode(rest, &mut decoded).unwrap();
            }
            let (said, mut heard) = (voice::speech(1_000 + seed, 5), Vec::new());
            for frame in said.chunks(MIX_FRAME) {
                let length = coder.encode(frame, &mut payload);
                let count = decoder.decode(&payload[..length], &mut decoded).unwrap();
                heard.extend_from_slice(&decoded[..count]);
            }
            20.0 * (peak(&heard) / peak(&said)).log10()
        })
        .collect();
    all.sort_by(f64::total_cmp);
    all[94]
}

#[test]
fn one_g722_coder_makes_no_overshoot_and_a_rest_before_another_one_takes_most_of_it() {
    let bare = overshoot_db(|_| (None, LastingEncoder::new()));
    let goes_on = overshoot_db(|coder| (None, coder));
    let rested = overshoot_db(|mut coder| {
        coder.stray();
        (between(Codec::G722), coder)
    });
    println!("another coder, bare: {bare:.1} dB; after a rest: {rested:.1} dB; the same coder: {goes_on:.1} dB");
    assert!(bare > 12.0, "a trap that is none any more: {bare:.1} dB");
    assert!(goes_on < 3.0, "{goes_on:.1} dB");
    assert!(rested < 6.0, "{rested:.1} dB");
}
