//! Pumps the control core: commands, reports, commits and the beat go in; appends, orders and answers are carried out.
//! It decides nothing. Orders go out before the journal is touched, so that a cut never waits for a disk.
//!
//! One append is in flight at a time and everything that queues up meanwhile shares the next: when one fails, nothing
//! behind it can have reached the disk.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use crate::dispatch::State;
use crate::dispatch::control::{Answer, Control, Input, Output, RequestId, Ticket};
use crate::domain::call::PhoneSign;
use crate::domain::event::Recorded;
use crate::domain::id::PortId;
use crate::domain::order::OrderBatch;
use crate::domain::port::ShardId;
use crate::domain::refusal::Refusal;
use crate::domain::report::Report;
use crate::domain::time::{FRAME, MonoTime, Now};
use crate::io::answered::{Answered, Known, Span, key_of};
use crate::io::clock;
use crate::io::control_link::{
    Asked, COMMANDS_WAITING, ControlLink, DialAsked, HAPPENED_KEPT, HISTORY_WAITING, Happened, HistoryAsked,
    PHONES_WAITING, PhoneSaid, Seen, TRUNKS_WAITING, TrunkSaid,
};
use crate::io::event_log;
use crate::io::gateway_book::GatewayBook;
use crate::io::journal::{Committed, IdempotencyKey, NotRecorded};
use crate::io::media::{FromShard, ShardLink, ToShard};
use crate::io::store::{Store, StoreReader};

/// What the task is made of.
pub struct ControlParts {
    pub store: Store,
    pub state: State,
    pub shards: Vec<ShardLink>,
    /// The read end of a pipe that media threads write to when they have reports.
    pub told: OwnedFd,
    pub media_ports: (u16, u16),
    pub seed: u64,
}

/// The task and its handles.
pub struct ControlTask {
    control: Control,
    store: Store,
    shards: Vec<ShardLink>,
    backlog: Vec<VecDeque<ToShard>>,
    book: GatewayBook,
    queue: VecDeque<Queued>,
    in_flight: Option<InFlight>,
    /// The key of the command that is being decided.
    asking: Option<IdempotencyKey>,
    answered: Answered,
    /// Positions of committed records that are not published yet.
    positions: VecDeque<u64>,
    failing_since: Option<MonoTime>,
    rebuilt: bool,
    waiting: BTreeMap<RequestId, oneshot::Sender<Result<Answer, Refusal>>>,
    next_request: u64,
    outputs: Vec<Output>,
    /// Told once what they are told by is seen.
    dialling: Vec<DialAsked>,
    dials: mpsc::UnboundedSender<DialAsked>,
    inner: mpsc::UnboundedSender<Inner>,
    seen: watch::Sender<Arc<Seen>>,
    happened: broadcast::Sender<Happened>,
    heartbeat: Arc<Heartbeat>,
    changed: bool,
}

/// An append that waits for the one in flight.
struct Queued {
    ticket: Ticket,
    records: Vec<Recorded>,
    key: Option<IdempotencyKey>,
}

/// What the journal is committing.
struct InFlight {
    first: Ticket,
    key: Option<IdempotencyKey>,
}

/// What the task's own helpers send it.
enum Inner {
    Committed(Ticket, Result<Committed, NotRecorded>),
    Rebuilt(Result<State, String>),
}

/// The ends that the daemon keeps.
pub struct ControlEnds {
    pub link: ControlLink,
    /// Dropping or sending true begins the drain.
    pub drain: watch::Sender<bool>,
    /// Ends only after a drain; whoever holds it ends the process when it ends by itself.
    pub task: tokio::task::JoinHandle<()>,
    /// When control last ticked.
    pub heartbeat: Arc<Heartbeat>,
}

/// A sign of life that is written and read without waiting.
#[derive(Debug, Default)]
pub struct Heartbeat(AtomicU64);

impl Heartbeat {
    /// When it last beat.
    pub fn last(&self) -> MonoTime {
        MonoTime(self.0.load(Ordering::Relaxed))
    }

    fn beat(&self, now: MonoTime) {
        self.0.store(now.0, Ordering::Relaxed);
    }
}

