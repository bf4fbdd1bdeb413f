//! Questions of a sidecar to the primary: fences and settlements, each question and answer apart (PROTOCOL §5, §6).

use neverstale_coherence::{
    FenceAnswer, FenceSent, FenceVerdict, Foreign, Incarnation, Intent, Lease, OutstandingMarks, Position, Safeguard,
    SettleAnswer, judge_fence, judge_settle, safeguard::stands,
};

use crate::{
    clock::{Age, NOW, lease_length},
    primary::{Locks, Primary},
    reader::Reader,
    scenario::{Level, Scenario},
    sidecar::Sidecar,
};

/// The fence under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fence {
    Idle,
    /// Its snapshot is taken, its sequence not read yet.
    Snapped {
        age: Age,
        applied: Position,
        answer: Snapshot,
    },
    /// The answer is under way.
    Answered {
        age: Age,
        applied: Position,
        answer: FenceAnswer,
    },
    /// It waits until its position is applied.
    Following {
        age: Age,
        position: Position,
        lease: Option<Lease>,
        settle: bool,
    },
}

/// What a fence's snapshot shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Snapshot {
    incarnation: Incarnation,
    position: Position,
}

/// The settlement under way: what has been read of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Settling {
    pub(crate) is_under_way: bool,
    intent: Option<Intent>,
    pub(crate) locks: Option<Locks>,
    position: Option<Position>,
    pub(crate) age: Age,
}

impl Sidecar {
    pub(crate) fn can_fence(&self, has_renewal: bool, overlaps: bool) -> bool {
        let is_wanted = has_renewal || self.readers.iter().any(Reader::wants_fence);
        let is_free = self.fence == Fence::Idle && (overlaps || !self.settling.is_under_way);
        self.followed().is_some() && is_free && is_wanted
    }

    /// Sends a fence, whose snapshot is taken at once: later ones show more.
    pub(crate) fn send_fence(&mut self, scenario: &Scenario, primary: &Primary) {
        let Some(world) = self.followed() else { return };
        let (age, applied) = (Age::default(), world.applied());
        let answer = Snapshot {
            incarnation: primary.incarnation(),
            position: Position(u64::from(primary.newest_position())),
        };
        self.fence = Fence::Snapped { age, applied, answer };
        // Without leases nothing depends on the intent, nor on when the answer comes.
        if scenario.lease_ticks == 0 {
            self.answer_fence(scenario, primary);
            self.receive_fence();
        }
    }

    /// The fence's statement reads the sequence, and is done.
    pub(crate) fn answer_fence(&mut self, scenario: &Scenario, primary: &Primary) {
        if let Fence::Snapped { age, applied, answer } = self.fence {
            let answer = FenceAnswer {
                incarnation: answer.incarnation,
                intent: primary.last_intent(),
                lease: lease_length(scenario),
                position: answer.position,
            };
            self.fence = Fence::Answered { age, applied, answer };
        }
    }

    /// The fence's answer arrives.
    pub(crate) fn receive_fence(&mut self) {
        let Fence::Answered {
            mut age,
            applied,
            answer,
        } = self.fence
        else {
            return;
        };
        let Some(world) = self.followed() else { return };
        if !stands(Safeguard::LeaseFromBefore) {
            age = Age::default();
        }
        let sent = FenceSent {
            at: age.moment(),
            applied,
        };
        match judge_fence(world, self.settled.up_to(), sent, &answer) {
            FenceVerdict::Foreign(foreign) => self.end_session(foreign),
            FenceVerdict::Follow {
                position,
                lease,
                settle,
            } => {
                self.fence = Fence::Following {
                    age,
                    position,
                    lease,
                    settle,
                };
            }
        }
    }

    pub(crate) fn can_finish_fence(&self) -> bool {
        let (Fence::Following { position, .. }, Some(world)) = (&self.fence, self.followed()) else {
            return false;
        };
        world.applied() >= *position || !stands(Safeguard::FenceApplied)
    }

    /// The fence's position is applied: the lease counts, and who waited is entitled.
    pub(crate) fn finish_fence(&mut self, scenario: &Scenario) {
        let Fence::Following { age, lease, settle, .. } = std::mem::replace(&mut self.fence, Fence::Idle) else {
            return;
        };
        self.last_fence = Some(age).filter(|_| scenario.levels.contains(&Level::MinimizeLatency));
        if let Some(lease) = lease {
            self.grant(lease);
        }
        self.settling.is_under_way |= settle;
        let Some(world) = &self.world else { return };
        for reader in &mut self.readers {
            reader.fence_is_done(world);
        }
    }

    /// Keeps a lease, as far as anything can be seen of it.
    pub(crate) fn grant(&mut self, lease: Lease) {
        self.lease = if lease.is_valid_at(NOW) { lease } else { Lease::over() };
    }

    /// Takes the next of a settlement's three statements.
    pub(crate) fn ask_settlement(&mut self, scenario: &Scenario, primary: &Primary) {
        // Each of them names the incarnation, as all answers do.
        if self
            .followed()
            .is_none_or(|world| world.incarnation() != primary.incarnation())
        {
            return self.end_session(Foreign::Incarnation);
        }
        let settling = &mut self.settling;
        let is_position_due = settling.locks.is_some() || !stands(Safeguard::LocksBeforePosition);
        let is_intent_due = settling.locks.is_some() || stands(Safeguard::IntentBeforeLocks);
        if settling.intent.is_none() && is_intent_due {
            settling.intent = Some(primary.last_intent());
        } else if settling.position.is_none() && is_position_due {
            settling.position = Some(Position(u64::from(primary.newest_position())));
        } else {
            settling.age = Age::default();
            settling.locks = Some(primary.locks(scenario));
        }
    }

    pub(crate) fn can_ask_settlement(&self) -> bool {
        let Settling {
            intent,
            locks,
            position,
            ..
        } = &self.settling;
        let is_asked = intent.is_some() && locks.is_some() && position.is_some();
        self.followed().is_some() && self.settling.is_under_way && !is_asked
    }

    pub(crate) fn can_settle(&self) -> bool {
        let Settling {
            intent: Some(_),
            locks: Some(_),
            position: Some(position),
            ..
        } = &self.settling
        else {
            return false;
        };
        let may_be_early = !stands(Safeguard::SettledOnceApplied) || !stands(Safeguard::LeaseOnceApplied);
        self.followed()
            .is_some_and(|world| world.applied() >= *position || may_be_early)
    }

    /// Settles what the three statements allow, and takes the lease that they leave.
    pub(crate) fn settle(&mut self, scenario: &Scenario) {
        let Settling {
            intent: Some(intent),
            locks: Some(locks),
            position: Some(position),
            age,
            ..
        } = &self.settling
        else {
            return;
        };
        let answer = SettleAnswer {
            intent: *intent,
            outstanding: locks.outstanding.clone(),
            has_unnamed: locks.has_unnamed,
            marks: locks
                .marks
                .clone()
                .map_or(OutstandingMarks::Everything, OutstandingMarks::Some),
            position: *position,
            lease: lease_length(scenario),
        };
        let verdict = judge_settle(age.moment(), &answer);
        let Some(world) = &self.world else { return };
        verdict.settle(world, &mut self.settled);
        if world.applied() >= verdict.position || !stands(Safeguard::LeaseOnceApplied) {
            if let Some(lease) = verdict.lease {
                self.grant(lease);
            }
            self.settling = Settling::default();
        }
    }
}
