//! Radio gateways that speak SIP, as meant: where each is, who calls whom, who proves what, and what port it is. From
//! `[[gateway.sip]]`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::fault::Faults;
use super::gateways::{check_secure, keyed, owner, receive, usual, written_address};
use super::keys::GATEWAY_SIP;
use super::phones::{PhoneAccount, is_user, secret};
use super::read::{Document, Entry, word};
use super::settings::SecretSource;
use super::trunks::{TrunkAccount, check_reached};
use crate::domain::audio::{Codec, Gain};
use crate::domain::configuration::{Gateway, GatewayKind, GatewayPort, SipGateway};
use crate::domain::id::GatewayId;
use crate::domain::port::{ExtensionIds, GrantSign, PortRole};

/// Whom one call is kept up with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayAccount {
    pub id: GatewayId,
    pub peer: SocketAddr,
    pub over_tcp: bool,
    /// What stands before its address when it is called.
    pub number: Option<String>,
    /// We call it; else it calls us.
    pub is_called: bool,
    pub password: Option<GatewayPassword>,
    /// Best first.
    pub codecs: Vec<Codec>,
    /// It is keyed by telephone events.
    pub by_events: bool,
    pub retry_min_s: u16,
    pub retry_max_s: u16,
}

/// What one end proves to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayPassword {
    pub user: String,
    /// Where it is asked for, if it is we who are asked.
    pub realm: Option<String>,
    pub secret: SecretSource,
}

/// Every one, as dispatch knows it.
pub(super) fn sip_gateways(document: &Document, faults: &mut Faults<'_>) -> BTreeMap<GatewayId, Gateway> {
    let mut gateways = BTreeMap::new();
    for entry in document.all(&GATEWAY_SIP) {
        let (Some(peer), Some((agency, talkgroup))) = (written_address(entry, "peer"), owner(document, entry)) else {
            continue;
        };
        let kind = GatewayKind::Sip(SipGateway { peer });
        check_secure(document, entry, &kind, faults);
        let Some(port) = port(entry, faults) else { continue };
        gateways.extend(entry.id("id").map(|id| (id, Gateway { agency, talkgroup, kind, port })));
    }
    gateways
}

/// Every one, as telephony knows it.
pub(super) fn accounts(
    document: &Document,
    (listen, listen_tcp): (SocketAddr, Option<SocketAddr>),
    (phones, trunks): (&[PhoneAccount], &[TrunkAccount]),
    faults: &mut Faults<'_>,
) -> Vec<GatewayAccount> {
    let mut accounts: Vec<GatewayAccount> = Vec::new();
    for entry in document.all(&GATEWAY_SIP) {
        let Some(account) = account(entry, faults) else { continue };
        let local = if account.over_tcp { listen_tcp } else { Some(listen) };
        match local {
            Some(local) => check_reached(account.peer, local, &entry.place("peer"), faults),
            None => {
                let suggestion = "add to [sip]: listen_tcp = \"127.0.0.1:5060\"".to_owned();
                let place =
                    if entry.is_written("transport") { entry.place("transport") } else { entry.place("profile") };
                faults.fault(&place, "it is called over TCP, and could not call back", Some(suggestion));
            }
        }
        check_others(entry, &account, (phones, trunks, &accounts), faults);
        check_profile(entry, &account, faults);
        accounts.push(account);
    }
    accounts
}

/// Nothing speaks SIP here: whoever needs it is told.
pub(super) fn check_listens(document: &Document, faults: &mut Faults<'_>) {
    if let Some(first) = document.all(&GATEWAY_SIP).first() {
        let suggestion = "add: [sip] with listen = \"127.0.0.1:5060\"".to_owned();
        faults.fault(&first.header, "it speaks SIP, and nothing here does", Some(suggestion));
    }
}

fn is_bridge(entry: &Entry) -> bool {
    entry.text("profile") == Some("bsi-core")
}

fn account(entry: &Entry, faults: &mut Faults<'_>) -> Option<GatewayAccount> {
    let is_called = entry.text("calls")? == "we";
    for key in ["user", "number"] {
        if !entry.text(key).is_none_or(is_user) {
            let message = format!("`{key}` cannot be written into an address");
            faults.fault(&entry.place(key), message, Some("use letters, digits and - _ . +".into()));
        }
    }
    let (retry_min_s, retry_max_s) = (entry.integer("retry_min_s")?, entry.integer("retry_max_s")?);
    if retry_min_s > retry_max_s {
        let suggestion = format!("write retry_max_s = {retry_min_s}, or more");
        faults.fault(&entry.place("retry_max_s"), "it is shorter than `retry_min_s`", Some(suggestion));
    }
    let default = if is_bridge(entry) { "tcp" } else { "udp" };
    Some(GatewayAccount {
        id: entry.id("id")?,
        peer: written_address(entry, "peer")?,
        over_tcp: entry.text("transport").unwrap_or(default) == "tcp",
        number: entry.text("number").map(str::to_owned),
        is_called,
        password: password(entry, is_called, faults),
        codecs: entry.texts("codecs").iter().filter_map(|(name, _)| word(name)).collect(),
        by_events: entry.text("tx") == Some("event"),
        retry_min_s,
        retry_max_s,
    })
}

