//! RFC 4733 telephone events: digits, and the way many gateways key.
//!
//! Not a key detector: one press arrives as many packets, and which of them are the same press is decided by the
//! stream (equal SSRC, RTP timestamp and event). **Durations lie**: a widely used phone negotiates
//! `telephone-event/8000` beside Opus and then counts duration and timestamps in 48 kHz units. So nothing here
//! turns a duration into time; whoever keys by events judges a press by when its packets arrive.

use super::WriteFault;

/// One report on one event (RFC 4733 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// 0 to 9 digits, 10 `*`, 11 `#`, 12 to 15 A to D, 16 flash; others by IANA's list.
    pub event: u8,
    /// The event is over; sent three times.
    pub end: bool,
    /// Power of the tone [-dBm0], 0 to 63.
    pub volume: u8,
    /// Since the event began, in whatever clock the sender counts.
    pub duration: u16,
}

/// A payload's length (bytes).
pub const TELEPHONE_EVENT_BYTES: usize = 4;

impl TelephoneEvent {
    /// Reads the first report of a payload; `None` if there is not a whole one. A sender that packs successive
    /// events puts the oldest first; the others follow in packets of their own.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let [event, flags, duration @ ..] = *payload.first_chunk::<TELEPHONE_EVENT_BYTES>()?;
        let duration = u16::from_be_bytes(duration);
        Some(Self { event, end: flags & END != 0, volume: flags & VOLUME, duration })
    }

    /// The payload.
    ///
    /// # Errors
    /// [`WriteFault::OutOfRange`] for a volume above 63.
    pub fn bytes(&self) -> Result<[u8; TELEPHONE_EVENT_BYTES], WriteFault> {
        if self.volume > VOLUME {
            return Err(WriteFault::OutOfRange);
        }
        let [high, low] = self.duration.to_be_bytes();
        Ok([self.event, self.volume | if self.end { END } else { 0 }, high, low])
    }

    /// The key of a telephone that makes this event.
    pub fn digit(&self) -> Option<char> {
        DIGITS.get(usize::from(self.event)).map(|byte| char::from(*byte))
    }

    /// The event a telephone's key makes.
    pub fn event_of(digit: char) -> Option<u8> {
        DIGITS.iter().position(|byte| char::from(*byte) == digit.to_ascii_uppercase()).map(|event| event as u8)
    }
}

const END: u8 = 0x80;
const VOLUME: u8 = 0x3f;
const DIGITS: &[u8; 16] = b"0123456789*#ABCD";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_bytes_of_rfc_4733() {
        let star = TelephoneEvent { event: 10, end: true, volume: 10, duration: 1600 };
        assert_eq!(star.bytes(), Ok([10, 0x8a, 0x06, 0x40]));
        assert_eq!(TelephoneEvent::parse(&[10, 0x8a, 0x06, 0x40]), Some(star));
    }

    #[test]
    fn the_reserved_bit_is_ignored_and_a_short_payload_is_no_event() {
        let one = TelephoneEvent { event: 1, end: false, volume: 63, duration: 0 };
        assert_eq!(TelephoneEvent::parse(&[1, 0x7f, 0, 0, 9, 9, 9, 9]), Some(one));
        assert_eq!(TelephoneEvent::parse(&[1, 0, 0]), None);
        assert_eq!(TelephoneEvent { volume: 64, ..one }.bytes(), Err(WriteFault::OutOfRange));
    }

    #[test]
    fn every_key_has_its_event_and_every_event_its_key() {
        for (event, digit) in (0u8..).zip("0123456789*#ABCD".chars()) {
            assert_eq!(TelephoneEvent { event, end: false, volume: 0, duration: 0 }.digit(), Some(digit));
            assert_eq!(TelephoneEvent::event_of(digit), Some(event));
        }
        assert_eq!(TelephoneEvent { event: 16, end: false, volume: 0, duration: 0 }.digit(), None);
        assert_eq!(TelephoneEvent::event_of('d'), Some(15));
        assert_eq!(TelephoneEvent::event_of('E'), None);
    }
}
