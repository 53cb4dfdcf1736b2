//! The key table for people: one key at a time, or the whole reference file.

use std::fmt::Write;

use super::key::{Form, Key, Preset, Section, Shape};
use super::keys::SECTIONS;
use super::near::nearest;

/// Width of a comment line in the reference.
const WIDTH: usize = 100;

/// What a key means: `explain("gateway.rtp.hold_max_ms")`, or its last word alone, then for each section that has
/// it. A section's name gives its keys. `Err` is the nearest name, if there is one.
pub fn explain(asked: &str) -> Result<String, Option<String>> {
    let all = paths();
    let mut text = String::new();
    if let Some(section) = SECTIONS.iter().find(|section| section.name == asked) {
        let _ = writeln!(text, "{}\n    {}", section.header(), section.doc);
        let names: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
        let _ = writeln!(text, "    Keys: {}.", names.join(", "));
    }
    for (path, key) in all.iter().filter(|(path, key)| path == asked || key.name == asked) {
        let _ = writeln!(text, "{path} = {}\n    {}", key.shape.expected(), key.doc);
        let unit = key.unit().map(|unit| format!(" Unit: {unit}.")).unwrap_or_default();
        let _ = writeln!(text, "    {}{unit}", key.default_in_words());
    }
    if !text.is_empty() {
        return Ok(text);
    }
    let names = all.iter().map(|(path, _)| path.as_str()).chain(all.iter().map(|(_, key)| key.name));
    let near = nearest(asked, names.chain(SECTIONS.iter().map(|section| section.name))).map(str::to_owned);
    // `gateway` means `gateway.rtp`: the kind was left out.
    let begins = |name: &&str| name.strip_prefix(asked).is_some_and(|rest| rest.starts_with('.'));
    Err(near.or_else(|| sections().find(begins).map(str::to_owned)))
}

/// The names of all sections.
pub fn sections() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|section| section.name)
}

/// Every key with its path, inner tables' after their own.
pub(super) fn paths() -> Vec<(String, &'static Key)> {
    fn walk(prefix: &str, section: &'static Section, all: &mut Vec<(String, &'static Key)>) {
        for key in section.keys {
            let path = format!("{prefix}.{}", key.name);
            all.push((path.clone(), key));
            if let Some(inner) = inner(&key.shape) {
                walk(&path, inner, all);
            }
        }
    }
    let mut all = Vec::new();
    SECTIONS.iter().for_each(|section| walk(section.name, section, &mut all));
    all
}

/// The table inside a shape.
pub(super) fn inner(shape: &Shape) -> Option<&'static Section> {
    match shape {
        Shape::Table(section) | Shape::Short(section) => Some(section),
        Shape::List(of, _, _) => inner(of),
        Shape::Text(_) | Shape::Id(_) | Shape::Ref(_) | Shape::Name | Shape::Integer(_, _) | Shape::Decibels(_, _) => {
            None
        }
        Shape::Switch | Shape::Word(_) | Shape::Address | Shape::Ip | Shape::Network | Shape::Ports => None,
        Shape::Moment | Shape::Digest => None,
    }
}

const HEAD: &str = "\
# Crosspatch: every key with its default, its unit and its reason.
#
# Lines that begin with \"# \" are prose. Lines that begin with \"#\" and a letter or bracket are settings: take the #
# away to use them. A setting that has a default shows it; the others show an example. \"or:\" shows a key that stands
# instead of another. Durations are whole numbers, their unit is the last word of the key: _ms, _s.
# TOML 1.0. `crosspatch check FILE` tells all faults of a file at once.
#
# This file is made from the same table that reads yours.
";

/// The reference file `config/crosspatch.toml`.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    for section in SECTIONS {
        let _ = writeln!(text, "\n");
        prose(&mut text, "", section.doc);
        let mark = if section.form == Form::One { "" } else { "#" };
        let _ = writeln!(text, "{mark}{}", section.header());
        for key in section.keys {
            write_key(&mut text, key);
        }
        if !section.more.is_empty() {
            let _ = write!(text, "\n{}", section.more);
        }
    }
    text
}

fn write_key(text: &mut String, key: &'static Key) {
    text.push('\n');
    prose(text, "", key.doc);
    let unit = key.unit().map(|unit| format!(" In {unit}.")).unwrap_or_default();
    let range = if let Shape::Integer(least, most) | Shape::Decibels(least, most) = &key.shape {
        format!(" From {least} to {most}.")
    } else if let Shape::Word(words) = &key.shape {
        format!(" One of {}.", words.join(", "))
    } else {
        String::new()
    };
    prose(text, "", &format!("{}{unit}{range}", key.default_in_words()));
    if let Some(inner) = inner(&key.shape) {
        write_inner(text, inner, "  ");
    }
    let line = format!("{} = {}", key.name, key.example());
    let _ = match key.preset {
        Preset::Instead(_, _) => writeln!(text, "# or: {line}"),
        Preset::Required(_) | Preset::Is(_) | Preset::ByRole { .. } | Preset::Absent(_, _) => writeln!(text, "#{line}"),
    };
}

/// The keys of an inline table, as prose.
fn write_inner(text: &mut String, section: &'static Section, indent: &str) {
    for key in section.keys {
        prose(text, indent, &format!("{} = {}  {} {}", key.name, key.example(), key.doc, key.default_in_words()));
        if let Some(inner) = inner(&key.shape) {
            write_inner(text, inner, &format!("{indent}  "));
        }
    }
}

fn prose(text: &mut String, indent: &str, sentence: &str) {
    let mut line = String::new();
    for word in sentence.split(' ') {
        if !line.is_empty() && line.len() + word.len() + indent.len() > WIDTH {
            let _ = writeln!(text, "# {indent}{line}");
            line = if indent.is_empty() { String::new() } else { "    ".into() };
        }
        if !line.trim().is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(text, "# {indent}{line}");
}
