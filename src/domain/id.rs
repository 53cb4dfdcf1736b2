//! Identities: text ids are written by people in the TOML, numeric ids are made by the daemon.
//!
//! Numeric ids are 128-bit. Their full form is 26 Crockford base-32 characters; their short form is four
//! words a dispatcher can say on the air ("kilo-7-tango-3"). The short form is for people and may be
//! ambiguous; whoever looks one up must say so.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadId {
    /// Empty or longer than [`TEXT_ID_LENGTH_MAX`] characters.
    Length(usize),
    /// Something else than a lower-case letter, digit, or an inner `-`, `_` or `.`.
    Character(char),
    /// Not a 26-character base-32 number of 128 bits.
    Number,
}

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadId::Length(n) => write!(f, "an id has 1 to {TEXT_ID_LENGTH_MAX} characters, this one {n}"),
            BadId::Character(c) => write!(f, "{c:?} cannot stand in an id: use a-z, 0-9 and inner '-', '_', '.'"),
            BadId::Number => f.write_str("not a 26-character id"),
        }
    }
}

impl std::error::Error for BadId {}

/// A configured id fits a table column and a radio alias.
pub const TEXT_ID_LENGTH_MAX: usize = 32;

fn check_text(text: &str) -> Result<(), BadId> {
    let length = text.chars().count();
    if length == 0 || length > TEXT_ID_LENGTH_MAX {
        return Err(BadId::Length(length));
    }
    for (at, c) in text.chars().enumerate() {
        let inner = at != 0 && at + 1 != length;
        if !(c.is_ascii_lowercase() || c.is_ascii_digit() || inner && matches!(c, '-' | '_' | '.')) {
            return Err(BadId::Character(c));
        }
    }
    Ok(())
}

/// Ids are texts on every wire; this is how the API's description shows them.
macro_rules! described {
    ($name:ident, $pattern:literal) => {
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some($pattern))
                    .into()
            }
        }
        impl utoipa::ToSchema for $name {}
    };
}

macro_rules! text_ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the spelling: see [`BadId`].
            pub fn new(text: &str) -> Result<Self, BadId> {
                check_text(text)?;
                Ok(Self(text.into()))
            }
            /// The id as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
        described!($name, "^[a-z0-9]([a-z0-9._-]{0,30}[a-z0-9])?$");
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::new(text)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

text_ids! {
    /// An organisation that owns talkgroups, gateways and people.
    AgencyId
    /// A written agreement between two agencies.
    AgreementId
    /// A radio-over-IP device or radio channel.
    GatewayId
    /// A net inside an incident, named by people: `main`, `command`, `tactical-1`.
    PatchName
    /// A place where a dispatcher sits; it beats while someone is there.
    PositionId
    /// A radio frequency or channel that several gateways share.
    RfChannelId
    /// An agency's named group channel: the unit that is patched.
    TalkgroupId
    /// A prepared incident.
    TemplateId
    /// A PBX or border controller that calls come from.
    TrunkId
    /// A person or program that may send commands.
    UserId
}

macro_rules! number_ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// The form for the air: four parts, not necessarily unique.
            pub fn spoken(self) -> String {
                spoken(self.0)
            }
        }
        impl fmt::Display for $name {
            /// In full; `{:#}` is the form for the air.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&if f.alternate() { spoken(self.0) } else { base32(self.0) })
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), spoken(self.0))
            }
        }
        described!($name, "^[0-7][0-9a-hjkmnp-tv-z]{25}$");
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                parse_base32(text).map(Self).ok_or(BadId::Number)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

number_ids! {
    /// An agency as packets carry it: a digest of its id.
    AgencyKey
    /// One continuous transmission by one talker.
    BurstId
    /// One declared emergency.
    EmergencyId
    /// A talkgroup as media sees it: ports that carry the same voice.
    GroupId
    /// The scope of a cross-agency session.
    IncidentId
    /// One port's place in one patch.
    LegId
    /// A talkgroup's or single party's place in one patch.
    LinkId
    /// One running daemon's identity, kept in its journal.
    NodeId
    /// The joining of talkgroups; every talkgroup has a home patch, incidents have named ones.
    PatchId
    /// The media side of one endpoint.
    PortId
}

