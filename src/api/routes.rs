//! One function a route. Each finds its principal first, touches nothing but control, and answers values.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, body::Bytes};
use serde::{Deserialize, Serialize};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::config;
use crate::daemon;
use crate::dispatch::control::Answer;
use crate::dispatch::view::{IncidentView, Roster, roster};
use crate::dispatch::why::{Why, why};
use crate::dispatch::{decide, plan};
use crate::domain::command::{Command, Principal, Role};
use crate::domain::configuration::Configuration;
use crate::domain::id::{AgencyId, TalkgroupId};
use crate::domain::random::Entropy;
use crate::domain::refusal::Refusal;
use crate::io::clock;

use super::events::{EventPage, PAGE_MAX, Viewer, page, position_of, stream};
use super::fault::ApiFault;
use super::{BODY_BYTES_MAX, Door, SUBSCRIBERS_MAX, document, metrics};

/// All routes.
pub fn router(door: Arc<Door>, answer_within: Duration) -> Router {
    let timed = Router::new()
        .route("/api/v1/commands", post(command))
        .route("/api/v1/roster", get(show_roster))
        .route("/api/v1/incidents", get(show_incidents))
        .route("/api/v1/incidents/{incident}", get(show_incident))
        .route("/api/v1/why", get(show_why))
        .route("/api/v1/events", get(show_events))
        .route("/api/v1/plan", post(show_plan))
        .route("/api/v1/reload", post(reload))
        .route("/api/openapi.json", get(show_openapi))
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, answer_within));
    Router::new()
        .merge(timed)
        .route("/api/v1/events/stream", get(subscribe))
        .fallback(async || ApiFault::Absent("There is no such route; see /api/openapi.json.".to_owned()))
        .method_not_allowed_fallback(async || {
            let text = "This route takes another method; see /api/openapi.json.".to_owned();
            (StatusCode::METHOD_NOT_ALLOWED, ApiFault::Bad(text)).into_response()
        })
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .with_state(door)
}

/// Who asks.
struct Who(Principal);

impl FromRequestParts<Arc<Door>> for Who {
    type Rejection = ApiFault;
    async fn from_request_parts(parts: &mut Parts, door: &Arc<Door>) -> Result<Self, ApiFault> {
        door.counters.requests.fetch_add(1, Ordering::Relaxed);
        let source = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let source = source.unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
        let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        door.tokens.principal(authorization, source, clock::mono()).map(Who).map_err(ApiFault::Unknown)
    }
}

type Answered<T> = Result<Json<T>, ApiFault>;

async fn command(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
    headers: axum::http::HeaderMap,
    body: Result<Json<Command>, JsonRejection>,
) -> Answered<Answer> {
    let Json(command) = body.map_err(|why| unreadable(&why))?;
    let key = headers.get("idempotency-key").map(|key| key.to_str().map(str::to_owned)).transpose();
    let key = key.map_err(|_| ApiFault::Bad("An idempotency key is plain text.".to_owned()))?;
    if key.as_ref().is_some_and(|key| key.len() > KEY_LENGTH_MAX) {
        return Err(ApiFault::Bad(format!("An idempotency key has at most {KEY_LENGTH_MAX} characters.")));
    }
    ask(&door, command, principal, key).await.map(Json)
}

async fn ask(door: &Door, command: Command, principal: Principal, key: Option<String>) -> Result<Answer, ApiFault> {
    door.link.ask(command, principal, key).await.map_err(|refusal| {
        if let Some(at) = Refusal::CODES.iter().position(|code| *code == refusal.code()) {
            door.counters.refusals[at].fetch_add(1, Ordering::Relaxed);
        }
        refusal.into()
    })
}

fn unreadable(why: &JsonRejection) -> ApiFault {
    if why.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return ApiFault::TooLong;
    }
    ApiFault::Bad(why.body_text())
}

async fn show_roster(State(door): State<Arc<Door>>, Who(principal): Who) -> Json<Roster> {
    Json(roster_for(&door, principal.agency.as_ref()))
}

fn roster_for(door: &Door, agency: Option<&AgencyId>) -> Roster {
    let seen = Arc::clone(&door.link.seen.borrow());
    roster(&seen.state, &seen.live, &seen.bound, agency, clock::now())
}

async fn show_incidents(State(door): State<Arc<Door>>, Who(principal): Who) -> Json<Vec<IncidentView>> {
    Json(roster_for(&door, principal.agency.as_ref()).incidents)
}

