//! The sockets one media thread polls and sends through: by port id while orders come, by slot while packets fly. A call
//! that is encrypted has its shield beside its sockets: what it sends is sealed last of all, once for each listener.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::epoll;

use crate::domain::id::PortId;
use crate::io::gateway_socket::{GatewaySockets, Which};
use crate::media::outbox::{PACKET_LENGTH_MAX, PacketKind};
use crate::media::slab::{PortSlot, Slot};
use crate::wire::srtp::{GROWTH_BYTES_MAX, Opener, Shield};

/// Open pairs of this thread.
pub struct SocketTable {
    poll: OwnedFd,
    entries: Vec<Option<Entry>>,
    entry_by_port: BTreeMap<PortId, usize>,
    entry_by_slot: Vec<Option<usize>>,
    /// Closed since the last flush: what their ports said last still leaves through them.
    closed: Vec<Entry>,
    /// Where a packet is sealed.
    room: Box<[u8; PACKET_LENGTH_MAX + GROWTH_BYTES_MAX]>,
}

struct Entry {
    port: PortId,
    slot: Option<PortSlot>,
    sockets: GatewaySockets,
    shield: Option<Box<Shield>>,
}

/// What became of a packet that was to leave.
#[derive(Debug)]
pub enum Sent {
    /// The kernel took it, or said why not.
    Tried(io::Result<usize>),
    /// It could not be sealed and does not leave.
    NotSealed,
    /// Its port has no socket.
    NoSocket,
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
            room: Box::new([0; PACKET_LENGTH_MAX + GROWTH_BYTES_MAX]),
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
        let slot = self.entries.get(ready.entry)?.as_ref()?.slot?;
        Some((slot, self.socket_at(ready.entry, ready.which)?))
    }

    /// What opens a port's packets, if its call is encrypted.
    pub fn opener(&mut self, ready: Ready) -> Option<&mut Opener> {
        let entry = self.entries.get_mut(ready.entry)?.as_mut()?;
        entry.shield.as_mut().map(|shield| &mut shield.opener)
    }

    /// Takes a port's sockets in, replacing older ones; they are polled from when it is resolved. With a shield its
    /// packets are encrypted from the first.
    pub fn open(&mut self, port: PortId, sockets: GatewaySockets, shield: Option<Box<Shield>>) {
        self.close(port);
        let at = self.entries.iter().position(Option::is_none).unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        self.entries[at] = Some(Entry { port, slot: None, sockets, shield });
        self.entry_by_port.insert(port, at);
    }

    /// Other keys for an open port, or none; its slot, if what it sends is now another stream.
    pub fn shield(&mut self, port: PortId, next: Option<Box<Shield>>) -> Option<PortSlot> {
        let entry = self.entry_by_port.get(&port).and_then(|at| self.entries[*at].as_mut())?;
        let is_new = match (&mut entry.shield, next) {
            (Some(shield), Some(next)) => shield.renew(*next),
            (held, next) => {
                let is_new = held.is_some() || next.is_some();
                *held = next;
                is_new
            }
        };
        entry.slot.filter(|_| is_new)
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

    /// Looks every port's slot up again; after each change of the shard's ports. Sockets are polled while their port has
    /// one: what nobody reads would wake the thread without end, and what comes meanwhile waits in the kernel. Ports whose
    /// sockets cannot be polled are told to `faulty`.
    pub fn resolve(&mut self, slot_of: impl Fn(PortId) -> Option<PortSlot>, mut faulty: impl FnMut(PortId, io::Error)) {
        self.entry_by_slot.fill(None);
        for at in 0..self.entries.len() {
            let Some(entry) = self.entries[at].as_mut() else { continue };
            let was = std::mem::replace(&mut entry.slot, slot_of(entry.port));
            let (slot, port) = (entry.slot, entry.port);
            if let Some(held) = slot.and_then(|slot| self.entry_by_slot.get_mut(slot.index())) {
                *held = Some(at);
            }
            let polled = match (was, slot) {
                (None, Some(_)) => SOCKETS.iter().try_for_each(|which| self.watch(at, *which)),
                (Some(_), None) => SOCKETS.iter().try_for_each(|which| self.ignore(at, *which)),
                (None, None) | (Some(_), Some(_)) => Ok(()),
            };
            if let Err(fault) = polled {
                faulty(port, fault);
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
        self.watch(at, Which::Line)
    }

    /// Sends one packet, sealed if its call is encrypted.
    pub fn send(&mut self, slot: PortSlot, to: SocketAddr, kind: PacketKind, bytes: &[u8]) -> Sent {
        let is_its = |entry: &&mut Entry| entry.slot == Some(slot);
        let at = self.entry_by_slot.get(slot.index()).copied().flatten();
        let open = at.and_then(|at| self.entries[at].as_mut()).filter(is_its);
        let Some(entry) = open.or_else(|| self.closed.iter_mut().find(is_its)) else { return Sent::NoSocket };
        let bytes = match &mut entry.shield {
            None => bytes,
            Some(shield) => {
                let Some(room) = self.room.get_mut(..bytes.len()) else { return Sent::NotSealed };
                room.copy_from_slice(bytes);
                let sealed = match kind {
                    PacketKind::Rtp => shield.sealer.seal_rtp(&mut self.room[..], bytes.len()),
                    PacketKind::Rtcp => shield.sealer.seal_rtcp(&mut self.room[..], bytes.len()),
                };
                match sealed {
                    Ok(length) => &self.room[..length],
                    Err(_) => return Sent::NotSealed,
                }
            }
        };
        Sent::Tried(match kind {
            PacketKind::Rtp => entry.sockets.send_voice(to, bytes),
            PacketKind::Rtcp => entry.sockets.send_report(to, bytes),
        })
    }

    fn watch(&self, at: usize, which: Which) -> io::Result<()> {
        let Some(socket) = self.socket_at(at, which) else { return Ok(()) };
        let number = at * SOCKETS.len() + which as usize;
        let data = epoll::EventData::new_u64(Self::FIRST + number as u64);
        Ok(epoll::add(&self.poll, socket, data, epoll::EventFlags::IN)?)
    }

    fn ignore(&self, at: usize, which: Which) -> io::Result<()> {
        let Some(socket) = self.socket_at(at, which) else { return Ok(()) };
        Ok(epoll::delete(&self.poll, socket)?)
    }

    fn socket_at(&self, at: usize, which: Which) -> Option<BorrowedFd<'_>> {
        self.entries.get(at)?.as_ref()?.sockets.socket(which)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> GatewaySockets {
        GatewaySockets::open("127.0.0.77:0".parse().unwrap(), (21_000, 21_999), 9).unwrap()
    }

    /// What the poll set says without waiting.
    fn polled(table: &SocketTable) -> Vec<Ready> {
        let mut events = [std::mem::MaybeUninit::<epoll::Event>::uninit(); 4];
        let at_once = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        let (ready, _) = epoll::wait(table.poll(), &mut events, Some(&at_once)).unwrap();
        ready.iter().filter_map(|event| SocketTable::ready(event.data.u64())).collect()
    }

    #[test]
    fn what_comes_for_a_port_without_a_slot_wakes_nobody_and_waits_until_it_has_one() {
        let far = std::net::UdpSocket::bind("127.0.0.77:0").unwrap();
        let mut table = SocketTable::new(epoll::create(epoll::CreateFlags::CLOEXEC).unwrap(), 4);
        let sockets = open();
        let input = sockets.local().unwrap();
        let slot = PortSlot::new(0, 0);
        table.open(PortId(1), sockets, None);
        for refused in [false, true] {
            // Opened for a port the shard has not taken, then lost with a shard that is gone.
            if refused {
                table.resolve(|_| None, |port, fault| panic!("{port}: {fault}"));
            }
            far.send_to(&[u8::from(refused)], input).unwrap();
            assert_eq!(polled(&table), [], "nobody reads it");
            table.resolve(|_| Some(slot), |port, fault| panic!("{port}: {fault}"));
            let ready = polled(&table);
            assert_eq!(ready.len(), 1, "it waited");
            let (of, socket) = table.socket(ready[0]).unwrap();
            let mut byte = [9];
            let (length, _) = rustix::net::recv(socket, &mut byte, rustix::net::RecvFlags::empty()).unwrap();
            assert_eq!((of, length, byte), (slot, 1, [u8::from(refused)]));
        }
    }

    #[test]
    fn what_a_port_says_last_leaves_through_its_sockets_and_nothing_later_does() {
        let far = std::net::UdpSocket::bind("127.0.0.77:0").unwrap();
        let to = far.local_addr().unwrap();
        let mut table = SocketTable::new(epoll::create(epoll::CreateFlags::CLOEXEC).unwrap(), 4);
        let (first, second) = (PortSlot::new(0, 0), PortSlot::new(0, 1));
        table.open(PortId(1), open(), None);
        table.resolve(|port| (port == PortId(1)).then_some(first), |port, fault| panic!("{port}: {fault}"));
        // Another port takes its place in the same round.
        table.close(PortId(1));
        table.open(PortId(2), open(), None);
        table.resolve(|port| (port == PortId(2)).then_some(second), |port, fault| panic!("{port}: {fault}"));
        let send = |table: &mut SocketTable, slot, byte: u8| table.send(slot, to, PacketKind::Rtp, &[byte]);
        assert!(matches!(send(&mut table, first, 1), Sent::Tried(Ok(1))));
        assert!(matches!(send(&mut table, second, 2), Sent::Tried(Ok(1))));
        table.forget_closed();
        assert!(matches!(send(&mut table, first, 3), Sent::NoSocket), "it left through another's socket");
        let mut byte = [0];
        let heard: Vec<_> = (0..2).map(|_| (far.recv_from(&mut byte).unwrap().1, byte[0])).collect();
        assert_eq!([heard[0].1, heard[1].1], [1, 2]);
        assert_ne!(heard[0].0, heard[1].0, "each through its own socket");
    }
}
