//! A gateway by hand, two sockets and PCMU: what foreign programs do not do on demand. They come from IPv6, send far too
//! much, sit on the daemon's own port. And the file that is read again by SIGHUP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crosspatch::domain::audio::Codec;
use crosspatch::domain::event::Alarm;
use crosspatch::domain::id::GatewayId;
use crosspatch::wire::rtcp::RtcpSummary;
use crosspatch::wire::rtp::{RtpHeader, RtpPacket};

use super::county::County;
use super::daemon::Daemon;
use super::ports::free_pair;
use super::{PATIENCE, now};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// The far end of a gateway.
struct FarEnd {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    to: SocketAddr,
    sent: u16,
}

impl FarEnd {
    /// A gateway of a talkgroup in the file, and its box.
    fn new(county: &mut County, id: &str, talkgroup: &str, ip: IpAddr) -> Self {
        let port = free_pair();
        let [rtp, rtcp] = [port, port + 1].map(|port| UdpSocket::bind((ip, port)).unwrap());
        [&rtp, &rtcp].into_iter().for_each(|socket| socket.set_read_timeout(Some(PATIENCE)).unwrap());
        let local = county.gateway_at(ip, id, talkgroup, "client", Codec::Pcmu, port);
        Self { rtp, rtcp, to: SocketAddr::new(ip, local), sent: 0 }
    }

    /// So many packets of this byte, as fast as they go.
    fn send(&mut self, byte: u8, packets: u16) {
        for _ in 0..packets {
            self.sent += 1;
            let (sequence, timestamp) = (self.sent, u32::from(self.sent) * 160);
            let header = RtpHeader { payload_type: 0, marker: false, sequence, timestamp, ssrc: u32::from(byte) };
            let mut packet = [0; 200];
            let length = header.write_packet(&[], &[byte; 160], &mut packet).unwrap();
            self.rtp.send_to(&packet[..length], self.to).unwrap();
        }
    }

    /// The byte of the next voice packet.
    fn hear(&self) -> u8 {
        let mut packet = [0; 1500];
        let (length, from) = self.rtp.recv_from(&mut packet).expect("something is sent");
        assert_eq!(from, self.to, "an answer comes from where it was asked");
        RtpPacket::parse(&packet[..length]).expect("RTP").payload[0]
    }

    /// The next report, and who sends it.
    fn told(&self) -> (RtcpSummary, SocketAddr) {
        let mut packet = [0; 1500];
        let (length, from) = self.rtcp.recv_from(&mut packet).expect("reports are sent");
        (RtcpSummary::parse(&packet[..length], 0).expect("RTCP"), from)
    }

    /// Talks and waits until it was heard, packet by packet.
    fn talk_to(&mut self, ear: &Self, byte: u8, packets: usize) {
        for packet in 0..packets {
            self.send(byte, 1);
            assert_eq!(ear.hear(), byte, "packet {packet}");
        }
    }
}

/// Two agencies, a box each, at these addresses.
fn two_boxes(ips: [IpAddr; 2]) -> (County, [FarEnd; 2]) {
    let mut county = County::new();
    let boxes = [("north", ips[0]), ("south", ips[1])].map(|(agency, ip)| {
        county.agency(agency);
        FarEnd::new(&mut county, &format!("{agency}-box"), &format!("{agency}-1"), ip)
    });
    (county, boxes)
}

fn wait_for_alarm(daemon: &Daemon, what: &str, stands: bool, is_it: impl Fn(&Alarm) -> bool) {
    let deadline = now() + PATIENCE;
    loop {
        let alarms = daemon.desk("admin").roster().alarms;
        if alarms.iter().any(&is_it) == stands {
            return;
        }
        assert!(now() < deadline, "{what}: {alarms:?}");
    }
}

#[test]
fn a_gateway_on_ipv6_is_heard_and_hears_one_on_ipv4() {
    let (county, [mut six, mut four]) = two_boxes([V6, V4]);
    let daemon = Daemon::start(&county.file());
    county.join_all(&daemon);
    six.talk_to(&four, 0x31, 20);
    daemon.desk("north").wait_until_quiet();
    four.talk_to(&six, 0x32, 20);
    let (report, from) = six.told();
    assert!(report.reporter.is_some());
    assert_eq!(from, SocketAddr::new(V6, six.to.port() + 1));
}

