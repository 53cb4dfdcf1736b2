//! Why something was not recorded, opened or read.

use std::fmt;
use std::path::PathBuf;

use super::chain::ChainBreak;
use super::stream::Stream;

/// Why an append or a snapshot is not in the journal. Nothing of it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRecorded {
    /// More appends wait than the writer may hold: counted, try again.
    QueueFull,
    /// The journal is closing, or its writer has died.
    Stopped,
    /// The append itself is wrong.
    Bad(&'static str),
    /// The stream has moved on: decide again.
    Conflict {
        /// The stream.
        stream: Stream,
        /// What the author believed to be its last sequence.
        expected: u64,
        /// What it is.
        actual: u64,
    },
    /// The idempotency key was used for another request.
    KeyReused(String),
    /// Another writer has opened the journal since: this one must stop.
    Fenced,
    /// The commit failed, and with it every append of its group. Memory must be rebuilt from the journal.
    Storage(String),
}

impl fmt::Display for NotRecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotRecorded::QueueFull => f.write_str("the journal's queue is full"),
            NotRecorded::Stopped => f.write_str("the journal is closed"),
            NotRecorded::Bad(why) => f.write_str(why),
            NotRecorded::Conflict { stream, expected, actual } => {
                write!(f, "{stream} is at {actual}, not at {expected}")
            }
            NotRecorded::KeyReused(key) => write!(f, "the key {key:?} was used for another request"),
            NotRecorded::Fenced => f.write_str("another writer has taken over this journal"),
            NotRecorded::Storage(cause) => write!(f, "the journal cannot be written: {cause}"),
        }
    }
}

impl std::error::Error for NotRecorded {}

/// Why the journal could not be opened, checked or repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenFault {
    /// Another daemon holds the data directory.
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process that holds it, if it has said so.
        holder_pid: Option<u32>,
    },
    /// The file cannot be read as a journal, and the caller wants no recovery.
    Damaged(String),
    /// Streams are broken, and the caller wants strict refusal.
    Broken(Vec<ChainBreak>),
    /// Answered records are gone from the end, and the caller wants strict refusal.
    Cut {
        /// The last answered position that was remembered.
        answered: u64,
        /// The last position that is there.
        found: u64,
    },
    /// Written by a later version.
    NewerFormat(i64),
    /// Files or storage failed.
    Storage(String),
}

impl fmt::Display for OpenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenFault::Locked { dir, holder_pid: Some(pid) } => {
                write!(f, "{} is in use by process {pid}: one data directory serves one daemon", dir.display())
            }
            OpenFault::Locked { dir, holder_pid: None } => {
                write!(f, "{} is in use by another process: one data directory serves one daemon", dir.display())
            }
            OpenFault::Damaged(what) => write!(f, "the journal is damaged: {what}"),
            OpenFault::Broken(breaks) => {
                let all: Vec<String> = breaks.iter().map(ChainBreak::to_string).collect();
                write!(f, "the journal's chain is broken: {}", all.join("; "))
            }
            OpenFault::Cut { answered, found } => {
                write!(f, "the journal ends at {found}, but {answered} was answered")
            }
            OpenFault::NewerFormat(format) => write!(f, "the journal has format {format}, this version knows 1"),
            OpenFault::Storage(cause) => write!(f, "the journal cannot be opened: {cause}"),
        }
    }
}

impl std::error::Error for OpenFault {}

/// Why a record could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFault(pub String);

impl fmt::Display for ReadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the journal cannot be read: {}", self.0)
    }
}

impl std::error::Error for ReadFault {}

/// A file operation that failed, with the file it was about.
pub(super) fn file_fault(what: &str, path: &std::path::Path, fault: &std::io::Error) -> OpenFault {
    OpenFault::Storage(format!("{what} {}: {fault}", path.display()))
}
