//! Whether a port's peer lives, by its kind's own sign: told when it changes, and only where one can know.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at the reports it is about")]

mod media;

use crosspatch::domain::audio::Codec;
use crosspatch::domain::order::{Order, OrderBatch, RouteVersion};
use crosspatch::domain::port::PortSpec;
use crosspatch::domain::report::Report;
use crosspatch::media::limits::ShardLimits;
use crosspatch::media::outbox::{Outbox, PacketKind};
use crosspatch::wire::rtcp::RtcpSummary;
use media::{Bench, numbered, phone, port_id};

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

#[test]
fn a_port_that_closes_says_goodbye_if_it_was_ever_sent_anything() {
    let mut bench = Bench::patched(&[with_silence(1, None), with_silence(2, None)]);
    bench.talk_for(1, 10, numbered);
    let ssrc = bench.heard(2)[0].header.ssrc;
    let closing = [1, 2].map(|port| Order::ClosePort(port_id(port))).to_vec();
    let batch = OrderBatch { version: RouteVersion(99), orders: closing };
    let now = bench.now;
    let mut out = Outbox::new(&ShardLimits::small());
    bench.shards[0].handle_orders(&batch, now, &mut out);
    let goodbyes: Vec<_> = out
        .packets()
        .filter(|packet| packet.kind == PacketKind::Rtcp)
        .map(|packet| (packet.to, RtcpSummary::parse(packet.bytes, 0).expect("we send RTCP").leaving))
        .collect();
    assert_eq!(goodbyes, [(media::address_of(2), Some(ssrc))], "the first was never sent anything");
}
