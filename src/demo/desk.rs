//! A dispatcher's desk: the daemon's HTTP API with one agency's token, as any client would use it.

use std::net::SocketAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::dispatch::control::Answer;
use crate::dispatch::view::Roster;
use crate::dispatch::why::Why;
use crate::domain::command::Command;
use crate::domain::event::Event;
use crate::domain::id::{AgencyId, PositionId, TalkgroupId};

/// See the file's head.
#[derive(Clone, Debug)]
pub struct Desk {
    agent: ureq::Agent,
    door: String,
    token: String,
    pub agency: AgencyId,
    position: PositionId,
}

impl Desk {
    /// The desk of an agency of the demo's configuration: its tokens are printed there.
    pub fn of(agency: &str, door: SocketAddr) -> Result<Self, String> {
        let position = PositionId::new(&format!("{agency}-desk")).map_err(|fault| fault.to_string())?;
        Ok(Self {
            agent: agent(),
            door: format!("http://{door}"),
            token: format!("Bearer demo-{agency}"),
            agency: AgencyId::new(agency).map_err(|fault| fault.to_string())?,
            position,
        })
    }

    /// Sends a command; the events it led to, or the refusal's sentence. A cut that a slow disk has not confirmed yet is
    /// in force all the same, and that is what is judged.
    pub fn order(&self, command: &Command) -> Result<Vec<Event>, String> {
        let post = self.agent.post(format!("{}/api/v1/commands", self.door)).header("authorization", &self.token);
        let (Answer::Done { records } | Answer::EffectiveNotRecorded { records, cause: _ }) =
            self.answer(post.send_json(command))?;
        Ok(records.into_iter().map(|recorded| recorded.event).collect())
    }

    /// Somebody sits here.
    pub fn beat(&self) -> Result<(), String> {
        self.order(&Command::Beat { position: self.position.clone() }).map(|_| ())
    }

    /// What this agency may see.
    pub fn roster(&self) -> Result<Roster, String> {
        self.get("roster")
    }

    /// Why `to` does not hear `from`, or that it does.
    pub fn why(&self, from: &TalkgroupId, to: &TalkgroupId) -> Result<Why, String> {
        self.get(&format!("why?from={from}&to={to}"))
    }

    fn get<T: DeserializeOwned>(&self, what: &str) -> Result<T, String> {
        let get = self.agent.get(format!("{}/api/v1/{what}", self.door)).header("authorization", &self.token);
        self.answer(get.call())
    }

    fn answer<T: DeserializeOwned>(
        &self,
        answered: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, String> {
        let fault = |fault: ureq::Error| format!("the daemon does not answer the desk of {}: {fault}", self.agency);
        let mut response = answered.map_err(fault)?;
        if response.status().is_success() {
            return response.body_mut().read_json().map_err(fault);
        }
        let refused: Value = response.body_mut().read_json().map_err(fault)?;
        let sentence = refused["sentence"].as_str().unwrap_or("no reason was given");
        Err(format!("refused to {}: {sentence}", self.agency))
    }
}

/// Whether the daemon says that it is ready.
pub fn is_ready(door: SocketAddr) -> bool {
    agent().get(format!("http://{door}/readyz")).call().is_ok_and(|response| response.status().is_success())
}

/// One connection for each request: a daemon that was killed leaves dead ones behind.
fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .max_idle_connections(0)
        .build();
    config.into()
}

/// Cuts are answered in milliseconds; a busy machine may be slower.
const PATIENCE: Duration = Duration::from_secs(10);
