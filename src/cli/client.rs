//! HTTP towards the daemon: one request, one answer, with an end to all waiting. Holds the token and never shows it.
//!
//! What can go wrong: nobody listens (exit 3), the daemon refuses (exit 1, its own sentence), the answer is not ours.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::Agent;
use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::fault::CliFault;
use super::reach;
use crate::dispatch::control::Answer;
use crate::dispatch::view::Roster;
use crate::domain::command::Command;

// Where the daemon is and who asks. The token itself is never an argument: process lists are public. No doc comment: it
// would stand in the help of each verb instead of the verb's own.
#[derive(Args, Clone, Debug)]
pub(super) struct Target {
    /// Address of the daemon
    #[arg(long, env = "CROSSPATCH_URL", default_value = "http://127.0.0.1:8080", global = true)]
    pub url: String,
    /// File that holds the token; without it the environment variable CROSSPATCH_TOKEN is read
    #[arg(long, value_name = "FILE", env = "CROSSPATCH_TOKEN_FILE", global = true)]
    token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust for https; without it those of the system
    #[arg(long, value_name = "FILE", env = "CROSSPATCH_CA", global = true)]
    pub ca: Option<PathBuf>,
}

impl Target {
    /// The token, wherever it is kept.
    pub fn token(&self) -> Result<String, CliFault> {
        let text = match &self.token_file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|fault| CliFault::Usage(format!("token file {}: {fault}", path.display())))?,
            None => std::env::var("CROSSPATCH_TOKEN").unwrap_or_default(),
        };
        let token = text.trim().to_owned();
        if token.is_empty() {
            return Err(CliFault::Usage("no token: set CROSSPATCH_TOKEN, or give --token-file FILE".to_owned()));
        }
        if !token.chars().all(|c| c.is_ascii_graphic()) {
            return Err(CliFault::Usage("the token has characters that cannot be sent".to_owned()));
        }
        Ok(token)
    }

    /// Where the token was found, for whoever has the wrong one.
    pub fn token_place(&self) -> String {
        self.token_file.as_ref().map_or_else(|| "CROSSPATCH_TOKEN".to_owned(), |path| path.display().to_string())
    }

    /// The certificates to trust, as PEM.
    pub fn trusted(&self) -> Result<Vec<u8>, CliFault> {
        let path = self.ca.as_deref().unwrap_or(Path::new(SYSTEM_CERTIFICATES));
        std::fs::read(path).map_err(|fault| {
            CliFault::Usage(format!("https needs certificates to trust: {}: {fault}; give --ca FILE", path.display()))
        })
    }
}

/// One daemon, as one holder of a token sees it.
pub(super) struct Client {
    agent: Agent,
    url: String,
    bearer: String,
    token_place: String,
}

impl Client {
    pub fn new(target: &Target) -> Result<Self, CliFault> {
        let url = target.url.trim_end_matches('/').to_owned();
        let mut config = Agent::config_builder()
            .timeout_connect(Some(CONNECT_PATIENCE))
            .timeout_global(Some(ANSWER_PATIENCE))
            .http_status_as_error(false)
            // Tokens go where they were told to go, not where an answer or the environment sends them.
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("crosspatch/", env!("CARGO_PKG_VERSION")));
        if url.starts_with("https://") {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let certificates = parse_pem(&target.trusted()?).filter_map(Result::ok).filter_map(certificate).collect();
            let roots = RootCerts::Specific(std::sync::Arc::new(certificates));
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        } else if !url.starts_with("http://") {
            return Err(CliFault::Usage(format!("{url:?} is no address: it begins with http:// or https://")));
        }
        let bearer = format!("Bearer {}", target.token()?);
        Ok(Self { agent: config.build().into(), url, bearer, token_place: target.token_place() })
    }

    /// Everything this token may see.
    pub fn roster(&self) -> Result<Roster, CliFault> {
        self.get("/api/v1/roster", &[])
    }

    pub fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, CliFault> {
        let request = self.agent.get(format!("{}{path}", self.url)).header("Authorization", &self.bearer);
        let asked = query.iter().fold(request, |request, (name, value)| request.query(name, value)).call();
        self.read(asked)
    }

    /// Posts a text; an empty one for requests that need none.
    pub fn post<T: DeserializeOwned>(&self, path: &str, text: &str) -> Result<T, CliFault> {
        let request = self.agent.post(format!("{}{path}", self.url)).header("Authorization", &self.bearer);
        self.read(request.content_type("application/toml").send(text))
    }

    /// Asks for a command once, whatever the network does: the key makes a second try the same request.
    pub fn command(&self, command: &Command) -> Result<Answer, CliFault> {
        let key = fresh_key()?;
        match self.command_with(command, &key) {
            Err(Lost::Later(_)) => self.command_with(command, &key).map_err(Lost::fault),
            other => other.map_err(Lost::fault),
        }
    }

    fn command_with(&self, command: &Command, key: &str) -> Result<Answer, Lost> {
        let request = self
            .agent
            .post(format!("{}/api/v1/commands", self.url))
            .header("Authorization", &self.bearer)
            .header("Idempotency-Key", key);
        match request.send_json(command) {
            Err(fault) if has_been_sent(&fault) => Err(Lost::Later(self.unreachable(&fault))),
            asked => self.read(asked).map_err(Lost::Fault),
        }
    }

    fn read<T: DeserializeOwned>(&self, asked: Result<Response<ureq::Body>, ureq::Error>) -> Result<T, CliFault> {
        let mut response = asked.map_err(|fault| self.unreachable(&fault))?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_string();
        let text = body.map_err(|fault| self.unreachable(&fault))?;
        if status.is_success() {
            let foreign = |fault| {
                CliFault::Failed(format!("{} does not answer like this version of Crosspatch: {fault}", self.url))
            };
            return serde_json::from_str(&text).map_err(foreign);
        }
        Err(refused(status.as_u16(), &text, &self.url, &self.token_place))
    }

    fn unreachable(&self, fault: &ureq::Error) -> CliFault {
        reach::unreachable(&self.url, fault)
    }
}

