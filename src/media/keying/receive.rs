//! When a port's talker has keyed. The floor decides whether it may talk; this only says that it wants to.
//!
//! ```text
//!            sign of a key           burst_min_ms of it
//!   Idle -------------------> Candidate -----------------> Keyed
//!    ^ ^    Candidate            |           Keyed           |
//!    | +-------------------------+                           |
//!    |   let go or silent: TooShort                          |
//!    +-------------------------------------------------------+
//!        let go or silent: Unkeyed(Released | Silence); own transmission: Unkeyed(Inhibited)
//! ```
//!
//! A candidate's packets are the caller's to delay: they are heard once it is keyed. `burst_min_ms = 0` skips it.

use crate::domain::audio::Level;
use crate::domain::floor::BurstEnd;
use crate::domain::port::{ReceiveKeying, ReceiveSpec};
use crate::domain::time::{FRAME_MS, MonoTime};

/// What one arriving packet says about its talker's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cue {
    /// Audio: the keying extension's key bit and the level, as far as they are known.
    Audio { key: Option<bool>, level: Option<Level> },
    /// Comfort noise, or an Opus DTX frame: no speech, but a sign of life.
    Pause { key: Option<bool> },
    /// An event of RFC 4733 that keys (true) or lets go.
    Event(bool),
}

/// What became of a port's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// Nothing.
    None,
    /// Somebody may have keyed: delay the packets until it is certain.
    Candidate,
    /// Somebody talks since then.
    Keyed { since: MonoTime },
    /// It was too short for a burst: what was delayed is missed.
    TooShort { heard_ms: u16 },
    /// The burst is over; frames that arrived at or after `tail_from` are declared squelch tail.
    Unkeyed { cause: BurstEnd, tail_from: MonoTime },
    /// Keyed longer than the port's talk limit: whatever floor it still holds ends as timed out. The floor checks
    /// first; this is the second check, and bites for who waited in a queue. Told once; it stays keyed until it lets go.
    OverLimit,
}

/// One port's ear for keys.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveKeyer {
    spec: ReceiveSpec,
    state: State,
    deaf_until: MonoTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Candidate(Heard),
    Keyed { heard: Heard, over_limit: bool },
}

/// The times of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    since: MonoTime,
    /// The last packet that counts for this keying.
    last: MonoTime,
    /// The talker sends nothing while it pauses.
    pauses: bool,
}

/// What a cue means under one way of keying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// A key where there was none, and life.
    Key,
    /// Life, but no key.
    Life,
    /// The key is up.
    LetGo,
    /// No meaning.
    Nothing,
}

impl ReceiveKeyer {
    /// Nobody has keyed.
    pub const fn new(spec: ReceiveSpec) -> Self {
        Self { spec, state: State::Idle, deaf_until: MonoTime(0) }
    }

    /// A packet accepted from the port's peer. While [`Self::is_deaf`] it changes nothing.
    pub fn handle_cue(&mut self, cue: Cue, now: MonoTime) -> KeyChange {
        if self.is_deaf(now) {
            return KeyChange::None;
        }
        let pause = matches!(cue, Cue::Pause { .. });
        match (self.state, self.sign(cue)) {
            (State::Idle, Sign::Key) => {
                self.state = State::Candidate(Heard { since: now, last: now, pauses: false });
                let confirmed = self.confirm(now);
                if confirmed == KeyChange::None { KeyChange::Candidate } else { confirmed }
            }
            (State::Candidate(heard), Sign::Key | Sign::Life) => {
                self.state = State::Candidate(Heard { last: now, pauses: heard.pauses || pause, ..heard });
                self.confirm(now)
            }
            (State::Keyed { heard, over_limit }, Sign::Key | Sign::Life) => {
                let heard = Heard { last: now, pauses: heard.pauses || pause, ..heard };
                self.state = State::Keyed { heard, over_limit };
                self.check_limit(now)
            }
            (State::Candidate(_) | State::Keyed { .. }, Sign::LetGo) => self.end(BurstEnd::Released, now),
            (State::Idle, Sign::Life | Sign::LetGo | Sign::Nothing) => KeyChange::None,
            (State::Candidate(_) | State::Keyed { .. }, Sign::Nothing) => KeyChange::None,
        }
    }

    /// Silence and the talk limit: every 20 ms.
    pub fn tick(&mut self, now: MonoTime) -> KeyChange {
        match self.state {
            State::Idle => KeyChange::None,
            State::Candidate(heard) | State::Keyed { heard, .. } if now.ms_since(heard.last) >= self.end_ms(heard) => {
                self.end(BurstEnd::Silence, now)
            }
            State::Candidate(_) => KeyChange::None,
            State::Keyed { .. } => self.check_limit(now),
        }
    }

    /// The port itself, or another on its RF channel, transmits now: call it with every tick of the transmission.
    /// The port is deaf until `inhibit_after_transmit_ms` after the last call.
    pub fn inhibit(&mut self, now: MonoTime) -> KeyChange {
        let deaf_ms = u64::from(self.spec.inhibit_after_transmit_ms).max(FRAME_MS);
        self.deaf_until = self.deaf_until.max(now.plus_ms(deaf_ms));
        self.end(BurstEnd::Inhibited, now)
    }

