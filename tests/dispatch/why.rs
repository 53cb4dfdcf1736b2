//! `why`: the answer that somebody gets who hears nothing. It is just after a cut that they ask.

use crosspatch::dispatch::Sight;
use crosspatch::dispatch::why::why;
use crosspatch::domain::command::Command;
use crosspatch::domain::floor::MissCause;
use crosspatch::domain::id::IncidentId;
use crosspatch::domain::incident::CutTarget;
use crosspatch::domain::report::{MediaLimit, PortOutcome, Report};

use crate::rig::*;

/// Police and fire are linked, ems is elsewhere.
fn linked() -> (Desk, IncidentId) {
    let mut desk = Desk::new(configuration());
    let incident = desk.open("police", &["pd-1"]);
    desk.join("police", incident, "fire", &["fd-1"]);
    (desk, incident)
}

fn may_ask(desk: &Desk, of: &str, about: &str) -> bool {
    Sight::new(Some(agency(of)), &desk.state).may_ask_of(&desk.state, &talkgroup(about), desk.now)
}

/// Codes and sentence, as one agency gets them.
fn answer(desk: &Desk, of: &str, from: &str, to: &str) -> (Vec<String>, String) {
    let sight = Sight::new(Some(agency(of)), &desk.state);
    let answer = why(&desk.state, &desk.live, &sight, &talkgroup(from), &talkgroup(to), desk.now);
    (answer.causes.into_iter().map(|cause| cause.code).collect(), answer.sentence)
}

fn cut(desk: &mut Desk, of: &str, id: &str) {
    desk.order(of, Command::Cut { target: CutTarget::Talkgroup(talkgroup(id)) });
}

#[test]
fn a_partner_whose_talkgroup_was_cut_and_those_who_heard_it_may_ask_why() {
    let (mut desk, _) = linked();
    cut(&mut desk, "fire", "fd-1");
    desk.wait_s(40);
    assert!(may_ask(&desk, "fire", "pd-1") && may_ask(&desk, "police", "fd-1"));
    assert!(!may_ask(&desk, "ems", "pd-1") && !may_ask(&desk, "ems", "fd-1"), "a stranger");
    assert!(!may_ask(&desk, "fire", "pd-2"), "never linked");
    let (codes, sentence) = answer(&desk, "police", "fd-1", "pd-1");
    assert_eq!(codes[..2], ["cut", "unlinked"]);
    assert_eq!(sentence, "fd-1 was cut out of everything by its own agency and not restored.");
    desk.order("fire", Command::Restore { target: CutTarget::Talkgroup(talkgroup("fd-1")) });
    let (_, sentence) = answer(&desk, "police", "fd-1", "pd-1");
    assert_eq!(sentence, "fd-1 is linked no longer: its owner pulled the red button. (40 s ago)");
}

#[test]
fn who_left_or_was_removed_may_ask_and_so_may_those_whose_incident_closed() {
    let (mut desk, incident) = linked();
    desk.order("fire", Command::Leave { incident });
    assert!(may_ask(&desk, "fire", "pd-1"), "left");
    let (codes, _) = answer(&desk, "fire", "pd-1", "fd-1");
    assert_eq!(codes[0], "unlinked");

    let (mut desk, incident) = linked();
    desk.order("police", Command::Remove { incident, agency: agency("fire") });
    assert!(may_ask(&desk, "fire", "pd-1"), "removed");

    let (mut desk, incident) = linked();
    desk.order("police", Command::Close { incident, force: false });
    assert!(may_ask(&desk, "fire", "pd-1") && may_ask(&desk, "police", "fd-1"), "closed");
}

#[test]
fn a_day_later_a_former_partner_is_a_stranger() {
    let (mut desk, incident) = linked();
    desk.order("fire", Command::Leave { incident });
    desk.wait_s(24 * 3600 - 1);
    assert!(may_ask(&desk, "fire", "pd-1"));
    desk.wait_s(1);
    assert!(!may_ask(&desk, "fire", "pd-1"));
}

#[test]
fn an_answer_names_no_incident_that_the_asker_does_not_see() {
    let (mut desk, incident) = linked();
    desk.order("fire", Command::Leave { incident });
    let (_, sentence) = answer(&desk, "fire", "pd-1", "fd-1");
    assert!(sentence.starts_with("fd-1 is linked no longer: an agency left"), "{sentence}");
    let sight = Sight::new(Some(agency("fire")), &desk.state);
    let told = why(&desk.state, &desk.live, &sight, &talkgroup("pd-1"), &talkgroup("fd-1"), desk.now);
    let named = |cause: &crosspatch::dispatch::why::Cause| cause.sentence.contains(&incident.spoken());
    assert!(!told.causes.iter().any(named), "{told:?}");
}

