//! Whatever ports, packets, orders and faults come in whatever order: nothing panics, nobody hears itself, each grant
//! has one end, each ear one outcome, and in the end every place and every pool is whole again.

mod media;

use std::collections::BTreeMap;

use crosspatch::domain::audio::{Codec, Gain};
use crosspatch::domain::floor::{FloorMode, FloorPolicy, Priority};
use crosspatch::domain::id::{AgencyKey, GroupId, PatchId};
use crosspatch::domain::order::{LegSpec, Notice, Order, PatchSpec, RouteTable};
use crosspatch::domain::port::{
    GrantSign, Overlap, Pacing, PeerRule, PortRole, PortSpec, ReceiveKeying, ShardId, TransmitKeying,
};
use crosspatch::domain::random::Entropy;
use crosspatch::domain::talker::Alias;
use crosspatch::media::limits::ShardLimits;
use crosspatch::media::shard::InUse;
use crosspatch::wire::rtp_extension::{AudioLevel, Elements, Keying};
use media::{Bench, leg, patch, phone, port_id, radio};

const SHARDS: u8 = 3;
const PORTS: u128 = 12;
const PATCHES: u128 = 4;

struct World {
    bench: Bench,
    entropy: Entropy,
    ports: Vec<PortSpec>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut entropy = Entropy::new(seed);
        let tight = entropy.percent(30);
        let limits = ShardLimits {
            bursts: if tight { 4 } else { 32 },
            decoders: if tight { 2 } else { 16 },
            encoders: if tight { 2 } else { 16 },
            holds: if tight { 1 } else { 16 },
            outbox_packets: if tight { 8 } else { 1024 },
            trunk_frames: if tight { 6 } else { 256 },
            ..ShardLimits::small()
        };
        let ports = (1..=PORTS).map(|number| any_port(number, &mut entropy)).collect();
        Self { bench: Bench::with_shards(SHARDS, &limits), entropy, ports }
    }

    fn pick(&mut self, below: usize) -> usize {
        self.entropy.below(below as u64) as usize
    }

    fn any_leg(&mut self) -> LegSpec {
        let port = self.pick(self.ports.len());
        let number = 1 + self.entropy.below(PATCHES as u64) as u128;
        LegSpec {
            hears: self.entropy.percent(90),
            talks: self.entropy.percent(85),
            gain: if self.entropy.percent(20) { Gain(300) } else { Gain::UNITY },
            priority: Priority(self.entropy.below(4) as u8),
            audience: if self.entropy.percent(20) { self.entropy.next_u64() } else { u64::MAX },
            ..leg(number, &self.ports[port])
        }
    }

    fn any_order(&mut self) -> Order {
        let port = 1 + self.entropy.below(PORTS as u64) as u128;
        let number = 1 + self.entropy.below(PATCHES as u64) as u128;
        match self.entropy.below(20) {
            0 => Order::ClosePort(port_id(port)),
            1 => Order::ClosePatch(PatchId(number)),
            2 => Order::Leave(self.any_leg().leg),
            3 => Order::Revoke { patch: PatchId(number), burst: None },
            4 => Order::Emergency { port: port_id(port), talker: Alias::default(), open: self.entropy.percent(60) },
            5 => Order::Announce { port: port_id(port), notice: Notice::Linked },
            6 => media::group(7, if self.entropy.percent(50) { &[1, 2, 3] } else { &[3, 1] }),
            7 => Order::OpenPort(any_port(port, &mut self.entropy)),
            8..=11 => Order::OpenPatch(any_patch(number, &mut self.entropy)),
            12 => self.any_table(),
            _ => Order::Join(self.any_leg()),
        }
    }

    fn any_table(&mut self) -> Order {
        let ports = self.ports.iter().filter(|port| port.port.0 % 5 != 0).cloned().collect();
        let patches = (1..=PATCHES).map(|number| any_patch(number, &mut self.entropy)).collect();
        let legs = (0..8).map(|_| self.any_leg()).collect();
        Order::Only(RouteTable { ports, patches, legs, ..RouteTable::default() })
    }

    /// Ports that an order has closed may come back.
    fn reopen(&mut self) {
        let ports = self.ports.clone();
        self.bench.open(&ports);
    }

    fn step(&mut self) {
        match self.entropy.below(100) {
            0..=2 => {
                let order = self.any_order();
                let orders = [order, self.any_order()];
                self.bench.order(orders);
            }
            3 => self.reopen(),
            4..=34 => self.bench.tick(),
            _ => self.speak(),
        }
    }

    fn speak(&mut self) {
        let at = self.pick(self.ports.len());
        let port = &self.ports[at];
        let shard = usize::from(port.home.0);
        if self.bench.shards[shard].slot_of(port.port).is_none() {
            return;
        }
        let keying = Keying {
            ptt: self.entropy.percent(80),
            granted: self.entropy.percent(20),
            busy: self.entropy.percent(3),
            emergency: self.entropy.percent(1),
            ..Keying::default()
        };
        let level = AudioLevel { level: crosspatch::domain::audio::Level(self.entropy.below(90) as u8), voice: true };
        let elements = Elements {
            keying: self.entropy.percent(30).then_some(keying),
            level: self.entropy.percent(30).then_some(level),
            talker: Alias::default(),
        };
        let number = port.port.0;
        if self.entropy.percent(5) {
            self.bench.lose(number, self.entropy.below(5) as u16);
        }
        let length = [0, 1, 3, 40, 160, 320, 640][self.pick(7)];
        self.bench.talk_with(number, &vec![number as u8; length], elements);
        if self.entropy.percent(70) {
            self.bench.flush();
        }
    }
}

