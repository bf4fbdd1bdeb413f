//! Whose session token it is, judged as the application judges it.
//!
//! Signature, times, the account's state and session stamp, and the application's revocation keys in Redis must all agree.
//! What can't be known is not accepted. Why a token is refused is nobody's business, so every refusal looks the same.

mod claims;
mod remembered;

use std::{path::PathBuf, sync::Arc};

use neverstale_cache::{Answer, Entry};
use neverstale_flavour::{Read, Router, SessionRules};
use neverstale_lifecycle::{Clock, Tasks, Watched};
use neverstale_redis::{KeyAnswer, Redis};
use neverstale_settings::Secret;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Caller, Credential, IdentityError, IdentityStartError};
use claims::{Mfa, Verifier};
use remembered::{Remembered, Session};

/// Longer tokens are refused.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// No user's id is longer.
const ID_BYTES_MAX: usize = 512;

const REDIS_SILENT: &str = "whether the session is revoked can't be known now: Redis does not answer";
const REDIS_MISSING: &str = "whether a session is revoked can't be known: redis.url is not set";
const NO_SECRET: &str = "sessions can't be verified: api.session_secret is not set";

/// All that it takes to judge sessions.
pub(crate) struct Sessions {
    rules: SessionRules,
    /// None while no secret is set: sessions can't be judged then.
    secret: Option<Watched<Signed>>,
    /// None where the application's revocations need not be asked for.
    revocations: Option<Revocations>,
    clock: Clock,
}

/// What is signed with one secret.
pub(crate) struct Signed {
    verifier: Verifier,
    remembered: Remembered,
}

/// Where the application keeps what it has revoked.
pub(crate) struct Revocations {
    /// None when no Redis is set: whether a session is revoked can't be known then.
    pub(crate) redis: Option<Redis>,
    /// Begins the application's keys.
    pub(crate) key_prefix: String,
}

/// A token whose signature and times are right, and what must still be found out about it.
pub struct SessionCheck<'i> {
    sessions: &'i Sessions,
    session: Arc<Session>,
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

impl Sessions {
    pub(crate) fn new(
        rules: SessionRules,
        secret: Option<Watched<Signed>>,
        revocations: Option<Revocations>,
        clock: Clock,
    ) -> Self {
        Self {
            rules,
            secret,
            revocations,
            clock,
        }
    }

    /// Checks what a token says of itself.
    pub(crate) fn check(&self, token: &str, router: &Router) -> Result<SessionCheck<'_>, IdentityError> {
        let secret = self.secret.as_ref().ok_or(IdentityError::Unavailable(NO_SECRET))?;
        if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return Err(IdentityError::NoSession);
        }
        let signed = secret.load();
        let session = match signed.remembered.get(token) {
            Some(session) => session,
            None => {
                let session = Arc::new(self.verify(&signed.verifier, token, router)?);
                signed.remembered.add(token, Arc::clone(&session));
                session
            }
        };
        if !session.claims.are_timely(self.clock.wall_ms()) {
            return Err(IdentityError::NoSession);
        }
        Ok(SessionCheck {
            sessions: self,
            session,
        })
    }

    /// Finds out what never changes about a token.
    fn verify(&self, verifier: &Verifier, token: &str, router: &Router) -> Result<Session, IdentityError> {
        let claims = verifier.verify(token, &self.rules).ok_or(IdentityError::NoSession)?;
        let id = &claims.user_id;
        if id.len() > ID_BYTES_MAX || id.contains('\0') {
            return Err(IdentityError::NoSession);
        }
        let read = router.read_of(&self.rules.view, &format!("sessions:{id}"), &[id]);
        let read = read.ok_or(IdentityError::NotInThisSchema)?;
        Ok(Session::new(claims, read))
    }
}

