//! Words: values only, no behaviour over time, imports nothing above it.

pub mod audio;
pub mod floor;
pub mod id;
pub mod order;
pub mod port;
pub mod random;
pub mod report;
pub mod talker;
pub mod time;
