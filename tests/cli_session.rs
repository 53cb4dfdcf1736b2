//! A dispatcher's night on the command line, against the real daemon on loopback.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

#[path = "cli/daemon.rs"]
mod daemon;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::Receiver;

use daemon::{Daemon, errors};

/// Only a broken stream takes so long.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

const FIRE: &str = "demo-fire";
const POLICE: &str = "demo-police";
const EMS: &str = "demo-ems";

/// Opens the harbour fire and gives its spoken name.
fn open(daemon: &Daemon) -> String {
    let told = daemon.told(FIRE, &["incident", "open", "harbour-fire"]);
    assert!(told.contains("incident opened: "), "{told}");
    let roster: serde_json::Value = serde_json::from_str(&daemon.told(FIRE, &["roster", "--json"])).unwrap();
    roster["incidents"][0]["spoken"].as_str().unwrap().to_owned()
}

#[test]
fn an_incident_is_opened_joined_narrowed_and_closed_by_its_spoken_name() {
    let daemon = Daemon::start();
    let name = open(&daemon);
    let list = daemon.told(FIRE, &["incident", "list"]);
    assert!(list.contains(&name) && list.contains("Fire in the harbour") && list.contains("ems"), "{list}");
    let rung = daemon.told(EMS, &["incident", "list"]);
    assert!(rung.contains("Invitations") && rung.contains(&name), "{rung}");
    daemon.told(EMS, &["incident", "accept", &name, "--link", "ems-1"]);
    daemon.told(EMS, &["incident", "adjust", &name, "ems-1", "--listen"]);
    let shown = daemon.told(EMS, &["incident", "show", &name[..name.len() - 2]]);
    let link = shown.lines().find(|line| line.contains("ems-1")).unwrap_or_else(|| panic!("{shown}"));
    assert!(link.contains("listens") && link.contains("3 h 59 min"), "{link}");
    let why = daemon.told(FIRE, &["why", "ems-1", "fd-1"]);
    assert!(why.contains("ems-1 only listens"), "{why}");
    daemon.told(EMS, &["incident", "extend", &name, "ems-1", "--by", "1h"]);
    daemon.told(EMS, &["incident", "unlink", &name, "ems-1"]);
    let refused = daemon.refused(EMS, &["incident", "dial", &name, "+15550123", "--line", "ems-1"]);
    assert!(refused.contains("ems-1 is no line that dials"), "{refused}");
    daemon.told(EMS, &["incident", "leave", &name]);
    daemon.told(FIRE, &["incident", "close", &name]);
    assert!(daemon.told(FIRE, &["incident", "list"]).contains("No incident is open."));
    assert!(daemon.refused(FIRE, &["incident", "show", &name]).contains("crosspatch roster"));
}

#[test]
fn the_red_button_is_its_owners_alone() {
    let daemon = Daemon::start();
    open(&daemon);
    let sentence = daemon.refused(FIRE, &["cut", "police"]);
    assert_eq!(sentence.trim(), "Only police can do that: it is theirs. Ask their dispatcher.");
    let refusal = daemon.refused(FIRE, &["cut", "police", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&refusal).unwrap()["code"], "not_yours");
    daemon.told(POLICE, &["cut", "pd-1"]);
    assert!(daemon.told(POLICE, &["roster"]).contains("talkgroup pd-1"));
    assert!(daemon.told(POLICE, &["why", "fd-1", "pd-1"]).contains("was cut"));
    daemon.told(POLICE, &["restore", "pd-1"]);
    assert!(!daemon.told(POLICE, &["roster"]).contains("Cut out of everything"));
}

#[test]
fn an_emergency_is_acknowledged_by_its_talkgroup_and_cleared_by_its_spoken_name() {
    let daemon = Daemon::start();
    daemon.told(POLICE, &["emergency", "declare", "pd-1", "--talker", "Unit 7", "--place", "pier 4"]);
    let roster = daemon.told(POLICE, &["roster"]);
    assert!(roster.contains("Unit 7") && roster.contains("pier 4"), "{roster}");
    daemon.told(POLICE, &["emergency", "acknowledge", "pd-1"]);
    let roster: serde_json::Value = serde_json::from_str(&daemon.told(POLICE, &["roster", "--json"])).unwrap();
    let spoken = roster["emergencies"][0]["spoken"].as_str().unwrap();
    daemon.told(POLICE, &["emergency", "clear", spoken, "--reason", "unit safe"]);
    assert!(daemon.refused(POLICE, &["emergency", "clear", "pd-1"]).contains("No emergency"));
}

