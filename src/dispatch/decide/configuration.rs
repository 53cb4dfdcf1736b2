//! Adopting a changed file, and an agency's yes to what it would widen.

use std::collections::BTreeMap;

use crate::domain::command::Principal;
use crate::domain::configuration::{Agreement, Answer, Configuration, Patchable};
use crate::domain::event::{Alarm, Event, Stream};
use crate::domain::id::{AgencyId, IncidentId, LinkId};
use crate::domain::incident::{Actor, Grant, UnlinkCause};
use crate::domain::refusal::Refusal;

use super::super::state::{Emergency, Patch};
use super::super::{plan, sharing};
use super::Draft;

/// An administrator adopts a file. What ends, ends first, so that nothing narrows only once it is journalled.
pub(super) fn decide_adopt(draft: &mut Draft<'_>, who: &Principal, wanted: &Configuration) -> Result<(), Refusal> {
    let current = draft.state.configuration.clone();
    let held = plan::hold_emergencies(&draft.state, wanted);
    let narrowed = plan::merge(&current, &held, &|_| false);
    let adopted = plan::merge(&current, &held, &|agency| who.agency.as_ref() == Some(agency));
    let mut what: BTreeMap<AgencyId, Vec<String>> = BTreeMap::new();
    for (agencies, line) in plan::differences(&adopted, wanted) {
        for agency in agencies.into_iter().filter(|agency| current.agencies.contains_key(agency)) {
            what.entry(agency).or_default().push(line.clone());
        }
    }
    let known = |agency: &AgencyId| draft.state.proposals.get(agency).map(|proposal| &*proposal.configuration);
    let proposed_already = what.keys().all(|agency| known(agency) == Some(wanted))
        && draft.state.proposals.keys().all(|agency| what.contains_key(agency));
    // A file that can be adopted is a file that was repaired.
    let repaired = draft.state.alarms.iter().find(|alarm| matches!(alarm, Alarm::ConfigurationFaulty { .. })).cloned();
    if adopted == *current && proposed_already && repaired.is_none() {
        return Err(Refusal::NothingToDo);
    }
    end_disallowed(draft, &narrowed);
    if narrowed != *current {
        draft.push(Stream::Node, Event::ConfigurationAdopted { configuration: Box::new(narrowed.clone()) });
    }
    if adopted != narrowed {
        end_disallowed(draft, &adopted);
        draft.push(Stream::Node, Event::ConfigurationAdopted { configuration: Box::new(adopted) });
    }
    if let Some(alarm) = repaired {
        draft.push(Stream::Node, Event::AlarmCleared { alarm });
    }
    let withdrawn: Vec<AgencyId> = draft.state.proposals.keys().filter(|a| !what.contains_key(a)).cloned().collect();
    for agency in withdrawn {
        draft.push(Stream::Node, Event::ChangeWithdrawn { agency });
    }
    for (agency, what) in what {
        let configuration = Box::new(wanted.clone());
        draft.push(Stream::Node, Event::ChangeProposed { agency, configuration, what });
    }
    Ok(())
}

/// An agency says yes to what waits for it. What needs another agency too waits for that one.
pub(super) fn decide_confirm(draft: &mut Draft<'_>, agency: &AgencyId, whose: &AgencyId) -> Result<(), Refusal> {
    if whose != agency {
        return Err(Refusal::NotYours { owner: whose.clone() });
    }
    let proposal = draft.state.proposals.get(agency).cloned();
    let proposal = proposal.ok_or_else(|| Refusal::NothingProposed { agency: agency.clone() })?;
    let held = plan::hold_emergencies(&draft.state, &proposal.configuration);
    let kept = |emergency: &Emergency| {
        proposal.configuration.talkgroups.get(&emergency.talkgroup).is_some_and(|t| t.agency == *agency)
    };
    if draft.state.emergencies.values().any(|emergency| emergency.agency == *agency && !kept(emergency)) {
        return Err(Refusal::EmergencyOpen);
    }
    draft.push(Stream::Node, Event::ChangeConfirmed { agency: agency.clone() });
    let waiting = draft.state.proposals.clone();
    let current = draft.state.configuration.clone();
    let merged = plan::merge(&current, &held, &|a| !waiting.contains_key(a));
    if merged != *current {
        end_disallowed(draft, &merged);
        draft.push(Stream::Node, Event::ConfigurationAdopted { configuration: Box::new(merged) });
    }
    Ok(())
}

/// Ends, in the name of the reload, what a configuration no longer allows.
fn end_disallowed(draft: &mut Draft<'_>, configuration: &Configuration) {
    let push = |draft: &mut Draft<'_>, incident: IncidentId, event: Event| {
        draft.push_as(Actor::Reload, Stream::Incident(incident), event);
    };
    for (id, incident) in draft.state.incidents.clone() {
        let closes = !configuration.agencies.contains_key(&incident.host);
        let cause = if closes { UnlinkCause::Closed } else { UnlinkCause::Reconfigured };
        let links: Vec<LinkId> = incident
            .patches
            .values()
            .flat_map(|patch| patch.links.keys().filter(|link| closes || !is_allowed(configuration, patch, **link)))
            .copied()
            .collect();
        for link in links {
            push(draft, id, Event::Unlinked { incident: id, link, cause });
        }
        if closes {
            push(draft, id, Event::Closed { incident: id });
            continue;
        }
        let gone = |agency: &&AgencyId| !configuration.agencies.contains_key(*agency);
        for agency in incident.members.keys().chain(incident.invitations.keys()).filter(gone).cloned() {
            push(draft, id, Event::Removed { incident: id, agency });
        }
    }
}

/// Whether a link may stand under a configuration.
fn is_allowed(configuration: &Configuration, patch: &Patch, link: LinkId) -> bool {
    let Some(link) = patch.links.get(&link) else { return false };
    let Some(talkgroup) = configuration.talkgroups.get(&link.talkgroup) else { return false };
    if talkgroup.agency != link.owner || talkgroup.patchable == Patchable::Never {
        return false;
    }
    if let Actor::Agreement(id) = &link.grant.by {
        let agreed = |agreement: &Agreement| {
            agreement.answer == Answer::Yes
                && agreement.talkgroups.contains(&link.talkgroup)
                && agreement.direction.covers(link.grant.direction)
        };
        if !configuration.agreements.get(id).is_some_and(agreed) {
            return false;
        }
    }
    let reasoned = |grant: &Grant| grant.not_secure_reason.is_some();
    patch.links.values().all(|other| {
        let mixed = sharing::is_mixed(configuration, &link.talkgroup, &other.talkgroup);
        !mixed || reasoned(&link.grant) && reasoned(&other.grant)
    })
}
