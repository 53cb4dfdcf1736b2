//! Hearing belongs to the port: a burst is heard once, by whom the routes allow, through whichever patch.

mod media;

use crosspatch::domain::audio::{Codec, Level};
use crosspatch::domain::floor::{FloorMode, FloorPolicy, MissCause, Priority};
use crosspatch::domain::id::{AgencyKey, GroupId, PatchId};
use crosspatch::domain::order::{LegSpec, Order, PatchSpec};
use crosspatch::domain::port::{PortRole, PortSpec};
use crosspatch::domain::report::Report;
use crosspatch::domain::talker::Alias;
use crosspatch::media::discard::Discard;
use crosspatch::wire::rtp_extension::{AudioLevel, Elements};
use media::{Bench, leg, numbered, patch, phone, port_id, radio};

fn two_patches(ports: &[PortSpec]) -> Bench {
    let mut bench = Bench::new();
    bench.open(ports);
    bench.order([Order::OpenPatch(patch(1)), Order::OpenPatch(patch(2))]);
    bench
}

#[test]
fn a_port_that_shares_two_patches_with_the_talker_hears_each_packet_once() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
    let mut bench = two_patches(&ports);
    bench.order([1, 2].into_iter().flat_map(|patch| ports.iter().map(move |port| Order::Join(leg(patch, port)))));
    bench.talk_for(1, 3, numbered);
    assert_eq!(bench.heard(2).len(), 3);
    assert_eq!(bench.started().len(), 2, "one burst holds the floor of both patches");
    assert_eq!(bench.started()[0].0, bench.started()[1].0);
    bench.pass_ms(500);
    assert_eq!(bench.outcomes().len(), 1);
}

#[test]
fn a_cut_of_one_of_two_common_patches_is_not_heard() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
    let mut bench = two_patches(&ports);
    bench.order([1, 2].into_iter().flat_map(|patch| ports.iter().map(move |port| Order::Join(leg(patch, port)))));
    bench.talk_for(1, 2, numbered);
    bench.order([Order::Leave(leg(1, &ports[1]).leg)]);
    bench.talk_for(1, 2, numbered);
    assert_eq!(bench.heard(2).len(), 4, "the other patch carries on");
    bench.order([Order::Leave(leg(2, &ports[1]).leg)]);
    bench.talk_for(1, 2, numbered);
    assert_eq!(bench.heard(2).len(), 4);
}

#[test]
fn what_a_port_hears_is_never_sent_on() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = two_patches(&ports);
    bench.order([
        Order::Join(leg(1, &ports[0])),
        Order::Join(leg(1, &ports[1])),
        Order::Join(leg(2, &ports[1])),
        Order::Join(leg(2, &ports[2])),
    ]);
    bench.talk_for(1, 3, numbered);
    assert_eq!((bench.heard(2).len(), bench.heard(3).len()), (3, 0));
}

#[test]
fn radios_of_one_group_never_get_each_others_bursts() {
    let mut ports = [radio(1, Codec::Pcmu), radio(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    for port in &mut ports {
        port.group = Some(GroupId(7));
    }
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 3, numbered);
    bench.pass_ms(100);
    assert_eq!((bench.heard(2).len(), bench.heard(3).len()), (0, 3));
}

#[test]
fn who_is_outside_the_audience_neither_hears_nor_is_heard() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = Bench::new();
    bench.open(&ports);
    let police = LegSpec { audience: 0b0110, ..leg(1, &ports[0]) };
    bench.order([
        Order::OpenPatch(patch(1)),
        Order::Join(police),
        Order::Join(leg(1, &ports[1])),
        Order::Join(leg(1, &ports[2])),
    ]);
    bench.talk_for(1, 2, numbered);
    bench.pass_ms(400);
    bench.talk_for(3, 2, numbered);
    assert_eq!((bench.heard(1).len(), bench.heard(2).len(), bench.heard(3).len()), (0, 4, 0));
    // Its owner says yes.
    bench.pass_ms(400);
    bench.order([Order::Join(LegSpec { audience: 0b1110, ..police })]);
    bench.talk_for(3, 2, numbered);
    assert_eq!(bench.heard(1).len(), 2);
}

