//! Three agencies on paper, and a desk at which their dispatchers sit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crosspatch::dispatch::live::Live;
use crosspatch::dispatch::state::PlacedLink;
use crosspatch::dispatch::{State, deadlines, decide, evolve, handle_report};
use crosspatch::domain::audio::{Codec, Format, Gain};
use crosspatch::domain::command::{Command, Principal, Role};
use crosspatch::domain::configuration::{
    Agency, Announce, Configuration, Gateway, GatewayKind, GatewayPort, OnLoop, OnLoss, Patchable, Policy, Responsible,
    RtpGateway, Security, Talkgroup,
};
use crosspatch::domain::event::{Event, Recorded, Stream};
use crosspatch::domain::floor::{FloorPolicy, Priority};
use crosspatch::domain::id::*;
use crosspatch::domain::incident::{Actor, LinkRequest};
use crosspatch::domain::port::*;
use crosspatch::domain::random::Entropy;
use crosspatch::domain::refusal::Refusal;
use crosspatch::domain::report::Report;
use crosspatch::domain::time::{MonoTime, Now, WallTime};

pub fn agency(id: &str) -> AgencyId {
    AgencyId::new(id).unwrap()
}
pub fn talkgroup(id: &str) -> TalkgroupId {
    TalkgroupId::new(id).unwrap()
}
pub fn gateway(id: &str) -> GatewayId {
    GatewayId::new(id).unwrap()
}
pub fn patch(name: &str) -> PatchName {
    PatchName::new(name).unwrap()
}
pub fn port(gateway_id: &str) -> PortId {
    PortId::of_gateway(&gateway(gateway_id))
}

/// A moment so many seconds after the desk opened.
pub fn at_s(s: u64) -> Now {
    Now { mono: MonoTime::from_millis(1_000_000 + s * 1000), wall: WallTime(1_795_392_000_000).plus_ms(s * 1000) }
}

pub fn dispatcher(of: &str) -> Principal {
    Principal { user: UserId::new(&format!("{of}-desk")).unwrap(), agency: Some(agency(of)), role: Role::Dispatcher }
}
pub fn admin() -> Principal {
    Principal { user: UserId::new("admin").unwrap(), agency: None, role: Role::Admin }
}

pub fn an_agency() -> Agency {
    Agency {
        name: "An agency".to_owned(),
        contact_24h: "+1 555 0100".to_owned(),
        responsible: None,
        links_max: 50,
        incidents_max: 20,
    }
}

pub fn a_talkgroup(of: &str) -> Talkgroup {
    Talkgroup {
        agency: agency(of),
        name: "A talkgroup".to_owned(),
        security: Security::Clear,
        patchable: Patchable::Ask,
        coverage: String::new(),
        priority_max: Priority(5),
        transmit: Vec::new(),
        talk_limit_ms: 60_000,
        announce: Announce::Tone,
        on_loop: OnLoop::Isolate,
        idle_unlink_s: 0,
        floor: FloorPolicy::default(),
    }
}

pub fn a_gateway(of: &str, carries: &str, local: u16) -> Gateway {
    Gateway {
        agency: agency(of),
        talkgroup: talkgroup(carries),
        kind: GatewayKind::Rtp(RtpGateway {
            local: ([127, 0, 0, 1], local).into(),
            peer: PeerRule::Latch(vec!["127.0.0.0/8".parse().unwrap()]),
            accept_open_network: true,
            rtcp_timeout_s: 0,
        }),
        port: GatewayPort {
            role: PortRole::Radio,
            rf_channel: None,
            payloads: vec![PayloadType { number: 111, format: Format::usual(Codec::Opus) }],
            events: None,
            extension: ExtensionIds::default(),
            receive: ReceiveSpec {
                keying: ReceiveKeying::Presence,
                end_ms: 300,
                tail_ms: 0,
                inhibit_after_transmit_ms: 250,
                burst_min_ms: 150,
                talk_limit_ms: 60_000,
            },
            transmit: TransmitSpec {
                keying: TransmitKeying::Presence,
                grant: GrantSign::Immediate,
                overlap: Overlap::One,
                pacing: Pacing::Immediate,
                hold_max_ms: 2500,
                tail_ms: 300,
                talk_limit_ms: 60_000,
                far_timeout_ms: None,
                half_duplex: true,
            },
            trim: Gain::UNITY,
            level: false,
            alias: carries.to_owned(),
            packets_per_second_max: 200,
        },
    }
}

