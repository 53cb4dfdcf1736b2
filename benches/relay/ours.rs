//! A media thread as the daemon runs it, with the ports, patches and legs that a bench gives it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crosspatch::domain::audio::Codec;
use crosspatch::domain::id::NodeId;
use crosspatch::domain::order::{LegSpec, Order, OrderBatch, RouteTable, RouteVersion};
use crosspatch::domain::port::{PeerRule, PortSpec};
use crosspatch::domain::report::Report;
use crosspatch::io::gateway_socket::GatewaySockets;
use crosspatch::io::media::{self, FromShard, NewSockets, ShardLink, ToShard};
use crosspatch::media::limits::ShardLimits;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::rig::{MEASURED, Thread};
use crate::world::{leg, patch, phone};

/// One thread and what it was told.
pub struct Ours {
    /// Where each port listens, in their order.
    pub inputs: Vec<SocketAddr>,
    pub thread: Thread,
    pub link: ShardLink,
    told: Arc<OwnedFd>,
}

impl Ours {
    /// One patch: a talker that sends from `talker`, and a phone for each listener.
    pub fn start(talker: SocketAddr, listeners: &[SocketAddr]) -> Self {
        let peers = std::iter::once(&talker).chain(listeners);
        let ports: Vec<PortSpec> = peers.enumerate().map(|(at, peer)| port(at as u128 + 1, *peer)).collect();
        let legs: Vec<LegSpec> = ports.iter().map(|port| leg(1, port)).collect();
        Self::of(RouteTable { ports, patches: vec![patch(1)], legs, ..RouteTable::default() })
    }

    /// Any routes; returns once they are in force.
    pub fn of(table: RouteTable) -> Self {
        let told = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap());
        let mut links = media::start(1, &ShardLimits::default(), NodeId(1), &[7], &told).unwrap();
        let link = links.pop().unwrap();
        let thread = Thread::named("media-0");
        thread.pin(MEASURED);
        let sockets: Vec<NewSockets> = table.ports.iter().enumerate().map(|(at, port)| open(at, port)).collect();
        let inputs = sockets.iter().map(|new| new.sockets.local().unwrap()).collect();
        let mut ours = Self { inputs, thread, link, told };
        ours.order(1, vec![Order::Only(table)], sockets);
        ours
    }

    /// Returns once the orders are in force.
    pub fn order(&mut self, version: u64, orders: Vec<Order>, sockets: Vec<NewSockets>) {
        let batch = OrderBatch { version: RouteVersion(version), orders };
        assert!(self.link.send(ToShard::Orders { batch, sockets }).is_ok(), "the ring has room");
        loop {
            while let Ok(report) = self.link.reports.pop() {
                if matches!(report, FromShard::Report(Report::Applied { version: applied, .. }) if applied.0 == version)
                {
                    return;
                }
            }
            let _ = poll(&mut [PollFd::new(&self.told, PollFlags::IN)], None);
            let _ = rustix::io::read(&self.told, &mut [0; 8]);
        }
    }

    pub fn finish(mut self) {
        assert!(self.link.send(ToShard::Stop).is_ok(), "the ring has room");
        self.link.join();
    }
}

fn port(number: u128, peer: SocketAddr) -> PortSpec {
    PortSpec { peer: PeerRule::Static(peer), ..phone(number, Codec::Opus) }
}

/// Each port at an address of its own, so that 4,000 pairs fit.
fn open(at: usize, port: &PortSpec) -> NewSockets {
    let first = u32::from(Ipv4Addr::new(127, 9, 0, 1));
    let local = SocketAddr::from((Ipv4Addr::from(first + at as u32), 0));
    let mut sockets = GatewaySockets::open(local, (20_000, 20_099), at as u128).unwrap();
    if let PeerRule::Static(peer) = &port.peer {
        sockets.connect(*peer).unwrap();
    }
    NewSockets { port: port.port, sockets, shield: None }
}

/// A talker's socket, and where it is.
pub fn talker() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}
