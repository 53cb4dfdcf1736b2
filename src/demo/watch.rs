//! What the desks see, asked again and again by a thread: the roster for the view, and each desk's sign of life.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::demo::desk::Desk;
use crate::dispatch::view::Roster;
use crate::domain::time::MonoTime;
use crate::io::clock;

/// The last roster; none while the daemon is away.
#[derive(Clone, Debug, Default)]
pub struct LastRoster(Arc<Mutex<Option<Roster>>>);

impl LastRoster {
    pub fn get(&self) -> Option<Roster> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, roster: Option<Roster>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = roster;
    }
}

/// Asks until `over`; the first desk's roster is kept. Refusals show in the view as a roster that is missing.
pub fn watch(desks: &[Desk], roster: &LastRoster, over: &AtomicBool) {
    let mut beaten_at = MonoTime::default();
    while !over.load(Ordering::Relaxed) {
        roster.set(desks.first().and_then(|desk| desk.roster().ok()));
        if clock::mono().since(beaten_at) > BEAT_EVERY {
            beaten_at = clock::mono();
            // A beat that fails is followed by the next; the daemon may just be dead, on purpose.
            desks.iter().for_each(|desk| drop(desk.beat()));
        }
        std::thread::sleep(ASK_EVERY);
    }
}

/// Often enough for eyes.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// Far below the 30 s after which a position is lost.
const BEAT_EVERY: Duration = Duration::from_secs(5);
