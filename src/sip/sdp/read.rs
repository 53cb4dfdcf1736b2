//! Reading: `sdp-types` splits the lines, this gives them a meaning.

use std::net::{IpAddr, SocketAddr};

use sdp_types::{Attribute, Connection, Media, Session};
use zeroize::Zeroize;

use super::{
    ATTRIBUTES_MAX, Audio, CRYPTO_LINES_MAX, Description, Direction, EventPayload, FORMATS_MAX, KEYING_URI, LEVEL_URI,
    LINES_MAX, Line, Payload, Profile, SDP_BYTES_MAX, SHAPE_BYTES_MAX, SdpFault, SdpLimit, Shape, TALKER_URI,
};
use crate::domain::audio::Codec;
use crate::domain::port::ExtensionIds;
use crate::sip::sdes::CryptoLine;

impl Description {
    /// Reads a message's body.
    pub fn parse(body: &[u8]) -> Result<Self, SdpFault> {
        if body.len() > SDP_BYTES_MAX {
            return Err(SdpFault::Limit(SdpLimit::Bytes));
        }
        let mut session = Session::parse(body).map_err(|_| SdpFault::Form)?;
        let read = read_session(&session);
        wipe_keys(&mut session);
        read
    }

    /// The audio lines, with their places.
    pub fn audio(&self) -> impl Iterator<Item = (usize, &Audio)> {
        self.lines.iter().enumerate().filter_map(|(at, line)| match line {
            Line::Audio(audio, _) => Some((at, audio.as_ref())),
            Line::Refused(..) => None,
        })
    }
}

fn read_session(session: &Session) -> Result<Description, SdpFault> {
    let attributes = session.attributes.len() + session.medias.iter().map(|line| line.attributes.len()).sum::<usize>();
    if session.medias.len() > LINES_MAX {
        return Err(SdpFault::Limit(SdpLimit::Lines));
    }
    if attributes > ATTRIBUTES_MAX {
        return Err(SdpFault::Limit(SdpLimit::Attributes));
    }
    let lines = session.medias.iter().map(|media| read_line(session, media)).collect::<Result<_, _>>()?;
    Ok(Description { lines })
}

fn read_line(session: &Session, media: &Media) -> Result<Line, SdpFault> {
    let shape = Shape { media: media.media.clone(), profile: media.proto.clone(), formats: media.fmt.clone() };
    let parts = [&shape.media, &shape.profile, &shape.formats];
    if parts.iter().map(|part| part.len()).sum::<usize>() > SHAPE_BYTES_MAX {
        return Err(SdpFault::Limit(SdpLimit::Shape));
    }
    // It is written back into an answer: a lone carriage return would begin a line of its own there.
    if parts.iter().any(|part| part.is_empty() || !part.bytes().all(|byte| matches!(byte, b' '..=b'~'))) {
        return Err(SdpFault::Form);
    }
    match read_audio(session, media) {
        Ok(audio) => Ok(Line::Audio(Box::new(audio), shape)),
        Err(limit @ SdpFault::Limit(_)) => Err(limit),
        Err(why) => Ok(Line::Refused(shape, why)),
    }
}

fn read_audio(session: &Session, media: &Media) -> Result<Audio, SdpFault> {
    if !media.media.eq_ignore_ascii_case("audio") {
        return Err(SdpFault::NotAudio);
    }
    if media.port == 0 {
        return Err(SdpFault::Rejected);
    }
    let profile = Profile::named(&media.proto).ok_or(SdpFault::Profile)?;
    let connection = media.connections.first().or(session.connection.as_ref()).ok_or(SdpFault::Address)?;
    let address = SocketAddr::new(unicast(connection)?, media.port);
    let (payloads, events) = read_payloads(media)?;
    let (crypto, crypto_fault) = read_crypto(media)?;
    // The line's own word, else the session's, else both ways.
    let direction = [&media.attributes, &session.attributes].into_iter().find_map(|all| direction_in(all));
    Ok(Audio {
        profile,
        address,
        rtcp: value(media, "rtcp").and_then(|value| read_rtcp(value, address.ip())),
        rtcp_mux: media.attributes.iter().any(|attribute| attribute.attribute.eq_ignore_ascii_case("rtcp-mux")),
        direction: direction.unwrap_or(Direction::SendRecv),
        payloads,
        events,
        packet_ms: value(media, "ptime").and_then(milliseconds),
        packet_max_ms: value(media, "maxptime").and_then(milliseconds),
        crypto,
        crypto_fault,
        extensions: read_extensions(session, media),
    })
}

