//! A call of ours that is not up yet: one INVITE, from its first datagram until the far side has said yes or no for good
//! (RFC 3261 sections 13 and 17.1.1, RFC 6026).
//!
//! ```text
//!   Calling --1xx--> Ringing --2xx--> Answered: every yes is acknowledged; but for the first, each is hung up on
//!      |                |  \--give up--> Cancelling --487, nothing--> over
//!      +----------------+--3xx-6xx--> Refused: acknowledged as often as it comes
//!      +--401, 407, 422 once each--> Calling anew, with what was asked for
//! ```
//!
//! Not the call: that begins with [`News::Up`]. Not whom to try next: the trunk knows. Nobody is followed: a 3xx is a
//! refusal, for an address out of an answer is nobody's configured peer. What rings is not heard: 1xx bring no media.

use std::collections::BTreeMap;

use super::call::{Call, CallNumber};
use super::dialog::{Dialog, INTERVAL_MIN_S, Session};
use super::digest::Respondent;
use super::flow::Flow;
use super::message::{Message, Start, Writer, parameter};
use super::names::Names;
use super::offer::{LocalMedia, MediaRefusal, MediaRules, Negotiation, SdpText, Secrets};
use super::sdp::Direction;
use super::transaction::{Datagram, LIFE_MS, Repeats};
use crate::domain::id::GatewayId;
use crate::domain::time::MonoTime;

/// Whom to call, as whom.
#[derive(Debug)]
pub struct Called {
    /// Request URI and To.
    pub uri: String,
    /// From: whom the far side may know us as.
    pub caller: String,
    /// The way the INVITE goes.
    pub flow: Flow,
    /// Proves who we are, if there is a way to.
    pub respondent: Option<Respondent>,
}

/// One INVITE of ours.
#[derive(Debug)]
pub struct Outgoing {
    pub phone: GatewayId,
    pub number: CallNumber,
    called: Called,
    call_id: String,
    tag: String,
    cseq: u32,
    branch: String,
    media: Option<Negotiation>,
    offer: SdpText,
    interval_s: u32,
    min_interval_s: u32,
    /// The request as it was sent last.
    request: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    Calling { repeats: Option<Repeats>, ends: MonoTime, is_unwanted: bool },
    Ringing { ends: MonoTime },
    Cancelling { cancel: Vec<u8>, repeats: Option<Repeats>, ends: MonoTime },
    Refused { ack: Vec<u8>, ends: MonoTime },
    Answered { acks: BTreeMap<String, Vec<u8>>, ends: MonoTime },
    Over,
}

/// What became of it.
#[derive(Debug)]
pub enum News {
    /// The far side's bell rings.
    Rings,
    /// It is up.
    Up(Box<Call>),
    /// It will not be.
    Failed(Failure),
}

/// Why a call of ours did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// Nothing came back at all: another peer may do better.
    Silent,
    /// This status; [`Failure::is_peers`] says whether another peer may do better.
    Refused(u16),
    /// The bell rang for as long as it may.
    NotAnswered,
    /// We wanted it no more.
    GivenUp,
    /// Its yes had no media that we can speak, or was no yes at all.
    NoMedia,
    /// It does not accept our name and password, or asks for another realm's.
    NotAccepted,
}

impl Failure {
    /// As a figure is named: a word, or the status of a refusal.
    pub fn name(self) -> String {
        match self {
            Failure::Silent => "silent".to_owned(),
            Failure::Refused(status) => status.to_string(),
            Failure::NotAnswered => "not_answered".to_owned(),
            Failure::GivenUp => "given_up".to_owned(),
            Failure::NoMedia => "no_media".to_owned(),
            Failure::NotAccepted => "not_accepted".to_owned(),
        }
    }

    /// Whether it says something of the peer rather than of whom we called.
    pub fn is_peers(self) -> bool {
        match self {
            Failure::Silent | Failure::NotAccepted => true,
            Failure::Refused(status) => matches!(status, 408 | 500 | 502 | 503 | 504),
            Failure::NotAnswered | Failure::GivenUp | Failure::NoMedia => false,
        }
    }
}

/// What a datagram or the time leads to, beside what is to be sent.
#[derive(Debug, Default)]
pub struct Step {
    pub news: Option<News>,
    /// A dialog that nobody wants: the yes of a second phone, or one that came too late. To be ended by BYE.
    pub hang_up: Option<Box<Dialog>>,
}

impl Step {
    fn of(news: News) -> Self {
        Self { news: Some(news), hang_up: None }
    }
}

