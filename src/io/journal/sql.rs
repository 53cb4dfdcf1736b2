//! Everything the journal says to SQLite, and nothing else does. No transaction begins or ends here by itself.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};

use super::chain::Digest;
use super::fault::{OpenFault, ReadFault};
use super::format::{FORMAT, PAGE_BYTES, SETTINGS, TABLES};
use super::record::{Committed, IdempotencyKey, Record};
use super::row::{Stored, StreamRow, answer, bytes, number, signed, stored, stream_row};
use super::snapshot::{Snapshot, Usable};
use super::stream::Stream;
use crate::domain::id::NodeId;

macro_rules! record_columns {
    () => {
        "SELECT r.position, s.name, r.seq, r.node, r.epoch, r.wall_ms, r.actor, r.cause, r.schema, r.kind,
                r.salt, r.payload, r.digest, r.stream_no
         FROM record r JOIN stream s ON s.no = r.stream_no"
    };
}

/// What SQLite or a row answered instead of what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SqlFault {
    /// The disk, the memory, another process.
    Storage(String),
    /// The file does not hold what was written to it.
    Damaged(String),
    /// A later version wrote it.
    NewerFormat(i64),
}

impl From<rusqlite::Error> for SqlFault {
    fn from(fault: rusqlite::Error) -> Self {
        match fault.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(fault.to_string()),
            Some(_) => Self::Storage(fault.to_string()),
            None => Self::Damaged(fault.to_string()), // a row of another shape than ours
        }
    }
}

impl From<SqlFault> for OpenFault {
    fn from(fault: SqlFault) -> Self {
        match fault {
            SqlFault::Storage(cause) => Self::Storage(cause),
            SqlFault::Damaged(cause) => Self::Damaged(cause),
            SqlFault::NewerFormat(format) => Self::NewerFormat(format),
        }
    }
}

impl From<SqlFault> for ReadFault {
    fn from(fault: SqlFault) -> Self {
        Self(fault.cause())
    }
}

impl SqlFault {
    /// In words.
    pub(super) fn cause(self) -> String {
        match self {
            SqlFault::Storage(cause) | SqlFault::Damaged(cause) => cause,
            SqlFault::NewerFormat(format) => OpenFault::NewerFormat(format).to_string(),
        }
    }
}

/// One connection to one journal file.
#[derive(Debug)]
pub(super) struct Store(Connection);