impl SessionCheck<'_> {
    /// What must be read about the account.
    pub fn read(&self) -> &Read {
        &self.session.read
    }

    /// Asks the application's Redis; nothing is remembered, because nothing would tell us of a change.
    ///
    /// # Errors
    /// The session is revoked, or nobody can say.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn check_revocations(&self) -> Result<(), IdentityError> {
        match &self.sessions.revocations {
            // In a box: the room of two questions to Redis is not carried by whoever asks none.
            Some(revocations) => Box::pin(self.ask(revocations)).await,
            None => Ok(()),
        }
    }

    async fn ask(&self, revocations: &Revocations) -> Result<(), IdentityError> {
        let redis = revocations
            .redis
            .as_ref()
            .ok_or(IdentityError::Unavailable(REDIS_MISSING))?;
        let prefix = &revocations.key_prefix;
        let of_token = async {
            match &self.session.claims.token_id {
                Some(token_id) => redis.get(&format!("{prefix}:auth:token:{token_id}:revoked")).await,
                None => KeyAnswer::Absent,
            }
        };
        let of_user = async {
            let user_id = &self.session.claims.user_id;
            redis.get(&format!("{prefix}:auth:user:{user_id}:revoked_at")).await
        };
        match futures_util::join!(of_token, of_user) {
            (KeyAnswer::Value(_), _) => Err(IdentityError::NoSession),
            (KeyAnswer::Absent, KeyAnswer::Absent) => Ok(()),
            (KeyAnswer::Absent, KeyAnswer::Value(revoked_at)) => match self.session.claims.is_revoked_by(&revoked_at) {
                Some(false) => Ok(()),
                Some(true) => Err(IdentityError::NoSession),
                None => Err(IdentityError::Unavailable(REDIS_SILENT)),
            },
            (KeyAnswer::Unknown, _) | (_, KeyAnswer::Unknown) => Err(IdentityError::Unavailable(REDIS_SILENT)),
        }
    }

    /// Judges what was read about the account, and gives its user as `GET /v1/users/{id}` does.
    ///
    /// # Errors
    /// The account is gone, inactive, has another session stamp, or lacks a factor.
    pub fn judge(&self, answer: &Answer) -> Result<Answer, IdentityError> {
        if !answer.entry.is_found {
            return Err(IdentityError::NoSession);
        }
        let user = self.user_of(&answer.entry)?;
        let body = Box::<str>::from(user).into_boxed_bytes().into_vec().into();
        let entry = Arc::new(Entry::new(answer.entry.stamp.clone(), Some(body), false));
        Ok(Answer {
            entry,
            ..answer.clone()
        })
    }

    /// Gives who it is by what was read about the account.
    ///
    /// # Errors
    /// As [`SessionCheck::judge`].
    pub(crate) fn caller_of(&self, entry: &Arc<Entry>) -> Result<Caller, IdentityError> {
        if let Some(caller) = self.session.caller_by(entry) {
            return Ok(caller);
        }
        let caller = Caller::parse(&self.user_of(entry)?, Credential::Session)?;
        self.session.remember(entry, &caller);
        Ok(caller)
    }

    fn user_of(&self, entry: &Entry) -> Result<Box<RawValue>, IdentityError> {
        let (rules, claims) = (&self.sessions.rules, &self.session.claims);
        let account: Account = serde_json::from_slice(&entry.body).map_err(|error| {
            tracing::error!(view = rules.view, %error, "the session view does not give user, active and session_stamp: mend the flavour");
            IdentityError::Flavour
        })?;
        let is_current = rules.stamp_claim.is_none() || claims.stamp == account.session_stamp;
        let user = account.user.filter(|user| user.get() != "null");
        let has_factors = account.mfa.is_none_or(|mfa| claims.satisfies(mfa));
        match (user, account.active, is_current, has_factors) {
            (Some(user), Some(true), true, true) => Ok(user),
            _ => Err(IdentityError::NoSession),
        }
    }
}

impl Signed {
    fn new(secret: &[u8], algorithm: &str) -> Option<Self> {
        let verifier = Verifier::new(secret, algorithm)?;
        let remembered = Remembered::default();
        Some(Self { verifier, remembered })
    }
}

/// Signs a session of nobody, for a minute: whether the application takes it for signed shows whether it has the same secret.
/// None for an algorithm that does not sign with a shared secret.
pub fn nobodys_token(secret: &[u8], rules: &SessionRules, wall_ms: i64) -> Option<String> {
    claims::sign(secret, rules, wall_ms / 1_000)
}

/// Makes what checks signatures, from the one of the two settings that is set; none without either.
pub(crate) fn signed(
    algorithm: &str,
    secret: Option<&Secret>,
    file: Option<&PathBuf>,
    tasks: &Tasks,
) -> Result<Option<Watched<Signed>>, IdentityStartError> {
    let unusable = || IdentityStartError::Algorithm(algorithm.to_owned());
    Verifier::new(b"", algorithm).ok_or_else(unusable)?;
    match (secret, file) {
        (Some(_), Some(_)) => Err(IdentityStartError::Conflict(
            "set api.session_secret or api.session_secret_file, not both",
        )),
        (Some(secret), None) => {
            let signed = Signed::new(secret.expose().as_bytes(), algorithm).ok_or_else(unusable)?;
            Ok(Some(Watched::fixed(signed)))
        }
        (None, Some(file)) => {
            let algorithm = algorithm.to_owned();
            let parse = move |contents: &[Vec<u8>]| {
                let secret = contents[0].trim_ascii();
                let signed = if secret.is_empty() {
                    None
                } else {
                    Signed::new(secret, &algorithm)
                };
                signed.ok_or_else(|| "it is empty".to_owned())
            };
            let watched = Watched::start("identity.session_secret", vec![file.clone()], parse, tasks)?;
            Ok(Some(watched))
        }
        (None, None) => Ok(None),
    }
}
