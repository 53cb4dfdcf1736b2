//! Transactions (RFC 3261 section 17, RFC 6026): what datagrams lose is said again, what comes again is answered again,
//! and nobody above notices either. Over a connection nothing is lost but the connection.
//!
//! ```text
//!   server   Trying --provisional--> Proceeding --final--> Answered --ACK or, without INVITE, 64*T1--> gone
//!   client   Calling --final, or 64*T1--> gone          (INVITE is `outgoing`'s)
//! ```
//!
//! Not a transport: it says what to send where. A 2xx to INVITE is repeated here too, although RFC 3261 gives that to
//! the user agent: here it is one timer like the others. Only for requests that have a right to state: whoever is not
//! yet known is answered without.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::flow::Flow;
use super::message::{Message, parameter};
use crate::domain::time::MonoTime;

/// A message to be sent, as a datagram or over a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    pub to: Flow,
    pub bytes: Vec<u8>,
}

/// Which request an answer is to: RFC 3261 section 17.2.3, and whence it came, so that nobody answers to another's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerKey {
    source: IpAddr,
    branch: String,
    sent_by: String,
    method: String,
}

impl ServerKey {
    /// Of a request; an ACK has that of its INVITE.
    pub fn of(request: &Message, source: SocketAddr) -> Option<Self> {
        Self::with_method(request, source, request.method()?)
    }

    /// The INVITE that a CANCEL means (section 9.2).
    pub fn of_cancelled(cancel: &Message, source: SocketAddr) -> Option<Self> {
        Self::with_method(cancel, source, "INVITE")
    }

    fn with_method(request: &Message, source: SocketAddr, method: &str) -> Option<Self> {
        let via = *request.list("via").first()?;
        let sent_by = via.split(';').next()?.split_ascii_whitespace().last()?.to_ascii_lowercase();
        let branch = match parameter(via, "branch") {
            Some(branch) if branch.starts_with(COOKIE) => branch.to_owned(),
            // RFC 2543: what names the request stands in its other headers.
            Some(_) | None => {
                let part = |name| request.value(name).unwrap_or_default();
                let from = parameter(part("from"), "tag").unwrap_or_default();
                format!("{} {} {from}", part("call-id"), request.cseq().unwrap_or_default())
            }
        };
        let method = if method == "ACK" { "INVITE" } else { method };
        Some(Self { source: source.ip(), branch, sent_by, method: method.to_owned() })
    }
}

/// Our own number for a request of ours.
pub type ClientId = u64;

/// What a message means here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// A request that has not been seen: nothing is kept of it unless it is answered with state.
    New,
    /// It was seen, and has been answered again if it has an answer.
    Again,
    /// An ACK of a final answer that was no 2xx: done.
    Acknowledged,
    /// The final answer to a request of ours.
    Answer(ClientId),
    /// A provisional or stray answer.
    Nothing,
}

/// What time has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimedOut {
    /// A 2xx to INVITE that nobody acknowledged.
    Unacknowledged(ServerKey),
    /// A request of ours without a final answer.
    Unanswered(ClientId),
}

/// All transactions.
#[derive(Debug, Default)]
pub struct Transactions {
    servers: BTreeMap<ServerKey, Server>,
    clients: BTreeMap<ClientId, Client>,
}

#[derive(Debug)]
struct Server {
    to: Flow,
    /// The last answer.
    answer: Vec<u8>,
    state: ServerState,
}

#[derive(Clone, Copy, Debug)]
enum ServerState {
    Proceeding,
    /// A final answer: repeated until an ACK if it is to INVITE, at hand for repetitions of the request until then.
    Answered {
        repeats: Option<Repeats>,
        ok: bool,
        ends: MonoTime,
    },
}

/// Timers A/E/G: T1, doubled up to T2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeats {
    next: MonoTime,
    interval_ms: u64,
    most_ms: u64,
}

impl Repeats {
    pub(super) fn begin(now: MonoTime) -> Self {
        Self { next: now.plus_ms(T1_MS), interval_ms: T1_MS, most_ms: T2_MS }
    }
    /// Of an INVITE of ours (section 17.1.1.2): doubled until its end.
    pub(super) fn of_invite(now: MonoTime) -> Self {
        Self { most_ms: LIFE_MS, ..Self::begin(now) }
    }
    pub(super) fn due(&mut self, now: MonoTime) -> bool {
        if now < self.next {
            return false;
        }
        self.interval_ms = (self.interval_ms * 2).min(self.most_ms);
        self.next = now.plus_ms(self.interval_ms);
        true
    }
}

#[derive(Debug)]
struct Client {
    to: Flow,
    request: Vec<u8>,
    branch: String,
    /// None where nothing is lost.
    repeats: Option<Repeats>,
    ends: MonoTime,
}

