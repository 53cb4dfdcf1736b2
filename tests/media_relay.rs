//! Relay: one talker's payloads reach everybody who may hear them, untouched, at once and once.

mod media;

use crosspatch::domain::audio::{Codec, Format};
use crosspatch::domain::floor::BurstEnd;
use crosspatch::domain::id::PatchId;
use crosspatch::domain::order::Order;
use crosspatch::domain::port::PeerRule;
use crosspatch::domain::report::Report;
use crosspatch::media::discard::Discard;
use crosspatch::wire::rtp_extension::Elements;
use media::{Bench, address_of, leg, numbered, patch, phone};

const OPUS_SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

#[test]
fn a_payload_passes_untouched_in_the_call_that_brought_it() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    bench.talk(1, &numbered(7));
    assert_eq!(bench.payloads(2), [numbered(7)]);
    assert_eq!(bench.payloads(3), [numbered(7)]);
    assert!(bench.heard(1).is_empty(), "a talker heard itself");
    assert_eq!(bench.counters().relayed, 2);
}

#[test]
fn each_listener_has_its_own_stream_and_the_first_packet_of_a_burst_is_marked() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 3, numbered);
    let (two, three) = (bench.heard(2).to_vec(), bench.heard(3).to_vec());
    assert_ne!(two[0].header.ssrc, three[0].header.ssrc);
    assert_eq!(two.iter().map(|packet| packet.header.marker).collect::<Vec<_>>(), [true, false, false]);
    for pair in two.windows(2) {
        assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
        assert_eq!(pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp), 160);
    }
}

#[test]
fn a_gap_of_the_talker_stays_a_gap_at_the_listener() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    bench.talk(1, &numbered(0));
    bench.lose(1, 2);
    bench.talk(1, &numbered(3));
    let heard = bench.heard(2);
    assert_eq!(heard[1].header.sequence.wrapping_sub(heard[0].header.sequence), 3);
    assert_eq!(heard[1].header.timestamp.wrapping_sub(heard[0].header.timestamp), 480);
}

#[test]
fn a_packet_that_comes_after_its_burst_has_ended_is_dropped() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 5, numbered);
    let before = bench.next_header(1);
    bench.talk(1, &numbered(5));
    bench.pass_ms(400);
    bench.forget();
    // The copy of a packet that was heard already, under way for long.
    bench.send(1, address_of(1), &before, &numbered(5), &Elements::default());
    bench.flush();
    assert!(bench.heard(2).is_empty());
    assert_eq!(bench.counters().discards(Discard::Duplicate), 1);
}

#[test]
fn a_new_source_behind_an_opus_stream_is_led_in_by_one_silence_frame() {
    let ports = [phone(1, Codec::Opus), phone(2, Codec::Opus), phone(3, Codec::Opus)];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 3, numbered);
    bench.pass_ms(400);
    bench.talk_for(2, 3, numbered);
    let heard = bench.heard(3);
    let payloads: Vec<_> = heard.iter().map(|packet| packet.payload.len()).collect();
    assert_eq!(payloads, [160, 160, 160, 3, 160, 160, 160]);
    assert_eq!(heard[3].payload, OPUS_SILENCE);
    assert_eq!(heard[4].header.sequence, heard[3].header.sequence.wrapping_add(1), "it has a number of its own");
    assert!(heard[4].header.timestamp.wrapping_sub(heard[3].header.timestamp) >= 960, "it lasts 20 ms");
    assert!(heard[3].header.marker && !heard[0].payload.starts_with(&OPUS_SILENCE));
}

#[test]
fn the_same_talker_again_needs_no_silence_frame() {
    let ports = [phone(1, Codec::Opus), phone(3, Codec::Opus)];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 2, numbered);
    bench.pass_ms(400);
    bench.talk_for(1, 2, numbered);
    assert!(bench.heard(3).iter().all(|packet| packet.payload.len() == 160));
    assert_eq!(bench.started().len(), 2);
}

#[test]
fn sequence_numbers_never_repeat_under_one_ssrc() {
    let ports = [phone(1, Codec::Opus), phone(2, Codec::Opus), phone(3, Codec::Opus)];
    let mut bench = Bench::patched(&ports);
    for turn in 0..6 {
        let talker = if turn % 2 == 0 { 1 } else { 2 };
        bench.talk_for(talker, 4, numbered);
        bench.lose(talker, 3);
        bench.talk_for(talker, 2, numbered);
        bench.pass_ms(400);
    }
    let mut numbers: Vec<_> = bench.heard(3).iter().map(|packet| packet.header.sequence).collect();
    let sent = numbers.len();
    numbers.dedup();
    assert_eq!((numbers.len(), sent), (36 + 5, 36 + 5));
}

