//! Every wire reader against 200,000 damaged packets: none panics, and what it accepts it writes back.
//!
//! `SEED=n cargo test --test fuzz_wire` tries another sequence; the failing input is printed in hexadecimal.

mod mutate;

use std::panic::catch_unwind;

use crosspatch::domain::audio::{Codec, Format, Level};
use crosspatch::domain::floor::{BurstEnd, Denial};
use crosspatch::domain::id::{BurstId, NodeId, PatchId, PortId};
use crosspatch::domain::talker::Alias;
use crosspatch::wire::rtcp::{
    NtpTime, Reception, SenderReport, write_goodbye, write_receiver_report, write_sender_report,
};
use crosspatch::wire::rtp::RtpHeader;
use crosspatch::wire::rtp_extension::{AudioLevel, DEFAULT_IDS, Elements, FloorNotice, Keying};
use crosspatch::wire::srtp::{GROWTH_BYTES_MAX, MasterKey, SessionKeys, Suite};
use crosspatch::wire::trunk::{FRAME_BYTES_MAX, Speech, TrunkFrame, TrunkMessage};
use crosspatch::wire::{WriteFault, fuzz};

const INPUTS: u32 = 200_000;

/// Runs a target over damaged inputs and demands that it met both answers often.
fn survives(target: fn(&[u8]) -> bool, corpus: Vec<Vec<u8>>) {
    for packet in &corpus {
        assert!(target(packet), "a valid packet was refused: {packet:02x?}");
    }
    let seed = mutate::seed();
    let mut mutator = mutate::Mutator::new(seed, corpus);
    let mut accepted = 0;
    for round in 0..INPUTS {
        let input = mutator.next_input();
        match catch_unwind(|| target(input)) {
            Ok(taken) => accepted += u32::from(taken),
            Err(_) => panic!("seed {seed}, round {round}: the target panicked on {input:02x?}"),
        }
    }
    let refused = INPUTS - accepted;
    assert!(accepted > INPUTS / 20 && refused > INPUTS / 20, "one-sided: {accepted} accepted, {refused} refused");
}

fn written(write: impl FnOnce(&mut [u8]) -> Result<usize, WriteFault>) -> Vec<u8> {
    let mut out = vec![0; FRAME_BYTES_MAX];
    let length = write(&mut out).expect("a valid packet");
    out.truncate(length);
    out
}

fn elements() -> Elements {
    let keying = Keying { ptt: true, cor: true, floor: FloorNotice::Queued(3), ..Keying::default() };
    let level = AudioLevel { level: Level(30), voice: true };
    Elements { level: Some(level), keying: Some(keying), talker: Alias::new("Löschzug 12") }
}

#[test]
fn no_bytes_break_the_rtp_reader() {
    let header = RtpHeader { payload_type: 111, marker: true, sequence: 65_535, timestamp: 960, ssrc: 0xfeed_beef };
    let block = written(|out| elements().write(&DEFAULT_IDS, out));
    let padded_with_sources = [&[0xb2, 0][..], &[7; 18], &[0x10, 0, 0, 1, 9, 1, 7, 0], b"voice", &[0, 0, 3]].concat();
    survives(
        fuzz::rtp,
        vec![
            written(|out| header.write_packet(&[], &[0x55; 160], out)),
            written(|out| header.write_packet(&block, &[0xf8, 0xff, 0xfe], out)),
            written(|out| header.write_packet(&block, &[], out)),
            padded_with_sources,
        ],
    );
}

#[test]
fn no_bytes_break_the_header_extension_reader() {
    let one_byte = [&[0xbe, 0xde][..], &written(|out| elements().write(&DEFAULT_IDS, out))].concat();
    let two_byte = vec![0x10, 0x00, 1, 1, 0x85, 0, 2, 2, 0x40, 0x63, 3, 2, b'E', b'1', 0];
    survives(fuzz::rtp_extension, vec![one_byte, two_byte]);
}

