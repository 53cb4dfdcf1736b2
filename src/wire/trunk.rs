//! The trunk frame: a burst on its way from one shard of a daemon to another. Two daemons speak RTP (decision 011).
//!
//! The speech and the floor of a patch travel in one stream of these frames, so that neither can overtake the
//! other. Not a transport: rings (and later sockets with their own authentication) carry whole frames and keep
//! their order. Numbers are big-endian; a frame is exactly as long as its fields say, unused bits are zero, and a
//! reader takes nothing else, so that equal messages have equal bytes.
//!
//! ```text
//!   0       version, 1
//!   1       message: 1 speech, 2 request, 3 granted, 4 queued, 5 denied, 6 revoked, 7 released
//!   2       hops already made, at most 7
//!   3       flags: 0x01 emergency (any message); speech only: 0x02 soft, 0x04 voice, 0x08 level known
//!   4- 19   patch
//!  20- 35   burst
//!  36- 51   origin node       the daemon whose port heard the talker
//!  52- 67   origin port
//!  speech   68 codec (1 Opus, 2 PCMU, 3 PCMA, 4 G.722, 5 L16), 69 channels, 70 packet time (ms), 71 level [-dBov],
//!           72-75 RTP clock (Hz), 76-77 sequence, 78-79 payload length (1 to 1,500), 80-83 timestamp,
//!           84 talker length (0 to 15), then talker, then payload
//!  request  68 talker length, then talker
//!  granted  nothing
//!  queued   68 position, 1 is next
//!  denied   68 cause: 1 busy, 2 listen only, 4 still revoked, 5 unreachable, 6 full
//!  revoked, released
//!           68 cause: 1 released, 2 silence, 3 timed out, 4 pre-empted, 5 revoked, 6 leg left, 7 patch closed,
//!           8 port closed, 9 inhibited, 10 restart
//!           released: 69-70 squelch tail that was dropped (ms)
//! ```

use super::rtp_extension::AudioLevel;
use super::{Cursor, DATAGRAM_BYTES_MAX, Pen, WriteFault};
use crate::domain::audio::{Codec, Format, Level};
use crate::domain::floor::{BurstEnd, Denial};
use crate::domain::id::{BurstId, NodeId, PatchId, PortId};
use crate::domain::talker::Alias;

/// The version this file reads and writes; shards of another one are not understood.
pub const VERSION: u8 = 1;

/// Audio is heard one hop from its origin (law 3); the field leaves room for relays of a wide-area net and is the
/// last stop for a frame that circles.
pub const HOPS_MAX: u8 = 7;

/// The longest payload (bytes): no RTP packet we accept carries more.
pub const PAYLOAD_BYTES_MAX: usize = DATAGRAM_BYTES_MAX;

/// The longest frame (bytes); what a ring's slot must hold.
pub const FRAME_BYTES_MAX: usize = COMMON_BYTES + SPEECH_BYTES + Alias::LENGTH_MAX + PAYLOAD_BYTES_MAX;

/// One message about one burst in one patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrunkFrame<'a> {
    /// Where the burst is heard.
    pub patch: PatchId,
    /// Which burst; chosen where the talker is.
    pub burst: BurstId,
    /// The daemon whose port heard the talker.
    pub node: NodeId,
    /// The port that heard the talker.
    pub port: PortId,
    /// Trunks this frame has crossed before, at most [`HOPS_MAX`].
    pub hops: u8,
    /// The burst is an emergency.
    pub emergency: bool,
    /// What is said.
    pub message: TrunkMessage<'a>,
}

/// Speech, and the floor words of 3GPP TS 24.380.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrunkMessage<'a> {
    /// From the talker's shard: one packet.
    Speech(Speech<'a>),
    /// To the patch's home: this talker has keyed.
    Request {
        /// Who, as far as the wire says.
        talker: Alias,
    },
    /// From the patch's home: talk.
    Granted,
    /// From the patch's home: wait; position 1 is next.
    Queued {
        /// At least 1.
        position: u8,
    },
    /// From the patch's home: not now.
    Denied {
        /// Why.
        cause: Denial,
    },
    /// From the patch's home: no longer.
    Revoked {
        /// Why.
        cause: BurstEnd,
    },
    /// To the patch's home: the burst has ended at its origin.
    Released {
        /// Why.
        cause: BurstEnd,
        /// So much at its end was declared squelch tail, and is heard by nobody (ms).
        tail_ms: u16,
    },
}

