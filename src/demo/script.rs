//! What happens in the demo, in order and in real time. The script speaks, orders as the three desks do, and notes what
//! ought to be heard; whether it was, the verdict finds out from recordings.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::demo::party::Party::{self, EmsRadio, FireChief, FireRadio, PoliceDesk, PoliceRadio};
use crate::demo::radio::Radio;
use crate::demo::stage::{Ended, Stage, VISITOR};
use crate::demo::track::Utterance;
use crate::demo::verdict::{Answered, Case, Expected, Timed, Verdict};
use crate::dispatch::view::{EmergencyView, Life};
use crate::domain::audio::MIX_FRAME;
use crate::domain::command::Command;
use crate::domain::event::Event;
use crate::domain::id::{AgencyId, EmergencyId, IncidentId, TalkgroupId, TemplateId};
use crate::domain::incident::{CutTarget, LinkRequest};
use crate::domain::talker::Alias;
use crate::domain::time::MonoTime;
use crate::io::clock;

/// One round of the script on a stage.
pub struct Script<'a> {
    stage: &'a mut Stage,
    incident: IncidentId,
    phase: String,
    cases: Vec<Case>,
    times: Vec<Timed>,
    answers: Vec<Answered>,
}

/// Opens the incident from its template: one agency hosts, one accepts by its written agreement, one is asked.
pub fn open_incident(stage: &mut Stage) -> Result<IncidentId, Ended> {
    for desk in [&stage.police, &stage.fire, &stage.ems] {
        desk.beat()?;
    }
    stage.step("Fire opens an incident from the template harbour-fire; Police and EMS are invited.");
    let template = Some(TemplateId::new("harbour-fire").map_err(|fault| fault.to_string())?);
    let open = Command::OpenIncident {
        template,
        title: None,
        kind: None,
        exercise: false,
        invite: Vec::new(),
        links: Vec::new(),
    };
    let events = stage.fire.order(&open)?;
    let opened = events
        .iter()
        .find_map(|event| if let Event::IncidentOpened { incident, .. } = event { Some(*incident) } else { None });
    let incident = opened.ok_or("no incident was opened".to_owned())?;
    let police = &stage.police.agency;
    let by_agreement = |event: &Event| matches!(event, Event::Accepted { agency, by: Some(_), .. } if agency == police);
    if events.iter().any(by_agreement) {
        stage.step("Police accepts at once: its written agreement with Fire says yes.");
    } else {
        stage.step("Police accepts and links pd-1.");
        stage.police.order(&Command::Accept { incident, links: vec![link("pd-1")?] })?;
    }
    stage.wait(200)?;
    stage.step("EMS accepts and links ems-1.");
    stage.ems.order(&Command::Accept { incident, links: vec![link("ems-1")?] })?;
    admit(stage, incident)?;
    stage.wait(700)?;
    Ok(incident)
}

/// EMS came after Police had said yes: who joins later is heard only after each owner's own yes.
fn admit(stage: &Stage, incident: IncidentId) -> Result<(), Ended> {
    let roster = stage.police.roster()?;
    let links = roster.incidents.iter().filter(|view| view.incident == incident).flat_map(|view| &view.patches);
    for view in links.flat_map(|patch| &patch.links) {
        if view.owner == stage.police.agency && !view.audience.agencies.contains(&stage.ems.agency) {
            stage.step("Police lets EMS, who joined later, hear pd-1 and be heard there.");
            let agencies = BTreeSet::from([stage.ems.agency.clone()]);
            let admit = Command::Admit { link: view.link, agencies, classes: BTreeSet::new(), not_secure_reason: None };
            stage.police.order(&admit)?;
        }
    }
    Ok(())
}

