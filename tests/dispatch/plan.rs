//! A changed file: what narrows acts now, what widens another agency's resource waits for its yes.

use crosspatch::dispatch::plan;
use crosspatch::dispatch::routes::compile;
use crosspatch::domain::audio::Gain;
use crosspatch::domain::command::Command;
use crosspatch::domain::configuration::{
    Agreement, Answer, Configuration, GatewayKind, OnLoop, Patchable, Security, SipGateway,
};
use crosspatch::domain::event::{Alarm, Event, Recorded, Stream};
use crosspatch::domain::floor::Priority;
use crosspatch::domain::id::*;
use crosspatch::domain::incident::{Actor, Direction, LinkRequest, UnlinkCause};
use crosspatch::domain::port::{PeerRule, PortRole};
use crosspatch::domain::refusal::Refusal;

use crate::rig::*;

fn adopt(desk: &mut Desk, configuration: Configuration) -> Vec<Event> {
    let records = desk.ask(&admin(), Command::Adopt { configuration: Box::new(configuration) }).unwrap();
    records.into_iter().map(|recorded| recorded.event).collect()
}

fn changed(change: impl FnOnce(&mut Configuration)) -> Configuration {
    let mut configured = configuration();
    change(&mut configured);
    configured
}

fn agreement() -> Agreement {
    Agreement {
        between: [agency("police"), agency("fire")],
        talkgroups: [talkgroup("pd-1"), talkgroup("fd-1")].into(),
        kinds: [].into(),
        direction: Direction::Both,
        answer: Answer::Yes,
        lease_max_s: 3600,
        recording: false,
        end: None,
        standing: [].into(),
    }
}

fn by_sip(configuration: &mut Configuration, port: u16) {
    let peer = ([192, 0, 2, 30], port).into();
    configuration.gateways.get_mut(&gateway("gw-fd-1")).unwrap().kind = GatewayKind::Sip(SipGateway { peer });
}

#[test]
fn what_others_could_do_more_waits_for_its_owner() {
    type Change = fn(&mut Configuration);
    let secure: Change = |c| c.talkgroups.get_mut(&talkgroup("fd-1")).unwrap().security = Security::Secure;
    let never: Change = |c| c.talkgroups.get_mut(&talkgroup("fd-1")).unwrap().patchable = Patchable::Never;
    let recorder: Change = |c| c.gateways.get_mut(&gateway("gw-fd-1")).unwrap().port.role = PortRole::Recorder;
    let idle: Change = |c| c.talkgroups.get_mut(&talkgroup("fd-1")).unwrap().idle_unlink_s = 900;
    let silent: Change = |c| c.talkgroups.get_mut(&talkgroup("fd-1")).unwrap().transmit.clear();
    let cases: [(&str, Change, Change); 11] = [
        ("a recorder becomes a radio", recorder, |_| {}),
        ("idle links stay", idle, |_| {}),
        ("a gateway transmits", silent, |_| {}),
        (
            "loops are only alarmed",
            |_| {},
            |c| c.talkgroups.get_mut(&talkgroup("fd-1")).unwrap().on_loop = OnLoop::Alarm,
        ),
        (
            "another interface",
            |_| {},
            |c| {
                let GatewayKind::Rtp(rtp) = &mut c.gateways.get_mut(&gateway("gw-fd-1")).unwrap().kind else {
                    panic!("a gateway by RTP")
                };
                rtp.local.set_ip([127, 0, 0, 2].into());
            },
        ),
        ("softer security", secure, |_| {}),
        ("patchable again", never, |_| {}),
        ("a higher cap", |_| {}, |c| c.talkgroups.get_mut(&talkgroup("fd-1")).unwrap().priority_max.0 += 1),
        (
            "another peer",
            |_| {},
            |c| {
                let GatewayKind::Rtp(rtp) = &mut c.gateways.get_mut(&gateway("gw-fd-1")).unwrap().kind else {
                    panic!("a gateway by RTP")
                };
                rtp.peer = PeerRule::Static(([127, 0, 0, 1], 9).into());
            },
        ),
        ("another box is called", |c| by_sip(c, 5060), |c| by_sip(c, 5070)),
        (
            "one more gateway on its talkgroup",
            |_| {},
            |c| {
                c.gateways.insert(gateway("gw-spy"), a_gateway("fire", "fd-1", 45_000));
            },
        ),
    ];
    for (what, before, after) in cases {
        let mut desk = Desk::new(changed(before));
        let was = desk.state.configuration.clone();
        let wanted = changed(after);
        let events = adopt(&mut desk, wanted.clone());
        assert!(
            matches!(&events[..], [Event::ChangeProposed { agency, what, .. }] if agency.as_str() == "fire" && !what.is_empty()),
            "{what}: {events:?}"
        );
        assert_eq!(desk.state.configuration, was, "{what} acted without its owner's yes");
        desk.order("fire", Command::ConfirmChange { agency: agency("fire") });
        assert_eq!(*desk.state.configuration, wanted, "{what}");
    }
}

