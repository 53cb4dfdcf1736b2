//! Replay and restart: the journal gives the same state, leases keep the smaller end, nothing stays open.

use crosspatch::dispatch::{State, evolve};
use crosspatch::domain::event::{Event, Recorded};
use crosspatch::domain::floor::BurstEnd;
use crosspatch::domain::time::{MonoTime, Now, WallTime};

use crate::rig::*;

fn replay(journal: &[Recorded]) -> State {
    let mut state = State::default();
    journal.iter().for_each(|recorded| evolve(&mut state, recorded));
    state
}

/// A desk where fd-1 was linked for four hours and pd-1 talks.
fn busy() -> Desk {
    let mut desk = Desk::new(configuration());
    let incident = desk.open("police", &["pd-1"]);
    desk.join("police", incident, "fire", &["fd-1"]);
    desk.wait_s(3600);
    desk.key("gw-pd-1a");
    desk
}

fn left_after_restart(down_s: u64, wall_step_ms: i64) -> u64 {
    let desk = busy();
    let mut state = replay(&desk.journal);
    let wall = desk.now.wall.plus_ms(down_s * 1000);
    // The machine was rebooted: boot time begins again.
    let now = Now { mono: MonoTime::from_millis(30_000), wall: WallTime(wall.0 + wall_step_ms) };
    state.rebase(now);
    let link = state.links().find(|placed| placed.link.talkgroup == talkgroup("fd-1")).unwrap().link.clone();
    link.lease.left_ms(now) / 1000
}

#[test]
fn a_lease_keeps_the_smaller_of_what_was_left_and_what_the_wall_clock_says() {
    let three_hours = 3 * 3600;
    assert_eq!(left_after_restart(600, 0), three_hours - 600, "the time it was down has passed");
    assert_eq!(left_after_restart(600, -86_400_000), three_hours, "a clock that runs behind gives nothing");
    assert_eq!(left_after_restart(600, 86_400_000), 0, "a clock that ran ahead takes");
}

#[test]
fn a_burst_that_the_crash_left_open_is_ended_once_by_the_restart() {
    let desk = busy();
    let mut state = replay(&desk.journal);
    assert_eq!(state.talking.len(), 1);
    let now = Now { mono: MonoTime::from_millis(30_000), wall: desk.now.wall.plus_ms(5000) };
    let first = state.restarted("test", now);
    let ends = |records: &[Recorded]| {
        records.iter().filter(|r| matches!(r.event, Event::Talked { end: BurstEnd::Restart, .. })).count()
    };
    assert_eq!(ends(&first), 1);
    first.iter().for_each(|recorded| evolve(&mut state, recorded));
    assert!(state.talking.is_empty());
    assert_eq!(ends(&state.restarted("test", now)), 0);
}

#[test]
fn a_second_replay_over_a_restart_gives_the_same_state() {
    let mut desk = busy();
    let now = Now { mono: MonoTime::from_millis(30_000), wall: desk.now.wall.plus_ms(5000) };
    let started = desk.state.restarted("test", now);
    desk.now = now;
    desk.record(started);
    desk.wait_s(1200);
    assert_eq!(replay(&desk.journal), desk.state);
    let link = desk.find("fd-1").unwrap().link;
    assert_eq!(link.lease.left_ms(desk.now) / 1000, 3 * 3600 - 1205);
    assert_eq!(desk.state.epoch, 1);
}

#[test]
fn open_emergencies_and_cuts_survive_a_restart() {
    let mut desk = busy();
    let talker = Default::default();
    let declare = crosspatch::domain::command::Command::DeclareEmergency {
        talkgroup: talkgroup("fd-1"),
        talker,
        place: "roof".into(),
    };
    desk.order("fire", declare);
    let target = crosspatch::domain::incident::CutTarget::Talkgroup(talkgroup("pd-2"));
    desk.order("police", crosspatch::domain::command::Command::Cut { target });
    let mut state = replay(&desk.journal);
    let now = Now { mono: MonoTime(0), wall: desk.now.wall };
    for recorded in state.restarted("test", now) {
        evolve(&mut state, &recorded);
    }
    assert_eq!((state.emergencies.len(), state.cuts.len()), (1, 1));
}

#[test]
fn a_state_survives_a_snapshot() {
    let mut desk = busy();
    desk.wait_s(60);
    let text = serde_json::to_string(&desk.state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), desk.state);
}
