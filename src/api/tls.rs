//! The certificate of the door.

use std::sync::Arc;

use rustls::ServerConfig;

use crate::config::Tls;
use crate::io;

/// What the door needs to speak TLS as the settings say.
///
/// # Errors
/// In words, with the key and the file.
pub fn load(tls: &Tls) -> Result<Arc<ServerConfig>, String> {
    let mut config = io::tls::load(tls)?;
    // Event streams are WebSockets, which we speak over HTTP/1.1 only.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
