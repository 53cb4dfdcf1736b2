//! The control loop without its I/O: inputs in, outputs pushed into a caller-owned queue. One owner, one thing at a
//! time; io pumps it, worlds simulate it.
//!
//! Law 2 in one line: **in force is the meet of the routes that are journalled and of the routes of everything that
//! waits for the journal**. So whatever narrows acts before it is durable and whatever widens acts after, without any
//! command saying which it is. If the journal fails, what was taken and what was seen stays in force beside it and is
//! offered again; what was to be given is refused.

mod answers;
mod journal;
mod notices;
mod phones;
mod shards;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::domain::command::{Command, Principal};
use crate::domain::event::{Alarm, Event, Recorded, Stream};
use crate::domain::id::{GatewayId, LinkId, PortId, UserId};
use crate::domain::incident::Actor;
use crate::domain::order::{Notice, Order, RouteTable};
use crate::domain::port::ShardId;
use crate::domain::random::Entropy;
use crate::domain::refusal::Refusal;
use crate::domain::report::Report;
use crate::domain::time::{MonoTime, Now};

use super::deadlines::{deadlines, schedule};
use super::decide::decide;
use super::effect::{Effect, effect};
use super::evolve::evolve;
use super::live::Live;
use super::reports::{end_bursts_of, handle_report, set_alarm, settle};
use super::routes::{admit_calls, compile, meet};
use super::state::State;

use answers::{Key, Keys, Seen, Waiter, answer};
use journal::Journal;
pub(super) use phones::without_call;
pub use shards::{CONDEMN_MS, LATE_MS, ShardStanding, Shards};
pub use words::{Answer, Input, Output, RequestId, Ticket};

/// The control core in operation.
#[derive(Debug)]
pub struct Control {
    /// What the journal has.
    committed: State,
    /// That and everything that waits for it.
    state: State,
    live: Live,
    shards: Shards,
    /// Appends without an answer, oldest first.
    pending: VecDeque<Pending>,
    journal: Journal,
    waiters: Vec<Waiter>,
    keys: Keys,
    entropy: Entropy,
    next_ticket: Ticket,
    committed_table: Arc<RouteTable>,
    latest_table: Arc<RouteTable>,
    in_force: RouteTable,
    /// Facts of talk that no journal will have, because it failed or hung for too long.
    facts_lost: u64,
    /// When time next does something; none while the state has changed since it was computed.
    next_deadline: Option<MonoTime>,
    next_reminder: MonoTime,
    /// Lines and their numbers, to be dialled once that is durable.
    dialling: BTreeMap<LinkId, (GatewayId, String)>,
    /// Wall time minus boot time as last recorded (ms).
    clock_offset_ms: i64,
    draining: bool,
}

/// An append that the journal has not answered.
#[derive(Debug)]
struct Pending {
    ticket: Ticket,
    /// When the journal was asked.
    since: MonoTime,
    records: Vec<Recorded>,
    /// The routes once it is durable.
    table: Arc<RouteTable>,
}

impl Control {
    /// Takes over a replayed state: records the start, ends what the stop left open, and orders every shard.
    pub fn start(replayed: State, version: &str, shards: u8, seed: u64, now: Now, out: &mut Vec<Output>) -> Self {
        let live = Live::new(&replayed.configuration, now);
        let table = Arc::new(compile(&replayed, shards));
        let mut control = Self {
            state: replayed.clone(),
            live,
            shards: Shards::new(shards),
            pending: VecDeque::new(),
            journal: Journal::Works,
            waiters: Vec::new(),
            keys: Keys::default(),
            entropy: Entropy::new(seed),
            next_ticket: Ticket::default(),
            in_force: (*table).clone(),
            committed_table: table.clone(),
            latest_table: table,
            committed: replayed,
            facts_lost: 0,
            next_deadline: None,
            next_reminder: now.mono.plus_ms(REMINDER_MS),
            dialling: BTreeMap::new(),
            clock_offset_ms: offset_ms(now),
            draining: false,
        };
        let mut first = control.state.restarted(version, now);
        control.evolve_all(&first);
        let due = deadlines(&control.state, &control.live, now);
        control.evolve_all(&due);
        first.extend(due);
        control.in_force = meet(&control.committed_table, &control.latest_table);
        admit_calls(&mut control.in_force, &control.state.configuration, &control.live);
        control.enqueue(first, None, now, out);
        for shard in (0..control.shards.count()).map(ShardId) {
            control.shards.restart(shard, &control.in_force, now.mono, out);
        }
        control
    }

