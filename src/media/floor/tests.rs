use super::*;
use crate::domain::random::Entropy;

fn policy(holders_max: u8, queue_max: u8) -> FloorPolicy {
    FloorPolicy { mode: FloorMode::Ptt, holders_max, queue_max, hang_ms: 500, talk_limit_ms: 60_000 }
}

fn at(ms: u64) -> MonoTime {
    MonoTime::from_millis(ms)
}

/// A field unit of priority 3 on a side of its own.
fn field(key: u8, asked_ms: u64) -> Standing {
    Standing {
        emergency: false,
        owner_dispatcher: false,
        host_dispatcher: false,
        priority: Priority(3),
        side: LinkId(u128::from(key)),
        asked_at: at(asked_ms),
    }
}

fn emergency(key: u8, asked_ms: u64) -> Standing {
    Standing { emergency: true, ..field(key, asked_ms) }
}

fn told<K: Copy>(changes: Changes<K>) -> Vec<Change<K>> {
    changes.iter().collect()
}

fn ended(key: u8, cause: BurstEnd, held_ms: u32) -> Change<u8> {
    Change::Ended { key, cause, held_ms }
}

const LONG: u32 = u32::MAX;
/// The key under test, the one that holds the floor before it, and one that comes after.
const A: u8 = 1;
const B: u8 = 2;

/// Where a key can be, each reached by the public operations.
fn floor_with(place: &str) -> Floor<u8> {
    let mut floor = Floor::new(policy(1, 1));
    match place {
        "none" => {}
        "holding" => assert_eq!(floor.request(A, field(A, 0), LONG, at(0)), Verdict::Granted),
        "queued" => {
            floor.request(B, field(B, 0), LONG, at(0));
            assert_eq!(floor.request(A, field(A, 0), LONG, at(0)), Verdict::Queued { position: 1 });
        }
        "revoked" => {
            floor.request(A, field(A, 0), LONG, at(0));
            floor.revoke(A, BurstEnd::Revoked, at(0));
        }
        other => panic!("no place {other}"),
    }
    floor
}

#[test]
fn the_table_of_requests_holds() {
    let denied = Verdict::Denied(Denial::StillRevoked);
    let position = Verdict::Queued { position: 1 };
    for (place, plain, urgent) in [
        ("none", Verdict::Granted, Verdict::Granted),
        ("holding", Verdict::Continues, Verdict::Continues),
        ("queued", position, Verdict::GrantedAfterEnding(B)),
        ("revoked", denied, Verdict::Granted),
    ] {
        assert_eq!(floor_with(place).request(A, field(A, 0), LONG, at(20)), plain, "{place}, plain");
        assert_eq!(floor_with(place).request(A, emergency(A, 0), LONG, at(20)), urgent, "{place}, emergency");
    }
}

#[test]
fn the_table_of_endings_holds() {
    type Ending = fn(&mut Floor<u8>) -> Changes<u8>;
    let release: Ending = |floor| floor.release(A, BurstEnd::Released, at(20));
    let revoke: Ending = |floor| floor.revoke(A, BurstEnd::Revoked, at(20));
    let close: Ending = |floor| floor.close(at(20));
    let time_out: Ending = |floor| floor.tick(at(60_000));
    let cases: [(&str, &str, Ending, Vec<Change<u8>>); 16] = [
        ("none", "release", release, vec![]),
        ("none", "revoke", revoke, vec![]),
        ("none", "close", close, vec![]),
        ("none", "time-out", time_out, vec![]),
        ("holding", "release", release, vec![ended(A, BurstEnd::Released, 20)]),
        ("holding", "revoke", revoke, vec![ended(A, BurstEnd::Revoked, 20), Change::Idle]),
        ("holding", "close", close, vec![ended(A, BurstEnd::PatchClosed, 20), Change::Idle]),
        ("holding", "time-out", time_out, vec![ended(A, BurstEnd::TimedOut, 60_000), Change::Idle]),
        ("queued", "release", release, vec![]),
        ("queued", "revoke", revoke, vec![]),
        ("queued", "close", close, vec![ended(B, BurstEnd::PatchClosed, 20), Change::Idle]),
        ("queued", "time-out", time_out, vec![ended(B, BurstEnd::TimedOut, 60_000), Change::Granted(A)]),
        ("revoked", "release", release, vec![]),
        ("revoked", "revoke", revoke, vec![]),
        ("revoked", "close", close, vec![]),
        ("revoked", "time-out", time_out, vec![]),
    ];
    for (place, name, ending, expected) in cases {
        assert_eq!(told(ending(&mut floor_with(place))), expected, "{place}, {name}");
    }
}

