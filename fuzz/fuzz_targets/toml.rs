#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    crosspatch::config::fuzz::parse_bytes(bytes);
});
