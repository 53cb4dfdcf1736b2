//! Messages out of a stream of bytes (RFC 3261 section 18.3): each ends where its Content-Length says, and line ends in
//! front of it are nothing, or a keep-alive (RFC 5626 section 3.5.1).
//!
//! Not a judge of messages: the gate looks at each. What cannot be told apart from what follows ends the connection, for
//! whoever disagrees with us about where a message ends could put words into another's mouth. Owned by the connection's
//! task; it holds at most one message and what was read with it.

use super::gate::MESSAGE_BYTES_MAX;
use super::gate::head::content_length;

/// What was received of one connection and not yet taken.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// No end of the headers lies before here.
    searched: usize,
    /// Line ends in a row since the last message.
    line_ends: usize,
}

/// What a connection said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A whole message.
    Message(Vec<u8>),
    /// Two line ends where a message could begin: it wants one back.
    Ping,
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unframed {
    /// A message longer than [`MESSAGE_BYTES_MAX`], or headers without an end for as long.
    TooLong,
    /// No Content-Length, two that differ in place or value, or one that is no number.
    Length,
}

/// Why a connection ended, or was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamEnd {
    /// The far side closed it.
    Closed,
    /// We did: the daemon stops, or nobody needs it.
    Gone,
    /// Nobody was reached over it, and it was silent for long.
    Idle,
    /// The system's fault, or the network's.
    Fault,
    /// No TLS came about.
    Handshake,
    /// Nothing whole was said in time after it was made.
    FirstTooLate,
    /// A message was begun and not ended in time.
    Unfinished,
    /// A message without an end in reach.
    TooLong,
    /// A message whose end nobody knows.
    Length,
    /// It did not take what was sent.
    Slow,
    /// Nobody took ours, where a gateway should have.
    Unreached,
    /// Every place was taken.
    NoPlace,
    /// Its source had as many as it may.
    NoPlaceForSource,
}

impl StreamEnd {
    /// Every variant: one counter each.
    pub const ALL: [Self; 13] = [
        Self::Closed,
        Self::Gone,
        Self::Idle,
        Self::Fault,
        Self::Handshake,
        Self::FirstTooLate,
        Self::Unfinished,
        Self::TooLong,
        Self::Length,
        Self::Slow,
        Self::Unreached,
        Self::NoPlace,
        Self::NoPlaceForSource,
    ];
}

impl Inbox {
    /// So much was read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole piece, if it is there.
    ///
    /// # Errors
    /// The connection must end: nobody knows where the next message begins.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, Unframed> {
        if let Some(ping) = self.take_line_ends() {
            return Ok(Some(ping));
        }
        let from = self.searched.saturating_sub(END.len() - 1);
        let Some(at) = self.bytes[from..].windows(END.len()).position(|bytes| bytes == END) else {
            self.searched = self.bytes.len();
            return if self.bytes.len() > MESSAGE_BYTES_MAX { Err(Unframed::TooLong) } else { Ok(None) };
        };
        let head = from + at + END.len();
        // Found once, it is found again at once.
        self.searched = head - 1;
        let body = content_length(&self.bytes[..head]).ok_or(Unframed::Length)?;
        let whole = head.checked_add(body).filter(|whole| *whole <= MESSAGE_BYTES_MAX).ok_or(Unframed::TooLong)?;
        if self.bytes.len() < whole {
            return Ok(None);
        }
        let rest = self.bytes.split_off(whole);
        self.searched = 0;
        Ok(Some(Piece::Message(std::mem::replace(&mut self.bytes, rest))))
    }

    /// Whether a message has begun and not ended.
    pub fn is_unfinished(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Takes line ends away from the front; a ping, if there are two in a row or more.
    fn take_line_ends(&mut self) -> Option<Piece> {
        let mut length = 0;
        loop {
            length += match self.bytes[length..] {
                [b'\r', b'\n', ..] => 2,
                [b'\n', ..] => 1,
                _ => break,
            };
            self.line_ends += 1;
        }
        self.bytes.drain(..length);
        let is_ping = self.line_ends >= 2;
        if is_ping || !matches!(self.bytes[..], [] | [b'\r']) {
            self.line_ends = 0;
        }
        is_ping.then_some(Piece::Ping)
    }
}

