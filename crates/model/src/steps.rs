//! Which steps are possible in a state.

use neverstale_coherence::{Validity, World};

use crate::{
    entry::Entry,
    fence::Fence,
    primary::KEYS,
    reader::Reader,
    scenario::{Fault, Level, Scenario},
    system::{Action, State},
};

impl State {
    pub(crate) fn steps_of_sidecar(&self, scenario: &Scenario, place: usize, actions: &mut Vec<Action>) {
        let sidecar = &self.sidecars[place];
        if sidecar.is_connected {
            let is_demanded = scenario.has_bells || matches!(sidecar.fence, Fence::Following { .. });
            let is_behind = sidecar
                .world
                .as_ref()
                .is_some_and(|world| is_demanded && self.is_behind(world));
            actions.extend(is_behind.then_some(Action::CatchUp(place)));
            actions.extend(
                sidecar
                    .can_fence(scenario.has_renewal && self.drained.is_none(), scenario.overlaps)
                    .then_some(Action::SendFence(place)),
            );
            match sidecar.fence {
                Fence::Snapped { .. } => actions.push(Action::AnswerFence(place)),
                Fence::Answered { .. } => actions.push(Action::ReceiveFence(place)),
                Fence::Following { .. } if sidecar.can_finish_fence() => actions.push(Action::FinishFence(place)),
                Fence::Following { .. } | Fence::Idle => {}
            }
            let asks = sidecar.can_ask_settlement();
            actions.extend(asks.then_some(Action::AskSettlement(place)));
            actions.extend(sidecar.can_settle().then_some(Action::Settle(place)));
            if self.drained.is_none() {
                actions.extend((0..self.messages.len()).map(|message| Action::Hear(place, message)));
                actions.extend(scenario.has_broadcast.then_some(Action::HearForged(place)));
            }
        } else {
            actions.push(Action::Begin(place));
        }
        for key in 0..KEYS {
            actions.extend(sidecar.flights[key].is_some().then_some(Action::Land(place, key)));
        }
        for reader in 0..scenario.readers {
            self.steps_of_reader(scenario, (place, reader), actions);
        }
    }

    fn is_behind(&self, world: &World) -> bool {
        world.applied().0 != u64::from(self.primary.newest_position())
            || world.incarnation() != self.primary.incarnation()
    }

    fn steps_of_reader(&self, scenario: &Scenario, (place, reader): (usize, usize), actions: &mut Vec<Action>) {
        let sidecar = &self.sidecars[place];
        if self.drained.is_none() && sidecar.readers[reader] != Reader::Idle && scenario.readers_give_up {
            actions.push(Action::GiveUp(place, reader));
        }
        match &sidecar.readers[reader] {
            Reader::Idle => {
                // A client reads one after the other, or its token would tell nothing of the read beside it.
                let has_tokens = scenario.levels.contains(&Level::AtLeastAsFresh);
                let may_arrive = !has_tokens || self.sidecars.iter().all(|sidecar| sidecar.is_idle());
                if may_arrive && self.drained.is_none() && self.reads_left != Some(0) && sidecar.world.is_some() {
                    for level in scenario.levels {
                        let keys = if *level == Level::Batch { 1 } else { scenario.keys };
                        actions.extend((0..keys).map(|key| Action::Arrive(place, reader, key, *level)));
                    }
                }
            }
            Reader::Fencing { .. } => {}
            Reader::Entitled { .. } => {
                if let Some(Validity::Valid | Validity::NeedsFence) = sidecar.judge_l1(reader) {
                    actions.push(Action::LookIntoL1(place, reader));
                } else {
                    let is_found = |entry: &Entry| sidecar.accepts_from_l2(reader, entry).is_some();
                    let found = (0..self.l2.len()).filter(|entry| is_found(&self.l2[*entry]));
                    actions.extend(found.map(|entry| Action::LookIntoL2(place, reader, entry)));
                    actions.push(Action::Fill(place, reader));
                }
            }
            Reader::Flying { .. } => {}
            Reader::Gathering { .. } => {
                let lacks = |key: &usize| sidecar.gathers(reader, *key).is_some_and(|(lacks, _)| lacks);
                actions.extend((0..KEYS).filter(lacks).map(|key| Action::Gather(place, reader, key)));
                actions.extend(sidecar.gathered(reader).map(|_| Action::JudgeBatch(place, reader)));
            }
        }
    }

    pub(crate) fn steps_of_the_rest(&self, scenario: &Scenario, actions: &mut Vec<Action>) {
        for writer in 0..scenario.transactions.len() {
            if self.primary.can_advance(scenario, writer) {
                actions.push(Action::Write(writer));
            }
            if scenario.allows(Fault::Abort) && self.primary.can_abort(writer) {
                actions.push(Action::Abort(writer));
            }
        }
        if scenario.has_time() {
            actions.push(Action::Tick(None));
        }
        if scenario.drains {
            actions.push(Action::Drain);
        }
        if self.faults_left == 0 {
            return;
        }
        for fault in scenario.faults {
            match fault {
                Fault::Abort => {}
                Fault::Prune => actions.extend(self.primary.can_prune().then_some(Action::Prune)),
                Fault::Restart => actions.extend((0..scenario.sidecars).map(Action::Restart)),
                Fault::Crash => actions.push(Action::Lose(0)),
                Fault::LoseOne => actions.push(Action::Lose(1)),
                Fault::LoseTwo => actions.push(Action::Lose(2)),
                Fault::Suspend | Fault::Steer => {
                    actions.extend((0..scenario.sidecars).map(|place| Action::Tick(Some((place, *fault)))));
                }
                Fault::StepClock => actions.extend((0..scenario.transactions.len()).map(Action::StepClock)),
            }
        }
    }
}
