//! The floor as talkers and dispatch see it through a shard: grants, denials, limits, and one end for each grant.

mod media;

use crosspatch::domain::audio::{Codec, Format};
use crosspatch::domain::floor::{BurstEnd, Denial, FloorPolicy, MissCause};
use crosspatch::domain::id::{AgencyKey, PatchId, PortId};
use crosspatch::domain::order::{Order, PatchSpec};
use crosspatch::domain::port::{PayloadType, PortRole, PortSpec, ReceiveKeying, ReceiveSpec};
use crosspatch::domain::report::{MediaLimit, Report};
use crosspatch::domain::talker::Alias;
use crosspatch::media::discard::Discard;
use crosspatch::media::limits::ShardLimits;
use crosspatch::wire::rtp::RtpHeader;
use crosspatch::wire::rtp_extension::{AudioLevel, Elements, Keying};
use media::{Bench, leg, numbered, patch, phone, policy, port_id, radio};

fn strict(ports: &[PortSpec], floor: FloorPolicy) -> Bench {
    let mut bench = Bench::new();
    bench.open(ports);
    let patch = PatchSpec { floor, ..patch(1) };
    bench.order(std::iter::once(Order::OpenPatch(patch)).chain(ports.iter().map(|port| Order::Join(leg(1, port)))));
    bench
}

fn denials(bench: &Bench) -> Vec<Denial> {
    let denied = |report: &Report| if let Report::Denied { cause, .. } = report { Some(*cause) } else { None };
    bench.reports.iter().filter_map(denied).collect()
}

#[test]
fn a_second_talker_in_a_strict_patch_is_denied_once_per_key_and_not_heard() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = strict(&ports, FloorPolicy { holders_max: 1, ..policy() });
    for at in 0..5 {
        bench.talk(1, &numbered(at));
        bench.talk(2, &[0x11; 160]);
        bench.tick();
    }
    assert_eq!(denials(&bench), [Denial::Busy]);
    assert!(bench.payloads(3).iter().all(|payload| payload[1] != 0x11));
    assert_eq!(bench.counters().discards(Discard::NoFloor), 5);
}

#[test]
fn a_queued_talker_is_told_its_place_and_heard_when_its_turn_comes() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = strict(&ports, FloorPolicy { holders_max: 1, queue_max: 2, hang_ms: 0, ..policy() });
    for _ in 0..5 {
        bench.talk(1, &[0x41; 160]);
        bench.talk(2, &[0x42; 160]);
        bench.tick();
    }
    assert!(bench.reports.iter().any(|report| matches!(report, Report::Queued { position: 1, .. })));
    for _ in 0..20 {
        bench.talk(2, &[0x42; 160]);
        bench.tick();
    }
    assert_eq!(bench.payloads(3).last().map(|payload| payload[0]), Some(0x42));
    assert_eq!(bench.ended().len(), 1);
}

#[test]
fn a_talk_limit_ends_the_burst_once_and_its_talker_must_unkey() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
    let mut bench = strict(&ports, FloorPolicy { talk_limit_ms: 200, ..policy() });
    bench.talk_for(1, 30, numbered);
    assert!((9..=11).contains(&bench.heard(2).len()), "{} packets", bench.heard(2).len());
    assert_eq!(bench.ended().iter().map(|(_, _, cause)| *cause).collect::<Vec<_>>(), [BurstEnd::TimedOut]);
    bench.pass_ms(400);
    bench.talk_for(1, 2, numbered);
    assert_eq!(bench.started().len(), 2);
}

#[test]
fn the_shortest_talk_limit_wins() {
    let mut talker = phone(1, Codec::Pcmu);
    talker.receive.talk_limit_ms = 100;
    let mut bench = strict(&[talker, phone(2, Codec::Pcmu)], FloorPolicy { talk_limit_ms: 10_000, ..policy() });
    bench.talk_for(1, 30, numbered);
    assert!(bench.heard(2).len() <= 6, "{} packets", bench.heard(2).len());
}

