//! All registers together: there must be one order of all operations, and there is one iff these edges have no cycle.
//!
//! Who ends before another begins comes before it (along a chain of all ends, so that there are few edges); versions of a register come in
//! their order; a read comes after the writes whose versions it shows and before the writes that replaced them; and a read with a token after
//! what that carries: the writes that its answer showed, what the answer was asked with, and for a token that was asked for by itself, all. A batch is one operation with several registers: if it is no state, its edges close a cycle. Reads that were found to lie
//! by themselves stay out, or everything would hang on them.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet, VecDeque},
};

use super::{Kind, Violation, seconds, truth::Truth};
use crate::jepsen::{
    level::Level,
    record::{History, Moment, NEVER, Seen},
};

mod components;

use components::{Graph, components};

/// In a build that is broken, one is as good as a thousand.
const VIOLATIONS_MAX: usize = 100;
/// Where single registers contradict themselves this often, nothing more is to be learnt.
const LIES_ENOUGH: usize = 2_000;
/// Reads of one component that are tried for the shortest cycle, fewer in a large one.
const CANDIDATES_MAX: usize = 64;
/// Nodes that may be gone through for all of them together.
const NODES_MAX: usize = 200_000;

/// Finds what has no place in any order.
pub(super) fn judge(history: &History, truth: &Truth, is_flagged: &mut [bool], violations: &mut Vec<Violation>) {
    if violations.len() >= LIES_ENOUGH {
        return;
    }
    let order = Order::of(history, truth, is_flagged);
    let everything: Vec<u32> = (0..order.graph.nodes() as u32).collect();
    let mut work = components(&order.graph, &everything);
    let mut found = 0;
    while let Some(mut component) = work.pop() {
        let Some(cycle) = order.shortest_cycle(&component) else {
            // Writes alone: the database contradicts itself, which the registers have shown already.
            continue;
        };
        let culprit = order.culprit(&cycle);
        is_flagged[culprit] = true;
        violations.push(order.violation(culprit, &cycle));
        found += 1;
        if found >= VIOLATIONS_MAX {
            return;
        }
        component.retain(|node| *node != order.node_of_read(culprit));
        work.extend(components(&order.graph, &component));
    }
}

struct Order<'h> {
    history: &'h History,
    graph: Graph,
}

impl<'h> Order<'h> {
    /// Nodes: writes, then reads, then the tokens that these gave, then the chain of ends.
    fn of(history: &'h History, truth: &Truth, is_flagged: &[bool]) -> Self {
        let (writes, reads) = (history.writes.len(), history.reads.len());
        let takes_part = |place: usize| history.reads[place].is_answered() && !is_flagged[place];
        let spans = spans(history, &takes_part);
        let mut ends: Vec<Moment> = spans.iter().map(|span| span.end).filter(|end| *end != NEVER).collect();
        ends.sort_unstable();
        ends.dedup();
        let token = |place: usize| (writes + reads + place) as u32;
        let link = |place: usize| (writes + 2 * reads + place) as u32;
        let mut edges = Vec::with_capacity(ends.len() + 2 * spans.len() + 2 * history.seen.len());
        edges.extend((1..ends.len()).map(|place| (link(place - 1), link(place))));
        for span in &spans {
            if let Ok(place) = ends.binary_search(&span.end) {
                edges.push((span.node, link(place)));
            }
            let before = ends.partition_point(|end| *end < span.since);
            if before > 0 {
                edges.push((link(before - 1), span.node));
            }
        }
        for register in 0..truth.registers() {
            let makers: Vec<u32> = truth.versions(register).map(|(_, write)| write).collect();
            edges.extend(makers.windows(2).map(|pair| (pair[0], pair[1])));
        }
        for place in (0..reads).filter(|place| takes_part(*place)) {
            let (read, node) = (&history.reads[place], (writes + place) as u32);
            for seen in history.seen_by(read) {
                edges.extend(truth.maker(history, *seen).ok().flatten().map(|write| (write, node)));
                edges.extend(truth.successor(*seen).map(|write| (node, write)));
            }
            let basis = history.basis_of(read).filter(|basis| takes_part(*basis));
            edges.extend(basis.map(|basis| (token(basis), node)));
        }
        for place in token_givers(history, &takes_part) {
            let read = &history.reads[place];
            let shown = history
                .seen_by(read)
                .iter()
                .filter_map(|seen| truth.maker(history, *seen).ok().flatten());
            edges.extend(shown.map(|write| (write, token(place))));
            let basis = history.basis_of(read).filter(|basis| takes_part(*basis));
            edges.extend(basis.map(|basis| (token(basis), token(place))));
            edges.extend(read.is_fence.then(|| ((writes + place) as u32, token(place))));
        }
        Self {
            history,
            graph: Graph::of(writes + 2 * reads + ends.len(), &edges),
        }
    }

    fn node_of_read(&self, place: usize) -> u32 {
        (self.history.writes.len() + place) as u32
    }

    fn read_at(&self, node: u32) -> Option<usize> {
        let place = (node as usize).checked_sub(self.history.writes.len())?;
        (place < self.history.reads.len()).then_some(place)
    }

