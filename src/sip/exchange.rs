//! The exchange: every datagram of SIP comes here and what is to be sent goes out from here. Registers phones, answers
//! their calls, ends what is dead. Time, randomness and sockets for media are arguments; owned by the SIP task.
//!
//! ```text
//!   datagram -> guard -> gate -> transaction seen before? -> dialog's? -> call
//!                                        |                     | no
//!                                        again                 REGISTER, INVITE: who are you? -> 401, without state
//! ```
//!
//! Whoever has not shown who it is costs one look and one answer that is hardly longer than the question.

mod answer;
mod connected;
mod dial;
mod enrol;
mod lines;
mod protect;
mod resume;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use zeroize::Zeroizing;

use super::call::{Asked, Call, CallEnd, CallNumber, Outcome, Reply};
use super::dialog::Dialog;
use super::digest::{Algorithm, Challenger, DigestSecret};
use super::flow::Flow;
use super::gate::{self, GateFault, Passage};
use super::guard::Guard;
use super::message::{Message, Start};
use super::names::Names;
use super::offer::{LocalMedia, MediaRules, Protection};
use super::outgoing::Failure;
use super::registrar::{Registrar, RegistrarLimits};
use super::standing::{GatewaySetting, Standing};
use super::stream::StreamEnd;
use super::transaction::{Arrived, ClientId, Datagram, ServerKey, TimedOut, Transactions};
use super::trunk::{TrunkSetting, Trunks};
use crate::domain::audio::{Codec, Format};
use crate::domain::call::{CallMedia, PhoneSign};
use crate::domain::configuration::MediaSecurity;
use crate::domain::id::{GatewayId, TrunkId};
use crate::domain::port::ExtensionIds;
use crate::domain::time::MonoTime;
use dial::Dialling;

pub use resume::{CallRecord, OpenAgain};

/// A user's place at a talkgroup. A trunk's has the trunk's [name](Place::user_of_trunk) for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub phone: GatewayId,
    pub user: String,
    /// Whoever calls gets the first that is free; else a second call takes the place of the first.
    pub is_line: bool,
    /// What reaches it.
    pub dialled: Vec<String>,
    /// Whether its calls are encrypted.
    pub srtp: MediaSecurity,
}

/// What an exchange is made of.
#[derive(Clone)]
pub struct Setting {
    /// Where it is reached by datagrams.
    pub here: SocketAddr,
    /// Where it is reached by connections, if it is: connections of ours say so too.
    pub here_tcp: Option<SocketAddr>,
    pub realm: String,
    /// How phones may prove who they are.
    pub digests: Vec<Algorithm>,
    /// What calls may speak, best first.
    pub codecs: Vec<Codec>,
    /// Keys may stand in messages that others can read.
    pub keys_in_clear: bool,
    /// In order: the first of a user takes calls without a number of ours.
    pub places: Vec<Place>,
    /// By user.
    pub secrets: BTreeMap<String, DigestSecret>,
    pub trunks: Vec<TrunkSetting>,
    pub gateways: Vec<GatewaySetting>,
    /// Numbers that are not ours to answer.
    pub emergency_numbers: Vec<String>,
    /// From the operating system.
    pub key: Zeroizing<[u8; 32]>,
}

/// What the exchange wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Send this.
    Send(Datagram),
    /// Something became of a phone; of a call that begins with media, `begins` names whose sockets to hand over. Media
    /// with `protection` is encrypted under it, and without is not.
    Tell { phone: GatewayId, sign: PhoneSign, begins: Option<CallNumber>, protection: Option<Protection> },
    /// A call of before the start goes on, with the sockets that were opened for it. What comes under its keys may have
    /// rolled over so often.
    Resume {
        phone: GatewayId,
        call: CallNumber,
        media: CallMedia,
        protection: Option<Protection>,
        roll_overs_most: u32,
    },
    /// A trunk came up, or was lost.
    Trunk { trunk: TrunkId, is_up: bool },
    /// The sockets of this call are not needed any more, if they were not handed over.
    Close(CallNumber),
}

