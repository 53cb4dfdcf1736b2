//! The naive truth: who may hear whom, told from the published events and the configuration alone, in sets.
//!
//! Written from the design, not from dispatch: nothing here knows legs, parties, shards or diffs. Slow and obvious.

use std::collections::{BTreeMap, BTreeSet};

use crosspatch::domain::audio::Gain;
use crosspatch::domain::configuration::{Configuration, OnLoss};
use crosspatch::domain::event::{Event, Recorded};
use crosspatch::domain::id::{AgencyId, BurstId, EmergencyId, IncidentId, LinkId, PatchId, PatchName, TalkgroupId};
use crosspatch::domain::incident::{Actor, Audience, CutTarget, Direction, PartyClass};
use crosspatch::domain::port::PortRole;
use crosspatch::domain::talker::Alias;

use super::device::Device;
use super::field::Ear;

/// What has been published.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth {
    pub configuration: Configuration,
    pub incidents: BTreeMap<IncidentId, Told>,
    pub links: BTreeMap<LinkId, Link>,
    /// Links that have ended: a late record of their beginning does not bring them back.
    pub ended: BTreeSet<LinkId>,
    pub cuts: BTreeSet<CutTarget>,
    pub unstaffed: BTreeSet<AgencyId>,
    pub emergencies: BTreeMap<EmergencyId, InNeed>,
    /// Bursts that have the floor of an incident's patch.
    pub talks: BTreeSet<(PatchId, BurstId)>,
}

/// Whose emergency is open; no name is whoever talks there.
#[derive(Clone, Debug, PartialEq)]
pub struct InNeed {
    pub talkgroup: TalkgroupId,
    pub talker: Alias,
}

/// An incident as its events tell it.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub title: String,
    pub host: AgencyId,
    pub members: BTreeSet<AgencyId>,
    pub invited: BTreeSet<AgencyId>,
    pub offered: Option<AgencyId>,
    pub patches: BTreeMap<PatchId, PatchName>,
}

/// A talkgroup's place in a patch as its owner and the host said it.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    pub incident: IncidentId,
    pub patch: PatchId,
    pub talkgroup: TalkgroupId,
    pub owner: AgencyId,
    pub owner_says: Direction,
    pub host_says: Direction,
    pub audience: Audience,
    pub gain: Gain,
    pub isolated: Option<Direction>,
}