/// How often a failing journal is tried again (ms).
const JOURNAL_RETRY_MS: u64 = 1000;
/// Records of one group; the journal's own limit is 4,096.
const GROUP_RECORDS_MAX: usize = 2048;
/// A media thread that has not ticked for this long cannot be made safe in place; the process ends and nothing
/// transmits (ms).
const THREAD_DEAD_MS: u64 = 10_000;
/// Reports of one round, so that commands get their turn.
const REPORTS_PER_ROUND: usize = 4096;
/// Longest wait for the journal while stopping.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// Starts the task on the current runtime. What lines are told to dial comes out of its second half.
pub fn spawn(parts: ControlParts) -> std::io::Result<(ControlEnds, mpsc::UnboundedReceiver<DialAsked>)> {
    let (commands, asked) = mpsc::channel(COMMANDS_WAITING);
    let (seen, seen_by) = watch::channel(Arc::new(Seen::default()));
    let (happened, _) = broadcast::channel(HAPPENED_KEPT);
    let (history, history_asked) = mpsc::channel(HISTORY_WAITING);
    let (phones, phones_said) = mpsc::channel(PHONES_WAITING);
    let (trunks, trunks_said) = mpsc::channel(TRUNKS_WAITING);
    let (dials, dialled) = mpsc::unbounded_channel();
    let (drain, draining) = watch::channel(false);
    let (inner, inner_out) = mpsc::unbounded_channel();
    let told = pipe::Receiver::from_owned_fd(parts.told)?;
    let link = ControlLink { commands, seen: seen_by, happened: happened.clone(), phones, trunks, history };
    tokio::spawn(serve_history(parts.store.reader(), history_asked));
    let answers = parts.store.reader().answers().map_err(std::io::Error::other)?;
    let heartbeat = Arc::new(Heartbeat::default());
    heartbeat.beat(clock::mono());
    let mut outputs = Vec::new();
    let count = parts.shards.len() as u8;
    let now = clock::now();
    let control = Control::start(parts.state, env!("CARGO_PKG_VERSION"), count, parts.seed, now, &mut outputs);
    let task = ControlTask {
        control,
        store: parts.store,
        backlog: (0..count).map(|_| VecDeque::new()).collect(),
        shards: parts.shards,
        book: GatewayBook::new(parts.media_ports),
        queue: VecDeque::new(),
        in_flight: None,
        asking: None,
        answered: Answered::restore(answers),
        positions: VecDeque::new(),
        failing_since: None,
        rebuilt: false,
        waiting: BTreeMap::new(),
        next_request: 0,
        outputs,
        dialling: Vec::new(),
        dials,
        inner,
        seen,
        happened,
        heartbeat: Arc::clone(&heartbeat),
        changed: true,
    };
    let task = tokio::spawn(task.run(asked, (phones_said, trunks_said), inner_out, told, draining));
    Ok((ControlEnds { link, drain, task, heartbeat }, dialled))
}

