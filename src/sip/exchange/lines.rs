//! Who calls whom: phones by their password, trunks by their address or theirs; which place a number reaches; and what
//! becomes of trunks.

use std::net::SocketAddr;

use super::{Act, Came, Exchange, Place};
use crate::domain::id::{GatewayId, TrunkId};
use crate::domain::time::MonoTime;
use crate::sip::call::Reply;
use crate::sip::flow::Transport;
use crate::sip::message::{Message, Start, dialled_of, uri_of};
use crate::sip::transaction::ClientId;
use crate::sip::trunk::{Account, Asking};

/// What a number reaches.
pub(super) enum Reached {
    Place(GatewayId),
    /// All lines at that number are in calls.
    Busy,
    Nobody,
    /// It is not ours to answer.
    Emergency(String),
}

impl Place {
    /// The user that a trunk known by its address is here; no phone can have this name.
    pub fn user_of_trunk(trunk: &TrunkId) -> String {
        format!("trunk:{trunk}")
    }
}

impl Exchange {
    /// The user that calls, or it has been asked who it is. A trunk's address is its password: over datagrams that is
    /// worth what the network is worth, which whoever configured it has accepted.
    pub(super) fn caller(
        &mut self,
        request: &Message,
        came: &Came,
        now: MonoTime,
        acts: &mut Vec<Act>,
    ) -> Option<String> {
        match self.trunks.at(&came.flow) {
            Some(trunk) => Some(Place::user_of_trunk(&trunk.id)),
            None => self.authenticated(request, came, now, acts),
        }
    }

    /// What a call of this user reaches. Without a number of anybody, a phone's first place.
    pub(super) fn reach(&self, user: &str, request: &Message) -> Reached {
        let Start::Request { uri, .. } = &request.start else { return Reached::Nobody };
        let mut dialled = dialled_of(uri);
        let own = || self.places.iter().filter(|place| place.user == user);
        if self.calls_by_registration(user, &dialled) {
            // A PBX that calls whom it knows by a registration: the number stands in To.
            dialled = request.value("to").map(|to| dialled_of(uri_of(to))).unwrap_or_default();
        }
        let is_trunk = self.trunks.of_user(user).is_some() || own().any(|place| place.is_line);
        if self.emergency_numbers.contains(&dialled) {
            // One that a trunk sends here would go round in a circle.
            return if is_trunk { Reached::Nobody } else { Reached::Emergency(dialled) };
        }
        if !is_trunk && (dialled.is_empty() || dialled == user) {
            return own().next().map_or(Reached::Nobody, |place| Reached::Place(place.phone.clone()));
        }
        let mut at = own().filter(|place| place.dialled.contains(&dialled)).peekable();
        if at.peek().is_none() {
            return Reached::Nobody;
        }
        let is_free = |place: &&Place| !place.is_line || self.calls.values().all(|call| call.phone != place.phone);
        at.find(is_free).map_or(Reached::Busy, |place| Reached::Place(place.phone.clone()))
    }

    /// Whether that is the name in a registration that stands between us and the trunk whose calls are this user's.
    fn calls_by_registration(&self, user: &str, dialled: &str) -> bool {
        let by_ours =
            |(trunk, account): (&TrunkId, &Account)| Place::user_of_trunk(trunk) == user && account.user == dialled;
        self.trunks.accounts().any(by_ours) || dialled == user && self.trunks.of_user(user).is_some()
    }

    /// A phone that dials an emergency number is told who answers those.
    pub(super) fn redirect(&self, number: &str, now: MonoTime) -> Reply {
        match self.trunks.emergency_peer(|user| self.registered_at(user, now), now) {
            Some(peer) => Reply::of(302).with("Contact", format!("<sip:{number}@{peer}>")),
            None => Reply::of(404),
        }
    }

    /// Where the PBX is that registers here as this user.
    pub(super) fn registered_at(&self, user: &str, now: MonoTime) -> Vec<SocketAddr> {
        let bindings = self.registrar.bindings(&user.to_owned(), now);
        let flows = bindings.iter().map(|binding| binding.flow).filter(|flow| flow.transport == Transport::Udp);
        flows.map(|flow| flow.remote).collect()
    }

    /// Asks trunks whether they live, and tells what changed.
    pub(super) fn watch_trunks(&mut self, now: MonoTime, acts: &mut Vec<Act>) {
        for asking in self.trunks.ask(&mut self.names, now) {
            self.ask_trunk(asking, now, acts);
        }
        for (trunk, is_up) in self.trunks.news(now) {
            self.tell_places(&Place::user_of_trunk(&trunk), is_up, acts);
            self.tell_trunk(trunk, is_up, acts);
        }
    }

    /// An answer of a trunk came, or will not.
    pub(super) fn hear_trunk(&mut self, id: ClientId, answer: Option<&Message>, now: MonoTime, acts: &mut Vec<Act>) {
        if let Some(asking) = self.trunks.answered(id, answer, &mut self.names, now) {
            self.ask_trunk(asking, now, acts);
        }
        self.watch_trunks(now, acts);
    }

    pub(super) fn tell_trunk(&mut self, trunk: TrunkId, is_up: bool, acts: &mut Vec<Act>) {
        self.counters.trunks.insert(trunk.clone(), is_up);
        acts.push(Act::Trunk { trunk, is_up });
    }

    fn ask_trunk(&mut self, asking: Asking, now: MonoTime, acts: &mut Vec<Act>) {
        let Asking { id, branch, request } = asking;
        self.request(id, branch, request, now, acts);
    }
}
