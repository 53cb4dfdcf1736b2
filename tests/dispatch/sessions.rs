//! Who may hear whom through a session's life: audiences, consent, templates, agreements, hosts, positions, loops.

use std::collections::{BTreeMap, BTreeSet};

use crosspatch::dispatch::State;
use crosspatch::dispatch::routes::compile;
use crosspatch::dispatch::view::roster;
use crosspatch::domain::audio::Level;
use crosspatch::domain::command::Command;
use crosspatch::domain::configuration::{
    Agreement, Answer, Configuration, OnLoop, OnLoss, Template, TemplateLink, TemplatePatch,
};
use crosspatch::domain::event::Event;
use crosspatch::domain::floor::FloorPolicy;
use crosspatch::domain::id::*;
use crosspatch::domain::incident::{Actor, CutTarget, Direction, LinkRequest, PartyClass};
use crosspatch::domain::report::{Report, Suspicion};
use crosspatch::domain::talker::Alias;

use crate::rig::*;

fn may_hear(state: &State, listener: &str, talker: &str) -> bool {
    hears(&compile(state, 2), listener, talker)
}

fn admit(link: LinkId, whom: &str) -> Command {
    Command::Admit { link, agencies: [agency(whom)].into(), classes: BTreeSet::new(), not_secure_reason: None }
}

#[test]
fn without_a_link_nothing_crosses_and_with_two_both_ways() {
    let mut desk = Desk::new(configuration());
    assert!(!may_hear(&desk.state, "pd-1", "fd-1"));
    let incident = desk.open("police", &["pd-1"]);
    assert!(!may_hear(&desk.state, "pd-1", "fd-1"));
    desk.join("police", incident, "fire", &["fd-1"]);
    assert!(may_hear(&desk.state, "pd-1", "fd-1") && may_hear(&desk.state, "fd-1", "pd-1"));
    assert!(!may_hear(&desk.state, "pd-2", "fd-1"), "a talkgroup that is not linked");
}

#[test]
fn members_of_a_talkgroup_share_a_home_patch_without_incident_or_cut() {
    let mut desk = Desk::new(configuration());
    desk.order("police", Command::Cut { target: CutTarget::Agency(agency("police")) });
    let table = compile(&desk.state, 2);
    let home = PatchId::home_of(&talkgroup("pd-1"));
    let legs: Vec<_> = table.legs.iter().filter(|leg| leg.patch == home).collect();
    assert_eq!(legs.len(), 2, "both gateways of pd-1");
    assert!(legs.iter().all(|leg| leg.hears && leg.talks && leg.meets(legs[0])));
    assert_eq!(table.patches.len(), 5, "one home patch for each talkgroup");
}

#[test]
fn who_joins_later_neither_hears_nor_is_heard_until_the_owner_admits_it() {
    let mut desk = Desk::new(configuration());
    let incident = desk.open("police", &["pd-1"]);
    desk.join("police", incident, "fire", &["fd-1"]);
    desk.join("police", incident, "ems", &["em-1"]);
    assert!(may_hear(&desk.state, "em-1", "pd-1"), "the host invited it itself");
    assert!(!may_hear(&desk.state, "em-1", "fd-1") && !may_hear(&desk.state, "fd-1", "em-1"));
    desk.order("fire", admit(desk.link_of("fd-1"), "ems"));
    assert!(may_hear(&desk.state, "em-1", "fd-1") && may_hear(&desk.state, "fd-1", "em-1"));
}

#[test]
fn an_owner_may_tick_later_agencies() {
    let mut desk = Desk::new(configuration());
    let incident = desk.open("police", &["pd-1"]);
    desk.order("police", Command::Invite { incident, agency: agency("fire"), note: String::new(), links: vec![] });
    let classes = [PartyClass::LaterAgencies].into();
    let links = vec![LinkRequest { classes, ..LinkRequest::plain(talkgroup("fd-1")) }];
    desk.order("fire", Command::Accept { incident, links });
    desk.join("police", incident, "ems", &["em-1"]);
    assert!(may_hear(&desk.state, "em-1", "fd-1"));
}

#[test]
fn a_party_keeps_its_number_and_nobody_else_gets_it() {
    let mut desk = Desk::new(configuration());
    let incident = desk.open("police", &["pd-1", "pd-2"]);
    let (main, _) = desk.state.incidents[&incident].patch_named(&patch("main")).unwrap();
    let parties = |desk: &Desk| desk.state.incidents[&incident].patches[&main].parties.clone();
    let before = parties(&desk);
    desk.order("police", Command::Unlink { link: desk.link_of("pd-1") });
    desk.join("police", incident, "fire", &["fd-1"]);
    assert_eq!(parties(&desk)[&talkgroup("fd-1")], 2, "not the number that pd-1 had");
    desk.order("police", link(incident, "pd-1"));
    assert_eq!(parties(&desk)[&talkgroup("pd-1")], before[&talkgroup("pd-1")]);
}

