//! Headers that name a user, or say where a request came from: nobody but who is trusted may bring them.

use http::{HeaderName, header};

/// Names whom a request comes from.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Names the host that was asked for.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Says whether it came over TLS.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What nobody but a trusted proxy may say about where a request came from.
pub static FORWARDED: [HeaderName; 7] = [
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
    X_FORWARDED_PORT,
    X_FORWARDED_PREFIX,
    X_REAL_IP,
    header::FORWARDED,
];

/// Says whether a header names a user. An underscore is taken for a hyphen, as servers do that make variables of headers.
pub fn is_spoken_for(name: &HeaderName, identity_headers: &[HeaderName]) -> bool {
    identity_headers.contains(name)
        || (name.as_str().contains('_') && {
            let spelled = name.as_str().replace('_', "-");
            identity_headers.iter().any(|header| header.as_str() == spelled)
                || FORWARDED.iter().any(|header| header.as_str() == spelled)
        })
}