#[test]
fn no_bytes_break_the_rtcp_reader() {
    let ours = 0x0102_0304u32;
    let report = SenderReport { ntp: NtpTime(0x0123_4567_89ab_cdef), rtp_timestamp: 1, packets: 2, octets: 3 };
    let block = Reception { ssrc: ours, lost_total: -1, last_report: 1, ..Reception::default() };
    let compounds = [
        written(|out| write_sender_report(7, &report, Some(&block), "port@node", out)),
        written(|out| write_receiver_report(7, Some(&block), "port@node", out)),
        written(|out| write_goodbye(7, "port@node", out)),
    ];
    survives(fuzz::rtcp, compounds.iter().map(|packet| [&ours.to_be_bytes(), &packet[..]].concat()).collect());
}

#[test]
fn no_bytes_pass_for_srtp_that_were_not_sealed_with_our_keys() {
    let mut corpus = Vec::new();
    for (number, suite) in Suite::ALL.into_iter().enumerate() {
        let secret = vec![fuzz::SRTP_SECRET; suite.key_bytes() + suite.salt_bytes()];
        let keys = SessionKeys::derive(&MasterKey::new(suite, &secret).unwrap());
        let mut packet = [&[0x80, 0, 0, 9][..], &[7; 8], &[0x55; 60], &[0; GROWTH_BYTES_MAX]].concat();
        let length = keys.seal_rtp(&mut packet, 12, 72, 9).unwrap();
        corpus.push([&[number as u8, 0], &packet[..length]].concat());
        let mut compound = [&[0x81, 201, 0, 7][..], &[7; 28], &[0; GROWTH_BYTES_MAX]].concat();
        let length = keys.seal_rtcp(&mut compound, 32, 3).unwrap();
        corpus.push([&[number as u8, 1], &compound[..length]].concat());
    }
    survives(fuzz::srtp, corpus);
}

#[test]
fn no_network_makes_an_srtp_packet_open_twice() {
    let orderly = (0..40).flat_map(|_| [0, 1, 1, 0]).collect::<Vec<u8>>();
    let late = [&[0, 1].repeat(30)[..], &[1, 29, 1, 28, 1, 0, 3, 5, 1, 5]].concat();
    let far = [[0x70, 200], [1, 0], [0x72, 200], [1, 0], [1, 1]].concat();
    let several = [[0, 1], [0x40, 1], [0x80, 0], [1, 0], [1, 1], [1, 2], [7, 0]].concat();
    survives(
        fuzz::srtp_call,
        [orderly, late, far, several].into_iter().map(|steps| [&[1], &steps[..]].concat()).collect(),
    );
}

#[test]
fn no_bytes_break_the_telephone_event_reader() {
    survives(fuzz::telephone_event, vec![vec![10, 0x8a, 0x06, 0x40], vec![1, 0x0a, 0, 160, 2, 0x0a, 0, 160]]);
}

#[test]
fn no_bytes_break_the_trunk_reader() {
    let speech = Speech {
        format: Format::usual(Codec::Opus),
        soft: false,
        level: elements().level,
        sequence: 1,
        timestamp: 960,
        talker: elements().talker,
        payload: &[0xf8, 0xff, 0xfe],
    };
    let messages = [
        TrunkMessage::Speech(speech),
        TrunkMessage::Speech(Speech { payload: &[0; 160], level: None, soft: true, ..speech }),
        TrunkMessage::Request { talker: elements().talker },
        TrunkMessage::Granted,
        TrunkMessage::Queued { position: 2 },
        TrunkMessage::Denied { cause: Denial::Busy },
        TrunkMessage::Revoked { cause: BurstEnd::PreEmpted },
        TrunkMessage::Released { cause: BurstEnd::Released, tail_ms: 120 },
    ];
    let frames = messages.map(|message| {
        let (patch, burst, node, port) = (PatchId(1), BurstId(2), NodeId(3), PortId(4));
        let frame = TrunkFrame { patch, burst, node, port, hops: 0, emergency: false, message };
        written(|out| frame.write(out))
    });
    survives(fuzz::trunk, frames.to_vec());
}