impl Outgoing {
    /// Offers what we can speak and sends the INVITE.
    ///
    /// # Errors
    /// If there is nothing to offer.
    pub fn begin(
        called: Called,
        (phone, number): (GatewayId, CallNumber),
        (local, rules, secrets): (LocalMedia, &MediaRules, &Secrets),
        names: &mut Names,
        now: MonoTime,
        out: &mut Vec<Datagram>,
    ) -> Result<Self, MediaRefusal> {
        let mut media = Negotiation::new(names.number(), local);
        let offer = media.offer(Direction::SendRecv, rules, secrets)?;
        let mut outgoing = Self {
            phone,
            number,
            called,
            call_id: names.tag(),
            tag: names.tag(),
            cseq: 0,
            branch: String::new(),
            media: Some(media),
            offer,
            interval_s: INTERVAL_S,
            min_interval_s: INTERVAL_MIN_S,
            request: Vec::new(),
            state: State::Over,
        };
        outgoing.invite(None, names, now, out);
        Ok(outgoing)
    }

    /// Whether this answer is to it, or to its CANCEL.
    pub fn awaits(&self, answer: &Message) -> bool {
        let vias = answer.list("via");
        vias.first().and_then(|via| parameter(via, "branch")) == Some(self.branch.as_str())
            && matches!(answer.cseq_method(), Some("INVITE" | "CANCEL"))
    }

    /// Takes an answer that it [awaits](Self::awaits).
    pub fn take(
        &mut self,
        answer: &Message,
        flow: Flow,
        names: &mut Names,
        now: MonoTime,
        out: &mut Vec<Datagram>,
    ) -> Step {
        let Start::Response { status } = answer.start else { return Step::default() };
        if answer.cseq_method() == Some("CANCEL") {
            if let State::Cancelling { repeats, .. } = &mut self.state {
                *repeats = repeats.filter(|_| status < 200);
            }
            return Step::default();
        }
        match status {
            100..=199 => self.progress(status, now, out),
            200..=299 => self.yes(answer, flow, names, now, out),
            _ => self.no(answer, status, names, now, out),
        }
    }

    /// Wants it no more: cancels it as soon as that is allowed. Its end is told as usual.
    pub fn give_up(&mut self, now: MonoTime, out: &mut Vec<Datagram>) {
        match &mut self.state {
            // Section 9.1: nothing may be cancelled that nobody has heard of.
            State::Calling { is_unwanted, .. } => *is_unwanted = true,
            State::Ringing { .. } => self.cancel(now, out),
            State::Cancelling { .. } | State::Refused { .. } | State::Answered { .. } | State::Over => {}
        }
    }

    /// Time passes.
    pub fn tick(&mut self, now: MonoTime, out: &mut Vec<Datagram>) -> Step {
        let to = self.called.flow;
        match &mut self.state {
            State::Calling { ends, is_unwanted, .. } if *ends <= now => {
                let why = if *is_unwanted { Failure::GivenUp } else { Failure::Silent };
                self.fail(why)
            }
            State::Calling { repeats, .. } => {
                if repeats.as_mut().is_some_and(|repeats| repeats.due(now)) {
                    out.push(Datagram { to, bytes: self.request.clone() });
                }
                Step::default()
            }
            State::Ringing { ends } => {
                if *ends <= now {
                    self.cancel(now, out);
                    return Step::of(News::Failed(Failure::NotAnswered));
                }
                Step::default()
            }
            State::Cancelling { ends, .. } if *ends <= now => {
                self.state = State::Over;
                Step::default()
            }
            State::Cancelling { cancel, repeats, .. } => {
                if repeats.as_mut().is_some_and(|repeats| repeats.due(now)) {
                    out.push(Datagram { to, bytes: cancel.clone() });
                }
                Step::default()
            }
            State::Refused { ends, .. } | State::Answered { ends, .. } => {
                if *ends <= now {
                    self.state = State::Over;
                }
                Step::default()
            }
            State::Over => Step::default(),
        }
    }

    /// The way it goes.
    pub fn flow(&self) -> Flow {
        self.called.flow
    }

    /// The connection that it went over is gone: no answer will come.
    pub fn lost(&mut self) -> Step {
        match self.state {
            State::Calling { is_unwanted: false, .. } | State::Ringing { .. } => self.fail(Failure::Silent),
            State::Calling { .. } | State::Cancelling { .. } | State::Refused { .. } => {
                self.state = State::Over;
                Step::default()
            }
            State::Answered { .. } | State::Over => Step::default(),
        }
    }

    /// Whether nothing more can come of it.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether it may still become a call.
    pub fn is_pending(&self) -> bool {
        match self.state {
            State::Calling { is_unwanted, .. } => !is_unwanted,
            State::Ringing { .. } => true,
            State::Cancelling { .. } | State::Refused { .. } | State::Answered { .. } | State::Over => false,
        }
    }

