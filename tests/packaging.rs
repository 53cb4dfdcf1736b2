//! What an administrator installs: the systemd unit and what stands beside it, judged by systemd's own tools and held
//! against the program they start.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crosspatch::config;

/// Ten times the exposure that `systemd-analyze security` computes; 2.0 is what the project promises to stay below.
const EXPOSURE_MAX: &str = "20";

#[test]
fn the_unit_is_hardened() {
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let judged = analyze(&["security", "--offline=true", "--no-pager", &threshold], &systemd("crosspatch.service"));
    let verdict = text(&judged.stdout).lines().last().unwrap_or_default().to_owned();
    assert!(judged.status.success(), "{verdict}\n{}", text(&judged.stderr));
}

#[test]
fn systemd_understands_every_line_of_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("crosspatch.service");
    // The program is not installed where the unit will find it.
    fs::write(&unit, unit_text().replace(&program(), env!("CARGO_BIN_EXE_crosspatch"))).unwrap();
    let judged = analyze(&["verify", "--man=no"], &unit);
    let said = text(&judged.stderr);
    // Other units of the machine may have faults of their own.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("crosspatch.service")).collect();
    assert!(judged.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn the_program_takes_the_arguments_that_the_unit_gives_it() {
    let start = setting("ExecStart");
    let arguments = start.split_whitespace().skip(1);
    let asked = Command::new(env!("CARGO_BIN_EXE_crosspatch")).args(arguments).arg("--help").output().unwrap();
    assert!(asked.status.success(), "{start}: {}", text(&asked.stderr));
    assert!(text(&asked.stdout).contains("Usage: crosspatch run"), "{}", text(&asked.stdout));
}

#[test]
fn the_unit_its_user_and_its_folders_speak_of_the_same_things() {
    let (settings, _, _) = config::parse("", "empty.toml").unwrap();
    assert_eq!(settings.data_dir, Path::new("/var/lib").join(setting("StateDirectory")));

    let user = setting("User");
    let sysusers = fs::read_to_string(systemd("sysusers.d/crosspatch.conf")).unwrap();
    let made = sysusers.lines().find(|line| line.starts_with("u ")).unwrap();
    assert_eq!(made.split_whitespace().nth(1), Some(user.as_str()), "the user of the unit is made");

    let tmpfiles = fs::read_to_string(systemd("tmpfiles.d/crosspatch.conf")).unwrap();
    let folders: Vec<Vec<&str>> =
        tmpfiles.lines().filter(|line| line.starts_with("d ")).map(|line| line.split_whitespace().collect()).collect();
    let folder = |path: &str| folders.iter().find(|fields| fields[1] == path).unwrap_or_else(|| panic!("{path}"));
    let configuration = folder("/etc/crosspatch");
    assert_eq!(configuration[4], setting("Group"), "the daemon reads its configuration");
    assert_eq!(configuration[2], setting("ConfigurationDirectoryMode"));
    let credential = setting("LoadCredential");
    let (_, secrets) = credential.split_once(':').unwrap();
    assert_eq!(folder(secrets)[2..4], ["0700", "root"], "secrets are root's alone");
}

fn analyze(arguments: &[&str], unit: &Path) -> Output {
    Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .output()
        .unwrap_or_else(|fault| panic!("systemd-analyze is needed ({fault}): ./dev setup installs the package systemd"))
}

/// The value of a key of the unit, which must stand there once.
fn setting(key: &str) -> String {
    let unit = unit_text();
    let mut values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = values.next().unwrap_or_else(|| panic!("the unit has no {key}"));
    assert_eq!(values.next(), None, "{key} stands once");
    value.to_owned()
}

/// The path of the installed program.
fn program() -> String {
    setting("ExecStart").split_whitespace().next().unwrap().to_owned()
}

fn unit_text() -> String {
    fs::read_to_string(systemd("crosspatch.service")).unwrap()
}

fn systemd(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
