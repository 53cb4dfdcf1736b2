//! Standing calls: radio gateways, and other makers' bridges, with each of which one call is up for ever. When each is
//! called next, whose call an INVITE is, and whose goes first when both call at once. Answers are values; owned by the
//! exchange.
//!
//! ```text
//!   we     down --now--> called --yes--> up --BYE, silence, no way there--> down, for 1, 2, 4 ... 60 s
//!              \_________ no ________________________________________________/
//!   they   down --its INVITE--> up --> down
//! ```
//!
//! Not calls: those are the exchange's like any phone's. A gateway is its configured address, and its password where it
//! has one; nobody else is ever in its place.

use std::net::SocketAddr;

use super::digest::Respondent;
use super::flow::{Flow, Transport};
use super::message::{Message, Start, dialled_of};
use super::outgoing::Called;
use super::trunk::Account;
use crate::domain::audio::{Codec, Format};
use crate::domain::id::GatewayId;
use crate::domain::time::MonoTime;

/// A gateway as it was configured.
#[derive(Clone, Debug)]
pub struct GatewaySetting {
    pub id: GatewayId,
    /// Its address.
    pub peer: SocketAddr,
    /// Datagrams, or a connection.
    pub transport: Transport,
    /// What stands before its address when it is called: a channel of the box.
    pub number: Option<String>,
    /// We call it; else it calls us.
    pub is_called: bool,
    /// As whom we call it, if it asks.
    pub account: Option<Account>,
    /// As whom it proves its calls, if it has to.
    pub proves: Option<String>,
    /// What the call may speak, best first.
    pub codecs: Vec<Codec>,
    /// It is keyed by telephone events, and is of no use without.
    pub events_needed: bool,
    /// After a failure it is called again so late at first (ms), and never later than that (ms).
    pub retry_min_ms: u64,
    pub retry_max_ms: u64,
}

/// All of them.
#[derive(Debug)]
pub struct Standing {
    /// Our address of datagrams, and of connections.
    here: (SocketAddr, Option<SocketAddr>),
    gateways: Vec<Gateway>,
}

#[derive(Debug)]
struct Gateway {
    setting: GatewaySetting,
    /// The configuration that is in force has it, at this address.
    is_wanted: bool,
    next: MonoTime,
    failures: u32,
    /// Since when its call is up.
    up: Option<MonoTime>,
    /// Since when it is down and nobody was told.
    untold: Option<MonoTime>,
}

impl Standing {
    /// None is wanted yet.
    pub fn new(here: SocketAddr, here_tcp: Option<SocketAddr>, settings: Vec<GatewaySetting>) -> Self {
        let gateway = |setting| Gateway {
            setting,
            is_wanted: false,
            next: MonoTime::default(),
            failures: 0,
            up: None,
            untold: None,
        };
        Self { here: (here, here_tcp), gateways: settings.into_iter().map(gateway).collect() }
    }

    /// Whether anything from there may be a gateway's.
    pub fn has(&self, remote: SocketAddr) -> bool {
        self.gateways.iter().any(|gateway| gateway.setting.peer.ip() == remote.ip())
    }

    /// Which of them the configuration in force has; those that it has no longer.
    pub fn want(&mut self, is_wanted: impl Fn(&GatewayId, SocketAddr) -> bool, now: MonoTime) -> Vec<GatewayId> {
        let mut gone = Vec::new();
        for gateway in &mut self.gateways {
            let wanted = is_wanted(&gateway.setting.id, gateway.setting.peer);
            match (std::mem::replace(&mut gateway.is_wanted, wanted), wanted) {
                (false, true) => {
                    (gateway.next, gateway.failures) = (now, 0);
                    gateway.untold = gateway.up.is_none().then_some(now);
                }
                (true, false) => {
                    gateway.untold = None;
                    gone.push(gateway.setting.id.clone());
                }
                (true, true) | (false, false) => {}
            }
        }
        gone
    }

    /// Whether a call of it that went this way is still its.
    pub fn keeps(&self, id: &GatewayId, flow: &Flow) -> bool {
        let is_its = |one: &&Gateway| one.is_wanted && one.setting.id == *id;
        self.gateways
            .iter()
            .find(is_its)
            .is_some_and(|one| (one.setting.peer.ip(), one.setting.transport) == (flow.remote.ip(), flow.transport))
    }

    /// Whom it is time to call, if it is in no call.
    pub fn due(&self, now: MonoTime) -> Vec<GatewayId> {
        let is_due = |gateway: &&Gateway| gateway.is_wanted && gateway.setting.is_called && gateway.next <= now;
        self.gateways.iter().filter(is_due).map(|gateway| gateway.setting.id.clone()).collect()
    }

    /// Whether it is one, as it was configured.
    pub fn setting(&self, id: &GatewayId) -> Option<&GatewaySetting> {
        self.gateways.iter().map(|gateway| &gateway.setting).find(|setting| setting.id == *id)
    }

