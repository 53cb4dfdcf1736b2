//! The daemon's own directory, claimed by one process at a time.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::fault::{OpenFault, file_fault};

/// A claimed directory: only its owner reads and writes there. The claim ends when this is dropped, or with the process.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be and takes its lock, before anything else is touched.
    pub fn claim(path: &Path) -> Result<Self, OpenFault> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| file_fault("making", path, &e))?;
        keep_private(path, 0o700)?;
        let lock_path = path.join(LOCK);
        let mut lock = private().open(&lock_path).map_err(|e| file_fault("opening", &lock_path, &e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = (&lock).take(20).read_to_string(&mut text);
                let holder_pid = read.ok().and_then(|_| text.trim().parse().ok());
                return Err(OpenFault::Locked { dir: path.into(), holder_pid });
            }
            Err(TryLockError::Error(e)) => return Err(file_fault("locking", &lock_path, &e)),
        }
        let written = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .and_then(|()| lock.sync_all());
        written.map_err(|e| file_fault("writing", &lock_path, &e))?;
        Ok(Self { path: path.into(), _lock: lock })
    }
    /// Whether a process has claimed the directory. Asking makes nothing there; a claim in the very microseconds of the
    /// question is refused, and its service manager tries again.
    pub(super) fn is_claimed(path: &Path) -> Result<bool, OpenFault> {
        let lock_path = path.join(LOCK);
        let lock = match File::open(&lock_path) {
            Ok(lock) => lock,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(file_fault("opening", &lock_path, &e)),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(e)) => Err(file_fault("locking", &lock_path, &e)),
        }
    }
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Opens for reading and writing, made for the owner alone if it is new.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

/// Takes away what others may do.
pub(super) fn keep_private(path: &Path, mode: u32) -> Result<(), OpenFault> {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|e| file_fault("protecting", path, &e))
}

/// Makes renames in a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), OpenFault> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| file_fault("syncing", path, &e))
}

/// Stays when its holder ends: only the lock on it counts.
const LOCK: &str = "lock";
