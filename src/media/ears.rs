//! Who hears a burst at this shard: ears are opened where the rule allows, carried by the best of several legs, and
//! closed with a cause. Everything is judged on the routes as they are now, so that asking twice changes nothing.

use crate::domain::audio::Gain;
use crate::domain::floor::{BurstEnd, MissCause};
use crate::domain::port::PortRole;
use crate::domain::report::{MediaLimit, Report};
use crate::domain::time::MonoTime;

use super::burst::{Talk, TalkState};
use super::floor::Standing;
use super::hearing::{Ear, Mode, Stage};
use super::outbox::Outbox;
use super::patch::{ShardSet, hears_past_limit, may_hear};
use super::shard::Shard;
use super::slab::{BurstSlot, GroupSlot, LegSlot, PatchSlot, PortSlot};

/// The way by which a burst reaches a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Path {
    talker: LegSlot,
    leg: LegSlot,
    patch: PatchSlot,
}

impl Shard {
    /// Opens an ear at every port that may hear the burst and has none, and notes which other shards have one.
    pub(super) fn open_ears(&mut self, burst: BurstSlot, now: MonoTime, out: &mut Outbox) {
        if !self.bursts[burst].format_known {
            return;
        }
        for at in 0..self.bursts[burst].lists.talks.len() {
            let talk = self.bursts[burst].lists.talks[at];
            let mut shards = ShardSet::default();
            if talk.state.is_heard() {
                for member in 0..self.patches[talk.patch].legs.len() {
                    let listener = self.patches[talk.patch].legs[member];
                    if !self.is_entitled(&talk, listener) {
                        continue;
                    }
                    shards.insert(self.legs[listener].spec.port_home);
                    if let Some(port) = self.legs[listener].port {
                        self.open_ear(burst, port, now, out);
                    }
                }
            }
            shards.remove(self.id);
            self.bursts[burst].lists.talks[at].shards = shards;
        }
    }

    /// A patch no longer lets the burst be heard: its ears go over to another patch, or end.
    pub(super) fn close_ears(
        &mut self,
        burst: BurstSlot,
        patch: PatchSlot,
        cause: BurstEnd,
        now: MonoTime,
        out: &mut Outbox,
    ) {
        for at in 0..self.bursts[burst].lists.ears.len() {
            let port = self.bursts[burst].lists.ears[at];
            let Some(ear) = self.ports.get(port).and_then(|port| port.hearing.ear(burst)) else { continue };
            if ear.patch == patch && ear.stage == Stage::Live {
                self.carry_or_end(burst, port, cause, now, out);
            }
        }
    }

    /// After a change of routes: every ear is judged again, and new ones are opened.
    pub(super) fn judge_ears(&mut self, burst: BurstSlot, now: MonoTime, out: &mut Outbox) {
        for at in 0..self.bursts[burst].lists.ears.len() {
            let port = self.bursts[burst].lists.ears[at];
            let Some(ear) = self.ports.get(port).and_then(|port| port.hearing.ear(burst)) else { continue };
            let (stage, path) = (ear.stage, Path { talker: ear.talker, leg: ear.leg, patch: ear.patch });
            match stage {
                Stage::Live => self.carry_or_end(burst, port, BurstEnd::LegLeft, now, out),
                // The talker has ended; what still plays must be allowed all the same.
                Stage::Ending if !self.may_cross(path.talker, path.leg) => self.cut_ear(burst, port),
                Stage::Ending | Stage::Over => {}
            }
        }
        self.open_ears(burst, now, out);
        self.weigh_ears(burst);
    }

    /// Ranks have changed: each port chooses anew.
    pub(super) fn weigh_ears(&mut self, burst: BurstSlot) {
        for at in 0..self.bursts[burst].lists.ears.len() {
            let port = self.bursts[burst].lists.ears[at];
            let Some(ear) = self.ports.get(port).and_then(|port| port.hearing.ear(burst)) else { continue };
            let (leg, talker, patch) = (ear.leg, ear.talker, ear.patch);
            if self.legs.get(leg).is_some() && self.legs.get(talker).is_some() {
                let standing = self.ear_standing(burst, talker, leg);
                let loud = self.is_loud(burst, patch);
                if let Some(ear) = self.ports[port].hearing.ear_mut(burst) {
                    (ear.standing, ear.loud) = (standing, loud);
                }
            }
            self.choose(port);
        }
    }

