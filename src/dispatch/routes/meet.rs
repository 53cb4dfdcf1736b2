//! The narrower of two tables: what both allow. It is what makes taking instant and giving durable at once: in force
//! is the meet of what is journalled and of everything that waits for the journal.

use crate::domain::order::{GroupSpec, LegSpec, RouteTable};
use crate::domain::port::PortSpec;

use super::by_id;

/// What both tables allow. Where neither of two values is narrower (gain, priority, floor policy) `a`'s stands.
/// Emergencies are the union: they part nobody, and help does not wait for a disk.
pub fn meet(a: &RouteTable, b: &RouteTable) -> RouteTable {
    let ports_b = by_id(&b.ports, |port| port.port);
    let ports: Vec<PortSpec> = a
        .ports
        .iter()
        .filter(|port| ports_b.get(&port.port).is_some_and(|other| same_trust(port, other)))
        .cloned()
        .collect();
    let kept = by_id(&ports, |port| port.port);
    let groups_b = by_id(&b.groups, |group| group.group);
    let groups = a
        .groups
        .iter()
        .filter_map(|group| {
            let other = groups_b.get(&group.group)?;
            let both = |port: &&_| other.transmit.contains(port) && kept.contains_key(port);
            Some(GroupSpec { group: group.group, transmit: group.transmit.iter().filter(both).copied().collect() })
        })
        .collect();
    let patches_b = by_id(&b.patches, |patch| patch.patch);
    let patches: Vec<_> = a.patches.iter().filter(|patch| patches_b.contains_key(&patch.patch)).copied().collect();
    let open = by_id(&patches, |patch| patch.patch);
    let legs_b = by_id(&b.legs, |leg| leg.leg);
    let legs = a
        .legs
        .iter()
        .filter(|leg| kept.contains_key(&leg.port) && open.contains_key(&leg.patch))
        .filter_map(|leg| legs_b.get(&leg.leg).and_then(|other| meet_legs(leg, other)))
        .collect();
    let mut emergencies: Vec<_> = a.emergencies.iter().chain(&b.emergencies).copied().collect();
    emergencies.sort_unstable();
    emergencies.dedup();
    emergencies.retain(|(port, _)| kept.contains_key(port));
    RouteTable { ports, groups, patches, legs, emergencies }
}

/// Whether going from `before` to `after` takes something that `before` allowed.
pub fn narrows(before: &RouteTable, after: &RouteTable) -> bool {
    let both = meet(before, after);
    let RouteTable { ports, groups, patches, legs, emergencies: _ } = before;
    both.ports != *ports || both.groups != *groups || both.patches != *patches || both.legs != *legs
}

/// Another peer, another shard, another talkgroup: the port that one table speaks of is not the other's.
fn same_trust(a: &PortSpec, b: &PortSpec) -> bool {
    a.peer == b.peer && a.home == b.home && a.group == b.group && a.agency == b.agency
}

fn meet_legs(a: &LegSpec, b: &LegSpec) -> Option<LegSpec> {
    let same = a.patch == b.patch && a.port == b.port && a.port_home == b.port_home && a.party == b.party;
    same.then_some(LegSpec {
        hears: a.hears && b.hears,
        talks: a.talks && b.talks,
        audience: a.audience & b.audience,
        ..*a
    })
}
