//! What media must know of an endpoint: its formats, how it keys, what it may lose. Values; behaviour is media's.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::audio::{Format, Gain};
use super::id::{AgencyKey, GroupId, PortId};
use super::talker::Alias;

/// One media thread's number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardId(pub u8);

/// The media side of one endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortSpec {
    /// Which port.
    pub port: PortId,
    /// The shard that owns it; never changes while the port is open. Ports of one group, or on one RF channel,
    /// share a shard: who transmits, whose copy is heard and who is deaf is decided in one place.
    pub home: ShardId,
    /// The agency whose port it is.
    pub agency: AgencyKey,
    /// What it is to people.
    pub role: PortRole,
    /// The talkgroup whose voice it carries: radio ports of one group never transmit each other's bursts.
    pub group: Option<GroupId>,
    /// All ports on one RF channel go deaf while one of them transmits.
    pub rf_channel: Option<GroupId>,
    /// Who may send to it, and where it sends.
    pub peer: PeerRule,
    /// Payload types it may send us; the first is what we send it.
    pub payloads: Vec<PayloadType>,
    /// Payload type of RFC 4733 telephone events, if it sends or wants any.
    pub events: Option<u8>,
    /// RTP header extension ids in use, if any.
    pub extension: ExtensionIds,
    /// How its talker is noticed.
    pub receive: ReceiveSpec,
    /// How it is made to transmit.
    pub transmit: TransmitSpec,
    /// Input gain, applied before anything else.
    pub trim: Gain,
    /// Whether slow levelling runs on its talkers.
    pub level: bool,
    /// Name shown when the wire names no talker.
    pub alias: Alias,
    /// Packets a second this port may send before the rest is discarded.
    pub packets_per_second_max: u16,
    /// Without a sign of life for so long its peer is lost (ms); none: it need show none, and idle is not dead.
    pub silence_max_ms: Option<u32>,
}

/// What a port is to people; decides defaults, never rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortRole {
    /// A radio channel behind a gateway: half duplex, one voice.
    Radio,
    /// A telephone.
    Phone,
    /// A push-to-talk client.
    Client,
    /// A dispatcher's console: its talker outranks links.
    Console,
    /// Hears, never talks.
    Recorder,
}

/// Payload type number and what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadType {
    /// RTP payload type, 0 to 127.
    pub number: u8,
    /// What the payload is.
    pub format: Format,
}

/// RFC 8285 element ids (1 to 14); `None` neither reads nor writes the element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionIds {
    /// Audio level of RFC 6464.
    pub level: Option<u8>,
    /// Our keying element (docs/wire.md).
    pub keying: Option<u8>,
    /// Talker alias.
    pub talker: Option<u8>,
}

/// Where a port's packets come from and go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerRule {
    /// One address, both ways.
    Static(SocketAddr),
    /// The first source inside these networks; it may move after 2 s of silence.
    Latch(Vec<Network>),
}

/// An address range such as `192.0.2.0/24` or `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the address lies inside. IPv4 and IPv6 never match each other, save mapped addresses.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (u32::from(network) ^ u32::from(address)).checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (u128::from(network) ^ u128::from(address)).checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
    /// Whether it is one whole address family.
    pub fn is_everyone(&self) -> bool {
        self.prefix == 0
    }
}

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| format!("{address:?} is not an IP address"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(text) => text.parse().ok().filter(|p| *p <= most).ok_or(format!("a prefix is 0 to {most}"))?,
        };
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How a port's talker is noticed, and what of it is no speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiveSpec {
    /// The sign of a key.
    pub keying: ReceiveKeying,
    /// Without packets for this long the burst has ended (ms).
    pub end_ms: u16,
    /// Declared squelch tail: so much of a burst's end is noise (ms).
    pub tail_ms: u16,
    /// Deaf for this long after its own transmission (ms).
    pub inhibit_after_transmit_ms: u16,
    /// A burst shorter than this keys nobody; held, not lost (ms).
    pub burst_min_ms: u16,
    /// Longest burst from here (ms).
    pub talk_limit_ms: u32,
}

/// The sign that a talker has keyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiveKeying {
    /// Packets arrive.
    Presence,
    /// RFC 4733 events.
    Event,
    /// The keying header extension.
    Ext,
    /// Sound.
    Vox,
}

/// How a port is made to transmit, and how long it is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransmitSpec {
    /// The sign we give.
    pub keying: TransmitKeying,
    /// When speech may flow.
    pub grant: GrantSign,
    /// How many voices it can carry.
    pub overlap: Overlap,
    /// Whether its far side has a jitter buffer.
    pub pacing: Pacing,
    /// Longest wait for a clear channel and a grant (ms).
    pub hold_max_ms: u16,
    /// How long it stays keyed after the last speech (ms).
    pub tail_ms: u16,
    /// Longest transmission (ms).
    pub talk_limit_ms: u32,
    /// After this the far side of a latching key method (events) lets go by itself (ms).
    pub far_timeout_ms: Option<u32>,
    /// Cannot hear while it transmits.
    pub half_duplex: bool,
}

/// The sign by which we key a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransmitKeying {
    /// Packets are sent only inside a burst.
    Presence,
    /// RFC 4733 events frame the burst.
    Event,
    /// The keying header extension.
    Ext,
}

/// When a keyed gateway's transmitter is on the air.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantSign {
    /// At once.
    Immediate,
    /// So many milliseconds after keying.
    AfterMs(u16),
    /// When the keying extension says GRANT; DENY means busy.
    Signalled,
}

/// What a port does with simultaneous talkers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// The highest rank only.
    One,
    /// Up to the patch's number of holders.
    Mix,
}

/// Whether packets leave as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pacing {
    /// The far side has its own jitter buffer.
    Immediate,
    /// One packet each packet time.
    Paced,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_own_addresses_and_no_others() {
        let ten: Network = "10.0.0.0/8".parse().unwrap();
        assert!(ten.contains("10.255.0.1".parse().unwrap()));
        assert!(ten.contains("::ffff:10.0.0.1".parse().unwrap()), "mapped IPv4 is IPv4");
        assert!(!ten.contains("11.0.0.1".parse().unwrap()));
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.is_everyone() && all.contains("255.255.255.255".parse().unwrap()));
        let one: Network = "2001:db8::1".parse().unwrap();
        assert!(one.contains("2001:db8::1".parse().unwrap()) && !one.contains("2001:db8::2".parse().unwrap()));
        assert!("10.0.0.0/33".parse::<Network>().is_err());
    }
}