/// A verb that goes on, and all it tells; ends with the test.
struct Watch {
    child: Child,
    told: Receiver<String>,
}

impl Watch {
    fn start(daemon: &Daemon, arguments: &[&str]) -> Self {
        let mut command = daemon.command(FIRE, arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let (lines, tell) = (BufReader::new(output).lines().map_while(Result::ok), tell.clone());
            std::thread::spawn(move || lines.for_each(|line| drop(tell.send(line))));
        }
        Self { child, told }
    }

    /// The lines up to the first that has the words.
    fn until(&self, words: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {words:?} in {lines:#?}"));
            lines.push(line);
            if lines.last().is_some_and(|line| line.contains(words)) {
                return lines;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn watch_tells_what_happened_after_a_cursor_and_goes_on_where_a_restart_broke_it() {
    let mut daemon = Daemon::start();
    let name = open(&daemon);
    let watch = Watch::start(&daemon, &["watch", "--after", "c0"]);
    let past = watch.until("incident opened").pop().unwrap();
    assert!(past.contains("fire-desk") && past.contains(&name), "{past}");
    daemon.told(FIRE, &["incident", "note", &name, "ladder truck is coming"]);
    watch.until("ladder truck is coming");
    daemon.die();
    watch.until("The stream broke");
    daemon.come_back();
    daemon.told(FIRE, &["incident", "note", &name, "ladder truck is here"]);
    let after = watch.until("ladder truck is here");
    assert!(!after.iter().any(|line| line.contains("is coming") || line.contains("incident opened")), "{after:#?}");
}

#[test]
fn a_watched_roster_is_shown_again_and_a_restart_is_waited_for() {
    let mut daemon = Daemon::start();
    let watch = Watch::start(&daemon, &["roster", "--watch"]);
    assert!(!watch.until("Agencies").iter().any(|line| line.contains("Fire in the harbour")));
    open(&daemon);
    watch.until("Fire in the harbour");
    daemon.die();
    watch.until("does not answer");
    daemon.come_back();
    daemon.told(FIRE, &["emergency", "declare", "fd-1", "--talker", "Engine 9"]);
    watch.until("Engine 9");
}

#[test]
fn a_floor_is_changed_in_what_is_given_and_shown() {
    let daemon = Daemon::start();
    let name = open(&daemon);
    let floor = || {
        let roster: serde_json::Value = serde_json::from_str(&daemon.told(FIRE, &["roster", "--json"])).unwrap();
        let nets = roster["incidents"][0]["patches"].as_array().unwrap();
        nets.iter().find(|net| net["name"] == "main").unwrap()["floor"].clone()
    };
    let before = floor();
    daemon.told(FIRE, &["incident", "set-floor", &name, "main", "--talk-limit", "30s"]);
    daemon.told(FIRE, &["incident", "set-floor", &name, "main", "--holders", "1"]);
    let mut expected = before.clone();
    expected["talk_limit_ms"] = 30_000.into();
    expected["holders_max"] = 1.into();
    assert_ne!(before, expected);
    assert_eq!(floor(), expected);
    let shown = daemon.told(FIRE, &["incident", "show", &name]);
    assert!(shown.contains("Net main: one talks at a time, for at most 30 s"), "{shown}");
    assert!(daemon.refused(FIRE, &["incident", "set-floor", &name, "mian", "--open"]).contains("it has: "));
    let nothing = daemon.command(FIRE, &["incident", "set-floor", &name, "main"]).output().unwrap();
    assert_eq!(nothing.status.code(), Some(2), "{}", errors(&nothing));
}

#[test]
fn the_host_role_is_transferred_to_who_takes_it_and_stays_there() {
    let mut daemon = Daemon::start();
    let name = open(&daemon);
    daemon.told(EMS, &["incident", "accept", &name]);
    daemon.told(FIRE, &["incident", "transfer", &name, "ems"]);
    daemon.told(EMS, &["incident", "take-host", &name]);
    daemon.restart();
    assert!(daemon.told(EMS, &["incident", "show", &name]).contains("Host     ems"));
}

/// A daemon behind TLS; its address, and the file of its certificate.
fn behind_tls(names: &[&str]) -> (Daemon, String) {
    let made = rcgen::generate_simple_self_signed(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    let mut daemon = Daemon::start_with(|dir, text| {
        std::fs::write(dir.join("certificate.pem"), made.cert.pem()).unwrap();
        std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let files = format!(
            "[server]\ntls_certificate = {:?}\ntls_key = {:?}\n",
            dir.join("certificate.pem"),
            dir.join("key.pem")
        );
        text.replace("[server]\n", &files)
    });
    daemon.url = daemon.url.replace("http://127.0.0.1", "https://localhost");
    let certificate = daemon.dir.path().join("certificate.pem").to_str().unwrap().to_owned();
    (daemon, certificate)
}

#[test]
fn every_verb_speaks_tls_to_a_daemon_whose_certificate_is_trusted() {
    let (daemon, certificate) = behind_tls(&["localhost"]);
    assert!(daemon.told(FIRE, &["roster", "--ca", &certificate]).contains("Agencies"));
    daemon.told(FIRE, &["incident", "open", "harbour-fire", "--ca", &certificate]);
    let watch = Watch::start(&daemon, &["watch", "--after", "c0", "--ca", &certificate]);
    watch.until("incident opened");
}

#[test]
fn whoever_does_not_reach_the_daemon_is_told_what_to_do_about_it() {
    let (daemon, certificate) = behind_tls(&["localhost"]);
    let (elsewhere, foreign) = behind_tls(&["other.example"]);
    let plain = daemon.url.replace("https", "http");
    let open = Daemon::start();
    let tls_to_open = open.url.replace("http", "https");
    let by_number = daemon.url.replace("localhost", "127.0.0.1");
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cases = [
        (daemon.url.clone(), &foreign, 3, "give --ca FILE"),
        (elsewhere.url.clone(), &foreign, 3, "for another name"),
        (by_number, &certificate, 3, "for another name"),
        (plain, &certificate, 3, "https://"),
        (tls_to_open, &certificate, 3, "does not speak TLS"),
        (format!("http://{nowhere}"), &certificate, 3, "systemctl status crosspatch"),
        (daemon.url.clone(), &"/nowhere.pem".to_owned(), 2, "/nowhere.pem"),
    ];
    for (url, ca, code, words) in cases {
        for verb in ["roster", "watch"] {
            let output = daemon.command(FIRE, &[verb, "--url", &url, "--ca", ca]).output().unwrap();
            let said = errors(&output);
            assert_eq!(output.status.code(), Some(code), "{verb} {url}: {said}");
            assert!(said.contains(words), "{verb} {url}: {said}");
        }
    }
    for verb in ["roster", "watch", "cut"] {
        let arguments: &[&str] = if verb == "cut" { &[verb, "pd-1"] } else { &[verb] };
        let said = open.refused("wrong-token", arguments);
        assert!(said.contains("not known") && said.contains("CROSSPATCH_TOKEN"), "{verb}: {said}");
        assert!(!said.contains("wrong-token"), "{verb}: {said}");
    }
}

#[test]
fn a_plan_says_what_would_change_and_a_faulty_file_is_told_before_anybody_is_asked() {
    let daemon = Daemon::start();
    let config = daemon.config();
    assert_eq!(daemon.told("demo-admin", &["plan", &config]).trim(), "Nothing changes.");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(Path::new(&config), text.replace("+1 555 0110", "+1 555 0199")).unwrap();
    assert!(!daemon.told("demo-admin", &["plan", &config]).contains("Nothing changes."));
    daemon.told("demo-admin", &["reload"]);
    assert!(daemon.told(FIRE, &["roster"]).contains("+1 555 0199"));
    std::fs::write(Path::new(&config), "[[agency]]\n").unwrap();
    assert!(daemon.refused("demo-admin", &["plan", &config]).contains("crosspatch.toml:1:"));
}
