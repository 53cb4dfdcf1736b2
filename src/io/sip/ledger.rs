//! Calls on disk, so that they outlive the process: one sealed file for each, and a sign of life. Written by a thread of
//! its own, since signalling waits for no disk; nothing is synced, for what a power cut loses is a call that the same cut
//! has ended. Owned by the SIP task. What can go wrong: a folder that cannot be written (calls then end with the daemon,
//! which is logged), a key that is gone (as it is meant to be after a stop or a boot: its calls are forgotten).

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use aes_gcm::{AeadInPlace, Aes256Gcm, KeyInit, Nonce, Tag};
use zeroize::Zeroizing;

use crate::domain::time::MonoTime;
use crate::io::clock;
use crate::sip::call::CallNumber;
use crate::sip::exchange::CallRecord;

/// The records of one daemon.
pub struct Ledger {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What was there at the start.
#[derive(Default)]
pub struct Found {
    pub calls: Vec<(CallNumber, CallRecord)>,
    /// How long nobody has been there for them (ms); none: since another boot.
    pub silent_ms: Option<u64>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    woken: Condvar,
}

/// The newest of each call: never more than there are calls.
#[derive(Default)]
struct Waiting {
    records: BTreeMap<CallNumber, Option<CallRecord>>,
    ends: bool,
}

struct Folder {
    path: PathBuf,
    cipher: Aes256Gcm,
    boot: String,
}

impl Ledger {
    /// Opens the folder, made if need be, and reads what is in it. The key lies in `key_folder`.
    pub fn open(path: &Path, key_folder: &Path) -> io::Result<(Self, Found)> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let cipher = Aes256Gcm::new_from_slice(key_in(key_folder)?.as_ref()).expect("as long as the cipher wants");
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let folder = Folder { path: path.to_owned(), cipher, boot };
        let found = folder.read(clock::mono())?;
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("calls".to_owned()).spawn(move || folder.follow(&ours))?;
        Ok((Self { shared, thread: Some(thread) }, found))
    }

    /// Keeps a call as it is now, or forgets it.
    pub fn keep(&self, call: CallNumber, record: Option<CallRecord>) {
        self.shared.lock().records.insert(call, record);
        self.shared.woken.notify_one();
    }
}

impl Drop for Ledger {
    /// What waits is written first.
    fn drop(&mut self) {
        self.shared.lock().ends = true;
        self.shared.woken.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that keeps calls ended by panic");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Folder {
    /// Writes what is told, and that we live, until it ends.
    fn follow(self, shared: &Shared) {
        let mut fails = false;
        loop {
            let mut waiting = shared.lock();
            if waiting.records.is_empty() && !waiting.ends {
                waiting = shared.woken.wait_timeout(waiting, BEAT).unwrap_or_else(PoisonError::into_inner).0;
            }
            let (records, ends) = (std::mem::take(&mut waiting.records), waiting.ends);
            drop(waiting);
            let written = records.into_iter().try_for_each(|(call, record)| self.write(call, record));
            let written = written.and_then(|()| self.beat(clock::mono()));
            if let (Err(fault), false) = (&written, fails) {
                tracing::error!(%fault, "calls cannot be kept: a restart ends them");
            }
            fails = written.is_err();
            if ends {
                return;
            }
        }
    }

    fn read(&self, now: MonoTime) -> io::Result<Found> {
        let silent_ms = fs::read_to_string(self.path.join(ALIVE)).ok().and_then(|text| self.silent_ms(&text, now));
        let mut found = Found { calls: Vec::new(), silent_ms };
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(number) = name.strip_suffix(SEALED).map(|number| CallNumber::from_str_radix(number, 16)) else {
                continue;
            };
            let opened = number.ok().and_then(|number| Some((number, self.unseal(number, &fs::read(&path).ok()?)?)));
            match opened {
                Some(call) => found.calls.push(call),
                None => fs::remove_file(&path)?,
            }
        }
        Ok(found)
    }

    fn silent_ms(&self, text: &str, now: MonoTime) -> Option<u64> {
        let (boot, since) = text.split_once(' ')?;
        let since = MonoTime(since.trim().parse().ok()?);
        (boot == self.boot && since <= now).then(|| now.ms_since(since))
    }

    fn beat(&self, now: MonoTime) -> io::Result<()> {
        self.replace(ALIVE, format!("{} {}\n", self.boot, now.0).as_bytes())
    }

    fn write(&self, call: CallNumber, record: Option<CallRecord>) -> io::Result<()> {
        let name = format!("{call:016x}{SEALED}");
        match record {
            Some(record) => self.replace(&name, &self.seal(call, &record)?),
            None => match fs::remove_file(self.path.join(name)) {
                Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(fault),
                Ok(()) | Err(_) => Ok(()),
            },
        }
    }

