//! Orders applied to the shard's routes. What narrows ends bursts and ears here and now; what is left of the routes is
//! judged once per batch in `reconcile`, so that each order may come twice and in any batch. Allocates: orders are rare.

use std::collections::BTreeSet;

use crate::domain::floor::{BurstEnd, MissCause};
use crate::domain::id::{BurstId, GroupId, LegId, PatchId, PortId};
use crate::domain::order::{GroupSpec, LegSpec, Order, PatchSpec, RouteTable};
use crate::domain::port::{PortSpec, ReceiveKeying};
use crate::domain::report::MediaLimit;
use crate::domain::talker::Alias;
use crate::domain::time::MonoTime;

use super::burst::{Source, Talk, TalkState};
use super::discard::Discard;
use super::floor::Floor;
use super::group::Group;
use super::hearing::Stage;
use super::keying::Cue;
use super::outbox::{Carries, Outbox};
use super::patch::{Leg, Patch};
use super::port::Port;
use super::shard::Shard;
use super::slab::{BurstSlot, GroupSlot, LegSlot, PatchSlot, PortSlot};

/// What a batch of orders has cut, for the outbox; and what was revoked lately, for frames still in a ring.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// A batch is being applied; outside of one nothing is collected.
    pub collecting: bool,
    /// Ports at which an ear was cut: a mix waiting for them may hold it.
    pub ports: Vec<PortSlot>,
    /// Bursts that lost a patch.
    pub talks: Vec<(BurstId, PatchSlot)>,
    /// The last revoked ones, oldest overwritten.
    revoked: Vec<(BurstId, PatchId)>,
    next: usize,
}

impl Cuts {
    fn remember(&mut self, burst: BurstId, patch: PatchId) {
        if self.recalls(burst, patch) {
            return;
        }
        if self.revoked.len() < REVOKED_KEPT {
            self.revoked.push((burst, patch));
        } else {
            self.revoked[self.next] = (burst, patch);
            self.next = (self.next + 1) % REVOKED_KEPT;
        }
    }
    /// An ear at this port was cut.
    pub(super) fn note_port(&mut self, port: PortSlot) {
        if self.collecting {
            self.ports.push(port);
        }
    }
    /// It has the floor again: what comes from now on is behind that in the ring.
    pub(super) fn forget(&mut self, burst: BurstId, patch: PatchId) {
        self.revoked.retain(|revoked| *revoked != (burst, patch));
    }
    /// Whether a frame of it comes too late.
    pub(super) fn recalls(&self, burst: BurstId, patch: PatchId) -> bool {
        self.revoked.contains(&(burst, patch))
    }
}

impl Shard {
    pub(super) fn apply_order(&mut self, order: &Order, now: MonoTime, out: &mut Outbox) {
        match order {
            Order::OpenPort(spec) => self.open_port(spec, now, out),
            Order::ClosePort(port) => self.close_port(*port, now, out),
            Order::SetGroup(spec) => self.set_group(spec, now, out),
            Order::DropGroup(group) => self.drop_group(*group),
            Order::OpenPatch(spec) => self.open_patch(spec, now, out),
            Order::ClosePatch(patch) => self.close_patch(*patch, now, out),
            Order::Join(spec) => self.join(spec, now, out),
            Order::Leave(leg) => self.leave(*leg, BurstEnd::LegLeft, now, out),
            Order::Revoke { patch, burst } => self.revoke(*patch, *burst, now, out),
            Order::Emergency { port, talker, open } => self.emergency(*port, *talker, *open, now, out),
            Order::Key { port, keyed } => self.order_key(*port, *keyed, now, out),
            Order::Announce { port, notice } => self.queue_notice(*port, *notice, now),
            Order::Only(table) => self.only(table, now, out),
        }
    }

