//! A graph of numbered nodes, and its strongly connected components by Tarjan's algorithm, without recursion.

/// Edges by their source.
pub(super) struct Graph {
    /// Where the edges of each node begin.
    from: Vec<u32>,
    to: Vec<u32>,
}

impl Graph {
    pub(super) fn of(nodes: usize, edges: &[(u32, u32)]) -> Self {
        let mut from = vec![0_u32; nodes + 1];
        for (source, _) in edges {
            from[*source as usize + 1] += 1;
        }
        for node in 0..nodes {
            from[node + 1] += from[node];
        }
        let mut place = from.clone();
        let mut to = vec![0; edges.len()];
        for (source, target) in edges {
            let slot = &mut place[*source as usize];
            to[*slot as usize] = *target;
            *slot += 1;
        }
        Self { from, to }
    }

    pub(super) fn nodes(&self) -> usize {
        self.from.len() - 1
    }

    pub(super) fn after(&self, node: u32) -> &[u32] {
        let (start, end) = (self.from[node as usize], self.from[node as usize + 1]);
        &self.to[start as usize..end as usize]
    }
}

/// Not met yet, or not one of the nodes that are looked at.
const UNMET: u32 = u32::MAX;

/// The components of more than one node, among some of the nodes.
pub(super) fn components(graph: &Graph, among: &[u32]) -> Vec<Vec<u32>> {
    let mut state = State {
        is_among: vec![false; graph.nodes()],
        met: vec![UNMET; graph.nodes()],
        lowest: vec![UNMET; graph.nodes()],
        is_open: vec![false; graph.nodes()],
        open: Vec::new(),
        next: 0,
    };
    for node in among {
        state.is_among[*node as usize] = true;
    }
    let mut found = Vec::new();
    // Each node with the number of its edges that were followed.
    let mut path: Vec<(u32, u32)> = Vec::new();
    for root in among {
        if state.met[*root as usize] != UNMET {
            continue;
        }
        state.enter(*root);
        path.push((*root, 0));
        while let Some((node, followed)) = path.last_mut() {
            let node = *node;
            if let Some(next) = graph.after(node).get(*followed as usize).copied() {
                *followed += 1;
                if state.met[next as usize] == UNMET && state.is_among[next as usize] {
                    state.enter(next);
                    path.push((next, 0));
                } else if state.is_open[next as usize] {
                    state.lower(node, state.met[next as usize]);
                }
                continue;
            }
            path.pop();
            if let Some((parent, _)) = path.last() {
                state.lower(*parent, state.lowest[node as usize]);
            }
            if state.lowest[node as usize] == state.met[node as usize] {
                let component = state.close(node);
                if component.len() > 1 {
                    found.push(component);
                }
            }
        }
    }
    found
}

struct State {
    is_among: Vec<bool>,
    /// The order in which nodes were met.
    met: Vec<u32>,
    /// The earliest open node that can be reached.
    lowest: Vec<u32>,
    is_open: Vec<bool>,
    open: Vec<u32>,
    next: u32,
}

impl State {
    fn enter(&mut self, node: u32) {
        self.met[node as usize] = self.next;
        self.lowest[node as usize] = self.next;
        self.is_open[node as usize] = true;
        self.open.push(node);
        self.next += 1;
    }

    fn lower(&mut self, node: u32, to: u32) {
        let lowest = &mut self.lowest[node as usize];
        *lowest = to.min(*lowest);
    }

    fn close(&mut self, first: u32) -> Vec<u32> {
        let place = self.open.iter().rposition(|node| *node == first).unwrap_or(0);
        let component = self.open.split_off(place);
        for node in &component {
            self.is_open[*node as usize] = false;
        }
        component
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_and_trees_are_not() {
        let graph = Graph::of(7, &[(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 4), (0, 6)]);
        let mut found = components(&graph, &[0, 1, 2, 3, 4, 5, 6]);
        for component in &mut found {
            component.sort_unstable();
        }
        found.sort();
        assert_eq!(found, [vec![0, 1, 2], vec![4, 5]]);
        assert!(components(&graph, &[0, 1, 3, 4, 6]).is_empty());
    }
}
