//! A command becomes events, or a refusal that touched nothing. One file per noun below.
//!
//! A command is tried on a `Draft`: a copy of the state that each event changes at once, so that the second step
//! of a command is judged by what the first one did. Only if every step is allowed do the events leave.

mod configuration;
mod cut;
mod emergency;
mod incident;
mod link;
mod loss;
mod membership;
mod size;

pub use link::STANDING_LEASE_S;

use std::sync::Arc;

use crate::domain::command::{Command, Principal, Role};
use crate::domain::event::{Event, Recorded, Stream};
use crate::domain::id::{AgencyId, IncidentId};
use crate::domain::incident::Actor;
use crate::domain::random::Entropy;
use crate::domain::refusal::Refusal;
use crate::domain::time::Now;

use super::evolve::evolve;
use super::state::{Incident, PlacedLink, State};

/// Judges a command. The events of one command are appended together or not at all.
pub fn decide(
    state: &State,
    command: &Command,
    who: &Principal,
    now: Now,
    entropy: &mut Entropy,
) -> Result<Vec<Recorded>, Refusal> {
    let agency = may_ask(state, command, who)?;
    size::check(command)?;
    let actor = Actor::User { user: who.user.clone(), agency: who.agency.clone() };
    let mut draft = Draft { state: state.clone(), actor, now, entropy, records: Vec::new() };
    match agency {
        Some(agency) => decide_for(&mut draft, &agency, who, command)?,
        None => decide_for_host(&mut draft, who, command)?,
    }
    Ok(draft.records)
}

/// The agency that a dispatcher commands; none for an administrator, who commands none.
fn may_ask(state: &State, command: &Command, who: &Principal) -> Result<Option<AgencyId>, Refusal> {
    let needs = |what: &str| Refusal::NotAllowed { needs: what.to_owned() };
    let of_host = matches!(command, Command::Adopt { .. } | Command::ConfirmLoss { .. });
    match (who.role, of_host) {
        (Role::Admin, true) => Ok(None),
        (Role::Observer | Role::Dispatcher, true) => Err(needs("the role of an administrator")),
        (Role::Observer | Role::Admin, false) => Err(needs("the role of a dispatcher")),
        (Role::Dispatcher, false) => {
            let agency = who.agency.clone().ok_or_else(|| needs("a dispatcher of an agency"))?;
            if !state.configuration.agencies.contains_key(&agency) {
                return Err(Refusal::NoSuchAgency { agency });
            }
            Ok(Some(agency))
        }
    }
}

/// What an administrator may do: nothing to any agency's audio, but see to the file and to the journal.
#[expect(clippy::wildcard_enum_match_arm, reason = "may_ask() lists which commands come here")]
fn decide_for_host(draft: &mut Draft<'_>, who: &Principal, command: &Command) -> Result<(), Refusal> {
    match command {
        Command::Adopt { configuration } => configuration::decide_adopt(draft, who, configuration),
        Command::ConfirmLoss { reason } => loss::decide_confirm(draft, reason),
        _ => Err(Refusal::NotAllowed { needs: "the role of a dispatcher".to_owned() }),
    }
}

