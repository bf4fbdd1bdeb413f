//! The judgement: what becomes of a request, by its route, its caller, and what it names.
//!
//! What can be judged by the head is judged by the head, so that nobody sends a gigabyte to be refused; what the body names is judged
//! once the body is there. Each judgement rests on one position, not older than any commit before the request began. Whoever can't
//! be judged is refused, except where nothing is asked.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, header, request};
use neverstale_cache::{Cache, Level};
use neverstale_flavour::Router;
use neverstale_identity::Caller;
use neverstale_rbac::{DecideError, Decider, Decision};
use neverstale_telemetry::{DoorOutcome, Metrics};
use neverstale_wire::{Problem, ProblemKind, Token};
use tokio::time::Instant;

use crate::guard::{
    BodyRule, Refusal, Verdict,
    answers::{Reason, UNDECIDED},
    ask::{self, Asked, Named},
    audit::{Case, Mode},
    body::Found,
    list::ListFilter,
    people::{People, Whom},
    routes::{Route, Routes, Taken},
    rule::{Allow, Check, Rule, Task},
    settings::GuardSettings,
};

/// Everything that it takes to judge.
pub struct GuardParts<'s> {
    /// The rules.
    pub routes: Routes,
    /// Answers reads.
    pub cache: Arc<Cache>,
    /// Finds the views.
    pub router: Arc<Router>,
    /// Decides.
    pub decider: Arc<Decider>,
    /// The section `ingress.guard`.
    pub settings: &'s GuardSettings,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

/// Judges requests by the rules of their routes.
pub(crate) struct Judge {
    pub(crate) routes: Routes,
    pub(crate) decider: Arc<Decider>,
    pub(crate) mode: Mode,
    people: People,
    unknown_routes_allowed: bool,
    autocompletion_off: bool,
    pub(crate) title_model: Option<String>,
    pub(crate) metrics: Arc<Metrics>,
}

/// What was decided, and on what state it rests.
struct Judged {
    reason: Option<Reason>,
    /// What was denied, for the log.
    denied: Option<String>,
    token: Option<Token>,
}

impl Judge {
    /// Puts the parts together.
    pub(crate) fn new(parts: GuardParts<'_>) -> Self {
        let settings = parts.settings;
        Self {
            people: People {
                cache: parts.cache,
                router: parts.router,
                rules: parts.decider.rules().clone(),
            },
            routes: parts.routes,
            decider: parts.decider,
            mode: Mode::named(&settings.mode),
            unknown_routes_allowed: settings.unknown_routes_allowed,
            autocompletion_off: settings.autocompletion_off,
            title_model: Some(settings.title_model.clone()).filter(|model| !model.is_empty()),
            metrics: parts.metrics,
        }
    }

