//! The world around the exchange: a UDP socket, connections, a clock, sockets for calls, the door to control. It decides
//! nothing.
//!
//! If the exchange panics its calls are ended and a new one takes over the same socket: phones register anew, media and
//! control notice no more than that. Owned by the daemon through [`Telephony`].

mod connection;
mod ledger;
mod setting;
mod streams;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::config::Settings;
use crate::dispatch::State;
use crate::domain::call::PhoneSign;
use crate::domain::configuration::{GatewayKind, SipGateway};
use crate::domain::id::{GatewayId, TrunkId};
use crate::domain::port::PeerRule;
use crate::io::clock;
use crate::io::control_link::{ControlLink, DialAsked, PhoneSaid, Seen, TrunkSaid};
use crate::io::gateway_socket::{GatewaySockets, above};
use crate::io::tls;
use crate::sip::call::CallNumber;
use crate::sip::exchange::{Act, CallRecord, Counters, Exchange, Setting};
use crate::sip::flow::Flow;
use crate::sip::gate::MESSAGE_BYTES_MAX;
use crate::sip::offer::LocalMedia;
use crate::sip::stream::StreamEnd;
use crate::sip::transaction::Datagram;
use crate::wire::srtp::Shield;
use connection::Said;
use ledger::{Found, Ledger};
use streams::{Event, Listener, Streams};

/// The sockets of `[sip]`, not yet listened to.
#[derive(Debug)]
pub struct Bound {
    datagrams: std::net::UdpSocket,
    connections: Vec<(std::net::TcpListener, Option<Arc<rustls::ServerConfig>>)>,
}

/// Takes the configured address, before anything durable is done. `None`: no telephony.
///
/// # Errors
/// In words, if it is taken or not ours.
pub fn bind(settings: &Settings) -> Result<Option<Bound>, String> {
    let Some(sip) = &settings.sip else { return Ok(None) };
    let fault = |at: SocketAddr| move |fault: std::io::Error| format!("[sip] cannot listen on {at}: {fault}");
    let datagrams = std::net::UdpSocket::bind(sip.listen).map_err(fault(sip.listen))?;
    datagrams.set_nonblocking(true).map_err(fault(sip.listen))?;
    let tls = sip.listen_tls.as_ref().map(|(at, tls)| Ok((*at, Some(Arc::new(tls::load(tls)?)))));
    let tls = tls.transpose().map_err(|why: String| format!("[sip] {why}"))?;
    let mut connections = Vec::new();
    for (at, tls) in sip.listen_tcp.map(|at| (at, None)).into_iter().chain(tls) {
        let socket = listen(at).map_err(fault(at))?;
        connections.push((socket, tls));
    }
    Ok(Some(Bound { datagrams, connections }))
}

/// A daemon that starts again finds its address free, whatever of its former connections lingers.
fn listen(at: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&at.into())?;
    socket.listen(CONNECTIONS_WAITING)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Telephony in operation.
pub struct Telephony {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    /// What was counted, about once a second.
    pub counters: watch::Receiver<Counters>,
}

impl Telephony {
    /// Ends all calls and tells the phones so.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        if let Err(fault) = self.task.await {
            tracing::error!(%fault, "telephony did not end by itself");
        }
    }
}

/// Starts telephony on the current runtime.
///
/// # Errors
/// In words, if the system gives no randomness or takes the socket back.
pub fn serve(
    bound: Bound,
    settings: &Settings,
    link: ControlLink,
    dials: mpsc::UnboundedReceiver<DialAsked>,
) -> Result<Telephony, String> {
    let Some(sip) = &settings.sip else { return Err("there is no [sip]".to_owned()) };
    let words = |fault: std::io::Error| fault.to_string();
    let here = bound.datagrams.local_addr().map_err(words)?;
    let socket = UdpSocket::from_std(bound.datagrams).map_err(words)?;
    let listeners = bound.connections.into_iter().map(|(socket, tls)| {
        socket.set_nonblocking(true)?;
        Ok(Listener { socket: TcpListener::from_std(socket)?, tls })
    });
    let listeners: Vec<Listener> = listeners.collect::<std::io::Result<_>>().map_err(words)?;
    let in_clear = listeners.iter().find(|listener| listener.tls.is_none());
    let here_tcp = in_clear.map(|listener| listener.socket.local_addr()).transpose().map_err(words)?;
    let setting = setting::setting(sip, (here, here_tcp))?;
    let peers = setting.gateways.iter().map(|gateway| gateway.peer).collect();
    let streams = Streams::new(listeners, peers);
    let (stop, stopping) = watch::channel(false);
    let (counted, counters) = watch::channel(Counters::default());
    tracing::info!(%here, phones = setting.places.len(), "phones can register");
    let ports = Ports { address: settings.media_address, range: settings.media_ports, open: BTreeMap::new() };
    let lines = sip.lines.iter().map(|line| (line.phone.clone(), line.trunks().cloned().collect())).collect();
    let exchange = Exchange::new(setting.clone());
    let (ledger, found) = open_ledger(&settings.data_dir);
    let lost = Vec::new();
    let task = Task { exchange, setting, socket, streams, ports, ledger, link, counted, lines, dials, beats: 0, lost };
    Ok(Telephony { stop, task: tokio::spawn(task.run(found, stopping)), counters })
}

