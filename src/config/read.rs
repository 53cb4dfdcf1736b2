//! The file as written: walks parsed TOML along the key table and keeps every value with its place.
//!
//! It knows shapes and ranges, not meanings, and never stops at the first fault. A value that does not fit is left
//! out and remembered as bad, so that nothing complains about its absence.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use serde::de::DeserializeOwned;
use serde::de::value::{Error as WordError, StrDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::explain::paths;
use super::fault::Faults;
use super::key::{Form, Key, Plain, Preset, Section};
use super::keys::SECTIONS;
use super::near::nearest;
use super::value::{quoted, read_value};
use crate::domain::port::Network;
use crate::domain::time::WallTime;

/// Bytes of a file.
pub(super) type Span = Range<usize>;

/// All sections of a file.
#[derive(Debug, Default)]
pub(super) struct Document {
    entries: BTreeMap<&'static str, Vec<Entry>>,
}

/// One table of a section, as written.
#[derive(Debug)]
pub(super) struct Entry {
    pub section: &'static Section,
    /// Its header, or all of an inline table on its first line.
    pub header: Span,
    items: BTreeMap<&'static str, Item>,
    /// Written, but not usable; somebody has been told.
    bad: BTreeMap<&'static str, Span>,
}

/// A value in its place.
#[derive(Debug)]
pub(super) struct Item {
    pub value: Value,
    pub span: Span,
}

/// A value whose shape is right.
#[derive(Debug)]
pub(super) enum Value {
    /// Whole numbers, and decibels in hundredths.
    Integer(i64),
    Switch(bool),
    Text(String),
    Address(SocketAddr),
    Ip(IpAddr),
    Network(Network),
    Ports(u16, u16),
    Moment(WallTime),
    Digest([u8; 32]),
    List(Vec<Item>),
    Table(Entry),
}

impl Document {
    /// Reads a whole file.
    pub fn read(root: &DeTable<'_>, faults: &mut Faults<'_>) -> Self {
        let mut document = Self::default();
        for (name, value) in root.iter() {
            match (name.get_ref().as_ref(), value.get_ref()) {
                ("gateway", DeValue::Table(kinds)) => {
                    for (kind, value) in kinds.iter() {
                        document.read_section(&format!("gateway.{}", kind.get_ref()), kind, value, faults);
                    }
                }
                (name_text, _) => document.read_section(name_text, name, value, faults),
            }
        }
        for section in SECTIONS.iter().filter(|section| section.form == Form::One) {
            let entries = document.entries.entry(section.name).or_default();
            if entries.is_empty() {
                entries.push(Entry::absent(section));
            }
        }
        document
    }

    /// Entries of a section, in the file's order.
    pub fn all(&self, section: &Section) -> &[Entry] {
        self.entries.get(section.name).map_or(&[], Vec::as_slice)
    }
    /// The entry of a section that stands at most once.
    pub fn one(&self, section: &Section) -> &Entry {
        self.all(section).first().expect("a section of that form is added where it is not written")
    }
    /// Every entry of every section.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        SECTIONS.iter().flat_map(|section| self.all(section))
    }

    fn read_section(
        &mut self,
        name: &str,
        key: &Spanned<Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        faults: &mut Faults<'_>,
    ) {
        let Some(section) = SECTIONS.iter().find(|section| section.name == name).copied() else {
            let meant = SECTIONS.iter().find(|section| {
                let group = section.name.split('.').next();
                nearest(name, [section.name]).is_some() || nearest(name, group).is_some()
            });
            let suggestion = meant.map_or_else(all_headers, |section| format!("did you mean {}?", section.header()));
            return faults.fault(&key.span(), format!("there is no section {}", quoted(name)), Some(suggestion));
        };
        let wrong_form = |faults: &mut Faults<'_>, span: &Span| {
            let often = if section.form == Form::One { "stands at most once" } else { "can stand several times" };
            faults.fault(span, format!("`{name}` {often}"), Some(format!("write {}", section.header())));
        };
        let entries = self.entries.entry(section.name).or_default();
        let mut add = |value: &Spanned<DeValue<'_>>, faults: &mut Faults<'_>| match value.get_ref().as_table() {
            Some(table) => entries.push(Entry::read(section, table, value.span(), faults)),
            None => wrong_form(faults, &value.span()),
        };
        match (section.form, value.get_ref()) {
            (Form::Many(most), DeValue::Array(array)) => {
                array.iter().take(most).for_each(|value| add(value, faults));
                if let Some(value) = array.get(most) {
                    let message = format!("more than {most} entries of {}", section.header());
                    faults.fault(&value.span(), message, Some("spread them over several daemons".into()));
                }
            }
            (Form::Many(_), DeValue::Table(_)) => {
                wrong_form(faults, &key.span());
                add(value, faults);
            }
            (Form::One, DeValue::Table(_)) => add(value, faults),
            (Form::Many(_) | Form::One | Form::Inline, _) => wrong_form(faults, &key.span()),
        }
    }
}

fn all_headers() -> String {
    let headers: Vec<String> = SECTIONS.iter().map(|section| section.header()).collect();
    format!("known are {}", headers.join(", "))
}

impl Entry {
    /// Reads one table along its section's keys.
    pub fn read(section: &'static Section, table: &DeTable<'_>, header: Span, faults: &mut Faults<'_>) -> Self {
        let mut entry = Self { header, ..Self::absent(section) };
        for (name, value) in table.iter() {
            let Some(key) = section.key(name.get_ref()) else {
                if !faults.is_full() {
                    unknown_key(section, name, faults);
                }
                continue;
            };
            match read_value(key, &key.shape, value, faults) {
                Some(item) => drop(entry.items.insert(key.name, item)),
                None => drop(entry.bad.insert(key.name, value.span())),
            }
        }
        for key in section.keys {
            if matches!(key.preset, Preset::Required(_)) && !entry.is_written(key.name) {
                let message = format!("{} needs `{}`", section.header(), key.name);
                faults.fault(&entry.header, message, Some(format!("add: {} = {}", key.name, key.example())));
            }
        }
        entry
    }

