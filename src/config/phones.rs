//! Phones as meant: who they are to SIP, and what port they are to dispatch. From `[sip]`, `[[phone]]` and numbers of
//! talkgroups.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::fault::Faults;
use super::gateways::{check_secure, owner, talkgroup_entry, usual};
use super::keys::{GATEWAY_RTP, GATEWAY_SIP, PHONE, SIP, TALKGROUP, TRUNK};
use super::read::{Document, Entry, word};
use super::settings::{SecretSource, Tls, address, media_address, tls};
use super::sip_gateways::{self, GatewayAccount};
use super::trunks::{Line, TrunkAccount, lines, trunks};
use crate::domain::audio::{Codec, Gain};
use crate::domain::configuration::{Gateway, GatewayKind, GatewayPort, MediaSecurity, Phone};
use crate::domain::id::GatewayId;
use crate::domain::port::{
    ExtensionIds, GrantSign, Overlap, Pacing, PortRole, ReceiveKeying, ReceiveSpec, TransmitKeying, TransmitSpec,
};

/// `[sip]` as meant, with all accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sip {
    /// One interface's address, UDP.
    pub listen: SocketAddr,
    /// The same for connections.
    pub listen_tcp: Option<SocketAddr>,
    /// The same for encrypted connections, and their certificate.
    pub listen_tls: Option<(SocketAddr, Tls)>,
    pub realm: String,
    /// How phones may prove who they are: SHA-256 as well as, or instead of, MD5.
    pub sha256: bool,
    pub md5: bool,
    /// Best first.
    pub codecs: Vec<Codec>,
    /// Keys of encrypted calls may stand in signalling that is not encrypted.
    pub keys_in_clear: bool,
    /// In the file's order: the first of a user is its default.
    pub accounts: Vec<PhoneAccount>,
    pub trunks: Vec<TrunkAccount>,
    /// Where callers of trunks get through.
    pub lines: Vec<Line>,
    /// Radio gateways that one call each is kept up with.
    pub gateways: Vec<GatewayAccount>,
    pub emergency_numbers: Vec<String>,
}

/// A user's place at a talkgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneAccount {
    pub phone: GatewayId,
    pub user: String,
    pub secret: SecretSource,
    /// What reaches it: its talkgroup's id and number.
    pub dialled: Vec<String>,
    /// Whether its calls are encrypted.
    pub srtp: MediaSecurity,
}

/// Telephony, if there is any.
pub(super) fn sip(document: &Document, faults: &mut Faults<'_>) -> Option<Sip> {
    let entry = document.one(&SIP);
    check_numbers(document, faults);
    let accounts = accounts(document, faults);
    if !entry.is_written("listen") {
        sip_gateways::check_listens(document, faults);
        if let Some(first) = document.all(&PHONE).first().or(document.all(&TRUNK).first()) {
            let suggestion = "add: [sip] with listen = \"127.0.0.1:5060\"".to_owned();
            faults.fault(&first.header, "there are phones, and nothing listens for them", Some(suggestion));
        }
        return None;
    }
    let listen = address(entry, "listen")?;
    check_address(document, "listen", listen, faults);
    let more = |key| entry.is_written(key).then(|| address(entry, key)).flatten();
    let listen_tcp = more("listen_tcp").inspect(|tcp| check_address(document, "listen_tcp", *tcp, faults));
    let listen_tls = more("listen_tls").inspect(|tls| check_address(document, "listen_tls", *tls, faults));
    let certificate = tls(entry, faults);
    if listen_tls.is_some() != certificate.is_some() {
        let (written, missing) =
            if listen_tls.is_some() { ("listen_tls", "tls_certificate") } else { ("tls_certificate", "listen_tls") };
        let suggestion = entry.section.key(missing).map(|key| format!("add: {missing} = {}", key.example()));
        faults.fault(&entry.place(written), format!("`{written}` needs `{missing}`"), suggestion);
    }
    let codecs = entry.texts("codecs").iter().filter_map(|(name, _)| word(name)).collect();
    let digests = entry.texts("digests");
    let has = |name: &str| digests.iter().any(|(digest, _)| *digest == name);
    let realm = entry.text("realm")?.into();
    let keys_in_clear = entry.switch("keys_in_clear");
    check_keys(document, keys_in_clear, listen_tls.is_some(), faults);
    let emergency_numbers: Vec<String> =
        entry.texts("emergency_numbers").iter().map(|(number, _)| (*number).to_owned()).collect();
    let trunks = trunks(document, (listen, &accounts), faults);
    check_emergency(document, (&accounts, &trunks, &emergency_numbers), faults);
    let gateways = sip_gateways::accounts(document, (listen, listen_tcp), (&accounts, &trunks), faults);
    let listen_tls = listen_tls.zip(certificate);
    Some(Sip {
        listen,
        listen_tcp,
        listen_tls,
        realm,
        sha256: has("sha-256"),
        md5: has("md5"),
        codecs,
        keys_in_clear,
        accounts,
        trunks,
        lines: lines(document),
        gateways,
        emergency_numbers,
    })
}

