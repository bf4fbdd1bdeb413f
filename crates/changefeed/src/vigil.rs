//! Whether the primary answers: notices a question that stays without an answer, long before it is given up.
//!
//! A primary that hangs closes no connection, so that a read could only wait out its deadline. Once a question has been
//! open for too long, whoever waits is refused at once, and so is whoever comes, until an answer arrives (P4, F10). Nobody is
//! answered by it: what may be answered is decided elsewhere. How long is too long follows what answers took of late, so
//! that a slow primary is waited for and only a silent one is not.

use std::{
    convert::Infallible,
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use neverstale_lifecycle::Readiness;
use neverstale_postgres::PostgresError;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::FeedError;

/// For how long, at least, a slow answer is remembered; it is forgotten after at most twice as long.
const MEMORY: Duration = Duration::from_secs(30);

/// Watches over the questions of the feed's task.
pub(crate) struct Vigil {
    /// How long a question may always be open.
    patience: Duration,
    /// How long it may be open where answers have been slow.
    patience_max: Duration,
    pace: Mutex<Pace>,
    silence: watch::Sender<Option<FeedError>>,
}

/// What is open, and what answers took.
struct Pace {
    /// When the oldest question was asked of those since the last answer.
    open_since: Option<Instant>,
    /// The slowest answer of the present span and of the one before.
    slowest: [Duration; 2],
    span_began: Instant,
}

impl Vigil {
    pub(crate) fn new(patience: Duration, patience_max: Duration) -> Self {
        let pace = Pace {
            open_since: None,
            slowest: [Duration::ZERO; 2],
            span_began: Instant::now(),
        };
        Self {
            patience,
            patience_max: patience.max(patience_max),
            pace: Mutex::new(pace),
            silence: watch::Sender::new(None),
        }
    }

    /// Watches over one question. An error of the server is an answer too; a lost connection, or giving up, is none.
    pub(crate) async fn over<T>(
        &self,
        question: impl Future<Output = Result<T, PostgresError>>,
    ) -> Result<T, PostgresError> {
        self.asked();
        let answer = question.await;
        if answer.as_ref().err().is_none_or(|error| !error.is_disconnect()) {
            self.answered();
        }
        answer
    }

    /// Notes that a question is open.
    pub(crate) fn asked(&self) {
        self.pace().open_since.get_or_insert_with(Instant::now);
    }

    /// Notes an answer, and ends a silence.
    pub(crate) fn answered(&self) {
        self.pace().answered();
        if self.silence.borrow().is_some() {
            self.silence.send_replace(None);
        }
    }

    /// Notes an answer that is followed by a question at once.
    pub(crate) fn goes_on(&self) {
        self.answered();
        self.asked();
    }

    /// Refuses everybody from now on until the next answer.
    pub(crate) fn refuse(&self, error: FeedError) {
        self.silence.send_replace(Some(error));
    }

    /// Says why nobody should wait for the primary now, if so.
    pub(crate) fn silence(&self) -> Option<FeedError> {
        self.silence.borrow().clone()
    }

    /// Waits until there is a reason not to wait for the primary. Dropping it loses nothing.
    pub(crate) async fn silent(&self) -> FeedError {
        let mut silence = self.silence.subscribe();
        match silence.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(error)) => error.clone(),
            // The sender lives as long as `self`.
            _ => FeedError::Ended,
        }
    }

    /// Looks, now and then, whether a question has been open for too long.
    pub(crate) async fn watch(self: Arc<Self>, readiness: Readiness) -> Infallible {
        loop {
            let (open, patience) = self.open();
            if open >= patience && self.silence().is_none() {
                let error = FeedError::Silent(patience);
                readiness.set("database", Some(error.to_string()));
                self.refuse(error);
            }
            let left = patience.saturating_sub(open);
            sleep(left.clamp(Duration::from_millis(1), self.patience / 4)).await;
        }
    }

    /// How long a question has been open, and how long it may.
    fn open(&self) -> (Duration, Duration) {
        let pace = self.pace();
        let open = pace.open_since.map_or(Duration::ZERO, |since| since.elapsed());
        let slowest = pace.slowest[0].max(pace.slowest[1]);
        (open, (slowest * 2).clamp(self.patience, self.patience_max))
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().expect("nobody panics while holding the pace")
    }
}

impl Pace {
    fn answered(&mut self) {
        let Some(since) = self.open_since.take() else { return };
        if self.span_began.elapsed() > MEMORY {
            self.span_began = Instant::now();
            self.slowest = [Duration::ZERO, self.slowest[0]];
        }
        self.slowest[0] = self.slowest[0].max(since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(400);

    fn vigil() -> (Arc<Vigil>, Readiness) {
        let readiness = Readiness::new("test", "the test has not begun");
        readiness.set("test", None);
        (Arc::new(Vigil::new(PATIENCE, PATIENCE * 5)), readiness)
    }

    /// Lets time pass while the vigil is kept.
    async fn keep(vigil: &Arc<Vigil>, readiness: &Readiness, time: Duration) {
        tokio::select! {
            never = Arc::clone(vigil).watch(readiness.clone()) => match never {},
            () = sleep(time) => {}
        }
    }

    async fn answer_after(time: Duration) -> Result<(), PostgresError> {
        sleep(time).await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_refused_once_a_question_is_open_for_too_long_and_until_an_answer() {
        let (vigil, readiness) = vigil();
        keep(&vigil, &readiness, Duration::from_secs(60)).await;
        assert!(vigil.silence().is_none(), "nothing was asked");
        vigil.asked();
        keep(&vigil, &readiness, PATIENCE * 9 / 10).await;
        assert!(vigil.silence().is_none(), "too early");
        keep(&vigil, &readiness, PATIENCE / 5).await;
        assert!(matches!(vigil.silent().await, FeedError::Silent(_)));
        assert!(!readiness.is_ready());
        vigil.answered();
        assert!(vigil.silence().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_was_lost_and_asked_again_is_open_since_the_first_time() {
        let (vigil, readiness) = vigil();
        for _ in 0..3 {
            let lost = tokio::time::timeout(PATIENCE / 2, vigil.over(pending::<Result<(), PostgresError>>()));
            tokio::select! {
                never = Arc::clone(&vigil).watch(readiness.clone()) => match never {},
                lost = lost => assert!(lost.is_err()),
            }
        }
        assert!(vigil.silence().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_primary_is_refused_at_most_once_and_then_waited_for() {
        let (vigil, readiness) = vigil();
        let mut refused = 0;
        for _ in 0..20 {
            tokio::select! {
                never = Arc::clone(&vigil).watch(readiness.clone()) => match never {},
                _ = vigil.silent() => refused += 1,
                _ = vigil.over(answer_after(PATIENCE * 2)) => {}
            }
            // Refused readers are gone; the answer comes all the same.
            sleep(PATIENCE).await;
            vigil.answered();
        }
        assert_eq!(refused, 1);
        // And forgotten again.
        for _ in 0..3 {
            sleep(MEMORY).await;
            vigil.over(answer_after(Duration::from_millis(1))).await.unwrap();
        }
        assert_eq!(vigil.open().1, PATIENCE);
    }
}
