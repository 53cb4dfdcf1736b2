//! Events through the journal: `Recorded` to records and back, state from snapshot and tail. Owned by the control task;
//! readers of history get their own cursor. What can go wrong: a record of a version this program does not know (the
//! daemon refuses to start rather than forget), storage that fails (the ticket says so).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dispatch::{State, evolve};
use crate::domain::event::{Recorded, Stream};
use crate::domain::incident::Actor;
use crate::io::journal::{
    Committed, DataDir, IdempotencyKey, Journal, JournalOptions, JournalStatus, NewRecord, NotRecorded, OnDamage,
    OpenFault, Part, ReadFault, Record, RecoveryReport, Snapshot, Stream as JournalStream, Subscription, Ticket,
    Upcasters,
};

/// The schema version of events as written today.
const EVENT_SCHEMA: u32 = 1;
/// The schema version of snapshots; another one is passed over and history is replayed instead.
const SNAPSHOT_SCHEMA: u32 = 2;
/// Records between two snapshots: replaying so many takes well under the two seconds a restart may take.
const SNAPSHOT_EVERY: u64 = 5_000;

/// An open journal of events.
pub struct Store {
    journal: Arc<Journal>,
    last_seqs: BTreeMap<Stream, u64>,
    since_snapshot: u64,
}

/// Reads the journal from any thread: SQLite's readers wait for no commit.
#[derive(Clone)]
pub struct StoreReader {
    journal: Arc<Journal>,
}

/// What recovery found.
pub struct Recovered {
    pub state: State,
    pub report: RecoveryReport,
    /// Events replayed after the snapshot.
    pub replayed: u64,
    pub took: Duration,
}

impl Store {
    /// Locks the folder, recovers the journal and replays it.
    pub fn open(data_dir: &Path, strict: bool) -> Result<(Self, Recovered), OpenFault> {
        let on_damage = if strict { OnDamage::Refuse } else { OnDamage::SetAside };
        let options = JournalOptions { on_damage, ..JournalOptions::default() };
        Self::open_with(data_dir, options)
    }

    /// The same with other options: tests make storage slow or failing here.
    pub fn open_with(data_dir: &Path, options: JournalOptions) -> Result<(Self, Recovered), OpenFault> {
        let began = stopwatch();
        let parses = |bytes: &[u8]| serde_json::from_slice::<State>(bytes).is_ok();
        let options =
            JournalOptions { snapshot_schema: Some(SNAPSHOT_SCHEMA), snapshot_parses: Some(parses), ..options };
        let (journal, report) = Journal::open(DataDir::claim(data_dir)?, options)?;
        let mut store = Self { journal: Arc::new(journal), last_seqs: BTreeMap::new(), since_snapshot: 0 };
        let (state, replayed) = store.reader().read_state().map_err(|fault| OpenFault::Damaged(fault.to_string()))?;
        store.since_snapshot = replayed;
        Ok((store, Recovered { state, report, replayed, took: began.elapsed() }))
    }

    /// A handle for readers.
    pub fn reader(&self) -> StoreReader {
        StoreReader { journal: Arc::clone(&self.journal) }
    }

    /// Appends events, all or none. `key` makes a repetition harmless.
    pub fn append(
        &mut self,
        records: &[Recorded],
        key: Option<IdempotencyKey>,
    ) -> Result<Ticket<Committed>, NotRecorded> {
        let mut parts: Vec<Part> = Vec::new();
        for recorded in records {
            let record = record_of(recorded);
            let stream = stream_of(&recorded.stream);
            match parts.iter_mut().find(|part| part.stream == stream) {
                Some(part) => part.records.push(record),
                None => {
                    let expected_seq = self.last_seq(&recorded.stream)?;
                    parts.push(Part { stream, expected_seq, records: vec![record] });
                }
            }
        }
        let ticket = self.journal.append_parts(parts, key)?;
        for recorded in records {
            *self.last_seqs.entry(recorded.stream.clone()).or_default() += 1;
        }
        self.since_snapshot += records.len() as u64;
        Ok(ticket)
    }

    /// After a failed commit nothing remembered of the streams holds.
    pub fn forget_sequences(&mut self) {
        self.last_seqs.clear();
    }

    /// Whether enough was appended since the last snapshot; counts anew once it has said so.
    pub fn snapshot_is_due(&mut self) -> bool {
        let due = self.since_snapshot >= SNAPSHOT_EVERY;
        if due {
            self.since_snapshot = 0;
        }
        due
    }

    /// Alarm, counters, queue.
    pub fn status(&self) -> JournalStatus {
        self.journal.status()
    }

    /// The last committed position.
    pub fn last_position(&self) -> u64 {
        self.journal.last_position()
    }

