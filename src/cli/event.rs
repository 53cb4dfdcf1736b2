//! An event as one line: when, who, what; and what a command led to. The words are `dispatch::told`'s.

use super::span::moment;
use crate::dispatch::control::Answer;
use crate::dispatch::told;
use crate::domain::event::Recorded;

/// `2026-11-23 11:58:01Z  fire-desk  incident opened: incident kilo-7-tango-3, title Fire in the harbour`
pub(super) fn line(recorded: &Recorded) -> String {
    format!("{}  {}  {}", moment(recorded.at.wall), told::who(&recorded.actor), told::what(&recorded.event))
}

/// What a command led to; one line for each event.
pub(super) fn answer(answer: &Answer) -> String {
    let records = match answer {
        Answer::Done { records } | Answer::EffectiveNotRecorded { records, cause: _ } => records,
    };
    records.iter().map(|recorded| told::what(&recorded.event) + "\n").collect()
}

/// What standard error says beside an answer.
pub(super) fn warning(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Done { .. } => None,
        Answer::EffectiveNotRecorded { cause, .. } => {
            Some(format!("IN FORCE BUT NOT RECORDED: {cause}. A restart of the daemon would undo it."))
        }
    }
}
