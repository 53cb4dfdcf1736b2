//! What a media thread lets others see: counters, lateness of the tick, fill of the outbox, the heartbeat. Written by
//! the one thread, read by anyone, never waited for.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::floor::{BurstEnd, Denial, MissCause};
use crate::domain::report::MediaLimit;
use crate::domain::time::MonoTime;
use crate::media::discard::{Counters, Discard};

/// Upper bounds of the lateness histogram (ms); the last bucket is everything above.
pub const LATENESS_MS: [u64; 8] = [1, 2, 5, 10, 20, 50, 100, 200];

/// One thread's published figures.
#[derive(Debug, Default)]
pub struct ShardStats {
    pub discards: [AtomicU64; Discard::ALL.len()],
    pub burst_ends: [AtomicU64; BurstEnd::ALL.len()],
    pub misses: [AtomicU64; MissCause::ALL.len()],
    pub denials: [AtomicU64; Denial::ALL.len()],
    pub limits: [AtomicU64; MediaLimit::ALL.len()],
    pub received: AtomicU64,
    pub relayed: AtomicU64,
    pub mixed: AtomicU64,
    pub encoded: AtomicU64,
    pub decoded: AtomicU64,
    pub steered: AtomicU64,
    pub bursts: AtomicU64,
    /// Ticks by how late they began.
    pub lateness: [AtomicU64; LATENESS_MS.len() + 1],
    /// Sum of lateness (us).
    pub lateness_us: AtomicU64,
    pub ticks: AtomicU64,
    /// Most packets in the outbox of one round in the last half second.
    pub outbox_most: AtomicU64,
    /// Packets the kernel did not take.
    pub send_faults: AtomicU64,
    /// Packets of an encrypted call that could not be sealed, and so did not leave.
    pub not_sealed: AtomicU64,
    /// Packets for a port whose sockets are not open.
    pub without_socket: AtomicU64,
    /// Datagrams longer than any voice packet.
    pub truncated: AtomicU64,
    /// Trunk frames a full ring did not take.
    pub ring_full: AtomicU64,
    /// Reports a full ring did not take.
    pub reports_lost: AtomicU64,
    /// Panics caught and condemnations; each made a new shard.
    pub rebuilt: AtomicU64,
    heartbeat: AtomicU64,
}

impl ShardStats {
    /// When the thread last ticked.
    pub fn heartbeat(&self) -> MonoTime {
        MonoTime(self.heartbeat.load(Ordering::Relaxed))
    }

    pub(super) fn beat(&self, now: MonoTime, late_us: u64) {
        self.heartbeat.store(now.0, Ordering::Relaxed);
        let bucket = LATENESS_MS.iter().position(|bound| late_us <= bound * 1000).unwrap_or(LATENESS_MS.len());
        add(&self.lateness[bucket], 1);
        add(&self.lateness_us, late_us);
        add(&self.ticks, 1);
    }

    pub(super) fn publish(&self, counters: &Counters) {
        let copy = |to: &[AtomicU64], from: &dyn Fn(usize) -> u64| {
            for (at, counter) in to.iter().enumerate() {
                counter.store(from(at), Ordering::Relaxed);
            }
        };
        copy(&self.discards, &|at| counters.discards(Discard::ALL[at]));
        copy(&self.burst_ends, &|at| counters.burst_ends(BurstEnd::ALL[at]));
        copy(&self.misses, &|at| counters.misses(MissCause::ALL[at]));
        copy(&self.denials, &|at| counters.denials(Denial::ALL[at]));
        copy(&self.limits, &|at| counters.limits(MediaLimit::ALL[at]));
        self.received.store(counters.received, Ordering::Relaxed);
        self.relayed.store(counters.relayed, Ordering::Relaxed);
        self.mixed.store(counters.mixed, Ordering::Relaxed);
        self.encoded.store(counters.encoded, Ordering::Relaxed);
        self.decoded.store(counters.decoded, Ordering::Relaxed);
        self.steered.store(counters.steered, Ordering::Relaxed);
        self.bursts.store(counters.bursts, Ordering::Relaxed);
    }
}

pub(super) fn add(counter: &AtomicU64, by: u64) {
    // One writer: no read-modify-write is needed.
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}
