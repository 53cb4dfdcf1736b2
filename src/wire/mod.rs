//! Bytes to values and back: pure, total, fuzzed.
