#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    crosspatch::sip::fuzz::stream(bytes);
});
