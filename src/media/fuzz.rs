//! What must hold for any packets, frames, orders and ticks in any order: one shard under a script of bytes, run by the
//! seeded mutator in `tests/fuzz_media.rs` and by cargo-fuzz, never by the daemon.
//!
//! A script is steps of four bytes: what, which, and two arguments; a raw packet has its bytes behind it. The shard is
//! small, so that every limit is met.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::domain::audio::{Codec, Format, Gain};
use crate::domain::floor::{BurstEnd, FloorMode, FloorPolicy, Priority};
use crate::domain::id::{AgencyKey, BurstId, GroupId, LegId, LinkId, NodeId, PatchId, PortId};
use crate::domain::order::{LegSpec, Order, OrderBatch, PatchSpec, RouteTable, RouteVersion};
use crate::domain::port::{
    ExtensionIds, GrantSign, Overlap, Pacing, PayloadType, PeerRule, PortRole, PortSpec, ReceiveKeying, ReceiveSpec,
    ShardId, TransmitKeying, TransmitSpec,
};
use crate::domain::talker::Alias;
use crate::domain::time::MonoTime;
use crate::wire::rtp::{RtpHeader, RtpPacket};
use crate::wire::rtp_extension::DEFAULT_IDS;
use crate::wire::trunk::{FRAME_BYTES_MAX, Speech, TrunkFrame, TrunkMessage};

use super::codec::{Decoder, PACKET_SAMPLES_MAX};
use super::limits::ShardLimits;
use super::outbox::{Outbox, PacketKind};
use super::shard::{InUse, Shard};
use super::silence::OPUS_SILENCE;
use super::slab::PortSlot;

/// Runs a script; returns how many packets with a talker's own payload left. `hot` is given every call that must not
/// allocate, to run it. Panics where a promise is broken: something of a talker leaves for an ear that the routes do
/// not allow, more is taken than there is, or something that opened does not close.
pub fn shard(script: &[u8], hot: impl FnMut(&mut dyn FnMut())) -> u64 {
    let mut run = Run::new(hot);
    let mut rest = script;
    while let Some(([what, which, one, two], behind)) = rest.split_first_chunk::<4>() {
        rest = run.step(*what, *which, *one, *two, behind);
    }
    run.end();
    run.relayed
}

struct Run<H> {
    shard: Shard,
    out: Outbox,
    now: MonoTime,
    hot: H,
    legs: BTreeMap<LegId, LegSpec>,
    patches: BTreeSet<PatchId>,
    port_of: BTreeMap<PortSlot, u8>,
    streams: [(u16, u32); PORTS as usize],
    relayed: u64,
}

/// Ports of this shard; one more lives on another.
const PORTS: u8 = 7;
const PATCHES: u8 = 3;
/// A talker's payload is this and its number, again and again.
const MARK: u8 = 0x30;

impl<H: FnMut(&mut dyn FnMut())> Run<H> {
    fn new(hot: H) -> Self {
        let limits = limits();
        let mut run = Self {
            shard: Shard::new(ShardId(0), &limits, 7),
            out: Outbox::new(&limits),
            now: MonoTime::from_millis(10_000),
            hot,
            legs: BTreeMap::new(),
            patches: BTreeSet::new(),
            port_of: BTreeMap::new(),
            streams: [(0, 0); PORTS as usize],
            relayed: 0,
        };
        let mut orders: Vec<Order> = (0..PORTS).map(|number| Order::OpenPort(port(number))).collect();
        orders.extend((0..PATCHES).map(|number| Order::OpenPatch(patch(number, 0))));
        orders.extend((0..=PORTS).map(|number| Order::Join(leg(number, number % 2, 0x11))));
        orders.extend([0, 2, PORTS].map(|number| Order::Join(leg(number, 2, 0x11))));
        run.order(orders);
        run
    }

