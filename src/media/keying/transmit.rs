//! When a port's transmitter is raised and speech may flow into it.
//!
//! ```text
//!            begin          grant, or its time          end             tail over
//!   Idle ------------> Keying --------------> OnAir ----------> Tail ---------------> Idle
//!    ^     Raise          |  ^     OnAir       |  ^               |       Lower
//!    |                    |  |                 |  +---------------+
//!    |       deny, no     |  | its time:       |      begin: OnAir
//!    |       grant sign   |  | Rekey           | deny
//!    |                    v  |                 |
//!    |                  Denied <---------------+    first time only
//!    |
//!    +---- end ---- Failed <---- denied twice, or talk limit; from any state but Idle
//! ```
//!
//! A far side with a floor of its own answers in its words ([`FarFloor`]) and repeats them: granted keeps on air,
//! queued keeps Keying, revoked is Failed at once, and silence after a grant is as good as no grant.
//!
//! `stop` (start-up, reconnect, drain, a cut) lowers from every state. Immediate transmitters pass Keying at once.

use crate::domain::floor::MissCause;
use crate::domain::port::{GrantSign, TransmitKeying, TransmitSpec};
use crate::domain::time::MonoTime;

/// What the caller must do on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransmitChange {
    /// Nothing.
    None,
    /// Give the key sign; speech waits.
    Raise,
    /// Give the key sign; speech may follow at once.
    RaiseOnAir,
    /// Speech may flow.
    OnAir,
    /// Take the sign back; speech waits for [`TransmitChange::Rekey`].
    Pause,
    /// Take the sign back if it stands and give it again; speech waits unless `may_send`.
    Rekey,
    /// Take the sign back; nothing was lost by it.
    Lower,
    /// Take the sign back; speech still held is missed, until [`TransmitKeyer::end`].
    Failed(MissCause),
}

/// What the far side says of its own floor, again and again while we key it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FarFloor {
    /// Nothing that concerns our request.
    Silent,
    /// Ours is heard there.
    Granted,
    /// Ours waits for others.
    Queued,
    /// Ours will not be heard.
    Denied,
    /// Ours was heard and is no longer.
    Revoked,
}

/// One port's transmitter.
#[derive(Clone, Copy, Debug)]
pub struct TransmitKeyer {
    spec: TransmitSpec,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Keying {
        since: MonoTime,
        denials: u8,
    },
    OnAir {
        raised_at: MonoTime,
        denials: u8,
        /// When the far floor last said that we hold it, if it is one that says so.
        told_at: Option<MonoTime>,
    },
    Tail {
        raised_at: MonoTime,
        until: MonoTime,
    },
    Denied {
        retry_at: MonoTime,
    },
    /// Nothing more of this burst; for good, nor of whoever is in need.
    Failed {
        for_good: bool,
    },
}

impl TransmitKeyer {
    /// A transmitter that is down; [`Self::stop`] it once before use, a former life may have left it keyed.
    pub const fn new(spec: TransmitSpec) -> Self {
        Self { spec, state: State::Idle }
    }

    /// There is speech for this transmitter; idempotent, call it with every packet of a burst.
    pub fn begin(&mut self, now: MonoTime) -> TransmitChange {
        match self.state {
            State::Idle => self.raise(0, now),
            State::Tail { raised_at, .. } if self.is_half_spent(raised_at, now) => {
                // The transmitter's limit counts from its raising: a new burst shall not die of the last one's age.
                self.raise(0, now);
                TransmitChange::Rekey
            }
            State::Tail { raised_at, .. } => {
                self.state = State::OnAir { raised_at, denials: 0, told_at: None };
                TransmitChange::OnAir
            }
            State::Keying { .. } | State::OnAir { .. } | State::Denied { .. } | State::Failed { .. } => {
                TransmitChange::None
            }
        }
    }

    /// The far side says GRANT; counts only where it is waited for.
    pub fn grant(&mut self, now: MonoTime) -> TransmitChange {
        match (self.state, self.spec.grant) {
            (State::Keying { denials, .. }, GrantSign::Signalled) => {
                self.state = State::OnAir { raised_at: now, denials, told_at: None };
                TransmitChange::OnAir
            }
            (State::Keying { .. }, GrantSign::Immediate | GrantSign::AfterMs(_)) => TransmitChange::None,
            (
                State::Idle | State::OnAir { .. } | State::Tail { .. } | State::Denied { .. } | State::Failed { .. },
                GrantSign::Immediate | GrantSign::AfterMs(_) | GrantSign::Signalled,
            ) => TransmitChange::None,
        }
    }