    /// One thing that happened.
    pub fn handle(&mut self, input: Input, now: Now, out: &mut Vec<Output>) {
        match input {
            Input::Command { request, command, principal, idempotency_key } => {
                let key = idempotency_key.map(|key| (principal.user.clone(), key));
                self.handle_command(request, &command, &principal, key, now, out);
            }
            Input::Report(Report::Applied { shard, version }) => self.shards.applied(shard, version, now.mono),
            Input::Report(report) => {
                let records = handle_report(&self.state, &mut self.live, &report, now, &mut self.entropy);
                self.record(records, now, out);
                let told = notices::of_key(&self.committed, &report);
                self.announce(told.into_iter().collect(), now.mono, out);
                self.confirm(&report, now.mono, out);
                if self.shards.is_deferred() && matches!(report, Report::BurstEnded { .. }) {
                    self.shards.lead_to(&self.in_force, &self.live, now.mono, out);
                }
            }
            Input::Phone { phone, sign } => self.hear_of_phone(phone, sign, now, out),
            Input::Trunk { trunk, is_up } => {
                self.live.trunks.insert(trunk.clone(), (is_up, now.mono));
                self.record(set_alarm(&self.state, Alarm::TrunkLost { trunk }, !is_up, now), now, out);
            }
            Input::Committed { ticket } => self.commit(ticket, now, out),
            Input::CommitFailed { ticket, cause } => self.fail(ticket, &cause, now, out),
            Input::JournalBack => self.journal_back(now, out),
            Input::Tick => self.tick(now, out),
            Input::ShardRebuilt { shard } => self.replace_shard(shard, now, out),
            Input::Drain if self.draining => {}
            Input::Drain => {
                self.draining = true;
                self.record(vec![of_node(Event::Stopped, now)], now, out);
            }
        }
        self.release(now.mono, out);
    }

    /// What the journal has.
    pub fn committed(&self) -> &State {
        &self.committed
    }

    /// What will be once the journal has everything: what the next command is judged by.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What reports and heartbeats say.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Who may hear whom right now.
    pub fn in_force(&self) -> &RouteTable {
        &self.in_force
    }

    /// Whether a user's key was seen since the start, answered or not.
    pub fn remembers(&self, user: &UserId, key: &str) -> bool {
        self.keys.hold(&(user.clone(), key.to_owned()))
    }

    /// What each shard has been told and has confirmed.
    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    fn handle_command(
        &mut self,
        request: RequestId,
        command: &Command,
        who: &Principal,
        key: Option<Key>,
        now: Now,
        out: &mut Vec<Output>,
    ) {
        if let Some(key) = &key {
            match self.keys.look(key, command) {
                Seen::New => self.keys.begin(key, command),
                Seen::Waiting => {
                    // The waiter of this key is there: keys end with their answer.
                    let waiter = self.waiters.iter_mut().find(|waiter| waiter.key.as_ref() == Some(key));
                    waiter.into_iter().for_each(|waiter| waiter.requests.push(request));
                    return;
                }
                Seen::Answered(outcome) => return out.push(Output::Answer { request, outcome }),
                Seen::Other => {
                    return out.push(Output::Answer { request, outcome: Err(Refusal::KeyReused) });
                }
            }
        }
        let decided = decide(&self.state, command, who, now, &mut self.entropy);
        if let (Command::Beat { .. }, Some(agency), Ok(_)) = (command, &who.agency, &decided) {
            self.live.beats.insert(agency.clone(), now.mono);
        }
        let decided = decided.and_then(|records| self.check_open(records, now.mono));
        let decided = decided.and_then(|records| self.check_line(records));
        let mut waiter = Waiter {
            requests: vec![request],
            key,
            records: Vec::new(),
            takes: false,
            ticket: None,
            not_recorded: None,
            required: None,
        };
        match decided {
            Err(refusal) => answer(&waiter, &Err(refusal), &mut self.keys, out),
            Ok(records) => {
                self.note_number(command, &records);
                if records.is_empty() {
                    return answer(&waiter, &Ok(Answer::Done { records }), &mut self.keys, out);
                }
                waiter.records.clone_from(&records);
                let key = waiter.key.as_ref().map(|(_, key)| key.clone());
                self.append_for(records, key, waiter, now, out);
            }
        }
    }

    /// Whether such events may be recorded now at all: nothing new while draining or while the journal fails or hangs.
    fn check_open(&self, mut records: Vec<Recorded>, now: MonoTime) -> Result<Vec<Recorded>, Refusal> {
        let kept = kept(&self.state, &records);
        let takes = kept.iter().any(|(_, effect)| *effect == Effect::Takes);
        let gives = kept.len() < records.len();
        match (&self.journal, self.draining) {
            (Journal::Failing { .. }, _) if gives && !takes => Err(Refusal::JournalFailing),
            (Journal::Works, _) if gives && !takes && self.journal_hangs(now) => Err(Refusal::JournalFailing),
            (Journal::Works, true) if gives && !takes => Err(Refusal::Draining),
            (Journal::Failing { .. }, _) => {
                records = kept.into_iter().map(|(recorded, _)| recorded).collect();
                Ok(records)
            }
            (Journal::Works, _) => Ok(records),
        }
    }

