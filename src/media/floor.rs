//! The right to talk in one patch, in the vocabulary of 3GPP TS 24.380: request, granted, denied, queue position,
//! revoked, released, idle. Not who hears whom, and no clock: the patch's home shard owns one floor per patch, asks it
//! in the packet's own call and ticks it. What can go wrong is a radio that cannot be silenced: revoked, it stays
//! refused until it lets go.
//!
//! ```text
//!               room                          release
//!   (none) ------------------> Holding ----------------------------> (none)
//!     | |                       ^  |  revoke, time-out, pre-emption,
//!     | | full, queue has room  |  |  narrowed policy
//!     | +---------> Queued -----+  v
//!     |               |  room    Revoked -- release, or it declares an emergency --> (none)
//!     |               +-- release, or its place is lost (Turned) ------------------> (none)
//!     +-- full: denied, nothing is remembered
//! ```
//!
//! Every grant (a `Granted` verdict or change) has exactly one end: a [`Change::Ended`], or the victim named by
//! [`Verdict::GrantedAfterEnding`], whose cause is pre-emption.

use crate::domain::audio::Level;
use crate::domain::floor::{BurstEnd, Denial, FloorMode, FloorPolicy, HOLDERS_MAX, Priority, QUEUE_MAX};
use crate::domain::id::LinkId;
use crate::domain::time::MonoTime;

use super::few::Few;

/// What a request weighs: emergency, then the dispatcher of the port's owner, then the host's, then the link's
/// priority, then first come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The talker has an open emergency.
    pub emergency: bool,
    /// A console of the agency that owns the port concerned.
    pub owner_dispatcher: bool,
    /// A console of the patch's host.
    pub host_dispatcher: bool,
    /// The link's.
    pub priority: Priority,
    /// The talkgroup or party in whose name it talks: who held the floor last keeps precedence by it.
    pub side: LinkId,
    /// When it keyed; stays the same for one key.
    pub asked_at: MonoTime,
}

/// What outranks what; equal ranks never displace each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    emergency: bool,
    owner_dispatcher: bool,
    host_dispatcher: bool,
    priority: Priority,
}

impl Standing {
    /// Without first come.
    pub const fn rank(&self) -> Rank {
        Rank {
            emergency: self.emergency,
            owner_dispatcher: self.owner_dispatcher,
            host_dispatcher: self.host_dispatcher,
            priority: self.priority,
        }
    }
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<K> {
    /// It has the floor from now on.
    Granted,
    /// It has the floor, and this one's has ended: pre-empted.
    GrantedAfterEnding(K),
    /// It had the floor already.
    Continues,
    /// It waits; position 1 is next.
    Queued { position: u8 },
    /// It does not get the floor; nothing of it is remembered.
    Denied(Denial),
}

/// What happened to somebody else than the caller's request, or by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<K> {
    /// It waited and has the floor now.
    Granted(K),
    /// Its floor has ended.
    Ended { key: K, cause: BurstEnd, held_ms: u32 },
    /// Its talk limit is near.
    EndsSoon { key: K, left_ms: u32 },
    /// It waits at another position than told before.
    Moved { key: K, position: u8 },
    /// It waited and lost its place.
    Turned { key: K, cause: Denial },
    /// Nobody holds the floor and nobody keeps precedence any more.
    Idle,
}

/// Changes of one call: at most one for each seat, and `Idle`.
pub type Changes<K> = Few<Change<K>, { SEATS_MAX + 1 }>;
/// Keys of one call.
pub type Keys<K> = Few<K, SEATS_MAX>;

/// What a floor shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nobody.
    Idle,
    /// So many hold it.
    Taken { holders: u8 },
    /// Nobody, but the last side keeps precedence.
    Hang { side: LinkId, until: MonoTime },
}

/// One patch's floor. `K` is whatever the owner calls a leg.
#[derive(Clone, Copy, Debug)]
pub struct Floor<K> {
    policy: FloorPolicy,
    seats: [Option<Seat<K>>; SEATS_MAX],
    hang: Option<Hang>,
    /// `Idle` has been told since the last grant ended.
    quiet: bool,
}

#[derive(Clone, Copy, Debug)]
struct Seat<K> {
    key: K,
    standing: Standing,
    state: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Holding {
        since: MonoTime,
        port_limit_ms: u32,
        warned: bool,
        level: Level,
        heard: bool,
    },
    Queued {
        told: u8,
        port_limit_ms: u32,
    },
    /// Lost its place in the queue; told with the next changes.
    Turned,
    Revoked {
        at: MonoTime,
        in_emergency: bool,
    },
}

