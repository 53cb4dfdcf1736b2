//! Everything that time does, on one page: one ordered set of moments, each with its reason.
//!
//! The set is a function of the state and of what lives, never a list that someone must remember to update. Acting on
//! a reason always removes it from the set, so a late tick does everything once, in order.

use std::collections::BTreeSet;

use crate::domain::configuration::OnLoss;
use crate::domain::event::{Alarm, Event, Recorded, Stream};
use crate::domain::id::{AgencyId, EmergencyId, IncidentId, LinkId, PortId};
use crate::domain::incident::{Actor, Lease, UnlinkCause};
use crate::domain::time::{MonoTime, Now};

use super::decide::STANDING_LEASE_S;
use super::evolve::evolve;
use super::live::Live;
use super::sharing;
use super::state::{PlacedLink, Position, State};

/// Why something happens at a moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nobody answered: show whom to call.
    InvitationUnanswered(IncidentId, AgencyId),
    /// The warning of a forced close has been on the air long enough.
    CloseDue(IncidentId),
    /// An emergency is open where a forced close was announced.
    CloseWithdrawn(IncidentId),
    /// A standing agreement renews its link.
    StandingRenewal(LinkId),
    /// So many seconds are left.
    ExpiryWarning(LinkId, u32),
    /// The lease is over: cut, or overtime.
    LeaseOver(LinkId),
    /// One more minute of overtime.
    OvertimeMinute(LinkId),
    /// Nothing needs the link any more.
    OvertimeOver(LinkId),
    /// The grant's own end, whatever needs it.
    HardEnd(LinkId),
    IdleWarning(LinkId),
    /// By the owner's policy.
    IdleUnlink(LinkId),
    IsolationOver(LinkId),
    /// No heartbeat.
    PositionLost(AgencyId),
    /// An agency concerned has not acknowledged.
    EmergencyUnacknowledged(EmergencyId, AgencyId),
    /// What was alarmed is no longer so, and nobody will say it.
    AlarmObsolete(Alarm),
}

/// Every moment at which something is to be done, in order.
pub fn schedule(state: &State, live: &Live) -> BTreeSet<(MonoTime, Reason)> {
    let mut set = BTreeSet::new();
    let policy = &state.configuration.policy;
    for (id, incident) in &state.incidents {
        for (agency, invitation) in incident.invitations.iter().filter(|(_, invitation)| !invitation.escalated) {
            let at = invitation.at.mono.plus_ms(u64::from(policy.ring_s) * 1000);
            set.insert((at, Reason::InvitationUnanswered(*id, agency.clone())));
        }
        match incident.closing {
            Some(_) if state.has_emergency(incident) => {
                set.insert((MonoTime::default(), Reason::CloseWithdrawn(*id)));
            }
            Some(closing) => {
                set.insert((closing.end, Reason::CloseDue(*id)));
            }
            None => {}
        }
    }
    for placed in state.links() {
        schedule_lease(state, &placed, &mut set);
        schedule_idle(state, &placed, &mut set);
    }
    schedule_positions(state, live, &mut set);
    for (id, emergency) in &state.emergencies {
        for agency in state.concerned_by(emergency) {
            let alarm = Alarm::EmergencyUnacknowledged { emergency: *id, agency: agency.clone() };
            if !emergency.acknowledged.contains_key(&agency) && !state.alarms.contains(&alarm) {
                let at = emergency.at.mono.plus_ms(ACKNOWLEDGE_MS);
                set.insert((at, Reason::EmergencyUnacknowledged(*id, agency)));
            }
        }
    }
    for alarm in &state.alarms {
        if let Some(at) = obsolete_at(state, live, alarm) {
            set.insert((at, Reason::AlarmObsolete(alarm.clone())));
        }
    }
    set
}

