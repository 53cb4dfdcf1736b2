//! Composition root: configuration, recovery, media threads, control, doors, ready, drain. Start *is* recovery: there is
//! no second path. Nothing listens before the journal is locked and replayed and every shard has its routes.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::signal::unix::{SignalKind, signal};

use crate::api::limits::DoorLimits;
use crate::api::reload::read_again;
use crate::api::tokens::{Known, TokenTable};
use crate::api::{self, Door, DoorCounters, Served};
use crate::config::{self, Fault, Settings};
use crate::dispatch::evolve;
use crate::domain::command::{Command, Principal, Role};
use crate::domain::configuration::Configuration;
use crate::domain::event::{Alarm, Event, Recorded, Stream};
use crate::domain::id::UserId;
use crate::domain::incident::Actor;
use crate::domain::time::MonoTime;
use crate::io::control_link::ControlLink;
use crate::io::control_task::{self, ControlEnds, ControlParts, Heartbeat};
use crate::io::journal::{NotRecorded, RecoveryReport, SetAside};
use crate::io::media::stats::ShardStats;
use crate::io::sip::Telephony;
use crate::io::store::{Recovered, Store};
use crate::io::{clock, log, media, sip};
use crate::media::limits::ShardLimits;

/// Why the daemon does not run. Nothing was opened that is not closed again.
#[derive(Debug)]
pub enum RunFault {
    /// The file is faulty and the journal knows no configuration to go on with: the faults as text.
    Configuration(String),
    /// The journal cannot be opened, or another daemon holds it.
    Journal(String),
    /// The system refuses threads, sockets or the like.
    System(String),
}

