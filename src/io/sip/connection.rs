//! One connection of SIP: its handshake, its bytes in and out, and how long it may take for them. Not a judge of messages.
//! A task of its own; it ends when it is told to, when the far side does, or when time is up.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::streams::prepare;
use crate::sip::flow::Flow;
use crate::sip::stream::{Inbox, Piece, StreamEnd, Unframed};

/// What a connection said.
#[derive(Debug)]
pub(super) struct Heard {
    pub flow: Flow,
    pub number: u64,
    pub said: Said,
}

#[derive(Debug)]
pub(super) enum Said {
    Message(Vec<u8>),
    /// It asked whether we are there, and was told.
    Ping,
    /// Its last word.
    Ended(StreamEnd),
}

/// A connection's end of the queues.
pub(super) struct Line {
    pub flow: Flow,
    pub number: u64,
    pub out: mpsc::Receiver<Vec<u8>>,
    pub inbox: mpsc::Sender<Heard>,
}

impl Line {
    /// Carries messages until the end.
    pub async fn serve(mut self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let begun = Instant::now();
        let end = match tls {
            None => self.carry(stream, Some(begun)).await,
            Some(tls) => match timeout(FIRST_WITHIN, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.carry(stream, Some(begun)).await,
                Ok(Err(_)) => StreamEnd::Handshake,
                Err(_) => StreamEnd::FirstTooLate,
            },
        };
        self.say(Said::Ended(end)).await;
    }

    /// Makes the connection first: from the address where we take some, so that the far side knows us by it.
    pub async fn reach(mut self) {
        let Flow { remote, local, .. } = self.flow;
        let connected = async {
            let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.bind((local.ip(), 0).into())?;
            let stream = socket.connect(remote).await?;
            prepare(&stream).map(|()| stream)
        };
        let end = match timeout(REACHED_WITHIN, connected).await {
            Ok(Ok(stream)) => self.carry(stream, None).await,
            Ok(Err(_)) | Err(_) => StreamEnd::Unreached,
        };
        self.say(Said::Ended(end)).await;
    }

    async fn carry<S: AsyncRead + AsyncWrite>(&mut self, stream: S, begun: Option<Instant>) -> StreamEnd {
        let (mut from, mut to) = tokio::io::split(stream);
        let (mut inbox, mut room) = (Inbox::default(), vec![0; READ_BYTES]);
        let mut due = begun.map(|begun| (begun + FIRST_WITHIN, StreamEnd::FirstTooLate));
        loop {
            let read = async {
                match due {
                    Some((at, late)) => timeout_at(at, from.read(&mut room)).await.map_err(|_| late),
                    None => Ok(from.read(&mut room).await),
                }
            };
            tokio::select! {
                read = read => {
                    let length = match read {
                        Err(late) => return late,
                        Ok(Ok(0)) => return StreamEnd::Closed,
                        Ok(Ok(length)) => length,
                        Ok(Err(fault)) => return ended_by(&fault),
                    };
                    inbox.feed(&room[..length]);
                    match self.take_pieces(&mut inbox, &mut to).await {
                        Err(end) => return end,
                        Ok(Taken::Message) => due = None,
                        Ok(Taken::Nothing) => {}
                    }
                    if inbox.is_unfinished() {
                        due = due.or_else(|| Some((Instant::now() + WHOLE_WITHIN, StreamEnd::Unfinished)));
                    }
                }
                message = self.out.recv() => match message {
                    Some(message) => {
                        if let Err(end) = write(&mut to, &message).await {
                            return end;
                        }
                    }
                    None => {
                        // Whoever does not take our goodbye has gone.
                        let _ = timeout(WRITTEN_WITHIN, to.shutdown()).await;
                        return StreamEnd::Gone;
                    }
                },
            }
        }
    }

    async fn take_pieces(&mut self, inbox: &mut Inbox, to: &mut (impl AsyncWrite + Unpin)) -> Result<Taken, StreamEnd> {
        let mut taken = Taken::Nothing;
        loop {
            match inbox.next_piece() {
                Ok(Some(Piece::Message(bytes))) => {
                    taken = Taken::Message;
                    self.say(Said::Message(bytes)).await;
                }
                Ok(Some(Piece::Ping)) => {
                    write(to, PONG).await?;
                    self.say(Said::Ping).await;
                }
                Ok(None) => return Ok(taken),
                Err(Unframed::TooLong) => return Err(StreamEnd::TooLong),
                Err(Unframed::Length) => return Err(StreamEnd::Length),
            }
        }
    }

    async fn say(&self, said: Said) {
        // Nobody listens only when everything ends.
        let _ = self.inbox.send(Heard { flow: self.flow, number: self.number, said }).await;
    }
}

enum Taken {
    Message,
    Nothing,
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), StreamEnd> {
    let written = async {
        to.write_all(bytes).await?;
        to.flush().await
    };
    match timeout(WRITTEN_WITHIN, written).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(fault)) => Err(ended_by(&fault)),
        Err(_) => Err(StreamEnd::Slow),
    }
}

fn ended_by(fault: &io::Error) -> StreamEnd {
    let closed = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    if closed.contains(&fault.kind()) { StreamEnd::Closed } else { StreamEnd::Fault }
}

/// RFC 5626 section 3.5.1.
const PONG: &[u8] = b"\r\n";
/// Whoever connects says something whole in this time, its handshake included.
const FIRST_WITHIN: Duration = Duration::from_secs(10);
/// Whoever is there takes our connection in this time.
const REACHED_WITHIN: Duration = Duration::from_secs(8);
/// Whoever begins a message ends it in this time.
const WHOLE_WITHIN: Duration = Duration::from_secs(10);
/// Whoever takes nothing of what is sent for so long is let go.
const WRITTEN_WITHIN: Duration = Duration::from_secs(10);
/// Taken from the kernel at once (bytes).
const READ_BYTES: usize = 4096;
