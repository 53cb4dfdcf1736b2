//! Packets of one receiving port that are not yet certainly speech: of a key that may be too short, or of an end that
//! may be a squelch tail. Not a jitter buffer: order and gaps stay as they came. Taken from a pool by the port.

use crate::domain::time::MonoTime;
use crate::wire::rtp_extension::AudioLevel;

use super::codec::PAYLOAD_BYTES_MAX;

/// What a delayed packet was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delayed {
    /// Extended sequence number.
    pub sequence: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Its sender's own meter.
    pub level: Option<AudioLevel>,
    /// When it came.
    pub arrived_at: MonoTime,
}

/// A ring of packets in the order they came.
pub struct DelayLine {
    entries: Box<[(Delayed, usize)]>,
    payloads: Box<[u8]>,
    head: usize,
    length: usize,
}

impl DelayLine {
    /// Reserves everything.
    pub fn new() -> Self {
        let empty = Delayed { sequence: 0, timestamp: 0, level: None, arrived_at: MonoTime(0) };
        Self {
            entries: vec![(empty, 0); PLACES].into_boxed_slice(),
            payloads: vec![0; PLACES * PAYLOAD_BYTES_MAX].into_boxed_slice(),
            head: 0,
            length: 0,
        }
    }

    /// False if there is no place.
    #[must_use]
    pub fn push(&mut self, packet: Delayed, payload: &[u8]) -> bool {
        if self.length == PLACES || payload.len() > PAYLOAD_BYTES_MAX {
            return false;
        }
        let at = (self.head + self.length) % PLACES;
        self.entries[at] = (packet, payload.len());
        self.payloads[at * PAYLOAD_BYTES_MAX..][..payload.len()].copy_from_slice(payload);
        self.length += 1;
        true
    }

    /// The oldest packet, if it came before that moment. Its bytes stay until the next push.
    pub fn pop_before(&mut self, moment: MonoTime) -> Option<(Delayed, &[u8])> {
        if self.length == 0 || self.entries[self.head].0.arrived_at >= moment {
            return None;
        }
        let at = self.head;
        self.head = (self.head + 1) % PLACES;
        self.length -= 1;
        let (packet, length) = self.entries[at];
        Some((packet, &self.payloads[at * PAYLOAD_BYTES_MAX..][..length]))
    }

    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Forgets all; returns how many.
    pub fn clear(&mut self) -> usize {
        std::mem::take(&mut self.length)
    }
}

impl Default for DelayLine {
    fn default() -> Self {
        Self::new()
    }
}

/// A minimum burst and a squelch tail of 300 ms each, in packets of 10 ms, and room for disorder.
const PLACES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_as_they_went_in_and_not_before_their_time() {
        let mut line = DelayLine::new();
        let at = |ms| Delayed { sequence: ms, timestamp: 0, level: None, arrived_at: MonoTime::from_millis(ms) };
        assert!(line.push(at(10), b"one") && line.push(at(30), b"two"));
        let first = line.pop_before(MonoTime::from_millis(20)).map(|(packet, bytes)| (packet.sequence, bytes.to_vec()));
        assert_eq!(first, Some((10, b"one".to_vec())));
        assert_eq!(line.pop_before(MonoTime::from_millis(30)), None);
        assert_eq!(line.clear(), 1);
    }
}
