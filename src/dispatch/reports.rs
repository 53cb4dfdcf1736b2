//! What media saw becomes facts and events. Detectors report, dispatch decides: the policy of alarms and isolation
//! stands here. A report about something that is gone is no event.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::configuration::OnLoop;
use crate::domain::event::{Alarm, Event, HeardBy, Recorded, Stream};
use crate::domain::floor::BurstEnd;
use crate::domain::id::{BurstId, EmergencyId, GatewayId, LegId, PatchId, PortId, TalkgroupId};
use crate::domain::incident::{Actor, Direction};
use crate::domain::port::ShardId;
use crate::domain::random::Entropy;
use crate::domain::report::{MediaLimit, PortOutcome, Report, Suspicion};
use crate::domain::talker::Alias;
use crate::domain::time::{MonoTime, Now, WallTime};

use super::ears::Ears;
use super::live::{Live, LiveBurst, LiveTalk, PortFacts, TalkEnd};
use super::routes::{Homes, patch_home};
use super::state::{PlacedLink, State};

/// Turns one report into live facts and into the events it means.
pub fn handle_report(
    state: &State,
    live: &mut Live,
    report: &Report,
    now: Now,
    entropy: &mut Entropy,
) -> Vec<Recorded> {
    match report {
        Report::Applied { .. } => Vec::new(),
        Report::BurstStarted { burst, patch, leg: _, port, talker, emergency, at } => {
            let started = Started { burst: *burst, patch: *patch, port: *port, talker: *talker, emergency: *emergency };
            handle_start(state, live, started, moment(*at, now))
        }
        Report::BurstEnded { burst, patch, leg: _, cause, duration_ms, at } => {
            let end = (*cause, *duration_ms, moment(*at, now));
            handle_end(state, live, *burst, *patch, end);
            settle(live, now)
        }
        Report::BurstHeard { burst, outcome } => {
            live.note_outcome(*burst, *outcome, now.mono);
            settle(live, now)
        }
        Report::Denied { patch, leg, cause, at } => {
            note(live, port_of(state, *patch, *leg), |facts| facts.denied = Some((*patch, *cause, *at)))
        }
        Report::Queued { patch, leg, position, at } => {
            note(live, port_of(state, *patch, *leg), |facts| facts.queued = Some((*patch, *position, *at)))
        }
        Report::TooShort { port, said_ms, at } => {
            note(live, Some(*port), |facts| facts.too_short = Some((*said_ms, *at)))
        }
        Report::Latched { port, address, at } => {
            note(live, Some(*port), |facts| (facts.latched, facts.latched_at) = (Some(*address), Some(*at)))
        }
        Report::Alive { port, alive, at } => handle_alive(state, live, *port, *alive, *at, now),
        Report::Proven { port, at } => note(live, Some(*port), |facts| facts.proven_at = Some(*at)),
        Report::EmergencyKeyed { port, talker, at } => {
            let id = EmergencyId(entropy.next_u128());
            declare(state, live, id, *port, *talker, moment(*at, now))
        }
        Report::TransmitMoved { group, port, at: _ } => {
            live.transmitting.insert(*group, *port);
            let carries = |t: &&TalkgroupId| crate::domain::id::GroupId::of_talkgroup(t) == *group;
            let Some(talkgroup) = state.configuration.talkgroups.keys().find(carries) else { return Vec::new() };
            set_alarm(state, Alarm::NoTransmitter { talkgroup: talkgroup.clone() }, port.is_none(), now)
        }
        Report::Suspected { leg, port, of, at } => handle_suspicion(state, live, *leg, *port, *of, moment(*at, now)),
        Report::Sockets { port, refused, at } => handle_sockets(state, live, *port, refused.as_deref(), *at, now),
        Report::LimitHit { limit, port, at } => handle_limit(state, live, *limit, *port, moment(*at, now)),
    }
}

/// A fact of a port, and no event.
fn note(live: &mut Live, port: Option<PortId>, change: impl FnOnce(&mut PortFacts)) -> Vec<Recorded> {
    if let Some(facts) = port.and_then(|port| live.port_mut(port)) {
        change(facts);
    }
    Vec::new()
}

