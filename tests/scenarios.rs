//! Scenarios a dispatcher can read: `tests/scenarios/*.txt` are played in the simulated world, what happens is compared
//! with the transcript beside each. `UPDATE=1 cargo test --test scenarios` writes transcripts anew; read them before
//! you commit them.

#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "checkers look at the few events they judge, and a failing world prints itself"
)]

mod worlds;

use std::fmt::Write;
use std::fs;
use std::path::Path;

#[test]
fn every_scenario_goes_as_its_transcript_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut scripts: Vec<_> = fs::read_dir(&folder)
        .expect("the folder of scenarios")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 12, "only {} scenarios", scripts.len());
    let only = std::env::var("SCENARIO").ok();
    let update = std::env::var_os("UPDATE").is_some();
    let mut faults = String::new();
    scripts.retain(|path| only.as_ref().is_none_or(|name| path.ends_with(format!("{name}.txt"))));
    assert!(!scripts.is_empty(), "there is no scenario {only:?}");
    for path in &scripts {
        let script = fs::read_to_string(path).expect("a scenario");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let of_two = script.lines().any(|line| line.starts_with("two sites"));
        let run = if of_two { worlds::sites_script::run } else { worlds::script::run };
        match run(&script) {
            Err(why) => writeln!(faults, "{name}: {why}").expect("a string takes all"),
            Ok(transcript) => {
                let stored = path.with_extension("transcript");
                if update {
                    fs::write(&stored, &transcript).expect("a transcript is written");
                }
                let expected = fs::read_to_string(&stored).unwrap_or_default();
                if let Some(difference) = first_difference(&expected, &transcript) {
                    writeln!(faults, "{name}: {difference}").expect("a string takes all");
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

fn first_difference(expected: &str, got: &str) -> Option<String> {
    let mut lines = expected.lines().zip(got.lines()).enumerate();
    if let Some((number, (expected, got))) = lines.find(|(_, (expected, got))| expected != got) {
        return Some(format!("transcript line {}:\n  expected {expected}\n  got      {got}", number + 1));
    }
    let (expected, got) = (expected.lines().count(), got.lines().count());
    (expected != got).then(|| format!("the transcript has {expected} lines, this run {got}"))
}
