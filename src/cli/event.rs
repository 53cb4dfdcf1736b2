//! An event as one line: when, who, what. Made from the event's own fields, so that a new event needs nothing here.

use serde_json::Value;

use super::span::{moment, words};
use crate::dispatch::control::Answer;
use crate::domain::event::{Event, Recorded};
use crate::domain::id::IncidentId;
use crate::domain::incident::Actor;

/// `2026-11-23 11:58:01Z  fire-desk  incident opened: incident kilo-7-tango-3, title Fire in the harbour`
pub(super) fn line(recorded: &Recorded) -> String {
    format!("{}  {}  {}", moment(recorded.at.wall), actor(&recorded.actor), what(&recorded.event))
}

/// What a command led to; one line for each event.
pub(super) fn answer(answer: &Answer) -> String {
    let records = match answer {
        Answer::Done { records } | Answer::EffectiveNotRecorded { records, cause: _ } => records,
    };
    records.iter().map(|recorded| what(&recorded.event) + "\n").collect()
}

/// What standard error says beside an answer.
pub(super) fn warning(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Done { .. } => None,
        Answer::EffectiveNotRecorded { cause, .. } => {
            Some(format!("IN FORCE BUT NOT RECORDED: {cause}. A restart of the daemon would undo it."))
        }
    }
}

fn actor(actor: &Actor) -> String {
    match actor {
        Actor::User { user, agency: _ } => user.to_string(),
        Actor::Agreement(agreement) => format!("agreement {agreement}"),
        Actor::Timer => "timer".to_owned(),
        Actor::Media => "media".to_owned(),
        Actor::Recovery => "recovery".to_owned(),
        Actor::Reload => "reload".to_owned(),
    }
}

fn what(event: &Event) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(event) else { return String::new() };
    let name = fields.remove("event").as_ref().and_then(Value::as_str).unwrap_or_default().replace('_', " ");
    if let Event::AlarmRaised { alarm } | Event::AlarmCleared { alarm } = event {
        return format!("{name}: {}", alarm);
    }
    // The whole configuration is nothing for a line.
    fields.remove("configuration");
    // A patch's number is nobody's name for it, and a link's terms are its most telling part.
    fields.remove("patch").filter(Value::is_object).map(|patch| fields.insert("patch".to_owned(), patch));
    if let Some(Value::Object(terms)) = fields.remove("terms") {
        fields.extend(
            terms.into_iter().filter(|(key, _)| matches!(key.as_str(), "link" | "talkgroup" | "direction" | "lease")),
        );
    }
    let told: Vec<String> = fields.iter().filter_map(|(key, value)| field(key, value)).collect();
    if told.is_empty() { name } else { format!("{name}: {}", told.join(", ")) }
}

/// A field worth saying; none for what is empty, absent or false.
fn field(key: &str, value: &Value) -> Option<String> {
    let said = plain(value)?;
    let name = key.replace('_', " ");
    match (key, value.as_u64()) {
        _ if value == &Value::Bool(true) => Some(name),
        (_, Some(seconds)) if key.ends_with("_s") => {
            Some(format!("{} {}", name.trim_end_matches(" s"), words(seconds)))
        }
        (_, Some(ms)) if key.ends_with("_ms") => {
            Some(format!("{} {:.1} s", name.trim_end_matches(" ms"), ms as f64 / 1000.0))
        }
        _ => Some(format!("{name} {said}")),
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some("yes".to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) if text.is_empty() => None,
        // Any 128-bit id is said as people say it.
        Value::String(text) => Some(text.parse().map_or_else(|_| text.clone(), |id: IncidentId| id.spoken())),
        Value::Array(all) => {
            let all: Vec<String> = all.iter().filter_map(plain).collect();
            (!all.is_empty()).then(|| all.join(" + "))
        }
        Value::Object(fields) => {
            // Inside a list or table the name, the gateway or the talkgroup says which one is meant.
            let telling = ["name", "talkgroup", "gateway", "remaining_ms"];
            let (key, value) = telling.iter().find_map(|key| Some((*key, fields.get(*key)?)))?;
            match value.as_u64() {
                Some(ms) if key == "remaining_ms" => Some(words(ms / 1000)),
                _ => plain(value),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Alarm;
    use crate::domain::floor::FloorPolicy;
    use crate::domain::id::{AgencyId, GatewayId, PatchId, PatchName};

    #[test]
    fn an_event_is_told_with_spoken_ids_and_without_what_is_empty() {
        let incident = IncidentId(7 << 80);
        let patch = crate::domain::event::OpenedPatch {
            patch: PatchId(9),
            name: PatchName::new("main").unwrap(),
            floor: FloorPolicy::default(),
        };
        let opened = Event::IncidentOpened {
            incident,
            title: "Fire in the harbour".into(),
            kind: "fire".into(),
            exercise: false,
            host: AgencyId::new("fire").unwrap(),
            template: None,
            patches: vec![patch],
            lease_s: 14_400,
        };
        let told = what(&opened);
        assert!(told.starts_with("incident opened: "), "{told}");
        for part in [incident.spoken().as_str(), "title Fire in the harbour", "host fire", "lease 4 h", "patches main"]
        {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert!(!told.contains("template") && !told.contains("exercise"), "{told}");
    }

    #[test]
    fn an_alarm_is_told_as_a_sentence() {
        let alarm = Alarm::GatewayLost { gateway: GatewayId::new("fd-gw-1").unwrap() };
        assert_eq!(what(&Event::AlarmRaised { alarm }), "alarm raised: Gateway fd-gw-1 is lost.");
    }
}
