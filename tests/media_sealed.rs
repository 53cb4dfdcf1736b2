//! Encrypted calls at the edge of a shard: who may be heard is asked before a cipher works, and a forger changes nothing.

mod media;

use std::net::SocketAddr;

use crosspatch::domain::audio::Codec;
use crosspatch::media::discard::Discard;
use crosspatch::media::outbox::PacketKind;
use crosspatch::wire::rtp::RtpHeader;
use crosspatch::wire::srtp::{GROWTH_BYTES_MAX, MasterKey, Opener, Sealer, SrtpFault, Suite};
use media::{Bench, address_of, numbered, phone, port_id};

/// A bench whose port 1 is an encrypted call, and its far end.
struct Call {
    bench: Bench,
    opener: Opener,
    sealer: Sealer,
    forger: Sealer,
    sequence: u16,
}

impl Call {
    fn new() -> Self {
        let key = |secret| MasterKey::new(Suite::AesCm128HmacSha1_80, &[secret; 30]).expect("as long as it must be");
        let ports = [phone(1, Codec::Pcmu), phone(2, Codec::Pcmu)];
        Self {
            bench: Bench::patched(&ports),
            opener: Opener::new(&key(1)),
            sealer: Sealer::new(&key(1)),
            forger: Sealer::new(&key(2)),
            sequence: 100,
        }
    }

    fn sealed(&mut self, forged: bool) -> Vec<u8> {
        self.sequence += 1;
        let (sequence, timestamp) = (self.sequence, u32::from(self.sequence) * 160);
        let header = RtpHeader { payload_type: 0, marker: false, sequence, timestamp, ssrc: 0xa000_0001 };
        let mut packet = vec![0; 300];
        let length = header.write_packet(&[], &numbered(usize::from(sequence)), &mut packet).expect("room");
        packet.truncate(length + GROWTH_BYTES_MAX);
        let sealer = if forged { &mut self.forger } else { &mut self.sealer };
        let length = sealer.seal_rtp(&mut packet, length).expect("room");
        packet.truncate(length);
        packet
    }

    fn arrive(&mut self, from: SocketAddr, kind: PacketKind, packet: &[u8]) {
        let slot = self.bench.shards[0].slot_of(port_id(1)).expect("an open port");
        let (now, opener, mut room) = (self.bench.now, &mut self.opener, packet.to_vec());
        self.bench.with(|shard, out| shard.handle_sealed(slot, (from, kind), &mut room, opener, now, out));
    }

    fn discards(&self, why: Discard) -> u64 {
        self.bench.counters().discards(why)
    }
}

#[test]
fn what_was_sealed_is_heard_once_and_as_it_was_said() {
    let mut call = Call::new();
    let packet = call.sealed(false);
    for _ in 0..3 {
        call.arrive(address_of(1), PacketKind::Rtp, &packet);
    }
    assert_eq!(call.bench.payloads(2), [numbered(101)]);
    assert_eq!(call.discards(Discard::Replayed), 2);
}

#[test]
fn a_stranger_costs_no_cipher_and_a_forger_uses_up_nothing() {
    let mut call = Call::new();
    let packet = call.sealed(false);
    call.arrive(address_of(9), PacketKind::Rtp, &packet);
    assert_eq!((call.discards(Discard::WrongSource), call.opener.roll_overs().count()), (1, 0));
    for _ in 0..1_000 {
        let forged = call.sealed(true);
        call.arrive(address_of(1), PacketKind::Rtp, &forged);
        call.arrive(address_of(1), PacketKind::Rtcp, &forged);
    }
    let in_clear = numbered(1);
    call.arrive(address_of(1), PacketKind::Rtp, &in_clear);
    assert!(call.bench.heard(2).is_empty());
    assert_eq!(call.discards(Discard::RateLimited), 0);
    assert_eq!(
        call.discards(Discard::NotAuthentic),
        call.opener.discarded(SrtpFault::Authentication) + call.opener.discarded(SrtpFault::Unencrypted)
    );
    assert!(call.discards(Discard::NotAuthentic) >= 1_000);
    call.arrive(address_of(1), PacketKind::Rtp, &packet);
    assert_eq!(call.bench.payloads(2), [numbered(101)], "the peer is heard all the same");
}

#[test]
fn another_key_begins_another_stream_in_the_middle_of_a_burst() {
    let mut call = Call::new();
    for _ in 0..3 {
        let packet = call.sealed(false);
        call.arrive(address_of(1), PacketKind::Rtp, &packet);
    }
    let slot = call.bench.shards[0].slot_of(port_id(2)).expect("an open port");
    call.bench.shards[0].renew_stream(slot);
    for _ in 0..3 {
        let packet = call.sealed(false);
        call.arrive(address_of(1), PacketKind::Rtp, &packet);
    }
    let heads: Vec<_> = call.bench.heard(2).iter().map(|packet| packet.header).collect();
    assert_eq!(heads.len(), 6, "nothing is lost");
    assert!(heads[..3].iter().all(|head| head.ssrc == heads[0].ssrc));
    assert!(heads[3..].iter().all(|head| head.ssrc == heads[3].ssrc && head.sequence < 0x8003));
    assert_ne!(heads[0].ssrc, heads[3].ssrc);
}
