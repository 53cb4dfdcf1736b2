use super::*;

fn at(ms: u64) -> MonoTime {
    MonoTime::from_millis(ms)
}

fn keyer(keying: ReceiveKeying) -> ReceiveKeyer {
    ReceiveKeyer::new(ReceiveSpec {
        keying,
        end_ms: 300,
        tail_ms: 60,
        inhibit_after_transmit_ms: 250,
        burst_min_ms: 150,
        talk_limit_ms: 1_000,
    })
}

const AUDIO: Cue = Cue::Audio { key: None, level: None };
const PAUSE: Cue = Cue::Pause { key: None };

/// Packets every 20 ms from `from` up to `to`, and every change they made.
fn talk(keyer: &mut ReceiveKeyer, cue: Cue, from: u64, to: u64) -> Vec<KeyChange> {
    (from..to).step_by(20).map(|ms| keyer.handle_cue(cue, at(ms))).filter(|c| *c != KeyChange::None).collect()
}

/// Ticks from `from` on until something changes, and when.
fn wait(keyer: &mut ReceiveKeyer, from: u64) -> (u64, KeyChange) {
    for ms in (from..from + 5_000).step_by(20) {
        let change = keyer.tick(at(ms));
        if change != KeyChange::None {
            return (ms, change);
        }
    }
    (0, KeyChange::None)
}

#[test]
fn a_burst_is_a_candidate_first_and_then_counts_from_its_first_packet() {
    let mut keyer = keyer(ReceiveKeying::Presence);
    assert_eq!(talk(&mut keyer, AUDIO, 1_000, 1_200), [KeyChange::Candidate, KeyChange::Keyed { since: at(1_000) }]);
    let end = KeyChange::Unkeyed { cause: BurstEnd::Silence, tail_from: at(1_200 - 60) };
    assert_eq!(wait(&mut keyer, 1_200), (1_480, end), "300 ms after the last packet at 1,180; 60 ms are tail");
}

#[test]
fn waiting_makes_no_burst_of_a_click() {
    let mut keyer = keyer(ReceiveKeying::Presence);
    assert_eq!(talk(&mut keyer, AUDIO, 0, 60), [KeyChange::Candidate]);
    assert_eq!(wait(&mut keyer, 60), (340, KeyChange::TooShort { heard_ms: 60 }));
    assert!(!keyer.is_candidate());
}

#[test]
fn a_talker_that_sends_nothing_in_pauses_is_waited_for_longer() {
    let mut keyer = keyer(ReceiveKeying::Presence);
    talk(&mut keyer, AUDIO, 0, 400);
    keyer.handle_cue(PAUSE, at(400));
    assert_eq!(wait(&mut keyer, 400).0, 860, "450 ms after 400, at the next tick");
}

#[test]
fn comfort_noise_keys_nobody_in_any_way_of_keying() {
    for keying in [ReceiveKeying::Presence, ReceiveKeying::Event, ReceiveKeying::Ext, ReceiveKeying::Vox] {
        assert_eq!(talk(&mut keyer(keying), PAUSE, 0, 1_000), [], "{keying:?}");
    }
}

#[test]
fn each_way_of_keying_believes_its_own_sign_only() {
    let key = |key| Cue::Audio { key: Some(key), level: None };
    let loud = |level| Cue::Audio { key: None, level: Some(Level(level)) };
    // Cue, and whether it keys by presence, event, ext, vox.
    for (cue, keys) in [
        (AUDIO, [true, false, false, false]),
        (key(true), [true, false, true, false]),
        (key(false), [true, false, false, false]),
        (Cue::Event(true), [false, true, false, false]),
        (Cue::Event(false), [false, false, false, false]),
        (loud(20), [true, false, false, true]),
        (loud(60), [true, false, false, false]),
    ] {
        let ways = [ReceiveKeying::Presence, ReceiveKeying::Event, ReceiveKeying::Ext, ReceiveKeying::Vox];
        for (keying, expected) in ways.into_iter().zip(keys) {
            let mut keyer = keyer(keying);
            talk(&mut keyer, cue, 0, 400);
            assert_eq!(keyer.is_keyed(), expected, "{cue:?} by {keying:?}");
        }
    }
}

