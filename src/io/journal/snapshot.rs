//! The state at one position, so that a restart replays only what came after.

use super::chain::Digest;

/// State as its owner wrote it. Losing one costs time, never history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Everything up to here is in it.
    pub position: u64,
    /// Version of the bytes' schema.
    pub schema: u32,
    /// The state.
    pub bytes: Vec<u8>,
}

/// Which snapshots their owner can read. What lies before all others is replayed, and so verified.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usable {
    pub schema: Option<u32>,
    pub parses: Option<fn(&[u8]) -> bool>,
}

impl Usable {
    pub(super) fn holds(&self, snapshot: &Snapshot) -> bool {
        self.schema.is_none_or(|schema| snapshot.schema == schema)
            && self.parses.is_none_or(|parses| parses(&snapshot.bytes))
    }
}

impl Snapshot {
    /// What it is kept under: a snapshot that does not match is passed over.
    pub(super) fn digest(&self) -> Digest {
        let mut whole = Vec::with_capacity(self.bytes.len() + 12);
        whole.extend(self.position.to_be_bytes());
        whole.extend(self.schema.to_be_bytes());
        whole.extend(&self.bytes);
        Digest::of(&whole)
    }
}

/// The newest and one to fall back on.
pub(super) const SNAPSHOTS_KEPT: u64 = 2;
/// SQLite's own limit on one value is a billion bytes; state of this size would be a fault of its owner.
pub(super) const SNAPSHOT_BYTES_MAX: usize = 256 << 20;
