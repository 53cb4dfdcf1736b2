//! What must hold for any text at all: one function per reader, run by the seeded mutator in `tests/fuzz_sip.rs` and,
//! with coverage, by cargo-fuzz in `fuzz/`.
//!
//! A function returns whether its reader accepted the input. It panics when a promise is broken; it is never called by
//! the daemon.

use zeroize::Zeroizing;

use super::digest::{Authorization, Challenge};
use super::gate::{self, Passage};
use super::offer::{LocalMedia, MediaRules, Negotiation, SECRETS_BYTES, Secrets};
use super::sdes::CryptoLine;
use super::sdp::{Description, Direction, LINES_MAX};
use crate::domain::audio::{Codec, Format};
use crate::domain::configuration::MediaSecurity;
use crate::domain::port::ExtensionIds;

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
