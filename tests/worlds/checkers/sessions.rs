//! What the published events and the answers promise: grants that are their owner's (law 1), leases that hold (law 7),
//! things that end once (law 10), emergencies that only their agency clears (law 12). On the clock that cannot be
//! stepped.

use std::collections::{BTreeMap, BTreeSet};

use crosspatch::domain::configuration::{Answer, Configuration};
use crosspatch::domain::event::{Alarm, Event, Recorded};
use crosspatch::domain::id::{AgencyId, BurstId, EmergencyId, IncidentId, LinkId, PatchId, TalkgroupId};
use crosspatch::domain::incident::{Actor, Audience, Lease, LinkTerms, PartyClass, UnlinkCause};
use crosspatch::domain::time::MonoTime;

use super::bursts::Bursts;
use super::{Findings, Law};

/// Everything the events opened.
#[derive(Default)]
pub struct Sessions {
    /// Who owns what, and what they have agreed in writing.
    configuration: Configuration,
    leases: BTreeMap<LinkId, Term>,
    ended: BTreeSet<LinkId>,
    talks: BTreeSet<(BurstId, PatchId)>,
    alarms: BTreeSet<Alarm>,
    emergencies: BTreeMap<EmergencyId, (AgencyId, TalkgroupId)>,
    used: BTreeMap<(PatchId, TalkgroupId), MonoTime>,
    /// A restart under another wall clock may shorten leases; nothing is too early then.
    shortened: bool,
    pub happened: SessionCounts,
}

/// What was met.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionCounts {
    pub incidents: u64,
    pub links: u64,
    pub second_consents: u64,
    pub later_joiners_excluded: u64,
    pub overtimes: u64,
    pub expired: u64,
    pub hard_ends: u64,
    pub cuts: u64,
    pub emergencies: u64,
    pub hosts_taken: u64,
    pub isolated: u64,
    pub by_agreement: u64,
}

#[derive(Debug)]
struct Term {
    incident: IncidentId,
    patch: PatchId,
    talkgroup: TalkgroupId,
    owner: AgencyId,
    audience: Audience,
    end: MonoTime,
    hard_end: MonoTime,
    /// By the owner: nothing moves it.
    hard_end_named: bool,
    overtime: bool,
}

impl Sessions {
    /// Dispatch decided this now; it may not be on disk yet.
    pub fn decided(&mut self, record: &Recorded, bursts: &Bursts, recent_ms: u64, now: MonoTime, found: &mut Findings) {
        self.check_owner(record, now, found);
        match &record.event {
            Event::ConfigurationAdopted { configuration } => self.configuration = (**configuration).clone(),
            Event::Linked { incident, patch, terms } => self.linked(*incident, *patch, terms, now, found),
            Event::Extended { link, lease, .. } => {
                if let Some(term) = self.leases.get_mut(link) {
                    term.end = after(*lease, now);
                    // Only a standing agreement goes past a hard end, and past none that the owner named.
                    if !term.hard_end_named && matches!(record.actor, Actor::Agreement(_)) {
                        term.hard_end = term.hard_end.max(term.end);
                    }
                    term.overtime = false;
                }
            }
            Event::Admitted { link, agencies, classes, .. } => {
                if let Some(term) = self.leases.get_mut(link) {
                    term.audience.agencies.extend(agencies.iter().cloned());
                    term.audience.classes.extend(classes);
                }
            }
            Event::OvertimeBegan { link, .. } => {
                self.happened.overtimes += 1;
                if let Some(term) = self.leases.get_mut(link) {
                    term.overtime = true;
                }
            }
            Event::Unlinked { link, cause, .. } => self.unlinked(*link, *cause, bursts, recent_ms, now, found),
            Event::PatchClosed { patch, .. } => self.leases.retain(|_, term| term.patch != *patch),
            Event::TalkBegan { burst, patch, .. } if !self.talks.insert((*burst, *patch)) => {
                found.broken(Law::Closes, now, || format!("{burst:?} is told to begin twice in {patch:?}"));
            }
            Event::Talked { burst, patch, talkgroup, .. } => {
                self.used.insert((*patch, talkgroup.clone()), now);
                if !self.talks.remove(&(*burst, *patch)) {
                    found.broken(Law::Closes, now, || format!("{burst:?} is told to end twice in {patch:?}"));
                }
            }
            Event::AlarmRaised { alarm } if !self.alarms.insert(alarm.clone()) => {
                found.broken(Law::Closes, now, || format!("{alarm:?} was raised twice"));
            }
            Event::AlarmCleared { alarm } if !self.alarms.remove(alarm) => {
                found.broken(Law::Closes, now, || format!("{alarm:?} was cleared and not raised"));
            }
            Event::IncidentOpened { .. } => self.happened.incidents += 1,
            Event::Accepted { by, .. } => self.happened.by_agreement += u64::from(by.is_some()),
            Event::HostTaken { .. } => self.happened.hosts_taken += 1,
            Event::Isolated { .. } => self.happened.isolated += 1,
            Event::CutMade { .. } => self.happened.cuts += 1,
            Event::EmergencyDeclared { emergency, agency, talkgroup, .. } => {
                self.happened.emergencies += 1;
                self.emergencies.insert(*emergency, (agency.clone(), talkgroup.clone()));
            }
            Event::EmergencyCleared { emergency, .. } => self.cleared(*emergency, &record.actor, now, found),
            _ => {}
        }
    }

