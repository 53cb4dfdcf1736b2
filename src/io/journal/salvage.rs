//! Reading what can be read of a damaged journal, and building a new one from it.
//!
//! Works on copies: the original is looked at, kept beside under another name, and never written. A cut file is
//! read once with its write-ahead log and once without, since a log cut after it was moved into the file
//! would lay old pages over new ones; the reading that trusts more records is taken.

use std::fs;
use std::path::{Path, PathBuf};

use super::data_dir::{private, sync_dir};
use super::fault::{OpenFault, file_fault};
use super::files::{Files, index_of, length, wal_of};
use super::format::{Header, PAGE_BYTES};
use super::row::StreamRow;
use super::sql::{SqlFault, Store};
use super::walk::{self, Walk};
use super::witness::{Testimony, testimony};
use crate::domain::id::NodeId;

/// The best reading of a damaged journal.
pub(super) struct Salvage {
    reading: Option<(Store, Walk)>,
    known_last: u64,
    scratch: Vec<PathBuf>,
}

impl Salvage {
    /// Copies and reads.
    pub(super) fn read(files: &Files) -> Result<Self, OpenFault> {
        let known_last = testimony(&files.witness()).map_or(0, |said| said.position);
        let mut salvage = Self { reading: None, known_last, scratch: Vec::new() };
        for (attempt, with_wal) in [true, false].into_iter().enumerate() {
            let copy = files.salvage(attempt);
            salvage.scratch.extend([copy.clone(), wal_of(&copy), index_of(&copy)]);
            copy_padded(&files.journal(), &copy, with_wal)?;
            let Ok((store, walk)) = read_copy(&copy, known_last) else { continue };
            let better = salvage.reading.as_ref().is_none_or(|(_, best)| trusted(&walk) > trusted(best));
            if better {
                salvage.reading = Some((store, walk));
            }
        }
        Ok(salvage)
    }
    /// What the reading found; nothing if there is not even a table.
    pub(super) fn walk(&self) -> Option<&Walk> {
        self.reading.as_ref().map(|(_, walk)| walk)
    }

    /// Writes a new journal of everything that was read, verbatim, and puts it in the original's place.
    /// Gives the name under which the original was kept.
    pub(super) fn rebuild(&self, files: &Files) -> Result<PathBuf, OpenFault> {
        let path = files.rebuilding();
        remove_database(&path)?;
        private().open(&path).map_err(|e| file_fault("making", &path, &e))?;
        {
            let store = Store::open(&path, None)?;
            store.begin()?;
            self.write(&store, testimony(&files.witness()))?;
            store.commit()?;
            store.checkpoint(true)?;
        }
        for leftover in [wal_of(&path), index_of(&path)] {
            remove(&leftover)?;
        }
        rename(&path, &files.rebuilt())?;
        let kept = finish_switch(files)?;
        kept.ok_or_else(|| OpenFault::Storage("the rebuilt journal is gone".into()))
    }

    fn write(&self, new: &Store, said: Option<Testimony>) -> Result<(), SqlFault> {
        let Some((old, walk)) = &self.reading else {
            return said.map_or(Ok(()), |said| new.set_node(said.node, said.epoch));
        };
        let node = old.node().unwrap_or(None).or(said.map(|said| (said.node, said.epoch)));
        let (id, epoch) = node.unwrap_or((NodeId(0), 0));
        new.set_node(id, epoch.max(said.map_or(0, |said| said.epoch)))?;
        for (no, walked) in &walk.streams {
            let broken = walked.broken.as_ref().filter(|found| !walk.is_cut_tail(found));
            let set_aside = walked.set_aside.or(broken.map(|found| found.seq));
            let (last_seq, last_digest) = (walked.head.seq, walked.head.digest);
            new.insert_stream(&StreamRow {
                no: *no,
                stream: walked.head.stream.clone(),
                last_seq,
                last_digest,
                set_aside,
            })?;
        }
        let path = walk::Path { from: 1, known_last: self.known_last, tolerant: true };
        Walk::take(old, path, |stored| new.insert_record(stored.stream_no, &stored.record))?;
        for (first, last) in &walk.missing {
            new.insert_gap(*first, *last)?;
        }
        // What follows only saves time or repeats answers: unreadable, it is left behind.
        let loses_nothing_inside =
            walk.missing.is_empty() && walk.fresh_breaks().all(|(_, found)| walk.is_cut_tail(found));
        for (snapshot, digest) in old.snapshots().unwrap_or_default() {
            let is_good = snapshot.digest() == digest && snapshot.position <= walk.last_position;
            if is_good && loses_nothing_inside {
                new.insert_snapshot(&snapshot, u64::MAX >> 1)?;
            }
        }
        for (key, committed) in old.answers().unwrap_or_default() {
            if committed.last_position <= walk.last_position && loses_nothing_inside {
                new.insert_answer(&key, &committed, u64::MAX >> 1)?;
            }
        }
        Ok(())
    }
}

