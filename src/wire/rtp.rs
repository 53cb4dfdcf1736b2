//! RTP packets (RFC 3550 section 5.1): a checked borrowed view, a header writer, and the first look at a datagram.
//!
//! Not a stream: sequence arithmetic, jitter and statistics live in `media`. Whoever holds the datagram owns the
//! view. A malformed packet is a [`RtpFault`], which the caller counts as a discard; nothing here panics.

use rtp_rs::{RtpReader, RtpReaderError};

use super::{Pen, WriteFault};

/// The fixed part of every RTP header (bytes).
pub const FIXED_HEADER_BYTES: usize = 12;

/// What a datagram is, by its first two bytes. RFC 7983 section 7 as updated by RFC 9443, RFC 5761 section 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramKind {
    /// First byte 128 to 191, and the second is no RTCP packet type.
    Rtp,
    /// First byte 128 to 191, second 192 to 223.
    Rtcp,
    /// First byte 0 to 3: ICE checks and keep-alives.
    Stun,
    /// First byte 20 to 63.
    Dtls,
    /// Anything else, one lone byte of a would-be RTP packet and the empty datagram included.
    Other,
}

impl DatagramKind {
    /// Looks at two bytes at most.
    pub fn of(datagram: &[u8]) -> Self {
        match datagram {
            [0..=3, ..] => Self::Stun,
            [20..=63, ..] => Self::Dtls,
            [128..=191, 192..=223, ..] => Self::Rtcp,
            [128..=191, _, ..] => Self::Rtp,
            _ => Self::Other,
        }
    }
}

/// Why a datagram is no RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtpFault {
    /// Its version is not 2.
    Version,
    /// It ends inside the fixed header, the contributing sources or the header extension.
    Truncated,
    /// Its padding count is zero or reaches into the header.
    Padding,
}

/// The fields of the fixed header that a sender chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RtpHeader {
    /// 0 to 127; its meaning is configured or negotiated.
    pub payload_type: u8,
    /// The first packet of a talk spurt.
    pub marker: bool,
    /// Rises by one per packet, wraps.
    pub sequence: u16,
    /// In units of the payload's RTP clock, wraps.
    pub timestamp: u32,
    /// The stream's name; random, may change at any time.
    pub ssrc: u32,
}

/// One whole and well-formed packet, borrowed from its datagram. Contributing sources are checked and skipped:
/// nobody here names talkers by CSRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// The fixed header.
    pub header: RtpHeader,
    /// The header extension's profile word and its bytes, a multiple of four.
    pub extension: Option<(u16, &'a [u8])>,
    /// The payload without padding; may be empty.
    pub payload: &'a [u8],
}

impl<'a> RtpPacket<'a> {
    /// Checks version, lengths, extension and padding.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, RtpFault> {
        let reader = RtpReader::new(datagram).map_err(|fault| match fault {
            RtpReaderError::UnsupportedVersion(_) => RtpFault::Version,
            RtpReaderError::BufferTooShort(_) | RtpReaderError::HeadersTruncated { .. } => RtpFault::Truncated,
            RtpReaderError::PaddingLengthInvalid(_) => RtpFault::Padding,
        })?;
        let header = RtpHeader {
            payload_type: reader.payload_type(),
            marker: reader.mark(),
            sequence: reader.sequence_number().into(),
            timestamp: reader.timestamp(),
            ssrc: reader.ssrc(),
        };
        Ok(Self { header, extension: reader.extension(), payload: reader.payload() })
    }
}

/// How many bytes of a datagram are header: fixed part, contributing sources, extension. Unlike
/// [`RtpPacket::parse`] it asks nothing of the payload, so it may be asked of one that is still sealed.
pub fn header_bytes(datagram: &[u8]) -> Result<usize, RtpFault> {
    let [first, ..] = *datagram.first_chunk::<FIXED_HEADER_BYTES>().ok_or(RtpFault::Truncated)?;
    if first >> 6 != 2 {
        return Err(RtpFault::Version);
    }
    let mut header = FIXED_HEADER_BYTES + 4 * usize::from(first & 0x0f);
    if first & EXTENSION_BIT != 0 {
        let block = datagram.get(header..).and_then(<[u8]>::first_chunk).ok_or(RtpFault::Truncated)?;
        let [_, _, high, low] = *block;
        header += 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
    }
    if header <= datagram.len() { Ok(header) } else { Err(RtpFault::Truncated) }
}

