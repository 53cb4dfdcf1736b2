//! The language of the scenarios with two sites, the north and the south: each line as in `script.rs`, with its site
//! before it. The north is home.
//!
//! ```text
//! two sites of 2 agencies                 each: police, fire, and the other site as one more agency with line-1
//! both open                               each police opens, everybody accepts, the line outranks in the south
//! north pd-1 talks 2 s    both pd-1 talk 2 s    north pd-1 keys    north pd-1 lets go    wait 2 s
//! line breaks    line is mended    south dies    south starts    south fire cuts fd-1
//! expect south fd-1 heard north pd-1      expect south fd-1 heard nothing
//! ```

use std::fmt::Write;

use crosspatch::domain::command::Command;
use crosspatch::domain::time::{MonoTime, WallTime};

use super::dispatchers::dispatcher;
use super::field::Ear;
use super::geography;
use super::pair::Pair;
use super::script::{cut_target, sentence};
use super::words::{duration_ms, number, seconds, words};

/// Runs a script; the transcript, or the line that failed and why.
pub fn run(script: &str) -> Result<String, String> {
    let mut stage = Stage { pair: Pair::plain(2), out: String::new(), since: MonoTime(0), told: [0; 2] };
    for (number, line) in script.lines().enumerate() {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if words.is_empty() {
            continue;
        }
        writeln!(stage.out, "> {}", line.trim()).map_err(|fault| fault.to_string())?;
        stage.perform(&words).map_err(|why| format!("line {}: {}: {why}\n{}", number + 1, line.trim(), stage.out))?;
        stage.tell();
    }
    let found = stage.pair.sites.iter().map(|site| &site.findings).chain([&stage.pair.findings]);
    match found.flat_map(|findings| findings.first.values()).next() {
        Some(violation) => Err(format!("{:?} broken: {}\n{}", violation.law, violation.what, stage.out)),
        None => Ok(stage.out),
    }
}

struct Stage {
    pair: Pair,
    out: String,
    /// What was heard counts from here: the last time somebody keyed.
    since: MonoTime,
    told: [usize; 2],
}

impl Stage {
    fn perform(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["two", "sites", "of", agencies, "agencies"] => {
                self.pair = Pair::plain(number(agencies)? as usize);
                self.pair.pass(25);
                self.told = [0, 1].map(|at| self.pair.sites[at].transcript.len());
            }
            ["both", "open"] => self.pair.open(),
            ["both", who, "talk", count, unit] => {
                let ms = duration_ms(count, unit)?;
                self.key(0, who, ms / 20)?;
                self.key(1, who, ms / 20)?;
                self.pass(ms + 1_500);
            }
            ["wait", count, unit] => self.pass(duration_ms(count, unit)?),
            ["line", "breaks"] => self.pair.set_line(false),
            ["line", "is", "mended"] => self.pair.set_line(true),
            ["expect", site, who, "heard", "nothing"] => match self.heard_ms(number_of(site)?, who, None)? {
                0 => {}
                ms => return Err(format!("{who} heard {ms} ms")),
            },
            ["expect", site, who, "heard", of, talker] => {
                match self.heard_ms(number_of(site)?, who, Some((number_of(of)?, talker)))? {
                    0 => return Err(format!("{who} did not hear {talker}")),
                    ms => self.show(&format!("  {who} heard {talker} for {}", seconds(ms))),
                }
            }
            [site, rest @ ..] => self.at_site(number_of(site)?, rest)?,
            [] => {}
        }
        Ok(())
    }

    fn at_site(&mut self, at: usize, words: &[&str]) -> Result<(), String> {
        match words {
            ["dies"] => self.pair.sites[at].kill(),
            ["starts"] => self.pair.sites[at].start(),
            [who, "talks", count, unit] => {
                let ms = duration_ms(count, unit)?;
                self.key(at, who, ms / 20)?;
                self.pass(ms + 1_500);
            }
            [who, "keys"] => self.key(at, who, u64::from(u16::MAX))?,
            [who, "lets", "go"] => {
                let speaker = self.speaker(at, who)?;
                self.pair.sites[at].field.let_go(speaker);
                self.pass(1_500);
            }
            [agency, "cuts", target] => {
                let cut = Command::Cut { target: cut_target(agency, target) };
                self.pair.sites[at].ask(dispatcher(&geography::agency(agency)), cut);
                self.pass(200);
            }
            _ => return Err("nobody understands this line".into()),
        }
        Ok(())
    }

    fn pass(&mut self, ms: u64) {
        self.pair.pass(ms / 20);
    }

    fn key(&mut self, at: usize, who: &str, frames: u64) -> Result<(), String> {
        let speaker = self.speaker(at, who)?;
        let site = &mut self.pair.sites[at];
        site.field.press(speaker, frames.min(u64::from(u16::MAX)) as u16, false, site.now.mono);
        self.since = site.now.mono;
        Ok(())
    }

    fn speaker(&self, at: usize, who: &str) -> Result<usize, String> {
        let ear = self.ear(at, who)?;
        self.pair.sites[at].field.speaker_at(ear).ok_or_else(|| format!("nobody speaks at {who}"))
    }

    /// A gateway, or the first radio of a talkgroup.
    fn ear(&self, at: usize, name: &str) -> Result<Ear, String> {
        let field = &self.pair.sites[at].field;
        field.ear(name).or_else(|| field.ear(&format!("{name}-a"))).ok_or_else(|| format!("there is no {name}"))
    }

    /// What a device heard of somebody, at whichever site, since the last key.
    fn heard_ms(&self, at: usize, who: &str, talker: Option<(usize, &str)>) -> Result<u64, String> {
        let ear = self.ear(at, who)?;
        let voice = talker.map(|(of, talker)| self.speaker(of, talker)).transpose()?;
        let heard = self.pair.sites[at].ears.heard.iter().filter(|((of, said, _), heard)| {
            *of == ear && voice.is_none_or(|voice| voice == usize::from(*said)) && heard.last_at >= self.since
        });
        Ok(heard.map(|(_, heard)| 20 * (heard.frames.len() as u64 + u64::from(heard.tones))).sum())
    }

    fn show(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    /// What has been published since the last line, the north's first.
    fn tell(&mut self) {
        for (at, name) in SITES.iter().enumerate() {
            let site = &self.pair.sites[at];
            for record in &site.transcript[self.told[at]..] {
                if let Some(text) = sentence(record) {
                    let clock = WallTime(record.at.mono.as_millis().saturating_sub(3_600_000) as i64).to_string();
                    self.out.push_str(&format!("  [{}] {name}: {text}\n", &clock[11..21]));
                }
            }
            self.told[at] = site.transcript.len();
        }
    }
}

fn number_of(site: &str) -> Result<usize, String> {
    SITES.iter().position(|name| *name == site).ok_or_else(|| format!("{site} is neither north nor south"))
}

const SITES: [&str; 2] = ["north", "south"];
