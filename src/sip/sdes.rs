//! SRTP keys in SDP: the `a=crypto` attribute (RFC 4568, RFC 7714 section 14).
//!
//! One key in each line, no master key identifier. A line we do not understand whole is no line: half-understood
//! protection is none. The text of a line is a secret like the key in it; ours is wiped when dropped.

use std::fmt;

use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, encoded_len};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use zeroize::Zeroizing;

use crate::wire::srtp::{MASTER_BYTES_MAX, MasterKey, RTP_INDEX_MAX, Suite};

/// One way to protect what its sender sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CryptoLine {
    /// Its number in the offer; the answer repeats it. 1 to 9 digits.
    pub tag: u32,
    /// Suite, key and salt.
    pub key: MasterKey,
    /// Packets its sender will protect with it at most; up to [`LIFETIME_PACKETS_MAX`].
    pub lifetime_packets: u64,
}

/// What RFC 3711 allows a key, and what a line means that names no lifetime (packets).
pub const LIFETIME_PACKETS_MAX: u64 = RTP_INDEX_MAX + 1;

/// Why a line is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CryptoFault {
    /// Not tag, suite, key and parameters in the form of RFC 4568 section 9.
    Form,
    /// A suite we do not speak.
    Suite,
    /// A key that is not given in the line, or several keys.
    KeyMethod,
    /// Not base64, or not as long as the suite wants.
    Key,
    /// Zero, or more than RFC 3711 allows.
    Lifetime,
    /// A master key identifier: we keep one key for a stream.
    Identifier,
    /// A session parameter that we must understand and do not, or that would weaken the protection.
    Parameter,
}

impl fmt::Display for CryptoFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CryptoFault::Form => "the crypto line has not the form of RFC 4568",
            CryptoFault::Suite => "no common crypto suite",
            CryptoFault::KeyMethod => "the crypto line must hold one inline key",
            CryptoFault::Key => "the key is not as long as its suite wants",
            CryptoFault::Lifetime => "the key's lifetime is not 1 to 2^48 packets",
            CryptoFault::Identifier => "master key identifiers are not supported",
            CryptoFault::Parameter => "a session parameter of the crypto line is not supported",
        })
    }
}

impl CryptoLine {
    /// Reads the attribute's value, what follows `a=crypto:`.
    pub fn parse(value: &str) -> Result<Self, CryptoFault> {
        let mut words = value.split([' ', '\t']).filter(|word| !word.is_empty());
        let mut word = || words.next().ok_or(CryptoFault::Form);
        let (tag, suite, keys) = (word()?, word()?, word()?);
        if !(1..=TAG_DIGITS_MAX).contains(&tag.len()) {
            return Err(CryptoFault::Form);
        }
        let tag = digits(tag).ok_or(CryptoFault::Form)? as u32;
        let suite = Suite::named(suite).ok_or(CryptoFault::Suite)?;
        let (method, key) = keys.split_once(':').ok_or(CryptoFault::Form)?;
        if !method.eq_ignore_ascii_case("inline") || key.contains(';') {
            return Err(CryptoFault::KeyMethod);
        }
        let mut parts = key.split('|');
        let key = read_key(suite, parts.next().unwrap_or_default())?;
        let mut lifetime_packets = LIFETIME_PACKETS_MAX;
        for (at, part) in parts.enumerate() {
            match (at, part.contains(':')) {
                (0, false) => lifetime_packets = read_lifetime(part)?,
                (0 | 1, true) => return Err(CryptoFault::Identifier),
                (_, _) => return Err(CryptoFault::Form),
            }
        }
        if words.all(is_harmless) { Ok(Self { tag, key, lifetime_packets }) } else { Err(CryptoFault::Parameter) }
    }

