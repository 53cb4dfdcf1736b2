//! The journal: what happened, in order, durable before it is answered, and provable afterwards.
//!
//! Knows nothing of what it keeps: payloads are JSON bytes with a kind and a schema version. Owned by the daemon;
//! one writer thread, any number of readers. Not a queue and not a log for people.
//! What can go wrong: storage fails (tickets fail, an alarm stands), the file is damaged (recovered as far as
//! it can be trusted, and reported), the machine dies (whole commits remain).

mod chain;
mod check;
mod data_dir;
mod fault;
mod files;
mod format;
pub mod fuzz;
mod queue;
mod reader;
mod record;
mod recovery;
mod row;
mod salvage;
mod snapshot;
mod sql;
mod status;
mod stream;
mod subscription;
mod ticket;
mod upcast;
mod walk;
mod witness;
mod writer;

use std::fmt;
use std::sync::Arc;

pub use chain::{
    BreakKind, ChainBreak, ChainHead, Digest, ExportedPayload, RedactedRecord, Salt, expose, redact, verify_chain,
};
pub use check::{CheckReport, RepairReport, StreamReport, check, repair};
pub use data_dir::DataDir;
pub use fault::{NotRecorded, OpenFault, ReadFault};
pub use reader::Records;
pub use record::{Committed, Envelope, IdempotencyKey, NewRecord, Part, Record};
pub use recovery::{Cut, OnDamage, RecoveryReport, SetAside};
pub use snapshot::Snapshot;
pub use status::{JournalAlarm, JournalStatus};
pub use stream::{BadStream, Stream};
pub use subscription::Subscription;
pub use ticket::Ticket;
pub use upcast::{Upcast, Upcasted, Upcasters};
pub use writer::{ANSWERS_KEPT, CommitGate};

use files::Files;
use queue::{Queue, Request};
use reader::Order;
use recovery::Wanted;
use snapshot::Usable;
use sql::Store;
use subscription::Board;

/// How to open a journal.
pub struct JournalOptions {
    /// What to do about damage.
    pub on_damage: OnDamage,
    /// Verify every chain at opening, not only what came after the newest snapshot. Costs seconds per million records.
    /// Without it, damage before the snapshot is found by `check`, by the next opening that meets any damage after
    /// the snapshot, or by the first that finds no snapshot.
    pub verify_all: bool,
    /// The schema of the snapshots the caller can read; others are no snapshots to it, and what lies before them is
    /// verified because it will be replayed. `None`: any.
    pub snapshot_schema: Option<u32>,
    /// Whether the caller can read a snapshot of that schema; as above for one it cannot. `None`: it can.
    pub snapshot_parses: Option<fn(&[u8]) -> bool>,
    /// Appends and snapshots that may wait for the writer.
    pub queue_max: usize,
    /// The file may not grow beyond this; at the limit commits fail as on a full disk.
    pub size_max_bytes: Option<u64>,
    /// Stands before each commit.
    pub gate: Option<Box<dyn CommitGate>>,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            on_damage: OnDamage::SetAside,
            verify_all: false,
            snapshot_schema: None,
            snapshot_parses: None,
            queue_max: QUEUE_MAX,
            size_max_bytes: None,
            gate: None,
        }
    }
}

/// An open journal. Closing it (dropping it) writes what was queued.
pub struct Journal {
    queue: Queue,
    files: Files,
    board: Arc<Board>,
    usable: Usable,
    /// Held until the writer has ended: fields drop in this order.
    _dir: DataDir,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Journal({}, at {})", self.files.dir().display(), self.board.last_position())
    }
}

impl Journal {
    /// Recovers, raises the epoch and starts the writer.
    pub fn open(dir: DataDir, options: JournalOptions) -> Result<(Self, RecoveryReport), OpenFault> {
        let files = Files::of(dir.path());
        let JournalOptions { on_damage, verify_all, snapshot_schema, snapshot_parses, queue_max, size_max_bytes, gate } =
            options;
        let usable = Usable { schema: snapshot_schema, parses: snapshot_parses };
        let recovered = recovery::recover(&dir, Wanted { on_damage, verify_all, usable, size_max_bytes })?;
        let report = recovered.report.clone();
        let board = Arc::new(Board::default());
        board.post(report.last_position);
        let queue = Queue::start(recovered, files.clone(), queue_max, gate, Arc::clone(&board))
            .map_err(|e| OpenFault::Storage(format!("the writer cannot start: {e}")))?;
        Ok((Self { queue, files, board, usable, _dir: dir }, report))
    }

