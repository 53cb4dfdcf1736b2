//! RTCP (RFC 3550 section 6): what a peer's compound says about the stream we send it, and the reports we send.
//!
//! Packets are read one by one through `rtcp-types`, without its compound iterator, which allocates for SDES; ours
//! are written in place. Not a schedule and no statistics: when to report, and what, is `media`'s. Names (CNAME)
//! in others' packets are not read: nobody here is identified by what a datagram claims.

use std::time::Duration;

use rtcp_types::prelude::{RtcpPacket, RtcpPacketParser};
use rtcp_types::{Bye, ReceiverReport, ReportBlock, RtcpParseError, SenderReport as SenderPacket};

use super::{Pen, WriteFault};
use crate::domain::time::MonoTime;

/// RFC 3550's 32.32 fixed-point time. Ours counts boot time, as section 6.4.1 allows a sender that knows no date: the
/// top bit then stays clear, and receivers compare values of one sender only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// Boot time in NTP's units.
    pub const fn of(now: MonoTime) -> Self {
        Self((((now.0 as u128) << 32) / 1_000_000_000) as u64)
    }
    /// The middle 32 bits: how report blocks refer to a sender report [1/65,536 s].
    pub const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// The sender half of a sender report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderReport {
    /// The sender's clock when it wrote the report.
    pub ntp: NtpTime,
    /// The same moment in its RTP clock.
    pub rtp_timestamp: u32,
    /// Packets sent since its SSRC began.
    pub packets: u32,
    /// Payload bytes sent since its SSRC began.
    pub octets: u32,
}

/// How one SSRC's packets arrived at the reporter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reception {
    /// The stream reported on.
    pub ssrc: u32,
    /// Lost since the last report [1/256].
    pub lost_fraction: u8,
    /// Lost since the stream began; duplicates can make it negative. 24 bits on the wire.
    pub lost_total: i32,
    /// Highest sequence number received, with its wraps in the upper half.
    pub highest_sequence: u32,
    /// Interarrival jitter [RTP clock units].
    pub jitter: u32,
    /// [`NtpTime::middle`] of the last sender report received; zero if none was.
    pub last_report: u32,
    /// Since that report arrived [1/65,536 s].
    pub delay: u32,
}

/// All we want to know of one compound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RtcpSummary {
    /// SSRC of the first reporter.
    pub reporter: Option<u32>,
    /// From the last sender report, if there was one.
    pub sender: Option<SenderReport>,
    /// About our SSRC, if anybody reported on it.
    pub about_us: Option<Reception>,
    /// The first source that says it leaves.
    pub leaving: Option<u32>,
}

/// Why a datagram is no RTCP compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpFault {
    /// A packet's version is not 2.
    Version,
    /// A packet ends before its own lengths and counts say.
    Truncated,
    /// A packet's padding count cannot be.
    Padding,
}

impl RtcpSummary {
    /// Reads a compound. A first packet that is no report is accepted (RFC 5506): feedback and goodbyes may travel
    /// alone. Packets of other types are skipped by their length.
    pub fn parse(datagram: &[u8], our_ssrc: u32) -> Result<Self, RtcpFault> {
        let mut summary = Self::default();
        let mut rest = datagram;
        loop {
            let (packet, tail) = split_packet(rest)?;
            summary.read(packet, our_ssrc)?;
            if tail.is_empty() {
                return Ok(summary);
            }
            rest = tail;
        }
    }

    fn read(&mut self, packet: &[u8], our_ssrc: u32) -> Result<(), RtcpFault> {
        match packet[1] {
            SenderPacket::PACKET_TYPE => {
                let report = SenderPacket::parse(packet).map_err(fault)?;
                self.reporter = self.reporter.or(Some(report.ssrc()));
                self.sender = Some(SenderReport {
                    ntp: NtpTime(report.ntp_timestamp()),
                    rtp_timestamp: report.rtp_timestamp(),
                    packets: report.packet_count(),
                    octets: report.octet_count(),
                });
                let about_us = report.report_blocks().find(|block| block.ssrc() == our_ssrc);
                self.about_us = about_us.map(Reception::read).or(self.about_us);
            }
            ReceiverReport::PACKET_TYPE => {
                let report = ReceiverReport::parse(packet).map_err(fault)?;
                self.reporter = self.reporter.or(Some(report.ssrc()));
                let about_us = report.report_blocks().find(|block| block.ssrc() == our_ssrc);
                self.about_us = about_us.map(Reception::read).or(self.about_us);
            }
            Bye::PACKET_TYPE => {
                let goodbye = Bye::parse(packet).map_err(fault)?;
                self.leaving = self.leaving.or(goodbye.ssrcs().next());
            }
            _ => {}
        }
        Ok(())
    }
}

