//! Verbs about files: configuration, journal, completions, manual pages. They need no daemon, save plan and reload.

use std::path::Path;

use clap_complete::Shell;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::client::Client;
use super::fault::CliFault;
use super::verbs::JournalVerb;
use super::{grammar, pretty};
use crate::config;
use crate::io::journal::{self, CheckReport, DataDir};

/// Every fault of a file, or what a good one holds.
pub(super) fn check(path: &Path, schema: bool, json: bool) -> Result<String, CliFault> {
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
    if json {
        let mut told: serde_json::Map<String, Value> =
            counts.iter().map(|(count, of)| ((*of).to_owned(), Value::from(*count))).collect();
        told.insert("warnings".to_owned(), warnings.iter().map(warning).collect());
        return pretty(&told);
    }
    let counted: Vec<String> = counts.iter().map(|(count, of)| format!("{count} {of}")).collect();
    let warned = config::render(&warnings);
    Ok(format!("{warned}{} is whole: {}.\n", path.display(), counted.join(", ")))
}

fn warning(fault: &config::Fault) -> Value {
    json!({ "line": fault.line, "column": fault.column, "message": fault.message, "suggestion": fault.suggestion })
}

/// A file's values, or all its faults as the fault of the verb.
pub(super) fn load(path: &Path) -> Result<config::Loaded, CliFault> {
    config::load(path).map_err(|faults| {
        let rendered = config::render(&faults).trim_end().to_owned();
        // For programs as the daemon says it of the same file.
        let sentence = "The configuration has faults; nothing changed.";
        let body = json!({ "code": "faulty", "sentence": sentence, "faults": rendered });
        CliFault::Refused { sentence: rendered, body }
    })
}

pub(super) fn explain(key: &str) -> Result<String, CliFault> {
    config::explain(key).map_err(|nearest| {
        let near = match nearest {
            Some(nearest) => format!("Do you mean {nearest}?"),
            None => format!("Its sections are {}.", config::sections().collect::<Vec<_>>().join(", ")),
        };
        CliFault::Failed(format!("The configuration has no key or section {key}. {near}"))
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
    let lies_aside = |number: i64| report.set_aside.iter().any(|aside| aside.number == number);
    for stream in report.streams.iter().filter(|stream| !lies_aside(stream.number)) {
        if let Some(broken) = &stream.broken {
            say(format!("Stream {broken}."));
        }
    }
    for aside in &report.set_aside {
        say(format!("Stream {} lies aside from its record {} on.", aside.stream, aside.from_seq));
    }
    if report.bad_snapshots > 0 {
        say(format!("{} snapshots are not what was written.", report.bad_snapshots));
    }
    if report.is_whole() {
        say(match report.set_aside.len() {
            0 => "The journal is whole.".to_owned(),
            _ => "Nothing is left to repair; what lies aside is kept and not used.".to_owned(),
        });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::journal::{BreakKind, ChainBreak, SetAside, Stream, StreamReport};

    #[test]
    fn a_journal_with_a_stream_aside_is_not_called_whole_and_the_stream_is_named_once() {
        let broken = |number| StreamReport {
            number,
            stream: Stream::Node,
            records: 9,
            verified_seq: 4,
            broken: Some(ChainBreak { stream: Stream::Node, seq: 5, what: BreakKind::Altered }),
        };
        let aside = SetAside { number: 1, stream: Stream::Node, from_seq: 5 };
        let told = report_text(&CheckReport { streams: vec![broken(1)], set_aside: vec![aside], ..Default::default() });
        assert!(!told.contains("whole") && told.contains("Nothing is left to repair"), "{told}");
        assert_eq!(told.matches("node").count(), 1, "{told}");
        let told = report_text(&CheckReport { streams: vec![broken(2)], ..CheckReport::default() });
        assert!(told.ends_with("Stream node: record 5 is not what was written.\n"), "{told}");
    }
}