impl Truth {
    /// One event was published.
    pub fn learn(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::ConfigurationAdopted { configuration } => self.configuration = (**configuration).clone(),
            Event::IncidentOpened { incident, title, host, patches, .. } => {
                let told = Told {
                    title: title.clone(),
                    host: host.clone(),
                    members: BTreeSet::from([host.clone()]),
                    invited: BTreeSet::new(),
                    offered: None,
                    patches: patches.iter().map(|opened| (opened.patch, opened.name.clone())).collect(),
                };
                self.incidents.insert(*incident, told);
            }
            Event::PatchAdded { incident, patch } => self.told(*incident, |told| {
                told.patches.insert(patch.patch, patch.name.clone());
            }),
            Event::PatchClosed { incident, patch } => {
                self.told(*incident, |told| {
                    told.patches.remove(patch);
                });
                self.end_links(|link| link.patch == *patch);
            }
            Event::Invited { incident, agency, .. } => self.told(*incident, |told| {
                told.invited.insert(agency.clone());
            }),
            Event::Declined { incident, agency, .. } => self.told(*incident, |told| {
                told.invited.remove(agency);
            }),
            Event::Accepted { incident, agency, .. } => self.told(*incident, |told| {
                told.invited.remove(agency);
                told.members.insert(agency.clone());
            }),
            Event::HostOffered { incident, to } => self.told(*incident, |told| told.offered = Some(to.clone())),
            Event::HostTaken { incident, host } => self.told(*incident, |told| {
                told.host = host.clone();
                told.offered = None;
            }),
            Event::Left { incident, agency } | Event::Removed { incident, agency } => {
                self.told(*incident, |told| {
                    told.members.remove(agency);
                });
                self.end_links(|link| link.incident == *incident && link.owner == *agency);
            }
            Event::Closed { incident } => {
                self.incidents.remove(incident);
                self.end_links(|link| link.incident == *incident);
            }
            Event::Linked { .. }
            | Event::Adjusted { .. }
            | Event::Admitted { .. }
            | Event::Unlinked { .. }
            | Event::Isolated { .. }
            | Event::IsolationEnded { .. } => self.learn_link(recorded),
            _ => self.learn_agency(recorded),
        }
    }

    /// What an agency does outside any incident.
    fn learn_agency(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::EmergencyDeclared { emergency, talkgroup, talker, .. } => {
                self.emergencies.insert(*emergency, InNeed { talkgroup: talkgroup.clone(), talker: *talker });
            }
            Event::EmergencyCleared { emergency, .. } => {
                self.emergencies.remove(emergency);
            }
            Event::TalkBegan { patch, burst, .. } => {
                self.talks.insert((*patch, *burst));
            }
            Event::Talked { patch, burst, .. } => {
                self.talks.remove(&(*patch, *burst));
            }
            Event::CutMade { target, .. } => {
                self.cuts.insert(target.clone());
            }
            Event::CutLifted { target, .. } => {
                self.cuts.remove(target);
            }
            Event::PositionStaffed { agency, .. } => {
                self.unstaffed.remove(agency);
            }
            Event::PositionLost { agency, .. } => {
                self.unstaffed.insert(agency.clone());
            }
            _ => {}
        }
    }

    /// The devices whose talkers have an open emergency, one bit each.
    pub fn in_need(&self, devices: &[Device]) -> u32 {
        let named = |device: &Device, open: &InNeed| {
            let whoever = open.talker.is_empty() || open.talker == Alias::new(&device.spec.alias);
            device.talkgroup == open.talkgroup && whoever
        };
        let needs = |device: &&Device| self.emergencies.values().any(|open| named(device, open));
        devices.iter().enumerate().filter(|(_, device)| needs(device)).fold(0, |all, (ear, _)| all | 1 << ear)
    }

    /// May this ear hear, through this patch, what is said into that one? Law 1 on one page.
    pub fn may_hear_in(&self, patch: PatchId, talker: &Device, ear: &Device) -> bool {
        let is_there = |device: &Device| self.configuration.gateways.contains_key(&device.gateway);
        if !is_there(talker) || !is_there(ear) {
            return false;
        }
        if patch == PatchId::home_of(&talker.talkgroup) {
            return self.is_home(talker, ear);
        }
        let of = |device: &Device| {
            let group = device.talkgroup.clone();
            self.links.values().filter(move |link| link.patch == patch && link.talkgroup == group)
        };
        can_talk(talker, ear)
            && of(talker).any(|said| {
                of(ear).any(|heard| {
                    self.passes(said, Way::Talks)
                        && self.passes(heard, Way::Hears)
                        && admits(said, heard, ear)
                        && admits(heard, said, talker)
                })
            })
    }

    /// Members of a talkgroup hear each other; on its own channel it hears itself without us.
    fn is_home(&self, talker: &Device, ear: &Device) -> bool {
        talker.talkgroup == ear.talkgroup && can_talk(talker, ear)
    }

    fn incident_patches(&self) -> impl Iterator<Item = PatchId> {
        self.incidents.values().flat_map(|told| told.patches.keys().copied())
    }

    fn passes(&self, link: &Link, way: Way) -> bool {
        let open = |direction: Direction| match way {
            Way::Talks => direction.talks(),
            Way::Hears => direction.hears(),
        };
        let isolated = link.isolated.is_some_and(open);
        open(link.owner_says) && open(link.host_says) && !isolated && !self.is_cut(link) && !self.is_muted(&link.owner)
    }

    fn is_cut(&self, link: &Link) -> bool {
        self.cuts.contains(&CutTarget::Talkgroup(link.talkgroup.clone()))
            || self.cuts.contains(&CutTarget::Agency(link.owner.clone()))
    }

    fn is_muted(&self, agency: &AgencyId) -> bool {
        let responsible = self.configuration.agencies.get(agency).and_then(|agency| agency.responsible.as_ref());
        self.unstaffed.contains(agency) && responsible.is_some_and(|position| position.on_loss == OnLoss::Mute)
    }

    fn learn_link(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Linked { incident, patch, terms } if !self.ended.contains(&terms.link) => {
                // Whoever issued it: what counts is whose it is.
                let Some(spec) = self.configuration.talkgroups.get(&terms.talkgroup) else { return };
                let link = Link {
                    incident: *incident,
                    patch: *patch,
                    talkgroup: terms.talkgroup.clone(),
                    owner: spec.agency.clone(),
                    owner_says: terms.direction,
                    host_says: Direction::Both,
                    audience: terms.grant.audience.clone(),
                    gain: terms.gain,
                    isolated: None,
                };
                self.links.insert(terms.link, link);
            }
            Event::Adjusted { link, direction, gain, .. } => {
                let host = self.links.get(link).and_then(|link| self.incidents.get(&link.incident));
                let host = host.map(|told| told.host.clone());
                let Actor::User { agency: Some(by), .. } = &recorded.actor else { return };
                let Some(link) = self.links.get_mut(link) else { return };
                link.gain = *gain;
                if link.owner == *by {
                    link.owner_says = *direction;
                }
                if host.as_ref() == Some(by) {
                    link.host_says = *direction;
                }
            }
            Event::Admitted { link, agencies, classes, .. } => {
                if let Some(link) = self.links.get_mut(link) {
                    link.audience.agencies.extend(agencies.iter().cloned());
                    link.audience.classes.extend(classes);
                }
            }
            Event::Unlinked { link, .. } => self.end_links_if(|id, _| id == link),
            Event::Isolated { link, direction, .. } => {
                if let Some(link) = self.links.get_mut(link) {
                    link.isolated = Some(*direction);
                }
            }
            Event::IsolationEnded { link, .. } => {
                if let Some(link) = self.links.get_mut(link) {
                    link.isolated = None;
                }
            }
            _ => {}
        }
    }

    fn told(&mut self, incident: IncidentId, change: impl FnOnce(&mut Told)) {
        if let Some(told) = self.incidents.get_mut(&incident) {
            change(told);
        }
    }

    fn end_links(&mut self, ends: impl Fn(&Link) -> bool) {
        self.end_links_if(|_, link| ends(link));
    }

    fn end_links_if(&mut self, ends: impl Fn(&LinkId, &Link) -> bool) {
        let ended: Vec<LinkId> = self.links.iter().filter(|(id, link)| ends(id, link)).map(|(id, _)| *id).collect();
        for id in ended {
            self.links.remove(&id);
            self.ended.insert(id);
        }
    }
}

