//! Who is who and what they have: the part of the TOML that is adopted as an event and that dispatch decides by.
//!
//! Secrets, listening addresses and folders are not here; they are settings of the shell (`config::Settings`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::audio::Gain;
use super::floor::{FloorPolicy, Priority};
use super::id::{AgencyId, AgreementId, GatewayId, PatchName, PositionId, RfChannelId, TalkgroupId, TemplateId};
use super::incident::Direction;
use super::port::{ExtensionIds, PayloadType, PeerRule, PortRole, ReceiveSpec, TransmitSpec};
use super::time::WallTime;

/// Everything dispatch must know that people wrote down beforehand. All references hold (checked at parse).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    pub agencies: BTreeMap<AgencyId, Agency>,
    pub talkgroups: BTreeMap<TalkgroupId, Talkgroup>,
    pub gateways: BTreeMap<GatewayId, Gateway>,
    pub agreements: BTreeMap<AgreementId, Agreement>,
    pub templates: BTreeMap<TemplateId, Template>,
    pub policy: Policy,
}

impl Configuration {
    /// The line out that a talkgroup consists of, if it does.
    pub fn line_of(&self, talkgroup: &TalkgroupId) -> Option<&GatewayId> {
        let is_line = |gateway: &Gateway| gateway.talkgroup == *talkgroup && gateway.kind.dials();
        self.gateways.iter().find(|(_, gateway)| is_line(gateway)).map(|(id, _)| id)
    }
}

/// An organisation that owns talkgroups and gateways and decides what it shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agency {
    pub name: String,
    /// Whom partners call at night: shown when an invitation goes unanswered.
    pub contact_24h: String,
    /// The place that must be staffed while the agency is linked.
    pub responsible: Option<Responsible>,
    /// Links of this agency in all incidents.
    pub links_max: u16,
    /// Open incidents this agency may host.
    pub incidents_max: u16,
}

/// A position that beats while someone sits there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Responsible {
    pub position: PositionId,
    /// Without a heartbeat for this long the position is lost (s).
    pub heartbeat_s: u16,
    pub on_loss: OnLoss,
}

/// What becomes of an agency's links when its position is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLoss {
    /// Keep talking; partners are alarmed.
    #[default]
    Keep,
    /// Links stay but pass nothing until the position is back.
    Mute,
    /// Links end.
    Unlink,
}

/// An agency's named group channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Talkgroup {
    pub agency: AgencyId,
    pub name: String,
    pub security: Security,
    pub patchable: Patchable,
    /// Shown to whoever links it: a patch does not carry a footprint.
    pub coverage: String,
    /// The owner's cap on what a host may set.
    pub priority_max: Priority,
    /// Gateways that may transmit for it, the preferred one first.
    pub transmit: Vec<GatewayId>,
    /// Longest burst of its members (ms).
    pub talk_limit_ms: u32,
    pub announce: Announce,
    /// What the owner wants when a proven loop is found on one of its legs.
    pub on_loop: OnLoop,
    /// Unlink after this long without speech (s); 0 never (idle only warns).
    pub idle_unlink_s: u32,
    /// The floor of its home patch.
    pub floor: FloorPolicy,
}

/// What listeners may assume of a talkgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    #[default]
    Clear,
    Secure,
}

/// Whether an owner shares a talkgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Patchable {
    Never,
    /// A dispatcher of the owner says yes each time.
    #[default]
    Ask,
}

/// What a leg's own edge hears about its links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Announce {
    #[default]
    Tone,
    Off,
}

/// What to do about a proven loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLoop {
    /// Mute one direction of the leg that returns the audio for 10 s.
    #[default]
    Isolate,
    /// Only say so.
    Alarm,
}

/// A radio gateway: its transport and its port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gateway {
    pub agency: AgencyId,
    /// The talkgroup it carries; it is a member of that home patch.
    pub talkgroup: TalkgroupId,
    pub kind: GatewayKind,
    pub port: GatewayPort,
}

/// How a gateway is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayKind {
    Rtp(RtpGateway),
    Sip(SipGateway),
    Phone(Phone),
}

/// Plain RTP on a local port of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RtpGateway {
    /// Even port for RTP, the next one for RTCP; port 0 asks the system.
    pub local: SocketAddr,
    pub peer: PeerRule,
    /// The owner accepts that anyone on the path can hear and speak.
    pub accept_open_network: bool,
    /// Liveness by RTCP or speech: without any for this long the gateway is lost (s); 0 leaves it unsupervised.
    pub rtcp_timeout_s: u16,
}

/// A radio gateway, or another maker's bridge, with which one call stands for ever. What it speaks, each call says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SipGateway {
    /// Where its SIP is; a call with anybody else is none of its.
    pub peer: SocketAddr,
}

/// A telephone that registers here and calls its talkgroup. Where it is and what it speaks, each call says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phone {
    /// It may talk; else it only listens.
    pub talks: bool,
    /// Its calls are encrypted, and so is what carries their keys, or it has none.
    #[serde(default)]
    pub encrypted: bool,
    /// A line out: it is in a call only when a dispatcher has dialled, alone at its talkgroup.
    #[serde(default)]
    pub dials: bool,
}

