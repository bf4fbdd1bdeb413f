//! What was written opens as it was; whatever else happens to it is a miss or a bell, never an error and never a panic.

use bytes::Bytes;
use neverstale_coherence::{Incarnation, Intent, Position, Tag};
use neverstale_wire::{
    BellReason, BroadcastCodec, Confidentiality, Heard, Invalidation, InvalidationRow, KeyRing, L2Codec, L2Entry,
    L2Unreadable, L2Unwritten, l2::storage_key,
};
use proptest::{collection::vec, option, prelude::*};

const BODY_BYTES_MAX: usize = 64 * 1024;

fn keys(seed: u8) -> KeyRing {
    KeyRing::parse(&format!("{seed:064x}")).unwrap()
}

fn sealing() -> L2Codec {
    L2Codec::new(Some(keys(1)), BODY_BYTES_MAX, 256)
}

fn plain() -> L2Codec {
    L2Codec::new(None, BODY_BYTES_MAX, 256)
}

fn entries() -> impl Strategy<Value = L2Entry> {
    let body = prop_oneof![vec(any::<u8>(), 0..400), vec(0_u8..2, 0..4_000)];
    (
        any::<(String, String, [u8; 16], u64, u16)>(),
        option::of(any::<i64>()),
        vec(any::<u64>(), 0..20),
        body,
    )
        .prop_map(
            |((view, key, incarnation, as_of, status), not_after_seconds, tags, body)| L2Entry {
                view,
                key,
                incarnation: Incarnation(incarnation),
                as_of: Position(as_of),
                not_after_seconds,
                tags: tags.into_iter().map(Tag).collect(),
                status,
                body: Bytes::from(body),
            },
        )
}

fn read(codec: &L2Codec, envelope: &[u8], entry: &L2Entry) -> Result<L2Entry, L2Unreadable> {
    codec.read(envelope, &entry.view, &entry.key, entry.incarnation)
}

fn one_entry(body: impl Into<Bytes>) -> L2Entry {
    L2Entry {
        view: "user".to_owned(),
        key: "/v1/users/u1".to_owned(),
        incarnation: Incarnation([7; 16]),
        as_of: Position(42),
        not_after_seconds: None,
        tags: vec![Tag(1), Tag(u64::MAX)],
        status: 200,
        body: body.into(),
    }
}

fn invalidations() -> impl Strategy<Value = Invalidation> {
    let row = (1_u64..1_000, option::of(any::<u64>()), vec(any::<String>(), 0..5));
    (any::<[u8; 16]>(), 0_u64..1 << 40, vec(row, 1..8)).prop_map(|(incarnation, previous, steps)| {
        let mut position = previous;
        let rows: Vec<_> = steps
            .into_iter()
            .map(|(step, intent, tags)| {
                position += step;
                InvalidationRow {
                    position: Position(position),
                    intent: intent.map(Intent),
                    tags,
                }
            })
            .collect();
        Invalidation {
            incarnation: Incarnation(incarnation),
            previous_position: Position(previous),
            position: Position(position),
            rows,
        }
    })
}

