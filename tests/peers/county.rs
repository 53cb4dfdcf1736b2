//! The configuration of a test: agencies with one talkgroup each, their microphones and ears, and desks to command them.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crosspatch::domain::audio::Codec;
use crosspatch::domain::command::Command;
use crosspatch::domain::event::Event;
use crosspatch::domain::id::{AgencyId, IncidentId, TalkgroupId};
use crosspatch::domain::incident::{LinkRequest, PartyClass};
use sha2::{Digest, Sha256};

use super::Tool;
use super::daemon::{Daemon, Desk};
use super::ear::Ear;
use super::mic::Mic;
use super::ports::{free_pair, wait_until_bound};

/// A file in the making, and the folder of its store.
pub struct County {
    folder: tempfile::TempDir,
    text: String,
    agencies: Vec<String>,
}

impl County {
    /// Nobody yet.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let text = format!(
            "[server]\nnode = \"peers\"\ndata_dir = {store:?}\nhttp = \"127.0.0.1:0\"\nlog = \"info\"\n\n\
             [policy]\nincidents_max = 250\n\n\
             [[token]]\nuser = \"admin\"\nrole = \"admin\"\nsha256 = \"{}\"\n\n",
            digest("admin")
        );
        Self { folder, text, agencies: Vec::new() }
    }

    /// An agency, its token (its own name) and its talkgroup `NAME-1`.
    pub fn agency(&mut self, name: &str) {
        let digest = digest(name);
        let _ = write!(
            self.text,
            "[[agency]]\nid = \"{name}\"\ncontact_24h = \"+1 555 0100\"\nincidents_max = 250\nlinks_max = 1000\n\n\
             [[token]]\nuser = \"{name}-desk\"\nrole = \"dispatcher\"\nagency = \"{name}\"\nsha256 = \"{digest}\"\n\n"
        );
        self.talkgroup(name, &format!("{name}-1"));
        self.agencies.push(name.to_owned());
    }

    pub fn talkgroup(&mut self, agency: &str, name: &str) {
        let _ = write!(self.text, "[[talkgroup]]\nid = \"{name}\"\nagency = \"{agency}\"\nannounce = \"off\"\n\n");
    }

    /// Another site as the handbook writes it, with a token of its agency and its addresses on loopback.
    pub fn site(&mut self, agency: &str, handbook: &str, local: u16, peer: u16) {
        let address = |line: &str| match line.split_once(" = ") {
            Some(("local", _)) => format!("local = \"127.0.0.1:{local}\""),
            Some(("peer", _)) => format!("peer = \"127.0.0.1:{peer}\""),
            Some(_) | None => line.to_owned(),
        };
        let lines: Vec<String> = handbook.lines().map(address).collect();
        let (text, digest) = (lines.join("\n"), digest(agency));
        let _ = write!(
            self.text,
            "{text}\n\n[[token]]\nuser = \"{agency}-desk\"\nrole = \"dispatcher\"\nagency = \"{agency}\"\n\
             sha256 = \"{digest}\"\n\n"
        );
        self.agencies.push(agency.to_owned());
    }

    /// The first two agencies agree in writing that each accepts the other's invitations at once.
    pub fn agreement(&mut self, id: &str, talkgroups: &[String]) {
        let [first, second, ..] = &self.agencies[..] else { panic!("two agencies agree") };
        let _ = write!(
            self.text,
            "[[agreement]]\nid = \"{id}\"\nbetween = [\"{first}\", \"{second}\"]\n\
             talkgroups = {talkgroups:?}\nanswer = \"yes\"\n\n"
        );
    }

    /// A gateway of a talkgroup with one fixed peer; the port where the daemon listens for it.
    pub fn gateway(&mut self, id: &str, talkgroup: &str, role: &str, codec: Codec, peer: u16) -> u16 {
        self.gateway_at(Ipv4Addr::LOCALHOST.into(), id, talkgroup, role, codec, peer)
    }

    /// The same at another address of this machine.
    pub fn gateway_at(&mut self, ip: IpAddr, id: &str, talkgroup: &str, role: &str, codec: Codec, peer: u16) -> u16 {
        let port = free_pair();
        let codec = word(codec);
        let [local, peer] = [port, peer].map(|port| SocketAddr::new(ip, port));
        let _ = write!(
            self.text,
            "[[gateway.rtp]]\nid = \"{id}\"\ntalkgroup = \"{talkgroup}\"\nrole = \"{role}\"\n\
             local = \"{local}\"\npeer = \"{peer}\"\ncodecs = [\"{codec}\"]\n\n"
        );
        port
    }

    /// Telephony on a free port, which comes back.
    pub fn sip(&mut self, codecs: &str) -> u16 {
        let port = free_pair();
        let _ = write!(self.text, "[sip]\nlisten = \"127.0.0.1:{port}\"\ncodecs = [{codecs}]\n");
        port
    }

    /// The same over TCP.
    pub fn sip_over_tcp(&mut self) -> u16 {
        let port = free_pair();
        self.also(&format!("listen_tcp = \"127.0.0.1:{port}\""));
        port
    }

    /// The same over TLS, and the file of what is to be trusted then.
    pub fn sip_over_tls(&mut self) -> (u16, PathBuf) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = (self.path().join("sip.pem"), self.path().join("sip.key"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let port = free_pair();
        self.also(&format!("listen_tls = \"127.0.0.1:{port}\"\ntls_certificate = {certificate:?}\ntls_key = {key:?}"));
        (port, certificate)
    }

    /// More lines for the table that was written last.
    pub fn also(&mut self, lines: &str) {
        let _ = writeln!(self.text, "{lines}");
    }

    /// A phone of a talkgroup; its user is its id and its password comes back.
    pub fn phone(&mut self, id: &str, talkgroup: &str) -> String {
        self.phone_that(id, talkgroup, "")
    }

    /// The same with more lines of its own.
    pub fn phone_that(&mut self, id: &str, talkgroup: &str, lines: &str) -> String {
        let password = format!("password of {id}").replace(' ', "-");
        let file = self.path().join(format!("{id}.password"));
        std::fs::write(&file, &password).unwrap();
        let _ =
            write!(self.text, "\n[[phone]]\nid = \"{id}\"\ntalkgroup = \"{talkgroup}\"\nfile = {file:?}\n{lines}\n");
        password
    }

    /// A PBX at these ports of loopback, and so many lines of it at a talkgroup: `PBX-1` and so on.
    pub fn trunk(&mut self, id: &str, ports: &[u16], talkgroup: &str, lines: usize) {
        let peers: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let _ = write!(self.text, "[[trunk]]\nid = \"{id}\"\nregister = \"none\"\npeers = {peers:?}\n\n");
        for line in 1..=lines {
            let _ =
                write!(self.text, "[[phone]]\nid = \"{id}-{line}\"\ntalkgroup = \"{talkgroup}\"\ntrunk = \"{id}\"\n\n");
        }
    }

    /// A line of its own talkgroup that dials through these PBXs.
    pub fn line_out(&mut self, id: &str, talkgroup: &str, trunks: &[&str]) {
        let (first, others) = trunks.split_first().expect("a trunk");
        let _ = write!(
            self.text,
            "[[phone]]\nid = \"{id}\"\ntalkgroup = \"{talkgroup}\"\ntrunk = \"{first}\"\n\
             other_trunks = {others:?}\ndial = true\n\n"
        );
    }

    /// A radio gateway that speaks SIP at this port of loopback, with more lines of its own.
    pub fn gateway_sip(&mut self, id: &str, talkgroup: &str, peer: u16, lines: &str) {
        let _ = write!(
            self.text,
            "[[gateway.sip]]\nid = \"{id}\"\ntalkgroup = \"{talkgroup}\"\npeer = \"127.0.0.1:{peer}\"\n{lines}\n\n"
        );
    }

    /// The only pair of ports for media of calls.
    pub fn media_ports(&mut self) -> u16 {
        let port = free_pair();
        self.text = self.text.replacen("[server]\n", &format!("[server]\nmedia_ports = \"{port}-{}\"\n", port + 1), 1);
        port
    }

    /// A microphone of an agency; it is started by the caller once the daemon is there, or before.
    pub fn mic(&mut self, agency: &str, tool: Tool, codec: Codec) -> Mic {
        let from = free_pair();
        let id = format!("{agency}-{}-mic", tool.word());
        let to = self.gateway(&id, &format!("{agency}-1"), "client", codec, from);
        Mic::start(tool, codec, from, to)
    }

    /// An ear of an agency. GStreamer plays a radio, FFmpeg a console.
    pub fn ear(&mut self, agency: &str, tool: Tool, codec: Codec) -> Ear {
        let port = free_pair();
        let (id, role) = match tool {
            Tool::GStreamer => (format!("{agency}-radio"), "radio"),
            Tool::Ffmpeg => (format!("{agency}-desk"), "console"),
        };
        self.gateway(&id, &format!("{agency}-1"), role, codec, port);
        let ear = Ear::start(tool, codec, port, self.folder.path());
        wait_until_bound(&[port]);
        ear
    }

    /// Writes the file.
    pub fn file(&self) -> PathBuf {
        let path = self.path().join("crosspatch.toml");
        std::fs::write(&path, &self.text).unwrap();
        path
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The first agency opens an incident; all others accept and link their talkgroup.
    pub fn join_all(&self, daemon: &Daemon) -> IncidentId {
        let (host, others) = self.agencies.split_first().expect("an agency");
        let invite = others.iter().map(|name| AgencyId::new(name).unwrap()).collect();
        let incident = open(&daemon.desk(host), host, invite, vec![link(&format!("{host}-1"))]);
        for name in others {
            daemon.desk(name).order(&Command::Accept { incident, links: vec![link(&format!("{name}-1"))] });
        }
        incident
    }
}

/// Opens an incident; its id.
pub fn open(desk: &Desk, title: &str, invite: Vec<AgencyId>, links: Vec<LinkRequest>) -> IncidentId {
    let open = Command::OpenIncident {
        template: None,
        title: Some(title.to_owned()),
        kind: None,
        exercise: false,
        invite,
        links,
    };
    let events = desk.order(&open);
    let opened = events
        .iter()
        .find_map(|event| if let Event::IncidentOpened { incident, .. } = event { Some(*incident) } else { None });
    opened.expect("an incident was opened")
}

/// What the file knows of a token.
fn digest(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A talkgroup both ways, heard also by agencies that come later.
pub fn link(talkgroup: &str) -> LinkRequest {
    let mut request = LinkRequest::plain(TalkgroupId::new(talkgroup).unwrap());
    request.classes.insert(PartyClass::LaterAgencies);
    request
}

fn word(codec: Codec) -> &'static str {
    match codec {
        Codec::Opus => "opus",
        Codec::Pcmu => "pcmu",
        Codec::Pcma => "pcma",
        Codec::G722 => "g722",
        Codec::L16 => "l16",
    }
}
