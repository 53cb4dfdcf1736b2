//! The side that answers: a trunk of ours that must register with, or call through, somebody's PBX.

use std::fmt;

use super::{Authorization, Challenge, DigestFault, DigestSecret, Parts};

/// One user of one far realm.
pub struct Respondent {
    username: String,
    realm: String,
    secret: DigestSecret,
    asked: Asked,
}

/// How far the far side has come.
enum Asked {
    /// It has asked nothing yet.
    Nothing,
    /// It asked this, and no answer of ours was accepted yet; so many were given.
    Unproven { challenge: Challenge, answers: u32 },
    /// It accepted an answer to this; so many were given.
    Proven { challenge: Challenge, answers: u32 },
}

impl Respondent {
    /// The secret holds in that realm only: a challenge of another is not answered, whoever sends it.
    pub fn new(username: &str, realm: &str, secret: DigestSecret) -> Self {
        Self { username: username.to_owned(), realm: realm.to_owned(), secret, asked: Asked::Nothing }
    }

    /// Takes the values of all `WWW-Authenticate` (or `Proxy-Authenticate`) headers of one refusal; the best algorithm
    /// we have a secret for is answered from now on.
    ///
    /// # Errors
    /// [`DigestFault::Rejected`] if it asks again after an answer and does not call that stale, or calls it stale twice:
    /// trying on would lock the account. Else why no value can be used.
    pub fn asked(&mut self, values: &[&str]) -> Result<(), DigestFault> {
        let (mut best, mut fault): (Option<Challenge>, _) = (None, DigestFault::Missing);
        for value in values.iter().take(CHALLENGES_MAX) {
            match Challenge::parse(value) {
                Ok(challenge) if challenge.realm != self.realm => fault = DigestFault::Realm,
                Ok(challenge) if self.secret.ha1(challenge.algorithm).is_none() => fault = DigestFault::Unsupported,
                Ok(challenge) if best.as_ref().is_some_and(|best| best.algorithm <= challenge.algorithm) => {}
                Ok(challenge) => best = Some(challenge),
                Err(why) => fault = why,
            }
        }
        let challenge = best.ok_or(fault)?;
        match &self.asked {
            Asked::Unproven { challenge: before, answers: 1.. } if !challenge.stale || before.stale => {
                Err(DigestFault::Rejected)
            }
            Asked::Nothing | Asked::Unproven { .. } | Asked::Proven { .. } => {
                self.asked = Asked::Unproven { challenge, answers: 0 };
                Ok(())
            }
        }
    }

    /// The value of the next request's `Authorization` header; none before we were asked. `cnonce` is random.
    pub fn answer(&mut self, method: &str, uri: &str, cnonce: u128) -> Option<String> {
        let (challenge, answers) = match &mut self.asked {
            Asked::Nothing => return None,
            Asked::Unproven { challenge, answers } | Asked::Proven { challenge, answers } => (challenge, answers),
        };
        *answers = answers.saturating_add(1);
        let Challenge { algorithm, nonce, quality, opaque, .. } = challenge;
        let (nc, cnonce) = (format!("{answers:08x}"), format!("{cnonce:032x}"));
        let quality = *quality;
        let parts = Parts { algorithm: *algorithm, nonce, quality: quality.then_some((&nc, &cnonce)), method, uri };
        let response = parts.response(self.secret.ha1(*algorithm)?).to_string();
        let answer = Authorization {
            username: self.username.clone(),
            realm: self.realm.clone(),
            algorithm: *algorithm,
            nonce: nonce.clone(),
            uri: uri.to_owned(),
            response,
            cnonce,
            nc,
            count: *answers,
        };
        Some(answer.to_value(quality, opaque.as_deref()))
    }

    /// A request with our answer was accepted: if it asks again, the nonce is used up, not our secret wrong.
    pub fn accepted(&mut self) {
        self.asked = match std::mem::replace(&mut self.asked, Asked::Nothing) {
            Asked::Unproven { challenge, answers } if answers > 0 => Asked::Proven { challenge, answers },
            same @ (Asked::Nothing | Asked::Unproven { .. } | Asked::Proven { .. }) => same,
        };
    }
}

impl fmt::Debug for Respondent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Respondent({:?} in {:?})", self.username, self.realm)
    }
}

/// Values of one refusal that are looked at: every algorithm of RFC 7616 and as many again.
const CHALLENGES_MAX: usize = 8;
