//! What must hold for any bytes at all: one function per reader, run by the seeded mutator in `tests/fuzz_wire.rs`
//! and, with coverage, by cargo-fuzz in `fuzz/`.
//!
//! A function returns whether its reader accepted the input, so that a run can prove it met both answers. It
//! panics when a promise is broken; it is never called by the daemon.

use super::rtcp::{self, RtcpSummary};
use super::rtp::{DatagramKind, RtpPacket};
use super::rtp_extension::{DEFAULT_IDS, ELEMENTS_BYTES_MAX, Elements, ONE_BYTE_PROFILE};
use super::srtp::{GROWTH_BYTES_MAX, MasterKey, Opener, Sealer, SessionKeys, SrtpFault, Suite};
use super::telephone_event::TelephoneEvent;
use super::trunk::{FRAME_BYTES_MAX, TrunkFrame};

/// A view lies inside its datagram, and writing what it shows yields a packet that shows the same.
pub fn rtp(bytes: &[u8]) -> bool {
    let kind = DatagramKind::of(bytes);
    let Ok(packet) = RtpPacket::parse(bytes) else { return false };
    assert!(matches!(kind, DatagramKind::Rtp | DatagramKind::Rtcp), "{kind:?} was read as RTP");
    assert!(packet.payload.len() + packet.extension.map_or(0, |(_, block)| block.len()) <= bytes.len() - 12);

    let block = packet.extension.filter(|(profile, _)| *profile == ONE_BYTE_PROFILE).map_or(&[][..], |(_, b)| b);
    let mut out = vec![0; bytes.len()];
    let length = packet.header.write_packet(block, packet.payload, &mut out).expect("never longer than its source");
    let again = RtpPacket::parse(&out[..length]).expect("we read what we write");
    assert_eq!((again.header, again.payload), (packet.header, packet.payload));
    assert_eq!(again.extension.map_or(&[][..], |(_, block)| block), block);
    true
}

/// Reading never fails; what was understood is the same after writing and reading it.
pub fn rtp_extension(bytes: &[u8]) -> bool {
    let Some(([high, low], block)) = bytes.split_first_chunk::<2>() else { return false };
    let elements = Elements::read(Some((u16::from_be_bytes([*high, *low]), block)), &DEFAULT_IDS);
    let mut out = [0; ELEMENTS_BYTES_MAX];
    let length = elements.write(&DEFAULT_IDS, &mut out).expect("every element fits");
    assert_eq!(Elements::read(Some((ONE_BYTE_PROFILE, &out[..length])), &DEFAULT_IDS), elements);
    elements != Elements::default()
}

/// A summary can be said again in our own compound, and a round trip is never longer than the clock's half range.
pub fn rtcp(bytes: &[u8]) -> bool {
    // The fuzzer chooses which stream is ours, so that blocks about us are met.
    let (our_ssrc, datagram) = match bytes.split_first_chunk::<4>() {
        Some((ssrc, datagram)) => (u32::from_be_bytes(*ssrc), datagram),
        None => (0, bytes),
    };
    let Ok(summary) = RtcpSummary::parse(datagram, our_ssrc) else { return false };
    if let Some(reception) = summary.about_us {
        assert_eq!(reception.ssrc, our_ssrc);
        assert!(reception.round_trip(our_ssrc).is_none_or(|time| time.as_secs() < 1 << 15));
    }
    let mut out = [0; 128];
    let reporter = summary.reporter.unwrap_or_default();
    let length = match &summary.sender {
        Some(sender) => rtcp::write_sender_report(reporter, sender, summary.about_us.as_ref(), "fuzz", &mut out),
        None => rtcp::write_receiver_report(reporter, summary.about_us.as_ref(), "fuzz", &mut out),
    }
    .expect("one block and a short name fit");
    let again = RtcpSummary::parse(&out[..length], our_ssrc).expect("we read what we write");
    assert_eq!((again.sender, again.about_us), (summary.sender, summary.about_us));
    true
}

/// The master keys and salts that [`srtp`] knows: all bytes alike.
pub const SRTP_SECRET: u8 = 0x5a;

