//! Trunks as meant: where they are, who proves what to whom, and at which lines their callers get through. From `[[trunk]]`
//! and from `[[phone]]` with a trunk.

use std::net::SocketAddr;

use super::fault::Faults;
use super::keys::{PHONE, TRUNK};
use super::phones::{PhoneAccount, dialled, is_user, secret};
use super::read::{Document, Entry, Span, Value};
use super::sessions::ids;
use super::settings::SecretSource;
use crate::domain::configuration::MediaSecurity;
use crate::domain::id::{GatewayId, TrunkId};

/// A PBX or border controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkAccount {
    pub id: TrunkId,
    /// The preferred one first; empty if it registers here.
    pub peers: Vec<SocketAddr>,
    pub registers: TrunkRegisters,
    /// Emergency calls of phones go there.
    pub emergency: bool,
}

/// Who registers where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrunkRegisters {
    /// Nobody: an address is enough.
    Nobody,
    /// We do, at each of its peers.
    Ours { user: String, realm: String, domain: Option<String>, secret: SecretSource },
    /// It does, here.
    Theirs { user: String, secret: SecretSource },
}

/// A place at a talkgroup for one caller of a trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub phone: GatewayId,
    pub trunk: TrunkId,
    /// Through which else it dials.
    pub other_trunks: Vec<TrunkId>,
    /// What its callers dial; nothing for a line that dials itself.
    pub dialled: Vec<String>,
    /// Whether its calls are encrypted.
    pub srtp: MediaSecurity,
}

pub(super) fn trunks(
    document: &Document,
    (listen, phones): (SocketAddr, &[PhoneAccount]),
    faults: &mut Faults<'_>,
) -> Vec<TrunkAccount> {
    let mut trunks: Vec<TrunkAccount> = Vec::new();
    for entry in document.all(&TRUNK) {
        let (mut peers, registers) = (peers(entry, listen, faults), registers(entry, faults));
        let (Some(id), Some(registers)) = (entry.id("id"), registers) else { continue };
        if matches!(registers, TrunkRegisters::Theirs { .. }) {
            peers.clear();
        }
        check_peers(entry, (&peers, &registers), &trunks, faults);
        if let TrunkRegisters::Theirs { user, .. } = &registers
            && (phones.iter().any(|phone| phone.user == *user) || trunks.iter().any(|other| other.has_user(user)))
        {
            let message = format!("somebody else registers here as {user} already");
            faults.fault(&entry.place("user"), message, Some("give each its own".into()));
        }
        trunks.push(TrunkAccount { id, peers, registers, emergency: entry.switch("emergency") });
    }
    trunks
}

/// Where callers of trunks get through.
pub(super) fn lines(document: &Document) -> Vec<Line> {
    let of_trunk = document.all(&PHONE).iter().filter(|entry| entry.is_written("trunk"));
    let line = |entry: &Entry| {
        let (phone, trunk, srtp) = (entry.id("id")?, entry.id("trunk")?, entry.word("srtp")?);
        let dialled = if entry.switch("dial") { Vec::new() } else { dialled(document, entry) };
        Some(Line { phone, trunk, other_trunks: ids(entry, "other_trunks"), dialled, srtp })
    };
    of_trunk.filter_map(line).collect()
}

impl Line {
    /// Through which it dials, the preferred one first.
    pub fn trunks(&self) -> impl Iterator<Item = &TrunkId> {
        std::iter::once(&self.trunk).chain(&self.other_trunks)
    }
}

impl TrunkAccount {
    pub(super) fn has_user(&self, name: &str) -> bool {
        matches!(&self.registers, TrunkRegisters::Theirs { user, .. } if user == name)
    }
}

