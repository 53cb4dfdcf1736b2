//! The `crosspatch` binary: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    crosspatch::cli::run()
}
