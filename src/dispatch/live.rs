//! What reports and heartbeats say right now: true until the next one, gone with the process. Not durable, not
//! consent, never a reason to give. The roster and `why` answer from it; deadlines ask it who still breathes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::domain::call::CallMedia;
use crate::domain::configuration::Configuration;
use crate::domain::event::Alarm;
use crate::domain::floor::{BurstEnd, Denial};
use crate::domain::id::{AgencyId, BurstId, GatewayId, GroupId, IncidentId, PatchId, PortId, TalkgroupId, TrunkId};
use crate::domain::report::{MediaLimit, PortOutcome};
use crate::domain::talker::Alias;
use crate::domain::time::{MonoTime, Now};

use super::ears::Ears;

/// Everything seen lately.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// When this process began to look.
    pub since: MonoTime,
    pub ports: BTreeMap<PortId, PortFacts>,
    /// Bursts that are open, or whose listeners have not all reported.
    pub bursts: BTreeMap<BurstId, LiveBurst>,
    /// The last heartbeat of each agency's responsible position.
    pub beats: BTreeMap<AgencyId, MonoTime>,
    /// Alarms that detectors keep up, by when they last spoke.
    pub suspected: BTreeMap<Alarm, MonoTime>,
    /// Which port transmits for a talkgroup; none: no gateway is left.
    pub transmitting: BTreeMap<GroupId, Option<PortId>>,
    /// Phones in a call, by port.
    pub calls: BTreeMap<PortId, CallMedia>,
    /// Lines that dial, from the command until their call has ended.
    pub dialled: BTreeMap<PortId, Dialled>,
    /// Phones that can be called.
    pub registered: BTreeSet<GatewayId>,
    /// Trunks that were heard of: whether each is up, and since when.
    pub trunks: BTreeMap<TrunkId, (bool, MonoTime)>,
    pub(super) gateway_by_port: BTreeMap<PortId, GatewayId>,
}

/// How far the call of a line that dials is.
#[derive(Clone, Debug, PartialEq)]
pub enum Dialled {
    /// Nothing has been heard of it.
    Begun,
    /// A bell rings.
    Rings,
    /// Somebody has answered and has not confirmed: alone at the line's talkgroup, asked from time to time, not for ever.
    Waits { media: CallMedia, since: MonoTime, asked: Option<MonoTime> },
    /// Somebody has confirmed, and is in the call that [`Live::calls`] has.
    Confirmed,
}

/// One port, as its shard last spoke of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PortFacts {
    /// By its kind's own sign; none: unsupervised, or not heard of yet.
    pub alive: Option<bool>,
    pub alive_at: Option<MonoTime>,
    /// Why it has no sockets.
    pub not_open: Option<(String, MonoTime)>,
    pub latched: Option<SocketAddr>,
    pub latched_at: Option<MonoTime>,
    /// First speech since its legs were opened.
    pub proven_at: Option<MonoTime>,
    /// Talked last, and still does.
    pub talked_at: Option<MonoTime>,
    pub talking: BTreeSet<(BurstId, PatchId)>,
    /// The last key that got no floor.
    pub denied: Option<(PatchId, Denial, MonoTime)>,
    pub queued: Option<(PatchId, u8, MonoTime)>,
    /// The last key that was too short for a burst (ms).
    pub too_short: Option<(u16, MonoTime)>,
    /// The last limit of media that was hit by it.
    pub limit_hit: Option<(MediaLimit, MonoTime)>,
    /// What became of the last bursts here, the latest last.
    pub outcomes: VecDeque<(BurstId, PortOutcome, MonoTime)>,
    /// Something was delivered, and when last.
    pub delivered_at: Option<MonoTime>,
}

/// A burst and what its listeners said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveBurst {
    pub first_seen: MonoTime,
    pub talks: BTreeMap<PatchId, LiveTalk>,
    pub outcomes: Vec<PortOutcome>,
}

