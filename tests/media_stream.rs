//! One listening stream, many sources: a decoder that goes on from what it has heard (G.722) meets one coder that does
//! so too, and is put to rest where it cannot.

mod media;

use crosspatch::domain::audio::Codec;
use crosspatch::domain::order::Order;
use crosspatch::domain::port::{GrantSign, PortSpec, TransmitKeying};
use crosspatch::media::silence::between;
use media::sound::{PEAK, Tone, decoded, talk_together};
use media::{Bench, leg, patch, phone};

/// The loudest sample of a stream (dB against its talkers).
fn loudest_db(sound: &[i16]) -> f32 {
    let peak = sound.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    20.0 * (f32::from(peak.max(1)) / PEAK).log10()
}

fn rests(bench: &Bench, port: &PortSpec) -> usize {
    let rest = between(port.payloads[0].format.codec).expect("a law whose decoders go on");
    bench.payloads(port.port.0).iter().filter(|payload| payload.as_slice() == rest).count()
}

/// Bursts of whoever talks, each cut off in mid-tone, with pauses between.
fn talk_in_turn(bench: &mut Bench, talkers: &[&PortSpec], turns: usize) {
    for turn in 0..turns {
        let talker = talkers[turn % talkers.len()];
        talk_together(bench, &mut [Tone::new(talker, 450.0 + 50.0 * (turn % 5) as f32)], 13 + turn);
        bench.pass_ms(900);
    }
}

#[test]
fn a_g722_listener_hears_burst_after_burst_without_an_overshoot() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::L16), phone(3, Codec::G722)];
    let mut bench = Bench::patched(&ports);
    talk_in_turn(&mut bench, &[&ports[0], &ports[1]], 12);
    let level = loudest_db(&decoded(&bench, &ports[2]));
    assert!((-1.0..3.0).contains(&level), "{level:.1} dB");
    assert_eq!(rests(&bench, &ports[2]), 0, "one coder needs no rest");
}

#[test]
fn a_g722_listener_that_joins_a_mix_late_hears_it_without_an_overshoot() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::G722), phone(4, Codec::G722)];
    let mut bench = Bench::new();
    bench.open(&ports);
    let join = |port: &PortSpec| Order::Join(leg(1, port));
    bench.order([Order::OpenPatch(patch(1)), join(&ports[0]), join(&ports[1]), join(&ports[2])]);
    bench.order([Order::OpenPatch(patch(2)), Order::Join(leg(2, &ports[1])), Order::Join(leg(2, &ports[3]))]);
    // The fourth has a history of its own, and comes to the third's mix in mid-speech.
    talk_in_turn(&mut bench, &[&ports[1]], 3);
    let mut tones = [Tone::new(&ports[0], 500.0)];
    for round in 0..6 {
        talk_together(&mut bench, &mut tones, 21 + round);
        bench.order([join(&ports[3])]);
        talk_together(&mut bench, &mut tones, 21);
        bench.order([Order::Leave(leg(1, &ports[3]).leg)]);
    }
    // Twenty cuts in mid-tone, each a decoder that was put to rest where it stood.
    for (port, most) in [(&ports[2], 3.0), (&ports[3], 6.0)] {
        let level = loudest_db(&decoded(&bench, port));
        assert!((-1.0..most).contains(&level), "{:?}: {level:.1} dB", port.port);
    }
    assert_eq!(rests(&bench, &ports[2]), 0, "whoever else comes and goes is nothing to it");
    assert!(rests(&bench, &ports[3]) > 0, "what was coded for it and cut was not heard");
}

#[test]
fn a_rest_goes_between_a_relayed_talker_and_sound_of_ours_in_g722() {
    let ports = [phone(1, Codec::G722), phone(2, Codec::Pcmu), phone(3, Codec::G722)];
    let mut bench = Bench::patched(&ports);
    talk_in_turn(&mut bench, &[&ports[0], &ports[1], &ports[1], &ports[0], &ports[0]], 5);
    // Before the first and the last change of source; the same source goes on as it is.
    assert_eq!(rests(&bench, &ports[2]), 2);
    let relayed = bench.heard(3)[0].payload.clone();
    assert_ne!(relayed, between(Codec::G722).unwrap(), "a stream begins with speech");
}

#[test]
fn key_signs_in_g722_that_overtake_what_is_held_make_no_overshoot() {
    let mut keyed = phone(2, Codec::G722);
    (keyed.transmit.keying, keyed.transmit.grant) = (TransmitKeying::Ext, GrantSign::AfterMs(200));
    keyed.transmit.hold_max_ms = 2_000;
    let ports = [phone(1, Codec::Pcmu), keyed];
    let mut bench = Bench::patched(&ports);
    talk_in_turn(&mut bench, &[&ports[0]], 12);
    let level = loudest_db(&decoded(&bench, &ports[1]));
    assert!((-1.0..6.0).contains(&level), "{level:.1} dB");
}
