//! What is said in a world: every frame carries who said it, in which over and where in it, and is at the same time a
//! clean tone of its talker. A relayed frame is told by its stamp, a mixed one by the tones in it. Not a codec test.
//!
//! The stamp is written as sixteen nibbles so soft that a decoder hears next to nothing of them; in Opus they lie in
//! the padding (RFC 6716 section 3.2.5), which decoders skip. The last four nibbles check the whole payload: a frame
//! that anybody has touched has no stamp any more (law 5).

use std::f64::consts::TAU;
use std::sync::OnceLock;

use audio_codec::g722::{G722Decoder, G722Encoder};
use audio_codec::{Decoder as _, Encoder as _};
use crosspatch::domain::audio::{Codec, Format};

/// A talker of the world: a person, not a port; two gateways of one talkgroup may both bring the same voice.
pub type Voice = u8;

/// Of a packet that holds no voice.
pub const NOBODY: Voice = 255;

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Who talks.
    pub voice: Voice,
    /// Which of the voice's overs, counted from its first.
    pub over: u16,
    /// Which 20 ms of it.
    pub frame: u16,
    /// What became of it before it came here: said into a microphone, or one of the marks below.
    pub air: u8,
}

/// Said into a microphone.
pub const LIVE: u8 = 0;
/// Received off the air from another radio of the channel and sent in again.
pub const OFF_AIR: u8 = 1;
/// No speech: what a gateway sends while nobody has keyed.
pub const FILLER: u8 = 14;
/// No speech: noise after the carrier has gone.
pub const TAIL: u8 = 15;

/// What a payload turns out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// One voice, untouched.
    Stamped(Stamp),
    /// Sound made by the daemon: a mix, a transcoding, a notice.
    Sound(Vec<i16>),
    /// A packet of rest, sent where the source behind a stream changes.
    Silence,
    /// Nothing that its payload type could hold.
    Nonsense,
}

/// An ear's own decoder, in a law whose decoders go on from what they have heard.
#[derive(Default)]
pub struct EarDecoder {
    opus: Option<opus::Decoder>,
    g722: G722Decoder,
}

/// The payload of one stamped 20 ms frame.
pub fn payload(format: Format, stamp: Stamp) -> Vec<u8> {
    let mut bytes = tone_frame(format, stamp.voice);
    let nibbles = nibbles_of(stamp);
    for (at, nibble) in nibbles.into_iter().enumerate() {
        put_nibble(format, &mut bytes, at, nibble);
    }
    let check = check_of(format, &bytes);
    for at in 0..4 {
        put_nibble(format, &mut bytes, NIBBLES + at, (check >> (12 - 4 * at)) as u8 & 15);
    }
    bytes
}

/// What arrived, as an ear that knows its own format takes it.
pub fn read(format: Format, bytes: &[u8], decoder: &mut EarDecoder) -> Said {
    if format.codec == Codec::Opus && bytes == SILENCE {
        decode_opus(bytes, &mut decoder.opus); // what was heard before must not ring on in what comes next
        return Said::Silence;
    }
    // A decoder of G.722 goes on from whatever it has heard, stamps as well.
    let sound = (format.codec == Codec::G722).then(|| decode_g722(bytes, &mut decoder.g722));
    if format.codec == Codec::G722 && bytes == G722_REST {
        return Said::Silence;
    }
    if let Some(stamp) = stamp_of(format, bytes) {
        return Said::Stamped(stamp);
    }
    if let Some(sound) = sound {
        return sound;
    }
    match format.codec {
        Codec::Pcmu => Said::Sound(bytes.iter().map(|byte| ulaw(*byte)).collect()),
        Codec::Pcma => Said::Sound(bytes.iter().map(|byte| alaw(*byte)).collect()),
        Codec::L16 if bytes.len().is_multiple_of(2) => {
            Said::Sound(bytes.as_chunks().0.iter().map(|two| i16::from_be_bytes(*two)).collect())
        }
        Codec::Opus => decode_opus(bytes, &mut decoder.opus),
        Codec::L16 | Codec::G722 => Said::Nonsense,
    }
}

