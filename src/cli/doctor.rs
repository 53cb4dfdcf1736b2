//! `crosspatch doctor`: what would keep the daemon from running well on this machine. Looks, and changes nothing.

use std::fs::{File, TryLockError};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use super::fault::CliFault;
use super::table::Table;
use super::{offline, pretty};
use crate::api;
use crate::api::tokens::Known;
use crate::config::{SecretSource, Settings, Sip, Tls, Token, TrunkRegisters};
use crate::domain::configuration::{Configuration, GatewayKind};
use crate::io::gateway_socket::above;
use crate::io::{journal, secret};

/// How one look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Good,
    /// The daemon runs, and something will be worse than it could be.
    Doubtful,
    /// The daemon does not start, or does not do what the file says.
    Bad,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    /// What was seen, and what to do about it.
    words: String,
}

/// Exit 1 if anything is bad.
pub(super) fn doctor(path: &Path, json: bool) -> Result<String, CliFault> {
    let (settings, configuration, warnings) = offline::load(path)?;
    let mut findings = vec![finding("configuration", Verdict::Good, format!("{} is whole", path.display()))];
    if !warnings.is_empty() {
        let words = format!("{} warnings; see: crosspatch check {}", warnings.len(), path.display());
        findings.push(finding("configuration", Verdict::Doubtful, words));
    }
    let held = folder(&settings, &mut findings);
    journal_state(&settings.data_dir, &mut findings);
    ports(&settings, &configuration, held, &mut findings);
    findings.extend(settings.tls.as_ref().map(certificate));
    secrets(&settings.tokens, &mut findings);
    settings.sip.iter().for_each(|sip| passwords(sip, &mut findings));
    files(&configuration, &mut findings);
    findings.push(real_time());
    findings.push(receive_buffer());
    let text = if json { pretty(&findings)? } else { text(&findings) };
    if findings.iter().any(|finding| finding.verdict == Verdict::Bad) {
        return Err(CliFault::Unwell(text));
    }
    Ok(text)
}

fn finding(what: &'static str, verdict: Verdict, words: String) -> Finding {
    Finding { what, verdict, words }
}

fn text(findings: &[Finding]) -> String {
    let mut table = Table::new(&["what", "is", "seen"]);
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Good => "good",
            Verdict::Doubtful => "doubtful",
            Verdict::Bad => "BAD",
        };
        table.row([finding.what.to_owned(), verdict.to_owned(), finding.words.clone()]);
    }
    table.text()
}

/// The daemon's folder. True if a daemon holds it now.
fn folder(settings: &Settings, findings: &mut Vec<Finding>) -> bool {
    let dir = &settings.data_dir;
    let mut say = |verdict, words| findings.push(finding("data_dir", verdict, format!("{}: {words}", dir.display())));
    let Ok(metadata) = std::fs::metadata(dir) else {
        let parent = dir.ancestors().skip(1).find(|parent| parent.is_dir());
        let place = parent.map_or_else(String::new, |parent| format!(" inside {}", parent.display()));
        say(Verdict::Doubtful, format!("is not there yet; the daemon must be allowed to make it{place}"));
        return false;
    };
    if !metadata.is_dir() {
        say(Verdict::Bad, "is no folder".to_owned());
        return false;
    }
    if metadata.mode() & 0o077 != 0 {
        say(Verdict::Doubtful, "others may read it; the daemon takes that away when it starts".to_owned());
    }
    match File::open(dir.join("lock")).map(|lock| lock.try_lock_shared()) {
        Ok(Err(TryLockError::WouldBlock)) => {
            say(Verdict::Good, "a daemon is running on it".to_owned());
            true
        }
        Ok(Ok(())) => {
            say(Verdict::Good, "no daemon is running on it".to_owned());
            false
        }
        Ok(Err(TryLockError::Error(fault))) => {
            say(Verdict::Bad, format!("its lock cannot be taken: {fault}"));
            false
        }
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => {
            say(Verdict::Good, "no daemon has run on it yet".to_owned());
            false
        }
        Err(fault) => {
            say(Verdict::Bad, format!("cannot be read: {fault}; ask as the daemon's user"));
            false
        }
    }
}

fn journal_state(dir: &Path, findings: &mut Vec<Finding>) {
    if !dir.is_dir() {
        return;
    }
    findings.push(match journal::check(dir) {
        Ok(report) if report.is_whole() => {
            finding("journal", Verdict::Good, format!("whole, {} records", report.records))
        }
        Ok(_) => {
            let words = format!("damaged; see: crosspatch journal check {}", dir.display());
            finding("journal", Verdict::Bad, words)
        }
        Err(fault) => finding("journal", Verdict::Bad, fault.to_string()),
    });
}

/// Addresses that must be free. With the daemon running they are taken, by it.
fn ports(settings: &Settings, configuration: &Configuration, held: bool, findings: &mut Vec<Finding>) {
    let mut taken = Vec::new();
    let mut look = |name: String, address: SocketAddr, bound: std::io::Result<()>| {
        if let Err(fault) = bound {
            let ours = held && fault.kind() == std::io::ErrorKind::AddrInUse;
            taken.extend((!ours).then(|| format!("{name} {address}: {fault}")));
        }
    };
    look("http".to_owned(), settings.http, TcpListener::bind(settings.http).map(drop));
    if let Some(sip) = &settings.sip {
        look("sip".to_owned(), sip.listen, UdpSocket::bind(sip.listen).map(drop));
        for at in sip.listen_tcp.into_iter().chain(sip.listen_tls.as_ref().map(|(at, _)| *at)) {
            look("sip".to_owned(), at, TcpListener::bind(at).map(drop));
        }
    }
    for (id, gateway) in &configuration.gateways {
        let GatewayKind::Rtp(rtp) = &gateway.kind else { continue };
        look(id.to_string(), rtp.local, UdpSocket::bind(rtp.local).map(drop));
        if rtp.local.port() != 0 {
            look(format!("{id} RTCP"), above(rtp.local), UdpSocket::bind(above(rtp.local)).map(drop));
        }
    }
    let count = configuration.gateways.len();
    if taken.is_empty() {
        let words = format!("http {} and those of {count} gateways can be used", settings.http);
        findings.push(finding("addresses", Verdict::Good, words));
    }
    findings.extend(taken.into_iter().map(|words| finding("addresses", Verdict::Bad, words)));
}