/// One packet of a burst, as its port received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speech<'a> {
    /// What the payload is.
    pub format: Format,
    /// From an open floor: others are louder, nobody is to hear it.
    pub soft: bool,
    /// The sender's or the shard's measure of this packet.
    pub level: Option<AudioLevel>,
    /// RTP sequence at the origin: gaps are losses there.
    pub sequence: u16,
    /// RTP timestamp at the origin.
    pub timestamp: u32,
    /// Who talks; empty if unknown.
    pub talker: Alias,
    /// 1 to [`PAYLOAD_BYTES_MAX`] bytes.
    pub payload: &'a [u8],
}

/// Why bytes are no trunk frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrunkFault {
    /// Not [`VERSION`].
    Version,
    /// More than [`HOPS_MAX`]: the frame circles.
    Hops,
    /// Shorter or longer than its fields say.
    Length,
    /// A field holds a value this version does not know.
    Field,
}

impl<'a> TrunkFrame<'a> {
    /// Reads one whole frame; the payload is borrowed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TrunkFault> {
        let mut cursor = Cursor(bytes);
        let [version, kind, hops, flags] = cursor.array().ok_or(TrunkFault::Length)?;
        if version != VERSION {
            return Err(TrunkFault::Version);
        }
        if hops > HOPS_MAX {
            return Err(TrunkFault::Hops);
        }
        if flags & !(if kind == SPEECH { ALL_FLAGS } else { EMERGENCY }) != 0 {
            return Err(TrunkFault::Field);
        }
        let frame = Self {
            patch: PatchId(number(&mut cursor)?),
            burst: BurstId(number(&mut cursor)?),
            node: NodeId(number(&mut cursor)?),
            port: PortId(number(&mut cursor)?),
            hops,
            emergency: flags & EMERGENCY != 0,
            message: read_message(kind, flags, &mut cursor)?,
        };
        if cursor.0.is_empty() { Ok(frame) } else { Err(TrunkFault::Length) }
    }

    /// Writes the frame into `out` and returns its length.
    ///
    /// # Errors
    /// [`WriteFault::NoRoom`] below [`FRAME_BYTES_MAX`] bytes, [`WriteFault::OutOfRange`] for hops, a payload, a
    /// level or a queue position outside its limits.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, WriteFault> {
        if self.hops > HOPS_MAX {
            return Err(WriteFault::OutOfRange);
        }
        let emergency = if self.emergency { EMERGENCY } else { 0 };
        let (kind, flags) = match &self.message {
            TrunkMessage::Speech(speech) => (SPEECH, emergency | speech.flags()),
            TrunkMessage::Request { .. } => (REQUEST, emergency),
            TrunkMessage::Granted => (GRANTED, emergency),
            TrunkMessage::Queued { .. } => (QUEUED, emergency),
            TrunkMessage::Denied { .. } => (DENIED, emergency),
            TrunkMessage::Revoked { .. } => (REVOKED, emergency),
            TrunkMessage::Released { .. } => (RELEASED, emergency),
        };
        let mut pen = Pen::new(out);
        pen.put(&[VERSION, kind, self.hops, flags])?;
        for id in [self.patch.0, self.burst.0, self.node.0, self.port.0] {
            pen.put(&id.to_be_bytes())?;
        }
        match &self.message {
            TrunkMessage::Speech(speech) => speech.put(&mut pen)?,
            TrunkMessage::Request { talker } => put_talker(&mut pen, talker)?,
            TrunkMessage::Granted => {}
            TrunkMessage::Queued { position: 0 } => return Err(WriteFault::OutOfRange),
            TrunkMessage::Queued { position } => pen.put(&[*position])?,
            TrunkMessage::Denied { cause } => pen.put(&[denial_code(*cause)])?,
            TrunkMessage::Revoked { cause } => pen.put(&[end_code(*cause)])?,
            TrunkMessage::Released { cause, tail_ms } => {
                pen.put(&[end_code(*cause)])?;
                pen.put(&tail_ms.to_be_bytes())?;
            }
        }
        Ok(pen.used)
    }
}

