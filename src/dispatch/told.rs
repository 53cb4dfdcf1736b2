//! What happened, told in words: one line for one event, the same in `crosspatch watch`, in answers and in the log. Made
//! from the event's own fields, so that a new event needs nothing here; only where the fields alone would mislead (who
//! heard and who missed what was said) it is written out. Not the journal's form, which is JSON.

use serde_json::Value;

use crate::domain::event::{Event, HeardBy};
use crate::domain::floor::{BurstEnd, MissCause};
use crate::domain::id::IncidentId;
use crate::domain::incident::Actor;
use crate::domain::time::length_in_words;

/// Who did it: the name of a person, or what acts by itself.
pub fn who(actor: &Actor) -> String {
    match actor {
        Actor::User { user, agency: _ } => user.to_string(),
        Actor::Agreement(agreement) => format!("agreement {agreement}"),
        Actor::Timer => "timer".to_owned(),
        Actor::Media => "media".to_owned(),
        Actor::Recovery => "recovery".to_owned(),
        Actor::Reload => "reload".to_owned(),
    }
}

/// What happened, as one line without control characters: an event's texts come from people and forge no second line.
pub fn what(event: &Event) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever its fields do not misrepresent is told by them")]
    let told = match event {
        Event::AlarmRaised { alarm } => format!("alarm raised: {alarm}"),
        Event::AlarmCleared { alarm } => format!("alarm cleared: {alarm}"),
        Event::Talked { incident, talkgroup, gateway, talker, emergency, duration_ms, end, heard_by, .. } => {
            let who = if talker.is_empty() { gateway.as_str() } else { talker.as_str() };
            let mark = if *emergency { "EMERGENCY " } else { "" };
            let (length, end) = (span(*duration_ms), end_words(*end));
            let told = format!("talked: {mark}{who} on {talkgroup} through {gateway}, {length}, until {end}");
            format!("{told}; {}; incident {}", ears(heard_by), incident.spoken())
        }
        other => by_fields(other),
    };
    told.replace(char::is_control, " ")
}

/// Who heard a burst and who did not: milliseconds alone would make whoever missed all of it look like an ear.
fn ears(asked: &[HeardBy]) -> String {
    let (heard, missed): (Vec<_>, Vec<_>) = asked.iter().partition(|ear| ear.heard_ms > 0);
    let heard: Vec<String> = heard
        .into_iter()
        .map(|HeardBy { gateway, heard_ms: _, missed_ms, missed }| match (missed, missed_ms) {
            (None, 0) => gateway.to_string(),
            (None, ms) => format!("{gateway} (missed {} of it)", span(*ms)),
            (Some(cause), ms) => format!("{gateway} (missed {} of it: {})", span(*ms), miss_words(*cause)),
        })
        .collect();
    let missed: Vec<String> = missed
        .into_iter()
        .map(|ear| format!("{} ({})", ear.gateway, ear.missed.map_or("nothing came", miss_words)))
        .collect();
    let heard = if heard.is_empty() { "nobody".to_owned() } else { heard.join(", ") };
    if missed.is_empty() {
        format!("heard by {heard}")
    } else {
        format!("heard by {heard}; missed by {}", missed.join(", "))
    }
}

fn span(ms: u32) -> String {
    if ms < 100 { format!("{ms} ms") } else { format!("{:.1} s", f64::from(ms) / 1000.0) }
}

fn by_fields(event: &Event) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(event) else { return String::new() };
    let name = fields.remove("event").as_ref().and_then(Value::as_str).unwrap_or_default().replace('_', " ");
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
            Some(format!("{} {}", name.trim_end_matches(" s"), length_in_words(seconds)))
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
            let telling = ["name", "talkgroup", "gateway", "agency", "remaining_ms"];
            let (key, value) = telling.iter().find_map(|key| Some((*key, fields.get(*key)?)))?;
            match value.as_u64() {
                Some(ms) if key == "remaining_ms" => Some(length_in_words(ms / 1000)),
                _ => plain(value),
            }
        }
    }
}

