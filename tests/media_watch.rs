//! Detectors and notices: what a shard sees is told, and nothing is done about it here.

#![expect(clippy::unwrap_used, reason = "a test that meets what it did not expect has failed")]

mod media;
mod voice;

use crosspatch::domain::audio::{Codec, Frame, MIX_FRAME};
use crosspatch::domain::floor::FloorPolicy;
use crosspatch::domain::order::{LegSpec, Notice, Order, PatchSpec};
use crosspatch::domain::port::{PortSpec, ReceiveKeying, TransmitKeying};
use crosspatch::domain::report::{Report, Suspicion};
use crosspatch::media::codec::{Encoder, PAYLOAD_BYTES_MAX};
use crosspatch::wire::rtp_extension::{Elements, FloorNotice, Keying};
use media::{Bench, leg, patch, phone, policy, port_id, radio};
use voice::speech;

fn suspicions(bench: &Bench) -> Vec<(u128, Suspicion)> {
    let seen =
        |report: &Report| if let Report::Suspected { port, of, .. } = report { Some((port.0, *of)) } else { None };
    bench.reports.iter().filter_map(seen).collect()
}

/// 20 ms each, in a port's codec.
fn encoded(port: &PortSpec, sound: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(port.payloads[0].format).unwrap();
    let mut payload = [0; PAYLOAD_BYTES_MAX];
    sound
        .chunks_exact(MIX_FRAME)
        .map(|chunk| {
            let frame: Frame = chunk.try_into().unwrap();
            encoder.push(&frame);
            let length = encoder.pull(&mut payload).unwrap();
            payload[..length].to_vec()
        })
        .collect()
}

#[test]
fn speech_that_comes_back_from_a_port_it_was_sent_to_is_told_with_its_delay() {
    let ports = [phone(1, Codec::L16), phone(2, Codec::L16), phone(3, Codec::L16)];
    let mut bench = Bench::patched(&ports);
    let packets = encoded(&ports[0], &speech(3, 300));
    let softer: Vec<i16> = speech(3, 300).iter().map(|sample| sample / 4).collect();
    let back = encoded(&ports[1], &softer);
    for (at, packet) in packets.iter().enumerate() {
        bench.talk(1, packet);
        if let Some(late) = at.checked_sub(25) {
            bench.talk(2, &back[late]);
        }
        bench.tick();
    }
    let seen = suspicions(&bench);
    let Some((2, Suspicion::Returns { delay_ms, down, generations: 1 })) = seen.first() else {
        unreachable!("{seen:?}")
    };
    assert!((460..=540).contains(delay_ms) && (9..=15).contains(&down.0), "{seen:?}");
    assert!(bench.heard(3).len() > 250, "a detector acted");
}

#[test]
fn an_answer_is_no_return() {
    let ports = [phone(1, Codec::L16), phone(2, Codec::L16)];
    let mut bench = Bench::patched(&ports);
    let (question, answer) = (encoded(&ports[0], &speech(3, 200)), encoded(&ports[1], &speech(9, 200)));
    for packet in &question {
        bench.talk(1, packet);
        bench.tick();
    }
    for packet in &answer {
        bench.talk(2, packet);
        bench.tick();
    }
    assert_eq!(suspicions(&bench), []);
}

