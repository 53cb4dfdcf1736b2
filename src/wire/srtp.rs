//! SRTP and SRTCP (RFC 3711, RFC 6188 for the 256-bit derivation, RFC 7714): packets sealed and opened in place, on
//! audited primitives, without allocation.
//!
//! [`SessionKeys`] does one packet whose index is an argument; [`Sealer`] and [`Opener`] are the two ends of one
//! direction, which know the index: roll-over counters, replay windows, SSRCs. Neither knows who may send. A packet
//! that was not made with these keys is an [`SrtpFault`] and stays in the buffer as it came.

mod derive;
mod opener;
mod sealer;
mod shield;
mod streams;
mod transform;
mod window;

use std::fmt;

use super::WriteFault;
use transform::Transform;

pub use opener::Opener;
pub use sealer::Sealer;
pub use shield::Shield;
pub use streams::STREAMS_MAX;
pub use window::REPLAY_WINDOW;

/// A protection profile by its SDES name (RFC 4568 section 6.2, RFC 7714 section 14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    /// AES in counter mode, HMAC-SHA1 cut to 80 bits.
    AesCm128HmacSha1_80,
    /// The same with 32 bits on RTP; RTCP keeps 80.
    AesCm128HmacSha1_32,
    /// AES-128 in Galois counter mode, 128-bit tags.
    AeadAes128Gcm,
    /// AES-256 in Galois counter mode, 128-bit tags.
    AeadAes256Gcm,
}

impl Suite {
    /// Strongest first: the order in which we offer them.
    pub const ALL: [Self; 4] =
        [Self::AeadAes256Gcm, Self::AeadAes128Gcm, Self::AesCm128HmacSha1_80, Self::AesCm128HmacSha1_32];

    /// As SDP writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// By its name; `None` for a suite we do not speak.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name() == name)
    }

    /// Master key (bytes).
    pub fn key_bytes(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 | Self::AeadAes128Gcm => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Master salt (bytes).
    pub fn salt_bytes(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }

    fn tag_bytes(self, kind: Kind) -> usize {
        match (self, kind) {
            (Self::AesCm128HmacSha1_80, _) | (Self::AesCm128HmacSha1_32, Kind::Rtcp) => 10,
            (Self::AesCm128HmacSha1_32, Kind::Rtp) => 4,
            (Self::AeadAes128Gcm | Self::AeadAes256Gcm, _) => 16,
        }
    }
}

/// The most a packet grows by: a tag, and the index of SRTCP (bytes).
pub const GROWTH_BYTES_MAX: usize = 20;
/// Keys and salts of every suite fit this (bytes).
pub const MASTER_BYTES_MAX: usize = 44;

/// A master key and its salt, as exchanged. Never shown; wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    suite: Suite,
    bytes: zeroize::Zeroizing<[u8; MASTER_BYTES_MAX]>,
}

impl MasterKey {
    /// Key and salt, one after the other; `None` if they are not as long as the suite wants.
    pub fn new(suite: Suite, key_and_salt: &[u8]) -> Option<Self> {
        let mut bytes = zeroize::Zeroizing::new([0; MASTER_BYTES_MAX]);
        if key_and_salt.len() != suite.key_bytes() + suite.salt_bytes() {
            return None;
        }
        bytes[..key_and_salt.len()].copy_from_slice(key_and_salt);
        Some(Self { suite, bytes })
    }

    /// Which suite it is for.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Key and salt, one after the other, for the peer's eyes only.
    pub fn expose(&self) -> &[u8] {
        &self.bytes[..self.suite.key_bytes() + self.suite.salt_bytes()]
    }

    fn key(&self) -> &[u8] {
        &self.bytes[..self.suite.key_bytes()]
    }

