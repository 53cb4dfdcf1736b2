//! Bounded connections: one place each, freed when the connection ends. Beyond the limit a connection is closed at once
//! and counted, so that strangers who hold connections open cannot take the daemon's files.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lets so many connections in.
#[derive(Clone)]
pub(super) struct Bounded {
    places: Arc<Semaphore>,
    refused: Arc<AtomicU64>,
}

impl Bounded {
    pub(super) fn new(most: usize, refused: Arc<AtomicU64>) -> Self {
        Self { places: Arc::new(Semaphore::new(most)), refused }
    }
}

impl<I, S> Accept<I, S> for Bounded {
    type Stream = Placed<I>;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Placed<I>, S)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        std::future::ready(match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => Ok((Placed { stream, _place: place }, service)),
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
    _place: OwnedSemaphorePermit,
}

impl<I: AsyncRead + Unpin> AsyncRead for Placed<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Placed<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
