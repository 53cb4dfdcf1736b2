//! How what happened changes what is. Cannot fail: an event about something that is gone changes nothing, so that
//! any journal, whole or cut, leads to a state. Not a judge: whether it should have happened was `decide`'s matter.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::event::{Event, HeardBy, OpenedPatch, Recorded};
use crate::domain::id::{AgencyId, EmergencyId, GatewayId, IncidentId, LinkId};
use crate::domain::incident::{Actor, CutTarget, Direction, LinkTerms};
use crate::domain::time::Now;

use super::partings;
use super::state::{
    Emergency, HandOver, Incident, Invitation, Isolation, Link, Member, Overtime, Patch, Position, Proposal, State,
    Talking, Term,
};

/// Applies one event, live or replayed alike.
pub fn evolve(state: &mut State, recorded: &Recorded) {
    let at = recorded.at;
    if let Event::Started { epoch, .. } = &recorded.event {
        state.rebase(at);
        state.epoch = *epoch;
    }
    state.known = if at.mono >= state.known.mono { at } else { state.known };
    partings::note(state, recorded);
    match &recorded.event {
        Event::Started { .. } | Event::Stopped => {}
        Event::ClockStepped { by_ms } => state.step_wall(*by_ms),
        Event::ConfigurationAdopted { configuration } => state.configuration = Arc::new((**configuration).clone()),
        Event::ChangeProposed { agency, configuration, what } => {
            let proposal = Proposal { configuration: Arc::new((**configuration).clone()), what: what.clone(), at };
            state.proposals.insert(agency.clone(), proposal);
        }
        Event::ChangeConfirmed { agency } | Event::ChangeWithdrawn { agency } => {
            state.proposals.remove(agency);
        }
        Event::AlarmRaised { alarm } => {
            state.alarms.insert(alarm.clone());
        }
        Event::AlarmCleared { alarm } => {
            state.alarms.remove(alarm);
        }
        Event::LossConfirmed { alarm, .. } => {
            state.losses_confirmed.insert(alarm.clone());
        }
        event @ (Event::IncidentOpened { .. }
        | Event::PatchAdded { .. }
        | Event::PatchClosed { .. }
        | Event::FloorSet { .. }
        | Event::Invited { .. }
        | Event::InvitationEscalated { .. }
        | Event::Accepted { .. }
        | Event::Declined { .. }
        | Event::HostOffered { .. }
        | Event::HostTaken { .. }
        | Event::HandedOver { .. }
        | Event::Left { .. }
        | Event::Removed { .. }
        | Event::CloseWarned { .. }
        | Event::CloseWithdrawn { .. }
        | Event::Closed { .. }
        | Event::Noted { .. }
        | Event::FloorRevoked { .. }) => evolve_incident(state, event, recorded),
        event @ (Event::Linked { .. }
        | Event::Dialled { .. }
        | Event::Adjusted { .. }
        | Event::Extended { .. }
        | Event::Admitted { .. }
        | Event::ExpiryWarned { .. }
        | Event::OvertimeBegan { .. }
        | Event::OvertimeRuns { .. }
        | Event::IdleWarned { .. }
        | Event::Confirmed { .. }
        | Event::Unlinked { .. }
        | Event::Isolated { .. }
        | Event::IsolationEnded { .. }
        | Event::LoopSuspected { .. }) => evolve_link(state, event, recorded),
        event @ (Event::TalkBegan { .. } | Event::Talked { .. }) => evolve_talk(state, event, at),
        event @ (Event::EmergencyDeclared { .. }
        | Event::EmergencyAcknowledged { .. }
        | Event::EmergencyCleared { .. }
        | Event::CutMade { .. }
        | Event::CutLifted { .. }
        | Event::PositionStaffed { .. }
        | Event::PositionLost { .. }) => evolve_agency(state, event, recorded),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "evolve() lists which events come here, exhaustively")]