    /// Judges a request by its head; `path` is decoded, as the application will see it.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub(crate) async fn judge(
        &self,
        caller: Option<&Caller>,
        head: &request::Parts,
        path: &str,
        deadline: Instant,
    ) -> Verdict {
        let route = match self.take(head, path) {
            Taken::Route(route) => route,
            // A browser asks with OPTIONS what it may ask; nothing is done by it.
            Taken::UnknownAndGuarded if !self.unknown_routes_allowed && head.method != Method::OPTIONS => {
                let judged = self.role(caller, Allow::Admins, deadline).await;
                return self.conclude(caller, UNKNOWN_ROUTE, judged, Verdict::Pass);
            }
            Taken::UnknownAndGuarded | Taken::Unknown => return Verdict::Pass,
        };
        match &route.rule {
            Rule::Open | Rule::Application => Verdict::Pass,
            Rule::Allow(allow) => {
                let judged = self.role(caller, *allow, deadline).await;
                self.conclude(caller, &route.on, judged, Verdict::Pass)
            }
            Rule::List(list) => {
                let judged = self.role(caller, Allow::SignedIn, deadline).await;
                if caller.is_none() || judged.reason.is_some() {
                    return self.conclude(caller, &route.on, judged, Verdict::Pass);
                }
                match ListFilter::new(list, head) {
                    Ok(filter) if self.mode == Mode::Enforce => Verdict::Filter(filter),
                    Ok(_) => Verdict::Pass,
                    Err(_) => self.conclude(caller, &route.on, Judged::refused(Reason::Unclear), Verdict::Pass),
                }
            }
            Rule::Check(checks) => self.judge_checks(caller, head, path, route, checks, deadline).await,
        }
    }

    /// Judges a request again, now by what its body names too.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub(crate) async fn judge_body(
        &self,
        caller: Option<&Caller>,
        head: &request::Parts,
        path: &str,
        body: &Bytes,
        deadline: Instant,
    ) -> Verdict {
        let mut body = body.clone();
        let mut passed = Verdict::Pass;
        if let (Taken::Route(route), Some(caller)) = (self.take(head, path), caller)
            && let Some(task @ (Task::Title | Task::Chat)) = route.task
            && self.mode == Mode::Enforce
        {
            match self.with_title(task, caller, &body, deadline).await {
                Ok(Verdict::PassWith(rewritten)) => {
                    body = rewritten.clone();
                    passed = Verdict::PassWith(rewritten);
                }
                Ok(Verdict::Pass) => {}
                Ok(answer) => return answer,
                Err(reason) => return self.conclude(Some(caller), &route.on, Judged::refused(reason), Verdict::Pass),
            }
        }
        match self.judge_unchanged(caller, head, path, &body, deadline).await {
            Verdict::Pass => passed,
            judged => judged,
        }
    }

    /// Judges a request as [`Judge::judge_body`] does, but by the body as it is: no other one can be passed on.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub(crate) async fn judge_unchanged(
        &self,
        caller: Option<&Caller>,
        head: &request::Parts,
        path: &str,
        body: &Bytes,
        deadline: Instant,
    ) -> Verdict {
        let Taken::Route(route) = self.take(head, path) else {
            return Verdict::Pass;
        };
        let (Rule::Check(_), Some(caller)) = (&route.rule, caller) else {
            return self.conclude(caller, &route.on, Judged::refused(Reason::Anonymous), Verdict::Pass);
        };
        let judged = self.body_checks(caller, head, path, route, body, deadline).await;
        self.conclude(Some(caller), &route.on, judged, Verdict::Pass)
    }

    /// Says whether a caller is a super admin, as of now.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub(crate) async fn sees_all(&self, caller: Option<&Caller>, deadline: Instant) -> Result<bool, Refusal> {
        match self.role(caller, Allow::SuperAdmins, deadline).await.reason {
            None => Ok(true),
            Some(Reason::Undecided) => Err(undecided()),
            Some(_) => Ok(false),
        }
    }

    async fn body_checks(
        &self,
        caller: &Caller,
        head: &request::Parts,
        path: &str,
        route: &Route,
        body: &Bytes,
        deadline: Instant,
    ) -> Judged {
        let Rule::Check(checks) = &route.rule else {
            return Judged::refused(Reason::Unclear);
        };
        match ask::places(checks).unwrap_or_default().find(body) {
            Ok(found) => {
                let named = Named::of(path, head, &found);
                self.checks(caller, route, checks.iter().enumerate(), &named, deadline)
                    .await
            }
            Err(_) => Judged::refused(Reason::Unclear),
        }
    }

    /// Says whether nothing is refused.
    pub(crate) fn observes(&self) -> bool {
        self.mode == Mode::Observe
    }

    /// Counts a request that can't be judged, and writes it to the log.
    pub(crate) fn write_down_unjudged(&self, caller: Option<&Caller>, head: &request::Parts, path: &str) {
        let on = match self.take(head, path) {
            Taken::Route(route) => &route.on,
            Taken::UnknownAndGuarded | Taken::Unknown => UNKNOWN_ROUTE,
        };
        let case = Case {
            caller,
            on,
            reason: Reason::Undecided,
            denied: None,
            token: None,
        };
        case.record(self.mode, &self.metrics);
    }

    async fn judge_checks(
        &self,
        caller: Option<&Caller>,
        head: &request::Parts,
        path: &str,
        route: &Route,
        checks: &[Check],
        deadline: Instant,
    ) -> Verdict {
        let by_role = self.role(caller, Allow::SignedIn, deadline).await;
        let (Some(caller), None) = (caller, by_role.reason) else {
            return self.conclude(caller, &route.on, by_role, Verdict::Pass);
        };
        if route.task == Some(Task::Autocompletion) && self.autocompletion_off && self.mode == Mode::Enforce {
            self.metrics.ingress_decisions_total[DoorOutcome::Answered].inc();
            return Verdict::Answer(self.routes.answers.autocompletion_off.response());
        }
        let needs_body = ask::places(checks).is_some() || matches!(route.task, Some(Task::Title | Task::Chat));
        let in_head = |check: &&Check| check.sources().all(|source| source.pointer().is_none());
        let heads = checks.iter().enumerate().filter(|(_, check)| in_head(check));
        let nothing = Found::new();
        let named = Named::of(path, head, &nothing);
        let judged = self.checks(caller, route, heads, &named, deadline).await;
        if judged.reason.is_some() && self.mode == Mode::Enforce || !needs_body {
            return self.conclude(Some(caller), &route.on, judged, Verdict::Pass);
        }
        Verdict::NeedsBody(BodyRule {})
    }

    async fn checks<'c>(
        &self,
        caller: &Caller,
        route: &Route,
        checks: impl Iterator<Item = (usize, &'c Check)>,
        named: &Named<'_>,
        deadline: Instant,
    ) -> Judged {
        let Ok(asked) = ask::collect(checks, route, named) else {
            return Judged::refused(Reason::Unclear);
        };
        let mut judged = match self.about(caller, &asked, deadline).await {
            Ok(judged) => judged,
            Err(error) => return Judged::failed(&error),
        };
        if judged.reason.is_none() && !asked.whom.is_empty() {
            judged = self.whom(caller, &asked.whom, deadline).await;
        }
        judged
    }

    async fn about(&self, caller: &Caller, asked: &Asked, deadline: Instant) -> Result<Judged, DecideError> {
        let questions: Vec<_> = asked.about.iter().flat_map(ask::Ask::questions).collect();
        if questions.is_empty() {
            return Ok(Judged::allowed(None));
        }
        let level = Level::FullyConsistent;
        let decided = self
            .decider
            .decide_many(&caller.user_id, &questions, level, deadline)
            .await?;
        let mut decisions = decided.decisions.iter();
        // Every question takes its answers, also those after the first that is denied.
        let denied = asked.about.iter().map(|ask| (ask, ask.is_allowed(&mut decisions)));
        let denied = denied
            .filter(|(_, is_allowed)| !is_allowed)
            .map(|(ask, _)| ask)
            .collect::<Vec<_>>();
        Ok(match denied.first() {
            None => Judged::allowed(Some(decided.token)),
            Some(ask) => Judged {
                reason: Some(if ask.action == neverstale_rbac::Action::Execute {
                    Reason::ForbiddenToExecute
                } else {
                    Reason::Forbidden
                }),
                denied: Some(format!("{} {}", ask.action, ask.resource)),
                token: Some(decided.token),
            },
        })
    }

    async fn whom(&self, caller: &Caller, whom: &[Whom], deadline: Instant) -> Judged {
        match self.people.may_administer(&caller.user_id, whom, deadline).await {
            Ok((judged, token)) => {
                let denied = whom.iter().zip(judged).find(|(_, may)| !may);
                Judged {
                    reason: denied.is_some().then_some(Reason::Forbidden),
                    denied: denied.map(|(whom, _)| format!("administer {whom}")),
                    token: Some(token),
                }
            }
            Err(error) => Judged::failed(&error),
        }
    }

    async fn role(&self, caller: Option<&Caller>, allow: Allow, deadline: Instant) -> Judged {
        let Some(caller) = caller else {
            return Judged::refused(Reason::Anonymous);
        };
        let rules = self.decider.rules();
        let is_enough = match allow {
            Allow::SignedIn => rules.roles.contains(&caller.role),
            Allow::Admins => caller.role == rules.admin_role,
            Allow::SuperAdmins => return self.whom(caller, &[Whom::All], deadline).await,
        };
        if is_enough {
            Judged::allowed(None)
        } else {
            Judged::refused(Reason::Forbidden)
        }
    }

    /// Counts, writes to the log what is refused, and refuses unless this only observes.
    fn conclude(&self, caller: Option<&Caller>, on: &str, judged: Judged, passed: Verdict) -> Verdict {
        let Some(reason) = judged.reason else {
            self.metrics.ingress_decisions_total[DoorOutcome::Allowed].inc();
            return passed;
        };
        let case = Case {
            caller,
            on,
            reason,
            denied: judged.denied.as_deref(),
            token: judged.token,
        };
        case.record(self.mode, &self.metrics);
        match self.mode {
            Mode::Enforce => Verdict::Refuse(self.routes.answers.refusal(reason)),
            Mode::Observe => passed,
        }
    }

    fn take(&self, head: &request::Parts, path: &str) -> Taken<'_> {
        self.routes
            .take(&head.method, head.headers.contains_key(header::UPGRADE), path)
    }
}

