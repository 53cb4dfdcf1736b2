//! Why a verb did not do what it was asked, as a sentence and an exit code.

use std::fmt;
use std::process::ExitCode;

use serde_json::Value;

/// What the caller sees on standard error.
#[derive(Debug, PartialEq)]
pub(super) enum CliFault {
    /// The daemon understood and said no; with the body it said so in.
    Refused { sentence: String, body: Value },
    /// The verb could not finish.
    Failed(String),
    /// It finished, and what it was to look at is not well: its whole output.
    Unwell(String),
    /// The arguments make no sense together, or something they need is missing.
    Usage(String),
    /// Nobody answers at that address.
    Unreachable(String),
}

impl CliFault {
    /// 1 refused or failed, 2 wrong use, 3 unreachable. Part of the interface: scripts rely on them.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            CliFault::Refused { .. } | CliFault::Failed(_) | CliFault::Unwell(_) => 1,
            CliFault::Usage(_) => 2,
            CliFault::Unreachable(_) => 3,
        })
    }

    /// For standard error: a sentence, or with `--json` the refusal as the daemon wrote it.
    pub fn text(&self, json: bool) -> String {
        match self {
            CliFault::Refused { body, .. } if json => body.to_string(),
            CliFault::Refused { .. }
            | CliFault::Failed(_)
            | CliFault::Unwell(_)
            | CliFault::Usage(_)
            | CliFault::Unreachable(_) => self.to_string(),
        }
    }
}

impl fmt::Display for CliFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliFault::Refused { sentence, .. } => f.write_str(sentence),
            CliFault::Failed(text) | CliFault::Unwell(text) | CliFault::Usage(text) | CliFault::Unreachable(text) => {
                f.write_str(text)
            }
        }
    }
}

impl std::error::Error for CliFault {}
