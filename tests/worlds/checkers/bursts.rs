//! Bursts from their beginning to the last word on them: each has one end, each ear that was entitled to it has one
//! outcome, and what the outcomes say is what the ears got (laws 10, 11, 12).

pub mod need;

use std::collections::{BTreeMap, BTreeSet};

use crosspatch::domain::floor::BurstEnd;
use crosspatch::domain::id::{BurstId, PatchId};
use crosspatch::domain::port::PortRole;
use crosspatch::domain::report::{PortOutcome, Report};
use crosspatch::domain::time::MonoTime;

use super::ears::Ears;
use super::{Findings, Law};
use crate::worlds::field::{Ear, Field};
use crate::worlds::reference::Rows;
use crate::worlds::stamp::{LIVE, NOBODY, Stamp, Voice};

/// All bursts not yet judged.
#[derive(Default)]
pub struct Bursts {
    open: BTreeMap<BurstId, Burst>,
    /// The latest live stamp that arrived at each device.
    latest: BTreeMap<Ear, (Voice, u16)>,
    /// Frames of each over that arrived at the daemon, and how the over went.
    overs: BTreeMap<(Voice, u16), Arrived>,
    /// What begins before this was under way when a shard was lost or stuck.
    disturbed_until: MonoTime,
    /// What ears here were told of bursts that came over the line from another site.
    pub from_afar: Vec<FromAfar>,
    pub happened: BurstCounts,
}

/// What was met.
#[derive(Clone, Copy, Debug, Default)]
pub struct BurstCounts {
    pub bursts: u64,
    pub outcomes: u64,
    pub pre_empted: u64,
    pub timed_out: u64,
    pub inhibited: u64,
    pub in_several_patches: u64,
    pub denied: u64,
    pub queued: u64,
    pub latched: u64,
    pub moved_transmitter: u64,
    pub judged: u64,
    pub entitled: u64,
    /// Bursts of the only talker in need, while others spoke.
    pub in_need_beside_others: u64,
    /// Outcomes by cause, in the order of `MissCause::ALL`.
    pub missed: [u64; 12],
}

#[derive(Clone, Debug, Default)]
struct Arrived {
    frames: u16,
    last: Option<u16>,
    bursts: u16,
}

/// What one ear was told of one over from another site.
#[derive(Clone, Copy, Debug)]
pub struct FromAfar {
    pub voice: Voice,
    pub over: u16,
    pub ear: Ear,
    pub outcome: PortOutcome,
    /// Its talker was heard until it let go.
    pub whole: bool,
}

struct Burst {
    talker: Ear,
    /// Over a line, of the first that speaks in it.
    voice: Voice,
    over: u16,
    /// All voices in it, a bit each, and [`SOMEBODY`] while a line has not said whose.
    voices: u32,
    /// Packets of a line without a voice: keys held while the far floor is asked.
    silences: u32,
    /// A line brought what the other site has mixed.
    is_mix: bool,
    emergency: bool,
    talks: BTreeMap<PatchId, Talk>,
    outcomes: BTreeMap<Ear, PortOutcome>,
    /// Ears that told before their talker was done: they may be linked again and tell the rest.
    in_parts: BTreeSet<Ear>,
    /// Since when what happened to shards makes exact counts pointless.
    disturbed: Option<MonoTime>,
    /// Somebody else spoke meanwhile who may have been in need, or who was not.
    beside_need: bool,
    beside_others: bool,
}

struct Talk {
    /// Ears that were entitled to all of it so far.
    must: u32,
    began: MonoTime,
    /// Frames of the over that had arrived when this patch gave the floor.
    before: u16,
    ended: Option<(BurstEnd, MonoTime)>,
}

