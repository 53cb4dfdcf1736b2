//! The people and machines at the far ends: radios with squelch tails and trunks that grant late, telephones, clients,
//! desks, and whoever speaks into them. What they send is RTP as the wire has it; what they do is drawn from the seed
//! or told by a scenario. Not the daemon, and it knows nothing of incidents.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crosspatch::domain::audio::Codec;
use crosspatch::domain::configuration::{Configuration, GatewayKind};
use crosspatch::domain::id::{PortId, TalkgroupId};
use crosspatch::domain::port::{GrantSign, PeerRule, PortRole, ReceiveKeying, TransmitKeying};
use crosspatch::domain::random::Entropy;
use crosspatch::domain::time::MonoTime;
use crosspatch::wire::rtp::RtpPacket;
use crosspatch::wire::rtp_extension::{Elements, Keying};

use super::device::{Device, Transmitter};
use super::geography::{LINE, far_address};
use super::network::{Network, Quality};
use super::stamp::{self, FILLER, LIVE, OFF_AIR, Said, Stamp, TAIL, Voice};

/// A device's number: a bit in the sets of who may hear whom.
pub type Ear = usize;

/// A datagram on its way to the daemon.
#[derive(Clone, Debug)]
pub struct Datagram {
    pub to: Ear,
    pub source: SocketAddr,
    pub bytes: Vec<u8>,
    /// What is in it, for the checkers.
    pub stamp: Option<Stamp>,
    /// RTCP.
    pub control: bool,
}

/// Everyone at the far ends.
pub struct Field {
    pub devices: Vec<Device>,
    pub speakers: Vec<Speaker>,
    pub overs: BTreeMap<(Voice, u16), Over>,
    /// When a receiver last sent in what it had heard of a voice off the air.
    pub aired: BTreeMap<Voice, MonoTime>,
    pub happened: FieldCounts,
}

/// What a field met; the run asserts that none stays zero.
#[derive(Clone, Copy, Debug, Default)]
pub struct FieldCounts {
    pub late_grants: u64,
    pub denied_grants: u64,
    pub tails: u64,
    pub stuck: u64,
    pub moved: u64,
    pub floods: u64,
    pub garbage: u64,
    pub off_air: u64,
    pub reports: u64,
    /// Overs that began at a port that is keyed, spoken or levelled so.
    pub by_event: u64,
    pub by_loudness: u64,
    pub in_g722: u64,
    pub levelled: u64,
}

/// Someone who speaks, through every radio of a talkgroup or through one device.
#[derive(Clone, Debug)]
pub struct Speaker {
    pub voice: Voice,
    /// The devices that pick the voice up.
    pub through: Vec<Ear>,
    pub over: u16,
    /// Frames said and to be said of the present over.
    pub said: u16,
    pub until: u16,
    pub emergency: bool,
    /// When the last over ended.
    pub let_go_at: MonoTime,
    /// Speaks at the other site and is heard here through the line.
    pub is_far: bool,
}

/// One press of a key.
#[derive(Clone, Debug, Default)]
pub struct Over {
    pub through: Vec<Ear>,
    pub began: MonoTime,
    pub frames: u16,
    pub done: bool,
    /// Flooded, moved, or over a path that loses: counts need not agree.
    pub disturbed: bool,
    /// Its talker is in need.
    pub emergency: bool,
}

impl Field {
    /// Far ends for every gateway of a configuration.
    pub fn new(configuration: &Configuration, entropy: &mut Entropy, clean: bool) -> Self {
        let mut devices = Vec::new();
        for (id, gateway) in &configuration.gateways {
            let GatewayKind::Rtp(rtp) = &gateway.kind else { continue };
            let number = devices.len() as u16;
            let (address, moves) = match &rtp.peer {
                PeerRule::Static(address) => (*address, false),
                PeerRule::Latch(_) => (far_address(100 + number), true),
            };
            devices.push(Device {
                gateway: id.clone(),
                port: PortId::of_gateway(id),
                agency: gateway.agency.clone(),
                talkgroup: gateway.talkgroup.clone(),
                spec: gateway.port.clone(),
                is_line: gateway.talkgroup.as_str() == LINE,
                address,
                moves,
                path: if clean { Quality::CLEAN } else { Quality::draw(entropy) },
                transmitter: Transmitter::Off,
                ssrc: entropy.next_u32(),
                sequence: entropy.next_u32() as u16,
                timestamp: entropy.next_u32(),
                marked: false,
                keyed: false,
                sent_at: MonoTime(0),
                off_air: VecDeque::new(),
                after: VecDeque::new(),
                last: Stamp { voice: 0, over: 0, frame: 0, air: LIVE },
                flood: 0,
                reports: false,
                report_at: MonoTime(0),
                sent: (0, 0),
            });
        }
        let speakers = speakers_of(&devices);
        Self { devices, speakers, overs: BTreeMap::new(), aired: BTreeMap::new(), happened: FieldCounts::default() }
    }

