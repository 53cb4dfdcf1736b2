//! A whole world in one value: the clock, the network, the people, the daemon, the disk, and the checkers that watch.
//! One seed decides everything; nothing here reads a clock, a socket or a file.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use crosspatch::dispatch::control::{Input, RequestId};
use crosspatch::domain::event::Recorded;
use crosspatch::domain::id::{BurstId, PatchId};
use crosspatch::domain::port::ShardId;
use crosspatch::domain::random::Entropy;
use crosspatch::domain::report::Report;
use crosspatch::domain::time::{FRAME_MS, MonoTime, Now, WallTime};
use crosspatch::wire::rtp::RtpPacket;

use super::checkers::bursts::need::Papers;
use super::checkers::bursts::{Bursts, is_several};
use super::checkers::ears::{Ears, Scene};
use super::checkers::notices::{Notices, Verdict};
use super::checkers::sessions::Sessions;
use super::checkers::{Findings, Law};
use super::daemon::{Daemon, Told};
use super::faults::{Fault, Saboteur};
use super::field::{Datagram, Field};
use super::geography::Geography;
use super::habits::Habits;
use super::ingredients::Ingredients;
use super::journal::Journal;
use super::network::{Network, Quality};
use super::reference::{Reach, Rows, Truth};
use super::seat::{RING, Sent};
use super::stamp::{self, LIVE, Stamp};

/// Everything.
pub struct World {
    pub seed: u64,
    pub now: Now,
    pub entropy: Entropy,
    pub geography: Geography,
    pub habits: Habits,
    pub field: Field,
    pub network: Network<Datagram>,
    /// Frames between shards: at once through a ring, or late where two media threads run far apart.
    pub rings: Network<(ShardId, ShardId, Vec<u8>)>,
    pub ring_path: Option<Quality>,
    /// What has left for another site, for whoever owns the line to carry.
    pub line: Vec<Sent>,
    pub line_control: Vec<Sent>,
    /// Speech that came over the line since somebody looked, and whether a floor here was its.
    pub over_line: Vec<(Stamp, bool)>,
    pub daemon: Option<Daemon>,
    pub journal: Journal,
    /// What has been published, and what has been decided and may not be on disk yet.
    pub published: Truth,
    pub decided: Truth,
    /// In force and published though the journal does not have it.
    pub unrecorded: Vec<Recorded>,
    /// Who is heard once all is settled; who may be heard now; who must; who might lately.
    pub target: Rows,
    pub must: Rows,
    pub may: Reach,
    pub lately: [Reach; 3],
    pub decided_reach: Reach,
    pub cut_at: MonoTime,
    /// Pairs between which a gain stands, or stood so lately that a hold may still play what it was put on.
    pub levelled: Reach,
    levelled_before: Reach,
    /// Voices that each ear may be hearing, as of this breath.
    sounding: Vec<u32>,
    /// When each last had more than one to hear.
    several_at: Vec<MonoTime>,
    pub notices: Notices,
    /// Whose emergencies are on paper, and were at the last looks.
    papers: [Papers; 3],
    pub ears: Ears,
    pub bursts: Bursts,
    pub sessions: Sessions,
    pub findings: Findings,
    pub saboteur: Saboteur,
    pub requests: u64,
    pub told: BTreeMap<RequestId, Told>,
    pub refusals: BTreeMap<&'static str, u64>,
    pub transcript: Vec<Recorded>,
    pub wall_steps: u64,
    pub killed_wall: WallTime,
    pub hash: u64,
    pub happened: WorldCounts,
    pub beats: u64,
    /// Prints what happens.
    pub trace: bool,
}