fn peers(entry: &Entry, listen: SocketAddr, faults: &mut Faults<'_>) -> Vec<SocketAddr> {
    let Some(Value::List(items)) = entry.item("peers").map(|item| &item.value) else { return Vec::new() };
    let mut peers = Vec::new();
    for item in items {
        let Value::Address(peer) = item.value else { continue };
        check_reached(peer, listen, &item.span, faults);
        if peers.contains(&peer) || peer == listen || peer.port() == 0 {
            let suggestion = "write each address of the PBX once".to_owned();
            faults.fault(&item.span, format!("{peer} stands here twice, or is no peer"), Some(suggestion));
        }
        peers.push(peer);
    }
    peers
}

/// Whether anything gets there from where we listen.
pub(super) fn check_reached(peer: SocketAddr, listen: SocketAddr, place: &Span, faults: &mut Faults<'_>) {
    let is_reached = peer.is_ipv4() == listen.is_ipv4() && (peer.ip().is_loopback() || !listen.ip().is_loopback());
    if !is_reached {
        let message = format!("{peer} cannot be reached from {listen}, where [sip] listens");
        faults.fault(place, message, Some("let `listen` be the address of the interface towards it".into()));
    }
}

fn registers(entry: &Entry, faults: &mut Faults<'_>) -> Option<TrunkRegisters> {
    // A domain may have a port, or be an address of IPv6.
    let is_domain = |text: &str| is_user(&text.replace([':', '[', ']'], "."));
    let written =
        [("user", entry.text("user").is_none_or(is_user)), ("domain", entry.text("domain").is_none_or(is_domain))];
    for (key, is_good) in written {
        if !is_good {
            let message = format!("`{key}` cannot be written into an address");
            faults.fault(&entry.place(key), message, Some("use letters, digits and - _ . +".into()));
        }
    }
    let mut required = |key: &'static str| {
        let value = entry.text(key).map(str::to_owned);
        if value.is_none() {
            let suggestion = entry.section.key(key).map(|key| format!("add: {} = {}", key.name, key.example()));
            faults.fault(&entry.place("register"), format!("whoever registers needs `{key}`"), suggestion);
        }
        value
    };
    match entry.text("register")? {
        "ours" => {
            let (user, realm) = (required("user"), required("realm"));
            let secret = secret(entry, "a [[trunk]] that we register at", faults)?;
            let domain = entry.text("domain").map(str::to_owned);
            Some(TrunkRegisters::Ours { user: user?, realm: realm?, domain, secret })
        }
        "theirs" => {
            let user = required("user");
            let secret = secret(entry, "a [[trunk]] that registers here", faults)?;
            // Where it is, it says itself.
            check_unused(entry, &["peers", "realm", "domain"], faults);
            Some(TrunkRegisters::Theirs { user: user?, secret })
        }
        _ => {
            check_unused(entry, &["user", "realm", "domain", "env", "file", "credential"], faults);
            Some(TrunkRegisters::Nobody)
        }
    }
}

fn check_unused(entry: &Entry, keys: &[&str], faults: &mut Faults<'_>) {
    for key in keys.iter().filter(|key| entry.is_written(key)) {
        let message = format!("`{key}` means nothing to a trunk with this `register`");
        faults.warn(&entry.place(key), message, Some("leave it out, or write register = \"ours\"".into()));
    }
}

fn check_peers(
    entry: &Entry,
    (peers, registers): (&[SocketAddr], &TrunkRegisters),
    others: &[TrunkAccount],
    faults: &mut Faults<'_>,
) {
    match registers {
        TrunkRegisters::Nobody | TrunkRegisters::Ours { .. } if peers.is_empty() => {
            let suggestion = "add: peers = [\"192.0.2.20:5060\"]".to_owned();
            faults.fault(&entry.header, "nobody knows where this trunk is", Some(suggestion));
        }
        TrunkRegisters::Nobody | TrunkRegisters::Ours { .. } | TrunkRegisters::Theirs { .. } => {}
    }
    if let Some(other) = others.iter().find(|other| other.peers.iter().any(|peer| peers.contains(peer))) {
        let message = format!("trunk {} has one of these addresses already", other.id);
        faults.fault(&entry.place("peers"), message, Some("one address is one trunk".into()));
    }
}