/// Where calls outlive the process. Their key does not outlive a stop where systemd gives a folder for that.
fn open_ledger(data_dir: &Path) -> (Option<Ledger>, Found) {
    let folder = data_dir.join("calls");
    let runtime = std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
    match Ledger::open(&folder, runtime.as_ref().unwrap_or(&folder)) {
        Ok((ledger, found)) => (Some(ledger), found),
        Err(fault) => {
            tracing::error!(%fault, folder = %folder.display(), "calls cannot be kept: a restart ends them");
            (None, Found::default())
        }
    }
}

/// Sockets of calls, until control takes them over.
struct Ports {
    address: IpAddr,
    range: (u16, u16),
    open: BTreeMap<CallNumber, GatewaySockets>,
}

impl Ports {
    /// Those that a call had before the start.
    fn open_again(&mut self, call: CallNumber, media: LocalMedia) -> bool {
        let opened = GatewaySockets::open(media.rtp, self.range, call.into());
        match opened {
            Ok(sockets) => drop(self.open.insert(call, sockets)),
            Err(fault) => {
                tracing::warn!(at = %media.rtp, %fault, "a call cannot go on");
                return false;
            }
        }
        true
    }

    fn open(&mut self, call: CallNumber) -> Option<LocalMedia> {
        let opened = GatewaySockets::open(SocketAddr::new(self.address, 0), self.range, call.into());
        match opened.and_then(|sockets| Ok((sockets.local()?, sockets))) {
            Ok((rtp, sockets)) => {
                self.open.insert(call, sockets);
                Some(LocalMedia { rtp, rtcp: above(rtp) })
            }
            Err(fault) => {
                tracing::warn!(%fault, "no sockets for a call");
                None
            }
        }
    }
}

struct Task {
    exchange: Exchange,
    setting: Setting,
    socket: UdpSocket,
    streams: Streams,
    ports: Ports,
    ledger: Option<Ledger>,
    link: ControlLink,
    counted: watch::Sender<Counters>,
    /// Through which trunks a line dials.
    lines: BTreeMap<GatewayId, Vec<TrunkId>>,
    dials: mpsc::UnboundedReceiver<DialAsked>,
    beats: u64,
    /// Connections found to be gone, and not told of yet.
    lost: Vec<(Flow, StreamEnd)>,
}

