//! The real daemon on loopback with peers that nobody here wrote: GStreamer and FFmpeg encode, send, receive and decode,
//! and what arrived is judged by content alone. Each talker says pieces of recorded speech that nobody else says, so a
//! wrong talker is not taken for the right one.
//!
//! Nothing waits for a time to pass: the tests wait until an ear has heard, and then ask what the other ears have not.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

#[path = "peers/calls.rs"]
mod calls;
#[path = "peers/child.rs"]
mod child;
#[path = "peers/county.rs"]
mod county;
#[path = "peers/daemon.rs"]
mod daemon;
#[path = "peers/dialled.rs"]
mod dialled;
#[path = "peers/door.rs"]
mod door;
#[path = "peers/ear.rs"]
mod ear;
#[path = "peers/faulty.rs"]
mod faulty;
#[path = "peers/hearing.rs"]
mod hearing;
#[path = "peers/many.rs"]
mod many;
#[path = "peers/mic.rs"]
mod mic;
#[path = "peers/orderly.rs"]
mod orderly;
#[path = "peers/pbx.rs"]
mod pbx;
#[path = "peers/phone.rs"]
mod phone;
#[path = "peers/plain.rs"]
mod plain;
#[path = "peers/ports.rs"]
mod ports;
#[path = "peers/resumed.rs"]
mod resumed;
#[path = "peers/roip.rs"]
mod roip;
#[path = "peers/sites.rs"]
mod sites;
#[path = "peers/trunks.rs"]
mod trunks;

use std::time::Duration;

use crosspatch::domain::audio::Codec;
use crosspatch::domain::command::Command;
use crosspatch::domain::id::AgencyId;
use crosspatch::domain::incident::CutTarget;
use crosspatch::domain::time::MonoTime;
use crosspatch::io::clock;

use county::{County, link};
use daemon::Daemon;
use ear::Ear;
use hearing::{Voice, heard_in};

/// Longest wait for anything; only a broken daemon or a very busy machine takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

fn now() -> MonoTime {
    clock::mono()
}

/// Who sends or receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    GStreamer,
    Ffmpeg,
}

impl Tool {
    fn word(self) -> &'static str {
        match self {
            Tool::GStreamer => "gst",
            Tool::Ffmpeg => "ff",
        }
    }
}

const CODECS: [(&str, Codec); 4] =
    [("opus", Codec::Opus), ("pcmu", Codec::Pcmu), ("g722", Codec::G722), ("l16", Codec::L16)];

