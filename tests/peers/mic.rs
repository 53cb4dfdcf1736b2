//! A radio that talks, made of a foreign program: what it is given as samples in real time it encodes and sends as RTP.
//! It is keyed while it is given something.
//!
//! What they do that our own radios do not: FFmpeg sets the marker on every Opus packet and on no other, begins PCMU with a
//! packet of odd length, sends two packets at once, and puts as many samples as fit 1,460 bytes into one packet unless
//! `pkt_size` (with 12 bytes of header) says less. GStreamer's first Opus packet is 13.5 ms long. The RTP time of both
//! stands still while they do not talk. GStreamer has no G.722 encoder without gst-libav.

use std::collections::VecDeque;
use std::io::Write;
use std::process::{ChildStdin, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use crosspatch::domain::audio::{Codec, Frame, MIX_FRAME};

use super::child::Running;
use super::ports::wait_until_bound;
use super::{PATIENCE, Tool, now};

/// See the file's head. While it is on air a thread gives it frames: those that were said, then silence.
pub struct Mic {
    air: Arc<Air>,
    thread: Option<JoinHandle<()>>,
    program: Arc<Mutex<Running>>,
}

#[derive(Default)]
struct Air {
    waiting: Mutex<VecDeque<Frame>>,
    /// Nothing waits any more.
    said: Condvar,
    /// Keyed even with nothing to say.
    held: AtomicBool,
    over: AtomicBool,
}

impl Mic {
    /// A microphone at `from` that sends to a gateway at `to`, both ports on loopback.
    pub fn start(tool: Tool, codec: Codec, from: u16, to: u16) -> Self {
        let words = match tool {
            Tool::GStreamer => gstreamer(codec, from, to),
            Tool::Ffmpeg => ffmpeg(codec, from, to),
        };
        let words: Vec<&str> = words.split(' ').collect();
        let mut program = Running::start(&format!("{tool:?} microphone {codec:?}"), &words, Stdio::piped());
        let mut input = program.input();
        // A program opens its port once it has seen that there is something to send.
        let takes = (0..WARM_UP_FRAMES).all(|_| give(&mut input, &[0; MIX_FRAME]));
        assert!(takes, "the microphone takes nothing");
        wait_until_bound(&[from]);
        let (air, program) = (Arc::<Air>::default(), Arc::new(Mutex::new(program)));
        let (told, at) = (Arc::clone(&air), Arc::clone(&program));
        let thread = std::thread::spawn(move || talk(&told, input, &at));
        Self { air, thread: Some(thread), program }
    }

    /// Says this as soon as everything before has been said; returns at once.
    pub fn say(&self, frames: &[Frame]) {
        self.air.waiting.lock().unwrap().extend(frames);
    }

    /// Waits until all of it has been said.
    pub fn wait_until_said(&self) {
        let waiting = self.air.waiting.lock().unwrap();
        let (waiting, _) = self.air.said.wait_timeout_while(waiting, PATIENCE, |waiting| !waiting.is_empty()).unwrap();
        assert!(waiting.is_empty(), "the microphone does not take what is said");
    }

    /// Stays keyed until released, whether or not there is something to say.
    pub fn hold(&self) {
        self.air.held.store(true, Ordering::Relaxed);
    }

    pub fn release(&self) {
        self.air.held.store(false, Ordering::Relaxed);
    }
}

impl Drop for Mic {
    fn drop(&mut self) {
        self.air.over.store(true, Ordering::Relaxed);
        // A test that panics may have poisoned the lock; the program ends all the same.
        self.program.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).kill();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Real time: a frame each 20 ms for as long as there is one.
fn talk(air: &Air, mut input: ChildStdin, program: &Mutex<Running>) {
    let mut due = now();
    while !air.over.load(Ordering::Relaxed) {
        due = due.plus_ms(20);
        std::thread::sleep(due.since(now()));
        let next = air.waiting.lock().unwrap().pop_front();
        if next.is_none() {
            air.said.notify_all();
        }
        let next = next.or_else(|| air.held.load(Ordering::Relaxed).then_some([0; MIX_FRAME]));
        if next.is_some_and(|frame| !give(&mut input, &frame)) && !air.over.load(Ordering::Relaxed) {
            return program.lock().unwrap().check();
        }
    }
}

/// Whether the program took it.
fn give(input: &mut ChildStdin, frame: &Frame) -> bool {
    let bytes: Vec<u8> = frame.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    input.write_all(&bytes).and_then(|()| input.flush()).is_ok()
}

fn gstreamer(codec: Codec, from: u16, to: u16) -> String {
    // GStreamer packs as much as the network bears unless told how long a packet is (ns).
    const PACKET: &str = "min-ptime=20000000 max-ptime=20000000";
    let encoded = match codec {
        Codec::Opus => "opusenc audio-type=voice frame-size=20 ! rtpopuspay pt=96".to_owned(),
        Codec::Pcmu => format!("audio/x-raw,rate=8000 ! mulawenc ! rtppcmupay pt=0 {PACKET}"),
        Codec::Pcma => format!("audio/x-raw,rate=8000 ! alawenc ! rtppcmapay pt=8 {PACKET}"),
        Codec::L16 => format!("audio/x-raw,rate=16000,format=S16BE ! rtpL16pay pt=97 {PACKET}"),
        Codec::G722 => panic!("GStreamer's own plug-ins hold no G.722 encoder"),
    };
    format!(
        "gst-launch-1.0 -q fdsrc fd=0 blocksize=640 \
         ! rawaudioparse format=pcm pcm-format=s16le sample-rate=16000 num-channels=1 \
         ! audioconvert ! audioresample ! {encoded} \
         ! udpsink host=127.0.0.1 port={to} bind-address=127.0.0.1 bind-port={from} sync=false"
    )
}

fn ffmpeg(codec: Codec, from: u16, to: u16) -> String {
    let (encoder, payload_type, packet_bytes) = match codec {
        Codec::Opus => ("-ar 48000 -c:a libopus -application voip -frame_duration 20", 96, 1472),
        Codec::Pcmu => ("-ar 8000 -c:a pcm_mulaw", 0, 172),
        Codec::Pcma => ("-ar 8000 -c:a pcm_alaw", 8, 172),
        Codec::G722 => ("-ar 16000 -c:a g722", 9, 172),
        Codec::L16 => ("-ar 16000 -c:a pcm_s16be", 97, 652),
    };
    format!(
        "ffmpeg -nostdin -loglevel error -fflags nobuffer -probesize 32 -analyzeduration 0 \
         -f s16le -ar 16000 -ac 1 -i pipe:0 {encoder} -f rtp -payload_type {payload_type} \
         rtp://127.0.0.1:{to}?pkt_size={packet_bytes}&localrtpport={from}"
    )
}

/// FFmpeg reads at least one packet of 32 ms before it opens its output.
const WARM_UP_FRAMES: usize = 5;
