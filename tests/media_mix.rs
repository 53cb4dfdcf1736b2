//! Mixing and transcoding by content: what is decoded from the packets a listener got holds the talkers' tones, at
//! their level, and never its own.

mod media;

use crosspatch::domain::audio::{Codec, Format, Gain, MIX_FRAME};
use crosspatch::domain::floor::{FloorPolicy, MissCause};
use crosspatch::domain::order::{LegSpec, Order, PatchSpec};
use crosspatch::domain::port::{GrantSign, Overlap, PortRole, PortSpec, TransmitKeying};
use crosspatch::domain::report::{MediaLimit, Report};
use crosspatch::media::limits::ShardLimits;
use crosspatch::media::silence::OPUS_SILENCE;
use media::sound::{Tone, decoded, level_db, settled, talk_together};
use media::{Bench, leg, patch, phone, radio};

#[test]
fn every_codec_is_heard_in_every_other_at_its_level() {
    let codecs = [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::L16];
    for talking in codecs {
        let mut ports = vec![phone(1, talking)];
        ports.extend(codecs.iter().enumerate().map(|(at, codec)| phone(2 + at as u128, *codec)));
        let mut bench = Bench::patched(&ports);
        let mut tones = [Tone::new(&ports[0], 700.0)];
        talk_together(&mut bench, &mut tones, 100);
        for port in &ports[1..] {
            let sound = decoded(&bench, port);
            let level = level_db(settled(&sound), 700.0);
            assert!(level.abs() < 1.5, "{talking:?} to {:?}: {level:.1} dB", port.payloads[0].format.codec);
        }
    }
}

#[test]
fn a_g711_and_an_opus_talker_are_both_heard_by_an_l16_listener_at_their_level() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Opus), phone(3, Codec::L16)];
    let mut bench = Bench::patched(&ports);
    let mut tones = [Tone::new(&ports[0], 500.0), Tone::new(&ports[1], 1_300.0)];
    talk_together(&mut bench, &mut tones, 100);
    let sound = decoded(&bench, &ports[2]);
    let levels = [500.0, 1_300.0, 900.0].map(|hz| level_db(settled(&sound), hz));
    assert!(levels[0].abs() < 1.5 && levels[1].abs() < 1.5, "{levels:?}");
    assert!(levels[2] < -40.0, "something else sounds: {levels:?}");
}

#[test]
fn a_talker_hears_the_others_and_not_itself() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::G722), phone(3, Codec::L16)];
    let mut bench = Bench::patched(&ports);
    let mut tones = [Tone::new(&ports[0], 500.0), Tone::new(&ports[1], 1_300.0)];
    talk_together(&mut bench, &mut tones, 100);
    let (one, two) = (decoded(&bench, &ports[0]), decoded(&bench, &ports[1]));
    assert!(level_db(settled(&one), 1_300.0).abs() < 1.5 && level_db(settled(&one), 500.0) < -40.0);
    assert!(level_db(settled(&two), 500.0).abs() < 1.5 && level_db(settled(&two), 1_300.0) < -40.0);
}

#[test]
fn gain_of_the_listeners_leg_and_trim_of_the_talkers_port_add_up() {
    let mut ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    ports[0].trim = Gain(-300);
    let mut bench = Bench::new();
    bench.open(&ports);
    bench.order([
        Order::OpenPatch(patch(1)),
        Order::Join(leg(1, &ports[0])),
        Order::Join(LegSpec { gain: Gain(600), ..leg(1, &ports[1]) }),
        Order::Join(leg(1, &ports[2])),
    ]);
    let mut tones = [Tone::new(&ports[0], 700.0)];
    talk_together(&mut bench, &mut tones, 100);
    let levels = [1, 2].map(|at: usize| level_db(settled(&decoded(&bench, &ports[at])), 700.0));
    assert!((levels[0] - 3.0).abs() < 1.0 && (levels[1] + 3.0).abs() < 1.0, "{levels:?}");
}

