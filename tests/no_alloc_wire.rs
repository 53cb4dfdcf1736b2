//! Reading and writing packets allocates nothing, good packets and bad ones alike.

mod counting;

use std::hint::black_box;

use counting::allocations;
use crosspatch::domain::audio::{Codec, Format, Level};
use crosspatch::domain::id::{BurstId, NodeId, PatchId, PortId};
use crosspatch::domain::talker::Alias;
use crosspatch::wire::rtcp::{Reception, RtcpSummary, SenderReport, write_goodbye, write_sender_report};
use crosspatch::wire::rtp::{DatagramKind, RtpHeader, RtpPacket};
use crosspatch::wire::rtp_extension::{AudioLevel, DEFAULT_IDS, Elements, Keying};
use crosspatch::wire::srtp::{MasterKey, STREAMS_MAX, SessionKeys, Shield, Suite};
use crosspatch::wire::telephone_event::TelephoneEvent;
use crosspatch::wire::trunk::{FRAME_BYTES_MAX, Speech, TrunkFrame, TrunkMessage};

#[test]
fn the_counter_sees_an_allocation() {
    assert_eq!(allocations(|| drop(black_box(Box::new(7)))), 2, "one to take, one to give back");
}

#[test]
fn relaying_a_packet_allocates_nothing() {
    let level = Some(AudioLevel { level: Level(20), voice: true });
    let elements = Elements { level, keying: Some(Keying::default()), talker: Alias::new("Engine 7") };
    let header = RtpHeader { payload_type: 111, marker: true, sequence: 1, timestamp: 2, ssrc: 3 };
    let (mut block, mut datagram, mut frame) = ([0; 24], [0; 1500], [0; FRAME_BYTES_MAX]);
    let calls = allocations(|| {
        let block_length = elements.write(&DEFAULT_IDS, &mut block).expect("room");
        let length = header.write_packet(&block[..block_length], &[0x55; 80], &mut datagram).expect("room");
        assert_eq!(DatagramKind::of(&datagram[..length]), DatagramKind::Rtp);
        let packet = RtpPacket::parse(&datagram[..length]).expect("our own packet");
        let read = Elements::read(packet.extension, &DEFAULT_IDS);
        assert_eq!(read, elements);

        let (patch, burst, node, port) = (PatchId(1), BurstId(2), NodeId(3), PortId(4));
        let speech = Speech {
            format: Format::usual(Codec::Opus),
            soft: packet.header.marker,
            level: read.level,
            sequence: packet.header.sequence,
            timestamp: packet.header.timestamp,
            talker: read.talker,
            payload: packet.payload,
        };
        let message = TrunkMessage::Speech(speech);
        let trunk = TrunkFrame { patch, burst, node, port, hops: 0, emergency: false, message };
        let length = trunk.write(&mut frame).expect("room");
        assert_eq!(TrunkFrame::parse(&frame[..length]), Ok(trunk));
        black_box(TelephoneEvent::parse(packet.payload));
        // The bad ones: cut short in every part.
        for cut in 0..length {
            black_box((TrunkFrame::parse(&frame[..cut]).is_err(), RtpPacket::parse(&datagram[..cut.min(90)]).is_err()));
        }
    });
    assert_eq!(calls, 0);
}

#[test]
fn sealing_and_opening_a_packet_allocates_nothing() {
    for suite in Suite::ALL {
        let secret = vec![7; suite.key_bytes() + suite.salt_bytes()];
        let keys = SessionKeys::derive(&MasterKey::new(suite, &secret).expect("as long as the suite wants"));
        let mut packet = [0x80; 120];
        let calls = allocations(|| {
            let sealed = keys.seal_rtp(&mut packet, 12, 72, 1).expect("room");
            assert_eq!(keys.open_rtp(&mut packet[..sealed], 12, 1), Ok(72));
            assert!(keys.open_rtp(&mut packet[..sealed], 12, 2).is_err());
            let sealed = keys.seal_rtcp(&mut packet, 72, 1).expect("room");
            assert_eq!(keys.open_rtcp(&mut packet[..sealed]), Ok(72));
        });
        assert_eq!(calls, 0, "{suite:?}");
    }
}

#[test]
fn a_protected_call_allocates_nothing_however_many_streams_it_has() {
    for suite in Suite::ALL {
        let secret = vec![7; suite.key_bytes() + suite.salt_bytes()];
        let master = MasterKey::new(suite, &secret).expect("as long as the suite wants");
        let mut shield = Shield::new(&master, &master);
        let Shield { sealer, opener, .. } = &mut shield;
        let (mut packet, mut compound) = ([0; 120], [0; 120]);
        let calls = allocations(|| {
            for number in 0..300u16 {
                let ssrc = u32::from(number) % (STREAMS_MAX as u32 + 2);
                let header = RtpHeader { payload_type: 0, marker: false, sequence: number, timestamp: 0, ssrc };
                let length = header.write_packet(&[], &[0x55; 60], &mut packet).expect("room");
                if let Ok(sealed) = sealer.seal_rtp(&mut packet, length) {
                    assert_eq!(opener.open_rtp(&mut packet[..sealed]), Ok(length));
                    assert!(opener.open_rtp(&mut packet[..sealed]).is_err());
                }
                let sealed = sealer.seal_rtcp(&mut compound, 32).expect("room");
                assert_eq!(opener.open_rtcp(&mut compound[..sealed]), Ok(32));
            }
        });
        assert_eq!(calls, 0, "{suite:?}");
    }
}

#[test]
fn reporting_allocates_nothing() {
    let (report, reception) = (SenderReport::default(), Reception { ssrc: 9, ..Reception::default() });
    let mut out = [0; 256];
    let calls = allocations(|| {
        let length = write_sender_report(5, &report, Some(&reception), "port@node", &mut out).expect("room");
        let summary = RtcpSummary::parse(&out[..length], 9).expect("our own compound");
        assert_eq!(summary.about_us, Some(reception));
        black_box(RtcpSummary::parse(&out[..length - 1], 9).is_err());
        let length = write_goodbye(5, "port@node", &mut out).expect("room");
        assert_eq!(RtcpSummary::parse(&out[..length], 9).expect("our own compound").leaving, Some(5));
    });
    assert_eq!(calls, 0);
}
