//! A PBX made of kamailio, which nobody here wrote: its telephones and we register there, it asks everybody for a password
//! and stays in between every call. Whatever begins with `pd-` is ours.

use std::process::Stdio;

use crosspatch::dispatch::view::{GatewayView, Life};
use crosspatch::domain::audio::Codec;
use crosspatch::domain::command::Command;
use crosspatch::domain::event::Event;
use crosspatch::domain::id::TalkgroupId;
use crosspatch::domain::incident::LinkRequest;

use super::Tool;
use super::child::Running;
use super::county::County;
use super::daemon::{Daemon, Desk};
use super::hearing::Voice;
use super::phone::Phone;
use super::ports::{free_pair, wait_until_bound};

const PASSWORD: &str = "of-the-county";

/// See the file's head.
struct Pbx {
    program: Running,
    port: u16,
}

impl Pbx {
    fn start(county: &County) -> Self {
        let port = free_pair();
        let file = county.path().join("kamailio.cfg");
        let script = SCRIPT.replace("PORT", &port.to_string()).replace("PASSWORD", PASSWORD);
        std::fs::write(&file, script).unwrap();
        let (file, folder) = (file.display().to_string(), county.path().display().to_string());
        let words = ["/usr/sbin/kamailio", "-DD", "-E", "-f", &file, "-Y", &folder, "-m", "32", "-M", "4"];
        let program = Running::start("kamailio", &words, Stdio::null());
        wait_until_bound(&[port]);
        Self { program, port }
    }
}

impl Drop for Pbx {
    /// Killed it would leave its children behind.
    fn drop(&mut self) {
        self.program.terminate();
    }
}

fn line(desk: &Desk, id: &str) -> GatewayView {
    let all = desk.roster().talkgroups.into_iter().flat_map(|talkgroup| talkgroup.gateways);
    all.into_iter().find(|view| view.gateway.as_str() == id).expect("it is configured")
}

#[test]
fn calls_in_and_out_go_through_a_pbx_that_asks_for_passwords_and_stays_in_between_also_over_kill_9() {
    let mut county = County::new();
    county.agency("pd");
    let mic = county.mic("pd", Tool::GStreamer, Codec::Pcmu);
    let mut ear = county.ear("pd", Tool::Ffmpeg, Codec::Pcmu);
    county.talkgroup("pd", "pd-out");
    county.sip("\"pcmu\"");
    let pbx = Pbx::start(&county);
    let password = county.path().join("pbx.password");
    std::fs::write(&password, PASSWORD).unwrap();
    county.also(&format!(
        "[[trunk]]\nid = \"pbx\"\nregister = \"ours\"\npeers = [\"127.0.0.1:{}\"]\nuser = \"crosspatch\"\n\
         realm = \"county.pbx\"\nfile = {password:?}\n\n\
         [[phone]]\nid = \"in-1\"\ntalkgroup = \"pd-1\"\ntrunk = \"pbx\"\n",
        pbx.port
    ));
    county.line_out("out-1", "pd-out", &["pbx"]);
    let mut voice = Voice::load("demo-instruct");
    let [own, said, again, dialled] = std::array::from_fn(|_| voice.next_piece());
    let mut phone = Phone::start("1001", PASSWORD, pbx.port, Codec::Pcmu, own.frames.as_flattened(), county.path());
    let mut daemon = Daemon::start(&county.file());
    let desk = daemon.desk("pd");
    let incident = county.join_all(&daemon);
    phone.wait_for("our registration", |_| desk.roster().trunks.iter().all(|trunk| trunk.up));

    // In: heard, hears, and the same call after a restart.
    phone.dial("pd-1");
    phone.wait_for("its call", |_| line(&desk, "in-1").life == Life::InCall);
    mic.say(&said.frames);
    phone.wait_for_speech(&said.samples, "the radio");
    phone.press('*');
    phone.wait_for("being heard", |_| ear.has_heard(&own.samples, 0));
    daemon.kill();
    daemon.start_again();
    let desk = daemon.desk("pd");
    phone.wait_for("its call to go on", |_| line(&desk, "in-1").life == Life::InCall);
    let mark = ear.mark();
    mic.say(&again.frames);
    ear.wait_for(&again.samples, mark, "the radio after the restart");
    phone.wait_for_speech(&again.samples, "the radio after the restart");
    phone.hang_up();
    phone.wait_for("its end, through the PBX", |_| line(&desk, "in-1").life != Life::InCall);

    // Out: asked for a password, rings there, confirmed, heard, and hung up on by us.
    phone.wait_for("our registration after the restart", |_| desk.roster().trunks.iter().all(|trunk| trunk.up));
    let request = LinkRequest::plain(TalkgroupId::new("pd-out").unwrap());
    let events = desk.order(&Command::Dial { incident, number: "1001".to_owned(), request });
    let link = events.iter().find_map(|event| if let Event::Dialled { link, .. } = event { Some(*link) } else { None });
    phone.wait_for("its bell", |_| line(&desk, "out-1").life == Life::Ringing);
    phone.lift();
    phone.wait_for("being asked", |_| line(&desk, "out-1").life == Life::Waiting);
    phone.press('*');
    phone.wait_for("its place in the net", |_| line(&desk, "out-1").life == Life::InCall);
    mic.say(&dialled.frames);
    phone.wait_for_speech(&dialled.samples, "the radio");
    assert!(phone.is_in_call());
    desk.order(&Command::Unlink { link: link.expect("it was dialled") });
    phone.wait_for("being hung up on", |phone| !phone.is_in_call());
}

const SCRIPT: &str = r#"
debug=1
log_stderror=yes
children=2
disable_tcp=yes
listen=udp:127.0.0.1:PORT
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "auth.so"

request_route {
    if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
    if (has_totag()) {
        if (loose_route()) { t_relay(); exit; }
        if (is_method("ACK")) { if (t_check_trans()) { t_relay(); } exit; }
        sl_send_reply("481", "Not Here");
        exit;
    }
    if (is_method("CANCEL")) { if (t_check_trans()) { t_relay(); } exit; }
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    if (is_method("REGISTER")) {
        if (!pv_www_authenticate("county.pbx", "PASSWORD", "0")) { www_challenge("county.pbx", "0"); exit; }
        save("location");
        exit;
    }
    if (!is_method("INVITE")) { sl_send_reply("405", "Method Not Allowed"); exit; }
    if (!pv_proxy_authenticate("county.pbx", "PASSWORD", "0")) { proxy_challenge("county.pbx", "0"); exit; }
    consume_credentials();
    record_route();
    if ($rU =~ "^pd-") { $rU = "crosspatch"; }
    if (!lookup("location")) { sl_send_reply("404", "Not Found"); exit; }
    t_relay();
}
"#;
