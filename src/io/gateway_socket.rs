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
    /// Binds `local` and the port above it; port 0 looks for a free even pair.
    pub fn open(local: SocketAddr) -> io::Result<Self> {
        if local.port() != 0 {
            return Ok(Self { rtp: bind(local)?, rtcp: bind(above(local))? });
        }
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..PAIR_TRIES {
            let rtp = bind(local)?;
            let bound = rtp.local_addr()?;
            if bound.port() % 2 == 1 {
                continue;
            }
            match bind(above(bound)) {
                Ok(rtcp) => return Ok(Self { rtp, rtcp }),
                Err(fault) => last = fault,
            }
        }
        Err(last)
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
/// Half of all free ports are even; a neighbour is rarely taken.
const PAIR_TRIES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_even_and_odd_and_neighbours() {
        let pair = GatewaySockets::open("127.0.0.1:0".parse().unwrap()).unwrap();
        let (rtp, rtcp) = (pair.local().unwrap(), pair.rtcp.local_addr().unwrap());
        assert_eq!((rtp.port() % 2, rtcp.port()), (0, rtp.port() + 1));
        assert!(GatewaySockets::open(rtp).is_err(), "a taken port is refused");
    }
}