impl RtpHeader {
    /// Writes the header and, unless `extension` is empty, a one-byte-form block (RFC 8285 section 4.2) around
    /// it. Returns the offset at which the payload belongs.
    ///
    /// # Errors
    /// [`WriteFault::OutOfRange`] for a payload type above 127 or an extension that is no multiple of four bytes,
    /// [`WriteFault::NoRoom`] if `out` is too short.
    pub fn write(&self, extension: &[u8], out: &mut [u8]) -> Result<usize, WriteFault> {
        if self.payload_type > 127 || !extension.len().is_multiple_of(4) {
            return Err(WriteFault::OutOfRange);
        }
        let words = u16::try_from(extension.len() / 4).map_err(|_| WriteFault::OutOfRange)?;
        let mut pen = Pen::new(out);
        let first = VERSION_2 | if words == 0 { 0 } else { EXTENSION_BIT };
        pen.put(&[first, self.payload_type | u8::from(self.marker) << 7])?;
        pen.put(&self.sequence.to_be_bytes())?;
        pen.put(&self.timestamp.to_be_bytes())?;
        pen.put(&self.ssrc.to_be_bytes())?;
        if words != 0 {
            pen.put(&super::rtp_extension::ONE_BYTE_PROFILE.to_be_bytes())?;
            pen.put(&words.to_be_bytes())?;
            pen.put(extension)?;
        }
        Ok(pen.used)
    }

    /// Writes the whole packet; returns its length.
    ///
    /// # Errors
    /// As [`RtpHeader::write`].
    pub fn write_packet(&self, extension: &[u8], payload: &[u8], out: &mut [u8]) -> Result<usize, WriteFault> {
        let start = self.write(extension, out)?;
        let end = start + payload.len();
        out.get_mut(start..end).ok_or(WriteFault::NoRoom)?.copy_from_slice(payload);
        Ok(end)
    }
}