fn evolve_incident(state: &mut State, event: &Event, recorded: &Recorded) {
    let at = recorded.at;
    match event {
        Event::IncidentOpened { incident, .. } => {
            if let Some(opened) = opened(event, at) {
                state.incidents.insert(*incident, Arc::new(opened));
            }
        }
        Event::PatchAdded { incident, patch } => with(state, *incident, |i| {
            i.patches.insert(patch.patch, empty_patch(patch));
        }),
        Event::PatchClosed { incident, patch } => with(state, *incident, |i| {
            i.patches.remove(patch);
            if i.first == *patch {
                i.first = i.patches.keys().next().copied().unwrap_or(*patch);
            }
        }),
        Event::FloorSet { incident, patch, floor } => with(state, *incident, |i| {
            if let Some(patch) = i.patches.get_mut(patch) {
                patch.floor = *floor;
            }
        }),
        Event::Invited { incident, agency, note, proposed } => with(state, *incident, |i| {
            let by = recorded.actor.clone();
            let invitation = Invitation { by, at, note: note.clone(), proposed: proposed.clone(), escalated: false };
            i.invitations.insert(agency.clone(), invitation);
        }),
        Event::InvitationEscalated { incident, agency, .. } => with(state, *incident, |i| {
            if let Some(invitation) = i.invitations.get_mut(agency) {
                invitation.escalated = true;
            }
        }),
        Event::Accepted { incident, agency, by } => with(state, *incident, |i| {
            i.invitations.remove(agency);
            i.members.insert(agency.clone(), Member { since: at, by: by.clone(), hand_over: None });
        }),
        Event::Declined { incident, agency, .. } => with(state, *incident, |i| {
            i.invitations.remove(agency);
        }),
        Event::HostOffered { incident, to } => with(state, *incident, |i| i.offered = Some(to.clone())),
        Event::HostTaken { incident, host } => with(state, *incident, |i| {
            i.host = host.clone();
            i.offered = None;
        }),
        Event::HandedOver { incident, agency, from, to, note, .. } => with(state, *incident, |i| {
            if let Some(member) = i.members.get_mut(agency) {
                let (from, to, note) = (from.clone(), to.clone(), note.clone());
                member.hand_over = Some(HandOver { from, to, note, at });
            }
        }),
        Event::Left { incident, agency } | Event::Removed { incident, agency } => with(state, *incident, |i| {
            i.members.remove(agency);
            i.invitations.remove(agency);
            i.offered.take_if(|offered| offered == agency);
            for patch in i.patches.values_mut() {
                patch.links.retain(|_, link| link.owner != *agency);
            }
        }),
        Event::CloseWarned { incident, in_s } => with(state, *incident, |i| {
            i.closing = Some(Term::after(u64::from(*in_s) * 1000, at));
        }),
        Event::CloseWithdrawn { incident } => with(state, *incident, |i| i.closing = None),
        Event::Closed { incident } => {
            state.incidents.remove(incident);
        }
        Event::Noted { .. } | Event::FloorRevoked { .. } => {}
        _ => {}
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "evolve() lists which events come here, exhaustively")]
fn evolve_link(state: &mut State, event: &Event, recorded: &Recorded) {
    let at = recorded.at;
    match event {
        Event::Linked { incident, patch, terms } => with(state, *incident, |i| {
            if let Some(patch) = i.patches.get_mut(patch) {
                link(patch, terms, recorded);
            }
        }),
        Event::Adjusted { incident, link, direction, gain, priority } => {
            let Some(host) = state.incidents.get(incident).map(|i| i.host.clone()) else { return };
            with_link(state, *incident, *link, |l| {
                if is_by(&recorded.actor, &l.grant.issuer) {
                    l.grant.direction = *direction;
                }
                if is_by(&recorded.actor, &host) {
                    l.host_direction = *direction;
                }
                l.gain = *gain;
                l.priority = *priority;
            });
        }
        Event::Extended { incident, link, lease } => with_link(state, *incident, *link, |l| {
            l.lease = Term::of(*lease, at);
            l.leased = at;
            // A standing agreement moves the hard end that its owner did not name; nothing moves one that it named.
            if l.hard_end.end < l.lease.end && !l.grant.hard_end_named {
                l.hard_end = l.lease;
            }
            l.warned_s = None;
            l.overtime = None;
        }),
        Event::Admitted { incident, link, agencies, classes, not_secure_reason } => {
            with_link(state, *incident, *link, |l| {
                l.grant.audience.agencies.extend(agencies.iter().cloned());
                l.grant.audience.classes.extend(classes);
                if not_secure_reason.is_some() {
                    l.grant.not_secure_reason.clone_from(not_secure_reason);
                }
            });
        }
        Event::ExpiryWarned { incident, link, left_s } => {
            with_link(state, *incident, *link, |l| l.warned_s = Some(*left_s));
        }
        Event::OvertimeBegan { incident, link } => with_link(state, *incident, *link, |l| {
            l.overtime = Some(Overtime { since: at, minutes: 0 });
        }),
        Event::OvertimeRuns { incident, link, minutes } => with_link(state, *incident, *link, |l| {
            if let Some(overtime) = &mut l.overtime {
                overtime.minutes = *minutes;
            }
        }),
        Event::IdleWarned { incident, link, .. } => with_link(state, *incident, *link, |l| l.idle_warned = true),
        Event::Confirmed { incident, link, receive, transmit } => with_link(state, *incident, *link, |l| {
            l.confirmed_receive |= receive;
            l.confirmed_transmit |= transmit;
        }),
        Event::Unlinked { incident, link, .. } => with(state, *incident, |i| {
            for patch in i.patches.values_mut() {
                patch.links.remove(link);
            }
        }),
        Event::Isolated { incident, link, direction, for_ms, .. } => with_link(state, *incident, *link, |l| {
            l.isolated = Some(Isolation { direction: *direction, until: Term::after(u64::from(*for_ms), at) });
        }),
        Event::IsolationEnded { incident, link } => with_link(state, *incident, *link, |l| l.isolated = None),
        Event::LoopSuspected { .. } => {}
        _ => {}
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "evolve() lists which events come here, exhaustively")]
fn evolve_talk(state: &mut State, event: &Event, at: Now) {
    match event {
        Event::TalkBegan { incident, patch, burst, talkgroup, gateway, talker, emergency } => {
            let talking = Talking {
                incident: *incident,
                talkgroup: talkgroup.clone(),
                gateway: gateway.clone(),
                talker: *talker,
                emergency: *emergency,
                at,
            };
            state.talking.entry(*burst).or_default().insert(*patch, talking);
        }
        Event::Talked { incident, patch, burst, talkgroup, heard_by, .. } => {
            if let Some(by_patch) = state.talking.get_mut(burst) {
                by_patch.remove(patch);
                if by_patch.is_empty() {
                    state.talking.remove(burst);
                }
            }
            let configuration = state.configuration.clone();
            let heard = |gateway: &GatewayId| configuration.gateways.get(gateway).map(|g| &g.talkgroup);
            with(state, *incident, |i| {
                let Some(patch) = i.patches.get_mut(patch) else { return };
                for link in patch.links.values_mut() {
                    let talked = link.talkgroup == *talkgroup;
                    let hears = |by: &HeardBy| by.heard_ms > 0 && heard(&by.gateway) == Some(&link.talkgroup);
                    if talked || heard_by.iter().any(hears) {
                        link.used = Some(at);
                        link.idle_warned = false;
                    }
                    if talked {
                        patch.talked.insert(link.owner.clone(), at);
                    }
                }
            });
        }
        _ => {}
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "evolve() lists which events come here, exhaustively")]
fn evolve_agency(state: &mut State, event: &Event, recorded: &Recorded) {
    let at = recorded.at;
    match event {
        Event::EmergencyDeclared { emergency, agency, talkgroup, talker, place } => {
            let declared = Emergency {
                agency: agency.clone(),
                talkgroup: talkgroup.clone(),
                talker: *talker,
                place: place.clone(),
                by: recorded.actor.clone(),
                at,
                acknowledged: BTreeMap::new(),
            };
            state.emergencies.insert(*emergency, declared);
        }
        Event::EmergencyAcknowledged { emergency, agency } => acknowledge(state, *emergency, agency, at),
        Event::EmergencyCleared { emergency, .. } => {
            state.emergencies.remove(emergency);
        }
        Event::CutMade { agency, target } => {
            state.cuts.insert(target.clone());
            if let CutTarget::Agency(_) = target {
                for incident in state.incidents.values_mut().filter(|i| i.offered.as_ref() == Some(agency)) {
                    Arc::make_mut(incident).offered = None;
                }
            }
        }
        Event::CutLifted { target, .. } => {
            state.cuts.remove(target);
        }
        Event::PositionStaffed { agency, .. } => {
            state.positions.insert(agency.clone(), Position::Staffed { since: at });
        }
        Event::PositionLost { agency, .. } => {
            state.positions.insert(agency.clone(), Position::Lost { since: at });
        }
        _ => {}
    }
}

