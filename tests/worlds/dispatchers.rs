//! The people at the desks: what they command, sensible, foreign and absurd. They see what is published and nothing
//! else; whether they may is dispatch's to say. Not a judge.

use std::collections::BTreeSet;

use crosspatch::domain::audio::Gain;
use crosspatch::domain::command::{Command, Principal, Role};
use crosspatch::domain::configuration::{Configuration, OnLoss, Patchable};
use crosspatch::domain::floor::Priority;
use crosspatch::domain::id::{AgencyId, EmergencyId, IncidentId, LinkId, TalkgroupId};
use crosspatch::domain::incident::{CutTarget, Direction, LinkRequest, PartyClass};
use crosspatch::domain::random::Entropy;
use crosspatch::domain::talker::Alias;

use super::geography::{TEMPLATE, patch_name, position, template, user};
use super::reference::Truth;

/// A dispatcher of an agency.
pub fn dispatcher(agency: &AgencyId) -> Principal {
    Principal { user: user(agency.as_str()), agency: Some(agency.clone()), role: Role::Dispatcher }
}

/// The host's administrator.
pub fn admin() -> Principal {
    Principal { user: user("root"), agency: None, role: Role::Admin }
}

/// Somebody does something.
pub fn draw(truth: &Truth, entropy: &mut Entropy) -> Option<(Principal, Command)> {
    let agency = pick(truth.configuration.agencies.keys(), entropy)?.clone();
    let mut principal = dispatcher(&agency);
    if entropy.percent(2) {
        principal.role = Role::Observer;
    }
    let desk = Desk { truth, agency: &agency };
    let command = desk.command(entropy)?;
    if matches!(command, Command::Adopt { .. }) && entropy.percent(80) {
        principal = admin();
    }
    Some((principal, command))
}

/// A link request for a talkgroup with nothing special about it.
pub fn plain_request(talkgroup: &TalkgroupId) -> LinkRequest {
    LinkRequest {
        talkgroup: talkgroup.clone(),
        patch: None,
        direction: Direction::Both,
        gain: Gain::UNITY,
        priority: Priority(0),
        lease_s: None,
        hard_end_s: None,
        classes: BTreeSet::new(),
        shared_incidents: false,
        not_secure_reason: None,
    }
}

struct Desk<'a> {
    truth: &'a Truth,
    agency: &'a AgencyId,
}

