//! Everything the journal says to SQLite, and nothing else does. No transaction begins or ends here by itself.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};

use super::chain::{Digest, Salt};
use super::fault::ReadFault;
use super::record::{Committed, Envelope, IdempotencyKey, Record};
use super::snapshot::Snapshot;
use super::stream::Stream;
use crate::domain::id::NodeId;
use crate::domain::time::WallTime;

macro_rules! record_columns {
    () => {
        "SELECT r.position, s.name, r.seq, r.node, r.epoch, r.wall_ms, r.actor, r.cause, r.schema, r.kind,
                r.salt, r.payload, r.digest, r.stream_no
         FROM record r JOIN stream s ON s.no = r.stream_no"
    };
}

/// What SQLite or a row answered instead of what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SqlFault {
    pub cause: String,
    /// The file does not hold what was written to it.
    pub damaged: bool,
}

impl From<rusqlite::Error> for SqlFault {
    fn from(fault: rusqlite::Error) -> Self {
        let damaged = match fault.sqlite_error_code() {
            Some(code) => matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase),
            None => true, // a row of another shape than ours
        };
        Self { cause: fault.to_string(), damaged }
    }
}

impl From<SqlFault> for ReadFault {
    fn from(fault: SqlFault) -> Self {
        Self(fault.cause)
    }
}

/// A stream as its row tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamRow {
    pub no: i64,
    pub stream: Stream,
    pub last_seq: u64,
    pub last_digest: Digest,
    /// The first sequence that cannot be trusted, if the stream was set aside.
    pub set_aside: Option<u64>,
}

/// A record with its stream's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub stream_no: i64,
    pub record: Record,
}

/// One connection to one journal file.
#[derive(Debug)]
pub(super) struct Store(Connection);

impl Store {
    /// Opens for the writer: WAL, full sync, tables made if the file is new.
    pub(super) fn open(path: &Path, size_max_bytes: Option<u64>) -> Result<Self, SqlFault> {
        let store = Self::connect(path)?;
        store.0.execute_batch(SETTINGS)?;
        let format: i64 = store.0.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if format == 0 {
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
        conn.busy_timeout(std::time::Duration::from_secs(5))?;
        conn.set_prepared_statement_cache_capacity(32);
        Ok(Self(conn))
    }
    /// The last position of the file without its WAL.
    pub(super) fn last_position_without_wal(path: &Path) -> Result<u64, SqlFault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let escaped: String = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        Self(Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)?).last_position()
    }

    /// The format written in the file; 0 if it has no tables.
    pub(super) fn format(&self) -> Result<i64, SqlFault> {
        Ok(self.0.query_row("PRAGMA user_version", [], |row| row.get(0))?)
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
    /// Frames of the WAL that hold whole commits, and whether all of them went into the file.
    pub(super) fn checkpoint(&self, truncate: bool) -> Result<(u64, bool), SqlFault> {
        let sql = if truncate { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(PASSIVE)" };
        let (busy, frames): (i64, i64) = self.0.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
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

fn stream_row(row: &Row) -> rusqlite::Result<StreamRow> {
    let set_aside: Option<i64> = row.get(4)?;
    Ok(StreamRow {
        no: row.get(0)?,
        stream: stream_name(row, 1)?,
        last_seq: number(row, 2)?,
        last_digest: Digest(bytes(row, 3)?),
        set_aside: set_aside.map(i64::unsigned_abs),
    })
}

fn stored(row: &Row) -> rusqlite::Result<Stored> {
    let envelope = Envelope {
        position: number(row, 0)?,
        stream: stream_name(row, 1)?,
        seq: number(row, 2)?,
        node: NodeId(u128::from_be_bytes(bytes(row, 3)?)),
        epoch: number(row, 4)?,
        wall: WallTime(row.get(5)?),
        actor: row.get(6)?,
        cause: row.get(7)?,
        schema: row.get(8)?,
        kind: row.get(9)?,
    };
    let (salt, digest) = (Salt(bytes(row, 10)?), Digest(bytes(row, 12)?));
    Ok(Stored { stream_no: row.get(13)?, record: Record { envelope, salt, payload: row.get(11)?, digest } })
}

fn answer(row: &Row) -> rusqlite::Result<(Digest, Committed)> {
    let text: String = row.get(1)?;
    let committed = serde_json::from_str(&text)
        .map_err(|fault| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(fault)))?;
    Ok((Digest(bytes(row, 0)?), committed))
}

fn stream_name(row: &Row, at: usize) -> rusqlite::Result<Stream> {
    let text: String = row.get(at)?;
    text.parse().map_err(|fault| rusqlite::Error::FromSqlConversionFailure(at, Type::Text, Box::new(fault)))
}

fn bytes<const N: usize>(row: &Row, at: usize) -> rusqlite::Result<[u8; N]> {
    row.get(at)
}

/// SQLite's integers are signed; ours never reach the sign.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(row: &Row, at: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(at)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(at, value))
}

/// SQLite's default, fixed so that a damaged header does not decide it.
pub(super) const PAGE_BYTES: u64 = 4096;
/// The only format there has been.
pub(super) const FORMAT: i64 = 1;

/// The writer checkpoints by itself, after answering.
const SETTINGS: &str = "
    PRAGMA page_size = 4096;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA foreign_keys = OFF;
";

const TABLES: &str = "
    BEGIN IMMEDIATE;
    CREATE TABLE node (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        id       BLOB NOT NULL,
        epoch    INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE stream (
        no          INTEGER PRIMARY KEY,
        name        TEXT NOT NULL,
        last_seq    INTEGER NOT NULL,
        last_digest BLOB NOT NULL,
        set_aside   INTEGER
    ) STRICT;
    CREATE UNIQUE INDEX living_stream ON stream (name) WHERE set_aside IS NULL;
    CREATE TABLE record (
        position  INTEGER PRIMARY KEY,
        stream_no INTEGER NOT NULL,
        seq       INTEGER NOT NULL,
        node      BLOB NOT NULL,
        epoch     INTEGER NOT NULL,
        wall_ms   INTEGER NOT NULL,
        actor     TEXT NOT NULL,
        cause     TEXT,
        schema    INTEGER NOT NULL,
        kind      TEXT NOT NULL,
        salt      BLOB NOT NULL,
        payload   BLOB NOT NULL,
        digest    BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX record_in_stream ON record (stream_no, seq);
    CREATE TABLE answered (
        no        INTEGER PRIMARY KEY,
        key       TEXT NOT NULL UNIQUE,
        request   BLOB NOT NULL,
        committed TEXT NOT NULL
    ) STRICT;
    CREATE TABLE snapshot (
        position INTEGER PRIMARY KEY,
        schema   INTEGER NOT NULL,
        bytes    BLOB NOT NULL,
        digest   BLOB NOT NULL
    ) STRICT;
    CREATE TABLE known_gap (
        first INTEGER PRIMARY KEY,
        last  INTEGER NOT NULL
    ) STRICT;
    PRAGMA user_version = 1;
    COMMIT;
";