/// A real softphone registers and calls the fire ground; whoever watches is told how theirs would.
pub fn a_phone_joins(stage: &mut Stage) -> Result<(), Ended> {
    let ((user, password), registrar) = (VISITOR, stage.registrar);
    stage.step(format!(
        "A softphone of yours may join: registrar {registrar} (UDP), user {user}, password {password}; it calls \
         {NUMBER}, talks after * until #. Emergency numbers reach nobody here."
    ));
    if stage.phone.is_none() {
        stage.step("The fire chief's phone is left out: baresip is not installed (Debian: baresip-core).");
        return Ok(());
    }
    stage.step(format!("The fire chief's softphone (baresip) registers the same way and calls {NUMBER}."));
    wait_for_phone(stage, Life::Registered)?;
    if let Some(phone) = &mut stage.phone {
        phone.dial(NUMBER)?;
    }
    wait_for_phone(stage, Life::InCall)
}

fn wait_for_phone(stage: &mut Stage, life: Life) -> Result<(), Ended> {
    let began = clock::mono();
    while clock::mono().since(began) < PHONE_WITHIN {
        let talkgroups = stage.fire.roster()?.talkgroups;
        let mut gateways = talkgroups.iter().flat_map(|talkgroup| &talkgroup.gateways);
        if gateways.any(|view| view.gateway.as_str() == FireChief.gateway() && view.life == life) {
            return Ok(());
        }
        stage.wait(50)?;
    }
    let within_s = PHONE_WITHIN.as_secs();
    Err(Ended::Fault(format!("the fire chief's phone is not \"{life:?}\" after {within_s} s; see phone/baresip.log")))
}

impl<'a> Script<'a> {
    /// The whole round and its verdict.
    pub fn round(stage: &'a mut Stage, incident: IncidentId) -> Result<Verdict, Ended> {
        stage.begin_recording();
        let (cases, times, answers) = (Vec::new(), Vec::new(), Vec::new());
        let mut script = Self { stage, incident, phase: String::new(), cases, times, answers };
        script.each_speaks()?;
        script
            .the_phone_talks("a phone talks", "The fire chief presses * on the phone, speaks, and lets go with #.")?;
        script.two_overlap()?;
        script.one_cuts_itself_out()?;
        script.it_comes_back()?;
        script.emergency()?;
        script.killed_in_mid_burst()?;
        let went_on = "The fire chief's call went on over the restart by itself: * again, and # again.";
        script.the_phone_talks("the phone after the restart", went_on)?;
        let Self { stage, cases, times, answers, .. } = script;
        let verdict = Verdict::of(cases, times, answers, &stage.recordings());
        stage.write_recordings()?;
        stage.judged(&verdict);
        Ok(verdict)
    }

    fn each_speaks(&mut self) -> Result<(), Ended> {
        self.phase = "each speaks once".to_owned();
        for speaker in [FireRadio, PoliceRadio, EmsRadio] {
            self.stage.step(format!("{} speaks.", agency_of(speaker)));
            let said = self.say(speaker, 1_500)?;
            self.wait(900)?;
            self.expect_others(speaker, &said, Expected::Heard);
            self.expect_noise_unheard(speaker, &said);
        }
        Ok(())
    }

    /// It speaks all the time; it is heard from its star to its hash.
    fn the_phone_talks(&mut self, phase: &str, step: &str) -> Result<(), Ended> {
        let Some(phone) = &mut self.stage.phone else { return Ok(()) };
        self.phase = phase.to_owned();
        phone.press('*')?;
        self.stage.step(step);
        self.wait(KEYED_MS)?;
        let said = self.hear_phone(1_300)?;
        self.wait(200)?;
        self.expect_others(FireChief, &said, Expected::Heard);
        if let Some(phone) = &mut self.stage.phone {
            phone.press('#')?;
        }
        self.wait(KEYED_MS)?;
        let said = self.hear_phone(900)?;
        self.phase = format!("{phase}, after its #");
        self.expect_others(FireChief, &said, Expected::NotHeard);
        // Until all of it would have been heard.
        self.wait(900)
    }