#[test]
fn a_key_that_was_too_short_and_a_limit_that_was_hit_are_named_with_their_gateway() {
    let (mut desk, _) = linked();
    desk.talk("gw-pd-1a", 2_000);
    desk.wait_s(10);
    let (codes, _) = answer(&desk, "police", "pd-1", "fd-1");
    assert!(!codes.iter().any(|code| code == "too_short" || code == "limit"), "{codes:?}");
    desk.report(Report::TooShort { port: port("gw-pd-1a"), said_ms: 60, at: desk.now.mono });
    desk.report(Report::LimitHit { limit: MediaLimit::Decoders, port: Some(port("gw-fd-1")), at: desk.now.mono });
    let told = |desk: &Desk| {
        let sight = Sight::new(Some(agency("police")), &desk.state);
        let told = why(&desk.state, &desk.live, &sight, &talkgroup("pd-1"), &talkgroup("fd-1"), desk.now);
        told.causes.into_iter().map(|cause| cause.sentence).collect::<Vec<_>>()
    };
    let sentences = told(&desk);
    let short = "gw-pd-1a keyed for 60 ms, which is less than its minimum burst.".to_owned();
    assert!(sentences.contains(&short), "{sentences:?}");
    assert!(sentences.contains(&"gw-fd-1 met a limit: no decoder was free.".to_owned()), "{sentences:?}");
    desk.wait_s(60);
    desk.talk("gw-pd-1a", 2_000);
    let sentences = told(&desk);
    assert!(!sentences.iter().any(|sentence| *sentence == short || sentence.contains("limit")), "{sentences:?}");
}

#[test]
fn a_talkgroup_that_was_heard_is_never_called_silent() {
    let (mut desk, _) = linked();
    latch(&mut desk, "gw-fd-1");
    let (codes, sentence) = answer(&desk, "fire", "pd-1", "fd-1");
    assert_eq!(codes, ["never_talked"]);
    assert_eq!(sentence, "Nobody has talked on pd-1 since the daemon started.");
    // Through the second of its two gateways, and to everybody.
    let burst = desk.key("gw-pd-1b");
    let (codes, sentence) = answer(&desk, "fire", "pd-1", "fd-1");
    assert_eq!(codes, [] as [&str; 0]);
    assert!(sentence.starts_with("fd-1 may hear pd-1: it is routed"), "{sentence}");
    let outcome =
        PortOutcome { port: port("gw-fd-1"), heard_ms: 600, missed_ms: 200, missed: Some(MissCause::OutRanked) };
    desk.report(Report::BurstHeard { burst, outcome });
    let (codes, sentence) = answer(&desk, "fire", "pd-1", "fd-1");
    assert_eq!(codes, ["missed"]);
    assert!(sentence.contains("someone of higher rank was heard instead"), "{sentence}");
}

#[test]
fn silence_of_the_talkers_is_the_last_cause_of_all() {
    let (mut desk, _) = linked();
    desk.report(Report::Alive { port: port("gw-pd-1a"), alive: true, at: desk.now.mono });
    let refused = Some("192.0.2.1:5004: Cannot assign requested address".to_owned());
    desk.report(Report::Sockets { port: port("gw-fd-1"), refused, at: desk.now.mono });
    let (codes, _) = answer(&desk, "fire", "pd-1", "fd-1");
    assert_eq!(codes, ["no_peer", "not_open", "never_talked"]);
}

#[test]
fn a_latching_gateway_without_a_peer_is_said_to_have_none_until_it_has() {
    let (mut desk, _) = linked();
    desk.talk("gw-pd-1a", 800);
    let (codes, sentence) = answer(&desk, "fire", "pd-1", "fd-1");
    assert_eq!(codes, ["no_peer"]);
    assert!(sentence.starts_with("gw-fd-1 has no peer"), "{sentence}");
    latch(&mut desk, "gw-fd-1");
    let (codes, _) = answer(&desk, "fire", "pd-1", "fd-1");
    assert_eq!(codes, [] as [&str; 0]);
}

fn latch(desk: &mut Desk, gateway_id: &str) {
    let address = ([127, 0, 0, 1], 5004).into();
    desk.report(Report::Latched { port: port(gateway_id), address, at: desk.now.mono });
}