    fn progress(&mut self, status: u16, now: MonoTime, out: &mut Vec<Datagram>) -> Step {
        match self.state {
            State::Calling { is_unwanted, .. } => {
                self.state = State::Ringing { ends: now.plus_ms(RING_MAX_MS) };
                if is_unwanted {
                    self.cancel(now, out);
                    return Step::of(News::Failed(Failure::GivenUp));
                }
                if status > 100 { Step::of(News::Rings) } else { Step::default() }
            }
            State::Ringing { .. } if status > 100 => Step::of(News::Rings),
            State::Ringing { .. } | State::Cancelling { .. } => Step::default(),
            State::Refused { .. } | State::Answered { .. } | State::Over => Step::default(),
        }
    }

    fn yes(&mut self, answer: &Message, flow: Flow, names: &mut Names, now: MonoTime, out: &mut Vec<Datagram>) -> Step {
        let to = self.called.flow;
        let tag = answer.value("to").and_then(|to| parameter(to, "tag")).unwrap_or_default();
        if let State::Answered { acks, .. } = &self.state
            && let Some(bytes) = acks.get(tag)
        {
            out.push(Datagram { to, bytes: bytes.clone() });
            return Step::default();
        }
        let invite = Message::read(&self.request).expect("we read what we write");
        let Some(dialog) = Dialog::of_answer(&invite, answer, flow) else {
            // A yes that nobody can speak to: it cannot even be hung up on.
            return self.fail_once(Failure::NoMedia);
        };
        let mut ack = dialog.acknowledgement(&names.branch().1);
        // Section 22.1: it is proved as its INVITE was.
        for name in ["Authorization", "Proxy-Authorization"] {
            if let Some(value) = invite.value(&name.to_ascii_lowercase()) {
                ack = ack.line(name, value);
            }
        }
        let bytes = ack.bytes();
        out.push(Datagram { to, bytes: bytes.clone() });
        let is_wanted = self.is_pending();
        let was_told = matches!(self.state, State::Cancelling { .. } | State::Answered { .. } | State::Refused { .. });
        let mut acks = match std::mem::replace(&mut self.state, State::Over) {
            State::Answered { acks, .. } => acks,
            State::Calling { .. } | State::Ringing { .. } | State::Cancelling { .. } => BTreeMap::new(),
            State::Refused { .. } | State::Over => BTreeMap::new(),
        };
        if acks.len() < FORKS_MAX {
            acks.insert(tag.to_owned(), bytes);
        }
        self.state = State::Answered { acks, ends: now.plus_ms(LIFE_MS) };
        let stray = |dialog, why| Step { news: why, hang_up: Some(Box::new(dialog)) };
        let Some(mut media) = self.media.take().filter(|_| is_wanted) else {
            let why = (!was_told).then_some(News::Failed(Failure::GivenUp));
            return stray(dialog, why);
        };
        match media.answered(&answer.body) {
            Ok(_) => {
                let session = Session::answered(answer, now);
                let call = Call::placed((self.phone.clone(), self.number), dialog, media, session, now);
                Step::of(News::Up(Box::new(call)))
            }
            Err(_) => stray(dialog, Some(News::Failed(Failure::NoMedia))),
        }
    }

    fn no(&mut self, answer: &Message, status: u16, names: &mut Names, now: MonoTime, out: &mut Vec<Datagram>) -> Step {
        let to = self.called.flow;
        match &self.state {
            State::Refused { ack, .. } => {
                out.push(Datagram { to, bytes: ack.clone() });
                return Step::default();
            }
            State::Answered { .. } | State::Over => return Step::default(),
            State::Calling { .. } | State::Ringing { .. } | State::Cancelling { .. } => {}
        }
        let ack = self.acknowledge_refusal(answer);
        out.push(Datagram { to, bytes: ack.clone() });
        let (is_wanted, was_told) = (self.is_pending(), matches!(self.state, State::Cancelling { .. }));
        self.state = State::Refused { ack, ends: now.plus_ms(LIFE_MS) };
        if was_told {
            return Step::default();
        }
        let why = match status {
            _ if !is_wanted => Failure::GivenUp,
            401 | 407 => match self.prove(answer, status, names) {
                Some(proof) => {
                    self.invite(Some(proof), names, now, out);
                    return Step::default();
                }
                None => Failure::NotAccepted,
            },
            422 => match self.longer(answer) {
                true => {
                    self.invite(None, names, now, out);
                    return Step::default();
                }
                false => Failure::Refused(status),
            },
            _ => Failure::Refused(status),
        };
        Step::of(News::Failed(why))
    }

