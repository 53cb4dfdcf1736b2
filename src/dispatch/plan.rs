//! A changed file as a plan: what of it acts now, what waits for whose yes, and the lines that say so.
//!
//! What narrows acts at once. What lets others do more with an agency's resource (a softer security, another peer, a
//! new gateway on its talkgroup, a wider agreement, a longer lease by default) waits until that agency confirms. Everything else just changes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::domain::configuration::{
    Agency, Agreement, Answer, Configuration, Gateway, GatewayKind, GatewayPort, OnLoop, OnLoss, Patchable, Phone,
    Policy, RtpGateway, SipGateway, Talkgroup,
};
use crate::domain::event::{Event, Recorded};
use crate::domain::id::{AgencyId, TalkgroupId};
use crate::domain::incident::Direction;

use super::state::{Emergency, State};

/// As much of a wanted configuration as may be in force while only these agencies have said yes.
pub fn merge(current: &Configuration, wanted: &Configuration, confirmed: &dyn Fn(&AgencyId) -> bool) -> Configuration {
    let asks = |agency: &AgencyId| current.agencies.contains_key(agency) && !confirmed(agency);
    let mut merged = wanted.clone();
    for (id, agency) in &mut merged.agencies {
        if let Some(before) = current.agencies.get(id).filter(|before| asks(id) && loosens_position(before, agency)) {
            agency.responsible.clone_from(&before.responsible);
        }
    }
    if current.agencies.keys().any(asks) {
        keep_shorter(&current.policy, &mut merged.policy);
    }
    merged.talkgroups.retain(|id, talkgroup| match current.talkgroups.get(id) {
        Some(before) if before.agency != talkgroup.agency && asks(&before.agency) => {
            *talkgroup = before.clone();
            wanted.agencies.contains_key(&before.agency)
        }
        Some(before) if asks(&before.agency) => {
            keep_narrower(before, talkgroup);
            true
        }
        Some(_) | None => true,
    });
    let talkgroups: BTreeMap<TalkgroupId, AgencyId> =
        merged.talkgroups.iter().map(|(id, talkgroup)| (id.clone(), talkgroup.agency.clone())).collect();
    merged.gateways.retain(|id, gateway| {
        match current.gateways.get(id) {
            Some(before) if widens_gateway(before, gateway) && asks(&before.agency) => *gateway = before.clone(),
            Some(_) => {}
            None => {
                let joins = current.talkgroups.get(&gateway.talkgroup);
                if joins.is_some_and(|talkgroup| asks(&talkgroup.agency)) {
                    return false;
                }
            }
        }
        talkgroups.get(&gateway.talkgroup) == Some(&gateway.agency)
    });
    let gateways = &merged.gateways;
    for (id, talkgroup) in &mut merged.talkgroups {
        talkgroup.transmit.retain(|gateway| gateways.get(gateway).is_some_and(|g| g.talkgroup == *id));
    }
    merged.agreements.retain(|id, agreement| {
        if !agreement.between.iter().any(asks) {
            return true;
        }
        match current.agreements.get(id).and_then(|before| narrower(before, agreement)) {
            Some(narrower) => *agreement = narrower,
            None => return false,
        }
        true
    });
    merged
}

/// A wanted configuration and whatever of the current one an open emergency stands on: its talkgroup, the gateways of
/// that and its agency stay until the agency has cleared it and says yes (law 12).
pub fn hold_emergencies(state: &State, wanted: &Configuration) -> Configuration {
    let (current, mut held) = (&state.configuration, wanted.clone());
    for Emergency { agency, talkgroup, .. } in state.emergencies.values() {
        let Some(spec) = current.talkgroups.get(talkgroup) else { continue };
        if held.talkgroups.get(talkgroup).is_some_and(|kept| kept.agency == *agency) {
            continue;
        }
        held.talkgroups.insert(talkgroup.clone(), spec.clone());
        let carries = current.gateways.iter().filter(|(_, gateway)| gateway.talkgroup == *talkgroup);
        held.gateways.extend(carries.map(|(id, gateway)| (id.clone(), gateway.clone())));
        if let Some(owner) = current.agencies.get(agency) {
            held.agencies.entry(agency.clone()).or_insert_with(|| owner.clone());
        }
    }
    held
}

/// Whether a configuration gives nobody anything that the other did not.
pub fn only_narrows(current: &Configuration, wanted: &Configuration) -> bool {
    merge(current, wanted, &|_| false) == *wanted
}