#[derive(Clone, Copy, Debug)]
struct Hang {
    side: LinkId,
    rank: Rank,
    since: MonoTime,
    until: MonoTime,
}

impl<K: Copy + Eq> Floor<K> {
    /// An idle floor.
    pub fn new(policy: FloorPolicy) -> Self {
        Self { policy: clamped(policy), seats: [None; SEATS_MAX], hang: None, quiet: true }
    }

    /// The policy in force, within the hard limits.
    pub const fn policy(&self) -> FloorPolicy {
        self.policy
    }

    /// Asks for the floor, or for `Continues` while it is held: call it with every packet or once per key.
    /// `port_limit_ms` is the port's own talk limit; the shorter of it and the policy's wins.
    pub fn request(&mut self, key: K, standing: Standing, port_limit_ms: u32, now: MonoTime) -> Verdict<K> {
        if let Some(at) = self.find(key) {
            let Some(seat) = &mut self.seats[at] else { unreachable!("find returns taken seats") };
            match seat.state {
                Place::Holding { since, warned, level, heard, .. } => {
                    seat.standing = standing;
                    seat.state = Place::Holding { since, port_limit_ms, warned, level, heard };
                    return Verdict::Continues;
                }
                Place::Revoked { in_emergency, .. } if in_emergency || !standing.emergency => {
                    return Verdict::Denied(Denial::StillRevoked);
                }
                // It kept its key down and now declares an emergency: a new request.
                Place::Revoked { .. } | Place::Turned => self.seats[at] = None,
                Place::Queued { told, .. } => {
                    seat.standing = standing;
                    seat.state = Place::Queued { told, port_limit_ms };
                }
            }
        }
        if self.has_room() {
            if self.is_overtaken(&standing, now) {
                return Verdict::Denied(Denial::Busy);
            }
            return self.grant(key, standing, port_limit_ms, now, None);
        }
        match self.lowest_below(standing.rank()) {
            Some(victim) => self.grant(key, standing, port_limit_ms, now, Some(victim)),
            None => self.enqueue(key, standing, port_limit_ms),
        }
    }

    /// It let go, went silent or left: whatever it had ends with `cause`, a revoked one is forgiven, the next are
    /// granted.
    pub fn release(&mut self, key: K, cause: BurstEnd, now: MonoTime) -> Changes<K> {
        let mut changes = Changes::new();
        if let Some(at) = self.find(key) {
            self.end(at, cause, now, &mut changes);
            self.seats[at] = None;
        }
        self.settle(now, &mut changes);
        changes
    }

    /// A dispatcher, or its own port's talk limit, takes the floor from one: it is refused until it lets go.
    pub fn revoke(&mut self, key: K, cause: BurstEnd, now: MonoTime) -> Changes<K> {
        let mut changes = Changes::new();
        if let Some(at) = self.find(key) {
            self.revoke_seat(at, cause, now, &mut changes);
        }
        self.settle(now, &mut changes);
        changes
    }

    /// A dispatcher takes the floor from all who hold it or wait.
    pub fn revoke_all(&mut self, now: MonoTime) -> Changes<K> {
        let mut changes = Changes::new();
        for at in 0..SEATS_MAX {
            self.revoke_seat(at, BurstEnd::Revoked, now, &mut changes);
        }
        self.settle(now, &mut changes);
        changes
    }

    /// The patch closes: all ends, nobody is granted.
    pub fn close(&mut self, now: MonoTime) -> Changes<K> {
        let mut changes = Changes::new();
        for at in 0..SEATS_MAX {
            self.end(at, BurstEnd::PatchClosed, now, &mut changes);
            self.seats[at] = None;
        }
        self.hang = None;
        self.settle(now, &mut changes);
        changes
    }

    /// What narrows acts at once: the lowest holders are revoked, the lowest in the queue turned away. An open
    /// emergency keeps the floor.
    pub fn set_policy(&mut self, policy: FloorPolicy, now: MonoTime) -> Changes<K> {
        self.policy = clamped(policy);
        let mut changes = Changes::new();
        while self.holders() > self.holders_max() {
            let Some(at) = self.lowest_holder().filter(|at| !self.is_emergency(*at)) else { break };
            self.revoke_seat(at, BurstEnd::Revoked, now, &mut changes);
        }
        while self.queued() > usize::from(self.policy.queue_max) {
            let Some(at) = self.lowest_queued() else { break };
            self.turn_away(at);
        }
        self.settle(now, &mut changes);
        changes
    }

