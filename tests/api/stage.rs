//! The real API on a real control task, a real journal in a scratch folder and real media threads, on loopback.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crosspatch::api::limits::DoorLimits;
use crosspatch::api::tokens::{Known, TokenTable};
use crosspatch::api::{self, Door, DoorCounters, Served};
use crosspatch::config::{self, Settings};
use crosspatch::domain::command::{Command, Principal, Role};
use crosspatch::domain::id::{NodeId, UserId};
use crosspatch::domain::refusal::Refusal;
use crosspatch::io::control_link::ControlLink;
use crosspatch::io::control_task::{self, ControlEnds, ControlParts};
use crosspatch::io::media;
use crosspatch::io::store::Store;
use crosspatch::media::limits::ShardLimits;
use serde_json::Value;
use tokio::runtime::Runtime;

pub const POLICE: &str = "demo-police";
pub const FIRE: &str = "demo-fire";
pub const EMS: &str = "demo-ems";
pub const ADMIN: &str = "demo-admin";

/// A daemon's inside with its door open.
pub struct Stage {
    pub runtime: Runtime,
    pub served: Served,
    pub folder: tempfile::TempDir,
    pub link: ControlLink,
    agent: ureq::Agent,
    pub ends: ControlEnds,
}

/// An answer: status, headers that matter, body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub challenge: Option<String>,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Stage {
    /// Three agencies, as in the demo.
    pub fn new() -> Self {
        Self::with(DoorLimits::default(), |_| ())
    }

    /// The same with limits that a test can reach, and other settings.
    pub fn with(limits: DoorLimits, set: impl FnOnce(&mut Settings)) -> Self {
        Self::of(include_str!("../../config/demo.toml"), limits, set)
    }

    /// Any configuration.
    pub fn of(text: &str, limits: DoorLimits, set: impl FnOnce(&mut Settings)) -> Self {
        let (mut settings, configuration, _) = config::parse(text, "demo.toml").unwrap();
        set(&mut settings);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("crosspatch.toml"), text).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let entered = runtime.enter();
        let (store, recovered) = Store::open(&folder.path().join("data"), false).unwrap();
        let flags = rustix::pipe::PipeFlags::NONBLOCK | rustix::pipe::PipeFlags::CLOEXEC;
        let (told, tell) = rustix::pipe::pipe_with(flags).unwrap();
        let shards = media::start(1, &ShardLimits::default(), NodeId(1), &[1, 2], &Arc::new(tell)).unwrap();
        let stats = shards.iter().map(|shard| Arc::clone(&shard.stats)).collect();
        let media_ports = settings.media_ports;
        let parts = ControlParts { store, state: recovered.state, shards, told, media_ports, seed: 3 };
        let (ends, _) = control_task::spawn(parts).unwrap();
        let link = ends.link.clone();
        let door = Arc::new(Door {
            link: link.clone(),
            tokens: TokenTable::new(Known::read(&settings.tokens).unwrap()),
            started_with: settings.clone(),
            certificate: OnceLock::new(),
            stats,
            config_path: folder.path().join("crosspatch.toml"),
            data_dir: folder.path().to_owned(),
            keep_text: |_: &Path, _: &str| (),
            limits,
            counters: DoorCounters::default(),
            telephony: std::sync::OnceLock::new(),
        });
        let adopt = Command::Adopt { configuration: Box::new(configuration) };
        let file = Principal { user: UserId::new("file").unwrap(), agency: None, role: Role::Admin };
        // On a machine that is too busy for its media threads the same is asked again.
        while let Err(refusal) = runtime.block_on(link.ask(adopt.clone(), file.clone(), None)) {
            if refusal == Refusal::NothingToDo {
                break;
            }
            assert_eq!(refusal, Refusal::MediaLate);
        }
        let served = runtime.block_on(api::serve(door, api::bind(&settings).unwrap(), &settings)).unwrap();
        drop(entered);
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        Self { runtime, served, folder, link, agent, ends }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.served.address)
    }

    pub fn get(&self, token: &str, path: &str) -> Answer {
        let mut request = self.agent.get(self.url(path));
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        answer(request.call().unwrap())
    }

    pub fn post(&self, token: &str, path: &str, body: &str) -> Answer {
        self.post_with_key(token, path, body, None)
    }

    pub fn post_with_key(&self, token: &str, path: &str, body: &str, key: Option<&str>) -> Answer {
        let mut request = self.agent.post(self.url(path));
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        answer(request.send(body).unwrap())
    }

    /// An incident of the police with one talkgroup, fire invited; its id.
    pub fn incident(&self) -> String {
        let body = r#"{"title":"Harbour","invite":["fire"],"links":[{"talkgroup":"pd-1"}]}"#;
        let answer = self.post(POLICE, "/api/v1/incidents", body);
        assert_eq!(answer.status, 200, "{answer:?}");
        self.get(POLICE, "/api/v1/incidents").json()[0]["incident"].as_str().unwrap().to_owned()
    }

    /// A counter of the door, by what it counts.
    pub fn counted(&self, what: &str) -> u64 {
        let metrics = self.get("", "/metrics").text;
        let line = format!("crosspatch_http_total{{what=\"{what}\"}} ");
        let value = metrics.lines().find_map(|metric| metric.strip_prefix(line.as_str()));
        value.unwrap_or_else(|| panic!("nobody counts {what}: {metrics}")).parse().unwrap()
    }

    /// What commands change: everything of the administrator's roster but times and what media says.
    pub fn decided(&self) -> Value {
        let roster = self.get(ADMIN, "/api/v1/roster").json();
        let mut kept = Value::Null;
        for part in ["cuts", "proposed", "emergencies"] {
            kept[part] = roster[part].clone();
        }
        let state = self.link.seen.borrow().state.clone();
        kept["incidents"] = serde_json::to_value(&state.incidents).unwrap();
        kept["configuration"] = serde_json::to_value(&*state.configuration).unwrap();
        kept
    }
}

pub fn answer(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let challenge = response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    Answer { status, challenge, text: response.body_mut().read_to_string().unwrap() }
}
