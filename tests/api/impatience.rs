//! What the door does with clients that are slow, many or deaf: they are let go and counted, and nobody else notices.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crosspatch::api::limits::DoorLimits;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use crate::stage::{ADMIN, FIRE, POLICE, Stage};

/// Long enough for a busy machine, short enough for a test.
const SHORT: Duration = Duration::from_millis(400);

/// Sends some bytes, and one more whenever nothing was said for a moment, until the other side closes; what it said.
fn trickle(to: SocketAddr, at_once: &[u8], then: Option<u8>) -> String {
    let mut socket = TcpStream::connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    socket.write_all(at_once).unwrap();
    let mut said = Vec::new();
    let mut some = [0; 4096];
    for _ in 0..6_000 {
        if then.is_some_and(|byte| socket.write_all(&[byte]).is_err()) {
            return String::from_utf8_lossy(&said).into_owned();
        }
        match socket.read(&mut some) {
            Ok(0) => return String::from_utf8_lossy(&said).into_owned(),
            Ok(length) => said.extend_from_slice(&some[..length]),
            Err(fault) if matches!(fault.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return String::from_utf8_lossy(&said).into_owned(),
        }
    }
    panic!("never let go; it said {:?}", String::from_utf8_lossy(&said));
}

type Client = Box<dyn FnOnce() -> String + Send>;

/// Runs slow clients side by side while an ordinary one is answered; what each slow one was told.
fn beside(stage: &Stage, slow: Vec<Client>) -> Vec<String> {
    let clients: Vec<_> = slow.into_iter().map(thread::spawn).collect();
    loop {
        assert_eq!(stage.get(POLICE, "/api/v1/roster").status, 200, "slow clients hurt another");
        if clients.iter().all(thread::JoinHandle::is_finished) {
            return clients.into_iter().map(|client| client.join().unwrap()).collect();
        }
    }
}

/// Looks again and again until it is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if so() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("never: {what}");
}

#[test]
fn a_client_that_never_finishes_a_head_is_let_go_and_others_are_answered_meanwhile() {
    let stage = Stage::with(DoorLimits { head_within: SHORT, ..DoorLimits::default() }, |_| ());
    let to = stage.served.address;
    let heads: [(&[u8], Option<u8>); 5] = [
        (b"", None),
        (b"GET /api/v1/roster HTTP/1.1\r\nhost: x\r\nx-more: ", Some(b'a')),
        // The same after a request that was answered.
        (b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /healthz HTTP/1.1\r\nx-more: ", Some(b'a')),
        // Half of what begins HTTP/2, and all of it.
        (b"PRI * HTTP/2.0\r\n\r\nSM\r", None),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
    ];
    let client = |(head, then)| Box::new(move || trickle(to, head, then)) as Client;
    for (at, told) in beside(&stage, heads.into_iter().cycle().take(20).map(client).collect()).into_iter().enumerate() {
        assert!(!told.contains("agencies"), "client {at} was answered: {told}");
    }
}

#[test]
fn a_body_that_trickles_in_is_answered_408_and_changes_nothing() {
    let stage = Stage::with(DoorLimits { answer_within: SHORT, ..DoorLimits::default() }, |_| ());
    let to = stage.served.address;
    let before = stage.decided();
    let head = format!(
        "POST /api/v1/commands HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {POLICE}\r\ncontent-length: 9999\r\n\r\n"
    );
    let client = |_| {
        let head = head.clone();
        Box::new(move || trickle(to, head.as_bytes(), Some(b'{'))) as Client
    };
    for told in beside(&stage, (0..8).map(client).collect()) {
        assert!(told.starts_with("HTTP/1.1 408") && told.contains("took too long"), "{told:?}");
    }
    assert_eq!(stage.decided(), before);
}

#[test]
fn connections_beyond_the_limit_are_closed_and_counted_and_a_place_is_free_when_one_leaves() {
    let stage = Stage::with(DoorLimits { connections: 4, ..DoorLimits::default() }, |_| ());
    let health = |mut socket: &TcpStream| {
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut some = [0; 512];
        let asked = socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").and_then(|()| socket.read(&mut some));
        asked.is_ok_and(|length| some[..length].starts_with(b"HTTP/1.1 200"))
    };
    let connect = || TcpStream::connect(stage.served.address).unwrap();
    let mut held: Vec<TcpStream> = (0..4).map(|_| connect()).collect();
    assert!(held.iter().all(health), "the limit itself is no more than it says");
    assert!(!health(&connect()) && !health(&connect()), "a fifth client was served");
    assert!(held.iter().all(health), "those who were there first were hurt");
    let mut leaving = held.pop().unwrap();
    leaving.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut figures = String::new();
    leaving.read_to_string(&mut figures).unwrap();
    assert!(figures.contains("crosspatch_http_total{what=\"connections_refused\"} 2\n"), "{figures}");
    until("a place is free again", || health(&connect()));
}

type Subscriber = WebSocket<TcpStream>;

/// A subscriber after a cursor, that takes little ahead.
fn subscribe(stage: &Stage, after: &str) -> Result<Subscriber, String> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&stage.served.address.into()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let url = format!("ws://{}/api/v1/events/stream?after={after}", stage.served.address);
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {POLICE}").parse().unwrap());
    match tungstenite::client(request, socket.into()) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
            Err(format!("{} {}", response.status(), String::from_utf8_lossy(response.body().as_deref().unwrap())))
        }
        Err(fault) => panic!("{fault}"),
    }
}