impl Store {
    /// Opens for the writer: WAL, full sync, tables made if the file is new.
    pub(super) fn open(path: &Path, size_max_bytes: Option<u64>) -> Result<Self, SqlFault> {
        let store = Self::connect(path)?;
        let is_new = store.is_new()?;
        store.0.execute_batch(SETTINGS)?;
        if is_new {
            store.0.execute_batch(TABLES)?;
        }
        if let Some(bytes) = size_max_bytes {
            store.0.pragma_update(None, "max_page_count", signed((bytes / PAGE_BYTES).max(1)))?;
        }
        Ok(store)
    }
    /// Opens for reading beside the writer.
    pub(super) fn open_reader(path: &Path) -> Result<Self, SqlFault> {
        let store = Self::connect(path)?;
        store.0.execute_batch("PRAGMA query_only = ON; PRAGMA mmap_size = 0;")?;
        Ok(store)
    }
    fn connect(path: &Path) -> Result<Self, SqlFault> {
        let conn =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        // Only the writer, knowing the file whole, moves the WAL into it.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        conn.busy_timeout(BUSY_MAX)?;
        conn.set_prepared_statement_cache_capacity(32);
        Ok(Self(conn))
    }
    /// The last position of the file without its WAL.
    pub(super) fn last_position_without_wal(path: &Path) -> Result<u64, SqlFault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let escaped: String = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        Self(Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)?).last_position()
    }

    /// True if the file has no tables yet. Of a later version's file nothing else may be asked.
    pub(super) fn is_new(&self) -> Result<bool, SqlFault> {
        let format: i64 = self.0.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if format > FORMAT {
            return Err(SqlFault::NewerFormat(format));
        }
        let is_new =
            !self.0.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get::<_, bool>(0))?;
        if format != if is_new { 0 } else { FORMAT } {
            return Err(SqlFault::Damaged(format!("the file calls its format {format}")));
        }
        Ok(is_new)
    }
    /// From the first reading on until this store is dropped everything is read as it is then, whatever a writer does.
    pub(super) fn hold_still(&self) -> Result<(), SqlFault> {
        Ok(self.0.execute_batch("BEGIN")?)
    }
    pub(super) fn begin(&self) -> Result<(), SqlFault> {
        Ok(self.0.execute_batch("BEGIN IMMEDIATE")?)
    }
    pub(super) fn commit(&self) -> Result<(), SqlFault> {
        Ok(self.0.execute_batch("COMMIT")?)
    }
    /// Nothing is lost by a rollback that fails: SQLite has then rolled back by itself.
    pub(super) fn roll_back(&self) {
        if !self.0.is_autocommit() {
            drop(self.0.execute_batch("ROLLBACK"));
        }
    }
    /// Frames of the WAL that hold whole commits, and whether all of them went into the file. Waits for no reader: one
    /// that reads long would hold up every commit.
    pub(super) fn checkpoint(&self, truncate: bool) -> Result<(u64, bool), SqlFault> {
        let sql = if truncate { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(PASSIVE)" };
        self.0.busy_timeout(Duration::ZERO)?;
        let answer: rusqlite::Result<(i64, i64)> = self.0.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
        self.0.busy_timeout(BUSY_MAX)?;
        let (busy, frames) = answer?;
        Ok((frames.max(0).unsigned_abs(), busy == 0))
    }
    /// Everything SQLite itself finds wrong, at most a hundred lines; empty if nothing.
    pub(super) fn integrity(&self) -> Vec<String> {
        let check = || -> rusqlite::Result<Vec<String>> {
            let mut statement = self.0.prepare("PRAGMA integrity_check")?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        let mut lines = check().unwrap_or_else(|fault| vec![fault.to_string()]);
        lines.retain(|line| line != "ok");
        lines
    }

    pub(super) fn node(&self) -> Result<Option<(NodeId, u64)>, SqlFault> {
        let row = |row: &Row| Ok((NodeId(u128::from_be_bytes(bytes(row, 0)?)), number(row, 1)?));
        Ok(self.0.prepare_cached("SELECT id, epoch FROM node")?.query_row([], row).optional()?)
    }
    pub(super) fn set_node(&self, node: NodeId, epoch: u64) -> Result<(), SqlFault> {
        let sql = "INSERT INTO node (only_row, id, epoch) VALUES (1, ?1, ?2)
                   ON CONFLICT (only_row) DO UPDATE SET id = ?1, epoch = ?2";
        self.0.execute(sql, params![node.0.to_be_bytes(), signed(epoch)])?;
        Ok(())
    }

    pub(super) fn last_position(&self) -> Result<u64, SqlFault> {
        let sql = "SELECT coalesce(max(position), 0) FROM record";
        Ok(self.0.prepare_cached(sql)?.query_row([], |row| number(row, 0))?)
    }
    /// All streams, those set aside too.
    pub(super) fn streams(&self) -> Result<Vec<StreamRow>, SqlFault> {
        let mut statement =
            self.0.prepare_cached("SELECT no, name, last_seq, last_digest, set_aside FROM stream ORDER BY no")?;
        Ok(statement.query_map([], stream_row)?.collect::<Result<_, _>>()?)
    }
    pub(super) fn stream_by_no(&self, no: i64) -> Result<Option<StreamRow>, SqlFault> {
        let sql = "SELECT no, name, last_seq, last_digest, set_aside FROM stream WHERE no = ?1";
        Ok(self.0.prepare_cached(sql)?.query_row([no], stream_row).optional()?)
    }
    /// The living stream of this name.
    pub(super) fn stream_by_name(&self, stream: &Stream) -> Result<Option<StreamRow>, SqlFault> {
        let sql = "SELECT no, name, last_seq, last_digest, set_aside FROM stream WHERE name = ?1 AND set_aside IS NULL";
        Ok(self.0.prepare_cached(sql)?.query_row([stream.to_string()], stream_row).optional()?)
    }
    pub(super) fn insert_stream(&self, row: &StreamRow) -> Result<(), SqlFault> {
        let sql = "INSERT INTO stream (no, name, last_seq, last_digest, set_aside) VALUES (?1, ?2, ?3, ?4, ?5)";
        let values =
            params![row.no, row.stream.to_string(), signed(row.last_seq), row.last_digest.0, row.set_aside.map(signed)];
        self.0.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }
    /// One after the highest there has been.
    pub(super) fn next_stream_no(&self) -> Result<i64, SqlFault> {
        let sql = "SELECT coalesce(max(no), 0) + 1 FROM stream";
        Ok(self.0.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }
    pub(super) fn move_head(&self, no: i64, seq: u64, digest: Digest) -> Result<(), SqlFault> {
        let sql = "UPDATE stream SET last_seq = ?2, last_digest = ?3 WHERE no = ?1";
        self.0.prepare_cached(sql)?.execute(params![no, signed(seq), digest.0])?;
        Ok(())
    }
    /// Frees the stream's name; its records stay as they are, under its number.
    pub(super) fn set_aside(&self, no: i64, from_seq: u64) -> Result<(), SqlFault> {
        let sql = "UPDATE stream SET set_aside = ?2 WHERE no = ?1 AND set_aside IS NULL";
        self.0.execute(sql, params![no, signed(from_seq)])?;
        Ok(())
    }

    pub(super) fn insert_record(&self, stream_no: i64, record: &Record) -> Result<(), SqlFault> {
        let sql = "INSERT INTO record (position, stream_no, seq, node, epoch, wall_ms, actor, cause, schema, kind, salt, payload, digest)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
        let e = &record.envelope;
        self.0.prepare_cached(sql)?.execute(params![
            signed(e.position),
            stream_no,
            signed(e.seq),
            e.node.0.to_be_bytes(),
            signed(e.epoch),
            e.wall.0,
            e.actor,
            e.cause,
            e.schema,
            e.kind,
            record.salt.0,
            record.payload,
            record.digest.0
        ])?;
        Ok(())
    }
    /// Records from a position on, in order; of living streams only, or of all.
    pub(super) fn records(&self, from_position: u64, limit: u32, all: bool) -> Result<Vec<Stored>, SqlFault> {
        let sql = concat!(
            record_columns!(),
            " WHERE r.position >= ?1 AND (?3 OR s.set_aside IS NULL) ORDER BY r.position LIMIT ?2"
        );
        let mut statement = self.0.prepare_cached(sql)?;
        Ok(statement.query_map(params![signed(from_position), limit, all], stored)?.collect::<Result<_, _>>()?)
    }
    /// One stream's records from a sequence on.
    pub(super) fn stream_records(&self, no: i64, from_seq: u64, limit: u32) -> Result<Vec<Stored>, SqlFault> {
        let sql = concat!(record_columns!(), " WHERE r.stream_no = ?1 AND r.seq >= ?2 ORDER BY r.seq LIMIT ?3");
        let mut statement = self.0.prepare_cached(sql)?;
        Ok(statement.query_map(params![no, signed(from_seq), limit], stored)?.collect::<Result<_, _>>()?)
    }
    pub(super) fn record_at(&self, position: u64) -> Result<Option<Stored>, SqlFault> {
        let sql = concat!(record_columns!(), " WHERE r.position = ?1");
        Ok(self.0.prepare_cached(sql)?.query_row([signed(position)], stored).optional()?)
    }
    pub(super) fn digest_at(&self, stream_no: i64, seq: u64) -> Result<Option<Digest>, SqlFault> {
        let sql = "SELECT digest FROM record WHERE stream_no = ?1 AND seq = ?2";
        let mut statement = self.0.prepare_cached(sql)?;
        Ok(statement.query_row(params![stream_no, signed(seq)], |row| bytes(row, 0).map(Digest)).optional()?)
    }

    /// What a key was answered, and for which request.
    pub(super) fn answered(&self, key: &str) -> Result<Option<(Digest, Committed)>, SqlFault> {
        let sql = "SELECT request, committed FROM answered WHERE key = ?1";
        Ok(self.0.prepare_cached(sql)?.query_row([key], answer).optional()?)
    }
    /// Remembers an answer and forgets those older than the newest `keep`.
    pub(super) fn insert_answer(&self, key: &IdempotencyKey, committed: &Committed, keep: u64) -> Result<(), SqlFault> {
        let text = serde_json::to_string(committed).expect("numbers and stream names are JSON");
        let sql = "INSERT INTO answered (key, request, committed) VALUES (?1, ?2, ?3)";
        self.0.prepare_cached(sql)?.execute(params![key.key, key.request.0, text])?;
        let oldest = self.0.last_insert_rowid().saturating_sub(signed(keep));
        self.0.prepare_cached("DELETE FROM answered WHERE no <= ?1")?.execute([oldest])?;
        Ok(())
    }
    pub(super) fn answers(&self) -> Result<Vec<(IdempotencyKey, Committed)>, SqlFault> {
        let mut statement = self.0.prepare("SELECT request, committed, key FROM answered ORDER BY no")?;
        let rows = statement.query_map([], |row| {
            let (request, committed) = answer(row)?;
            Ok((IdempotencyKey { key: row.get(2)?, request }, committed))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Forgets every answer: what was answered may be lost.
    pub(super) fn forget_answers(&self) -> Result<(), SqlFault> {
        self.0.execute("DELETE FROM answered", [])?;
        Ok(())
    }

    /// Keeps a snapshot and forgets all but the newest `keep`.
    pub(super) fn insert_snapshot(&self, snapshot: &Snapshot, keep: u64) -> Result<(), SqlFault> {
        let sql = "INSERT OR REPLACE INTO snapshot (position, schema, bytes, digest) VALUES (?1, ?2, ?3, ?4)";
        let values = params![signed(snapshot.position), snapshot.schema, snapshot.bytes, snapshot.digest().0];
        self.0.prepare_cached(sql)?.execute(values)?;
        let sql = "DELETE FROM snapshot WHERE position NOT IN (SELECT position FROM snapshot ORDER BY position DESC LIMIT ?1)";
        self.0.prepare_cached(sql)?.execute([signed(keep)])?;
        Ok(())
    }
    /// Snapshots with the digests they were kept under, newest first.
    pub(super) fn snapshots(&self) -> Result<Vec<(Snapshot, Digest)>, SqlFault> {
        let mut statement =
            self.0.prepare("SELECT position, schema, bytes, digest FROM snapshot ORDER BY position DESC")?;
        let rows = statement.query_map([], |row| {
            let snapshot = Snapshot { position: number(row, 0)?, schema: row.get(1)?, bytes: row.get(2)? };
            Ok((snapshot, bytes(row, 3).map(Digest)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The newest snapshot that is what was written and that its owner can use.
    pub(super) fn good_snapshot(&self, usable: Usable) -> Result<Option<Snapshot>, SqlFault> {
        let good = |(snapshot, digest): (Snapshot, Digest)| (snapshot.digest() == digest).then_some(snapshot);
        Ok(self.snapshots()?.into_iter().filter_map(good).find(|snapshot| usable.holds(snapshot)))
    }
    /// Forgets every snapshot: they may hold state of a stream that is being set aside.
    pub(super) fn forget_snapshots(&self) -> Result<(), SqlFault> {
        self.0.execute("DELETE FROM snapshot", [])?;
        Ok(())
    }

    /// Positions that a repair could not save: first and last of each stretch.
    pub(super) fn known_gaps(&self) -> Result<Vec<(u64, u64)>, SqlFault> {
        let mut statement = self.0.prepare("SELECT first, last FROM known_gap ORDER BY first")?;
        Ok(statement.query_map([], |row| Ok((number(row, 0)?, number(row, 1)?)))?.collect::<Result<_, _>>()?)
    }
    pub(super) fn insert_gap(&self, first: u64, last: u64) -> Result<(), SqlFault> {
        self.0.execute("INSERT INTO known_gap (first, last) VALUES (?1, ?2)", params![signed(first), signed(last)])?;
        Ok(())
    }
}

/// A reader that finds the log being made anew, or a writer that meets a stranger's lock, waits this long.
const BUSY_MAX: Duration = Duration::from_secs(5);