fn any_port(number: u128, entropy: &mut Entropy) -> PortSpec {
    let codec = [Codec::Opus, Codec::Pcmu, Codec::Pcmu, Codec::L16][entropy.below(4) as usize];
    let mut port = if number <= 6 { radio(number, codec) } else { phone(number, codec) };
    // 60 ms of L16 do not fit a packet.
    port.payloads[0].format.packet_ms = [20, 20, 20, 10, 40][entropy.below(5) as usize];
    port.home = ShardId((number % u128::from(SHARDS)) as u8);
    if number <= 3 {
        // One talkgroup, one shard.
        port.home = ShardId(1);
        port.group = Some(GroupId(7));
    }
    if (5..=6).contains(&number) {
        port.home = ShardId(2);
        port.rf_channel = Some(GroupId(8));
    }
    port.agency = AgencyKey(number % 3);
    port.role = if number > 10 { PortRole::Console } else { port.role };
    port.peer =
        if entropy.percent(80) { port.peer } else { PeerRule::Latch(vec!["127.0.0.0/8".parse().expect("a network")]) };
    port.receive.burst_min_ms = if entropy.percent(30) { 60 } else { 0 };
    port.receive.tail_ms = if entropy.percent(30) { 60 } else { 0 };
    port.receive.keying = [ReceiveKeying::Presence, ReceiveKeying::Presence, ReceiveKeying::Ext, ReceiveKeying::Vox]
        [entropy.below(4) as usize];
    port.receive.talk_limit_ms = if entropy.percent(20) { 300 } else { 60_000 };
    port.transmit.grant =
        [GrantSign::Immediate, GrantSign::AfterMs(80), GrantSign::Signalled][entropy.below(3) as usize];
    port.transmit.keying =
        [TransmitKeying::Presence, TransmitKeying::Ext, TransmitKeying::Event][entropy.below(3) as usize];
    port.transmit.pacing = if entropy.percent(30) { Pacing::Paced } else { Pacing::Immediate };
    port.transmit.overlap = if entropy.percent(50) { Overlap::One } else { Overlap::Mix };
    port.transmit.hold_max_ms = 400;
    port.level = entropy.percent(20);
    port
}

fn any_patch(number: u128, entropy: &mut Entropy) -> PatchSpec {
    PatchSpec {
        home: ShardId((number % u128::from(SHARDS)) as u8),
        floor: FloorPolicy {
            mode: if entropy.percent(20) { FloorMode::Open } else { FloorMode::Ptt },
            holders_max: 1 + entropy.below(3) as u8,
            queue_max: entropy.below(3) as u8,
            hang_ms: 100,
            talk_limit_ms: if entropy.percent(20) { 200 } else { 60_000 },
        },
        ..patch(number)
    }
}

fn check_ends(bench: &Bench, seed: u64) {
    let mut grants: BTreeMap<_, i64> = BTreeMap::new();
    for (burst, patch, _) in bench.started() {
        *grants.entry((burst, patch)).or_default() += 1;
    }
    for (burst, patch, _) in bench.ended() {
        *grants.entry((burst, patch)).or_default() -= 1;
    }
    assert!(grants.values().all(|open| *open == 0), "seed {seed}: a grant without an end, or an end without a grant");
}

#[test]
fn what_opens_closes_in_any_world() {
    let (mut started, mut outcomes, mut mixed) = (0, 0, 0);
    for seed in 0..150 {
        let mut world = World::new(seed);
        world.reopen();
        for _ in 0..1_500 {
            world.step();
        }
        for port in 1..=PORTS {
            // A named talker's payload is relayed untouched; what is mixed may look like anything.
            let own = world.bench.heard(port).iter().any(|packet| {
                !packet.elements.talker.is_empty()
                    && packet.payload.len() > 3
                    && packet.payload.iter().all(|byte| *byte == port as u8)
            });
            assert!(!own, "seed {seed}: port {port} heard itself");
        }
        mixed += world.bench.shards.iter().map(|shard| shard.counters().mixed).sum::<u64>();
        world.bench.order([Order::Only(RouteTable::default())]);
        world.bench.pass_ms(6_000);
        started += world.bench.started().len();
        outcomes += world.bench.outcomes().len();
        check_ends(&world.bench, seed);
        for shard in &world.bench.shards {
            assert_eq!(shard.in_use(), InUse::default(), "seed {seed}");
        }
    }
    assert!(
        started > 1_000 && outcomes > 2_000 && mixed > 1_000,
        "{started} bursts, {outcomes} outcomes, {mixed} mixed"
    );
}
