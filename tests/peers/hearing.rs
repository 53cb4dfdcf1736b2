//! Whether a recording of any length holds a piece of speech, by the samples alone.

use crosspatch::demo::likeness::{EARLY_MS, LATE_MS, Likeness, likeness};
use crosspatch::demo::speech::Speech;
use crosspatch::domain::audio::{Frame, MIX_FRAME};

/// A voice whose pieces are all different.
pub struct Voice(Speech);

/// A piece of speech: as it is said, and as it is looked for.
pub struct Piece {
    pub frames: Vec<Frame>,
    pub samples: Vec<i16>,
}

impl Voice {
    /// A prompt of half a minute and more.
    pub fn load(prompt: &str) -> Self {
        Self(Speech::load(prompt).unwrap())
    }

    /// The next two seconds: three blocks of the comparison, so that other speech does not look alike. They are said with
    /// a pause after them, because a program keeps the last milliseconds of what it was given until more comes.
    pub fn next_piece(&mut self) -> Piece {
        let mut frames = self.0.say(2_000);
        let samples = frames.as_flattened().to_vec();
        frames.extend([[0; MIX_FRAME]; 15]);
        Piece { frames, samples }
    }
}

/// The best likeness anywhere in a recording.
pub fn heard_in(said: &[i16], recording: &[i16]) -> Likeness {
    let (early, late) = (EARLY_MS * PER_MS, LATE_MS * PER_MS);
    let mut padded = vec![0; early];
    padded.extend_from_slice(recording);
    let windows = (0..recording.len().max(1)).step_by(late - early);
    let found = windows.map(|at| likeness(said, &padded[at..padded.len().min(at + said.len() + early + late)]));
    found.max_by(|a, b| a.similarity.total_cmp(&b.similarity)).expect("at least one window")
}

const PER_MS: usize = 16;
