//! The API's reader of commands against damaged JSON, and the dispatch core behind it against damaged sessions: neither
//! panics, what is taken is written back, and what was recorded can be replayed.
//!
//! `SEED=n cargo test --test fuzz_api` tries another sequence.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod mutate;

use std::panic::catch_unwind;

use crosspatch::api::fuzz;

const INPUTS: u32 = 100_000;

/// One of each kind of field that commands have.
const CORPUS: [&str; 9] = [
    r#"{"do":"open_incident","title":"Harbour fire","kind":"fire","exercise":false,"invite":["fire","ems"],"links":[{"talkgroup":"pd-1","direction":"listen","lease_s":3600}]}"#,
    r#"{"do":"invite","incident":"0123456789abcdefghjkmnpqrs","agency":"fire","note":"please","links":[]}"#,
    r#"{"do":"set_floor","incident":"0123456789abcdefghjkmnpqrs","name":"main","floor":{"mode":"ptt","holders_max":3,"queue_max":0,"hang_ms":500,"talk_limit_ms":60000}}"#,
    r#"{"do":"adjust","link":"0123456789abcdefghjkmnpqrs","direction":"talk","gain":-600,"priority":3}"#,
    r#"{"do":"admit","link":"0123456789abcdefghjkmnpqrs","agencies":["ems"],"classes":["later_agencies","recording"],"not_secure_reason":"life"}"#,
    r#"{"do":"declare_emergency","talkgroup":"pd-1","talker":"unit 7","place":"pier 3"}"#,
    r#"{"do":"cut","target":{"agency":"police"}}"#,
    r#"{"do":"restore","target":{"talkgroup":"pd-1"}}"#,
    r#"{"do":"take_host","incident":"0123456789abcdefghjkmnpqrs"}"#,
];

#[test]
fn no_bytes_sent_as_a_command_break_the_reader() {
    let corpus: Vec<Vec<u8>> = CORPUS.iter().map(|text| text.as_bytes().to_vec()).collect();
    for good in &corpus {
        assert!(fuzz::command(good), "a good command was refused: {}", String::from_utf8_lossy(good));
    }
    let seed = mutate::seed();
    let mut mutator = mutate::Mutator::new(seed, corpus);
    let mut taken = 0;
    for round in 0..INPUTS {
        let input = mutator.next_input();
        match catch_unwind(|| fuzz::command(input)) {
            Ok(accepted) => taken += u32::from(accepted),
            Err(_) => panic!("seed {seed}, round {round}: {:?}", String::from_utf8_lossy(input)),
        }
    }
    assert!(taken > INPUTS / 50 && INPUTS - taken > INPUTS / 20, "one-sided: {taken} of {INPUTS} taken");
}

/// A session by line: who (0 ems, 1 fire, 2 police), and what. `$` is the incident.
const SESSION: [&str; 14] = [
    r#"1{"do":"open_incident","title":"Harbour fire","kind":"fire","invite":["police","ems"],"links":[{"talkgroup":"fd-1"}]}"#,
    r#"2{"do":"accept","incident":"$","links":[{"talkgroup":"pd-1"}]}"#,
    r#"0{"do":"accept","incident":"$","links":[{"talkgroup":"ems-1","direction":"listen","lease_s":3600}]}"#,
    r#"1{"do":"set_floor","incident":"$","name":"main","floor":{"mode":"ptt","holders_max":1,"queue_max":2,"hang_ms":0,"talk_limit_ms":9000}}"#,
    r#"1{"do":"add_patch","incident":"$","name":"command"}"#,
    r#"1{"do":"extend","incident":"$","by_s":600}"#,
    r#"2{"do":"declare_emergency","talkgroup":"pd-1","talker":"unit 7","place":"pier 3"}"#,
    r#"0{"do":"cut","target":{"agency":"ems"}}"#,
    r#"0{"do":"restore","target":{"agency":"ems"}}"#,
    r#"1{"do":"offer_host","incident":"$","to":"police"}"#,
    r#"2{"do":"take_host","incident":"$"}"#,
    r#"2{"do":"remove","incident":"$","agency":"ems"}"#,
    r#"1{"do":"leave","incident":"$"}"#,
    r#"2{"do":"close","incident":"$","force":true}"#,
];
const SESSIONS: u32 = 3_000;

#[test]
fn no_session_of_commands_breaks_the_dispatch_core_or_its_replay() {
    let opened = serde_json::to_value(fuzz::session(SESSION[0].as_bytes())).unwrap();
    let mut incidents = opened.as_array().unwrap().iter().filter_map(|recorded| recorded["event"]["incident"].as_str());
    let incident = incidents.next_back().unwrap();
    let good = SESSION.join("\n").replace('$', incident);
    let most = fuzz::session(good.as_bytes()).len();
    assert!(most > 15, "the good session recorded only {most}");
    let seed = mutate::seed();
    let mut mutator = mutate::Mutator::new(seed, vec![good.into_bytes()]);
    let mut lengths = std::collections::BTreeSet::new();
    for round in 0..SESSIONS {
        let input = mutator.next_input();
        match catch_unwind(|| fuzz::session(input).len()) {
            Ok(length) => drop(lengths.insert(length)),
            Err(_) => panic!("seed {seed}, round {round}: {}", String::from_utf8_lossy(input)),
        }
    }
    assert!(lengths.len() > 10, "the mutator is too mild: sessions recorded {lengths:?}");
}
