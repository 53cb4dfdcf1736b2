//! One media thread's loop: receive a batch, handle, apply orders, tick if due, flush, and only then tell control that
//! orders are in force. It owns the shard, the sockets and the outbox. A panic inside a round costs this shard's bursts
//! and nothing else: the sockets stay open, a new shard is made and control is asked for its routes.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rtrb::{Consumer, Producer};
use rustix::event::epoll;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::domain::id::NodeId;
use crate::domain::order::{Order, OrderBatch, RouteTable, RouteVersion};
use crate::domain::port::ShardId;
use crate::domain::report::Report;
use crate::domain::time::{FRAME_MS, MonoTime};
use crate::io::batch::{ReceiveBatch, ask_for_real_time};
use crate::io::clock;
use crate::io::gateway_socket::Which;
use crate::media::limits::ShardLimits;
use crate::media::outbox::{Outbox, PacketKind, TRUNK_LENGTH_MAX};
use crate::media::shard::Shard;

use super::ring::{FrameReceiver, FrameSender};
use super::sockets::{Sent, SocketTable};
use super::stats::{ShardStats, add};
use super::{FromShard, NewSockets, ToShard, poke};

/// Everything that connects this thread with others.
pub(super) struct Ends {
    pub orders: Consumer<ToShard>,
    pub reports: Producer<FromShard>,
    pub told: Arc<OwnedFd>,
    pub wake: Arc<OwnedFd>,
    pub condemned: Arc<AtomicBool>,
    pub stats: Arc<ShardStats>,
    pub trunks_in: Vec<(ShardId, FrameReceiver)>,
    pub trunks_out: Vec<(ShardId, FrameSender, Arc<OwnedFd>)>,
}

/// A shard and what drives it.
pub(super) struct MediaThread {
    id: ShardId,
    limits: ShardLimits,
    node: NodeId,
    seed: u64,
    shard: Shard,
    out: Outbox,
    sockets: SocketTable,
    batch: ReceiveBatch,
    timer: OwnedFd,
    due: MonoTime,
    applied: Option<RouteVersion>,
    /// Of one round since the last publication.
    most_packets: u64,
    rebuilding: bool,
    stopping: bool,
    ends: Ends,
}

const WAKE: u64 = 0;
const TIMER: u64 = 1;
/// Poll events of one round: packets of 128 gateways, then orders get their turn.
const EVENTS: usize = 128;
/// Orders of one round, so that packets get theirs.
const BATCHES_PER_ROUND: usize = 16;
/// Trunk frames of one round.
const FRAMES_PER_ROUND: usize = 1024;
/// Missed ticks made up for; more would be a burst of stale audio.
const TICKS_AT_ONCE: u64 = 5;
/// Ticks between two publications of counters: half a second.
const PUBLISH_EVERY: u64 = 25;

