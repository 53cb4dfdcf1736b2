//! Thousands of random commands, reports and waits by three agencies; after each step the promises are checked
//! against what the events alone say.

use std::collections::{BTreeMap, BTreeSet};

use crosspatch::dispatch::deadlines::schedule;
use crosspatch::dispatch::effect::touches_routes;
use crosspatch::dispatch::routes::compile;
use crosspatch::dispatch::{State, evolve};
use crosspatch::domain::audio::{Gain, Level};
use crosspatch::domain::command::Command;
use crosspatch::domain::configuration::{Agreement, Answer, Configuration, OnLoss};
use crosspatch::domain::event::{Event, Recorded};
use crosspatch::domain::floor::{FloorPolicy, Priority};
use crosspatch::domain::id::*;
use crosspatch::domain::incident::{Actor, CutTarget, Direction, Grant, LinkRequest, PartyClass};
use crosspatch::domain::random::Entropy;
use crosspatch::domain::report::{Report, Suspicion};
use crosspatch::domain::talker::Alias;

use crate::rig::*;

const AGENCIES: [&str; 3] = ["police", "fire", "ems"];
const TALKGROUPS: [&str; 5] = ["pd-1", "pd-2", "fd-1", "fd-2", "em-1"];
const GATEWAYS: [&str; 6] = ["gw-pd-1a", "gw-pd-1b", "gw-pd-2", "gw-fd-1", "gw-fd-2", "gw-em-1"];

fn world() -> Configuration {
    let mut configured = staffed(configuration(), OnLoss::Mute);
    configured.policy.recent_s = 120;
    for agency in configured.agencies.values_mut() {
        // Few enough that agencies meet.
        agency.incidents_max = 3;
    }
    let agreement = Agreement {
        between: [agency("police"), agency("ems")],
        talkgroups: [talkgroup("em-1")].into(),
        kinds: BTreeSet::new(),
        direction: Direction::Both,
        answer: Answer::Yes,
        lease_max_s: 1800,
        recording: false,
        end: None,
        standing: BTreeSet::new(),
    };
    configured.agreements.insert(AgreementId::new("aid").unwrap(), agreement);
    configured.talkgroups.get_mut(&talkgroup("fd-2")).unwrap().idle_unlink_s = 600;
    configured
}

/// Whose a talkgroup is by the names of this world.
fn owner_of(talkgroup: &TalkgroupId) -> AgencyId {
    let owner = match &talkgroup.as_str()[..3] {
        "pd-" => "police",
        "fd-" => "fire",
        _ => "ems",
    };
    agency(owner)
}

struct Dice(Entropy);

