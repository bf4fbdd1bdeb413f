//! `POST /v1/api-keys/resolve`: whose key this is.
//!
//! The key goes into the SQL parameter and nowhere else: the cache knows it by its SHA-256, and no log line ever sees it. A key
//! that is not known takes the same way as one that is.

use http::Response;
use hyper::body::Incoming;
use neverstale_wire::ProblemKind;
use ring::digest::{SHA256, digest};
use serde::Deserialize;

use crate::{body::Body, dispatch::Call, hex::hex, problem::Failure};

/// The view that answers.
pub(crate) const VIEW: &str = "api-key";
/// Longer keys are refused.
pub(crate) const KEY_CHARS_MAX: usize = 512;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    api_key: String,
}

pub(crate) async fn resolve(call: &Call<'_>, body: Incoming) -> Result<Response<Body>, Failure> {
    let flavour = call.shared.router.flavour();
    if flavour.view_named(VIEW).is_none() {
        return Err(ProblemKind::NotInThisSchema.into());
    }
    if !call.grant.secrets {
        return Err(ProblemKind::SecretNeedsToken.into());
    }
    let body = call.body(body).await?;
    let question: Question =
        serde_json::from_slice(&body).map_err(|_| Failure::malformed("the body is not {\"api_key\": \"…\"}"))?;
    let key = question.api_key;
    if key.is_empty() || key.contains('\0') || key.chars().count() > KEY_CHARS_MAX {
        return Err(Failure::malformed(
            "api_key is not a text of 1 to 512 characters without NUL",
        ));
    }
    let read = call
        .shared
        .router
        .read_of(VIEW, &cache_key(&key), &[&key])
        .ok_or(ProblemKind::NotInThisSchema)?;
    let answer = call.read(&read).await?;
    Ok(call.respond(&answer))
}

/// The name under which the cache knows a key.
fn cache_key(key: &str) -> String {
    format!("api-keys:{}", hex(digest(&SHA256, key.as_bytes()).as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_knows_a_key_by_its_hash() {
        assert_eq!(
            cache_key("abc"),
            "api-keys:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_question_is_exactly_what_the_contract_says() {
        let read = |text: &str| {
            serde_json::from_str::<Question>(text)
                .ok()
                .map(|question| question.api_key)
        };
        assert_eq!(read(r#"{"api_key":"sk-1"}"#).as_deref(), Some("sk-1"));
        for wrong in [
            r#"{"api_key":1}"#,
            r#"{"api_key":"a","more":1}"#,
            "{}",
            "[]",
            r#""sk-1""#,
        ] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }
}