fn acknowledge(state: &mut State, emergency: EmergencyId, agency: &AgencyId, at: Now) {
    if let Some(emergency) = state.emergencies.get_mut(&emergency) {
        emergency.acknowledged.entry(agency.clone()).or_insert(at);
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "one event only")]
fn opened(event: &Event, at: Now) -> Option<Incident> {
    match event {
        Event::IncidentOpened { title, kind, exercise, host, template, patches, lease_s, .. } => Some(Incident {
            title: title.clone(),
            kind: kind.clone(),
            exercise: *exercise,
            host: host.clone(),
            offered: None,
            template: template.clone(),
            lease_s: *lease_s,
            opened: at,
            first: patches.first()?.patch,
            members: [(host.clone(), Member { since: at, by: None, hand_over: None })].into(),
            invitations: BTreeMap::new(),
            patches: patches.iter().map(|opened| (opened.patch, empty_patch(opened))).collect(),
            closing: None,
        }),
        _ => None,
    }
}

fn empty_patch(opened: &OpenedPatch) -> Patch {
    Patch {
        name: opened.name.clone(),
        floor: opened.floor,
        parties: BTreeMap::new(),
        links: BTreeMap::new(),
        talked: BTreeMap::new(),
    }
}

fn link(patch: &mut Patch, terms: &LinkTerms, recorded: &Recorded) {
    let next = u8::try_from(patch.parties.len()).unwrap_or(u8::MAX);
    patch.parties.entry(terms.talkgroup.clone()).or_insert(next);
    let mut grant = terms.grant.clone();
    grant.direction = terms.direction;
    let link = Link {
        talkgroup: terms.talkgroup.clone(),
        owner: grant.issuer.clone(),
        by: recorded.actor.clone(),
        since: recorded.at,
        host_direction: Direction::Both,
        gain: terms.gain,
        priority: terms.priority,
        lease: Term::of(terms.lease, recorded.at),
        leased: recorded.at,
        hard_end: Term::of(grant.hard_end, recorded.at),
        grant,
        used: None,
        warned_s: None,
        overtime: None,
        idle_warned: false,
        confirmed_receive: false,
        confirmed_transmit: false,
        isolated: None,
    };
    patch.links.insert(terms.link, link);
}

fn is_by(actor: &Actor, agency: &AgencyId) -> bool {
    match actor {
        Actor::User { agency: of, .. } => of.as_ref() == Some(agency),
        Actor::Agreement(_) | Actor::Timer | Actor::Media | Actor::Recovery | Actor::Reload => false,
    }
}

fn with(state: &mut State, incident: IncidentId, change: impl FnOnce(&mut Incident)) {
    if let Some(incident) = state.incidents.get_mut(&incident) {
        change(Arc::make_mut(incident));
    }
}

fn with_link(state: &mut State, incident: IncidentId, link: LinkId, change: impl FnOnce(&mut Link)) {
    with(state, incident, |i| {
        if let Some(link) = i.patches.values_mut().find_map(|patch| patch.links.get_mut(&link)) {
            change(link);
        }
    });
}