    /// So much of what the phone says from now on.
    fn hear_phone(&mut self, ms: usize) -> Result<Utterance, Ended> {
        let from = clock::mono();
        self.wait(ms as u64)?;
        Ok(Utterance { from, samples: ms * PER_MS })
    }

    /// Both key before either is heard, as happens on the air: a half-duplex radio that already transmits one voice
    /// cannot receive another. The second voice lies inside the first, so that at no time it is alone.
    fn two_overlap(&mut self) -> Result<(), Ended> {
        self.phase = "two at once".to_owned();
        self.stage.step("Fire and EMS key at the same moment: one voice on a radio, both at the police desk.");
        let fire = self.begin(FireRadio, 2_900)?;
        self.wait(60)?;
        let ems = self.begin(EmsRadio, 1_500)?;
        self.wait(2_900 + 1_000)?;
        self.expect(FireRadio, &fire, PoliceRadio, Expected::Heard);
        self.expect(FireRadio, &fire, PoliceDesk, Expected::Heard);
        self.expect(EmsRadio, &ems, PoliceDesk, Expected::Heard);
        self.expect(EmsRadio, &ems, PoliceRadio, Expected::NotHeard);
        Ok(())
    }

    fn one_cuts_itself_out(&mut self) -> Result<(), Ended> {
        self.phase = "ems cut out".to_owned();
        self.stage.step("EMS presses its red button: everything of EMS is out of the incident.");
        let target = CutTarget::Agency(self.stage.ems.agency.clone());
        self.stage.ems.order(&Command::Cut { target })?;
        // The two tones that tell EMS of it shall not be taken for Police.
        self.wait(1_300)?;
        self.stage.step("Police speaks; EMS must hear nothing.");
        let police = self.say(PoliceRadio, 1_300)?;
        self.wait(700)?;
        self.expect(PoliceRadio, &police, FireRadio, Expected::Heard);
        self.expect(PoliceRadio, &police, EmsRadio, Expected::Silence);
        self.stage.step("EMS speaks; nobody else must hear it.");
        let ems = self.say(EmsRadio, 1_300)?;
        self.wait(300)?;
        for listener in [PoliceRadio, PoliceDesk, FireRadio] {
            self.expect(EmsRadio, &ems, listener, Expected::Silence);
        }
        let why = self.stage.ems.why(&talkgroup("pd-1")?, &talkgroup("ems-1")?)?;
        self.stage.step(format!("EMS asks why ems-1 does not hear pd-1: \"{}\"", why.sentence));
        let first = why.causes.first().map_or("nothing", |cause| cause.code.as_str());
        self.expect_answer("EMS", "why ems-1 does not hear pd-1", "cut", first);
        Ok(())
    }

    fn it_comes_back(&mut self) -> Result<(), Ended> {
        self.phase = "ems back".to_owned();
        self.stage.step("EMS restores itself and links ems-1 again.");
        let target = CutTarget::Agency(self.stage.ems.agency.clone());
        self.stage.ems.order(&Command::Restore { target })?;
        let request = link("ems-1")?;
        self.stage.ems.order(&Command::Link { incident: self.incident, request })?;
        self.wait(700)?;
        let said = self.say(EmsRadio, 1_300)?;
        self.wait(900)?;
        self.expect_others(EmsRadio, &said, Expected::Heard);
        Ok(())
    }

