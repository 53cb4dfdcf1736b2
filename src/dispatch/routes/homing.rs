//! Which shard a port and a patch live on: by a hash of their names, fixed for life.
//!
//! Ports of one talkgroup, or on one RF channel, share a shard: who transmits, whose copy is heard and who is deaf
//! is decided in one place. So the unit that is homed is a cluster of talkgroups joined by RF channels.

use std::collections::BTreeMap;

use crate::domain::configuration::Configuration;
use crate::domain::id::{GroupId, PatchId, TalkgroupId};
use crate::domain::port::ShardId;

/// The shard of every talkgroup.
#[derive(Clone, Debug)]
pub struct Homes {
    home_by_talkgroup: BTreeMap<TalkgroupId, ShardId>,
}

impl Homes {
    /// Clusters talkgroups by the RF channels of their gateways and homes each cluster by its first name.
    pub fn of(configuration: &Configuration, shards: u8) -> Self {
        let mut cluster: BTreeMap<GroupId, TalkgroupId> = BTreeMap::new();
        let mut first: BTreeMap<TalkgroupId, TalkgroupId> =
            configuration.talkgroups.keys().map(|talkgroup| (talkgroup.clone(), talkgroup.clone())).collect();
        for gateway in configuration.gateways.values() {
            let Some(channel) = gateway.port.rf_channel.as_ref().map(GroupId::of_rf_channel) else { continue };
            let other = cluster.entry(channel).or_insert_with(|| gateway.talkgroup.clone()).clone();
            let (a, b) = (root(&first, &gateway.talkgroup), root(&first, &other));
            first.insert((&a).max(&b).clone(), a.min(b));
        }
        let home = |talkgroup: &TalkgroupId| shard_of(GroupId::of_talkgroup(&root(&first, talkgroup)).0, shards);
        Self { home_by_talkgroup: configuration.talkgroups.keys().map(|t| (t.clone(), home(t))).collect() }
    }

    /// The shard of a talkgroup's ports.
    pub fn of_talkgroup(&self, talkgroup: &TalkgroupId) -> ShardId {
        self.home_by_talkgroup.get(talkgroup).copied().unwrap_or_default()
    }
}

/// The shard where a patch's floor lives.
pub fn patch_home(patch: PatchId, shards: u8) -> ShardId {
    shard_of(patch.0, shards)
}

fn root(first: &BTreeMap<TalkgroupId, TalkgroupId>, talkgroup: &TalkgroupId) -> TalkgroupId {
    let mut at = talkgroup;
    while let Some(next) = first.get(at).filter(|next| *next != at) {
        at = next;
    }
    at.clone()
}

fn shard_of(id: u128, shards: u8) -> ShardId {
    let folded = (id >> 64) as u64 ^ id as u64;
    // The low bits of an FNV hash follow its last byte; the product spreads them.
    let spread = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ShardId((spread % u64::from(shards.max(1))) as u8)
}
