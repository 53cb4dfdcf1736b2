//! What one party said and heard, sample by sample on a clock that all parties share, and when each packet came.
//! Written by the radio's thread each 20 ms, read by the verdict and the view.

use std::path::Path;
use std::time::Duration;

use crate::demo::verdict::Recording;
use crate::domain::audio::{Frame, Level, MIX_FRAME, MIX_RATE_HZ};
use crate::domain::time::MonoTime;
use crate::media::level;

/// One packet as it came.
#[derive(Clone, Copy, Debug)]
pub struct PacketArrival {
    pub at: MonoTime,
    pub ssrc: u32,
    pub sequence: u16,
    pub payload_bytes: u16,
    /// It carried speech to a receiver that was ready for it.
    pub played: bool,
}

/// Something said at once: its place on the common clock.
#[derive(Clone, Debug)]
pub struct Utterance {
    /// When the microphone took in its first sample.
    pub from: MonoTime,
    pub samples: usize,
}

/// See the file's head.
#[derive(Clone, Debug)]
pub struct Track {
    origin: MonoTime,
    said: Vec<i16>,
    heard: Vec<i16>,
    arrivals: Vec<PacketArrival>,
    utterances: Vec<Utterance>,
    talking: bool,
    said_level: Option<Level>,
    heard_level: Option<Level>,
    /// Speech that came before the trunk had granted: lost on the air.
    pub before_grant: u64,
}

/// What the view shows of one party.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    pub talking: bool,
    pub said: Level,
    pub heard: Level,
    pub packets: usize,
}

impl Track {
    /// Nothing said or heard; silence is counted from here.
    pub fn new(origin: MonoTime) -> Self {
        Self {
            origin,
            said: Vec::new(),
            heard: Vec::new(),
            arrivals: Vec::new(),
            utterances: Vec::new(),
            talking: false,
            said_level: None,
            heard_level: None,
            before_grant: 0,
        }
    }

    /// Everything before this moment is forgotten; a round begins.
    pub fn begin(&mut self, origin: MonoTime) {
        *self = Self::new(origin);
    }

    /// The microphone's last 20 ms, ending at `now`, and the loudspeaker's next 20 ms, beginning at `now`.
    pub fn tick(&mut self, now: MonoTime, said: Option<&Frame>, heard: Option<&Frame>) {
        self.talking = said.is_some();
        self.said_level = said.map(|frame| level::level(frame));
        self.heard_level = heard.map(|frame| level::level(frame));
        if now < self.origin {
            return;
        }
        let at = samples(now.since(self.origin));
        self.heard.resize(at, 0);
        self.heard.extend_from_slice(heard.unwrap_or(&[0; MIX_FRAME]));
        self.said.resize(at.saturating_sub(MIX_FRAME), 0);
        self.said.extend_from_slice(said.unwrap_or(&[0; MIX_FRAME]));
    }

    /// A packet came.
    pub fn arrived(&mut self, arrival: PacketArrival) {
        if arrival.at >= self.origin {
            self.arrivals.push(arrival);
        }
    }

    /// The party has begun to say this.
    pub fn begins(&mut self, utterance: Utterance) {
        self.utterances.push(utterance);
    }

    /// What was said and heard so far.
    pub fn recording(&self) -> Recording {
        Recording { said: self.said.clone(), heard: self.heard.clone() }
    }

    /// Where a moment stands in the recording.
    pub fn sample_at(&self, moment: MonoTime) -> usize {
        samples(moment.since(self.origin))
    }

    /// What was said, in order.
    pub fn utterances(&self) -> &[Utterance] {
        &self.utterances
    }

    /// Packets of speech that came between two moments.
    pub fn arrivals(&self, from: MonoTime, until: MonoTime) -> impl Iterator<Item = &PacketArrival> {
        self.arrivals.iter().filter(move |arrival| arrival.played && arrival.at >= from && arrival.at < until)
    }

    pub fn meter(&self) -> Meter {
        let silence = |level: Option<Level>| level.unwrap_or(Level::SILENCE);
        Meter {
            talking: self.talking,
            said: silence(self.said_level),
            heard: silence(self.heard_level),
            packets: self.arrivals.len(),
        }
    }

    /// Leaves `PARTY-said.wav`, `PARTY-heard.wav` and `PARTY-packets.csv` in a folder.
    pub fn write(&self, folder: &Path, party: &str) -> Result<(), String> {
        write_wav(&folder.join(format!("{party}-said.wav")), MIX_RATE_HZ, &self.said)?;
        write_wav(&folder.join(format!("{party}-heard.wav")), MIX_RATE_HZ, &self.heard)?;
        let mut text = String::from("arrived_ms,ssrc,sequence,payload_bytes,played\n");
        for packet in &self.arrivals {
            let ms = packet.at.since(self.origin).as_secs_f64() * 1e3;
            let PacketArrival { ssrc, sequence, payload_bytes, played, at: _ } = packet;
            text.push_str(&format!("{ms:.3},{ssrc:08x},{sequence},{payload_bytes},{played}\n"));
        }
        let path = folder.join(format!("{party}-packets.csv"));
        std::fs::write(&path, text).map_err(|fault| format!("{}: {fault}", path.display()))
    }
}

/// One channel of 16 bit samples as a file.
pub fn write_wav(path: &Path, rate_hz: u32, samples: &[i16]) -> Result<(), String> {
    let format = hound::WavSpec {
        channels: 1,
        sample_rate: rate_hz,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let fault = |fault: hound::Error| format!("{}: {fault}", path.display());
    let mut file = hound::WavWriter::create(path, format).map_err(fault)?;
    samples.iter().try_for_each(|sample| file.write_sample(*sample)).map_err(fault)?;
    file.finalize().map_err(fault)
}

/// Samples at the mixer's rate in so much time.
fn samples(time: Duration) -> usize {
    (time.as_nanos() * u128::from(MIX_RATE_HZ) / 1_000_000_000) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_heard_stands_at_its_moment_even_after_a_tick_that_was_missed() {
        // A machine that has run for a year: what lies before the beginning is not recorded as silence.
        let at = |ms: u64| MonoTime::from_millis(365 * 86_400_000 + ms);
        let mut track = Track::new(at(0));
        track.tick(at(0), None, None);
        track.tick(at(60), Some(&[5; MIX_FRAME]), Some(&[7; MIX_FRAME]));
        let Recording { said, heard } = track.recording();
        assert_eq!(heard.iter().position(|sample| *sample == 7), Some(track.sample_at(at(60))));
        assert_eq!(heard.iter().filter(|sample| **sample == 7).count(), MIX_FRAME);
        assert_eq!(said.iter().position(|sample| *sample == 5), Some(40 * 16), "taken in before it was sent");
    }
}
