//! Law 2 on the loop: what takes is in force before the journal has it, what gives only after; a journal that is
//! late, batches or fails; shards that are late or rebuilt.

use std::collections::BTreeMap;

use crosspatch::dispatch::control::{Answer, Control, Input, Output, RequestId, Ticket};
use crosspatch::dispatch::{State, evolve};
use crosspatch::domain::command::{Command, Principal};
use crosspatch::domain::configuration::{Announce, Configuration};
use crosspatch::domain::event::{Alarm, Event, Recorded, Stream};
use crosspatch::domain::floor::{BurstEnd, Denial};
use crosspatch::domain::id::*;
use crosspatch::domain::incident::{Actor, CutTarget, LinkRequest};
use crosspatch::domain::order::{Notice, Order, RouteVersion};
use crosspatch::domain::port::{ShardId, TransmitKeying};
use crosspatch::domain::refusal::Refusal;
use crosspatch::domain::report::Report;
use crosspatch::domain::talker::Alias;
use crosspatch::domain::time::{Now, WallTime};

use crate::rig::*;

/// The world around the loop: a journal and shards that do what the test lets them do.
struct World {
    control: Control,
    now: Now,
    /// What the disk holds.
    disk: Vec<Recorded>,
    /// Appends that wait, oldest first.
    appends: Vec<(Ticket, Vec<Recorded>)>,
    /// The last version each shard was told.
    told: BTreeMap<ShardId, RouteVersion>,
    /// Everything put out and not looked at yet.
    seen: Vec<Output>,
    answers: BTreeMap<u64, Result<Answer, Refusal>>,
    requests: u64,
    shards_obey: bool,
    journal_obeys: bool,
}

impl World {
    fn new() -> Self {
        Self::with(configuration())
    }

    fn with(configuration: Configuration) -> Self {
        let now = at_s(0);
        let event = Event::ConfigurationAdopted { configuration: Box::new(configuration) };
        let disk = vec![Recorded { stream: Stream::Node, actor: Actor::Recovery, at: now, event }];
        let mut out = Vec::new();
        let control = Control::start(replay(&disk), "test", 2, 1, now, &mut out);
        let mut world = Self {
            control,
            now,
            disk,
            appends: Vec::new(),
            told: BTreeMap::new(),
            seen: Vec::new(),
            answers: BTreeMap::new(),
            requests: 0,
            shards_obey: true,
            journal_obeys: true,
        };
        world.take(out);
        world
    }

    fn put(&mut self, input: Input) {
        let mut out = Vec::new();
        self.control.handle(input, self.now, &mut out);
        self.take(out);
    }

    /// Notes outputs, and lets shards and journal answer if they obey.
    fn take(&mut self, out: Vec<Output>) {
        for output in out {
            match &output {
                Output::Append { ticket, records, .. } => self.appends.push((*ticket, records.clone())),
                Output::Orders { shard, batch } => {
                    let last = self.told.insert(*shard, batch.version);
                    assert!(last.is_none_or(|last| last < batch.version), "versions rise");
                }
                Output::Answer { request, outcome } => {
                    let twice = self.answers.insert(request.0, outcome.clone());
                    assert!(twice.is_none(), "request {request:?} was answered twice");
                }
                Output::Publish { .. }
                | Output::RebuildFromJournal
                | Output::Dial { .. }
                | Output::CondemnShard { .. } => {}
            }
            self.seen.push(output);
        }
        if self.journal_obeys && !self.appends.is_empty() {
            self.commit_all();
        }
        if self.shards_obey && !self.told.is_empty() {
            self.apply_all();
        }
    }

    /// One commit for everything that waits.
    fn commit_all(&mut self) {
        let Some((ticket, _)) = self.appends.last().cloned() else { return };
        for (_, records) in std::mem::take(&mut self.appends) {
            self.disk.extend(records);
        }
        self.put(Input::Committed { ticket });
        assert_eq!(*self.control.committed(), replay(&self.disk), "committed is what the disk holds");
    }

    fn fail(&mut self) {
        let ticket = self.appends.remove(0).0;
        self.appends.clear();
        self.put(Input::CommitFailed { ticket, cause: "no space left".into() });
    }

    fn rebuild(&mut self) {
        let mut out = Vec::new();
        self.control.rebuilt(replay(&self.disk), self.now, &mut out);
        self.take(out);
    }

