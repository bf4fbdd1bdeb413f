//! What all connections of the `api` listener share.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderValue;
use neverstale_cache::{Auditor, Cache};
use neverstale_flavour::Router;
use neverstale_identity::Identity;
use neverstale_lifecycle::CancellationToken;
use neverstale_postgres::Writer;
use neverstale_rbac::Decider;
use neverstale_telemetry::Metrics;
use tokio::{sync::Semaphore, time::Instant};

use crate::{access::Access, settings::ApiSettings};

pub(crate) struct Shared {
    pub(crate) cache: Arc<Cache>,
    pub(crate) router: Arc<Router>,
    pub(crate) auditor: Arc<Auditor>,
    pub(crate) access: Access,
    pub(crate) writer: Writer,
    /// None where the flavour has no rules of access.
    pub(crate) decider: Option<Arc<Decider>>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) settings: ApiSettings,
    pub(crate) metrics: Arc<Metrics>,
    /// Requests that wait for something; hits in L1 take no place.
    pub(crate) places: Semaphore,
    pub(crate) subscribers: Arc<Semaphore>,
    /// The published contract with its validator.
    pub(crate) openapi: (Bytes, HeaderValue),
    pub(crate) is_draining: Arc<AtomicBool>,
    /// Cancelled when draining begins: events end then.
    pub(crate) drain: CancellationToken,
}

impl Shared {
    /// Gives the deadline of a request that arrives now: as asked, within the bound.
    pub(crate) fn deadline(&self, timeout_ms: Option<u64>) -> Instant {
        let timeout_ms = timeout_ms
            .unwrap_or(self.settings.timeout_ms_default)
            .min(self.settings.timeout_ms_max);
        Instant::now() + Duration::from_millis(timeout_ms)
    }
}