    /// News of committed positions after `seen`.
    pub fn subscribe(&self, seen: u64) -> Subscription {
        self.journal.subscribe(seen)
    }

    fn last_seq(&mut self, stream: &Stream) -> Result<u64, NotRecorded> {
        if let Some(seq) = self.last_seqs.get(stream) {
            return Ok(*seq);
        }
        let seq = self.journal.last_seq(&stream_of(stream)).map_err(|fault| NotRecorded::Storage(fault.to_string()))?;
        self.last_seqs.insert(stream.clone(), seq);
        Ok(seq)
    }
}

impl StoreReader {
    /// State as the journal has it, and how many events were replayed for it.
    pub fn read_state(&self) -> Result<(State, u64), ReadFault> {
        let read = |snapshot: Snapshot| match serde_json::from_slice(&snapshot.bytes) {
            Ok(state) => Ok((state, snapshot.position)),
            Err(fault) => Err(ReadFault(format!("the snapshot at {}: {fault}", snapshot.position))),
        };
        let from_snapshot: Option<(State, u64)> = self.journal.load_snapshot()?.map(read).transpose()?;
        let (mut state, position) = from_snapshot.unwrap_or_default();
        let mut replayed = 0;
        for record in self.journal.read_all(position + 1)? {
            evolve(&mut state, &recorded_of(&record?)?);
            replayed += 1;
        }
        Ok((state, replayed))
    }

    /// Keeps `state`, which is exactly what is committed up to `position`. Losing a snapshot costs time, never
    /// history.
    pub fn keep_snapshot(&self, state: &State, position: u64) {
        let kept = serde_json::to_vec(state).map_err(|fault| fault.to_string()).and_then(|bytes| {
            let snapshot = Snapshot { position, schema: SNAPSHOT_SCHEMA, bytes };
            self.journal.save_snapshot(snapshot).map_err(|fault| fault.to_string())
        });
        if let Err(fault) = kept.and_then(|ticket| ticket.wait().map_err(|fault| fault.to_string())) {
            tracing::warn!(%fault, "no snapshot could be kept; the next start replays more");
        }
    }

    /// Every idempotency key that the journal remembers, the oldest first.
    pub fn answers(&self) -> Result<Vec<(IdempotencyKey, Committed)>, ReadFault> {
        self.journal.answers()
    }

    /// Events after a position, in order: at most `most`.
    pub fn events_after(&self, position: u64, most: usize) -> Result<Vec<(u64, Recorded)>, ReadFault> {
        let records = self.journal.read_all(position + 1)?.take(most);
        records
            .map(|record| {
                let record = record?;
                Ok((record.envelope.position, recorded_of(&record)?))
            })
            .collect()
    }
}

/// An event as the journal keeps it.
fn record_of(recorded: &Recorded) -> NewRecord {
    let whole = serde_json::to_value(recorded).expect("events are plain data: JSON always takes them");
    let kind = whole["event"]["event"].as_str().unwrap_or("event").to_owned();
    NewRecord {
        kind,
        schema: EVENT_SCHEMA,
        payload: whole.to_string().into_bytes(),
        wall: recorded.at.wall,
        actor: actor_of(&recorded.actor),
        cause: None,
    }
}

/// A record as an event, lifted from older schemas.
pub fn recorded_of(record: &Record) -> Result<Recorded, ReadFault> {
    let lifted = upcasters().lift(record)?;
    serde_json::from_value(lifted.payload).map_err(|fault| {
        ReadFault(format!("position {}: not an event of this program: {fault}", record.envelope.position))
    })
}

/// How events of older versions become today's. None have changed yet.
fn upcasters() -> Upcasters {
    Upcasters::default()
}

/// The journal's name for a stream.
pub(super) fn stream_of(stream: &Stream) -> JournalStream {
    match stream {
        Stream::Node => JournalStream::Node,
        Stream::Agency(agency) => JournalStream::Agency(agency.clone()),
        Stream::Incident(incident) => JournalStream::Incident(*incident),
    }
}

fn actor_of(actor: &Actor) -> String {
    match actor {
        Actor::User { user, agency: Some(agency) } => format!("{agency}/{user}"),
        Actor::User { user, agency: None } => user.to_string(),
        Actor::Agreement(agreement) => format!("agreement/{agreement}"),
        Actor::Timer => "timer".to_owned(),
        Actor::Media => "media".to_owned(),
        Actor::Recovery => "recovery".to_owned(),
        Actor::Reload => "reload".to_owned(),
    }
}

/// For the start report only: no decision hangs on it.
#[expect(clippy::disallowed_methods, reason = "measures how long recovery took, for people")]
fn stopwatch() -> Instant {
    Instant::now()
}