    fn apply_all(&mut self) {
        for (shard, version) in std::mem::take(&mut self.told) {
            self.put(Input::Report(Report::Applied { shard, version }));
        }
    }

    fn pass_ms(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(5) {
            self.now = Now { mono: self.now.mono.plus_ms(5), wall: self.now.wall.plus_ms(5) };
            self.put(Input::Tick);
        }
    }

    fn ask(&mut self, who: &Principal, command: Command, key: Option<&str>) -> u64 {
        self.requests += 1;
        let (request, principal) = (RequestId(self.requests), who.clone());
        self.put(Input::Command { request, command, principal, idempotency_key: key.map(str::to_owned) });
        self.requests
    }

    fn order(&mut self, of: &str, command: Command) -> u64 {
        self.ask(&dispatcher(of), command, None)
    }

    fn answer(&self, request: u64) -> Option<&Result<Answer, Refusal>> {
        self.answers.get(&request)
    }

    fn hears(&self, listener: &str, talker: &str) -> bool {
        hears(self.control.in_force(), listener, talker)
    }

    /// pd-1 and fd-1 linked in one incident.
    fn linked() -> (Self, IncidentId) {
        Self::linked_with(configuration())
    }

    fn linked_with(configuration: Configuration) -> (Self, IncidentId) {
        let mut world = Self::with(configuration);
        world.order("police", opening("Fire", vec![LinkRequest::plain(talkgroup("pd-1"))]));
        let incident = *world.control.state().incidents.keys().next().unwrap();
        world.order("police", Command::Invite { incident, agency: agency("fire"), note: String::new(), links: vec![] });
        world.order("fire", Command::Accept { incident, links: vec![LinkRequest::plain(talkgroup("fd-1"))] });
        assert!(world.hears("pd-1", "fd-1") && world.hears("fd-1", "pd-1"));
        world.seen.clear();
        (world, incident)
    }

    fn cut(&mut self) -> u64 {
        self.order("fire", Command::Cut { target: CutTarget::Agency(agency("fire")) })
    }

    fn published(&self, durable: bool) -> Vec<&Event> {
        let of =
            |output: &'_ Output| if let Output::Publish { durable: d, .. } = output { *d == durable } else { false };
        let records = self
            .seen
            .iter()
            .filter(|o| of(o))
            .filter_map(|o| if let Output::Publish { records, .. } = o { Some(records) } else { None });
        records.flatten().map(|recorded| &recorded.event).collect()
    }

    fn talks(&mut self, id: &str, burst: u128, starts: bool) {
        let placed = self.control.state().links().find(|p| p.link.talkgroup == talkgroup(id)).unwrap();
        let gateway_id = match id {
            "pd-1" => "gw-pd-1a",
            _ => "gw-fd-1",
        };
        let (burst, patch, leg) = (BurstId(burst), placed.patch_id, LegId::of(placed.link_id, port(gateway_id)));
        let (port, at) = (port(gateway_id), self.now.mono);
        let talker = Alias::default();
        self.put(Input::Report(if starts {
            Report::BurstStarted { burst, patch, leg, port, talker, emergency: false, at }
        } else {
            Report::BurstEnded { burst, patch, leg, cause: BurstEnd::Released, duration_ms: 900, at }
        }));
    }
}

fn replay(journal: &[Recorded]) -> State {
    let mut state = State::default();
    journal.iter().for_each(|recorded| evolve(&mut state, recorded));
    state
}

fn is_done(answer: Option<&Result<Answer, Refusal>>) -> bool {
    matches!(answer, Some(Ok(Answer::Done { .. })))
}
fn is_not_recorded(answer: Option<&Result<Answer, Refusal>>) -> bool {
    matches!(answer, Some(Ok(Answer::EffectiveNotRecorded { .. })))
}

#[test]
fn a_start_records_itself_and_orders_every_shard_this_and_nothing_else() {
    let world = World::new();
    let only = |o: &&Output| matches!(o, Output::Orders { batch, .. } if matches!(batch.orders[..], [Order::Only(_)]));
    assert_eq!(world.seen.iter().filter(only).count(), 2);
    assert!(matches!(world.disk[1].event, Event::Started { epoch: 1, .. }));
}