    /// One step; returns what is left of the script.
    fn step<'a>(&mut self, what: u8, which: u8, one: u8, two: u8, behind: &'a [u8]) -> &'a [u8] {
        match what % 8 {
            0 => self.tick(1 + one % 16),
            1 => self.say(which % PORTS, one, two),
            2 | 3 => {
                let length = usize::from(one).min(behind.len());
                self.raw(what % 8 == 3, which % PORTS, &behind[..length]);
                self.check();
                return &behind[length..];
            }
            4 => self.trunk_frame(which, one, two),
            5 => self.order_one(which, one, two),
            // Time without a tick: a shard that is held up.
            6 => self.now = self.now.plus_ms(u64::from(one)),
            _ => self.flush(),
        }
        self.check();
        behind
    }

    fn tick(&mut self, ticks: u8) {
        for _ in 0..ticks {
            self.now = self.now.plus_ms(20);
            let Self { shard, out, now, hot, .. } = self;
            hot(&mut || shard.tick(*now, out));
            self.flush();
        }
    }

    /// A talker's next packet, perhaps after a gap, in one of its formats.
    fn say(&mut self, number: u8, one: u8, two: u8) {
        let spec = port(number);
        let payload = spec.payloads[usize::from(two) % spec.payloads.len()];
        let (sequence, timestamp) = &mut self.streams[usize::from(number)];
        let steps = 1 + u16::from(one >> 4 & 3);
        *sequence = sequence.wrapping_add(steps);
        *timestamp = timestamp.wrapping_add(payload.format.ticks_per_packet() * u32::from(steps));
        let header = RtpHeader {
            payload_type: payload.number,
            marker: one & 1 == 1,
            sequence: *sequence,
            timestamp: *timestamp,
            ssrc: u32::from(number) | u32::from(two >> 6) << 8,
        };
        let length = if two & 0x20 == 0 { 160 } else { usize::from(one) * 4 };
        let mut bytes = [0; 1400];
        let written = header.write_packet(&[], &vec![MARK + number; length], &mut bytes);
        let length = written.expect("1,020 bytes and a header fit");
        self.raw(false, number, &bytes[..length]);
    }

    fn raw(&mut self, rtcp: bool, number: u8, bytes: &[u8]) {
        let Some(slot) = self.shard.slot_of(PortId(number.into())) else { return };
        let Self { shard, out, now, hot, .. } = self;
        let source = address(number);
        hot(&mut || {
            if rtcp {
                shard.handle_rtcp(slot, source, bytes, *now);
            } else {
                shard.handle_packet(slot, source, bytes, *now, out);
            }
        });
    }

    /// A frame from the other shard, of its port or, as if it were, of one of ours.
    fn trunk_frame(&mut self, which: u8, one: u8, two: u8) {
        let number = if which & 0x80 == 0 { PORTS } else { which % PORTS };
        let payload = [MARK + number; 160];
        let format = Format::usual([Codec::Pcmu, Codec::Opus][usize::from(two & 1)]);
        let speech = Speech {
            format,
            soft: two & 8 != 0,
            level: None,
            sequence: u16::from(one),
            timestamp: u32::from(one) * format.ticks_per_packet(),
            talker: Alias::new("afar"),
            payload: &payload,
        };
        let message = match which >> 2 & 7 {
            0 => TrunkMessage::Request { talker: Alias::default() },
            1 => TrunkMessage::Released { cause: BurstEnd::Released, tail_ms: u16::from(two) },
            2 => TrunkMessage::Granted,
            3 => TrunkMessage::Revoked { cause: BurstEnd::TimedOut },
            _ => TrunkMessage::Speech(speech),
        };
        let frame = TrunkFrame {
            patch: PatchId(u128::from(which % PATCHES)),
            burst: BurstId(u128::from(two >> 4)),
            node: NodeId(0),
            port: PortId(number.into()),
            hops: two >> 1 & 1,
            emergency: two & 8 != 0,
            message,
        };
        let mut bytes = [0; FRAME_BYTES_MAX];
        let length = frame.write(&mut bytes).expect("a whole frame");
        let Self { shard, out, now, hot, .. } = self;
        hot(&mut || shard.handle_trunk(ShardId(1), &bytes[..length], *now, out));
    }

    fn order_one(&mut self, which: u8, one: u8, two: u8) {
        let (number, net) = (one % (PORTS + 1), one >> 4 & 3);
        let there = leg(number, net % PATCHES, two);
        let order = match which % 10 {
            0 => Order::Leave(there.leg),
            1 => Order::ClosePort(PortId(number.into())),
            2 => Order::OpenPort(port(number % PORTS)),
            3 => Order::ClosePatch(there.patch),
            4 => Order::OpenPatch(patch(net % PATCHES, two)),
            5 => Order::Revoke { patch: there.patch, burst: None },
            6 => Order::Emergency { port: there.port, talker: Alias::default(), open: two & 1 == 1 },
            _ => Order::Join(there),
        };
        self.order(vec![order]);
    }

    /// The routes as whoever ordered them knows them.
    fn order(&mut self, orders: Vec<Order>) {
        let batch = OrderBatch { version: RouteVersion(0), orders };
        self.shard.handle_orders(&batch, self.now, &mut self.out);
        for order in &batch.orders {
            #[expect(clippy::wildcard_enum_match_arm, reason = "the others change no route")]
            match order {
                Order::Join(leg) if self.patches.contains(&leg.patch) => drop(self.legs.insert(leg.leg, *leg)),
                Order::Leave(leg) => drop(self.legs.remove(leg)),
                Order::OpenPatch(patch) => drop(self.patches.insert(patch.patch)),
                Order::ClosePatch(patch) => {
                    self.patches.remove(patch);
                    self.legs.retain(|_, leg| leg.patch != *patch);
                }
                Order::Only(_) => {
                    self.patches.clear();
                    self.legs.clear();
                }
                _ => {}
            }
        }
        for number in 0..PORTS {
            if let Some(slot) = self.shard.slot_of(PortId(number.into())) {
                self.port_of.insert(slot, number);
            }
        }
    }

    fn may_hear(&self, talker: u8, listener: u8) -> bool {
        let of = |number: u8| self.legs.values().filter(move |leg| leg.port == PortId(number.into()));
        of(talker).any(|said| {
            of(listener).any(|heard| {
                let radios = said.role == PortRole::Radio && heard.role == PortRole::Radio;
                said.patch == heard.patch
                    && talker != listener
                    && said.talks
                    && heard.hears
                    && said.meets(heard)
                    && !(radios && said.group == heard.group)
            })
        })
    }

    /// What leaves is somebody's whom its ear may hear; an ear that may hear nobody gets no sound at all.
    fn flush(&mut self) {
        for departure in self.out.packets().filter(|departure| departure.kind == PacketKind::Rtp) {
            let listener = self.port_of[&departure.port];
            let packet = RtpPacket::parse(departure.bytes).expect("we send RTP");
            let Some(format) = port(listener).payloads.first().map(|payload| payload.format) else { continue };
            if packet.header.payload_type == EVENTS {
                continue;
            }
            let marked = |talker: &u8| packet.payload.len() >= 20 && packet.payload.iter().all(|b| *b == MARK + talker);
            if let Some(talker) = (0..=PORTS).find(marked) {
                self.relayed += 1;
                assert!(self.may_hear(talker, listener), "{listener} hears {talker} and may not");
            } else if !(0..=PORTS).any(|talker| self.may_hear(talker, listener)) {
                assert!(is_silent(format, packet.payload), "{listener} may hear nobody and hears something");
            }
        }
        self.out.drain_reports();
        self.out.clear();
    }

    /// Nothing is taken that is not there.
    fn check(&self) {
        let (limits, InUse { ports, patches, legs, bursts, jitter_buffers, holds, delays }) =
            (limits(), self.shard.in_use());
        assert!(ports <= limits.ports && patches <= limits.patches && legs <= limits.legs && bursts <= limits.bursts);
        assert!(jitter_buffers <= limits.decoders && holds <= limits.holds && delays <= limits.delays);
        assert!(self.out.packets().count() <= limits.outbox_packets);
        assert!(self.out.trunk_frames().count() <= limits.trunk_frames);
    }

    fn end(&mut self) {
        self.flush();
        self.order(vec![Order::Only(RouteTable::default())]);
        self.tick(1);
        (0..20).for_each(|_| self.tick(16));
        assert_eq!(self.shard.in_use(), InUse::default(), "something that opened did not close");
    }
}

