//! `crosspatch demo` as a process: the real daemon, real sockets, recorded speech. Its verdict is checked against the
//! recordings it leaves behind, and against recordings that were swapped.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crosspatch::demo::verdict::{Recording, Verdict};
use serde::Deserialize;

#[derive(Deserialize)]
struct Left {
    as_expected: bool,
    rounds: Vec<Verdict>,
}

const PARTIES: [&str; 4] = ["police-radio", "police-desk", "fire-radio", "ems-radio"];

fn wav(path: &Path) -> Vec<i16> {
    let mut file = hound::WavReader::open(path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
    assert_eq!((file.spec().channels, file.spec().sample_rate), (1, 16_000));
    file.samples::<i16>().map(Result::unwrap).collect()
}

fn recordings(folder: &Path) -> BTreeMap<String, Recording> {
    let of = |party: &str, what: &str| wav(&folder.join(format!("{party}-{what}.wav")));
    PARTIES.iter().map(|p| ((*p).to_owned(), Recording { said: of(p, "said"), heard: of(p, "heard") })).collect()
}

fn judged_again(verdict: &Verdict, recordings: &BTreeMap<String, Recording>) -> Verdict {
    let cases = verdict.rows.iter().map(|row| row.case.clone()).collect();
    Verdict::of(cases, verdict.times.clone(), recordings)
}

#[test]
fn the_demo_ends_well_and_its_verdict_follows_from_the_recordings_alone() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Command::new(env!("CARGO_BIN_EXE_crosspatch"))
        .args(["demo", "--for", "30s", "--plain", "--out"])
        .arg(folder.path())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&demo.stdout), String::from_utf8_lossy(&demo.stderr));
    let log = std::fs::read_to_string(folder.path().join("daemon.log")).unwrap_or_default();
    assert!(demo.status.success(), "{said}\n{log}");

    let left: Left =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("verdict.json")).unwrap()).unwrap();
    assert!(left.as_expected && !left.rounds.is_empty());
    let verdict = left.rounds.last().unwrap();
    for party in PARTIES {
        assert!(verdict.rows.iter().any(|row| row.case.listener == party), "nobody was asked what {party} heard");
    }

    let mut found = recordings(folder.path());
    assert_eq!(judged_again(verdict, &found), *verdict, "the files say what the demo said");

    // What EMS heard and what the police radio heard change places: the verdict must notice both.
    let (police, ems) = (found["police-radio"].heard.clone(), found["ems-radio"].heard.clone());
    found.get_mut("police-radio").unwrap().heard = ems;
    found.get_mut("ems-radio").unwrap().heard = police;
    let swapped = judged_again(verdict, &found);
    assert!(!swapped.as_expected);
    let wrong = |listener: &str| swapped.rows.iter().any(|row| row.case.listener == listener && !row.as_expected);
    assert!(wrong("police-radio") && wrong("ems-radio"), "{}", swapped.table().join("\n"));

    // A gateway that never receives: what its radio would have heard is silence.
    found = recordings(folder.path());
    found.get_mut("fire-radio").unwrap().heard.fill(0);
    let deaf = judged_again(verdict, &found);
    let heard = |row: &&crosspatch::demo::verdict::Row| row.case.listener == "fire-radio" && row.heard;
    assert!(!deaf.as_expected && deaf.rows.iter().find(heard).is_none(), "{}", deaf.table().join("\n"));
}
