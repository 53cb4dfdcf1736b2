//! Every burst ends with who heard it and who did not (law 11): every ear, not one of each talkgroup.

use crosspatch::dispatch::reports::{SETTLE_MS, settle};
use crosspatch::domain::configuration::Configuration;
use crosspatch::domain::event::{Event, HeardBy};
use crosspatch::domain::floor::{BurstEnd, MissCause};
use crosspatch::domain::id::{BurstId, LinkId};
use crosspatch::domain::incident::{LinkRequest, PartyClass};
use crosspatch::domain::port::PortRole;
use crosspatch::domain::report::{PortOutcome, Report};

use crate::rig::*;
use crosspatch::domain::command::Command;

/// Fire has a console and a recorder beside its radio, police a console beside its two.
fn with_consoles() -> Configuration {
    let mut configuration = configuration();
    let more = [
        ("police", "pd-1", "gw-pd-desk", PortRole::Console),
        ("fire", "fd-1", "gw-fd-desk", PortRole::Console),
        ("fire", "fd-1", "gw-fd-rec", PortRole::Recorder),
    ];
    for (at, (of, carries, id, role)) in (0..).zip(more) {
        let mut spec = a_gateway(of, carries, 41_000 + 2 * at);
        spec.port.role = role;
        configuration.gateways.insert(gateway(id), spec);
    }
    configuration
}

fn desk_with(classes: &[PartyClass]) -> Desk {
    let mut desk = Desk::new(with_consoles());
    let incident = desk.open("police", &[]);
    let request = LinkRequest { classes: classes.iter().copied().collect(), ..LinkRequest::plain(talkgroup("pd-1")) };
    desk.join("police", incident, "fire", &["fd-1"]);
    desk.order("police", Command::Link { incident, request });
    desk
}

fn end(desk: &mut Desk, burst: BurstId, gateway_id: &str) -> Vec<Event> {
    let (patch, leg) = desk.place(gateway_id);
    let cause = BurstEnd::Released;
    desk.report(Report::BurstEnded { burst, patch, leg, cause, duration_ms: 2000, at: desk.now.mono })
}

fn said(desk: &mut Desk, burst: BurstId, gateway_id: &str, missed: Option<MissCause>) -> Vec<Event> {
    let missed_ms = if missed.is_some() { 500 } else { 0 };
    let outcome = PortOutcome { port: port(gateway_id), heard_ms: 2000 - missed_ms, missed_ms, missed };
    desk.report(Report::BurstHeard { burst, outcome })
}

fn heard_by(events: &[Event]) -> Vec<String> {
    let talked = |event: &Event| match event {
        Event::Talked { heard_by, .. } => Some(heard_by.clone()),
        _ => None,
    };
    let heard: Vec<HeardBy> = events.iter().find_map(talked).unwrap_or_default();
    heard.iter().map(|by| by.gateway.to_string()).collect()
}

#[test]
fn a_burst_is_told_when_every_ear_has_spoken_and_names_them_all() {
    let mut desk = desk_with(&[PartyClass::Recording]);
    let burst = desk.key("gw-pd-1a");
    assert_eq!(end(&mut desk, burst, "gw-pd-1a"), []);
    assert_eq!(said(&mut desk, burst, "gw-fd-1", None), [], "its console has not spoken");
    assert_eq!(said(&mut desk, burst, "gw-fd-desk", Some(MissCause::OutRanked)), [], "nor has its recorder");
    assert_eq!(said(&mut desk, burst, "gw-fd-rec", None), [], "nor the talker's own console");
    let told = said(&mut desk, burst, "gw-pd-desk", None);
    assert_eq!(heard_by(&told), ["gw-fd-1", "gw-fd-desk", "gw-fd-rec", "gw-pd-desk"]);
}

#[test]
fn a_recorder_that_may_not_hear_is_not_waited_for() {
    let mut desk = desk_with(&[]);
    let burst = desk.key("gw-pd-1a");
    end(&mut desk, burst, "gw-pd-1a");
    said(&mut desk, burst, "gw-pd-desk", None);
    said(&mut desk, burst, "gw-fd-desk", None);
    let told = said(&mut desk, burst, "gw-fd-1", None);
    assert_eq!(heard_by(&told), ["gw-pd-desk", "gw-fd-desk", "gw-fd-1"]);
}

#[test]
fn one_radio_of_a_talkgroup_speaks_for_all_and_the_talkers_own_radios_are_not_asked() {
    let mut desk = desk_with(&[]);
    let burst = desk.key("gw-fd-1");
    end(&mut desk, burst, "gw-fd-1");
    said(&mut desk, burst, "gw-pd-desk", None);
    said(&mut desk, burst, "gw-fd-desk", None);
    said(&mut desk, burst, "gw-fd-rec", None);
    let told = said(&mut desk, burst, "gw-pd-1b", None);
    assert_eq!(heard_by(&told), ["gw-pd-desk", "gw-fd-desk", "gw-fd-rec", "gw-pd-1b"]);
}

#[test]
fn an_ear_that_was_cut_in_mid_burst_is_named_with_its_cause() {
    let mut desk = desk_with(&[]);
    let burst = desk.key("gw-pd-1a");
    let link: LinkId = desk.link_of("fd-1");
    desk.order("fire", Command::Unlink { link });
    said(&mut desk, burst, "gw-fd-1", Some(MissCause::Cut));
    said(&mut desk, burst, "gw-fd-desk", Some(MissCause::Cut));
    end(&mut desk, burst, "gw-pd-1a");
    let told = said(&mut desk, burst, "gw-pd-desk", None);
    assert_eq!(heard_by(&told), ["gw-fd-1", "gw-fd-desk", "gw-pd-desk"]);
}

#[test]
fn what_an_ear_told_in_parts_adds_up_to_one_entry() {
    let mut desk = desk_with(&[]);
    let burst = desk.key("gw-pd-1a");
    let part = |desk: &mut Desk, heard_ms, missed_ms, missed| {
        let outcome = PortOutcome { port: port("gw-fd-1"), heard_ms, missed_ms, missed };
        desk.report(Report::BurstHeard { burst, outcome })
    };
    part(&mut desk, 700, 100, Some(MissCause::Cut));
    part(&mut desk, 900, 0, None);
    end(&mut desk, burst, "gw-pd-1a");
    said(&mut desk, burst, "gw-fd-desk", None);
    let told = said(&mut desk, burst, "gw-pd-desk", None);
    assert_eq!(heard_by(&told), ["gw-fd-1", "gw-fd-desk", "gw-pd-desk"], "each once");
    let of_radio = told.iter().find_map(|event| match event {
        Event::Talked { heard_by, .. } => heard_by.first().cloned(),
        _ => None,
    });
    let whole = HeardBy { gateway: gateway("gw-fd-1"), heard_ms: 1_600, missed_ms: 100, missed: Some(MissCause::Cut) };
    assert_eq!(of_radio, Some(whole));
}

#[test]
fn an_ear_that_never_speaks_holds_nothing_up_for_ever() {
    let mut desk = desk_with(&[]);
    let burst = desk.key("gw-pd-1a");
    end(&mut desk, burst, "gw-pd-1a");
    said(&mut desk, burst, "gw-fd-1", None);
    desk.now.mono = desk.now.mono.plus_ms(SETTLE_MS - 1);
    assert_eq!(settle(&mut desk.live, desk.now), []);
    desk.now.mono = desk.now.mono.plus_ms(1);
    let told: Vec<Event> = settle(&mut desk.live, desk.now).into_iter().map(|recorded| recorded.event).collect();
    assert_eq!(heard_by(&told), ["gw-fd-1"]);
}