#[test]
fn a_lost_key_up_ends_by_silence_and_a_received_one_at_once() {
    for (keying, down, up) in [
        (ReceiveKeying::Event, Cue::Event(true), Cue::Event(false)),
        (ReceiveKeying::Ext, Cue::Audio { key: Some(true), level: None }, Cue::Audio { key: Some(false), level: None }),
    ] {
        let mut lost = keyer(keying);
        talk(&mut lost, down, 0, 400);
        let mut heard = lost;
        assert_eq!(wait(&mut lost, 400).0, 680, "{keying:?}");
        let end = KeyChange::Unkeyed { cause: BurstEnd::Released, tail_from: at(340) };
        assert_eq!(heard.handle_cue(up, at(400)), end, "{keying:?}");
    }
}

#[test]
fn a_port_hears_nothing_of_its_own_transmission_nor_of_its_tail() {
    let mut keyer = keyer(ReceiveKeying::Presence);
    talk(&mut keyer, AUDIO, 0, 400);
    assert!(matches!(keyer.inhibit(at(400)), KeyChange::Unkeyed { cause: BurstEnd::Inhibited, .. }));
    assert_eq!(talk(&mut keyer, AUDIO, 400, 640), [], "deaf until 650");
    assert_eq!(talk(&mut keyer, AUDIO, 660, 680), [KeyChange::Candidate]);
}

#[test]
fn a_stuck_key_is_reported_over_its_limit_exactly_once() {
    let mut keyer = keyer(ReceiveKeying::Presence);
    let changes = talk(&mut keyer, AUDIO, 0, 10_000);
    assert_eq!(changes, [KeyChange::Candidate, KeyChange::Keyed { since: at(0) }, KeyChange::OverLimit]);
}

#[test]
fn every_key_has_one_end_whatever_arrives() {
    let mut ends = 0;
    for seed in 0..200 {
        let mut random = crate::domain::random::Entropy::new(seed);
        let keying = [ReceiveKeying::Presence, ReceiveKeying::Event, ReceiveKeying::Ext, ReceiveKeying::Vox];
        let mut keyer = keyer(keying[random.below(4) as usize]);
        let (mut open, mut candidate, mut now) = (false, false, 0);
        for _ in 0..500 {
            now += random.below(60);
            let key = [None, Some(true), Some(true), Some(false)][random.below(4) as usize];
            let change = match random.below(100) {
                0..60 => keyer.handle_cue(Cue::Audio { key, level: Some(Level(random.below(80) as u8)) }, at(now)),
                60..65 => keyer.handle_cue(Cue::Pause { key }, at(now)),
                65..75 => keyer.handle_cue(Cue::Event(random.percent(80)), at(now)),
                75..77 => keyer.inhibit(at(now)),
                _ => keyer.tick(at(now)),
            };
            match change {
                KeyChange::None => {}
                KeyChange::Candidate => assert!(!open && !std::mem::replace(&mut candidate, true)),
                KeyChange::Keyed { since } => {
                    assert!(!std::mem::replace(&mut open, true) && since <= at(now), "seed {seed}");
                    candidate = false;
                }
                KeyChange::TooShort { heard_ms } => {
                    assert!(std::mem::replace(&mut candidate, false) && heard_ms < 150, "seed {seed}");
                }
                KeyChange::Unkeyed { .. } => {
                    assert!(std::mem::replace(&mut open, false), "seed {seed}: an end without a key");
                    ends += 1;
                }
                KeyChange::OverLimit => assert!(open),
            }
            assert_eq!((open, candidate), (keyer.is_keyed(), keyer.is_candidate()), "seed {seed}");
        }
    }
    assert!(ends > 500, "bursts happened");
}
