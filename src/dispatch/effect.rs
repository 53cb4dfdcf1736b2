//! Law 2 in one table: does an event give, take, or only tell?

use crate::domain::event::Event;

use super::plan;
use super::state::State;

/// What an event does to what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Someone gets a right, or is told that something is settled: durable first.
    Gives,
    /// Someone loses a right, or calls for help: acts at once, and stays in force if the journal fails.
    Takes,
    /// Something was seen. It needs nobody's leave and is kept until the journal takes it.
    Tells,
}

/// What an event would do to this state.
pub fn effect(state: &State, event: &Event) -> Effect {
    match event {
        Event::ConfigurationAdopted { configuration } => {
            if plan::only_narrows(&state.configuration, configuration) {
                Effect::Takes
            } else {
                Effect::Gives
            }
        }
        Event::Adjusted { link, direction, gain, priority, .. } => {
            let Some(now) = state.find_link(*link).map(|placed| placed.link) else { return Effect::Tells };
            let narrower = now.grant.direction.covers(*direction) && now.host_direction.covers(*direction);
            let kept = *gain == now.gain && *priority <= now.priority;
            if narrower && kept { Effect::Takes } else { Effect::Gives }
        }
        Event::AlarmRaised { .. }
        | Event::InvitationEscalated { .. }
        | Event::ExpiryWarned { .. }
        | Event::OvertimeBegan { .. }
        | Event::OvertimeRuns { .. }
        | Event::IdleWarned { .. }
        | Event::TalkBegan { .. }
        | Event::Talked { .. }
        | Event::LoopSuspected { .. }
        | Event::ClockStepped { .. }
        | Event::CloseWithdrawn { .. }
        | Event::Started { .. }
        | Event::Stopped => Effect::Tells,
        Event::PatchClosed { .. }
        | Event::Declined { .. }
        | Event::Unlinked { .. }
        | Event::Left { .. }
        | Event::Removed { .. }
        | Event::CloseWarned { .. }
        | Event::Closed { .. }
        | Event::FloorRevoked { .. }
        | Event::Isolated { .. }
        | Event::EmergencyDeclared { .. }
        | Event::CutMade { .. }
        | Event::PositionLost { .. }
        | Event::ChangeWithdrawn { .. } => Effect::Takes,
        Event::ChangeProposed { .. }
        | Event::ChangeConfirmed { .. }
        | Event::LossConfirmed { .. }
        | Event::AlarmCleared { .. }
        | Event::IncidentOpened { .. }
        | Event::PatchAdded { .. }
        | Event::FloorSet { .. }
        | Event::Invited { .. }
        | Event::Accepted { .. }
        | Event::Linked { .. }
        | Event::Dialled { .. }
        | Event::Extended { .. }
        | Event::Admitted { .. }
        | Event::Confirmed { .. }
        | Event::HostOffered { .. }
        | Event::HostTaken { .. }
        | Event::HandedOver { .. }
        | Event::Noted { .. }
        | Event::IsolationEnded { .. }
        | Event::EmergencyAcknowledged { .. }
        | Event::EmergencyCleared { .. }
        | Event::CutLifted { .. }
        | Event::PositionStaffed { .. } => Effect::Gives,
    }
}

/// Whether an event can change the routes; the others need no new table.
pub fn touches_routes(event: &Event) -> bool {
    match event {
        Event::ConfigurationAdopted { .. }
        | Event::Adjusted { .. }
        | Event::PatchClosed { .. }
        | Event::PatchAdded { .. }
        | Event::FloorSet { .. }
        | Event::Unlinked { .. }
        | Event::Linked { .. }
        | Event::Admitted { .. }
        | Event::Left { .. }
        | Event::Removed { .. }
        | Event::IncidentOpened { .. }
        | Event::Closed { .. }
        | Event::HostTaken { .. }
        | Event::Isolated { .. }
        | Event::IsolationEnded { .. }
        | Event::EmergencyDeclared { .. }
        | Event::EmergencyCleared { .. }
        | Event::CutMade { .. }
        | Event::CutLifted { .. }
        | Event::PositionStaffed { .. }
        | Event::PositionLost { .. }
        // Lost history mutes what crosses borders.
        | Event::AlarmRaised { .. }
        | Event::AlarmCleared { .. } => true,
        Event::Started { .. }
        | Event::Stopped
        | Event::ClockStepped { .. }
        | Event::ChangeProposed { .. }
        | Event::ChangeConfirmed { .. }
        | Event::LossConfirmed { .. }
        | Event::ChangeWithdrawn { .. }
        | Event::Invited { .. }
        | Event::InvitationEscalated { .. }
        | Event::Accepted { .. }
        | Event::Declined { .. }
        | Event::Dialled { .. }
        | Event::Extended { .. }
        | Event::ExpiryWarned { .. }
        | Event::OvertimeBegan { .. }
        | Event::OvertimeRuns { .. }
        | Event::IdleWarned { .. }
        | Event::Confirmed { .. }
        | Event::HostOffered { .. }
        | Event::HandedOver { .. }
        | Event::CloseWarned { .. }
        | Event::CloseWithdrawn { .. }
        | Event::Noted { .. }
        | Event::FloorRevoked { .. }
        | Event::TalkBegan { .. }
        | Event::Talked { .. }
        | Event::LoopSuspected { .. }
        | Event::EmergencyAcknowledged { .. } => false,
    }
}
