//! What signalling says of phones, and lines that dial. A call is nobody's decision: whoever may be a phone was configured,
//! whom it hears is in the routes already. Whom a dispatcher dials is the dispatcher's, and it is durable before it is dialled.
//!
//! ```text
//!   Dial, durable -> rings -> answered: waits, alone, asked every 3 s -- star --> in: as its link says
//!        \________________________________________________________\______________\-> over: its link ends
//! ```
//!
//! A line is dialled with anew only when signalling has said that its last call is over, so whatever is said of a line is
//! said of its last link.

use std::collections::BTreeMap;

use crate::domain::call::{CallMedia, PhoneSign};
use crate::domain::command::Command;
use crate::domain::event::{Alarm, Event, Recorded, Stream};
use crate::domain::id::{GatewayId, LinkId, PortId};
use crate::domain::incident::{Actor, UnlinkCause};
use crate::domain::order::{Notice, Order, RouteTable};
use crate::domain::refusal::Refusal;
use crate::domain::report::Report;
use crate::domain::time::{MonoTime, Now};

use super::super::live::Dialled;
use super::super::reports::set_alarm;
use super::super::state::State;
use super::{Control, Output};

impl Control {
    pub(super) fn hear_of_phone(&mut self, phone: GatewayId, sign: PhoneSign, now: Now, out: &mut Vec<Output>) {
        let known = self.state.configuration.gateways.get(&phone);
        let Some(gateway) = known.filter(|gateway| gateway.kind.comes_by_call()) else { return };
        let (port, dials, is_phone) = (PortId::of_gateway(&phone), gateway.kind.dials(), gateway.kind.is_phone());
        match sign {
            PhoneSign::Registered(true) => drop(self.live.registered.insert(phone)),
            PhoneSign::Registered(false) => drop(self.live.registered.remove(&phone)),
            PhoneSign::Rings => {
                if let Some(dialled @ Dialled::Begun) = self.live.dialled.get_mut(&port) {
                    *dialled = Dialled::Rings;
                }
            }
            PhoneSign::Key(keyed) => self.key(port, keyed, now.mono, out),
            PhoneSign::Media(media) => {
                // A change of the port waits for its burst; and what is keyed on hold would talk when it is resumed.
                self.key(port, false, now.mono, out);
                self.note_media(port, media, dials, now.mono);
                self.enforce(now.mono, out);
                self.note_gateway(phone, !is_phone, false, now, out);
            }
            PhoneSign::Ended => {
                self.live.calls.remove(&port);
                self.live.dialled.remove(&port);
                self.enforce(now.mono, out);
                self.unlink(&phone, now, out);
                self.note_gateway(phone, !is_phone, true, now, out);
            }
        }
    }

    /// A radio gateway is lost while its call is down; a phone has only hung up.
    fn note_gateway(&mut self, gateway: GatewayId, is_gateway: bool, lost: bool, now: Now, out: &mut Vec<Output>) {
        if is_gateway {
            let records = set_alarm(&self.state, Alarm::GatewayLost { gateway }, lost, now);
            self.record(records, now, out);
        }
    }

    fn note_media(&mut self, port: PortId, media: CallMedia, dials: bool, now: MonoTime) {
        match self.live.dialled.get_mut(&port) {
            Some(Dialled::Waits { media: before, .. }) => *before = media,
            Some(Dialled::Begun | Dialled::Rings) | None if dials => {
                let waits = Dialled::Waits { media, since: now, asked: None };
                self.live.dialled.insert(port, waits);
            }
            Some(Dialled::Begun | Dialled::Rings | Dialled::Confirmed) | None => {
                self.live.calls.insert(port, media);
            }
        }
    }

    /// Whoever was dialled and presses the star where nobody is comes in. It has not talked yet: its key is lifted.
    pub(super) fn confirm(&mut self, report: &Report, now: MonoTime, out: &mut Vec<Output>) {
        let Report::BurstStarted { port, at, .. } = report else { return };
        let Some(Dialled::Waits { media, since, .. }) = self.live.dialled.get(port) else { return };
        if at < since {
            return;
        }
        let media = media.clone();
        self.key(*port, false, now, out);
        self.live.calls.insert(*port, media);
        self.live.dialled.insert(*port, Dialled::Confirmed);
        self.enforce(now, out);
    }

