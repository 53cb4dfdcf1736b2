#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    crosspatch::wire::fuzz::srtp_call(bytes);
});