/// Does everything that is due by now.
pub fn deadlines(state: &State, live: &Live, now: Now) -> Vec<Recorded> {
    let mut records = Vec::new();
    let mut tried = None;
    // What one reason does may make another due; each pass is smaller than the one before.
    for _ in 0..PASSES_MAX {
        let current = tried.as_ref().unwrap_or(state);
        let mut due = schedule(current, live);
        due.retain(|(at, _)| *at <= now.mono);
        if due.is_empty() {
            break;
        }
        let mut next = current.clone();
        let before = records.len();
        for (_, reason) in &due {
            for recorded in act(&next, live, reason, now) {
                evolve(&mut next, &recorded);
                records.push(recorded);
            }
        }
        if records.len() == before {
            break;
        }
        tried = Some(next);
    }
    records
}

fn schedule_lease(state: &State, placed: &PlacedLink<'_>, set: &mut BTreeSet<(MonoTime, Reason)>) {
    let (id, link) = (placed.link_id, placed.link);
    set.insert((link.hard_end.end, Reason::HardEnd(id)));
    if let Some(isolated) = link.isolated {
        set.insert((isolated.until.end, Reason::IsolationOver(id)));
    }
    let before_end = |s: u32| MonoTime(link.lease.end.0.saturating_sub(u64::from(s) * 1_000_000_000));
    let Some(overtime) = link.overtime else {
        set.insert((link.lease.end, Reason::LeaseOver(id)));
        if standing(state, placed).is_some() {
            set.insert((before_end(RENEW_S), Reason::StandingRenewal(id)));
            return;
        }
        for left_s in WARNINGS_S {
            // Only what was far enough away when the lease began is worth a warning.
            let fresh = before_end(left_s) > link.leased.mono && link.warned_s.is_none_or(|warned| warned > left_s);
            if fresh {
                set.insert((before_end(left_s), Reason::ExpiryWarning(id, left_s)));
            }
        }
        return;
    };
    let minute = overtime.since.mono.plus_ms(MINUTE_MS * u64::from(overtime.minutes + 1));
    set.insert((minute, Reason::OvertimeMinute(id)));
    if !is_held(state, placed) {
        set.insert((needed_until(state, placed).max(overtime.since.mono), Reason::OvertimeOver(id)));
    }
}

fn schedule_idle(state: &State, placed: &PlacedLink<'_>, set: &mut BTreeSet<(MonoTime, Reason)>) {
    if is_held(state, placed) {
        return;
    }
    let link = placed.link;
    let last = link.used.map_or(link.since.mono, |used| used.mono.max(link.since.mono));
    let idle_unlink_s = state.talkgroup(&link.talkgroup).map_or(0, |t| t.idle_unlink_s);
    let warn_s = match idle_unlink_s {
        0 => IDLE_WARN_S,
        limit => limit - IDLE_NOTICE_S.min(limit / 2),
    };
    if !link.idle_warned {
        set.insert((last.plus_ms(u64::from(warn_s) * 1000), Reason::IdleWarning(placed.link_id)));
    }
    if idle_unlink_s > 0 {
        set.insert((last.plus_ms(u64::from(idle_unlink_s) * 1000), Reason::IdleUnlink(placed.link_id)));
    }
}

fn schedule_positions(state: &State, live: &Live, set: &mut BTreeSet<(MonoTime, Reason)>) {
    for (id, agency) in &state.configuration.agencies {
        let Some(responsible) = &agency.responsible else { continue };
        if matches!(state.positions.get(id), Some(Position::Lost { .. })) {
            continue;
        }
        let linked = state.links().filter(|placed| placed.link.owner == *id).map(|placed| placed.link.since.mono).min();
        let Some(linked) = linked else { continue };
        let last = live.beats.get(id).copied().unwrap_or_default().max(live.since).max(linked);
        set.insert((last.plus_ms(u64::from(responsible.heartbeat_s) * 1000), Reason::PositionLost(id.clone())));
    }
}

