//! The page for an operator's browser: one file without anything from elsewhere, which asks `/status` every second.
//!
//! Style, body and script stand in files of their own and are put together when the program is compiled. The browser runs these very
//! bytes and nothing else: the policy names them by their hashes.

use std::sync::LazyLock;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Response, StatusCode, header};
use neverstale_listener::Body;
use ring::digest::{SHA256, digest};

use crate::service::respond as answer;

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");
const PAGE: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    "<title>Neverstale</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>",
    include_str!("page/page.css"),
    "</style>\n</head>\n<body>\n",
    include_str!("page/body.html"),
    "<script>",
    include_str!("page/page.js"),
    "</script>\n</body>\n</html>\n"
);

/// Nothing but this style and this script, and questions to where the page came from.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        source(STYLE),
        source(SCRIPT)
    );
    HeaderValue::try_from(policy).expect("words and base64 are visible ASCII")
});

fn source(text: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

pub(crate) fn respond() -> Response<Body> {
    let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        for elsewhere in [
            "http://",
            "https://",
            "src=",
            "url(",
            "@import",
            "innerHTML",
            "style=\"",
        ] {
            assert!(!PAGE.contains(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn the_policy_lets_run_what_stands_in_the_page_and_nothing_else() {
        let policy = POLICY.to_str().unwrap();
        assert!(!policy.contains("unsafe"), "{policy}");
        for text in [STYLE, SCRIPT] {
            assert!(PAGE.contains(&format!(">{text}</")));
            assert!(policy.contains(&source(text)));
        }
    }
}
