//! Everything together: which steps are possible, what each does, and what must never happen.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use neverstale_coherence::{Entitlement, Validity, World};
use stateright::{Model, Property};

use crate::{
    entry::Entry,
    primary::{KEYS, Primary, least},
    reader::{Client, Read, Reader, Step},
    scenario::{Fault, Level, Scenario},
    sidecar::{Clocks, Fence, Message, Sidecar},
};

/// What must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// A read gave a value from before a commit that was visible, or that its client had seen, when it began.
    Old,
    /// A batch gave values that no state ever had together.
    Torn,
    /// A read gave another key's value.
    AnotherKeys,
    /// A read gave a value that had been undone before it began.
    Undone,
    /// Nobody arrives any more, nothing is left to be done, and a read still waits.
    Unanswered,
}

/// The whole system between two steps. Sidecars are shared between states that do not differ in them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) primary: Arc<Primary>,
    pub(crate) sidecars: Vec<Arc<Sidecar>>,
    /// Everything that was ever put into L2: a look may find any of it, or nothing, so values may be late and lost.
    pub(crate) l2: Vec<Entry>,
    /// Everything that a relay ever said: it may be heard again, late, out of turn, or never.
    pub(crate) messages: Vec<Message>,
    client: Client,
    faults_left: u8,
    reads_left: Option<u8>,
    /// Steps that are left until all must be answered, once nobody arrives any more.
    drained: Option<u8>,
    pub(crate) violation: Option<Violation>,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A writer takes its next step.
    Write(usize),
    /// A writer gives up or dies.
    Abort(usize),
    /// A tick goes by on all clocks but those of a sidecar that are named.
    Tick(Option<(usize, Fault)>),
    /// The wall clock is stepped under a writer.
    StepClock(usize),
    /// The log is pruned.
    Prune,
    /// The server is another from here on, without the last commits.
    Lose(usize),
    /// A sidecar starts anew.
    Restart(usize),
    /// A sidecar begins a world.
    Begin(usize),
    /// A sidecar fetches a page of the log.
    CatchUp(usize),
    /// A sidecar hears what a relay said.
    Hear(usize, usize),
    /// A sidecar hears what nobody said who has a key.
    HearForged(usize),
    /// A sidecar sends a fence.
    SendFence(usize),
    /// The fence reads the sequence.
    AnswerFence(usize),
    /// The fence's answer arrives.
    ReceiveFence(usize),
    /// The fence's position is applied.
    FinishFence(usize),
    /// A settlement takes its next statement.
    AskSettlement(usize),
    /// A settlement is judged.
    Settle(usize),
    /// A read arrives.
    Arrive(usize, usize, usize, Level),
    /// A reader looks into L1.
    LookIntoL1(usize, usize),
    /// A reader finds this in L2.
    LookIntoL2(usize, usize, usize),
    /// A reader joins a fill or starts one.
    Fill(usize, usize),
    /// A fill's answer arrives.
    Land(usize, usize),
    /// A reader is given up; what it started goes on.
    GiveUp(usize, usize),
    /// A batch takes an entry.
    Gather(usize, usize, usize),
    /// A batch is judged.
    JudgeBatch(usize, usize),
    /// From here on nobody arrives and nothing goes wrong.
    Drain,
}

/// Steps within which all must be answered once nobody arrives any more.
const DRAIN_STEPS: u8 = 40;

/// A scenario as a model.
#[derive(Clone, Copy, Debug)]
pub struct System(pub Scenario);