    /// A table of which nothing is written.
    pub fn absent(section: &'static Section) -> Self {
        Self { section, header: 0..0, items: BTreeMap::new(), bad: BTreeMap::new() }
    }
    /// A table of which only one value is written.
    pub fn short(section: &'static Section, key: &'static str, item: Item) -> Self {
        Self { header: item.span.clone(), items: BTreeMap::from([(key, item)]), ..Self::absent(section) }
    }

    /// Whether the key stands there, well or badly.
    pub fn is_written(&self, key: &str) -> bool {
        self.items.contains_key(key) || self.bad.contains_key(key)
    }
    /// What is written, if it is usable.
    pub fn item(&self, key: &str) -> Option<&Item> {
        debug_assert!(self.section.key(key).is_some(), "{} has no key {key}", self.section.name);
        self.items.get(key)
    }
    /// Every usable value.
    pub fn items(&self) -> impl Iterator<Item = (&'static Key, &Item)> {
        self.section.keys.iter().filter_map(|key| Some((key, self.items.get(key.name)?)))
    }
    /// Where the key stands, or the header.
    pub fn place(&self, key: &str) -> Span {
        let written = self.item(key).map(|item| &item.span).or(self.bad.get(key));
        written.unwrap_or(&self.header).clone()
    }

    /// The number that holds: written, or the default.
    pub fn integer<T: TryFrom<i64>>(&self, key: &'static str) -> Option<T> {
        let number = match (self.item(key).map(|item| &item.value), self.preset(key)) {
            (Some(Value::Integer(number)), _) => *number,
            (_, Some(Plain::Integer(number))) => number,
            _ => return None,
        };
        Some(T::try_from(number).ok().expect("the key table's range fits the value's type"))
    }
    /// The switch that holds.
    pub fn switch(&self, key: &'static str) -> bool {
        match (self.item(key).map(|item| &item.value), self.preset(key)) {
            (Some(Value::Switch(on)), _) => *on,
            (_, Some(Plain::Switch(on))) => on,
            _ => false,
        }
    }
    /// The text that holds.
    pub fn text(&self, key: &'static str) -> Option<&str> {
        match (self.item(key).map(|item| &item.value), self.preset(key)) {
            (Some(Value::Text(text)), _) => Some(text),
            (_, Some(Plain::Text(text))) => Some(text),
            _ => None,
        }
    }
    /// The word that holds, as the domain's value.
    pub fn word<T: DeserializeOwned>(&self, key: &'static str) -> Option<T> {
        word(self.text(key)?)
    }
    /// The id that holds, as the domain's value.
    pub fn id<T: std::str::FromStr>(&self, key: &'static str) -> Option<T> {
        self.text(key)?.parse().ok()
    }
    /// The texts of a list that hold, with their places.
    pub fn texts(&self, key: &'static str) -> Vec<(&str, Span)> {
        match (self.item(key), self.preset(key)) {
            (Some(Item { value: Value::List(items), span: _ }), _) => items.iter().filter_map(Item::text).collect(),
            (_, Some(Plain::Texts(texts))) => texts.iter().map(|text| (*text, self.header.clone())).collect(),
            _ => Vec::new(),
        }
    }
    /// The tables of a list that are written.
    pub fn tables(&self, key: &'static str) -> Option<impl Iterator<Item = &Entry>> {
        let Value::List(items) = &self.item(key)?.value else { return None };
        Some(items.iter().filter_map(|item| item.value.table()))
    }
    /// The inline table, if it is written.
    pub fn table(&self, key: &'static str) -> Option<&Entry> {
        self.item(key)?.value.table()
    }

    /// The default that holds for this entry: some depend on the role.
    fn preset(&self, key: &'static str) -> Option<Plain> {
        match &self.section.key(key)?.preset {
            Preset::Is(plain) => Some(*plain),
            Preset::ByRole { radio, phone, other } => Some(match self.text("role") {
                Some("radio") => *radio,
                Some("phone") => *phone,
                _ => *other,
            }),
            Preset::Required(_) | Preset::Absent(_, _) | Preset::Instead(_, _) => None,
        }
    }
}

impl Value {
    fn table(&self) -> Option<&Entry> {
        if let Value::Table(entry) = self { Some(entry) } else { None }
    }
}

impl Item {
    fn text(&self) -> Option<(&str, Span)> {
        if let Value::Text(text) = &self.value { Some((text, self.span.clone())) } else { None }
    }
}

/// A word of the file as the domain's value: both are spelled the same.
pub(super) fn word<T: DeserializeOwned>(text: &str) -> Option<T> {
    T::deserialize(StrDeserializer::<WordError>::new(text)).ok()
}

fn unknown_key(section: &'static Section, name: &Spanned<Cow<'_, str>>, faults: &mut Faults<'_>) {
    let text = name.get_ref().as_ref();
    let suggestion = if let Some(near) = nearest(text, section.keys.iter().map(|key| key.name)) {
        format!("did you mean `{near}`?")
    } else if let Some((path, _)) = paths().iter().find(|(_, key)| key.name == text) {
        format!("that is a key elsewhere: {path}")
    } else {
        let known: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
        format!("known are {}", known.join(", "))
    };
    let whose = section.header();
    faults.fault(&name.span(), format!("{whose} has no key {}", quoted(text)), Some(suggestion));
}
