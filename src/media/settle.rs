//! What opens must close: bursts that have ended, ears whose last frame was played, outcomes told once. The last thing
//! a round does.

use crate::domain::floor::{BurstEnd, Denial, FloorMode};
use crate::domain::id::PortId;
use crate::domain::report::{PortOutcome, Report};
use crate::domain::time::MonoTime;

use super::burst::{Source, TalkState};
use super::hearing::Stage;
use super::outbox::Outbox;
use super::shard::Shard;
use super::slab::{BurstSlot, PatchSlot, PortSlot};

impl Shard {
    pub(super) fn settle_bursts(&mut self, now: MonoTime, out: &mut Outbox) {
        for index in 0..self.bursts.reach() {
            let Some(burst) = self.bursts.slot_at(index) else { continue };
            self.end_lost_trunk(burst, now, out);
            self.settle_ears(burst);
            let open = &self.bursts[burst];
            if open.is_silent() || open.ended.is_some() {
                self.tell_outcomes(burst, out);
            }
            let open = &self.bursts[burst];
            if open.ended.is_some() && open.lists.ears.is_empty() {
                self.free_burst(burst, now, out);
            }
        }
    }

    pub(super) fn tick_floors(&mut self, now: MonoTime, out: &mut Outbox) {
        for index in 0..self.patches.reach() {
            let Some(patch) = self.patches.slot_at(index) else { continue };
            let Some(floor) = &mut self.patches[patch].floor else { continue };
            let changes = floor.tick(now);
            let is_open = floor.policy().mode == FloorMode::Open;
            self.apply(patch, changes, now, out);
            if is_open {
                self.choose_loudest(patch);
            }
        }
        self.deny_unanswered(now, out);
    }

    /// On an open floor all may talk and the loudest are heard; on any other, all who hold it.
    pub(super) fn choose_loudest(&mut self, patch: PatchSlot) {
        for index in 0..self.bursts.reach() {
            let Some(burst) = self.bursts.slot_at(index) else { continue };
            let Some(floor) = &mut self.patches[patch].floor else { return };
            if floor.policy().mode == FloorMode::Open && floor.holds(burst) {
                floor.set_level(burst, self.bursts[burst].level);
                self.need_decoded(burst);
            }
        }
        let Some(floor) = &mut self.patches[patch].floor else { return };
        let chosen = floor.choose();
        for index in 0..self.bursts.reach() {
            let Some(burst) = self.bursts.slot_at(index) else { continue };
            let loud = chosen.iter().any(|key| key == burst);
            let Some(talk) = self.bursts[burst].talk_mut(patch) else { continue };
            if talk.state.is_heard() && talk.loud != loud {
                talk.loud = loud;
                self.weigh_ears(burst);
            }
        }
    }

    /// A home that does not answer cannot be reached: its talkers are told so.
    fn deny_unanswered(&mut self, now: MonoTime, out: &mut Outbox) {
        for index in 0..self.bursts.reach() {
            let Some(burst) = self.bursts.slot_at(index) else { continue };
            for at in 0..self.bursts[burst].lists.talks.len() {
                let talk = self.bursts[burst].lists.talks[at];
                let TalkState::Asked { at: asked } = talk.state else { continue };
                if now.ms_since(asked) >= ANSWER_WITHIN_MS {
                    self.denied(burst, talk.patch, Denial::Unreachable, now, out);
                    self.report_denied(talk.leg, Denial::Unreachable, now, out);
                }
            }
        }
    }

    /// The burst's outcome at one port, and its ear is gone.
    pub(super) fn tell_outcome(&mut self, burst: BurstSlot, port: PortSlot, out: &mut Outbox) {
        let Some(open) = self.ports.get_mut(port) else { return };
        let Some(ear) = open.hearing.remove(burst) else { return };
        let outcome =
            PortOutcome { port: open.spec.port, heard_ms: ear.heard_ms, missed_ms: ear.missed_ms, missed: ear.missed };
        let burst = self.bursts[burst].id;
        self.report(Report::BurstHeard { burst, outcome }, out);
        self.choose(port);
    }

    /// Nothing came from the talker's shard for long: it, or the trunk, is gone.
    fn end_lost_trunk(&mut self, burst: BurstSlot, now: MonoTime, out: &mut Outbox) {
        let open = &self.bursts[burst];
        let lost = matches!(open.source, Source::Trunk(_)) && now.ms_since(open.packet_at) >= TRUNK_SILENCE_MS;
        if !lost || open.ended.is_some() {
            return;
        }
        self.end_trunk(burst, now, out);
    }