impl Dice {
    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let at = self.0.below(of.len() as u64) as usize;
        of.get(at).cloned()
    }
    fn id(&mut self, of: &[&str]) -> String {
        self.pick(of).unwrap().to_owned()
    }
    fn direction(&mut self) -> Direction {
        self.pick(&[Direction::Both, Direction::Both, Direction::Listen, Direction::Talk]).unwrap()
    }
    fn request(&mut self) -> LinkRequest {
        let mut request = LinkRequest::plain(talkgroup(&self.id(&TALKGROUPS)));
        request.direction = self.direction();
        request.shared_incidents = self.0.percent(50);
        request.lease_s = self.0.percent(50).then(|| 60 + self.0.next_u32() % 1800);
        request.hard_end_s = self.0.percent(50).then(|| 600 + self.0.next_u32() % 3600);
        request.priority = Priority(if self.0.percent(20) { self.0.next_u32() as u8 % 8 } else { 0 });
        request.gain = Gain(if self.0.percent(20) { 3000 } else { 300 });
        if self.0.percent(20) {
            request.classes.insert(PartyClass::LaterAgencies);
        }
        request
    }
    /// Own requests mostly, so that something comes of it.
    fn requests(&mut self, of: &str) -> Vec<LinkRequest> {
        let count = self.0.below(3);
        let own = |r: &LinkRequest| {
            r.talkgroup.as_str().starts_with(&of[..1]) || of == "police" && r.talkgroup.as_str().starts_with("pd")
        };
        let mut requests: Vec<_> = (0..count).map(|_| self.request()).collect();
        if self.0.percent(90) {
            requests.retain(own);
        }
        requests
    }

    fn command(&mut self, state: &State, of: &str) -> Command {
        let incidents: Vec<IncidentId> = state.incidents.keys().copied().collect();
        let own = self.0.percent(60);
        let links: Vec<(LinkId, IncidentId)> = state
            .links()
            .filter(|placed| !own || placed.link.owner == agency(of))
            .map(|placed| (placed.link_id, placed.incident_id))
            .collect();
        let emergencies: Vec<EmergencyId> = state.emergencies.keys().copied().collect();
        let mut incident = self.pick(&incidents).unwrap_or(IncidentId(1));
        let (link, home) = self.pick(&links).unwrap_or((LinkId(1), incident));
        if self.0.percent(60) {
            incident = home;
        }
        let emergency = self.pick(&emergencies).unwrap_or(EmergencyId(1));
        let other = agency(&self.id(&AGENCIES));
        let target = if self.0.percent(50) {
            CutTarget::Agency(agency(of))
        } else {
            CutTarget::Talkgroup(talkgroup(&self.id(&TALKGROUPS)))
        };
        let name = patch(&self.id(&["main", "main", "tac"]));
        match self.0.below(44) {
            0..3 => Command::OpenIncident {
                template: None,
                title: Some("x".into()),
                kind: None,
                exercise: self.0.percent(20),
                invite: if self.0.percent(50) { vec![other] } else { vec![] },
                links: self.requests(of),
            },
            3..8 => {
                let links = if self.0.percent(50) { vec![LinkRequest::plain(talkgroup("em-1"))] } else { vec![] };
                Command::Invite { incident, agency: other, note: String::new(), links }
            }
            8..15 => Command::Accept { incident, links: self.requests(of) },
            15 => Command::Decline { incident, reason: "busy".into() },
            16 => Command::AddPatch { incident, name, floor: None },
            17 => Command::ClosePatch { incident, name },
            18 => Command::SetFloor { incident, name, floor: FloorPolicy { holders_max: 1, ..FloorPolicy::default() } },
            19..25 => Command::Link { incident, request: self.request() },
            25 => Command::Unlink { link },
            26..28 => Command::Adjust {
                link,
                direction: self.0.percent(70).then(|| self.direction()),
                gain: self.0.percent(30).then_some(Gain(-300)),
                priority: self.0.percent(30).then_some(Priority(2)),
            },
            28 => Command::Extend { incident, link: self.0.percent(50).then_some(link), by_s: 600 },
            29..31 => {
                Command::Admit { link, agencies: [other].into(), classes: BTreeSet::new(), not_secure_reason: None }
            }
            31 => Command::OfferHost { incident, to: other },
            32 => Command::TakeHost { incident },
            33 => Command::Leave { incident },
            34 => Command::Remove { incident, agency: other },
            35 if self.0.percent(50) => Command::Close { incident, force: self.0.percent(50) },
            36 => Command::DeclareEmergency {
                talkgroup: talkgroup(&self.id(&TALKGROUPS)),
                talker: Alias::new("7"),
                place: String::new(),
            },
            37 => Command::AcknowledgeEmergency { emergency },
            38..40 => Command::ClearEmergency { emergency, reason: String::new() },
            40 if self.0.percent(20) => Command::Cut { target },
            40 | 41 => Command::Restore { target },
            42 => Command::Revoke { incident, name, burst: None },
            _ => Command::Beat { position: PositionId::new("police-1").unwrap() },
        }
    }
}

/// What the events alone say: who granted what to whom.
#[derive(Default)]
struct Ledger {
    grants: BTreeMap<LinkId, (TalkgroupId, Grant, IncidentId)>,
    exercise: BTreeMap<IncidentId, bool>,
    open_emergencies: BTreeMap<EmergencyId, AgencyId>,
    all_emergencies: BTreeSet<EmergencyId>,
    bursts: BTreeSet<(BurstId, PatchId)>,
    kinds: BTreeMap<String, u64>,
}

