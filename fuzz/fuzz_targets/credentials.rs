//! What a request shows.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| neverstale_fuzz::properties::credentials(data));
