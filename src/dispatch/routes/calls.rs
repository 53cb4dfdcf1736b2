//! Phones are in the routes only while they are in a call, and as their call has it. A call is nobody's grant: it opens
//! no leg that the state does not allow.

use std::collections::BTreeSet;

use crate::domain::configuration::Configuration;
use crate::domain::id::{PatchId, PortId};
use crate::domain::order::RouteTable;

use super::super::live::Live;

/// Takes out of a compiled table every phone without a call, and gives the others their call's media. Who was dialled and
/// has not confirmed is at home only.
pub fn admit_calls(table: &mut RouteTable, configuration: &Configuration, live: &Live) {
    let by_call = configuration.gateways.iter().filter(|(_, gateway)| gateway.kind.comes_by_call());
    let phones: BTreeSet<PortId> = by_call.map(|(id, _)| PortId::of_gateway(id)).collect();
    let call_of = |port: &PortId| live.calls.get(port).or_else(|| live.waits(*port));
    let is_there = |port: &PortId| !phones.contains(port) || call_of(port).is_some();
    table.ports.retain(|spec| is_there(&spec.port));
    table.legs.retain(|leg| is_there(&leg.port));
    for (id, gateway) in &configuration.gateways {
        let (port, home) = (PortId::of_gateway(id), PatchId::home_of(&gateway.talkgroup));
        if live.waits(port).is_some() {
            table.legs.retain(|leg| leg.port != port || leg.patch == home);
        }
    }
    table.emergencies.retain(|(port, _)| is_there(port));
    for spec in table.ports.iter_mut().filter(|spec| phones.contains(&spec.port)) {
        let Some(call) = call_of(&spec.port) else { continue };
        spec.peer = call.peer.clone();
        spec.payloads.clone_from(&call.payloads);
        spec.events = call.events;
    }
    for leg in table.legs.iter_mut().filter(|leg| phones.contains(&leg.port)) {
        let Some(call) = call_of(&leg.port) else { continue };
        leg.hears &= call.hears;
        leg.talks &= call.talks;
    }
}
