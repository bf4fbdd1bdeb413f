//! What a scenario must come across: a model that never hits, or never uses a lease, holds and proves nothing [24].

use neverstale_coherence::{Entitlement, Validity};
use stateright::Property;

use crate::{
    clock::NOW,
    reader::Reader,
    sidecar::Sidecar,
    system::{State, System},
};

/// Something that must happen on some path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A read finds a valid entry in L1.
    L1,
    /// A lease covers a valid entry in L1.
    Lease,
    /// A lease that excepts some tags covers a valid entry with others.
    Exceptions,
    /// A read finds a valid entry in L2.
    L2,
    /// A fill that was joined is valid for who joined it.
    Join,
    /// What a relay said is applied by another.
    Broadcast,
    /// The log is pruned past what a sidecar has applied.
    Pruned,
    /// A second incarnation is served.
    Incarnation,
    /// A batch is filled again in part.
    Refill,
    /// An entry expires in L1.
    Expiry,
}

impl Reach {
    pub(crate) fn property(self) -> Property<System> {
        match self {
            Self::L1 => Property::sometimes("a read hits in L1", |_, state| {
                readers(state).any(|(sidecar, reader)| sidecar.judge_l1(reader) == Some(Validity::Valid))
            }),
            Self::Lease => Property::sometimes("a lease serves a hit", |_, state| {
                sidecars(state).any(|sidecar| sidecar.lease.is_valid_at(NOW) && covers(sidecar))
            }),
            Self::Exceptions => Property::sometimes("a lease with exceptions serves a hit", |_, state| {
                let excepts = |sidecar: &&Sidecar| !sidecar.lease.except.is_none() && sidecar.lease.is_valid_at(NOW);
                sidecars(state).filter(excepts).any(covers)
            }),
            Self::L2 => Property::sometimes("a read hits in L2", |_, state| {
                readers(state).any(|(sidecar, reader)| {
                    state
                        .l2
                        .iter()
                        .any(|entry| sidecar.accepts_from_l2(reader, entry).is_some())
                })
            }),
            Self::Join => Property::sometimes("a joined fill is valid", |_, state| {
                readers(state).any(|(sidecar, reader)| {
                    matches!(sidecar.readers[reader], Reader::Flying { is_own: false, .. })
                        && sidecar.joined_is_valid(reader)
                })
            }),
            Self::Broadcast => Property::sometimes("a broadcast is applied", |_, state| {
                sidecars(state).any(|sidecar| state.messages.iter().any(|message| message.is_news_to(sidecar)))
            }),
            Self::Pruned => Property::sometimes("the log is pruned past a sidecar", |_, state| {
                sidecars(state)
                    .filter_map(|sidecar| sidecar.world.as_ref())
                    .any(|world| {
                        world.incarnation() == state.primary.incarnation()
                            && world.applied().0 < u64::from(state.primary.pruned_to)
                    })
            }),
            Self::Incarnation => Property::sometimes("a second incarnation is served", |_, state| {
                let first = neverstale_coherence::Incarnation([1; 16]);
                sidecars(state)
                    .filter_map(|sidecar| sidecar.world.as_ref())
                    .any(|world| world.incarnation() != first)
            }),
            Self::Refill => Property::sometimes("a batch is filled again", |_, state| {
                readers(state).any(|(sidecar, reader)| {
                    matches!(sidecar.readers[reader], Reader::Gathering { has_refilled: true, .. })
                })
            }),
            Self::Expiry => Property::sometimes("an entry expires", |_, state| {
                readers(state).any(|(sidecar, reader)| sidecar.judge_l1(reader) == Some(Validity::Expired))
            }),
        }
    }
}

fn sidecars(state: &State) -> impl Iterator<Item = &Sidecar> {
    state.sidecars.iter().map(AsRef::as_ref)
}

fn readers(state: &State) -> impl Iterator<Item = (&Sidecar, usize)> {
    sidecars(state).flat_map(|sidecar| (0..sidecar.readers.len()).map(move |reader| (sidecar, reader)))
}

/// Whether the lease, as it stands, lets something from L1 be served.
fn covers(sidecar: &Sidecar) -> bool {
    let Some(world) = &sidecar.world else { return false };
    let entitlement = Entitlement::leased(world, sidecar.lease.except.clone());
    let is_valid = |entry: &crate::entry::Entry| world.judge(&entitlement, &entry.stamp(), NOW) == Validity::Valid;
    sidecar.l1.iter().flatten().any(is_valid)
}
