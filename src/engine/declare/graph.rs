//! The petgraph DAG of a pipeline: order, cycles, upstream and downstream instances.

use petgraph::Direction;
use petgraph::algo::{kosaraju_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, EdgeRef, Reversed};

use super::instance::Instance;

/// Stages in an order that respects `edges` (from, to), ties in the order of the file; or all cycles.
///
/// Each member of a cycle is an input of the next, and the last is an input of the first.
pub fn stage_order(
    count: usize,
    edges: impl IntoIterator<Item = (usize, usize)>,
) -> Result<Vec<usize>, Vec<Vec<usize>>> {
    let mut dag: DiGraph<(), ()> = DiGraph::with_capacity(count, count);
    // toposort visits later nodes first; adding the nodes in reverse keeps the order of the file.
    for _ in 0..count {
        dag.add_node(());
    }
    let node = |i: usize| NodeIndex::new(count - 1 - i);
    for (from, to) in edges {
        dag.update_edge(node(from), node(to), ());
    }
    match toposort(&dag, None) {
        Ok(order) => Ok(order.into_iter().map(|n| count - 1 - n.index()).collect()),
        // Not Tarjan's algorithm: petgraph's is recursive, and a long cycle would overflow the stack.
        Err(_) => Err(kosaraju_scc(&dag)
            .into_iter()
            .filter(|part| part.len() > 1 || dag.contains_edge(part[0], part[0]))
            .map(|part| shortest_cycle(&dag, &part).into_iter().map(|n| count - 1 - n.index()).collect())
            .collect()),
    }
}

/// A shortest cycle through the first member (in file order) of a strongly connected part.
fn shortest_cycle(dag: &DiGraph<(), ()>, part: &[NodeIndex]) -> Vec<NodeIndex> {
    let Some(&start) = part.iter().max() else { return Vec::new() };
    let mut before = std::collections::HashMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for next in dag.neighbors(at) {
            if next == start {
                let mut path = vec![at];
                while let Some(&previous) = path.last().and_then(|n| before.get(n)) {
                    path.push(previous);
                }
                path.reverse();
                return path;
            }
            if next != start && !before.contains_key(&next) {
                before.insert(next, at);
                queue.push_back(next);
            }
        }
    }
    part.to_vec()
}

/// The instances and their edges. Node indices are instance indices.
pub struct Graph {
    dag: DiGraph<(), ()>,
}

impl Graph {
    pub fn of(instances: &[Instance]) -> Self {
        let mut dag = DiGraph::with_capacity(instances.len(), instances.len());
        for _ in instances {
            dag.add_node(());
        }
        for (to, instance) in instances.iter().enumerate() {
            for wire in &instance.inputs {
                dag.update_edge(NodeIndex::new(wire.from), NodeIndex::new(to), ());
            }
        }
        Self { dag }
    }

    pub fn upstream(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        self.dag.neighbors_directed(NodeIndex::new(at), Direction::Incoming).map(NodeIndex::index)
    }

    pub fn downstream(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        self.dag.neighbors_directed(NodeIndex::new(at), Direction::Outgoing).map(NodeIndex::index)
    }

    pub fn edges(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.dag.edge_references().map(|e| (e.source().index(), e.target().index()))
    }

    /// `targets` and everything upstream of them.
    pub fn closure(&self, targets: &[usize]) -> Vec<bool> {
        let mut needed = vec![false; self.dag.node_count()];
        let reversed = Reversed(&self.dag);
        let mut dfs = Dfs::empty(reversed);
        for &target in targets {
            dfs.move_to(NodeIndex::new(target));
            while let Some(n) = dfs.next(reversed) {
                needed[n.index()] = true;
            }
        }
        needed
    }

    /// Seconds from the start of each instance to the end of the longest chain downstream; the scheduler starts the
    /// longest first.
    pub fn urgency(&self, seconds: &[f64]) -> Vec<f64> {
        let mut urgency = seconds.to_vec();
        // Instances are in topological order: going backwards, everything downstream is complete.
        for at in (0..seconds.len()).rev() {
            let below = self.downstream(at).map(|d| urgency[d]).fold(0.0, f64::max);
            urgency[at] += below;
        }
        urgency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_respects_edges_and_the_file() {
        assert_eq!(stage_order(3, []), Ok(vec![0, 1, 2]));
        assert_eq!(stage_order(3, [(2, 0), (0, 1)]), Ok(vec![2, 0, 1]));
    }

    #[test]
    fn a_cycle_is_found_shortest_first_member_first() {
        assert_eq!(stage_order(4, [(0, 1), (1, 2), (2, 1), (2, 3)]), Err(vec![vec![1, 2]]));
        assert_eq!(stage_order(2, [(1, 1)]), Err(vec![vec![1]]));
    }
}