/// Secrets that are not in the file itself.
fn secrets(tokens: &[Token], findings: &mut Vec<Finding>) {
    let (_, faults) = Known::read_what_can_be(tokens);
    if faults.is_empty() {
        findings.push(finding("tokens", Verdict::Good, format!("the secrets of {} can be read", tokens.len())));
    }
    let advice = "; ask as the daemon's user and with its environment";
    findings.extend(faults.into_iter().map(|why| finding("tokens", Verdict::Bad, format!("{why}{advice}"))));
}

/// A phone whose password cannot be read is shut out, and a trunk or a gateway is not there.
fn passwords(sip: &Sip, findings: &mut Vec<Finding>) {
    let phones = sip.accounts.iter().map(|account| (format!("phone {}", account.phone), &account.secret));
    let trunks = sip.trunks.iter().filter_map(|trunk| {
        let secret = match &trunk.registers {
            TrunkRegisters::Nobody => return None,
            TrunkRegisters::Ours { secret, .. } | TrunkRegisters::Theirs { secret, .. } => secret,
        };
        Some((format!("trunk {}", trunk.id), secret))
    });
    let gateways = sip
        .gateways
        .iter()
        .filter_map(|gateway| Some((format!("gateway {}", gateway.id), &gateway.password.as_ref()?.secret)));
    let all: Vec<(String, &SecretSource)> = phones.chain(trunks).chain(gateways).collect();
    let fault_of = |(whose, source): &(String, &SecretSource)| match secret::read(source) {
        Ok(password) if password.is_empty() => Some(format!("{whose}: its password is empty")),
        Ok(_) => None,
        Err(fault) => Some(format!("{whose}: {fault}")),
    };
    let faults: Vec<String> = all.iter().filter_map(fault_of).collect();
    if faults.is_empty() {
        let words = format!("the passwords of {} phones, trunks and gateways can be read", all.len());
        findings.push(finding("phones", Verdict::Good, words));
    }
    findings.extend(faults.into_iter().map(|words| finding("phones", Verdict::Bad, words)));
}

/// Asked as another user than the daemon's, the key may be unreadable to one and not to the other.
fn certificate(tls: &Tls) -> Finding {
    let _ = rustls::crypto::ring::default_provider().install_default();
    match api::tls::load(tls) {
        Ok(_) => finding("tls", Verdict::Good, format!("{} and its key belong together", tls.certificate.display())),
        Err(why) => finding("tls", Verdict::Bad, why),
    }
}

fn files(configuration: &Configuration, findings: &mut Vec<Finding>) {
    let most = getrlimit(Resource::Nofile).maximum;
    // Three sockets each, and room for the journal, clients and threads.
    let needed = configuration.gateways.len() as u64 * 3 + FILES_BESIDE_GATEWAYS;
    let enough = most.is_none_or(|most| most >= needed);
    let allowed = most.map_or("without limit".to_owned(), |most| most.to_string());
    let words = format!("{needed} open files are needed, {allowed} allowed");
    let advice = if enough { "" } else { "; raise LimitNOFILE in the unit" };
    findings.push(finding("files", if enough { Verdict::Good } else { Verdict::Bad }, format!("{words}{advice}")));
}

/// Media threads ask for real-time scheduling: root has it, others by RLIMIT_RTPRIO.
fn real_time() -> Finding {
    let allowed = getrlimit(Resource::Rtprio).current.is_none_or(|most| most > 0);
    if allowed || rustix::process::geteuid().is_root() {
        return finding("real time", Verdict::Good, "this user may use real-time scheduling".to_owned());
    }
    let words = "this user may not use real-time scheduling: packets leave less punctually under load; \
                 set LimitRTPRIO in the unit";
    finding("real time", Verdict::Doubtful, words.to_owned())
}

/// The kernel caps what a socket may ask for.
fn receive_buffer() -> Finding {
    let most: Option<u64> =
        std::fs::read_to_string("/proc/sys/net/core/rmem_max").ok().and_then(|text| text.trim().parse().ok());
    match most {
        Some(bytes) if bytes < RECEIVE_BUFFER_MIN => finding(
            "buffers",
            Verdict::Doubtful,
            format!("net.core.rmem_max is {bytes}: a burst of packets may be lost; set it to {RECEIVE_BUFFER_MIN}"),
        ),
        Some(bytes) => finding("buffers", Verdict::Good, format!("net.core.rmem_max is {bytes}")),
        None => finding("buffers", Verdict::Doubtful, "net.core.rmem_max cannot be read".to_owned()),
    }
}

/// Journal, threads, HTTP clients.
const FILES_BESIDE_GATEWAYS: u64 = 256;
/// Debian's own default; less than that was made smaller by somebody.
const RECEIVE_BUFFER_MIN: u64 = 212_992;
