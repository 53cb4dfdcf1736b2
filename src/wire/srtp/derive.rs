//! Session keys from a master key (RFC 3711 section 4.3): counter mode as a pseudo-random function, one label for each.

use aes::cipher::{KeyIvInit, StreamCipher};
use aes::{Aes128, Aes256};
use ctr::Ctr128BE;
use zeroize::Zeroizing;

use super::transform::Transform;
use super::{Kind, MasterKey, Suite};

/// Labels of RFC 3711 section 4.3.1 for RTP; RTCP has the next three.
const ENCRYPTION: u8 = 0;
const AUTHENTICATION: u8 = 1;
const SALT: u8 = 2;
const RTCP: u8 = 3;

/// The HMAC-SHA1 key (bytes).
const AUTHENTICATION_BYTES: usize = 20;

pub(super) fn transform(master: &MasterKey, kind: Kind) -> Transform {
    let first = match kind {
        Kind::Rtp => 0,
        Kind::Rtcp => RTCP,
    };
    let mut key = Zeroizing::new([0; 32]);
    let key = &mut key[..master.suite.key_bytes()];
    fill(master, first + ENCRYPTION, key);
    let mut salt = [0; 14];
    fill(master, first + SALT, &mut salt[..master.suite.salt_bytes()]);
    match master.suite {
        Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 => {
            let mut authentication = Zeroizing::new([0; AUTHENTICATION_BYTES]);
            fill(master, first + AUTHENTICATION, authentication.as_mut());
            Transform::counter(key, salt, authentication.as_ref())
        }
        Suite::AeadAes128Gcm => Transform::galois_128(key, salt),
        Suite::AeadAes256Gcm => Transform::galois_256(key, salt),
    }
}

/// The first bytes of the key stream that the label selects.
fn fill(master: &MasterKey, label: u8, out: &mut [u8]) {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(&master.salt());
    // The label stands above the 48-bit index, which is zero.
    iv[7] ^= label;
    out.fill(0);
    let known = "key and counter are as long as the cipher wants";
    match master.suite {
        Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 | Suite::AeadAes128Gcm => {
            Ctr128BE::<Aes128>::new_from_slices(master.key(), &iv).expect(known).apply_keystream(out);
        }
        Suite::AeadAes256Gcm => {
            Ctr128BE::<Aes256>::new_from_slices(master.key(), &iv).expect(known).apply_keystream(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn keys_are_those_of_rfc_3711_b_3() {
        let master = bytes("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6");
        let master = MasterKey::new(Suite::AesCm128HmacSha1_80, &master).unwrap();
        for (label, expected) in [
            (ENCRYPTION, "c61e7a93744f39ee10734afe3ff7a087"),
            (SALT, "30cbbc08863d8c85d49db34a9ae1"),
            (AUTHENTICATION, "cebe321f6ff7716b6fd4ab49af256a156d38baa4"),
        ] {
            let mut key = vec![0; expected.len() / 2];
            fill(&master, label, &mut key);
            assert_eq!(key, bytes(expected), "label {label}");
        }
    }
}
