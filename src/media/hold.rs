//! The delay line of one transmitting port: speech waits here for a clear channel and the grant, then all of it is
//! played, and the lag falls only where nobody speaks. Not a jitter buffer: it never waits for what is missing. Taken
//! from a pool by the port, reset in place; memory is reserved when it is made. What does not fit, waits too long or
//! is cut is handed back frame by frame, so that each loss gets its cause.
//!
//! ```text
//!            push                        open
//!   Empty ----------> Waiting{deadline} ------> Playing{next_due} -- close, or reset --> Empty
//!     ^                    |  overdue: give_up        | pop: one frame each packet time
//!     +--------------------+                          +-- stays while the burst goes on
//! ```

use crate::domain::port::Pacing;
use crate::domain::time::MonoTime;

/// What a held frame is. `B` is whatever the owner calls a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldFrame<B> {
    /// Whose speech.
    pub burst: B,
    /// Extended input sequence number, for the sender.
    pub sequence: u64,
    /// Input RTP timestamp, for the sender.
    pub timestamp: u32,
    /// False if certainly nobody speaks in it.
    pub speech: bool,
    /// When it arrived.
    pub arrived_at: MonoTime,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHeld {
    /// All places are taken.
    Full,
    /// Longer than a place.
    TooLong,
    /// Its place in the burst has been played already, or it is here already.
    Late,
}

/// A frame to send now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayedFrame<'a, B> {
    /// What it is.
    pub frame: HeldFrame<B>,
    /// Frames of a pause that were left out just before it: the sender closes the gap.
    pub left_out: u16,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// What happened so far; only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoldCounts {
    /// Frames taken in.
    pub held: u64,
    /// Frames handed out to be sent.
    pub played: u64,
    /// Frames of pauses left out to regain time.
    pub left_out: u64,
    /// Frames never played: given up or cut.
    pub missed: u64,
}

/// One delay line.
#[derive(Clone, Debug)]
pub struct Hold<B> {
    frames: Box<[Option<Entry<B>>]>,
    payloads: Box<[u8]>,
    payload_max: usize,
    /// Places among the payloads that no entry uses; as many as there are frames, so it never grows.
    free: Vec<usize>,
    /// The oldest frame's place in the ring, and how many there are.
    head: usize,
    length: usize,
    state: State,
    packet_ms: u64,
    /// Frames played of the pause that is being played.
    pause_played: u16,
    played_up_to: Option<(B, u64)>,
    counts: HoldCounts,
}

#[derive(Clone, Copy, Debug)]
struct Entry<B> {
    frame: HeldFrame<B>,
    /// Its place among the payloads; moves with the entry when frames are put in order.
    place: usize,
    length: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    Waiting { deadline: MonoTime },
    Playing { next_due: MonoTime },
}

impl<B: Copy + Eq> Hold<B> {
    /// Reserves so many frames of so many bytes.
    pub fn new(frames_max: usize, payload_max: usize) -> Self {
        Self {
            frames: vec![None; frames_max].into_boxed_slice(),
            payloads: vec![0; frames_max * payload_max].into_boxed_slice(),
            payload_max,
            free: (0..frames_max).collect(),
            head: 0,
            length: 0,
            state: State::Empty,
            packet_ms: 20,
            pause_played: 0,
            played_up_to: None,
            counts: HoldCounts::default(),
        }
    }

    /// Empty again, for another port whose packets carry so many milliseconds. Whatever was held is gone: purge first.
    pub fn reset(&mut self, packet_ms: u8) {
        self.clear();
        self.packet_ms = u64::from(packet_ms.max(1));
        self.counts = HoldCounts::default();
    }