    /// The shortest cycle through one of the component's reads, those of many registers first.
    fn shortest_cycle(&self, component: &[u32]) -> Option<Vec<u32>> {
        let members: HashSet<u32> = component.iter().copied().collect();
        let mut reads: Vec<usize> = component.iter().filter_map(|node| self.read_at(*node)).collect();
        reads.sort_by_key(|place| (Reverse(self.history.reads[*place].seen_count), *place));
        reads.truncate((NODES_MAX / component.len()).clamp(1, CANDIDATES_MAX));
        let cycles = reads
            .into_iter()
            .filter_map(|place| self.cycle_through(self.node_of_read(place), &members));
        cycles.min_by_key(Vec::len)
    }

    /// Without tokens and the links of the chain: only what was done.
    fn cycle_through(&self, start: u32, members: &HashSet<u32>) -> Option<Vec<u32>> {
        let mut came_from: HashMap<u32, u32> = HashMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for next in self.graph.after(node) {
                if *next == start {
                    let mut cycle = vec![node];
                    while cycle.last() != Some(&start) {
                        cycle.push(came_from[cycle.last()?]);
                    }
                    cycle.reverse();
                    let operations = self.history.writes.len() + self.history.reads.len();
                    cycle.retain(|node| (*node as usize) < operations);
                    return Some(cycle);
                }
                if members.contains(next) && !came_from.contains_key(next) {
                    came_from.insert(*next, node);
                    queue.push_back(*next);
                }
            }
        }
        None
    }

    /// Of a cycle's reads the one that shows most: a batch rather than a single read.
    fn culprit(&self, cycle: &[u32]) -> usize {
        let reads = cycle.iter().filter_map(|node| self.read_at(*node));
        reads
            .max_by_key(|place| self.history.reads[*place].seen_count)
            .expect("the cycle began at a read")
    }

    fn violation(&self, culprit: usize, cycle: &[u32]) -> Violation {
        let history = self.history;
        let read = &history.reads[culprit];
        let steps: Vec<String> = cycle.iter().map(|node| self.step(*node)).collect();
        let process = &history.processes[usize::from(read.process)];
        Violation {
            kind: if read.level == Level::Token {
                Kind::Token
            } else {
                Kind::Torn
            },
            read: Some(culprit),
            register: self.torn_register(culprit, cycle),
            start: read.start,
            end: read.end,
            story: format!(
                "{}: a read at {} of {} registers by {process} is no state: each before the next, and round again: {}",
                seconds(read.start),
                read.level.name(),
                read.seen_count,
                steps.join(" → ")
            ),
        }
    }

    /// Of what a read shows, the register that a write of the cycle replaced or made.
    fn torn_register(&self, culprit: usize, cycle: &[u32]) -> Option<u16> {
        let shown = self.history.seen_by(&self.history.reads[culprit]);
        let writes = cycle.iter().filter_map(|node| self.history.writes.get(*node as usize));
        let made: HashSet<(u16, u32)> = writes.flat_map(|write| write.made.iter().copied()).collect();
        let is_torn = |seen: &&Seen| made.contains(&(seen.register, seen.version + 1));
        shown.iter().find(is_torn).or(shown.first()).map(|seen| seen.register)
    }

    fn step(&self, node: u32) -> String {
        let history = self.history;
        let of = |register: u16, version: u32| format!("{} v{version}", history.registers[usize::from(register)]);
        if let Some(place) = self.read_at(node) {
            let read = &history.reads[place];
            let shown: Vec<String> = history
                .seen_by(read)
                .iter()
                .map(|seen| of(seen.register, seen.version))
                .collect();
            let process = &history.processes[usize::from(read.process)];
            return format!("read by {process} at {} [{}]", seconds(read.start), shown.join(", "));
        }
        let write = &history.writes[node as usize];
        let made: Vec<String> = write
            .made
            .iter()
            .map(|(register, version)| of(*register, *version))
            .collect();
        format!("write {} at {} [{}]", write.id, seconds(write.start), made.join(", "))
    }
}

/// The reads whose tokens were used.
fn token_givers(history: &History, takes_part: &dyn Fn(usize) -> bool) -> HashSet<usize> {
    let bases = history.reads.iter().filter_map(|read| history.basis_of(read));
    bases.filter(|basis| takes_part(*basis)).collect()
}

/// From when on an operation must know, and when it was over.
struct Span {
    node: u32,
    since: Moment,
    end: Moment,
}

fn spans(history: &History, takes_part: &dyn Fn(usize) -> bool) -> Vec<Span> {
    let writes = history
        .writes
        .iter()
        .enumerate()
        .filter(|(_, write)| !write.made.is_empty());
    let writes = writes.map(|(place, write)| Span {
        node: place as u32,
        since: write.start,
        end: write.acknowledged(),
    });
    let reads = history.reads.iter().enumerate().filter(|(place, _)| takes_part(*place));
    let reads = reads.map(|(place, read)| Span {
        node: (history.writes.len() + place) as u32,
        since: match read.level {
            Level::Full => read.start,
            Level::Bounded => read.start.saturating_sub(history.staleness_bound),
            // The edges from its token say it.
            Level::Token => 0,
        },
        end: read.end,
    });
    writes.chain(reads).collect()
}
