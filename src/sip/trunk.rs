//! Trunks: the PBXs and border controllers that calls may come from and go to. Which of them live, in which order they are
//! tried, whose requests are theirs. Answers are values; owned by the exchange.
//!
//! ```text
//!   static  a configured address is the trunk; it is asked every 30 s whether it lives (OPTIONS)
//!   ours    the same, and we register there; it is up while it accepts that
//!   theirs  it registers here with a password, and is up while it is registered
//! ```
//!
//! Not calls: a caller of a trunk is a phone like another, at a line that somebody's configuration gives it. Nobody else
//! than its configured addresses is a trunk: no redirection, no lookup by name.

mod peer;

use std::net::SocketAddr;

use super::digest::DigestSecret;
use super::flow::{Flow, Transport};
use super::message::Message;
use super::names::Names;
use super::transaction::{ClientId, Datagram};
use crate::domain::id::TrunkId;
use crate::domain::time::MonoTime;

use peer::Peer;

/// A trunk as it was configured.
#[derive(Clone, Debug)]
pub struct TrunkSetting {
    pub id: TrunkId,
    /// Its addresses, the preferred one first. Empty if it registers here.
    pub peers: Vec<SocketAddr>,
    /// As whom we register there.
    pub registers: Option<Account>,
    /// As whom it registers here.
    pub registered: Option<String>,
    /// Phones that dial an emergency number are sent there.
    pub emergency: bool,
}

/// Who we are to a trunk.
#[derive(Clone, Debug)]
pub struct Account {
    pub user: String,
    /// The password holds in this realm alone.
    pub realm: String,
    /// What stands behind the user in its address; none: the peer's own.
    pub domain: Option<String>,
    pub secret: DigestSecret,
}

/// A request of ours that is to be sent and repeated until it is answered.
#[derive(Debug)]
pub struct Asking {
    pub id: ClientId,
    pub branch: String,
    pub request: Datagram,
}

/// All trunks.
#[derive(Debug)]
pub struct Trunks {
    here: SocketAddr,
    trunks: Vec<Trunk>,
}

#[derive(Debug)]
struct Trunk {
    setting: TrunkSetting,
    peers: Vec<Peer>,
    /// What was said of it last.
    told: Option<bool>,
}

impl Trunks {
    /// Nothing is known of any yet.
    pub fn new(here: SocketAddr, settings: Vec<TrunkSetting>) -> Self {
        let trunk = |setting: TrunkSetting| Trunk {
            peers: setting.peers.iter().map(|address| Peer::new(*address, setting.registers.clone())).collect(),
            setting,
            told: None,
        };
        Self { here, trunks: settings.into_iter().map(trunk).collect() }
    }

    /// The trunk whose datagrams come this way. A connection from its address may be anybody's behind the same NAT.
    pub fn at(&self, flow: &Flow) -> Option<&TrunkSetting> {
        let is_its = |trunk: &&Trunk| trunk.setting.peers.contains(&flow.remote) && flow.transport == Transport::Udp;
        self.trunks.iter().find(is_its).map(|trunk| &trunk.setting)
    }

    /// The trunk that registers here as this user.
    pub fn of_user(&self, user: &str) -> Option<&TrunkSetting> {
        let is_its = |trunk: &&Trunk| trunk.setting.registered.as_deref() == Some(user);
        self.trunks.iter().find(is_its).map(|trunk| &trunk.setting)
    }

    /// As whom we register where.
    pub fn accounts(&self) -> impl Iterator<Item = (&TrunkId, &Account)> {
        self.trunks.iter().filter_map(|Trunk { setting, .. }| Some((&setting.id, setting.registers.as_ref()?)))
    }

