//! What connections that come and go mean: a phone whose connection is gone cannot be called, and its call waits a while
//! for it to come back.

use std::collections::BTreeSet;

use super::{Act, Exchange};
use crate::domain::time::MonoTime;
use crate::sip::call::{Call, CallEnd, CallNumber};
use crate::sip::flow::Flow;
use crate::sip::stream::StreamEnd;

impl Exchange {
    /// A connection was made.
    pub fn connected(&mut self) {
        self.counters.streams_begun += 1;
    }

    /// A connection was not made.
    pub fn not_connected(&mut self, why: StreamEnd) {
        *self.counters.streams_ended.entry(why).or_default() += 1;
    }

    /// A connection is gone (RFC 5626 section 5.3): nobody is registered over it any more.
    pub fn lost(&mut self, flow: &Flow, why: StreamEnd, now: MonoTime, acts: &mut Vec<Act>) {
        *self.counters.streams_ended.entry(why).or_default() += 1;
        self.lose_way(flow, why, now, acts);
        let standing = &self.standing;
        let is_adrift = |call: &&mut Call| call.dialog.flow == *flow && standing.setting(&call.phone).is_none();
        for call in self.calls.values_mut().filter(is_adrift) {
            call.lost(now);
        }
        for user in self.registrar.lost(flow, now) {
            self.tell_registered(&user, now, acts);
        }
    }

    /// A keep-alive came over a connection.
    pub fn pinged(&mut self, flow: &Flow, now: MonoTime) {
        self.registrar.heard(flow, now);
    }

    /// Connections that phones are reached over.
    pub fn needed_flows(&self) -> BTreeSet<Flow> {
        let of_calls = self.calls.values().map(|call| call.dialog.flow);
        let of_dialled = self.dialling.iter().map(super::dial::Dialling::flow);
        self.registrar.flows().copied().chain(of_calls).chain(of_dialled).collect()
    }

    /// Who registers over a new connection goes on with its calls over it.
    pub(super) fn find_calls(&mut self, user: &str, flow: Flow, now: MonoTime) {
        let places = &self.places;
        let is_its = |phone: &_| places.iter().any(|place| place.user == user && place.phone == *phone);
        for call in self.calls.values_mut().filter(|call| is_its(&call.phone)) {
            let is_kept = flow.transport.is_secret() || !call.dialog.flow.transport.is_secret();
            if is_kept {
                call.found(flow, now);
                self.changed.insert(call.number);
            }
        }
    }

    pub(super) fn end_adrift(&mut self, now: MonoTime, acts: &mut Vec<Act>) {
        let gone: Vec<CallNumber> = self.calls.values().filter(|c| c.is_gone(now)).map(|c| c.number).collect();
        gone.into_iter().for_each(|number| self.end(number, CallEnd::Gone, now, acts));
    }
}
