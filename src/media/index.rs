//! Burst ids to slots: a sorted list of fixed capacity, because a burst begins in the packet path. Owned by the shard.

use crate::domain::id::BurstId;

use super::slab::BurstSlot;

/// See the file's head.
#[derive(Debug)]
pub struct BurstIndex(Vec<(BurstId, BurstSlot)>);

impl BurstIndex {
    /// For as many bursts as the shard has places.
    pub fn new(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }
    /// Where the burst is.
    pub fn get(&self, burst: BurstId) -> Option<BurstSlot> {
        self.place(burst).ok().map(|at| self.0[at].1)
    }
    /// The slab gave the slot, so there is room here too.
    pub fn insert(&mut self, burst: BurstId, slot: BurstSlot) {
        match self.place(burst) {
            Ok(at) => self.0[at].1 = slot,
            Err(at) => self.0.insert(at, (burst, slot)),
        }
    }
    /// The burst is over.
    pub fn remove(&mut self, burst: BurstId) {
        if let Ok(at) = self.place(burst) {
            self.0.remove(at);
        }
    }

    fn place(&self, burst: BurstId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&burst, |(id, _)| *id)
    }
}
