//! What a start costs over a million past events, and how many commits a second the disk gives under load.
//!
//! What it defends: a restart replays a snapshot and a short tail however long the history is, and appends that
//! come together share a sync. The records are the daemon's own events, filled in through its own store.

#![expect(clippy::unwrap_used, reason = "a bench may stop at the first fault")]
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crosspatch::dispatch::evolve;
use crosspatch::domain::event::{Event, HeardBy, OpenedPatch, Recorded, Stream};
use crosspatch::domain::floor::{BurstEnd, FloorPolicy, MissCause};
use crosspatch::domain::id::{BurstId, GatewayId, IncidentId, PatchId, PatchName, TalkgroupId};
use crosspatch::domain::incident::Actor;
use crosspatch::domain::random::Entropy;
use crosspatch::domain::talker::Alias;
use crosspatch::domain::time::{MonoTime, Now, WallTime};
use crosspatch::io::journal::{DataDir, Journal, JournalOptions, NewRecord, Stream as JournalStream};
use crosspatch::io::store::Store;

const RECORDS: u64 = 1_000_000;
const INCIDENTS: u64 = 200;
/// The daemon's own distance between two snapshots: the longest tail a start may meet.
const TAIL: u64 = 5_000;
const GROUP: usize = 500;
const IN_FLIGHT: usize = 8;
const LOAD: Duration = Duration::from_secs(6);

fn main() {
    let dir = tempfile::Builder::new().prefix("journal").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    starts(&dir.path().join("history"));
    load(dir.path());
}

fn starts(path: &Path) {
    let began = Instant::now();
    let payload_bytes = fill(path);
    let (took, file_bytes) = (began.elapsed(), fs::metadata(path.join("journal.sqlite")).unwrap().len());
    println!(
        "history: {RECORDS} records over {INCIDENTS} incidents, payload {} bytes on average, {} MB on disk, written in {:.1} s",
        payload_bytes / RECORDS,
        file_bytes / 1_000_000,
        took.as_secs_f64()
    );
    println!("\n{:<44}{:>10}{:>10}{:>12}", "start, file in the page cache", "verify s", "total s", "replayed");
    start("snapshot and tail, verify_all = false", path, false);
    start("snapshot and tail, verify_all = true", path, true);
    rusqlite::Connection::open(path.join("journal.sqlite")).unwrap().execute("DELETE FROM snapshot", []).unwrap();
    start("no snapshot, verify_all = false", path, false);
    start("no snapshot, verify_all = true", path, true);
}

/// One start of the journal alone (what is verified), then one of the daemon's store (verified and replayed).
fn start(name: &str, path: &Path, verify_all: bool) {
    let options = || JournalOptions { verify_all, ..JournalOptions::default() };
    let began = Instant::now();
    let (journal, report) = Journal::open(DataDir::claim(path).unwrap(), options()).unwrap();
    let verified = began.elapsed();
    assert!(report.is_whole() && report.last_position == RECORDS, "{report:?}");
    drop(journal);
    let began = Instant::now();
    let (store, recovered) = Store::open_with(path, options()).unwrap();
    let total = began.elapsed();
    assert_eq!(recovered.state.incidents.len() as u64, INCIDENTS);
    drop(store);
    println!("{name:<44}{:>10.3}{:>10.3}{:>12}", verified.as_secs_f64(), total.as_secs_f64(), recovered.replayed);
}

/// Opens the incidents, lets them talk, keeps a snapshot before the tail. Gives the payloads' length.
fn fill(path: &Path) -> u64 {
    let (mut store, recovered) = Store::open_with(path, JournalOptions::default()).unwrap();
    let (mut state, mut random, mut waiting) = (recovered.state, Entropy::new(1), VecDeque::new());
    let (mut written, mut payload_bytes) = (0, 0);
    while written < RECORDS {
        let until = if written < RECORDS - TAIL { RECORDS - TAIL } else { RECORDS };
        let count = (until - written).min(GROUP as u64);
        let group: Vec<Recorded> = (written..written + count).map(|n| event(n, &mut random)).collect();
        for recorded in &group {
            evolve(&mut state, recorded);
            payload_bytes += serde_json::to_vec(recorded).unwrap().len() as u64;
        }
        waiting.push_back(store.append(&group, None).unwrap());
        written += count;
        while waiting.len() > if written == until { 0 } else { IN_FLIGHT } {
            waiting.pop_front().unwrap().wait().unwrap();
        }
        if written == RECORDS - TAIL {
            store.reader().keep_snapshot(&state, store.last_position());
        }
    }
    payload_bytes
}