impl Act {
    /// Something became of a phone that is no media.
    pub fn tell(phone: GatewayId, sign: PhoneSign) -> Self {
        Self::Tell { phone, sign, begins: None, protection: None }
    }
}

/// Opens sockets for a call's media; `None` if there are none.
pub type OpenMedia<'a> = &'a mut dyn FnMut(CallNumber) -> Option<LocalMedia>;

/// What was counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub datagrams: u64,
    /// Not looked at: more than their source may send.
    pub over_rate: u64,
    pub gate: BTreeMap<GateFault, u64>,
    /// Asked who they are.
    pub challenged: u64,
    /// Answered that with something that is not right.
    pub not_authentic: u64,
    /// Final answers by status.
    pub answers: BTreeMap<u16, u64>,
    /// Answers that would have been too long for what provoked them.
    pub too_long: u64,
    pub calls_begun: u64,
    /// Of them, with keys for their media.
    pub calls_encrypted: u64,
    /// Calls of before the start that went on.
    pub calls_resumed: u64,
    /// Calls of ours that did not come about.
    pub calls_failed: BTreeMap<Failure, u64>,
    pub calls_ended: BTreeMap<CallEnd, u64>,
    /// Connections that were taken, and how they ended or why they were not.
    pub streams_begun: u64,
    pub streams_ended: BTreeMap<StreamEnd, u64>,
    /// Whether each trunk that was heard of is up.
    pub trunks: BTreeMap<TrunkId, bool>,
}

/// The whole of SIP.
pub struct Exchange {
    here: SocketAddr,
    places: Vec<Place>,
    secrets: BTreeMap<String, DigestSecret>,
    trunks: Trunks,
    standing: Standing,
    emergency_numbers: Vec<String>,
    rules: MediaRules,
    keys_in_clear: bool,
    guard: Guard,
    challenger: Challenger,
    registrar: Registrar<String>,
    transactions: Transactions,
    /// Calls of ours that are not up, or are remembered so that their answers are.
    dialling: Vec<Dialling>,
    calls: BTreeMap<CallNumber, Call>,
    /// Calls whose record is not as they are.
    changed: BTreeSet<CallNumber>,
    /// By our tag.
    call_by_tag: BTreeMap<String, CallNumber>,
    /// Users of whom control was told that they can be called.
    registered: BTreeSet<String>,
    names: Names,
    counters: Counters,
}

/// Where a request came from and what its transaction is.
struct Came {
    flow: Flow,
    key: ServerKey,
    /// What provoked whatever is answered (bytes).
    length: usize,
}

impl Exchange {
    /// Knows nobody yet.
    pub fn new(setting: Setting) -> Self {
        let Setting { here, here_tcp, realm, digests, codecs, keys_in_clear, places, secrets, .. } = setting;
        let Setting { trunks, gateways, emergency_numbers, key, .. } = setting;
        let nonces = Names::nonces(&key);
        Self {
            here,
            places,
            secrets,
            trunks: Trunks::new(here, trunks),
            standing: Standing::new(here, here_tcp, gateways),
            emergency_numbers,
            rules: MediaRules {
                formats: codecs.into_iter().map(Format::usual).collect(),
                security: MediaSecurity::Never,
                keys_may_cross: false,
                rtcp_mux: false,
                extensions: ExtensionIds::default(),
                events_needed: false,
            },
            keys_in_clear,
            guard: Guard::default(),
            challenger: Challenger::new(&realm, &digests, &nonces),
            registrar: Registrar::new(RegistrarLimits::default()),
            transactions: Transactions::default(),
            dialling: Vec::new(),
            calls: BTreeMap::new(),
            changed: BTreeSet::new(),
            call_by_tag: BTreeMap::new(),
            registered: BTreeSet::new(),
            names: Names::new(&key),
            counters: Counters::default(),
        }
    }

    /// A datagram came.
    pub fn handle(
        &mut self,
        bytes: &[u8],
        source: SocketAddr,
        now: MonoTime,
        open: OpenMedia<'_>,
        acts: &mut Vec<Act>,
    ) {
        self.hear(bytes, Flow::datagrams(self.here, source), now, open, acts);
    }

