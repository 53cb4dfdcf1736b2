//! Copies of one call: several gateways of a talkgroup receive the same radio, each with its own delay, squelch and
//! losses. One of them is heard; when it stops, another goes on from the word where it stopped, if there is one (law 4).
//!
//! Copies are laid beside each other by the place of their packets since the key, told by the RTP clock: keys that begin
//! together are taken for the same word, a later one for a receiver that the talker has come into reach of. So what a
//! slower copy still brings of a call that is over is known to be heard, and opens no burst.
//!
//! It compares no sound, so places are only nearly right, and in doubt nothing is heard twice: where a copy takes over, up
//! to 60 ms are skipped, [`LAG_MS`] more if it came later, and up to [`TOGETHER_MS`] if its squelch opened late.

use crate::domain::audio::Format;
use crate::domain::floor::BurstEnd;
use crate::domain::time::MonoTime;

use super::delay::Delayed;
use super::discard::Discard;
use super::outbox::Outbox;
use super::shard::Shard;
use super::slab::{GroupSlot, PortSlot};

/// One talkgroup's latest call from the air, in the time of its first copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call {
    /// When its first copy keyed; none before the first call.
    began_at: Option<MonoTime>,
    /// Which port that copy came through.
    first: Option<PortSlot>,
    /// How far it has been heard (ms after its first word).
    heard_ms: i64,
}

/// One port's key as a copy of its talkgroup's call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Copied {
    part: Part,
    /// RTP timestamp of its first word, and its clock (Hz).
    first: Option<(u32, u32)>,
    /// From its own first word back to the call's (ms).
    behind_ms: i64,
    /// How much later than the call's first copy it keyed, if they began together (ms).
    lag_ms: i64,
}

/// What is done with a copy's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// They are heard; no other copy is.
    #[default]
    Heard,
    /// Another copy is heard: they are kept for a while.
    VotedOut,
    /// The copy that was heard has stopped: the first one beyond that is heard.
    Next,
}

impl Copied {
    /// Whether another copy is heard.
    pub fn is_voted_out(&self) -> bool {
        self.part == Part::VotedOut
    }

    /// A packet of this key has come.
    pub fn place(&mut self, timestamp: u32, format: Format) {
        self.first = match self.first {
            // A packet that overtook the first word came before it.
            Some((first, clock_hz)) if clock_hz == format.clock_hz => {
                let before = first.wrapping_sub(timestamp);
                Some((if before < clock_hz / 5 { timestamp } else { first }, clock_hz))
            }
            Some(_) | None => Some((timestamp, format.clock_hz)),
        };
    }

    /// Its key is over.
    pub fn leave(&mut self) {
        *self = Self::default();
    }

    /// Where a packet lies in the call (ms). A clock that jumped in mid-key is not believed, its arrival is.
    fn place_ms(&self, packet: &Delayed, keyed_at: MonoTime) -> i64 {
        let arrived_ms = packet.arrived_at.ms_since(keyed_at) as i64;
        let stamped_ms = self.first.map_or(arrived_ms, |(first, clock_hz)| {
            i64::from(packet.timestamp.wrapping_sub(first)) * 1_000 / i64::from(clock_hz)
        });
        let believed_ms = if stamped_ms.abs_diff(arrived_ms) <= TOGETHER_MS { stamped_ms } else { arrived_ms };
        self.behind_ms + believed_ms
    }
}

impl Shard {
    /// A port has keyed: whether it is heard. If not, its packets are kept for the moment in which it may be.
    pub(super) fn enter_vote(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) -> bool {
        let Some(group) = self.voting_group(port) else { return true };
        let part = self.part_of(group, port);
        self.ports[port].copy.part = part;
        match part {
            Part::Heard => {
                self.begin_call(group, port);
                return true;
            }
            Part::Next => self.groups[group].receiving = Some(port),
            Part::VotedOut => {}
        }
        self.borrow_delay_line(port, now, out);
        false
    }

    /// Lays the port's key beside the call.
    fn part_of(&mut self, group: GroupSlot, port: PortSlot) -> Part {
        let Call { began_at, first, .. } = self.groups[group].call;
        let Some(began_at) = began_at else { return Part::Heard };
        let lag_ms = self.ports[port].keyed_at.ms_since(began_at);
        let together = lag_ms <= TOGETHER_MS;
        let heard = self.groups[group].receiving.filter(|other| *other != port).and_then(|other| self.ports.get(other));
        let part = match heard {
            Some(heard) if heard.burst.is_some() => Part::VotedOut,
            Some(heard) if together && heard.copy.part == Part::Next => Part::VotedOut,
            // So short a call that its slow copy comes after its end.
            None if together && first != Some(port) => Part::Next,
            Some(_) | None => return Part::Heard,
        };
        let copy = &mut self.ports[port].copy;
        (copy.behind_ms, copy.lag_ms) = if together { (0, lag_ms as i64) } else { (lag_ms as i64 - LAG_MS, LAG_MS) };
        part
    }