/// Every phone, as dispatch knows it.
pub(super) fn phones(document: &Document, faults: &mut Faults<'_>) -> BTreeMap<GatewayId, Gateway> {
    let mut phones = BTreeMap::new();
    for entry in document.all(&PHONE) {
        // An encrypted call whose keys anybody could read is not.
        let encrypted = entry.text("srtp") == Some("required") && !document.one(&SIP).switch("keys_in_clear");
        let talks = entry.text("talk") != Some("none");
        let kind = GatewayKind::Phone(Phone { talks, encrypted, dials: entry.switch("dial") });
        let Some((agency, talkgroup)) = owner(document, entry) else { continue };
        check_secure(document, entry, &kind, faults);
        check_dial(document, entry, faults);
        let Some(port) = port(document.one(&SIP), entry) else { continue };
        phones.extend(entry.id("id").map(|id| (id, Gateway { agency, talkgroup, kind, port })));
    }
    phones
}

fn port(sip: &Entry, entry: &Entry) -> Option<GatewayPort> {
    let codecs: Option<Vec<Codec>> = sip.texts("codecs").iter().map(|(name, _)| word(name)).collect();
    Some(GatewayPort {
        role: PortRole::Phone,
        rf_channel: None,
        payloads: codecs?.into_iter().map(usual).collect(),
        events: None,
        extension: ExtensionIds::default(),
        receive: ReceiveSpec {
            keying: ReceiveKeying::Event,
            end_ms: MEDIA_LOST_MS,
            tail_ms: 0,
            inhibit_after_transmit_ms: 0,
            burst_min_ms: 0,
            talk_limit_ms: entry.integer::<u32>("talk_limit_s")? * 1000,
        },
        transmit: TransmitSpec {
            keying: TransmitKeying::Presence,
            grant: GrantSign::Immediate,
            overlap: Overlap::Mix,
            pacing: Pacing::Immediate,
            hold_max_ms: HOLD_MAX_MS,
            tail_ms: 0,
            talk_limit_ms: LISTEN_MAX_MS,
            far_timeout_ms: None,
            half_duplex: false,
        },
        trim: Gain(entry.integer("trim_db")?),
        level: entry.switch("level"),
        alias: entry.text("alias").or(entry.text("id"))?.into(),
        packets_per_second_max: PACKETS_PER_SECOND_MAX,
    })
}

/// A phone that keyed and sends nothing for so long has let go (ms): twice the pause of an Opus encoder in silence.
const MEDIA_LOST_MS: u16 = 1000;
/// A phone is always clear; it never waits.
const HOLD_MAX_MS: u16 = 0;
/// Nobody stops listening because others talk for long (ms).
const LISTEN_MAX_MS: u32 = 3_600_000;
/// Four times what 20 ms packets need, as for gateways.
const PACKETS_PER_SECOND_MAX: u16 = 200;