/// What opens was sealed with our keys: sealing it again yields the same bytes. The first byte chooses the suite, the
/// second between RTP and RTCP.
pub fn srtp(bytes: &[u8]) -> bool {
    let [suite, kind, packet @ ..] = bytes else { return false };
    let suite = Suite::ALL[usize::from(*suite) % Suite::ALL.len()];
    let secret = vec![SRTP_SECRET; suite.key_bytes() + suite.salt_bytes()];
    let keys = SessionKeys::derive(&MasterKey::new(suite, &secret).expect("as long as the suite wants"));
    let rtcp = kind & 1 == 1;
    let index = packet.get(2..4).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u16::from_be_bytes(*bytes));
    let mut room = packet.to_vec();
    let opened = if rtcp { keys.open_rtcp(&mut room) } else { keys.open_rtp(&mut room, 12, index.into()) };
    let Ok(length) = opened else { return false };
    room.truncate(length);
    room.resize(length + GROWTH_BYTES_MAX, 0);
    let sealed = if rtcp {
        keys.seal_rtcp(&mut room, length, keys.rtcp_index(packet).expect("it was opened"))
    } else {
        keys.seal_rtp(&mut room, 12, length, index.into())
    };
    assert_eq!(sealed, Ok(packet.len()));
    assert_eq!(room[..packet.len()], *packet);
    true
}

/// A call over a bad network: each step seals a packet, or delivers one of the sealed, whole or damaged. Whatever
/// happens, a packet opens at most once, to what was sealed, and a damaged one never. Two bytes are one step; the first
/// byte of all chooses the suite. Says whether any opened.
pub fn srtp_call(bytes: &[u8]) -> bool {
    let [suite, steps @ ..] = bytes else { return false };
    let suite = Suite::ALL[usize::from(*suite) % Suite::ALL.len()];
    let master = MasterKey::new(suite, &vec![SRTP_SECRET; suite.key_bytes() + suite.salt_bytes()]);
    let master = master.expect("as long as the suite wants");
    let (mut sealer, mut opener) = (Sealer::new(&master), Opener::new(&master));
    let (mut sequence, mut sealed, mut opened) = (65_500u16, Vec::new(), Vec::new());
    for [what, which] in steps.as_chunks::<2>().0.iter().take(SRTP_STEPS_MAX) {
        if what & 1 == 0 {
            sequence = sequence.wrapping_add(u16::from(*which) << (what >> 4));
            let mut packet = [&[0x80, 0][..], &sequence.to_be_bytes(), &[0; 7], &[what >> 6, *which]].concat();
            let length = packet.len();
            packet.resize(length + GROWTH_BYTES_MAX, 0);
            let Ok(whole) = sealer.seal_rtp(&mut packet, length) else { continue };
            packet.truncate(whole);
            sealed.push((packet, *which, false));
            continue;
        }
        let count = sealed.len();
        let Some((packet, voice, seen)) = sealed.get_mut(count.wrapping_sub(1 + usize::from(*which)) % count.max(1))
        else {
            continue;
        };
        let mut room = packet.clone();
        let damaged = what & 2 != 0;
        if damaged {
            let at = usize::from(what >> 2) % room.len();
            room[at] ^= 1 << (what >> 5);
        }
        match opener.open_rtp(&mut room) {
            Ok(length) => {
                assert!(!damaged && !*seen && room[..length] == [&packet[..12], &[*voice]].concat());
                *seen = true;
                opened.push(packet.clone());
            }
            Err(fault) => {
                assert!(!*seen || damaged || matches!(fault, SrtpFault::Replayed | SrtpFault::Authentication))
            }
        }
    }
    for mut packet in opened.iter().cloned() {
        assert!(opener.open_rtp(&mut packet).is_err(), "twice");
    }
    !opened.is_empty()
}

/// Steps of [`srtp_call`]: enough to leave the window behind.
const SRTP_STEPS_MAX: usize = 400;

/// A report is its own first four bytes but for the reserved bit.
pub fn telephone_event(bytes: &[u8]) -> bool {
    let Some(event) = TelephoneEvent::parse(bytes) else { return false };
    let written = event.bytes().expect("six bits of volume");
    assert_eq!(written, [bytes[0], bytes[1] & !0x40, bytes[2], bytes[3]]);
    assert!(event.digit().is_none_or(|digit| TelephoneEvent::event_of(digit) == Some(event.event)));
    true
}

/// A frame has exactly one spelling.
pub fn trunk(bytes: &[u8]) -> bool {
    let Ok(frame) = TrunkFrame::parse(bytes) else { return false };
    let mut out = [0; FRAME_BYTES_MAX];
    let length = frame.write(&mut out).expect("what was read has legal fields");
    assert_eq!(&out[..length], bytes);
    true
}
