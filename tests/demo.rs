//! `crosspatch demo` as a process: the real daemon, real sockets, recorded speech. Its verdict is checked against the
//! recordings it leaves behind, and against recordings that were swapped.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crosspatch::demo::verdict::{Recording, Verdict};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde::Deserialize;

#[derive(Deserialize)]
struct Left {
    as_expected: Option<bool>,
    rounds: Vec<Verdict>,
}

const PARTIES: [&str; 5] = ["police-radio", "police-desk", "fire-radio", "ems-radio", "fire-chief"];

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
    Verdict::of(cases, verdict.times.clone(), verdict.answers.clone(), recordings)
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

    let left = left_in(folder.path());
    assert!(left.as_expected == Some(true) && !left.rounds.is_empty());
    let verdict = left.rounds.last().unwrap();
    for party in PARTIES {
        assert!(verdict.rows.iter().any(|row| row.case.listener == party), "nobody was asked what {party} heard");
    }

    let mut found = recordings(folder.path());
    assert_eq!(judged_again(verdict, &found), *verdict, "the files say what the demo said");

    // The emergency at each desk while it was open and when it was over, and one question why.
    assert_eq!(verdict.answers.len(), 7, "{}", verdict.table().join("\n"));
    for at in 0..verdict.answers.len() {
        let mut other = verdict.clone();
        other.answers[at].found.push('?');
        assert!(!judged_again(&other, &found).as_expected, "another answer changes nothing: {:?}", other.answers[at]);
    }

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

/// A terminal as wide and high as the smallest that people use: our end of it, and the program's.
fn terminal() -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    tcsetwinsize(&ours, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    (File::from(ours), File::options().read(true).write(true).open(name).unwrap())
}

fn left_in(folder: &Path) -> Left {
    serde_json::from_str(&std::fs::read_to_string(folder.join("verdict.json")).unwrap()).unwrap()
}

#[test]
fn the_view_shows_three_agencies_and_who_quits_before_a_round_is_over_has_not_failed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut ours, theirs) = terminal();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_crosspatch"))
        .args(["demo", "--out"])
        .arg(folder.path())
        .stdin(theirs.try_clone().unwrap())
        .stdout(theirs.try_clone().unwrap())
        .stderr(theirs)
        .spawn()
        .unwrap();
    let mut screen = String::new();
    let mut some = [0; 4096];
    let mut asked = false;
    let mut drawn = 0;
    // A terminal that nobody writes to any more fails to be read.
    while let Ok(length @ 1..) = ours.read(&mut some) {
        screen.push_str(&String::from_utf8_lossy(&some[..length]));
        drawn += 1;
        assert!(asked || drawn < 20_000, "never shown: {screen}");
        // Blanks are not drawn where the screen was blank: single words are what can be looked for.
        let who = ["police-radio", "fire-radio", "ems-radio"];
        // The floor (whose, or nobody's), what each says and hears, how loud, until when, and what happens.
        let what = ["net", "nobody", "TALKS", "says", "hears", "||", "lease", "harbour", "template"];
        let everything = who.into_iter().chain(what).collect::<Vec<_>>();
        if !asked && everything.iter().all(|words| screen.contains(words)) {
            ours.write_all(b"q").unwrap();
            asked = true;
        }
    }
    let status = demo.wait().unwrap();
    assert!(asked && status.success(), "{status}: {screen}");
    let (_, after) = screen.rsplit_once("\u{1b}[?1049l").expect("the terminal is given back");
    assert!(after.contains("nothing is judged") && after.contains(folder.path().to_str().unwrap()), "{after:?}");
    let left = left_in(folder.path());
    assert!(left.as_expected.is_none() && left.rounds.is_empty());
}

#[test]
fn a_terminal_that_goes_away_leaves_no_daemon_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_crosspatch"))
        .args(["demo", "--plain", "--out"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("opens an incident")));
    kill_process(Pid::from_child(&demo), Signal::HUP).unwrap();
    lines.for_each(drop);
    assert!(demo.wait().unwrap().success());
    let log = std::fs::read_to_string(folder.path().join("daemon.log")).unwrap();
    assert!(log.contains("stopping"), "{log}");
}
