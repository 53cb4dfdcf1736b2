//! A gateway's own pair of sockets: RTP on an even port, RTCP on the next. Opened by the control side, handed to the
//! media thread that homes the port, connected there once the peer is known. A failed open is a fault the caller
//! retries and alarms about.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// An open pair, non-blocking.
#[derive(Debug)]
pub struct GatewaySockets {
    /// Voice.
    pub rtp: UdpSocket,
    /// Reports.
    pub rtcp: UdpSocket,
}

impl GatewaySockets {
    /// Binds `local` and the port above it. Port 0 takes a free even pair between `ports`, beginning at a place that
    /// `seed` decides, so that a gateway finds us at the same port after a restart.
    pub fn open(local: SocketAddr, ports: (u16, u16), seed: u128) -> io::Result<Self> {
        if local.port() != 0 {
            return Ok(Self { rtp: bind(local)?, rtcp: bind(above(local))? });
        }
        let (first, last) = (u32::from(ports.0), u32::from(ports.1));
        let pairs = (last + 1).saturating_sub(first) / 2;
        let mut fault = io::Error::new(io::ErrorKind::AddrInUse, "no free pair of ports in media_ports");
        for at in 0..pairs {
            let pair = (seed.wrapping_add(u128::from(at)) % u128::from(pairs)) as u32;
            let port = u16::try_from(first + pair * 2).unwrap_or(u16::MAX - 1);
            let address = SocketAddr::new(local.ip(), port);
            match bind(address).and_then(|rtp| Ok(Self { rtp, rtcp: bind(above(address))? })) {
                Ok(pair) => return Ok(pair),
                Err(why) if why.kind() == io::ErrorKind::AddrInUse => {}
                Err(why) => fault = why,
            }
        }
        Err(fault)
    }

    /// Where voice is received.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.rtp.local_addr()
    }
}

/// The RTCP address that belongs to an RTP address (RFC 3550 section 11).
pub fn above(rtp: SocketAddr) -> SocketAddr {
    SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1))
}

fn bind(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_tclass_v6(EXPEDITED_FORWARDING)?;
    } else {
        socket.set_tos_v4(EXPEDITED_FORWARDING)?;
    }
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&local.into())?;
    Ok(socket.into())
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
}
