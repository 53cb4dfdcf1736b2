//! A burst's way to the floor of each of its patches, and its one end there. The floor itself is `floor.rs`; this is
//! what the shard does with its answers: tell dispatch, tell other shards, open and close ears.

use crate::domain::floor::{BurstEnd, Denial};
use crate::domain::id::BurstId;
use crate::domain::report::{MediaLimit, Report};
use crate::domain::talker::Alias;
use crate::domain::time::MonoTime;

use super::burst::{Burst, BurstLists, Refusal, Source, TALKS_MAX, Talk, TalkState};
use super::floor::{Change, Changes, Standing, Verdict};
use super::keying::Cue;
use super::outbox::Outbox;
use super::patch::ShardSet;
use super::playout::Heard;
use super::shard::Shard;
use super::slab::{BurstSlot, LegSlot, PatchSlot, PortSlot};
use crate::domain::audio::{Codec, Format, Level, MIX_FRAME};
use crate::domain::id::PortId;
use crate::wire::rtp_extension::FloorNotice;
use crate::wire::trunk::TrunkMessage;

/// What is known of a talker when its burst begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub id: BurstId,
    pub source: Source,
    pub port: PortId,
    pub talker: Alias,
    pub emergency: bool,
    /// Unknown in a request from another shard.
    pub format: Option<Format>,
    pub keyed_at: MonoTime,
}

impl Shard {
    /// A place for a burst; none if the shard is full.
    pub(super) fn open_burst(&mut self, opening: Opening, now: MonoTime, out: &mut Outbox) -> Option<BurstSlot> {
        let Some(lists) = self.spare_lists.pop() else {
            self.hit_limit(MediaLimit::Bursts, Some(opening.port), now, out);
            return None;
        };
        self.order += 1;
        let burst = Burst {
            id: opening.id,
            source: opening.source,
            port: opening.port,
            talker: opening.talker,
            emergency: opening.emergency,
            format: opening.format.unwrap_or(Format::usual(Codec::Opus)),
            format_known: opening.format.is_some(),
            order: self.order,
            keyed_at: opening.keyed_at,
            packet_at: now,
            ended: None,
            level: Level::SILENCE,
            newest: None,
            told: None,
            tail_ms: 0,
            leveller: None,
            levelled: false,
            playout: None,
            frame: [0; MIX_FRAME],
            frame_heard: Heard::NotYet,
            lists,
        };
        match self.bursts.insert(burst) {
            Ok(slot) => {
                self.burst_index.insert(opening.id, slot);
                Some(slot)
            }
            Err(burst) => {
                self.give_lists(burst.lists);
                None
            }
        }
    }

    /// A talker of this shard has keyed: its legs' patches are asked for the floor.
    pub(super) fn key(&mut self, port: PortSlot, keyed_at: MonoTime, now: MonoTime, out: &mut Outbox) {
        let Some(open) = self.ports.get(port) else { return };
        let talker = open.talker();
        let opening = Opening {
            id: BurstId(self.entropy.next_u128()),
            source: Source::Here(port),
            port: open.spec.port,
            talker,
            emergency: open.is_emergency(talker),
            format: Some(open.format_in),
            keyed_at,
        };
        let Some(burst) = self.open_burst(opening, now, out) else {
            self.deny_all(port, Denial::Full, now, out);
            return;
        };
        self.ports[port].burst = Some(burst);
        self.prepare_level(burst, port);
        if !self.ask_all(burst, port, now, out) {
            self.deny_all(port, Denial::ListenOnly, now, out);
        }
        let waits = |talk: &Talk| matches!(talk.state, TalkState::Asked { .. } | TalkState::Queued);
        if self.ports[port].floor_notice == FloorNotice::Silent && !self.bursts[burst].lists.talks.iter().any(waits) {
            // Granted, but only where nobody listens.
            self.notify(burst, FloorNotice::Denied, now, out);
        }
    }

    /// A key that is pressed while it is down, and that nobody hears and nobody will: as if it had been let go before.
    pub(super) fn ask_again(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        let open = &self.ports[port];
        let refused = |talk: &Talk| matches!(talk.state, TalkState::Refused(_));
        let in_vain = open.burst.is_none_or(|burst| self.bursts[burst].lists.talks.iter().all(refused));
        if open.keyer.is_keyed() && in_vain {
            self.cue(port, Cue::Event(false), now, out);
        }
    }

    /// Asks every patch of a keyed port that has not been asked. Whether it may talk anywhere.
    pub(super) fn ask_all(&mut self, burst: BurstSlot, port: PortSlot, now: MonoTime, out: &mut Outbox) -> bool {
        for at in 0..self.ports[port].legs.len() {
            let slot = self.ports[port].legs[at];
            let leg = &self.legs[slot];
            if leg.spec.talks && self.bursts[burst].talk(leg.patch).is_none() {
                self.ask(burst, leg.patch, slot, now, out);
            }
        }
        !self.bursts[burst].lists.talks.is_empty()
    }

