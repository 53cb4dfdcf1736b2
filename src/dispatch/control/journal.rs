//! The journal's side of the loop: append, commit, fail, come back.
//!
//! While it fails, what was taken and what was seen is *unrecorded*: in force, published as not durable, and offered
//! again as the first append once the journal is back and the state has been rebuilt from it.

use std::sync::Arc;

use crate::domain::event::{Alarm, Event, Recorded};
use crate::domain::refusal::Refusal;
use crate::domain::time::{MonoTime, Now};

use super::super::effect::{Effect, touches_routes};
use super::super::evolve::evolve;
use super::super::routes::compile;
use super::super::state::State;
use super::answers::{Waiter, answer};
use super::notices::notices;
use super::words::{Output, Ticket};
use super::{Control, Pending, kept, of_node};

/// Whether the journal takes appends.
#[derive(Debug)]
pub(super) enum Journal {
    Works,
    Failing {
        cause: String,
        /// In force though the journal does not have it, in order.
        unrecorded: Vec<Recorded>,
        /// The state has been read again since it failed.
        rebuilt: bool,
        /// It says that it works again.
        back: bool,
    },
}

impl Control {
    /// The journal's own state, read again after `Output::RebuildFromJournal`.
    pub fn rebuilt(&mut self, state: State, now: Now, out: &mut Vec<Output>) {
        let Journal::Failing { unrecorded, rebuilt, .. } = &mut self.journal else { return };
        *rebuilt = true;
        let overlay = unrecorded.clone();
        self.committed = state;
        self.committed_table = Arc::new(compile(&self.committed, self.shards.count()));
        self.restate(&overlay);
        self.enforce(now.mono, out);
        self.resume(now, out);
        self.release(now.mono, out);
    }

    /// Whether the journal fails, and why.
    pub fn journal_failure(&self) -> Option<&str> {
        match &self.journal {
            Journal::Works => None,
            Journal::Failing { cause, .. } => Some(cause),
        }
    }

    /// Facts of talk that no journal will have; only grows.
    pub fn facts_lost(&self) -> u64 {
        self.facts_lost
    }

    /// An append has waited for longer than any working disk takes. Nobody knows yet whether it will be durable.
    pub(super) fn journal_hangs(&self, now: MonoTime) -> bool {
        self.pending.front().is_some_and(|oldest| now.ms_since(oldest.since) >= HANGS_MS)
    }

    /// A disk that neither answers nor fails is an alarm too.
    pub(super) fn watch_journal(&mut self, now: Now, out: &mut Vec<Output>) {
        let alarm = Alarm::JournalFailing { cause: HANGS.to_owned() };
        let event = match (self.journal_hangs(now.mono), self.state.alarms.contains(&alarm)) {
            (true, false) => Event::AlarmRaised { alarm },
            (false, true) => Event::AlarmCleared { alarm },
            (true, true) | (false, false) => return,
        };
        self.record(vec![of_node(event, now)], now, out);
    }

    /// Records what nobody waits for: what time did, what media saw.
    pub(super) fn record(&mut self, mut records: Vec<Recorded>, now: Now, out: &mut Vec<Output>) {
        if self.pending.len() > PENDING_MAX {
            let asked = records.len();
            records.retain(|recorded| !is_talk(recorded));
            self.facts_lost += (asked - records.len()) as u64;
        }
        if !records.is_empty() {
            self.append(records, None, now, out);
        }
    }

    /// Records what somebody waits for.
    pub(super) fn append_for(
        &mut self,
        records: Vec<Recorded>,
        idempotency_key: Option<String>,
        mut waiter: Waiter,
        now: Now,
        out: &mut Vec<Output>,
    ) {
        waiter.takes = kept(&self.state, &records).iter().any(|(_, effect)| *effect == Effect::Takes);
        waiter.ticket = self.append(records, idempotency_key, now, out);
        if let Journal::Failing { cause, .. } = &self.journal {
            waiter.not_recorded = Some(cause.clone());
        }
        if waiter.takes || waiter.not_recorded.is_some() {
            waiter.required = Some((self.shards.sent_versions(), now.mono));
        }
        self.waiters.push(waiter);
    }