/// Bursts whose listeners have all reported, or have had their time: each becomes one `Talked`.
pub fn settle(live: &mut Live, now: Now) -> Vec<Recorded> {
    let mut records = Vec::new();
    let Live { bursts, gateway_by_port, .. } = live;
    for (id, burst) in bursts {
        let LiveBurst { first_seen: _, talks, outcomes } = burst;
        let said: BTreeSet<PortId> = outcomes.iter().map(|outcome| outcome.port).collect();
        talks.retain(|patch, talk| {
            let Some(end) = &talk.ended else { return true };
            let settled = talk.asked.all_said(&said) || now.mono.ms_since(end.at.mono) >= SETTLE_MS;
            if settled {
                let mut heard_by: Vec<HeardBy> = Vec::new();
                let mut told = BTreeMap::new();
                for outcome in outcomes.iter().filter(|outcome| talk.asked.holds(outcome.port)) {
                    let PortOutcome { port, heard_ms, missed_ms, missed } = *outcome;
                    let Some(gateway) = gateway_by_port.get(&port).cloned() else { continue };
                    let at = *told.entry(port).or_insert(heard_by.len());
                    match heard_by.get_mut(at) {
                        Some(part) => add_part(part, outcome),
                        None => heard_by.push(HeardBy { gateway, heard_ms, missed_ms, missed }),
                    }
                }
                records.push(talked(*id, *patch, talk, end, heard_by));
            }
            !settled
        });
    }
    live.forget_bursts(now.mono);
    records
}

/// A gateway that was cut off and linked again in mid-burst has told each part.
fn add_part(told: &mut HeardBy, part: &PortOutcome) {
    told.heard_ms = told.heard_ms.saturating_add(part.heard_ms);
    told.missed_ms = told.missed_ms.saturating_add(part.missed_ms);
    told.missed = part.missed.or(told.missed);
}

/// A shard's bursts end with it.
pub fn end_bursts_of(state: &State, live: &mut Live, shard: ShardId, shards: u8, now: Now) -> Vec<Recorded> {
    let homes = Homes::of(&state.configuration, shards);
    let mut lost = Vec::new();
    for (burst, seen) in &live.bursts {
        for (patch, talk) in seen.talks.iter().filter(|(_, talk)| talk.ended.is_none()) {
            // Its talker is gone, or whoever would tell of its end.
            if homes.of_talkgroup(&talk.talkgroup) == shard || patch_home(*patch, shards) == shard {
                let ran = now.mono.ms_since(talk.began.mono);
                lost.push((*burst, *patch, u32::try_from(ran).unwrap_or(u32::MAX)));
            }
        }
    }
    for (id, gateway) in &state.configuration.gateways {
        if homes.of_talkgroup(&gateway.talkgroup) == shard
            && let Some(facts) = live.port_mut(PortId::of_gateway(id))
        {
            facts.talking.clear();
        }
    }
    for (burst, patch, duration_ms) in lost {
        handle_end(state, live, burst, patch, (BurstEnd::Restart, duration_ms, now));
    }
    settle(live, now)
}

struct Started {
    burst: BurstId,
    patch: PatchId,
    port: PortId,
    talker: Alias,
    emergency: bool,
}

fn handle_start(state: &State, live: &mut Live, started: Started, at: Now) -> Vec<Recorded> {
    let Started { burst, patch, port, talker, emergency } = started;
    if let Some(facts) = live.port_mut(port) {
        facts.talked_at = Some(at.mono);
        facts.talking.insert((burst, patch));
        (facts.denied, facts.queued) = (None, None);
    }
    let Some(gateway) = live.gateway_of(port).cloned() else { return Vec::new() };
    let Some((incident, _, placed)) = state.find_patch(patch) else { return Vec::new() };
    let Some(talkgroup) = state.configuration.gateways.get(&gateway).map(|g| g.talkgroup.clone()) else {
        return Vec::new();
    };
    if let Some(known) = live.burst_mut(burst, at.mono).talks.get_mut(&patch) {
        // The floor's shard was rebuilt under a talker who talks on: one burst, one beginning, one end.
        known.ended = None;
        return Vec::new();
    }
    let talk = LiveTalk {
        incident,
        talkgroup: talkgroup.clone(),
        gateway: gateway.clone(),
        port,
        talker,
        emergency,
        began: at,
        asked: Ears::of(state, &live.calls, placed, port, &talkgroup),
        ended: None,
    };
    live.burst_mut(burst, at.mono).talks.insert(patch, talk);
    let event = Event::TalkBegan { incident, patch, burst, talkgroup, gateway, talker, emergency };
    vec![recorded(Stream::Incident(incident), event, at)]
}