    /// Takes a frame in, in the order of its burst. The first one sets the deadline.
    pub fn push(
        &mut self,
        frame: HeldFrame<B>,
        payload: &[u8],
        hold_max_ms: u16,
        now: MonoTime,
    ) -> Result<(), NotHeld> {
        if payload.len() > self.payload_max {
            return Err(NotHeld::TooLong);
        }
        if self.played_up_to.is_some_and(|(burst, played)| burst == frame.burst && frame.sequence <= played) {
            return Err(NotHeld::Late);
        }
        if self.length == self.frames.len() {
            return Err(NotHeld::Full);
        }
        // From the back: past those of the same burst that come later.
        let mut at = self.length;
        while let Some(before) = at.checked_sub(1).and_then(|before| self.entry(before)) {
            if before.frame.burst != frame.burst || before.frame.sequence < frame.sequence {
                break;
            }
            if before.frame.sequence == frame.sequence {
                return Err(NotHeld::Late);
            }
            at -= 1;
        }
        self.insert(at, frame, payload);
        self.counts.held += 1;
        if self.state == State::Empty {
            self.state = State::Waiting { deadline: now.plus_ms(u64::from(hold_max_ms)) };
        }
        Ok(())
    }

    /// The grant is there: play.
    pub fn open(&mut self, now: MonoTime) {
        match self.state {
            State::Empty | State::Waiting { .. } => self.state = State::Playing { next_due: now },
            State::Playing { .. } => {}
        }
    }