impl Profile {
    pub(super) fn named(name: &str) -> Option<Self> {
        let all = [(false, false), (true, false), (false, true), (true, true)];
        let mut all = all.into_iter().map(|(secure, feedback)| Self { secure, feedback });
        all.find(|profile| profile.name().eq_ignore_ascii_case(name))
    }
}

/// A multicast address comes with a TTL, a group of them with a count; neither is a call.
fn unicast(connection: &Connection) -> Result<IpAddr, SdpFault> {
    let text = connection.connection_address.trim();
    // How IPv6 says hold (RFC 3264 section 8.4 has no word for it; RFC 6157 section 5.1).
    if text.to_ascii_lowercase().ends_with(".invalid") {
        return Ok(IpAddr::from([0; 4]));
    }
    let address: IpAddr = text.parse().map_err(|_| SdpFault::Address)?;
    if address.is_multicast() { Err(SdpFault::Address) } else { Ok(address) }
}

fn value<'a>(media: &'a Media, name: &str) -> Option<&'a str> {
    values(&media.attributes, name).next()
}

fn values<'a>(attributes: &'a [Attribute], name: &str) -> impl Iterator<Item = &'a str> {
    attributes
        .iter()
        .filter(move |attribute| attribute.attribute.eq_ignore_ascii_case(name))
        .filter_map(|attribute| attribute.value.as_deref())
        .map(str::trim)
}

fn direction_in(attributes: &[Attribute]) -> Option<Direction> {
    let all = [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];
    let named = |name: &str| all.into_iter().find(|direction| direction.name().eq_ignore_ascii_case(name));
    attributes.iter().find_map(|attribute| named(&attribute.attribute))
}

/// Whole milliseconds; some write `20.0`.
fn milliseconds(text: &str) -> Option<u16> {
    text.split('.').next()?.parse().ok().filter(|ms| *ms > 0)
}

/// `53020` or `53020 IN IP4 192.0.2.7` (RFC 3605).
fn read_rtcp(text: &str, same: IpAddr) -> Option<SocketAddr> {
    let mut words = text.split_ascii_whitespace();
    let port = words.next()?.parse().ok().filter(|port| *port != 0)?;
    let address = match words.nth(2) {
        Some(address) => address.parse().ok().filter(|address: &IpAddr| !address.is_multicast())?,
        None => same,
    };
    Some(SocketAddr::new(address, port))
}

/// What a payload type carries, as `a=rtpmap` says.
struct Mapping<'a> {
    name: &'a str,
    clock_hz: u32,
    channels: u8,
}

impl<'a> Mapping<'a> {
    /// `111 opus/48000/2`: the number and the rest.
    fn parse(value: &'a str) -> Option<(u8, Self)> {
        let (number, encoding) = value.split_once([' ', '\t'])?;
        let mut parts = encoding.trim().split('/');
        let (name, clock_hz) = (parts.next()?, parts.next()?.parse().ok()?);
        let channels = parts.next().map_or(Some(1), |channels| channels.parse().ok())?;
        Some((number.parse().ok()?, Self { name, clock_hz, channels }))
    }

    /// What RFC 3551 table 4 says where no `a=rtpmap` does.
    fn fixed(number: u8) -> Option<Self> {
        let name = match number {
            0 => "PCMU",
            8 => "PCMA",
            9 => "G722",
            _ => return None,
        };
        Some(Self { name, clock_hz: 8000, channels: 1 })
    }

    fn codec(&self) -> Option<Codec> {
        let is = |name: &str| self.name.eq_ignore_ascii_case(name);
        match (self.clock_hz, self.channels) {
            // Two channels always, whatever is in the packets (RFC 7587 section 7).
            (48_000, 2) if is("opus") => Some(Codec::Opus),
            (8000, 1) if is("PCMU") => Some(Codec::Pcmu),
            (8000, 1) if is("PCMA") => Some(Codec::Pcma),
            (8000, 1) if is("G722") => Some(Codec::G722),
            (8000 | 16_000 | 48_000, 1) if is("L16") => Some(Codec::L16),
            _ => None,
        }
    }
}