/// What differs between two configurations, by the agencies whose resources it is.
pub fn differences(before: &Configuration, after: &Configuration) -> Vec<(BTreeSet<AgencyId>, String)> {
    let (Ok(old), Ok(new)) = (serde_json::to_value(before), serde_json::to_value(after)) else { return Vec::new() };
    let mut lines = Vec::new();
    for section in ["agencies", "talkgroups", "gateways", "agreements", "templates", "policy"] {
        let mut texts = Vec::new();
        compare(section, &old[section], &new[section], &mut texts);
        for text in texts {
            let id = text.strip_prefix(section).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
            let id = id.split(['/', ':']).next().unwrap_or_default();
            lines.push((concerned(section, id, before, after), text));
        }
    }
    lines
}

/// A plan as people read it: one line for each thing that would happen.
pub fn lines(current: &Configuration, records: &[Recorded]) -> Vec<String> {
    let mut before = current.clone();
    let mut lines = Vec::new();
    for recorded in records {
        #[expect(clippy::wildcard_enum_match_arm, reason = "a plan leads to these events only")]
        match &recorded.event {
            Event::ConfigurationAdopted { configuration } => {
                let wait = if only_narrows(&before, configuration) { "now" } else { "when recorded" };
                lines
                    .extend(differences(&before, configuration).into_iter().map(|(_, text)| format!("{wait}: {text}")));
                before = (**configuration).clone();
            }
            Event::ChangeProposed { agency, what, .. } => {
                lines.extend(what.iter().map(|text| format!("waits for {agency}: {text}")));
            }
            Event::ChangeWithdrawn { agency } => lines.push(format!("now: nothing waits for {agency} any more")),
            Event::ChangeConfirmed { agency } => lines.push(format!("now: {agency} says yes")),
            Event::Unlinked { incident, link, .. } => {
                lines.push(format!("now: unlinks {} in incident {}", link.spoken(), incident.spoken()));
            }
            Event::Declined { incident, agency, .. } | Event::Removed { incident, agency } => {
                lines.push(format!("now: takes {agency} out of incident {}", incident.spoken()));
            }
            Event::AlarmCleared { .. } => lines.push("when recorded: the file counts as repaired".to_owned()),
            Event::Closed { incident } => lines.push(format!("now: closes incident {}", incident.spoken())),
            other => lines.push(format!("now: {other:?}")),
        }
    }
    lines
}

fn loosens_position(before: &Agency, after: &Agency) -> bool {
    let strictness = |on_loss: OnLoss| match on_loss {
        OnLoss::Keep => 0,
        OnLoss::Mute => 1,
        OnLoss::Unlink => 2,
    };
    match (&before.responsible, &after.responsible) {
        (None, None | Some(_)) => false,
        (Some(_), None) => true,
        (Some(old), Some(new)) => {
            strictness(new.on_loss) < strictness(old.on_loss) || new.heartbeat_s > old.heartbeat_s
        }
    }
}

/// Every key of a talkgroup is judged here: a new one does not compile until it is.
fn keep_narrower(before: &Talkgroup, talkgroup: &mut Talkgroup) {
    let Talkgroup {
        security,
        patchable,
        priority_max,
        transmit,
        on_loop,
        idle_unlink_s,
        // Its agency is looked at before; the others let nobody else do more.
        agency: _,
        name: _,
        coverage: _,
        talk_limit_ms: _,
        announce: _,
        floor: _,
    } = talkgroup;
    *security = (*security).max(before.security);
    if before.patchable == Patchable::Never {
        *patchable = Patchable::Never;
    }
    *priority_max = (*priority_max).min(before.priority_max);
    transmit.retain(|gateway| before.transmit.contains(gateway));
    if before.on_loop == OnLoop::Isolate {
        *on_loop = OnLoop::Isolate;
    }
    let never = |s: u32| if s == 0 { u32::MAX } else { s };
    if never(*idle_unlink_s) > never(before.idle_unlink_s) {
        *idle_unlink_s = before.idle_unlink_s;
    }
}

/// Whether others can hear or speak through it who could not before: another peer, network or interface, another place,
/// or another role, as a recorder stands behind a tick of its own.
fn widens_gateway(before: &Gateway, after: &Gateway) -> bool {
    let Gateway { agency, talkgroup, kind, port } = after;
    let GatewayPort {
        role,
        rf_channel: _,
        payloads: _,
        events: _,
        extension: _,
        receive: _,
        transmit: _,
        trim: _,
        level: _,
        alias: _,
        packets_per_second_max: _,
    } = port;
    let moves = before.agency != *agency || before.talkgroup != *talkgroup || before.port.role != *role;
    moves || widens_kind(&before.kind, kind)
}