/// What a world met; the run asserts that none of the named hard cases stays zero.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorldCounts {
    pub packets_in: u64,
    pub packets_out: u64,
    pub trunk_frames: u64,
    pub shards_far_apart: u64,
    pub condemned: u64,
    pub panics: u64,
    pub clock_steps: u64,
    pub kills: u64,
    pub kills_mid_burst: u64,
    pub emergencies_over_restart: u64,
    pub cuts_during_hold: u64,
    pub done: u64,
    pub not_recorded: u64,
    pub compared: u64,
    pub replays: u64,
    pub rings_full: u64,
    pub leaps: u64,
    pub floors_set: u64,
    pub patches_closed: u64,
    pub one_revoked: u64,
    /// Keys pressed into others' speech.
    pub crowd: u64,
    pub gateways_gone: u64,
    pub gateways_back: u64,
    pub gateways_changed: u64,
}

impl World {
    /// A world as its seed has it.
    pub fn generate(seed: u64, fault: Option<Fault>) -> Self {
        let mut entropy = Entropy::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xc705_5a7c);
        let mut geography = Geography::draw(&mut entropy);
        let mut ingredients = Ingredients::of(seed);
        ingredients.season(&mut geography, BEGAN);
        let clean = entropy.percent(50);
        let far_apart = geography.shards > 1 && entropy.percent(20);
        let mut world = Self::of(geography, seed, entropy, clean, fault);
        ingredients.season_field(&mut world.field);
        world.habits = Habits::of(seed);
        if far_apart {
            world.ring_path = Some(Quality { delay_ms: 30, ..Quality::CLEAN });
            world.happened.shards_far_apart = 1;
        }
        if world.saboteur.does(Fault::Unseeded) {
            world.entropy = Entropy::new(RandomState::new().build_hasher().finish());
        }
        world.start();
        world
    }

    /// A world for a scenario.
    pub fn plain(geography: Geography) -> Self {
        let mut world = Self::of(geography, 1, Entropy::new(1), true, None);
        world.start();
        world
    }

    pub fn of(geography: Geography, seed: u64, mut entropy: Entropy, clean: bool, fault: Option<Fault>) -> Self {
        let field = Field::new(&geography.configuration, &mut entropy, clean);
        let now = Now { mono: MonoTime::from_millis(3_600_000), wall: BEGAN };
        Self {
            seed,
            now,
            entropy,
            geography,
            habits: Habits::none(),
            field,
            network: Network::new(),
            rings: Network::new(),
            ring_path: None,
            line: Vec::new(),
            line_control: Vec::new(),
            over_line: Vec::new(),
            daemon: None,
            journal: Journal::new(),
            published: Truth::default(),
            decided: Truth::default(),
            unrecorded: Vec::new(),
            target: Rows::default(),
            must: Rows::default(),
            may: Reach::default(),
            lately: [Reach::default(); 3],
            decided_reach: Reach::default(),
            cut_at: MonoTime(0),
            levelled: Reach::default(),
            levelled_before: Reach::default(),
            sounding: Vec::new(),
            several_at: Vec::new(),
            notices: Notices::default(),
            papers: [Papers::default(); 3],
            ears: Ears::default(),
            bursts: Bursts::default(),
            sessions: Sessions::default(),
            findings: Findings::default(),
            saboteur: Saboteur::new(fault, seed, now),
            requests: 0,
            told: BTreeMap::new(),
            refusals: BTreeMap::new(),
            transcript: Vec::new(),
            wall_steps: 0,
            killed_wall: now.wall,
            hash: 0xcbf2_9ce4_8422_2325,
            happened: WorldCounts::default(),
            beats: 0,
            trace: false,
        }
    }

    /// For people: who there is.
    pub fn show_devices(&self) {
        for device in self.field.devices.iter().filter(|_| self.trace) {
            let (receive, transmit) = (device.spec.receive, device.spec.transmit);
            let voice = self
                .field
                .speakers
                .iter()
                .find(|speaker| speaker.through.iter().any(|ear| self.field.devices[*ear].port == device.port));
            println!(
                "{} {:?} voice {:?} {:?} level {} trim {:?}\n    {receive:?}\n    {transmit:?}\n    {:?}",
                device.gateway,
                device.port,
                voice.map(|speaker| speaker.voice),
                device.format().codec,
                device.spec.level,
                device.spec.trim,
                device.path,
            );
        }
    }

    /// 20 ms of everything: two breaths of each media thread, the second with its tick.
    pub fn beat(&mut self) {
        self.beats += 1;
        self.field.beat(self.now.mono, &mut self.network, &mut self.entropy);
        for half in 0..2 {
            self.pass(FRAME_MS / 2);
            self.breathe(half == 1);
        }
        for input in self.journal.beat(self.now.mono) {
            self.control(input);
        }
        self.control(Input::Tick);
        self.watch();
    }

    /// Time passes on both clocks.
    pub fn pass(&mut self, ms: u64) {
        self.now.mono = self.now.mono.plus_ms(ms);
        self.now.wall = self.now.wall.plus_ms(ms);
    }

    /// The wall clock is set.
    pub fn step_wall(&mut self, by_ms: i64) {
        self.now.wall.0 += by_ms;
        self.wall_steps += 1;
        self.happened.clock_steps += 1;
    }

    /// Nobody talks for a while: only dispatch's deadlines and the desks' heartbeats go on.
    pub fn leap(&mut self, ms: u64) {
        self.happened.leaps += 1;
        let step_ms = (ms / 3).clamp(100, 10_000);
        let end = self.now.mono.plus_ms(ms);
        while self.now.mono < end {
            self.pass(step_ms);
            self.field.report(self.now.mono, &mut self.network, &mut self.entropy);
            self.breathe(true);
            for input in self.journal.beat(self.now.mono) {
                self.control(input);
            }
            self.control(Input::Tick);
            self.breathe(true);
            self.sessions.check_ends(self.now.mono, &mut self.findings);
            // A tone keys transmitters, and others hear them.
            let mut beats = RINGING_BEATS;
            while beats > 0 && self.notices.rings(self.now.mono) {
                self.beat();
                beats -= 1;
            }
        }
        self.watch();
    }

    /// Something that happened, for the comparison of two runs.
    pub fn note(&mut self, what: &str) {
        if self.trace {
            println!("{:>10} {what}", self.now.mono.as_millis());
        }
        self.mix(what.as_bytes());
    }

    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// One breath of every media thread.
    fn breathe(&mut self, tick: bool) {
        let mut arrivals: Vec<Datagram> = Vec::new();
        while let Some((_, datagram)) = self.network.arrived(self.now.mono) {
            self.happened.packets_in += 1;
            if self.trace {
                let gateway = &self.field.devices[datagram.to].gateway;
                println!("{:>10} <- {gateway} {:?}", self.now.mono.as_millis(), datagram.stamp);
            }
            if self.daemon.is_some() && !datagram.control {
                let device = &self.field.devices[datagram.to];
                if let Some(stamp) = datagram.stamp.filter(|stamp| device.is_line && stamp.air == LIVE) {
                    self.over_line.push((stamp, self.bursts.is_talker(datagram.to, &self.target)));
                }
                match datagram.stamp {
                    Some(stamp) => self.bursts.arrived(datagram.to, stamp),
                    None => self.bursts.arrived_mixed(datagram.to),
                }
            }
            arrivals.push(datagram);
        }
        while let Some((_, (from, to, frame))) = self.rings.arrived(self.now.mono) {
            if let Some(daemon) = &mut self.daemon {
                daemon.seats[usize::from(to.0)].trunk(from, frame, false);
            }
        }
        let seats = self.daemon.as_ref().map_or(0, |daemon| daemon.seats.len());
        for at in 0..seats {
            self.breathe_seat(at, &arrivals, tick);
        }
    }

    fn breathe_seat(&mut self, at: usize, arrivals: &[Datagram], tick: bool) {
        let now = self.now.mono;
        let Some(seat) = self.daemon.as_mut().and_then(|daemon| daemon.seats.get_mut(at)) else { return };
        if seat.is_stuck(now) {
            self.bursts.disturb(now);
            return; // its sockets drop what comes meanwhile
        }
        let mine: Vec<Datagram> = arrivals.iter().filter(|datagram| seat.has(datagram.to)).cloned().collect();
        let mut flushed = seat.round(&mine, tick, now, &self.field.devices);
        let (id, most) = (seat.id, seat.limits().outbox_packets);
        if flushed.packets.len() > most {
            self.findings.broken(Law::Bounded, now, || format!("{id:?} queues more than its limit"));
        }
        self.saboteur.reports(&mut flushed.reports);
        let (first, then) = told_before_packets(flushed.reports);
        first.into_iter().for_each(|report| self.report(report));
        self.saboteur.packets(&mut flushed.packets, &self.field, &self.target.reach(), now);
        if !flushed.packets.is_empty() {
            self.sounding = self.bursts.sounding(&self.target, self.field.devices.len(), now);
            self.several_at.resize(self.sounding.len(), MonoTime(0));
            for (at, sounding) in self.several_at.iter_mut().zip(&self.sounding) {
                *at = if is_several(*sounding) { now } else { *at };
            }
        }
        for sent in flushed.packets {
            self.depart(&sent);
            if self.field.devices[sent.ear].is_line {
                self.line.push(sent);
            }
        }
        let to_line = |sent: &Sent| self.field.devices[sent.ear].is_line;
        self.line_control.extend(flushed.controls.into_iter().filter(to_line));
        for (to, frame) in flushed.frames {
            self.happened.trunk_frames += 1;
            self.cross(id, to, frame);
        }
        then.into_iter().for_each(|report| self.report(report));
    }

    /// A frame for another shard.
    fn cross(&mut self, from: ShardId, to: ShardId, frame: Vec<u8>) {
        self.mix(&frame);
        let frame = self.saboteur.frame(frame);
        if let Some(path) = self.ring_path {
            self.rings.send((from, to, frame), path, self.now.mono, &mut self.entropy);
            return;
        }
        let endless = self.saboteur.does(Fault::EndlessRing);
        let Some(daemon) = &mut self.daemon else { return };
        if let Some(seat) = daemon.seats.get_mut(usize::from(to.0)) {
            let full = seat.ring_full;
            seat.trunk(from, frame, endless);
            self.happened.rings_full += seat.ring_full - full;
            if seat.ring_full > full {
                self.bursts.disturb(self.now.mono); // what was lost may have been a beginning or an end
            }
            if seat.frames_waiting() > RING {
                self.findings
                    .broken(Law::Bounded, self.now.mono, || format!("the ring to {to:?} takes more than it holds"));
            }
        }
    }

    /// A packet for a device.
    fn depart(&mut self, sent: &Sent) {
        self.happened.packets_out += 1;
        self.mix(&sent.bytes);
        let Ok(packet) = RtpPacket::parse(&sent.bytes) else {
            self.findings.broken(Law::RelayBeforeMix, self.now.mono, || "a packet that is no RTP was sent".into());
            return;
        };
        let said = self.ears.read(sent.ear, &self.field.devices[sent.ear], packet.payload);
        if self.trace {
            let device = &self.field.devices[sent.ear];
            let (ms, sequence) = (self.now.mono.as_millis(), packet.header.sequence);
            let said = stamp::shown(device.format(), &said);
            println!("{ms:>10} -> {} {sequence} {said} {:?}", device.gateway, device.transmitter);
        }
        let on_air = self.field.take(sent.ear, &packet, &said, self.now.mono, &mut self.entropy);
        let _ = on_air;
        let lately = self.lately.iter().fold(self.may, |all, reach| all.or(reach));
        let scene = Scene {
            now: self.now.mono,
            field: &self.field,
            may: &self.may,
            decided: &self.decided_reach,
            lately: &lately,
            sounding: &self.sounding,
            several_at: &self.several_at,
            levelled: &self.levelled.or(&self.levelled_before),
        };
        let (ssrc, sequence) = (packet.header.ssrc, packet.header.sequence);
        let rate_hz = stamp::rate_hz(self.field.devices[sent.ear].format());
        let is_idle = self.sounding[sent.ear] == 0;
        match self.notices.judge(sent.ear, &said, rate_hz, is_idle, self.now.mono) {
            Verdict::Speech => self.ears.departed(sent.ear, ssrc, sequence, &said, &scene, &mut self.findings),
            verdict => {
                self.ears.check_sequence(sent.ear, ssrc, sequence, &scene, &mut self.findings);
                if let Verdict::NoticeOr(voice) = verdict {
                    self.field.disturb_over(voice);
                }
            }
        }
    }

    /// Pairs between which a gain stands.
    pub fn levels(&self) -> Reach {
        let mut levelled = Reach::default();
        let gained = |ear: usize| {
            let device = &self.field.devices[ear];
            let links = self.published.links.values().chain(self.decided.links.values());
            links.filter(|link| link.talkgroup == device.talkgroup).any(|link| link.gain.0 != 0)
        };
        for ear in (0..self.field.devices.len()).filter(|ear| gained(*ear)) {
            levelled.0.iter_mut().for_each(|row| *row |= 1 << ear);
        }
        levelled
    }

    /// Whose emergencies are on paper: in doubt for whoever was named at one of the last looks, beyond doubt for whoever
    /// was named at all of them.
    pub fn papers(&self) -> Papers {
        self.papers.iter().fold(self.papers_now(), |all, then| Papers {
            surely: all.surely & then.surely,
            maybe: all.maybe | then.maybe,
        })
    }

    fn papers_now(&self) -> Papers {
        let (published, decided) =
            (self.published.in_need(&self.field.devices), self.decided.in_need(&self.field.devices));
        let told = if self.routes_settled() { u32::MAX } else { 0 };
        Papers { surely: published & decided & told, maybe: published | decided }
    }

    /// Once a beat: the checkers that look at the whole.
    fn watch(&mut self) {
        let now = self.now.mono;
        self.bursts.beat(&self.must);
        let papers = self.papers();
        self.bursts.stand_beside(papers, &self.field, now);
        self.bursts.judge(&self.field, &self.ears, now, &mut self.findings);
        if self.beats.is_multiple_of(50) {
            self.bursts.forget_lost(now);
            self.sessions.check_ends(now, &mut self.findings);
            self.check_agreement();
            self.lately = [self.may, self.lately[0], self.lately[1]];
            self.papers = [self.papers_now(), self.papers[0], self.papers[1]];
        }
        if self.beats.is_multiple_of(200) {
            (self.levelled_before, self.levelled) = (self.levelled, self.levels());
        }
        if self.beats.is_multiple_of(400) {
            self.check_replay();
        }
    }
}

/// A burst begins in the books before its first packet is judged, and ends before it begins once more; everything else is
/// told after the packets.
fn told_before_packets(reports: Vec<Report>) -> (Vec<Report>, Vec<Report>) {
    let begins = |told: &Report, of: (BurstId, PatchId)| matches!(told, Report::BurstStarted { burst, patch, .. } if (*burst, *patch) == of);
    let before = |(at, told): (usize, &Report)| match told {
        Report::BurstStarted { .. } => true,
        Report::BurstEnded { burst, patch, .. } => reports[at..].iter().any(|told| begins(told, (*burst, *patch))),
        _ => false,
    };
    let before: Vec<bool> = reports.iter().enumerate().map(before).collect();
    let (first, then): (Vec<_>, Vec<_>) = reports.into_iter().zip(before).partition(|(_, before)| *before);
    let told = |reports: Vec<(Report, bool)>| reports.into_iter().map(|(report, _)| report).collect();
    (told(first), told(then))
}

/// More tones in a row than fit into this end in the middle (20 ms each).
const RINGING_BEATS: u64 = 300;
/// The date of every world.
const BEGAN: WallTime = WallTime(1_795_000_000_000);