/// The incidents first, then bursts: each begins and ends.
fn event(n: u64, random: &mut Entropy) -> Recorded {
    let at = Now { mono: MonoTime::from_millis(n * 40), wall: WallTime(1_795_392_000_000 + n as i64 * 40) };
    let place = if n < INCIDENTS { n } else { n / 2 % INCIDENTS };
    let (incident, patch) = (IncidentId(u128::from(place) + (7 << 90)), PatchId(u128::from(place) + (9 << 90)));
    let stream = Stream::Incident(incident);
    if n < INCIDENTS {
        let opened = OpenedPatch { patch, name: PatchName::new("main").unwrap(), floor: FloorPolicy::default() };
        let event = Event::IncidentOpened {
            incident,
            title: format!("Structure fire, {n} Mill Road"),
            kind: "fire".into(),
            exercise: false,
            host: "county-dispatch".parse().unwrap(),
            template: None,
            patches: vec![opened],
            lease_s: 14_400,
        };
        return Recorded { stream, actor: Actor::Timer, at, event };
    }
    let burst = BurstId((u128::from(n / 2) << 64) + 11);
    let talkgroup: TalkgroupId = format!("fire-ops-{}", place % 40).parse().unwrap();
    let gateway: GatewayId = format!("fire-gateway-{}", place % 20).parse().unwrap();
    let (talker, emergency) = (Alias::new(&format!("Engine {}", place % 60)), false);
    let event = if n.is_multiple_of(2) {
        Event::TalkBegan { incident, patch, burst, talkgroup, gateway, talker, emergency }
    } else {
        let heard = |k| HeardBy {
            gateway: format!("police-gateway-{k}").parse().unwrap(),
            heard_ms: 3_480,
            missed_ms: 20,
            missed: None::<MissCause>,
        };
        Event::Talked {
            incident,
            patch,
            burst,
            talkgroup,
            gateway,
            talker,
            emergency,
            duration_ms: random.below(20_000) as u32,
            end: BurstEnd::Released,
            heard_by: (0..1 + random.below(3)).map(heard).collect(),
        }
    };
    Recorded { stream, actor: Actor::Media, at, event }
}

fn load(path: &Path) {
    let syncs = bare_syncs(&path.join("bare"));
    println!("\nthe disk alone: {syncs:.0} syncs of 4 KiB a second");
    println!(
        "{:<24}{:>10}{:>10}{:>12}{:>12}{:>10}{:>10}",
        "appenders, each waits", "commits/s", "appends/s", "group mean", "group most", "p50 ms", "p99 ms"
    );
    for appenders in [1, 8, 64] {
        appending(&path.join(format!("load-{appenders}")), appenders);
    }
}

fn appending(path: &Path, appenders: u64) {
    let (journal, _) = Journal::open(DataDir::claim(path).unwrap(), JournalOptions::default()).unwrap();
    let ended = AtomicBool::new(false);
    let began = Instant::now();
    let mut waited_ms: Vec<f64> = std::thread::scope(|scope| {
        let (journal, ended) = (&journal, &ended);
        let threads: Vec<_> = (0..appenders).map(|n| scope.spawn(move || appends(journal, n, ended))).collect();
        std::thread::sleep(LOAD);
        ended.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (seconds, status) = (began.elapsed().as_secs_f64(), journal.status());
    waited_ms.sort_by(f64::total_cmp);
    let share = |percent: usize| waited_ms[(waited_ms.len() - 1) * percent / 100];
    println!(
        "{appenders:<24}{:>10.0}{:>10.0}{:>12.1}{:>12}{:>10.2}{:>10.2}",
        status.commits as f64 / seconds,
        status.records as f64 / seconds,
        status.records as f64 / status.commits as f64,
        status.group_max,
        share(50),
        share(99)
    );
}

/// Appends one record after another to a stream of its own; milliseconds from each append to its answer.
fn appends(journal: &Journal, n: u64, ended: &AtomicBool) -> Vec<f64> {
    let stream = JournalStream::Incident(IncidentId(u128::from(n)));
    let mut waited_ms = Vec::new();
    for seq in 0.. {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        let record = NewRecord {
            kind: "talked".into(),
            schema: 1,
            payload: format!("{{\"text\":\"{}\"}}", "t".repeat(400)).into_bytes(),
            wall: WallTime(1_795_392_000_000),
            actor: "media".into(),
            cause: None,
        };
        let began = Instant::now();
        journal.append(stream.clone(), seq, vec![record], None).unwrap().wait().unwrap();
        waited_ms.push(began.elapsed().as_secs_f64() * 1e3);
    }
    waited_ms
}

/// The floor under every commit: one page written and synced after another.
fn bare_syncs(path: &Path) -> f64 {
    let mut file = fs::File::create(path).unwrap();
    let (began, mut syncs) = (Instant::now(), 0);
    while began.elapsed() < LOAD / 3 {
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        syncs += 1;
    }
    f64::from(syncs) / began.elapsed().as_secs_f64()
}
