//! Detectors: a receiver that is stuck, noise without speech, two ports that key each other. They report and act on
//! nothing; dispatch decides.

use crate::domain::id::PortId;
use crate::domain::report::{Report, Suspicion};
use crate::domain::time::{FRAME_MS, MonoTime};

use super::level::level;
use super::outbox::Outbox;
use super::playout::{Heard, Playout};
use super::shard::Shard;
use super::slab::PortSlot;

/// What is remembered of one port's key.
#[derive(Clone, Copy, Debug, Default)]
pub struct PortWatch {
    /// Audio of this key that held no speech, in a row (ms).
    silent_ms: u32,
    /// The same, but loud.
    noise_ms: u32,
    /// Whether this key has held speech at all.
    spoke: bool,
    /// Was keyed at the last tick.
    keyed: bool,
    told_stuck_at: Option<MonoTime>,
    told_noise_at: Option<MonoTime>,
}

/// What is remembered of the shard: who let go last, and how often it went to and fro.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    last: Option<LetGo>,
    turns: u8,
}

#[derive(Clone, Copy, Debug)]
struct LetGo {
    port: PortId,
    at: MonoTime,
    spoke: bool,
}

impl Shard {
    pub(super) fn tick_watch(&mut self, now: MonoTime, out: &mut Outbox) {
        for index in 0..self.ports.reach() {
            let Some(port) = self.ports.slot_at(index) else { continue };
            let keyed = self.ports[port].burst.is_some();
            match (self.ports[port].watch.keyed, keyed) {
                (false, false) => {}
                (false, true) => self.watch_key(port, now, out),
                (true, true) => self.watch_burst(port, now, out),
                (true, false) => {
                    let open = &mut self.ports[port];
                    open.watch.keyed = false;
                    self.watch.last = Some(LetGo { port: open.spec.port, at: now, spoke: open.watch.spoke });
                }
            }
        }
    }

    /// A key that answers another's end at once, again and again without a word, is a machine's.
    fn watch_key(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        self.ports[port].watch = PortWatch { keyed: true, ..PortWatch::default() };
        let own = self.ports[port].spec.port;
        let answered =
            self.watch.last.filter(|last| last.port != own && !last.spoke && now.ms_since(last.at) <= ANSWER_WITHIN_MS);
        match answered {
            Some(last) => {
                self.watch.turns = self.watch.turns.saturating_add(1);
                if self.watch.turns == TURNS {
                    let of = Suspicion::PingPong { other: last.port, turns: self.watch.turns };
                    self.suspect(port, of, now, out);
                }
            }
            None => self.watch.turns = 0,
        }
    }

    fn watch_burst(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        let Some(burst) = self.ports[port].burst.and_then(|burst| self.bursts.get(burst)) else { return };
        let Some(playout) = &burst.playout else { return };
        let keyed_ms = now.ms_since(burst.keyed_at) as u32;
        let speaking = Playout::is_speaking(playout);
        let loud = matches!(burst.frame_heard, Heard::Voice) && level(&burst.frame).0 < LOUD_DBOV;
        let watch = &mut self.ports[port].watch;
        let frame_ms = FRAME_MS as u32;
        watch.spoke |= speaking;
        watch.silent_ms = if speaking { 0 } else { watch.silent_ms + frame_ms };
        watch.noise_ms = if speaking || !loud { 0 } else { watch.noise_ms + frame_ms };
        let noise_ms = watch.noise_ms;
        let stuck = watch.silent_ms >= STUCK_AFTER_MS && is_due(&mut watch.told_stuck_at, now);
        let noise = noise_ms >= NOISE_AFTER_MS && is_due(&mut watch.told_noise_at, now);
        if stuck {
            self.suspect(port, Suspicion::StuckReceiver { keyed_ms }, now, out);
        }
        if noise {
            self.suspect(port, Suspicion::NoiseWithoutSpeech { ms: noise_ms }, now, out);
        }
    }

    pub(super) fn suspect(&mut self, port: PortSlot, of: Suspicion, now: MonoTime, out: &mut Outbox) {
        let open = &self.ports[port];
        let Some(leg) = open.legs.first().and_then(|leg| self.legs.get(*leg)) else { return };
        let report = Report::Suspected { leg: leg.spec.leg, port: open.spec.port, of, at: now };
        self.report(report, out);
    }
}

/// Told at once, and again while it lasts: whoever raised an alarm for it lets it stand.
fn is_due(told_at: &mut Option<MonoTime>, now: MonoTime) -> bool {
    let due = told_at.is_none_or(|told| now.ms_since(told) >= TOLD_AGAIN_AFTER_MS);
    if due {
        *told_at = Some(now);
    }
    due
}

/// Twice in the minute after which an alarm that nobody repeats is cleared (ms).
const TOLD_AGAIN_AFTER_MS: u64 = 30_000;
/// Nobody thinks for so long with the key down (ms).
const STUCK_AFTER_MS: u32 = 20_000;
/// A squelch that opens on noise shows itself sooner (ms).
const NOISE_AFTER_MS: u32 = 5_000;
/// Louder than any clean pause (-dBov).
const LOUD_DBOV: u8 = 55;
/// Two repeaters' tails answer each other within this (ms).
const ANSWER_WITHIN_MS: u64 = 1_500;
/// Three times to and fro.
const TURNS: u8 = 6;
