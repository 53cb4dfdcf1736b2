//! Bursts between shards: requests and speech go to a patch's home, grants and the one copy of the speech for each
//! shard come from there. What arrives is judged by this shard's own routes; a frame is never believed beyond them.
//! A ring that is full loses frames, counted; whoever hears nothing of a burst for a while ends it by itself.

use crate::domain::floor::{BurstEnd, Denial};
use crate::domain::id::BurstId;
use crate::domain::port::ShardId;
use crate::domain::report::MediaLimit;
use crate::domain::time::MonoTime;
use crate::wire::rtp_extension::FloorNotice;
use crate::wire::trunk::{HOPS_MAX, Speech, TrunkFrame, TrunkMessage};

use super::burst::{Source, Talk, TalkState};
use super::discard::Discard;
use super::fan_out::Spoken;
use super::outbox::Outbox;
use super::patch::ShardSet;
use super::shard::Shard;
use super::slab::{BurstSlot, LegSlot, PatchSlot};
use super::talk::Opening;

impl Shard {
    /// One frame from another shard.
    pub(super) fn take_frame(
        &mut self,
        from: ShardId,
        bytes: &[u8],
        now: MonoTime,
        out: &mut Outbox,
    ) -> Result<(), Discard> {
        let frame = TrunkFrame::parse(bytes).map_err(|_| Discard::Malformed)?;
        let patch = self.patch_by_id.get(&frame.patch).copied().ok_or(Discard::UnknownRoute)?;
        let leg = self.leg_of(patch, &frame).ok_or(Discard::UnknownRoute)?;
        let origin = self.legs[leg].spec.port_home;
        if self.patches[patch].floor.is_some() {
            // At the home everything comes straight from the talker's shard.
            if frame.hops > 0 || origin != from || origin == self.id {
                return Err(Discard::Looped);
            }
            self.take_at_home(from, patch, leg, &frame, now, out)
        } else {
            if self.patches[patch].spec.home != from || frame.hops >= HOPS_MAX {
                return Err(Discard::Looped);
            }
            self.take_from_home(patch, leg, &frame, now, out)
        }
    }

    fn take_at_home(
        &mut self,
        from: ShardId,
        patch: PatchSlot,
        leg: LegSlot,
        frame: &TrunkFrame<'_>,
        now: MonoTime,
        out: &mut Outbox,
    ) -> Result<(), Discard> {
        match frame.message {
            TrunkMessage::Request { talker } => {
                let opening = self.opening(frame, Source::Trunk(from), talker, None, now);
                self.request_from_trunk(patch, leg, opening, now, out)
            }
            TrunkMessage::Speech(speech) => {
                if self.known(frame.burst, patch).is_none() {
                    // This shard was rebuilt, or the request was lost: speech asks as well.
                    let opening = self.opening(frame, Source::Trunk(from), speech.talker, Some(&speech), now);
                    self.request_from_trunk(patch, leg, opening, now, out)?;
                }
                self.take_speech(patch, frame, &speech, now, out)
            }
            TrunkMessage::Released { cause, tail_ms } => {
                let burst = self.known(frame.burst, patch).ok_or(Discard::AfterEnd)?;
                self.miss_tail(burst, tail_ms);
                self.release(burst, patch, cause, now, out);
                // Past its talk limit an emergency goes on; everything else is over.
                if cause != BurstEnd::TimedOut {
                    self.forget_talk(burst, patch);
                }
                Ok(())
            }
            TrunkMessage::Granted
            | TrunkMessage::Queued { .. }
            | TrunkMessage::Denied { .. }
            | TrunkMessage::Revoked { .. } => Err(Discard::Looped),
        }
    }

