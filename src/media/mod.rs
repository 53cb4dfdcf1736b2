//! Media core: who does hear whom. Deterministic, no I/O, no allocation after set-up.

pub mod discard;
pub mod limits;
pub mod outbox;
pub mod shard;
pub mod slab;
