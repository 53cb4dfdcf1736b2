//! Promises of the journal about appending, answering, chains and readers. Damage on disk: `journal_damage.rs`.

#![allow(clippy::unwrap_used)] // tests: a panic is the report

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use crosspatch::domain::id::{AgencyId, IncidentId};
use crosspatch::domain::random::Entropy;
use crosspatch::domain::time::WallTime;
use crosspatch::io::journal::*;
use serde_json::json;

fn incident(n: u128) -> Stream {
    Stream::Incident(IncidentId(n))
}

fn agency(name: &str) -> Stream {
    Stream::Agency(AgencyId::new(name).unwrap())
}

fn record(text: &str) -> NewRecord {
    NewRecord {
        kind: "link_opened".into(),
        schema: 1,
        payload: json!({ "text": text }).to_string().into_bytes(),
        wall: WallTime(1_795_392_000_000),
        actor: "dispatcher-1".into(),
        cause: None,
    }
}

fn open(path: &std::path::Path) -> (Journal, RecoveryReport) {
    open_with(path, JournalOptions::default())
}

fn open_with(path: &std::path::Path, options: JournalOptions) -> (Journal, RecoveryReport) {
    Journal::open(DataDir::claim(path).unwrap(), options).unwrap()
}

fn append(journal: &Journal, stream: Stream, expected: u64, text: &str) -> Result<Committed, NotRecorded> {
    journal.append(stream, expected, vec![record(text)], None).and_then(Ticket::wait)
}

fn all(journal: &Journal) -> Vec<Record> {
    journal.read_all(0).unwrap().map(Result::unwrap).collect()
}

/// A gate the test opens: it says when a group has come and is told what becomes of it.
struct Held {
    came: Sender<usize>,
    verdicts: Receiver<Result<(), String>>,
}

impl CommitGate for Held {
    fn pass(&mut self, appends: usize) -> Result<(), String> {
        self.came.send(appends).unwrap();
        self.verdicts.recv().unwrap_or(Ok(()))
    }
}

fn held(options: JournalOptions) -> (JournalOptions, Receiver<usize>, Sender<Result<(), String>>) {
    let (came, arrivals) = channel();
    let (verdict, verdicts) = channel();
    (JournalOptions { gate: Some(Box::new(Held { came, verdicts })), ..options }, arrivals, verdict)
}

#[test]
fn what_was_answered_is_read_back_in_order_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, report) = open(dir.path());
    assert_eq!((report.last_position, report.epoch, report.is_whole()), (0, 1, true));
    append(&journal, incident(1), 0, "a").unwrap();
    append(&journal, agency("fire"), 0, "b").unwrap();
    let third = append(&journal, incident(1), 1, "c").unwrap();
    assert_eq!(third.last_seqs, vec![(incident(1), 2)]);
    let before = all(&journal);
    drop(journal);
    let (journal, report) = open(dir.path());
    assert_eq!((report.last_position, report.epoch, report.unanswered), (3, 2, 0));
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(all(&journal), before);
    let in_stream: Vec<u64> =
        journal.read(&incident(1), 2).unwrap().map(|record| record.unwrap().envelope.position).collect();
    assert_eq!(in_stream, vec![3]);
    assert_eq!(journal.last_seq(&incident(1)).unwrap(), 2);
    assert_eq!(journal.last_seq(&incident(9)).unwrap(), 0);
    append(&journal, incident(1), 2, "d").unwrap();
    let epochs: Vec<u64> = all(&journal).iter().map(|record| record.envelope.epoch).collect();
    assert_eq!(epochs, vec![1, 1, 1, 2], "a record carries the epoch of the opening that wrote it");
}

#[test]
fn an_append_to_a_stream_that_moved_on_is_refused_and_nothing_of_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    append(&journal, incident(1), 0, "a").unwrap();
    let parts = vec![
        Part { stream: agency("fire"), expected_seq: 0, records: vec![record("x")] },
        Part { stream: incident(1), expected_seq: 0, records: vec![record("y")] },
    ];
    let refused = journal.append_parts(parts, None).unwrap().wait();
    assert_eq!(refused, Err(NotRecorded::Conflict { stream: incident(1), expected: 0, actual: 1 }));
    assert_eq!(journal.last_seq(&agency("fire")).unwrap(), 0, "the other part was not written either");
    assert_eq!(all(&journal).len(), 1);
    assert_eq!(journal.status().alarm, None, "a refusal is no fault");
}