/// Police with two talkgroups (the first behind two gateways), fire with two, ems with one. Police's position beats.
pub fn configuration() -> Configuration {
    let mut configuration = Configuration { policy: Policy::default(), ..Configuration::default() };
    for id in ["police", "fire", "ems"] {
        configuration.agencies.insert(agency(id), an_agency());
    }
    let members = [
        ("police", "pd-1", &["gw-pd-1a", "gw-pd-1b"][..]),
        ("police", "pd-2", &["gw-pd-2"]),
        ("fire", "fd-1", &["gw-fd-1"]),
        ("fire", "fd-2", &["gw-fd-2"]),
        ("ems", "em-1", &["gw-em-1"]),
    ];
    let mut local = 40_000;
    for (of, id, gateways) in members {
        let mut spec = a_talkgroup(of);
        for name in gateways {
            spec.transmit.push(gateway(name));
            configuration.gateways.insert(gateway(name), a_gateway(of, id, local));
            local += 2;
        }
        configuration.talkgroups.insert(talkgroup(id), spec);
    }
    configuration
}

/// The police must have someone at their position.
pub fn staffed(mut configuration: Configuration, on_loss: OnLoss) -> Configuration {
    let responsible = Responsible { position: PositionId::new("police-1").unwrap(), heartbeat_s: 30, on_loss };
    configuration.agencies.get_mut(&agency("police")).unwrap().responsible = Some(responsible);
    configuration
}

/// Everything that stands or falls with one state.
pub struct Desk {
    pub state: State,
    pub live: Live,
    pub journal: Vec<Recorded>,
    pub entropy: Entropy,
    pub now: Now,
}

impl Desk {
    pub fn new(configuration: Configuration) -> Self {
        let now = at_s(0);
        let state = State { configuration: Arc::new(Configuration::default()), ..State::default() };
        let live = Live::new(&configuration, now);
        let mut desk = Self { state, live, journal: Vec::new(), entropy: Entropy::new(1), now };
        let event = Event::ConfigurationAdopted { configuration: Box::new(configuration) };
        desk.record(vec![Recorded { stream: Stream::Node, actor: Actor::Recovery, at: now, event }]);
        desk
    }

    pub fn record(&mut self, records: Vec<Recorded>) {
        for recorded in records {
            evolve(&mut self.state, &recorded);
            self.journal.push(recorded);
        }
        self.live.adopt(&self.state.configuration);
    }

    pub fn ask(&mut self, who: &Principal, command: Command) -> Result<Vec<Recorded>, Refusal> {
        let records = decide(&self.state, &command, who, self.now, &mut self.entropy)?;
        self.record(records.clone());
        Ok(records)
    }

    /// Asks as a dispatcher of an agency; must be allowed.
    pub fn order(&mut self, of: &str, command: Command) -> Vec<Recorded> {
        match self.ask(&dispatcher(of), command.clone()) {
            Ok(records) => records,
            Err(refusal) => panic!("{of} was refused {command:?}: {refusal}"),
        }
    }

    /// Asks as a dispatcher of an agency; must be refused, and must change nothing.
    pub fn refused(&mut self, of: &str, command: Command) -> Refusal {
        self.refuses(&dispatcher(of), command)
    }

    pub fn refuses(&mut self, who: &Principal, command: Command) -> Refusal {
        let before = self.state.clone();
        let Err(refusal) = self.ask(who, command.clone()) else { panic!("{:?} was allowed {command:?}", who.user) };
        assert_eq!(self.state, before, "a refused command changed the state");
        refusal
    }

    /// Lets time pass in one step and does what is due.
    pub fn wait_s(&mut self, s: u64) -> Vec<Event> {
        self.now = Now { mono: self.now.mono.plus_ms(s * 1000), wall: self.now.wall.plus_ms(s * 1000) };
        let records = deadlines(&self.state, &self.live, self.now);
        self.record(records.clone());
        records.into_iter().map(|recorded| recorded.event).collect()
    }

    pub fn report(&mut self, report: Report) -> Vec<Event> {
        let records = handle_report(&self.state, &mut self.live, &report, self.now, &mut self.entropy);
        self.record(records.clone());
        records.into_iter().map(|recorded| recorded.event).collect()
    }

