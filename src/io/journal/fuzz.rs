//! Targets for fuzzers and for the seeded mutator in the tests: bytes in, no panic, invariants hold.

use super::chain::{RedactedRecord, verify_chain};
use super::record::Envelope;

/// Decodes an envelope; whatever decodes encodes to something that decodes to the same.
pub fn envelope(bytes: &[u8]) {
    if let Ok(envelope) = serde_json::from_slice::<Envelope>(bytes) {
        let text = serde_json::to_vec(&envelope).expect("an envelope is texts and numbers");
        assert_eq!(serde_json::from_slice::<Envelope>(&text).ok(), Some(envelope));
    }
}

/// Decodes an export, one JSON object a line, and verifies what it holds.
pub fn redacted_export(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let Ok(records) = lines.map(serde_json::from_slice).collect::<Result<Vec<RedactedRecord>, _>>() else { return };
    if let Ok(Some(head)) = verify_chain(&records) {
        assert_eq!(head.seq, records.len() as u64, "a verified export begins at 1 and has no holes");
    }
}