fn decide_for(draft: &mut Draft<'_>, agency: &AgencyId, who: &Principal, command: &Command) -> Result<(), Refusal> {
    match command {
        Command::OpenIncident { template, title, kind, exercise, invite, links } => {
            let opening = incident::Opening { template, title, kind, exercise: *exercise, invite, links };
            incident::decide_open(draft, agency, &opening)
        }
        Command::AddPatch { incident, name, floor } => {
            incident::decide_add_patch(draft, agency, *incident, name, *floor)
        }
        Command::ClosePatch { incident, name } => incident::decide_close_patch(draft, agency, *incident, name),
        Command::SetFloor { incident, name, floor } => incident::decide_floor(draft, agency, *incident, name, *floor),
        Command::Revoke { incident, name, burst } => incident::decide_revoke(draft, agency, *incident, name, *burst),
        Command::Close { incident, force } => incident::decide_close(draft, agency, *incident, *force),
        Command::Note { incident, text } => incident::decide_note(draft, agency, *incident, text),
        Command::Invite { incident, agency: to, note, links } => {
            membership::decide_invite(draft, agency, *incident, to, note, links)
        }
        Command::Accept { incident, links } => membership::decide_accept(draft, agency, *incident, links),
        Command::Decline { incident, reason } => membership::decide_decline(draft, agency, *incident, reason),
        Command::OfferHost { incident, to } => membership::decide_offer_host(draft, agency, *incident, to),
        Command::TakeHost { incident } => membership::decide_take_host(draft, agency, *incident),
        Command::HandOver { incident, to, note } => {
            membership::decide_hand_over(draft, agency, *incident, &who.user, to, note)
        }
        Command::Leave { incident } => membership::decide_leave(draft, agency, *incident),
        Command::Remove { incident, agency: whom } => membership::decide_remove(draft, agency, *incident, whom),
        Command::Link { incident, request } => link::decide_link(draft, agency, *incident, request),
        Command::Dial { incident, number, request } => link::decide_dial(draft, agency, *incident, number, request),
        Command::Unlink { link } => link::decide_unlink(draft, agency, *link),
        Command::Adjust { link, direction, gain, priority } => {
            link::decide_adjust(draft, agency, *link, *direction, *gain, *priority)
        }
        Command::Extend { incident, link, by_s } => link::decide_extend(draft, agency, *incident, *link, *by_s),
        Command::Admit { link, agencies, classes, not_secure_reason } => {
            link::decide_admit(draft, agency, *link, agencies, classes, not_secure_reason.as_deref())
        }
        Command::Confirm { link, receive, transmit } => link::decide_confirm(draft, agency, *link, *receive, *transmit),
        Command::EndIsolation { link } => link::decide_end_isolation(draft, agency, *link),
        Command::DeclareEmergency { talkgroup, talker, place } => {
            emergency::decide_declare(draft, agency, talkgroup, *talker, place)
        }
        Command::AcknowledgeEmergency { emergency } => emergency::decide_acknowledge(draft, agency, *emergency),
        Command::ClearEmergency { emergency, reason } => emergency::decide_clear(draft, agency, *emergency, reason),
        Command::Cut { target } => cut::decide_cut(draft, agency, target),
        Command::Restore { target } => cut::decide_restore(draft, agency, target),
        Command::Beat { position } => emergency::decide_beat(draft, agency, position),
        Command::ConfirmChange { agency: whose } => configuration::decide_confirm(draft, agency, whose),
        Command::Adopt { .. } | Command::ConfirmLoss { .. } => {
            Err(Refusal::NotAllowed { needs: "the role of an administrator".to_owned() })
        }
    }
}

/// A command being tried.
pub(super) struct Draft<'a> {
    /// What would be.
    pub state: State,
    pub actor: Actor,
    pub now: Now,
    pub entropy: &'a mut Entropy,
    /// What would be recorded.
    pub records: Vec<Recorded>,
}

impl Draft<'_> {
    /// Records an event by whoever asked.
    fn push(&mut self, stream: Stream, event: Event) {
        let actor = self.actor.clone();
        self.push_as(actor, stream, event);
    }

    /// Records an event by someone else: an agreement.
    fn push_as(&mut self, actor: Actor, stream: Stream, event: Event) {
        let recorded = Recorded { stream, actor, at: self.now, event };
        evolve(&mut self.state, &recorded);
        self.records.push(recorded);
    }

    /// Records an event of an incident.
    fn push_in(&mut self, incident: IncidentId, event: Event) {
        self.push(Stream::Incident(incident), event);
    }

    /// An open incident.
    fn incident(&self, incident: IncidentId) -> Result<Arc<Incident>, Refusal> {
        self.state.incidents.get(&incident).cloned().ok_or(Refusal::NoSuchIncident { incident })
    }

    /// An open incident that this agency has accepted.
    fn joined(&self, incident: IncidentId, agency: &AgencyId) -> Result<Arc<Incident>, Refusal> {
        let found = self.incident(incident)?;
        if !found.members.contains_key(agency) {
            return Err(Refusal::NotMember { agency: agency.clone() });
        }
        Ok(found)
    }

    /// An open incident that this agency hosts.
    fn hosted(&self, incident: IncidentId, agency: &AgencyId) -> Result<Arc<Incident>, Refusal> {
        let found = self.incident(incident)?;
        if found.host != *agency {
            return Err(Refusal::NotHost { host: found.host.clone() });
        }
        Ok(found)
    }
}

/// A link, or the refusal that there is none.
fn find_link(state: &State, link: crate::domain::id::LinkId) -> Result<PlacedLink<'_>, Refusal> {
    state.find_link(link).ok_or(Refusal::NoSuchLink { link })
}
