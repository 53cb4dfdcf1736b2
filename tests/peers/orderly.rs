//! What an admin does on a quiet night: stop the daemon while somebody talks, move a gateway to another address.

use crosspatch::domain::audio::Codec;
use crosspatch::domain::event::Event;
use crosspatch::domain::floor::BurstEnd;
use crosspatch::domain::id::GatewayId;

use super::county::County;
use super::daemon::{Daemon, Desk};
use super::hearing::Voice;
use super::mic::Mic;
use super::ports::free_pair;
use super::{PATIENCE, Tool, now};

#[test]
fn a_daemon_told_to_stop_in_mid_burst_writes_down_who_heard_the_talker() {
    let mut county = County::new();
    county.agency("north");
    county.agency("south");
    let mic = county.mic("north", Tool::Ffmpeg, Codec::Opus);
    let mut ear = county.ear("south", Tool::GStreamer, Codec::Pcmu);
    let mut daemon = Daemon::start(&county.file());
    county.join_all(&daemon);
    let piece = Voice::load("demo-instruct").next_piece();
    mic.hold();
    mic.say(&piece.frames);
    ear.wait_for(&piece.samples, 0, "the talker");

    let ended = daemon.stop();
    assert!(ended.success(), "{ended}: {:#?}", daemon.logged());
    daemon.start_again();
    let history = daemon.desk("north").history();
    let told = history
        .iter()
        .find_map(|event| if let Event::Talked { end, heard_by, .. } = event { Some((end, heard_by)) } else { None });
    let (end, heard_by) = told.expect("the burst is in the history");
    // The stop ended it, and not the start that found it open.
    assert_ne!(*end, BurstEnd::Restart);
    let radio = heard_by.iter().find(|heard| heard.gateway.as_str() == "south-radio").expect("the radio is named");
    assert!(radio.heard_ms > 500 && radio.missed_ms < radio.heard_ms, "{radio:?}");
}

#[test]
fn a_gateway_moved_by_a_reload_is_heard_where_it_is_now() {
    let mut county = County::new();
    county.agency("north");
    county.agency("south");
    let peer = free_pair();
    let (old, new) = (county.gateway("mover", "north-1", "client", Codec::Pcmu, peer), free_pair());
    let mut ear = county.ear("south", Tool::GStreamer, Codec::Opus);
    let file = county.file();
    let daemon = Daemon::start(&file);
    county.join_all(&daemon);
    let admin = daemon.desk("admin");
    let before = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, before.replace(&format!("127.0.0.1:{old}"), &format!("127.0.0.1:{new}"))).unwrap();
    admin.reload();
    wait_until_listened_to(&admin, "mover", new);

    let mic = Mic::start(Tool::Ffmpeg, Codec::Pcmu, peer, new);
    let piece = Voice::load("demo-instruct").next_piece();
    mic.say(&piece.frames);
    ear.wait_for(&piece.samples, 0, "a talker whose gateway has moved");
}

fn wait_until_listened_to(desk: &Desk, gateway: &str, port: u16) {
    let gateway = GatewayId::new(gateway).unwrap();
    let deadline = now() + PATIENCE;
    loop {
        let roster = desk.roster();
        let mut gateways = roster.talkgroups.iter().flat_map(|talkgroup| &talkgroup.gateways);
        let listens_on = gateways.find(|view| view.gateway == gateway).and_then(|view| view.listens_on);
        if listens_on.is_some_and(|address| address.port() == port) {
            return;
        }
        assert!(now() < deadline, "it is listened to at {listens_on:?}, not at {port}");
    }
}