impl Ledger {
    fn note(&mut self, recorded: &Recorded) {
        let json = serde_json::to_value(&recorded.event).unwrap();
        *self.kinds.entry(json["event"].as_str().unwrap().to_owned()).or_default() += 1;
        match &recorded.event {
            Event::IncidentOpened { incident, exercise, .. } => {
                self.exercise.insert(*incident, *exercise);
            }
            Event::Linked { terms, incident, .. } => {
                let owner = owner_of(&terms.talkgroup);
                let said_by = match &recorded.actor {
                    Actor::User { agency, .. } => agency.clone().unwrap(),
                    Actor::Agreement(_) => agency("ems"),
                    other => panic!("{other:?} linked {}", terms.talkgroup),
                };
                assert_eq!(said_by, owner, "{} was linked by somebody else", terms.talkgroup);
                assert_eq!(terms.grant.issuer, owner, "the grant of {} names somebody else", terms.talkgroup);
                let others = self.grants.values().filter(|(t, _, i)| *t == terms.talkgroup && i != incident);
                let mut in_others = 0;
                for (_, _, other) in others {
                    in_others += 1;
                    assert_eq!(self.exercise[other], self.exercise[incident], "an exercise met reality");
                }
                assert!(in_others == 0 || terms.grant.shared_incidents, "a second incident without a second yes");
                let mut grant = terms.grant.clone();
                grant.direction = terms.direction;
                let before = self.grants.insert(terms.link, (terms.talkgroup.clone(), grant, *incident));
                assert!(before.is_none());
            }
            Event::Admitted { link, agencies, classes, .. } => {
                let (talkgroup, grant, _) = self.grants.get_mut(link).unwrap();
                let Actor::User { agency, .. } = &recorded.actor else { panic!() };
                assert_eq!(agency.as_ref(), Some(&owner_of(talkgroup)), "an audience was widened by somebody else");
                grant.audience.agencies.extend(agencies.iter().cloned());
                grant.audience.classes.extend(classes.iter().copied());
            }
            Event::Adjusted { link, direction, .. } => {
                let (_, grant, _) = self.grants.get_mut(link).unwrap();
                if let Actor::User { agency: Some(by), .. } = &recorded.actor
                    && *by == grant.issuer
                {
                    grant.direction = *direction;
                }
            }
            Event::Unlinked { link, .. } => {
                assert!(self.grants.remove(link).is_some(), "a grant ended twice");
            }
            Event::EmergencyDeclared { emergency, agency, .. } => {
                assert!(self.all_emergencies.insert(*emergency));
                self.open_emergencies.insert(*emergency, agency.clone());
            }
            Event::EmergencyCleared { emergency, .. } => {
                let owner = self.open_emergencies.remove(emergency).expect("an emergency was cleared twice");
                let by = matches!(&recorded.actor, Actor::User { agency, .. } if agency.as_ref() == Some(&owner));
                assert!(by, "an emergency was cleared by {:?}", recorded.actor);
            }
            Event::TalkBegan { burst, patch, .. } => assert!(self.bursts.insert((*burst, *patch))),
            Event::Talked { burst, patch, .. } => assert!(self.bursts.remove(&(*burst, *patch)), "a burst ended twice"),
            _ => {}
        }
    }

    /// Law 1 over the compiled routes: every way across a border has two live grants that name each other.
    fn check_routes(&self, desk: &Desk) {
        let table = compile(&desk.state, 2);
        let home: BTreeSet<PatchId> = TALKGROUPS.iter().map(|t| PatchId::home_of(&talkgroup(t))).collect();
        let crossing: Vec<_> = table.legs.iter().filter(|leg| !home.contains(&leg.patch)).collect();
        for leg in &crossing {
            assert!(self.grants.contains_key(&leg.link), "a leg without a live grant");
        }
        for talker in crossing.iter().filter(|leg| leg.talks) {
            for ear in crossing.iter().filter(|ear| ear.patch == talker.patch && ear.hears && ear.meets(talker)) {
                let (_, from, _) = &self.grants[&talker.link];
                let (_, to, _) = &self.grants[&ear.link];
                let admits = |one: &Grant, other: &Grant| {
                    one.issuer == other.issuer
                        || one.audience.agencies.contains(&other.issuer)
                        || one.audience.classes.contains(&PartyClass::LaterAgencies)
                };
                assert!(admits(from, to) && admits(to, from), "heard outside an audience");
                assert!(from.direction.talks() && to.direction.hears(), "heard against a direction");
            }
        }
        for leg in table.legs.iter().filter(|leg| home.contains(&leg.patch)) {
            let own =
                table.legs.iter().filter(|other| other.patch == leg.patch).all(|other| other.agency == leg.agency);
            assert!(own, "a home patch holds two agencies");
        }
    }

