//! Payload bytes to 16 kHz frames and back: Opus, G.711 mu/A, G.722, L16, of any packet duration.
//!
//! A [`Decoder`] or [`Encoder`] is one stream's: taken from a [`CodecPool`] at burst start and given back at its
//! end. Only Opus has state on the heap, created when the pool is; nothing here allocates per frame. A bad
//! payload is a discard of the caller; what it should have been is concealed. Fixed-rate laws decode any whole
//! number of samples, so an odd packet time is no fault.

mod conceal;
mod lasting;
mod pool;

use std::fmt;

use audio_codec::g722::{G722Decoder, G722Encoder};
use audio_codec::pcma::{PcmaDecoder, PcmaEncoder};
use audio_codec::pcmu::{PcmuDecoder, PcmuEncoder};
use audio_codec::{Decoder as _, Encoder as _};

use crate::domain::audio::{Codec, Format, Frame, MIX_FRAME, MIX_RATE_HZ};
use crate::media::resample::{Rates, Resampler};
use conceal::Concealer;
pub use lasting::LastingEncoder;
pub use pool::{CodecPool, NoCodec};

/// What fits a 1,500-byte Ethernet frame under IPv6, UDP and RTP with a small header extension, and no more.
pub const PAYLOAD_BYTES_MAX: usize = 1_432;
/// The longest packet any codec here has: Opus' 120 ms, at the mixer's rate.
pub const PACKET_SAMPLES_MAX: usize = 1_920;
/// A payload being written.
pub type Payload = [u8; PAYLOAD_BYTES_MAX];
/// A decoded packet being written, at the mixer's rate.
pub type Decoded = [i16; PACKET_SAMPLES_MAX];

/// A format this daemon cannot decode or encode: a rate without a filter, a channel count, a packet time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsupportedFormat(pub Format);

/// A payload that is not what its format says; the decoder is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPayload;

/// One stream's payloads to 16 kHz samples.
pub struct Decoder {
    law: DecoderLaw,
    rate: Resampler,
    concealer: Concealer,
}

#[expect(clippy::large_enum_variant, reason = "in place, so that taking one from the pool allocates nothing")]
enum DecoderLaw {
    Opus(opus::Decoder),
    Pcmu,
    Pcma,
    G722(G722Decoder),
    L16,
}

impl Decoder {
    /// For one format; allocates only for Opus (18 KiB).
    pub fn new(format: Format) -> Result<Self, UnsupportedFormat> {
        let rate = Rates::to_mixer(sample_rate_hz(format)?).ok_or(UnsupportedFormat(format))?;
        let law = match format.codec {
            // A mono decoder folds a stereo stream down by itself (RFC 7587 section 3.4).
            Codec::Opus => DecoderLaw::Opus(
                opus::Decoder::new(MIX_RATE_HZ, opus::Channels::Mono).map_err(|_| UnsupportedFormat(format))?,
            ),
            Codec::Pcmu => DecoderLaw::Pcmu,
            Codec::Pcma => DecoderLaw::Pcma,
            Codec::G722 => DecoderLaw::G722(G722Decoder::new()),
            Codec::L16 => DecoderLaw::L16,
        };
        Ok(Self { law, rate: Resampler::new(rate), concealer: Concealer::default() })
    }

    /// Forgets the stream it heard.
    pub fn reset(&mut self) {
        match &mut self.law {
            DecoderLaw::Opus(decoder) => decoder.reset_state().expect("libopus resets a decoder it created"),
            DecoderLaw::Pcmu | DecoderLaw::Pcma | DecoderLaw::L16 => {}
            DecoderLaw::G722(decoder) => *decoder = G722Decoder::new(),
        }
        self.rate.reset();
        self.concealer = Concealer::default();
    }

