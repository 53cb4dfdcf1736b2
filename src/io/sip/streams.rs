//! Connections of SIP: who gets a place, and which of them are worth one; and those to gateways, made when something is
//! to be sent there. What comes over them goes to the exchange through
//! one queue that makes the sender wait; what goes out has a queue for each connection, and whoever does not read loses
//! theirs. Not a reader of bytes: that is the connection's task. Owned by the SIP task.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::connection::{Heard, Line, Said};
use crate::sip::flow::{Flow, Transport};
use crate::sip::stream::StreamEnd;

/// Where connections are taken.
pub(super) struct Listener {
    pub socket: TcpListener,
    /// How they are encrypted, if they are.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// Everything that is connected.
pub(super) struct Streams {
    listeners: Vec<Listener>,
    /// To whom connections are made; to nobody else.
    peers: BTreeSet<SocketAddr>,
    connections: BTreeMap<Flow, Connection>,
    inbox: mpsc::Sender<Heard>,
    heard: mpsc::Receiver<Heard>,
    tasks: JoinSet<()>,
    /// Numbers connections: one that is gone may be told of late.
    count: u64,
}

struct Connection {
    number: u64,
    out: mpsc::Sender<Vec<u8>>,
    task: AbortHandle,
    /// A phone is reached over it.
    is_needed: bool,
    heard: Instant,
}

/// What happened.
pub(super) enum Event {
    /// Somebody wants a connection.
    Asked(usize, io::Result<(TcpStream, SocketAddr)>),
    /// Somebody with one said something.
    Heard(Heard),
}

impl Streams {
    pub fn new(listeners: Vec<Listener>, peers: BTreeSet<SocketAddr>) -> Self {
        let (inbox, heard) = mpsc::channel(MESSAGES_WAITING);
        Self { listeners, peers, connections: BTreeMap::new(), inbox, heard, tasks: JoinSet::new(), count: 0 }
    }

    /// Waits for whatever comes next; nothing is lost if the wait is given up.
    pub async fn event(&mut self) -> Event {
        let listeners = &self.listeners;
        let asked = poll_fn(|cx| {
            let ready = listeners.iter().enumerate().find_map(|(at, listener)| match listener.socket.poll_accept(cx) {
                Poll::Ready(asked) => Some((at, asked)),
                Poll::Pending => None,
            });
            ready.map_or(Poll::Pending, Poll::Ready)
        });
        tokio::select! {
            Some(heard) = self.heard.recv() => Event::Heard(heard),
            (at, asked) = asked => Event::Asked(at, asked),
        }
    }

    /// Gives a connection its place.
    ///
    /// # Errors
    /// Why it gets none, and is closed.
    pub fn admit(&mut self, at: usize, stream: TcpStream, remote: SocketAddr) -> Result<(), StreamEnd> {
        let strangers = || self.connections.iter().filter(|(_, one)| !one.is_needed);
        let of_one = strangers().filter(|(flow, _)| source_of(flow.remote.ip()) == source_of(remote.ip())).count();
        if of_one >= STRANGERS_OF_ONE_MAX && !remote.ip().to_canonical().is_loopback() {
            return Err(StreamEnd::NoPlaceForSource);
        }
        if strangers().count() >= STRANGERS_MAX || self.connections.len() >= CONNECTIONS_MAX {
            return Err(StreamEnd::NoPlace);
        }
        let local = stream.local_addr().and_then(|local| prepare(&stream).map(|()| local));
        let local = local.map_err(|_| StreamEnd::Fault)?;
        let tls = self.listeners.get(at).and_then(|listener| listener.tls.clone());
        let transport = if tls.is_some() { Transport::Tls } else { Transport::Tcp };
        let flow = Flow { transport, remote, local };
        self.begin(flow, false, |line| line.serve(stream, tls.map(TlsAcceptor::from)));
        Ok(())
    }

    fn begin<F>(&mut self, flow: Flow, is_needed: bool, serve: impl FnOnce(Line) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.count += 1;
        let (out, messages) = mpsc::channel(MESSAGES_UNREAD_MAX);
        let line = Line { flow, number: self.count, out: messages, inbox: self.inbox.clone() };
        let task = self.tasks.spawn(serve(line));
        let connection = Connection { number: self.count, out, task, is_needed, heard: Instant::now() };
        self.connections.insert(flow, connection);
    }

