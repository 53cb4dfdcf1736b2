//! The promise that an append's commit will be reported: blocking for threads, a future for tasks.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::fault::NotRecorded;

/// Resolves when the commit has returned. Dropping it does not undo the append.
#[derive(Debug)]
#[must_use = "an append is answered by its ticket"]
pub struct Ticket<T>(oneshot::Receiver<Result<T, NotRecorded>>);

/// The writer's end of a ticket.
pub(super) type Answer<T> = oneshot::Sender<Result<T, NotRecorded>>;

impl<T> Ticket<T> {
    /// A ticket and the end that answers it.
    pub(super) fn issue() -> (Answer<T>, Self) {
        let (answer, ticket) = oneshot::channel();
        (answer, Self(ticket))
    }
    /// Waits on this thread. Not for tasks: they await the ticket.
    pub fn wait(self) -> Result<T, NotRecorded> {
        self.0.blocking_recv().unwrap_or(Err(NotRecorded::Stopped))
    }
}

impl<T> Future for Ticket<T> {
    type Output = Result<T, NotRecorded>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(NotRecorded::Stopped)))
    }
}
