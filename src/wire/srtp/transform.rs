//! What is done to one packet: counter mode and an HMAC (RFC 3711 section 4), or Galois counter mode (RFC 7714).

use aes::Aes128;
use aes::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use aes_gcm::{AeadInPlace, Aes128Gcm, Aes256Gcm, Nonce, Tag};
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::{INDEX_BYTES, RTCP_HEADER_BYTES, RTCP_INDEX_MAX, SrtpFault};

/// Keys for one kind of packet in one direction.
#[derive(Clone)]
pub(super) enum Transform {
    Counter { cipher: Box<Aes128>, salt: [u8; 14], mac: Hmac<Sha1> },
    Galois { cipher: Galois, salt: [u8; 12] },
}

const KNOWN: &str = "keys were derived as long as the cipher wants";

impl Transform {
    pub fn counter(key: &[u8], salt: [u8; 14], authentication: &[u8]) -> Self {
        let cipher = Box::new(Aes128::new_from_slice(key).expect(KNOWN));
        Self::Counter { cipher, salt, mac: <Hmac<Sha1> as Mac>::new_from_slice(authentication).expect(KNOWN) }
    }

    pub fn galois_128(key: &[u8], salt: [u8; 14]) -> Self {
        let cipher = Galois::Aes128(Box::new(Aes128Gcm::new_from_slice(key).expect(KNOWN)));
        Self::Galois { cipher, salt: front(&salt) }
    }

    pub fn galois_256(key: &[u8], salt: [u8; 14]) -> Self {
        let cipher = Galois::Aes256(Box::new(Aes256Gcm::new_from_slice(key).expect(KNOWN)));
        Self::Galois { cipher, salt: front(&salt) }
    }

    /// In SRTCP the tag stands behind the index, not in front of it.
    pub fn tag_comes_last(&self) -> bool {
        matches!(self, Self::Counter { .. })
    }

    /// The tag fills what is behind `length`.
    pub fn seal_rtp(&self, packet: &mut [u8], header: usize, length: usize, index: u64) {
        let ssrc = word(packet, 8);
        let (plain, tag) = packet.split_at_mut(length);
        match self {
            Self::Counter { cipher, salt, mac } => {
                counter(cipher, salt, ssrc, index, &mut plain[header..]);
                let full = authenticate(mac, plain, &roll_over(index));
                tag.copy_from_slice(&full[..tag.len()]);
            }
            Self::Galois { cipher, salt } => {
                let (clear, body) = plain.split_at_mut(header);
                cipher.seal(rtp_nonce(salt, ssrc, index), clear, body, tag);
            }
        }
    }

    pub fn open_rtp(&self, packet: &mut [u8], header: usize, length: usize, index: u64) -> Result<(), SrtpFault> {
        let ssrc = word(packet, 8);
        let (sealed, tag) = packet.split_at_mut(length);
        match self {
            Self::Counter { cipher, salt, mac } => {
                verify(mac, sealed, &roll_over(index), tag)?;
                counter(cipher, salt, ssrc, index, &mut sealed[header..]);
                Ok(())
            }
            Self::Galois { cipher, salt } => {
                let (clear, body) = sealed.split_at_mut(header);
                cipher.open(rtp_nonce(salt, ssrc, index), clear, body, tag)
            }
        }
    }

    /// `index` with the E bit; it and the tag fill what is behind `length`.
    pub fn seal_rtcp(&self, packet: &mut [u8], length: usize, index: u32) {
        let (ssrc, word, number) = (word(packet, 4), index.to_be_bytes(), index & RTCP_INDEX_MAX);
        let (plain, trailer) = packet.split_at_mut(length);
        let (clear, body) = plain.split_at_mut(RTCP_HEADER_BYTES);
        match self {
            Self::Counter { cipher, salt, mac } => {
                counter(cipher, salt, ssrc, u64::from(number), body);
                let (at, tag) = trailer.split_at_mut(INDEX_BYTES);
                at.copy_from_slice(&word);
                tag.copy_from_slice(&authenticate(mac, plain, &word)[..tag.len()]);
            }
            Self::Galois { cipher, salt } => {
                let (tag, at) = trailer.split_at_mut(trailer.len() - INDEX_BYTES);
                at.copy_from_slice(&word);
                cipher.seal(rtcp_nonce(salt, ssrc, number), &with_word(clear, word), body, tag);
            }
        }
    }