    /// Evolves, enforces what narrows, and hands to the journal; while it fails, keeps what may be kept.
    pub(super) fn append(
        &mut self,
        records: Vec<Recorded>,
        idempotency_key: Option<String>,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Option<Ticket> {
        if let Journal::Failing { .. } = self.journal {
            self.keep(&records, now, out);
            return None;
        }
        self.revoke(&records, now.mono, out);
        self.evolve_all(&records);
        self.enforce_if_changed(&records, now, out);
        Some(self.enqueue(records, idempotency_key, now, out))
    }

    /// Hands to the journal what has been evolved already.
    pub(super) fn enqueue(
        &mut self,
        records: Vec<Recorded>,
        idempotency_key: Option<String>,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Ticket {
        let ticket = Ticket(self.next_ticket.0 + 1);
        self.next_ticket = ticket;
        let table = self.latest_table.clone();
        self.pending.push_back(Pending { ticket, since: now.mono, records: records.clone(), table });
        out.push(Output::Append { ticket, records, idempotency_key });
        ticket
    }

    /// This append and all before it are durable: publish, give, and let the answers go.
    pub(super) fn commit(&mut self, ticket: Ticket, now: Now, out: &mut Vec<Output>) {
        let mut changed = false;
        let mut heard = Vec::new();
        while let Some(pending) = self.pending.pop_front_if(|pending| pending.ticket <= ticket) {
            for recorded in &pending.records {
                heard.extend(notices(&self.committed, &self.live, &recorded.event));
                self.dial(&recorded.event, out);
                evolve(&mut self.committed, recorded);
                changed |= touches_routes(&recorded.event);
            }
            self.committed_table = pending.table;
            out.push(Output::Publish { records: pending.records, durable: true });
        }
        if changed {
            self.enforce(now.mono, out);
        }
        self.announce(heard, now.mono, out);
        for waiter in self.waiters.iter_mut().filter(|waiter| waiter.ticket.is_some_and(|own| own <= ticket)) {
            waiter.ticket = None;
            waiter.required.get_or_insert_with(|| (self.shards.sent_versions(), now.mono));
        }
    }

    /// This append and all after it are lost: what was to be given is refused, what was taken stays taken.
    pub(super) fn fail(&mut self, ticket: Ticket, cause: &str, now: Now, out: &mut Vec<Output>) {
        self.commit(Ticket(ticket.0.saturating_sub(1)), now, out);
        if self.pending.is_empty() {
            return;
        }
        self.forget_numbers();
        let lost: Vec<Pending> = self.pending.drain(..).collect();
        let mut stays = self.committed.clone();
        let mut unrecorded = Vec::new();
        for pending in lost {
            let kept: Vec<Recorded> =
                kept(&stays, &pending.records).into_iter().map(|(recorded, _)| recorded).collect();
            kept.iter().for_each(|recorded| evolve(&mut stays, recorded));
            self.settle_waiter(pending.ticket, &kept, cause, out);
            unrecorded.extend(kept);
        }
        let alarm = Alarm::JournalFailing { cause: cause.to_owned() };
        unrecorded.push(of_node(Event::AlarmRaised { alarm }, now));
        out.push(Output::Publish { records: unrecorded.clone(), durable: false });
        self.restate(&unrecorded);
        let cause = cause.to_owned();
        self.journal = Journal::Failing { cause, unrecorded, rebuilt: false, back: false };
        self.enforce(now.mono, out);
        for waiter in self.waiters.iter_mut().filter(|waiter| waiter.not_recorded.is_some()) {
            waiter.required.get_or_insert_with(|| (self.shards.sent_versions(), now.mono));
        }
        out.push(Output::RebuildFromJournal);
    }

    pub(super) fn journal_back(&mut self, now: Now, out: &mut Vec<Output>) {
        if let Journal::Failing { back, .. } = &mut self.journal {
            *back = true;
            self.resume(now, out);
        }
    }

    /// Back to normal: what was unrecorded is the first thing the journal is given.
    fn resume(&mut self, now: Now, out: &mut Vec<Output>) {
        let Journal::Failing { cause, unrecorded, rebuilt: true, back: true } = &mut self.journal else { return };
        let mut records = std::mem::take(unrecorded);
        let alarm = Alarm::JournalFailing { cause: std::mem::take(cause) };
        let cleared = of_node(Event::AlarmCleared { alarm }, now);
        self.journal = Journal::Works;
        evolve(&mut self.state, &cleared);
        records.push(cleared);
        for group in records.chunks(GROUP_MAX) {
            self.enqueue(group.to_vec(), None, now, out);
        }
    }

    /// The journal fails: what takes or tells is in force without it.
    fn keep(&mut self, records: &[Recorded], now: Now, out: &mut Vec<Output>) {
        let kept: Vec<Recorded> = kept(&self.state, records).into_iter().map(|(recorded, _)| recorded).collect();
        if kept.is_empty() {
            return;
        }
        self.revoke(&kept, now.mono, out);
        self.evolve_all(&kept);
        if let Journal::Failing { unrecorded, .. } = &mut self.journal {
            unrecorded.extend(kept.iter().cloned());
            if unrecorded.len() > UNRECORDED_MAX {
                // Facts of talk are the only thing that can grow without end, and the only thing that may be lost.
                let before = unrecorded.len();
                unrecorded.retain(|recorded| !is_talk(recorded));
                self.facts_lost += (before - unrecorded.len()) as u64;
            }
        }
        self.enforce_if_changed(&kept, now, out);
        out.push(Output::Publish { records: kept, durable: false });
    }

    /// Tells whoever waits for a lost append how it stands.
    fn settle_waiter(&mut self, ticket: Ticket, kept: &[Recorded], cause: &str, out: &mut Vec<Output>) {
        let Some(at) = self.waiters.iter().position(|waiter| waiter.ticket == Some(ticket)) else { return };
        let waiter = &mut self.waiters[at];
        waiter.ticket = None;
        if waiter.takes {
            waiter.records = kept.to_vec();
            waiter.not_recorded = Some(cause.to_owned());
        } else {
            let waiter = self.waiters.swap_remove(at);
            answer(&waiter, &Err(Refusal::JournalFailing), &mut self.keys, out);
        }
    }

    /// The state is what the journal has and what is in force beside it.
    fn restate(&mut self, unrecorded: &[Recorded]) {
        self.state = self.committed.clone();
        unrecorded.iter().for_each(|recorded| evolve(&mut self.state, recorded));
        self.latest_table = Arc::new(compile(&self.state, self.shards.count()));
        self.live.adopt(&self.state.configuration);
        self.next_deadline = None;
    }

    pub(super) fn evolve_all(&mut self, records: &[Recorded]) {
        for recorded in records {
            evolve(&mut self.state, recorded);
            if matches!(recorded.event, Event::ConfigurationAdopted { .. }) {
                self.live.adopt(&self.state.configuration);
            }
        }
        if records.iter().any(|recorded| touches_routes(&recorded.event)) {
            self.latest_table = Arc::new(compile(&self.state, self.shards.count()));
        }
        self.next_deadline = None;
    }

    fn enforce_if_changed(&mut self, records: &[Recorded], now: Now, out: &mut Vec<Output>) {
        if records.iter().any(|recorded| touches_routes(&recorded.event)) {
            self.enforce(now.mono, out);
        }
    }
}

fn is_talk(recorded: &Recorded) -> bool {
    matches!(recorded.event, Event::TalkBegan { .. } | Event::Talked { .. })
}

/// A working disk answers in milliseconds, a bad day's in a second or two (ms).
const HANGS_MS: u64 = 5_000;
/// The cause of the alarm of a journal that hangs.
const HANGS: &str = "the disk has not answered for 5 s";
/// Appends that may wait before facts of talk are no longer added: commands that take and what people did always are.
const PENDING_MAX: usize = 20_000;
/// Records offered together when the journal is back: a transaction of milliseconds.
const GROUP_MAX: usize = 500;
/// Facts kept for a journal that fails: some hours of talk.
const UNRECORDED_MAX: usize = 20_000;