/// What a packet between two sites carries: a voice's own frame, nothing, or (none) what a site has mixed.
pub fn carried(format: Format, bytes: &[u8]) -> Option<Stamp> {
    let nobody = Stamp { voice: NOBODY, over: 0, frame: 0, air: FILLER };
    let still = match format.codec {
        Codec::Opus => bytes == SILENCE,
        Codec::Pcmu => bytes.iter().all(|byte| ulaw(*byte).unsigned_abs() < STILL),
        Codec::Pcma => bytes.iter().all(|byte| alaw(*byte).unsigned_abs() < STILL),
        Codec::L16 => bytes.iter().all(|byte| *byte == 0),
        Codec::G722 => bytes == G722_REST,
    };
    stamp_of(format, bytes).or(still.then_some(nobody))
}

/// How loud one voice's tone is in some sound: its amplitude, [`AMPLITUDE`] when it is untouched.
pub fn loudness(voice: Voice, sound: &[i16], rate_hz: u32) -> f64 {
    amplitude_at(tone_hz(voice), sound, rate_hz)
}

/// How much of one tone is in some sound.
pub fn amplitude_at(tone_hz: f64, sound: &[i16], rate_hz: u32) -> f64 {
    let coefficient = 2.0 * (TAU * tone_hz / f64::from(rate_hz)).cos();
    let (mut one, mut two) = (0.0, 0.0);
    for sample in sound {
        (one, two) = (f64::from(*sample) + coefficient * one - two, one);
    }
    2.0 * (one * one + two * two - coefficient * one * two).max(0.0).sqrt() / sound.len().max(1) as f64
}

/// For people: a stamp as it is, of a sound which voices are in it and how loud, against their own loudness.
pub fn shown(format: Format, said: &Said) -> String {
    let Said::Sound(sound) = said else { return format!("{said:?}") };
    let voices = (0..VOICES_MAX).map(|voice| (voice, loudness(voice, sound, rate_hz(format)) / AMPLITUDE));
    let loud: Vec<String> =
        voices.filter(|(_, part)| *part > 0.1).map(|(voice, part)| format!("{voice}: {part:.2}")).collect();
    format!("Sound({})", loud.join(", "))
}

/// The amplitude of every voice.
pub const AMPLITUDE: f64 = 6000.0;

/// The rate of the samples in [`Said::Sound`].
pub fn rate_hz(format: Format) -> u32 {
    match format.codec {
        Codec::Opus => 48_000,
        Codec::G722 | Codec::L16 => 16_000,
        Codec::Pcmu | Codec::Pcma => 8_000,
    }
}

/// 20 ms hold whole cycles of every tone, so tones do not disturb each other in a frame.
pub fn tone_hz(voice: Voice) -> f64 {
    400.0 + 150.0 * f64::from(voice % VOICES_MAX)
}

/// The most voices in one world: 400 Hz to 3,100 Hz.
pub const VOICES_MAX: u8 = 19;
/// No sample of silence is louder.
const STILL: u16 = 64;
const NIBBLES: usize = 12;
const STAMP: usize = NIBBLES + 4;
/// TOC (CELT, 20 ms, one frame) and a frame that decodes to silence.
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
/// The softest code of both bands, for 20 ms.
const G722_REST: [u8; 160] = [0xfd; 160];

fn nibbles_of(stamp: Stamp) -> [u8; NIBBLES] {
    let word = 0xa << 44
        | u64::from(stamp.voice) << 36
        | u64::from(stamp.over) << 20
        | u64::from(stamp.frame) << 4
        | u64::from(stamp.air & 15);
    std::array::from_fn(|at| (word >> (44 - 4 * at)) as u8 & 15)
}

fn stamp_of(format: Format, bytes: &[u8]) -> Option<Stamp> {
    if bytes.len() < STAMP * 2 || format.codec == Codec::Opus && (bytes[0] & 3 != 3 || bytes[1] & 0x40 == 0) {
        return None;
    }
    let word = (0..NIBBLES).try_fold(0u64, |word, at| Some(word << 4 | u64::from(nibble_at(format, bytes, at)?)))?;
    let check =
        (NIBBLES..STAMP).try_fold(0u16, |check, at| Some(check << 4 | u16::from(nibble_at(format, bytes, at)?)))?;
    let whole = word >> 44 == 0xa && check == check_of(format, bytes);
    whole.then_some(Stamp {
        voice: (word >> 36) as u8,
        over: (word >> 20) as u16,
        frame: (word >> 4) as u16,
        air: word as u8 & 15,
    })
}

