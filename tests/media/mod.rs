//! A shard or two on a virtual clock: ports that talk, ports that hear, orders, and what the outbox let out. Public
//! interface only.

#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its part; what is not as expected has failed")]

pub mod sound;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crosspatch::domain::audio::{Codec, Format, Gain};
use crosspatch::domain::floor::{BurstEnd, FloorMode, FloorPolicy, Priority};
use crosspatch::domain::id::{AgencyKey, BurstId, GroupId, LegId, LinkId, PatchId, PortId};
use crosspatch::domain::order::{GroupSpec, LegSpec, Order, OrderBatch, PatchSpec, RouteTable, RouteVersion};
use crosspatch::domain::port::{
    ExtensionIds, GrantSign, Overlap, Pacing, PayloadType, PeerRule, PortRole, PortSpec, ReceiveKeying, ReceiveSpec,
    ShardId, TransmitKeying, TransmitSpec,
};
use crosspatch::domain::report::{PortOutcome, Report};
use crosspatch::domain::talker::Alias;
use crosspatch::domain::time::MonoTime;
use crosspatch::media::discard::Counters;
use crosspatch::media::limits::ShardLimits;
use crosspatch::media::outbox::{Outbox, PacketKind};
use crosspatch::media::shard::Shard;
use crosspatch::wire::rtp::{RtpHeader, RtpPacket};
use crosspatch::wire::rtp_extension::{DEFAULT_IDS, Elements};

/// A packet that reached a port.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrived {
    pub at_ms: u64,
    pub header: RtpHeader,
    pub elements: Elements,
    pub payload: Vec<u8>,
}

/// Shards, their clock and all that came out of them.
pub struct Bench {
    pub shards: Vec<Shard>,
    pub now: MonoTime,
    pub reports: Vec<Report>,
    heard: BTreeMap<u128, Vec<Arrived>>,
    rtcp: BTreeMap<u128, Vec<(MonoTime, Vec<u8>)>>,
    rings: VecDeque<(ShardId, ShardId, Vec<u8>)>,
    ports: BTreeMap<u128, (ShardId, SocketAddr)>,
    talkers: BTreeMap<u128, Talker>,
    version: u64,
    outs: Vec<Outbox>,
}

struct Talker {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    format: Format,
    payload_type: u8,
    address: SocketAddr,
}

pub fn port_id(number: u128) -> PortId {
    PortId(number)
}

/// A telephone: full duplex, mixes, no hold.
pub fn phone(number: u128, codec: Codec) -> PortSpec {
    let format = Format::usual(codec);
    PortSpec {
        port: PortId(number),
        home: ShardId(0),
        agency: AgencyKey(1),
        role: PortRole::Phone,
        group: None,
        rf_channel: None,
        peer: PeerRule::Static(address_of(number)),
        payloads: vec![PayloadType { number: payload_type(codec), format }],
        events: Some(101),
        extension: DEFAULT_IDS,
        receive: ReceiveSpec {
            keying: ReceiveKeying::Presence,
            end_ms: 300,
            tail_ms: 0,
            inhibit_after_transmit_ms: 0,
            burst_min_ms: 0,
            talk_limit_ms: 60_000,
        },
        transmit: TransmitSpec {
            keying: TransmitKeying::Presence,
            grant: GrantSign::Immediate,
            overlap: Overlap::Mix,
            pacing: Pacing::Immediate,
            hold_max_ms: 0,
            tail_ms: 0,
            talk_limit_ms: 60_000,
            far_timeout_ms: None,
            half_duplex: false,
        },
        trim: Gain::UNITY,
        level: false,
        alias: Alias::new("phone"),
        packets_per_second_max: 200,
        silence_max_ms: Some(16_000),
    }
}

/// A radio channel: half duplex, one voice, holds.
pub fn radio(number: u128, codec: Codec) -> PortSpec {
    let phone = phone(number, codec);
    PortSpec {
        role: PortRole::Radio,
        group: Some(GroupId(1000 + number)),
        receive: ReceiveSpec { inhibit_after_transmit_ms: 250, ..phone.receive },
        transmit: TransmitSpec { overlap: Overlap::One, hold_max_ms: 2_500, half_duplex: true, ..phone.transmit },
        alias: Alias::new("radio"),
        ..phone
    }
}

