//! Media threads: one shard each, driven by packets, orders and an absolute 20 ms beat. Nothing here decides; it carries.

mod ring;
mod sockets;
pub mod stats;
mod thread;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rtrb::{Consumer, Producer, RingBuffer};
use rustix::event::{EventfdFlags, eventfd};

use crate::domain::id::{NodeId, PortId};
use crate::domain::order::OrderBatch;
use crate::domain::port::ShardId;
use crate::domain::report::Report;
use crate::io::gateway_socket::GatewaySockets;
use crate::media::limits::ShardLimits;
use crate::wire::srtp::Shield;

use stats::ShardStats;
use thread::MediaThread;

/// From control to a media thread.
#[derive(Debug)]
pub enum ToShard {
    /// New sockets first, then the orders that use them.
    Orders { batch: OrderBatch, sockets: Vec<NewSockets> },
    /// Sockets that could not be opened before.
    Sockets(Vec<NewSockets>),
    /// An open port's call is encrypted with other keys from now on, or not any more.
    Shield { port: PortId, shield: Option<Box<Shield>> },
    /// Unkey everything, flush and end.
    Stop,
}

/// Sockets for a port of this shard.
#[derive(Debug)]
pub struct NewSockets {
    pub port: PortId,
    pub sockets: GatewaySockets,
    /// Its call is encrypted.
    pub shield: Option<Box<Shield>>,
}

/// From a media thread to control.
#[derive(Debug)]
pub enum FromShard {
    /// What the shard saw.
    Report(Report),
    /// The shard was lost by a panic or condemned; the new one knows nothing yet.
    Rebuilt(ShardId),
}

/// The control side of one media thread.
pub struct ShardLink {
    pub shard: ShardId,
    orders: Producer<ToShard>,
    wake: Arc<OwnedFd>,
    pub reports: Consumer<FromShard>,
    condemned: Arc<AtomicBool>,
    pub stats: Arc<ShardStats>,
    thread: Option<JoinHandle<()>>,
}

/// Batches in flight to one thread: a restart sends one, a busy minute a few.
const ORDERS_IN_FLIGHT: usize = 1024;
/// Reports in flight from one thread; what does not fit is counted as lost.
const REPORTS_IN_FLIGHT: usize = 65_536;

/// Starts `count` media threads of this daemon. The pipe `told` is written whenever one of them has something to report.
pub fn start(
    count: u8,
    limits: &ShardLimits,
    node: NodeId,
    seeds: &[u64],
    told: &Arc<OwnedFd>,
) -> io::Result<Vec<ShardLink>> {
    let mut wakes = Vec::new();
    for _ in 0..count {
        wakes.push(Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?));
    }
    let mut senders: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
    let mut receivers: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
    for from in 0..count {
        for to in (0..count).filter(|to| *to != from) {
            let (sender, receiver) = ring::frames();
            senders[usize::from(from)].push((ShardId(to), sender, Arc::clone(&wakes[usize::from(to)])));
            receivers[usize::from(to)].push((ShardId(from), receiver));
        }
    }
    let mut links = Vec::new();
    for (at, (trunks_out, trunks_in)) in senders.into_iter().zip(receivers).enumerate() {
        let shard = ShardId(at as u8);
        let (orders, orders_in) = RingBuffer::new(ORDERS_IN_FLIGHT);
        let (reports_out, reports) = RingBuffer::new(REPORTS_IN_FLIGHT);
        let condemned = Arc::new(AtomicBool::new(false));
        let stats = Arc::new(ShardStats::default());
        let wake = Arc::clone(&wakes[at]);
        let ends = thread::Ends {
            orders: orders_in,
            reports: reports_out,
            told: Arc::clone(told),
            wake: Arc::clone(&wake),
            condemned: Arc::clone(&condemned),
            stats: Arc::clone(&stats),
            trunks_in,
            trunks_out,
        };
        let limits = limits.clone();
        let seed = seeds.get(at).copied().unwrap_or(at as u64);
        let thread = std::thread::Builder::new().name(format!("media-{at}")).spawn(move || {
            match MediaThread::new(shard, limits, node, seed, ends) {
                Ok(thread) => thread.run(),
                Err(fault) => tracing::error!(%fault, shard = shard.0, "a media thread could not start"),
            }
        })?;
        links.push(ShardLink { shard, orders, wake, reports, condemned, stats, thread: Some(thread) });
    }
    Ok(links)
}

impl ShardLink {
    /// Hands a message over and wakes the thread; gives it back if the ring is full.
    pub fn send(&mut self, message: ToShard) -> Result<(), ToShard> {
        let sent = self.orders.push(message).map_err(|rtrb::PushError::Full(message)| message);
        poke(&self.wake);
        sent
    }

    /// Whatever waits in the shard's outbox must not leave: it is rebuilt at its next breath.
    pub fn condemn(&self) {
        self.condemned.store(true, Ordering::SeqCst);
        poke(&self.wake);
    }

    /// Waits for the thread after [`ToShard::Stop`].
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(shard = self.shard.0, "a media thread ended by panic");
        }
    }
}

/// Wakes whoever waits on an eventfd or pipe; a full one is awake already.
fn poke(wake: &OwnedFd) {
    let _ = rustix::io::write(wake.as_fd(), &1u64.to_ne_bytes());
}
