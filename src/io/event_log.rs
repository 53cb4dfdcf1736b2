//! What happened, as lines of the log: alarms as warnings, sessions as information, talk for those who debug. The journal
//! is the record; these lines are for whoever watches the system and its logs.
//!
//! An event holds no secret, so it is written as it is.

use tracing::Level;

use crate::domain::event::{Event, Recorded};

/// One line for one event.
pub fn write(recorded: &Recorded) {
    if matches!(recorded.event, Event::ConfigurationAdopted { .. } | Event::ChangeProposed { .. }) {
        // A whole configuration is no line.
        return tracing::info!(actor = ?recorded.actor, stream = ?recorded.stream, "configuration adopted or proposed");
    }
    let level = level(&recorded.event);
    // The level of a line is part of its name in the program, hence three of them.
    if level == Level::WARN {
        tracing::warn!(actor = ?recorded.actor, event = ?recorded.event, "alarm");
    } else if level == Level::INFO {
        tracing::info!(actor = ?recorded.actor, event = ?recorded.event, "session");
    } else {
        tracing::debug!(actor = ?recorded.actor, event = ?recorded.event, "talk");
    }
}

fn level(event: &Event) -> Level {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is neither an alarm nor talk is a session's")]
    match event {
        Event::AlarmRaised { .. }
        | Event::AlarmCleared { .. }
        | Event::EmergencyDeclared { .. }
        | Event::EmergencyCleared { .. }
        | Event::PositionLost { .. }
        | Event::Isolated { .. }
        | Event::LoopSuspected { .. } => Level::WARN,
        Event::TalkBegan { .. } | Event::Talked { .. } => Level::DEBUG,
        _ => Level::INFO,
    }
}
