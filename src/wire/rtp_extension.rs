//! RTP header extension elements (RFC 8285): audio level, keying, talker. Described for implementers in docs/wire.md.
//!
//! Which element id means what is configured or negotiated ([`ExtensionIds`]); [`DEFAULT_IDS`] is what we offer.
//! Reading never fails: an element that makes no sense is as good as absent, since an extension must not cost
//! anybody the speech beneath it. Both forms are read, only the one-byte form is written.
//!
//! **Audio level** (RFC 6464), 1 byte: bit 7 voice activity, bits 6-0 level in -dBov (0 loudest, 127 silence).
//!
//! **Keying** (ours), 2 bytes, both directions; longer ones are read by their first two bytes, a lone byte is flags:
//!
//! ```text
//!  byte 0   0x80 PTT        to a gateway: raise the transmitter; to us: the talker asks for the floor
//!           0x40 COR        to us: the receiver's squelch is open
//!           0x20 GRANT      to us: transmitter or trunk is up, speech will be heard
//!           0x10 DENY       to us: transmitter or trunk is busy, speech would be lost
//!           0x08 EMERGENCY  either way
//!           0x07            sent as zero, ignored when read
//!  byte 1   high 4 bits     floor, as the talker on this leg must know it (words of 3GPP TS 24.380):
//!                           0 nothing said, 1 idle, 2 granted, 3 taken by another, 4 denied, 5 revoked, 6 queued;
//!                           others are read as nothing said
//!           low 4 bits      queued: position, 1 is next, 15 is fifteenth or later; else zero and ignored
//! ```
//!
//! **Talker** (ours), 1 to 15 bytes: the talker's alias in UTF-8.

use super::{Pen, WriteFault};
use crate::domain::audio::Level;
use crate::domain::port::ExtensionIds;
use crate::domain::talker::Alias;

/// The profile word of the one-byte form (RFC 8285 section 4.2).
pub const ONE_BYTE_PROFILE: u16 = 0xbede;

/// The ids we offer when nothing else is configured.
pub const DEFAULT_IDS: ExtensionIds = ExtensionIds { level: Some(1), keying: Some(2), talker: Some(3) };

/// Room for every element we write, padded (bytes): level 2, keying 3, talker 16.
pub const ELEMENTS_BYTES_MAX: usize = 24;

/// How loud the packet is, by its sender's own meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioLevel {
    /// Level of the packet.
    pub level: Level,
    /// The sender believes it is speech.
    pub voice: bool,
}

/// What a gateway and we tell each other about transmitter, receiver and floor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keying {
    /// Raise the transmitter, or: the talker asks for the floor.
    pub ptt: bool,
    /// The receiver's squelch is open.
    pub cor: bool,
    /// The transmitter or trunk is up.
    pub granted: bool,
    /// The transmitter or trunk is busy.
    pub busy: bool,
    /// The talker has declared an emergency.
    pub emergency: bool,
    /// What the talker on this leg must know of the floor.
    pub floor: FloorNotice,
}

/// The floor as one talker is told it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FloorNotice {
    /// Nothing said.
    #[default]
    Silent,
    /// Nobody talks.
    Idle,
    /// You may talk.
    Granted,
    /// Somebody else talks.
    Taken,
    /// You asked and will not be heard.
    Denied,
    /// You were talking and are no longer heard.
    Revoked,
    /// You asked and wait; position 1 is next.
    Queued(u8),
}

/// What a packet says beside its speech.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elements {
    /// Absent unless the sender measures.
    pub level: Option<AudioLevel>,
    /// Absent unless the sender speaks our keying.
    pub keying: Option<Keying>,
    /// Empty unless the sender names its talker.
    pub talker: Alias,
}

impl Elements {
    /// Picks the known elements out of a header extension. The last of two equal ids counts.
    pub fn read(extension: Option<(u16, &[u8])>, ids: &ExtensionIds) -> Self {
        let mut elements = Self::default();
        let Some((profile, bytes)) = extension else { return elements };
        let form = match profile {
            ONE_BYTE_PROFILE => Form::OneByte,
            // The low four bits are the application's (RFC 8285 section 4.3).
            0x1000..=0x100f => Form::TwoByte,
            _ => return elements,
        };
        for (id, value) in (Walk { rest: bytes, form }) {
            if ids.level == Some(id) {
                elements.level = AudioLevel::read(value);
            } else if ids.keying == Some(id) {
                elements.keying = Keying::read(value);
            } else if ids.talker == Some(id) {
                elements.talker = Alias::from_bytes(value);
            }
        }
        elements
    }

