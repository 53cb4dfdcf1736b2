//! What a request is answered that was not done: an HTTP status, a stable code and a sentence. State is as before.

use std::fmt;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::domain::refusal::Refusal;

use super::tokens::NoPrincipal;

/// The body of each answer that is not a yes; refusals carry their own fields beside these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refused {
    /// Stable; for programs.
    pub code: String,
    /// For people.
    pub sentence: String,
}

/// A request that changed nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum ApiFault {
    /// Dispatch refused the command.
    Refused(Box<Refusal>),
    /// Who asks is not known.
    Unknown(NoPrincipal),
    /// The body or the query is not what the route takes.
    Bad(String),
    /// Longer than anything this API takes.
    TooLong,
    /// No such resource, or not visible to this principal.
    Absent(String),
    /// A configuration with faults, rendered for people.
    Faulty(String),
    /// A limit of the API itself.
    Busy(String),
    /// The world failed; the log says more.
    Failed(String),
}

impl From<Refusal> for ApiFault {
    fn from(refusal: Refusal) -> Self {
        ApiFault::Refused(Box::new(refusal))
    }
}

impl fmt::Display for ApiFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ApiFault::Faulty(faults) = self {
            return write!(f, "the file has faults; nothing changed: {faults}");
        }
        f.write_str(self.body()["sentence"].as_str().unwrap_or_default())
    }
}

impl ApiFault {
    /// Status by what the caller can do about it.
    pub fn status(&self) -> StatusCode {
        match self {
            ApiFault::Refused(refusal) => status_of(refusal),
            ApiFault::Unknown(NoPrincipal::Missing | NoPrincipal::Wrong) => StatusCode::UNAUTHORIZED,
            ApiFault::Unknown(NoPrincipal::Throttled) => StatusCode::TOO_MANY_REQUESTS,
            ApiFault::Bad(_) => StatusCode::BAD_REQUEST,
            ApiFault::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            ApiFault::Absent(_) => StatusCode::NOT_FOUND,
            ApiFault::Faulty(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ApiFault::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            ApiFault::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What is answered.
    pub(super) fn body(&self) -> Value {
        match self {
            ApiFault::Refused(refusal) => {
                let mut body = serde_json::to_value(refusal).unwrap_or_else(|_| json!({ "code": refusal.code() }));
                body["sentence"] = Value::from(refusal.to_string());
                body
            }
            ApiFault::Unknown(NoPrincipal::Missing) => {
                json!({ "code": "no_token", "sentence": "Send a token: Authorization: Bearer …" })
            }
            ApiFault::Unknown(NoPrincipal::Wrong) => {
                json!({ "code": "wrong_token", "sentence": "This token is not known. Look for a newer one, or ask your administrator." })
            }
            ApiFault::Unknown(NoPrincipal::Throttled) => {
                json!({ "code": "throttled", "sentence": "Too many wrong tokens from your address; wait a minute." })
            }
            ApiFault::Bad(what) => json!({ "code": "bad_request", "sentence": what }),
            ApiFault::TooLong => json!({ "code": "too_long", "sentence": "A body has at most 1 MiB. Send less." }),
            ApiFault::Absent(what) => json!({ "code": "absent", "sentence": what }),
            ApiFault::Faulty(faults) => {
                json!({ "code": "faulty", "sentence": "The configuration has faults; nothing changed.", "faults": faults })
            }
            ApiFault::Busy(what) => json!({ "code": "busy", "sentence": what }),
            ApiFault::Failed(what) => json!({ "code": "failed", "sentence": what }),
        }
    }
}

/// 404 for what is not there, 403 for what is another's, 503 for what may work later, 409 for the rest.
fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::NotAllowed { .. }
        | Refusal::NotYours { .. }
        | Refusal::NotHost { .. }
        | Refusal::NotMember { .. }
        | Refusal::NotTalkersAgency { .. } => StatusCode::FORBIDDEN,
        Refusal::NoSuchAgency { .. }
        | Refusal::NoSuchTalkgroup { .. }
        | Refusal::NoSuchTemplate { .. }
        | Refusal::NoSuchIncident { .. }
        | Refusal::NoSuchPatch { .. }
        | Refusal::NoSuchLink { .. }
        | Refusal::NoSuchEmergency { .. }
        | Refusal::NoSuchPosition { .. } => StatusCode::NOT_FOUND,
        Refusal::OutOfRange { .. } => StatusCode::BAD_REQUEST,
        Refusal::JournalFailing | Refusal::Draining | Refusal::MediaLate => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::NothingProposed { .. }
        | Refusal::NotInvited { .. }
        | Refusal::AlreadyMember { .. }
        | Refusal::AlreadyInvited { .. }
        | Refusal::AlreadyLinked { .. }
        | Refusal::NameTaken { .. }
        | Refusal::LastPatch
        | Refusal::NotByLink { .. }
        | Refusal::NoLine { .. }
        | Refusal::LineBusy { .. }
        | Refusal::NeverPatchable { .. }
        | Refusal::SharedIncidents { .. }
        | Refusal::ExerciseMixed { .. }
        | Refusal::NotSecure { .. }
        | Refusal::IsCut { .. }
        | Refusal::GrantTooNarrow { .. }
        | Refusal::PriorityCapped { .. }
        | Refusal::LeaseTooLong { .. }
        | Refusal::InUse
        | Refusal::HostMustStay
        | Refusal::NotOffered { .. }
        | Refusal::EmergencyOpen
        | Refusal::Full { .. }
        | Refusal::Ambiguous { .. }
        | Refusal::KeyReused
        | Refusal::NothingToDo => StatusCode::CONFLICT,
    }
}

impl IntoResponse for ApiFault {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.body())).into_response();
        if response.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
