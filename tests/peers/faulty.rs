//! A faulty file at a start: with a last good one the daemon runs on that, with its incidents, alarmed; without one it
//! ends, with every fault.

use crosspatch::domain::audio::Codec;
use crosspatch::domain::event::Alarm;

use super::Tool;
use super::county::County;
use super::daemon::{Daemon, run_to_its_end};
use super::hearing::Voice;

/// What people and machines do to files.
fn damages(text: &str) -> [(&'static str, Vec<u8>); 3] {
    let mut not_text = text.as_bytes().to_vec();
    not_text.extend_from_slice(b"# caf\xe9\n");
    let torn = text.len() * 2 / 3;
    [
        (
            "two mistyped words",
            text.replace("codecs = ", "codec = ").replace("role = \"radio\"", "rolle = \"radio\"").into(),
        ),
        ("a write that was torn", text.as_bytes()[..torn].to_vec()),
        ("an editor of another alphabet", not_text),
    ]
}

fn alarmed(daemon: &Daemon) -> bool {
    daemon.desk("fire").roster().alarms.iter().any(|alarm| matches!(alarm, Alarm::ConfigurationFaulty { .. }))
}

#[test]
fn a_faulty_file_starts_the_last_good_one_with_its_incidents_heard_and_an_alarm_until_it_is_repaired() {
    let mut county = County::new();
    ["police", "fire"].into_iter().for_each(|agency| county.agency(agency));
    let mic = county.mic("police", Tool::Ffmpeg, Codec::Pcmu);
    let mut ear = county.ear("fire", Tool::GStreamer, Codec::Opus);
    let file = county.file();
    let good = std::fs::read_to_string(&file).unwrap();
    let mut daemon = Daemon::start(&file);
    county.join_all(&daemon);
    assert!(!alarmed(&daemon));
    let mut voice = Voice::load("demo-congrats");
    for (damage, text) in damages(&good) {
        daemon.kill();
        std::fs::write(&file, text).unwrap();
        daemon.start_again();
        assert!(alarmed(&daemon), "nobody is told of {damage}");
        let said = daemon.logged().join("\n");
        assert!(said.contains("crosspatch.toml") && said.contains("ERROR"), "{damage}: {said}");
        let (piece, mark) = (voice.next_piece(), ear.mark());
        mic.say(&piece.frames);
        ear.wait_for(&piece.samples, mark, &format!("the talker in spite of {damage}"));
        mic.wait_until_said();
        std::fs::write(&file, &good).unwrap();
        daemon.desk("admin").reload();
        assert!(!alarmed(&daemon), "the alarm outlives the repair of {damage}");
    }
}

#[test]
fn without_a_last_good_file_a_faulty_one_ends_the_start_with_all_its_faults() {
    let mut county = County::new();
    county.agency("police");
    county.gateway("pd-gw", "police-2", "radio", Codec::Opus, 5004);
    let file = county.file();
    let text = std::fs::read_to_string(&file).unwrap().replace("node = ", "nude = ");
    std::fs::write(&file, text).unwrap();
    let (ended, said) = run_to_its_end(&file);
    assert_eq!(ended.code(), Some(1), "{said}");
    assert!(said.contains("nude") && said.contains("police-2"), "{said}");
    assert!(!county.path().join("store").exists(), "nothing is made for a start that is refused");
}
