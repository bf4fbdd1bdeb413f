//! What the fuzzer begins with and what it ever found, replayed with every change: what must hold of the parsers holds of each.

use std::{fs, path::Path};

/// The parsers as others use them.
mod subject {
    pub(super) use neverstale_guard::{credentials, path::RoutePath};
    pub(super) use neverstale_listener::Framing;
}

#[expect(unreachable_pub, reason = "the fuzzer's own file, which is another crate's there")]
#[path = "../../../fuzz/src/properties.rs"]
mod properties;

fn replay(parser: &str, holds: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(parser);
    let seeds: Vec<_> = fs::read_dir(seeds).unwrap().map(|seed| seed.unwrap().path()).collect();
    assert!(seeds.len() >= 4, "{seeds:?}");
    for seed in seeds {
        let whole = fs::read(&seed).unwrap();
        // Whatever has come of it so far must do no harm either.
        for end in 0..=whole.len() {
            holds(&whole[..end]);
        }
    }
}

#[test]
fn what_must_hold_of_the_parsers_holds_of_every_seed() {
    replay("framing", properties::framing);
    replay("path", properties::path);
    replay("credentials", properties::credentials);
}
