//! What must hold for any text at all: one function per reader, run by the seeded mutator in `tests/fuzz_sip.rs` and,
//! with coverage, by cargo-fuzz in `fuzz/`.
//!
//! A function returns whether its reader accepted the input. It panics when a promise is broken; it is never called by
//! the daemon.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use zeroize::Zeroizing;

use super::digest::{Algorithm, Authorization, Challenge, DigestSecret, Respondent};
use super::exchange::{Act, Exchange, Place, Setting};
use super::gate::{self, Passage};
use super::message::{Message, parameter};
use super::offer::{LocalMedia, MediaRules, Negotiation, SECRETS_BYTES, Secrets};
use super::sdes::CryptoLine;
use super::sdp::{Description, Direction, LINES_MAX};
use super::stream::{Inbox, Piece, Unframed};
use crate::domain::audio::{Codec, Format};
use crate::domain::configuration::MediaSecurity;
use crate::domain::id::GatewayId;
use crate::domain::port::ExtensionIds;
use crate::domain::time::MonoTime;

/// A line that was understood says the same when written; its key has its suite's length.
pub fn crypto_line(bytes: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(bytes) else { return false };
    let Ok(line) = CryptoLine::parse(value) else { return false };
    assert_eq!(line.key.expose().len(), line.key.suite().key_bytes() + line.key.suite().salt_bytes());
    assert_eq!(CryptoLine::parse(&line.to_value()), Ok(line));
    true
}

/// As an offer: what is agreed on stands in our answer, and the answer is one by RFC 3264. As an answer to ours: at most
/// refused. Says whether it was an offer that could be answered.
pub fn description(bytes: &[u8]) -> bool {
    let any = Format { clock_hz: 8000, ..Format::usual(Codec::L16) };
    let formats = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma, Codec::L16].map(Format::usual);
    let rules = MediaRules {
        formats: formats.into_iter().chain([any]).collect(),
        security: MediaSecurity::Optional,
        keys_may_cross: true,
        rtcp_mux: true,
        extensions: ExtensionIds { level: Some(1), keying: Some(2), talker: Some(3) },
        events_needed: false,
    };
    let secrets = Secrets::new(Zeroizing::new([7; SECRETS_BYTES]));
    let local = LocalMedia { rtp: ([192, 0, 2, 1], 4000).into(), rtcp: ([192, 0, 2, 1], 4001).into() };
    let mut caller = Negotiation::new(1, local);
    caller.offer(Direction::SendRecv, &rules, &secrets).expect("it is our turn");
    if let Ok(agreed) = caller.answered(bytes) {
        assert!(!agreed.receive.is_empty() && agreed.peer.is_none_or(|peer| !peer.ip().is_unspecified()));
        assert!(agreed.peer.is_some() || !agreed.direction.sends());
    }
    let mut called = Negotiation::new(2, local);
    let Ok((text, agreed)) = called.answer(bytes, Direction::SendRecv, &rules, &secrets) else { return false };
    let offer = Description::parse(bytes).expect("it was answered");
    let answer = Description::parse(text.as_str().as_bytes()).expect("we read what we write");
    assert_eq!(answer.lines.len(), offer.lines.len().min(LINES_MAX));
    let all: Vec<_> = answer.audio().collect();
    let [(at, ours)] = all[..] else { panic!("one audio line, not {}", all.len()) };
    let (_, theirs) = offer.audio().find(|(place, _)| *place == at).expect("in its place");
    assert_eq!(ours.profile, theirs.profile);
    assert!(!ours.payloads.is_empty() && ours.payloads.iter().all(|payload| theirs.payloads.contains(payload)));
    assert!(ours.events.iter().all(|event| theirs.events.contains(event)));
    assert!(!ours.direction.sends() || theirs.direction.receives());
    assert!(!ours.direction.receives() || theirs.direction.sends());
    assert_eq!(ours.crypto.first().map(|line| &line.key), agreed.protection.as_ref().map(|keys| &keys.send));
    assert!(ours.crypto.iter().all(|line| theirs.crypto.iter().any(|other| other.tag == line.tag)));
    assert_eq!(ours.payloads.len(), agreed.receive.len());
    true
}

