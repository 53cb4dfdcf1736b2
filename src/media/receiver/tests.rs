use super::*;
use crate::domain::random::Entropy;

fn at(ms: u64) -> MonoTime {
    MonoTime::from_millis(ms)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn latching() -> Receiver {
    Receiver::new(PeerRule::Latch(vec!["127.0.0.0/8".parse().unwrap()]), 8_000, 1_000)
}

fn packet(ssrc: u32, sequence: u16) -> Arrival {
    Arrival { ssrc, sequence, timestamp: u32::from(sequence) * 160 }
}

/// From the same peer as always.
fn hear(receiver: &mut Receiver, ssrc: u32, sequence: u16, ms: u64) -> Result<Accepted, Discard> {
    receiver.accept(address("127.0.0.1:4000"), packet(ssrc, sequence), at(ms))
}

#[test]
fn a_static_peer_is_the_only_one_heard() {
    let peer = address("127.0.0.1:4000");
    let mut receiver = Receiver::new(PeerRule::Static(peer), 8_000, 50);
    assert_eq!(receiver.peer(), Some(peer), "it is known before it is heard");
    for stranger in ["127.0.0.1:4001", "127.0.0.2:4000"] {
        assert_eq!(receiver.accept(address(stranger), packet(1, 1), at(0)), Err(Discard::WrongSource));
    }
    assert!(receiver.accept(address("[::ffff:127.0.0.1]:4000"), packet(1, 1), at(0)).is_ok(), "mapped IPv4 is IPv4");
}

#[test]
fn a_latch_moves_only_after_silence_and_only_within_its_networks() {
    let (first, second, outside) = (address("127.0.0.1:4000"), address("127.0.0.9:1"), address("192.0.2.1:1"));
    let mut receiver = latching();
    assert_eq!(receiver.accept(outside, packet(1, 1), at(0)), Err(Discard::NotAllowed));
    assert_eq!(receiver.peer(), None);
    assert!(receiver.accept(first, packet(1, 1), at(0)).unwrap().latched);
    assert!(!receiver.accept(first, packet(1, 2), at(20)).unwrap().latched, "told once");
    assert_eq!(receiver.accept(second, packet(2, 1), at(2_019)), Err(Discard::WrongSource));
    assert_eq!(receiver.accept(outside, packet(2, 1), at(2_020)), Err(Discard::NotAllowed));
    assert!(receiver.accept(second, packet(2, 1), at(2_020)).unwrap().latched);
    assert_eq!(receiver.peer(), Some(second));
    assert_eq!(receiver.accept(first, packet(1, 3), at(2_040)), Err(Discard::WrongSource), "it has moved");
}

#[test]
fn strangers_do_not_use_up_the_peers_rate() {
    let mut receiver = Receiver::new(PeerRule::Static(address("127.0.0.1:4000")), 8_000, 2);
    for n in 0..100 {
        let _ = receiver.accept(address("127.0.0.1:9"), packet(1, n), at(0));
    }
    assert!(hear(&mut receiver, 1, 1, 0).is_ok() && hear(&mut receiver, 1, 2, 0).is_ok());
    assert_eq!(hear(&mut receiver, 1, 3, 0), Err(Discard::RateLimited));
    assert!(hear(&mut receiver, 1, 4, 500).is_ok(), "half a second gives one of two a second back");
    assert_eq!(receiver.accept_control(address("127.0.0.1:4001"), at(500)), Err(Discard::RateLimited));
    assert_eq!(receiver.accept_control(address("127.0.0.1:4001"), at(1_000)), Ok(()), "RTCP comes from the next port");
}

#[test]
fn another_ssrc_is_heard_at_once_and_stragglers_of_the_old_one_do_not_switch_back() {
    let mut receiver = latching();
    hear(&mut receiver, 1, 65_535, 0).unwrap();
    let other = hear(&mut receiver, 2, 7, 20).unwrap();
    assert!(other.new_stream);
    assert_eq!(hear(&mut receiver, 1, 0, 40), Err(Discard::OldStream));
    assert_eq!(hear(&mut receiver, 2, 8, 40).unwrap().sequence, other.sequence + 1);
    assert!(hear(&mut receiver, 1, 1, 240).unwrap().new_stream, "it really talks again");
}

#[test]
fn a_restarted_sequence_is_believed_after_three_packets_or_after_silence() {
    for (start, reason) in [(10_000u16, Discard::SequenceJump), (400, Discard::Late)] {
        let mut receiver = latching();
        hear(&mut receiver, 1, 1_000, 0).unwrap();
        assert_eq!(hear(&mut receiver, 1, start, 20), Err(reason));
        assert_eq!(hear(&mut receiver, 1, start + 1, 40), Err(reason));
        assert!(hear(&mut receiver, 1, start + 2, 60).unwrap().new_stream, "{start}");
        assert!(hear(&mut receiver, 1, 40_000, 2_060).unwrap().new_stream, "after two silent seconds");
    }
}

#[test]
fn one_strange_packet_changes_nothing() {
    let mut receiver = latching();
    let first = hear(&mut receiver, 1, 1_000, 0).unwrap();
    for n in 1..100u16 {
        assert_eq!(hear(&mut receiver, 1, 20_000 + n, u64::from(n) * 20), Err(Discard::SequenceJump));
        let next = hear(&mut receiver, 1, 1_000 + n, u64::from(n) * 20).unwrap();
        assert_eq!((next.sequence, next.new_stream), (first.sequence + u64::from(n), false));
    }
}

#[test]
fn a_report_counts_loss_and_jitter_as_rfc_3550_does() {
    let mut receiver = latching();
    for n in (0..100u16).filter(|n| n % 4 != 1) {
        hear(&mut receiver, 5, n, u64::from(n) * 20).unwrap();
    }
    receiver.handle_sender_report(5, 0x0001_2345_6789_abcd, at(2_000));
    receiver.handle_sender_report(6, u64::MAX, at(2_000));
    let report = receiver.report(at(2_500)).unwrap();
    assert_eq!((report.ssrc, report.fraction_lost, report.cumulative_lost), (5, 64, 25), "a quarter of 256");
    assert_eq!((report.last_sender_report, report.delay_since_last), (0x2345_6789, 32_768), "half a second");
    assert_eq!(report.jitter, 0, "packets came on their beat");
    assert_eq!(receiver.report(at(2_520)).unwrap().fraction_lost, 0, "nothing was lost since");
    for n in 100..400u16 {
        hear(&mut receiver, 5, n, u64::from(n) * 20 + u64::from(n % 2) * 10).unwrap();
    }
    let jitter = receiver.report(at(9_000)).unwrap().jitter;
    assert!((70..=80).contains(&jitter), "10 ms to and fro are 80 units at 8 kHz, seen {jitter}");
}

#[test]
fn no_packet_counts_twice_and_numbers_grow_whatever_arrives() {
    let (mut accepted, mut refused, mut streams) = (0, 0, 0);
    for seed in 0..200 {
        let mut random = Entropy::new(seed);
        let mut receiver = latching();
        let mut used = std::collections::BTreeSet::new();
        let (mut ssrc, mut sequence, mut now) = (1, random.next_u32() as u16, 0);
        let mut stream_starts = 0;
        for _ in 0..1_000 {
            now += random.below(30);
            sequence = match random.below(200) {
                0 => random.next_u32() as u16,
                1..10 => sequence.wrapping_add(random.below(300) as u16),
                _ => sequence.wrapping_add(1),
            };
            ssrc += u32::from(random.percent(1));
            let shown = if random.percent(20) { sequence.wrapping_sub(random.below(200) as u16) } else { sequence };
            let shown_ssrc = ssrc - u32::from(ssrc > 1 && random.percent(1));
            match hear(&mut receiver, shown_ssrc, shown, now) {
                Ok(packet) => {
                    assert_eq!(packet.sequence as u16, shown, "seed {seed}: the low bits are the wire's");
                    assert!(used.insert(packet.sequence), "seed {seed}: {} counts twice", packet.sequence);
                    if packet.new_stream {
                        assert_eq!(used.last(), Some(&packet.sequence), "seed {seed}: a stream begins above all");
                        stream_starts = packet.sequence;
                        streams += 1;
                    }
                    assert!(packet.sequence + 128 > stream_starts, "seed {seed}: of an older stream");
                    accepted += 1;
                }
                Err(_) => refused += 1,
            }
            let _ = receiver.report(at(now));
        }
    }
    assert!(accepted > 100_000 && refused > 10_000 && streams > 1_000, "{accepted} {refused} {streams}");
}

#[test]
fn in_any_time_a_port_gets_its_rate_and_one_second_more_at_most() {
    for seed in 0..50 {
        let mut random = Entropy::new(seed);
        let rate = 1 + random.below(200);
        let mut bucket = Bucket::new(rate as u16);
        let (mut now, mut taken) = (0, 0u64);
        for _ in 0..5_000 {
            now += random.below(4);
            taken += u64::from(bucket.take(at(now)));
            assert!(taken <= rate + rate * now / 1_000, "seed {seed}: {taken} in {now} ms at {rate} a second");
        }
        assert!(taken + 2 >= (rate + rate * now / 1_000).min(5_000) * 9 / 10 || rate < 2, "seed {seed}: {taken}");
    }
}

#[test]
fn a_sender_that_begins_anew_near_where_it_was_is_heard_from_its_first_packet() {
    let mut receiver = latching();
    for sequence in 100..150 {
        hear(&mut receiver, 1, sequence, u64::from(sequence) * 20).unwrap();
    }
    assert_eq!(hear(&mut receiver, 1, 120, 3_010), Err(Discard::Duplicate), "a packet that came twice");
    let again = hear(&mut receiver, 1, 100, 5_000).unwrap();
    assert!(again.new_stream);
    let next = hear(&mut receiver, 1, 101, 5_020).unwrap();
    assert_eq!((next.new_stream, next.sequence), (false, again.sequence + 1));
}
