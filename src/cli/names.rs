//! Finding what a dispatcher means: a full id, its spoken form, or the unique beginning of either. Never a guess:
//! where several things answer to a name, all of them are listed.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use super::client::Client;
use super::fault::CliFault;
use crate::dispatch::view::{IncidentView, LinkView, PatchView, Roster};
use crate::domain::id::{EmergencyId, IncidentId, LinkId, PatchName};

/// An incident of the roster, or one that this agency is invited to.
pub(super) fn incident(client: &Client, name: &str) -> Result<IncidentId, CliFault> {
    // Whoever gives the full id need not see the incident to be refused by name.
    match name.parse() {
        Ok(incident) => Ok(incident),
        Err(_) => incident_in(&client.roster()?, name),
    }
}

pub(super) fn incident_in(roster: &Roster, name: &str) -> Result<IncidentId, CliFault> {
    let open = roster.incidents.iter().map(|view| (view.incident, named(&view.spoken, &view.title)));
    let rung = roster.invitations.iter().map(|view| (view.incident, named(&view.spoken, &view.title)));
    let candidates: BTreeMap<IncidentId, (String, String)> = open.chain(rung).collect();
    find("incident", name, &candidates)
}

/// The incident as the roster shows it.
pub(super) fn incident_view<'r>(roster: &'r Roster, name: &str) -> Result<&'r IncidentView, CliFault> {
    let incident = incident_in(roster, name)?;
    let invited =
        || CliFault::Failed(format!("You are invited to {} and not in it: accept it first.", incident.spoken()));
    roster.incidents.iter().find(|view| view.incident == incident).ok_or_else(invited)
}

/// A net of the incident.
pub(super) fn net<'v>(incident: &'v IncidentView, name: &PatchName) -> Result<&'v PatchView, CliFault> {
    incident.patches.iter().find(|net| net.name == *name).ok_or_else(|| {
        let nets: Vec<&str> = incident.patches.iter().map(|net| net.name.as_str()).collect();
        CliFault::Failed(format!("{} has no net {name}; it has: {}", incident.spoken, nets.join(", ")))
    })
}

/// A link of an incident: by id, spoken form, or by its talkgroup if that is linked there once.
pub(super) fn link(client: &Client, incident: &str, name: &str) -> Result<LinkId, CliFault> {
    match name.parse() {
        Ok(link) => Ok(link),
        Err(_) => link_in(incident_view(&client.roster()?, incident)?, name),
    }
}

pub(super) fn link_in(incident: &IncidentView, name: &str) -> Result<LinkId, CliFault> {
    let links = || incident.patches.iter().flat_map(|patch| patch.links.iter().map(move |link| (patch, link)));
    let shown = |link: &LinkView, patch: &str| (link.spoken.clone(), format!("{} in {patch}", link.talkgroup));
    let of_talkgroup: BTreeMap<LinkId, (String, String)> = links()
        .filter(|(_, link)| link.talkgroup.as_str() == name)
        .map(|(patch, link)| (link.link, shown(link, patch.name.as_str())))
        .collect();
    match of_talkgroup.len() {
        0 => {
            let all = links().map(|(patch, link)| (link.link, shown(link, patch.name.as_str()))).collect();
            find("link", name, &all)
        }
        _ => only("link", name, &of_talkgroup.iter().collect::<Vec<_>>()),
    }
}

/// An open emergency: by id, spoken form, or by its talkgroup if one is open there.
pub(super) fn emergency(client: &Client, name: &str) -> Result<EmergencyId, CliFault> {
    match name.parse() {
        Ok(emergency) => Ok(emergency),
        Err(_) => emergency_in(&client.roster()?, name),
    }
}

pub(super) fn emergency_in(roster: &Roster, name: &str) -> Result<EmergencyId, CliFault> {
    let shown = |talkgroup: &str, talker: &str| format!("{talkgroup} {talker}").trim_end().to_owned();
    let all: BTreeMap<EmergencyId, (String, String)> = roster
        .emergencies
        .iter()
        .map(|view| (view.emergency, (view.spoken.clone(), shown(view.talkgroup.as_str(), view.talker.as_str()))))
        .collect();
    let there = |id: &EmergencyId| {
        roster.emergencies.iter().any(|view| view.emergency == *id && view.talkgroup.as_str() == name)
    };
    let of_talkgroup: Vec<_> = all.iter().filter(|(id, _)| there(id)).collect();
    if of_talkgroup.is_empty() { find("emergency", name, &all) } else { only("emergency", name, &of_talkgroup) }
}

fn named(spoken: &str, title: &str) -> (String, String) {
    (spoken.to_owned(), title.to_owned())
}

/// Candidates are told apart by spoken form and title.
fn find<T>(kind: &str, name: &str, candidates: &BTreeMap<T, (String, String)>) -> Result<T, CliFault>
where
    T: Copy + Ord + Display + FromStr,
{
    let name = name.to_ascii_lowercase();
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let exact: Vec<_> = candidates.iter().filter(|(_, (spoken, _))| *spoken == name).collect();
    if !exact.is_empty() {
        return only(kind, &name, &exact);
    }
    let begins = |(id, (spoken, _)): &(&T, &(String, String))| {
        !name.is_empty() && (spoken.starts_with(&name) || id.to_string().starts_with(&name))
    };
    only(kind, &name, &candidates.iter().filter(begins).collect::<Vec<_>>())
}

fn only<T>(kind: &str, name: &str, found: &[(&T, &(String, String))]) -> Result<T, CliFault>
where
    T: Copy + Display,
{
    match found {
        [(id, _)] => Ok(**id),
        [] => Err(CliFault::Failed(format!("No {kind} that you can see is called {name:?}; see: crosspatch roster"))),
        several => {
            let lines = several.iter().map(|(id, (spoken, title))| format!("\n  {spoken}  {id}  {title}"));
            Err(CliFault::Failed(format!(
                "{name:?} may mean several; give more of one of:{}",
                lines.collect::<String>()
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates() -> BTreeMap<IncidentId, (String, String)> {
        let ids = [IncidentId(1 << 100), IncidentId(1 << 100 | 1 << 32), IncidentId(77 << 120)];
        ids.into_iter().map(|id| (id, (id.spoken(), format!("incident {}", id.0 >> 100)))).collect()
    }

    fn found(name: &str) -> Result<IncidentId, String> {
        find("incident", name, &candidates()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn an_incident_is_found_by_id_by_spoken_form_and_by_the_beginning_of_either() {
        for id in candidates().keys() {
            assert_eq!(found(&id.to_string()), Ok(*id));
            assert_eq!(found(&id.to_string().to_uppercase()), Ok(*id));
            assert_eq!(found(&id.spoken()), Ok(*id));
        }
        let alone = IncidentId(77 << 120);
        assert_eq!(found(&alone.to_string()[..4]), Ok(alone));
        assert_eq!(found(&alone.spoken()[..9]), Ok(alone), "{}", alone.spoken());
    }

    #[test]
    fn a_beginning_that_fits_several_names_them_all_and_chooses_none() {
        let first = IncidentId(1 << 100);
        let shared = &first.to_string()[..8];
        let said = found(shared).unwrap_err();
        assert!(said.contains(&first.spoken()) && said.contains(&IncidentId(1 << 100 | 1 << 32).spoken()), "{said}");
        assert!(found("").unwrap_err().contains("No incident"), "nothing is the beginning of everything");
        assert!(found("victor-9").unwrap_err().contains("crosspatch roster"));
    }
}
