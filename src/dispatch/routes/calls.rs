//! Phones are in the routes only while they are in a call, and as their call has it. A call is nobody's grant: it opens
//! no leg that the state does not allow.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::call::CallMedia;
use crate::domain::configuration::Configuration;
use crate::domain::id::PortId;
use crate::domain::order::RouteTable;

/// Takes out of a compiled table every phone without a call, and gives the others their call's media.
pub fn admit_calls(table: &mut RouteTable, configuration: &Configuration, calls: &BTreeMap<PortId, CallMedia>) {
    let by_call = configuration.gateways.iter().filter(|(_, gateway)| gateway.kind.comes_by_call());
    let phones: BTreeSet<PortId> = by_call.map(|(id, _)| PortId::of_gateway(id)).collect();
    let is_there = |port: &PortId| !phones.contains(port) || calls.contains_key(port);
    table.ports.retain(|spec| is_there(&spec.port));
    table.legs.retain(|leg| is_there(&leg.port));
    table.emergencies.retain(|(port, _)| is_there(port));
    for spec in table.ports.iter_mut().filter(|spec| phones.contains(&spec.port)) {
        let Some(call) = calls.get(&spec.port) else { continue };
        spec.peer = call.peer.clone();
        spec.payloads.clone_from(&call.payloads);
        spec.events = call.events;
    }
    for leg in table.legs.iter_mut().filter(|leg| phones.contains(&leg.port)) {
        let Some(call) = calls.get(&leg.port) else { continue };
        leg.hears &= call.hears;
        leg.talks &= call.talks;
    }
}
