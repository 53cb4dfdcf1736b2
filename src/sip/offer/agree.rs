//! What two audio lines have in common, and under which keys.

use std::net::SocketAddr;

use super::{Agreed, AgreedMedia, FORMATS_MAX, LocalMedia, MediaRefusal, MediaRules, Offered, Protection, Secrets};
use crate::domain::audio::{Codec, Format};
use crate::domain::configuration::MediaSecurity;
use crate::domain::port::{ExtensionIds, PayloadType};
use crate::sip::sdes::{CryptoLine, LIFETIME_PACKETS_MAX};
use crate::sip::sdp::{Audio, Direction, EventPayload, Payload};
use crate::wire::srtp::Suite;

/// Answers an offered line: ours, and what then stands.
pub(super) fn with_offer(
    local: LocalMedia,
    theirs: &Audio,
    wish: Direction,
    rules: &MediaRules,
    secrets: &Secrets,
    before: Option<&Agreed>,
) -> Result<(Audio, Agreed), MediaRefusal> {
    let mut receive = Vec::new();
    // Our order, not theirs: a codec that the radios speak is relayed, any other is transcoded.
    for format in rules.formats.iter().take(FORMATS_MAX).filter(|format| format.channels == 1) {
        if let Some(payload) = theirs.payloads.iter().find(|payload| payload.is(*format)) {
            receive.push((*payload, PayloadType { number: payload.number, format: with_packet_ms(*format, theirs) }));
        }
    }
    let send = receive.first().ok_or(MediaRefusal::NoCodec)?.1;
    let crypto = choose_key(theirs, rules, secrets, before)?;
    let events = matching_first(theirs.events.clone(), send.format.clock_hz);
    if rules.events_needed && events.is_empty() {
        return Err(MediaRefusal::NoEvents);
    }
    let rtcp_mux = theirs.rtcp_mux && rules.rtcp_mux;
    let direction = wish.against(wishes_of(theirs));
    let extensions = known_to_both(rules.extensions, theirs.extensions);
    let payloads: Vec<Payload> = receive.iter().map(|(payload, _)| *payload).collect();
    let ours = Audio {
        profile: theirs.profile,
        address: local.rtp,
        rtcp: if rtcp_mux { None } else { rtcp_line(local) },
        rtcp_mux,
        direction,
        payloads: payloads.clone(),
        events: events.clone(),
        packet_ms: Some(send.format.packet_ms.into()),
        packet_max_ms: Some(super::PACKET_MS_MAX),
        crypto: crypto.iter().map(|(line, _)| line.clone()).collect(),
        crypto_fault: None,
        extensions,
    };
    let protection = crypto.as_ref().map(|(line, key)| Protection { send: line.key.clone(), receive: key.clone() });
    let media = AgreedMedia {
        peer: peer(theirs),
        peer_rtcp: peer_rtcp(theirs, rtcp_mux),
        rtcp_mux,
        send,
        receive: receive.into_iter().map(|(_, payload)| payload).collect(),
        events: events.clone(),
        direction,
        extensions,
        protection,
    };
    Ok((ours, Agreed { media, profile: theirs.profile, payloads, events, crypto: crypto.map(|(line, _)| line) }))
}

/// Reads the answer to a line of ours.
pub(super) fn with_answer(offered: &Offered, theirs: &Audio) -> Result<Agreed, MediaRefusal> {
    let Offered { audio: ours, rules } = offered;
    let format_of = |payload: &Payload| rules.formats.iter().copied().find(|format| payload.is(*format));
    // What they send comes under our numbers, what we send goes under theirs (RFC 3264 section 6.1).
    let mut receive = Vec::new();
    let mut send = None;
    for payload in &theirs.payloads {
        let Some(mine) =
            ours.payloads.iter().find(|mine| (mine.codec, mine.clock_hz) == (payload.codec, payload.clock_hz))
        else {
            continue;
        };
        let Some(format) = format_of(payload).map(|format| with_packet_ms(format, theirs)) else { continue };
        send = send.or(Some(PayloadType { number: payload.number, format }));
        if !receive.iter().any(|known: &PayloadType| known.number == mine.number) {
            receive.push(PayloadType { number: mine.number, format });
        }
    }
    let send = send.ok_or(MediaRefusal::NoCodec)?;
    let (crypto, protection) = match answered_key(offered, theirs)? {
        Some((line, theirs)) => {
            (Some(line.clone()), Some(Protection { send: line.key.clone(), receive: theirs.key.clone() }))
        }
        None => (None, None),
    };
    let events: Vec<EventPayload> = theirs.events.iter().copied().filter(|event| ours.events.contains(event)).collect();
    if rules.events_needed && events.is_empty() {
        return Err(MediaRefusal::NoEvents);
    }
    let rtcp_mux = ours.rtcp_mux && theirs.rtcp_mux;
    let media = AgreedMedia {
        peer: peer(theirs),
        peer_rtcp: peer_rtcp(theirs, rtcp_mux),
        rtcp_mux,
        send,
        receive,
        events: matching_first(events, send.format.clock_hz),
        direction: ours.direction.against(wishes_of(theirs)),
        extensions: known_to_both(ours.extensions, theirs.extensions),
        protection,
    };
    let (payloads, events) = (ours.payloads.clone(), ours.events.clone());
    Ok(Agreed { media, profile: ours.profile, payloads, events, crypto })
}

