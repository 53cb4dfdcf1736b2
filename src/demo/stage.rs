//! The demo's set-up: a folder, a configuration with free loopback ports, the daemon, three desks, four radios and a phone. Taken
//! down in the opposite order when dropped.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use toml::{Table, Value};

use crate::config;
use crate::demo::child::Daemon;
use crate::demo::desk::Desk;
use crate::demo::party::Party;
use crate::demo::phone::{Account, Phone};
use crate::demo::radio::{Radio, Trunk};
use crate::demo::speech::Speech;
use crate::demo::track::Track;
use crate::demo::verdict::{Recording, Verdict};
use crate::demo::watch::LastRoster;
use crate::domain::id::GatewayId;
use crate::domain::time::MonoTime;
use crate::io::clock;

/// Why the script stopped before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Someone asked for it.
    Quit,
    /// Something that must not happen did.
    Fault(String),
}

impl From<String> for Ended {
    fn from(fault: String) -> Self {
        Ended::Fault(fault)
    }
}

/// What the script tells whoever watches.
#[derive(Clone, Debug)]
pub enum Note {
    /// A step, in a dispatcher's words.
    Step(String),
    /// A round is judged.
    Judged(Box<Verdict>),
}

/// See the file's head. Field order is the order of taking down.
pub struct Stage {
    pub police: Desk,
    pub fire: Desk,
    pub ems: Desk,
    /// None where no softphone is installed.
    pub phone: Option<Phone>,
    /// Where phones register.
    pub registrar: SocketAddr,
    pub radios: BTreeMap<Party, Radio>,
    pub speech: BTreeMap<Party, Speech>,
    pub roster: LastRoster,
    pub daemon: Daemon,
    folder: PathBuf,
    stop: Arc<AtomicBool>,
    notes: Sender<Note>,
}

/// The configuration that comes with the program.
const CONFIGURATION: &str = include_str!("../../config/demo.toml");

impl Stage {
    /// Starts everything; the daemon is ready afterwards.
    pub fn set_up(folder: &Path, stop: &Arc<AtomicBool>, notes: Sender<Note>) -> Result<Self, String> {
        // Nobody may be watching.
        let _ = notes.send(Note::Step("The daemon is started, and the radios load recorded speech.".to_owned()));
        let speech = [
            (Party::PoliceRadio, "demo-instruct"),
            (Party::FireRadio, "demo-congrats"),
            (Party::EmsRadio, "demo-echotest"),
        ];
        let speech = speech
            .into_iter()
            .map(|(party, prompt)| Ok((party, Speech::load(prompt)?)))
            .collect::<Result<_, String>>()?;
        let sockets: BTreeMap<Party, UdpSocket> =
            Party::RADIOS.into_iter().map(|party| Ok((party, free_pair()?))).collect::<Result<_, String>>()?;
        let written = write_configuration(folder, &sockets)?;
        let daemon = Daemon::start(&written.path, &folder.join("daemon.log"), written.door)?;
        let mut radios = BTreeMap::new();
        for (party, socket) in sockets {
            let id = GatewayId::new(party.gateway()).map_err(|fault| fault.to_string())?;
            let gateway = written.configuration.gateways.get(&id).ok_or_else(|| format!("no gateway {id}"))?;
            let trunk = (party == Party::EmsRadio).then_some(TRUNK);
            radios.insert(party, Radio::start(socket, written.gateways[&party], &gateway.port, trunk)?);
        }
        let registrar = written.registrar;
        let account = Account { registrar, user: CHIEF.0, password: CHIEF.1 };
        let phone = Phone::start(account, &mut Speech::load("demo-moreinfo")?, &folder.join("phone"))?;
        Ok(Self {
            police: Desk::of("police", written.door)?,
            fire: Desk::of("fire", written.door)?,
            ems: Desk::of("ems", written.door)?,
            phone,
            registrar,
            radios,
            speech,
            roster: LastRoster::default(),
            daemon,
            folder: folder.to_owned(),
            stop: Arc::clone(stop),
            notes,
        })
    }

    /// Says a step.
    pub fn step(&self, words: impl Into<String>) {
        // Nobody watches any more: then nobody misses it.
        let _ = self.notes.send(Note::Step(words.into()));
    }

    /// Hands a verdict to whoever watches.
    pub fn judged(&self, verdict: &Verdict) {
        let _ = self.notes.send(Note::Judged(Box::new(verdict.clone())));
    }

    /// Waits in real time, unless someone quits or the daemon dies.
    pub fn wait(&mut self, ms: u64) -> Result<(), Ended> {
        let until = clock::mono().plus_ms(ms);
        self.go_on()?;
        while clock::mono() < until {
            std::thread::sleep(until.since(clock::mono()).min(Duration::from_millis(50)));
            self.go_on()?;
        }
        Ok(())
    }