#[test]
fn only_a_strictly_higher_rank_pre_empts() {
    let owner = Standing { owner_dispatcher: true, ..field(B, 9) };
    let host = Standing { host_dispatcher: true, ..field(B, 9) };
    let higher = Standing { priority: Priority(4), ..field(B, 9) };
    let ladder = [field(B, 9), higher, host, owner, emergency(B, 9)];
    for (low, holder) in ladder.iter().enumerate() {
        for (high, asker) in ladder.iter().enumerate() {
            let mut floor = Floor::new(policy(1, 0));
            floor.request(A, Standing { asked_at: at(0), ..*holder }, LONG, at(0));
            let expected = if high > low { Verdict::GrantedAfterEnding(A) } else { Verdict::Denied(Denial::Busy) };
            assert_eq!(floor.request(B, *asker, LONG, at(9)), expected, "{high} asks, {low} holds");
        }
    }
}

#[test]
fn a_dispatcher_in_an_emergency_does_not_pre_empt_an_emergency() {
    let mut floor = Floor::new(policy(1, 1));
    floor.request(A, emergency(A, 0), LONG, at(0));
    let second = Standing { host_dispatcher: true, owner_dispatcher: true, ..emergency(B, 1) };
    assert_eq!(floor.request(B, second, LONG, at(1)), Verdict::Queued { position: 1 });
    assert!(floor.holds(A));
}

#[test]
fn a_second_emergency_is_beside_the_first_or_takes_the_lowest_place() {
    let mut floor = Floor::new(policy(2, 0));
    floor.request(1, emergency(1, 0), LONG, at(0));
    assert_eq!(floor.request(2, emergency(2, 1), LONG, at(1)), Verdict::Granted);
    let mut floor = Floor::new(policy(3, 0));
    floor.request(1, emergency(1, 0), LONG, at(0));
    floor.request(2, field(2, 1), LONG, at(1));
    floor.request(3, field(3, 2), LONG, at(2));
    assert_eq!(floor.request(4, emergency(4, 3), LONG, at(3)), Verdict::GrantedAfterEnding(3), "last come, first gone");
}

#[test]
fn a_pre_empted_talker_that_stays_keyed_is_refused_until_it_lets_go() {
    let mut floor = Floor::new(policy(1, 0));
    floor.request(A, field(A, 0), LONG, at(0));
    floor.request(B, emergency(B, 1), LONG, at(1));
    floor.release(B, BurstEnd::Released, at(100));
    assert_eq!(floor.request(A, field(A, 0), LONG, at(2_000)), Verdict::Denied(Denial::StillRevoked));
    floor.release(A, BurstEnd::Released, at(2_001));
    assert_eq!(floor.request(A, field(A, 2_002), LONG, at(2_002)), Verdict::Granted);
}

#[test]
fn the_shorter_talk_limit_ends_a_burst_and_is_announced_once() {
    for (policy_ms, port_ms) in [(60_000, 30_000), (30_000, 60_000)] {
        let mut floor = Floor::new(FloorPolicy { talk_limit_ms: policy_ms, ..policy(1, 0) });
        floor.request(A, field(A, 0), port_ms, at(0));
        let seen: Vec<_> = (1..=1_600).flat_map(|tick| told(floor.tick(at(tick * 20)))).collect();
        let expected =
            [Change::EndsSoon { key: A, left_ms: 5_000 }, ended(A, BurstEnd::TimedOut, 30_000), Change::Idle];
        assert_eq!(seen, expected, "policy {policy_ms}, port {port_ms}");
    }
}

#[test]
fn who_talked_over_the_last_talker_waits_for_the_hang_time_and_an_answer_does_not() {
    let mut floor = Floor::new(policy(1, 0));
    floor.request(A, field(A, 0), LONG, at(0));
    assert_eq!(floor.request(B, field(B, 900), LONG, at(900)), Verdict::Denied(Denial::Busy));
    floor.release(A, BurstEnd::Silence, at(1_000));
    assert_eq!(floor.request(B, field(B, 900), LONG, at(1_020)), Verdict::Denied(Denial::Busy));
    assert_eq!(floor.phase(at(1_020)), Phase::Hang { side: LinkId(1), until: at(1_500) });
    let (mut same_side, mut answer, mut later) = (floor, floor, floor);
    assert_eq!(same_side.request(A, field(A, 1_100), LONG, at(1_100)), Verdict::Granted, "the side itself");
    assert_eq!(answer.request(3, field(3, 1_100), LONG, at(1_100)), Verdict::Granted, "keyed on an idle channel");
    assert_eq!(floor.request(4, emergency(4, 900), LONG, at(1_100)), Verdict::Granted, "an emergency waits for nobody");
    assert_eq!(told(later.tick(at(1_500))), [Change::Idle]);
    assert_eq!(later.request(B, field(B, 900), LONG, at(1_500)), Verdict::Granted, "hang time is over");
}

