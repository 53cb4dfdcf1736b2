//! What the journal does when its files were cut, flipped, or its process killed.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // tests: a panic is the report, a child reports by its output

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crosspatch::domain::id::IncidentId;
use crosspatch::domain::random::Entropy;
use crosspatch::domain::time::WallTime;
use crosspatch::io::journal::*;

const JOURNAL: &str = "journal.sqlite";
const WAL: &str = "journal.sqlite-wal";

fn incident(n: u64) -> Stream {
    Stream::Incident(IncidentId(u128::from(n)))
}

fn record(length: usize) -> NewRecord {
    NewRecord {
        kind: "talked".into(),
        schema: 1,
        payload: format!("\"{}\"", "p".repeat(length)).into_bytes(),
        wall: WallTime(1),
        actor: "daemon".into(),
        cause: Some("test".into()),
    }
}

/// In memory where the system has room for it: what is proved here is what the bytes lead to, and a process that is
/// killed loses nothing of either kind. Waiting for a disk would be most of the time.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn options(on_damage: OnDamage) -> JournalOptions {
    JournalOptions { on_damage, verify_all: true, ..Default::default() }
}

fn open(path: &Path) -> (Journal, RecoveryReport) {
    Journal::open(DataDir::claim(path).unwrap(), options(OnDamage::SetAside)).unwrap()
}

/// As the daemon opens it: only what came after the newest snapshot is verified.
fn open_as_daemon(path: &Path) -> (Journal, RecoveryReport) {
    Journal::open(DataDir::claim(path).unwrap(), JournalOptions::default()).unwrap()
}

fn tamper(path: &Path, sql: &str) {
    let other = rusqlite::Connection::open(path.join(JOURNAL)).unwrap();
    assert!(other.execute(sql, []).unwrap() > 0, "{sql}");
}

fn snapshot(journal: &Journal, schema: u32) -> Snapshot {
    let snapshot = Snapshot { position: journal.last_position(), schema, bytes: vec![7; 500] };
    journal.save_snapshot(snapshot.clone()).unwrap().wait().unwrap();
    snapshot
}

fn all(journal: &Journal) -> Vec<Record> {
    journal.read_all(0).unwrap().map(Result::unwrap).collect()
}

