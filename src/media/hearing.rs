//! What one port hears: the union of granted bursts over its legs, each burst once. Not who may hear whom (that is
//! the patch's rule) and no audio: only which bursts are here, which of them are chosen, and whether the chosen one
//! may pass untouched. Owned by a port. What can go wrong is more talkers than places: the newcomer is missed, counted.
//!
//! ```text
//!            one chosen, relayable                 a second chosen, or not relayable
//!   Silent ------------------------> Relay ------------------------------------------> Mix
//!     ^                                |                                                |
//!     +--------- no burst left --------+------------------ no burst left --------------+
//! ```
//!
//! Once in a mix, a port stays in it until no burst is left: changing back in mid-speech would jump in time. Only if the
//! second talker is gone before the first has said anything more, the port relays on as if nothing had been.

use std::cmp::Reverse;

use crate::domain::audio::Gain;
use crate::domain::floor::MissCause;
use crate::domain::port::Overlap;

use super::floor::Standing;
use super::slab::{BurstSlot, LegSlot, PatchSlot};

/// Bursts at one port at once: three incidents of three talkers and the ones whose end still plays.
pub const EARS_MAX: usize = 16;

/// One burst at one port.
#[derive(Clone, Copy, Debug)]
pub struct Ear {
    /// What is heard.
    pub burst: BurstSlot,
    /// The talker's leg in the patch through which it is heard.
    pub talker: LegSlot,
    /// The port's own leg there; of several, the one with the highest priority.
    pub leg: LegSlot,
    /// Their patch.
    pub patch: PatchSlot,
    /// Talker's input gain and the leg's gain.
    pub gain: Gain,
    /// Whether the payload may pass untouched.
    pub relayable: bool,
    /// Where it stands among others.
    pub standing: Standing,
    /// Bursts are numbered as they come to the shard: first come.
    pub order: u64,
    /// Among the loudest, where the patch's floor is open.
    pub loud: bool,
    /// How far it has got.
    pub stage: Stage,
    /// Whether it is among those the port hears now.
    pub chosen: bool,
    /// The newest packet that was relayed to it: what a mix still plays of those has been heard.
    pub relayed: Option<u64>,
    /// The newest packet that was relayed to it through another patch: its present one may bring those again.
    pub relayed_elsewhere: Option<u64>,
    /// A packet came while the port mixed: it is heard there, and nothing can be relayed before it.
    pub left_to_mix: bool,
    /// The newest packet that its talker had said when it lost the floor: what comes later is not for this ear.
    pub until: Option<u64>,
    /// Its audio in the packet of a mix that is being filled (ms).
    pub mixed_ms: u32,
    /// Its number among the ears of its port: a bit in [`Voices`].
    pub seat: u8,
    /// Audio delivered (ms).
    pub heard_ms: u32,
    /// Audio not delivered (ms).
    pub missed_ms: u32,
    /// Why, last.
    pub missed: Option<MissCause>,
}

/// How far a burst has got at one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The talker holds the floor.
    Live,
    /// The talker has ended; what is held or buffered still plays.
    Ending,
    /// Nothing is left; its outcome waits to be told.
    Over,
}

/// How a port's sound is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing to hear.
    Silent,
    /// One burst, its payloads untouched.
    Relay(BurstSlot),
    /// Decoded, summed, encoded.
    Mix,
}

/// All bursts at one port.
#[derive(Debug)]
pub struct Hearing {
    ears: Vec<Ear>,
    mode: Mode,
}

/// Some of a port's ears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Voices(u16);

impl Voices {
    /// Whether this one is among them.
    pub fn has(self, ear: &Ear) -> bool {
        self.0 >> ear.seat & 1 == 1
    }
}

impl Default for Hearing {
    fn default() -> Self {
        Self { ears: Vec::with_capacity(EARS_MAX), mode: Mode::Silent }
    }
}

impl Ear {
    /// Audio that reached the port.
    pub fn hear(&mut self, ms: u32) {
        self.heard_ms = self.heard_ms.saturating_add(ms);
    }
    /// Audio that did not.
    pub fn miss(&mut self, ms: u32, cause: MissCause) {
        self.missed_ms = self.missed_ms.saturating_add(ms);
        self.missed = Some(cause);
    }
    /// Its audio in a packet of a mix that goes on its way now (ms).
    pub fn take_mixed(&mut self, packet_ms: u32) -> u32 {
        let ms = self.mixed_ms.min(packet_ms);
        self.mixed_ms -= ms;
        ms
    }
    /// Its audio in the packet that is being filled is lost.
    pub fn miss_mixed(&mut self, cause: MissCause) {
        let ms = std::mem::take(&mut self.mixed_ms);
        if ms > 0 {
            self.miss(ms, cause);
        }
    }
    /// Whether a mix that has played so far plays it still.
    pub fn is_due(&self, played: Option<u64>) -> bool {
        // What was relayed to this port before it heard a mix is not said again.
        let heard = self.relayed.is_some() && self.relayed >= played;
        let past = self.until.is_some() && played > self.until;
        !heard && !past
    }
    /// Whether its next packet follows the one that was relayed last.
    fn goes_on(&self) -> bool {
        self.relayable && self.stage == Stage::Live && self.relayed.is_some() && !self.left_to_mix
    }
    /// Greater is heard first. An emergency yields to nothing, not even to a dispatcher's.
    pub fn weight(&self) -> (bool, Option<super::floor::Rank>, Reverse<u64>) {
        let rank = (!self.standing.emergency).then(|| self.standing.rank());
        (self.standing.emergency, rank, Reverse(self.order))
    }
}

