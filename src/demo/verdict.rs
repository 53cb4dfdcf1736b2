//! What arrived, compared with what was said: who heard whom, how late, how well, how often. Of sound it looks at
//! recordings and at nothing else; neither the daemon nor the script can tell it a result. Beside it stands what desks
//! were answered, word for word.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::demo::likeness::{EARLY_MS, HEARD_FROM, LATE_MS, likeness};
use crate::domain::audio::MIX_RATE_HZ;
use crate::media::level::rms_db;

/// One question: did this listener hear this piece of speech?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The part of the script.
    pub phase: String,
    pub speaker: String,
    pub listener: String,
    pub expected: Expected,
    /// Where the piece stands in the speaker's recording, at 16 kHz.
    pub from_sample: usize,
    pub samples: usize,
}

/// What ought to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// Heard, once.
    Heard,
    /// Not heard; something else may sound.
    NotHeard,
    /// Nothing at all sounds.
    Silence,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub case: Case,
    pub heard: bool,
    pub twice: bool,
    /// Likeness of what was heard to what was said, 0 to 1.
    pub similarity: f32,
    /// Likeness at the best other delay.
    pub again: f32,
    /// From the microphone to the loudspeaker (ms), if it was heard.
    pub delay_ms: Option<i32>,
    /// How loud it was at the listener meanwhile (dBov).
    pub level_db: f32,
    pub as_expected: bool,
}

/// A time that was measured and must not exceed a limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    pub phase: String,
    pub listener: String,
    pub what: String,
    /// None: it never happened.
    pub took_ms: Option<u64>,
    pub most_ms: u64,
    pub as_expected: bool,
}

/// What a desk was answered, and what it ought to have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    pub phase: String,
    /// Whose desk asked.
    pub desk: String,
    pub what: String,
    pub expected: String,
    pub found: String,
}

/// All that one round showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub heard_from_similarity: f32,
    pub searched_ms: [i32; 2],
    pub rows: Vec<Row>,
    pub times: Vec<Timed>,
    pub answers: Vec<Answered>,
    pub as_expected: bool,
}

/// A party's whole recordings of one round, both beginning at the same moment for all parties.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    pub said: Vec<i16>,
    pub heard: Vec<i16>,
}

impl Verdict {
    /// Judges each case by the recordings. A party without a recording said and heard nothing.
    pub fn of(
        cases: Vec<Case>,
        times: Vec<Timed>,
        answers: Vec<Answered>,
        recordings: &BTreeMap<String, Recording>,
    ) -> Self {
        let none = Recording::default();
        let rows: Vec<Row> = cases
            .into_iter()
            .map(|case| {
                let said = &recordings.get(&case.speaker).unwrap_or(&none).said;
                let heard = &recordings.get(&case.listener).unwrap_or(&none).heard;
                judge(case, said, heard)
            })
            .collect();
        let as_expected = !rows.is_empty()
            && rows.iter().all(|row| row.as_expected)
            && times.iter().all(|time| time.as_expected)
            && answers.iter().all(Answered::is_as_expected);
        let searched_ms = [-(EARLY_MS as i32), LATE_MS as i32];
        Self { heard_from_similarity: HEARD_FROM, searched_ms, rows, times, answers, as_expected }
    }

    /// For people.
    pub fn table(&self) -> Vec<String> {
        let mut lines = vec![
            format!(
                "{:<22} {:<14} {:<14} {:<9} {:<9} {:>10} {:>8} {:>6} {:>9}",
                "phase", "said by", "listener", "expected", "found", "similarity", "delay", "again", "level"
            ),
            "-".repeat(111),
        ];
        lines.extend(self.rows.iter().map(Row::line));
        lines.extend(self.times.iter().map(Timed::line));
        lines.extend(self.answers.iter().map(Answered::line));
        let faults = self.rows.iter().filter(|row| !row.as_expected).count()
            + self.times.iter().filter(|time| !time.as_expected).count()
            + self.answers.iter().filter(|answer| !answer.is_as_expected()).count();
        let all = self.rows.len() + self.times.len() + self.answers.len();
        lines.push(format!(
            "heard means: similarity {HEARD_FROM} or more within {LATE_MS} ms; twice: again as much at another delay"
        ));
        lines.push(match faults {
            0 => format!("all {all} as expected"),
            some => format!("{some} of {all} NOT as expected"),
        });
        lines
    }
}