/// Copies a journal as a power cut would leave it, while it is open.
fn copy(from: &Path, to: &Path) {
    drop(fs::remove_dir_all(to));
    fs::create_dir_all(to).unwrap();
    for file in from.read_dir().unwrap().map(Result::unwrap) {
        if !file.file_name().to_string_lossy().ends_with("-shm") {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

/// Writes `count` records over a few streams, one commit each, and gives them.
fn fill(journal: &Journal, streams: u64, count: u64, length: usize) -> Vec<Record> {
    (0..count).for_each(|n| append(journal, incident(n % streams), length));
    all(journal)
}

fn append(journal: &Journal, stream: Stream, length: usize) {
    let seq = journal.last_seq(&stream).unwrap();
    journal.append(stream, seq, vec![record(length)], None).unwrap().wait().unwrap();
}

/// Opens a damaged copy: whatever is there was written, in order; whatever is gone is said to be gone;
/// and the journal works.
fn must_recover(path: &Path, answered: &[Record], what: &str) -> usize {
    let (journal, report) = open(path);
    let found = all(&journal);
    let lost = found.len() < answered.len();
    assert_eq!(lost, !report.is_whole(), "{what}: {} of {} with {report:?}", found.len(), answered.len());
    if report.missing.is_empty() && report.set_aside.is_empty() {
        assert_eq!(found, answered[..found.len()], "{what}: not a prefix");
        let cut = Cut { answered: answered.len() as u64, found: found.len() as u64 };
        assert_eq!(report.cut, lost.then_some(cut), "{what}");
    } else {
        for record in &found {
            assert_eq!(record, &answered[record.envelope.position as usize - 1], "{what}");
        }
    }
    append(&journal, incident(0), 3);
    drop(journal);
    let checked = check(path).unwrap();
    assert!(checked.is_whole(), "{what}: {checked:?}");
    found.len()
}

#[test]
fn a_log_cut_at_any_byte_opens_to_a_prefix_and_says_what_was_cut() {
    let (live, cut) = (scratch(), scratch());
    let (journal, _) = open(live.path());
    let answered = fill(&journal, 2, 4, 10);
    let length = fs::metadata(live.path().join(WAL)).unwrap().len();
    let mut found = Vec::new();
    // The edges of frames and a sample between; every byte takes minutes.
    let every_byte = std::env::var_os("JOURNAL_CUT_EVERY_BYTE").is_some();
    let offsets =
        (0..length).filter(|at| every_byte || at % 509 == 0 || matches!(at.saturating_sub(32) % 4120, 0..26 | 4119));
    for at in offsets {
        copy(live.path(), cut.path());
        let file = fs::OpenOptions::new().write(true).open(cut.path().join(WAL)).unwrap();
        file.set_len(at).unwrap();
        found.push(must_recover(cut.path(), &answered, &format!("log cut at {at} of {length}")));
    }
    assert!(found.is_sorted(), "more bytes never mean fewer records");
    assert_eq!((found[0], found.iter().max()), (0, Some(&3)), "every cut destroyed the last commit");
}

#[test]
fn a_database_cut_anywhere_opens_to_what_can_be_trusted_and_says_what_is_gone() {
    let (live, cut) = (scratch(), scratch());
    let (journal, _) = open(live.path());
    let answered = fill(&journal, 3, 120, 300);
    drop(journal);
    let length = fs::metadata(live.path().join(JOURNAL)).unwrap().len();
    let mut random = Entropy::new(11);
    let mut offsets: Vec<u64> = (0..24).map(|_| random.below(length)).collect();
    offsets.extend([0, 1, 99, 100, 511, 512, 4095, 4096, 4097, length - 1]);
    offsets.extend((1..length / 4096).map(|page| page * 4096));
    let mut kept = Vec::new();
    for at in offsets {
        copy(live.path(), cut.path());
        fs::OpenOptions::new().write(true).open(cut.path().join(JOURNAL)).unwrap().set_len(at).unwrap();
        kept.push((at, must_recover(cut.path(), &answered, &format!("database cut at {at} of {length}"))));
    }
    kept.sort_unstable();
    assert_eq!(kept[0].1, 0);
    assert!(kept.last().unwrap().1 > 100, "a cut of the last byte costs little: {kept:?}");
}

#[test]
fn a_database_cut_under_a_whole_log_loses_nothing_that_the_log_holds() {
    let (live, cut) = (scratch(), scratch());
    let (journal, _) = open(live.path());
    let answered = fill(&journal, 2, 30, 100); // all of it still in the log
    for at in [0, 50, 99, 100, 2000, 4095, 4096, 8191] {
        copy(live.path(), cut.path());
        fs::OpenOptions::new().write(true).open(cut.path().join(JOURNAL)).unwrap().set_len(at).unwrap();
        let found = must_recover(cut.path(), &answered, &format!("database cut at {at} under a whole log"));
        if at >= 4096 {
            assert_eq!(found, answered.len(), "the log holds every page that was cut");
        }
    }
}

#[test]
fn strict_refusal_opens_no_cut_and_no_broken_journal_and_changes_nothing() {
    let (live, cut) = (scratch(), scratch());
    let (journal, _) = open(live.path());
    fill(&journal, 2, 6, 10);
    copy(live.path(), cut.path());
    let wal = cut.path().join(WAL);
    let length = fs::metadata(&wal).unwrap().len();
    fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(length - 1).unwrap();
    let refused = Journal::open(DataDir::claim(cut.path()).unwrap(), options(OnDamage::Refuse)).unwrap_err();
    assert_eq!(refused, OpenFault::Cut { answered: 6, found: 5 });
    assert_eq!(fs::metadata(&wal).unwrap().len(), length - 1);
    drop(journal);
    tamper(live.path(), "UPDATE record SET actor = 'mallory' WHERE position = 4");
    let refused = Journal::open(DataDir::claim(live.path()).unwrap(), options(OnDamage::Refuse)).unwrap_err();
    let broken = ChainBreak { stream: incident(1), seq: 2, what: BreakKind::Altered };
    assert_eq!(refused, OpenFault::Broken(vec![broken]));
    fs::write(
        live.path().join(JOURNAL),
        b"not a database, whatever its name says; long enough to have a header. ".repeat(99),
    )
    .unwrap();
    let refused = Journal::open(DataDir::claim(live.path()).unwrap(), options(OnDamage::Refuse)).unwrap_err();
    assert!(matches!(refused, OpenFault::Damaged(_)), "{refused:?}");
}

#[test]
fn a_break_in_the_middle_sets_that_stream_aside_unaltered_and_leaves_the_others() {
    for (sql, what, seq) in [
        ("UPDATE record SET payload = x'2222' WHERE stream_no = 2 AND seq = 3", BreakKind::Altered, 3),
        ("UPDATE record SET wall_ms = wall_ms + 1 WHERE stream_no = 2 AND seq = 3", BreakKind::Altered, 3),
        ("UPDATE record SET seq = seq + 100 WHERE stream_no = 2 AND seq = 3", BreakKind::Missing, 3),
        ("DELETE FROM record WHERE stream_no = 2 AND seq = 3", BreakKind::Missing, 3),
        ("DELETE FROM record WHERE stream_no = 2 AND seq = 5", BreakKind::TailMissing, 5),
        ("UPDATE stream SET last_seq = 9 WHERE no = 2", BreakKind::TailMissing, 6),
    ] {
        let dir = scratch();
        let (journal, _) = open(dir.path());
        let answered = fill(&journal, 3, 15, 10);
        drop(journal);
        tamper(dir.path(), sql);
        let broken = ChainBreak { stream: incident(1), seq, what };
        let checked = check(dir.path()).unwrap();
        let reported: Vec<_> = checked.streams.iter().filter_map(|stream| stream.broken.clone()).collect();
        assert_eq!(reported, vec![broken.clone()], "{sql}");
        assert!(!checked.is_whole());

        let (journal, report) = open(dir.path());
        assert_eq!(report.broken, vec![broken], "{sql}");
        assert!(!report.is_whole());
        let others: Vec<_> = answered.iter().filter(|record| record.envelope.stream != incident(1)).cloned().collect();
        assert_eq!(all(&journal), others, "{sql}");
        let aside: Vec<Record> = journal.read_set_aside(&report.set_aside[0]).unwrap().map(Result::unwrap).collect();
        let trusted = &aside[..seq as usize - 1];
        assert!(trusted.iter().all(|record| answered.contains(record)), "{sql}: its records lie as they were");
        assert_eq!(journal.last_seq(&incident(1)).unwrap(), 0, "the name is free for a new stream");
        journal.append(incident(1), 0, vec![record(1)], None).unwrap().wait().unwrap();
        drop(journal);
        let (_journal, report) = open(dir.path());
        assert_eq!((report.broken.len(), report.set_aside.len(), report.is_whole()), (0, 1, false), "it stays aside");
    }
}

#[test]
fn any_flipped_bit_in_a_record_is_found_by_check_and_repair_keeps_the_original() {
    let (live, flipped) = (scratch(), scratch());
    let (journal, _) = open(live.path());
    let answered = fill(&journal, 2, 200, 400);
    drop(journal);
    let whole = fs::read(live.path().join(JOURNAL)).unwrap();
    let mut random = Entropy::new(5);
    let (mut found, mut silent) = (0, 0);
    for _ in 0..40 {
        copy(live.path(), flipped.path());
        let mut bytes = whole.clone();
        let at = 4096 + random.below(bytes.len() as u64 - 4096) as usize;
        bytes[at] ^= 1 << random.below(8);
        fs::write(flipped.path().join(JOURNAL), &bytes).unwrap();
        let before = check(flipped.path()).unwrap();
        if before.is_whole() {
            // A bit that nothing was kept in: free space of a page.
            let (journal, report) = open(flipped.path());
            assert!(report.is_whole());
            assert_eq!(all(&journal), answered, "bit at byte {at}");
            silent += 1;
            continue;
        }
        found += 1;
        let dir = DataDir::claim(flipped.path()).unwrap();
        let repaired = repair(&dir).unwrap();
        let kept = flipped.path().join("journal.sqlite.before-repair-1");
        assert_eq!(repaired.original.as_deref(), kept.to_str());
        assert_eq!(fs::read(kept).unwrap(), bytes, "the original is as it was found");
        assert_eq!(repaired.before, before);
        assert!(repaired.after.is_whole() || repaired.after.cut.is_some(), "bit at byte {at}: {repaired:?}");
        let again = repair(&dir).unwrap();
        assert_eq!((again.original, again.before), (None, repaired.after), "a second repair has nothing to do");
        drop(dir);
        let (journal, _) = open(flipped.path());
        all(&journal).iter().for_each(|record| assert!(answered.contains(record), "bit at byte {at}"));
    }
    assert!(found > 20, "found {found}, in free space {silent}");
}

#[test]
fn an_interrupted_repair_is_finished_at_the_next_opening() {
    let dir = scratch();
    let (journal, _) = open(dir.path());
    let answered = fill(&journal, 2, 10, 10);
    drop(journal);
    // The crash came after the original was moved away, before the rebuilt file took its place.
    fs::rename(dir.path().join(JOURNAL), dir.path().join("journal.rebuilt.sqlite")).unwrap();
    let (journal, report) = open(dir.path());
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(all(&journal), answered);
}

#[test]
fn a_killed_writer_has_kept_every_record_it_acknowledged() {
    if let Ok(path) = std::env::var("JOURNAL_KILLED_IN") {
        write_until_killed(Path::new(&path));
    }
    let mut random = Entropy::new(3);
    for _ in 0..6 {
        let dir = scratch();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_killed_writer_has_kept_every_record_it_acknowledged", "--nocapture"])
            .env("JOURNAL_KILLED_IN", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let wanted = 50 + random.below(400);
        let mut acknowledged = 0;
        let mut take = |line: String| {
            if let Some((_, position)) = line.split_once("acknowledged ") {
                acknowledged = position.parse::<u64>().unwrap_or(acknowledged);
            }
            acknowledged
        };
        while take(lines.next().unwrap()) < wanted {}
        child.kill().unwrap();
        // The last line may be torn, but then its number is smaller.
        for line in lines {
            take(line);
        }
        child.wait().unwrap();
        let acknowledged = take(String::new());
        let (journal, report) = open(dir.path());
        assert!(report.is_whole(), "{report:?}");
        assert!(report.last_position >= acknowledged, "{acknowledged} acknowledged, {report:?}");
        assert_eq!(all(&journal).len() as u64, report.last_position);
    }
}

/// The child: several threads append, each acknowledged position goes to the parent.
fn write_until_killed(path: &Path) -> ! {
    let (journal, _) = open(path);
    std::thread::scope(|scope| {
        for n in 0..4 {
            let journal = &journal;
            scope.spawn(move || {
                for seq in 0.. {
                    let committed = journal.append(incident(n), seq, vec![record(300)], None).unwrap().wait().unwrap();
                    println!("acknowledged {}", committed.last_position);
                }
            });
        }
    });
    unreachable!("the parent kills this process")
}

#[test]
fn a_break_before_the_newest_snapshot_is_left_to_check_and_found_by_the_next_full_opening() {
    let dir = scratch();
    let (journal, _) = open_as_daemon(dir.path());
    fill(&journal, 3, 15, 10);
    let kept = snapshot(&journal, 1);
    fill(&journal, 3, 6, 10);
    drop(journal);
    tamper(dir.path(), "UPDATE record SET actor = 'mallory' WHERE stream_no = 2 AND seq = 3");
    let broken = ChainBreak { stream: incident(1), seq: 3, what: BreakKind::Altered };

    let (journal, report) = open_as_daemon(dir.path());
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(journal.load_snapshot().unwrap(), Some(kept), "its state was made before the record was changed");
    append(&journal, incident(1), 10);
    drop(journal);
    let found: Vec<_> = check(dir.path()).unwrap().streams.into_iter().filter_map(|stream| stream.broken).collect();
    assert_eq!(found, vec![broken.clone()], "check looks at everything");

    let (journal, report) = open(dir.path());
    assert_eq!(report.broken, vec![broken]);
    assert_eq!(journal.load_snapshot().unwrap(), None, "it holds state of the stream that lies aside");
}

#[test]
fn a_break_after_the_newest_snapshot_sets_aside_everything_that_is_broken_and_forgets_the_snapshots() {
    for (sql, what, seq) in [
        ("UPDATE record SET payload = x'2222' WHERE stream_no = 2 AND seq = 6", BreakKind::Altered, 6),
        ("DELETE FROM record WHERE stream_no = 2 AND seq = 6", BreakKind::Missing, 6),
        ("DELETE FROM record WHERE stream_no = 2 AND seq = 7", BreakKind::TailMissing, 7),
        ("UPDATE stream SET last_seq = 9 WHERE no = 2", BreakKind::TailMissing, 8),
    ] {
        let dir = scratch();
        let (journal, _) = open_as_daemon(dir.path());
        fill(&journal, 4, 16, 10);
        snapshot(&journal, 1);
        fill(&journal, 4, 4, 10);
        snapshot(&journal, 1);
        let answered = fill(&journal, 3, 6, 10);
        drop(journal);
        tamper(dir.path(), "UPDATE record SET payload = x'2222' WHERE stream_no = 4 AND seq = 1"); // long ago
        tamper(dir.path(), sql);
        let (journal, report) = open_as_daemon(dir.path());
        let broken = [
            ChainBreak { stream: incident(1), seq, what },
            ChainBreak { stream: incident(3), seq: 1, what: BreakKind::Altered },
        ];
        assert_eq!(report.broken, broken, "{sql}: one break makes the opening look at everything");
        assert_eq!(journal.load_snapshot().unwrap(), None, "{sql}");
        let lives = |record: &&Record| [incident(0), incident(2)].contains(&record.envelope.stream);
        let living: Vec<Record> = answered.iter().filter(lives).cloned().collect();
        assert_eq!(all(&journal), living, "{sql}: state comes from the living streams alone");
        let kept = snapshot(&journal, 1);
        drop(journal);
        let (journal, report) = open_as_daemon(dir.path());
        assert_eq!((report.broken.len(), report.set_aside.len()), (0, 2), "{sql}");
        assert_eq!(journal.load_snapshot().unwrap(), Some(kept), "{sql}: one made without those streams is kept");
    }
}

#[test]
fn a_log_cut_behind_the_newest_snapshot_is_a_cut_and_keeps_the_snapshot() {
    let (live, cut) = (scratch(), scratch());
    let (journal, _) = open_as_daemon(live.path());
    fill(&journal, 2, 6, 10);
    let kept = snapshot(&journal, 1);
    let answered = fill(&journal, 2, 4, 10);
    copy(live.path(), cut.path());
    let wal = fs::OpenOptions::new().write(true).open(cut.path().join(WAL)).unwrap();
    wal.set_len(wal.metadata().unwrap().len() - 1).unwrap();
    let (journal, report) = open_as_daemon(cut.path());
    assert_eq!((report.cut, report.broken.len()), (Some(Cut { answered: 10, found: 9 }), 0));
    assert_eq!(all(&journal), answered[..9]);
    assert_eq!(journal.load_snapshot().unwrap(), Some(kept));
}

#[test]
fn what_lies_before_a_snapshot_that_the_caller_cannot_read_is_verified() {
    let dir = scratch();
    let (journal, _) = open_as_daemon(dir.path());
    fill(&journal, 2, 4, 10);
    let old = snapshot(&journal, 7);
    drop(journal);
    tamper(dir.path(), "UPDATE record SET actor = 'mallory' WHERE position = 2");
    let open_for = |schema| {
        let options = JournalOptions { snapshot_schema: Some(schema), ..JournalOptions::default() };
        Journal::open(DataDir::claim(dir.path()).unwrap(), options).unwrap()
    };
    let (journal, report) = open_for(7);
    assert_eq!((report.is_whole(), journal.load_snapshot().unwrap()), (true, Some(old)));
    drop(journal);
    let (journal, report) = open_for(8);
    assert_eq!(report.broken, vec![ChainBreak { stream: incident(1), seq: 1, what: BreakKind::Altered }]);
    assert_eq!(journal.load_snapshot().unwrap(), None);
}

#[test]
fn a_snapshot_that_does_not_parse_is_passed_over_and_what_lies_before_it_is_verified() {
    let dir = scratch();
    let (journal, _) = open_as_daemon(dir.path());
    fill(&journal, 2, 4, 10);
    snapshot(&journal, 7);
    drop(journal);
    tamper(dir.path(), "UPDATE record SET actor = 'mallory' WHERE position = 2");
    let parses: fn(&[u8]) -> bool = |bytes| bytes.starts_with(b"{");
    let options = JournalOptions { snapshot_parses: Some(parses), ..JournalOptions::default() };
    let (journal, report) = Journal::open(DataDir::claim(dir.path()).unwrap(), options).unwrap();
    assert_eq!(report.broken, vec![ChainBreak { stream: incident(1), seq: 1, what: BreakKind::Altered }]);
    assert_eq!(journal.load_snapshot().unwrap(), None);
}

#[test]
fn a_repair_keeps_good_snapshots_unless_it_sets_a_stream_aside() {
    let dir = scratch();
    let (journal, _) = open_as_daemon(dir.path());
    fill(&journal, 2, 4, 10);
    let kept = snapshot(&journal, 1);
    fill(&journal, 2, 2, 10);
    snapshot(&journal, 1);
    drop(journal);
    tamper(dir.path(), "UPDATE snapshot SET bytes = x'00' WHERE position = 6");
    let repaired = repair(&DataDir::claim(dir.path()).unwrap()).unwrap();
    assert_eq!((repaired.before.bad_snapshots, repaired.after.is_whole()), (1, true));
    assert_eq!(open_as_daemon(dir.path()).0.load_snapshot().unwrap(), Some(kept));
    tamper(dir.path(), "UPDATE record SET actor = 'mallory' WHERE position = 1");
    let repaired = repair(&DataDir::claim(dir.path()).unwrap()).unwrap();
    assert_eq!(repaired.set_aside, vec![ChainBreak { stream: incident(0), seq: 1, what: BreakKind::Altered }]);
    assert_eq!(open_as_daemon(dir.path()).0.load_snapshot().unwrap(), None);
}

#[test]
fn a_journal_of_a_later_version_is_refused_by_everything_and_left_as_it_is() {
    for (in_log, cut) in [(false, false), (false, true), (true, false)] {
        let (live, crashed) = (scratch(), scratch());
        let (journal, _) = open(live.path());
        fill(&journal, 2, 4, 10);
        drop(journal);
        let later = rusqlite::Connection::open(live.path().join(JOURNAL)).unwrap();
        later.pragma_update(None, "user_version", 2).unwrap();
        copy(live.path(), crashed.path());
        drop(later);
        let path = if in_log { crashed.path() } else { live.path() };
        let file = path.join(JOURNAL);
        if cut {
            let file = fs::OpenOptions::new().write(true).open(&file).unwrap();
            file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        }
        let before = (fs::read(&file).unwrap(), fs::read(path.join(WAL)).ok());
        let claim = || DataDir::claim(path).unwrap();
        for on_damage in [OnDamage::SetAside, OnDamage::Refuse] {
            let refused = Journal::open(claim(), options(on_damage)).unwrap_err();
            assert_eq!(refused, OpenFault::NewerFormat(2));
            assert!(refused.to_string().contains("format 2"));
        }
        assert_eq!(check(path), Err(OpenFault::NewerFormat(2)));
        assert_eq!(repair(&claim()), Err(OpenFault::NewerFormat(2)));
        assert_eq!((fs::read(&file).unwrap(), fs::read(path.join(WAL)).ok()), before);
    }
}

#[test]
fn a_header_that_lost_our_format_costs_no_record() {
    let dir = scratch();
    let (journal, _) = open(dir.path());
    let answered = fill(&journal, 2, 4, 10);
    drop(journal);
    let other = rusqlite::Connection::open(dir.path().join(JOURNAL)).unwrap();
    other.pragma_update(None, "user_version", 0).unwrap();
    drop(other);
    assert!(check(dir.path()).unwrap().unreadable.is_some());
    must_recover(dir.path(), &answered, "format 0");
}

#[test]
fn a_check_beside_a_daemon_tells_damage_and_makes_no_copy_of_a_file_that_is_written() {
    let dir = scratch();
    let (journal, _) = open(dir.path());
    fill(&journal, 2, 200, 400);
    drop(journal);
    let (journal, _) = open(dir.path());
    let file = fs::OpenOptions::new().write(true).open(dir.path().join(JOURNAL)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 4096 * 20], 4096 * 8).unwrap();
    let found = check(dir.path()).unwrap();
    assert!(found.unreadable.is_some() && found.streams.is_empty(), "{found:?}");
    drop(journal);
    assert!(!check(dir.path()).unwrap().streams.is_empty(), "once it has ended a copy is read");
}
