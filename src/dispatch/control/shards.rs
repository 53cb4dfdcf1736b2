//! What each shard has been told and what it has confirmed. Knows nothing of why.

use std::collections::VecDeque;

use crate::domain::order::{Order, OrderBatch, RouteTable, RouteVersion};
use crate::domain::port::ShardId;
use crate::domain::time::MonoTime;

use super::super::live::Live;
use super::super::routes::{diff, slice};
use super::words::Output;

/// All shards of the daemon.
#[derive(Debug)]
pub struct Shards {
    shards: Vec<ShardLink>,
    version: RouteVersion,
    /// A change of a talking port waits for the end of its burst.
    deferred: bool,
}

/// One shard as dispatch knows it.
#[derive(Debug, Default)]
struct ShardLink {
    /// The table it has once everything sent is applied.
    sent: RouteTable,
    sent_version: RouteVersion,
    applied: RouteVersion,
    /// The first batch of its present life, until it is confirmed: before that it has no routes, carries nothing, and so
    /// lets nothing through however long it takes to start. A thread that never starts is the watchdog's matter.
    starting: Option<RouteVersion>,
    /// Unconfirmed batches that take something, and since when the shard can be late with them.
    cuts: VecDeque<(RouteVersion, MonoTime)>,
    late: bool,
    condemned: bool,
}

/// How a shard is doing, for the roster and for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardStanding {
    pub shard: ShardId,
    pub applied: RouteVersion,
    pub sent: RouteVersion,
    /// Has not confirmed a cut within [`LATE_MS`].
    pub late: bool,
    /// Its packets are to be stopped; it is being replaced.
    pub condemned: bool,
}

impl Shards {
    pub(super) fn new(count: u8) -> Self {
        let shards = (0..count.max(1)).map(|_| ShardLink::default()).collect();
        Self { shards, version: RouteVersion::default(), deferred: false }
    }

    pub(super) fn count(&self) -> u8 {
        self.shards.len() as u8
    }

    /// Whether a change waits for a burst's end.
    pub(super) fn is_deferred(&self) -> bool {
        self.deferred
    }

    /// Sends what leads every shard to these routes. What narrows never waits; another change of a port that talks
    /// waits until it has ended.
    pub(super) fn lead_to(&mut self, table: &RouteTable, live: &Live, now: MonoTime, out: &mut Vec<Output>) {
        self.deferred = false;
        for shard in (0..self.count()).map(ShardId) {
            let mut wanted = slice(table, shard);
            let link = &self.shards[usize::from(shard.0)];
            for port in wanted.ports.iter_mut().filter(|port| live.talks(port.port)) {
                if let Some(told) = link.sent.ports.iter().find(|told| told.port == port.port && *told != port) {
                    *port = told.clone();
                    self.deferred = true;
                }
            }
            let change = diff(&link.sent, &wanted);
            self.shards[usize::from(shard.0)].sent = wanted;
            self.send(shard, change.orders, change.narrows, now, out);
        }
    }

    /// Tells one shard everything and that there is nothing else: at start and after it was replaced.
    pub(super) fn restart(&mut self, shard: ShardId, table: &RouteTable, now: MonoTime, out: &mut Vec<Output>) {
        let Some(link) = self.shards.get_mut(usize::from(shard.0)) else { return };
        let wanted = slice(table, shard);
        let starting = Some(RouteVersion(self.version.0 + 1));
        *link = ShardLink { sent: wanted.clone(), applied: link.applied, starting, ..ShardLink::default() };
        self.send(shard, vec![Order::Only(wanted)], true, now, out);
    }

    /// Hands orders to a shard; a condemned one gets them all at once when it is replaced.
    pub(super) fn send(
        &mut self,
        shard: ShardId,
        orders: Vec<Order>,
        narrows: bool,
        now: MonoTime,
        out: &mut Vec<Output>,
    ) {
        let Some(link) = self.shards.get_mut(usize::from(shard.0)) else { return };
        if orders.is_empty() {
            return;
        }
        self.version.0 += 1;
        link.sent_version = self.version;
        if link.condemned {
            return;
        }
        if narrows {
            link.cuts.push_back((self.version, now));
        }
        out.push(Output::Orders { shard, batch: OrderBatch { version: self.version, orders } });
    }

    /// Sends the same orders to every shard that knows the patch.
    pub(super) fn send_where(
        &mut self,
        knows: impl Fn(&RouteTable) -> bool,
        orders: &[Order],
        narrows: bool,
        now: MonoTime,
        out: &mut Vec<Output>,
    ) {
        for shard in (0..self.count()).map(ShardId) {
            if knows(&self.shards[usize::from(shard.0)].sent) {
                self.send(shard, orders.to_vec(), narrows, now, out);
            }
        }
    }

    /// A shard has applied everything up to this version, and flushed. With its first routes it begins to carry, and
    /// cuts that already wait for it begin to be late.
    pub(super) fn applied(&mut self, shard: ShardId, version: RouteVersion, now: MonoTime) {
        let Some(link) = self.shards.get_mut(usize::from(shard.0)) else { return };
        link.applied = link.applied.max(version);
        if link.starting.take_if(|first| *first <= version).is_some() {
            link.cuts.iter_mut().for_each(|(_, since)| *since = now);
        }
        while link.cuts.pop_front_if(|(cut, _)| *cut <= version).is_some() {}
        link.late &= !link.cuts.is_empty();
    }

    /// Shards that let through for too long what nobody allows.
    pub(super) fn condemn_late(&mut self, now: MonoTime, out: &mut Vec<Output>) {
        for (number, link) in self.shards.iter_mut().enumerate() {
            let carries = link.starting.is_none() && !link.condemned;
            let Some((_, since)) = link.cuts.front().filter(|_| carries) else { continue };
            let waited_ms = now.ms_since(*since);
            link.late = waited_ms >= LATE_MS;
            if waited_ms >= CONDEMN_MS {
                link.condemned = true;
                out.push(Output::CondemnShard { shard: ShardId(number as u8) });
            }
        }
    }

    /// What every shard must confirm before a command that has led to all this is answered.
    pub(super) fn sent_versions(&self) -> Vec<RouteVersion> {
        self.shards.iter().map(|link| link.sent_version).collect()
    }

    pub(super) fn have_applied(&self, required: &[RouteVersion]) -> bool {
        self.shards.iter().zip(required).all(|(link, version)| link.applied >= *version)
    }

    /// How every shard is doing.
    pub fn standing(&self) -> impl Iterator<Item = ShardStanding> + '_ {
        self.shards.iter().enumerate().map(|(number, link)| ShardStanding {
            shard: ShardId(number as u8),
            applied: link.applied,
            sent: link.sent_version,
            late: link.late,
            condemned: link.condemned,
        })
    }
}

/// A shard that has not applied a cut by now is late (ms).
pub const LATE_MS: u64 = 50;
/// And by now it is replaced (ms).
pub const CONDEMN_MS: u64 = 200;
