//! A talkgroup's radio ports: whose copy is heard, and which of them transmits (law 4). One voice in, one out. Owned
//! by the shard, which homes all ports of a group.

use crate::domain::id::{GroupId, PortId};

use super::copies::Call;
use super::slab::PortSlot;

/// One talkgroup.
#[derive(Debug)]
pub struct Group {
    /// Which.
    pub id: GroupId,
    /// Ports that may transmit, the preferred one first; empty until ordered: then every radio may.
    pub transmit: Vec<PortId>,
    /// Its radio ports here.
    pub ports: Vec<PortSlot>,
    /// Whose copy of its voice is heard now.
    pub receiving: Option<PortSlot>,
    /// What was heard of the latest call.
    pub call: Call,
    /// Which port transmits, or did last.
    pub transmitting: Option<PortSlot>,
    /// Whether the last choice found no usable port.
    pub is_mute: bool,
}

impl Group {
    /// A talkgroup nobody has named transmitters for.
    pub fn new(id: GroupId) -> Self {
        Self {
            id,
            transmit: Vec::new(),
            ports: Vec::new(),
            receiving: None,
            call: Call::default(),
            transmitting: None,
            is_mute: false,
        }
    }
}
