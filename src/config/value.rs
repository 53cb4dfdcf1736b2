//! One value as written: does it have the shape its key asks for, and if not, what was probably meant.

use std::net::{IpAddr, SocketAddr};

use toml::Spanned;
use toml::de::{DeInteger, DeValue};
use toml::value::{Datetime, Offset};

use super::fault::Faults;
use super::key::{Key, Preset, Section, Shape};
use super::near::nearest;
use super::read::{Entry, Item, Span, Value};
use crate::domain::id::TalkgroupId;
use crate::domain::port::Network;
use crate::domain::time::WallTime;

/// Enough of a wrong value to recognise it.
const QUOTED_CHARACTERS_MAX: usize = 40;

/// What somebody wrote, shortened and with control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(QUOTED_CHARACTERS_MAX).collect();
    if short.len() < text.len() { format!("{short:?}...") } else { format!("{short:?}") }
}

/// The value of a key, or a fault and nothing. Inside a list the shape is an entry's.
pub(super) fn read_value(
    key: &'static Key,
    shape: &'static Shape,
    value: &Spanned<DeValue<'_>>,
    faults: &mut Faults<'_>,
) -> Option<Item> {
    let (name, span) = (key.name, value.span());
    let read = match (shape, value.get_ref()) {
        (Shape::List(of, least, most), DeValue::Array(array)) => {
            return read_list(key, (of, *least, *most), array, span, faults);
        }
        (Shape::Table(section), DeValue::Table(table)) => {
            Ok(Value::Table(Entry::read(section, table, span.clone(), faults)))
        }
        (Shape::Short(section), DeValue::Table(table)) => {
            Ok(Value::Table(Entry::read(section, table, span.clone(), faults)))
        }
        (Shape::Short(section), DeValue::String(_)) => return read_short(section, value, faults),
        (Shape::Integer(least, most), DeValue::Integer(number)) => {
            read_integer(name, number, *least, *most).map(Value::Integer)
        }
        (Shape::Decibels(least, most), DeValue::Integer(number)) => {
            read_integer(name, number, *least, *most).map(|db| Value::Integer(db * 100))
        }
        (Shape::Decibels(least, most), DeValue::Float(number)) => read_decibels(name, number.as_str(), *least, *most),
        (Shape::Switch, DeValue::Boolean(on)) => Ok(Value::Switch(*on)),
        (Shape::Moment, DeValue::Datetime(moment)) => read_moment(name, moment),
        (Shape::Integer(_, _) | Shape::Decibels(_, _), DeValue::String(text)) => {
            Err(wrong_type(name, shape, value, number_meant(name, text)))
        }
        (Shape::Text(most), DeValue::String(text)) if text.trim().is_empty() => {
            let or = if matches!(key.preset, Preset::Required(_)) { "" } else { ", or leave the key out" };
            Err(wrong(format!("`{name}` is empty"), format!("write up to {most} characters{or}")))
        }
        (_, DeValue::String(text)) => read_text(name, shape, text),
        _ => Err(wrong_type(name, shape, value, meant(shape, value.get_ref()))),
    };
    match read {
        Ok(value) => Some(Item { value, span }),
        Err(Wrong { message, suggestion }) => {
            let example = || format!("such as: {name} = {}", key.example());
            faults.fault(&span, message, Some(suggestion.unwrap_or_else(example)));
            None
        }
    }
}

/// Why a value does not fit.
struct Wrong {
    message: String,
    suggestion: Option<String>,
}

fn wrong(message: String, suggestion: impl Into<Option<String>>) -> Wrong {
    Wrong { message, suggestion: suggestion.into() }
}

fn wrong_type(name: &str, shape: &Shape, value: &Spanned<DeValue<'_>>, suggestion: Option<String>) -> Wrong {
    let found = match value.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with decimals",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    wrong(format!("`{name}` wants {}, this is {found}", shape.expected()), suggestion)
}

/// What was meant by a value of the wrong type, where that is plain. Never repeats a text: it may be a secret.
fn meant(shape: &Shape, value: &DeValue<'_>) -> Option<String> {
    match (shape, value) {
        (Shape::List(_, _, _), DeValue::String(_)) => Some("put it in brackets: [\"...\"]".into()),
        (Shape::Text(_) | Shape::Name | Shape::Id(_) | Shape::Ref(_), DeValue::Integer(number)) => Some(format!(
            "put it in quotes: \"{}\"",
            number.as_str().chars().take(QUOTED_CHARACTERS_MAX).collect::<String>()
        )),
        _ => None,
    }
}