impl Judged {
    fn allowed(token: Option<Token>) -> Self {
        Self {
            reason: None,
            denied: None,
            token,
        }
    }

    fn refused(reason: Reason) -> Self {
        Self {
            reason: Some(reason),
            denied: None,
            token: None,
        }
    }

    fn failed(error: &DecideError) -> Self {
        Self::refused(reason_for(error))
    }
}

/// What can't be an id is nothing that anybody could have a right to; anything else is for later.
pub(crate) fn reason_for(error: &DecideError) -> Reason {
    match error {
        DecideError::Malformed(_) | DecideError::NotInThisSchema => Reason::Forbidden,
        DecideError::Facts(_) | DecideError::Unreadable => {
            tracing::warn!(%error, "a request can't be judged");
            Reason::Undecided
        }
    }
}

/// Whether a right is given, as the first of the answers to one question.
pub(crate) fn is_first_allowed(decisions: &[Decision]) -> bool {
    decisions.first().is_some_and(|decision| decision.allowed)
}

/// The refusal of what can't be decided.
pub(crate) fn undecided() -> Refusal {
    Refusal::problem(&Problem::new(ProblemKind::Unavailable, UNDECIDED))
}

/// How the log names a route that no rule speaks of.
const UNKNOWN_ROUTE: &str = "unknown";
