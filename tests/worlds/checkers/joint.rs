//! What two sites promise together, and neither can alone: what crosses the line is wanted on both sides, one floor
//! reaches over both, and a line that is lost is closed by each. Each site's own checkers judge what leaves for its line
//! and what its ears hear of it.

use std::collections::BTreeMap;

use crosspatch::domain::id::PatchId;
use crosspatch::domain::port::PortRole;
use crosspatch::domain::time::MonoTime;
use crosspatch::wire::rtp::RtpPacket;

use super::{Findings, Law};
use crate::worlds::field::Ear;
use crate::worlds::pair::Line;
use crate::worlds::seat::Sent;
use crate::worlds::stamp::{self, LIVE, Voice};
use crate::worlds::world::World;

/// The judge of both.
#[derive(Default)]
pub struct Joint {
    /// A site in trouble of its own is no evidence until then.
    unwell: [MonoTime; 2],
    /// Since when speech has come to each site while no floor there was its, and when it came last.
    strays: [Option<(MonoTime, MonoTime)>; 2],
    /// Since when talkers of both sites have held their floors against each other.
    both: Option<MonoTime>,
    /// Whether a dispatcher of each site has taken the floor there from who still talks at the other one.
    overruled: [bool; 2],
    pub happened: JointCounts,
}

/// What was met.
#[derive(Clone, Copy, Debug, Default)]
pub struct JointCounts {
    pub heard_afar: u64,
    pub compared: u64,
    pub glares: u64,
    pub strays: u64,
}

impl Joint {
    /// A site restarts, or loses a shard.
    pub fn unwell(&mut self, site: usize, until: MonoTime) {
        self.unwell[site] = self.unwell[site].max(until);
    }

    /// A packet has left a site for the line.
    pub fn left(&mut self, from: usize, sent: &Sent, site: &World, line: &Line, now: MonoTime, found: &mut Findings) {
        let format = site.field.devices[sent.ear].format();
        let Ok(packet) = RtpPacket::parse(&sent.bytes) else { return };
        let speech = stamp::carried(format, packet.payload).is_none_or(|stamp| stamp.air == LIVE);
        let since = line.since.max(self.unwell[from]);
        if speech && !line.is_up && now.ms_since(since) > GRANTED_MS + slack_ms(line) {
            found.broken(Law::Closes, now, || format!("site {from} speaks into a line that has long been down"));
        }
    }

    /// Once a beat.
    pub fn watch(&mut self, sites: &mut [World; 2], line: &Line, is_calm: bool, found: &mut Findings) {
        let now = sites[0].now.mono;
        for (at, site) in sites.iter_mut().enumerate() {
            self.watch_strays(at, site, line, now, found);
            let down_ms = now.ms_since(line.since.max(self.unwell[at]));
            let holds = site.bursts.is_talker(line.ears[at], &site.target);
            if !line.is_up && holds && down_ms > SILENT_MS + slack_ms(line) {
                found.broken(Law::Closes, now, || format!("site {at} keeps the floor of a line that is down"));
            }
        }
        self.watch_floors(sites, line, is_calm, now, found);
    }

    /// A site that is told that it is not heard stops: what was on its way is all that is lost.
    fn watch_strays(&mut self, at: usize, site: &mut World, line: &Line, now: MonoTime, found: &mut Findings) {
        for (stamp, heard) in std::mem::take(&mut site.over_line) {
            self.happened.heard_afar += u64::from(heard);
            if heard || now < self.unwell[0].max(self.unwell[1]) {
                self.strays[at] = None;
                continue;
            }
            self.happened.strays += 1;
            let run = self.strays[at].filter(|(_, last)| now.ms_since(*last) < 500);
            let since = run.map_or(now, |(since, _)| since);
            self.strays[at] = Some((since, now));
            if now.ms_since(since) > 2 * slack_ms(line) {
                let what = || format!("site {at} is sent {stamp:?} and has given it no floor");
                found.broken(Law::NothingLost, now, what);
            }
        }
    }

    /// Where both patches have one floor for one talker and home outranks, two talkers hold them against each other for
    /// no longer than it takes to hear of it.
    fn watch_floors(&mut self, sites: &[World; 2], line: &Line, is_calm: bool, now: MonoTime, found: &mut Findings) {
        let well = line.is_up && now.ms_since(line.since) > 3_000 && now > self.unwell[0].max(self.unwell[1]);
        let needy = sites.iter().any(|site| site.bursts.is_emergency());
        let strict = |site: &World| {
            let templates = &site.published.configuration.templates;
            templates.values().flat_map(|template| &template.patches).all(|patch| patch.floor.holders_max == 1)
        };
        if !is_calm || !well || needy || !sites.iter().all(strict) {
            self.both = None;
            return;
        }
        let holds = |at: usize, who: fn(PortRole) -> bool| holds_against(&sites[at], line.ears[at], who);
        for at in 0..2 {
            // Whom a dispatcher has taken the floor from is not heard there until he keys anew, whoever talks then.
            let overrules = holds(at, is_dispatcher);
            self.overruled[at] = holds(1 - at, |_| true) && (self.overruled[at] || overrules);
        }
        if !(0..2).all(|at| !self.overruled[at] && holds(at, |role| !is_dispatcher(role))) {
            self.both = None;
            return;
        }
        self.happened.glares += u64::from(self.both.is_none());
        let since = *self.both.get_or_insert(now);
        if now.ms_since(since) > 2 * slack_ms(line) {
            found.broken(Law::OneVoice, now, || {
                "two talkers hold the floor, one at each site, and neither yields".into()
            });
        }
    }

