//! The sockets one media thread polls and sends through: by port id while orders come, by slot while packets fly.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll;

use crate::domain::id::PortId;
use crate::domain::time::MonoTime;
use crate::io::gateway_socket::{GatewaySockets, above};
use crate::media::outbox::PacketKind;
use crate::media::slab::{PortSlot, Slot};

/// Open pairs of this thread.
pub struct SocketTable {
    poll: OwnedFd,
    entries: Vec<Option<Entry>>,
    entry_by_port: BTreeMap<PortId, usize>,
    entry_by_slot: Vec<Option<usize>>,
}

struct Entry {
    port: PortId,
    slot: Option<PortSlot>,
    sockets: GatewaySockets,
    connected: Option<SocketAddr>,
    /// A peer that may move is let go when it falls silent, or the kernel would never show us the new address.
    may_move: bool,
    heard: MonoTime,
}

/// Which socket a poll event means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    entry: usize,
    /// The RTCP socket.
    pub rtcp: bool,
}

/// A peer may move after this long a silence (ms) (the receiver's own rule).
const SILENCE_MS: u64 = 2000;

impl SocketTable {
    /// Polls through `poll`, which others add their own events to with data below [`SocketTable::FIRST`].
    pub fn new(poll: OwnedFd, ports: usize) -> Self {
        Self { poll, entries: Vec::new(), entry_by_port: BTreeMap::new(), entry_by_slot: vec![None; ports] }
    }

    /// Poll data below this belongs to the thread.
    pub const FIRST: u64 = 16;

    /// The poll set.
    pub fn poll(&self) -> &OwnedFd {
        &self.poll
    }

    /// What a poll event's data means.
    pub fn ready(data: u64) -> Option<Ready> {
        let number = data.checked_sub(Self::FIRST)?;
        Some(Ready { entry: (number / 2) as usize, rtcp: number % 2 == 1 })
    }

    /// The port, socket and slot behind a poll event; `None` if it was closed meanwhile or its port is not open.
    pub fn socket(&self, ready: Ready) -> Option<(PortSlot, std::os::fd::BorrowedFd<'_>)> {
        let entry = self.entries.get(ready.entry)?.as_ref()?;
        let socket = if ready.rtcp { entry.sockets.rtcp.as_fd() } else { entry.sockets.rtp.as_fd() };
        Some((entry.slot?, socket))
    }

    /// Something arrived there.
    pub fn heard(&mut self, ready: Ready, now: MonoTime) {
        if let Some(Some(entry)) = self.entries.get_mut(ready.entry) {
            entry.heard = now;
        }
    }

    /// Takes a port's sockets in, replacing older ones.
    pub fn open(&mut self, port: PortId, sockets: GatewaySockets, may_move: bool) -> io::Result<()> {
        self.close(port);
        let at = self.entries.iter().position(Option::is_none).unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        for (socket, rtcp) in [(&sockets.rtp, 0), (&sockets.rtcp, 1)] {
            let data = epoll::EventData::new_u64(Self::FIRST + at as u64 * 2 + rtcp);
            epoll::add(&self.poll, socket, data, epoll::EventFlags::IN)?;
        }
        let heard = MonoTime::default();
        self.entries[at] = Some(Entry { port, slot: None, sockets, connected: None, may_move, heard });
        self.entry_by_port.insert(port, at);
        Ok(())
    }

    /// Closes a port's sockets.
    pub fn close(&mut self, port: PortId) {
        let Some(at) = self.entry_by_port.remove(&port) else { return };
        if let Some(entry) = self.entries[at].take() {
            self.entry_by_slot.iter_mut().filter(|held| **held == Some(at)).for_each(|held| *held = None);
            // Dropping the sockets removes them from the poll set.
            drop(entry);
        }
    }

    /// Closes every port that `keep` does not name.
    pub fn retain(&mut self, keep: impl Fn(PortId) -> bool) {
        let gone: Vec<PortId> = self.entry_by_port.keys().copied().filter(|port| !keep(*port)).collect();
        gone.into_iter().for_each(|port| self.close(port));
    }

    /// Looks every port's slot up again; after each change of the shard's ports.
    pub fn resolve(&mut self, slot_of: impl Fn(PortId) -> Option<PortSlot>) {
        self.entry_by_slot.fill(None);
        for (at, entry) in self.entries.iter_mut().enumerate() {
            let Some(entry) = entry else { continue };
            entry.slot = slot_of(entry.port);
            if let Some(slot) = entry.slot
                && let Some(held) = self.entry_by_slot.get_mut(slot.index())
            {
                *held = Some(at);
            }
        }
    }

    /// The peer is known: later sends skip the address lookup.
    pub fn connect(&mut self, slot: PortSlot, peer: SocketAddr) {
        let Some(entry) = self.entry_mut(slot) else { return };
        // A refused connect leaves the socket as it was; sends then name the address.
        entry.connected = entry.sockets.rtp.connect(peer).ok().map(|()| peer);
        if entry.connected.is_some() && entry.sockets.rtcp.connect(above(peer)).is_err() {
            entry.connected = None;
        }
    }

    /// Lets silent peers that may move go; once a second is enough.
    pub fn release_silent(&mut self, now: MonoTime) {
        for entry in self.entries.iter_mut().flatten() {
            if entry.may_move && entry.connected.is_some() && now.ms_since(entry.heard) > SILENCE_MS {
                let rtp = rustix::net::connect_unspec(&entry.sockets.rtp);
                let rtcp = rustix::net::connect_unspec(&entry.sockets.rtcp);
                if rtp.is_ok() && rtcp.is_ok() {
                    entry.connected = None;
                }
            }
        }
    }

    /// Sends one packet; `None` if the port has no socket.
    pub fn send(&self, slot: PortSlot, to: SocketAddr, kind: PacketKind, bytes: &[u8]) -> Option<io::Result<usize>> {
        let at = (*self.entry_by_slot.get(slot.index())?)?;
        let entry = self.entries[at].as_ref()?;
        let (socket, to) = match kind {
            PacketKind::Rtp => (&entry.sockets.rtp, to),
            PacketKind::Rtcp => (&entry.sockets.rtcp, above(to)),
        };
        let connected = entry.connected.is_some_and(|peer| match kind {
            PacketKind::Rtp => peer == to,
            PacketKind::Rtcp => above(peer) == to,
        });
        Some(if connected { socket.send(bytes) } else { socket.send_to(bytes, to) })
    }

    fn entry_mut(&mut self, slot: PortSlot) -> Option<&mut Entry> {
        let at = (*self.entry_by_slot.get(slot.index())?)?;
        self.entries[at].as_mut()
    }
}
