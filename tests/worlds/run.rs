//! One seed's life: busy stretches, lulls, leaps of time and misfortunes, for a number of steps, and what it met.
//! A step is 20 ms of the world, or a leap over hours in which nobody talks.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use crosspatch::domain::floor::{FloorMode, MissCause};
use crosspatch::domain::port::ShardId;

use super::checkers::{Findings, Law};
use super::dispatchers;
use super::faults::Fault;
use super::geography::{self, AGENCIES, TEMPLATE};
use super::world::World;

/// What became of one seed.
#[derive(Clone)]
pub struct Life {
    pub seed: u64,
    pub hash: u64,
    pub findings: Findings,
    pub cases: Cases,
}

/// Named cases and how often each was met.
#[derive(Clone, Debug, Default)]
pub struct Cases(pub BTreeMap<&'static str, u64>);

impl AddAssign<&Cases> for Cases {
    fn add_assign(&mut self, other: &Cases) {
        for (name, count) in &other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }
}

/// Lives one seed.
pub fn live(seed: u64, steps: u64, fault: Option<Fault>) -> Life {
    let mut world = World::generate(seed, fault);
    world.trace = std::env::var_os("TRACE").is_some();
    world.show_devices();
    open(&mut world);
    let mut phase = Phase::Busy { beats: 200 };
    for _ in 0..steps {
        phase = phase.next(&mut world);
    }
    finish(&mut world);
    Life { seed, hash: world.hash, cases: cases(&world), findings: world.findings }
}

/// How a stretch of a world goes.
enum Phase {
    /// People talk, command and suffer.
    Busy { beats: u64 },
    /// Nobody presses a key; what was begun ends.
    Lull { beats: u64 },
}

impl Phase {
    fn next(self, world: &mut World) -> Self {
        match self {
            // A stuck key of 8 s, its hold, and the time after which a burst is judged.
            Phase::Busy { beats: 0 } => Phase::Lull { beats: 1_000 },
            Phase::Busy { beats } => {
                misfortune(world);
                world.field.chance(world.now.mono, &mut world.entropy);
                world.happened.crowd += u64::from(world.habits.press(&mut world.field, world.now.mono));
                if world.entropy.below(10) == 0 {
                    command(world);
                }
                if let Some((principal, command)) =
                    world.habits.command(&world.published, &world.geography.configuration)
                {
                    world.ask(principal, command);
                }
                world.beat();
                Phase::Busy { beats: beats - 1 }
            }
            Phase::Lull { beats } => {
                let quiet = world.field.is_quiet() && world.network.is_quiet() && world.bursts.is_settled();
                if quiet || beats == 0 {
                    leap(world);
                    return Phase::Busy { beats: 100 + world.entropy.below(250) };
                }
                world.beat();
                Phase::Lull { beats: beats - 1 }
            }
        }
    }
}

/// Most worlds begin with an incident that is answered.
fn open(world: &mut World) {
    let police = geography::agency(AGENCIES[0].0);
    let command = crosspatch::domain::command::Command::OpenIncident {
        template: Some(geography::template(TEMPLATE)),
        title: None,
        kind: None,
        exercise: false,
        invite: Vec::new(),
        links: Vec::new(),
    };
    for _ in 0..10 {
        world.beat();
    }
    world.ask(dispatchers::dispatcher(&police), command);
    for _ in 0..10 {
        world.beat();
    }
    let Some(incident) = world.published.incidents.keys().next().copied() else { return };
    for (name, short) in &AGENCIES[1..world.published.configuration.agencies.len()] {
        if world.entropy.percent(75) {
            let talkgroup = geography::talkgroup(&format!("{short}-1"));
            let links = vec![dispatchers::plain_request(&talkgroup)];
            let accept = crosspatch::domain::command::Command::Accept { incident, links };
            world.ask(dispatchers::dispatcher(&geography::agency(name)), accept);
        }
    }
}

pub(super) fn command(world: &mut World) {
    if let Some((principal, command)) = dispatchers::draw(&world.published, &mut world.entropy) {
        world.ask(principal, command);
    }
}

/// What nobody wants.
fn misfortune(world: &mut World) {
    world.journal.chance(world.now.mono, &mut world.entropy);
    let shards = u64::from(world.geography.shards);
    let shard = ShardId(world.entropy.below(shards) as u8);
    match world.entropy.below(6_000) {
        0..=2 => {
            world.happened.panics += 1;
            world.rebuild_shard(shard);
        }
        3..=8 => {
            let until = world.now.mono.plus_ms(40 + world.entropy.below(4_000));
            world.bursts.disturb(world.now.mono);
            if let Some(seat) = world.daemon.as_mut().and_then(|daemon| daemon.seats.get_mut(usize::from(shard.0))) {
                seat.stuck_until = until;
            }
        }
        9..=12 => {
            let by_ms = [3_600_000, -3_600_000, 5_000, -5_000, 86_400_000][world.entropy.below(5) as usize];
            world.step_wall(by_ms);
        }
        13..=15 => {
            world.kill();
            let down = world.entropy.below(60);
            for _ in 0..down {
                world.beat();
            }
            world.start();
        }
        _ => {}
    }
}

/// Time passes; desks are mostly staffed.
fn leap(world: &mut World) {
    let ms = [5_000, 65_000, 700_000, 3_600_000, 15_000_000][world.entropy.below(5) as usize];
    let present = world.entropy.percent(70);
    let agencies: Vec<_> = world.published.configuration.agencies.keys().cloned().collect();
    let steps = (ms / 25_000).clamp(1, 600);
    for _ in 0..steps {
        if present {
            for agency in &agencies {
                let staffed = world.published.configuration.agencies[agency].responsible.is_some();
                if staffed {
                    let position = geography::position(agency);
                    world.ask(dispatchers::dispatcher(agency), crosspatch::domain::command::Command::Beat { position });
                }
            }
        }
        world.leap(ms / steps);
    }
    world.happened.leaps += 1;
}

/// Everybody lets go, everything that is open must close.
fn finish(world: &mut World) {
    if world.daemon.is_none() {
        world.start();
    }
    world.journal.mend();
    for speaker in 0..world.field.speakers.len() {
        world.field.let_go(speaker);
    }
    for _ in 0..600 {
        world.beat();
        if world.bursts.is_settled() && world.field.is_quiet() {
            break;
        }
    }
    close(world);
}

/// What must be closed when everybody has long let go.
pub(super) fn close(world: &mut World) {
    world.bursts.finish(world.now.mono, &mut world.findings);
    let (devices, now) = (&world.field.devices, world.now.mono);
    for device in devices.iter().filter(|device| device.transmitter != super::device::Transmitter::Off) {
        let what = || format!("{} is still keyed: {:?}", device.gateway, device.transmitter);
        world.findings.broken(Law::Closes, now, what);
    }
    world.check_agreement();
    world.check_replay();
}

fn cases(world: &World) -> Cases {
    let (happened, bursts, sessions) = (&world.happened, &world.bursts.happened, &world.sessions.happened);
    let (field, ears, journal) = (&world.field.happened, &world.ears.happened, &world.journal.happened);
    let papers = world.published.configuration.agreements.values();
    let missed = |cause: MissCause| bursts.missed[cause as usize];
    let radios_out_ranked = missed(MissCause::OutRanked);
    let mut cases = BTreeMap::from([
        ("cut during hold", happened.cuts_during_hold),
        ("two patches one port", bursts.in_several_patches),
        ("journal late", journal.late),
        ("journal batched", journal.batched),
        ("journal failing", journal.failed),
        ("journal back", journal.back),
        ("effective, not recorded", happened.not_recorded),
        ("shard condemned", happened.condemned),
        ("shard panicked", happened.panics),
        ("clock step", happened.clock_steps),
        ("restart", happened.kills),
        ("restart mid-burst", happened.kills_mid_burst),
        ("two gateways one RF channel", field.off_air),
        ("second incident consent", sessions.second_consents),
        ("audience excluded later joiner", sessions.later_joiners_excluded),
        ("overtime", sessions.overtimes),
        ("lease expired", sessions.expired),
        ("emergency over restart", happened.emergencies_over_restart),
        ("pre-emption", bursts.pre_empted),
        ("in need beside others", bursts.in_need_beside_others),
        ("overlap on a radio", radios_out_ranked),
        ("overlap on a mixing console", ears.overlaps),
        ("late grant", field.late_grants),
        ("denied grant", field.denied_grants),
        ("squelch tail", field.tails),
        ("stuck receiver", field.stuck),
        ("latch moved", field.moved),
        ("flood", field.floods),
        ("agreement ended", papers.filter(|paper| paper.end.is_some_and(|end| end < world.now.wall)).count() as u64),
        ("trunk frame between shards", happened.trunk_frames),
        ("shards far apart", happened.shards_far_apart),
        ("bursts", bursts.bursts),
        ("bursts judged", bursts.judged),
        ("ears entitled", bursts.entitled),
        ("packets in", happened.packets_in),
        ("packets out", happened.packets_out),
        ("relayed", ears.relayed),
        ("mixed", ears.mixed),
        ("floor denied", bursts.denied),
        ("floor queued", bursts.queued),
        ("timed out", bursts.timed_out),
        ("commands done", happened.done),
        ("commands refused", world.refusals.values().sum()),
        ("routes compared", happened.compared),
        ("journal replayed", happened.replays),
        ("incidents", sessions.incidents),
        ("links", sessions.links),
        ("cuts", sessions.cuts),
        ("emergencies", sessions.emergencies),
        ("accepted by agreement", sessions.by_agreement),
        ("host taken", sessions.hosts_taken),
        ("hold overrun", missed(MissCause::HoldOverrun)),
        ("transmission denied", missed(MissCause::TransmitDenied)),
        ("radio was receiving", missed(MissCause::Receiving)),
    ]);
    cases.extend(of_some_worlds(world));
    Cases(cases)
}

/// What only some worlds have, and what people do only in some.
fn of_some_worlds(world: &World) -> [(&'static str, u64); 14] {
    let (happened, field) = (&world.happened, &world.field.happened);
    let policy = &world.published.configuration.policy;
    [
        ("notice", world.notices.heard),
        ("report of a far end", field.reports),
        ("keyed by an event", field.by_event),
        ("keyed by loudness", field.by_loudness),
        ("spoken in G.722", field.in_g722),
        ("levelled microphone", field.levelled),
        ("open floor", u64::from(policy.floor.mode == FloorMode::Open)),
        ("floor set in mid-speech", happened.floors_set),
        ("patch closed in mid-speech", happened.patches_closed),
        ("one talker revoked", happened.one_revoked),
        ("crowd", happened.crowd),
        ("gateway gone", happened.gateways_gone),
        ("gateway back", happened.gateways_back),
        ("gateway changed", happened.gateways_changed),
    ]
}