impl Hearing {
    /// Whether a talker in need is among those it hears.
    pub fn is_emergency(&self) -> bool {
        self.ears.iter().any(|ear| ear.chosen && ear.stage != Stage::Over && ear.standing.emergency)
    }
    /// How the port's sound is made now.
    pub fn mode(&self) -> Mode {
        self.mode
    }
    /// Every burst at this port.
    pub fn ears(&self) -> &[Ear] {
        &self.ears
    }
    /// The same, to count.
    pub fn ears_mut(&mut self) -> &mut [Ear] {
        &mut self.ears
    }
    /// One burst's place.
    pub fn ear(&self, burst: BurstSlot) -> Option<&Ear> {
        self.ears.iter().find(|ear| ear.burst == burst)
    }
    /// The same, to count.
    pub fn ear_mut(&mut self, burst: BurstSlot) -> Option<&mut Ear> {
        self.ears.iter_mut().find(|ear| ear.burst == burst)
    }
    /// Adds a burst; false if there is no place. Choose afterwards.
    pub fn add(&mut self, ear: Ear) -> bool {
        let taken = |seat: &u8| self.ears.iter().any(|other| other.seat == *seat);
        let Some(seat) = (0..EARS_MAX as u8).find(|seat| !taken(seat)) else { return false };
        self.ears.push(Ear { seat, ..ear });
        true
    }
    /// Of those who sound in a packet of a mix, who are ears of this port, and whose own audio it carries.
    pub fn voices(&self, sounding: &[BurstSlot]) -> (Voices, Voices) {
        let (mut all, mut said) = (Voices::default(), Voices::default());
        for ear in &self.ears {
            all.0 |= u16::from(sounding.contains(&ear.burst)) << ear.seat;
            said.0 |= u16::from(ear.mixed_ms > 0) << ear.seat;
        }
        (all, said)
    }
    /// Forgets a burst whose outcome has been told.
    pub fn remove(&mut self, burst: BurstSlot) -> Option<Ear> {
        let at = self.ears.iter().position(|ear| ear.burst == burst)?;
        Some(self.ears.remove(at))
    }

    /// Chooses who is heard: the highest rank, or as many as `voices_max` by rank. What has begun and only plays its
    /// end stays chosen as it was. Returns whether the mode changed.
    pub fn choose(&mut self, overlap: Overlap, voices_max: usize) -> bool {
        let voices = match overlap {
            Overlap::One => 1,
            Overlap::Mix => voices_max.max(1),
        };
        for at in 0..self.ears.len() {
            if self.ears[at].stage == Stage::Live {
                let weight = self.ears[at].weight();
                let rivals = self.ears.iter().filter(|other| other.stage == Stage::Live && other.loud);
                let before = rivals.filter(|other| other.weight() > weight).count();
                self.ears[at].chosen = self.ears[at].loud && before < voices;
            }
        }
        let mode = self.mode_wanted();
        let changed = mode != self.mode;
        self.mode = mode;
        changed
    }

    fn mode_wanted(&self) -> Mode {
        let mut sounding = self.ears.iter().filter(|ear| ear.chosen && ear.stage != Stage::Over);
        match (sounding.next(), sounding.next(), self.mode) {
            (None, _, _) => Mode::Silent,
            (Some(ear), None, Mode::Mix) if ear.goes_on() => Mode::Relay(ear.burst),
            (Some(_), _, Mode::Mix) | (Some(_), Some(_), _) => self.relay_of_several(),
            (Some(ear), None, Mode::Silent | Mode::Relay(_)) if ear.relayable => Mode::Relay(ear.burst),
            (Some(_), None, Mode::Silent | Mode::Relay(_)) => Mode::Mix,
        }
    }

