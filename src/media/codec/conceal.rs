//! Concealment for codecs that have none of their own (G.711, G.722, L16): the last pitch period goes on,
//! fading out. libopus conceals by itself. Works at the mixer's rate, owned by one decoder.

/// What the last good audio sounded like, and how far it was drawn out.
#[derive(Clone, Debug)]
pub struct Concealer {
    /// The last good samples, oldest first.
    past: [i16; PAST],
    /// Samples drawn out since the last good one; 0 while nothing is missing.
    drawn: usize,
    period: usize,
}

impl Default for Concealer {
    fn default() -> Self {
        Self { past: [0; PAST], drawn: 0, period: PERIOD_MIN }
    }
}

impl Concealer {
    /// Takes in good audio; after a loss its beginning is blended with the drawn-out past, so nothing clicks.
    pub fn heard(&mut self, samples: &mut [i16]) {
        if self.drawn > 0 {
            let blend = BLEND.min(samples.len());
            for (at, sample) in samples[..blend].iter_mut().enumerate() {
                let weight = (at + 1) as f32 / (blend + 1) as f32;
                let old = self.drawn_sample(self.drawn + at);
                *sample = (f32::from(*sample) * weight + old * (1.0 - weight)) as i16;
            }
            self.drawn = 0;
        }
        if samples.len() >= PAST {
            self.past.copy_from_slice(&samples[samples.len() - PAST..]);
        } else {
            self.past.copy_within(samples.len().., 0);
            self.past[PAST - samples.len()..].copy_from_slice(samples);
        }
    }

    /// Fills `out` with what might have been said: full strength for 10 ms, silent after 60 ms.
    pub fn conceal(&mut self, out: &mut [i16]) {
        if self.drawn == 0 {
            self.period = self.pitch_period();
        }
        for (at, sample) in out.iter_mut().enumerate() {
            *sample = self.drawn_sample(self.drawn + at) as i16;
        }
        self.drawn = (self.drawn + out.len()).max(1);
    }

    fn drawn_sample(&self, at: usize) -> f32 {
        let fade = match at.checked_sub(FULL) {
            None => 1.0,
            Some(past) => 1.0 - (past as f32 / FADE as f32).min(1.0),
        };
        f32::from(self.past[PAST - self.period + at % self.period]) * fade
    }

    /// The lag at which the last 10 ms resemble what came before them most.
    fn pitch_period(&self) -> usize {
        let recent = &self.past[PAST - TEMPLATE..];
        let likeness = |lag: usize| {
            let before = &self.past[PAST - TEMPLATE - lag..PAST - lag];
            let (mut cross, mut energy) = (0f32, 1f32);
            for (a, b) in recent.iter().zip(before) {
                cross += f32::from(*a) * f32::from(*b);
                energy += f32::from(*b) * f32::from(*b);
            }
            cross / energy.sqrt()
        };
        let likenesses: [f32; PERIOD_MAX + 1] =
            std::array::from_fn(|lag| if lag < PERIOD_MIN { f32::MIN } else { likeness(lag) });
        let best = likenesses.iter().copied().fold(f32::MIN, f32::max);
        // A multiple of the period is as alike as the period itself: take the first near the best, then its peak.
        let near = likenesses.iter().position(|like| *like >= best - 0.05 * best.abs()).unwrap_or(PERIOD_MAX);
        let uphill = |lag: &usize| *lag < PERIOD_MAX && likenesses[lag + 1] > likenesses[*lag];
        let climb = (near..PERIOD_MAX).take_while(uphill).count();
        near + climb
    }
}

/// 400 Hz at 16 kHz.
const PERIOD_MIN: usize = 40;
/// 66 Hz at 16 kHz.
const PERIOD_MAX: usize = 240;
/// 10 ms.
const TEMPLATE: usize = 160;
const PAST: usize = PERIOD_MAX + TEMPLATE;
/// 10 ms.
const FULL: usize = 160;
/// 50 ms.
const FADE: usize = 800;
/// 5 ms.
const BLEND: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voice_goes_on_over_a_lost_frame_without_a_step_and_ends_in_silence() {
        let voice = |n: usize| ((n % 130) as f32 / 130.0 * 12_000.0 - 6_000.0) as i16;
        let mut good: Vec<i16> = (0..640).map(voice).collect();
        let mut concealer = Concealer::default();
        concealer.heard(&mut good);
        let mut lost = [0i16; 320];
        concealer.conceal(&mut lost);
        for (n, sample) in lost[..160].iter().enumerate() {
            assert!((i32::from(*sample) - i32::from(voice(640 + n))).abs() < 200, "sample {n}");
        }
        for _ in 0..3 {
            concealer.conceal(&mut lost);
        }
        assert_eq!(lost[319], 0, "60 ms after the loss nothing is left");
        let mut back = [8_000i16; 320];
        concealer.heard(&mut back);
        assert!(back[0].abs() < 200 && back[100] == 8_000, "the return fades in: {}", back[0]);
    }
}
