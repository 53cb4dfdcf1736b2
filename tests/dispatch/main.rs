//! The control core against its promises: one file per promise group, no clock, no disk, no thread.

mod control;
mod plan;
mod recovery;
mod refusals;
mod rig;
mod routes;
mod sequences;
mod sessions;
mod time;
