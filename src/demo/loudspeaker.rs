//! The receiving half of a virtual radio: RTP to 20 ms frames through a jitter buffer, as a gateway would, and, on a
//! trunked radio, the grant that comes late.

use crate::demo::track::PacketArrival;
use crate::domain::audio::{Frame, MIX_FRAME};
use crate::domain::port::{ExtensionIds, PayloadType};
use crate::domain::time::MonoTime;
use crate::media::codec::Decoder;
use crate::media::jitter::JitterBuffer;
use crate::media::playout::{Heard, Playout};
use crate::wire::rtp::{DatagramKind, RtpPacket};
use crate::wire::rtp_extension::{Elements, Keying};

/// See the file's head.
#[derive(Debug)]
pub struct Loudspeaker {
    payload: PayloadType,
    extension: ExtensionIds,
    burst: Option<Playout>,
    spare: Option<(JitterBuffer, Decoder)>,
    last_at: MonoTime,
    trunk: Option<Keyed>,
    before_grant: u64,
}

/// A trunk and since when it is keyed.
#[derive(Clone, Copy, Debug)]
struct Keyed {
    grant_after_ms: u64,
    since: Option<MonoTime>,
    told_at: MonoTime,
}

impl Loudspeaker {
    /// `grant_after_ms` makes it a trunked radio.
    pub fn new(payload: PayloadType, extension: ExtensionIds, grant_after_ms: Option<u64>) -> Result<Self, String> {
        let decoder =
            Decoder::new(payload.format).map_err(|_| format!("the demo's radios do not play {:?}", payload.format))?;
        let trunk =
            grant_after_ms.map(|grant_after_ms| Keyed { grant_after_ms, since: None, told_at: MonoTime::default() });
        Ok(Self {
            payload,
            extension,
            burst: None,
            spare: Some((JitterBuffer::new(), decoder)),
            last_at: MonoTime::default(),
            trunk,
            before_grant: 0,
        })
    }

    /// Speech that came before the trunk had granted.
    pub const fn before_grant(&self) -> u64 {
        self.before_grant
    }

    /// A datagram came.
    pub fn take(&mut self, now: MonoTime, datagram: &[u8]) -> Option<PacketArrival> {
        if DatagramKind::of(datagram) != DatagramKind::Rtp {
            return None;
        }
        let packet = RtpPacket::parse(datagram).ok()?;
        let elements = Elements::read(packet.extension, &self.extension);
        if let Some(keying) = elements.keying {
            self.key(keying.ptt, now);
        }
        let speech = packet.header.payload_type == self.payload.number && !packet.payload.is_empty();
        let played = speech && self.is_granted(now);
        if played {
            self.play_later(now, &packet);
        } else if speech && packet.payload.iter().any(|byte| *byte != 0) {
            self.before_grant += 1;
        }
        let payload_bytes = packet.payload.len() as u16; // a datagram has less
        Some(PacketArrival {
            at: now,
            ssrc: packet.header.ssrc,
            sequence: packet.header.sequence,
            payload_bytes,
            played,
        })
    }

    /// What it must tell the gateway now: GRANT, again and again while it stands, since packets get lost.
    pub fn keying(&mut self, now: MonoTime) -> Option<Keying> {
        let granted = self.is_granted(now);
        let trunk = self.trunk.as_mut()?;
        if !granted || now.ms_since(trunk.told_at) < TELL_EVERY_MS {
            return None;
        }
        trunk.told_at = now;
        Some(Keying { granted: true, ..Keying::default() })
    }

    /// The next 20 ms, if anything sounds.
    pub fn play(&mut self, now: MonoTime) -> Option<Frame> {
        let burst = self.burst.as_mut()?;
        let mut frame = [0; MIX_FRAME];
        let heard = burst.frame(now, &mut frame);
        if burst.is_empty() && now.ms_since(self.last_at) > FORGOTTEN_AFTER_MS {
            self.spare = self.burst.take().map(|burst| {
                let (jitter, mut decoder) = burst.into_parts();
                decoder.reset();
                (jitter, decoder)
            });
        }
        match heard {
            Heard::Voice | Heard::Concealed => Some(frame),
            Heard::NotYet | Heard::Silence => None,
        }
    }

    fn play_later(&mut self, now: MonoTime, packet: &RtpPacket<'_>) {
        self.last_at = now;
        let spare = &mut self.spare;
        let format = self.payload.format;
        if self.burst.is_none() {
            self.burst = spare.take().map(|(jitter, decoder)| Playout::new(format, jitter, decoder));
        }
        if let Some(burst) = &mut self.burst {
            let header = packet.header;
            burst.push(now, header.ssrc, header.sequence, header.timestamp, packet.payload);
        }
    }

    fn key(&mut self, keyed: bool, now: MonoTime) {
        if let Some(trunk) = &mut self.trunk {
            trunk.since = if keyed { trunk.since.or(Some(now)) } else { None };
        }
    }

    fn is_granted(&self, now: MonoTime) -> bool {
        let Some(trunk) = &self.trunk else { return true };
        trunk.since.is_some_and(|since| now.ms_since(since) >= trunk.grant_after_ms)
    }
}

/// A state that is told this often survives a lost packet.
const TELL_EVERY_MS: u64 = 60;
/// After such a pause the next packet is another burst's.
const FORGOTTEN_AFTER_MS: u64 = 400;