    fn tick(&mut self, now: Now, out: &mut Vec<Output>) {
        let stepped_ms = offset_ms(now) - self.clock_offset_ms;
        if stepped_ms.abs() > CLOCK_STEP_MS {
            self.clock_offset_ms = offset_ms(now);
            self.record(vec![of_node(Event::ClockStepped { by_ms: stepped_ms }, now)], now, out);
        }
        let settled = settle(&mut self.live, now);
        self.record(settled, now, out);
        self.watch_journal(now, out);
        let next = match self.next_deadline {
            Some(next) => next,
            None => schedule(&self.state, &self.live).first().map_or(MonoTime(u64::MAX), |(at, _)| *at),
        };
        self.next_deadline = Some(next);
        if next <= now.mono {
            self.next_deadline = None;
            let due = deadlines(&self.state, &self.live, now);
            self.record(due, now, out);
        }
        self.prompt(now, out);
        if self.next_reminder <= now.mono {
            self.next_reminder = now.mono.plus_ms(REMINDER_MS);
            let reminders = notices::reminders(&self.committed, &self.live);
            self.announce(reminders, now.mono, out);
        }
        self.shards.condemn_late(now.mono, out);
    }

    /// A shard with a new life is told everything; its bursts ended with the old one.
    fn replace_shard(&mut self, shard: ShardId, now: Now, out: &mut Vec<Output>) {
        let mut records = end_bursts_of(&self.state, &mut self.live, shard, self.shards.count(), now);
        let alarm = Alarm::ShardRebuilt { shard: shard.0 };
        self.live.suspected.insert(alarm.clone(), now.mono);
        if !self.state.alarms.contains(&alarm) {
            records.push(of_node(Event::AlarmRaised { alarm }, now));
        }
        self.record(records, now, out);
        self.shards.restart(shard, &self.in_force, now.mono, out);
    }

    /// Recomputes what is in force and tells the shards what changed.
    fn enforce(&mut self, now: MonoTime, out: &mut Vec<Output>) {
        let mut in_force = (*self.committed_table).clone();
        let mut last = &self.committed_table;
        for table in self.pending.iter().map(|pending| &pending.table).chain([&self.latest_table]) {
            if !Arc::ptr_eq(table, last) {
                in_force = meet(&in_force, table);
                last = table;
            }
        }
        admit_calls(&mut in_force, &self.state.configuration, &self.live);
        self.in_force = in_force;
        self.shards.lead_to(&self.in_force, &self.live, now, out);
    }

    /// Orders that stand in no table: a floor that is taken.
    fn revoke(&mut self, records: &[Recorded], now: MonoTime, out: &mut Vec<Output>) {
        for recorded in records {
            if let Event::FloorRevoked { patch, burst, .. } = &recorded.event {
                let order = Order::Revoke { patch: *patch, burst: *burst };
                let knows = |table: &RouteTable| table.patches.iter().any(|known| known.patch == *patch);
                self.shards.send_where(knows, &[order], true, now, out);
            }
        }
    }

    fn announce(&mut self, notices: Vec<(PortId, Notice)>, now: MonoTime, out: &mut Vec<Output>) {
        for (port, notice) in notices {
            let order = Order::Announce { port, notice };
            let knows = |table: &RouteTable| table.ports.iter().any(|known| known.port == port);
            self.shards.send_where(knows, &[order], false, now, out);
        }
    }

    /// Answers whoever need not wait any longer.
    fn release(&mut self, now: MonoTime, out: &mut Vec<Output>) {
        let (shards, keys) = (&self.shards, &mut self.keys);
        self.waiters.retain(|waiter| {
            let Some((required, since)) = &waiter.required else { return true };
            let outcome = if shards.have_applied(required) {
                waiter.outcome(now).map(Ok)
            } else {
                (now.ms_since(*since) >= MEDIA_PATIENCE_MS).then_some(Err(Refusal::MediaLate))
            };
            let Some(outcome) = outcome else { return true };
            answer(waiter, &outcome, keys, out);
            false
        });
    }
}

/// What of some records stays if the journal does not take them, judged one after the other.
fn kept(state: &State, records: &[Recorded]) -> Vec<(Recorded, Effect)> {
    let mut state = state.clone();
    let mut kept = Vec::new();
    for recorded in records {
        let effect = effect(&state, &recorded.event);
        if effect != Effect::Gives {
            evolve(&mut state, recorded);
            kept.push((recorded.clone(), effect));
        }
    }
    kept
}

fn of_node(event: Event, now: Now) -> Recorded {
    Recorded { stream: Stream::Node, actor: Actor::Timer, at: now, event }
}

fn offset_ms(now: Now) -> i64 {
    now.wall.0.saturating_sub(i64::try_from(now.mono.as_millis()).unwrap_or(i64::MAX))
}

/// A clock jump of more than this is an event (ms).
const CLOCK_STEP_MS: i64 = 2_000;
/// How often a patch that is not secure reminds of it (ms).
const REMINDER_MS: u64 = 300_000;
/// A command whose orders are not applied by then is answered as late (ms).
const MEDIA_PATIENCE_MS: u64 = 2_000;