    /// Decodes one payload; returns how many samples it holds.
    pub fn decode(&mut self, payload: &[u8], out: &mut Decoded) -> Result<usize, BadPayload> {
        if payload.is_empty() || payload.len() > PAYLOAD_BYTES_MAX {
            return Err(BadPayload); // an empty payload would make libopus conceal
        }
        let mut raw = [0i16; RAW_SAMPLES_MAX];
        let taken = match &mut self.law {
            DecoderLaw::Opus(decoder) => return decoder.decode(payload, out, false).map_err(|_| BadPayload),
            DecoderLaw::Pcmu => PcmuDecoder::new().decode_into(payload, &mut raw).map_err(|_| BadPayload)?,
            DecoderLaw::Pcma => PcmaDecoder::new().decode_into(payload, &mut raw).map_err(|_| BadPayload)?,
            DecoderLaw::G722(decoder) if payload.len() * 2 <= PACKET_SAMPLES_MAX => {
                decoder.decode_into(payload, &mut raw).map_err(|_| BadPayload)?
            }
            DecoderLaw::G722(_) => return Err(BadPayload),
            DecoderLaw::L16 => from_network_order(payload, &mut raw)?,
        };
        let rates = self.rate.rates();
        let written = rates.output_samples(taken);
        if !taken.is_multiple_of(rates.input_step()) || written > PACKET_SAMPLES_MAX {
            return Err(BadPayload);
        }
        self.rate.run(&raw[..taken], out);
        self.concealer.heard(&mut out[..written]);
        Ok(written)
    }

    /// Fills `out` (2.5 to 120 ms, in steps of 2.5 ms) with a guess at what was lost.
    pub fn conceal(&mut self, out: &mut [i16]) {
        match &mut self.law {
            DecoderLaw::Opus(decoder) => conceal_opus(decoder, &[], out),
            DecoderLaw::Pcmu | DecoderLaw::Pcma | DecoderLaw::G722(_) | DecoderLaw::L16 => self.concealer.conceal(out),
        }
    }

    /// Fills `out`, as long as the lost packet was, from the redundancy that the packet after it may carry
    /// (RFC 6716 section 2.1.7); without any it conceals.
    pub fn recover(&mut self, next_payload: &[u8], out: &mut [i16]) {
        match &mut self.law {
            DecoderLaw::Opus(decoder) => conceal_opus(decoder, next_payload, out),
            DecoderLaw::Pcmu | DecoderLaw::Pcma | DecoderLaw::G722(_) | DecoderLaw::L16 => self.concealer.conceal(out),
        }
    }

    /// Audio in a payload, at the mixer's rate, without decoding it.
    pub fn samples_in(&self, payload: &[u8]) -> Result<usize, BadPayload> {
        let samples = match &self.law {
            DecoderLaw::Opus(_) => opus::packet::get_nb_samples(payload, MIX_RATE_HZ).map_err(|_| BadPayload)?,
            DecoderLaw::Pcmu | DecoderLaw::Pcma => payload.len() * 2,
            DecoderLaw::G722(_) => payload.len() * 2,
            DecoderLaw::L16 => self.rate.rates().output_samples(payload.len() / 2),
        };
        if samples == 0 || samples > PACKET_SAMPLES_MAX { Err(BadPayload) } else { Ok(samples) }
    }
}

/// libopus conceals any multiple of 2.5 ms; should it refuse, silence is the honest guess.
fn conceal_opus(decoder: &mut opus::Decoder, next_payload: &[u8], out: &mut [i16]) {
    if decoder.decode(next_payload, out, !next_payload.is_empty()).is_err() {
        out.fill(0);
    }
}

/// 16 kHz frames to one stream's payloads of its own packet time.
///
/// Push one 20 ms frame, then pull until nothing comes: 10 ms packets come in pairs, 60 ms packets every third time.
pub struct Encoder {
    law: EncoderLaw,
    rate: Resampler,
    packet_samples: usize,
    waiting: [i16; WAITING_MAX],
    waiting_samples: usize,
    faults: u64,
    life: u32,
}

#[expect(clippy::large_enum_variant, reason = "in place, so that taking one from the pool allocates nothing")]
enum EncoderLaw {
    Opus(opus::Encoder),
    Pcmu,
    Pcma,
    G722(G722Encoder),
    L16,
}