/// An error answer: ours have a sentence, a stranger's only a number.
pub(super) fn refused(status: u16, text: &str, url: &str, token_place: &str) -> CliFault {
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    let Some(sentence) = body.get("sentence").and_then(Value::as_str) else {
        return CliFault::Failed(format!("{url} answered {status}: is that the daemon's address?"));
    };
    let faults = body.get("faults").and_then(Value::as_str).map(|faults| format!("{}\n\n", faults.trim_end()));
    let from = if status == 401 { format!(" It was read from {token_place}.") } else { String::new() };
    CliFault::Refused { sentence: format!("{}{sentence}{from}", faults.unwrap_or_default()), body }
}

/// Why a command has no answer.
enum Lost {
    /// It may have arrived: the same request may be sent again.
    Later(CliFault),
    Fault(CliFault),
}

impl Lost {
    fn fault(self) -> CliFault {
        match self {
            Lost::Later(CliFault::Unreachable(text)) => CliFault::Unreachable(format!(
                "{text}\nNobody knows whether the command took effect: look at the roster before you repeat it."
            )),
            Lost::Later(fault) | Lost::Fault(fault) => fault,
        }
    }
}

/// A connection that was never made has carried nothing.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is ureq's and not exhaustive")]
fn has_been_sent(fault: &ureq::Error) -> bool {
    use std::io::ErrorKind;
    match fault {
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => false,
        ureq::Error::Timeout(_) => true,
        ureq::Error::Io(fault) => matches!(
            fault.kind(),
            ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
        ),
        _ => false,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a PEM file may hold anything; certificates are wanted")]
fn certificate(item: PemItem<'static>) -> Option<ureq::tls::Certificate<'static>> {
    match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    }
}

fn fresh_key() -> Result<String, CliFault> {
    let halves = getrandom::u64().and_then(|high| Ok((high, getrandom::u64()?)));
    halves
        .map(|(high, low)| format!("{high:016x}{low:016x}"))
        .map_err(|fault| CliFault::Failed(format!("no randomness: {fault}")))
}

/// The daemon is near; whoever does not accept in this time is down.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// A command is answered in milliseconds, a plan of a large file in seconds.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);
/// The roster of a large region is some megabytes.
const BODY_BYTES_MAX: u64 = 64 << 20;
/// Where Debian keeps what it trusts.
const SYSTEM_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_answer_speaks_the_daemons_sentence_and_a_strangers_does_not() {
        let body = r#"{"code":"not_host","sentence":"Only the host (fire) can do that.","host":"fire"}"#;
        let fault = refused(403, body, "http://here", "CROSSPATCH_TOKEN");
        assert_eq!(fault.text(false), "Only the host (fire) can do that.");
        assert_eq!(fault.text(true).parse::<Value>().unwrap()["host"], "fire");
        let unknown = r#"{"code":"wrong_token","sentence":"This token is not known."}"#;
        let unknown = refused(401, unknown, "http://here", "/etc/token").to_string();
        assert_eq!(unknown, "This token is not known. It was read from /etc/token.");
        let stranger = refused(404, "<html>no</html>", "http://here", "CROSSPATCH_TOKEN");
        assert_eq!(stranger.to_string(), "http://here answered 404: is that the daemon's address?");
    }
}
