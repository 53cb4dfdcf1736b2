//! The answer to a request that goes no further (RFC 3261 section 8.2.6): stateless, and the same for a repetition.

use std::net::SocketAddr;

use super::GateFault;
use super::head::{Head, Name, Start};

/// The whole answer; `None` where none is due: to a response, to an ACK, or without a Via to find its way by.
pub(super) fn answer(head: &Head<'_>, fault: GateFault, source: SocketAddr) -> Option<Vec<u8>> {
    let is_ack = |method: &[u8]| method.eq_ignore_ascii_case(b"ACK");
    match head.start {
        Start::Response => return None,
        Start::Request { method, .. } if is_ack(method) => return None,
        Start::Request { .. } | Start::Malformed(_) => {}
    }
    let (status, reason) = fault.status();
    let mut text = format!("SIP/2.0 {status} {reason}\r\n").into_bytes();
    let mut vias = head.values(Name::Via);
    line(&mut text, "Via", &with_source(vias.next()?, source));
    vias.for_each(|via| line(&mut text, "Via", via));
    if let Some(from) = head.values(Name::From).next() {
        line(&mut text, "From", from);
    }
    if let Some(to) = head.values(Name::To).next() {
        line(&mut text, "To", &with_tag(to, head));
    }
    for (name, title) in [(Name::CallId, "Call-ID"), (Name::CSeq, "CSeq")] {
        if let Some(value) = head.values(name).next() {
            if name == Name::CSeq && value.trim_ascii_end().to_ascii_uppercase().ends_with(b"ACK") {
                return None;
            }
            line(&mut text, title, value);
        }
    }
    text.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    Some(text)
}

fn line(text: &mut Vec<u8>, name: &str, value: &[u8]) {
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b": ");
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

/// RFC 3261 section 18.2.1 and RFC 3581 section 4: where it really came from, for the first of the Vias in this line.
pub(in crate::sip) fn with_source(via: &[u8], source: SocketAddr) -> Vec<u8> {
    let end = via.iter().position(|byte| *byte == b',').unwrap_or(via.len());
    let (first, others) = via.split_at(end);
    let mut text = Vec::with_capacity(via.len() + 64);
    let mut parts = first.split(|byte| *byte == b';');
    text.extend_from_slice(parts.next().unwrap_or_default());
    for part in parts {
        text.push(b';');
        text.extend_from_slice(part);
        if part.trim_ascii().eq_ignore_ascii_case(b"rport") {
            text.extend_from_slice(format!("={}", source.port()).as_bytes());
        }
    }
    text.extend_from_slice(format!(";received={}", source.ip()).as_bytes());
    text.extend_from_slice(others);
    text
}

/// An answer has a tag; this one depends on nothing but the request, so that a repetition gets the same.
fn with_tag(to: &[u8], head: &Head<'_>) -> Vec<u8> {
    let parameters = to.iter().rposition(|byte| *byte == b'>').map_or(to, |at| &to[at..]);
    let has_tag = parameters
        .split(|byte| *byte == b';')
        .skip(1)
        .any(|parameter| parameter.trim_ascii_start().get(..3).is_some_and(|name| name.eq_ignore_ascii_case(b"tag")));
    let mut text = to.to_vec();
    if !has_tag {
        let named = [Name::Via, Name::CallId, Name::CSeq].into_iter().filter_map(|name| head.values(name).next());
        let hash = named.flatten().fold(FNV_BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME));
        text.extend_from_slice(format!(";tag={hash:016x}").as_bytes());
    }
    text
}

/// FNV-1a: spread, not secret.
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
