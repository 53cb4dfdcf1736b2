//! Old payloads in today's words. Bytes on disk stay; each step lifts one kind by one version on read.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fault::ReadFault;
use super::record::Record;

/// Lifts a payload of this kind and version to the next version.
pub type Upcast = fn(kind: &str, version: u32, payload: Value) -> Value;

/// The registered steps.
#[derive(Clone, Debug, Default)]
pub struct Upcasters {
    steps: BTreeMap<(String, u32), Upcast>,
}

/// A payload in the latest version there is a step to.
#[derive(Clone, Debug, PartialEq)]
pub struct Upcasted {
    /// Its schema version now.
    pub schema: u32,
    /// The payload.
    pub payload: Value,
}

impl Upcasters {
    /// Registers the step from `version` to `version + 1`; a second one for the same step is a bug.
    #[must_use]
    pub fn step(mut self, kind: &str, version: u32, upcast: Upcast) -> Self {
        let earlier = self.steps.insert((kind.into(), version), upcast);
        assert!(earlier.is_none(), "two upcasts of {kind} from version {version}");
        self
    }
    /// A record's payload in today's version.
    pub fn lift(&self, record: &Record) -> Result<Upcasted, ReadFault> {
        let (kind, mut schema) = (&record.envelope.kind, record.envelope.schema);
        let mut payload: Value = serde_json::from_slice(&record.payload)
            .map_err(|fault| ReadFault(format!("payload at position {}: {fault}", record.envelope.position)))?;
        while let Some(upcast) = self.steps.get(&(kind.clone(), schema)) {
            payload = upcast(kind, schema, payload);
            schema += 1;
        }
        Ok(Upcasted { schema, payload })
    }
}
