//! Every task has a name, an owner, a way to end, and someone who notices if it ends early.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use crate::readiness::Readiness;

/// The tasks of this process.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: CancellationToken,
    readiness: Readiness,
    running: Arc<Mutex<BTreeSet<&'static str>>>,
    failed: Arc<Mutex<BTreeMap<&'static str, String>>>,
    on_failure: OnFailure,
    #[cfg(feature = "simulation")]
    gate: crate::simulated::Gate,
}

#[derive(Clone)]
struct OnFailure(Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for OnFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnFailure")
    }
}

/// How the end of all tasks went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// All ended by themselves.
    InTime,
    /// These were still running when the grace period was over.
    Late(Vec<&'static str>),
}

impl Tasks {
    /// Starts without any; `on_failure` is called for each task that panics or ends early (a metric).
    pub fn new(readiness: Readiness, on_failure: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            tracker: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            readiness,
            running: Arc::default(),
            failed: Arc::default(),
            on_failure: OnFailure(Arc::new(on_failure)),
            #[cfg(feature = "simulation")]
            gate: crate::simulated::Gate::default(),
        }
    }

    /// Gives the gate through which all tasks pass, to hold them up or to end them as a kill does.
    #[cfg(feature = "simulation")]
    pub fn gate(&self) -> &crate::simulated::Gate {
        &self.gate
    }

    /// Runs a task that should last until shutdown. If it panics or ends before, that is logged, counted and stands in
    /// the way of readiness and liveness under the task's name; it is not started again, because what it left behind is unknown.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.clone();
        lock(&self.running).insert(name);
        let span = tracing::info_span!("task", name);
        let watched = async move {
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            lock(&tasks.running).remove(name);
            if ended.is_err() || !tasks.shutdown.is_cancelled() {
                let how = if ended.is_err() { "panicked" } else { "ended early" };
                tracing::error!(task = name, "a task {how}; restart the process");
                let reason = format!("task {name} {how}; restart the process");
                lock(&tasks.failed).insert(name, reason.clone());
                tasks.readiness.set(name, Some(reason));
                (tasks.on_failure.0)();
            }
        };
        self.track(watched.instrument(span));
    }

    /// Runs a task that may end whenever it is done, such as one connection; only its panic is noticed.
    pub fn spawn_brief(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let on_failure = self.on_failure.clone();
        self.track(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!(task = name, "a task panicked");
                (on_failure.0)();
            }
        });
    }

    /// Lists what has ended that never should, by the name of the task: nothing but a restart brings it back, so the process
    /// is not live any more.
    pub fn failures(&self) -> Vec<(&'static str, String)> {
        let failed = lock(&self.failed);
        failed.iter().map(|(name, reason)| (*name, reason.clone())).collect()
    }

    fn track(&self, task: impl Future<Output = ()> + Send + 'static) {
        #[cfg(feature = "simulation")]
        let task = self.gate.through(task);
        self.tracker.spawn(task);
    }

    /// Gives the token that is cancelled when all should end.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Tells all to end and waits for it, at most for `grace`.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses only the report; the tasks stay told.
    pub async fn join(&self, grace: Duration) -> Joined {
        self.shutdown.cancel();
        self.tracker.close();
        if tokio::time::timeout(grace, self.tracker.wait()).await.is_ok() {
            return Joined::InTime;
        }
        Joined::Late(lock(&self.running).iter().copied().collect())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn tasks() -> (Tasks, Readiness, Arc<AtomicU32>) {
        let (readiness, failures) = (Readiness::new("start", "starting"), Arc::new(AtomicU32::new(0)));
        readiness.set("start", None);
        let counted = Arc::clone(&failures);
        let tasks = Tasks::new(readiness.clone(), move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        (tasks, readiness, failures)
    }

    #[tokio::test]
    async fn a_task_that_panics_or_ends_early_stands_in_the_way_of_readiness_and_liveness() {
        let (tasks, readiness, failures) = tasks();
        tasks.spawn("early", async {});
        tasks.spawn("panicking", async { panic!("on purpose") });
        while failures.load(Ordering::Relaxed) < 2 || readiness.reasons().len() < 2 {
            tokio::task::yield_now().await;
        }
        let names: Vec<_> = readiness.reasons().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["early", "panicking"]);
        assert_eq!(tasks.failures(), readiness.reasons());
    }

    #[tokio::test]
    async fn tasks_end_when_told_and_nobody_complains() {
        let (tasks, readiness, failures) = tasks();
        let shutdown = tasks.shutdown();
        tasks.spawn("waiting", async move { shutdown.cancelled().await });
        assert_eq!(tasks.join(Duration::from_secs(5)).await, Joined::InTime);
        assert!(readiness.is_ready() && tasks.failures().is_empty());
        assert_eq!(failures.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_end_in_time_is_named() {
        let (tasks, ..) = tasks();
        tasks.spawn("stubborn", std::future::pending());
        assert_eq!(tasks.join(Duration::from_secs(5)).await, Joined::Late(vec!["stubborn"]));
    }
}
