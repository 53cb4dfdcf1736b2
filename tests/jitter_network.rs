//! The jitter buffer against a seeded network that delays, loses, reorders and repeats, judged by a naive reference.

#![expect(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::collections::{BTreeMap, BTreeSet};

use crosspatch::domain::audio::{Codec, Format, MIX_FRAME};
use crosspatch::domain::random::Entropy;
use crosspatch::domain::time::MonoTime;
use crosspatch::media::codec::Decoder;
use crosspatch::media::jitter::{Arrival, JitterBuffer, Kept, Popped, SPAN_MAX_MS};
use crosspatch::media::playout::{Heard, Playout};

const TICKS: u32 = 160; // 20 ms of G.711
const FIRST_SEQUENCE: u16 = 65_000;
const FIRST_TIMESTAMP: u32 = u32::MAX - 40_000;

/// When each copy of each packet arrives (us).
type Network = BTreeMap<(u64, u64), u32>;

struct Weather {
    jitter_ms: u64,
    loss_percent: u64,
    late_percent: u64,
    duplicate_percent: u64,
}

fn deliver(seed: u64, packets: u32, weather: &Weather) -> Network {
    let mut entropy = Entropy::new(seed);
    let mut network = Network::new();
    for index in 0..packets {
        let sent = 1_000_000 + u64::from(index) * 20_000;
        if entropy.percent(weather.loss_percent) {
            continue;
        }
        let straggling = if entropy.percent(weather.late_percent) { entropy.below(150_000) } else { 0 };
        let arrives = sent + 30_000 + entropy.below(weather.jitter_ms * 1_000 + 1) + straggling;
        network.insert((arrives, u64::from(index) * 2), index);
        if entropy.percent(weather.duplicate_percent) {
            network.insert((arrives + entropy.below(60_000), u64::from(index) * 2 + 1), index);
        }
    }
    network
}

fn arrival(index: u32, payload: &[u8]) -> Arrival<'_> {
    let sequence = FIRST_SEQUENCE.wrapping_add(index as u16);
    Arrival { ssrc: 7, sequence, timestamp: FIRST_TIMESTAMP.wrapping_add(index * TICKS), ticks: TICKS, payload }
}

fn at_us(us: u64) -> MonoTime {
    MonoTime(us * 1_000)
}

/// Runs the buffer on a network; returns what was played and when.
fn run(network: &Network, packets: u32) -> (Vec<(u64, u32)>, JitterBuffer) {
    let mut buffer = JitterBuffer::new();
    buffer.reset(8_000);
    let (mut played, mut here) = (Vec::new(), BTreeSet::new());
    let mut queue = network.iter().peekable();
    let mut position: Option<u32> = None; // what the next answer is about
    let end = 1_000_000 + u64::from(packets) * 20_000 + 1_000_000;
    for tick in (1_000_000..end).step_by(20_000) {
        while let Some(((arrives, _), index)) = queue.next_if(|((arrives, _), _)| *arrives <= tick) {
            buffer.push(at_us(*arrives), arrival(*index, &index.to_be_bytes()));
            here.insert(*index);
        }
        match buffer.pop(at_us(tick)) {
            Popped::NotYet | Popped::Dry | Popped::Silence => {}
            Popped::Lost { next, ticks } => {
                assert_eq!(ticks, TICKS);
                // Overdue losses may be skipped unconcealed before one that is concealed.
                let lost = next.map_or(position.unwrap(), |next| u32::from_be_bytes(next.try_into().unwrap()) - 1);
                for lost in position.unwrap()..=lost {
                    assert!(!here.contains(&lost), "packet {lost} was here at {tick} us and called lost");
                }
                position = Some(lost + 1);
            }
            Popped::Packet(payload) => {
                let index = u32::from_be_bytes(payload.try_into().unwrap());
                for skipped in position.unwrap_or(index)..index {
                    assert!(!here.contains(&skipped), "packet {skipped} was here and skipped");
                }
                played.push((tick, index));
                position = Some(index + 1);
            }
        }
    }
    (played, buffer)
}

