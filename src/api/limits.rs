//! What the door takes at most. Connections: one place each, freed when the connection ends; beyond the limit one is
//! closed at once and counted, so that strangers who hold connections open cannot take the daemon's files. Time: whoever
//! sends nothing, or takes nothing of what is sent, is let go.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// How much the door takes, and how long it waits.
#[derive(Clone, Debug)]
pub struct DoorLimits {
    /// Connections at once: consoles, dashboards and scripts of a region; the files that radios need stay free.
    pub connections: usize,
    /// Subscribers at once: consoles of a county, and room.
    pub subscribers: usize,
    /// A client that takes longer to send the head of a request is let go, also one that sends no request at all.
    pub head_within: Duration,
    /// A request that takes longer, or takes longer to arrive, is answered so; cuts are answered in milliseconds.
    pub answer_within: Duration,
    /// A client that takes nothing of its answer for so long is let go.
    pub taken_within: Duration,
    /// A subscriber that does not take an event in this time is let go; it may go on from its cursor. Shorter than
    /// `taken_within`, so that it is known for what it is.
    pub event_taken_within: Duration,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            subscribers: 256,
            head_within: Duration::from_secs(10),
            answer_within: Duration::from_secs(30),
            taken_within: Duration::from_secs(30),
            event_taken_within: Duration::from_secs(10),
        }
    }
}

/// What the kernel keeps for one client that does not read, in bytes: some hundred events. Without it a connection grows
/// to megabytes, and the limit of connections to gigabytes.
pub(super) const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// Lets so many connections in.
#[derive(Clone)]
pub(super) struct Bounded {
    places: Arc<Semaphore>,
    taken_within: Duration,
    refused: Arc<AtomicU64>,
    stalled: Arc<AtomicU64>,
}

impl Bounded {
    /// `refused` counts connections beyond the limit, `stalled` those that took nothing for too long.
    pub(super) fn new(limits: &DoorLimits, refused: Arc<AtomicU64>, stalled: Arc<AtomicU64>) -> Self {
        let places = Arc::new(Semaphore::new(limits.connections));
        Self { places, taken_within: limits.taken_within, refused, stalled }
    }
}

impl<I, S> Accept<I, S> for Bounded {
    type Stream = Placed<I>;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Placed<I>, S)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        std::future::ready(match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => {
                let (taken_within, stalled) = (self.taken_within, Arc::clone(&self.stalled));
                Ok((Placed { stream, waiting: None, taken_within, stalled, _place: place }, service))
            }
            Err(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(io::Error::new(io::ErrorKind::ConnectionRefused, "every connection's place is taken"))
            }
        })
    }
}

/// A connection that has a place.
pub(super) struct Placed<I> {
    stream: I,
    /// Runs while the client takes nothing of what is to be sent.
    waiting: Option<Pin<Box<Sleep>>>,
    taken_within: Duration,
    stalled: Arc<AtomicU64>,
    _place: OwnedSemaphorePermit,
}

impl<I> Placed<I> {
    /// What a write came to, unless it has waited for too long.
    fn within<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(self.taken_within)));
        ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        self.stalled.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its answer")))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Placed<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Placed<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.within(cx, written)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