#[test]
fn a_listen_only_leg_hears_and_asks_for_no_floor() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
    let mut bench = Bench::new();
    bench.open(&ports);
    bench.order([
        Order::OpenPatch(patch(1)),
        Order::Join(leg(1, &ports[0])),
        Order::Join(LegSpec { talks: false, ..leg(1, &ports[1]) }),
    ]);
    bench.talk_for(2, 2, numbered);
    assert!(bench.heard(1).is_empty());
    assert!(bench.reports.iter().any(|report| matches!(report, Report::Denied { .. })));
    bench.talk_for(1, 2, numbered);
    assert_eq!(bench.heard(2).len(), 2);
}

#[test]
fn a_radio_hears_the_highest_rank_and_the_other_is_missed_by_name() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), radio(3, Codec::Pcmu)];
    let mut bench = Bench::new();
    bench.open(&ports);
    bench.order([
        Order::OpenPatch(patch(1)),
        Order::Join(leg(1, &ports[0])),
        Order::Join(LegSpec { priority: Priority(9), ..leg(1, &ports[1]) }),
        Order::Join(leg(1, &ports[2])),
    ]);
    bench.talk_for(1, 2, |_| vec![0x41; 160]);
    for _ in 0..5 {
        bench.talk(1, &[0x41; 160]);
        bench.talk(2, &[0x42; 160]);
        bench.tick();
    }
    let heard: Vec<u8> = bench.payloads(3).iter().map(|payload| payload[0]).collect();
    assert_eq!(heard, [0x41, 0x41, 0x41, 0x42, 0x42, 0x42, 0x42, 0x42]);
    bench.pass_ms(1_000);
    let outcomes = bench.outcomes();
    let missed: Vec<_> = outcomes.iter().filter(|(_, outcome)| outcome.port == port_id(3)).collect();
    assert_eq!(missed.len(), 2);
    assert!(missed.iter().any(|(_, outcome)| outcome.missed == Some(MissCause::OutRanked) && outcome.missed_ms == 80));
}

#[test]
fn an_emergency_takes_a_radio_and_keeps_it_against_another_emergency() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(4, Codec::Pcmu), radio(3, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    let declare = |port, open| Order::Emergency { port: port_id(port), talker: Alias::default(), open };
    bench.talk_for(1, 2, |_| vec![0x41; 160]);
    bench.order([declare(2, true)]);
    for _ in 0..3 {
        bench.talk(1, &[0x41; 160]);
        bench.talk(2, &[0x42; 160]);
        bench.tick();
    }
    bench.order([declare(4, true)]);
    for _ in 0..3 {
        bench.talk(2, &[0x42; 160]);
        bench.talk(4, &[0x44; 160]);
        bench.tick();
    }
    let heard: Vec<u8> = bench.payloads(3).iter().map(|payload| payload[0]).collect();
    assert_eq!(heard, [0x41, 0x41, 0x41, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42]);
}

#[test]
fn a_ports_own_dispatcher_outranks_the_hosts() {
    let console =
        |number, agency| PortSpec { role: PortRole::Console, agency: AgencyKey(agency), ..phone(number, Codec::Pcmu) };
    let ports = [console(1, 1), console(2, 2), PortSpec { agency: AgencyKey(2), ..radio(3, Codec::Pcmu) }];
    let mut bench = Bench::patched(&ports);
    for _ in 0..4 {
        bench.talk(1, &[0x41; 160]);
        bench.talk(2, &[0x42; 160]);
        bench.tick();
    }
    assert_eq!(bench.payloads(3).last().map(|payload| payload[0]), Some(0x42), "the host's dispatcher won");
}

#[test]
fn exactly_one_gateway_of_a_group_transmits_and_it_fails_over_between_bursts() {
    let mut ports = [phone(1, Codec::Pcmu), radio(2, Codec::Pcmu), radio(3, Codec::Pcmu)];
    for port in &mut ports[1..] {
        port.group = Some(GroupId(7));
        port.peer = crosspatch::domain::port::PeerRule::Latch(vec!["127.0.0.0/8".parse().unwrap()]);
    }
    let mut bench = Bench::patched(&ports);
    bench.order([media::group(7, &[2, 3])]);
    // Only the second choice has ever been heard: the first has no address yet.
    bench.talk_for(3, 1, numbered);
    bench.pass_ms(1_000);
    bench.forget();
    bench.talk_for(1, 3, numbered);
    assert_eq!((bench.heard(2).len(), bench.heard(3).len()), (0, 3));
    // The first appears in mid-burst: this burst stays where it is.
    bench.talk(2, &numbered(0));
    bench.talk_for(1, 3, numbered);
    assert_eq!((bench.heard(2).len(), bench.heard(3).len()), (0, 6));
    bench.pass_ms(1_000);
    bench.talk_for(1, 3, numbered);
    bench.pass_ms(200);
    assert_eq!((bench.heard(2).len(), bench.heard(3).len()), (3, 6), "the next burst goes to the preferred one");
    assert!(
        bench
            .reports
            .iter()
            .any(|report| matches!(report, Report::TransmitMoved { port: Some(port), .. } if *port == port_id(2)))
    );
}

