//! What is appended and what is read back. A record's bytes are never rewritten once committed.

use serde::{Deserialize, Serialize};

use super::chain::{Digest, Salt};
use super::stream::Stream;
use crate::domain::id::NodeId;
use crate::domain::time::WallTime;

/// One event as its author hands it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// What kind of event: the upcaster's key.
    pub kind: String,
    /// Version of the payload's schema.
    pub schema: u32,
    /// JSON text.
    pub payload: Vec<u8>,
    /// Time of day, told by the caller.
    pub wall: WallTime,
    /// Who did it: a user, a gateway, `daemon`.
    pub actor: String,
    /// What led to it, if something did.
    pub cause: Option<String>,
}

impl NewRecord {
    /// Why this record cannot be kept, if so.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let label = |text: &str| text.is_empty() || text.len() > LABEL_BYTES_MAX;
        if label(&self.kind) || label(&self.actor) || self.cause.as_deref().is_some_and(label) {
            return Some("kind, actor and cause have 1 to 256 bytes");
        }
        if self.payload.len() > PAYLOAD_BYTES_MAX {
            return Some("the payload is longer than 32 MiB");
        }
        std::str::from_utf8(&self.payload).is_err().then_some("the payload is not UTF-8 text")
    }
}

/// One stream's share of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where to.
    pub stream: Stream,
    /// The sequence the author believes to be the stream's last; 0 for a stream that does not exist.
    pub expected_seq: u64,
    /// In order; not empty.
    pub records: Vec<NewRecord>,
}

/// Makes a repeated append answer what the first one answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The client's key.
    pub key: String,
    /// What was asked. Of the request, not of its events: those carry fresh ids and times on each try.
    pub request: Digest,
}

impl IdempotencyKey {
    /// A client's key for a request of these bytes.
    pub fn new(key: &str, request: &[u8]) -> Self {
        Self { key: key.into(), request: Digest::of(request) }
    }
}

/// Where an append went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// Position of its first record.
    pub first_position: u64,
    /// Position of its last record.
    pub last_position: u64,
    /// The last sequence of each stream it touched, in the order of its parts.
    pub last_seqs: Vec<(Stream, u64)>,
    /// True if this is the answer to an earlier append with the same key.
    #[serde(skip)]
    pub repeated: bool,
}

/// Everything about a record but its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Place in the order of the whole journal, from 1.
    pub position: u64,
    /// The stream.
    pub stream: Stream,
    /// Place in the stream, from 1.
    pub seq: u64,
    /// The daemon that wrote it.
    pub node: NodeId,
    /// How often that daemon had opened its journal: a later writer has a higher one.
    pub epoch: u64,
    /// Time of day as the author told it.
    pub wall: WallTime,
    /// Who did it.
    pub actor: String,
    /// What led to it.
    pub cause: Option<String>,
    /// Version of the payload's schema.
    pub schema: u32,
    /// What kind of event.
    pub kind: String,
}

/// One committed record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Everything but the payload.
    pub envelope: Envelope,
    /// Blinds the payload's digest: a redacted payload cannot be guessed.
    pub salt: Salt,
    /// As it was appended.
    pub payload: Vec<u8>,
    /// The stream's chain up to and including this record.
    pub digest: Digest,
}

/// A label fits a line of a log.
const LABEL_BYTES_MAX: usize = 256;
/// Above any event: a configuration file has at most 1 MiB and is some twenty times as long once every default in it is
/// spelled out; what a command may say is limited by dispatch. A limit so that one append cannot fill the disk.
pub(super) const PAYLOAD_BYTES_MAX: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::config;
    use crate::domain::event::Event;

    #[test]
    fn the_longest_file_that_is_whole_fits_one_record() {
        let mut text =
            String::from("[server]\nmedia_ports = \"10000-59999\"\n[[agency]]\nid = \"a\"\ncontact_24h = \"1\"\n");
        // As many as a file may name.
        let (talkgroups, gateways) = (2048, 4096);
        for number in 0..talkgroups {
            let _ = write!(text, "[[talkgroup]]\nid=\"{number}\"\nagency=\"a\"\n");
        }
        for number in 0..gateways {
            let talkgroup = number % talkgroups;
            let _ = write!(text, "[[gateway.rtp]]\nid=\"{number}\"\ntalkgroup=\"{talkgroup}\"\npeer=\"192.0.2.7:9\"\n");
        }
        let (_, configuration, _) = config::parse(&text, "long.toml")
            .unwrap_or_else(|faults| panic!("{}", config::render(&faults[faults.len() - 1..])));
        assert_eq!(configuration.gateways.len(), gateways);
        let payload =
            serde_json::to_vec(&Event::ConfigurationAdopted { configuration: Box::new(configuration) }).unwrap();
        let bytes = payload.len();
        let record = NewRecord {
            kind: "configuration_adopted".to_owned(),
            payload,
            wall: WallTime(0),
            actor: "file".to_owned(),
            cause: None,
            schema: 1,
        };
        assert_eq!(record.fault(), None, "{bytes} bytes");
    }
}
