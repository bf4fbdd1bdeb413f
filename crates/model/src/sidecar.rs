//! A sidecar: its world and lease, what it hears, and what time does to it.
//!
//! Performs what `coherence` decides, as `changefeed` does, but with fewer habits: a settlement and a fence may be under
//! way together, a page may be fetched and a message heard at any time. Whatever takes time may take for ever, which is
//! what a pause is.

use neverstale_coherence::{
    BroadcastVerdict, Entitlement, Foreign, Incarnation, Lease, PageHead, PageVerdict, Position, Row, Safeguard,
    Settled, TagTable, Validity, World, judge_broadcast, judge_page, resumes, safeguard::stands,
};

use crate::{
    clock::{Age, Clocks, NOW, pass},
    entry::Entry,
    fence::{Fence, Settling},
    primary::{KEYS, Primary},
    reader::Reader,
    scenario::Scenario,
};

/// What a relay has said: the rows of (`previous`, `position`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Message {
    incarnation: Incarnation,
    previous: Position,
    position: Position,
    rows: Vec<Row>,
}

impl Message {
    /// What tells messages apart.
    pub(crate) fn place(&self) -> (Incarnation, Position, Position) {
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
    pub(crate) settled: Settled,
    pub(crate) lease: Lease,
    pub(crate) last_fence: Option<Age>,
    pub(crate) fence: Fence,
    pub(crate) settling: Settling,
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
    pub(crate) fn followed(&self) -> Option<&World> {
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

    pub(crate) fn end_session(&mut self, foreign: Foreign) {
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
