//! Rights over users and groups, which no grant gives: admins are administered by themselves and by super admins, groups by their
//! owner and by super admins.
//!
//! Without this an admin would take what is another's by signing in as her, or by joining her group. Reads the facts through the
//! cache, all at one position.

use std::{fmt, sync::Arc};

use neverstale_cache::{BatchAnswer, Cache, Entry, Level};
use neverstale_flavour::{Read, Router};
use neverstale_rbac::{DecideError, Rules, Subject};
use neverstale_wire::Token;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::time::Instant;

/// Reads who somebody is.
pub(crate) struct People {
    pub(crate) cache: Arc<Cache>,
    pub(crate) router: Arc<Router>,
    pub(crate) rules: Rules,
}

/// Somebody or some people, to be administered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whom {
    /// A user, by id.
    User(String),
    /// A group, by id.
    Group(String),
    /// Everybody: what only super admins may.
    All,
}

impl fmt::Display for Whom {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(formatter, "user {id}"),
            Self::Group(id) => write!(formatter, "group {id}"),
            Self::All => formatter.write_str("everything"),
        }
    }
}

#[derive(Deserialize)]
struct Group {
    #[serde(alias = "user_id")]
    owner_id: Option<String>,
}

impl People {
    /// Says of each whether a user may administer it, all in one state; of those who do not exist there is nothing to guard.
    ///
    /// # Errors
    /// The facts can't be read.
    pub(crate) async fn may_administer(
        &self,
        user_id: &str,
        whom: &[Whom],
        deadline: Instant,
    ) -> Result<(Vec<bool>, Token), DecideError> {
        let access = self.router.flavour().access.as_ref();
        let subjects = &access.ok_or(DecideError::NotInThisSchema)?.subject;
        let mut reads = vec![self.read(subjects, user_id)?];
        for whom in whom {
            match whom {
                Whom::User(id) => reads.push(self.read(subjects, id)?),
                Whom::Group(id) => reads.push(self.read("group", id)?),
                Whom::All => {}
            }
        }
        let BatchAnswer { entries, token, .. } = self.read_all(&reads, deadline).await?;
        let mut entries = entries.iter();
        let caller = entries.next().map(|entry| subject(entry)).transpose()?.flatten();
        let mut judged = Vec::with_capacity(whom.len());
        for whom in whom {
            let entry = if *whom == Whom::All { None } else { entries.next() };
            judged.push(match &caller {
                Some(caller) => self.may(caller, whom, entry)?,
                None => false,
            });
        }
        Ok((judged, token))
    }

    fn may(&self, caller: &Subject, whom: &Whom, entry: Option<&Arc<Entry>>) -> Result<bool, DecideError> {
        if !self.rules.roles.contains(&caller.role) {
            return Ok(false);
        }
        if caller.super_admin {
            return Ok(true);
        }
        let is_admin = caller.role == self.rules.admin_role;
        match (whom, entry) {
            (Whom::User(id), Some(entry)) => {
                let is_user =
                    subject(entry)?.is_none_or(|user| user.role != self.rules.admin_role && !user.super_admin);
                Ok(is_admin && (*id == caller.id || is_user))
            }
            (Whom::Group(_), Some(entry)) if entry.is_found => {
                let group: Group = serde_json::from_slice(&entry.body).map_err(|_| DecideError::Unreadable)?;
                Ok(is_admin && group.owner_id.as_ref() == Some(&caller.id))
            }
            (Whom::Group(_), _) => Ok(is_admin),
            (Whom::All | Whom::User(_), _) => Ok(false),
        }
    }

    async fn read_all(&self, reads: &[Read], deadline: Instant) -> Result<BatchAnswer, DecideError> {
        let level = Level::FullyConsistent;
        if let Some(answered) = self.cache.hit_all(reads.iter().map(|read| &*read.key), level) {
            return Ok(answered);
        }
        Ok(self.cache.read_all(reads, level, deadline).await?)
    }

    fn read(&self, view: &str, id: &str) -> Result<Read, DecideError> {
        let path = format!("/v1/views/{view}/{}", utf8_percent_encode(id, NON_ALPHANUMERIC));
        self.router.route(&path).map_err(DecideError::Malformed)
    }
}

fn subject(entry: &Entry) -> Result<Option<Subject>, DecideError> {
    if !entry.is_found {
        return Ok(None);
    }
    Subject::parse(&entry.body).map(Some)
}