impl Bursts {
    /// A live frame reached the daemon.
    pub fn arrived(&mut self, ear: Ear, stamp: Stamp) {
        if stamp.voice == NOBODY {
            let bursts = self.open.values_mut().filter(|burst| burst.talker == ear);
            bursts.for_each(|burst| burst.silences += 1);
        }
        if stamp.air != LIVE {
            return;
        }
        self.latest.insert(ear, (stamp.voice, stamp.over));
        let over = self.overs.entry((stamp.voice, stamp.over)).or_default();
        let before = over.frames;
        if over.last.is_none_or(|last| stamp.frame > last) {
            over.last = Some(stamp.frame);
            over.frames += 1;
        }
        let talks = |burst: &&mut Burst| burst.talker == ear && burst.talks.values().any(|talk| talk.ended.is_none());
        for burst in self.open.values_mut().filter(talks) {
            if burst.voices == SOMEBODY {
                (burst.voice, burst.over, burst.voices) = (stamp.voice, stamp.over, 1 << stamp.voice);
                burst.talks.values_mut().for_each(|talk| talk.before = before);
                over.bursts += 1;
            }
            burst.voices |= 1 << stamp.voice;
        }
    }

    /// What came over a line and is nobody's own frame: a mix of the other site.
    pub fn arrived_mixed(&mut self, ear: Ear) {
        self.open.values_mut().filter(|burst| burst.talker == ear).for_each(|burst| burst.is_mix = true);
    }

    /// Whether a talker has a floor in any patch where somebody hears it.
    pub fn is_talker(&self, ear: Ear, rows: &Rows) -> bool {
        self.talkers(|patch| rows.ears(patch, ear) != 0) >> ear & 1 == 1
    }

    /// Who has a floor in a patch, a bit for each device. What a lost shard knew is no evidence.
    pub fn holders(&self, patch: PatchId) -> u32 {
        self.talkers(|of| of == patch)
    }

    fn talkers(&self, counts: impl Fn(PatchId) -> bool) -> u32 {
        let holds = |burst: &&Burst| burst.talks.iter().any(|(patch, talk)| counts(*patch) && talk.ended.is_none());
        let known = self.open.values().filter(|burst| burst.disturbed.is_none());
        known.filter(holds).fold(0, |all, burst| all | 1 << burst.talker)
    }

    /// Whether anybody in need has a floor, or had it a moment ago.
    pub fn is_emergency(&self) -> bool {
        self.open.values().any(|burst| burst.emergency)
    }