impl fmt::Display for RunFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunFault::Configuration(text) | RunFault::Journal(text) | RunFault::System(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for RunFault {}

/// The last file that was adopted, kept in the data folder for a start with a faulty one.
const LAST_GOOD: &str = "last-good.toml";
/// How long shards may take to confirm their first routes.
const ROUTES_PATIENCE: Duration = Duration::from_secs(10);

/// Runs until SIGTERM or SIGINT.
pub fn run(path: &Path) -> Result<(), RunFault> {
    let start = Start::read(path)?;
    log::start(&start.settings.log).map_err(RunFault::Configuration)?;
    if !start.faults.is_empty() {
        tracing::error!(faults = start.faults.len(), "the configuration is faulty: running on the last good one");
    }
    raise_file_limit();
    // TLS has two providers in this program; choosing here keeps rustls from refusing to choose.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|fault| RunFault::System(format!("no runtime: {fault}")))?;
    runtime.block_on(start.run(path))
}

/// What there is to start with.
struct Start {
    settings: Settings,
    /// None: the file is faulty and the journal's configuration stays.
    configuration: Option<Configuration>,
    text: String,
    faults: Vec<Fault>,
}

impl Start {
    /// Reads the file; a faulty one leads to the last good one where there is a journal.
    fn read(path: &Path) -> Result<Self, RunFault> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|fault| RunFault::Configuration(format!("{name}: {fault}")))?;
        match config::text(&bytes, &name).and_then(|text| Ok((config::parse(text, &name)?, text))) {
            Ok(((settings, configuration, _warnings), text)) => {
                let text = text.to_owned();
                Ok(Self { settings, configuration: Some(configuration), text, faults: Vec::new() })
            }
            Err(faults) => {
                let rendered = config::render(&faults);
                let last = last_good_of(&String::from_utf8_lossy(&bytes))
                    .and_then(|text| config::parse(&text, LAST_GOOD).ok().map(|(settings, ..)| (settings, text)));
                let Some((settings, text)) = last else { return Err(RunFault::Configuration(rendered)) };
                eprintln!("{rendered}");
                Ok(Self { settings, configuration: None, text, faults })
            }
        }
    }

    async fn run(self, path: &Path) -> Result<(), RunFault> {
        // What may be wrong with the door comes before anything durable is done.
        let bound = api::bind(&self.settings).map_err(RunFault::Configuration)?;
        let telephony = sip::bind(&self.settings).map_err(RunFault::Configuration)?;
        let (known, unread) = Known::read_what_can_be(&self.settings.tokens);
        // One lost secret shuts one user out; to end for it would silence everybody's radios.
        unread.iter().for_each(|fault| tracing::error!(fault, "a token counts for nothing until it can be read"));
        let (mut store, mut recovered) = Store::open(&self.settings.data_dir, self.settings.journal_strict)
            .map_err(|fault| RunFault::Journal(fault.to_string()))?;
        record_start_alarms(&mut store, &mut recovered, self.faults.len()).await?;
        report_recovery(&recovered);
        let flags = PipeFlags::NONBLOCK | PipeFlags::CLOEXEC;
        let (told, tell) = pipe_with(flags).map_err(system("pipe"))?;
        let count = shard_count(&self.settings);
        let seeds: Vec<u64> = (0..=count).map(|_| seed()).collect::<Result<_, _>>()?;
        let shards = media::start(count, &shard_limits(&self.settings), recovered.report.node, &seeds, &Arc::new(tell))
            .map_err(system("media threads"))?;
        let stats: Vec<Arc<ShardStats>> = shards.iter().map(|shard| Arc::clone(&shard.stats)).collect();
        let parts = ControlParts {
            store,
            state: recovered.state,
            shards,
            told,
            media_ports: self.settings.media_ports,
            seed: seeds[usize::from(count)],
        };
        let (ends, dials) = control_task::spawn(parts).map_err(system("control"))?;
        wait_for_routes(&ends.link).await?;
        if let Some(configuration) = self.configuration {
            adopt(&ends.link, configuration).await?;
            keep_last_good(&self.settings.data_dir, &self.text);
        }
        wait_for_routes(&ends.link).await?;
        let door = Arc::new(Door {
            link: ends.link.clone(),
            tokens: TokenTable::new(known),
            started_with: self.settings.clone(),
            certificate: OnceLock::new(),
            stats,
            config_path: path.to_owned(),
            data_dir: self.settings.data_dir.clone(),
            keep_text: keep_last_good,
            limits: DoorLimits::default(),
            counters: DoorCounters::default(),
            telephony: OnceLock::new(),
        });
        let served = api::serve(Arc::clone(&door), bound, &self.settings).await.map_err(RunFault::System)?;
        let telephony = telephony.map(|bound| sip::serve(bound, &self.settings, ends.link.clone(), dials));
        let telephony = telephony.transpose().map_err(RunFault::System)?;
        if let Some(telephony) = &telephony {
            let _ = door.telephony.set(telephony.counters.clone());
        }
        let ended = serve(ends, telephony, &self.settings, &served, &door).await;
        served.stop().await;
        ended
    }
}

