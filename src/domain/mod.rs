//! Words: values only, no behaviour over time, imports nothing above it.

pub mod audio;
pub mod call;
pub mod command;
pub mod configuration;
pub mod event;
pub mod floor;
pub mod id;
pub mod incident;
pub mod order;
pub mod port;
pub mod random;
pub mod refusal;
pub mod report;
pub mod talker;
pub mod time;
