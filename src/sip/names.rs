//! Names nobody can guess: tags, branches, numbers and keys of calls, from one key of the operating system.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::offer::{SECRETS_BYTES, Secrets};
use super::transaction::{COOKIE, ClientId, ServerKey};

/// A sequence of names.
pub struct Names {
    mac: Hmac<Sha256>,
    count: u64,
}

impl Names {
    /// The key is used for nothing else but [`Names::nonces`].
    pub fn new(key: &Zeroizing<[u8; 32]>) -> Self {
        Self { mac: keyed(&derived(key, b"names")), count: 0 }
    }

    /// The key of nonces.
    pub fn nonces(key: &Zeroizing<[u8; 32]>) -> Zeroizing<[u8; 32]> {
        derived(key, b"nonces")
    }

    /// A tag of a dialog, or a Call-ID.
    pub fn tag(&mut self) -> String {
        hex(&self.next())
    }

    /// The same for the same request, so that an answer without state can be repeated.
    pub fn of_request(&self, key: &ServerKey) -> String {
        let text = format!("{key:?}");
        let full = self.mac.clone().chain_update(b"request").chain_update(text.as_bytes()).finalize().into_bytes();
        hex(&full[..8])
    }

    /// A number of a call.
    pub fn number(&mut self) -> u64 {
        u64::from_be_bytes(*self.next().first_chunk().expect("sixteen bytes hold eight"))
    }

    /// What a client adds to a digest.
    pub fn cnonce(&mut self) -> u128 {
        u128::from_be_bytes(self.next())
    }

    /// A request's number here and its branch on the wire.
    pub fn branch(&mut self) -> (ClientId, String) {
        let tag = self.tag();
        (self.count, format!("{COOKIE}{tag}"))
    }

    /// Keys for one offer or answer: another run of the same secret function.
    pub fn secrets(&mut self) -> Secrets {
        let mut bytes = Zeroizing::new([0; SECRETS_BYTES]);
        for part in bytes.chunks_mut(32) {
            self.count += 1;
            let run = self.mac.clone().chain_update(b"keys").chain_update(self.count.to_be_bytes());
            let full: Zeroizing<[u8; 32]> = Zeroizing::new(run.finalize().into_bytes().into());
            part.copy_from_slice(&full[..part.len()]);
        }
        Secrets::new(bytes)
    }

    fn next(&mut self) -> [u8; 16] {
        self.count += 1;
        let full = self.mac.clone().chain_update(self.count.to_be_bytes()).finalize().into_bytes();
        std::array::from_fn(|at| full[at])
    }
}

fn keyed(key: &Zeroizing<[u8; 32]>) -> Hmac<Sha256> {
    <Hmac<Sha256> as Mac>::new_from_slice(key.as_ref()).expect("HMAC takes a key of any length")
}

fn derived(key: &Zeroizing<[u8; 32]>, of: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(keyed(key).chain_update(of).finalize().into_bytes().into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::srtp::Suite;

    #[test]
    fn no_key_comes_twice_and_none_is_a_name() {
        let mut names = Names::new(&Zeroizing::new([7; 32]));
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let secrets = names.secrets();
            for suite in Suite::ALL {
                assert!(seen.insert(secrets.key(suite).expose()[..16].to_vec()), "the same key twice");
            }
            assert!(seen.insert(names.next().to_vec()), "a name that is a key");
        }
    }
}
