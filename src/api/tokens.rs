//! Who may speak to the API: bearer tokens, known by their SHA-256 only. A wrong token is counted, and a source that
//! tries many is answered later, never longer.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use crate::config::{SecretSource, Token};
use crate::domain::command::Principal;
use crate::domain::time::MonoTime;

/// All tokens of the configuration.
pub struct TokenTable {
    known: RwLock<Known>,
    /// Told when tokens are other ones.
    changed: watch::Sender<()>,
    wrong: AtomicU64,
    sources: Mutex<BTreeMap<IpAddr, Tries>>,
}

/// Tokens whose secrets have been read.
#[derive(Clone, PartialEq)]
pub struct Known(Vec<([u8; 32], Token)>);

/// Wrong tokens of one source in one minute.
#[derive(Clone, Copy)]
struct Tries {
    since: MonoTime,
    count: u32,
}

/// Why a request has no principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPrincipal {
    /// No bearer token at all.
    Missing,
    /// Not one we know.
    Wrong,
    /// Too many wrong ones from there within a minute.
    Throttled,
}

/// Wrong tokens a source may send in a minute: a person mistypes a few times.
const TRIES_MAX: u32 = 20;
/// Sources remembered; when full the oldest are forgotten first.
const SOURCES_MAX: usize = 1024;
const MINUTE_MS: u64 = 60_000;

impl Known {
    /// Reads every secret. Refuses one that cannot be read, naming its user and place, never its content.
    pub fn read(tokens: &[Token]) -> Result<Self, String> {
        let (known, faults) = Self::read_what_can_be(tokens);
        faults.into_iter().next().map_or(Ok(known), Err)
    }

    /// Those whose secrets can be read, and a fault for each of the others.
    pub fn read_what_can_be(tokens: &[Token]) -> (Self, Vec<String>) {
        let (mut known, mut faults) = (Vec::new(), Vec::new());
        for token in tokens {
            match hash_of(&token.secret) {
                Ok(hash) => known.push((hash, token.clone())),
                Err(why) => faults.push(format!("token of {}: {why}", token.user)),
            }
        }
        (Self(known), faults)
    }
}

impl TokenTable {
    /// A table of these tokens.
    pub fn new(known: Known) -> Self {
        let (known, changed) = (RwLock::new(known), watch::Sender::new(()));
        Self { known, changed, wrong: AtomicU64::new(0), sources: Mutex::default() }
    }

    /// From now on these tokens count and no others; whoever looks at [`TokenTable::changes`] is told if they differ.
    pub fn replace(&self, known: Known) {
        let mut held = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if *held != known {
            *held = known;
            self.changed.send_replace(());
        }
    }

    /// Sees each later change of the tokens.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What other tokens would change, a line each. Told from where the file says they are: no secret is read for it.
    pub fn differences(&self, new: &[Token]) -> Vec<String> {
        let held = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let gone = held.0.iter().map(|(_, token)| token).filter(|token| !new.contains(token));
        let more = new.iter().filter(|token| held.0.iter().all(|(_, held)| held != *token));
        let gone = gone.map(|token| format!("a token of {} ends", token.user));
        gone.chain(more.map(|token| format!("a token of {} begins", token.user))).collect()
    }

    /// Wrong and missing tokens so far.
    pub fn wrong(&self) -> u64 {
        self.wrong.load(Ordering::Relaxed)
    }