    /// Two sites number their voices together: so many of the other site's come before ours, so many after.
    pub fn join(&mut self, before: usize, after: usize) {
        let lines: Vec<Ear> = (0..self.devices.len()).filter(|ear| self.devices[*ear].is_line).collect();
        let far = |voice: usize| Speaker {
            voice: voice as Voice,
            through: lines.clone(),
            over: 0,
            said: 0,
            until: 0,
            emergency: false,
            let_go_at: MonoTime(0),
            is_far: true,
        };
        let mut own = std::mem::take(&mut self.speakers);
        own.iter_mut().for_each(|speaker| speaker.voice += before as Voice);
        let (first, end) = (before + own.len(), before + own.len() + after);
        assert!(end <= usize::from(stamp::VOICES_MAX), "more voices than tones");
        self.speakers = (0..before).map(far).chain(own).chain((first..end).map(far)).collect();
    }

    /// What is said at the other site, as the checkers here must know it. Over a line that loses, or is down, counts
    /// need not agree.
    pub fn mirror(&mut self, other: &Self, disturbed: bool) {
        for (at, speaker) in other.speakers.iter().enumerate().filter(|(_, speaker)| !speaker.is_far) {
            self.speakers[at].over = speaker.over;
            for over in [speaker.over.wrapping_sub(1), speaker.over] {
                let key = (speaker.voice, over);
                let Some(said) = other.overs.get(&key) else { continue };
                let was = self.overs.get(&key).is_some_and(|over| over.disturbed);
                let through = self.speakers[at].through.clone();
                let disturbed = disturbed && !said.done || was || said.disturbed;
                self.overs.insert(key, Over { through, disturbed, ..said.clone() });
            }
        }
    }

    /// A changed configuration: devices are told what concerns them.
    pub fn adopt(&mut self, configuration: &Configuration) {
        for device in &mut self.devices {
            if let Some(gateway) = configuration.gateways.get(&device.gateway) {
                device.spec = gateway.port.clone();
            }
        }
    }

    /// The device of a gateway.
    pub fn ear(&self, gateway: &str) -> Option<Ear> {
        self.devices.iter().position(|device| device.gateway.as_str() == gateway)
    }

    /// Who speaks through a device; of a radio, the field units of its talkgroup.
    pub fn speaker_at(&self, ear: Ear) -> Option<usize> {
        self.speakers.iter().position(|speaker| speaker.through.contains(&ear))
    }

    /// Somebody presses a key for so many frames.
    pub fn press(&mut self, speaker: usize, frames: u16, emergency: bool, now: MonoTime) {
        let speaker = &mut self.speakers[speaker];
        if speaker.said < speaker.until {
            return;
        }
        speaker.over += 1;
        speaker.said = 0;
        speaker.until = frames;
        speaker.emergency = emergency;
        let merged = now.ms_since(speaker.let_go_at) < MERGED_MS; // two overs may be one burst
        if let Some(before) = self.overs.get_mut(&(speaker.voice, speaker.over.wrapping_sub(1))) {
            before.disturbed |= merged;
        }
        let disturbed = merged || speaker.through.iter().any(|ear| !self.devices[*ear].path.is_clean());
        let through = speaker.through.clone();
        let over = Over { through, began: now, frames: 0, done: false, disturbed, emergency };
        self.overs.insert((speaker.voice, speaker.over), over);
    }

