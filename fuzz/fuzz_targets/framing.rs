//! However the bytes of a connection are cut, the same trick is seen, and after the first one nothing is watched.

#![no_main]

use libfuzzer_sys::fuzz_target;
use neverstale_listener::Framing;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (bytes, cuts) = input;
    let mut whole = Framing::default();
    let seen = whole.feed(&bytes);
    let mut pieces = Framing::default();
    let (mut rest, mut found) = (&bytes[..], None);
    for cut in cuts {
        let (now, later) = rest.split_at(usize::from(cut).min(rest.len()));
        found = found.or(pieces.feed(now));
        rest = later;
    }
    found = found.or(pieces.feed(rest));
    assert_eq!(seen, found);
    assert_eq!(whole.is_lost(), pieces.is_lost());
    assert!(seen.is_none() || whole.is_lost());
});
