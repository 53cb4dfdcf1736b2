//! Who is in an incident: invite, accept, decline, host role, hand-over, leave, remove.

use crate::domain::event::{Event, Stream};
use crate::domain::id::{AgencyId, IncidentId, LinkId, UserId};
use crate::domain::incident::{Actor, CutTarget, LinkRequest, UnlinkCause};
use crate::domain::refusal::Refusal;

use super::super::{admission, sharing};
use super::{Draft, incident, link};

/// Rings at another agency. The host's invitation is also its own yes to being heard by whom it invites.
pub(super) fn decide_invite(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident_id: IncidentId,
    to: &AgencyId,
    note: &str,
    proposed: &[LinkRequest],
) -> Result<(), Refusal> {
    let found = draft.hosted(incident_id, agency)?;
    if !draft.state.configuration.agencies.contains_key(to) {
        return Err(Refusal::NoSuchAgency { agency: to.clone() });
    }
    if found.members.contains_key(to) {
        return Err(Refusal::AlreadyMember { agency: to.clone() });
    }
    if found.invitations.contains_key(to) {
        return Err(Refusal::AlreadyInvited { agency: to.clone() });
    }
    for request in proposed {
        let talkgroup = request.talkgroup.clone();
        let spec = draft.state.talkgroup(&talkgroup).ok_or(Refusal::NoSuchTalkgroup { talkgroup })?;
        if spec.agency != *to {
            return Err(Refusal::NotYours { owner: spec.agency.clone() });
        }
    }
    let (note, proposed) = (note.to_owned(), proposed.to_vec());
    let invited = Event::Invited { incident: incident_id, agency: to.clone(), note, proposed };
    draft.push_in(incident_id, invited);
    for (_, _, link, own) in found.links().filter(|(_, _, _, link)| link.owner == *agency) {
        if !own.grant.audience.agencies.contains(to) {
            let admitted = Event::Admitted {
                incident: incident_id,
                link,
                agencies: [to.clone()].into(),
                classes: Default::default(),
                not_secure_reason: None,
            };
            draft.push_in(incident_id, admitted);
        }
    }
    accept_by_agreement(draft, incident_id, to);
    Ok(())
}

/// A written yes answers at once, if it covers at least one of the links that were proposed; otherwise it rings. Each link
/// is made under the first agreement that covers it.
fn accept_by_agreement(draft: &mut Draft<'_>, incident_id: IncidentId, agency: &AgencyId) {
    let configuration = draft.state.configuration.clone();
    let Ok(found) = draft.incident(incident_id) else { return };
    let Some(invitation) = found.invitations.get(agency) else { return };
    let yes = |request: &LinkRequest| {
        sharing::standing_yes(&configuration, &found.host, agency, (&found.kind, request), draft.now.wall)
    };
    let covered: Vec<_> = invitation.proposed.iter().filter_map(|request| Some((request, yes(request)?))).collect();
    let Some((_, (first, _))) = covered.first() else { return };
    if draft.state.cuts.contains(&CutTarget::Agency(agency.clone())) {
        return;
    }
    let (before, recorded) = (draft.state.clone(), draft.records.len());
    let accepted = Event::Accepted { incident: incident_id, agency: agency.clone(), by: Some((*first).clone()) };
    draft.push_as(Actor::Agreement((*first).clone()), Stream::Incident(incident_id), accepted);
    let mut linked = false;
    for (request, agreement) in covered {
        linked |= link::link_by_agreement(draft, agency, incident_id, request, agreement).is_ok();
    }
    if !linked {
        draft.state = before;
        draft.records.truncate(recorded);
    }
}

pub(super) fn decide_accept(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident: IncidentId,
    links: &[LinkRequest],
) -> Result<(), Refusal> {
    let found = draft.incident(incident)?;
    if found.members.contains_key(agency) {
        return Err(Refusal::AlreadyMember { agency: agency.clone() });
    }
    let Some(invitation) = found.invitations.get(agency) else {
        return Err(Refusal::NotInvited { agency: agency.clone() });
    };
    draft.push_in(incident, Event::Accepted { incident, agency: agency.clone(), by: None });
    for request in links {
        let proposed = invitation.proposed.iter().find(|proposed| proposed.talkgroup == request.talkgroup);
        let host_priority = proposed.map(|proposed| proposed.priority).unwrap_or_default();
        link::link_proposed(draft, agency, incident, request, host_priority)?;
    }
    Ok(())
}