#[test]
fn an_append_to_several_streams_is_one_commit_with_adjacent_positions() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let parts = vec![
        Part { stream: incident(1), expected_seq: 0, records: vec![record("a"), record("b")] },
        Part { stream: Stream::Node, expected_seq: 0, records: vec![record("c")] },
    ];
    let committed = journal.append_parts(parts, None).unwrap().wait().unwrap();
    assert_eq!((committed.first_position, committed.last_position), (1, 3));
    assert_eq!(committed.last_seqs, vec![(incident(1), 2), (Stream::Node, 1)]);
}

#[test]
fn the_same_key_answers_the_first_result_and_refuses_another_request() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let key = IdempotencyKey::new("console-7/42", b"link fire-1");
    let first = journal.append(incident(1), 0, vec![record("a")], Some(key.clone())).unwrap().wait().unwrap();
    drop(journal);
    let (journal, _) = open(dir.path());
    // The retry was decided anew: other expected sequence, other bytes, same request.
    let again = journal.append(incident(1), 1, vec![record("b")], Some(key.clone())).unwrap().wait().unwrap();
    assert_eq!(again, Committed { repeated: true, ..first });
    assert_eq!(journal.answered(&key).unwrap(), Some(Ok(again)));
    let other = IdempotencyKey::new("console-7/42", b"link fire-2");
    let refused = journal.append(incident(1), 1, vec![record("b")], Some(other)).unwrap().wait();
    assert_eq!(refused, Err(NotRecorded::KeyReused("console-7/42".into())));
    assert_eq!(all(&journal).len(), 1);
}

#[test]
fn appends_that_queue_during_a_commit_share_the_next_and_a_repeat_within_it_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (options, came, verdict) = held(JournalOptions::default());
    let (journal, _) = open_with(dir.path(), options);
    let key = Some(IdempotencyKey::new("k", b"r"));
    let first = journal.append(incident(1), 0, vec![record("a")], None).unwrap();
    assert_eq!(came.recv().unwrap(), 1);
    let waiting: Vec<_> =
        (1..=5).map(|seq| journal.append(incident(1), seq, vec![record("b")], None).unwrap()).collect();
    let keyed = journal.append(agency("fire"), 0, vec![record("c")], key.clone()).unwrap();
    let repeat = journal.append(agency("fire"), 0, vec![record("c")], key).unwrap();
    verdict.send(Ok(())).unwrap();
    assert_eq!(first.wait().unwrap().last_position, 1);
    assert_eq!(came.recv().unwrap(), 7, "all that queued come in one group");
    verdict.send(Ok(())).unwrap();
    for (at, ticket) in waiting.into_iter().enumerate() {
        assert_eq!(ticket.wait().unwrap().last_position, 2 + at as u64);
    }
    let (keyed, repeat) = (keyed.wait().unwrap(), repeat.wait().unwrap());
    assert_eq!(repeat, Committed { repeated: true, ..keyed });
    assert_eq!((journal.status().commits, journal.status().group_max, journal.status().queued), (2, 7, 0));
}

#[test]
fn a_failed_commit_fails_all_its_tickets_with_the_cause_and_applies_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (options, came, verdict) = held(JournalOptions::default());
    let (journal, _) = open_with(dir.path(), options);
    let first = journal.append(incident(1), 0, vec![record("a")], None).unwrap();
    came.recv().unwrap();
    let second = journal.append(incident(1), 1, vec![record("b")], None).unwrap();
    let third = journal.append(agency("fire"), 0, vec![record("c")], None).unwrap();
    let conflicting = journal.append(agency("fire"), 7, vec![record("d")], None).unwrap();
    verdict.send(Ok(())).unwrap();
    first.wait().unwrap();
    came.recv().unwrap();
    verdict.send(Err("the disk is gone".into())).unwrap();
    for ticket in [second, third] {
        assert_eq!(ticket.wait(), Err(NotRecorded::Storage("the disk is gone".into())));
    }
    let own = NotRecorded::Conflict { stream: agency("fire"), expected: 7, actual: 1 };
    assert_eq!(conflicting.wait(), Err(own), "its own refusal stands");
    let alarm = journal.status().alarm.unwrap();
    assert_eq!(alarm.since, WallTime(1_795_392_000_000));
    assert!(alarm.cause.contains("the disk is gone"));
    assert_eq!(all(&journal).len(), 1);
    verdict.send(Ok(())).unwrap();
    // Memory is as before the failed group: the stream is still at 1.
    let retried = append(&journal, incident(1), 1, "b").unwrap();
    assert_eq!(retried.last_position, 2);
    assert_eq!(journal.status().alarm, None, "a commit that succeeds ends the alarm");
    drop(journal);
    assert!(check(dir.path()).unwrap().is_whole());
}