    /// The far side says DENY: one retry, then the burst is missed here.
    pub fn deny(&mut self, now: MonoTime) -> TransmitChange {
        match self.state {
            State::Keying { denials, .. } | State::OnAir { denials, .. } => {
                self.retry_or_fail(denials, MissCause::TransmitDenied, now)
            }
            State::Tail { .. } => {
                self.state = State::Idle;
                TransmitChange::Lower
            }
            State::Idle | State::Denied { .. } | State::Failed { .. } => TransmitChange::None,
        }
    }

    /// The far floor's word; counts only where a grant is signalled.
    pub fn answer(&mut self, floor: FarFloor, now: MonoTime) -> TransmitChange {
        if self.spec.grant != GrantSign::Signalled {
            return TransmitChange::None;
        }
        match (floor, self.state) {
            (FarFloor::Granted, State::Keying { denials, .. }) => {
                self.state = State::OnAir { raised_at: now, denials, told_at: Some(now) };
                TransmitChange::OnAir
            }
            (FarFloor::Granted, State::OnAir { raised_at, denials, .. }) => {
                self.state = State::OnAir { raised_at, denials, told_at: Some(now) };
                TransmitChange::None
            }
            (FarFloor::Queued, State::Keying { denials, .. }) => {
                self.state = State::Keying { since: now, denials };
                TransmitChange::None
            }
            (FarFloor::Denied, State::Keying { .. } | State::OnAir { .. }) => self.deny(now),
            // To ask again for a talker from whom the floor was taken would take the taking back.
            (FarFloor::Revoked, State::Keying { .. } | State::OnAir { .. }) => {
                self.state = State::Failed { for_good: true };
                TransmitChange::Failed(MissCause::TransmitDenied)
            }
            (
                FarFloor::Silent | FarFloor::Granted | FarFloor::Queued | FarFloor::Denied | FarFloor::Revoked,
                State::Idle
                | State::Keying { .. }
                | State::OnAir { .. }
                | State::Tail { .. }
                | State::Denied { .. }
                | State::Failed { .. },
            ) => TransmitChange::None,
        }
    }

    /// What was held has waited too long and is missed: one retry for what follows, then nothing more of this burst.
    pub fn overrun(&mut self, now: MonoTime) -> TransmitChange {
        match self.state {
            State::Keying { denials, .. } => self.retry_or_fail(denials, MissCause::HoldOverrun, now),
            State::Denied { .. } => {
                self.state = State::Failed { for_good: false };
                TransmitChange::Failed(MissCause::HoldOverrun)
            }
            State::Idle | State::OnAir { .. } | State::Tail { .. } | State::Failed { .. } => TransmitChange::None,
        }
    }

    /// Whoever is in need knocks again where others are done, but not against a limit or a taking.
    pub fn knock(&mut self) {
        if matches!(self.state, State::Failed { for_good: false }) {
            self.state = State::Idle;
        }
    }

    /// All speech of the burst has been sent, or will never be.
    pub fn end(&mut self, now: MonoTime) -> TransmitChange {
        match self.state {
            State::OnAir { raised_at, .. } if self.spec.tail_ms > 0 => {
                self.state = State::Tail { raised_at, until: now.plus_ms(u64::from(self.spec.tail_ms)) };
                TransmitChange::None
            }
            State::OnAir { .. } | State::Keying { .. } => {
                self.state = State::Idle;
                TransmitChange::Lower
            }
            State::Denied { .. } | State::Failed { .. } => {
                self.state = State::Idle;
                TransmitChange::None
            }
            State::Idle | State::Tail { .. } => TransmitChange::None,
        }
    }

    /// Start-up, reconnect, drain, a cut: the transmitter is lowered whatever was. A former life may have left a
    /// latching one keyed, so the sign goes out from Idle as well; presence needs none.
    pub fn stop(&mut self) -> TransmitChange {
        let was = self.state;
        self.state = State::Idle;
        match (was, self.spec.keying) {
            (State::Idle, TransmitKeying::Presence) => TransmitChange::None,
            (
                State::Idle
                | State::Keying { .. }
                | State::OnAir { .. }
                | State::Tail { .. }
                | State::Denied { .. }
                | State::Failed { .. },
                TransmitKeying::Presence | TransmitKeying::Event | TransmitKeying::Ext,
            ) => TransmitChange::Lower,
        }
    }

