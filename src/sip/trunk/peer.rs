//! One address of a trunk: whether it lives, and whether it has us registered. Two questions with their own clocks and
//! back-offs; the trunk is up where both are answered well.

use std::net::SocketAddr;

use super::{Account, Asking};
use crate::domain::time::MonoTime;
use crate::sip::digest::Respondent;
use crate::sip::flow::Flow;
use crate::sip::message::{Message, Start, Writer, parameter};
use crate::sip::names::Names;
use crate::sip::transaction::{ClientId, Datagram};

#[derive(Debug)]
pub(super) struct Peer {
    pub address: SocketAddr,
    ping: Question,
    lives: Option<bool>,
    registration: Option<Registration>,
}

/// When something is asked next, and what is asked now.
#[derive(Debug, Default)]
struct Question {
    next: MonoTime,
    asked: Option<(ClientId, MonoTime)>,
    failures: u32,
}

#[derive(Debug)]
struct Registration {
    account: Account,
    respondent: Respondent,
    question: Question,
    /// Of this life: a registrar tells our requests apart by them.
    call_id: String,
    tag: String,
    cseq: u32,
    expires_s: u32,
    until: Option<MonoTime>,
    has_failed: bool,
}

impl Question {
    fn is_due(&self, now: MonoTime) -> bool {
        self.asked.is_none() && self.next <= now
    }

    fn well(&mut self, next_ms: u64, now: MonoTime) {
        *self = Self { next: now.plus_ms(next_ms), asked: None, failures: 0 };
    }

    /// Later and later, and never all at once.
    fn badly(&mut self, least_ms: u64, names: &mut Names, now: MonoTime) {
        let pause_ms = (BACK_OFF_MS << self.failures.min(6)).clamp(least_ms, BACK_OFF_MAX_MS.max(least_ms));
        let spread_ms = names.number() % (pause_ms / 4);
        *self = Self { next: now.plus_ms(pause_ms + spread_ms), asked: None, failures: self.failures + 1 };
    }
}

impl Peer {
    pub fn new(address: SocketAddr, account: Option<Account>) -> Self {
        let registration = |account: Account| Registration {
            respondent: respondent(&account),
            account,
            question: Question::default(),
            call_id: String::new(),
            tag: String::new(),
            cseq: 0,
            expires_s: EXPIRES_S,
            until: None,
            has_failed: false,
        };
        Self { address, ping: Question::default(), lives: None, registration: account.map(registration) }
    }

    /// `None`: not known yet.
    pub fn is_up(&self, now: MonoTime) -> Option<bool> {
        let registered = self.registration.as_ref().map(|one| match one.until {
            Some(until) if now < until => Some(true),
            Some(_) => Some(false),
            None => one.has_failed.then_some(false),
        });
        match (self.lives, registered) {
            (Some(false), _) | (_, Some(Some(false))) => Some(false),
            (None, _) | (_, Some(None)) => None,
            (Some(true), None | Some(Some(true))) => Some(true),
        }
    }

    pub fn awaits(&self, id: ClientId) -> bool {
        let is_it = |question: &Question| question.asked.is_some_and(|(asked, _)| asked == id);
        is_it(&self.ping) || self.registration.as_ref().is_some_and(|one| is_it(&one.question))
    }

    pub fn ask(&mut self, here: SocketAddr, names: &mut Names, now: MonoTime) -> Vec<Asking> {
        let mut asking = Vec::new();
        // Its answer may still come and then counts; but nobody waits half a minute to know that it is dead.
        if self.ping.asked.is_some_and(|(_, since)| now.ms_since(since) >= PATIENCE_MS) {
            self.lives = Some(false);
        }
        if self.ping.is_due(now) {
            let (id, branch) = names.branch();
            self.ping.asked = Some((id, now));
            let text = Writer::request("OPTIONS", &format!("sip:{}", self.address))
                .line("Via", &format!("SIP/2.0/UDP {here};branch={branch};rport"))
                .line("Max-Forwards", "70")
                .line("From", &format!("<sip:{here}>;tag={}", names.tag()))
                .line("To", &format!("<sip:{}>", self.address))
                .line("Call-ID", &names.tag())
                .line("CSeq", "1 OPTIONS")
                .line("Contact", &format!("<sip:{here}>"))
                .line("Accept", "application/sdp");
            asking.push(Asking {
                id,
                branch,
                request: Datagram { to: Flow::datagrams(here, self.address), bytes: text.bytes() },
            });
        }
        let address = self.address;
        if let Some(registration) = self.registration.as_mut().filter(|one| one.question.is_due(now)) {
            asking.push(registration.ask(address, None, (here, names), now));
        }
        asking
    }

    pub fn answered(
        &mut self,
        id: ClientId,
        answer: Option<&Message>,
        (here, names): (SocketAddr, &mut Names),
        now: MonoTime,
    ) -> Option<Asking> {
        let status = answer.and_then(|answer| match answer.start {
            Start::Response { status } => Some(status),
            Start::Request { .. } => None,
        });
        // RFC 3261 section 11: whatever it says, it lives; but for these, which others say of it.
        let lives = !matches!(status, None | Some(408 | 502 | 503 | 504));
        if self.ping.asked.is_some_and(|(asked, _)| asked == id) {
            self.lives = Some(lives);
            match lives {
                true => self.ping.well(PING_MS, now),
                false => self.ping.badly(0, names, now),
            }
            return None;
        }
        let address = self.address;
        self.registration.as_mut()?.answered(address, answer.zip(status), (here, names), now)
    }
}