    /// Lets go before the time.
    pub fn let_go(&mut self, speaker: usize) {
        let speaker = &mut self.speakers[speaker];
        speaker.until = speaker.said;
        let key = (speaker.voice, speaker.over);
        if let Some(over) = self.overs.get_mut(&key) {
            over.done = true;
        }
    }

    /// Whether anybody speaks or any device has something to send.
    pub fn is_quiet(&self) -> bool {
        self.speakers.iter().all(|speaker| speaker.said >= speaker.until)
            && self.devices.iter().all(|device| {
                device.after.is_empty() && device.off_air.is_empty() && device.transmitter == Transmitter::Off
            })
    }

    /// What happens by chance: keys pressed, keys stuck, devices moved, floods.
    pub fn chance(&mut self, now: MonoTime, entropy: &mut Entropy) {
        let talking = self.speakers.iter().filter(|speaker| speaker.said < speaker.until).count() as u64;
        for at in (0..self.speakers.len()).filter(|at| !self.speakers[*at].is_far).collect::<Vec<_>>() {
            let rested = now.ms_since(self.speakers[at].let_go_at) > MERGED_MS || entropy.percent(10);
            let silent = self.speakers[at].said >= self.speakers[at].until;
            if silent && rested && entropy.below(150 + 300 * talking) == 0 {
                let stuck = entropy.percent(3);
                self.happened.stuck += u64::from(stuck);
                let frames = if stuck { 400 } else { 2 + entropy.below(120) as u16 };
                let emergency = entropy.percent(3);
                self.press(at, frames, emergency, now);
            }
        }
        // Who is in need does not wait until the others have spoken.
        if talking > 0 && entropy.below(100) == 0 {
            // Radios are deaf while they transmit what the others say, and presence says nothing of need.
            let calls = |speaker: &Speaker| {
                let spec = &self.devices[speaker.through[0]].spec;
                spec.receive.keying == ReceiveKeying::Ext && !spec.transmit.half_duplex && !speaker.is_far
            };
            let callers: Vec<usize> = (0..self.speakers.len()).filter(|at| calls(&self.speakers[*at])).collect();
            if !callers.is_empty() {
                let at = callers[entropy.below(callers.len() as u64) as usize];
                self.press(at, 20 + entropy.below(60) as u16, true, now);
            }
        }
        let at = entropy.below(self.devices.len() as u64) as usize;
        let device = &mut self.devices[at];
        if device.moves && now.ms_since(device.sent_at) > 3_000 && entropy.below(100) == 0 {
            device.address.set_port(5004 + 2 * entropy.below(500) as u16);
            device.ssrc = entropy.next_u32();
            self.happened.moved += 1;
        }
        if device.keyed && entropy.below(1500) == 0 {
            device.flood = 8;
            self.happened.floods += 1;
            self.disturb(at);
        }
    }

    /// Marks the over that passes a device as one whose counts need not agree.
    pub fn disturb(&mut self, ear: Ear) {
        let key = (self.devices[ear].last.voice, self.devices[ear].last.over);
        if let Some(over) = self.overs.get_mut(&key) {
            over.disturbed = true;
        }
    }

    /// What became of a voice's present over, and of the one before, cannot be told.
    pub fn disturb_over(&mut self, voice: Voice) {
        let Some(over) = self.speakers.get(usize::from(voice)).map(|speaker| speaker.over) else { return };
        for key in [(voice, over), (voice, over.wrapping_sub(1))] {
            if let Some(over) = self.overs.get_mut(&key) {
                over.disturbed = true;
            }
        }
    }

