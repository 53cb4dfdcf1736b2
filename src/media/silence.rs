//! Payloads of silence in each law: what fills a key sign that carries no speech, and what goes between two sources of
//! one stream.

use crate::domain::audio::{Codec, Format};

use super::codec::PAYLOAD_BYTES_MAX;

/// What goes between two sources of one stream, so that a decoder which goes on from what it has heard is at rest when
/// the next one begins; `None` for laws whose decoders remember nothing.
///
/// Opus: a CELT frame of silence; a decoder that is switched bare overshoots by 8 to 11 dB (measured, 95th percentile),
/// after it by 0.2. G.722: the softest code of both bands; bare 10 to 16 dB, after it 4 to 5.
pub const fn between(codec: Codec) -> Option<&'static [u8]> {
    match codec {
        Codec::Opus => Some(&OPUS_SILENCE),
        Codec::G722 => Some(&G722_REST),
        Codec::Pcmu | Codec::Pcma | Codec::L16 => None,
    }
}

/// How long it sounds (ms).
pub const BETWEEN_MS: u32 = 20;
/// RFC 6716: CELT, 20 ms, one frame that decodes to silence.
pub const OPUS_SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
/// The softest code of both bands: said again and again, a decoder comes to rest.
const G722_REST: [u8; 160] = [0xfd; 160];

/// Writes one packet time of silence; returns its length.
pub fn silence(format: Format, out: &mut [u8; PAYLOAD_BYTES_MAX]) -> usize {
    let packet_ms = usize::from(format.packet_ms);
    let (byte, length) = match format.codec {
        Codec::Opus => {
            out[..OPUS_SILENCE.len()].copy_from_slice(&OPUS_SILENCE);
            return OPUS_SILENCE.len();
        }
        // RFC 3551: zero is all ones in mu-law, and in A-law with every other bit turned.
        Codec::Pcmu => (0xff, packet_ms * 8),
        Codec::Pcma => (0xd5, packet_ms * 8),
        Codec::G722 => (G722_REST[0], packet_ms * 8),
        Codec::L16 => (0, packet_ms * (format.clock_hz as usize / 1000) * 2 * usize::from(format.channels)),
    };
    let length = length.min(PAYLOAD_BYTES_MAX);
    out[..length].fill(byte);
    length
}

#[cfg(test)]
mod tests {
    use crate::media::codec::{Decoder, PACKET_SAMPLES_MAX};
    use crate::media::level::rms_db;

    use super::*;

    #[test]
    fn every_law_decodes_its_silence_as_silence() {
        for codec in [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::L16] {
            let format = Format::usual(codec);
            let mut payload = [0; PAYLOAD_BYTES_MAX];
            let length = silence(format, &mut payload);
            let mut decoder = Decoder::new(format).unwrap();
            let mut samples = [0; PACKET_SAMPLES_MAX];
            for _ in 0..5 {
                let count = decoder.decode(&payload[..length], &mut samples).unwrap();
                assert_eq!(count, 320, "{codec:?} is not 20 ms");
                assert!(rms_db(&samples[..count]) < -60.0, "{codec:?} is heard");
            }
        }
    }
}
