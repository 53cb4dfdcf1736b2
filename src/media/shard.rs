//! One media thread's whole world: ports, legs, patches and the bursts between them. Not a thread, a socket or a
//! clock: bytes, orders and the time come in as arguments, everything that shall happen goes into the [`Outbox`].
//! Owned by one media thread; a panic here discards the shard, and a new one is fed `Order::Only`.
//!
//! The caller's round: receive a batch, [`Shard::handle_packet`] each, [`Shard::handle_orders`], [`Shard::tick`] if
//! due, flush the outbox, and only then report `Applied` for the orders.
//!
//! What happens where: `arrive` takes packets in, `talk` asks for floors and ends bursts, `ears` says who hears them,
//! `fan_out` relays, `mix_path` decodes and encodes, `transmit` keys and plays holds, `trunk_link` speaks to other
//! shards, `orders` changes the routes, `settle` closes what has ended.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::domain::floor::BurstEnd;
use crate::domain::id::{GroupId, LegId, NodeId, PatchId, PortId};
use crate::domain::order::OrderBatch;
use crate::domain::port::ShardId;
use crate::domain::random::Entropy;
use crate::domain::report::{MediaLimit, Report};
use crate::domain::time::MonoTime;

use super::burst::{Burst, BurstLists};
use super::codec::CodecPool;
use super::delay::DelayLine;
use super::discard::{Counters, Discard};
use super::encode::MixGroups;
use super::group::Group;
use super::hold::Hold;
use super::index::BurstIndex;
use super::jitter::JitterBuffer;
use super::life::cname_of;
use super::limits::ShardLimits;
use super::orders::Cuts;
use super::outbox::Outbox;
use super::patch::{Leg, Patch};
use super::port::{Held, Port};
use super::returns::ReturnWatch;
use super::slab::{BurstSlot, GroupSlot, LegSlot, PatchSlot, PortSlot, Slab};
use super::watch::Watch;

/// One shard.
pub struct Shard {
    pub(super) id: ShardId,
    pub(super) node: NodeId,
    /// One for all ports of a daemon, whose SSRCs differ, and no other daemon's (RFC 3550 section 6.5.1).
    pub(super) cname: String,
    limits: ShardLimits,
    pub(super) counters: Counters,
    pub(super) entropy: Entropy,
    /// Bursts so far: first come.
    pub(super) order: u64,
    pub(super) ports: Slab<PortSlot, Port>,
    pub(super) port_by_id: BTreeMap<PortId, PortSlot>,
    pub(super) legs: Slab<LegSlot, Leg>,
    pub(super) leg_by_id: BTreeMap<LegId, LegSlot>,
    pub(super) patches: Slab<PatchSlot, Patch>,
    pub(super) patch_by_id: BTreeMap<PatchId, PatchSlot>,
    pub(super) groups: Slab<GroupSlot, Group>,
    pub(super) group_by_id: BTreeMap<GroupId, GroupSlot>,
    /// The ports on each RF channel.
    pub(super) ports_by_channel: BTreeMap<GroupId, Vec<PortSlot>>,
    pub(super) bursts: Slab<BurstSlot, Burst>,
    pub(super) burst_index: BurstIndex,
    pub(super) spare_lists: Vec<BurstLists>,
    pub(super) spare_jitters: Vec<JitterBuffer>,
    pub(super) spare_holds: Vec<Hold<Held>>,
    pub(super) spare_delays: Vec<DelayLine>,
    pub(super) codecs: CodecPool,
    pub(super) mixes: MixGroups,
    pub(super) cuts: Cuts,
    pub(super) watch: Watch,
    pub(super) returns: ReturnWatch,
}

impl Shard {
    /// Everything is reserved now. `seed` makes burst ids and SSRCs.
    pub fn new(id: ShardId, limits: &ShardLimits, seed: u64) -> Self {
        let spares = |count: usize| 0..count;
        Self {
            id,
            node: NodeId(0),
            cname: cname_of(NodeId(0)),
            limits: limits.clone(),
            counters: Counters::default(),
            entropy: Entropy::new(seed),
            order: 0,
            ports: Slab::new(limits.ports),
            port_by_id: BTreeMap::new(),
            legs: Slab::new(limits.legs),
            leg_by_id: BTreeMap::new(),
            patches: Slab::new(limits.patches),
            patch_by_id: BTreeMap::new(),
            groups: Slab::new(limits.groups),
            group_by_id: BTreeMap::new(),
            ports_by_channel: BTreeMap::new(),
            bursts: Slab::new(limits.bursts),
            burst_index: BurstIndex::new(limits.bursts),
            spare_lists: spares(limits.bursts).map(|_| BurstLists::new(limits.ports)).collect(),
            spare_jitters: spares(limits.decoders).map(|_| JitterBuffer::new()).collect(),
            spare_holds: spares(limits.holds)
                .map(|_| Hold::new(HOLD_FRAMES, super::codec::PAYLOAD_BYTES_MAX))
                .collect(),
            spare_delays: spares(limits.delays).map(|_| DelayLine::new()).collect(),
            codecs: CodecPool::new(limits.decoders, limits.encoders).expect("usual Opus is a format libopus has"),
            mixes: MixGroups::new(limits),
            cuts: Cuts::default(),
            watch: Watch::default(),
            returns: ReturnWatch::new(),
        }
    }