    pub fn open(&mut self, of: &str, links: &[&str]) -> IncidentId {
        let links = links.iter().map(|id| LinkRequest::plain(talkgroup(id))).collect();
        let records = self.order(of, opening("Barn fire", links));
        records
            .iter()
            .find_map(|r| if let Event::IncidentOpened { incident, .. } = &r.event { Some(*incident) } else { None })
            .unwrap()
    }

    /// Invites, and the invited agency accepts with these talkgroups.
    pub fn join(&mut self, host: &str, incident: IncidentId, joins: &str, links: &[&str]) {
        self.order(host, Command::Invite { incident, agency: agency(joins), note: String::new(), links: Vec::new() });
        let links = links.iter().map(|id| LinkRequest::plain(talkgroup(id))).collect();
        self.order(joins, Command::Accept { incident, links });
    }

    /// The only link of a talkgroup.
    pub fn link_of(&self, id: &str) -> LinkId {
        self.find(id).map(|placed| placed.link_id).unwrap()
    }

    pub fn find(&self, id: &str) -> Option<PlacedLink<'_>> {
        self.state.links().find(|placed| placed.link.talkgroup == talkgroup(id))
    }

    /// A talker of a gateway speaks in the patch where its talkgroup is linked, from now for so long.
    pub fn talk(&mut self, gateway_id: &str, ms: u32) -> BurstId {
        let burst = self.key(gateway_id);
        self.unkey(burst, gateway_id, ms);
        burst
    }

    pub fn key(&mut self, gateway_id: &str) -> BurstId {
        let burst = BurstId(self.entropy.next_u128());
        let (patch, leg) = self.place(gateway_id);
        let port = port(gateway_id);
        let talker = Default::default();
        self.report(Report::BurstStarted { burst, patch, leg, port, talker, emergency: false, at: self.now.mono });
        burst
    }

    pub fn unkey(&mut self, burst: BurstId, gateway_id: &str, ms: u32) {
        let (patch, leg) = self.place(gateway_id);
        self.now = Now { mono: self.now.mono.plus_ms(u64::from(ms)), wall: self.now.wall.plus_ms(u64::from(ms)) };
        let cause = crosspatch::domain::floor::BurstEnd::Released;
        self.report(Report::BurstEnded { burst, patch, leg, cause, duration_ms: ms, at: self.now.mono });
        self.now = Now { mono: self.now.mono.plus_ms(6000), wall: self.now.wall.plus_ms(6000) };
        let settled = crosspatch::dispatch::reports::settle(&mut self.live, self.now);
        self.record(settled);
    }

    pub fn place(&self, gateway_id: &str) -> (PatchId, LegId) {
        let carries = &self.state.configuration.gateways[&gateway(gateway_id)].talkgroup;
        let placed = self.state.links_of(carries).next().expect("the talkgroup is linked");
        (placed.patch_id, LegId::of(placed.link_id, port(gateway_id)))
    }
}

pub fn opening(title: &str, links: Vec<LinkRequest>) -> Command {
    Command::OpenIncident {
        template: None,
        title: Some(title.to_owned()),
        kind: Some("fire".to_owned()),
        exercise: false,
        invite: Vec::new(),
        links,
    }
}

pub fn link(incident: IncidentId, id: &str) -> Command {
    Command::Link { incident, request: LinkRequest::plain(talkgroup(id)) }
}

pub fn no_agencies() -> BTreeSet<AgencyId> {
    BTreeSet::new()
}

/// Whether the talker's talkgroup is heard by the other's, by the legs of a table.
pub fn hears(table: &crosspatch::domain::order::RouteTable, listener: &str, talker: &str) -> bool {
    let group = |id: &str| Some(GroupId::of_talkgroup(&talkgroup(id)));
    let by_group: BTreeMap<_, Vec<_>> = table.legs.iter().fold(BTreeMap::new(), |mut map, leg| {
        map.entry(leg.group).or_insert_with(Vec::new).push(leg);
        map
    });
    let none = Vec::new();
    by_group.get(&group(listener)).unwrap_or(&none).iter().any(|ear| {
        by_group.get(&group(talker)).unwrap_or(&none).iter().any(|mouth| {
            ear.patch == mouth.patch && ear.hears && mouth.talks && ear.meets(mouth) && ear.group != mouth.group
        })
    })
}
