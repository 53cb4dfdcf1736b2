//! What the shell needs and dispatch does not: addresses, folders, secrets, room. From `[server]` and `[[token]]`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::fault::Faults;
use super::keys::{LIMITS, SERVER, TOKEN};
use super::near::nearest;
use super::phones::{Sip, sip};
use super::read::{Document, Entry, Value};
use crate::domain::command::Role;
use crate::domain::id::{AgencyId, UserId};

/// `[server]` and `[[token]]` as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of this daemon in journal, logs and metrics.
    pub node: String,
    pub data_dir: PathBuf,
    /// Where HTTP is served; loopback unless there is TLS.
    pub http: SocketAddr,
    pub tls: Option<Tls>,
    /// Media threads; 0 lets the shell choose by the number of cores.
    pub shards: u8,
    /// Local address of gateways that name none.
    pub media_address: IpAddr,
    /// First (even) and last UDP port that may be handed out.
    pub media_ports: (u16, u16),
    /// Log filter.
    pub log: String,
    /// Refuse to start on a journal damaged in its middle.
    pub journal_strict: bool,
    pub limits: Limits,
    pub tokens: Vec<Token>,
    /// None: no telephony.
    pub sip: Option<Sip>,
}

impl Settings {
    /// Keys of `[server]` that a start reads and a reload does not, and that differ in `new`.
    pub fn changed_at_start(&self, new: &Self) -> Vec<&'static str> {
        let Self {
            node,
            data_dir,
            http,
            tls,
            shards,
            media_address: _,
            media_ports,
            log,
            journal_strict,
            limits,
            tokens: _,
            sip,
        } = self;
        [
            ("node", *node != new.node),
            ("data_dir", *data_dir != new.data_dir),
            ("http", *http != new.http),
            // The same files are read again; others, or none, are not.
            ("tls_certificate and tls_key", *tls != new.tls),
            ("shards", *shards != new.shards),
            ("media_ports", *media_ports != new.media_ports),
            ("log", *log != new.log),
            ("journal_strict", *journal_strict != new.journal_strict),
            ("limits", *limits != new.limits),
            ("[sip], its [[trunk]]s and who are its [[phone]]s", *sip != new.sip),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }
}

/// Certificate and key files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Room of each media thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub ports: usize,
    pub patches: usize,
    pub legs: usize,
    pub groups: usize,
    pub bursts: usize,
    pub decoders: usize,
    pub encoders: usize,
    pub holds: usize,
    pub delays: usize,
}

/// Who holds a token and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub user: UserId,
    /// None acts for the host only.
    pub agency: Option<AgencyId>,
    pub role: Role,
    pub secret: SecretSource,
}

/// Where a token's secret is found. Only the first form is in the file itself.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// SHA-256 of the token.
    Sha256([u8; 32]),
    /// Environment variable that holds the token.
    Environment(String),
    /// File that holds the token.
    File(PathBuf),
    /// systemd credential that holds the token.
    Credential(String),
}

impl fmt::Debug for SecretSource {
    /// Names the place, never a hash: logs are read by more people than the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::Sha256(_) => f.write_str("Sha256"),
            SecretSource::Environment(name) => write!(f, "Environment({name})"),
            SecretSource::File(path) => write!(f, "File({})", path.display()),
            SecretSource::Credential(name) => write!(f, "Credential({name})"),
        }
    }
}

/// The shell's part of the file.
pub(super) fn settings(document: &Document, faults: &mut Faults<'_>) -> Option<Settings> {
    let server = document.one(&SERVER);
    let absent = Entry::absent(&LIMITS);
    let settings = Settings {
        node: server.text("node")?.into(),
        data_dir: server.text("data_dir")?.into(),
        http: address(server, "http")?,
        tls: tls(server, faults),
        shards: server.integer("shards")?,
        media_address: media_address(document),
        media_ports: ports(server)?,
        log: server.text("log")?.into(),
        journal_strict: server.switch("journal_strict"),
        limits: limits(server.table("limits").unwrap_or(&absent))?,
        tokens: tokens(document, faults),
        sip: sip(document, faults),
    };
    check_log(server, faults);
    let tls_is_written = server.is_written("tls_certificate") || server.is_written("tls_key");
    if !settings.http.ip().is_loopback() && !tls_is_written {
        faults.fault(
            &server.place("http"),
            "`http` is not a loopback address and there is no TLS: tokens would travel in the clear",
            Some(format!("write \"127.0.0.1:{}\", or add tls_certificate and tls_key", settings.http.port())),
        );
    }
    Some(settings)
}

/// A misspelt level would be taken for the name of a part, and nothing would be logged.
fn check_log(server: &Entry, faults: &mut Faults<'_>) {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    for part in server.text("log").unwrap_or_default().split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level).trim();
        if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            let suggestion = nearest(level, LEVELS).map(|near| format!("did you mean \"{near}\"?"));
            faults.fault(&server.place("log"), format!("{level:?} is no level of a log"), suggestion);
        }
    }
}

