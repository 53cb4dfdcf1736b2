//! A command that is repeated with its idempotency key after the daemon was killed is answered as the first time.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

#[expect(dead_code, reason = "this test uses a part of the stage")]
#[path = "cli/daemon.rs"]
mod daemon;

use std::io::{Read, Write};
use std::net::TcpStream;

use daemon::Daemon;
use serde_json::{Value, json};

/// Status and body.
fn post(daemon: &Daemon, token: &str, key: &str, command: &Value) -> (u16, Value) {
    let address = daemon.url.trim_start_matches("http://");
    let body = command.to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /api/v1/commands HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Idempotency-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap())
}

fn incidents(daemon: &Daemon) -> usize {
    let roster: Value = serde_json::from_str(&daemon.told("demo-fire", &["roster", "--json"])).unwrap();
    roster["incidents"].as_array().unwrap().len()
}

#[test]
fn a_command_repeated_after_a_kill_is_answered_as_the_first_time_and_done_once() {
    let mut daemon = Daemon::start();
    let open = json!({"do": "open_incident", "template": "harbour-fire"});
    let other = json!({"do": "open_incident", "title": "Another fire", "kind": "fire"});
    let first = post(&daemon, "demo-fire", "night-1", &open);
    assert_eq!(first.0, 200, "{first:?}");
    daemon.restart();
    assert_eq!(post(&daemon, "demo-fire", "night-1", &open), first);
    assert_eq!(incidents(&daemon), 1);
    let (status, refusal) = post(&daemon, "demo-fire", "night-1", &other);
    assert_eq!((status >= 400, &refusal["code"]), (true, &json!("key_reused")), "{refusal}");
    assert_eq!(post(&daemon, "demo-fire", "night-2", &other).0, 200, "another key is another command");
    assert_eq!(incidents(&daemon), 2);
    daemon.restart();
    assert_eq!(post(&daemon, "demo-fire", "night-1", &open), first, "nor is it forgotten at the second start");
    assert_eq!(incidents(&daemon), 2);
}