    /// One live relayable burst after others that only play their end needs no mix: the hold keeps them in order. Nor
    /// do several that only play their end: what is left of them was relayed and is held.
    fn relay_of_several(&self) -> Mode {
        if self.mode == Mode::Mix {
            return Mode::Mix;
        }
        let mut live = self.ears.iter().filter(|ear| ear.chosen && ear.stage == Stage::Live);
        match (live.next(), live.next()) {
            (Some(ear), None) if ear.relayable => Mode::Relay(ear.burst),
            (Some(_), _) => Mode::Mix,
            (None, _) => self.mode,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::floor::Priority;
    use crate::domain::id::LinkId;
    use crate::domain::time::MonoTime;

    use super::super::slab::Slot;
    use super::*;

    fn ear(number: u32, priority: u8, emergency: bool) -> Ear {
        Ear {
            burst: BurstSlot::new(number, 0),
            talker: LegSlot::new(number, 0),
            leg: LegSlot::new(99, 0),
            patch: PatchSlot::new(0, 0),
            gain: Gain::UNITY,
            relayable: true,
            standing: Standing {
                emergency,
                owner_dispatcher: false,
                host_dispatcher: false,
                priority: Priority(priority),
                side: LinkId(1),
                asked_at: MonoTime(0),
            },
            order: u64::from(number),
            loud: true,
            stage: Stage::Live,
            chosen: false,
            relayed: None,
            relayed_elsewhere: None,
            left_to_mix: false,
            until: None,
            mixed_ms: 0,
            seat: 0,
            heard_ms: 0,
            missed_ms: 0,
            missed: None,
        }
    }

    fn chosen(hearing: &Hearing) -> Vec<u32> {
        hearing.ears().iter().filter(|ear| ear.chosen).map(|ear| ear.order as u32).collect()
    }

    #[test]
    fn a_radio_hears_the_highest_rank_and_no_emergency_yields_to_another() {
        let mut hearing = Hearing::default();
        assert!(hearing.add(ear(1, 5, false)) && hearing.add(ear(2, 9, false)));
        hearing.choose(Overlap::One, 3);
        assert_eq!(chosen(&hearing), [2]);
        assert!(hearing.add(ear(3, 0, true)));
        hearing.choose(Overlap::One, 3);
        assert_eq!(chosen(&hearing), [3]);
        assert!(hearing.add(ear(4, 200, true)));
        hearing.choose(Overlap::One, 3);
        assert_eq!(chosen(&hearing), [3], "a second emergency took the first one's ears");
    }

    #[test]
    fn equal_ranks_are_heard_in_the_order_they_came() {
        let mut hearing = Hearing::default();
        for number in [1, 2, 3, 4] {
            assert!(hearing.add(ear(number, 5, false)));
        }
        hearing.choose(Overlap::Mix, 3);
        assert_eq!(chosen(&hearing), [1, 2, 3]);
    }

    #[test]
    fn a_port_in_a_mix_stays_in_it_until_no_burst_is_left() {
        let mut hearing = Hearing::default();
        assert!(hearing.add(ear(1, 5, false)));
        hearing.choose(Overlap::Mix, 3);
        assert_eq!(hearing.mode(), Mode::Relay(BurstSlot::new(1, 0)));
        assert!(hearing.add(ear(2, 5, false)));
        hearing.choose(Overlap::Mix, 3);
        assert_eq!(hearing.mode(), Mode::Mix);
        hearing.remove(BurstSlot::new(2, 0));
        hearing.choose(Overlap::Mix, 3);
        assert_eq!(hearing.mode(), Mode::Mix, "the mix was left in mid-speech");
        hearing.remove(BurstSlot::new(1, 0));
        hearing.choose(Overlap::Mix, 3);
        assert_eq!(hearing.mode(), Mode::Silent);
    }

    #[test]
    fn a_second_talker_who_is_gone_before_the_first_says_more_costs_no_mix() {
        for left_to_mix in [false, true] {
            let mut hearing = Hearing::default();
            assert!(hearing.add(ear(1, 5, false)));
            hearing.choose(Overlap::Mix, 3);
            hearing.ears_mut()[0].relayed = Some(7);
            assert!(hearing.add(ear(2, 5, false)));
            hearing.choose(Overlap::Mix, 3);
            hearing.ears_mut()[0].left_to_mix = left_to_mix;
            hearing.remove(BurstSlot::new(2, 0));
            hearing.choose(Overlap::Mix, 3);
            let expected = if left_to_mix { Mode::Mix } else { Mode::Relay(BurstSlot::new(1, 0)) };
            assert_eq!(hearing.mode(), expected, "a packet was left to the mix: {left_to_mix}");
        }
    }

    #[test]
    fn bursts_whose_relayed_ends_are_still_held_make_no_mix_for_the_next() {
        let mut hearing = Hearing::default();
        for number in [1, 2, 3] {
            assert!(hearing.add(ear(number, 5, false)));
            hearing.choose(Overlap::One, 3);
            assert_eq!(hearing.mode(), Mode::Relay(BurstSlot::new(number, 0)));
            if let Some(ear) = hearing.ear_mut(BurstSlot::new(number, 0)) {
                ear.stage = Stage::Ending;
            }
            hearing.choose(Overlap::One, 3);
            assert_eq!(hearing.mode(), Mode::Relay(BurstSlot::new(number, 0)), "{number} only plays its end");
        }
    }

    #[test]
    fn there_are_no_more_places_than_declared() {
        let mut hearing = Hearing::default();
        let added = (0..20).filter(|number| hearing.add(ear(*number, 5, false))).count();
        assert_eq!(added, EARS_MAX);
    }
}
