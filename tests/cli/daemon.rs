//! The real daemon as a child, and the command line beside it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A running daemon; ends with the test.
pub struct Daemon {
    child: Child,
    pub url: String,
    pub dir: tempfile::TempDir,
}

impl Daemon {
    /// The three agencies of the demo, with ports of the system's choice.
    pub fn start() -> Self {
        Self::start_with(|_, text| text)
    }

    /// The same with a file that was changed; whoever changes it may put others beside it.
    pub fn start_with(change: impl FnOnce(&Path, String) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let demo = std::fs::read_to_string(format!("{}/config/demo.toml", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let journal = dir.path().join("journal");
        let text = demo.replace("data_dir = \"crosspatch-demo\"", &format!("data_dir = {journal:?}"));
        assert_ne!(demo, text);
        std::fs::write(dir.path().join("crosspatch.toml"), change(dir.path(), text)).unwrap();
        let (child, address) = run(dir.path());
        Self { child, url: format!("http://{address}"), dir }
    }

    /// Dies without a word and comes back.
    pub fn restart(&mut self) {
        self.die();
        self.come_back();
    }

    /// Dies without a word.
    pub fn die(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts again at the same address.
    pub fn come_back(&mut self) {
        let (file, address) = (self.config(), self.url.replace("http://", ""));
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("http = \"127.0.0.1:0\"", &format!("http = {address:?}"))).unwrap();
        let (child, again) = run(self.dir.path());
        self.child = child;
        assert_eq!(again, address);
    }

    pub fn command(&self, token: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crosspatch"));
        command.env_remove("CROSSPATCH_TOKEN_FILE").env("CROSSPATCH_URL", &self.url).env("CROSSPATCH_TOKEN", token);
        command.args(arguments);
        command
    }

    /// What is said on standard output; the verb must succeed.
    pub fn told(&self, token: &str, arguments: &[&str]) -> String {
        let output = self.command(token, arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The sentence of a refusal.
    pub fn refused(&self, token: &str, arguments: &[&str]) -> String {
        let output = self.command(token, arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", errors(&output));
        assert!(output.stdout.is_empty(), "a refusal speaks on standard error only");
        errors(&output)
    }

    pub fn config(&self) -> String {
        self.dir.path().join("crosspatch.toml").to_str().unwrap().to_owned()
    }
}

/// A daemon on the file of a folder, and where it serves.
fn run(dir: &Path) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_crosspatch"))
        .args(["run", "--config", dir.join("crosspatch.toml").to_str().unwrap()])
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
    (child, address)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
