//! Where log lines go: journald under systemd, standard error elsewhere. Fields, not prose; never audio, never secrets.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging by a filter such as `info,crosspatch::io=debug`. Refuses a filter it cannot read.
pub fn start(filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|fault| format!("log filter {filter:?}: {fault}"))?;
    let registry = tracing_subscriber::registry().with(filter);
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let journald = under_systemd.then(tracing_journald::layer).and_then(Result::ok);
    let started = match journald {
        Some(layer) => registry.with(layer).try_init(),
        None => {
            let ansi = std::io::stderr().is_terminal();
            registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi)).try_init()
        }
    };
    started.map_err(|fault| format!("logging: {fault}"))
}
