//! Digest authentication (RFC 7616, RFC 8760; RFC 2617 for what old phones do): the words both sides share.
//!
//! [`Challenger`] is the side that asks, [`Respondent`] the side that answers. Neither ever holds a password: what is
//! stored is HA1, one for each algorithm, and it is as good as the password within its realm. Randomness and time are
//! arguments. What cannot be read is a [`DigestFault`]; what can is right, wrong or stale.

mod challenger;
mod header;
mod respondent;

use std::fmt;

use md5::Md5;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use challenger::{Challenger, NONCE_LIFE_MS, NONCES_MAX, Verdict};
pub use header::{Authorization, Challenge, DigestFault, HEADER_BYTES_MAX, PARAMETERS_MAX};
pub use respondent::Respondent;

/// How the parts are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// RFC 8760.
    Sha256,
    /// What every phone knows, and no attacker fears.
    Md5,
}

impl Algorithm {
    /// In the order in which they are offered: best first.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Md5];

    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// Of the parts with colons between them, in hexadecimal.
    fn hash(self, parts: &[&str]) -> Zeroizing<String> {
        match self {
            Self::Sha256 => hashed::<Sha256>(parts),
            Self::Md5 => hashed::<Md5>(parts),
        }
    }

    fn hex_digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Md5 => 32,
        }
    }
}

fn hashed<D: Digest>(parts: &[&str]) -> Zeroizing<String> {
    let mut digest = D::new();
    for (at, part) in parts.iter().enumerate() {
        digest.update(if at == 0 { "" } else { ":" });
        digest.update(part);
    }
    let mut text = Zeroizing::new(String::with_capacity(64));
    for byte in digest.finalize() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(HEX[usize::from(digit)]));
        }
    }
    text
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// What stands for a password: HA1 for each algorithm that may be used. Never shown, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct DigestSecret {
    sha256: Option<Zeroizing<String>>,
    md5: Option<Zeroizing<String>>,
}

impl DigestSecret {
    /// Of a password, which is forgotten.
    pub fn new(username: &str, realm: &str, password: &str) -> Self {
        let ha1 = |algorithm: Algorithm| Some(algorithm.hash(&[username, realm, password]));
        Self { sha256: ha1(Algorithm::Sha256), md5: ha1(Algorithm::Md5) }
    }

    /// As stored, in hexadecimal; `None` unless there is at least one and each has its algorithm's length.
    pub fn from_hex(sha256: Option<&str>, md5: Option<&str>) -> Option<Self> {
        let read = |algorithm: Algorithm, text: &str| {
            let good = text.len() == algorithm.hex_digits() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            good.then(|| Zeroizing::new(text.to_ascii_lowercase()))
        };
        let sha256 = sha256.map(|text| read(Algorithm::Sha256, text).ok_or(())).transpose().ok()?;
        let md5 = md5.map(|text| read(Algorithm::Md5, text).ok_or(())).transpose().ok()?;
        (sha256.is_some() || md5.is_some()).then_some(Self { sha256, md5 })
    }

    fn ha1(&self, algorithm: Algorithm) -> Option<&str> {
        match algorithm {
            Algorithm::Sha256 => self.sha256.as_deref(),
            Algorithm::Md5 => self.md5.as_deref(),
        }
        .map(String::as_str)
    }
}

impl fmt::Debug for DigestSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestSecret(not shown)")
    }
}

/// What of a request goes into a response.
struct Parts<'a> {
    algorithm: Algorithm,
    nonce: &'a str,
    /// `nc` as written and `cnonce`; none where the challenge had no `qop` (RFC 2069).
    quality: Option<(&'a str, &'a str)>,
    method: &'a str,
    uri: &'a str,
}

impl Parts<'_> {
    /// RFC 7616 section 3.4.1.
    fn response(&self, ha1: &str) -> Zeroizing<String> {
        let ha2 = self.algorithm.hash(&[self.method, self.uri]);
        match self.quality {
            Some((nc, cnonce)) => self.algorithm.hash(&[ha1, self.nonce, nc, cnonce, "auth", &ha2]),
            None => self.algorithm.hash(&[ha1, self.nonce, &ha2]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_those_of_rfc_7616_and_rfc_2617() {
        let secret = DigestSecret::new("Mufasa", "http-auth@example.org", "Circle of Life");
        for (algorithm, expected) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let parts = Parts {
                algorithm,
                nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
                quality: Some(("00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")),
                method: "GET",
                uri: "/dir/index.html",
            };
            assert_eq!(parts.response(secret.ha1(algorithm).unwrap()).as_str(), expected);
        }
        let secret = DigestSecret::new("Mufasa", "testrealm@host.com", "Circle Of Life");
        let parts = Parts {
            algorithm: Algorithm::Md5,
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            quality: Some(("00000001", "0a4f113b")),
            method: "GET",
            uri: "/dir/index.html",
        };
        assert_eq!(parts.response(secret.ha1(Algorithm::Md5).unwrap()).as_str(), "6629fae49393a05397450978507c4ef1");
        let old = Parts { quality: None, ..parts };
        assert_eq!(old.response(secret.ha1(Algorithm::Md5).unwrap()).as_str(), "670fd8c2df070c60b045671b8b24ff02");
    }

    #[test]
    fn a_stored_secret_is_read_whole_or_not_at_all_and_never_shown() {
        let secret = DigestSecret::new("1001", "county", "pässword");
        let (sha256, md5) = (secret.sha256.as_deref().unwrap(), secret.md5.as_deref().unwrap());
        let upper = sha256.to_ascii_uppercase();
        assert_eq!(DigestSecret::from_hex(Some(&upper), Some(md5)), Some(secret.clone()));
        assert!(DigestSecret::from_hex(None, Some(md5)).is_some_and(|weak| weak.ha1(Algorithm::Sha256).is_none()));
        for (sha256, md5) in
            [(None, None), (Some(md5.as_str()), None), (Some(sha256.as_str()), Some("00")), (None, Some("pässword"))]
        {
            assert_eq!(DigestSecret::from_hex(sha256, md5), None);
        }
        let shown = format!("{secret:?}");
        assert!(!shown.contains(&sha256[..8]) && !shown.contains(&md5[..8]));
    }
}
