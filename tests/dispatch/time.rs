//! What time does: rings, warnings, overtime, hard ends, idle, closing, standing links, clock steps.

use crosspatch::dispatch::deadlines::schedule;
use crosspatch::domain::command::Command;
use crosspatch::domain::configuration::{Agreement, Answer};
use crosspatch::domain::event::{Alarm, Event, Recorded, Stream};
use crosspatch::domain::id::*;
use crosspatch::domain::incident::{Actor, Direction, LinkRequest, UnlinkCause};
use crosspatch::domain::talker::Alias;

use crate::rig::*;

/// Police host with pd-1; fire links fd-1 for `lease_s` of at most `hard_end_s`.
fn leased(lease_s: u32, hard_end_s: u32) -> (Desk, IncidentId) {
    let mut desk = Desk::new(configuration());
    let incident = desk.open("police", &["pd-1"]);
    desk.order("police", Command::Invite { incident, agency: agency("fire"), note: String::new(), links: vec![] });
    let request =
        LinkRequest { lease_s: Some(lease_s), hard_end_s: Some(hard_end_s), ..LinkRequest::plain(talkgroup("fd-1")) };
    desk.order("fire", Command::Accept { incident, links: vec![request] });
    (desk, incident)
}

fn unlinked(events: &[Event]) -> Option<UnlinkCause> {
    events.iter().find_map(|e| if let Event::Unlinked { cause, .. } = e { Some(*cause) } else { None })
}

#[test]
fn an_unanswered_invitation_shows_once_whom_to_call() {
    let mut desk = Desk::new(configuration());
    let incident = desk.open("police", &["pd-1"]);
    desk.order("police", Command::Invite { incident, agency: agency("fire"), note: String::new(), links: vec![] });
    assert!(desk.wait_s(29).is_empty());
    let events = desk.wait_s(1);
    assert!(matches!(&events[..], [Event::InvitationEscalated { contact_24h, .. }] if contact_24h == "+1 555 0100"));
    assert!(desk.wait_s(300).is_empty(), "once");
}

#[test]
fn an_unused_link_is_warned_twice_and_ends_with_its_lease() {
    let (mut desk, _) = leased(1800, 7200);
    assert!(desk.wait_s(1199).is_empty());
    assert!(matches!(desk.wait_s(1)[..], [Event::ExpiryWarned { left_s: 600, .. }]));
    assert!(matches!(desk.wait_s(480)[..], [Event::ExpiryWarned { left_s: 120, .. }]));
    assert!(desk.wait_s(119).is_empty());
    assert_eq!(unlinked(&desk.wait_s(1)), Some(UnlinkCause::Expired));
}

#[test]
fn a_short_lease_is_not_warned_of_what_was_never_far() {
    let (mut desk, _) = leased(300, 7200);
    assert!(desk.wait_s(179).is_empty(), "ten minutes were never left");
    assert!(matches!(desk.wait_s(1)[..], [Event::ExpiryWarned { left_s: 120, .. }]));
}

#[test]
fn an_extension_warns_again_and_ends_overtime() {
    let (mut desk, incident) = leased(300, 7200);
    desk.wait_s(290);
    desk.talk("gw-fd-1", 1000);
    assert!(matches!(desk.wait_s(10)[..], [Event::OvertimeBegan { .. }, Event::AlarmRaised { .. }]));
    let alarm = Alarm::Overtime { incident, link: desk.link_of("fd-1") };
    assert!(desk.state.alarms.contains(&alarm));
    let link = Some(desk.link_of("fd-1"));
    desk.order("fire", Command::Extend { incident, link, by_s: 300 });
    assert!(desk.find("fd-1").unwrap().link.overtime.is_none());
    assert_eq!(desk.wait_s(1), [Event::AlarmCleared { alarm }]);
    assert!(matches!(desk.wait_s(179)[..], [Event::ExpiryWarned { left_s: 120, .. }]));
}

#[test]
fn expiry_never_cuts_a_burst() {
    let (mut desk, _) = leased(300, 1200);
    desk.wait_s(299);
    let burst = desk.key("gw-fd-1");
    assert!(matches!(desk.wait_s(1)[..], [Event::OvertimeBegan { .. }, Event::AlarmRaised { .. }]));
    assert!(matches!(desk.wait_s(60)[..], [Event::OvertimeRuns { minutes: 1, .. }]));
    assert!(matches!(desk.wait_s(60)[..], [Event::OvertimeRuns { minutes: 2, .. }]));
    desk.unkey(burst, "gw-fd-1", 1000);
    let mut ended = None;
    let mut waited = 0;
    while ended.is_none() {
        waited += 10;
        assert!(waited < 700, "overtime has no end");
        ended = unlinked(&desk.wait_s(10));
    }
    assert_eq!(ended, Some(UnlinkCause::Expired));
    assert!(desk.state.alarms.is_empty(), "what is gone is not past its lease");
    assert!(waited > 580, "a link used in the last ten minutes is needed, and was cut after {waited} s");
}