#[test]
fn what_gives_is_in_force_only_once_it_is_durable_and_answered_only_once_it_is_in_force() {
    let (mut world, incident) = World::linked();
    world.journal_obeys = false;
    world.shards_obey = false;
    let request = world.order("police", link(incident, "pd-2"));
    assert!(!world.hears("pd-2", "fd-1"), "a widening acted before its commit");
    assert!(!world.seen.iter().any(|o| matches!(o, Output::Orders { .. } | Output::Publish { .. })));
    world.commit_all();
    assert!(world.hears("pd-2", "fd-1"));
    assert_eq!(world.answer(request), None, "no shard has applied it");
    world.apply_all();
    assert!(is_done(world.answer(request)));
}

#[test]
fn what_takes_is_in_force_before_its_commit_and_is_answered_when_both_are_done() {
    let (mut world, _) = World::linked();
    world.journal_obeys = false;
    world.shards_obey = false;
    let request = world.cut();
    assert!(!world.hears("pd-1", "fd-1") && !world.hears("fd-1", "pd-1"), "a cut waited for the journal");
    let first_orders = world.seen.iter().position(|o| matches!(o, Output::Orders { .. })).unwrap();
    let append = world.seen.iter().position(|o| matches!(o, Output::Append { .. })).unwrap();
    assert!(first_orders < append, "media first, the journal second");
    world.commit_all();
    assert_eq!(world.answer(request), None, "answered before any shard had applied it");
    world.apply_all();
    assert!(is_done(world.answer(request)));
}

#[test]
fn a_cut_is_answered_within_fifty_milliseconds_of_a_journal_that_blocks() {
    let (mut world, _) = World::linked();
    world.journal_obeys = false;
    let request = world.cut();
    assert_eq!(world.answer(request), None);
    world.pass_ms(40);
    assert!(is_not_recorded(world.answer(request)));
    world.commit_all();
    assert!(world.control.committed().cuts.contains(&CutTarget::Agency(agency("fire"))), "and recorded later");
}

#[test]
fn what_is_cut_and_given_back_while_the_journal_sleeps_stays_cut_until_it_wakes() {
    let (mut world, incident) = World::linked();
    world.journal_obeys = false;
    let unlink = Command::Unlink {
        link: world.control.state().links().find(|p| p.link.owner == agency("fire")).unwrap().link_id,
    };
    world.order("fire", unlink);
    let relink = world.order("fire", link(incident, "fd-1"));
    world.pass_ms(500);
    assert!(!world.hears("pd-1", "fd-1"));
    assert_eq!(world.answer(relink), None);
    world.commit_all();
    assert!(world.hears("pd-1", "fd-1") && is_done(world.answer(relink)));
}

#[test]
fn one_commit_releases_everything_before_it() {
    let (mut world, incident) = World::linked();
    world.journal_obeys = false;
    let first = world.order("police", link(incident, "pd-2"));
    let second = world.order("fire", link(incident, "fd-2"));
    world.commit_all();
    assert!(is_done(world.answer(first)) && is_done(world.answer(second)));
}

#[test]
fn a_failed_commit_refuses_gifts_and_keeps_cuts_in_force_until_the_journal_has_them() {
    let (mut world, incident) = World::linked();
    world.journal_obeys = false;
    let gift = world.order("police", link(incident, "pd-2"));
    let cut = world.cut();
    world.seen.clear();
    world.fail();
    assert_eq!(world.answer(gift), Some(&Err(Refusal::JournalFailing)));
    assert!(is_not_recorded(world.answer(cut)));
    assert!(world.seen.contains(&Output::RebuildFromJournal));
    assert!(
        world.published(false).iter().any(|e| matches!(e, Event::AlarmRaised { alarm: Alarm::JournalFailing { .. } }))
    );
    assert!(!world.hears("pd-1", "fd-1") && !world.hears("pd-2", "fd-1"));
    world.rebuild();
    assert!(!world.hears("pd-1", "fd-1"), "the rebuild forgot the cut");
    let another = world.order("police", link(incident, "pd-2"));
    assert_eq!(world.answer(another), Some(&Err(Refusal::JournalFailing)));
    let second = world.order("police", Command::Cut { target: CutTarget::Talkgroup(talkgroup("pd-1")) });
    assert!(is_not_recorded(world.answer(second)), "cuts still work");
    let help = world.order(
        "fire",
        Command::DeclareEmergency { talkgroup: talkgroup("fd-1"), talker: Alias::new("7"), place: String::new() },
    );
    assert!(is_not_recorded(world.answer(help)), "help does not wait for a disk");
    assert!(world.control.in_force().emergencies.contains(&(port("gw-fd-1"), Alias::new("7"))));
    world.journal_obeys = true;
    world.put(Input::JournalBack);
    let committed = world.control.committed();
    assert!(committed.cuts.len() == 2 && committed.emergencies.len() == 1, "what was unrecorded is recorded now");
    assert!(committed.alarms.is_empty(), "{:?}", committed.alarms);
    assert_eq!(committed, world.control.state());
    let again = world.order("police", link(incident, "pd-2"));
    assert!(is_done(world.answer(again)));
}