    /// Filled up with zeros on the right (RFC 7714 section 11).
    fn salt(&self) -> [u8; 14] {
        let mut salt = [0; 14];
        let from = self.suite.key_bytes();
        salt[..self.suite.salt_bytes()].copy_from_slice(&self.bytes[from..from + self.suite.salt_bytes()]);
        salt
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({}, not shown)", self.suite.name())
    }
}

/// Why a packet was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtpFault {
    /// Too short for a header, an index and a tag.
    Truncated,
    /// Not made with these keys, or changed on its way.
    Authentication,
    /// SRTCP that says it is not encrypted; we never agreed to that.
    Unencrypted,
    /// Came before, or so late that nobody can tell: more than [`REPLAY_WINDOW`] packets behind the newest.
    Replayed,
    /// Of one stream more than [`STREAMS_MAX`].
    Streams,
    /// The stream is past the last index a key may be used with.
    Exhausted,
}

impl SrtpFault {
    /// How many there are.
    pub const COUNT: usize = Self::Exhausted as usize + 1;
}

/// Why a packet was not sealed, and must not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealFault {
    /// The buffer has no room for what a packet grows by.
    NoRoom,
    /// What lies there is no RTP packet, or no RTCP compound.
    NoPacket,
    /// Sealed before under this SSRC: a second time would show what both hide.
    Repeated,
    /// Of one stream more than [`STREAMS_MAX`].
    Streams,
    /// The key has been used as often as it may be.
    Exhausted,
}

/// Which of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rtp,
    Rtcp,
}

/// What one direction of one call seals or opens with.
#[derive(Clone)]
pub struct SessionKeys {
    suite: Suite,
    rtp: Transform,
    rtcp: Transform,
}

impl SessionKeys {
    /// Derives them (RFC 3711 section 4.3, key derivation rate zero).
    pub fn derive(master: &MasterKey) -> Self {
        let suite = master.suite;
        Self { suite, rtp: derive::transform(master, Kind::Rtp), rtcp: derive::transform(master, Kind::Rtcp) }
    }

    /// Seals the RTP packet in the first `length` bytes, of which `header` are header; returns its new length.
    /// `index` is the packet's number in its stream, roll-overs and sequence.
    pub fn seal_rtp(&self, buffer: &mut [u8], header: usize, length: usize, index: u64) -> Result<usize, WriteFault> {
        let sealed = length + self.suite.tag_bytes(Kind::Rtp);
        if buffer.len() < sealed || header < 12 || length < header {
            return Err(WriteFault::NoRoom);
        }
        self.rtp.seal_rtp(&mut buffer[..sealed], header, length, index);
        Ok(sealed)
    }

    /// Opens an SRTP packet of which `header` bytes are header; returns the length of the RTP packet in front.
    pub fn open_rtp(&self, packet: &mut [u8], header: usize, index: u64) -> Result<usize, SrtpFault> {
        let length = packet.len().checked_sub(self.suite.tag_bytes(Kind::Rtp)).ok_or(SrtpFault::Truncated)?;
        if header < 12 || length < header {
            return Err(SrtpFault::Truncated);
        }
        self.rtp.open_rtp(packet, header, length, index)?;
        Ok(length)
    }

    /// Seals the RTCP compound in the first `length` bytes; returns its new length.
    pub fn seal_rtcp(&self, buffer: &mut [u8], length: usize, index: u32) -> Result<usize, WriteFault> {
        let sealed = length + self.suite.tag_bytes(Kind::Rtcp) + INDEX_BYTES;
        if buffer.len() < sealed || length < RTCP_HEADER_BYTES {
            return Err(WriteFault::NoRoom);
        }
        if index > RTCP_INDEX_MAX {
            return Err(WriteFault::OutOfRange);
        }
        self.rtcp.seal_rtcp(&mut buffer[..sealed], length, index | ENCRYPTED);
        Ok(sealed)
    }

