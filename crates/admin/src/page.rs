//! The pages for an operator's browser: each is one file without anything from elsewhere, which asks this listener and nobody else.
//!
//! Style, body and script stand in files of their own and are put together when the program is compiled; what all pages share stands in
//! `base`. The browser runs these very bytes and nothing else: the policy of a page names them by their hashes.

use std::sync::OnceLock;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Response, StatusCode, header};
use neverstale_listener::Body;
use ring::digest::{SHA256, digest};

use crate::service::respond;

/// A page, and what its browser may run.
struct Page {
    text: &'static str,
    style: &'static str,
    script: &'static str,
    policy: OnceLock<HeaderValue>,
}

/// Puts a page together from its files.
macro_rules! page {
    ($title:literal, $body:literal, [$($style:literal),+], [$($script:literal),+]) => {
        Page {
            text: concat!(
                "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
                $title,
                "</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>",
                $(include_str!($style)),+,
                "</style>\n</head>\n<body>\n",
                include_str!($body),
                "<script>",
                $(include_str!($script)),+,
                "</script>\n</body>\n</html>\n"
            ),
            style: concat!($(include_str!($style)),+),
            script: concat!($(include_str!($script)),+),
            policy: OnceLock::new(),
        }
    };
}

static STATUS: Page = page!(
    "Neverstale",
    "page/status.html",
    ["page/base.css", "page/status.css"],
    ["page/base.js", "page/status.js"]
);

static ACCESS: Page = page!(
    "Who may do what – Neverstale",
    "page/access.html",
    ["page/base.css", "page/access.css"],
    ["page/base.js", "page/picker.js", "page/answers.js", "page/access.js"]
);

/// The page that shows how it goes.
pub(crate) fn status() -> Response<Body> {
    STATUS.respond()
}

/// The page that shows who may do what. It carries nothing of anybody; what it shows it asks for.
pub(crate) fn access() -> Response<Body> {
    ACCESS.respond()
}

impl Page {
    fn respond(&self) -> Response<Body> {
        let mut response = respond(StatusCode::OK, "text/html; charset=utf-8", self.text);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, self.policy().clone());
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }

    /// Nothing but this style and this script, and questions to where the page came from.
    fn policy(&self) -> &HeaderValue {
        self.policy.get_or_init(|| {
            let policy = format!(
                "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                 frame-ancestors 'none'",
                source(self.style),
                source(self.script)
            );
            HeaderValue::try_from(policy).expect("words and base64 are visible ASCII")
        })
    }
}

fn source(text: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_need_nothing_from_elsewhere() {
        for page in [&STATUS, &ACCESS] {
            for elsewhere in [
                "http://",
                "https://",
                "src=",
                "url(",
                "@import",
                "innerHTML",
                "insertAdjacentHTML",
                "style=\"",
            ] {
                assert!(!page.text.contains(elsewhere), "{elsewhere}");
            }
        }
    }

    #[test]
    fn the_policies_let_run_what_stands_in_their_page_and_nothing_else() {
        for page in [&STATUS, &ACCESS] {
            let policy = page.policy().to_str().unwrap();
            assert!(!policy.contains("unsafe"), "{policy}");
            for text in [page.style, page.script] {
                assert!(page.text.contains(&format!(">{text}</")));
                assert!(policy.contains(&source(text)));
            }
        }
    }
}
