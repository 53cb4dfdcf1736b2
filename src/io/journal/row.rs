//! Rows as our values and back. A row of another shape than ours is damage, told by the error it gives.

use rusqlite::Row;
use rusqlite::types::Type;

use super::chain::{Digest, Salt};
use super::record::{Committed, Envelope, Record};
use super::stream::Stream;
use crate::domain::id::NodeId;
use crate::domain::time::WallTime;

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

pub(super) fn stream_row(row: &Row) -> rusqlite::Result<StreamRow> {
    let set_aside: Option<i64> = row.get(4)?;
    Ok(StreamRow {
        no: row.get(0)?,
        stream: stream_name(row, 1)?,
        last_seq: number(row, 2)?,
        last_digest: Digest(bytes(row, 3)?),
        set_aside: set_aside.map(i64::unsigned_abs),
    })
}

pub(super) fn stored(row: &Row) -> rusqlite::Result<Stored> {
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

pub(super) fn answer(row: &Row) -> rusqlite::Result<(Digest, Committed)> {
    let text: String = row.get(1)?;
    let committed = serde_json::from_str(&text)
        .map_err(|fault| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(fault)))?;
    Ok((Digest(bytes(row, 0)?), committed))
}

fn stream_name(row: &Row, at: usize) -> rusqlite::Result<Stream> {
    let text: String = row.get(at)?;
    text.parse().map_err(|fault| rusqlite::Error::FromSqlConversionFailure(at, Type::Text, Box::new(fault)))
}

pub(super) fn bytes<const N: usize>(row: &Row, at: usize) -> rusqlite::Result<[u8; N]> {
    row.get(at)
}

/// SQLite's integers are signed; ours never reach the sign.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn number(row: &Row, at: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(at)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(at, value))
}
