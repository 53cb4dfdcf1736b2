#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    crosspatch::media::fuzz::shard(bytes, |work| work());
});