    fn check_state(&self, desk: &Desk) {
        let state = &desk.state;
        let links: BTreeSet<LinkId> = state.links().map(|placed| placed.link_id).collect();
        assert_eq!(links, self.grants.keys().copied().collect(), "links are exactly the live grants");
        for placed in state.links() {
            let link = placed.link;
            assert!(placed.incident.members.contains_key(&link.owner), "a link of who is not there");
            assert!(link.hard_end.end > desk.now.mono, "a link outlives its hard end");
            assert!(link.lease.end > desk.now.mono || link.overtime.is_some(), "a lease ran out unnoticed");
            assert!(!state.is_cut(&link.talkgroup), "a cut talkgroup is linked");
            let parties: BTreeSet<u8> = placed.patch.parties.values().copied().collect();
            assert_eq!(parties.len(), placed.patch.parties.len(), "two parties share a number");
        }
        for incident in state.incidents.values() {
            assert!(incident.members.contains_key(&incident.host) && !incident.patches.is_empty());
            assert!(incident.patches.contains_key(&incident.first));
            assert!(incident.members.keys().all(|member| !incident.invitations.contains_key(member)));
        }
        let open: BTreeSet<EmergencyId> = state.emergencies.keys().copied().collect();
        assert_eq!(open, self.open_emergencies.keys().copied().collect());
        assert!(schedule(state, &desk.live).iter().all(|(at, _)| *at > desk.now.mono), "something due was left");
    }
}

fn talk(desk: &mut Desk, dice: &mut Dice, talking: &mut Vec<(BurstId, String)>) {
    let id = dice.id(&GATEWAYS);
    let linked = desk.state.configuration.gateways[&gateway(&id)].talkgroup.clone();
    if let Some((burst, id)) = talking.pop() {
        let linked = desk.state.configuration.gateways[&gateway(&id)].talkgroup.clone();
        if desk.state.links_of(&linked).next().is_some() {
            desk.unkey(burst, &id, 500);
            return;
        }
        let Some((patch, talk)) = desk.live.bursts.get(&burst).and_then(|b| b.talks.first_key_value()) else { return };
        let (patch, port) = (*patch, talk.port);
        let cause = crosspatch::domain::floor::BurstEnd::LegLeft;
        let leg = LegId(port.0);
        desk.report(Report::BurstEnded { burst, patch, leg, cause, duration_ms: 1, at: desk.now.mono });
    } else if desk.state.links_of(&linked).next().is_some() {
        talking.push((desk.key(&id), id));
    }
}

fn suspect(desk: &mut Desk, dice: &mut Dice) {
    let id = dice.id(&GATEWAYS);
    let linked = desk.state.configuration.gateways[&gateway(&id)].talkgroup.clone();
    if desk.state.links_of(&linked).next().is_none() {
        return;
    }
    let (_, leg) = desk.place(&id);
    let of = match dice.0.below(3) {
        0 => Suspicion::Returns { delay_ms: 400, down: Level(9), generations: dice.0.below(4) as u8 },
        1 => Suspicion::StuckReceiver { keyed_ms: 90_000 },
        _ => Suspicion::NoiseWithoutSpeech { ms: 9000 },
    };
    desk.report(Report::Suspected { leg, port: port(&id), of, at: desk.now.mono });
}

fn replay(journal: &[Recorded]) -> State {
    let mut state = State::default();
    journal.iter().for_each(|recorded| evolve(&mut state, recorded));
    state
}

