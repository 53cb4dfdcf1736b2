//! The receiving end of one direction of a call: opens each packet once, in whatever order they come.
//!
//! Not a jitter buffer and not a source check: who may send is decided before. Whoever holds the call owns it. Nothing
//! is learnt from a packet before it proved authentic, and no call but the constructors allocates.

use super::streams::{Progress, Streams};
use super::window::Window;
use super::{MasterKey, RTP_INDEX_MAX, SessionKeys, SrtpFault};
use crate::wire::rtp;

/// Keys and what was seen under them.
#[derive(Debug)]
pub struct Opener {
    keys: SessionKeys,
    streams: Streams,
    /// How often a stream may have rolled over that was heard before a restart; until a first packet has opened.
    searched: Option<u32>,
    discarded: [u64; SrtpFault::COUNT],
}

impl Opener {
    /// Has heard nothing yet.
    pub fn new(master: &MasterKey) -> Self {
        let (keys, streams) = (SessionKeys::derive(master), Streams::new());
        Self { keys, streams, searched: None, discarded: [0; SrtpFault::COUNT] }
    }

    /// After a restart under the same key: its stream may have rolled over so often, once in 22 minutes of speech. Each
    /// packet tries a few, so it is heard within a second, whoever forges meanwhile. Which packets had been seen is
    /// forgotten: until one opens, what was recorded of the call could be played again.
    pub fn resumed(master: &MasterKey, roll_overs_most: u32) -> Self {
        Self { searched: Some(roll_overs_most.min(ROLL_OVERS_SEARCHED)), ..Self::new(master) }
    }

    /// Goes on with another key. RFC 3711 lets the roll-over counter run on, many peers begin at zero again: both are
    /// understood.
    pub fn rekey(&mut self, master: &MasterKey) {
        self.keys = SessionKeys::derive(master);
        self.streams.forget_what_was_seen();
    }

    /// SSRCs and how often each has rolled over: once in 22 minutes of speech that changes.
    pub fn roll_overs(&self) -> impl Iterator<Item = (u32, u32)> {
        self.streams.iter().map(|stream| (stream.ssrc, stream.roll_overs()))
    }

    /// Packets refused for this reason.
    pub fn discarded(&self, fault: SrtpFault) -> u64 {
        self.discarded[fault as usize]
    }

    /// Opens an SRTP packet in place; returns the length of the RTP packet in front. Refused, it is left as it came.
    pub fn open_rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpFault> {
        let opened = self.try_open_rtp(packet);
        self.count(opened)
    }

    /// Opens an SRTCP packet in place; returns the length of the compound in front.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpFault> {
        let opened = self.try_open_rtcp(packet);
        self.count(opened)
    }

    fn try_open_rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpFault> {
        let header = rtp::header_bytes(packet).map_err(|_| SrtpFault::Truncated)?;
        let [_, _, high, low, .., a, b, c, d] = *packet.first_chunk::<12>().ok_or(SrtpFault::Truncated)?;
        let (sequence, ssrc) = (u16::from_be_bytes([high, low]), u32::from_be_bytes([a, b, c, d]));
        let mut stream = self.streams.known(ssrc);
        match stream.rtp {
            Progress::Heard(mut window) => {
                let index = window.estimate(sequence).ok_or(SrtpFault::Replayed)?;
                if index > RTP_INDEX_MAX {
                    return Err(SrtpFault::Exhausted);
                }
                if !window.is_fresh(index) {
                    return Err(SrtpFault::Replayed);
                }
                let length = self.keys.open_rtp(packet, header, index)?;
                window.mark(index);
                stream.rtp = Progress::Heard(window);
                self.streams.remember(stream);
                Ok(length)
            }
            Progress::Unheard { roll_overs } => {
                if !self.streams.has_room_for(ssrc) {
                    return Err(SrtpFault::Streams);
                }
                let (index, length) = self.open_first(packet, header, sequence, roll_overs)?;
                self.searched = None;
                stream.rtp = Progress::Heard(Window::begun_at(index));
                self.streams.remember(stream);
                Ok(length)
            }
        }
    }

    /// The first packet of a stream does not say how often the sequence had rolled over: not at all, or once and the
    /// packets before are lost, or as often as under the key before.
    fn open_first(
        &self,
        packet: &mut [u8],
        header: usize,
        sequence: u16,
        hint: u32,
    ) -> Result<(u64, usize), SrtpFault> {
        let guesses = [hint, hint.saturating_add(1), 0, 1];
        let guesses = if hint < 2 { &guesses[2..] } else { &guesses[..] };
        let searched = self.searched.map_or(0..0, |most| guesses_of(sequence, most));
        let mut fault = SrtpFault::Authentication;
        for roll_overs in guesses.iter().copied().chain(searched) {
            let index = u64::from(roll_overs) << 16 | u64::from(sequence);
            match self.keys.open_rtp(packet, header, index) {
                Ok(length) => return Ok((index, length)),
                Err(why) => fault = why,
            }
        }
        Err(fault)
    }

    fn try_open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpFault> {
        let index = u64::from(self.keys.rtcp_index(packet)?);
        let [_, _, _, _, a, b, c, d] = *packet.first_chunk::<8>().ok_or(SrtpFault::Truncated)?;
        let mut stream = self.streams.known(u32::from_be_bytes([a, b, c, d]));
        if stream.rtcp.is_some_and(|window| !window.is_fresh(index)) {
            return Err(SrtpFault::Replayed);
        }
        if !self.streams.has_room_for(stream.ssrc) {
            return Err(SrtpFault::Streams);
        }
        let length = self.keys.open_rtcp(packet)?;
        match &mut stream.rtcp {
            Some(window) => window.mark(index),
            None => stream.rtcp = Some(Window::begun_at(index)),
        }
        self.streams.remember(stream);
        Ok(length)
    }

    fn count(&mut self, opened: Result<usize, SrtpFault>) -> Result<usize, SrtpFault> {
        if let Err(fault) = opened {
            self.discarded[fault as usize] += 1;
        }
        opened
    }
}

