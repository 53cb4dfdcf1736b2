//! One case for each refusal that dispatch can give. `Desk::refused` checks that the state is untouched.

use std::collections::BTreeSet;

use crosspatch::domain::audio::Gain;
use crosspatch::domain::command::{Command, Role};
use crosspatch::domain::configuration::{Patchable, Security};
use crosspatch::domain::event::Event;
use crosspatch::domain::floor::{FloorPolicy, Priority};
use crosspatch::domain::id::*;
use crosspatch::domain::incident::{CutTarget, Direction, LinkRequest};
use crosspatch::domain::refusal::Refusal;
use crosspatch::domain::talker::Alias;

use crate::rig::*;

fn invite(incident: IncidentId, id: &str) -> Command {
    Command::Invite { incident, agency: agency(id), note: String::new(), links: Vec::new() }
}
fn accept(incident: IncidentId) -> Command {
    Command::Accept { incident, links: Vec::new() }
}
fn request(id: &str) -> LinkRequest {
    LinkRequest::plain(talkgroup(id))
}
fn open_with(request: LinkRequest) -> Command {
    opening("x", vec![request])
}
fn adjust(link: LinkId) -> Command {
    Command::Adjust { link, direction: None, gain: None, priority: None }
}
fn declare(id: &str) -> Command {
    Command::DeclareEmergency { talkgroup: talkgroup(id), talker: Alias::new("4711"), place: String::new() }
}

/// A desk with police hosting pd-1 and fire in it with fd-1.
fn two() -> (Desk, IncidentId) {
    let mut desk = Desk::new(configuration());
    let incident = desk.open("police", &["pd-1"]);
    desk.join("police", incident, "fire", &["fd-1"]);
    (desk, incident)
}

#[test]
fn roles_reach_no_further_than_they_say() {
    let (mut desk, incident) = two();
    let mut observer = dispatcher("police");
    observer.role = Role::Observer;
    let note = Command::Note { incident, text: "x".into() };
    assert_eq!(desk.refuses(&observer, note.clone()).code(), "not_allowed");
    assert_eq!(desk.refuses(&admin(), note.clone()).code(), "not_allowed");
    let adopt = Command::Adopt { configuration: Box::new(configuration()) };
    assert_eq!(desk.refused("police", adopt).code(), "not_allowed");
    let mut nobody = dispatcher("police");
    nobody.agency = None;
    assert_eq!(desk.refuses(&nobody, note.clone()).code(), "not_allowed");
    let mut stranger = dispatcher("police");
    stranger.agency = Some(agency("navy"));
    assert_eq!(desk.refuses(&stranger, note).code(), "no_such_agency");
}

#[test]
fn nobody_commands_what_is_another_agencys() {
    let (mut desk, incident) = two();
    let fire = desk.link_of("fd-1");
    let owner = Refusal::NotYours { owner: agency("police") };
    assert_eq!(desk.refused("fire", link(incident, "pd-2")), owner);
    assert_eq!(desk.refused("fire", Command::Unlink { link: desk.link_of("pd-1") }), owner);
    assert_eq!(desk.refused("fire", Command::Cut { target: CutTarget::Talkgroup(talkgroup("pd-1")) }), owner);
    assert_eq!(desk.refused("fire", Command::Cut { target: CutTarget::Agency(agency("police")) }), owner);
    assert_eq!(desk.refused("fire", declare("pd-1")), owner);
    assert_eq!(desk.refused("fire", Command::ConfirmChange { agency: agency("police") }), owner);
    let owner = Refusal::NotYours { owner: agency("fire") };
    let admit = Command::Admit {
        link: fire,
        agencies: [agency("ems")].into(),
        classes: BTreeSet::new(),
        not_secure_reason: None,
    };
    assert_eq!(desk.refused("police", admit), owner, "the host does not widen a guest's audience");
    assert_eq!(desk.refused("police", Command::Confirm { link: fire, receive: true, transmit: true }), owner);
    assert_eq!(desk.refused("police", Command::EndIsolation { link: fire }), owner);
    assert_eq!(desk.refused("police", open_with(request("fd-2"))), owner, "not invited, so not proposed either");
}