#[test]
fn a_disk_that_neither_answers_nor_fails_is_an_alarm_and_nothing_new_is_promised_meanwhile() {
    let (mut world, incident) = World::linked();
    world.journal_obeys = false;
    let waits = world.order("police", link(incident, "pd-2"));
    world.pass_ms(4_900);
    assert!(world.control.state().alarms.is_empty(), "a slow disk is no alarm");
    world.pass_ms(200);
    let hangs = |alarm: &Alarm| matches!(alarm, Alarm::JournalFailing { .. });
    assert!(world.control.state().alarms.iter().any(hangs));
    let gift = world.order("fire", link(incident, "fd-2"));
    assert_eq!(world.answer(gift), Some(&Err(Refusal::JournalFailing)));
    assert_eq!(world.answer(waits), None, "nobody knows whether the disk has it");
    world.cut();
    assert!(!world.hears("pd-1", "fd-1"), "cuts wait for no disk");
    world.journal_obeys = true;
    world.commit_all();
    world.pass_ms(40);
    assert!(is_done(world.answer(waits)));
    assert!(!world.control.state().alarms.iter().any(hangs), "{:?}", world.control.state().alarms);
}

#[test]
fn nothing_is_granted_before_the_state_was_rebuilt_even_if_the_journal_is_back() {
    let (mut world, incident) = World::linked();
    world.journal_obeys = false;
    world.order("police", link(incident, "pd-2"));
    world.fail();
    world.put(Input::JournalBack);
    let early = world.order("police", link(incident, "pd-2"));
    assert_eq!(world.answer(early), Some(&Err(Refusal::JournalFailing)));
    assert!(world.appends.is_empty());
    world.journal_obeys = true;
    world.rebuild();
    let late = world.order("police", link(incident, "pd-2"));
    assert!(is_done(world.answer(late)));
}

#[test]
fn a_journal_that_fails_again_loses_no_cut() {
    let (mut world, _) = World::linked();
    world.journal_obeys = false;
    world.cut();
    for _ in 0..3 {
        world.fail();
        world.rebuild();
        assert!(!world.hears("pd-1", "fd-1"));
        world.put(Input::JournalBack);
        assert_eq!(world.appends.len(), 1, "it is offered again");
        assert!(!world.hears("pd-1", "fd-1"));
    }
    world.commit_all();
    assert!(world.control.committed().cuts.contains(&CutTarget::Agency(agency("fire"))));
    assert_eq!(world.control.journal_failure(), None);
}

#[test]
fn a_burst_seen_while_the_journal_fails_is_recorded_afterwards() {
    let (mut world, _) = World::linked();
    world.journal_obeys = false;
    world.talks("pd-1", 1, true);
    world.fail();
    world.rebuild();
    world.talks("pd-1", 1, false);
    world.pass_ms(6000);
    world.journal_obeys = true;
    world.put(Input::JournalBack);
    let count = |wanted: fn(&Event) -> bool| world.disk.iter().filter(|r| wanted(&r.event)).count();
    assert_eq!(count(|e| matches!(e, Event::TalkBegan { .. })), 1);
    assert_eq!(count(|e| matches!(e, Event::Talked { .. })), 1);
}

#[test]
fn a_shard_that_does_not_apply_a_cut_is_condemned_and_then_told_everything() {
    let (mut world, _) = World::linked();
    world.shards_obey = false;
    let request = world.cut();
    world.pass_ms(60);
    assert!(world.control.shards().standing().any(|s| s.late));
    world.pass_ms(140);
    let condemned: Vec<ShardId> = world
        .seen
        .iter()
        .filter_map(|o| if let Output::CondemnShard { shard } = o { Some(*shard) } else { None })
        .collect();
    assert!(!condemned.is_empty());
    assert_eq!(world.answer(request), None);
    world.seen.clear();
    for shard in condemned {
        world.put(Input::ShardRebuilt { shard });
        let only = |o: &Output| matches!(o, Output::Orders { shard: s, batch } if *s == shard && matches!(batch.orders[..], [Order::Only(_)]));
        assert!(world.seen.iter().any(only));
    }
    world.apply_all();
    assert!(is_done(world.answer(request)));
    assert!(world.control.shards().standing().all(|s| !s.late && !s.condemned));
}

