//! Which commands the journal has answered, by their idempotency keys: what lets a command that is repeated after a crash
//! be answered as the first time instead of being decided again. A mirror of the journal's own table, so that no
//! command waits for the disk to be looked up. Not the answers of this process: control remembers those, refusals too.
//! Owned by the control task.

use std::collections::{BTreeMap, VecDeque};

use crate::domain::command::Command;
use crate::domain::id::UserId;
use crate::io::journal::{ANSWERS_KEPT, Committed, Digest, IdempotencyKey};

/// Answered keys, the newest [`ANSWERS_KEPT`] of them.
#[derive(Debug, Default)]
pub struct Answered {
    known: BTreeMap<String, Entry>,
    oldest_first: VecDeque<String>,
}

/// Where the events of an answer lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Position before the first of them.
    pub after: u64,
    /// How many they are.
    pub count: usize,
}

#[derive(Debug)]
struct Entry {
    request: Digest,
    span: Span,
}

/// What the journal says about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    New,
    /// The same command was answered with these events.
    Answered(Span),
    /// It was another command.
    Other,
}

impl Answered {
    /// What the journal knew when it was opened, the oldest first.
    pub fn restore(answers: Vec<(IdempotencyKey, Committed)>) -> Self {
        let mut answered = Self::default();
        for (key, committed) in answers {
            answered.insert(key, &committed);
        }
        answered
    }

    /// What is known of a key.
    pub fn look(&self, key: &IdempotencyKey) -> Known {
        match self.known.get(&key.key) {
            None => Known::New,
            Some(entry) if entry.request == key.request => Known::Answered(entry.span),
            Some(_) => Known::Other,
        }
    }

    /// The journal has committed what a key asked for; it forgets its oldest key for it, and so do we.
    pub fn insert(&mut self, key: IdempotencyKey, committed: &Committed) {
        let count = usize::try_from(committed.last_position + 1 - committed.first_position).unwrap_or(usize::MAX);
        let span = Span { after: committed.first_position - 1, count };
        if self.known.insert(key.key.clone(), Entry { request: key.request, span }).is_none() {
            self.oldest_first.push_back(key.key);
        }
        while self.oldest_first.len() as u64 > ANSWERS_KEPT {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}

/// A user's key for a command, as the journal knows it: of one length, whatever a client calls its keys.
pub fn key_of(user: &UserId, key: &str, command: &Command) -> IdempotencyKey {
    let own = Digest::of(format!("{user}\n{key}").as_bytes());
    let name: String = own.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let request = serde_json::to_vec(command).expect("commands are plain data: JSON always takes them");
    IdempotencyKey::new(&name, &request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::TalkgroupId;
    use crate::domain::incident::CutTarget;

    fn cut(talkgroup: &str) -> Command {
        Command::Cut { target: CutTarget::Talkgroup(TalkgroupId::new(talkgroup).unwrap()) }
    }

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn committed(first_position: u64, last_position: u64) -> Committed {
        Committed { first_position, last_position, last_seqs: Vec::new(), repeated: false }
    }

    #[test]
    fn a_key_is_its_users_own_and_stands_for_one_command() {
        let key = key_of(&user("ann"), "k", &cut("pd-1"));
        let answered = Answered::restore(vec![(key.clone(), committed(7, 9))]);
        assert_eq!(answered.look(&key), Known::Answered(Span { after: 6, count: 3 }));
        assert_eq!(answered.look(&key_of(&user("ann"), "k", &cut("pd-2"))), Known::Other);
        assert_eq!(answered.look(&key_of(&user("bob"), "k", &cut("pd-1"))), Known::New);
        assert!(key.key.len() <= 128, "the journal takes no longer one");
    }

    #[test]
    fn the_oldest_key_is_forgotten_first() {
        let key = |n: u64| IdempotencyKey::new(&n.to_string(), b"");
        let mut answered = Answered::default();
        for n in 1..=ANSWERS_KEPT + 1 {
            answered.insert(key(n), &committed(n, n));
        }
        assert_eq!(answered.look(&key(1)), Known::New);
        assert_ne!(answered.look(&key(2)), Known::New);
    }
}
