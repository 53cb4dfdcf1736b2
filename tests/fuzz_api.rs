//! The API's reader of commands against damaged JSON: it never panics, and what it takes it writes back.
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
    r#"{"do":"admit","link":"0123456789abcdefghjkmnpqrs","agencies":["ems"],"classes":["later_agencies","pstn"],"not_secure_reason":"life"}"#,
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
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_123);
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