impl Desk<'_> {
    fn command(&self, entropy: &mut Entropy) -> Option<Command> {
        let draw = entropy.below(100);
        Some(match draw {
            0..=7 => self.open(entropy),
            8..=13 => {
                let links = if entropy.percent(30) { self.requests(1, entropy) } else { Vec::new() };
                let agency = self.any_agency(entropy)?;
                Command::Invite { incident: self.incident(entropy)?, agency, note: String::new(), links }
            }
            14..=27 => self.answer(entropy)?,
            28..=39 => Command::Link { incident: self.incident(entropy)?, request: self.requests(1, entropy).pop()? },
            40..=44 => Command::Unlink { link: self.link(entropy)? },
            45..=50 => self.adjust(entropy)?,
            51..=54 => {
                let link = if entropy.percent(50) { self.link(entropy) } else { None };
                let by_s = [60, 1200, 40_000][entropy.below(3) as usize];
                Command::Extend { incident: self.incident(entropy)?, link, by_s }
            }
            55..=58 => Command::Admit {
                link: self.link(entropy)?,
                agencies: BTreeSet::from([self.any_agency(entropy)?]),
                classes: classes(entropy),
                not_secure_reason: entropy.percent(30).then(|| "no other radios".into()),
            },
            59..=63 => self.host(entropy)?,
            64..=66 => Command::Leave { incident: self.incident(entropy)? },
            67..=68 => Command::Remove { incident: self.incident(entropy)?, agency: self.any_agency(entropy)? },
            69..=71 => Command::Close { incident: self.incident(entropy)?, force: entropy.percent(40) },
            72..=76 => Command::Cut { target: self.target(entropy)? },
            77..=82 => self.restore(entropy)?,
            83..=89 => self.emergency(entropy)?,
            90..=92 => Command::Revoke { incident: self.incident(entropy)?, name: patch_name("main"), burst: None },
            93..=95 => Command::Beat { position: position(self.agency) },
            96 => Command::Adopt { configuration: Box::new(self.changed(entropy)) },
            97 => Command::ConfirmChange { agency: self.agency.clone() },
            98 => Command::AddPatch { incident: self.incident(entropy)?, name: patch_name("tactical"), floor: None },
            _ => self.absurd(entropy),
        })
    }

    fn open(&self, entropy: &mut Entropy) -> Command {
        if entropy.percent(40) {
            return Command::OpenIncident {
                template: Some(template(TEMPLATE)),
                title: None,
                kind: None,
                exercise: false,
                invite: Vec::new(),
                links: Vec::new(),
            };
        }
        Command::OpenIncident {
            template: None,
            title: Some("Search".into()),
            kind: Some("search".into()),
            exercise: entropy.percent(8),
            invite: self.any_agency(entropy).into_iter().filter(|agency| agency != self.agency).collect(),
            links: self.requests(1, entropy),
        }
    }

    fn answer(&self, entropy: &mut Entropy) -> Option<Command> {
        let rings = |told: &&IncidentId| self.truth.incidents[*told].invited.contains(self.agency);
        let ringing: Vec<&IncidentId> = self.truth.incidents.keys().filter(rings).collect();
        let incident = match pick(ringing.into_iter(), entropy) {
            Some(incident) => *incident,
            None => self.incident(entropy)?,
        };
        if entropy.percent(12) {
            return Some(Command::Decline { incident, reason: "no crew".into() });
        }
        Some(Command::Accept { incident, links: self.requests(1 + entropy.below(2), entropy) })
    }

    fn adjust(&self, entropy: &mut Entropy) -> Option<Command> {
        let direction = match entropy.below(5) {
            0 => Some(Direction::Listen),
            1 => Some(Direction::Talk),
            2 => Some(Direction::Both),
            _ => None,
        };
        let gain = entropy.percent(30).then(|| Gain([-600, -300, 0, 300][entropy.below(4) as usize]));
        let priority = entropy.percent(30).then(|| Priority(entropy.below(7) as u8));
        Some(Command::Adjust { link: self.link(entropy)?, direction, gain, priority })
    }

    fn host(&self, entropy: &mut Entropy) -> Option<Command> {
        let incident = self.incident(entropy)?;
        let offered = self.truth.incidents.get(&incident)?.offered.as_ref() == Some(self.agency);
        Some(match entropy.below(3) {
            0 => {
                let to = user(self.agency.as_str());
                Command::HandOver { incident, to, note: "quiet so far".into() }
            }
            _ if offered || entropy.percent(20) => Command::TakeHost { incident },
            _ => Command::OfferHost { incident, to: self.any_agency(entropy)? },
        })
    }

    fn restore(&self, entropy: &mut Entropy) -> Option<Command> {
        let pressed = pick(self.truth.cuts.iter(), entropy);
        let target = match pressed {
            Some(target) if entropy.percent(90) => target.clone(),
            Some(_) | None => self.target(entropy)?,
        };
        Some(Command::Restore { target })
    }

    fn emergency(&self, entropy: &mut Entropy) -> Option<Command> {
        let open = pick(self.truth.emergencies.keys(), entropy).copied();
        Some(match (open, entropy.below(3)) {
            (Some(emergency), 0) => Command::AcknowledgeEmergency { emergency },
            (Some(emergency), 1) => Command::ClearEmergency { emergency, reason: "false alarm".into() },
            (Some(_) | None, _) => {
                let talkgroup = self.talkgroup(entropy)?;
                Command::DeclareEmergency { talkgroup, talker: Alias::default(), place: "roof".into() }
            }
        })
    }

    fn target(&self, entropy: &mut Entropy) -> Option<CutTarget> {
        Some(match entropy.percent(30) {
            true if entropy.percent(90) => CutTarget::Agency(self.agency.clone()),
            true => CutTarget::Agency(self.any_agency(entropy)?),
            false => CutTarget::Talkgroup(self.talkgroup(entropy)?),
        })
    }

    /// A changed file: something small that widens, narrows or is nobody's business.
    fn changed(&self, entropy: &mut Entropy) -> Configuration {
        let mut changed = self.truth.configuration.clone();
        let talkgroup = self.talkgroup(entropy);
        let spec = talkgroup.and_then(|id| changed.talkgroups.get_mut(&id));
        match (entropy.below(5), spec) {
            (0, Some(spec)) => spec.patchable = Patchable::Never,
            (1, Some(spec)) => spec.patchable = Patchable::Ask,
            (2, Some(spec)) => spec.priority_max = Priority(9),
            (3, _) => changed.policy.lease_default_s = 900,
            (_, _) => {
                let responsible = changed.agencies.get_mut(self.agency).and_then(|agency| agency.responsible.as_mut());
                if let Some(responsible) = responsible {
                    responsible.on_loss = OnLoss::Keep;
                }
            }
        }
        changed
    }

    /// What no console would send.
    fn absurd(&self, entropy: &mut Entropy) -> Command {
        let nobody = entropy.next_u128();
        match entropy.below(4) {
            0 => Command::Accept { incident: IncidentId(nobody), links: self.requests(3, entropy) },
            1 => Command::Unlink { link: LinkId(nobody) },
            2 => Command::ClearEmergency { emergency: EmergencyId(nobody), reason: String::new() },
            _ => Command::Note { incident: IncidentId(nobody), text: "x".repeat(2_000) },
        }
    }

    fn requests(&self, most: u64, entropy: &mut Entropy) -> Vec<LinkRequest> {
        let mut requests = Vec::new();
        for _ in 0..most {
            let Some(talkgroup) = self.talkgroup(entropy) else { break };
            requests.push(LinkRequest {
                direction: [Direction::Both, Direction::Both, Direction::Both, Direction::Listen, Direction::Talk]
                    [entropy.below(5) as usize],
                lease_s: [None, Some(60), Some(1_200), Some(3_600)][entropy.below(4) as usize],
                hard_end_s: [None, None, Some(120), Some(7_200)][entropy.below(4) as usize],
                classes: classes(entropy),
                shared_incidents: entropy.percent(60),
                not_secure_reason: entropy.percent(30).then(|| "life at risk".into()),
                ..plain_request(&talkgroup)
            });
        }
        requests
    }

    /// Mostly its own, sometimes another's.
    fn talkgroup(&self, entropy: &mut Entropy) -> Option<TalkgroupId> {
        let foreign = entropy.percent(10);
        let talkgroups = self.truth.configuration.talkgroups.iter();
        pick(talkgroups.filter(|(_, spec)| foreign || spec.agency == *self.agency).map(|(id, _)| id), entropy).cloned()
    }

    fn link(&self, entropy: &mut Entropy) -> Option<LinkId> {
        let foreign = entropy.percent(25);
        let links = self.truth.links.iter();
        pick(links.filter(|(_, link)| foreign || link.owner == *self.agency).map(|(id, _)| id), entropy).copied()
    }

    fn incident(&self, entropy: &mut Entropy) -> Option<IncidentId> {
        let foreign = entropy.percent(15);
        let incidents = self.truth.incidents.iter();
        let mine = incidents.filter(|(_, told)| foreign || told.members.contains(self.agency));
        pick(mine.map(|(id, _)| id), entropy).copied()
    }

    fn any_agency(&self, entropy: &mut Entropy) -> Option<AgencyId> {
        pick(self.truth.configuration.agencies.keys(), entropy).cloned()
    }
}

fn classes(entropy: &mut Entropy) -> BTreeSet<PartyClass> {
    let mut classes = BTreeSet::new();
    for (class, percent) in [(PartyClass::LaterAgencies, 20), (PartyClass::Recording, 30)] {
        if entropy.percent(percent) {
            classes.insert(class);
        }
    }
    classes
}

fn pick<T>(choices: impl Iterator<Item = T>, entropy: &mut Entropy) -> Option<T> {
    let mut choices: Vec<T> = choices.collect();
    if choices.is_empty() {
        return None;
    }
    let at = entropy.below(choices.len() as u64) as usize;
    Some(choices.swap_remove(at))
}