#[test]
fn an_emergency_at_its_limit_stays_audible_at_its_own_agencys_consoles() {
    let console =
        |number, agency| PortSpec { role: PortRole::Console, agency: AgencyKey(agency), ..phone(number, Codec::Pcmu) };
    let ports = [phone(1, Codec::Pcmu), console(2, 1), console(3, 2), phone(4, Codec::Pcmu)];
    let mut bench = strict(&ports, FloorPolicy { talk_limit_ms: 200, ..policy() });
    bench.order([Order::Emergency { port: port_id(1), talker: Alias::default(), open: true }]);
    bench.talk_for(1, 30, numbered);
    let heard = [2, 3, 4].map(|port| bench.heard(port).len());
    assert_eq!(heard[0], 30);
    assert!(heard[1] <= 11 && heard[2] <= 11, "{heard:?}");
    assert_eq!(bench.ended().len(), 1);
    bench.pass_ms(500);
    assert_eq!(bench.ended().len(), 1, "the grant had two ends");
    assert_eq!(bench.outcomes().len(), 3);
}

#[test]
fn an_emergency_that_is_cleared_past_its_limit_is_no_new_request() {
    let console = PortSpec { role: PortRole::Console, ..phone(2, Codec::Pcmu) };
    let mut ports = [phone(1, Codec::Pcmu), console, phone(3, Codec::Pcmu)];
    ports[0].receive.talk_limit_ms = 200;
    let mut bench = strict(&ports, policy());
    let emergency = |open| Order::Emergency { port: port_id(1), talker: Alias::default(), open };
    bench.order([emergency(true)]);
    bench.talk_for(1, 3, numbered);
    // The shard is held up: the key's own limit is noticed before the floor's.
    bench.now = bench.now.plus_ms(700);
    bench.talk(1, &numbered(3));
    assert_eq!(bench.ended().len(), 1);
    bench.talk(1, &numbered(4));
    assert_eq!((bench.heard(2).len(), bench.heard(3).len()), (5, 3), "its own console hears it on");
    bench.order([emergency(false)]);
    bench.talk_for(1, 5, numbered);
    assert_eq!((bench.heard(2).len(), bench.heard(3).len()), (5, 3));
    assert_eq!((bench.started().len(), bench.ended().len()), (1, 1), "it got the floor again without unkeying");
}

#[test]
fn an_emergency_declared_anew_past_its_limit_is_no_new_request_whoever_noticed_the_limit() {
    for held_up_ms in [0, 700] {
        let mut ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
        ports[0].receive.talk_limit_ms = 200;
        let mut bench = strict(&ports, policy());
        let emergency = |open| Order::Emergency { port: port_id(1), talker: Alias::default(), open };
        bench.order([emergency(true)]);
        bench.talk_for(1, 5, numbered);
        // A shard that is held up hears of it from the key before its floor looks.
        bench.now = bench.now.plus_ms(held_up_ms);
        bench.talk_for(1, 20, numbered);
        assert_eq!((bench.started().len(), bench.ended().len()), (1, 1), "held up {held_up_ms} ms");
        bench.order([emergency(false)]);
        bench.order([emergency(true)]);
        bench.talk_for(1, 5, numbered);
        assert_eq!((bench.started().len(), bench.ended().len()), (1, 1), "held up {held_up_ms} ms: it never let go");
        bench.pass_ms(1_000);
        bench.talk_for(1, 5, numbered);
        assert_eq!(bench.started().len(), 2, "held up {held_up_ms} ms: it let go");
    }
}

#[test]
fn an_emergency_is_granted_over_a_full_floor_and_the_pre_empted_one_learns_it() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = strict(&ports, FloorPolicy { holders_max: 1, ..policy() });
    bench.order([Order::Emergency { port: port_id(2), talker: Alias::default(), open: true }]);
    bench.talk_for(1, 3, |_| vec![0x41; 160]);
    bench.talk(2, &[0x42; 160]);
    bench.talk(1, &[0x41; 160]);
    assert_eq!(bench.payloads(3).last().map(|payload| payload[0]), Some(0x42));
    assert_eq!(bench.ended().iter().map(|(_, _, cause)| *cause).collect::<Vec<_>>(), [BurstEnd::PreEmpted]);
    assert!(bench.reports.iter().any(|report| matches!(report, Report::BurstStarted { emergency: true, .. })));
}