#[test]
fn only_the_host_runs_the_house() {
    let (mut desk, incident) = two();
    let host = Refusal::NotHost { host: agency("police") };
    let floor = FloorPolicy::default();
    for command in [
        Command::AddPatch { incident, name: patch("tac"), floor: None },
        Command::ClosePatch { incident, name: patch("main") },
        Command::SetFloor { incident, name: patch("main"), floor },
        invite(incident, "ems"),
        Command::Remove { incident, agency: agency("police") },
        Command::OfferHost { incident, to: agency("fire") },
        Command::Close { incident, force: true },
    ] {
        assert_eq!(desk.refused("fire", command), host);
    }
    let louder =
        Command::Adjust { link: desk.link_of("fd-1"), direction: None, gain: None, priority: Some(Priority(1)) };
    assert_eq!(desk.refused("fire", louder), host, "an owner does not raise its own priority");
    let first = LinkRequest { priority: Priority(1), ..request("fd-2") };
    assert_eq!(desk.refused("fire", Command::Link { incident, request: first }), host);
    desk.key("gw-pd-1a");
    let revoke = Command::Revoke { incident, name: patch("main"), burst: None };
    assert_eq!(desk.refused("fire", revoke), host, "a guest revokes only its own talkers");
}

#[test]
fn what_is_not_there_is_named() {
    let (mut desk, incident) = two();
    let unknown = IncidentId(7);
    assert_eq!(desk.refused("fire", accept(unknown)), Refusal::NoSuchIncident { incident: unknown });
    assert_eq!(desk.refused("police", invite(incident, "navy")).code(), "no_such_agency");
    assert_eq!(desk.refused("police", link(incident, "pd-9")).code(), "no_such_talkgroup");
    assert_eq!(desk.refused("police", declare("pd-9")).code(), "no_such_talkgroup");
    let target = CutTarget::Talkgroup(talkgroup("pd-9"));
    assert_eq!(desk.refused("police", Command::Cut { target }).code(), "no_such_talkgroup");
    let template = Some(TemplateId::new("none").unwrap());
    let command =
        Command::OpenIncident { template, title: None, kind: None, exercise: false, invite: vec![], links: vec![] };
    assert_eq!(desk.refused("police", command).code(), "no_such_template");
    let elsewhere = LinkRequest { patch: Some(patch("tac")), ..request("pd-2") };
    assert_eq!(desk.refused("police", Command::Link { incident, request: elsewhere }).code(), "no_such_patch");
    assert_eq!(desk.refused("police", Command::ClosePatch { incident, name: patch("tac") }).code(), "no_such_patch");
    let link = LinkId(7);
    assert_eq!(desk.refused("police", Command::Unlink { link }), Refusal::NoSuchLink { link });
    let emergency = EmergencyId(7);
    let clear = Command::ClearEmergency { emergency, reason: String::new() };
    assert_eq!(desk.refused("police", clear), Refusal::NoSuchEmergency { emergency });
    let position = PositionId::new("police-1").unwrap();
    assert_eq!(desk.refused("police", Command::Beat { position }).code(), "no_such_position");
    let confirm = Command::ConfirmChange { agency: agency("police") };
    assert_eq!(desk.refused("police", confirm).code(), "nothing_proposed");
}

#[test]
fn membership_is_asked_for_and_given_once() {
    let (mut desk, incident) = two();
    assert_eq!(desk.refused("ems", link(incident, "em-1")), Refusal::NotMember { agency: agency("ems") });
    assert_eq!(desk.refused("police", Command::OfferHost { incident, to: agency("ems") }).code(), "not_member");
    assert_eq!(desk.refused("police", Command::Remove { incident, agency: agency("ems") }).code(), "not_member");
    assert_eq!(desk.refused("ems", accept(incident)), Refusal::NotInvited { agency: agency("ems") });
    let decline = Command::Decline { incident, reason: String::new() };
    assert_eq!(desk.refused("ems", decline).code(), "not_invited");
    assert_eq!(desk.refused("police", invite(incident, "fire")), Refusal::AlreadyMember { agency: agency("fire") });
    assert_eq!(desk.refused("fire", accept(incident)), Refusal::AlreadyMember { agency: agency("fire") });
    desk.order("police", invite(incident, "ems"));
    assert_eq!(desk.refused("police", invite(incident, "ems")), Refusal::AlreadyInvited { agency: agency("ems") });
    assert_eq!(desk.refused("fire", link(incident, "fd-1")).code(), "already_linked");
    assert_eq!(desk.refused("fire", Command::TakeHost { incident }), Refusal::NotOffered { agency: agency("fire") });
    assert_eq!(desk.refused("police", Command::Leave { incident }), Refusal::HostMustStay);
    let remove = Command::Remove { incident, agency: agency("police") };
    assert_eq!(desk.refused("police", remove), Refusal::HostMustStay);
}

