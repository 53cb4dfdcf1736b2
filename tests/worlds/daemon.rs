//! The daemon of a world: real control, real shards, and between them the duties of the shell as the shell does them.
//! Here inputs and outputs of the control loop meet the journal, the seats and the checkers.

use std::collections::{BTreeMap, BTreeSet};

use crosspatch::dispatch::control::{Answer, Control, Input, Output, RequestId};
use crosspatch::dispatch::{State, evolve};
use crosspatch::domain::command::{Command, Principal};
use crosspatch::domain::event::{Event, Recorded};
use crosspatch::domain::floor::Denial;
use crosspatch::domain::id::{LegId, PatchId};
use crosspatch::domain::order::{Order, OrderBatch, RouteVersion};
use crosspatch::domain::port::ShardId;
use crosspatch::domain::refusal::Refusal;
use crosspatch::domain::report::Report;
use crosspatch::domain::time::MonoTime;

use super::checkers::Law;
use super::checkers::membership::{self, Shadow};
use super::device::Transmitter;
use super::dispatchers;
use super::faults::Fault;
use super::reference::{Reach, Rows, Truth};
use super::seat::Seat;
use super::world::World;

/// A living process.
pub struct Daemon {
    pub control: Control,
    pub seats: Vec<Seat>,
    pub shadows: Vec<Shadow>,
    /// The newest version each shard was sent and has applied.
    sent: BTreeMap<ShardId, RouteVersion>,
    applied: BTreeMap<ShardId, RouteVersion>,
    narrowings: Vec<Narrowing>,
    asked: BTreeMap<RequestId, (Principal, Command)>,
}

/// Something is being taken, and until every shard concerned has applied it, it may still be heard.
struct Narrowing {
    request: Option<RequestId>,
    before: Reach,
    waits: BTreeMap<ShardId, RouteVersion>,
}

/// What somebody was told.
#[derive(Clone, Debug)]
pub struct Told {
    pub principal: Principal,
    pub command: Command,
    pub outcome: Result<Answer, Refusal>,
}

