use super::*;
use crate::domain::port::{Overlap, Pacing};

fn at(ms: u64) -> MonoTime {
    MonoTime::from_millis(ms)
}

fn keyer(keying: TransmitKeying, grant: GrantSign, tail_ms: u16) -> TransmitKeyer {
    TransmitKeyer::new(TransmitSpec {
        keying,
        grant,
        overlap: Overlap::One,
        pacing: Pacing::Paced,
        hold_max_ms: 2_500,
        tail_ms,
        talk_limit_ms: 10_000,
        far_timeout_ms: None,
        half_duplex: true,
    })
}

fn trunk() -> TransmitKeyer {
    keyer(TransmitKeying::Ext, GrantSign::Signalled, 300)
}

const STATES: [&str; 6] = ["idle", "keying", "on air", "tail", "denied", "failed"];

/// A signalled transmitter in each of its states, reached by the public operations.
fn trunk_in(state: &str) -> TransmitKeyer {
    let mut keyer = trunk();
    if state == "idle" {
        return keyer;
    }
    keyer.begin(at(0));
    match state {
        "keying" => {}
        "on air" => drop(keyer.grant(at(0))),
        "tail" => drop((keyer.grant(at(0)), keyer.end(at(0)))),
        "denied" => drop(keyer.deny(at(0))),
        "failed" => drop((keyer.deny(at(0)), keyer.tick(at(300)), keyer.deny(at(300)))),
        other => panic!("no state {other}"),
    }
    keyer
}

#[test]
fn the_table_of_transitions_holds() {
    use TransmitChange::{Failed, Lower, None, OnAir, Pause, Raise, Rekey};
    type Step = fn(&mut TransmitKeyer) -> TransmitChange;
    let failed = Failed(MissCause::HoldOverrun);
    let limit = Failed(MissCause::TalkLimit);
    // What each step answers in: idle, keying, on air, tail, denied, failed.
    let table: [(&str, Step, [TransmitChange; 6]); 7] = [
        ("begin", |k| k.begin(at(20)), [Raise, None, None, OnAir, None, None]),
        ("grant", |k| k.grant(at(20)), [None, OnAir, None, None, None, None]),
        ("deny", |k| k.deny(at(20)), [None, Pause, Pause, Lower, None, None]),
        ("overrun", |k| k.overrun(at(20)), [None, Pause, None, None, failed, None]),
        ("end", |k| k.end(at(20)), [None, Lower, None, None, None, None]),
        ("stop", |k| k.stop(), [Lower; 6]),
        ("tick much later", |k| k.tick(at(10_000)), [None, Pause, limit, Lower, Rekey, None]),
    ];
    for (name, step, answers) in table {
        for (state, answer) in STATES.into_iter().zip(answers) {
            assert_eq!(step(&mut trunk_in(state)), answer, "{name} in {state}");
        }
    }
}

#[test]
fn speech_flows_at_once_after_a_time_or_after_a_grant() {
    let mut immediate = keyer(TransmitKeying::Ext, GrantSign::Immediate, 0);
    assert_eq!((immediate.begin(at(0)), immediate.may_send()), (TransmitChange::RaiseOnAir, true));
    assert_eq!(immediate.end(at(20)), TransmitChange::Lower, "no tail");
    let mut timed = keyer(TransmitKeying::Ext, GrantSign::AfterMs(400), 0);
    assert_eq!(
        (timed.begin(at(0)), timed.tick(at(380)), timed.may_send()),
        (TransmitChange::Raise, TransmitChange::None, false)
    );
    assert_eq!((timed.tick(at(400)), timed.may_send()), (TransmitChange::OnAir, true));
    let mut trunk = trunk();
    trunk.begin(at(0));
    assert!(!trunk.may_send());
    assert_eq!((trunk.grant(at(300)), trunk.may_send()), (TransmitChange::OnAir, true));
}

#[test]
fn one_denial_is_retried_and_the_second_is_final_until_the_burst_ends() {
    let mut trunk = trunk();
    trunk.begin(at(0));
    assert_eq!(trunk.deny(at(100)), TransmitChange::Pause);
    assert!(!trunk.is_raised());
    assert_eq!((trunk.tick(at(380)), trunk.tick(at(400))), (TransmitChange::None, TransmitChange::Rekey));
    assert_eq!(trunk.tick(at(1_400)), TransmitChange::Failed(MissCause::TransmitDenied), "no answer is a denial");
    assert_eq!((trunk.begin(at(1_420)), trunk.has_failed()), (TransmitChange::None, true));
    assert_eq!((trunk.end(at(1_440)), trunk.begin(at(1_460))), (TransmitChange::None, TransmitChange::Raise));
}

