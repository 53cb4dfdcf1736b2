//! Two shards: a patch has one home, its floor lives there, and speech crosses once to each shard that may hear it.

mod media;

use std::net::SocketAddr;

use crosspatch::domain::audio::{Codec, Level};
use crosspatch::domain::floor::{BurstEnd, Denial, FloorMode, FloorPolicy, MissCause, Priority};
use crosspatch::domain::id::{AgencyKey, NodeId, PatchId};
use crosspatch::domain::order::{LegSpec, Order, PatchSpec};
use crosspatch::domain::port::{PortRole, PortSpec, ShardId};
use crosspatch::domain::report::Report;
use crosspatch::domain::talker::Alias;
use crosspatch::media::discard::Discard;
use crosspatch::media::limits::ShardLimits;
use crosspatch::media::outbox::Outbox;
use crosspatch::wire::rtp_extension::{AudioLevel, Elements};
use crosspatch::wire::trunk::{TrunkFrame, TrunkMessage};
use media::{Bench, leg, numbered, patch, phone, policy, port_id};

fn on(shard: u8, number: u128) -> PortSpec {
    PortSpec { home: ShardId(shard), ..phone(number, Codec::Pcmu) }
}

/// Ports of several shards in one patch that lives on shard 0.
fn spread(shards: u8, ports: &[PortSpec], floor: FloorPolicy) -> Bench {
    let mut bench = Bench::with_shards(shards, &ShardLimits::small());
    bench.open(ports);
    let patch = PatchSpec { floor, ..patch(1) };
    bench.order(std::iter::once(Order::OpenPatch(patch)).chain(ports.iter().map(|port| Order::Join(leg(1, port)))));
    bench
}

#[test]
fn a_burst_is_heard_on_every_shard_whatever_shard_its_talker_or_its_patch_is_on() {
    let ports = [on(0, 1), on(1, 2), on(2, 3), on(1, 4)];
    for talker in [1, 2, 3] {
        let mut bench = spread(3, &ports, policy());
        bench.talk_for(talker, 5, numbered);
        for port in [1, 2, 3, 4].into_iter().filter(|port| *port != talker) {
            assert_eq!(bench.heads(port), [0, 1, 2, 3, 4], "talker {talker}, listener {port}");
        }
        assert!(bench.heard(talker).is_empty());
        bench.pass_ms(1_000);
        assert_eq!(bench.started().len(), 1);
        assert_eq!(bench.ended().iter().map(|(_, _, cause)| *cause).collect::<Vec<_>>(), [BurstEnd::Silence]);
        assert_eq!(bench.outcomes().len(), 3, "talker {talker}");
        assert!(bench.outcomes().iter().all(|(_, outcome)| outcome.heard_ms == 100 && outcome.missed.is_none()));
    }
}

#[test]
fn speech_crosses_once_to_a_shard_however_many_listeners_it_has() {
    let ports = [on(0, 1), on(1, 2), on(1, 3), on(1, 4)];
    let mut bench = spread(2, &ports, policy());
    bench.talk_unflushed(1, &numbered(0));
    assert_eq!(bench.out(0).trunk_frames().count(), 1);
    bench.flush();
    assert_eq!([2, 3, 4].map(|port| bench.heard(port).len()), [1, 1, 1]);
}

#[test]
fn a_shard_without_entitled_legs_gets_no_speech() {
    let ports = [on(0, 1), on(0, 2), on(1, 3)];
    let mut bench = spread(2, &ports, policy());
    bench.order([Order::Join(crosspatch::domain::order::LegSpec { hears: false, ..leg(1, &ports[2]) })]);
    bench.talk_unflushed(1, &numbered(0));
    assert_eq!(bench.out(0).trunk_frames().count(), 0);
    bench.flush();
    assert_eq!(bench.heard(2).len(), 1);
}

