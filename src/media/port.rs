//! The media side of one endpoint: what it says (receiver, key, delay) and what it hears (hearing, transmitter, hold,
//! sender). Not a socket and not a leg. Owned by the shard; a port that closes takes its own state with it, its bursts
//! and ears are ended by the shard first.

use std::net::SocketAddr;

use crate::domain::audio::{Codec, Format, Gain};
use crate::domain::floor::MissCause;
use crate::domain::port::{GrantSign, Pacing, PortRole, PortSpec, TransmitKeying};
use crate::domain::random::Entropy;
use crate::domain::talker::Alias;
use crate::domain::time::MonoTime;

use crate::wire::rtp_extension::FloorNotice;

use super::announce::Announcing;
use super::codec::{Decoder, LastingEncoder, Payload};
use super::copies::Copied;
use super::delay::DelayLine;
use super::hearing::{Ear, Hearing, Voices};
use super::hold::Hold;
use super::keying::{ReceiveKeyer, TransmitKeyer};
use super::receiver::Receiver;
use super::sender::{Sender, Voice};
use super::slab::{BurstSlot, LegSlot};
use super::watch::PortWatch;

/// What a hold keeps frames by: whose they are, and which of our encoders made them, if one did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// A talker's own payload.
    Relayed(BurstSlot),
    /// From the mix path: who sounds in it, and whose own audio it carries and not only what was made up for them.
    Mixed { sounding: Voices, said: Voices, encoder: u32 },
}

impl Held {
    /// Whether what this ear hears sounds in it: a cut takes it.
    pub fn is_of(self, ear: &Ear) -> bool {
        match self {
            Held::Relayed(burst) => ear.burst == burst,
            Held::Mixed { sounding, .. } => sounding.has(ear),
        }
    }
    /// Whether nobody sounds in it.
    pub fn is_silent(self) -> bool {
        match self {
            Held::Relayed(_) => false,
            Held::Mixed { sounding, .. } => sounding == Voices::default(),
        }
    }
    /// Whether it counts for this ear.
    pub fn says(self, ear: &Ear) -> bool {
        match self {
            Held::Relayed(burst) => ear.burst == burst,
            Held::Mixed { said, .. } => said.has(ear),
        }
    }
}

/// One port.
pub struct Port {
    /// As ordered.
    pub spec: PortSpec,
    /// Its places in patches.
    pub legs: Vec<LegSlot>,
    /// Ears for packets.
    pub receiver: Receiver,
    /// Ears for keys.
    pub keyer: ReceiveKeyer,
    /// Packets that wait until they are certainly speech.
    pub delay: Option<DelayLine>,
    /// Measures packets of one format that name no level, if it keys by sound; borrowed while they come.
    pub vox: Option<(Format, Decoder)>,
    /// What its latest audio packet was.
    pub format_in: Format,
    /// Counts streams it sent: another encoder each.
    pub streams: u32,
    /// Its talker's burst.
    pub burst: Option<BurstSlot>,
    /// How its key stands among those of its talkgroup's other gateways.
    pub copy: Copied,
    /// Since when its talker has keyed.
    pub keyed_at: MonoTime,
    /// When its latest audio packet came.
    pub packet_at: MonoTime,
    /// Its talker as the wire names it.
    pub wire_talker: Alias,
    /// Of whom the wire last said that it is in need.
    pub wire_emergency: Option<Alias>,
    /// RTP time of the last event that keyed: all packets of one press have the same.
    pub pressed: Option<u32>,
    /// The press that was in force when an order lifted the key: the rest of its packets keys nothing.
    pub lifted: Option<u32>,
    /// Talkers with an open emergency; an empty name is whoever talks here.
    pub emergencies: Vec<Alias>,
    /// What its talker's level was, remembered for the next burst.
    pub learnt: Option<Gain>,
    /// What it hears.
    pub hearing: Hearing,
    /// Its transmitter.
    pub transmit: TransmitKeyer,
    /// What waits for its transmitter.
    pub hold: Option<Hold<Held>>,
    /// Its outgoing stream.
    pub sender: Sender<BurstSlot>,
    /// Whose audio that stream carries.
    pub voice: Option<Voice<BurstSlot>>,
    /// Codes all sound of ours for it, if its law needs one coder for the whole stream.
    lasting: Option<LastingEncoder>,
    /// Numbers frames of the mix path in the hold.
    pub mix_sequence: u64,
    /// The group of equal listeners it is mixed with.
    pub mix_group: Option<usize>,
    /// Packets of its own keying that are still due after it let go.
    pub unkeys_due: u8,
    /// What its talker was last told of the floor.
    pub floor_notice: FloorNotice,
    /// Why its transmitter gave up, if it did.
    pub failed_by: MissCause,
    /// When its latest packet went out.
    pub sent_at: Option<MonoTime>,
    /// Not asked to transmit for its talkgroup until then.
    pub failed_until: MonoTime,
    /// When its next RTCP report is due.
    pub report_at: MonoTime,
    /// Packets sent at its last report.
    pub reported_packets: u32,
    /// Last sign of life, RTCP included.
    pub sign_at: MonoTime,
    /// RTCP has come from it.
    pub signed: bool,
    /// It said that it leaves.
    pub left_at: Option<MonoTime>,
    /// What was last told of its life.
    pub alive: Option<bool>,
    /// Heard since its legs were opened.
    pub proven: bool,
    /// When a limit that its packets hit was last told.
    pub limit_told_at: Option<MonoTime>,
    /// Notices for its own edge.
    pub announcing: Announcing,
    /// What the detectors remember of it.
    pub watch: PortWatch,
}