/// When an alarm that nobody will clear has become untrue.
fn obsolete_at(state: &State, live: &Live, alarm: &Alarm) -> Option<MonoTime> {
    let gone = |is_gone: bool| is_gone.then_some(MonoTime::default());
    match alarm {
        Alarm::StuckReceiver { .. }
        | Alarm::NoiseWithoutSpeech { .. }
        | Alarm::PingPong { .. }
        | Alarm::GatewayFloods { .. }
        | Alarm::ShardRebuilt { .. } => {
            Some(live.suspected.get(alarm).copied().unwrap_or(live.since).plus_ms(MINUTE_MS))
        }
        Alarm::GatewayLost { gateway } => gone(!state.configuration.gateways.contains_key(gateway)),
        Alarm::GatewayNotOpen { gateway, cause } => {
            let facts = live.ports.get(&PortId::of_gateway(gateway));
            let told = facts.and_then(|facts| facts.not_open.as_ref());
            // A start opens what it can, and says what it cannot.
            told.is_none_or(|(told, _)| told != cause).then(|| live.since.plus_ms(OPENED_BY_MS))
        }
        Alarm::NoTransmitter { talkgroup } => gone(!state.configuration.talkgroups.contains_key(talkgroup)),
        Alarm::EmergencyUnacknowledged { emergency, agency } => {
            let open = state.emergencies.get(emergency);
            let waits = |e: &super::state::Emergency| {
                !e.acknowledged.contains_key(agency) && state.concerned_by(e).contains(agency)
            };
            gone(!open.is_some_and(waits))
        }
        Alarm::Overtime { link, .. } => {
            gone(state.find_link(*link).is_none_or(|placed| placed.link.overtime.is_none()))
        }
        Alarm::PositionLost { agency } => {
            gone(state.configuration.agencies.get(agency).is_none_or(|a| a.responsible.is_none()))
        }
        // Whoever is not asked about any more is not missed.
        Alarm::TrunkLost { trunk } => (!live.trunks.contains_key(trunk)).then(|| live.since.plus_ms(TRUNKS_TOLD_BY_MS)),
        Alarm::JournalFailing { .. }
        | Alarm::StreamSetAside { .. }
        | Alarm::RecordsLost { .. }
        | Alarm::ConfigurationFaulty { .. } => None,
    }
}

/// What a reason does, if it still holds.
fn act(state: &State, live: &Live, reason: &Reason, now: Now) -> Vec<Recorded> {
    match reason {
        Reason::InvitationUnanswered(incident, agency) => {
            let contact = state.configuration.agencies.get(agency).map(|a| a.contact_24h.clone());
            let (incident, agency, contact_24h) = (*incident, agency.clone(), contact.unwrap_or_default());
            vec![in_incident(incident, Event::InvitationEscalated { incident, agency, contact_24h }, now)]
        }
        Reason::CloseDue(incident) => close(state, *incident, now),
        Reason::CloseWithdrawn(incident) => {
            vec![in_incident(*incident, Event::CloseWithdrawn { incident: *incident }, now)]
        }
        Reason::PositionLost(agency) => lose_position(state, agency, now),
        Reason::EmergencyUnacknowledged(emergency, agency) => {
            let alarm = Alarm::EmergencyUnacknowledged { emergency: *emergency, agency: agency.clone() };
            vec![timer(Stream::Node, Event::AlarmRaised { alarm }, now)]
        }
        Reason::AlarmObsolete(alarm) => match obsolete_at(state, live, alarm) {
            Some(at) if at <= now.mono && state.alarms.contains(alarm) => {
                vec![timer(Stream::Node, Event::AlarmCleared { alarm: alarm.clone() }, now)]
            }
            Some(_) | None => Vec::new(),
        },
        Reason::StandingRenewal(link)
        | Reason::ExpiryWarning(link, _)
        | Reason::LeaseOver(link)
        | Reason::OvertimeMinute(link)
        | Reason::OvertimeOver(link)
        | Reason::HardEnd(link)
        | Reason::IdleWarning(link)
        | Reason::IdleUnlink(link)
        | Reason::IsolationOver(link) => {
            let Some(placed) = state.find_link(*link) else { return Vec::new() };
            act_on_link(state, &placed, reason, now)
        }
    }
}