impl Transactions {
    /// Judges what arrived, and says again what the far side has missed.
    pub fn arrived(&mut self, message: &Message, flow: &Flow, out: &mut Vec<Datagram>) -> Arrived {
        let Some(method) = message.method() else { return self.answered(message) };
        let Some(key) = ServerKey::of(message, flow.remote) else { return Arrived::Nothing };
        let Some(server) = self.servers.get_mut(&key) else { return Arrived::New };
        if method == "ACK" {
            return match server.state {
                ServerState::Answered { ok: false, ref mut repeats, .. } => {
                    *repeats = None;
                    Arrived::Acknowledged
                }
                // The ACK of a 2xx has a branch of its own; one with this branch comes from an old device.
                ServerState::Answered { .. } | ServerState::Proceeding => Arrived::New,
            };
        }
        if flow.transport.is_reliable() {
            // Section 18.2.2: the connection that it came over may be gone.
            server.to = *flow;
        }
        out.push(Datagram { to: server.to, bytes: server.answer.clone() });
        Arrived::Again
    }

    /// Answers a request, and remembers the answer. False if there is no room: answer without state then, or not.
    pub fn respond(
        &mut self,
        key: &ServerKey,
        to: Flow,
        status: u16,
        answer: Vec<u8>,
        now: MonoTime,
        out: &mut Vec<Datagram>,
    ) -> bool {
        if !self.servers.contains_key(key) && self.servers.len() >= SERVERS_MAX {
            return false;
        }
        let state = if status < 200 {
            ServerState::Proceeding
        } else {
            // A yes is repeated over whatever it goes (section 13.3.1.4): a proxy behind may lose it.
            let may_be_lost = !to.transport.is_reliable() || status < 300;
            let repeats = (key.method == "INVITE" && may_be_lost).then(|| Repeats::begin(now));
            ServerState::Answered { repeats, ok: status < 300, ends: now.plus_ms(LIFE_MS) }
        };
        out.push(Datagram { to, bytes: answer.clone() });
        self.servers.insert(key.clone(), Server { to, answer, state });
        true
    }

    /// The 2xx to this INVITE has been acknowledged; repetitions of the INVITE are still absorbed.
    pub fn acknowledged(&mut self, key: &ServerKey) {
        if let Some(Server { state: ServerState::Answered { repeats, .. }, .. }) = self.servers.get_mut(key) {
            *repeats = None;
        }
    }

    /// Whether this request is known.
    pub fn knows(&self, key: &ServerKey) -> bool {
        self.servers.contains_key(key)
    }

    /// Sends a request other than INVITE and repeats it until it is answered.
    pub fn request(&mut self, id: ClientId, branch: String, request: Datagram, now: MonoTime, out: &mut Vec<Datagram>) {
        out.push(request.clone());
        let Datagram { to, bytes } = request;
        let repeats = (!to.transport.is_reliable()).then(|| Repeats::begin(now));
        let ends = now.plus_ms(LIFE_MS);
        self.clients.insert(id, Client { to, request: bytes, branch, repeats, ends });
    }

    /// Says again what is due, forgets what is old, and tells what nobody answered. Called often.
    pub fn tick(&mut self, now: MonoTime, out: &mut Vec<Datagram>) -> Vec<TimedOut> {
        let mut timed_out = Vec::new();
        self.servers.retain(|key, server| {
            let ServerState::Answered { repeats, ok, ends } = &mut server.state else { return true };
            if *ends <= now {
                if *ok && repeats.is_some() {
                    timed_out.push(TimedOut::Unacknowledged(key.clone()));
                }
                return false;
            }
            if repeats.as_mut().is_some_and(|repeats| repeats.due(now)) {
                out.push(Datagram { to: server.to, bytes: server.answer.clone() });
            }
            true
        });
        self.clients.retain(|id, client| {
            if client.ends <= now {
                timed_out.push(TimedOut::Unanswered(*id));
                return false;
            }
            if client.repeats.as_mut().is_some_and(|repeats| repeats.due(now)) {
                out.push(Datagram { to: client.to, bytes: client.request.clone() });
            }
            true
        });
        timed_out
    }

    /// Transactions that are remembered.
    pub fn len(&self) -> usize {
        self.servers.len() + self.clients.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn answered(&mut self, answer: &Message) -> Arrived {
        let super::message::Start::Response { status } = answer.start else { return Arrived::Nothing };
        let vias = answer.list("via");
        let branch = vias.first().and_then(|via| parameter(via, "branch"));
        let mut known = self.clients.iter().filter(|(_, client)| branch == Some(client.branch.as_str()));
        match known.next().map(|(id, _)| *id) {
            Some(id) if status >= 200 => {
                self.clients.remove(&id);
                Arrived::Answer(id)
            }
            Some(_) | None => Arrived::Nothing,
        }
    }
}

/// What begins a branch that names its transaction (RFC 3261 section 8.1.1.7).
pub const COOKIE: &str = "z9hG4bK";
/// Round trip, and the longest pause between repetitions (ms): RFC 3261's defaults.
const T1_MS: u64 = 500;
const T2_MS: u64 = 4_000;
/// Timers B, F, H and J (ms).
pub const LIFE_MS: u64 = 64 * T1_MS;
/// Requests that are remembered: 500 calls a second would need 16,000, and no county has them.
pub const SERVERS_MAX: usize = 16_384;
