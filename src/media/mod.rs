//! Media core: who does hear whom. Deterministic, no I/O, no allocation after set-up.

pub mod codec;
pub mod discard;
pub mod echo;
pub mod few;
pub mod floor;
pub mod hold;
pub mod jitter;
pub mod keying;
pub mod level;
pub mod limits;
pub mod mixer;
pub mod outbox;
pub mod playout;
pub mod receiver;
pub mod resample;
pub mod sender;
pub mod shard;
pub mod slab;
pub mod tone;
