//! The real daemon as a child process: `crosspatch run` of this very executable, started, killed and stopped as an
//! operator or a crash would. Only this child is ever ended; dropping it ends it.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::demo::desk;
use crate::domain::time::MonoTime;
use crate::io::clock;

/// See the file's head.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    config: PathBuf,
    log: PathBuf,
    door: SocketAddr,
}

impl Daemon {
    /// Starts it and waits until it says that it is ready.
    pub fn start(config: &Path, log: &Path, door: SocketAddr) -> Result<Self, String> {
        let child = spawn(config, log)?;
        let mut daemon = Self { child, config: config.to_owned(), log: log.to_owned(), door };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    /// SIGKILL: nothing is drained, nothing is said. When it was dead.
    pub fn kill(&mut self) -> Result<MonoTime, String> {
        let fault = |fault: std::io::Error| format!("the daemon cannot be killed: {fault}");
        self.child.kill().map_err(fault)?;
        self.child.wait().map_err(fault)?;
        Ok(clock::mono())
    }

    /// Starts it again on the same configuration and store; returns at once.
    pub fn start_again(&mut self) -> Result<(), String> {
        self.child = spawn(&self.config, &self.log)?;
        Ok(())
    }

    /// Waits for its own word.
    pub fn wait_until_ready(&mut self) -> Result<(), String> {
        let started = clock::mono();
        while clock::mono().since(started) < READY_WITHIN {
            self.check()?;
            if desk::is_ready(self.door) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("the daemon is not ready after {} s; see {}", READY_WITHIN.as_secs(), self.log.display()))
    }

    /// A fault if it has ended by itself.
    pub fn check(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(12).collect();
                let last: Vec<&str> = last.into_iter().rev().collect();
                Err(format!(
                    "the daemon ended by itself ({status}); the end of {}:\n{}",
                    self.log.display(),
                    last.join("\n")
                ))
            }
            Err(fault) => Err(format!("the daemon cannot be watched: {fault}")),
        }
    }

    /// Asks it to drain and waits; what does not drain is killed.
    fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let asked = Pid::from_raw(self.child.id() as i32).map(|pid| kill_process(pid, Signal::TERM));
        let started = clock::mono();
        while matches!(asked, Some(Ok(()))) && clock::mono().since(started) < DRAINED_WITHIN {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // It may have ended in this very moment, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(config: &Path, log: &Path) -> Result<Child, String> {
    let fault = |fault: std::io::Error| format!("the daemon cannot be started: {fault}");
    let log: File = OpenOptions::new().create(true).append(true).open(log).map_err(fault)?;
    Command::new(std::env::current_exe().map_err(fault)?)
        .arg("run")
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(fault)?)
        .stderr(log)
        // Ctrl-C is for the demo, which then stops the daemon in its own time.
        .process_group(0)
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("JOURNAL_STREAM")
        .env_remove("STATE_DIRECTORY")
        .spawn()
        .map_err(fault)
}

/// Debug builds on busy machines included.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The daemon's own patience with its journal is 5 s.
const DRAINED_WITHIN: Duration = Duration::from_secs(8);