fn act_on_link(state: &State, placed: &PlacedLink<'_>, reason: &Reason, now: Now) -> Vec<Recorded> {
    let (incident, link) = (placed.incident_id, placed.link_id);
    let unlink = |cause| Event::Unlinked { incident, link, cause };
    let event = match reason {
        Reason::StandingRenewal(_) => return renew(state, placed, now),
        Reason::ExpiryWarning(_, left_s) => Event::ExpiryWarned { incident, link, left_s: *left_s },
        Reason::LeaseOver(_) if is_held(state, placed) || needed_until(state, placed) > now.mono => {
            let alarm = Alarm::Overtime { incident, link };
            let raised = (!state.alarms.contains(&alarm)).then_some(Event::AlarmRaised { alarm });
            let raised = raised.map(|event| timer(Stream::Node, event, now));
            return [in_incident(incident, Event::OvertimeBegan { incident, link }, now)]
                .into_iter()
                .chain(raised)
                .collect();
        }
        Reason::LeaseOver(_) | Reason::OvertimeOver(_) => unlink(UnlinkCause::Expired),
        Reason::OvertimeMinute(_) => {
            let Some(overtime) = placed.link.overtime else { return Vec::new() };
            let minutes = now.mono.ms_since(overtime.since.mono) / MINUTE_MS;
            Event::OvertimeRuns { incident, link, minutes: u32::try_from(minutes).unwrap_or(u32::MAX) }
        }
        Reason::HardEnd(_) => unlink(UnlinkCause::HardEnd),
        Reason::IdleWarning(_) => {
            let last = placed.link.used.unwrap_or(placed.link.since);
            let idle_s = u32::try_from(now.mono.ms_since(last.mono) / 1000).unwrap_or(u32::MAX);
            Event::IdleWarned { incident, link, idle_s }
        }
        Reason::IdleUnlink(_) => unlink(UnlinkCause::Idle),
        Reason::IsolationOver(_) => Event::IsolationEnded { incident, link },
        Reason::InvitationUnanswered(..)
        | Reason::CloseDue(_)
        | Reason::CloseWithdrawn(_)
        | Reason::PositionLost(_)
        | Reason::EmergencyUnacknowledged(..)
        | Reason::AlarmObsolete(_) => return Vec::new(),
    };
    vec![in_incident(incident, event, now)]
}

/// A burst or an open emergency in its patch: no expiry cuts that.
fn is_held(state: &State, placed: &PlacedLink<'_>) -> bool {
    state.talking_in(placed.patch_id).next().is_some() || state.emergencies_in(placed.patch).next().is_some()
}

/// Until when a link counts as used.
fn needed_until(state: &State, placed: &PlacedLink<'_>) -> MonoTime {
    let recent_ms = u64::from(state.configuration.policy.recent_s) * 1000;
    placed.link.used.map_or(MonoTime::default(), |used| used.mono.plus_ms(recent_ms))
}

fn standing<'a>(
    state: &'a State,
    placed: &PlacedLink<'a>,
) -> Option<(&'a crate::domain::id::AgreementId, &'a crate::domain::configuration::Agreement)> {
    let link = placed.link;
    let agreement =
        sharing::standing_link(&state.configuration, placed.incident, &link.owner, &link.talkgroup, state.known.wall)?;
    // An agreement or a named hard end that comes before the lease's end leaves nothing to renew.
    let room = !link.grant.hard_end_named || link.hard_end.end > link.lease.end;
    (room && agreement.1.end.is_none_or(|end| end > link.lease.ends)).then_some(agreement)
}