#[test]
fn subscribers_beyond_the_limit_are_told_so_and_counted() {
    let stage = Stage::with(DoorLimits { subscribers: 2, ..DoorLimits::default() }, |_| ());
    let first = subscribe(&stage, "c0").unwrap();
    let _second = subscribe(&stage, "c0").unwrap();
    let refused = subscribe(&stage, "c0").unwrap_err();
    assert!(refused.starts_with("503") && refused.contains("busy") && refused.contains("2 subscribers"), "{refused}");
    assert_eq!(stage.counted("subscribers_refused"), 1);
    drop(first);
    until("a place is free again", || subscribe(&stage, "c0").is_ok());
}

/// More than kernels keep for a client that does not read.
const NOTES: usize = 500;

/// An incident with a long record, each note 4 KB.
fn with_notes(limits: DoorLimits) -> Stage {
    let stage = Stage::with(limits, |_| ());
    let incident = stage.incident();
    for at in 0..NOTES {
        let body = format!(r#"{{"text":"{at} {}"}}"#, "\u{1f525}".repeat(990));
        let noted = stage.post(POLICE, &format!("/api/v1/incidents/{incident}/note"), &body);
        assert_eq!(noted.status, 200, "{noted:?}");
    }
    stage
}

/// Reads until the stream ends, an event has the words, or nothing but pings comes; the events and why it ended.
fn read_on(subscriber: &mut Subscriber, until: &str) -> (Vec<Value>, Option<CloseCode>) {
    let mut events = Vec::new();
    let mut pings = 0;
    while pings < 3 {
        match subscriber.read() {
            Ok(Message::Text(text)) => events.push(serde_json::from_str(&text).unwrap()),
            Ok(Message::Close(frame)) => return (events, frame.map(|frame| frame.code)),
            Ok(_) => pings += 1,
            Err(_) => return (events, None),
        }
        if events.last().is_some_and(|event: &Value| event["recorded"]["event"]["text"].to_string().contains(until)) {
            return (events, None);
        }
    }
    (events, None)
}

#[test]
fn a_subscriber_that_does_not_read_is_let_go_and_counted_and_goes_on_from_its_cursor() {
    let stage = with_notes(DoorLimits { event_taken_within: SHORT, ..DoorLimits::default() });
    let mut deaf = subscribe(&stage, "c0").unwrap();
    until("the subscriber is let go", || stage.counted("subscribers_slow") == 1);
    until("its place is free", || stage.get("", "/metrics").text.contains("crosspatch_subscribers 0\n"));
    let last = format!("\"{} ", NOTES - 1);
    let (events, _) = read_on(&mut deaf, &last);
    assert!(!events.is_empty() && events.len() < NOTES, "{} events were kept for it", events.len());
    let cursor = events.last().unwrap()["cursor"].as_str().unwrap().to_owned();
    let (rest, _) = read_on(&mut subscribe(&stage, &cursor).unwrap(), &last);
    assert_eq!(
        events.len() + rest.len(),
        stage.get(POLICE, "/api/v1/events").json()["events"].as_array().unwrap().len()
    );
}

#[test]
fn a_client_that_does_not_read_its_answer_is_let_go_and_counted() {
    let stage = with_notes(DoorLimits { taken_within: SHORT, ..DoorLimits::default() });
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&stage.served.address.into()).unwrap();
    let mut socket = TcpStream::from(socket);
    let request = format!("GET /api/v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {POLICE}\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    until("the client is let go", || stage.counted("connections_stalled") == 1);
    let mut told = Vec::new();
    let _ = socket.read_to_end(&mut told);
    let all = stage.get(POLICE, "/api/v1/events").text.len();
    assert!(told.len() < all, "all {all} bytes were kept for it");
}

#[test]
fn a_token_taken_out_of_the_file_ends_with_its_streams_and_the_others_go_on() {
    let stage = Stage::new();
    stage.incident();
    let mut subscriber = subscribe(&stage, "c0").unwrap();
    let file = stage.folder.path().join("crosspatch.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let digest = crate::digest(POLICE);
    assert!(text.contains(&digest));
    // A secret that cannot be read refuses the file whole, and everything stays. A plan opens nothing that a text names.
    let unreadable = text.replace(&format!("sha256 = \"{digest}\""), "file = \"/nowhere/token\"");
    let plan = stage.post(ADMIN, "/api/v1/plan", &unreadable);
    assert!(plan.status == 200 && !plan.text.contains("/nowhere"), "{plan:?}");
    std::fs::write(&file, unreadable).unwrap();
    let refused = stage.post(ADMIN, "/api/v1/reload", "");
    assert!(refused.status == 422 && refused.text.contains("/nowhere/token"), "{refused:?}");
    assert_eq!(stage.get(POLICE, "/api/v1/roster").status, 200);
    // Another token for the same desk.
    std::fs::write(&file, text.replace(&digest, &crate::digest("another-token"))).unwrap();
    let reloaded = stage.post(ADMIN, "/api/v1/reload", "");
    assert!(reloaded.status == 200 && reloaded.text.contains("token of"), "{reloaded:?}");
    assert_eq!(stage.get(POLICE, "/api/v1/roster").status, 401);
    assert_eq!(stage.get("another-token", "/api/v1/roster").status, 200);
    assert_eq!(stage.get(FIRE, "/api/v1/roster").status, 200);
    let (events, code) = read_on(&mut subscriber, "never");
    assert_eq!((events.is_empty(), code), (false, Some(CloseCode::Again)));
}

#[test]
fn a_subscriber_is_told_that_the_daemon_stops() {
    let stage = Stage::new();
    stage.incident();
    let mut subscriber = subscribe(&stage, "c0").unwrap();
    stage.ends.drain.send(true).unwrap();
    let (events, code) = read_on(&mut subscriber, "never");
    assert_eq!((events.is_empty(), code), (false, Some(CloseCode::Away)));
    stage.runtime.block_on(stage.served.stop());
    assert!(TcpStream::connect(stage.served.address).is_err(), "the door is still open");
}
