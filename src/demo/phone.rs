//! The demo's phone: baresip, a softphone that nobody here wrote, set up as any user would. It calls its talkgroup and
//! talks with its keys. It shares nothing with the daemon but the network.
//!
//! What it says and hears comes from baresip's own dumps of sound, read as they grow: a frame that was written since the
//! last look was said or heard just now.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::demo::speech::Speech;
use crate::demo::track::{Track, write_wav};
use crate::domain::audio::{Frame, MIX_FRAME};
use crate::domain::time::FRAME;
use crate::io::clock;
use crate::media::resample::{Rates, Resampler};

/// A phone that is switched on. Dropping it switches it off.
#[derive(Debug)]
pub struct Phone {
    program: Child,
    keys: ChildStdin,
    registrar: SocketAddr,
    track: Arc<Mutex<Track>>,
    off: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// As whom a phone registers, and where.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    pub registrar: SocketAddr,
    pub user: &'a str,
    pub password: &'a str,
}

impl Phone {
    /// Switches a phone on that says this speech while it is in a call. None where baresip is not installed.
    pub fn start(account: Account<'_>, says: &mut Speech, folder: &Path) -> Result<Option<Self>, String> {
        let fault = |fault: std::io::Error| format!("baresip: {fault}");
        write_set_up(account, says, folder)?;
        let log = File::create(folder.join("baresip.log")).map_err(fault)?;
        let started = Command::new("baresip")
            .arg("-f")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(fault)?)
            .stderr(log)
            .spawn();
        let mut program = match started {
            Ok(program) => program,
            Err(missing) if missing.kind() == ErrorKind::NotFound => return Ok(None),
            Err(other) => return Err(fault(other)),
        };
        let keys = program.stdin.take().expect("asked for above");
        let track = Arc::new(Mutex::new(Track::new(clock::mono())));
        let off = Arc::new(AtomicBool::new(false));
        let mut dumps = [Dump::new(folder, "-enc.wav")?, Dump::new(folder, "-dec.wav")?];
        let (listening, switched_off) = (Arc::clone(&track), Arc::clone(&off));
        let thread = std::thread::Builder::new()
            .name("phone".to_owned())
            .spawn(move || listen(&mut dumps, &listening, &switched_off))
            .map_err(|fault| format!("no thread for a phone: {fault}"))?;
        let registrar = account.registrar;
        Ok(Some(Self { program, keys, registrar, track, off, thread: Some(thread) }))
    }

    /// Calls a number.
    pub fn dial(&mut self, number: &str) -> Result<(), String> {
        let registrar = self.registrar;
        self.type_in(&format!("/dial sip:{number}@{registrar}\n"))
    }

    /// Presses a key of the dial pad.
    pub fn press(&mut self, key: char) -> Result<(), String> {
        self.type_in(&key.to_string())
    }

    /// Its recordings so far.
    pub fn track(&self) -> MutexGuard<'_, Track> {
        lock(&self.track)
    }

    /// A handle to the recordings, for the view.
    pub fn shared_track(&self) -> Arc<Mutex<Track>> {
        Arc::clone(&self.track)
    }

    fn type_in(&mut self, words: &str) -> Result<(), String> {
        write!(self.keys, "{words}").and_then(|()| self.keys.flush()).map_err(|fault| format!("baresip: {fault}"))
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.off.store(true, Ordering::Relaxed);
        // It may have ended already, which is as good.
        let _ = self.program.kill();
        let _ = self.program.wait();
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed; there is nothing to save.
            let _ = thread.join();
        }
    }
}

/// Every 20 ms, at absolute times: what it has said and heard since.
fn listen(dumps: &mut [Dump; 2], track: &Mutex<Track>, off: &AtomicBool) {
    let mut next = clock::mono() + FRAME;
    while !off.load(Ordering::Relaxed) {
        std::thread::sleep(next.since(clock::mono()));
        let [said, heard] = dumps.each_mut().map(Dump::next);
        lock(track).tick(next, said.as_ref(), heard.as_ref());
        next = next + FRAME;
    }
}

fn lock(track: &Mutex<Track>) -> MutexGuard<'_, Track> {
    // A recording is whole between any two samples.
    track.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file of baresip's that grows while a call lasts; each call has a new one.
#[derive(Debug)]
struct Dump {
    folder: PathBuf,
    ending: &'static str,
    open: Option<(PathBuf, File)>,
    resampler: Resampler,
    /// Less than a frame, whose other bytes are not there yet.
    rest: Vec<u8>,
    waiting: VecDeque<i16>,
}