fn renew(state: &State, placed: &PlacedLink<'_>, now: Now) -> Vec<Recorded> {
    let Some((id, agreement)) = standing(state, placed) else { return Vec::new() };
    let day_ms = u64::from(STANDING_LEASE_S.min(agreement.lease_max_s.max(2 * RENEW_S))) * 1000;
    let named_ms = placed.link.grant.hard_end_named.then(|| placed.link.hard_end.left_ms(now));
    let ms = agreement.end.map_or(day_ms, |end| day_ms.min(end.ms_after(now.wall))).min(named_ms.unwrap_or(u64::MAX));
    let incident = placed.incident_id;
    let event = Event::Extended { incident, link: placed.link_id, lease: Lease::of(ms, now.wall) };
    vec![Recorded { stream: Stream::Incident(incident), actor: Actor::Agreement(id.clone()), at: now, event }]
}

fn close(state: &State, incident: IncidentId, now: Now) -> Vec<Recorded> {
    let Some(found) = state.incidents.get(&incident) else { return Vec::new() };
    // Closing is a wish of the host; help that was called for meanwhile outranks it.
    if state.has_emergency(found) {
        return Vec::new();
    }
    let cause = UnlinkCause::Closed;
    found
        .links()
        .map(|(_, _, link, _)| in_incident(incident, Event::Unlinked { incident, link, cause }, now))
        .chain([in_incident(incident, Event::Closed { incident }, now)])
        .collect()
}

fn lose_position(state: &State, agency: &AgencyId, now: Now) -> Vec<Recorded> {
    let configured = state.configuration.agencies.get(agency).and_then(|a| a.responsible.as_ref());
    let Some(responsible) = configured else { return Vec::new() };
    let lost = Event::PositionLost { agency: agency.clone(), position: responsible.position.clone() };
    let alarm = Alarm::PositionLost { agency: agency.clone() };
    let mut records = vec![timer(Stream::Agency(agency.clone()), lost, now)];
    if !state.alarms.contains(&alarm) {
        records.push(timer(Stream::Node, Event::AlarmRaised { alarm }, now));
    }
    match responsible.on_loss {
        OnLoss::Keep | OnLoss::Mute => {}
        OnLoss::Unlink => {
            for placed in state.links().filter(|placed| placed.link.owner == *agency) {
                let (incident, link) = (placed.incident_id, placed.link_id);
                let cause = UnlinkCause::PositionLost;
                records.push(in_incident(incident, Event::Unlinked { incident, link, cause }, now));
            }
        }
    }
    records
}

fn in_incident(incident: IncidentId, event: Event, now: Now) -> Recorded {
    timer(Stream::Incident(incident), event, now)
}

fn timer(stream: Stream, event: Event, now: Now) -> Recorded {
    Recorded { stream, actor: Actor::Timer, at: now, event }
}

/// Warnings before a lease ends (s).
const WARNINGS_S: [u32; 2] = [600, 120];
/// A standing link renews before its first warning (s).
const RENEW_S: u32 = 660;
/// Overtime alarms once in this time, and detectors' alarms end after this much quiet (ms).
const MINUTE_MS: u64 = 60_000;
/// A start has tried all its gateways' addresses by then (ms).
const OPENED_BY_MS: u64 = 5_000;
/// A start has heard of each of its trunks after so long (ms).
const TRUNKS_TOLD_BY_MS: u64 = 2 * MINUTE_MS;
/// An agency that has not acknowledged an emergency by then is alarmed about (ms).
const ACKNOWLEDGE_MS: u64 = 60_000;
/// Without a policy of its owner a link is called idle after this long (s).
const IDLE_WARN_S: u32 = 3600;
/// With one, it is warned this long before it is unlinked (s).
const IDLE_NOTICE_S: u32 = 120;
/// What is due at once settles in a few passes; more would be a loop, and the next tick goes on.
const PASSES_MAX: usize = 4;