impl World {
    /// Somebody asks for something.
    pub fn ask(&mut self, principal: Principal, command: Command) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        if let Some(daemon) = &mut self.daemon {
            daemon.asked.insert(request, (principal.clone(), command.clone()));
            self.control(Input::Command { request, command, principal, idempotency_key: None });
        }
        request
    }

    /// One thing happens to the control loop.
    pub fn control(&mut self, input: Input) {
        let request = match &input {
            Input::Command { request, .. } => Some(*request),
            Input::Report(_)
            | Input::Phone { .. }
            | Input::Trunk { .. }
            | Input::Committed { .. }
            | Input::CommitFailed { .. }
            | Input::JournalBack
            | Input::Tick
            | Input::ShardRebuilt { .. }
            | Input::Drain => None,
        };
        let now = self.saboteur.clocks(self.now);
        let Some(daemon) = &mut self.daemon else { return };
        let mut outputs = Vec::new();
        daemon.control.handle(input, now, &mut outputs);
        self.obey(outputs, request);
    }

    /// A shard's report, as the checkers and then as control see it.
    pub fn report(&mut self, report: Report) {
        if !matches!(report, Report::Applied { .. }) {
            self.note(&format!("{report:?}"));
        }
        self.bursts.reported(&report, &self.field, &self.must, self.now.mono, &mut self.findings);
        if let Report::Denied { patch, leg, cause: Denial::Busy, .. } | Report::Queued { patch, leg, .. } = report {
            self.turned_away(patch, leg);
        }
        if let (Report::Applied { shard, version }, Some(daemon)) = (&report, &mut self.daemon) {
            daemon.applied.insert(*shard, *version);
            daemon.narrowings.retain_mut(|narrowing| {
                narrowing.waits.retain(|waits, wanted| waits != shard || *wanted > *version);
                !narrowing.waits.is_empty()
            });
            self.settle_routes();
        }
        self.control(Input::Report(report));
    }

    /// Others hold the floor; whoever is in need does not wait for them.
    fn turned_away(&mut self, patch: PatchId, leg: LegId) {
        let port = self.daemon.as_ref().and_then(|daemon| daemon.shadows.iter().find_map(|shadow| shadow.port_of(leg)));
        let ear = self.field.devices.iter().position(|device| Some(device.port) == port);
        if let Some(ear) = ear {
            let papers = self.papers();
            self.bursts.turned_away(patch, ear, papers, &self.field, self.now.mono, &mut self.findings);
        }
    }

    /// Does what the control loop wants done, in its order.
    pub fn obey(&mut self, outputs: Vec<Output>, request: Option<RequestId>) {
        self.learn_decisions(&outputs, request);
        for output in outputs {
            match output {
                Output::Append { ticket, records, .. } => {
                    self.journal.append(ticket, records, self.now.mono);
                    if self.saboteur.does(Fault::CommitTooSoon) {
                        self.control(Input::Committed { ticket });
                    }
                }
                Output::Orders { shard, batch } => self.order(shard, batch),
                Output::Answer { request, outcome } => self.answered(request, outcome),
                Output::Publish { records, durable } => self.publish(&records, durable),
                Output::RebuildFromJournal => self.rebuild(),
                Output::Dial { line, .. } => panic!("no line of this world dials, but {line}"),
                Output::CondemnShard { shard } => {
                    self.note(&format!("{shard:?} is condemned"));
                    self.happened.condemned += 1;
                    self.rebuild_shard(shard);
                }
            }
        }
        self.settle_routes();
    }

    /// What is decided counts for what may no longer be heard, and for what must be told only once.
    fn learn_decisions(&mut self, outputs: &[Output], request: Option<RequestId>) {
        let mut records: Vec<Recorded> = Vec::new();
        for output in outputs {
            match output {
                // What the journal had refused is offered again; it is decided once.
                Output::Append { records: more, .. } => {
                    records.extend(more.iter().filter(|record| !self.unrecorded.contains(record)).cloned());
                    self.unrecorded.retain(|record| !more.contains(record));
                }
                Output::Publish { records: more, durable: false } => {
                    records.extend(more.iter().filter(|record| !self.journal.refused(record)).cloned());
                    self.unrecorded.extend(more.iter().cloned());
                }
                Output::Publish { .. }
                | Output::Orders { .. }
                | Output::Answer { .. }
                | Output::RebuildFromJournal
                | Output::Dial { .. }
                | Output::CondemnShard { .. } => {}
            }
        }
        if records.is_empty() {
            return;
        }
        self.saboteur.decisions(&mut records);
        records.iter().for_each(|record| self.count(record));
        let before = self.target.reach();
        let recent_ms = u64::from(self.decided.configuration.policy.recent_s) * 1000;
        for record in &records {
            self.note(&format!("{:?}", record.event));
            self.decided.learn(record);
            self.sessions.decided(record, &self.bursts, recent_ms, self.now.mono, &mut self.findings);
        }
        if !records.iter().any(|record| changes_reach(&record.event)) {
            return;
        }
        self.refresh();
        let after = self.target.reach();
        let narrower = (0..after.0.len()).any(|at| before.0[at] & !after.0[at] != 0);
        if let (true, Some(daemon)) = (narrower, &mut self.daemon) {
            let waits = outputs.iter().filter_map(|output| match output {
                Output::Orders { shard, batch } => Some((*shard, batch.version)),
                Output::Append { .. }
                | Output::Answer { .. }
                | Output::Publish { .. }
                | Output::RebuildFromJournal
                | Output::Dial { .. }
                | Output::CondemnShard { .. } => None,
            });
            daemon.narrowings.push(Narrowing { request, before, waits: waits.collect() });
            self.cut_at = self.now.mono;
        }
    }

    fn order(&mut self, shard: ShardId, mut batch: OrderBatch) {
        self.saboteur.orders(&mut batch, self.now.mono);
        for order in &batch.orders {
            if let Order::Announce { port, notice } = order
                && let Some(ear) = self.field.devices.iter().position(|device| device.port == *port)
            {
                self.notices.ordered(ear, *notice, self.now.mono);
            }
        }
        let Some(daemon) = &mut self.daemon else { return };
        let at = usize::from(shard.0);
        batch.orders.iter().for_each(|order| daemon.shadows[at].obey(order));
        if self.trace {
            let names: Vec<String> = batch.orders.iter().map(|order| format!("{order:.60?}")).collect();
            let names: Vec<&str> = names.iter().map(|name| &name[..name.len().min(90)]).collect();
            println!("{:>10} {shard:?} {:?} {names:?}", self.now.mono.as_millis(), batch.version);
        }
        daemon.sent.insert(shard, batch.version);
        let version = batch.version;
        daemon.seats[at].order(batch);
        if self.saboteur.does(Fault::AnswerBeforeApplied) {
            self.control(Input::Report(Report::Applied { shard, version }));
        }
    }

    fn answered(&mut self, request: RequestId, outcome: Result<Answer, Refusal>) {
        let Some(daemon) = &mut self.daemon else { return };
        let Some((principal, command)) = daemon.asked.remove(&request) else {
            self.findings.broken(Law::Closes, self.now.mono, || format!("{request:?} was answered twice"));
            return;
        };
        let unapplied = daemon.narrowings.iter().any(|narrowing| narrowing.request == Some(request));
        if outcome.is_ok() && unapplied {
            let what = || format!("{command:?} was answered and a shard has not applied it");
            self.findings.broken(Law::InstantAndDurable, self.now.mono, what);
        }
        match &outcome {
            Ok(Answer::Done { records }) => {
                self.happened.done += 1;
                for record in records.iter().filter(|record| !self.journal.has(record)) {
                    let what = || format!("{command:?} is said to be done and {:?} is not on disk", record.event);
                    self.findings.broken(Law::InstantAndDurable, self.now.mono, what);
                }
            }
            Ok(Answer::EffectiveNotRecorded { .. }) => self.happened.not_recorded += 1,
            Err(refusal) => {
                *self.refusals.entry(refusal.code()).or_default() += 1;
            }
        }
        self.note(&format!("{request:?} {:?}", outcome.as_ref().map_err(Refusal::code).map(|_| ())));
        self.told.insert(request, Told { principal, command, outcome });
    }

    fn publish(&mut self, records: &[Recorded], durable: bool) {
        for record in records {
            if durable && !self.journal.has(record) {
                let what = || format!("{:?} is published as durable and is not on disk", record.event);
                self.findings.broken(Law::InstantAndDurable, self.now.mono, what);
            }
            self.published.learn(record);
            if let Event::ConfigurationAdopted { configuration } = &record.event {
                self.field.adopt(configuration);
            }
        }
        self.transcript.extend(records.iter().cloned());
        if records.iter().any(|record| changes_reach(&record.event)) {
            self.refresh();
        }
    }

    /// The journal failed: dispatch reads it again. What was taken stays taken, whatever the disk knows.
    fn rebuild(&mut self) {
        let state = self.replayed();
        let now = self.saboteur.clocks(self.now);
        let known: Vec<Recorded> = self.journal.committed().iter().chain(&self.unrecorded).cloned().collect();
        self.decided = Truth::default();
        known.iter().for_each(|record| self.decided.learn(record));
        self.sessions.rebuild(&known, &self.bursts);
        self.refresh();
        let Some(daemon) = &mut self.daemon else { return };
        let mut outputs = Vec::new();
        daemon.control.rebuilt(state, now, &mut outputs);
        self.obey(outputs, None);
    }

    /// What the journal leads to.
    fn replayed(&self) -> State {
        state_of(&self.saboteur.replayed(self.journal.committed()))
    }

    /// A shard has a new, empty life.
    pub fn rebuild_shard(&mut self, shard: ShardId) {
        self.note(&format!("{shard:?} is rebuilt"));
        self.bursts.disturb(self.now.mono);
        let Some(daemon) = &mut self.daemon else { return };
        let at = usize::from(shard.0);
        daemon.seats[at].rebuild();
        daemon.seats[at].stuck_until = MonoTime(0);
        daemon.shadows[at] = Shadow::default();
        // Nothing of the old one leaves, so nothing that it had not applied can still be heard from it.
        daemon.narrowings.retain_mut(|narrowing| {
            narrowing.waits.remove(&shard);
            !narrowing.waits.is_empty()
        });
        self.control(Input::ShardRebuilt { shard });
    }

    /// The process dies.
    pub fn kill(&mut self) {
        if self.daemon.take().is_none() {
            return;
        }
        self.note("the process dies");
        self.happened.kills += 1;
        self.happened.kills_mid_burst += u64::from(self.bursts.is_talked());
        self.happened.emergencies_over_restart += self.sessions.open_emergencies().count() as u64;
        self.journal.crash();
        self.unrecorded.clear();
        self.bursts.forget();
        self.decided = Truth::default();
        for record in self.journal.committed() {
            self.decided.learn(record);
        }
        self.published = self.decided.clone();
        self.killed_wall = self.now.wall;
        self.refresh();
    }

    /// Every start is a recovery.
    pub fn start(&mut self) {
        let now = self.saboteur.clocks(self.now);
        let shards = self.geography.shards;
        let mut outputs = Vec::new();
        let control = Control::start(self.replayed(), "world", shards, self.entropy.next_u64(), now, &mut outputs);
        let seats = (0..shards).map(|at| Seat::new(ShardId(at), self.entropy.next_u64())).collect();
        self.daemon = Some(Daemon {
            control,
            seats,
            shadows: vec![Shadow::default(); usize::from(shards)],
            sent: BTreeMap::new(),
            applied: BTreeMap::new(),
            narrowings: Vec::new(),
            asked: BTreeMap::new(),
        });
        let stepped = self.wall_steps > 0;
        let Some(daemon) = &self.daemon else { return };
        let state = daemon.control.state();
        let emergencies = state.emergencies.keys().copied().collect();
        let links: BTreeSet<_> = state.links().map(|placed| placed.link_id).collect();
        self.sessions.rebuild(self.journal.committed(), &self.bursts);
        self.sessions.restarted(&emergencies, &links, stepped, self.now.mono, &mut self.findings);
        self.obey(outputs, None);
        if self.decided.configuration.agencies.is_empty() {
            let configuration = Box::new(self.geography.configuration.clone());
            self.ask(dispatchers::admin(), Command::Adopt { configuration });
        }
    }

    /// Whether every shard has applied everything it was sent.
    pub fn routes_settled(&self) -> bool {
        let Some(daemon) = &self.daemon else { return false };
        daemon.sent.iter().all(|(shard, version)| daemon.applied.get(shard) == Some(version))
    }

    /// Who may, must and might be heard follows from what is published, decided and applied.
    pub fn refresh(&mut self) {
        let published = Rows::of(&self.published, &self.field.devices);
        let decided = Rows::of(&self.decided, &self.field.devices);
        self.decided_reach = decided.reach();
        self.target = published.and(&decided);
        self.must = self.must.and(&self.target);
        self.levelled = self.levelled.or(&self.levels());
        self.allow();
    }

    fn settle_routes(&mut self) {
        if self.routes_settled() {
            self.must = self.target.clone();
        }
        self.allow();
    }

    fn allow(&mut self) {
        let mut may = self.target.reach();
        if let Some(daemon) = &self.daemon {
            may = daemon.narrowings.iter().fold(may, |may, narrowing| may.or(&narrowing.before));
        }
        self.may = may;
    }

    /// What shards were ordered is what the published events say; the state is what a replay gives.
    pub fn check_agreement(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        if !self.routes_settled() || !self.journal.is_settled() || self.published != self.decided {
            return;
        }
        self.happened.compared += 1;
        if let Some(what) = membership::compare(&daemon.shadows, &self.target, &self.field.devices) {
            self.findings.broken(Law::Membership, self.now.mono, || what);
        }
    }

    /// Replays the whole journal beside the living state.
    pub fn check_replay(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        if !self.journal.is_settled() {
            return;
        }
        self.happened.replays += 1;
        let replayed = state_of(&self.saboteur.replayed_beside(self.journal.committed()));
        if replayed != *daemon.control.state() {
            let differ = first_difference(&replayed, daemon.control.state());
            let what = || format!("the journal does not lead to this state: {differ}");
            self.findings.broken(Law::Replay, self.now.mono, what);
        }
    }

    fn count(&mut self, record: &Recorded) {
        let talked_in = |patch| u64::from(self.bursts.is_talked_in(patch));
        match &record.event {
            Event::CutMade { .. } => {
                let rising = |device: &super::device::Device| matches!(device.transmitter, Transmitter::Rising { .. });
                let held = self.bursts.is_talked() && self.field.devices.iter().any(rising);
                self.happened.cuts_during_hold += u64::from(held);
            }
            Event::ConfigurationAdopted { configuration } => {
                let (before, after) = (&self.decided.configuration.gateways, &configuration.gateways);
                self.happened.gateways_gone += before.keys().filter(|id| !after.contains_key(*id)).count() as u64;
                let is_back = |id: &&_| !before.is_empty() && !before.contains_key(*id);
                self.happened.gateways_back += after.keys().filter(is_back).count() as u64;
                let is_changed = |(id, now): &(&_, &_)| before.get(id).is_some_and(|was| was != *now);
                self.happened.gateways_changed += after.iter().filter(is_changed).count() as u64;
            }
            Event::FloorSet { patch, .. } => self.happened.floors_set += talked_in(*patch),
            Event::PatchClosed { patch, .. } => self.happened.patches_closed += talked_in(*patch),
            Event::FloorRevoked { burst: Some(_), .. } => self.happened.one_revoked += 1,
            _ => {}
        }
    }
}