fn read_payloads(media: &Media) -> Result<(Vec<Payload>, Vec<EventPayload>), SdpFault> {
    let numbers: Vec<&str> = media.fmt.split_ascii_whitespace().collect();
    if numbers.len() > FORMATS_MAX {
        return Err(SdpFault::Limit(SdpLimit::Formats));
    }
    let (mut payloads, mut events) = (Vec::<Payload>::new(), Vec::<EventPayload>::new());
    for number in numbers.iter().filter_map(|number| number.parse::<u8>().ok()).filter(|number| is_payload(*number)) {
        let mapped = values(&media.attributes, "rtpmap").filter_map(Mapping::parse).find(|(of, _)| *of == number);
        let Some(mapping) = mapped.map(|(_, mapping)| mapping).or(Mapping::fixed(number)) else { continue };
        let clock_hz = mapping.clock_hz;
        if payloads.iter().any(|known| known.number == number) || events.iter().any(|known| known.number == number) {
            continue;
        }
        if let Some(codec) = mapping.codec() {
            payloads.push(Payload { number, codec, clock_hz });
        } else if mapping.name.eq_ignore_ascii_case("telephone-event") && has_digits(media, number) {
            events.push(EventPayload { number, clock_hz });
        }
    }
    Ok((payloads, events))
}

/// 64 to 95 with a marker would look like RTCP (RFC 5761 section 4).
pub(super) fn is_payload(number: u8) -> bool {
    matches!(number, 0..=63 | 96..=127)
}

/// Whether events 0 to 11 are among those that `a=fmtp` lists; all are if it lists none (RFC 4733 section 2.4.1).
fn has_digits(media: &Media, number: u8) -> bool {
    let of_this = |value: &'_ str| {
        let (of, list) = value.split_once(' ')?;
        (of.parse() == Ok(number)).then(|| list.trim().to_owned())
    };
    let Some(list) = values(&media.attributes, "fmtp").find_map(of_this) else { return true };
    let list = list.strip_prefix("events=").unwrap_or(&list);
    let mut listed = 0u16;
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u8>(), last.trim().parse::<u8>()) {
            (first..=last.min(15)).for_each(|event| listed |= 1 << event);
        }
    }
    listed & DIGITS == DIGITS
}

const DIGITS: u16 = (1 << 12) - 1;

type Crypto = (Vec<CryptoLine>, Option<crate::sip::sdes::CryptoFault>);

fn read_crypto(media: &Media) -> Result<Crypto, SdpFault> {
    let (mut lines, mut fault) = (Vec::<CryptoLine>::new(), None);
    for (at, value) in values(&media.attributes, "crypto").enumerate() {
        if at == CRYPTO_LINES_MAX {
            return Err(SdpFault::Limit(SdpLimit::CryptoLines));
        }
        match CryptoLine::parse(value) {
            Ok(line) => lines.push(line),
            Err(why) => fault = fault.or(Some(why)),
        }
    }
    Ok((lines, fault))
}

/// Ids 1 to 14 of the extensions we know; a line's own come before the session's (RFC 8285 section 5).
fn read_extensions(session: &Session, media: &Media) -> ExtensionIds {
    let mut ids = ExtensionIds::default();
    for value in values(&media.attributes, "extmap").chain(values(&session.attributes, "extmap")) {
        let mut words = value.split_ascii_whitespace();
        let (Some(id), Some(uri)) = (words.next(), words.next()) else { continue };
        let id = id.split('/').next().and_then(|id| id.parse().ok()).filter(|id| (1..=14).contains(id));
        let taken = [ids.level, ids.keying, ids.talker].contains(&id);
        let place = match uri {
            LEVEL_URI => &mut ids.level,
            KEYING_URI => &mut ids.keying,
            TALKER_URI => &mut ids.talker,
            _ => continue,
        };
        if place.is_none() && !taken {
            *place = id;
        }
    }
    ids
}

fn wipe_keys(session: &mut Session) {
    for attribute in session.medias.iter_mut().flat_map(|media| &mut media.attributes).chain(&mut session.attributes) {
        attribute.value.zeroize();
    }
}
