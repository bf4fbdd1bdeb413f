//! Names and values of headers that answers are made of, built once.

use http::{HeaderName, HeaderValue};
use neverstale_cache::{Level, Source};

pub(crate) const CONSISTENCY: HeaderName = HeaderName::from_static("neverstale-consistency");
pub(crate) const POSITION: HeaderName = HeaderName::from_static("neverstale-position");
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const PROBLEM: HeaderValue = HeaderValue::from_static(neverstale_wire::problem::PROBLEM_MEDIA_TYPE);

/// Says where an answer came from, in the words of RFC 9211.
pub(crate) const fn cache_status(source: Source) -> HeaderValue {
    HeaderValue::from_static(match source {
        Source::L1 => "neverstale; hit; detail=l1",
        Source::L2 => "neverstale; hit; detail=l2",
        Source::Fill => "neverstale; fwd=miss",
        Source::Join => "neverstale; fwd=miss; collapsed",
        Source::Bypass => "neverstale; fwd=bypass",
    })
}

/// Says which level was kept.
pub(crate) const fn kept(level: Level) -> HeaderValue {
    HeaderValue::from_static(level.name())
}
