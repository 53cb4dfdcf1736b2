//! The door as others reach it: through TLS only, with a certificate made here, and with figures for the host alone.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crosspatch::api::limits::DoorLimits;
use crosspatch::config::Tls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::stage::{ADMIN, Answer, FIRE, POLICE, Stage, answer};

/// A door that others reach, and who trusts its certificate.
struct Outside {
    stage: Stage,
    certificate: String,
    folder: tempfile::TempDir,
}

/// Writes a new certificate and its key where `tls_in` finds them; the certificate.
fn certify(folder: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = tls_in(folder);
    std::fs::write(files.certificate, made.cert.pem()).unwrap();
    std::fs::write(files.key, made.signing_key.serialize_pem()).unwrap();
    made.cert.pem()
}

fn tls_in(folder: &Path) -> Tls {
    Tls { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") }
}

impl Outside {
    fn new(limits: DoorLimits) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let certificate = certify(folder.path());
        let tls = tls_in(folder.path());
        let stage = Stage::with(limits, |settings| {
            // Every address of this machine, loopback among them.
            settings.http = SocketAddr::from(([0, 0, 0, 0], 0));
            settings.tls = Some(tls);
        });
        Self { stage, certificate, folder }
    }

    fn port(&self) -> u16 {
        self.stage.served.address.port()
    }

    fn get(&self, token: &str, path: &str) -> Answer {
        let request = self.trusting().get(format!("https://localhost:{}{path}", self.port()));
        answer(authorized(request, token).call().unwrap())
    }

    fn trusting(&self) -> ureq::Agent {
        let certificate = ureq::tls::Certificate::from_pem(self.certificate.as_bytes()).unwrap();
        let roots = ureq::tls::RootCerts::Specific(Arc::new(vec![certificate]));
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .tls_config(ureq::tls::TlsConfig::builder().root_certs(roots).build())
            .build()
            .new_agent()
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(("127.0.0.1", self.port())).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        socket
    }
}

fn authorized<B>(request: ureq::RequestBuilder<B>, token: &str) -> ureq::RequestBuilder<B> {
    if token.is_empty() { request } else { request.header("authorization", format!("Bearer {token}")) }
}

#[test]
fn a_certificate_renewed_in_its_files_is_served_after_a_reload() {
    let mut outside = Outside::new(DoorLimits::default());
    let Tls { certificate, key } = tls_in(outside.folder.path());
    let file = outside.stage.folder.path().join("crosspatch.toml");
    let keys = format!("[server]\ntls_certificate = {certificate:?}\ntls_key = {key:?}");
    let text = std::fs::read_to_string(&file).unwrap().replacen("[server]", &keys, 1);
    std::fs::write(&file, text).unwrap();
    let renewed = certify(outside.folder.path());
    let url = format!("https://localhost:{}/api/v1/reload", outside.port());
    let reloaded = answer(authorized(outside.trusting().post(url), ADMIN).send_empty().unwrap());
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    let old = outside.trusting().get(format!("https://localhost:{}/healthz", outside.port())).call();
    assert!(old.is_err(), "the old certificate is still shown");
    outside.certificate = renewed;
    assert_eq!(outside.get("", "/healthz").status, 200);
}

#[test]
fn the_api_and_its_stream_are_served_through_tls() {
    let outside = Outside::new(DoorLimits::default());
    assert!(outside.get(FIRE, "/api/v1/roster").json()["agencies"].is_array());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(outside.certificate.as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let session = rustls::ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let line = rustls::StreamOwned::new(session, outside.connect());
    let url = format!("wss://localhost:{}/api/v1/events/stream?after=c0", outside.port());
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {ADMIN}").parse().unwrap());
    let (mut stream, _) = tungstenite::client(request, line).unwrap();
    let Message::Text(text) = stream.read().unwrap() else { panic!("no event") };
    assert!(text.contains("\"cursor\":\"c1\""), "{text}");
}

#[test]
fn without_tls_nobody_is_answered_there() {
    let outside = Outside::new(DoorLimits::default());
    let plain = ureq::get(format!("http://localhost:{}/healthz", outside.port())).call();
    assert!(plain.is_err(), "{plain:?}");
}

#[test]
fn a_client_that_never_begins_tls_is_let_go() {
    let outside = Outside::new(DoorLimits { head_within: Duration::from_millis(300), ..DoorLimits::default() });
    let mut told = Vec::new();
    outside.connect().read_to_end(&mut told).unwrap();
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn figures_are_for_the_host_where_others_can_ask_and_health_is_for_everybody() {
    let outside = Outside::new(DoorLimits::default());
    for path in ["/healthz", "/readyz", "/api/openapi.json"] {
        assert_eq!(outside.get("", path).status, 200, "{path}");
    }
    let unknown = outside.get("", "/metrics");
    assert_eq!((unknown.status, unknown.challenge.as_deref()), (401, Some("Bearer")));
    assert_eq!(outside.get("wrong", "/metrics").status, 401);
    let foreign = outside.get(POLICE, "/metrics");
    assert_eq!((foreign.status, foreign.code().as_str()), (403, "not_allowed"), "{foreign:?}");
    let figures = outside.get(ADMIN, "/metrics");
    assert!(figures.status == 200 && figures.text.contains("crosspatch_incidents 0\n"), "{figures:?}");
}
