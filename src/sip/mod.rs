//! SIP without sockets: what a call's messages mean. Pure: text in, values out, time and randomness as arguments.
//!
//! Not a stack: transport, transactions and dialogs are a library's, behind `io`; whom a call may reach is `dispatch`'s
//! and what is heard is `media`'s. Whatever reads foreign text here has limits with names and a function in [`fuzz`].

pub mod call;
pub mod dialog;
pub mod digest;
pub mod exchange;
pub mod flow;
pub mod fuzz;
pub mod gate;
pub mod guard;
pub mod message;
pub mod names;
pub mod offer;
pub mod outgoing;
pub mod registrar;
pub mod sdes;
pub mod sdp;
pub mod standing;
pub mod stream;
pub mod transaction;
pub mod trunk;
