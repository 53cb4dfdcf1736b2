//! The values of `WWW-Authenticate`, `Authorization` and their proxy twins: read and written.

use std::fmt;

use super::Algorithm;

/// Longest header value that is read (bytes): user name, URI and nonces of 256 bytes each, and room.
pub const HEADER_BYTES_MAX: usize = 2048;
/// Parameters in one value; RFC 7616 knows 13.
pub const PARAMETERS_MAX: usize = 24;

/// Why a value cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestFault {
    /// Longer than [`HEADER_BYTES_MAX`], or more parameters than [`PARAMETERS_MAX`].
    TooLong,
    /// Not the form of RFC 7235, a parameter twice, or a number that is none.
    Form,
    /// Another scheme than Digest.
    Scheme,
    /// A parameter is missing.
    Missing,
    /// An algorithm or quality of protection that we do not know, a hashed user name.
    Unsupported,
    /// Asked for the secret of another realm.
    Realm,
    /// Asked again although we had answered: our secret is wrong.
    Rejected,
}

impl fmt::Display for DigestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DigestFault::TooLong => "the authentication header is too long",
            DigestFault::Form => "the authentication header is malformed",
            DigestFault::Scheme => "the authentication scheme is not Digest",
            DigestFault::Missing => "the authentication header lacks a parameter",
            DigestFault::Unsupported => "the digest algorithm or quality of protection is not supported",
            DigestFault::Realm => "the far side asks for another realm than the configured",
            DigestFault::Rejected => "the far side rejects our credentials",
        })
    }
}

/// What a client answered.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization {
    /// Who it says it is.
    pub username: String,
    /// Where its secret holds.
    pub realm: String,
    /// How it hashed.
    pub algorithm: Algorithm,
    pub(super) nonce: String,
    pub(super) uri: String,
    pub(super) response: String,
    pub(super) cnonce: String,
    /// As written: it is hashed so.
    pub(super) nc: String,
    pub(super) count: u32,
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { username, realm, algorithm, count, .. } = self;
        write!(f, "Authorization({username:?} in {realm:?} by {}, count {count})", algorithm.name())
    }
}

impl Authorization {
    /// Reads a value. Without `qop=auth` there is no count, and so no protection against replay: refused.
    pub fn parse(value: &str) -> Result<Self, DigestFault> {
        let mut parameters = Parameters::parse(value)?;
        if parameters.take("userhash").is_some_and(|hashed| !hashed.eq_ignore_ascii_case("false")) {
            return Err(DigestFault::Unsupported);
        }
        match parameters.take("qop") {
            Some(quality) if quality.eq_ignore_ascii_case("auth") => {}
            Some(_) => return Err(DigestFault::Unsupported),
            None => return Err(DigestFault::Missing),
        }
        let algorithm = parameters.algorithm()?;
        let mut need = |name| parameters.take(name).ok_or(DigestFault::Missing);
        let nc = need("nc")?;
        if nc.len() != 8 || !nc.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(DigestFault::Form);
        }
        let count = u32::from_str_radix(&nc, 16).map_err(|_| DigestFault::Form)?;
        let (username, realm, nonce) = (need("username")?, need("realm")?, need("nonce")?);
        let (uri, response, cnonce) = (need("uri")?, need("response")?, need("cnonce")?);
        Ok(Self { username, realm, algorithm, nonce, uri, response, cnonce, nc, count })
    }

    pub(in crate::sip) fn to_value(&self, quality: bool, opaque: Option<&str>) -> String {
        let mut text = "Digest ".to_owned();
        let mut quoted = |name: &str, value: &str| {
            text.push_str(name);
            text.push_str("=\"");
            push_escaped(value, &mut text);
            text.push_str("\", ");
        };
        quoted("username", &self.username);
        quoted("realm", &self.realm);
        quoted("nonce", &self.nonce);
        quoted("uri", &self.uri);
        quoted("response", &self.response);
        if quality {
            quoted("cnonce", &self.cnonce);
        }
        if let Some(opaque) = opaque {
            quoted("opaque", opaque);
        }
        if quality {
            text.push_str(&format!("qop=auth, nc={}, ", self.nc));
        }
        text.push_str(&format!("algorithm={}", self.algorithm.name()));
        text
    }
}

