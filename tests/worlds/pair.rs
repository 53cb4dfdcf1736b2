//! Two sites: two whole daemons in one simulated world, each with its own agencies, desks, journal and shards, and one
//! line between a port of each. Both are watched by every checker of a single world, and [`Joint`] watches what only
//! both together can keep. The first site is home: what comes from it outranks at the other.

use std::collections::{BTreeMap, BTreeSet};

use crosspatch::domain::command::Command;
use crosspatch::domain::floor::{FloorPolicy, Priority};
use crosspatch::domain::id::{IncidentId, LinkId};
use crosspatch::domain::port::ShardId;
use crosspatch::domain::random::Entropy;
use crosspatch::domain::time::MonoTime;

use super::checkers::joint::Joint;
use super::checkers::{Findings, Law};
use super::dispatchers::{dispatcher, plain_request};
use super::faults::{next_frame, with_ssrc};
use super::field::{Datagram, Ear};
use super::geography::{AGENCIES, Geography, LINE, LINE_OWNER, TEMPLATE, agency, talkgroup, template};
use super::network::Quality;
use super::run::{self, Cases, Life};
use super::seat::Sent;
use super::stamp::{self, LIVE};
use super::world::World;

/// Two sites and the line.
pub struct Pair {
    /// Home, and the other.
    pub sites: [World; 2],
    pub line: Line,
    pub joint: Joint,
    pub findings: Findings,
    /// Nobody commands after the beginning and nothing breaks but the line.
    pub is_calm: bool,
    pub entropy: Entropy,
    fault: Option<LineFault>,
    /// What left a site last, for a fault to say on.
    kept: [Option<(Sent, MonoTime)>; 2],
    pub happened: PairCounts,
}

/// What is between them.
pub struct Line {
    pub quality: Quality,
    /// The line's device at each site.
    pub ears: [Ear; 2],
    /// Nothing passes while it is down.
    pub is_up: bool,
    /// When that changed last.
    pub since: MonoTime,
}

/// What pairs met; the run asserts that none stays zero.
#[derive(Clone, Copy, Debug, Default)]
pub struct PairCounts {
    pub packets: u64,
    pub lost_lines: u64,
    pub restarts: u64,
    pub calm: u64,
    pub strict: u64,
}

/// One thing done wrong between two sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFault {
    /// A far floor's no arrives as a yes.
    YesForNo,
    /// Speech goes on over the line after its talkgroup was cut.
    TalksAfterCut,
    /// While the line is down each site believes that the other grants.
    YesFromNobody,
    /// Nobody has said which site is home.
    NoHome,
}

impl LineFault {
    pub const ALL: [Self; 4] = [Self::YesForNo, Self::TalksAfterCut, Self::YesFromNobody, Self::NoHome];

    /// The promise it breaks.
    pub const fn law(self) -> Law {
        match self {
            Self::YesForNo => Law::NothingLost,
            Self::TalksAfterCut => Law::InstantAndDurable,
            Self::YesFromNobody => Law::Closes,
            Self::NoHome => Law::OneVoice,
        }
    }
}