#[test]
fn a_shard_without_its_first_routes_is_not_late_with_a_cut_and_is_from_then_on() {
    let (mut world, _) = World::linked();
    world.shards_obey = false;
    let lives = [ShardId(0), ShardId(1)];
    lives.into_iter().for_each(|shard| world.put(Input::ShardRebuilt { shard }));
    let first = world.told.clone();
    world.cut();
    world.pass_ms(1_000);
    let condemned = |world: &World| world.seen.iter().filter(|o| matches!(o, Output::CondemnShard { .. })).count();
    assert_eq!(condemned(&world), 0, "whoever has no routes lets nothing through");
    assert!(world.control.shards().standing().all(|s| !s.late));
    for (shard, version) in first {
        world.put(Input::Report(Report::Applied { shard, version }));
    }
    world.pass_ms(190);
    assert!(condemned(&world) == 0 && world.control.shards().standing().any(|s| s.late));
    world.pass_ms(10);
    assert!(condemned(&world) > 0, "with routes it carries what was cut");
}

#[test]
fn a_shard_that_never_comes_back_is_said_to_be_late() {
    let (mut world, _) = World::linked();
    world.shards_obey = false;
    let request = world.cut();
    world.pass_ms(2000);
    assert_eq!(world.answer(request), Some(&Err(Refusal::MediaLate)));
}

#[test]
fn a_rebuilt_shard_ends_its_bursts() {
    let (mut world, _) = World::linked();
    world.talks("pd-1", 1, true);
    assert_eq!(world.control.state().talking.len(), 1);
    for shard in [ShardId(0), ShardId(1)] {
        world.put(Input::ShardRebuilt { shard });
    }
    world.pass_ms(6000);
    let ended = |e: &&&Event| matches!(e, Event::Talked { end: BurstEnd::Restart, .. });
    assert_eq!(world.published(true).iter().filter(ended).count(), 1);
    assert!(world.control.state().talking.is_empty());
}

#[test]
fn a_key_gives_the_same_answer_again_and_refuses_another_command() {
    let (mut world, incident) = World::linked();
    let note = |text: &str| Command::Note { incident, text: text.into() };
    let police = dispatcher("police");
    world.journal_obeys = false;
    let first = world.ask(&police, note("a"), Some("k1"));
    let waiting = world.ask(&police, note("a"), Some("k1"));
    assert!(world.answer(first).is_none() && world.answer(waiting).is_none());
    world.journal_obeys = true;
    world.commit_all();
    let later = world.ask(&police, note("a"), Some("k1"));
    assert_eq!(world.answer(first), world.answer(later));
    assert_eq!(world.answer(first), world.answer(waiting));
    assert_eq!(world.disk.iter().filter(|r| matches!(r.event, Event::Noted { .. })).count(), 1, "done once");
    let other = world.ask(&police, note("b"), Some("k1"));
    assert_eq!(world.answer(other), Some(&Err(Refusal::KeyReused)));
    let fire = world.ask(&dispatcher("fire"), note("b"), Some("k1"));
    assert!(is_done(world.answer(fire)), "another user's key is another key");
}

#[test]
fn a_refusal_that_says_not_now_does_not_use_up_its_key() {
    let (mut world, incident) = World::linked();
    let note = || Command::Note { incident, text: "a".into() };
    world.journal_obeys = false;
    let first = world.ask(&dispatcher("police"), note(), Some("k1"));
    world.fail();
    assert_eq!(world.answer(first), Some(&Err(Refusal::JournalFailing)));
    world.rebuild();
    world.journal_obeys = true;
    world.put(Input::JournalBack);
    let again = world.ask(&dispatcher("police"), note(), Some("k1"));
    assert!(is_done(world.answer(again)));
}

#[test]
fn while_draining_cuts_work_and_nothing_is_given() {
    let (mut world, incident) = World::linked();
    world.put(Input::Drain);
    let gift = world.order("police", link(incident, "pd-2"));
    assert_eq!(world.answer(gift), Some(&Err(Refusal::Draining)));
    let cut = world.cut();
    assert!(is_done(world.answer(cut)) && !world.hears("pd-1", "fd-1"));
}