#[test]
fn the_hard_end_cuts_whatever_happens() {
    let (mut desk, _) = leased(300, 400);
    desk.wait_s(299);
    desk.key("gw-fd-1");
    let talker = Alias::new("7");
    desk.order("fire", Command::DeclareEmergency { talkgroup: talkgroup("fd-1"), talker, place: String::new() });
    desk.wait_s(1);
    assert!(desk.find("fd-1").unwrap().link.overtime.is_some());
    assert_eq!(unlinked(&desk.wait_s(99)), None);
    assert_eq!(unlinked(&desk.wait_s(1)), Some(UnlinkCause::HardEnd));
}

#[test]
fn an_open_emergency_holds_the_leases_of_its_patch() {
    let (mut desk, _) = leased(300, 7200);
    let talker = Alias::new("7");
    let records =
        desk.order("police", Command::DeclareEmergency { talkgroup: talkgroup("pd-1"), talker, place: String::new() });
    let Event::EmergencyDeclared { emergency, .. } = records[0].event else { panic!() };
    assert_eq!(unlinked(&desk.wait_s(3600)), None, "the partner's link is held too");
    desk.order("police", Command::ClearEmergency { emergency, reason: String::new() });
    assert_eq!(unlinked(&desk.wait_s(1)), Some(UnlinkCause::Expired));
}

#[test]
fn an_emergency_nobody_acknowledged_alarms_for_each_agency_concerned_and_clears_with_it() {
    let (mut desk, _) = leased(7200, 7200);
    let talker = Alias::new("7");
    let records =
        desk.order("fire", Command::DeclareEmergency { talkgroup: talkgroup("fd-1"), talker, place: String::new() });
    let Event::EmergencyDeclared { emergency, .. } = records[0].event else { panic!() };
    desk.order("fire", Command::AcknowledgeEmergency { emergency });
    let alarm = Alarm::EmergencyUnacknowledged { emergency, agency: agency("police") };
    assert_eq!(desk.wait_s(60), [Event::AlarmRaised { alarm }]);
    assert!(desk.wait_s(60).is_empty(), "raised once");
    desk.order("fire", Command::ClearEmergency { emergency, reason: String::new() });
    assert!(desk.state.alarms.is_empty());
}

#[test]
fn idle_only_warns_unless_the_owner_wants_more() {
    let (mut desk, _) = leased(40_000, 40_000);
    let events = desk.wait_s(3600);
    assert_eq!(
        events.iter().filter(|e| matches!(e, Event::IdleWarned { .. })).count(),
        2,
        "each link once: {events:?}"
    );
    assert!(desk.wait_s(3600).is_empty());
    let mut configured = configuration();
    configured.talkgroups.get_mut(&talkgroup("pd-1")).unwrap().idle_unlink_s = 900;
    let mut desk = Desk::new(configured);
    desk.open("police", &["pd-1"]);
    assert!(matches!(desk.wait_s(780)[..], [Event::IdleWarned { idle_s: 780, .. }]));
    desk.talk("gw-pd-1a", 1000);
    assert!(desk.wait_s(700).is_empty(), "talking starts it again");
    desk.wait_s(100);
    assert_eq!(unlinked(&desk.wait_s(120)), Some(UnlinkCause::Idle));
}

#[test]
fn a_forced_close_ends_every_link_after_its_warning() {
    let (mut desk, incident) = leased(7200, 7200);
    desk.talk("gw-fd-1", 1000);
    desk.order("police", Command::Close { incident, force: true });
    assert!(desk.wait_s(59).is_empty());
    let events = desk.wait_s(1);
    assert_eq!(events.iter().filter(|e| matches!(e, Event::Unlinked { cause: UnlinkCause::Closed, .. })).count(), 2);
    assert_eq!(events.last(), Some(&Event::Closed { incident }));
}

#[test]
fn an_emergency_during_the_warning_withdraws_a_forced_close() {
    let (mut desk, incident) = leased(7200, 7200);
    desk.talk("gw-fd-1", 1000);
    desk.order("police", Command::Close { incident, force: true });
    assert!(desk.wait_s(59).is_empty());
    let talker = Alias::new("7");
    let declare = Command::DeclareEmergency { talkgroup: talkgroup("fd-1"), talker, place: String::new() };
    let Event::EmergencyDeclared { emergency, .. } = desk.order("fire", declare)[0].event else { panic!() };
    // The tick comes late: the warning is over and help has been called for.
    assert_eq!(desk.wait_s(5), [Event::CloseWithdrawn { incident }]);
    assert!(unlinked(&desk.wait_s(300)).is_none());
    desk.order("fire", Command::ClearEmergency { emergency, reason: String::new() });
    assert!(unlinked(&desk.wait_s(100)).is_none(), "the host has to ask again");
    desk.order("police", Command::Close { incident, force: true });
    assert_eq!(desk.wait_s(60).last(), Some(&Event::Closed { incident }));
}

