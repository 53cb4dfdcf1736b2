//! One call as the called side has it: what each request in its dialog means, what its media is, and when it is over.
//!
//! ```text
//!   INVITE --200--> up --BYE, 481, unacknowledged, unanswered, not refreshed--> over
//!            |       |
//!            |       +-- INVITE, UPDATE: other media, hold, resume; the key is lifted
//!            +---------- without an offer: ours goes with the 200, the answer comes with the ACK
//! ```
//!
//! Silence never ends it: whether the far side is there, its dialog says. Not routing: which phone it is was decided
//! before; not transactions: answers are values here.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::dialog::{Dialog, INTERVAL_MIN_S, Session};
use super::flow::Flow;
use super::message::Message;
use super::offer::{AgreedMedia, LocalMedia, MediaRules, Negotiation, Protection, SdpText, Secrets};
use super::sdp::Direction;
use super::transaction::{ClientId, LIFE_MS, ServerKey};
use crate::domain::call::CallMedia;
use crate::domain::id::GatewayId;
use crate::domain::port::{Network, PeerRule};
use crate::domain::time::MonoTime;

/// Our own number for a call.
pub type CallNumber = u64;

/// A call that is up. What is kept of it over a restart holds its keys, so it is sealed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call {
    pub phone: GatewayId,
    pub number: CallNumber,
    pub dialog: Dialog,
    media: Negotiation,
    since: MonoTime,
    /// The INVITE whose 2xx waits for its ACK.
    #[serde(skip)]
    pub invite: Option<(ServerKey, u32)>,
    /// That ACK must bring an answer.
    #[serde(skip)]
    is_late: bool,
    session: Option<Session>,
    #[serde(skip)]
    heard: MonoTime,
    /// Its connection was lost since.
    #[serde(skip)]
    is_doubted: bool,
    /// Since when nothing of ours reaches it: the connection is gone that it came over.
    #[serde(skip)]
    adrift: Option<MonoTime>,
    /// What was asked, and when.
    #[serde(skip)]
    asked: Option<(ClientId, Asked, MonoTime)>,
}

/// What we want to know of the far side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Whether it is there.
    Options,
    /// That the session goes on.
    Update,
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// Headers beyond those of every answer.
    pub lines: Vec<(&'static str, String)>,
    pub description: Option<SdpText>,
}

impl Reply {
    pub fn of(status: u16) -> Self {
        Self { status, lines: Vec::new(), description: None }
    }

    /// With one more header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.lines.push((name, value.into()));
        self
    }
}

/// What a request or its absence does to the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Stays,
    /// Its media is this now, encrypted or not.
    Media(CallMedia, Option<Protection>),
    /// Its talker keyed or let go.
    Key(bool),
    /// It is over.
    Over(CallEnd),
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallEnd {
    /// The phone hung up.
    HungUp,
    /// The same phone called again.
    Replaced,
    /// It never acknowledged our answer, or with nothing that could be agreed on.
    Unacknowledged,
    /// It does not answer, or says that it knows no such call.
    Gone,
    /// Nobody refreshed its session.
    Expired,
    /// The daemon stops, or the phone was taken out of the configuration.
    Stopped,
    /// The daemon has started anew and could not go on with it.
    Restarted,
    /// A radio gateway has not answered for seconds, or no connection leads there: it is called again.
    Lost,
}

impl CallEnd {
    /// Every variant: one counter each.
    pub const ALL: [Self; 8] = [
        Self::HungUp,
        Self::Replaced,
        Self::Unacknowledged,
        Self::Gone,
        Self::Expired,
        Self::Stopped,
        Self::Restarted,
        Self::Lost,
    ];

    /// Whether the far side must be told.
    pub fn needs_bye(self) -> bool {
        match self {
            CallEnd::HungUp | CallEnd::Gone => false,
            CallEnd::Replaced | CallEnd::Unacknowledged | CallEnd::Expired | CallEnd::Stopped | CallEnd::Restarted => {
                true
            }
            // It may only be slow, and would hold us in a call that we have given up.
            CallEnd::Lost => true,
        }
    }
}

