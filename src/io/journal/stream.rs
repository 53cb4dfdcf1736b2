//! Which stream a record belongs to: one for each incident, one for each agency, one for the node.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::id::{AgencyId, IncidentId};

/// The name of one stream. Sequences and chains run within a stream; positions run over all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// This daemon: configuration, epochs, clock jumps.
    Node,
    /// What an agency owns, outside any incident.
    Agency(AgencyId),
    /// One incident, from opening to close.
    Incident(IncidentId),
}

/// A text that names no stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadStream(pub String);

impl fmt::Display for BadStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} names no stream: node, agency/<id> or incident/<id>", self.0)
    }
}

impl std::error::Error for BadStream {}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stream::Node => f.write_str("node"),
            Stream::Agency(agency) => write!(f, "agency/{agency}"),
            Stream::Incident(incident) => write!(f, "incident/{incident}"),
        }
    }
}

impl FromStr for Stream {
    type Err = BadStream;
    fn from_str(text: &str) -> Result<Self, BadStream> {
        let bad = || BadStream(text.chars().take(80).collect());
        match text.split_once('/') {
            None if text == "node" => Ok(Stream::Node),
            Some(("agency", id)) => id.parse().map(Stream::Agency).map_err(|_| bad()),
            Some(("incident", id)) => id.parse().map(Stream::Incident).map_err(|_| bad()),
            None | Some(_) => Err(bad()),
        }
    }
}

impl Serialize for Stream {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stream {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}
