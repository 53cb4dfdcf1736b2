//! One shard's tick without any socket: 1,000 ports that idle, and three talkers mixed for ever more listeners.
//!
//! What it defends: an idle port costs next to nothing, and a mix costs one decode a talker and one encode for each
//! distinct mix, whatever the number of listeners.

#![expect(clippy::unwrap_used, reason = "a bench may stop at the first fault")]
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod rig;
#[path = "../tests/voice/mod.rs"]
mod voice;
#[path = "../tests/media/mod.rs"]
mod world;

use std::net::SocketAddr;
use std::time::Instant;

use crosspatch::domain::audio::{Codec, MIX_FRAME};
use crosspatch::domain::id::PortId;
use crosspatch::domain::order::{Order, OrderBatch, RouteTable, RouteVersion};
use crosspatch::domain::port::{PeerRule, PortSpec, ShardId};
use crosspatch::domain::time::MonoTime;
use crosspatch::media::codec::{Encoder, PAYLOAD_BYTES_MAX};
use crosspatch::media::limits::ShardLimits;
use crosspatch::media::outbox::Outbox;
use crosspatch::media::shard::Shard;
use crosspatch::wire::rtp::RtpHeader;

use rig::quantile;
use world::{leg, patch, phone};

/// Frames measured: 20 s of speech.
const FRAMES: usize = 1_000;
/// Frames before: bursts have begun, jitter buffers have their depth.
const WARM: usize = 50;
const TALKERS: usize = 3;

fn main() {
    idle();
    mix();
}

/// A shard on a clock of its own.
struct World {
    shard: Shard,
    out: Outbox,
    now: MonoTime,
}

impl World {
    fn new() -> Self {
        let limits = ShardLimits::default();
        let (shard, out) = (Shard::new(ShardId(0), &limits, 7), Outbox::new(&limits));
        Self { shard, out, now: MonoTime::from_millis(1_000) }
    }

    fn route(&mut self, table: RouteTable) {
        let batch = OrderBatch { version: RouteVersion(1), orders: vec![Order::Only(table)] };
        self.shard.handle_orders(&batch, self.now, &mut self.out);
        self.forget();
    }

    /// Microseconds of one tick.
    fn tick(&mut self) -> f64 {
        self.now = self.now.plus_ms(20);
        let begun = Instant::now();
        self.shard.tick(self.now, &mut self.out);
        let us = begun.elapsed().as_secs_f64() * 1e6;
        self.forget();
        us
    }

    fn forget(&mut self) {
        let _ = self.out.drain_reports();
        self.out.clear();
    }
}

fn ports(count: usize) -> Vec<PortSpec> {
    let port = |at: usize| PortSpec { peer: PeerRule::Static(address(at)), ..phone(at as u128 + 1, Codec::Opus) };
    (0..count).map(port).collect()
}

/// A far end for each port; nothing is ever sent.
fn address(at: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (at >> 8) as u8, at as u8], 5_004))
}

fn idle() {
    let before = resident_kib();
    // All sizes in one shard: what it keeps for ports that are gone would count twice in a new one.
    let mut world = World::new();
    println!("a shard without ports: {:.0} KiB resident", resident_kib() - before);
    println!("\nidle ports in incidents of 20: us of one tick, of {FRAMES} ticks");
    println!("ports    p50    p99  KiB a port");
    let before = resident_kib();
    for count in [100, 1_000, 4_000] {
        let ports = ports(count);
        let legs = ports.iter().enumerate().map(|(at, port)| leg(at as u128 / 20 + 1, port)).collect();
        let patches = (0..count as u128 / 20).map(|at| patch(at + 1)).collect();
        world.route(RouteTable { ports, patches, legs, ..RouteTable::default() });
        let mut us: Vec<f64> = (0..FRAMES).map(|_| world.tick()).collect();
        let kib = (resident_kib() - before) / count as f64;
        println!("{count:>5} {:>6.0} {:>6.0} {kib:>11.1}", quantile(&mut us, 0.5), quantile(&mut us, 0.99));
    }
}

/// What this process really uses of the memory.
fn resident_kib() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 4.0
}

fn mix() {
    println!("\n{TALKERS} talkers in one patch, Opus: us of one frame (packets and tick), of {FRAMES} frames");
    println!("listeners    p50    p99  decodes a frame  encodes a frame  packets a frame");
    for listeners in [1, 10, 100, 1_000, 4_000] {
        let ports = ports(TALKERS + listeners);
        let legs = ports.iter().map(|port| leg(1, port)).collect();
        let table = RouteTable { ports: ports.clone(), patches: vec![patch(1)], legs, ..RouteTable::default() };
        let mut world = World::new();
        world.route(table);
        let mut talkers: Vec<Talker> =
            ports[..TALKERS].iter().enumerate().map(|(at, port)| Talker::new(at, port)).collect();
        for at in 0..WARM {
            frame(&mut world, &mut talkers, at);
        }
        let before = world.shard.counters().clone();
        let mut us: Vec<f64> = (WARM..WARM + FRAMES).map(|at| frame(&mut world, &mut talkers, at)).collect();
        let after = world.shard.counters();
        let each = |after: u64, before: u64| (after - before) as f64 / FRAMES as f64;
        println!(
            "{listeners:>9} {:>6.0} {:>6.0} {:>16.2} {:>16.2} {:>16.1}",
            quantile(&mut us, 0.5),
            quantile(&mut us, 0.99),
            each(after.decoded, before.decoded),
            each(after.encoded, before.encoded),
            each(after.mixed + after.relayed, before.mixed + before.relayed),
        );
    }
}

/// Everybody's packet and the tick.
fn frame(world: &mut World, talkers: &mut [Talker], at: usize) -> f64 {
    let mut us = 0.0;
    for talker in talkers {
        let packet = talker.packet(at);
        let slot = world.shard.slot_of(talker.port).unwrap();
        let begun = Instant::now();
        world.shard.handle_packet(slot, talker.peer, packet, world.now, &mut world.out);
        us += begun.elapsed().as_secs_f64() * 1e6;
        world.forget();
    }
    us + world.tick()
}

/// Recorded packets of one voice.
struct Talker {
    port: PortId,
    peer: SocketAddr,
    packets: Vec<Vec<u8>>,
}

impl Talker {
    fn new(at: usize, port: &PortSpec) -> Self {
        let speech = voice::speech(at as u64 + 1, WARM + FRAMES);
        let mut encoder = Encoder::new(port.payloads[0].format).unwrap();
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        let mut packets = Vec::new();
        for (number, frame) in speech.as_chunks::<MIX_FRAME>().0.iter().enumerate() {
            encoder.push(frame);
            let length = encoder.pull(&mut payload).unwrap();
            let header = RtpHeader {
                payload_type: port.payloads[0].number,
                marker: number == 0,
                sequence: number as u16,
                timestamp: 960 * number as u32,
                ssrc: at as u32 + 1,
            };
            let mut packet = vec![0; length + 12];
            header.write_packet(&[], &payload[..length], &mut packet).unwrap();
            packets.push(packet);
        }
        Self { port: port.port, peer: address(at), packets }
    }

    fn packet(&self, at: usize) -> &[u8] {
        &self.packets[at]
    }
}
