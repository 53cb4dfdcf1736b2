//! All listeners behind one socket: each has an address of its own in 127.10.0.0/16, one port for all. Counts what
//! arrives and says when the first and the last packet of each frame came.
//!
//! A frame carries its number in its last four bytes.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use crosspatch::io::batch::ReceiveBatch;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};

use crate::rig::{OTHERS, Thread};

/// Room for what 4,000 listeners get at once, as the kernel counts it.
const BUFFER: usize = 32 << 20;

/// What came of one frame.
#[derive(Clone, Copy, Default)]
pub struct Frame {
    pub packets: u32,
    pub first: Option<Instant>,
    pub last: Option<Instant>,
}

/// The listeners.
pub struct Sink {
    pub port: u16,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Frame>>,
}

impl Sink {
    /// Ready for `frames` frames.
    pub fn start(frames: usize) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        if set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
            set_socket_recv_buffer_size(&socket, BUFFER).unwrap();
        }
        let port = socket.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            Thread::own().pin(OTHERS);
            collect(&socket, vec![Frame::default(); frames], &ended)
        });
        Self { port, stop, thread }
    }

    /// Where a listener listens.
    pub fn address(&self, listener: usize) -> SocketAddr {
        address(listener, self.port)
    }

    /// What came, by frame.
    pub fn finish(self) -> Vec<Frame> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

/// A listener's address.
pub fn address(listener: usize, port: u16) -> SocketAddr {
    let first = u32::from(Ipv4Addr::new(127, 10, 0, 1));
    SocketAddr::from((Ipv4Addr::from(first + listener as u32), port))
}

fn collect(socket: &UdpSocket, mut frames: Vec<Frame>, ended: &AtomicBool) -> Vec<Frame> {
    let mut batch = ReceiveBatch::new();
    loop {
        let count = batch.receive(socket.as_fd()).unwrap();
        let now = Instant::now();
        for at in 0..count {
            let Some(number) = batch.get(at).and_then(|datagram| datagram.bytes.last_chunk::<4>().copied()) else {
                continue;
            };
            let Some(frame) = frames.get_mut(u32::from_be_bytes(number) as usize) else { continue };
            frame.packets += 1;
            frame.first.get_or_insert(now);
            frame.last = Some(now);
        }
        if count == 0 {
            if ended.load(Ordering::SeqCst) {
                return frames;
            }
            let _ = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&TENTH));
        }
    }
}

const TENTH: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