fn accounts(document: &Document, faults: &mut Faults<'_>) -> Vec<PhoneAccount> {
    let mut accounts: Vec<PhoneAccount> = Vec::new();
    for entry in document.all(&PHONE) {
        if entry.is_written("trunk") {
            for key in ["user", "env", "file", "credential"].into_iter().filter(|key| entry.is_written(key)) {
                let message = format!("whoever comes through a trunk has no `{key}` here");
                faults.fault(&entry.place(key), message, Some(format!("leave out `{key}`, or `trunk`")));
            }
            continue;
        }
        let secret = secret(entry, "a [[phone]]", faults);
        let user = entry.text("user").or(entry.text("id"));
        let (Some(user), Some(phone), Some(secret)) = (user, entry.id("id"), secret) else { continue };
        if !is_user(user) {
            let suggestion = "use letters, digits and - _ . +".to_owned();
            faults.fault(&entry.place("user"), "a phone could not write this name in an address", Some(suggestion));
        }
        let dialled = dialled(document, entry);
        for twin in accounts.iter().filter(|twin| twin.user == user) {
            if twin.secret != secret {
                let message = format!("user {user} has another password in another [[phone]]");
                faults.fault(&entry.place("user"), message, Some("name the same place, or another user".into()));
            }
            if twin.dialled == dialled {
                let message = format!("user {user} calls this talkgroup as phone {} already", twin.phone);
                faults.fault(&entry.place("talkgroup"), message, Some("leave one of them out".into()));
            }
        }
        let Some(srtp) = entry.word("srtp") else { continue };
        accounts.push(PhoneAccount { phone, user: user.to_owned(), secret, dialled, srtp });
    }
    accounts
}

/// Whether a name can be written into an address as it is.
pub(super) fn is_user(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte))
}

/// What reaches a talkgroup from a phone at it.
pub(super) fn dialled(document: &Document, phone: &Entry) -> Vec<String> {
    let number = talkgroup_entry(document, phone).and_then(|talkgroup| talkgroup.text("number"));
    phone.text("talkgroup").into_iter().chain(number).map(str::to_owned).collect()
}

/// Where the password of a phone or a trunk is found.
pub(super) fn secret(entry: &Entry, whose: &str, faults: &mut Faults<'_>) -> Option<SecretSource> {
    const SOURCES: [&str; 3] = ["env", "file", "credential"];
    let written: Vec<&str> = SOURCES.into_iter().filter(|key| entry.is_written(key)).collect();
    if written.len() != 1 {
        let place = written.last().map_or_else(|| entry.header.clone(), |key| entry.place(key));
        let suggestion = "add: file = \"/etc/crosspatch/phones/...\", and keep passwords out of this file".to_owned();
        faults.fault(&place, format!("{whose} needs exactly one of env, file and credential"), Some(suggestion));
        return None;
    }
    (entry.text("env").map(|name| SecretSource::Environment(name.into())))
        .or_else(|| entry.text("file").map(|path| SecretSource::File(path.into())))
        .or_else(|| entry.text("credential").map(|name| SecretSource::Credential(name.into())))
}

/// Phones are told it, and their calls can be heard beyond this host.
fn check_address(document: &Document, key: &'static str, listen: SocketAddr, faults: &mut Faults<'_>) {
    let entry = document.one(&SIP);
    let place = entry.place(key);
    if listen.ip().is_unspecified() {
        let suggestion = "write the address of the interface towards the phones".to_owned();
        faults.fault(&place, "phones are told this address, and nobody can call it", Some(suggestion));
    } else if listen.is_ipv4() != media_address(document).is_ipv4() || media_address(document).is_unspecified() {
        let message =
            format!("phones are told `media_address` of [server] for their speech, and it does not fit `{key}`");
        faults.fault(&place, message, Some(format!("write media_address = \"{}\"", listen.ip())));
    }
    let all_encrypt = || document.all(&PHONE).iter().all(|phone| phone.text("srtp") == Some("required"));
    let is_kept = key == "listen_tls" && all_encrypt();
    if !listen.ip().is_loopback() && !is_kept && !entry.switch("accept_open_network") {
        let message = "calls outside this host can be heard and forged by anyone on their path";
        let suggestion = "add: accept_open_network = true, if that network is yours alone";
        faults.fault(&place, message, Some(suggestion.into()));
    }
}

