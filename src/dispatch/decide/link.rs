//! Links: what an owner gives, what owner and host take back, how long it lasts.

use std::collections::BTreeSet;

use crate::domain::audio::Gain;
use crate::domain::configuration::Agreement;
use crate::domain::event::{Event, Stream};
use crate::domain::floor::Priority;
use crate::domain::id::{AgencyId, AgreementId, IncidentId, LinkId};
use crate::domain::incident::{
    Actor, Audience, Direction, Grant, Lease, LinkRequest, LinkTerms, PartyClass, UnlinkCause,
};
use crate::domain::refusal::Refusal;

use super::super::state::{Incident, Link, PlacedLink};
use super::super::{admission, sharing};
use super::{Draft, find_link};

/// A dispatcher links a talkgroup of its own.
pub(super) fn decide_link(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident: IncidentId,
    request: &LinkRequest,
) -> Result<(), Refusal> {
    link_proposed(draft, agency, incident, request, Priority::default())
}

/// The same for a talkgroup that the host proposed with a priority: up to that one the host has spoken.
pub(super) fn link_proposed(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident: IncidentId,
    request: &LinkRequest,
    host_priority: Priority,
) -> Result<(), Refusal> {
    let by = draft.actor.clone();
    link(draft, agency, incident, request, &Word { by, agreement: None, host_priority, dials: false }).map(|_| ())
}

/// A dispatcher dials with a line of its own. The call is made once that is durable.
pub(super) fn decide_dial(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident: IncidentId,
    number: &str,
    request: &LinkRequest,
) -> Result<(), Refusal> {
    let digits = number.strip_prefix('+').unwrap_or(number);
    if !(NUMBER_MIN..=NUMBER_MAX).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let what = format!("a number has {NUMBER_MIN} to {NUMBER_MAX} digits and may begin with a plus");
        return Err(Refusal::OutOfRange { what });
    }
    let talkgroup = &request.talkgroup;
    if draft.state.talkgroup(talkgroup).is_none() {
        return Err(no_such(request));
    }
    let line = draft.state.configuration.line_of(talkgroup).cloned();
    let line = line.ok_or_else(|| Refusal::NoLine { talkgroup: talkgroup.clone() })?;
    // One call for each line, wherever it is.
    if draft.state.links_of(talkgroup).next().is_some() {
        return Err(Refusal::AlreadyLinked { talkgroup: talkgroup.clone() });
    }
    let by = draft.actor.clone();
    let word = Word { by, agreement: None, host_priority: Priority::default(), dials: true };
    let link = link(draft, agency, incident, request, &word)?;
    let ends_in = digits[digits.len().saturating_sub(ENDS_IN).max(1)..].to_owned();
    draft.push_in(incident, Event::Dialled { incident, link, line, ends_in });
    Ok(())
}

/// An agreement that covers it links a talkgroup for its owner, within its own terms.
pub(super) fn link_by_agreement(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident: IncidentId,
    request: &LinkRequest,
    (id, agreement): (&AgreementId, &Agreement),
) -> Result<(), Refusal> {
    let by = Actor::Agreement(id.clone());
    let word = Word { by, agreement: Some(agreement), host_priority: request.priority, dials: false };
    link(draft, agency, incident, request, &word).map(|_| ())
}

/// Who says yes for the owner.
struct Word<'a> {
    by: Actor,
    /// The agreement that says it; else a dispatcher does.
    agreement: Option<&'a Agreement>,
    /// The priority that the host has proposed.
    host_priority: Priority,
    /// It is a line out, and dials.
    dials: bool,
}

