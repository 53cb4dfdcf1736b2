//! Verbs about files: configuration, journal, completions, manual pages. They need no daemon, save plan and reload.

use std::path::Path;

use clap_complete::Shell;
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::fault::CliFault;
use super::verbs::JournalVerb;
use super::{grammar, pretty};
use crate::config;
use crate::io::journal::{self, CheckReport, DataDir};

/// Every fault of a file, or what a good one holds.
pub(super) fn check(path: &Path, schema: bool) -> Result<String, CliFault> {
    if schema {
        return pretty(&config::schema());
    }
    let (_, configuration, warnings) = load(path)?;
    let counts = [
        (configuration.agencies.len(), "agencies"),
        (configuration.talkgroups.len(), "talkgroups"),
        (configuration.gateways.len(), "gateways"),
        (configuration.agreements.len(), "agreements"),
        (configuration.templates.len(), "templates"),
    ];
    let counted: Vec<String> = counts.iter().map(|(count, of)| format!("{count} {of}")).collect();
    let warned = config::render(&warnings);
    Ok(format!("{warned}{} is whole: {}.\n", path.display(), counted.join(", ")))
}

/// A file's values, or all its faults as the fault of the verb.
pub(super) fn load(path: &Path) -> Result<config::Loaded, CliFault> {
    config::load(path).map_err(|faults| CliFault::Failed(config::render(&faults).trim_end().to_owned()))
}

pub(super) fn explain(key: &str) -> Result<String, CliFault> {
    config::explain(key).map_err(|nearest| {
        let near = nearest.map(|nearest| format!(" Do you mean {nearest}?")).unwrap_or_default();
        CliFault::Failed(format!("The configuration has no key or section {key}.{near}"))
    })
}

/// What the daemon says it does, or would do.
#[derive(Deserialize, Serialize)]
struct Plan {
    lines: Vec<String>,
}

pub(super) fn planned(path: &Path, client: &Client, json: bool) -> Result<String, CliFault> {
    // Faults are told with the file's own name, before anybody is asked.
    load(path)?;
    let unreadable = |fault| CliFault::Failed(format!("{}: {fault}", path.display()));
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    plan_text(&client.post("/api/v1/plan", &text)?, json)
}

pub(super) fn reloaded(client: &Client, json: bool) -> Result<String, CliFault> {
    plan_text(&client.post("/api/v1/reload", "")?, json)
}

fn plan_text(plan: &Plan, json: bool) -> Result<String, CliFault> {
    if json {
        pretty(plan)
    } else if plan.lines.is_empty() {
        Ok("Nothing changes.\n".to_owned())
    } else {
        Ok(plan.lines.iter().map(|line| format!("{line}\n")).collect())
    }
}

pub(super) fn journal(verb: &JournalVerb, json: bool) -> Result<String, CliFault> {
    let failed = |fault: journal::OpenFault| CliFault::Failed(fault.to_string());
    let (report, text) = match verb {
        JournalVerb::Check { dir } => {
            if !dir.is_dir() {
                return Err(CliFault::Failed(format!("{} is no folder", dir.display())));
            }
            let report = journal::check(dir).map_err(failed)?;
            let text = if json { pretty(&report)? } else { report_text(&report) };
            (report, text)
        }
        JournalVerb::Repair { dir } => {
            if !dir.is_dir() {
                return Err(CliFault::Failed(format!("{} is no folder", dir.display())));
            }
            let repair = journal::repair(&DataDir::claim(dir).map_err(failed)?).map_err(failed)?;
            let done = match &repair.original {
                Some(original) => format!("Rebuilt; the original lies in {original}.\n"),
                None => "Nothing to repair.\n".to_owned(),
            };
            let text = if json { pretty(&repair)? } else { format!("{done}{}", report_text(&repair.after)) };
            (repair.after, text)
        }
    };
    if report.is_whole() { Ok(text) } else { Err(CliFault::Unwell(text)) }
}

/// What a walk over the journal found.
pub(super) fn report_text(report: &CheckReport) -> String {
    let streams = report.streams.len();
    let mut text = format!("{} records in {streams} streams, the last at {}.\n", report.records, report.last_position);
    let mut say = |line: String| text.push_str(&(line + "\n"));
    if let Some(cause) = &report.unreadable {
        say(format!("The file cannot be opened as it is: {cause}. What is told here could be saved of it."));
    }
    report.structure.iter().for_each(|line| say(format!("Structure: {line}")));
    if let Some(cut) = report.cut {
        say(format!("The end is gone: {} was answered, {} is the last there.", cut.answered, cut.found));
    }
    report.missing.iter().for_each(|(first, last)| say(format!("Missing: positions {first} to {last}.")));
    for (first, last) in &report.missing_since_repair {
        say(format!("Missing since an earlier repair: positions {first} to {last}."));
    }
    for stream in &report.streams {
        if let Some(broken) = &stream.broken {
            say(format!("Stream {}: {broken}", stream.stream));
        }
    }
    for aside in &report.set_aside {
        say(format!("Stream {} lies aside from its record {} on.", aside.stream, aside.from_seq));
    }
    if report.bad_snapshots > 0 {
        say(format!("{} snapshots are not what was written.", report.bad_snapshots));
    }
    if report.is_whole() {
        say("The journal is whole.".to_owned());
    }
    text
}

pub(super) fn completions(shell: Shell) -> Result<String, CliFault> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut grammar(), "crosspatch", &mut script);
    String::from_utf8(script).map_err(|fault| CliFault::Failed(fault.to_string()))
}

pub(super) fn man(dir: &Path) -> Result<String, CliFault> {
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(grammar(), dir));
    written.map_err(|fault| CliFault::Failed(format!("{}: {fault}", dir.display())))?;
    Ok(format!("The manual pages are in {}.\n", dir.display()))
}
