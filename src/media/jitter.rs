//! The jitter buffer of one burst: payloads in, in whatever order the network chose; out, in the talker's order.
//!
//! It is not a decoder: it says whether the next packet is there, lost, or never sent (a pause), and how deep it
//! stands against how deep it should. [`crate::media::playout`] decodes, and takes up surplus depth by leaving
//! out frames without speech, which this file cannot recognise.
//!
//! ```text
//!   transit  = arrival - timestamp          of each packet, on our clock
//!   base     = the least transit of the last 2 to 4 s: a packet that nothing delayed
//!   lateness = transit - base               goes into the histogram; target = its 98th percentile + 20 ms
//!   depth    = now - timestamp(next) - base how long after the ideal moment the next packet is played
//! ```
//!
//! A missing packet is waited for until its moment at the target depth, and when nothing is here at all the talker's
//! place is kept: what arrives late is played late, not thrown away, and the depth is won back in pauses. It grows to [`SPAN_MAX_MS`] at most; then the oldest packet goes, counted.
//! Memory is fixed. Owned by one burst, taken from a pool.

mod transit;

use crate::domain::time::MonoTime;
use crate::media::codec::PAYLOAD_BYTES_MAX;
use transit::Transit;

/// A packet as the receiver hands it over.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Stream it belongs to.
    pub ssrc: u32,
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Audio in the payload, in units of the RTP clock.
    pub ticks: u32,
    /// The codec's bytes.
    pub payload: &'a [u8],
}

/// What became of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It waits for its turn.
    Stored,
    /// It is there already, or was.
    Duplicate,
    /// Its turn is over.
    Late,
    /// Longer than [`PAYLOAD_BYTES_MAX`], or without audio.
    Unusable,
}

/// The next thing to play.
#[derive(Debug, PartialEq, Eq)]
pub enum Popped<'a> {
    /// Nothing has to sound yet: the burst's first packet still waits.
    NotYet,
    /// The next payload.
    Packet(&'a [u8]),
    /// The next packet did not come; conceal `ticks` of audio.
    Lost {
        /// The packet after it, if that is here: it may carry redundancy.
        next: Option<&'a [u8]>,
        /// Audio to make up, in units of the RTP clock.
        ticks: u32,
    },
    /// The next packet is not here and may still come in time; conceal or be silent, its place is kept.
    Dry,
    /// The talker sent nothing for this time (a pause in the timestamps without a gap in the sequence).
    Silence,
}

/// How the packets fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterCounts {
    /// Played.
    pub played: u64,
    /// Gaps that were concealed.
    pub lost: u64,
    /// Came after their turn.
    pub late: u64,
    /// Came twice.
    pub duplicate: u64,
    /// Left out because the buffer held more than it may.
    pub overrun: u64,
    /// Not usable at all.
    pub unusable: u64,
    /// Jumps of sequence, timestamp or SSRC that were bridged.
    pub jumps: u64,
}

/// See the file's head.
#[derive(Debug)]
pub struct JitterBuffer {
    clock_hz: u32,
    slots: [Slot; SLOTS],
    /// One piece for each slot; pages that were never written cost no memory.
    payloads: Box<[u8]>,
    waiting: usize,
    counts: JitterCounts,
    stream: Option<Stream>,
    transit: Transit,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    sequence: u64,
    timestamp: i64,
    ticks: u32,
    bytes: u16, // 0: empty
}

/// Wire numbers become lines that only grow: `line = wire + offset`.
#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    newest_sequence: u64,
    newest_end: i64,
    wire_sequence: u16,
    wire_timestamp: u32,
    newest_timestamp: i64,
    next_sequence: u64,
    next_timestamp: i64,
    usual_ticks: u32,
    playing: bool,
    /// The buffer ran dry where the next packet should be: its place has been concealed once.
    dried: bool,
    /// Nothing before this is wanted, even if play has not begun.
    floor_sequence: u64,
    /// The SSRC before the last jump, and until when its stragglers are told from a return.
    past_ssrc: Option<(u32, MonoTime)>,
}

impl JitterBuffer {
    /// Allocates all it will ever need: [`SLOTS`] payloads, 46 KiB.
    pub fn new() -> Self {
        Self {
            clock_hz: 8_000,
            slots: [Slot::default(); SLOTS],
            payloads: vec![0; SLOTS * PAYLOAD_BYTES_MAX].into_boxed_slice(),
            waiting: 0,
            counts: JitterCounts::default(),
            stream: None,
            transit: Transit::default(),
        }
    }

