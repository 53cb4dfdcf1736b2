//! Who is talking, as far as the wire says: survives every leg and is carried in trunk frames and reports.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A talker's short name as radios show it: at most 15 bytes of UTF-8, held inline so that packets can carry it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alias {
    length: u8,
    bytes: [u8; Alias::LENGTH_MAX],
}

impl Alias {
    /// One RFC 8285 one-byte element minus its head.
    pub const LENGTH_MAX: usize = 15;

    /// Keeps as many whole characters as fit; control characters are left out.
    pub fn new(text: &str) -> Self {
        let mut alias = Self::default();
        for c in text.chars().filter(|c| !c.is_control()) {
            let at = usize::from(alias.length);
            if at + c.len_utf8() > Self::LENGTH_MAX {
                break;
            }
            c.encode_utf8(&mut alias.bytes[at..]);
            alias.length += c.len_utf8() as u8;
        }
        alias
    }
    /// From the wire: what is not UTF-8 is no alias.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        std::str::from_utf8(bytes).map(Self::new).unwrap_or_default()
    }
    /// The text; empty if unknown.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or("")
    }
    /// Nothing is known of the talker.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl fmt::Debug for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl utoipa::PartialSchema for Alias {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::String).into()
    }
}

impl utoipa::ToSchema for Alias {}

impl Serialize for Alias {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Alias {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::new(&String::deserialize(d)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_never_splits_a_character() {
        assert_eq!(Alias::new("Einsatzleiter Nö 1").as_str(), "Einsatzleiter N");
        assert_eq!(Alias::new("ABCDEFGHIJKLMNö").as_str(), "ABCDEFGHIJKLMN");
        assert_eq!(Alias::from_bytes(&[0xff, 0xfe]), Alias::default());
    }
}
