//! What must hold for any bytes sent as a command: run by the seeded mutator in `tests/fuzz_api.rs`, never by the daemon.

use super::orders::command_from;

/// Whatever is taken as a command says the same after writing and reading it; whether it was taken.
pub fn command(bytes: &[u8]) -> bool {
    let Ok(command) = command_from(bytes) else { return false };
    let written = serde_json::to_vec(&command).expect("a command can be written");
    assert_eq!(command_from(&written).as_ref(), Ok(&command));
    true
}