fn put_nibble(format: Format, bytes: &mut [u8], at: usize, nibble: u8) {
    match format.codec {
        Codec::Pcmu => bytes[at] = 0xf0 | nibble,
        Codec::Pcma => bytes[at] = 0xd0 | nibble,
        Codec::G722 => {
            bytes[2 * at] = bytes[2 * at] & !3 | nibble >> 2;
            bytes[2 * at + 1] = bytes[2 * at + 1] & !3 | nibble & 3;
        }
        Codec::L16 => bytes[2 * at..2 * at + 2].copy_from_slice(&[0, nibble]),
        Codec::Opus => {
            let start = bytes.len() - STAMP;
            bytes[start + at] = nibble;
        }
    }
}

fn nibble_at(format: Format, bytes: &[u8], at: usize) -> Option<u8> {
    let (byte, mark) = match format.codec {
        Codec::Pcmu => (bytes[at], 0xf0),
        Codec::Pcma => (bytes[at], 0xd0),
        Codec::G722 => return Some((bytes[2 * at] & 3) << 2 | bytes[2 * at + 1] & 3),
        Codec::L16 if bytes[2 * at] == 0 => (bytes[2 * at + 1], 0),
        Codec::L16 => return None,
        Codec::Opus => (bytes[bytes.len() - STAMP + at], 0),
    };
    (byte & 0xf0 == mark).then_some(byte & 15)
}

/// Over everything but the four nibbles that hold it.
fn check_of(format: Format, bytes: &[u8]) -> u16 {
    let held = match format.codec {
        Codec::Opus => bytes.len() - 4..bytes.len(),
        Codec::L16 | Codec::G722 => 2 * NIBBLES..2 * STAMP,
        Codec::Pcmu | Codec::Pcma => NIBBLES..STAMP,
    };
    // Of a byte of G.722 they take the two softest bits only.
    let rest = if format.codec == Codec::G722 { !3 } else { 0 };
    let all = bytes.iter().enumerate().map(|(at, byte)| if held.contains(&at) { byte & rest } else { *byte });
    let sum = all.fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (sum >> 16 ^ sum) as u16
}

fn tone_frame(format: Format, voice: Voice) -> Vec<u8> {
    static FRAMES: OnceLock<Vec<[Vec<u8>; 5]>> = OnceLock::new();
    let frames = FRAMES.get_or_init(|| {
        (0..VOICES_MAX)
            .map(|voice| {
                let narrow = tone(voice, 8_000);
                let wide = tone(voice, 16_000).iter().flat_map(|sample| sample.to_be_bytes()).collect();
                let mu = narrow.iter().map(|sample| nearest(*sample, ulaw)).collect();
                let a = narrow.iter().map(|sample| nearest(*sample, alaw)).collect();
                [mu, a, wide, opus_tone(voice), g722_tone(voice)]
            })
            .collect()
    });
    let of_voice = &frames[usize::from(voice % VOICES_MAX)];
    match format.codec {
        Codec::Pcmu => of_voice[0].clone(),
        Codec::Pcma => of_voice[1].clone(),
        Codec::L16 => of_voice[2].clone(),
        Codec::Opus => of_voice[3].clone(),
        Codec::G722 => of_voice[4].clone(),
    }
}

fn tone(voice: Voice, rate_hz: u32) -> Vec<i16> {
    let step = TAU * tone_hz(voice) / f64::from(rate_hz);
    (0..rate_hz / 50).map(|at| (AMPLITUDE * (step * f64::from(at)).sin()) as i16).collect()
}

/// A frame of the tone in its steady state, as a packet of one frame with padding for the stamp.
fn opus_tone(voice: Voice) -> Vec<u8> {
    let mut encoder =
        opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::LowDelay).expect("one more encoder fits");
    let sound = tone(voice, 48_000);
    let mut coded = Vec::new();
    for _ in 0..5 {
        coded = encoder.encode_vec(&sound, 400).expect("20 ms of a tone can be encoded");
    }
    assert_eq!(coded[0] & 3, 0, "a packet of one frame");
    let mut packet = vec![coded[0] | 3, 0x41, STAMP as u8];
    packet.extend_from_slice(&coded[1..]);
    packet.extend_from_slice(&[0; STAMP]);
    packet
}

