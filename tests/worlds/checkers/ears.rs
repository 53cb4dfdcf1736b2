//! What reaches each ear, judged packet by packet: whose voice, whether it may, how often, untouched or not.

use std::collections::{BTreeMap, VecDeque};

use crosspatch::domain::audio::Gain;
use crosspatch::domain::port::{Overlap, PortRole, TransmitKeying};
use crosspatch::domain::time::MonoTime;

use super::bursts::is_several;
use super::{Findings, Law};
use crate::worlds::device::Device;
use crate::worlds::field::{Ear, Field};
use crate::worlds::reference::Reach;
use crate::worlds::stamp::{self, AMPLITUDE, EarDecoder, LIVE, OFF_AIR, Said, Stamp, TAIL, VOICES_MAX, Voice};

/// What the checkers know of the moment at which a packet leaves.
pub struct Scene<'a> {
    pub now: MonoTime,
    pub field: &'a Field,
    /// Whoever may be heard: what is published and not yet taken, and what is being taken and not yet answered.
    pub may: &'a Reach,
    /// Whoever may be heard once all that is decided is on disk.
    pub decided: &'a Reach,
    /// Whoever might be heard a few seconds ago.
    pub lately: &'a Reach,
    /// Bursts that an ear may be hearing, or whose end it may still be played: one bit per voice.
    pub sounding: &'a [u32],
    /// When each ear last had more than one to hear.
    pub several_at: &'a [MonoTime],
    /// Gains that keep a payload from passing untouched stand between these talkers and ears.
    pub levelled: &'a Reach,
}

/// Everything that reached ears.
#[derive(Default)]
pub struct Ears {
    books: BTreeMap<Ear, Book>,
    /// What each ear heard of each over.
    pub heard: BTreeMap<(Ear, Voice, u16), Heard>,
    /// Frames that reached the talkgroup's radios, to find the second one.
    radio_frames: BTreeMap<(usize, Voice, u16, u16), Ear>,
    pub happened: EarCounts,
}

/// What was met.
#[derive(Clone, Copy, Debug, Default)]
pub struct EarCounts {
    pub relayed: u64,
    pub mixed: u64,
    /// Packets in which several voices could be heard.
    pub overlaps: u64,
    pub silences: u64,
}

/// What one ear heard of one over.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Frames that came untouched.
    pub frames: Vec<u16>,
    /// Packets of a mix with this voice in it.
    pub tones: u32,
    pub last_at: MonoTime,
}

#[derive(Default)]
struct Book {
    /// Sequence numbers of the present SSRC, one bit each.
    sequences: BTreeMap<u32, Box<[u64]>>,
    decoder: EarDecoder,
    /// Something justified a mix, and no pause has ended it.
    mixes: bool,
    last_at: MonoTime,
    /// Packets in a row with several voices.
    both: u8,
    /// Who was heard in the last packets, and in which over.
    turns: VecDeque<(MonoTime, Voice, u16)>,
    /// Packets in a row in which each voice was heard without right.
    strangers: [u8; VOICES_MAX as usize],
    /// Packets since the source behind the stream has changed.
    since_rest: u8,
    /// The loudest tone of the packet before.
    loudest_before: f64,
}

impl Ears {
    /// A device's decoder reads a payload.
    pub fn read(&mut self, ear: Ear, device: &Device, payload: &[u8]) -> Said {
        let book = self.books.entry(ear).or_default();
        stamp::read(device.format(), payload, &mut book.decoder)
    }

