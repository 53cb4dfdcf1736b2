//! A dispatcher's night on the command line, against the real daemon on loopback.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A running daemon; ends with the test.
struct Daemon {
    child: Child,
    url: String,
    dir: tempfile::TempDir,
}

impl Daemon {
    /// The three agencies of the demo, with ports of the system's choice.
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let demo = std::fs::read_to_string(format!("{}/config/demo.toml", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let journal = dir.path().join("journal");
        let text = demo.replace("data_dir = \"crosspatch-demo\"", &format!("data_dir = {journal:?}"));
        assert_ne!(demo, text);
        std::fs::write(dir.path().join("crosspatch.toml"), text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_crosspatch"))
            .args(["run", "--config", dir.path().join("crosspatch.toml").to_str().unwrap()])
            .env_remove("JOURNAL_STREAM")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut told = Vec::new();
        let address = lines.by_ref().map_while(Result::ok).inspect(|line| told.push(line.clone())).find_map(|line| {
            let rest = line.contains("ready").then(|| line.split_once("http="))??.1.to_owned();
            rest.split_whitespace().next().map(str::to_owned)
        });
        let address = address.unwrap_or_else(|| panic!("the daemon never said where it serves: {told:#?}"));
        // Whatever it says later is read, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url: format!("http://{address}"), dir }
    }

    fn command(&self, token: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crosspatch"));
        command.env_remove("CROSSPATCH_TOKEN_FILE").env("CROSSPATCH_URL", &self.url).env("CROSSPATCH_TOKEN", token);
        command.args(arguments);
        command
    }

    /// What is said on standard output; the verb must succeed.
    fn told(&self, token: &str, arguments: &[&str]) -> String {
        let output = self.command(token, arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The sentence of a refusal.
    fn refused(&self, token: &str, arguments: &[&str]) -> String {
        let output = self.command(token, arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", errors(&output));
        assert!(output.stdout.is_empty(), "a refusal speaks on standard error only");
        errors(&output)
    }

    fn config(&self) -> String {
        self.dir.path().join("crosspatch.toml").to_str().unwrap().to_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

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
    assert_eq!(sentence.trim(), "Only police can do that: the resource is theirs.");
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

#[test]
fn watch_tells_what_happened_after_a_cursor_and_goes_on_with_what_happens() {
    let daemon = Daemon::start();
    let name = open(&daemon);
    let mut watch = daemon.command(FIRE, &["watch", "--after", "c0"]).stdout(Stdio::piped()).spawn().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines().map_while(Result::ok);
    std::thread::spawn(move || lines.for_each(|line| drop(tell.send(line))));
    let wait_for = |words: &str| loop {
        let line = told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nobody told of {words:?}"));
        if line.contains(words) {
            return line;
        }
    };
    let past = wait_for("incident opened");
    assert!(past.contains("fire-desk") && past.contains(&name), "{past}");
    daemon.told(FIRE, &["incident", "note", &name, "ladder truck is coming"]);
    wait_for("ladder truck is coming");
    watch.kill().unwrap();
    watch.wait().unwrap();
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