    /// After a batch: every burst is judged on the routes as they are now.
    pub(super) fn reconcile(&mut self, now: MonoTime, out: &mut Outbox) {
        for index in 0..self.bursts.reach() {
            let Some(burst) = self.bursts.slot_at(index) else { continue };
            let mut at = 0;
            while let Some(talk) = self.bursts[burst].lists.talks.get(at).copied() {
                if self.legs.get(talk.leg).is_some_and(|leg| leg.spec.talks) {
                    at += 1;
                } else {
                    self.drop_talk(burst, &talk, BurstEnd::LegLeft, now, out);
                }
            }
            if let Source::Here(port) = self.bursts[burst].source
                && self.bursts[burst].ended.is_none()
                && self.ports.get(port).is_some()
            {
                self.ask_all(burst, port, now, out);
            }
            self.judge_ears(burst, now, out);
            self.notify_again(burst, now, out);
        }
    }

    /// Takes back from the outbox what the routes now forbid.
    pub(super) fn purge(&mut self, out: &mut Outbox) {
        let (legs, cuts) = (&self.legs, &self.cuts);
        let lost = |burst: BurstId, talker: LegSlot| {
            let patch = legs.get(talker).map(|leg| leg.patch);
            patch.is_none_or(|patch| cuts.talks.contains(&(burst, patch)))
        };
        let ports = &self.ports;
        let purged = out.purge(
            |port, carries| match carries {
                Carries::Nobody => true,
                Carries::One { burst, talker, ear } => {
                    ports.get(port).is_some() && self.may_cross(talker, ear) && !lost(burst, talker)
                }
                Carries::Mix => ports.get(port).is_some() && !cuts.ports.contains(&port),
            },
            |burst, talker| legs.get(talker).is_some_and(|leg| leg.spec.talks) && !lost(burst, talker),
        );
        for _ in 0..purged {
            self.counters.discard(Discard::Purged);
        }
        self.cuts.ports.clear();
        self.cuts.talks.clear();
    }

    /// A burst loses one patch by order.
    fn end_talk(&mut self, burst: BurstSlot, patch: PatchSlot, cause: BurstEnd, now: MonoTime, out: &mut Outbox) {
        self.cuts.talks.push((self.bursts[burst].id, patch));
        if self.patches[patch].floor.is_some() {
            let heard = self.bursts[burst].talk(patch).is_some_and(|talk| talk.state.is_heard());
            self.release(burst, patch, cause, now, out);
            // A seat that held nothing says nothing; its talker is refused all the same.
            if !heard {
                self.lost(burst, patch, cause, None, now, out);
            }
        } else {
            self.lost(burst, patch, cause, None, now, out);
        }
    }

    fn open_port(&mut self, spec: &PortSpec, now: MonoTime, out: &mut Outbox) {
        if spec.home != self.id {
            return;
        }
        if let Some(slot) = self.slot_of(spec.port) {
            if self.ports[slot].spec == *spec {
                return;
            }
            if self.ports[slot].can_become(spec) {
                self.ports[slot].spec = spec.clone();
                return;
            }
            self.close_port(spec.port, now, out);
        }
        let port = Port::new(spec.clone(), now, &mut self.entropy);
        let Ok(slot) = self.ports.insert(port) else {
            self.hit_limit(MediaLimit::Ports, Some(spec.port), now, out);
            return;
        };
        self.port_by_id.insert(spec.port, slot);
        if let Some(channel) = spec.rf_channel {
            self.ports_by_channel.entry(channel).or_default().push(slot);
        }
        if let Some(group) = spec.group.filter(|_| self.ports[slot].is_radio())
            && let Some(group) = self.group(group, now, out)
        {
            self.groups[group].ports.push(slot);
        }
        for index in 0..self.legs.reach() {
            let Some(leg) = self.legs.slot_at(index) else { continue };
            if self.legs[leg].spec.port == spec.port {
                self.legs[leg].port = Some(slot);
                self.ports[slot].legs.push(leg);
            }
        }
        let change = self.ports[slot].transmit.stop();
        self.apply_transmit(slot, change, now, out);
    }

    /// A key that came in words: for ports that key by events.
    fn order_key(&mut self, port: PortId, keyed: bool, now: MonoTime, out: &mut Outbox) {
        let by_event = |port: &PortSlot| self.ports[*port].spec.receive.keying == ReceiveKeying::Event;
        if let Some(port) = self.slot_of(port).filter(by_event) {
            match keyed {
                true => self.ask_again(port, now, out),
                false => self.ports[port].lifted = self.ports[port].pressed,
            }
            self.cue(port, Cue::Event(keyed), now, out);
        }
    }

