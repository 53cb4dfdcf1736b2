//! Whether a port's peer lives, by its kind's own sign: told when it changes, and only where one can know.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at the reports it is about")]

mod media;

use crosspatch::domain::audio::Codec;
use crosspatch::domain::id::NodeId;
use crosspatch::domain::order::{Order, OrderBatch, RouteVersion};
use crosspatch::domain::port::PortSpec;
use crosspatch::domain::port::ShardId;
use crosspatch::domain::report::Report;
use crosspatch::domain::time::MonoTime;
use crosspatch::media::limits::ShardLimits;
use crosspatch::media::outbox::{Outbox, PacketKind};
use crosspatch::media::shard::Shard;
use crosspatch::wire::rtcp::{
    NtpTime, RtcpSummary, SenderReport, write_goodbye, write_receiver_report, write_sender_report,
};
use media::{Bench, address_of, numbered, phone, port_id};

fn with_silence(number: u128, silence_max_ms: Option<u32>) -> PortSpec {
    PortSpec { silence_max_ms, ..phone(number, Codec::Pcmu) }
}

/// What was said of a port's life since the last question, in order.
fn lives(bench: &mut Bench, number: u128) -> Vec<bool> {
    let of = |report: &Report| match report {
        Report::Alive { port, alive, .. } if port.0 == number => Some(*alive),
        _ => None,
    };
    let lives = bench.reports.iter().filter_map(of).collect();
    bench.reports.retain(|report| of(report).is_none());
    lives
}

#[test]
fn a_port_that_need_show_no_life_is_never_called_lost_for_being_idle() {
    let mut bench = Bench::patched(&[with_silence(1, None), with_silence(2, None)]);
    bench.talk_for(1, 10, numbered);
    bench.pass_ms(120_000);
    assert_eq!(lives(&mut bench, 1), [true; 0], "it talked and is idle");
    assert_eq!(lives(&mut bench, 2), [true; 0], "it never talked");
}

#[test]
fn a_port_that_shows_life_is_lost_after_its_own_silence_and_back_with_the_next_sign() {
    let mut bench = Bench::patched(&[with_silence(1, Some(7_000)), with_silence(2, Some(60_000))]);
    bench.talk_for(1, 10, numbered);
    bench.talk_for(2, 10, numbered);
    assert_eq!((lives(&mut bench, 1), lives(&mut bench, 2)), (vec![true], vec![true]));
    bench.pass_ms(6_500);
    assert_eq!(lives(&mut bench, 1), [true; 0]);
    bench.pass_ms(1_000);
    assert_eq!((lives(&mut bench, 1), lives(&mut bench, 2)), (vec![false], vec![]));
    bench.talk_for(1, 1, numbered);
    assert_eq!(lives(&mut bench, 1), [true]);
}

#[test]
fn a_port_that_should_show_life_and_never_did_is_lost() {
    let mut bench = Bench::patched(&[with_silence(1, Some(7_000))]);
    bench.pass_ms(8_000);
    assert_eq!(lives(&mut bench, 1), [false]);
}

#[test]
fn a_lost_port_that_need_show_life_no_longer_is_not_lost_any_more() {
    let mut bench = Bench::patched(&[with_silence(1, Some(7_000))]);
    bench.pass_ms(8_000);
    lives(&mut bench, 1);
    bench.order([Order::OpenPort(with_silence(1, None))]);
    bench.pass_ms(1_000);
    assert_eq!(lives(&mut bench, 1), [true]);
}

#[test]
fn a_port_that_closes_says_goodbye_if_it_was_ever_sent_anything() {
    let mut bench = Bench::patched(&[with_silence(1, None), with_silence(2, None)]);
    bench.talk_for(1, 10, numbered);
    let ssrc = bench.heard(2)[0].header.ssrc;
    let closing = [1, 2].map(|port| Order::ClosePort(port_id(port))).to_vec();
    let batch = OrderBatch { version: RouteVersion(99), orders: closing };
    let now = bench.now;
    let mut out = Outbox::new(&ShardLimits::small());
    bench.shards[0].handle_orders(&batch, now, &mut out);
    let goodbyes: Vec<_> = out
        .packets()
        .filter(|packet| packet.kind == PacketKind::Rtcp)
        .map(|packet| (packet.to, RtcpSummary::parse(packet.bytes, 0).expect("we send RTCP").leaving))
        .collect();
    assert_eq!(goodbyes, [(media::address_of(2), Some(ssrc))], "the first was never sent anything");
}

/// A compound of the peer's.
fn written(write: impl FnOnce(&mut [u8]) -> Result<usize, crosspatch::wire::WriteFault>) -> Vec<u8> {
    let mut packet = vec![0; 128];
    let length = write(&mut packet).expect("a report fits");
    packet.truncate(length);
    packet
}

/// What the shard reported to a port, newest last.
fn told(bench: &Bench, port: u128, about: u32) -> Vec<(MonoTime, RtcpSummary)> {
    let read = |(at, bytes): &(MonoTime, Vec<u8>)| (*at, RtcpSummary::parse(bytes, about).expect("we send RTCP"));
    bench.reports_to(port).iter().map(read).collect()
}