pub fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::L16 => 97,
        Codec::Opus => 111,
    }
}

pub fn address_of(number: u128) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 10_000 + number as u16))
}

pub fn patch(number: u128) -> PatchSpec {
    PatchSpec { patch: PatchId(number), home: ShardId(0), host: AgencyKey(1), floor: policy() }
}

pub fn policy() -> FloorPolicy {
    FloorPolicy { mode: FloorMode::Ptt, holders_max: 3, queue_max: 0, hang_ms: 500, talk_limit_ms: 60_000 }
}

/// A port's leg in a patch: hears and talks, everybody in its audience.
pub fn leg(patch: u128, port: &PortSpec) -> LegSpec {
    LegSpec {
        leg: LegId(patch * 10_000 + port.port.0),
        link: LinkId(patch * 10_000 + port.group.map_or(port.port.0, |group| group.0)),
        patch: PatchId(patch),
        port: port.port,
        port_home: port.home,
        group: port.group,
        agency: port.agency,
        role: port.role,
        trim: port.trim,
        hears: true,
        talks: true,
        gain: Gain::UNITY,
        priority: Priority(5),
        party: (port.port.0 % 64) as u8,
        audience: u64::MAX,
    }
}

impl Bench {
    pub fn new() -> Self {
        Self::with_shards(1, &ShardLimits::small())
    }

    pub fn with_shards(count: u8, limits: &ShardLimits) -> Self {
        Self {
            shards: (0..count).map(|id| Shard::new(ShardId(id), limits, 7 + u64::from(id))).collect(),
            outs: (0..count).map(|_| Outbox::new(limits)).collect(),
            now: MonoTime::from_millis(1_000),
            reports: Vec::new(),
            heard: BTreeMap::new(),
            rtcp: BTreeMap::new(),
            rings: VecDeque::new(),
            ports: BTreeMap::new(),
            talkers: BTreeMap::new(),
            version: 0,
        }
    }

    /// Ports in one patch, all of them talking and hearing.
    pub fn patched(ports: &[PortSpec]) -> Self {
        let mut bench = Self::new();
        bench.open(ports);
        bench.order(
            std::iter::once(Order::OpenPatch(patch(1))).chain(ports.iter().map(|port| Order::Join(leg(1, port)))),
        );
        bench
    }

    pub fn open(&mut self, ports: &[PortSpec]) {
        for port in ports {
            let PeerRule::Static(address) = port.peer else {
                self.ports.insert(port.port.0, (port.home, address_of(port.port.0)));
                self.order([Order::OpenPort(port.clone())]);
                self.add_talker(port, address_of(port.port.0));
                continue;
            };
            self.ports.insert(port.port.0, (port.home, address));
            self.order([Order::OpenPort(port.clone())]);
            self.add_talker(port, address);
        }
    }

    fn add_talker(&mut self, port: &PortSpec, address: SocketAddr) {
        let number = port.port.0;
        let payload = port.payloads[0];
        let talker = Talker {
            ssrc: 0xa000_0000 + number as u32,
            sequence: 100,
            timestamp: 5_000,
            format: payload.format,
            payload_type: payload.number,
            address,
        };
        self.talkers.insert(number, talker);
    }

    /// To every shard at once.
    pub fn order(&mut self, orders: impl IntoIterator<Item = Order>) {
        self.version += 1;
        let batch = OrderBatch { version: RouteVersion(self.version), orders: orders.into_iter().collect() };
        for at in 0..self.shards.len() {
            self.shards[at].handle_orders(&batch, self.now, &mut self.outs[at]);
        }
        self.flush();
    }

    /// One packet of this port's talker, 20 ms on in its stream; not flushed.
    pub fn talk_unflushed(&mut self, port: u128, payload: &[u8]) {
        self.talk_with(port, payload, Elements::default());
    }

    pub fn talk_with(&mut self, port: u128, payload: &[u8], elements: Elements) {
        let talker = self.talkers.get_mut(&port).expect("an open port");
        let header = RtpHeader {
            payload_type: talker.payload_type,
            marker: false,
            sequence: talker.sequence,
            timestamp: talker.timestamp,
            ssrc: talker.ssrc,
        };
        talker.sequence = talker.sequence.wrapping_add(1);
        talker.timestamp = talker.timestamp.wrapping_add(talker.format.ticks_per_packet());
        let address = talker.address;
        self.send(port, address, &header, payload, &elements);
    }

