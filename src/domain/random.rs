//! Randomness as an argument: a small seeded generator, so that every decision replays.
//!
//! Not for secrets: keys and tokens come from the operating system in `io`.

/// Steele, Lea and Flood's splitmix64: one word of state, every seed is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entropy(u64);

impl Entropy {
    /// The same seed gives the same sequence.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
    /// The next 32 bits.
    pub const fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }
    /// The next 128 bits: an id.
    pub const fn next_u128(&mut self) -> u128 {
        (self.next_u64() as u128) << 64 | self.next_u64() as u128
    }
    /// A number below `bound`; zero if the bound is zero.
    pub const fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next_u64() % bound }
    }
    /// True in `percent` of all calls.
    pub const fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