    /// Once a second of the world: nothing lives too long.
    pub fn check_ends(&self, now: MonoTime, found: &mut Findings) {
        for (link, term) in &self.leases {
            if now > term.hard_end.plus_ms(SLACK_MS) {
                found.broken(Law::Leases, now, || format!("{link:?} of {} outlives its hard end", term.talkgroup));
            }
            if now > term.end.plus_ms(SLACK_MS) && !term.overtime {
                found.broken(Law::Leases, now, || format!("{link:?} of {} outlives its lease", term.talkgroup));
            }
        }
    }

    /// What a restart found in its journal, against what had been published before.
    pub fn restarted(
        &mut self,
        emergencies: &BTreeSet<EmergencyId>,
        links: &BTreeSet<LinkId>,
        stepped: bool,
        now: MonoTime,
        found: &mut Findings,
    ) {
        self.shortened |= stepped;
        for (emergency, (agency, _)) in &self.emergencies {
            if !emergencies.contains(emergency) {
                found.broken(Law::Emergency, now, || format!("the restart forgot {emergency:?} of {agency}"));
            }
        }
        self.emergencies.retain(|emergency, _| emergencies.contains(emergency));
        self.leases.retain(|link, _| links.contains(link));
    }

    /// Records that no journal ever took are gone: what they opened and closed did not happen.
    pub fn rebuild(&mut self, journal: &[Recorded], bursts: &Bursts) {
        let happened = self.happened;
        let used = std::mem::take(&mut self.used);
        *self = Self { shortened: self.shortened, ..Self::default() };
        let mut nothing = Findings::default();
        for record in journal {
            self.decided(record, bursts, 0, record.at.mono, &mut nothing);
        }
        (self.happened, self.used) = (happened, used);
    }

    /// Emergencies that are open.
    pub fn open_emergencies(&self) -> impl Iterator<Item = &EmergencyId> {
        self.emergencies.keys()
    }

    /// Whatever is given of a talkgroup is given by its owner as configured: its dispatcher, or a paper that it signed.
    fn check_owner(&self, record: &Recorded, now: MonoTime, found: &mut Findings) {
        let (talkgroup, issuer) = match &record.event {
            Event::Linked { terms, .. } => (&terms.talkgroup, Some(&terms.grant.issuer)),
            Event::Admitted { link, .. } => match self.leases.get(link) {
                Some(term) => (&term.talkgroup, None),
                None => return,
            },
            _ => return,
        };
        let Some(spec) = self.configuration.talkgroups.get(talkgroup) else {
            found.broken(Law::Sovereignty, now, || format!("{talkgroup} is given and nobody owns it"));
            return;
        };
        let given = match &record.actor {
            Actor::User { agency, .. } => agency.as_ref() == Some(&spec.agency),
            Actor::Agreement(id) => self.configuration.agreements.get(id).is_some_and(|paper| {
                paper.answer == Answer::Yes
                    && paper.between.contains(&spec.agency)
                    && paper.talkgroups.contains(talkgroup)
                    && paper.end.is_none_or(|end| record.at.wall < end)
            }),
            Actor::Timer | Actor::Media | Actor::Recovery | Actor::Reload => false,
        };
        if !given || issuer.is_some_and(|issuer| *issuer != spec.agency) {
            let what = || format!("{talkgroup} is {}'s, and {:?} said {:?}", spec.agency, record.actor, record.event);
            found.broken(Law::Sovereignty, now, what);
        }
    }