fn link(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident_id: IncidentId,
    request: &LinkRequest,
    word: &Word<'_>,
) -> Result<LinkId, Refusal> {
    let talkgroup = &request.talkgroup;
    let configuration = draft.state.configuration.clone();
    let spec = draft.state.talkgroup(talkgroup).ok_or_else(|| no_such(request))?;
    if spec.agency != *agency {
        return Err(Refusal::NotYours { owner: spec.agency.clone() });
    }
    if !word.dials && configuration.line_of(talkgroup).is_some() {
        return Err(Refusal::NotByLink { talkgroup: talkgroup.clone() });
    }
    let cap = spec.priority_max;
    let incident = draft.joined(incident_id, agency)?;
    let patch_id = match &request.patch {
        Some(name) => incident.patch_named(name).ok_or_else(|| Refusal::NoSuchPatch { name: name.clone() })?.0,
        None => incident.first,
    };
    let Some(patch) = incident.patches.get(&patch_id) else { return Err(Refusal::LastPatch) };
    if patch.links.values().any(|link| link.talkgroup == *talkgroup) {
        return Err(Refusal::AlreadyLinked { talkgroup: talkgroup.clone() });
    }
    sharing::check(&draft.state, incident_id, &incident, patch, request)?;
    check_gain(request.gain)?;
    if request.priority > word.host_priority && incident.host != *agency {
        return Err(Refusal::NotHost { host: incident.host.clone() });
    }
    if request.priority > cap {
        return Err(Refusal::PriorityCapped { talkgroup: talkgroup.clone(), most: cap.0 });
    }
    admission::check_links(&draft.state, patch, agency, talkgroup)?;
    let agreement = match word.agreement {
        Some(agreement) => Some(agreement),
        None => sharing::bound(&configuration, &incident, agency, (talkgroup, request.direction), draft.now.wall)?,
    };
    let (lease, hard_end) = term(draft, agency, &incident, request, word, agreement)?;
    let grant = Grant {
        issuer: agency.clone(),
        by: word.by.clone(),
        direction: request.direction,
        audience: audience(agency, &incident, request, word, agreement),
        hard_end,
        hard_end_named: request.hard_end_s.is_some(),
        not_secure_reason: request.not_secure_reason.clone(),
        shared_incidents: request.shared_incidents,
        signature: None,
    };
    let link = LinkId(draft.entropy.next_u128());
    let terms = LinkTerms {
        link,
        talkgroup: talkgroup.clone(),
        direction: request.direction,
        gain: request.gain,
        priority: request.priority,
        lease,
        grant,
    };
    let event = Event::Linked { incident: incident_id, patch: patch_id, terms: Box::new(terms) };
    draft.push_as(word.by.clone(), Stream::Incident(incident_id), event);
    Ok(link)
}

/// Who may hear: whoever is here now, and whom the owner, as host, has itself invited; and the classes that its dispatcher
/// ticks. An agreement to be recorded ticks recorders while nobody but the two of it is here.
fn audience(
    agency: &AgencyId,
    incident: &Incident,
    request: &LinkRequest,
    word: &Word<'_>,
    agreement: Option<&Agreement>,
) -> Audience {
    let mut agencies: BTreeSet<AgencyId> = incident.members.keys().cloned().collect();
    if incident.host == *agency {
        agencies.extend(incident.invitations.keys().cloned());
    }
    // What the host proposes to tick is its wish, not the owner's word.
    let mut classes = if word.agreement.is_some() { BTreeSet::new() } else { request.classes.clone() };
    let agreed = |agreement: &Agreement| agreement.recording && agencies.iter().all(|a| agreement.between.contains(a));
    if agreement.is_some_and(agreed) {
        classes.insert(PartyClass::Recording);
    }
    Audience { agencies, classes }
}

/// Lease and hard end of a new link.
fn term(
    draft: &Draft<'_>,
    agency: &AgencyId,
    incident: &Incident,
    request: &LinkRequest,
    word: &Word<'_>,
    agreement: Option<&Agreement>,
) -> Result<(Lease, Lease), Refusal> {
    let policy = &draft.state.configuration.policy;
    let wall = draft.now.wall;
    if request.lease_s == Some(0) || request.hard_end_s == Some(0) {
        return Err(Refusal::OutOfRange { what: "a lease of nothing".to_owned() });
    }
    let configuration = &draft.state.configuration;
    let standing = sharing::standing_link(configuration, incident, agency, &request.talkgroup, wall).is_some();
    let usual_s = if standing { STANDING_LEASE_S } else { incident.lease_s };
    let mut most_s = u64::from(policy.lease_max_s);
    if let Some(agreement) = agreement {
        let end_s = agreement.end.map_or(u64::MAX, |end| end.ms_after(wall) / 1000);
        most_s = most_s.min(u64::from(agreement.lease_max_s)).min(end_s);
    }
    if let Some(hard_end_s) = request.hard_end_s {
        most_s = most_s.min(u64::from(hard_end_s));
    }
    let lease_s = match request.lease_s {
        Some(wanted) if u64::from(wanted) > most_s => return Err(Refusal::LeaseTooLong { most_s }),
        Some(wanted) => u64::from(wanted),
        None => most_s.min(u64::from(usual_s)),
    };
    let usual_end_s = match agreement {
        Some(_) => most_s.min(u64::from(policy.hard_end_default_s)),
        None => u64::from(policy.hard_end_default_s),
    };
    let hard_end_s = match request.hard_end_s {
        // A host that proposes names no end beyond what the owner has written.
        Some(named) if word.agreement.is_some() => u64::from(named).min(most_s),
        Some(named) => u64::from(named),
        None => usual_end_s,
    };
    let hard_end_s = hard_end_s.max(lease_s);
    Ok((Lease::of(lease_s * 1000, wall), Lease::of(hard_end_s * 1000, wall)))
}

