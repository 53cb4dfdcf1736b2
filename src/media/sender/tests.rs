use super::*;
use crate::domain::audio::Codec;

fn at(ms: u64) -> MonoTime {
    MonoTime::from_millis(ms)
}

fn sender(codec: Codec) -> Sender<u8> {
    Sender::new(Format::usual(codec), &mut Entropy::new(7))
}

fn talker(burst: u8, stream: u64) -> Voice<u8> {
    Voice::Relay { burst, stream }
}

#[test]
fn gaps_of_the_talker_stay_and_the_next_burst_follows_the_highest() {
    let mut sender = sender(Codec::Pcmu);
    sender.begin(talker(1, 1), at(0));
    let base = sender.relay(1, 500, 8_000, at(0)).unwrap();
    let after_gap = sender.relay(1, 503, 8_480, at(60)).unwrap();
    let reordered = sender.relay(1, 502, 8_320, at(61)).unwrap();
    assert_eq!([after_gap.sequence, reordered.sequence], [base.sequence + 3, base.sequence + 2]);
    assert_eq!([after_gap.timestamp, reordered.timestamp].map(|t| t.wrapping_sub(base.timestamp)), [480, 320]);
    assert_eq!([base.marker, after_gap.marker, reordered.marker], [true, false, false]);
    sender.end();
    sender.begin(talker(2, 2), at(2_060));
    let next = sender.relay(2, 9, 77, at(2_060)).unwrap();
    assert_eq!((next.sequence, next.marker), (base.sequence + 4, true));
    assert_eq!(next.timestamp.wrapping_sub(after_gap.timestamp), 16_000, "two seconds of wall time at 8 kHz");
}

#[test]
fn a_stream_begins_in_the_lower_half_of_its_sequence_numbers_and_not_always_at_the_same() {
    let mut entropy = Entropy::new(11);
    let first = |_| {
        let mut sender = Sender::new(Format::usual(Codec::Pcmu), &mut entropy);
        sender.begin(talker(1, 1), at(0));
        sender.relay(1, 9, 0, at(0)).unwrap().wire_sequence()
    };
    let firsts: Vec<u16> = (0..200).map(first).collect();
    assert!(firsts.iter().all(|first| *first < 0x8000));
    assert!(firsts.iter().any(|first| *first > 0x6000) && firsts.iter().any(|first| *first < 0x2000));
}

#[test]
fn a_packet_of_an_ended_burst_is_refused() {
    let mut sender = sender(Codec::Pcmu);
    assert_eq!(sender.relay(1, 1, 0, at(0)), Err(Discard::AfterEnd), "nothing was begun");
    sender.begin(talker(1, 1), at(0));
    sender.relay(1, 1, 0, at(0)).unwrap();
    sender.end();
    assert_eq!(sender.relay(1, 2, 160, at(20)), Err(Discard::AfterEnd));
    sender.begin(talker(2, 2), at(40));
    assert_eq!(sender.relay(1, 3, 320, at(40)), Err(Discard::AfterEnd));
    assert_eq!(sender.mix(at(40)), None);
}

#[test]
fn another_encoder_behind_a_stream_whose_decoder_goes_on_is_announced_by_silence_and_the_same_is_not() {
    let mix = |encoder| Voice::Mix { encoder };
    let voices = [talker(1, 1), talker(2, 1), talker(3, 2), mix(1), talker(4, 2), mix(1), mix(2)];
    let told = [false, false, true, true, true, true, true];
    for (codec, expected) in [(Codec::Opus, told), (Codec::G722, told), (Codec::Pcmu, [false; 7])] {
        let mut sender = sender(codec);
        for (nth, (voice, expected)) in voices.into_iter().zip(expected).enumerate() {
            // The last comes at once after the one before; all others after a pause.
            let now = at(if nth == 6 { 5_020 } else { nth as u64 * 1_000 });
            let silence = sender.begin(voice, now);
            assert_eq!(silence.is_some(), expected, "{codec:?}, voice {nth}");
            let first = match voice {
                Voice::Relay { burst, .. } => sender.relay(burst, 100, 0, now).unwrap(),
                Voice::Mix { .. } => sender.mix(now).unwrap(),
            };
            let ticks = Format::usual(codec).clock_hz / 50;
            if let Some(silence) = silence {
                assert_eq!(first.sequence, silence.sequence + 1);
                assert_eq!(first.timestamp.wrapping_sub(silence.timestamp), ticks, "20 ms of its own");
                assert!(silence.marker && !first.marker, "one marker for each burst");
            } else {
                // From one mix to the next nothing begins.
                assert_eq!(first.marker, nth != 6);
            }
        }
    }
}

#[test]
fn a_pause_left_out_by_the_hold_leaves_no_gap() {
    let mut sender = sender(Codec::Opus);
    sender.begin(talker(1, 1), at(0));
    let first = sender.relay(1, 10, 960, at(0)).unwrap();
    sender.close_gap(1);
    let next = sender.relay(1, 12, 2_880, at(20)).unwrap();
    assert_eq!((next.sequence, next.timestamp), (first.sequence + 1, first.timestamp.wrapping_add(960)));
}

