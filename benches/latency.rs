//! How long people wait, on the real control task, journal, media threads and API: for the answer of a command, for a
//! cut, for a cut while the disk is stuck for 10 s, and for the first syllable.
//!
//! What it defends: an answered cut within 50 ms at p99, also while the journal blocks; a floor decision within 5 ms at
//! p99; and no packet of a cut talkgroup after the answer.

#![expect(clippy::unwrap_used, reason = "a bench may stop at the first fault")]
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod rig;
#[expect(dead_code, reason = "the stage serves the tests of the API, which ask more")]
#[path = "../tests/api/stage.rs"]
mod stage;

use std::fmt::Write;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crosspatch::api::limits::DoorLimits;
use crosspatch::domain::id::{GatewayId, PortId};
use crosspatch::wire::rtp::RtpHeader;

use rig::quantile;
use stage::{POLICE, Stage};

/// Pairs of one police and one fire talkgroup, each pair in an incident of its own.
const PAIRS: usize = 100;
/// What is cut while the disk works, and what while it is stuck.
const STUCK_FROM: usize = PAIRS / 2;
const STUCK: Duration = Duration::from_secs(10);
const FRAME: Duration = Duration::from_millis(20);
/// Bursts for each pair in the measure of the first syllable.
const ROUNDS: usize = 3;

fn main() {
    let peers: Vec<Peers> = (0..PAIRS).map(|_| Peers::new()).collect();
    let stage = Stage::of(&configuration(&peers), DoorLimits::default(), |_| ());
    println!("what                                    p50 ms  p99 ms  worst ms  of");
    open(&stage);
    first_syllables(&stage, &peers);
    cuts(&stage, &peers);
}

/// Prints one row.
fn row(what: &str, mut ms: Vec<f64>) {
    let (p50, p99, worst) = (quantile(&mut ms, 0.5), quantile(&mut ms, 0.99), quantile(&mut ms, 1.0));
    println!("{what:<38} {p50:>7.2} {p99:>7.2} {worst:>9.2} {:>3}", ms.len());
}

/// The clients at both ends of a pair.
struct Peers {
    police: UdpSocket,
    fire: UdpSocket,
}

impl Peers {
    fn new() -> Self {
        let bind = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(FRAME * 50)).unwrap();
            socket
        };
        Self { police: bind(), fire: bind() }
    }
}

fn configuration(peers: &[Peers]) -> String {
    let demo = include_str!("../config/demo.toml").split("[[talkgroup]]").next().unwrap();
    let mut text = demo.replace("id = \"police\"", "id = \"police\"\nincidents_max = 200\nlinks_max = 500");
    for (at, pair) in peers.iter().enumerate() {
        for (group, agency, socket) in [("pd", "police", &pair.police), ("fd", "fire", &pair.fire)] {
            let peer = socket.local_addr().unwrap();
            writeln!(
                text,
                "[[talkgroup]]\nid = \"{group}-{at}\"\nagency = \"{agency}\"\n\
                 announce = \"off\"\n\
                 [[gateway.rtp]]\nid = \"{group}-{at}-gw\"\ntalkgroup = \"{group}-{at}\"\nrole = \"client\"\nlocal = \"127.0.0.1:0\"\n\
                 peer = \"{peer}\"\ncodecs = [\"pcmu\"]"
            )
            .unwrap();
        }
        writeln!(
            text,
            "[[agreement]]\nid = \"both-{at}\"\nbetween = [\"police\", \"fire\"]\n\
             talkgroups = [\"pd-{at}\", \"fd-{at}\"]\nanswer = \"yes\"\n\
             [[template]]\nid = \"joint-{at}\"\ntitle = \"Joint {at}\"\ninvite = [\"fire\"]\n\
             links = [\"pd-{at}\", \"fd-{at}\"]"
        )
        .unwrap();
    }
    text
}