    /// `index` as it stood in the packet.
    pub fn open_rtcp(&self, packet: &mut [u8], length: usize, index: u32) -> Result<(), SrtpFault> {
        let (ssrc, word, number) = (word(packet, 4), index.to_be_bytes(), index & RTCP_INDEX_MAX);
        let (sealed, trailer) = packet.split_at_mut(length);
        match self {
            Self::Counter { cipher, salt, mac } => {
                verify(mac, sealed, &word, &trailer[INDEX_BYTES..])?;
                counter(cipher, salt, ssrc, u64::from(number), &mut sealed[RTCP_HEADER_BYTES..]);
                Ok(())
            }
            Self::Galois { cipher, salt } => {
                let (tag, _) = trailer.split_at(trailer.len() - INDEX_BYTES);
                let (clear, body) = sealed.split_at_mut(RTCP_HEADER_BYTES);
                cipher.open(rtcp_nonce(salt, ssrc, number), &with_word(clear, word), body, tag)
            }
        }
    }
}

/// Galois counter mode with either key length.
#[derive(Clone)]
pub(super) enum Galois {
    Aes128(Box<Aes128Gcm>),
    Aes256(Box<Aes256Gcm>),
}

impl Galois {
    fn seal(&self, nonce: [u8; 12], clear: &[u8], body: &mut [u8], tag: &mut [u8]) {
        let nonce = Nonce::from(nonce);
        let made = match self {
            Self::Aes128(cipher) => cipher.encrypt_in_place_detached(&nonce, clear, body),
            Self::Aes256(cipher) => cipher.encrypt_in_place_detached(&nonce, clear, body),
        };
        tag.copy_from_slice(&made.expect("a datagram is shorter than what one nonce may cover"));
    }

    fn open(&self, nonce: [u8; 12], clear: &[u8], body: &mut [u8], tag: &[u8]) -> Result<(), SrtpFault> {
        let (nonce, tag) = (Nonce::from(nonce), Tag::from_slice(tag));
        match self {
            Self::Aes128(cipher) => cipher.decrypt_in_place_detached(&nonce, clear, body, tag),
            Self::Aes256(cipher) => cipher.decrypt_in_place_detached(&nonce, clear, body, tag),
        }
        .map_err(|_| SrtpFault::Authentication)
    }
}

/// What SRTCP authenticates in the clear: the first header and the word with E bit and index.
fn with_word(clear: &[u8], word: [u8; INDEX_BYTES]) -> [u8; RTCP_HEADER_BYTES + INDEX_BYTES] {
    let mut bytes = [0; RTCP_HEADER_BYTES + INDEX_BYTES];
    bytes[..RTCP_HEADER_BYTES].copy_from_slice(clear);
    bytes[RTCP_HEADER_BYTES..].copy_from_slice(&word);
    bytes
}

fn front(salt: &[u8; 14]) -> [u8; 12] {
    std::array::from_fn(|at| salt[at])
}

/// Lengths were checked by the caller.
fn word(packet: &[u8], at: usize) -> u32 {
    packet[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn roll_over(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// Counter mode over `bytes` (RFC 3711 section 4.1.1): salt, SSRC and index each at their place of a 128-bit word.
fn counter(cipher: &Aes128, salt: &[u8; 14], ssrc: u32, index: u64, bytes: &mut [u8]) {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    mix(&mut iv[4..8], &ssrc.to_be_bytes());
    mix(&mut iv[8..14], &index.to_be_bytes()[2..]);
    CtrCore::<&Aes128, Ctr128BE>::inner_iv_init(cipher, &iv.into()).apply_keystream_partial(bytes.into());
}

fn mix(into: &mut [u8], bytes: &[u8]) {
    into.iter_mut().zip(bytes).for_each(|(to, byte)| *to ^= byte);
}

fn authenticate(mac: &Hmac<Sha1>, packet: &[u8], more: &[u8]) -> [u8; 20] {
    mac.clone().chain_update(packet).chain_update(more).finalize().into_bytes().into()
}

/// In constant time.
fn verify(mac: &Hmac<Sha1>, packet: &[u8], more: &[u8], tag: &[u8]) -> Result<(), SrtpFault> {
    let full = mac.clone().chain_update(packet).chain_update(more);
    full.verify_truncated_left(tag).map_err(|_| SrtpFault::Authentication)
}

/// RFC 7714 section 8.1: two zero bytes, SSRC, roll-overs and sequence, all mixed with the salt.
fn rtp_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    let mut nonce = *salt;
    mix(&mut nonce[2..6], &ssrc.to_be_bytes());
    mix(&mut nonce[6..12], &index.to_be_bytes()[2..]);
    nonce
}

/// RFC 7714 section 9.1: two zero bytes, SSRC, two zero bytes, the index without E bit.
fn rtcp_nonce(salt: &[u8; 12], ssrc: u32, index: u32) -> [u8; 12] {
    let mut nonce = *salt;
    mix(&mut nonce[2..6], &ssrc.to_be_bytes());
    mix(&mut nonce[8..12], &index.to_be_bytes());
    nonce
}