/// Local address of gateways that name none.
pub(super) fn media_address(document: &Document) -> IpAddr {
    let server = document.one(&SERVER);
    match server.item("media_address").map(|item| &item.value) {
        Some(Value::Ip(ip)) => *ip,
        _ => server.text("media_address").and_then(|text| text.parse().ok()).unwrap_or(Ipv4Addr::LOCALHOST.into()),
    }
}

pub(super) fn address(server: &Entry, key: &'static str) -> Option<SocketAddr> {
    match server.item(key).map(|item| &item.value) {
        Some(Value::Address(address)) => Some(*address),
        _ => server.text(key)?.parse().ok(),
    }
}

fn ports(server: &Entry) -> Option<(u16, u16)> {
    if let Some(Value::Ports(first, last)) = server.item("media_ports").map(|item| &item.value) {
        return Some((*first, *last));
    }
    let (first, last) = server.text("media_ports")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

pub(super) fn tls(server: &Entry, faults: &mut Faults<'_>) -> Option<Tls> {
    let keys = ["tls_certificate", "tls_key"];
    for (written, missing) in [(keys[0], keys[1]), (keys[1], keys[0])] {
        if server.is_written(written) && !server.is_written(missing) {
            let suggestion = server.section.key(missing).map(|key| format!("add: {missing} = {}", key.example()));
            faults.fault(&server.place(written), format!("`{written}` needs `{missing}`"), suggestion);
        }
    }
    Some(Tls { certificate: server.text(keys[0])?.into(), key: server.text(keys[1])?.into() })
}

fn limits(entry: &Entry) -> Option<Limits> {
    Some(Limits {
        ports: entry.integer("ports")?,
        patches: entry.integer("patches")?,
        legs: entry.integer("legs")?,
        groups: entry.integer("groups")?,
        bursts: entry.integer("bursts")?,
        decoders: entry.integer("decoders")?,
        encoders: entry.integer("encoders")?,
        holds: entry.integer("holds")?,
        delays: entry.integer("delays")?,
    })
}

fn tokens(document: &Document, faults: &mut Faults<'_>) -> Vec<Token> {
    let entries = document.all(&TOKEN);
    if entries.is_empty() {
        faults.warn(
            &document.one(&SERVER).header,
            "there is no [[token]]: nobody can open an incident",
            Some("add one: [[token]] with user, role, agency and sha256".into()),
        );
    }
    let mut tokens: Vec<Token> = Vec::new();
    for entry in entries {
        let Some(token) = token(entry, faults) else { continue };
        if matches!(token.secret, SecretSource::Sha256(_)) && tokens.iter().any(|other| other.secret == token.secret) {
            let suggestion = "make a token of its own for everybody: the journal says who did what".to_owned();
            faults.fault(&entry.place("sha256"), "two users have the same token", Some(suggestion));
        }
        let twin = tokens.iter().find(|other| other.user == token.user);
        if twin.is_some_and(|twin| (twin.role, &twin.agency) != (token.role, &token.agency)) {
            let message = format!("user {} has another role or agency in another [[token]]", token.user);
            faults.fault(&entry.place("user"), message, Some("make them equal, or name one user differently".into()));
        }
        tokens.push(token);
    }
    tokens
}

fn token(entry: &Entry, faults: &mut Faults<'_>) -> Option<Token> {
    const SOURCES: [&str; 4] = ["sha256", "env", "file", "credential"];
    let written: Vec<&str> = SOURCES.into_iter().filter(|key| entry.is_written(key)).collect();
    if written.len() != 1 {
        let place = written.last().map_or_else(|| entry.header.clone(), |key| entry.place(key));
        let message = "a [[token]] needs exactly one of sha256, env, file and credential";
        faults.fault(&place, message, Some("keep sha256 unless the secret is handed over by a vault".into()));
        return None;
    }
    let secret = match entry.item("sha256").map(|item| &item.value) {
        Some(Value::Digest(digest)) => SecretSource::Sha256(*digest),
        _ => (entry.text("env").map(|name| SecretSource::Environment(name.into())))
            .or_else(|| entry.text("file").map(|path| SecretSource::File(path.into())))
            .or_else(|| entry.text("credential").map(|name| SecretSource::Credential(name.into())))?,
    };
    let token = Token { user: entry.id("user")?, agency: entry.id("agency"), role: entry.word("role")?, secret };
    if token.role == Role::Dispatcher && !entry.is_written("agency") {
        let suggestion = Some("add: agency = \"...\"".into());
        faults.fault(&entry.place("role"), "a dispatcher commands an agency, and none is named", suggestion);
    }
    Some(token)
}