    /// A packet as it is, from wherever.
    pub fn send(&mut self, port: u128, from: SocketAddr, header: &RtpHeader, payload: &[u8], elements: &Elements) {
        let mut extension = [0; 24];
        let length = elements.write(&DEFAULT_IDS, &mut extension).expect("elements fit");
        let mut packet = [0; 1500];
        let length = header.write_packet(&extension[..length], payload, &mut packet).expect("the packet fits");
        let shard = usize::from(self.ports[&port].0.0);
        let slot = self.shards[shard].slot_of(PortId(port)).expect("an open port");
        self.shards[shard].handle_packet(slot, from, &packet[..length], self.now, &mut self.outs[shard]);
    }

    /// Whatever else the first shard can do, and what leaves because of it.
    pub fn with(&mut self, work: impl FnOnce(&mut Shard, &mut Outbox)) {
        work(&mut self.shards[0], &mut self.outs[0]);
        self.flush();
    }

    pub fn talk(&mut self, port: u128, payload: &[u8]) {
        self.talk_unflushed(port, payload);
        self.flush();
    }

    /// The talker's stream as the next packet would show it.
    pub fn next_header(&self, port: u128) -> RtpHeader {
        let talker = &self.talkers[&port];
        RtpHeader {
            payload_type: talker.payload_type,
            marker: false,
            sequence: talker.sequence,
            timestamp: talker.timestamp,
            ssrc: talker.ssrc,
        }
    }

    /// The next packets were lost on their way here.
    pub fn lose(&mut self, port: u128, packets: u16) {
        let talker = self.talkers.get_mut(&port).expect("an open port");
        talker.sequence = talker.sequence.wrapping_add(packets);
        talker.timestamp = talker.timestamp.wrapping_add(talker.format.ticks_per_packet() * u32::from(packets));
    }

    pub fn set_ssrc(&mut self, port: u128, ssrc: u32) {
        self.talkers.get_mut(&port).expect("an open port").ssrc = ssrc;
    }

    /// 20 ms pass.
    pub fn tick(&mut self) {
        self.tick_unflushed();
        self.flush();
    }

    pub fn tick_unflushed(&mut self) {
        self.now = self.now.plus_ms(20);
        for at in 0..self.shards.len() {
            self.shards[at].tick(self.now, &mut self.outs[at]);
        }
    }

    /// What waits leaves; frames for other shards come back to be delivered by hand.
    pub fn flush_packets(&mut self) -> Vec<(ShardId, ShardId, Vec<u8>)> {
        for at in 0..self.shards.len() {
            self.collect(at);
        }
        self.rings.drain(..).collect()
    }

    pub fn deliver(&mut self, (from, to, frame): &(ShardId, ShardId, Vec<u8>)) {
        let at = usize::from(to.0);
        self.shards[at].handle_trunk(*from, frame, self.now, &mut self.outs[at]);
    }

    pub fn pass_ms(&mut self, ms: u64) {
        for _ in 0..ms / 20 {
            self.tick();
        }
    }

    /// So many packets of 20 ms, each in its tick.
    pub fn talk_for(&mut self, port: u128, packets: usize, payload: impl Fn(usize) -> Vec<u8>) {
        for at in 0..packets {
            self.talk(port, &payload(at));
            self.tick();
        }
    }

    /// What waits leaves: packets to the ports, frames through the rings until all are quiet.
    pub fn flush(&mut self) {
        loop {
            for at in 0..self.shards.len() {
                self.collect(at);
            }
            let Some((from, to, frame)) = self.rings.pop_front() else { break };
            let at = usize::from(to.0);
            self.shards[at].handle_trunk(from, &frame, self.now, &mut self.outs[at]);
        }
    }