#[test]
fn whatever_the_network_does_every_packet_is_played_once_in_order_or_counted() {
    let (mut lost, mut late, mut duplicate) = (0, 0, 0);
    for seed in 0..200 {
        let weather =
            Weather { jitter_ms: seed % 90, loss_percent: seed % 11, late_percent: seed % 7, duplicate_percent: 5 };
        let network = deliver(seed, 1_000, &weather);
        let (played, buffer) = run(&network, 1_000);
        assert!(played.windows(2).all(|pair| pair[0].1 < pair[1].1), "seed {seed}: out of order or twice");
        let counts = buffer.counts();
        assert_eq!(counts.played, played.len() as u64);
        let accounted = counts.played + counts.late + counts.duplicate + counts.overrun;
        assert_eq!(accounted, network.len() as u64, "seed {seed}: {counts:?}");
        assert_eq!((counts.jumps, counts.unusable), (0, 0), "seed {seed}");
        let (first, last) = (played[0].1, played[played.len() - 1].1);
        let missing = u64::from(last - first) + 1 - played.len() as u64;
        assert_eq!(counts.lost + counts.overrun, missing, "seed {seed}: {counts:?}");
        (lost, late, duplicate) = (lost + counts.lost, late + counts.late, duplicate + counts.duplicate);
    }
    assert!(lost > 1_000 && late > 100 && duplicate > 1_000, "the weather was too fair: {lost} {late} {duplicate}");
}

#[test]
fn jitter_below_the_deepest_target_costs_at_most_two_packets_in_a_hundred() {
    for jitter_ms in [0, 10, 40, 80, 120] {
        for seed in 0..10 {
            let weather = Weather { jitter_ms, loss_percent: 0, late_percent: 0, duplicate_percent: 0 };
            let (played, buffer) = run(&deliver(seed, 1_500, &weather), 1_500);
            assert!(played.len() >= 1_470, "{jitter_ms} ms: {:?}", buffer.counts());
            let target_ms = u64::from(buffer.target_ms());
            assert!(target_ms <= jitter_ms + 25, "{jitter_ms} ms of jitter and a target of {target_ms}");
            assert!(target_ms + 20 >= jitter_ms, "{jitter_ms} ms of jitter and a target of {target_ms}");
        }
    }
}

#[test]
fn a_calm_network_is_played_after_40_ms() {
    let weather = Weather { jitter_ms: 0, loss_percent: 0, late_percent: 0, duplicate_percent: 0 };
    let (played, _) = run(&deliver(1, 100, &weather), 100);
    assert_eq!(played.len(), 100);
    for (tick, index) in played {
        let arrived = 1_030_000 + u64::from(index) * 20_000;
        assert!(tick - arrived <= 60_000, "packet {index} waited {} us", tick - arrived);
    }
}

#[test]
fn a_pause_is_silence_and_a_gap_is_loss() {
    let mut buffer = JitterBuffer::new();
    buffer.reset(8_000);
    // Packets 0..10, then a pause of 1 s in time and timestamps but not in sequence, then 10..20 without 15.
    let mut heard = Vec::new();
    let sent = |index: u32| u64::from(index) * 20 + if index >= 10 { 1_000 } else { 0 };
    for tick in 0..80u64 {
        for index in (0..20).filter(|index| *index != 15 && sent(*index) == tick * 20) {
            let pause = if index >= 10 { 8_000 } else { 0 };
            let packet = arrival(index, b"voice");
            let timestamp = packet.timestamp.wrapping_add(pause);
            buffer.push(MonoTime::from_millis(5 + tick * 20), Arrival { timestamp, ..packet });
        }
        heard.push(match buffer.pop(MonoTime::from_millis(15 + tick * 20)) {
            Popped::NotYet => 'n',
            Popped::Packet(_) => 'P',
            Popped::Lost { .. } => 'L',
            Popped::Dry => 'd',
            Popped::Silence => 's',
        });
    }
    let heard: String = heard.into_iter().collect();
    let speech = heard.trim_matches(['n', 'd']);
    assert!(speech.starts_with(&"P".repeat(10)) && speech.ends_with("PPPPPLPPPP"), "{heard}");
    let pause = &speech[10..speech.len() - 10];
    assert!(pause.chars().all(|c| c == 'd' || c == 's') && pause.len().abs_diff(50) <= 2, "{heard}");
    assert_eq!(buffer.counts().lost, 1);
}

#[test]
fn a_second_copy_is_told_from_a_late_first_one() {
    let mut buffer = JitterBuffer::new();
    buffer.reset(8_000);
    let at = |ms: u64| MonoTime::from_millis(1_000 + ms);
    for (index, ms) in [(0, 0), (1, 20), (3, 60), (4, 80), (5, 100)] {
        assert_eq!(buffer.push(at(ms), arrival(index, b"voice")), Kept::Stored);
        assert_eq!(buffer.push(at(ms), arrival(index, b"voice")), Kept::Duplicate, "while it waits");
        buffer.pop(at(ms + 15));
    }
    while !buffer.is_empty() {
        buffer.pop(at(400));
    }
    assert_eq!(buffer.push(at(400), arrival(4, b"voice")), Kept::Duplicate, "after it was played");
    assert_eq!(buffer.push(at(400), arrival(2, b"voice")), Kept::Late);
    assert_eq!((buffer.counts().late, buffer.counts().duplicate), (1, 6));
}

