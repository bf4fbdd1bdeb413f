//! `POST /v1/api-keys/resolve`: whose key this is.
//!
//! The key goes into the SQL parameter and nowhere else: the cache knows it by its SHA-256, and no log line ever sees it. A key
//! that is not known takes the same way as one that is.

use http::Response;
use hyper::body::Incoming;
use neverstale_identity::{API_KEY_CHARS_MAX, API_KEY_VIEW};
use neverstale_listener::Body;
use neverstale_wire::ProblemKind;
use serde::Deserialize;

use crate::{dispatch::Call, problem::Failure};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    api_key: String,
}

pub(crate) async fn resolve(call: &Call<'_>, body: Incoming) -> Result<Response<Body>, Failure> {
    let flavour = call.shared.router.flavour();
    if flavour.view_named(API_KEY_VIEW).is_none() {
        return Err(ProblemKind::NotInThisSchema.into());
    }
    if !call.grant.secrets {
        return Err(ProblemKind::SecretNeedsToken.into());
    }
    let body = call.body(body).await?;
    let question: Question =
        serde_json::from_slice(&body).map_err(|_| Failure::malformed("the body is not {\"api_key\": \"…\"}"))?;
    let key = question.api_key;
    if key.is_empty() || key.contains('\0') || key.chars().count() > API_KEY_CHARS_MAX {
        return Err(Failure::malformed(
            "api_key is not a text of 1 to 512 characters without NUL",
        ));
    }
    let read = call.shared.identity.api_key(&key)?;
    let answer = call.read(&read).await?;
    Ok(call.respond(&answer))
}

#[cfg(test)]
mod tests {
    use super::*;

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
