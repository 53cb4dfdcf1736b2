//! One function a route. Each finds its principal first, touches nothing but control, and answers values.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, body::Bytes};
use serde::Deserialize;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::config::Settings;
use crate::dispatch::control::Answer;
use crate::dispatch::sight::{Sight, find_incident, veiled};
use crate::dispatch::view::{EmergencyView, IncidentView, Roster, TalkgroupView, roster};
use crate::dispatch::why::{Why, why};
use crate::domain::command::{Command, Principal};
use crate::domain::event::{Alarm, Recorded};
use crate::domain::id::{AgencyId, IncidentId, TalkgroupId};
use crate::domain::refusal::Refusal;
use crate::io::clock;

use super::events::{Ended, EventPage, PAGE_MAX, known_position, page, stream};
use super::fault::{ApiFault, Refused};
use super::{BODY_BYTES_MAX, Door, document, metrics};
use super::{orders, reload};

/// All routes. Where others than this machine can ask, figures are for tokens.
pub(super) fn router(door: Arc<Door>, settings: &Settings) -> Router {
    let figures = if settings.http.ip().is_loopback() { get(show_metrics) } else { get(show_metrics_to_host) };
    let timed = Router::new()
        .route("/api/v1/commands", post(command))
        .route("/api/v1/roster", get(show_roster))
        .route("/api/v1/incidents", get(show_incidents).post(orders::open_incident))
        .route("/api/v1/incidents/{incident}/{order}", post(orders::order_incident))
        .route("/api/v1/links/{link}/{order}", post(orders::order_link))
        .route("/api/v1/emergencies", get(show_emergencies).post(orders::declare_emergency))
        .route("/api/v1/emergencies/{emergency}/{order}", post(orders::order_emergency))
        .route("/api/v1/talkgroups", get(show_talkgroups))
        .route("/api/v1/alarms", get(show_alarms))
        .route("/api/v1/incidents/{incident}", get(show_incident))
        .route("/api/v1/why", get(show_why))
        .route("/api/v1/events", get(show_events))
        .route("/api/v1/plan", post(reload::show_plan))
        .route("/api/v1/reload", post(reload::reload))
        .route("/api/openapi.json", get(show_openapi))
        .route("/metrics", figures)
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, door.limits.answer_within));
    Router::new()
        .merge(timed)
        .route("/api/v1/events/stream", get(subscribe))
        .fallback(async || ApiFault::Absent("There is no such route; see /api/openapi.json.".to_owned()))
        .method_not_allowed_fallback(async || {
            let text = "This route takes another method; see /api/openapi.json.".to_owned();
            (StatusCode::METHOD_NOT_ALLOWED, ApiFault::Bad(text)).into_response()
        })
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .layer(axum::middleware::map_response(worded))
        .with_state(door)
}

/// What a layer refused in plain text, in the words of the API.
async fn worded(response: Response) -> Response {
    let json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    match response.status() {
        StatusCode::PAYLOAD_TOO_LARGE if !json => ApiFault::TooLong.into_response(),
        StatusCode::REQUEST_TIMEOUT if !json => {
            let fault =
                ApiFault::Busy("The request or its answer took too long; look before you repeat it.".to_owned());
            (StatusCode::REQUEST_TIMEOUT, Json(fault.body())).into_response()
        }
        _ => response,
    }
}

/// Who asks.
pub(super) struct Who(pub(super) Principal);

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

pub(super) type Answered<T> = Result<Json<T>, ApiFault>;

/// Any command in its tagged form: {"do": "...", ...}.
#[utoipa::path(post, path = "/api/v1/commands", request_body = Command,
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key with the same command gives the same answer")),
    responses((status = 200, body = Object, description = "Done, or effective and not recorded"), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn command(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answered<Answer> {
    let command = orders::command_from(&read(body)?).map_err(ApiFault::Bad)?;
    if matches!(command, Command::Adopt { .. }) {
        return Err(ApiFault::Bad(
            "A configuration is adopted from the daemon's file, which is checked first: POST /api/v1/reload."
                .to_owned(),
        ));
    }
    ask(&door, command, principal, &headers).await.map(Json)
}

/// Puts a command to control; whoever acts for an agency reads no configuration in the answer.
pub(super) async fn ask(
    door: &Door,
    command: Command,
    principal: Principal,
    headers: &HeaderMap,
) -> Result<Answer, ApiFault> {
    let key = headers.get("idempotency-key").map(|key| key.to_str().map(str::to_owned)).transpose();
    let key = key.map_err(|_| ApiFault::Bad("An idempotency key is plain text.".to_owned()))?;
    if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > KEY_LENGTH_MAX) {
        return Err(ApiFault::Bad(format!("An idempotency key has 1 to {KEY_LENGTH_MAX} characters.")));
    }
    let sight = sight_of(door, &principal);
    let veil = |records: Vec<Recorded>| -> Vec<Recorded> {
        records.into_iter().map(|recorded| Arc::unwrap_or_clone(veiled(&sight, &Arc::new(recorded)))).collect()
    };
    match door.link.ask(command, principal, key).await {
        Ok(Answer::Done { records }) => Ok(Answer::Done { records: veil(records) }),
        Ok(Answer::EffectiveNotRecorded { records, cause }) => {
            Ok(Answer::EffectiveNotRecorded { records: veil(records), cause })
        }
        Err(refusal) => {
            if let Some(at) = Refusal::CODES.iter().position(|code| *code == refusal.code()) {
                door.counters.refusals[at].fetch_add(1, Ordering::Relaxed);
            }
            Err(refusal.into())
        }
    }
}

pub(super) fn read(body: Result<Bytes, BytesRejection>) -> Result<Bytes, ApiFault> {
    body.map_err(|why| match why.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiFault::TooLong,
        _ => ApiFault::Bad("The body ended early.".to_owned()),
    })
}