impl Task {
    async fn run(mut self, found: Found, mut stopping: watch::Receiver<bool>) {
        let mut seen = self.link.seen.clone();
        self.follow_configuration(&mut seen).await;
        self.resume(found).await;
        let mut room = vec![0; MESSAGE_BYTES_MAX + 1];
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            // In any order: whoever floods one way in does not close the others.
            tokio::select! {
                _ = stopping.changed() => return self.end().await,
                _ = beat.tick() => {
                    self.act(|exchange, ports, acts| {
                        exchange.tick(clock::mono(), acts);
                        exchange.keep_up(clock::mono(), &mut |call| ports.open(call), acts);
                    })
                    .await;
                    self.beats += 1;
                    if self.beats.is_multiple_of(BEATS_PER_SWEEP) {
                        self.sweep().await;
                    }
                    self.counted.send_replace(self.exchange.counters().clone());
                }
                Some(asked) = self.dials.recv() => self.dial(&asked).await,
                // A phone that was taken out of the configuration is hung up on.
                Ok(()) = seen.changed() => self.follow_configuration(&mut seen).await,
                event = self.streams.event() => self.take_event(event).await,
                received = self.socket.recv_from(&mut room) => match received {
                    Ok((length, source)) => {
                        let bytes = &room[..length];
                        self.act(|exchange, ports, acts| {
                            exchange.handle(bytes, source, clock::mono(), &mut |call| ports.open(call), acts);
                        })
                        .await;
                    }
                    Err(fault) => {
                        tracing::warn!(%fault, "SIP cannot be received");
                        tokio::time::sleep(BEAT).await;
                    }
                },
            }
        }
    }

    /// Lets the exchange work and does what it wants. A panic costs its calls, not the daemon.
    async fn act(&mut self, work: impl FnOnce(&mut Exchange, &mut Ports, &mut Vec<Act>)) {
        let mut acts = Vec::new();
        let (exchange, ports) = (&mut self.exchange, &mut self.ports);
        if catch_unwind(AssertUnwindSafe(|| work(exchange, ports, &mut acts))).is_err() {
            let in_call: Vec<GatewayId> = self.exchange.in_call().cloned().collect();
            tracing::error!(calls = in_call.len(), "telephony has failed and begins anew; its calls are lost");
            let numbers: Vec<CallNumber> = self.exchange.call_numbers().collect();
            numbers.into_iter().for_each(|call| self.keep(call, None));
            self.exchange = Exchange::new(self.setting.clone());
            let seen = Arc::clone(&self.link.seen.borrow());
            self.exchange.want(|id, peer| is_gateway(&seen.state, id, peer), clock::mono(), &mut acts);
            self.ports.open.clear();
            acts = in_call.into_iter().map(|phone| Act::tell(phone, PhoneSign::Ended)).collect();
        }
        for (call, record) in self.exchange.unkept() {
            self.keep(call, record);
        }
        for act in acts {
            match act {
                Act::Send(datagram) => self.send(datagram),
                Act::Tell { phone, sign, begins, protection } => {
                    let shield = protection.map(|keys| Shield::new(&keys.send, &keys.receive));
                    self.tell(phone, sign, begins, shield).await;
                }
                Act::Resume { phone, call, media, protection, roll_overs_most } => {
                    tracing::info!(%phone, "a call goes on over the restart");
                    let shield = protection.map(|keys| Shield::resumed(&keys.send, &keys.receive, roll_overs_most));
                    self.tell(phone, PhoneSign::Media(media), Some(call), shield).await;
                }
                Act::Trunk { trunk, is_up } => {
                    tracing::info!(%trunk, is_up, "trunk");
                    // As below.
                    let _ = self.link.trunks.send(TrunkSaid { trunk, is_up }).await;
                }
                Act::Close(call) => drop(self.ports.open.remove(&call)),
            }
        }
    }

    fn keep(&self, call: CallNumber, record: Option<CallRecord>) {
        if let Some(ledger) = &self.ledger {
            ledger.keep(call, record);
        }
    }

    fn send(&mut self, Datagram { to, bytes }: Datagram) {
        if !to.transport.is_reliable() {
            // What the system refuses is lost like any datagram: whoever needs it asks again.
            let _ = self.socket.try_send_to(&bytes, to.remote);
        } else if let Err(why) = self.streams.send(&to, bytes) {
            self.lost.push((to, why));
        }
    }

    async fn take_event(&mut self, event: Event) {
        match event {
            Event::Asked(at, Ok((stream, remote))) => match self.streams.admit(at, stream, remote) {
                Ok(()) => self.exchange.connected(),
                Err(why) => self.exchange.not_connected(why),
            },
            Event::Asked(_, Err(fault)) => {
                tracing::warn!(%fault, "SIP takes no connections");
                tokio::time::sleep(BEAT).await;
            }
            Event::Heard(heard) => match self.streams.take(heard) {
                Some((flow, Said::Message(bytes))) => {
                    self.act(|exchange, ports, acts| {
                        exchange.hear(&bytes, flow, clock::mono(), &mut |call| ports.open(call), acts);
                    })
                    .await;
                }
                Some((flow, Said::Ping)) => self.exchange.pinged(&flow, clock::mono()),
                Some((flow, Said::Ended(why))) => {
                    self.act(|exchange, _, acts| exchange.lost(&flow, why, clock::mono(), acts)).await;
                }
                None => {}
            },
        }
        self.tell_lost().await;
    }

    /// Connections that turned out to be gone while something was sent.
    async fn tell_lost(&mut self) {
        while let Some((flow, why)) = self.lost.pop() {
            self.act(|exchange, _, acts| exchange.lost(&flow, why, clock::mono(), acts)).await;
        }
    }

    async fn sweep(&mut self) {
        self.tell_lost().await;
        for flow in self.streams.sweep(&self.exchange.needed_flows()) {
            self.act(|exchange, _, acts| exchange.lost(&flow, StreamEnd::Idle, clock::mono(), acts)).await;
        }
    }

    async fn tell(&mut self, phone: GatewayId, sign: PhoneSign, begins: Option<CallNumber>, shield: Option<Shield>) {
        let mut sockets = begins.and_then(|call| self.ports.open.remove(&call));
        if let (Some(sockets), PhoneSign::Media(media)) = (&mut sockets, &sign)
            && let PeerRule::Static(peer) = media.peer
            && let Err(fault) = sockets.connect(peer)
        {
            tracing::warn!(%phone, %fault, "a phone's peer cannot be connected to; it is sent to without");
        }
        tracing::debug!(%phone, sign = named(&sign), "phone");
        let shield = shield.map(Box::new);
        // Control is gone only when the process ends.
        let _ = self.link.phones.send(PhoneSaid { phone, sign, sockets, shield }).await;
    }

    async fn follow_configuration(&mut self, seen: &mut watch::Receiver<Arc<Seen>>) {
        let seen = Arc::clone(&seen.borrow_and_update());
        let gone: Vec<GatewayId> =
            self.exchange.in_call().filter(|phone| !is_wanted(&seen.state, phone)).cloned().collect();
        self.act(|exchange, _, acts| {
            exchange.want(|id, peer| is_gateway(&seen.state, id, peer), clock::mono(), acts);
        })
        .await;
        for phone in gone {
            self.act(|exchange, _, acts| exchange.hang_up(Some(&phone), clock::mono(), acts)).await;
        }
    }

    /// A dispatcher had a line dial. Whatever becomes of it, that it ended is said.
    async fn dial(&mut self, DialAsked { line, number }: &DialAsked) {
        // It may have been unlinked while it waited here.
        let is_wanted = is_wanted(&self.link.seen.borrow().state, line);
        let Some(trunks) = self.lines.get(line).filter(|_| is_wanted).cloned() else {
            tracing::info!(%line, is_wanted, "nothing is dialled; lines are those of the start");
            return self.tell(line.clone(), PhoneSign::Ended, None, None).await;
        };
        self.act(|exchange, ports, acts| {
            exchange.dial(line, (&trunks, number), clock::mono(), &mut |call| ports.open(call), acts);
        })
        .await;
    }

    /// Calls of before the start. Whoever was without us for long has hung up, and somebody else may be where it was.
    async fn resume(&mut self, Found { calls, silent_ms }: Found) {
        let in_time = silent_ms.is_some_and(|ms| ms <= RESUME_MAX_MS);
        if !calls.is_empty() {
            tracing::info!(calls = calls.len(), silent_ms, in_time, "calls of before the start");
        }
        let seen = Arc::clone(&self.link.seen.borrow());
        for (call, record) in calls {
            let may = |phone: &GatewayId| in_time && is_wanted(&seen.state, phone);
            self.act(|exchange, ports, acts| {
                let mut open = |call, media| ports.open_again(call, media);
                exchange.resume((call, &record), &may, &mut open, clock::mono(), acts);
            })
            .await;
        }
    }

    async fn end(mut self) {
        self.act(|exchange, _, acts| exchange.hang_up(None, clock::mono(), acts)).await;
        self.streams.close().await;
    }
}