    /// Whether what arrives now is its own transmission or the tail of it.
    pub fn is_deaf(&self, now: MonoTime) -> bool {
        now < self.deaf_until
    }

    /// Whether a burst is open.
    pub const fn is_keyed(&self) -> bool {
        matches!(self.state, State::Keyed { .. })
    }

    /// Whether a burst may be about to open.
    pub const fn is_candidate(&self) -> bool {
        matches!(self.state, State::Candidate(_))
    }

    /// A candidate that has lasted is a key. One packet counts for its own 20 ms; waiting alone proves nothing.
    fn confirm(&mut self, now: MonoTime) -> KeyChange {
        let State::Candidate(heard) = self.state else { return KeyChange::None };
        if heard.last.plus_ms(FRAME_MS).ms_since(heard.since) < u64::from(self.spec.burst_min_ms) {
            return KeyChange::None;
        }
        self.state = State::Keyed { heard, over_limit: false };
        debug_assert!(heard.since <= now);
        KeyChange::Keyed { since: heard.since }
    }

    fn check_limit(&mut self, now: MonoTime) -> KeyChange {
        let State::Keyed { heard, over_limit: false } = self.state else { return KeyChange::None };
        // The floor's limit is never longer and acts within a tick; a grant begins when a candidate is confirmed.
        let limit_ms = u64::from(self.spec.talk_limit_ms) + self.end_ms(heard) + 2 * FRAME_MS;
        if now.ms_since(heard.since) < limit_ms {
            return KeyChange::None;
        }
        self.state = State::Keyed { heard, over_limit: true };
        KeyChange::OverLimit
    }

    fn end(&mut self, cause: BurstEnd, now: MonoTime) -> KeyChange {
        let was = self.state;
        self.state = State::Idle;
        match was {
            State::Idle => KeyChange::None,
            State::Candidate(heard) => {
                let heard_ms = heard.last.plus_ms(FRAME_MS).ms_since(heard.since).min(u64::from(u16::MAX));
                KeyChange::TooShort { heard_ms: heard_ms as u16 }
            }
            State::Keyed { heard, .. } => {
                let tail_from = match cause {
                    BurstEnd::Released | BurstEnd::Silence => {
                        let tail_ns = u64::from(self.spec.tail_ms) * 1_000_000;
                        MonoTime(heard.last.plus_ms(FRAME_MS).0.saturating_sub(tail_ns)).max(heard.since)
                    }
                    BurstEnd::TimedOut
                    | BurstEnd::PreEmpted
                    | BurstEnd::Revoked
                    | BurstEnd::LegLeft
                    | BurstEnd::PatchClosed
                    | BurstEnd::PortClosed
                    | BurstEnd::Inhibited
                    | BurstEnd::Restart => heard.last.plus_ms(FRAME_MS).max(now),
                };
                KeyChange::Unkeyed { cause, tail_from }
            }
        }
    }

    fn end_ms(&self, heard: Heard) -> u64 {
        let declared = u64::from(self.spec.end_ms);
        if heard.pauses { declared.max(END_WITH_PAUSES_MS) } else { declared }
    }

    fn sign(&self, cue: Cue) -> Sign {
        match (self.spec.keying, cue) {
            (ReceiveKeying::Presence, Cue::Audio { .. }) => Sign::Key,
            (ReceiveKeying::Presence, Cue::Pause { .. }) => Sign::Life,
            (ReceiveKeying::Presence, Cue::Event(_)) => Sign::Nothing,
            (ReceiveKeying::Event, Cue::Event(true)) => Sign::Key,
            (ReceiveKeying::Event, Cue::Event(false)) => Sign::LetGo,
            (ReceiveKeying::Event, Cue::Audio { .. } | Cue::Pause { .. }) => Sign::Life,
            (ReceiveKeying::Ext, Cue::Audio { key: Some(true), .. } | Cue::Pause { key: Some(true) }) => Sign::Key,
            (ReceiveKeying::Ext, Cue::Audio { key: Some(false), .. } | Cue::Pause { key: Some(false) }) => Sign::LetGo,
            // A packet without the element neither keys nor lets go: elements may be left out of some packets.
            (ReceiveKeying::Ext, Cue::Audio { key: None, .. } | Cue::Pause { key: None }) => Sign::Life,
            (ReceiveKeying::Ext, Cue::Event(_)) => Sign::Nothing,
            (ReceiveKeying::Vox, Cue::Audio { level: Some(level), .. }) if level <= VOX_OPEN => Sign::Key,
            (ReceiveKeying::Vox, Cue::Audio { level: Some(level), .. }) if level <= VOX_CLOSE => Sign::Life,
            (ReceiveKeying::Vox, Cue::Audio { .. } | Cue::Pause { .. } | Cue::Event(_)) => Sign::Nothing,
        }
    }
}

/// Opus sends one DTX frame every 400 ms: a pause is only over later than that (ms).
const END_WITH_PAUSES_MS: u64 = 450;
/// Speech at a telephone's distance is louder than this, room noise is not.
const VOX_OPEN: Level = Level(40);
/// Within a burst, so much softer still counts as speech.
const VOX_CLOSE: Level = Level(50);

#[cfg(test)]
mod tests;
