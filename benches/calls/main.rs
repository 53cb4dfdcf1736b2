//! A county's phones on the real daemon, one core for it: how fast they register and call, what a call costs in memory, what
//! their speech costs beside a bare fan-out of the same packets and when it comes, plain and encrypted, and what 10,000
//! datagrams a second that are no SIP do to it.
//!
//! What it defends: 1,000 registered phones, 500 calls, 50 set up a second; under the flood everything is delivered, and no
//! later than without.

#![expect(clippy::unwrap_used, reason = "a bench may stop at the first fault")]
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

#[path = "../relay/floor.rs"]
#[expect(dead_code, reason = "the relay's bench compares two ways")]
mod floor;
mod phone;
#[path = "../rig/mod.rs"]
mod rig;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crosspatch::io::batch::ReceiveBatch;
use crosspatch::wire::rtp::RtpHeader;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use floor::{Floor, Way};
use phone::{Phone, user};
use rig::{MEASURED, OTHERS, Thread, quantile};

const PHONES: usize = 1_000;
const CALLS: [usize; 2] = [500, 1_000];
const CALLS_PER_SECOND: u32 = 50;
/// 10 s of speech.
const FRAMES: usize = 500;
const FRAME: Duration = Duration::from_millis(20);
const FLOOD_PER_SECOND: u32 = 10_000;
/// Sources of the flood.
const STRANGERS: usize = 64;
const PASSWORD: &str = "county-1234";

fn main() {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    let county = County::start();
    let mut phones: Vec<Phone> =
        (0..PHONES).map(|number| Phone::new(number, county.sip, "crosspatch", PASSWORD)).collect();
    let began = Instant::now();
    phones.iter_mut().for_each(Phone::register);
    let (took, cpu) = (began.elapsed(), county.cpu(""));
    println!(
        "{PHONES} phones registered in {:.2} s, one after the other; the daemon's CPU {:.2} s",
        took.as_secs_f64(),
        cpu.as_secs_f64()
    );
    let listener = Listener::start();
    println!("calls                          delivered  p50 ms    p99  worst  of one core  us a packet  of the floor");
    for count in CALLS {
        let calls = &mut phones[..count];
        let addresses = calls.iter().map(|phone| SocketAddr::new(phone.ip(), listener.port)).collect();
        let floor = Floor::start(Way::OneSocket, addresses);
        let bare =
            listener.hear_speech("bare fan-out", (&county.radio, floor.input), &|| floor.thread.cpu(), &[], || ());
        floor.finish();
        bare.print(count, &bare);
        for (name, encrypted) in [("plain", false), ("encrypted", true)] {
            let before = county.resident_kib();
            let mut took = calls_paced(calls, &listener, encrypted);
            let each = (county.resident_kib() - before) / count as f64;
            let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|share| quantile(&mut took, share));
            println!("{count} {name}: set up p50 {p50:.2} ms, p99 {p99:.2}, worst {worst:.2}; {each:.1} KiB a call");
            let (radio, cpu) = ((&county.radio, county.input), || county.cpu("media"));
            listener.hear_speech(name, radio, &cpu, calls, || ()).print(count, &bare);
            let flooded = format!("{name}, flooded");
            listener.hear_speech(&flooded, radio, &cpu, calls, flood(county.sip)).print(count, &bare);
            calls.iter_mut().for_each(Phone::hang_up);
        }
    }
}

/// At their pace; what each took (ms).
fn calls_paced(phones: &mut [Phone], listener: &Listener, encrypted: bool) -> Vec<f64> {
    let began = Instant::now();
    let paced = phones.iter_mut().zip(0..).map(|(phone, at)| {
        std::thread::sleep((Duration::from_secs(1) * at / CALLS_PER_SECOND).saturating_sub(began.elapsed()));
        phone.call("pd-1", listener.port, encrypted).as_secs_f64() * 1e3
    });
    paced.collect()
}

