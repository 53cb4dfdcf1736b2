//! What happened, as a stream and as history. A cursor is opaque to callers, survives restarts and never skips: whoever
//! falls behind is served from the journal again. Events of others' incidents are not shown.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;

use crate::dispatch::State;
use crate::dispatch::view::concerns;
use crate::domain::event::{Event, Recorded, Stream};
use crate::domain::id::{AgencyId, IncidentId};
use crate::io::control_link::{ControlLink, Happened, HistoryAsked};

use super::fault::ApiFault;

/// One event as the API gives it.
#[derive(Clone, Debug, Serialize)]
pub struct EventView {
    /// Where to resume after it; none for what the journal did not take.
    pub cursor: Option<String>,
    pub recorded: Arc<Recorded>,
}

/// A page of history.
#[derive(Clone, Debug, Serialize)]
pub struct EventPage {
    pub events: Vec<EventView>,
    /// Where to go on; the same as asked for if nothing was left.
    pub next: String,
}

/// Events in one page at most.
pub const PAGE_MAX: usize = 1000;
/// A client that does not take a message for this long is let go.
const SLOW: Duration = Duration::from_secs(10);
/// Without news, a ping keeps middleboxes from closing the connection.
const PING_EVERY: Duration = Duration::from_secs(20);

/// A journal position in its public form.
pub fn cursor_of(position: u64) -> String {
    format!("c{position:x}")
}

/// A position from its public form; none starts at the beginning.
pub fn position_of(cursor: Option<&str>) -> Result<u64, ApiFault> {
    let Some(cursor) = cursor else { return Ok(0) };
    let position = cursor.strip_prefix('c').and_then(|hex| u64::from_str_radix(hex, 16).ok());
    position.ok_or_else(|| {
        ApiFault::Bad(format!(
            "{:?} is no cursor; take one from an answer",
            cursor.chars().take(40).collect::<String>()
        ))
    })
}

/// Who looks: `None` is the host's administrator. Remembers incidents once seen, so that their end is shown too.
pub struct Viewer {
    agency: Option<AgencyId>,
    seen: BTreeSet<IncidentId>,
}

impl Viewer {
    pub fn new(agency: Option<AgencyId>) -> Self {
        Self { agency, seen: BTreeSet::new() }
    }

    /// Whether an event is this viewer's business.
    pub fn sees(&mut self, state: &State, recorded: &Recorded) -> bool {
        let Some(agency) = &self.agency else { return true };
        match &recorded.stream {
            Stream::Agency(owner) => owner == agency || is_emergency(&recorded.event) && share(state, owner, agency),
            Stream::Incident(incident) => {
                let named = names(&recorded.event, agency);
                let member = state.incidents.get(incident).is_some_and(|i| i.members.contains_key(agency));
                if member || named {
                    self.seen.insert(*incident);
                }
                member || named || self.seen.contains(incident)
            }
            #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else the node records is the administrator's")]
            Stream::Node => match &recorded.event {
                Event::AlarmRaised { alarm } | Event::AlarmCleared { alarm } => concerns(state, alarm, Some(agency)),
                Event::Started { .. } | Event::Stopped | Event::ClockStepped { .. } => true,
                _ => false,
            },
        }
    }
}

/// Whether two agencies are members of one incident: partners learn of each other's emergencies.
fn share(state: &State, one: &AgencyId, other: &AgencyId) -> bool {
    state.incidents.values().any(|i| i.members.contains_key(one) && i.members.contains_key(other))
}

fn is_emergency(event: &Event) -> bool {
    matches!(
        event,
        Event::EmergencyDeclared { .. } | Event::EmergencyAcknowledged { .. } | Event::EmergencyCleared { .. }
    )
}

