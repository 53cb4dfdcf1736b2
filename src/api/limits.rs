//! What the door takes at most. Connections: one place each, freed when the connection ends; beyond the limit of all, or
//! of one source, one is closed at once and counted, so that strangers who hold connections open can take neither the
//! daemon's files nor everybody's places. Time: whoever sends nothing, or takes nothing of what is sent, is let go.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How much the door takes, and how long it waits.
#[derive(Clone, Debug)]
pub struct DoorLimits {
    /// Connections at once: consoles, dashboards and scripts of a region; the files that radios need stay free.
    pub connections: usize,
    /// Connections of one source at once: a dispatch centre behind one address. Whoever is on this machine speaks for
    /// others and is not counted so.
    pub connections_of_one: usize,
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
            connections_of_one: 64,
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
    places: Arc<Places>,
    taken_within: Duration,
    refused: Arc<AtomicU64>,
    stalled: Arc<AtomicU64>,
}

impl Bounded {
    /// `refused` counts connections beyond the limit, `stalled` those that took nothing for too long.
    pub(super) fn new(limits: &DoorLimits, refused: Arc<AtomicU64>, stalled: Arc<AtomicU64>) -> Self {
        let (most, most_of_one) = (limits.connections, limits.connections_of_one);
        let places = Arc::new(Places { most, most_of_one, taken: Mutex::default() });
        Self { places, taken_within: limits.taken_within, refused, stalled }
    }
}

/// Places of connections, and who has them.
struct Places {
    most: usize,
    most_of_one: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_source: BTreeMap<IpAddr, usize>,
}

/// A taken place; free again when dropped.
struct Place {
    places: Arc<Places>,
    source: IpAddr,
}

impl Places {
    fn take(self: &Arc<Self>, from: IpAddr) -> Option<Place> {
        let source = source_of(from);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = taken.by_source.get(&source).copied().unwrap_or(0);
        if taken.all >= self.most || (of_one >= self.most_of_one && !source.is_loopback()) {
            return None;
        }
        taken.all += 1;
        taken.by_source.insert(source, of_one + 1);
        Some(Place { places: Arc::clone(self), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Entry::Occupied(mut of_one) = taken.by_source.entry(self.source) {
            *of_one.get_mut() -= 1;
            if *of_one.get() == 0 {
                of_one.remove();
            }
        }
    }
}

/// Who counts as one: an IPv4 address, or the IPv6 network that one customer has.
fn source_of(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    match address {
        IpAddr::V6(v6) if !v6.is_loopback() => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}

impl<S> Accept<TcpStream, S> for Bounded {
    type Stream = Placed<TcpStream>;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Placed<TcpStream>, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let place = stream.peer_addr().map(|from| self.places.take(from.ip()));
        std::future::ready(match place {
            Err(fault) => Err(fault),
            Ok(Some(place)) => {
                let (taken_within, stalled) = (self.taken_within, Arc::clone(&self.stalled));
                Ok((Placed { stream, waiting: None, taken_within, stalled, _place: place }, service))
            }
            Ok(None) => {
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
    _place: Place,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stranger_leaves_places_for_others_and_this_machine_may_have_all() {
        let places = Arc::new(Places { most: 5, most_of_one: 2, taken: Mutex::default() });
        let take = |from: &str| places.take(from.parse().unwrap());
        let held = [take("192.0.2.1"), take("192.0.2.1")];
        assert!(held.iter().all(Option::is_some));
        assert!(take("192.0.2.1").is_none(), "a third of one source");
        assert!(take("::ffff:192.0.2.1").is_none(), "the same source in other words");
        let network = [take("2001:db8::1"), take("2001:db8::2")];
        assert!(network.iter().all(Option::is_some));
        assert!(take("2001:db8::3").is_none(), "a third of one network");
        drop(network);
        let here: Vec<Option<Place>> = (0..3).map(|_| take("127.0.0.1")).collect();
        assert!(here.iter().all(Option::is_some));
        assert!(take("198.51.100.7").is_none(), "a sixth of all");
        drop(held);
        assert!(take("192.0.2.1").is_some());
        drop(here);
        assert_eq!(places.taken.lock().unwrap().all, 0);
        assert!(places.taken.lock().unwrap().by_source.is_empty(), "somebody who is gone is remembered");
    }
}