fn is_silent(format: Format, payload: &[u8]) -> bool {
    let mut samples = [0; PACKET_SAMPLES_MAX];
    let decoded = Decoder::new(format).ok().and_then(|mut decoder| decoder.decode(payload, &mut samples).ok());
    payload == OPUS_SILENCE || decoded.is_some_and(|count| samples[..count].iter().all(|s| s.unsigned_abs() < 400))
}

fn limits() -> ShardLimits {
    ShardLimits {
        ports: 6,
        patches: 3,
        legs: 14,
        groups: 3,
        bursts: 5,
        decoders: 3,
        encoders: 3,
        holds: 2,
        delays: 1,
        outbox_packets: 24,
        outbox_bytes: 16 << 10,
        trunk_frames: 8,
        trunk_bytes: 12 << 10,
        reports: 96,
        taps: 4,
    }
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9_000 + u16::from(number)))
}

const EVENTS: u8 = 101;

/// One of each kind: telephones in three codecs and packet times, radios that wait, share a group or key by signs.
fn port(number: u8) -> PortSpec {
    let usual = Format::usual;
    let of = |number, format| PayloadType { number, format };
    let payloads = match number {
        0 => vec![of(0, usual(Codec::Pcmu)), of(111, usual(Codec::Opus))],
        1 => vec![of(111, usual(Codec::Opus))],
        2 => vec![of(0, Format { packet_ms: 60, ..usual(Codec::Pcmu) })],
        3 => vec![of(97, usual(Codec::L16)), of(9, usual(Codec::G722))],
        _ => vec![of(0, usual(Codec::Pcmu))],
    };
    let radio = number >= 4;
    PortSpec {
        port: PortId(number.into()),
        home: ShardId(u8::from(number == PORTS)),
        agency: AgencyKey(u128::from(number % 3)),
        role: if radio { PortRole::Radio } else { PortRole::Phone },
        group: radio.then_some(GroupId(u128::from(number / 2))),
        rf_channel: (number >= 5).then_some(GroupId(9)),
        peer: PeerRule::Static(address(number)),
        payloads,
        events: Some(EVENTS),
        extension: if number == 5 { DEFAULT_IDS } else { ExtensionIds::default() },
        receive: ReceiveSpec {
            keying: if number == 3 { ReceiveKeying::Vox } else { ReceiveKeying::Presence },
            end_ms: 200,
            tail_ms: if number == 4 { 60 } else { 0 },
            inhibit_after_transmit_ms: if radio { 250 } else { 0 },
            burst_min_ms: if number == 6 { 60 } else { 0 },
            talk_limit_ms: 3_000,
        },
        transmit: TransmitSpec {
            keying: [TransmitKeying::Presence, TransmitKeying::Ext, TransmitKeying::Event]
                [usize::from(number.saturating_sub(4)) % 3],
            grant: if number == 6 { GrantSign::AfterMs(80) } else { GrantSign::Immediate },
            overlap: if radio { Overlap::One } else { Overlap::Mix },
            pacing: if number == 4 { Pacing::Paced } else { Pacing::Immediate },
            hold_max_ms: 400,
            tail_ms: if radio { 100 } else { 0 },
            talk_limit_ms: 2_000,
            far_timeout_ms: (number == 6).then_some(1_500),
            half_duplex: radio,
        },
        trim: Gain::UNITY,
        level: number == 1,
        alias: Alias::new("talker"),
        packets_per_second_max: 100,
        silence_max_ms: None,
    }
}