#[test]
fn a_jump_of_the_wall_clock_is_recorded_once() {
    let (mut world, _) = World::linked();
    world.now.wall = WallTime(world.now.wall.0 + 3_600_000);
    world.pass_ms(100);
    world.now.wall = WallTime(world.now.wall.0 + 500);
    world.pass_ms(100);
    let steps: Vec<_> = world.published(true).into_iter().filter(|e| matches!(e, Event::ClockStepped { .. })).collect();
    assert_eq!(steps, [&Event::ClockStepped { by_ms: 3_600_000 }]);
}

#[test]
fn a_changed_port_that_talks_waits_for_its_bursts_end_unless_it_narrows() {
    let (mut world, _) = World::linked();
    let mut wanted = configuration();
    wanted.gateways.get_mut(&gateway("gw-pd-1a")).unwrap().port.trim.0 = 300;
    world.talks("pd-1", 1, true);
    world.seen.clear();
    let request = world.ask(&admin(), Command::Adopt { configuration: Box::new(wanted) }, None);
    assert!(is_done(world.answer(request)));
    let reopened = |world: &World| {
        world.seen.iter().any(|o| match o {
            Output::Orders { batch, .. } => {
                batch.orders.iter().any(|o| matches!(o, Order::OpenPort(p) if p.port == port("gw-pd-1a")))
            }
            _ => false,
        })
    };
    assert!(!reopened(&world), "a talking port was changed under its talker");
    world.talks("pd-1", 1, false);
    assert!(reopened(&world));
}

/// Tones that were ordered, and where.
fn notices(world: &World) -> Vec<(PortId, Notice)> {
    let orders =
        world.seen.iter().filter_map(|o| if let Output::Orders { batch, .. } = o { Some(&batch.orders) } else { None });
    let notice = |o: &Order| if let Order::Announce { port, notice } = o { Some((*port, *notice)) } else { None };
    orders.flatten().filter_map(notice).collect()
}

#[test]
fn a_link_is_heard_at_its_own_edge_once_it_is_durable() {
    let (mut world, incident) = World::linked();
    world.journal_obeys = false;
    world.order("police", link(incident, "pd-2"));
    assert!(notices(&world).is_empty());
    world.commit_all();
    assert_eq!(notices(&world), [(port("gw-pd-2"), Notice::Linked)]);
}

#[test]
fn a_talker_without_the_floor_is_told_by_a_tone_if_it_can_hear_and_reads_no_word_of_ours() {
    let told = |change: &dyn Fn(&mut Configuration)| {
        let mut configuration = configuration();
        change(&mut configuration);
        let (mut world, _) = World::linked_with(configuration);
        let own = talkgroup("pd-1");
        let placed = world.control.committed().links_of(&own).next().unwrap();
        let (patch, leg) = (placed.patch_id, LegId::of(placed.link_id, port("gw-pd-1a")));
        world.seen.clear();
        let (cause, at) = (Denial::Busy, world.now.mono);
        world.put(Input::Report(Report::Denied { patch, leg, cause, at }));
        world.put(Input::Report(Report::Queued { patch, leg, position: 1, at }));
        notices(&world)
    };
    let transmit = |configuration: &mut Configuration, half_duplex, keying| {
        let transmit = &mut configuration.gateways.get_mut(&gateway("gw-pd-1a")).unwrap().port.transmit;
        (transmit.half_duplex, transmit.keying) = (half_duplex, keying);
    };
    let own = port("gw-pd-1a");
    let phone = |configuration: &mut Configuration| transmit(configuration, false, TransmitKeying::Presence);
    assert_eq!(told(&phone), [(own, Notice::Denied), (own, Notice::Queued)]);
    assert_eq!(told(&|c| transmit(c, true, TransmitKeying::Presence)), [], "a radio is deaf while it talks");
    assert_eq!(told(&|c| transmit(c, false, TransmitKeying::Ext)), [], "a client reads it");
    let silent = |configuration: &mut Configuration| {
        phone(configuration);
        configuration.talkgroups.get_mut(&talkgroup("pd-1")).unwrap().announce = Announce::Off;
    };
    assert_eq!(told(&silent), [], "nobody wants tones");
}