impl Encoder {
    /// For one format; allocates only for Opus (43 KiB). 24 kbit/s, complexity 5, voice, no DTX: a presence-keyed
    /// radio would unkey in a pause.
    pub fn new(format: Format) -> Result<Self, UnsupportedFormat> {
        let unsupported = UnsupportedFormat(format);
        let rate = Rates::from_mixer(sample_rate_hz(format)?).ok_or(unsupported)?;
        let law = match format.codec {
            Codec::Opus => EncoderLaw::Opus(new_opus_encoder().map_err(|_| unsupported)?),
            Codec::Pcmu => EncoderLaw::Pcmu,
            Codec::Pcma => EncoderLaw::Pcma,
            Codec::G722 => EncoderLaw::G722(G722Encoder::new()),
            Codec::L16 => EncoderLaw::L16,
        };
        let packet_samples = packet_samples(format)?;
        let (waiting, waiting_samples) = ([0; WAITING_MAX], 0);
        Ok(Self { law, rate: Resampler::new(rate), packet_samples, waiting, waiting_samples, faults: 0, life: 0 })
    }

    /// Forgets the stream it encoded and what it had not yet sent.
    pub fn reset(&mut self) {
        match &mut self.law {
            EncoderLaw::Opus(encoder) => encoder.reset_state().expect("libopus resets an encoder it created"),
            EncoderLaw::Pcmu | EncoderLaw::Pcma | EncoderLaw::L16 => {}
            EncoderLaw::G722(encoder) => *encoder = G722Encoder::new(),
        }
        self.rate.reset();
        self.waiting_samples = 0;
    }

    /// Opus only: spends bits on redundancy for so much loss (percent); 0 spends none. Kept over a reset.
    pub fn expect_loss(&mut self, percent: u8) {
        if let EncoderLaw::Opus(encoder) = &mut self.law {
            encoder.set_packet_loss_perc(i32::from(percent.min(100))).expect("0 to 100 is a loss");
            encoder.set_inband_fec(percent > 0).expect("in-band FEC is on or off");
        }
    }

    /// Takes one frame. Pull all packets before the next one.
    pub fn push(&mut self, frame: &Frame) {
        assert!(self.waiting_samples < self.packet_samples, "a whole packet was left in the encoder");
        self.waiting[self.waiting_samples..][..MIX_FRAME].copy_from_slice(frame);
        self.waiting_samples += MIX_FRAME;
    }

    /// The next whole packet's length in bytes, if there is one.
    pub fn pull(&mut self, out: &mut Payload) -> Option<usize> {
        if self.waiting_samples < self.packet_samples {
            return None;
        }
        let length = self.encode(out);
        self.waiting.copy_within(self.packet_samples..self.waiting_samples, 0);
        self.waiting_samples -= self.packet_samples;
        if length.is_none() {
            self.faults += 1;
        }
        length
    }

    /// The next whole packet's samples, to be coded by each listener's own [`LastingEncoder`]; how many, if there is one.
    pub fn pull_samples(&mut self, out: &mut Decoded) -> Option<usize> {
        if self.waiting_samples < self.packet_samples {
            return None;
        }
        out[..self.packet_samples].copy_from_slice(&self.waiting[..self.packet_samples]);
        self.waiting.copy_within(self.packet_samples..self.waiting_samples, 0);
        self.waiting_samples -= self.packet_samples;
        Some(self.packet_samples)
    }

    /// Begins a packet where one of this length begins that was begun at zero: silence stands for what is past.
    pub fn align(&mut self, begun_samples: u64) {
        self.waiting_samples = (begun_samples % self.packet_samples as u64) as usize;
        self.waiting[..self.waiting_samples].fill(0);
    }

    /// Goes on with the packet that another encoder of the same format has begun.
    pub fn take_up(&mut self, begun: &Encoder) {
        self.waiting_samples = begun.waiting_samples;
        self.waiting[..self.waiting_samples].copy_from_slice(&begun.waiting[..self.waiting_samples]);
    }