/// Our line and the peer's key, if the call is to be encrypted.
fn choose_key(
    theirs: &Audio,
    rules: &MediaRules,
    secrets: &Secrets,
    before: Option<&Agreed>,
) -> Result<Option<(CryptoLine, crate::wire::srtp::MasterKey)>, MediaRefusal> {
    let must = match rules.security {
        MediaSecurity::Never if theirs.profile.secure => return Err(MediaRefusal::Protected),
        MediaSecurity::Never => return Ok(None),
        MediaSecurity::Optional => theirs.profile.secure,
        MediaSecurity::Required => true,
    };
    if !rules.keys_may_cross {
        return if must { Err(MediaRefusal::KeysInClear) } else { Ok(None) };
    }
    let Some(line) = theirs.crypto.first() else {
        let why = theirs.crypto_fault.map_or(MediaRefusal::Unprotected, MediaRefusal::Crypto);
        return if must { Err(why) } else { Ok(None) };
    };
    // The same suite as before: our key goes on, and so do its streams.
    let suite = line.key.suite();
    let used = before.and_then(|before| before.crypto.as_ref()).filter(|used| used.key.suite() == suite);
    let key = used.map_or_else(|| secrets.key(suite), |used| used.key.clone());
    Ok(Some((CryptoLine { tag: line.tag, key, lifetime_packets: LIFETIME_PACKETS_MAX }, line.key.clone())))
}

/// Which of our lines the answer took, and the peer's line.
fn answered_key<'a>(
    offered: &'a Offered,
    theirs: &'a Audio,
) -> Result<Option<(&'a CryptoLine, &'a CryptoLine)>, MediaRefusal> {
    let must = offered.audio.profile.secure || theirs.profile.secure;
    match theirs.crypto.first() {
        Some(line) => {
            let is_it = |ours: &&CryptoLine| ours.tag == line.tag && ours.key.suite() == line.key.suite();
            let ours = offered.audio.crypto.iter().find(is_it).ok_or(MediaRefusal::CryptoNotOffered)?;
            Ok(Some((ours, line)))
        }
        // A key that we cannot use is a peer that will encrypt: better no call than noise.
        None => match theirs.crypto_fault {
            Some(fault) => Err(MediaRefusal::Crypto(fault)),
            None if must => Err(MediaRefusal::Unprotected),
            None => Ok(None),
        },
    }
}

pub(super) fn lines_for_all_suites(secrets: &Secrets) -> Vec<CryptoLine> {
    let line = |(tag, suite)| CryptoLine { tag, key: secrets.key(suite), lifetime_packets: LIFETIME_PACKETS_MAX };
    (1..).zip(Suite::ALL).map(line).collect()
}

/// None if RTCP comes one port above RTP, as everybody expects.
pub(super) fn rtcp_line(local: LocalMedia) -> Option<SocketAddr> {
    (Some(local.rtcp) != one_above(local.rtp)).then_some(local.rtcp)
}

fn one_above(rtp: SocketAddr) -> Option<SocketAddr> {
    Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?))
}

fn peer(theirs: &Audio) -> Option<SocketAddr> {
    (!theirs.address.ip().is_unspecified()).then_some(theirs.address)
}

fn peer_rtcp(theirs: &Audio, rtcp_mux: bool) -> Option<SocketAddr> {
    let rtp = peer(theirs)?;
    if rtcp_mux { Some(rtp) } else { theirs.rtcp.or_else(|| one_above(rtp)) }
}

/// Nobody receives at no address (RFC 3264 section 8.4).
fn wishes_of(theirs: &Audio) -> Direction {
    Direction::of(theirs.direction.sends(), theirs.direction.receives() && peer(theirs).is_some())
}

fn known_to_both(ours: ExtensionIds, theirs: ExtensionIds) -> ExtensionIds {
    ExtensionIds {
        level: theirs.level.filter(|_| ours.level.is_some()),
        keying: theirs.keying.filter(|_| ours.keying.is_some()),
        talker: theirs.talker.filter(|_| ours.talker.is_some()),
    }
}

fn matching_first(mut events: Vec<EventPayload>, clock_hz: u32) -> Vec<EventPayload> {
    events.sort_by_key(|event| event.clock_hz != clock_hz);
    events
}

/// The packet time the peer asks for, cut to what it takes, what we make and what a datagram holds.
fn with_packet_ms(format: Format, theirs: &Audio) -> Format {
    let asked = theirs.packet_ms.unwrap_or(format.packet_ms.into()).min(theirs.packet_max_ms.unwrap_or(u16::MAX));
    let fits = |ms: &&u8| {
        u16::from(**ms) <= asked
            && (format.codec != Codec::L16 || format.clock_hz / 1000 * 2 * u32::from(**ms) <= L16_PAYLOAD_BYTES_MAX)
    };
    Format { packet_ms: PACKET_MS.iter().find(fits).copied().unwrap_or(10), ..format }
}

/// The packet times we make, longest first (ms).
const PACKET_MS: [u8; 4] = [60, 40, 20, 10];
/// What fits a datagram beside headers and extensions, as in the configuration (bytes).
const L16_PAYLOAD_BYTES_MAX: u32 = 1440;