impl Call {
    /// Answers an INVITE: the call and the answer, or why there is none.
    pub fn begin(
        invite: &Message,
        (phone, number): (GatewayId, CallNumber),
        (key, dialog): (ServerKey, Dialog),
        (local, session_id): (LocalMedia, u64),
        (rules, secrets): (&MediaRules, &Secrets),
        now: MonoTime,
    ) -> Result<(Self, Reply, Outcome), Reply> {
        let session = Session::agree(invite, now).map_err(|_| too_small())?;
        let cseq = dialog.remote_cseq();
        let mut call = Self {
            phone,
            number,
            dialog,
            media: Negotiation::new(session_id, local),
            since: now,
            invite: Some((key, cseq)),
            is_late: false,
            session,
            heard: now,
            is_doubted: false,
            adrift: None,
            asked: None,
        };
        let (reply, outcome) = call.offered(invite, rules, secrets);
        if reply.status >= 300 { Err(reply) } else { Ok((call, reply, outcome)) }
    }

    /// A call of ours that was answered; its media is agreed on.
    pub fn placed(
        (phone, number): (GatewayId, CallNumber),
        dialog: Dialog,
        media: Negotiation,
        session: Option<Session>,
        now: MonoTime,
    ) -> Self {
        Self {
            phone,
            number,
            dialog,
            media,
            since: now,
            invite: None,
            is_late: false,
            session,
            heard: now,
            is_doubted: false,
            adrift: None,
            asked: None,
        }
    }

    /// After a restart. Its far side is asked at once whether it still knows the call; over a connection, which is gone,
    /// it has to come back by itself.
    pub fn resumed(&mut self, now: MonoTime) {
        self.dialog.resumed();
        self.session.iter_mut().for_each(|session| session.resumed(now));
        self.heard = MonoTime::from_millis(now.as_millis().saturating_sub(PING_MS));
        if self.dialog.flow.transport.is_reliable() {
            self.lost(now);
        }
    }

    /// How long it has been up (ms).
    pub fn age_ms(&self, now: MonoTime) -> u64 {
        now.ms_since(self.since)
    }

    /// Where our end of its media is.
    pub fn local_media(&self) -> LocalMedia {
        self.media.local()
    }

    /// Its media and under which keys, if it is agreed on.
    pub fn agreed_media(&self) -> Option<(CallMedia, Option<Protection>)> {
        let agreed = self.media.agreed()?;
        Some((media_of(agreed, &self.dialog.flow), agreed.protection.clone()))
    }

    /// A request in the dialog other than ACK, not overtaken. `key` is its transaction's.
    pub fn request(
        &mut self,
        request: &Message,
        key: &ServerKey,
        (rules, secrets): (&MediaRules, &Secrets),
        now: MonoTime,
    ) -> (Reply, Outcome) {
        (self.heard, self.adrift, self.is_doubted) = (now, None, false);
        match request.method().unwrap_or_default() {
            method @ ("INVITE" | "UPDATE") => {
                let session = match Session::agree(request, now) {
                    Ok(session) => session,
                    Err(_) => return (too_small(), Outcome::Stays),
                };
                let is_invite = method == "INVITE";
                let (reply, outcome) = match request.body.is_empty() && !is_invite {
                    true => (self.with_session(Reply::of(200), session), Outcome::Stays),
                    false => self.offered_again(request, session, rules, secrets),
                };
                if is_invite && reply.status < 300 {
                    self.invite = Some((key.clone(), self.dialog.remote_cseq()));
                }
                (reply, outcome)
            }
            "BYE" => (Reply::of(200), Outcome::Over(CallEnd::HungUp)),
            "INFO" => match digit(request) {
                Digit::Key(keyed) => (Reply::of(200), Outcome::Key(keyed)),
                Digit::Other => (Reply::of(200), Outcome::Stays),
                Digit::Unknown => {
                    (Reply::of(415).with("Accept", "application/dtmf-relay, application/dtmf"), Outcome::Stays)
                }
            },
            "OPTIONS" => (Reply::of(200), Outcome::Stays),
            // Nobody but a dispatcher moves a talker elsewhere.
            "REFER" => (Reply::of(603), Outcome::Stays),
            "MESSAGE" | "NOTIFY" | "SUBSCRIBE" | "PRACK" | "PUBLISH" | "REGISTER" => (Reply::of(405), Outcome::Stays),
            _ => (Reply::of(501), Outcome::Stays),
        }
    }