    /// Whether the script may go on although the daemon is away.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn go_on(&mut self) -> Result<(), Ended> {
        if self.is_stopped() {
            return Err(Ended::Quit);
        }
        Ok(self.daemon.check()?)
    }

    /// All recordings begin anew, at one moment.
    pub fn begin_recording(&self) {
        let now = clock::mono();
        self.parties().for_each(|party| self.track(party).begin(now));
    }

    /// Who takes part.
    pub fn parties(&self) -> impl Iterator<Item = Party> {
        Party::RADIOS.into_iter().chain(self.phone.as_ref().map(|_| Party::FireChief))
    }

    /// What a party that takes part said and heard.
    pub fn track(&self, party: Party) -> MutexGuard<'_, Track> {
        match (&self.phone, party) {
            (Some(phone), Party::FireChief) => phone.track(),
            (_, radio) => self.radios[&radio].track(),
        }
    }

    /// What everybody said and heard since.
    pub fn recordings(&self) -> BTreeMap<String, Recording> {
        self.parties().map(|party| (party.name().to_owned(), self.track(party).recording())).collect()
    }

    /// Leaves the recordings in the folder.
    pub fn write_recordings(&self) -> Result<(), String> {
        self.parties().try_for_each(|party| {
            let track = self.track(party).clone();
            track.write(&self.folder, party.name())
        })
    }

    /// When the first packet of speech came to a party after a moment.
    pub fn first_speech_after(&self, party: Party, moment: MonoTime) -> Option<MonoTime> {
        self.track(party).arrivals(moment, MonoTime(u64::MAX)).next().map(|arrival| arrival.at)
    }
}

/// The configuration as it was written for this run.
struct Written {
    path: PathBuf,
    door: SocketAddr,
    registrar: SocketAddr,
    configuration: crate::domain::configuration::Configuration,
    gateways: BTreeMap<Party, SocketAddr>,
}

/// Puts free ports and the radios' addresses into the embedded configuration.
fn write_configuration(folder: &Path, radios: &BTreeMap<Party, UdpSocket>) -> Result<Written, String> {
    let unexpected = || "config/demo.toml has not the shape that the demo expects".to_owned();
    let mut file: Table = CONFIGURATION.parse().map_err(|fault: toml::de::Error| fault.to_string())?;
    let door = TcpListener::bind(LOOPBACK).and_then(|door| door.local_addr()).map_err(|fault| fault.to_string())?;
    let server = file.get_mut("server").and_then(Value::as_table_mut).ok_or_else(unexpected)?;
    server.insert("http".into(), door.to_string().into());
    server.insert("data_dir".into(), folder.join("store").display().to_string().into());
    let tables = file.get_mut("gateway").and_then(|gateway| gateway.get_mut("rtp")).and_then(Value::as_array_mut);
    let mut gateways = BTreeMap::new();
    for table in tables.ok_or_else(unexpected)? {
        let table = table.as_table_mut().ok_or_else(unexpected)?;
        let id = table.get("id").and_then(Value::as_str).ok_or_else(unexpected)?;
        let party = Party::RADIOS.into_iter().find(|party| party.gateway() == id).ok_or_else(unexpected)?;
        // Bound and let go of: the daemon binds it in a moment, and again after its crash.
        let local = free_pair()?.local_addr().map_err(|fault| fault.to_string())?;
        let peer = radios[&party].local_addr().map_err(|fault| fault.to_string())?;
        table.insert("local".into(), local.to_string().into());
        table.insert("peer".into(), peer.to_string().into());
        gateways.insert(party, local);
    }
    let registrar = free_pair()?.local_addr().map_err(|fault| fault.to_string())?;
    let sip = file.get_mut("sip").and_then(Value::as_table_mut).ok_or_else(unexpected)?;
    sip.insert("listen".into(), registrar.to_string().into());
    let phones = file.get_mut("phone").and_then(Value::as_array_mut).ok_or_else(unexpected)?;
    for (phone, (user, password)) in phones.iter_mut().zip([CHIEF, VISITOR]) {
        let path = folder.join(user);
        std::fs::write(&path, password).map_err(|fault| format!("{}: {fault}", path.display()))?;
        let phone = phone.as_table_mut().ok_or_else(unexpected)?;
        phone.insert("user".into(), user.into());
        phone.remove("env");
        phone.insert("file".into(), path.display().to_string().into());
    }
    let text = toml::to_string(&file).map_err(|fault| fault.to_string())?;
    let path = folder.join("demo.toml");
    std::fs::write(&path, &text).map_err(|fault| format!("{}: {fault}", path.display()))?;
    let name = path.display().to_string();
    let (_, configuration, _) = config::parse(&text, &name).map_err(|faults| config::render(&faults))?;
    Ok(Written { path, door, registrar, configuration, gateways })
}

/// A UDP port that is even and whose odd neighbour is free as well.
fn free_pair() -> Result<UdpSocket, String> {
    for _ in 0..1_000 {
        let socket = UdpSocket::bind(LOOPBACK).map_err(|fault| format!("no free UDP port: {fault}"))?;
        let local = socket.local_addr().map_err(|fault| fault.to_string())?;
        let above = SocketAddr::new(local.ip(), local.port().saturating_add(1));
        if local.port() % 2 == 0 && UdpSocket::bind(above).is_ok() {
            return Ok(socket);
        }
    }
    Err("no free pair of UDP ports".to_owned())
}

/// Users and passwords of the demo's phones: its own, and one for whoever watches.
const CHIEF: (&str, &str) = ("chief", "demo-chief");
pub const VISITOR: (&str, &str) = ("visitor", "demo-visitor");
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// A trunk that takes its time, and the squelch that the configuration declares.
const TRUNK: Trunk = Trunk { grant_after_ms: 350, squelch_ms: 120 };