    /// A datagram, or a whole message of a connection, came.
    pub fn hear(&mut self, bytes: &[u8], flow: Flow, now: MonoTime, open: OpenMedia<'_>, acts: &mut Vec<Act>) {
        self.counters.datagrams += 1;
        let source = flow.remote;
        let is_known = self.registrar.knows(&flow) || self.trunks.at(&flow).is_some() || self.standing.has(source);
        if !self.guard.admits(source.ip(), is_known, now) {
            self.counters.over_rate += 1;
            return;
        }
        match gate::judge(bytes, source) {
            Passage::KeepAlive => self.registrar.heard(&flow, now),
            Passage::Refuse(fault, answer) => {
                *self.counters.gate.entry(fault).or_default() += 1;
                acts.push(Act::Send(Datagram { to: flow, bytes: answer }));
            }
            Passage::Drop(fault) => *self.counters.gate.entry(fault).or_default() += 1,
            Passage::Pass(length) => {
                self.registrar.heard(&flow, now);
                if let Some(message) = Message::read(&bytes[..length]) {
                    self.take(&message, flow, length, now, open, acts);
                }
            }
        }
    }

    /// Time passes: several times a second.
    pub fn tick(&mut self, now: MonoTime, acts: &mut Vec<Act>) {
        let mut out = Vec::new();
        let timed_out = self.transactions.tick(now, &mut out);
        send(out, acts);
        for end in timed_out {
            match end {
                TimedOut::Unacknowledged(key) => {
                    let of_it = |call: &&Call| call.invite.as_ref().is_some_and(|(invite, _)| *invite == key);
                    if let Some(number) = self.calls.values().find(of_it).map(|call| call.number) {
                        self.end(number, CallEnd::Unacknowledged, now, acts);
                    }
                }
                TimedOut::Unanswered(id) if self.trunks.awaits(id) => self.hear_trunk(id, None, now, acts),
                TimedOut::Unanswered(id) => self.take_answer(id, None, now, acts),
            }
        }
        let over: Vec<CallNumber> = self.calls.values().filter(|c| c.is_over(now)).map(|c| c.number).collect();
        over.into_iter().for_each(|number| self.end(number, CallEnd::Expired, now, acts));
        self.end_adrift(now, acts);
        let due =
            self.calls.values().filter_map(|call| Some((call.number, call.is_due(self.ping_ms(&call.phone), now)?)));
        for (number, what) in due.collect::<Vec<_>>() {
            self.ask(number, what, now, acts);
        }
        for user in self.registrar.expire(now) {
            self.tell_registered(&user, now, acts);
        }
        self.watch_trunks(now, acts);
        self.watch_dialling(now, acts);
    }

    /// Ends a phone's call, or with `None` all of them.
    pub fn hang_up(&mut self, phone: Option<&GatewayId>, now: MonoTime, acts: &mut Vec<Act>) {
        let of_it = |call: &&Call| phone.is_none_or(|phone| call.phone == *phone);
        let numbers: Vec<CallNumber> = self.calls.values().filter(of_it).map(|call| call.number).collect();
        numbers.into_iter().for_each(|number| self.end(number, CallEnd::Stopped, now, acts));
        self.give_up(phone, now, acts);
    }

