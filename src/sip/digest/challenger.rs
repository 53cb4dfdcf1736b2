//! The side that asks: issues nonces and judges answers.
//!
//! A nonce is a time, a number and a keyed hash of both, so none has to be remembered before its first good answer; from
//! then on its counts are, so that no answer is good twice. Whoever holds the registrar owns it. Not a lookup: whose
//! secret it is, the caller knows.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Algorithm, Authorization, Challenge, DigestSecret, Parts};
use crate::domain::time::MonoTime;

/// How long a nonce is good (ms): a phone registers more often, and an answer on paper is worthless after it.
pub const NONCE_LIFE_MS: u64 = 300_000;
/// Nonces whose counts are remembered: four for each of 1,000 phones within their life. Beyond, the oldest are stale.
pub const NONCES_MAX: usize = 4096;

/// What an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Who it says it is.
    Right,
    /// Made with the right secret, but for a nonce that is old, used up, or none of ours: ask again, saying so.
    Stale,
    /// Not made with that secret, or for another realm, or by an algorithm we did not offer.
    Wrong,
}

/// Asks, and judges what it is answered.
pub struct Challenger {
    realm: String,
    algorithms: Vec<Algorithm>,
    key: Hmac<Sha256>,
    issued: u32,
    counts: BTreeMap<NonceId, Counts>,
    /// Nonces up to this one are stale unless their counts are still known.
    forgotten: Option<NonceId>,
    /// Stands in for the secret of a user who does not exist, so that the answer takes as long.
    nobody: DigestSecret,
    evicted: u64,
    replayed: u64,
}

/// When it was issued, and which of that moment's it is: in order of issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct NonceId {
    at: MonoTime,
    number: u32,
}

/// Which counts were seen under a nonce: the highest, and the 64 up to it. Requests overtake each other on UDP.
#[derive(Clone, Copy, Debug)]
struct Counts {
    highest: u32,
    seen: u64,
}

impl Challenger {
    /// `key` is random and lives as long as this: after a restart every nonce is stale. The best algorithm is asked
    /// for first; a phone takes the first it knows (RFC 8760 section 2.4).
    pub fn new(realm: &str, algorithms: &[Algorithm], key: &Zeroizing<[u8; 32]>) -> Self {
        let mut algorithms = algorithms.to_vec();
        algorithms.sort();
        algorithms.dedup();
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(key.as_ref()).expect("HMAC takes a key of any length");
        let nobody = Algorithm::Sha256.hash(&["nobody", realm, &URL_SAFE_NO_PAD.encode(key.as_ref())]);
        let nobody = DigestSecret::new("nobody", realm, &nobody);
        Self {
            realm: realm.to_owned(),
            algorithms,
            key: mac,
            issued: 0,
            counts: BTreeMap::new(),
            forgotten: None,
            nobody,
            evicted: 0,
            replayed: 0,
        }
    }

    /// The values of a refusal's `WWW-Authenticate` headers, one for each algorithm, best first.
    pub fn challenges(&mut self, stale: bool, now: MonoTime) -> Vec<String> {
        let mut challenges = Vec::new();
        for algorithm in self.algorithms.clone() {
            let nonce = self.issue(now);
            let realm = self.realm.clone();
            challenges.push(Challenge { realm, algorithm, stale, nonce, opaque: None, quality: true }.to_value());
        }
        challenges
    }

