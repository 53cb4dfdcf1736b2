//! Media core: who does hear whom. Deterministic, no I/O, no allocation after set-up.

pub mod discard;
pub mod few;
pub mod floor;
pub mod hold;
pub mod keying;
pub mod limits;
pub mod outbox;
pub mod receiver;
pub mod sender;
pub mod shard;
pub mod slab;
