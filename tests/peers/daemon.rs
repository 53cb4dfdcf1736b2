//! The real daemon as a child process on a configuration of the test, and desks that speak its API. It is ended by its
//! process id when dropped, so also when a test panics.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crosspatch::dispatch::control::Answer;
use crosspatch::dispatch::view::Roster;
use crosspatch::dispatch::why::Why;
use crosspatch::domain::command::Command;
use crosspatch::domain::event::{Event, Recorded};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{PATIENCE, now};

/// See the file's head.
pub struct Daemon {
    child: Child,
    lines: Receiver<String>,
    /// What it has logged since it was started last, as far as anybody looked.
    pub log: Vec<String>,
    pub config: PathBuf,
    url: String,
}

impl Daemon {
    /// Starts it on the file and waits until it is ready.
    pub fn start(config: &Path) -> Self {
        let (child, lines) = spawn(config);
        let mut daemon = Self { child, lines, log: Vec::new(), config: config.to_owned(), url: String::new() };
        daemon.wait_until_ready();
        daemon
    }

    /// SIGKILL: nothing is drained, nothing is said.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and how it ended.
    pub fn stop(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }

    /// SIGHUP: it reads its file again.
    pub fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }

    /// Starts it again on the same file and store; how long it took to be ready.
    pub fn start_again(&mut self) -> Duration {
        let began = now();
        (self.child, self.lines) = spawn(&self.config);
        self.log.clear();
        self.wait_until_ready();
        now().since(began)
    }

    fn wait_until_ready(&mut self) {
        let ready = self.wait_for_line("ready", |line| line.contains("http=") && line.contains("ready"));
        let address =
            ready.split_once("http=").expect("it says where").1.split_whitespace().next().expect("an address");
        self.url = format!("http://{address}");
    }

    /// Reads the log up to a line; fails the test if it does not come.
    pub fn wait_for_line(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        let deadline = now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.since(now())) {
                Ok(line) => {
                    self.log.push(line.clone());
                    if is_it(&line) {
                        return line;
                    }
                }
                Err(_) => panic!("the daemon never said {what}: {:#?}", self.log),
            }
        }
    }

    /// What it has logged until now, without waiting for more.
    pub fn logged(&mut self) -> &[String] {
        self.log.extend(self.lines.try_iter());
        &self.log
    }

    pub fn desk(&self, token: &str) -> Desk {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections(0)
            .timeout_global(Some(PATIENCE))
            .build()
            .new_agent();
        Desk { agent, url: self.url.clone(), token: format!("Bearer {token}") }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs it on a file that it must refuse: how it ended and what it said.
pub fn run_to_its_end(config: &Path) -> (ExitStatus, String) {
    let (mut child, lines) = spawn(config);
    let said: Vec<String> = lines.iter().collect();
    (child.wait().unwrap(), said.join("\n"))
}

fn spawn(config: &Path) -> (Child, Receiver<String>) {
    let mut child = Program::new(env!("CARGO_BIN_EXE_crosspatch"))
        .args(["run", "--config"])
        .arg(config)
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("JOURNAL_STREAM")
        .env_remove("STATE_DIRECTORY")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let errors = BufReader::new(child.stderr.take().expect("piped"));
    let (tell, lines) = channel();
    // Read to the end, so that it never waits for us.
    std::thread::spawn(move || errors.lines().map_while(Result::ok).for_each(|line| drop(tell.send(line))));
    (child, lines)
}

#[derive(Deserialize)]
struct Page {
    events: Vec<View>,
    next: String,
}

#[derive(Deserialize)]
struct View {
    recorded: Recorded,
}

/// A dispatcher's desk: the HTTP API with one token.
pub struct Desk {
    agent: ureq::Agent,
    url: String,
    token: String,
}

impl Desk {
    /// Gives an order that must be allowed; the events it led to.
    pub fn order(&self, command: &Command) -> Vec<Event> {
        let post = self.agent.post(format!("{}/api/v1/commands", self.url)).header("authorization", &self.token);
        match self.read(post.send_json(command).unwrap()) {
            Answer::Done { records } => records.into_iter().map(|recorded| recorded.event).collect(),
            Answer::EffectiveNotRecorded { cause, .. } => panic!("{command:?} was not recorded: {cause}"),
        }
    }

    /// Has the daemon read its file again.
    pub fn reload(&self) {
        let post = self.agent.post(format!("{}/api/v1/reload", self.url)).header("authorization", &self.token);
        let _: serde_json::Value = self.read(post.send_empty().unwrap());
    }

    pub fn roster(&self) -> Roster {
        let get = self.agent.get(format!("{}/api/v1/roster", self.url)).header("authorization", &self.token);
        self.read(get.call().unwrap())
    }

    /// One of the daemon's figures by the beginning of its line; nothing until it has counted.
    pub fn figure(&self, line: &str) -> u64 {
        let get = self.agent.get(format!("{}/metrics", self.url)).header("authorization", &self.token);
        let text = get.call().unwrap().body_mut().read_to_string().unwrap();
        let value = text.lines().find_map(|one| one.strip_prefix(line)?.trim().parse().ok());
        value.unwrap_or_default()
    }

    /// Why one talkgroup does not hear another.
    pub fn why(&self, from: &str, to: &str) -> Why {
        let get = self.agent.get(format!("{}/api/v1/why", self.url)).header("authorization", &self.token);
        self.read(get.query("from", from).query("to", to).call().unwrap())
    }

    /// All that happened since the journal began, as far as this desk may see it.
    pub fn history(&self) -> Vec<Event> {
        let (mut events, mut after) = (Vec::new(), None);
        loop {
            let mut get = self.agent.get(format!("{}/api/v1/events", self.url)).header("authorization", &self.token);
            if let Some(cursor) = &after {
                get = get.query("after", cursor);
            }
            let page: Page = self.read(get.call().unwrap());
            events.extend(page.events.into_iter().map(|view| view.recorded.event));
            if after.as_ref() == Some(&page.next) {
                return events;
            }
            after = Some(page.next);
        }
    }

    /// Waits until nobody talks in any incident.
    pub fn wait_until_quiet(&self) {
        let deadline = now() + PATIENCE;
        while self.roster().incidents.iter().flat_map(|view| &view.patches).any(|patch| !patch.talkers.is_empty()) {
            assert!(now() < deadline, "somebody talks without end");
        }
    }

    fn read<T: DeserializeOwned>(&self, mut answer: ureq::http::Response<ureq::Body>) -> T {
        let text = answer.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_string().unwrap();
        assert!(answer.status().is_success(), "{}: {text}", answer.status());
        serde_json::from_str(&text).unwrap_or_else(|fault| panic!("{fault}: {text}"))
    }
}

/// A roster of 200 incidents with a thousand legs is some megabytes.
const BODY_BYTES_MAX: u64 = 64 << 20;