fn handle_end(state: &State, live: &mut Live, burst: BurstId, patch: PatchId, end: (BurstEnd, u32, Now)) {
    for facts in live.ports.values_mut() {
        facts.talking.remove(&(burst, patch));
    }
    let Some(talk) = live.bursts.get_mut(&burst).and_then(|seen| seen.talks.get_mut(&patch)) else { return };
    if talk.ended.is_some() {
        return;
    }
    let (cause, duration_ms, at) = end;
    talk.ended = Some(TalkEnd { cause, duration_ms, at });
    if let Some((_, _, placed)) = state.find_patch(patch) {
        talk.asked.join(Ears::of(state, &live.calls, placed, talk.port, &talk.talkgroup));
    }
}

fn talked(burst: BurstId, patch: PatchId, talk: &LiveTalk, end: &TalkEnd, heard_by: Vec<HeardBy>) -> Recorded {
    let event = Event::Talked {
        incident: talk.incident,
        patch,
        burst,
        talkgroup: talk.talkgroup.clone(),
        gateway: talk.gateway.clone(),
        talker: talk.talker,
        emergency: talk.emergency,
        duration_ms: end.duration_ms,
        end: end.cause,
        heard_by,
    };
    recorded(Stream::Incident(talk.incident), event, end.at)
}

fn handle_alive(state: &State, live: &mut Live, port: PortId, alive: bool, at: MonoTime, now: Now) -> Vec<Recorded> {
    let Some(gateway) = live.gateway_of(port).cloned() else { return Vec::new() };
    let shows_life =
        state.configuration.gateways.get(&gateway).is_some_and(|found| found.kind.silence_max_ms().is_some());
    if let Some(facts) = live.port_mut(port) {
        facts.alive = shows_life.then_some(alive);
        facts.alive_at = Some(at);
        if !alive && facts.not_open.is_some() {
            return Vec::new(); // it is not the box that is silent
        }
    }
    set_alarm(state, Alarm::GatewayLost { gateway }, !alive, now)
}

/// The system's no stands as an alarm of its own; with other words it is another. Open again, a gateway has still to show
/// that it lives.
fn handle_sockets(
    state: &State,
    live: &mut Live,
    port: PortId,
    refused: Option<&str>,
    at: MonoTime,
    now: Now,
) -> Vec<Recorded> {
    let Some(gateway) = live.gateway_of(port).cloned() else { return Vec::new() };
    let Some(facts) = live.port_mut(port) else { return Vec::new() };
    facts.not_open = refused.map(|cause| (cause.to_owned(), at));
    let lost = refused.is_none() && facts.alive == Some(false);
    let stands = |alarm: &&Alarm| matches!(alarm, Alarm::GatewayNotOpen { gateway: of, cause } if *of == gateway && refused != Some(cause));
    let stale: Vec<Alarm> = state.alarms.iter().filter(stands).cloned().collect();
    let mut records: Vec<Recorded> = stale.into_iter().flat_map(|alarm| set_alarm(state, alarm, false, now)).collect();
    if let Some(cause) = refused {
        let alarm = Alarm::GatewayNotOpen { gateway: gateway.clone(), cause: cause.to_owned() };
        records.extend(set_alarm(state, alarm, true, now));
    }
    records.extend(set_alarm(state, Alarm::GatewayLost { gateway }, lost, now));
    records
}

/// What is no one port's is only counted where it happened. Whoever floods is named: it hurts itself alone, but its owner
/// should know.
fn handle_limit(state: &State, live: &mut Live, limit: MediaLimit, port: Option<PortId>, at: Now) -> Vec<Recorded> {
    note(live, port, |facts| facts.limit_hit = Some((limit, at.mono)));
    let gateway = port.and_then(|port| live.gateway_of(port)).cloned();
    let (MediaLimit::PacketRate, Some(gateway)) = (limit, gateway) else { return Vec::new() };
    let alarm = Alarm::GatewayFloods { gateway };
    live.suspected.insert(alarm.clone(), at.mono);
    set_alarm(state, alarm, true, at)
}

fn declare(state: &State, live: &Live, emergency: EmergencyId, port: PortId, talker: Alias, at: Now) -> Vec<Recorded> {
    let found = live.gateway_of(port).and_then(|id| state.configuration.gateways.get(id));
    let Some(gateway) = found else { return Vec::new() };
    let open = state.emergencies.values().any(|e| e.talkgroup == gateway.talkgroup && e.talker == talker);
    if open {
        return Vec::new();
    }
    let (agency, talkgroup) = (gateway.agency.clone(), gateway.talkgroup.clone());
    let stream = Stream::Agency(agency.clone());
    let event = Event::EmergencyDeclared { emergency, agency, talkgroup, talker, place: String::new() };
    vec![recorded(stream, event, at)]
}