fn patch(number: u8, shape: u8) -> PatchSpec {
    let floor = FloorPolicy {
        mode: if shape & 1 == 1 { FloorMode::Open } else { FloorMode::Ptt },
        holders_max: 1 + (shape >> 1 & 3),
        queue_max: shape >> 3 & 3,
        hang_ms: 100,
        talk_limit_ms: if shape & 0x20 == 0 { 60_000 } else { 400 },
    };
    // The last one's floor lives on the other shard.
    let home = ShardId(u8::from(number + 1 == PATCHES));
    PatchSpec { patch: PatchId(number.into()), home, host: AgencyKey(1), floor }
}

/// `shape` holds what it may: hear and talk in its lowest bits (unset), a gain, and whom its audience leaves out.
fn leg(number: u8, net: u8, shape: u8) -> LegSpec {
    let port = port(number);
    LegSpec {
        leg: LegId(u128::from(net) * 100 + u128::from(number)),
        link: LinkId(u128::from(net) * 100 + u128::from(number)),
        patch: PatchId(net.into()),
        port: port.port,
        port_home: port.home,
        group: port.group,
        agency: port.agency,
        role: port.role,
        trim: port.trim,
        hears: shape & 2 == 0,
        talks: shape & 4 == 0,
        gain: if shape & 8 == 0 { Gain::UNITY } else { Gain(-300) },
        priority: Priority(shape >> 4 & 3),
        party: number,
        audience: if shape & 0x40 == 0 { u64::MAX } else { !(1 << (shape >> 3 & 7)) },
    }
}