    /// The index an SRTCP packet carries, to be looked up in a replay window before it is believed.
    pub fn rtcp_index(&self, packet: &[u8]) -> Result<u32, SrtpFault> {
        let word = self.rtcp_word(packet)?;
        if word & ENCRYPTED == 0 { Err(SrtpFault::Unencrypted) } else { Ok(word & RTCP_INDEX_MAX) }
    }

    /// Opens an SRTCP packet; returns the length of the compound in front.
    pub fn open_rtcp(&self, packet: &mut [u8]) -> Result<usize, SrtpFault> {
        self.rtcp_index(packet)?;
        let word = self.rtcp_word(packet)?;
        let length = packet.len() - self.suite.tag_bytes(Kind::Rtcp) - INDEX_BYTES;
        self.rtcp.open_rtcp(packet, length, word)?;
        Ok(length)
    }

    /// The E bit and the index. HMAC suites end with the tag (RFC 3711 section 3.4), the others with this word
    /// (RFC 7714 section 9.2).
    fn rtcp_word(&self, packet: &[u8]) -> Result<u32, SrtpFault> {
        let tag = self.suite.tag_bytes(Kind::Rtcp);
        let length = packet.len().checked_sub(tag + INDEX_BYTES).ok_or(SrtpFault::Truncated)?;
        if length < RTCP_HEADER_BYTES {
            return Err(SrtpFault::Truncated);
        }
        let at = if self.rtcp.tag_comes_last() { length } else { length + tag };
        let word = packet[at..].first_chunk::<INDEX_BYTES>().ok_or(SrtpFault::Truncated)?;
        Ok(u32::from_be_bytes(*word))
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKeys({}, not shown)", self.suite.name())
    }
}

