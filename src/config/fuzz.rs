//! Fuzz target: any bytes are answered with values or faults, never with a panic, and faults can be shown.
//! Run by tests with a seeded mutator, and by cargo-fuzz.

use super::{FAULTS_MAX, Severity, parse, render};

/// One input.
///
/// # Panics
/// If a promise about faults is broken.
pub fn parse_bytes(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match parse(&text, "fuzz.toml") {
        Ok((_, configuration, warnings)) => {
            assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning));
            for gateway in configuration.gateways.values() {
                assert!(configuration.talkgroups.contains_key(&gateway.talkgroup), "a reference dangles");
            }
        }
        Err(faults) => {
            assert!(faults.iter().any(|fault| fault.severity == Severity::Fault), "refused without a fault");
            assert!(faults.len() <= FAULTS_MAX + 1);
            let lines = text.split('\n').count();
            assert!(faults.iter().all(|fault| (1..=lines).contains(&fault.line) && fault.column > 0));
            // Showing costs more than finding; the first ones show all that can go wrong in it.
            assert!(!render(&faults[..faults.len().min(4)]).is_empty());
        }
    }
}
