//! `crosspatch demo`: three agencies, one incident, recorded speech, the real daemon, and a verdict from what arrived.
//!
//! A user of the daemon, not a part of it: it starts this very executable as `crosspatch run`, sends HTTP commands with
//! three agencies' tokens and RTP from virtual radios, has a softphone call, and looks at recordings. Everything is on loopback and temporary.
//!
//! ```text
//!   view | plain <- notes <- script (thread) -> desks -> HTTP ->  daemon (child)
//!                               |                                   ^
//!                               +-> radios (a thread each) <- RTP --+
//!                               +-> verdict <- tracks
//! ```

mod child;
mod desk;
mod fourier;
pub mod likeness;
mod loudspeaker;
mod party;
mod phone;
mod radio;
mod script;
pub mod speech;
mod stage;
mod track;
pub mod verdict;
mod view;
mod watch;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::demo::script::Script;
use crate::demo::stage::{Ended, Note, Stage};
use crate::demo::verdict::Verdict;
use crate::demo::view::Seen;
use crate::domain::time::MonoTime;
use crate::io::clock;

/// What the user asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// End by itself after about so long, at least one whole round; none goes on until someone quits.
    pub lasting: Option<Duration>,
    /// Lines instead of the view, even on a terminal.
    pub plain: bool,
    /// Where recordings, log and verdict are left; a new folder if none.
    pub out: Option<PathBuf>,
}

/// Runs the demo; whether everything that was judged was as expected. An error is a demo that could not be carried out.
pub fn run(options: &Options) -> Result<bool, String> {
    let folder = make_folder(options.out.as_deref())?;
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signals(&stop)?;
    let (notes, noted) = channel();
    let (seen, seeing) = channel();
    let began = clock::mono();
    let lasting = options.lasting;
    let (at, stopped) = (folder.clone(), Arc::clone(&stop));
    let script = std::thread::Builder::new()
        .name("script".to_owned())
        .spawn(move || rounds(&at, &stopped, notes, &seen, lasting))
        .map_err(|fault| format!("no thread for the script: {fault}"))?;
    let shown = if options.plain || !std::io::stdout().is_terminal() {
        print_notes(&noted, began)
    } else {
        view::show(&noted, &seeing, began, &stop)
    };
    // The view is gone, by whatever way: then the script ends too.
    stop.store(true, Ordering::Relaxed);
    let played = script.join().map_err(|_| "the script failed; see above".to_owned())?;
    let verdicts = played?;
    shown?;
    leave_verdict(&folder, &verdicts)
}

/// Rounds one after the other until the time is over or someone quits.
fn rounds(
    folder: &Path,
    stop: &Arc<AtomicBool>,
    notes: Sender<Note>,
    seen: &Sender<Seen>,
    lasting: Option<Duration>,
) -> Result<Vec<Verdict>, String> {
    let began = clock::mono();
    let mut stage = Stage::set_up(folder, stop, notes)?;
    // Nobody may be watching.
    let _ = seen.send(Seen::of(&stage));
    let over = AtomicBool::new(false);
    let desks = [stage.fire.clone(), stage.police.clone(), stage.ems.clone()];
    let roster = stage.roster.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| watch::watch(&desks, &roster, &over));
        let verdicts = play(&mut stage, began, lasting);
        over.store(true, Ordering::Relaxed);
        verdicts
    })
}

fn play(stage: &mut Stage, began: MonoTime, lasting: Option<Duration>) -> Result<Vec<Verdict>, String> {
    let mut verdicts = Vec::new();
    let ended = (|| {
        let incident = script::open_incident(stage)?;
        script::a_phone_joins(stage)?;
        loop {
            let round_began = clock::mono();
            verdicts.push(Script::round(stage, incident)?);
            let (passed, one) = (clock::mono().since(began), clock::mono().since(round_began));
            if lasting.is_some_and(|lasting| passed + one > lasting) {
                return Ok(());
            }
        }
    })();
    match ended {
        Ok(()) | Err(Ended::Quit) => Ok(verdicts),
        Err(Ended::Fault(fault)) => Err(fault),
    }
}

/// Everything as lines with the time since the start.
fn print_notes(noted: &Receiver<Note>, began: MonoTime) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    for note in noted {
        let lines = match note {
            Note::Step(words) => vec![format!("{:6.1} s  {words}", clock::mono().since(began).as_secs_f32())],
            Note::Judged(verdict) => verdict.table(),
        };
        for line in lines {
            writeln!(out, "{line}").map_err(|fault| format!("standard output: {fault}"))?;
        }
    }
    Ok(())
}

/// What the rounds showed, for programs.
#[derive(Serialize)]
struct Left<'a> {
    /// None if somebody quit before a round was over: nothing was judged, and nothing failed.
    as_expected: Option<bool>,
    rounds: &'a [Verdict],
}

fn leave_verdict(folder: &Path, verdicts: &[Verdict]) -> Result<bool, String> {
    let as_expected = (!verdicts.is_empty()).then(|| verdicts.iter().all(|verdict| verdict.as_expected));
    let path = folder.join("verdict.json");
    let text =
        serde_json::to_string_pretty(&Left { as_expected, rounds: verdicts }).map_err(|fault| fault.to_string())?;
    std::fs::write(&path, text).map_err(|fault| format!("{}: {fault}", path.display()))?;
    let mut out = std::io::stdout().lock();
    let words = match verdicts {
        [] => "No round was finished, so nothing is judged.".to_owned(),
        [_] => "One round was judged.".to_owned(),
        more => format!("{} rounds were judged.", more.len()),
    };
    let gone = |fault: std::io::Error| format!("standard output: {fault}");
    writeln!(out, "{words}").map_err(gone)?;
    writeln!(out, "What each party said and heard, the daemon's log and the verdict: {}", folder.display())
        .map_err(gone)?;
    Ok(as_expected.unwrap_or(true))
}

fn make_folder(wanted: Option<&Path>) -> Result<PathBuf, String> {
    let folder = match wanted {
        Some(folder) => folder.to_owned(),
        None => std::env::temp_dir().join(format!("crosspatch-demo-{}", std::process::id())),
    };
    let fault = |fault: std::io::Error| format!("{}: {fault}", folder.display());
    std::fs::create_dir_all(&folder).map_err(fault)?;
    if folder.join("store").exists() {
        return Err(format!("{} holds an earlier demo: choose another folder", folder.display()));
    }
    folder.canonicalize().map_err(fault)
}

/// SIGINT, SIGTERM and a terminal that goes away end the demo in order: the daemon is a child and must not be left
/// behind. In the view Ctrl-C is a key.
fn stop_on_signals(stop: &Arc<AtomicBool>) -> Result<(), String> {
    let fault = |fault: std::io::Error| format!("signals: {fault}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fault)?;
    let stop = Arc::clone(stop);
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        let listen = |kind| signal(kind).map_err(fault);
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?)
    };
    // Ends with the process.
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                stop.store(true, Ordering::Relaxed);
            }
        });
    });
    Ok(())
}