    fn take_from_home(
        &mut self,
        patch: PatchSlot,
        leg: LegSlot,
        frame: &TrunkFrame<'_>,
        now: MonoTime,
        out: &mut Outbox,
    ) -> Result<(), Discard> {
        let known = self.known(frame.burst, patch);
        match frame.message {
            TrunkMessage::Speech(speech) => {
                if known.is_none() {
                    self.hear_of(patch, leg, frame, &speech, now, out)?;
                }
                self.take_speech(patch, frame, &speech, now, out)
            }
            TrunkMessage::Granted => {
                self.cuts.forget(frame.burst, frame.patch);
                // A talker that has let go meanwhile needs no floor; its home has the release behind the request. Here
                // alone a listener's burst may go on after its end.
                let is_over = |burst: &BurstSlot| self.port_of(*burst).is_some() && self.bursts[*burst].ended.is_some();
                let burst = known.filter(|burst| !is_over(burst)).ok_or(Discard::AfterEnd)?;
                self.bursts[burst].ended = None;
                self.won(burst, patch, now, out);
                Ok(())
            }
            TrunkMessage::Queued { position } => {
                let burst = known.filter(|burst| self.bursts[*burst].ended.is_none()).ok_or(Discard::AfterEnd)?;
                self.notify(burst, FloorNotice::Queued(position), now, out);
                if let Some(talk) = self.bursts[burst].talk_mut(patch) {
                    talk.state = TalkState::Queued;
                }
                Ok(())
            }
            TrunkMessage::Denied { cause } => {
                let burst = known.ok_or(Discard::AfterEnd)?;
                self.denied(burst, patch, cause, now, out);
                Ok(())
            }
            TrunkMessage::Revoked { cause } | TrunkMessage::Released { cause, .. } => {
                let burst = known.ok_or(Discard::AfterEnd)?;
                if let TrunkMessage::Released { tail_ms, .. } = frame.message {
                    self.miss_tail(burst, tail_ms);
                }
                self.lost(burst, patch, cause, None, now, out);
                let open = &mut self.bursts[burst];
                if matches!(open.source, Source::Trunk(_)) && open.is_silent() {
                    open.ended = Some(cause);
                }
                Ok(())
            }
            TrunkMessage::Request { .. } => Err(Discard::Looped),
        }
    }

    fn request_from_trunk(
        &mut self,
        patch: PatchSlot,
        leg: LegSlot,
        opening: Opening,
        now: MonoTime,
        out: &mut Outbox,
    ) -> Result<(), Discard> {
        if !self.legs[leg].spec.talks {
            return Err(Discard::UnknownRoute);
        }
        let burst = match self.burst_index.get(opening.id) {
            Some(burst) => burst,
            None => self.open_trunk(opening, now, out)?,
        };
        if self.bursts[burst].talk(patch).is_none() {
            self.ask(burst, patch, leg, now, out);
        } else {
            self.set_emergency(burst, opening.emergency, now, out);
        }
        Ok(())
    }

    /// The first that this shard hears of a burst granted elsewhere.
    fn hear_of(
        &mut self,
        patch: PatchSlot,
        leg: LegSlot,
        frame: &TrunkFrame<'_>,
        speech: &Speech<'_>,
        now: MonoTime,
        out: &mut Outbox,
    ) -> Result<(), Discard> {
        if self.cuts.recalls(frame.burst, frame.patch) {
            return Err(Discard::NoFloor);
        }
        let home = self.patches[patch].spec.home;
        let opening = self.opening(frame, Source::Trunk(home), speech.talker, Some(speech), now);
        let burst = match self.burst_index.get(frame.burst) {
            Some(burst) => burst,
            // A talker of ours that has let go already: its patch's home was late.
            None if self.slot_of(frame.port).is_some() => return Err(Discard::AfterEnd),
            None => self.open_trunk(opening, now, out)?,
        };
        if self.port_of(burst).is_some() {
            // Ours, and this patch never granted it as far as we know.
            return Err(Discard::NoFloor);
        }
        self.bursts[burst].ended = None;
        let talk = Talk {
            patch,
            leg,
            state: TalkState::Granted { since: now },
            shards: ShardSet::default(),
            loud: !speech.soft,
        };
        self.bursts[burst].lists.talks.push(talk);
        self.open_ears(burst, now, out);
        Ok(())
    }

    fn open_trunk(&mut self, opening: Opening, now: MonoTime, out: &mut Outbox) -> Result<BurstSlot, Discard> {
        self.end_trunk_of(opening.port, now, out);
        self.open_burst(opening, now, out).ok_or(Discard::Full)
    }

    fn take_speech(
        &mut self,
        patch: PatchSlot,
        frame: &TrunkFrame<'_>,
        speech: &Speech<'_>,
        now: MonoTime,
        out: &mut Outbox,
    ) -> Result<(), Discard> {
        let burst = self.known(frame.burst, patch).ok_or(Discard::NoFloor)?;
        if !self.bursts[burst].talk(patch).is_some_and(|talk| talk.state.is_heard()) {
            return Err(Discard::NoFloor);
        }
        if self.bursts[burst].emergency != frame.emergency {
            self.set_emergency(burst, frame.emergency, now, out);
        }
        if let Some(talk) = self.bursts[burst].talk_mut(patch)
            && talk.loud == speech.soft
            && self.patches[patch].floor.is_none()
        {
            talk.loud = !speech.soft;
            self.weigh_ears(burst);
        }
        if self.port_of(burst).is_none() {
            self.learn_format(burst, speech, now, out);
        }
        let sequence = self.bursts[burst].extend(speech.sequence);
        let stream = match self.port_of(burst).and_then(|port| self.ports.get(port)) {
            Some(open) => open.stream(),
            None => frame.port.0 as u64,
        };
        let spoken =
            Spoken { sequence, timestamp: speech.timestamp, stream, level: speech.level, payload: speech.payload };
        self.speak_from_trunk(burst, patch, &spoken, now, out);
        Ok(())
    }

