//! The world: the only rooms with threads, sockets, files, clocks and `await`.

pub mod answered;
pub mod batch;
pub mod clock;
pub mod control_link;
pub mod control_task;
pub mod event_log;
pub mod gateway_book;
pub mod gateway_socket;
pub mod journal;
pub mod log;
pub mod media;
pub mod secret;
pub mod sip;
pub mod store;
pub mod tls;
