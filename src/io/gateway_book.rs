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
    given: BTreeMap<PortId, GatewaySockets>,
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
    pub fn give(&mut self, port: PortId, sockets: GatewaySockets) {
        self.given.insert(port, sockets);
    }

    /// Closes what was given and no order has asked for.
    pub fn close_given(&mut self) {
        self.given.clear();
    }

    /// The sockets a batch needs, and the ports that got none.
    pub fn follow(&mut self, shard: ShardId, batch: &OrderBatch, now: MonoTime) -> (Vec<NewSockets>, Vec<PortId>) {
        let mut opened = Vec::new();
        let mut refused = Vec::new();
        for order in &batch.orders {
            #[expect(clippy::wildcard_enum_match_arm, reason = "only three orders touch ports")]
            match order {
                Order::ClosePort(port) => self.forget(*port),
                Order::OpenPort(spec) => self.want(spec.port, shard, now, &mut opened, &mut refused),
                Order::Only(table) => {
                    for spec in table.ports.iter().filter(|spec| spec.home == shard) {
                        self.want(spec.port, shard, now, &mut opened, &mut refused);
                    }
                }
                _ => {}
            }
        }
        (opened, refused)
    }

    /// Sockets that could be opened now and could not before, by shard.
    pub fn retry(&mut self, now: MonoTime) -> BTreeMap<ShardId, Vec<NewSockets>> {
        let due: BTreeSet<(PortId, ShardId)> =
            self.refused.iter().filter(|(_, r)| r.again <= now).map(|(port, r)| (*port, r.shard)).collect();
        self.open_all(due, now)
    }

    fn open_all(
        &mut self,
        ports: impl IntoIterator<Item = (PortId, ShardId)>,
        now: MonoTime,
    ) -> BTreeMap<ShardId, Vec<NewSockets>> {
        let mut by_shard: BTreeMap<ShardId, Vec<NewSockets>> = BTreeMap::new();
        for (port, shard) in ports {
            let mut opened = Vec::new();
            self.want(port, shard, now, &mut opened, &mut Vec::new());
            by_shard.entry(shard).or_default().extend(opened);
        }
        by_shard.retain(|_, opened| !opened.is_empty());
        by_shard
    }

    fn forget(&mut self, port: PortId) {
        self.open.remove(&port);
        self.refused.remove(&port);
    }

    fn want(
        &mut self,
        port: PortId,
        shard: ShardId,
        now: MonoTime,
        opened: &mut Vec<NewSockets>,
        refused: &mut Vec<PortId>,
    ) {
        if let Some(sockets) = self.given.remove(&port) {
            if let Ok(bound) = sockets.local() {
                self.open.insert(port, Open { shard, configured: bound, bound });
            }
            return opened.push(NewSockets { port, sockets });
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
                self.refused.remove(&port);
                self.open.insert(port, Open { shard, configured: wanted.local, bound });
                opened.push(NewSockets { port, sockets });
            }
            Err(fault) => {
                if self.refused.insert(port, Refused { shard, again: now.plus_ms(RETRY_MS) }).is_none() {
                    tracing::warn!(local = %wanted.local, %fault, "a gateway's sockets cannot be opened; trying again");
                }
                refused.push(port);
            }
        }
    }
}