impl ControlTask {
    async fn run(
        mut self,
        mut asked: mpsc::Receiver<Asked>,
        (mut phones, mut trunks): (mpsc::Receiver<PhoneSaid>, mpsc::Receiver<TrunkSaid>),
        mut inner: mpsc::UnboundedReceiver<Inner>,
        told: pipe::Receiver,
        mut draining: watch::Receiver<bool>,
    ) {
        let mut beat = tokio::time::interval(FRAME);
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut drain_ends: Option<tokio::time::Instant> = None;
        self.carry_out(clock::now());
        loop {
            tokio::select! {
                biased;
                // Reports first: they free the answers of cuts.
                Ok(()) = told.readable() => {
                    // How often is of no interest; an error means nothing is left to read.
                    let _ = told.try_read(&mut [0; 4096]);
                    self.take_reports();
                }
                Some(message) = inner.recv() => self.take_inner(message),
                Some(question) = asked.recv() => self.take_command(question),
                Some(said) = phones.recv() => self.take_phone(said),
                Some(TrunkSaid { trunk, is_up }) = trunks.recv() => self.feed(Input::Trunk { trunk, is_up }),
                _ = beat.tick() => self.tick(),
                _ = draining.changed(), if drain_ends.is_none() => {
                    drain_ends = Some(tokio::time::Instant::now() + DRAIN_PATIENCE);
                    self.feed(Input::Drain);
                }
            }
            if let Some(patience) = drain_ends
                && (self.is_settled() || patience <= tokio::time::Instant::now())
            {
                return self.stop(inner, patience).await;
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_none() && self.waiting.is_empty()
    }

    /// Unkeys and ends every shard, records what they said last, then keeps a snapshot so that the next start is short.
    async fn stop(mut self, mut inner: mpsc::UnboundedReceiver<Inner>, patience: tokio::time::Instant) {
        for shard in &mut self.shards {
            if shard.send(ToShard::Stop).is_err() {
                tracing::error!(shard = shard.shard.0, "a media thread does not take its orders; it ends with us");
            }
        }
        let mut shards = std::mem::take(&mut self.shards);
        let joined = tokio::task::spawn_blocking(move || {
            shards.iter_mut().for_each(ShardLink::join);
            shards
        });
        match joined.await {
            Ok(shards) => self.shards = shards,
            Err(fault) => return tracing::error!(%fault, "media threads did not end"),
        }
        self.take_reports();
        self.feed(Input::Tick);
        while !self.is_settled()
            && let Ok(Some(message)) = tokio::time::timeout_at(patience, inner.recv()).await
        {
            self.take_inner(message);
        }
        let keep = self.failing_since.is_none() && self.is_settled();
        let last_words = tokio::task::spawn_blocking(move || {
            if keep {
                self.store.reader().keep_snapshot(self.control.committed(), self.store.last_position());
            }
        });
        if let Err(fault) = last_words.await {
            tracing::error!(%fault, "stopping was not clean");
        }
    }

    fn feed(&mut self, input: Input) {
        let now = clock::now();
        self.changed |= input != Input::Tick;
        self.control.handle(input, now, &mut self.outputs);
        self.carry_out(now);
    }

    fn take_command(&mut self, asked: Asked) {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        let Asked { command, principal, idempotency_key, reply } = asked;
        if let Some(key) = &idempotency_key {
            let journals = key_of(&principal.user, key, &command);
            // What control has seen since the start it answers itself, refusals too.
            let known =
                if self.control.remembers(&principal.user, key) { Known::New } else { self.answered.look(&journals) };
            match known {
                Known::New => self.asking = Some(journals),
                Known::Answered(span) => return self.answer_again(span, reply),
                Known::Other => return drop(reply.send(Err(Refusal::KeyReused))),
            }
        }
        self.waiting.insert(request, reply);
        self.feed(Input::Command { request, command, principal, idempotency_key });
        self.asking = None;
    }

    /// Answers from the journal what was answered before the last start, on a thread that may wait for the disk.
    fn answer_again(&self, span: Span, reply: oneshot::Sender<Result<Answer, Refusal>>) {
        let reader = self.store.reader();
        tokio::task::spawn_blocking(move || {
            let found = reader.events_after(span.after, span.count).unwrap_or_else(|fault| {
                tracing::error!(%fault, "a repeated command cannot be answered as the first time");
                Vec::new()
            });
            let of_it = |(position, recorded)| (position <= span.after + span.count as u64).then_some(recorded);
            let records: Vec<Recorded> = found.into_iter().filter_map(of_it).collect();
            let whole = records.len() == span.count;
            // Whoever asked may have hung up.
            let _ = reply.send(if whole { Ok(Answer::Done { records }) } else { Err(Refusal::JournalFailing) });
        });
    }

    /// A call's sockets and keys come with it; they are in place before the order that uses them.
    fn take_phone(&mut self, said: PhoneSaid) {
        let PhoneSaid { phone, sign, sockets, shield } = said;
        let port = PortId::of_gateway(&phone);
        match (sockets, self.book.shard_of(port)) {
            (Some(sockets), _) => self.book.give(port, sockets, shield),
            (None, Some(shard)) if matches!(sign, PhoneSign::Media(_)) => {
                self.send(shard, ToShard::Shield { port, shield });
            }
            (None, _) => {}
        }
        self.feed(Input::Phone { phone, sign });
        self.book.close_given();
    }

    fn take_reports(&mut self) {
        for at in 0..self.shards.len() {
            for _ in 0..REPORTS_PER_ROUND {
                match self.shards[at].reports.pop() {
                    Ok(FromShard::Report(report)) => self.feed(Input::Report(report)),
                    Ok(FromShard::Rebuilt(shard)) => {
                        tracing::error!(shard = shard.0, "a shard was lost and has been rebuilt");
                        self.backlog[at]
                            .retain(|message| matches!(message, ToShard::Sockets(_) | ToShard::Shield { .. }));
                        self.feed(Input::ShardRebuilt { shard });
                    }
                    Err(_) => break,
                }
            }
        }
    }

    fn take_inner(&mut self, message: Inner) {
        match message {
            Inner::Committed(_, Ok(committed)) if committed.repeated => {
                self.take_failure("a key was used before that nobody remembered; nothing was written");
            }
            Inner::Committed(last, Ok(committed)) => {
                let key = self.in_flight.take().and_then(|flight| flight.key);
                key.into_iter().for_each(|key| self.answered.insert(key, &committed));
                self.failing_since = None;
                self.positions.extend(committed.first_position..=committed.last_position);
                self.feed(Input::Committed { ticket: last });
                if self.store.snapshot_is_due() {
                    let (reader, state) = (self.store.reader(), self.control.committed().clone());
                    tokio::task::spawn_blocking(move || reader.keep_snapshot(&state, committed.last_position));
                }
            }
            Inner::Committed(_, Err(fault)) => self.take_failure(&fault.to_string()),
            Inner::Rebuilt(Ok(state)) => {
                self.rebuilt = true;
                self.control.rebuilt(state, clock::now(), &mut self.outputs);
                self.carry_out(clock::now());
            }
            Inner::Rebuilt(Err(fault)) => {
                tracing::error!(%fault, "the journal cannot be read; trying again");
                self.failing_since = Some(clock::mono());
            }
        }
    }

    /// The append in flight is lost and with it all that waited behind it.
    fn take_failure(&mut self, cause: &str) {
        let Some(InFlight { first, key: _ }) = self.in_flight.take() else { return };
        tracing::error!(cause, "the journal does not record; nothing new is granted, cuts still work");
        self.queue.clear();
        self.store.forget_sequences();
        self.failing_since = Some(clock::mono());
        self.rebuilt = false;
        self.feed(Input::CommitFailed { ticket: first, cause: cause.to_owned() });
    }

    fn tick(&mut self) {
        self.take_reports();
        self.feed(Input::Tick);
        let now = clock::now();
        for (shard, opened) in self.book.retry(now.mono) {
            self.send(shard, ToShard::Sockets(opened));
        }
        self.tell_sockets(now);
        self.carry_out(now);
        for at in 0..self.shards.len() {
            self.send_backlog(at);
        }
        if self.failing_since.is_some_and(|since| now.mono.ms_since(since) >= JOURNAL_RETRY_MS) {
            self.failing_since = Some(now.mono);
            if self.rebuilt { self.feed(Input::JournalBack) } else { self.rebuild() }
        }
        self.end_if_a_thread_is_dead(now.mono);
        self.heartbeat.beat(now.mono);
        self.publish(now);
    }

    fn end_if_a_thread_is_dead(&self, now: MonoTime) {
        for shard in &self.shards {
            let beat = shard.stats.heartbeat();
            if beat != MonoTime::default() && now.ms_since(beat) > THREAD_DEAD_MS {
                tracing::error!(shard = shard.shard.0, "a media thread has stopped; ending so that nothing transmits");
                std::process::abort();
            }
        }
    }

    /// Carries out what control wants: orders before everything that may wait.
    fn carry_out(&mut self, now: Now) {
        while !self.outputs.is_empty() {
            self.changed = true;
            let outputs = std::mem::take(&mut self.outputs);
            let (orders, others): (Vec<_>, Vec<_>) = outputs
                .into_iter()
                .partition(|output| matches!(output, Output::Orders { .. } | Output::CondemnShard { .. }));
            for output in orders.into_iter().chain(others) {
                match output {
                    Output::Orders { shard, batch } => self.order(shard, batch, now),
                    Output::CondemnShard { shard } => self.shards[usize::from(shard.0)].condemn(),
                    Output::Append { ticket, records, idempotency_key } => {
                        let key = idempotency_key.and_then(|_| self.asking.take());
                        self.queue.push_back(Queued { ticket, records, key });
                    }
                    Output::Answer { request, outcome } => self.answer(request, outcome),
                    Output::Publish { records, durable } => self.tell(records, durable),
                    Output::RebuildFromJournal => self.rebuild(),
                    Output::Dial { line, number } => self.dialling.push(DialAsked { line, number }),
                }
            }
            self.append();
        }
        self.follow_addresses(now);
    }

    /// A gateway's own address is no order: a new one reaches the media thread as new sockets.
    fn follow_addresses(&mut self, now: Now) {
        for (shard, moved) in self.book.adopt(&self.control.state().configuration, now.mono) {
            self.send(shard, ToShard::Sockets(moved));
        }
        self.tell_sockets(now);
    }

    fn order(&mut self, shard: ShardId, batch: OrderBatch, now: Now) {
        self.follow_addresses(now);
        let sockets = self.book.follow(shard, &batch, now.mono);
        self.send(shard, ToShard::Orders { batch, sockets });
        self.tell_sockets(now);
    }

    /// What the system said of sockets becomes control's business; what follows is carried out with the rest.
    fn tell_sockets(&mut self, now: Now) {
        for (port, refused) in self.book.take_news() {
            let report = Report::Sockets { port, refused, at: now.mono };
            self.control.handle(Input::Report(report), now, &mut self.outputs);
        }
    }

    fn send(&mut self, shard: ShardId, message: ToShard) {
        let at = usize::from(shard.0);
        self.backlog[at].push_back(message);
        self.send_backlog(at);
    }

    fn send_backlog(&mut self, at: usize) {
        while let Some(message) = self.backlog[at].pop_front() {
            if let Err(message) = self.shards[at].send(message) {
                return self.backlog[at].push_front(message);
            }
        }
    }

    fn append(&mut self) {
        if self.in_flight.is_some() {
            return;
        }
        // A key answers for a whole append: what has one goes alone.
        let (mut group, mut ends, mut key) = (Vec::new(), None, None);
        while let Some(next) = self.queue.pop_front_if(|next| {
            let fits = group.len() + next.records.len() <= GROUP_RECORDS_MAX;
            ends.is_none() || fits && key.is_none() && next.key.is_none()
        }) {
            ends = Some((ends.map_or(next.ticket, |(first, _)| first), next.ticket));
            group.extend(next.records);
            key = next.key;
        }
        let Some((first, last)) = ends else { return };
        self.in_flight = Some(InFlight { first, key: key.clone() });
        let inner = self.inner.clone();
        match self.store.append(&group, key) {
            Ok(ticket) => {
                tokio::spawn(async move {
                    // The receiver is gone only when the task has ended.
                    let _ = inner.send(Inner::Committed(last, ticket.await));
                });
            }
            Err(fault) => {
                let _ = inner.send(Inner::Committed(last, Err(fault)));
            }
        }
    }

    fn rebuild(&mut self) {
        let (reader, inner) = (self.store.reader(), self.inner.clone());
        tokio::task::spawn_blocking(move || {
            let state = reader.read_state().map(|(state, _)| state).map_err(|fault| fault.to_string());
            let _ = inner.send(Inner::Rebuilt(state));
        });
    }

    fn answer(&mut self, request: RequestId, outcome: Result<Answer, Refusal>) {
        self.publish(clock::now());
        // A caller that has hung up does not want it any more.
        let _ = self.waiting.remove(&request).map(|reply| reply.send(outcome));
    }

    fn tell(&mut self, records: Vec<Recorded>, durable: bool) {
        for recorded in records {
            event_log::write(&recorded);
            let position = if durable { self.positions.pop_front() } else { None };
            // Without subscribers there is nobody to tell.
            let _ = self.happened.send(Happened { position, recorded: Arc::new(recorded) });
        }
    }

    /// Shows what control knows; an answer never arrives before the view that it changed.
    fn publish(&mut self, now: Now) {
        if !self.changed {
            return;
        }
        self.changed = false;
        let ready = self.control.shards().standing().all(|shard| shard.applied == shard.sent);
        self.seen.send_replace(Arc::new(Seen {
            state: self.control.state().clone(),
            live: self.control.live().clone(),
            at: now,
            journal: self.store.status(),
            ready,
            position: self.store.last_position(),
            bound: self.book.bound(),
            facts_lost: self.control.facts_lost(),
        }));
        for dial in std::mem::take(&mut self.dialling) {
            if let Err(mpsc::error::SendError(dial)) = self.dials.send(dial) {
                // Telephony was not started, or has stopped.
                let input = Input::Phone { phone: dial.line, sign: PhoneSign::Ended };
                self.control.handle(input, now, &mut self.outputs);
            }
        }
    }
}

/// Answers questions about history on threads that may wait for the disk.
async fn serve_history(reader: StoreReader, mut asked: mpsc::Receiver<HistoryAsked>) {
    while let Some(HistoryAsked { after, most, reply }) = asked.recv().await {
        let reader = reader.clone();
        let read = tokio::task::spawn_blocking(move || reader.events_after(after, most));
        let found = match read.await {
            Ok(Ok(events)) => Ok(events
                .into_iter()
                .map(|(position, recorded)| Happened { position: Some(position), recorded: Arc::new(recorded) })
                .collect()),
            Ok(Err(fault)) => Err(fault.to_string()),
            Err(fault) => Err(fault.to_string()),
        };
        let _ = reply.send(found);
    }
}
