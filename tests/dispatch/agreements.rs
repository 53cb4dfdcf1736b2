//! What an agreement in writing lets its two agencies do to each other, by a dispatcher or without one.

use crosspatch::domain::command::Command;
use crosspatch::domain::configuration::{Agreement, Answer};
use crosspatch::domain::floor::Priority;
use crosspatch::domain::id::*;
use crosspatch::domain::incident::{Direction, LinkRequest, PartyClass};
use crosspatch::domain::refusal::Refusal;

use crate::rig::*;

fn agreed(answer: Answer) -> Agreement {
    Agreement {
        between: [agency("police"), agency("fire")],
        talkgroups: [talkgroup("fd-1")].into(),
        kinds: ["fire".to_owned()].into(),
        direction: Direction::Both,
        answer,
        lease_max_s: 3600,
        recording: false,
        end: None,
        standing: [].into(),
    }
}

fn desk_with(agreement: Agreement) -> Desk {
    let mut configured = configuration();
    configured.agreements.insert(AgreementId::new("aid").unwrap(), agreement);
    Desk::new(configured)
}

/// The police invite fire and propose this.
fn invite(desk: &mut Desk, incident: IncidentId, proposed: LinkRequest) {
    let note = String::new();
    desk.order("police", Command::Invite { incident, agency: agency("fire"), note, links: vec![proposed] });
}

fn request() -> LinkRequest {
    LinkRequest::plain(talkgroup("fd-1"))
}

#[test]
fn a_host_ticks_nothing_and_names_no_end_for_an_owner_that_agreed_in_writing() {
    let mut desk = desk_with(agreed(Answer::Yes));
    let incident = desk.open("police", &["pd-1"]);
    let classes = [PartyClass::LaterAgencies, PartyClass::Recording].into();
    invite(&mut desk, incident, LinkRequest { classes, hard_end_s: Some(9000), lease_s: Some(60), ..request() });
    let link = desk.find("fd-1").expect("fire said yes in writing").link;
    assert!(link.grant.audience.classes.is_empty(), "{:?}", link.grant.audience);
    assert_eq!(link.hard_end.left_ms(desk.now), 3_600_000);
}

#[test]
fn an_agreement_to_be_recorded_ticks_recorders_while_the_two_are_alone() {
    for (answer, third, ticked) in [(Answer::Yes, false, true), (Answer::Ask, false, true), (Answer::Yes, true, false)]
    {
        let mut desk = desk_with(Agreement { recording: true, ..agreed(answer) });
        let incident = desk.open("police", &["pd-1"]);
        if third {
            desk.join("police", incident, "ems", &["em-1"]);
        }
        invite(&mut desk, incident, request());
        if answer == Answer::Ask {
            desk.order("fire", Command::Accept { incident, links: vec![request()] });
        }
        let classes = &desk.find("fd-1").unwrap().link.grant.audience.classes;
        assert_eq!(classes.contains(&PartyClass::Recording), ticked, "{answer:?}, a third agency: {third}");
    }
}

#[test]
fn an_agreement_that_asks_binds_the_dispatcher_it_asks() {
    let mut desk = desk_with(Agreement { direction: Direction::Listen, ..agreed(Answer::Ask) });
    let incident = desk.open("police", &["pd-1"]);
    invite(&mut desk, incident, request());
    let accept = |request| Command::Accept { incident, links: vec![request] };
    assert!(matches!(desk.refused("fire", accept(request())), Refusal::OutOfRange { .. }), "both ways were not agreed");
    let listens = LinkRequest { direction: Direction::Listen, ..request() };
    let long = LinkRequest { lease_s: Some(3601), ..listens.clone() };
    assert_eq!(desk.refused("fire", accept(long)), Refusal::LeaseTooLong { most_s: 3600 });
    desk.order("fire", accept(listens));
    let link = desk.find("fd-1").unwrap().link;
    assert_eq!((link.lease.left_ms(desk.now), link.hard_end.left_ms(desk.now)), (3_600_000, 3_600_000));
    let widen =
        Command::Adjust { link: desk.link_of("fd-1"), direction: Some(Direction::Both), gain: None, priority: None };
    assert!(matches!(desk.refused("fire", widen), Refusal::OutOfRange { .. }), "nor afterwards");
    desk.order("fire", Command::Link { incident, request: LinkRequest::plain(talkgroup("fd-2")) });
}

#[test]
fn an_agreement_binds_nobody_in_another_kind_of_incident() {
    let mut desk = desk_with(Agreement { kinds: ["flood".to_owned()].into(), ..agreed(Answer::Ask) });
    let incident = desk.open("police", &["pd-1"]);
    invite(&mut desk, incident, request());
    desk.order("fire", Command::Accept { incident, links: vec![LinkRequest { lease_s: Some(3601), ..request() }] });
}

#[test]
fn the_priority_that_a_host_proposed_stands_when_it_is_accepted() {
    let proposed = LinkRequest { priority: Priority(3), ..request() };
    let mut desk = Desk::new(configuration());
    let incident = desk.open("police", &["pd-1"]);
    invite(&mut desk, incident, proposed.clone());
    let more = LinkRequest { priority: Priority(4), ..request() };
    let host = agency("police");
    assert_eq!(desk.refused("fire", Command::Accept { incident, links: vec![more] }), Refusal::NotHost { host });
    desk.order("fire", Command::Accept { incident, links: vec![proposed.clone()] });
    assert_eq!(desk.find("fd-1").unwrap().link.priority, Priority(3));

    let mut desk = desk_with(agreed(Answer::Yes));
    let incident = desk.open("police", &["pd-1"]);
    invite(&mut desk, incident, proposed);
    assert_eq!(desk.find("fd-1").expect("by agreement").link.priority, Priority(3));
}
