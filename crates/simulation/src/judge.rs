//! Judges every answer by what was visible on the primary, which the model of Postgres knows to the event.
//!
//! Fully consistent: the answer is that of a state that was visible at some moment between the read's beginning and its end;
//! that is linearizability, with the primary itself for a witness. A token: that of a state not before the token's. Bounded: of
//! one that was visible within the bound. A batch: all its answers are those of one such state, the one its token names.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use neverstale_cache::{Level, Source};
use neverstale_flavour::Read;
use neverstale_wire::Token;

use crate::{
    postgres::{Server, State, Visible, body},
    story::Story,
};

/// When something was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    /// The newest state at that moment.
    pub(crate) state: usize,
    /// Simulated time.
    pub(crate) at_ms: u64,
}

/// An answer, of one read or of a batch.
pub(crate) struct Given<'a> {
    /// What was asked.
    pub(crate) reads: &'a [Read],
    /// What was answered, for each.
    pub(crate) bodies: Vec<Option<String>>,
    /// The level that was kept.
    pub(crate) kept: Level,
    /// The token that came with it.
    pub(crate) token: Token,
}

/// Collects verdicts; clones are the same judge.
#[derive(Clone)]
pub(crate) struct Judge {
    server: Server,
    story: Story,
    bound_ms: u64,
    found: Arc<Mutex<Found>>,
}

#[derive(Default)]
struct Found {
    violations: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
}

impl Judge {
    /// A judge who knows the server; `bound_ms` is the staleness that may be asked for, clocks' steering included.
    pub(crate) fn new(server: Server, story: Story, bound_ms: u64) -> Self {
        Self {
            server,
            story,
            bound_ms,
            found: Arc::default(),
        }
    }

    /// Notes the moment.
    pub(crate) fn now(&self) -> Since {
        Since {
            state: self.server.now(),
            at_ms: self.story.now_ms(),
        }
    }

    /// Judges an answer that is given now.
    pub(crate) fn judge(&self, who: &str, since: Since, given: &Given<'_>) {
        let world = self.server.lock();
        let visible = &world.visible;
        let from = match given.kept {
            Level::FullyConsistent | Level::FullyConsistentOrBounded => Some(since.state),
            Level::AtLeastAsFresh(token) => state_of(visible, token),
            Level::MinimizeLatency => Some(state_at(visible, since.at_ms.saturating_sub(self.bound_ms))),
        };
        let shows = |visible: &Visible| {
            given
                .reads
                .iter()
                .zip(&given.bodies)
                .all(|(read, given)| body(&visible.state, read.view, &read.params[0]) == *given)
        };
        let shown = |from: usize| visible[from..].iter().any(shows);
        let wrong = match (from, state_of(visible, given.token)) {
            (_, None) => Some("a token of no state"),
            (None, _) => Some("a level kept for a token of no state"),
            (Some(from), _) if !shown(from) => Some("a state that was not visible then"),
            (_, Some(named)) if !shown(named) => Some("a state from before its token's"),
            (_, Some(named)) if given.reads.len() > 1 && !is_named(&visible[named..], given.token, shows) => {
                Some("several states, or another than its token's")
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            let state = &visible[since.state];
            let then = expected(&state.state, given.reads);
            let now = expected(&world.snapshot(), given.reads);
            let text = format!(
                "{who} was given {:?} at {}, asked at {} ms: {wrong}; visible when it was asked {then:?}, now {now:?}",
                given.bodies,
                given.kept.name(),
                since.at_ms,
            );
            drop(world);
            self.violation(&text);
        }
    }

    /// Notes that a promise was broken.
    pub(crate) fn violation(&self, text: &str) {
        self.story.tell("VIOLATION", text);
        self.lock()
            .violations
            .push(format!("{} ms: {text}", self.story.now_ms()));
    }

    /// Counts something that happened.
    pub(crate) fn count(&self, what: &'static str) {
        *self.lock().counts.entry(what).or_default() += 1;
    }

    /// Gives what was found: violations, and how often what happened.
    pub(crate) fn found(&self) -> (Vec<String>, BTreeMap<&'static str, u64>) {
        let found = self.lock();
        (found.violations.clone(), found.counts.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().expect("nobody panics while judging")
    }
}

/// The first state of a token's incarnation at or after its position.
fn state_of(visible: &[Visible], token: Token) -> Option<usize> {
    let is_reached = |visible: &Visible| {
        visible.incarnation == Some(token.incarnation) && visible.state.newest() >= token.position.0
    };
    visible.iter().position(is_reached)
}

/// The state that was visible at a time.
fn state_at(visible: &[Visible], at_ms: u64) -> usize {
    // Of several at the same time the first: it was visible then, too.
    visible.iter().rposition(|visible| visible.at_ms < at_ms).unwrap_or(0)
}

/// Whether a state with exactly the token's position shows what was given.
fn is_named(visible: &[Visible], token: Token, shows: impl Fn(&Visible) -> bool) -> bool {
    visible
        .iter()
        .any(|visible| visible.state.newest() == token.position.0 && shows(visible))
}

fn expected(state: &State, reads: &[Read]) -> Vec<Option<String>> {
    reads
        .iter()
        .map(|read| body(state, read.view, &read.params[0]))
        .collect()
}

/// The word for where an answer came from.
pub(crate) fn source_name(source: Source) -> &'static str {
    match source {
        Source::L1 => "l1",
        Source::L2 => "l2",
        Source::Fill => "fill",
        Source::Join => "join",
        Source::Bypass => "bypass",
    }
}

/// A body for the story.
pub(crate) struct Shown<'a>(pub &'a Option<String>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("nothing"))
    }
}
