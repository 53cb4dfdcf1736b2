//! Messages (RFC 3261 section 7) as values: a first line, headers under their long names, a body. Read from what has
//! passed the gate, with the gate's own eyes, so that the two cannot disagree about a line; written for the wire.
//!
//! Not a grammar of every header: whoever needs one reads its value. Values have no line ends in them.

use std::net::SocketAddr;

use super::gate::head::{Lines, is_token, read_line};
use super::gate::{HEADERS_MAX, split, with_source};

/// A request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its first line.
    pub start: Start,
    /// Lower-case long name and value, in order.
    headers: Vec<(String, String)>,
    /// What follows the headers.
    pub body: Vec<u8>,
}

/// A first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Method, as written, and request URI.
    Request { method: String, uri: String },
    /// Status.
    Response { status: u16 },
}

impl Message {
    /// Reads one whole message; `None` for what the gate does not pass.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let bytes = &bytes[blank..];
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let mut lines = Lines(&bytes[..end + 2]);
        let start = Start::read(lines.next()?)?;
        let mut headers = Vec::new();
        for line in lines.take(HEADERS_MAX) {
            let (name, value) = read_line(line)?;
            headers.push((long_name(name), String::from_utf8_lossy(&value).into_owned()));
        }
        let mut message = Self { start, headers, body: bytes[end + 4..].to_vec() };
        if let Some(length) = message.value("content-length").and_then(|length| length.parse().ok()) {
            message.body.truncate(length);
        }
        Some(message)
    }

    /// The first value of a header, by its lower-case long name.
    pub fn value<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.values(name).next()
    }

    /// The values of all lines of a header.
    pub fn values<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.headers.iter().filter(move |(of, _)| of == name).map(|(_, value)| value.as_str())
    }

    /// The items of a header that is a list, over all its lines.
    pub fn list<'a>(&'a self, name: &str) -> Vec<&'a str> {
        let items = self.values(name).flat_map(|line| split(line.as_bytes(), b',').unwrap_or_default());
        items.filter_map(|item| std::str::from_utf8(item).ok()).filter(|item| !item.is_empty()).collect()
    }

    /// Whether a list of options such as `Supported` names this one.
    pub fn lists(&self, name: &str, option: &str) -> bool {
        self.list(name).iter().any(|item| item.eq_ignore_ascii_case(option))
    }

    /// Its method, if it is a request.
    pub fn method(&self) -> Option<&str> {
        match &self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The number of its CSeq.
    pub fn cseq(&self) -> Option<u32> {
        self.value("cseq")?.split_ascii_whitespace().next()?.parse().ok()
    }

    /// The method of its CSeq.
    pub fn cseq_method(&self) -> Option<&str> {
        self.value("cseq")?.split_ascii_whitespace().nth(1)
    }
}

impl Start {
    fn read(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let mut words = line.split(' ');
        let (first, second) = (words.next()?, words.next()?);
        if first.eq_ignore_ascii_case("SIP/2.0") {
            return Some(Self::Response { status: second.parse().ok().filter(|status| (100..700).contains(status))? });
        }
        let is_method = !first.is_empty() && first.bytes().all(|byte| is_token(&byte));
        is_method.then(|| Self::Request { method: first.to_owned(), uri: second.to_owned() })
    }
}

/// RFC 3261 section 7.3.3 and the registry's later ones.
fn long_name(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let long = match name.as_str() {
        "v" => "via",
        "f" => "from",
        "t" => "to",
        "i" => "call-id",
        "m" => "contact",
        "l" => "content-length",
        "c" => "content-type",
        "e" => "content-encoding",
        "k" => "supported",
        "r" => "refer-to",
        "x" => "session-expires",
        "o" => "event",
        _ => return name,
    };
    long.to_owned()
}

/// The value of a parameter behind a value: `tag` of `<sip:a@b>;tag=x`. Names do not care for case; quotes are taken off.
pub fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let parts = split(value.as_bytes(), b';')?;
    parts.into_iter().skip(1).filter_map(|part| std::str::from_utf8(part).ok()).find_map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// The URI of a name and address, in brackets or not.
pub fn uri_of(value: &str) -> &str {
    // A bracket inside a quoted name is the name's.
    let from = value.rfind('"').map_or(0, |at| if value[at..].contains('<') { at } else { 0 });
    let rest = &value[from..];
    match rest.find('<') {
        Some(open) => rest[open + 1..].split('>').next().unwrap_or_default(),
        None => value.split(';').next().unwrap_or_default().trim(),
    }
}

/// The user of a SIP URI, unescaped; empty if it has none.
pub fn user_of(uri: &str) -> String {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let user = rest.rsplit_once('@').map_or("", |(user, _)| user);
    let user = user.split([':', ';']).next().unwrap_or_default();
    let mut bytes = Vec::with_capacity(user.len());
    let mut rest = user.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let escaped = others.first_chunk::<2>().filter(|_| *first == b'%');
        match escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whom a request URI calls: the user of a SIP URI, the bare number of a `tel:` URI (RFC 3966 section 3). Anything else,
/// `urn:service:sos` (RFC 5031) for one, is told whole: nobody has that name, and it is not as if nobody had been named.
pub fn dialled_of(uri: &str) -> String {
    match uri.split_once(':') {
        Some((scheme, _)) if ["sip", "sips"].iter().any(|sip| scheme.eq_ignore_ascii_case(sip)) => user_of(uri),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("tel") => {
            let number = rest.split(';').next().unwrap_or_default();
            let bare: String = number.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')')).collect();
            if bare.is_empty() { uri.to_owned() } else { bare }
        }
        Some(_) | None => uri.to_owned(),
    }
}