/// A phone that must encrypt and whose keys have no way to it. Trunks have no encrypted way.
fn check_keys(document: &Document, in_clear: bool, by_tls: bool, faults: &mut Faults<'_>) {
    for entry in document.all(&PHONE) {
        let may_cross = in_clear || (by_tls && !entry.is_written("trunk"));
        if entry.text("srtp") == Some("required") && !may_cross {
            let way = if entry.is_written("trunk") { "" } else { "listen_tls to [sip], or " };
            let suggestion = format!("add {way}keys_in_clear = true, or let srtp be optional");
            let message =
                "its calls must be encrypted, and no signalling here may carry their keys: all would be refused";
            faults.warn(&entry.place("srtp"), message, Some(suggestion));
        }
    }
}

/// A number is dialled, and reaches one talkgroup.
fn check_numbers(document: &Document, faults: &mut Faults<'_>) {
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for entry in document.all(&TALKGROUP) {
        let Some(number) = entry.text("number") else { continue };
        let place = entry.place("number");
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            faults.fault(&place, format!("{number:?} cannot be dialled"), Some("use digits only".into()));
        }
        if let Some(other) = taken.insert(number, entry.text("id").unwrap_or("?")) {
            let message = format!("{number} is the number of talkgroup {other} already");
            faults.fault(&place, message, Some("give each its own".into()));
        }
    }
}

/// Emergency calls go to a trunk; they must not end at a talkgroup, nor nowhere without anybody being told.
fn check_emergency(
    document: &Document,
    (accounts, trunks, numbers): (&[PhoneAccount], &[TrunkAccount], &[String]),
    faults: &mut Faults<'_>,
) {
    for entry in document.all(&TALKGROUP) {
        if let Some(number) = entry.text("number").filter(|number| numbers.iter().any(|known| known == number)) {
            let message = format!("{number} is an emergency number: whoever dials it wants help, not a talkgroup");
            let suggestion = "give the talkgroup another, or take it out of `emergency_numbers` of [sip]".to_owned();
            faults.fault(&entry.place("number"), message, Some(suggestion));
        }
    }
    if !accounts.is_empty() && !numbers.is_empty() && !trunks.iter().any(|trunk| trunk.emergency) {
        let message = "an emergency number dialled on one of these phones reaches nobody";
        let suggestion = "add emergency = true to the [[trunk]] that leads to the PBX, and tell people so until then";
        faults.warn(&document.one(&SIP).header, message, Some(suggestion.into()));
    }
}

/// Whoever is dialled is alone until it confirms, and confirms by its key.
fn check_dial(document: &Document, entry: &Entry, faults: &mut Faults<'_>) {
    if !entry.switch("dial") {
        if entry.is_written("other_trunks") {
            let message = "nobody dials with this line";
            faults.warn(&entry.place("other_trunks"), message, Some("add: dial = true, or leave it out".into()));
        }
        return;
    }
    let place = entry.place("dial");
    if !entry.is_written("trunk") {
        faults.fault(&place, "only a line of a trunk dials", Some("add: trunk = \"...\"".into()));
    }
    if entry.text("talk") == Some("none") {
        let suggestion = "leave out `talk`; a dispatcher who dials says with --listen whether it talks".to_owned();
        faults.fault(&entry.place("talk"), "whoever is dialled confirms by its key", Some(suggestion));
    }
    let at_it = |other: &&Entry| other.text("talkgroup") == entry.text("talkgroup");
    let gateways = document.all(&GATEWAY_RTP).iter().chain(document.all(&GATEWAY_SIP));
    let members = document.all(&PHONE).iter().chain(gateways).filter(at_it).count();
    if members > 1 {
        let suggestion = "give it a [[talkgroup]] of its own".to_owned();
        faults.fault(&place, "a line that dials is alone at its talkgroup", Some(suggestion));
    }
}
