//! Time: ticks that go by on two clocks of each sidecar, and how old that makes what it knows.

use std::time::Duration;

use neverstale_coherence::Moment;

use crate::scenario::Scenario;

/// A tick of the model's clock.
const TICK: Duration = Duration::from_millis(8);
/// Now, on both clocks of each sidecar: time passes by moving everything else into the past.
pub(crate) const NOW: Moment = Moment {
    boot: Duration::from_secs(1),
    raw: Duration::from_secs(1),
};

/// The length of a lease, of which the margin takes a fifth: a whole number of ticks is left. So the server's clock may be a
/// fifth too fast, and a commit wait that is as long as the lease takes no more ticks than these.
pub(crate) fn lease_length(scenario: &Scenario) -> Duration {
    TICK * u32::from(scenario.lease_ticks) * 5 / 4
}

/// Ticks that have gone by on each of the clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Age {
    boot: u8,
    raw: u8,
}

impl Age {
    pub(crate) fn moment(self) -> Moment {
        Moment {
            boot: NOW.boot.saturating_sub(TICK * u32::from(self.boot)),
            raw: NOW.raw.saturating_sub(TICK * u32::from(self.raw)),
        }
    }

    pub(crate) fn tick(&mut self, clocks: Clocks, max: u8) {
        self.boot = (self.boot + u8::from(clocks.boot)).min(max);
        self.raw = (self.raw + u8::from(clocks.raw)).min(max);
    }
}

/// Which of a sidecar's clocks see a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Clocks {
    pub(crate) boot: bool,
    pub(crate) raw: bool,
}

/// `ticks` from now.
pub(crate) fn in_ticks(ticks: u8) -> Moment {
    NOW.plus(TICK * u32::from(ticks))
}

/// Moves a moment into the past, no further than anything depends on.
pub(crate) fn pass(moment: &mut Moment, clocks: Clocks) {
    let back = |instant: Duration, now: Duration, is_running| {
        let passed = instant.saturating_sub(TICK * u32::from(is_running));
        passed.max(now.saturating_sub(TICK * 3))
    };
    moment.boot = back(moment.boot, NOW.boot, clocks.boot);
    moment.raw = back(moment.raw, NOW.raw, clocks.raw);
}