impl Port {
    /// A port that has heard and sent nothing.
    pub fn new(spec: PortSpec, now: MonoTime, entropy: &mut Entropy) -> Self {
        let format = spec.payloads.first().map_or(Format::usual(Codec::Pcmu), |payload| payload.format);
        Self {
            legs: Vec::new(),
            receiver: Receiver::new(spec.peer.clone(), format.clock_hz, spec.packets_per_second_max),
            keyer: ReceiveKeyer::new(spec.receive),
            delay: None,
            vox: None,
            format_in: format,
            streams: 0,
            burst: None,
            copy: Copied::default(),
            keyed_at: now,
            packet_at: now,
            wire_talker: Alias::default(),
            wire_emergency: None,
            pressed: None,
            lifted: None,
            emergencies: Vec::new(),
            learnt: None,
            hearing: Hearing::default(),
            transmit: TransmitKeyer::new(spec.transmit),
            hold: None,
            sender: Sender::new(format, entropy),
            voice: None,
            lasting: None,
            mix_sequence: 0,
            mix_group: None,
            unkeys_due: 0,
            floor_notice: FloorNotice::Silent,
            failed_by: MissCause::TransmitDenied,
            sent_at: None,
            failed_until: MonoTime(0),
            report_at: now.plus_ms(entropy.below(REPORT_EVERY_MS)),
            reported_packets: 0,
            sign_at: now,
            signed: false,
            left_at: None,
            alive: None,
            proven: false,
            limit_told_at: None,
            announcing: Announcing::default(),
            watch: PortWatch::default(),
            spec,
        }
    }

    /// What we send it.
    pub fn format_out(&self) -> Format {
        self.spec.payloads.first().map_or(self.format_in, |payload| payload.format)
    }
    /// The payload type of what we send it.
    pub fn payload_out(&self) -> u8 {
        self.spec.payloads.first().map_or(0, |payload| payload.number)
    }
    /// Who talks there now, as far as known.
    pub fn talker(&self) -> Alias {
        if self.wire_talker.is_empty() { self.spec.alias } else { self.wire_talker }
    }
    /// Whether this talker has an open emergency.
    pub fn is_emergency(&self, talker: Alias) -> bool {
        self.wire_emergency == Some(talker) || self.emergencies.iter().any(|alias| alias.is_empty() || *alias == talker)
    }
    /// Tells the encoders behind its packets apart: one for each stream it has sent.
    pub fn stream(&self) -> u64 {
        self.spec.port.0 as u64 ^ u64::from(self.streams) << 40
    }
    /// Sound of ours as one packet for it, from the coder of its whole stream: how long, and which coder.
    pub fn encode(&mut self, samples: &[i16], payload: &mut Payload) -> (usize, u32) {
        let own = self.lasting.get_or_insert_with(LastingEncoder::new);
        (own.encode(samples, payload), own.life())
    }
    /// Its far decoder has heard what its coder has not said, or has not heard what it has.
    pub fn stray(&mut self) {
        if let Some(own) = &mut self.lasting {
            own.stray();
        }
    }
    /// A packet that carries no sound belongs to whichever of our encoders was last.
    pub fn sign_voice(&self) -> Voice<BurstSlot> {
        let last = self.voice.filter(|voice| matches!(voice, Voice::Mix { .. }));
        last.unwrap_or(Voice::Mix { encoder: self.lasting.as_ref().map_or(0, LastingEncoder::life) })
    }
    /// Where its packets go.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.receiver.peer()
    }
    /// Whether speech may have to wait for it, so that it needs a hold.
    pub fn needs_hold(&self) -> bool {
        let transmit = &self.spec.transmit;
        transmit.half_duplex
            || transmit.grant != GrantSign::Immediate
            || transmit.keying != TransmitKeying::Presence
            || transmit.pacing == Pacing::Paced
    }
    /// Whether it delays what it receives.
    pub fn needs_delay(&self) -> bool {
        self.spec.receive.burst_min_ms > 0 || self.spec.receive.tail_ms > 0
    }
    /// Whether a change of its configuration leaves its streams as they are.
    pub fn can_become(&self, spec: &PortSpec) -> bool {
        let PortSpec {
            port,
            home,
            agency,
            role,
            group,
            rf_channel,
            peer,
            payloads,
            events,
            extension,
            receive,
            transmit,
            trim: _,
            level: _,
            alias: _,
            packets_per_second_max,
            silence_max_ms: _,
        } = &self.spec;
        *port == spec.port
            && *home == spec.home
            && *agency == spec.agency
            && *role == spec.role
            && *group == spec.group
            && *rf_channel == spec.rf_channel
            && *peer == spec.peer
            && *payloads == spec.payloads
            && *events == spec.events
            && *extension == spec.extension
            && *receive == spec.receive
            && *transmit == spec.transmit
            && *packets_per_second_max == spec.packets_per_second_max
    }
    /// Whether it is a radio of a talkgroup: one of several that share one voice.
    pub fn is_radio(&self) -> bool {
        self.spec.role == PortRole::Radio
    }
}

/// RFC 3550 section 6.2's usual interval (ms).
pub const REPORT_EVERY_MS: u64 = 5_000;
