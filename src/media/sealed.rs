//! Packets of encrypted calls: opened before anything believes them, under whose key only the caller knows.
//!
//! The source is judged first, so that a stranger costs one comparison and no cipher. A forger in the peer's place costs
//! one authentication for each packet, is counted, and uses up none of the peer's rate.

use std::net::SocketAddr;

use crate::domain::time::MonoTime;
use crate::wire::srtp::{Opener, SrtpFault};

use super::discard::Discard;
use super::outbox::{Outbox, PacketKind};
use super::shard::Shard;
use super::slab::PortSlot;

impl Shard {
    /// One packet that arrived at a port whose call is encrypted; opened in place.
    pub fn handle_sealed(
        &mut self,
        port: PortSlot,
        (source, kind): (SocketAddr, PacketKind),
        packet: &mut [u8],
        opener: &mut Opener,
        now: MonoTime,
        out: &mut Outbox,
    ) {
        let opened = self.screen(port, source, kind, now).and_then(|()| {
            let opened = match kind {
                PacketKind::Rtp => opener.open_rtp(packet),
                PacketKind::Rtcp => opener.open_rtcp(packet),
            };
            opened.map_err(discard_of)
        });
        match (opened, kind) {
            (Err(why), _) => self.counters.discard(why),
            (Ok(length), PacketKind::Rtp) => self.handle_packet(port, source, &packet[..length], now, out),
            (Ok(length), PacketKind::Rtcp) => self.handle_rtcp(port, source, &packet[..length], now),
        }
    }

    /// What a port sends is sealed with a new key, or with none any more: it goes on as another stream.
    pub fn renew_stream(&mut self, port: PortSlot) {
        let Some(open) = self.ports.get_mut(port) else { return };
        open.sender.restart(&mut self.entropy);
        // Whoever is heard next begins it.
        open.voice = None;
        open.reported_packets = 0;
    }

    fn screen(&self, port: PortSlot, source: SocketAddr, kind: PacketKind, now: MonoTime) -> Result<(), Discard> {
        let open = self.ports.get(port).ok_or(Discard::NoPort)?;
        match kind {
            PacketKind::Rtp => open.receiver.admits(source, now),
            PacketKind::Rtcp => open.receiver.admits_control(source),
        }
    }
}

const fn discard_of(fault: SrtpFault) -> Discard {
    match fault {
        SrtpFault::Truncated => Discard::Malformed,
        SrtpFault::Authentication | SrtpFault::Unencrypted => Discard::NotAuthentic,
        SrtpFault::Replayed => Discard::Replayed,
        SrtpFault::Streams | SrtpFault::Exhausted => Discard::Full,
    }
}