#[test]
fn a_full_disk_fails_appends_keeps_what_was_answered_and_ends_with_room() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open_with(dir.path(), JournalOptions { size_max_bytes: Some(160 << 10), ..Default::default() });
    let mut answered = 0;
    let cause = loop {
        assert!(answered < 1000, "the limit was not kept");
        match append(&journal, incident(1), answered, &"x".repeat(1000)) {
            Ok(_) => answered += 1,
            Err(fault) => break fault,
        }
    };
    assert!(matches!(&cause, NotRecorded::Storage(text) if text.contains("full")), "{cause:?}");
    assert!(answered > 20);
    assert!(journal.status().alarm.is_some());
    assert_eq!(all(&journal).len() as u64, answered);
    drop(journal);
    let (journal, report) = open(dir.path());
    assert!(report.is_whole());
    append(&journal, incident(1), answered, "there is room again").unwrap();
}

#[test]
fn a_full_queue_is_refused_and_counted_while_storage_is_slow() {
    let dir = tempfile::tempdir().unwrap();
    let (options, came, verdict) = held(JournalOptions { queue_max: 2, ..Default::default() });
    let (journal, _) = open_with(dir.path(), options);
    let in_commit = journal.append(incident(1), 0, vec![record("a")], None).unwrap();
    came.recv().unwrap();
    let waiting: Vec<_> =
        (1..3).map(|seq| journal.append(incident(1), seq, vec![record("b")], None).unwrap()).collect();
    let refused = journal.append(incident(1), 3, vec![record("c")], None).map(drop);
    assert_eq!(refused, Err(NotRecorded::QueueFull));
    assert_eq!((journal.status().refused_full, journal.status().queued), (1, 3));
    drop(verdict); // from here on the gate stands open
    in_commit.wait().unwrap();
    waiting.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
    append(&journal, incident(1), 3, "c").unwrap();
}

#[test]
fn a_ticket_can_be_awaited() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let ticket = journal.append(incident(1), 0, vec![record("a")], None).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(ticket).unwrap().last_position, 1);
}

#[test]
fn a_subscriber_sees_each_position_once_in_order_and_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    append(&journal, incident(1), 0, "before").unwrap();
    let mut slow = journal.subscribe(0);
    let mut fresh = journal.subscribe(1);
    let reader = std::thread::spawn(move || {
        let mut seen = Vec::new();
        while let Some(range) = fresh.next_blocking() {
            seen.extend(range);
        }
        seen
    });
    for seq in 1..200 {
        append(&journal, incident(1), seq, "more").unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(slow.next()), Some(1..=200), "news is coalesced for a slow reader");
    drop(journal);
    assert_eq!(runtime.block_on(slow.next()), None);
    assert_eq!(reader.join().unwrap(), (2..=200).collect::<Vec<u64>>());
}

#[test]
fn a_writer_that_was_overtaken_writes_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    append(&journal, incident(1), 0, "a").unwrap();
    // Another host has opened the same files, where no lock reaches.
    let other = rusqlite::Connection::open(dir.path().join("journal.sqlite")).unwrap();
    other.execute("UPDATE node SET epoch = epoch + 1", []).unwrap();
    assert_eq!(append(&journal, incident(1), 1, "b"), Err(NotRecorded::Fenced));
    assert_eq!(all(&journal).len(), 1);
}

#[test]
fn a_second_instance_is_refused_and_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let refused = DataDir::claim(dir.path()).unwrap_err();
    assert_eq!(refused, OpenFault::Locked { dir: dir.path().into(), holder_pid: Some(std::process::id()) });
    assert!(refused.to_string().contains(&std::process::id().to_string()));
    drop(journal);
    drop(DataDir::claim(dir.path()).unwrap());
}

