//! Secrets where the configuration says they are. Never logged, never kept longer than needed.

use zeroize::Zeroizing;

use crate::config::SecretSource;

/// Reads a secret, without the spaces and line ends around it.
///
/// # Errors
/// In words, without anything of the secret.
pub fn read(source: &SecretSource) -> Result<Zeroizing<String>, String> {
    let text = match source {
        SecretSource::Sha256(_) => return Err("a hash is no secret that could be read".to_owned()),
        SecretSource::Environment(name) => {
            std::env::var(name).map_err(|_| format!("environment variable {name} is not set"))?
        }
        SecretSource::File(path) => {
            std::fs::read_to_string(path).map_err(|fault| format!("{}: {fault}", path.display()))?
        }
        SecretSource::Credential(name) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or("systemd gave no credentials")?;
            let path = std::path::Path::new(&folder).join(name);
            std::fs::read_to_string(&path).map_err(|fault| format!("credential {name}: {fault}"))?
        }
    };
    let text = Zeroizing::new(text);
    Ok(Zeroizing::new(text.trim().to_owned()))
}