impl Model for System {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let scenario = &self.0;
        let mut primary = Primary::new(scenario);
        let begun = |_| {
            let mut sidecar = Sidecar::new(scenario);
            sidecar.begin(scenario, &mut primary);
            Arc::new(sidecar)
        };
        let sidecars = (0..scenario.sidecars).map(begun).collect();
        vec![State {
            primary: Arc::new(primary),
            sidecars,
            l2: Vec::new(),
            messages: Vec::new(),
            client: Client::default(),
            faults_left: scenario.faults_max,
            reads_left: scenario.reads_max,
            drained: None,
            violation: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.violation.is_some() {
            return;
        }
        let scenario = &self.0;
        for place in 0..scenario.sidecars {
            state.steps_of_sidecar(scenario, place, actions);
        }
        if state.drained.is_none() {
            state.steps_of_the_rest(scenario, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        next.perform(&self.0, &action);
        if let Some(steps) = &mut next.drained {
            *steps = steps.saturating_sub(1);
            if *steps == 0 {
                next.violation = Some(Violation::Unanswered);
            }
        }
        next.forget_order();
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::<Self>::always(SAFE, |_, state| state.violation.is_none()),
            Property::<Self>::always(ANSWERED, |model, state| {
                if state.drained.is_none() || state.sidecars.iter().all(|sidecar| sidecar.is_idle()) {
                    return true;
                }
                let mut actions = Vec::new();
                model.actions(state, &mut actions);
                actions
                    .into_iter()
                    .any(|action| model.next_state(state, action).is_some())
            }),
        ];
        properties.extend(self.0.reaches.iter().map(|reach| reach.property()));
        properties
    }
}

/// The property that no violation happens.
const SAFE: &str = "no read is old, torn, another key's or undone";
/// The property that all reads end.
const ANSWERED: &str = "whoever reads is answered";

impl State {
    fn steps_of_sidecar(&self, scenario: &Scenario, place: usize, actions: &mut Vec<Action>) {
        let sidecar = &self.sidecars[place];
        if !sidecar.is_connected {
            actions.push(Action::Begin(place));
        } else {
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

    fn steps_of_the_rest(&self, scenario: &Scenario, actions: &mut Vec<Action>) {
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

    fn perform(&mut self, scenario: &Scenario, action: &Action) {
        match *action {
            Action::Write(writer) => self.primary_mut().advance(scenario, writer),
            Action::Abort(writer) => self.primary_mut().abort(writer),
            Action::Tick(fault) => self.tick(scenario, fault),
            Action::StepClock(writer) => {
                self.faults_left -= 1;
                self.primary_mut().step_clock(writer);
            }
            Action::Prune => {
                self.faults_left -= 1;
                self.primary_mut().prune();
            }
            Action::Lose(commits) => self.lose(commits),
            Action::Restart(place) => {
                self.faults_left -= 1;
                self.sidecars[place] = Arc::new(Sidecar::new(scenario));
            }
            Action::Begin(place) => {
                let primary = Arc::make_mut(&mut self.primary);
                Arc::make_mut(&mut self.sidecars[place]).begin(scenario, primary);
            }
            Action::CatchUp(place) => {
                let said = Arc::make_mut(&mut self.sidecars[place]).catch_up(scenario, &self.primary);
                if let Some(message) = said.filter(|message| scenario.has_broadcast && !self.messages.contains(message))
                {
                    self.messages.push(message);
                }
            }
            Action::Hear(place, message) => Arc::make_mut(&mut self.sidecars[place]).hear(&self.messages[message]),
            Action::HearForged(place) => self.sidecar(place).hear_forged(),
            Action::SendFence(place) => Arc::make_mut(&mut self.sidecars[place]).send_fence(scenario, &self.primary),
            Action::AnswerFence(place) => {
                Arc::make_mut(&mut self.sidecars[place]).answer_fence(scenario, &self.primary)
            }
            Action::ReceiveFence(place) => self.sidecar(place).receive_fence(),
            Action::FinishFence(place) => self.sidecar(place).finish_fence(scenario),
            Action::AskSettlement(place) => {
                Arc::make_mut(&mut self.sidecars[place]).ask_settlement(scenario, &self.primary);
            }
            Action::Settle(place) => self.sidecar(place).settle(scenario),
            Action::Arrive(place, reader, key, level) => {
                self.reads_left = self.reads_left.map(|left| left - 1);
                let sidecar = Arc::make_mut(&mut self.sidecars[place]);
                sidecar.arrive(reader, key, level, &self.primary, &self.client);
            }
            Action::LookIntoL1(place, reader) => {
                let step = self.sidecar(place).look_into_l1(reader);
                self.judge(scenario, place, step);
            }
            Action::LookIntoL2(place, reader, entry) => {
                let entry = self.l2[entry].clone();
                let step = self.sidecar(place).look_into_l2(reader, &entry);
                self.judge(scenario, place, step);
            }
            Action::Fill(place, reader) => {
                let step = Arc::make_mut(&mut self.sidecars[place]).fly(reader, &self.primary);
                self.judge(scenario, place, step);
                if scenario.fills_at_once {
                    (0..KEYS).for_each(|key| self.land(scenario, place, key));
                }
            }
            Action::Land(place, key) => self.land(scenario, place, key),
            Action::GiveUp(place, reader) => self.sidecar(place).readers[reader] = Reader::Idle,
            Action::Gather(place, reader, key) => {
                Arc::make_mut(&mut self.sidecars[place]).gather(reader, key, &self.primary);
            }
            Action::JudgeBatch(place, reader) => {
                let step = Arc::make_mut(&mut self.sidecars[place]).judge_gathered(reader, &self.primary);
                self.judge(scenario, place, step);
            }
            Action::Drain => self.drained = Some(DRAIN_STEPS),
        }
    }

    fn primary_mut(&mut self) -> &mut Primary {
        Arc::make_mut(&mut self.primary)
    }

    fn sidecar(&mut self, place: usize) -> &mut Sidecar {
        Arc::make_mut(&mut self.sidecars[place])
    }

    fn tick(&mut self, scenario: &Scenario, fault: Option<(usize, Fault)>) {
        self.primary_mut().tick(scenario);
        self.faults_left -= u8::from(fault.is_some());
        for place in 0..self.sidecars.len() {
            let here = fault.filter(|(faulty, _)| *faulty == place).map(|(_, fault)| fault);
            let clocks = Clocks {
                boot: here != Some(Fault::Steer),
                raw: here != Some(Fault::Suspend),
            };
            self.sidecar(place).tick(scenario, clocks);
        }
    }

    /// What is lost is lost to readers, too: nobody can ask for it any more.
    fn lose(&mut self, commits: usize) {
        self.faults_left -= 1;
        self.primary_mut().lose(commits);
        let versions = self.primary.versions;
        self.client.least = least(self.client.least, versions);
        for place in 0..self.sidecars.len() {
            for reader in &mut self.sidecar(place).readers {
                reader.forget_what_was_lost(versions);
            }
        }
    }

    /// A fill ends: it is kept, and whoever waited for it goes on.
    fn land(&mut self, scenario: &Scenario, place: usize, key: usize) {
        let sidecar = Arc::make_mut(&mut self.sidecars[place]);
        let Some(entry) = sidecar.flights[key].take() else {
            return;
        };
        let is_ours = sidecar
            .world
            .as_ref()
            .is_some_and(|world| world.incarnation() == entry.incarnation);
        if is_ours {
            sidecar.keep(key, &entry);
        }
        if is_ours && scenario.has_l2 && entry.may_be_shared() && !self.l2.contains(&entry) {
            self.l2.push(entry.clone());
        }
        for reader in 0..scenario.readers {
            let step = self.sidecar(place).land(reader, &entry);
            self.judge(scenario, place, step);
        }
    }

    /// Judges what a step of a reader came to.
    fn judge(&mut self, scenario: &Scenario, place: usize, step: Step) {
        match step {
            Step::On => {}
            Step::Answer(read, entitlement, entry) => {
                self.violation = self.violation.or(self.violates(place, &read, &entry));
                if scenario.levels.contains(&Level::AtLeastAsFresh) {
                    self.hand_token(place, &read, &entitlement, &entry);
                }
            }
            Step::Batch(read, entries) => {
                for entry in &entries {
                    self.violation = self.violation.or(self.violates(place, &read, entry));
                }
                let versions = entries.map(|entry| entry.version);
                let is_state = (0..=self.primary.newest_position()).any(|at| self.primary.state_at(at) == versions);
                if !is_state {
                    self.violation = self.violation.or(Some(Violation::Torn));
                }
            }
        }
    }

    fn violates(&self, place: usize, read: &Read, entry: &Entry) -> Option<Violation> {
        let now = self.primary.incarnation();
        let has_begun = self.sidecars[place]
            .world_of(read)
            .is_some_and(|world| world.incarnation() == now);
        if entry.key != read.key && read.level != Level::Batch {
            Some(Violation::AnotherKeys)
        } else if entry.version < read.least[entry.key] {
            Some(Violation::Old)
        } else if entry.version > self.primary.versions[entry.key] && read.arrived == now && has_begun {
            Some(Violation::Undone)
        } else {
            None
        }
    }

    /// Hands the client the token of its answer, as production does.
    fn hand_token(&mut self, place: usize, read: &Read, entitlement: &Entitlement, entry: &Entry) {
        let world = self.sidecars[place].world_of(read);
        let is_ours = world.is_some_and(|world| world.incarnation() == entry.incarnation);
        let position = if is_ours {
            entitlement.token_position(entry.as_of)
        } else {
            entry.as_of
        };
        let mut seen = self.client.least;
        if entry.incarnation == self.primary.incarnation() {
            let named = self.primary.state_at(position.0 as u8);
            seen = std::array::from_fn(|key| seen[key].max(named[key]));
        }
        seen[entry.key] = seen[entry.key].max(entry.version);
        self.client = Client {
            token: Some((entry.incarnation, position)),
            least: least(seen, self.primary.versions),
        };
    }

    /// Sidecars are alike, and so are ways in which the same came to lie in L2: only one of each is explored.
    fn forget_order(&mut self) {
        self.l2
            .sort_by_key(|entry| (entry.key, entry.incarnation, entry.as_of, entry.version));
        self.messages.sort_by_key(Message::place);
        for sidecar in &mut self.sidecars {
            if sidecar.has_waste() {
                Arc::make_mut(sidecar).throw_waste_away();
            }
        }
        if self.sidecars.len() > 1 {
            self.sidecars.sort_by_cached_key(|sidecar| {
                let mut hasher = DefaultHasher::new();
                sidecar.hash(&mut hasher);
                hasher.finish()
            });
        }
    }
}