    fn emergency(&mut self) -> Result<(), Ended> {
        self.phase = "emergency".to_owned();
        self.stage.step("EMERGENCY: Police declares one for officer 12 at pier 4; Fire and EMS acknowledge it.");
        let declare = Command::DeclareEmergency {
            talkgroup: talkgroup("pd-1")?,
            talker: Alias::new("Officer 12"),
            place: "pier 4".to_owned(),
        };
        let events = self.stage.police.order(&declare)?;
        let declared = |event: &Event| {
            if let Event::EmergencyDeclared { emergency, .. } = event { Some(*emergency) } else { None }
        };
        let emergency: EmergencyId = events.iter().find_map(declared).ok_or("no emergency was declared".to_owned())?;
        for partner in [&self.stage.fire, &self.stage.ems] {
            partner.order(&Command::AcknowledgeEmergency { emergency })?;
        }
        let said = self.say(PoliceRadio, 1_300)?;
        self.wait(900)?;
        self.expect_others(PoliceRadio, &said, Expected::Heard);
        self.expect_emergencies("Officer 12 at pier 4, seen by ems, fire")?;
        self.stage.step("Police, whose officer it was, clears the emergency.");
        self.stage.police.order(&Command::ClearEmergency { emergency, reason: "officer is safe".to_owned() })?;
        self.expect_emergencies("none")
    }

    /// What each desk sees of open emergencies.
    fn expect_emergencies(&mut self, expected: &str) -> Result<(), Ended> {
        let stage = &*self.stage;
        let mut seen = Vec::new();
        for (name, desk) in [("Police", &stage.police), ("Fire", &stage.fire), ("EMS", &stage.ems)] {
            let open: Vec<String> = desk.roster()?.emergencies.iter().map(in_words).collect();
            seen.push((name, if open.is_empty() { "none".to_owned() } else { open.join("; ") }));
        }
        seen.iter().for_each(|(name, found)| self.expect_answer(name, "open emergencies", expected, found));
        Ok(())
    }

    /// The daemon dies while somebody talks and comes back while he still does. Nobody commands anything.
    fn killed_in_mid_burst(&mut self) -> Result<(), Ended> {
        self.phase = "killed in mid-burst".to_owned();
        self.stage.step("Fire speaks, and the daemon is killed (SIGKILL) in the middle of it.");
        let said = self.begin(FireRadio, 5_000)?;
        self.wait(1_700)?;
        let dead_at = self.stage.daemon.kill()?;
        self.stage.daemon.start_again()?;
        self.wait(3_300 + 900)?;
        self.stage.daemon.wait_until_ready()?;
        self.expect_others(FireRadio, &part(&said, 0, BEFORE_KILL_MS), Expected::Heard);
        self.phase = "after the restart".to_owned();
        self.expect_others(FireRadio, &part(&said, 5_000 - AFTER_KILL_MS, AFTER_KILL_MS), Expected::Heard);
        // A phone keeps its packets to itself: its recording alone says when it hears.
        for listener in [PoliceRadio, PoliceDesk, EmsRadio] {
            // What was on its way when the daemon died is no sign of its return.
            let took = self.stage.first_speech_after(listener, dead_at.plus_ms(ON_THE_WAY_MS));
            let took_ms = took.map(|at| at.ms_since(dead_at));
            let what = "speech again after SIGKILL";
            self.times.push(Timed::new(&self.phase, listener.name(), what, took_ms, RESTART_MOST_MS));
        }
        let times: Vec<String> =
            self.times.iter().filter_map(|time| Some(format!("{} {} ms", time.listener, time.took_ms?))).collect();
        self.stage
            .step(format!("It was started again; without any command speech was back after: {}.", times.join(", ")));
        Ok(())
    }

    /// Speaks and waits until it is said.
    fn say(&mut self, speaker: Party, ms: usize) -> Result<Utterance, Ended> {
        let utterance = self.begin(speaker, ms)?;
        self.wait(ms as u64)?;
        Ok(utterance)
    }

    /// Speaks; returns when the first frame has left. The squelch noise behind it is no part of what is returned.
    fn begin(&mut self, speaker: Party, ms: usize) -> Result<Utterance, Ended> {
        let frames = self.stage.speech.get_mut(&speaker).map(|speech| speech.say(ms)).unwrap_or_default();
        let samples = frames.len() * MIX_FRAME;
        let radio = &self.stage.radios[&speaker];
        let before = radio.track().utterances().len();
        radio.say(frames);
        loop {
            if let Some(utterance) = self.stage.radios[&speaker].track().utterances().get(before) {
                return Ok(Utterance { from: utterance.from, samples });
            }
            self.wait(5)?;
        }
    }

