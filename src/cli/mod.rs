//! The command line: one verb, one request, one readable answer. Top of the ladder. What is typed becomes the same
//! commands that console and API send; what may be done is judged by the daemon, never here.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 wrong use, 3 the daemon cannot be reached.

mod client;
mod doctor;
mod emergency;
mod event;
mod fault;
mod incident;
mod link;
mod names;
mod offline;
mod reach;
mod show;
mod span;
mod table;
mod verbs;
mod watch;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser};
use serde::Serialize;

use client::{Client, Target};
use fault::CliFault;
use incident::IncidentVerb;
use verbs::{ConfirmVerb, CutArguments, Verb};

use crate::dispatch::control::Answer;
use crate::dispatch::view::{IncidentView, InvitationView};
use crate::domain::command::Command;
use crate::domain::id::PositionId;

/// Joins agencies' radios across incidents
#[derive(Debug, Parser)]
#[command(name = "crosspatch", version, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

// Options of the verbs that tell something a program may want to read. No doc comment, as at `Target`.
#[derive(Args, Debug, Default)]
struct Form {
    /// Answers as JSON, for programs
    #[arg(long, global = true)]
    json: bool,
}

/// Reads the process's arguments, does what they say, and tells how it went.
pub fn run() -> ExitCode {
    let (verb, target, json) = read_arguments().unwrap_or_else(|fault| fault.exit());
    // Not locked: the demo's view gives the terminal back from whichever thread fails.
    let out = &mut std::io::stdout();
    let (text, code) = match perform(verb, target.as_ref(), json, out) {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(CliFault::Unwell(text)) => (text, ExitCode::FAILURE),
        Err(fault) => {
            let _ = writeln!(std::io::stderr(), "{}", fault.text(json));
            (String::new(), fault.code())
        }
    };
    // Whoever closed the pipe has read enough.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    code
}

/// The whole grammar, for completions, manual pages and tests: each verb with those options that mean something to it.
pub fn grammar() -> clap::Command {
    Arguments::command().mut_subcommands(|verb| match options_of(verb.get_name()) {
        Options::None => verb,
        Options::Form => Form::augment_args(verb),
        Options::FormAndTarget => Target::augment_args(Form::augment_args(verb)),
    })
}

/// What a verb takes beside its own arguments.
enum Options {
    None,
    Form,
    FormAndTarget,
}

fn options_of(verb: &str) -> Options {
    match verb {
        "run" | "demo" | "completions" | "man" | "explain" | "version" => Options::None,
        "check" | "doctor" | "journal" => Options::Form,
        _ => Options::FormAndTarget,
    }
}

fn read_arguments() -> Result<(Verb, Option<Target>, bool), clap::Error> {
    let matches = grammar().get_matches();
    let Arguments { verb } = Arguments::from_arg_matches(&matches)?;
    let Some((name, options)) = matches.subcommand() else { return Ok((verb, None, false)) };
    Ok(match options_of(name) {
        Options::None => (verb, None, false),
        Options::Form => (verb, None, Form::from_arg_matches(options)?.json),
        Options::FormAndTarget => {
            (verb, Some(Target::from_arg_matches(options)?), Form::from_arg_matches(options)?.json)
        }
    })
}

/// Does it. What is returned is all the output of verbs that end by themselves.
fn perform(verb: Verb, target: Option<&Target>, json: bool, out: &mut dyn Write) -> Result<String, CliFault> {
    let target = || target.ok_or_else(|| CliFault::Usage("this verb asks no daemon".to_owned()));
    let client = || Client::new(target()?);
    match verb {
        Verb::Run { config } => {
            crate::daemon::run(&config).map(|()| String::new()).map_err(|fault| CliFault::Failed(fault.to_string()))
        }
        Verb::Demo { lasting_s, plain, out } => {
            let lasting = lasting_s.map(|s| Duration::from_secs(s.into()));
            match crate::demo::run(&crate::demo::Options { lasting, plain, out }) {
                Ok(true) => Ok(String::new()),
                Ok(false) => Err(CliFault::Failed("the demo did not go as expected".to_owned())),
                Err(fault) => Err(CliFault::Failed(fault)),
            }
        }
        Verb::Check { config, schema } => offline::check(&config, schema, json),
        Verb::Explain { key } => offline::explain(&key),
        Verb::Doctor { config } => doctor::doctor(&config, json),
        Verb::Journal(verb) => offline::journal(&verb, json),
        Verb::Completions { shell } => offline::completions(shell),
        Verb::Man { dir } => offline::man(&dir),
        Verb::Version => Ok(format!("crosspatch {}\n", env!("CARGO_PKG_VERSION"))),
        Verb::Watch { after } => watch::watch(target()?, after, json, out).map(|()| String::new()),
        Verb::Roster { watch: true } => roster_again_and_again(&client()?, json, out),
        Verb::Roster { watch: false } => {
            let roster = client()?.roster()?;
            read(&roster, json, show::roster)
        }
        Verb::Incident(verb) => incident_verb(verb, &client()?, json),
        Verb::Plan { config } => offline::planned(&config, &client()?, json),
        Verb::Reload => offline::reloaded(&client()?, json),
        Verb::Why { from, to } => {
            let query = [("from", from.as_str()), ("to", to.as_str())];
            let why: crate::dispatch::why::Why = client()?.get("/api/v1/why", &query)?;
            read(&why, json, show::why)
        }
        Verb::Emergency(verb) => {
            let client = client()?;
            ask(&client, &verb.command(&client)?, json)
        }
        Verb::Cut(arguments) => cut(arguments, &client()?, json, |target| Command::Cut { target }),
        Verb::Restore(arguments) => cut(arguments, &client()?, json, |target| Command::Restore { target }),
        Verb::Revoke { incident, patch, burst } => {
            let client = client()?;
            let incident = names::incident(&client, &incident)?;
            ask(&client, &Command::Revoke { incident, name: patch, burst }, json)
        }
        Verb::Beat { position, every: None } => ask(&client()?, &Command::Beat { position }, json),
        Verb::Beat { position, every: Some(s) } => {
            let client = client()?;
            ask(&client, &Command::Beat { position: position.clone() }, json)?;
            beat_on(&client, &position, Duration::from_secs(s.into()), json)
        }
        Verb::Confirm(verb) => confirm(verb, &client()?, json),
    }
}