/// Serves until a signal, then drains.
async fn serve(
    mut ends: ControlEnds,
    telephony: Option<Telephony>,
    settings: &Settings,
    served: &Served,
    door: &Door,
) -> Result<(), RunFault> {
    let mut terminate = signal(SignalKind::terminate()).map_err(system("signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("signals"))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(system("signals"))?;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(node = settings.node, http = %served.address, shards = door.stats.len(), "ready");
    let mut watchdog = tokio::time::interval(watchdog_beat());
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(door).await,
            _ = watchdog.tick() => feed_watchdog(&door.stats, &ends.heartbeat),
            // Nothing would be cut any more: the process must not go on relaying.
            ended = &mut ends.task => return Err(RunFault::System(format!("control has ended by itself: {ended:?}"))),
        }
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopping: nothing new is accepted, open bursts end");
    if let Some(telephony) = telephony {
        telephony.stop().await;
    }
    let _ = ends.drain.send(true);
    ends.task.await.map_err(|fault| RunFault::System(format!("the control task ended by {fault}")))
}

/// Reads the file again and adopts what it says; a faulty file changes nothing.
async fn reload(door: &Door) {
    let principal = match file_itself() {
        Ok(principal) => principal,
        Err(fault) => return tracing::error!(%fault, "reload: refused, nothing changed"),
    };
    match read_again(door, principal).await {
        Ok(plan) => plan.lines.iter().for_each(|line| tracing::info!(line, "reload")),
        Err(fault) => tracing::error!(%fault, "reload: refused, nothing changed"),
    }
}

/// Who adopts what the file says.
fn file_itself() -> Result<Principal, RunFault> {
    let user = UserId::new("file").map_err(|fault| RunFault::System(fault.to_string()))?;
    Ok(Principal { user, agency: None, role: Role::Admin })
}

/// What the file asks for, as a command like any other.
async fn adopt(link: &ControlLink, configuration: Configuration) -> Result<(), RunFault> {
    use crate::domain::refusal::Refusal;
    let principal = file_itself()?;
    let command = Command::Adopt { configuration: Box::new(configuration) };
    match link.ask(command, principal, None).await {
        Ok(_) | Err(Refusal::NothingToDo) => Ok(()),
        Err(Refusal::MediaLate) => {
            tracing::warn!("the configuration is adopted; media threads take long to follow it");
            Ok(())
        }
        Err(refusal) => Err(RunFault::Configuration(refusal.to_string())),
    }
}

async fn wait_for_routes(link: &ControlLink) -> Result<(), RunFault> {
    let mut seen = link.seen.clone();
    let ready = tokio::time::timeout(ROUTES_PATIENCE, seen.wait_for(|seen| seen.ready)).await;
    match ready {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(RunFault::System("media threads do not confirm their routes".to_owned())),
    }
}

/// The systemd watchdog is fed only while control and every shard tick.
fn feed_watchdog(stats: &[Arc<ShardStats>], control: &Heartbeat) {
    if all_beat(stats.iter().map(|stats| stats.heartbeat()).chain([control.last()]), clock::mono()) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
    }
}

fn all_beat(mut last_beats: impl Iterator<Item = MonoTime>, now: MonoTime) -> bool {
    last_beats.all(|beat| now.since(beat) < HEARTBEAT_MOST)
}

/// Each ticks every 20 ms; a hundred missed ticks are no scheduling noise.
const HEARTBEAT_MOST: Duration = Duration::from_secs(2);

fn watchdog_beat() -> Duration {
    sd_notify::watchdog_enabled().map_or(Duration::from_secs(5), |interval| interval / 3)
}

fn report_recovery(recovered: &Recovered) {
    let report = &recovered.report;
    let took_ms = recovered.took.as_millis() as u64;
    tracing::info!(replayed = recovered.replayed, took_ms, epoch = report.epoch, "journal recovered");
    if report.torn_bytes > 0 || report.unanswered > 0 {
        let (torn_bytes, unanswered) = (report.torn_bytes, report.unanswered);
        tracing::warn!(torn_bytes, unanswered, "the last end was sudden: a torn tail is cut, nothing answered is lost");
    }
    if recovered.state.alarms.iter().any(Alarm::is_loss) {
        tracing::error!(
            ?report,
            "the journal lost history: nothing crosses agency borders until `crosspatch confirm loss`"
        );
    } else if !report.is_whole() {
        tracing::warn!(?report, "the journal is not whole; what it lost has been confirmed");
    }
}

