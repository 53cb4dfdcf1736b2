//! The red button: own resources out of everything at once, and the way back.

use crate::domain::event::{Event, Stream};
use crate::domain::id::{AgencyId, IncidentId, LinkId};
use crate::domain::incident::{CutTarget, UnlinkCause};
use crate::domain::refusal::Refusal;

use super::Draft;

/// Unlinks everything of the target, declines what rings for it, and keeps it unlinkable until restored.
pub(super) fn decide_cut(draft: &mut Draft<'_>, agency: &AgencyId, target: &CutTarget) -> Result<(), Refusal> {
    check_own(draft, agency, target)?;
    let links: Vec<(IncidentId, LinkId)> = draft
        .state
        .links()
        .filter(|placed| match target {
            CutTarget::Agency(whole) => placed.link.owner == *whole,
            CutTarget::Talkgroup(talkgroup) => placed.link.talkgroup == *talkgroup,
        })
        .map(|placed| (placed.incident_id, placed.link_id))
        .collect();
    let rings: Vec<IncidentId> = match target {
        CutTarget::Agency(whole) => {
            let ringing = draft.state.incidents.iter().filter(|(_, i)| i.invitations.contains_key(whole));
            ringing.map(|(id, _)| *id).collect()
        }
        CutTarget::Talkgroup(_) => Vec::new(),
    };
    if draft.state.cuts.contains(target) && links.is_empty() && rings.is_empty() {
        return Err(Refusal::NothingToDo);
    }
    draft.push(Stream::Agency(agency.clone()), Event::CutMade { agency: agency.clone(), target: target.clone() });
    for (incident, link) in links {
        draft.push_in(incident, Event::Unlinked { incident, link, cause: UnlinkCause::Cut });
    }
    for incident in rings {
        let reason = "the agency cut itself off".to_owned();
        draft.push_in(incident, Event::Declined { incident, agency: agency.clone(), reason });
    }
    Ok(())
}

/// May be linked again; links nothing.
pub(super) fn decide_restore(draft: &mut Draft<'_>, agency: &AgencyId, target: &CutTarget) -> Result<(), Refusal> {
    check_own(draft, agency, target)?;
    if !draft.state.cuts.contains(target) {
        return Err(Refusal::NothingToDo);
    }
    draft.push(Stream::Agency(agency.clone()), Event::CutLifted { agency: agency.clone(), target: target.clone() });
    Ok(())
}

fn check_own(draft: &Draft<'_>, agency: &AgencyId, target: &CutTarget) -> Result<(), Refusal> {
    let owner = match target {
        CutTarget::Agency(whole) if draft.state.configuration.agencies.contains_key(whole) => whole.clone(),
        CutTarget::Agency(unknown) => return Err(Refusal::NoSuchAgency { agency: unknown.clone() }),
        CutTarget::Talkgroup(talkgroup) => {
            let found = draft.state.talkgroup(talkgroup).map(|t| t.agency.clone());
            found.ok_or_else(|| Refusal::NoSuchTalkgroup { talkgroup: talkgroup.clone() })?
        }
    };
    if owner == *agency { Ok(()) } else { Err(Refusal::NotYours { owner }) }
}
