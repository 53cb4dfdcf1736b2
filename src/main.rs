//! The `crosspatch` binary: arguments in, exit code out.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let path = arguments.get(3).map(String::as_str).unwrap_or("config/crosspatch.toml");
    match crosspatch::daemon::run(Path::new(path)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}