    /// When all is over: nothing was heard beyond the line that had not been sent, and all that was sent was heard or is
    /// missed with a cause.
    pub fn finish(&mut self, sites: &[World; 2], line: &Line, is_calm: bool, found: &mut Findings) {
        for to in 0..2 {
            self.check_origin(1 - to, to, sites, line, found);
            if is_calm {
                self.check_whole(1 - to, to, sites, line, found);
            }
        }
    }

    fn check_origin(&self, from: usize, to: usize, sites: &[World; 2], line: &Line, found: &mut Findings) {
        let now = sites[0].now.mono;
        for ((ear, voice, over), heard) in &sites[to].ears.heard {
            if !is_far(&sites[to], *voice) {
                continue;
            }
            let sent = sites[from].ears.heard.get(&(line.ears[from], *voice, *over));
            let said = |frame: &u16| sent.is_some_and(|sent| sent.frames.contains(frame));
            if let Some(frame) = heard.frames.iter().find(|frame| !said(frame)) {
                let gateway = &sites[to].field.devices[*ear].gateway;
                let what = || format!("{gateway} at site {to} heard frame {frame} of voice {voice}, never sent there");
                found.broken(Law::InstantAndDurable, now, what);
            }
        }
    }

    fn check_whole(&mut self, from: usize, to: usize, sites: &[World; 2], line: &Line, found: &mut Findings) {
        let now = sites[0].now.mono;
        let mut told: BTreeMap<(Voice, u16, Ear), u32> = BTreeMap::new();
        for afar in &sites[to].bursts.from_afar {
            *told.entry((afar.voice, afar.over, afar.ear)).or_default() += afar.outcome.missed_ms;
        }
        for ((voice, over, ear), missed_ms) in told {
            // Pre-empted, it loses what was on its way: the other site hears of it one delay later.
            let mut parts = sites[to].bursts.from_afar.iter().filter(|afar| (afar.voice, afar.over) == (voice, over));
            if !parts.all(|afar| afar.whole) {
                continue;
            }
            let clean = sites[to].field.overs.get(&(voice, over)).is_some_and(|over| !over.disturbed && over.done);
            let Some(sent) = sites[from].ears.heard.get(&(line.ears[from], voice, over)).filter(|_| clean) else {
                continue;
            };
            self.happened.compared += 1;
            let tones = |over: u16| sites[to].ears.heard.get(&(ear, voice, over)).map_or(0, |heard| heard.tones);
            let frames = sites[to].ears.heard.get(&(ear, voice, over)).map_or(0, |heard| heard.frames.len() as u32);
            let heard_ms = 20 * (frames + tones(over) + tones(over + 1));
            let sent_ms = 20 * (sent.frames.len() as u32 + sent.tones);
            if heard_ms + missed_ms + 100 < sent_ms {
                let gateway = &sites[to].field.devices[ear].gateway;
                let what = || {
                    format!(
                        "{sent_ms} ms of voice {voice} ({over}) crossed, {gateway} heard {heard_ms}, missed {missed_ms}"
                    )
                };
                found.broken(Law::NothingLost, now, what);
            }
        }
    }
}

/// Whether a talker of this site holds the floor of a patch in which it would be heard over the line, and the line would
/// be heard by somebody.
fn holds_against(site: &World, line: Ear, who: fn(PortRole) -> bool) -> bool {
    let patches = || site.published.incidents.values().flat_map(|told| told.patches.keys());
    patches().any(|patch: &PatchId| {
        let holders = site.bursts.holders(*patch);
        let crosses = |talker: Ear| holders >> talker & 1 == 1 && site.target.ears(*patch, talker) >> line & 1 == 1;
        let counts = |talker: Ear| talker != line && who(site.field.devices[talker].spec.role);
        (0..site.field.devices.len()).any(|talker| counts(talker) && crosses(talker))
            && site.target.ears(*patch, line) != 0
    })
}

/// A dispatcher's word at his own site outranks even home.
fn is_dispatcher(role: PortRole) -> bool {
    role == PortRole::Console
}

fn is_far(site: &World, voice: Voice) -> bool {
    site.field.speakers.get(usize::from(voice)).is_some_and(|speaker| speaker.is_far)
}

/// One way over the line at its worst, a repeated word lost, and two ticks (ms).
fn slack_ms(line: &Line) -> u64 {
    let quality = line.quality;
    let lost = if quality.lost_permille > 0 { 400 } else { 0 };
    u64::from(quality.delay_ms + quality.jitter_ms) + lost + 140
}

/// A grant that is not repeated for so long is over (ms).
const GRANTED_MS: u64 = 1_000;
/// Speech that has stopped for so long has ended (ms).
const SILENT_MS: u64 = 300;
