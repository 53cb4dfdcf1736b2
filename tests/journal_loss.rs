//! A stream that does not verify, from the night it is found to the morning it is confirmed: the real daemon.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

#[path = "cli/daemon.rs"]
mod daemon;

use daemon::Daemon;

const FIRE: &str = "demo-fire";
const POLICE: &str = "demo-police";
const ADMIN: &str = "demo-admin";

/// Changes one record of police's own stream under the daemon.
fn tamper(daemon: &Daemon) {
    let file = daemon.dir.path().join("journal").join("journal.sqlite");
    let other = rusqlite::Connection::open(file).unwrap();
    other.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    let sql = "UPDATE record SET actor = 'mallory' WHERE position =
               (SELECT max(position) FROM record WHERE kind = 'cut_lifted')";
    assert_eq!(other.execute(sql, []).unwrap(), 1);
}

#[test]
fn a_stream_that_lies_aside_mutes_until_an_administrator_confirms_the_loss_and_never_again() {
    let mut daemon = Daemon::start();
    daemon.told(FIRE, &["incident", "open", "harbour-fire"]);
    daemon.told(POLICE, &["cut", "pd-1"]);
    daemon.told(POLICE, &["restore", "pd-1"]);
    tamper(&daemon);
    daemon.restart();
    let roster = daemon.told(FIRE, &["roster"]);
    assert!(roster.contains("stream agency/police is damaged") && roster.contains("Fire in the harbour"), "{roster}");
    assert!(daemon.refused(FIRE, &["confirm", "loss", "--reason", "fine by me"]).contains("administrator"));
    let told = daemon.told(ADMIN, &["confirm", "loss", "--reason", "disk replaced, police called"]);
    assert!(told.contains("loss confirmed") && told.contains("disk replaced"), "{told}");
    assert!(!daemon.told(FIRE, &["roster"]).contains("damaged"));
    daemon.restart();
    assert!(!daemon.told(FIRE, &["roster"]).contains("damaged"), "it was confirmed once");
}
