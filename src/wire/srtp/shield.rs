//! Both directions of one call under their keys: what the media thread holds beside a port's sockets.
//!
//! Not an agreement: which keys, signalling has settled. A renewal keeps the end whose key has not changed, or a nonce
//! would come twice. **Whoever renews begins a new stream when told to** (see [`Sealer`]).

use super::{MasterKey, Opener, Sealer};

/// The two ends of a call's keys that are ours.
#[derive(Debug)]
pub struct Shield {
    send: MasterKey,
    receive: MasterKey,
    /// Seals what we send.
    pub sealer: Sealer,
    /// Opens what the peer sends.
    pub opener: Opener,
}

impl Shield {
    /// Nothing has been sent or heard under these keys.
    pub fn new(send: &MasterKey, receive: &MasterKey) -> Self {
        Self { send: send.clone(), receive: receive.clone(), sealer: Sealer::new(send), opener: Opener::new(receive) }
    }

    /// After a restart: what is sent is a new stream anyway, what comes may have rolled over so often.
    pub fn resumed(send: &MasterKey, receive: &MasterKey, roll_overs_most: u32) -> Self {
        Self { opener: Opener::resumed(receive, roll_overs_most), ..Self::new(send, receive) }
    }

    /// Goes on under the keys of another that has not been used; whether what is sent must begin a new stream.
    pub fn renew(&mut self, next: Self) -> bool {
        if self.receive != next.receive {
            self.opener.rekey(&next.receive);
            self.receive = next.receive;
        }
        let is_new = self.send != next.send;
        if is_new {
            (self.send, self.sealer) = (next.send, next.sealer);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SealFault, SrtpFault, Suite};
    use super::*;

    fn key(secret: u8) -> MasterKey {
        MasterKey::new(Suite::AesCm128HmacSha1_80, &[secret; 30]).unwrap()
    }

    fn packet(sequence: u8) -> ([u8; 80], usize) {
        let mut packet = [0x55; 80];
        packet[..12].copy_from_slice(&[0x80, 0, 0, sequence, 0, 0, 0, 0, 0, 0, 0, 7]);
        (packet, 40)
    }

    fn sealed(sealer: &mut Sealer, sequence: u8) -> Vec<u8> {
        let (mut room, length) = packet(sequence);
        let length = sealer.seal_rtp(&mut room, length).unwrap();
        room[..length].to_vec()
    }

    #[test]
    fn a_renewal_under_the_same_keys_neither_seals_nor_opens_anything_twice() {
        let mut shield = Shield::new(&key(1), &key(2));
        let mut peer = Sealer::new(&key(2));
        let mut heard = sealed(&mut peer, 1);
        sealed(&mut shield.sealer, 1);
        assert!(shield.opener.open_rtp(&mut heard.clone()).is_ok());
        assert!(!shield.renew(Shield::new(&key(1), &key(2))));
        let (mut room, length) = packet(1);
        assert_eq!(shield.sealer.seal_rtp(&mut room, length), Err(SealFault::Repeated));
        assert_eq!(shield.opener.open_rtp(&mut heard), Err(SrtpFault::Replayed));
    }

    #[test]
    fn each_direction_is_renewed_by_itself() {
        let mut shield = Shield::new(&key(1), &key(2));
        sealed(&mut shield.sealer, 1);
        assert!(!shield.renew(Shield::new(&key(1), &key(3))), "the peer has a new key; our stream goes on");
        assert!(shield.opener.open_rtp(&mut sealed(&mut Sealer::new(&key(3)), 1)).is_ok());
        let old = shield.opener.open_rtp(&mut sealed(&mut Sealer::new(&key(2)), 2));
        assert_eq!(old, Err(SrtpFault::Authentication));
        let (mut room, length) = packet(1);
        assert_eq!(shield.sealer.seal_rtp(&mut room, length), Err(SealFault::Repeated));

        assert!(shield.renew(Shield::new(&key(4), &key(3))), "our key is new, and so must our stream be");
        assert!(Opener::new(&key(4)).open_rtp(&mut sealed(&mut shield.sealer, 1)).is_ok());
        let again = shield.opener.open_rtp(&mut sealed(&mut Sealer::new(&key(3)), 1));
        assert_eq!(again, Err(SrtpFault::Replayed));
    }
}