    /// Ready for another burst whose RTP clock is `clock_hz`.
    pub fn reset(&mut self, clock_hz: u32) {
        self.clock_hz = clock_hz.max(1);
        self.slots = [Slot::default(); SLOTS];
        self.waiting = 0;
        self.counts = JitterCounts::default();
        self.stream = None;
        self.transit = Transit::default();
    }

    /// How the packets fared since the last reset.
    pub const fn counts(&self) -> JitterCounts {
        self.counts
    }

    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Packets from the next one to the newest, those that are missing among them.
    pub fn span(&self) -> u64 {
        self.stream.map_or(0, |stream| (stream.newest_sequence + 1).saturating_sub(stream.next_sequence))
    }

    /// The depth the network's last seconds ask for (ms): 20 to 200.
    pub fn target_ms(&self) -> u32 {
        self.transit.target_ms()
    }

    /// How long after the ideal moment the next packet would be played (ms); 0 before the first.
    pub fn depth_ms(&self, now: MonoTime) -> i64 {
        let Some(stream) = &self.stream else { return 0 };
        let next = self.stored(stream.next_sequence).map_or(stream.next_timestamp, |slot| slot.timestamp);
        (micros(now) - self.media_us(next) - self.transit.origin_us()) / 1_000
    }

    /// Takes in a packet.
    pub fn push(&mut self, now: MonoTime, arrival: Arrival<'_>) -> Kept {
        if arrival.payload.is_empty() || arrival.payload.len() > PAYLOAD_BYTES_MAX || arrival.ticks == 0 {
            self.counts.unusable += 1;
            return Kept::Unusable;
        }
        let Some(mut stream) = self.stream else {
            self.stream = Some(Stream::starting_with(&arrival));
            self.measure(now, 0);
            return self.store(FIRST_SEQUENCE, 0, &arrival);
        };
        if stream.past_ssrc.is_some_and(|(ssrc, until)| ssrc == arrival.ssrc && now < until) {
            self.counts.late += 1;
            return Kept::Late;
        }
        let (mut sequence, mut timestamp) = stream.lines(&arrival);
        if arrival.ssrc != stream.ssrc || self.is_jump(now, &stream, sequence, timestamp) {
            (sequence, timestamp) = (stream.newest_sequence + 1, stream.newest_end);
            self.jump(now, &mut stream, arrival.ssrc);
        } else if sequence < stream.next_sequence && (stream.playing || !stream.may_begin_with(sequence)) {
            return self.too_late(now, sequence, timestamp);
        } else if self.stored(sequence).is_some() {
            self.counts.duplicate += 1;
            return Kept::Duplicate;
        }
        if sequence > stream.newest_sequence {
            stream.wire_sequence = arrival.sequence;
            stream.wire_timestamp = arrival.timestamp;
            stream.newest_sequence = sequence;
            stream.newest_timestamp = timestamp;
            stream.newest_end = timestamp + i64::from(arrival.ticks);
        } else if sequence < stream.next_sequence {
            stream.next_sequence = sequence;
            stream.next_timestamp = timestamp;
        }
        stream.usual_ticks = arrival.ticks;
        self.make_room(&mut stream, sequence);
        self.stream = Some(stream);
        self.measure(now, timestamp);
        self.store(sequence, timestamp, &arrival)
    }

