//! `journal check` and `journal repair`: what is wrong, and doing exactly what is said about it.

use std::path::Path;

use serde::Serialize;

use super::chain::ChainBreak;
use super::data_dir::DataDir;
use super::fault::OpenFault;
use super::files::{Files, length, wal_of};
use super::recovery::{Cut, SetAside, must_have_its_length, set_aside};
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

/// Walks everything, beside a running daemon too. Changes nothing; of a damaged file it reads a copy.
pub fn check(dir: &Path) -> Result<CheckReport, OpenFault> {
    let files = Files::of(dir);
    let answered = testimony(&files.witness()).map_or(0, |said| said.position);
    let mut report = CheckReport::default();
    match check_file(&files, answered, &mut report) {
        Ok(()) => Ok(report),
        Err(fault) if !fault.damaged => Err(OpenFault::Storage(fault.cause)),
        Err(fault) => {
            let mut report = CheckReport { unreadable: Some(fault.cause), ..CheckReport::default() };
            let salvage = Salvage::read(&files)?;
            let nothing = Walk::default();
            report.tell(salvage.walk().unwrap_or(&nothing), answered);
            Ok(report)
        }
    }
}

/// Rebuilds the file from what can be read if anything is wrong, broken streams set aside, nothing altered and the
/// original kept beside. A whole journal is left alone.
pub fn repair(dir: &DataDir) -> Result<RepairReport, OpenFault> {
    let files = Files::of(dir.path());
    finish_switch(&files)?;
    let before = check(dir.path())?;
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
    Ok(RepairReport { before, original, set_aside, after: check(dir.path())? })
}

fn check_file(files: &Files, answered: u64, report: &mut CheckReport) -> Result<(), SqlFault> {
    let journal = files.journal();
    let bytes = length(&journal);
    if bytes == 0 && length(&wal_of(&journal)) == 0 {
        report.tell(&Walk::default(), answered);
        return Ok(());
    }
    must_have_its_length(&journal, bytes)?;
    let store = Store::open_reader(&journal)?;
    if store.format()? == 0 {
        report.tell(&Walk::default(), answered);
        return Ok(());
    }
    report.structure = store.integrity();
    let walk = Walk::take(&store, walk::Path { from: 1, known_last: answered, tolerant: false }, |_| Ok(()))?;
    report.tell(&walk, answered);
    let known = store.known_gaps()?;
    report.missing.retain(|gap| !known.contains(gap));
    report.missing_since_repair = known;
    report.set_aside = set_aside(&store)?;
    report.bad_snapshots =
        store.snapshots()?.iter().filter(|(snapshot, digest)| snapshot.digest() != *digest).count() as u64;
    Ok(())
}
