//! Whoever is in need is heard before all else (law 12): no floor is refused and no ear is lost to somebody who is not.
//! Need is what a far end has signalled or what the agencies' papers say, never what a shard says of it. Whoever might
//! be in need by any of these is no evidence against a shard, and neither is what was lost or stuck meanwhile.

use crosspatch::domain::floor::MissCause;
use crosspatch::domain::id::{BurstId, PatchId};
use crosspatch::domain::port::ReceiveKeying;
use crosspatch::domain::time::MonoTime;

use super::{Burst, Bursts, Findings, Law};
use crate::worlds::field::{Ear, Field};

/// Devices whose talkers have an open emergency by their agency's papers, one bit each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Papers {
    /// By all papers, and long enough for every shard to know.
    pub surely: u32,
    /// By some paper, or a moment ago.
    pub maybe: u32,
}

impl Bursts {
    /// A key was denied, or put in a queue, because others hold the floor.
    pub fn turned_away(
        &mut self,
        patch: PatchId,
        ear: Ear,
        papers: Papers,
        field: &Field,
        now: MonoTime,
        found: &mut Findings,
    ) {
        if now < self.disturbed_until.plus_ms(KNOWN_EVERYWHERE_MS) || field.devices[ear].is_line {
            return;
        }
        let by_key = self.latest.get(&ear).is_some_and(|over| signals(*over, ear, field));
        if !by_key && papers.surely >> ear & 1 == 0 {
            return;
        }
        let stays = |burst: &Burst| {
            let talk = burst.talks.get(&patch).filter(|talk| talk.ended.is_none());
            talk.is_some_and(|talk| now.ms_since(talk.began) > KNOWN_EVERYWHERE_MS)
        };
        let others = || self.open.values().filter(|burst| burst.talker != ear && burst.disturbed.is_none());
        let before = others().find(|burst| stays(burst) && !self.may_be_in_need(burst, papers, field));
        if let Some(before) = before {
            let (asks, holds) = (&field.devices[ear].gateway, &field.devices[before.talker].gateway);
            let what =
                || format!("{asks} is in need and does not get the floor of {patch:?}, {holds} is not and has it");
            found.broken(Law::Emergency, now, what);
        }
    }

    /// Once a beat: who spoke beside whom.
    pub fn stand_beside(&mut self, papers: Papers, field: &Field, now: MonoTime) {
        let lately = |burst: &Burst| {
            burst.talks.values().any(|talk| talk.ended.is_none_or(|(_, at)| now.ms_since(at) < KNOWN_EVERYWHERE_MS))
        };
        let speaking = self.open.iter().filter(|(_, burst)| lately(burst));
        let speaking: Vec<(BurstId, bool)> =
            speaking.map(|(id, burst)| (*id, self.may_be_in_need(burst, papers, field))).collect();
        for (id, burst) in &mut self.open {
            for (_, in_need) in speaking.iter().filter(|(other, _)| other != id) {
                burst.beside_others |= !in_need;
                burst.beside_need |= in_need;
            }
        }
    }

    /// Whoever was in need from beginning to end, and nobody else was, lost no ear to a higher rank.
    pub(super) fn judge_need(
        &mut self,
        id: BurstId,
        burst: &Burst,
        field: &Field,
        now: MonoTime,
        found: &mut Findings,
    ) {
        let key = (burst.voice, burst.over);
        let once = self.overs.get(&key).is_some_and(|arrived| arrived.bursts == 1);
        let calm = burst.disturbed.is_none() && !field.devices[burst.talker].is_line && burst.is_of_one();
        if !once || !calm || burst.beside_need || !signals(key, burst.talker, field) {
            return;
        }
        self.happened.in_need_beside_others += u64::from(burst.beside_others);
        for outcome in burst.outcomes.values().filter(|outcome| outcome.missed == Some(MissCause::OutRanked)) {
            let talker = &field.devices[burst.talker].gateway;
            let what = || format!("{talker} alone was in need in {id:?} and lost an ear to another: {outcome:?}");
            found.broken(Law::Emergency, now, what);
        }
    }

    fn may_be_in_need(&self, burst: &Burst, papers: Papers, field: &Field) -> bool {
        let said =
            |over: Option<&(u8, u16)>| over.and_then(|over| field.overs.get(over)).is_some_and(|over| over.emergency);
        burst.emergency
            || field.devices[burst.talker].is_line
            || papers.maybe >> burst.talker & 1 == 1
            || said(Some(&(burst.voice, burst.over)))
            || said(self.latest.get(&burst.talker))
    }
}

/// Whether each frame of an over told the daemon of an emergency: keyed by the extension, over a path that loses none.
fn signals(over: (u8, u16), ear: Ear, field: &Field) -> bool {
    let says = field.devices[ear].spec.receive.keying == ReceiveKeying::Ext;
    says && field.overs.get(&over).is_some_and(|over| over.emergency && !over.disturbed)
}

/// What one shard knows, all know by then (ms): two trunks that are far apart, and two ticks.
const KNOWN_EVERYWHERE_MS: u64 = 200;
