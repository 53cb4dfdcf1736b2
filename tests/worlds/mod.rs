//! Generated worlds around the real cores: dispatch and media decide and carry as in the daemon, everything else (clock,
//! network, radios, people, disk, shell) is the world's. Seeds are run by `tests/simulation.rs`, scripts by
//! `tests/scenarios.rs`.
//!
//! ```text
//!  people     dispatchers.rs commands        field.rs speech, device.rs radios, clients
//!  between    journal.rs  network.rs         faults.rs sabotage
//!  the daemon daemon.rs control and shell    seat.rs one media thread
//!  judges     reference.rs who may hear whom checkers/ one for each promise
//!  the rest   world.rs clock and beat        run.rs a seed's life     geography.rs who there is   stamp.rs what is said
//!             ingredients.rs what only some worlds have          habits.rs what only some worlds' people do
//!             pair.rs two worlds and a line  script.rs, sites_script.rs the languages of the scenarios
//! ```

#![allow(dead_code, reason = "each test program uses its part of the world")]

pub mod checkers;
pub mod daemon;
pub mod device;
pub mod dispatchers;
pub mod faults;
pub mod field;
pub mod geography;
pub mod habits;
pub mod ingredients;
pub mod journal;
pub mod network;
pub mod pair;
pub mod reference;
pub mod run;
pub mod script;
pub mod seat;
pub mod sites_script;
pub mod stamp;
pub mod words;
pub mod world;
