//! A read from its arrival to its answer, in the steps between which the world may change (PROTOCOL §5).

use std::time::Duration;

use neverstale_coherence::{
    BatchVerdict, Entitlement, Incarnation, Position, Rounds, Safeguard, TokenVerdict, Validity, World, batch_target,
    judge_batch, judge_token, safeguard::stands, within_bound,
};

use crate::{
    entry::Entry,
    primary::{KEYS, Primary, Versions, least},
    scenario::Level,
    sidecar::{Fence, NOW, Sidecar},
};

/// The staleness that `minimize-latency` accepts: a tick.
const BOUND: Duration = Duration::from_millis(8);

/// Fills that a read joins before it starts its own.
const JOINS_MAX: u8 = 1;

/// What a read asks, and what its answer must not fall behind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Read {
    pub(crate) key: usize,
    pub(crate) level: Level,
    /// What anybody may have seen before it arrived, as far as its level promises anything of that.
    pub(crate) least: Versions,
    /// The incarnation under which it arrived.
    pub(crate) arrived: Incarnation,
    /// The world that it was entitled in, where the sidecar has begun another since.
    pinned: Option<World>,
}

/// What a client brings along from its last answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(crate) token: Option<(Incarnation, Position)>,
    /// What the token stands for.
    pub(crate) least: Versions,
}

/// A reader at its steps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reader {
    Idle,
    /// Waits for a fence: the one under way or the first is 1, the next 2.
    Fencing {
        read: Read,
        round: u64,
        early: Option<Entry>,
    },
    /// May look up.
    Entitled {
        read: Read,
        entitlement: Entitlement,
        joins: u8,
        early: Option<Entry>,
    },
    /// Waits for the fill of its key.
    Flying {
        read: Read,
        entitlement: Entitlement,
        joins: u8,
        is_own: bool,
    },
    /// Gathers a batch, and waits until it is one state.
    Gathering {
        read: Read,
        entitlement: Entitlement,
        entries: [Option<Entry>; KEYS],
        has_refilled: bool,
    },
}

/// What a step of a reader came to.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Nothing to be told.
    On,
    /// An answer from this entry, found or filled under this entitlement.
    Answer(Read, Entitlement, Entry),
    /// A batch of these entries.
    Batch(Read, [Entry; KEYS]),
}

impl Reader {
    pub(crate) fn wants_fence(&self) -> bool {
        matches!(self, Self::Fencing { .. })
    }

    /// Another world begins: whoever is entitled goes on in the old one, whoever waits for a fence does not.
    pub(crate) fn pin(&mut self, world: &World) {
        match self {
            Self::Idle | Self::Fencing { .. } => {}
            Self::Entitled { read, .. } | Self::Flying { read, .. } | Self::Gathering { read, .. } => {
                read.pinned.get_or_insert_with(|| world.clone());
            }
        }
    }

    /// Whether it goes on in a world that the sidecar has left.
    pub(crate) fn is_pinned(&self) -> bool {
        match self {
            Self::Idle | Self::Fencing { .. } => false,
            Self::Entitled { read, .. } | Self::Flying { read, .. } | Self::Gathering { read, .. } => {
                read.pinned.is_some()
            }
        }
    }

    /// Commits were lost, and with them the claim to see them.
    pub(crate) fn forget_what_was_lost(&mut self, versions: Versions) {
        match self {
            Self::Idle => {}
            Self::Fencing { read, .. }
            | Self::Entitled { read, .. }
            | Self::Flying { read, .. }
            | Self::Gathering { read, .. } => read.least = least(read.least, versions),
        }
    }

    /// The session ended with the fence; the next one's first fence serves all who wait.
    pub(crate) fn fence_was_lost(&mut self) {
        if let Self::Fencing { round, .. } = self {
            *round = 1;
        }
    }

