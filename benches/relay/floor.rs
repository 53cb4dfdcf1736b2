//! Bare fan-outs: one packet in, the same bytes to each listener, no routes, no floor, no counters. What the kernel asks
//! for at the least.

#![expect(unsafe_code, reason = "sendmmsg has no safe wrapper that takes many addresses")]

use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crosspatch::io::batch::ask_for_real_time;
use socket2::SockAddr;

use crate::rig::{MEASURED, Thread};

/// How the packets leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// One socket, one system call for up to 1,024 addresses.
    OneSocket,
    /// A connected socket for each listener, as gateways have.
    Connected,
}

/// A running fan-out.
pub struct Floor {
    pub input: SocketAddr,
    pub thread: Thread,
    stop: Arc<AtomicBool>,
    join: JoinHandle<()>,
}

impl Floor {
    pub fn start(way: Way, listeners: Vec<SocketAddr>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let input = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let (told, tell) = std::sync::mpsc::channel();
        let join = std::thread::spawn(move || {
            Thread::own().pin(MEASURED);
            // As the media thread does, so that both wait alike.
            let _ = ask_for_real_time();
            let mut send = sender(way, &listeners);
            told.send(Thread::own()).unwrap();
            let mut packet = [0; 1500];
            while !ended.load(Ordering::Relaxed) {
                if let Ok(length) = socket.recv(&mut packet) {
                    send(&packet[..length]);
                }
            }
        });
        Self { input, thread: tell.recv().unwrap(), stop, join }
    }

    pub fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.join.join().unwrap();
    }
}

/// Sends one packet to everybody.
type FanOut = Box<dyn FnMut(&[u8])>;

fn sender(way: Way, listeners: &[SocketAddr]) -> FanOut {
    match way {
        Way::OneSocket => {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let addresses: Vec<SockAddr> = listeners.iter().map(|listener| SockAddr::from(*listener)).collect();
            Box::new(move |packet| send_to_all(&socket, &addresses, packet))
        }
        Way::Connected => {
            let connect = |listener: &SocketAddr| {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.connect(listener).unwrap();
                socket
            };
            let sockets: Vec<UdpSocket> = listeners.iter().map(connect).collect();
            Box::new(move |packet| sockets.iter().for_each(|socket| assert!(socket.send(packet).is_ok())))
        }
    }
}

/// The most messages the kernel takes in one call.
const CALL: usize = 1024;

fn send_to_all(socket: &UdpSocket, addresses: &[SockAddr], packet: &[u8]) {
    let mut vector = libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() };
    for addresses in addresses.chunks(CALL) {
        let mut messages: Vec<libc::mmsghdr> = addresses
            .iter()
            .map(|address| {
                // SAFETY: all-zero is a valid, empty mmsghdr.
                let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
                message.msg_hdr.msg_name = address.as_ptr().cast_mut().cast();
                message.msg_hdr.msg_namelen = address.len();
                message.msg_hdr.msg_iov = &raw mut vector;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        // SAFETY: the headers point to the packet, the vector and the addresses, which all outlive the call, and the
        // kernel only reads through them.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), messages.len() as u32, 0) };
        assert_eq!(sent, addresses.len() as i32, "the kernel takes them all");
    }
}
