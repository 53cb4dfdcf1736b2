//! Who was lately linked with whom, and what ended it: it is just after a cut that a partner asks why it hears nothing.
//! Part of the state, so that the answer survives a restart; a day old it is forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::event::{Event, Recorded};
use crate::domain::id::{AgencyId, IncidentId, TalkgroupId};
use crate::domain::incident::UnlinkCause;
use crate::domain::time::Now;

use super::state::{Incident, State};

/// When and why an agency and a talkgroup were last parted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parting {
    pub at: Now,
    pub cause: UnlinkCause,
}

/// The last parting of each agency from each talkgroup that it shared an incident with. Shared values: the state is
/// cloned for every command.
pub type Partings = BTreeMap<AgencyId, Arc<BTreeMap<TalkgroupId, Parting>>>;

/// Remembers what an event is about to part. Called before the event changes the state.
#[expect(clippy::wildcard_enum_match_arm, reason = "every link ends with its own event; two more take an agency away")]
pub(super) fn note(state: &mut State, recorded: &Recorded) {
    let parted: Vec<(AgencyId, TalkgroupId, UnlinkCause)> = match &recorded.event {
        Event::Unlinked { incident, link, cause } => {
            let Some(found) = state.incidents.get(incident) else { return };
            let Some((_, _, _, ended)) = found.links().find(|(_, _, id, _)| id == link) else { return };
            let part = |member: &AgencyId| (member.clone(), ended.talkgroup.clone(), *cause);
            found.members.keys().map(part).collect()
        }
        Event::Left { incident, agency } => leaving(state, *incident, agency, UnlinkCause::AgencyLeft),
        Event::Removed { incident, agency } => leaving(state, *incident, agency, UnlinkCause::AgencyRemoved),
        _ => return,
    };
    for (agency, talkgroup, cause) in parted {
        let of_agency = Arc::make_mut(state.partings.entry(agency).or_default());
        of_agency.retain(|_, parting| parting.is_fresh(recorded.at));
        of_agency.insert(talkgroup, Parting { at: recorded.at, cause });
    }
}

impl Parting {
    /// Whether it is recent enough to be asked about.
    pub fn is_fresh(&self, now: Now) -> bool {
        now.mono.ms_since(self.at.mono) < LATELY_MS
    }
}

/// What stays behind when an agency goes.
fn leaving(
    state: &State,
    incident: IncidentId,
    agency: &AgencyId,
    cause: UnlinkCause,
) -> Vec<(AgencyId, TalkgroupId, UnlinkCause)> {
    let member = |incident: &&Arc<Incident>| incident.members.contains_key(agency);
    let links = state.incidents.get(&incident).filter(member).into_iter().flat_map(|found| found.links());
    links.map(|(_, _, _, link)| (agency.clone(), link.talkgroup.clone(), cause)).collect()
}

/// The next shift may still ask (ms).
const LATELY_MS: u64 = 24 * 3_600_000;
