//! How the exchange keeps the calls of radio gateways up: it calls, takes their calls as theirs and nobody else's, and
//! asks often whether they live.

use std::net::SocketAddr;

use super::lines::Reached;
use super::{Act, Came, Exchange, OpenMedia};
use crate::domain::call::PhoneSign;
use crate::domain::id::GatewayId;
use crate::domain::time::MonoTime;
use crate::sip::call::{Call, CallEnd, CallNumber, PING_MS, Reply};
use crate::sip::flow::Flow;
use crate::sip::message::Message;
use crate::sip::outgoing::Failure;
use crate::sip::stream::StreamEnd;

impl Exchange {
    /// Tells which gateways the configuration in force has, and at which address: others are hung up on and not called.
    pub fn want(&mut self, is_wanted: impl Fn(&GatewayId, SocketAddr) -> bool, now: MonoTime, acts: &mut Vec<Act>) {
        for gateway in self.standing.want(is_wanted, now) {
            self.hang_up(Some(&gateway), now, acts);
        }
    }

    /// Calls every gateway that it is time for. Several times a second.
    pub fn keep_up(&mut self, now: MonoTime, open: OpenMedia<'_>, acts: &mut Vec<Act>) {
        for gateway in self.standing.due(now) {
            if self.in_call().any(|other| *other == gateway) {
                continue;
            }
            let Some(called) = self.standing.called(&gateway) else { continue };
            self.call(&gateway, called, now, open, acts);
        }
        for gateway in self.standing.missing(now) {
            acts.push(Act::tell(gateway, PhoneSign::Ended));
        }
        let silent = self
            .calls
            .values()
            .filter(|call| self.standing.setting(&call.phone).is_some() && call.is_unanswered(PATIENCE_MS, now));
        let silent: Vec<CallNumber> = silent.map(|call| call.number).collect();
        silent.into_iter().for_each(|number| self.end(number, CallEnd::Lost, now, acts));
    }

    /// The gateway whose call this is may have it: `None` if it has been asked who it is.
    pub(super) fn admit_gateway(
        &mut self,
        (gateway, proves): (GatewayId, Option<String>),
        request: &Message,
        came: &Came,
        now: MonoTime,
        acts: &mut Vec<Act>,
    ) -> Option<Reached> {
        if let Some(user) = proves
            && self.authenticated(request, came, now, acts)? != user
        {
            self.answer(request, came, &Reply::of(403), None, now, acts);
            return None;
        }
        let is_called = self.dialled_from().any(|other| *other == gateway);
        // Its new call takes an old one's place: it knows best whether it still had that.
        Some(if is_called && !self.standing.goes_first(&gateway) { Reached::Busy } else { Reached::Place(gateway) })
    }

    /// A call of a gateway ended, or did not come about.
    pub(super) fn note_down(&mut self, phone: &GatewayId, why: Option<Failure>, now: MonoTime) {
        if self.standing.setting(phone).is_none() {
            return;
        }
        let is_refused = match why {
            Some(Failure::NotAccepted) => true,
            Some(
                Failure::Silent | Failure::Refused(_) | Failure::NotAnswered | Failure::GivenUp | Failure::NoMedia,
            )
            | None => false,
        };
        let random = self.names.number();
        self.standing.ended(phone, is_refused, random, now);
    }

    /// A connection to a gateway is gone. Its call is not, before another was tried; what was being dialled over it is.
    pub(super) fn lose_way(&mut self, flow: &Flow, why: StreamEnd, now: MonoTime, acts: &mut Vec<Act>) {
        for at in 0..self.dialling.len() {
            if self.dialling[at].flow() == *flow {
                self.lose_dialled(at, now, acts);
            }
        }
        let of_gateway = |call: &Call| call.dialog.flow == *flow && self.standing.setting(&call.phone).is_some();
        let theirs: Vec<CallNumber> =
            self.calls.values().filter(|call| of_gateway(call)).map(|call| call.number).collect();
        for number in theirs {
            let Some(call) = self.calls.get_mut(&number) else { continue };
            match self.standing.way_to(&call.phone) {
                Some(way) if why != StreamEnd::Unreached && !call.is_doubted() => call.moved(way),
                Some(_) | None => self.end(number, CallEnd::Lost, now, acts),
            }
        }
    }

    /// How often a far side that says nothing is asked whether it lives (ms).
    pub(super) fn ping_ms(&self, phone: &GatewayId) -> u64 {
        if self.standing.setting(phone).is_some() { GATEWAY_PING_MS } else { PING_MS }
    }
}

/// A channel that is down unnoticed is worse than a packet every ten seconds (ms).
const GATEWAY_PING_MS: u64 = 10_000;
/// So long without an answer is dead (ms), as for trunks: five repetitions were lost.
const PATIENCE_MS: u64 = 8_000;
