//! The sending end of one direction of a call: seals each packet under an index of its own.
//!
//! Not a sender: sequence numbers are given. What it refuses must not leave. **With a new key comes a new SSRC**: then
//! nobody has to know whether the roll-over counter ran on. A stream that begins below sequence 32,768 lets a listener
//! that missed its beginning guess that counter (RFC 3711 section 3.3.1).

use super::streams::{Progress, Streams};
use super::window::Window;
use super::{INDEX_BYTES, Kind, MasterKey, RTCP_INDEX_MAX, RTP_INDEX_MAX, SealFault, SessionKeys};
use crate::wire::rtp;

/// Keys and what was sealed with them.
#[derive(Debug)]
pub struct Sealer {
    keys: SessionKeys,
    streams: Streams,
    /// RTP packets sealed with this key, whatever their SSRC.
    sealed: u64,
    /// One count for all SSRCs: then no (SSRC, index) comes twice, not even if an SSRC is used twice.
    rtcp_next: u32,
}

impl Sealer {
    /// Has sealed nothing yet. One key has one sealer, or a nonce would come twice.
    pub fn new(master: &MasterKey) -> Self {
        Self { keys: SessionKeys::derive(master), streams: Streams::new(), sealed: 0, rtcp_next: 0 }
    }

    /// Seals the RTP packet in the first `length` bytes; returns its new length.
    ///
    /// # Errors
    /// [`SealFault::Repeated`] for a sequence number that was sealed before, or is too old to tell.
    pub fn seal_rtp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SealFault> {
        let packet = buffer.get(..length).ok_or(SealFault::NoRoom)?;
        let header = rtp::header_bytes(packet).map_err(|_| SealFault::NoPacket)?;
        let [_, _, high, low, .., a, b, c, d] = *packet.first_chunk::<12>().ok_or(SealFault::NoPacket)?;
        let (sequence, ssrc) = (u16::from_be_bytes([high, low]), u32::from_be_bytes([a, b, c, d]));
        let mut stream = self.streams.known(ssrc);
        let (index, window) = match stream.rtp {
            Progress::Heard(mut window) => {
                let fresh = window.estimate(sequence).filter(|index| window.is_fresh(*index));
                let index = fresh.ok_or(SealFault::Repeated)?;
                window.mark(index);
                (index, window)
            }
            Progress::Unheard { .. } => (u64::from(sequence), Window::begun_at(u64::from(sequence))),
        };
        if index > RTP_INDEX_MAX || self.sealed > RTP_INDEX_MAX {
            return Err(SealFault::Exhausted);
        }
        if !self.streams.has_room_for(ssrc) {
            return Err(SealFault::Streams);
        }
        let sealed = self.keys.seal_rtp(buffer, header, length, index).map_err(|_| SealFault::NoRoom)?;
        stream.rtp = Progress::Heard(window);
        self.streams.remember(stream);
        self.sealed += 1;
        Ok(sealed)
    }

    /// Seals the RTCP compound in the first `length` bytes; returns its new length.
    pub fn seal_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SealFault> {
        if length < super::RTCP_HEADER_BYTES {
            return Err(SealFault::NoPacket);
        }
        if self.rtcp_next > RTCP_INDEX_MAX {
            return Err(SealFault::Exhausted);
        }
        if buffer.len() < length + self.keys.suite.tag_bytes(Kind::Rtcp) + INDEX_BYTES {
            return Err(SealFault::NoRoom);
        }
        let sealed = self.keys.seal_rtcp(buffer, length, self.rtcp_next).map_err(|_| SealFault::NoRoom)?;
        self.rtcp_next += 1;
        Ok(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{STREAMS_MAX, Suite};
    use super::*;

    fn sealer() -> Sealer {
        Sealer::new(&MasterKey::new(Suite::AeadAes128Gcm, &[3; 28]).unwrap())
    }

    fn packet(ssrc: u32, sequence: u16) -> [u8; 60] {
        let mut packet = [0x55; 60];
        packet[..2].copy_from_slice(&[0x80, 0]);
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        packet
    }

    #[test]
    fn no_sequence_number_is_sealed_twice_under_one_ssrc() {
        let mut sealer = sealer();
        for sequence in [65_534, 65_535, 0, 2, 1] {
            assert_eq!(sealer.seal_rtp(&mut packet(1, sequence), 40), Ok(56), "{sequence}");
            assert_eq!(sealer.seal_rtp(&mut packet(1, sequence), 40), Err(SealFault::Repeated));
        }
        assert_eq!(sealer.seal_rtp(&mut packet(2, 1), 40), Ok(56), "another stream");
        assert_eq!(sealer.seal_rtp(&mut packet(1, 200), 40), Ok(56));
        assert_eq!(sealer.seal_rtp(&mut packet(1, 70), 40), Err(SealFault::Repeated), "too old to tell");
        assert_eq!(sealer.seal_rtp(&mut packet(1, 73), 40), Ok(56), "late but inside the window");
    }

    #[test]
    fn what_cannot_be_sealed_does_not_use_up_its_number() {
        let mut sealer = sealer();
        assert_eq!(sealer.seal_rtp(&mut packet(1, 9), 45), Err(SealFault::NoRoom));
        assert_eq!(sealer.seal_rtp(&mut packet(1, 9), 61), Err(SealFault::NoRoom));
        assert_eq!(sealer.seal_rtp(&mut packet(1, 9), 11), Err(SealFault::NoPacket));
        assert_eq!(sealer.seal_rtp(&mut packet(1, 9), 44), Ok(60));
        assert_eq!(sealer.seal_rtcp(&mut [0x80; 60], 44), Err(SealFault::NoRoom));
        assert_eq!(sealer.seal_rtcp(&mut [0x80; 60], 7), Err(SealFault::NoPacket));
        assert_eq!((sealer.seal_rtcp(&mut [0x80; 60], 40), sealer.rtcp_next), (Ok(60), 1));
    }

    #[test]
    fn a_key_used_up_seals_no_more() {
        let mut used = sealer();
        used.sealed = RTP_INDEX_MAX;
        assert_eq!(used.seal_rtp(&mut packet(1, 1), 40), Ok(56), "the last one");
        assert_eq!(used.seal_rtp(&mut packet(1, 2), 40), Err(SealFault::Exhausted));
        used.rtcp_next = RTCP_INDEX_MAX;
        assert_eq!(used.seal_rtcp(&mut [0x80; 60], 40), Ok(60), "the last one");
        assert_eq!(used.seal_rtcp(&mut [0x80; 60], 40), Err(SealFault::Exhausted));
        let mut rolled = sealer();
        let last = Progress::Heard(Window::begun_at(RTP_INDEX_MAX));
        rolled.streams.remember(super::super::streams::Stream { ssrc: 1, rtp: last, rtcp: None });
        assert_eq!(rolled.seal_rtp(&mut packet(1, 0), 40), Err(SealFault::Exhausted), "the stream is at its end");
    }

    #[test]
    fn one_stream_more_than_the_limit_is_not_sealed() {
        let mut sealer = sealer();
        for ssrc in 0..STREAMS_MAX as u32 {
            assert!(sealer.seal_rtp(&mut packet(ssrc, 1), 40).is_ok());
        }
        assert_eq!(sealer.seal_rtp(&mut packet(99, 1), 40), Err(SealFault::Streams));
        assert!(sealer.seal_rtp(&mut packet(3, 2), 40).is_ok());
    }
}