/// Whether a call of this phone may go on: it is configured, and a line that dials is linked.
fn is_wanted(state: &State, phone: &GatewayId) -> bool {
    let known = state.configuration.gateways.get(phone);
    known.is_some_and(|gateway| !gateway.kind.dials() || state.links_of(&gateway.talkgroup).next().is_some())
}

/// Whether the configuration in force has this gateway, at this address.
fn is_gateway(state: &State, id: &GatewayId, peer: SocketAddr) -> bool {
    let kind = state.configuration.gateways.get(id).map(|gateway| &gateway.kind);
    kind == Some(&GatewayKind::Sip(SipGateway { peer }))
}

fn named(sign: &PhoneSign) -> &'static str {
    match sign {
        PhoneSign::Registered(true) => "registered",
        PhoneSign::Registered(false) => "no longer registered",
        PhoneSign::Media(_) => "in a call",
        PhoneSign::Rings => "rings",
        PhoneSign::Key(true) => "keyed",
        PhoneSign::Key(false) => "let go",
        PhoneSign::Ended => "hung up",
    }
}

/// A phone that is asked whether its call goes on waits half a minute for an answer; so do we (ms).
const RESUME_MAX_MS: u64 = 60_000;
/// How often the exchange looks at the time.
const BEAT: Duration = Duration::from_millis(100);
/// Connections that nobody needs are looked for about once a second.
const BEATS_PER_SWEEP: u64 = 10;
/// Connections that the kernel keeps until they are taken.
const CONNECTIONS_WAITING: i32 = 256;