#[test]
fn a_check_beside_a_daemon_that_writes_finds_it_whole_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for n in 0..3 {
            let (journal, ended) = (&journal, &ended);
            scope.spawn(move || {
                // Long enough that the log is moved into the file again and again.
                for seq in (0..).take_while(|seq| *seq < 50 || !ended.load(Ordering::Relaxed)) {
                    append(journal, incident(n), seq, &"x".repeat(100_000)).unwrap();
                }
            });
        }
        for _ in 0..15 {
            let found = check(dir.path()).unwrap();
            assert!(found.is_whole() && found.cut.is_none(), "{found:?}");
        }
        ended.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_reader_that_stays_holds_up_no_commit_and_the_log_shrinks_when_it_has_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    append(&journal, incident(1), 0, "a").unwrap();
    let reader = rusqlite::Connection::open(dir.path().join("journal.sqlite")).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    reader.query_row("SELECT count(*) FROM record", [], |_| Ok(())).unwrap();
    let megabyte = "x".repeat(1_000_000);
    for seq in 1..21 {
        append(&journal, incident(1), seq, &megabyte).unwrap();
    }
    let failed = journal.status().checkpoints_failed;
    assert!((1..=5).contains(&failed), "one try for each stretch of log, not for each commit: {failed}");
    let log_bytes = || dir.path().join("journal.sqlite-wal").metadata().unwrap().len();
    assert!(log_bytes() > 20_000_000);
    drop(reader);
    for seq in 21..28 {
        append(&journal, incident(1), seq, &megabyte).unwrap();
    }
    assert!(log_bytes() < 10_000_000, "{}", log_bytes());
}

#[test]
fn a_check_makes_nothing_where_no_journal_is() {
    let dir = tempfile::tempdir().unwrap();
    assert!(check(dir.path()).unwrap().is_whole());
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

#[test]
fn nobody_but_the_owner_may_read_any_file_of_the_journal() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let (journal, _) = open(&path);
    append(&journal, incident(1), 0, "a").unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let files: Vec<_> = path.read_dir().unwrap().map(|entry| entry.unwrap()).collect();
    assert!(files.iter().any(|file| file.file_name() == "journal.sqlite-wal"), "the log is among them");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
}

#[test]
fn the_newest_snapshot_is_loaded_and_a_damaged_one_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    assert_eq!(journal.load_snapshot().unwrap(), None);
    for seq in 0..3 {
        append(&journal, incident(1), seq, "a").unwrap();
        let snapshot = Snapshot { position: seq + 1, schema: 4, bytes: vec![seq as u8; 9000] };
        journal.save_snapshot(snapshot).unwrap().wait().unwrap();
    }
    let ahead = Snapshot { position: 4, schema: 4, bytes: Vec::new() };
    assert!(matches!(journal.save_snapshot(ahead).map(drop), Err(NotRecorded::Bad(_))));
    assert_eq!(journal.load_snapshot().unwrap().unwrap(), Snapshot { position: 3, schema: 4, bytes: vec![2; 9000] });
    let other = rusqlite::Connection::open(dir.path().join("journal.sqlite")).unwrap();
    other.execute("UPDATE snapshot SET bytes = zeroblob(9000) WHERE position = 3", []).unwrap();
    assert_eq!(journal.load_snapshot().unwrap().unwrap().position, 2);
    assert_eq!(check(dir.path()).unwrap().bad_snapshots, 1);
}

#[test]
fn old_payloads_are_lifted_on_read_and_stay_as_they_were_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    append(&journal, incident(1), 0, "a").unwrap();
    let upcasters = Upcasters::default().step("link_opened", 1, |_, _, old| json!({ "words": old["text"] })).step(
        "link_opened",
        2,
        |_, version, old| json!({ "words": [old["words"]], "from": version }),
    );
    let stored = &all(&journal)[0];
    let lifted = upcasters.lift(stored).unwrap();
    assert_eq!(lifted, Upcasted { schema: 3, payload: json!({ "words": ["a"], "from": 2 }) });
    assert_eq!(stored.payload, record("a").payload);
    assert_eq!(Upcasters::default().lift(stored).unwrap().schema, 1);
}

#[test]
fn records_that_could_not_be_kept_or_exported_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let refuse = |records: Vec<NewRecord>| journal.append(incident(1), 0, records, None).map(drop).unwrap_err();
    for bad in [
        Vec::new(),
        vec![NewRecord { payload: vec![0xff], ..record("") }],
        vec![NewRecord { payload: vec![b' '; (32 << 20) + 1], ..record("") }],
        vec![NewRecord { kind: String::new(), ..record("") }],
        vec![NewRecord { actor: "a".repeat(257), ..record("") }],
    ] {
        assert!(matches!(refuse(bad), NotRecorded::Bad(_)));
    }
    let twice = Part { stream: incident(1), expected_seq: 0, records: vec![record("a")] };
    assert!(matches!(journal.append_parts(vec![twice.clone(), twice], None).map(drop), Err(NotRecorded::Bad(_))));
}

