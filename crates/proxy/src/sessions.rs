//! `POST /v1/sessions/resolve`: whose session token this is, judged as the application judges it (`crates/identity`).

use http::Response;
use hyper::body::Incoming;
use neverstale_identity::TOKEN_BYTES_MAX;
use neverstale_listener::Body;
use neverstale_wire::ProblemKind;
use serde::Deserialize;

use crate::{dispatch::Call, problem::Failure};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    token: String,
}

pub(crate) async fn resolve(call: &Call<'_>, body: Incoming) -> Result<Response<Body>, Failure> {
    let identity = &call.shared.identity;
    if !identity.has_sessions() {
        return Err(ProblemKind::NotInThisSchema.into());
    }
    let body = call.body(body).await?;
    let question: Question =
        serde_json::from_slice(&body).map_err(|_| Failure::malformed("the body is not {\"token\": \"…\"}"))?;
    if question.token.is_empty() || question.token.len() > TOKEN_BYTES_MAX {
        return Err(Failure::malformed("token is not a text of 1 to 8192 bytes"));
    }
    let check = identity.session(&question.token)?;
    let revocations = async { check.check_revocations().await.map_err(Failure::from) };
    let (answer, ()) = futures_util::try_join!(call.read(check.read()), revocations)?;
    Ok(call.respond(&check.judge(&answer)?))
}
