//! Reads the facts through the cache and decides: every answer rests on one position.

use std::{
    array,
    sync::{Arc, Mutex, PoisonError},
};

use neverstale_cache::{BatchAnswer, Cache, Entry, Level};
use neverstale_flavour::{AccessType, Read, Router};
use neverstale_wire::Token;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;

use crate::{Action, DecideError, Decision, Facts, LookedFor, ResourceRef, ResourceType, Rules, Subject, decide};

/// Decides with the facts of a cache. Cheap to share.
pub struct Decider {
    cache: Arc<Cache>,
    router: Arc<Router>,
    rules: Rules,
    subject_view: String,
    types: [Option<Views>; ResourceType::ALL.len()],
    lists: [Mutex<Option<Parsed>>; ResourceType::ALL.len()],
}

/// The views of one type.
struct Views {
    one: String,
    all: Read,
}

/// A list that was parsed, and the entry that it was parsed from: the same entry gives the same list.
type Parsed = (Arc<Entry>, Arc<Facts>);

/// One decision, and the state that it was made in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The answer.
    pub decision: Decision,
    /// The state.
    pub token: Token,
}

/// Several decisions, made in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedMany {
    /// The answers, in the order of the questions.
    pub decisions: Vec<Decision>,
    /// The state.
    pub token: Token,
}

/// What a subject may do something with, in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visible {
    /// Ids of the resources, sorted.
    pub ids: Vec<String>,
    /// The state.
    pub token: Token,
}

impl Decider {
    /// Prepares to decide by the rules of the router's flavour; none where it has none.
    pub fn new(cache: Arc<Cache>, router: Arc<Router>) -> Option<Self> {
        let access = router.flavour().access.clone()?;
        let views = |kind: ResourceType| {
            let of_type = access.types.iter().find(|one| one.name == kind.name())?;
            views(&router, of_type)
        };
        Some(Self {
            rules: Rules::new(&access),
            subject_view: access.subject.clone(),
            types: ResourceType::ALL.map(views),
            lists: array::from_fn(|_| Mutex::default()),
            cache,
            router,
        })
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Decides one question.
    ///
    /// # Errors
    /// [`DecideError`]; whoever gets one refuses.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn decide(
        &self,
        user_id: &str,
        action: Action,
        resource: &ResourceRef,
        level: Level,
        deadline: Instant,
    ) -> Result<Decided, DecideError> {
        let questions = [(action, resource.clone())];
        let many = self.decide_many(user_id, &questions, level, deadline).await?;
        let DecidedMany { mut decisions, token } = many;
        let decision = decisions.pop().ok_or(DecideError::Unreadable)?;
        Ok(Decided { decision, token })
    }

