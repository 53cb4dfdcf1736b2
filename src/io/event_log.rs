//! What happened, as lines of the log: alarms as warnings, sessions as information, talk for those who debug. The journal
//! is the record; these lines are for whoever watches the system and its logs, in the words of `crosspatch watch`.
//!
//! An event holds no secret, so its line holds none.

use tracing::Level;

use crate::dispatch::told;
use crate::domain::event::{Event, Recorded};
use crate::io::store;

/// One line for one event.
pub fn write(recorded: &Recorded) {
    let (who, what) = (told::who(&recorded.actor), told::what(&recorded.event));
    // In full, for the journal's export: the words name an incident as people say it.
    let stream = store::stream_of(&recorded.stream);
    let level = level(&recorded.event);
    // The level of a line is part of its name in the program, hence three of them.
    if level == Level::WARN {
        tracing::warn!(%stream, "{who}: {what}");
    } else if level == Level::INFO {
        tracing::info!(%stream, "{who}: {what}");
    } else {
        tracing::debug!(%stream, "{who}: {what}");
    }
}

fn level(event: &Event) -> Level {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is neither an alarm nor talk is a session's")]
    match event {
        Event::AlarmRaised { .. }
        | Event::EmergencyDeclared { .. }
        | Event::PositionLost { .. }
        | Event::Isolated { .. }
        | Event::LoopSuspected { .. } => Level::WARN,
        Event::TalkBegan { .. } | Event::Talked { .. } => Level::DEBUG,
        _ => Level::INFO,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::domain::event::{Alarm, Stream};
    use crate::domain::id::{AgencyId, GatewayId, IncidentId};
    use crate::domain::incident::Actor;
    use crate::domain::time::Now;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);
    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What the log shows of one event.
    fn written(stream: Stream, event: Event) -> String {
        let page = Page::default();
        let shown = page.clone();
        let log = tracing_subscriber::fmt().with_writer(move || shown.clone()).with_ansi(false).finish();
        let recorded = Recorded { stream, actor: Actor::Media, at: Now::default(), event };
        tracing::subscriber::with_default(log, || write(&recorded));
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn the_log_speaks_the_words_of_watch_and_only_bad_news_is_a_warning() {
        let alarm = Alarm::GatewayLost { gateway: GatewayId::new("fd-gw").unwrap() };
        let lost = written(Stream::Node, Event::AlarmRaised { alarm: alarm.clone() });
        assert!(lost.contains(" WARN ") && lost.contains("media: alarm raised: Gateway fd-gw is lost."), "{lost}");
        let back = written(Stream::Node, Event::AlarmCleared { alarm });
        assert!(back.contains(" INFO ") && back.contains("alarm cleared: Gateway fd-gw is lost."), "{back}");
        let incident = IncidentId(7 << 80);
        let left = Event::Left { incident, agency: AgencyId::new("fire").unwrap() };
        let left = written(Stream::Incident(incident), left);
        assert!(left.contains(&incident.spoken()) && left.contains(&format!("stream=incident/{incident}")), "{left}");
        assert!(!left.contains("IncidentId("), "{left}");
    }
}
