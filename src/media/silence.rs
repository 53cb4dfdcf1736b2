//! The payload of one packet of silence in each law: what fills a key sign that carries no speech.

use crate::domain::audio::{Codec, Format};

use super::codec::PAYLOAD_BYTES_MAX;
use super::sender::OPUS_SILENCE;

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
        // What its encoder says first of silence; said again and again both bands stay at rest.
        Codec::G722 => (0xfd, packet_ms * 8),
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
