//! What happened, as a stream and as history. A cursor is opaque to callers, survives restarts and never skips: whoever
//! falls behind is served from the journal again. Events of others' incidents are not shown.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{oneshot, watch};
use utoipa::ToSchema;

use crate::dispatch::State;
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
const HISTORY_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Without news, a ping keeps middleboxes from closing the connection.
const PING_EVERY: Duration = Duration::from_secs(20);

/// A client that answers none of so many pings is gone.
const PINGS_UNANSWERED_MAX: u32 = 3;
/// How long a cursor may be ahead of the view.
const CURSOR_WITHIN: Duration = Duration::from_millis(500);
/// A subscriber that is let go may take the reason in this time.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

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

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The subscriber went, or its connection broke.
    Gone,
    /// It did not take an event in time.
    Slow,
    /// It answered no ping.
    Silent,
    /// History cannot be read; it may go on from its cursor later.
    NoHistory,
    /// The daemon stops.
    Stopping,
    /// Other tokens count now, and perhaps not its own.
    TokensChanged,
}

impl Ended {
    /// What the subscriber is told, if it listens.
    fn words(self) -> Option<(u16, &'static str)> {
        match self {
            Ended::Gone => None,
            Ended::Slow => Some((close_code::POLICY, "events were not taken in time; go on from your cursor")),
            Ended::Silent => Some((close_code::POLICY, "no ping was answered; go on from your cursor")),
            Ended::NoHistory => Some((close_code::AGAIN, "history cannot be read now; go on from your cursor later")),
            Ended::Stopping => Some((close_code::AWAY, "the daemon is stopping; go on from your cursor")),
            Ended::TokensChanged => Some((close_code::AGAIN, "tokens have changed; go on from your cursor with yours")),
        }
    }
}

/// One subscriber.
struct Stream<'a> {
    socket: WebSocket,
    link: &'a ControlLink,
    sight: Sight,
    position: u64,
    tokens: watch::Receiver<()>,
    taken_within: Duration,
}

/// Serves one subscriber until it goes, is too slow, or the daemon stops; tells it why, if it can still be told.
pub(super) async fn stream(
    socket: WebSocket,
    link: &ControlLink,
    sight: Sight,
    after: Option<u64>,
    tokens: watch::Receiver<()>,
    taken_within: Duration,
) -> Ended {
    let position = after.unwrap_or(link.seen.borrow().position);
    let mut stream = Stream { socket, link, sight, position, tokens, taken_within };
    let ended = match stream.serve().await {
        Ok(never) => match never {},
        Err(ended) => ended,
    };
    if let Some((code, reason)) = ended.words() {
        let close = Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }));
        // Whoever did not read may do so now, for a moment.
        let _ = tokio::time::timeout(CLOSE_WITHIN, stream.socket.send(close)).await;
    }
    ended
}

impl Stream<'_> {
    async fn serve(&mut self) -> Result<Infallible, Ended> {
        let mut live = self.link.happened.subscribe();
        let mut ping = tokio::time::interval(PING_EVERY);
        let mut unanswered = 0;
        self.catch_up().await?;
        loop {
            tokio::select! {
                news = live.recv() => match news {
                    Ok(happened) => self.tell(happened).await?,
                    Err(RecvError::Lagged(_)) => self.catch_up().await?,
                    Err(RecvError::Closed) => return Err(Ended::Stopping),
                },
                () = self.link.commands.closed() => return Err(Ended::Stopping),
                Ok(()) = self.tokens.changed() => return Err(Ended::TokensChanged),
                _ = ping.tick() => {
                    unanswered += 1;
                    if unanswered > PINGS_UNANSWERED_MAX {
                        return Err(Ended::Silent);
                    }
                    self.say(Message::Ping(Bytes::new())).await?;
                }
                heard = self.socket.recv() => match heard {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Ended::Gone),
                    Some(Ok(_)) => unanswered = 0,
                },
            }
        }
    }

    /// What just happened, unless history has told it already.
    async fn tell(&mut self, happened: Happened) -> Result<(), Ended> {
        if happened.position.is_some_and(|at| at <= self.position) {
            return Ok(());
        }
        self.position = happened.position.unwrap_or(self.position);
        let state = Arc::clone(&self.link.seen.borrow());
        self.show(&state.state, happened).await
    }

    /// Sends history after the position until none is left.
    async fn catch_up(&mut self) -> Result<(), Ended> {
        let mut failures = 0;
        loop {
            let happened = match history(self.link, self.position, PAGE_MAX).await {
                Ok(happened) => happened,
                Err(_) if failures == HISTORY_FAILURES_MAX => return Err(Ended::NoHistory),
                Err(_) => {
                    failures += 1;
                    tokio::time::sleep(HISTORY_AGAIN_AFTER).await;
                    continue;
                }
            };
            let Some(last) = happened.last().and_then(|event| event.position) else { return Ok(()) };
            let state = Arc::clone(&self.link.seen.borrow());
            for event in happened {
                self.show(&state.state, event).await?;
            }
            self.position = last;
        }
    }

    async fn show(&mut self, state: &State, happened: Happened) -> Result<(), Ended> {
        if !self.sight.shows(state, &happened.recorded) {
            return Ok(());
        }
        match serde_json::to_string(&view(happened, &self.sight)) {
            Ok(text) => self.say(Message::Text(Utf8Bytes::from(text))).await,
            Err(fault) => {
                tracing::error!(%fault, "an event could not be shown");
                Ok(())
            }
        }
    }

    async fn say(&mut self, message: Message) -> Result<(), Ended> {
        match tokio::time::timeout(self.taken_within, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Gone),
            Err(_) => Err(Ended::Slow),
        }
    }
}
