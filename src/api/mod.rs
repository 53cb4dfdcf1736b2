//! HTTP and WebSocket: a door, not a brain. It knows who asks, hands commands to control and shows what control knows.
//! On loopback without TLS only. Everything it takes is bounded: bodies, connections, subscribers, and the time that
//! whoever sends slowly or does not read may take.

pub mod events;
pub mod fault;
pub mod fuzz;
pub mod limits;
mod metrics;
mod openapi;
mod orders;
pub mod reload;
mod routes;
pub mod tls;
pub mod tokens;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use rustls::ServerConfig;
use socket2::{Domain, Socket, Type};
use tokio::sync::watch;

use crate::config::Settings;
use crate::domain::refusal::Refusal;
use crate::io::control_link::ControlLink;
use crate::io::media::stats::ShardStats;
use crate::sip::exchange::Counters;

use limits::{Bounded, DoorLimits, SEND_BUFFER_BYTES};
use routes::router;
use tokens::TokenTable;

pub use openapi::document;

/// What every request may need.
pub struct Door {
    pub link: ControlLink,
    pub tokens: TokenTable,
    /// What was read at the start.
    pub started_with: Settings,
    /// Set once TLS is served; a reload gives it the certificate anew.
    pub certificate: OnceLock<RustlsConfig>,
    pub stats: Vec<Arc<ShardStats>>,
    /// The file that a reload reads again.
    pub config_path: PathBuf,
    pub data_dir: PathBuf,
    /// Keeps an adopted text for a start with a faulty file: folder, text.
    pub keep_text: fn(&Path, &str),
    pub limits: DoorLimits,
    pub counters: DoorCounters,
    /// What telephony counts, once there is any.
    pub telephony: OnceLock<watch::Receiver<Counters>>,
}

/// What the door itself counts.
pub struct DoorCounters {
    /// Refusals by their place in [`Refusal::CODES`].
    pub refusals: Vec<AtomicU64>,
    pub requests: AtomicU64,
    /// WebSocket subscribers now.
    pub subscribers: AtomicUsize,
    /// Subscribers turned away at the limit.
    pub subscribers_refused: AtomicU64,
    /// Subscribers let go because they did not take an event in time.
    pub subscribers_slow: AtomicU64,
    /// Connections beyond the limit, closed at once.
    pub connections_refused: Arc<AtomicU64>,
    /// Connections let go because they took nothing of their answer.
    pub connections_stalled: Arc<AtomicU64>,
}

impl Default for DoorCounters {
    fn default() -> Self {
        Self {
            refusals: Refusal::CODES.iter().map(|_| AtomicU64::new(0)).collect(),
            requests: AtomicU64::new(0),
            subscribers: AtomicUsize::new(0),
            subscribers_refused: AtomicU64::new(0),
            subscribers_slow: AtomicU64::new(0),
            connections_refused: Arc::default(),
            connections_stalled: Arc::default(),
        }
    }
}

/// A running server.
pub struct Served {
    /// Where it listens.
    pub address: SocketAddr,
    handle: Handle<SocketAddr>,
    door: Arc<Door>,
    /// Its sender lives in the server's task and never sends.
    open: watch::Receiver<()>,
}

/// Longest body: a configuration file.
pub const BODY_BYTES_MAX: usize = 1 << 20;

impl Served {
    /// Ends it: open requests get a moment, and subscribers are told why their stream ends.
    pub async fn stop(&self) {
        self.handle.graceful_shutdown(Some(STOP_WITHIN));
        let gone = async {
            while self.handle.connection_count() + self.door.counters.subscribers.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(STOP_WITHIN / 50).await;
            }
        };
        // Whoever is not gone by then is cut off with the process.
        let _ = tokio::time::timeout(STOP_WITHIN, gone).await;
        let mut open = self.open.clone();
        let _ = tokio::time::timeout(STOP_WITHIN, open.changed()).await;
    }
}

/// Refuses an address that others can reach unless there is TLS.
pub fn check_address(settings: &Settings) -> Result<(), String> {
    if settings.tls.is_none() && !settings.http.ip().is_loopback() {
        return Err(format!(
            "http = \"{}\" can be reached by others: configure tls, or listen on loopback",
            settings.http
        ));
    }
    Ok(())
}

/// A bound door, not served yet.
pub struct Bound {
    listener: std::net::TcpListener,
    certificate: Option<Arc<ServerConfig>>,
}

/// Binds the door and reads its certificate, so that neither fails once other things have been done.
pub fn bind(settings: &Settings) -> Result<Bound, String> {
    check_address(settings)?;
    let certificate = settings.tls.as_ref().map(tls::load).transpose()?;
    let listener = listen(settings.http).map_err(|fault| format!("http {}: {fault}", settings.http))?;
    Ok(Bound { listener, certificate })
}

/// Serves a bound door.
pub async fn serve(door: Arc<Door>, bound: Bound, settings: &Settings) -> Result<Served, String> {
    let fault = |fault: io::Error| format!("http {}: {fault}", settings.http);
    let Bound { listener, certificate } = bound;
    let address = listener.local_addr().map_err(fault)?;
    let within = door.limits.head_within;
    let (refused, stalled) = (&door.counters.connections_refused, &door.counters.connections_stalled);
    let bounded = Bounded::new(&door.limits, Arc::clone(refused), Arc::clone(stalled));
    let handle = Handle::new();
    let server = axum_server::from_tcp(listener).map_err(fault)?.handle(handle.clone()).acceptor(bounded);
    let server = impatient(server, within);
    let service = router(Arc::clone(&door), settings).into_make_service_with_connect_info::<SocketAddr>();
    let (alive, open) = watch::channel(());
    match certificate {
        None => drop(tokio::spawn(async move { log_end(server.serve(service).await, alive) })),
        Some(certificate) => {
            let config = door.certificate.get_or_init(|| RustlsConfig::from_config(certificate)).clone();
            let acceptor = RustlsAcceptor::new(config).handshake_timeout(within);
            let server = server.map(|bounded| acceptor.acceptor(bounded));
            tokio::spawn(async move { log_end(server.serve(service).await, alive) });
        }
    }
    Ok(Served { address, handle, door, open })
}

/// A listener whose connections keep little for clients that do not read.
fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A daemon that was just restarted finds its own old connections still closing.
    socket.set_reuse_address(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A server that waits for no client longer than `within`, whatever version of HTTP it speaks or keeps from saying.
fn impatient<A>(mut server: Server<SocketAddr, A>, within: Duration) -> Server<SocketAddr, A> {
    server.http_builder().http1().header_read_timeout(within);
    server.http_builder().http2().keep_alive_interval(within).keep_alive_timeout(within);
    server.first_request_timeout(within)
}

fn log_end(ended: io::Result<()>, _alive: watch::Sender<()>) {
    if let Err(fault) = ended {
        tracing::error!(%fault, "the HTTP server ended");
    }
}

/// How long open requests and streams may take to end with the daemon.
const STOP_WITHIN: Duration = Duration::from_secs(1);
/// Connections the kernel keeps for us while we accept others.
const BACKLOG: i32 = 128;
