//! Time as the cores know it: told, never asked.
//!
//! [`MonoTime`] runs on boot time (it counts while the machine sleeps and no clock step moves it) and is what
//! leases and media live on. [`WallTime`] is for people and the journal.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One media frame. Every mix and every paced sender runs on this beat.
pub const FRAME: Duration = Duration::from_millis(20);
/// The same in milliseconds.
pub const FRAME_MS: u64 = 20;

/// Nanoseconds of boot time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MonoTime(pub u64);

impl MonoTime {
    /// From whole milliseconds of boot time.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }
    /// Whole milliseconds of boot time.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }
    /// Time since `earlier`, zero if that lies ahead.
    pub const fn since(self, earlier: MonoTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
    /// Milliseconds since `earlier`, zero if that lies ahead.
    pub const fn ms_since(self, earlier: MonoTime) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }
    /// This moment moved on by milliseconds.
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }
}

impl Add<Duration> for MonoTime {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for MonoTime {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct WallTime(pub i64);

impl WallTime {
    /// This moment moved on by milliseconds.
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(if ms > i64::MAX as u64 { i64::MAX } else { ms as i64 }))
    }
    /// Milliseconds from now to this moment, zero if it has passed.
    pub const fn ms_after(self, now: WallTime) -> u64 {
        let ms = self.0.saturating_sub(now.0);
        if ms < 0 { 0 } else { ms as u64 }
    }
}

impl fmt::Display for WallTime {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0.div_euclid(86_400_000), self.0.rem_euclid(86_400_000));
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
    }
}

/// Days since 1970-01-01 to year, month, day of the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468; // from 0000-03-01, so that the leap day is a year's last
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Boot time.
    pub mono: MonoTime,
    /// Time of day.
    pub wall: WallTime,
}

/// `3 h 59 min`, `59 min`, `45 s`, `2 d 3 h`: two units at most.
pub fn length_in_words(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let pair = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {small_unit}"),
    };
    if days > 0 {
        pair(days, "d", hours, "h")
    } else if hours > 0 {
        pair(hours, "h", minutes, "min")
    } else if minutes >= 5 {
        format!("{minutes} min")
    } else if minutes > 0 {
        pair(minutes, "min", seconds % 60, "s")
    } else {
        format!("{seconds} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_shows_the_calendar() {
        assert_eq!(WallTime(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(WallTime(951_782_400_123).to_string(), "2000-02-29T00:00:00.123Z");
        assert_eq!(WallTime(1_795_392_000_000).to_string(), "2026-11-23T00:00:00.000Z");
        assert_eq!(WallTime(-1).to_string(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn a_moment_before_is_never_a_huge_time_ago() {
        assert_eq!(MonoTime(5).since(MonoTime(9)), Duration::ZERO);
    }

    #[test]
    fn what_is_left_is_said_in_two_units_at_most() {
        let left = [
            (14_399, "3 h 59 min"),
            (3_600, "1 h"),
            (310, "5 min"),
            (90, "1 min 30 s"),
            (0, "0 s"),
            (90_000, "1 d 1 h"),
        ];
        for (seconds, text) in left {
            assert_eq!(length_in_words(seconds), text);
        }
    }
}
