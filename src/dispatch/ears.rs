//! Who is asked to hear a burst in a patch, and whose word on it is still awaited (law 11). The rule is media's own
//! (`may_hear`), told from the state: dispatch never asks media whom it knows. Not who did hear: that is reported.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::call::CallMedia;
use crate::domain::configuration::Gateway;
use crate::domain::id::{PortId, TalkgroupId};
use crate::domain::port::PortRole;

use super::routes::{audience, recorded};
use super::state::{Link, Patch, State};

/// Ports that were asked to hear a burst.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ears {
    /// Each of these says what it heard.
    each: BTreeSet<PortId>,
    /// Radios of one talkgroup: the one that is keyed says it for all (law 4).
    one_of: BTreeMap<TalkgroupId, BTreeSet<PortId>>,
}

impl Ears {
    /// Everybody who may hear a port's talker in this patch now. The talker's own talkgroup always does, at home.
    /// Phones only while they are in a call and do not hold it.
    pub fn of(
        state: &State,
        calls: &BTreeMap<PortId, CallMedia>,
        patch: &Patch,
        talker: PortId,
        talkgroup: &TalkgroupId,
    ) -> Self {
        let mut ears = Self::default();
        let links: BTreeMap<&TalkgroupId, &Link> = patch.links.values().map(|link| (&link.talkgroup, link)).collect();
        let own = links.get(talkgroup).copied();
        let gateways = || state.configuration.gateways.iter().map(|(id, gateway)| (PortId::of_gateway(id), gateway));
        let is_radio = |gateway: &Gateway| gateway.port.role == PortRole::Radio;
        let talks_by_radio = gateways().any(|(port, gateway)| port == talker && is_radio(gateway));
        let is_there = |port: &PortId, gateway: &Gateway| {
            !gateway.kind.comes_by_call() || calls.get(port).is_some_and(|call| call.hears)
        };
        for (port, gateway) in gateways().filter(|(port, gateway)| *port != talker && is_there(port, gateway)) {
            let radio = is_radio(gateway);
            let asked = if gateway.talkgroup == *talkgroup {
                !(radio && talks_by_radio)
            } else {
                let records = gateway.port.role == PortRole::Recorder;
                let listener = links.get(&gateway.talkgroup).copied();
                own.zip(listener).is_some_and(|(own, listener)| may_hear(state, patch, own, listener, records))
            };
            if asked {
                ears.ask(state, port, gateway, radio);
            }
        }
        ears
    }

    /// Those too.
    pub fn join(&mut self, others: Self) {
        self.each.extend(others.each);
        for (talkgroup, radios) in others.one_of {
            self.one_of.entry(talkgroup).or_default().extend(radios);
        }
    }

    /// Whether this port was asked.
    pub fn holds(&self, port: PortId) -> bool {
        self.each.contains(&port) || self.one_of.values().any(|radios| radios.contains(&port))
    }

    /// Whether everybody whose word is awaited is among these.
    pub fn all_said(&self, said: &BTreeSet<PortId>) -> bool {
        self.each.is_subset(said) && self.one_of.values().all(|radios| !radios.is_disjoint(said))
    }

    fn ask(&mut self, state: &State, port: PortId, gateway: &Gateway, radio: bool) {
        // A talkgroup that names no transmitter is heard through all its radios.
        let named = state.talkgroup(&gateway.talkgroup).map_or(&[][..], |talkgroup| &talkgroup.transmit);
        if !radio || named.is_empty() {
            self.each.insert(port);
        } else if named.iter().any(|id| PortId::of_gateway(id) == port) {
            self.one_of.entry(gateway.talkgroup.clone()).or_default().insert(port);
        }
    }
}

/// Whether audio may cross from one link to another: both willing, both open, each inside the other's audience.
fn may_hear(state: &State, patch: &Patch, talker: &Link, listener: &Link, records: bool) -> bool {
    let bit = |of: &Link| patch.parties.get(&of.talkgroup).map_or(0, |party| 1_u64 << (party & 63));
    let open = |link: &Link| !state.is_muted(&link.owner) && !state.is_cut(&link.talkgroup);
    let lets = if records {
        audience(&state.configuration, patch, listener) & recorded(patch, listener)
    } else {
        audience(&state.configuration, patch, listener)
    };
    talker.talks()
        && listener.hears()
        && open(talker)
        && open(listener)
        && lets & bit(talker) != 0
        && audience(&state.configuration, patch, talker) & bit(listener) != 0
}
