//! Ears whose packets are longer than a tick: what is in an unfinished packet obeys cuts and audiences, nothing that
//! was said is left in it, and its time is true.

mod media;

use crosspatch::domain::audio::{Codec, Format, MIX_FRAME};
use crosspatch::domain::floor::MissCause;
use crosspatch::domain::order::{LegSpec, Order};
use crosspatch::domain::port::{GrantSign, PortSpec};
use media::sound::{Tone, decoded, level_db, talk_together};
use media::{Bench, leg, patch, phone};

/// A telephone that gets 60 ms in each packet.
fn slow(number: u128) -> PortSpec {
    let mut port = phone(number, Codec::Pcmu);
    port.payloads[0].format = Format { packet_ms: 60, ..port.payloads[0].format };
    port
}

/// The loudest 20 ms of a tone (dB against its talker).
fn loudest(sound: &[i16], hz: f32) -> f32 {
    sound.chunks_exact(MIX_FRAME).map(|frame| level_db(frame, hz)).fold(f32::MIN, f32::max)
}

/// What a port gets after an order that comes in each part of a packet in turn.
fn after_order(ports: &[PortSpec], orders: &[Order], still: usize, listener: &PortSpec) -> Vec<Vec<i16>> {
    let cut = |phase: usize| {
        let mut bench = Bench::patched(ports);
        let mut tones = [Tone::new(&ports[0], 500.0), Tone::new(&ports[1], 1_300.0)];
        talk_together(&mut bench, &mut tones, 30 + phase);
        assert!(level_db(&decoded(&bench, listener), 500.0) > -6.0, "not heard before");
        bench.forget();
        bench.order(orders.iter().cloned());
        talk_together(&mut bench, &mut tones[still..], 12);
        decoded(&bench, listener)
    };
    (0..3).map(cut).collect()
}

#[test]
fn a_cut_takes_what_an_unfinished_packet_holds_of_the_talker() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), slow(3)];
    for sound in after_order(&ports, &[Order::Leave(leg(1, &ports[0]).leg)], 1, &ports[2]) {
        let levels = [500.0, 1_300.0].map(|hz| loudest(&sound, hz));
        assert!(levels[0] < -20.0 && levels[1] > -2.0, "cut and not cut: {levels:?}");
    }
}

#[test]
fn a_cut_also_takes_it_from_a_transmitter_that_waits() {
    let mut held = slow(3);
    (held.transmit.grant, held.transmit.hold_max_ms) = (GrantSign::AfterMs(100), 2_000);
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), held];
    for sound in after_order(&ports, &[Order::Leave(leg(1, &ports[0]).leg)], 1, &ports[2]) {
        let levels = [500.0, 1_300.0].map(|hz| loudest(&sound, hz));
        assert!(levels[0] < -20.0 && levels[1] > -2.0, "cut and not cut: {levels:?}");
    }
}

/// An Opus encoder looks back: what it makes of silence begins with what it heard before.
#[test]
fn a_cut_also_takes_what_an_encoder_remembers() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Opus)];
    for sound in after_order(&ports, &[Order::Leave(leg(1, &ports[0]).leg)], 1, &ports[2]) {
        let levels = [500.0, 1_300.0].map(|hz| loudest(&sound, hz));
        assert!(levels[0] < -20.0 && levels[1] > -2.0, "cut and not cut: {levels:?}");
    }
}

/// One talker whose packets need only be put together; another speaks before the next tick.
#[test]
fn whoever_speaks_next_does_not_finish_the_packet_of_a_talker_who_was_cut() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), slow(3)];
    for phase in 0..3 {
        let mut bench = Bench::patched(&ports);
        let mut tones = [Tone::new(&ports[0], 500.0), Tone::new(&ports[1], 1_300.0)];
        talk_together(&mut bench, &mut tones[..1], 30 + phase);
        bench.forget();
        bench.order([Order::Leave(leg(1, &ports[0]).leg)]);
        // All at once, so that it is played from the next tick on.
        for _ in 0..12 {
            tones[1].say(&mut bench);
        }
        bench.pass_ms(300);
        let sound = decoded(&bench, &ports[2]);
        let levels = [500.0, 1_300.0].map(|hz| loudest(&sound, hz));
        assert!(levels[0] < -20.0 && levels[1] > -2.0, "phase {phase}, cut and not cut: {levels:?}");
    }
}

#[test]
fn others_hear_on_what_one_listener_was_cut_off_from() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), slow(3), slow(4)];
    let narrowed = LegSpec { audience: !(1 << 1), ..leg(1, &ports[2]) };
    for (listener, cut) in [(2, true), (3, false)] {
        for sound in after_order(&ports, &[Order::Join(narrowed)], 0, &ports[listener]) {
            let levels = [500.0, 1_300.0].map(|hz| loudest(&sound, hz));
            assert_eq!(levels[0] < -20.0, cut, "{levels:?}");
            assert!(levels[1] > -2.0, "{levels:?}");
            let gaps = sound.chunks_exact(MIX_FRAME).filter(|frame| level_db(frame, 1_300.0) < -6.0).count();
            assert!(cut || gaps == 0, "{gaps} frames are missing where nothing was cut");
        }
    }
}

