//! Why a daemon is not reached, and what to do about it: said to a person who has other things to do.

use std::error::Error;
use std::fmt::Display;
use std::io;

use rustls::{CertificateError, Error as TlsFault};
use tokio_tungstenite::tungstenite;

use super::fault::CliFault;

/// Nobody answers.
pub(super) fn silent(url: &str, cause: &dyn Display) -> CliFault {
    let advice = "Is the daemon running? systemctl status crosspatch";
    CliFault::Unreachable(format!("{url} does not answer: {cause}\n{advice}"))
}

/// A request or a stream that failed.
pub(super) fn unreachable(url: &str, fault: &(dyn Error + 'static)) -> CliFault {
    let advice = match tls_fault(fault) {
        Some(TlsFault::InvalidCertificate(why)) => distrust(why),
        Some(TlsFault::InvalidMessage(_)) => "It does not speak TLS: does its address begin with http:// ?".to_owned(),
        Some(_) | None if url.starts_with("http://") && was_no_http(fault) => {
            "It does not answer as HTTP: does its address begin with https:// ?".to_owned()
        }
        Some(_) | None => return silent(url, &fault),
    };
    CliFault::Unreachable(format!("{url} cannot be talked to: {fault}\n{advice}"))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is of another crate and not exhaustive")]
fn distrust(why: &CertificateError) -> String {
    match why {
        // A bad signature is one of another issuer of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "Nothing here vouches for its certificate: give --ca FILE with that of its issuer (or set CROSSPATCH_CA)."
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "Its certificate is for another name: use the one it was issued for."
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "Its certificate has expired: renew it, or look at this machine's clock."
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "Its certificate is not valid yet: look at this machine's clock."
        }
        _ => "Its certificate is not to be trusted.",
    }
    .to_owned()
}

/// What TLS says, however deep the libraries have wrapped it.
fn tls_fault<'f>(fault: &'f (dyn Error + 'static)) -> Option<&'f TlsFault> {
    if let Some(fault) = fault.downcast_ref::<TlsFault>() {
        return Some(fault);
    }
    if let Some(ureq::Error::Rustls(fault)) = fault.downcast_ref::<ureq::Error>() {
        return Some(fault);
    }
    let inner: &(dyn Error + 'static) = io_fault(fault)?.get_ref()?;
    tls_fault(inner)
}

/// The answer was none, or no HTTP.
fn was_no_http(fault: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    io_fault(fault).is_some_and(|fault| matches!(fault.kind(), ConnectionAborted | ConnectionReset | UnexpectedEof))
        || matches!(fault.downcast_ref(), Some(ureq::Error::Protocol(_)))
        || matches!(fault.downcast_ref(), Some(tungstenite::Error::Protocol(_)))
}

fn io_fault<'f>(fault: &'f (dyn Error + 'static)) -> Option<&'f io::Error> {
    match (fault.downcast_ref::<ureq::Error>(), fault.downcast_ref::<tungstenite::Error>()) {
        (Some(ureq::Error::Io(fault)), _) | (_, Some(tungstenite::Error::Io(fault))) => Some(fault),
        (Some(_), _) | (_, Some(_)) => None,
        (None, None) => fault.downcast_ref(),
    }
}