    /// The attribute's value; for the peer's eyes only.
    pub fn to_value(&self) -> Zeroizing<String> {
        // One allocation, so that no half-written copy stays behind.
        let mut text = Zeroizing::new(String::with_capacity(VALUE_BYTES_MAX));
        text.push_str(&self.tag.to_string());
        text.push(' ');
        text.push_str(self.key.suite().name());
        text.push_str(" inline:");
        let mut encoded = Zeroizing::new([0; ENCODED_BYTES_MAX]);
        let length = BASE64.encode_slice(self.key.expose(), encoded.as_mut()).expect("room for the longest key");
        text.push_str(std::str::from_utf8(&encoded[..length]).expect("base64 is ASCII"));
        if self.lifetime_packets != LIFETIME_PACKETS_MAX {
            text.push('|');
            text.push_str(&self.lifetime_packets.to_string());
        }
        text
    }
}

/// As it stands in a description: for records that are sealed, and for nothing else.
impl Serialize for CryptoLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_value())
    }
}

impl<'de> Deserialize<'de> for CryptoLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Zeroizing::new(String::deserialize(deserializer)?);
        Self::parse(&value).map_err(de::Error::custom)
    }
}

/// A key alone, in sealed records.
pub(super) mod sealed_key {
    use super::*;

    pub fn serialize<S: Serializer>(key: &MasterKey, serializer: S) -> Result<S::Ok, S::Error> {
        let line = CryptoLine { tag: 1, key: key.clone(), lifetime_packets: LIFETIME_PACKETS_MAX };
        ser::Serialize::serialize(&line, serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MasterKey, D::Error> {
        Ok(CryptoLine::deserialize(deserializer)?.key)
    }
}

fn read_key(suite: Suite, text: &str) -> Result<MasterKey, CryptoFault> {
    if text.len() > ENCODED_BYTES_MAX {
        return Err(CryptoFault::Key);
    }
    // The decoder reckons with whole groups of three bytes.
    let mut bytes = Zeroizing::new([0; MASTER_BYTES_MAX + 4]);
    let length = BASE64.decode_slice(text, bytes.as_mut()).map_err(|_| CryptoFault::Key)?;
    MasterKey::new(suite, &bytes[..length]).ok_or(CryptoFault::Key)
}

/// `1048576` or `2^20`.
fn read_lifetime(text: &str) -> Result<u64, CryptoFault> {
    let packets = match text.strip_prefix("2^") {
        Some(power) => digits(power).and_then(|power| 1u64.checked_shl(u32::try_from(power).ok()?)),
        None => digits(text),
    };
    packets.filter(|packets| (1..=LIFETIME_PACKETS_MAX).contains(packets)).ok_or(CryptoFault::Lifetime)
}

/// Session parameters of RFC 4568 section 6.3 that change nothing: the default key derivation rate, a hint for a replay
/// window (ours is twice what the RFC asks), and whatever its sender marked as optional.
fn is_harmless(parameter: &str) -> bool {
    parameter.starts_with('-')
        || parameter == "KDR=0"
        || parameter.strip_prefix("WSH=").is_some_and(|hint| digits(hint).is_some())
}

fn digits(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if all { text.parse().ok() } else { None }
}

/// Padding is written; some peers leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const TAG_DIGITS_MAX: usize = 9;
const ENCODED_BYTES_MAX: usize = match encoded_len(MASTER_BYTES_MAX, true) {
    Some(length) => length,
    None => 0,
};
/// Tag, the longest suite's name, `inline:`, key, lifetime, and what stands between.
const VALUE_BYTES_MAX: usize = TAG_DIGITS_MAX + 23 + 7 + ENCODED_BYTES_MAX + 15 + 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4568 section 9.2 and RFC 7714 section 14, with keys of our own.
    const GOOD: [&str; 5] = [
        "1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR",
        "999999999 AES_CM_128_HMAC_SHA1_32 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj|1048576",
        "2 AEAD_AES_128_GCM inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==",
        "3 AEAD_AES_256_GCM inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKis=",
        "4 AEAD_AES_128_GCM inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==|7",
    ];

    #[test]
    fn a_line_is_written_as_it_was_read() {
        for value in GOOD {
            let line = CryptoLine::parse(value).unwrap();
            assert_eq!(line.to_value().as_str(), value);
            assert!(value.len() <= VALUE_BYTES_MAX);
        }
        let first = CryptoLine::parse(GOOD[0]).unwrap();
        assert_eq!((first.tag, first.key.suite()), (1, Suite::AesCm128HmacSha1_80));
        assert_eq!(first.key.expose(), b"=-n@%^x!Bjufr9)?,#5h\\`=&]{qiPQ");
        assert_eq!(CryptoLine::parse(GOOD[3]).unwrap().key.expose(), (0..44).collect::<Vec<u8>>());
    }

    #[test]
    fn other_spellings_mean_the_same() {
        for value in [
            "1\tAES_CM_128_HMAC_SHA1_80  INLINE:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR|2^48",
            "01 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR KDR=0 WSH=64 -NEW=5",
        ] {
            assert_eq!(CryptoLine::parse(value), CryptoLine::parse(GOOD[0]), "{value}");
        }
        let unpadded = CryptoLine::parse(GOOD[3].trim_end_matches('='));
        assert_eq!(unpadded, CryptoLine::parse(GOOD[3]));
    }

    #[test]
    fn what_is_not_understood_whole_is_refused_by_name() {
        let key = "inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";
        let with = |tail: &str| CryptoLine::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 {key}{tail}")).unwrap_err();
        for tail in ["|1:4", "|2^20|1:4"] {
            assert_eq!(with(tail), CryptoFault::Identifier, "{tail}");
        }
        for tail in ["|0", "|2^49", "|2^64", "|2^", "|2^-1", "|x", "|281474976710657", "|99999999999999999999999"] {
            assert_eq!(with(tail), CryptoFault::Lifetime, "{tail}");
        }
        for tail in ["|7|7", "|7|1:4|8"] {
            assert!(matches!(with(tail), CryptoFault::Form | CryptoFault::Identifier), "{tail}");
        }
        for tail in [" KDR=1", " UNENCRYPTED_SRTP", " UNENCRYPTED_SRTCP", " UNAUTHENTICATED_SRTP", " NEW", " WSH=x"] {
            assert_eq!(with(tail), CryptoFault::Parameter, "{tail}");
        }
        assert_eq!(with(";inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR"), CryptoFault::KeyMethod);
        for (value, fault) in [
            ("", CryptoFault::Form),
            ("1", CryptoFault::Form),
            ("1 AES_CM_128_HMAC_SHA1_80", CryptoFault::Form),
            ("x AES_CM_128_HMAC_SHA1_80 inline:AAAA", CryptoFault::Form),
            ("-1 AES_CM_128_HMAC_SHA1_80 inline:AAAA", CryptoFault::Form),
            ("1234567890 AES_CM_128_HMAC_SHA1_80 inline:AAAA", CryptoFault::Form),
            ("1 F8_128_HMAC_SHA1_80 inline:AAAA", CryptoFault::Suite),
            ("1 AES_CM_128_HMAC_SHA1_80 uri:AAAA", CryptoFault::KeyMethod),
            ("1 AES_CM_128_HMAC_SHA1_80 inline:", CryptoFault::Key),
            ("1 AES_CM_128_HMAC_SHA1_80 inline:AAAA", CryptoFault::Key),
            ("1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVB*", CryptoFault::Key),
            ("1 AEAD_AES_256_GCM inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR", CryptoFault::Key),
        ] {
            assert_eq!(CryptoLine::parse(value), Err(fault), "{value:?}");
        }
    }

    #[test]
    fn no_key_is_shown() {
        let line = CryptoLine::parse(GOOD[0]).unwrap();
        let shown = format!("{line:?}");
        assert!(!shown.contains("PS1u") && !shown.contains("61, 45") && !shown.contains("=-n@"), "{shown}");
    }
}
