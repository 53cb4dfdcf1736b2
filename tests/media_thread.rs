//! A real media thread with real sockets: encrypted calls cross it sealed. Its shard lost while somebody talks, condemned
//! or by a panic: its sockets stay and lose nothing, and orders that were made for the old shard are not the new one's.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

mod media;

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crosspatch::domain::audio::Codec;
use crosspatch::domain::id::NodeId;
use crosspatch::domain::order::{LegSpec, Order, OrderBatch, RouteTable, RouteVersion};
use crosspatch::domain::port::{PeerRule, PortSpec, ShardId};
use crosspatch::domain::report::Report;
use crosspatch::io::gateway_socket::GatewaySockets;
use crosspatch::io::media::{FromShard, NewSockets, ShardLink, ToShard, start};
use crosspatch::media::limits::ShardLimits;
use crosspatch::wire::rtp::{RtpHeader, RtpPacket};
use crosspatch::wire::srtp::{GROWTH_BYTES_MAX, MasterKey, Opener, Sealer, Shield, Suite};
use media::{leg, numbered, patch, phone};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

/// Only a broken thread, or a very busy machine, takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A thread, and a talker and a listener at the far ends of its two ports.
struct Stage {
    link: ShardLink,
    told: Arc<OwnedFd>,
    table: RouteTable,
    talker: UdpSocket,
    listener: UdpSocket,
    input: SocketAddr,
    said: u16,
}

impl Stage {
    fn new() -> Self {
        Self::shielded([None, None])
    }

    /// With these keys at the talker's and the listener's port.
    fn shielded(shields: [Option<Box<Shield>>; 2]) -> Self {
        let told = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap());
        let link = start(1, &ShardLimits::small(), NodeId(1), &[7], &told).unwrap().pop().unwrap();
        let [talker, listener] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        listener.set_read_timeout(Some(PATIENCE)).unwrap();
        let port = |number, far: &UdpSocket| PortSpec {
            peer: PeerRule::Static(far.local_addr().unwrap()),
            ..phone(number, Codec::Pcmu)
        };
        let ports = vec![port(1, &talker), port(2, &listener)];
        let legs: Vec<LegSpec> = ports.iter().map(|port| leg(1, port)).collect();
        let sockets = [1, 2].map(|seed| GatewaySockets::open("127.0.0.1:0".parse().unwrap(), RANGE, seed).unwrap());
        let input = sockets[0].local().unwrap();
        let table = RouteTable { ports, patches: vec![patch(1)], legs, ..RouteTable::default() };
        let new = table.ports.iter().zip(sockets).zip(shields);
        let new = new.map(|((spec, sockets), shield)| NewSockets { port: spec.port, sockets, shield }).collect();
        let mut stage = Self { link, told, table, talker, listener, input, said: 0 };
        stage.order(1, vec![Order::Only(stage.table.clone())], new);
        stage.wait_for(|report| applied(report, 1));
        stage
    }

    fn order(&mut self, version: u64, orders: Vec<Order>, sockets: Vec<NewSockets>) {
        let batch = OrderBatch { version: RouteVersion(version), orders };
        assert!(self.link.send(ToShard::Orders { batch, sockets }).is_ok(), "the ring has room");
    }

    /// Everything that was told until this was.
    fn wait_for(&mut self, is_it: impl Fn(&FromShard) -> bool) -> Vec<FromShard> {
        let mut seen = Vec::new();
        let timeout = rustix::time::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        loop {
            while let Ok(report) = self.link.reports.pop() {
                let found = is_it(&report);
                seen.push(report);
                if found {
                    return seen;
                }
            }
            let ready = poll(&mut [PollFd::new(&self.told, PollFlags::IN)], Some(&timeout)).unwrap();
            assert!(ready > 0, "never told: {seen:?}");
            let _ = rustix::io::read(&self.told, &mut [0; 8]);
        }
    }

    /// One packet more of the talker's.
    fn say(&mut self) {
        let packet = self.next_packet();
        self.talker.send_to(&packet, self.input).unwrap();
    }

    fn next_packet(&mut self) -> Vec<u8> {
        self.said += 1;
        let (sequence, timestamp) = (self.said, u32::from(self.said) * 160);
        let header = RtpHeader { payload_type: 0, marker: false, sequence, timestamp, ssrc: 5 };
        let mut packet = vec![0; 200];
        let length = header.write_packet(&[], &numbered(usize::from(self.said)), &mut packet).unwrap();
        packet.truncate(length);
        packet
    }

    /// The same sealed; sent as often as asked.
    fn say_sealed(&mut self, sealer: &mut Sealer, times: usize) {
        let mut packet = self.next_packet();
        let length = packet.len();
        packet.resize(length + GROWTH_BYTES_MAX, 0);
        let length = sealer.seal_rtp(&mut packet, length).unwrap();
        for _ in 0..times {
            self.talker.send_to(&packet[..length], self.input).unwrap();
        }
    }

    /// Which packet comes next at the listener, opened, and its stream.
    fn hear_sealed(&self, opener: &mut Opener) -> (u8, u32) {
        let mut packet = [0; 1500];
        let length = self.listener.recv(&mut packet).unwrap();
        assert!(packet[12..length].windows(4).all(|four| four != [self.said as u8; 4]), "it is in the clear");
        let length = opener.open_rtp(&mut packet[..length]).unwrap();
        let packet = RtpPacket::parse(&packet[..length]).unwrap();
        (packet.payload[0], packet.header.ssrc)
    }

    /// Other keys for the listener's port, in force when this returns.
    fn rekey(&mut self, version: u64, shield: Option<Box<Shield>>) {
        assert!(self.link.send(ToShard::Shield { port: self.table.ports[1].port, shield }).is_ok());
        self.order(version, Vec::new(), Vec::new());
        self.wait_for(|report| applied(report, version));
    }

    /// Which packet comes next at the listener.
    fn hear(&self) -> u8 {
        let mut packet = [0; 1500];
        let length = self.listener.recv(&mut packet).unwrap();
        RtpPacket::parse(&packet[..length]).unwrap().payload[0]
    }
}

