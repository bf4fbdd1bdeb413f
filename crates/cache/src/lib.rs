//! Answers reads: L1, L2, one fill per key, and batches that are one state.
//!
//! A read is entitled first and looks up afterwards; whatever it finds, in either tier or in another read's hands, is judged by
//! the one rule of `coherence`. Knows nothing of HTTP but the finished bytes that it keeps; the proxy turns answers into
//! responses.

mod error;
mod settings;

mod answer;
mod entry;

mod cache;
mod entitle;

mod batch;
mod fill;
mod flights;
mod l1;
mod l2;
mod spans;

mod audit;

pub use answer::{Answer, BatchAnswer, Level, Source};
pub use audit::{Audit, AuditSettings, Auditor};
pub use cache::{Cache, CacheParts};
pub use entry::{Entry, etag_of};
pub use error::ReadError;
pub use l1::L1;
pub use l2::{L2, L2Parts};
pub use settings::L1Settings;
