//! The gate in front of the stack: what no SIP element may act on is refused here, before any state is made for it.
//!
//! Not a parser for what comes after: it looks at the form of those parts by which transactions and dialogs live (RFC
//! 3261, and what RFC 4475 and RFC 5118 say of each torture), and passes the rest unread. Stateless, so a flood costs
//! what one look costs. A refused request is answered once, to where it came from, with hardly more bytes than it had;
//! a response or an ACK that is refused is dropped, for nobody waits for an answer. Every reason is a [`GateFault`],
//! which the caller counts.

mod form;
pub(super) mod head;
mod refuse;

use std::fmt;
use std::net::SocketAddr;

use form::{address, addresses, cseq, number, request_uri, via};
use head::{Head, Name, Start};

pub(super) use form::split;
pub(super) use refuse::with_source;

/// What becomes of what arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passage {
    /// So many bytes are a message for the stack; what follows in a datagram is nobody's (RFC 3261 section 18.3).
    Pass(usize),
    /// Nothing but line ends: a keep-alive (RFC 5626 section 3.5.1).
    KeepAlive,
    /// A request that is answered with this and forgotten.
    Refuse(GateFault, Vec<u8>),
    /// Nothing that could be answered.
    Drop(GateFault),
}

/// Why a message is not passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateFault {
    /// Longer than [`MESSAGE_BYTES_MAX`].
    TooLong,
    /// More than [`HEADERS_MAX`] header lines.
    TooManyHeaders,
    /// No end of the headers.
    Truncated,
    /// A first line that is neither a request's nor a response's.
    StartLine,
    /// Another version than SIP/2.0.
    Version,
    /// A request URI that is malformed, or has headers of its own.
    RequestUri,
    /// A request URI of a scheme we do not know.
    Scheme,
    /// A header line without name and colon, or with a line end of its own.
    HeaderLine,
    /// One of Via, From, To, Call-ID, CSeq is missing.
    Missing,
    /// Twice what may be there once.
    Repeated,
    /// A malformed Via.
    Via,
    /// A malformed From, To or Contact.
    Address,
    /// A CSeq that is no number below 2^31 and a method, or the method of another request.
    CSeq,
    /// A Max-Forwards that is not 0 to 255.
    MaxForwards,
    /// A Content-Length that is no number, or promises more than has come.
    ContentLength,
}

impl GateFault {
    /// Every variant: one counter each.
    pub const ALL: [Self; 15] = [
        Self::TooLong,
        Self::TooManyHeaders,
        Self::Truncated,
        Self::StartLine,
        Self::Version,
        Self::RequestUri,
        Self::Scheme,
        Self::HeaderLine,
        Self::Missing,
        Self::Repeated,
        Self::Via,
        Self::Address,
        Self::CSeq,
        Self::MaxForwards,
        Self::ContentLength,
    ];

    /// Status and reason of the answer.
    pub fn status(self) -> (u16, &'static str) {
        match self {
            GateFault::Version => (505, "Version Not Supported"),
            GateFault::Scheme => (416, "Unsupported URI Scheme"),
            GateFault::TooLong => (513, "Message Too Large"),
            GateFault::TooManyHeaders => (400, "Too Many Headers"),
            GateFault::Truncated => (400, "Headers Without End"),
            GateFault::StartLine => (400, "Bad Request Line"),
            GateFault::RequestUri => (400, "Bad Request-URI"),
            GateFault::HeaderLine => (400, "Bad Header Line"),
            GateFault::Missing => (400, "Missing Header"),
            GateFault::Repeated => (400, "Repeated Header"),
            GateFault::Via => (400, "Bad Via"),
            GateFault::Address => (400, "Bad Address"),
            GateFault::CSeq => (400, "Bad CSeq"),
            GateFault::MaxForwards => (400, "Bad Max-Forwards"),
            GateFault::ContentLength => (400, "Bad Content-Length"),
        }
    }
}

impl fmt::Display for GateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (status, reason) = self.status();
        write!(f, "{status} {reason}")
    }
}

/// Whether a request may be sent there.
pub(super) fn is_request_uri(uri: &str) -> bool {
    request_uri(uri.as_bytes()).is_ok() && !uri.contains(' ')
}

/// The longest message that is looked at (bytes): a description of [`super::sdp::SDP_BYTES_MAX`] and as much of headers.
pub const MESSAGE_BYTES_MAX: usize = 32_768;
/// Header lines in one message; the longest torture has 46.
pub const HEADERS_MAX: usize = 128;

/// Judges a datagram, or a whole message of a stream, that came from `source`.
pub fn judge(bytes: &[u8], source: SocketAddr) -> Passage {
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let message = &bytes[blank..];
    if message.is_empty() {
        return Passage::KeepAlive;
    }
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Passage::Drop(GateFault::TooLong);
    }
    let head = match Head::split(message) {
        Ok(head) => head,
        Err(fault) => return Passage::Drop(fault),
    };
    match check(&head, message.len()) {
        Ok(length) => Passage::Pass(blank + length),
        Err(fault) => match refuse::answer(&head, fault, source) {
            // Whoever is named as the source of a datagram need not have sent it.
            Some(answer) if answer.len() <= GROWTH_MAX * bytes.len() => Passage::Refuse(fault, answer),
            Some(_) | None => Passage::Drop(fault),
        },
    }
}

/// An answer is at most so many times as long as what provoked it.
const GROWTH_MAX: usize = 2;

/// The message's length, if all that matters is well formed.
fn check(head: &Head<'_>, available: usize) -> Result<usize, GateFault> {
    if let Some(fault) = head.fault {
        return Err(fault);
    }
    let method = match &head.start {
        Start::Malformed(fault) => return Err(*fault),
        Start::Response => None,
        Start::Request { method, uri } => {
            request_uri(uri)?;
            Some(*method)
        }
    };
    for name in
        [Name::From, Name::To, Name::CallId, Name::CSeq, Name::MaxForwards, Name::ContentLength, Name::ContentType]
    {
        if head.values(name).count() > 1 {
            return Err(GateFault::Repeated);
        }
    }
    let need = |name| head.values(name).next().ok_or(GateFault::Missing);
    let (from, to, call_id, sequence) = (need(Name::From)?, need(Name::To)?, need(Name::CallId)?, need(Name::CSeq)?);
    need(Name::Via)?;
    let mut hops = 0;
    for line in head.values(Name::Via) {
        hops += via(line)?;
    }
    // A response with another's Via beside ours went astray (RFC 3261 section 8.1.3.3).
    if method.is_none() && hops > 1 {
        return Err(GateFault::Via);
    }
    address(from)?;
    address(to)?;
    if call_id.is_empty() || call_id.contains(&b' ') {
        return Err(GateFault::HeaderLine);
    }
    let of_request = cseq(sequence)?;
    if method.is_some_and(|method| method != of_request) {
        return Err(GateFault::CSeq);
    }
    head.values(Name::Contact).filter(|value| *value != b"*").try_for_each(addresses)?;
    if let Some(hops) = head.values(Name::MaxForwards).next() {
        number(hops).filter(|hops| *hops <= 255).ok_or(GateFault::MaxForwards)?;
    }
    match head.values(Name::ContentLength).next() {
        None => Ok(available),
        Some(length) => {
            let length = number(length).and_then(|length| usize::try_from(length).ok());
            let end = length.and_then(|length| head.bytes.checked_add(length));
            end.filter(|end| *end <= available).ok_or(GateFault::ContentLength)
        }
    }
}