    fn wait(&mut self, ms: u64) -> Result<(), Ended> {
        self.stage.wait(ms)
    }

    fn expect_answer(&mut self, desk: &str, what: &str, expected: &str, found: &str) {
        let [desk, what, expected, found] = [desk, what, expected, found].map(str::to_owned);
        self.answers.push(Answered { phase: self.phase.clone(), desk, what, expected, found });
    }

    /// Everybody but the speaker.
    fn expect_others(&mut self, speaker: Party, said: &Utterance, expected: Expected) {
        let others: Vec<Party> = self.stage.parties().filter(|listener| *listener != speaker).collect();
        for listener in others {
            self.expect(speaker, said, listener, expected);
        }
    }

    /// The declared squelch tail of a radio reaches nobody.
    fn expect_noise_unheard(&mut self, speaker: Party, said: &Utterance) {
        let samples = self.stage.radios.get(&speaker).map_or(0, Radio::squelch_samples);
        if samples == 0 {
            return;
        }
        let noise = Utterance { from: moment_after(said.from, said.samples), samples };
        let phase = std::mem::replace(&mut self.phase, "squelch noise".to_owned());
        self.expect_others(speaker, &noise, Expected::NotHeard);
        self.phase = phase;
    }

    fn expect(&mut self, speaker: Party, said: &Utterance, listener: Party, expected: Expected) {
        let from_sample = self.stage.track(speaker).sample_at(said.from);
        self.cases.push(Case {
            phase: self.phase.clone(),
            speaker: speaker.name().to_owned(),
            listener: listener.name().to_owned(),
            expected,
            from_sample,
            samples: said.samples,
        });
    }
}

fn in_words(open: &EmergencyView) -> String {
    let mut seen: Vec<&str> = open.acknowledged.iter().map(AgencyId::as_str).collect();
    seen.sort_unstable();
    format!("{} at {}, seen by {}", open.talker, open.place, seen.join(", "))
}

/// A part of an utterance.
fn part(said: &Utterance, from_ms: usize, ms: usize) -> Utterance {
    Utterance { from: moment_after(said.from, from_ms * PER_MS), samples: ms * PER_MS }
}

fn moment_after(from: MonoTime, samples: usize) -> MonoTime {
    MonoTime(from.0 + samples as u64 * 1_000_000 / PER_MS as u64)
}

fn link(talkgroup_id: &str) -> Result<LinkRequest, String> {
    talkgroup(talkgroup_id).map(LinkRequest::plain)
}

fn talkgroup(id: &str) -> Result<TalkgroupId, String> {
    TalkgroupId::new(id).map_err(|fault| fault.to_string())
}

fn agency_of(party: Party) -> &'static str {
    match party {
        PoliceRadio | PoliceDesk => "Police",
        FireRadio | FireChief => "Fire",
        EmsRadio => "EMS",
    }
}

/// The number of the fire ground.
const NUMBER: &str = "6001";
/// A phone that starts on a busy machine.
const PHONE_WITHIN: Duration = Duration::from_secs(15);
/// From a key of the phone until it counts for everybody, grants of trunks included.
const KEYED_MS: u64 = 700;
/// Samples of the recordings in a millisecond.
const PER_MS: usize = MIX_FRAME / 20;
/// Said and delivered before the kill, the trunk's grant and a jitter buffer included.
const BEFORE_KILL_MS: usize = 900;
/// The end of the speech that must be heard again.
const AFTER_KILL_MS: usize = 1_400;
/// Loopback has nothing on its way for longer.
const ON_THE_WAY_MS: u64 = 10;
/// The design's promise for static gateways.
const RESTART_MOST_MS: u64 = 2_000;
