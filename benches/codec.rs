//! Microseconds of CPU per 20 ms frame for each step of the audio path, on this machine, the median of 15 runs.
//!
//! What it defends: one decode per burst and one encode per distinct mix fit the field's gate on two small cores,
//! and everything that is not a codec is small beside one.

#![expect(clippy::unwrap_used, reason = "a bench may stop at the first fault")]
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::hint::black_box;
use std::time::Instant;

use crosspatch::domain::audio::{Codec, Format, Frame, Gain, MIX_FRAME};
use crosspatch::domain::time::MonoTime;
use crosspatch::media::codec::{Decoder, Encoder, PACKET_SAMPLES_MAX, PAYLOAD_BYTES_MAX};
use crosspatch::media::echo::{Printer, ReturnDetector, Trail};
use crosspatch::media::jitter::{Arrival, JitterBuffer};
use crosspatch::media::level::{Leveller, SpeechDetector};
use crosspatch::media::mixer::Mix;
use crosspatch::media::resample::{Rates, Resampler};

#[path = "../tests/voice/mod.rs"]
mod voice;

const RUNS: usize = 15;

fn main() {
    let voice = voice::speech(1, 500);
    let frames = voice.as_chunks::<MIX_FRAME>().0;
    println!("us per 20 ms frame, median of {RUNS} runs over {} frames", frames.len());
    codecs(frames);
    resamplers(frames);
    others(frames);
}

/// Prints the median time of one frame; `work` is called once per run with all frames.
fn report(name: &str, frames: &[Frame], mut work: impl FnMut(&[Frame])) {
    let mut us: Vec<f64> = (0..RUNS)
        .map(|_| {
            let begin = Instant::now();
            work(frames);
            begin.elapsed().as_secs_f64() * 1e6 / frames.len() as f64
        })
        .collect();
    us.sort_by(f64::total_cmp);
    println!("{name:<32}{:>8.2}", us[RUNS / 2]);
}

fn codecs(frames: &[Frame]) {
    for codec in [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::L16] {
        let format = Format::usual(codec);
        let (mut encoder, mut decoder) = (Encoder::new(format).unwrap(), Decoder::new(format).unwrap());
        let (mut payload, mut decoded, mut payloads) = ([0; PAYLOAD_BYTES_MAX], [0; PACKET_SAMPLES_MAX], Vec::new());
        report(&format!("encode {codec:?}"), frames, |frames| {
            payloads.clear();
            for frame in frames {
                encoder.push(frame);
                let length = encoder.pull(&mut payload).unwrap();
                payloads.push(payload[..length].to_vec());
            }
        });
        report(&format!("decode {codec:?}"), frames, |_| {
            for payload in &payloads {
                black_box(decoder.decode(payload, &mut decoded).unwrap());
            }
        });
        report(&format!("conceal {codec:?}, 1 in 5"), frames, |_| {
            for (at, payload) in payloads.iter().enumerate() {
                if at % 5 == 4 {
                    decoder.conceal(&mut decoded[..MIX_FRAME]);
                } else {
                    black_box(decoder.decode(payload, &mut decoded).unwrap());
                }
            }
        });
    }
}

fn resamplers(frames: &[Frame]) {
    for (rates, samples) in
        [(Rates::Up8To16, 160), (Rates::Down16To8, 320), (Rates::Up16To48, 320), (Rates::Down48To16, 960)]
    {
        let (mut resampler, mut out) = (Resampler::new(rates), [0; 960]);
        let input: Vec<i16> = frames[0].iter().copied().cycle().take(samples).collect();
        report(&format!("resample {rates:?}"), frames, |frames| {
            for _ in frames {
                black_box(resampler.run(black_box(&input), &mut out));
            }
        });
    }
}

fn others(frames: &[Frame]) {
    let (mut mix, mut out) = (Mix::default(), [0; MIX_FRAME]);
    report("mix 3 voices, one minus self", frames, |frames| {
        for frame in frames {
            mix.clear();
            (0..3).for_each(|_| mix.add(black_box(frame), Gain(-150)));
            mix.all_but(frame, Gain(-150), &mut out);
            black_box(&out);
        }
    });
    let mut detector = SpeechDetector::default();
    report("speech or not", frames, |frames| {
        for frame in frames {
            black_box(detector.judge(frame));
        }
    });
    let mut leveller = Leveller::new(None);
    report("level and limit", frames, |frames| {
        for frame in frames {
            let mut frame = *frame;
            leveller.apply(&mut frame, true);
            black_box(&frame);
        }
    });
    let mut printer = Printer::default();
    report("print for the echo detector", frames, |frames| {
        for frame in frames {
            black_box(printer.print(frame));
        }
    });
    let (mut trail, mut returns) = (Trail::default(), ReturnDetector::default());
    report("compare with one trail", frames, |frames| {
        for frame in frames {
            let print = printer.print(frame);
            trail.push(Some(print));
            black_box(returns.compare(&trail, Some(print)));
        }
    });
    let mut jitter = JitterBuffer::new();
    report("jitter push and pop", frames, |frames| {
        jitter.reset(8_000);
        for at in 0..frames.len() as u32 {
            let now = MonoTime::from_millis(1_000 + u64::from(at) * 20);
            let payload = &[0x55; 160];
            jitter.push(now, Arrival { ssrc: 1, sequence: at as u16, timestamp: at * 160, ticks: 160, payload });
            black_box(jitter.pop(now));
        }
    });
}
