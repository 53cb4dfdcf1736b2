//! Radio gateways by SIP: baresip, which nobody here wrote, as a box that is called, dies and comes back; and sipp as another
//! maker's bridge that calls us over TCP, with GStreamer and FFmpeg for its radios.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use crosspatch::dispatch::view::Life;
use crosspatch::domain::audio::Codec;
use crosspatch::domain::event::Alarm;

use super::child::Running;
use super::county::County;
use super::daemon::{Daemon, Desk};
use super::ear::Ear;
use super::hearing::{Voice, heard_in};
use super::mic::Mic;
use super::phone::{Line, Phone};
use super::ports::{free_pair, wait_until_bound};
use super::{PATIENCE, Tool, now};

fn is_up(desk: &Desk) -> bool {
    let all = desk.roster().talkgroups.into_iter().flat_map(|talkgroup| talkgroup.gateways);
    all.into_iter().any(|view| view.gateway.as_str() == "roip" && view.life == Life::Alive)
}

fn is_lost(desk: &Desk) -> bool {
    desk.roster()
        .alarms
        .iter()
        .any(|alarm| matches!(alarm, Alarm::GatewayLost { gateway } if gateway.as_str() == "roip"))
}

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let deadline = now() + PATIENCE;
    while !is_so() {
        assert!(now() < deadline, "{what} does not come");
        // The daemon tells nobody when a call is up.
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until nobody talks anywhere.
fn wait_until_quiet(desks: &[&Desk]) {
    let talks = |desk: &Desk| {
        let all = desk.roster().talkgroups.into_iter().flat_map(|talkgroup| talkgroup.gateways);
        all.into_iter().any(|view| view.talking)
    };
    wait_for("silence", || !desks.iter().any(|desk| talks(desk)));
}

/// A box of another maker that is called, keyed by digits at its end and by packets at ours.
fn a_box_that_dies_and_comes_back(transport: &'static str) {
    let mut county = County::new();
    county.agency("pd");
    let mic = county.mic("pd", Tool::GStreamer, Codec::Pcmu);
    let mut ear = county.ear("pd", Tool::Ffmpeg, Codec::Pcmu);
    county.talkgroup("pd", "pd-far");
    let here = county.sip("\"pcmu\"");
    county.also(&format!("listen_tcp = \"127.0.0.1:{here}\""));
    let there = free_pair();
    county.gateway_sip(
        "roip",
        "pd-1",
        there,
        &format!("transport = \"{transport}\"\nnumber = \"box\"\nrx = \"event\""),
    );
    let mut voice = Voice::load("demo-instruct");
    let [own, said, again, late] = std::array::from_fn(|_| voice.next_piece());
    let says = own.frames.as_flattened();
    let folder = county.path().to_owned();
    let start = || {
        let line = Line { transport, ..Line::from(here) };
        Phone::answering("box", (there, line), Codec::Pcmu, says, &folder)
    };
    let daemon = Daemon::start(&county.file());
    let desk = daemon.desk("pd");
    wait_for("that nobody is there", || is_lost(&desk));
    let mut box_itself = start();
    for (at, spoken) in [said, again].iter().enumerate() {
        box_itself.wait_for("its call", |_| is_up(&desk) && !is_lost(&desk));
        let mark = ear.mark();
        mic.say(&spoken.frames);
        box_itself.wait_for_speech(&spoken.samples, "the radio");
        ear.wait_for(&spoken.samples, mark, "the radio");
        assert!(!ear.has_heard(&own.samples, mark), "it was heard before its key");
        // While it is keyed by us it cannot key: as often as it takes.
        box_itself.wait_for("being heard after its key", |this| {
            this.press('*');
            ear.has_heard(&own.samples, mark)
        });
        box_itself.press('#');
        wait_until_quiet(&[&desk]);
        if at == 0 {
            box_itself.die();
            wait_for("that it is lost", || is_lost(&desk) && !is_up(&desk));
            mic.say(&late.frames);
            ear.wait_for(&late.samples, mark, "the radio goes on");
            box_itself = start();
        }
    }
    box_itself.hang_up();
    box_itself.wait_for("the end of that call", |_| is_lost(&desk));
    box_itself.wait_for("the next one", |_| is_up(&desk));
}

#[test]
fn a_box_that_is_called_over_udp_hears_and_is_heard_and_its_call_is_up_again_after_each_end_of_it() {
    a_box_that_dies_and_comes_back("udp");
}

#[test]
fn a_box_that_is_called_over_tcp_hears_and_is_heard_and_its_call_is_up_again_after_each_end_of_it() {
    a_box_that_dies_and_comes_back("tcp");
}

/// A bridge that calls `roip` over TCP, says that its media is at this port, and stays until it is ended.
fn bridge(county: &County, here: u16, media: u16) -> Running {
    let body = format!(
        "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {media} RTP/AVP 0\na=rtpmap:0 PCMU/8000\n"
    );
    let request = |method: &str, cseq: u32, tag: &str, body: &str| {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\n" };
        format!(
            "<send{}><![CDATA[\n{method} sip:roip@127.0.0.1:{here};transport=tcp SIP/2.0\n\
             Via: SIP/2.0/TCP 127.0.0.1:[local_port];branch=[branch]\nMax-Forwards: 70\n\
             From: <sip:bridge@127.0.0.1>;tag=[call_number]\nTo: <sip:roip@127.0.0.1:{here}>{tag}\nCall-ID: [call_id]\n\
             CSeq: {cseq} {method}\nContact: <sip:bridge@127.0.0.1:[local_port];transport=tcp>\n{kind}\
             Content-Length: [len]\n\n{body}]]></send>\n",
            if method == "INVITE" { " retrans=\"500\"" } else { "" }
        )
    };
    let scenario = format!(
        "<?xml version=\"1.0\"?>\n<scenario name=\"bridge\">\n{}<recv response=\"200\" rtd=\"true\"/>\n{}\
         <pause milliseconds=\"600000\"/>\n</scenario>\n",
        request("INVITE", 1, "", &body),
        request("ACK", 1, "[peer_tag_param]", "")
    );
    let file = county.path().join(format!("bridge-{media}.xml"));
    std::fs::write(&file, scenario).unwrap();
    let (file, to) = (file.display().to_string(), format!("127.0.0.1:{here}"));
    let mut words = vec!["sipp", "-sf", &file, "-t", "t1", "-i", "127.0.0.1", "-m", "1", "-aa", "-nostdin"];
    words.extend(["-skip_rlimit", &to]);
    let mut program = Running::start("sipp", &words, Stdio::null());
    let mut output = program.output();
    // Read to the end, so that it never waits for us.
    std::thread::spawn(move || output.read_to_end(&mut Vec::new()));
    program
}

#[test]
fn another_makers_bridge_that_calls_us_is_a_leg_by_the_presence_of_its_packets_and_lost_when_its_connection_is() {
    let mut county = County::new();
    county.agency("pd");
    let mic = county.mic("pd", Tool::GStreamer, Codec::Opus);
    let mut ear = county.ear("pd", Tool::Ffmpeg, Codec::Opus);
    let [here, calls_to] = [county.sip("\"pcmu\""), county.media_ports()];
    county.also(&format!("listen_tcp = \"127.0.0.1:{here}\""));
    county.gateway_sip("roip", "pd-1", free_pair(), "profile = \"bsi-core\"\ncalls = \"they\"");
    let mut voice = Voice::load("demo-instruct");
    let [theirs, before, ours] = std::array::from_fn(|_| voice.next_piece());
    let [talks, hears] = [free_pair(), free_pair()];
    // Of what its port of media says and hears each has a program of its own, so it calls twice.
    let their_mic = Mic::start(Tool::Ffmpeg, Codec::Pcmu, talks, calls_to);
    let mut their_ear = Ear::start(Tool::GStreamer, Codec::Pcmu, hears, county.path());
    wait_until_bound(&[hears]);
    let daemon = Daemon::start(&county.file());
    let desk = daemon.desk("pd");
    their_mic.say(&before.frames);
    their_mic.wait_until_said();
    let mut first = bridge(&county, here, talks);
    wait_for("its call", || is_up(&desk));
    their_mic.say(&theirs.frames);
    ear.wait_for(&theirs.samples, 0, "the bridge's radio");
    assert!(!heard_in(&before.samples, &ear.since(0)).is_heard(), "it was heard before its call was answered");
    wait_until_quiet(&[&desk]);
    first.kill();
    wait_for("that it is lost", || is_lost(&desk) && !is_up(&desk));
    let _second = bridge(&county, here, hears);
    wait_for("its second call", || is_up(&desk) && !is_lost(&desk));
    mic.say(&ours.frames);
    their_ear.wait_for(&ours.samples, 0, "the radio");
}

/// One of us, to whom another one of us is a bridge of whatever maker.
fn one_of_two(agency: &str, here: u16, there: u16) -> (County, Mic, Ear) {
    let mut county = County::new();
    county.agency(agency);
    let mic = county.mic(agency, Tool::GStreamer, Codec::Opus);
    let ear = county.ear(agency, Tool::Ffmpeg, Codec::Opus);
    county.also(&format!("[sip]\nlisten = \"127.0.0.1:{here}\"\nlisten_tcp = \"127.0.0.1:{here}\""));
    county.gateway_sip("roip", &format!("{agency}-1"), there, "profile = \"bsi-core\"");
    (county, mic, ear)
}

#[test]
fn two_of_us_that_call_each_other_as_bridges_hear_each_other_over_one_call() {
    let [one_at, other_at] = [free_pair(), free_pair()];
    let (pd_county, pd_mic, mut pd_ear) = one_of_two("pd", one_at, other_at);
    let (fd_county, fd_mic, mut fd_ear) = one_of_two("fd", other_at, one_at);
    let daemons = [Daemon::start(&pd_county.file()), Daemon::start(&fd_county.file())];
    let [pd, fd] = [daemons[0].desk("pd"), daemons[1].desk("fd")];
    wait_for("their call", || is_up(&pd) && is_up(&fd));
    let mut voice = Voice::load("demo-instruct");
    for _ in 0..2 {
        for (mic, ear) in [(&pd_mic, &mut fd_ear), (&fd_mic, &mut pd_ear)] {
            let (said, mark) = (voice.next_piece(), ear.mark());
            mic.say(&said.frames);
            ear.wait_for(&said.samples, mark, "the other one");
            wait_until_quiet(&[&pd, &fd]);
        }
    }
}
