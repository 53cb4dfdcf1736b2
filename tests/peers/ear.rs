//! A radio that hears, made of foreign programs: RTP comes in, is put in order and decoded by them, and arrives here as
//! samples at 16 kHz. What was not sent is not recorded, so a pause between two bursts has no length.
//!
//! FFmpeg is told of the codec by SDP and opens the RTCP port above as well. GStreamer has no G.722 decoder without
//! gst-libav: there it orders and unpacks, and FFmpeg decodes what it hands on.

use std::io::Read;
use std::path::Path;
use std::process::{ChildStdout, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use crosspatch::domain::audio::Codec;

use super::child::Running;
use super::hearing::heard_in;
use super::{PATIENCE, Tool, now};

/// See the file's head.
pub struct Ear {
    pub name: String,
    recording: Arc<Recording>,
    programs: Vec<Running>,
}

#[derive(Default)]
struct Recording {
    samples: Mutex<Vec<i16>>,
    more: Condvar,
}

impl Ear {
    /// Listens on a port of loopback; `folder` takes the SDP.
    pub fn start(tool: Tool, codec: Codec, port: u16, folder: &Path) -> Self {
        let name = format!("{tool:?} ear {codec:?}");
        let run = |words: String, input: Stdio| Running::start(&name, &words.split(' ').collect::<Vec<&str>>(), input);
        let mut programs = Vec::new();
        match (tool, codec) {
            (Tool::Ffmpeg, _) => programs.push(run(ffmpeg(codec, port, folder), Stdio::null())),
            (Tool::GStreamer, Codec::G722) => {
                let mut unpacks = run(gstreamer(codec, port), Stdio::null());
                let decodes = run(DECODES_G722.to_owned(), Stdio::from(unpacks.output()));
                programs.extend([unpacks, decodes]);
            }
            (Tool::GStreamer, Codec::Opus | Codec::Pcmu | Codec::Pcma | Codec::L16) => {
                programs.push(run(gstreamer(codec, port), Stdio::null()));
            }
        }
        let output = programs.last_mut().expect("one was started").output();
        let recording = Arc::<Recording>::default();
        let into = Arc::clone(&recording);
        std::thread::spawn(move || record(output, &into));
        Self { name, recording, programs }
    }

    /// How much has been heard so far (samples).
    pub fn mark(&self) -> usize {
        self.recording.samples.lock().unwrap().len()
    }

    /// Waits until speech has been heard, in what came after a mark; fails the test if it does not come.
    pub fn wait_for(&mut self, said: &[i16], mark: usize, what: &str) {
        let deadline = now() + PATIENCE;
        let (mut judged, mut likeness) = (0, 0.0);
        loop {
            let mut samples = self.recording.samples.lock().unwrap();
            // All of it can only be there once as much has come.
            while samples.len() + LEFT_OUT < mark + said.len() || samples.len() < judged + JUDGED_EVERY {
                if now() >= deadline {
                    let told: String = self.programs.iter().map(Running::said).collect();
                    let heard_ms = samples.len().saturating_sub(mark) / 16;
                    panic!("{} has not heard {what}: likeness {likeness} in {heard_ms} ms; it says: {told}", self.name);
                }
                (samples, _) = self.recording.more.wait_timeout(samples, deadline.since(now())).unwrap();
            }
            let recorded = samples[mark..].to_vec();
            judged = samples.len();
            drop(samples);
            let found = heard_in(said, &recorded);
            if found.is_heard() {
                assert!(!found.is_heard_twice(), "{} has heard {what} twice: {found:?}", self.name);
                return;
            }
            likeness = found.similarity;
            self.programs.iter_mut().for_each(Running::check);
        }
    }

    /// Whether this has been heard after a mark; it may have been said several times.
    pub fn has_heard(&self, said: &[i16], mark: usize) -> bool {
        mark < self.mark() && heard_in(said, &self.since(mark)).is_heard()
    }

    /// Everything heard after a mark.
    pub fn since(&self, mark: usize) -> Vec<i16> {
        self.recording.samples.lock().unwrap()[mark..].to_vec()
    }
}

/// Takes in what the programs decode, until they end.
fn record(mut output: ChildStdout, into: &Recording) {
    let (mut room, mut odd) = ([0; 8192], Vec::new());
    while let Ok(length @ 1..) = output.read(&mut room) {
        odd.extend_from_slice(&room[..length]);
        let (pairs, rest) = odd.as_chunks();
        into.samples.lock().unwrap().extend(pairs.iter().map(|pair| i16::from_le_bytes(*pair)));
        odd = rest.to_vec();
        into.more.notify_all();
    }
}

/// Without a jitter buffer: on loopback nothing is out of order, and one throws away what a busy machine delivers late.
fn gstreamer(codec: Codec, port: u16) -> String {
    let (encoding, clock_hz, payload_type) = numbers(codec);
    let decoded = match codec {
        Codec::Opus => "rtpopusdepay ! opusdec",
        Codec::Pcmu => "rtppcmudepay ! mulawdec",
        Codec::Pcma => "rtppcmadepay ! alawdec",
        Codec::L16 => "rtpL16depay",
        Codec::G722 => "rtpg722depay",
    };
    let samples = match codec {
        Codec::G722 => "",
        Codec::Opus | Codec::Pcmu | Codec::Pcma | Codec::L16 => {
            " ! audioconvert ! audioresample ! audio/x-raw,rate=16000,channels=1,format=S16LE"
        }
    };
    format!(
        "gst-launch-1.0 -q udpsrc address=127.0.0.1 port={port} \
         caps=application/x-rtp,media=audio,encoding-name={encoding},clock-rate={clock_hz},payload={payload_type} \
         ! {decoded}{samples} ! fdsink fd=1 sync=false"
    )
}

fn ffmpeg(codec: Codec, port: u16, folder: &Path) -> String {
    let (encoding, clock_hz, number) = numbers(codec);
    let channels = if codec == Codec::Opus { "/2" } else { "" };
    let sdp = folder.join(format!("ear-{port}.sdp"));
    let text = format!(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=ear\nc=IN IP4 127.0.0.1\nt=0 0\n\
         m=audio {port} RTP/AVP {number}\na=rtpmap:{number} {encoding}/{clock_hz}{channels}\n"
    );
    std::fs::write(&sdp, text).unwrap();
    format!(
        "ffmpeg -nostdin -loglevel error -fflags nobuffer -probesize 32 -analyzeduration 0 -reorder_queue_size 0 \
         -protocol_whitelist file,udp,rtp -i {} -ac 1 -ar 16000 -f s16le pipe:1",
        sdp.display()
    )
}

/// Name, RTP clock and payload type of a codec as the configuration's defaults have them.
fn numbers(codec: Codec) -> (&'static str, u32, u8) {
    match codec {
        Codec::Opus => ("OPUS", 48_000, 96),
        Codec::Pcmu => ("PCMU", 8_000, 0),
        Codec::Pcma => ("PCMA", 8_000, 8),
        Codec::G722 => ("G722", 8_000, 9),
        Codec::L16 => ("L16", 16_000, 97),
    }
}

const DECODES_G722: &str = "ffmpeg -nostdin -loglevel error -fflags nobuffer -probesize 32 -analyzeduration 0 \
                            -f g722 -i pipe:0 -ac 1 -ar 16000 -f s16le pipe:1";
/// A jitter buffer may leave out so much of two seconds, and a program may keep so much back.
const LEFT_OUT: usize = 16 * 200;
/// Judging costs more than hearing: once for each fifth of a second that is new.
const JUDGED_EVERY: usize = 16 * 200;
