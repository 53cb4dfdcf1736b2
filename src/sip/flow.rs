//! The way a message came and the only sure way back: through a NAT, over a connection that nobody else can make (RFC
//! 3581, RFC 5626). A flow is in a datagram's address's place; whether it is still there, the shell says.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// How a request came, and so how the phone behind a NAT is reached: RFC 3581's source, RFC 5626's flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Flow {
    /// Over what.
    pub transport: Transport,
    /// The address it came from, whatever it says of itself.
    pub remote: SocketAddr,
    /// The address of ours that it hit.
    pub local: SocketAddr,
}

/// What carries SIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Transport {
    /// Datagrams: a flow ends only by silence.
    Udp,
    /// A connection.
    Tcp,
    /// An encrypted connection.
    Tls,
    /// A WebSocket.
    Ws,
    /// An encrypted WebSocket.
    Wss,
}

impl Transport {
    /// As Via writes it.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// What is sent arrives, or the flow is lost: nothing is said twice.
    pub fn is_reliable(self) -> bool {
        self != Transport::Udp
    }

    /// Nobody on the way reads it.
    pub fn is_secret(self) -> bool {
        match self {
            Transport::Tls | Transport::Wss => true,
            Transport::Udp | Transport::Tcp | Transport::Ws => false,
        }
    }
}

impl Flow {
    /// Datagrams between two addresses.
    pub fn datagrams(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { transport: Transport::Udp, remote, local }
    }

    /// Where whoever is at the other end finds us over this flow's kind of way.
    pub fn contact(&self) -> String {
        let local = self.local;
        match self.transport {
            Transport::Udp => format!("<sip:{local}>"),
            Transport::Tcp => format!("<sip:{local};transport=tcp>"),
            Transport::Tls => format!("<sip:{local};transport=tls>"),
            Transport::Ws | Transport::Wss => format!("<sip:{local};transport=ws>"),
        }
    }

    /// The Via of a request of ours.
    pub fn via(&self, branch: &str) -> String {
        format!("SIP/2.0/{} {};branch={branch};rport", self.transport.name(), self.local)
    }
}
