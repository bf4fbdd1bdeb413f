//! The story: one change after the other, each by plain SQL, each looked for on every sidecar the moment it is acknowledged.
//!
//! Before a change every sidecar is asked too, so that the old answer is in its memory when the new one becomes true.

mod chapters;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use neverstale_testkit::Client;
use tokio::task::JoinHandle;

use self::chapters::{Change, Look, chapters};
use super::stage::Stage;

const PAUSE: Duration = Duration::from_millis(150);

/// What one change was like.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// Since the story began.
    pub(crate) at: Duration,
    /// What changed.
    pub(crate) title: String,
    /// How long the commit took, the wait of the lease included.
    pub(crate) commit: Duration,
    /// For each sidecar: how long after the acknowledgement the new answer was there, or what was answered instead.
    pub(crate) seen: Vec<Result<Duration, String>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopping: AtomicBool,
    rounds: AtomicU64,
    told: AtomicU64,
    stale: AtomicU64,
    failed: AtomicU64,
    news: Mutex<Vec<Told>>,
    complaints: Mutex<Vec<String>>,
}

/// The running story.
pub(crate) struct Story {
    shared: Arc<Shared>,
    teller: Mutex<Option<JoinHandle<()>>>,
}

impl Story {
    /// Starts telling; it begins anew whenever it ends.
    pub(crate) fn start(stage: &Arc<Stage>) -> Self {
        let shared = Arc::new(Shared::default());
        let teller = tokio::spawn(tell(Arc::clone(stage), Arc::clone(&shared)));
        Self {
            shared,
            teller: Mutex::new(Some(teller)),
        }
    }

    /// How often the whole story was told.
    pub(crate) fn rounds(&self) -> u64 {
        self.shared.rounds.load(Ordering::Relaxed)
    }

    /// How many changes were made.
    pub(crate) fn told(&self) -> u64 {
        self.shared.told.load(Ordering::Relaxed)
    }

    /// How many answers after an acknowledgement were old.
    pub(crate) fn stale(&self) -> u64 {
        self.shared.stale.load(Ordering::Relaxed)
    }

    /// How many changes or looks failed.
    pub(crate) fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// What was told since the last call.
    pub(crate) fn news(&self) -> Vec<Told> {
        std::mem::take(&mut self.shared.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What failed since the last call.
    pub(crate) fn complaints(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.complaints.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends after the current change.
    pub(crate) async fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let teller = self.teller.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(teller) = teller
            && teller.await.is_err()
        {
            self.shared.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn tell(stage: Arc<Stage>, shared: Arc<Shared>) {
    let began = Instant::now();
    let mut audience: Vec<Seat> = stage
        .clients()
        .into_iter()
        .zip(stage.trusted_clients())
        .map(|(open, trusted)| Seat { open, trusted })
        .collect();
    for round in 1.. {
        for change in chapters(stage.users, round) {
            if shared.stopping.load(Ordering::Relaxed) {
                return;
            }
            match make(&stage, &mut audience, &change).await {
                Ok((commit, seen)) => {
                    let stale = seen.iter().filter(|seen| seen.is_err()).count();
                    shared.stale.fetch_add(stale as u64, Ordering::Relaxed);
                    shared.told.fetch_add(1, Ordering::Relaxed);
                    let told = Told {
                        at: began.elapsed(),
                        title: change.title,
                        commit,
                        seen,
                    };
                    shared.news.lock().unwrap_or_else(PoisonError::into_inner).push(told);
                }
                Err(error) => {
                    shared.failed.fetch_add(1, Ordering::Relaxed);
                    let complaint = format!("failed: {}: {error:#}", change.title);
                    shared
                        .complaints
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(complaint);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        shared.rounds.fetch_add(1, Ordering::Relaxed);
    }
}

/// One sidecar's clients.
struct Seat {
    open: Client,
    trusted: Client,
}

type Seen = Vec<Result<Duration, String>>;

async fn make(stage: &Stage, audience: &mut [Seat], change: &Change) -> Result<(Duration, Seen)> {
    for look in &change.looks {
        for observed in look_everywhere(audience, look).await {
            let (observed, _) = observed?;
            ensure!(observed != look.expected, "{} was {observed} already", look.path);
        }
    }
    // A writer of his own each time, as people have: psql, a data-editing interface, a migration.
    let writer = stage.database.connect().await?;
    let begun = Instant::now();
    if let Some((register, value)) = &change.register {
        stage.ledger.begin(register, value);
    }
    writer
        .batch_execute(&change.sql)
        .await
        .with_context(|| format!("write `{}`", change.sql))?;
    let acknowledged = Instant::now();
    if let Some((register, _)) = &change.register {
        stage.ledger.acknowledge(register);
    }
    let mut seen: Seen = audience.iter().map(|_| Ok(Duration::ZERO)).collect();
    for look in &change.looks {
        for (seen, observed) in seen.iter_mut().zip(look_everywhere(audience, look).await) {
            let (observed, at) = observed?;
            if observed == look.expected {
                *seen = seen.clone().map(|before: Duration| before.max(at - acknowledged));
            } else {
                *seen = Err(format!("{} is {observed}, not {}", look.path, look.expected));
            }
        }
    }
    Ok((acknowledged - begun, seen))
}

/// Asks every sidecar at once.
async fn look_everywhere(audience: &mut [Seat], look: &Look) -> Vec<Result<(String, Instant)>> {
    let asking = audience.iter_mut().map(|seat| async {
        let client = if look.is_secret {
            &mut seat.trusted
        } else {
            &mut seat.open
        };
        let answer = match &look.body {
            Some(body) => client.post(&look.path, body).await,
            None => client.get(&look.path).await,
        };
        let answer = answer.with_context(|| format!("ask for {}", look.path))?;
        ensure!(
            answer.status < 500,
            "{}: {} {}",
            look.path,
            answer.status,
            answer.text()
        );
        Ok(((look.observe)(&answer)?, Instant::now()))
    });
    join_all(asking).await
}

/// Drives a few futures together; they borrow, so they cannot be tasks.
async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut is_done = true;
        for (future, output) in &mut running {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(ready) => *output = Some(ready),
                    std::task::Poll::Pending => is_done = false,
                }
            }
        }
        if is_done {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}