/// Until when somebody talked: `until the talker let go`.
const fn end_words(end: BurstEnd) -> &'static str {
    match end {
        BurstEnd::Released => "the talker let go",
        BurstEnd::Silence => "no more came from the gateway",
        BurstEnd::TimedOut => "the talk limit",
        BurstEnd::PreEmpted => "someone of higher rank took the floor",
        BurstEnd::Revoked => "a dispatcher took the floor away",
        BurstEnd::LegLeft => "its link ended or might only listen",
        BurstEnd::PatchClosed => "the net was closed",
        BurstEnd::PortClosed => "its gateway was closed",
        BurstEnd::Inhibited => "its own radio channel was transmitted on",
        BurstEnd::Restart => "its media thread was rebuilt",
    }
}

/// Why a gateway missed something.
pub(super) const fn miss_words(cause: MissCause) -> &'static str {
    match cause {
        MissCause::Cut => "a cut took it away",
        MissCause::HoldOverrun => "the channel or its grant did not come in time",
        MissCause::TransmitDenied => "the gateway or its trunk was busy, twice",
        MissCause::TalkLimit => "its transmitter's talk limit was reached",
        MissCause::TooShort => "it was shorter than the minimum burst",
        MissCause::SquelchTail => "it was declared squelch tail",
        MissCause::OutRanked => "someone of higher rank was heard instead",
        MissCause::Receiving => "it was receiving and cannot do both",
        MissCause::Inhibited => "another port on its radio channel was transmitting",
        MissCause::NoPeer => "no address is known for it yet",
        MissCause::Full => "a pool of the media core was exhausted",
        MissCause::Gone => "it, or its media thread, went away",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Alarm;
    use crate::domain::floor::FloorPolicy;
    use crate::domain::id::{AgencyId, BurstId, GatewayId, PatchId, PatchName, TalkgroupId};
    use crate::domain::talker::Alias;

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

    fn ear(gateway: &str, heard_ms: u32, missed_ms: u32, missed: Option<MissCause>) -> HeardBy {
        HeardBy { gateway: GatewayId::new(gateway).unwrap(), heard_ms, missed_ms, missed }
    }

    #[test]
    fn who_missed_a_burst_is_not_told_among_those_who_heard_it() {
        let talked = Event::Talked {
            incident: IncidentId(7 << 80),
            patch: PatchId(9),
            burst: BurstId(1),
            talkgroup: TalkgroupId::new("pd-1").unwrap(),
            gateway: GatewayId::new("pd-gw").unwrap(),
            talker: Alias::new("Unit 7"),
            emergency: false,
            duration_ms: 800,
            end: BurstEnd::Released,
            heard_by: vec![
                ear("pd-desk", 800, 0, None),
                ear("fd-gw", 600, 200, Some(MissCause::OutRanked)),
                ear("fd-latch", 0, 800, Some(MissCause::NoPeer)),
            ],
        };
        assert_eq!(
            what(&talked),
            format!(
                "talked: Unit 7 on pd-1 through pd-gw, 0.8 s, until the talker let go; heard by pd-desk, fd-gw (missed \
                 0.2 s of it: someone of higher rank was heard instead); missed by fd-latch (no address is known for it \
                 yet); incident {}",
                IncidentId(7 << 80).spoken()
            )
        );
        assert_eq!(ears(&[ear("fd-gw", 0, 0, None)]), "heard by nobody; missed by fd-gw (nothing came)");
    }

    #[test]
    fn a_text_of_people_makes_no_second_line() {
        let noted = Event::Noted {
            incident: IncidentId(7 << 80),
            agency: AgencyId::new("fire").unwrap(),
            text: "all well\nalarm raised: \u{1b}[31mnothing is".into(),
        };
        assert!(!what(&noted).contains(char::is_control), "{}", what(&noted));
    }

    #[test]
    fn an_alarm_is_told_as_a_sentence() {
        let alarm = Alarm::GatewayLost { gateway: GatewayId::new("fd-gw-1").unwrap() };
        assert_eq!(what(&Event::AlarmRaised { alarm }), "alarm raised: Gateway fd-gw-1 is lost.");
    }
}