#[test]
fn longer_leases_for_whom_names_none_need_every_agency() {
    let mut desk = Desk::new(configuration());
    let before = desk.state.configuration.clone();
    let wanted = changed(|c| c.policy.hard_end_default_s = 48 * 3600);
    let events = adopt(&mut desk, wanted.clone());
    assert_eq!(events.iter().filter(|e| matches!(e, Event::ChangeProposed { .. })).count(), 3, "{events:?}");
    for of in ["police", "fire", "ems"] {
        assert_eq!(desk.state.configuration, before, "{of} has not said yes");
        desk.order(of, Command::ConfirmChange { agency: agency(of) });
    }
    assert_eq!(*desk.state.configuration, wanted);
    let shorter = changed(|c| c.policy.hard_end_default_s = 3600 * 8);
    assert!(matches!(adopt(&mut desk, shorter)[..], [Event::ConfigurationAdopted { .. }]), "what narrows acts at once");
}

#[test]
fn an_agreement_needs_both_agencies() {
    let mut desk = Desk::new(configuration());
    let wanted = changed(|c| {
        c.agreements.insert(AgreementId::new("aid").unwrap(), agreement());
    });
    let events = adopt(&mut desk, wanted.clone());
    assert_eq!(events.iter().filter(|e| matches!(e, Event::ChangeProposed { .. })).count(), 2);
    desk.order("police", Command::ConfirmChange { agency: agency("police") });
    assert!(desk.state.configuration.agreements.is_empty());
    desk.order("fire", Command::ConfirmChange { agency: agency("fire") });
    assert_eq!(*desk.state.configuration, wanted);
}

#[test]
fn what_narrows_acts_at_once_and_ends_what_it_forbids() {
    let mut desk = Desk::new(changed(|c| {
        c.agreements.insert(AgreementId::new("aid").unwrap(), agreement());
    }));
    let incident = desk.open("police", &["pd-1"]);
    desk.join("police", incident, "fire", &["fd-1"]);
    let events = adopt(
        &mut desk,
        changed(|c| {
            c.talkgroups.get_mut(&talkgroup("fd-1")).unwrap().patchable = Patchable::Never;
            let mut less = agreement();
            less.lease_max_s = 60;
            c.agreements.insert(AgreementId::new("aid").unwrap(), less);
        }),
    );
    assert!(
        matches!(events[0], Event::Unlinked { cause: UnlinkCause::Reconfigured, .. }),
        "it ends before it is adopted"
    );
    assert!(events.iter().all(|e| !matches!(e, Event::ChangeProposed { .. })), "{events:?}");
    assert!(desk.find("fd-1").is_none() && desk.find("pd-1").is_some());
    assert_eq!(desk.state.configuration.agreements.values().next().unwrap().lease_max_s, 60);
}

#[test]
fn an_agency_that_is_gone_is_out_of_everything() {
    let mut desk = Desk::new(configuration());
    let incident = desk.open("police", &["pd-1"]);
    desk.join("police", incident, "fire", &["fd-1"]);
    let hosted = desk.open("fire", &["fd-2"]);
    adopt(
        &mut desk,
        changed(|c| {
            c.agencies.remove(&agency("fire"));
            c.talkgroups.retain(|_, t| t.agency != agency("fire"));
            c.gateways.retain(|_, g| g.agency != agency("fire"));
        }),
    );
    assert!(!desk.state.incidents.contains_key(&hosted));
    assert!(!desk.state.incidents[&incident].members.contains_key(&agency("fire")));
    assert!(compile(&desk.state, 2).ports.len() == 4);
}

#[test]
fn a_file_takes_no_talkgroup_away_while_its_emergency_is_open() {
    let without = || {
        changed(|c| {
            c.agencies.remove(&agency("fire"));
            c.talkgroups.retain(|_, t| t.agency != agency("fire"));
            c.gateways.retain(|_, g| g.agency != agency("fire"));
        })
    };
    let mut desk = Desk::new(configuration());
    let declare =
        Command::DeclareEmergency { talkgroup: talkgroup("fd-1"), talker: Default::default(), place: String::new() };
    let Event::EmergencyDeclared { emergency, .. } = desk.order("fire", declare)[0].event else { panic!() };
    let events = adopt(&mut desk, without());
    assert!(events.iter().all(|e| !matches!(e, Event::EmergencyCleared { .. })), "{events:?}");
    assert!(matches!(events.last(), Some(Event::ChangeProposed { agency, .. }) if agency.as_str() == "fire"));
    let now = desk.state.configuration.clone();
    assert!(now.talkgroups.contains_key(&talkgroup("fd-1")) && now.gateways.contains_key(&gateway("gw-fd-1")));
    assert!(!now.talkgroups.contains_key(&talkgroup("fd-2")), "what nobody calls from goes at once");
    let yes = Command::ConfirmChange { agency: agency("fire") };
    assert_eq!(desk.refused("fire", yes.clone()), Refusal::EmergencyOpen);
    desk.order("fire", Command::ClearEmergency { emergency, reason: String::new() });
    desk.order("fire", yes);
    assert_eq!(*desk.state.configuration, without());
}