    /// Writes the elements that have an id and something to say, one-byte form, padded to a multiple of four; the
    /// head of the block is [`super::rtp::RtpHeader::write`]'s. Returns the length, which may be zero.
    ///
    /// # Errors
    /// [`WriteFault::NoRoom`] below [`ELEMENTS_BYTES_MAX`], [`WriteFault::OutOfRange`] for an id outside 1 to 14.
    pub fn write(&self, ids: &ExtensionIds, out: &mut [u8]) -> Result<usize, WriteFault> {
        let mut pen = Pen::new(out);
        if let (Some(id), Some(level)) = (ids.level, self.level) {
            put_element(&mut pen, id, &level.bytes())?;
        }
        if let (Some(id), Some(keying)) = (ids.keying, self.keying) {
            put_element(&mut pen, id, &keying.bytes())?;
        }
        if let (Some(id), false) = (ids.talker, self.talker.is_empty()) {
            put_element(&mut pen, id, self.talker.as_str().as_bytes())?;
        }
        pen.align()?;
        Ok(pen.used)
    }
}

impl AudioLevel {
    fn read(value: &[u8]) -> Option<Self> {
        let byte = value.first()?;
        Some(Self { level: Level(byte & 0x7f), voice: byte & 0x80 != 0 })
    }

    fn bytes(self) -> [u8; 1] {
        [self.level.0.min(Level::SILENCE.0) | u8::from(self.voice) << 7]
    }
}

impl Keying {
    fn read(value: &[u8]) -> Option<Self> {
        let (flags, rest) = value.split_first()?;
        Some(Self {
            ptt: flags & PTT != 0,
            cor: flags & COR != 0,
            granted: flags & GRANT != 0,
            busy: flags & DENY != 0,
            emergency: flags & EMERGENCY != 0,
            floor: rest.first().map_or(FloorNotice::Silent, |byte| FloorNotice::read(*byte)),
        })
    }

    fn bytes(self) -> [u8; 2] {
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        let flags = bit(self.ptt, PTT)
            | bit(self.cor, COR)
            | bit(self.granted, GRANT)
            | bit(self.busy, DENY)
            | bit(self.emergency, EMERGENCY);
        [flags, self.floor.byte()]
    }
}

impl FloorNotice {
    fn read(byte: u8) -> Self {
        match (byte >> 4, byte & 0x0f) {
            (1, _) => Self::Idle,
            (2, _) => Self::Granted,
            (3, _) => Self::Taken,
            (4, _) => Self::Denied,
            (5, _) => Self::Revoked,
            // Nobody waits at position zero: the sender means the front.
            (6, position) => Self::Queued(position.max(1)),
            (_, _) => Self::Silent,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Silent => 0x00,
            Self::Idle => 0x10,
            Self::Granted => 0x20,
            Self::Taken => 0x30,
            Self::Denied => 0x40,
            Self::Revoked => 0x50,
            Self::Queued(position) => 0x60 | position.clamp(1, 15),
        }
    }
}

#[derive(Clone, Copy)]
enum Form {
    OneByte,
    TwoByte,
}

/// Elements in order, until one does not fit its block.
struct Walk<'a> {
    rest: &'a [u8],
    form: Form,
}

impl<'a> Iterator for Walk<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // A zero byte is padding in both forms.
        while let [0, tail @ ..] = self.rest {
            self.rest = tail;
        }
        let (id, length, tail) = match (self.form, self.rest) {
            // Id 15, and id 0 with a length, end the whole block (RFC 8285 section 4.2).
            (Form::OneByte, [0x00..=0x0f | 0xf0..=0xff, ..]) => return None,
            (Form::OneByte, [head, tail @ ..]) => (head >> 4, usize::from(head & 0x0f) + 1, tail),
            (Form::TwoByte, [id, length, tail @ ..]) => (*id, usize::from(*length), tail),
            (Form::OneByte, []) | (Form::TwoByte, [] | [_]) => return None,
        };
        let (value, rest) = tail.split_at_checked(length)?;
        self.rest = rest;
        Some((id, value))
    }
}

fn put_element(pen: &mut Pen<'_>, id: u8, value: &[u8]) -> Result<(), WriteFault> {
    if !(1..=14).contains(&id) || !(1..=16).contains(&value.len()) {
        return Err(WriteFault::OutOfRange);
    }
    pen.put(&[id << 4 | (value.len() - 1) as u8])?;
    pen.put(value)
}

