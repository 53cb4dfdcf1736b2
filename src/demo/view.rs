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
use ratatui::widgets::{Block, Paragraph, Wrap};

use crate::demo::party::Party;
use crate::demo::stage::{Note, Stage};
use crate::demo::track::{Meter, Track};
use crate::demo::verdict::Verdict;
use crate::demo::watch::LastRoster;
use crate::dispatch::view::Roster;
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
        let tracks = stage.radios.iter().map(|(party, radio)| (*party, radio.shared_track())).collect();
        Self { tracks, roster: stage.roster.clone() }
    }

    fn meters(&self) -> Vec<(Party, Meter)> {
        let meter = |track: &Mutex<Track>| track.lock().unwrap_or_else(PoisonError::into_inner).meter();
        self.tracks.iter().map(|(party, track)| (*party, meter(track))).collect()
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
        let parties = Party::ALL.len() as u16 + 2;
        let [parties, incident, steps, verdict, menu] = Layout::vertical([
            Constraint::Length(parties),
            Constraint::Length(9),
            Constraint::Min(6),
            Constraint::Length(3),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        let roster = self.seen.as_ref().and_then(|seen| seen.roster.get());
        self.draw_parties(frame, parties);
        draw_incident(frame, incident, roster.as_ref());
        self.draw_steps(frame, steps);
        frame.render_widget(Paragraph::new(self.verdict_line()).block(Block::bordered().title(" verdict ")), verdict);
        frame.render_widget(Line::from(" q quit   the demo goes on until then ").dim(), menu);
    }

    fn draw_parties(&self, frame: &mut Frame<'_>, area: Rect) {
        let meters = self.seen.as_ref().map(Seen::meters).unwrap_or_default();
        let lines: Vec<Line<'_>> = meters.iter().map(|(party, meter)| party_line(*party, meter)).collect();
        let title = " radios: what each says and what really arrives there ";
        frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
    }

    fn draw_steps(&self, frame: &mut Frame<'_>, area: Rect) {
        let room = usize::from(area.height.saturating_sub(2));
        let from = self.steps.len().saturating_sub(room);
        let lines: Vec<Line<'_>> = self.steps.iter().skip(from).map(|step| Line::from(step.as_str())).collect();
        let steps = Paragraph::new(lines).wrap(Wrap { trim: false });
        frame.render_widget(steps.block(Block::bordered().title(" what happens ")), area);
    }

    fn verdict_line(&self) -> Line<'_> {
        let Some(verdict) = &self.last else {
            return Line::from("the first round is not over yet").dim();
        };
        let last = verdict.table().pop().unwrap_or_default();
        let line = Line::from(format!("round {}: {last}", self.rounds));
        if verdict.as_expected { line.green() } else { line.red() }
    }
}

fn party_line(party: Party, meter: &Meter) -> Line<'static> {
    let talks = if meter.talking { Span::from(" TALKS ").black().on_green() } else { Span::from("       ") };
    Line::from(vec![
        Span::from(format!("{:<13}", party.name())).bold(),
        Span::from(format!("{:<18}", party.about())).dim(),
        talks,
        Span::from("  says "),
        Span::styled(bar(meter.said), Style::new().fg(Color::Green)),
        Span::from("  hears "),
        Span::styled(bar(meter.heard), Style::new().fg(Color::Cyan)),
        Span::from(format!("  {} packets", meter.packets)).dim(),
    ])
}

/// Two characters for each 6 dB above -60 dBov.
fn bar(level: Level) -> String {
    let filled = usize::from(60u8.saturating_sub(level.0)) / 3;
    format!("{:<20}", "|".repeat(filled))
}

fn draw_incident(frame: &mut Frame<'_>, area: Rect, roster: Option<&Roster>) {
    let lines = roster.map_or_else(|| vec![Line::from("the daemon is away").red()], incident_lines);
    let block = Block::bordered().title(" incident, as Fire's desk sees it ");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn incident_lines(roster: &Roster) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for emergency in &roster.emergencies {
        let acknowledged: Vec<&str> = emergency.acknowledged.iter().map(|agency| agency.as_str()).collect();
        let text = format!(
            " EMERGENCY {} of {} at {}; acknowledged by: {} ",
            emergency.talker,
            emergency.agency,
            emergency.place,
            acknowledged.join(", ")
        );
        lines.push(Line::from(text).white().on_red());
    }
    for incident in &roster.incidents {
        let members: Vec<&str> = incident.members.iter().map(|agency| agency.as_str()).collect();
        lines.push(
            Line::from(format!(
                "{} ({}), host {}, members {}",
                incident.title,
                incident.spoken,
                incident.host,
                members.join(", ")
            ))
            .bold(),
        );
        for patch in &incident.patches {
            let talkers: Vec<String> =
                patch.talkers.iter().map(|t| format!("{} {} ms", t.talkgroup, t.for_ms)).collect();
            let floor = if talkers.is_empty() { "idle".to_owned() } else { talkers.join(" + ") };
            lines.push(Line::from(format!("  {:<8} floor: {floor}", patch.name)));
            for link in &patch.links {
                let minutes = link.lease_left_s / 60;
                let ways = match (link.hears, link.talks) {
                    (true, true) => "hears and talks",
                    (true, false) => "hears",
                    (false, true) => "talks",
                    (false, false) => "silent",
                };
                lines.push(Line::from(format!(
                    "    {:<8} {ways:<16} lease {}:{:02} h left",
                    link.talkgroup,
                    minutes / 60,
                    minutes % 60
                )));
            }
        }
    }
    lines.extend(roster.alarms.iter().map(|alarm| Line::from(format!("  alarm: {alarm:?}")).yellow()));
    lines
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