impl AgencyKey {
    /// The key of an agency.
    pub fn of(agency: &AgencyId) -> Self {
        Self(digest("agency", &[agency.as_str().as_bytes()]))
    }
}

impl PortId {
    /// The port of a configured gateway keeps its id over restarts.
    pub fn of_gateway(gateway: &GatewayId) -> Self {
        Self(digest("port/gateway", &[gateway.as_str().as_bytes()]))
    }
}

impl GroupId {
    /// The media group of a talkgroup.
    pub fn of_talkgroup(talkgroup: &TalkgroupId) -> Self {
        Self(digest("group/talkgroup", &[talkgroup.as_str().as_bytes()]))
    }

    /// The media id of a shared RF channel.
    pub fn of_rf_channel(channel: &RfChannelId) -> Self {
        Self(digest("group/rf", &[channel.as_str().as_bytes()]))
    }
}

impl PatchId {
    /// The patch in which a talkgroup's own members hear each other.
    pub fn home_of(talkgroup: &TalkgroupId) -> Self {
        Self(digest("patch/home", &[talkgroup.as_str().as_bytes()]))
    }
}

impl LinkId {
    /// The membership of a talkgroup in its own home patch.
    pub fn home_of(talkgroup: &TalkgroupId) -> Self {
        Self(digest("link/home", &[talkgroup.as_str().as_bytes()]))
    }
}

impl LegId {
    /// A leg is the place of one port under one link.
    pub fn of(link: LinkId, port: PortId) -> Self {
        Self(digest("leg", &[&link.0.to_be_bytes(), &port.0.to_be_bytes()]))
    }
}

/// FNV-1a over 128 bits: stable over versions, for names that are already unique. Not for secrets.
fn digest(domain: &str, parts: &[&[u8]]) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    let mut eat = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    };
    eat(domain.as_bytes());
    for part in parts {
        eat(&[0xff]);
        eat(part);
    }
    hash
}

const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

fn base32(number: u128) -> String {
    (0..26).rev().map(|at| char::from(BASE32[(number >> (5 * at)) as usize & 31])).collect()
}

fn parse_base32(text: &str) -> Option<u128> {
    if text.len() != 26 {
        return None;
    }
    text.bytes().try_fold(0u128, |number, byte| {
        let digit = BASE32.iter().position(|c| *c == byte.to_ascii_lowercase())?;
        number.checked_mul(32)?.checked_add(digit as u128)
    })
}

const SPOKEN: [&str; 26] = [
    "alfa", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett", "kilo", "lima",
    "mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango", "uniform", "victor", "whiskey", "xray",
    "yankee", "zulu",
];

fn spoken(number: u128) -> String {
    let folded = (number ^ (number >> 64)) as u64;
    let part = |shift: u32, of: u64| ((folded >> shift) & 0xffff) % of;
    format!("{}-{}-{}-{}", SPOKEN[part(0, 26) as usize], part(16, 10), SPOKEN[part(32, 26) as usize], part(48, 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_id_reads_back_what_it_shows() {
        for number in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0011_2233_4455_6677] {
            let id = IncidentId(number);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!("80000000000000000000000000".parse::<IncidentId>(), Err(BadId::Number), "129 bits do not fit");
    }

    #[test]
    fn a_text_id_refuses_what_a_shell_or_a_url_would_mangle() {
        for bad in ["", "Police", "-a", "a-", "a b", "a/b", "é", &"a".repeat(33)] {
            assert!(AgencyId::new(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["a", "pd-1", "fire.dispatch_2"] {
            assert!(AgencyId::new(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn derived_ids_of_different_things_differ() {
        let name = TalkgroupId::new("pd-1").unwrap();
        assert_ne!(GroupId::of_talkgroup(&name).0, PatchId::home_of(&name).0);
        let gateway = GatewayId::new("pd-1").unwrap();
        assert_ne!(PortId::of_gateway(&gateway).0, GroupId::of_talkgroup(&name).0);
    }
}
