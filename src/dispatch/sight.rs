//! Who sees what: members of an incident see it, an invited agency sees its invitation, nobody else sees anything of it.
//! The host's administrator, who acts for no agency, sees all. Pure; the API and the event streams ask here.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::event::{Event, Recorded, Stream};
use crate::domain::id::{AgencyId, EmergencyId, IncidentId, TalkgroupId};
use crate::domain::refusal::Refusal;
use crate::domain::time::Now;

use super::state::{Incident, State};
use super::view::concerns;

/// One reader's sight. Keeps what a stream of events taught it, so that a leaving agency still sees that it left.
#[derive(Clone, Debug)]
pub struct Sight {
    agency: Option<AgencyId>,
    incidents: BTreeSet<IncidentId>,
    emergencies: BTreeSet<EmergencyId>,
}

impl Sight {
    /// What someone acting for this agency sees at this moment.
    pub fn new(agency: Option<AgencyId>, state: &State) -> Self {
        let mut sight = Self { agency, incidents: BTreeSet::new(), emergencies: BTreeSet::new() };
        sight.incidents =
            state.incidents.iter().filter(|(_, incident)| sight.sees(incident)).map(|(id, _)| *id).collect();
        sight
    }

    /// Whether the reader acts for this agency, or for none.
    pub fn is_of(&self, agency: &AgencyId) -> bool {
        self.agency.as_ref().is_none_or(|own| own == agency)
    }

    /// The agency the reader acts for.
    pub fn agency(&self) -> Option<&AgencyId> {
        self.agency.as_ref()
    }

    /// Whether an incident is shown.
    pub fn sees(&self, incident: &Incident) -> bool {
        self.agency.as_ref().is_none_or(|own| incident.members.contains_key(own))
    }

    /// Whether an open emergency is shown.
    pub fn sees_emergency(&self, state: &State, emergency: EmergencyId) -> bool {
        let Some(own) = &self.agency else { return true };
        state.emergencies.get(&emergency).is_some_and(|open| state.concerned_by(open).contains(own))
    }

    /// Whether a question about a talkgroup is answered: it is the reader's own, or is or lately was in an incident
    /// with it.
    pub fn may_ask_of(&self, state: &State, talkgroup: &TalkgroupId, now: Now) -> bool {
        let Some(own) = &self.agency else { return true };
        let owned = state.talkgroup(talkgroup).is_some_and(|found| found.agency == *own);
        let met = state
            .incidents
            .values()
            .filter(|incident| self.sees(incident))
            .any(|incident| incident.patches.values().any(|patch| patch.parties.contains_key(talkgroup)));
        let parted = state.partings.get(own).and_then(|of_agency| of_agency.get(talkgroup));
        owned || met || parted.is_some_and(|parting| parting.is_fresh(now))
    }

    /// Whether an event is shown; learns from it whom it lets in or takes out.
    pub fn shows(&mut self, state: &State, recorded: &Recorded) -> bool {
        if self.agency.is_none() {
            return true;
        }
        match &recorded.stream {
            Stream::Node => self.shows_of_node(state, &recorded.event),
            Stream::Agency(agency) => self.shows_of_agency(state, agency, &recorded.event),
            Stream::Incident(incident) => self.shows_of_incident(*incident, &recorded.event),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what a node's stream does not hold is nobody's to see")]
    fn shows_of_node(&self, state: &State, event: &Event) -> bool {
        match event {
            Event::Started { .. } | Event::Stopped | Event::ClockStepped { .. } | Event::LossConfirmed { .. } => true,
            // Without the configuration itself (`veiled`); that it changed is everybody's business.
            Event::ConfigurationAdopted { .. } => true,
            Event::ChangeProposed { agency, .. }
            | Event::ChangeConfirmed { agency }
            | Event::ChangeWithdrawn { agency } => self.is_of(agency),
            Event::AlarmRaised { alarm } | Event::AlarmCleared { alarm } => {
                concerns(state, alarm, self.agency.as_ref())
            }
            _ => false,
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "only emergencies are shown beyond the agency itself")]
    fn shows_of_agency(&mut self, state: &State, agency: &AgencyId, event: &Event) -> bool {
        let concerned = match event {
            Event::EmergencyDeclared { emergency, .. }
            | Event::EmergencyAcknowledged { emergency, .. }
            | Event::EmergencyCleared { emergency, .. } => {
                if self.sees_emergency(state, *emergency) {
                    self.emergencies.insert(*emergency);
                }
                self.emergencies.contains(emergency)
            }
            _ => false,
        };
        self.is_of(agency) || concerned
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all other events are shown to members only")]
    fn shows_of_incident(&mut self, incident: IncidentId, event: &Event) -> bool {
        match event {
            Event::IncidentOpened { host: agency, .. } | Event::Accepted { agency, .. } if self.is_of(agency) => {
                self.incidents.insert(incident);
                true
            }
            Event::Left { agency, .. } | Event::Removed { agency, .. } if self.is_of(agency) => {
                self.incidents.remove(&incident);
                true
            }
            Event::Invited { agency, .. }
            | Event::InvitationEscalated { agency, .. }
            | Event::Declined { agency, .. }
                if self.is_of(agency) =>
            {
                true
            }
            _ => self.incidents.contains(&incident),
        }
    }
}

/// An event as these eyes may read it. A configuration names everybody's addresses: an agency is told that it changed,
/// and what waits for its own yes, with an empty one in its place.
pub fn veiled(sight: &Sight, recorded: &Arc<Recorded>) -> Arc<Recorded> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "only these carry a configuration")]
    let event = match &recorded.event {
        _ if sight.agency.is_none() => return Arc::clone(recorded),
        Event::ConfigurationAdopted { .. } => Event::ConfigurationAdopted { configuration: Box::default() },
        Event::ChangeProposed { agency, what, .. } => {
            Event::ChangeProposed { agency: agency.clone(), configuration: Box::default(), what: what.clone() }
        }
        _ => return Arc::clone(recorded),
    };
    let Recorded { stream, actor, at, event: _ } = &**recorded;
    Arc::new(Recorded { stream: stream.clone(), actor: actor.clone(), at: *at, event })
}

/// Finds an incident by its full id, its spoken form, or the beginning of either. Only what these eyes see, or what
/// they are invited to, is found; a full id is passed on as it is, for dispatch to judge.
pub fn find_incident(state: &State, sight: &Sight, text: &str) -> Result<IncidentId, Refusal> {
    if let Ok(whole) = text.parse() {
        return Ok(whole);
    }
    let visible = |incident: &Incident| {
        sight.sees(incident) || sight.agency().is_some_and(|own| incident.invitations.contains_key(own))
    };
    let named =
        |id: &IncidentId| !text.is_empty() && (id.spoken().starts_with(text) || id.to_string().starts_with(text));
    let found: Vec<IncidentId> =
        state.incidents.iter().filter(|(id, incident)| named(id) && visible(incident)).map(|(id, _)| *id).collect();
    // The whole spoken form of one beats the beginning of another.
    let exact: Vec<IncidentId> = found.iter().copied().filter(|id| id.spoken() == text).collect();
    let short: String = text.chars().take(SHORT_MAX).collect();
    match (found.as_slice(), exact.as_slice()) {
        ([only], _) | (_, [only]) => Ok(*only),
        ([], _) => Err(Refusal::OutOfRange { what: format!("you have no open incident that is called {short:?}") }),
        (_, _) => Err(Refusal::Ambiguous { short }),
    }
}

/// So much of what someone typed is repeated to them (characters).
const SHORT_MAX: usize = 40;
