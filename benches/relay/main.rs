//! One talker, N listeners: what a packet costs beside a bare fan-out of the same packets, and when the first and the
//! last listener have it. The thing and its floors take turns in one run, so that a busy machine slows all of them.
//!
//! What it defends: relaying costs at most 1.25 times the bare fan-out, one core serves at least 3,000 listeners, and the
//! first of them hears within 0.2 ms at the median.
//!
//! `cargo bench --bench relay -- 100 1000` measures these numbers of listeners only.

#![expect(clippy::unwrap_used, reason = "a bench may stop at the first fault")]
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod floor;
mod ours;
#[path = "../rig/mod.rs"]
mod rig;
mod sink;
#[path = "../../tests/media/mod.rs"]
mod world;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crosspatch::wire::rtp::RtpHeader;

use floor::{Floor, Way};
use ours::{Ours, talker};
use rig::{OTHERS, Thread, quantile};
use sink::{Frame, Sink};

const LISTENERS: [usize; 7] = [1, 10, 100, 1_000, 2_000, 3_000, 4_000];
/// Turns of each way; the table shows medians of them.
const ROUNDS: usize = 5;
/// One turn: 2 s of speech.
const FRAMES: usize = 100;
const FRAME: Duration = Duration::from_millis(20);
/// Opus at 24 kbit/s.
const PAYLOAD: usize = 60;

fn main() {
    Thread::own().pin(OTHERS);
    println!("one talker, {PAYLOAD}-byte Opus, {ROUNDS} turns of {FRAMES} frames each, medians");
    println!(
        "listeners  way           delivered  us of CPU per packet  of one core  first p50 ms  last p50 ms  last p99 ms"
    );
    let asked: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let listeners = if asked.is_empty() { LISTENERS.to_vec() } else { asked };
    for listeners in listeners {
        let mut turns: [Vec<Turn>; 3] = Default::default();
        for _ in 0..ROUNDS {
            for (way, turns) in WAYS.iter().zip(&mut turns) {
                turns.push(way.turn(listeners));
            }
        }
        let [bare, connected, ours] = turns.map(Middle::of);
        bare.print(listeners, "one socket");
        connected.print(listeners, "connected");
        ours.print(listeners, "Crosspatch");
        println!(
            "{listeners:>9}  ratio: CPU {:.2} of one socket, {:.2} of connected; last listener {:.2} of one socket",
            ours.cpu_us / bare.cpu_us,
            ours.cpu_us / connected.cpu_us,
            ours.last_ms / bare.last_ms,
        );
    }
}

#[derive(Clone, Copy)]
enum Runner {
    Bare(Way),
    Ours,
}

const WAYS: [Runner; 3] = [Runner::Bare(Way::OneSocket), Runner::Bare(Way::Connected), Runner::Ours];

impl Runner {
    fn turn(self, listeners: usize) -> Turn {
        let sink = Sink::start(FRAMES);
        let addresses: Vec<SocketAddr> = (0..listeners).map(|at| sink.address(at)).collect();
        let (socket, talker) = talker();
        match self {
            Self::Bare(way) => {
                let floor = Floor::start(way, addresses);
                let turn = talk(&socket, floor.input, floor.thread, sink, listeners);
                floor.finish();
                turn
            }
            Self::Ours => {
                let ours = Ours::start(talker, &addresses);
                let turn = talk(&socket, ours.inputs[0], ours.thread, sink, listeners);
                ours.finish();
                turn
            }
        }
    }
}

/// One turn's figures.
struct Turn {
    delivered: f64,
    cpu_us: f64,
    core: f64,
    first_ms: Vec<f64>,
    last_ms: Vec<f64>,
}

fn talk(socket: &UdpSocket, to: SocketAddr, thread: Thread, sink: Sink, listeners: usize) -> Turn {
    let mut header = RtpHeader { payload_type: 111, marker: true, sequence: 1, timestamp: 0, ssrc: 0x51ce_0001 };
    let mut payload = [0x55; PAYLOAD];
    // Opus: SILK wideband, 20 ms, mono (RFC 6716 section 3.1).
    payload[0] = 9 << 3;
    let mut sent = Vec::with_capacity(FRAMES);
    let (begun, cpu) = (Instant::now(), thread.cpu());
    for number in 0..FRAMES {
        payload[PAYLOAD - 4..].copy_from_slice(&(number as u32).to_be_bytes());
        let mut packet = [0; 200];
        let length = header.write_packet(&[], &payload, &mut packet).unwrap();
        let due = begun + FRAME * number as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        sent.push(Instant::now());
        socket.send_to(&packet[..length], to).unwrap();
        header.marker = false;
        header.sequence += 1;
        header.timestamp += 960;
    }
    std::thread::sleep(FRAME * 5);
    let (cpu, elapsed) = (thread.cpu() - cpu, begun.elapsed());
    let frames = sink.finish();
    let packets: u32 = frames.iter().map(|frame| frame.packets).sum();
    let ms = |at: fn(&Frame) -> Option<Instant>| {
        let pairs = frames.iter().zip(&sent);
        pairs.filter_map(|(frame, sent)| Some((at(frame)? - *sent).as_secs_f64() * 1e3)).collect()
    };
    Turn {
        delivered: f64::from(packets) / (listeners * FRAMES) as f64,
        cpu_us: cpu.as_secs_f64() * 1e6 / f64::from(packets.max(1)),
        core: cpu.as_secs_f64() / elapsed.as_secs_f64(),
        first_ms: ms(|frame| frame.first),
        last_ms: ms(|frame| frame.last),
    }
}

/// Medians of the turns; the latencies over all frames of all turns.
struct Middle {
    delivered: f64,
    cpu_us: f64,
    core: f64,
    first_ms: f64,
    last_ms: f64,
    last_p99_ms: f64,
}

impl Middle {
    fn of(turns: Vec<Turn>) -> Self {
        let middle = |value: fn(&Turn) -> f64| quantile(&mut turns.iter().map(value).collect::<Vec<_>>(), 0.5);
        let mut first: Vec<f64> = turns.iter().flat_map(|turn| turn.first_ms.clone()).collect();
        let mut last: Vec<f64> = turns.iter().flat_map(|turn| turn.last_ms.clone()).collect();
        Self {
            delivered: turns.iter().map(|turn| turn.delivered).fold(1.0, f64::min),
            cpu_us: middle(|turn| turn.cpu_us),
            core: middle(|turn| turn.core),
            first_ms: quantile(&mut first, 0.5),
            last_ms: quantile(&mut last, 0.5),
            last_p99_ms: quantile(&mut last, 0.99),
        }
    }

    fn print(&self, listeners: usize, way: &str) {
        println!(
            "{listeners:>9}  {way:<12}  {:>8.3}%  {:>20.2}  {:>11.3}  {:>12.3}  {:>11.2}  {:>11.2}",
            self.delivered * 100.0,
            self.cpu_us,
            self.core,
            self.first_ms,
            self.last_ms,
            self.last_p99_ms,
        );
    }
}