/// Where a replayed state begins to differ from the living one.
fn first_difference(replayed: &State, living: &State) -> String {
    let (replayed, living) = (format!("{replayed:#?}"), format!("{living:#?}"));
    let lines = || replayed.lines().zip(living.lines());
    let at = lines().take_while(|(replayed, living)| replayed == living).count();
    let (replayed, living) = lines().nth(at).unwrap_or(("", ""));
    let before: Vec<&str> = lines().take(at).map(|(line, _)| line.trim()).collect();
    let context = before[before.len().saturating_sub(CONTEXT_LINES)..].join(" ");
    format!("after {context} the replay has {} and the state {}", replayed.trim(), living.trim())
}

/// Lines that say in which part of the state it is.
const CONTEXT_LINES: usize = 12;

fn state_of(records: &[Recorded]) -> State {
    let mut state = State::default();
    records.iter().for_each(|record| evolve(&mut state, record));
    state
}

/// Most events concern nobody's ears.
fn changes_reach(event: &Event) -> bool {
    !matches!(
        event,
        Event::TalkBegan { .. }
            | Event::Talked { .. }
            | Event::AlarmRaised { .. }
            | Event::AlarmCleared { .. }
            | Event::ExpiryWarned { .. }
            | Event::OvertimeRuns { .. }
            | Event::Extended { .. }
            | Event::Invited { .. }
            | Event::Declined { .. }
            | Event::EmergencyDeclared { .. }
            | Event::EmergencyCleared { .. }
            | Event::EmergencyAcknowledged { .. }
    )
}
