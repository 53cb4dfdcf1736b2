//! One burst's way from packets to the mixer: jitter buffer, decoder, and a carry that cuts packets of any
//! duration into 20 ms frames.
//!
//! Depth is corrected only where nobody speaks: surplus by leaving a frame out, deficit by drawing one out. So
//! clock drift and past spikes cost no word (law 11). Not a burst's life: whoever owns it decides when it ends.

use crate::domain::audio::{Format, Frame, MIX_FRAME, MIX_RATE_HZ};
use crate::domain::time::MonoTime;
use crate::media::codec::{Decoder, PACKET_SAMPLES_MAX};
use crate::media::jitter::{Arrival, JitterBuffer, Kept, Popped};
use crate::media::level::SpeechDetector;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Play has not begun: the frame is silent.
    NotYet,
    /// The talker's audio, at least in part.
    Voice,
    /// Made up for what did not come.
    Concealed,
    /// The talker sent nothing for this time: the frame is silent.
    Silence,
}

/// Corrections and losses that only the decoder's side sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutCounts {
    /// Frames without speech left out to win time back.
    pub left_out: u64,
    /// Frames without speech drawn out to gain depth.
    pub drawn_out: u64,
    /// Payloads the decoder refused; concealed.
    pub undecodable: u64,
}

/// See the file's head.
#[derive(Debug)]
pub struct Playout {
    jitter: JitterBuffer,
    decoder: Decoder,
    clock_hz: u32,
    carry: [i16; CARRY_MAX],
    carried: usize,
    detector: SpeechDetector,
    speaking: bool,
    dry_frames: u32,
    counts: PlayoutCounts,
}

impl Playout {
    /// For one burst. Both parts come from pools and go back there through [`Playout::into_parts`].
    pub fn new(format: Format, mut jitter: JitterBuffer, decoder: Decoder) -> Self {
        jitter.reset(format.clock_hz);
        Self {
            jitter,
            decoder,
            clock_hz: format.clock_hz,
            carry: [0; CARRY_MAX],
            carried: 0,
            detector: SpeechDetector::default(),
            speaking: false,
            dry_frames: 0,
            counts: PlayoutCounts::default(),
        }
    }

    /// At the burst's end.
    pub fn into_parts(self) -> (JitterBuffer, Decoder) {
        (self.jitter, self.decoder)
    }

    /// Takes in a packet whose RTP header says so; its duration is read from the payload.
    pub fn push(&mut self, now: MonoTime, ssrc: u32, sequence: u16, timestamp: u32, payload: &[u8]) -> Kept {
        let samples = self.decoder.samples_in(payload).unwrap_or(0);
        let ticks = (samples as u64 * u64::from(self.clock_hz) / u64::from(MIX_RATE_HZ)) as u32;
        self.jitter.push(now, Arrival { ssrc, sequence, timestamp, ticks, payload })
    }

    /// The jitter buffer's counters and depth.
    pub const fn jitter(&self) -> &JitterBuffer {
        &self.jitter
    }

    /// Packets of the talker that have not been taken up yet, those that are missing among them.
    pub fn packets_ahead(&self) -> u64 {
        self.jitter.span()
    }

    /// What was corrected.
    pub const fn counts(&self) -> PlayoutCounts {
        self.counts
    }

    /// Whether the last frame held speech; for VOX, hold and watch, never to gate a talker.
    pub const fn is_speaking(&self) -> bool {
        self.speaking
    }

    /// Whether everything that came has been played: a burst that ended may now be forgotten.
    pub const fn is_empty(&self) -> bool {
        self.jitter.is_empty() && self.carried == 0
    }

    /// The next 20 ms; call once per tick.
    pub fn frame(&mut self, now: MonoTime, out: &mut Frame) -> Heard {
        if self.carried < MIX_FRAME && !self.speaking && self.lag_ms(now) < -DEFICIT_MS && self.dry_frames == 0 {
            self.counts.drawn_out += 1;
            self.decoder.conceal(out);
            return Heard::Concealed;
        }
        let mut heard = self.one_frame(now, out);
        for _ in 0..LEFT_OUT_AT_ONCE {
            let idle = heard == Heard::Voice && !self.speaking;
            if !idle || self.lag_ms(now) < SURPLUS_MS || self.jitter.is_empty() {
                break;
            }
            self.counts.left_out += 1;
            heard = self.one_frame(now, out);
        }
        heard
    }