#[test]
fn each_codec_of_each_sender_is_heard_by_each_receiver_in_every_other_codec() {
    let mut county = County::new();
    let (mut mics, mut ears) = (Vec::new(), Vec::new());
    for (agency, codec) in CODECS {
        county.agency(agency);
        for tool in [Tool::GStreamer, Tool::Ffmpeg] {
            if (tool, codec) != (Tool::GStreamer, Codec::G722) {
                mics.push((agency, tool, county.mic(agency, tool, codec)));
            }
            ears.push(county.ear(agency, tool, codec));
        }
    }
    let mut daemon = Daemon::start(&county.file());
    county.join_all(&daemon);
    let mut voice = Voice::load("demo-instruct");
    for (agency, tool, mic) in &mics {
        let piece = voice.next_piece();
        let marks: Vec<usize> = ears.iter().map(Ear::mark).collect();
        mic.say(&piece.frames);
        // Its own talkgroup hears it in the home patch, the others through the incident.
        for (ear, mark) in ears.iter_mut().zip(marks) {
            ear.wait_for(&piece.samples, mark, &format!("what {tool:?} said in {agency}"));
        }
        mic.wait_until_said();
        daemon.desk(agency).wait_until_quiet();
    }
    let unsaid = voice.next_piece();
    for ear in &ears {
        let found = heard_in(&unsaid.samples, &ear.since(0));
        assert!(!found.is_heard(), "{} has heard what nobody said: {found:?}", ear.name);
    }
    let faults: Vec<&String> = daemon.logged().iter().filter(|line| line.contains("ERROR")).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn who_cuts_himself_out_in_mid_burst_hears_nothing_more_of_it_until_he_links_again() {
    let mut county = County::new();
    CODECS.iter().for_each(|(agency, _)| county.agency(agency));
    let mic = county.mic("opus", Tool::GStreamer, Codec::Opus);
    let mut cut = [county.ear("pcmu", Tool::GStreamer, Codec::Pcmu), county.ear("pcmu", Tool::Ffmpeg, Codec::Pcmu)];
    let mut others = [county.ear("g722", Tool::Ffmpeg, Codec::G722), county.ear("l16", Tool::GStreamer, Codec::L16)];
    let daemon = Daemon::start(&county.file());
    let incident = county.join_all(&daemon);
    let mut voice = Voice::load("demo-instruct");
    let [before, during, after] = std::array::from_fn(|_| voice.next_piece());
    // One burst from here to the end.
    mic.hold();
    mic.say(&before.frames);
    cut.iter_mut().chain(&mut others).for_each(|ear| ear.wait_for(&before.samples, 0, "the talker before the cut"));

    let target = CutTarget::Agency(AgencyId::new("pcmu").unwrap());
    daemon.desk("pcmu").order(&Command::Cut { target: target.clone() });
    let marks = cut.each_ref().map(Ear::mark);
    mic.say(&during.frames);
    others.iter_mut().for_each(|ear| ear.wait_for(&during.samples, 0, "the talker after another's cut"));
    mic.wait_until_said();

    daemon.desk("pcmu").order(&Command::Restore { target });
    daemon.desk("pcmu").order(&Command::Link { incident, request: link("pcmu-1") });
    mic.say(&after.frames);
    // Having heard this, an ear has heard everything that was ever sent to it.
    for (ear, mark) in cut.iter_mut().zip(marks) {
        ear.wait_for(&after.samples, mark, "the talker after it linked again");
        let found = heard_in(&during.samples, &ear.since(0));
        assert!(!found.is_heard(), "{} has heard what was said while it was cut out: {found:?}", ear.name);
    }
}

#[test]
fn a_daemon_killed_in_mid_burst_lets_the_talker_be_heard_again_without_any_command() {
    let mut county = County::new();
    CODECS.iter().for_each(|(agency, _)| county.agency(agency));
    let mics = [county.mic("opus", Tool::Ffmpeg, Codec::Opus), county.mic("l16", Tool::GStreamer, Codec::L16)];
    let mut ears = [
        county.ear("pcmu", Tool::GStreamer, Codec::Pcmu),
        county.ear("pcmu", Tool::Ffmpeg, Codec::Pcmu),
        county.ear("g722", Tool::Ffmpeg, Codec::G722),
        county.ear("g722", Tool::GStreamer, Codec::G722),
    ];
    let mut daemon = Daemon::start(&county.file());
    county.join_all(&daemon);
    let mut voice = Voice::load("demo-instruct");
    for mic in &mics {
        let [before, dead, after] = std::array::from_fn(|_| voice.next_piece());
        let marks = ears.each_ref().map(Ear::mark);
        mic.hold();
        mic.say(&before.frames);
        ears.iter_mut().zip(marks).for_each(|(ear, mark)| ear.wait_for(&before.samples, mark, "the talker"));

        daemon.kill();
        mic.say(&dead.frames);
        mic.wait_until_said();
        daemon.start_again();
        let marks = ears.each_ref().map(Ear::mark);
        mic.say(&after.frames);
        for (ear, mark) in ears.iter_mut().zip(marks) {
            ear.wait_for(&after.samples, mark, "the talker after the crash");
            let found = heard_in(&dead.samples, &ear.since(0));
            assert!(!found.is_heard(), "{} has heard a dead daemon: {found:?}", ear.name);
        }
        mic.release();
    }
}
