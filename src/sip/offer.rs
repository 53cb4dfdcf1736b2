//! Offer and answer (RFC 3264) of one call: what both ends will send and receive, or why nothing.
//!
//! Not a dialog: who may offer when, and what a collision costs both, is the dialog's; it asks here and is told
//! [`MediaRefusal::Awaiting`]. Not media: what was agreed is an [`AgreedMedia`] from which a port can be made. Owned by
//! the call. A failed offer or answer leaves what was agreed before.

mod agree;

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::sdes::{CryptoFault, CryptoLine, sealed_key};
use super::sdp::{
    Audio, Description, Direction, EventPayload, Line, OurLine, Payload, Profile, SdpFault, Shape, description,
};
use crate::domain::audio::{Codec, Format};
use crate::domain::configuration::{MediaSecurity, PathClass};
use crate::domain::port::{ExtensionIds, PayloadType};
use crate::wire::srtp::{MASTER_BYTES_MAX, MasterKey, Suite};

/// What we want of a call's audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRules {
    /// What we speak, best first, with the packet time we like; at most [`FORMATS_MAX`] are looked at.
    pub formats: Vec<Format>,
    /// Whether audio must, may or must not be encrypted.
    pub security: MediaSecurity,
    /// Keys may stand in this call's messages: their way is encrypted, or the configuration does not mind.
    pub keys_may_cross: bool,
    /// RTP and RTCP may share a port.
    pub rtcp_mux: bool,
    /// Header extensions we offer, and accept under the number the peer gave.
    pub extensions: ExtensionIds,
    /// Without telephone events there is no call: its far side is keyed by them.
    pub events_needed: bool,
}

/// Formats in one of our offers: every codec, L16 at three rates.
pub const FORMATS_MAX: usize = 7;

/// Where a call's media arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalMedia {
    /// RTP.
    pub rtp: SocketAddr,
    /// RTCP, if it does not come where RTP comes.
    pub rtcp: SocketAddr,
}

/// What both ends said yes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreedMedia {
    /// Where RTP goes; none while the peer has no address for it (an old way to say hold).
    pub peer: Option<SocketAddr>,
    /// Where RTCP goes.
    pub peer_rtcp: Option<SocketAddr>,
    /// RTCP comes where RTP comes.
    pub rtcp_mux: bool,
    /// What we send.
    pub send: PayloadType,
    /// What the peer may send, under our numbers; best first, never empty.
    pub receive: Vec<PayloadType>,
    /// Telephone events: the first is what we send.
    pub events: Vec<EventPayload>,
    /// Who sends, seen from us.
    pub direction: Direction,
    /// Header extensions both know.
    pub extensions: ExtensionIds,
    /// Keys, if both ends encrypt. While they stay equal, so do the streams under them.
    pub protection: Option<Protection>,
}

/// The keys of a call's two directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// Of what we send.
    #[serde(with = "sealed_key")]
    pub send: MasterKey,
    /// Of what the peer sends.
    #[serde(with = "sealed_key")]
    pub receive: MasterKey,
}

impl AgreedMedia {
    /// What the path protects: keys that crossed in the clear protect nothing.
    pub fn path_class(&self, signalling_is_encrypted: bool) -> PathClass {
        if self.protection.is_some() && signalling_is_encrypted { PathClass::Encrypted } else { PathClass::Open }
    }
}

/// Random bytes from the operating system for one offer or answer: a key for each suite.
pub struct Secrets(Zeroizing<[u8; SECRETS_BYTES]>);

/// How many they are.
pub const SECRETS_BYTES: usize = Suite::ALL.len() * MASTER_BYTES_MAX;

impl Secrets {
    /// Never used twice.
    pub fn new(bytes: Zeroizing<[u8; SECRETS_BYTES]>) -> Self {
        Self(bytes)
    }

    pub(in crate::sip) fn key(&self, suite: Suite) -> MasterKey {
        let at = Suite::ALL.iter().position(|other| *other == suite).unwrap_or(0) * MASTER_BYTES_MAX;
        let bytes = &self.0[at..at + suite.key_bytes() + suite.salt_bytes()];
        MasterKey::new(suite, bytes).expect("as long as the suite wants")
    }
}

