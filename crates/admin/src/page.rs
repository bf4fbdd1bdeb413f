//! The page for an operator's browser: one file without anything from elsewhere, which asks `/status` every second.

use http::{HeaderValue, Response, StatusCode, header};
use neverstale_proxy::Body;

use crate::service::respond as answer;

const PAGE: &str = include_str!("page.html");
/// Nothing but what stands in the page itself, and questions to where it came from.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) fn respond() -> Response<Body> {
    let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        for elsewhere in ["http://", "https://", "src=", "@import", "innerHTML"] {
            assert!(!PAGE.contains(elsewhere), "{elsewhere}");
        }
    }
}