#[test]
fn the_queue_is_served_by_rank_then_the_last_side_then_first_come() {
    let mut floor = Floor::new(policy(1, 4));
    floor.request(9, field(9, 0), LONG, at(0));
    floor.request(1, field(1, 1), LONG, at(1));
    floor.request(2, field(2, 2), LONG, at(2));
    floor.request(3, Standing { side: LinkId(9), ..field(3, 3) }, LONG, at(3));
    let high = Standing { priority: Priority(9), ..field(4, 4) };
    floor.set_policy(policy(1, 4), at(4));
    // Higher than the holder would pre-empt; the same as a dispatcher who holds.
    floor.request(9, Standing { host_dispatcher: true, ..field(9, 0) }, LONG, at(4));
    assert_eq!(floor.request(4, high, LONG, at(4)), Verdict::Queued { position: 1 });
    let mut served = Vec::new();
    let mut holder = 9;
    for turn in 0..4 {
        let changes = told(floor.release(holder, BurstEnd::Released, at(100 + turn)));
        let Some(next) = changes.iter().find_map(|change| match change {
            Change::Granted(key) => Some(*key),
            Change::Ended { .. }
            | Change::EndsSoon { .. }
            | Change::Moved { .. }
            | Change::Turned { .. }
            | Change::Idle => None,
        }) else {
            panic!("nobody was granted: {changes:?}")
        };
        served.push(next);
        holder = next;
    }
    assert_eq!(served, [4, 1, 2, 3], "after 4 its side precedes, not 9's any more");
}

#[test]
fn a_narrowed_policy_ends_the_lowest_and_never_an_emergency() {
    let mut floor = Floor::new(policy(3, 0));
    floor.request(1, emergency(1, 0), LONG, at(0));
    floor.request(2, field(2, 1), LONG, at(1));
    floor.request(3, emergency(3, 2), LONG, at(2));
    assert_eq!(told(floor.set_policy(policy(1, 0), at(10))), [ended(2, BurstEnd::Revoked, 9)]);
    assert!(floor.holds(1) && floor.holds(3));
}

#[test]
fn in_open_mode_the_loudest_are_heard_and_a_small_difference_changes_nobody() {
    let open = FloorPolicy { mode: FloorMode::Open, ..policy(1, 0) };
    let mut floor = Floor::new(open);
    for key in [A, B, 3] {
        assert_eq!(floor.request(key, field(key, 0), LONG, at(0)), Verdict::Granted, "everybody may talk");
    }
    let mut heard = |a: u8, b: u8| {
        floor.set_level(A, Level(a));
        floor.set_level(B, Level(b));
        floor.choose().iter().collect::<Vec<_>>()
    };
    assert_eq!(heard(30, 40), [A]);
    assert_eq!(heard(30, 25), [A], "5 dB louder is not enough");
    assert_eq!(heard(30, 23), [B]);
    floor.request(3, emergency(3, 0), LONG, at(1));
    assert_eq!(floor.choose().iter().collect::<Vec<_>>(), [3], "a silent emergency is heard before all else");
}

/// What must hold whatever happens, kept by a model that only believes verdicts and changes.
#[derive(Default)]
struct Model {
    granted: Vec<(u8, u64)>,
    revoked: Vec<u8>,
    emergencies: Vec<u8>,
    grants: u64,
    pre_emptions: u64,
    time_outs: u64,
    turned: u64,
}

impl Model {
    fn grant(&mut self, key: u8, now_ms: u64) {
        assert!(self.granted.iter().all(|(other, _)| *other != key), "{key} was granted twice");
        assert!(!self.revoked.contains(&key), "{key} was revoked and has not let go");
        self.granted.push((key, now_ms));
        self.grants += 1;
    }
    fn end(&mut self, key: u8) -> u64 {
        let Some(at) = self.granted.iter().position(|(other, _)| *other == key) else {
            panic!("{key} ended without a grant")
        };
        self.granted.swap_remove(at).1
    }
    fn change(&mut self, change: Change<u8>, now_ms: u64) {
        match change {
            Change::Granted(key) => self.grant(key, now_ms),
            Change::Ended { key, cause, held_ms } => {
                assert_eq!(self.end(key) + u64::from(held_ms), now_ms);
                assert_ne!(cause, BurstEnd::PreEmpted, "a pre-emption is told by the verdict");
                if matches!(cause, BurstEnd::TimedOut | BurstEnd::Revoked) {
                    self.revoked.push(key);
                    self.time_outs += u64::from(cause == BurstEnd::TimedOut);
                }
            }
            Change::Turned { .. } => self.turned += 1,
            Change::Idle => assert!(self.granted.is_empty(), "idle while somebody talks"),
            Change::EndsSoon { key, .. } => assert!(self.granted.iter().any(|(other, _)| *other == key)),
            Change::Moved { position, .. } => assert!(position >= 1),
        }
    }
}

