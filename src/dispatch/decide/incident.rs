//! An incident's own life: open, nets, floor, notes, close.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::configuration::Template;
use crate::domain::event::{Event, OpenedPatch};
use crate::domain::floor::{FloorPolicy, HOLDERS_MAX, QUEUE_MAX};
use crate::domain::id::{AgencyId, BurstId, IncidentId, LinkId, PatchId, PatchName, TalkgroupId, TemplateId};
use crate::domain::incident::{LinkRequest, UnlinkCause};
use crate::domain::refusal::Refusal;

use super::super::admission;
use super::super::state::{Incident, Patch};
use super::{Draft, link, membership};

/// What an incident is opened with.
pub(super) struct Opening<'a> {
    pub template: &'a Option<TemplateId>,
    pub title: &'a Option<String>,
    pub kind: &'a Option<String>,
    pub exercise: bool,
    pub invite: &'a [AgencyId],
    pub links: &'a [LinkRequest],
}

/// One command at night: patches, the opener's own links, and invitations that carry what is proposed to others.
pub(super) fn decide_open(draft: &mut Draft<'_>, agency: &AgencyId, opening: &Opening<'_>) -> Result<(), Refusal> {
    let configuration = draft.state.configuration.clone();
    let template = match opening.template {
        Some(id) => {
            Some(configuration.templates.get(id).ok_or_else(|| Refusal::NoSuchTemplate { template: id.clone() })?)
        }
        None => None,
    };
    let title = opening.title.clone().or_else(|| template.map(|t| t.title.clone())).unwrap_or_default();
    if title.is_empty() {
        return Err(Refusal::OutOfRange { what: "an incident without a title or a template".to_owned() });
    }
    admission::check_incidents(&draft.state, agency)?;
    let requests = requests(opening, template);
    let mut invited: Vec<AgencyId> = template.map(|t| t.invite.clone()).unwrap_or_default();
    invited.extend(opening.invite.iter().cloned());
    let mut seen = BTreeSet::from([agency.clone()]);
    invited.retain(|to| seen.insert(to.clone()));
    let owners: Vec<AgencyId> = requests.iter().map(|r| owner_of(draft, &r.talkgroup)).collect::<Result<_, _>>()?;
    // A template may name talkgroups of agencies that this opener does not invite; a person who does, errs.
    for request in opening.links {
        let owner = owner_of(draft, &request.talkgroup)?;
        if owner != *agency && !invited.contains(&owner) {
            return Err(Refusal::NotYours { owner });
        }
    }
    let incident = IncidentId(draft.entropy.next_u128());
    let patches = match template {
        Some(template) => template.patches.iter().map(|p| (p.name.clone(), p.floor)).collect(),
        None => vec![(main_patch(), configuration.policy.floor)],
    };
    let patches = patches
        .into_iter()
        .map(|(name, floor)| OpenedPatch { patch: PatchId(draft.entropy.next_u128()), name, floor })
        .collect();
    let opened = Event::IncidentOpened {
        incident,
        title,
        kind: opening.kind.clone().or_else(|| template.map(|t| t.kind.clone())).unwrap_or_default(),
        exercise: opening.exercise,
        host: agency.clone(),
        template: opening.template.clone(),
        patches,
        lease_s: template.map_or(configuration.policy.lease_default_s, |t| t.lease_s),
    };
    draft.push_in(incident, opened);
    for (request, _) in requests.iter().zip(&owners).filter(|(_, owner)| *owner == agency) {
        link::decide_link(draft, agency, incident, request)?;
    }
    for to in &invited {
        let proposed: Vec<LinkRequest> =
            requests.iter().zip(&owners).filter(|(_, owner)| *owner == to).map(|(r, _)| r.clone()).collect();
        membership::decide_invite(draft, agency, incident, to, "", &proposed)?;
    }
    Ok(())
}

/// The template's links, unless the command says something else about the same talkgroup, and the command's.
fn requests(opening: &Opening<'_>, template: Option<&Template>) -> Vec<LinkRequest> {
    let named = |talkgroup: &TalkgroupId| opening.links.iter().any(|request| request.talkgroup == *talkgroup);
    let prepared = template.into_iter().flat_map(|t| &t.links).filter(|prepared| !named(&prepared.talkgroup));
    prepared
        .map(|prepared| LinkRequest {
            patch: Some(prepared.patch.clone()),
            direction: prepared.direction,
            ..LinkRequest::plain(prepared.talkgroup.clone())
        })
        .chain(opening.links.iter().cloned())
        .collect()
}

fn owner_of(draft: &Draft<'_>, talkgroup: &TalkgroupId) -> Result<AgencyId, Refusal> {
    let found = draft.state.talkgroup(talkgroup).map(|t| t.agency.clone());
    found.ok_or_else(|| Refusal::NoSuchTalkgroup { talkgroup: talkgroup.clone() })
}

pub(super) fn decide_add_patch(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident: IncidentId,
    name: &PatchName,
    floor: Option<FloorPolicy>,
) -> Result<(), Refusal> {
    let found = draft.hosted(incident, agency)?;
    if found.patch_named(name).is_some() {
        return Err(Refusal::NameTaken { name: name.clone() });
    }
    let floor = floor.unwrap_or(draft.state.configuration.policy.floor);
    check_floor(&floor)?;
    admission::check_patches(&draft.state, &found)?;
    let patch = OpenedPatch { patch: PatchId(draft.entropy.next_u128()), name: name.clone(), floor };
    draft.push_in(incident, Event::PatchAdded { incident, patch });
    Ok(())
}

