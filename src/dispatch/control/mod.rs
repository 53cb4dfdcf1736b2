//! The control loop without its I/O.

mod words;

pub use words::{Answer, Input, Output, RequestId, Ticket};