/// Whether an incident's event is about this agency: its invitation, its leaving.
fn names(event: &Event, agency: &AgencyId) -> bool {
    #[expect(clippy::wildcard_enum_match_arm, reason = "these name an agency that may not be a member")]
    match event {
        Event::Invited { agency: named, .. }
        | Event::InvitationEscalated { agency: named, .. }
        | Event::Declined { agency: named, .. }
        | Event::Accepted { agency: named, .. }
        | Event::Left { agency: named, .. }
        | Event::Removed { agency: named, .. } => named == agency,
        Event::IncidentOpened { host, .. } => host == agency,
        _ => false,
    }
}

/// A page of history for a viewer.
pub async fn page(link: &ControlLink, viewer: &mut Viewer, after: u64, limit: usize) -> Result<EventPage, ApiFault> {
    let happened = history(link, after, limit.clamp(1, PAGE_MAX)).await?;
    let next = happened.last().and_then(|event| event.position).unwrap_or(after);
    let state = Arc::clone(&link.seen.borrow());
    let events = happened.into_iter().filter(|event| viewer.sees(&state.state, &event.recorded)).map(view).collect();
    Ok(EventPage { events, next: cursor_of(next) })
}

async fn history(link: &ControlLink, after: u64, most: usize) -> Result<Vec<Happened>, ApiFault> {
    let (reply, answer) = oneshot::channel();
    let gone = |_| ApiFault::Busy("The daemon is stopping.".to_owned());
    link.history
        .try_send(HistoryAsked { after, most, reply })
        .map_err(|_| ApiFault::Busy("Too many questions about history at once; try again.".to_owned()))?;
    answer.await.map_err(gone)?.map_err(ApiFault::Failed)
}

fn view(happened: Happened) -> EventView {
    EventView { cursor: happened.position.map(cursor_of), recorded: happened.recorded }
}

/// Serves one subscriber until it goes, is too slow, or the daemon stops.
pub async fn stream(mut socket: WebSocket, link: ControlLink, mut viewer: Viewer, after: Option<u64>) {
    let mut live = link.happened.subscribe();
    let mut position = after.unwrap_or(link.seen.borrow().position);
    let mut ping = tokio::time::interval(PING_EVERY);
    let mut behind = true;
    loop {
        if behind {
            match catch_up(&mut socket, &link, &mut viewer, position).await {
                Some(reached) => position = reached,
                None => return,
            }
            behind = false;
        }
        tokio::select! {
            news = live.recv() => match news {
                Ok(happened) => {
                    if happened.position.is_some_and(|at| at <= position) {
                        continue;
                    }
                    position = happened.position.unwrap_or(position);
                    let state = Arc::clone(&link.seen.borrow());
                    if viewer.sees(&state.state, &happened.recorded) && !send(&mut socket, &view(happened)).await {
                        return;
                    }
                }
                Err(RecvError::Lagged(_)) => behind = true,
                Err(RecvError::Closed) => return,
            },
            _ = ping.tick() => if !say(&mut socket, Message::Ping(Vec::new().into())).await { return },
            heard = socket.recv() => match heard {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
}

/// Sends history after `position` until none is left; the position reached, or none if the client is gone.
async fn catch_up(socket: &mut WebSocket, link: &ControlLink, viewer: &mut Viewer, mut position: u64) -> Option<u64> {
    loop {
        let happened = match history(link, position, PAGE_MAX).await {
            Ok(happened) => happened,
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(last) = happened.last().and_then(|event| event.position) else { return Some(position) };
        let state = Arc::clone(&link.seen.borrow());
        for event in happened {
            if viewer.sees(&state.state, &event.recorded) && !send(socket, &view(event)).await {
                return None;
            }
        }
        position = last;
    }
}

async fn send(socket: &mut WebSocket, event: &EventView) -> bool {
    match serde_json::to_string(event) {
        Ok(text) => say(socket, Message::Text(Utf8Bytes::from(text))).await,
        Err(fault) => {
            tracing::error!(%fault, "an event could not be shown");
            true
        }
    }
}

async fn say(socket: &mut WebSocket, message: Message) -> bool {
    matches!(tokio::time::timeout(SLOW, socket.send(message)).await, Ok(Ok(())))
}
