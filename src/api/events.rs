//! What happened, as a stream and as history. A cursor is opaque to callers, survives restarts and never skips: whoever
//! falls behind is served from the journal again. Events of others' incidents are not shown.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use crate::dispatch::sight::{Sight, veiled};
use crate::domain::event::Recorded;
use crate::io::control_link::{ControlLink, Happened, HistoryAsked};

use super::fault::ApiFault;

/// One event as the API gives it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventView {
    /// Where to resume after it; none for what the journal did not take.
    pub cursor: Option<String>,
    #[schema(value_type = Object)]
    pub recorded: Arc<Recorded>,
}

/// A page of history.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventPage {
    pub events: Vec<EventView>,
    /// Where to go on; the same as asked for if nothing was left.
    pub next: String,
}

/// Events in one page at most.
pub const PAGE_MAX: usize = 1000;
/// So often history is asked for again before a client is let go; it goes on from its cursor.
const HISTORY_FAILURES_MAX: u32 = 50;
/// A client that does not take a message for this long is let go.
const SLOW: Duration = Duration::from_secs(10);
/// Without news, a ping keeps middleboxes from closing the connection.
const PING_EVERY: Duration = Duration::from_secs(20);

/// A client that answers none of so many pings is gone.
const PINGS_UNANSWERED_MAX: u32 = 3;
/// How long a cursor may be ahead of the view.
const CURSOR_WITHIN: Duration = Duration::from_millis(500);

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

/// A page of history for a viewer.
pub async fn page(link: &ControlLink, sight: &mut Sight, after: u64, limit: usize) -> Result<EventPage, ApiFault> {
    let happened = history(link, after, limit.clamp(1, PAGE_MAX)).await?;
    let next = happened.last().and_then(|event| event.position).unwrap_or(after);
    let state = Arc::clone(&link.seen.borrow());
    let events = happened.into_iter().filter(|event| sight.shows(&state.state, &event.recorded)).collect::<Vec<_>>();
    let events = events.into_iter().map(|event| view(event, sight)).collect();
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

/// A cursor that this journal can have given. An event may be shown a moment before the view that counts it; one of
/// another journal would make a reader miss everything silently.
pub async fn known_position(link: &ControlLink, cursor: Option<&str>) -> Result<u64, ApiFault> {
    let position = position_of(cursor)?;
    let mut seen = link.seen.clone();
    let known = tokio::time::timeout(CURSOR_WITHIN, seen.wait_for(|seen| seen.position >= position)).await;
    match known {
        Ok(Ok(_)) => Ok(position),
        Ok(Err(_)) | Err(_) => Err(ApiFault::Bad("This cursor is not of this journal; begin without one.".to_owned())),
    }
}

fn view(happened: Happened, sight: &Sight) -> EventView {
    EventView { cursor: happened.position.map(cursor_of), recorded: veiled(sight, &happened.recorded) }
}

/// Serves one subscriber until it goes, is too slow, or the daemon stops.
pub async fn stream(mut socket: WebSocket, link: ControlLink, mut sight: Sight, after: Option<u64>) {
    let mut live = link.happened.subscribe();
    let mut position = after.unwrap_or(link.seen.borrow().position);
    let mut ping = tokio::time::interval(PING_EVERY);
    let mut behind = true;
    let mut unanswered = 0;
    loop {
        if behind {
            match catch_up(&mut socket, &link, &mut sight, position).await {
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
                    if sight.shows(&state.state, &happened.recorded) && !send(&mut socket, &view(happened, &sight)).await {
                        return;
                    }
                }
                Err(RecvError::Lagged(_)) => behind = true,
                Err(RecvError::Closed) => return,
            },
            _ = ping.tick() => {
                unanswered += 1;
                if unanswered > PINGS_UNANSWERED_MAX || !say(&mut socket, Message::Ping(Vec::new().into())).await {
                    return;
                }
            }
            heard = socket.recv() => match heard {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => unanswered = 0,
            },
        }
    }
}

/// Sends history after `position` until none is left; the position reached, or none if the client is gone.
async fn catch_up(socket: &mut WebSocket, link: &ControlLink, sight: &mut Sight, mut position: u64) -> Option<u64> {
    let mut failures = 0;
    loop {
        let happened = match history(link, position, PAGE_MAX).await {
            Ok(happened) => happened,
            Err(_) if failures == HISTORY_FAILURES_MAX => return None,
            Err(_) => {
                failures += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(last) = happened.last().and_then(|event| event.position) else { return Some(position) };
        let state = Arc::clone(&link.seen.borrow());
        for event in happened {
            if sight.shows(&state.state, &event.recorded) && !send(socket, &view(event, sight)).await {
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