/// What a packet tries after a restart: its neighbours try the others, and nothing that is forged keeps them from it.
fn guesses_of(sequence: u16, roll_overs_most: u32) -> std::ops::Range<u32> {
    let all = roll_overs_most + 1;
    let first = u32::from(sequence) % all.div_ceil(GUESSES_PER_PACKET) * GUESSES_PER_PACKET;
    first..all.min(first + GUESSES_PER_PACKET)
}

/// Guesses for one packet: a forged one costs no more.
const GUESSES_PER_PACKET: u32 = 8;
/// Four days of speech without a pause; whose call is older is heard when its sender begins a new stream.
const ROLL_OVERS_SEARCHED: u32 = 255;

#[cfg(test)]
mod tests {
    use super::super::{GROWTH_BYTES_MAX, REPLAY_WINDOW, STREAMS_MAX, Sealer, Suite};
    use super::*;
    use crate::domain::random::Entropy;

    fn master(suite: Suite, secret: u8) -> MasterKey {
        MasterKey::new(suite, &vec![secret; suite.key_bytes() + suite.salt_bytes()]).unwrap()
    }

    fn plain(ssrc: u32, sequence: u16) -> Vec<u8> {
        let voice = vec![sequence as u8; 20];
        [&[0x80, 0][..], &sequence.to_be_bytes(), &[0; 4], &ssrc.to_be_bytes(), &voice].concat()
    }

    fn seal(sealer: &mut Sealer, ssrc: u32, sequence: u16) -> Vec<u8> {
        let mut packet = plain(ssrc, sequence);
        let length = packet.len();
        packet.resize(length + GROWTH_BYTES_MAX, 0);
        let sealed = sealer.seal_rtp(&mut packet, length).unwrap();
        packet.truncate(sealed);
        packet
    }

    /// Seals steps far apart until the sequence has rolled over so often; the last packet.
    fn roll(sealer: &mut Sealer, ssrc: u32, roll_overs: u32) -> Vec<u8> {
        let steps = (1..=roll_overs * 4).map(|step| (step << 14) as u16);
        steps.map(|sequence| seal(sealer, ssrc, sequence)).last().unwrap()
    }

