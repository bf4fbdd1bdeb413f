//! A sidecar: its world and lease, and the questions that it asks the primary, each question and answer apart.
//!
//! Performs what `coherence` decides, as `changefeed` does, but with fewer habits: a settlement and a fence may be under
//! way together, a page may be fetched and a message heard at any time. Whatever takes time may take for ever, which is
//! what a pause is.

use std::time::Duration;

use neverstale_coherence::{
    BroadcastVerdict, Entitlement, FenceAnswer, FenceSent, FenceVerdict, Foreign, Intent, Lease, Moment,
    OutstandingMarks, PageHead, PageVerdict, Position, Row, Safeguard, SettleAnswer, Settled, TagTable, Validity,
    World, judge_broadcast, judge_fence, judge_page, judge_settle, resumes, safeguard::stands,
};

use crate::{
    entry::Entry,
    primary::{KEYS, Locks, Primary},
    reader::Reader,
    scenario::{Level, Scenario},
};

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
            boot: NOW.boot - TICK * u32::from(self.boot),
            raw: NOW.raw - TICK * u32::from(self.raw),
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
    let furthest = TICK * 3;
    moment.boot = (moment.boot - TICK * u32::from(clocks.boot)).max(NOW.boot - furthest);
    moment.raw = (moment.raw - TICK * u32::from(clocks.raw)).max(NOW.raw - furthest);
}

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
    incarnation: neverstale_coherence::Incarnation,
    position: Position,
}

/// The settlement under way: what has been read of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Settling {
    is_under_way: bool,
    intent: Option<Intent>,
    locks: Option<Locks>,
    position: Option<Position>,
    age: Age,
}

/// What a relay has said: the rows of (`previous`, `position`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Message {
    incarnation: neverstale_coherence::Incarnation,
    previous: Position,
    position: Position,
    rows: Vec<Row>,
}

impl Message {
    /// What tells messages apart.
    pub(crate) fn place(&self) -> (neverstale_coherence::Incarnation, Position, Position) {
        (self.incarnation, self.previous, self.position)
    }

    /// Whether it means anything to a sidecar.
    pub(crate) fn is_news_to(&self, sidecar: &Sidecar) -> bool {
        let verdict = |world| judge_broadcast(world, self.incarnation, self.previous, self.position);
        sidecar.followed().map(verdict) == Some(BroadcastVerdict::Apply)
    }
}

/// A sidecar, between two of its steps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sidecar {
    /// None until it has begun one.
    pub(crate) world: Option<World>,
    /// The session lasts; a foreign answer ends it, and the next begins a world.
    pub(crate) is_connected: bool,
    has_regressed: bool,
    settled: Settled,
    pub(crate) lease: Lease,
    pub(crate) last_fence: Option<Age>,
    pub(crate) fence: Fence,
    settling: Settling,
    pub(crate) l1: [Option<Entry>; KEYS],
    /// The fill of each key that is under way, answered already.
    pub(crate) flights: [Option<Entry>; KEYS],
    pub(crate) readers: Vec<Reader>,
}

