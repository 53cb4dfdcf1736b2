//! The natural pages for incidents, links and emergencies: they make the same commands as the tagged form. Dispatch
//! judges; nothing is judged here.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde_json::{Map, Value};

use crate::dispatch::control::Answer;
use crate::domain::command::Command;

use super::Door;
use super::fault::{ApiFault, Refused};
use super::routes::{Answered, Who, ask, find, read};

type Body = Result<Bytes, BytesRejection>;

/// Reads a command from JSON bytes. The sentence says where and why not.
pub fn command_from(bytes: &[u8]) -> Result<Command, String> {
    serde_json::from_slice(bytes).map_err(|fault| format!("This is no command: {fault}."))
}

/// Opens an incident; the body is the command's fields.
#[utoipa::path(post, path = "/api/v1/incidents", request_body = Object,
    responses((status = 200, body = Object), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn open_incident(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
    headers: HeaderMap,
    body: Body,
) -> Answered<Answer> {
    let command = filled("open_incident", None, &read(body)?)?;
    ask(&door, command, principal, &headers).await.map(Json)
}

/// Gives an order to an incident: invite, accept, decline, link, dial, extend, offer-host, take-host, hand-over, leave,
/// remove, close, note, add-patch, close-patch, set-floor, revoke. The body is the command's other fields.
#[utoipa::path(post, path = "/api/v1/incidents/{incident}/{order}", params(("incident" = String, Path), ("order" = String, Path)), request_body = Object,
    responses((status = 200, body = Object), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn order_incident(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
    Path((incident, order)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Answered<Answer> {
    let incident = find(&door, &principal, &incident)?.to_string();
    let command = filled(&order, Some(("incident", incident)), &read(body)?)?;
    ask(&door, command, principal, &headers).await.map(Json)
}

/// Gives an order to a link: unlink, adjust, admit, confirm, end-isolation.
#[utoipa::path(post, path = "/api/v1/links/{link}/{order}", params(("link" = String, Path), ("order" = String, Path)), request_body = Object,
    responses((status = 200, body = Object), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn order_link(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
    Path((link, order)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Answered<Answer> {
    let command = filled(&order, Some(("link", link)), &read(body)?)?;
    ask(&door, command, principal, &headers).await.map(Json)
}

/// Declares an emergency for a talkgroup of your agency.
#[utoipa::path(post, path = "/api/v1/emergencies", request_body = Object,
    responses((status = 200, body = Object), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn declare_emergency(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
    headers: HeaderMap,
    body: Body,
) -> Answered<Answer> {
    let command = filled("declare_emergency", None, &read(body)?)?;
    ask(&door, command, principal, &headers).await.map(Json)
}

/// Gives an order to an emergency: acknowledge, clear.
#[utoipa::path(post, path = "/api/v1/emergencies/{emergency}/{order}", params(("emergency" = String, Path), ("order" = String, Path)), request_body = Object,
    responses((status = 200, body = Object), (status = "4XX", body = Refused), (status = "5XX", body = Refused)))]
pub(super) async fn order_emergency(
    State(door): State<Arc<Door>>,
    Who(principal): Who,
    Path((emergency, order)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Answered<Answer> {
    let command = filled(&format!("{order}_emergency"), Some(("emergency", emergency)), &read(body)?)?;
    ask(&door, command, principal, &headers).await.map(Json)
}

/// A command from a page's name, what the path names, and the body's fields.
fn filled(order: &str, named: Option<(&str, String)>, body: &[u8]) -> Result<Command, ApiFault> {
    let mut fields: Map<String, Value> = if body.is_empty() {
        Map::new()
    } else {
        serde_json::from_slice(body).map_err(|fault| ApiFault::Bad(format!("The body is no JSON object: {fault}.")))?
    };
    let path = named.into_iter().chain([("do", order.replace('-', "_"))]);
    for (key, value) in path {
        if fields.insert(key.to_owned(), Value::String(value)).is_some() {
            return Err(ApiFault::Bad(format!("The path already says {key}; leave it out of the body.")));
        }
    }
    serde_json::from_value(Value::Object(fields))
        .map_err(|fault| ApiFault::Bad(format!("This is no command: {fault}.")))
}