    #[test]
    fn every_packet_opens_once_in_whatever_order_and_over_roll_overs() {
        for suite in Suite::ALL {
            let (mut sealer, mut opener) = (Sealer::new(&master(suite, 1)), Opener::new(&master(suite, 1)));
            let mut entropy = Entropy::new(3711);
            let mut waiting = Vec::new();
            let mut opened = 0;
            for number in 0..600u32 {
                let sequence = (65_300 + number) as u16;
                waiting.push((sequence, number, seal(&mut sealer, 7, sequence)));
                while waiting.len() > 40 || number == 599 && !waiting.is_empty() {
                    // None waits until it is too old.
                    let any = entropy.below(waiting.len() as u64) as usize;
                    let at = if number - waiting[0].1 > 100 { 0 } else { any };
                    let (sequence, _, packet) = waiting.remove(at);
                    if number > 128 && entropy.percent(5) {
                        continue; // lost
                    }
                    let mut room = packet.clone();
                    let length = opener.open_rtp(&mut room).unwrap();
                    assert_eq!(room[..length], plain(7, sequence));
                    assert_eq!(opener.open_rtp(&mut packet.clone()), Err(SrtpFault::Replayed));
                    opened += 1;
                }
            }
            assert_eq!(opener.discarded(SrtpFault::Replayed), opened);
            assert_eq!(opener.roll_overs().collect::<Vec<_>>(), [(7, 1)]);
        }
    }

    #[test]
    fn a_packet_older_than_the_window_is_refused_although_it_never_came() {
        let (mut sealer, mut opener) =
            (Sealer::new(&master(Suite::AeadAes256Gcm, 1)), Opener::new(&master(Suite::AeadAes256Gcm, 1)));
        let [mut old, mut late, mut newest] = [10, 11, 10 + REPLAY_WINDOW as u16].map(|n| seal(&mut sealer, 7, n));
        assert!(opener.open_rtp(&mut newest).is_ok());
        assert_eq!(opener.open_rtp(&mut old), Err(SrtpFault::Replayed));
        assert!(opener.open_rtp(&mut late).is_ok());
    }

    #[test]
    fn a_forged_packet_teaches_nothing_and_stays_as_it_came() {
        for suite in Suite::ALL {
            let (mut sealer, mut opener) = (Sealer::new(&master(suite, 1)), Opener::new(&master(suite, 1)));
            assert!(opener.open_rtp(&mut seal(&mut sealer, 7, 100)).is_ok());
            let mut forger = Sealer::new(&master(suite, 2));
            for (ssrc, sequence) in [(7, 101), (7, 20_000), (8, 1)] {
                let forged = seal(&mut forger, ssrc, sequence);
                let mut room = forged.clone();
                assert_eq!(opener.open_rtp(&mut room), Err(SrtpFault::Authentication));
                assert_eq!(room, forged);
            }
            assert_eq!(opener.discarded(SrtpFault::Authentication), 3);
            assert!(opener.open_rtp(&mut seal(&mut sealer, 7, 101)).is_ok(), "the window has not moved");
            assert_eq!(opener.roll_overs().count(), 1, "a forger's stream takes no place");
        }
    }

    #[test]
    fn whoever_misses_a_beginning_before_the_roll_over_still_hears() {
        for suite in Suite::ALL {
            let (mut sealer, mut opener) = (Sealer::new(&master(suite, 1)), Opener::new(&master(suite, 1)));
            seal(&mut sealer, 7, 65_535);
            assert!(opener.open_rtp(&mut seal(&mut sealer, 7, 0)).is_ok());
            assert_eq!(opener.roll_overs().collect::<Vec<_>>(), [(7, 1)]);
        }
    }

    #[test]
    fn after_a_new_key_roll_overs_may_run_on_or_begin_again() {
        let suite = Suite::AesCm128HmacSha1_80;
        let (mut sealer, mut opener) = (Sealer::new(&master(suite, 1)), Opener::new(&master(suite, 1)));
        for sequence in (1..=12).map(|step| (step << 14) as u16) {
            assert!(opener.open_rtp(&mut seal(&mut sealer, 7, sequence)).is_ok());
        }
        opener.rekey(&master(suite, 2));
        assert_eq!(
            opener.open_rtp(&mut seal(&mut sealer, 7, 1)),
            Err(SrtpFault::Authentication),
            "the old key is gone"
        );
        assert_eq!(opener.roll_overs().collect::<Vec<_>>(), [(7, 3)]);
        let mut runs_on = roll(&mut Sealer::new(&master(suite, 2)), 7, 3);
        assert!(opener.open_rtp(&mut runs_on).is_ok());
        opener.rekey(&master(suite, 3));
        assert!(opener.open_rtp(&mut seal(&mut Sealer::new(&master(suite, 3)), 7, 2)).is_ok(), "begins again");
    }

