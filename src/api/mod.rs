//! HTTP and WebSocket: a door, not a brain. It knows who asks, hands commands to control and shows what control knows.
//! On loopback without TLS only. Everything it takes is bounded: bodies, headers' time, connections, subscribers.

pub mod events;
pub mod fault;
pub mod fuzz;
mod limits;
mod metrics;
mod openapi;
mod orders;
mod routes;
pub mod tokens;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};

use crate::config::Settings;
use crate::domain::refusal::Refusal;
use crate::io::control_link::ControlLink;
use crate::io::media::stats::ShardStats;

use limits::Bounded;
use tokens::TokenTable;

pub use openapi::document;
pub use routes::router;

/// What every request may need.
pub struct Door {
    pub link: ControlLink,
    pub tokens: TokenTable,
    pub stats: Vec<Arc<ShardStats>>,
    /// The file that a reload reads again.
    pub config_path: PathBuf,
    pub data_dir: PathBuf,
    /// Keeps an adopted text for a start with a faulty file: folder, text.
    pub keep_text: fn(&Path, &str),
    pub counters: DoorCounters,
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
    /// Connections beyond the limit, closed at once.
    pub connections_refused: Arc<AtomicU64>,
}

impl Default for DoorCounters {
    fn default() -> Self {
        Self {
            refusals: Refusal::CODES.iter().map(|_| AtomicU64::new(0)).collect(),
            requests: AtomicU64::new(0),
            subscribers: AtomicUsize::new(0),
            subscribers_refused: AtomicU64::new(0),
            connections_refused: Arc::default(),
        }
    }
}

/// A running server.
pub struct Served {
    /// Where it listens.
    pub address: SocketAddr,
    handle: Handle<SocketAddr>,
}

/// Connections at once: consoles, dashboards and scripts of a region; the files that radios need stay free.
const CONNECTIONS_MAX: usize = 512;
/// Subscribers at once: consoles of a county, and room.
pub const SUBSCRIBERS_MAX: usize = 256;
/// Longest body: a configuration file.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// A client that takes longer to send its headers is let go.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// A request that takes longer is answered so; cuts are answered in milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

impl Served {
    /// Ends it: open requests get a moment, then connections close.
    pub fn stop(&self) {
        self.handle.graceful_shutdown(Some(Duration::from_secs(1)));
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

/// Binds and serves.
pub async fn serve(door: Arc<Door>, settings: &Settings) -> Result<Served, String> {
    check_address(settings)?;
    let fault = |fault: std::io::Error| format!("http {}: {fault}", settings.http);
    let listener = TcpListener::bind(settings.http).map_err(fault)?;
    listener.set_nonblocking(true).map_err(fault)?;
    let address = listener.local_addr().map_err(fault)?;
    let handle = Handle::new();
    let bounded = Bounded::new(CONNECTIONS_MAX, Arc::clone(&door.counters.connections_refused));
    let service = router(door, ANSWER_WITHIN).into_make_service_with_connect_info::<SocketAddr>();
    match &settings.tls {
        None => {
            let mut server = axum_server::from_tcp(listener).map_err(fault)?.handle(handle.clone()).acceptor(bounded);
            server.http_builder().http1().header_read_timeout(HEADERS_WITHIN);
            tokio::spawn(async move { log_end(server.serve(service).await) });
        }
        Some(tls) => {
            let config = RustlsConfig::from_pem_file(&tls.certificate, &tls.key)
                .await
                .map_err(|fault| format!("tls {}: {fault}", tls.certificate.display()))?;
            let acceptor = RustlsAcceptor::new(config).acceptor(bounded);
            let mut server = axum_server::from_tcp(listener).map_err(fault)?.handle(handle.clone()).acceptor(acceptor);
            server.http_builder().http1().header_read_timeout(HEADERS_WITHIN);
            tokio::spawn(async move { log_end(server.serve(service).await) });
        }
    }
    Ok(Served { address, handle })
}

fn log_end(ended: std::io::Result<()>) {
    if let Err(fault) = ended {
        tracing::error!(%fault, "the HTTP server ended");
    }
}

/// The routes alone, for tests that need no socket.
pub fn routes_of(door: Arc<Door>) -> Router {
    router(door, ANSWER_WITHIN)
}
