//! Whether a port's peer lives, by its kind's own sign: told when it changes, and only where one can know.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at the reports it is about")]

mod media;

use crosspatch::domain::audio::Codec;
use crosspatch::domain::order::Order;
use crosspatch::domain::port::PortSpec;
use crosspatch::domain::report::Report;
use media::{Bench, numbered, phone};

fn with_silence(number: u128, silence_max_ms: Option<u32>) -> PortSpec {
    PortSpec { silence_max_ms, ..phone(number, Codec::Pcmu) }
}

/// What was said of a port's life since the last question, in order.
fn lives(bench: &mut Bench, number: u128) -> Vec<bool> {
    let of = |report: &Report| match report {
        Report::Alive { port, alive, .. } if port.0 == number => Some(*alive),
        _ => None,
    };
    let lives = bench.reports.iter().filter_map(of).collect();
    bench.reports.retain(|report| of(report).is_none());
    lives
}

#[test]
fn a_port_that_need_show_no_life_is_never_called_lost_for_being_idle() {
    let mut bench = Bench::patched(&[with_silence(1, None), with_silence(2, None)]);
    bench.talk_for(1, 10, numbered);
    bench.pass_ms(120_000);
    assert_eq!(lives(&mut bench, 1), [true; 0], "it talked and is idle");
    assert_eq!(lives(&mut bench, 2), [true; 0], "it never talked");
}

#[test]
fn a_port_that_shows_life_is_lost_after_its_own_silence_and_back_with_the_next_sign() {
    let mut bench = Bench::patched(&[with_silence(1, Some(7_000)), with_silence(2, Some(60_000))]);
    bench.talk_for(1, 10, numbered);
    bench.talk_for(2, 10, numbered);
    assert_eq!((lives(&mut bench, 1), lives(&mut bench, 2)), (vec![true], vec![true]));
    bench.pass_ms(6_500);
    assert_eq!(lives(&mut bench, 1), [true; 0]);
    bench.pass_ms(1_000);
    assert_eq!((lives(&mut bench, 1), lives(&mut bench, 2)), (vec![false], vec![]));
    bench.talk_for(1, 1, numbered);
    assert_eq!(lives(&mut bench, 1), [true]);
}

#[test]
fn a_port_that_should_show_life_and_never_did_is_lost() {
    let mut bench = Bench::patched(&[with_silence(1, Some(7_000))]);
    bench.pass_ms(8_000);
    assert_eq!(lives(&mut bench, 1), [false]);
}

#[test]
fn a_lost_port_that_need_show_life_no_longer_is_not_lost_any_more() {
    let mut bench = Bench::patched(&[with_silence(1, Some(7_000))]);
    bench.pass_ms(8_000);
    lives(&mut bench, 1);
    bench.order([Order::OpenPort(with_silence(1, None))]);
    bench.pass_ms(1_000);
    assert_eq!(lives(&mut bench, 1), [true]);
}