    /// The same with the daemon's identity in its trunk frames and reports.
    #[must_use]
    pub fn of_node(mut self, node: NodeId) -> Self {
        (self.node, self.cname) = (node, cname_of(node));
        self
    }

    /// In place of a shard that was lost: its counters go on, and its bursts count as ended by the restart.
    #[must_use]
    pub fn instead_of(mut self, lost: &Self) -> Self {
        self.counters = lost.counters.clone();
        (0..lost.bursts.len()).for_each(|_| self.counters.burst_end(BurstEnd::Restart));
        self
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
        if let Err(why) = self.take_packet(port, source, packet, now, out) {
            self.counters.discard(why);
            if why == Discard::RateLimited {
                self.tell_limit(port, MediaLimit::PacketRate, now, out);
            }
        }
    }

    /// One RTCP packet that arrived at a port.
    pub fn handle_rtcp(&mut self, port: PortSlot, source: SocketAddr, packet: &[u8], now: MonoTime) {
        if let Err(why) = self.take_rtcp(port, source, packet, now) {
            self.counters.discard(why);
        }
    }

    /// One frame from another shard.
    pub fn handle_trunk(&mut self, from: ShardId, frame: &[u8], now: MonoTime, out: &mut Outbox) {
        self.counters.steered += 1;
        if let Err(why) = self.take_frame(from, frame, now, out) {
            self.counters.discard(why);
        }
    }

    /// Applies all of a batch. Nothing that the new routes forbid is left in the outbox afterwards; the caller
    /// reports `Applied` once it has flushed.
    pub fn handle_orders(&mut self, batch: &OrderBatch, now: MonoTime, out: &mut Outbox) {
        self.cuts.collecting = true;
        for order in &batch.orders {
            self.apply_order(order, now, out);
        }
        self.reconcile(now, out);
        self.purge(out);
        self.cuts.collecting = false;
        self.settle_bursts(now, out);
    }

    /// Every 20 ms, in this order: what has gone silent ends, floors move on, decoded talkers are mixed, held speech
    /// is played, ports report and are watched, what has ended is closed.
    pub fn tick(&mut self, now: MonoTime, out: &mut Outbox) {
        self.tick_keys(now, out);
        self.tick_floors(now, out);
        self.mix(now, out);
        self.tick_transmitters(now, out);
        self.tick_life(now, out);
        self.announce(now, out);
        self.tick_watch(now, out);
        self.watch_returns(now, out);
        self.settle_bursts(now, out);
    }

    /// What was done and what was not.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What is taken of each slab and pool now: gauges, and proof that what opens also closes.
    pub fn in_use(&self) -> InUse {
        InUse {
            ports: self.ports.len(),
            patches: self.patches.len(),
            legs: self.legs.len(),
            bursts: self.bursts.len(),
            jitter_buffers: self.limits.decoders - self.spare_jitters.len(),
            holds: self.limits.holds - self.spare_holds.len(),
            delays: self.limits.delays - self.spare_delays.len(),
        }
    }

    /// A report that finds no room is lost and counted.
    pub(super) fn report(&mut self, report: Report, out: &mut Outbox) {
        if !out.push_report(report) {
            self.counters.limit(MediaLimit::Reports);
        }
    }

    /// Counted each time; told each time too, so only for what happens rarely.
    pub(super) fn hit_limit(&mut self, limit: MediaLimit, port: Option<PortId>, now: MonoTime, out: &mut Outbox) {
        self.counters.limit(limit);
        self.report(Report::LimitHit { limit, port, at: now }, out);
    }
}

/// Places taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// Open ports.
    pub ports: usize,
    /// Open patches.
    pub patches: usize,
    /// Legs, of this shard's ports and of others'.
    pub legs: usize,
    /// Bursts that talk or whose end still plays.
    pub bursts: usize,
    /// Jitter buffers, each with its decoder.
    pub jitter_buffers: usize,
    /// Holds of transmitters.
    pub holds: usize,
    /// Delay lines of receivers.
    pub delays: usize,
}

/// Frames of one hold: 2,500 ms of 20 ms packets and what comes while they are played.
const HOLD_FRAMES: usize = 160;
