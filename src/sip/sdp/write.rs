//! Writing: one way to say each thing.

use std::fmt::Write;
use std::net::IpAddr;

use zeroize::Zeroizing;

use super::{Audio, KEYING_URI, LEVEL_URI, Payload, Profile, Shape, TALKER_URI};
use crate::domain::audio::Codec;

/// A line of ours: the audio, or one that is refused.
pub enum OurLine<'a> {
    /// In use.
    Audio(&'a Audio),
    /// Port 0.
    Refused(&'a Shape),
}

/// A whole description. The session's number never changes in a call, its version with every change (RFC 3264 section
/// 8). A secret if it holds keys: wiped when dropped.
pub fn description(session: u64, version: u64, address: IpAddr, lines: &[OurLine<'_>]) -> Zeroizing<String> {
    // One allocation, so that no copy of a key stays behind when it grows.
    let mut text = Zeroizing::new(String::with_capacity(DESCRIPTION_BYTES));
    let family = family(address);
    let head =
        format!("v=0\r\no=- {session} {version} IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n");
    text.push_str(&head);
    for line in lines {
        match line {
            OurLine::Audio(audio) => write_audio(audio, address, &mut text),
            OurLine::Refused(Shape { media, profile, formats }) => {
                put(&mut text, format_args!("m={media} 0 {profile} {formats}\r\n"));
            }
        }
    }
    text
}

fn write_audio(audio: &Audio, session: IpAddr, text: &mut String) {
    put(text, format_args!("m=audio {} {}", audio.address.port(), audio.profile.name()));
    let events = audio.events.iter().map(|event| event.number);
    for number in audio.payloads.iter().map(|payload| payload.number).chain(events) {
        put(text, format_args!(" {number}"));
    }
    text.push_str("\r\n");
    if audio.address.ip() != session {
        put(text, format_args!("c=IN {} {}\r\n", family(audio.address.ip()), audio.address.ip()));
    }
    for payload in &audio.payloads {
        write_payload(payload, text);
    }
    for event in &audio.events {
        let (number, clock_hz) = (event.number, event.clock_hz);
        put(text, format_args!("a=rtpmap:{number} telephone-event/{clock_hz}\r\na=fmtp:{number} 0-16\r\n"));
    }
    if let Some(ms) = audio.packet_ms {
        put(text, format_args!("a=ptime:{ms}\r\n"));
    }
    if let Some(ms) = audio.packet_max_ms {
        put(text, format_args!("a=maxptime:{ms}\r\n"));
    }
    for (id, uri) in [
        (audio.extensions.level, LEVEL_URI),
        (audio.extensions.keying, KEYING_URI),
        (audio.extensions.talker, TALKER_URI),
    ] {
        if let Some(id) = id {
            put(text, format_args!("a=extmap:{id} {uri}\r\n"));
        }
    }
    for line in &audio.crypto {
        text.push_str("a=crypto:");
        text.push_str(&line.to_value());
        text.push_str("\r\n");
    }
    if let Some(rtcp) = audio.rtcp {
        put(text, format_args!("a=rtcp:{} IN {} {}\r\n", rtcp.port(), family(rtcp.ip()), rtcp.ip()));
    }
    if audio.rtcp_mux {
        text.push_str("a=rtcp-mux\r\n");
    }
    put(text, format_args!("a={}\r\n", audio.direction.name()));
}

fn write_payload(payload: &Payload, text: &mut String) {
    let Payload { number, codec, clock_hz } = payload;
    let name = match codec {
        Codec::Opus => "opus",
        Codec::Pcmu => "PCMU",
        Codec::Pcma => "PCMA",
        Codec::G722 => "G722",
        Codec::L16 => "L16",
    };
    put(text, format_args!("a=rtpmap:{number} {name}/{clock_hz}"));
    match codec {
        // One channel is decoded; redundancy is welcome (RFC 7587 section 6.1).
        Codec::Opus => put(text, format_args!("/2\r\na=fmtp:{number} useinbandfec=1\r\n")),
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::L16 => text.push_str("\r\n"),
    }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes every text");
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IP4" } else { "IP6" }
}

impl Profile {
    pub(super) fn name(self) -> &'static str {
        match (self.secure, self.feedback) {
            (false, false) => "RTP/AVP",
            (true, false) => "RTP/SAVP",
            (false, true) => "RTP/AVPF",
            (true, true) => "RTP/SAVPF",
        }
    }
}

/// The longest description we write: [`super::LINES_MAX`] refused lines and one with everything (bytes).
const DESCRIPTION_BYTES: usize = super::LINES_MAX * (super::SHAPE_BYTES_MAX + 16) + 4096;
