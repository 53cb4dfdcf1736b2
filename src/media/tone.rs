//! Signalling tones for a listener's own leg: never sent into a patch, never over speech; who plays decides that.
//!
//! Each tone is a short pattern of segments with 5 ms raised-cosine edges, so that none clicks or spreads over the
//! band. All are -16 dB below full scale at most: under a voice, above its pauses.

use std::f32::consts::{PI, TAU};

use crate::domain::audio::{Frame, MIX_RATE_HZ};

/// What a tone says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// You may talk: one short high pip.
    Grant,
    /// You may not talk: a low double buzz.
    Deny,
    /// Your request waits: two short rising pips.
    Queued,
    /// This leg is patched over an open path: one soft pip.
    Reminder,
    /// This link ends soon: three quick high pips.
    ExpiresSoon,
    /// The incident closes soon: two quick high pips and a long low one.
    ClosesSoon,
    /// It was linked: rising pair.
    Linked,
    /// It was unlinked: falling pair.
    Unlinked,
    /// A partner is lost: three steps down.
    PartnerLost,
    /// The partner is back: three steps up.
    Restored,
    /// You are called in; press the star to come: two level notes and a higher one.
    Confirm,
}

impl Tone {
    /// All of them.
    pub const ALL: [Tone; 11] = [
        Tone::Grant,
        Tone::Deny,
        Tone::Queued,
        Tone::Reminder,
        Tone::ExpiresSoon,
        Tone::ClosesSoon,
        Tone::Linked,
        Tone::Unlinked,
        Tone::PartnerLost,
        Tone::Restored,
        Tone::Confirm,
    ];

    const fn segments(self) -> &'static [Segment] {
        match self {
            Tone::Grant => const { &[beep(1_200, 70)] },
            Tone::Deny => const { &[beep(400, 150), rest(60), beep(400, 150)] },
            Tone::Queued => const { &[beep(800, 60), rest(40), beep(1_000, 60)] },
            Tone::Reminder => const { &[beep(1_000, 80)] },
            Tone::ExpiresSoon => const { &[beep(1_400, 50), rest(50), beep(1_400, 50), rest(50), beep(1_400, 50)] },
            Tone::ClosesSoon => const { &[beep(1_400, 50), rest(50), beep(1_400, 50), rest(50), beep(500, 250)] },
            Tone::Linked => const { &[beep(600, 100), beep(900, 140)] },
            Tone::Unlinked => const { &[beep(900, 100), beep(600, 140)] },
            Tone::PartnerLost => const { &[beep(900, 80), rest(40), beep(700, 80), rest(40), beep(500, 120)] },
            Tone::Restored => const { &[beep(500, 80), rest(40), beep(700, 80), rest(40), beep(900, 120)] },
            Tone::Confirm => const { &[beep(700, 120), rest(120), beep(700, 120), rest(120), beep(1_050, 240)] },
        }
    }

    /// How long it sounds (ms).
    pub fn duration_ms(self) -> u32 {
        self.segments().iter().map(|segment| u32::from(segment.ms)).sum()
    }
}

/// Plays one tone, frame by frame.
#[derive(Clone, Debug)]
pub struct TonePlayer {
    tone: Tone,
    segment: usize,
    at: u32,
}

impl TonePlayer {
    /// From its beginning.
    pub const fn new(tone: Tone) -> Self {
        Self { tone, segment: 0, at: 0 }
    }

    /// Which tone it is.
    pub const fn tone(&self) -> Tone {
        self.tone
    }

    /// The next 20 ms, silent after the tone's end; false if all of it was silent for that reason.
    pub fn next_frame(&mut self, out: &mut Frame) -> bool {
        let segments = self.tone.segments();
        let sounding = self.segment < segments.len();
        for sample in out {
            *sample = match segments.get(self.segment) {
                Some(segment) => segment.sample(self.at),
                None => 0,
            };
            self.at += 1;
            if segments.get(self.segment).is_some_and(|segment| self.at >= segment.samples()) {
                self.at = 0;
                self.segment += 1;
            }
        }
        sounding
    }
}

#[derive(Clone, Copy)]
struct Segment {
    /// 0: a rest.
    hz: u16,
    ms: u16,
}

const fn beep(hz: u16, ms: u16) -> Segment {
    Segment { hz, ms }
}

const fn rest(ms: u16) -> Segment {
    Segment { hz: 0, ms }
}

impl Segment {
    const fn samples(self) -> u32 {
        self.ms as u32 * (MIX_RATE_HZ / 1_000)
    }

    fn sample(self, at: u32) -> i16 {
        if self.hz == 0 {
            return 0;
        }
        let from_edge = at.min(self.samples() - 1 - at).min(EDGE_SAMPLES) as f32 / EDGE_SAMPLES as f32;
        let envelope = (1.0 - (PI * from_edge).cos()) / 2.0;
        let turns = f32::from(self.hz) * at as f32 / MIX_RATE_HZ as f32;
        ((TAU * turns.fract()).sin() * envelope * PEAK) as i16
    }
}

/// 5 ms.
const EDGE_SAMPLES: u32 = 80;
/// A sine of -16 dB RMS.
const PEAK: f32 = 7_344.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audio::MIX_FRAME;
    use crate::media::level::rms_db;

    fn whole(tone: Tone) -> Vec<i16> {
        let (mut player, mut frame, mut all) = (TonePlayer::new(tone), [0; MIX_FRAME], Vec::new());
        while player.next_frame(&mut frame) {
            all.extend(frame);
            assert!(all.len() < 16_000, "{tone:?} does not end");
        }
        all
    }

    #[test]
    fn no_tone_steps_or_begins_or_ends_hard() {
        for tone in Tone::ALL {
            let all = whole(tone);
            let end = tone.duration_ms() as usize * 16;
            let edges = all[..16].iter().chain(&all[end - 16..end]);
            assert!(edges.map(|sample| sample.abs()).max() < Some(800), "{tone:?}: 1 ms from an edge");
            let mut last = 0;
            for sample in whole(tone).into_iter().chain([0]) {
                let slope = i32::from(sample) - last;
                assert!(slope.abs() < 4_300, "{tone:?} jumps by {slope}"); // a 1,400 Hz sine moves by 4,020
                last = i32::from(sample);
            }
        }
    }

    #[test]
    fn every_tone_lasts_as_it_says_and_has_one_loudness() {
        for tone in Tone::ALL {
            let all = whole(tone);
            let loudest = all.chunks(160).map(rms_db).fold(f32::MIN, f32::max);
            assert!((loudest + 16.0).abs() < 0.5, "{tone:?} at {loudest}");
            let end = all.iter().rposition(|sample| *sample != 0).unwrap() as u32 / 16;
            assert!(tone.duration_ms() - end <= 2, "{tone:?} ends at {end} ms");
        }
    }

    #[test]
    fn linked_rises_and_unlinked_falls() {
        let crossings = |part: &[i16]| part.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
        let (up, down) = (whole(Tone::Linked), whole(Tone::Unlinked));
        assert!(crossings(&up[..1_280]) < crossings(&up[2_000..3_280]));
        assert!(crossings(&down[..1_280]) > crossings(&down[2_000..3_280]));
    }
}
