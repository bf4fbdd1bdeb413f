//! Everything together: which steps are possible, what each does, and what must never happen.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use stateright::{Model, Property};

use crate::{
    clock::Clocks,
    entry::Entry,
    primary::{KEYS, Primary, least},
    reader::{Client, Reader},
    scenario::{Fault, Level, Scenario},
    sidecar::{Message, Sidecar},
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
    pub(crate) client: Client,
    pub(crate) faults_left: u8,
    pub(crate) reads_left: Option<u8>,
    /// Steps that are left until all must be answered, once nobody arrives any more.
    pub(crate) drained: Option<u8>,
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
        next.forget_order(&self.0);
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

    /// Sidecars are alike, and so are ways in which the same came to lie in L2: only one of each is explored.
    fn forget_order(&mut self, scenario: &Scenario) {
        self.l2
            .sort_by_key(|entry| (entry.key, entry.incarnation, entry.as_of, entry.version));
        self.messages.sort_by_key(Message::place);
        for sidecar in &mut self.sidecars {
            if sidecar.has_waste() {
                Arc::make_mut(sidecar).throw_waste_away();
            }
        }
        if !scenario.keeps_numbers {
            self.sidecars.sort_by_cached_key(|sidecar| {
                let mut hasher = DefaultHasher::new();
                sidecar.hash(&mut hasher);
                hasher.finish()
            });
        }
    }
}
