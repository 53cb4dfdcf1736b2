//! From whatever is on the disk to a journal that can be written, and an honest word on what was lost.

use serde::Serialize;

use super::chain::ChainBreak;
use super::data_dir::{DataDir, keep_private, private};
use super::fault::{OpenFault, file_fault};
use super::files::{Files, length, wal_of};
use super::format::{PAGE_BYTES, judge_header};
use super::row::StreamRow;
use super::salvage::{Salvage, finish_switch};
use super::snapshot::Usable;
use super::sql::{SqlFault, Store};
use super::stream::Stream;
use super::walk::{self, Walk};
use super::witness::{Testimony, Witness};
use crate::domain::id::NodeId;

/// What to do about damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// Start on what is whole, set broken streams aside, and say so.
    #[default]
    SetAside,
    /// Refuse to open, and change nothing.
    Refuse,
}

/// How the journal was found and what was done. The caller mutes cross-agency legs unless it is
/// whole, until a person has seen what was lost and says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecoveryReport {
    /// This daemon.
    pub node: NodeId,
    /// Higher than in any record so far.
    pub epoch: u64,
    /// The last record's position.
    pub last_position: u64,
    /// Answered records that are gone from the end.
    pub cut: Option<Cut>,
    /// Records that are there though no answer to them is remembered: a crash came between commit and answer.
    pub unanswered: u64,
    /// Bytes at the log's end that held no whole commit.
    pub torn_bytes: u64,
    /// Stretches of positions that are gone from the middle.
    pub missing: Vec<(u64, u64)>,
    /// Streams found broken now, and set aside.
    pub broken: Vec<ChainBreak>,
    /// All streams that lie aside, also from earlier.
    pub set_aside: Vec<SetAside>,
    /// Where the original lies if the file had to be rebuilt.
    pub rebuilt_from: Option<String>,
}

/// What is gone from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// The last position that was answered.
    pub answered: u64,
    /// The last position that is there.
    pub found: u64,
}

/// A stream that lies aside, its records as they were found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetAside {
    /// Its number: a new stream of the same name has another.
    pub number: i64,
    /// Its name.
    pub stream: Stream,
    /// The first sequence that cannot be trusted.
    pub from_seq: u64,
}

impl RecoveryReport {
    /// True if everything that was ever answered is there and verifies as far as it was looked at.
    pub fn is_whole(&self) -> bool {
        self.cut.is_none() && self.missing.is_empty() && self.broken.is_empty() && self.set_aside.is_empty()
    }
}

/// An opened journal before its writer starts.
pub(super) struct Recovered {
    pub store: Store,
    pub witness: Witness,
    pub report: RecoveryReport,
}

/// What of the options concerns recovery.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub on_damage: OnDamage,
    pub verify_all: bool,
    pub usable: Usable,
    pub size_max_bytes: Option<u64>,
}

/// Opens, verifies from the newest snapshot on (or everything), and recovers.
pub(super) fn recover(dir: &DataDir, wanted: Wanted) -> Result<Recovered, OpenFault> {
    let files = Files::of(dir.path());
    finish_switch(&files)?;
    let journal = files.journal();
    private().open(&journal).map_err(|e| file_fault("opening", &journal, &e))?;
    keep_private(&journal, 0o600)?;
    let witness = Witness::open(&files.witness())?;
    let said = witness.read();
    let answered = said.map_or(0, |said| said.position);
    let wal_bytes = length(&wal_of(&journal));
    let strict = wanted.on_damage == OnDamage::Refuse;

    let mut rebuilt_from = None;
    let mut lost_in_the_middle = Vec::new();
    let (store, walk) = match examine(&files, answered, wanted) {
        Ok(whole) => whole,
        Err(SqlFault::Damaged(_)) if !strict => {
            let salvage = Salvage::read(&files)?;
            lost_in_the_middle = salvage.walk().map_or_else(Vec::new, |walk| walk.missing.clone());
            rebuilt_from = Some(salvage.rebuild(&files)?.display().to_string());
            drop(salvage);
            examine(&files, 0, wanted)?
        }
        Err(fault) => return Err(fault.into()),
    };
    let broken: Vec<(i64, ChainBreak)> = walk.fresh_breaks().map(|(no, found)| (no, found.clone())).collect();
    let cut = (walk.last_position < answered).then_some(Cut { answered, found: walk.last_position });
    if strict {
        refuse_damage(&broken, cut)?;
    }
    let torn_bytes = if rebuilt_from.is_some() { 0 } else { torn(&store, wal_bytes)? };
    let (node, epoch) = take_over(&store, said, &broken)?;
    store.checkpoint(true)?;
    let said = Testimony { node, epoch, position: walk.last_position };
    witness.write(said).map_err(|e| file_fault("writing", &files.witness(), &e))?;

    let known = store.known_gaps()?;
    let mut missing = walk.missing;
    missing.retain(|gap| !known.contains(gap));
    missing.extend(lost_in_the_middle);
    let report = RecoveryReport {
        node,
        epoch,
        last_position: walk.last_position,
        cut,
        unanswered: walk.last_position.saturating_sub(answered),
        torn_bytes,
        missing,
        broken: broken.into_iter().map(|(_, found)| found).collect(),
        set_aside: set_aside(&store)?,
        rebuilt_from,
    };
    Ok(Recovered { store, witness, report })
}