impl Row {
    fn line(&self) -> String {
        let expected = match self.case.expected {
            Expected::Heard => "heard",
            Expected::NotHeard => "not heard",
            Expected::Silence => "silence",
        };
        let found = match (self.heard, self.twice) {
            (true, true) => "TWICE",
            (true, false) => "heard",
            (false, _) if self.is_silent() => "silence",
            (false, _) => "not heard",
        };
        let delay = self.delay_ms.map_or("-".to_owned(), |ms| format!("{ms} ms"));
        let Case { phase, speaker, listener, .. } = &self.case;
        format!(
            "{phase:<22} {speaker:<14} {listener:<14} {expected:<9} {found:<9} {:>10.2} {delay:>8} {:>6.2} {:>6.0} dB{}",
            self.similarity,
            self.again,
            self.level_db,
            mark(self.as_expected)
        )
    }

    fn is_silent(&self) -> bool {
        self.level_db < SILENT_BELOW_DB
    }
}

impl Timed {
    /// Compares a measured time with its limit.
    pub fn new(phase: &str, listener: &str, what: &str, took_ms: Option<u64>, most_ms: u64) -> Self {
        let as_expected = took_ms.is_some_and(|took| took <= most_ms);
        Self { phase: phase.into(), listener: listener.into(), what: what.into(), took_ms, most_ms, as_expected }
    }

    fn line(&self) -> String {
        let took = self.took_ms.map_or("never".to_owned(), |ms| format!("{ms} ms"));
        let Self { phase, listener, what, most_ms, .. } = self;
        format!("{phase:<22} {listener:<14} {what}: {took} (at most {most_ms} ms){}", mark(self.as_expected))
    }
}

impl Answered {
    /// Whether it was answered so.
    pub fn is_as_expected(&self) -> bool {
        self.found == self.expected
    }

    fn line(&self) -> String {
        let Self { phase, desk, what, expected, found } = self;
        let answer = if self.is_as_expected() { found.clone() } else { format!("{found}, not {expected}") };
        format!("{phase:<22} {desk:<14} {what}: {answer}{}", mark(self.is_as_expected()))
    }
}

fn mark(as_expected: bool) -> &'static str {
    if as_expected { "" } else { "  <-- NOT AS EXPECTED" }
}

fn judge(case: Case, said: &[i16], heard: &[i16]) -> Row {
    let early = EARLY_MS * PER_MS;
    let until = case.from_sample + case.samples;
    let piece = said.get(case.from_sample..until).unwrap_or(&[]);
    let lead = early.saturating_sub(case.from_sample);
    let mut window = vec![0; lead];
    let from = case.from_sample + lead - early;
    let end = (until + LATE_MS * PER_MS).min(heard.len());
    window.extend_from_slice(heard.get(from..end).unwrap_or(&[]));
    let found = likeness(piece, &window);
    let meanwhile = heard.get(case.from_sample..until.min(heard.len())).unwrap_or(&[]);
    let level_db = if meanwhile.is_empty() { rms_db(&[0]) } else { rms_db(meanwhile) };
    let mut row = Row {
        heard: found.is_heard(),
        twice: found.is_heard_twice(),
        similarity: found.similarity,
        again: found.again,
        delay_ms: found.is_heard().then_some(found.delay_ms),
        level_db,
        as_expected: false,
        case,
    };
    row.as_expected = match row.case.expected {
        Expected::Heard => row.heard && !row.twice && found.delay_ms >= 0,
        // What was never said cannot be shown to be unheard.
        Expected::NotHeard => !row.heard && !piece.is_empty(),
        Expected::Silence => !row.heard && row.is_silent() && !piece.is_empty(),
    };
    row
}

const PER_MS: usize = MIX_RATE_HZ as usize / 1_000;
/// Softer than the softest breath on a quiet line.
const SILENT_BELOW_DB: f32 = -60.0;
