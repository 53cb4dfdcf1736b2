//! Endless damaged packets from good ones, the same for the same seed.
//!
//! Not coverage-guided: that is cargo-fuzz's part (`fuzz/`). This one runs in every test run, on stable, with the
//! same target functions. Any test of a parser may use it: give it a corpus of valid inputs and a seed.

use crosspatch::domain::random::Entropy;

/// Inputs grow no further than this: twice a datagram, so that too long is met as well.
const INPUT_BYTES_MAX: usize = 3000;

/// Values that lengths, counts and types like to break on.
const EDGES: [u8; 8] = [0x00, 0x01, 0x0f, 0x7f, 0x80, 0xbe, 0xf0, 0xff];

/// The one that is asked for by `SEED=17`, or the usual one.
pub fn seed() -> u64 {
    std::env::var("SEED").map_or(20_261_123, |seed| seed.parse().expect("SEED is a number"))
}

/// A corpus, a seed, and the last input made.
pub struct Mutator {
    entropy: Entropy,
    corpus: Vec<Vec<u8>>,
    input: Vec<u8>,
}

impl Mutator {
    /// The corpus must hold at least one input.
    pub fn new(seed: u64, corpus: Vec<Vec<u8>>) -> Self {
        assert!(!corpus.is_empty(), "a mutator needs something to damage");
        Self { entropy: Entropy::new(seed), corpus, input: Vec::new() }
    }

    /// The next input: in one of sixteen cases an undamaged one, else one with up to six faults.
    pub fn next_input(&mut self) -> &[u8] {
        let original = self.below(self.corpus.len());
        self.input.clone_from(&self.corpus[original]);
        if self.below(16) != 0 {
            for _ in 0..=self.below(6) {
                self.damage();
            }
        }
        self.input.truncate(INPUT_BYTES_MAX);
        &self.input
    }

    fn damage(&mut self) {
        let length = self.input.len();
        let at = self.below(length);
        match self.below(9) {
            0 | 1 if length > 0 => self.input[at] ^= 1 << self.below(8),
            2 if length > 0 => self.input[at] = EDGES[self.below(EDGES.len())],
            3 if length > 0 => self.input[at] = self.entropy.next_u32() as u8,
            4 => self.input.truncate(at),
            5 => self.lie_about_a_length(at),
            6 => self.splice(at),
            7 => self.repeat(at),
            _ => {
                let tail = self.entropy.next_u64().to_be_bytes();
                let count = 1 + self.below(8);
                self.input.extend_from_slice(&tail[..count]);
            }
        }
    }

    /// Writes a count of what is left, or one beside it, in bytes or in 32-bit words, as one byte or two.
    fn lie_about_a_length(&mut self, at: usize) {
        let left = self.input.len().saturating_sub(at);
        let unit = [1, 4][self.below(2)];
        let lie = (left / unit).wrapping_add(self.below(5)).wrapping_sub(2) as u16;
        let lie = if self.below(8) == 0 { u16::MAX } else { lie };
        let wide = self.below(2) == 0;
        let bytes = if wide { lie.to_be_bytes().to_vec() } else { vec![lie as u8] };
        for (place, byte) in self.input.iter_mut().skip(at).zip(bytes) {
            *place = byte;
        }
    }

    /// Goes on from `at` with the end of another packet.
    fn splice(&mut self, at: usize) {
        let other = self.below(self.corpus.len());
        let from = self.below(self.corpus[other].len());
        self.input.truncate(at);
        self.input.extend_from_slice(&self.corpus[other][from..]);
    }

    /// Says a part of the packet twice.
    fn repeat(&mut self, at: usize) {
        let end = (at + 1 + self.below(24)).min(self.input.len());
        let part = self.input[at..end].to_vec();
        self.input.splice(at..at, part);
    }

    fn below(&mut self, bound: usize) -> usize {
        self.entropy.below(bound as u64) as usize
    }
}