impl MediaThread {
    pub fn new(id: ShardId, limits: ShardLimits, node: NodeId, seed: u64, ends: Ends) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let due = clock::mono().plus_ms(FRAME_MS);
        let beat = Itimerspec { it_interval: timespec(MonoTime::from_millis(FRAME_MS)), it_value: timespec(due) };
        timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &beat)?;
        epoll::add(&poll, ends.wake.as_fd(), epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        epoll::add(&poll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        let shard = Shard::new(id, &limits, seed).of_node(node);
        let out = Outbox::new(&limits);
        let sockets = SocketTable::new(poll, limits.ports);
        let batch = ReceiveBatch::new();
        Ok(Self {
            id,
            limits,
            node,
            seed,
            shard,
            out,
            sockets,
            batch,
            timer,
            due,
            applied: None,
            most_packets: 0,
            rebuilding: false,
            stopping: false,
            ends,
        })
    }

    pub fn run(mut self) {
        if let Err(fault) = ask_for_real_time() {
            tracing::info!(shard = self.id.0, %fault, "no real-time scheduling for this media thread");
        }
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
        while !self.stopping {
            let ready = match epoll::wait(self.sockets.poll(), &mut events, None) {
                Ok((ready, _)) => ready,
                Err(rustix::io::Errno::INTR) => continue,
                Err(fault) => {
                    tracing::error!(shard = self.id.0, %fault, "polling failed; the thread ends and the watchdog acts");
                    return;
                }
            };
            if catch_unwind(AssertUnwindSafe(|| self.round(ready))).is_err() {
                self.rebuild();
            }
        }
    }

    fn round(&mut self, ready: &[epoll::Event]) {
        let now = clock::mono();
        let mut due = false;
        for event in ready {
            match event.data.u64() {
                WAKE => drain(&self.ends.wake),
                TIMER => due = true,
                data => self.receive(data, now),
            }
        }
        if self.ends.condemned.swap(false, Ordering::SeqCst) {
            self.rebuild();
        }
        self.take_trunk_frames(now);
        self.take_orders(now);
        if due {
            self.tick();
        }
        self.flush();
    }

    fn receive(&mut self, data: u64, now: MonoTime) {
        let Some(ready) = SocketTable::ready(data) else { return };
        let Some((slot, socket)) = self.sockets.socket(ready) else { return };
        let count = match self.batch.receive(socket) {
            Ok(count) => count,
            Err(_) => return add(&self.ends.stats.send_faults, 1),
        };
        let kind = match ready.which {
            Which::Rtp | Which::Line => PacketKind::Rtp,
            Which::Rtcp => PacketKind::Rtcp,
        };
        for at in 0..count {
            let Some(datagram) = self.batch.get(at) else { continue };
            let (source, bytes) = (datagram.source, datagram.bytes);
            if datagram.truncated {
                add(&self.ends.stats.truncated, 1);
                continue;
            }
            match (self.sockets.opener(ready), kind) {
                (Some(opener), _) => {
                    self.shard.handle_sealed(slot, (source, kind), bytes, opener, now, &mut self.out);
                }
                (None, PacketKind::Rtp) => self.shard.handle_packet(slot, source, bytes, now, &mut self.out),
                (None, PacketKind::Rtcp) => self.shard.handle_rtcp(slot, source, bytes, now),
            }
        }
    }

    fn take_trunk_frames(&mut self, now: MonoTime) {
        let mut room = [0; TRUNK_LENGTH_MAX];
        for (from, frames) in &mut self.ends.trunks_in {
            for _ in 0..FRAMES_PER_ROUND {
                let Some(frame) = frames.pop(&mut room) else { break };
                self.shard.handle_trunk(*from, frame, now, &mut self.out);
            }
        }
    }

    fn take_orders(&mut self, now: MonoTime) {
        for _ in 0..BATCHES_PER_ROUND {
            match self.ends.orders.pop() {
                Err(_) => return,
                Ok(ToShard::Sockets(sockets)) => {
                    self.open(sockets);
                    self.resolve();
                }
                Ok(ToShard::Shield { port, shield }) => {
                    if let Some(slot) = self.sockets.shield(port, shield) {
                        self.shard.renew_stream(slot);
                    }
                }
                Ok(ToShard::Orders { batch, sockets }) => {
                    self.open(sockets);
                    self.apply(&batch, now);
                }
                Ok(ToShard::Stop) => {
                    self.stopping = true;
                    let nothing = vec![Order::Only(RouteTable::default())];
                    let batch = OrderBatch { version: RouteVersion::default(), orders: nothing };
                    return self.shard.handle_orders(&batch, now, &mut self.out);
                }
            }
        }
        // More waits: look again at once instead of sleeping on it.
        poke(&self.ends.wake);
    }

    fn apply(&mut self, batch: &OrderBatch, now: MonoTime) {
        let whole = batch.orders.iter().any(|order| matches!(order, Order::Only(_)));
        if self.rebuilding && !whole {
            // Made for the shard that was lost; control sends everything anew.
            return;
        }
        self.rebuilding = false;
        self.shard.handle_orders(batch, now, &mut self.out);
        self.follow_ports(&batch.orders);
        self.applied = Some(batch.version);
    }

    fn open(&mut self, sockets: Vec<NewSockets>) {
        for new in sockets {
            self.sockets.open(new.port, new.sockets, new.shield);
        }
    }

    fn resolve(&mut self) {
        let shard = self.id.0;
        self.sockets.resolve(
            |port| self.shard.slot_of(port),
            |port, fault| tracing::error!(shard, %port, %fault, "a gateway's sockets cannot be polled"),
        );
    }

    /// Closes sockets of closed ports and finds the slots of opened ones.
    fn follow_ports(&mut self, orders: &[Order]) {
        let mut changed = false;
        for order in orders {
            #[expect(clippy::wildcard_enum_match_arm, reason = "only three orders touch ports")]
            match order {
                Order::OpenPort(_) => changed = true,
                Order::ClosePort(port) => {
                    self.sockets.close(*port);
                    changed = true;
                }
                Order::Only(table) => {
                    self.sockets.retain(|port| table.ports.iter().any(|spec| spec.port == port));
                    changed = true;
                }
                _ => {}
            }
        }
        if changed {
            self.resolve();
        }
    }

    fn tick(&mut self) {
        let now = clock::mono();
        let mut count = [0; 8];
        let expired = match rustix::io::read(&self.timer, &mut count) {
            Ok(8) => u64::from_ne_bytes(count),
            Ok(_) | Err(_) => return,
        };
        let late_us = now.since(self.due).as_micros() as u64;
        self.due = self.due.plus_ms(FRAME_MS * expired);
        for _ in 0..expired.min(TICKS_AT_ONCE) {
            self.shard.tick(now, &mut self.out);
        }
        let stats = &self.ends.stats;
        stats.beat(now, late_us);
        if stats.ticks.load(Ordering::Relaxed).is_multiple_of(PUBLISH_EVERY) {
            stats.publish(self.shard.counters());
            stats.outbox_most.store(std::mem::take(&mut self.most_packets), Ordering::Relaxed);
        }
    }

    fn flush(&mut self) {
        let stats = &self.ends.stats;
        for (slot, peer) in self.out.latches() {
            if self.sockets.connect(*slot, *peer).is_err() {
                add(&stats.send_faults, 1);
            }
        }
        let mut packets = 0;
        for departure in self.out.packets() {
            packets += 1;
            match self.sockets.send(departure.port, departure.to, departure.kind, departure.bytes) {
                Sent::Tried(Ok(_)) => {}
                Sent::Tried(Err(_)) => add(&stats.send_faults, 1),
                Sent::NotSealed => add(&stats.not_sealed, 1),
                Sent::NoSocket => add(&stats.without_socket, 1),
            }
        }
        self.sockets.forget_closed();
        self.most_packets = self.most_packets.max(packets);
        for (to, frame) in self.out.trunk_frames() {
            let Some((_, ring, wake)) = self.ends.trunks_out.iter_mut().find(|(shard, _, _)| *shard == to) else {
                continue;
            };
            if ring.push(frame) {
                poke(wake);
            } else {
                add(&stats.ring_full, 1);
            }
        }
        self.tell();
    }

    /// Reports, and last of all that orders are in force: everything sent before has left by now.
    fn tell(&mut self) {
        let applied = self.applied.take().map(|version| Report::Applied { shard: self.id, version });
        let mut told = false;
        for report in self.out.drain_reports().chain(applied) {
            told = true;
            if self.ends.reports.push(FromShard::Report(report)).is_err() {
                add(&self.ends.stats.reports_lost, 1);
            }
        }
        self.out.clear();
        if told {
            poke(&self.ends.told);
        }
    }

    /// A new shard; nothing of the old one leaves.
    fn rebuild(&mut self) {
        add(&self.ends.stats.rebuilt, 1);
        self.seed = self.seed.wrapping_add(1);
        self.shard = Shard::new(self.id, &self.limits, self.seed).of_node(self.node).instead_of(&self.shard);
        self.out = Outbox::new(&self.limits);
        self.applied = None;
        self.rebuilding = true;
        self.resolve();
        if self.ends.reports.push(FromShard::Rebuilt(self.id)).is_err() {
            add(&self.ends.stats.reports_lost, 1);
        }
        poke(&self.ends.told);
    }
}

fn timespec(time: MonoTime) -> Timespec {
    Timespec { tv_sec: (time.0 / 1_000_000_000) as i64, tv_nsec: (time.0 % 1_000_000_000) as i64 }
}

fn drain(wake: &OwnedFd) {
    let mut count = [0; 8];
    let _ = rustix::io::read(wake, &mut count);
}
