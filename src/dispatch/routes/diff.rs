//! The orders that lead from one table to another: first what takes, then what gives.

use crate::domain::order::{LegSpec, Order, RouteTable};

use super::by_id;

/// Orders for one shard, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    pub orders: Vec<Order>,
    /// Something was taken: a shard that is late with it lets through what nobody allows.
    pub narrows: bool,
}

/// What a shard that has `old` must do to have `new`.
pub fn diff(old: &RouteTable, new: &RouteTable) -> Change {
    let mut change = Change::default();
    take(old, new, &mut change.orders);
    change.narrows = !change.orders.is_empty();
    give(old, new, &mut change.orders);
    change
}

fn take(old: &RouteTable, new: &RouteTable, orders: &mut Vec<Order>) {
    let legs = by_id(&new.legs, |leg| leg.leg);
    for leg in &old.legs {
        match legs.get(&leg.leg) {
            None => orders.push(Order::Leave(leg.leg)),
            // A leg cannot change its place; whoever moves leaves first.
            Some(kept) if (kept.patch, kept.port) != (leg.patch, leg.port) => orders.push(Order::Leave(leg.leg)),
            Some(kept) if takes(leg, kept) => orders.push(Order::Join(**kept)),
            Some(_) => {}
        }
    }
    let patches = by_id(&new.patches, |patch| patch.patch);
    for patch in old.patches.iter().filter(|patch| !patches.contains_key(&patch.patch)) {
        orders.push(Order::ClosePatch(patch.patch));
    }
    let groups = by_id(&new.groups, |group| group.group);
    for group in old.groups.iter().filter(|group| !groups.contains_key(&group.group)) {
        orders.push(Order::DropGroup(group.group));
    }
    let ports = by_id(&new.ports, |port| port.port);
    for port in old.ports.iter().filter(|port| !ports.contains_key(&port.port)) {
        orders.push(Order::ClosePort(port.port));
    }
}

fn give(old: &RouteTable, new: &RouteTable, orders: &mut Vec<Order>) {
    let ports = by_id(&old.ports, |port| port.port);
    for port in new.ports.iter().filter(|port| ports.get(&port.port) != Some(port)) {
        orders.push(Order::OpenPort(port.clone()));
    }
    let groups = by_id(&old.groups, |group| group.group);
    for group in new.groups.iter().filter(|group| groups.get(&group.group) != Some(group)) {
        orders.push(Order::SetGroup(group.clone()));
    }
    let patches = by_id(&old.patches, |patch| patch.patch);
    for patch in new.patches.iter().filter(|patch| patches.get(&patch.patch) != Some(patch)) {
        orders.push(Order::OpenPatch(*patch));
    }
    let legs = by_id(&old.legs, |leg| leg.leg);
    for leg in &new.legs {
        // What narrows a leg has been said already, with everything else that changed about it.
        let said = legs.get(&leg.leg).is_some_and(|before| {
            *before == leg || (before.patch, before.port) == (leg.patch, leg.port) && takes(before, leg)
        });
        if !said {
            orders.push(Order::Join(*leg));
        }
    }
    for (port, talker) in old.emergencies.iter().filter(|open| !new.emergencies.contains(open)) {
        orders.push(Order::Emergency { port: *port, talker: *talker, open: false });
    }
    for (port, talker) in new.emergencies.iter().filter(|open| !old.emergencies.contains(open)) {
        orders.push(Order::Emergency { port: *port, talker: *talker, open: true });
    }
}

fn takes(before: &LegSpec, after: &LegSpec) -> bool {
    before.hears && !after.hears || before.talks && !after.talks || before.audience & !after.audience != 0
}
