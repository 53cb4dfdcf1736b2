//! Words: values only, no behaviour over time, imports nothing above it.

pub mod audio;
pub mod id;
pub mod random;
pub mod time;
