//! Committed records in order, read beside the writer page by page: no long transaction, bounded memory.

use std::collections::VecDeque;

use super::fault::ReadFault;
use super::record::Record;
use super::row::Stored;
use super::sql::Store;

/// Records of the whole journal or of one stream. Ends where the journal ended when it got there.
#[derive(Debug)]
pub struct Records {
    store: Store,
    order: Order,
    page: VecDeque<Stored>,
    ended: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// Living streams from this position on.
    Position(u64),
    /// One stream from this sequence on.
    Stream { no: i64, seq: u64 },
    /// Nothing.
    Empty,
}

impl Records {
    pub(super) fn new(store: Store, order: Order) -> Self {
        Self { store, order, page: VecDeque::new(), ended: false }
    }

    fn fill(&mut self) -> Result<(), ReadFault> {
        let page = match self.order {
            Order::Position(from) => self.store.records(from, PAGE_RECORDS, false)?,
            Order::Stream { no, seq } => self.store.stream_records(no, seq, PAGE_RECORDS)?,
            Order::Empty => Vec::new(),
        };
        self.ended = page.len() < PAGE_RECORDS as usize;
        if let Some(last) = page.last() {
            match &mut self.order {
                Order::Position(from) => *from = last.record.envelope.position + 1,
                Order::Stream { seq, .. } => *seq = last.record.envelope.seq + 1,
                Order::Empty => {}
            }
        }
        self.page = page.into();
        Ok(())
    }
}

impl Iterator for Records {
    type Item = Result<Record, ReadFault>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty()
            && !self.ended
            && let Err(fault) = self.fill()
        {
            self.ended = true;
            return Some(Err(fault));
        }
        self.page.pop_front().map(|stored| Ok(stored.record))
    }
}

/// Some hundred kilobytes of typical records.
const PAGE_RECORDS: u32 = 512;
