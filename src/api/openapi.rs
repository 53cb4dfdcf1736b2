//! The API's description for programs: routes here, command and view schemas from the types themselves.

use serde_json::{Value, json};

/// The OpenAPI 3.1 document.
pub fn document() -> Value {
    let answer = |what: &str| json!({ "description": what, "content": { "application/json": {} } });
    let refusals = json!({
        "400": answer("Not what the route takes"),
        "401": answer("No token, or not a known one"),
        "403": answer("Another's resource"),
        "404": answer("Not there, or not visible to you"),
        "409": answer("Refused: code and sentence"),
        "413": answer("Longer than 1 MiB"),
        "503": answer("Stopping, or the journal does not record"),
    });
    let operation = |summary: &str, parameters: Value, body: Value, done: &str| {
        let mut responses = refusals.clone();
        responses["200"] = answer(done);
        let mut operation = json!({ "summary": summary, "parameters": parameters, "responses": responses });
        if !body.is_null() {
            operation["requestBody"] = body;
        }
        operation
    };
    let query = |name: &str, required: bool, what: &str| json!({ "name": name, "in": "query", "required": required, "description": what, "schema": { "type": "string" } });
    let none = || json!([]);
    let command = json!({ "required": true, "content": { "application/json": { "schema": { "type": "object" } } } });
    let toml = json!({ "required": true, "content": { "text/plain": { "schema": { "type": "string" } } } });
    let key = json!([{ "name": "Idempotency-Key", "in": "header", "required": false, "schema": { "type": "string", "maxLength": 128 } }]);
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Crosspatch", "version": env!("CARGO_PKG_VERSION"), "license": { "name": "Apache-2.0" } },
        "security": [{ "token": [] }],
        "components": { "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } },
        "paths": {
            "/api/v1/commands": { "post": operation("Send a command", key, command, "Done, durable and in force") },
            "/api/v1/roster": { "get": operation("Everything you may see", none(), Value::Null, "The roster") },
            "/api/v1/incidents": { "get": operation("Your incidents", none(), Value::Null, "Incidents") },
            "/api/v1/incidents/{incident}": { "get": operation("One incident",
                json!([{ "name": "incident", "in": "path", "required": true, "schema": { "type": "string" } }]), Value::Null, "The incident") },
            "/api/v1/why": { "get": operation("Why does one talkgroup (not) hear another",
                json!([query("from", true, "Talkgroup that talks"), query("to", true, "Talkgroup that listens")]), Value::Null, "The answer") },
            "/api/v1/events": { "get": operation("History",
                json!([query("after", false, "Cursor"), query("limit", false, "At most 1000")]), Value::Null, "A page") },
            "/api/v1/events/stream": { "get": operation("Events as a WebSocket",
                json!([query("after", false, "Cursor to resume after")]), Value::Null, "Switches protocols") },
            "/api/v1/plan": { "post": operation("What a configuration would change", none(), toml, "The plan") },
            "/api/v1/reload": { "post": operation("Adopt the daemon's own file again", none(), Value::Null, "What it led to") },
            "/metrics": { "get": operation("OpenMetrics", none(), Value::Null, "Figures") },
            "/healthz": { "get": operation("The process lives", none(), Value::Null, "ok") },
            "/readyz": { "get": operation("Routes are in force and the journal records", none(), Value::Null, "ready") },
        },
    })
}
