//! The journal of a world: a disk that is prompt, late, gathers several appends into one commit, fails and comes back.
//! It holds what a crash would leave.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crosspatch::dispatch::control::{Input, Ticket};
use crosspatch::domain::event::Recorded;
use crosspatch::domain::random::Entropy;
use crosspatch::domain::time::MonoTime;

/// How the disk behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Prompt,
    /// Commits so long after the append (ms).
    Late(u64),
    /// Commits everything at once every so often (ms).
    Batched(u64),
    /// Takes nothing until then.
    Failing(MonoTime),
}

/// Appends and commits.
pub struct Journal {
    pub mood: Mood,
    committed: Vec<Recorded>,
    marks: BTreeSet<u64>,
    waiting: VecDeque<(Ticket, Vec<Recorded>, MonoTime)>,
    refused: BTreeSet<u64>,
    told: bool,
    pub happened: JournalCounts,
}

/// What was met.
#[derive(Clone, Copy, Debug, Default)]
pub struct JournalCounts {
    pub late: u64,
    pub batched: u64,
    pub failed: u64,
    pub back: u64,
    pub lost_in_crash: u64,
}

impl Journal {
    pub fn new() -> Self {
        Self {
            mood: Mood::Prompt,
            committed: Vec::new(),
            marks: BTreeSet::new(),
            waiting: VecDeque::new(),
            refused: BTreeSet::new(),
            told: false,
            happened: JournalCounts::default(),
        }
    }

    pub fn append(&mut self, ticket: Ticket, records: Vec<Recorded>, now: MonoTime) {
        self.waiting.push_back((ticket, records, now));
    }

    /// What a crash would leave.
    pub fn committed(&self) -> &[Recorded] {
        &self.committed
    }

    /// Whether a record is on disk.
    pub fn has(&self, record: &Recorded) -> bool {
        self.marks.contains(&mark(record))
    }

    /// Whether a record was refused with the last appends.
    pub fn refused(&self, record: &Recorded) -> bool {
        self.refused.contains(&mark(record))
    }

    pub fn is_settled(&self) -> bool {
        self.waiting.is_empty() && !self.is_failing()
    }

    pub fn is_failing(&self) -> bool {
        matches!(self.mood, Mood::Failing(_))
    }

    /// The mood changes by chance.
    pub fn chance(&mut self, now: MonoTime, entropy: &mut Entropy) {
        if self.is_failing() || entropy.below(150) != 0 {
            return;
        }
        self.mood = match entropy.below(5) {
            0 => Mood::Late(40 + entropy.below(400)),
            1 => Mood::Batched(100 + entropy.below(500)),
            2 => Mood::Failing(now.plus_ms(200 + entropy.below(4_000))),
            _ => Mood::Prompt,
        };
    }

    /// The disk is prompt from now on; one that failed says first that it is back, as it must to whoever waits for it.
    pub fn mend(&mut self) {
        self.mood = if self.is_failing() { Mood::Failing(MonoTime(0)) } else { Mood::Prompt };
    }

    /// What the disk has to say now.
    pub fn beat(&mut self, now: MonoTime) -> Vec<Input> {
        let mut said = Vec::new();
        match self.mood {
            Mood::Prompt => self.commit(&mut said, |_| true),
            Mood::Late(ms) => {
                self.happened.late += u64::from(!self.waiting.is_empty());
                self.commit(&mut said, |since| now.ms_since(since) >= ms);
            }
            Mood::Batched(ms) if self.waiting.front().is_some_and(|(_, _, since)| now.ms_since(*since) >= ms) => {
                self.happened.batched += u64::from(self.waiting.len() > 1);
                self.commit(&mut said, |_| true);
            }
            Mood::Batched(_) => {}
            Mood::Failing(until) if now >= until => {
                self.mood = Mood::Prompt;
                self.fail(&mut said);
                if std::mem::take(&mut self.told) {
                    self.happened.back += 1;
                    said.push(Input::JournalBack);
                }
            }
            Mood::Failing(_) => self.fail(&mut said),
        }
        said
    }

    /// The process dies: what no commit has returned for is gone.
    pub fn crash(&mut self) {
        self.happened.lost_in_crash += self.waiting.len() as u64;
        self.waiting.clear();
        self.told = false;
    }

    fn commit(&mut self, said: &mut Vec<Input>, ripe: impl Fn(MonoTime) -> bool) {
        let mut last = None;
        while self.waiting.front().is_some_and(|(_, _, since)| ripe(*since)) {
            let Some((ticket, records, _)) = self.waiting.pop_front() else { break };
            self.marks.extend(records.iter().map(mark));
            self.committed.extend(records);
            last = Some(ticket);
        }
        said.extend(last.map(|ticket| Input::Committed { ticket }));
    }

    /// Everything that waits is refused, once.
    fn fail(&mut self, said: &mut Vec<Input>) {
        if let Some((ticket, _, _)) = self.waiting.front() {
            said.push(Input::CommitFailed { ticket: *ticket, cause: "no space left on device".into() });
            self.refused = self.waiting.iter().flat_map(|(_, records, _)| records).map(mark).collect();
            self.waiting.clear();
            self.told = true;
            self.happened.failed += 1;
        }
    }
}

/// The default hasher has fixed keys: equal worlds have equal marks.
fn mark(record: &Recorded) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{record:?}").hash(&mut hasher);
    hasher.finish()
}