/// A frame of the tone in its steady state: a gateway's encoder runs on between overs. The stamp takes the two softest
/// bits of some bytes; a decoder's predictors do not look at them (ITU-T G.722 section 1.4.4).
fn g722_tone(voice: Voice) -> Vec<u8> {
    let (mut encoder, sound, mut coded) = (G722Encoder::new(), tone(voice, 16_000), vec![0; 160]);
    for _ in 0..10 {
        encoder.encode_into(&sound, &mut coded).expect("20 ms of a tone can be encoded");
    }
    coded
}

fn decode_opus(bytes: &[u8], decoder: &mut Option<opus::Decoder>) -> Said {
    let decoder =
        decoder.get_or_insert_with(|| opus::Decoder::new(48_000, opus::Channels::Mono).expect("one more decoder fits"));
    let mut sound = vec![0; 5760];
    match decoder.decode(bytes, &mut sound, false) {
        Ok(length) => {
            sound.truncate(length);
            Said::Sound(sound)
        }
        Err(_) => Said::Nonsense,
    }
}

fn decode_g722(bytes: &[u8], decoder: &mut G722Decoder) -> Said {
    let mut sound = vec![0; 2 * bytes.len()];
    match decoder.decode_into(bytes, &mut sound) {
        Ok(_) => Said::Sound(sound),
        Err(_) => Said::Nonsense,
    }
}

fn nearest(sample: i16, law: fn(u8) -> i16) -> u8 {
    (0..=255).min_by_key(|byte| (i32::from(law(*byte)) - i32::from(sample)).abs()).unwrap_or(0)
}

/// ITU-T G.711 mu-law.
fn ulaw(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = ((i16::from(byte & 15) << 3) + 0x84) << (byte >> 4 & 7);
    if byte & 0x80 == 0 { magnitude - 0x84 } else { 0x84 - magnitude }
}

/// ITU-T G.711 A-law.
fn alaw(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let (segment, mantissa) = (byte >> 4 & 7, i16::from(byte & 15) << 4);
    let magnitude = if segment == 0 { mantissa + 8 } else { (mantissa + 0x108) << (segment - 1) };
    if byte & 0x80 == 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [Codec; 5] = [Codec::Pcmu, Codec::Pcma, Codec::L16, Codec::Opus, Codec::G722];

    #[test]
    fn a_stamp_is_read_back_and_one_flipped_bit_destroys_it() {
        let stamp = Stamp { voice: 7, over: 513, frame: 1999, air: 1 };
        for codec in FORMATS {
            let format = Format::usual(codec);
            let bytes = payload(format, stamp);
            assert_eq!(read(format, &bytes, &mut EarDecoder::default()), Said::Stamped(stamp), "{codec:?}");
            let destroyed = (0..bytes.len()).filter(|at| {
                let mut touched = bytes.clone();
                touched[*at] ^= 4;
                read(format, &touched, &mut EarDecoder::default()) != Said::Stamped(stamp)
            });
            assert_eq!(destroyed.count(), bytes.len(), "{codec:?}");
        }
    }

    #[test]
    fn every_codec_carries_its_talkers_tone_and_no_others() {
        for codec in FORMATS {
            let format = Format::usual(codec);
            let mut decoder = EarDecoder::default();
            let mut sound = Vec::new();
            for frame in 0..4 {
                let mut bytes = payload(format, Stamp { voice: 5, over: 1, frame, air: 0 });
                let last = bytes.len() - 1; // no longer stamped, so that it is decoded
                bytes[last] ^= 1;
                let Said::Sound(samples) = read(format, &bytes, &mut decoder) else { panic!("{codec:?} is no sound") };
                sound = samples;
            }
            let own = loudness(5, &sound, rate_hz(format));
            assert!((own - AMPLITUDE).abs() < 0.2 * AMPLITUDE, "{codec:?}: own tone at {own:.0}");
            for other in (0..VOICES_MAX).filter(|voice| *voice != 5) {
                let leak = loudness(other, &sound, rate_hz(format));
                assert!(leak < 0.12 * AMPLITUDE, "{codec:?}: voice {other} at {leak:.0}");
            }
        }
    }
}