    /// An RTP packet has left for an ear.
    pub fn departed(
        &mut self,
        ear: Ear,
        ssrc: u32,
        sequence: u16,
        said: &Said,
        scene: &Scene<'_>,
        found: &mut Findings,
    ) {
        self.check_sequence(ear, ssrc, sequence, scene, found);
        let voices: Vec<Voice> = match said {
            Said::Stamped(stamp) => {
                self.check_stamp(ear, *stamp, scene, found);
                vec![stamp.voice]
            }
            Said::Sound(sound) => self.check_sound(ear, sound, scene, found),
            Said::Silence => {
                self.happened.silences += 1;
                self.books.entry(ear).or_default().since_rest = 0;
                return;
            }
            Said::Nonsense => return,
        };
        let over = |voice: Voice| scene.field.speakers[usize::from(voice)].over;
        let overs: Vec<(Voice, u16)> = match said {
            Said::Stamped(stamp) => vec![(stamp.voice, stamp.over)],
            Said::Sound(_) | Said::Silence | Said::Nonsense => {
                voices.iter().map(|voice| (*voice, over(*voice))).collect()
            }
        };
        self.check_turns(ear, &overs, scene, found);
        if let Some(book) = self.books.get_mut(&ear) {
            book.last_at = scene.now;
        }
    }

    /// No sequence number comes twice, whatever the packet is.
    pub fn check_sequence(&mut self, ear: Ear, ssrc: u32, sequence: u16, scene: &Scene<'_>, found: &mut Findings) {
        let book = self.books.entry(ear).or_default();
        let seen = book.sequences.entry(ssrc).or_insert_with(|| vec![0; 1024].into_boxed_slice());
        let (word, bit) = (usize::from(sequence >> 6), 1 << (sequence & 63));
        if seen[word] & bit != 0 {
            let device = &scene.field.devices[ear].gateway;
            found.broken(Law::Sequence, scene.now, || format!("{device} got {sequence} of {ssrc:08x} again"));
        }
        seen[word] |= bit;
        // What lies half a circle ahead belongs to the next round.
        let ahead = sequence.wrapping_add(0x8000);
        seen[usize::from(ahead >> 6)] &= !(1 << (ahead & 63));
    }

    /// One voice, untouched.
    fn check_stamp(&mut self, ear: Ear, stamp: Stamp, scene: &Scene<'_>, found: &mut Findings) {
        self.happened.relayed += 1;
        let device = &scene.field.devices[ear];
        if !self.may(stamp.voice, ear, scene) {
            self.accuse(stamp.voice, ear, scene, found);
        }
        let shared = |origin: &Ear| scene.field.devices[*origin].spec.rf_channel.is_some();
        if stamp.air == OFF_AIR && scene.field.devices.iter().any(|other| other.spec.rf_channel.is_some()) {
            found.broken(Law::OneHop, scene.now, || format!("{} heard {stamp:?} from off the air", device.gateway));
            return;
        }
        if stamp.air == TAIL && scene.field.speakers[usize::from(stamp.voice)].through.iter().all(|at| !shared(at)) {
            let clean = scene.field.overs.get(&(stamp.voice, stamp.over)).is_some_and(|over| !over.disturbed);
            if clean {
                let what = || format!("{} heard the declared squelch tail {stamp:?}", device.gateway);
                found.broken(Law::NothingLost, scene.now, what);
            }
            return;
        }
        if stamp.air != LIVE {
            return;
        }
        let heard = self.heard.entry((ear, stamp.voice, stamp.over)).or_default();
        if heard.frames.contains(&stamp.frame) {
            found.broken(Law::Once, scene.now, || format!("{} heard {stamp:?} twice", device.gateway));
        }
        heard.frames.push(stamp.frame);
        heard.last_at = scene.now;
        if device.spec.role == PortRole::Radio {
            self.check_group(ear, stamp, scene, found);
        }
    }

    /// The same frame on two radios of one talkgroup.
    fn check_group(&mut self, ear: Ear, stamp: Stamp, scene: &Scene<'_>, found: &mut Findings) {
        let device = &scene.field.devices[ear];
        let first = scene.field.devices.iter().position(|other| other.talkgroup == device.talkgroup).unwrap_or(ear);
        let key = (first, stamp.voice, stamp.over, stamp.frame);
        let other = *self.radio_frames.entry(key).or_insert(ear);
        if other != ear {
            let other = &scene.field.devices[other].gateway;
            let what = || format!("{} and {other} both transmit {stamp:?}", device.gateway);
            found.broken(Law::Once, scene.now, what);
        }
    }

