//! The one thread that writes. Whatever has queued up while a commit was under way shares the next one.
//!
//! A group is all or nothing: if its commit fails, every ticket of it fails with the cause and memory is as
//! before. An append that is refused by itself (conflict, reused key) takes nobody with it. What a failed commit
//! left in the log is overwritten by the next; should the machine die before that, recovery may find the group
//! whole and reports it as unanswered.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use super::chain::{Digest, Salt};
use super::fault::NotRecorded;
use super::files::{Files, length, wal_of};
use super::queue::{Request, lock};
use super::record::{Committed, Envelope, IdempotencyKey, NewRecord, Part, Record};
use super::recovery::Recovered;
use super::row::StreamRow;
use super::snapshot::SNAPSHOTS_KEPT;
use super::sql::{SqlFault, Store};
use super::status::{JournalAlarm, JournalStatus};
use super::subscription::Board;
use super::ticket::Answer;
use super::witness::{Testimony, Witness};
use crate::domain::id::NodeId;
use crate::domain::time::WallTime;

/// Stands between a group and its commit: a drill or a test makes storage slow or failing here.
pub trait CommitGate: Send {
    /// May take its time; an error fails the commit with that cause.
    fn pass(&mut self, appends: usize) -> Result<(), String>;
}

/// The thread's state.
pub(super) struct Writer {
    store: Store,
    witness: Witness,
    files: Files,
    gate: Option<Box<dyn CommitGate>>,
    board: Arc<Board>,
    status: Arc<Mutex<JournalStatus>>,
    node: NodeId,
    epoch: u64,
    last_position: u64,
    /// The newest time of day that was told.
    wall: WallTime,
    /// The log's length at which it is next moved into the file.
    checkpoint_at_bytes: u64,
}

/// What a group will have changed once it is committed.
struct Staged {
    last_position: u64,
    records: u64,
}

/// What each request of a group will be told if the commit succeeds.
enum Outcome {
    Append(Answer<Committed>, Result<Committed, NotRecorded>),
    Snapshot(Answer<()>),
}

impl Writer {
    pub(super) fn new(
        recovered: Recovered,
        files: Files,
        gate: Option<Box<dyn CommitGate>>,
        board: Arc<Board>,
        status: Arc<Mutex<JournalStatus>>,
    ) -> Self {
        let Recovered { store, witness, report } = recovered;
        let (node, epoch, last_position) = (report.node, report.epoch, report.last_position);
        let (wall, checkpoint_at_bytes) = (WallTime::default(), WAL_BYTES_WANTED);
        Self { store, witness, files, gate, board, status, node, epoch, last_position, wall, checkpoint_at_bytes }
    }

    pub(super) fn run(&mut self, requests: &Receiver<Request>) {
        while let Ok(first) = requests.recv() {
            let mut group = vec![first];
            while group.len() < GROUP_MAX
                && let Ok(next) = requests.try_recv()
            {
                group.push(next);
            }
            self.commit_group(group);
            if self.wal_bytes() > self.checkpoint_at_bytes {
                self.checkpoint();
            }
        }
        self.checkpoint();
    }

    fn commit_group(&mut self, group: Vec<Request>) {
        let size = group.len();
        let mut staged = Staged { last_position: self.last_position, records: 0 };
        let mut outcomes = Vec::with_capacity(size);
        let committed = self.write_group(group, &mut staged, &mut outcomes);
        if committed.is_err() {
            self.store.roll_back();
        }
        self.note(size, &staged, committed.as_ref().err());
        match committed {
            Ok(()) => {
                self.last_position = staged.last_position;
                let said = Testimony { node: self.node, epoch: self.epoch, position: self.last_position };
                if self.witness.write(said).is_err() {
                    lock(&self.status).witness_failed += 1;
                }
                if staged.records > 0 {
                    self.board.post(self.last_position); // before the answers: whoever is answered may read
                }
                for outcome in outcomes {
                    match outcome {
                        Outcome::Append(answer, result) => drop(answer.send(result)),
                        Outcome::Snapshot(answer) => drop(answer.send(Ok(()))),
                    }
                }
            }
            Err(fault) => {
                for outcome in outcomes {
                    match outcome {
                        Outcome::Append(answer, Err(own)) => drop(answer.send(Err(own))),
                        Outcome::Append(answer, Ok(_)) => drop(answer.send(Err(fault.clone()))),
                        Outcome::Snapshot(answer) => drop(answer.send(Err(fault.clone()))),
                    }
                }
            }
        }
    }

    /// Everything up to and with the commit. Every request gets an outcome, also after a fault.
    fn write_group(
        &mut self,
        group: Vec<Request>,
        staged: &mut Staged,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), NotRecorded> {
        let mut fault = self.begin().err();
        for request in group {
            match request {
                Request::Append { parts, key, answer } => {
                    let newest = parts.iter().flat_map(|part| &part.records).map(|record| record.wall).max();
                    self.wall = newest.unwrap_or(self.wall);
                    let result = match &fault {
                        None => self.stage(&parts, key.as_ref(), staged),
                        Some(fault) => Err(fault.clone()),
                    };
                    if let Err(storage @ NotRecorded::Storage(_)) = &result {
                        fault = Some(storage.clone());
                    }
                    outcomes.push(Outcome::Append(answer, result));
                }
                Request::Snapshot { snapshot, answer } => {
                    if fault.is_none() {
                        fault = self.store.insert_snapshot(&snapshot, SNAPSHOTS_KEPT).map_err(storage).err();
                    }
                    outcomes.push(Outcome::Snapshot(answer));
                }
            }
        }
        if let Some(fault) = fault {
            return Err(fault);
        }
        if let Some(gate) = &mut self.gate {
            gate.pass(outcomes.len()).map_err(NotRecorded::Storage)?;
        }
        self.store.commit().map_err(storage)
    }

