//! Two real daemons, each with a file, a journal and agencies of its own, joined by a line as the handbook says it
//! ("Joining two sites" in docs/operations.md: its snippets are the files of this test).

use crosspatch::domain::audio::Codec;
use crosspatch::domain::command::Command;
use crosspatch::domain::event::Event;
use crosspatch::domain::floor::Priority;

use super::Tool;
use super::county::County;
use super::daemon::Daemon;
use super::ear::Ear;
use super::hearing::Voice;
use super::mic::Mic;
use super::ports::free_pair;

/// A site in the making, and then with its daemon.
struct Site {
    county: County,
    mic: Mic,
    ears: [Ear; 2],
}

impl Site {
    /// One agency that talks and hears.
    fn new(agency: &str) -> Self {
        let mut county = County::new();
        county.agency(agency);
        let mic = county.mic(agency, Tool::GStreamer, Codec::Opus);
        let ears = [county.ear(agency, Tool::GStreamer, Codec::Opus), county.ear(agency, Tool::Ffmpeg, Codec::Pcmu)];
        Self { county, mic, ears }
    }
}

#[test]
fn what_is_said_at_one_site_is_heard_at_the_other_and_again_after_one_daemon_was_killed() {
    let (mut fire, mut police) = (Site::new("fire"), Site::new("police"));
    let (to_south, to_north) = (free_pair(), free_pair());
    let [north_file, south_file] = handbook();
    fire.county.site("south", &north_file, to_south, to_north);
    police.county.site("north", &south_file, to_north, to_south);
    let north = Daemon::start(&fire.county.file());
    let mut south = Daemon::start(&police.county.file());
    fire.county.join_all(&north);
    police.county.join_all(&south);
    give_home_its_rank(&south);

    let mut voice = Voice::load("demo-instruct");
    for killed in [false, true] {
        if killed {
            south.kill();
            say_and_hear(&fire.mic, &mut [&mut fire.ears], &mut voice);
            north.desk("fire").wait_until_quiet();
            south.start_again();
        }
        for mic in [&fire.mic, &police.mic] {
            say_and_hear(mic, &mut [&mut fire.ears, &mut police.ears], &mut voice);
            north.desk("fire").wait_until_quiet();
            south.desk("police").wait_until_quiet();
        }
    }
}

/// All of these ears, at whichever site, hear it, and none hears it twice.
fn say_and_hear(mic: &Mic, sites: &mut [&mut [Ear; 2]], voice: &mut Voice) {
    let piece = voice.next_piece();
    let marks: Vec<[usize; 2]> = sites.iter().map(|ears| ears.each_ref().map(Ear::mark)).collect();
    mic.say(&piece.frames);
    for (ears, marks) in sites.iter_mut().zip(marks) {
        ears.iter_mut().zip(marks).for_each(|(ear, mark)| ear.wait_for(&piece.samples, mark, "the talker"));
    }
    mic.wait_until_said();
}

/// The host of the other site lets home outrank its own.
fn give_home_its_rank(south: &Daemon) {
    let patches = south.desk("police").roster().incidents.into_iter().flat_map(|incident| incident.patches);
    let links = patches.flat_map(|patch| patch.links);
    let line = links.into_iter().find(|link| link.talkgroup.as_str() == "north-1").expect("the line is linked");
    let adjust = Command::Adjust { link: line.link, direction: None, gain: None, priority: Some(Priority(9)) };
    let events = south.desk("police").order(&adjust);
    assert!(events.iter().any(|event| matches!(event, Event::Adjusted { .. })));
}

/// The two snippets of the handbook: the north's, the south's.
fn handbook() -> [String; 2] {
    let book = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let chapter = book.split_once("## Joining two sites").expect("the chapter").1;
    let mut snippets = chapter.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or("").to_owned());
    [(); 2].map(|()| snippets.next().expect("a snippet for each site"))
}