    /// Sound that the daemon made: which voices are in it, and whether it had to be made.
    fn check_sound(&mut self, ear: Ear, sound: &[i16], scene: &Scene<'_>, found: &mut Findings) -> Vec<Voice> {
        let device = &scene.field.devices[ear];
        let rate_hz = stamp::rate_hz(device.format());
        let mut voices = Vec::new();
        let loud = |voice: Voice| stamp::loudness(voice, sound, rate_hz);
        // A coder's smear is a part of whatever is loudest, or was in the packet before, which runs on into this one: where
        // a stream changes its encoder, a tone overshoots, and where a tone stops, its end is heard at others' pitches.
        let levelled = scene.field.devices.iter().any(|device| device.spec.level);
        let least = if levelled { LEVELLED * AMPLITUDE } else { AMPLITUDE };
        let in_this = (0..VOICES_MAX).map(loud).fold(0.0, f64::max);
        let sounds = sound.iter().any(|sample| sample.unsigned_abs() > 300);
        let book = self.books.entry(ear).or_default();
        let loudest = std::mem::replace(&mut book.loudest_before, in_this).max(in_this).max(least);
        let begins = book.since_rest < ONSET;
        book.since_rest = book.since_rest.saturating_add(1);
        for speaker in scene.field.speakers.iter().filter(|speaker| speaker.over > 0) {
            let part = loud(speaker.voice) / loudest;
            let audible = sounds && part > AUDIBLE;
            let strange = audible && (!begins || part > AUDIBLE_AT_ONSET) && !self.may(speaker.voice, ear, scene);
            let row = &mut self.books.entry(ear).or_default().strangers[usize::from(speaker.voice)];
            *row = if strange { row.saturating_add(1) } else { 0 };
            if *row >= 2 {
                self.accuse(speaker.voice, ear, scene, found);
            }
            if audible {
                voices.push(speaker.voice);
                let heard = self.heard.entry((ear, speaker.voice, speaker.over)).or_default();
                heard.tones += 1;
                heard.last_at = scene.now;
            }
        }
        self.happened.mixed += 1;
        self.happened.overlaps += u64::from(voices.len() > 1);
        // The end of one burst may be played into the beginning of the next; two talkers at once may not.
        let both = &mut self.books.entry(ear).or_default().both;
        *both = if voices.len() > 1 { both.saturating_add(1) } else { 0 };
        if *both > HAND_OVER && device.spec.transmit.overlap == Overlap::One {
            let what = || format!("{} carries voices {voices:?} at once", device.gateway);
            found.broken(Law::OneVoice, scene.now, what);
        }
        if voices.is_empty() && scene.sounding[ear] == 0 && device.spec.transmit.keying == TransmitKeying::Presence {
            found.broken(Law::Unkeyed, scene.now, || format!("{} got a packet and nobody talks", device.gateway));
        }
        self.check_need(ear, &voices, scene, found);
        voices
    }

    /// A mix needs a second talker, another format, or a gain.
    fn check_need(&mut self, ear: Ear, voices: &[Voice], scene: &Scene<'_>, found: &mut Findings) {
        let Some(book) = self.books.get_mut(&ear) else { return };
        let device = &scene.field.devices[ear];
        // What a hold plays was mixed before the pause, and there may have been two when nothing could leave.
        let lately = |at: MonoTime| scene.now.ms_since(at) <= 1_000 + u64::from(device.spec.transmit.hold_max_ms);
        book.mixes &= lately(book.last_at);
        let hard = |voice: u8| {
            let through = &scene.field.speakers[usize::from(voice)].through;
            through.iter().any(|talker| {
                let spec = &scene.field.devices[*talker].spec;
                !spec.payloads[0].format.relayable(device.format())
                    || spec.trim != Gain::UNITY
                    || spec.level
                    || scene.levelled.has(*talker, ear)
            })
        };
        let sounding = scene.sounding[ear];
        let several = is_several(sounding) || lately(scene.several_at[ear]);
        book.mixes |= several || (0..VOICES_MAX).any(|voice| sounding >> voice & 1 == 1 && hard(voice));
        if let [voice] = voices
            && !book.mixes
            && sounding != 0
        {
            let what = || format!("{} hears voice {voice} alone and not as it was sent", device.gateway);
            found.broken(Law::RelayBeforeMix, scene.now, what);
        }
    }

