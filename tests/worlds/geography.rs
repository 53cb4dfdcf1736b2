//! Where a world takes place: agencies, talkgroups, gateways and papers, drawn from the seed, written as the
//! configuration dispatch adopts. Not behaviour: who does what is `field.rs` and `dispatchers.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crosspatch::domain::audio::{Codec, Format, Gain};
use crosspatch::domain::configuration::{
    Agency, Agreement, Announce, Answer, Configuration, Gateway, GatewayKind, GatewayPort, OnLoop, OnLoss, Patchable,
    Policy, Responsible, RtpGateway, Security, Talkgroup, Template, TemplateLink, TemplatePatch,
};
use crosspatch::domain::floor::{FloorMode, FloorPolicy, Priority};
use crosspatch::domain::id::{
    AgencyId, AgreementId, GatewayId, PatchName, PositionId, RfChannelId, TalkgroupId, TemplateId, UserId,
};
use crosspatch::domain::incident::Direction;
use crosspatch::domain::port::{
    GrantSign, Overlap, Pacing, PayloadType, PeerRule, PortRole, ReceiveKeying, ReceiveSpec, TransmitKeying,
    TransmitSpec,
};
use crosspatch::domain::random::Entropy;
use crosspatch::wire::rtp_extension::DEFAULT_IDS;

/// Agencies of every world, in this order: police opens most incidents.
pub const AGENCIES: [(&str, &str); 5] =
    [("police", "pd"), ("fire", "fd"), ("ems", "ems"), ("county", "co"), ("rail", "rail")];

/// The talkgroup through which another site is reached, and who owns it.
pub const LINE: &str = "line-1";
pub const LINE_OWNER: &str = "site";

/// The template of every world.
pub const TEMPLATE: &str = "warehouse-fire";

/// What a configuration says, and the few choices behind it that the shell of the world must know.
#[derive(Clone, Debug)]
pub struct Geography {
    pub configuration: Configuration,
    /// Which shards there are.
    pub shards: u8,
}

impl Geography {
    /// A world of 2 to 5 agencies.
    pub fn draw(entropy: &mut Entropy) -> Self {
        let agencies = 2 + entropy.below(4) as usize;
        let configuration = Configuration::default();
        let mut plan = Plan { entropy, configuration, ports: 0, ports_max: PORTS_MAX, known_peers: false };
        for (agency, short) in &AGENCIES[..agencies] {
            plan.add_agency(agency, short);
        }
        if plan.entropy.percent(25) {
            plan.share_channel();
        }
        plan.add_papers(agencies);
        let configuration = plan.configuration;
        Self { configuration, shards: if entropy.percent(85) { 2 } else { 1 } }
    }

    /// One of two sites that are joined by a line: fewer ports, since both sites' voices are numbered together.
    pub fn draw_site(entropy: &mut Entropy, floor: FloorPolicy) -> Self {
        let mut plan =
            Plan { entropy, configuration: Configuration::default(), ports: 0, ports_max: 8, known_peers: false };
        for (agency, short) in &AGENCIES[..2] {
            plan.add_agency(agency, short);
        }
        // Most speak alike, so that much crosses untouched.
        let pcmu = PayloadType { number: payload_number(Codec::Pcmu), format: Format::usual(Codec::Pcmu) };
        for gateway in plan.configuration.gateways.values_mut() {
            if plan.entropy.percent(60) {
                gateway.port.payloads = vec![pcmu];
            }
        }
        plan.add_papers(2);
        plan.add_line(floor);
        let configuration = plan.configuration;
        Self { configuration, shards: if entropy.percent(85) { 2 } else { 1 } }
    }

    /// The same for a scenario: every agency with one talkgroup, one radio and one desk, and a floor for one.
    pub fn plain_site(agencies: usize, floor: FloorPolicy) -> Self {
        let mut geography = Self::plain(agencies);
        let (mut entropy, configuration) = (Entropy::new(0), std::mem::take(&mut geography.configuration));
        let ports = configuration.gateways.len() as u16;
        let mut plan = Plan { entropy: &mut entropy, configuration, ports, ports_max: PORTS_MAX, known_peers: true };
        plan.add_line(floor);
        Self { configuration: plan.configuration, ..geography }
    }

    /// The world of the scenarios: every agency with one talkgroup, one radio and one desk, nothing by chance.
    pub fn plain(agencies: usize) -> Self {
        let mut entropy = Entropy::new(0);
        let configuration = Configuration::default();
        let mut plan = Plan { entropy: &mut entropy, configuration, ports: 0, ports_max: PORTS_MAX, known_peers: true };
        for (agency, short) in &AGENCIES[..agencies] {
            plan.insert_agency(agency, short, None);
            let talkgroup = format!("{short}-1");
            plan.insert_talkgroup(agency, &talkgroup, Security::Clear);
            plan.insert_gateway(&talkgroup, "a", plain_port(PortRole::Radio));
            plan.insert_gateway(&talkgroup, "desk", plain_port(PortRole::Console));
        }
        plan.insert_template(agencies);
        Self { configuration: plan.configuration, shards: 2 }
    }

