//! The only file that asks the operating system for the time. Boot time for everything that is measured, wall time for
//! people. Cores are given a [`Now`].

use rustix::time::{ClockId, clock_gettime};

use crate::domain::time::{MonoTime, Now, WallTime};

/// Both clocks, read one after the other.
pub fn now() -> Now {
    Now { mono: mono(), wall: wall() }
}

/// Time since boot, suspended time included.
pub fn mono() -> MonoTime {
    let time = clock_gettime(ClockId::Boottime);
    MonoTime(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// Milliseconds since 1970.
pub fn wall() -> WallTime {
    let time = clock_gettime(ClockId::Realtime);
    WallTime(time.tv_sec * 1000 + time.tv_nsec / 1_000_000)
}
