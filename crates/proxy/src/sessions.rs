//! `POST /v1/sessions/resolve`: whose session token this is, judged as the application judges it.
//!
//! Signature, times, the account's state and session stamp, and the application's revocation keys in Redis must all agree.
//! What can't be known is not accepted. Why a token is refused is nobody's business, so every refusal looks the same.

mod claims;

use std::sync::Arc;

use http::Response;
use hyper::body::Incoming;
use neverstale_cache::{Answer, Entry};
use neverstale_flavour::{Read, SessionRules};
use neverstale_lifecycle::Clock;
use neverstale_redis::{KeyAnswer, Redis};
use neverstale_wire::{Problem, ProblemKind};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{body::Body, dispatch::Call, problem::Failure, watched::Watched};
use claims::Mfa;
pub(crate) use claims::{Claims, Verifier};

/// Longer tokens are refused.
pub(crate) const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// No user's id is longer.
const ID_BYTES_MAX: usize = 512;

/// All that it takes to judge sessions.
pub(crate) struct Sessions {
    pub(crate) rules: SessionRules,
    /// None while no secret is set: sessions can't be judged then.
    pub(crate) verifier: Option<Watched<Verifier>>,
    /// None where the application's revocations need not be asked for.
    pub(crate) revocations: Option<Revocations>,
    pub(crate) clock: Clock,
}

/// Where the application keeps what it has revoked.
pub(crate) struct Revocations {
    /// None when no Redis is set: whether a session is revoked can't be known then.
    pub(crate) redis: Option<Redis>,
    /// Begins the application's keys.
    pub(crate) key_prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    token: String,
}

/// What the flavour's view tells of an account.
#[derive(Deserialize)]
struct Account {
    user: Option<Box<RawValue>>,
    active: Option<bool>,
    #[serde(default)]
    session_stamp: serde_json::Value,
    /// Missing where the application knows no second factor.
    mfa: Option<Mfa>,
}

pub(crate) async fn resolve(call: &Call<'_>, body: Incoming) -> Result<Response<Body>, Failure> {
    let sessions = call.shared.sessions.as_ref().ok_or(ProblemKind::NotInThisSchema)?;
    let body = call.body(body).await?;
    let question: Question =
        serde_json::from_slice(&body).map_err(|_| Failure::malformed("the body is not {\"token\": \"…\"}"))?;
    if question.token.is_empty() || question.token.len() > TOKEN_BYTES_MAX {
        return Err(Failure::malformed("token is not a text of 1 to 8192 bytes"));
    }
    let verifier = sessions
        .verifier
        .as_ref()
        .ok_or_else(|| Failure::unavailable("sessions can't be verified: api.session_secret is not set"))?;
    let claims = verifier
        .load()
        .verify(&question.token, &sessions.rules)
        .filter(|claims| claims.are_timely(sessions.clock.wall_ms()));
    let claims = claims.ok_or_else(no_session)?;
    let read = sessions.read(call, &claims)?;
    let (answer, ()) = futures_util::try_join!(call.read(&read), sessions.check_revocations(&claims))?;
    judge(call, &sessions.rules, &claims, &answer)
}

impl Sessions {
    fn read(&self, call: &Call<'_>, claims: &Claims) -> Result<Read, Failure> {
        let id = &claims.user_id;
        if id.len() > ID_BYTES_MAX || id.contains('\0') {
            return Err(no_session());
        }
        let read = call
            .shared
            .router
            .read_of(&self.rules.view, &format!("sessions:{id}"), &[id]);
        read.ok_or_else(|| ProblemKind::NotInThisSchema.into())
    }

    /// Asks the application's Redis; nothing is remembered, because nothing would tell us of a change.
    async fn check_revocations(&self, claims: &Claims) -> Result<(), Failure> {
        let unknown =
            || Failure::unavailable("whether the session is revoked can't be known now: Redis does not answer");
        let Some(revocations) = &self.revocations else {
            return Ok(());
        };
        let redis = revocations.redis.as_ref();
        let redis = redis
            .ok_or_else(|| Failure::unavailable("whether a session is revoked can't be known: redis.url is not set"))?;
        let prefix = &revocations.key_prefix;
        let of_token = async {
            match &claims.token_id {
                Some(token_id) => redis.get(&format!("{prefix}:auth:token:{token_id}:revoked")).await,
                None => KeyAnswer::Absent,
            }
        };
        let of_user = async {
            redis
                .get(&format!("{prefix}:auth:user:{}:revoked_at", claims.user_id))
                .await
        };
        match futures_util::join!(of_token, of_user) {
            (KeyAnswer::Value(_), _) => Err(no_session()),
            (KeyAnswer::Absent, KeyAnswer::Absent) => Ok(()),
            (KeyAnswer::Absent, KeyAnswer::Value(revoked_at)) => match claims.is_revoked_by(&revoked_at) {
                Some(false) => Ok(()),
                Some(true) => Err(no_session()),
                None => Err(unknown()),
            },
            (KeyAnswer::Unknown, _) | (_, KeyAnswer::Unknown) => Err(unknown()),
        }
    }
}

/// Judges the account and answers with its user, as `GET /v1/users/{id}` does.
fn judge(call: &Call<'_>, rules: &SessionRules, claims: &Claims, answer: &Answer) -> Result<Response<Body>, Failure> {
    if !answer.entry.is_found {
        return Err(no_session());
    }
    let account: Account = serde_json::from_slice(&answer.entry.body).map_err(|error| {
        tracing::error!(view = rules.view, %error, "the session view does not give user, active and session_stamp: mend the flavour");
        Failure::from(ProblemKind::Internal)
    })?;
    let is_current = rules.stamp_claim.is_none() || claims.stamp == account.session_stamp;
    let user = account.user.filter(|user| user.get() != "null");
    let has_factors = account.mfa.is_none_or(|mfa| claims.satisfies(mfa));
    let (Some(user), Some(true), true, true) = (user, account.active, is_current, has_factors) else {
        return Err(no_session());
    };
    let body = Box::<str>::from(user).into_boxed_bytes().into_vec().into();
    let entry = Arc::new(Entry::new(answer.entry.stamp.clone(), Some(body), false));
    Ok(call.respond(&Answer {
        entry,
        ..answer.clone()
    }))
}

/// The one answer to every token that is not a valid session.
fn no_session() -> Failure {
    Problem::new(ProblemKind::NotFound, "this is no valid session").into()
}
