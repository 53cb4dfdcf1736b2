//! A patch and its legs as one shard knows them, and the one rule of who may hear whom. Not the floor's behaviour and
//! no audio. Owned by the shard; legs of other shards' ports are here too, so that each shard judges by itself.

use crate::domain::order::{LegSpec, PatchSpec};
use crate::domain::port::{PortRole, ShardId};

use super::floor::Floor;
use super::slab::{BurstSlot, LegSlot, PatchSlot, PortSlot};

/// A patch this shard has a part in.
#[derive(Debug)]
pub struct Patch {
    /// As ordered.
    pub spec: PatchSpec,
    /// All its legs, of whatever shard.
    pub legs: Vec<LegSlot>,
    /// The right to talk, if this shard is its home.
    pub floor: Option<Floor<BurstSlot>>,
}

/// One port's place in one patch.
#[derive(Debug)]
pub struct Leg {
    /// As ordered.
    pub spec: LegSpec,
    /// Its patch.
    pub patch: PatchSlot,
    /// Its port, if that is here and open.
    pub port: Option<PortSlot>,
}

/// Whether `listener` may hear what `talker` says: one patch, both willing, two ports, not two radios of one
/// talkgroup (its own channel carries that voice already), and each inside the other's audience (law 1).
pub fn may_hear(talker: &LegSpec, listener: &LegSpec) -> bool {
    let own_voice = talker.group.is_some()
        && talker.group == listener.group
        && talker.role == PortRole::Radio
        && listener.role == PortRole::Radio;
    talker.patch == listener.patch
        && talker.talks
        && listener.hears
        && talker.port != listener.port
        && !own_voice
        && talker.meets(listener)
}

/// Whether `listener` still hears an emergency whose talk limit has passed: its own agency's consoles do.
pub fn hears_past_limit(talker: &LegSpec, listener: &LegSpec) -> bool {
    listener.role == PortRole::Console && listener.agency == talker.agency
}

/// Shards as bits; a shard's number is below 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSet(u64);

impl ShardSet {
    /// Adds one.
    pub fn insert(&mut self, shard: ShardId) {
        debug_assert!(shard.0 < 64, "a daemon has as many shards as cores, at most 64");
        self.0 |= 1 << (shard.0 & 63);
    }
    /// Takes one out.
    pub fn remove(&mut self, shard: ShardId) {
        self.0 &= !(1 << (shard.0 & 63));
    }
    /// Every one, lowest first.
    pub fn iter(self) -> impl Iterator<Item = ShardId> {
        (0..64).filter(move |number| self.0 >> number & 1 == 1).map(ShardId)
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::audio::Gain;
    use crate::domain::floor::Priority;
    use crate::domain::id::{AgencyKey, GroupId, LegId, LinkId, PatchId, PortId};

    use super::*;

    fn leg(port: u128, party: u8) -> LegSpec {
        LegSpec {
            leg: LegId(port),
            link: LinkId(u128::from(party)),
            patch: PatchId(1),
            port: PortId(port),
            port_home: ShardId(0),
            group: None,
            agency: AgencyKey(u128::from(party)),
            role: PortRole::Radio,
            trim: Gain::UNITY,
            hears: true,
            talks: true,
            gain: Gain::UNITY,
            priority: Priority(0),
            party,
            audience: u64::MAX,
        }
    }

    #[test]
    fn whoever_is_outside_an_audience_neither_hears_nor_is_heard() {
        let (police, late) = (LegSpec { audience: 0b011, ..leg(1, 0) }, leg(2, 2));
        assert!(!may_hear(&police, &late) && !may_hear(&late, &police));
        assert!(may_hear(&police, &leg(3, 1)) && may_hear(&leg(3, 1), &police));
    }

    #[test]
    fn radios_of_one_group_never_hear_each_other_but_its_clients_do() {
        let group = Some(GroupId(7));
        let (one, two) = (LegSpec { group, ..leg(1, 0) }, LegSpec { group, ..leg(2, 0) });
        assert!(!may_hear(&one, &two));
        assert!(may_hear(&one, &LegSpec { role: PortRole::Client, ..two }));
    }

    #[test]
    fn each_wish_of_a_leg_counts() {
        let (one, two) = (leg(1, 0), leg(2, 1));
        assert!(!may_hear(&LegSpec { talks: false, ..one }, &two));
        assert!(!may_hear(&one, &LegSpec { hears: false, ..two }));
        assert!(!may_hear(&one, &LegSpec { patch: PatchId(2), ..two }));
        assert!(!may_hear(&one, &LegSpec { port: PortId(1), ..two }));
    }
}
