//! Many incidents on one media thread, sockets included: how long a talker's packet is on its way, how much of one core it
//! costs, and whether everybody is sent something every 20 ms.
//!
//! What it defends: 100 gateways in 30 incidents with 300 legs lose nothing at a p99 below 5 ms; one core carries 100
//! incidents of 3 talkgroups with 5 endpoints each at a p99 of 25 ms, while in each somebody talks all the time and
//! somebody else a tenth of it.
//!
//! `cargo bench --bench incidents -- 100 200` measures these numbers of incidents, after the gateways.

#![expect(clippy::unwrap_used, reason = "a bench may stop at the first fault")]
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

#[path = "relay/ours.rs"]
#[expect(dead_code, reason = "the relay's bench starts one patch")]
mod ours;
mod rig;
#[path = "../tests/voice/mod.rs"]
mod voice;
#[path = "../tests/media/mod.rs"]
mod world;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crosspatch::domain::audio::{Codec, Format, MIX_FRAME};
use crosspatch::domain::id::GroupId;
use crosspatch::domain::order::{LegSpec, RouteTable};
use crosspatch::domain::port::{Overlap, PeerRule, PortSpec, TransmitSpec};
use crosspatch::io::batch::ReceiveBatch;
use crosspatch::media::codec::{Encoder, PAYLOAD_BYTES_MAX};
use crosspatch::wire::rtp::RtpHeader;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};

use ours::{Ours, talker};
use rig::{OTHERS, Thread, quantile};
use world::{leg, patch, phone};

const INCIDENTS: [usize; 4] = [10, 30, 100, 200];
/// 10 s of speech.
const FRAMES: usize = 500;
const FRAME: Duration = Duration::from_millis(20);
/// Frames of the second talker of an incident, of [`FRAMES`].
const INTERJECTION: usize = 50;
/// Different voices; talkers share them.
const VOICES: usize = 8;

fn main() {
    Thread::own().pin(OTHERS);
    println!("Opus speech, 10 s, one media thread");
    println!(
        "incidents  legs  mixed  talkers  sent of what is due  relayed p50 ms    p99   worst  of one core  us a packet"
    );
    let voices: Vec<Voice> = (0..VOICES).map(Voice::new).collect();
    gateways().measure(&voices);
    let asked: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    for incidents in if asked.is_empty() { INCIDENTS.to_vec() } else { asked } {
        for mixed in [0, 1] {
            endpoints(incidents, mixed).measure(&voices);
        }
    }
}

/// Who is where, and who talks.
struct Scene {
    incidents: usize,
    ports: Vec<PortSpec>,
    /// Incident and port.
    legs: Vec<(usize, usize)>,
    speakers: Vec<Speaker>,
}

struct Speaker {
    port: usize,
    /// The frames in which it talks, `None` for all.
    interjects_from: Option<usize>,
}

impl Speaker {
    fn talks(&self, frame: usize) -> bool {
        self.interjects_from.is_none_or(|from| (frame + FRAMES - from) % FRAMES < INTERJECTION)
    }
}

/// 100 radios' gateways with legs in 3 of 30 incidents each; as many talk as find three incidents of their own.
fn gateways() -> Scene {
    const PORTS: usize = 100;
    const INCIDENTS: usize = 30;
    let places = |port: usize| [port % INCIDENTS, (port * 7 + 3) % INCIDENTS, (port * 11 + 17) % INCIDENTS];
    let mut legs = Vec::new();
    for port in 0..PORTS {
        let mut mine = places(port).to_vec();
        mine.sort_unstable();
        mine.dedup();
        for more in 0.. {
            if mine.len() == 3 {
                break;
            }
            let next = (port + 5 + more) % INCIDENTS;
            if !mine.contains(&next) {
                mine.push(next);
            }
        }
        legs.extend(mine.into_iter().map(|incident| (incident, port)));
    }
    let mut busy = [false; INCIDENTS];
    let mut speakers = Vec::new();
    for port in 0..PORTS {
        let mine: Vec<usize> = legs.iter().filter(|leg| leg.1 == port).map(|leg| leg.0).collect();
        if mine.iter().all(|incident| !busy[*incident]) {
            mine.iter().for_each(|incident| busy[*incident] = true);
            speakers.push(Speaker { port, interjects_from: None });
        }
    }
    Scene { incidents: INCIDENTS, ports: (0..PORTS).map(|at| port(at, at, Overlap::One)).collect(), legs, speakers }
}