const VERSION_2: u8 = 2 << 6;
const EXTENSION_BIT: u8 = 1 << 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtp_rs::{RtpPacketBuilder, Seq};

    use super::*;

    const HEADER: RtpHeader =
        RtpHeader { payload_type: 111, marker: true, sequence: 0x0102, timestamp: 0x0304_0506, ssrc: 0x0708_090a };

    #[test]
    fn a_written_packet_has_the_bytes_of_rfc_3550() {
        let mut out = [0xee; 32];
        let length = HEADER.write_packet(&[0x10, 0x85, 0, 0], &[0xf8, 0xff, 0xfe], &mut out).unwrap();
        let golden: &[u8] =
            &[0x90, 0xef, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0xbe, 0xde, 0, 1, 0x10, 0x85, 0, 0, 0xf8, 0xff, 0xfe];
        assert_eq!(&out[..length], golden);
        assert_eq!(out[length], 0xee, "nothing is written behind the packet");
    }

    #[test]
    fn a_packet_with_sources_extension_and_padding_yields_only_its_payload() {
        let packet: &[u8] = &[
            0xb1, 0x00, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0xaa, 0xaa, 0xaa, 0xaa, 0x10, 0, 0, 1, 1, 1, 0x85, 0, b'h', b'i',
            0, 2,
        ];
        let view = RtpPacket::parse(packet).unwrap();
        assert_eq!(view.payload, b"hi");
        assert_eq!(view.extension, Some((0x1000, &[1, 1, 0x85, 0][..])));
        assert_eq!((view.header.sequence, view.header.ssrc, view.header.payload_type), (9, 2, 0));
    }

    #[test]
    fn a_packet_that_lies_about_a_length_is_refused_by_name() {
        let fixed = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let with = |first: u8, tail: &[u8]| [&[first], &fixed[1..], tail].concat();
        assert_eq!(RtpPacket::parse(&[]), Err(RtpFault::Truncated));
        assert_eq!(RtpPacket::parse(&fixed[..11]), Err(RtpFault::Truncated));
        assert_eq!(RtpPacket::parse(&with(0x40, &[])), Err(RtpFault::Version));
        assert_eq!(RtpPacket::parse(&with(0x81, &[])), Err(RtpFault::Truncated), "one source promised, none there");
        assert_eq!(RtpPacket::parse(&with(0x90, &[0xbe, 0xde, 0, 1])), Err(RtpFault::Truncated), "one word promised");
        for lie in [&fixed[..11], &with(0x40, &[]), &with(0x81, &[]), &with(0x90, &[0xbe, 0xde, 0, 1])] {
            assert_eq!(header_bytes(lie).err(), RtpPacket::parse(lie).err(), "{lie:02x?}");
        }
        assert_eq!(RtpPacket::parse(&with(0xa0, &[0])), Err(RtpFault::Padding), "a padding of nothing");
        assert_eq!(RtpPacket::parse(&with(0xa0, &[2])), Err(RtpFault::Padding), "padding over the header");
    }

    #[test]
    fn a_datagram_is_told_apart_by_the_ranges_of_rfc_7983() {
        for first in 0..=255u8 {
            let expected = match first {
                0..=3 => DatagramKind::Stun,
                20..=63 => DatagramKind::Dtls,
                128..=191 => DatagramKind::Rtp,
                4..=19 | 64..=127 | 192..=255 => DatagramKind::Other,
            };
            assert_eq!(DatagramKind::of(&[first, 0, 0]), expected, "first byte {first}");
        }
        for (second, expected) in [
            (191, DatagramKind::Rtp),
            (192, DatagramKind::Rtcp),
            (200, DatagramKind::Rtcp),
            (223, DatagramKind::Rtcp),
            (224, DatagramKind::Rtp),
        ] {
            assert_eq!(DatagramKind::of(&[0x80, second]), expected, "second byte {second}");
        }
        assert_eq!(DatagramKind::of(&[0x80]), DatagramKind::Other);
        assert_eq!(DatagramKind::of(&[]), DatagramKind::Other);
    }

    #[test]
    fn a_header_refuses_a_payload_type_of_eight_bits_and_a_short_buffer() {
        let mut out = [0; 12];
        assert_eq!(RtpHeader { payload_type: 128, ..HEADER }.write(&[], &mut out), Err(WriteFault::OutOfRange));
        assert_eq!(HEADER.write(&[1, 2, 3], &mut out), Err(WriteFault::OutOfRange));
        assert_eq!(HEADER.write(&[], &mut out[..11]), Err(WriteFault::NoRoom));
        assert_eq!(HEADER.write_packet(&[], &[0], &mut out), Err(WriteFault::NoRoom));
        assert_eq!(HEADER.write(&[], &mut out), Ok(FIXED_HEADER_BYTES));
    }

    proptest! {
        #[test]
        fn our_writer_and_an_independent_one_agree(
            payload_type in 0..128u8, marker: bool, sequence: u16, timestamp: u32, ssrc: u32,
            words in prop::collection::vec(any::<[u8; 4]>(), 0..6),
            payload in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let header = RtpHeader { payload_type, marker, sequence, timestamp, ssrc };
            let extension = words.concat();
            let mut out = [0; 300];
            let length = header.write_packet(&extension, &payload, &mut out).unwrap();
            let mut other = RtpPacketBuilder::new().payload_type(payload_type).marked(marker)
                .sequence(Seq::from(sequence)).timestamp(timestamp).ssrc(ssrc).payload(&payload);
            if !extension.is_empty() {
                other = other.extension(0xbede, &extension);
            }
            prop_assert_eq!(&out[..length], &other.build().unwrap()[..]);
            let view = RtpPacket::parse(&out[..length]).unwrap();
            prop_assert_eq!((view.header, view.payload), (header, &payload[..]));
            prop_assert_eq!(header_bytes(&out[..length]), Ok(length - payload.len()));
        }
    }
}