    fn collect(&mut self, at: usize) {
        let shard = &self.shards[at];
        let out = &mut self.outs[at];
        for departure in out.packets() {
            let number = self.ports.iter().find(|(number, (home, _))| {
                usize::from(home.0) == at && shard.slot_of(PortId(**number)) == Some(departure.port)
            });
            let Some((number, _)) = number else { continue };
            if departure.kind == PacketKind::Rtcp {
                self.rtcp.entry(*number).or_default().push((self.now, departure.bytes.to_vec()));
                continue;
            }
            let packet = RtpPacket::parse(departure.bytes).expect("we send RTP");
            let ids: ExtensionIds = DEFAULT_IDS;
            self.heard.entry(*number).or_default().push(Arrived {
                at_ms: self.now.as_millis(),
                header: packet.header,
                elements: Elements::read(packet.extension, &ids),
                payload: packet.payload.to_vec(),
            });
        }
        for (to, frame) in out.trunk_frames() {
            self.rings.push_back((ShardId(at as u8), to, frame.to_vec()));
        }
        self.reports.extend(out.drain_reports());
        out.clear();
    }

    /// Everything a port was sent.
    pub fn heard(&self, port: u128) -> &[Arrived] {
        self.heard.get(&port).map_or(&[], Vec::as_slice)
    }

    pub fn payloads(&self, port: u128) -> Vec<Vec<u8>> {
        self.heard(port).iter().map(|packet| packet.payload.clone()).collect()
    }

    /// The first byte of each payload: short enough to be read when a test fails.
    pub fn heads(&self, port: u128) -> Vec<u8> {
        self.heard(port).iter().map(|packet| packet.payload[0]).collect()
    }

    /// Every report that a port was sent, and when.
    pub fn reports_to(&self, port: u128) -> &[(MonoTime, Vec<u8>)] {
        self.rtcp.get(&port).map_or(&[], Vec::as_slice)
    }

    /// RTCP from wherever; not flushed.
    pub fn report_unflushed(&mut self, port: u128, from: SocketAddr, packet: &[u8]) {
        let shard = usize::from(self.ports[&port].0.0);
        let slot = self.shards[shard].slot_of(PortId(port)).expect("an open port");
        self.shards[shard].handle_rtcp(slot, from, packet, self.now);
    }

    pub fn forget(&mut self) {
        self.heard.clear();
        self.reports.clear();
    }

    pub fn counters(&self) -> &Counters {
        self.shards[0].counters()
    }

    pub fn out(&mut self, shard: usize) -> &mut Outbox {
        &mut self.outs[shard]
    }

    /// Bursts that got a floor, in order.
    pub fn started(&self) -> Vec<(BurstId, PatchId, PortId)> {
        let started = |report: &Report| {
            if let Report::BurstStarted { burst, patch, port, .. } = report {
                Some((*burst, *patch, *port))
            } else {
                None
            }
        };
        self.reports.iter().filter_map(started).collect()
    }

    pub fn ended(&self) -> Vec<(BurstId, PatchId, BurstEnd)> {
        let ended = |report: &Report| {
            if let Report::BurstEnded { burst, patch, cause, .. } = report {
                Some((*burst, *patch, *cause))
            } else {
                None
            }
        };
        self.reports.iter().filter_map(ended).collect()
    }

    pub fn outcomes(&self) -> Vec<(BurstId, PortOutcome)> {
        let outcome = |report: &Report| {
            if let Report::BurstHeard { burst, outcome } = report { Some((*burst, *outcome)) } else { None }
        };
        self.reports.iter().filter_map(outcome).collect()
    }

    pub fn outcome_of(&self, port: u128) -> Option<PortOutcome> {
        self.outcomes().into_iter().map(|(_, outcome)| outcome).find(|outcome| outcome.port == PortId(port))
    }
}

/// A loud payload (in mu-law) that says which packet it is.
pub fn numbered(at: usize) -> Vec<u8> {
    let mut payload = vec![0x20 + (at % 16) as u8; 160];
    payload[0] = at as u8;
    payload
}

pub fn group(group: u128, transmit: &[u128]) -> Order {
    Order::SetGroup(GroupSpec { group: GroupId(group), transmit: transmit.iter().copied().map(PortId).collect() })
}

pub fn table(ports: &[PortSpec], patches: &[PatchSpec], legs: &[LegSpec]) -> RouteTable {
    RouteTable { ports: ports.to_vec(), patches: patches.to_vec(), legs: legs.to_vec(), ..RouteTable::default() }
}