const PTT: u8 = 0x80;
const COR: u8 = 0x40;
const GRANT: u8 = 0x20;
const DENY: u8 = 0x10;
const EMERGENCY: u8 = 0x08;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(profile: u16, bytes: &[u8]) -> Elements {
        Elements::read(Some((profile, bytes)), &DEFAULT_IDS)
    }

    #[test]
    fn the_elements_have_the_documented_bytes() {
        let elements = Elements {
            level: Some(AudioLevel { level: Level(26), voice: true }),
            keying: Some(Keying { ptt: true, emergency: true, floor: FloorNotice::Queued(2), ..Keying::default() }),
            talker: Alias::new("E1"),
        };
        let mut out = [0xee; ELEMENTS_BYTES_MAX];
        let length = elements.write(&DEFAULT_IDS, &mut out).unwrap();
        assert_eq!(out[..length], [0x10, 0x9a, 0x21, 0x88, 0x62, 0x31, b'E', b'1']);
        assert_eq!(read(ONE_BYTE_PROFILE, &out[..length]), elements);
    }

    #[test]
    fn each_keying_flag_and_floor_word_has_its_own_bits() {
        let off = Keying::default();
        for (keying, bytes) in [
            (Keying { ptt: true, ..off }, [0x80, 0]),
            (Keying { cor: true, ..off }, [0x40, 0]),
            (Keying { granted: true, ..off }, [0x20, 0]),
            (Keying { busy: true, ..off }, [0x10, 0]),
            (Keying { emergency: true, ..off }, [0x08, 0]),
            (Keying { floor: FloorNotice::Idle, ..off }, [0, 0x10]),
            (Keying { floor: FloorNotice::Granted, ..off }, [0, 0x20]),
            (Keying { floor: FloorNotice::Taken, ..off }, [0, 0x30]),
            (Keying { floor: FloorNotice::Denied, ..off }, [0, 0x40]),
            (Keying { floor: FloorNotice::Revoked, ..off }, [0, 0x50]),
            (Keying { floor: FloorNotice::Queued(15), ..off }, [0, 0x6f]),
        ] {
            assert_eq!(keying.bytes(), bytes, "{keying:?}");
            assert_eq!(Keying::read(&bytes), Some(keying), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_queue_position_outside_its_four_bits_is_told_as_the_nearest() {
        for (position, byte) in [(0, 0x61), (1, 0x61), (15, 0x6f), (16, 0x6f), (255, 0x6f)] {
            assert_eq!(FloorNotice::Queued(position).byte(), byte);
        }
        assert_eq!(FloorNotice::read(0x60), FloorNotice::Queued(1));
        assert_eq!(FloorNotice::read(0xf7), FloorNotice::Silent, "an unknown word says nothing");
    }

    #[test]
    fn the_example_of_rfc_8285_section_4_2_reads_as_its_figure_says() {
        let block = [0x10, 0xa1, 0x21, 0xb1, 0xb2, 0, 0, 0x33, 0xc1, 0xc2, 0xc3, 0xc4];
        let found: Vec<(u8, &[u8])> = Walk { rest: &block, form: Form::OneByte }.collect();
        assert_eq!(found, [(1, &block[1..2]), (2, &block[3..5]), (3, &block[8..12])]);
    }

    #[test]
    fn a_two_byte_block_reads_the_same_elements() {
        let elements = read(0x1003, &[1, 1, 0x85, 0, 3, 2, b'E', b'1', 9, 0, 2, 3, 0x40, 0, 0xff]);
        assert_eq!(elements.level, Some(AudioLevel { level: Level(5), voice: true }));
        assert_eq!(elements.keying, Some(Keying { cor: true, ..Keying::default() }), "a longer element is read");
        assert_eq!(elements.talker.as_str(), "E1");
    }

    #[test]
    fn what_precedes_a_broken_element_still_counts() {
        let level = Some(AudioLevel { level: Level(5), voice: false });
        for tail in [&[0xf0, 0xaa, 0x20, 0x80][..], &[0x01, 0xaa, 0xaa, 0x20, 0x80], &[0x2f, 0x80]] {
            let elements = read(ONE_BYTE_PROFILE, &[&[0x10, 5], tail].concat());
            assert_eq!((elements.level, elements.keying), (level, None), "{tail:02x?}");
        }
        assert_eq!(read(0xabcd, &[0x10, 5]), Elements::default(), "a foreign profile says nothing to us");
    }

    #[test]
    fn an_element_without_an_id_is_neither_read_nor_written() {
        let elements = Elements { level: Some(AudioLevel { level: Level(5), voice: false }), ..Elements::default() };
        let nobody = ExtensionIds::default();
        assert_eq!(elements.write(&nobody, &mut []), Ok(0));
        assert_eq!(Elements::read(Some((ONE_BYTE_PROFILE, &[0x10, 5, 0, 0])), &nobody), Elements::default());
        let fifteen = ExtensionIds { level: Some(15), ..nobody };
        assert_eq!(elements.write(&fifteen, &mut [0; 4]), Err(WriteFault::OutOfRange));
        assert_eq!(elements.write(&DEFAULT_IDS, &mut [0; 3]), Err(WriteFault::NoRoom));
    }

    fn any_elements() -> impl Strategy<Value = Elements> {
        let level = prop::option::of((0..128u8, any::<bool>()))
            .prop_map(|level| level.map(|(level, voice)| AudioLevel { level: Level(level), voice }));
        let keying = prop::option::of(any::<(u8, u8)>()).prop_map(|b| b.and_then(|(a, b)| Keying::read(&[a, b])));
        (level, keying, "\\PC{0,15}").prop_map(|(level, keying, talker)| Elements {
            level,
            keying,
            talker: Alias::new(&talker),
        })
    }

    proptest! {
        #[test]
        fn whatever_is_written_reads_back(elements in any_elements()) {
            let mut out = [0; ELEMENTS_BYTES_MAX];
            let length = elements.write(&DEFAULT_IDS, &mut out).unwrap();
            prop_assert_eq!(length % 4, 0);
            prop_assert_eq!(read(ONE_BYTE_PROFILE, &out[..length]), elements);
        }
    }
}
