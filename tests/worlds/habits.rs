//! What the people of some worlds do beside what all do: hosts who rule the floor in mid-speech, crowds who talk into
//! each other, administrators who change, remove and put back gateways. Drawn from a stream of chance of its own, so that a world without a habit is what it was before there was
//! any.

use crosspatch::domain::audio::Gain;
use crosspatch::domain::command::{Command, Principal};
use crosspatch::domain::configuration::Configuration;
use crosspatch::domain::floor::{FloorMode, FloorPolicy};
use crosspatch::domain::id::{GatewayId, PatchId};
use crosspatch::domain::random::Entropy;
use crosspatch::domain::time::MonoTime;

use super::dispatchers;
use super::field::Field;
use super::geography::LINE;
use super::reference::Truth;

/// The chance of habits, and which there are.
pub struct Habits {
    chance: Entropy,
    rules: bool,
    crowds: bool,
    files: bool,
}

impl Habits {
    /// Nobody has any.
    pub const fn none() -> Self {
        Self { chance: Entropy::new(0), rules: false, crowds: false, files: false }
    }

    pub fn of(seed: u64) -> Self {
        let mut chance = Entropy::new(seed.wrapping_mul(0xa076_1d64_78bd_642f) ^ 0x4ab1);
        let (rules, crowds, files) = (chance.percent(20), chance.percent(15), chance.percent(20));
        Self { chance, rules, crowds, files }
    }

    /// What somebody commands now. `file` is what the administrators began with.
    pub fn command(&mut self, truth: &Truth, file: &Configuration) -> Option<(Principal, Command)> {
        match self.chance.below(50) {
            0 | 1 if self.rules => self.rule(truth),
            2 if self.files => self.reload(truth, file),
            _ => None,
        }
    }

    /// A host has its way with a floor.
    fn rule(&mut self, truth: &Truth) -> Option<(Principal, Command)> {
        let patches = truth.incidents.iter().flat_map(|(id, told)| told.patches.iter().map(move |of| (*id, told, of)));
        let is_talked = |patch: &PatchId| truth.talks.iter().any(|(of, _)| of == patch);
        let talked = pick(patches.clone().filter(|(_, _, (patch, _))| is_talked(patch)), &mut self.chance);
        let any = pick(patches, &mut self.chance);
        let (incident, told, (patch, name)) = talked.filter(|_| self.chance.percent(70)).or(any)?;
        let (host, name) = (dispatchers::dispatcher(&told.host), name.clone());
        let command = match self.chance.below(10) {
            0..=3 => Command::SetFloor { incident, name, floor: self.floor() },
            4..=5 => {
                let here = truth.talks.iter().filter(|(of, _)| of == patch);
                let (_, burst) = pick(here, &mut self.chance)?;
                Command::Revoke { incident, name, burst: Some(*burst) }
            }
            6..=7 => Command::AddPatch { incident, name: super::geography::patch_name("tactical"), floor: None },
            _ => Command::ClosePatch { incident, name },
        };
        Some((host, command))
    }

    /// A file with another gateway, or without one, or with one that was gone; and the owner's yes to the last.
    fn reload(&mut self, truth: &Truth, file: &Configuration) -> Option<(Principal, Command)> {
        let mut changed = truth.configuration.clone();
        let gone = file.gateways.keys().filter(|id| !changed.gateways.contains_key(*id));
        if let Some(id) = pick(gone, &mut self.chance).filter(|_| self.chance.percent(70)) {
            let owner = &file.gateways[id].agency;
            if self.chance.percent(50) {
                return Some((dispatchers::dispatcher(owner), Command::ConfirmChange { agency: owner.clone() }));
            }
            changed.gateways.insert(id.clone(), file.gateways[id].clone());
        } else {
            let id = pick(changed.gateways.keys(), &mut self.chance)?.clone();
            self.change(&mut changed, &id);
        }
        Some((dispatchers::admin(), Command::Adopt { configuration: Box::new(changed) }))
    }

    fn change(&mut self, configuration: &mut Configuration, id: &GatewayId) {
        let Some(gateway) = configuration.gateways.get_mut(id).filter(|gateway| gateway.talkgroup.as_str() != LINE)
        else {
            return;
        };
        let port = &mut gateway.port;
        match self.chance.below(8) {
            0 => port.receive.talk_limit_ms = [1_000, 2_000, 60_000][self.chance.below(3) as usize],
            1 => port.receive.end_ms = [120, 300][self.chance.below(2) as usize],
            2 => port.transmit.hold_max_ms = [1_000, 2_500][self.chance.below(2) as usize],
            3 => port.trim = Gain([-300, 0][self.chance.below(2) as usize]),
            4 => port.level = !port.level,
            5 => {
                let group = gateway.talkgroup.clone();
                if let Some(group) = configuration.talkgroups.get_mut(&group) {
                    group.transmit.reverse();
                }
            }
            _ => {
                configuration.gateways.remove(id);
            }
        }
    }

    /// Somebody keys who does not wait until the others have spoken.
    pub fn press(&mut self, field: &mut Field, now: MonoTime) -> bool {
        if !self.crowds || self.chance.below(20) != 0 {
            return false;
        }
        let silent = |at: &usize| field.speakers[*at].said >= field.speakers[*at].until && !field.speakers[*at].is_far;
        let Some(at) = pick((0..field.speakers.len()).filter(silent), &mut self.chance) else { return false };
        let frames = 2 + self.chance.below(150) as u16;
        field.press(at, frames, false, now);
        true
    }

    fn floor(&mut self) -> FloorPolicy {
        FloorPolicy {
            mode: if self.chance.percent(15) { FloorMode::Open } else { FloorMode::Ptt },
            holders_max: 1 + self.chance.below(3) as u8,
            queue_max: self.chance.below(3) as u8,
            hang_ms: [0, 500, 2_000][self.chance.below(3) as usize],
            talk_limit_ms: [1_000, 3_000, 60_000][self.chance.below(3) as usize],
        }
    }
}

fn pick<T>(choices: impl Iterator<Item = T>, chance: &mut Entropy) -> Option<T> {
    let mut choices: Vec<T> = choices.collect();
    let at = chance.below(choices.len().max(1) as u64) as usize;
    (at < choices.len()).then(|| choices.swap_remove(at))
}