    #[test]
    fn after_a_restart_a_stream_is_heard_however_often_it_had_rolled_over_and_whoever_forges() {
        let suite = Suite::AeadAes128Gcm;
        for roll_overs in [0, 9, 63, 255] {
            let mut sealer = Sealer::new(&master(suite, 1));
            if roll_overs > 1 {
                let mut first = roll(&mut sealer, 7, roll_overs);
                let fault = Opener::new(&master(suite, 1)).open_rtp(&mut first);
                assert_eq!(fault, Err(SrtpFault::Authentication));
            }
            let mut opener = Opener::resumed(&master(suite, 1), 1_000);
            let mut forger = Sealer::new(&master(suite, 2));
            let mut tried = 0;
            let packet = loop {
                tried += 1;
                assert!(opener.open_rtp(&mut seal(&mut forger, 7, tried)).is_err());
                let packet = seal(&mut sealer, 7, tried);
                if opener.open_rtp(&mut packet.clone()).is_ok() {
                    break packet;
                }
            };
            assert!(tried < 50, "{roll_overs} roll-overs: {tried} packets, a second of speech");
            assert_eq!(opener.open_rtp(&mut packet.clone()), Err(SrtpFault::Replayed));
            assert_eq!(opener.roll_overs().collect::<Vec<_>>(), [(7, roll_overs)]);
        }
    }

    #[test]
    fn one_stream_more_than_the_limit_is_refused_and_counted_and_a_hint_gives_way() {
        let suite = Suite::AesCm128HmacSha1_32;
        let (mut sealer, mut opener) = (Sealer::new(&master(suite, 1)), Opener::new(&master(suite, 1)));
        let mut other = Sealer::new(&master(suite, 1));
        for ssrc in 0..STREAMS_MAX as u32 {
            assert!(opener.open_rtp(&mut seal(&mut sealer, ssrc, 1)).is_ok());
        }
        assert_eq!(opener.open_rtp(&mut seal(&mut other, 99, 1)), Err(SrtpFault::Streams));
        let mut compound = sealed_compound(&mut sealer, 98);
        assert_eq!(opener.open_rtcp(&mut compound), Err(SrtpFault::Streams));
        assert_eq!(opener.discarded(SrtpFault::Streams), 2);
        assert!(opener.open_rtp(&mut seal(&mut sealer, 3, 2)).is_ok(), "those who have a place keep it");
        opener.rekey(&master(suite, 1));
        assert!(opener.open_rtp(&mut seal(&mut other, 99, 2)).is_ok());
        assert_eq!(opener.roll_overs().count(), STREAMS_MAX);
    }

    fn sealed_compound(sealer: &mut Sealer, ssrc: u32) -> Vec<u8> {
        let mut compound = [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes(), &[9; 24], &[0; GROWTH_BYTES_MAX]].concat();
        let sealed = sealer.seal_rtcp(&mut compound, 32).unwrap();
        compound.truncate(sealed);
        compound
    }

    #[test]
    fn a_report_opens_once_and_in_disorder() {
        for suite in Suite::ALL {
            let (mut sealer, mut opener) = (Sealer::new(&master(suite, 1)), Opener::new(&master(suite, 1)));
            let reports: Vec<_> = (0..300).map(|_| sealed_compound(&mut sealer, 7)).collect();
            for at in [0, 2, 1, 299, 200] {
                let mut room = reports[at].clone();
                assert_eq!(opener.open_rtcp(&mut room), Ok(32), "report {at}");
                assert_eq!(room[8..32], [9; 24]);
                assert_eq!(opener.open_rtcp(&mut reports[at].clone()), Err(SrtpFault::Replayed));
            }
            assert_eq!(opener.open_rtcp(&mut reports[3].clone()), Err(SrtpFault::Replayed), "too old");
            let mut forged = reports[250].clone();
            forged[10] ^= 1;
            assert_eq!(opener.open_rtcp(&mut forged), Err(SrtpFault::Authentication));
            assert!(opener.open_rtcp(&mut reports[250].clone()).is_ok(), "the forgery did not take its place");
            assert!(opener.open_rtp(&mut seal(&mut sealer, 7, 250)).is_ok(), "RTP is counted apart");
        }
    }
}