/// What a server asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Where a secret must hold.
    pub realm: String,
    /// How to hash.
    pub algorithm: Algorithm,
    /// The answer before was right, but for an old nonce.
    pub stale: bool,
    pub(super) nonce: String,
    pub(super) opaque: Option<String>,
    /// It knows `qop=auth`; if not, it is of RFC 2069's time.
    pub(super) quality: bool,
}

impl Challenge {
    /// Reads a value.
    pub fn parse(value: &str) -> Result<Self, DigestFault> {
        let mut parameters = Parameters::parse(value)?;
        let quality = match parameters.take("qop") {
            None => false,
            Some(list) if list.split(',').any(|quality| quality.trim().eq_ignore_ascii_case("auth")) => true,
            Some(_) => return Err(DigestFault::Unsupported),
        };
        let algorithm = parameters.algorithm()?;
        let stale = parameters.take("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true"));
        let opaque = parameters.take("opaque");
        let mut need = |name| parameters.take(name).ok_or(DigestFault::Missing);
        Ok(Self { realm: need("realm")?, nonce: need("nonce")?, algorithm, stale, opaque, quality })
    }

    /// The value.
    pub fn to_value(&self) -> String {
        let mut text = "Digest realm=\"".to_owned();
        push_escaped(&self.realm, &mut text);
        text.push_str("\", nonce=\"");
        push_escaped(&self.nonce, &mut text);
        if let Some(opaque) = &self.opaque {
            text.push_str("\", opaque=\"");
            push_escaped(opaque, &mut text);
        }
        text.push_str(&format!("\", algorithm={}", self.algorithm.name()));
        text.push_str(if self.quality { ", qop=\"auth\"" } else { "" });
        text.push_str(if self.stale { ", stale=true" } else { "" });
        text
    }
}

/// What follows the scheme: names in lower case, values without their quotes.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(value: &str) -> Result<Self, DigestFault> {
        if value.len() > HEADER_BYTES_MAX {
            return Err(DigestFault::TooLong);
        }
        let (scheme, mut rest) = value.trim().split_once([' ', '\t']).ok_or(DigestFault::Form)?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return Err(DigestFault::Scheme);
        }
        let mut found: Vec<(String, String)> = Vec::new();
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                return Ok(Self(found));
            }
            let (name, behind) = rest.split_once('=').ok_or(DigestFault::Form)?;
            let name = name.trim().to_ascii_lowercase();
            let (value, behind) = parameter_value(behind.trim_start_matches([' ', '\t']))?;
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_*.!%+'`~".contains(&byte);
            if name.is_empty() || !name.bytes().all(is_token) || found.iter().any(|(known, _)| *known == name) {
                return Err(DigestFault::Form);
            }
            if found.len() == PARAMETERS_MAX {
                return Err(DigestFault::TooLong);
            }
            found.push((name, value));
            rest = behind;
        }
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// MD5 if nothing is said (RFC 7616 section 3.3).
    fn algorithm(&mut self) -> Result<Algorithm, DigestFault> {
        match self.take("algorithm") {
            None => Ok(Algorithm::Md5),
            Some(name) => Algorithm::named(&name).ok_or(DigestFault::Unsupported),
        }
    }
}

/// A token up to the next comma, or a quoted string; and what is behind it.
fn parameter_value(text: &str) -> Result<(String, &str), DigestFault> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        let value = text[..end].trim();
        let bad = value.is_empty() || value.contains(['"', ' ', '\t']) || value.contains(char::is_control);
        return if bad { Err(DigestFault::Form) } else { Ok((value.to_owned(), &text[end..])) };
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            // A line break in what is written again would begin a header of its own.
            c if c.is_control() && c != '\t' => return Err(DigestFault::Form),
            c if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => {
                let behind = quoted[at + 1..].trim_start_matches([' ', '\t']);
                let ends = behind.is_empty() || behind.starts_with(',');
                return if ends { Ok((value, behind)) } else { Err(DigestFault::Form) };
            }
            c => value.push(c),
        }
    }
    Err(DigestFault::Form)
}

fn push_escaped(value: &str, text: &mut String) {
    for c in value.chars().filter(|c| !c.is_control() || *c == '\t') {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
}