/// Police and fire keep a talkgroup of each standing for three days.
fn standing() -> Desk {
    let mut configured = configuration();
    let agreement = Agreement {
        between: [agency("police"), agency("fire")],
        talkgroups: [talkgroup("pd-1"), talkgroup("fd-1")].into(),
        kinds: [].into(),
        direction: Direction::Both,
        answer: Answer::Ask,
        lease_max_s: 86_400,
        recording: false,
        end: Some(at_s(3 * 86_400).wall),
        standing: [talkgroup("pd-1"), talkgroup("fd-1")].into(),
    };
    configured.agreements.insert(AgreementId::new("standing").unwrap(), agreement);
    Desk::new(configured)
}

#[test]
fn a_hard_end_that_its_owner_named_is_past_no_renewal() {
    let mut desk = standing();
    let incident = desk.open("police", &["pd-1"]);
    desk.order("police", Command::Invite { incident, agency: agency("fire"), note: String::new(), links: vec![] });
    let request = LinkRequest { hard_end_s: Some(30 * 3600), ..LinkRequest::plain(talkgroup("fd-1")) };
    desk.order("fire", Command::Accept { incident, links: vec![request] });
    let mut lived_s = 0;
    while desk.find("fd-1").is_some() {
        desk.wait_s(60);
        lived_s += 60;
        assert!(lived_s <= 30 * 3600, "a renewal moved the owner's word");
    }
    assert!(lived_s > 29 * 3600, "it was renewed up to its hard end, and ended after {lived_s} s");
}

#[test]
fn the_hosts_own_link_stands_as_long_as_its_partner_is_in() {
    let mut desk = standing();
    let incident = desk.open("police", &["pd-1"]);
    desk.join("police", incident, "fire", &["fd-1"]);
    for _ in 0..2 * 1440 {
        desk.wait_s(60);
    }
    assert!(desk.find("pd-1").is_some() && desk.find("fd-1").is_some(), "both stand after two days");
    desk.order("fire", Command::Leave { incident });
    for _ in 0..1440 {
        desk.wait_s(60);
    }
    assert!(desk.find("pd-1").is_none(), "with whom it was agreed has gone");
}

#[test]
fn a_standing_link_renews_every_day_in_the_name_of_its_agreement() {
    let mut desk = standing();
    let incident = desk.open("police", &["pd-2"]);
    desk.join("police", incident, "fire", &["fd-1"]);
    let mut renewals = 0;
    let mut lived_s = 0;
    while desk.find("fd-1").is_some() {
        assert!(lived_s <= 3 * 86_400, "it outlives its agreement");
        let before = desk.journal.len();
        desk.wait_s(60);
        lived_s += 60;
        let by = Actor::Agreement(AgreementId::new("standing").unwrap());
        renewals += desk.journal[before..]
            .iter()
            .filter(|r| matches!(r.event, Event::Extended { .. }) && r.actor == by)
            .count();
    }
    assert_eq!(renewals, 3);
    assert!(lived_s >= 3 * 86_400 - 120, "it ended after {lived_s} s");
}

#[test]
fn a_clock_step_moves_no_lease_of_a_running_process() {
    let (mut desk, _) = leased(1800, 7200);
    for by_ms in [86_400_000, -200_000_000] {
        desk.now.wall.0 += by_ms;
        let event = Event::ClockStepped { by_ms };
        let stepped = Recorded { stream: Stream::Node, actor: Actor::Timer, at: desk.now, event };
        desk.record(vec![stepped]);
        assert!(desk.wait_s(0).is_empty());
    }
    let link = desk.find("fd-1").unwrap().link;
    assert_eq!(link.lease.ends, desk.now.wall.plus_ms(1_800_000), "people read the end on the new clock");
    assert!(matches!(desk.wait_s(1200)[..], [Event::ExpiryWarned { left_s: 600, .. }]));
}

#[test]
fn what_is_due_is_done_once_however_late_the_tick() {
    let (mut desk, _) = leased(1800, 7200);
    desk.talk("gw-fd-1", 1000);
    let events = desk.wait_s(100_000);
    assert!(unlinked(&events).is_some());
    assert!(desk.wait_s(0).is_empty(), "a second look finds nothing to do");
    assert!(schedule(&desk.state, &desk.live).iter().all(|(at, _)| *at > desk.now.mono));
}