impl Registration {
    fn ask(
        &mut self,
        to: SocketAddr,
        proof: Option<(&'static str, String)>,
        (here, names): (SocketAddr, &mut Names),
        now: MonoTime,
    ) -> Asking {
        if self.call_id.is_empty() {
            (self.call_id, self.tag) = (names.tag(), names.tag());
        }
        let (id, branch) = names.branch();
        self.question.asked = Some((id, now));
        self.cseq += 1;
        let uri = self.uri(to);
        let user = &self.account.user;
        let address = format!("sip:{user}@{}", uri.trim_start_matches("sip:"));
        let mut text = Writer::request("REGISTER", &uri)
            .line("Via", &format!("SIP/2.0/UDP {here};branch={branch};rport"))
            .line("Max-Forwards", "70")
            .line("From", &format!("<{address}>;tag={}", self.tag))
            .line("To", &format!("<{address}>"))
            .line("Call-ID", &self.call_id)
            .line("CSeq", &format!("{} REGISTER", self.cseq))
            .line("Contact", &format!("<sip:{user}@{here}>"))
            .line("Expires", &self.expires_s.to_string());
        // A nonce that was good before is good until the far side says otherwise.
        let proof =
            proof.or_else(|| Some(("Authorization", self.respondent.answer("REGISTER", &uri, names.cnonce())?)));
        if let Some((name, value)) = &proof {
            text = text.line(name, value);
        }
        Asking { id, branch, request: Datagram { to: Flow::datagrams(here, to), bytes: text.bytes() } }
    }

    fn uri(&self, to: SocketAddr) -> String {
        match &self.account.domain {
            Some(domain) => format!("sip:{domain}"),
            None => format!("sip:{to}"),
        }
    }

    fn answered(
        &mut self,
        to: SocketAddr,
        answer: Option<(&Message, u16)>,
        (here, names): (SocketAddr, &mut Names),
        now: MonoTime,
    ) -> Option<Asking> {
        match answer {
            Some((answer, 200..=299)) => {
                self.respondent.accepted();
                let granted_s = self.granted_s(answer, here).clamp(EXPIRES_MIN_S, EXPIRES_MAX_S);
                self.until = Some(now.plus_ms(u64::from(granted_s) * 1000));
                self.has_failed = false;
                self.question.well(u64::from(granted_s) * 500, now);
                None
            }
            Some((answer, status @ (401 | 407))) => {
                let (asks, answers) = match status {
                    407 => ("proxy-authenticate", "Proxy-Authorization"),
                    _ => ("www-authenticate", "Authorization"),
                };
                let values: Vec<&str> = answer.values(asks).collect();
                let asked = self.respondent.asked(&values).ok();
                let proof = asked.and_then(|()| self.respondent.answer("REGISTER", &self.uri(to), names.cnonce()));
                match proof {
                    Some(proof) => Some(self.ask(to, Some((answers, proof)), (here, names), now)),
                    None => {
                        // It does not want us: trying on would lock the account.
                        self.respondent = respondent(&self.account);
                        self.failed(REFUSED_MS, names, now);
                        None
                    }
                }
            }
            Some((answer, 423)) => {
                let least_s = answer.value("min-expires").and_then(|value| value.trim().parse().ok());
                match least_s.filter(|least_s| (self.expires_s + 1..=EXPIRES_MAX_S).contains(least_s)) {
                    Some(least_s) => {
                        self.expires_s = least_s;
                        Some(self.ask(to, None, (here, names), now))
                    }
                    None => {
                        self.failed(REFUSED_MS, names, now);
                        None
                    }
                }
            }
            Some((_, 403 | 404)) => {
                self.failed(REFUSED_MS, names, now);
                None
            }
            Some(_) | None => {
                self.failed(0, names, now);
                None
            }
        }
    }

    /// Until it runs out a registration stands, whatever its refreshing meets.
    fn failed(&mut self, least_ms: u64, names: &mut Names, now: MonoTime) {
        self.has_failed = true;
        self.question.badly(least_ms, names, now);
    }

    /// RFC 3261 section 10.2.4: at our own contact, or for all.
    fn granted_s(&self, answer: &Message, here: SocketAddr) -> u32 {
        let own = format!("sip:{}@{here}", self.account.user);
        let contacts = answer.list("contact");
        let ours = contacts.iter().find(|contact| crate::sip::message::uri_of(contact) == own);
        ours.and_then(|contact| parameter(contact, "expires"))
            .or_else(|| answer.value("expires"))
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(self.expires_s)
    }
}

fn respondent(account: &Account) -> Respondent {
    Respondent::new(&account.user, &account.realm, account.secret.clone())
}

/// A trunk that lives is asked so often (ms).
const PING_MS: u64 = 30_000;
/// So long without an answer is dead (ms): five repetitions were lost.
const PATIENCE_MS: u64 = 8_000;
/// After a failure, doubled up to two minutes (ms).
const BACK_OFF_MS: u64 = 5_000;
const BACK_OFF_MAX_MS: u64 = 120_000;
/// Whoever refused us is asked again so late (ms).
const REFUSED_MS: u64 = 300_000;
/// Registered for so long at first (s): a PBX that was restored from a backup knows us again after half of it.
const EXPIRES_S: u32 = 300;
/// What a registrar may make of it (s).
const EXPIRES_MIN_S: u32 = 30;
const EXPIRES_MAX_S: u32 = 3600;
