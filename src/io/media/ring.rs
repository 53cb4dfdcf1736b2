//! Frames between media threads: length-prefixed bytes through a wait-free ring. A full ring drops the frame and says
//! so; a half-written frame can never be read.

use rtrb::{Consumer, Producer, RingBuffer};

/// The sending end.
pub struct FrameSender(Producer<u8>);
/// The receiving end.
pub struct FrameReceiver(Consumer<u8>);

/// Bytes in flight between two shards: 20 ms of 100 talkers at 1,500 bytes.
const RING_BYTES: usize = 256 << 10;

/// A new ring.
pub fn frames() -> (FrameSender, FrameReceiver) {
    let (producer, consumer) = RingBuffer::new(RING_BYTES);
    (FrameSender(producer), FrameReceiver(consumer))
}

impl FrameSender {
    /// False if there is no room for the whole frame.
    pub fn push(&mut self, frame: &[u8]) -> bool {
        let Ok(length) = u16::try_from(frame.len()) else { return false };
        let Ok(chunk) = self.0.write_chunk_uninit(2 + frame.len()) else { return false };
        chunk.fill_from_iter(length.to_ne_bytes().into_iter().chain(frame.iter().copied()));
        true
    }
}

impl FrameReceiver {
    /// Copies the next frame into `room`; `None` when the ring is empty. A frame longer than the room is skipped.
    pub fn pop<'a>(&mut self, room: &'a mut [u8]) -> Option<&'a [u8]> {
        loop {
            let head = self.0.read_chunk(2).ok()?;
            let (first, second) = head.as_slices();
            let mut bytes = first.iter().chain(second);
            let length = usize::from(u16::from_ne_bytes([*bytes.next()?, *bytes.next()?]));
            // The sender commits head and body together, so the body is there.
            let whole = self.0.read_chunk(2 + length).ok()?;
            let fits = length <= room.len();
            if fits {
                let (first, second) = whole.as_slices();
                let body = first.iter().chain(second).skip(2);
                room.iter_mut().zip(body).for_each(|(to, from)| *to = *from);
            }
            whole.commit_all();
            if fits {
                return Some(&room[..length]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_in_order_and_a_full_ring_refuses() {
        let (mut sender, mut receiver) = frames();
        let mut room = [0; 2000];
        let mut sent = 0u32;
        let mut received = 0u32;
        for round in 0..400 {
            while sender.push(&vec![sent as u8; 1 + (sent as usize * 37) % 1500]) {
                sent += 1;
            }
            assert!(round > 0 || sent > 100, "a ring this large refused frame {sent}");
            for _ in 0..37 {
                let frame = receiver.pop(&mut room).expect("sent and not yet received");
                assert_eq!(frame.len(), 1 + (received as usize * 37) % 1500);
                assert!(frame.iter().all(|byte| *byte == received as u8));
                received += 1;
            }
        }
        while receiver.pop(&mut room).is_some() {
            received += 1;
        }
        assert_eq!(sent, received);
    }
}
