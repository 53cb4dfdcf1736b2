//! What a telephone call is to dispatch and media: words that its signalling says of a phone. Not SIP.

use super::configuration::PathClass;
use super::port::{PayloadType, PeerRule};

/// What both ends of a call agreed on, as the phone's port needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallMedia {
    /// Where its packets may come from and go to.
    pub peer: PeerRule,
    /// What it may send us; the first is what we send it. Never empty.
    pub payloads: Vec<PayloadType>,
    /// Payload type of its RFC 4733 events, if it has any.
    pub events: Option<u8>,
    /// It receives: false while it holds us.
    pub hears: bool,
    /// It sends.
    pub talks: bool,
    /// Whether anyone on the way can listen; the keys themselves are nobody's but media's.
    pub path: PathClass,
}

/// What became of a phone. True until the next one, gone with the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PhoneSign {
    /// It can be called, or no longer.
    Registered(bool),
    /// It is in a call with this media; also when that changed. Whatever it changes, its key is up.
    Media(CallMedia),
    /// Whom it dialled is being called.
    Rings,
    /// It keyed, or let go, in words that do not come as packets.
    Key(bool),
    /// Its call is over.
    Ended,
}
