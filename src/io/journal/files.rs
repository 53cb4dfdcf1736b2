//! The names of the journal's files in the data directory.

use std::path::{Path, PathBuf};

/// Where everything lies.
#[derive(Clone, Debug)]
pub(super) struct Files {
    dir: PathBuf,
}

impl Files {
    pub(super) fn of(dir: &Path) -> Self {
        Self { dir: dir.into() }
    }
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
    /// The database.
    pub(super) fn journal(&self) -> PathBuf {
        self.dir.join(JOURNAL)
    }
    /// The last answered position.
    pub(super) fn witness(&self) -> PathBuf {
        self.dir.join("journal.witness")
    }
    /// A rebuilt journal that is being written; worthless after a crash.
    pub(super) fn rebuilding(&self) -> PathBuf {
        self.dir.join("journal.rebuilding.sqlite")
    }
    /// A rebuilt journal that is whole: it only has to be put in place.
    pub(super) fn rebuilt(&self) -> PathBuf {
        self.dir.join("journal.rebuilt.sqlite")
    }
    /// A copy to read a damaged journal from; a checker may make one beside a repair.
    pub(super) fn salvage(&self, attempt: usize) -> PathBuf {
        self.dir.join(format!("journal.salvage-{}-{attempt}.sqlite", std::process::id()))
    }
    /// The first free name for an original that is replaced.
    pub(super) fn before_repair(&self) -> PathBuf {
        let name = |n: u32| self.dir.join(format!("{JOURNAL}.before-repair-{n}"));
        (1..).map(name).find(|path| !path.exists()).expect("a directory has fewer files than u32 has numbers")
    }
}

/// The write-ahead log beside a database.
pub(super) fn wal_of(database: &Path) -> PathBuf {
    beside(database, "-wal")
}

/// SQLite's index of that log; made anew from it.
pub(super) fn index_of(database: &Path) -> PathBuf {
    beside(database, "-shm")
}

/// A file's length; 0 if it is not there.
pub(super) fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}

fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

const JOURNAL: &str = "journal.sqlite";