#[test]
fn equal_listeners_share_one_encoder_however_many_they_are() {
    let mut ports = vec![phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
    ports.extend((3..33).map(|number| phone(number, Codec::Opus)));
    let mut bench = Bench::patched(&ports);
    let mut tones = [Tone::new(&ports[0], 500.0), Tone::new(&ports[1], 1_300.0)];
    talk_together(&mut bench, &mut tones, 50);
    let counters = bench.counters();
    // Two talkers hear one another, thirty hear both.
    assert!(counters.encoded <= 3 * 50, "{} frames encoded", counters.encoded);
    assert!(counters.decoded <= 2 * 50, "{} frames decoded", counters.decoded);
    assert!(counters.mixed > 30 * 40, "{} packets", counters.mixed);
}

#[test]
fn a_second_talker_moves_a_listener_from_relay_to_mix_and_it_stays_there() {
    let ports = [phone(1, Codec::Opus), phone(2, Codec::Opus), phone(3, Codec::Opus)];
    let mut bench = Bench::patched(&ports);
    let (mut one, mut two) = (Tone::new(&ports[0], 500.0), Tone::new(&ports[1], 1_300.0));
    for at in 0..150 {
        one.say(&mut bench);
        if (50..80).contains(&at) {
            two.say(&mut bench);
        }
        bench.tick();
    }
    // The listener until the second talker keys, each talker the other all the time.
    assert_eq!(bench.counters().relayed, 51 + 150 + 30);
    let sound = decoded(&bench, &ports[2]);
    assert!(level_db(settled(&sound), 500.0).abs() < 1.5);
}

#[test]
fn the_last_words_of_a_mixed_burst_are_played_after_it_has_ended() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::L16)];
    let mut bench = Bench::patched(&ports);
    let mut tones = [Tone::new(&ports[0], 700.0)];
    talk_together(&mut bench, &mut tones, 50);
    bench.pass_ms(1_000);
    let sound = decoded(&bench, &ports[1]);
    let loud = sound.iter().filter(|sample| sample.unsigned_abs() > 400).count();
    assert!(loud > 50 * 280, "{loud} loud samples of {}", 50 * 320);
    let outcome = bench.outcome_of(2).unwrap();
    assert!(outcome.heard_ms >= 1_000 && outcome.missed_ms == 0, "{outcome:?}");
    let before = bench.heard(2).len();
    bench.pass_ms(2_000);
    assert_eq!(bench.heard(2).len(), before, "packets outside a burst");
}

#[test]
fn a_radio_that_needs_another_codec_hears_one_voice() {
    let ports = [phone(1, Codec::L16), phone(2, Codec::L16), radio(3, Codec::Pcmu)];
    assert_eq!(ports[2].transmit.overlap, Overlap::One);
    let mut bench = Bench::patched(&ports);
    let mut tones = [Tone::new(&ports[0], 500.0), Tone::new(&ports[1], 1_300.0)];
    talk_together(&mut bench, &mut tones, 100);
    let sound = decoded(&bench, &ports[2]);
    assert!(level_db(settled(&sound), 500.0).abs() < 1.5);
    assert!(level_db(settled(&sound), 1_300.0) < -40.0, "two voices on a radio");
}

#[test]
fn other_packet_times_are_heard_whole() {
    let mut slow = phone(2, Codec::Pcmu);
    slow.payloads[0].format = Format { packet_ms: 60, ..slow.payloads[0].format };
    let mut quick = phone(3, Codec::L16);
    quick.payloads[0].format = Format { packet_ms: 10, ..quick.payloads[0].format };
    let ports = [phone(1, Codec::Pcmu), slow, quick];
    let mut bench = Bench::patched(&ports);
    let mut tones = [Tone::new(&ports[0], 700.0)];
    talk_together(&mut bench, &mut tones, 120);
    for port in &ports[1..] {
        let level = level_db(settled(&decoded(&bench, port)), 700.0);
        assert!(level.abs() < 1.5, "{level}");
    }
}

