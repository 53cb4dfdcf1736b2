//! Returning speech: is what a port says the same as what it was sent a moment ago? Each talker of this shard leaves a
//! trail of prints; each later talker that had heard it is compared with it. Reports, never acts; when all places are
//! taken the newest talkers go unwatched, which harms nobody.

use crate::domain::audio::Level;
use crate::domain::id::BurstId;
use crate::domain::report::Suspicion;
use crate::domain::time::MonoTime;

use super::burst::Source;
use super::echo::{Print, Printer, ReturnDetector, Trail};
use super::outbox::Outbox;
use super::playout::Heard;
use super::shard::Shard;
use super::slab::{BurstSlot, PortSlot};

/// All trails and pairs of a shard.
pub struct ReturnWatch {
    tracks: Vec<Track>,
    pairs: Vec<Pair>,
}

/// One talker's trail, kept for a while after it ended.
struct Track {
    burst: Option<(BurstId, BurstSlot)>,
    port: Option<PortSlot>,
    printer: Printer,
    trail: Trail,
    newest: Option<Print>,
    live_at: MonoTime,
    /// Ports it was sent to.
    reached: Vec<PortSlot>,
    /// How many returns lie between it and a fresh talker.
    generations: u8,
}

/// A later talker compared with an earlier one.
struct Pair {
    tracks: Option<(usize, usize)>,
    detector: ReturnDetector,
    told: bool,
}

impl ReturnWatch {
    /// Everything is made now.
    pub fn new() -> Self {
        let track = || Track {
            burst: None,
            port: None,
            printer: Printer::default(),
            trail: Trail::default(),
            newest: None,
            live_at: MonoTime(0),
            reached: Vec::with_capacity(REACHED_MAX),
            generations: 0,
        };
        let pair = || Pair { tracks: None, detector: ReturnDetector::default(), told: false };
        Self { tracks: (0..TRACKS).map(|_| track()).collect(), pairs: (0..PAIRS).map(|_| pair()).collect() }
    }

    fn track_of(&self, burst: BurstId) -> Option<usize> {
        self.tracks.iter().position(|track| track.burst.is_some_and(|(id, _)| id == burst))
    }

    fn start(&mut self, burst: BurstId, slot: BurstSlot, port: PortSlot) -> Option<usize> {
        let at = self.tracks.iter().position(|track| track.burst.is_none())?;
        let track = &mut self.tracks[at];
        track.burst = Some((burst, slot));
        track.port = Some(port);
        (track.printer, track.trail) = (Printer::default(), Trail::default());
        track.generations = 0;
        track.reached.clear();
        Some(at)
    }

    fn forget_old(&mut self, now: MonoTime) {
        for at in 0..self.tracks.len() {
            if now.ms_since(self.tracks[at].live_at) >= KEPT_MS {
                self.tracks[at].burst = None;
                for pair in &mut self.pairs {
                    pair.tracks = pair.tracks.filter(|(candidate, original)| *candidate != at && *original != at);
                }
            }
        }
    }

    /// Pairs each live talker with every trail that reached its port.
    fn pair_up(&mut self, now: MonoTime) {
        for candidate in 0..self.tracks.len() {
            let (Some(port), true) = (self.tracks[candidate].port, self.tracks[candidate].live_at == now) else {
                continue;
            };
            for original in 0..self.tracks.len() {
                let reached = self.tracks[original].burst.is_some() && self.tracks[original].reached.contains(&port);
                let known = self.pairs.iter().any(|pair| pair.tracks == Some((candidate, original)));
                if original == candidate || !reached || known {
                    continue;
                }
                let Some(pair) = self.pairs.iter_mut().find(|pair| pair.tracks.is_none()) else { return };
                pair.tracks = Some((candidate, original));
                pair.detector.reset();
                pair.told = false;
            }
        }
    }
}

impl Default for ReturnWatch {
    fn default() -> Self {
        Self::new()
    }
}

impl Shard {
    /// Every 20 ms, after the decoding.
    pub(super) fn watch_returns(&mut self, now: MonoTime, out: &mut Outbox) {
        for index in 0..self.bursts.reach() {
            let Some(burst) = self.bursts.slot_at(index) else { continue };
            self.follow(burst, now);
        }
        for track in self.returns.tracks.iter_mut().filter(|track| track.burst.is_some() && track.live_at != now) {
            track.newest = None;
            track.trail.push(None);
        }
        self.returns.forget_old(now);
        self.returns.pair_up(now);
        for at in 0..self.returns.pairs.len() {
            self.compare(at, now, out);
        }
    }

    /// One more print of a talker of this shard.
    fn follow(&mut self, burst: BurstSlot, now: MonoTime) {
        let open = &self.bursts[burst];
        let Source::Here(port) = open.source else { return };
        if open.playout.is_none() || open.ended.is_some() {
            return;
        }
        let track = self.returns.track_of(open.id).or_else(|| self.returns.start(open.id, burst, port));
        let Some(track) = track.map(|at| &mut self.returns.tracks[at]) else { return };
        track.live_at = now;
        let heard = matches!(open.frame_heard, Heard::Voice | Heard::Concealed);
        track.newest = heard.then(|| track.printer.print(&open.frame));
        track.trail.push(track.newest);
        for ear in open.lists.ears.iter().take(REACHED_MAX) {
            if !track.reached.contains(ear) && track.reached.len() < REACHED_MAX {
                track.reached.push(*ear);
            }
        }
    }

    fn compare(&mut self, at: usize, now: MonoTime, out: &mut Outbox) {
        let ReturnWatch { tracks, pairs } = &mut self.returns;
        let pair = &mut pairs[at];
        let Some((candidate, original)) = pair.tracks.filter(|_| !pair.told) else { return };
        let Some(found) = pair.detector.compare(&tracks[original].trail, tracks[candidate].newest) else { return };
        pair.told = true;
        let generations = tracks[original].generations.saturating_add(1);
        tracks[candidate].generations = generations;
        let Some(port) = tracks[candidate].port else { return };
        let down = Level((found.down.0 / 100).clamp(0, 127) as u8);
        let delay_ms = found.delay_ms.min(u32::from(u16::MAX)) as u16;
        self.suspect(port, Suspicion::Returns { delay_ms, down, generations }, now, out);
    }
}

/// Talkers followed at once, the ones of the last seconds included.
const TRACKS: usize = 16;
/// A comparison is two microseconds in each tick.
const PAIRS: usize = 32;
/// Ports of one talker that are watched for its return.
const REACHED_MAX: usize = 64;
/// A return later than this is another matter (ms).
const KEPT_MS: u64 = 3_200;