/// A challenge or an answer that was understood says the same when written; no written one has a line break.
pub fn digest_header(bytes: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(bytes) else { return false };
    let answer = Authorization::parse(value);
    if let Ok(answer) = &answer {
        let written = answer.to_value(true, None);
        assert!(!written.contains(['\r', '\n']));
        assert_eq!(Authorization::parse(&written).as_ref(), Ok(answer));
    }
    let challenge = Challenge::parse(value);
    if let Ok(challenge) = &challenge {
        let written = challenge.to_value();
        assert!(!written.contains(['\r', '\n']));
        assert_eq!(Challenge::parse(&written).as_ref(), Ok(challenge));
    }
    answer.is_ok() || challenge.is_ok()
}

/// What passes passes again without what followed it; an answer is whole, has no line of its own making, and is hardly
/// longer than what it answers.
pub fn gate(bytes: &[u8]) -> bool {
    let source = ([198, 51, 100, 9], 5060).into();
    match gate::judge(bytes, source) {
        Passage::Pass(length) => {
            assert_eq!(gate::judge(&bytes[..length], source), Passage::Pass(length));
            true
        }
        Passage::KeepAlive => {
            assert!(bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')));
            false
        }
        Passage::Refuse(fault, answer) => {
            assert!(answer.len() <= 2 * bytes.len());
            assert!(answer.starts_with(format!("SIP/2.0 {fault}\r\nVia: ").as_bytes()));
            let head = answer.strip_suffix(b"\r\n\r\n").expect("it ends with a blank line");
            let lines = head.windows(2).filter(|bytes| bytes == b"\r\n").count();
            let ends = head.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count();
            assert_eq!(ends, 2 * lines, "no line end but those between lines");
            assert!(lines <= gate::HEADERS_MAX + 2);
            false
        }
        Passage::Drop(_) => false,
    }
}

/// However a stream is cut, the same messages come out of it until the same end, each of them whole, and nothing is kept
/// beyond the longest. Says whether any came.
pub fn stream(bytes: &[u8]) -> bool {
    let whole = messages_of(bytes, bytes.len().max(1));
    for size in [1, 7, 1000] {
        assert_eq!(messages_of(bytes, size), whole, "in pieces of {size}");
    }
    let all: usize = whole.0.iter().map(Vec::len).sum();
    assert!(all <= bytes.len() && whole.0.iter().all(|message| message.len() <= gate::MESSAGE_BYTES_MAX));
    !whole.0.is_empty()
}

fn messages_of(bytes: &[u8], size: usize) -> (Vec<Vec<u8>>, Option<Unframed>) {
    let (mut inbox, mut taken) = (Inbox::default(), Vec::new());
    for part in bytes.chunks(size) {
        inbox.feed(part);
        loop {
            match inbox.next_piece() {
                Ok(Some(Piece::Message(message))) => taken.push(message),
                Ok(Some(Piece::Ping)) => {}
                Ok(None) => break,
                Err(why) => return (taken, Some(why)),
            }
        }
    }
    (taken, None)
}

/// Datagrams, one after the other, for an exchange with a phone in a call; `TAG` stands for our tag of that call. Whatever
/// they are, everything it says is a message, a stranger is never told more than twice what it said, and no call is made
/// without a password. Says whether anything was answered.
pub fn exchange(bytes: &[u8]) -> bool {
    let mut now = MonoTime::from_millis(5_000);
    let (phone, stranger): (SocketAddr, SocketAddr) =
        (([192, 0, 2, 50], 5070).into(), ([198, 51, 100, 9], 5060).into());
    let (mut exchange, tag) = in_a_call(phone, now);
    let text = String::from_utf8_lossy(bytes);
    let mut answered = false;
    for (at, datagram) in text.split("\n===\n").take(DATAGRAMS_MAX).enumerate() {
        // Whoever knows the tag is no stranger.
        let (source, name) = if at % 3 == 2 { (stranger, "TAG") } else { (phone, tag.as_str()) };
        let datagram = datagram.replace("TAG", name);
        let (mut acts, mut opened) = (Vec::new(), 0);
        let mut open = |_| {
            opened += 1;
            Some(local_media())
        };
        exchange.handle(datagram.as_bytes(), source, now, &mut open, &mut acts);
        assert_eq!(opened, 0, "nobody here knows the password");
        // What the gate refuses it answers with the words it refused.
        let passes = matches!(gate::judge(datagram.as_bytes(), source), Passage::Pass(_));
        answered |= passes && holds(&acts, source, datagram.len(), stranger);
        now = now.plus_ms(700);
        let mut acts = Vec::new();
        exchange.tick(now, &mut acts);
        holds(&acts, source, usize::MAX / 2, stranger);
        assert!(exchange.in_call().count() <= 1);
    }
    goes_on_over_a_restart(&mut exchange, now);
    answered
}

/// Whatever was said in a call, its record is the same call at the next start.
fn goes_on_over_a_restart(exchange: &mut Exchange, now: MonoTime) {
    for (number, record) in exchange.unkept() {
        let Some(record) = record else { continue };
        let (mut next, mut acts) = (Exchange::new(setting()), Vec::new());
        next.resume((number, &record), &|_| true, &mut |_, _| true, now, &mut acts);
        assert!(matches!(acts[..], [Act::Resume { .. }]), "{acts:?}");
        assert!(next.in_call().eq(exchange.in_call()));
    }
}

/// Whether anything is said; that it is a message, and to whom.
fn holds(acts: &[Act], source: SocketAddr, length: usize, stranger: SocketAddr) -> bool {
    let sent = acts.iter().filter_map(|act| if let Act::Send(datagram) = act { Some(datagram) } else { None });
    let mut said = 0;
    for datagram in sent {
        let message = Message::read(&datagram.bytes).expect("it is a message");
        // An answer has as many Vias as its question; whoever gets one with more than its own drops it.
        let passes = gate::judge(&datagram.bytes, source) == Passage::Pass(datagram.bytes.len());
        assert!(passes || message.list("via").len() > 1, "{}", datagram.bytes.escape_ascii());
        said += if datagram.to.remote == stranger { datagram.bytes.len() } else { 0 };
    }
    assert!(source != stranger || said <= 2 * length);
    acts.iter().any(|act| matches!(act, Act::Send(_)))
}

fn secret() -> DigestSecret {
    DigestSecret::new("1001", "county", "password")
}

fn setting() -> Setting {
    let id = GatewayId::new("chief").expect("an id");
    Setting {
        here: local_media().rtp,
        here_tcp: None,
        realm: "county".to_owned(),
        digests: vec![Algorithm::Md5],
        codecs: vec![Codec::Opus, Codec::Pcmu],
        keys_in_clear: true,
        places: vec![Place {
            phone: id,
            user: "1001".to_owned(),
            is_line: false,
            dialled: vec!["6001".to_owned()],
            srtp: MediaSecurity::Optional,
        }],
        secrets: BTreeMap::from([("1001".to_owned(), secret())]),
        trunks: Vec::new(),
        gateways: Vec::new(),
        emergency_numbers: vec!["911".to_owned()],
        key: Zeroizing::new([3; 32]),
    }
}

/// An exchange whose only phone is in a call, and our tag of that call.
fn in_a_call(phone: SocketAddr, now: MonoTime) -> (Exchange, String) {
    let (mut exchange, mut password) = (Exchange::new(setting()), Respondent::new("1001", "county", secret()));
    let (mut acts, mut authorization) = (Vec::new(), String::new());
    for cseq in 1..=2 {
        acts.clear();
        let body =
            "v=0\r\no=- 1 1 IN IP4 192.0.2.50\r\ns=-\r\nc=IN IP4 192.0.2.50\r\nt=0 0\r\nm=audio 7000 RTP/AVP 0\r\n";
        let invite = format!(
            "INVITE sip:6001@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {phone};branch=z9hG4bK{cseq};rport\r\n\
             From: <sip:1001@h>;tag=f\r\nTo: <sip:6001@h>\r\nCall-ID: c\r\nCSeq: {cseq} INVITE\r\n\
             Contact: <sip:1001@{phone}>\r\n{authorization}Content-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        exchange.handle(invite.as_bytes(), phone, now, &mut |_| Some(local_media()), &mut acts);
        let answer =
            acts.iter().find_map(|act| if let Act::Send(sent) = act { Message::read(&sent.bytes) } else { None });
        let Some(answer) = answer else { break };
        let values: Vec<&str> = answer.values("www-authenticate").collect();
        if password.asked(&values).is_ok() {
            let value = password.answer("INVITE", "sip:6001@192.0.2.1", 1).unwrap_or_default();
            authorization = format!("Authorization: {value}\r\n");
        } else if let Some(tag) = answer.value("to").and_then(|to| parameter(to, "tag")) {
            return (exchange, tag.to_owned());
        }
    }
    panic!("the phone is not in a call")
}

fn local_media() -> LocalMedia {
    LocalMedia { rtp: ([192, 0, 2, 1], 4000).into(), rtcp: ([192, 0, 2, 1], 4001).into() }
}

/// Datagrams of one input that are looked at.
const DATAGRAMS_MAX: usize = 8;
