//! Hold and keying of transmitters: no word is lost while a channel is busy or a grant is awaited, and what is lost
//! has a cause.

mod media;

use crosspatch::domain::audio::Codec;
use crosspatch::domain::floor::MissCause;
use crosspatch::domain::port::{GrantSign, Pacing, PortSpec, TransmitKeying, TransmitSpec};
use crosspatch::domain::report::Report;
use crosspatch::wire::rtp_extension::{Elements, Keying};
use media::{Bench, numbered, phone, radio};

fn transmitter(change: impl Fn(&mut TransmitSpec)) -> PortSpec {
    let mut port = radio(2, Codec::Pcmu);
    change(&mut port.transmit);
    port
}

/// Payloads that our own signs do not look like.
fn speech(bench: &Bench) -> Vec<u8> {
    bench.heads(2).into_iter().filter(|head| *head != 0xff).collect()
}

fn sign(granted: bool, busy: bool) -> Elements {
    Elements { keying: Some(Keying { granted, busy, ..Keying::default() }), ..Elements::default() }
}

/// A packet of the gateway that carries only signs: it is receiving nothing.
fn tell(bench: &mut Bench, elements: Elements) {
    let header = bench.next_header(2);
    bench.send(2, media::address_of(2), &header, &[], &elements);
    bench.lose(2, 1);
    bench.flush();
}

#[test]
fn all_speech_waits_for_a_grant_by_time_and_is_played_in_order() {
    let ports = [phone(1, Codec::Pcmu), transmitter(|transmit| transmit.grant = GrantSign::AfterMs(400))];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 15, numbered);
    assert!(speech(&bench).is_empty());
    bench.talk_for(1, 30, |at| numbered(at + 15));
    bench.pass_ms(1_500);
    assert_eq!(speech(&bench), (0..45).collect::<Vec<u8>>());
    let outcome = bench.outcome_of(2).unwrap();
    assert_eq!((outcome.heard_ms, outcome.missed_ms), (900, 0));
}

#[test]
fn lag_falls_only_by_leaving_out_packets_without_speech() {
    let ports = [phone(1, Codec::Pcmu), transmitter(|transmit| transmit.grant = GrantSign::AfterMs(600))];
    let mut bench = Bench::patched(&ports);
    let silent = |at: usize| (40..80).contains(&at);
    bench.talk_for(1, 120, |at| if silent(at) { vec![0xff; 160] } else { numbered(at) });
    bench.pass_ms(2_000);
    let spoken = speech(&bench);
    assert_eq!(spoken, (0..120).filter(|at| !silent(usize::from(*at))).collect::<Vec<u8>>(), "a word was dropped");
    let pause = bench.heard(2).len() - spoken.len();
    assert!((15..40).contains(&pause), "{pause} of 40 silent packets were played");
    let sequences: Vec<_> = bench.heard(2).iter().map(|packet| packet.header.sequence).collect();
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "what was left out shows as a loss");
}

#[test]
fn a_signalled_grant_is_waited_for_and_speech_follows_at_once() {
    let ports = [
        phone(1, Codec::Pcmu),
        transmitter(|transmit| {
            transmit.grant = GrantSign::Signalled;
            transmit.keying = TransmitKeying::Ext;
        }),
    ];
    let mut bench = Bench::patched(&ports);
    bench.forget();
    bench.talk_for(1, 10, numbered);
    assert!(speech(&bench).is_empty());
    assert!(bench.heard(2).iter().all(|packet| packet.elements.keying.is_some_and(|keying| keying.ptt)));
    tell(&mut bench, sign(true, false));
    bench.pass_ms(400);
    assert_eq!(speech(&bench), (0..10).collect::<Vec<u8>>());
    bench.pass_ms(600);
    let unkeys =
        bench.heard(2).iter().rev().take_while(|packet| packet.elements.keying.is_some_and(|keying| !keying.ptt));
    assert!(unkeys.count() >= 3, "the end of the key was told too seldom");
}

#[test]
fn a_transmitter_that_denies_twice_is_missed_and_never_played_late() {
    let ports = [
        phone(1, Codec::Pcmu),
        transmitter(|transmit| {
            transmit.grant = GrantSign::Signalled;
            transmit.keying = TransmitKeying::Ext;
        }),
    ];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 5, numbered);
    tell(&mut bench, sign(false, true));
    bench.talk_for(1, 20, numbered);
    tell(&mut bench, sign(false, true));
    bench.talk_for(1, 5, numbered);
    tell(&mut bench, sign(true, false));
    bench.pass_ms(1_000);
    assert!(speech(&bench).is_empty());
    let outcome = bench.outcome_of(2).unwrap();
    assert_eq!((outcome.heard_ms, outcome.missed_ms, outcome.missed), (0, 600, Some(MissCause::TransmitDenied)));
}

#[test]
fn speech_waits_while_the_half_duplex_radio_receives_and_is_missed_by_name_if_that_takes_too_long() {
    let ports = [phone(1, Codec::Pcmu), radio(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    // The radio's own talker has the channel.
    bench.talk_for(2, 3, numbered);
    for at in 0..10 {
        bench.talk(2, &numbered(at));
        bench.talk(1, &numbered(at));
        bench.tick();
    }
    assert!(bench.heard(2).is_empty(), "it was keyed while it received");
    bench.pass_ms(1_000);
    assert_eq!(speech(&bench).len(), 10, "what waited for a clear channel was not played");
    bench.forget();
    bench.pass_ms(500);
    for at in 0..150 {
        bench.talk(2, &numbered(at));
        if at < 20 {
            bench.talk(1, &numbered(at));
        }
        bench.tick();
    }
    assert!(speech(&bench).is_empty());
    bench.pass_ms(1_000);
    let outcome = bench.outcome_of(2).unwrap();
    assert_eq!((outcome.missed_ms, outcome.missed), (400, Some(MissCause::Receiving)));
}

#[test]
fn a_paced_port_gets_one_packet_each_packet_time() {
    let ports = [phone(1, Codec::Pcmu), transmitter(|transmit| transmit.pacing = Pacing::Paced)];
    let mut bench = Bench::patched(&ports);
    for at in 0..6 {
        bench.talk(1, &numbered(at));
    }
    bench.pass_ms(200);
    let times: Vec<_> = bench.heard(2).iter().map(|packet| packet.at_ms).collect();
    assert_eq!(times.len(), 6);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 20), "{times:?}");
}