    /// Judges an answer to `method` by the secret of the user it names, or by nobody's. The URI is taken as the answer
    /// has it: proxies rewrite that of the request (RFC 3261 section 22.4), and no answer is good twice anyway.
    pub fn judge(
        &mut self,
        answer: &Authorization,
        method: &str,
        secret: Option<&DigestSecret>,
        now: MonoTime,
    ) -> Verdict {
        let known = secret.and_then(|secret| secret.ha1(answer.algorithm)).map(|ha1| Zeroizing::new(ha1.to_owned()));
        let ha1 = known.as_deref().map(String::as_str).or(self.nobody.ha1(answer.algorithm)).unwrap_or_default();
        let parts = Parts {
            algorithm: answer.algorithm,
            nonce: &answer.nonce,
            quality: Some((&answer.nc, &answer.cnonce)),
            method,
            uri: &answer.uri,
        };
        let expected = parts.response(ha1);
        let given = answer.response.to_ascii_lowercase();
        let is_right = bool::from(expected.as_bytes().ct_eq(given.as_bytes()));
        let is_ours = answer.realm == self.realm && self.algorithms.contains(&answer.algorithm);
        if !is_right || !is_ours || known.is_none() {
            return Verdict::Wrong;
        }
        match self.identify(&answer.nonce) {
            Some(nonce) if now.ms_since(nonce.at) < NONCE_LIFE_MS && nonce.at <= now => {
                if self.count(nonce, answer.count, now) { Verdict::Right } else { Verdict::Stale }
            }
            Some(_) | None => Verdict::Stale,
        }
    }

    /// Nonces whose counts were forgotten because there were more than [`NONCES_MAX`].
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Right answers that had been given before.
    pub fn replayed(&self) -> u64 {
        self.replayed
    }

    fn issue(&mut self, now: MonoTime) -> String {
        let nonce = NonceId { at: now, number: self.issued };
        self.issued = self.issued.wrapping_add(1);
        let mut bytes = [0; NONCE_BYTES];
        bytes[..8].copy_from_slice(&nonce.at.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&nonce.number.to_be_bytes());
        let seal = self.seal(&bytes[..12]);
        bytes[12..].copy_from_slice(&seal);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None` if we never issued it.
    fn identify(&self, nonce: &str) -> Option<NonceId> {
        let mut bytes = [0; NONCE_BYTES + 3];
        let length = URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes).ok().filter(|length| *length == NONCE_BYTES)?;
        let bytes = &bytes[..length];
        if !bool::from(self.seal(&bytes[..12]).ct_eq(&bytes[12..])) {
            return None;
        }
        let (at, number) = (bytes.first_chunk::<8>()?, bytes[8..].first_chunk::<4>()?);
        Some(NonceId { at: MonoTime(u64::from_be_bytes(*at)), number: u32::from_be_bytes(*number) })
    }

    fn seal(&self, bytes: &[u8]) -> [u8; SEAL_BYTES] {
        let full = self.key.clone().chain_update(self.realm.as_bytes()).chain_update(bytes).finalize().into_bytes();
        std::array::from_fn(|at| full[at])
    }

    /// Whether this count is new under this nonce; then it is no more.
    fn count(&mut self, nonce: NonceId, count: u32, now: MonoTime) -> bool {
        if let Some(counts) = self.counts.get_mut(&nonce) {
            let fresh = counts.take(count);
            self.replayed += u64::from(!fresh);
            return fresh;
        }
        if count == 0 || self.forgotten.is_some_and(|forgotten| nonce <= forgotten) {
            return false;
        }
        while let Some((oldest, _)) = self.counts.first_key_value() {
            let expired = now.ms_since(oldest.at) >= NONCE_LIFE_MS;
            if !expired && self.counts.len() < NONCES_MAX {
                break;
            }
            if let Some((oldest, _)) = self.counts.pop_first().filter(|_| !expired) {
                self.forgotten = self.forgotten.max(Some(oldest));
                self.evicted += 1;
            }
        }
        // The one just forgotten may be younger than this.
        if self.forgotten.is_some_and(|forgotten| nonce <= forgotten) {
            return false;
        }
        self.counts.insert(nonce, Counts { highest: count, seen: 1 });
        true
    }
}

impl Counts {
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            let ahead = count - self.highest;
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        let fresh = count > 0 && behind < u64::BITS && self.seen >> behind & 1 == 0;
        if fresh {
            self.seen |= 1 << behind;
        }
        fresh
    }
}

const SEAL_BYTES: usize = 16;
const NONCE_BYTES: usize = 8 + 4 + SEAL_BYTES;