    /// Asks one patch, here or at its home.
    pub(super) fn ask(&mut self, burst: BurstSlot, patch: PatchSlot, leg: LegSlot, now: MonoTime, out: &mut Outbox) {
        if self.bursts[burst].lists.talks.len() == TALKS_MAX {
            self.hit_limit(MediaLimit::Talks, Some(self.bursts[burst].port), now, out);
            return;
        }
        let talk = Talk { patch, leg, state: TalkState::Asked { at: now }, shards: ShardSet::default(), loud: true };
        self.bursts[burst].lists.talks.push(talk);
        if self.patches[patch].floor.is_none() {
            let message = TrunkMessage::Request { talker: self.bursts[burst].talker };
            self.tell_home(burst, patch, message, now, out);
            return;
        }
        let standing = self.floor_standing(burst, leg);
        let limit_ms = self.port_limit_ms(burst);
        let Some(floor) = &mut self.patches[patch].floor else { return };
        match floor.request(burst, standing, limit_ms, now) {
            Verdict::Granted | Verdict::Continues => self.won(burst, patch, now, out),
            Verdict::GrantedAfterEnding(victim) => {
                self.lost(victim, patch, BurstEnd::PreEmpted, None, now, out);
                self.won(burst, patch, now, out);
            }
            Verdict::Queued { position } => self.queued(burst, patch, position, now, out),
            Verdict::Denied(cause) => self.denied(burst, patch, cause, now, out),
        }
    }

    /// Its emergency opened or closed: floors it holds and ears it has are weighed anew.
    pub(super) fn set_emergency(&mut self, burst: BurstSlot, emergency: bool, now: MonoTime, out: &mut Outbox) {
        if self.bursts[burst].emergency == emergency {
            return;
        }
        self.bursts[burst].emergency = emergency;
        for at in 0..self.bursts[burst].lists.talks.len() {
            let Talk { patch, leg, state, .. } = self.bursts[burst].lists.talks[at];
            match state {
                // Past its limit only the emergency kept it audible; its end is no new request.
                TalkState::PastLimit if !emergency => {
                    self.lost(burst, patch, BurstEnd::TimedOut, None, now, out);
                    continue;
                }
                TalkState::Refused(_) if !emergency => continue,
                TalkState::PastLimit
                | TalkState::Refused(_)
                | TalkState::Asked { .. }
                | TalkState::Queued
                | TalkState::Granted { .. } => {}
            }
            let standing = self.floor_standing(burst, leg);
            let limit_ms = self.port_limit_ms(burst);
            let Some(floor) = self.patches.get_mut(patch).and_then(|patch| patch.floor.as_mut()) else {
                if emergency && !state.is_heard() {
                    let message = TrunkMessage::Request { talker: self.bursts[burst].talker };
                    self.tell_home(burst, patch, message, now, out);
                }
                continue;
            };
            match floor.request(burst, standing, limit_ms, now) {
                Verdict::Granted => self.won(burst, patch, now, out),
                Verdict::GrantedAfterEnding(victim) => {
                    self.lost(victim, patch, BurstEnd::PreEmpted, None, now, out);
                    self.won(burst, patch, now, out);
                }
                Verdict::Continues | Verdict::Queued { .. } | Verdict::Denied(_) => {}
            }
        }
        self.weigh_ears(burst);
    }

    /// Its talker has let go, or went away: every patch hears of it, each once.
    pub(super) fn end_burst(&mut self, burst: BurstSlot, cause: BurstEnd, now: MonoTime, out: &mut Outbox) {
        if self.bursts[burst].ended.is_some() {
            return;
        }
        self.bursts[burst].ended = Some(cause);
        for at in 0..self.bursts[burst].lists.talks.len() {
            let patch = self.bursts[burst].lists.talks[at].patch;
            self.release(burst, patch, cause, now, out);
        }
        if let Some(port) = self.port_of(burst) {
            self.set_notice(port, FloorNotice::Silent, now, out);
        }
        if let Source::Here(port) = self.bursts[burst].source
            && let Some(open) = self.ports.get_mut(port)
            && open.burst == Some(burst)
        {
            open.burst = None;
        }
    }

