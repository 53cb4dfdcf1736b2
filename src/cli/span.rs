//! Lengths of time as people type and read them: `4h`, `1h30m`, `90s` in, `3 h 59 min` out.

use crate::domain::time::WallTime;
pub(super) use crate::domain::time::length_in_words as words;

/// Seconds of a text such as `4h`, `1h30m`, `90s` or `2d`. A bare number is refused: nobody knows its unit.
pub(super) fn parse_s(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is no length of time: write 45m, 4h, 1h30m or 2d");
    let mut total: u64 = 0;
    let mut number = String::new();
    let mut last_unit = u64::MAX;
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c.to_ascii_lowercase() {
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return Err(wrong()),
        };
        // 30m4h is more likely a slip than a wish.
        if unit >= last_unit {
            return Err(wrong());
        }
        last_unit = unit;
        let count: u64 = std::mem::take(&mut number).parse().map_err(|_| wrong())?;
        total = count.checked_mul(unit).and_then(|s| total.checked_add(s)).ok_or_else(wrong)?;
    }
    if !number.is_empty() || total == 0 {
        return Err(wrong());
    }
    u32::try_from(total).map_err(|_| wrong())
}

/// Day and time of day in UTC, to the second.
pub(super) fn moment(at: WallTime) -> String {
    let text = at.to_string();
    let (day, time) = text.split_once('T').unwrap_or((&text, ""));
    format!("{day} {}Z", time.split('.').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_read_with_its_unit_and_never_without() {
        let right = [("4h", 14_400), ("45m", 2_700), ("1h30m", 5_400), ("90s", 90), ("2d", 172_800), ("1H 5M", 3_900)];
        for (text, seconds) in right {
            assert_eq!(parse_s(text), Ok(seconds), "{text}");
        }
        for text in ["", "4", "h", "4x", "-4h", "30m4h", "1h1h", "0s", "4h5", "9999999d", "99999999999999999999h"] {
            assert!(parse_s(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_moment_shows_its_zone() {
        assert_eq!(moment(WallTime(951_782_400_123)), "2000-02-29 00:00:00Z");
    }
}
