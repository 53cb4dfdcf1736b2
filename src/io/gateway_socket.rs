//! A gateway's own sockets: RTP on an even port, RTCP on the next, and a line to the peer once it is known. Opened by
//! the control side, handed to the media thread that homes the port. A failed open is a fault the caller retries and
//! alarms about.
//!
//! The line is a second socket on the RTP port, connected to the peer: the kernel gives it what the peer sends, sends
//! through it without looking a route up, and leaves what strangers send to the first socket, where it is counted and
//! crowds nobody out.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// An open pair, non-blocking, and its line.
#[derive(Debug)]
pub struct GatewaySockets {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    line: Option<Line>,
}

#[derive(Debug)]
struct Line {
    socket: UdpSocket,
    peer: SocketAddr,
}

/// Which of a gateway's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Voice from whoever is not, or not yet, the peer.
    Rtp,
    /// Reports.
    Rtcp,
    /// Voice from the peer.
    Line,
}

impl GatewaySockets {
    /// Binds `local` and the port above it. Port 0 takes a free even pair between `ports`, beginning at a place that
    /// `seed` decides, so that a gateway finds us at the same port after a restart.
    pub fn open(local: SocketAddr, ports: (u16, u16), seed: u128) -> io::Result<Self> {
        if local.port() != 0 {
            return Self::pair(local);
        }
        let (first, last) = (u32::from(ports.0), u32::from(ports.1));
        let pairs = (last + 1).saturating_sub(first) / 2;
        let mut fault = io::Error::new(io::ErrorKind::AddrInUse, "no free pair of ports in media_ports");
        for at in 0..pairs {
            let pair = (seed.wrapping_add(u128::from(at)) % u128::from(pairs)) as u32;
            let port = u16::try_from(first + pair * 2).unwrap_or(u16::MAX - 1);
            let address = SocketAddr::new(local.ip(), port);
            match Self::pair(address) {
                Ok(pair) => return Ok(pair),
                Err(why) if why.kind() == io::ErrorKind::AddrInUse => {}
                Err(why) => fault = why,
            }
        }
        Err(fault)
    }

    fn pair(local: SocketAddr) -> io::Result<Self> {
        Ok(Self { rtp: bind(local)?, rtcp: bind(above(local))?, line: None })
    }

    /// Where voice is received.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.rtp.local_addr()
    }

    /// Opens the line to the peer, in place of one to another; false if it is open already. Without it voice is sent all
    /// the same, at a higher price.
    pub fn connect(&mut self, peer: SocketAddr) -> io::Result<bool> {
        if self.line.as_ref().is_some_and(|line| line.peer == peer) {
            return Ok(false);
        }
        self.line = None;
        let socket = voice_socket(self.rtp.local_addr()?)?;
        // Two sockets share a port only if both say so; the first says so for this moment only, so that nobody else
        // can join them.
        let first = SockRef::from(&self.rtp);
        first.set_reuse_address(true)?;
        socket.set_reuse_address(true)?;
        let bound = socket.bind(&self.rtp.local_addr()?.into());
        first.set_reuse_address(false)?;
        bound?;
        socket.connect(&peer.into())?;
        self.line = Some(Line { socket: socket.into(), peer });
        Ok(true)
    }

    /// One of the sockets; the line may be missing.
    pub fn socket(&self, which: Which) -> Option<BorrowedFd<'_>> {
        match which {
            Which::Rtp => Some(self.rtp.as_fd()),
            Which::Rtcp => Some(self.rtcp.as_fd()),
            Which::Line => self.line.as_ref().map(|line| line.socket.as_fd()),
        }
    }

    /// Sends one voice packet.
    pub fn send_voice(&self, to: SocketAddr, packet: &[u8]) -> io::Result<usize> {
        let Some(line) = self.line.as_ref().filter(|line| line.peer == to) else {
            return self.rtp.send_to(packet, to);
        };
        match line.socket.send(packet) {
            // That is the answer to an earlier packet; this one has not been sent and the peer may be back.
            Err(fault) if fault.kind() == io::ErrorKind::ConnectionRefused => line.socket.send(packet),
            sent => sent,
        }
    }

    /// Sends one report to the RTCP address of a peer's RTP address.
    pub fn send_report(&self, to: SocketAddr, packet: &[u8]) -> io::Result<usize> {
        self.rtcp.send_to(packet, above(to))
    }
}

/// The RTCP address that belongs to an RTP address (RFC 3550 section 11).
pub fn above(rtp: SocketAddr) -> SocketAddr {
    SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1))
}

fn bind(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = voice_socket(local)?;
    socket.bind(&local.into())?;
    Ok(socket.into())
}