    /// A port has one burst at a time: another one of it says that this one is over, and its end was lost.
    pub(super) fn end_trunk_of(&mut self, port: PortId, now: MonoTime, out: &mut Outbox) {
        for index in 0..self.bursts.reach() {
            let Some(burst) = self.bursts.slot_at(index) else { continue };
            let open = &self.bursts[burst];
            let silent = now.ms_since(open.packet_at) >= OVERTAKEN_AFTER_MS;
            if open.port == port && silent && open.ended.is_none() && matches!(open.source, Source::Trunk(_)) {
                self.end_trunk(burst, now, out);
            }
        }
    }

    fn end_trunk(&mut self, burst: BurstSlot, now: MonoTime, out: &mut Outbox) {
        for at in 0..self.bursts[burst].lists.talks.len() {
            let talk = self.bursts[burst].lists.talks[at];
            if matches!(talk.state, TalkState::Refused(_)) {
                continue;
            }
            if self.patches[talk.patch].floor.is_some() {
                self.release(burst, talk.patch, BurstEnd::Silence, now, out);
                self.forget_talk(burst, talk.patch);
            } else {
                self.lost(burst, talk.patch, BurstEnd::Silence, None, now, out);
            }
        }
        self.bursts[burst].ended = Some(BurstEnd::Silence);
    }

    /// What only played its end may have played it.
    fn settle_ears(&mut self, burst: BurstSlot) {
        for at in 0..self.bursts[burst].lists.ears.len() {
            let port = self.bursts[burst].lists.ears[at];
            let Some(ear) = self.ports.get(port).and_then(|port| port.hearing.ear(burst)) else { continue };
            if ear.stage == Stage::Ending && !self.plays_on(burst, port) {
                if let Some(ear) = self.ports[port].hearing.ear_mut(burst) {
                    ear.stage = Stage::Over;
                }
                self.stop_voice(port, burst);
                self.choose(port);
                self.drop_silence(port);
            }
        }
    }

    /// Silence that is held behind the last word would keep a transmitter up for nobody.
    fn drop_silence(&mut self, port: PortSlot) {
        let open = &mut self.ports[port];
        if open.hearing.ears().iter().all(|ear| ear.stage == Stage::Over)
            && let Some(hold) = &mut open.hold
        {
            hold.purge(super::port::Held::is_silent, |_| {});
        }
    }

    /// As many as the outbox takes; the others wait for the next round.
    fn tell_outcomes(&mut self, burst: BurstSlot, out: &mut Outbox) {
        let mut at = 0;
        while at < self.bursts[burst].lists.ears.len() {
            let port = self.bursts[burst].lists.ears[at];
            let ear = self.ports.get(port).and_then(|port| port.hearing.ear(burst));
            if ear.is_some_and(|ear| ear.stage != Stage::Over) {
                at += 1;
                continue;
            }
            if out.reports_left() <= REPORTS_RESERVED {
                return;
            }
            self.bursts[burst].lists.ears.swap_remove(at);
            self.bursts[burst].told = self.bursts[burst].newest;
            self.tell_outcome(burst, port, out);
        }
    }

    fn free_burst(&mut self, burst: BurstSlot, now: MonoTime, out: &mut Outbox) {
        for at in 0..self.bursts[burst].lists.talks.len() {
            let patch = self.bursts[burst].lists.talks[at].patch;
            self.forgive(burst, patch, now, out);
        }
        self.give_playout(burst);
        let Some(freed) = self.bursts.remove(burst) else { return };
        self.burst_index.remove(freed.id);
        self.give_lists(freed.lists);
    }
}

/// Longer than any pause within a burst that its own shard would not have ended (ms).
const TRUNK_SILENCE_MS: u64 = 5_000;
/// Frames of two bursts that came over two patches' homes may overtake each other by a round or two (ms).
const OVERTAKEN_AFTER_MS: u64 = 30;
/// A ring and a tick of the other shard, many times over (ms).
const ANSWER_WITHIN_MS: u64 = 500;
/// Room that outcomes leave for what cannot wait.
const REPORTS_RESERVED: usize = 64;
