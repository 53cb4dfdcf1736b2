//! Bytes to values and back: pure, total, fuzzed.
//!
//! No clock, no allocation, and no state but that of SRTP, whose packets mean nothing without it: readers borrow the
//! datagram, writers fill a caller's buffer and say how much of it they used. Every reader has a function in [`fuzz`]; what a reader accepts, its writer writes back.

pub mod fuzz;
pub mod rtcp;
pub mod rtp;
pub mod rtp_extension;
pub mod srtp;
pub mod telephone_event;
pub mod trunk;

use std::fmt;

/// The largest datagram we send or take (bytes): what an Ethernet link carries whole. Nothing a voice gateway
/// sends comes near it; a longer one is somebody else's.
pub const DATAGRAM_BYTES_MAX: usize = 1500;

/// Why a packet could not be written. Both are a caller's fault that shows in tests: buffers are sized once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFault {
    /// The caller's buffer ends before the packet does.
    NoRoom,
    /// A field holds a value its wire form cannot carry.
    OutOfRange,
}

impl fmt::Display for WriteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WriteFault::NoRoom => "the buffer is too small for the packet",
            WriteFault::OutOfRange => "a field does not fit its wire form",
        })
    }
}

impl std::error::Error for WriteFault {}

/// Fills a caller's buffer from the front: the one place where wire writers meet a length.
struct Pen<'a> {
    out: &'a mut [u8],
    used: usize,
}

impl<'a> Pen<'a> {
    fn new(out: &'a mut [u8]) -> Self {
        Self { out, used: 0 }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteFault> {
        let end = self.used + bytes.len();
        self.out.get_mut(self.used..end).ok_or(WriteFault::NoRoom)?.copy_from_slice(bytes);
        self.used = end;
        Ok(())
    }

    /// Zero bytes up to the next 32-bit boundary.
    fn align(&mut self) -> Result<(), WriteFault> {
        const ZEROS: [u8; 3] = [0; 3];
        self.put(&ZEROS[..self.used.next_multiple_of(4) - self.used])
    }
}

/// Takes a datagram from the front; `None` means it ended too early.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }
}
