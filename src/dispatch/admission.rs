//! How much at once. Every limit refuses with its name and number.
//!
//! Of what all agencies share, a tenth is kept for those with an open emergency: the last places of a busy night go
//! to who needs them.

use crate::domain::id::{AgencyId, TalkgroupId};
use crate::domain::refusal::Refusal;

use super::routes::PARTIES_MAX;
use super::state::{Incident, Patch, State};

/// Whether an agency may open, or take over, one more incident.
pub fn check_incidents(state: &State, agency: &AgencyId) -> Result<(), Refusal> {
    let reserve = has_emergency(state, agency);
    check("open incidents", state.incidents.len(), shared(state.configuration.policy.incidents_max, reserve))?;
    check_hosted(state, agency)
}

/// Whether an agency may host one more incident.
pub fn check_hosted(state: &State, agency: &AgencyId) -> Result<(), Refusal> {
    let most = state.configuration.agencies.get(agency).map_or(0, |a| u32::from(a.incidents_max));
    let hosted = state.incidents.values().filter(|incident| incident.host == *agency).count();
    check("incidents this agency hosts", hosted, most)
}

/// Whether an incident may have one more patch.
pub fn check_patches(state: &State, incident: &Incident) -> Result<(), Refusal> {
    let most = u32::from(state.configuration.policy.patches_per_incident_max);
    check("patches of an incident", incident.patches.len(), most)
}

/// Whether a talkgroup fits into a patch and into its agency's quota.
pub fn check_links(state: &State, patch: &Patch, agency: &AgencyId, talkgroup: &TalkgroupId) -> Result<(), Refusal> {
    let reserve = has_emergency(state, agency);
    check("links of a patch", patch.links.len(), shared(state.configuration.policy.links_per_patch_max, reserve))?;
    let most = state.configuration.agencies.get(agency).map_or(0, |a| u32::from(a.links_max));
    let owned = state.links().filter(|placed| placed.link.owner == *agency).count();
    check("links of this agency", owned, most)?;
    if !patch.parties.contains_key(talkgroup) {
        check("talkgroups that were ever in this patch", patch.parties.len(), PARTIES_MAX as u32)?;
    }
    Ok(())
}

fn check(limit: &str, taken: usize, most: u32) -> Result<(), Refusal> {
    if taken >= most as usize {
        return Err(Refusal::Full { limit: limit.to_owned(), most });
    }
    Ok(())
}

fn shared(most: u16, reserve: bool) -> u32 {
    u32::from(if reserve { most } else { most - most / RESERVE_SHARE })
}

fn has_emergency(state: &State, agency: &AgencyId) -> bool {
    state.emergencies.values().any(|emergency| emergency.agency == *agency)
}

/// One place in so many waits for an emergency.
const RESERVE_SHARE: u16 = 10;
