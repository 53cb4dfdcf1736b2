//! How the journal does, as the daemon shows it: one alarm and a few counters.

use serde::Serialize;

use crate::domain::time::WallTime;

/// How the journal does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JournalStatus {
    /// Set while commits fail; cleared by the next that does not.
    pub alarm: Option<JournalAlarm>,
    /// Commits.
    pub commits: u64,
    /// Commits that failed.
    pub commits_failed: u64,
    /// Records committed.
    pub records: u64,
    /// Appends and snapshots in the largest group so far.
    pub group_max: usize,
    /// Appends and snapshots that wait or are being committed.
    pub queued: usize,
    /// Appends refused because the queue was full.
    pub refused_full: u64,
    /// Times the log could not be moved into the file; it grows until one succeeds.
    pub checkpoints_failed: u64,
    /// Times the witness could not be written.
    pub witness_failed: u64,
}

/// The journal cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JournalAlarm {
    /// Time of day of the first append that failed, as its author told it.
    pub since: WallTime,
    /// What storage said last.
    pub cause: String,
}
