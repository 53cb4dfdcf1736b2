//! `journal check` and `journal repair`: what is wrong, and doing exactly what is said about it.

use std::path::Path;

use serde::Serialize;

use super::chain::ChainBreak;
use super::data_dir::DataDir;
use super::fault::OpenFault;
use super::files::{Files, length, wal_of};
use super::format::judge_header;
use super::recovery::{Cut, SetAside, set_aside};
use super::salvage::{Salvage, finish_switch};
use super::sql::{SqlFault, Store};
use super::stream::Stream;
use super::walk::{self, Walk};
use super::witness::testimony;

/// Everything a walk over the whole journal found. Nothing was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Why the file cannot be opened as it is; what follows is then what could be saved of it.
    pub unreadable: Option<String>,
    /// What SQLite finds wrong in the file's own structure.
    pub structure: Vec<String>,
    /// Readable records.
    pub records: u64,
    /// The last record's position.
    pub last_position: u64,
    /// Answered records that are gone from the end.
    pub cut: Option<Cut>,
    /// Stretches of positions that hold no record, first and last.
    pub missing: Vec<(u64, u64)>,
    /// Stretches that an earlier repair could not save.
    pub missing_since_repair: Vec<(u64, u64)>,
    /// Every stream.
    pub streams: Vec<StreamReport>,
    /// Streams that lie aside.
    pub set_aside: Vec<SetAside>,
    /// Snapshots that are not what was written.
    pub bad_snapshots: u64,
}

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamReport {
    /// Its number: a stream set aside and its successor have one name.
    pub number: i64,
    /// Its name.
    pub stream: Stream,
    /// Records there.
    pub records: u64,
    /// The last sequence that verifies.
    pub verified_seq: u64,
    /// Where its chain breaks.
    pub broken: Option<ChainBreak>,
}

impl CheckReport {
    /// True if there is nothing to repair.
    pub fn is_whole(&self) -> bool {
        self.unreadable.is_none()
            && self.structure.is_empty()
            && self.cut.is_none()
            && self.missing.is_empty()
            && self.bad_snapshots == 0
            && self.streams.iter().all(|s| s.broken.is_none() || self.set_aside.iter().any(|a| a.number == s.number))
    }

    fn tell(&mut self, walk: &Walk, answered: u64) {
        self.records = walk.records;
        self.last_position = walk.last_position;
        self.missing = walk.missing.clone();
        self.cut = (walk.last_position < answered).then_some(Cut { answered, found: walk.last_position });
        let stream = |(number, walked): (&i64, &walk::WalkedStream)| StreamReport {
            number: *number,
            stream: walked.head.stream.clone(),
            records: walked.records,
            verified_seq: walked.head.seq,
            broken: walked.broken.clone(),
        };
        self.streams = walk.streams.iter().map(stream).collect();
    }
}

/// What a repair did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepairReport {
    /// What was wrong before.
    pub before: CheckReport,
    /// Where the original lies now; nothing if there was nothing to repair.
    pub original: Option<String>,
    /// Streams that were set aside by this repair.
    pub set_aside: Vec<ChainBreak>,
    /// What is there now.
    pub after: CheckReport,
}

/// Walks everything as it is at one moment, beside a running daemon too, and holds up none of its commits. Changes
/// nothing; of a damaged file that nobody writes it reads a copy.
pub fn check(dir: &Path) -> Result<CheckReport, OpenFault> {
    let beside_daemon = DataDir::is_claimed(dir)?;
    let found = examine(&Files::of(dir), beside_daemon);
    if !beside_daemon && DataDir::is_claimed(dir)? {
        return examine(&Files::of(dir), true); // one started meanwhile: what looked damaged was being written
    }
    found
}

fn examine(files: &Files, beside_daemon: bool) -> Result<CheckReport, OpenFault> {
    let answered = testimony(&files.witness()).map_or(0, |said| said.position);
    match examine_file(files, answered, beside_daemon) {
        Ok(report) => Ok(report),
        Err(SqlFault::Damaged(cause)) => {
            let mut report = CheckReport { unreadable: Some(cause), ..CheckReport::default() };
            if !beside_daemon {
                let salvage = Salvage::read(files)?;
                report.tell(salvage.walk().unwrap_or(&Walk::default()), answered);
            }
            Ok(report)
        }
        Err(fault) => Err(fault.into()),
    }
}

/// Rebuilds the file from what can be read if anything is wrong, broken streams set aside, nothing altered and the
/// original kept beside. A whole journal is left alone.
pub fn repair(dir: &DataDir) -> Result<RepairReport, OpenFault> {
    let files = Files::of(dir.path());
    finish_switch(&files)?;
    let before = examine(&files, false)?;
    let only_cut = CheckReport { cut: None, ..before.clone() }.is_whole();
    if only_cut {
        return Ok(RepairReport { after: before.clone(), before, original: None, set_aside: Vec::new() });
    }
    let salvage = Salvage::read(&files)?;
    let fresh = |walk: &Walk| {
        let all = walk.fresh_breaks().map(|(_, found)| found);
        all.filter(|found| !walk.is_cut_tail(found)).cloned().collect()
    };
    let set_aside: Vec<ChainBreak> = salvage.walk().map_or_else(Vec::new, fresh);
    let original = Some(salvage.rebuild(&files)?.display().to_string());
    drop(salvage);
    Ok(RepairReport { before, original, set_aside, after: examine(&files, false)? })
}

fn examine_file(files: &Files, answered: u64, beside_daemon: bool) -> Result<CheckReport, SqlFault> {
    let journal = files.journal();
    let mut report = CheckReport::default();
    if length(&journal) == 0 && length(&wal_of(&journal)) == 0 {
        report.tell(&Walk::default(), answered);
        return Ok(report);
    }
    if !beside_daemon {
        judge_header(&journal)?; // a daemon has judged it, and changes its length
    }
    let store = Store::open_reader(&journal)?;
    if store.is_new()? {
        report.tell(&Walk::default(), answered);
        return Ok(report);
    }
    store.hold_still()?;
    report.structure = store.integrity();
    let walk = Walk::take(&store, walk::Path { from: 1, known_last: answered, tolerant: false }, |_| Ok(()))?;
    report.tell(&walk, answered);
    let known = store.known_gaps()?;
    report.missing.retain(|gap| !known.contains(gap));
    report.missing_since_repair = known;
    report.set_aside = set_aside(&store)?;
    report.bad_snapshots =
        store.snapshots()?.iter().filter(|(snapshot, digest)| snapshot.digest() != *digest).count() as u64;
    Ok(report)
}
