//! Copies of one call through two gateways of a talkgroup: every word is heard, none twice, whichever copy comes late,
//! fades or ends first (law 4).

mod media;

use crosspatch::domain::audio::Codec;
use crosspatch::domain::id::GroupId;
use crosspatch::domain::order::Order;
use crosspatch::domain::port::PortSpec;
use media::{Bench, phone, port_id, radio};

/// One way from the radio to the daemon.
#[derive(Clone, Copy, Default)]
struct Copy {
    /// Ticks from mouth to daemon.
    late: usize,
    /// Words that are out of reach: before the first, from the last on.
    reach: (usize, usize),
    /// Declared squelch tail (ms), and how many packets of noise follow the last word.
    tail: (u16, usize),
    /// How many of its first packets the network loses.
    lost: usize,
}

const WORDS: usize = 50;
const WHOLE: Copy = Copy { late: 0, reach: (0, WORDS), tail: (0, 0), lost: 0 };

fn ports(copies: &[Copy]) -> Vec<PortSpec> {
    let gateways = (1..).zip(copies).map(|(number, copy)| {
        let mut port = radio(number, Codec::Pcmu);
        port.group = Some(GroupId(7));
        port.receive.tail_ms = copy.tail.0;
        port
    });
    gateways.chain([phone(9, Codec::Pcmu)]).collect()
}

/// What one copy brings in a tick.
fn said(copy: &Copy, tick: usize) -> Option<usize> {
    let at = tick.checked_sub(copy.late)?;
    let (first, end) = copy.reach;
    (at >= first + copy.lost && at < end + copy.tail.1).then_some(at)
}

/// One call; the words that the phone heard, in order.
fn call(bench: &mut Bench, copies: &[Copy]) -> Vec<u8> {
    bench.forget();
    for tick in 0..WORDS + 60 {
        for (port, copy) in (1..).zip(copies) {
            let Some(word) = said(copy, tick) else { continue };
            bench.talk(port, &[if word < copy.reach.1 { word as u8 } else { NOISE }; 160]);
        }
        bench.tick();
    }
    bench.payloads(9).iter().map(|payload| payload[0]).filter(|word| *word != NOISE).collect()
}

const NOISE: u8 = 0xd5;

fn twice(words: &[u8]) -> Vec<u8> {
    (0..WORDS as u8).filter(|word| words.iter().filter(|heard| *heard == word).count() > 1).collect()
}

#[test]
fn the_end_of_a_call_is_not_heard_again_from_a_slower_gateway() {
    for late in 0..15 {
        let copies = [WHOLE, Copy { late, ..WHOLE }];
        let mut bench = Bench::patched(&ports(&copies));
        let words = call(&mut bench, &copies);
        assert_eq!(words, (0..WORDS as u8).collect::<Vec<_>>(), "{} ms apart", late * 20);
        assert_eq!(bench.started().len(), 1, "{} ms apart: the end opened a burst of its own", late * 20);
    }
}

#[test]
fn whoever_ends_first_no_word_is_heard_twice_and_noise_opens_no_burst() {
    for late in [0, 2, 5, 8, 12] {
        for (first, second) in [((0, 0), (120, 6)), ((120, 6), (0, 0)), ((60, 3), (120, 6))] {
            for slow_is_first in [false, true] {
                let fast = Copy { tail: first, ..WHOLE };
                let slow = Copy { late, tail: second, ..WHOLE };
                let copies = if slow_is_first { [slow, fast] } else { [fast, slow] };
                let mut bench = Bench::patched(&ports(&copies));
                let words = call(&mut bench, &copies);
                assert_eq!(twice(&words), [0; 0], "{} ms, tails {first:?} {second:?}", late * 20);
                assert_eq!(words.len(), WORDS, "{} ms, tails {first:?} {second:?}: {words:?}", late * 20);
                assert_eq!(bench.started().len(), 1, "{} ms, tails {first:?} {second:?}", late * 20);
            }
        }
    }
}

#[test]
fn a_talker_who_leaves_the_reach_of_one_gateway_is_heard_on_through_the_other() {
    for late in 0..13 {
        let copies = [Copy { reach: (0, 25), ..WHOLE }, Copy { late, ..WHOLE }];
        let mut bench = Bench::patched(&ports(&copies));
        let words = call(&mut bench, &copies);
        assert_eq!(twice(&words), [0; 0], "{} ms apart", late * 20);
        assert!(words.len() >= WORDS - 2, "{} ms apart: {words:?}", late * 20);
        assert_eq!(words.last(), Some(&(WORDS as u8 - 1)));
    }
}

