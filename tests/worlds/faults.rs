//! Sabotage between the real parts: each promise is broken on purpose once, to see its checker fall. Everything here
//! stands in the world's own shell; no core knows of it.

use crosspatch::domain::event::{Event, Recorded};
use crosspatch::domain::id::PortId;
use crosspatch::domain::incident::Actor;
use crosspatch::domain::order::{LegSpec, Order, OrderBatch};
use crosspatch::domain::port::{Overlap, PortRole};
use crosspatch::domain::random::Entropy;
use crosspatch::domain::report::Report;
use crosspatch::domain::time::{MonoTime, Now};
use crosspatch::wire::rtp::RtpPacket;
use crosspatch::wire::trunk::{FRAME_BYTES_MAX, TrunkFrame};

use super::checkers::Law;
use super::device::Device;
use super::field::{Ear, Field};
use super::geography::{AGENCIES, agency, user};
use super::reference::Reach;
use super::seat::Sent;
use super::stamp::{self, EarDecoder, LIVE, Said, Stamp};

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident breaks $law:ident;)*) => {
        /// One thing done wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// The promise it breaks.
            pub const fn law(self) -> Law {
                match self { $(Self::$name => Law::$law,)* }
            }
        }
    };
}

faults! {
    /// A packet is also delivered to an ear that no grant reaches.
    ForeignEar breaks Sovereignty;
    /// Another agency's yes is taken for the owner's.
    ForeignYes breaks Sovereignty;
    /// A packet is delivered again seconds after its talkgroup was cut.
    ReplayAfterCut breaks InstantAndDurable;
    /// Media is said to have applied a cut that it has not seen.
    AnswerBeforeApplied breaks InstantAndDurable;
    /// A commit is announced that has not happened.
    CommitTooSoon breaks InstantAndDurable;
    /// Nobody tells the shard that two radios share a channel.
    NoSharedChannel breaks OneHop;
    /// A packet is delivered twice under two SSRCs.
    TwiceDelivered breaks Once;
    /// Two radios of one talkgroup are keyed with one voice.
    TwoTransmitters breaks Once;
    /// One bit of a relayed payload is flipped.
    TouchedPayload breaks RelayBeforeMix;
    /// A radio is sent what its neighbour of the same right hears meanwhile.
    SecondVoice breaks OneVoice;
    /// Dispatch is given a boot time that follows the wall clock.
    WallLease breaks Leases;
    /// The ring between two shards takes everything.
    EndlessRing breaks Bounded;
    /// One draw of chance comes from elsewhere.
    Unseeded breaks Deterministic;
    /// The end of a burst is not told.
    SwallowedEnd breaks Closes;
    /// The end of a burst is told twice.
    EndedTwice breaks Closes;
    /// One relayed packet in ten does not leave.
    DroppedFrames breaks NothingLost;
    /// What became of a burst at an ear is not told.
    SwallowedOutcome breaks NothingLost;
    /// A restart does not read the emergencies.
    ForgottenEmergency breaks Emergency;
    /// Somebody else's clearance is taken for the agency's.
    ForeignClearance breaks Emergency;
    /// What one shard tells another of a burst does not say that its talker is in need.
    DroppedNeed breaks Emergency;
    /// A sequence number is used again.
    RepeatedSequence breaks Sequence;
    /// A radio is sent sound while nobody talks.
    IdlePacket breaks Unkeyed;
    /// One leave does not reach its shard.
    DroppedLeave breaks Membership;
    /// One port is never opened.
    DroppedPort breaks Membership;
    /// A join loses its audience on the way.
    WidenedAudience breaks Membership;
    /// One record is not read at a replay.
    SkippedRecord breaks Replay;
}

/// Does one fault, or nothing.
pub struct Saboteur {
    fault: Option<Fault>,
    entropy: Entropy,
    kept: Option<(Sent, MonoTime)>,
    cut_at: Option<MonoTime>,
    wall_at_start: Now,
    last_packet: Option<Sent>,
    forgotten: Option<PortId>,
}