    /// Adds a gateway to a plain world.
    pub fn add_gateway(&mut self, talkgroup: &str, suffix: &str, port: GatewayPort) -> GatewayId {
        let mut entropy = Entropy::new(0);
        let configuration = std::mem::take(&mut self.configuration);
        let ports = configuration.gateways.len() as u16;
        let mut plan = Plan { entropy: &mut entropy, configuration, ports, ports_max: PORTS_MAX, known_peers: true };
        let id = plan.insert_gateway(talkgroup, suffix, port);
        self.configuration = plan.configuration;
        id
    }
}

/// The one user of each agency, the host's administrator, or an observer.
pub fn user(name: &str) -> UserId {
    UserId::new(name).expect("worlds use plain names")
}

pub fn agency(name: &str) -> AgencyId {
    AgencyId::new(name).expect("worlds use plain names")
}

pub fn talkgroup(name: &str) -> TalkgroupId {
    TalkgroupId::new(name).expect("worlds use plain names")
}

pub fn gateway(name: &str) -> GatewayId {
    GatewayId::new(name).expect("worlds use plain names")
}

pub fn patch_name(name: &str) -> PatchName {
    PatchName::new(name).expect("worlds use plain names")
}

pub fn template(name: &str) -> TemplateId {
    TemplateId::new(name).expect("worlds use plain names")
}

pub fn position(agency: &AgencyId) -> PositionId {
    PositionId::new(&format!("{agency}-desk")).expect("an agency's id is plain")
}

/// Where a port's far end sends from at first.
pub fn far_address(ports: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, (ports >> 8) as u8, ports as u8)), 5004)
}

/// A port with nothing difficult about it.
pub fn plain_port(role: PortRole) -> GatewayPort {
    let radio = role == PortRole::Radio;
    let keying = if radio { TransmitKeying::Presence } else { TransmitKeying::Ext };
    GatewayPort {
        role,
        rf_channel: None,
        payloads: vec![PayloadType { number: 0, format: Format::usual(Codec::Pcmu) }],
        extension: DEFAULT_IDS,
        receive: ReceiveSpec {
            keying: if radio { ReceiveKeying::Presence } else { ReceiveKeying::Ext },
            end_ms: 300,
            tail_ms: 0,
            inhibit_after_transmit_ms: if radio { 250 } else { 0 },
            burst_min_ms: 0,
            talk_limit_ms: 60_000,
        },
        transmit: TransmitSpec {
            keying,
            grant: GrantSign::Immediate,
            overlap: if radio { Overlap::One } else { Overlap::Mix },
            pacing: Pacing::Immediate,
            hold_max_ms: 2_500,
            tail_ms: if radio { 300 } else { 0 },
            talk_limit_ms: 120_000,
            half_duplex: radio,
            far_timeout_ms: None,
        },
        trim: Gain::UNITY,
        level: false,
        alias: String::new(),
        events: None,
        packets_per_second_max: 100,
    }
}

struct Plan<'a> {
    entropy: &'a mut Entropy,
    configuration: Configuration,
    ports: u16,
    ports_max: u16,
    /// Peers are configured, none has to be heard of first.
    known_peers: bool,
}