/// What each of a far floor's words does in: idle, keying, on air, tail, denied, failed.
#[test]
fn a_far_floors_word_counts_while_it_is_asked_and_a_taking_is_final() {
    use TransmitChange::{Failed, None, OnAir, Pause};
    let taken = Failed(MissCause::TransmitDenied);
    let table: [(FarFloor, [TransmitChange; 6]); 5] = [
        (FarFloor::Silent, [None; 6]),
        (FarFloor::Granted, [None, OnAir, None, None, None, None]),
        (FarFloor::Queued, [None; 6]),
        (FarFloor::Denied, [None, Pause, Pause, None, None, None]),
        (FarFloor::Revoked, [None, taken, taken, None, None, None]),
    ];
    for (word, answers) in table {
        for (state, answer) in STATES.into_iter().zip(answers) {
            assert_eq!(trunk_in(state).answer(word, at(20)), answer, "{word:?} in {state}");
        }
        let mut immediate = keyer(TransmitKeying::Ext, GrantSign::Immediate, 0);
        immediate.begin(at(0));
        assert_eq!(
            (immediate.answer(word, at(20)), immediate.may_send()),
            (None, true),
            "{word:?} to who needs no word"
        );
    }
}

#[test]
fn whoever_is_queued_is_waited_for_and_a_grant_that_is_not_repeated_is_over() {
    let mut trunk = trunk();
    trunk.begin(at(0));
    for ms in (0..5_000).step_by(100) {
        trunk.answer(FarFloor::Queued, at(ms));
        assert_eq!(trunk.tick(at(ms + 80)), TransmitChange::None);
    }
    assert_eq!(trunk.answer(FarFloor::Granted, at(5_000)), TransmitChange::OnAir);
    assert_eq!(trunk.tick(at(5_980)), TransmitChange::None);
    trunk.answer(FarFloor::Granted, at(5_990));
    assert_eq!((trunk.tick(at(6_980)), trunk.tick(at(6_990))), (TransmitChange::None, TransmitChange::Pause));
    let mut flag = self::trunk();
    flag.begin(at(0));
    flag.grant(at(0));
    assert_eq!(flag.tick(at(9_000)), TransmitChange::None, "a radio trunk says it once");
}

#[test]
fn whoever_is_in_need_knocks_again_but_not_against_a_limit_or_a_taking() {
    let mut denied = trunk_in("failed");
    denied.knock();
    assert_eq!(denied.begin(at(1_000)), TransmitChange::Raise);
    let mut taken = trunk_in("on air");
    taken.answer(FarFloor::Revoked, at(20));
    taken.knock();
    assert!(taken.has_failed());
    let mut limited = trunk_in("on air");
    limited.tick(at(10_000));
    limited.knock();
    assert!(limited.has_failed());
}

#[test]
fn we_let_go_before_a_latching_far_side_does() {
    let mut latching = keyer(TransmitKeying::Event, GrantSign::Immediate, 300);
    latching.spec.far_timeout_ms = Some(5_000);
    latching.begin(at(0));
    let failed = (0..).map(|tick| tick * 20).find(|ms| latching.tick(at(*ms)) != TransmitChange::None);
    assert!(failed.is_some_and(|ms| ms < 5_000), "{failed:?}");
}

#[test]
fn a_new_burst_in_the_tail_of_a_long_one_gets_a_limit_of_its_own() {
    let mut timed = keyer(TransmitKeying::Ext, GrantSign::Immediate, 300);
    timed.begin(at(0));
    timed.end(at(6_000));
    assert_eq!(timed.begin(at(6_100)), TransmitChange::Rekey, "more than half is spent");
    assert_eq!(timed.tick(at(15_000)), TransmitChange::None);
}

#[test]
fn the_sign_on_the_wire_always_matches_the_state_and_no_speech_flows_without_it() {
    for seed in 0..300 {
        let mut random = crate::domain::random::Entropy::new(seed);
        let grants = [GrantSign::Immediate, GrantSign::AfterMs(200), GrantSign::Signalled];
        let mut keyer = keyer(TransmitKeying::Event, grants[random.below(3) as usize], random.below(2) as u16 * 300);
        let (mut raised, mut now) = (false, 0);
        for _ in 0..500 {
            now += 20;
            let change = match random.below(100) {
                0..30 => keyer.begin(at(now)),
                30..34 => keyer.grant(at(now)),
                34..36 => keyer.deny(at(now)),
                36..37 => keyer.overrun(at(now)),
                37..40 => keyer.end(at(now)),
                40 => keyer.stop(),
                _ => keyer.tick(at(now)),
            };
            match change {
                TransmitChange::None => {}
                TransmitChange::Raise | TransmitChange::RaiseOnAir => {
                    assert!(!std::mem::replace(&mut raised, true), "seed {seed}: raised twice");
                }
                TransmitChange::Rekey => raised = true,
                TransmitChange::OnAir => assert!(raised, "seed {seed}: on the air without a key"),
                TransmitChange::Pause | TransmitChange::Lower | TransmitChange::Failed(_) => raised = false,
            }
            assert_eq!(raised, keyer.is_raised(), "seed {seed}");
            assert!(raised || !keyer.may_send(), "seed {seed}");
        }
    }
}
