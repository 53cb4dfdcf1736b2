//! Decoders and encoders created up front and taken for the length of a burst or a mix.
//!
//! An Opus encoder is 43 KiB and a decoder 18, so their number is a limit of the shard: when none is left the
//! caller denies the burst and [`CodecPool::denied`] counts it. The other laws own no heap; they count against
//! the same limits, because a decode or an encode is also time on the shard's core. Owned by one shard.

use super::{Decoder, DecoderLaw, Encoder, EncoderLaw, UnsupportedFormat, packet_samples, sample_rate_hz};
use crate::domain::audio::{Codec, Format};

/// Why a pool gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCodec {
    /// All are in use.
    Exhausted,
    /// Nobody could decode or encode this.
    Unsupported(UnsupportedFormat),
}

/// One shard's decoders and encoders.
#[derive(Debug)]
pub struct CodecPool {
    opus_decoders: Vec<Decoder>,
    opus_encoders: Vec<Encoder>,
    decoders_left: usize,
    encoders_left: usize,
    /// Encoders taken so far.
    taken: u32,
    denied: u64,
}

impl CodecPool {
    /// Creates all Opus state at once; the only place of the codecs that allocates.
    pub fn new(decoders_max: usize, encoders_max: usize) -> Result<Self, UnsupportedFormat> {
        let opus = Format::usual(Codec::Opus);
        Ok(Self {
            opus_decoders: (0..decoders_max).map(|_| Decoder::new(opus)).collect::<Result<_, _>>()?,
            opus_encoders: (0..encoders_max).map(|_| Encoder::new(opus)).collect::<Result<_, _>>()?,
            decoders_left: decoders_max,
            encoders_left: encoders_max,
            taken: 0,
            denied: 0,
        })
    }

    /// A decoder that has heard nothing yet.
    pub fn take_decoder(&mut self, format: Format) -> Result<Decoder, NoCodec> {
        sample_rate_hz(format).map_err(NoCodec::Unsupported)?;
        if self.decoders_left == 0 {
            self.denied += 1;
            return Err(NoCodec::Exhausted);
        }
        let decoder = match format.codec {
            Codec::Opus => self.opus_decoders.pop().ok_or(NoCodec::Exhausted)?,
            Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::L16 => {
                Decoder::new(format).map_err(NoCodec::Unsupported)?
            }
        };
        self.decoders_left -= 1;
        Ok(decoder)
    }

    /// An encoder that has sent nothing yet, with no redundancy.
    pub fn take_encoder(&mut self, format: Format) -> Result<Encoder, NoCodec> {
        sample_rate_hz(format).map_err(NoCodec::Unsupported)?;
        let packet_samples = packet_samples(format).map_err(NoCodec::Unsupported)?;
        if self.encoders_left == 0 {
            self.denied += 1;
            return Err(NoCodec::Exhausted);
        }
        let mut encoder = match format.codec {
            Codec::Opus => {
                let mut encoder = self.opus_encoders.pop().ok_or(NoCodec::Exhausted)?;
                encoder.packet_samples = packet_samples;
                encoder
            }
            Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::L16 => {
                Encoder::new(format).map_err(NoCodec::Unsupported)?
            }
        };
        self.encoders_left -= 1;
        self.taken = self.taken.wrapping_add(1);
        encoder.life = self.taken;
        Ok(encoder)
    }

    /// At the burst's end.
    pub fn give_decoder(&mut self, mut decoder: Decoder) {
        self.decoders_left += 1;
        if let DecoderLaw::Opus(_) = decoder.law {
            decoder.reset();
            self.opus_decoders.push(decoder); // within the capacity it was taken from
        }
    }

    /// When nobody hears the mix any more.
    pub fn give_encoder(&mut self, mut encoder: Encoder) {
        self.encoders_left += 1;
        if let EncoderLaw::Opus(_) = encoder.law {
            encoder.expect_loss(0);
            encoder.reset();
            self.opus_encoders.push(encoder);
        }
    }

    /// How often somebody was turned away because all were in use.
    pub const fn denied(&self) -> u64 {
        self.denied
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audio::MIX_FRAME;
    use crate::media::codec::PAYLOAD_BYTES_MAX;

    #[test]
    fn an_empty_pool_denies_and_counts_until_something_comes_back() {
        let mut pool = CodecPool::new(1, 1).unwrap();
        let opus = Format::usual(Codec::Opus);
        let decoder = pool.take_decoder(Format::usual(Codec::Pcmu)).unwrap();
        assert_eq!(pool.take_decoder(opus).err(), Some(NoCodec::Exhausted));
        assert_eq!(pool.denied(), 1);
        pool.give_decoder(decoder);
        assert!(pool.take_decoder(opus).is_ok());
    }

    #[test]
    fn an_opus_encoder_takes_the_packet_time_of_whoever_takes_it() {
        let mut pool = CodecPool::new(1, 1).unwrap();
        for packet_ms in [60, 20, 40] {
            let mut encoder = pool.take_encoder(Format { packet_ms, ..Format::usual(Codec::Opus) }).unwrap();
            let mut pushed_ms = 0;
            while encoder.pull(&mut [0; PAYLOAD_BYTES_MAX]).is_none() {
                encoder.push(&[0; MIX_FRAME]);
                pushed_ms += 20;
            }
            assert_eq!(pushed_ms, packet_ms);
            pool.give_encoder(encoder);
        }
    }

    #[test]
    fn an_encoder_from_the_pool_remembers_nothing_of_its_last_stream() {
        let mut pool = CodecPool::new(1, 1).unwrap();
        let format = Format::usual(Codec::Opus);
        let (mut first, mut second) = ([0; PAYLOAD_BYTES_MAX], [0; PAYLOAD_BYTES_MAX]);
        let mut lengths = [0; 2];
        for (payload, length) in [&mut first, &mut second].into_iter().zip(&mut lengths) {
            let mut encoder = pool.take_encoder(format).unwrap();
            encoder.push(&std::array::from_fn(|n| (n as i16 % 50) * 300));
            *length = encoder.pull(payload).unwrap();
            encoder.expect_loss(20);
            encoder.push(&[9_999; MIX_FRAME]); // left in the encoder
            pool.give_encoder(encoder);
        }
        assert_eq!((lengths[0], first), (lengths[1], second));
    }
}