impl Plan<'_> {
    fn add_agency(&mut self, agency: &str, short: &str) {
        let on_loss = match self.entropy.below(8) {
            0 => Some(OnLoss::Keep),
            1 => Some(OnLoss::Mute),
            2 => Some(OnLoss::Unlink),
            _ => None,
        };
        self.insert_agency(agency, short, on_loss);
        for number in 1..=1 + self.entropy.below(2) {
            let talkgroup = format!("{short}-{number}");
            let security = if self.entropy.percent(8) { Security::Secure } else { Security::Clear };
            self.insert_talkgroup(agency, &talkgroup, security);
            self.add_radio(&talkgroup, "a");
            if self.entropy.percent(30) {
                self.add_radio(&talkgroup, "b");
            }
            for (role, suffix, percent) in [
                (PortRole::Console, "desk", 35),
                (PortRole::Client, "app", 25),
                (PortRole::Phone, "tel", 15),
                (PortRole::Recorder, "rec", 15),
            ] {
                if self.entropy.percent(percent) && self.ports < self.ports_max {
                    let port = self.draw_port(role);
                    self.insert_gateway(&talkgroup, suffix, port);
                }
            }
        }
    }

    fn add_radio(&mut self, talkgroup: &str, suffix: &str) {
        if self.ports >= self.ports_max {
            return;
        }
        let port = self.draw_port(PortRole::Radio);
        self.insert_gateway(talkgroup, suffix, port);
    }

    fn draw_port(&mut self, role: PortRole) -> GatewayPort {
        let entropy = &mut *self.entropy;
        let mut port = plain_port(role);
        let codec = [Codec::Pcmu, Codec::Pcmu, Codec::L16, Codec::Opus, Codec::Pcma][entropy.below(5) as usize];
        port.payloads = vec![PayloadType { number: payload_number(codec), format: Format::usual(codec) }];
        let radio = role == PortRole::Radio;
        if radio {
            let ext = entropy.percent(50);
            port.receive.keying = if ext { ReceiveKeying::Ext } else { ReceiveKeying::Presence };
            port.receive.end_ms = [120, 200, 300][entropy.below(3) as usize];
            port.receive.tail_ms = [0, 0, 60, 120][entropy.below(4) as usize];
            port.receive.burst_min_ms = [0, 0, 150][entropy.below(3) as usize];
            port.transmit.keying = if ext { TransmitKeying::Ext } else { TransmitKeying::Presence };
            port.transmit.grant = match (ext, entropy.below(3)) {
                (true, 0) => GrantSign::Signalled,
                (_, 1) => GrantSign::AfterMs(100 * (1 + entropy.below(6) as u16)),
                _ => GrantSign::Immediate,
            };
            port.transmit.hold_max_ms = [1_000, 2_500][entropy.below(2) as usize];
            port.transmit.tail_ms = [0, 300][entropy.below(2) as usize];
            port.transmit.pacing = if entropy.percent(25) { Pacing::Paced } else { Pacing::Immediate };
        } else {
            let ext = role == PortRole::Client || entropy.percent(50);
            port.receive.keying = if ext { ReceiveKeying::Ext } else { ReceiveKeying::Presence };
        }
        if entropy.percent(20) {
            port.receive.talk_limit_ms = 2_000;
        }
        if entropy.percent(15) {
            port.trim = Gain(-300);
        }
        port
    }

    /// The way to another site, as docs/operations.md says it: keyed by the extension both ways, one voice, and the
    /// far floor is waited for. Whoever opens from the template invites its owner.
    fn add_line(&mut self, floor: FloorPolicy) {
        self.insert_agency(LINE_OWNER, "line", None);
        self.insert_talkgroup(LINE_OWNER, LINE, Security::Clear);
        let mut port = plain_port(PortRole::Client);
        port.transmit.grant = GrantSign::Signalled;
        port.transmit.overlap = Overlap::One;
        self.known_peers = true;
        let id = self.insert_gateway(LINE, "a", port);
        if let Some(Gateway { kind: GatewayKind::Rtp(rtp), .. }) = self.configuration.gateways.get_mut(&id) {
            rtp.rtcp_timeout_s = 16;
        }
        let group = self.configuration.talkgroups.get_mut(&talkgroup(LINE)).expect("it was inserted just now");
        (group.patchable, group.priority_max, group.idle_unlink_s) = (Patchable::Ask, Priority(9), 0);
        for template in self.configuration.templates.values_mut() {
            template.invite.push(agency(LINE_OWNER));
            template.patches.iter_mut().for_each(|patch| patch.floor = floor);
        }
    }

    /// Two radios of different talkgroups on one channel: each hears what the other transmits.
    fn share_channel(&mut self) {
        let channel = RfChannelId::new("vhf-5").expect("a plain name");
        let mut taken: BTreeSet<TalkgroupId> = BTreeSet::new();
        for gateway in self.configuration.gateways.values_mut() {
            let radio = gateway.port.role == PortRole::Radio;
            if radio && taken.len() < 2 && taken.insert(gateway.talkgroup.clone()) {
                gateway.port.rf_channel = Some(channel.clone());
            }
        }
    }

    fn add_papers(&mut self, agencies: usize) {
        self.insert_template(agencies);
        if self.entropy.percent(50) {
            let (one, two) = (agency(AGENCIES[0].0), agency(AGENCIES[1].0));
            let of_two = |group: &(&TalkgroupId, &Talkgroup)| group.1.agency == one || group.1.agency == two;
            let talkgroups = self.configuration.talkgroups.iter().filter(of_two).map(|(id, _)| id.clone()).collect();
            let paper = Agreement {
                between: [one, two],
                talkgroups,
                kinds: BTreeSet::new(),
                direction: Direction::Both,
                answer: if self.entropy.percent(60) { Answer::Yes } else { Answer::Ask },
                lease_max_s: 8 * 3600,
                recording: self.entropy.percent(50),
                end: None,
                standing: BTreeSet::new(),
            };
            let id = AgreementId::new("mutual-aid").expect("a plain name");
            self.configuration.agreements.insert(id, paper);
        }
        let lease_default_s = [120, 1200, 4 * 3600][self.entropy.below(3) as usize];
        let hard_end_default_s = [1800, 12 * 3600][self.entropy.below(2) as usize];
        if self.entropy.percent(30) {
            self.configuration.agreements.values_mut().for_each(|paper| paper.standing = paper.talkgroups.clone());
        }
        self.configuration.policy =
            Policy { lease_default_s, hard_end_default_s, floor: self.draw_floor(), ..Policy::default() };
    }

    fn draw_floor(&mut self) -> FloorPolicy {
        FloorPolicy {
            mode: FloorMode::Ptt,
            holders_max: [1, 3, 3][self.entropy.below(3) as usize],
            queue_max: [0, 2][self.entropy.below(2) as usize],
            hang_ms: 500,
            talk_limit_ms: [3_000, 60_000][self.entropy.below(2) as usize],
        }
    }

    fn insert_agency(&mut self, name: &str, short: &str, on_loss: Option<OnLoss>) {
        let id = agency(name);
        let responsible = on_loss.map(|on_loss| Responsible { position: position(&id), heartbeat_s: 30, on_loss });
        let contact_24h = format!("+43 1 {}", short.len());
        let agency = Agency { name: name.into(), contact_24h, responsible, links_max: 40, incidents_max: 20 };
        self.configuration.agencies.insert(id, agency);
    }

    fn insert_talkgroup(&mut self, owner: &str, name: &str, security: Security) {
        let group = Talkgroup {
            agency: agency(owner),
            name: name.into(),
            security,
            patchable: if self.entropy.percent(4) { Patchable::Never } else { Patchable::Ask },
            coverage: String::new(),
            priority_max: Priority(5),
            transmit: Vec::new(),
            talk_limit_ms: 60_000,
            announce: Announce::Off,
            on_loop: OnLoop::Isolate,
            idle_unlink_s: if self.entropy.percent(20) { 1_000 } else { 0 },
            floor: FloorPolicy::default(),
        };
        self.configuration.talkgroups.insert(talkgroup(name), group);
    }

    fn insert_gateway(&mut self, of: &str, suffix: &str, mut port: GatewayPort) -> GatewayId {
        let id = gateway(&format!("{of}-{suffix}"));
        let talkgroup = talkgroup(of);
        port.alias = id.to_string();
        let group = self.configuration.talkgroups.get_mut(&talkgroup).expect("talkgroups come before gateways");
        if port.role == PortRole::Radio && !group.transmit.contains(&id) {
            group.transmit.push(id.clone());
        }
        let owner = group.agency.clone();
        let peer = match self.entropy.percent(50) || self.known_peers {
            true => PeerRule::Static(far_address(self.ports)),
            false => PeerRule::Latch(vec!["10.0.0.0/8".parse().expect("a network")]),
        };
        let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 20_000 + 2 * self.ports);
        // No device here sends RTCP. Scenarios say so; elsewhere idle ones are lost, so that much fails over.
        let rtcp_timeout_s = if self.known_peers { 0 } else { 16 };
        let kind = GatewayKind::Rtp(RtpGateway { local, peer, accept_open_network: true, rtcp_timeout_s });
        self.ports += 1;
        self.configuration.gateways.insert(id.clone(), Gateway { agency: owner, talkgroup, kind, port });
        id
    }

    fn insert_template(&mut self, agencies: usize) {
        let main = patch_name("main");
        let links = AGENCIES[..agencies].iter().map(|(_, short)| TemplateLink {
            talkgroup: talkgroup(&format!("{short}-1")),
            patch: main.clone(),
            direction: Direction::Both,
        });
        let template = Template {
            title: "Warehouse fire".into(),
            kind: "fire".into(),
            invite: AGENCIES[1..agencies].iter().map(|(name, _)| agency(name)).collect(),
            patches: vec![TemplatePatch { name: main.clone(), floor: FloorPolicy::default() }],
            links: links.collect(),
            lease_s: 4 * 3600,
        };
        let papers: BTreeMap<_, _> = [(self::template(TEMPLATE), template)].into();
        self.configuration.templates = papers;
    }
}

/// What a short world can hear.
const PORTS_MAX: u16 = 14;

/// The payload type of each codec in these worlds.
pub fn payload_number(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::L16 => 97,
        Codec::Opus => 96,
    }
}
