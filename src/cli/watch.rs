//! `crosspatch watch`: every event as it happens. A connection that breaks is made again where it broke: the cursor of
//! the last event shown is where the next stream begins, so nothing is shown twice and nothing is left out between two.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::Deserialize;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Uri};
use tokio_tungstenite::tungstenite::{self, HandshakeError, Message, WebSocket};

use super::client::{Target, refused};
use super::fault::CliFault;
use super::{event, reach};
use crate::domain::event::Recorded;

/// One message of the stream.
#[derive(Deserialize)]
pub(super) struct Shown {
    /// Opaque: given back as it came. None for what the journal did not take.
    pub cursor: Option<String>,
    pub recorded: Recorded,
}

/// Shows events until the output or the patience of whoever looks ends.
pub(super) fn watch(target: &Target, after: Option<String>, json: bool, out: &mut dyn Write) -> Result<(), CliFault> {
    let mut after = after;
    let mut socket = connect(target, after.as_deref())?;
    loop {
        match follow(&mut socket, &mut after, json, out)? {
            Ended::Output => return Ok(()),
            Ended::Lost(cause) => {
                let _ = writeln!(std::io::stderr(), "The stream broke ({cause}); trying again.");
                socket = connect_again(target, after.as_deref())?;
            }
        }
    }
}

enum Ended {
    /// Whoever read our output has gone.
    Output,
    Lost(String),
}

fn follow(
    socket: &mut WebSocket<Line>,
    after: &mut Option<String>,
    json: bool,
    out: &mut dyn Write,
) -> Result<Ended, CliFault> {
    let mut asked = false;
    loop {
        let text = match socket.read() {
            Ok(Message::Text(text)) => text,
            Ok(Message::Close(frame)) => {
                let why = frame.map(|frame| frame.reason.to_string()).filter(|reason| !reason.is_empty());
                return Ok(Ended::Lost(why.unwrap_or_else(|| "the daemon closed it".to_owned())));
            }
            Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {
                asked = false;
                continue;
            }
            // Silence: asked once whether anybody is there, then given up.
            Err(tungstenite::Error::Io(fault)) if is_silence(&fault) && !asked => {
                asked = true;
                match socket.send(Message::Ping(Vec::new().into())) {
                    Ok(()) => continue,
                    Err(fault) => return Ok(Ended::Lost(fault.to_string())),
                }
            }
            Err(fault) => return Ok(Ended::Lost(fault.to_string())),
        };
        asked = false;
        let shown: Shown = serde_json::from_str(&text)
            .map_err(|fault| CliFault::Failed(format!("the daemon speaks another version of Crosspatch: {fault}")))?;
        let line = if json { text.to_string() } else { event::line(&shown.recorded) };
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            return Ok(Ended::Output);
        }
        *after = shown.cursor.or(after.take());
    }
}

fn is_silence(fault: &std::io::Error) -> bool {
    matches!(fault.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn connect_again(target: &Target, after: Option<&str>) -> Result<WebSocket<Line>, CliFault> {
    let mut tries = 0;
    loop {
        std::thread::sleep(AGAIN_AFTER);
        tries += 1;
        match connect(target, after) {
            Err(CliFault::Unreachable(_)) if tries < TRIES_MAX => {}
            other => return other,
        }
    }
}

fn connect(target: &Target, after: Option<&str>) -> Result<WebSocket<Line>, CliFault> {
    let url = target.url.trim_end_matches('/').replacen("http", "ws", 1);
    let query = after.map(|after| format!("?after={after}")).unwrap_or_default();
    let wrong = |fault: &dyn std::fmt::Display| CliFault::Usage(format!("{}: {fault}", target.url));
    let lost = |fault: &dyn std::fmt::Display| reach::silent(&target.url, fault);
    let mut request =
        format!("{url}/api/v1/events/stream{query}").into_client_request().map_err(|fault| wrong(&fault))?;
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", target.token()?)).map_err(|fault| wrong(&fault))?;
    bearer.set_sensitive(true);
    request.headers_mut().insert("Authorization", bearer);
    let line = line_to(target, request.uri(), &lost)?;
    match tungstenite::client(request, line) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Failure(tungstenite::Error::Http(response))) => {
            let body = response.body().as_deref().unwrap_or_default();
            let text = String::from_utf8_lossy(body);
            Err(refused(response.status().as_u16(), &text, &target.url, &target.token_place()))
        }
        Err(HandshakeError::Failure(fault)) => Err(reach::unreachable(&target.url, &fault)),
        Err(HandshakeError::Interrupted(_)) => Err(lost(&"no answer in time")),
    }
}

/// Bytes to the daemon, encrypted or on loopback.
trait Bytes: Read + Write {}
impl<T: Read + Write> Bytes for T {}
type Line = Box<dyn Bytes>;

fn line_to(target: &Target, uri: &Uri, lost: &dyn Fn(&dyn std::fmt::Display) -> CliFault) -> Result<Line, CliFault> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let secret = uri.scheme_str() == Some("wss");
    let port = uri.port_u16().unwrap_or(if secret { 443 } else { 80 });
    let addresses = (host.as_str(), port).to_socket_addrs().map_err(|fault| lost(&fault))?;
    let mut stream = Err(lost(&"it has no address"));
    for address in addresses {
        stream = TcpStream::connect_timeout(&address, CONNECT_PATIENCE).map_err(|fault| lost(&fault));
        if stream.is_ok() {
            break;
        }
    }
    let stream = stream?;
    stream.set_read_timeout(Some(SILENCE)).and_then(|()| stream.set_nodelay(true)).map_err(|fault| lost(&fault))?;
    if !secret {
        return Ok(Box::new(stream));
    }
    let mut roots = rustls::RootCertStore::empty();
    let trusted = target.trusted()?;
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&trusted).filter_map(Result::ok));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host).map_err(|fault| lost(&fault))?;
    let session = rustls::ClientConnection::new(Arc::new(config), name).map_err(|fault| lost(&fault))?;
    Ok(Box::new(rustls::StreamOwned::new(session, stream)))
}

const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// After so much silence the daemon is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(30);
/// A restart takes some seconds.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const TRIES_MAX: u32 = 60;