#[test]
fn listen_only_hears_and_is_not_heard() {
    let mut desk = Desk::new(configuration());
    let incident = desk.open("police", &["pd-1"]);
    desk.join("police", incident, "fire", &["fd-1"]);
    let link = desk.link_of("fd-1");
    let listen = |direction| Command::Adjust { link, direction: Some(direction), gain: None, priority: None };
    desk.order("police", listen(Direction::Listen));
    assert!(may_hear(&desk.state, "fd-1", "pd-1") && !may_hear(&desk.state, "pd-1", "fd-1"));
    desk.order("fire", listen(Direction::Talk));
    assert!(!may_hear(&desk.state, "fd-1", "pd-1") && !may_hear(&desk.state, "pd-1", "fd-1"), "what both leave");
    desk.order("police", listen(Direction::Talk));
    assert!(may_hear(&desk.state, "pd-1", "fd-1"));
}

fn with_template() -> Configuration {
    let mut configured = configuration();
    let link =
        |id: &str, net: &str| TemplateLink { talkgroup: talkgroup(id), patch: patch(net), direction: Direction::Both };
    let net = |name: &str| TemplatePatch { name: patch(name), floor: FloorPolicy::default() };
    let template = Template {
        title: "Structure fire".into(),
        kind: "fire".into(),
        invite: vec![agency("fire"), agency("ems")],
        patches: vec![net("command"), net("tactical")],
        links: vec![
            link("pd-1", "command"),
            link("pd-2", "tactical"),
            link("fd-1", "command"),
            link("em-1", "command"),
        ],
        lease_s: 7200,
    };
    configured.templates.insert(TemplateId::new("fire").unwrap(), template);
    configured
}

fn open_template() -> Command {
    let template = Some(TemplateId::new("fire").unwrap());
    Command::OpenIncident { template, title: None, kind: None, exercise: false, invite: vec![], links: vec![] }
}

#[test]
fn a_template_opens_in_one_command_and_proposes_to_others_what_is_theirs() {
    let mut desk = Desk::new(with_template());
    desk.order("police", open_template());
    let incident = desk.state.incidents.values().next().unwrap();
    assert_eq!(incident.patches.len(), 2);
    assert_eq!(
        incident.links().map(|(_, p, _, l)| (p.name.as_str(), l.talkgroup.as_str())).collect::<BTreeSet<_>>(),
        { [("command", "pd-1"), ("tactical", "pd-2")].into() }
    );
    assert_eq!(incident.links().next().unwrap().3.lease.left_ms(desk.now), 7_200_000);
    let proposed: Vec<_> = incident.invitations[&agency("fire")].proposed.iter().map(|r| r.talkgroup.clone()).collect();
    assert_eq!(proposed, [talkgroup("fd-1")], "fire is asked for what is fire's");
    assert!(incident.links().all(|(_, _, _, l)| l.owner == agency("police")), "nothing of others is linked");
}

fn agreed(answer: Answer) -> Agreement {
    Agreement {
        between: [agency("police"), agency("fire")],
        talkgroups: [talkgroup("pd-1"), talkgroup("fd-1")].into(),
        kinds: ["fire".to_owned()].into(),
        direction: Direction::Both,
        answer,
        lease_max_s: 3600,
        recording: false,
        end: None,
        standing: BTreeSet::new(),
    }
}

fn with_agreement(mut configured: Configuration, agreement: Agreement) -> Configuration {
    configured.agreements.insert(AgreementId::new("mutual-aid").unwrap(), agreement);
    configured
}

#[test]
fn a_written_yes_answers_at_once_and_says_which_agreement_it_was() {
    let mut desk = Desk::new(with_agreement(with_template(), agreed(Answer::Yes)));
    let records = desk.order("police", open_template());
    let by = Actor::Agreement(AgreementId::new("mutual-aid").unwrap());
    let accepted = records.iter().find(|r| matches!(r.event, Event::Accepted { .. })).expect("fire accepted");
    assert_eq!(accepted.actor, by);
    let placed = desk.find("fd-1").unwrap();
    assert_eq!((&placed.link.by, &placed.link.grant.by), (&by, &by));
    assert_eq!(placed.link.lease.left_ms(desk.now), 3_600_000, "the agreement's longest lease");
    assert!(may_hear(&desk.state, "fd-1", "pd-1"));
    assert!(desk.find("em-1").is_none(), "ems agreed to nothing");
}