fn voice_socket(local: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_tclass_v6(EXPEDITED_FORWARDING)?;
    } else {
        socket.set_tos_v4(EXPEDITED_FORWARDING)?;
    }
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// DSCP EF (46) as a traffic-class byte: voice queues before everything else (RFC 4594).
const EXPEDITED_FORWARDING: u32 = 46 << 2;
/// Half a second of a flooding gateway; more only delays its discard.
const RECEIVE_BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_even_and_odd_and_the_same_gateway_finds_it_again() {
        let local: SocketAddr = "127.0.0.77:0".parse().unwrap();
        let range = (20_000, 20_999);
        let pair = GatewaySockets::open(local, range, 5).unwrap();
        let (rtp, rtcp) = (pair.local().unwrap(), pair.rtcp.local_addr().unwrap());
        assert_eq!((rtp.port() % 2, rtcp.port()), (0, rtp.port() + 1));
        assert!(GatewaySockets::open(rtp, range, 5).is_err(), "a taken port is refused");
        let other = GatewaySockets::open(local, range, 5).unwrap();
        assert_ne!(other.local().unwrap(), rtp, "the next free pair is taken");
        drop((pair, other));
        assert_eq!(GatewaySockets::open(local, range, 5).unwrap().local().unwrap(), rtp);
    }

    #[test]
    fn the_line_hears_the_peer_alone_and_the_pair_hears_everybody_else() {
        for host in ["127.0.0.78", "::1"] {
            let here = SocketAddr::new(host.parse().unwrap(), 0);
            let (peer, stranger) = (UdpSocket::bind(here).unwrap(), UdpSocket::bind(here).unwrap());
            let mut ours = GatewaySockets::open(here, (21_000, 21_999), 7).unwrap();
            let to = ours.local().unwrap();
            ours.connect(peer.local_addr().unwrap()).unwrap();
            let third = voice_socket(to).unwrap();
            third.set_reuse_address(true).unwrap();
            assert!(third.bind(&to.into()).is_err(), "nobody joins the two");
            peer.send_to(b"peer", to).unwrap();
            stranger.send_to(b"stranger", to).unwrap();
            let mut room = [0; 16];
            let heard = ours.line.as_ref().unwrap().socket.recv(&mut room).unwrap();
            assert_eq!(&room[..heard], b"peer");
            let heard = ours.rtp.recv(&mut room).unwrap();
            assert_eq!(&room[..heard], b"stranger");
            ours.send_voice(peer.local_addr().unwrap(), b"answer").unwrap();
            let (heard, from) = peer.recv_from(&mut room).unwrap();
            assert_eq!((&room[..heard], from), (&b"answer"[..], to));
            // The peer moves: its old place is a stranger's now.
            ours.connect(stranger.local_addr().unwrap()).unwrap();
            stranger.send_to(b"moved", to).unwrap();
            let heard = ours.line.as_ref().unwrap().socket.recv(&mut room).unwrap();
            assert_eq!(&room[..heard], b"moved");
        }
    }

    #[test]
    fn voice_and_reports_ask_for_the_queue_before_all_others() {
        for host in ["127.0.0.80", "::1"] {
            let here = SocketAddr::new(host.parse().unwrap(), 0);
            let peer = UdpSocket::bind(here).unwrap();
            let mut ours = GatewaySockets::open(here, (21_000, 21_999), 11).unwrap();
            ours.connect(peer.local_addr().unwrap()).unwrap();
            for which in [Which::Rtp, Which::Rtcp, Which::Line] {
                let socket = ours.socket(which).unwrap();
                let socket = SockRef::from(&socket);
                let class = if here.is_ipv6() { socket.tclass_v6() } else { socket.tos_v4() };
                assert_eq!(class.unwrap() >> 2, 46, "{which:?} at {host}: DSCP EF");
            }
        }
    }

    #[test]
    fn a_peer_that_comes_back_hears_the_first_packet() {
        let here: SocketAddr = "127.0.0.79:0".parse().unwrap();
        let peer = UdpSocket::bind(here).unwrap();
        let address = peer.local_addr().unwrap();
        let mut ours = GatewaySockets::open(here, (21_000, 21_999), 9).unwrap();
        ours.connect(address).unwrap();
        drop(peer);
        ours.send_voice(address, b"to nobody").unwrap();
        let peer = UdpSocket::bind(address).unwrap();
        ours.send_voice(address, b"back").unwrap();
        let mut room = [0; 16];
        peer.set_nonblocking(true).unwrap();
        let heard = peer.recv(&mut room).unwrap();
        assert_eq!(&room[..heard], b"back");
    }
}
