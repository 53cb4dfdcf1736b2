//! Nothing in the audio path allocates once it was set up, counted per thread by the allocator itself.

mod counting;
mod voice;

use crosspatch::domain::audio::{Codec, Format, Frame, Gain, MIX_FRAME};
use crosspatch::domain::time::MonoTime;
use crosspatch::media::codec::{CodecPool, PACKET_SAMPLES_MAX, PAYLOAD_BYTES_MAX};
use crosspatch::media::echo::{Printer, ReturnDetector, Trail};
use crosspatch::media::jitter::JitterBuffer;
use crosspatch::media::level::{Leveller, SpeechDetector};
use crosspatch::media::mixer::Mix;
use crosspatch::media::playout::Playout;
use crosspatch::media::resample::{Rates, Resampler};
use crosspatch::media::tone::{Tone, TonePlayer};

use counting::allocations;

fn frames() -> Vec<Frame> {
    voice::speech(3, 100).as_chunks::<MIX_FRAME>().0.to_vec()
}

#[test]
fn the_counter_sees_an_allocation() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1u8; 100]))), 2);
}

#[test]
fn a_burst_from_pool_to_pool_allocates_nothing_in_any_codec() {
    let frames = frames();
    let mut pool = CodecPool::new(2, 2).unwrap();
    let mut spare = Some(JitterBuffer::new());
    for codec in [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::L16] {
        for packet_ms in [10, 20, 40] {
            let format = Format { packet_ms, ..Format::usual(codec) };
            let count = allocations(|| {
                let mut encoder = pool.take_encoder(format).unwrap();
                encoder.expect_loss(10);
                let decoder = pool.take_decoder(format).unwrap();
                let mut playout = Playout::new(format, spare.take().unwrap(), decoder);
                let (mut payload, mut out, mut sequence) = ([0; PAYLOAD_BYTES_MAX], [0; MIX_FRAME], 0u16);
                for (tick, frame) in frames.iter().enumerate() {
                    let now = MonoTime::from_millis(1_000 + tick as u64 * 20);
                    encoder.push(frame);
                    while let Some(length) = encoder.pull(&mut payload) {
                        let timestamp = u32::from(sequence) * format.ticks_per_packet();
                        if sequence % 7 != 5 {
                            playout.push(now, 1, sequence, timestamp, &payload[..length]);
                            playout.push(now, 1, sequence, timestamp, &payload[..length]); // a duplicate
                        }
                        sequence += 1;
                    }
                    playout.frame(now, &mut out);
                }
                let (jitter, decoder) = playout.into_parts();
                assert!(jitter.counts().lost > 3 && jitter.counts().played > 20, "{:?}", jitter.counts());
                spare = Some(jitter);
                pool.give_decoder(decoder);
                pool.give_encoder(encoder);
            });
            assert_eq!(count, 0, "{format:?}");
        }
    }
}

#[test]
fn resampling_allocates_nothing() {
    for rates in [Rates::Same, Rates::Up8To16, Rates::Down16To8, Rates::Up16To48, Rates::Down48To16] {
        let (mut resampler, mut out) = (Resampler::new(rates), [0; PACKET_SAMPLES_MAX]);
        let input = [500i16; 480];
        assert_eq!(allocations(|| (0..10).for_each(|_| assert!(resampler.run(&input, &mut out) > 0))), 0, "{rates:?}");
    }
}

#[test]
fn mixing_levelling_tones_and_the_echo_detector_allocate_nothing() {
    let frames = frames();
    let (mut printer, mut trail, mut returns) =
        (Printer::default(), Box::new(Trail::default()), Box::new(ReturnDetector::default()));
    let (mut mix, mut leveller, mut detector) = (Mix::default(), Leveller::new(None), SpeechDetector::default());
    let mut tone = TonePlayer::new(Tone::Deny);
    let count = allocations(|| {
        let mut out = [0; MIX_FRAME];
        for frame in &frames {
            let mut levelled = *frame;
            let speech = detector.judge(frame);
            leveller.apply(&mut levelled, speech);
            mix.clear();
            mix.add(&levelled, Gain(-300));
            mix.add(frame, Gain::UNITY);
            mix.all(&mut out);
            mix.all_but(frame, Gain::UNITY, &mut out);
            tone.next_frame(&mut out);
            let print = printer.print(frame);
            trail.push(Some(print));
            returns.compare(&trail, Some(print));
        }
    });
    assert_eq!(count, 0);
}