#[test]
fn a_late_packet_from_before_a_closed_gap_takes_no_other_packets_number() {
    let mut sender = sender(Codec::Opus);
    sender.begin(talker(1, 1), at(0));
    sender.relay(1, 10, 0, at(0)).unwrap();
    sender.relay(1, 12, 1_920, at(40)).unwrap();
    sender.close_gap(1);
    for again in [11, 12, 13] {
        assert_eq!(sender.relay(1, again, 960, at(60)), Err(Discard::Late), "{again} would stand where 11 was lost");
    }
}

#[test]
fn a_mix_that_paused_goes_on_at_its_time_and_marks_it() {
    let mut sender = sender(Codec::Pcmu);
    sender.begin(Voice::Mix { encoder: 1 }, at(0));
    let heads: Vec<_> = [0, 20, 3_020, 3_040].into_iter().filter_map(|ms| sender.mix(at(ms))).collect();
    let since: Vec<u32> = heads.iter().map(|head| head.timestamp.wrapping_sub(heads[0].timestamp) / 8).collect();
    assert_eq!(since, [0, 20, 3_020, 3_040]);
    assert_eq!(heads.iter().map(|head| head.marker).collect::<Vec<_>>(), [true, false, true, false]);
}

#[test]
fn a_mix_runs_on_its_own_clock() {
    let mut sender = sender(Codec::Opus);
    sender.begin(Voice::Mix { encoder: 1 }, at(0));
    let heads: Vec<_> = [0, 23, 39, 60].into_iter().filter_map(|ms| sender.mix(at(ms))).collect();
    for pair in heads.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence + 1);
        assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp), 960, "late ticks do not show");
    }
}

#[test]
fn a_huge_jump_of_the_talker_is_no_huge_jump_for_the_listener() {
    let mut sender = sender(Codec::Opus);
    sender.begin(talker(1, 1), at(0));
    let first = sender.relay(1, 10, 0, at(0)).unwrap();
    let far = sender.relay(1, u64::MAX - 5, 0xdead_beef, at(20)).unwrap();
    assert_eq!(far.sequence, first.sequence + GAP_MAX);
    assert_eq!(far.timestamp.wrapping_sub(first.timestamp), GAP_MAX as u32 * 960);
}

#[test]
fn no_sequence_number_is_used_twice_and_time_never_runs_back_whatever_happens() {
    let (mut sent_in_all, mut wraps, mut restarts) = (0u64, 0u64, 0);
    for seed in 0..300 {
        let mut random = Entropy::new(seed);
        let mut sender = Sender::<u8>::new(Format::usual(Codec::Opus), &mut random);
        // Near a wrap, which no stream begins with.
        sender.next_sequence |= 0xf000;
        let first_wrap = sender.next_sequence >> 16;
        let mut used = std::collections::BTreeSet::new();
        let (mut highest, mut burst, mut sequence, mut now) = (None::<Head>, 0u8, 0u64, 0);
        for _ in 0..2_000 {
            now += random.below(40);
            let roll = random.below(1_000);
            let head = match roll {
                0..15 => {
                    burst = burst.wrapping_add(1);
                    sequence = 1_000 + random.below(1 << 33);
                    sender.begin(talker(burst, random.below(3)), at(now))
                }
                15..20 => sender.begin(Voice::Mix { encoder: 1 }, at(now)),
                20..25 => {
                    sender.end();
                    None
                }
                25..26 => {
                    let old = sender.ssrc();
                    sender.restart(&mut random);
                    assert_ne!(sender.ssrc(), old);
                    used.clear();
                    highest = None;
                    restarts += 1;
                    None
                }
                26..60 => {
                    let left_out = random.below(2) as u16;
                    sender.close_gap(left_out);
                    sequence += u64::from(left_out);
                    None
                }
                60..120 => sender.mix(at(now)),
                _ => {
                    let step = match random.below(100) {
                        0..80 => 1,
                        80..95 => 1 + random.below(5),
                        95..99 => random.below(200),
                        _ => random.below(1 << 40),
                    };
                    sequence += step;
                    // Duplicates, reordered and ancient ones, and those of the burst before.
                    let shown = if random.percent(20) { sequence.saturating_sub(random.below(300)) } else { sequence };
                    let whose = burst.wrapping_sub(u8::from(random.percent(3)));
                    let head = sender.relay(whose, shown, (shown as u32).wrapping_mul(960), at(now)).ok();
                    assert!(whose == burst || head.is_none(), "seed {seed}: a packet of an ended burst");
                    head
                }
            };
            let Some(head) = head else { continue };
            assert!(used.insert(head.sequence), "seed {seed}: {} was used twice", head.sequence);
            if let Some(before) = highest.filter(|before| before.sequence < head.sequence) {
                let step = head.timestamp.wrapping_sub(before.timestamp);
                assert!(step > 0 && step < 1 << 31, "seed {seed}: the timestamp ran back");
                assert!(head.sequence - before.sequence <= GAP_MAX, "seed {seed}: too large a gap");
            }
            highest = Some(highest.filter(|before| before.sequence > head.sequence).unwrap_or(head));
            sent_in_all += 1;
        }
        wraps += (sender.next_sequence >> 16) - first_wrap.min(sender.next_sequence >> 16);
    }
    assert!(sent_in_all > 100_000 && wraps > 5 && restarts > 100, "{sent_in_all} {wraps} {restarts}");
}
