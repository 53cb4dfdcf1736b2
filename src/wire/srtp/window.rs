//! Where a stream of numbered packets stands: which index a 16-bit sequence number means (RFC 3711 section 3.3.1 and
//! appendix A) and which indices were seen (section 3.3.2). No keys, no packets.

/// How far behind the newest a packet may come (packets): 2.5 s of 20 ms packets, twice what section 3.3.2 asks.
pub const REPLAY_WINDOW: u64 = u128::BITS as u64;

/// The newest index, and which of the [`REPLAY_WINDOW`] up to it were seen: bit n is the one n before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    highest: u64,
    seen: u128,
}

impl Window {
    /// A stream whose first packet has this index.
    pub fn begun_at(index: u64) -> Self {
        Self { highest: index, seen: 1 }
    }

    /// How often the sequence has rolled over.
    pub fn roll_overs(&self) -> u32 {
        (self.highest >> 16) as u32
    }

    /// The index that a sequence number means: the one nearest to the newest. `None` before the stream's beginning.
    pub fn estimate(&self, sequence: u16) -> Option<u64> {
        let (roll_overs, newest) = (self.highest >> 16, self.highest as u16);
        let roll_overs = if newest < HALF {
            if sequence.saturating_sub(newest) > HALF { roll_overs.checked_sub(1)? } else { roll_overs }
        } else if newest - HALF > sequence {
            roll_overs + 1
        } else {
            roll_overs
        };
        Some(roll_overs << 16 | u64::from(sequence))
    }

    /// Whether this index was neither seen nor has become too old to tell.
    pub fn is_fresh(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(behind) => behind < REPLAY_WINDOW && self.seen >> behind & 1 == 0,
        }
    }

    /// Remembers an index; one that proved to be authentic.
    pub fn mark(&mut self, index: u64) {
        match index.checked_sub(self.highest) {
            Some(ahead) => {
                self.seen = if ahead < REPLAY_WINDOW { self.seen << ahead } else { 0 } | 1;
                self.highest = index;
            }
            None if self.highest - index < REPLAY_WINDOW => self.seen |= 1 << (self.highest - index),
            None => {}
        }
    }
}

const HALF: u16 = 1 << 15;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::random::Entropy;

    #[test]
    fn a_sequence_number_means_the_index_nearest_to_the_newest() {
        for newest in [0u64, 1, 32_767, 32_768, 65_535, 65_536, 98_303, 98_304, 0x7_0000, 0x7_ffff] {
            let window = Window::begun_at(newest);
            for sequence in 0..=u16::MAX {
                let all = (0..=(newest >> 16) + 1).map(|roll_overs| roll_overs << 16 | u64::from(sequence));
                let nearest = all.clone().map(|index| index.abs_diff(newest)).min().unwrap();
                match window.estimate(sequence) {
                    Some(index) => assert_eq!((index.abs_diff(newest), index as u16), (nearest, sequence)),
                    // Its nearest would be before zero.
                    None => assert!(newest < 0x8000 && u64::from(sequence) - newest > 0x8000),
                }
            }
        }
    }

    #[test]
    fn a_stream_that_rolls_over_again_and_again_keeps_count_despite_loss_and_disorder() {
        let mut entropy = Entropy::new(3711);
        let mut window = Window::begun_at(65_000);
        let (mut sent, mut late) = (65_000u64, Vec::new());
        while sent < 5 << 16 {
            sent += 1 + entropy.below(200);
            if entropy.percent(10) {
                late.push(sent);
                continue;
            }
            assert_eq!(window.estimate(sent as u16), Some(sent));
            window.mark(sent);
            for old in late.drain(..) {
                assert_eq!(window.estimate(old as u16), Some(old), "late, newest is {sent}");
                window.mark(old);
            }
            assert_eq!(u64::from(window.roll_overs()), sent >> 16);
        }
    }

    #[test]
    fn no_index_is_fresh_twice_and_none_is_older_than_the_window() {
        let mut entropy = Entropy::new(128);
        for _ in 0..200 {
            let mut newest = entropy.below(300);
            let (mut window, mut seen) = (Window::begun_at(newest), BTreeSet::from([newest]));
            for _ in 0..300 {
                let index = (newest + entropy.below(200)).saturating_sub(entropy.below(300));
                let fresh = !seen.contains(&index) && index + REPLAY_WINDOW > newest;
                assert_eq!(window.is_fresh(index), fresh, "{index} of {newest}");
                if fresh {
                    window.mark(index);
                    seen.insert(index);
                    newest = newest.max(index);
                }
            }
        }
    }
}