    /// A shard reported.
    pub fn reported(&mut self, report: &Report, field: &Field, rows: &Rows, now: MonoTime, found: &mut Findings) {
        match report {
            Report::BurstStarted { burst, patch, port, emergency, .. } => {
                let Some(talker) = field.devices.iter().position(|device| device.port == *port) else { return };
                let talker = (talker, field.devices[talker].is_line);
                self.started(*burst, *patch, talker, *emergency, rows, now, found);
            }
            Report::BurstEnded { burst, patch, cause, .. } => {
                self.happened.pre_empted += u64::from(*cause == BurstEnd::PreEmpted);
                self.happened.timed_out += u64::from(*cause == BurstEnd::TimedOut);
                self.happened.inhibited += u64::from(*cause == BurstEnd::Inhibited);
                self.ended(*burst, *patch, *cause, now, found);
            }
            Report::BurstHeard { burst, outcome } => {
                let ear = field.devices.iter().position(|device| device.port == outcome.port);
                if let Some(ear) = ear {
                    self.heard(*burst, ear, *outcome, now, found);
                }
            }
            Report::Denied { .. } => self.happened.denied += 1,
            Report::Queued { .. } => self.happened.queued += 1,
            Report::Latched { .. } => self.happened.latched += 1,
            Report::TransmitMoved { .. } => self.happened.moved_transmitter += 1,
            Report::Applied { .. }
            | Report::Alive { .. }
            | Report::Sockets { .. }
            | Report::Proven { .. }
            | Report::EmergencyKeyed { .. }
            | Report::Suspected { .. }
            | Report::TooShort { .. }
            | Report::LimitHit { .. } => {}
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a report's fields and the world")]
    fn started(
        &mut self,
        id: BurstId,
        patch: PatchId,
        (talker, is_line): (Ear, bool),
        emergency: bool,
        rows: &Rows,
        now: MonoTime,
        found: &mut Findings,
    ) {
        let (voice, over) = self.latest.get(&talker).copied().unwrap_or_default();
        let mut unknown = Arrived::default();
        // A line is keyed before it brings anybody's voice.
        let arrived = if is_line { &mut unknown } else { self.overs.entry((voice, over)).or_default() };
        let before = arrived.frames;
        let voices = if is_line { SOMEBODY } else { 1 << voice };
        let disturbed = (now < self.disturbed_until).then_some(now);
        let burst = self.open.entry(id).or_insert_with(|| {
            arrived.bursts += 1;
            let (talks, outcomes, in_parts) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
            let (silences, is_mix, beside_need, beside_others) = (0, false, false, false);
            Burst {
                talker,
                voice,
                over,
                voices,
                silences,
                is_mix,
                emergency,
                talks,
                outcomes,
                in_parts,
                disturbed,
                beside_need,
                beside_others,
            }
        });
        self.happened.bursts += u64::from(burst.talks.is_empty());
        // Its home patch and two patches of incidents.
        self.happened.in_several_patches += u64::from(burst.talks.len() == 2);
        burst.in_parts.extend(burst.outcomes.keys());
        let again = burst.talks.insert(patch, Talk { must: rows.ears(patch, talker), began: now, before, ended: None });
        // A key that is linked again, or declares an emergency after it was revoked, is granted again: each grant ends.
        if again.is_some_and(|talk| talk.ended.is_none()) && burst.disturbed.is_none() {
            found.broken(Law::Closes, now, || format!("{id:?} began twice in {patch:?}"));
        }
    }

    fn ended(&mut self, id: BurstId, patch: PatchId, cause: BurstEnd, now: MonoTime, found: &mut Findings) {
        let talk = self.open.get_mut(&id).and_then(|burst| burst.talks.get_mut(&patch));
        match talk {
            Some(talk) if talk.ended.is_none() => talk.ended = Some((cause, now)),
            Some(talk) => {
                let before = talk.ended;
                found.broken(Law::Closes, now, || format!("{id:?} ended in {patch:?} with {cause:?} after {before:?}"));
            }
            None => found.broken(Law::Closes, now, || format!("{id:?} ended in {patch:?} and never began")),
        }
        let emergency = self.open.get(&id).is_some_and(|burst| burst.emergency);
        if emergency && cause == BurstEnd::PreEmpted {
            found.broken(Law::Emergency, now, || format!("the emergency {id:?} was pre-empted in {patch:?}"));
        }
    }

    fn heard(&mut self, id: BurstId, ear: Ear, outcome: PortOutcome, now: MonoTime, found: &mut Findings) {
        self.happened.outcomes += 1;
        if let Some(cause) = outcome.missed {
            self.happened.missed[cause as usize] += 1;
        }
        if outcome.missed_ms > 0 && outcome.missed.is_none() {
            found.broken(Law::NothingLost, now, || format!("{outcome:?} of {id:?} names no cause"));
        }
        let Some(burst) = self.open.get_mut(&id) else { return };
        if let Some(told) = burst.outcomes.get_mut(&ear) {
            if !burst.in_parts.contains(&ear) {
                found.broken(Law::Closes, now, || format!("{id:?} has two outcomes at ear {ear}"));
            }
            told.heard_ms += outcome.heard_ms;
            told.missed_ms += outcome.missed_ms;
            told.missed = outcome.missed.or(told.missed);
        } else {
            burst.outcomes.insert(ear, outcome);
        }
        if burst.talks.values().any(|talk| talk.ended.is_none()) {
            burst.in_parts.insert(ear);
        }
    }

    /// Once a beat: entitlement that was lost meanwhile is lost.
    pub fn beat(&mut self, rows: &Rows) {
        for burst in self.open.values_mut() {
            let talker = burst.talker;
            for (patch, talk) in burst.talks.iter_mut().filter(|(_, talk)| talk.ended.is_none()) {
                talk.must &= rows.ears(*patch, talker);
            }
        }
    }

    /// A shard was lost, or the process: what was open ends without a word from it.
    pub fn disturb(&mut self, now: MonoTime) {
        self.open.values_mut().for_each(|burst| burst.disturbed = Some(now));
        self.disturbed_until = now.plus_ms(UNDER_WAY_MS);
    }

    /// The process died: nobody will report on its bursts.
    pub fn forget(&mut self) {
        self.open.clear();
    }

    /// Which voices may be sounding at each ear: open, or ended so lately that the end may still be played.
    pub fn sounding(&self, rows: &Rows, ears: usize, now: MonoTime) -> Vec<u32> {
        let mut sounding = vec![0; ears];
        for burst in self.open.values() {
            for (patch, talk) in &burst.talks {
                // What a stuck shard holds is played when it goes on.
                let held = burst.disturbed.is_some();
                if held || talk.ended.is_none_or(|(_, at)| now.ms_since(at) < STILL_PLAYED_MS) {
                    let reach = rows.ears(*patch, burst.talker) | talk.must;
                    for (ear, voices) in sounding.iter_mut().enumerate() {
                        *voices |= (reach >> ear & 1) * (burst.voices | if burst.is_mix { SOMEBODY } else { 0 });
                    }
                }
            }
        }
        sounding
    }

    /// Whether somebody holds a floor right now.
    pub fn is_talked(&self) -> bool {
        self.open.values().any(|burst| burst.talks.values().any(|talk| talk.ended.is_none()))
    }

    /// Of a burst that a lost shard had part in nobody may ever report the end: it is no evidence.
    pub fn is_talked_in(&self, patch: PatchId) -> bool {
        let talks = |burst: &Burst| burst.talks.get(&patch).is_some_and(|talk| talk.ended.is_none());
        self.open.values().any(|burst| burst.disturbed.is_none() && talks(burst))
    }

    pub fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    /// Judges every burst that ended long enough ago, and every one that should have.
    pub fn judge(&mut self, field: &Field, ears: &Ears, now: MonoTime, found: &mut Findings) {
        let over_for = |burst: &Burst| {
            let ends = burst.talks.values().map(|talk| talk.ended.map(|(_, at)| at));
            ends.collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max())
        };
        // Its own consoles hear an emergency on past its limit until it unkeys.
        let goes_on = |burst: &Burst| {
            let timed_out = |talk: &Talk| matches!(talk.ended, Some((BurstEnd::TimedOut, _)));
            let waits = burst.talks.values().any(timed_out) && self.untold(burst, field).next().is_some();
            JUDGED_AFTER_MS + if waits { UNKEYS_AFTER_MS } else { 0 }
        };
        let ripe: Vec<BurstId> = self
            .open
            .iter()
            .filter(|(_, burst)| over_for(burst).is_some_and(|at| now.ms_since(at) >= goes_on(burst)))
            .map(|(id, _)| *id)
            .collect();
        for id in ripe {
            let Some(burst) = self.open.remove(&id) else { continue };
            self.happened.judged += 1;
            if field.devices[burst.talker].is_line && burst.is_of_one() {
                let whole = burst.is_whole();
                let afar = |(ear, outcome): (&Ear, &PortOutcome)| FromAfar {
                    voice: burst.voice,
                    over: burst.over,
                    ear: *ear,
                    outcome: *outcome,
                    whole,
                };
                self.from_afar.extend(burst.outcomes.iter().map(afar));
            }
            self.judge_outcomes(id, &burst, field, now, found);
            self.judge_counts(id, &burst, field, ears, now, found);
            self.judge_need(id, &burst, field, now, found);
        }
    }

    /// Bursts of a lost shard that nobody reports on any more.
    pub fn forget_lost(&mut self, now: MonoTime) {
        self.open.retain(|_, burst| burst.disturbed.is_none_or(|at| now.ms_since(at) < LOST_AFTER_MS));
    }

    /// At the end of a world, when all keys have long been up.
    pub fn finish(&mut self, now: MonoTime, found: &mut Findings) {
        for (id, burst) in self.open.iter().filter(|(_, burst)| burst.disturbed.is_none()) {
            for (patch, _) in burst.talks.iter().filter(|(_, talk)| talk.ended.is_none()) {
                found.broken(Law::Closes, now, || format!("{id:?} never ended in {patch:?}"));
            }
        }
    }

    fn judge_outcomes(&mut self, id: BurstId, burst: &Burst, field: &Field, now: MonoTime, found: &mut Findings) {
        let frames = self.overs.get(&(burst.voice, burst.over)).map_or(0, |over| over.frames);
        self.happened.entitled += u64::from(entitled(burst, frames).count_ones());
        if burst.disturbed.is_some() {
            return;
        }
        for ear in self.untold(burst, field) {
            let (talker, ear) = (&field.devices[burst.talker].gateway, &field.devices[ear].gateway);
            found.broken(Law::NothingLost, now, || format!("nothing is known of {id:?} ({talker}) at {ear}"));
        }
    }

    /// Ears that were entitled to a burst and have not told what became of it.
    fn untold<'a>(&self, burst: &'a Burst, field: &'a Field) -> impl Iterator<Item = Ear> + 'a {
        // Who said no more than a squelch tail may have been taken for one: nobody hears of it.
        let before = burst.talks.values().map(|talk| talk.before).min().unwrap_or(0);
        let over = self.overs.get(&(burst.voice, burst.over));
        let frames = over.map_or(0, |over| over.frames);
        let said = over.map_or(0, |_| 1 + u32::from(frames.saturating_sub(before)));
        let tail_ms = u32::from(field.devices[burst.talker].spec.receive.tail_ms);
        let must = if 20 * said > tail_ms { entitled(burst, frames) } else { 0 };
        field
            .devices
            .iter()
            .enumerate()
            .filter(move |(ear, device)| {
                // One radio of a talkgroup transmits for all.
                let told = |other: &Ear| {
                    let other = &field.devices[*other];
                    let radios = other.spec.role == PortRole::Radio && device.spec.role == PortRole::Radio;
                    other.port == device.port || radios && other.talkgroup == device.talkgroup
                };
                must >> ear & 1 == 1 && !burst.outcomes.keys().any(told)
            })
            .map(|(ear, _)| ear)
    }

    /// What the outcomes say against what came and what went.
    fn judge_counts(
        &self,
        id: BurstId,
        burst: &Burst,
        field: &Field,
        ears: &Ears,
        now: MonoTime,
        found: &mut Findings,
    ) {
        let key = (burst.voice, burst.over);
        let (Some(over), Some(arrived)) = (field.overs.get(&key), self.overs.get(&key)) else { return };
        if !burst.is_of_one()
            || burst.disturbed.is_some()
            || over.disturbed
            || arrived.bursts != 1
            || over.through.len() != 1
        {
            return;
        }
        let whole = burst.is_whole();
        // Brought down to the usual level and by its gains, a tone may drown in another's.
        let faint = field.devices[burst.talker].spec.level && (burst.beside_need || burst.beside_others);
        for (ear, outcome) in &burst.outcomes {
            let device = &field.devices[*ear];
            let heard = ears.heard.get(&(*ear, burst.voice, burst.over));
            let (frames, tones) = heard.map_or((0, 0), |heard| (heard.frames.len() as u32, heard.tones));
            // Of a mix only the voice can be told: what is played late may be counted for the next overs.
            let next = ears.heard.range((*ear, burst.voice, burst.over + 1)..=(*ear, burst.voice, u16::MAX));
            let late = next.filter(|((_, voice, over), _)| burst.is_beside((*voice, *over), field));
            let late: u32 = late.map(|(_, heard)| heard.tones).sum();
            let got_ms = 20 * (frames + tones + late);
            // A mix begins with its jitter buffer and goes on through the silence that ends a burst.
            let slack_ms = if tones == 0 { 40 } else { 460 + outcome.heard_ms / 4 } + 20 * burst.silences;
            if !faint && got_ms + slack_ms < outcome.heard_ms {
                let what = || format!("{} got {got_ms} ms of {id:?}, told {outcome:?}", device.gateway);
                found.broken(Law::NothingLost, now, what);
            }
            if tones == 0 && 20 * frames > outcome.heard_ms + slack_ms {
                let what = || format!("{} got {frames} frames of {id:?}, told only {outcome:?}", device.gateway);
                found.broken(Law::NothingLost, now, what);
            }
            // Through the patch that gave the floor first.
            let before = burst.talks.values().filter(|talk| talk.must >> ear & 1 == 1).map(|talk| talk.before).min();
            let entitled = before.is_some();
            let held = u32::from(arrived.frames.saturating_sub(before.unwrap_or(0)));
            let told_ms = outcome.heard_ms + outcome.missed_ms;
            if entitled && whole && told_ms + 60 + slack_ms < 20 * held {
                let what = || format!("{held} frames of {id:?} came, {} was told {outcome:?}", device.gateway);
                found.broken(Law::NothingLost, now, what);
            }
        }
    }
}

impl Burst {
    /// Whether its talker had every floor until it let go.
    fn is_whole(&self) -> bool {
        self.talks.values().all(|talk| matches!(talk.ended, Some((BurstEnd::Released | BurstEnd::Silence, _))))
    }