    /// Phones in a call, and those that are being dialled from.
    pub fn in_call(&self) -> impl Iterator<Item = &GatewayId> {
        self.calls.values().map(|call| &call.phone).chain(self.dialled_from())
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn take(
        &mut self,
        message: &Message,
        flow: Flow,
        length: usize,
        now: MonoTime,
        open: OpenMedia<'_>,
        acts: &mut Vec<Act>,
    ) {
        if self.hear_dialled(message, &flow, now, acts) {
            return;
        }
        let mut out = Vec::new();
        let arrived = self.transactions.arrived(message, &flow, &mut out);
        send(out, acts);
        match arrived {
            Arrived::Again | Arrived::Acknowledged | Arrived::Nothing => {}
            Arrived::Answer(id) if self.trunks.awaits(id) => self.hear_trunk(id, Some(message), now, acts),
            Arrived::Answer(id) => {
                let Start::Response { status } = message.start else { return };
                self.take_answer(id, Some(status), now, acts);
            }
            Arrived::New => {
                let Some(key) = ServerKey::of(message, flow.remote) else { return };
                self.take_request(message, Came { flow, key, length }, now, open, acts);
            }
        }
    }

    fn take_request(&mut self, request: &Message, came: Came, now: MonoTime, open: OpenMedia<'_>, acts: &mut Vec<Act>) {
        let method = request.method().unwrap_or_default();
        let tag = request.value("to").and_then(|to| super::message::parameter(to, "tag"));
        let call = tag.and_then(|tag| self.find(tag, request, &came.flow));
        if method == "ACK" {
            return call.into_iter().for_each(|number| self.take_ack(number, request, now, acts));
        }
        if method == "CANCEL" {
            // Every INVITE has been answered by the time its CANCEL comes: nothing is left to be stopped.
            let invite = ServerKey::of_cancelled(request, came.flow.remote);
            let status = if invite.is_some_and(|key| self.transactions.knows(&key)) { 200 } else { 481 };
            return self.answer_stateless(request, &came, &Reply::of(status), acts);
        }
        if let Some(unknown) = self.unknown_extensions(request) {
            let reply = Reply::of(420).with("Unsupported", unknown);
            return self.answer_stateless(request, &came, &reply, acts);
        }
        match (tag, call) {
            (Some(_), None) => self.answer_stateless(request, &came, &Reply::of(481), acts),
            (Some(_), Some(number)) => self.take_in_dialog(number, request, &came, now, acts),
            (None, _) => match method {
                "REGISTER" => self.register(request, &came, now, acts),
                "INVITE" => self.invite(request, &came, now, open, acts),
                "OPTIONS" => self.answer_stateless(request, &came, &Reply::of(200), acts),
                "BYE" | "UPDATE" | "INFO" | "PRACK" => self.answer_stateless(request, &came, &Reply::of(481), acts),
                "REFER" => self.answer_stateless(request, &came, &Reply::of(603), acts),
                "MESSAGE" | "NOTIFY" | "SUBSCRIBE" | "PUBLISH" => {
                    self.answer_stateless(request, &came, &Reply::of(405), acts);
                }
                _ => self.answer_stateless(request, &came, &Reply::of(501), acts),
            },
        }
    }

    fn take_in_dialog(
        &mut self,
        number: CallNumber,
        request: &Message,
        came: &Came,
        now: MonoTime,
        acts: &mut Vec<Act>,
    ) {
        let secrets = self.names.secrets();
        let Some(rules) = self.calls.get(&number).map(|call| self.rules_of(&call.phone, &came.flow)) else { return };
        let Some(call) = self.calls.get_mut(&number) else { return };
        if !call.dialog.take(request, came.flow) {
            return self.answer_stateless(request, came, &Reply::of(500), acts);
        }
        let before = call.invite.clone();
        self.changed.insert(number);
        let tag = call.dialog.local_tag.clone();
        let (reply, outcome) = call.request(request, &came.key, (&rules, &secrets), now);
        // Whoever goes on has seen our answer, whatever became of its ACK.
        let replaced = before.filter(|before| call.invite.as_ref() != Some(before));
        replaced.into_iter().for_each(|(key, _)| self.transactions.acknowledged(&key));
        self.answer(request, came, &reply, Some(&tag), now, acts);
        self.carry_out(number, outcome, None, now, acts);
    }

    fn take_ack(&mut self, number: CallNumber, ack: &Message, now: MonoTime, acts: &mut Vec<Act>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let begins = call.is_without_media().then_some(number);
        self.changed.insert(number);
        let Some((key, outcome)) = call.acknowledge(ack, now) else { return };
        self.transactions.acknowledged(&key);
        self.carry_out(number, outcome, begins, now, acts);
    }

    fn carry_out(
        &mut self,
        number: CallNumber,
        outcome: Outcome,
        begins: Option<CallNumber>,
        now: MonoTime,
        acts: &mut Vec<Act>,
    ) {
        let Some(phone) = self.calls.get(&number).map(|call| call.phone.clone()) else { return };
        match outcome {
            Outcome::Stays => {}
            Outcome::Media(media, protection) => {
                self.counters.calls_encrypted += u64::from(begins.is_some() && protection.is_some());
                acts.push(Act::Tell { phone, sign: PhoneSign::Media(media), begins, protection });
            }
            Outcome::Key(keyed) => acts.push(Act::tell(phone, PhoneSign::Key(keyed))),
            Outcome::Over(why) => self.end(number, why, now, acts),
        }
    }

    /// A call is over: its port is closed before anything is said about it.
    fn end(&mut self, number: CallNumber, why: CallEnd, now: MonoTime, acts: &mut Vec<Act>) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        self.changed.insert(number);
        self.call_by_tag.remove(&call.dialog.local_tag);
        *self.counters.calls_ended.entry(why).or_default() += 1;
        acts.push(Act::tell(call.phone.clone(), PhoneSign::Ended));
        acts.push(Act::Close(number));
        self.note_down(&call.phone, None, now);
        if let Some((key, _)) = call.invite.take() {
            self.transactions.acknowledged(&key);
        }
        if why.needs_bye() {
            self.say_bye(&mut call.dialog, now, acts);
        }
    }