    /// The fence under way is done; who waited for the next one waits for the first now.
    pub(crate) fn fence_is_done(&mut self, world: &World) {
        match self {
            Self::Fencing { round, .. } if *round > 1 => *round = 1,
            Self::Fencing { .. } => {
                let entitlement = Entitlement::applied(world);
                *self = std::mem::replace(self, Self::Idle).entitled(entitlement);
            }
            _ => {}
        }
    }

    fn entitled(self, entitlement: Entitlement) -> Self {
        match self {
            Self::Fencing { read, .. } if read.level == Level::Batch => Self::Gathering {
                read,
                entitlement,
                entries: [None, None],
                has_refilled: false,
            },
            Self::Fencing { read, early, .. } => Self::Entitled {
                read,
                entitlement,
                joins: 0,
                early,
            },
            other => other,
        }
    }
}

impl Sidecar {
    /// A read arrives: it is entitled at once, or waits for a fence.
    pub(crate) fn arrive(&mut self, reader: usize, key: usize, level: Level, primary: &Primary, client: &Client) {
        let least = match level {
            Level::FullyConsistent | Level::Batch => primary.versions,
            Level::AtLeastAsFresh => client.least,
            Level::MinimizeLatency => primary.past[1],
        };
        let read = Read {
            key,
            level,
            least,
            arrived: primary.incarnation(),
            pinned: None,
        };
        let entitlement = self.entitled_now(&read, client);
        let early = (!stands(Safeguard::EntitlementFirst))
            .then(|| self.found_early(key))
            .flatten();
        let fencing = Reader::Fencing {
            read,
            round: self.next_round(),
            early,
        };
        self.readers[reader] = match entitlement {
            Some(entitlement) => fencing.entitled(entitlement),
            None => fencing,
        };
        self.serve_finished_round(reader);
    }

    /// Whether nobody reads here.
    pub(crate) fn is_idle(&self) -> bool {
        self.readers.iter().all(|reader| *reader == Reader::Idle)
    }

    /// The round that may serve a read that arrives now, counted from the fence under way or, while there is none, the next.
    fn next_round(&self) -> u64 {
        let rounds = Rounds::default();
        if self.fence != Fence::Idle {
            rounds.start();
        }
        rounds.next().0
    }

    /// A mutant may wait for a round that is over.
    fn serve_finished_round(&mut self, reader: usize) {
        if let (Reader::Fencing { round: 0, .. }, Some(world)) = (&self.readers[reader], &self.world) {
            self.readers[reader].fence_is_done(world);
        }
    }

    fn entitled_now(&self, read: &Read, client: &Client) -> Option<Entitlement> {
        let world = self.world.as_ref()?;
        let applied = || Entitlement::applied(world);
        if !stands(Safeguard::Entitlement) {
            return Some(applied());
        }
        match read.level {
            Level::FullyConsistent | Level::Batch => self
                .lease
                .is_valid_at(NOW)
                .then(|| Entitlement::leased(world, self.lease.except.clone())),
            Level::AtLeastAsFresh => {
                let (incarnation, position) = client.token?;
                (judge_token(world, incarnation, position) == TokenVerdict::Reached).then(applied)
            }
            Level::MinimizeLatency => {
                let last = self.last_fence.map(crate::sidecar::Age::moment);
                within_bound(last, NOW, BOUND).then(applied)
            }
        }
    }

    fn found_early(&self, key: usize) -> Option<Entry> {
        let world = self.world.as_ref()?;
        let entry = self.l1[key].as_ref()?;
        (world.judge(&Entitlement::applied(world), &entry.stamp(), NOW) == Validity::Valid).then(|| entry.clone())
    }

    /// What the rule says of L1 for a reader that may look up.
    pub(crate) fn judge_l1(&self, reader: usize) -> Option<Validity> {
        let Reader::Entitled {
            read,
            entitlement,
            early,
            ..
        } = &self.readers[reader]
        else {
            return None;
        };
        if early.is_some() {
            return Some(Validity::Valid);
        }
        let entry = self.l1[read.key].as_ref()?;
        Some(self.world_of(read)?.judge(entitlement, &entry.stamp(), NOW))
    }

