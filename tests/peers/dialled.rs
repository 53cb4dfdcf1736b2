//! People whom a dispatcher dials: baresip as a PBX with one telephone, whose hearing and speech are judged, and sipp as
//! another PBX that is overloaded.

use std::f64::consts::TAU;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use crosspatch::dispatch::view::Life;
use crosspatch::domain::audio::Codec;
use crosspatch::domain::command::Command;
use crosspatch::domain::event::Event;
use crosspatch::domain::id::{IncidentId, TalkgroupId};
use crosspatch::domain::incident::{LinkRequest, UnlinkCause};

use super::Tool;
use super::child::Running;
use super::county::County;
use super::daemon::{Daemon, Desk};
use super::hearing::{Voice, heard_in};
use super::phone::Phone;
use super::ports::{free_pair, wait_until_bound};

/// A PBX that lives and takes no call on.
fn overloaded(port: u16, folder: &Path) -> Running {
    let reply = |lines: &str| {
        format!(
            "<send><![CDATA[\nSIP/2.0 {lines}\n[last_Via:]\n[last_From:]\n[last_To:];tag=[call_number]\n[last_Call-ID:]\n\
             [last_CSeq:]\nContent-Length: 0\n\n]]></send>\n"
        )
    };
    let scenario = format!(
        "<?xml version=\"1.0\" encoding=\"us-ascii\"?>\n<scenario name=\"overloaded\">\n\
         <recv request=\"OPTIONS\" optional=\"true\" next=\"1\"></recv>\n<recv request=\"INVITE\"></recv>\n\
         {}<recv request=\"ACK\" next=\"2\"></recv>\n<label id=\"1\"/>\n{}<label id=\"2\"/>\n</scenario>\n",
        reply("503 Service Unavailable"),
        reply("200 OK")
    );
    let file = folder.join("overloaded.xml");
    std::fs::write(&file, scenario).unwrap();
    let port = port.to_string();
    let file = file.to_str().expect("a path of ours");
    let words = ["sipp", "-sf", file, "-i", "127.0.0.1", "-p", &port, "-nostdin", "-skip_rlimit"];
    let mut program = Running::start("sipp", &words, Stdio::null());
    let mut output = program.output();
    // Read to the end, so that it never waits for us.
    std::thread::spawn(move || output.read_to_end(&mut Vec::new()));
    program
}

/// The part of a recording's power that is a tone of this height, where it is most of it.
fn tone(hz: f64, recording: &[i16]) -> f64 {
    let part = |window: &[i16]| {
        let (mut sine, mut cosine, mut power) = (0.0, 0.0, 1.0);
        for (at, sample) in window.iter().enumerate() {
            let (angle, sample) = (TAU * hz * at as f64 / 16_000.0, f64::from(*sample));
            sine += sample * angle.sin();
            cosine += sample * angle.cos();
            power += sample * sample;
        }
        // Below -50 dB nobody says anything.
        let is_loud = power / window.len() as f64 > 10_000.0;
        if is_loud { 2.0 * (sine * sine + cosine * cosine) / (window.len() as f64 * power) } else { 0.0 }
    };
    recording.chunks_exact(1_600).map(part).fold(0.0, f64::max)
}

fn dial(desk: &Desk, incident: IncidentId, number: &str) -> Vec<Event> {
    let request = LinkRequest::plain(TalkgroupId::new("pd-out").unwrap());
    desk.order(&Command::Dial { incident, number: number.to_owned(), request })
}

fn life(desk: &Desk) -> Life {
    let all = desk.roster().talkgroups.into_iter().flat_map(|talkgroup| talkgroup.gateways);
    all.into_iter().find(|view| view.gateway.as_str() == "out-1").expect("the line").life
}

