//! Receiving many datagrams with one system call. The only unsafe file of the package: three calls the safe crates do
//! not wrap in a way that allocates nothing. Owned by one media thread.

#![expect(unsafe_code, reason = "recvmmsg fills caller-owned buffers through raw pointers; see each SAFETY note")]

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use socket2::{SockAddr, SockAddrStorage};

/// Datagrams per call: a radio sends one in 20 ms, a gateway of many channels a handful, a flood is bounded by this.
pub const BATCH: usize = 32;
/// Longest datagram taken; longer ones are cut by the kernel and reported as truncated.
pub const DATAGRAM_MAX: usize = 2048;

/// Buffers for one call, reused for ever.
pub struct ReceiveBatch {
    buffers: Box<[[u8; DATAGRAM_MAX]; BATCH]>,
    sources: Box<[SockAddrStorage; BATCH]>,
    vectors: Box<[libc::iovec; BATCH]>,
    messages: Box<[libc::mmsghdr; BATCH]>,
    filled: usize,
}

/// One received datagram.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub source: SocketAddr,
    /// What arrived; it may be opened in place.
    pub bytes: &'a mut [u8],
    /// It was longer than [`DATAGRAM_MAX`].
    pub truncated: bool,
}

impl ReceiveBatch {
    /// Reserves 32 buffers of 2 KiB.
    #[expect(clippy::new_without_default, reason = "64 KiB are not a default value")]
    pub fn new() -> Self {
        // SAFETY: iovec and mmsghdr are plain C structs for which all-zero bytes are a valid (null, empty) value.
        let (vectors, messages) = unsafe { (mem::zeroed(), mem::zeroed()) };
        let mut batch = Self {
            buffers: vec![[0; DATAGRAM_MAX]; BATCH].try_into().unwrap_or_else(|_| unreachable!("a batch of BATCH")),
            sources: Box::new(std::array::from_fn(|_| SockAddrStorage::zeroed())),
            vectors: Box::new(vectors),
            messages: Box::new(messages),
            filled: 0,
        };
        for at in 0..BATCH {
            batch.vectors[at].iov_base = batch.buffers[at].as_mut_ptr().cast();
            batch.vectors[at].iov_len = DATAGRAM_MAX;
            let header = &mut batch.messages[at].msg_hdr;
            header.msg_iov = &raw mut batch.vectors[at];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut batch.sources[at]).cast();
        }
        batch
    }

    /// Takes what waits, without blocking. Returns how many; zero when nothing waits.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        for message in self.messages.iter_mut() {
            message.msg_hdr.msg_namelen = mem::size_of::<SockAddrStorage>() as libc::socklen_t;
            message.msg_hdr.msg_flags = 0;
        }
        // SAFETY: every header points into boxed arrays owned by self, which outlive the call and are not otherwise
        // borrowed; lengths were set from the arrays' own sizes; a null timeout is allowed.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.messages.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        self.filled = usize::try_from(count).unwrap_or(0);
        if count >= 0 {
            return Ok(self.filled);
        }
        let fault = io::Error::last_os_error();
        // A connected socket reports an earlier ICMP "port unreachable" here: the peer is not listening yet.
        let nothing = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted, io::ErrorKind::ConnectionRefused]
            .contains(&fault.kind());
        if nothing { Ok(0) } else { Err(fault) }
    }

    /// The datagram at `at` of the last call; `None` past the end or if its source is no IP address.
    pub fn get(&mut self, at: usize) -> Option<Datagram<'_>> {
        if at >= self.filled {
            return None;
        }
        let message = &self.messages[at];
        let header = &message.msg_hdr;
        // SAFETY: the storage is plain bytes, so a copy by read is valid; the kernel wrote `msg_namelen` of them.
        let source = unsafe { SockAddr::new(std::ptr::read(&raw const self.sources[at]), header.msg_namelen) };
        let length = (message.msg_len as usize).min(DATAGRAM_MAX);
        let truncated = header.msg_flags & libc::MSG_TRUNC != 0;
        Some(Datagram { source: source.as_socket()?, bytes: &mut self.buffers[at][..length], truncated })
    }
}

/// Asks for real-time scheduling of the calling thread. `Err` is usual without privilege and only costs punctuality.
pub fn ask_for_real_time() -> io::Result<()> {
    // SAFETY: the parameter is a plain struct on our stack; pid 0 means the calling thread.
    let answer = unsafe {
        let mut parameter: libc::sched_param = mem::zeroed();
        parameter.sched_priority = REAL_TIME_PRIORITY;
        libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const parameter)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Above ordinary threads, below the kernel's own.
const REAL_TIME_PRIORITY: libc::c_int = 10;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_batch_gives_back_each_datagram_with_its_source_and_says_what_was_cut() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut batch = ReceiveBatch::new();
        assert_eq!(batch.receive(receiver.as_fd()).unwrap(), 0, "nothing waits");
        sender.send_to(b"one", receiver.local_addr().unwrap()).unwrap();
        sender.send_to(&[7; 3000], receiver.local_addr().unwrap()).unwrap();
        assert_eq!(batch.receive(receiver.as_fd()).unwrap(), 2);
        let first = batch.get(0).unwrap();
        assert_eq!((first.source, &*first.bytes, first.truncated), (sender.local_addr().unwrap(), &b"one"[..], false));
        let second = batch.get(1).unwrap();
        assert_eq!((second.bytes.len(), second.truncated), (DATAGRAM_MAX, true));
        assert!(batch.get(2).is_none());
    }

    #[test]
    fn a_batch_takes_ipv6_sources() {
        let Ok(receiver) = UdpSocket::bind("[::1]:0") else { return };
        let sender = UdpSocket::bind("[::1]:0").unwrap();
        sender.send_to(b"six", receiver.local_addr().unwrap()).unwrap();
        let mut batch = ReceiveBatch::new();
        assert_eq!(batch.receive(receiver.as_fd()).unwrap(), 1);
        assert_eq!(batch.get(0).unwrap().source, sender.local_addr().unwrap());
    }
}