#[test]
fn the_floor_is_one_floor_over_all_shards() {
    let ports = [on(0, 1), on(1, 2), on(2, 3)];
    let mut bench = spread(3, &ports, FloorPolicy { holders_max: 1, ..policy() });
    for at in 0..5 {
        bench.talk(2, &numbered(at));
        bench.talk(3, &[0x11; 160]);
        bench.tick();
    }
    assert_eq!(bench.heads(1), [0, 1, 2, 3, 4]);
    let denied = |report: &Report| if let Report::Denied { cause, .. } = report { Some(*cause) } else { None };
    let denied: Vec<_> = bench.reports.iter().filter_map(denied).collect();
    assert_eq!(denied, [Denial::Busy]);
    // Denied, its packets do not even cross.
    bench.talk_unflushed(3, &[0x11; 160]);
    assert_eq!(bench.out(2).trunk_frames().count(), 0);
}

#[test]
fn a_port_that_hears_a_burst_through_two_homes_hears_it_once() {
    let ports = [on(0, 1), on(1, 2)];
    let mut bench = spread(2, &ports, policy());
    let other = PatchSpec { home: ShardId(1), ..patch(2) };
    bench.order([Order::OpenPatch(other), Order::Join(leg(2, &ports[0])), Order::Join(leg(2, &ports[1]))]);
    bench.talk_for(1, 5, numbered);
    assert_eq!(bench.heads(2), [0, 1, 2, 3, 4]);
    bench.pass_ms(1_000);
    assert_eq!((bench.started().len(), bench.ended().len(), bench.outcomes().len()), (2, 2, 1));
}

#[test]
fn a_cut_on_the_listeners_shard_takes_effect_before_the_home_has_heard_of_it() {
    let ports = [on(0, 1), on(1, 2)];
    let mut bench = spread(2, &ports, policy());
    bench.talk_for(1, 3, numbered);
    bench.talk_unflushed(1, &numbered(3));
    // The frame is in the ring; the listener's shard is cut first.
    let now = bench.now;
    let frames: Vec<Vec<u8>> = bench.out(0).trunk_frames().map(|(_, frame)| frame.to_vec()).collect();
    assert_eq!(frames.len(), 1);
    let batch = crosspatch::domain::order::OrderBatch {
        version: crosspatch::domain::order::RouteVersion(99),
        orders: vec![Order::Leave(leg(1, &ports[0]).leg)],
    };
    let mut out = Outbox::new(&ShardLimits::small());
    bench.shards[1].handle_orders(&batch, now, &mut out);
    bench.shards[1].handle_trunk(ShardId(0), &frames[0], now, &mut out);
    assert_eq!(out.packets().count(), 0);
    assert_eq!(bench.shards[1].counters().discards(Discard::UnknownRoute), 1);
}

#[test]
fn a_revoked_burst_in_the_ring_is_not_heard() {
    let ports = [on(0, 1), on(1, 2)];
    let mut bench = spread(2, &ports, policy());
    bench.talk_for(1, 3, numbered);
    let burst = bench.started()[0].0;
    bench.talk_unflushed(1, &numbered(3));
    let now = bench.now;
    let frames: Vec<Vec<u8>> = bench.out(0).trunk_frames().map(|(_, frame)| frame.to_vec()).collect();
    bench.order([Order::Revoke { patch: PatchId(1), burst: Some(burst) }]);
    let mut out = Outbox::new(&ShardLimits::small());
    bench.shards[1].handle_trunk(ShardId(0), &frames[0], now, &mut out);
    assert_eq!(out.packets().count(), 0);
    bench.talk_for(1, 3, numbered);
    assert_eq!(bench.heads(2), [0, 1, 2]);
    assert_eq!(bench.ended(), [(burst, PatchId(1), BurstEnd::Revoked)]);
}

#[test]
fn a_burst_revoked_before_this_shard_has_heard_of_it_is_not_heard_from_the_ring() {
    let ports = [on(0, 1), on(1, 2)];
    let mut bench = spread(2, &ports, policy());
    bench.talk_unflushed(1, &numbered(0));
    let now = bench.now;
    let frames = bench.flush_packets();
    let burst = bench.started()[0].0;
    let batch = crosspatch::domain::order::OrderBatch {
        version: crosspatch::domain::order::RouteVersion(99),
        orders: vec![Order::Revoke { patch: PatchId(1), burst: Some(burst) }],
    };
    let mut out = Outbox::new(&ShardLimits::small());
    bench.shards[1].handle_orders(&batch, now, &mut out);
    bench.shards[1].handle_trunk(ShardId(0), &frames[0].2, now, &mut out);
    assert_eq!(out.packets().count(), 0);
}