#[test]
fn a_burst_whose_first_packets_are_swapped_begins_with_the_first() {
    let mut buffer = JitterBuffer::new();
    buffer.reset(8_000);
    for (index, ms) in [(1, 0), (0, 5), (2, 20)] {
        assert_eq!(buffer.push(MonoTime::from_millis(1_000 + ms), arrival(index, &[index as u8])), Kept::Stored);
    }
    for index in 0..3 {
        assert_eq!(buffer.pop(MonoTime::from_millis(1_100)), Popped::Packet(&[index]));
    }
}

#[test]
fn after_a_hole_of_400_ms_the_talker_is_heard_at_once() {
    let mut buffer = JitterBuffer::new();
    buffer.reset(8_000);
    let mut played = Vec::new();
    for tick in 0..60u32 {
        let now = MonoTime::from_millis(1_000 + u64::from(tick) * 20);
        if !(20..40).contains(&tick) {
            buffer.push(now, arrival(tick, &tick.to_be_bytes()));
        }
        if let Popped::Packet(payload) = buffer.pop(now) {
            played.push((tick, u32::from_be_bytes(payload.try_into().unwrap())));
        }
    }
    let (tick, index) = played[20];
    assert!(index == 40 && tick - index <= 3, "packet {index} was played at tick {tick}");
    assert_eq!(buffer.counts().lost, 20);
}

#[test]
fn jumps_of_ssrc_sequence_and_timestamp_lose_nothing_that_came() {
    let mut buffer = JitterBuffer::new();
    buffer.reset(8_000);
    let mut played = Vec::new();
    for index in 0..200u32 {
        let now = MonoTime::from_millis(1_000 + u64::from(index) * 20);
        let payload = index.to_be_bytes();
        let mut packet = arrival(index, &payload);
        match index / 50 {
            1 => packet.ssrc = 8,
            2 => (packet.ssrc, packet.sequence) = (8, packet.sequence.wrapping_add(20_000)),
            3 => {
                (packet.ssrc, packet.sequence) = (8, packet.sequence.wrapping_add(20_000));
                packet.timestamp = packet.timestamp.wrapping_sub(1_000_000);
            }
            _ => {}
        }
        buffer.push(now, packet);
        if let Popped::Packet(payload) = buffer.pop(now) {
            played.push(u32::from_be_bytes(payload.try_into().unwrap()));
        }
    }
    while let Popped::Packet(payload) = buffer.pop(MonoTime::from_millis(6_000)) {
        played.push(u32::from_be_bytes(payload.try_into().unwrap()));
    }
    assert_eq!(played, (0..200).collect::<Vec<_>>());
    assert_eq!(buffer.counts().jumps, 3);
}

/// Frames of ten a second of talk and half a second of near silence; a talk frame's loudness is its number.
fn l16_frame(index: u32) -> Vec<u8> {
    let value = if is_talk(index) { 4_000 + (index % 8_192) as i16 } else { 20 };
    (0..MIX_FRAME).flat_map(|n| (if n % 20 < 10 { value } else { -value }).to_be_bytes()).collect()
}

fn is_talk(index: u32) -> bool {
    index % 75 < 50
}

struct Conversation {
    talk_played: Vec<u32>,
    concealed: u32,
    concealed_talking: u32,
    lag_ms_end: i64,
    playout: Playout,
}

/// `arrives_us` says when frame `index` comes.
fn converse(frames: u32, mut arrives_us: impl FnMut(u32) -> u64) -> Conversation {
    let format = Format::usual(Codec::L16);
    let mut playout = Playout::new(format, JitterBuffer::new(), Decoder::new(format).unwrap());
    let network: BTreeMap<(u64, u32), u32> = (0..frames).map(|index| ((arrives_us(index), index), index)).collect();
    let mut queue = network.iter().peekable();
    let (mut talk_played, mut concealed, mut concealed_talking, mut out) = (Vec::new(), 0, 0, [0i16; MIX_FRAME]);
    let last = network.keys().map(|(us, _)| *us).max().unwrap();
    for tick in (1_000_000..last).step_by(20_000) {
        while let Some(((us, _), index)) = queue.next_if(|((us, _), _)| *us <= tick) {
            playout.push(at_us(*us), 7, *index as u16, index * 320, &l16_frame(*index));
        }
        let was_talking = out[202].abs() > 3_000;
        match playout.frame(at_us(tick), &mut out) {
            Heard::Voice if out[202] > 3_000 => talk_played.push(u32::from(out[202] as u16) - 4_000),
            Heard::Voice | Heard::NotYet | Heard::Silence => {}
            Heard::Concealed => {
                concealed += 1;
                concealed_talking += u32::from(was_talking);
            }
        }
    }
    let lag_ms_end = playout.jitter().depth_ms(at_us(last)) - i64::from(playout.jitter().target_ms());
    Conversation { talk_played, concealed, concealed_talking, lag_ms_end, playout }
}

