//! Limits: what does not fit is refused, counted and told; what fits goes on.

mod media;

use crosspatch::domain::audio::Codec;
use crosspatch::domain::floor::{Denial, MissCause};
use crosspatch::domain::order::Order;
use crosspatch::domain::port::{GrantSign, PortSpec};
use crosspatch::domain::report::{MediaLimit, Report};
use crosspatch::media::limits::ShardLimits;
use media::{Bench, leg, numbered, patch, phone, port_id, radio};

fn bench(limits: &ShardLimits, ports: &[PortSpec]) -> Bench {
    let mut bench = Bench::with_shards(1, limits);
    for port in ports {
        bench.open(std::slice::from_ref(port));
    }
    bench.order(std::iter::once(Order::OpenPatch(patch(1))).chain(ports.iter().map(|port| Order::Join(leg(1, port)))));
    bench
}

fn is_told(bench: &Bench, limit: MediaLimit) -> bool {
    bench.reports.iter().any(|report| matches!(report, Report::LimitHit { limit: hit, .. } if *hit == limit))
}

#[test]
fn a_talker_beyond_the_last_burst_is_denied_and_the_others_go_on() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = bench(&ShardLimits { bursts: 1, ..ShardLimits::small() }, &ports);
    for at in 0..3 {
        bench.talk(1, &numbered(at));
        bench.talk(2, &[0x11; 160]);
        bench.tick();
    }
    assert_eq!(bench.heads(3), [0, 1, 2]);
    assert!(is_told(&bench, MediaLimit::Bursts));
    let denied = |report: &Report| matches!(report, Report::Denied { cause: Denial::Full, .. });
    assert_eq!(bench.reports.iter().filter(|report| denied(report)).count(), 1, "once per key");
}

#[test]
fn a_port_beyond_the_last_place_is_not_opened_and_told() {
    let limits = ShardLimits { ports: 1, ..ShardLimits::small() };
    let bench = bench(&limits, &[phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)]);
    assert_eq!(bench.shards[0].slot_of(port_id(2)), None);
    assert!(is_told(&bench, MediaLimit::Ports));
}

#[test]
fn groups_and_delay_lines_have_limits_of_their_own_names() {
    let mut short = radio(1, Codec::Pcmu);
    short.receive.burst_min_ms = 100;
    let limits = ShardLimits { groups: 0, delays: 0, ..ShardLimits::small() };
    let mut bench = bench(&limits, &[short]);
    bench.talk(1, &numbered(0));
    assert!(is_told(&bench, MediaLimit::Groups) && is_told(&bench, MediaLimit::Delays));
    assert!(!is_told(&bench, MediaLimit::Ports) && !is_told(&bench, MediaLimit::Holds));
}

#[test]
fn one_delay_line_serves_all_radios_that_are_heard_one_after_another() {
    let mut ports = [radio(1, Codec::Pcmu), radio(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    ports.iter_mut().take(2).for_each(|port| port.receive.burst_min_ms = 100);
    let mut bench = bench(&ShardLimits { delays: 1, ..ShardLimits::small() }, &ports);
    for talker in [1, 2, 1] {
        bench.forget();
        bench.talk_for(talker, 20, numbered);
        bench.pass_ms(1000);
        assert_eq!(bench.heads(3), (0..20).collect::<Vec<u8>>(), "radio {talker}");
        // A key too short gives it back as well.
        bench.talk_for(talker, 2, numbered);
        bench.pass_ms(1000);
    }
    assert!(!is_told(&bench, MediaLimit::Delays));
}

#[test]
fn a_transmitter_without_a_hold_misses_by_name() {
    let waiting = |number| {
        let mut port = radio(number, Codec::Pcmu);
        port.transmit.grant = GrantSign::AfterMs(200);
        port
    };
    let ports = [phone(1, Codec::Pcmu), waiting(2), waiting(3)];
    let mut bench = bench(&ShardLimits { holds: 1, ..ShardLimits::small() }, &ports);
    bench.talk_for(1, 20, numbered);
    bench.pass_ms(1_000);
    assert_eq!(bench.heard(2).len(), 20);
    assert!(bench.heard(3).is_empty() && is_told(&bench, MediaLimit::Holds));
    let missed = bench.outcome_of(3).map(|outcome| (outcome.missed_ms, outcome.missed));
    assert_eq!(missed, Some((400, Some(MissCause::Full))));
}

#[test]
fn a_full_outbox_costs_its_packets_and_says_whose() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu), phone(4, Codec::Pcmu)];
    let mut bench = bench(&ShardLimits { outbox_packets: 2, ..ShardLimits::small() }, &ports);
    bench.talk_for(1, 5, numbered);
    bench.pass_ms(500);
    let heard: usize = [2, 3, 4].iter().map(|port| bench.heard(*port).len()).sum();
    assert_eq!(heard, 10);
    assert_eq!(bench.counters().limits(MediaLimit::Outbox), 5);
    assert_eq!(bench.outcomes().iter().map(|(_, outcome)| outcome.missed_ms).sum::<u32>(), 100);
}