#[test]
fn an_incident_keeps_one_patch_of_each_name() {
    let (mut desk, incident) = two();
    let again = Command::AddPatch { incident, name: patch("main"), floor: None };
    assert_eq!(desk.refused("police", again), Refusal::NameTaken { name: patch("main") });
    assert_eq!(desk.refused("police", Command::ClosePatch { incident, name: patch("main") }), Refusal::LastPatch);
}

#[test]
fn an_owners_written_word_binds_its_dispatchers_too() {
    let mut configured = configuration();
    configured.talkgroups.get_mut(&talkgroup("pd-2")).unwrap().patchable = Patchable::Never;
    let mut desk = Desk::new(configured);
    let refusal = Refusal::NeverPatchable { talkgroup: talkgroup("pd-2") };
    assert_eq!(desk.refused("police", open_with(request("pd-2"))), refusal);
    let loud = LinkRequest { priority: Priority(6), ..request("pd-1") };
    let refusal = Refusal::PriorityCapped { talkgroup: talkgroup("pd-1"), most: 5 };
    assert_eq!(desk.refused("police", open_with(loud)), refusal);
    let incident = desk.open("police", &["pd-1"]);
    desk.join("police", incident, "fire", &["fd-1"]);
    let link = desk.link_of("fd-1");
    let raise = Command::Adjust { link, direction: None, gain: None, priority: Some(Priority(6)) };
    assert_eq!(desk.refused("police", raise).code(), "priority_capped");
}

#[test]
fn a_second_incident_needs_a_separate_yes() {
    let (mut desk, incident) = two();
    let refusal =
        Refusal::SharedIncidents { talkgroup: talkgroup("pd-1"), other: incident, title: "Barn fire".to_owned() };
    assert_eq!(desk.refused("police", open_with(request("pd-1"))), refusal);
    desk.order("police", open_with(LinkRequest { shared_incidents: true, ..request("pd-1") }));
}

#[test]
fn exercise_and_real_never_share_a_talkgroup() {
    let (mut desk, _) = two();
    let request = LinkRequest { shared_incidents: true, ..request("pd-1") };
    let drill = Command::OpenIncident {
        template: None,
        title: Some("Drill".into()),
        kind: None,
        exercise: true,
        invite: vec![],
        links: vec![request],
    };
    assert_eq!(desk.refused("police", drill), Refusal::ExerciseMixed { talkgroup: talkgroup("pd-1") });
}

#[test]
fn secure_meets_what_is_not_only_with_both_owners_reasons() {
    let mut configured = configuration();
    configured.talkgroups.get_mut(&talkgroup("fd-1")).unwrap().security = Security::Secure;
    let mut desk = Desk::new(configured);
    let incident = desk.open("police", &["pd-1"]);
    desk.order("police", invite(incident, "fire"));
    desk.order("fire", accept(incident));
    assert_eq!(desk.refused("fire", link(incident, "fd-1")).code(), "not_secure", "not over an open path");
    let reasoned = LinkRequest { not_secure_reason: Some("hostage".into()), ..request("fd-1") };
    let one_side = Command::Link { incident, request: reasoned };
    assert_eq!(desk.refused("fire", one_side.clone()).code(), "not_secure", "the other owner has not said so");
    let yes = Command::Admit {
        link: desk.link_of("pd-1"),
        agencies: no_agencies(),
        classes: BTreeSet::new(),
        not_secure_reason: Some("hostage".into()),
    };
    desk.order("police", yes);
    desk.order("fire", one_side);
}

#[test]
fn what_is_cut_is_not_linked_until_restored() {
    let (mut desk, incident) = two();
    let target = CutTarget::Talkgroup(talkgroup("pd-1"));
    desk.order("police", Command::Cut { target: target.clone() });
    assert!(desk.find("pd-1").is_none());
    assert_eq!(desk.refused("police", link(incident, "pd-1")), Refusal::IsCut { talkgroup: talkgroup("pd-1") });
    desk.order("police", Command::Cut { target: CutTarget::Agency(agency("police")) });
    desk.order("police", Command::Restore { target });
    assert_eq!(desk.refused("police", link(incident, "pd-2")).code(), "is_cut");
    desk.order("police", Command::Restore { target: CutTarget::Agency(agency("police")) });
    desk.order("police", link(incident, "pd-1"));
}