#[test]
fn a_talker_that_declares_an_emergency_in_mid_burst_is_raised_and_told() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = strict(&ports, FloorPolicy { holders_max: 1, ..policy() });
    bench.talk_for(1, 2, |_| vec![0x41; 160]);
    bench.talk(2, &[0x42; 160]);
    let cry =
        Elements { keying: Some(Keying { ptt: true, emergency: true, ..Keying::default() }), ..Elements::default() };
    bench.talk_with(2, &[0x42; 160], cry);
    bench.flush();
    assert_eq!(bench.payloads(3).last().map(|payload| payload[0]), Some(0x42));
    assert!(bench.reports.iter().any(|report| matches!(report, Report::EmergencyKeyed { .. })));
}

#[test]
fn a_key_shorter_than_the_minimum_keys_nobody_and_a_longer_one_loses_nothing() {
    let mut talker = radio(1, Codec::Pcmu);
    talker.receive.burst_min_ms = 100;
    let mut bench = strict(&[talker, phone(2, Codec::Pcmu)], policy());
    bench.talk_for(1, 3, numbered);
    bench.pass_ms(400);
    assert!(bench.heard(2).is_empty() && bench.started().is_empty());
    assert_eq!(bench.counters().discards(Discard::TooShort), 3);
    assert_eq!(bench.counters().misses(MissCause::TooShort), 1, "one key");
    let told = |report: &Report| matches!(report, Report::TooShort { port: PortId(1), said_ms: 60, .. });
    assert_eq!(bench.reports.iter().filter(|report| told(report)).count(), 1);
    bench.talk_for(1, 10, numbered);
    assert_eq!(bench.heads(2), (0..10).collect::<Vec<u8>>(), "the held beginning was lost");
}

#[test]
fn a_declared_squelch_tail_is_dropped_counted_and_named_at_each_ear() {
    let mut talker = radio(1, Codec::Pcmu);
    talker.receive.tail_ms = 100;
    let mut bench = strict(&[talker, phone(2, Codec::Pcmu)], policy());
    bench.talk_for(1, 20, numbered);
    bench.pass_ms(500);
    assert_eq!(bench.heads(2), (0..15).collect::<Vec<u8>>());
    assert_eq!(bench.counters().discards(Discard::SquelchTail), 5);
    let outcome = bench.outcome_of(2).unwrap();
    assert_eq!((outcome.heard_ms, outcome.missed_ms), (300, 100));
}

#[test]
fn each_way_of_keying_opens_and_closes_a_burst() {
    let keyed =
        |keying| PortSpec { receive: ReceiveSpec { keying, ..phone(1, Codec::Pcmu).receive }, ..phone(1, Codec::Pcmu) };
    let with = |ptt| Elements { keying: Some(Keying { ptt, ..Keying::default() }), ..Elements::default() };
    // By extension.
    let mut bench = strict(&[keyed(ReceiveKeying::Ext), phone(2, Codec::Pcmu)], policy());
    bench.talk(1, &numbered(0));
    assert!(bench.heard(2).is_empty(), "speech without a key was heard");
    bench.talk_with(1, &numbered(1), with(true));
    bench.talk(1, &numbered(2));
    bench.talk_with(1, &numbered(3), with(false));
    bench.flush();
    assert_eq!(bench.heard(2).len(), 2);
    assert_eq!(bench.ended().iter().map(|(_, _, cause)| *cause).collect::<Vec<_>>(), [BurstEnd::Released]);
    // By sound.
    let mut bench = strict(&[keyed(ReceiveKeying::Vox), phone(2, Codec::Pcmu)], policy());
    let loud = |level| Elements {
        level: Some(AudioLevel { level: crosspatch::domain::audio::Level(level), voice: level < 50 }),
        ..Elements::default()
    };
    bench.talk_with(1, &numbered(0), loud(90));
    bench.talk_with(1, &numbered(1), loud(20));
    bench.flush();
    assert_eq!(bench.heard(2).len(), 1);
    // By sound that no header names: silence is 0xff in mu-law.
    let mut bench = strict(&[keyed(ReceiveKeying::Vox), phone(2, Codec::Pcmu)], policy());
    bench.talk(1, &[0xff; 160]);
    assert!(bench.heard(2).is_empty(), "silence keyed");
    bench.talk(1, &square());
    assert_eq!(bench.heard(2).len(), 1);
}

