//! A small shard under damaged scripts of packets, frames, orders and ticks: nothing panics, nothing is allocated on the
//! packet path, nobody hears whom the routes do not allow, and what opened closes.
//!
//! `SEED=n cargo test --test fuzz_media` tries another sequence; the failing script is printed in hexadecimal.

mod counting;
mod mutate;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crosspatch::domain::random::Entropy;
use crosspatch::media::fuzz::shard;

const SCRIPTS: u32 = 300;

fn run(script: &[u8]) -> u64 {
    shard(script, |work| assert_eq!(counting::allocations(work), 0, "the packet path allocated"))
}

/// Steps of a script that means something: talkers alone and together, some lost packets, orders in between.
fn session(seed: u64) -> Vec<u8> {
    let mut entropy = Entropy::new(seed);
    let mut below = |bound: u64| entropy.below(bound) as u8;
    let mut script = Vec::new();
    for _ in 0..40 {
        let talkers = [below(7), below(7)];
        for _ in 0..1 + below(12) {
            for talker in &talkers[..1 + usize::from(below(2))] {
                let lost = if below(8) == 0 { 0x10 } else { 0 };
                let stream = if below(40) == 0 { 0x40 } else { 0 };
                script.extend([1, *talker, lost, stream]);
            }
            if below(6) == 0 {
                script.extend([4, below(255), below(255), below(255)]);
            }
            script.extend([0, 0, 0, 0]);
        }
        match below(4) {
            0 => script.extend([5, below(10), below(64), below(255)]),
            1 => script.extend([6, 0, below(255), 0]),
            2 => script.extend([0, 0, 15, 0]),
            _ => {}
        }
    }
    script
}

#[test]
fn no_script_breaks_a_shard() {
    let mut corpus: Vec<Vec<u8>> = (0..12).map(session).collect();
    // RTP and RTCP as they come, behind their steps.
    let mut header = [0; 12];
    (header[0], header[1]) = (0x80, 0x80);
    corpus.push([&[2, 0, 172, 0][..], &header, &[0x21; 160], &[0, 0, 3, 0]].concat());
    corpus.push([&[3, 0, 8, 0][..], &[0x80, 201, 0, 1, 0, 0, 0, 7], &[7, 0, 0, 0]].concat());
    let relayed: u64 = corpus.iter().map(|script| run(script)).sum();
    assert!(relayed > 500, "good scripts relay only {relayed} packets");
    let seed = mutate::seed();
    let mut mutator = mutate::Mutator::new(seed, corpus);
    let mut relayed = 0;
    for round in 0..SCRIPTS {
        let script = mutator.next_input();
        match catch_unwind(AssertUnwindSafe(|| run(script))) {
            Ok(packets) => relayed += packets,
            Err(_) => panic!("seed {seed}, round {round}: {script:02x?}"),
        }
    }
    assert!(relayed > u64::from(SCRIPTS), "damaged scripts relay only {relayed} packets");
}