#[test]
fn nothing_reaches_further_than_its_owners_grant() {
    let (mut desk, incident) = two();
    let link = desk.link_of("fd-1");
    desk.order("fire", Command::Adjust { link, direction: Some(Direction::Listen), gain: None, priority: None });
    let widen = Command::Adjust { link, direction: Some(Direction::Both), gain: None, priority: None };
    assert_eq!(desk.refused("police", widen.clone()).code(), "nothing_to_do", "the host leaves it both ways already");
    let narrow = Command::Adjust { link, direction: Some(Direction::Talk), gain: None, priority: None };
    assert_eq!(desk.refused("police", narrow), Refusal::GrantTooNarrow { link });
    desk.order("fire", widen);
    assert!(desk.find("fd-1").unwrap().link.talks());
    let forever = Command::Extend { incident, link: Some(link), by_s: 9 * 3600 };
    assert_eq!(desk.refused("fire", forever.clone()), Refusal::LeaseTooLong { most_s: 8 * 3600 });
    assert_eq!(desk.refused("police", forever).code(), "lease_too_long", "nor does the host reach past the hard end");
    let long = LinkRequest { lease_s: Some(60), hard_end_s: Some(30), ..request("fd-2") };
    assert_eq!(desk.refused("fire", Command::Link { incident, request: long }), Refusal::LeaseTooLong { most_s: 30 });
}

#[test]
fn figures_out_of_range_are_refused() {
    let (mut desk, incident) = two();
    let link = desk.link_of("pd-1");
    let loud = Command::Adjust { link, direction: None, gain: Some(Gain(2401)), priority: None };
    let floor = |holders_max, queue_max, talk_limit_ms| Command::SetFloor {
        incident,
        name: patch("main"),
        floor: FloorPolicy { holders_max, queue_max, talk_limit_ms, ..FloorPolicy::default() },
    };
    for command in [
        loud,
        floor(0, 0, 1),
        floor(9, 0, 1),
        floor(1, 9, 1),
        floor(1, 1, 0),
        Command::Extend { incident, link: None, by_s: 0 },
        Command::Note { incident, text: "x".repeat(1001) },
        opening("", vec![]),
        Command::Link { incident, request: LinkRequest { lease_s: Some(0), ..request("pd-2") } },
    ] {
        assert_eq!(desk.refused("police", command).code(), "out_of_range");
    }
}

#[test]
fn an_incident_others_used_a_moment_ago_is_not_simply_closed() {
    let (mut desk, incident) = two();
    desk.talk("gw-fd-1", 2000);
    assert_eq!(desk.refused("police", Command::Close { incident, force: false }), Refusal::InUse);
    desk.order("police", Command::Close { incident, force: true });
    assert_eq!(desk.refused("police", Command::Close { incident, force: true }), Refusal::NothingToDo);
    assert!(desk.state.incidents.contains_key(&incident), "a forced close warns first");
}

#[test]
fn an_open_emergency_keeps_its_incident_open_and_only_its_agency_clears_it() {
    let (mut desk, incident) = two();
    let records = desk.order("fire", declare("fd-1"));
    let Event::EmergencyDeclared { emergency, .. } = records[0].event else { panic!("{records:?}") };
    assert_eq!(desk.refused("fire", declare("fd-1")), Refusal::NothingToDo);
    assert_eq!(desk.refused("police", Command::Close { incident, force: true }), Refusal::EmergencyOpen);
    desk.order("police", Command::AddPatch { incident, name: patch("tac"), floor: None });
    let close = Command::ClosePatch { incident, name: patch("main") };
    assert_eq!(desk.refused("police", close), Refusal::EmergencyOpen);
    let clear = Command::ClearEmergency { emergency, reason: "safe".into() };
    assert_eq!(desk.refused("police", clear.clone()), Refusal::NotTalkersAgency { agency: agency("fire") });
    let acknowledge = Command::AcknowledgeEmergency { emergency };
    assert_eq!(desk.refused("ems", acknowledge.clone()), Refusal::NotMember { agency: agency("ems") });
    desk.order("police", acknowledge.clone());
    assert_eq!(desk.refused("police", acknowledge), Refusal::NothingToDo);
    desk.order("fire", clear);
    desk.order("police", Command::Close { incident, force: false });
}