/// Starts now; ends with what comes back, which is how many were sent a second.
fn flood(to: SocketAddr) -> impl FnOnce() {
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        Thread::own().pin(OTHERS);
        let first = u32::from(Ipv4Addr::new(127, 12, 0, 1));
        let sources = (0..STRANGERS as u32).map(|at| UdpSocket::bind((Ipv4Addr::from(first + at), 0)).unwrap());
        let sources: Vec<UdpSocket> = sources.collect();
        let text =
            "INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 1.2.3.4;branch=\r\nFrom: <sip:@>;tag\r\nCSeq: x INVITE\r\n\r\n";
        let (began, mut sent) = (Instant::now(), 0);
        while !ended.load(Ordering::SeqCst) {
            let due = (began.elapsed().as_secs_f64() * f64::from(FLOOD_PER_SECOND)) as usize;
            for at in sent..due {
                let bytes = &text.as_bytes()[at % 40..];
                let _ = sources[at % STRANGERS].send_to(bytes, to);
            }
            sent = due;
            std::thread::sleep(Duration::from_millis(1));
        }
        sent as f64 / began.elapsed().as_secs_f64()
    });
    move || {
        stop.store(true, Ordering::SeqCst);
        println!("{:<20} {:.0} datagrams a second", "  flood", thread.join().unwrap());
    }
}

/// The daemon, one radio of its talkgroup, and the folder that it lives in.
struct County {
    child: Child,
    sip: SocketAddr,
    input: SocketAddr,
    radio: UdpSocket,
    _folder: tempfile::TempDir,
}

impl County {
    /// On a core of its own.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let radio = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let [sip, input] = [(); 2].map(|()| free_port());
        let file = folder.path().join("county.toml");
        fs::write(&file, configuration(folder.path(), sip, input, radio.local_addr().unwrap())).unwrap();
        // What it starts inherits the core.
        Thread::own().pin(MEASURED);
        let mut child = Command::new(env!("CARGO_BIN_EXE_crosspatch"))
            .args(["run", "--config"])
            .arg(&file)
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Thread::own().pin(OTHERS);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        while !said.last().is_some_and(|line: &String| line.contains(" ready ")) {
            let line = lines.next().and_then(Result::ok);
            said.push(line.unwrap_or_else(|| panic!("the daemon does not start: {said:#?}")));
        }
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, sip, input, radio, _folder: folder }
    }

    /// CPU time of threads whose name begins so ; of none in particular: of all.
    fn cpu(&self, name: &str) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().map(|entry| entry.unwrap().path());
        let is_it =
            |task: &std::path::PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.starts_with(name));
        let times = tasks.filter(is_it).filter_map(|task| {
            let text = fs::read_to_string(task.join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(times.sum())
    }

    fn resident_kib(&self) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for County {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Even, as RTP wants it.
fn free_port() -> SocketAddr {
    let any = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    std::iter::repeat_with(any).find(|at| at.port() % 2 == 0).unwrap()
}

fn configuration(folder: &Path, sip: SocketAddr, input: SocketAddr, radio: SocketAddr) -> String {
    let password = folder.join("password");
    fs::write(&password, PASSWORD).unwrap();
    let mut text = format!(
        "[server]\ndata_dir = {:?}\nhttp = \"127.0.0.1:0\"\nlog = \"info\"\nmedia_address = \"127.0.0.1\"\n\
         media_ports = \"20000-25999\"\n\
         shards = 1\n\n\
         [sip]\nlisten = \"{sip}\"\ncodecs = [\"pcmu\"]\nkeys_in_clear = true\n\n\
         [[agency]]\nid = \"pd\"\ncontact_24h = \"+1 555 0100\"\n\n\
         [[talkgroup]]\nid = \"pd-1\"\nagency = \"pd\"\nannounce = \"off\"\n\n\
         [[gateway.rtp]]\nid = \"radio\"\ntalkgroup = \"pd-1\"\nlocal = \"{input}\"\npeer = \"{radio}\"\ncodecs = [\"pcmu\"]\n\
         min_burst_ms = 0\n\n",
        folder.join("store")
    );
    for number in 0..PHONES {
        let _ = write!(text, "[[phone]]\nid = \"{}\"\ntalkgroup = \"pd-1\"\nfile = {password:?}\n\n", user(number));
    }
    text
}

/// All phones' loudspeakers behind one socket.
struct Listener {
    port: u16,
    socket: Arc<UdpSocket>,
    /// Of the radio: each time it speaks it is another one.
    streams: Cell<u32>,
}

/// Stream, sequence number and when it came.
type Arrival = (u32, u16, Instant);

impl Listener {
    fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        if set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
            set_socket_recv_buffer_size(&socket, BUFFER).unwrap();
        }
        Self { port: socket.local_addr().unwrap().port(), socket: Arc::new(socket), streams: Cell::new(0) }
    }

    /// What comes of 10 s of speech from a radio; `end` is called after it. `cpu` is whose time counts.
    fn hear_speech(
        &self,
        name: &str,
        radio: (&UdpSocket, SocketAddr),
        cpu: &dyn Fn() -> Duration,
        phones: &[Phone],
        end: impl FnOnce(),
    ) -> Heard {
        let stop = Arc::new(AtomicBool::new(false));
        let hears = self.hear(&stop);
        let stream = self.streams.get() + 1;
        self.streams.set(stream);
        let before = cpu();
        let sent = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    phones.iter().for_each(Phone::answer_pings);
                    std::thread::sleep(Duration::from_millis(200));
                }
            });
            let sent = speak(radio, stream);
            std::thread::sleep(Duration::from_millis(500));
            stop.store(true, Ordering::SeqCst);
            sent
        });
        let cpu = cpu() - before;
        end();
        let arrivals = hears.join().unwrap();
        Heard { name: name.to_owned(), packets: arrivals.len(), waits: waits(&arrivals, &sent), cpu }
    }

    fn hear(&self, stop: &Arc<AtomicBool>) -> JoinHandle<Vec<Arrival>> {
        let (socket, stop) = (Arc::clone(&self.socket), Arc::clone(stop));
        std::thread::spawn(move || {
            Thread::own().pin(OTHERS);
            let mut batch = ReceiveBatch::new();
            let mut arrivals = Vec::with_capacity(2 * FRAMES * PHONES);
            loop {
                let count = batch.receive(socket.as_fd()).unwrap();
                let now = Instant::now();
                for at in 0..count {
                    let Some([_, kind, high, low, _, _, _, _, a, b, c, d]) =
                        batch.get(at).and_then(|datagram| datagram.bytes.first_chunk::<12>().copied())
                    else {
                        continue;
                    };
                    if kind & 0x7f == 0 {
                        arrivals.push((u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([high, low]), now));
                    }
                }
                if count == 0 {
                    if stop.load(Ordering::SeqCst) {
                        return arrivals;
                    }
                    let _ = poll(&mut [PollFd::new(&*socket, PollFlags::IN)], Some(&TENTH));
                }
            }
        })
    }
}

