//! What shards were ordered, kept as the orders say it and no wiser: the checker compares it with what the published
//! events allow. This is where a forgotten or a misplaced order shows, before anybody has spoken.

use std::collections::BTreeMap;

use crosspatch::domain::id::{LegId, PatchId, PortId};
use crosspatch::domain::order::{LegSpec, Order, PatchSpec, RouteTable};
use crosspatch::domain::port::PortRole;

use crate::worlds::device::Device;
use crate::worlds::reference::Rows;

/// One shard's world as it was ordered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shadow {
    ports: BTreeMap<PortId, ()>,
    patches: BTreeMap<PatchId, PatchSpec>,
    legs: BTreeMap<LegId, LegSpec>,
}

impl Shadow {
    pub fn obey(&mut self, order: &Order) {
        match order {
            Order::OpenPort(spec) => {
                self.ports.insert(spec.port, ());
            }
            Order::ClosePort(port) => {
                self.ports.remove(port);
            }
            Order::OpenPatch(spec) => {
                self.patches.insert(spec.patch, *spec);
            }
            Order::ClosePatch(patch) => {
                self.patches.remove(patch);
                self.legs.retain(|_, leg| leg.patch != *patch);
            }
            Order::Join(spec) => {
                self.legs.insert(spec.leg, *spec);
            }
            Order::Leave(leg) => {
                self.legs.remove(leg);
            }
            Order::Only(RouteTable { ports, groups: _, patches, legs, emergencies: _ }) => {
                self.ports = ports.iter().map(|spec| (spec.port, ())).collect();
                self.patches = patches.iter().map(|spec| (spec.patch, *spec)).collect();
                self.legs = legs.iter().map(|spec| (spec.leg, *spec)).collect();
            }
            Order::SetGroup(_)
            | Order::DropGroup(_)
            | Order::Key { .. }
            | Order::Revoke { .. }
            | Order::Emergency { .. }
            | Order::Announce { .. } => {}
        }
    }

    /// The port of a leg.
    pub fn port_of(&self, leg: LegId) -> Option<PortId> {
        self.legs.get(&leg).map(|spec| spec.port)
    }

    /// Who may hear whom by these orders, judged by the rule of [`LegSpec`], for listeners whose port is here.
    fn lets(&self, patch: PatchId, talker: &Device, ear: &Device) -> bool {
        let of = |device: &Device| {
            let port = device.port;
            self.legs.values().filter(move |leg| leg.port == port && leg.patch == patch)
        };
        of(talker).any(|said| {
            of(ear).any(|heard| {
                let own_voice =
                    said.group == heard.group && said.role == PortRole::Radio && heard.role == PortRole::Radio;
                said.talks && heard.hears && said.port != heard.port && !own_voice && said.meets(heard)
            })
        })
    }
}

/// The first pair about whom orders and events disagree.
pub fn compare(shadows: &[Shadow], rows: &Rows, devices: &[Device]) -> Option<String> {
    for (patch, reach) in &rows.0 {
        for (at, talker) in devices.iter().enumerate() {
            for (ear, device) in devices.iter().enumerate() {
                // Who has no port hears nothing, whatever any shard was told of its legs.
                let shadow = shadows.iter().find(|shadow| shadow.ports.contains_key(&device.port));
                let ordered = shadow.is_some_and(|shadow| shadow.lets(*patch, talker, device));
                if ordered != reach.has(at, ear) {
                    let says = if ordered { "orders let it, events do not" } else { "events let it, orders do not" };
                    return Some(format!("{} at {} in {patch:?}: {says}", talker.gateway, device.gateway));
                }
            }
        }
    }
    // A patch that no event speaks of must not be in any shard.
    let unknown = shadows.iter().flat_map(|shadow| shadow.patches.keys()).find(|patch| !rows.0.contains_key(patch));
    unknown.map(|patch| format!("{patch:?} is open and no event says so"))
}