#[test]
fn a_command_says_no_more_than_its_limits_and_one_that_does_changes_nothing() {
    let (mut desk, incident) = two();
    let long = || "x".repeat(1001);
    let many_links = || vec![request("pd-1"); 257];
    let open = |title: Option<String>, kind: Option<String>, invite: Vec<AgencyId>, links: Vec<LinkRequest>| {
        Command::OpenIncident { template: None, title, kind, exercise: false, invite, links }
    };
    let unsafely = LinkRequest { not_secure_reason: Some(long()), ..request("pd-1") };
    let agencies = || (0..257).map(|number| agency(&format!("a{number}")));
    let link = desk.link_of("pd-1");
    let admit = |agencies: BTreeSet<AgencyId>, reason: Option<String>| Command::Admit {
        link,
        agencies,
        classes: BTreeSet::new(),
        not_secure_reason: reason,
    };
    let too_much = [
        open(Some(long()), None, vec![], vec![]),
        open(None, Some(long()), vec![], vec![]),
        open(None, None, agencies().collect(), vec![]),
        open(None, None, vec![], many_links()),
        Command::Invite { incident, agency: agency("ems"), note: long(), links: vec![] },
        Command::Invite { incident, agency: agency("ems"), note: String::new(), links: many_links() },
        Command::Accept { incident, links: many_links() },
        Command::Link { incident, request: unsafely },
        admit(agencies().collect(), None),
        admit(BTreeSet::new(), Some(long())),
        Command::Decline { incident, reason: long() },
        Command::HandOver { incident, to: UserId::new("x").unwrap(), note: long() },
        Command::Note { incident, text: long() },
        Command::DeclareEmergency { talkgroup: talkgroup("pd-1"), talker: Alias::default(), place: long() },
        Command::ClearEmergency { emergency: EmergencyId(1), reason: long() },
    ];
    for command in too_much {
        let refusal = desk.refused("police", command);
        assert!(matches!(&refusal, Refusal::OutOfRange { what } if what.contains("more than")), "{refusal}");
    }
    desk.order("police", Command::Note { incident, text: "x".repeat(1000) });
}

#[test]
fn limits_are_named_and_the_last_places_wait_for_emergencies() {
    let mut configured = configuration();
    configured.policy.incidents_max = 10;
    configured.policy.patches_per_incident_max = 1;
    configured.agencies.get_mut(&agency("fire")).unwrap().links_max = 1;
    configured.agencies.get_mut(&agency("ems")).unwrap().incidents_max = 0;
    let mut desk = Desk::new(configured);
    let incident = desk.open("police", &[]);
    desk.join("police", incident, "fire", &["fd-1"]);
    let full = |refusal: Refusal| matches!(refusal, Refusal::Full { .. });
    assert!(full(desk.refused("fire", link(incident, "fd-2"))), "an agency's own quota");
    assert!(full(desk.refused("ems", opening("x", vec![]))), "may host none");
    assert!(full(desk.refused("police", Command::AddPatch { incident, name: patch("tac"), floor: None })));
    for _ in 1..9 {
        desk.open("police", &[]);
    }
    assert_eq!(
        desk.refused("police", opening("x", vec![])),
        Refusal::Full { limit: "open incidents".into(), most: 9 },
        "the tenth place is kept"
    );
    desk.order("police", declare("pd-1"));
    desk.open("police", &[]);
    assert!(full(desk.refused("police", opening("x", vec![]))));
}

#[test]
fn what_is_already_so_is_no_event() {
    let (mut desk, incident) = two();
    let pd = desk.link_of("pd-1");
    let admit = Command::Admit {
        link: pd,
        agencies: [agency("fire")].into(),
        classes: BTreeSet::new(),
        not_secure_reason: None,
    };
    for command in [
        adjust(pd),
        admit,
        Command::Confirm { link: pd, receive: false, transmit: false },
        Command::EndIsolation { link: pd },
        Command::Restore { target: CutTarget::Agency(agency("police")) },
        Command::SetFloor { incident, name: patch("main"), floor: FloorPolicy::default() },
        Command::OfferHost { incident, to: agency("police") },
        Command::Revoke { incident, name: patch("main"), burst: None },
    ] {
        assert_eq!(desk.refused("police", command), Refusal::NothingToDo);
    }
    let adopt = Command::Adopt { configuration: Box::new(configuration()) };
    assert_eq!(desk.refuses(&admin(), adopt), Refusal::NothingToDo);
}