fn assert_all_talk(talk_played: &[u32], frames: u32) {
    let mut expected: Vec<u32> = (0..frames).filter(|index| is_talk(*index)).map(|index| index % 8_192).collect();
    expected.truncate(talk_played.len());
    assert_eq!(talk_played, expected, "a talk frame is missing, twice or out of order");
    assert!(talk_played.len() as u32 + 60 > frames * 2 / 3, "the end is missing: {} frames", talk_played.len());
}

#[test]
fn a_talkers_clock_200_ppm_off_costs_no_talk_in_ten_minutes() {
    for ppm in [-200i64, 200] {
        let mut entropy = Entropy::new(1);
        let heard = converse(30_000, |index| {
            let sent = i64::from(index) * 20_000;
            (1_003_000 + sent + sent * ppm / 1_000_000) as u64 + entropy.below(12_000)
        });
        assert_all_talk(&heard.talk_played, 30_000);
        let (counts, jitter) = (heard.playout.counts(), heard.playout.jitter().counts());
        assert_eq!((jitter.lost, jitter.late, jitter.overrun), (0, 0, 0), "{ppm} ppm");
        assert_eq!(u64::from(heard.concealed), counts.drawn_out, "{ppm} ppm: ran dry while talking");
        assert_eq!(heard.concealed_talking, 0, "{ppm} ppm: a word was drawn out");
        let slips = if ppm < 0 { counts.left_out } else { counts.drawn_out };
        assert!((3..=12).contains(&slips), "{ppm} ppm: 120 ms of drift are about 6 slips, not {counts:?}");
        assert!(heard.lag_ms_end.abs() <= 40, "{ppm} ppm: {} ms off the target", heard.lag_ms_end);
    }
}

#[test]
fn a_spike_is_played_late_in_full_and_its_delay_is_won_back_in_pauses() {
    for spike_ms in [150, 300, 450] {
        let heard = converse(1_000, |index| {
            let sent = 1_005_000 + u64::from(index) * 20_000;
            let stall = 4_000_000..4_000_000 + spike_ms * 1_000;
            if stall.contains(&sent) { stall.end } else { sent }
        });
        assert_all_talk(&heard.talk_played, 1_000);
        assert!(heard.playout.counts().left_out >= (spike_ms - 100) / 20, "{spike_ms} ms");
        assert!(heard.lag_ms_end <= 40, "{spike_ms} ms: still {} ms behind", heard.lag_ms_end);
    }
}

#[test]
fn delay_never_exceeds_its_limit_even_without_a_pause() {
    let mut buffer = JitterBuffer::new();
    buffer.reset(8_000);
    for index in 0..500u32 {
        buffer.push(MonoTime::from_millis(1_000), arrival(index, b"x"));
    }
    let mut waiting = 0;
    while let Popped::Packet(_) = buffer.pop(MonoTime::from_millis(20_000)) {
        waiting += 1;
    }
    assert!(waiting * 20 <= SPAN_MAX_MS, "{waiting} packets");
    assert_eq!(buffer.counts().overrun, 500 - u64::from(waiting));
}

#[test]
fn packets_of_10_and_40_ms_come_out_as_whole_frames_in_order() {
    for packet_ms in [10u32, 40] {
        let format = Format { packet_ms: packet_ms as u8, ..Format::usual(Codec::L16) };
        let mut playout = Playout::new(format, JitterBuffer::new(), Decoder::new(format).unwrap());
        let (mut out, mut pieces) = ([0; MIX_FRAME], Vec::new());
        for tick in 0..300u32 {
            for index in (0..6_000 / packet_ms).filter(|index| index * packet_ms / 20 == tick) {
                let now = MonoTime::from_millis(1_000 + u64::from(index * packet_ms));
                // Each 10 ms are as loud as their number.
                let samples = (0..packet_ms * 16).map(|n| 3_000 + (index * packet_ms / 10 + n / 160) as i16);
                let payload: Vec<u8> = samples.flat_map(i16::to_be_bytes).collect();
                playout.push(now, 1, index as u16, index * packet_ms * 16, &payload);
            }
            if playout.frame(MonoTime::from_millis(1_015 + u64::from(tick) * 20), &mut out) == Heard::Voice {
                pieces.extend([out[80], out[159], out[160], out[240]]);
            }
        }
        let expected: Vec<i16> = (0..pieces.len() as i16 / 2).flat_map(|piece| [3_000 + piece; 2]).collect();
        assert_eq!(pieces, expected, "{packet_ms} ms");
        assert!(pieces.len() > 1_160, "{packet_ms} ms: {} pieces", pieces.len());
    }
}
