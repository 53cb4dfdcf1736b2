//! Cuts: after the orders of a batch nothing of what they forbid leaves, wherever it waited.

mod media;

use crosspatch::domain::audio::{Codec, Gain};
use crosspatch::domain::floor::{BurstEnd, MissCause};
use crosspatch::domain::id::PatchId;
use crosspatch::domain::order::{LegSpec, Order};
use crosspatch::domain::port::{GrantSign, PortSpec, TransmitSpec};
use crosspatch::domain::report::Report;
use crosspatch::media::discard::Discard;
use media::{Arrived, Bench, leg, numbered, patch, phone, port_id, radio, table};

#[test]
fn a_packet_in_the_outbox_is_taken_back_by_each_way_of_cutting() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
    let (talker, ear) = (leg(1, &ports[0]), leg(1, &ports[1]));
    let cuts: [(&str, Vec<Order>); 9] = [
        ("the talker leaves", vec![Order::Leave(talker.leg)]),
        ("the listener leaves", vec![Order::Leave(ear.leg)]),
        ("the patch closes", vec![Order::ClosePatch(PatchId(1))]),
        ("the talker's port closes", vec![Order::ClosePort(port_id(1))]),
        ("the listener's port closes", vec![Order::ClosePort(port_id(2))]),
        ("the talker may only listen", vec![Order::Join(LegSpec { talks: false, ..talker })]),
        ("the listener may only talk", vec![Order::Join(LegSpec { hears: false, ..ear })]),
        ("the audience narrows", vec![Order::Join(LegSpec { audience: 1 << talker.party, ..talker })]),
        ("the floor is revoked", vec![Order::Revoke { patch: PatchId(1), burst: None }]),
    ];
    for (what, orders) in cuts {
        let mut bench = Bench::patched(&ports);
        bench.talk_for(1, 3, numbered);
        bench.talk_unflushed(1, &numbered(3));
        bench.order(orders.clone());
        assert_eq!(bench.heard(2).len(), 3, "{what}: a packet left after the cut");
        assert_eq!(bench.counters().discards(Discard::Purged), 1, "{what}");
        if bench.shards[0].slot_of(port_id(1)).is_some() {
            bench.talk(1, &numbered(4));
        }
        bench.pass_ms(100);
        assert_eq!(bench.heard(2).len(), 3, "{what}: a later packet left");
        bench.pass_ms(500);
        assert_eq!(
            bench.ended().len(),
            if what.starts_with("the listener") { bench.ended().len() } else { 1 },
            "{what}"
        );
        assert_eq!(bench.outcomes().len(), 1, "{what}");
        // The same orders again change nothing.
        let before = bench.reports.len();
        bench.order(orders);
        assert_eq!(bench.reports.len(), before, "{what}: not idempotent");
    }
}

#[test]
fn a_talker_who_was_revoked_and_is_granted_elsewhere_is_not_heard_saying_it_again() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
    for said in 1..5 {
        let mut bench = Bench::patched(&ports);
        bench.order([Order::OpenPatch(patch(2)), Order::Join(leg(2, &ports[1]))]);
        bench.talk_for(1, said, numbered);
        // The first patch is all it has: with the cut its outcome is told, while it goes on.
        bench.order([Order::Revoke { patch: PatchId(1), burst: None }]);
        assert_eq!(bench.outcomes().len(), 1);
        // Louder there, so that it is mixed: what was relayed before still lies in the jitter buffer.
        bench.order([Order::Join(leg(2, &ports[0])), Order::Join(LegSpec { gain: Gain(300), ..leg(2, &ports[1]) })]);
        let before = bench.heard(2).len();
        assert_eq!(before, said);
        bench.talk_for(1, 20, |at| vec![0xf0 + at as u8 % 8; 160]);
        // A filter's few samples are no speech.
        let again = |packet: &Arrived| packet.payload.iter().filter(|byte| !**byte & 0x7f > 0x40).count() > 16;
        assert!(bench.heard(2).len() > before + 10, "not heard in the second patch");
        assert!(!bench.heard(2)[before..].iter().any(again), "{said} packets were relayed, and some said again");
    }
}

#[test]
fn speech_in_a_hold_is_cut_and_counted() {
    let held = PortSpec {
        transmit: TransmitSpec { grant: GrantSign::AfterMs(400), ..radio(2, Codec::Pcmu).transmit },
        ..radio(2, Codec::Pcmu)
    };
    let ports = [phone(1, Codec::Pcmu), held];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 10, numbered);
    assert!(bench.heard(2).is_empty(), "the grant was not waited for");
    bench.order([Order::Leave(leg(1, &ports[1]).leg)]);
    bench.talk_for(1, 20, numbered);
    bench.pass_ms(1_000);
    assert!(bench.heard(2).is_empty(), "held speech outlived the cut");
    let outcome = bench.outcome_of(2).unwrap();
    assert_eq!((outcome.heard_ms, outcome.missed_ms, outcome.missed), (0, 200, Some(MissCause::Cut)));
}