impl Reception {
    fn read(block: ReportBlock<'_>) -> Self {
        Self {
            ssrc: block.ssrc(),
            lost_fraction: block.fraction_lost(),
            // The 24-bit field is signed (RFC 3550 section 6.4.1).
            lost_total: ((block.cumulative_lost() << 8) as i32) >> 8,
            highest_sequence: block.extended_sequence_number(),
            jitter: block.interarrival_jitter(),
            last_report: block.last_sender_report_timestamp(),
            delay: block.delay_since_last_sender_report_timestamp(),
        }
    }

    /// Time the network took both ways (RFC 3550 section 6.4.1): `now` is [`NtpTime::middle`] of the block's
    /// arrival. `None` if the peer has had no report of ours, or claims to have held it longer than it existed.
    pub fn round_trip(&self, now: u32) -> Option<Duration> {
        if self.last_report == 0 {
            return None;
        }
        let units = now.wrapping_sub(self.last_report).wrapping_sub(self.delay);
        // Above half the range the difference is negative: the delay was invented, or our clock is another one.
        (units < 1 << 31).then(|| Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 16))
    }

    fn put(&self, pen: &mut Pen<'_>) -> Result<(), WriteFault> {
        // Section A.3 clamps the total instead of letting it wrap.
        let lost = self.lost_total.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        pen.put(&self.ssrc.to_be_bytes())?;
        pen.put(&(u32::from(self.lost_fraction) << 24 | lost).to_be_bytes())?;
        for word in [self.highest_sequence, self.jitter, self.last_report, self.delay] {
            pen.put(&word.to_be_bytes())?;
        }
        Ok(())
    }
}

/// Writes SR + SDES: what a port that has sent since its last report says. Returns the length.
///
/// # Errors
/// [`WriteFault::NoRoom`], and [`WriteFault::OutOfRange`] for a `cname` that is empty or above 255 bytes.
pub fn write_sender_report(
    ssrc: u32,
    report: &SenderReport,
    reception: Option<&Reception>,
    cname: &str,
    out: &mut [u8],
) -> Result<usize, WriteFault> {
    let mut pen = Pen::new(out);
    let blocks = u8::from(reception.is_some());
    put_head(&mut pen, SenderPacket::PACKET_TYPE, blocks, 6 + RECEPTION_WORDS * u16::from(blocks), ssrc)?;
    pen.put(&report.ntp.0.to_be_bytes())?;
    for word in [report.rtp_timestamp, report.packets, report.octets] {
        pen.put(&word.to_be_bytes())?;
    }
    reception.map_or(Ok(()), |block| block.put(&mut pen))?;
    put_name(&mut pen, ssrc, cname)?;
    Ok(pen.used)
}

/// Writes RR + SDES: what a port that has sent nothing since its last report says. Returns the length.
///
/// # Errors
/// As [`write_sender_report`].
pub fn write_receiver_report(
    ssrc: u32,
    reception: Option<&Reception>,
    cname: &str,
    out: &mut [u8],
) -> Result<usize, WriteFault> {
    let mut pen = Pen::new(out);
    let blocks = u8::from(reception.is_some());
    put_head(&mut pen, ReceiverReport::PACKET_TYPE, blocks, 1 + RECEPTION_WORDS * u16::from(blocks), ssrc)?;
    reception.map_or(Ok(()), |block| block.put(&mut pen))?;
    put_name(&mut pen, ssrc, cname)?;
    Ok(pen.used)
}

/// Writes an empty RR + SDES + BYE: a compound must begin with a report and name its sender (RFC 3550 section
/// 6.1). Returns the length.
///
/// # Errors
/// As [`write_sender_report`].
pub fn write_goodbye(ssrc: u32, cname: &str, out: &mut [u8]) -> Result<usize, WriteFault> {
    let start = write_receiver_report(ssrc, None, cname, out)?;
    let mut pen = Pen { out, used: start };
    put_head(&mut pen, Bye::PACKET_TYPE, 1, 1, ssrc)?;
    Ok(pen.used)
}

/// Cuts the first packet off a compound by its own length.
fn split_packet(bytes: &[u8]) -> Result<(&[u8], &[u8]), RtcpFault> {
    let [first, _, words @ ..] = *bytes.first_chunk::<4>().ok_or(RtcpFault::Truncated)?;
    if first >> 6 != 2 {
        return Err(RtcpFault::Version);
    }
    let length = 4 * (usize::from(u16::from_be_bytes(words)) + 1);
    bytes.split_at_checked(length).ok_or(RtcpFault::Truncated)
}

