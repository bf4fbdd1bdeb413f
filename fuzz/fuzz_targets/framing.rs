//! The framing of HTTP/1 requests.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| neverstale_fuzz::properties::framing(data));
