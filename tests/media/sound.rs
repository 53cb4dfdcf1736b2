//! Talkers of one tone each, and what of them is in the packets that a port got.

use std::f32::consts::TAU;

use crosspatch::domain::audio::{Frame, MIX_FRAME};
use crosspatch::domain::port::PortSpec;
use crosspatch::media::codec::{Decoder, Encoder, PACKET_SAMPLES_MAX, PAYLOAD_BYTES_MAX};

use super::Bench;

/// A talker of one tone, in its port's own codec.
pub struct Tone {
    port: u128,
    hz: f32,
    at: usize,
    encoder: Encoder,
}

impl Tone {
    pub fn new(port: &PortSpec, hz: f32) -> Self {
        Self { port: port.port.0, hz, at: 0, encoder: Encoder::new(port.payloads[0].format).unwrap() }
    }

    /// One packet on its way; 20 ms formats only.
    pub fn say(&mut self, bench: &mut Bench) {
        let frame: Frame =
            std::array::from_fn(|n| (PEAK * (TAU * self.hz * (self.at + n) as f32 / 16_000.0).sin()) as i16);
        self.at += MIX_FRAME;
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        self.encoder.push(&frame);
        let length = self.encoder.pull(&mut payload).unwrap();
        bench.talk(self.port, &payload[..length]);
    }
}

pub const PEAK: f32 = 4_000.0;

/// What a port would play, from the moment its mix has settled.
pub fn decoded(bench: &Bench, port: &PortSpec) -> Vec<i16> {
    let mut decoder = Decoder::new(port.payloads[0].format).unwrap();
    let mut sound = Vec::new();
    let mut samples = [0; PACKET_SAMPLES_MAX];
    for packet in bench.heard(port.port.0) {
        let count = decoder.decode(&packet.payload, &mut samples).unwrap();
        sound.extend_from_slice(&samples[..count]);
    }
    sound
}

/// Level of one frequency against the talkers' own (dB).
pub fn level_db(sound: &[i16], hz: f32) -> f32 {
    let (mut sine, mut cosine) = (0f32, 0f32);
    for (at, sample) in sound.iter().enumerate() {
        let phase = TAU * hz * at as f32 / 16_000.0;
        sine += f32::from(*sample) * phase.sin();
        cosine += f32::from(*sample) * phase.cos();
    }
    let amplitude = 2.0 * (sine * sine + cosine * cosine).sqrt() / sound.len() as f32;
    20.0 * (amplitude.max(1e-3) / PEAK).log10()
}

/// The last second but a little.
pub fn settled(sound: &[i16]) -> &[i16] {
    assert!(sound.len() > 20_000, "only {} samples were heard", sound.len());
    &sound[sound.len() - 16_000 - 1_600..sound.len() - 1_600]
}

pub fn talk_together(bench: &mut Bench, tones: &mut [Tone], packets: usize) {
    for _ in 0..packets {
        for tone in tones.iter_mut() {
            tone.say(bench);
        }
        bench.tick();
    }
}
