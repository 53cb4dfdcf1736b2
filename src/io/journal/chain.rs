//! The chain that makes a stream's history tamper-evident, and its redacted form.
//!
//! `digest(n) = H(digest(n-1) || envelope || H(salt || payload))`, H being SHA-256. The inner digest lets an
//! export withhold a payload and still verify; the salt keeps a withheld payload from being guessed. The chain
//! carries no key: it shows damage and tampering by whoever cannot rewrite every copy, it does not stop root.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::record::{Envelope, Record};
use super::stream::Stream;

/// SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

/// Sixteen bytes of the operating system's randomness.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

impl Digest {
    /// Of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
    /// Where a stream's chain begins.
    pub fn genesis(stream: &Stream) -> Self {
        Self(Sha256::new().chain_update(CHAIN_NAME).chain_update(stream.to_string()).finalize().into())
    }
    /// Of a payload under its salt: what stands in for a redacted payload.
    pub fn of_payload(salt: &Salt, payload: &[u8]) -> Self {
        Self(Sha256::new().chain_update(salt.0).chain_update(payload).finalize().into())
    }
    /// The next link.
    pub fn chained(self, envelope: &Envelope, payload: Digest) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        for number in [envelope.position, envelope.seq, envelope.epoch, u64::from(envelope.schema)] {
            hash.update(number.to_be_bytes());
        }
        hash.update(envelope.node.0.to_be_bytes());
        hash.update(envelope.wall.0.to_be_bytes());
        hash.update([u8::from(envelope.cause.is_some())]);
        let cause = envelope.cause.as_deref().unwrap_or_default();
        for text in [&envelope.stream.to_string(), &envelope.actor, &envelope.kind, cause] {
            hash.update((text.len() as u64).to_be_bytes()); // so that no two envelopes hash the same bytes
            hash.update(text);
        }
        hash.update(payload.0);
        Self(hash.finalize().into())
    }
}

/// A record as it leaves the house: with its payload, or with that payload's digest only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedactedRecord {
    /// Always shown: it is what the chain orders.
    pub envelope: Envelope,
    /// Shown or withheld.
    pub payload: ExportedPayload,
    /// The chain up to and including this record.
    pub digest: Digest,
}

/// What an export says of a payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ExportedPayload {
    /// Whole.
    Shown {
        /// Needed to verify.
        salt: Salt,
        /// JSON text exactly as journalled.
        text: String,
    },
    /// Only `H(salt || payload)`.
    Withheld(Digest),
}

/// The record without its payload.
pub fn redact(record: &Record) -> RedactedRecord {
    let payload = ExportedPayload::Withheld(Digest::of_payload(&record.salt, &record.payload));
    RedactedRecord { envelope: record.envelope.clone(), payload, digest: record.digest }
}

/// The record with its payload, in the same form.
pub fn expose(record: &Record) -> RedactedRecord {
    let text = String::from_utf8_lossy(&record.payload).into_owned(); // lossless: append refuses what is not UTF-8
    let payload = ExportedPayload::Shown { salt: record.salt, text };
    RedactedRecord { envelope: record.envelope.clone(), payload, digest: record.digest }
}

/// What is wrong at a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakKind {
    /// The record of this sequence is not there, another one is.
    Missing,
    /// Records up to the end that the stream's head tells of are not there.
    TailMissing,
    /// Envelope, payload or digest is not what was written.
    Altered,
}

/// Where a chain breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainBreak {
    /// The stream.
    pub stream: Stream,
    /// The first sequence that cannot be trusted.
    pub seq: u64,
    /// What is wrong there.
    pub what: BreakKind,
}

impl fmt::Display for ChainBreak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            BreakKind::Missing => "is missing",
            BreakKind::TailMissing => "and all after it are missing",
            BreakKind::Altered => "is not what was written",
        };
        write!(f, "{}: record {} {what}", self.stream, self.seq)
    }
}

impl std::error::Error for ChainBreak {}

/// One stream's chain as far as it has been followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// The stream.
    pub stream: Stream,
    /// The last sequence; 0 at genesis.
    pub seq: u64,
    /// The chain up to it.
    pub digest: Digest,
}

impl ChainHead {
    /// Before a stream's first record.
    pub fn genesis(stream: Stream) -> Self {
        let digest = Digest::genesis(&stream);
        Self { stream, seq: 0, digest }
    }
    /// Follows one more record, given its payload's digest.
    pub fn follow(&mut self, envelope: &Envelope, payload: Digest, digest: Digest) -> Result<(), ChainBreak> {
        let broken = |what| ChainBreak { stream: self.stream.clone(), seq: self.seq + 1, what };
        if envelope.stream != self.stream || envelope.seq != self.seq + 1 {
            return Err(broken(BreakKind::Missing));
        }
        if self.digest.chained(envelope, payload) != digest {
            return Err(broken(BreakKind::Altered));
        }
        self.seq += 1;
        self.digest = digest;
        Ok(())
    }
}

/// Verifies one stream's export from its first record on, redacted or not, and gives its head.
/// An empty export has no head.
pub fn verify_chain<'a>(
    records: impl IntoIterator<Item = &'a RedactedRecord>,
) -> Result<Option<ChainHead>, ChainBreak> {
    let mut head: Option<ChainHead> = None;
    for record in records {
        let head = head.get_or_insert_with(|| ChainHead::genesis(record.envelope.stream.clone()));
        let payload = match &record.payload {
            ExportedPayload::Shown { salt, text } => Digest::of_payload(salt, text.as_bytes()),
            ExportedPayload::Withheld(digest) => *digest,
        };
        head.follow(&record.envelope, payload, record.digest)?;
    }
    Ok(head)
}

macro_rules! hexadecimal {
    ($name:ident, $bytes:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                let mut bytes = [0; $bytes];
                let digits = text.as_bytes();
                let lower_hex = |c: &u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
                if digits.len() != 2 * $bytes || !digits.iter().all(lower_hex) {
                    return Err(serde::de::Error::custom(concat!("not ", $bytes, " bytes in lower-case hex")));
                }
                let value = |c: u8| if c.is_ascii_digit() { c - b'0' } else { c - b'a' + 10 };
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    *byte = value(pair[0]) << 4 | value(pair[1]);
                }
                Ok(Self(bytes))
            }
        }
    };
}

hexadecimal!(Digest, 32);
hexadecimal!(Salt, 16);

const CHAIN_NAME: &[u8] = b"crosspatch journal chain 1\0";