    /// The addresses of these trunks in the order in which they are to be tried: those that live first, those that nothing
    /// is known of next, and the dead last, for what seems dead may only have lost an answer; else as they stand. Where
    /// those that register here are, `bindings` says by their user.
    pub fn ways_out(
        &self,
        trunks: &[TrunkId],
        bindings: impl Fn(&str) -> Vec<SocketAddr>,
        now: MonoTime,
    ) -> Vec<(TrunkId, SocketAddr)> {
        let known = |id: &TrunkId| self.trunks.iter().find(|trunk| trunk.setting.id == *id);
        let mut ways = Vec::new();
        for Trunk { setting, peers, told: _ } in trunks.iter().filter_map(known) {
            let registered = setting.registered.iter().flat_map(|user| bindings(user));
            let all = peers.iter().map(|peer| (peer.is_up(now), peer.address));
            ways.extend(
                all.chain(registered.map(|at| (Some(true), at))).map(|(is_up, at)| (is_up, setting.id.clone(), at)),
            );
        }
        ways.sort_by_key(|(is_up, ..)| match is_up {
            Some(true) => 0,
            None => 1,
            Some(false) => 2,
        });
        ways.into_iter().map(|(_, trunk, at)| (trunk, at)).collect()
    }

    /// As whom we call through it.
    pub fn account_of(&self, id: &TrunkId) -> Option<&Account> {
        self.trunks.iter().find(|trunk| trunk.setting.id == *id)?.setting.registers.as_ref()
    }

    /// Where emergency calls go now.
    pub fn emergency_peer(&self, bindings: impl Fn(&str) -> Vec<SocketAddr>, now: MonoTime) -> Option<SocketAddr> {
        let serving = self.trunks.iter().filter(|trunk| trunk.setting.emergency);
        let ids: Vec<TrunkId> = serving.map(|trunk| trunk.setting.id.clone()).collect();
        self.ways_out(&ids, bindings, now).into_iter().next().map(|(_, at)| at)
    }

    /// What is to be asked now.
    pub fn ask(&mut self, names: &mut Names, now: MonoTime) -> Vec<Asking> {
        let here = self.here;
        let peers = self.trunks.iter_mut().flat_map(|trunk| &mut trunk.peers);
        peers.flat_map(|peer| peer.ask(here, names, now)).collect()
    }

    /// Whether the answer to this request is awaited here.
    pub fn awaits(&self, id: ClientId) -> bool {
        self.trunks.iter().flat_map(|trunk| &trunk.peers).any(|peer| peer.awaits(id))
    }

    /// An answer came, or with `None` will not; what is to be asked because of it.
    pub fn answered(
        &mut self,
        id: ClientId,
        answer: Option<&Message>,
        names: &mut Names,
        now: MonoTime,
    ) -> Option<Asking> {
        let here = self.here;
        let mut peers = self.trunks.iter_mut().flat_map(|trunk| &mut trunk.peers);
        peers.find(|peer| peer.awaits(id))?.answered(id, answer, (here, names), now)
    }

    /// A trunk that registers here does so, or no longer.
    pub fn registered(&mut self, user: &str, is_there: bool) -> Option<(TrunkId, bool)> {
        let is_its = |trunk: &&mut Trunk| trunk.setting.registered.as_deref() == Some(user);
        self.trunks.iter_mut().find(is_its)?.tell(Some(is_there))
    }

    /// Trunks that came up or were lost since this was asked last.
    pub fn news(&mut self, now: MonoTime) -> Vec<(TrunkId, bool)> {
        let of_peers = self.trunks.iter_mut().filter(|trunk| !trunk.peers.is_empty());
        of_peers
            .filter_map(|trunk| {
                let states: Vec<Option<bool>> = trunk.peers.iter().map(|peer| peer.is_up(now)).collect();
                let is_up = match states.contains(&Some(true)) {
                    true => Some(true),
                    false if states.contains(&None) => None,
                    false => Some(false),
                };
                trunk.tell(is_up)
            })
            .collect()
    }
}

impl Trunk {
    fn tell(&mut self, is_up: Option<bool>) -> Option<(TrunkId, bool)> {
        let is_up = is_up.filter(|_| is_up != self.told)?;
        self.told = Some(is_up);
        Some((self.setting.id.clone(), is_up))
    }
}