impl Pair {
    /// Two sites as their seed has them.
    pub fn generate(seed: u64, fault: Option<LineFault>) -> Self {
        let mut entropy = Entropy::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x51fe);
        let strict = entropy.percent(60);
        let floor =
            if strict { FloorPolicy { holders_max: 1, ..FloorPolicy::default() } } else { FloorPolicy::default() };
        let is_calm = entropy.percent(50);
        let quality = match entropy.below(4) {
            0 => Quality::draw(&mut entropy),
            1 => Quality { delay_ms: 120, ..Quality::CLEAN },
            _ => Quality { delay_ms: 30, ..Quality::CLEAN },
        };
        let clean = is_calm || entropy.percent(50);
        let mut site = |number: u64| {
            let mut chance = Entropy::new(entropy.next_u64());
            let geography = Geography::draw_site(&mut chance, floor);
            World::of(geography, seed ^ number << 32, chance, clean, None)
        };
        let sites = [site(0), site(1)];
        let mut pair = Self::join(sites, quality, entropy);
        (pair.is_calm, pair.fault) = (is_calm, fault);
        pair.happened.calm = u64::from(is_calm);
        pair.happened.strict = u64::from(strict);
        pair
    }

    /// Two sites of a scenario.
    pub fn plain(agencies: usize) -> Self {
        let floor = FloorPolicy { holders_max: 1, ..FloorPolicy::default() };
        let site = |seed| {
            let geography = Geography::plain_site(agencies, floor);
            World::of(geography, seed, Entropy::new(seed), true, None)
        };
        Self::join([site(1), site(2)], Quality { delay_ms: 30, ..Quality::CLEAN }, Entropy::new(3))
    }

    fn join(mut sites: [World; 2], quality: Quality, entropy: Entropy) -> Self {
        let counts = [sites[0].field.speakers.len(), sites[1].field.speakers.len()];
        sites[0].field.join(0, counts[1]);
        sites[1].field.join(counts[0], 0);
        let ear = |world: &World| world.field.devices.iter().position(|device| device.is_line).unwrap_or_default();
        let ears = [ear(&sites[0]), ear(&sites[1])];
        let since = sites[0].now.mono;
        sites.iter_mut().for_each(World::start);
        Self {
            sites,
            line: Line { quality, ears, is_up: true, since },
            joint: Joint::default(),
            findings: Findings::default(),
            is_calm: false,
            entropy,
            fault: None,
            kept: [None, None],
            happened: PairCounts::default(),
        }
    }

    /// 20 ms at both sites and on the line.
    pub fn beat(&mut self) {
        for at in 0..2 {
            self.sites[at].beat();
            self.carry(at);
        }
        let lossy = !self.line.quality.is_clean() || !self.line.is_up;
        for at in 0..2 {
            let (here, there) = self.sites.split_at_mut(1);
            let (own, other) = if at == 0 { (&mut here[0], &there[0]) } else { (&mut there[0], &here[0]) };
            own.field.mirror(&other.field, lossy);
        }
        self.joint.watch(&mut self.sites, &self.line, self.is_calm, &mut self.findings);
    }

    /// The line breaks, or is mended.
    pub fn set_line(&mut self, is_up: bool) {
        if self.line.is_up != is_up {
            self.happened.lost_lines += u64::from(!is_up);
            (self.line.is_up, self.line.since) = (is_up, self.sites[0].now.mono);
            self.sites.iter_mut().for_each(|site| site.note(if is_up { "the line is up" } else { "the line is down" }));
        }
    }

    /// What a site sent to the other one.
    fn carry(&mut self, from: usize) {
        let now = self.sites[from].now.mono;
        let mut packets = std::mem::take(&mut self.sites[from].line);
        let controls = std::mem::take(&mut self.sites[from].line_control);
        self.sabotage(from, &mut packets, now);
        for sent in &packets {
            self.joint.left(from, sent, &self.sites[from], &self.line, now, &mut self.findings);
        }
        if !self.line.is_up {
            return;
        }
        let rtp = packets.into_iter().map(|sent| (sent, false));
        for (sent, control) in rtp.chain(controls.into_iter().map(|sent| (sent, true))) {
            self.happened.packets += 1;
            self.put(1 - from, sent.bytes, control, now);
        }
    }

    fn put(&mut self, to: usize, bytes: Vec<u8>, control: bool, now: MonoTime) {
        let ear = self.line.ears[to];
        let device = &self.sites[to].field.devices[ear];
        let packet = crosspatch::wire::rtp::RtpPacket::parse(&bytes).ok().filter(|_| !control);
        let stamp = packet.and_then(|packet| stamp::carried(device.format(), packet.payload));
        let datagram = Datagram { to: ear, source: device.address, bytes, stamp, control };
        self.sites[to].network.send(datagram, self.line.quality, now, &mut self.entropy);
    }

    fn sabotage(&mut self, from: usize, packets: &mut Vec<Sent>, now: MonoTime) {
        match self.fault {
            Some(LineFault::YesForNo) => packets.iter_mut().for_each(|sent| rewrite_floor(&mut sent.bytes)),
            Some(LineFault::TalksAfterCut) => {
                let devices = &self.sites[from].field.devices;
                if let Some((kept, at)) = &self.kept[from]
                    && self.sites[from].cut_at > *at
                    && now.ms_since(self.sites[from].cut_at) > 400
                {
                    packets.extend(next_frame(kept, devices).map(|sent| with_ssrc(sent, 3)));
                    self.kept[from] = None;
                }
                let format = devices[self.line.ears[from]].format();
                let spoken = packets.iter().rfind(|sent| {
                    let packet = crosspatch::wire::rtp::RtpPacket::parse(&sent.bytes).ok();
                    let stamp = packet.and_then(|packet| stamp::carried(format, packet.payload));
                    stamp.is_some_and(|stamp| stamp.air == LIVE)
                });
                if let Some(sent) = spoken {
                    self.kept[from] = Some((sent.clone(), now));
                }
            }
            Some(LineFault::YesFromNobody) if !self.line.is_up => {
                if let Some(sent) = packets.last() {
                    let mut bytes = sent.bytes.clone();
                    say_granted(&mut bytes);
                    self.put(from, bytes, false, now);
                }
            }
            Some(LineFault::YesFromNobody | LineFault::NoHome) | None => {}
        }
    }

    /// The same thing at both sites: the police opens, everybody accepts, and home's line outranks at the other.
    pub fn open(&mut self) {
        self.pass(10);
        for site in &mut self.sites {
            let open = Command::OpenIncident {
                template: Some(template(TEMPLATE)),
                title: None,
                kind: None,
                exercise: false,
                invite: Vec::new(),
                links: Vec::new(),
            };
            site.ask(dispatcher(&agency(AGENCIES[0].0)), open);
        }
        self.pass(10);
        for at in 0..2 {
            let Some(incident) = self.incident(at) else { continue };
            let (short, fire) = (AGENCIES[1].1, agency(AGENCIES[1].0));
            let fire_group = format!("{short}-1");
            for (owner, group) in [(agency(LINE_OWNER), LINE), (fire.clone(), fire_group.as_str())] {
                let accept = Command::Accept { incident, links: vec![plain_request(&talkgroup(group))] };
                self.sites[at].ask(dispatcher(&owner), accept);
                self.pass(10);
            }
            // Who came later is heard over the line when the line's owner says so.
            if let Some(link) = self.line_link(at) {
                let (agencies, classes) = ([fire].into(), BTreeSet::new());
                let admit = Command::Admit { link, agencies, classes, not_secure_reason: None };
                self.sites[at].ask(dispatcher(&agency(LINE_OWNER)), admit);
            }
        }
        self.pass(10);
        if self.fault != Some(LineFault::NoHome) {
            self.outrank(1);
        }
        self.pass(10);
    }

    /// The host lets the line of a site outrank its own talkgroups.
    pub fn outrank(&mut self, at: usize) {
        if let Some(link) = self.line_link(at) {
            let adjust = Command::Adjust { link, direction: None, gain: None, priority: Some(Priority(9)) };
            self.sites[at].ask(dispatcher(&agency(AGENCIES[0].0)), adjust);
        }
    }

    fn incident(&self, at: usize) -> Option<IncidentId> {
        self.sites[at].published.incidents.keys().next().copied()
    }

    fn line_link(&self, at: usize) -> Option<LinkId> {
        let links = &self.sites[at].published.links;
        links.iter().find(|(_, link)| link.talkgroup.as_str() == LINE).map(|(id, _)| *id)
    }

    pub fn pass(&mut self, beats: u64) {
        (0..beats).for_each(|_| self.beat());
    }

    fn step(&mut self) {
        // Nobody clears an emergency in a calm pair.
        for site in self.sites.iter_mut().filter(|_| !self.is_calm) {
            site.field.chance(site.now.mono, &mut site.entropy);
            if site.entropy.below(25) == 0 {
                run::command(site);
            }
        }
        match self.entropy.below(if self.is_calm { 60 } else { 200 }) {
            0 => self.press(0),
            1 => self.press(1),
            2..=4 => (0..2).for_each(|at| self.press(at)),
            _ => {}
        }
        self.misfortune();
        self.beat();
    }

    /// Somebody whose talkgroup is linked presses a key.
    fn press(&mut self, at: usize) {
        let field = &mut self.sites[at].field;
        let linked = |ear: &Ear| field.devices[*ear].talkgroup.as_str().ends_with("-1");
        let speakers: Vec<usize> = (0..field.speakers.len())
            .filter(|speaker| !field.speakers[*speaker].is_far && field.speakers[*speaker].through.iter().all(linked))
            .collect();
        let speaker = speakers[self.entropy.below(speakers.len() as u64) as usize];
        field.press(speaker, 25 + self.entropy.below(100) as u16, false, self.sites[at].now.mono);
    }

    /// What nobody wants.
    fn misfortune(&mut self) {
        let now = self.sites[0].now.mono;
        let long = now.ms_since(self.line.since) > 3_000;
        match self.entropy.below(1_000) {
            0..=1 if self.line.is_up && long => self.set_line(false),
            2..=29 if !self.line.is_up && now.ms_since(self.line.since) > 1_500 => self.set_line(true),
            30 if !self.is_calm => {
                let at = self.entropy.below(2) as usize;
                let site = &mut self.sites[at];
                site.kill();
                self.happened.restarts += 1;
                self.joint.unwell(at, now.plus_ms(3_000));
                let down = self.entropy.below(60);
                self.pass(down);
                self.sites[at].start();
            }
            31 if !self.is_calm => {
                let at = self.entropy.below(2) as usize;
                self.joint.unwell(at, now.plus_ms(3_000));
                self.sites[at].rebuild_shard(ShardId(0));
            }
            _ => {}
        }
    }

    /// Everybody lets go, everything that is open must close.
    fn finish(&mut self) {
        self.set_line(true);
        for site in &mut self.sites {
            site.journal.mend();
            (0..site.field.speakers.len()).for_each(|speaker| site.field.let_go(speaker));
        }
        for _ in 0..800 {
            self.beat();
            if self.sites.iter().all(|site| site.bursts.is_settled() && site.field.is_quiet()) {
                break;
            }
        }
        for site in &mut self.sites {
            run::close(site);
        }
        self.joint.finish(&self.sites, &self.line, self.is_calm, &mut self.findings);
    }
}