/// A message of ours, line by line.
#[derive(Clone, Debug)]
pub struct Writer(String);

impl Writer {
    /// A request.
    pub fn request(method: &str, uri: &str) -> Self {
        Self(format!("{method} {uri} SIP/2.0\r\n"))
    }

    /// The answer to a request that came from there (RFC 3261 section 8.2.6.2). `tag` is ours; none for 100.
    pub fn response(request: &Message, status: u16, tag: Option<&str>, source: SocketAddr) -> Self {
        let mut text = Self(format!("SIP/2.0 {status} {}\r\n", reason(status)));
        for (at, via) in request.values("via").enumerate() {
            if at == 0 {
                let via = with_source(via.as_bytes(), source);
                text = text.line("Via", &String::from_utf8_lossy(&via));
            } else {
                text = text.line("Via", via);
            }
        }
        text = text.line("From", request.value("from").unwrap_or_default());
        let to = request.value("to").unwrap_or_default();
        text = match tag.filter(|_| parameter(to, "tag").is_none()) {
            Some(tag) => text.line("To", &format!("{to};tag={tag}")),
            None => text.line("To", to),
        };
        text = text.line("Call-ID", request.value("call-id").unwrap_or_default());
        text.line("CSeq", request.value("cseq").unwrap_or_default())
    }

    /// One more header. Line ends in the value are taken out.
    pub fn line(mut self, name: &str, value: &str) -> Self {
        self.0.push_str(name);
        self.0.push_str(": ");
        self.0.extend(value.chars().filter(|c| !matches!(c, '\r' | '\n')));
        self.0.push_str("\r\n");
        self
    }

    /// The whole message.
    pub fn bytes(self) -> Vec<u8> {
        (self.0 + "Content-Length: 0\r\n\r\n").into_bytes()
    }

    /// The whole message with a session description.
    pub fn with_description(self, description: &str) -> Vec<u8> {
        let head = self.line("Content-Type", "application/sdp").0;
        format!("{head}Content-Length: {}\r\n\r\n{description}", description.len()).into_bytes()
    }
}

/// The reason phrase of a status of ours.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        200 => "OK",
        302 => "Moved Temporarily",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        420 => "Bad Extension",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        481 => "Call/Transaction Does Not Exist",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        603 => "Decline",
        _ => "Refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:6001@192.0.2.1 SIP/2.0\r\nv: SIP/2.0/UDP 198.51.100.9:5070;branch=z9hG4bKa;rport\r\n\
        f: \"A <b>\" <sip:1001@192.0.2.1>;tag=f1\r\nTo:\r\n  <sip:6001@192.0.2.1>\r\ni: c1\r\nCSeq: 7  INVITE\r\n\
        k: timer, path\r\nSupported: Replaces\r\nl: 3\r\n\r\nabcdef";

    #[test]
    fn folds_and_compact_names_are_read_and_the_body_ends_where_it_says() {
        let message = Message::read(INVITE.as_bytes()).unwrap();
        assert_eq!(
            (message.method(), message.cseq(), message.cseq_method()),
            (Some("INVITE"), Some(7), Some("INVITE"))
        );
        assert_eq!(message.value("to"), Some("<sip:6001@192.0.2.1>"));
        assert_eq!(message.list("supported"), ["timer", "path", "Replaces"]);
        assert!(message.lists("supported", "TIMER") && !message.lists("supported", "100rel"));
        assert_eq!(message.body, b"abc");
        let from = message.value("from").unwrap();
        assert_eq!((uri_of(from), parameter(from, "TAG")), ("sip:1001@192.0.2.1", Some("f1")));
        assert_eq!(user_of("sip:10%301;x=y:pw@h"), "1001");
        assert_eq!(user_of("sip:host"), "");
        assert_eq!(["tel:9-1-1;phone-context=x", "sip:911@h;user=phone"].map(dialled_of), ["911", "911"]);
        assert_eq!(["sip:host", "tel:", "urn:service:sos"].map(dialled_of), ["", "tel:", "urn:service:sos"]);
    }

    #[test]
    fn an_answer_finds_its_way_and_nothing_breaks_its_lines() {
        let message = Message::read(INVITE.as_bytes()).unwrap();
        let source = ([203, 0, 113, 5], 1024).into();
        let answer = Writer::response(&message, 200, Some("t1"), source).line("X", "a\r\nEvil: b");
        let read = Message::read(&answer.bytes()).unwrap();
        assert_eq!(read.start, Start::Response { status: 200 });
        let via = read.value("via").unwrap();
        assert_eq!((parameter(via, "rport"), parameter(via, "received")), (Some("1024"), Some("203.0.113.5")));
        assert_eq!(parameter(read.value("to").unwrap(), "tag"), Some("t1"));
        assert_eq!((read.value("evil"), read.value("cseq")), (None, Some("7  INVITE")));
    }
}