    /// One patch's end of a burst that began here, or of which its origin said that it ended.
    pub(super) fn release(
        &mut self,
        burst: BurstSlot,
        patch: PatchSlot,
        cause: BurstEnd,
        now: MonoTime,
        out: &mut Outbox,
    ) {
        let Some(there) = self.patches.get_mut(patch) else { return };
        let Some(floor) = &mut there.floor else {
            let tail_ms = self.bursts[burst].tail_ms;
            self.tell_home(burst, patch, TrunkMessage::Released { cause, tail_ms }, now, out);
            self.lost(burst, patch, cause, None, now, out);
            return;
        };
        let changes = match cause {
            // It still talks: refused until it lets go.
            BurstEnd::TimedOut => floor.revoke(burst, cause, now),
            BurstEnd::Released
            | BurstEnd::Silence
            | BurstEnd::PreEmpted
            | BurstEnd::Revoked
            | BurstEnd::LegLeft
            | BurstEnd::PatchClosed
            | BurstEnd::PortClosed
            | BurstEnd::Inhibited
            | BurstEnd::Restart => floor.release(burst, cause, now),
        };
        // A floor it has lost before says nothing; those who heard it past its limit still learn of its end.
        let past_limit = self.bursts[burst].talk(patch).is_some_and(|talk| talk.state == TalkState::PastLimit);
        self.apply(patch, changes, now, out);
        if past_limit {
            self.lost(burst, patch, cause, None, now, out);
        }
    }

    /// What a floor says changed.
    pub(super) fn apply(&mut self, patch: PatchSlot, changes: Changes<BurstSlot>, now: MonoTime, out: &mut Outbox) {
        for change in changes.iter() {
            match change {
                Change::Granted(burst) => self.won(burst, patch, now, out),
                Change::Ended { key, cause, held_ms } => self.lost(key, patch, cause, Some(held_ms), now, out),
                Change::Moved { key, position } => self.queued(key, patch, position, now, out),
                Change::Turned { key, cause } => self.denied(key, patch, cause, now, out),
                // The talker's own client counts down; nobody else must know.
                Change::EndsSoon { .. } | Change::Idle => {}
            }
        }
    }

    /// It has the floor of a patch from now on.
    pub(super) fn won(&mut self, burst: BurstSlot, patch: PatchSlot, now: MonoTime, out: &mut Outbox) {
        let Some(open) = self.bursts.get_mut(burst) else { return };
        let Some(talk) = open.talk_mut(patch) else { return };
        let had_lost = matches!(talk.state, TalkState::Refused(_));
        talk.state = TalkState::Granted { since: now };
        let leg = talk.leg;
        let report = Report::BurstStarted {
            burst: open.id,
            patch: self.patches[patch].spec.patch,
            leg: self.legs[leg].spec.leg,
            port: open.port,
            talker: open.talker,
            emergency: open.emergency,
            at: now,
        };
        if self.patches[patch].floor.is_some() {
            self.counters.bursts += 1;
            self.report(report, out);
            self.tell_origin(burst, patch, TrunkMessage::Granted, now, out);
        }
        self.notify(burst, FloorNotice::Granted, now, out);
        self.open_ears(burst, now, out);
        if had_lost && self.patches[patch].floor.is_some() {
            // An emergency is heard again; shards that were told of its end would take its speech for late.
            self.tell_listeners(burst, patch, TrunkMessage::Granted, now, out);
        }
    }

    /// It no longer has the floor of a patch.
    pub(super) fn lost(
        &mut self,
        burst: BurstSlot,
        patch: PatchSlot,
        cause: BurstEnd,
        held_ms: Option<u32>,
        now: MonoTime,
        out: &mut Outbox,
    ) {
        let Some(open) = self.bursts.get_mut(burst) else { return };
        let (id, emergency) = (open.id, open.emergency);
        let Some(talk) = open.talk_mut(patch) else { return };
        let was = talk.state;
        let past_limit = emergency && cause == BurstEnd::TimedOut && matches!(was, TalkState::Granted { .. });
        talk.state = if past_limit { TalkState::PastLimit } else { TalkState::Refused(Refusal::Ended(cause)) };
        let leg = talk.leg;
        let is_home = self.patches[patch].floor.is_some();
        if let (true, TalkState::Granted { since }) = (is_home, was) {
            self.counters.burst_end(cause);
            let report = Report::BurstEnded {
                burst: id,
                patch: self.patches[patch].spec.patch,
                leg: self.legs[leg].spec.leg,
                cause,
                duration_ms: held_ms.unwrap_or(now.ms_since(since) as u32),
                at: now,
            };
            self.report(report, out);
        }
        if is_home && was.is_heard() {
            let tail_ms = self.bursts[burst].tail_ms;
            self.tell_listeners(burst, patch, TrunkMessage::Released { cause, tail_ms }, now, out);
            if !matches!(cause, BurstEnd::Released | BurstEnd::Silence) {
                self.tell_origin(burst, patch, TrunkMessage::Revoked { cause }, now, out);
            }
        }
        if was.is_heard() && !past_limit && self.bursts[burst].ended.is_none() {
            self.notify(burst, FloorNotice::Revoked, now, out);
        }
        self.close_ears(burst, patch, cause, now, out);
    }

