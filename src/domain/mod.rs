//! Words: values only, no behaviour over time, imports nothing above it.