#[test]
fn a_key_stands_from_the_first_word_to_the_end_of_the_tail() {
    let keyed = transmitter(|transmit| (transmit.keying, transmit.tail_ms) = (TransmitKeying::Ext, 300));
    let mut bench = Bench::patched(&[phone(1, Codec::Pcmu), keyed]);
    bench.pass_ms(200);
    bench.forget();
    bench.talk(1, &numbered(0));
    let said_ms = bench.now.as_millis();
    bench.pass_ms(2_000);
    let is_keyed = |packet: &&media::Arrived| packet.elements.keying.is_some_and(|keying| keying.ptt);
    let (first, last) = (bench.heard(2).iter().find(is_keyed).unwrap(), bench.heard(2).iter().rfind(is_keyed).unwrap());
    let dropped = bench.heard(2).iter().find(|packet| !is_keyed(packet)).unwrap();
    assert!(first.at_ms == said_ms && dropped.at_ms > last.at_ms);
    // Presence ends after 300 ms, and then the tail begins.
    let stood_ms = dropped.at_ms - said_ms;
    assert!((600..700).contains(&stood_ms), "dropped after {stood_ms} ms");
}

#[test]
fn silence_held_behind_the_last_word_does_not_keep_a_transmitter_up() {
    let late = PortSpec {
        payloads: radio(2, Codec::L16).payloads,
        ..transmitter(|transmit| transmit.grant = GrantSign::AfterMs(600))
    };
    let mut bench = Bench::patched(&[phone(1, Codec::Pcmu), late]);
    // Presence ends 300 ms after the last packet: until then the mix goes on.
    bench.talk_for(1, 20, numbered);
    let mut heard_when_told = None;
    for _ in 0..150 {
        bench.tick();
        if bench.outcome_of(2).is_some() {
            heard_when_told.get_or_insert(bench.heard(2).len());
        }
    }
    assert_eq!(Some(bench.heard(2).len()), heard_when_told, "packets after the last word");
    assert!(bench.heard(2).len() >= 20);
}

#[test]
fn events_frame_the_burst_of_a_gateway_that_keys_by_them() {
    let ports = [phone(1, Codec::Pcmu), transmitter(|transmit| transmit.keying = TransmitKeying::Event)];
    let mut bench = Bench::patched(&ports);
    bench.forget();
    bench.talk_for(1, 3, numbered);
    bench.pass_ms(1_000);
    let seen: Vec<(u8, u8)> =
        bench.heard(2).iter().map(|packet| (packet.header.payload_type, packet.payload[0])).collect();
    assert_eq!(
        seen,
        [
            (101, 10),
            (101, 10),
            (101, 10),
            (101, 10),
            (0, 0),
            (0, 1),
            (0, 2),
            (101, 11),
            (101, 11),
            (101, 11),
            (101, 11)
        ]
    );
}

#[test]
fn a_transmitters_own_talk_limit_ends_what_it_sends_but_nobody_elses_hearing() {
    let ports = [phone(1, Codec::Pcmu), transmitter(|transmit| transmit.talk_limit_ms = 300), phone(3, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 30, numbered);
    bench.pass_ms(600);
    assert_eq!(bench.heard(3).len(), 30);
    assert!((14..=17).contains(&bench.heard(2).len()), "{}", bench.heard(2).len());
    assert_eq!(bench.outcome_of(2).unwrap().missed, Some(MissCause::TalkLimit));
}

#[test]
fn a_gateway_that_denied_is_not_preferred_for_the_next_burst() {
    let mut first = transmitter(|transmit| {
        transmit.grant = GrantSign::Signalled;
        transmit.keying = TransmitKeying::Ext;
    });
    let second = radio(3, Codec::Pcmu);
    first.group = second.group;
    let group = second.group.unwrap().0;
    let ports = [phone(1, Codec::Pcmu), first, second];
    let mut bench = Bench::patched(&ports);
    bench.order([media::group(group, &[2, 3])]);
    bench.talk_for(1, 5, numbered);
    tell(&mut bench, sign(false, true));
    bench.talk_for(1, 20, numbered);
    tell(&mut bench, sign(false, true));
    bench.pass_ms(600);
    assert!(bench.heard(3).is_empty(), "it failed over within a burst");
    bench.talk_for(1, 3, numbered);
    assert_eq!(bench.heard(3).len(), 3);
    assert!(bench.reports.iter().any(|report| matches!(report, Report::TransmitMoved { .. })));
}

#[test]
fn a_burst_is_told_when_nothing_of_it_is_held_though_the_next_one_waits_behind_it() {
    let radio = transmitter(|transmit| transmit.grant = GrantSign::AfterMs(600));
    let ports = [phone(1, Codec::Pcmu), radio, phone(3, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 5, numbered);
    bench.pass_ms(320);
    bench.talk_for(3, 60, |_| vec![0x21; 160]);
    assert!(bench.heads(2).len() < 65, "the second one waits");
    let outcome = bench.outcome_of(2).map(|outcome| (outcome.heard_ms, outcome.missed_ms));
    assert_eq!(outcome, Some((100, 0)), "of the first one nothing is left to play");
}