/// The E bit and the index of SRTCP (bytes).
const INDEX_BYTES: usize = 4;
const ENCRYPTED: u32 = 1 << 31;
/// The last index a key may be used with (RFC 3711 section 9.2).
pub const RTCP_INDEX_MAX: u32 = ENCRYPTED - 1;
/// The same of RTP.
pub const RTP_INDEX_MAX: u64 = (1 << 48) - 1;
/// What stays in the clear of a compound.
const RTCP_HEADER_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().filter_map(|digit| Some(digit.to_digit(16)? as u8)).collect();
        digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect()
    }

    fn keys(suite: Suite) -> SessionKeys {
        let secret: Vec<u8> = (0..suite.key_bytes() + suite.salt_bytes()).map(|at| at as u8 * 5 + 1).collect();
        SessionKeys::derive(&MasterKey::new(suite, &secret).unwrap())
    }

    /// The session keys of RFC 7714 section 16 stand in for derived ones.
    fn galois(transform: Transform, suite: Suite) -> SessionKeys {
        SessionKeys { suite, rtp: transform.clone(), rtcp: transform }
    }

    const SALT: &str = "517569642070726f2071756f 0000";
    const RTP: &str = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976
                       69736120 696e2070 61727465 73207472 6573";
    const RTCP: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
                        deadbeef deadbeef deadbeef deadbeef deadbeef";

    #[test]
    fn galois_packets_are_those_of_rfc_7714_section_16() {
        let salt = bytes(SALT).try_into().unwrap();
        let short: Vec<u8> = (0..16).collect();
        let long: Vec<u8> = (0..32).collect();
        let short = galois(Transform::galois_128(&short, salt), Suite::AeadAes128Gcm);
        let long = galois(Transform::galois_256(&long, salt), Suite::AeadAes256Gcm);
        let sealed = [
            "f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833
             899d7f27 beb16a91 52cf765e e4390cce",
            "32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b
             7aa3db36 dfffd6b0 f9bb7878 d7a76c13",
        ];
        for (keys, sealed) in [&short, &long].into_iter().zip(sealed) {
            let plain = bytes(RTP);
            let mut packet = plain.clone();
            packet.resize(plain.len() + 16, 0);
            assert_eq!(keys.seal_rtp(&mut packet, 12, plain.len(), 0xf17b), Ok(packet.len()));
            assert_eq!(packet[..12], plain[..12], "the header stays in the clear");
            assert_eq!(packet[12..], bytes(sealed));
            assert_eq!(keys.open_rtp(&mut packet, 12, 0xf17b), Ok(plain.len()));
            assert_eq!(packet[..plain.len()], plain);
        }
        let plain = bytes(RTCP);
        let mut packet = plain.clone();
        packet.resize(plain.len() + 20, 0);
        assert_eq!(short.seal_rtcp(&mut packet, plain.len(), 0x5d4), Ok(packet.len()));
        let sealed = "63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda
                      4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4";
        assert_eq!(packet[8..], bytes(sealed));
        assert_eq!((short.rtcp_index(&packet), short.open_rtcp(&mut packet)), (Ok(0x5d4), Ok(plain.len())));
        assert_eq!(packet[..plain.len()], plain);
    }

    #[test]
    fn what_one_end_seals_the_other_opens_and_every_change_is_noticed() {
        for suite in Suite::ALL {
            let keys = keys(suite);
            let (rtp, rtcp) = (bytes(RTP), bytes(RTCP));
            let mut sealed = rtp.clone();
            sealed.resize(rtp.len() + GROWTH_BYTES_MAX, 0);
            let index = 0x7_0000_f17b;
            let length = keys.seal_rtp(&mut sealed, 12, rtp.len(), index).unwrap();
            sealed.truncate(length);
            assert_ne!(sealed[12..rtp.len()], rtp[12..], "{suite:?} hides the payload");
            for bit in 0..length * 8 {
                let mut changed = sealed.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(keys.open_rtp(&mut changed, 12, index), Err(SrtpFault::Authentication), "bit {bit}");
            }
            let elsewhere = keys.open_rtp(&mut sealed.clone(), 12, index + (1 << 16));
            assert_eq!(elsewhere, Err(SrtpFault::Authentication), "the roll-over counts");
            assert_eq!(keys.open_rtp(&mut sealed, 12, index), Ok(rtp.len()));
            assert_eq!(sealed[..rtp.len()], rtp);

            let mut sealed = rtcp.clone();
            sealed.resize(rtcp.len() + GROWTH_BYTES_MAX, 0);
            let length = keys.seal_rtcp(&mut sealed, rtcp.len(), 7).unwrap();
            sealed.truncate(length);
            for bit in 0..length * 8 {
                let mut changed = sealed.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(keys.open_rtcp(&mut changed).is_err(), "bit {bit}");
            }
            assert_eq!((keys.rtcp_index(&sealed), keys.open_rtcp(&mut sealed)), (Ok(7), Ok(rtcp.len())));
            assert_eq!(sealed[..rtcp.len()], rtcp);
        }
    }

    #[test]
    fn short_packets_and_full_buffers_are_refused_and_no_key_is_shown() {
        for suite in Suite::ALL {
            let keys = keys(suite);
            for length in 0..32 {
                let mut packet = vec![0x80; length];
                assert!(keys.open_rtp(&mut packet, 12, 1).is_err());
                assert!(keys.open_rtcp(&mut packet).is_err());
                assert_eq!(keys.seal_rtp(&mut packet, 12, length, 1), Err(WriteFault::NoRoom));
                assert_eq!(keys.seal_rtcp(&mut packet, length, 1), Err(WriteFault::NoRoom));
            }
            let mut room = [0; 64];
            assert_eq!(keys.seal_rtcp(&mut room, 16, RTCP_INDEX_MAX + 1), Err(WriteFault::OutOfRange));
            let secret = vec![0x41; suite.key_bytes() + suite.salt_bytes()];
            let shown = format!("{:?} {keys:?}", MasterKey::new(suite, &secret).unwrap());
            assert!(!shown.contains("41") && !shown.contains("65"), "{shown}");
            assert!(MasterKey::new(suite, &secret[1..]).is_none());
        }
    }
}
