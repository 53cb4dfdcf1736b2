//! Callers of a PBX: baresip, which nobody here wrote, as a PBX with one caller whose speech is judged, and sipp as another of
//! its addresses, with many.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use crosspatch::dispatch::view::{GatewayView, Life};
use crosspatch::domain::audio::Codec;
use crosspatch::domain::event::Alarm;

use super::child::Running;
use super::county::County;
use super::daemon::{Daemon, Desk};
use super::hearing::Voice;
use super::phone::Phone;
use super::ports::free_pair;
use super::{PATIENCE, Tool, now};

fn lines(desk: &Desk) -> Vec<GatewayView> {
    let all = desk.roster().talkgroups.into_iter().flat_map(|talkgroup| talkgroup.gateways);
    all.filter(|view| view.gateway.as_str().starts_with("pbx-")).collect()
}

fn in_calls(desk: &Desk) -> usize {
    lines(desk).iter().filter(|line| line.life == Life::InCall).count()
}

/// Places calls, so many in all and so many at once, and hangs up after a moment; whether each of them went as it should.
fn sipp(from: u16, to: u16, calls: u32, at_once: u32) -> Running {
    let (from, to) = (from.to_string(), format!("127.0.0.1:{to}"));
    let (calls, at_once) = (calls.to_string(), at_once.to_string());
    let mut words = vec!["sipp", "-sn", "uac", "-s", "pd-1", "-i", "127.0.0.1", "-p", &from, "-m", &calls];
    words.extend(["-l", &at_once, "-r", "50", "-d", "100", "-aa", "-nostdin", "-skip_rlimit", &to]);
    let mut program = Running::start("sipp", &words, Stdio::null());
    let mut output = program.output();
    // Read to the end, so that it never waits for us.
    std::thread::spawn(move || output.read_to_end(&mut Vec::new()));
    program
}

/// Waits until it has placed its calls; whether all went as they should.
fn is_content(mut sipp: Running) -> bool {
    let deadline = now() + PATIENCE;
    loop {
        if let Some(content) = sipp.ended_well() {
            return content;
        }
        assert!(now() < deadline, "sipp does not end: {}", sipp.said());
        // Nothing tells when a stranger ends.
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn callers_of_a_pbx_hear_and_are_heard_on_its_lines_and_a_pbx_that_is_gone_is_alarmed_about() {
    let mut county = County::new();
    county.agency("pd");
    let mic = county.mic("pd", Tool::GStreamer, Codec::Pcmu);
    let mut ear = county.ear("pd", Tool::Ffmpeg, Codec::Pcmu);
    let here = county.sip("\"pcmu\"");
    let [pbx, other] = [free_pair(), free_pair()];
    county.trunk("pbx", &[pbx, other], "pd-1", 4);
    let daemon = Daemon::start(&county.file());
    let desk = daemon.desk("pd");
    let mut voice = Voice::load("demo-instruct");
    let [own, said, meanwhile] = std::array::from_fn(|_| voice.next_piece());
    let says = own.frames.as_flattened();
    let mut caller = Phone::behind("caller", (pbx, here), Codec::Pcmu, says, county.path());
    caller.wait_for("its PBX to be up", |_| desk.roster().trunks.iter().any(|trunk| trunk.up));
    assert!(lines(&desk).iter().all(|line| line.life == Life::Registered));
    caller.dial("pd-1");
    caller.wait_for("its line", |_| in_calls(&desk) == 1);
    let before = ear.mark();
    mic.say(&said.frames);
    caller.wait_for_speech(&said.samples, "the radio");
    ear.wait_for(&said.samples, before, "the radio");
    assert!(!ear.has_heard(&own.samples, before), "the caller was heard before its star");
    caller.press('*');
    caller.wait_for("being heard after its star", |_| ear.has_heard(&own.samples, before));
    caller.press('#');
    caller.wait_for("its key to be up", |_| lines(&desk).iter().all(|line| !line.talking));

    // Three lines are left: as many callers at once get through, again and again, and one more does not.
    assert!(is_content(sipp(other, here, 60, 3)), "a call through a free line failed");
    assert!(!is_content(sipp(other, here, 4, 4)), "more callers than lines got through");
    // An address that is not the trunk's is nobody.
    assert!(!is_content(sipp(free_pair(), here, 1, 1)), "a stranger got through");
    assert_eq!(in_calls(&desk), 1, "the first caller is still there, and nobody else");
    mic.say(&meanwhile.frames);
    caller.wait_for_speech(&meanwhile.samples, "the radio after all that");
    caller.hang_up();
    caller.wait_for("its line to be free", |_| in_calls(&desk) == 0);

    let is_lost = |desk: &Desk| desk.roster().alarms.iter().any(|alarm| matches!(alarm, Alarm::TrunkLost { .. }));
    assert!(!is_lost(&desk));
    caller.die();
    let deadline = now() + PATIENCE;
    while !is_lost(&desk) {
        assert!(now() < deadline, "a dead PBX is not alarmed about");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(lines(&desk).iter().all(|line| line.life == Life::Away));
}