pub(super) fn decide_unlink(draft: &mut Draft<'_>, agency: &AgencyId, link: LinkId) -> Result<(), Refusal> {
    let placed = find_link(&draft.state, link)?;
    check_owner_or_host(&placed, agency)?;
    let incident = placed.incident_id;
    draft.push_in(incident, Event::Unlinked { incident, link, cause: UnlinkCause::Unlinked });
    Ok(())
}

/// The owner speaks for its grant, the host for its house; what passes is what both leave.
pub(super) fn decide_adjust(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    link: LinkId,
    direction: Option<Direction>,
    gain: Option<Gain>,
    priority: Option<Priority>,
) -> Result<(), Refusal> {
    let placed = find_link(&draft.state, link)?;
    check_owner_or_host(&placed, agency)?;
    let (incident, current) = (placed.incident_id, placed.link);
    let (owns, hosts) = (current.owner == *agency, placed.incident.host == *agency);
    let spoken = if owns { current.grant.direction } else { current.host_direction };
    let direction = direction.unwrap_or(spoken);
    if owns && !spoken.covers(direction) {
        let wider = (&current.talkgroup, direction);
        sharing::bound(&draft.state.configuration, placed.incident, agency, wider, draft.now.wall)?;
    }
    if !owns && direction != current.host_direction && !current.grant.direction.covers(direction) {
        return Err(Refusal::GrantTooNarrow { link });
    }
    let gain = gain.unwrap_or(current.gain);
    check_gain(gain)?;
    let priority = priority.unwrap_or(current.priority);
    if priority > current.priority && !hosts {
        return Err(Refusal::NotHost { host: placed.incident.host.clone() });
    }
    let cap = draft.state.talkgroup(&current.talkgroup).map_or(Priority::default(), |t| t.priority_max);
    if priority > cap {
        return Err(Refusal::PriorityCapped { talkgroup: current.talkgroup.clone(), most: cap.0 });
    }
    let unchanged = (!owns || direction == current.grant.direction) && (!hosts || direction == current.host_direction);
    if unchanged && gain == current.gain && priority == current.priority {
        return Err(Refusal::NothingToDo);
    }
    draft.push_in(incident, Event::Adjusted { incident, link, direction, gain, priority });
    Ok(())
}

/// One link as far as asked, or all of them as far as their owners allow.
pub(super) fn decide_extend(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    incident_id: IncidentId,
    link: Option<LinkId>,
    by_s: u32,
) -> Result<(), Refusal> {
    let incident = draft.joined(incident_id, agency)?;
    if by_s == 0 {
        return Err(Refusal::OutOfRange { what: "an extension by nothing".to_owned() });
    }
    let by_ms = u64::from(by_s) * 1000;
    if let Some(link) = link {
        let placed = find_link(&draft.state, link)?;
        check_owner_or_host(&placed, agency)?;
        let (left_ms, most_ms) = (placed.link.lease.left_ms(draft.now), most_ms(draft, placed.link));
        if placed.incident_id != incident_id {
            return Err(Refusal::NoSuchLink { link });
        }
        if left_ms + by_ms > most_ms {
            return Err(Refusal::LeaseTooLong { most_s: most_ms.saturating_sub(left_ms) / 1000 });
        }
        extend(draft, incident_id, link, left_ms + by_ms);
        return Ok(());
    }
    let own = |owner: &AgencyId| owner == agency || incident.host == *agency;
    let mut extended = false;
    for (_, _, id, found) in incident.links().filter(|(_, _, _, found)| own(&found.owner)) {
        let left_ms = found.lease.left_ms(draft.now);
        let wanted_ms = (left_ms + by_ms).min(most_ms(draft, found));
        if wanted_ms > left_ms {
            extend(draft, incident_id, id, wanted_ms);
            extended = true;
        }
    }
    if extended { Ok(()) } else { Err(Refusal::LeaseTooLong { most_s: 0 }) }
}