/// Incidents of three talkgroups with five endpoints each, of which the last `mixed` hear talkers mixed.
fn endpoints(incidents: usize, mixed: usize) -> Scene {
    let overlap = |at: usize| if at % 5 >= 5 - mixed { Overlap::Mix } else { Overlap::One };
    let count = incidents * 15;
    let speakers = (0..incidents).flat_map(|incident| {
        let first = Speaker { port: incident * 15, interjects_from: None };
        let second = Speaker { port: incident * 15 + 5, interjects_from: Some(incident * 37 % FRAMES) };
        [first, second]
    });
    Scene {
        incidents,
        ports: (0..count).map(|at| port(at, at / 5, overlap(at))).collect(),
        legs: (0..count).map(|at| (at / 15, at)).collect(),
        speakers: speakers.collect(),
    }
}

fn port(at: usize, group: usize, overlap: Overlap) -> PortSpec {
    let phone = phone(at as u128 + 1, Codec::Opus);
    let transmit = TransmitSpec { overlap, ..phone.transmit };
    PortSpec { group: Some(GroupId(group as u128 + 1)), transmit, ..phone }
}

impl Scene {
    fn measure(mut self, voices: &[Voice]) {
        let sink = Sink::start();
        for (at, port) in self.ports.iter_mut().enumerate() {
            port.peer = PeerRule::Static(sink.address(at));
        }
        let mut sockets = Vec::new();
        for speaker in &self.speakers {
            let (socket, address) = talker();
            self.ports[speaker.port].peer = PeerRule::Static(address);
            sockets.push(socket);
        }
        let legs: Vec<LegSpec> =
            self.legs.iter().map(|(incident, at)| leg(*incident as u128 + 1, &self.ports[*at])).collect();
        let patches = (0..self.incidents).map(|at| patch(at as u128 + 1)).collect();
        let ours = Ours::of(RouteTable { ports: self.ports.clone(), patches, legs, ..RouteTable::default() });
        let (begun, cpu) = (Instant::now(), ours.thread.cpu());
        let sent = self.talk(&sockets, &ours.inputs, voices);
        std::thread::sleep(FRAME * 5);
        let (cpu, elapsed) = (ours.thread.cpu() - cpu, begun.elapsed());
        ours.finish();
        let heard = sink.finish();
        let mut ms: Vec<f64> = heard.stamped.iter().filter_map(|(stamp, at)| sent.since(*stamp, *at)).collect();
        println!(
            "{:>9} {:>5} {:>6} {:>8} {:>19.3}% {:>15.2} {:>6.2} {:>7.2} {:>12.3} {:>12.2}",
            self.incidents,
            self.legs.len(),
            self.ports.iter().filter(|port| port.transmit.overlap == Overlap::Mix).count(),
            self.speakers.len(),
            heard.packets as f64 / (self.listeners() * FRAMES) as f64 * 100.0,
            quantile(&mut ms, 0.5),
            quantile(&mut ms, 0.99),
            quantile(&mut ms, 1.0),
            cpu.as_secs_f64() / elapsed.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / heard.packets as f64,
        );
    }

    /// Who hears somebody who talks all the time, and never talks.
    fn listeners(&self) -> usize {
        let mut busy = vec![false; self.incidents];
        for speaker in self.speakers.iter().filter(|speaker| speaker.interjects_from.is_none()) {
            self.legs.iter().filter(|leg| leg.1 == speaker.port).for_each(|leg| busy[leg.0] = true);
        }
        let speaks = |port: usize| self.speakers.iter().any(|speaker| speaker.port == port);
        let hears = |port: usize| self.legs.iter().any(|leg| leg.1 == port && busy[leg.0]);
        (0..self.ports.len()).filter(|port| !speaks(*port) && hears(*port)).count()
    }

    /// Speakers spread over the 20 ms.
    fn talk(&self, sockets: &[UdpSocket], inputs: &[SocketAddr], voices: &[Voice]) -> Sent {
        let mut sent = Sent { at: vec![None; self.speakers.len() * FRAMES] };
        let begun = Instant::now() + FRAME;
        let mut packet = [0; 1_500];
        for frame in 0..FRAMES {
            for (number, speaker) in self.speakers.iter().enumerate() {
                if !speaker.talks(frame) {
                    continue;
                }
                let phase = FRAME * number as u32 / self.speakers.len() as u32;
                let due = begun + FRAME * frame as u32 + phase;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let stamp = (number * FRAMES + frame) as u32;
                let length = voices[number % VOICES].packet(number, frame, stamp, &mut packet);
                sent.at[stamp as usize] = Some(Instant::now());
                sockets[number].send_to(&packet[..length], inputs[speaker.port]).unwrap();
            }
        }
        sent
    }
}

