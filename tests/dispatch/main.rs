//! The control core against its promises: one file per promise group, no clock, no disk, no thread.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at the events it is about")]
#![expect(clippy::type_complexity, reason = "a table of cases is read where it stands")]

mod agreements;
mod calls;
mod control;
mod ears;
mod life;
mod loss;
mod plan;
mod recovery;
mod refusals;
mod rig;
mod routes;
mod sequences;
mod sessions;
mod time;
mod why;