    /// Looks into L1, where something is valid, or valid but for a tag that the lease does not cover.
    pub(crate) fn look_into_l1(&mut self, reader: usize) -> Step {
        let verdict = self.judge_l1(reader);
        let round = self.next_round();
        let Reader::Entitled {
            read,
            entitlement,
            early,
            ..
        } = self.readers[reader].clone()
        else {
            return Step::On;
        };
        match (verdict, early.or_else(|| self.l1[read.key].clone())) {
            (Some(Validity::Valid), Some(entry)) => {
                self.readers[reader] = Reader::Idle;
                Step::Answer(read, entitlement, entry)
            }
            (Some(Validity::NeedsFence), _) => {
                let read = Read { pinned: None, ..read };
                self.readers[reader] = Reader::Fencing {
                    read,
                    round,
                    early: None,
                };
                self.serve_finished_round(reader);
                Step::On
            }
            _ => Step::On,
        }
    }

    /// Whether an entry from L2 passes as what was asked for, and the rule.
    pub(crate) fn accepts_from_l2(&self, reader: usize, entry: &Entry) -> Option<Entry> {
        let Reader::Entitled { read, entitlement, .. } = &self.readers[reader] else {
            return None;
        };
        let world = self.world_of(read)?;
        let is_of_key = entry.key == read.key || !stands(Safeguard::L2Key);
        let is_of_incarnation = entry.incarnation == world.incarnation() || !stands(Safeguard::L2Incarnation);
        let found = Entry {
            incarnation: world.incarnation(),
            ..entry.clone()
        };
        let is_valid = world.judge(entitlement, &found.stamp(), NOW) == Validity::Valid;
        (is_of_key && is_of_incarnation && (is_valid || !stands(Safeguard::L2Judged))).then_some(found)
    }

    /// Takes an entry from L2.
    pub(crate) fn look_into_l2(&mut self, reader: usize, entry: &Entry) -> Step {
        let Some(entry) = self.accepts_from_l2(reader, entry) else {
            return Step::On;
        };
        let Reader::Entitled { read, entitlement, .. } = std::mem::replace(&mut self.readers[reader], Reader::Idle)
        else {
            return Step::On;
        };
        self.keep(read.key, &entry);
        Step::Answer(read, entitlement, entry)
    }

    pub(crate) fn keep(&mut self, key: usize, entry: &Entry) {
        let place = &mut self.l1[key];
        if place.as_ref().is_none_or(|kept| kept.gives_way_to(entry)) {
            *place = Some(entry.clone());
        }
    }

    /// Joins the fill of its key, or starts one, whose statement is answered at once: later ones show more.
    pub(crate) fn fly(&mut self, reader: usize, primary: &Primary) -> Step {
        let Reader::Entitled {
            read,
            entitlement,
            joins,
            ..
        } = std::mem::replace(&mut self.readers[reader], Reader::Idle)
        else {
            return Step::On;
        };
        let is_under_way = self.flights[read.key].is_some();
        if is_under_way && joins >= JOINS_MAX {
            return Step::Answer(read.clone(), entitlement, Entry::fill(primary, read.key));
        }
        if !is_under_way {
            self.flights[read.key] = Some(Entry::fill(primary, read.key));
        }
        self.readers[reader] = Reader::Flying {
            read,
            entitlement,
            joins,
            is_own: !is_under_way,
        };
        Step::On
    }

    /// What becomes of a reader when the fill of its key ends with `entry`: who joined judges it.
    pub(crate) fn land(&mut self, reader: usize, entry: &Entry) -> Step {
        let Reader::Flying {
            read,
            entitlement,
            joins,
            is_own,
        } = self.readers[reader].clone()
        else {
            return Step::On;
        };
        if read.key != entry.key {
            return Step::On;
        }
        let is_valid = is_own || self.is_valid(&read, &entitlement, entry);
        if is_valid || !stands(Safeguard::JoinJudged) {
            self.readers[reader] = Reader::Idle;
            return Step::Answer(read, entitlement, entry.clone());
        }
        let joins = joins + 1;
        self.readers[reader] = Reader::Entitled {
            read,
            entitlement,
            joins,
            early: None,
        };
        Step::On
    }

