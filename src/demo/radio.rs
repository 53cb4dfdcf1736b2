//! A virtual radio behind a gateway: says prompts as RTP in real time and plays what comes into a [`Track`], from a
//! thread of its own that wakes at absolute times. It shares nothing with the daemon but two UDP ports.
//!
//! A trunked radio keys late, as trunks do: it answers our keying element with GRANT only after a while, and whatever
//! speech came before is lost on its air. Its own bursts end in squelch noise.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::demo::loudspeaker::Loudspeaker;
use crate::demo::track::{Track, Utterance};
use crate::domain::audio::{Frame, MIX_FRAME};
use crate::domain::configuration::GatewayPort;
use crate::domain::port::{ExtensionIds, PayloadType};
use crate::domain::random::Entropy;
use crate::domain::talker::Alias;
use crate::domain::time::{FRAME, MonoTime};
use crate::io::clock;
use crate::media::codec::{Encoder, PAYLOAD_BYTES_MAX};
use crate::media::level::level;
use crate::wire::rtp::RtpHeader;
use crate::wire::rtp_extension::{AudioLevel, ELEMENTS_BYTES_MAX, Elements, Keying};

/// How a trunked radio differs.
#[derive(Clone, Copy, Debug)]
pub struct Trunk {
    /// From our key to its GRANT (ms).
    pub grant_after_ms: u64,
    /// Squelch noise after each burst (ms).
    pub squelch_ms: usize,
}

/// A radio that is switched on. Dropping it switches it off.
#[derive(Debug)]
pub struct Radio {
    orders: Option<mpsc::Sender<Vec<Frame>>>,
    track: Arc<Mutex<Track>>,
    thread: Option<JoinHandle<()>>,
    squelch: Vec<Frame>,
}

impl Radio {
    /// Switches a radio on. It speaks to `gateway` as the gateway's configuration says.
    pub fn start(
        socket: UdpSocket,
        gateway: SocketAddr,
        port: &GatewayPort,
        trunk: Option<Trunk>,
    ) -> Result<Self, String> {
        let payload = *port.payloads.first().ok_or("a gateway without a codec")?;
        let seed = getrandom::u64().map_err(|fault| format!("no randomness: {fault}"))?;
        let mut entropy = Entropy::new(seed);
        let squelch = squelch(&mut entropy, trunk.map_or(0, |trunk| trunk.squelch_ms));
        let track = Arc::new(Mutex::new(Track::new(clock::mono())));
        let (orders, said) = mpsc::channel();
        let unsupported = |_| format!("the demo's radios do not speak {:?}", payload.format);
        let mut set = Set {
            microphone: Microphone {
                encoder: Encoder::new(payload.format).map_err(unsupported)?,
                payload,
                extension: port.extension,
                ssrc: entropy.next_u32(),
                sequence: entropy.next_u32() as u16,
                timestamp: entropy.next_u32(),
            },
            loudspeaker: Loudspeaker::new(payload, port.extension, trunk.map(|trunk| trunk.grant_after_ms))?,
            socket,
            gateway,
            saying: Vec::new().into_iter(),
            track: Arc::clone(&track),
        };
        let thread = std::thread::Builder::new()
            .name("radio".to_owned())
            .spawn(move || set.run(&said))
            .map_err(|fault| format!("no thread for a radio: {fault}"))?;
        Ok(Self { orders: Some(orders), track, thread: Some(thread), squelch })
    }

    /// Keys and says this, then, behind a squelch, its noise.
    pub fn say(&self, mut frames: Vec<Frame>) {
        frames.extend_from_slice(&self.squelch);
        if let Some(orders) = &self.orders {
            // A radio that has ended is a bug that the verdict shows: nobody hears it.
            let _ = orders.send(frames);
        }
    }

    /// Its recordings so far.
    pub fn track(&self) -> MutexGuard<'_, Track> {
        // A recording is whole between any two samples.
        self.track.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handle to the recordings, for the view.
    pub fn shared_track(&self) -> Arc<Mutex<Track>> {
        Arc::clone(&self.track)
    }

    /// Samples of squelch noise behind each burst.
    pub fn squelch_samples(&self) -> usize {
        self.squelch.len() * MIX_FRAME
    }
}

impl Drop for Radio {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed; there is nothing to save.
            let _ = thread.join();
        }
    }
}

/// What the thread owns.
struct Set {
    microphone: Microphone,
    loudspeaker: Loudspeaker,
    socket: UdpSocket,
    gateway: SocketAddr,
    saying: std::vec::IntoIter<Frame>,
    track: Arc<Mutex<Track>>,
}

