//! Crosspatch joins agencies' radios: two deterministic cores in a thin shell.
//!
//! ```text
//!  domain <- wire <- media        who DOES hear whom
//!  domain <- dispatch             who MAY hear whom
//!            wire <- sip          what a call's messages mean
//!  all    <- io <- daemon <- main the world: threads, sockets, files, clocks
//! ```

pub mod api;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod dispatch;
pub mod domain;
pub mod io;
pub mod media;
pub mod sip;
pub mod wire;
