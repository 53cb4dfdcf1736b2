//! Ids: each names one thing, and every reference names a thing that exists.

use std::collections::BTreeMap;

use super::fault::Faults;
use super::key::{Key, Kind, Shape, article};
use super::near::nearest;
use super::read::{Document, Entry, Item, Span, Value};

/// Where each id of a kind was first written.
type Places<'d> = BTreeMap<Kind, BTreeMap<&'d str, Span>>;

/// Faults for ids that are taken and references that dangle.
pub(super) fn check_references(document: &Document, faults: &mut Faults<'_>) {
    let mut places: Places<'_> = BTreeMap::new();
    for entry in document.entries() {
        for (key, item) in entry.items() {
            if let (Shape::Id(kind), Value::Text(id)) = (&key.shape, &item.value) {
                let known = places.entry(*kind).or_default();
                if let Some(first) = known.get(id.as_str()) {
                    let message =
                        format!("{} {id} is already defined in line {}", kind.name(), faults.line_number(first));
                    let suggestion =
                        free_id(id, known).map(|free| format!("name one of them differently, such as {free:?}"));
                    faults.fault(&item.span, message, suggestion);
                } else {
                    known.insert(id, item.span.clone());
                }
            }
        }
    }
    for entry in document.entries() {
        check_entry(entry, &places, faults);
    }
}

fn free_id(id: &str, known: &BTreeMap<&str, Span>) -> Option<String> {
    (2..100).map(|number| format!("{id}-{number}")).find(|free| !known.contains_key(free.as_str()))
}

fn check_entry(entry: &Entry, places: &Places<'_>, faults: &mut Faults<'_>) {
    for (Key { name: _, shape, preset: _, doc: _ }, item) in entry.items() {
        check_item(shape, item, places, faults);
    }
}

fn check_item(shape: &Shape, item: &Item, places: &Places<'_>, faults: &mut Faults<'_>) {
    match (&item.value, shape) {
        (Value::Text(id), Shape::Ref(kind)) => check_id(*kind, id, &item.span, places, faults),
        (Value::List(items), Shape::List(of, _, _)) => {
            items.iter().for_each(|item| check_item(of, item, places, faults));
        }
        (Value::Table(entry), _) => check_entry(entry, places, faults),
        _ => {}
    }
}

fn check_id(kind: Kind, id: &str, span: &Span, places: &Places<'_>, faults: &mut Faults<'_>) {
    let known = places.get(&kind);
    if known.is_some_and(|known| known.contains_key(id)) || faults.is_full() {
        return;
    }
    let near = known.and_then(|known| nearest(id, known.keys().copied()));
    let suggestion = match (near, known) {
        (Some(near), _) => format!("did you mean {near:?}?"),
        (None, Some(known)) if known.len() <= 8 => {
            format!("known are {}", known.keys().copied().collect::<Vec<_>>().join(", "))
        }
        (None, _) => format!("add {} {} with that id", article(kind.name()), kind.name()),
    };
    faults.fault(span, format!("there is no {} {id}", kind.name()), Some(suggestion));
}
