//! The key table as JSON schema (draft 2020-12), for editors. It knows structure; references and clashes are for
//! `parse` alone.

use serde_json::{Map, Value, json};

use super::explain::inner;
use super::key::{Form, Key, Plain, Preset, Section, Shape};
use super::keys::SECTIONS;

/// The schema of a whole file.
pub fn schema() -> Value {
    let mut root = Map::new();
    let mut gateways = Map::new();
    for section in SECTIONS {
        let table = of_section(section);
        let value = match section.form {
            Form::Many(most) => json!({ "type": "array", "items": table, "maxItems": most }),
            Form::One | Form::Inline => table,
        };
        match section.name.strip_prefix("gateway.") {
            Some(kind) => gateways.insert(kind.into(), value),
            None => root.insert(section.name.into(), value),
        };
    }
    root.insert("gateway".into(), json!({ "type": "object", "properties": gateways, "additionalProperties": false }));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Crosspatch configuration",
        "type": "object",
        "properties": root,
        "additionalProperties": false,
    })
}

fn of_section(section: &'static Section) -> Value {
    let properties: Map<String, Value> = section.keys.iter().map(|key| (key.name.into(), of_key(key))).collect();
    let required: Vec<&str> =
        section.keys.iter().filter(|key| matches!(key.preset, Preset::Required(_))).map(|key| key.name).collect();
    json!({
        "type": "object",
        "description": section.doc,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn of_key(key: &'static Key) -> Value {
    let mut schema = of_shape(&key.shape);
    schema["description"] = format!("{} {}", key.doc, key.default_in_words()).into();
    if let Preset::Is(plain) = &key.preset {
        match plain {
            Plain::Integer(number) => schema["default"] = (*number).into(),
            Plain::Switch(on) => schema["default"] = (*on).into(),
            Plain::Text(text) => schema["default"] = (*text).into(),
            Plain::Texts(texts) => schema["default"] = (*texts).into(),
            Plain::Empty => {}
        }
    }
    schema
}

fn of_shape(shape: &'static Shape) -> Value {
    match shape {
        Shape::Text(most) => json!({ "type": "string", "minLength": 1, "maxLength": most }),
        Shape::Id(_) | Shape::Ref(_) | Shape::Name => {
            json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9._-]{0,30}[a-z0-9])?$" })
        }
        Shape::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Decibels(least, most) => json!({ "type": "number", "minimum": least, "maximum": most }),
        Shape::Switch => json!({ "type": "boolean" }),
        Shape::Word(words) => json!({ "type": "string", "enum": words }),
        Shape::List(of, least, most) => {
            json!({ "type": "array", "items": of_shape(of), "minItems": least, "maxItems": most })
        }
        Shape::Table(section) => of_section(section),
        Shape::Short(section) => {
            let short = inner(shape).and_then(|section| section.keys.first()).map(|first| of_shape(&first.shape));
            json!({ "anyOf": [short, of_section(section)] })
        }
        Shape::Address | Shape::Ip | Shape::Network => json!({ "type": "string" }),
        Shape::Ports => json!({ "type": "string", "pattern": "^[0-9]+ *- *[0-9]+$" }),
        Shape::Moment => json!({ "type": "string", "format": "date-time" }),
        Shape::Digest => json!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" }),
    }
}