    /// On a radio, voices take turns; they do not alternate from packet to packet.
    fn check_turns(&mut self, ear: Ear, voices: &[(Voice, u16)], scene: &Scene<'_>, found: &mut Findings) {
        let device = &scene.field.devices[ear];
        let ([(voice, over)], Overlap::One) = (voices, device.spec.transmit.overlap) else { return };
        let Some(book) = self.books.get_mut(&ear) else { return };
        book.turns.retain(|(at, _, _)| scene.now.ms_since(*at) <= 60);
        if book.turns.back().is_none_or(|(_, last, _)| last != voice) {
            book.turns.push_back((scene.now, *voice, *over));
        }
        let (said, others) = ((*voice, *over), book.turns.len().saturating_sub(1));
        let again = book.turns.iter().take(others).any(|(_, voice, over)| (*voice, *over) == said);
        if book.turns.len() > 3 && again {
            let what = || format!("{} carries several voices in turn: {:?}", device.gateway, book.turns);
            found.broken(Law::OneVoice, scene.now, what);
        }
    }

    fn may(&self, voice: Voice, ear: Ear, scene: &Scene<'_>) -> bool {
        scene.field.speakers[usize::from(voice)].through.iter().any(|talker| scene.may.has(*talker, ear))
    }

    /// Which promise is broken by a voice that may not be heard.
    fn accuse(&self, voice: Voice, ear: Ear, scene: &Scene<'_>, found: &mut Findings) {
        let through = &scene.field.speakers[usize::from(voice)].through;
        let (name, talker) = (&scene.field.devices[ear].gateway, &scene.field.devices[through[0]]);
        let own = talker.talkgroup == scene.field.devices[ear].talkgroup;
        let (law, why) = if own {
            (Law::Once, "its own voice")
        } else if through.iter().any(|talker| scene.lately.has(*talker, ear)) {
            (Law::InstantAndDurable, "after it was cut")
        } else if through.iter().any(|talker| scene.decided.has(*talker, ear)) {
            (Law::InstantAndDurable, "before the journal has it")
        } else if scene.field.aired.get(&voice).is_some_and(|at| scene.now.ms_since(*at) < STILL_AIRED_MS) {
            (Law::OneHop, "off the air, in a mix")
        } else {
            (Law::Sovereignty, "and no grant lets it")
        };
        found.broken(law, scene.now, || format!("{name} hears {} {why}", talker.gateway));
    }
}

/// A jitter buffer's worth of packets in which one voice ends and the next begins.
const HAND_OVER: u8 = 7;
/// A microphone that is levelled brings a loud tone down to half of this, at least.
const LEVELLED: f64 = 0.4;
/// A voice counts as heard above this part of its amplitude: gains of worlds are -6 dB at least, leaks stay below.
const AUDIBLE: f64 = 0.25;
/// A coder that begins in mid-tone smears it for two packets: worlds 1283 and 1603 met 0.28 of the loudest where the
/// voice in question had not yet said a packet that could be played.
const AUDIBLE_AT_ONSET: f64 = 0.4;
const ONSET: u8 = 2;
/// A mix may hold what came in off the air so long ago (ms).
const STILL_AIRED_MS: u64 = 1_000;
