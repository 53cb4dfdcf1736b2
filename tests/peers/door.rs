//! Faults of the door at a start: what cannot be opened ends the start before anything is done, and one lost secret shuts
//! out its user alone.

use std::net::TcpListener;

use crosspatch::domain::audio::Codec;

use super::Tool;
use super::county::County;
use super::daemon::{Daemon, run_to_its_end};

#[test]
fn a_taken_http_port_ends_the_start_before_anything_is_written() {
    let mut county = County::new();
    county.agency("north");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = county.file();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("127.0.0.1:0", &address)).unwrap();
    let (ended, said) = run_to_its_end(&file);
    assert_eq!(ended.code(), Some(1), "{said}");
    assert!(said.contains(&address), "{said}");
    assert!(!county.path().join("store").exists(), "a journal was begun");
}

#[test]
fn a_secret_that_cannot_be_read_at_a_start_shuts_out_its_user_alone() {
    let mut county = County::new();
    county.agency("north");
    county.agency("south");
    let mic = county.mic("north", Tool::Ffmpeg, Codec::Opus);
    let mut ear = county.ear("south", Tool::GStreamer, Codec::Pcmu);
    let file = county.file();
    let text = std::fs::read_to_string(&file).unwrap();
    let lost = "[[token]]\nuser = \"lost\"\nrole = \"dispatcher\"\nagency = \"north\"\nfile = \"/nowhere/secret\"\n";
    std::fs::write(&file, format!("{text}\n{lost}")).unwrap();
    let mut daemon = Daemon::start(&file);
    assert!(daemon.logged().iter().any(|line| line.contains("ERROR") && line.contains("/nowhere/secret")));
    county.join_all(&daemon);
    let piece = super::hearing::Voice::load("demo-instruct").next_piece();
    mic.say(&piece.frames);
    ear.wait_for(&piece.samples, 0, "a talker while one secret is lost");
}