#[test]
fn without_a_decoder_left_a_listener_misses_by_name_and_a_relay_goes_on() {
    let limits = ShardLimits { decoders: 1, ..ShardLimits::small() };
    let mut bench = Bench::with_shards(1, &limits);
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::L16), phone(4, Codec::Opus)];
    bench.open(&ports);
    bench.order([Order::OpenPatch(patch(1)), Order::OpenPatch(patch(2))]);
    bench.order([leg(1, &ports[0]), leg(1, &ports[2]), leg(2, &ports[1]), leg(2, &ports[3])].map(Order::Join));
    let mut tones = [Tone::new(&ports[0], 500.0), Tone::new(&ports[1], 1_300.0)];
    talk_together(&mut bench, &mut tones, 50);
    assert!(bench.heard(3).len() > 40);
    assert!(bench.heard(4).is_empty());
    assert!(bench.counters().limits(MediaLimit::JitterBuffers) + bench.counters().limits(MediaLimit::Decoders) > 0);
    bench.pass_ms(1_000);
    assert_eq!(bench.outcome_of(4).unwrap().missed, Some(crosspatch::domain::floor::MissCause::Full));
    assert!(!bench.reports.iter().any(|report| matches!(report, Report::Denied { .. })));
    // The pool is whole again.
    talk_together(&mut bench, &mut tones[1..], 50);
    assert!(bench.heard(4).len() > 40);
}

/// Two listeners of one mix, one of which then hears less than the other.
#[test]
fn a_listener_that_goes_over_to_another_encoder_is_told_by_silence() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Opus), phone(4, Codec::Opus)];
    let mut bench = Bench::new();
    bench.open(&ports);
    // The fourth is outside the second's audience: it hears the first alone.
    let second = LegSpec { audience: 0b1110, ..leg(1, &ports[1]) };
    bench.order(
        std::iter::once(Order::OpenPatch(patch(1)))
            .chain([leg(1, &ports[0]), second, leg(1, &ports[2]), leg(1, &ports[3])].map(Order::Join)),
    );
    let mut tones = [Tone::new(&ports[0], 500.0), Tone::new(&ports[1], 1_300.0)];
    talk_together(&mut bench, &mut tones, 50);
    bench.forget();
    // The second lets go: both listeners hear the same from now on, and it is encoded once.
    talk_together(&mut bench, &mut tones[..1], 50);
    let silences = [3, 4].map(|port| bench.payloads(port).iter().filter(|payload| **payload == OPUS_SILENCE).count());
    assert_eq!(silences, [1, 0], "the third changed its encoder, the fourth did not");
    assert_eq!(bench.payloads(3).last(), bench.payloads(4).last(), "equal mixes are encoded once");
}

#[test]
fn what_was_relayed_is_not_said_again_by_the_mix_that_follows() {
    let ports = [phone(1, Codec::L16), phone(2, Codec::L16), phone(3, Codec::L16)];
    let mut bench = Bench::patched(&ports);
    let said = |at: u8| [0x10, at + 1].repeat(MIX_FRAME);
    for at in 0..60 {
        bench.talk(1, &said(at));
        if at >= 20 {
            bench.talk(2, &[0; 2 * MIX_FRAME]);
        }
        bench.tick();
    }
    let mut heard: Vec<Vec<u8>> = bench.payloads(3).into_iter().filter(|payload| payload[0] == 0x10).collect();
    let all = heard.len();
    assert!(all > 50, "only {all} of 60 frames were heard by then");
    heard.dedup();
    assert!(heard.len() == all && heard.is_sorted(), "a frame was heard twice");
}

#[test]
fn a_mixed_burst_was_heard_for_as_long_as_its_talker_spoke() {
    let ports = [phone(1, Codec::Pcmu), radio(2, Codec::L16), phone(3, Codec::Opus)];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 30, media::numbered);
    bench.pass_ms(3_000);
    for port in [2, 3] {
        let outcome = bench.outcome_of(port).unwrap();
        assert_eq!((outcome.heard_ms, outcome.missed_ms), (600, 0), "port {port}");
    }
}