fn fault(fault: RtcpParseError) -> RtcpFault {
    if matches!(fault, RtcpParseError::UnsupportedVersion(_)) {
        RtcpFault::Version
    } else if fault == RtcpParseError::InvalidPadding {
        RtcpFault::Padding
    } else {
        // What else can be wrong with a report or goodbye is a length.
        RtcpFault::Truncated
    }
}

/// The common header and the first SSRC; `words` is the length field: 32-bit words behind the common header.
fn put_head(pen: &mut Pen<'_>, packet_type: u8, count: u8, words: u16, ssrc: u32) -> Result<(), WriteFault> {
    pen.put(&[VERSION_2 | count, packet_type])?;
    pen.put(&words.to_be_bytes())?;
    pen.put(&ssrc.to_be_bytes())
}

/// An SDES packet of one chunk with one CNAME item, ended by at least one zero byte (RFC 3550 section 6.5).
fn put_name(pen: &mut Pen<'_>, ssrc: u32, cname: &str) -> Result<(), WriteFault> {
    const SDES: u8 = 202;
    const CNAME: u8 = 1;
    let length = u8::try_from(cname.len()).ok().filter(|length| *length != 0).ok_or(WriteFault::OutOfRange)?;
    let words = 1 + (2 + u16::from(length) + 1).div_ceil(4);
    put_head(pen, SDES, 1, words, ssrc)?;
    pen.put(&[CNAME, length])?;
    pen.put(cname.as_bytes())?;
    pen.put(&[0])?;
    pen.align()
}