/// Why there is no agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaRefusal {
    /// The peer's description, or its best audio line, is of no use.
    Sdp(SdpFault),
    /// No codec in common.
    NoCodec,
    /// No telephone events in common, and they are needed.
    NoEvents,
    /// The audio would not be encrypted and must be.
    Unprotected,
    /// The audio would be encrypted and must not be.
    Protected,
    /// Keys would cross in the clear.
    KeysInClear,
    /// The peer's key is of no use.
    Crypto(CryptoFault),
    /// The answer chose a key line that was not offered.
    CryptoNotOffered,
    /// Fewer media lines than before, or not as many as were offered (RFC 3264 sections 6 and 8).
    Lines,
    /// An offer of ours waits for its answer.
    Awaiting,
    /// No offer of ours waits for an answer.
    NotAwaiting,
}

impl MediaRefusal {
    /// The status with which an offer is refused.
    pub fn status(self) -> u16 {
        match self {
            MediaRefusal::Sdp(SdpFault::Form) | MediaRefusal::Lines => 400,
            MediaRefusal::Sdp(SdpFault::Limit(_)) => 413,
            MediaRefusal::Awaiting | MediaRefusal::NotAwaiting => 491,
            MediaRefusal::Sdp(SdpFault::NotAudio | SdpFault::Rejected | SdpFault::Profile | SdpFault::Address)
            | MediaRefusal::NoCodec
            | MediaRefusal::NoEvents
            | MediaRefusal::Unprotected
            | MediaRefusal::Protected
            | MediaRefusal::KeysInClear
            | MediaRefusal::Crypto(_)
            | MediaRefusal::CryptoNotOffered => 488,
        }
    }
}

impl fmt::Display for MediaRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MediaRefusal::Sdp(fault) => fault.fmt(f),
            MediaRefusal::Crypto(fault) => fault.fmt(f),
            MediaRefusal::NoCodec => f.write_str("no codec in common"),
            MediaRefusal::NoEvents => f.write_str("no telephone events, by which it is keyed"),
            MediaRefusal::Unprotected => f.write_str("audio must be encrypted and the peer offers none that is"),
            MediaRefusal::Protected => f.write_str("the peer wants encrypted audio and the configuration forbids it"),
            MediaRefusal::KeysInClear => f.write_str("keys would cross unencrypted signalling"),
            MediaRefusal::CryptoNotOffered => f.write_str("the answer chose a key that was not offered"),
            MediaRefusal::Lines => f.write_str("media lines are missing"),
            MediaRefusal::Awaiting => f.write_str("an offer waits for its answer"),
            MediaRefusal::NotAwaiting => f.write_str("no offer waits for an answer"),
        }
    }
}

/// One call's offers and answers. What is kept of it over a restart is what stands: an offer that waits is forgotten.
#[derive(Debug, Serialize, Deserialize)]
pub struct Negotiation {
    session: u64,
    version: u64,
    local: LocalMedia,
    /// The call's media lines so far: none is ever taken away.
    lines: Vec<Place>,
    agreed: Option<Agreed>,
    #[serde(skip)]
    turn: Turn,
    /// Our last description: an equal one keeps its version.
    #[serde(skip)]
    said: SdpText,
}

/// One media line's place.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Place {
    Audio,
    Refused(Shape),
}

/// Whose turn it is.
#[derive(Debug, Default)]
enum Turn {
    /// Anybody's.
    #[default]
    Free,
    /// The peer must answer this.
    Awaiting(Box<Offered>),
}

#[derive(Debug)]
struct Offered {
    audio: Audio,
    rules: MediaRules,
}

/// What stands, and what of it a later offer must repeat.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Agreed {
    media: AgreedMedia,
    profile: Profile,
    /// Numbers once given keep their meaning (RFC 3264 section 8.3.2).
    payloads: Vec<Payload>,
    events: Vec<EventPayload>,
    crypto: Option<CryptoLine>,
}

/// A description of ours, to be sent. It may hold keys: never shown, wiped when dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SdpText(Zeroizing<String>);

impl SdpText {
    /// For the peer's eyes only.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SdpText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SdpText({} bytes, not shown)", self.0.len())
    }
}

impl Negotiation {
    /// `session` is random: it names the call's description for ever (RFC 8866 section 5.2).
    pub fn new(session: u64, local: LocalMedia) -> Self {
        // Some read it as a signed number.
        let session = session >> 1;
        let (turn, said) = (Turn::default(), SdpText::default());
        Self { session, version: 0, local, lines: vec![Place::Audio], agreed: None, turn, said }
    }

    /// Where our end of the media is.
    pub fn local(&self) -> LocalMedia {
        self.local
    }

    /// What stands now.
    pub fn agreed(&self) -> Option<&AgreedMedia> {
        self.agreed.as_ref().map(|agreed| &agreed.media)
    }

