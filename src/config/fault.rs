//! Faults of a configuration file: values with a place, shown with the source line, a caret and a suggestion.
//! The line is masked where a secret could stand; see `mask.rs`.

use std::collections::BTreeSet;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, renderer::DecorStyle};

use super::mask::mask_secrets;

/// One thing wrong, or doubtful, in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub severity: Severity,
    /// As given to `parse`.
    pub file: String,
    /// Bytes of the file.
    pub span: Range<usize>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Characters under the caret, on this line.
    pub width: usize,
    pub message: String,
    pub suggestion: Option<String>,
    /// The source line with secrets masked; empty if there is none worth showing.
    pub excerpt: String,
}

/// Whether a file with it can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Fault,
    /// It can, and somebody should know.
    Warning,
}

/// More than anybody mends in one sitting; a file that is no TOML at all must not fill the terminal.
pub const FAULTS_MAX: usize = 200;
/// A longer line is no line that a person wrote.
const EXCERPT_BYTES_MAX: usize = 400;

/// Shows faults one after the other, without colour.
pub fn render(faults: &[Fault]) -> String {
    let renderer = Renderer::plain().decor_style(DecorStyle::Ascii).term_width(160);
    faults.iter().map(|fault| render_one(&renderer, fault) + "\n\n").collect()
}

fn render_one(renderer: &Renderer, fault: &Fault) -> String {
    let level = match fault.severity {
        Severity::Fault => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(fault.message.as_str());
    let group = if fault.excerpt.is_empty() {
        title.element(Level::NOTE.message(format!("in {}:{}:{}", fault.file, fault.line, fault.column)))
    } else {
        let start = byte_of_column(&fault.excerpt, fault.column);
        let end = byte_of_column(&fault.excerpt, fault.column + fault.width);
        let snippet = Snippet::source(fault.excerpt.as_str()).line_start(fault.line).path(fault.file.as_str());
        title.element(snippet.annotation(AnnotationKind::Primary.span(start..end)))
    };
    let group = match &fault.suggestion {
        Some(suggestion) => group.element(Level::HELP.message(suggestion.as_str())),
        None => group,
    };
    renderer.render(&[group])
}

fn byte_of_column(line: &str, column: usize) -> usize {
    line.char_indices().nth(column - 1).map_or(line.len(), |(byte, _)| byte)
}

/// Gathers what is found in one text.
pub(super) struct Faults<'t> {
    file: &'t str,
    text: &'t str,
    masked: String,
    /// Byte at which each line begins.
    lines: Vec<usize>,
    found: Vec<Fault>,
    /// Lines of which nothing more is said.
    settled: BTreeSet<usize>,
}

impl<'t> Faults<'t> {
    pub fn new(file: &'t str, text: &'t str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file, text, masked: mask_secrets(text), lines, found: Vec::new(), settled: BTreeSet::new() }
    }
    /// The file cannot be used.
    pub fn fault(&mut self, span: &Range<usize>, message: impl Into<String>, suggestion: Option<String>) {
        self.add(Severity::Fault, span, message.into(), suggestion);
    }
    /// The file can be used, and somebody should know.
    pub fn warn(&mut self, span: &Range<usize>, message: impl Into<String>, suggestion: Option<String>) {
        self.add(Severity::Warning, span, message.into(), suggestion);
    }
    /// Nothing more is taken: whoever would search for a suggestion need not.
    pub fn is_full(&self) -> bool {
        self.found.len() >= FAULTS_MAX
    }
    /// Lines that have a fault now are left alone from here on: what follows from broken syntax is not said twice.
    pub fn only_new_lines(&mut self) {
        self.settled = self.found.iter().map(|fault| fault.line).collect();
    }
    /// One fault about a whole file.
    pub fn alone(file: &str, message: String) -> Vec<Fault> {
        let mut faults = Faults::new(file, "");
        faults.fault(&(0..0), message, None);
        faults.found
    }
    /// From 1, for "first in line N".
    pub fn line_number(&self, span: &Range<usize>) -> usize {
        self.line_of(span.start) + 1
    }
    /// All, in the file's order; `Err` if one of them is no mere warning.
    pub fn finish(mut self) -> Result<Vec<Fault>, Vec<Fault>> {
        self.found.sort_by_key(|fault| (fault.span.start, fault.severity));
        if self.found.iter().any(|fault| fault.severity == Severity::Fault) { Err(self.found) } else { Ok(self.found) }
    }

    fn add(&mut self, severity: Severity, span: &Range<usize>, message: String, suggestion: Option<String>) {
        // A fault always finds room: a file is never accepted because it had too many warnings.
        if self.is_full() && severity == Severity::Warning {
            return;
        }
        if self.found.len() > FAULTS_MAX {
            return;
        }
        let (message, suggestion) = match self.found.len() {
            FAULTS_MAX => (format!("there are more than {FAULTS_MAX} faults"), Some("mend these first".into())),
            _ => (message, suggestion),
        };
        let start = span.start.min(self.text.len());
        let line = self.line_of(start);
        if self.settled.contains(&(line + 1)) {
            return;
        }
        let from = self.lines[line];
        let until = self.lines.get(line + 1).map_or(self.text.len(), |next| next - 1).max(from);
        let shown = self.masked.split('\n').nth(line).unwrap_or("").trim_end_matches('\r');
        let end = span.end.clamp(start, until.max(start));
        self.found.push(Fault {
            severity,
            file: self.file.into(),
            span: span.clone(),
            line: line + 1,
            column: self.text.get(from..start).unwrap_or("").chars().count() + 1,
            width: self.text.get(start..end).unwrap_or("").chars().count().max(1),
            message,
            suggestion,
            excerpt: if shown.len() > EXCERPT_BYTES_MAX { String::new() } else { shown.into() },
        });
    }

    fn line_of(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at).saturating_sub(1)
    }
}