    fn close_port(&mut self, port: PortId, now: MonoTime, out: &mut Outbox) {
        let Some(slot) = self.slot_of(port) else { return };
        if let Some(burst) = self.ports[slot].burst {
            for at in 0..self.bursts[burst].lists.talks.len() {
                self.cuts.talks.push((self.bursts[burst].id, self.bursts[burst].lists.talks[at].patch));
            }
            self.end_burst(burst, BurstEnd::PortClosed, now, out);
        }
        self.lower(slot, now, out);
        self.say_goodbye(slot, now, out);
        for index in 0..self.bursts.reach() {
            let Some(burst) = self.bursts.slot_at(index) else { continue };
            self.close_ear_of_closed_port(burst, slot, out);
        }
        let copied = self.voting_group(slot);
        let Some(mut closed) = self.ports.remove(slot) else { return };
        self.port_by_id.remove(&port);
        self.give_port_parts(&mut closed);
        for leg in closed.legs {
            self.legs[leg].port = None;
        }
        for ports in self.ports_by_channel.values_mut() {
            ports.retain(|other| *other != slot);
        }
        for index in 0..self.groups.reach() {
            let Some(group) = self.groups.slot_at(index) else { continue };
            let group = &mut self.groups[group];
            group.ports.retain(|other| *other != slot);
            group.transmitting = group.transmitting.filter(|other| *other != slot);
        }
        if let Some(group) = copied {
            self.take_over(group, slot, now, out);
        }
    }

    fn give_port_parts(&mut self, closed: &mut Port) {
        if let Some(mut hold) = closed.hold.take() {
            hold.give_up(|_| {});
            self.spare_holds.push(hold);
        }
        if let Some((_, decoder)) = closed.vox.take() {
            self.codecs.give_decoder(decoder);
        }
        if let Some(mut delay) = closed.delay.take() {
            delay.clear();
            self.spare_delays.push(delay);
        }
    }

    fn group(&mut self, group: GroupId, now: MonoTime, out: &mut Outbox) -> Option<GroupSlot> {
        if let Some(slot) = self.group_by_id.get(&group) {
            return Some(*slot);
        }
        let Ok(slot) = self.groups.insert(Group::new(group)) else {
            self.hit_limit(MediaLimit::Groups, None, now, out);
            return None;
        };
        self.group_by_id.insert(group, slot);
        Some(slot)
    }

    fn set_group(&mut self, spec: &GroupSpec, now: MonoTime, out: &mut Outbox) {
        if let Some(slot) = self.group(spec.group, now, out) {
            self.groups[slot].transmit.clone_from(&spec.transmit);
        }
    }

    /// A group that ports still belong to only loses its list.
    fn drop_group(&mut self, group: GroupId) {
        let Some(slot) = self.group_by_id.get(&group).copied() else { return };
        if self.groups[slot].ports.is_empty() {
            self.groups.remove(slot);
            self.group_by_id.remove(&group);
        } else {
            self.groups[slot].transmit.clear();
        }
    }

    fn open_patch(&mut self, spec: &PatchSpec, now: MonoTime, out: &mut Outbox) {
        if let Some(slot) = self.patch_by_id.get(&spec.patch).copied() {
            let patch = &mut self.patches[slot];
            patch.spec = *spec;
            if let Some(floor) = &mut patch.floor
                && floor.policy() != spec.floor
            {
                let changes = floor.set_policy(spec.floor, now);
                self.apply(slot, changes, now, out);
                self.choose_loudest(slot);
            }
            return;
        }
        let floor = (spec.home == self.id).then(|| Floor::new(spec.floor));
        match self.patches.insert(Patch { spec: *spec, legs: Vec::new(), floor }) {
            Ok(slot) => {
                self.patch_by_id.insert(spec.patch, slot);
            }
            Err(_) => self.hit_limit(MediaLimit::Patches, None, now, out),
        }
    }

    fn close_patch(&mut self, patch: PatchId, now: MonoTime, out: &mut Outbox) {
        let Some(slot) = self.patch_by_id.get(&patch).copied() else { return };
        self.end_talks_in(slot, BurstEnd::PatchClosed, now, out);
        for leg in self.patches[slot].legs.clone() {
            self.leave(self.legs[leg].spec.leg, BurstEnd::PatchClosed, now, out);
        }
        self.patches.remove(slot);
        self.patch_by_id.remove(&patch);
    }