fn applied(report: &FromShard, wanted: u64) -> bool {
    matches!(report, FromShard::Report(Report::Applied { version, .. }) if version.0 == wanted)
}

fn key(suite: Suite, secret: u8) -> MasterKey {
    MasterKey::new(suite, &vec![secret; suite.key_bytes() + suite.salt_bytes()]).unwrap()
}

#[test]
fn an_encrypted_call_is_opened_and_sealed_at_the_edge_and_nothing_of_it_crosses_in_the_clear() {
    for suite in Suite::ALL {
        let key = |secret| key(suite, secret);
        let shield = |send, receive| Some(Box::new(Shield::new(&key(send), &key(receive))));
        let mut stage = Stage::shielded([shield(1, 2), shield(3, 4)]);
        let (mut talker, mut listener) = (Sealer::new(&key(2)), Opener::new(&key(3)));
        stage.say_sealed(&mut talker, 1);
        let (heard, stream) = stage.hear_sealed(&mut listener);
        assert_eq!(heard, 1);
        // In the clear, forged, and twice: of these one is heard.
        stage.say();
        stage.say_sealed(&mut Sealer::new(&key(9)), 1);
        stage.say_sealed(&mut talker, 2);
        assert_eq!(stage.hear_sealed(&mut listener), (4, stream));
        // The same keys again change nothing; another receiving key does not touch what is sent.
        stage.rekey(2, shield(3, 5));
        stage.say_sealed(&mut talker, 1);
        assert_eq!(stage.hear_sealed(&mut listener), (5, stream));
        stage.rekey(3, shield(6, 5));
        stage.say_sealed(&mut talker, 1);
        let (heard, renewed) = stage.hear_sealed(&mut Opener::new(&key(6)));
        assert!(heard == 6 && renewed != stream, "a new key has a new stream");
        stage.rekey(4, None);
        stage.say_sealed(&mut talker, 1);
        assert_eq!(stage.hear(), 7);
        stage.link.send(ToShard::Stop).unwrap();
        stage.link.join();
    }
}

#[test]
fn a_lost_shard_leaves_its_sockets_to_the_next_and_its_orders_to_nobody() {
    for lose in [condemn, make_panic] {
        let mut stage = Stage::new();
        stage.say();
        assert_eq!(stage.hear(), 1);

        lose(&mut stage);
        stage.wait_for(|report| matches!(report, FromShard::Rebuilt(ShardId(0))));
        // Said while the shard knows nobody, and orders that were made for the one that is gone.
        stage.say();
        let legs: Vec<Order> = stage.table.legs.iter().cloned().map(Order::Join).collect();
        stage.order(3, legs, Vec::new());
        stage.say();

        stage.order(4, vec![Order::Only(stage.table.clone())], Vec::new());
        let told = stage.wait_for(|report| applied(report, 4));
        let old = [2, 3].map(|version| told.iter().any(|report| applied(report, version)));
        assert_eq!(old, [false, false], "the new shard obeyed the old one's orders");
        stage.say();
        assert_eq!([stage.hear(), stage.hear(), stage.hear()], [2, 3, 4], "what its sockets kept is not lost");
        assert_eq!(stage.link.stats.rebuilt.load(Ordering::Relaxed), 1);

        assert!(stage.link.send(ToShard::Stop).is_ok(), "the ring has room");
        stage.link.join();
    }
}

fn condemn(stage: &mut Stage) {
    stage.link.condemn();
}

/// By an order that breaks what the core holds for certain: no daemon has that many shards.
fn make_panic(stage: &mut Stage) {
    let elsewhere = PortSpec { home: ShardId(u8::MAX), ..phone(3, Codec::Pcmu) };
    stage.order(2, vec![Order::Join(leg(1, &elsewhere))], Vec::new());
}

/// For gateways without a port of their own.
const RANGE: (u16, u16) = (33_000, 33_998);
