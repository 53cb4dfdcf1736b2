//! The daemon's own file, read again: by SIGHUP and over the API alike. All of it is read and judged first, secrets and
//! certificate too; then what dispatch allows is adopted, and only with it tokens and certificate change. What is read at
//! start only is named, so that nobody takes it for changed.

use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use rustls::ServerConfig;
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::{self, Settings};
use crate::dispatch::{decide, plan};
use crate::domain::command::{Command, Principal, Role};
use crate::domain::configuration::Configuration;
use crate::domain::random::Entropy;
use crate::domain::refusal::Refusal;
use crate::io::clock;

use super::fault::{ApiFault, Refused};
use super::routes::{Answered, Who, ask, read};
use super::tokens::Known;
use super::{Door, tls};

/// What a file would change.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanView {
    pub lines: Vec<String>,
}

/// A text without faults.
struct Judged {
    settings: Settings,
    configuration: Configuration,
}

impl Judged {
    fn of(bytes: &[u8], name: &str) -> Result<Self, ApiFault> {
        let parsed = config::text(bytes, name).and_then(|text| config::parse(text, name));
        let (settings, configuration, _) = parsed.map_err(|faults| ApiFault::Faulty(config::render(&faults)))?;
        Ok(Self { settings, configuration })
    }

    /// What adopting it would do, without doing it.
    fn plan(&self, door: &Door, principal: &Principal) -> Result<PlanView, ApiFault> {
        let seen = Arc::clone(&door.link.seen.borrow());
        let adopt = Command::Adopt { configuration: Box::new(self.configuration.clone()) };
        let mut lines = match decide(&seen.state, &adopt, principal, clock::now(), &mut Entropy::new(seen.position)) {
            Ok(records) => plan::lines(&seen.state.configuration, &records),
            Err(Refusal::NothingToDo) => Vec::new(),
            Err(refusal) => return Err(refusal.into()),
        };
        lines.extend(door.tokens.differences(&self.settings.tokens));
        let later = door.started_with.changed_at_start(&self.settings);
        lines.extend(later.into_iter().map(|key| format!("server.{key} changes at the next start")));
        Ok(PlanView { lines })
    }
}

/// The daemon's own file and what it names, read.
struct Reread {
    text: Vec<u8>,
    judged: Judged,
    tokens: Known,
    certificate: Option<Arc<ServerConfig>>,
}

impl Reread {
    /// May wait for a disk.
    fn from(path: &Path) -> Result<Self, ApiFault> {
        let name = path.display().to_string();
        let text = std::fs::read(path).map_err(|fault| ApiFault::Failed(format!("{name}: {fault}")))?;
        let judged = Judged::of(&text, &name)?;
        let tokens = Known::read(&judged.settings.tokens).map_err(ApiFault::Faulty)?;
        let certificate = judged.settings.tls.as_ref().map(tls::load).transpose().map_err(ApiFault::Faulty)?;
        Ok(Self { text, judged, tokens, certificate })
    }
}

/// What adopting a TOML text would do. Nothing is changed, and no file that it names is opened.
#[utoipa::path(post, path = "/api/v1/plan", request_body(content = String, content_type = "application/toml"),
    responses((status = 200, body = PlanView), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn show_plan(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
    body: Result<Bytes, BytesRejection>,
) -> Answered<PlanView> {
    let body = read(body)?;
    check_role(&principal)?;
    Judged::of(&body, "configuration")?.plan(&door, &principal).map(Json)
}

/// Reads the daemon's own file again and adopts it.
#[utoipa::path(post, path = "/api/v1/reload", responses((status = 200, body = PlanView), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn reload(State(door): State<Arc<Door>>, Who(principal): Who) -> Answered<PlanView> {
    read_again(&door, principal).await.map(Json)
}

/// Reads the daemon's own file again and adopts it, all of it or nothing. What has changed, a line each.
pub async fn read_again(door: &Door, principal: Principal) -> Result<PlanView, ApiFault> {
    check_role(&principal)?;
    let path = door.config_path.clone();
    let reread = tokio::task::spawn_blocking(move || Reread::from(&path)).await;
    let Reread { text, judged, tokens, certificate } =
        reread.map_err(|fault| ApiFault::Failed(fault.to_string()))??;
    let mut plan = judged.plan(door, &principal)?;
    let adopt = Command::Adopt { configuration: Box::new(judged.configuration) };
    match ask(door, adopt, principal, &HeaderMap::new()).await {
        Ok(_) => {}
        Err(ApiFault::Refused(refusal)) if *refusal == Refusal::NothingToDo => {}
        // Adopted all the same.
        Err(ApiFault::Refused(refusal)) if *refusal == Refusal::MediaLate => plan.lines.push(refusal.to_string()),
        Err(fault) => return Err(fault),
    }
    door.tokens.replace(tokens);
    if let (Some(served), Some(certificate)) = (door.certificate.get(), certificate) {
        served.reload_from_config(certificate);
    }
    (door.keep_text)(&door.data_dir, &String::from_utf8_lossy(&text));
    Ok(plan)
}

fn check_role(principal: &Principal) -> Result<(), ApiFault> {
    match principal.role {
        Role::Admin => Ok(()),
        Role::Dispatcher | Role::Observer => {
            Err(Refusal::NotAllowed { needs: "the role of an administrator".to_owned() }.into())
        }
    }
}
