//! The spans of a traced read below its request's: the wait for a fence, the look into L2, the fill.
//!
//! None of them names a key or a user; where nobody traces, none of them is there.

use neverstale_telemetry::{TRACE, within};
use tracing::{Span, field::Empty, info_span};

/// The wait for a fence, which other reads may share.
pub(crate) fn fence() -> Span {
    within(|| info_span!(target: TRACE, "changefeed.fence"))
}

/// A look into L2.
pub(crate) fn look() -> Span {
    within(|| info_span!(target: TRACE, "redis.get", span.kind = "client", db.system.name = "redis"))
}

/// One statement of Postgres, by the view that it fills; the server's process joins it with the server's log.
pub(crate) fn fill(view: &str, reads: usize) -> Span {
    within(|| {
        info_span!(
            target: TRACE, "postgres.fill", span.kind = "client", db.system.name = "postgresql", db.operation.name = view,
            db.operation.batch.size = reads as u64, db.postgresql.backend_pid = Empty
        )
    })
}