    /// The header that answers a challenge; `None` if none may or can be given.
    fn prove(&mut self, answer: &Message, status: u16, names: &mut Names) -> Option<(&'static str, String)> {
        let (asks, answers) = match status {
            407 => ("proxy-authenticate", "Proxy-Authorization"),
            _ => ("www-authenticate", "Authorization"),
        };
        let respondent = self.called.respondent.as_mut()?;
        let values: Vec<&str> = answer.values(asks).collect();
        respondent.asked(&values).ok()?;
        Some((answers, respondent.answer("INVITE", &self.called.uri, names.cnonce())?))
    }

    /// RFC 4028 section 7.4: once more, with an interval that its far side can bear.
    fn longer(&mut self, answer: &Message) -> bool {
        let least_s = answer.value("min-se").and_then(|value| value.split(';').next()?.trim().parse().ok());
        let Some(least_s) = least_s.filter(|least_s| *least_s > self.min_interval_s) else { return false };
        self.min_interval_s = least_s;
        self.interval_s = self.interval_s.max(least_s);
        true
    }

    fn invite(
        &mut self,
        proof: Option<(&'static str, String)>,
        names: &mut Names,
        now: MonoTime,
        out: &mut Vec<Datagram>,
    ) {
        self.cseq += 1;
        self.branch = names.branch().1;
        let Called { uri, caller, flow, respondent: _ } = &self.called;
        let mut text = Writer::request("INVITE", uri)
            .line("Via", &flow.via(&self.branch))
            .line("Max-Forwards", "70")
            .line("From", &format!("<{caller}>;tag={}", self.tag))
            .line("To", &format!("<{uri}>"))
            .line("Call-ID", &self.call_id)
            .line("CSeq", &format!("{} INVITE", self.cseq))
            .line("Contact", &flow.contact())
            .line("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE")
            .line("Supported", "timer")
            // The far side refreshes: it may know no UPDATE, and whoever sends any request shows that it lives.
            .line("Session-Expires", &format!("{};refresher=uas", self.interval_s))
            .line("Min-SE", &self.min_interval_s.to_string());
        if let Some((name, value)) = &proof {
            text = text.line(name, value);
        }
        self.request = text.with_description(self.offer.as_str());
        // Section 17.1.1.2: what cannot be lost is not repeated.
        let repeats = (!flow.transport.is_reliable()).then(|| Repeats::of_invite(now));
        self.state = State::Calling { repeats, ends: now.plus_ms(LIFE_MS), is_unwanted: false };
        out.push(Datagram { to: self.called.flow, bytes: self.request.clone() });
    }

    /// Section 9.1: the INVITE's own branch and number.
    fn cancel(&mut self, now: MonoTime, out: &mut Vec<Datagram>) {
        let cancel = self.beside("CANCEL", &format!("<{}>", self.called.uri)).bytes();
        out.push(Datagram { to: self.called.flow, bytes: cancel.clone() });
        let repeats = (!self.called.flow.transport.is_reliable()).then(|| Repeats::begin(now));
        self.state = State::Cancelling { cancel, repeats, ends: now.plus_ms(LIFE_MS) };
    }

    /// Section 17.1.1.3: of the same transaction, to the tag that refused.
    fn acknowledge_refusal(&self, answer: &Message) -> Vec<u8> {
        self.beside("ACK", answer.value("to").unwrap_or_default()).bytes()
    }

    /// A request that goes with the INVITE.
    fn beside(&self, method: &str, to: &str) -> Writer {
        let Called { uri, caller, flow, respondent: _ } = &self.called;
        Writer::request(method, uri)
            .line("Via", &flow.via(&self.branch))
            .line("Max-Forwards", "70")
            .line("From", &format!("<{caller}>;tag={}", self.tag))
            .line("To", to)
            .line("Call-ID", &self.call_id)
            .line("CSeq", &format!("{} {method}", self.cseq))
    }

    fn fail(&mut self, why: Failure) -> Step {
        self.state = State::Over;
        Step::of(News::Failed(why))
    }

    /// Fails if that is still news.
    fn fail_once(&mut self, why: Failure) -> Step {
        if self.is_pending() { self.fail(why) } else { Step::default() }
    }
}

/// A bell that rings longer rings in an empty room (ms).
const RING_MAX_MS: u64 = 90_000;
/// Proposed interval of a session (s): RFC 4028's own recommendation.
const INTERVAL_S: u32 = 1800;
/// Phones that may all say yes to one INVITE: a PBX's ring group.
const FORKS_MAX: usize = 16;