impl Saboteur {
    pub fn new(fault: Option<Fault>, seed: u64, now: Now) -> Self {
        let entropy = Entropy::new(seed ^ 0xfa17);
        Self { fault, entropy, kept: None, cut_at: None, wall_at_start: now, last_packet: None, forgotten: None }
    }

    pub fn does(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// What a shard is told.
    pub fn orders(&mut self, batch: &mut OrderBatch, now: MonoTime) {
        if batch.orders.iter().any(|order| matches!(order, Order::Leave(_))) {
            self.cut_at = Some(now);
        }
        match self.fault {
            Some(Fault::DroppedLeave) => batch.orders.retain(|order| !matches!(order, Order::Leave(_))),
            Some(Fault::DroppedPort) => self.forget_port(batch),
            Some(Fault::WidenedAudience) => batch.orders.iter_mut().for_each(widen),
            Some(Fault::NoSharedChannel) => batch.orders.iter_mut().for_each(unshare),
            _ => {}
        }
    }

    /// What leaves for the devices.
    pub fn packets(&mut self, packets: &mut Vec<Sent>, field: &Field, allowed: &Reach, now: MonoTime) {
        let devices = &field.devices;
        match self.fault {
            Some(Fault::ForeignEar) => self.deliver_abroad(packets, devices, allowed),
            Some(Fault::ReplayAfterCut) => self.replay(packets, devices, now),
            Some(Fault::TwiceDelivered) if self.entropy.percent(2) => {
                let again = packets.first().cloned().map(|sent| with_ssrc(sent, 7));
                packets.extend(again);
            }
            Some(Fault::TwoTransmitters) => {
                let mut voices = packets.iter().filter(|sent| is_voice(sent, devices));
                let twin = voices.find_map(|sent| Some((sent, twin_of(sent.ear, devices)?)));
                let twin = twin.map(|(sent, ear)| with_ssrc(Sent { ear, ..sent.clone() }, 9));
                packets.extend(twin);
            }
            Some(Fault::TouchedPayload) if self.entropy.percent(10) => {
                if let Some(last) = packets.first_mut().and_then(|sent| sent.bytes.last_mut()) {
                    *last ^= 0x11;
                }
            }
            Some(Fault::DroppedFrames) => packets.retain(|_| !self.entropy.percent(10)),
            Some(Fault::RepeatedSequence) if self.entropy.percent(5) => {
                if let Some(sent) = packets.first_mut() {
                    sent.bytes[2..4].copy_from_slice(&[1, 2]);
                }
            }
            Some(Fault::SecondVoice) => {
                let second = packets.iter().find_map(|sent| self.second_voice(sent, field, allowed));
                packets.extend(second);
            }
            Some(Fault::IdlePacket) => self.key_idly(packets, now),
            _ => {}
        }
    }

    /// What one shard tells another.
    pub fn frame(&self, mut frame: Vec<u8>) -> Vec<u8> {
        if !self.does(Fault::DroppedNeed) {
            return frame;
        }
        let mut calm = vec![0; FRAME_BYTES_MAX];
        let length = match TrunkFrame::parse(&frame) {
            Ok(said) => TrunkFrame { emergency: false, ..said }.write(&mut calm),
            Err(_) => return frame,
        };
        frame.copy_from_slice(&calm[..length.expect("what was read can be written")]);
        frame
    }

    /// What a shard reports.
    pub fn reports(&mut self, reports: &mut Vec<Report>) {
        match self.fault {
            Some(Fault::SwallowedEnd) => {
                reports.retain(|report| !matches!(report, Report::BurstEnded { .. }) || !self.entropy.percent(20));
            }
            Some(Fault::EndedTwice) => {
                let again = reports.iter().find(|report| matches!(report, Report::BurstEnded { .. })).cloned();
                reports.extend(again);
            }
            Some(Fault::SwallowedOutcome) => {
                reports.retain(|report| !matches!(report, Report::BurstHeard { .. }) || !self.entropy.percent(20));
            }
            _ => {}
        }
    }

    /// What dispatch decided, as it is told.
    pub fn decisions(&self, records: &mut [Recorded]) {
        if self.does(Fault::ForeignYes) {
            let host = Actor::User { user: user("police"), agency: Some(agency(AGENCIES[0].0)) };
            let linked = records.iter_mut().filter(|record| matches!(record.event, Event::Linked { .. }));
            linked.for_each(|record| record.actor = host.clone());
        }
        if self.does(Fault::ForeignClearance) {
            let cleared = records.iter_mut().filter(|record| matches!(record.event, Event::EmergencyCleared { .. }));
            cleared.for_each(|record| record.actor = Actor::Timer);
        }
    }

    /// What a journal is said to hold.
    pub fn replayed(&self, records: &[Recorded]) -> Vec<Recorded> {
        let mut records = records.to_vec();
        if self.does(Fault::ForgottenEmergency) {
            records.retain(|record| !matches!(record.event, Event::EmergencyDeclared { .. }));
        }
        records
    }

    /// What a journal is said to hold when it is replayed beside the living state; a restart from less would be another
    /// state, which other checkers see first.
    pub fn replayed_beside(&self, records: &[Recorded]) -> Vec<Recorded> {
        let mut records = self.replayed(records);
        if self.does(Fault::SkippedRecord) {
            let linked = records.iter().rposition(|record| matches!(record.event, Event::Linked { .. }));
            linked.map(|at| records.remove(at));
        }
        records
    }

    /// The clocks dispatch is shown.
    pub fn clocks(&self, now: Now) -> Now {
        if !self.does(Fault::WallLease) {
            return now;
        }
        let moved_ms = now.wall.0.saturating_sub(self.wall_at_start.wall.0).max(0) as u64;
        Now { mono: self.wall_at_start.mono.plus_ms(moved_ms), wall: now.wall }
    }

    /// The first port that is opened is not, whoever tells of it.
    fn forget_port(&mut self, batch: &mut OrderBatch) {
        let opened = batch.orders.iter().flat_map(|order| match order {
            Order::OpenPort(spec) => std::slice::from_ref(spec),
            Order::Only(table) => &table.ports,
            _ => &[],
        });
        self.forgotten = self.forgotten.or(opened.map(|spec| spec.port).next());
        let Some(forgotten) = self.forgotten else { return };
        batch.orders.retain(|order| !matches!(order, Order::OpenPort(spec) if spec.port == forgotten));
        for order in &mut batch.orders {
            if let Order::Only(table) = order {
                table.ports.retain(|spec| spec.port != forgotten);
            }
        }
    }

    fn deliver_abroad(&mut self, packets: &mut Vec<Sent>, devices: &[Device], allowed: &Reach) {
        let Some(sent) = packets.first() else { return };
        let from = sent.ear;
        // Nobody that this ear hears, and who hears nobody that this ear hears.
        let stranger = (0..devices.len()).find(|ear| {
            devices[*ear].agency != devices[from].agency
                && (0..devices.len()).all(|talker| !(allowed.has(talker, from) && allowed.has(talker, *ear)))
                && devices[*ear].format() == devices[from].format()
        });
        let abroad = stranger.map(|ear| with_ssrc(Sent { ear, ..sent.clone() }, 5));
        packets.extend(abroad);
    }

    /// A frame of somebody else whom this radio may hear, between the frames of whom it hears.
    fn second_voice(&self, sent: &Sent, field: &Field, allowed: &Reach) -> Option<Sent> {
        let device = &field.devices[sent.ear];
        let packet = RtpPacket::parse(&sent.bytes).ok()?;
        let Said::Stamped(first) = stamp::read(device.format(), packet.payload, &mut EarDecoder::default()) else {
            return None;
        };
        let other = field.speakers.iter().find(|speaker| {
            let heard = speaker.through.iter().any(|talker| allowed.has(*talker, sent.ear));
            speaker.voice != first.voice && heard && device.spec.transmit.overlap == Overlap::One
        })?;
        let second = Stamp { voice: other.voice, over: other.over, frame: 30_000 + first.frame, air: LIVE };
        let mut bytes = sent.bytes.clone();
        let start = bytes.len() - packet.payload.len();
        bytes.truncate(start);
        bytes.extend(stamp::payload(device.format(), second));
        Some(with_ssrc(Sent { bytes, ..sent.clone() }, 13))
    }

    /// Speech of a talker that goes on although a leave has gone through.
    fn replay(&mut self, packets: &mut Vec<Sent>, devices: &[Device], now: MonoTime) {
        if let Some((kept, at)) = &self.kept
            && self.cut_at.is_some_and(|cut| cut > *at && now.ms_since(cut) > 100)
        {
            // A stream of its own each time: a second one under the same name would step back in its sequence.
            let mark = self.entropy.next_u32() as u8 | 1;
            packets.extend(next_frame(kept, devices).map(|sent| with_ssrc(sent, mark)));
            self.kept = None;
        }
        if let Some(sent) = packets.first() {
            self.kept = Some((sent.clone(), now));
        }
    }

    fn key_idly(&mut self, packets: &mut Vec<Sent>, now: MonoTime) {
        match (packets.last(), &self.last_packet) {
            (Some(sent), _) => {
                self.last_packet = Some(sent.clone());
                self.kept = Some((sent.clone(), now));
            }
            (None, Some(last)) if self.kept.as_ref().is_some_and(|(_, at)| now.ms_since(*at) > 4_000) => {
                let mut idle = with_ssrc(last.clone(), 11);
                let start = idle.bytes.len().min(40);
                idle.bytes[start..].fill(0xff);
                packets.push(idle);
                self.last_packet = None;
            }
            (None, _) => {}
        }
    }
}

fn widen(order: &mut Order) {
    let all = |leg: &mut LegSpec| (leg.audience, leg.hears, leg.talks) = (u64::MAX, true, true);
    match order {
        Order::Join(leg) => all(leg),
        Order::Only(table) => table.legs.iter_mut().for_each(all),
        _ => {}
    }
}

fn unshare(order: &mut Order) {
    match order {
        Order::OpenPort(port) => port.rf_channel = None,
        Order::Only(table) => table.ports.iter_mut().for_each(|port| port.rf_channel = None),
        _ => {}
    }
}

/// The same packet as another stream's, so that only what it carries can be wrong.
pub(super) fn with_ssrc(mut sent: Sent, mark: u8) -> Sent {
    if let Some(ssrc) = sent.bytes.get_mut(8..12) {
        ssrc.iter_mut().for_each(|byte| *byte ^= mark);
    }
    sent
}

/// What its talker might say later.
pub(super) fn next_frame(sent: &Sent, devices: &[Device]) -> Option<Sent> {
    let format = devices[sent.ear].format();
    let packet = RtpPacket::parse(&sent.bytes).ok()?;
    let Said::Stamped(said) = stamp::read(format, packet.payload, &mut EarDecoder::default()) else { return None };
    let mut bytes = sent.bytes.clone();
    bytes.truncate(sent.bytes.len() - packet.payload.len());
    bytes.extend(stamp::payload(format, Stamp { frame: 20_000 + said.frame, ..said }));
    Some(Sent { bytes, ..sent.clone() })
}

/// Whether it carries somebody's own frame, and no tone or mix.
fn is_voice(sent: &Sent, devices: &[Device]) -> bool {
    let format = devices[sent.ear].format();
    let said = |packet: RtpPacket<'_>| stamp::read(format, packet.payload, &mut EarDecoder::default());
    RtpPacket::parse(&sent.bytes).is_ok_and(|packet| matches!(said(packet), Said::Stamped(_)))
}

/// Another radio of the same talkgroup and format.
fn twin_of(ear: Ear, devices: &[Device]) -> Option<Ear> {
    let device = &devices[ear];
    let is_twin = |other: &Device| {
        other.talkgroup == device.talkgroup
            && other.port != device.port
            && other.spec.role == PortRole::Radio
            && device.spec.role == PortRole::Radio
            && other.format() == device.format()
    };
    devices.iter().position(is_twin)
}