    fn say_bye(&mut self, dialog: &mut Dialog, now: MonoTime, acts: &mut Vec<Act>) {
        let (id, branch) = self.names.branch();
        let bytes = dialog.request("BYE", &branch).bytes();
        self.request(id, branch, Datagram { to: dialog.flow, bytes }, now, acts);
    }

    fn ask(&mut self, number: CallNumber, what: Asked, now: MonoTime, acts: &mut Vec<Act>) {
        let (id, branch) = self.names.branch();
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.asks(id, what, now);
        let to = call.dialog.flow;
        let text = match what {
            Asked::Options => call.dialog.request("OPTIONS", &branch),
            Asked::Update => {
                let text = call.dialog.request("UPDATE", &branch).line("Contact", &to.contact());
                match call.session() {
                    Some(session) => session.write_refresh(text),
                    None => text,
                }
            }
        };
        let bytes = text.bytes();
        self.request(id, branch, Datagram { to, bytes }, now, acts);
    }

    fn request(&mut self, id: ClientId, branch: String, request: Datagram, now: MonoTime, acts: &mut Vec<Act>) {
        let mut out = Vec::new();
        self.transactions.request(id, branch, request, now, &mut out);
        send(out, acts);
    }

    fn take_answer(&mut self, id: ClientId, status: Option<u16>, now: MonoTime, acts: &mut Vec<Act>) {
        let Some(call) = self.calls.values_mut().find(|call| call.awaits(id)) else { return };
        let (number, outcome) = (call.number, call.answered(status, now));
        self.carry_out(number, outcome, None, now, acts);
    }

    /// Whoever began over a way that nobody reads goes on over such a one.
    fn find(&self, tag: &str, request: &Message, flow: &Flow) -> Option<CallNumber> {
        let call = self.calls.get(self.call_by_tag.get(tag)?)?;
        let is_its = request.value("call-id") == Some(&call.dialog.call_id) && call.dialog.is_from_peer(request);
        let is_kept = flow.transport.is_secret() || !call.dialog.flow.transport.is_secret();
        (is_its && is_kept).then_some(call.number)
    }

    /// What a request requires and we do not have.
    fn unknown_extensions(&self, request: &Message) -> Option<String> {
        let unknown: Vec<&str> =
            request.list("require").into_iter().filter(|option| !option.eq_ignore_ascii_case("timer")).collect();
        (!unknown.is_empty()).then(|| unknown.join(", "))
    }
}

fn send(out: Vec<Datagram>, acts: &mut Vec<Act>) {
    acts.extend(out.into_iter().map(Act::Send));
}

/// Calls at once: more than the ports of a daemon.
const CALLS_MAX: usize = 4096;