    /// Talk limits, warnings, the end of hang time, positions: every 20 ms.
    pub fn tick(&mut self, now: MonoTime) -> Changes<K> {
        let mut changes = Changes::new();
        for at in 0..SEATS_MAX {
            let Some(Seat { key, state: Place::Holding { since, port_limit_ms, warned, .. }, .. }) = self.seats[at]
            else {
                continue;
            };
            let limit_ms = u64::from(port_limit_ms.min(self.policy.talk_limit_ms));
            let held_ms = now.ms_since(since);
            if held_ms >= limit_ms {
                self.revoke_seat(at, BurstEnd::TimedOut, now, &mut changes);
            } else if !warned && held_ms >= limit_ms - WARN_BEFORE_END_MS.min(limit_ms / 2) {
                if let Some(Seat { state: Place::Holding { warned, .. }, .. }) = &mut self.seats[at] {
                    *warned = true;
                }
                tell(&mut changes, Change::EndsSoon { key, left_ms: (limit_ms - held_ms) as u32 });
            }
        }
        self.settle(now, &mut changes);
        changes
    }

    /// How loud a holder is now; only the open mode needs it. Rises at once, falls by 1 dB a call.
    pub fn set_level(&mut self, key: K, now_at: Level) {
        if let Some(at) = self.find(key)
            && let Some(Seat { state: Place::Holding { level, .. }, .. }) = &mut self.seats[at]
        {
            *level = Level(now_at.0.min(level.0.saturating_add(1)).min(Level::SILENCE.0));
        }
    }

    /// Chooses who is heard, once per tick, and returns them: in `ptt` all holders; in `open` emergencies, then the
    /// loudest, where one already heard stays until another is louder by a clear margin.
    pub fn choose(&mut self) -> Keys<K> {
        let heard_max = match self.policy.mode {
            FloorMode::Ptt => SEATS_MAX,
            FloorMode::Open => usize::from(self.policy.holders_max),
        };
        let mut chosen = Keys::new();
        let mut taken = [false; SEATS_MAX];
        while chosen.len() < heard_max {
            let next = (0..SEATS_MAX).filter(|at| !taken[*at]).filter_map(|at| Some((self.loudness(at)?, at))).max();
            let Some((_, at)) = next else { break };
            taken[at] = true;
            if let Some(seat) = &self.seats[at] {
                let kept = chosen.push(seat.key);
                debug_assert!(kept, "there are as many keys as seats");
            }
        }
        for (seat, taken) in self.seats.iter_mut().zip(taken) {
            if let Some(Seat { state: Place::Holding { heard, .. }, .. }) = seat {
                *heard = taken;
            }
        }
        chosen
    }

    /// Whether it holds the floor.
    pub fn holds(&self, key: K) -> bool {
        self.find(key).is_some_and(|at| self.is_holder(at))
    }

