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

fn options(on_damage: OnDamage) -> JournalOptions {
    JournalOptions { on_damage, verify_all: true, ..Default::default() }
}

fn open(path: &Path) -> (Journal, RecoveryReport) {
    Journal::open(DataDir::claim(path).unwrap(), options(OnDamage::SetAside)).unwrap()
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
    for n in 0..count {
        let stream = incident(n % streams);
        let seq = journal.last_seq(&stream).unwrap();
        journal.append(stream, seq, vec![record(length)], None).unwrap().wait().unwrap();
    }
    all(journal)
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
    let seq = journal.last_seq(&incident(0)).unwrap();
    journal.append(incident(0), seq, vec![record(3)], None).unwrap().wait().unwrap();
    drop(journal);
    let checked = check(path).unwrap();
    assert!(checked.is_whole(), "{what}: {checked:?}");
    found.len()
}

#[test]
fn a_log_cut_at_any_byte_opens_to_a_prefix_and_says_what_was_cut() {
    let (live, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (journal, _) = open(live.path());
    let answered = fill(&journal, 2, 4, 10);
    let length = fs::metadata(live.path().join(WAL)).unwrap().len();
    let mut found = Vec::new();
    // The edges of frames and a sample between; every byte takes minutes.
    let every_byte = std::env::var_os("JOURNAL_CUT_EVERY_BYTE").is_some();
    let offsets =
        (0..length).filter(|at| every_byte || at % 211 == 0 || matches!(at.saturating_sub(32) % 4120, 0..26 | 4119));
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
    let (live, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (journal, _) = open(live.path());
    let answered = fill(&journal, 3, 120, 300);
    drop(journal);
    let length = fs::metadata(live.path().join(JOURNAL)).unwrap().len();
    let mut random = Entropy::new(11);
    let mut offsets: Vec<u64> = (0..60).map(|_| random.below(length)).collect();
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
    let (live, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
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
    let (live, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
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
    let other = rusqlite::Connection::open(live.path().join(JOURNAL)).unwrap();
    other.execute("UPDATE record SET actor = 'mallory' WHERE position = 4", []).unwrap();
    drop(other);
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
    for (tamper, what, seq) in [
        ("UPDATE record SET payload = x'2222' WHERE stream_no = 2 AND seq = 3", BreakKind::Altered, 3),
        ("UPDATE record SET wall_ms = wall_ms + 1 WHERE stream_no = 2 AND seq = 3", BreakKind::Altered, 3),
        ("UPDATE record SET seq = seq + 100 WHERE stream_no = 2 AND seq = 3", BreakKind::Missing, 3),
        ("DELETE FROM record WHERE stream_no = 2 AND seq = 3", BreakKind::Missing, 3),
        ("DELETE FROM record WHERE stream_no = 2 AND seq = 5", BreakKind::TailMissing, 5),
        ("UPDATE stream SET last_seq = 9 WHERE no = 2", BreakKind::TailMissing, 6),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = open(dir.path());
        let answered = fill(&journal, 3, 15, 10);
        drop(journal);
        let other = rusqlite::Connection::open(dir.path().join(JOURNAL)).unwrap();
        other.execute(tamper, []).unwrap();
        drop(other);
        let broken = ChainBreak { stream: incident(1), seq, what };
        let checked = check(dir.path()).unwrap();
        let reported: Vec<_> = checked.streams.iter().filter_map(|stream| stream.broken.clone()).collect();
        assert_eq!(reported, vec![broken.clone()], "{tamper}");
        assert!(!checked.is_whole());

        let (journal, report) = open(dir.path());
        assert_eq!(report.broken, vec![broken], "{tamper}");
        assert!(!report.is_whole());
        let others: Vec<_> = answered.iter().filter(|record| record.envelope.stream != incident(1)).cloned().collect();
        assert_eq!(all(&journal), others, "{tamper}");
        let aside: Vec<Record> = journal.read_set_aside(&report.set_aside[0]).unwrap().map(Result::unwrap).collect();
        let trusted = &aside[..seq as usize - 1];
        assert!(trusted.iter().all(|record| answered.contains(record)), "{tamper}: its records lie as they were");
        assert_eq!(journal.last_seq(&incident(1)).unwrap(), 0, "the name is free for a new stream");
        journal.append(incident(1), 0, vec![record(1)], None).unwrap().wait().unwrap();
        drop(journal);
        let (_journal, report) = open(dir.path());
        assert_eq!((report.broken.len(), report.set_aside.len(), report.is_whole()), (0, 1, false), "it stays aside");
    }
}

#[test]
fn any_flipped_bit_in_a_record_is_found_by_check_and_repair_keeps_the_original() {
    let (live, flipped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (journal, _) = open(live.path());
    let answered = fill(&journal, 2, 200, 400);
    drop(journal);
    let whole = fs::read(live.path().join(JOURNAL)).unwrap();
    let mut random = Entropy::new(5);
    let (mut found, mut silent) = (0, 0);
    for _ in 0..60 {
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
    assert!(found > 30, "found {found}, in free space {silent}");
}

#[test]
fn an_interrupted_repair_is_finished_at_the_next_opening() {
    let dir = tempfile::tempdir().unwrap();
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
        let dir = tempfile::tempdir().unwrap();
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