/// Who may hear whom at one moment: bit `ear` of word `talker`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach(pub [u32; EARS_MAX]);

/// Devices of one world.
pub const EARS_MAX: usize = 20;

impl Reach {
    pub fn has(&self, talker: Ear, ear: Ear) -> bool {
        self.0[talker] >> ear & 1 == 1
    }

    /// What either of two moments allows.
    pub fn or(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    /// What both of two moments allow.
    pub fn and(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] & other.0[at]))
    }
}

/// Who may hear whom through each patch, the talkgroups' own ones among them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows(pub BTreeMap<PatchId, Reach>);

impl Rows {
    /// The truth for every patch and pair of devices.
    pub fn of(truth: &Truth, devices: &[Device]) -> Self {
        let homes = devices.iter().map(|device| PatchId::home_of(&device.talkgroup));
        let unmanned = truth.configuration.talkgroups.keys().map(PatchId::home_of);
        let patches: BTreeSet<PatchId> = homes.chain(unmanned).chain(truth.incident_patches()).collect();
        let reach = |patch: PatchId| {
            let mut reach = Reach::default();
            for (at, talker) in devices.iter().enumerate() {
                for (ear, device) in devices.iter().enumerate() {
                    reach.0[at] |= u32::from(truth.may_hear_in(patch, talker, device)) << ear;
                }
            }
            reach
        };
        Self(patches.into_iter().map(|patch| (patch, reach(patch))).collect())
    }

    /// Through whatever patch.
    pub fn reach(&self) -> Reach {
        self.0.values().fold(Reach::default(), |all, reach| all.or(reach))
    }

    /// The ears of a talker in one patch.
    pub fn ears(&self, patch: PatchId, talker: Ear) -> u32 {
        self.0.get(&patch).map_or(0, |reach| reach.0[talker])
    }

    /// What both of two moments allow.
    pub fn and(&self, other: &Self) -> Self {
        let both = |(patch, reach): (&PatchId, &Reach)| Some((*patch, reach.and(other.0.get(patch)?)));
        Self(self.0.iter().filter_map(both).collect())
    }
}

/// Two different devices, a talker that can talk, and not two radios of one talkgroup.
fn can_talk(talker: &Device, ear: &Device) -> bool {
    let both_radios = talker.spec.role == PortRole::Radio && ear.spec.role == PortRole::Radio;
    talker.port != ear.port
        && talker.spec.role != PortRole::Recorder
        && !(both_radios && talker.talkgroup == ear.talkgroup)
}

#[derive(Clone, Copy)]
enum Way {
    Talks,
    Hears,
}

/// Whether one side's owner wants the other side's device to hear it and to be heard by it.
fn admits(link: &Link, other: &Link, device: &Device) -> bool {
    let agencies = link.owner == other.owner
        || link.audience.agencies.contains(&other.owner)
        || link.audience.classes.contains(&PartyClass::LaterAgencies);
    let class = match device.spec.role {
        PortRole::Recorder => Some(PartyClass::Recording),
        PortRole::Radio | PortRole::Phone | PortRole::Client | PortRole::Console => None,
    };
    agencies && (link.owner == other.owner || class.is_none_or(|class| link.audience.classes.contains(&class)))
}