    /// A port chooses who is heard; what no longer is leaves its hold.
    pub(super) fn choose(&mut self, port: PortSlot) {
        let voices_max = self.voices_max(port);
        let Some(open) = self.ports.get_mut(port) else { return };
        open.hearing.choose(open.spec.transmit.overlap, voices_max);
        for at in 0..self.ports[port].hearing.ears().len() {
            let ear = &self.ports[port].hearing.ears()[at];
            if ear.stage == Stage::Live && !ear.chosen {
                let burst = ear.burst;
                self.purge_hold(port, burst, MissCause::OutRanked);
            }
        }
        if self.ports[port].hearing.mode() == Mode::Mix {
            for at in 0..self.ports[port].hearing.ears().len() {
                let Ear { burst, stage, chosen, .. } = self.ports[port].hearing.ears()[at];
                if stage == Stage::Live && chosen {
                    self.need_decoded(burst);
                }
            }
        }
    }

    /// Whether the routes allow speech from one leg to the other now.
    pub(super) fn may_cross(&self, talker: LegSlot, listener: LegSlot) -> bool {
        match (self.legs.get(talker), self.legs.get(listener)) {
            (Some(talker), Some(listener)) => may_hear(&talker.spec, &listener.spec),
            (Some(_) | None, _) => false,
        }
    }

    /// Where a talker stands, without regard to who listens.
    pub(super) fn standing(&self, burst: BurstSlot, talker: LegSlot) -> Standing {
        let (open, leg) = (&self.bursts[burst], &self.legs[talker]);
        let host = self.patches[leg.patch].spec.host;
        Standing {
            emergency: open.emergency,
            owner_dispatcher: false,
            host_dispatcher: leg.spec.role == PortRole::Console && leg.spec.agency == host,
            priority: leg.spec.priority,
            side: leg.spec.link,
            asked_at: open.keyed_at,
        }
    }

    /// Where a talker stands at one port: its owner's dispatcher outranks the host's.
    fn ear_standing(&self, burst: BurstSlot, talker: LegSlot, listener: LegSlot) -> Standing {
        let (talker_leg, own) = (&self.legs[talker].spec, &self.legs[listener].spec);
        let owner_dispatcher = talker_leg.role == PortRole::Console && talker_leg.agency == own.agency;
        Standing { owner_dispatcher, ..self.standing(burst, talker) }
    }

    /// Takes away what a hold has of a burst, counted.
    pub(super) fn purge_hold(&mut self, port: PortSlot, burst: BurstSlot, cause: MissCause) {
        let open = &mut self.ports[port];
        let ms = u32::from(open.format_out().packet_ms);
        let Some(hold) = &mut open.hold else { return };
        let Some(ear) = open.hearing.ear(burst).copied() else { return };
        let hearing = &mut open.hearing;
        let frames = hold.purge(
            // Silence that was held with it would key a transmitter for nobody.
            |held| held.is_of(&ear) || cause == MissCause::Cut && held.is_silent(),
            |frame| {
                hearing.ears_mut().iter_mut().filter(|ear| frame.burst.says(ear)).for_each(|ear| ear.miss(ms, cause))
            },
        );
        if frames > 0 {
            open.stray();
            self.counters.miss(cause);
        }
    }

    /// Nothing of the burst is played at this port any more.
    pub(super) fn cut_ear(&mut self, burst: BurstSlot, port: PortSlot) {
        self.purge_hold(port, burst, MissCause::Cut);
        self.leave_packet(burst, port);
        self.cuts.note_port(port);
        // What the outbox gives back is not heard, and what is coded next shall not begin with what was cut.
        self.ports[port].stray();
        if let Some(ear) = self.ports[port].hearing.ear_mut(burst) {
            ear.miss(0, MissCause::Cut);
            ear.stage = Stage::Over;
        }
        self.stop_voice(port, burst);
        self.choose(port);
    }

    /// The packet of a mix that is being filled, or its encoder's memory of the one before, holds what must not be
    /// played: the port goes on without them.
    fn leave_packet(&mut self, burst: BurstSlot, port: PortSlot) {
        let open = &mut self.ports[port];
        if self.mixes.remembers(open.mix_group, burst) {
            open.mix_group = None;
            open.hearing.ears_mut().iter_mut().for_each(|ear| ear.miss_mixed(MissCause::Cut));
        }
    }

