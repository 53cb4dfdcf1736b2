//! Emergencies, and the position that must be staffed.

use crate::domain::event::{Alarm, Event, Stream};
use crate::domain::id::{AgencyId, EmergencyId, PositionId, TalkgroupId};
use crate::domain::refusal::Refusal;
use crate::domain::talker::Alias;

use super::super::state::{Emergency, Position};
use super::Draft;

/// For a talker of one's own; works with no incident at all.
pub(super) fn decide_declare(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    talkgroup: &TalkgroupId,
    talker: Alias,
    place: &str,
) -> Result<(), Refusal> {
    let spec = draft.state.talkgroup(talkgroup);
    let spec = spec.ok_or_else(|| Refusal::NoSuchTalkgroup { talkgroup: talkgroup.clone() })?;
    if spec.agency != *agency {
        return Err(Refusal::NotYours { owner: spec.agency.clone() });
    }
    if draft.state.emergencies.values().any(|open| open.talkgroup == *talkgroup && open.talker == talker) {
        return Err(Refusal::NothingToDo);
    }
    let event = Event::EmergencyDeclared {
        emergency: EmergencyId(draft.entropy.next_u128()),
        agency: agency.clone(),
        talkgroup: talkgroup.clone(),
        talker,
        place: place.to_owned(),
    };
    draft.push(Stream::Agency(agency.clone()), event);
    Ok(())
}

/// Each agency concerned acknowledges for itself.
pub(super) fn decide_acknowledge(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    emergency: EmergencyId,
) -> Result<(), Refusal> {
    let open = find(draft, emergency)?;
    if !draft.state.concerned_by(&open).contains(agency) {
        return Err(Refusal::NotMember { agency: agency.clone() });
    }
    if open.acknowledged.contains_key(agency) {
        return Err(Refusal::NothingToDo);
    }
    let stream = Stream::Agency(open.agency);
    draft.push(stream, Event::EmergencyAcknowledged { emergency, agency: agency.clone() });
    clear_alarm(draft, Alarm::EmergencyUnacknowledged { emergency, agency: agency.clone() });
    Ok(())
}

/// Only the talker's own agency knows that help has come.
pub(super) fn decide_clear(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    emergency: EmergencyId,
    reason: &str,
) -> Result<(), Refusal> {
    let open = find(draft, emergency)?;
    if open.agency != *agency {
        return Err(Refusal::NotTalkersAgency { agency: open.agency });
    }
    draft.push(Stream::Agency(agency.clone()), Event::EmergencyCleared { emergency, reason: reason.to_owned() });
    let of_it =
        |alarm: &&Alarm| matches!(alarm, Alarm::EmergencyUnacknowledged { emergency: of, .. } if *of == emergency);
    let alarms: Vec<Alarm> = draft.state.alarms.iter().filter(of_it).cloned().collect();
    for alarm in alarms {
        clear_alarm(draft, alarm);
    }
    Ok(())
}

/// Someone sits at the responsible position. Only the first beat after none is an event.
pub(super) fn decide_beat(draft: &mut Draft<'_>, agency: &AgencyId, position: &PositionId) -> Result<(), Refusal> {
    let configured = draft.state.configuration.agencies.get(agency).and_then(|a| a.responsible.as_ref());
    if configured.is_none_or(|responsible| responsible.position != *position) {
        return Err(Refusal::NoSuchPosition { position: position.to_string() });
    }
    if !matches!(draft.state.positions.get(agency), Some(Position::Staffed { .. })) {
        let staffed = Event::PositionStaffed { agency: agency.clone(), position: position.clone() };
        draft.push(Stream::Agency(agency.clone()), staffed);
        clear_alarm(draft, Alarm::PositionLost { agency: agency.clone() });
    }
    Ok(())
}

fn find(draft: &Draft<'_>, emergency: EmergencyId) -> Result<Emergency, Refusal> {
    draft.state.emergencies.get(&emergency).cloned().ok_or(Refusal::NoSuchEmergency { emergency })
}

fn clear_alarm(draft: &mut Draft<'_>, alarm: Alarm) {
    if draft.state.alarms.contains(&alarm) {
        draft.push(Stream::Node, Event::AlarmCleared { alarm });
    }
}