/// Everything you may see.
#[utoipa::path(get, path = "/api/v1/roster", responses((status = 200, body = Roster), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn show_roster(State(door): State<Arc<Door>>, Who(principal): Who) -> Json<Roster> {
    Json(roster_for(&door, principal.agency.as_ref()))
}

fn roster_for(door: &Door, agency: Option<&AgencyId>) -> Roster {
    let seen = Arc::clone(&door.link.seen.borrow());
    roster(&seen.state, &seen.live, &seen.bound, agency, clock::now())
}

/// Open incidents you are in.
#[utoipa::path(get, path = "/api/v1/incidents", responses((status = 200, body = Vec<IncidentView>), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn show_incidents(State(door): State<Arc<Door>>, Who(principal): Who) -> Json<Vec<IncidentView>> {
    Json(roster_for(&door, principal.agency.as_ref()).incidents)
}

/// By full id, or by the form for the air where that is unique.
#[utoipa::path(get, path = "/api/v1/incidents/{incident}", params(("incident" = String, Path, description = "Id, form for the air, or the beginning of either")),
    responses((status = 200, body = IncidentView), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn show_incident(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
    Path(wanted): Path<String>,
) -> Answered<IncidentView> {
    let incident = find(&door, &principal, &wanted)?;
    let incidents = roster_for(&door, principal.agency.as_ref()).incidents;
    let found = incidents.into_iter().find(|view| view.incident == incident);
    found.map(Json).ok_or_else(|| ApiFault::Absent(format!("You are in no incident {}.", incident.spoken())))
}

/// An incident by its full id, its form for the air, or the beginning of either.
pub(super) fn find(door: &Door, principal: &Principal, wanted: &str) -> Result<IncidentId, ApiFault> {
    let seen = Arc::clone(&door.link.seen.borrow());
    let sight = Sight::new(principal.agency.clone(), &seen.state);
    let found = find_incident(&seen.state, &sight, wanted);
    found.map_err(|refusal| {
        if let Refusal::OutOfRange { what } = refusal {
            return ApiFault::Absent(format!("There is nothing: {what}."));
        }
        refusal.into()
    })
}

fn sight_of(door: &Door, principal: &Principal) -> Sight {
    Sight::new(principal.agency.clone(), &door.link.seen.borrow().state)
}

/// Talkgroups of your agency, and those in an incident with you.
#[utoipa::path(get, path = "/api/v1/talkgroups", responses((status = 200, body = Vec<TalkgroupView>), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn show_talkgroups(State(door): State<Arc<Door>>, Who(principal): Who) -> Json<Vec<TalkgroupView>> {
    Json(roster_for(&door, principal.agency.as_ref()).talkgroups)
}

/// What a person must look at.
#[utoipa::path(get, path = "/api/v1/alarms", responses((status = 200, body = Vec<Object>), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn show_alarms(State(door): State<Arc<Door>>, Who(principal): Who) -> Json<Vec<Alarm>> {
    Json(roster_for(&door, principal.agency.as_ref()).alarms)
}

/// Open emergencies you hear.
#[utoipa::path(get, path = "/api/v1/emergencies", responses((status = 200, body = Vec<EmergencyView>), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn show_emergencies(State(door): State<Arc<Door>>, Who(principal): Who) -> Json<Vec<EmergencyView>> {
    Json(roster_for(&door, principal.agency.as_ref()).emergencies)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WhyQuery {
    from: TalkgroupId,
    to: TalkgroupId,
}

