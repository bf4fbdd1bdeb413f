//! Looks over all connections now and then: closes the silent ones, and drains them all at the end.
//!
//! In the place of timers per connection or request. It is exact to a second, which is enough for limits that exist so that
//! nothing is held for ever.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use neverstale_lifecycle::CancellationToken;
use tokio::time::{Instant, sleep};

use crate::{
    Limits,
    activity::{Activity, Told},
};

const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY_WHILE_DRAINING: Duration = Duration::from_millis(20);
/// A connection that was told to drain for idleness and has not ended after this time is closed: its caller does not read.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// All connections of a listener.
pub(crate) struct Watch {
    limits: Limits,
    watched: Mutex<Vec<Watched>>,
}

struct Watched {
    activity: Weak<Activity>,
    requests: u64,
    /// How far answers had come that only the caller holds up.
    owed_since: Option<u64>,
    /// When it was last seen to do something.
    active_at: Instant,
}

impl Watch {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            watched: Mutex::default(),
        }
    }

    /// Begins to watch a new connection, which lives as long as the result.
    pub(crate) fn admit(&self) -> Arc<Activity> {
        let activity = Arc::new(Activity::default());
        let mut watched = self.lock();
        if watched.len() == watched.capacity() {
            // Before it grows, those are forgotten that have ended since the last look.
            watched.retain(|one| one.activity.strong_count() > 0);
        }
        watched.push(Watched {
            activity: Arc::downgrade(&activity),
            requests: 0,
            owed_since: None,
            active_at: Instant::now(),
        });
        activity
    }

    /// Watches until one of the two says that it is over.
    pub(crate) async fn run_until(&self, drain: CancellationToken, shutdown: &CancellationToken) {
        loop {
            tokio::select! {
                biased; // The end comes first.
                () = drain.cancelled() => return,
                () = shutdown.cancelled() => return,
                () = sleep(LOOK_EVERY) => { self.look(None); }
            }
        }
    }

    /// Lets all connections end; returns when none is open any more.
    pub(crate) async fn drain(&self) {
        let since = Instant::now();
        while self.look(Some(since)) > 0 {
            sleep(LOOK_EVERY_WHILE_DRAINING).await;
        }
    }

    /// Looks at each connection and tells it what is due; gives how many are open.
    fn look(&self, draining_since: Option<Instant>) -> usize {
        let now = Instant::now();
        let mut watched = self.lock();
        watched.retain_mut(|one| {
            let Some(activity) = one.activity.upgrade() else {
                return false;
            };
            let requests = activity.requests();
            let owed_since = activity.owed_since();
            let is_stuck = owed_since.is_some() && owed_since == one.owed_since;
            one.owed_since = owed_since;
            if (activity.is_busy() && !is_stuck) || requests != one.requests {
                one.requests = requests;
                one.active_at = now;
            }
            let silence = now.duration_since(one.active_at);
            activity.tell(self.due(requests, silence));
            if let Some(since) = draining_since {
                let is_quiet = silence.min(now.duration_since(since)) >= self.limits.drain_quiet && !activity.is_busy();
                if is_quiet || activity.is_http2() {
                    activity.tell(Told::Drain);
                }
            }
            true
        });
        watched.len()
    }

    fn due(&self, requests: u64, silence: Duration) -> Told {
        let Limits {
            first_request, idle, ..
        } = self.limits;
        if (requests == 0 && silence >= first_request) || silence >= idle + DRAIN_MAX {
            Told::Close
        } else if silence >= idle {
            Told::Drain
        } else {
            Told::Nothing
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch() -> Watch {
        Watch::new(Limits {
            connections_max: 9,
            first_request: 2 * SECOND,
            idle: 5 * SECOND,
            drain_quiet: SECOND,
        })
    }

    fn told(activity: &Activity) -> Told {
        activity.told(std::task::Waker::noop())
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_connection_and_work_does_not() {
        let watch = watch();
        let (silent, idle, busy) = (watch.admit(), watch.admit(), watch.admit());
        idle.began(Version::HTTP_11);
        busy.began(Version::HTTP_11);
        let _in_flight = busy.in_flight();
        watch.look(None);
        for (seconds, expected) in [
            (2, [Told::Close, Told::Nothing, Told::Nothing]),
            (3, [Told::Close, Told::Drain, Told::Nothing]),
            (10, [Told::Close, Told::Close, Told::Nothing]),
        ] {
            tokio::time::advance(seconds * SECOND).await;
            assert_eq!(watch.look(None), 3);
            assert_eq!([told(&silent), told(&idle), told(&busy)], expected);
        }
        drop((silent, idle));
        assert_eq!(watch.look(None), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_does_not_read_is_idle_and_one_who_reads_slowly_is_not() {
        let watch = watch();
        let (stuck, slow, thinking) = (watch.admit(), watch.admit(), watch.admit());
        let [mut of_stuck, mut of_slow, mut of_thinking] = [&stuck, &slow, &thinking].map(Activity::in_flight);
        for answer in [&mut of_stuck, &mut of_slow, &mut of_thinking] {
            answer.asked();
            answer.gave();
        }
        for one in [&stuck, &slow, &thinking] {
            one.began(Version::HTTP_11);
        }
        for _ in 0..6 {
            of_slow.asked();
            of_slow.gave();
            of_thinking.asked();
            watch.look(None);
            tokio::time::advance(3 * SECOND).await;
        }
        watch.look(None);
        assert_eq!(
            [told(&stuck), told(&slow), told(&thinking)],
            [Told::Close, Told::Nothing, Told::Nothing]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn draining_lets_quiet_connections_and_http_2_go() {
        let watch = watch();
        let (one, two, busy) = (watch.admit(), watch.admit(), watch.admit());
        one.began(Version::HTTP_11);
        two.began(Version::HTTP_2);
        let in_flight = busy.in_flight();
        let since = Instant::now();
        watch.look(Some(since));
        assert_eq!(
            [told(&one), told(&two), told(&busy)],
            [Told::Nothing, Told::Drain, Told::Nothing]
        );
        tokio::time::advance(SECOND).await;
        watch.look(Some(since));
        assert_eq!([told(&one), told(&busy)], [Told::Drain, Told::Nothing]);
        drop(in_flight);
        tokio::time::advance(SECOND).await;
        watch.look(Some(since));
        assert_eq!(told(&busy), Told::Drain);
    }
}