/// A burst in one patch of an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveTalk {
    pub incident: IncidentId,
    pub talkgroup: TalkgroupId,
    pub gateway: GatewayId,
    pub port: PortId,
    pub talker: Alias,
    pub emergency: bool,
    pub began: Now,
    /// Who was asked to hear it, when it began or when it ended.
    pub asked: Ears,
    pub ended: Option<TalkEnd>,
}

/// How a burst ended in a patch.
#[derive(Clone, Debug, PartialEq)]
pub struct TalkEnd {
    pub cause: BurstEnd,
    pub duration_ms: u32,
    pub at: Now,
}

impl Live {
    /// Nothing has been seen yet.
    pub fn new(configuration: &Configuration, now: Now) -> Self {
        let mut live = Self { since: now.mono, ..Self::default() };
        live.adopt(configuration);
        live
    }

    /// The gateways behind the ports; what is no longer configured is forgotten.
    pub fn adopt(&mut self, configuration: &Configuration) {
        self.gateway_by_port = configuration.gateways.keys().map(|id| (PortId::of_gateway(id), id.clone())).collect();
        let known = &self.gateway_by_port;
        self.ports.retain(|port, _| known.contains_key(port));
        self.calls.retain(|port, _| known.contains_key(port));
        self.dialled.retain(|port, _| known.contains_key(port));
        self.registered.retain(|phone| configuration.gateways.contains_key(phone));
        self.transmitting
            .retain(|group, _| configuration.talkgroups.keys().any(|t| GroupId::of_talkgroup(t) == *group));
    }

    /// The gateway behind a port.
    pub fn gateway_of(&self, port: PortId) -> Option<&GatewayId> {
        self.gateway_by_port.get(&port)
    }

    /// The media of a call whose far side has not confirmed.
    pub fn waits(&self, port: PortId) -> Option<&CallMedia> {
        match self.dialled.get(&port)? {
            Dialled::Waits { media, .. } => Some(media),
            Dialled::Begun | Dialled::Rings | Dialled::Confirmed => None,
        }
    }

    /// Whether a port holds the floor of any patch, its home included.
    pub fn talks(&self, port: PortId) -> bool {
        self.ports.get(&port).is_some_and(|facts| !facts.talking.is_empty())
    }

    /// The facts of a configured port, to be written; ports nobody configured leave no trace.
    pub(super) fn port_mut(&mut self, port: PortId) -> Option<&mut PortFacts> {
        self.gateway_by_port.contains_key(&port).then(|| self.ports.entry(port).or_default())
    }

    /// A burst to be written to.
    pub(super) fn burst_mut(&mut self, burst: BurstId, at: MonoTime) -> &mut LiveBurst {
        let fresh = || LiveBurst { first_seen: at, talks: BTreeMap::new(), outcomes: Vec::new() };
        self.bursts.entry(burst).or_insert_with(fresh)
    }

    /// Remembers what became of a burst at a port.
    pub(super) fn note_outcome(&mut self, burst: BurstId, outcome: PortOutcome, at: MonoTime) {
        if let Some(facts) = self.port_mut(outcome.port) {
            if facts.outcomes.len() == OUTCOMES_MAX {
                facts.outcomes.pop_front();
            }
            facts.outcomes.push_back((burst, outcome, at));
            if outcome.heard_ms > 0 {
                facts.delivered_at = Some(at);
            }
        }
        let burst = self.burst_mut(burst, at);
        if burst.outcomes.len() < PORTS_PER_BURST_MAX {
            burst.outcomes.push(outcome);
        }
    }

    /// Bursts that nobody will hear more of: settled ones are taken out, stray outcomes age out.
    pub(super) fn forget_bursts(&mut self, now: MonoTime) {
        self.bursts.retain(|_, burst| {
            !burst.talks.is_empty() || now.ms_since(burst.first_seen) < STRAY_MS && !burst.outcomes.is_empty()
        });
    }
}

/// Outcomes kept per port: what a person looks back at.
pub const OUTCOMES_MAX: usize = 8;
/// Outcomes kept per burst: more ports than one daemon has.
const PORTS_PER_BURST_MAX: usize = 4096;
/// Outcomes of bursts without a known start (home patches) are of no use after this (ms).
const STRAY_MS: u64 = 120_000;