impl Drop for Salvage {
    fn drop(&mut self) {
        self.reading = None;
        self.scratch.iter().for_each(|path| drop(fs::remove_file(path)));
    }
}

/// Puts a rebuilt journal in place, also one whose repair was interrupted here. Each step may be the last before
/// a crash: the rebuilt file is whole, and stays until the original and its log are out of the way.
pub(super) fn finish_switch(files: &Files) -> Result<Option<PathBuf>, OpenFault> {
    if !files.rebuilt().exists() {
        return Ok(None);
    }
    let (journal, kept) = (files.journal(), files.before_repair());
    if wal_of(&journal).exists() {
        rename(&wal_of(&journal), &wal_of(&kept))?;
    }
    remove(&index_of(&journal))?;
    if journal.exists() {
        rename(&journal, &kept)?;
    }
    sync_dir(files.dir())?;
    rename(&files.rebuilt(), &journal)?;
    sync_dir(files.dir())?;
    Ok(Some(kept))
}

/// Records that can be trusted: the measure of a reading.
fn trusted(walk: &Walk) -> u64 {
    walk.streams.values().map(|stream| stream.head.seq).sum()
}

fn read_copy(copy: &Path, known_last: u64) -> Result<(Store, Walk), SqlFault> {
    let store = Store::open_reader(copy)?;
    let walk = Walk::take(&store, walk::Path { from: 1, known_last, tolerant: true }, |_| Ok(()))?;
    Ok((store, walk))
}

/// SQLite refuses a file that is shorter than its header says: zeros make the rest of it readable.
fn copy_padded(original: &Path, copy: &Path, with_wal: bool) -> Result<(), OpenFault> {
    remove_database(copy)?;
    let file = private().open(copy).map_err(|e| file_fault("making", copy, &e))?;
    match fs::File::open(original) {
        Ok(mut source) => drop(std::io::copy(&mut source, &mut &file).map_err(|e| file_fault("copying to", copy, &e))?),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {} // its log may be there
        Err(e) => return Err(file_fault("reading", original, &e)),
    }
    let pages = Header::read(copy).map_or(1, |header| header.pages);
    // Of a page that was cut only the newer part could be read: as a whole it is gone.
    let found = length(copy) / PAGE_BYTES * PAGE_BYTES;
    file.set_len(found).map_err(|e| file_fault("cutting", copy, &e))?;
    let wanted = pages.max(1) * PAGE_BYTES;
    if wanted > found && wanted - found <= PADDING_BYTES_MAX {
        file.set_len(wanted).map_err(|e| file_fault("padding", copy, &e))?;
    }
    if with_wal && wal_of(original).exists() {
        fs::copy(wal_of(original), wal_of(copy)).map_err(|e| file_fault("copying to", &wal_of(copy), &e))?;
    }
    Ok(())
}

fn remove_database(path: &Path) -> Result<(), OpenFault> {
    [path.to_path_buf(), wal_of(path), index_of(path)].iter().try_for_each(|file| remove(file))
}

fn remove(path: &Path) -> Result<(), OpenFault> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(file_fault("removing", path, &e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), OpenFault> {
    fs::rename(from, to).map_err(|e| file_fault("renaming", from, &e))
}

/// Padding is a hole and costs no disk, but a damaged header must not ask for the moon.
const PADDING_BYTES_MAX: u64 = 1 << 40;
