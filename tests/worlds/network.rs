//! The network of a world: delays, loses, reorders and repeats datagrams, by the seed and nothing else.
//!
//! Everything in flight stands in one queue ordered by arrival, then by sending, so that equal seeds give equal worlds.

use std::collections::BTreeMap;

use crosspatch::domain::random::Entropy;
use crosspatch::domain::time::MonoTime;

/// How bad a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// Lost datagrams in a thousand.
    pub lost_permille: u16,
    /// Doubled datagrams in a thousand.
    pub doubled_permille: u16,
    /// Least delay (ms).
    pub delay_ms: u16,
    /// What the delay varies by: more than one packet's time lets packets overtake (ms).
    pub jitter_ms: u16,
}

impl Quality {
    /// A cable.
    pub const CLEAN: Self = Self { lost_permille: 0, doubled_permille: 0, delay_ms: 1, jitter_ms: 0 };

    /// Half of all paths are clean, so that exact counts can be checked on them.
    pub fn draw(entropy: &mut Entropy) -> Self {
        match entropy.below(6) {
            0 => Self { lost_permille: 20, doubled_permille: 10, delay_ms: 20, jitter_ms: 15 },
            1 => Self { lost_permille: 0, doubled_permille: 30, delay_ms: 5, jitter_ms: 45 },
            2 => Self { lost_permille: 80, doubled_permille: 0, delay_ms: 60, jitter_ms: 30 },
            _ => Self::CLEAN,
        }
    }

    /// Whether everything arrives once and in order.
    pub fn is_clean(self) -> bool {
        self.lost_permille == 0 && self.doubled_permille == 0 && self.jitter_ms == 0
    }
}

/// Everything in flight.
#[derive(Debug)]
pub struct Network<T> {
    flights: BTreeMap<(MonoTime, u64), T>,
    sent: u64,
    /// How often each thing happened.
    pub lost: u64,
    pub doubled: u64,
}

impl<T: Clone> Network<T> {
    pub fn new() -> Self {
        Self { flights: BTreeMap::new(), sent: 0, lost: 0, doubled: 0 }
    }

    /// Sends a datagram at `now` over a path.
    pub fn send(&mut self, datagram: T, path: Quality, now: MonoTime, entropy: &mut Entropy) {
        if entropy.below(1000) < u64::from(path.lost_permille) {
            self.lost += 1;
            return;
        }
        let copies = if entropy.below(1000) < u64::from(path.doubled_permille) { 2 } else { 1 };
        self.doubled += copies - 1;
        for _ in 0..copies {
            let delay_ms = u64::from(path.delay_ms) + entropy.below(u64::from(path.jitter_ms) + 1);
            self.sent += 1;
            self.flights.insert((now.plus_ms(delay_ms), self.sent), datagram.clone());
        }
    }

    /// The next datagram that has arrived by `now`, with its time of arrival.
    pub fn arrived(&mut self, now: MonoTime) -> Option<(MonoTime, T)> {
        let entry = self.flights.first_entry()?;
        if entry.key().0 > now {
            return None;
        }
        let (key, datagram) = entry.remove_entry();
        Some((key.0, datagram))
    }

    /// Whether nothing is under way.
    pub fn is_quiet(&self) -> bool {
        self.flights.is_empty()
    }
}