    /// Whether its media waits for the answer to our first offer.
    pub fn is_without_media(&self) -> bool {
        self.media.agreed().is_none()
    }

    /// An ACK: of which INVITE it is, if of one of ours, and what its body settles.
    pub fn acknowledge(&mut self, ack: &Message, now: MonoTime) -> Option<(ServerKey, Outcome)> {
        let (key, _) = self.invite.take_if(|(_, cseq)| ack.cseq() == Some(*cseq))?;
        self.heard = now;
        if !std::mem::replace(&mut self.is_late, false) {
            return Some((key, Outcome::Stays));
        }
        let outcome = match self.media.answered(&ack.body) {
            Ok(agreed) => of_agreed(agreed, &self.dialog.flow),
            Err(_) => Outcome::Over(CallEnd::Unacknowledged),
        };
        Some((key, outcome))
    }

    /// What must be asked now, if anything: that it is there, or that its session goes on.
    /// A far side that says nothing is asked every `ping_ms`.
    pub fn is_due(&self, ping_ms: u64, now: MonoTime) -> Option<Asked> {
        // Before its ACK the repetitions of our answer ask.
        if self.asked.is_some() || self.invite.is_some() || self.adrift.is_some() {
            return None;
        }
        if self.session.as_ref().is_some_and(|session| session.is_due(now)) {
            return Some(Asked::Update);
        }
        (self.is_doubted || now.ms_since(self.heard) >= ping_ms).then_some(Asked::Options)
    }

    /// It was asked; the answer has this number.
    pub fn asks(&mut self, id: ClientId, what: Asked, now: MonoTime) {
        self.asked = Some((id, what, now));
    }

    /// Whether this answer is awaited here.
    pub fn awaits(&self, id: ClientId) -> bool {
        self.asked.is_some_and(|(asked, ..)| asked == id)
    }

    /// Adds to our refreshing request what it says of the session.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// The answer came; `None`: none will.
    pub fn answered(&mut self, status: Option<u16>, now: MonoTime) -> Outcome {
        let Some((_, what, since)) = self.asked.take() else { return Outcome::Stays };
        match status {
            // It did not answer, but it asked something itself.
            None if self.heard > since => return Outcome::Stays,
            // RFC 3261 section 12.2.1.2: these two end the dialog.
            None | Some(408 | 481) => return Outcome::Over(CallEnd::Gone),
            Some(200..=299) if what == Asked::Update => self.session.iter_mut().for_each(|one| one.refreshed(now)),
            Some(_) => {}
        }
        (self.heard, self.is_doubted) = (now, false);
        Outcome::Stays
    }

    /// Whether it was asked so long ago (ms) and has said nothing since.
    pub fn is_unanswered(&self, patience_ms: u64, now: MonoTime) -> bool {
        let is_late =
            |(_, _, since): (ClientId, Asked, MonoTime)| self.heard <= since && now.ms_since(since) >= patience_ms;
        self.asked.is_some_and(is_late)
    }

    /// Its connection is gone, and it is reached over this flow now: whether it lives is asked at once.
    pub fn moved(&mut self, flow: Flow) {
        self.dialog.flow = flow;
        (self.asked, self.adrift) = (None, None);
        self.is_doubted = true;
    }

    /// Whether nothing came from it since it [moved](Self::moved).
    pub fn is_doubted(&self) -> bool {
        self.is_doubted
    }

    /// Its connection is gone: whoever comes back over another has not lost the call.
    pub fn lost(&mut self, now: MonoTime) {
        self.adrift.get_or_insert(now);
        self.asked = None;
    }

    /// It can be reached again, over this flow.
    pub fn found(&mut self, flow: Flow, now: MonoTime) {
        if self.adrift.take().is_some() {
            self.dialog.flow = flow;
            self.heard = now;
        }
    }

    /// Whether it was adrift for so long that nobody comes back.
    pub fn is_gone(&self, now: MonoTime) -> bool {
        self.adrift.is_some_and(|since| now.ms_since(since) >= LIFE_MS)
    }