    /// Asks everybody who was dialled and waits. An answering machine is not asked for ever.
    pub(super) fn prompt(&mut self, now: Now, out: &mut Vec<Output>) {
        let (mut prompts, mut late) = (Vec::new(), Vec::new());
        for (port, dialled) in &mut self.live.dialled {
            let Dialled::Waits { since, asked, .. } = dialled else { continue };
            if now.mono.ms_since(*since) >= CONFIRM_MAX_MS {
                late.push(*port);
            } else if asked.is_none_or(|asked| now.mono.ms_since(asked) >= PROMPT_MS) {
                *asked = Some(now.mono);
                prompts.push((*port, Notice::Confirm));
            }
        }
        self.announce(prompts, now.mono, out);
        for line in late.into_iter().filter_map(|port| self.live.gateway_of(port).cloned()).collect::<Vec<_>>() {
            self.unlink(&line, now, out);
        }
    }

    /// A line has one call, and is busy until signalling says that it is over.
    pub(super) fn check_line(&self, records: Vec<Recorded>) -> Result<Vec<Recorded>, Refusal> {
        for recorded in &records {
            let Event::Dialled { line, .. } = &recorded.event else { continue };
            let gateway = self.state.configuration.gateways.get(line);
            if let Some(gateway) = gateway.filter(|_| self.live.dialled.contains_key(&PortId::of_gateway(line))) {
                return Err(Refusal::LineBusy { talkgroup: gateway.talkgroup.clone() });
            }
        }
        Ok(records)
    }

    /// A number that is to be dialled is kept until that is durable: it stands in no event.
    pub(super) fn note_number(&mut self, command: &Command, records: &[Recorded]) {
        let Command::Dial { number, .. } = command else { return };
        for recorded in records {
            if let Event::Dialled { link, line, .. } = &recorded.event {
                self.dialling.insert(*link, (line.clone(), number.clone()));
                self.live.dialled.insert(PortId::of_gateway(line), Dialled::Begun);
            }
        }
    }

    pub(super) fn dial(&mut self, event: &Event, out: &mut Vec<Output>) {
        let Event::Dialled { link, .. } = event else { return };
        if let Some((line, number)) = self.dialling.remove(link) {
            out.push(Output::Dial { line, number });
        }
    }

    /// What was to be dialled has not become durable.
    pub(super) fn forget_numbers(&mut self) {
        for (line, _) in std::mem::take(&mut self.dialling).into_values() {
            self.live.dialled.remove(&PortId::of_gateway(&line));
        }
    }

    fn unlink(&mut self, line: &GatewayId, now: Now, out: &mut Vec<Output>) {
        let record = |(stream, event)| Recorded { stream, actor: Actor::Media, at: now, event };
        let records = without_call(&self.state, line).into_iter().map(record).collect();
        self.record(records, now, out);
    }

    fn key(&mut self, port: PortId, keyed: bool, now: MonoTime, out: &mut Vec<Output>) {
        let knows = |table: &RouteTable| table.ports.iter().any(|known| known.port == port);
        self.shards.send_where(knows, &[Order::Key { port, keyed }], !keyed, now, out);
    }
}

/// The ends of a line's links, for a line without a call is nobody.
pub(in crate::dispatch) fn without_call(state: &State, line: &GatewayId) -> Vec<(Stream, Event)> {
    let Some(gateway) = state.configuration.gateways.get(line).filter(|gateway| gateway.kind.dials()) else {
        return Vec::new();
    };
    let end = |incident, link| Event::Unlinked { incident, link, cause: UnlinkCause::CallEnded };
    let links = state.links_of(&gateway.talkgroup).map(|placed| (placed.incident_id, placed.link_id));
    let links: BTreeMap<LinkId, _> = links.map(|(incident, link)| (link, incident)).collect();
    links.into_iter().map(|(link, incident)| (Stream::Incident(incident), end(incident, link))).collect()
}

/// Often enough for whoever lifts a receiver and listens (ms).
const PROMPT_MS: u64 = 3_000;
/// Whoever has not understood by then is an answering machine, or a person who will be called again (ms).
const CONFIRM_MAX_MS: u64 = 45_000;
