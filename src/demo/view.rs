//! The live view: who talks, who hears, floor, leases, emergencies, and the script's steps. It draws what recordings
//! and roster say. The terminal is given back however the demo ends.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};

use crate::demo::party::Party;
use crate::demo::stage::{Note, Stage};
use crate::demo::track::{Meter, Track};
use crate::demo::verdict::Verdict;
use crate::demo::watch::LastRoster;
use crate::dispatch::view::{LinkView, Roster};
use crate::domain::audio::Level;
use crate::domain::time::MonoTime;
use crate::io::clock;

/// What the view looks at.
pub struct Seen {
    tracks: Vec<(Party, Arc<Mutex<Track>>)>,
    roster: LastRoster,
}

impl Seen {
    pub fn of(stage: &Stage) -> Self {
        let radios = stage.radios.iter().map(|(party, radio)| (*party, radio.shared_track()));
        let phone = stage.phone.iter().map(|phone| (Party::FireChief, phone.shared_track()));
        Self { tracks: radios.chain(phone).collect(), roster: stage.roster.clone() }
    }

    fn meters(&self) -> Vec<(Party, Meter)> {
        let meter = |track: &Mutex<Track>| track.lock().unwrap_or_else(PoisonError::into_inner).meter();
        let mut meters: Vec<(Party, Meter)> = self.tracks.iter().map(|(party, track)| (*party, meter(track))).collect();
        // A softphone's microphone is always open: its key is what talks.
        let phone = meters.iter_mut().filter(|(party, _)| *party == Party::FireChief);
        phone.for_each(|(_, meter)| meter.talking = self.is_keyed(Party::FireChief));
        meters
    }

    fn is_keyed(&self, party: Party) -> bool {
        let gateways =
            self.roster.get().into_iter().flat_map(|roster| roster.talkgroups).flat_map(|group| group.gateways);
        gateways.into_iter().any(|view| view.gateway.as_str() == party.gateway() && view.talking)
    }
}

/// What is on the screen beside what is looked up.
struct Screen {
    began: MonoTime,
    seen: Option<Seen>,
    steps: VecDeque<String>,
    rounds: usize,
    last: Option<Verdict>,
}

/// Draws until the script has ended or someone quits; then the last verdict is printed on the plain terminal.
pub fn show(noted: &Receiver<Note>, seeing: &Receiver<Seen>, began: MonoTime, stop: &AtomicBool) -> Result<(), String> {
    let mut screen = Screen { began, seen: None, steps: VecDeque::new(), rounds: 0, last: None };
    let mut terminal = ratatui::try_init().map_err(|fault| format!("terminal: {fault}"))?;
    let shown = screen.run(&mut terminal, noted, seeing, stop);
    ratatui::restore();
    if let Some(verdict) = screen.last {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        for line in verdict.table() {
            writeln!(out, "{line}").map_err(|fault| format!("standard output: {fault}"))?;
        }
    }
    shown
}