fn handle_suspicion(state: &State, live: &mut Live, leg: LegId, port: PortId, of: Suspicion, at: Now) -> Vec<Recorded> {
    let Some(gateway) = live.gateway_of(port).cloned() else { return Vec::new() };
    let alarm = match of {
        Suspicion::Returns { .. } => return handle_return(state, &gateway, leg, of, at),
        Suspicion::PingPong { other, .. } => match live.gateway_of(other).cloned() {
            Some(other) => Alarm::PingPong { gateway, other },
            None => return Vec::new(),
        },
        Suspicion::StuckReceiver { .. } => Alarm::StuckReceiver { gateway },
        Suspicion::NoiseWithoutSpeech { .. } => Alarm::NoiseWithoutSpeech { gateway },
    };
    live.suspected.insert(alarm.clone(), at.mono);
    set_alarm(state, alarm, true, at)
}

/// A self-sustaining loop is isolated where it was proved; anything less is only said.
fn handle_return(state: &State, gateway: &GatewayId, leg: LegId, of: Suspicion, at: Now) -> Vec<Recorded> {
    let Some(talkgroup) = state.configuration.gateways.get(gateway).map(|g| &g.talkgroup) else { return Vec::new() };
    let port = PortId::of_gateway(gateway);
    let found = state.links_of(talkgroup).find(|placed| LegId::of(placed.link_id, port) == leg);
    let Some(placed) = found else { return Vec::new() };
    let (incident, link) = (placed.incident_id, placed.link_id);
    let event = if may_isolate(state, &placed, of) {
        Event::Isolated { incident, link, direction: Direction::Talk, for_ms: ISOLATION_MS, suspicion: of }
    } else {
        Event::LoopSuspected { incident, link, suspicion: of }
    };
    vec![recorded(Stream::Incident(incident), event, at)]
}

fn may_isolate(state: &State, placed: &PlacedLink<'_>, of: Suspicion) -> bool {
    let Suspicion::Returns { generations, .. } = of else { return false };
    let link = placed.link;
    let wanted = state.talkgroup(&link.talkgroup).is_some_and(|t| t.on_loop == OnLoop::Isolate);
    let emergency = state.emergencies.values().any(|e| e.talkgroup == link.talkgroup)
        || state.talking_in(placed.patch_id).any(|(_, t)| t.emergency && t.talkgroup == link.talkgroup);
    let other_leg = placed
        .incident
        .links()
        .any(|(_, _, id, other)| id != placed.link_id && other.owner == link.owner && other.talks());
    wanted && generations >= GENERATIONS_MIN && !emergency && other_leg && link.talks()
}

/// Raised once, cleared once.
pub(super) fn set_alarm(state: &State, alarm: Alarm, raised: bool, at: Now) -> Vec<Recorded> {
    match (state.alarms.contains(&alarm), raised) {
        (false, true) => vec![recorded(Stream::Node, Event::AlarmRaised { alarm }, at)],
        (true, false) => vec![recorded(Stream::Node, Event::AlarmCleared { alarm }, at)],
        (true, true) | (false, false) => Vec::new(),
    }
}

pub(super) fn port_of(state: &State, patch: PatchId, leg: LegId) -> Option<PortId> {
    let (_, _, placed) = state.find_patch(patch)?;
    let ports = state.configuration.gateways.iter().map(|(id, gateway)| (PortId::of_gateway(id), &gateway.talkgroup));
    ports
        .filter(|(port, talkgroup)| {
            placed.links.iter().any(|(id, link)| link.talkgroup == **talkgroup && LegId::of(*id, *port) == leg)
        })
        .map(|(port, _)| port)
        .next()
}

/// Both clocks at a moment that media saw a little earlier.
fn moment(at: MonoTime, now: Now) -> Now {
    let at = at.min(now.mono);
    let ago_ms = i64::try_from(now.mono.ms_since(at)).unwrap_or(0);
    Now { mono: at, wall: WallTime(now.wall.0.saturating_sub(ago_ms)) }
}

fn recorded(stream: Stream, event: Event, at: Now) -> Recorded {
    Recorded { stream, actor: Actor::Media, at, event }
}

/// Listeners that have not said by now what they heard never will: longer than any hold plays on (ms).
pub const SETTLE_MS: u64 = 5_000;
/// How long an isolation lasts (ms).
pub const ISOLATION_MS: u32 = 10_000;
/// A loop sustains itself if its audio came round this often without a fresh talker.
pub const GENERATIONS_MIN: u8 = 2;