impl Set {
    fn run(&mut self, orders: &mpsc::Receiver<Vec<Frame>>) {
        let mut next = clock::mono() + FRAME;
        loop {
            self.receive_until(next);
            if self.saying.len() == 0 {
                match orders.try_recv() {
                    Ok(frames) => self.begin(frames, next),
                    Err(mpsc::TryRecvError::Empty) => {}
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
            self.tick(next);
            next = next + FRAME;
        }
    }

    /// The first frame is sent at `now`: its first sample was taken in a frame earlier.
    fn begin(&mut self, frames: Vec<Frame>, now: MonoTime) {
        let from = MonoTime(now.0 - FRAME.as_nanos() as u64);
        let utterance = Utterance { from, samples: frames.len() * MIX_FRAME };
        self.track().begins(utterance);
        self.microphone.begin();
        self.saying = frames.into_iter();
    }

    fn tick(&mut self, now: MonoTime) {
        self.microphone.pass_20_ms();
        let said = self.saying.next();
        let keying = self.loudspeaker.keying(now);
        let mut packet = [0; PAYLOAD_BYTES_MAX + 64];
        let length = match (&said, keying) {
            (Some(frame), _) => self.microphone.packet(frame, keying, &mut packet),
            (None, Some(_)) => self.microphone.sign(keying, &mut packet),
            (None, None) => None,
        };
        if let Some(length) = length {
            // The daemon may be away: that is what the verdict is about.
            let _ = self.socket.send_to(&packet[..length], self.gateway);
        }
        let heard = self.loudspeaker.play(now);
        self.track().tick(now, said.as_ref(), heard.as_ref());
    }

    fn receive_until(&mut self, until: MonoTime) {
        let mut packet = [0; 2048];
        loop {
            let left = until.since(clock::mono());
            if left.is_zero() {
                return;
            }
            if self.socket.set_read_timeout(Some(left.max(Duration::from_micros(100)))).is_err() {
                return;
            }
            match self.socket.recv_from(&mut packet) {
                Ok((length, from)) if from == self.gateway => {
                    let now = clock::mono();
                    let arrival = self.loudspeaker.take(now, &packet[..length]);
                    let mut track = self.track();
                    track.before_grant = self.loudspeaker.before_grant();
                    arrival.into_iter().for_each(|arrival| track.arrived(arrival));
                }
                Ok(_) => {}
                Err(fault) if matches!(fault.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
                Err(_) => {} // a refusal by the port of a daemon that is away
            }
        }
    }

    fn track(&self) -> MutexGuard<'_, Track> {
        self.track.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frames to RTP packets.
struct Microphone {
    encoder: Encoder,
    payload: PayloadType,
    extension: ExtensionIds,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

impl Microphone {
    fn begin(&mut self) {
        self.encoder.reset();
    }

    /// The RTP clock runs on whether somebody talks or not.
    fn pass_20_ms(&mut self) {
        self.timestamp = self.timestamp.wrapping_add(self.payload.format.ticks_per_packet());
    }

    fn packet(&mut self, frame: &Frame, keying: Option<Keying>, out: &mut [u8]) -> Option<usize> {
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        self.encoder.push(frame);
        let length = self.encoder.pull(&mut payload)?;
        let level = Some(AudioLevel { level: level(frame), voice: true });
        self.write(Elements { level, keying, talker: Alias::default() }, &payload[..length], out)
    }

    /// Keying without speech.
    fn sign(&mut self, keying: Option<Keying>, out: &mut [u8]) -> Option<usize> {
        self.write(Elements { level: None, keying, talker: Alias::default() }, &[], out)
    }

    fn write(&mut self, elements: Elements, payload: &[u8], out: &mut [u8]) -> Option<usize> {
        let mut extension = [0; ELEMENTS_BYTES_MAX];
        let written = elements.write(&self.extension, &mut extension).ok()?;
        self.sequence = self.sequence.wrapping_add(1);
        let header = RtpHeader {
            payload_type: self.payload.number,
            marker: false,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        header.write_packet(&extension[..written], payload, out).ok()
    }
}

/// Noise at about -20 dBov: what a receiver gives between the end of a carrier and its squelch.
fn squelch(entropy: &mut Entropy, ms: usize) -> Vec<Frame> {
    (0..ms / 20).map(|_| std::array::from_fn(|_| (entropy.below(11_000) as i32 - 5_500) as i16)).collect()
}
