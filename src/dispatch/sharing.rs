//! May this talkgroup meet those talkgroups: the owner's written word, red buttons, exercises, second incidents,
//! security. Judges; grants nothing.

use crate::domain::configuration::{Agreement, Answer, Configuration, Patchable, PathClass, Security};
use crate::domain::id::{AgencyId, AgreementId, IncidentId, TalkgroupId};
use crate::domain::incident::{Direction, LinkRequest};
use crate::domain::refusal::Refusal;
use crate::domain::time::WallTime;

use super::state::{Incident, Patch, State};

/// Whether a talkgroup may be linked into a patch on these terms.
pub fn check(
    state: &State,
    incident_id: IncidentId,
    incident: &Incident,
    patch: &Patch,
    request: &LinkRequest,
) -> Result<(), Refusal> {
    let talkgroup = &request.talkgroup;
    let spec = state.talkgroup(talkgroup).ok_or_else(|| Refusal::NoSuchTalkgroup { talkgroup: talkgroup.clone() })?;
    match spec.patchable {
        Patchable::Never => return Err(Refusal::NeverPatchable { talkgroup: talkgroup.clone() }),
        Patchable::Ask => {}
    }
    if state.is_cut(talkgroup) {
        return Err(Refusal::IsCut { talkgroup: talkgroup.clone() });
    }
    if let Some(other) = state.links_of(talkgroup).find(|placed| placed.incident_id != incident_id) {
        if other.incident.exercise != incident.exercise {
            return Err(Refusal::ExerciseMixed { talkgroup: talkgroup.clone() });
        }
        if !request.shared_incidents {
            let (other, title) = (other.incident_id, other.incident.title.clone());
            return Err(Refusal::SharedIncidents { talkgroup: talkgroup.clone(), other, title });
        }
    }
    check_security(state, patch, request)
}

/// A secure talkgroup meets only secure talkgroups over encrypted paths, unless both owners gave a reason.
fn check_security(state: &State, patch: &Patch, request: &LinkRequest) -> Result<(), Refusal> {
    let configuration = &state.configuration;
    let own = &request.talkgroup;
    let refusal = |talkgroup: &TalkgroupId, path| Refusal::NotSecure { talkgroup: talkgroup.clone(), path };
    let no_reason = request.not_secure_reason.is_none();
    if is_secure(configuration, own) && !is_safe(configuration, own) && no_reason {
        return Err(refusal(own, path_of(configuration, own)));
    }
    for link in patch.links.values().filter(|link| link.talkgroup != *own) {
        if is_mixed(configuration, own, &link.talkgroup) && (no_reason || link.grant.not_secure_reason.is_none()) {
            let (secure, other) =
                if is_secure(configuration, own) { (own, &link.talkgroup) } else { (&link.talkgroup, own) };
            return Err(refusal(secure, path_of(configuration, secure).min(path_of(configuration, other))));
        }
    }
    Ok(())
}

/// Whether one of two talkgroups is secure and either of them, or its path, is not.
pub fn is_mixed(configuration: &Configuration, a: &TalkgroupId, b: &TalkgroupId) -> bool {
    (is_secure(configuration, a) || is_secure(configuration, b))
        && !(is_safe(configuration, a) && is_safe(configuration, b))
}

/// Whether a patch lets a secure talkgroup meet what is not: it is marked, and reminded of by a tone.
pub fn is_not_secure(configuration: &Configuration, patch: &Patch) -> bool {
    let talkgroups = || patch.links.values().map(|link| &link.talkgroup);
    talkgroups().any(|t| is_secure(configuration, t)) && talkgroups().any(|t| !is_safe(configuration, t))
}

/// The weakest of a talkgroup's transports.
pub fn path_of(configuration: &Configuration, talkgroup: &TalkgroupId) -> PathClass {
    let gateways = configuration.gateways.values().filter(|gateway| gateway.talkgroup == *talkgroup);
    gateways.map(|gateway| gateway.kind.path_class()).min().unwrap_or(PathClass::Encrypted)
}

fn is_secure(configuration: &Configuration, talkgroup: &TalkgroupId) -> bool {
    configuration.talkgroups.get(talkgroup).is_some_and(|t| t.security == Security::Secure)
}

fn is_safe(configuration: &Configuration, talkgroup: &TalkgroupId) -> bool {
    is_secure(configuration, talkgroup) && path_of(configuration, talkgroup) == PathClass::Encrypted
}

/// Agreements between two agencies that have not ended.
pub fn agreements<'a>(
    configuration: &'a Configuration,
    a: &'a AgencyId,
    b: &'a AgencyId,
    now: WallTime,
) -> impl Iterator<Item = (&'a AgreementId, &'a Agreement)> {
    configuration.agreements.iter().filter(move |(_, agreement)| {
        let [x, y] = &agreement.between;
        (x == a && y == b || x == b && y == a) && agreement.end.is_none_or(|end| end > now)
    })
}

/// The agreement, if any, under which an invited agency has said yes beforehand to this link in incidents of this kind.
pub fn standing_yes<'a>(
    configuration: &'a Configuration,
    host: &'a AgencyId,
    invited: &'a AgencyId,
    (kind, request): (&str, &LinkRequest),
    now: WallTime,
) -> Option<(&'a AgreementId, &'a Agreement)> {
    agreements(configuration, host, invited, now).find(|(_, agreement)| {
        agreement.answer == Answer::Yes
            && covers_kind(agreement, kind)
            && agreement.talkgroups.contains(&request.talkgroup)
            && agreement.direction.covers(request.direction)
    })
}

/// The agreement with the host, if any, that a link of this talkgroup is made under; what it says is the most that may be
/// given. Refuses a direction that none of them allows.
pub fn bound<'a>(
    configuration: &'a Configuration,
    incident: &'a Incident,
    owner: &'a AgencyId,
    (talkgroup, direction): (&TalkgroupId, Direction),
    now: WallTime,
) -> Result<Option<&'a Agreement>, Refusal> {
    let mut covering = agreements(configuration, &incident.host, owner, now)
        .filter(|(_, agreement)| agreement.talkgroups.contains(talkgroup) && covers_kind(agreement, &incident.kind))
        .peekable();
    let Some((id, _)) = covering.peek().copied() else { return Ok(None) };
    match covering.find(|(_, agreement)| agreement.direction.covers(direction)) {
        Some((_, agreement)) => Ok(Some(agreement)),
        None => Err(Refusal::OutOfRange { what: format!("a direction that agreement {id} does not cover") }),
    }
}

/// The agreement, if any, that keeps a link of this talkgroup standing: a guest's with the host, the host's with any
/// member.
pub fn standing_link<'a>(
    configuration: &'a Configuration,
    incident: &'a Incident,
    owner: &'a AgencyId,
    talkgroup: &TalkgroupId,
    now: WallTime,
) -> Option<(&'a AgreementId, &'a Agreement)> {
    let partners = incident
        .members
        .keys()
        .filter(|member| if incident.host == *owner { *member != owner } else { **member == incident.host });
    partners
        .flat_map(|partner| agreements(configuration, partner, owner, now))
        .find(|(_, agreement)| agreement.standing.contains(talkgroup) && covers_kind(agreement, &incident.kind))
}

fn covers_kind(agreement: &Agreement, kind: &str) -> bool {
    agreement.kinds.is_empty() || agreement.kinds.contains(kind)
}
