//! Which edge hears a tone about what happened to its own links. Never into a patch, only on a silent channel: that
//! part is media's.

use crate::domain::configuration::Announce;
use crate::domain::event::{Alarm, Event};
use crate::domain::id::{AgencyId, GatewayId, GroupId, PortId, TalkgroupId};
use crate::domain::order::Notice;
use crate::domain::port::TransmitKeying;
use crate::domain::report::Report;

use super::super::live::Live;
use super::super::reports::port_of;
use super::super::sharing;
use super::super::state::{Link, Patch, State};

/// Notices for an event; `state` is what was before it.
#[expect(clippy::wildcard_enum_match_arm, reason = "most events are not heard at any edge")]
pub(super) fn notices(state: &State, live: &Live, event: &Event) -> Vec<(PortId, Notice)> {
    let own = |talkgroup: &TalkgroupId, notice| edge(state, live, talkgroup).map(|port| (port, notice));
    match event {
        Event::Linked { terms, .. } => own(&terms.talkgroup, Notice::Linked).into_iter().collect(),
        Event::Unlinked { link, .. } => {
            let placed = state.find_link(*link);
            placed.and_then(|placed| own(&placed.link.talkgroup, Notice::Unlinked)).into_iter().collect()
        }
        Event::ExpiryWarned { link, left_s, .. } if *left_s <= LAST_WARNING_S => {
            let placed = state.find_link(*link);
            placed.and_then(|placed| own(&placed.link.talkgroup, Notice::ExpiresSoon)).into_iter().collect()
        }
        Event::OvertimeBegan { link, .. } | Event::OvertimeRuns { link, .. } => {
            let placed = state.find_link(*link);
            placed.and_then(|placed| own(&placed.link.talkgroup, Notice::ExpiresSoon)).into_iter().collect()
        }
        Event::CloseWarned { incident, .. } => {
            let links = state.incidents.get(incident).into_iter().flat_map(|found| found.links());
            links.filter_map(|(_, _, _, link)| own(&link.talkgroup, Notice::ClosesSoon)).collect()
        }
        Event::AlarmRaised { alarm: Alarm::GatewayLost { gateway } | Alarm::GatewayNotOpen { gateway, .. } } => {
            partners(state, live, |link| carries(state, gateway, link), Notice::PartnerLost)
        }
        Event::AlarmCleared { alarm: Alarm::GatewayLost { gateway } | Alarm::GatewayNotOpen { gateway, .. } } => {
            partners(state, live, |link| carries(state, gateway, link), Notice::Restored)
        }
        Event::AlarmRaised { alarm: Alarm::PositionLost { agency } } => {
            partners(state, live, |link| owns(agency, link), Notice::PartnerLost)
        }
        Event::AlarmCleared { alarm: Alarm::PositionLost { agency } } => {
            partners(state, live, |link| owns(agency, link), Notice::Restored)
        }
        _ => Vec::new(),
    }
}

/// What a talker is told of its own key: whoever can hear while it talks, and reads no word of ours that says so.
#[expect(clippy::wildcard_enum_match_arm, reason = "most reports are not heard at any edge")]
pub(super) fn of_key(state: &State, report: &Report) -> Option<(PortId, Notice)> {
    let (patch, leg, notice) = match report {
        Report::Denied { patch, leg, .. } => (*patch, *leg, Notice::Denied),
        Report::Queued { patch, leg, .. } => (*patch, *leg, Notice::Queued),
        Report::BurstStarted { patch, leg, .. } => (*patch, *leg, Notice::Granted),
        _ => return None,
    };
    let port = port_of(state, patch, leg)?;
    let gateway = state.configuration.gateways.iter().find(|(id, _)| PortId::of_gateway(id) == port)?.1;
    let transmit = &gateway.port.transmit;
    let wanted = match state.talkgroup(&gateway.talkgroup)?.announce {
        Announce::Off => false,
        Announce::Tone => true,
    };
    // Who keys by a button of the microphone knows that it talks; a phone's digit shows nothing.
    let is_news = notice != Notice::Granted || gateway.kind.is_phone();
    let needs = !transmit.half_duplex && transmit.keying != TransmitKeying::Ext && is_news;
    (wanted && needs).then_some((port, notice))
}

/// The reminder at every edge of a patch where a secure talkgroup meets what is not.
pub(super) fn reminders(state: &State, live: &Live) -> Vec<(PortId, Notice)> {
    let patches = state.incidents.values().flat_map(|incident| incident.patches.values());
    patches
        .filter(|patch| sharing::is_not_secure(&state.configuration, patch))
        .flat_map(|patch: &Patch| patch.links.values())
        .filter_map(|link| edge(state, live, &link.talkgroup).map(|port| (port, Notice::NotSecure)))
        .collect()
}

/// The others in every patch where such a link stands.
fn partners(state: &State, live: &Live, is_lost: impl Fn(&Link) -> bool, notice: Notice) -> Vec<(PortId, Notice)> {
    let patches = state.incidents.values().flat_map(|incident| incident.patches.values());
    let mut ports: Vec<PortId> = patches
        .filter(|patch| patch.links.values().any(&is_lost))
        .flat_map(|patch| patch.links.values().filter(|link| !is_lost(link)))
        .filter_map(|link| edge(state, live, &link.talkgroup))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports.into_iter().map(|port| (port, notice)).collect()
}

/// The port at which a talkgroup hears a notice: the one that transmits, by report or by preference.
fn edge(state: &State, live: &Live, talkgroup: &TalkgroupId) -> Option<PortId> {
    let spec = state.talkgroup(talkgroup)?;
    match spec.announce {
        Announce::Off => return None,
        Announce::Tone => {}
    }
    let moved = live.transmitting.get(&GroupId::of_talkgroup(talkgroup)).copied().flatten();
    moved.or_else(|| spec.transmit.first().map(PortId::of_gateway))
}

fn carries(state: &State, gateway: &GatewayId, link: &Link) -> bool {
    state.configuration.gateways.get(gateway).is_some_and(|found| found.talkgroup == link.talkgroup)
}

fn owns(agency: &AgencyId, link: &Link) -> bool {
    link.owner == *agency
}

/// The warning that is also heard (s).
const LAST_WARNING_S: u32 = 120;