#[test]
fn of_several_agreements_each_answers_for_what_it_covers() {
    let other = Agreement { talkgroups: [talkgroup("fd-2")].into(), ..agreed(Answer::Yes) };
    let mut configured = with_agreement(with_template(), agreed(Answer::Yes));
    // Before the other by name, and it covers nothing of this.
    configured.agreements.insert(AgreementId::new("harbour").unwrap(), other);
    let mut desk = Desk::new(configured);
    desk.order("police", open_template());
    let by = Actor::Agreement(AgreementId::new("mutual-aid").unwrap());
    assert_eq!(desk.find("fd-1").expect("fire has said yes").link.grant.by, by);
}

#[test]
fn an_agreement_answers_only_for_what_it_covers() {
    let cases: [(&str, fn(&mut Agreement)); 5] = [
        ("it asks", |a| a.answer = Answer::Ask),
        ("another kind of incident", |a| a.kinds = ["flood".to_owned()].into()),
        ("another talkgroup", |a| a.talkgroups = [talkgroup("fd-2")].into()),
        ("listening only", |a| a.direction = Direction::Listen),
        ("it has ended", |a| a.end = Some(at_s(0).wall)),
    ];
    for (why, change) in cases {
        let mut agreement = agreed(Answer::Yes);
        change(&mut agreement);
        let mut desk = Desk::new(with_agreement(with_template(), agreement));
        desk.order("police", open_template());
        let incident = desk.state.incidents.values().next().unwrap();
        assert!(incident.invitations.contains_key(&agency("fire")), "fire must be asked: {why}");
        assert!(desk.find("fd-1").is_none());
    }
}

#[test]
fn the_red_button_takes_everything_of_its_owner_out_of_everything() {
    let mut desk = Desk::new(configuration());
    let incident = desk.open("police", &["pd-1", "pd-2"]);
    desk.join("police", incident, "fire", &["fd-1"]);
    let other = desk.open("fire", &["fd-2"]);
    desk.order(
        "fire",
        Command::Invite { incident: other, agency: agency("police"), note: String::new(), links: vec![] },
    );
    desk.order("police", Command::Cut { target: CutTarget::Agency(agency("police")) });
    assert!(desk.state.links().all(|placed| placed.link.owner != agency("police")));
    assert!(desk.state.incidents[&other].invitations.is_empty(), "what rang for it is silent");
    assert!(!may_hear(&desk.state, "pd-1", "fd-1"));
    desk.order("police", Command::Restore { target: CutTarget::Agency(agency("police")) });
    assert!(desk.find("pd-1").is_none(), "restoring links nothing");
}

#[test]
fn the_host_role_moves_only_to_who_takes_it_and_then_the_old_host_may_leave() {
    let mut desk = Desk::new(configuration());
    let incident = desk.open("police", &["pd-1"]);
    desk.join("police", incident, "fire", &["fd-1"]);
    desk.order("police", Command::OfferHost { incident, to: agency("fire") });
    assert_eq!(desk.state.incidents[&incident].host, agency("police"));
    desk.order("fire", Command::TakeHost { incident });
    assert_eq!(desk.state.incidents[&incident].host, agency("fire"));
    desk.order("police", Command::Leave { incident });
    assert!(desk.find("pd-1").is_none() && desk.find("fd-1").is_some());
}