fn command(stage: &Stage, token: &str, body: &str) -> Duration {
    let begun = Instant::now();
    let answer = stage.post(token, "/api/v1/commands", body);
    assert_eq!(answer.status, 200, "{answer:?}");
    begun.elapsed()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn open(stage: &Stage) {
    let open = |at: usize| {
        let begun = Instant::now();
        let answer = stage.post(POLICE, "/api/v1/incidents", &format!(r#"{{"template":"joint-{at}"}}"#));
        assert_eq!(answer.status, 200, "{answer:?}");
        begun.elapsed()
    };
    row("incident opened, one POST", (0..PAIRS).map(|at| ms(open(at))).collect());
}

/// Where the daemon listens for a gateway.
fn inputs(stage: &Stage) -> Vec<(SocketAddr, SocketAddr)> {
    let seen = stage.link.seen.borrow().clone();
    let bound = |gateway: &str| seen.bound[&PortId::of_gateway(&GatewayId::new(gateway).unwrap())];
    (0..PAIRS).map(|at| (bound(&format!("pd-{at}-gw")), bound(&format!("fd-{at}-gw")))).collect()
}

/// A stream of loud PCMU packets.
struct Voice {
    header: RtpHeader,
}

impl Voice {
    fn new(ssrc: u32) -> Self {
        Self { header: RtpHeader { payload_type: 0, marker: true, sequence: 1, timestamp: 160, ssrc } }
    }

    fn say(&mut self, from: &UdpSocket, to: SocketAddr) {
        let mut packet = [0; 200];
        let length = self.header.write_packet(&[], &[0x10; 160], &mut packet).unwrap();
        from.send_to(&packet[..length], to).unwrap();
        self.header.marker = false;
        self.header.sequence += 1;
        self.header.timestamp += 160;
    }
}

/// From the first packet of a burst to the same packet at the other agency's client: floor decision, routes, relay. A
/// client's first packet is speech; a radio's waits until its key is certainly no click (`min_burst_ms`).
fn first_syllables(stage: &Stage, peers: &[Peers]) {
    let inputs = inputs(stage);
    let mut voices: Vec<Voice> = (0..PAIRS).map(|at| Voice::new(at as u32 + 1)).collect();
    let mut waits = Vec::new();
    for _ in 0..ROUNDS {
        for (pair, (voice, (police, _))) in peers.iter().zip(voices.iter_mut().zip(&inputs)) {
            let begun = Instant::now();
            voice.say(&pair.police, *police);
            pair.fire.recv(&mut [0; 1500]).expect("the first packet arrives");
            waits.push(ms(begun.elapsed()));
            voice.header.marker = true;
            voice.header.timestamp += 8_000;
        }
        // Every burst has ended and its floor's hang time is over.
        std::thread::sleep(FRAME * 100);
        peers.iter().for_each(|pair| drain(&pair.fire));
    }
    row("first syllable, packet to packet", waits);
}

fn drain(socket: &UdpSocket) {
    socket.set_nonblocking(true).unwrap();
    while socket.recv(&mut [0; 1500]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
}

/// Each pair's fire client talks without end; police are cut, half of them while another holds the journal's file.
fn cuts(stage: &Stage, peers: &[Peers]) {
    let inputs = inputs(stage);
    let stop = Arc::new(AtomicBool::new(false));
    let talk = |ended: &AtomicBool| {
        let mut voices: Vec<Voice> = (0..PAIRS).map(|at| Voice::new(5_000 + at as u32)).collect();
        let mut due = Instant::now();
        while !ended.load(Ordering::Relaxed) {
            for (pair, (voice, (_, fire))) in peers.iter().zip(voices.iter_mut().zip(&inputs)) {
                voice.say(&pair.fire, *fire);
            }
            due += FRAME;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| talk(&stop));
        let mut late = 0;
        let mut cut = |at: usize| {
            peers[at].police.recv(&mut [0; 1500]).expect("it hears before it is cut");
            let waited = command(stage, POLICE, &format!(r#"{{"do":"cut","target":{{"talkgroup":"pd-{at}"}}}}"#));
            drain(&peers[at].police);
            peers[at].police.set_read_timeout(Some(FRAME * 5)).unwrap();
            late += u32::from(peers[at].police.recv(&mut [0; 1500]).is_ok());
            ms(waited)
        };
        row("cut, answered, disk works", (0..STUCK_FROM).map(&mut cut).collect());
        let (held, hold) = mpsc::channel();
        let path = stage.folder.path().join("data/journal.sqlite");
        scope.spawn(move || {
            let file = rusqlite::Connection::open(path).unwrap();
            file.execute_batch("BEGIN IMMEDIATE").unwrap();
            held.send(()).unwrap();
            std::thread::sleep(STUCK);
        });
        hold.recv().unwrap();
        let begun = Instant::now();
        let stuck: Vec<f64> = (STUCK_FROM..PAIRS).map(&mut cut).collect();
        let within = begun.elapsed();
        row("cut, answered, journal blocked 10 s", stuck);
        println!("  all of them within {:.1} s of the block's beginning", within.as_secs_f64());
        println!("  pairs that heard a packet after the answer: {late}");
        stop.store(true, Ordering::Relaxed);
    });
}