    /// An offer: the first of the call, a late one, or a change such as hold. Its answer goes to
    /// [`Negotiation::answered`].
    pub fn offer(&mut self, wish: Direction, rules: &MediaRules, secrets: &Secrets) -> Result<SdpText, MediaRefusal> {
        match self.turn {
            Turn::Free => {}
            Turn::Awaiting(_) => return Err(MediaRefusal::Awaiting),
        }
        let audio = self.our_offer(wish, rules, secrets)?;
        let text = self.say(&audio);
        self.turn = Turn::Awaiting(Box::new(Offered { audio, rules: rules.clone() }));
        Ok(text)
    }

    /// The answer to our offer. Refused, what was agreed before stands, and the dialog must end or offer anew.
    pub fn answered(&mut self, body: &[u8]) -> Result<&AgreedMedia, MediaRefusal> {
        let offered = match std::mem::replace(&mut self.turn, Turn::Free) {
            Turn::Free => return Err(MediaRefusal::NotAwaiting),
            Turn::Awaiting(offered) => offered,
        };
        let answer = Description::parse(body).map_err(MediaRefusal::Sdp)?;
        if answer.lines.len() != self.lines.len() {
            return Err(MediaRefusal::Lines);
        }
        let place = self.lines.iter().position(|place| matches!(place, Place::Audio)).unwrap_or(0);
        let theirs = match &answer.lines[place] {
            Line::Audio(audio, _) => audio,
            Line::Refused(_, why) => return Err(MediaRefusal::Sdp(*why)),
        };
        let agreed = agree::with_answer(&offered, theirs)?;
        Ok(&self.agreed.insert(agreed).media)
    }

    /// Our offer was refused, or its transaction died: what was agreed before stands.
    pub fn withdraw(&mut self) {
        self.turn = Turn::Free;
    }

    /// Answers the peer's offer; the first audio line that can be agreed on is taken, the others are refused.
    pub fn answer(
        &mut self,
        body: &[u8],
        wish: Direction,
        rules: &MediaRules,
        secrets: &Secrets,
    ) -> Result<(SdpText, &AgreedMedia), MediaRefusal> {
        match self.turn {
            Turn::Free => {}
            Turn::Awaiting(_) => return Err(MediaRefusal::Awaiting),
        }
        let offer = Description::parse(body).map_err(MediaRefusal::Sdp)?;
        if self.version > 0 && offer.lines.len() < self.lines.len() {
            return Err(MediaRefusal::Lines);
        }
        let (at, ours, agreed) = self.accept_one(&offer, wish, rules, secrets)?;
        let place = |(place, line): (usize, Line)| match line {
            _ if place == at => Place::Audio,
            Line::Audio(_, shape) | Line::Refused(shape, _) => Place::Refused(shape),
        };
        self.lines = offer.lines.into_iter().enumerate().map(place).collect();
        let text = self.say(&ours);
        Ok((text, &self.agreed.insert(agreed).media))
    }

    /// The line in use first, then in the peer's order.
    fn accept_one(
        &self,
        offer: &Description,
        wish: Direction,
        rules: &MediaRules,
        secrets: &Secrets,
    ) -> Result<(usize, Audio, Agreed), MediaRefusal> {
        let mut refusal = None;
        let in_use = self.lines.iter().position(|place| matches!(place, Place::Audio));
        let mut candidates: Vec<_> = offer.audio().collect();
        candidates.sort_by_key(|(at, _)| Some(*at) != in_use);
        for (at, theirs) in candidates {
            match agree::with_offer(self.local, theirs, wish, rules, secrets, self.agreed.as_ref()) {
                Ok((ours, agreed)) => return Ok((at, ours, agreed)),
                Err(why) => refusal = refusal.or(Some(why)),
            }
        }
        let line = offer.lines.iter().find_map(|line| match line {
            Line::Refused(_, SdpFault::NotAudio) | Line::Audio(..) => None,
            Line::Refused(_, why) => Some(MediaRefusal::Sdp(*why)),
        });
        Err(refusal.or(line).unwrap_or(MediaRefusal::Sdp(SdpFault::NotAudio)))
    }

    fn our_offer(&self, wish: Direction, rules: &MediaRules, secrets: &Secrets) -> Result<Audio, MediaRefusal> {
        let formats = || rules.formats.iter().copied().take(FORMATS_MAX);
        let first = formats().next().ok_or(MediaRefusal::NoCodec)?;
        let (profile, crypto) = self.our_protection(rules, secrets)?;
        let mut payloads: Vec<Payload> = Vec::new();
        for format in formats().filter(|format| format.channels == 1) {
            if !payloads.iter().any(|payload| payload.is(format)) {
                let number = self.number_of(format, &payloads);
                payloads.push(Payload { number, codec: format.codec, clock_hz: format.clock_hz });
            }
        }
        let events = self.our_events(&payloads);
        let rtcp = agree::rtcp_line(self.local);
        Ok(Audio {
            profile,
            address: self.local.rtp,
            rtcp,
            rtcp_mux: rules.rtcp_mux,
            direction: wish,
            payloads,
            events,
            packet_ms: Some(first.packet_ms.into()),
            packet_max_ms: Some(PACKET_MS_MAX),
            crypto,
            crypto_fault: None,
            extensions: rules.extensions,
        })
    }

