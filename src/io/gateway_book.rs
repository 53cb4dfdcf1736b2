//! Which gateway has its sockets open where. Opens them when a port is ordered, tries again when the system refuses,
//! and says which gateways are without. Owned by the control task; the open sockets themselves go to media threads.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::domain::configuration::{Configuration, GatewayKind};
use crate::domain::id::PortId;
use crate::domain::order::{Order, OrderBatch};
use crate::domain::port::{PeerRule, ShardId};
use crate::domain::time::MonoTime;
use crate::wire::srtp::Shield;

use super::gateway_socket::GatewaySockets;
use super::media::NewSockets;

/// Waits this long before a refused address is tried again (ms).
const RETRY_MS: u64 = 2000;

/// Sockets by port.
#[derive(Debug)]
pub struct GatewayBook {
    media_ports: (u16, u16),
    configuration: Arc<Configuration>,
    wanted: BTreeMap<PortId, Wanted>,
    open: BTreeMap<PortId, Open>,
    refused: BTreeMap<PortId, Refused>,
    /// Sockets of phones whose calls have opened them, until their port is ordered.
    given: BTreeMap<PortId, (GatewaySockets, Option<Box<Shield>>)>,
    /// Ports that were refused their sockets since somebody asked, and why, or that are so no longer.
    news: BTreeMap<PortId, Option<String>>,
}

#[derive(Debug)]
struct Wanted {
    local: SocketAddr,
    /// Configured, not latched.
    peer: Option<SocketAddr>,
}

#[derive(Debug)]
struct Open {
    shard: ShardId,
    configured: SocketAddr,
    bound: SocketAddr,
}

#[derive(Debug)]
struct Refused {
    shard: ShardId,
    again: MonoTime,
    /// The system's words.
    cause: String,
}

impl GatewayBook {
    /// An empty book; `media_ports` serves gateways without a port of their own.
    pub fn new(media_ports: (u16, u16)) -> Self {
        Self {
            media_ports,
            configuration: Arc::default(),
            wanted: BTreeMap::new(),
            open: BTreeMap::new(),
            refused: BTreeMap::new(),
            given: BTreeMap::new(),
            news: BTreeMap::new(),
        }
    }

    /// Where each open port really listens.
    pub fn bound(&self) -> BTreeMap<PortId, SocketAddr> {
        self.open.iter().map(|(port, open)| (*port, open.bound)).collect()
    }

    /// Takes the addresses of a new configuration; cheap if it is the one already known. Returns new sockets of open
    /// gateways whose own address has changed, by shard.
    pub fn adopt(&mut self, configuration: &Arc<Configuration>, now: MonoTime) -> BTreeMap<ShardId, Vec<NewSockets>> {
        if Arc::ptr_eq(&self.configuration, configuration) {
            return BTreeMap::new();
        }
        self.configuration = Arc::clone(configuration);
        self.wanted = configuration
            .gateways
            .iter()
            .filter_map(|(id, gateway)| {
                let GatewayKind::Rtp(rtp) = &gateway.kind else { return None };
                let peer = match &rtp.peer {
                    PeerRule::Static(peer) => Some(*peer),
                    PeerRule::Latch(_) => None,
                };
                Some((PortId::of_gateway(id), Wanted { local: rtp.local, peer }))
            })
            .collect();
        let open: Vec<(PortId, ShardId)> = self.open.iter().map(|(port, open)| (*port, open.shard)).collect();
        self.open_all(open, now)
    }

    /// A phone's call has opened these; they wait for the order that opens its port.
    pub fn give(&mut self, port: PortId, sockets: GatewaySockets, shield: Option<Box<Shield>>) {
        self.given.insert(port, (sockets, shield));
    }

    /// Which shard has a port open.
    pub fn shard_of(&self, port: PortId) -> Option<ShardId> {
        self.open.get(&port).map(|open| open.shard)
    }

    /// Closes what was given and no order has asked for.
    pub fn close_given(&mut self) {
        self.given.clear();
    }

    /// The sockets a batch needs and gets.
    pub fn follow(&mut self, shard: ShardId, batch: &OrderBatch, now: MonoTime) -> Vec<NewSockets> {
        let mut opened = Vec::new();
        for order in &batch.orders {
            #[expect(clippy::wildcard_enum_match_arm, reason = "only three orders touch ports")]
            match order {
                Order::ClosePort(port) => self.forget(*port),
                Order::OpenPort(spec) => self.want(spec.port, shard, now, &mut opened),
                Order::Only(table) => {
                    for spec in table.ports.iter().filter(|spec| spec.home == shard) {
                        self.want(spec.port, shard, now, &mut opened);
                    }
                }
                _ => {}
            }
        }
        opened
    }

    /// Sockets that could be opened now and could not before, by shard.
    pub fn retry(&mut self, now: MonoTime) -> BTreeMap<ShardId, Vec<NewSockets>> {
        let due: BTreeSet<(PortId, ShardId)> =
            self.refused.iter().filter(|(_, r)| r.again <= now).map(|(port, r)| (*port, r.shard)).collect();
        self.open_all(due, now)
    }

    /// Which ports have been refused since the last question, in the system's words, and which are so no longer.
    pub fn take_news(&mut self) -> BTreeMap<PortId, Option<String>> {
        std::mem::take(&mut self.news)
    }

    fn open_all(
        &mut self,
        ports: impl IntoIterator<Item = (PortId, ShardId)>,
        now: MonoTime,
    ) -> BTreeMap<ShardId, Vec<NewSockets>> {
        let mut by_shard: BTreeMap<ShardId, Vec<NewSockets>> = BTreeMap::new();
        for (port, shard) in ports {
            let mut opened = Vec::new();
            self.want(port, shard, now, &mut opened);
            by_shard.entry(shard).or_default().extend(opened);
        }
        by_shard.retain(|_, opened| !opened.is_empty());
        by_shard
    }

    fn forget(&mut self, port: PortId) {
        self.open.remove(&port);
        if self.refused.remove(&port).is_some() {
            self.news.insert(port, None);
        }
    }

    fn want(&mut self, port: PortId, shard: ShardId, now: MonoTime, opened: &mut Vec<NewSockets>) {
        if let Some((sockets, shield)) = self.given.remove(&port) {
            if let Ok(bound) = sockets.local() {
                self.open.insert(port, Open { shard, configured: bound, bound });
            }
            return opened.push(NewSockets { port, sockets, shield });
        }
        let Some(wanted) = self.wanted.get(&port) else { return };
        if self.open.get(&port).is_some_and(|open| open.configured == wanted.local) {
            return;
        }
        let sockets = GatewaySockets::open(wanted.local, self.media_ports, port.0);
        match sockets.and_then(|sockets| Ok((sockets.local()?, sockets))) {
            Ok((bound, mut sockets)) => {
                if let Some(Err(fault)) = wanted.peer.map(|peer| sockets.connect(peer)) {
                    tracing::warn!(local = %bound, %fault, "a gateway's peer cannot be connected to; it is sent to without");
                }
                if self.refused.remove(&port).is_some() {
                    self.news.insert(port, None);
                }
                self.open.insert(port, Open { shard, configured: wanted.local, bound });
                opened.push(NewSockets { port, sockets, shield: None });
            }
            Err(fault) => {
                let (again, cause) = (now.plus_ms(RETRY_MS), format!("{}: {fault}", wanted.local));
                let before = self.refused.insert(port, Refused { shard, again, cause: cause.clone() });
                if before.is_none_or(|before| before.cause != cause) {
                    self.news.insert(port, Some(cause));
                }
            }
        }
    }
}