#[test]
fn a_talker_whose_patchs_home_does_not_answer_is_denied_as_unreachable() {
    let ports = [on(1, 1), on(0, 2)];
    let mut bench = spread(2, &ports, policy());
    // Nothing crosses to the home any more.
    for at in 0..40 {
        bench.talk_unflushed(1, &numbered(at));
        let _lost = bench.flush_packets();
        bench.tick_unflushed();
        let _lost = bench.flush_packets();
    }
    let denied = |report: &Report| matches!(report, Report::Denied { cause: Denial::Unreachable, .. });
    assert_eq!(bench.reports.iter().filter(|report| denied(report)).count(), 1);
}

#[test]
fn a_revoke_reaches_a_talker_on_another_shard_and_it_may_ask_again_after_it_unkeys() {
    let ports = [on(1, 1), on(0, 2)];
    let mut bench = spread(2, &ports, policy());
    bench.talk_for(1, 3, numbered);
    bench.order([Order::Revoke { patch: PatchId(1), burst: None }]);
    bench.talk_for(1, 10, numbered);
    assert_eq!(bench.heard(2).len(), 3);
    bench.pass_ms(400);
    bench.talk_for(1, 3, numbered);
    assert_eq!(bench.heard(2).len(), 6);
}

#[test]
fn a_revoked_talker_who_declares_an_emergency_is_heard_again_on_every_shard() {
    let ports = [on(1, 1), on(0, 2), on(1, 3), on(2, 4)];
    for also_elsewhere in [false, true] {
        let mut bench = spread(3, &ports, policy());
        if also_elsewhere {
            // Its burst goes on in a second patch, in which others listen.
            let others = [leg(2, &ports[0]), leg(2, &ports[1])].map(Order::Join);
            bench.order(std::iter::once(Order::OpenPatch(patch(2))).chain(others));
        }
        bench.talk_for(1, 3, numbered);
        bench.order([Order::Revoke { patch: PatchId(1), burst: None }]);
        bench.talk_for(1, 3, numbered);
        assert_eq!([3, 4].map(|port| bench.heard(port).len()), [3, 3], "heard after it was revoked");
        bench.order([Order::Emergency { port: port_id(1), talker: Alias::default(), open: true }]);
        bench.talk_for(1, 10, numbered);
        assert_eq!([3, 4].map(|port| bench.heard(port).len()), [13, 13], "an emergency was not heard");
    }
}

