//! The pieces of a hit, called in this process in plain loops: the tag table, the judge, a look into L1, an entry's making.
//!
//! They watch for regressions and say what a hit is made of; they decide nothing.

use std::{hint::black_box, sync::Arc, time::Instant};

use bytes::Bytes;
use neverstale_cache::{Entry, L1, L1Settings};
use neverstale_coherence::{
    Entitlement, Exceptions, Incarnation, Mark, Moment, Position, Row, Stamp, Tag, TagTable, World,
};
use neverstale_telemetry::Metrics;

use crate::{
    house::House,
    report::Section,
    series::{Series, Unit},
};

/// As the sidecar's own default (`feed.tag_slots`).
const SLOTS: usize = 262_144;
const ENTRIES: u64 = 20_000;
/// Calls between two looks at the clock.
const BATCH: u32 = 1_000;

/// Runs all of them.
pub(crate) fn measure(house: &House) -> Section {
    let batches = house.pick(2_000, 400);
    let incarnation = Incarnation([7; 16]);
    let world = World::new(incarnation, Position(1), TagTable::new(SLOTS));
    let stamp = |tags: u64, seed: u64| Stamp {
        incarnation,
        as_of: Position(u64::MAX),
        tags: (0..tags).map(|tag| spread(seed * 64 + tag)).collect(),
        not_after: None,
    };
    let stamps: Vec<Stamp> = (0..ENTRIES).map(|seed| stamp(2, seed)).collect();
    let large_stamps: Vec<Stamp> = (0..ENTRIES).map(|seed| stamp(16, seed)).collect();
    let unrestricted = Entitlement::applied(&world);
    let excepted = Entitlement::leased(&world, Exceptions::marks((0..4).map(Mark).collect()));
    let now = Moment::default();
    let at = |n: u64| (spread(n).0 % ENTRIES) as usize;

    let l1 = L1::new(
        &L1Settings {
            bytes_max: 1 << 30,
            ..L1Settings::default()
        },
        Arc::new(Metrics::new("bench")),
    );
    let keys: Vec<String> = (0..ENTRIES).map(|n| format!("/v1/users/u{n}")).collect();
    let body = Bytes::from(vec![b'x'; 130]);
    for (key, stamp) in keys.iter().zip(&stamps) {
        l1.put(key, &Arc::new(Entry::new(stamp.clone(), Some(body.clone()), false)));
    }
    let row = |n: u64| Row {
        position: Position(2 + n),
        intent: None,
        tags: vec![spread(n), spread(n + 1)].into(),
    };
    let rows: Vec<Row> = (0..ENTRIES).map(row).collect();

    let lines = [
        (
            "tag table: last invalidation of a tag",
            time(batches, |n| world.last_invalidation(spread(n))),
        ),
        (
            "world: apply a commit with two tags",
            time(batches, |n| world.apply([&rows[at(n)]], rows[at(n)].position)),
        ),
        (
            "judge: two tags",
            time(batches, |n| world.judge(&unrestricted, &stamps[at(n)], now)),
        ),
        (
            "judge: sixteen tags",
            time(batches, |n| world.judge(&unrestricted, &large_stamps[at(n)], now)),
        ),
        (
            "judge: two tags, a lease with four exceptions",
            time(batches, |n| world.judge(&excepted, &stamps[at(n)], now)),
        ),
        ("L1: get, one key", time(batches, |_| l1.get(&keys[7]))),
        ("L1: get, all keys at random", time(batches, |n| l1.get(&keys[at(n)]))),
        ("L1: get, absent", time(batches, |_| l1.get("/v1/users/nobody"))),
        (
            "L1: get and judge, all keys at random",
            time(batches, |n| {
                l1.get(&keys[at(n)])
                    .map(|entry| world.judge(&unrestricted, &entry.stamp, now))
            }),
        ),
        (
            "entry: make one of 130 bytes, its ETag included",
            time(batches, |n| {
                Entry::new(stamps[at(n)].clone(), Some(body.clone()), false)
            }),
        ),
    ];
    let lines = lines.map(|(name, series)| (name, series.show(Unit::Seconds)));
    let mut section = Section::new("Microbenches");
    section.note(format!(
        "One call, in this process, over {ENTRIES} entries and {SLOTS} slots; median of {batches} batches of {BATCH} calls with the spread of \
         the batches."
    ));
    section.numbers(&lines);
    section
}

/// Times batches of calls; a tenth of them first, unmeasured.
fn time<T>(batches: u32, mut once: impl FnMut(u64) -> T) -> Series {
    let mut series = Series::default();
    let mut number = 0;
    for batch in 0..batches + batches / 10 {
        let since = Instant::now();
        for _ in 0..BATCH {
            black_box(once(black_box(number)));
            number += 1;
        }
        if batch >= batches / 10 {
            series.push(since.elapsed().as_secs_f64() / f64::from(BATCH));
        }
    }
    series
}

/// Spreads small numbers over all bits, as a digest does (the finaliser of `SplitMix64`).
fn spread(number: u64) -> Tag {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Tag(mixed ^ (mixed >> 31))
}