    /// Whole or not at all.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let fresh = self.path.join("fresh");
        write_private(&fresh, bytes)?;
        fs::rename(fresh, self.path.join(name))
    }

    fn seal(&self, call: CallNumber, record: &[u8]) -> io::Result<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let mut sealed = [&nonce[..], record].concat();
        let body = &mut sealed[NONCE_BYTES..];
        let tag = self.cipher.encrypt_in_place_detached(Nonce::from_slice(&nonce), &about(call), body);
        sealed.extend_from_slice(&tag.expect("a record is shorter than 64 GiB"));
        Ok(sealed)
    }

    /// None if it is not ours, or of another call, or was changed.
    fn unseal(&self, call: CallNumber, sealed: &[u8]) -> Option<CallRecord> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
        let (body, tag) = sealed.split_last_chunk::<TAG_BYTES>()?;
        let mut record = Zeroizing::new(body.to_vec());
        let nonce = Nonce::from_slice(nonce);
        self.cipher.decrypt_in_place_detached(nonce, &about(call), &mut record, Tag::from_slice(tag)).ok()?;
        Some(record)
    }
}

/// What a record is sealed as: of this form, of this call.
fn about(call: CallNumber) -> Vec<u8> {
    [&b"crosspatch call 1 "[..], &call.to_be_bytes()].concat()
}

/// The key of former records, or a new one.
fn key_in(folder: &Path) -> io::Result<Zeroizing<[u8; 32]>> {
    let (path, fresh) = (folder.join(KEY), folder.join("calls.key.new"));
    let mut key = Zeroizing::new([0; 32]);
    let kept = fs::read(&path).map(Zeroizing::new).ok();
    if let Some(kept) = kept.filter(|kept| kept.len() == key.len()) {
        key.copy_from_slice(&kept);
        return Ok(key);
    }
    getrandom::fill(key.as_mut()).map_err(io::Error::other)?;
    write_private(&fresh, key.as_ref())?;
    fs::rename(fresh, path)?;
    Ok(key)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)
}

const KEY: &str = "calls.key";
const ALIVE: &str = "alive";
const SEALED: &str = ".call";
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> CallRecord {
        Zeroizing::new(text.as_bytes().to_vec())
    }

    fn calls(found: &Found) -> Vec<(CallNumber, &[u8])> {
        found.calls.iter().map(|(number, record)| (*number, record.as_slice())).collect()
    }

    /// What is there after one call was kept.
    fn kept(folder: &Path) -> PathBuf {
        let (ledger, found) = Ledger::open(folder, folder).unwrap();
        assert!(found.calls.is_empty());
        ledger.keep(7, Some(record("the key is 1234")));
        drop(ledger);
        folder.join("0000000000000007.call")
    }

    #[test]
    fn a_call_comes_back_as_it_was_last_and_one_that_is_over_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, found) = Ledger::open(folder.path(), folder.path()).unwrap();
        assert_eq!((calls(&found), found.silent_ms), (Vec::new(), None));
        for (number, text) in [(1, Some("begun")), (2, Some("begun")), (1, Some("changed")), (2, None), (3, None)] {
            ledger.keep(number, text.map(record));
        }
        drop(ledger);
        let (_ledger, found) = Ledger::open(folder.path(), folder.path()).unwrap();
        assert_eq!(calls(&found), [(1, &b"changed"[..])]);
        assert!(found.silent_ms.is_some(), "somebody was there");
    }

    #[test]
    fn nobody_reads_a_record_without_its_key_and_without_it_the_record_is_forgotten() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = kept(folder.path());
        let sealed = fs::read(&file).unwrap();
        assert!(!sealed.windows(4).any(|four| four == b"1234"), "it is in the clear");
        for name in [file.as_path(), &folder.path().join(KEY)] {
            assert_eq!(fs::metadata(name).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let (_ledger, found) = Ledger::open(folder.path(), keys.path()).unwrap();
        assert!(found.calls.is_empty() && !file.exists());
    }

    #[test]
    fn a_record_that_was_changed_or_is_anothers_is_forgotten() {
        for change in [flip_a_bit, cut_the_end, give_to_another] {
            let folder = tempfile::tempdir().unwrap();
            change(&kept(folder.path()));
            let (_ledger, found) = Ledger::open(folder.path(), folder.path()).unwrap();
            assert!(found.calls.is_empty());
            let left =
                fs::read_dir(folder.path()).unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            assert_eq!(left.filter(|name| name.ends_with(SEALED)).count(), 0);
        }
    }

    fn flip_a_bit(file: &Path) {
        let mut sealed = fs::read(file).unwrap();
        sealed[20] ^= 1;
        fs::write(file, sealed).unwrap();
    }

    fn cut_the_end(file: &Path) {
        let sealed = fs::read(file).unwrap();
        fs::write(file, &sealed[..NONCE_BYTES + 3]).unwrap();
    }

    fn give_to_another(file: &Path) {
        fs::rename(file, file.with_file_name("0000000000000008.call")).unwrap();
    }

    #[test]
    fn a_sign_of_life_of_another_boot_or_of_later_than_now_is_none() {
        let folder = tempfile::tempdir().unwrap();
        kept(folder.path());
        let alive = folder.path().join(ALIVE);
        let boot = fs::read_to_string(&alive).unwrap().split_once(' ').unwrap().0.to_owned();
        for (text, is_known) in [
            (format!("{boot} 1000\n"), true),
            (format!("{boot} {}\n", u64::MAX), false),
            ("another-boot 1000\n".to_owned(), false),
            (boot, false),
        ] {
            fs::write(&alive, &text).unwrap();
            let (_ledger, found) = Ledger::open(folder.path(), folder.path()).unwrap();
            assert_eq!(found.silent_ms.is_some(), is_known, "{text}");
        }
    }
}
