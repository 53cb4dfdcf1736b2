//! What must hold for any bytes sent as a command, and for any session of commands: run by the seeded mutator in
//! `tests/fuzz_api.rs` and by cargo-fuzz, never by the daemon.

use super::orders::command_from;
use crate::config;
use crate::dispatch::routes::compile;
use crate::dispatch::{State, decide, evolve};
use crate::domain::command::{Command, Principal, Role};
use crate::domain::event::Recorded;
use crate::domain::id::{AgencyId, UserId};
use crate::domain::random::Entropy;
use crate::domain::refusal::Refusal;
use crate::domain::time::{MonoTime, Now, WallTime};

/// Whatever is taken as a command says the same after writing and reading it; whether it was taken.
pub fn command(bytes: &[u8]) -> bool {
    let Ok(command) = command_from(bytes) else { return false };
    let written = serde_json::to_vec(&command).expect("a command can be written");
    assert_eq!(command_from(&written).as_ref(), Ok(&command));
    true
}

/// The dispatch core under a session of the demo's agencies: a line each, of a digit that says who asks and of JSON.
/// Nothing panics, every refusal has a known code, routes can be made of every state, and replaying what was recorded
/// gives the same state. What was recorded.
pub fn session(bytes: &[u8]) -> Vec<Recorded> {
    let (_, configuration, _) =
        config::parse(include_str!("../../config/demo.toml"), "demo.toml").expect("the demo's file is whole");
    let agencies: Vec<AgencyId> = configuration.agencies.keys().cloned().collect();
    let principal = |agency: Option<&AgencyId>, role| {
        let user = UserId::new("fuzz").expect("a short word");
        Principal { user, agency: agency.cloned(), role }
    };
    let mut entropy = Entropy::new(7);
    let mut state = State::default();
    let mut records = Vec::new();
    let mut ask = |state: &mut State, command: &Command, who: &Principal, at_s: u32| {
        let mono = MonoTime::from_millis(u64::from(at_s) * 1000);
        let now = Now { mono, wall: WallTime(1_700_000_000_000 + i64::from(at_s) * 1000) };
        match decide(state, command, who, now, &mut entropy) {
            Ok(decided) => {
                decided.iter().for_each(|recorded| evolve(state, recorded));
                records.extend(decided);
                // Made for its own assertions.
                let _ = compile(state, 2);
            }
            Err(refusal) => assert!(Refusal::CODES.contains(&refusal.code()), "{refusal}"),
        }
    };
    let adopt = Command::Adopt { configuration: Box::new(configuration) };
    ask(&mut state, &adopt, &principal(None, Role::Admin), 1);
    for (line, at_s) in bytes.split(|byte| *byte == b'\n').take(LINES_MAX).zip(2..) {
        let Some((who, json)) = line.split_first() else { continue };
        let Ok(command) = command_from(json) else { continue };
        let who = agencies.get(usize::from(who.wrapping_sub(b'0')));
        ask(&mut state, &command, &principal(who, who.map_or(Role::Admin, |_| Role::Dispatcher)), at_s);
    }
    let mut again = State::default();
    records.iter().for_each(|recorded| evolve(&mut again, recorded));
    assert!(again == state, "a replay leads elsewhere");
    records
}

/// A night's session.
const LINES_MAX: usize = 64;