impl<'a> Speech<'a> {
    fn flags(&self) -> u8 {
        let level = self.level.map_or(0, |level| LEVEL_KNOWN | if level.voice { VOICE } else { 0 });
        level | if self.soft { SOFT } else { 0 }
    }

    fn put(&self, pen: &mut Pen<'_>) -> Result<(), WriteFault> {
        let level = self.level.map_or(0, |level| level.level.0);
        let length = u16::try_from(self.payload.len()).unwrap_or(u16::MAX);
        if level > Level::SILENCE.0 || length == 0 || usize::from(length) > PAYLOAD_BYTES_MAX {
            return Err(WriteFault::OutOfRange);
        }
        pen.put(&[codec_code(self.format.codec), self.format.channels, self.format.packet_ms, level])?;
        pen.put(&self.format.clock_hz.to_be_bytes())?;
        pen.put(&self.sequence.to_be_bytes())?;
        pen.put(&length.to_be_bytes())?;
        pen.put(&self.timestamp.to_be_bytes())?;
        put_talker(pen, &self.talker)?;
        pen.put(self.payload)
    }

    fn read(flags: u8, cursor: &mut Cursor<'a>) -> Result<Self, TrunkFault> {
        let [codec, channels, packet_ms, level] = cursor.array().ok_or(TrunkFault::Length)?;
        let clock_hz = u32::from_be_bytes(cursor.array().ok_or(TrunkFault::Length)?);
        let sequence = u16::from_be_bytes(cursor.array().ok_or(TrunkFault::Length)?);
        let length = usize::from(u16::from_be_bytes(cursor.array().ok_or(TrunkFault::Length)?));
        let timestamp = u32::from_be_bytes(cursor.array().ok_or(TrunkFault::Length)?);
        let talker = read_talker(cursor)?;
        let codec = codec_of(codec).ok_or(TrunkFault::Field)?;
        let level = match (flags & LEVEL_KNOWN != 0, flags & VOICE != 0, level) {
            (true, voice, 0..=127) => Some(AudioLevel { level: Level(level), voice }),
            (false, false, 0) => None,
            (_, _, _) => return Err(TrunkFault::Field),
        };
        if length == 0 || length > PAYLOAD_BYTES_MAX {
            return Err(TrunkFault::Field);
        }
        Ok(Self {
            format: Format { codec, clock_hz, channels, packet_ms },
            soft: flags & SOFT != 0,
            level,
            sequence,
            timestamp,
            talker,
            payload: cursor.take(length).ok_or(TrunkFault::Length)?,
        })
    }
}

fn read_message<'a>(kind: u8, flags: u8, cursor: &mut Cursor<'a>) -> Result<TrunkMessage<'a>, TrunkFault> {
    Ok(match kind {
        SPEECH => TrunkMessage::Speech(Speech::read(flags, cursor)?),
        REQUEST => TrunkMessage::Request { talker: read_talker(cursor)? },
        GRANTED => TrunkMessage::Granted,
        QUEUED => match cursor.byte().ok_or(TrunkFault::Length)? {
            0 => return Err(TrunkFault::Field),
            position => TrunkMessage::Queued { position },
        },
        DENIED => TrunkMessage::Denied { cause: read_code(denial_of, cursor)? },
        REVOKED => TrunkMessage::Revoked { cause: read_code(end_of, cursor)? },
        RELEASED => TrunkMessage::Released {
            cause: read_code(end_of, cursor)?,
            tail_ms: u16::from_be_bytes(cursor.array().ok_or(TrunkFault::Length)?),
        },
        _ => return Err(TrunkFault::Field),
    })
}

fn number(cursor: &mut Cursor<'_>) -> Result<u128, TrunkFault> {
    cursor.array().map(u128::from_be_bytes).ok_or(TrunkFault::Length)
}

fn read_code<T>(word_of: fn(u8) -> Option<T>, cursor: &mut Cursor<'_>) -> Result<T, TrunkFault> {
    word_of(cursor.byte().ok_or(TrunkFault::Length)?).ok_or(TrunkFault::Field)
}

