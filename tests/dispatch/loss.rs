//! History that is lost: nothing crosses agency borders until a person of the right role has looked at it.

use crosspatch::dispatch::routes::compile;
use crosspatch::domain::command::Command;
use crosspatch::domain::event::{Alarm, Event, Recorded, Stream};
use crosspatch::domain::incident::Actor;
use crosspatch::domain::refusal::Refusal;

use crate::rig::*;

fn losses() -> [Alarm; 2] {
    [Alarm::StreamSetAside { stream: "agency/fire".to_owned(), number: 3 }, Alarm::RecordsLost { first: 40, last: 44 }]
}

/// Police and fire are linked, and a start has found what is lost.
fn damaged() -> Desk {
    let mut desk = Desk::new(configuration());
    let incident = desk.open("police", &["pd-1"]);
    desk.join("police", incident, "fire", &["fd-1"]);
    for alarm in losses() {
        let event = Event::AlarmRaised { alarm };
        desk.record(vec![Recorded { stream: Stream::Node, actor: Actor::Recovery, at: desk.now, event }]);
    }
    desk
}

fn crosses(desk: &Desk) -> bool {
    hears(&compile(&desk.state, 2), "pd-1", "fd-1")
}

fn confirm(reason: &str) -> Command {
    Command::ConfirmLoss { reason: reason.to_owned() }
}

#[test]
fn lost_history_mutes_what_crosses_borders_until_an_administrator_confirms_it() {
    let mut desk = damaged();
    assert!(!crosses(&desk));
    let told = desk.ask(&admin(), confirm("disk replaced, fire was called")).unwrap();
    assert!(crosses(&desk) && desk.state.alarms.is_empty());
    for alarm in losses() {
        let reason = "disk replaced, fire was called".to_owned();
        assert!(told.iter().any(|r| r.event == Event::LossConfirmed { alarm: alarm.clone(), reason: reason.clone() }));
        assert!(desk.state.losses_confirmed.contains(&alarm), "the next start does not alarm again");
    }
}

#[test]
fn each_loss_alone_mutes() {
    for alarm in losses() {
        let mut desk = damaged();
        let event = Event::AlarmCleared { alarm };
        desk.record(vec![Recorded { stream: Stream::Node, actor: Actor::Recovery, at: desk.now, event }]);
        assert!(!crosses(&desk));
    }
}

#[test]
fn no_dispatcher_confirms_a_loss_and_nobody_without_a_reason_or_a_loss() {
    let mut desk = damaged();
    assert!(matches!(desk.refused("fire", confirm("it is fine")), Refusal::NotAllowed { .. }));
    assert!(matches!(desk.refuses(&admin(), confirm("  ")), Refusal::OutOfRange { .. }));
    desk.ask(&admin(), confirm("seen")).unwrap();
    assert_eq!(desk.refuses(&admin(), confirm("again")), Refusal::NothingToDo);
}