impl Dump {
    fn new(folder: &Path, ending: &'static str) -> Result<Self, String> {
        let rates = Rates::to_mixer(RATE_HZ).ok_or("the mixer does not know the phone's rate")?;
        Ok(Self {
            folder: folder.to_owned(),
            ending,
            open: None,
            resampler: Resampler::new(rates),
            rest: Vec::new(),
            waiting: VecDeque::new(),
        })
    }

    /// The next 20 ms of it, if they are written.
    fn next(&mut self) -> Option<Frame> {
        self.follow();
        let (_, file) = self.open.as_mut()?;
        // What cannot be read now can be read at the next look.
        let _ = file.read_to_end(&mut self.rest);
        let whole = self.rest.len() / FRAME_BYTES * FRAME_BYTES;
        let samples: Vec<i16> =
            self.rest.drain(..whole).as_slice().as_chunks().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
        let mut at_16k = vec![0; self.resampler.rates().output_samples(samples.len())];
        self.resampler.run(&samples, &mut at_16k);
        self.waiting.extend(at_16k);
        if self.waiting.len() < MIX_FRAME {
            return None;
        }
        let mut frame = [0; MIX_FRAME];
        frame.iter_mut().zip(self.waiting.drain(..MIX_FRAME)).for_each(|(to, sample)| *to = sample);
        Some(frame)
    }

    /// To the newest call's file.
    fn follow(&mut self) {
        let files = std::fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let newest = files.filter(|path| path.to_string_lossy().ends_with(self.ending)).max();
        let Some(newest) = newest.filter(|path| self.open.as_ref().is_none_or(|(open, _)| open != path)) else {
            return;
        };
        let opened = File::open(&newest).and_then(|mut file| file.seek(SeekFrom::Start(HEAD_BYTES)).map(|_| file));
        if let Ok(file) = opened {
            self.open = Some((newest, file));
            self.rest.clear();
            self.waiting.clear();
        }
    }
}

/// The files that baresip starts from.
fn write_set_up(account: Account<'_>, says: &mut Speech, folder: &Path) -> Result<(), String> {
    let fault = |fault: std::io::Error| format!("{}: {fault}", folder.display());
    std::fs::create_dir_all(folder).map_err(fault)?;
    write_speech(&folder.join("says.wav"), says)?;
    let path = folder.display();
    let config = format!(
        "poll_method epoll\nnet_interface 127.0.0.1\nsip_listen 127.0.0.1:0\n\
         audio_source aufile,{path}/says.wav\naudio_player aubridge,ear\naudio_alert aufile,/dev/null\nsnd_path {path}\n\
         ausrc_srate {RATE_HZ}\nauplay_srate {RATE_HZ}\nausrc_channels 1\nauplay_channels 1\n\
         module_path {MODULES}\nmodule stdio.so\nmodule aufile.so\nmodule aubridge.so\nmodule sndfile.so\n\
         module g711.so\nmodule_app account.so\nmodule_app contact.so\nmodule_app menu.so\nmodule_tmp uuid.so\n"
    );
    let Account { registrar, user, password } = account;
    let account = format!("<sip:{user}@{registrar}>;auth_pass={password};regint=60;audio_codecs=pcmu\n");
    for (name, text) in [("config", config.as_str()), ("accounts", account.as_str()), ("contacts", "")] {
        std::fs::write(folder.join(name), text).map_err(fault)?;
    }
    Ok(())
}

fn write_speech(path: &Path, speech: &mut Speech) -> Result<(), String> {
    let frames = speech.say(SAYS_MS);
    let rates = Rates::from_mixer(RATE_HZ).ok_or("the mixer does not know the phone's rate")?;
    let mut samples = vec![0; rates.output_samples(frames.len() * MIX_FRAME)];
    Resampler::new(rates).run(frames.as_flattened(), &mut samples);
    write_wav(path, RATE_HZ, &samples)
}

/// It speaks G.711.
const RATE_HZ: u32 = 8_000;
/// Of 20 ms in a dump.
const FRAME_BYTES: usize = 2 * RATE_HZ as usize / 50;
/// RIFF, its format and the head of its samples.
const HEAD_BYTES: u64 = 44;
/// At the end of its file it hangs up; a call lasts for one round of the script.
const SAYS_MS: usize = 600_000;
/// Where Debian has them.
const MODULES: &str = "/usr/lib/baresip/modules";