    /// Appends to one stream if it is where the author believes it to be.
    pub fn append(
        &self,
        stream: Stream,
        expected_seq: u64,
        records: Vec<NewRecord>,
        key: Option<IdempotencyKey>,
    ) -> Result<Ticket<Committed>, NotRecorded> {
        self.append_parts(vec![Part { stream, expected_seq, records }], key)
    }
    /// Appends to several streams, all or nothing.
    pub fn append_parts(
        &self,
        parts: Vec<Part>,
        key: Option<IdempotencyKey>,
    ) -> Result<Ticket<Committed>, NotRecorded> {
        if let Some(why) = fault_of(&parts, key.as_ref()) {
            return Err(NotRecorded::Bad(why));
        }
        let (answer, ticket) = Ticket::issue();
        self.queue.push(Request::Append { parts, key, answer })?;
        Ok(ticket)
    }
    /// What a request with this key was answered before, so that it need not be decided again.
    pub fn answered(&self, key: &IdempotencyKey) -> Result<Option<Result<Committed, NotRecorded>>, ReadFault> {
        let found = self.reader()?.answered(&key.key)?;
        Ok(found.map(|(request, committed)| {
            let same = request == key.request;
            if same {
                Ok(Committed { repeated: true, ..committed })
            } else {
                Err(NotRecorded::KeyReused(key.key.clone()))
            }
        }))
    }

    /// Every key that is remembered, the oldest first, with what was answered.
    pub fn answers(&self) -> Result<Vec<(IdempotencyKey, Committed)>, ReadFault> {
        Ok(self.reader()?.answers()?)
    }

    /// One stream's records from a sequence on.
    pub fn read(&self, stream: &Stream, from_seq: u64) -> Result<Records, ReadFault> {
        let store = self.reader()?;
        let order =
            store.stream_by_name(stream)?.map_or(Order::Empty, |row| Order::Stream { no: row.no, seq: from_seq });
        Ok(Records::new(store, order))
    }
    /// All living streams' records from a position on, in the order they were committed.
    pub fn read_all(&self, from_position: u64) -> Result<Records, ReadFault> {
        Ok(Records::new(self.reader()?, Order::Position(from_position)))
    }
    /// The records of a stream that lies aside, as they were found; trust none from `from_seq` on.
    pub fn read_set_aside(&self, which: &SetAside) -> Result<Records, ReadFault> {
        Ok(Records::new(self.reader()?, Order::Stream { no: which.number, seq: 0 }))
    }
    /// A stream's last committed sequence; 0 if it does not exist.
    pub fn last_seq(&self, stream: &Stream) -> Result<u64, ReadFault> {
        Ok(self.reader()?.stream_by_name(stream)?.map_or(0, |row| row.last_seq))
    }
    /// The last committed position; 0 in an empty journal.
    pub fn last_position(&self) -> u64 {
        self.board.last_position()
    }
    /// News of positions committed after `seen`.
    pub fn subscribe(&self, seen: u64) -> Subscription {
        Subscription::new(Arc::clone(&self.board), seen)
    }

    /// Keeps the state at a position that is committed.
    pub fn save_snapshot(&self, snapshot: Snapshot) -> Result<Ticket<()>, NotRecorded> {
        if snapshot.position > self.last_position() {
            return Err(NotRecorded::Bad("a snapshot holds committed positions only"));
        }
        if snapshot.bytes.len() > snapshot::SNAPSHOT_BYTES_MAX {
            return Err(NotRecorded::Bad("the snapshot is longer than 256 MiB"));
        }
        let (answer, ticket) = Ticket::issue();
        self.queue.push(Request::Snapshot { snapshot, answer })?;
        Ok(ticket)
    }
    /// The newest snapshot that is what was written, and that the caller can read as it said at opening.
    pub fn load_snapshot(&self) -> Result<Option<Snapshot>, ReadFault> {
        Ok(self.reader()?.good_snapshot(self.usable)?)
    }

    /// Alarm, counters and queue.
    pub fn status(&self) -> JournalStatus {
        self.queue.status()
    }

    fn reader(&self) -> Result<Store, ReadFault> {
        Ok(Store::open_reader(&self.files.journal())?)
    }
}

/// Why an append is wrong in itself, if so.
fn fault_of(parts: &[Part], key: Option<&IdempotencyKey>) -> Option<&'static str> {
    if parts.is_empty() || parts.iter().any(|part| part.records.is_empty()) {
        return Some("an append has at least one record for each of its streams");
    }
    if parts.iter().map(|part| part.records.len()).sum::<usize>() > APPEND_RECORDS_MAX {
        return Some("an append has at most 4,096 records");
    }
    let twice = |(at, part): (usize, &Part)| parts.iter().skip(at + 1).any(|other| other.stream == part.stream);
    if parts.iter().enumerate().any(twice) {
        return Some("an append names each stream once");
    }
    if key.is_some_and(|key| key.key.is_empty() || key.key.len() > KEY_BYTES_MAX) {
        return Some("an idempotency key has 1 to 128 bytes");
    }
    parts.iter().flat_map(|part| &part.records).find_map(NewRecord::fault)
}

/// Some seconds of the busiest incident; a full queue means that storage has stopped.
const QUEUE_MAX: usize = 4096;
/// One command makes a handful of events; a reload makes some hundred.
const APPEND_RECORDS_MAX: usize = 4096;
/// Room for a UUID with a client's name before it.
const KEY_BYTES_MAX: usize = 128;