pub(super) fn decide_decline(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident: IncidentId,
    reason: &str,
) -> Result<(), Refusal> {
    let found = draft.incident(incident)?;
    if !found.invitations.contains_key(agency) {
        return Err(Refusal::NotInvited { agency: agency.clone() });
    }
    draft.push_in(incident, Event::Declined { incident, agency: agency.clone(), reason: reason.to_owned() });
    Ok(())
}

pub(super) fn decide_offer_host(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident: IncidentId,
    to: &AgencyId,
) -> Result<(), Refusal> {
    let found = draft.hosted(incident, agency)?;
    if !found.members.contains_key(to) {
        return Err(Refusal::NotMember { agency: to.clone() });
    }
    if to == agency || found.offered.as_ref() == Some(to) {
        return Err(Refusal::NothingToDo);
    }
    draft.push_in(incident, Event::HostOffered { incident, to: to.clone() });
    Ok(())
}

pub(super) fn decide_take_host(draft: &mut Draft<'_>, agency: &AgencyId, incident: IncidentId) -> Result<(), Refusal> {
    let found = draft.joined(incident, agency)?;
    if found.offered.as_ref() != Some(agency) {
        return Err(Refusal::NotOffered { agency: agency.clone() });
    }
    admission::check_hosted(&draft.state, agency)?;
    draft.push_in(incident, Event::HostTaken { incident, host: agency.clone() });
    Ok(())
}

/// Shift change: the next dispatcher is told what is open and what ends.
pub(super) fn decide_hand_over(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident: IncidentId,
    from: &UserId,
    to: &UserId,
    note: &str,
) -> Result<(), Refusal> {
    let found = draft.joined(incident, agency)?;
    let emergencies = draft
        .state
        .emergencies
        .iter()
        .filter(|(_, e)| e.agency == *agency || found.links().any(|(_, _, _, link)| link.talkgroup == e.talkgroup))
        .map(|(id, _)| *id)
        .collect();
    let leases = own_links(draft, incident, agency);
    let (agency, from, to, note) = (agency.clone(), from.clone(), to.clone(), note.to_owned());
    draft.push_in(incident, Event::HandedOver { incident, agency, from, to, note, emergencies, leases });
    Ok(())
}

pub(super) fn decide_leave(draft: &mut Draft<'_>, agency: &AgencyId, incident: IncidentId) -> Result<(), Refusal> {
    let found = draft.joined(incident, agency)?;
    if found.host == *agency {
        return Err(Refusal::HostMustStay);
    }
    let links = own_links(draft, incident, agency);
    incident::unlink_all(draft, incident, links, UnlinkCause::AgencyLeft);
    draft.push_in(incident, Event::Left { incident, agency: agency.clone() });
    Ok(())
}

/// The host shows a member, or one it invited, the door.
pub(super) fn decide_remove(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident: IncidentId,
    whom: &AgencyId,
) -> Result<(), Refusal> {
    let found = draft.hosted(incident, agency)?;
    if whom == agency {
        return Err(Refusal::HostMustStay);
    }
    if !found.members.contains_key(whom) && !found.invitations.contains_key(whom) {
        return Err(Refusal::NotMember { agency: whom.clone() });
    }
    let links = own_links(draft, incident, whom);
    incident::unlink_all(draft, incident, links, UnlinkCause::AgencyRemoved);
    draft.push_in(incident, Event::Removed { incident, agency: whom.clone() });
    Ok(())
}

fn own_links(draft: &Draft<'_>, incident: IncidentId, agency: &AgencyId) -> Vec<LinkId> {
    let own = |placed: &super::PlacedLink<'_>| placed.incident_id == incident && placed.link.owner == *agency;
    draft.state.links().filter(own).map(|placed| placed.link_id).collect()
}
