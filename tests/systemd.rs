//! What the daemon tells systemd, heard at a socket in systemd's place: ready when it is ready, alive while media
//! ticks, stopping when it stops.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Only a daemon that says nothing takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// systemd's own measure: the daemon must speak within it.
const WATCHDOG_US: &str = "600000";

/// A folder with a configuration, and the socket that hears of it.
struct Service {
    dir: tempfile::TempDir,
    socket: UnixDatagram,
    url: String,
}

impl Service {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let demo = std::fs::read_to_string(format!("{}/config/demo.toml", env!("CARGO_MANIFEST_DIR"))).unwrap();
        // A port that was free a moment ago: whoever is told of READY must know where to ask.
        let http = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = demo
            .replace("data_dir = \"crosspatch-demo\"", &format!("data_dir = {:?}", dir.path().join("journal")))
            .replace("http = \"127.0.0.1:0\"", &format!("http = \"{http}\""));
        std::fs::write(dir.path().join("crosspatch.toml"), text).unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { dir, socket, url: format!("http://{http}") }
    }

    /// The command of the unit, with the program that was built and a file of ours.
    fn start(&self) -> Child {
        let unit = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/crosspatch.service"));
        let unit = unit.unwrap();
        let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let file = self.dir.path().join("crosspatch.toml");
        let arguments = command.split_whitespace().skip(1).map(|argument| match argument.strip_prefix("/etc/") {
            Some(_) => file.to_str().unwrap(),
            None => argument,
        });
        Command::new(env!("CARGO_BIN_EXE_crosspatch"))
            .args(arguments)
            .env("NOTIFY_SOCKET", self.dir.path().join("notify"))
            .env("WATCHDOG_USEC", WATCHDOG_US)
            .env_remove("WATCHDOG_PID")
            .env_remove("JOURNAL_STREAM")
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// The next thing that systemd would hear.
    fn heard(&self) -> String {
        let mut some = [0; 1024];
        let length = self.socket.recv(&mut some).expect("the daemon says nothing");
        String::from_utf8(some[..length].to_vec()).unwrap().trim().to_owned()
    }

    fn status_of(&self, path: &str) -> Option<u16> {
        let asked = ureq::get(format!("{}{path}", self.url)).config().http_status_as_error(false).build().call();
        asked.ok().map(|answer| answer.status().as_u16())
    }
}

#[test]
fn ready_is_said_once_it_is_ready_then_life_while_media_ticks_then_stopping() {
    let service = Service::new();
    assert_eq!(service.status_of("/readyz"), None);
    let mut daemon = service.start();
    assert_eq!(service.heard(), "READY=1", "something was said before it was ready");
    assert_eq!(service.status_of("/readyz"), Some(200), "READY was said too early");
    for _ in 0..4 {
        assert_eq!(service.heard(), "WATCHDOG=1");
    }
    kill_process(Pid::from_child(&daemon), Signal::TERM).unwrap();
    let last = std::iter::repeat_with(|| service.heard()).find(|said| said != "WATCHDOG=1").unwrap();
    assert_eq!(last, "STOPPING=1");
    assert!(daemon.wait().unwrap().success());
    assert_eq!(service.status_of("/readyz"), None, "the door is still open");
    service.socket.set_nonblocking(true).unwrap();
    assert!(service.socket.recv(&mut [0; 64]).is_err(), "it spoke after it had stopped");
}

#[test]
fn a_daemon_whose_journal_another_holds_never_says_that_it_is_ready() {
    let (first, second) = (Service::new(), Service::new());
    let mut running = first.start();
    assert_eq!(first.heard(), "READY=1");
    let file = second.dir.path().join("crosspatch.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (theirs, ours) = (first.dir.path().join("journal"), second.dir.path().join("journal"));
    std::fs::write(&file, text.replace(ours.to_str().unwrap(), theirs.to_str().unwrap())).unwrap();
    assert!(!second.start().wait().unwrap().success());
    second.socket.set_nonblocking(true).unwrap();
    assert!(second.socket.recv(&mut [0; 64]).is_err(), "it said something");
    running.kill().unwrap();
    running.wait().unwrap();
}