/// Lives one pair.
pub fn live(seed: u64, steps: u64, fault: Option<LineFault>) -> Life {
    let mut pair = Pair::generate(seed, fault);
    pair.sites.iter_mut().for_each(|site| site.trace = std::env::var_os("TRACE").is_some());
    pair.open();
    (0..steps).for_each(|_| pair.step());
    pair.finish();
    let hash = pair.sites[0].hash ^ pair.sites[1].hash.rotate_left(1);
    let cases = cases(&pair);
    for (at, site) in pair.sites.iter().enumerate() {
        pair.findings.take(&site.findings, &format!("site {at}: "));
    }
    Life { seed, hash, cases, findings: pair.findings }
}

fn cases(pair: &Pair) -> Cases {
    let (happened, joint) = (&pair.happened, &pair.joint.happened);
    let sites = || pair.sites.iter();
    Cases(BTreeMap::from([
        ("packets between sites", happened.packets),
        ("lines lost", happened.lost_lines),
        ("sites restarted", happened.restarts),
        ("calm pairs", happened.calm),
        ("pairs with a floor for one", happened.strict),
        ("frames heard from afar", joint.heard_afar),
        ("overs compared over the line", joint.compared),
        ("both sites keyed at once", joint.glares),
        ("frames that came while no floor was theirs", joint.strays),
        ("bursts", sites().map(|site| site.bursts.happened.bursts).sum()),
        ("relayed", sites().map(|site| site.ears.happened.relayed).sum()),
        ("mixed", sites().map(|site| site.ears.happened.mixed).sum()),
        ("cuts", sites().map(|site| site.sessions.happened.cuts).sum()),
        ("emergencies", sites().map(|site| site.sessions.happened.emergencies).sum()),
    ]))
}

/// A denied floor reads as a granted one. The keying element is the only one of two bytes with its id.
fn rewrite_floor(bytes: &mut [u8]) {
    if let Some(at) = floor_at(bytes)
        && matches!(bytes[at] >> 4, 4..=6)
    {
        bytes[at] = 0x20;
    }
}

fn say_granted(bytes: &mut [u8]) {
    if let Some(at) = floor_at(bytes) {
        (bytes[at - 1], bytes[at]) = (0, 0x20);
    }
}

/// Where the keying element's second byte is: extension header at 12, then elements (RFC 8285 section 4.2).
fn floor_at(bytes: &[u8]) -> Option<usize> {
    let is_extended = bytes.first()? & 0x10 != 0;
    let end = 16 + 4 * usize::from(u16::from_be_bytes([*bytes.get(14)?, *bytes.get(15)?]));
    let at = (16..end.min(bytes.len())).find(|at| bytes[*at] == 0x21)?;
    is_extended.then_some(at + 2).filter(|at| *at < bytes.len())
}