    /// Tells a talker's own client of the floor, in the words of 3GPP TS 24.380; what is good news in one patch is not
    /// taken back by bad news from another. A floor in a patch where nobody may hear it is no news: a talkgroup of one
    /// port, such as the way to another site, always has that of its own home patch.
    pub(super) fn notify(&mut self, burst: BurstSlot, notice: FloorNotice, now: MonoTime, out: &mut Outbox) {
        let Some(port) = self.port_of(burst) else { return };
        let talks = &self.bursts[burst].lists.talks;
        let heard = talks.iter().any(|talk| talk.state.is_heard() && self.has_listener(talk));
        if heard == (notice == FloorNotice::Granted) {
            self.set_notice(port, notice, now, out);
        }
    }

    /// Routes have changed: whoever has lost the last who might hear it is told, and whoever has found the first.
    pub(super) fn notify_again(&mut self, burst: BurstSlot, now: MonoTime, out: &mut Outbox) {
        let Some(port) = self.port_of(burst).filter(|_| self.bursts[burst].ended.is_none()) else { return };
        if self.ports.get(port).is_some_and(|open| open.floor_notice == FloorNotice::Granted) {
            self.notify(burst, FloorNotice::Revoked, now, out);
        } else {
            self.notify(burst, FloorNotice::Granted, now, out);
        }
    }

    /// Whether anybody, on whatever shard, may hear a talker in one patch.
    fn has_listener(&self, talk: &Talk) -> bool {
        self.patches.get(talk.patch).is_some_and(|patch| patch.legs.iter().any(|leg| self.may_cross(talk.leg, *leg)))
    }

    fn queued(&mut self, burst: BurstSlot, patch: PatchSlot, position: u8, now: MonoTime, out: &mut Outbox) {
        let Some(talk) = self.bursts.get_mut(burst).and_then(|open| open.talk_mut(patch)) else { return };
        talk.state = TalkState::Queued;
        self.notify(burst, FloorNotice::Queued(position), now, out);
        let Some(talk) = self.bursts[burst].talk(patch) else { return };
        let leg = self.legs[talk.leg].spec.leg;
        let patch_id = self.patches[patch].spec.patch;
        self.report(Report::Queued { patch: patch_id, leg, position, at: now }, out);
        self.tell_origin(burst, patch, TrunkMessage::Queued { position }, now, out);
    }

    pub(super) fn denied(
        &mut self,
        burst: BurstSlot,
        patch: PatchSlot,
        cause: Denial,
        now: MonoTime,
        out: &mut Outbox,
    ) {
        let Some(talk) = self.bursts.get_mut(burst).and_then(|open| open.talk_mut(patch)) else { return };
        talk.state = TalkState::Refused(Refusal::Denied(cause));
        let leg = talk.leg;
        self.notify(burst, FloorNotice::Denied, now, out);
        if self.patches[patch].floor.is_some() {
            self.report_denied(leg, cause, now, out);
            self.tell_origin(burst, patch, TrunkMessage::Denied { cause }, now, out);
        }
    }

    /// A key that could not even become a burst.
    fn deny_all(&mut self, port: PortSlot, cause: Denial, now: MonoTime, out: &mut Outbox) {
        self.set_notice(port, FloorNotice::Denied, now, out);
        if let Some(leg) = self.ports[port].legs.first().copied() {
            self.report_denied(leg, cause, now, out);
        }
    }

    pub(super) fn report_denied(&mut self, leg: LegSlot, cause: Denial, now: MonoTime, out: &mut Outbox) {
        self.counters.denial(cause);
        let spec = &self.legs[leg].spec;
        let report = Report::Denied { patch: spec.patch, leg: spec.leg, cause, at: now };
        self.report(report, out);
    }

    /// At the floor no port is concerned yet, so only the host's dispatcher is one.
    fn floor_standing(&self, burst: BurstSlot, leg: LegSlot) -> Standing {
        let mut standing = self.standing(burst, leg);
        standing.owner_dispatcher = false;
        standing
    }

    fn port_limit_ms(&self, burst: BurstSlot) -> u32 {
        match self.bursts[burst].source {
            Source::Here(port) => self.ports.get(port).map_or(u32::MAX, |port| port.spec.receive.talk_limit_ms),
            // Its own shard watches its port's limit.
            Source::Trunk(_) => u32::MAX,
        }
    }

    pub(super) fn give_lists(&mut self, mut lists: BurstLists) {
        lists.talks.clear();
        lists.ears.clear();
        self.spare_lists.push(lists);
    }
}
