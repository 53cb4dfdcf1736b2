//! How requests are answered: with state for whom we know, without for everybody else.

use super::{Act, Came, Exchange, send};
use crate::domain::time::MonoTime;
use crate::sip::call::Reply;
use crate::sip::flow::Flow;
use crate::sip::message::{Message, Writer};
use crate::sip::transaction::Datagram;

/// What may be asked of us.
const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, REGISTER";

impl Exchange {
    /// Answers and remembers the answer for whoever asks again. `tag` is a dialog's.
    pub(super) fn answer(
        &mut self,
        request: &Message,
        came: &Came,
        reply: &Reply,
        tag: Option<&str>,
        now: MonoTime,
        acts: &mut Vec<Act>,
    ) {
        *self.counters.answers.entry(reply.status).or_default() += 1;
        let bytes = self.write(request, came, reply, tag);
        let to = return_address(request, came);
        let mut out = Vec::new();
        if !self.transactions.respond(&came.key, to, reply.status, bytes.clone(), now, &mut out) {
            acts.push(Act::Send(Datagram { to, bytes }));
        }
        send(out, acts);
    }

    /// Answers and forgets; the same request gets the same answer. Never much longer than what provoked it.
    pub(super) fn answer_stateless(&mut self, request: &Message, came: &Came, reply: &Reply, acts: &mut Vec<Act>) {
        let bytes = self.write(request, came, reply, None);
        if bytes.len() > GROWTH_MAX * came.length {
            self.counters.too_long += 1;
            return;
        }
        *self.counters.answers.entry(reply.status).or_default() += 1;
        acts.push(Act::Send(Datagram { to: return_address(request, came), bytes }));
    }

    fn write(&self, request: &Message, came: &Came, reply: &Reply, tag: Option<&str>) -> Vec<u8> {
        let stateless = self.names.of_request(&came.key);
        let mut text = Writer::response(request, reply.status, Some(tag.unwrap_or(&stateless)), came.flow.remote);
        for (name, value) in &reply.lines {
            text = text.line(name, value);
        }
        let begins_dialog = matches!(request.method(), Some("INVITE" | "UPDATE")) && reply.status < 300;
        if begins_dialog {
            text = text.line("Contact", &came.flow.contact());
        }
        if begins_dialog || matches!(reply.status, 405 | 501) || request.method() == Some("OPTIONS") {
            text = text.line("Allow", ALLOW).line("Supported", "timer");
        }
        if request.method() == Some("INVITE") && reply.status < 300 {
            for route in request.values("record-route") {
                text = text.line("Record-Route", route);
            }
        }
        if request.method() == Some("OPTIONS") {
            text = text.line("Accept", "application/sdp");
        }
        match &reply.description {
            Some(description) => text.with_description(description.as_str()),
            None => text.bytes(),
        }
    }
}

/// Over the connection that it came over; of a datagram, RFC 3581 section 4: to where it came from if it asked for that,
/// else to the port it names at that address.
fn return_address(request: &Message, came: &Came) -> Flow {
    let vias = request.list("via");
    let via = vias.first().copied().unwrap_or_default();
    if came.flow.transport.is_reliable() || crate::sip::message::parameter(via, "rport").is_some() {
        return came.flow;
    }
    let sent_by = via.split(';').next().and_then(|sent| sent.split_ascii_whitespace().last()).unwrap_or_default();
    let after_host = sent_by.rsplit_once(']').map_or(sent_by, |(_, port)| port);
    let port = after_host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let remote = std::net::SocketAddr::new(came.flow.remote.ip(), port.unwrap_or(DEFAULT_PORT));
    Flow { remote, ..came.flow }
}

/// RFC 3261 section 18.2.2.
const DEFAULT_PORT: u16 = 5060;
/// As at the gate: whoever is named as the source need not have sent it.
const GROWTH_MAX: usize = 2;
