//! The clocks of a lease, and the wall clock for what people read.
//!
//! A lease is counted on CLOCK_BOOTTIME, which goes on through suspends, and on CLOCK_MONOTONIC_RAW, which no time
//! service steers; whichever ends first, ends it (PROTOCOL §6) [15]. The wall clock decides nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use neverstale_coherence::Moment;
use rustix::time::{ClockId, clock_gettime};

/// A source of time that can be cloned and passed along.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<Manual>),
    #[cfg(feature = "simulation")]
    Simulated(crate::simulated::SteeredClock),
}

#[derive(Debug, Default)]
struct Manual {
    boot_nanos: AtomicU64,
    raw_nanos: AtomicU64,
    wall_ms: AtomicI64,
}

impl Clock {
    /// Gives the machine's clocks.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Gives a clock that stands still until it is moved; clones move together.
    pub fn manual() -> Self {
        Self(Source::Manual(Arc::default()))
    }

    /// Gives a clock that follows the runtime's own time, paused or not, at rates of its own.
    #[cfg(feature = "simulation")]
    pub fn simulated(clock: crate::simulated::SteeredClock) -> Self {
        Self(Source::Simulated(clock))
    }

    /// Reads both clocks of a lease; two calls into the vDSO, some 40 ns together.
    pub fn now(&self) -> Moment {
        match &self.0 {
            Source::System => Moment {
                boot: read(BOOT),
                raw: read(RAW),
            },
            Source::Manual(manual) => Moment {
                boot: Duration::from_nanos(manual.boot_nanos.load(Ordering::Acquire)),
                raw: Duration::from_nanos(manual.raw_nanos.load(Ordering::Acquire)),
            },
            #[cfg(feature = "simulation")]
            Source::Simulated(clock) => clock.now(),
        }
    }

    /// Reads the wall clock in milliseconds since 1970, for logs, tokens that expire and `not_after`.
    pub fn wall_ms(&self) -> i64 {
        match &self.0 {
            Source::System => {
                let now = clock_gettime(ClockId::Realtime);
                now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
            }
            Source::Manual(manual) => manual.wall_ms.load(Ordering::Acquire),
            #[cfg(feature = "simulation")]
            Source::Simulated(clock) => clock.now().boot.as_millis() as i64,
        }
    }

    /// Reads the wall clock in nanoseconds since 1970, for spans.
    pub fn wall_ns(&self) -> u64 {
        if !matches!(self.0, Source::System) {
            return self.wall_ms() as u64 * 1_000_000;
        }
        let now = clock_gettime(ClockId::Realtime);
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    }

    /// Moves all three clocks of a manual one on; the machine's can't be moved and this does nothing to them.
    pub fn advance(&self, span: Duration) {
        self.advance_boot(span);
        self.advance_raw(span);
        if let Source::Manual(manual) = &self.0 {
            manual.wall_ms.fetch_add(span.as_millis() as i64, Ordering::AcqRel);
        }
    }

    /// Moves only a manual CLOCK_BOOTTIME on, as a suspend or a steering time service does.
    pub fn advance_boot(&self, span: Duration) {
        if let Source::Manual(manual) = &self.0 {
            manual.boot_nanos.fetch_add(span.as_nanos() as u64, Ordering::AcqRel);
        }
    }

    /// Moves only a manual CLOCK_MONOTONIC_RAW on.
    pub fn advance_raw(&self, span: Duration) {
        if let Source::Manual(manual) = &self.0 {
            manual.raw_nanos.fetch_add(span.as_nanos() as u64, Ordering::AcqRel);
        }
    }

    /// Sets a manual wall clock, backwards too.
    pub fn set_wall_ms(&self, wall_ms: i64) {
        if let Source::Manual(manual) = &self.0 {
            manual.wall_ms.store(wall_ms, Ordering::Release);
        }
    }
}

#[cfg(target_os = "linux")]
const BOOT: ClockId = ClockId::Boottime;
#[cfg(target_os = "linux")]
const RAW: ClockId = ClockId::MonotonicRaw;
/// Elsewhere (development on macOS) CLOCK_MONOTONIC stands for both; it counts suspends there.
#[cfg(not(target_os = "linux"))]
const BOOT: ClockId = ClockId::Monotonic;
#[cfg(not(target_os = "linux"))]
const RAW: ClockId = ClockId::Monotonic;

fn read(id: ClockId) -> Duration {
    let now = clock_gettime(id);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_clocks_go_on() {
        let clock = Clock::system();
        let (before, wall) = (clock.now(), clock.wall_ms());
        while clock.now().raw == before.raw || clock.now().boot == before.boot {}
        let after = clock.now();
        assert!(after.boot > before.boot && after.raw > before.raw);
        assert!(wall > 1_600_000_000_000);
    }

    #[test]
    fn a_manual_clock_moves_only_when_moved() {
        let clock = Clock::manual();
        let clone = clock.clone();
        clone.advance(Duration::from_secs(2));
        clone.advance_boot(Duration::from_secs(1));
        let now = clock.now();
        assert_eq!((now.boot.as_secs(), now.raw.as_secs(), clock.wall_ms()), (3, 2, 2_000));
    }
}