#[test]
fn a_receiver_that_stays_open_without_a_word_is_told_for_as_long_as_it_does() {
    let ports = [radio(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 1_300, |_| vec![0xff; 160]);
    let seen = suspicions(&bench);
    assert!(matches!(seen[..], [(1, Suspicion::StuckReceiver { keyed_ms })] if keyed_ms >= 20_000), "{seen:?}");
    // Its talk limit ends what is heard of it; it is stuck all the same.
    bench.talk_for(1, 5_000, |_| vec![0xff; 160]);
    let stuck_ms: Vec<u32> = suspicions(&bench)
        .iter()
        .map(|(_, of)| if let Suspicion::StuckReceiver { keyed_ms } = of { *keyed_ms } else { 0 })
        .collect();
    assert!(stuck_ms.windows(2).all(|pair| (30_000..31_000).contains(&(pair[1] - pair[0]))), "{stuck_ms:?}");
    assert_eq!(stuck_ms.len(), 4);
    bench.pass_ms(400);
    bench.forget();
    bench.pass_ms(60_000);
    assert_eq!(suspicions(&bench), [], "it has let go");
}

#[test]
fn two_ports_that_key_each_other_without_a_word_are_told() {
    let ports = [radio(1, Codec::Pcmu), radio(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    for turn in 0..10 {
        bench.talk_for(1 + turn % 2, 5, |_| vec![0xff; 160]);
        bench.pass_ms(900);
    }
    assert!(suspicions(&bench).iter().any(|(_, of)| matches!(of, Suspicion::PingPong { .. })));
}

#[test]
fn a_notice_sounds_at_its_own_port_only_and_never_over_speech() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), phone(3, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    bench.talk_for(1, 3, |_| vec![0x21; 160]);
    bench.order([Order::Announce { port: port_id(2), notice: Notice::Linked }]);
    bench.talk_for(1, 3, |_| vec![0x21; 160]);
    assert!(bench.heads(2).iter().all(|head| *head == 0x21), "a tone over speech");
    bench.pass_ms(1_000);
    let tone = bench.heard(2).len() - 6;
    assert!((10..=14).contains(&tone), "{tone} packets of a tone of 240 ms");
    assert_eq!((bench.heard(1).len(), bench.heard(3).len()), (0, 6));
    // Speech takes the channel from a notice.
    bench.order([Order::Announce { port: port_id(2), notice: Notice::Unlinked }]);
    bench.pass_ms(60);
    bench.talk_for(1, 5, |_| vec![0x21; 160]);
    assert_eq!(bench.heads(2)[bench.heads(2).len() - 5..], [0x21; 5]);
}

#[test]
fn a_talker_that_can_hear_is_told_of_its_key_while_it_keys_or_soon_after_or_not_at_all() {
    let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu), radio(3, Codec::Pcmu)];
    let mut bench = Bench::patched(&ports);
    let told = |port, notice| Order::Announce { port: port_id(port), notice };
    let keyed = [0x21; 160];
    bench.order([Order::Join(LegSpec { hears: false, ..leg(1, &ports[1]) })]);
    bench.talk_for(1, 3, |_| keyed.to_vec());
    bench.order([told(1, Notice::Denied), told(2, Notice::Linked)]);
    bench.talk_for(1, 20, |_| keyed.to_vec());
    let tone = bench.heard(1).len();
    assert!((17..=19).contains(&tone), "{tone} packets of a tone of 360 ms");
    // News of links waits until nobody talks, a radio hears nothing while it talks.
    bench.pass_ms(1_000);
    bench.talk_for(3, 3, |_| keyed.to_vec());
    bench.forget();
    bench.order([told(1, Notice::Unlinked), told(3, Notice::Denied)]);
    bench.talk_for(3, 130, |_| keyed.to_vec());
    bench.pass_ms(3_000);
    assert_eq!(bench.heard(3).len(), 0, "two seconds later it is no news");
    assert!(bench.heard(1).iter().any(|packet| packet.payload != keyed), "that of a link still is");
}

#[test]
fn a_notice_keys_a_radio_and_lets_it_go() {
    let mut keyed = radio(2, Codec::Pcmu);
    keyed.transmit.keying = TransmitKeying::Ext;
    let ports = [phone(1, Codec::Pcmu), keyed];
    let mut bench = Bench::patched(&ports);
    // A new port's transmitter is lowered first, whatever its former life left.
    bench.pass_ms(200);
    bench.forget();
    bench.order([Order::Announce { port: port_id(2), notice: Notice::Linked }]);
    bench.pass_ms(1_000);
    let keys: Vec<bool> =
        bench.heard(2).iter().map(|packet| packet.elements.keying.is_some_and(|keying| keying.ptt)).collect();
    assert!(keys.first() == Some(&true) && keys.last() == Some(&false), "{keys:?}");
    bench.forget();
    bench.talk_for(1, 3, |_| vec![0x21; 160]);
    assert_eq!(bench.heads(2).iter().filter(|head| **head == 0x21).count(), 3);
}

#[test]
fn a_client_that_reads_our_keying_is_told_of_the_floor_in_one_vocabulary() {
    let client = |number| {
        let mut port = phone(number, Codec::Pcmu);
        port.receive.keying = ReceiveKeying::Ext;
        port.transmit.keying = TransmitKeying::Ext;
        port
    };
    let ports = [client(1), client(2)];
    let mut bench = Bench::new();
    bench.open(&ports);
    let floor = FloorPolicy { holders_max: 1, ..policy() };
    bench.order([Order::OpenPatch(PatchSpec { floor, ..patch(1) })]);
    bench.order(ports.iter().map(|port| Order::Join(leg(1, port))));
    bench.forget();
    let press = Elements { keying: Some(Keying { ptt: true, ..Keying::default() }), ..Elements::default() };
    for port in [1, 2] {
        bench.talk_with(port, &[0x21; 160], press);
        bench.flush();
    }
    let told = |bench: &Bench, port| -> Vec<FloorNotice> {
        bench.heard(port).iter().filter_map(|packet| packet.elements.keying).map(|keying| keying.floor).collect()
    };
    assert_eq!(told(&bench, 1).first(), Some(&FloorNotice::Granted));
    assert!(told(&bench, 2).contains(&FloorNotice::Taken) && told(&bench, 2).contains(&FloorNotice::Denied));
    bench.order([Order::Revoke { patch: crosspatch::domain::id::PatchId(1), burst: None }]);
    assert_eq!(told(&bench, 1).last(), Some(&FloorNotice::Revoked));
}