#[test]
fn a_sender_report_says_what_was_sent_and_a_reception_block_what_arrived() {
    let mut bench = Bench::patched(&[with_silence(1, None), with_silence(2, None)]);
    let stream = bench.next_header(1);
    bench.talk_for(1, 40, numbered);
    bench.lose(1, 5);
    bench.talk_for(1, 55, numbered);
    // The talker's own report, and its name for that moment (RFC 3550 section 6.4.1).
    let ntp = NtpTime(0x1234_5678_9abc_def0);
    let sent = SenderReport { ntp, rtp_timestamp: 0, packets: 100, octets: 16_000 };
    bench.report_unflushed(
        1,
        address_of(1),
        &written(|room| write_sender_report(stream.ssrc, &sent, None, "far", room)),
    );
    let reported_at = bench.now;
    let before = bench.reports_to(1).len();
    bench.pass_ms(8_000);

    let (at, to_talker) = told(&bench, 1, stream.ssrc)[before];
    let block = to_talker.about_us.expect("it is told how its stream arrives");
    assert_eq!(block.lost_total, 5);
    assert_eq!(block.highest_sequence & 0xffff, u32::from(stream.sequence + 99));
    assert_eq!(block.last_report, ntp.middle(), "LSR");
    let waited = at.since(reported_at).as_nanos() * 65_536 / 1_000_000_000;
    assert_eq!(u128::from(block.delay), waited, "DLSR, in 1/65,536 s");

    let heard = bench.heard(2);
    let newest = &heard[heard.len() - 1];
    let (at, report) = told(&bench, 2, 0).into_iter().rfind(|(_, report)| report.sender.is_some()).expect("an SR");
    let sender = report.sender.expect("it was looked for");
    assert_eq!(report.reporter, Some(newest.header.ssrc));
    assert_eq!(sender.ntp, NtpTime::of(at));
    let before: Vec<_> = heard.iter().filter(|packet| packet.at_ms <= at.as_millis()).collect();
    assert_eq!(sender.packets as usize, before.len());
    assert_eq!(sender.octets as usize, before.iter().map(|packet| packet.payload.len()).sum::<usize>());
    // 8 ticks in a millisecond since the newest packet before it.
    let newest = before[before.len() - 1];
    let since = (at.as_millis() - newest.at_ms) as u32 * 8;
    assert_eq!(sender.rtp_timestamp, newest.header.timestamp.wrapping_add(since));
}

#[test]
fn reports_keep_a_peer_alive_and_a_strangers_do_not() {
    let mut bench = Bench::patched(&[with_silence(1, Some(7_000)), with_silence(2, Some(7_000))]);
    let stream = bench.next_header(1);
    bench.talk_for(1, 10, numbered);
    bench.talk_for(2, 10, numbered);
    lives(&mut bench, 1);
    lives(&mut bench, 2);
    let stranger = "10.9.9.9:4001".parse().unwrap();
    let report = written(|room| write_receiver_report(stream.ssrc, None, "far", room));
    let lie = SenderReport { ntp: NtpTime(0x7777_7777_7777_7777), ..SenderReport::default() };
    let lie = written(|room| write_sender_report(stream.ssrc, &lie, None, "far", room));
    for _ in 0..3 {
        bench.report_unflushed(1, address_of(1), &report);
        bench.report_unflushed(2, stranger, &report);
        bench.report_unflushed(1, stranger, &lie);
        bench.pass_ms(5_000);
    }
    assert_eq!(lives(&mut bench, 1), [true; 0], "it reports and is idle");
    assert_eq!(lives(&mut bench, 2), [false], "somebody else reports");
    let blocks = told(&bench, 1, stream.ssrc);
    assert!(blocks.iter().filter_map(|(_, report)| report.about_us).all(|block| block.last_report == 0));
}

#[test]
fn a_peer_that_says_goodbye_is_lost_at_once_and_back_with_its_next_word() {
    let mut bench = Bench::patched(&[with_silence(1, Some(60_000)), with_silence(2, None)]);
    let ssrc = bench.next_header(1).ssrc;
    bench.talk_for(1, 10, numbered);
    assert_eq!(lives(&mut bench, 1), [true]);
    let goodbye = |ssrc| written(|room| write_goodbye(ssrc, "far", room));
    bench.report_unflushed(1, address_of(1), &goodbye(ssrc + 1));
    bench.pass_ms(1_000);
    assert_eq!(lives(&mut bench, 1), [true; 0], "a stream that is not heard has ended");
    bench.report_unflushed(1, "10.9.9.9:4001".parse().unwrap(), &goodbye(ssrc));
    bench.pass_ms(1_000);
    assert_eq!(lives(&mut bench, 1), [true; 0], "a stranger speaks for it");
    bench.report_unflushed(1, address_of(1), &goodbye(ssrc));
    bench.tick();
    assert_eq!(lives(&mut bench, 1), [false]);
    bench.talk_for(1, 1, numbered);
    assert_eq!(lives(&mut bench, 1), [true]);
}

#[test]
fn a_daemon_reports_under_a_name_of_its_own() {
    let names_of = |node| {
        let mut bench = Bench::new();
        bench.shards[0] = Shard::new(ShardId(0), &ShardLimits::small(), 7).of_node(NodeId(node));
        bench.open(&[with_silence(1, None), with_silence(2, None)]);
        bench.pass_ms(8_000);
        [1, 2].map(|port| name_in(&bench.reports_to(port)[0].1))
    };
    let (here, there) = (names_of(0x11), names_of(0x22));
    assert_eq!(here[0], here[1], "one host, one name");
    assert_ne!(here[0], there[0], "two daemons look like one source");
}

/// The CNAME behind an empty receiver report (RFC 3550 section 6.5.1).
fn name_in(compound: &[u8]) -> String {
    let sdes = &compound[8..];
    assert_eq!((sdes[1], sdes[8]), (202, 1), "an SDES with a CNAME follows");
    String::from_utf8(sdes[10..][..usize::from(sdes[9])].to_vec()).expect("a name is text")
}