#[test]
fn whoever_a_dispatcher_dials_hears_a_question_until_its_star_and_is_in_the_net_from_then_to_its_end() {
    let mut county = County::new();
    county.agency("pd");
    let mic = county.mic("pd", Tool::GStreamer, Codec::Pcmu);
    let mut ear = county.ear("pd", Tool::Ffmpeg, Codec::Pcmu);
    county.talkgroup("pd", "pd-out");
    let here = county.sip("\"pcmu\"");
    let [pbx, carrier] = [free_pair(), free_pair()];
    county.trunk("pbx", &[pbx], "pd-out", 0);
    county.trunk("carrier", &[carrier], "pd-out", 0);
    county.line_out("out-1", "pd-out", &["pbx", "carrier"]);
    let _overloaded = overloaded(pbx, county.path());
    let mut voice = Voice::load("demo-instruct");
    let [own, before, said, late] = std::array::from_fn(|_| voice.next_piece());
    let says = own.frames.as_flattened();
    let mut callee = Phone::behind("5550123", (carrier, here), Codec::Pcmu, says, county.path());
    wait_until_bound(&[pbx, carrier]);
    let daemon = Daemon::start(&county.file());
    let desk = daemon.desk("pd");
    let incident = county.join_all(&daemon);
    callee.wait_for("both PBXs to be up", |_| {
        let trunks = desk.roster().trunks;
        trunks.len() == 2 && trunks.iter().all(|trunk| trunk.up)
    });

    dial(&desk, incident, "5550123");
    callee.wait_for("its bell", |_| life(&desk) == Life::Ringing && desk.figure(VAIN) == 1);
    callee.lift();
    callee.wait_for("being asked", |_| life(&desk) == Life::Waiting);
    mic.say(&before.frames);
    let mark = ear.mark();
    ear.wait_for(&before.samples, 0, "the radio, at its own talkgroup");
    callee.wait_for("the question", |callee| [700.0, 1_050.0].iter().all(|hz| tone(*hz, &callee.heard()) > 0.8));
    assert!(!heard_in(&before.samples, &callee.heard()).is_heard(), "it heard the net before it had confirmed");
    assert!(!ear.has_heard(&own.samples, 0), "it was heard before it had confirmed");

    callee.press('*');
    callee.wait_for("its place in the net", |_| life(&desk) == Life::InCall);
    mic.say(&said.frames);
    callee.wait_for_speech(&said.samples, "the radio");
    assert!(!ear.has_heard(&own.samples, mark), "the star that confirmed let it talk");
    callee.press('#');
    callee.press('*');
    callee.wait_for("being heard after its second star", |_| ear.has_heard(&own.samples, mark));
    callee.press('#');

    callee.hang_up();
    callee.wait_for("its line to be free", |_| life(&desk) == Life::Registered);
    let is_end = |event: &Event| matches!(event, Event::Unlinked { cause: UnlinkCause::CallEnded, .. });
    assert_eq!(desk.history().iter().filter(|event| is_end(event)).count(), 1);

    // And it is hung up on by whoever dialled it.
    let events = dial(&desk, incident, "5550123");
    let link = events.iter().find_map(|event| if let Event::Dialled { link, .. } = event { Some(*link) } else { None });
    callee.wait_for("its bell", |_| life(&desk) == Life::Ringing);
    callee.lift();
    callee.wait_for("being asked", |_| life(&desk) == Life::Waiting);
    callee.press('*');
    callee.wait_for("its place in the net", |_| life(&desk) == Life::InCall);
    desk.order(&Command::Unlink { link: link.expect("it was dialled") });
    callee.wait_for("being hung up on", |_| life(&desk) == Life::Registered);
    mic.say(&late.frames);
    ear.wait_for(&late.samples, mark, "the radio goes on");
    assert!(!heard_in(&late.samples, &callee.heard()).is_heard(), "it hears after the end");
}

/// Attempts that met the overloaded PBX.
const VAIN: &str = "crosspatch_sip_dialled_in_vain_total{cause=\"503\"}";
