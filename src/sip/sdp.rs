//! Session descriptions (RFC 8866) as far as a call needs them: audio lines as values, every other line as its shape,
//! so that an answer can refuse it in its place.
//!
//! Not a negotiation: see [`super::offer`]. Reads through `sdp-types`, whose types end here; writes by itself, so that
//! the keys in a description lie in memory that is wiped. What is too much, or no description, is an [`SdpFault`].

mod read;
mod write;

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::sdes::{CryptoFault, CryptoLine};
use crate::domain::audio::{Codec, Format};
use crate::domain::port::ExtensionIds;

pub(super) use write::{OurLine, description};

/// What a peer described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its media lines in order, at most [`LINES_MAX`].
    pub lines: Vec<Line>,
}

/// One media line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An RTP audio line with a port.
    Audio(Box<Audio>, Shape),
    /// Any other, and why it is not used.
    Refused(Shape, SdpFault),
}

/// What an answer repeats of a line it refuses: never a line break in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// `audio`, `video` and so on.
    pub media: String,
    /// `RTP/AVP` and so on.
    pub profile: String,
    /// Payload types or whatever stands there.
    pub formats: String,
}

/// An audio line, its peer's or ours. Directions and numbers are as its sender wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audio {
    /// The RTP profile.
    pub profile: Profile,
    /// Where its sender wants RTP. An unspecified address is the old way to say hold (RFC 3264 section 8.4).
    pub address: SocketAddr,
    /// Where it wants RTCP, if not one port above (RFC 3605).
    pub rtcp: Option<SocketAddr>,
    /// RTCP may come where RTP comes (RFC 5761).
    pub rtcp_mux: bool,
    /// What its sender will do.
    pub direction: Direction,
    /// Codecs we know, in its sender's order.
    pub payloads: Vec<Payload>,
    /// Telephone events (RFC 4733), one for each clock.
    pub events: Vec<EventPayload>,
    /// The packet time it likes to receive (ms).
    pub packet_ms: Option<u16>,
    /// The longest it can receive (ms).
    pub packet_max_ms: Option<u16>,
    /// Its keys, in its order.
    pub crypto: Vec<CryptoLine>,
    /// Why the first key line that is not among them is of no use.
    pub crypto_fault: Option<CryptoFault>,
    /// Header extensions we know.
    pub extensions: ExtensionIds,
}

/// `RTP/AVP` and its relatives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// SRTP: an S.
    pub secure: bool,
    /// RTCP feedback: an F. We send none and may be sent some.
    pub feedback: bool,
}

/// A payload type of a codec we know, one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// 0 to 127, never what could be taken for RTCP.
    pub number: u8,
    /// The codec.
    pub codec: Codec,
    /// RTP clock (Hz): of G.722 it is 8,000, whatever its sample rate (RFC 3551 section 4.5.2).
    pub clock_hz: u32,
}

impl Payload {
    /// Whether it is this format, whatever the packet time.
    pub fn is(&self, format: Format) -> bool {
        (self.codec, self.clock_hz) == (format.codec, format.clock_hz)
    }
}

/// A payload type of telephone events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventPayload {
    /// 0 to 127.
    pub number: u8,
    /// What its sender says it counts in (Hz); not to be trusted: see [`crate::wire::telephone_event`].
    pub clock_hz: u32,
}

/// Who sends, seen from the one who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Both.
    SendRecv,
    /// Its writer.
    SendOnly,
    /// The other.
    RecvOnly,
    /// Nobody.
    Inactive,
}

impl Direction {
    /// From its two halves.
    pub fn of(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// Whether its writer sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether its writer receives.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// What is left to one who wants this if the other wrote that (RFC 3264 section 6.1).
    pub fn against(self, other: Self) -> Self {
        Self::of(self.sends() && other.receives(), self.receives() && other.sends())
    }

    fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// Why a description, or one line of it, is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SdpFault {
    /// Not the form of RFC 8866.
    Form,
    /// More than one of our limits.
    Limit(SdpLimit),
    /// A line that is not audio.
    NotAudio,
    /// A line with port 0: its sender does not want it.
    Rejected,
    /// A transport that is not RTP with or without SDES keys, such as DTLS.
    Profile,
    /// Not one unicast IPv4 or IPv6 address: we resolve no names for media.
    Address,
}

/// What a description may have too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SdpLimit {
    /// [`SDP_BYTES_MAX`].
    Bytes,
    /// [`LINES_MAX`].
    Lines,
    /// [`ATTRIBUTES_MAX`].
    Attributes,
    /// [`FORMATS_MAX`].
    Formats,
    /// [`CRYPTO_LINES_MAX`].
    CryptoLines,
    /// [`SHAPE_BYTES_MAX`].
    Shape,
}

impl fmt::Display for SdpFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SdpFault::Form => "the session description is malformed",
            SdpFault::Limit(SdpLimit::Bytes) => "the session description is too long",
            SdpFault::Limit(SdpLimit::Lines) => "the session description has too many media lines",
            SdpFault::Limit(SdpLimit::Attributes) => "the session description has too many attributes",
            SdpFault::Limit(SdpLimit::Formats) => "a media line has too many formats",
            SdpFault::Limit(SdpLimit::CryptoLines) => "a media line has too many crypto lines",
            SdpFault::Limit(SdpLimit::Shape) => "a media line is too long",
            SdpFault::NotAudio => "no audio is offered",
            SdpFault::Rejected => "audio was rejected",
            SdpFault::Profile => "audio is not offered as RTP/AVP or RTP/SAVP",
            SdpFault::Address => "audio has no unicast IP address",
        })
    }
}

/// A browser's offer with video has 8 KiB (bytes).
pub const SDP_BYTES_MAX: usize = 16_384;
/// Audio, video, slides, text, and as much again.
pub const LINES_MAX: usize = 16;
/// Of the session and all its lines together.
pub const ATTRIBUTES_MAX: usize = 256;
/// Of one line; a browser lists 13.
pub const FORMATS_MAX: usize = 64;
/// Of one line; the longest list seen in phones has 8.
pub const CRYPTO_LINES_MAX: usize = 16;
/// What is repeated of one refused line (bytes).
pub const SHAPE_BYTES_MAX: usize = 512;

/// Our keying element (docs/wire.md) as `a=extmap` names it.
pub const KEYING_URI: &str = "urn:x-crosspatch:rtp-hdrext:keying";
/// The talker's alias.
pub const TALKER_URI: &str = "urn:x-crosspatch:rtp-hdrext:talker";
/// RFC 6464.
pub const LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