/// Loud in mu-law.
fn square() -> Vec<u8> {
    (0..160).map(|at| if at % 16 < 8 { 0x00 } else { 0x80 }).collect()
}

#[test]
fn a_port_keyed_by_sound_hears_silence_in_each_of_its_codecs() {
    let mut talker = phone(1, Codec::Pcmu);
    talker.receive.keying = ReceiveKeying::Vox;
    let wide = Format::usual(Codec::L16);
    talker.payloads.push(PayloadType { number: 97, format: wide });
    let mut bench = strict(&[talker, phone(2, Codec::Pcmu)], policy());
    bench.talk(1, &[0xff; 160]);
    let say_wide = |bench: &mut Bench, sample: i16| {
        let payload: Vec<u8> =
            (0..320).flat_map(|at| if at % 32 < 16 { sample } else { -sample }.to_be_bytes()).collect();
        let header = crosspatch::wire::rtp::RtpHeader { payload_type: 97, ..bench.next_header(1) };
        bench.send(1, media::address_of(1), &header, &payload, &Elements::default());
        bench.lose(1, 1);
        bench.flush();
    };
    (0..5).for_each(|_| say_wide(&mut bench, 0));
    assert_eq!(bench.started(), [], "zeros are silence here, and very loud in mu-law");
    say_wide(&mut bench, 8_000);
    assert_eq!(bench.started().len(), 1);
}

#[test]
fn a_port_keyed_by_sound_that_finds_no_decoder_is_told_of_and_hears_again_when_one_is_free() {
    let vox = |number| {
        let mut port = phone(number, Codec::Pcmu);
        port.receive.keying = ReceiveKeying::Vox;
        port
    };
    let mut bench = Bench::with_shards(1, &ShardLimits { decoders: 1, ..ShardLimits::small() });
    let ports = [vox(1), vox(2), phone(3, Codec::Pcmu)];
    bench.open(&ports);
    bench.order(std::iter::once(Order::OpenPatch(patch(1))).chain(ports.iter().map(|port| Order::Join(leg(1, port)))));
    for _ in 0..50 {
        bench.talk(1, &square());
        bench.talk(2, &square());
        bench.tick();
    }
    let deaf =
        |report: &Report| matches!(report, Report::LimitHit { limit: MediaLimit::Decoders, port: Some(PortId(2)), .. });
    assert_eq!(bench.reports.iter().filter(|report| deaf(report)).count(), 1, "told once in ten seconds");
    assert_eq!(bench.started().len(), 1);
    assert!(bench.counters().limits(MediaLimit::Decoders) >= 50);
    bench.pass_ms(2_000);
    bench.talk(2, &square());
    assert_eq!(bench.started().len(), 2, "the decoder of a port that is silent is free");
}

#[test]
fn a_telephone_event_keys_and_lets_go() {
    let keyed = PortSpec {
        receive: ReceiveSpec { keying: ReceiveKeying::Event, ..phone(1, Codec::Pcmu).receive },
        ..phone(1, Codec::Pcmu)
    };
    let mut bench = strict(&[keyed, phone(2, Codec::Pcmu)], policy());
    let press = |bench: &mut Bench, event: u8| {
        let header = crosspatch::wire::rtp::RtpHeader { payload_type: 101, ..bench.next_header(1) };
        bench.send(1, media::address_of(1), &header, &[event, 10, 0, 160], &Elements::default());
        bench.lose(1, 1);
        bench.flush();
    };
    press(&mut bench, 10);
    bench.talk_for(1, 3, numbered);
    press(&mut bench, 11);
    bench.talk(1, &numbered(9));
    assert_eq!(bench.heard(2).len(), 3);
    assert_eq!(bench.ended(), [(bench.started()[0].0, PatchId(1), BurstEnd::Released)]);
}

