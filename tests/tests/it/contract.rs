//! Every endpoint of the HTTP contract answers as written (the issue, point 2), on all three flavours.
//!
//! Freshness is not judged here but in [`crate::coherence`]; here it is the form that counts: statuses, headers, problems, transports.

mod admin;
mod posts;
mod problems;
mod reads;
mod streams;
mod transports;
mod writes;

use anyhow::{Context, Result, ensure};
use neverstale_testkit::Answer;

/// A problem is of this status and kind, and says so in all its places.
pub(crate) fn expect_problem(answer: &Answer, status: u16, kind: &str) -> Result<()> {
    let body = answer.json().unwrap_or_default();
    let is_right = answer.status == status
        && answer.header("content-type") == Some("application/problem+json")
        && body["type"] == format!("urn:neverstale:problem:{kind}")
        && body["status"] == status
        && body["title"].is_string();
    ensure!(
        is_right,
        "not a {status} {kind}: {} {:?} {}",
        answer.status,
        answer.headers,
        answer.text()
    );
    if matches!(status, 503 | 429) {
        let retry_after = answer.header("retry-after").and_then(|text| text.parse::<u32>().ok());
        ensure!(
            retry_after.is_some_and(|seconds| seconds >= 1),
            "no Retry-After: {:?}",
            answer.headers
        );
    }
    Ok(())
}

/// The token that an answer bears: 32 hex digits, a hyphen, hex digits.
fn token(answer: &Answer) -> Result<String> {
    let token = answer
        .header("neverstale-position")
        .with_context(|| format!("no position: {answer:?}"))?;
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (incarnation, position) = token.split_once('-').context("no hyphen in a token")?;
    ensure!(
        incarnation.len() == 32 && is_hex(incarnation) && is_hex(position),
        "no token: {token}"
    );
    Ok(token.to_owned())
}

/// The position in a token.
fn position(token: &str) -> Result<u64> {
    let (_, position) = token.split_once('-').context("no hyphen in a token")?;
    Ok(u64::from_str_radix(position, 16)?)
}