#[test]
fn who_goes_over_to_a_patch_of_another_shard_hears_no_frame_again() {
    let ports = [on(0, 1), on(0, 2)];
    let mut bench = Bench::with_shards(2, &ShardLimits::small());
    bench.open(&ports);
    let far = PatchSpec { home: ShardId(1), ..patch(2) };
    bench.order([Order::OpenPatch(patch(1)), Order::OpenPatch(far)]);
    let joined =
        |number, priority| ports.each_ref().map(|port| LegSpec { priority: Priority(priority), ..leg(number, port) });
    bench.order(joined(1, 9).into_iter().chain(joined(2, 5)).map(Order::Join));
    // The far patch grants, and brings what it was told, when the near one has lost the floor.
    let mut late = Vec::new();
    for at in 0..3 {
        bench.talk_unflushed(1, &numbered(at));
        late.extend(bench.flush_packets());
    }
    bench.order([Order::Revoke { patch: PatchId(1), burst: None }]);
    late.iter().for_each(|frame| bench.deliver(frame));
    bench.flush();
    for at in 3..6 {
        bench.talk(1, &numbered(at));
    }
    assert_eq!(bench.heads(2), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn who_is_too_soft_for_an_open_floor_is_missed_by_name_on_every_shard() {
    let open = FloorPolicy { mode: FloorMode::Open, holders_max: 1, ..policy() };
    for talkers_shard in [0, 1] {
        let ports = [on(talkers_shard, 1), on(talkers_shard, 2), on(0, 3), on(1, 4), on(2, 5)];
        let mut bench = spread(3, &ports, open);
        let level =
            |dbov| Elements { level: Some(AudioLevel { level: Level(dbov), voice: true }), ..Elements::default() };
        for at in 0..30 {
            bench.talk_with(1, &numbered(at), level(15));
            bench.talk_with(2, &numbered(at), level(40));
            bench.flush();
            bench.tick();
        }
        bench.pass_ms(1_000);
        let soft = bench.started().iter().find(|(_, _, port)| *port == port_id(2)).expect("it talked").0;
        for port in [3, 4, 5] {
            let told = bench.outcomes().into_iter().find(|(id, told)| *id == soft && told.port == port_id(port));
            let told = told.expect("it may hear all").1;
            assert!(told.heard_ms + told.missed_ms >= 560, "talkers on {talkers_shard}, listener {port}: {told:?}");
            assert!(told.missed_ms >= 400 && told.missed == Some(MissCause::OutRanked), "listener {port}: {told:?}");
        }
    }
}

#[test]
fn a_dropped_squelch_tail_is_missed_by_name_once_on_every_shard() {
    let mut ports = [on(1, 1), on(0, 2), on(1, 3), on(2, 4)];
    ports[0].receive.tail_ms = 100;
    let mut bench = spread(3, &ports, policy());
    let far = PatchSpec { home: ShardId(2), ..patch(2) };
    bench.order(std::iter::once(Order::OpenPatch(far)).chain(ports.iter().map(|port| Order::Join(leg(2, port)))));
    bench.talk_for(1, 20, numbered);
    bench.pass_ms(1_000);
    for port in [2, 3, 4] {
        let told = bench.outcome_of(port).expect("it heard");
        let expected = (300, 100, Some(MissCause::SquelchTail));
        assert_eq!((told.heard_ms, told.missed_ms, told.missed), expected, "listener {port}");
    }
}

#[test]
fn an_emergency_of_another_shard_outranks_here() {
    let ports = [on(0, 1), on(1, 2), PortSpec { home: ShardId(0), ..media::radio(3, Codec::Pcmu) }];
    let mut bench = spread(2, &ports, policy());
    bench.order([Order::Emergency { port: port_id(2), talker: Alias::default(), open: true }]);
    for _ in 0..4 {
        bench.talk(1, &[0x21; 160]);
        bench.talk(2, &[0x22; 160]);
        bench.tick();
    }
    assert_eq!(bench.heads(3).last(), Some(&0x22));
}

#[test]
fn a_lost_home_ends_bursts_here_by_itself_and_a_rebuilt_home_takes_up_the_talker_again() {
    let ports = [on(1, 1), on(0, 2), on(2, 3)];
    let mut bench = spread(3, &ports, policy());
    bench.talk_for(1, 5, numbered);
    // The home panics and is rebuilt from the table.
    bench.shards[0] = crosspatch::media::shard::Shard::new(ShardId(0), &ShardLimits::small(), 99);
    let legs: Vec<_> = ports.iter().map(|port| leg(1, port)).collect();
    bench.order([Order::Only(media::table(&ports, &[patch(1)], &legs))]);
    bench.talk_for(1, 5, |at| numbered(at + 5));
    assert_eq!(bench.heads(2), (0..10).collect::<Vec<u8>>());
    assert_eq!(bench.heads(3), (0..10).collect::<Vec<u8>>());
    bench.pass_ms(1_000);
    assert_eq!(bench.ended().len(), 1);
}

#[test]
fn an_emergency_past_its_limit_is_heard_by_its_own_console_on_another_shard() {
    let console = PortSpec { role: PortRole::Console, home: ShardId(1), ..phone(2, Codec::Pcmu) };
    let ports = [on(1, 1), console, on(0, 3), PortSpec { agency: AgencyKey(9), ..on(1, 4) }];
    let mut bench = spread(2, &ports, FloorPolicy { talk_limit_ms: 200, ..policy() });
    bench.order([Order::Emergency { port: port_id(1), talker: Alias::default(), open: true }]);
    bench.talk_for(1, 30, numbered);
    assert_eq!(bench.heard(2).len(), 30);
    assert!(bench.heard(3).len() <= 11 && bench.heard(4).len() <= 11);
    bench.pass_ms(1_000);
    assert_eq!(bench.ended().len(), 1);
}

#[test]
fn a_frame_that_did_not_come_from_the_talkers_shard_or_from_home_is_not_believed() {
    let ports = [on(0, 1), on(1, 2), on(2, 3)];
    let mut bench = spread(3, &ports, policy());
    bench.talk_unflushed(1, &numbered(0));
    let now = bench.now;
    let frames: Vec<Vec<u8>> = bench.out(0).trunk_frames().map(|(_, frame)| frame.to_vec()).collect();
    let mut out = Outbox::new(&ShardLimits::small());
    bench.shards[1].handle_trunk(ShardId(2), &frames[0], now, &mut out);
    bench.shards[0].handle_trunk(ShardId(1), &frames[0], now, &mut out);
    let circling = TrunkFrame {
        patch: PatchId(1),
        burst: crosspatch::domain::id::BurstId(5),
        node: NodeId(0),
        port: port_id(2),
        hops: 3,
        emergency: false,
        message: TrunkMessage::Request { talker: Alias::default() },
    };
    let mut bytes = [0; 2048];
    let length = circling.write(&mut bytes).unwrap();
    bench.shards[0].handle_trunk(ShardId(1), &bytes[..length], now, &mut out);
    bench.shards[0].handle_trunk(ShardId(1), &[1, 2, 3], now, &mut out);
    assert_eq!((out.packets().count(), out.trunk_frames().count()), (0, 0));
    assert_eq!(bench.shards[1].counters().discards(Discard::Looped), 1);
    assert_eq!(bench.shards[0].counters().discards(Discard::Looped), 2);
    assert_eq!(bench.shards[0].counters().discards(Discard::Malformed), 1);
}

#[test]
fn a_packet_for_a_port_of_another_life_is_counted() {
    let mut bench = spread(2, &[on(0, 1), on(1, 2)], policy());
    let slot = bench.shards[0].slot_of(port_id(1)).unwrap();
    bench.order([Order::ClosePort(port_id(1))]);
    let from: SocketAddr = media::address_of(1);
    let now = bench.now;
    let mut out = Outbox::new(&ShardLimits::small());
    bench.shards[0].handle_packet(slot, from, &[0x80; 20], now, &mut out);
    assert_eq!(bench.shards[0].counters().discards(Discard::NoPort), 1);
}

#[test]
fn a_talker_whose_shard_falls_silent_does_not_keep_a_presence_keyed_port_up() {
    let listener = PortSpec { home: ShardId(1), ..phone(2, Codec::L16) };
    let ports = [on(0, 1), listener];
    let mut bench = spread(2, &ports, policy());
    bench.talk_for(1, 20, numbered);
    bench.forget();
    // The ring takes nothing any more, the word of its end neither.
    for _ in 0..100 {
        bench.tick_unflushed();
        bench.flush_packets();
    }
    let last = bench.heard(2).len() * 20;
    assert!(last <= 600, "{last} ms of packets although nobody talked");
}

#[test]
fn a_talkers_next_burst_ends_the_one_whose_end_was_lost_with_its_shard() {
    let ports = [on(1, 1), on(0, 2)];
    let mut bench = spread(2, &ports, FloorPolicy { holders_max: 1, ..policy() });
    bench.talk_for(1, 5, numbered);
    // The talker's shard panics and is rebuilt from the table; its talker speaks on.
    bench.shards[1] = crosspatch::media::shard::Shard::new(ShardId(1), &ShardLimits::small(), 99);
    let legs: Vec<_> = ports.iter().map(|port| leg(1, port)).collect();
    let one = PatchSpec { floor: FloorPolicy { holders_max: 1, ..policy() }, ..patch(1) };
    bench.order([Order::Only(media::table(&ports, &[one], &legs))]);
    bench.pass_ms(40);
    bench.talk_for(1, 5, |at| numbered(at + 5));
    assert_eq!(bench.heads(2), (0..10).collect::<Vec<u8>>());
    assert_eq!((bench.started().len(), bench.ended().len()), (2, 1));
}
