//! The packet path and the tick allocate nothing after set-up: bursts that begin and end, relays, mixes, holds,
//! trunk frames, votes, refusals, reports.

mod counting;
mod media;

use counting::allocations;
use crosspatch::domain::audio::Codec;
use crosspatch::domain::floor::FloorPolicy;
use crosspatch::domain::id::GroupId;
use crosspatch::domain::order::{Order, PatchSpec};
use crosspatch::domain::port::{GrantSign, PortSpec, ShardId, TransmitKeying};
use crosspatch::domain::talker::Alias;
use crosspatch::media::codec::{Encoder, PAYLOAD_BYTES_MAX};
use crosspatch::media::limits::ShardLimits;
use crosspatch::wire::rtcp::{SenderReport, write_goodbye, write_sender_report};
use media::{Bench, address_of, leg, patch, phone, policy, port_id, radio};

fn ports() -> Vec<PortSpec> {
    let on_one = |port: PortSpec| PortSpec { home: ShardId(1), ..port };
    let grouped = |port: PortSpec| PortSpec { group: Some(GroupId(7)), ..port };
    let mut keyed = radio(5, Codec::Pcmu);
    keyed.transmit.grant = GrantSign::AfterMs(100);
    keyed.transmit.keying = TransmitKeying::Ext;
    keyed.receive.burst_min_ms = 60;
    keyed.receive.tail_ms = 60;
    let levelled = PortSpec { level: true, ..phone(8, Codec::Opus) };
    vec![
        phone(1, Codec::Opus),
        phone(2, Codec::Opus),
        phone(3, Codec::Pcmu),
        on_one(phone(4, Codec::G722)),
        keyed,
        grouped(radio(6, Codec::Pcmu)),
        grouped(radio(7, Codec::Pcmu)),
        levelled,
        on_one(phone(9, Codec::L16)),
    ]
}

#[test]
fn nothing_is_allocated_between_set_up_and_the_end() {
    let ports = ports();
    let mut bench = Bench::with_shards(2, &ShardLimits::small());
    bench.open(&ports);
    let strict = PatchSpec { floor: FloorPolicy { queue_max: 1, ..policy() }, ..patch(1) };
    let other = PatchSpec { home: ShardId(1), ..patch(2) };
    bench.order([Order::OpenPatch(strict), Order::OpenPatch(other)]);
    bench.order(ports.iter().map(|port| Order::Join(leg(1, port))));
    bench.order(ports.iter().take(5).map(|port| Order::Join(leg(2, port))));
    bench.order([Order::Emergency { port: port_id(3), talker: Alias::default(), open: true }]);
    let payloads: Vec<Vec<u8>> = ports.iter().map(tone).collect();
    let reports = reports(bench.next_header(1).ssrc);
    let mut counted = 0;
    // Who talks in which second: alone, together, beyond the floor, copies of one voice, nobody.
    let turns: [&[usize]; 9] = [&[0], &[1, 2], &[0, 1, 3, 7], &[], &[4, 5, 6], &[8, 3], &[2, 0, 1, 3, 4], &[], &[7]];
    for round in 0..2 {
        for talkers in turns {
            for packet in 0..40 {
                for talker in talkers {
                    let number = ports[*talker].port.0;
                    counted += allocations(|| bench.talk_unflushed(number, &payloads[*talker]));
                }
                counted += pass(&mut bench);
                counted += allocations(|| bench.report_unflushed(1, address_of(1), &reports[packet % 2]));
                counted += allocations(|| bench.tick_unflushed());
                counted += pass(&mut bench);
                assert_eq!(counted, 0, "round {round}, {talkers:?}, packet {packet}");
            }
        }
    }
    let counters = bench.counters();
    assert!(counters.relayed > 0 && counters.mixed > 0 && counters.decoded > 0 && counters.steered > 0);
    assert!(bench.ended().len() > 20 && bench.outcomes().len() > 50);
}

/// Frames cross until all is quiet; returns what that allocated.
fn pass(bench: &mut Bench) -> u64 {
    let mut counted = 0;
    loop {
        let frames = bench.flush_packets();
        if frames.is_empty() {
            return counted;
        }
        for frame in &frames {
            counted += allocations(|| bench.deliver(frame));
        }
    }
}

/// What a peer reports, and its goodbye.
fn reports(ssrc: u32) -> [Vec<u8>; 2] {
    let (mut report, mut goodbye) = (vec![0; 128], vec![0; 128]);
    let length = write_sender_report(ssrc, &SenderReport::default(), None, "far", &mut report).expect("a report fits");
    report.truncate(length);
    let length = write_goodbye(ssrc, "far", &mut goodbye).expect("a goodbye fits");
    goodbye.truncate(length);
    [report, goodbye]
}

fn tone(port: &PortSpec) -> Vec<u8> {
    let mut encoder = Encoder::new(port.payloads[0].format).expect("a usual format");
    let frame = std::array::from_fn(|at| (8_000.0 * (at as f32 * 0.3).sin()) as i16);
    let mut payload = [0; PAYLOAD_BYTES_MAX];
    encoder.push(&frame);
    let length = encoder.pull(&mut payload).expect("one frame is one packet");
    payload[..length].to_vec()
}
