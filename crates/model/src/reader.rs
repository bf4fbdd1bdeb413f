//! A read from its arrival to its answer, in the steps between which the world may change (PROTOCOL §5).

use std::time::Duration;

use neverstale_coherence::{
    Entitlement, Incarnation, Position, Rounds, Safeguard, TokenVerdict, Validity, World, judge_token,
    safeguard::stands, within_bound,
};

use crate::{
    clock::{Age, NOW},
    entry::Entry,
    fence::Fence,
    primary::{KEYS, Primary, Versions, least},
    scenario::Level,
    sidecar::Sidecar,
};

/// The staleness that `minimize-latency` accepts: a tick.
const BOUND: Duration = Duration::from_millis(8);

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
    pub(crate) pinned: Option<World>,
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
    pub(crate) fn next_round(&self) -> u64 {
        let rounds = Rounds::default();
        if self.fence != Fence::Idle {
            rounds.start();
        }
        rounds.next().0
    }

    /// A mutant may wait for a round that is over.
    pub(crate) fn serve_finished_round(&mut self, reader: usize) {
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
                let last = self.last_fence.map(Age::moment);
                within_bound(last, NOW, BOUND).then(applied)
            }
        }
    }

    fn found_early(&self, key: usize) -> Option<Entry> {
        let world = self.world.as_ref()?;
        let entry = self.l1[key].as_ref()?;
        (world.judge(&Entitlement::applied(world), &entry.stamp(), NOW) == Validity::Valid).then(|| entry.clone())
    }
}