#[test]
fn a_newer_file_replaces_what_was_proposed() {
    let mut desk = Desk::new(configuration());
    adopt(&mut desk, changed(|c| c.talkgroups.get_mut(&talkgroup("fd-1")).unwrap().priority_max.0 = 9));
    let events = adopt(&mut desk, configuration());
    assert_eq!(events, [Event::ChangeWithdrawn { agency: agency("fire") }]);
    assert!(desk.state.proposals.is_empty());
}

#[test]
fn a_plan_says_line_by_line_what_happens_now_and_what_waits_for_whom() {
    let mut desk = Desk::new(configuration());
    let current = desk.state.configuration.clone();
    let wanted = changed(|c| {
        c.gateways.get_mut(&gateway("gw-pd-2")).unwrap().port.trim = Gain(300);
        c.talkgroups.get_mut(&talkgroup("fd-1")).unwrap().priority_max.0 = 9;
        c.gateways.remove(&gateway("gw-em-1"));
        c.talkgroups.get_mut(&talkgroup("em-1")).unwrap().transmit.clear();
    });
    let records = desk.ask(&admin(), Command::Adopt { configuration: Box::new(wanted) }).unwrap();
    let lines = plan::lines(&current, &records);
    assert!(lines.contains(&"now: gateways/gw-pd-2/port/trim: 0 -> 300".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"waits for fire: talkgroups/fd-1/priority_max: 5 -> 9".to_owned()), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("now: gateways/gw-em-1: removed")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("waits for police") || line.contains("waits for ems")));
}

#[test]
fn what_an_agreement_gave_ends_when_it_no_longer_says_so() {
    let with = |c: &mut Configuration| {
        c.agreements.insert(AgreementId::new("aid").unwrap(), agreement());
    };
    let mut desk = Desk::new(changed(with));
    let incident = desk.open("police", &["pd-1"]);
    let links = vec![LinkRequest::plain(talkgroup("fd-1"))];
    desk.order("police", Command::Invite { incident, agency: agency("fire"), note: String::new(), links });
    assert!(desk.find("fd-1").is_some(), "the agreement said yes");
    let events = adopt(&mut desk, configuration());
    assert!(matches!(events[0], Event::Unlinked { cause: UnlinkCause::Reconfigured, .. }), "{events:?}");
    assert!(desk.find("fd-1").is_none() && desk.find("pd-1").is_some(), "only what it gave");
}

#[test]
fn a_lowered_cap_lowers_the_priority_of_what_is_linked() {
    let mut desk = Desk::new(configuration());
    let request = LinkRequest { priority: Priority(5), ..LinkRequest::plain(talkgroup("pd-1")) };
    desk.order("police", opening("Fire", vec![request]));
    adopt(&mut desk, changed(|c| c.talkgroups.get_mut(&talkgroup("pd-1")).unwrap().priority_max = Priority(2)));
    let link = desk.link_of("pd-1");
    assert!(compile(&desk.state, 2).legs.iter().filter(|leg| leg.link == link).all(|leg| leg.priority == Priority(2)));
}

#[test]
fn a_good_file_ends_the_alarm_about_a_faulty_one_also_if_it_changes_nothing() {
    for change in [false, true] {
        let mut desk = Desk::new(configuration());
        let alarm = Alarm::ConfigurationFaulty { faults: 3 };
        let event = Event::AlarmRaised { alarm: alarm.clone() };
        desk.record(vec![Recorded { stream: Stream::Node, actor: Actor::Recovery, at: desk.now, event }]);
        let wanted = changed(|c| c.policy.recent_s += u32::from(change));
        let told = adopt(&mut desk, wanted.clone());
        assert!(told.contains(&Event::AlarmCleared { alarm }), "{told:?}");
        assert_eq!(told.len() > 1, change, "{told:?}");
        assert_eq!(desk.refuses(&admin(), Command::Adopt { configuration: Box::new(wanted) }), Refusal::NothingToDo);
    }
}