pub(super) fn decide_close_patch(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident: IncidentId,
    name: &PatchName,
) -> Result<(), Refusal> {
    let found = draft.hosted(incident, agency)?;
    let (patch, nets) = find_patch(&found, name)?;
    if found.patches.len() == 1 {
        return Err(Refusal::LastPatch);
    }
    if draft.state.emergencies_in(nets).next().is_some() {
        return Err(Refusal::EmergencyOpen);
    }
    let links: Vec<LinkId> = nets.links.keys().copied().collect();
    unlink_all(draft, incident, links, UnlinkCause::Closed);
    draft.push_in(incident, Event::PatchClosed { incident, patch });
    Ok(())
}

pub(super) fn decide_floor(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident: IncidentId,
    name: &PatchName,
    floor: FloorPolicy,
) -> Result<(), Refusal> {
    let found = draft.hosted(incident, agency)?;
    let (patch, nets) = find_patch(&found, name)?;
    check_floor(&floor)?;
    if nets.floor == floor {
        return Err(Refusal::NothingToDo);
    }
    draft.push_in(incident, Event::FloorSet { incident, patch, floor });
    Ok(())
}

/// The host takes the floor from anyone, an owner from its own talkers.
pub(super) fn decide_revoke(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident: IncidentId,
    name: &PatchName,
    burst: Option<BurstId>,
) -> Result<(), Refusal> {
    let found = draft.joined(incident, agency)?;
    let (patch, nets) = find_patch(&found, name)?;
    let talkers = draft.state.talking_in(patch).filter(|(id, _)| burst.is_none_or(|wanted| wanted == *id));
    let owners: Vec<Option<&AgencyId>> = talkers
        .map(|(_, talking)| nets.links.values().find(|l| l.talkgroup == talking.talkgroup).map(|l| &l.owner))
        .collect();
    if owners.is_empty() {
        return Err(Refusal::NothingToDo);
    }
    if found.host != *agency && owners.iter().any(|owner| *owner != Some(agency)) {
        return Err(Refusal::NotHost { host: found.host.clone() });
    }
    draft.push_in(incident, Event::FloorRevoked { incident, patch, burst });
    Ok(())
}

pub(super) fn decide_note(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident: IncidentId,
    text: &str,
) -> Result<(), Refusal> {
    draft.joined(incident, agency)?;
    draft.push_in(incident, Event::Noted { incident, agency: agency.clone(), text: text.to_owned() });
    Ok(())
}

/// While others talked a short while ago an incident is not simply closed: offer the host role and leave, or close
/// with force, which warns on the air first.
pub(super) fn decide_close(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident: IncidentId,
    force: bool,
) -> Result<(), Refusal> {
    let found = draft.hosted(incident, agency)?;
    if draft.state.has_emergency(&found) {
        return Err(Refusal::EmergencyOpen);
    }
    if !in_use_by_others(draft, &found, agency) {
        close(draft, incident, &found);
        return Ok(());
    }
    if !force {
        return Err(Refusal::InUse);
    }
    if found.closing.is_some() {
        return Err(Refusal::NothingToDo);
    }
    let in_s = u32::from(draft.state.configuration.policy.close_warning_s);
    draft.push_in(incident, Event::CloseWarned { incident, in_s });
    Ok(())
}

fn in_use_by_others(draft: &Draft<'_>, incident: &Incident, agency: &AgencyId) -> bool {
    let recent_ms = u64::from(draft.state.configuration.policy.recent_s) * 1000;
    incident.patches.iter().any(|(id, patch)| {
        let talked = patch.talked.iter().any(|(by, at)| by != agency && draft.now.mono.ms_since(at.mono) < recent_ms);
        let own = |talkgroup: &TalkgroupId| draft.state.talkgroup(talkgroup).is_some_and(|t| t.agency == *agency);
        talked || draft.state.talking_in(*id).any(|(_, talking)| !own(&talking.talkgroup))
    })
}

fn close(draft: &mut Draft<'_>, incident: IncidentId, found: &Arc<Incident>) {
    unlink_all(draft, incident, found.links().map(|(_, _, link, _)| link).collect(), UnlinkCause::Closed);
    draft.push_in(incident, Event::Closed { incident });
}

/// Ends links with one cause.
pub(super) fn unlink_all(draft: &mut Draft<'_>, incident: IncidentId, links: Vec<LinkId>, cause: UnlinkCause) {
    for link in links {
        draft.push_in(incident, Event::Unlinked { incident, link, cause });
    }
}

fn find_patch<'a>(incident: &'a Incident, name: &PatchName) -> Result<(PatchId, &'a Patch), Refusal> {
    incident.patch_named(name).ok_or_else(|| Refusal::NoSuchPatch { name: name.clone() })
}

fn check_floor(floor: &FloorPolicy) -> Result<(), Refusal> {
    let wrong = |what: &str| Err(Refusal::OutOfRange { what: what.to_owned() });
    if floor.holders_max == 0 || usize::from(floor.holders_max) > HOLDERS_MAX {
        return wrong("talkers at once");
    }
    if usize::from(floor.queue_max) > QUEUE_MAX {
        return wrong("waiting talkers");
    }
    if floor.talk_limit_ms == 0 {
        return wrong("a talk limit of nothing");
    }
    Ok(())
}

fn main_patch() -> PatchName {
    PatchName::new("main").expect("`main` is spelled as an id")
}
