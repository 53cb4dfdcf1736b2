//! The last answered position, kept beside the database: without it a cut that ends on a whole commit
//! would look like a journal that never was longer.
//!
//! Written after each commit and before its answers, never synced: a killed process loses nothing of it,
//! a power cut may leave it behind the journal but never ahead of what was durable.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::chain::Digest;
use super::data_dir::private;
use super::fault::{OpenFault, file_fault};
use crate::domain::id::NodeId;

/// What the witness remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Testimony {
    pub node: NodeId,
    pub epoch: u64,
    pub position: u64,
}

/// The witness's file.
#[derive(Debug)]
pub(super) struct Witness(File);

impl Witness {
    pub(super) fn open(path: &Path) -> Result<Self, OpenFault> {
        private().open(path).map(Self).map_err(|e| file_fault("opening", path, &e))
    }
    /// `None` if there is none or it is torn.
    pub(super) fn read(&self) -> Option<Testimony> {
        let mut bytes = [0; LENGTH];
        self.0.read_exact_at(&mut bytes, 0).ok()?;
        parse(&bytes)
    }
    pub(super) fn write(&self, said: Testimony) -> std::io::Result<()> {
        self.0.write_all_at(&compose(said), 0)
    }
}

/// What the witness of a directory says, without making one.
pub(super) fn testimony(path: &Path) -> Option<Testimony> {
    parse(std::fs::read(path).ok()?.first_chunk()?)
}

fn compose(said: Testimony) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..24].copy_from_slice(&said.node.0.to_be_bytes());
    bytes[24..32].copy_from_slice(&said.epoch.to_be_bytes());
    bytes[32..40].copy_from_slice(&said.position.to_be_bytes());
    let digest = Digest::of(&bytes[..40]);
    bytes[40..].copy_from_slice(&digest.0[..8]);
    bytes
}

fn parse(bytes: &[u8; LENGTH]) -> Option<Testimony> {
    let digest = Digest::of(&bytes[..40]);
    if &bytes[..8] != MAGIC || bytes[40..] != digest.0[..8] {
        return None;
    }
    Some(Testimony {
        node: NodeId(u128::from_be_bytes(*bytes[8..].first_chunk()?)),
        epoch: u64::from_be_bytes(*bytes[24..].first_chunk()?),
        position: u64::from_be_bytes(*bytes[32..].first_chunk()?),
    })
}

const MAGIC: &[u8; 8] = b"xpwitns1";
const LENGTH: usize = 48;