fn exported() -> Vec<RedactedRecord> {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for seq in 0..6 {
        append(&journal, incident(1), seq, &format!("secret-{seq}")).unwrap();
        append(&journal, agency("fire"), seq, "other").unwrap();
    }
    journal.read(&incident(1), 1).unwrap().map(|record| expose(&record.unwrap())).collect()
}

#[test]
fn a_redacted_export_verifies_and_holds_nothing_of_the_payload() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for seq in 0..4 {
        append(&journal, incident(1), seq, &format!("secret-{seq}")).unwrap();
    }
    let records: Vec<Record> = journal.read(&incident(1), 1).unwrap().map(Result::unwrap).collect();
    let mixed: Vec<RedactedRecord> = records
        .iter()
        .map(|record| if record.envelope.seq % 2 == 0 { redact(record) } else { expose(record) })
        .collect();
    let text = serde_json::to_string(&mixed).unwrap();
    assert!(text.contains("secret-0") && !text.contains("secret-1") && !text.contains("secret-3"));
    assert!(!text.contains(&records[1].salt.to_string()), "the salt would let the payload be guessed");
    let back: Vec<RedactedRecord> = serde_json::from_str(&text).unwrap();
    let head = verify_chain(&back).unwrap().unwrap();
    assert_eq!((head.seq, head.digest), (4, records[3].digest));
    assert_eq!(verify_chain(&records.iter().map(expose).collect::<Vec<_>>()), Ok(Some(head)));
}

#[test]
fn the_chain_shows_every_changed_field_and_every_lost_or_moved_record() {
    let whole = exported();
    assert_eq!(verify_chain(&whole).unwrap().unwrap().seq, 6);
    let with = |change: &dyn Fn(&mut Vec<RedactedRecord>)| {
        let mut changed = whole.clone();
        change(&mut changed);
        verify_chain(&changed).map(drop).unwrap_err()
    };
    let altered = |change: &dyn Fn(&mut RedactedRecord)| {
        let broken = with(&|records| change(&mut records[2]));
        assert_eq!((broken.seq, broken.what), (3, BreakKind::Altered));
    };
    altered(&|r| r.envelope.position += 1);
    altered(&|r| r.envelope.epoch += 1);
    altered(&|r| r.envelope.node.0 ^= 1);
    altered(&|r| r.envelope.wall.0 += 1);
    altered(&|r| r.envelope.schema += 1);
    altered(&|r| r.envelope.actor.push('x'));
    altered(&|r| r.envelope.kind.push('x'));
    altered(&|r| r.envelope.cause = Some(String::new()));
    altered(&|r| r.digest.0[31] ^= 1);
    altered(&|r| r.payload = ExportedPayload::Withheld(Digest([7; 32])));
    altered(&|r| {
        // What moves from one text to the next must not hash the same.
        let moved = r.envelope.actor.pop().unwrap();
        r.envelope.kind.insert(0, moved);
    });
    altered(&|r| {
        if let ExportedPayload::Shown { text, .. } = &mut r.payload {
            *text = text.replace("secret-2", "secret-3");
        }
    });
    let missing = |change: &dyn Fn(&mut Vec<RedactedRecord>), seq| {
        let broken = with(change);
        assert_eq!((broken.seq, broken.what), (seq, BreakKind::Missing));
    };
    missing(&|records| drop(records.remove(3)), 4);
    missing(&|records| drop(records.remove(0)), 1);
    missing(&|records| records.swap(1, 4), 2);
    missing(&|records| records.insert(2, records[1].clone()), 3);
    missing(&|records| records[2].envelope.stream = agency("fire"), 3);
}

#[test]
fn no_mutated_export_or_envelope_makes_the_decoders_panic() {
    let lines: Vec<String> = exported().iter().map(|record| serde_json::to_string(record).unwrap()).collect();
    let export = lines.join("\n").into_bytes();
    let envelope = serde_json::to_vec(&exported()[0].envelope).unwrap();
    let mut random = Entropy::new(7);
    for _ in 0..4000 {
        for (seed, target) in [(&export, fuzz::redacted_export as fn(&[u8])), (&envelope, fuzz::envelope)] {
            let mut bytes = seed.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len() as u64) as usize;
                match random.below(4) {
                    0 => bytes[at] ^= 1 << random.below(8),
                    1 => bytes.truncate(at.max(1)),
                    2 if bytes.len() > 2 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, b"\"{}[],:019-eE\\u"[random.below(15) as usize]),
                }
            }
            target(&bytes);
        }
    }
}