    /// Grants by time, retries, tails, limits: every 20 ms.
    pub fn tick(&mut self, now: MonoTime) -> TransmitChange {
        match self.state {
            State::Keying { since, denials } => match self.spec.grant {
                GrantSign::Immediate => self.on_air(since, denials),
                GrantSign::AfterMs(ms) if now.ms_since(since) >= u64::from(ms) => self.on_air(since, denials),
                GrantSign::Signalled if now.ms_since(since) >= GRANT_WAIT_MS => {
                    self.retry_or_fail(denials, MissCause::TransmitDenied, now)
                }
                GrantSign::AfterMs(_) | GrantSign::Signalled => TransmitChange::None,
            },
            State::OnAir { raised_at, .. } if now.ms_since(raised_at) >= self.limit_ms() => {
                self.state = State::Failed { for_good: true };
                TransmitChange::Failed(MissCause::TalkLimit)
            }
            State::OnAir { told_at: Some(told_at), denials, .. } if now.ms_since(told_at) >= GRANT_WAIT_MS => {
                self.retry_or_fail(denials, MissCause::TransmitDenied, now)
            }
            State::Tail { until, .. } if now >= until => {
                self.state = State::Idle;
                TransmitChange::Lower
            }
            State::Denied { retry_at } if now >= retry_at => {
                self.raise(1, now);
                TransmitChange::Rekey
            }
            State::Idle | State::OnAir { .. } | State::Tail { .. } | State::Denied { .. } | State::Failed { .. } => {
                TransmitChange::None
            }
        }
    }

    /// Whether speech may be sent now.
    pub const fn may_send(&self) -> bool {
        matches!(self.state, State::OnAir { .. })
    }

    /// Whether the key sign stands: the transmitter is, or may be, on the air.
    pub const fn is_raised(&self) -> bool {
        match self.state {
            State::Keying { .. } | State::OnAir { .. } | State::Tail { .. } => true,
            State::Idle | State::Denied { .. } | State::Failed { .. } => false,
        }
    }

    /// Whether the rest of this burst is missed here.
    pub const fn has_failed(&self) -> bool {
        matches!(self.state, State::Failed { .. })
    }

    fn raise(&mut self, denials: u8, now: MonoTime) -> TransmitChange {
        match self.spec.grant {
            GrantSign::Immediate => {
                self.state = State::OnAir { raised_at: now, denials, told_at: None };
                TransmitChange::RaiseOnAir
            }
            GrantSign::AfterMs(_) | GrantSign::Signalled => {
                self.state = State::Keying { since: now, denials };
                TransmitChange::Raise
            }
        }
    }

    fn on_air(&mut self, raised_at: MonoTime, denials: u8) -> TransmitChange {
        self.state = State::OnAir { raised_at, denials, told_at: None };
        TransmitChange::OnAir
    }

    fn retry_or_fail(&mut self, denials: u8, cause: MissCause, now: MonoTime) -> TransmitChange {
        if denials == 0 {
            self.state = State::Denied { retry_at: now.plus_ms(RETRY_AFTER_MS) };
            TransmitChange::Pause
        } else {
            self.state = State::Failed { for_good: false };
            TransmitChange::Failed(cause)
        }
    }

    /// The shorter of our limit and, with time for the sign to arrive, the far side's own.
    fn limit_ms(&self) -> u64 {
        let ours = u64::from(self.spec.talk_limit_ms);
        self.spec.far_timeout_ms.map_or(ours, |far| ours.min(u64::from(far).saturating_sub(LET_GO_BEFORE_MS)))
    }

    fn is_half_spent(&self, raised_at: MonoTime, now: MonoTime) -> bool {
        now.ms_since(raised_at) >= self.limit_ms() / 2
    }
}

/// A trunk that grants at all does so within a second; a far floor that still grants says so ten times in one (ms).
const GRANT_WAIT_MS: u64 = 1_000;
/// A busy trunk's next free moment, and time for the key to be seen as up (ms).
const RETRY_AFTER_MS: u64 = 300;
/// Time for our key-up to reach a latching far side, three times repeated, before its own time-out (ms).
const LET_GO_BEFORE_MS: u64 = 500;

#[cfg(test)]
mod tests;