    fn end_talks_in(&mut self, patch: PatchSlot, cause: BurstEnd, now: MonoTime, out: &mut Outbox) {
        for index in 0..self.bursts.reach() {
            let Some(burst) = self.bursts.slot_at(index) else { continue };
            if self.bursts[burst].talk(patch).is_some() {
                self.end_talk(burst, patch, cause, now, out);
            }
        }
    }

    fn join(&mut self, spec: &LegSpec, now: MonoTime, out: &mut Outbox) {
        if let Some(slot) = self.leg_by_id.get(&spec.leg).copied() {
            let leg = &mut self.legs[slot];
            if (leg.spec.patch, leg.spec.port, leg.spec.port_home) == (spec.patch, spec.port, spec.port_home) {
                leg.spec = *spec;
                return;
            }
            self.leave(spec.leg, BurstEnd::LegLeft, now, out);
        }
        let Some(patch) = self.patch_by_id.get(&spec.patch).copied() else { return };
        let port = self.slot_of(spec.port).filter(|_| spec.port_home == self.id);
        let Ok(slot) = self.legs.insert(Leg { spec: *spec, patch, port }) else {
            self.hit_limit(MediaLimit::Legs, Some(spec.port), now, out);
            return;
        };
        self.leg_by_id.insert(spec.leg, slot);
        self.patches[patch].legs.push(slot);
        if let Some(port) = port {
            self.ports[port].legs.push(slot);
            self.ports[port].proven = false;
        }
    }

    fn leave(&mut self, leg: LegId, cause: BurstEnd, now: MonoTime, out: &mut Outbox) {
        let Some(slot) = self.leg_by_id.get(&leg).copied() else { return };
        let patch = self.legs[slot].patch;
        for index in 0..self.bursts.reach() {
            let Some(burst) = self.bursts.slot_at(index) else { continue };
            let talk = self.bursts[burst].talk(patch).copied().filter(|talk| talk.leg == slot);
            let Some(talk) = talk else { continue };
            self.drop_talk(burst, &talk, cause, now, out);
        }
        if let Some(port) = self.legs[slot].port {
            self.ports[port].legs.retain(|other| *other != slot);
        }
        self.patches[patch].legs.retain(|other| *other != slot);
        self.legs.remove(slot);
        self.leg_by_id.remove(&leg);
    }

    /// A leg that may not talk any more: the burst is as if it had never asked there.
    fn drop_talk(&mut self, burst: BurstSlot, talk: &Talk, cause: BurstEnd, now: MonoTime, out: &mut Outbox) {
        if !matches!(talk.state, TalkState::Refused(_)) {
            self.end_talk(burst, talk.patch, cause, now, out);
        }
        self.forgive(burst, talk.patch, now, out);
        self.bursts[burst].lists.talks.retain(|other| other.patch != talk.patch);
    }

    /// A revoked talker keeps its seat until it unkeys, or is gone.
    pub(super) fn forgive(&mut self, burst: BurstSlot, patch: PatchSlot, now: MonoTime, out: &mut Outbox) {
        if let Some(floor) = self.patches.get_mut(patch).and_then(|patch| patch.floor.as_mut()) {
            let changes = floor.release(burst, BurstEnd::Released, now);
            self.apply(patch, changes, now, out);
        }
    }

    fn revoke(&mut self, patch: PatchId, burst: Option<BurstId>, now: MonoTime, out: &mut Outbox) {
        let Some(slot) = self.patch_by_id.get(&patch).copied() else { return };
        if let Some(burst) = burst {
            self.cuts.remember(burst, patch);
        }
        for index in 0..self.bursts.reach() {
            let Some(held) = self.bursts.slot_at(index) else { continue };
            let id = self.bursts[held].id;
            let meant = burst.is_none_or(|burst| burst == id);
            let Some(talk) = self.bursts[held].talk(slot).copied().filter(|_| meant) else { continue };
            if matches!(talk.state, TalkState::Refused(_)) {
                continue;
            }
            self.cuts.remember(id, patch);
            self.cuts.talks.push((id, slot));
            let Some(floor) = &mut self.patches[slot].floor else {
                self.lost(held, slot, BurstEnd::Revoked, None, now, out);
                continue;
            };
            let changes = floor.revoke(held, BurstEnd::Revoked, now);
            self.apply(slot, changes, now, out);
            if self.bursts[held].talk(slot).is_some_and(|talk| !matches!(talk.state, TalkState::Refused(_))) {
                self.lost(held, slot, BurstEnd::Revoked, None, now, out);
            }
        }
    }