    /// The world that a read judges by.
    pub(crate) fn world_of<'a>(&'a self, read: &'a Read) -> Option<&'a World> {
        read.pinned.as_ref().or(self.world.as_ref())
    }

    fn is_valid(&self, read: &Read, entitlement: &Entitlement, entry: &Entry) -> bool {
        let world = self.world_of(read);
        world.is_some_and(|world| world.judge(entitlement, &entry.stamp(), NOW) == Validity::Valid)
    }

    /// Whether the fill that a reader waits for is valid for it.
    pub(crate) fn joined_is_valid(&self, reader: usize) -> bool {
        let Reader::Flying { read, entitlement, .. } = &self.readers[reader] else {
            return false;
        };
        let flight = self.flights[read.key].as_ref();
        flight.is_some_and(|entry| self.is_valid(read, entitlement, entry))
    }

    /// Whether L1 has a valid entry of a key for a batch that lacks it.
    pub(crate) fn gathers(&self, reader: usize, key: usize) -> Option<(bool, Option<&Entry>)> {
        let Reader::Gathering {
            read,
            entitlement,
            entries,
            ..
        } = &self.readers[reader]
        else {
            return None;
        };
        let world = self.world_of(read)?;
        let kept = self.l1[key].as_ref();
        let valid = kept.filter(|entry| world.judge(entitlement, &entry.stamp(), NOW) == Validity::Valid);
        Some((entries[key].is_none(), valid))
    }

    /// Takes an entry of a batch from L1 or, where nothing there is valid, fills it.
    pub(crate) fn gather(&mut self, reader: usize, key: usize, primary: &Primary) {
        let Some((true, valid)) = self.gathers(reader, key) else {
            return;
        };
        let entry = valid.cloned().unwrap_or_else(|| Entry::fill(primary, key));
        self.keep(key, &entry);
        if let Reader::Gathering { entries, .. } = &mut self.readers[reader] {
            entries[key] = Some(entry);
        }
    }

    /// Judges a batch that has all its entries; fills once what fails, then everything in one statement.
    pub(crate) fn judge_gathered(&mut self, reader: usize, primary: &Primary) -> Step {
        let Some((verdict, entries)) = self.gathered(reader) else {
            return Step::On;
        };
        let in_one_statement = std::array::from_fn(|key| Entry::fill(primary, key));
        let Reader::Gathering {
            read,
            entries: places,
            has_refilled,
            ..
        } = &mut self.readers[reader]
        else {
            return Step::On;
        };
        let answer = match verdict {
            BatchVerdict::NotYet => return Step::On,
            BatchVerdict::OneState(_) => entries,
            BatchVerdict::Refill(failing) if !*has_refilled => {
                *has_refilled = true;
                failing.iter().for_each(|key| places[*key] = None);
                return Step::On;
            }
            BatchVerdict::Refill(_) => in_one_statement,
        };
        let read = read.clone();
        self.readers[reader] = Reader::Idle;
        Step::Batch(read, answer)
    }

    /// The verdict on a batch that has all its entries.
    pub(crate) fn gathered(&self, reader: usize) -> Option<(BatchVerdict, [Entry; KEYS])> {
        let Reader::Gathering {
            read,
            entries: [Some(one), Some(other)],
            ..
        } = &self.readers[reader]
        else {
            return None;
        };
        let world = self.world_of(read)?;
        let stamps = [one.stamp(), other.stamp()];
        let target = batch_target(world, &stamps);
        Some((judge_batch(world, target, &stamps, NOW), [one.clone(), other.clone()]))
    }
}