/// When each packet was sent, by its stamp.
struct Sent {
    at: Vec<Option<Instant>>,
}

impl Sent {
    /// How long a packet was on its way (ms).
    fn since(&self, stamp: u32, arrived: Instant) -> Option<f64> {
        let sent = (*self.at.get(stamp as usize)?)?;
        Some((arrived - sent).as_secs_f64() * 1e3)
    }
}

/// Encoded speech.
struct Voice {
    payloads: Vec<Vec<u8>>,
}

impl Voice {
    fn new(seed: usize) -> Self {
        let mut encoder = Encoder::new(Format::usual(Codec::Opus)).unwrap();
        let mut room = [0; PAYLOAD_BYTES_MAX];
        let speech = voice::speech(seed as u64 + 1, FRAMES);
        let payloads = speech.as_chunks::<MIX_FRAME>().0.iter().map(|frame| {
            encoder.push(frame);
            let length = encoder.pull(&mut room).unwrap();
            room[..length].to_vec()
        });
        Self { payloads: payloads.collect() }
    }

    /// The frame with a mark and its stamp as padding (RFC 6716 section 3.2.5), which decoders skip.
    fn packet(&self, speaker: usize, frame: usize, stamp: u32, out: &mut [u8]) -> usize {
        let header = RtpHeader {
            payload_type: world::payload_type(Codec::Opus),
            marker: frame == 0,
            sequence: frame as u16,
            timestamp: 960 * frame as u32,
            ssrc: speaker as u32 + 1,
        };
        let [toc, speech @ ..] = self.payloads[frame].as_slice() else {
            unreachable!("an encoder writes a first byte")
        };
        assert_eq!(toc & 3, 0, "one frame in each packet");
        let padding = MARK.len() + 4;
        let payload = [&[toc | 3, ONE_PADDED, padding as u8][..], speech, &MARK, &stamp.to_be_bytes()].concat();
        header.write_packet(&[], &payload, out).unwrap()
    }
}

/// Frame count byte: one frame, with padding.
const ONE_PADDED: u8 = 0x41;
/// No mix ends like this but by chance.
const MARK: [u8; 4] = *b"stmp";

/// All listeners behind one socket, as in the relay's bench; keeps each packet's stamp and time.
struct Sink {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Heard>,
}

#[derive(Default)]
struct Heard {
    packets: usize,
    stamped: Vec<(u32, Instant)>,
}

impl Sink {
    fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        if set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
            set_socket_recv_buffer_size(&socket, BUFFER).unwrap();
        }
        let port = socket.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            Thread::own().pin(OTHERS);
            collect(&socket, &ended)
        });
        Self { port, stop, thread }
    }

    fn address(&self, listener: usize) -> SocketAddr {
        let first = u32::from(Ipv4Addr::new(127, 10, 0, 1));
        SocketAddr::from((Ipv4Addr::from(first + listener as u32), self.port))
    }

    fn finish(self) -> Heard {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

fn collect(socket: &UdpSocket, ended: &AtomicBool) -> Heard {
    let mut heard = Heard::default();
    heard.stamped.reserve(4 << 20);
    let mut batch = ReceiveBatch::new();
    loop {
        let count = batch.receive(socket.as_fd()).unwrap();
        let now = Instant::now();
        for at in 0..count {
            let Some(datagram) = batch.get(at) else { continue };
            // RTCP comes to the odd port, nothing else comes here.
            heard.packets += 1;
            let Some([m, a, r, k, stamp @ ..]) = datagram.bytes.last_chunk::<8>() else { continue };
            if [*m, *a, *r, *k] == MARK {
                heard.stamped.push((u32::from_be_bytes(*stamp), now));
            }
        }
        if count == 0 {
            if ended.load(Ordering::SeqCst) {
                return heard;
            }
            let _ = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&TENTH));
        }
    }
}

/// Room for what comes while this core is busy, as the kernel counts it.
const BUFFER: usize = 32 << 20;
const TENTH: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
