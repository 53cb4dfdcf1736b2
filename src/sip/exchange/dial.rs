//! Calls of ours: a line dials through its trunks, peer after peer, until one of them takes the call on or says no.

use std::net::SocketAddr;

use super::{Act, Exchange, OpenMedia, send};
use crate::domain::call::PhoneSign;
use crate::domain::id::{GatewayId, TrunkId};
use crate::domain::time::MonoTime;
use crate::sip::call::CallNumber;
use crate::sip::digest::Respondent;
use crate::sip::flow::Flow;
use crate::sip::message::Message;
use crate::sip::offer::LocalMedia;
use crate::sip::outgoing::{Called, Failure, News, Outgoing, Step};
use crate::sip::transaction::Datagram;

/// A number on its way.
#[derive(Debug)]
pub(super) struct Dialling {
    outgoing: Outgoing,
    way: Way,
    /// Nobody waits for it any more; it is here so that late answers are answered.
    is_settled: bool,
}

/// Where a number may still be tried.
#[derive(Debug)]
struct Way {
    dialled: String,
    local: LocalMedia,
    /// Peers that are left, the best last.
    peers: Vec<(TrunkId, SocketAddr)>,
}

impl Dialling {
    /// The way it goes.
    pub fn flow(&self) -> Flow {
        self.outgoing.flow()
    }
}

impl Exchange {
    /// Has a line dial a number through its trunks, the preferred one first. What becomes of it is told of the line, and
    /// in any case that it ended. A line in a call goes on with that.
    pub fn dial(
        &mut self,
        line: &GatewayId,
        (trunks, dialled): (&[TrunkId], &str),
        now: MonoTime,
        open: OpenMedia<'_>,
        acts: &mut Vec<Act>,
    ) {
        if self.in_call().any(|phone| phone == line) {
            return;
        }
        let number = self.names.number();
        let has_room = self.dialling.len() < DIALLING_MAX;
        let Some(local) = open(number).filter(|_| has_room) else {
            acts.push(Act::Close(number));
            return acts.push(Act::tell(line.clone(), PhoneSign::Ended));
        };
        let mut peers = self.trunks.ways_out(trunks, |user| self.registered_at(user, now), now);
        peers.reverse();
        self.try_next((line.clone(), number), Way { dialled: dialled.to_owned(), local, peers }, now, acts);
    }

    /// Calls through the next peer; without one that was it.
    fn try_next(&mut self, (line, number): (GatewayId, CallNumber), mut way: Way, now: MonoTime, acts: &mut Vec<Act>) {
        let mut out = Vec::new();
        let begun = way.peers.pop().and_then(|(trunk, peer)| {
            let called = self.called(&trunk, &way.dialled, peer);
            self.begin((line.clone(), number), called, way.local, now, &mut out)
        });
        send(out, acts);
        match begun {
            Some(outgoing) => self.dialling.push(Dialling { outgoing, way, is_settled: false }),
            None => {
                acts.push(Act::tell(line, PhoneSign::Ended));
                acts.push(Act::Close(number));
            }
        }
    }

    fn begin(
        &mut self,
        (phone, number): (GatewayId, CallNumber),
        called: Called,
        local: LocalMedia,
        now: MonoTime,
        out: &mut Vec<Datagram>,
    ) -> Option<Outgoing> {
        let (rules, secrets) = (self.rules_of(&phone, &called.flow), self.names.secrets());
        Outgoing::begin(called, (phone, number), (local, &rules, &secrets), &mut self.names, now, out).ok()
    }

    /// Calls a gateway, once.
    pub(super) fn call(
        &mut self,
        gateway: &GatewayId,
        called: Called,
        now: MonoTime,
        open: OpenMedia<'_>,
        acts: &mut Vec<Act>,
    ) {
        let number = self.names.number();
        let has_room = self.dialling.len() < DIALLING_MAX;
        let mut out = Vec::new();
        let local = open(number).filter(|_| has_room);
        let begun =
            local.and_then(|local| Some((local, self.begin((gateway.clone(), number), called, local, now, &mut out)?)));
        send(out, acts);
        match begun {
            Some((local, outgoing)) => {
                let way = Way { dialled: String::new(), local, peers: Vec::new() };
                self.dialling.push(Dialling { outgoing, way, is_settled: false });
            }
            None => {
                acts.push(Act::Close(number));
                self.note_down(gateway, None, now);
            }
        }
    }

    /// The connection is gone over which this was dialled.
    pub(super) fn lose_dialled(&mut self, at: usize, now: MonoTime, acts: &mut Vec<Act>) {
        let step = self.dialling[at].outgoing.lost();
        self.follow(at, step, now, acts);
    }

