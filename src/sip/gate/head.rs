//! Start line and headers as they lie in the bytes: split, unfolded, named. Nothing is understood yet.

use std::borrow::Cow;

use super::{GateFault, HEADERS_MAX};

/// Everything in front of the body.
pub(super) struct Head<'a> {
    pub start: Start<'a>,
    /// Known headers in order, compact names resolved.
    headers: Vec<(Name, Cow<'a, [u8]>)>,
    /// The first header line that is none, or the number of lines.
    pub fault: Option<GateFault>,
    /// How long it is, blank line included.
    pub bytes: usize,
}

/// The first line.
pub(super) enum Start<'a> {
    Request {
        method: &'a [u8],
        uri: &'a [u8],
    },
    Response,
    /// A request's, as far as one can tell.
    Malformed(GateFault),
}

/// The headers we look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Via,
    From,
    To,
    CallId,
    CSeq,
    Contact,
    MaxForwards,
    ContentLength,
    ContentType,
}

impl Name {
    /// Long and compact (RFC 3261 section 7.3.3).
    const ALL: [(Self, &'static str, &'static str); 9] = [
        (Self::Via, "via", "v"),
        (Self::From, "from", "f"),
        (Self::To, "to", "t"),
        (Self::CallId, "call-id", "i"),
        (Self::CSeq, "cseq", "cseq"),
        (Self::Contact, "contact", "m"),
        (Self::MaxForwards, "max-forwards", "max-forwards"),
        (Self::ContentLength, "content-length", "l"),
        (Self::ContentType, "content-type", "c"),
    ];

    fn known(name: &[u8]) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        Self::ALL.into_iter().find(|(_, long, compact)| is(long) || is(compact)).map(|(name, ..)| name)
    }
}

impl<'a> Head<'a> {
    /// `message` begins with its first line.
    ///
    /// # Errors
    /// What leaves nothing to answer: no end, or a response that is none.
    pub fn split(message: &'a [u8]) -> Result<Self, GateFault> {
        let end = message.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or(GateFault::Truncated)?;
        let mut lines = Lines(&message[..end + 2]);
        let start = Start::read(lines.next().ok_or(GateFault::Truncated)?)?;
        let (mut headers, mut fault, mut count) = (Vec::new(), None, 0);
        for line in lines {
            count += 1;
            if count > HEADERS_MAX {
                fault = Some(GateFault::TooManyHeaders);
                break;
            }
            match read_header(line) {
                Some((Some(name), value)) => headers.push((name, value)),
                Some((None, _)) => {}
                None => fault = fault.or(Some(GateFault::HeaderLine)),
            }
        }
        Ok(Self { start, headers, fault, bytes: end + 4 })
    }

    /// All values of one name, one for each line, in order.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.headers.iter().filter(move |(of, _)| *of == name).map(|(_, value)| value.as_ref())
    }
}

impl<'a> Start<'a> {
    fn read(line: &'a [u8]) -> Result<Self, GateFault> {
        if line.get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case(b"SIP/")) {
            let rest = line.strip_prefix(b"SIP/2.0 ").ok_or(GateFault::Version)?;
            let code = rest.first_chunk::<3>().filter(|code| code.iter().all(u8::is_ascii_digit));
            let good = code.is_some_and(|code| (b'1'..=b'6').contains(&code[0])) && rest.get(3) == Some(&b' ');
            return if good { Ok(Self::Response) } else { Err(GateFault::StartLine) };
        }
        let mut parts = line.split(|byte| *byte == b' ');
        let malformed = Ok(Self::Malformed(GateFault::StartLine));
        let (Some(method), Some(uri), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return malformed;
        };
        if method.is_empty() || !method.iter().all(is_token) || uri.is_empty() || has_line_end(line) {
            return malformed;
        }
        match version {
            version if version.eq_ignore_ascii_case(b"SIP/2.0") => Ok(Self::Request { method, uri }),
            version if version.get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case(b"SIP/")) => {
                Ok(Self::Malformed(GateFault::Version))
            }
            _ => malformed,
        }
    }
}

/// What a whole head, its blank line included, says of the body behind it (bytes); `None` if that is not said once, and
/// in digits.
pub(in crate::sip) fn content_length(head: &[u8]) -> Option<usize> {
    let head = Head::split(head).ok()?;
    let mut said = head.values(Name::ContentLength);
    let length = super::form::number(said.next()?).and_then(|length| usize::try_from(length).ok());
    length.filter(|_| said.next().is_none())
}

/// Lines that end with CRLF, each with its folded continuations (RFC 3261 section 7.3.1).
pub(in crate::sip) struct Lines<'a>(pub &'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut from = 0;
        loop {
            let end = from + self.0[from..].windows(2).position(|bytes| bytes == b"\r\n")?;
            if matches!(self.0.get(end + 2), Some(b' ' | b'\t')) {
                from = end + 2;
                continue;
            }
            let (line, rest) = self.0.split_at(end);
            self.0 = &rest[2..];
            return Some(line);
        }
    }
}

type Header<'a> = (Option<Name>, Cow<'a, [u8]>);

fn read_header(line: &[u8]) -> Option<Header<'_>> {
    read_line(line).map(|(name, value)| (Name::known(name), value))
}

/// Name and unfolded value; `None` if it is no header.
pub(in crate::sip) fn read_line(line: &[u8]) -> Option<(&[u8], Cow<'_, [u8]>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    if name.is_empty() || !name.iter().all(is_token) {
        return None;
    }
    let value = unfold(&line[colon + 1..])?;
    Some((name, value))
}

/// One line, trimmed; `None` if there is a line end in it that is no fold.
fn unfold(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !has_line_end(value) {
        return Some(Cow::Borrowed(value.trim_ascii()));
    }
    let (mut one, mut rest) = (Vec::with_capacity(value.len()), value);
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        let (before, fold) = rest.split_at(at);
        let [b'\r', b'\n', b' ' | b'\t', ..] = fold else { return None };
        one.extend_from_slice(before.trim_ascii_end());
        one.push(b' ');
        rest = fold[2..].trim_ascii_start();
    }
    one.extend_from_slice(rest);
    Some(Cow::Owned(one.trim_ascii().to_vec()))
}

fn has_line_end(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n'))
}

/// RFC 3261 section 25.1.
pub(in crate::sip) fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(byte)
}