fn live_a_while(seed: u64, steps: u32) -> (Desk, Ledger) {
    let mut desk = Desk::new(world());
    desk.entropy = Entropy::new(seed);
    let mut dice = Dice(Entropy::new(seed ^ 0xfeed));
    let mut ledger = Ledger::default();
    let mut talking = Vec::new();
    let mut noted = 0;
    for step in 0..steps {
        let before = desk.state.clone();
        match dice.0.below(20) {
            0 => drop(desk.wait_s(dice.0.below(300))),
            1 | 2 => talk(&mut desk, &mut dice, &mut talking),
            3 => suspect(&mut desk, &mut dice),
            4 => {
                let keyed = Report::EmergencyKeyed {
                    port: port(&dice.id(&GATEWAYS)),
                    talker: Alias::new("E"),
                    at: desk.now.mono,
                };
                if dice.0.percent(20) {
                    desk.report(keyed);
                }
            }
            _ => {
                let mut of = dice.id(&AGENCIES);
                let hosts: Vec<String> = desk.state.incidents.values().map(|i| i.host.to_string()).collect();
                if dice.0.percent(30) {
                    of = dice.pick(&hosts).unwrap_or(of);
                }
                let mut command = dice.command(&desk.state, &of);
                let offered = desk.state.incidents.iter().find_map(|(id, i)| Some((*id, i.offered.clone()?)));
                if let Some((incident, to)) = offered.filter(|_| dice.0.percent(3)) {
                    (of, command) = (to.to_string(), Command::TakeHost { incident });
                }
                let _ = desk.ask(&dispatcher(&of), command);
            }
        }
        desk.wait_s(1);
        let news = &desk.journal[noted..];
        news.iter().for_each(|recorded| ledger.note(recorded));
        if !news.iter().any(|recorded| touches_routes(&recorded.event)) {
            assert_eq!(compile(&before, 2), compile(&desk.state, 2), "routes changed behind touches_routes: {news:?}");
        }
        noted = desk.journal.len();
        ledger.check_state(&desk);
        ledger.check_routes(&desk);
        if step % 500 == 499 {
            assert_eq!(replay(&desk.journal), desk.state, "seed {seed}: a replay gives another state");
        }
    }
    (desk, ledger)
}

#[test]
fn no_sequence_of_commands_breaks_consent_leases_or_replay() {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 0..12 {
        let (desk, ledger) = live_a_while(seed, 2000);
        for (kind, count) in ledger.kinds {
            *kinds.entry(kind).or_default() += count;
        }
        let text = serde_json::to_string(&desk.state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), desk.state);
        for recorded in &desk.journal {
            let text = serde_json::to_string(recorded).unwrap();
            assert_eq!(serde_json::from_str::<Recorded>(&text).unwrap(), *recorded);
        }
    }
    for kind in [
        "linked",
        "unlinked",
        "admitted",
        "adjusted",
        "extended",
        "overtime_began",
        "overtime_runs",
        "expiry_warned",
        "idle_warned",
        "invitation_escalated",
        "accepted",
        "declined",
        "left",
        "removed",
        "closed",
        "cut_made",
        "cut_lifted",
        "emergency_declared",
        "emergency_cleared",
        "position_lost",
        "talk_began",
        "talked",
        "patch_closed",
        "loop_suspected",
    ] {
        assert!(kinds.get(kind).is_some_and(|count| *count > 0), "no sequence led to {kind}: {kinds:#?}");
    }
}

#[test]
fn any_journal_with_holes_leads_to_a_state() {
    let (desk, _) = live_a_while(99, 1500);
    let mut entropy = Entropy::new(5);
    for _ in 0..30 {
        let mut journal: Vec<Recorded> = desk.journal.iter().filter(|_| entropy.percent(80)).cloned().collect();
        for _ in 0..20 {
            let (a, b) = (entropy.below(journal.len() as u64) as usize, entropy.below(journal.len() as u64) as usize);
            journal.swap(a, b);
        }
        let state = replay(&journal);
        let _ = compile(&state, 2);
    }
}

#[test]
fn no_event_changes_the_routes_behind_touches_routes() {
    let (mut desk, _) = live_a_while(7, 400);
    let mut quiet = Desk::new(configuration());
    let incident = quiet.open("police", &["pd-1"]);
    quiet.join("police", incident, "fire", &["fd-1"]);
    quiet.join("police", incident, "ems", &["em-1"]);
    let (link, agencies) = (quiet.link_of("fd-1"), [agency("ems")].into());
    quiet.order("fire", Command::Admit { link, agencies, classes: BTreeSet::new(), not_secure_reason: None });
    desk.journal.extend(quiet.journal);
    let mut state = State::default();
    let mut table = compile(&state, 2);
    for recorded in &desk.journal {
        evolve(&mut state, recorded);
        let after = compile(&state, 2);
        assert!(touches_routes(&recorded.event) || table == after, "{:?} changed the routes", recorded.event);
        table = after;
    }
}
