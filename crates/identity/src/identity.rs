//! Who is asking, from a token or key to a user.

use std::{path::PathBuf, sync::Arc};

use neverstale_cache::{Answer, Cache, Level};
use neverstale_flavour::{Read, Router};
use neverstale_lifecycle::{Clock, Tasks};
use neverstale_redis::Redis;
use neverstale_settings::Secret;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::{
    IdentityError, IdentityStartError, api_keys,
    sessions::{Revocations, SessionCheck, Sessions, signed},
};

/// Begins every API key of the application; whatever begins otherwise is a session token.
const API_KEY_PREFIX: &str = "sk-";

/// Everything that it takes to know callers.
pub struct IdentityParts {
    /// Answers reads.
    pub cache: Arc<Cache>,
    /// Finds the views.
    pub router: Arc<Router>,
    /// The application's Redis, for revoked sessions; none when no URL is set.
    pub redis: Option<Redis>,
    /// Begins the application's own keys in Redis: `redis.app_key_prefix`.
    pub app_key_prefix: String,
    /// The application's secret: `api.session_secret`.
    pub session_secret: Option<Secret>,
    /// The file that holds it: `api.session_secret_file`.
    pub session_secret_file: Option<PathBuf>,
    /// Whether revocations are asked for: `api.session_revocation_checked`.
    pub session_revocation_checked: bool,
    /// Judges the times of sessions.
    pub clock: Clock,
}

/// Knows callers.
pub struct Identity {
    cache: Arc<Cache>,
    router: Arc<Router>,
    /// None where the flavour has no rules for sessions.
    sessions: Option<Sessions>,
}

/// Somebody who has shown who he is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user's id.
    pub user_id: String,
    /// The user's role, as the application writes it.
    pub role: String,
    /// The user's e-mail address.
    pub email: String,
    /// What was shown.
    pub credential: Credential,
}

/// What a caller shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A session token, signed by the application.
    Session,
    /// An API key.
    ApiKey,
}

/// A user as the views of sessions and API keys give it.
#[derive(Deserialize)]
struct User {
    id: String,
    role: String,
    #[serde(default)]
    email: String,
}

/// What the view of API keys gives.
#[derive(Deserialize)]
struct KeyHolder {
    user: Box<RawValue>,
}

impl Identity {
    /// Puts the parts together; the file of the secret is watched from now on.
    ///
    /// # Errors
    /// The secret can't be used, or the flavour asks for an algorithm that is not known.
    pub fn start(parts: IdentityParts, tasks: &Tasks) -> Result<Arc<Self>, IdentityStartError> {
        let sessions = match parts.router.flavour().session.clone() {
            Some(rules) => {
                let (secret, file) = (parts.session_secret.as_ref(), parts.session_secret_file.as_ref());
                let secret = signed(&rules.algorithm, secret, file, tasks)?;
                let is_revocable = rules.revocation && parts.session_revocation_checked;
                let revocations = is_revocable.then_some(Revocations {
                    redis: parts.redis,
                    key_prefix: parts.app_key_prefix,
                });
                Some(Sessions::new(rules, secret, revocations, parts.clock))
            }
            None => None,
        };
        Ok(Arc::new(Self {
            cache: parts.cache,
            router: parts.router,
            sessions,
        }))
    }

    /// Says who shows this, session token or API key, as of now: no older than any commit before this call.
    ///
    /// # Errors
    /// Nobody does, or it can't be known before `deadline`.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn of_bearer(&self, credential: &str, deadline: Instant) -> Result<Caller, IdentityError> {
        if credential.starts_with(API_KEY_PREFIX) {
            let answer = self.read(&self.api_key(credential)?, deadline).await?;
            if !answer.entry.is_found {
                return Err(IdentityError::NoApiKey);
            }
            let holder: KeyHolder = serde_json::from_slice(&answer.entry.body).map_err(mend)?;
            return Caller::parse(&holder.user, Credential::ApiKey);
        }
        let check = self.session(credential)?;
        let (answer, ()) = futures_util::try_join!(self.read(check.read(), deadline), check.check_revocations())?;
        if !answer.entry.is_found {
            return Err(IdentityError::NoSession);
        }
        check.caller_of(&answer.entry)
    }

    /// Begins to judge a session token.
    ///
    /// # Errors
    /// Signature or times are wrong, or sessions can't be judged at all.
    pub fn session(&self, token: &str) -> Result<SessionCheck<'_>, IdentityError> {
        let sessions = self.sessions.as_ref().ok_or(IdentityError::NotInThisSchema)?;
        sessions.check(token, &self.router)
    }

    /// Gives what must be read about an API key; where nothing is found there, it is nobody's.
    ///
    /// # Errors
    /// It can't be a key, or the application has none.
    pub fn api_key(&self, key: &str) -> Result<Read, IdentityError> {
        api_keys::read(&self.router, key)
    }

    /// Says whether the application has sessions.
    pub fn has_sessions(&self) -> bool {
        self.sessions.is_some()
    }

    async fn read(&self, read: &Read, deadline: Instant) -> Result<Answer, IdentityError> {
        let level = Level::FullyConsistent;
        match self.cache.hit(&read.key, level) {
            Some(answer) => Ok(answer),
            // In a box, so that whoever waits for a hit does not carry the room of a miss.
            None => Ok(Box::pin(self.cache.read(read, level, deadline)).await?),
        }
    }
}

impl Caller {
    pub(crate) fn parse(user: &RawValue, credential: Credential) -> Result<Self, IdentityError> {
        let user: User = serde_json::from_str(user.get()).map_err(mend)?;
        Ok(Self {
            user_id: user.id,
            role: user.role,
            email: user.email,
            credential,
        })
    }
}

fn mend(error: serde_json::Error) -> IdentityError {
    tracing::error!(%error, "a view does not give a user with id and role: mend the flavour");
    IdentityError::Flavour
}
