//! What waits for the writer, and the counters both ends keep. Bounded: a full queue refuses at once.

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::fault::NotRecorded;
use super::files::Files;
use super::record::{Committed, IdempotencyKey, Part};
use super::recovery::Recovered;
use super::snapshot::Snapshot;
use super::status::JournalStatus;
use super::subscription::Board;
use super::ticket::Answer;
use super::writer::{CommitGate, Writer};

/// One thing to write.
pub(super) enum Request {
    Append { parts: Vec<Part>, key: Option<IdempotencyKey>, answer: Answer<Committed> },
    Snapshot { snapshot: Snapshot, answer: Answer<()> },
}

/// The queue's near end.
pub(super) struct Queue {
    sender: Option<SyncSender<Request>>,
    thread: Option<JoinHandle<()>>,
    status: Arc<Mutex<JournalStatus>>,
}

impl Queue {
    /// Starts the writer on a recovered journal.
    pub(super) fn start(
        recovered: Recovered,
        files: Files,
        queue_max: usize,
        gate: Option<Box<dyn CommitGate>>,
        board: Arc<Board>,
    ) -> std::io::Result<Self> {
        let (sender, requests) = sync_channel(queue_max.max(1));
        let status = Arc::<Mutex<JournalStatus>>::default();
        let mut writer = Writer::new(recovered, files, gate, board, Arc::clone(&status));
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || writer.run(&requests))?;
        Ok(Self { sender: Some(sender), thread: Some(thread), status })
    }
    /// Hands a request to the writer, or refuses it now.
    pub(super) fn push(&self, request: Request) -> Result<(), NotRecorded> {
        let sender = self.sender.as_ref().ok_or(NotRecorded::Stopped)?;
        lock(&self.status).queued += 1;
        sender.try_send(request).map_err(|refused| {
            let mut status = lock(&self.status);
            status.queued -= 1;
            match refused {
                TrySendError::Full(_) => {
                    status.refused_full += 1;
                    NotRecorded::QueueFull
                }
                TrySendError::Disconnected(_) => NotRecorded::Stopped,
            }
        })
    }
    pub(super) fn status(&self) -> JournalStatus {
        lock(&self.status).clone()
    }
}

impl Drop for Queue {
    /// Writes what was queued, then ends the thread.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

pub(super) fn lock(status: &Mutex<JournalStatus>) -> MutexGuard<'_, JournalStatus> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}
