//! Who waits for what, and which answers are remembered by their idempotency keys.

use std::collections::{BTreeMap, VecDeque};

use crate::domain::command::Command;
use crate::domain::event::Recorded;
use crate::domain::id::UserId;
use crate::domain::order::RouteVersion;
use crate::domain::refusal::Refusal;
use crate::domain::time::MonoTime;

use super::words::{Answer, Output, RequestId, Ticket};

/// A key is its user's own.
pub(super) type Key = (UserId, String);

/// A command whose answer waits for the journal, for shards, or for both.
#[derive(Debug)]
pub(super) struct Waiter {
    pub requests: Vec<RequestId>,
    pub key: Option<Key>,
    pub records: Vec<Recorded>,
    /// Takes something: is answered even if the journal does not answer.
    pub takes: bool,
    /// Not durable yet.
    pub ticket: Option<Ticket>,
    /// Why the journal does not have it.
    pub not_recorded: Option<String>,
    /// What every shard must have applied, and since when that is asked.
    pub required: Option<(Vec<RouteVersion>, MonoTime)>,
}

impl Waiter {
    /// Once the shards have it: the answer, or none while the journal may still speak.
    pub fn outcome(&self, now: MonoTime) -> Option<Answer> {
        let asked = self.required.as_ref().map(|(_, since)| *since)?;
        let records = self.records.clone();
        match (&self.not_recorded, self.ticket) {
            (Some(cause), _) => Some(Answer::EffectiveNotRecorded { records, cause: cause.clone() }),
            (None, None) => Some(Answer::Done { records }),
            (None, Some(_)) if self.takes && now.ms_since(asked) >= JOURNAL_PATIENCE_MS => {
                let cause = "the journal has not confirmed it yet".to_owned();
                Some(Answer::EffectiveNotRecorded { records, cause })
            }
            (None, Some(_)) => None,
        }
    }
}

/// Answers by idempotency key. Bounded: the oldest is forgotten first.
#[derive(Debug, Default)]
pub(super) struct Keys {
    known: BTreeMap<Key, Known>,
    oldest_first: VecDeque<Key>,
}

#[derive(Debug)]
struct Known {
    command: Command,
    outcome: Option<Result<Answer, Refusal>>,
}

/// What a key says about a command.
pub(super) enum Seen {
    /// Never seen.
    New,
    /// The same command waits for its answer.
    Waiting,
    /// The same command was answered.
    Answered(Result<Answer, Refusal>),
    /// It was another command.
    Other,
}

impl Keys {
    pub fn look(&self, key: &Key, command: &Command) -> Seen {
        match self.known.get(key) {
            None => Seen::New,
            Some(known) if known.command != *command => Seen::Other,
            Some(Known { outcome: None, .. }) => Seen::Waiting,
            Some(Known { outcome: Some(outcome), .. }) => Seen::Answered(outcome.clone()),
        }
    }

    pub fn hold(&self, key: &Key) -> bool {
        self.known.contains_key(key)
    }

    pub fn begin(&mut self, key: &Key, command: &Command) {
        if self.known.insert(key.clone(), Known { command: command.clone(), outcome: None }).is_none() {
            self.oldest_first.push_back(key.clone());
        }
        while self.oldest_first.len() > KEYS_MAX {
            if let Some(key) = self.oldest_first.pop_front() {
                self.known.remove(&key);
            }
        }
    }

    /// Remembers an answer. A refusal that only says "not now" is forgotten: trying again is what the key is for.
    pub fn end(&mut self, key: &Key, outcome: &Result<Answer, Refusal>) {
        let passing = match outcome {
            Ok(_) => false,
            Err(refusal) => matches!(refusal, Refusal::JournalFailing | Refusal::Draining | Refusal::Full { .. }),
        };
        if passing {
            self.known.remove(key);
            self.oldest_first.retain(|known| known != key);
        } else if let Some(known) = self.known.get_mut(key) {
            known.outcome = Some(outcome.clone());
        }
    }
}

/// Tells everyone who asked for this.
pub(super) fn answer(waiter: &Waiter, outcome: &Result<Answer, Refusal>, keys: &mut Keys, out: &mut Vec<Output>) {
    for request in &waiter.requests {
        out.push(Output::Answer { request: *request, outcome: outcome.clone() });
    }
    if let Some(key) = &waiter.key {
        keys.end(key, outcome);
    }
}

/// A cut is answered without the journal after this long: a slow disk must not make a dispatcher press twice (ms).
const JOURNAL_PATIENCE_MS: u64 = 25;
/// Keys remembered: a day of a busy room.
const KEYS_MAX: usize = 4096;
