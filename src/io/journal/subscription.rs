//! News of committed positions. Subscribers read the records themselves: news is coalesced, so a slow
//! subscriber costs nothing and misses nothing.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// What the writer announces to.
#[derive(Debug, Default)]
pub(super) struct Board {
    posted: Mutex<Posted>,
}

#[derive(Debug, Default)]
struct Posted {
    last_position: u64,
    closed: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Board {
    /// Everything up to here is committed.
    pub(super) fn post(&self, last_position: u64) {
        let mut posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        posted.last_position = last_position;
        for waiting in posted.waiting.drain(..) {
            let _ = waiting.send(()); // who stopped waiting needs no news
        }
    }
    /// Nothing more will come.
    pub(super) fn close(&self) {
        let mut posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        posted.closed = true;
        posted.waiting.clear();
    }
    /// The last committed position.
    pub(super) fn last_position(&self) -> u64 {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner).last_position
    }
}

/// One reader of the news; sees each position once, in order.
#[derive(Debug)]
pub struct Subscription {
    board: Arc<Board>,
    seen: u64,
}

impl Subscription {
    pub(super) fn new(board: Arc<Board>, seen: u64) -> Self {
        Self { board, seen }
    }
    /// The next committed positions, all that are new; `None` when the journal is closed and all was seen.
    /// Cancelling the future loses nothing.
    pub async fn next(&mut self) -> Option<RangeInclusive<u64>> {
        loop {
            match self.look() {
                Look::New(range) => return Some(range),
                Look::Closed => return None,
                Look::Wait(news) => drop(news.await),
            }
        }
    }
    /// The same for threads.
    pub fn next_blocking(&mut self) -> Option<RangeInclusive<u64>> {
        loop {
            match self.look() {
                Look::New(range) => return Some(range),
                Look::Closed => return None,
                Look::Wait(news) => drop(news.blocking_recv()),
            }
        }
    }

    fn look(&mut self) -> Look {
        let mut posted = self.board.posted.lock().unwrap_or_else(PoisonError::into_inner);
        if posted.last_position > self.seen {
            let range = self.seen + 1..=posted.last_position;
            self.seen = posted.last_position;
            return Look::New(range);
        }
        if posted.closed {
            return Look::Closed;
        }
        posted.waiting.retain(|waiting| !waiting.is_closed()); // cancelled ones would pile up between commits
        let (sender, news) = oneshot::channel();
        posted.waiting.push(sender);
        Look::Wait(news)
    }
}

enum Look {
    New(RangeInclusive<u64>),
    Closed,
    Wait(oneshot::Receiver<()>),
}
