//! Media core: who does hear whom. Deterministic, no I/O, no allocation after set-up.