/// By full id, or by the form for the air where that is unique.
async fn show_incident(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
    Path(wanted): Path<String>,
) -> Answered<IncidentView> {
    let incidents = roster_for(&door, principal.agency.as_ref()).incidents;
    let mut found = incidents.into_iter().filter(|view| view.incident.to_string() == wanted || view.spoken == wanted);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(Json(one)),
        (Some(_), Some(_)) => Err(Refusal::Ambiguous { short: wanted }.into()),
        (None, _) => Err(ApiFault::Absent(format!("You are in no incident {wanted:?}."))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhyQuery {
    from: TalkgroupId,
    to: TalkgroupId,
}

async fn show_why(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
    query: Result<Query<WhyQuery>, axum::extract::rejection::QueryRejection>,
) -> Answered<Why> {
    let Query(WhyQuery { from, to }) = query.map_err(|why| ApiFault::Bad(why.body_text()))?;
    let seen = Arc::clone(&door.link.seen.borrow());
    if let Some(agency) = &principal.agency {
        let visible = roster(&seen.state, &seen.live, &seen.bound, Some(agency), clock::now()).talkgroups;
        for talkgroup in [&from, &to] {
            if !visible.iter().any(|view| view.talkgroup == *talkgroup) {
                return Err(ApiFault::Absent(format!("{talkgroup} is neither yours nor in an incident with you.")));
            }
        }
    }
    Ok(Json(why(&seen.state, &seen.live, &from, &to, clock::now())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventQuery {
    after: Option<String>,
    limit: Option<usize>,
}

async fn show_events(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
    query: Result<Query<EventQuery>, axum::extract::rejection::QueryRejection>,
) -> Answered<EventPage> {
    let Query(query) = query.map_err(|why| ApiFault::Bad(why.body_text()))?;
    let after = position_of(query.after.as_deref())?;
    let mut viewer = Viewer::new(principal.agency);
    page(&door.link, &mut viewer, after, query.limit.unwrap_or(PAGE_MAX)).await.map(Json)
}

async fn subscribe(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
    Query(query): Query<EventQuery>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, ApiFault> {
    let after = query.after.as_deref().map(|cursor| position_of(Some(cursor))).transpose()?;
    if door.counters.subscribers.fetch_add(1, Ordering::SeqCst) >= SUBSCRIBERS_MAX {
        door.counters.subscribers.fetch_sub(1, Ordering::SeqCst);
        door.counters.subscribers_refused.fetch_add(1, Ordering::Relaxed);
        return Err(ApiFault::Busy(format!("There are {SUBSCRIBERS_MAX} subscribers already.")));
    }
    let counted = Counted(Arc::clone(&door));
    Ok(upgrade.max_message_size(4096).on_upgrade(async move |socket| {
        let counted = counted;
        stream(socket, counted.0.link.clone(), Viewer::new(principal.agency), after).await;
    }))
}

/// A subscriber's place; given back however it ends, also when the upgrade never comes.
struct Counted(Arc<Door>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.counters.subscribers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a file would change.
#[derive(Debug, Serialize)]
struct PlanView {
    lines: Vec<String>,
}

async fn show_plan(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
    body: Result<Bytes, BytesRejection>,
) -> Answered<PlanView> {
    let body = body.map_err(|_| ApiFault::TooLong)?;
    let text = String::from_utf8(body.into()).map_err(|_| ApiFault::Bad("A configuration is UTF-8.".to_owned()))?;
    let (_, configuration, _) =
        config::parse(&text, "configuration").map_err(|faults| ApiFault::Faulty(config::render(&faults)))?;
    lines_of(&door, &principal, configuration).map(Json)
}

/// The lines of the plan, without carrying it out.
fn lines_of(door: &Door, principal: &Principal, configuration: Configuration) -> Result<PlanView, ApiFault> {
    if principal.role != Role::Admin {
        return Err(Refusal::NotAllowed { needs: "the role of an administrator".to_owned() }.into());
    }
    let seen = Arc::clone(&door.link.seen.borrow());
    let adopt = Command::Adopt { configuration: Box::new(configuration) };
    match decide(&seen.state, &adopt, principal, clock::now(), &mut Entropy::new(seen.position)) {
        Ok(records) => Ok(PlanView { lines: plan::lines(&seen.state.configuration, &records) }),
        Err(Refusal::NothingToDo) => Ok(PlanView { lines: Vec::new() }),
        Err(refusal) => Err(refusal.into()),
    }
}

/// Reads the daemon's own file again and adopts it.
async fn reload(State(door): State<Arc<Door>>, Who(principal): Who) -> Answered<PlanView> {
    let path = &door.config_path;
    let text = std::fs::read_to_string(path).map_err(|fault| ApiFault::Failed(format!("the file: {fault}")))?;
    let (_, configuration, _) =
        config::parse(&text, "configuration").map_err(|faults| ApiFault::Faulty(config::render(&faults)))?;
    let lines = lines_of(&door, &principal, configuration.clone())?;
    match ask(&door, Command::Adopt { configuration: Box::new(configuration) }, principal, None).await {
        Ok(_) => {
            daemon::keep_last_good(&door.data_dir, &text);
            Ok(Json(lines))
        }
        Err(ApiFault::Refused(refusal)) if *refusal == Refusal::NothingToDo => Ok(Json(lines)),
        Err(fault) => Err(fault),
    }
}

async fn show_openapi() -> impl IntoResponse {
    Json(document())
}

async fn show_metrics(State(door): State<Arc<Door>>) -> impl IntoResponse {
    let text = metrics::text(&door);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

/// The process lives and control answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Recovered, every shard has its routes, and the journal records.
async fn readyz(State(door): State<Arc<Door>>) -> Response {
    let seen = Arc::clone(&door.link.seen.borrow());
    match (&seen.journal.alarm, seen.ready) {
        (None, true) => "ready\n".into_response(),
        (None, false) => (StatusCode::SERVICE_UNAVAILABLE, "shards are being told their routes\n").into_response(),
        (Some(_), _) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the journal does not record; cuts still work\n").into_response()
        }
    }
}

/// Longest idempotency key: a UUID and a prefix.
const KEY_LENGTH_MAX: usize = 128;
