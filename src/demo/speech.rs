//! Recorded human speech: the prompts of a Debian package, at the mixer's rate, cut into what a talker says at once.

use std::path::PathBuf;

use crate::domain::audio::{Frame, MIX_FRAME, MIX_RATE_HZ};
use crate::media::level::rms_db;
use crate::media::resample::{Rates, Resampler};

/// The Debian package the prompts come from.
pub const PACKAGE: &str = "asterisk-core-sounds-en-wav";

/// One voice with a long text; each call says the next piece of it, from the start again at the end.
#[derive(Clone, Debug)]
pub struct Speech {
    samples: Vec<i16>,
    at: usize,
}

impl Speech {
    /// Reads a prompt such as `demo-congrats`. The fault names the package to install.
    pub fn load(prompt: &str) -> Result<Self, String> {
        let path = find(prompt)?;
        let fault = |what: String| format!("{}: {what}", path.display());
        let mut file = hound::WavReader::open(&path).map_err(|error| fault(error.to_string()))?;
        let format = file.spec();
        let rates = Rates::to_mixer(format.sample_rate)
            .filter(|_| format.channels == 1 && format.bits_per_sample == 16)
            .ok_or_else(|| fault("not 16 bit mono at 8, 16 or 48 kHz".to_owned()))?;
        let read: Vec<i16> =
            file.samples::<i16>().collect::<Result<_, _>>().map_err(|error| fault(error.to_string()))?;
        let whole = &read[..read.len() - read.len() % rates.input_step()];
        let mut samples = vec![0; rates.output_samples(whole.len())];
        Resampler::new(rates).run(whole, &mut samples);
        let mut speech = Self { samples, at: 0 };
        speech.leave_out_long_pauses();
        if speech.samples.len() < SHORTEST_S * MIX_RATE_HZ as usize {
            return Err(fault(format!("less than {SHORTEST_S} s of speech")));
        }
        Ok(speech)
    }

    /// The next piece, beginning with sound.
    pub fn say(&mut self, ms: usize) -> Vec<Frame> {
        self.skip_to_sound();
        let frames = (0..ms.div_ceil(20)).map(|_| self.next_frame()).collect();
        self.skip_to_sound();
        frames
    }

    /// A talker who pauses for a second proves nothing; a tenth of one sounds natural.
    fn leave_out_long_pauses(&mut self) {
        let mut pause = 0;
        let (frames, _) = self.samples.as_chunks::<MIX_FRAME>();
        let kept: Vec<i16> = frames
            .iter()
            .filter(|frame| {
                pause = if is_sound(*frame) { 0 } else { pause + 1 };
                pause <= PAUSE_FRAMES
            })
            .flatten()
            .copied()
            .collect();
        self.samples = kept;
    }

    fn skip_to_sound(&mut self) {
        for _ in 0..self.samples.len() / MIX_FRAME {
            if is_sound(&self.samples[self.at..self.at + MIX_FRAME]) {
                return;
            }
            self.next_frame();
        }
    }

    fn next_frame(&mut self) -> Frame {
        let frame: Frame = std::array::from_fn(|at| self.samples[self.at + at]);
        self.at += MIX_FRAME;
        if self.at + MIX_FRAME > self.samples.len() {
            self.at = 0;
        }
        frame
    }
}

fn is_sound(frame: &[i16]) -> bool {
    rms_db(frame) > SOUND_FROM_DB
}

/// Looks in each English voice that is installed.
fn find(prompt: &str) -> Result<PathBuf, String> {
    let voices = std::fs::read_dir(FOLDER).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = voices
        .filter(|voice| voice.file_name().is_some_and(|name| name.to_string_lossy().starts_with("en")))
        .map(|voice| voice.join(prompt).with_extension("wav"))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found.into_iter().next().ok_or_else(|| {
        format!("the recorded speech {prompt}.wav is not under {FOLDER}/en*: install the Debian package {PACKAGE} (./dev setup does)")
    })
}

const FOLDER: &str = "/usr/share/asterisk/sounds";
const SOUND_FROM_DB: f32 = -42.0;
const PAUSE_FRAMES: usize = 6;
const SHORTEST_S: usize = 8;