/// Longest remaining lease an extension may lead to (ms): the owner's hard end, and the policy.
fn most_ms(draft: &Draft<'_>, link: &Link) -> u64 {
    link.hard_end.left_ms(draft.now).min(u64::from(draft.state.configuration.policy.lease_max_s) * 1000)
}

fn extend(draft: &mut Draft<'_>, incident: IncidentId, link: LinkId, ms: u64) {
    let lease = Lease::of(ms, draft.now.wall);
    draft.push_in(incident, Event::Extended { incident, link, lease });
}

/// The owner widens its audience.
pub(super) fn decide_admit(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    link: LinkId,
    agencies: &BTreeSet<AgencyId>,
    classes: &BTreeSet<PartyClass>,
    not_secure_reason: Option<&str>,
) -> Result<(), Refusal> {
    let placed = find_link(&draft.state, link)?;
    check_owner(&placed, agency)?;
    let configured = &draft.state.configuration.agencies;
    if let Some(unknown) = agencies.iter().find(|a| !configured.contains_key(*a)) {
        return Err(Refusal::NoSuchAgency { agency: unknown.clone() });
    }
    let (audience, said) = (&placed.link.grant.audience, placed.link.grant.not_secure_reason.as_deref());
    let said_already = not_secure_reason.is_none() || not_secure_reason == said;
    if agencies.is_subset(&audience.agencies) && classes.is_subset(&audience.classes) && said_already {
        return Err(Refusal::NothingToDo);
    }
    let incident = placed.incident_id;
    let (agencies, classes) = (agencies.clone(), classes.clone());
    let not_secure_reason = not_secure_reason.map(str::to_owned);
    draft.push_in(incident, Event::Admitted { incident, link, agencies, classes, not_secure_reason });
    Ok(())
}

pub(super) fn decide_confirm(
    draft: &mut Draft<'_>,
    agency: &AgencyId,
    link: LinkId,
    receive: bool,
    transmit: bool,
) -> Result<(), Refusal> {
    let placed = find_link(&draft.state, link)?;
    check_owner(&placed, agency)?;
    let news = receive && !placed.link.confirmed_receive || transmit && !placed.link.confirmed_transmit;
    if !news {
        return Err(Refusal::NothingToDo);
    }
    let incident = placed.incident_id;
    draft.push_in(incident, Event::Confirmed { incident, link, receive, transmit });
    Ok(())
}

pub(super) fn decide_end_isolation(draft: &mut Draft<'_>, agency: &AgencyId, link: LinkId) -> Result<(), Refusal> {
    let placed = find_link(&draft.state, link)?;
    check_owner(&placed, agency)?;
    if placed.link.isolated.is_none() {
        return Err(Refusal::NothingToDo);
    }
    let incident = placed.incident_id;
    draft.push_in(incident, Event::IsolationEnded { incident, link });
    Ok(())
}

fn check_owner(placed: &PlacedLink<'_>, agency: &AgencyId) -> Result<(), Refusal> {
    if placed.link.owner == *agency { Ok(()) } else { Err(Refusal::NotYours { owner: placed.link.owner.clone() }) }
}

fn check_owner_or_host(placed: &PlacedLink<'_>, agency: &AgencyId) -> Result<(), Refusal> {
    if placed.incident.host == *agency { Ok(()) } else { check_owner(placed, agency) }
}

fn check_gain(gain: Gain) -> Result<(), Refusal> {
    if gain.0.unsigned_abs() > GAIN_MAX {
        return Err(Refusal::OutOfRange { what: format!("a gain of more than {} dB", GAIN_MAX / 100) });
    }
    Ok(())
}

fn no_such(request: &LinkRequest) -> Refusal {
    Refusal::NoSuchTalkgroup { talkgroup: request.talkgroup.clone() }
}

/// More would be a wrong level at the gateway, not a gain (hundredths of a decibel).
const GAIN_MAX: u16 = 2400;
/// Digits of a number that can be dialled: an extension, and the longest of E.164 with a prefix.
const NUMBER_MIN: usize = 2;
const NUMBER_MAX: usize = 20;
/// Digits of it that are kept.
const ENDS_IN: usize = 3;
/// A standing link renews daily (s).
pub const STANDING_LEASE_S: u32 = 24 * 3600;
