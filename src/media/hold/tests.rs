use super::*;
use crate::domain::random::Entropy;

fn at(ms: u64) -> MonoTime {
    MonoTime::from_millis(ms)
}

fn frame(burst: u8, sequence: u64, speech: bool, ms: u64) -> HeldFrame<u8> {
    HeldFrame { burst, sequence, timestamp: sequence as u32 * 960, speech, arrived_at: at(ms) }
}

fn push(hold: &mut Hold<u8>, sequence: u64, speech: bool, ms: u64) -> Result<(), NotHeld> {
    hold.push(frame(1, sequence, speech, ms), &[sequence as u8], 2_500, at(ms))
}

fn play(hold: &mut Hold<u8>, ms: u64) -> Option<(u64, u16)> {
    hold.pop(Pacing::Paced, at(ms)).map(|played| {
        assert_eq!(played.payload, [played.frame.sequence as u8], "another frame's bytes");
        (played.frame.sequence, played.left_out)
    })
}

#[test]
fn nothing_is_played_before_the_grant_and_then_one_frame_each_packet_time() {
    let mut hold = Hold::new(150, 8);
    for n in 0..10 {
        push(&mut hold, n, true, n * 20).unwrap();
        assert_eq!(play(&mut hold, n * 20), None);
    }
    hold.open(at(200));
    let played: Vec<_> = (200..500).step_by(5).filter_map(|ms| play(&mut hold, ms).map(|(n, _)| (n, ms))).collect();
    assert_eq!(played, (0..10).map(|n| (n, 200 + n * 20)).collect::<Vec<_>>());
}

#[test]
fn immediate_pacing_gives_all_there_is() {
    let mut hold = Hold::new(150, 8);
    (0..5).for_each(|n| push(&mut hold, n, true, n * 20).unwrap());
    hold.open(at(100));
    let all = std::iter::from_fn(|| hold.pop(Pacing::Immediate, at(100)).map(|played| played.frame.sequence));
    assert_eq!(all.collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn speech_that_waited_too_long_is_missed_and_what_follows_waits_anew() {
    let mut hold = Hold::new(150, 8);
    (0..3).for_each(|n| push(&mut hold, n, true, n * 20).unwrap());
    assert!(!hold.is_overdue(at(2_499)) && hold.is_overdue(at(2_500)));
    let mut missed = Vec::new();
    assert_eq!(hold.give_up(|frame| missed.push(frame.sequence)), 3);
    assert_eq!((missed, hold.counts().missed), (vec![0, 1, 2], 3));
    push(&mut hold, 3, true, 2_520).unwrap();
    assert!(!hold.is_overdue(at(5_019)) && hold.is_overdue(at(5_020)));
}

#[test]
fn frames_are_played_in_the_order_of_their_burst_and_each_once() {
    let mut hold = Hold::new(150, 8);
    for n in [5, 7, 6, 9, 8] {
        push(&mut hold, n, true, 0).unwrap();
    }
    assert_eq!(push(&mut hold, 7, true, 0), Err(NotHeld::Late), "a duplicate");
    hold.open(at(0));
    let played: Vec<_> = (0..6).filter_map(|n| play(&mut hold, n * 20)).map(|(n, _)| n).collect();
    assert_eq!(played, [5, 6, 7, 8, 9]);
    assert_eq!(push(&mut hold, 6, true, 200), Err(NotHeld::Late), "played already");
}

#[test]
fn a_cut_takes_one_burst_and_leaves_the_others_whole() {
    let mut hold = Hold::new(150, 8);
    for n in 0..6 {
        hold.push(frame((n % 2) as u8, n, true, 0), &[n as u8], 2_500, at(0)).unwrap();
    }
    let mut cut = Vec::new();
    hold.purge(|burst| burst == 1, |frame| cut.push(frame.sequence));
    hold.open(at(0));
    let left: Vec<_> = (0..9).filter_map(|n| play(&mut hold, n * 20)).map(|(n, _)| n).collect();
    assert_eq!((cut, left), (vec![1, 3, 5], vec![0, 2, 4]));
    assert!(hold.close());
}

#[test]
fn speech_is_never_left_out_and_no_pause_vanishes_whatever_happens() {
    let (mut left_out_in_all, mut full) = (0, 0);
    for seed in 0..300 {
        let mut random = Entropy::new(seed);
        let mut hold: Hold<u8> = Hold::new(60, 8);
        let (mut arrived, mut now, mut next, mut speech) = (Vec::new(), 0, 0, true);
        let (mut played, mut missed, mut lost_gaps) = (Vec::new(), Vec::new(), 0u64);
        let open_at = random.below(1_500);
        for _ in 0..400 {
            now += 20;
            if random.percent(7) {
                speech = !speech;
            }
            match push(&mut hold, next, speech, now) {
                Ok(()) => arrived.push((next, speech)),
                Err(NotHeld::Full) => full += 1,
                Err(other) => panic!("seed {seed}: {other:?}"),
            }
            next += 1;
            if now > open_at {
                hold.open(at(now));
            }
            if random.percent(1) {
                hold.purge(|_| true, |frame| missed.push(frame.sequence));
            }
            if let Some((sequence, left_out)) = play(&mut hold, now) {
                played.push(sequence);
                lost_gaps += u64::from(left_out);
            }
        }
        while let Some((sequence, left_out)) = {
            now += 20;
            play(&mut hold, now)
        } {
            played.push(sequence);
            lost_gaps += u64::from(left_out);
        }
        assert!(played.is_sorted_by(|a, b| a < b), "seed {seed}: out of order or twice");
        let counts = hold.counts();
        assert_eq!(counts.held, counts.played + counts.left_out + counts.missed, "seed {seed}: a frame without a fate");
        assert_eq!(counts.left_out, lost_gaps, "seed {seed}");
        check_pauses(&arrived, &played, &missed, seed);
        left_out_in_all += counts.left_out;
    }
    assert!(left_out_in_all > 1_000 && full > 100, "the hard cases happened: {left_out_in_all} {full}");
}

/// Each run of frames without speech keeps its first five frames and never loses two in a row.
fn check_pauses(arrived: &[(u64, bool)], played: &[u64], missed: &[u64], seed: u64) {
    let (mut kept, mut gone_before) = (0, false);
    for (sequence, speech) in arrived {
        if missed.contains(sequence) {
            (kept, gone_before) = (0, false);
            continue;
        }
        let heard = played.contains(sequence);
        assert!(heard || !speech, "seed {seed}: speech {sequence} was left out");
        assert!(heard || (kept >= PAUSE_KEPT_FRAMES && !gone_before) || *speech, "seed {seed}: {sequence} swallowed");
        gone_before = !heard;
        kept = if *speech { 0 } else { kept + u16::from(heard) };
    }
}