fn read_talker(cursor: &mut Cursor<'_>) -> Result<Alias, TrunkFault> {
    let length = usize::from(cursor.byte().ok_or(TrunkFault::Length)?);
    let bytes = cursor.take(length).ok_or(TrunkFault::Length)?;
    let talker = Alias::from_bytes(bytes);
    // Bytes that an alias would not keep were not written by us.
    if talker.as_str().as_bytes() == bytes { Ok(talker) } else { Err(TrunkFault::Field) }
}

fn put_talker(pen: &mut Pen<'_>, talker: &Alias) -> Result<(), WriteFault> {
    pen.put(&[talker.as_str().len() as u8])?;
    pen.put(talker.as_str().as_bytes())
}

/// A word and its number on the wire, both ways; the compiler misses no variant.
macro_rules! codes {
    ($code:ident, $of:ident, $word:ident { $($variant:ident = $number:literal),+ $(,)? }) => {
        fn $code(word: $word) -> u8 {
            match word { $($word::$variant => $number),+ }
        }
        fn $of(code: u8) -> Option<$word> {
            match code { $($number => Some($word::$variant),)+ _ => None }
        }
    };
}

codes!(codec_code, codec_of, Codec { Opus = 1, Pcmu = 2, Pcma = 3, G722 = 4, L16 = 5 });
codes!(denial_code, denial_of, Denial {
    Busy = 1, ListenOnly = 2, StillRevoked = 4, Unreachable = 5, Full = 6,
});
codes!(end_code, end_of, BurstEnd {
    Released = 1, Silence = 2, TimedOut = 3, PreEmpted = 4, Revoked = 5, LegLeft = 6, PatchClosed = 7,
    PortClosed = 8, Inhibited = 9, Restart = 10,
});

const COMMON_BYTES: usize = 68;
const SPEECH_BYTES: usize = 17;

const SPEECH: u8 = 1;
const REQUEST: u8 = 2;
const GRANTED: u8 = 3;
const QUEUED: u8 = 4;
const DENIED: u8 = 5;
const REVOKED: u8 = 6;
const RELEASED: u8 = 7;

