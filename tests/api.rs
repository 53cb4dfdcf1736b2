//! What the API promises to whoever calls it, and to whoever it is kept from.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

#[path = "api/impatience.rs"]
mod impatience;
#[path = "api/stage.rs"]
mod stage;
#[path = "api/tls.rs"]
mod tls;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crosspatch::domain::command::Command;
use crosspatch::{api, config};
use serde_json::Value;
use stage::{ADMIN, EMS, FIRE, POLICE, Stage};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};

const READS: [&str; 8] = [
    "/api/v1/roster",
    "/api/v1/incidents",
    "/api/v1/talkgroups",
    "/api/v1/alarms",
    "/api/v1/emergencies",
    "/api/v1/events",
    "/api/v1/why?from=pd-1&to=fd-1",
    "/api/v1/incidents/kilo",
];

#[test]
fn without_a_right_token_nothing_is_shown_and_nothing_changes() {
    let stage = Stage::new();
    stage.incident();
    let before = stage.decided();
    for token in ["", "wrong", "demo-polic", "demo-police2"] {
        for path in READS {
            let answer = stage.get(token, path);
            assert!(matches!(answer.status, 401 | 429), "{path} with {token:?}: {answer:?}");
            assert!(answer.status == 429 || answer.challenge.is_some(), "{path}: no challenge");
            assert!(!answer.text.contains("Harbour"), "{path} shows an incident to {token:?}");
        }
        let answer = stage.post(token, "/api/v1/commands", r#"{"do":"cut","target":{"agency":"police"}}"#);
        assert!(matches!(answer.status, 401 | 429), "{answer:?}");
    }
    assert_eq!(stage.decided(), before);
    assert_eq!(stage.get(POLICE, "/api/v1/roster").status, 200, "guessing locked a right token out");
    assert!(!stage.get("", "/metrics").text.contains("what=\"wrong_tokens\"} 0\n"), "wrong tokens are not counted");
}

#[test]
fn every_refusal_has_a_code_and_a_sentence_and_changes_nothing() {
    let stage = Stage::new();
    let incident = stage.incident();
    let before = stage.decided();
    let order = |name: &str| format!("/api/v1/incidents/{incident}/{name}");
    let commands = "/api/v1/commands".to_owned();
    let absent = "0123456789abcdefghjkmnpqrs";
    let cases: [(&str, String, String, u16, &str); 16] = [
        (POLICE, commands.clone(), "{".into(), 400, "bad_request"),
        (POLICE, commands.clone(), r#"{"do":"dance"}"#.into(), 400, "bad_request"),
        (POLICE, commands.clone(), r#"{"do":"leave"}"#.into(), 400, "bad_request"),
        (POLICE, commands.clone(), format!(r#"{{"do":"leave","incident":"{incident}","x":1}}"#), 400, "bad_request"),
        (POLICE, commands.clone(), r#"{"do":"leave","incident":7}"#.into(), 400, "bad_request"),
        (POLICE, commands.clone(), format!(r#"{{"do":"leave","incident":"{absent}"}}"#), 404, "no_such_incident"),
        (POLICE, order("invite"), r#"{"agency":"fire"}"#.into(), 409, "already_invited"),
        (POLICE, order("invite"), r#"{"agency":"coast-guard"}"#.into(), 404, "no_such_agency"),
        (POLICE, order("invite"), format!(r#"{{"incident":"{absent}","agency":"ems"}}"#), 400, "bad_request"),
        (POLICE, order("leave"), String::new(), 409, "host_must_stay"),
        (POLICE, order("link"), r#"{"request":{"talkgroup":"fd-1"}}"#.into(), 403, "not_yours"),
        (FIRE, order("link"), r#"{"request":{"talkgroup":"fd-1"}}"#.into(), 403, "not_member"),
        (FIRE, order("close"), String::new(), 403, "not_host"),
        (EMS, order("accept"), String::new(), 409, "not_invited"),
        (EMS, commands, r#"{"do":"cut","target":{"talkgroup":"pd-1"}}"#.into(), 403, "not_yours"),
        (ADMIN, order("close"), String::new(), 403, "not_allowed"),
    ];
    for (token, path, body, status, code) in cases {
        let answer = stage.post(token, &path, &body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path} {body}: {answer:?}");
        assert!(answer.json()["sentence"].as_str().is_some_and(|sentence| sentence.len() > 10), "{answer:?}");
        assert_eq!(stage.decided(), before, "{path} {body} changed something");
    }
    for (path, status) in [
        ("/api/v1/nothing", 404),
        ("/api/v1/incidents/zulu-9", 404),
        ("/api/v1/why?from=pd-1", 400),
        ("/api/v1/events?befor=c0", 400),
    ] {
        assert_eq!(stage.get(POLICE, path).status, status, "{path}");
    }
    let metrics = stage.get("", "/metrics").text;
    assert!(metrics.contains(r#"crosspatch_refusals_total{code="not_yours"} 2"#), "{metrics}");
}

#[test]
fn a_body_longer_than_the_limit_is_refused_as_too_long() {
    let stage = Stage::new();
    let before = stage.decided();
    let long = "x".repeat(api::BODY_BYTES_MAX + 1);
    // The server answers before it has read all; a client may see the answer or a closed connection, never a yes.
    let mut socket = TcpStream::connect(stage.served.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "POST /api/v1/commands HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {POLICE}\r\ncontent-length: {}\r\n\r\n",
        long.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut some = [0; 1024];
    while !answer.ends_with(b"}") {
        let length = socket.read(&mut some).unwrap();
        assert!(length > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&some[..length]);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("too_long"), "{answer}");
    assert_eq!(stage.decided(), before);
}

#[test]
fn an_agency_sees_its_own_incidents_its_invitations_and_no_others_addresses() {
    let stage = Stage::new();
    let incident = stage.incident();
    assert_eq!(stage.get(FIRE, "/api/v1/incidents").json(), Value::Array(vec![]), "invited is not in");
    assert_eq!(stage.get(FIRE, "/api/v1/roster").json()["invitations"][0]["incident"], incident.as_str());
    let ems = stage.get(EMS, "/api/v1/roster");
    assert!(!ems.text.contains("Harbour") && !ems.text.contains(&incident), "{}", ems.text);
    assert_eq!(stage.get(EMS, &format!("/api/v1/incidents/{incident}")).status, 404);
    assert_eq!(stage.get(EMS, "/api/v1/why?from=pd-1&to=fd-1").status, 404);
    let accept = format!("/api/v1/incidents/{incident}/accept");
    let answer = stage.post(FIRE, &accept, r#"{"links":[{"talkgroup":"fd-1"}]}"#);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(stage.get(FIRE, "/api/v1/incidents").json()[0]["incident"], incident.as_str());
    assert_eq!(stage.get(FIRE, "/api/v1/why?from=pd-1&to=fd-1").json()["routed"], true);
    for talkgroup in stage.get(FIRE, "/api/v1/talkgroups").json().as_array().unwrap() {
        let own = talkgroup["agency"] == "fire";
        for gateway in talkgroup["gateways"].as_array().unwrap() {
            assert!(own || gateway["peer"].is_null() && gateway["listens_on"].is_null(), "{talkgroup}");
        }
    }
}

#[test]
fn whoever_declined_or_was_removed_hears_no_more_of_the_incident() {
    let stage = Stage::new();
    let incident = stage.incident();
    let order = |name: &str| format!("/api/v1/incidents/{incident}/{name}");
    let invite_ems = r#"{"agency":"ems"}"#;
    assert_eq!(stage.post(POLICE, &order("invite"), invite_ems).status, 200);
    assert_eq!(stage.post(POLICE, &order("note"), r#"{"text":"while ringing"}"#).status, 200);
    assert_eq!(stage.post(EMS, &order("decline"), r#"{"reason":"busy"}"#).status, 200);
    assert_eq!(stage.post(FIRE, &order("accept"), "").status, 200);
    assert_eq!(stage.post(POLICE, &order("note"), r#"{"text":"with fire"}"#).status, 200);
    assert_eq!(stage.post(POLICE, &order("remove"), r#"{"agency":"fire"}"#).status, 200);
    assert_eq!(stage.post(POLICE, &order("note"), r#"{"text":"without fire"}"#).status, 200);
    let events = |token| stage.get(token, "/api/v1/events").text;
    for text in ["while ringing", "with fire", "without fire"] {
        assert!(events(POLICE).contains(text), "the host does not see {text:?}");
        assert!(!events(EMS).contains(text), "the agency that declined sees {text:?}");
    }
    assert!(events(EMS).contains("\"declined\"") && events(FIRE).contains("\"removed\""));
    assert!(events(FIRE).contains("with fire") && !events(FIRE).contains("without fire"), "{}", events(FIRE));
    assert!(!events(FIRE).contains("peer"), "an agency reads others' addresses in a configuration");
}

#[test]
fn an_incident_is_found_by_its_spoken_form_and_a_shared_beginning_is_ambiguous() {
    let stage = Stage::new();
    stage.incident();
    // As many as three agencies may host; the administrator sees them all.
    for token in [POLICE, FIRE, EMS] {
        while stage.post(token, "/api/v1/incidents", r#"{"title":"x"}"#).status == 200 {}
    }
    let all = stage.get(ADMIN, "/api/v1/incidents").json();
    assert!(all.as_array().unwrap().len() > 26, "too few to share one of 26 words");
    let spoken: Vec<&str> = all.as_array().unwrap().iter().map(|view| view["spoken"].as_str().unwrap()).collect();
    let found = stage.get(ADMIN, &format!("/api/v1/incidents/{}", spoken[0]));
    assert_eq!(found.json()["spoken"], spoken[0], "{found:?}");
    let shared = spoken
        .iter()
        .map(|spoken| spoken.split('-').next().unwrap())
        .find(|word| spoken.iter().filter(|spoken| spoken.split('-').next() == Some(word)).count() > 1);
    let answer = stage.get(ADMIN, &format!("/api/v1/incidents/{}", shared.expect("26 words for more incidents")));
    assert_eq!((answer.status, answer.code().as_str()), (409, "ambiguous"));
}

#[test]
fn the_same_key_is_answered_once_and_another_command_under_it_is_refused() {
    let stage = Stage::new();
    let open = |title: &str| {
        let body = format!(r#"{{"title":"{title}"}}"#);
        stage.post_with_key(POLICE, "/api/v1/incidents", &body, Some("key-1"))
    };
    let (first, again, other) = (open("one"), open("one"), open("two"));
    assert_eq!(first.text, again.text);
    assert_eq!((other.status, other.code().as_str()), (409, "key_reused"));
    assert_eq!(stage.get(POLICE, "/api/v1/incidents").json().as_array().unwrap().len(), 1);
}

/// Reads a stream's events until one contains the words.
fn stream_until(stage: &Stage, token: &str, query: &str, words: &str) -> Vec<Value> {
    let url = format!("ws://{}/api/v1/events/stream{query}", stage.served.address);
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let line = TcpStream::connect(stage.served.address).unwrap();
    line.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (mut socket, _) = tungstenite::client(request, line).unwrap();
    let mut events = Vec::new();
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            events.push(serde_json::from_str(&text).unwrap());
            if text.contains(words) {
                return events;
            }
        }
    }
}

#[test]
fn a_stream_goes_on_after_its_cursor_and_misses_nothing() {
    let stage = Stage::new();
    let incident = stage.incident();
    let note = |text: &str| {
        let path = format!("/api/v1/incidents/{incident}/note");
        assert_eq!(stage.post(POLICE, &path, &format!(r#"{{"text":"{text}"}}"#)).status, 200);
    };
    note("first");
    let page = stage.get(POLICE, "/api/v1/events").json();
    let next = page["next"].as_str().unwrap().to_owned();
    note("second");
    note("third");
    let streamed = stream_until(&stage, POLICE, &format!("?after={next}"), "third");
    let texts: Vec<&str> = streamed.iter().filter_map(|event| event["recorded"]["event"]["text"].as_str()).collect();
    assert_eq!(texts, ["second", "third"]);
    let after_second = streamed.iter().find(|event| event["recorded"]["event"]["text"] == "second").unwrap();
    let cursor = after_second["cursor"].as_str().unwrap();
    let again = stream_until(&stage, POLICE, &format!("?after={cursor}"), "third");
    assert!(!again.iter().any(|event| event["recorded"]["event"]["text"] == "second"), "the cursor gave it twice");
    for cursor in ["c7fffffffffffffff", "nonsense", "c"] {
        let answer = stage.get(POLICE, &format!("/api/v1/events?after={cursor}"));
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{cursor}");
    }
}

#[test]
fn no_answer_event_or_figure_holds_a_token() {
    let stage = Stage::new();
    stage.incident();
    let (settings, ..) = config::parse(include_str!("../config/demo.toml"), "demo.toml").unwrap();
    let shown = format!("{settings:?}");
    for token in [ADMIN, POLICE, FIRE, EMS] {
        let texts = READS.map(|path| stage.get(ADMIN, path).text);
        let more = [stage.get("", "/metrics").text, stage.get("wrong", "/api/v1/roster").text, shown.clone()];
        assert!(texts.iter().chain(&more).all(|text| !text.contains(token)), "{token} is shown");
    }
}

/// What a file knows of a token.
fn digest(token: &str) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_plan_names_what_only_a_start_reads() {
    let stage = Stage::new();
    let text = std::fs::read_to_string(stage.folder.path().join("crosspatch.toml")).unwrap();
    let same = stage.post(ADMIN, "/api/v1/plan", &text);
    assert_eq!(same.json()["lines"], Value::Array(vec![]), "{same:?}");
    let other = text.replacen("[server]", "[server]\nshards = 3", 1);
    let plan = stage.post(ADMIN, "/api/v1/plan", &other);
    assert_eq!(plan.json()["lines"][0], "server.shards changes at the next start", "{plan:?}");
}

#[test]
fn a_plan_changes_nothing_and_a_reload_does_what_it_said() {
    let stage = Stage::new();
    let file = stage.folder.path().join("crosspatch.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let narrowed = text.replace("name = \"Police dispatch 1\"", "name = \"Police dispatch 1\"\npatchable = \"never\"");
    assert_ne!(text, narrowed);
    stage.incident();
    let before = stage.decided();
    let plan = stage.post(ADMIN, "/api/v1/plan", &narrowed);
    assert!(plan.text.contains("unlinks"), "{plan:?}");
    assert_eq!(stage.decided(), before, "a plan changed something");
    let faulty = stage.post(ADMIN, "/api/v1/plan", "[server]\nnoode = 1\n");
    assert_eq!(faulty.status, 422, "{faulty:?}");
    assert_eq!(stage.post(POLICE, "/api/v1/plan", &narrowed).code(), "not_allowed");
    assert_eq!(stage.post(POLICE, "/api/v1/reload", "").code(), "not_allowed");
    std::fs::write(&file, narrowed).unwrap();
    let reload = stage.post(ADMIN, "/api/v1/reload", "");
    assert_eq!((reload.status, &reload.json()["lines"]), (200, &plan.json()["lines"]), "{reload:?}");
    assert_eq!(stage.get(POLICE, "/api/v1/incidents").json()[0]["patches"][0]["links"], Value::Array(vec![]));
}

#[test]
fn the_description_is_whole_and_every_page_of_it_is_there() {
    let stage = Stage::new();
    let document = stage.get("", "/api/openapi.json").json();
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 30, "only {} references", references.len());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let commands = document["components"]["schemas"]["Command"].to_string();
    for name in
        ["open_incident", "accept", "link", "cut", "restore", "beat", "confirm_change", "adopt", "end_isolation"]
    {
        assert!(commands.contains(&format!("\"{name}\"")), "{name} is not described");
    }
    let refusals = document["components"]["schemas"]["Refusal"].to_string();
    for code in crosspatch::domain::refusal::Refusal::CODES {
        assert!(refusals.contains(&format!("\"{code}\"")), "{code} is not described");
    }
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace(['{', '}'], "");
        let get = methods.get("get").is_some();
        let answer = if get { stage.get(POLICE, &path) } else { stage.post(POLICE, &path, "{") };
        assert!(!answer.text.contains("no such route") && answer.status != 405, "{path}: {answer:?}");
    }
}

/// A file is checked before it is adopted; a value out of a request is not.
#[test]
fn no_configuration_is_adopted_that_is_not_the_daemons_own_file() {
    let stage = Stage::new();
    let adopt = Command::Adopt { configuration: Box::default() };
    let answer = stage.post(ADMIN, "/api/v1/commands", &serde_json::to_string(&adopt).unwrap());
    assert!(answer.status == 400 && answer.text.contains("/api/v1/reload"), "{answer:?}");
}

fn collect_references(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect_references(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_references(value, references)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn an_address_that_others_reach_needs_tls() {
    let (mut settings, ..) = config::parse(include_str!("../config/demo.toml"), "demo.toml").unwrap();
    assert!(api::check_address(&settings).is_ok());
    for address in ["0.0.0.0:0", "192.0.2.1:8080", "[::]:0"] {
        settings.http = address.parse::<SocketAddr>().unwrap();
        assert!(api::check_address(&settings).unwrap_err().contains("tls"), "{address}");
    }
}