fn widens_kind(before: &GatewayKind, after: &GatewayKind) -> bool {
    match (before, after) {
        (GatewayKind::Rtp(old), GatewayKind::Rtp(new)) => {
            let RtpGateway { local, peer, accept_open_network, rtcp_timeout_s: _ } = new;
            let opens = *accept_open_network && !old.accept_open_network;
            opens || old.peer != *peer || old.local.ip() != local.ip()
        }
        (GatewayKind::Phone(old), GatewayKind::Phone(Phone { talks, encrypted, dials })) => {
            *talks && !old.talks || old.encrypted && !*encrypted || *dials != old.dials
        }
        (GatewayKind::Sip(old), GatewayKind::Sip(SipGateway { peer })) => old.peer != *peer,
        (GatewayKind::Rtp(_) | GatewayKind::Sip(_) | GatewayKind::Phone(_), _) => true,
    }
}

/// What the house says to leases that their owners did not name: the shorter of both.
fn keep_shorter(before: &Policy, policy: &mut Policy) {
    let Policy {
        lease_default_s,
        hard_end_default_s,
        lease_max_s,
        // Rings, warnings, floors and room are the host's own.
        ring_s: _,
        close_warning_s: _,
        recent_s: _,
        floor: _,
        incidents_max: _,
        patches_per_incident_max: _,
        links_per_patch_max: _,
    } = policy;
    *lease_default_s = (*lease_default_s).min(before.lease_default_s);
    *hard_end_default_s = (*hard_end_default_s).min(before.hard_end_default_s);
    *lease_max_s = (*lease_max_s).min(before.lease_max_s);
}

/// What two versions of an agreement both say; none if they have nothing in common.
fn narrower(before: &Agreement, after: &Agreement) -> Option<Agreement> {
    let kinds = match (before.kinds.is_empty(), after.kinds.is_empty()) {
        (true, _) => after.kinds.clone(),
        (false, true) => before.kinds.clone(),
        (false, false) => before.kinds.intersection(&after.kinds).cloned().collect(),
    };
    // No kinds means all kinds, so an empty intersection must not be written down as one.
    let apart = kinds.is_empty() && !(before.kinds.is_empty() && after.kinds.is_empty());
    let direction = match (before.direction, after.direction) {
        (Direction::Both, other) | (other, Direction::Both) => other,
        (one, other) if one == other => one,
        (_, _) => return None,
    };
    let end = match (before.end, after.end) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    let yes = before.answer == Answer::Yes && after.answer == Answer::Yes;
    (before.between == after.between && !apart).then(|| Agreement {
        between: after.between.clone(),
        talkgroups: before.talkgroups.intersection(&after.talkgroups).cloned().collect(),
        kinds,
        direction,
        answer: if yes { Answer::Yes } else { Answer::Ask },
        lease_max_s: before.lease_max_s.min(after.lease_max_s),
        recording: before.recording && after.recording,
        end,
        standing: before.standing.intersection(&after.standing).cloned().collect(),
    })
}

fn concerned(section: &str, id: &str, before: &Configuration, after: &Configuration) -> BTreeSet<AgencyId> {
    let mut agencies = BTreeSet::new();
    for configuration in [before, after] {
        match section {
            "agencies" => agencies.extend(AgencyId::new(id).ok()),
            "talkgroups" => {
                let found = configuration.talkgroups.iter().find(|(t, _)| t.as_str() == id);
                agencies.extend(found.map(|(_, talkgroup)| talkgroup.agency.clone()));
            }
            "gateways" => {
                let found = configuration.gateways.iter().find(|(g, _)| g.as_str() == id);
                agencies.extend(found.map(|(_, gateway)| gateway.agency.clone()));
            }
            "agreements" => {
                let found = configuration.agreements.iter().find(|(a, _)| a.as_str() == id);
                agencies.extend(found.into_iter().flat_map(|(_, agreement)| agreement.between.clone()));
            }
            // Leases that nobody named are given in every agency's name.
            "policy" if LEASES.contains(&id) => agencies.extend(configuration.agencies.keys().cloned()),
            // Templates and the rest of the policy are the host's.
            _ => {}
        }
    }
    agencies
}

/// One line for each leaf that differs.
fn compare(path: &str, old: &Value, new: &Value, lines: &mut Vec<String>) {
    match (old, new) {
        (old, new) if old == new => {}
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let (old, new) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                compare(&format!("{path}/{key}"), old, new, lines);
            }
        }
        (Value::Null, new) => lines.push(format!("{path}: added {}", short(new))),
        (old, Value::Null) => lines.push(format!("{path}: removed (was {})", short(old))),
        (old, new) => lines.push(format!("{path}: {} -> {}", short(old), short(new))),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// Keys of the policy that widen what owners give.
const LEASES: [&str; 3] = ["lease_default_s", "hard_end_default_s", "lease_max_s"];
/// So much of a value stands in a line (characters).
const SHOWN_MAX: usize = 80;
