//! One media thread of a world: a real shard driven exactly as the real thread drives it (receive, trunk frames,
//! orders, tick if due, flush, and only then tell that orders are in force), minus the sockets.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crosspatch::domain::order::{Order, OrderBatch, RouteVersion};
use crosspatch::domain::port::ShardId;
use crosspatch::domain::report::Report;
use crosspatch::domain::time::MonoTime;
use crosspatch::media::limits::ShardLimits;
use crosspatch::media::outbox::{Outbox, PacketKind};
use crosspatch::media::shard::Shard;
use crosspatch::media::slab::PortSlot;

use super::device::Device;
use super::field::{Datagram, Ear};

/// A packet that has left for a device.
#[derive(Clone, Debug)]
pub struct Sent {
    pub ear: Ear,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// What left a shard in one round.
#[derive(Debug, Default)]
pub struct Flushed {
    pub packets: Vec<Sent>,
    /// RTCP.
    pub controls: Vec<Sent>,
    pub frames: Vec<(ShardId, Vec<u8>)>,
    pub reports: Vec<Report>,
}

/// A media thread.
pub struct Seat {
    pub id: ShardId,
    shard: Shard,
    out: Outbox,
    limits: ShardLimits,
    seed: u64,
    orders: VecDeque<OrderBatch>,
    frames: VecDeque<(ShardId, Vec<u8>)>,
    applied: Option<RouteVersion>,
    rebuilding: bool,
    ear_by_slot: BTreeMap<PortSlot, Ear>,
    slot_by_ear: BTreeMap<Ear, PortSlot>,
    /// Does nothing until then, as a thread that is not scheduled.
    pub stuck_until: MonoTime,
    /// Frames that found the ring full.
    pub ring_full: u64,
    /// The most packets in one round.
    pub outbox_most: usize,
}

/// Frames between two shards that wait at most; the real ring holds more, a world's bursts fill less.
pub const RING: usize = 64;

impl Seat {
    pub fn new(id: ShardId, seed: u64) -> Self {
        let limits = ShardLimits { decoders: 8, encoders: 8, holds: 8, ..ShardLimits::small() };
        Self {
            id,
            shard: Shard::new(id, &limits, seed),
            out: Outbox::new(&limits),
            limits,
            seed,
            orders: VecDeque::new(),
            frames: VecDeque::new(),
            applied: None,
            rebuilding: false,
            ear_by_slot: BTreeMap::new(),
            slot_by_ear: BTreeMap::new(),
            stuck_until: MonoTime(0),
            ring_full: 0,
            outbox_most: 0,
        }
    }

    pub fn order(&mut self, batch: OrderBatch) {
        self.orders.push_back(batch);
    }

    /// A frame from another shard; a full ring takes nothing and counts.
    pub fn trunk(&mut self, from: ShardId, frame: Vec<u8>, endless: bool) {
        if self.frames.len() < RING || endless {
            self.frames.push_back((from, frame));
        } else {
            self.ring_full += 1;
        }
    }

    pub fn frames_waiting(&self) -> usize {
        self.frames.len()
    }

    pub fn limits(&self) -> &ShardLimits {
        &self.limits
    }

    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// Whether a device's port is open here.
    pub fn has(&self, ear: Ear) -> bool {
        self.slot_by_ear.contains_key(&ear)
    }

    pub fn is_stuck(&self, now: MonoTime) -> bool {
        now < self.stuck_until
    }

    /// A new shard; nothing of the old one leaves. It waits for `Order::Only`.
    pub fn rebuild(&mut self) {
        self.seed = self.seed.wrapping_add(1);
        self.shard = Shard::new(self.id, &self.limits, self.seed).instead_of(&self.shard);
        self.out = Outbox::new(&self.limits);
        self.applied = None;
        self.rebuilding = true;
        self.ear_by_slot.clear();
        self.slot_by_ear.clear();
    }

    /// One breath of the thread.
    pub fn round(&mut self, arrivals: &[Datagram], tick: bool, now: MonoTime, devices: &[Device]) -> Flushed {
        for datagram in arrivals {
            if let Some(slot) = self.slot_by_ear.get(&datagram.to) {
                let Datagram { source, bytes, .. } = datagram;
                if datagram.control {
                    self.shard.handle_rtcp(*slot, *source, bytes, now);
                } else {
                    self.shard.handle_packet(*slot, *source, bytes, now, &mut self.out);
                }
            }
        }
        while let Some((from, frame)) = self.frames.pop_front() {
            self.shard.handle_trunk(from, &frame, now, &mut self.out);
        }
        while let Some(batch) = self.orders.pop_front() {
            let whole = batch.orders.iter().any(|order| matches!(order, Order::Only(_)));
            if self.rebuilding && !whole {
                continue; // made for the shard that was lost
            }
            self.rebuilding = false;
            self.shard.handle_orders(&batch, now, &mut self.out);
            self.applied = Some(batch.version);
            self.resolve(devices);
        }
        if tick {
            self.shard.tick(now, &mut self.out);
        }
        self.flush()
    }

    fn resolve(&mut self, devices: &[Device]) {
        self.ear_by_slot.clear();
        self.slot_by_ear.clear();
        for (ear, device) in devices.iter().enumerate() {
            if let Some(slot) = self.shard.slot_of(device.port) {
                self.ear_by_slot.insert(slot, ear);
                self.slot_by_ear.insert(ear, slot);
            }
        }
    }

    fn flush(&mut self) -> Flushed {
        let mut flushed = Flushed::default();
        for departure in self.out.packets() {
            let Some(ear) = self.ear_by_slot.get(&departure.port) else { continue };
            let sent = Sent { ear: *ear, to: departure.to, bytes: departure.bytes.to_vec() };
            match departure.kind {
                PacketKind::Rtp => flushed.packets.push(sent),
                PacketKind::Rtcp => flushed.controls.push(sent),
            }
        }
        self.outbox_most = self.outbox_most.max(flushed.packets.len());
        flushed.frames.extend(self.out.trunk_frames().map(|(to, frame)| (to, frame.to_vec())));
        flushed.reports.extend(self.out.drain_reports());
        let applied = self.applied.take().map(|version| Report::Applied { shard: self.id, version });
        flushed.reports.extend(applied);
        self.out.clear();
        flushed
    }
}