/// What of a gateway media needs beyond its identity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GatewayPort {
    pub role: PortRole,
    pub rf_channel: Option<RfChannelId>,
    /// The first payload type is what we send.
    pub payloads: Vec<PayloadType>,
    /// Payload type of RFC 4733 telephone events, if it sends or wants any.
    pub events: Option<u8>,
    pub extension: ExtensionIds,
    pub receive: ReceiveSpec,
    pub transmit: TransmitSpec,
    pub trim: Gain,
    pub level: bool,
    pub alias: String,
    pub packets_per_second_max: u16,
}

/// How well a leg's transport protects its audio; computed from its kind, never configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PathClass {
    /// Anyone on the path can listen and speak.
    Open,
    /// Nobody can speak unnoticed.
    Authenticated,
    /// Nor listen.
    Encrypted,
}

impl fmt::Display for PathClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open to anyone on the way",
            Self::Authenticated => "not encrypted",
            Self::Encrypted => "encrypted",
        })
    }
}

/// Whether a call's audio is encrypted (SRTP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaSecurity {
    /// Never: whoever insists is refused.
    Never,
    /// If the peer can.
    Optional,
    /// Always: whoever cannot is refused.
    Required,
}

impl GatewayKind {
    /// The path class of its transport.
    pub const fn path_class(&self) -> PathClass {
        match self {
            GatewayKind::Phone(phone) if phone.encrypted => PathClass::Encrypted,
            GatewayKind::Rtp(_) | GatewayKind::Sip(_) | GatewayKind::Phone(_) => PathClass::Open,
        }
    }

    /// Whether its talker may be heard at all.
    pub const fn may_talk(&self) -> bool {
        match self {
            GatewayKind::Rtp(_) | GatewayKind::Sip(_) => true,
            GatewayKind::Phone(phone) => phone.talks,
        }
    }

    /// Whether a dispatcher dials with it.
    pub const fn dials(&self) -> bool {
        match self {
            GatewayKind::Rtp(_) | GatewayKind::Sip(_) => false,
            GatewayKind::Phone(phone) => phone.dials,
        }
    }

    /// Whether a person holds it, who hears what a radio would only send out.
    pub const fn is_phone(&self) -> bool {
        match self {
            GatewayKind::Rtp(_) | GatewayKind::Sip(_) => false,
            GatewayKind::Phone(_) => true,
        }
    }

    /// Whether it is here only while a call is up.
    pub const fn comes_by_call(&self) -> bool {
        match self {
            GatewayKind::Rtp(_) => false,
            GatewayKind::Sip(_) | GatewayKind::Phone(_) => true,
        }
    }

    /// How long its peer may give no sign of life before it is lost (ms); none: it shows none, and silence means
    /// nothing.
    pub fn silence_max_ms(&self) -> Option<u32> {
        match self {
            GatewayKind::Rtp(rtp) => (rtp.rtcp_timeout_s > 0).then(|| u32::from(rtp.rtcp_timeout_s) * 1000),
            // Its call says whether it lives.
            GatewayKind::Sip(_) | GatewayKind::Phone(_) => None,
        }
    }
}

/// A written agreement between two agencies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    pub between: [AgencyId; 2],
    pub talkgroups: BTreeSet<TalkgroupId>,
    /// Incident kinds it covers; empty covers all.
    pub kinds: BTreeSet<String>,
    pub direction: Direction,
    pub answer: Answer,
    /// Longest lease under it (s).
    pub lease_max_s: u32,
    /// Recording is agreed to.
    pub recording: bool,
    pub end: Option<WallTime>,
    /// Links named here renew daily and are reported daily.
    pub standing: BTreeSet<TalkgroupId>,
}

/// Who answers an invitation under an agreement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    #[default]
    Ask,
    Yes,
}

/// A prepared incident: one command at night.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    pub title: String,
    pub kind: String,
    pub invite: Vec<AgencyId>,
    /// At least one; the first is where links go unless they say otherwise.
    pub patches: Vec<TemplatePatch>,
    /// The opener's own are linked at once; others' are proposed with the invitation.
    pub links: Vec<TemplateLink>,
    pub lease_s: u32,
}

/// A net of a template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplatePatch {
    pub name: PatchName,
    pub floor: FloorPolicy,
}

/// A talkgroup of a template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateLink {
    pub talkgroup: TalkgroupId,
    pub patch: PatchName,
    pub direction: Direction,
}

/// The host's house rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Lease of a link whose owner names none (s).
    pub lease_default_s: u32,
    /// Hard end of a grant whose owner names none (s).
    pub hard_end_default_s: u32,
    /// No lease is longer (s).
    pub lease_max_s: u32,
    /// An invitation rings this long before `contact_24h` is shown (s).
    pub ring_s: u16,
    /// A forced close warns on the air this long before (s).
    pub close_warning_s: u16,
    /// A link used this recently is not cut by expiry, an incident talked in this recently is not simply closed (s).
    pub recent_s: u32,
    /// Floor of new patches.
    pub floor: FloorPolicy,
    pub incidents_max: u16,
    pub patches_per_incident_max: u16,
    pub links_per_patch_max: u16,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lease_default_s: 4 * 3600,
            hard_end_default_s: 12 * 3600,
            lease_max_s: 7 * 24 * 3600,
            ring_s: 30,
            close_warning_s: 60,
            recent_s: 600,
            floor: FloorPolicy::default(),
            incidents_max: 200,
            patches_per_incident_max: 8,
            links_per_patch_max: 60,
        }
    }
}