    /// What a call with it may speak, if it is one.
    pub fn formats(&self, id: &GatewayId) -> Option<Vec<Format>> {
        Some(self.setting(id)?.codecs.iter().copied().map(Format::usual).collect())
    }

    /// The way there: for a connection our end is where it finds us, not where ours happens to begin.
    pub fn way_to(&self, id: &GatewayId) -> Option<Flow> {
        let GatewaySetting { peer, transport, .. } = self.setting(id)?;
        let (datagrams, connections) = self.here;
        let local = if transport.is_reliable() { connections? } else { datagrams };
        Some(Flow { transport: *transport, remote: *peer, local })
    }

    /// Whom to call, as whom.
    pub fn called(&self, id: &GatewayId) -> Option<Called> {
        let (flow, setting) = (self.way_to(id)?, self.setting(id)?);
        let at = setting.number.as_ref().map_or(String::new(), |number| format!("{number}@"));
        let by = if flow.transport.is_reliable() { ";transport=tcp" } else { "" };
        let user = setting.account.as_ref().map_or(setting.id.as_str(), |account| &account.user);
        let respondent = |account: &Account| Respondent::new(&account.user, &account.realm, account.secret.clone());
        Some(Called {
            uri: format!("sip:{at}{}{by}", setting.peer),
            caller: format!("sip:{user}@{}", flow.local),
            flow,
            respondent: setting.account.as_ref().map(respondent),
        })
    }

    /// Whose call an INVITE is: it comes from the gateway's address and calls the gateway by its id. The only gateway there
    /// may call nobody by name, or where its whole address is known whomever it likes.
    pub fn calling(&self, invite: &Message, flow: &Flow) -> Option<&GatewaySetting> {
        let Start::Request { uri, .. } = &invite.start else { return None };
        let dialled = dialled_of(uri);
        let is_there = |setting: &&GatewaySetting| {
            // Whoever connects does so from any port, and whoever has a password may.
            let by_port = setting.transport == Transport::Udp && setting.proves.is_none();
            let is_its = if by_port { setting.peer == flow.remote } else { setting.peer.ip() == flow.remote.ip() };
            is_its && setting.transport == flow.transport
        };
        let there = || self.gateways.iter().filter(|one| one.is_wanted).map(|one| &one.setting).filter(is_there);
        let alone = || {
            let mut exact = there().filter(|setting| setting.peer == flow.remote || dialled.is_empty());
            exact.next().filter(|_| exact.next().is_none())
        };
        there().find(|setting| setting.id.as_str() == dialled).or_else(alone)
    }

    /// Both call at once: whether its call goes before ours. The higher address wins, which both can see.
    pub fn goes_first(&self, id: &GatewayId) -> bool {
        self.way_to(id).is_none_or(|flow| flow.remote > flow.local)
    }

    /// Its call is up.
    pub fn began(&mut self, id: &GatewayId, now: MonoTime) {
        if let Some(gateway) = self.find(id) {
            (gateway.up, gateway.untold) = (Some(now), None);
        }
    }

    /// Its call ended, or did not come about; `is_refused`: it does not want us, and trying on would lock an account.
    /// Called again later and later, and never all at once: `random` spreads it.
    pub fn ended(&mut self, id: &GatewayId, is_refused: bool, random: u64, now: MonoTime) {
        let Some(gateway) = self.find(id) else { return };
        let (least_ms, most_ms) = (gateway.setting.retry_min_ms, gateway.setting.retry_max_ms);
        let was_up = gateway.up.take();
        // One that lasted has shown that its far side is well.
        if was_up.is_some_and(|since| now.ms_since(since) >= most_ms) {
            gateway.failures = 0;
        }
        let pause_ms = if is_refused { most_ms } else { (least_ms << gateway.failures.min(16)).min(most_ms) };
        gateway.next = now.plus_ms(pause_ms + random % (pause_ms / 4).max(1));
        gateway.failures += 1;
        gateway.untold = None;
    }

    /// Gateways of which it is time to say that they are lost: nothing came of them since they were wanted.
    pub fn missing(&mut self, now: MonoTime) -> Vec<GatewayId> {
        let is_missing = |gateway: &&mut Gateway| gateway.untold.is_some_and(|since| now.ms_since(since) >= MISSED_MS);
        let missing = self.gateways.iter_mut().filter(is_missing);
        missing
            .map(|gateway| {
                gateway.untold = None;
                gateway.setting.id.clone()
            })
            .collect()
    }

    fn find(&mut self, id: &GatewayId) -> Option<&mut Gateway> {
        self.gateways.iter_mut().find(|gateway| gateway.setting.id == *id)
    }
}

/// A gateway that nobody has heard of is missed after so long (ms).
const MISSED_MS: u64 = 30_000;
