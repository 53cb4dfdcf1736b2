//! How much of a stranger's traffic is looked at: a bucket for each source and one for all of them together, so that a
//! flood costs its own sender and not the phones. Nobody is banned, for a source is only what a datagram says; whoever
//! is registered has a bucket of its own that strangers cannot empty.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::domain::time::MonoTime;

/// What is left to each source.
#[derive(Debug, Default)]
pub struct Guard {
    /// Two generations of strangers: the older is forgotten whole, so that no flood of sources costs a search.
    young: BTreeMap<IpAddr, Bucket>,
    old: BTreeMap<IpAddr, Bucket>,
    strangers: Option<Bucket>,
    known: BTreeMap<IpAddr, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of a datagram.
    left: u64,
    at: MonoTime,
}

impl Bucket {
    const fn full(rate: Rate, now: MonoTime) -> Self {
        Self { left: rate.burst * 1000, at: now }
    }

    fn take(&mut self, rate: Rate, now: MonoTime) -> bool {
        let gained = now.ms_since(self.at).saturating_mul(rate.per_second);
        self.left = self.left.saturating_add(gained).min(rate.burst * 1000);
        self.at = now;
        let enough = self.left >= 1000;
        self.left -= if enough { 1000 } else { 0 };
        enough
    }
}

#[derive(Clone, Copy)]
struct Rate {
    per_second: u64,
    burst: u64,
}

impl Guard {
    /// Whether a datagram from there is looked at.
    pub fn admits(&mut self, source: IpAddr, is_known: bool, now: MonoTime) -> bool {
        let source = prefix(source);
        if is_known {
            if self.known.len() >= KNOWN_MAX && !self.known.contains_key(&source) {
                self.known.clear();
            }
            return self.known.entry(source).or_insert(Bucket::full(KNOWN, now)).take(KNOWN, now);
        }
        if self.young.len() >= STRANGERS_MAX / 2 && !self.young.contains_key(&source) {
            self.old = std::mem::take(&mut self.young);
        }
        let before = self.old.remove(&source).unwrap_or(Bucket::full(STRANGER, now));
        let own = self.young.entry(source).or_insert(before).take(STRANGER, now);
        // In this order: one source alone cannot use up what is there for all.
        own && self.strangers.get_or_insert(Bucket::full(STRANGERS, now)).take(STRANGERS, now)
    }
}

/// Whoever has one IPv6 address has 2^64.
fn prefix(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(source) => source.into(),
        IpAddr::V6(source) => std::net::Ipv6Addr::from(u128::from(source) >> 64 << 64).into(),
    }
}

/// A phone that registers and calls needs six; a hundred behind one NAT after a power cut, six hundred in some seconds.
const STRANGER: Rate = Rate { per_second: 50, burst: 100 };
/// All strangers: some 5 % of a core.
const STRANGERS: Rate = Rate { per_second: 2_000, burst: 4_000 };
/// A PBX with its calls.
const KNOWN: Rate = Rate { per_second: 1_000, burst: 2_000 };
/// Sources of strangers that are remembered.
pub const STRANGERS_MAX: usize = 8_192;
/// Sources of registered phones that are remembered; beyond, all begin with a full bucket.
const KNOWN_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_millis(ms)
    }

    #[test]
    fn a_flood_is_cut_to_its_rate_and_shuts_nobody_else_out() {
        let mut guard = Guard::default();
        let (loud, quiet): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let passed = (0..10_000).filter(|n| guard.admits(loud, false, at(n / 10))).count();
        assert!((140..=151).contains(&passed), "{passed} in a second");
        assert!(guard.admits(quiet, false, at(1000)));
        assert!(guard.admits(loud, false, at(3000)), "nobody is banned");
        let six = |n: u128| IpAddr::from(std::net::Ipv6Addr::from(0x2001_0db8_u128 << 96 | n));
        let passed = (0..10_000).filter(|n| guard.admits(six(*n), false, at(4000))).count();
        assert_eq!(passed, 100, "a whole /64 is one source");
    }

    #[test]
    fn a_flood_of_made_up_sources_is_cut_in_all_and_forgotten_and_a_registered_phone_does_not_notice() {
        let mut guard = Guard::default();
        let phone = [198, 51, 100, 1].into();
        let mut passed = 0;
        for n in 0..200_000u32 {
            let source = std::net::Ipv4Addr::from(0x0a00_0000 + n).into();
            passed += u32::from(guard.admits(source, false, at(u64::from(n / 200))));
            if n % 1000 == 0 {
                assert!(guard.admits(phone, true, at(u64::from(n / 200))));
            }
        }
        assert!((5_900..=6_001).contains(&passed), "{passed} in a second");
        assert!(guard.young.len() + guard.old.len() <= STRANGERS_MAX);
    }
}