#[test]
fn nobody_joins_a_packet_in_which_somebody_sounds_whom_it_may_not_hear() {
    let mut ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), slow(3), slow(4)];
    // The first one's end is played when it has lost the floor, and its last packet is not yet full.
    ports[0].receive.talk_limit_ms = 500;
    let first = LegSpec { audience: !(1 << 4), ..leg(1, &ports[0]) };
    for joins_at in 20..40 {
        let mut bench = Bench::new();
        bench.open(&ports);
        bench.order([Order::OpenPatch(patch(1))]);
        bench.order([first, leg(1, &ports[1]), leg(1, &ports[2])].map(Order::Join));
        let mut tones = [Tone::new(&ports[0], 500.0), Tone::new(&ports[1], 1_300.0)];
        talk_together(&mut bench, &mut tones, joins_at);
        bench.order([Order::Join(leg(1, &ports[3]))]);
        talk_together(&mut bench, &mut tones, 20);
        let levels = [500.0, 1_300.0].map(|hz| loudest(&decoded(&bench, &ports[3]), hz));
        assert!(levels[0] < -20.0 && levels[1] > -2.0, "joined at {joins_at}: {levels:?}");
    }
}

#[test]
fn the_last_words_of_a_burst_are_not_left_in_an_unfinished_packet() {
    for packets in 36..42 {
        let ports = [phone(1, Codec::Pcmu), slow(2), phone(3, Codec::L16)];
        let mut bench = Bench::patched(&ports);
        let mut tone = Tone::new(&ports[0], 700.0);
        // All at once: most of it is played after its talker has ended.
        (0..packets).for_each(|_| tone.say(&mut bench));
        bench.pass_ms(2_000);
        let [slow, usual] = [2, 3].map(|port| bench.outcome_of(port).unwrap());
        assert_eq!((slow.heard_ms, slow.missed_ms), (usual.heard_ms, 0), "{packets} packets");
        let loud = |port: &PortSpec| decoded(&bench, port).iter().filter(|sample| sample.unsigned_abs() > 400).count();
        let (slow, usual) = (loud(&ports[1]), loud(&ports[2]));
        assert!(
            slow.abs_diff(usual) < MIX_FRAME / 2 && usual > 20 * MIX_FRAME,
            "{slow} loud samples, {usual} elsewhere"
        );
    }
}

#[test]
fn a_packet_that_was_cut_short_was_missed_by_that_name() {
    let ports = [phone(1, Codec::Pcmu), slow(2)];
    let missed = |phase: usize| {
        let mut bench = Bench::patched(&ports);
        talk_together(&mut bench, &mut [Tone::new(&ports[0], 700.0)], 30 + phase);
        bench.order([Order::Leave(leg(1, &ports[0]).leg)]);
        bench.pass_ms(500);
        let outcome = bench.outcome_of(2).unwrap();
        assert_eq!(outcome.missed, Some(MissCause::Cut));
        outcome.missed_ms
    };
    let mut missed: Vec<u32> = (0..3).map(missed).collect();
    missed.sort_unstable();
    assert_eq!(missed, [0, 20, 40]);
}

#[test]
fn timestamps_tell_when_a_packet_was_due_over_cuts_and_changes_of_talkers() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(4, Codec::Pcmu), slow(3)];
    let mut bench = Bench::patched(&ports);
    let mut tones = [Tone::new(&ports[0], 500.0), Tone::new(&ports[1], 1_300.0), Tone::new(&ports[2], 2_000.0)];
    for round in 0..9 {
        talk_together(&mut bench, &mut tones, 20 + round % 3);
        bench.order([Order::Leave(leg(1, &ports[round % 2]).leg)]);
        talk_together(&mut bench, &mut tones[2..], 7 + round % 4);
        bench.order([Order::Join(leg(1, &ports[round % 2]))]);
    }
    bench.pass_ms(5_000);
    talk_together(&mut bench, &mut tones, 20);
    let heard = bench.heard(3);
    let (first, last) = (&heard[0], &heard[heard.len() - 1]);
    assert!(heard.len() > 80, "{} packets", heard.len());
    for packet in heard {
        let passed_ms = packet.at_ms - first.at_ms;
        let told_ms = u64::from(packet.header.timestamp.wrapping_sub(first.header.timestamp)) / 8;
        assert!(told_ms.abs_diff(passed_ms) <= 60, "{told_ms} ms told, {passed_ms} ms passed");
    }
    assert!(last.at_ms - first.at_ms > 8_000);
}