/// Whoever proves something needs a name and a password; where we are asked, also who may ask.
fn password(entry: &Entry, is_called: bool, faults: &mut Faults<'_>) -> Option<GatewayPassword> {
    const KEYS: [&str; 5] = ["user", "realm", "env", "file", "credential"];
    let written = KEYS.into_iter().find(|key| entry.is_written(key))?;
    let needed: &[&'static str] = if is_called { &["user", "realm"] } else { &["user"] };
    for key in needed.iter().filter(|key| !entry.is_written(key)) {
        let suggestion = entry.section.key(key).map(|key| format!("add: {} = {}", key.name, key.example()));
        faults.fault(&entry.place(written), format!("whoever proves a password needs `{key}`"), suggestion);
    }
    if !is_called && entry.is_written("realm") {
        let message = "`realm` means nothing where it calls us: it is told that of [sip]";
        faults.warn(&entry.place("realm"), message, Some("leave it out, or write calls = \"we\"".into()));
    }
    let secret = secret(entry, "a [[gateway.sip]] with a `user`", faults)?;
    let realm = entry.text("realm").filter(|_| is_called).map(str::to_owned);
    Some(GatewayPassword { user: entry.text("user")?.to_owned(), realm, secret })
}

/// One address, name or channel is one party's.
fn check_others(
    entry: &Entry,
    account: &GatewayAccount,
    (phones, trunks, others): (&[PhoneAccount], &[TrunkAccount], &[GatewayAccount]),
    faults: &mut Faults<'_>,
) {
    if let Some(trunk) = trunks.iter().find(|trunk| trunk.peers.contains(&account.peer)) {
        let message = format!("trunk {} has this address already", trunk.id);
        faults.fault(&entry.place("peer"), message, Some("one address is one party".into()));
    }
    let is_same = |other: &&GatewayAccount| (other.peer, &other.number) == (account.peer, &account.number);
    if let Some(other) = others.iter().find(is_same).filter(|other| account.is_called && other.is_called) {
        let message = format!("gateway {} is called at the same place already", other.id);
        faults.fault(&entry.place("peer"), message, Some("give each channel of the box its `number`".into()));
    }
    let Some(user) = account.password.as_ref().filter(|_| !account.is_called).map(|password| &password.user) else {
        return;
    };
    let is_taken = phones.iter().any(|phone| phone.user == *user)
        || trunks.iter().any(|trunk| trunk.has_user(user))
        || others.iter().any(|other| !other.is_called && other.password.as_ref().is_some_and(|one| one.user == *user));
    if is_taken {
        let message = format!("somebody else proves to be {user} already");
        faults.fault(&entry.place("user"), message, Some("give each its own".into()));
    }
}

/// What the Bridging Systems Interface does not have: another maker's bridge need not take it.
fn check_profile(entry: &Entry, account: &GatewayAccount, faults: &mut Faults<'_>) {
    if !is_bridge(entry) {
        return;
    }
    let wants = [
        ("transport", account.over_tcp, "SIP over TCP"),
        ("codecs", account.codecs.contains(&Codec::Pcmu), "pcmu at both ends"),
        ("rx", entry.text("rx") == Some("presence"), "talk spurts by the presence of packets"),
        ("tx", entry.text("tx") == Some("presence"), "talk spurts by the presence of packets"),
        ("half_duplex", entry.switch("half_duplex"), "half duplex"),
    ];
    for (key, _, what) in wants.into_iter().filter(|(_, is_kept, _)| !is_kept) {
        let message = format!("BSI-Core has {what}");
        faults.warn(&entry.place(key), message, Some(format!("leave out `{key}`, or `profile`")));
    }
}

fn port(entry: &Entry, faults: &mut Faults<'_>) -> Option<GatewayPort> {
    let codecs: Option<Vec<Codec>> = entry.texts("codecs").iter().map(|(name, _)| word(name)).collect();
    // A bridge has neither a carrier that drops nor a squelch that crashes.
    let usual_ms = |key, radio_ms| entry.integer(key).unwrap_or(if is_bridge(entry) { 0 } else { radio_ms });
    let (inhibit_ms, burst_min_ms) = (usual_ms("rx_inhibit_after_tx_ms", 250), usual_ms("min_burst_ms", 150));
    let grant = entry.integer("key_up_ms").map_or(GrantSign::Immediate, GrantSign::AfterMs);
    Some(GatewayPort {
        role: PortRole::Radio,
        rf_channel: entry.id("rf_channel"),
        payloads: codecs?.into_iter().map(usual).collect(),
        events: None,
        extension: ExtensionIds::default(),
        receive: receive(entry, inhibit_ms, burst_min_ms)?,
        transmit: keyed(entry, grant, usual_ms("tx_tail_ms", 300), faults)?,
        trim: Gain(entry.integer("trim_db")?),
        level: entry.switch("level"),
        alias: entry.text("alias").or(entry.text("id"))?.into(),
        packets_per_second_max: entry.integer("packets_per_second_max")?,
    })
}