    /// The next frame to send now: `paced` gives one each packet time, `immediate` all there are.
    pub fn pop(&mut self, pacing: Pacing, now: MonoTime) -> Option<PlayedFrame<'_, B>> {
        let State::Playing { next_due } = self.state else { return None };
        match pacing {
            Pacing::Paced if now < next_due => return None,
            Pacing::Paced | Pacing::Immediate => {}
        }
        let left_out = self.leave_out(now);
        let entry = self.take_head()?;
        let goes_on = self.played_up_to.is_some_and(|(burst, _)| burst == entry.frame.burst);
        self.pause_played = match (entry.frame.speech, goes_on) {
            (true, _) => 0,
            (false, true) => self.pause_played.saturating_add(1),
            (false, false) => 1,
        };
        // A late tick catches up, a pause of the talker does not pile up credit.
        let due = if now.ms_since(next_due) > CATCH_UP_MS { now } else { next_due };
        self.state = State::Playing { next_due: due.plus_ms(self.packet_ms) };
        self.played_up_to = Some((entry.frame.burst, entry.frame.sequence));
        self.counts.played += 1;
        let start = entry.place * self.payload_max;
        Some(PlayedFrame { frame: entry.frame, left_out, payload: &self.payloads[start..start + entry.length] })
    }

    /// The grant has gone again, or another retry: what is still held waits on, under a new deadline if there is
    /// none.
    pub fn pause(&mut self, hold_max_ms: u16, now: MonoTime) {
        match self.state {
            State::Playing { .. } if self.length == 0 => self.state = State::Empty,
            State::Playing { .. } => {
                self.state = State::Waiting { deadline: now.plus_ms(u64::from(hold_max_ms)) };
            }
            State::Empty | State::Waiting { .. } => {}
        }
    }

    /// Whether speech has waited so long that it will not be played any more.
    pub fn is_overdue(&self, now: MonoTime) -> bool {
        matches!(self.state, State::Waiting { deadline } if now >= deadline)
    }

    /// Everything held is missed; what follows starts a new wait. `missed` is told each frame, oldest first.
    pub fn give_up(&mut self, missed: impl FnMut(HeldFrame<B>)) -> u16 {
        self.purge(|_| true, missed)
    }

    /// A cut: frames of these are never played. `missed` is told each frame, oldest first.
    pub fn purge(&mut self, is_cut: impl Fn(B) -> bool, mut missed: impl FnMut(HeldFrame<B>)) -> u16 {
        let mut purged = 0;
        let mut kept = 0;
        for at in 0..self.length {
            let index = self.index(at);
            let Some(entry) = self.frames[index].take() else { continue };
            if is_cut(entry.frame.burst) {
                // Nobody shall read it by accident.
                let start = entry.place * self.payload_max;
                self.payloads[start..start + entry.length].fill(0);
                self.free.push(entry.place);
                purged += 1;
                missed(entry.frame);
            } else {
                let to = self.index(kept);
                self.frames[to] = Some(entry);
                kept += 1;
            }
        }
        self.length = kept;
        self.counts.missed += u64::from(purged);
        if kept == 0 && matches!(self.state, State::Waiting { .. }) {
            self.state = State::Empty;
        }
        purged
    }

    /// The burst is over and nothing is left: the hold may be given back. False while frames wait.
    pub fn close(&mut self) -> bool {
        if self.length > 0 {
            return false;
        }
        self.clear();
        true
    }

    /// How far behind the air it is (ms).
    pub fn lag_ms(&self, now: MonoTime) -> u64 {
        self.entry(0).map_or(0, |oldest| now.ms_since(oldest.frame.arrived_at))
    }

    /// Frames held.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether none is held.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether a frame of these is held.
    pub fn any(&self, is_meant: impl Fn(B) -> bool) -> bool {
        (0..self.length).filter_map(|nth| self.entry(nth)).any(|entry| is_meant(entry.frame.burst))
    }

    /// Whether speech waits for a grant.
    pub const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// What happened since it was reset.
    pub const fn counts(&self) -> HoldCounts {
        self.counts
    }

    /// Leaves out one frame of a pause if the port lags, another frame of the burst waits behind it, and the pause has
    /// been heard as one. One frame is played after each that is left out: a pause halves at most and never vanishes.
    fn leave_out(&mut self, now: MonoTime) -> u16 {
        let (Some(oldest), Some(next)) = (self.entry(0), self.entry(1)) else { return 0 };
        let lags = now.ms_since(oldest.frame.arrived_at) >= 2 * self.packet_ms;
        let goes_on = next.frame.burst == oldest.frame.burst;
        let heard = self.pause_played >= PAUSE_KEPT_FRAMES
            && self.played_up_to.is_some_and(|(burst, _)| burst == oldest.frame.burst);
        if oldest.frame.speech || !lags || !goes_on || !heard {
            return 0;
        }
        let left_out = self.take_head();
        debug_assert!(left_out.is_some_and(|entry| !entry.frame.speech), "speech is never left out");
        self.counts.left_out += 1;
        1
    }

    /// Puts a frame at its place in the order; the later ones move on by one.
    fn insert(&mut self, at: usize, frame: HeldFrame<B>, payload: &[u8]) {
        let place = self.free.pop().expect("there are as many payload places as frames");
        let start = place * self.payload_max;
        self.payloads[start..start + payload.len()].copy_from_slice(payload);
        for nth in (at..self.length).rev() {
            let (from, to) = (self.index(nth), self.index(nth + 1));
            self.frames[to] = self.frames[from].take();
        }
        let index = self.index(at);
        self.frames[index] = Some(Entry { frame, place, length: payload.len() });
        self.length += 1;
    }

    fn index(&self, nth: usize) -> usize {
        (self.head + nth) % self.frames.len()
    }

    fn entry(&self, nth: usize) -> Option<&Entry<B>> {
        if nth < self.length { self.frames[self.index(nth)].as_ref() } else { None }
    }

    fn take_head(&mut self) -> Option<Entry<B>> {
        if self.length == 0 {
            return None;
        }
        let entry = self.frames[self.head].take()?;
        self.head = self.index(1);
        self.length -= 1;
        // Its bytes stay until the next push.
        self.free.push(entry.place);
        Some(entry)
    }

    fn clear(&mut self) {
        debug_assert_eq!(self.length, 0, "held speech is purged with a cause before the hold changes hands");
        self.head = 0;
        self.pause_played = 0;
        self.played_up_to = None;
        self.state = State::Empty;
    }
}

/// So much of each pause is always played, or words run together (frames).
const PAUSE_KEPT_FRAMES: u16 = 5;
/// A tick may come this late and still be caught up; a longer gap is the talker's own (ms).
const CATCH_UP_MS: u64 = 60;

#[cfg(test)]
mod tests;