    /// Whether a packet has begun.
    pub const fn is_waiting(&self) -> bool {
        self.waiting_samples > 0
    }

    /// Which use of a pool's encoder this is: whoever decodes it notices when that changes.
    pub const fn life(&self) -> u32 {
        self.life
    }

    /// Packets that libopus would not encode: 0 unless something is very wrong.
    pub const fn faults(&self) -> u64 {
        self.faults
    }

    fn encode(&mut self, out: &mut Payload) -> Option<usize> {
        let packet = &self.waiting[..self.packet_samples];
        let mut raw = [0i16; RAW_SAMPLES_MAX];
        if let EncoderLaw::Opus(encoder) = &mut self.law {
            return encoder.encode(packet, out).ok();
        }
        let count = self.rate.run(packet, &mut raw);
        let raw = &raw[..count];
        match &mut self.law {
            EncoderLaw::Opus(_) => None,
            EncoderLaw::Pcmu => PcmuEncoder::new().encode_into(raw, out).ok(),
            EncoderLaw::Pcma => PcmaEncoder::new().encode_into(raw, out).ok(),
            EncoderLaw::G722(encoder) => encoder.encode_into(raw, out).ok(),
            EncoderLaw::L16 => {
                for (bytes, sample) in out.chunks_exact_mut(2).zip(raw) {
                    bytes.copy_from_slice(&sample.to_be_bytes());
                }
                Some(2 * count)
            }
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("rates", &self.rate.rates()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("packet_samples", &self.packet_samples).finish_non_exhaustive()
    }
}

/// Samples per second inside the payload: not the RTP clock for Opus and G.722.
fn sample_rate_hz(format: Format) -> Result<u32, UnsupportedFormat> {
    let Format { codec, clock_hz, channels, packet_ms: _ } = format;
    match (codec, clock_hz, channels) {
        (Codec::Opus, 48_000, 1 | 2) => Ok(MIX_RATE_HZ), // libopus works at the mixer's rate itself
        (Codec::G722, 8_000, 1) => Ok(16_000),           // RFC 3551 section 4.5.2
        (Codec::Pcmu | Codec::Pcma, 8_000, 1) => Ok(8_000),
        (Codec::L16, rate_hz, 1) => Ok(rate_hz),
        (Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma | Codec::L16, _, _) => Err(UnsupportedFormat(format)),
    }
}

/// Samples at the mixer's rate in one packet that we send.
fn packet_samples(format: Format) -> Result<usize, UnsupportedFormat> {
    let Format { codec, clock_hz, channels: _, packet_ms } = format;
    let usual = packet_ms.is_multiple_of(10) && (10..=60).contains(&packet_ms);
    let fits = match codec {
        Codec::Opus => matches!(packet_ms, 10 | 20 | 40 | 60), // RFC 6716 has no other whole frames of these
        Codec::Pcmu | Codec::Pcma | Codec::G722 => true,
        Codec::L16 => clock_hz as usize / 1000 * usize::from(packet_ms) * 2 <= PAYLOAD_BYTES_MAX,
    };
    if usual && fits {
        Ok(usize::from(packet_ms) * (MIX_RATE_HZ as usize / 1000))
    } else {
        Err(UnsupportedFormat(format))
    }
}

fn new_opus_encoder() -> Result<opus::Encoder, opus::Error> {
    let mut encoder = opus::Encoder::new(MIX_RATE_HZ, opus::Channels::Mono, opus::Application::Voip)?;
    encoder.set_bitrate(opus::Bitrate::Bits(OPUS_BITS_PER_SECOND))?;
    encoder.set_complexity(OPUS_COMPLEXITY)?;
    encoder.set_signal(opus::Signal::Voice)?;
    encoder.set_dtx(false)?;
    Ok(encoder)
}

/// RFC 3551 section 4.5.11: network byte order.
fn from_network_order(payload: &[u8], raw: &mut [i16; RAW_SAMPLES_MAX]) -> Result<usize, BadPayload> {
    if !payload.len().is_multiple_of(2) {
        return Err(BadPayload);
    }
    for (sample, bytes) in raw.iter_mut().zip(payload.chunks_exact(2)) {
        *sample = i16::from_be_bytes([bytes[0], bytes[1]]);
    }
    Ok(payload.len() / 2)
}

/// Wideband speech without audible artefacts after one more coding.
const OPUS_BITS_PER_SECOND: i32 = 24_000;
/// Half the cost of 10; the difference at 24 kbit/s is small.
const OPUS_COMPLEXITY: i32 = 5;
/// The most samples a payload holds before resampling: G.722 has two in a byte.
const RAW_SAMPLES_MAX: usize = 2 * PAYLOAD_BYTES_MAX;
/// Almost a 60 ms packet and one frame more.
const WAITING_MAX: usize = 60 * 16 + MIX_FRAME;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(value: i16) -> Frame {
        std::array::from_fn(|n| if n % 40 < 20 { value } else { -value })
    }

    #[test]
    fn every_packet_time_carries_every_frame() {
        for codec in [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::L16] {
            for packet_ms in [10, 20, 30, 40, 50, 60] {
                let format = Format { packet_ms, ..Format::usual(codec) };
                let Ok(mut encoder) = Encoder::new(format) else {
                    let refused = (codec == Codec::Opus && matches!(packet_ms, 30 | 50))
                        || (codec == Codec::L16 && packet_ms > 40);
                    assert!(refused, "{format:?}");
                    continue;
                };
                let mut decoder = Decoder::new(format).unwrap();
                let (mut payload, mut decoded, mut samples) = ([0; PAYLOAD_BYTES_MAX], [0; PACKET_SAMPLES_MAX], 0);
                for _ in 0..30 {
                    encoder.push(&frame(3_000));
                    while let Some(length) = encoder.pull(&mut payload) {
                        assert_eq!(decoder.samples_in(&payload[..length]), Ok(usize::from(packet_ms) * 16));
                        samples += decoder.decode(&payload[..length], &mut decoded).unwrap();
                    }
                }
                // Whole packets of every length here.
                assert_eq!(samples, 30 * MIX_FRAME, "{format:?}");
                assert_eq!(encoder.faults(), 0);
            }
        }
    }

    #[test]
    fn rubbish_is_refused_and_the_next_payload_still_decodes() {
        for codec in [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::L16] {
            let format = Format::usual(codec);
            let (mut encoder, mut decoder) = (Encoder::new(format).unwrap(), Decoder::new(format).unwrap());
            let (mut payload, mut decoded) = ([0xff; PAYLOAD_BYTES_MAX], [0; PACKET_SAMPLES_MAX]);
            assert_eq!(decoder.decode(&[], &mut decoded), Err(BadPayload));
            if codec != Codec::L16 {
                assert_eq!(decoder.decode(&payload, &mut decoded), Err(BadPayload), "{codec:?} took too long a packet");
            } else {
                assert_eq!(decoder.decode(&payload[..41], &mut decoded), Err(BadPayload), "half a sample");
            }
            encoder.push(&frame(1_000));
            let length = encoder.pull(&mut payload).unwrap();
            assert_eq!(decoder.decode(&payload[..length], &mut decoded), Ok(MIX_FRAME));
        }
    }

    #[test]
    fn formats_without_a_filter_or_beyond_a_packet_are_refused() {
        let l16 = Format::usual(Codec::L16);
        for format in [
            Format { clock_hz: 44_100, ..l16 },
            Format { clock_hz: 48_000, packet_ms: 20, ..l16 },
            Format { channels: 2, ..l16 },
            Format { packet_ms: 15, ..Format::usual(Codec::Pcmu) },
            Format { clock_hz: 16_000, ..Format::usual(Codec::G722) },
        ] {
            assert!(Encoder::new(format).is_err(), "{format:?}");
        }
        assert!(Encoder::new(Format { clock_hz: 48_000, packet_ms: 10, ..l16 }).is_ok());
    }
}
