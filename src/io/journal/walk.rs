//! Follows every chain of a journal in the order of positions, and says where it is not what was written.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::chain::{BreakKind, ChainBreak, ChainHead, Digest};
use super::record::Record;
use super::row::Stored;
use super::sql::{SqlFault, Store};

/// What a walk has found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// By stream number.
    pub streams: BTreeMap<i64, WalkedStream>,
    /// Stretches of positions that hold no readable record.
    pub missing: Vec<(u64, u64)>,
    /// Records seen.
    pub records: u64,
    /// The last position seen.
    pub last_position: u64,
}

/// One stream as far as it can be trusted.
#[derive(Debug)]
pub(super) struct WalkedStream {
    pub head: ChainHead,
    /// Set aside earlier.
    pub set_aside: Option<u64>,
    pub records: u64,
    pub broken: Option<ChainBreak>,
}

/// How to walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    /// The first position to look at; chains before it are taken from their stored digests.
    pub from: u64,
    /// Positions up to here are known to have been written.
    pub known_last: u64,
    /// Step over pages that cannot be read instead of giving up.
    pub tolerant: bool,
}

impl Walk {
    /// Walks, handing each record on.
    pub(super) fn take(
        store: &Store,
        path: Path,
        mut keep: impl FnMut(&Stored) -> Result<(), SqlFault>,
    ) -> Result<Self, SqlFault> {
        let mut walk = Self { last_position: path.from.saturating_sub(1), ..Self::default() };
        let mut next = path.from;
        loop {
            let page = match store.records(next, PAGE_RECORDS, true) {
                Ok(page) => page,
                Err(SqlFault::Damaged(_)) if path.tolerant => readable_one_by_one(store, next),
                Err(fault) => return Err(fault),
            };
            for stored in &page {
                walk.see(store, stored, path)?;
                keep(stored)?;
            }
            let stepped = next + u64::from(PAGE_RECORDS);
            next = match page.last() {
                Some(last) if page.len() == PAGE_RECORDS as usize => last.record.envelope.position + 1,
                Some(_) | None if path.tolerant && stepped <= path.known_last => stepped,
                Some(_) | None => break,
            };
        }
        walk.compare_heads(store, path)?;
        Ok(walk)
    }
    /// All breaks that are news.
    pub(super) fn fresh_breaks(&self) -> impl Iterator<Item = (i64, &ChainBreak)> {
        self.streams.iter().filter(|(_, s)| s.set_aside.is_none()).filter_map(|(no, s)| Some((*no, s.broken.as_ref()?)))
    }

    /// A stream that ends early because the whole journal does is shorter, not broken.
    pub(super) fn is_cut_tail(&self, found: &ChainBreak) -> bool {
        found.what == BreakKind::TailMissing && self.missing.is_empty()
    }

    fn see(&mut self, store: &Store, stored: &Stored, path: Path) -> Result<(), SqlFault> {
        let envelope = &stored.record.envelope;
        if envelope.position > self.last_position + 1 {
            self.missing.push((self.last_position + 1, envelope.position - 1));
        }
        self.last_position = envelope.position;
        self.records += 1;
        let stream = match self.streams.entry(stored.stream_no) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(first_sight(store, stored, path)?),
        };
        stream.follow(&stored.record);
        Ok(())
    }

    /// A chain that ends early is whole in itself: only the stream's row knows that there was more.
    fn compare_heads(&mut self, store: &Store, path: Path) -> Result<(), SqlFault> {
        let rows = match store.streams() {
            Ok(rows) => rows,
            Err(SqlFault::Damaged(_)) if path.tolerant => return Ok(()),
            Err(fault) => return Err(fault),
        };
        let everything = path.from <= 1 || !self.missing.is_empty();
        for row in rows {
            let unseen = !self.streams.contains_key(&row.no);
            if unseen && !everything {
                continue;
            }
            let mut head = ChainHead::genesis(row.stream.clone());
            if unseen && path.from > 1 {
                // Its records lie before the walk: the last one must be there with the digest that the row knows.
                let found = store.digest_at(row.no, row.last_seq).unwrap_or(None);
                if found == Some(row.last_digest) {
                    head = ChainHead { stream: row.stream.clone(), seq: row.last_seq, digest: row.last_digest };
                }
            }
            let walked = self.streams.entry(row.no).or_insert(WalkedStream {
                head,
                set_aside: row.set_aside,
                records: 0,
                broken: None,
            });
            let whole = walked.head.seq == row.last_seq && walked.head.digest == row.last_digest;
            if walked.broken.is_none() && !whole {
                let what = if walked.head.seq < row.last_seq { BreakKind::TailMissing } else { BreakKind::Altered };
                walked.broken = Some(ChainBreak { stream: row.stream, seq: walked.head.seq + 1, what });
            }
        }
        Ok(())
    }
}

impl WalkedStream {
    fn follow(&mut self, record: &Record) {
        self.records += 1;
        if self.broken.is_none() {
            let payload = Digest::of_payload(&record.salt, &record.payload);
            self.broken = self.head.follow(&record.envelope, payload, record.digest).err();
        }
    }
}

/// Where a stream's chain stands just before the first record that the walk meets.
fn first_sight(store: &Store, stored: &Stored, path: Path) -> Result<WalkedStream, SqlFault> {
    let envelope = &stored.record.envelope;
    let row = store.stream_by_no(stored.stream_no)?;
    let mut head = ChainHead::genesis(envelope.stream.clone());
    if path.from > 1
        && envelope.seq > 1
        && let Some(digest) = store.digest_at(stored.stream_no, envelope.seq - 1)?
    {
        head = ChainHead { stream: envelope.stream.clone(), seq: envelope.seq - 1, digest };
    }
    Ok(WalkedStream { head, set_aside: row.and_then(|row| row.set_aside), records: 0, broken: None })
}

fn readable_one_by_one(store: &Store, from: u64) -> Vec<Stored> {
    (from..from + u64::from(PAGE_RECORDS)).filter_map(|position| store.record_at(position).ok().flatten()).collect()
}

const PAGE_RECORDS: u32 = 512;