    fn linked(&mut self, incident: IncidentId, patch: PatchId, terms: &LinkTerms, now: MonoTime, found: &mut Findings) {
        self.happened.links += 1;
        let Some(spec) = self.configuration.talkgroups.get(&terms.talkgroup) else { return };
        let owner = spec.agency.clone();
        self.count_consent(&terms.talkgroup, incident, terms.grant.shared_incidents);
        self.count_excluded(patch, &owner);
        // What an earlier link of it was used for is no use of this one.
        self.used.remove(&(patch, terms.talkgroup.clone()));
        let term = Term {
            incident,
            patch,
            talkgroup: terms.talkgroup.clone(),
            owner,
            audience: terms.grant.audience.clone(),
            end: after(terms.lease, now),
            hard_end: after(terms.grant.hard_end, now),
            hard_end_named: terms.grant.hard_end_named,
            overtime: false,
        };
        if self.ended.contains(&terms.link) || self.leases.insert(terms.link, term).is_some() {
            found.broken(Law::Closes, now, || format!("{:?} was linked twice", terms.link));
        }
        if terms.grant.hard_end.remaining_ms < terms.lease.remaining_ms {
            found.broken(Law::Leases, now, || format!("{:?} has a lease past its hard end", terms.link));
        }
    }

    fn unlinked(
        &mut self,
        link: LinkId,
        cause: UnlinkCause,
        bursts: &Bursts,
        recent_ms: u64,
        now: MonoTime,
        found: &mut Findings,
    ) {
        let Some(term) = self.leases.remove(&link) else {
            if self.ended.contains(&link) {
                found.broken(Law::Closes, now, || format!("{link:?} was unlinked twice"));
            }
            return;
        };
        self.ended.insert(link);
        let early = now.plus_ms(SLACK_MS) < if cause == UnlinkCause::HardEnd { term.hard_end } else { term.end };
        match cause {
            UnlinkCause::Expired | UnlinkCause::HardEnd if early && !self.shortened => {
                found.broken(Law::Leases, now, || format!("{link:?} of {} ended before its time", term.talkgroup));
            }
            UnlinkCause::Expired => {
                self.happened.expired += 1;
                let used = self.used.get(&(term.patch, term.talkgroup.clone()));
                let recent = used.is_some_and(|at| now.ms_since(*at) + SLACK_MS < recent_ms);
                let linked_here = |talkgroup: &TalkgroupId| {
                    *talkgroup == term.talkgroup
                        || self.leases.values().any(|other| other.patch == term.patch && other.talkgroup == *talkgroup)
                };
                let emergency = self.emergencies.values().any(|(_, talkgroup)| linked_here(talkgroup));
                if bursts.is_talked_in(term.patch) || recent || emergency {
                    let what = || {
                        format!(
                            "expiry cut {} in {:?}: recent {recent}, emergency {emergency}",
                            term.talkgroup, term.patch
                        )
                    };
                    found.broken(Law::Leases, now, what);
                }
            }
            UnlinkCause::HardEnd => self.happened.hard_ends += 1,
            UnlinkCause::Unlinked
            | UnlinkCause::Cut
            | UnlinkCause::AgencyLeft
            | UnlinkCause::AgencyRemoved
            | UnlinkCause::Closed
            | UnlinkCause::PositionLost
            | UnlinkCause::Idle
            | UnlinkCause::Reconfigured
            | UnlinkCause::CallEnded => {}
        }
    }

    fn cleared(&mut self, emergency: EmergencyId, actor: &Actor, now: MonoTime, found: &mut Findings) {
        let Some((agency, _)) = self.emergencies.remove(&emergency) else {
            found.broken(Law::Closes, now, || format!("{emergency:?} was cleared and not open"));
            return;
        };
        let own = matches!(actor, Actor::User { agency: Some(by), .. } if *by == agency);
        if !own {
            found.broken(Law::Emergency, now, || format!("{actor:?} cleared {emergency:?} of {agency}"));
        }
    }

    /// A talkgroup in a second incident, and whether its owner said yes to that.
    fn count_consent(&mut self, talkgroup: &TalkgroupId, incident: IncidentId, shared: bool) {
        let elsewhere = self.leases.values().any(|term| term.talkgroup == *talkgroup && term.incident != incident);
        self.happened.second_consents += u64::from(elsewhere && shared);
    }

    /// Somebody is linked whom a link that was there before does not admit.
    fn count_excluded(&mut self, patch: PatchId, who: &AgencyId) {
        let excludes = |term: &Term| {
            term.owner != *who
                && !term.audience.agencies.contains(who)
                && !term.audience.classes.contains(&PartyClass::LaterAgencies)
        };
        let excluded = self.leases.values().any(|term| term.patch == patch && excludes(term));
        self.happened.later_joiners_excluded += u64::from(excluded);
    }
}

fn after(lease: Lease, now: MonoTime) -> MonoTime {
    now.plus_ms(lease.remaining_ms)
}

/// Deadlines are looked at every so often; a world's leap ends a little late (ms).
const SLACK_MS: u64 = 12_000;