    /// What other gateways still bring belongs to the call before, or comes to be a copy of this one.
    fn begin_call(&mut self, group: GroupSlot, port: PortSlot) {
        let began_at = self.ports[port].keyed_at;
        self.groups[group].receiving = Some(port);
        self.groups[group].call = Call { began_at: Some(began_at), first: Some(port), heard_ms: 0 };
        for at in 0..self.groups[group].ports.len() {
            let other = self.groups[group].ports[at];
            if other != port && self.ports[other].keyer.is_keyed() {
                let open = &mut self.ports[other];
                open.copy.part = Part::VotedOut;
                open.copy.behind_ms = -(began_at.ms_since(open.keyed_at) as i64 + open.copy.lag_ms);
            }
        }
    }

    /// A packet of a key: whether it is to be heard.
    pub(super) fn vote(
        &mut self,
        port: PortSlot,
        packet: &Delayed,
        now: MonoTime,
        out: &mut Outbox,
    ) -> Result<(), Discard> {
        let Some(group) = self.voting_group(port) else { return Ok(()) };
        let open = &self.ports[port];
        let (keyed_at, packet_ms) = (open.keyed_at, i64::from(open.format_in.packet_ms));
        let place_ms = open.copy.place_ms(packet, keyed_at);
        match open.copy.part {
            Part::VotedOut => return Err(Discard::VotedOut),
            Part::Next if place_ms + packet_ms / 2 < self.groups[group].call.heard_ms + DOUBT_MS => {
                return Err(Discard::VotedOut);
            }
            Part::Next => {
                self.ports[port].copy.part = Part::Heard;
                self.key(port, keyed_at, now, out);
            }
            Part::Heard => {}
        }
        let call = &mut self.groups[group].call;
        call.heard_ms = call.heard_ms.max(place_ms + packet_ms);
        Ok(())
    }

    /// The copy that was heard has stopped: another gateway that still receives the talker goes on, the one that was
    /// heard from last.
    pub(super) fn take_over(&mut self, group: GroupSlot, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        if self.groups[group].receiving != Some(port) {
            return;
        }
        self.groups[group].receiving = None;
        let waits = |other: &PortSlot| {
            let other = self.ports.get(*other).filter(|_| *other != port);
            other.is_some_and(|other| other.copy.is_voted_out() && other.keyer.is_keyed())
        };
        let waiting = self.groups[group].ports.iter().copied().filter(waits);
        let Some(next) = waiting.max_by_key(|port| self.ports[*port].packet_at) else { return };
        self.groups[group].receiving = Some(next);
        self.ports[next].copy.part = Part::Next;
        self.drain_delay(next, now, out);
    }

    /// A copy that stalls while another one arrives gives way before its key has timed out.
    pub(super) fn check_copy(&mut self, group: GroupSlot, now: MonoTime, out: &mut Outbox) {
        let Some(heard) = self.groups[group].receiving else { return };
        let fresh = |port: &super::port::Port| {
            port.copy.is_voted_out() && port.keyer.is_keyed() && now.ms_since(port.packet_at) < FRESH_MS
        };
        let other_arrives =
            self.groups[group].ports.iter().any(|port| *port != heard && self.ports.get(*port).is_some_and(fresh));
        let Some(stalled) = self.ports.get_mut(heard) else { return };
        if !other_arrives || now.ms_since(stalled.packet_at) < STALLS_MS {
            return;
        }
        stalled.copy.part = Part::VotedOut;
        if let Some(burst) = stalled.burst {
            self.end_burst(burst, BurstEnd::Silence, now, out);
        }
        self.take_over(group, heard, now, out);
    }

    /// The talkgroup whose voice this radio is one copy of.
    pub(super) fn voting_group(&self, port: PortSlot) -> Option<GroupSlot> {
        let open = &self.ports[port];
        let group = open.spec.group.filter(|_| open.is_radio())?;
        self.group_by_id.get(&group).copied()
    }
}

/// Receivers of one channel, each behind its own network and squelch, begin within this of each other (ms).
const TOGETHER_MS: u64 = 300;
/// How much slower a copy may be that came later: that cannot be known of it (ms).
const LAG_MS: i64 = 100;
/// The first packets of either copy may have been lost: so far their places may be wrong (ms).
const DOUBT_MS: i64 = 40;
/// A copy is heard at the latest so long after another one stopped as that one may lead it, and the stall that tells
/// of it (ms).
pub const COPY_KEPT_MS: u64 = 400;
/// A copy whose next packets are three frames late has stopped.
const STALLS_MS: u64 = 60;
/// Another copy is alive if its latest packet is at most two frames old.
const FRESH_MS: u64 = 40;
