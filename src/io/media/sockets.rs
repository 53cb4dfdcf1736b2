//! The sockets one media thread polls and sends through: by port id while orders come, by slot while packets fly.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::epoll;

use crate::domain::id::PortId;
use crate::io::gateway_socket::{GatewaySockets, Which};
use crate::media::outbox::PacketKind;
use crate::media::slab::{PortSlot, Slot};

/// Open pairs of this thread.
pub struct SocketTable {
    poll: OwnedFd,
    entries: Vec<Option<Entry>>,
    entry_by_port: BTreeMap<PortId, usize>,
    entry_by_slot: Vec<Option<usize>>,
    /// Closed since the last flush: what their ports said last still leaves through them.
    closed: Vec<Entry>,
}

struct Entry {
    port: PortId,
    slot: Option<PortSlot>,
    sockets: GatewaySockets,
}

/// Which socket a poll event means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    entry: usize,
    /// Which of its port's sockets.
    pub which: Which,
}

/// In the order of their numbers in poll data.
const SOCKETS: [Which; 3] = [Which::Rtp, Which::Rtcp, Which::Line];

impl SocketTable {
    /// Polls through `poll`, which others add their own events to with data below [`SocketTable::FIRST`].
    pub fn new(poll: OwnedFd, ports: usize) -> Self {
        Self {
            poll,
            entries: Vec::new(),
            entry_by_port: BTreeMap::new(),
            entry_by_slot: vec![None; ports],
            closed: Vec::new(),
        }
    }

    /// Poll data below this belongs to the thread.
    pub const FIRST: u64 = 16;

    /// The poll set.
    pub fn poll(&self) -> &OwnedFd {
        &self.poll
    }

    /// What a poll event's data means.
    pub fn ready(data: u64) -> Option<Ready> {
        let number = data.checked_sub(Self::FIRST)? as usize;
        Some(Ready { entry: number / SOCKETS.len(), which: SOCKETS[number % SOCKETS.len()] })
    }

    /// The port, socket and slot behind a poll event; `None` if it was closed meanwhile or its port is not open.
    pub fn socket(&self, ready: Ready) -> Option<(PortSlot, BorrowedFd<'_>)> {
        let entry = self.entries.get(ready.entry)?.as_ref()?;
        Some((entry.slot?, entry.sockets.socket(ready.which)?))
    }

    /// Takes a port's sockets in, replacing older ones.
    pub fn open(&mut self, port: PortId, sockets: GatewaySockets) -> io::Result<()> {
        self.close(port);
        let at = self.entries.iter().position(Option::is_none).unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        for which in SOCKETS {
            self.watch(at, &sockets, which)?;
        }
        self.entries[at] = Some(Entry { port, slot: None, sockets });
        self.entry_by_port.insert(port, at);
        Ok(())
    }

    /// Closes a port's sockets; what it says last may leave until [`SocketTable::forget_closed`].
    pub fn close(&mut self, port: PortId) {
        let Some(at) = self.entry_by_port.remove(&port) else { return };
        if let Some(entry) = self.entries[at].take() {
            self.entry_by_slot.iter_mut().filter(|held| **held == Some(at)).for_each(|held| *held = None);
            self.closed.push(entry);
        }
    }

    /// After a flush. Dropping the sockets removes them from the poll set.
    pub fn forget_closed(&mut self) {
        self.closed.clear();
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

    /// The peer is known: it gets a line of its own.
    pub fn connect(&mut self, slot: PortSlot, peer: SocketAddr) -> io::Result<()> {
        let Some(Some(at)) = self.entry_by_slot.get(slot.index()).copied() else { return Ok(()) };
        let Some(entry) = self.entries[at].as_mut() else { return Ok(()) };
        if !entry.sockets.connect(peer)? {
            return Ok(());
        }
        let Some(entry) = self.entries[at].as_ref() else { return Ok(()) };
        self.watch(at, &entry.sockets, Which::Line)
    }

    /// Sends one packet; `None` if the port has no socket.
    pub fn send(&self, slot: PortSlot, to: SocketAddr, kind: PacketKind, bytes: &[u8]) -> Option<io::Result<usize>> {
        let open = self.entry_by_slot.get(slot.index()).copied().flatten().and_then(|at| self.entries[at].as_ref());
        let entry = open.into_iter().chain(&self.closed).find(|entry| entry.slot == Some(slot))?;
        Some(match kind {
            PacketKind::Rtp => entry.sockets.send_voice(to, bytes),
            PacketKind::Rtcp => entry.sockets.send_report(to, bytes),
        })
    }

    fn watch(&self, at: usize, sockets: &GatewaySockets, which: Which) -> io::Result<()> {
        let Some(socket) = sockets.socket(which) else { return Ok(()) };
        let number = at * SOCKETS.len() + which as usize;
        let data = epoll::EventData::new_u64(Self::FIRST + number as u64);
        Ok(epoll::add(&self.poll, socket, data, epoll::EventFlags::IN)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_port_says_last_leaves_through_its_sockets_and_nothing_later_does() {
        let open = || GatewaySockets::open("127.0.0.77:0".parse().unwrap(), (21_000, 21_999), 9).unwrap();
        let far = std::net::UdpSocket::bind("127.0.0.77:0").unwrap();
        let to = far.local_addr().unwrap();
        let mut table = SocketTable::new(epoll::create(epoll::CreateFlags::CLOEXEC).unwrap(), 4);
        let (first, second) = (PortSlot::new(0, 0), PortSlot::new(0, 1));
        table.open(PortId(1), open()).unwrap();
        table.resolve(|port| (port == PortId(1)).then_some(first));
        // Another port takes its place in the same round.
        table.close(PortId(1));
        table.open(PortId(2), open()).unwrap();
        table.resolve(|port| (port == PortId(2)).then_some(second));
        let send = |table: &SocketTable, slot, byte: u8| table.send(slot, to, PacketKind::Rtp, &[byte]);
        assert!(matches!(send(&table, first, 1), Some(Ok(1))) && matches!(send(&table, second, 2), Some(Ok(1))));
        table.forget_closed();
        assert!(send(&table, first, 3).is_none(), "a packet of a closed port left through another's socket");
        let mut byte = [0];
        let heard: Vec<_> = (0..2).map(|_| (far.recv_from(&mut byte).unwrap().1, byte[0])).collect();
        assert_eq!([heard[0].1, heard[1].1], [1, 2]);
        assert_ne!(heard[0].0, heard[1].0, "each through its own socket");
    }
}