impl Sidecar {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            world: None,
            is_connected: false,
            has_regressed: false,
            settled: Settled::default(),
            lease: Lease::over(),
            last_fence: None,
            fence: Fence::Idle,
            settling: Settling::default(),
            l1: [None, None],
            flights: [None, None],
            readers: vec![Reader::Idle; scenario.readers],
        }
    }

    /// The world, if the session lasts on which it can be kept up to date.
    fn followed(&self) -> Option<&World> {
        self.world.as_ref().filter(|_| self.is_connected)
    }

    /// Begins a world, or goes on with the one there is.
    pub(crate) fn begin(&mut self, scenario: &Scenario, primary: &mut Primary) {
        if std::mem::take(&mut self.has_regressed) {
            primary.incarnation += 1;
        }
        let newest = primary.newest_position();
        let resumed = self
            .world
            .as_ref()
            .is_some_and(|world| resumes(world, primary.incarnation(), Position(u64::from(newest))));
        if !resumed {
            let position = primary.pruned_to.max(newest.saturating_sub(scenario.look_back));
            let position = Position(u64::from(position));
            if let Some(old) = &self.world {
                self.readers.iter_mut().for_each(|reader| reader.pin(old));
            }
            self.world = Some(World::new(primary.incarnation(), position, TagTable::new(4)));
            self.settled = Settled::default();
            self.last_fence = None;
        }
        self.is_connected = true;
    }

    fn end_session(&mut self, foreign: Foreign) {
        self.is_connected = false;
        self.has_regressed |= foreign == Foreign::Regressed && stands(Safeguard::BeginAnew);
        self.lease = Lease::over();
        self.fence = Fence::Idle;
        self.settling = Settling::default();
        for reader in &mut self.readers {
            reader.fence_was_lost();
        }
    }

    /// Fetches a page of the log. Gives what a relay says of it.
    pub(crate) fn catch_up(&mut self, scenario: &Scenario, primary: &Primary) -> Option<Message> {
        let world = self.followed()?;
        let before = world.applied();
        let rows = primary.rows(scenario, before.0 as u8, scenario.page_rows);
        let newest = Position(u64::from(primary.newest_position()));
        let last = rows.last().map(|row| row.position);
        let head = PageHead {
            incarnation: primary.incarnation(),
            pruned_to: Position(u64::from(primary.pruned_to)),
            newest,
            cut_at: last.filter(|last| rows.len() == scenario.page_rows && *last < newest),
        };
        match judge_page(world, before, &head) {
            PageVerdict::Foreign(foreign) => self.end_session(foreign),
            PageVerdict::Skip(newest) => world.skip_to(newest),
            PageVerdict::Apply(up_to) => {
                let message = Message {
                    incarnation: world.incarnation(),
                    previous: before,
                    position: up_to,
                    rows,
                };
                world.apply(&message.rows, up_to);
                self.settled.learn(&message.rows);
                return Some(message).filter(|message| !message.rows.is_empty());
            }
        }
        None
    }

    /// Hears what a relay said, now or long ago.
    pub(crate) fn hear(&mut self, message: &Message) {
        let Some(world) = self.followed() else { return };
        let verdict = judge_broadcast(world, message.incarnation, message.previous, message.position);
        if verdict == BroadcastVerdict::Apply {
            world.apply(&message.rows, message.position);
            self.settled.learn(&message.rows);
        }
    }

    /// Hears what somebody made up who has no key: a bell, whatever it says.
    pub(crate) fn hear_forged(&mut self) {
        if let Some(world) = self.followed()
            && !stands(Safeguard::BroadcastSeal)
        {
            world.apply([], Position(9));
        }
    }

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
    fn grant(&mut self, lease: Lease) {
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

    /// Whether L1 holds what can never be valid again for anybody.
    pub(crate) fn has_waste(&self) -> bool {
        (0..KEYS).any(|key| self.is_waste(key))
    }

    /// Forgets that, as an eviction would: states that differ in it alone are one.
    pub(crate) fn throw_waste_away(&mut self) {
        for key in 0..KEYS {
            if self.is_waste(key) {
                self.l1[key] = None;
            }
        }
    }

    fn is_waste(&self, key: usize) -> bool {
        let (Some(entry), Some(world)) = (&self.l1[key], &self.world) else {
            return false;
        };
        let verdict = world.judge(&Entitlement::applied(world), &entry.stamp(), NOW);
        matches!(verdict, Validity::Stale | Validity::Foreign) && !self.readers.iter().any(Reader::is_pinned)
    }

    /// A tick goes by.
    pub(crate) fn tick(&mut self, scenario: &Scenario, clocks: Clocks) {
        let max = scenario.age_max();
        if self.lease != Lease::over() {
            let mut lease = std::mem::take(&mut self.lease);
            pass(&mut lease.end, clocks);
            self.grant(lease);
        }
        if let Some(age) = &mut self.last_fence {
            age.tick(clocks, max);
        }
        match &mut self.fence {
            Fence::Idle => {}
            Fence::Snapped { age, .. } | Fence::Answered { age, .. } => age.tick(clocks, max),
            Fence::Following { age, lease, .. } => {
                age.tick(clocks, max);
                if let Some(granted) = lease {
                    pass(&mut granted.end, clocks);
                    if !granted.is_valid_at(NOW) {
                        *lease = None;
                    }
                }
            }
        }
        if self.settling.locks.is_some() {
            self.settling.age.tick(clocks, max);
        }
        let entries = self.l1.iter_mut().chain(&mut self.flights).flatten();
        entries.for_each(|entry| entry.tick(clocks));
    }
}
