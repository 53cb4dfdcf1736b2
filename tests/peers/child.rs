//! A foreign program that the test started. It is ended by its own process id when dropped, so also when a test panics,
//! and what it said on standard error is kept for the test's last words.

use std::io::Read;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};

/// See the file's head.
pub struct Running {
    name: String,
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Running {
    /// Starts `words[0]` with the others as arguments; standard input and output are pipes.
    pub fn start(name: &str, words: &[&str], input: Stdio) -> Self {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let missing = |fault| panic!("{} cannot be started ({fault}): ./dev setup installs it", words[0]);
        let mut child = command.spawn().unwrap_or_else(missing);
        let said = Arc::<Mutex<String>>::default();
        let (mut errors, told) = (child.stderr.take().expect("piped"), Arc::clone(&said));
        std::thread::spawn(move || {
            let mut room = [0; 4096];
            while let Ok(length @ 1..) = errors.read(&mut room) {
                let mut told = told.lock().unwrap();
                told.push_str(&String::from_utf8_lossy(&room[..length]));
                let surplus = told.len().saturating_sub(SAID_BYTES_MAX);
                let surplus = (surplus..told.len()).find(|at| told.is_char_boundary(*at)).unwrap_or(0);
                told.drain(..surplus);
            }
        });
        Self { name: name.to_owned(), child, said }
    }

    pub fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("piped and taken once")
    }

    pub fn output(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("piped and taken once")
    }

    /// Whether it ended by itself and was content with what it saw; `None`: it runs.
    pub fn ended_well(&mut self) -> Option<bool> {
        self.child.try_wait().unwrap().map(|status| status.success())
    }

    /// Fails the test if the program has ended by itself.
    pub fn check(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("{} ended by itself ({status}): {}", self.name, self.said());
        }
    }

    /// The end of what it said on standard error.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// SIGTERM; returns when it has ended.
    pub fn terminate(&mut self) {
        // As below.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }

    /// SIGKILL, and nothing of it is left.
    pub fn kill(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Warnings of a receiver that sees a new stream fill pages; the last one tells enough.
const SAID_BYTES_MAX: usize = 8_192;
