//! One checker for each promise. They see what people and devices see (packets, published events, answers) and what
//! crosses the walls between the cores (orders, reports), never what a core keeps to itself.

pub mod bursts;
pub mod ears;
pub mod joint;
pub mod membership;
pub mod notices;
pub mod sessions;

use std::collections::BTreeMap;

use crosspatch::domain::time::MonoTime;

/// A promise: the twelve laws of the design by their numbers, then what follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// 1. Nobody hears a talkgroup without a live grant of its owner.
    Sovereignty,
    /// 2. Nothing crosses after an answered cut, nothing before a grant is on disk, nothing is given without a journal.
    InstantAndDurable,
    /// 3. What a port hears is never sent on.
    OneHop,
    /// 4. A talkgroup hears a burst at most once, through one transmitter, and never its own.
    Once,
    /// 5. A single talker's payload arrives untouched.
    RelayBeforeMix,
    /// 6. A radio carries one voice.
    OneVoice,
    /// 7. No link outlives its lease, no lease cuts speech, no clock step changes one.
    Leases,
    /// 8. Media waits for nobody: its queues stay under their limits.
    Bounded,
    /// 9. The same seed gives the same world.
    Deterministic,
    /// 10. What opens closes exactly once.
    Closes,
    /// 11. Every frame of a floor's holder is heard, or missed with a cause, and the counts are true.
    NothingLost,
    /// 12. An emergency outranks, and only its agency clears it.
    Emergency,
    /// A sequence number never repeats within an SSRC.
    Sequence,
    /// A presence-keyed gateway gets no packet outside a burst.
    Unkeyed,
    /// What shards were ordered is what the published events say.
    Membership,
    /// Replaying the journal gives the same state.
    Replay,
}

impl Law {
    pub const ALL: [Self; 16] = [
        Self::Sovereignty,
        Self::InstantAndDurable,
        Self::OneHop,
        Self::Once,
        Self::RelayBeforeMix,
        Self::OneVoice,
        Self::Leases,
        Self::Bounded,
        Self::Deterministic,
        Self::Closes,
        Self::NothingLost,
        Self::Emergency,
        Self::Sequence,
        Self::Unkeyed,
        Self::Membership,
        Self::Replay,
    ];
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    pub law: Law,
    pub at: MonoTime,
    pub what: String,
}

/// What the checkers found; the first of each law is kept, all are counted.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub first: BTreeMap<Law, Violation>,
    pub count: BTreeMap<Law, u64>,
}

impl Findings {
    pub fn broken(&mut self, law: Law, at: MonoTime, what: impl FnOnce() -> String) {
        *self.count.entry(law).or_default() += 1;
        self.first.entry(law).or_insert_with(|| Violation { law, at, what: what() });
    }

    /// What somebody else found.
    pub fn take(&mut self, other: &Self, where_it_was: &str) {
        for (law, violation) in &other.first {
            *self.count.entry(*law).or_default() += other.count.get(law).copied().unwrap_or(1);
            let what = format!("{where_it_was}{}", violation.what);
            let first = self.first.entry(*law).or_insert_with(|| Violation { what: what.clone(), ..violation.clone() });
            if first.at > violation.at {
                *first = Violation { what, ..violation.clone() };
            }
        }
    }

    pub fn is_clean(&self) -> bool {
        self.first.is_empty()
    }
}