    /// What a connection said, if it is still the one of that flow.
    pub fn take(&mut self, heard: Heard) -> Option<(Flow, Said)> {
        let connection = self.connections.get_mut(&heard.flow).filter(|one| one.number == heard.number)?;
        connection.heard = Instant::now();
        if matches!(heard.said, Said::Ended(_)) {
            self.connections.remove(&heard.flow);
        }
        Some((heard.flow, heard.said))
    }

    /// Sends over a flow; why the flow is lost, if it is. One to a gateway is made where there is none: its local end is
    /// the address that we take connections at, wherever it really begins.
    pub fn send(&mut self, flow: &Flow, bytes: Vec<u8>) -> Result<(), StreamEnd> {
        let is_ours = flow.transport == Transport::Tcp && self.peers.contains(&flow.remote);
        if is_ours && !self.connections.contains_key(flow) {
            self.begin(*flow, true, Line::reach);
        }
        let Some(connection) = self.connections.get(flow) else { return Err(StreamEnd::Gone) };
        match connection.out.try_send(bytes) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                connection.task.abort();
                self.connections.remove(flow);
                Err(StreamEnd::Slow)
            }
            // Its end is on its way.
            Err(TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// Closes what nobody needs and was silent for long. About once a second.
    pub fn sweep(&mut self, needed: &BTreeSet<Flow>) -> Vec<Flow> {
        while self.tasks.try_join_next().is_some() {}
        for (flow, connection) in &mut self.connections {
            connection.is_needed = needed.contains(flow);
        }
        let idle = |one: &Connection| !one.is_needed && one.heard.elapsed() >= STRANGER_IDLE;
        let idle: Vec<Flow> = self.connections.iter().filter(|(_, one)| idle(one)).map(|(flow, _)| *flow).collect();
        // Without a way out its task ends.
        idle.iter().for_each(|flow| drop(self.connections.remove(flow)));
        idle
    }

    /// What waits is sent as far as it is taken, and everything is closed.
    pub async fn close(mut self) {
        self.connections.clear();
        drop(self.heard);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        // Whoever does not read is not waited for.
        let _ = tokio::time::timeout(CLOSE_WITHIN, ended).await;
    }
}

/// A dead peer is noticed by the kernel, and one that does not read keeps little of ours.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(ALIVE_EVERY).with_interval(ALIVE_EVERY / 4))?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)
}

/// Who counts as one: an IPv4 address, or the IPv6 network that one customer has.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => std::net::Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        IpAddr::V4(v4) => v4.into(),
    }
}