    /// How much later than the network asks for the next new sample is played (ms).
    fn lag_ms(&self, now: MonoTime) -> i64 {
        let carried_ms = (self.carried * 1_000 / MIX_RATE_HZ as usize) as i64;
        self.jitter.depth_ms(now) + carried_ms - i64::from(self.jitter.target_ms())
    }

    fn one_frame(&mut self, now: MonoTime, out: &mut Frame) -> Heard {
        let mut heard = if self.carried > 0 { Heard::Voice } else { Heard::NotYet };
        while self.carried < MIX_FRAME {
            let popped = self.pop(now);
            match popped {
                Heard::Voice => heard = Heard::Voice,
                Heard::Concealed if heard == Heard::NotYet => heard = Heard::Concealed,
                Heard::Concealed => {}
                Heard::NotYet | Heard::Silence => {
                    // The rest of the frame is silent; what was carried sounds first.
                    self.carry[self.carried..MIX_FRAME].fill(0);
                    self.carried = MIX_FRAME;
                    if heard == Heard::NotYet {
                        heard = popped;
                    }
                }
            }
        }
        out.copy_from_slice(&self.carry[..MIX_FRAME]);
        self.carry.copy_within(MIX_FRAME..self.carried, 0);
        self.carried -= MIX_FRAME;
        match heard {
            Heard::Voice => self.speaking = self.detector.judge(out),
            Heard::NotYet | Heard::Silence => self.speaking = false,
            Heard::Concealed => {}
        }
        heard
    }

    /// Moves one answer of the jitter buffer into the carry.
    fn pop(&mut self, now: MonoTime) -> Heard {
        let room: &mut [i16; PACKET_SAMPLES_MAX] =
            (&mut self.carry[self.carried..self.carried + PACKET_SAMPLES_MAX]).try_into().expect("the slice's length");
        let to_samples = |ticks: u32| (u64::from(ticks) * u64::from(MIX_RATE_HZ) / u64::from(self.clock_hz)) as usize;
        let popped = self.jitter.pop(now);
        self.dry_frames = if popped == Popped::Dry { self.dry_frames + 1 } else { 0 };
        match popped {
            Popped::NotYet => Heard::NotYet,
            Popped::Silence => Heard::Silence,
            Popped::Dry if self.dry_frames > DRY_CONCEALED_FRAMES => Heard::Silence,
            Popped::Dry => {
                let missing = MIX_FRAME - self.carried;
                self.decoder.conceal(&mut room[..missing.next_multiple_of(CONCEAL_STEP)]);
                self.carried = MIX_FRAME;
                Heard::Concealed
            }
            Popped::Packet(payload) => match self.decoder.decode(payload, room) {
                Ok(samples) => {
                    self.carried += samples;
                    Heard::Voice
                }
                Err(_) => {
                    self.counts.undecodable += 1;
                    self.decoder.conceal(&mut room[..MIX_FRAME]);
                    self.carried += MIX_FRAME;
                    Heard::Concealed
                }
            },
            Popped::Lost { next, ticks } => {
                let samples = to_samples(ticks).clamp(CONCEAL_STEP, PACKET_SAMPLES_MAX);
                self.decoder.recover(next.unwrap_or(&[]), &mut room[..samples]);
                self.carried += samples;
                Heard::Concealed
            }
        }
    }
}

/// Almost a frame and the longest packet.
const CARRY_MAX: usize = MIX_FRAME + PACKET_SAMPLES_MAX;
/// 2.5 ms: what libopus conceals is a multiple of this.
const CONCEAL_STEP: usize = 40;
/// Longer than 60 ms a voice is not drawn out: it would buzz.
const DRY_CONCEALED_FRAMES: u32 = 3;
/// More than a frame above the target, so that taking one frame off does not fall below it.
const SURPLUS_MS: i64 = 30;
/// Below the target by this: the next late packet would be heard.
const DEFICIT_MS: i64 = 10;
/// After a spike a pause of 100 ms wins 200 ms back; more at once would swallow pauses whole.
const LEFT_OUT_AT_ONCE: usize = 2;