#[test]
fn a_talker_past_its_limit_in_one_patch_is_not_decoded_on_for_its_ears_there() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::L16), phone(3, Codec::L16)];
    let mut bench = Bench::new();
    bench.open(&ports);
    let short = PatchSpec { floor: FloorPolicy { talk_limit_ms: 400, ..media::policy() }, ..patch(1) };
    bench.order([
        Order::OpenPatch(short),
        Order::OpenPatch(patch(2)),
        Order::Join(leg(1, &ports[0])),
        Order::Join(leg(1, &ports[1])),
        Order::Join(leg(2, &ports[0])),
        Order::Join(leg(2, &ports[2])),
    ]);
    bench.talk_for(1, 100, media::numbered);
    bench.pass_ms(1_000);
    let heard = [2, 3].map(|port| bench.outcome_of(port).unwrap().heard_ms);
    assert!((400..=440).contains(&heard[0]) && heard[1] == 2_000, "{heard:?}");
}

#[test]
fn a_cut_takes_held_frames_of_a_mix_whosever_else_they_carry() {
    let mut client = phone(3, Codec::L16);
    (client.transmit.grant, client.transmit.hold_max_ms) = (GrantSign::AfterMs(400), 2_000);
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), client];
    let mut bench = Bench::patched(&ports);
    let mut tones = [Tone::new(&ports[0], 500.0), Tone::new(&ports[1], 1_300.0)];
    talk_together(&mut bench, &mut tones, 15);
    assert!(decoded(&bench, &ports[2]).is_empty(), "its transmitter is not up yet");
    bench.order([Order::Leave(leg(1, &ports[1]).leg)]);
    talk_together(&mut bench, &mut tones[..1], 60);
    let sound = decoded(&bench, &ports[2]);
    let levels = [500.0, 1_300.0].map(|hz| level_db(&sound, hz));
    assert!(levels[0].abs() < 3.0 && levels[1] < -30.0, "{levels:?}");
}

#[test]
fn the_end_of_one_burst_and_the_next_ones_beginning_do_not_sound_together_on_a_radio() {
    let radio = PortSpec { role: PortRole::Client, group: None, ..radio(3, Codec::L16) };
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), radio];
    let mut bench = Bench::patched(&ports);
    let mut tones = [Tone::new(&ports[0], 500.0), Tone::new(&ports[1], 1_300.0)];
    // The first one's packets come late and all at once: its end is still buffered when the second one speaks.
    for _ in 0..40 {
        tones[0].say(&mut bench);
    }
    talk_together(&mut bench, &mut tones[1..], 60);
    bench.pass_ms(2_000);
    let sound = decoded(&bench, &ports[2]);
    let both =
        sound.chunks_exact(MIX_FRAME).filter(|frame| [500.0, 1_300.0].iter().all(|hz| level_db(frame, *hz) > -12.0));
    assert!(both.count() <= 2, "two voices at once");
    assert!(bench.outcomes().iter().any(|(_, outcome)| outcome.missed == Some(MissCause::OutRanked)));
}

#[test]
fn a_client_keyed_by_extension_is_not_let_go_between_the_last_frames_of_a_mix() {
    let mut client = phone(2, Codec::L16);
    client.transmit.keying = TransmitKeying::Ext;
    let mut bench = Bench::patched(&[phone(1, Codec::Pcmu), client]);
    // All at once: most of it is played after its talker has ended.
    for at in 0..40 {
        bench.talk(1, &media::numbered(at));
    }
    bench.pass_ms(2_000);
    let keyed = |packet: &media::Arrived| packet.elements.keying.is_some_and(|keying| keying.ptt);
    let keys: Vec<bool> = bench.heard(2).iter().map(keyed).collect();
    let changes = keys.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(keys.len() > 10 && changes <= 2, "its key changed {changes} times in {} packets", keys.len());
}
