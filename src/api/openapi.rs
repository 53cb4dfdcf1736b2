//! The API's description of itself, made from the types that serve it.

use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use crate::dispatch::{view, why};
use crate::domain::command::Command;
use crate::domain::refusal::Refusal;

use super::{events, fault, orders, reload, routes};

#[derive(OpenApi)]
#[openapi(
    info(title = "Crosspatch", description = "Joins agencies' radios across incidents."),
    paths(
        routes::command, routes::show_roster, routes::show_incidents, routes::show_incident, routes::show_why,
        routes::show_events, routes::subscribe, reload::show_plan, reload::reload, routes::show_openapi,
        routes::show_metrics, routes::healthz, routes::readyz, routes::show_talkgroups, routes::show_alarms,
        routes::show_emergencies, orders::open_incident, orders::order_incident, orders::order_link,
        orders::declare_emergency, orders::order_emergency,
    ),
    components(schemas(Command, Refusal, fault::Refused, view::Roster, why::Why, events::EventView)),
    security(("token" = []))
)]
struct Description;

/// The whole description.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Description::openapi();
    if let Some(components) = &mut document.components {
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
    document
}