#[test]
fn every_grant_ends_once_and_no_emergency_is_pre_empted_whatever_happens() {
    let (mut grants, mut pre_emptions, mut time_outs, mut turned) = (0, 0, 0, 0);
    for seed in 0..300 {
        let mut random = Entropy::new(seed);
        let mut model = Model::default();
        let mut floor = Floor::new(FloorPolicy { talk_limit_ms: 800, ..policy(2, 2) });
        let mut now_ms = 0;
        for _ in 0..400 {
            now_ms += random.below(40);
            let holders_before = floor.holding().count();
            let key = random.below(10) as u8;
            let step = random.below(100);
            let changes = match step {
                0..55 => {
                    let urgent = random.percent(15);
                    let standing = Standing {
                        emergency: urgent,
                        host_dispatcher: random.percent(5),
                        priority: Priority(random.below(3) as u8),
                        ..field(key, now_ms - random.below(now_ms.min(300) + 1))
                    };
                    request(&mut floor, &mut model, key, standing, now_ms);
                    Changes::new()
                }
                55..75 => {
                    model.revoked.retain(|other| *other != key);
                    floor.release(key, BurstEnd::Released, at(now_ms))
                }
                75..80 => floor.revoke(key, BurstEnd::Revoked, at(now_ms)),
                80..81 => floor.revoke_all(at(now_ms)),
                81..82 => {
                    model.revoked.clear();
                    floor.close(at(now_ms))
                }
                82..86 => {
                    let narrowed = policy(random.below(4) as u8, random.below(3) as u8);
                    let before = model.granted.clone();
                    let changes = floor.set_policy(FloorPolicy { talk_limit_ms: 800, ..narrowed }, at(now_ms));
                    for (key, _) in before.iter().filter(|(key, _)| model.emergencies.contains(key)) {
                        assert!(floor.holds(*key), "seed {seed}: a policy ended an emergency");
                    }
                    changes
                }
                _ => floor.tick(at(now_ms)),
            };
            changes.iter().for_each(|change| model.change(change, now_ms));
            check(&floor, &model, holders_before, seed);
        }
        floor.close(at(now_ms)).iter().for_each(|change| model.change(change, now_ms));
        assert!(model.granted.is_empty(), "seed {seed}: a grant without an end");
        grants += model.grants;
        pre_emptions += model.pre_emptions;
        time_outs += model.time_outs;
        turned += model.turned;
    }
    assert!(grants > 1_000 && pre_emptions > 100 && time_outs > 100 && turned > 10, "the hard cases happened");
}

fn request(floor: &mut Floor<u8>, model: &mut Model, key: u8, standing: Standing, now_ms: u64) {
    let held = floor.holds(key);
    let newly_urgent = standing.emergency && !model.emergencies.contains(&key);
    let verdict = floor.request(key, standing, LONG, at(now_ms));
    if newly_urgent && verdict != Verdict::Denied(Denial::StillRevoked) {
        model.revoked.retain(|other| *other != key);
    }
    match verdict {
        Verdict::Granted => model.grant(key, now_ms),
        Verdict::GrantedAfterEnding(victim) => {
            assert!(!model.emergencies.contains(&victim), "{victim} was pre-empted in its emergency");
            model.end(victim);
            model.revoked.push(victim);
            model.pre_emptions += 1;
            model.grant(key, now_ms);
        }
        Verdict::Continues => assert!(held, "{key} continues what it did not have"),
        Verdict::Queued { position } => assert!((1..=QUEUE_MAX as u8).contains(&position)),
        Verdict::Denied(_) => assert!(!held, "{key} holds the floor and was denied"),
    }
    // The floor remembers a standing only of those it granted or queued.
    if !matches!(verdict, Verdict::Denied(_)) {
        model.emergencies.retain(|other| *other != key);
        if standing.emergency {
            model.emergencies.push(key);
        }
    }
}

fn check(floor: &Floor<u8>, model: &Model, holders_before: usize, seed: u64) {
    let mut holding: Vec<u8> = floor.holding().collect();
    let mut granted: Vec<u8> = model.granted.iter().map(|(key, _)| *key).collect();
    holding.sort_unstable();
    granted.sort_unstable();
    assert_eq!(holding, granted, "seed {seed}: floor and verdicts disagree");
    let urgent = holding.iter().filter(|key| model.emergencies.contains(key)).count();
    let room = usize::from(floor.policy().holders_max);
    // Who talks on after its emergency was cleared is not cut off, but nobody joins it.
    assert!(holding.len() <= room.max(urgent).max(holders_before), "seed {seed}: {} hold {room} places", holding.len());
    assert!(floor.queued() == 0 || !floor.has_room(), "seed {seed}: somebody waits beside an empty place");
    assert!(floor.queued() <= usize::from(floor.policy().queue_max), "seed {seed}: the queue is too long");
}