#[test]
fn a_hand_over_names_open_emergencies_and_leases() {
    let mut desk = Desk::new(configuration());
    let incident = desk.open("police", &["pd-1"]);
    desk.join("police", incident, "fire", &["fd-1"]);
    let talker = Alias::new("7");
    desk.order("fire", Command::DeclareEmergency { talkgroup: talkgroup("fd-1"), talker, place: "roof".into() });
    let to = UserId::new("night-desk").unwrap();
    let records = desk.order("police", Command::HandOver { incident, to, note: "two crews inside".into() });
    let Event::HandedOver { emergencies, leases, .. } = &records[0].event else { panic!() };
    assert_eq!((emergencies.len(), leases.len()), (1, 1));
    let shown = |to: &str| {
        let roster = roster(&desk.state, &desk.live, &BTreeMap::new(), Some(&agency(to)), desk.now);
        roster.incidents[0]
            .hand_overs
            .iter()
            .map(|shift| (shift.to.to_string(), shift.note.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(shown("police"), [("night-desk".to_owned(), "two crews inside".to_owned())]);
    assert!(shown("fire").is_empty(), "what a shift tells the next is its agency's own");
}

#[test]
fn a_lost_position_mutes_or_unlinks_only_if_its_owner_wants_that() {
    for (on_loss, hears, linked) in
        [(OnLoss::Keep, true, true), (OnLoss::Mute, false, true), (OnLoss::Unlink, false, false)]
    {
        let mut desk = Desk::new(staffed(configuration(), on_loss));
        let incident = desk.open("police", &["pd-1"]);
        desk.join("police", incident, "fire", &["fd-1"]);
        let position = PositionId::new("police-1").unwrap();
        desk.order("police", Command::Beat { position: position.clone() });
        desk.live.beats.insert(agency("police"), desk.now.mono);
        assert!(desk.wait_s(29).is_empty());
        let events = desk.wait_s(1);
        assert!(events.iter().any(|e| matches!(e, Event::PositionLost { .. })), "{on_loss:?}: {events:?}");
        assert!(events.iter().any(|e| matches!(e, Event::AlarmRaised { .. })), "partners are alarmed");
        assert_eq!(may_hear(&desk.state, "fd-1", "pd-1"), hears, "{on_loss:?}");
        assert_eq!(desk.find("pd-1").is_some(), linked, "{on_loss:?}");
        desk.order("police", Command::Beat { position });
        assert!(desk.state.alarms.is_empty());
        assert_eq!(may_hear(&desk.state, "fd-1", "pd-1"), linked, "back at the desk");
    }
}

fn returns(desk: &Desk, generations: u8) -> Report {
    let (_, leg) = desk.place("gw-fd-1");
    let of = Suspicion::Returns { delay_ms: 700, down: Level(6), generations };
    Report::Suspected { leg, port: port("gw-fd-1"), of, at: desk.now.mono }
}

fn looping(on_loop: OnLoop, own: &[&str]) -> Desk {
    let mut configured = configuration();
    configured.talkgroups.get_mut(&talkgroup("fd-1")).unwrap().on_loop = on_loop;
    let mut desk = Desk::new(configured);
    let incident = desk.open("police", &["pd-1"]);
    desk.join("police", incident, "fire", own);
    desk
}

#[test]
fn only_a_proven_loop_is_isolated_one_way_for_ten_seconds() {
    let mut desk = looping(OnLoop::Isolate, &["fd-1", "fd-2"]);
    let report = returns(&desk, 1);
    assert!(matches!(desk.report(report)[..], [Event::LoopSuspected { .. }]), "one generation proves nothing");
    let report = returns(&desk, 2);
    assert!(matches!(desk.report(report)[..], [Event::Isolated { direction: Direction::Talk, for_ms: 10_000, .. }]));
    assert!(!may_hear(&desk.state, "pd-1", "fd-1") && may_hear(&desk.state, "fd-1", "pd-1"));
    assert!(matches!(desk.wait_s(10)[..], [Event::IsolationEnded { .. }]));
    assert!(may_hear(&desk.state, "pd-1", "fd-1"));
}

#[test]
fn an_emergency_an_only_leg_and_an_owner_who_wants_alarms_are_never_isolated() {
    let mut only = looping(OnLoop::Isolate, &["fd-1"]);
    let mut alarm = looping(OnLoop::Alarm, &["fd-1", "fd-2"]);
    let mut help = looping(OnLoop::Isolate, &["fd-1", "fd-2"]);
    let talker = Alias::new("7");
    help.order("fire", Command::DeclareEmergency { talkgroup: talkgroup("fd-1"), talker, place: String::new() });
    for desk in [&mut only, &mut alarm, &mut help] {
        let report = returns(desk, 9);
        assert!(matches!(desk.report(report)[..], [Event::LoopSuspected { .. }]));
        assert!(may_hear(&desk.state, "pd-1", "fd-1"));
    }
}

#[test]
fn an_emergency_key_declares_once_without_any_incident() {
    let mut desk = Desk::new(configuration());
    let keyed = Report::EmergencyKeyed { port: port("gw-em-1"), talker: Alias::new("M12"), at: desk.now.mono };
    assert!(matches!(desk.report(keyed.clone())[..], [Event::EmergencyDeclared { .. }]));
    assert!(desk.report(keyed).is_empty());
    assert_eq!(compile(&desk.state, 2).emergencies, [(port("gw-em-1"), Alias::new("M12"))]);
}