#[test]
fn of_two_receivers_of_one_talkgroup_the_first_copy_is_heard_and_the_other_takes_over() {
    let mut ports = [radio(1, Codec::Pcmu), radio(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    for port in &mut ports[..2] {
        port.group = Some(GroupId(7));
    }
    let mut bench = Bench::patched(&ports);
    for _ in 0..5 {
        bench.talk(1, &[0x41; 160]);
        bench.talk(2, &[0x42; 160]);
        bench.tick();
    }
    assert_eq!(bench.heard(3).len(), 5, "both copies were heard");
    for _ in 0..8 {
        bench.talk(2, &[0x42; 160]);
        bench.tick();
    }
    let heard: Vec<u8> = bench.payloads(3).iter().map(|payload| payload[0]).collect();
    assert_eq!(&heard[..5], [0x41; 5]);
    assert!(heard[5..].iter().all(|byte| *byte == 0x42) && heard.len() >= 10, "{} packets", heard.len());
    assert_eq!(bench.started().len(), 2);
}

#[test]
fn ports_on_one_rf_channel_are_deaf_while_one_transmits_and_shortly_after() {
    let channel = Some(GroupId(70));
    let mut ports = [phone(1, Codec::Pcmu), radio(2, Codec::Pcmu), radio(3, Codec::Pcmu), phone(4, Codec::Pcmu)];
    ports[1].rf_channel = channel;
    ports[2].rf_channel = channel;
    let mut bench = two_patches(&ports);
    bench.order([
        Order::Join(leg(1, &ports[0])),
        Order::Join(leg(1, &ports[1])),
        Order::Join(leg(2, &ports[2])),
        Order::Join(leg(2, &ports[3])),
    ]);
    for at in 0..5 {
        bench.talk(1, &numbered(at));
        // The other gateway's receiver hears what the first one transmits.
        bench.talk(3, &numbered(at));
        bench.tick();
    }
    assert_eq!(bench.heard(2).len(), 5);
    assert!(bench.heard(4).is_empty(), "a loop over the air was carried into another patch");
    bench.pass_ms(200);
    bench.talk(3, &numbered(0));
    assert!(bench.heard(4).is_empty(), "the tail of the own transmission was heard");
    bench.pass_ms(600);
    bench.talk(3, &numbered(0));
    assert_eq!(bench.heard(4).len(), 1);
    assert_eq!(bench.started().iter().filter(|(_, patch, _)| *patch == PatchId(2)).count(), 1);
}

#[test]
fn a_channel_stays_deaf_while_a_held_up_shard_transmits_without_its_tick() {
    let channel = Some(GroupId(70));
    let mut ports = [phone(1, Codec::Pcmu), radio(2, Codec::Pcmu), radio(3, Codec::Pcmu), phone(4, Codec::Pcmu)];
    (ports[1].rf_channel, ports[2].rf_channel) = (channel, channel);
    let mut bench = two_patches(&ports);
    let legs = [leg(1, &ports[0]), leg(1, &ports[1]), leg(2, &ports[2]), leg(2, &ports[3])];
    bench.order(legs.map(Order::Join));
    bench.talk_for(1, 5, numbered);
    // Longer than ears stay shut after a transmission: what waited in the socket comes before the next tick.
    bench.now = bench.now.plus_ms(280);
    bench.talk(1, &numbered(5));
    assert_eq!(bench.heard(2).len(), 6, "it transmits");
    bench.talk(3, &numbered(5));
    assert!(bench.heard(4).is_empty(), "what one radio transmits came in again through the other");
    assert_eq!(bench.counters().discards(Discard::Inhibited), 1);
}

#[test]
fn a_talker_that_leaves_and_joins_again_in_mid_burst_is_one_burst_told_in_parts() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 3, numbered);
    bench.order([Order::Leave(leg(1, &ports[0]).leg)]);
    bench.talk_for(1, 4, numbered);
    bench.order([Order::Join(leg(1, &ports[0]))]);
    bench.talk_for(1, 5, numbered);
    bench.pass_ms(500);
    let burst = bench.started()[0].0;
    let parts: Vec<_> = bench.outcomes().into_iter().map(|(id, outcome)| (id, outcome.heard_ms)).collect();
    assert_eq!(parts, [(burst, 60), (burst, 100)], "each part once, and nothing of what nobody might hear");
}

