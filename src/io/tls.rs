//! A certificate of ours: read once, refused with the name of the file that is wrong.

use std::path::Path;

use rustls::ServerConfig;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Tls;

/// What a server needs to speak TLS as the settings say.
///
/// # Errors
/// In words, with the key and the file.
pub fn load(tls: &Tls) -> Result<ServerConfig, String> {
    let wrong = |key: &str, path: &Path, why: String| format!("{key} {}: {why}", path.display());
    let certificates = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|fault| wrong("tls_certificate", &tls.certificate, words(&fault)))?;
    if certificates.is_empty() {
        return Err(wrong("tls_certificate", &tls.certificate, "there is no certificate in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|fault| wrong("tls_key", &tls.key, words(&fault)))?;
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|fault| wrong("tls_certificate", &tls.certificate, format!("not with this key: {fault}")))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is of another crate and not exhaustive")]
fn words(fault: &Error) -> String {
    match fault {
        Error::Io(fault) => fault.to_string(),
        Error::NoItemsFound => "it holds nothing of that kind".to_owned(),
        other => format!("no PEM: {other}"),
    }
}