#[test]
fn a_press_that_an_order_has_lifted_keys_no_more_however_long_it_lasts_and_the_next_one_does() {
    let keyed = PortSpec {
        receive: ReceiveSpec { keying: ReceiveKeying::Event, ..phone(1, Codec::Pcmu).receive },
        ..phone(1, Codec::Pcmu)
    };
    let mut bench = strict(&[keyed, phone(2, Codec::Pcmu)], policy());
    let press = |bench: &mut Bench, timestamp: u32| {
        let header = RtpHeader { payload_type: 101, timestamp, ..bench.next_header(1) };
        bench.send(1, media::address_of(1), &header, &[10, 10, 0, 160], &Elements::default());
        bench.lose(1, 1);
        bench.flush();
    };
    let since = bench.next_header(1).timestamp;
    press(&mut bench, since);
    assert_eq!(bench.started().len(), 1);
    bench.order([Order::Key { port: PortId(1), keyed: false }]);
    press(&mut bench, since);
    bench.talk_for(1, 3, numbered);
    press(&mut bench, since);
    bench.talk_for(1, 3, numbered);
    assert_eq!((bench.started().len(), bench.heard(2).len()), (1, 0));
    press(&mut bench, since.wrapping_add(8_000));
    bench.talk_for(1, 3, numbered);
    assert_eq!((bench.started().len(), bench.heard(2).len()), (2, 3));
}

#[test]
fn a_star_that_was_refused_or_ran_out_of_time_asks_again_when_it_is_pressed_again() {
    let by_events = |number| PortSpec {
        receive: ReceiveSpec { keying: ReceiveKeying::Event, end_ms: 1_000, ..phone(1, Codec::Pcmu).receive },
        ..phone(number, Codec::Pcmu)
    };
    let ports = [phone(1, Codec::Pcmu), by_events(2), phone(3, Codec::Pcmu)];
    let mut bench = strict(&ports, FloorPolicy { holders_max: 1, talk_limit_ms: 2_000, ..policy() });
    // One press is three packets of one time.
    let press = |bench: &mut Bench| {
        let header = crosspatch::wire::rtp::RtpHeader { payload_type: 101, ..bench.next_header(2) };
        for at in 0..3 {
            let header = crosspatch::wire::rtp::RtpHeader { sequence: header.sequence.wrapping_add(at), ..header };
            bench.send(2, media::address_of(2), &header, &[10, 10, 0, 160], &Elements::default());
        }
        bench.lose(2, 3);
        bench.flush();
    };
    let both = |bench: &mut Bench, packets: usize| {
        for at in 0..packets {
            bench.talk(1, &numbered(at));
            bench.talk(2, &[0x11; 160]);
            bench.tick();
        }
    };
    both(&mut bench, 2);
    press(&mut bench);
    both(&mut bench, 5);
    assert_eq!(denials(&bench), [Denial::Busy]);
    press(&mut bench);
    both(&mut bench, 5);
    assert_eq!(denials(&bench), [Denial::Busy; 2], "asked again, and once");
    assert_eq!(bench.started().len(), 1);
    // The first talker has let go.
    bench.talk_for(2, 50, |_| vec![0x11; 160]);
    assert_eq!(bench.started().len(), 1, "a key asks once for each press");
    press(&mut bench);
    bench.talk_for(2, 130, |_| vec![0x11; 160]);
    assert_eq!(bench.started().len(), 2);
    assert_eq!(bench.ended().last().map(|end| end.2), Some(BurstEnd::TimedOut));
    bench.forget();
    press(&mut bench);
    press(&mut bench);
    bench.talk_for(2, 5, |_| vec![0x11; 160]);
    assert_eq!(
        bench.started().len(),
        1,
        "after its time it may ask again, and a second press of a granted key is nothing"
    );
    assert_eq!(bench.payloads(3).len(), 5);
}