#[test]
fn a_wrong_source_is_counted_and_never_heard() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    let header = bench.next_header(1);
    bench.send(1, address_of(9), &header, &numbered(0), &Elements::default());
    bench.flush();
    assert!(bench.heard(2).is_empty());
    assert_eq!(bench.counters().discards(Discard::WrongSource), 1);
}

#[test]
fn a_new_ssrc_from_the_ports_own_source_is_heard_at_once() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 3, numbered);
    bench.set_ssrc(1, 77);
    bench.talk(1, &numbered(9));
    assert_eq!(bench.payloads(2).last(), Some(&numbered(9)));
}

#[test]
fn a_latch_moves_only_after_two_seconds_of_silence_and_within_the_allow_list() {
    let mut first = phone(1, Codec::Pcmu);
    first.peer = PeerRule::Latch(vec!["127.0.0.0/8".parse().unwrap()]);
    let mut bench = Bench::patched(&[first, phone(2, Codec::Pcmu)]);
    bench.talk_for(1, 2, numbered);
    let mut header = bench.next_header(1);
    bench.send(1, address_of(50), &header, &numbered(2), &Elements::default());
    bench.flush();
    assert_eq!(bench.heard(2).len(), 2, "a second source took a live latch");
    bench.pass_ms(2_100);
    let stranger = "10.0.0.1:5".parse().unwrap();
    bench.send(1, stranger, &header, &numbered(2), &Elements::default());
    header.ssrc = 5;
    bench.send(1, address_of(50), &header, &numbered(3), &Elements::default());
    bench.flush();
    assert_eq!(bench.payloads(2).last(), Some(&numbered(3)));
    assert_eq!(bench.counters().discards(Discard::NotAllowed), 1);
    let latched = bench.reports.iter().filter(|report| matches!(report, Report::Latched { .. })).count();
    // The static port is told too, once it is first heard; it has said nothing yet.
    assert_eq!(latched, 2);
}

#[test]
fn a_port_that_sends_too_much_is_cut_to_its_rate() {
    let mut flood = phone(1, Codec::Pcmu);
    flood.packets_per_second_max = 60;
    let mut bench = Bench::patched(&[flood, phone(2, Codec::Pcmu)]);
    for at in 0..100 {
        bench.talk(1, &numbered(at));
    }
    assert_eq!(bench.heard(2).len(), 60);
    assert_eq!(bench.counters().discards(Discard::RateLimited), 40);
    let told = bench.reports.iter().filter(|report| matches!(report, Report::LimitHit { .. })).count();
    assert_eq!(told, 1, "a limit that stays hit is told once");
}

#[test]
fn a_listener_with_another_packet_time_is_not_relayed_to() {
    let mut slow = phone(2, Codec::Pcmu);
    slow.payloads[0].format = Format { packet_ms: 40, ..slow.payloads[0].format };
    let mut bench = Bench::patched(&[phone(1, Codec::Pcmu), slow]);
    bench.talk(1, &numbered(0));
    assert!(bench.heard(2).is_empty());
}

#[test]
fn a_burst_ends_once_with_its_cause_and_says_who_heard_it() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 10, numbered);
    bench.pass_ms(1_000);
    let started = bench.started();
    assert_eq!(started.len(), 1);
    let burst = started[0].0;
    assert_eq!(bench.ended(), [(burst, PatchId(1), BurstEnd::Silence)]);
    let outcome = bench.outcome_of(2).unwrap();
    assert_eq!((outcome.heard_ms, outcome.missed_ms, outcome.missed), (200, 0, None));
    assert_eq!(bench.outcomes().len(), 1);
}

#[test]
fn a_presence_keyed_listener_gets_no_rtp_outside_a_burst_but_rtcp_keeps_its_path_open() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 3, numbered);
    bench.pass_ms(30_000);
    assert_eq!(bench.heard(2).len(), 3);
    let reports = bench.reports_to(2).len();
    assert!((4..=9).contains(&reports), "{reports} reports in 30 s");
}

#[test]
fn a_late_joiner_hears_the_next_packet() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = Bench::new();
    bench.open(&ports);
    bench.order([Order::OpenPatch(patch(1)), Order::Join(leg(1, &ports[0])), Order::Join(leg(1, &ports[1]))]);
    bench.talk_for(1, 5, numbered);
    bench.order([Order::Join(leg(1, &ports[2]))]);
    bench.talk(1, &numbered(5));
    assert_eq!(bench.payloads(3), [numbered(5)]);
}
