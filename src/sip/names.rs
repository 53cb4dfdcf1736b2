//! Names nobody can guess: tags, branches and numbers of calls, from one key of the operating system. Not secrets of
//! calls: those are asked for one by one.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

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