proptest! {
    #[test]
    fn an_entry_opens_as_it_was(entry in entries(), secret: bool) {
        let confidentiality = if secret { Confidentiality::Secret } else { Confidentiality::Ordinary };
        let sealed = sealing().write(&entry, confidentiality).unwrap();
        prop_assert_eq!(read(&sealing(), &sealed, &entry).unwrap(), entry.clone());
        let open = plain().write(&entry, Confidentiality::Ordinary).unwrap();
        prop_assert_eq!(read(&plain(), &open, &entry).unwrap(), entry);
    }

    #[test]
    fn an_entry_is_not_taken_for_another(entry in entries(), other in entries()) {
        prop_assume!((&entry.view, &entry.key, entry.incarnation) != (&other.view, &other.key, other.incarnation));
        for codec in [sealing(), plain()] {
            let envelope = codec.write(&entry, Confidentiality::Ordinary).unwrap();
            prop_assert_eq!(read(&codec, &envelope, &other), Err(L2Unreadable::Foreign));
        }
        prop_assert_ne!(
            storage_key("p", &entry.view, &entry.key, entry.incarnation),
            storage_key("p", &other.view, &other.key, other.incarnation)
        );
    }

    #[test]
    fn a_cut_entry_is_a_miss(entry in entries(), cut: prop::sample::Index) {
        for codec in [sealing(), plain()] {
            let envelope = codec.write(&entry, Confidentiality::Ordinary).unwrap();
            prop_assert!(read(&codec, &envelope[..cut.index(envelope.len())], &entry).is_err());
        }
    }

    #[test]
    fn garbage_is_a_miss_or_a_bell(garbage in vec(any::<u8>(), 0..200), ours: bool) {
        let entry = one_entry("body");
        let mut l2 = garbage.clone();
        let mut broadcast = garbage;
        if ours {
            l2.splice(..0, *b"NV\x01\x02");
            broadcast.splice(..0, *b"NB\x01\x01");
        }
        for codec in [sealing(), plain()] {
            prop_assert!(read(&codec, &l2, &entry).is_err());
        }
        for keys in [Some(keys(1)), None] {
            prop_assert!(matches!(BroadcastCodec::new(keys, "c").read(&broadcast), Heard::Bell(_)));
        }
    }

    #[test]
    fn rows_open_as_they_were(invalidation in invalidations()) {
        let codec = BroadcastCodec::new(Some(keys(1)), "neverstale:broadcast");
        prop_assert_eq!(codec.read(&codec.write(&invalidation)), Heard::Rows(invalidation));
    }

    #[test]
    fn rows_that_do_not_ascend_are_not_believed(invalidation in invalidations(), row: prop::sample::Index, step in 1_u64..2_000) {
        let codec = BroadcastCodec::new(Some(keys(1)), "c");
        let mut wrong = invalidation.clone();
        wrong.position.0 += step;
        prop_assert_eq!(codec.read(&codec.write(&wrong)), Heard::Bell(BellReason::Garbage));
        let mut wrong = invalidation.clone();
        let row = row.index(wrong.rows.len());
        wrong.rows[row].position = wrong.previous_position;
        prop_assert_eq!(codec.read(&codec.write(&wrong)), Heard::Bell(BellReason::Garbage));
        let wrong = Invalidation { rows: Vec::new(), ..invalidation };
        prop_assert_eq!(codec.read(&codec.write(&wrong)), Heard::Bell(BellReason::Garbage));
    }
}