const END: &[u8] = b"\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str, body: &str) -> String {
        format!("OPTIONS sip:{name} SIP/2.0\r\nCall-ID: {name}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    /// Everything that comes out when the text arrives in pieces of this size.
    fn read(text: &str, size: usize) -> (Vec<String>, Result<Option<Piece>, Unframed>) {
        let (mut inbox, mut taken) = (Inbox::default(), Vec::new());
        for bytes in text.as_bytes().chunks(size) {
            inbox.feed(bytes);
            loop {
                match inbox.next_piece() {
                    Ok(Some(Piece::Message(bytes))) => taken.push(String::from_utf8(bytes).unwrap()),
                    Ok(Some(Piece::Ping)) => taken.push("ping".to_owned()),
                    Ok(None) => break,
                    Err(why) => return (taken, Err(why)),
                }
            }
        }
        (taken, Ok(None))
    }

    #[test]
    fn however_a_stream_is_cut_the_same_messages_come_out_of_it() {
        let (first, second) = (message("a", "line\r\n\r\nline"), message("b", ""));
        let third = message("c", "x").replace("Content-Length", "l");
        let text = format!("\r\n{first}\r\n\r\n{second}{third}\r\n\r\n\r\n\r\n\n\n{first}\r");
        for size in 1..text.len() {
            let (mut taken, end) = read(&text, size);
            let pings = taken.extract_if(.., |one| one == "ping").count();
            assert_eq!(
                (taken, end),
                ([&first, &second, &third, &first].map(Clone::clone).to_vec(), Ok(None)),
                "{size}"
            );
            assert!((2..=4).contains(&pings), "{pings} answers to four questions, in pieces of {size}");
        }
    }

    #[test]
    fn a_message_whose_end_nobody_knows_ends_the_stream() {
        let good = message("a", "");
        for (bad, why) in [
            ("OPTIONS sip:b SIP/2.0\r\nCall-ID: b\r\n\r\n", Unframed::Length),
            ("X\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", Unframed::Length),
            ("X\r\nContent-Length: 1\r\nl: 2\r\n\r\n", Unframed::Length),
            ("X\r\nContent-Length: -1\r\n\r\n", Unframed::Length),
            ("X\r\nContent-Length: 0x1\r\n\r\n", Unframed::Length),
            ("X\r\nContent-Length:\r\n\r\n", Unframed::Length),
            ("X\r\nContent-Length: 1, 1\r\n\r\n", Unframed::Length),
            ("X\r\nContent-Length: 18446744073709551615\r\n\r\n", Unframed::TooLong),
            ("X\r\nContent-Length: 18446744073709551616\r\n\r\n", Unframed::Length),
            ("X\r\nContent-Length: 99999\r\n\r\n", Unframed::TooLong),
            ("\r\n\r\n\r\nX\r\nA: Content-Length: 1\r\n\r\n", Unframed::Length),
        ] {
            for size in [1, 7, 1000] {
                let (taken, end) = read(&format!("{good}{bad}{good}"), size);
                assert_eq!(end, Err(why), "{bad:?}");
                assert_eq!(taken.iter().filter(|one| *one != "ping").count(), 1, "{bad:?}");
            }
        }
        let (taken, end) = read(&"X-A: b\r\n".repeat(5_000), 1000);
        assert_eq!((taken.len(), end), (0, Err(Unframed::TooLong)), "headers without end");
    }

    #[test]
    fn a_folded_length_is_a_length_and_one_in_the_body_is_none() {
        let folded = "X\r\nContent-Length \t:\r\n  3\r\n\r\nabc";
        assert_eq!(read(&format!("{folded}{folded}"), 5).0, [folded, folded]);
        let inner = "X\r\nl: 21\r\n\r\nContent-Length: 900\r\n";
        assert_eq!(read(inner, 4).0, [inner]);
    }

    #[test]
    fn what_is_unfinished_is_known() {
        let mut inbox = Inbox::default();
        assert!(!inbox.is_unfinished());
        inbox.feed(b"\r\n\r\nOPT");
        assert_eq!(inbox.next_piece(), Ok(Some(Piece::Ping)));
        assert_eq!((inbox.next_piece(), inbox.is_unfinished()), (Ok(None), true));
    }
}