/// Whether one talkgroup hears another, and why (not).
#[utoipa::path(get, path = "/api/v1/why", params(("from" = String, Query, description = "Talkgroup that talks"), ("to" = String, Query, description = "Talkgroup that listens")),
    responses((status = 200, body = Why), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn show_why(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
    query: Result<Query<WhyQuery>, axum::extract::rejection::QueryRejection>,
) -> Answered<Why> {
    let Query(WhyQuery { from, to }) = query.map_err(|why| ApiFault::Bad(why.body_text()))?;
    let seen = Arc::clone(&door.link.seen.borrow());
    let (sight, now) = (Sight::new(principal.agency, &seen.state), clock::now());
    if let Some(stranger) = [&from, &to].into_iter().find(|asked| !sight.may_ask_of(&seen.state, asked, now)) {
        let why = format!("{stranger} is neither yours nor is or lately was in an incident with you.");
        return Err(ApiFault::Absent(why));
    }
    Ok(Json(why(&seen.state, &seen.live, &sight, &from, &to, now)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventQuery {
    after: Option<String>,
    limit: Option<usize>,
}

/// History after a cursor, oldest first; without one from the beginning.
#[utoipa::path(get, path = "/api/v1/events", params(("after" = Option<String>, Query, description = "A cursor"), ("limit" = Option<usize>, Query, description = "At most 1,000 records are looked at")),
    responses((status = 200, body = EventPage), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn show_events(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
    query: Result<Query<EventQuery>, axum::extract::rejection::QueryRejection>,
) -> Answered<EventPage> {
    let Query(query) = query.map_err(|why| ApiFault::Bad(why.body_text()))?;
    let after = known_position(&door.link, query.after.as_deref()).await?;
    let mut sight = sight_of(&door, &principal);
    page(&door.link, &mut sight, after, query.limit.unwrap_or(PAGE_MAX)).await.map(Json)
}

/// Events as a WebSocket, one a message, after a cursor or from now.
#[utoipa::path(get, path = "/api/v1/events/stream", params(("after" = Option<String>, Query, description = "A cursor"), ("limit" = Option<usize>, Query, description = "At most 1,000 records are looked at")),
    responses((status = 101, description = "Messages are EventView"), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn subscribe(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
    query: Result<Query<EventQuery>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiFault> {
    let Query(query) = query.map_err(|why| ApiFault::Bad(why.body_text()))?;
    let upgrade = upgrade.map_err(|why| ApiFault::Bad(why.body_text()))?;
    let after = match query.after.as_deref() {
        None => None,
        cursor => Some(known_position(&door.link, cursor).await?),
    };
    let sight = sight_of(&door, &principal);
    let most = door.limits.subscribers;
    if door.counters.subscribers.fetch_add(1, Ordering::SeqCst) >= most {
        door.counters.subscribers.fetch_sub(1, Ordering::SeqCst);
        door.counters.subscribers_refused.fetch_add(1, Ordering::Relaxed);
        return Err(ApiFault::Busy(format!("There are {most} subscribers already.")));
    }
    let counted = Counted(Arc::clone(&door));
    let tokens = door.tokens.changes();
    Ok(upgrade.max_message_size(4096).on_upgrade(async move |socket| {
        let Counted(door) = &counted;
        if stream(socket, &door.link, sight, after, tokens, door.limits.event_taken_within).await == Ended::Slow {
            door.counters.subscribers_slow.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(user = %principal.user, "a subscriber that takes no events was let go");
        }
    }))
}

/// A subscriber's place; given back however it ends, also when the upgrade never comes.
struct Counted(Arc<Door>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.counters.subscribers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// This description.
#[utoipa::path(get, path = "/api/openapi.json", responses((status = 200, body = Object), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn show_openapi() -> impl IntoResponse {
    Json(document())
}

/// Figures as OpenMetrics text. Open on loopback; elsewhere for tokens of the host, which act for no agency.
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = String), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn show_metrics(State(door): State<Arc<Door>>) -> impl IntoResponse {
    let text = metrics::text(&door);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

/// Figures count what all agencies do, so none of them reads them alone.
async fn show_metrics_to_host(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
) -> Result<impl IntoResponse, ApiFault> {
    if principal.agency.is_some() {
        return Err(Refusal::NotAllowed { needs: "a token of the host, without an agency".to_owned() }.into());
    }
    Ok(show_metrics(State(door)).await)
}

/// The process lives and control takes commands.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = String), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn healthz(State(door): State<Arc<Door>>) -> Response {
    if door.link.commands.is_closed() {
        return (StatusCode::SERVICE_UNAVAILABLE, "control has ended\n").into_response();
    }
    "ok\n".into_response()
}

/// Recovered, every shard has its routes, and the journal records.
#[utoipa::path(get, path = "/readyz", responses((status = 200, body = String), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn readyz(State(door): State<Arc<Door>>) -> Response {
    let seen = Arc::clone(&door.link.seen.borrow());
    let fails = seen.state.alarms.iter().any(|alarm| matches!(alarm, Alarm::JournalFailing { .. }));
    match (fails || seen.journal.alarm.is_some(), seen.ready) {
        (false, true) => "ready\n".into_response(),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "shards are being told their routes\n").into_response(),
        (true, _) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the journal does not record; cuts still work\n").into_response()
        }
    }
}

/// Longest idempotency key: a UUID and a prefix.
const KEY_LENGTH_MAX: usize = 128;