    /// Begins, and makes sure that nobody has taken over.
    fn begin(&self) -> Result<(), NotRecorded> {
        self.store.begin().map_err(storage)?;
        match self.store.node().map_err(storage)? {
            Some((node, epoch)) if node == self.node && epoch == self.epoch => Ok(()),
            Some(_) | None => Err(NotRecorded::Fenced),
        }
    }

    /// Writes one append into the open transaction; a refusal leaves the transaction as it was.
    fn stage(
        &self,
        parts: &[Part],
        key: Option<&IdempotencyKey>,
        staged: &mut Staged,
    ) -> Result<Committed, NotRecorded> {
        if let Some(key) = key
            && let Some((request, committed)) = self.store.answered(&key.key).map_err(storage)?
        {
            let same = request == key.request;
            return if same {
                Ok(Committed { repeated: true, ..committed })
            } else {
                Err(NotRecorded::KeyReused(key.key.clone()))
            };
        }
        let mut heads = Vec::with_capacity(parts.len());
        for part in parts {
            let head = self.store.stream_by_name(&part.stream).map_err(storage)?;
            let actual = head.as_ref().map_or(0, |head| head.last_seq);
            if actual != part.expected_seq {
                return Err(NotRecorded::Conflict { stream: part.stream.clone(), expected: part.expected_seq, actual });
            }
            heads.push(head);
        }
        let first_position = staged.last_position + 1;
        let mut last_seqs = Vec::with_capacity(parts.len());
        for (part, head) in parts.iter().zip(heads) {
            let head = self.write_part(part, head, staged).map_err(storage)?;
            last_seqs.push((part.stream.clone(), head.last_seq));
        }
        let committed = Committed { first_position, last_position: staged.last_position, last_seqs, repeated: false };
        if let Some(key) = key {
            self.store.insert_answer(key, &committed, ANSWERS_KEPT).map_err(storage)?;
        }
        Ok(committed)
    }

    fn write_part(&self, part: &Part, head: Option<StreamRow>, staged: &mut Staged) -> Result<StreamRow, SqlFault> {
        let mut head = match head {
            Some(head) => head,
            None => {
                let genesis = Digest::genesis(&part.stream);
                let no = self.store.next_stream_no()?;
                let row =
                    StreamRow { no, stream: part.stream.clone(), last_seq: 0, last_digest: genesis, set_aside: None };
                self.store.insert_stream(&row)?;
                row
            }
        };
        let mut salts = vec![0; part.records.len() * 16];
        getrandom::fill(&mut salts).map_err(|e| SqlFault::Storage(e.to_string()))?;
        for (new, salt) in part.records.iter().zip(salts.as_chunks::<16>().0) {
            let envelope = self.envelope(new, &head, staged.last_position + 1);
            let salt = Salt(*salt);
            let digest = head.last_digest.chained(&envelope, Digest::of_payload(&salt, &new.payload));
            let record = Record { envelope, salt, payload: new.payload.clone(), digest };
            self.store.insert_record(head.no, &record)?;
            head.last_seq += 1;
            head.last_digest = digest;
            staged.last_position += 1;
            staged.records += 1;
        }
        self.store.move_head(head.no, head.last_seq, head.last_digest)?;
        Ok(head)
    }

    fn envelope(&self, new: &NewRecord, head: &StreamRow, position: u64) -> Envelope {
        Envelope {
            position,
            stream: head.stream.clone(),
            seq: head.last_seq + 1,
            node: self.node,
            epoch: self.epoch,
            wall: new.wall,
            actor: new.actor.clone(),
            cause: new.cause.clone(),
            schema: new.schema,
            kind: new.kind.clone(),
        }
    }

    fn note(&self, size: usize, staged: &Staged, fault: Option<&NotRecorded>) {
        let mut status = lock(&self.status);
        status.queued = status.queued.saturating_sub(size);
        status.group_max = status.group_max.max(size);
        match fault {
            None => {
                status.commits += 1;
                status.records += staged.records;
                status.alarm = None;
            }
            Some(fault) => {
                status.commits_failed += 1;
                let since = status.alarm.as_ref().map_or(self.wall, |alarm| alarm.since);
                status.alarm = Some(JournalAlarm { since, cause: fault.to_string() });
            }
        }
    }

    /// Moves the log into the file and empties it, so that a log on disk is never older than the file. While somebody
    /// reads an old state the log can only grow: the next try comes after as much again.
    fn checkpoint(&mut self) {
        self.checkpoint_at_bytes = WAL_BYTES_WANTED;
        if !matches!(self.store.checkpoint(true), Ok((_, true))) {
            lock(&self.status).checkpoints_failed += 1;
            self.checkpoint_at_bytes += self.wal_bytes();
        }
    }

    fn wal_bytes(&self) -> u64 {
        length(&wal_of(&self.files.journal()))
    }
}

impl Drop for Writer {
    /// Also if the thread panics: nobody waits for news that cannot come.
    fn drop(&mut self) {
        self.board.close();
    }
}

fn storage(fault: SqlFault) -> NotRecorded {
    NotRecorded::Storage(fault.cause())
}

/// Bounds what one failed commit can fail and what one commit must hold in memory.
const GROUP_MAX: usize = 1024;
/// Above this the log is moved into the file; SQLite's own default is the same 1,000 pages.
const WAL_BYTES_WANTED: u64 = 4 << 20;
/// A client that repeats a request does so within minutes; this is hours at any real rate.
pub const ANSWERS_KEPT: u64 = 10_000;