const VERSION_2: u8 = 2 << 6;
/// A report block.
const RECEPTION_WORDS: u16 = 6;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtcp_types::{Compound, Sdes, SdesChunk, SdesItem, prelude::RtcpPacketWriterExt};

    use super::*;

    const RECEPTION: Reception = Reception {
        ssrc: 0x0102_0304,
        lost_fraction: 0x40,
        lost_total: -2,
        highest_sequence: 0x0001_ffff,
        jitter: 77,
        last_report: 0xb705_2000,
        delay: 0x0005_4000,
    };
    const REPORT: SenderReport =
        SenderReport { ntp: NtpTime(0xb44d_b705_2000_0000), rtp_timestamp: 9, packets: 8, octets: 7 };

    #[test]
    fn a_goodbye_has_the_bytes_of_rfc_3550() {
        let mut out = [0xee; 64];
        let length = write_goodbye(0x0a0b_0c0d, "x@y", &mut out).unwrap();
        let golden: &[u8] = &[
            0x80, 201, 0, 1, 10, 11, 12, 13, // RR without blocks
            0x81, 202, 0, 3, 10, 11, 12, 13, 1, 3, b'x', b'@', b'y', 0, 0, 0, // SDES
            0x81, 203, 0, 1, 10, 11, 12, 13, // BYE
        ];
        assert_eq!(&out[..length], golden);
        let summary = RtcpSummary::parse(golden, 1).unwrap();
        let ssrc = Some(0x0a0b_0c0d);
        assert_eq!(summary, RtcpSummary { reporter: ssrc, leaving: ssrc, ..RtcpSummary::default() });
    }

    #[test]
    fn the_example_of_rfc_3550_section_6_4_1_gives_its_round_trip() {
        // Figure 2: A = b710:8000, LSR = b705:2000, DLSR = 0005:4000, delay 6.125 s.
        assert_eq!(RECEPTION.round_trip(0xb710_8000), Some(Duration::from_millis(6125)));
        assert_eq!(Reception { last_report: 0, ..RECEPTION }.round_trip(0xb710_8000), None);
        assert_eq!(RECEPTION.round_trip(0xb70a_0000), None, "the peer held our report longer than it existed");
        let wrapped = Reception { last_report: 0xffff_8000, delay: 0x8000, ..RECEPTION };
        assert_eq!(wrapped.round_trip(0x0001_0000), Some(Duration::from_secs(1)));
    }

    #[test]
    fn ntp_time_counts_seconds_above_and_fractions_below() {
        assert_eq!(NtpTime::of(MonoTime::from_millis(1500)), NtpTime(0x1_8000_0000));
        assert_eq!(NtpTime::of(MonoTime::from_millis(1500)).middle(), 0x0001_8000);
        let almost_68_years = MonoTime(((1 << 31) - 1) * 1_000_000_000);
        assert_eq!(NtpTime::of(almost_68_years).0 >> 63, 0, "the top bit says: no date");
    }

    #[test]
    fn only_blocks_about_our_own_stream_are_taken() {
        let mut out = [0; 128];
        let length = write_sender_report(5, &REPORT, Some(&RECEPTION), "a", &mut out).unwrap();
        let ours = RtcpSummary::parse(&out[..length], RECEPTION.ssrc).unwrap();
        assert_eq!((ours.reporter, ours.sender, ours.about_us), (Some(5), Some(REPORT), Some(RECEPTION)));
        assert_eq!(RtcpSummary::parse(&out[..length], 6).unwrap().about_us, None);
    }

    #[test]
    fn a_compound_that_lies_is_refused_by_name_and_a_foreign_packet_is_skipped() {
        let mut out = [0; 64];
        let length = write_goodbye(1, "a", &mut out).unwrap();
        assert_eq!(RtcpSummary::parse(&[], 1), Err(RtcpFault::Truncated));
        for cut in 1..length {
            let whole = cut == 8 || cut == 20;
            assert_eq!(RtcpSummary::parse(&out[..cut], 1).is_ok(), whole, "cut at {cut}");
        }
        assert_eq!(RtcpSummary::parse(&[0x40, 201, 0, 1, 0, 0, 0, 1], 1), Err(RtcpFault::Version));
        assert_eq!(RtcpSummary::parse(&[0x81, 201, 0, 1, 0, 0, 0, 1], 1), Err(RtcpFault::Truncated), "a block");
        assert_eq!(RtcpSummary::parse(&[0xa0, 201, 0, 1, 0, 0, 0, 0], 1), Err(RtcpFault::Padding));
        let foreign = [&[0x80, 204, 0, 1, 9, 9, 9, 9], &out[..length]].concat();
        assert_eq!(RtcpSummary::parse(&foreign, 1), RtcpSummary::parse(&out[..length], 1));
    }

    #[test]
    fn a_name_that_cannot_be_and_a_short_buffer_are_refused() {
        let mut out = [0; 400];
        assert_eq!(write_receiver_report(1, None, "", &mut out), Err(WriteFault::OutOfRange));
        assert_eq!(write_receiver_report(1, None, &"n".repeat(256), &mut out), Err(WriteFault::OutOfRange));
        assert_eq!(write_receiver_report(1, None, &"n".repeat(255), &mut out), Ok(8 + 268));
        assert_eq!(write_receiver_report(1, None, "a", &mut out[..19]), Err(WriteFault::NoRoom));
    }

    proptest! {
        #[test]
        fn our_writer_and_an_independent_one_agree(
            ssrc: u32, ntp: u64, words: [u32; 8], fraction: u8, total in -0x80_0000..0x80_0000i32,
            block: bool, cname in "[a-z]{1,40}",
        ) {
            let [rtp_timestamp, packets, octets, about, highest_sequence, jitter, last_report, delay] = words;
            let report = SenderReport { ntp: NtpTime(ntp), rtp_timestamp, packets, octets };
            let reception = Reception {
                ssrc: about, lost_fraction: fraction, lost_total: total, highest_sequence, jitter, last_report, delay,
            };
            let reception = block.then_some(&reception);
            let mut out = [0; 128];
            let length = write_sender_report(ssrc, &report, reception, &cname, &mut out).unwrap();

            let mut sender = SenderPacket::builder(ssrc)
                .ntp_timestamp(ntp).rtp_timestamp(rtp_timestamp).packet_count(packets).octet_count(octets);
            if reception.is_some() {
                sender = sender.add_report_block(ReportBlock::builder(about).fraction_lost(fraction)
                    .cumulative_lost(total as u32 & 0xff_ffff).extended_sequence_number(highest_sequence)
                    .interarrival_jitter(jitter).last_sender_report_timestamp(last_report)
                    .delay_since_last_sender_report_timestamp(delay));
            }
            let names = Sdes::builder()
                .add_chunk(SdesChunk::builder(ssrc).add_item(SdesItem::builder(SdesItem::CNAME, &cname)));
            let mut other = [0; 128];
            let other_length =
                Compound::builder().add_packet(sender).add_packet(names).write_into(&mut other).unwrap();
            prop_assert_eq!(&out[..length], &other[..other_length]);

            let summary = RtcpSummary::parse(&out[..length], about).unwrap();
            prop_assert_eq!((summary.sender, summary.about_us), (Some(report), reception.copied()));
        }
    }
}