/// Beats until it is interrupted. Whatever goes wrong later is told and tried again: a daemon that restarts, or a journal
/// that fails, must not leave an occupied chair without its sign of life.
fn beat_on(client: &Client, position: &PositionId, every: Duration, json: bool) -> ! {
    loop {
        std::thread::sleep(every);
        if let Err(fault) = ask(client, &Command::Beat { position: position.clone() }, json) {
            let _ = writeln!(std::io::stderr(), "{}", fault.text(json));
        }
    }
}

/// What `incident list` tells programs: the same names as in the roster.
#[derive(Serialize)]
struct IncidentList<'r> {
    incidents: &'r [IncidentView],
    invitations: &'r [InvitationView],
}

fn incident_verb(verb: IncidentVerb, client: &Client, json: bool) -> Result<String, CliFault> {
    match verb {
        IncidentVerb::List => {
            let roster = client.roster()?;
            let list = IncidentList { incidents: &roster.incidents, invitations: &roster.invitations };
            if json { pretty(&list) } else { Ok(show::incidents(&roster)) }
        }
        IncidentVerb::Show { incident } => {
            let roster = client.roster()?;
            read(names::incident_view(&roster, &incident)?, json, show::incident)
        }
        IncidentVerb::Session(verb) => ask(client, &verb.command(client)?, json),
        IncidentVerb::Link(verb) => ask(client, &verb.command(client)?, json),
    }
}

fn cut(
    arguments: CutArguments,
    client: &Client,
    json: bool,
    command: impl Fn(crate::domain::incident::CutTarget) -> Command,
) -> Result<String, CliFault> {
    let cut = arguments.target(client)?;
    ask(client, &command(cut), json)
}

fn confirm(verb: ConfirmVerb, client: &Client, json: bool) -> Result<String, CliFault> {
    match verb {
        ConfirmVerb::Link { incident, link, receive, transmit } => {
            let link = names::link(client, &incident, &link)?;
            ask(client, &Command::Confirm { link, receive, transmit }, json)
        }
        ConfirmVerb::Change { agency } => ask(client, &Command::ConfirmChange { agency }, json),
        ConfirmVerb::Loss { reason } => ask(client, &Command::ConfirmLoss { reason }, json),
    }
}

/// Sends a command and tells what it led to.
fn ask(client: &Client, command: &Command, json: bool) -> Result<String, CliFault> {
    let answer: Answer = client.command(command)?;
    if let Some(warning) = event::warning(&answer) {
        let _ = writeln!(std::io::stderr(), "{warning}");
    }
    read(&answer, json, event::answer)
}

/// The roster every second, on a cleared screen; as JSON one line each. A daemon that restarts is waited for.
fn roster_again_and_again(client: &Client, json: bool, out: &mut dyn Write) -> Result<String, CliFault> {
    let mut unanswered = 0;
    loop {
        let shown = match client.roster() {
            Ok(roster) if json => serde_json::to_string(&roster).map(|line| line + "\n").map_err(unspeakable)?,
            Ok(roster) => format!("{CLEAR}{}", show::roster(&roster)),
            Err(CliFault::Unreachable(why)) if (1..AWAY_MAX).contains(&unanswered) => {
                let _ = writeln!(std::io::stderr(), "{}{why}", if json { "" } else { CLEAR });
                unanswered += 1;
                std::thread::sleep(LOOK_EVERY);
                continue;
            }
            Err(fault) => return Err(fault),
        };
        unanswered = 1;
        if out.write_all(shown.as_bytes()).and_then(|()| out.flush()).is_err() {
            return Ok(String::new());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn read<T: Serialize>(value: &T, json: bool, words: impl Fn(&T) -> String) -> Result<String, CliFault> {
    if json { pretty(value) } else { Ok(words(value)) }
}

fn pretty<T: Serialize>(value: &T) -> Result<String, CliFault> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(unspeakable)
}

fn unspeakable(fault: serde_json::Error) -> CliFault {
    CliFault::Failed(format!("cannot be said as JSON: {fault}"))
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks without an answer before `--watch` gives up: a restart takes some seconds.
const AWAY_MAX: u32 = 60;
/// Cursor home, then clear to the end: less flicker than the other way round.
const CLEAR: &str = "\x1b[H\x1b[J";