#[test]
fn a_mix_in_the_outbox_is_taken_back_if_one_of_its_voices_is_cut() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    for at in 0..10 {
        bench.talk(1, &numbered(at));
        bench.talk(2, &numbered(at));
        bench.tick();
    }
    assert!(bench.counters().mixed > 0);
    let before = bench.heard(3).len();
    bench.talk_unflushed(1, &numbered(11));
    bench.talk_unflushed(2, &numbered(11));
    bench.now = bench.now.plus_ms(20);
    let now = bench.now;
    let mut out = std::mem::replace(
        bench.out(0),
        crosspatch::media::outbox::Outbox::new(&crosspatch::media::limits::ShardLimits::small()),
    );
    bench.shards[0].tick(now, &mut out);
    *bench.out(0) = out;
    bench.order([Order::Leave(leg(1, &ports[0]).leg)]);
    assert_eq!(bench.heard(3).len(), before, "a mix with the cut voice left");
}

#[test]
fn a_revoked_talker_is_still_heard_in_its_own_home_patch_and_by_nobody_else_until_it_unkeys() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = Bench::new();
    bench.open(&ports);
    bench.order([
        Order::OpenPatch(patch(1)),
        Order::OpenPatch(patch(2)),
        Order::Join(leg(1, &ports[0])),
        Order::Join(leg(1, &ports[1])),
        Order::Join(leg(2, &ports[0])),
        Order::Join(leg(2, &ports[2])),
    ]);
    bench.talk_for(1, 3, numbered);
    let burst = bench.started()[0].0;
    bench.order([Order::Revoke { patch: PatchId(2), burst: Some(burst) }]);
    bench.talk_for(1, 5, numbered);
    assert_eq!((bench.heard(2).len(), bench.heard(3).len()), (8, 3));
    assert!(bench.ended().contains(&(burst, PatchId(2), BurstEnd::Revoked)));
    bench.pass_ms(400);
    bench.talk_for(1, 2, numbered);
    assert_eq!((bench.heard(2).len(), bench.heard(3).len()), (10, 5), "unkeyed, it may ask again");
}

#[test]
fn closing_a_port_ends_its_burst_once_in_every_patch() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = Bench::new();
    bench.open(&ports);
    bench.order([Order::OpenPatch(patch(1)), Order::OpenPatch(patch(2))]);
    bench.order([1, 2].into_iter().flat_map(|patch| ports.iter().map(move |port| Order::Join(leg(patch, port)))));
    bench.talk_for(1, 3, numbered);
    bench.order([Order::ClosePort(port_id(1))]);
    bench.pass_ms(500);
    let mut ended = bench.ended();
    ended.sort_by_key(|(_, patch, _)| *patch);
    assert_eq!(
        ended.iter().map(|(_, patch, cause)| (patch.0, *cause)).collect::<Vec<_>>(),
        [(1, BurstEnd::PortClosed), (2, BurstEnd::PortClosed)]
    );
    assert_eq!(bench.outcomes().len(), 2);
}

#[test]
fn only_closes_what_it_omits_and_keeps_what_it_names() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 3, numbered);
    let legs = [leg(1, &ports[0]), leg(1, &ports[1])];
    let only = Order::Only(table(&ports[..2], &[patch(1)], &legs));
    bench.talk_unflushed(1, &numbered(3));
    bench.order([only.clone()]);
    assert_eq!(bench.shards[0].slot_of(port_id(3)), None);
    assert_eq!((bench.heard(2).len(), bench.heard(3).len()), (4, 3));
    bench.talk_for(1, 2, numbered);
    assert_eq!(bench.heard(2).len(), 6, "a burst that the table keeps was ended");
    assert_eq!(bench.started().len(), 1);
    let before = bench.reports.len();
    bench.order([only]);
    assert_eq!(bench.reports.len(), before);
    bench.order([Order::Only(table(&[], &[], &[]))]);
    assert_eq!(bench.ended().len(), 1);
    assert_eq!(bench.shards[0].slot_of(port_id(1)), None);
    assert_eq!(bench.outcomes().len(), 2);
}

#[test]
fn a_rebuilt_shard_that_is_fed_the_table_is_heard_again_at_once() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
    let mut bench = Bench::new();
    let legs = [leg(1, &ports[0]), leg(1, &ports[1])];
    bench.open(&ports);
    bench.order([Order::Only(table(&ports, &[patch(1)], &legs))]);
    bench.talk(1, &numbered(0));
    assert_eq!(bench.heard(2).len(), 1);
    assert!(!bench.reports.iter().any(|report| matches!(report, Report::LimitHit { .. })));
}