    /// Whether an over of its voice began while it may still have been played.
    fn is_beside(&self, over: (Voice, u16), field: &Field) -> bool {
        let ended = self.talks.values().filter_map(|talk| talk.ended).map(|(_, at)| at).max();
        let began = field.overs.get(&over).map(|over| over.began);
        began.zip(ended).is_some_and(|(began, ended)| began.ms_since(ended) < STILL_PLAYED_MS)
    }

    /// Whether all that was said in it is one voice's, as it was said.
    fn is_of_one(&self) -> bool {
        self.voices.count_ones() == 1 && self.voices != SOMEBODY && !self.is_mix
    }
}

/// In a set of voices: somebody of the other site, not known yet.
pub const SOMEBODY: u32 = 1 << 31;

/// Whether more than one may be meant.
pub const fn is_several(voices: u32) -> bool {
    voices.count_ones() > 1 || voices & SOMEBODY != 0
}

/// Who had to hear at least a part of it. A floor that was won and lost at one moment gave nobody anything to hear, nor
/// did one that was linked when all was said.
fn entitled(burst: &Burst, frames: u16) -> u32 {
    let keyed = burst.talks.values().map(|talk| talk.began).min().unwrap_or_default();
    let says = |talk: &Talk| frames > talk.before || talk.began.ms_since(keyed) < UNDER_WAY_MS;
    let lasting = burst.talks.values().filter(|talk| talk.ended.is_none_or(|(_, at)| now_after(talk.began, at)));
    lasting.filter(|talk| says(talk)).fold(0, |all, talk| all | talk.must)
}

fn now_after(began: MonoTime, ended: MonoTime) -> bool {
    ended.ms_since(began) > BRIEF_MS
}

/// A floor held for less than a squelch tail and two trunks need not have been noticed everywhere (ms).
const BRIEF_MS: u64 = 250;
/// The end of a burst may be played so long after it, held by a late transmitter or a mix (ms).
const STILL_PLAYED_MS: u64 = 3_500;
/// A lost shard's bursts: no report comes any more (ms).
const LOST_AFTER_MS: u64 = 12_000;
/// What waited for a stuck shard, or for a floor that is far away, is handled in the next rounds (ms).
const UNDER_WAY_MS: u64 = 100;
/// The longest key of a world (ms).
const UNKEYS_AFTER_MS: u64 = 8_000;
/// Nothing is left to play or to tell after this (ms).
const JUDGED_AFTER_MS: u64 = 5_500;