#[test]
fn every_flipped_bit_of_an_entry_is_a_miss() {
    let entry = one_entry(r#"{"id":"u1","role":"admin"}"#.repeat(20));
    for codec in [sealing(), plain()] {
        let envelope = codec.write(&entry, Confidentiality::Ordinary).unwrap();
        assert!(envelope.len() < entry.body.len(), "it is compressed");
        assert!(read(&codec, &envelope, &entry).is_ok());
        for bit in 0..envelope.len() * 8 {
            let mut flipped = envelope.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&codec, &flipped, &entry).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_sealed_message_leaves_a_bell() {
    let codec = BroadcastCodec::new(Some(keys(1)), "c");
    let rows = vec![InvalidationRow {
        position: Position(9),
        intent: Some(Intent(3)),
        tags: vec!["user.id:u1".to_owned()],
    }];
    let invalidation = Invalidation {
        incarnation: Incarnation([7; 16]),
        previous_position: Position(8),
        position: Position(9),
        rows,
    };
    let message = codec.write(&invalidation);
    for bit in 0..message.len() * 8 {
        let mut flipped = message.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(codec.read(&flipped), Heard::Bell(_)), "bit {bit}");
    }
    let elsewhere = BroadcastCodec::new(Some(keys(1)), "d").read(&message);
    assert_eq!(elsewhere, Heard::Bell(BellReason::Unauthentic));
    assert_eq!(
        BroadcastCodec::new(Some(keys(2)), "c").read(&message),
        Heard::Bell(BellReason::Foreign)
    );
    assert_eq!(
        BroadcastCodec::new(None, "c").read(&message),
        Heard::Bell(BellReason::Foreign)
    );
    assert_eq!(
        codec.read(&BroadcastCodec::new(None, "c").write(&invalidation)),
        Heard::Bell(BellReason::Sent)
    );
    let more_than_a_message_holds = vec!["t".repeat(1024); 300];
    let large = Invalidation {
        rows: vec![InvalidationRow {
            tags: more_than_a_message_holds,
            ..invalidation.rows[0].clone()
        }],
        ..invalidation
    };
    assert_eq!(codec.read(&codec.write(&large)), Heard::Bell(BellReason::Sent));
}

#[test]
fn a_secret_is_sealed_or_absent() {
    let entry = one_entry("sk-very-secret".repeat(100));
    assert_eq!(
        plain().write(&entry, Confidentiality::Secret),
        Err(L2Unwritten::SecretWithoutKey)
    );
    let envelope = sealing().write(&entry, Confidentiality::Secret).unwrap();
    assert!(
        envelope.len() > entry.body.len(),
        "its length tells nothing about what is in it"
    );
    assert!(!envelope.windows(4).any(|window| window == b"sk-v" || window == b"user"));
}

#[test]
fn what_nobody_sealed_is_not_taken_where_keys_are_used() {
    let entry = one_entry("forged");
    let unsealed = plain().write(&entry, Confidentiality::Ordinary).unwrap();
    assert_eq!(read(&sealing(), &unsealed, &entry), Err(L2Unreadable::Unauthentic));
    let sealed = sealing().write(&entry, Confidentiality::Ordinary).unwrap();
    assert_eq!(read(&plain(), &sealed, &entry), Err(L2Unreadable::Foreign));
    let other = L2Codec::new(Some(keys(2)), BODY_BYTES_MAX, 256);
    assert_eq!(read(&other, &sealed, &entry), Err(L2Unreadable::Foreign));
    let rotated = L2Codec::new(
        Some(KeyRing::parse(&format!("{:064x}\n{:064x}", 2, 1)).unwrap()),
        BODY_BYTES_MAX,
        256,
    );
    assert_eq!(read(&rotated, &sealed, &entry), Ok(entry));
}

#[test]
fn a_version_of_tomorrow_is_a_miss() {
    let entry = one_entry("body");
    for codec in [sealing(), plain()] {
        let mut envelope = codec.write(&entry, Confidentiality::Ordinary).unwrap();
        envelope[3] |= 0x80;
        assert_eq!(read(&codec, &envelope, &entry), Err(L2Unreadable::Version));
        envelope[2] = 2;
        assert_eq!(read(&codec, &envelope, &entry), Err(L2Unreadable::Version));
    }
    assert_eq!(
        BroadcastCodec::new(None, "c").read(b"NB\x02\x00"),
        Heard::Bell(BellReason::Version)
    );
}

#[test]
fn sizes_are_bounded_on_both_ways() {
    let large = one_entry(vec![0; BODY_BYTES_MAX + 1]);
    assert_eq!(
        sealing().write(&large, Confidentiality::Ordinary),
        Err(L2Unwritten::TooLarge {
            bytes: BODY_BYTES_MAX + 1
        })
    );
    let generous = L2Codec::new(Some(keys(1)), 4 * 1024 * 1024, 256);
    let bomb = one_entry(vec![0; 4 * 1024 * 1024]);
    let envelope = generous.write(&bomb, Confidentiality::Ordinary).unwrap();
    assert!(envelope.len() < 2_000);
    assert_eq!(read(&sealing(), &envelope, &bomb), Err(L2Unreadable::Garbage));
}