    /// What to play next. Ask again while a 20 ms frame is not full: each answer but `NotYet`, `Dry` and
    /// `Silence` moves on.
    pub fn pop(&mut self, now: MonoTime) -> Popped<'_> {
        let Some(mut stream) = self.stream else { return Popped::NotYet };
        if !stream.playing {
            if !self.is_due(now, stream.next_timestamp) {
                return Popped::NotYet;
            }
            stream.playing = true;
            self.stream = Some(stream);
        }
        self.skip_what_is_overdue(now, &mut stream);
        let missing = self.stored(stream.next_sequence).is_none();
        if self.waiting == 0 || missing && !self.is_due(now, stream.next_timestamp) {
            stream.dried = true;
            self.stream = Some(stream);
            return Popped::Dry;
        }
        let at = slot_of(stream.next_sequence);
        if missing {
            stream.next_timestamp += i64::from(stream.usual_ticks);
            stream.next_sequence += 1;
            self.stream = Some(stream);
            self.counts.lost += 1;
            let next = self.stored(stream.next_sequence).map(|slot| self.payload(slot.sequence, slot.bytes));
            return Popped::Lost { next, ticks: stream.usual_ticks };
        }
        if self.slots[at].timestamp > stream.next_timestamp && !self.is_due(now, self.slots[at].timestamp) {
            self.stream = Some(stream);
            return Popped::Silence;
        }
        stream.next_timestamp = self.slots[at].timestamp + i64::from(self.slots[at].ticks);
        stream.next_sequence += 1;
        stream.dried = false;
        self.stream = Some(stream);
        self.waiting -= 1;
        self.counts.played += 1;
        let bytes = std::mem::take(&mut self.slots[at].bytes);
        Popped::Packet(self.payload(stream.next_sequence - 1, bytes))
    }

    /// Lost packets are concealed only while the one behind them has time: a gap is no reason to fall behind.
    fn skip_what_is_overdue(&mut self, now: MonoTime, stream: &mut Stream) {
        let last = stream.next_sequence + SLOTS as u64;
        let Some(slot) = (stream.next_sequence..last).find_map(|sequence| self.stored(sequence)) else { return };
        let (sequence, timestamp) = (slot.sequence, slot.timestamp);
        while stream.next_sequence < sequence
            && (stream.dried || stream.next_sequence + 1 < sequence)
            && self.is_due(now, timestamp)
        {
            stream.next_sequence += 1;
            stream.next_timestamp = timestamp;
            self.counts.lost += 1;
        }
    }

    /// Whether the moment of this timestamp has come, had it the target depth.
    fn is_due(&self, now: MonoTime, timestamp: i64) -> bool {
        let due_us = self.media_us(timestamp) + self.transit.origin_us() + i64::from(self.transit.target_ms()) * 1_000;
        micros(now) >= due_us
    }

    /// Whether numbers do not continue this stream (RFC 3550 appendix A.1), or its clock was set.
    fn is_jump(&self, now: MonoTime, stream: &Stream, sequence: u64, timestamp: i64) -> bool {
        let step = sequence as i64 - stream.newest_sequence as i64;
        let backwards = step > 0 && timestamp < stream.newest_timestamp;
        let transit_us = micros(now) - self.media_us(timestamp);
        let clock_set = step > 0 && (transit_us - self.transit.origin_us()).abs() > CLOCK_SET_US;
        !(-MISORDER_MAX..=DROPOUT_MAX).contains(&step) || backwards || clock_set
    }

    /// What still waits is played first, then the new numbers follow without a gap.
    fn jump(&mut self, now: MonoTime, stream: &mut Stream, ssrc: u32) {
        self.counts.jumps += 1;
        self.transit.forget_origin();
        if ssrc != stream.ssrc {
            stream.past_ssrc = Some((stream.ssrc, now.plus_ms(STRAGGLERS_MS)));
            stream.ssrc = ssrc;
        }
        if self.waiting == 0 {
            stream.playing = false; // nothing to play: the new stream builds its depth anew
            stream.next_sequence = stream.newest_sequence + 1;
            stream.next_timestamp = stream.newest_end;
            stream.floor_sequence = stream.next_sequence;
        }
    }

    fn too_late(&mut self, now: MonoTime, sequence: u64, timestamp: i64) -> Kept {
        // A slot keeps the number of the packet it last held: that tells a second copy from a late first one.
        if self.slots[slot_of(sequence)].sequence == sequence {
            self.counts.duplicate += 1;
            return Kept::Duplicate;
        }
        self.measure(now, timestamp);
        self.counts.late += 1;
        Kept::Late
    }

    fn measure(&mut self, now: MonoTime, timestamp: i64) {
        let transit_us = micros(now) - self.media_us(timestamp);
        self.transit.measure(now, transit_us);
    }

    /// Leaves out the oldest while the span would not fit.
    fn make_room(&mut self, stream: &mut Stream, sequence: u64) {
        let span_max = i64::from(SPAN_MAX_MS) * i64::from(self.clock_hz) / 1_000;
        while sequence >= stream.next_sequence + SLOTS as u64 || self.waiting > 1 && self.oldest_age(stream) > span_max
        {
            if self.stored(stream.next_sequence).is_some() {
                let slot = &mut self.slots[slot_of(stream.next_sequence)];
                stream.next_timestamp = slot.timestamp + i64::from(slot.ticks);
                slot.bytes = 0;
                self.waiting -= 1;
                self.counts.overrun += 1;
            } else {
                stream.next_timestamp += i64::from(stream.usual_ticks);
                self.counts.lost += 1;
            }
            stream.next_sequence += 1;
        }
    }

    /// From the next packet's beginning to the newest one's end, in ticks, pauses included only when stored.
    fn oldest_age(&self, stream: &Stream) -> i64 {
        self.stored(stream.next_sequence).map_or(0, |slot| stream.newest_end - slot.timestamp)
    }

    fn store(&mut self, sequence: u64, timestamp: i64, arrival: &Arrival<'_>) -> Kept {
        let at = slot_of(sequence);
        assert!(self.slots[at].bytes == 0, "make_room keeps the ring's span");
        let bytes = arrival.payload.len() as u16; // at most PAYLOAD_BYTES_MAX
        self.slots[at] = Slot { sequence, timestamp, ticks: arrival.ticks, bytes };
        self.payloads[at * PAYLOAD_BYTES_MAX..][..arrival.payload.len()].copy_from_slice(arrival.payload);
        self.waiting += 1;
        Kept::Stored
    }

    fn payload(&self, sequence: u64, bytes: u16) -> &[u8] {
        &self.payloads[slot_of(sequence) * PAYLOAD_BYTES_MAX..][..usize::from(bytes)]
    }

    fn stored(&self, sequence: u64) -> Option<&Slot> {
        let slot = &self.slots[slot_of(sequence)];
        (slot.bytes > 0 && slot.sequence == sequence).then_some(slot)
    }

    fn media_us(&self, timestamp: i64) -> i64 {
        timestamp * 1_000_000 / i64::from(self.clock_hz)
    }
}