    fn open_ear(&mut self, burst: BurstSlot, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        if !self.transmits_for_group(port, now, out) {
            return;
        }
        if let Some(ear) = self.ports[port].hearing.ear_mut(burst) {
            // It was cut and is linked again: one burst, one outcome.
            if ear.stage == Stage::Over {
                (ear.stage, ear.until) = (Stage::Live, None);
                self.carry(burst, port);
                self.choose(port);
            }
            return;
        }
        let Some(path) = self.best_path(burst, port) else { return };
        let ear = self.new_ear(burst, port, path);
        if !self.ports[port].hearing.add(ear) {
            self.counters.miss(MissCause::Full);
            self.hit_limit(MediaLimit::Ears, Some(self.ports[port].spec.port), now, out);
            return;
        }
        self.bursts[burst].lists.ears.push(port);
        self.choose(port);
    }

    fn is_loud(&self, burst: BurstSlot, patch: PatchSlot) -> bool {
        self.bursts[burst].talk(patch).is_some_and(|talk| talk.loud)
    }

    fn new_ear(&self, burst: BurstSlot, port: PortSlot, path: Path) -> Ear {
        let (gain, relayable) = self.sound_of(burst, port, path);
        Ear {
            burst,
            talker: path.talker,
            leg: path.leg,
            patch: path.patch,
            gain,
            relayable,
            standing: self.ear_standing(burst, path.talker, path.leg),
            order: self.bursts[burst].order,
            loud: self.is_loud(burst, path.patch),
            stage: Stage::Live,
            chosen: false,
            relayed: self.bursts[burst].told,
            relayed_elsewhere: self.bursts[burst].told,
            left_to_mix: false,
            until: None,
            mixed_ms: 0,
            seat: 0,
            heard_ms: 0,
            missed_ms: 0,
            missed: None,
        }
    }

    /// Gain of a path, and whether the payload may pass untouched on it.
    fn sound_of(&self, burst: BurstSlot, port: PortSlot, path: Path) -> (Gain, bool) {
        let (talker, own) = (&self.legs[path.talker].spec, &self.legs[path.leg].spec);
        let gain = Gain(talker.trim.0.saturating_add(own.gain.0));
        let open = &self.bursts[burst];
        let same = open.format.relayable(self.ports[port].format_out());
        (gain, same && gain == Gain::UNITY && !open.levelled)
    }

    /// Its talker's format has become known: whether it can be relayed is judged again.
    pub(super) fn rejudge_sound(&mut self, burst: BurstSlot, port: PortSlot) {
        if self.ports.get(port).is_some_and(|port| port.hearing.ear(burst).is_some()) {
            self.carry(burst, port);
            self.choose(port);
        }
    }

    /// An ear whose path may have gone takes the best that is left; without any it ends.
    fn carry_or_end(&mut self, burst: BurstSlot, port: PortSlot, cause: BurstEnd, now: MonoTime, out: &mut Outbox) {
        if self.carry(burst, port) {
            return;
        }
        match cause {
            BurstEnd::Revoked | BurstEnd::LegLeft | BurstEnd::PatchClosed | BurstEnd::PortClosed => {
                self.cut_ear(burst, port);
            }
            BurstEnd::Released
            | BurstEnd::Silence
            | BurstEnd::TimedOut
            | BurstEnd::PreEmpted
            | BurstEnd::Inhibited
            | BurstEnd::Restart => self.end_ear(burst, port, cause, now, out),
        }
    }

    /// Whether a path is left; the ear is on it then.
    fn carry(&mut self, burst: BurstSlot, port: PortSlot) -> bool {
        let Some(path) = self.best_path(burst, port) else { return false };
        let (gain, relayable) = self.sound_of(burst, port, path);
        let standing = self.ear_standing(burst, path.talker, path.leg);
        let loud = self.is_loud(burst, path.patch);
        let Some(ear) = self.ports[port].hearing.ear_mut(burst) else { return false };
        if ear.patch != path.patch {
            ear.relayed_elsewhere = ear.relayed;
        }
        ear.loud = loud;
        (ear.talker, ear.leg, ear.patch) = (path.talker, path.leg, path.patch);
        (ear.gain, ear.relayable, ear.standing) = (gain, relayable, standing);
        true
    }

    /// The talker has ended: what is held or buffered still plays.
    fn end_ear(&mut self, burst: BurstSlot, port: PortSlot, cause: BurstEnd, now: MonoTime, out: &mut Outbox) {
        let plays_on = self.plays_on(burst, port);
        let until = self.bursts[burst].newest;
        let Some(ear) = self.ports[port].hearing.ear_mut(burst) else { return };
        ear.until = until;
        if cause == BurstEnd::TimedOut {
            ear.miss(0, MissCause::TalkLimit);
        }
        ear.stage = if plays_on { Stage::Ending } else { Stage::Over };
        if !plays_on {
            self.stop_voice(port, burst);
        }
        self.choose(port);
        self.pump(port, now, out);
    }

