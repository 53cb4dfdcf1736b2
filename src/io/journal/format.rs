//! The file's format: its tables, its settings, its version, and what its header says before SQLite reads it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::files::length;
use super::sql::SqlFault;

/// Judges a file by its header. One of a later version is left alone. Of one that was cut SQLite would take what is
/// missing for zeros, or delete the log of an empty file. A file that was only about to grow when the machine died
/// looks cut too and loses nothing by being rebuilt.
pub(super) fn judge_header(journal: &Path) -> Result<(), SqlFault> {
    let bytes = length(journal);
    if bytes < HEADER_BYTES {
        return Err(SqlFault::Damaged(format!("the file is cut at {bytes} bytes, within its header")));
    }
    let header = Header::read(journal).map_err(|fault| SqlFault::Storage(fault.to_string()))?;
    if header.is_sqlite && header.format > FORMAT {
        return Err(SqlFault::NewerFormat(header.format));
    }
    if bytes < header.pages * PAGE_BYTES || !bytes.is_multiple_of(PAGE_BYTES) {
        return Err(SqlFault::Damaged(format!("the file is cut at {bytes} bytes of {}", header.pages * PAGE_BYTES)));
    }
    Ok(())
}

/// What SQLite's file format, section 1.3, keeps in the first hundred bytes; numbers are big-endian.
pub(super) struct Header {
    is_sqlite: bool,
    /// Section 1.3.8, byte 28: the size of the database in pages.
    pub pages: u64,
    /// Section 1.3.13, byte 60: the user version, our format.
    format: i64,
}

impl Header {
    pub(super) fn read(journal: &Path) -> std::io::Result<Self> {
        let mut bytes = [0; HEADER_BYTES as usize];
        File::open(journal)?.read_exact_at(&mut bytes, 0)?;
        let number = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        Ok(Self {
            is_sqlite: bytes.starts_with(b"SQLite format 3\0"),
            pages: u64::from(u32::from_be_bytes(number(28))),
            format: i64::from(i32::from_be_bytes(number(60))),
        })
    }
}

/// SQLite's default, fixed so that a damaged header does not decide it.
pub(super) const PAGE_BYTES: u64 = 4096;
/// The only format there has been.
pub(super) const FORMAT: i64 = 1;
const HEADER_BYTES: u64 = 100;

/// The writer checkpoints by itself, after answering.
pub(super) const SETTINGS: &str = "
    PRAGMA page_size = 4096;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA foreign_keys = OFF;
";

pub(super) const TABLES: &str = "
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