/// The radio speaks for 10 s; when each packet left.
fn speak((radio, to): (&UdpSocket, SocketAddr), stream: u32) -> Vec<Instant> {
    let began = Instant::now();
    let mut packet = [0; 200];
    let say = |at: usize| {
        std::thread::sleep((FRAME * at as u32).saturating_sub(began.elapsed()));
        let (sequence, timestamp) = (at as u16, at as u32 * 160);
        let header = RtpHeader { payload_type: 0, marker: at == 0, sequence, timestamp, ssrc: stream };
        let length = header.write_packet(&[], &[(at % 100) as u8; 160], &mut packet).unwrap();
        let now = Instant::now();
        radio.send_to(&packet[..length], to).unwrap();
        now
    };
    (0..FRAMES).map(say).collect()
}

/// What came of the speech.
struct Heard {
    name: String,
    packets: usize,
    waits: Vec<f64>,
    cpu: Duration,
}

impl Heard {
    fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.packets.max(1) as f64
    }

    fn print(&self, calls: usize, floor: &Self) {
        let mut waits = self.waits.clone();
        let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|share| quantile(&mut waits, share));
        let delivered = self.packets as f64 / (FRAMES * calls) as f64 * 100.0;
        let of_core = self.cpu.as_secs_f64() / (FRAME * FRAMES as u32).as_secs_f64() * 100.0;
        let (each, ratio) = (self.cpu_us(), self.cpu_us() / floor.cpu_us());
        println!(
            "{calls:>5} {:<22} {delivered:>9.2} % {p50:>6.2} {p99:>6.2} {worst:>6.2} {of_core:>10.0} % {each:>12.2} {ratio:>13.2}",
            self.name
        );
    }
}

/// How long each packet was on its way (ms): a stream's first packet is the first that was said.
fn waits(arrivals: &[Arrival], sent: &[Instant]) -> Vec<f64> {
    let mut firsts = BTreeMap::new();
    let wait = |(stream, sequence, at): &Arrival| {
        let first = *firsts.entry(*stream).or_insert(*sequence);
        let said = sent.get(usize::from(sequence.wrapping_sub(first)))?;
        Some(at.saturating_duration_since(*said).as_secs_f64() * 1e3)
    };
    arrivals.iter().filter_map(wait).collect()
}

/// Room for what all phones get at once, as the kernel counts it.
const BUFFER: usize = 32 << 20;
const TENTH: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