    /// Who holds the floor, in no order that means anything.
    pub fn holding(&self) -> impl Iterator<Item = K> + '_ {
        self.seats.iter().flatten().filter(|seat| matches!(seat.state, Place::Holding { .. })).map(|seat| seat.key)
    }

    /// What the patch shows.
    pub fn phase(&self, now: MonoTime) -> Phase {
        match (self.holders(), self.hang) {
            (0, Some(hang)) if now < hang.until => Phase::Hang { side: hang.side, until: hang.until },
            (0, Some(_) | None) => Phase::Idle,
            (holders, Some(_) | None) => Phase::Taken { holders: holders as u8 },
        }
    }

    fn grant(
        &mut self,
        key: K,
        standing: Standing,
        port_limit_ms: u32,
        now: MonoTime,
        victim: Option<usize>,
    ) -> Verdict<K> {
        let Some(at) = self.place_for(key) else { return Verdict::Denied(Denial::Full) };
        let ended = victim.and_then(|victim| {
            let seat = self.seats[victim].as_mut()?;
            seat.state = Place::Revoked { at: now, in_emergency: false };
            Some(seat.key)
        });
        let state = Place::Holding { since: now, port_limit_ms, warned: false, level: Level::SILENCE, heard: false };
        self.seats[at] = Some(Seat { key, standing, state });
        self.quiet = false;
        ended.map_or(Verdict::Granted, Verdict::GrantedAfterEnding)
    }

    fn enqueue(&mut self, key: K, standing: Standing, port_limit_ms: u32) -> Verdict<K> {
        if self.find(key).is_none() {
            if self.queued() >= usize::from(self.policy.queue_max) {
                let lower = self.lowest_queued().filter(|at| self.rank_at(*at) < Some(standing.rank()));
                let Some(lower) = lower else { return Verdict::Denied(Denial::Busy) };
                self.turn_away(lower);
            }
            let Some(at) = self.place_for(key) else { return Verdict::Denied(Denial::Full) };
            self.seats[at] = Some(Seat { key, standing, state: Place::Queued { told: 0, port_limit_ms } });
        }
        let Some(at) = self.find(key) else { return Verdict::Denied(Denial::Full) };
        let position = self.position(at);
        if let Some(Seat { state: Place::Queued { told, .. }, .. }) = &mut self.seats[at] {
            *told = position;
        }
        Verdict::Queued { position }
    }

    /// Brings everything into its known form after a change: grants from the queue, tells positions, then idleness.
    fn settle(&mut self, now: MonoTime, changes: &mut Changes<K>) {
        if self.hang.is_some_and(|hang| hang.until <= now) {
            self.hang = None;
        }
        while self.has_room() {
            let Some(at) = self.first_queued() else { break };
            let Some(Seat { key, standing, state: Place::Queued { port_limit_ms, .. } }) = self.seats[at] else {
                break;
            };
            let verdict = self.grant(key, standing, port_limit_ms, now, None);
            debug_assert!(matches!(verdict, Verdict::Granted), "a queued key has its seat");
            tell(changes, Change::Granted(key));
        }
        for at in 0..SEATS_MAX {
            let Some(seat) = self.seats[at] else { continue };
            match seat.state {
                Place::Queued { told, port_limit_ms } => {
                    let position = self.position(at);
                    if position != told {
                        let state = Place::Queued { told: position, port_limit_ms };
                        self.seats[at] = Some(Seat { state, ..seat });
                        tell(changes, Change::Moved { key: seat.key, position });
                    }
                }
                Place::Turned => {
                    self.seats[at] = None;
                    tell(changes, Change::Turned { key: seat.key, cause: Denial::Busy });
                }
                Place::Holding { .. } | Place::Revoked { .. } => {}
            }
        }
        if !self.quiet && self.hang.is_none() && self.holders() == 0 {
            self.quiet = true;
            tell(changes, Change::Idle);
        }
    }

    /// Ends a holder's grant; a waiting one's place is simply over. The seat stays for the caller to fill.
    fn end(&mut self, at: usize, cause: BurstEnd, now: MonoTime, changes: &mut Changes<K>) {
        let Some(Seat { key, standing, state: Place::Holding { since, .. } }) = self.seats[at] else { return };
        tell(changes, Change::Ended { key, cause, held_ms: now.ms_since(since).min(u64::from(u32::MAX)) as u32 });
        // Only who let go keeps precedence, not who was cut off.
        if matches!(cause, BurstEnd::Released | BurstEnd::Silence) {
            let until = now.plus_ms(u64::from(self.policy.hang_ms));
            self.hang = Some(Hang { side: standing.side, rank: standing.rank(), since: now, until });
        }
    }

    fn revoke_seat(&mut self, at: usize, cause: BurstEnd, now: MonoTime, changes: &mut Changes<K>) {
        self.end(at, cause, now, changes);
        if let Some(seat) = &mut self.seats[at] {
            match seat.state {
                Place::Holding { .. } | Place::Queued { .. } => {
                    seat.state = Place::Revoked { at: now, in_emergency: seat.standing.emergency };
                }
                Place::Turned | Place::Revoked { .. } => {}
            }
        }
    }

    fn turn_away(&mut self, at: usize) {
        if let Some(seat) = &mut self.seats[at] {
            seat.state = Place::Turned;
        }
    }

    /// Whether somebody who keyed while the last talker spoke would now take its place while that side still has
    /// precedence: a talker whose packets stall for a moment keeps the floor, an answer is never refused.
    fn is_overtaken(&self, standing: &Standing, now: MonoTime) -> bool {
        self.hang.is_some_and(|hang| {
            now < hang.until
                && standing.side != hang.side
                && standing.asked_at < hang.since
                && standing.rank() <= hang.rank
        })
    }

    fn holders_max(&self) -> usize {
        match self.policy.mode {
            FloorMode::Ptt => usize::from(self.policy.holders_max),
            FloorMode::Open => SEATS_MAX,
        }
    }

    fn has_room(&self) -> bool {
        self.holders() < self.holders_max()
    }

    fn holders(&self) -> usize {
        self.holding().count()
    }

    fn queued(&self) -> usize {
        self.seats.iter().flatten().filter(|seat| matches!(seat.state, Place::Queued { .. })).count()
    }

    fn find(&self, key: K) -> Option<usize> {
        self.seats.iter().position(|seat| seat.is_some_and(|seat| seat.key == key))
    }

    /// The key's own seat, a free one, or that of the one revoked longest ago.
    fn place_for(&self, key: K) -> Option<usize> {
        self.find(key).or_else(|| self.seats.iter().position(Option::is_none)).or_else(|| {
            let revoked = self.seats.iter().enumerate().filter_map(|(at, seat)| match seat.as_ref()?.state {
                Place::Revoked { at: when, .. } => Some((when, at)),
                Place::Holding { .. } | Place::Queued { .. } | Place::Turned => None,
            });
            revoked.min().map(|(_, at)| at)
        })
    }

    fn is_holder(&self, at: usize) -> bool {
        self.seats[at].is_some_and(|seat| matches!(seat.state, Place::Holding { .. }))
    }

    fn is_queued(&self, at: usize) -> bool {
        self.seats[at].is_some_and(|seat| matches!(seat.state, Place::Queued { .. }))
    }

    fn is_emergency(&self, at: usize) -> bool {
        self.seats[at].is_some_and(|seat| seat.standing.emergency)
    }

    fn rank_at(&self, at: usize) -> Option<Rank> {
        self.seats[at].map(|seat| seat.standing.rank())
    }

    /// Greater is served first and ended last: rank, then the side with precedence, then first come.
    fn order(&self, at: usize) -> Option<(Rank, bool, std::cmp::Reverse<MonoTime>, std::cmp::Reverse<usize>)> {
        let standing = self.seats[at]?.standing;
        let precedes = self.hang.is_some_and(|hang| hang.side == standing.side);
        Some((standing.rank(), precedes, std::cmp::Reverse(standing.asked_at), std::cmp::Reverse(at)))
    }

    fn lowest_holder(&self) -> Option<usize> {
        (0..SEATS_MAX).filter(|at| self.is_holder(*at)).min_by_key(|at| self.order(*at))
    }

    fn lowest_queued(&self) -> Option<usize> {
        (0..SEATS_MAX).filter(|at| self.is_queued(*at)).min_by_key(|at| self.order(*at))
    }

    fn first_queued(&self) -> Option<usize> {
        (0..SEATS_MAX).filter(|at| self.is_queued(*at)).max_by_key(|at| self.order(*at))
    }

    /// Who must give way to this rank. Nobody outranks an emergency, because nothing is greater than its rank but an
    /// emergency of higher standing, which is excluded here.
    fn lowest_below(&self, rank: Rank) -> Option<usize> {
        self.lowest_holder().filter(|at| !self.is_emergency(*at) && self.rank_at(*at) < Some(rank))
    }

    fn position(&self, at: usize) -> u8 {
        let before = (0..SEATS_MAX).filter(|other| self.is_queued(*other) && self.order(*other) > self.order(at));
        before.count() as u8 + 1
    }

    /// Greater is heard first.
    fn loudness(&self, at: usize) -> Option<(bool, i16, std::cmp::Reverse<usize>)> {
        let Some(Seat { standing, state: Place::Holding { level, heard, .. }, .. }) = self.seats[at] else {
            return None;
        };
        let kept = if heard { LOUDER_BY_DB } else { 0 };
        Some((standing.emergency, kept - i16::from(level.0), std::cmp::Reverse(at)))
    }
}

fn clamped(policy: FloorPolicy) -> FloorPolicy {
    FloorPolicy {
        holders_max: policy.holders_max.clamp(1, HOLDERS_MAX as u8),
        queue_max: policy.queue_max.min(QUEUE_MAX as u8),
        ..policy
    }
}

fn tell<K: Copy>(changes: &mut Changes<K>, change: Change<K>) {
    let told = changes.push(change);
    assert!(told, "each seat changes at most once in a call");
}

/// Who holds, waits, or is revoked and still keyed: holders and queue at their hard limits, and as many revoked. In
/// open mode all of them may hold; more talkers than that in one patch are denied as full.
pub const SEATS_MAX: usize = 2 * (HOLDERS_MAX + QUEUE_MAX);
/// A talker finishes a sentence in this time (ms).
const WARN_BEFORE_END_MS: u64 = 5_000;
/// A listener notices a change of voice at a smaller difference less than it is annoyed by flutter (dB).
const LOUDER_BY_DB: i16 = 6;

#[cfg(test)]
mod tests;