    /// A change repeats the key in use, so that its streams go on; a first offer has a key for each suite.
    fn our_protection(
        &self,
        rules: &MediaRules,
        secrets: &Secrets,
    ) -> Result<(Profile, Vec<CryptoLine>), MediaRefusal> {
        let must = match rules.security {
            MediaSecurity::Never => return Ok((Profile::default(), Vec::new())),
            MediaSecurity::Optional => false,
            MediaSecurity::Required => true,
        };
        let profile = Profile { secure: must, feedback: false };
        if !rules.keys_may_cross {
            return if must { Err(MediaRefusal::KeysInClear) } else { Ok((profile, Vec::new())) };
        }
        match self.agreed.as_ref() {
            Some(Agreed { crypto: Some(line), profile, .. }) => Ok((*profile, vec![line.clone()])),
            Some(Agreed { crypto: None, profile, .. }) if !must => Ok((*profile, Vec::new())),
            // Best effort: keys under RTP/AVP, which a peer that knows none of it ignores.
            Some(_) | None => Ok((profile, agree::lines_for_all_suites(secrets))),
        }
    }

    /// A number once given stays; else the usual one, else any that is free.
    fn number_of(&self, format: Format, taken: &[Payload]) -> u8 {
        let (payloads, events) = self.numbers();
        if let Some(known) = payloads.iter().find(|payload| payload.is(format)) {
            return known.number;
        }
        let is_free = |number: &u8| {
            !taken.iter().chain(payloads).any(|payload| payload.number == *number)
                && !events.iter().any(|event| event.number == *number)
                && !EVENT_NUMBERS.iter().any(|(_, event)| event == number)
        };
        let usual = match format.codec {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
            Codec::G722 => 9,
            Codec::Opus => 111,
            Codec::L16 => 96,
        };
        std::iter::once(usual).chain(96..=127).find(is_free).unwrap_or(usual)
    }

    /// One for each clock in use and always the one of plain telephones.
    fn our_events(&self, payloads: &[Payload]) -> Vec<EventPayload> {
        let (numbers, known) = self.numbers();
        let used = |clock_hz: u32| clock_hz == 8000 || payloads.iter().any(|payload| payload.clock_hz == clock_hz);
        let events = EVENT_NUMBERS.into_iter().filter(|(clock_hz, _)| used(*clock_hz));
        let numbered = events.map(|(clock_hz, usual)| {
            let is_free = |number: &u8| {
                !payloads.iter().chain(numbers).any(|payload| payload.number == *number)
                    && !known.iter().any(|event| event.number == *number)
            };
            let number = known.iter().find(|event| event.clock_hz == clock_hz).map(|event| event.number);
            let number = number.or_else(|| std::iter::once(usual).chain(96..=127).find(is_free));
            EventPayload { number: number.unwrap_or(usual), clock_hz }
        });
        numbered.collect()
    }

    fn numbers(&self) -> (&[Payload], &[EventPayload]) {
        self.agreed.as_ref().map_or((&[], &[]), |agreed| (&agreed.payloads, &agreed.events))
    }

    /// Our description around this line; its version rises if it differs from the last.
    fn say(&mut self, audio: &Audio) -> SdpText {
        let lines = self.lines.iter().map(|place| match place {
            Place::Audio => OurLine::Audio(audio),
            Place::Refused(shape) => OurLine::Refused(shape),
        });
        let lines: Vec<_> = lines.collect();
        let mut text = description(self.session, self.version, self.local.rtp.ip(), &lines);
        if text != self.said.0 {
            self.version += 1;
            text = description(self.session, self.version, self.local.rtp.ip(), &lines);
        }
        self.said = SdpText(text);
        self.said.clone()
    }
}

/// Clock and usual payload type of telephone events (Hz).
const EVENT_NUMBERS: [(u32, u8); 3] = [(8000, 101), (48_000, 100), (16_000, 99)];
/// The longest packets we take (ms): three frames, as the configuration's longest.
const PACKET_MS_MAX: u16 = 60;