    /// One frame's time: everybody who speaks says a frame, every device sends what it has.
    pub fn beat(&mut self, now: MonoTime, network: &mut Network<Datagram>, entropy: &mut Entropy) {
        for at in 0..self.speakers.len() {
            let speaker = &mut self.speakers[at];
            if speaker.said >= speaker.until {
                continue;
            }
            let stamp = Stamp { voice: speaker.voice, over: speaker.over, frame: speaker.said, air: LIVE };
            speaker.said += 1;
            let (last, emergency) = (speaker.said == speaker.until, speaker.emergency);
            speaker.let_go_at = now;
            if let Some(over) = self.overs.get_mut(&(stamp.voice, stamp.over)) {
                over.frames = speaker.said;
                over.done = last;
            }
            for ear in speaker.through.clone() {
                self.say(ear, stamp, emergency, last, now, network, entropy);
            }
        }
        self.report(now, network, entropy);
        for ear in 0..self.devices.len() {
            self.send_rest(ear, now, network, entropy);
            self.settle(ear, now, network, entropy);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a frame, its two signs, and the world")]
    fn say(
        &mut self,
        ear: Ear,
        stamp: Stamp,
        emergency: bool,
        last: bool,
        now: MonoTime,
        network: &mut Network<Datagram>,
        entropy: &mut Entropy,
    ) {
        let device = &mut self.devices[ear];
        device.off_air.clear(); // a receiver hears the stronger signal
        device.after.clear();
        device.keyed = true;
        device.last = stamp;
        if stamp.frame == 0 {
            let way = device.spec.receive.keying;
            self.happened.by_event += u64::from(way == ReceiveKeying::Event);
            self.happened.by_loudness += u64::from(way == ReceiveKeying::Vox);
            self.happened.in_g722 += u64::from(device.format().codec == Codec::G722);
            self.happened.levelled += u64::from(device.spec.level);
        }
        device.send(ear, stamp, Some(emergency), now, network, entropy);
        if device.flood > 0
            && let Some(over) = self.overs.get_mut(&(stamp.voice, stamp.over))
        {
            over.disturbed = true;
        }
        for _ in 0..device.flood {
            device.send(ear, Stamp { air: FILLER, ..stamp }, Some(emergency), now, network, entropy);
        }
        device.flood = device.flood.saturating_sub(1);
        if last {
            device.after.extend((0..device.spec.receive.tail_ms / 20).map(|_| TAIL));
            self.happened.tails += u64::from(device.spec.receive.tail_ms > 0);
            match device.spec.receive.keying {
                ReceiveKeying::Ext => device.after.extend([FILLER; 3]),
                ReceiveKeying::Event => device.after.push_back(RELEASE),
                ReceiveKeying::Presence | ReceiveKeying::Vox => {}
            }
        }
    }

    /// RTCP of whoever sends it, also while nobody talks.
    pub fn report(&mut self, now: MonoTime, network: &mut Network<Datagram>, entropy: &mut Entropy) {
        for ear in 0..self.devices.len() {
            self.happened.reports += u64::from(self.devices[ear].report(ear, now, network, entropy));
        }
    }

    /// Noise after the carrier, the sign of an open key, and what was heard off the air.
    fn send_rest(&mut self, ear: Ear, now: MonoTime, network: &mut Network<Datagram>, entropy: &mut Entropy) {
        let device = &mut self.devices[ear];
        if let Some(stamp) = device.off_air.pop_front() {
            self.happened.off_air += 1;
            self.aired.insert(stamp.voice, now);
            device.send(ear, stamp, Some(false), now, network, entropy);
            device.last = stamp;
            if device.off_air.is_empty() && device.spec.receive.keying == ReceiveKeying::Ext {
                device.after.extend([FILLER; 3]);
            }
            return;
        }
        let Some(air) = device.after.pop_front() else { return };
        if air == RELEASE {
            device.press(ear, '#', now, network, entropy);
            (device.keyed, device.marked) = (false, false);
            return;
        }
        let keyed = (air == TAIL).then_some(false);
        device.keyed = keyed.is_some();
        let stamp = Stamp { frame: device.last.frame.wrapping_add(1), air, ..device.last };
        device.last.frame = stamp.frame;
        device.send(ear, stamp, keyed, now, network, entropy);
        if device.after.is_empty() {
            device.keyed = false;
            device.marked = false;
        }
    }

    /// Transmitters rise, are refused by their trunk, and fall.
    fn settle(&mut self, ear: Ear, now: MonoTime, network: &mut Network<Datagram>, entropy: &mut Entropy) {
        let device = &mut self.devices[ear];
        if device.is_line {
            if matches!(device.transmitter, Transmitter::On { heard_at } if now.ms_since(heard_at) > 400) {
                device.transmitter = Transmitter::Off;
            }
            return; // the other daemon answers
        }
        let signalled = device.spec.transmit.grant == GrantSign::Signalled;
        match device.transmitter {
            Transmitter::Rising { at, denied: false } if now >= at => {
                device.transmitter = Transmitter::On { heard_at: now };
                if signalled {
                    device.signal(ear, Keying { granted: true, ..Keying::default() }, now, network, entropy);
                }
            }
            Transmitter::Rising { at, denied: true } if now >= at => {
                device.transmitter = Transmitter::Busy { until: now.plus_ms(400) };
                self.happened.denied_grants += 1;
                device.signal(ear, Keying { busy: true, ..Keying::default() }, now, network, entropy);
            }
            Transmitter::On { heard_at } if now.ms_since(heard_at) > 400 => {
                device.transmitter = Transmitter::Off;
                if signalled {
                    device.signal(ear, Keying::default(), now, network, entropy);
                }
            }
            Transmitter::Busy { until } if now >= until => device.transmitter = Transmitter::Off,
            Transmitter::Off | Transmitter::Rising { .. } | Transmitter::On { .. } | Transmitter::Busy { .. } => {}
        }
    }

    /// A packet of the daemon reaches a device. Whether what it says goes on the air.
    pub fn take(
        &mut self,
        ear: Ear,
        packet: &RtpPacket<'_>,
        said: &Said,
        now: MonoTime,
        entropy: &mut Entropy,
    ) -> bool {
        let device = &mut self.devices[ear];
        let keying = Elements::read(packet.extension, &device.spec.extension).keying;
        let keyed = match device.spec.transmit.keying {
            TransmitKeying::Ext => keying.is_some_and(|keying| keying.ptt),
            TransmitKeying::Presence | TransmitKeying::Event => true,
        };
        if device.is_line {
            device.transmitter = if keyed { Transmitter::On { heard_at: now } } else { Transmitter::Off };
            return true;
        }
        device.key(keyed, now, entropy, &mut self.happened);
        let Transmitter::On { .. } = device.transmitter else { return device.spec.role != PortRole::Radio };
        let Some(channel) = device.spec.rf_channel.clone() else { return true };
        let heard = match said {
            Said::Stamped(stamp) => Stamp { air: OFF_AIR, ..*stamp },
            Said::Sound(_) | Said::Silence | Said::Nonsense => {
                Stamp { voice: 0, over: u16::MAX, frame: packet.header.sequence, air: OFF_AIR }
            }
        };
        for (at, other) in self.devices.iter_mut().enumerate() {
            if at != ear && other.spec.rf_channel.as_ref() == Some(&channel) && other.off_air.len() < 4 {
                other.off_air.push_back(heard);
            }
        }
        true
    }
}

/// What a device still has to send: the event of an open key.
const RELEASE: u8 = 13;
/// Whoever presses again so soon may go on in the same burst (ms).
const MERGED_MS: u64 = 900;

/// The field units of each talkgroup's radios, and one person at every other device that can talk.
fn speakers_of(devices: &[Device]) -> Vec<Speaker> {
    let mut through: Vec<Vec<Ear>> = Vec::new();
    let mut of_group: BTreeMap<&TalkgroupId, usize> = BTreeMap::new();
    for (ear, device) in devices.iter().enumerate().filter(|(_, device)| !device.is_line) {
        match device.spec.role {
            PortRole::Radio => match of_group.get(&device.talkgroup) {
                Some(speaker) => through[*speaker].push(ear),
                None => {
                    of_group.insert(&device.talkgroup, through.len());
                    through.push(vec![ear]);
                }
            },
            PortRole::Phone | PortRole::Client | PortRole::Console => through.push(vec![ear]),
            PortRole::Recorder => {}
        }
    }
    assert!(through.len() <= usize::from(stamp::VOICES_MAX), "more voices than tones");
    let speaker = |(voice, through)| Speaker {
        voice: voice as Voice,
        through,
        over: 0,
        said: 0,
        until: 0,
        emergency: false,
        let_go_at: MonoTime(0),
        is_far: false,
    };
    through.into_iter().enumerate().map(speaker).collect()
}