impl Default for JitterBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Stream {
    /// A packet's place on the growing lines.
    fn lines(&self, arrival: &Arrival<'_>) -> (u64, i64) {
        let step = i64::from(arrival.sequence.wrapping_sub(self.wire_sequence) as i16);
        let ticks_on = i64::from(arrival.timestamp.wrapping_sub(self.wire_timestamp) as i32);
        (self.newest_sequence.saturating_add_signed(step), self.newest_timestamp + ticks_on)
    }

    /// Before play begins an earlier packet than the first that came may still open it.
    fn may_begin_with(&self, sequence: u64) -> bool {
        sequence >= self.floor_sequence && self.newest_sequence - sequence < SLOTS as u64
    }

    fn starting_with(arrival: &Arrival<'_>) -> Self {
        Self {
            ssrc: arrival.ssrc,
            newest_sequence: FIRST_SEQUENCE,
            newest_end: i64::from(arrival.ticks),
            wire_sequence: arrival.sequence,
            wire_timestamp: arrival.timestamp,
            newest_timestamp: 0,
            next_sequence: FIRST_SEQUENCE,
            next_timestamp: 0,
            usual_ticks: arrival.ticks,
            playing: false,
            dried: false,
            floor_sequence: 0,
            past_ssrc: None,
        }
    }
}

fn slot_of(sequence: u64) -> usize {
    sequence as usize % SLOTS
}

fn micros(time: MonoTime) -> i64 {
    i64::try_from(time.0 / 1_000).unwrap_or(i64::MAX)
}

/// 640 ms of 20 ms packets, 320 ms of 10 ms packets.
pub const SLOTS: usize = 32;
/// Beyond this the voice is no conversation any more: the oldest packet is left out.
pub const SPAN_MAX_MS: u32 = 600;
/// RFC 3550 appendix A.1.
const DROPOUT_MAX: i64 = 3_000;
const MISORDER_MAX: i64 = 100;
/// No network delays by 2 s what is still a conversation: the talker's clock was set.
const CLOCK_SET_US: i64 = 2_000_000;
/// How long packets of the SSRC before may still arrive after a new one began.
const STRAGGLERS_MS: u64 = 500;
/// Room below for packets older than the first one that came.
const FIRST_SEQUENCE: u64 = 1 << 20;