const EMERGENCY: u8 = 0x01;
const SOFT: u8 = 0x02;
const VOICE: u8 = 0x04;
const LEVEL_KNOWN: u8 = 0x08;
const ALL_FLAGS: u8 = EMERGENCY | SOFT | VOICE | LEVEL_KNOWN;

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Speech<'static> {
        Speech {
            format: Format::usual(Codec::Opus),
            soft: true,
            level: Some(AudioLevel { level: Level(26), voice: true }),
            sequence: 0x0102,
            timestamp: 0x0304_0506,
            talker: Alias::default(),
            payload: &[0xf8, 0xff, 0xfe],
        }
    }

    fn frame(message: TrunkMessage<'_>) -> TrunkFrame<'_> {
        let (patch, burst) = (PatchId(1), BurstId(2 << 64));
        TrunkFrame { patch, burst, node: NodeId(3), port: PortId(4), hops: 1, emergency: true, message }
    }

    fn bytes(frame: &TrunkFrame<'_>) -> Vec<u8> {
        let mut out = vec![0xee; FRAME_BYTES_MAX];
        let length = frame.write(&mut out).unwrap();
        out.truncate(length);
        out
    }

    #[test]
    fn a_speech_frame_has_the_documented_bytes() {
        let written = bytes(&frame(TrunkMessage::Speech(Speech { talker: Alias::new("E1"), ..hello() })));
        let mut golden = vec![1, 1, 1, 0x0f];
        for id in [1u128, 2 << 64, 3, 4] {
            golden.extend(id.to_be_bytes());
        }
        golden.extend([1, 1, 20, 26, 0, 0, 0xbb, 0x80, 1, 2, 0, 3, 3, 4, 5, 6, 2, b'E', b'1', 0xf8, 0xff, 0xfe]);
        assert_eq!(written, golden);
    }

    #[test]
    fn every_message_reads_back_and_no_part_or_excess_of_it_does() {
        let mut messages = vec![
            TrunkMessage::Speech(hello()),
            TrunkMessage::Speech(Speech { level: None, soft: false, talker: Alias::new("Fuß 7"), ..hello() }),
            TrunkMessage::Request { talker: Alias::new("E1") },
            TrunkMessage::Granted,
            TrunkMessage::Queued { position: 1 },
        ];
        messages.extend(Denial::ALL.map(|cause| TrunkMessage::Denied { cause }));
        messages.extend((1..=10).map(|code| TrunkMessage::Revoked { cause: end_of(code).unwrap() }));
        messages.extend((1..=10).map(|code| TrunkMessage::Released { cause: end_of(code).unwrap(), tail_ms: 0x0102 }));
        for message in messages {
            let frame = frame(message);
            let mut written = bytes(&frame);
            assert_eq!(TrunkFrame::parse(&written), Ok(frame));
            for cut in 0..written.len() {
                assert_eq!(TrunkFrame::parse(&written[..cut]), Err(TrunkFault::Length), "{message:?} cut at {cut}");
            }
            written.push(0);
            assert_eq!(TrunkFrame::parse(&written), Err(TrunkFault::Length), "{message:?} with a byte too many");
        }
    }

    #[test]
    fn words_keep_their_documented_numbers() {
        let codecs = [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::L16];
        assert_eq!(codecs.map(codec_code), [1, 2, 3, 4, 5]);
        let (busy, still) = (Denial::Busy, Denial::StillRevoked);
        let denials = [busy, Denial::ListenOnly, still, Denial::Unreachable, Denial::Full];
        assert_eq!(denials.map(denial_code), [1, 2, 4, 5, 6]);
        let talker =
            [BurstEnd::Released, BurstEnd::Silence, BurstEnd::TimedOut, BurstEnd::PreEmpted, BurstEnd::Revoked];
        assert_eq!(talker.map(end_code), [1, 2, 3, 4, 5]);
        let world =
            [BurstEnd::LegLeft, BurstEnd::PatchClosed, BurstEnd::PortClosed, BurstEnd::Inhibited, BurstEnd::Restart];
        assert_eq!(world.map(end_code), [6, 7, 8, 9, 10]);
    }

    #[test]
    fn a_frame_of_another_version_or_one_that_circles_is_refused() {
        let good = bytes(&frame(TrunkMessage::Granted));
        for (at, value, fault) in [
            (0, 2, TrunkFault::Version),
            (1, 0, TrunkFault::Field),
            (1, 8, TrunkFault::Field),
            (2, HOPS_MAX + 1, TrunkFault::Hops),
            (3, SOFT, TrunkFault::Field),
        ] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(TrunkFrame::parse(&bad), Err(fault), "byte {at} = {value}");
        }
    }

    #[test]
    fn a_speech_frame_with_an_unknown_or_second_spelling_is_refused() {
        let good = bytes(&frame(TrunkMessage::Speech(hello())));
        for (at, value) in [(3, 0x10), (3, 0x06), (3, 0x02), (68, 0), (68, 6), (71, 128), (79, 0), (78, 0xff)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(TrunkFrame::parse(&bad), Err(TrunkFault::Field), "byte {at} = {value}");
        }
    }

    #[test]
    fn the_longest_frame_fits_and_one_byte_more_does_not() {
        let longest = [7; PAYLOAD_BYTES_MAX + 1];
        let talker = Alias::new("ABCDEFGHIJKLMNO");
        let speech = Speech { talker, payload: &longest[1..], ..hello() };
        assert_eq!(bytes(&frame(TrunkMessage::Speech(speech))).len(), FRAME_BYTES_MAX);
        let mut out = [0; FRAME_BYTES_MAX + 1];
        for message in [
            TrunkMessage::Speech(Speech { payload: &longest, ..hello() }),
            TrunkMessage::Speech(Speech { payload: &[], ..hello() }),
            TrunkMessage::Queued { position: 0 },
        ] {
            assert_eq!(frame(message).write(&mut out), Err(WriteFault::OutOfRange));
        }
        let far = TrunkFrame { hops: HOPS_MAX + 1, ..frame(TrunkMessage::Granted) };
        assert_eq!(far.write(&mut out), Err(WriteFault::OutOfRange));
        assert_eq!(frame(TrunkMessage::Granted).write(&mut out[..67]), Err(WriteFault::NoRoom));
    }
}