fn refuse_damage(broken: &[(i64, ChainBreak)], cut: Option<Cut>) -> Result<(), OpenFault> {
    if !broken.is_empty() {
        return Err(OpenFault::Broken(broken.iter().map(|(_, found)| found.clone()).collect()));
    }
    cut.map_or(Ok(()), |cut| Err(OpenFault::Cut { answered: cut.answered, found: cut.found }))
}

/// Opens the file and walks it; damage that another reading of the files could mend is a fault.
fn examine(files: &Files, answered: u64, wanted: Wanted) -> Result<(Store, Walk), SqlFault> {
    let journal = files.journal();
    let wal_bytes = length(&wal_of(&journal));
    if length(&journal) != 0 || wal_bytes != 0 {
        judge_header(&journal)?;
    }
    let store = Store::open(&journal, wanted.size_max_bytes)?;
    let snapshot = if wanted.verify_all { None } else { store.good_snapshot(wanted.usable)? };
    let from = snapshot.map_or(1, |snapshot| snapshot.position + 1);
    let path = |from| walk::Path { from, known_last: 0, tolerant: false };
    let mut walk = Walk::take(&store, path(from), |_| Ok(()))?;
    if from > 1 && is_suspicious(&walk, answered) {
        // Setting a stream aside costs the snapshots, so that what lies before them is replayed too.
        walk = Walk::take(&store, path(1), |_| Ok(()))?;
    }
    if is_suspicious(&walk, answered) {
        let without_wal = || Store::last_position_without_wal(&journal).unwrap_or(0);
        if wal_bytes > 0 && (!walk.missing.is_empty() || without_wal() > walk.last_position) {
            return Err(SqlFault::Damaged("the log is older than the file".into()));
        }
        if let Some(line) = store.integrity().into_iter().next() {
            return Err(SqlFault::Damaged(line));
        }
    }
    Ok((store, walk))
}

fn is_suspicious(walk: &Walk, answered: u64) -> bool {
    walk.last_position < answered || !walk.missing.is_empty() || walk.fresh_breaks().next().is_some()
}

/// Bytes of the log behind its last whole commit.
fn torn(store: &Store, wal_bytes: u64) -> Result<u64, SqlFault> {
    let (frames, _) = store.checkpoint(false)?;
    let whole = if frames == 0 { 0 } else { WAL_HEADER_BYTES + frames * WAL_FRAME_BYTES };
    Ok(wal_bytes.saturating_sub(whole))
}

/// Sets broken streams aside and raises the epoch, in one commit. A snapshot may hold state of a stream that is set
/// aside, and what took something back may be what broke: state is then replayed from the living streams alone.
fn take_over(store: &Store, said: Option<Testimony>, broken: &[(i64, ChainBreak)]) -> Result<(NodeId, u64), SqlFault> {
    store.begin()?;
    for (no, found) in broken {
        store.set_aside(*no, found.seq)?;
    }
    if !broken.is_empty() {
        store.forget_snapshots()?;
        store.forget_answers()?;
    }
    let (node, epoch) = match (store.node()?, said) {
        (Some((node, epoch)), said) => (node, epoch.max(said.map_or(0, |said| said.epoch))),
        (None, Some(said)) => (said.node, said.epoch),
        (None, None) => {
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes).map_err(|e| SqlFault::Storage(e.to_string()))?;
            (NodeId(u128::from_be_bytes(bytes)), 0)
        }
    };
    store.set_node(node, epoch + 1)?;
    store.commit()?;
    Ok((node, epoch + 1))
}

/// The streams that lie aside.
pub(super) fn set_aside(store: &Store) -> Result<Vec<SetAside>, SqlFault> {
    let row = |row: StreamRow| Some(SetAside { number: row.no, stream: row.stream, from_seq: row.set_aside? });
    Ok(store.streams()?.into_iter().filter_map(row).collect())
}

const WAL_HEADER_BYTES: u64 = 32;
const WAL_FRAME_BYTES: u64 = 24 + PAGE_BYTES;