    /// Whether anything of the burst is still to be played at this port.
    pub(super) fn plays_on(&self, burst: BurstSlot, port: PortSlot) -> bool {
        let open = &self.ports[port];
        let Some(ear) = open.hearing.ear(burst) else { return false };
        let held = open.hold.as_ref().is_some_and(|hold| hold.any(|held| held.is_of(ear)));
        let buffered = open.hearing.mode() == Mode::Mix
            && ear.chosen
            && self.bursts[burst].playout.as_ref().is_some_and(|playout| !playout.is_empty())
            && (ear.until.is_none() || self.bursts[burst].played() <= ear.until);
        held || buffered || self.mixes.fills(open.mix_group, burst)
    }

    /// The stream of a port no longer carries this burst: late packets of it are refused.
    pub(super) fn stop_voice(&mut self, port: PortSlot, burst: BurstSlot) {
        use super::sender::Voice;
        let open = &mut self.ports[port];
        if matches!(open.voice, Some(Voice::Relay { burst: carried, .. }) if carried == burst) {
            open.sender.end();
            open.voice = None;
        }
    }

    /// Of all legs that may hear it, the one with the highest priority.
    fn best_path(&self, burst: BurstSlot, port: PortSlot) -> Option<Path> {
        let mut best: Option<Path> = None;
        for talk in &self.bursts[burst].lists.talks {
            for own in &self.ports.get(port)?.legs {
                if !self.is_entitled(talk, *own) {
                    continue;
                }
                let better = best.is_none_or(|best| self.legs[*own].spec.priority > self.legs[best.leg].spec.priority);
                if better {
                    best = Some(Path { talker: talk.leg, leg: *own, patch: talk.patch });
                }
            }
        }
        best
    }

    fn is_entitled(&self, talk: &Talk, listener: LegSlot) -> bool {
        let (Some(talker), Some(own)) = (self.legs.get(talk.leg), self.legs.get(listener)) else { return false };
        let reaches = match talk.state {
            TalkState::Granted { .. } => true,
            TalkState::PastLimit => hears_past_limit(&talker.spec, &own.spec),
            TalkState::Asked { .. } | TalkState::Queued | TalkState::Refused(_) => false,
        };
        reaches && talker.patch == talk.patch && own.patch == talk.patch && may_hear(&talker.spec, &own.spec)
    }

    /// As many voices as the most generous of its patches has holders.
    fn voices_max(&self, port: PortSlot) -> usize {
        let Some(open) = self.ports.get(port) else { return 0 };
        let holders = open.hearing.ears().iter().filter_map(|ear| self.patches.get(ear.patch));
        holders.map(|patch| usize::from(patch.spec.floor.holders_max)).max().unwrap_or(1)
    }

    /// Whether this port is the one that transmits for its talkgroup. Chosen while the group is silent, so that it
    /// fails over between bursts and never within one.
    fn transmits_for_group(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) -> bool {
        let open = &self.ports[port];
        let Some(group) = open.spec.group.filter(|_| open.is_radio()) else { return true };
        let Some(slot) = self.group_by_id.get(&group).copied() else { return true };
        if self.groups[slot].transmit.is_empty() {
            return true;
        }
        let busy = self.groups[slot].ports.iter().any(|port| {
            self.ports.get(*port).is_some_and(|port| !port.hearing.ears().iter().all(|ear| ear.stage == Stage::Over))
        });
        if !busy {
            self.choose_transmitter(slot, now, out);
        }
        self.groups[slot].transmitting == Some(port)
    }

    fn choose_transmitter(&mut self, slot: GroupSlot, now: MonoTime, out: &mut Outbox) {
        let usable = self.groups[slot].transmit.iter().filter_map(|id| self.port_by_id.get(id).copied()).find(|port| {
            let open = &self.ports[*port];
            open.peer().is_some() && open.alive != Some(false) && now >= open.failed_until
        });
        // With none usable the preferred one is tried all the same: what it misses has a cause and a count.
        let preferred = self.groups[slot].transmit.iter().find_map(|id| self.port_by_id.get(id).copied());
        let group = &mut self.groups[slot];
        let moved = match usable {
            Some(port) => group.is_mute || group.transmitting.is_some_and(|before| before != port),
            None => !group.is_mute,
        };
        group.is_mute = usable.is_none();
        group.transmitting = usable.or(preferred);
        if moved {
            let (group, port) = (group.id, usable.map(|port| self.ports[port].spec.port));
            self.report(Report::TransmitMoved { group, port, at: now }, out);
        }
    }
}