/// Connections at once: every phone of a county has one.
const CONNECTIONS_MAX: usize = 4096;
/// Of them, those over which no phone is reached: whoever holds connections open takes no phone's place.
const STRANGERS_MAX: usize = 512;
/// Of them, those of one source: the phones behind one NAT after a power cut come in turn. This machine may have all.
const STRANGERS_OF_ONE_MAX: usize = 32;
/// A connection over which no phone is reached ends after so long a silence.
const STRANGER_IDLE: Duration = Duration::from_secs(60);
/// Messages read and not yet looked at; whoever sends more waits.
const MESSAGES_WAITING: usize = 256;
/// Messages that a connection has not taken yet: it does not read, and is closed.
const MESSAGES_UNREAD_MAX: usize = 64;
/// What the kernel keeps for one that does not read (bytes).
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// The kernel asks a silent peer so often whether it is there.
const ALIVE_EVERY: Duration = Duration::from_secs(60);
/// A daemon that stops waits so long for goodbyes to leave.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams with one listener, and how to connect to it.
    async fn listening() -> (Streams, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        (Streams::new(vec![Listener { socket, tls: None }], BTreeSet::new()), at)
    }

    async fn asked(streams: &mut Streams) -> TcpStream {
        loop {
            if let Event::Asked(_, stream) = streams.event().await {
                return stream.unwrap().0;
            }
        }
    }

    #[tokio::test]
    async fn a_source_has_so_many_places_and_those_of_phones_are_not_counted() {
        let (mut streams, at) = listening().await;
        let (mut ours, mut admitted) = (Vec::new(), 0);
        let remote = |n: usize| SocketAddr::from(([192, 0, 2, 1], 1000 + n as u16));
        for n in 0..STRANGERS_OF_ONE_MAX + 4 {
            ours.push(TcpStream::connect(at).await.unwrap());
            let stream = asked(&mut streams).await;
            match streams.admit(0, stream, remote(n)) {
                Ok(()) => admitted += 1,
                Err(why) => assert_eq!(why, StreamEnd::NoPlaceForSource),
            }
        }
        assert_eq!(admitted, STRANGERS_OF_ONE_MAX);
        ours.push(TcpStream::connect(at).await.unwrap());
        let stream = asked(&mut streams).await;
        assert_eq!(streams.admit(0, stream, ([192, 0, 2, 2], 1000).into()), Ok(()), "another source");
        let needed = streams.connections.keys().copied().collect();
        assert!(streams.sweep(&needed).is_empty());
        ours.push(TcpStream::connect(at).await.unwrap());
        let stream = asked(&mut streams).await;
        assert_eq!(streams.admit(0, stream, remote(999)), Ok(()), "its phones take no stranger's place");
    }

    #[tokio::test]
    async fn whoever_does_not_read_loses_the_connection_and_nobody_waits() {
        let (mut streams, at) = listening().await;
        let deaf = TcpStream::connect(at).await.unwrap();
        let stream = asked(&mut streams).await;
        streams.admit(0, stream, deaf.local_addr().unwrap()).unwrap();
        let flow = *streams.connections.keys().next().unwrap();
        let mut sent = 0;
        let end = loop {
            match streams.send(&flow, vec![b'x'; 32_768]) {
                Ok(()) => sent += 1,
                Err(why) => break why,
            }
            assert!(sent < 10_000, "a queue without an end");
            tokio::task::yield_now().await;
        };
        assert_eq!((end, streams.connections.len()), (StreamEnd::Slow, 0));
        assert_eq!(streams.send(&flow, Vec::new()), Err(StreamEnd::Gone));
    }

    #[tokio::test]
    async fn what_an_older_connection_says_last_is_not_of_the_one_that_took_its_flow() {
        let (mut streams, at) = listening().await;
        let one = TcpStream::connect(at).await.unwrap();
        let stream = asked(&mut streams).await;
        streams.admit(0, stream, one.local_addr().unwrap()).unwrap();
        let flow = *streams.connections.keys().next().unwrap();
        let number = streams.connections[&flow].number;
        let ended = |number| Heard { flow, number, said: Said::Ended(StreamEnd::Closed) };
        assert!(streams.take(ended(number - 1)).is_none());
        assert_eq!(streams.connections.len(), 1);
        assert!(streams.take(ended(number)).is_some() && streams.connections.is_empty());
    }

    #[tokio::test]
    async fn a_gateway_is_connected_to_when_something_is_to_be_sent_there_and_nobody_else_ever() {
        let (mut streams, at) = listening().await;
        let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = |remote| Flow { transport: Transport::Tcp, remote, local: at };
        let there = to(far.local_addr().unwrap());
        assert_eq!(streams.send(&there, b"x".to_vec()), Err(StreamEnd::Gone), "nobody's gateway");
        streams.peers.insert(there.remote);
        assert_eq!(streams.send(&there, b"one".to_vec()), Ok(()));
        assert_eq!(streams.send(&there, b"two".to_vec()), Ok(()), "before it is there");
        let (mut taken, from) = far.accept().await.unwrap();
        assert_eq!(from.ip(), at.ip());
        let mut said = [0; 6];
        tokio::io::AsyncReadExt::read_exact(&mut taken, &mut said).await.unwrap();
        assert_eq!((&said, streams.connections.len()), (b"onetwo", 1));
        drop((taken, far));
        let next_end =
            |event| if let Event::Heard(Heard { said: Said::Ended(end), .. }) = event { end } else { panic!() };
        assert_eq!(next_end(streams.event().await), StreamEnd::Closed);
        streams.connections.clear();
        assert_eq!(streams.send(&there, b"x".to_vec()), Ok(()));
        assert_eq!(next_end(streams.event().await), StreamEnd::Unreached);
    }
}