    /// Decides several questions about one subject, all in one state.
    ///
    /// # Errors
    /// As [`Decider::decide`]; one that can't be decided fails all.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn decide_many(
        &self,
        user_id: &str,
        questions: &[(Action, ResourceRef)],
        level: Level,
        deadline: Instant,
    ) -> Result<DecidedMany, DecideError> {
        let asked: Vec<_> = questions
            .iter()
            .map(|(action, resource)| (user_id, *action, resource))
            .collect();
        self.decide_all(&asked, level, deadline).await
    }

    /// Decides several questions about any subjects, all in one state.
    ///
    /// # Errors
    /// As [`Decider::decide`]; one that can't be decided fails all.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn decide_all(
        &self,
        questions: &[(&str, Action, &ResourceRef)],
        level: Level,
        deadline: Instant,
    ) -> Result<DecidedMany, DecideError> {
        let mut reads: Vec<Read> = Vec::new();
        let mut places = Vec::with_capacity(questions.len());
        let mut place_of = |read: Read| {
            reads.iter().position(|known| known.key == read.key).unwrap_or_else(|| {
                reads.push(read);
                reads.len() - 1
            })
        };
        for (user_id, _, resource) in questions {
            let subject = place_of(self.read_of_subject(user_id)?);
            places.push((subject, place_of(self.read_of_one(resource)?)));
        }
        let answered = self.read_all(&reads, level, deadline).await?;
        let mut subjects: Vec<Option<Option<Subject>>> = vec![None; reads.len()];
        let mut decisions = Vec::with_capacity(questions.len());
        for ((_, action, resource), (subject, facts)) in questions.iter().zip(places) {
            if subjects[subject].is_none() {
                subjects[subject] = Some(Subject::of_entry(&answered.entries[subject])?);
            }
            let facts = Facts::parse(&answered.entries[facts].body)?;
            decisions.push(match &subjects[subject] {
                Some(Some(subject)) => decide(&self.rules, subject, *action, resource, &facts),
                _ => Decision::denied(LookedFor::Subject),
            });
        }
        Ok(DecidedMany {
            decisions,
            token: answered.token,
        })
    }

    /// Lists what a subject may do something with. What no row speaks of is not among it, even for those who may use it.
    ///
    /// # Errors
    /// As [`Decider::decide`].
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn visible(
        &self,
        user_id: &str,
        action: Action,
        kind: ResourceType,
        level: Level,
        deadline: Instant,
    ) -> Result<Visible, DecideError> {
        let (found, token) = self.facts_of_all(user_id, kind, level, deadline).await?;
        let Some((subject, facts)) = found else {
            return Ok(Visible { ids: Vec::new(), token });
        };
        let mut ids: Vec<String> = facts
            .of_type(kind)
            .filter(|(resource, _)| decide(&self.rules, &subject, action, resource, &facts).allowed)
            .map(|(resource, _)| resource.id.clone())
            .collect();
        ids.sort_unstable();
        Ok(Visible { ids, token })
    }

    /// Decides several questions about one subject, all in one state, from the facts of all resources of a type: for lists, whose
    /// elements would be as many reads. Of a list of models the questions may also be about functions.
    ///
    /// # Errors
    /// As [`Decider::decide`].
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn decide_by_list(
        &self,
        user_id: &str,
        questions: &[(Action, ResourceRef)],
        kind: ResourceType,
        level: Level,
        deadline: Instant,
    ) -> Result<DecidedMany, DecideError> {
        let (found, token) = self.facts_of_all(user_id, kind, level, deadline).await?;
        let decision = |(action, resource): &(Action, ResourceRef)| match &found {
            Some((subject, facts)) => decide(&self.rules, subject, *action, resource, facts),
            None => Decision::denied(LookedFor::Subject),
        };
        Ok(DecidedMany {
            decisions: questions.iter().map(decision).collect(),
            token,
        })
    }

    /// A subject, and the facts of all resources of a type, in one state; none where the subject is not known.
    async fn facts_of_all(
        &self,
        user_id: &str,
        kind: ResourceType,
        level: Level,
        deadline: Instant,
    ) -> Result<(Option<(Subject, Arc<Facts>)>, Token), DecideError> {
        let reads = [self.read_of_subject(user_id)?, self.read_of_all(kind)?];
        let BatchAnswer { entries, token, .. } = self.read_all(&reads, level, deadline).await?;
        let found = match Subject::of_entry(&entries[0])? {
            Some(subject) => Some((subject, self.list(kind, &entries[1])?)),
            None => None,
        };
        Ok((found, token))
    }

    async fn read_all(&self, reads: &[Read], level: Level, deadline: Instant) -> Result<BatchAnswer, DecideError> {
        // Most facts are at hand, and need no waiting.
        if let Some(answered) = self.cache.hit_all(reads.iter().map(|read| &*read.key), level) {
            return Ok(answered);
        }
        Ok(self.cache.read_all(reads, level, deadline).await?)
    }

    pub(crate) fn read_of_subject(&self, user_id: &str) -> Result<Read, DecideError> {
        self.read(&self.subject_view, user_id)
    }

    pub(crate) fn read_of_one(&self, resource: &ResourceRef) -> Result<Read, DecideError> {
        self.read(&self.views(resource.kind)?.one, &resource.id)
    }

    pub(crate) fn read_of_all(&self, kind: ResourceType) -> Result<Read, DecideError> {
        Ok(self.views(kind)?.all.clone())
    }

    fn views(&self, kind: ResourceType) -> Result<&Views, DecideError> {
        self.types[kind as usize].as_ref().ok_or(DecideError::NotInThisSchema)
    }

    fn read(&self, view: &str, id: &str) -> Result<Read, DecideError> {
        let path = format!("/v1/views/{view}/{}", utf8_percent_encode(id, NON_ALPHANUMERIC));
        self.router.route(&path).map_err(DecideError::Malformed)
    }

    fn list(&self, kind: ResourceType, entry: &Arc<Entry>) -> Result<Arc<Facts>, DecideError> {
        let place = &self.lists[kind as usize];
        let lock = || place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, facts)) = &*lock()
            && Arc::ptr_eq(known, entry)
        {
            return Ok(Arc::clone(facts));
        }
        let facts = Arc::new(Facts::parse(&entry.body)?);
        *lock() = Some((Arc::clone(entry), Arc::clone(&facts)));
        Ok(facts)
    }
}

fn views(router: &Router, of_type: &AccessType) -> Option<Views> {
    let flavour = router.flavour();
    let path = flavour.view(flavour.view_named(&of_type.list)?).path.as_ref()?;
    Some(Views {
        one: of_type.view.clone(),
        all: router.route(path.as_str()).ok()?,
    })
}

impl Subject {
    /// Reads an entry of a flavour's view of subjects; none where there is no such user.
    pub(crate) fn of_entry(entry: &Entry) -> Result<Option<Self>, DecideError> {
        if !entry.is_found {
            return Ok(None);
        }
        Self::parse(&entry.body).map(Some)
    }
}