    fn emergency(&mut self, port: PortId, talker: Alias, open: bool, now: MonoTime, out: &mut Outbox) {
        let Some(slot) = self.slot_of(port) else { return };
        let there = &mut self.ports[slot];
        there.emergencies.retain(|alias| *alias != talker);
        if open {
            there.emergencies.push(talker);
        } else {
            there.wire_emergency = there.wire_emergency.filter(|who| !talker.is_empty() && *who != talker);
        }
        self.weigh_emergency(slot, now, out);
    }

    /// Its talker's burst is an emergency, or no longer.
    pub(super) fn weigh_emergency(&mut self, port: PortSlot, now: MonoTime, out: &mut Outbox) {
        let open = &self.ports[port];
        if let Some(burst) = open.burst {
            let emergency = open.is_emergency(open.talker());
            self.set_emergency(burst, emergency, now, out);
        }
    }

    /// Whatever the table omits is closed; the rest is as if it were ordered one by one.
    fn only(&mut self, table: &RouteTable, now: MonoTime, out: &mut Outbox) {
        let RouteTable { ports, groups, patches, legs, emergencies } = table;
        let kept: BTreeSet<LegId> = legs.iter().map(|leg| leg.leg).collect();
        for leg in self.leg_by_id.keys().copied().filter(|leg| !kept.contains(leg)).collect::<Vec<_>>() {
            self.leave(leg, BurstEnd::LegLeft, now, out);
        }
        let kept: BTreeSet<PatchId> = patches.iter().map(|patch| patch.patch).collect();
        for patch in self.patch_by_id.keys().copied().filter(|patch| !kept.contains(patch)).collect::<Vec<_>>() {
            self.close_patch(patch, now, out);
        }
        let kept: BTreeSet<PortId> = ports.iter().map(|port| port.port).collect();
        for port in self.port_by_id.keys().copied().filter(|port| !kept.contains(port)).collect::<Vec<_>>() {
            self.close_port(port, now, out);
        }
        let kept: BTreeSet<GroupId> = groups.iter().map(|group| group.group).collect();
        for group in self.group_by_id.keys().copied().filter(|group| !kept.contains(group)).collect::<Vec<_>>() {
            self.drop_group(group);
        }
        for spec in ports {
            self.open_port(spec, now, out);
        }
        for spec in groups {
            self.set_group(spec, now, out);
        }
        for spec in patches {
            self.open_patch(spec, now, out);
        }
        for spec in legs {
            self.join(spec, now, out);
        }
        for slot in self.port_by_id.values().copied().collect::<Vec<_>>() {
            let port = self.ports[slot].spec.port;
            self.ports[slot].emergencies.clear();
            self.ports[slot].emergencies.extend(emergencies.iter().filter(|(id, _)| *id == port).map(|(_, who)| *who));
            self.ports[slot].wire_emergency = None;
            self.weigh_emergency(slot, now, out);
        }
    }

    /// An ear of a port that goes away: told at once, because nobody can tell it later.
    fn close_ear_of_closed_port(&mut self, burst: BurstSlot, port: PortSlot, out: &mut Outbox) {
        if self.ports[port].hearing.ear(burst).is_none() {
            return;
        }
        self.purge_hold(port, burst, MissCause::Gone);
        if let Some(ear) = self.ports[port].hearing.ear_mut(burst)
            && ear.stage == Stage::Live
        {
            ear.miss(0, MissCause::Gone);
        }
        self.tell_outcome(burst, port, out);
        self.bursts[burst].lists.ears.retain(|other| *other != port);
    }
}

/// Frames under way in a ring are of the last few bursts.
const REVOKED_KEPT: usize = 64;