    /// The principal of an `Authorization` header's value.
    pub fn principal(&self, header: Option<&str>, source: IpAddr, now: MonoTime) -> Result<Principal, NoPrincipal> {
        // RFC 9110, section 11.1: the name of a scheme is of any case.
        let scheme_and_token = header.and_then(|header| header.split_once(' '));
        let Some((_, token)) = scheme_and_token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
            self.wrong.fetch_add(1, Ordering::Relaxed);
            return Err(NoPrincipal::Missing);
        };
        let hash: [u8; 32] = Sha256::digest(token.trim().as_bytes()).into();
        // Every entry is compared, so that time tells nothing of which one was near.
        let mut found = None;
        for (known, token) in &self.known.read().unwrap_or_else(PoisonError::into_inner).0 {
            if bool::from(known.ct_eq(&hash)) {
                let Token { user, agency, role, secret: _ } = token.clone();
                found = Some(Principal { user, agency, role });
            }
        }
        // A right token passes whoever shares its address: behind a proxy one guesser must not lock out dispatchers.
        found.ok_or_else(|| {
            let throttled = self.is_throttled(source, now);
            self.note_wrong(source, now);
            if throttled { NoPrincipal::Throttled } else { NoPrincipal::Wrong }
        })
    }

    fn is_throttled(&self, source: IpAddr, now: MonoTime) -> bool {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.get(&source).is_some_and(|tries| tries.count >= TRIES_MAX && now.ms_since(tries.since) < MINUTE_MS)
    }

    fn note_wrong(&self, source: IpAddr, now: MonoTime) {
        self.wrong.fetch_add(1, Ordering::Relaxed);
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.retain(|_, tries| now.ms_since(tries.since) < MINUTE_MS);
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            let oldest = sources.iter().min_by_key(|(_, tries)| tries.since).map(|(source, _)| *source);
            oldest.and_then(|oldest| sources.remove(&oldest));
        }
        sources.entry(source).or_insert(Tries { since: now, count: 0 }).count += 1;
    }
}

fn hash_of(secret: &SecretSource) -> Result<[u8; 32], String> {
    if let SecretSource::Sha256(hash) = secret {
        return Ok(*hash);
    }
    let text = crate::io::secret::read(secret)?;
    if text.len() < TOKEN_LENGTH_MIN {
        return Err(format!("a token has at least {TOKEN_LENGTH_MIN} characters"));
    }
    Ok(Sha256::digest(text.as_bytes()).into())
}

/// Shorter tokens can be guessed.
const TOKEN_LENGTH_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::Role;
    use crate::domain::id::{AgencyId, UserId};

    fn table() -> TokenTable {
        let secret = SecretSource::Sha256(Sha256::digest(b"right").into());
        let user = UserId::new("desk").unwrap();
        let agency = Some(AgencyId::new("police").unwrap());
        TokenTable::new(Known::read(&[Token { user, agency, role: Role::Dispatcher, secret }]).unwrap())
    }

    #[test]
    fn only_the_right_token_has_a_principal_and_every_other_is_counted() {
        let (table, here, now) = (table(), IpAddr::from([127, 0, 0, 1]), MonoTime::default());
        assert_eq!(table.principal(Some("Bearer right"), here, now).unwrap().user.as_str(), "desk");
        assert!(table.principal(Some("bearer right"), here, now).is_ok(), "schemes are of any case");
        assert_eq!(table.principal(Some("Bearer wrong"), here, now), Err(NoPrincipal::Wrong));
        assert_eq!(table.principal(Some("Basic right"), here, now), Err(NoPrincipal::Missing));
        assert_eq!(table.principal(None, here, now), Err(NoPrincipal::Missing));
        assert_eq!(table.wrong(), 3);
    }

    #[test]
    fn a_guessing_source_is_throttled_for_a_minute_and_locks_nobody_out() {
        let (table, now) = (table(), MonoTime::from_millis(5));
        let (guesser, other) = (IpAddr::from([127, 0, 0, 9]), IpAddr::from([127, 0, 0, 1]));
        for _ in 0..TRIES_MAX {
            assert_eq!(table.principal(Some("Bearer x"), guesser, now), Err(NoPrincipal::Wrong));
        }
        assert_eq!(table.principal(Some("Bearer x"), guesser, now), Err(NoPrincipal::Throttled));
        assert_eq!(table.principal(Some("Bearer x"), other, now), Err(NoPrincipal::Wrong));
        assert!(table.principal(Some("Bearer right"), guesser, now).is_ok());
        let later = now.plus_ms(MINUTE_MS);
        assert_eq!(table.principal(Some("Bearer x"), guesser, later), Err(NoPrincipal::Wrong));
    }
}
