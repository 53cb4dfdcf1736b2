//! A real media thread with real sockets, condemned while somebody talks: its sockets stay and lose nothing, and orders
//! that were made for the old shard are not the new one's. A panic takes the same way; that none can be made from here is
//! what `tests/fuzz_media.rs` promises.

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
        let new = table.ports.iter().zip(sockets).map(|(spec, sockets)| NewSockets { port: spec.port, sockets });
        let new = new.collect();
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
        self.said += 1;
        let (sequence, timestamp) = (self.said, u32::from(self.said) * 160);
        let header = RtpHeader { payload_type: 0, marker: false, sequence, timestamp, ssrc: 5 };
        let mut packet = [0; 200];
        let length = header.write_packet(&[], &numbered(usize::from(self.said)), &mut packet).unwrap();
        self.talker.send_to(&packet[..length], self.input).unwrap();
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

#[test]
fn a_condemned_shard_leaves_its_sockets_to_the_next_and_its_orders_to_nobody() {
    let mut stage = Stage::new();
    stage.say();
    assert_eq!(stage.hear(), 1);

    stage.link.condemn();
    stage.wait_for(|report| matches!(report, FromShard::Rebuilt(ShardId(0))));
    // Said while the shard knows nobody, and orders that were made for the one that is gone.
    stage.say();
    let legs: Vec<Order> = stage.table.legs.iter().cloned().map(Order::Join).collect();
    stage.order(2, legs, Vec::new());
    stage.say();

    stage.order(3, vec![Order::Only(stage.table.clone())], Vec::new());
    let told = stage.wait_for(|report| applied(report, 3));
    assert!(!told.iter().any(|report| applied(report, 2)), "the new shard obeyed the old one's orders");
    stage.say();
    assert_eq!([stage.hear(), stage.hear(), stage.hear()], [2, 3, 4], "what its sockets kept is not lost");
    assert_eq!(stage.link.stats.rebuilt.load(Ordering::Relaxed), 1);

    assert!(stage.link.send(ToShard::Stop).is_ok(), "the ring has room");
    stage.link.join();
}

/// For gateways without a port of their own.
const RANGE: (u16, u16) = (33_000, 33_998);