/// Raises and clears what only a start can know: a faulty file, history that is lost. Durable before routes are made.
async fn record_start_alarms(store: &mut Store, recovered: &mut Recovered, faults: usize) -> Result<(), RunFault> {
    let RecoveryReport { set_aside, missing, cut, .. } = &recovered.report;
    let aside = |aside: &SetAside| Alarm::StreamSetAside { stream: aside.stream.to_string(), number: aside.number };
    let mut stand: BTreeSet<Alarm> = set_aside.iter().map(aside).collect();
    stand.extend(missing.iter().map(|(first, last)| Alarm::RecordsLost { first: *first, last: *last }));
    stand.extend(cut.map(|cut| Alarm::RecordsLost { first: cut.found + 1, last: cut.answered }));
    stand.retain(|loss| !recovered.state.losses_confirmed.contains(loss));
    if faults > 0 {
        stand.insert(Alarm::ConfigurationFaulty { faults: faults as u32 });
    }
    // That records are lost is found once; it stands until somebody confirms it.
    let ours = |alarm: &&Alarm| matches!(alarm, Alarm::StreamSetAside { .. } | Alarm::ConfigurationFaulty { .. });
    let known: BTreeSet<Alarm> = recovered.state.alarms.iter().filter(ours).cloned().collect();
    stand.retain(|alarm| known.contains(alarm) || !recovered.state.alarms.contains(alarm));
    let raised = stand.difference(&known).map(|alarm| Event::AlarmRaised { alarm: alarm.clone() });
    let cleared = known.difference(&stand).map(|alarm| Event::AlarmCleared { alarm: alarm.clone() });
    let at = clock::now();
    let records: Vec<Recorded> = raised
        .chain(cleared)
        .map(|event| Recorded { stream: Stream::Node, actor: Actor::Recovery, at, event })
        .collect();
    if records.is_empty() {
        return Ok(());
    }
    let unwritten = |fault: NotRecorded| RunFault::Journal(fault.to_string());
    store.append(&records, None).map_err(unwritten)?.await.map_err(unwritten)?;
    records.iter().for_each(|recorded| evolve(&mut recovered.state, recorded));
    Ok(())
}

fn shard_count(settings: &Settings) -> u8 {
    if settings.shards > 0 {
        return settings.shards;
    }
    // One core is left to control, journal and HTTP.
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).clamp(1, 16) as u8)
}

fn shard_limits(settings: &Settings) -> ShardLimits {
    let limits = &settings.limits;
    ShardLimits {
        ports: limits.ports,
        patches: limits.patches,
        legs: limits.legs,
        groups: limits.groups,
        bursts: limits.bursts,
        decoders: limits.decoders,
        encoders: limits.encoders,
        holds: limits.holds,
        delays: limits.delays,
        ..ShardLimits::default()
    }
}

/// The last good file, when the present one is faulty. Its folder is the one that is still named in there: another
/// folder is another daemon's. Only where none can be read it is the unit's, or the default.
fn last_good_of(faulty: &str) -> Option<String> {
    let place = config::data_dir(faulty)
        .or_else(|| std::env::var_os("STATE_DIRECTORY").map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from("/var/lib/crosspatch"));
    std::fs::read_to_string(place.join(LAST_GOOD)).ok()
}

/// Keeps a file that was adopted for a start with a faulty one.
pub fn keep_last_good(data_dir: &Path, text: &str) {
    let fresh = data_dir.join("last-good.toml.new");
    let kept = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, data_dir.join(LAST_GOOD)));
    if let Err(fault) = kept {
        tracing::warn!(%fault, "the configuration could not be kept for a start with a faulty file");
    }
}

/// Thousands of gateways are thousands of sockets.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(fault) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%fault, "the number of open files stays at its soft limit");
    }
}

fn seed() -> Result<u64, RunFault> {
    getrandom::u64().map_err(|fault| RunFault::System(format!("no randomness: {fault}")))
}

fn system<E: fmt::Display>(what: &'static str) -> impl Fn(E) -> RunFault {
    move |fault| RunFault::System(format!("{what}: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_starves_as_soon_as_one_shard_stands_still() {
        let (now, lately, long_ago) = (100_000, 98_500, 97_500);
        let beat = |beats: [u64; 2]| all_beat(beats.into_iter().map(MonoTime::from_millis), MonoTime::from_millis(now));
        assert!(beat([now, lately]));
        assert!(!beat([now, long_ago]) && !beat([long_ago, now]), "a shard has not ticked for 2.5 s");
    }
}
