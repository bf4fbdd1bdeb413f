//! L2: entries in Redis, shared by all sidecars, within a few milliseconds or not at all.
//!
//! Nothing that comes from there is trusted: an envelope names view, key and incarnation, and what it holds is judged like any
//! other entry. What changes by time alone is not put there, since its clock is this machine's.

use std::{sync::Arc, time::Duration};

use neverstale_coherence::{Incarnation, Stamp};
use neverstale_flavour::{Flavour, Read, View};
use neverstale_lifecycle::Tasks;
use neverstale_redis::{L2Miss, Phase, PutOutcome, Redis};
use neverstale_telemetry::{L2Operation, L2Outcome, Metrics};
use neverstale_wire::{Confidentiality, L2Codec, L2Entry, L2Unreadable, l2::storage_key};
use ring::digest::{Context, SHA256};

use crate::Entry;

/// What the second tier is made of.
pub struct L2Parts {
    /// Carries values.
    pub redis: Arc<Redis>,
    /// Puts them into envelopes.
    pub codec: L2Codec,
    /// Begins every name.
    pub prefix: String,
    /// After this time Redis may forget a value.
    pub ttl: Duration,
    /// Where values are put from.
    pub tasks: Tasks,
    /// Where the numbers go.
    pub metrics: Arc<Metrics>,
}

/// The second tier.
pub struct L2 {
    redis: Arc<Redis>,
    codec: L2Codec,
    prefix: String,
    ttl: Duration,
    flavour: Arc<Flavour>,
    revisions: Vec<String>,
    tasks: Tasks,
    metrics: Arc<Metrics>,
}

impl L2 {
    /// Makes the second tier. `fixed` is whatever beside its key and SQL an answer depends on: the operator's options. It
    /// becomes part of every name, so that sidecars of two releases, or with other options, never share an entry.
    pub fn new(parts: L2Parts, flavour: Arc<Flavour>, fixed: &str) -> Self {
        let catalogue = flavour.settings_catalogue();
        let name = |view: &View| format!("{}@{}", view.name, revision([&view.sql, fixed, &catalogue]));
        let revisions = flavour.views.iter().map(name).collect();
        let L2Parts {
            redis,
            codec,
            prefix,
            ttl,
            tasks,
            metrics,
        } = parts;
        Self {
            redis,
            codec,
            prefix,
            ttl,
            flavour,
            revisions,
            tasks,
            metrics,
        }
    }

    /// Looks an entry up; the caller judges it. What is late, garbage or somebody else's is a miss, and is counted.
    pub(crate) async fn get(&self, read: &Read, incarnation: Incarnation) -> Option<Entry> {
        let is_secret = self.flavour.view(read.view).secret;
        if is_secret && !self.codec.seals() {
            return None;
        }
        let view = &self.revisions[usize::from(read.view.0)];
        let missed = |outcome| {
            self.metrics.l2_requests_total[L2Operation::Get][outcome].inc();
            None
        };
        let value = match self
            .redis
            .l2_get(storage_key(&self.prefix, view, &read.key, incarnation))
            .await
        {
            Ok(Some(value)) => value,
            Ok(None) => return missed(L2Outcome::Miss),
            Err(miss) => return missed(outcome_of_miss(miss)),
        };
        match self.codec.read(&value, view, &read.key, incarnation) {
            Ok(entry) => {
                let stamp = Stamp {
                    incarnation,
                    as_of: entry.as_of,
                    tags: entry.tags.into(),
                    not_after: None,
                };
                Some(Entry::new(
                    stamp,
                    (entry.status == 200).then_some(entry.body),
                    is_secret,
                ))
            }
            Err(unreadable) => missed(outcome_of_envelope(unreadable)),
        }
    }

    /// Puts an entry there in the background, unless what is there shows a later state.
    pub(crate) fn put(&self, read: &Read, entry: &Arc<Entry>) {
        if entry.stamp.not_after.is_some() {
            return;
        }
        let view = self.revisions[usize::from(read.view.0)].clone();
        let name = storage_key(&self.prefix, &view, &read.key, entry.stamp.incarnation);
        let envelope = L2Entry {
            view,
            key: read.key.to_string(),
            incarnation: entry.stamp.incarnation,
            as_of: entry.stamp.as_of,
            not_after_seconds: None,
            tags: entry.stamp.tags.to_vec(),
            status: if entry.is_found { 200 } else { 404 },
            body: entry.body.clone(),
        };
        let confidentiality = if entry.is_secret {
            Confidentiality::Secret
        } else {
            Confidentiality::Ordinary
        };
        let Ok(value) = self.codec.write(&envelope, confidentiality) else {
            return;
        };
        let (redis, metrics, ttl) = (Arc::clone(&self.redis), Arc::clone(&self.metrics), self.ttl);
        self.tasks.spawn_brief("l2-put", async move {
            let outcome = redis.l2_put(name, envelope.as_of, value.into(), ttl).await;
            metrics.l2_requests_total[L2Operation::Put][outcome_of_put(outcome)].inc();
        });
    }

    /// Says whether the breaker keeps reads away from Redis.
    pub fn is_open(&self) -> bool {
        self.redis.phase() == Phase::Open
    }
}

const fn outcome_of_miss(miss: L2Miss) -> L2Outcome {
    match miss {
        L2Miss::Disconnected => L2Outcome::Error,
        L2Miss::Avoided => L2Outcome::Breaker,
        L2Miss::Busy => L2Outcome::Dropped,
        L2Miss::TimedOut => L2Outcome::Late,
        L2Miss::Refused => L2Outcome::Error,
        L2Miss::Garbage => L2Outcome::Garbage,
    }
}

const fn outcome_of_envelope(unreadable: L2Unreadable) -> L2Outcome {
    match unreadable {
        L2Unreadable::Version => L2Outcome::Version,
        L2Unreadable::Garbage => L2Outcome::Garbage,
        L2Unreadable::Unauthentic => L2Outcome::Unauthentic,
        L2Unreadable::Foreign => L2Outcome::Foreign,
    }
}

const fn outcome_of_put(put: PutOutcome) -> L2Outcome {
    match put {
        PutOutcome::Stored => L2Outcome::Stored,
        PutOutcome::Older => L2Outcome::Older,
        PutOutcome::Missed(miss) => outcome_of_miss(miss),
    }
}

/// Names what a view's answers depend on beside their keys, in sixteen digits.
fn revision(parts: [&str; 3]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        // With its length before it no part can run into the next.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let digest = context.finish();
    let head: [u8; 8] = digest.as_ref()[..8].try_into().expect("SHA-256 has 32 bytes");
    format!("{:016x}", u64::from_be_bytes(head))
}