    /// Whether its session has run out.
    pub fn is_over(&self, now: MonoTime) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_over(now))
    }

    fn offered_again(
        &mut self,
        request: &Message,
        session: Option<Session>,
        rules: &MediaRules,
        secrets: &Secrets,
    ) -> (Reply, Outcome) {
        let before = std::mem::replace(&mut self.session, session);
        let (reply, outcome) = self.offered(request, rules, secrets);
        if reply.status >= 300 {
            self.session = before;
        }
        (reply, outcome)
    }

    /// Answers the offer of an INVITE or UPDATE, or makes one where there is none.
    fn offered(&mut self, request: &Message, rules: &MediaRules, secrets: &Secrets) -> (Reply, Outcome) {
        let flow = self.dialog.flow;
        let settled = if request.body.is_empty() {
            self.media.offer(Direction::SendRecv, rules, secrets).map(|text| (text, None))
        } else {
            let answered = self.media.answer(&request.body, Direction::SendRecv, rules, secrets);
            answered.map(|(text, agreed)| (text, Some(of_agreed(agreed, &flow))))
        };
        match settled {
            Ok((text, agreed)) => {
                self.is_late = agreed.is_none();
                let reply = Reply { description: Some(text), ..Reply::of(200) };
                let session = self.session;
                (self.with_session(reply, session), agreed.unwrap_or(Outcome::Stays))
            }
            Err(why) => (Reply::of(why.status()).with("Warning", format!("399 crosspatch \"{why}\"")), Outcome::Stays),
        }
    }

    fn with_session(&mut self, mut reply: Reply, session: Option<Session>) -> Reply {
        self.session = session;
        reply.lines.extend(session.iter().flat_map(Session::lines));
        reply
    }
}

fn too_small() -> Reply {
    Reply::of(422).with("Min-SE", INTERVAL_MIN_S.to_string())
}

fn of_agreed(agreed: &AgreedMedia, flow: &Flow) -> Outcome {
    Outcome::Media(media_of(agreed, flow), agreed.protection.clone())
}

/// What the port of a phone is, of what was agreed with one whose messages come from there.
fn media_of(agreed: &AgreedMedia, flow: &Flow) -> CallMedia {
    let (carrier, flow) = (flow.transport, flow.remote.ip());
    let only = |ip: IpAddr| ip.to_canonical().to_string().parse::<Network>().ok();
    let peer = match agreed.peer {
        Some(peer) if peer.ip() == flow => PeerRule::Static(peer),
        // Behind a NAT or a border controller: whichever of the two sends first. Nobody else is heard.
        Some(peer) => PeerRule::Latch(only(peer.ip()).into_iter().chain(only(flow)).collect()),
        None => PeerRule::Latch(only(flow).into_iter().collect()),
    };
    let others = agreed.receive.iter().filter(|payload| payload.number != agreed.send.number);
    CallMedia {
        peer,
        payloads: std::iter::once(&agreed.send).chain(others).copied().collect(),
        events: agreed.events.first().map(|event| event.number),
        hears: agreed.direction.sends(),
        talks: agreed.direction.receives(),
        path: agreed.path_class(carrier.is_secret()),
    }
}

/// What an INFO says.
enum Digit {
    Key(bool),
    /// Another digit, or nothing.
    Other,
    /// Not a digit's format.
    Unknown,
}

/// `application/dtmf-relay`: `Signal=*`; `application/dtmf`: `*`. Some count: 10 is `*` and 11 is `#` (RFC 4733).
fn digit(info: &Message) -> Digit {
    let kind = info.value("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let body = String::from_utf8_lossy(&info.body);
    let signal = match kind.to_ascii_lowercase().as_str() {
        "" if info.body.is_empty() => return Digit::Other,
        "application/dtmf-relay" => body.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            key.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
        }),
        "application/dtmf" => Some(body.trim()),
        _ => return Digit::Unknown,
    };
    match signal {
        Some("*" | "10") => Digit::Key(true),
        Some("#" | "11") => Digit::Key(false),
        Some(_) | None => Digit::Other,
    }
}

/// A far side that says nothing is asked so often (ms): its battery and NAT bear it, and a dead call ends within two.
pub const PING_MS: u64 = 30_000;