#[test]
fn a_gateway_that_floods_is_named_and_another_loses_nothing() {
    let (mut county, [mut calm, ear]) = two_boxes([V4, V4]);
    county.talkgroup("north", "mad-1");
    let mut flood = FarEnd::new(&mut county, "mad-box", "mad-1", V4);
    let daemon = Daemon::start(&county.file());
    county.join_all(&daemon);
    for _ in 0..50 {
        flood.send(0x42, 100);
        calm.talk_to(&ear, 0x41, 1);
    }
    let mad = GatewayId::new("mad-box").unwrap();
    wait_for_alarm(
        &daemon,
        "the flood is not named",
        true,
        |alarm| matches!(alarm, Alarm::GatewayFloods { gateway } if *gateway == mad),
    );
    let alarms = daemon.desk("admin").roster().alarms;
    let others = alarms.iter().filter(|alarm| matches!(alarm, Alarm::GatewayFloods { gateway } if *gateway != mad));
    assert_eq!(others.count(), 0, "{alarms:?}");
}

#[test]
fn a_port_that_another_program_holds_is_told_as_the_machines_no_and_taken_when_it_is_free() {
    let (county, [mut talker, ear]) = two_boxes([V4, V4]);
    let squatter = UdpSocket::bind(talker.to).unwrap();
    let daemon = Daemon::start(&county.file());
    county.join_all(&daemon);
    let north = GatewayId::new("north-box").unwrap();
    let address = talker.to.to_string();
    let refused = |alarm: &Alarm| matches!(alarm, Alarm::GatewayNotOpen { gateway, cause } if *gateway == north && cause.contains(&address));
    wait_for_alarm(&daemon, "nobody is told", true, refused);
    let alarms = daemon.desk("admin").roster().alarms;
    let lost = alarms.iter().any(|alarm| matches!(alarm, Alarm::GatewayLost { .. }));
    assert!(!lost, "the box is blamed: {alarms:?}");
    let why = daemon.desk("south").why("north-1", "south-1");
    assert!(why.causes.iter().any(|cause| cause.code == "not_open"), "{why:?}");
    drop(squatter);
    wait_for_alarm(&daemon, "it is not tried again", false, refused);
    talker.talk_to(&ear, 0x51, 5);
}

#[test]
fn a_hang_up_signal_takes_a_good_file_cuts_by_a_narrower_one_and_keeps_running_on_a_faulty_one() {
    let (mut county, [mut talker, ear]) = two_boxes([V4, V4]);
    let file = county.file();
    let mut daemon = Daemon::start(&file);
    county.join_all(&daemon);
    talker.talk_to(&ear, 0x61, 3);

    std::fs::write(&file, "[server\nnode = 7").unwrap();
    daemon.hang_up();
    daemon.wait_for_line("that it refuses a faulty file", |line| line.contains("reload: refused, nothing changed"));
    talker.talk_to(&ear, 0x62, 3);

    county.agency("west");
    let mut third = FarEnd::new(&mut county, "west-box", "west-1", V4);
    let wider = std::fs::read_to_string(county.file()).unwrap();
    daemon.hang_up();
    daemon.wait_for_line("what a good file changes", |line| line.contains("reload") && line.contains("west-1"));
    let known = |talkgroup: &str| {
        daemon.desk("admin").roster().talkgroups.iter().any(|view| view.talkgroup.as_str() == talkgroup)
    };
    assert!(known("west-1"));
    third.send(0x63, 1);

    // Its owner takes a talkgroup out of everything that is not its own.
    let narrow = wider.replace("id = \"north-1\"\n", "id = \"north-1\"\npatchable = \"never\"\n");
    std::fs::write(&file, narrow).unwrap();
    daemon.hang_up();
    daemon.wait_for_line("what a narrower file takes", |line| line.contains("reload") && line.contains("north-1"));
    let linked = daemon
        .desk("south")
        .roster()
        .incidents
        .iter()
        .flat_map(|view| &view.patches)
        .any(|patch| patch.links.iter().any(|link| link.talkgroup.as_str() == "north-1"));
    assert!(!linked, "what narrows acts at once");
}