fn read_list(
    key: &'static Key,
    (of, least, most): (&'static Shape, usize, usize),
    array: &[Spanned<DeValue<'_>>],
    span: Span,
    faults: &mut Faults<'_>,
) -> Option<Item> {
    if array.len() < least || array.len() > most {
        let count = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let message = format!("`{}` wants {count} entries, this list has {}", key.name, array.len());
        faults.fault(&span, message, Some(format!("such as: {} = {}", key.name, key.example())));
        return None;
    }
    let items: Vec<Item> = array.iter().filter_map(|value| read_value(key, of, value, faults)).collect();
    (items.len() == array.len()).then_some(Item { value: Value::List(items), span })
}

/// Only the value of a table's first key.
fn read_short(section: &'static Section, value: &Spanned<DeValue<'_>>, faults: &mut Faults<'_>) -> Option<Item> {
    let first = section.keys.first()?;
    let item = read_value(first, &first.shape, value, faults)?;
    Some(Item { span: item.span.clone(), value: Value::Table(Entry::short(section, first.name, item)) })
}

fn read_integer(name: &str, number: &DeInteger<'_>, least: i64, most: i64) -> Result<i64, Wrong> {
    let overflow = if number.as_str().starts_with('-') { i64::MIN } else { i64::MAX };
    let number = i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(overflow);
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    let nearest = number.clamp(least, most);
    Err(wrong(format!("`{name}` must be from {least} to {most}"), format!("the nearest that fits is {nearest}")))
}

fn read_decibels(name: &str, number: &str, least: i64, most: i64) -> Result<Value, Wrong> {
    let hundredths = number.parse::<f64>().ok().filter(|db| db.is_finite()).map(|db| (db * 100.0).round() as i64);
    match hundredths {
        Some(hundredths) if (least * 100..=most * 100).contains(&hundredths) => Ok(Value::Integer(hundredths)),
        hundredths => {
            let nearest = hundredths.unwrap_or(0).clamp(least * 100, most * 100) / 100;
            let suggestion = format!("the nearest that fits is {nearest}");
            Err(wrong(format!("`{name}` must be from {least} to {most}"), suggestion))
        }
    }
}

/// "4h" for a key that counts seconds: the unit stands in the key, so the number to write is said.
fn number_meant(name: &str, text: &str) -> Option<String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let ms_per = match text[digits..].trim() {
        "" => return Some(format!("write {number} without quotes")),
        "ms" => 1,
        "s" | "sec" | "seconds" => 1000,
        "m" | "min" | "minutes" => 60_000,
        "h" | "hours" => 3_600_000,
        "d" | "days" => 86_400_000,
        _ => return None,
    };
    let ms = number.checked_mul(ms_per)?;
    match name.rsplit_once('_')?.1 {
        "ms" => Some(format!("write {ms}: `{name}` counts milliseconds")),
        "s" => Some(format!("write {}: `{name}` counts seconds", ms.div_ceil(1000))),
        _ => None,
    }
}

fn read_text(name: &str, shape: &Shape, text: &str) -> Result<Value, Wrong> {
    match shape {
        Shape::Text(most) if text.chars().count() > *most => {
            Err(wrong(format!("`{name}` has {} characters", text.chars().count()), format!("at most {most} fit")))
        }
        Shape::Text(_) if text.chars().any(char::is_control) => {
            Err(wrong(format!("`{name}` holds a control character"), "leave line breaks and the like out".to_owned()))
        }
        Shape::Text(_) => Ok(Value::Text(text.into())),
        // All text ids are spelled alike.
        Shape::Id(_) | Shape::Ref(_) | Shape::Name => match TalkgroupId::new(text) {
            Ok(_) => Ok(Value::Text(text.into())),
            Err(bad) => Err(wrong(format!("`{name}`: {bad}"), spelled_as_id(text).map(|id| format!("write {id:?}")))),
        },
        Shape::Word(words) if words.contains(&text) => Ok(Value::Text(text.into())),
        Shape::Word(words) => {
            let near = nearest(&text.to_lowercase(), words.iter().copied());
            let suggestion = near.map_or_else(|| shape.expected(), |word| format!("did you mean {word:?}?"));
            Err(wrong(format!("`{name}` cannot be {}", quoted(text)), suggestion))
        }
        Shape::Address => text.parse().map(Value::Address).map_err(|_| bad_address(name, text)),
        Shape::Ip => text.parse().map(Value::Ip).map_err(|_| bad_address(name, text)),
        Shape::Network => {
            text.parse::<Network>().map(Value::Network).map_err(|why| wrong(format!("`{name}`: {why}"), None))
        }
        Shape::Ports => read_ports(name, text),
        Shape::Digest => read_digest(text).map(Value::Digest).ok_or_else(|| {
            let message = format!("`{name}` is no SHA-256: it has 64 hexadecimal digits");
            wrong(message, "make one: printf %s \"$TOKEN\" | sha256sum".to_owned())
        }),
        Shape::Moment => Err(wrong(
            format!("`{name}` wants {}, this is a text", shape.expected()),
            "leave the quotes out".to_owned(),
        )),
        Shape::Switch => {
            Err(wrong(format!("`{name}` wants true or false, this is a text"), "leave the quotes out".to_owned()))
        }
        Shape::List(_, _, _) => Err(wrong(
            format!("`{name}` wants {}, this is a text", shape.expected()),
            "put it in brackets: [\"...\"]".to_owned(),
        )),
        Shape::Integer(_, _) | Shape::Decibels(_, _) | Shape::Table(_) | Shape::Short(_) => {
            Err(wrong(format!("`{name}` wants {}, this is a text", shape.expected()), None))
        }
    }
}

/// The id that a text would be if it were spelled as one.
fn spelled_as_id(text: &str) -> Option<String> {
    let dashed: String =
        text.to_lowercase().chars().map(|c| if c.is_whitespace() || c == '/' { '-' } else { c }).collect();
    TalkgroupId::new(dashed.trim_matches('-')).ok().map(|id| id.to_string())
}

fn bad_address(name: &str, text: &str) -> Wrong {
    let suggestion = if let Ok(address) = text.parse::<SocketAddr>() {
        Some(format!("leave the port out: \"{}\"", address.ip()))
    } else if let Ok(ip) = text.parse::<IpAddr>() {
        Some(format!("add a port: \"{}\"", SocketAddr::new(ip, 5004)))
    } else if text.starts_with("localhost") {
        Some(format!("write \"{}\"", text.replacen("localhost", "127.0.0.1", 1)))
    } else {
        Some("write an IP address: names are not looked up, so that a dead name server silences nobody".into())
    };
    wrong(format!("`{name}` cannot be {}", quoted(text)), suggestion)
}

fn read_ports(name: &str, text: &str) -> Result<Value, Wrong> {
    let ports =
        text.split_once('-').and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
    match ports {
        Some((first, last)) if first >= 1024 && first % 2 == 0 && first < last => Ok(Value::Ports(first, last)),
        _ => Err(wrong(
            format!("`{name}` cannot be {}", quoted(text)),
            "write an even port from 1024 and a higher one: \"40000-40999\"".to_owned(),
        )),
    }
}

fn read_digest(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(digest)
}

fn read_moment(name: &str, moment: &Datetime) -> Result<Value, Wrong> {
    let (Some(date), Some(time), Some(offset)) = (moment.date, moment.time, moment.offset) else {
        let suggestion = "write all of it: 2027-12-31T23:59:00Z, or +01:00 instead of Z".to_owned();
        return Err(wrong(format!("`{name}` wants date, time and offset from UTC"), suggestion));
    };
    let offset_min = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let days = days_from_civil(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let minutes = i64::from(time.hour) * 60 + i64::from(time.minute) - offset_min;
    let ms = i64::from(time.second.unwrap_or(0)) * 1000 + i64::from(time.nanosecond.unwrap_or(0)) / 1_000_000;
    Ok(Value::Moment(WallTime(days * 86_400_000 + minutes * 60_000 + ms)))
}

/// Days since 1970-01-01 of a date in the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year }; // the year begins in March, its leap day is the last
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_the_file_is_the_moment_people_read() {
        for text in ["2026-11-23T00:00:00Z", "2000-02-29T23:59:59.5Z", "1999-12-31T00:00:00Z", "2027-03-01T12:00:00Z"] {
            let Ok(Value::Moment(moment)) = read_moment("end", &text.parse().unwrap()) else { panic!("{text}") };
            assert_eq!(moment.to_string()[..19], text[..19]);
        }
        let Ok(Value::Moment(moment)) = read_moment("end", &"2027-01-01T00:30:00+01:00".parse().unwrap()) else {
            panic!()
        };
        assert_eq!(moment.to_string(), "2026-12-31T23:30:00.000Z");
    }

    #[test]
    fn what_is_quoted_is_short_and_never_splits_a_character() {
        assert_eq!(quoted("\u{7}ab"), r#""\u{7}ab""#);
        assert_eq!(quoted(&"é".repeat(60)), format!("\"{}\"...", "é".repeat(40)));
        assert_eq!(quoted(&format!("a{}", "é".repeat(60))).chars().count(), 45);
    }

    #[test]
    fn a_duration_with_its_unit_is_answered_by_the_number_to_write() {
        assert_eq!(number_meant("lease_s", "4h").unwrap(), "write 14400: `lease_s` counts seconds");
        assert_eq!(number_meant("hold_max_ms", "2 s").unwrap(), "write 2000: `hold_max_ms` counts milliseconds");
        assert_eq!(number_meant("shards", "four"), None);
    }
}