    /// A request names no format; the first speech does.
    fn learn_format(&mut self, burst: BurstSlot, speech: &Speech<'_>, now: MonoTime, out: &mut Outbox) {
        let open = &mut self.bursts[burst];
        if open.format_known && open.format == speech.format {
            return;
        }
        (open.format, open.format_known) = (speech.format, true);
        self.give_playout(burst);
        for at in 0..self.bursts[burst].lists.ears.len() {
            let port = self.bursts[burst].lists.ears[at];
            self.rejudge_sound(burst, port);
        }
        self.open_ears(burst, now, out);
    }

    fn opening(
        &self,
        frame: &TrunkFrame<'_>,
        source: Source,
        talker: crate::domain::talker::Alias,
        speech: Option<&Speech<'_>>,
        now: MonoTime,
    ) -> Opening {
        Opening {
            id: frame.burst,
            source,
            port: frame.port,
            talker,
            emergency: frame.emergency,
            format: speech.map(|speech| speech.format),
            keyed_at: now,
        }
    }

    /// A burst that has been heard of in this patch.
    fn known(&self, burst: BurstId, patch: PatchSlot) -> Option<BurstSlot> {
        self.burst_index.get(burst).filter(|slot| self.bursts[*slot].talk(patch).is_some())
    }

    fn leg_of(&self, patch: PatchSlot, frame: &TrunkFrame<'_>) -> Option<LegSlot> {
        self.patches[patch].legs.iter().copied().find(|leg| self.legs[*leg].spec.port == frame.port)
    }

    /// Its origin has let go: this patch may be asked again by the same burst id only as a new one.
    pub(super) fn forget_talk(&mut self, burst: BurstSlot, patch: PatchSlot) {
        let open = &mut self.bursts[burst];
        open.ended = Some(BurstEnd::Released);
        let Some(talk) = open.talk_mut(patch) else { return };
        if talk.state.is_sent() || talk.state == TalkState::Queued {
            talk.state = TalkState::Refused(super::burst::Refusal::Denied(Denial::Unreachable));
        }
    }

    /// To the patch's home, from the talker's shard.
    pub(super) fn tell_home(
        &mut self,
        burst: BurstSlot,
        patch: PatchSlot,
        message: TrunkMessage<'_>,
        now: MonoTime,
        out: &mut Outbox,
    ) {
        let home = self.patches[patch].spec.home;
        if self.port_of(burst).is_some() && home != self.id {
            self.tell_shard(home, burst, patch, message, 0, now, out);
        }
    }

    /// To the talker's shard, from the patch's home.
    pub(super) fn tell_origin(
        &mut self,
        burst: BurstSlot,
        patch: PatchSlot,
        message: TrunkMessage<'_>,
        now: MonoTime,
        out: &mut Outbox,
    ) {
        if let Source::Trunk(origin) = self.bursts[burst].source {
            self.tell_shard(origin, burst, patch, message, 1, now, out);
        }
    }

    /// To every other shard that has heard the burst in this patch, from the patch's home.
    pub(super) fn tell_listeners(
        &mut self,
        burst: BurstSlot,
        patch: PatchSlot,
        message: TrunkMessage<'_>,
        now: MonoTime,
        out: &mut Outbox,
    ) {
        let Some(mut shards) = self.bursts[burst].talk(patch).map(|talk| talk.shards) else { return };
        if let Source::Trunk(origin) = self.bursts[burst].source {
            shards.remove(origin);
        }
        for shard in shards.iter() {
            self.tell_shard(shard, burst, patch, message, 1, now, out);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one frame is these things; a struct would only name them twice")]
    pub(super) fn tell_shard(
        &mut self,
        to: ShardId,
        burst: BurstSlot,
        patch: PatchSlot,
        message: TrunkMessage<'_>,
        hops: u8,
        now: MonoTime,
        out: &mut Outbox,
    ) {
        let open = &self.bursts[burst];
        let is_speech = matches!(message, TrunkMessage::Speech(_));
        let speech = open.talk(patch).filter(|_| is_speech).map(|talk| (open.id, talk.leg));
        let frame = TrunkFrame {
            patch: self.patches[patch].spec.patch,
            burst: open.id,
            node: self.node,
            port: open.port,
            hops,
            emergency: open.emergency,
            message,
        };
        let mut written = true;
        let sent = out.push_trunk(to, speech, |room| {
            frame.write(room).unwrap_or_else(|_| {
                written = false;
                0
            })
        });
        if sent && written {
            self.counters.steered += 1;
        } else if is_speech {
            self.counters.limit(MediaLimit::TrunkRing);
        } else {
            self.hit_limit(MediaLimit::TrunkRing, None, now, out);
        }
    }
}