impl Screen {
    fn run(
        &mut self,
        terminal: &mut ratatui::DefaultTerminal,
        noted: &Receiver<Note>,
        seeing: &Receiver<Seen>,
        stop: &AtomicBool,
    ) -> Result<(), String> {
        let fault = |fault: std::io::Error| format!("terminal: {fault}");
        loop {
            loop {
                match noted.try_recv() {
                    Ok(note) => self.take(note),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            if let Ok(seen) = seeing.try_recv() {
                self.seen = Some(seen);
            }
            terminal.draw(|frame| self.draw(frame)).map_err(fault)?;
            if event::poll(REDRAW_EVERY).map_err(fault)? && wants_to_quit(&event::read().map_err(fault)?) {
                stop.store(true, Ordering::Relaxed);
                self.take(Note::Step("Stopping; the daemon drains.".to_owned()));
            }
        }
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Step(words) => {
                let at_s = clock::mono().since(self.began).as_secs();
                self.steps.push_back(format!("{:02}:{:02}  {words}", at_s / 60, at_s % 60));
                if self.steps.len() > STEPS_KEPT {
                    self.steps.pop_front();
                }
            }
            Note::Judged(verdict) => {
                self.rounds += 1;
                self.last = Some(*verdict);
            }
        }
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let parties = Party::COUNT as u16 + 2;
        let [parties, incident, steps, verdict, menu] = Layout::vertical([
            Constraint::Length(parties),
            // Two nets, three links and an emergency; on a tall screen alarms beside them.
            Constraint::Length(if frame.area().height < TALL { 9 } else { 14 }),
            Constraint::Min(4),
            Constraint::Length(1),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        self.draw_parties(frame, parties);
        self.draw_incident(frame, incident);
        self.draw_steps(frame, steps);
        frame.render_widget(self.verdict_line(), verdict);
        frame.render_widget(Line::from(" q quits. Until then round follows round.").dim(), menu);
    }

    fn draw_parties(&self, frame: &mut Frame<'_>, area: Rect) {
        let meters = self.seen.as_ref().map(Seen::meters).unwrap_or_default();
        let width = usize::from(area.width.saturating_sub(2));
        let lines: Vec<Line<'_>> = meters.iter().map(|(party, meter)| party_line(*party, meter, width)).collect();
        let title = " radios and a phone: what each says, and what really arrives there ";
        frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
    }

    fn draw_incident(&self, frame: &mut Frame<'_>, area: Rect) {
        let lines = match self.seen.as_ref().map(|seen| seen.roster.get()) {
            None => vec![Line::from("the daemon is starting").dim()],
            Some(None) => vec![Line::from("the daemon is away").red()],
            Some(Some(roster)) => incident_lines(&roster),
        };
        let block = Block::bordered().title(" incident, as Fire's desk sees it ");
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }

    fn draw_steps(&self, frame: &mut Frame<'_>, area: Rect) {
        let (width, room) = (usize::from(area.width.saturating_sub(2)), usize::from(area.height.saturating_sub(2)));
        let lines: Vec<String> = self.steps.iter().flat_map(|step| wrapped(step, width)).collect();
        let from = lines.len().saturating_sub(room);
        let shown: Vec<Line<'_>> = lines.into_iter().skip(from).map(Line::from).collect();
        frame.render_widget(Paragraph::new(shown).block(Block::bordered().title(" what happens ")), area);
    }

    fn verdict_line(&self) -> Line<'_> {
        let Some(verdict) = &self.last else {
            return Line::from(" Verdict: the first round is not over yet.").dim();
        };
        let last = verdict.table().pop().unwrap_or_default();
        let line = Line::from(format!(" Round {}: {last}", self.rounds)).bold();
        if verdict.as_expected { line.green() } else { line.red() }
    }
}

/// The meters take what the screen has left; what a party is and its count of packets are for wide screens.
fn party_line(party: Party, meter: &Meter, width: usize) -> Line<'static> {
    let wide = width >= WIDE;
    let words = if wide { WORDS_WIDE } else { WORDS };
    let cells = (width.saturating_sub(words) / 2).min(METER_CELLS_MAX);
    let talks = if meter.talking { Span::from(" TALKS ").black().on_green() } else { Span::from("       ") };
    let mut spans = vec![Span::from(format!("{:<13}", party.name())).bold(), talks];
    if wide {
        spans.insert(1, Span::from(format!("{:<18}", party.about())).dim());
    }
    spans.extend([
        Span::from(" says "),
        Span::styled(bar(meter.said, cells), Style::new().fg(Color::Green)),
        Span::from(" hears "),
        Span::styled(bar(meter.heard, cells), Style::new().fg(Color::Cyan)),
    ]);
    if wide {
        spans.push(Span::from(format!(" {:>6} packets", meter.packets)).dim());
    }
    Line::from(spans)
}

/// Full at 0 dBov, empty at -60 dBov.
fn bar(level: Level, cells: usize) -> String {
    let filled = usize::from(60u8.saturating_sub(level.0)) * cells / 60;
    format!("{:<cells$}", "|".repeat(filled))
}

/// A step in lines of a width, broken between words; all but the first begin below its words.
fn wrapped(step: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in step.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if line.chars().count() + 1 + word.chars().count() > width && !line.trim().is_empty() {
            lines.push(format!("{STEP_INDENT}{word}"));
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn incident_lines(roster: &Roster) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for emergency in &roster.emergencies {
        let acknowledged = joined(emergency.acknowledged.iter());
        let heard =
            if acknowledged.is_empty() { "NOT CONFIRMED".to_owned() } else { format!("seen by {acknowledged}") };
        let place = if emergency.place.is_empty() { String::new() } else { format!(", {}", emergency.place) };
        let text = format!(" EMERGENCY {} ({}{place}): {heard} ", emergency.talker, emergency.agency);
        lines.push(Line::from(text).white().on_red().bold());
    }
    for incident in &roster.incidents {
        let members = joined(incident.members.iter());
        let text = format!("{} ({}), host {}: {members}", incident.title, incident.spoken, incident.host);
        lines.push(Line::from(text).bold());
        for patch in &incident.patches {
            let talkers =
                patch.talkers.iter().map(|t| format!("{} for {:.1} s", t.talkgroup, f64::from(t.for_ms as u32) / 1e3));
            let talkers = joined(talkers);
            let floor = if talkers.is_empty() { Span::from("nobody talks").dim() } else { Span::from(talkers).green() };
            lines.push(Line::from(vec![Span::from(format!("  net {:<9}", patch.name.as_str())), floor]));
            lines.extend(patch.links.iter().map(link_line));
        }
    }
    lines.extend(roster.alarms.iter().map(|alarm| Line::from(format!("ALARM {alarm}")).yellow()));
    lines
}

fn link_line(link: &LinkView) -> Line<'static> {
    let minutes = link.lease_left_s / 60;
    let ways = match (link.hears, link.talks) {
        (true, true) => "hears and talks",
        (true, false) => "only hears",
        (false, true) => "only talks",
        (false, false) => "SILENT",
    };
    Line::from(format!(
        "    {:<9} {ways:<16} lease {} h {:02} min",
        link.talkgroup.as_str(),
        minutes / 60,
        minutes % 60
    ))
}

fn joined<T: ToString>(of: impl Iterator<Item = T>) -> String {
    of.map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
}

fn wants_to_quit(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release && (control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

/// Smooth enough for a meter, and little work.
const REDRAW_EVERY: Duration = Duration::from_millis(60);
/// More than a screen has lines.
const STEPS_KEPT: usize = 200;
/// Lines from which a screen has room for more than the smallest terminal's 24.
const TALL: u16 = 36;
/// Columns from which it has room for what is not needed at a glance.
const WIDE: usize = 110;
/// Columns of a party's words, without and with those.
const WORDS: usize = 34;
const WORDS_WIDE: usize = WORDS + 18 + 15;
const METER_CELLS_MAX: usize = 30;
/// As wide as `00:00  `.
const STEP_INDENT: &str = "       ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_broken_between_words_and_no_line_is_wider_than_the_screen() {
        let step = "00:21  Fire and EMS key at the same moment: one voice on a radio, both at the police desk.";
        for width in [20, 44, 78] {
            let lines = wrapped(step, width);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:#?}");
            assert!(lines.len() > 1 && lines.iter().skip(1).all(|line| line.starts_with(STEP_INDENT)), "{lines:#?}");
            let again: Vec<&str> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
            assert_eq!(again, step.split_whitespace().collect::<Vec<_>>());
        }
    }

    #[test]
    fn both_meters_fit_the_smallest_screen_and_a_wide_one() {
        let meter = Meter { talking: true, said: Level(0), heard: Level(0), packets: 123_456 };
        for width in [78, 109, 110, 138, 200] {
            let line = party_line(Party::PoliceDesk, &meter, width).to_string();
            assert!(line.chars().count() <= width, "{} of {width}: {line}", line.chars().count());
            assert!(line.matches('|').count() >= 40, "{line}");
        }
    }
}