#[test]
fn a_faster_copy_has_kept_what_the_slower_one_did_not_come_to_say() {
    for late in 1..7 {
        // The fast one waits whether its key is long enough, so the slow one is heard first.
        let slow = Copy { late, reach: (0, 25), ..WHOLE };
        let mut ports = ports(&[slow, WHOLE]);
        ports[1].receive.burst_min_ms = 150;
        let mut bench = Bench::patched(&ports);
        let words = call(&mut bench, &[slow, WHOLE]);
        assert_eq!(twice(&words), [0; 0], "{} ms apart", late * 20);
        assert!(words.len() >= WORDS - 2, "{} ms apart: {words:?}", late * 20);
    }
}

#[test]
fn first_packets_that_were_lost_make_nothing_heard_twice() {
    for late in 0..10 {
        for lost in [(0, 1), (1, 0), (0, 2), (2, 0), (2, 1)] {
            let copies = [Copy { lost: lost.0, ..WHOLE }, Copy { late, lost: lost.1, ..WHOLE }];
            let mut bench = Bench::patched(&ports(&copies));
            let words = call(&mut bench, &copies);
            assert_eq!(twice(&words), [0; 0], "{} ms apart, lost {lost:?}", late * 20);
        }
    }
}

#[test]
fn a_receiver_that_a_talker_comes_into_reach_of_in_mid_call_repeats_no_end() {
    for (late, from) in [(0, 20), (1, 20), (4, 20), (2, 40)] {
        let copies = [WHOLE, Copy { late, reach: (from, WORDS), ..WHOLE }];
        let mut bench = Bench::patched(&ports(&copies));
        assert_eq!(twice(&call(&mut bench, &copies)), [0; 0], "{} ms late", late * 20);
        assert_eq!(bench.started().len(), 1);
    }
}

#[test]
fn a_call_so_short_that_its_slow_copy_comes_after_its_end_is_heard_once() {
    let brief = Copy { reach: (0, 5), ..WHOLE };
    let copies = [brief, Copy { late: 14, ..brief }];
    let mut ports = ports(&copies);
    ports[0].receive.end_ms = 100;
    let mut bench = Bench::patched(&ports);
    assert_eq!(call(&mut bench, &copies), [0, 1, 2, 3, 4]);
    assert_eq!(bench.started().len(), 1);
}

#[test]
fn the_next_call_is_heard_from_its_first_word_while_a_slow_copy_of_the_last_one_still_ends() {
    let first = Copy { reach: (0, 30), ..WHOLE };
    let copies = [first, Copy { late: 12, ..first }];
    let mut ports = ports(&copies);
    ports[0].receive.end_ms = 60;
    let mut bench = Bench::patched(&ports);
    for tick in 0..80 {
        for (port, copy) in (1..).zip(&copies) {
            if let Some(word) = said(copy, tick) {
                bench.talk(port, &[word as u8; 160]);
            }
        }
        // The answer comes at once, through the fast gateway, and is slow through the other one.
        for (port, late) in [(1, 0), (2, 12)] {
            if let Some(word) = tick.checked_sub(34 + late).filter(|word| *word < 20) {
                bench.talk(port, &[100 + word as u8; 160]);
            }
        }
        bench.tick();
    }
    bench.pass_ms(400);
    let words: Vec<u8> = bench.payloads(9).iter().map(|payload| payload[0]).collect();
    assert_eq!(words, (0..30).chain(100..120).collect::<Vec<u8>>());
}

#[test]
fn a_gateway_that_is_taken_away_in_mid_call_leaves_the_call_to_the_other() {
    let copies = [WHOLE, WHOLE];
    let mut bench = Bench::patched(&ports(&copies));
    for word in 0..40 {
        if word == 20 {
            bench.order([Order::ClosePort(port_id(1))]);
        }
        for port in if word < 20 { 1..3 } else { 2..3 } {
            bench.talk(port, &[word; 160]);
        }
        bench.tick();
    }
    let words: Vec<u8> = bench.payloads(9).iter().map(|payload| payload[0]).collect();
    assert_eq!(twice(&words), [0; 0]);
    assert!(words.len() >= 38, "{words:?}");
}
