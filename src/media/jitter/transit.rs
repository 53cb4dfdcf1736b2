//! What the network does to one stream's packets, and the depth that answers it.
//!
//! The histogram forgets: old packets count half every ten seconds. Owned by one jitter buffer.

use crate::domain::time::MonoTime;

/// What the network does to packets: base, histogram, target.
#[derive(Debug)]
pub struct Transit {
    /// Least transit of the running window and of the one before (us).
    least_us: [i64; 2],
    window_end: MonoTime,
    histogram: [u16; BINS],
    total: u16,
    target_ms: u32,
}

impl Default for Transit {
    fn default() -> Self {
        Self {
            least_us: [i64::MAX; 2],
            window_end: MonoTime(0),
            histogram: [0; BINS],
            total: 0,
            target_ms: TARGET_FIRST_MS,
        }
    }
}

impl Transit {
    /// Transit of a packet that nothing delayed (us); 0 before the first.
    pub fn origin_us(&self) -> i64 {
        let base = self.least_us[0].min(self.least_us[1]);
        if base == i64::MAX { 0 } else { base }
    }

    /// After a jump the histogram still tells the network; the two clocks' distance is unknown again.
    pub fn forget_origin(&mut self) {
        self.least_us = [i64::MAX; 2];
    }

    /// Takes in one packet's arrival minus timestamp.
    pub fn measure(&mut self, now: MonoTime, transit_us: i64) {
        if now >= self.window_end {
            self.least_us = [i64::MAX, self.least_us[0]];
            self.window_end = now.plus_ms(BASE_WINDOW_MS);
        }
        self.least_us[0] = self.least_us[0].min(transit_us);
        let lateness_us = (transit_us - self.origin_us()).max(0);
        let bin = usize::try_from(lateness_us / (BIN_MS * 1_000)).unwrap_or(BINS).min(BINS - 1);
        self.histogram[bin] += 1;
        self.total += 1;
        if self.total >= HISTOGRAM_FULL {
            self.total = 0;
            for count in &mut self.histogram {
                *count /= 2;
                self.total += *count;
            }
        }
        self.target_ms = self.wanted_ms();
    }

    /// How deep the buffer should be (ms): 20 to 200.
    pub const fn target_ms(&self) -> u32 {
        self.target_ms
    }

    fn wanted_ms(&self) -> u32 {
        if self.total < HISTOGRAM_USABLE {
            return self.target_ms.max(self.percentile_ms());
        }
        self.percentile_ms()
    }

    fn percentile_ms(&self) -> u32 {
        let beyond_max = self.total / 50; // 2 % may be later
        let mut beyond = 0;
        for bin in (0..BINS).rev() {
            beyond += self.histogram[bin];
            if beyond > beyond_max {
                let lateness_ms = if bin == 0 { 0 } else { (bin as u32 + 1) * BIN_MS as u32 };
                return (lateness_ms + TARGET_MIN_MS).min(TARGET_MAX_MS);
            }
        }
        TARGET_MIN_MS
    }
}

/// One frame of the mixer: a packet must not come in the tick that plays it.
const TARGET_MIN_MS: u32 = 20;
/// Later packets are played from a dry buffer or lost; a deeper buffer would harm every burst for a few.
const TARGET_MAX_MS: u32 = 200;
/// Before anything is known about the network.
const TARGET_FIRST_MS: u32 = 40;
const BIN_MS: i64 = 5;
const BINS: usize = 41;
/// About 10 s of 20 ms packets, then old ones count half.
const HISTOGRAM_FULL: u16 = 512;
/// With fewer packets than this the percentile is a guess and may only raise the target.
const HISTOGRAM_USABLE: u16 = 50;
/// Longer than the jitter, shorter than clock drift needs to matter (200 ppm of 4 s is 0.8 ms).
const BASE_WINDOW_MS: u64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds packets every 20 ms whose transit in milliseconds `late_ms` says.
    fn after(packets: u64, late_ms: impl Fn(u64) -> i64) -> Transit {
        let mut transit = Transit::default();
        for packet in 0..packets {
            transit.measure(MonoTime::from_millis(packet * 20), 5_000_000 + late_ms(packet) * 1_000);
        }
        transit
    }

    #[test]
    fn the_target_follows_the_98th_percentile_within_its_limits() {
        assert_eq!(after(200, |_| 0).target_ms(), 20);
        assert_eq!(after(200, |packet| if packet % 10 == 9 { 62 } else { 0 }).target_ms(), 85);
        assert_eq!(after(200, |packet| if packet % 100 == 99 { 120 } else { 0 }).target_ms(), 20, "one in 100 is rare");
        assert_eq!(after(200, |packet| if packet % 2 == 1 { 900 } else { 0 }).target_ms(), 200);
    }

    #[test]
    fn a_network_that_calmed_down_is_believed_after_20_s() {
        let calmed = after(1_500, |packet| if packet < 500 && packet % 5 == 4 { 100 } else { 0 });
        assert_eq!(calmed.target_ms(), 20);
    }

    #[test]
    fn a_slower_path_becomes_the_new_ideal_after_two_windows() {
        let slower = after(600, |packet| if packet < 200 { 0 } else { 70 });
        assert_eq!(slower.origin_us(), 5_070_000);
    }
}