#[test]
fn a_leg_that_leaves_and_joins_again_in_mid_burst_hears_the_rest_of_it_with_one_outcome() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 3, numbered);
    bench.order([Order::Leave(leg(1, &ports[1]).leg)]);
    bench.talk_for(1, 3, numbered);
    bench.order([Order::Join(leg(1, &ports[1]))]);
    bench.talk_for(1, 3, numbered);
    assert_eq!(bench.heard(2).len(), 6);
    bench.pass_ms(500);
    let outcomes = bench.outcomes().into_iter().filter(|(_, outcome)| outcome.port == port_id(2));
    assert_eq!(outcomes.map(|(_, outcome)| outcome.heard_ms).collect::<Vec<_>>(), [120]);
}

#[test]
fn whom_an_open_floor_left_out_is_heard_when_it_is_open_no_more() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = Bench::new();
    bench.open(&ports);
    let open = FloorPolicy { mode: FloorMode::Open, holders_max: 1, ..media::policy() };
    bench.order([Order::OpenPatch(PatchSpec { floor: open, ..patch(1) })]);
    bench.order(ports.iter().map(|port| Order::Join(leg(1, port))));
    let level = |dbov| Elements { level: Some(AudioLevel { level: Level(dbov), voice: true }), ..Elements::default() };
    let talk = |bench: &mut Bench| {
        for _ in 0..20 {
            bench.talk_with(1, &[0x21; 160], level(40));
            bench.talk_with(2, &[0x22; 160], level(15));
            bench.tick();
        }
    };
    talk(&mut bench);
    bench.order([Order::OpenPatch(patch(1))]);
    talk(&mut bench);
    bench.pass_ms(1_000);
    let soft = bench.started().iter().find(|(_, _, port)| *port == port_id(1)).expect("it talked").0;
    let told = bench.outcomes().into_iter().find(|(id, told)| *id == soft && told.port == port_id(3));
    let told = told.expect("it may hear all").1;
    assert!(told.heard_ms >= 360, "{told:?}");
}

#[test]
fn on_an_open_floor_everybody_may_talk_and_the_loudest_are_heard() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu), phone(4, Codec::Pcmu)];
    let mut bench = Bench::new();
    bench.open(&ports);
    let floor = FloorPolicy { mode: FloorMode::Open, holders_max: 1, ..media::policy() };
    bench.order([Order::OpenPatch(PatchSpec { floor, ..patch(1) })]);
    bench.order(ports.iter().map(|port| Order::Join(leg(1, port))));
    let level = |dbov| Elements { level: Some(AudioLevel { level: Level(dbov), voice: true }), ..Elements::default() };
    for _ in 0..20 {
        bench.talk_with(1, &[0x21; 160], level(40));
        bench.talk_with(2, &[0x22; 160], level(15));
        bench.talk_with(3, &[0x23; 160], level(30));
        bench.tick();
    }
    assert_eq!(bench.started().len(), 3, "somebody was denied on an open floor");
    bench.pass_ms(1_000);
    let heard: Vec<u32> = [1, 2, 3]
        .iter()
        .map(|talker| {
            let burst = bench.started().iter().find(|(_, _, port)| *port == port_id(*talker)).expect("it talked").0;
            let outcome = bench.outcomes().into_iter().find(|(id, outcome)| *id == burst && outcome.port == port_id(4));
            outcome.expect("the fourth port may hear all").1.heard_ms
        })
        .collect();
    assert!(heard[1] >= 360 && heard[0] <= 60 && heard[2] <= 60, "{heard:?}");
}