    fn called(&self, trunk: &TrunkId, dialled: &str, peer: SocketAddr) -> Called {
        let account = self.trunks.account_of(trunk);
        let domain = account.and_then(|account| account.domain.clone()).unwrap_or_else(|| peer.to_string());
        let caller = match account {
            Some(account) => format!("sip:{}@{domain}", account.user),
            None => format!("sip:{}", self.here),
        };
        let respondent = |account: &crate::sip::trunk::Account| {
            Respondent::new(&account.user, &account.realm, account.secret.clone())
        };
        let uri = format!("sip:{dialled}@{domain}");
        Called { uri, caller, flow: Flow::datagrams(self.here, peer), respondent: account.map(respondent) }
    }

    /// Whether a message was an answer to a call of ours.
    pub(super) fn hear_dialled(&mut self, message: &Message, flow: &Flow, now: MonoTime, acts: &mut Vec<Act>) -> bool {
        let is_answer = message.method().is_none();
        let is_its = |dialling: &Dialling| {
            is_answer && dialling.flow().transport == flow.transport && dialling.outgoing.awaits(message)
        };
        let Some(at) = self.dialling.iter().position(is_its) else { return false };
        let mut out = Vec::new();
        let step = self.dialling[at].outgoing.take(message, *flow, &mut self.names, now, &mut out);
        send(out, acts);
        self.follow(at, step, now, acts);
        true
    }

    pub(super) fn watch_dialling(&mut self, now: MonoTime, acts: &mut Vec<Act>) {
        for at in 0..self.dialling.len() {
            let mut out = Vec::new();
            let step = self.dialling[at].outgoing.tick(now, &mut out);
            send(out, acts);
            self.follow(at, step, now, acts);
        }
        self.dialling.retain(|dialling| !dialling.outgoing.is_over());
    }

    /// Wants a line's call no more, or with `None` nobody's.
    pub(super) fn give_up(&mut self, line: Option<&GatewayId>, now: MonoTime, acts: &mut Vec<Act>) {
        let mut out = Vec::new();
        let of_it = |dialling: &&mut Dialling| line.is_none_or(|line| dialling.outgoing.phone == *line);
        for dialling in self.dialling.iter_mut().filter(of_it).filter(|dialling| !dialling.is_settled) {
            dialling.is_settled = true;
            dialling.outgoing.give_up(now, &mut out);
            *self.counters.calls_failed.entry(Failure::GivenUp).or_default() += 1;
            acts.push(Act::tell(dialling.outgoing.phone.clone(), PhoneSign::Ended));
            acts.push(Act::Close(dialling.outgoing.number));
        }
        send(out, acts);
    }

    pub(super) fn dialled_from(&self) -> impl Iterator<Item = &GatewayId> {
        self.dialling.iter().filter(|dialling| !dialling.is_settled).map(|dialling| &dialling.outgoing.phone)
    }

    fn follow(&mut self, at: usize, step: Step, now: MonoTime, acts: &mut Vec<Act>) {
        if let Some(mut dialog) = step.hang_up {
            self.say_bye(&mut dialog, now, acts);
        }
        let dialling = &mut self.dialling[at];
        let (line, number) = (dialling.outgoing.phone.clone(), dialling.outgoing.number);
        let Some(news) = step.news.filter(|_| !dialling.is_settled) else { return };
        match news {
            News::Rings => acts.push(Act::tell(line, PhoneSign::Rings)),
            News::Up(call) => {
                dialling.is_settled = true;
                self.counters.calls_begun += 1;
                let (media, protection) = call.agreed_media().expect("what is up has agreed on its media");
                self.counters.calls_encrypted += u64::from(protection.is_some());
                self.call_by_tag.insert(call.dialog.local_tag.clone(), number);
                self.calls.insert(number, *call);
                self.changed.insert(number);
                self.standing.began(&line, now);
                acts.push(Act::Tell { phone: line, sign: PhoneSign::Media(media), begins: Some(number), protection });
            }
            News::Failed(why) => {
                dialling.is_settled = true;
                *self.counters.calls_failed.entry(why).or_default() += 1;
                self.note_down(&line, Some(why), now);
                let dialling = &mut self.dialling[at];
                let peers = if why.is_peers() { std::mem::take(&mut dialling.way.peers) } else { Vec::new() };
                let way = Way { dialled: std::mem::take(&mut dialling.way.dialled), peers, ..dialling.way };
                self.try_next((line, number), way, now, acts);
            }
        }
    }
}

/// Calls of ours that are remembered at once: more than the lines of a daemon.
const DIALLING_MAX: usize = 256;
