//! Who waits for whom. The graph keeps counts, so that an event costs as much as the edges it
//! touches, and never as much as there are services.
//!
//! What counts as satisfied is not decided here: the policy says so, one service at a time, and the
//! graph carries it along the edges.

use crate::name::ServiceName;

/// A node of the graph: a service, or a name that some service waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u32);

impl Id {
    /// Its place in arrays that run beside the graph's nodes.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug, Default)]
struct Node {
    after: Vec<Id>,
    dependents: Vec<Id>,
    satisfied: bool,
    unmet: usize,
}

/// The dependencies of all services.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    /// For each node its component, and each component's members; `None` after an edge changed.
    components: Option<Components>,
}

impl Graph {
    /// Adds a node without edges.
    pub fn add(&mut self) -> Id {
        self.nodes.push(Node::default());
        self.components = None;
        Id(u32::try_from(self.nodes.len() - 1).expect("memory ends before the numbers do"))
    }

    /// Replaces what `id` waits for.
    pub fn set_after(&mut self, id: Id, mut after: Vec<Id>) {
        let mut seen = std::collections::HashSet::new();
        after.retain(|it| seen.insert(*it));
        for old in std::mem::take(&mut self.nodes[id.index()].after) {
            self.nodes[old.index()].dependents.retain(|it| *it != id);
        }
        for new in &after {
            self.nodes[new.index()].dependents.push(id);
        }
        let unmet = after.iter().filter(|it| !self.nodes[it.index()].satisfied).count();
        let node = &mut self.nodes[id.index()];
        node.after = after;
        node.unmet = unmet;
        self.components = None;
    }

    /// Says whether those who wait for `id` may go on. Returns whether that is news.
    pub fn set_satisfied(&mut self, id: Id, satisfied: bool) -> bool {
        if self.nodes[id.index()].satisfied == satisfied {
            return false;
        }
        self.nodes[id.index()].satisfied = satisfied;
        for k in 0..self.nodes[id.index()].dependents.len() {
            let dependent = self.nodes[id.index()].dependents[k];
            let unmet = &mut self.nodes[dependent.index()].unmet;
            *unmet = if satisfied { *unmet - 1 } else { *unmet + 1 };
        }
        true
    }

    /// What `id` waits for.
    pub fn after(&self, id: Id) -> &[Id] {
        &self.nodes[id.index()].after
    }

    /// Who waits for `id`.
    pub fn dependents(&self, id: Id) -> &[Id] {
        &self.nodes[id.index()].dependents
    }

    /// How many of its dependencies are not satisfied.
    pub fn unmet(&self, id: Id) -> usize {
        self.nodes[id.index()].unmet
    }

    /// The first dependency that is not satisfied.
    pub fn obstacle(&self, id: Id) -> Option<Id> {
        if self.unmet(id) == 0 {
            return None;
        }
        self.after(id).iter().copied().find(|it| !self.nodes[it.index()].satisfied)
    }

    /// A way from `id` along its dependencies back to `id`; empty when there is none.
    pub fn cycle(&mut self, id: Id) -> Vec<Id> {
        if self.components.is_none() {
            self.components = Some(Components::of(&self.nodes));
        }
        let components = self.components.as_ref().expect("it was just made");
        if self.after(id).contains(&id) {
            return vec![id, id];
        }
        if components.size_of(id) < 2 {
            return Vec::new();
        }
        self.way_home(id, components)
    }

    /// The shortest way from `id` back to itself, by breadth, within its component.
    fn way_home(&self, id: Id, components: &Components) -> Vec<Id> {
        let mut came_from: std::collections::HashMap<Id, Id> = std::collections::HashMap::new();
        let mut queue = std::collections::VecDeque::from([id]);
        while let Some(at) = queue.pop_front() {
            for &next in self.after(at) {
                if next == id {
                    return walk_back(id, at, &came_from);
                }
                if components.same(id, next) && !came_from.contains_key(&next) {
                    came_from.insert(next, at);
                    queue.push_back(next);
                }
            }
        }
        Vec::new()
    }
}

fn walk_back(id: Id, mut at: Id, came_from: &std::collections::HashMap<Id, Id>) -> Vec<Id> {
    let mut way = vec![id];
    while at != id {
        way.push(at);
        at = came_from[&at];
    }
    way.push(id);
    way.reverse();
    way
}

/// The strongly connected components, by Tarjan's algorithm without recursion.
#[derive(Debug)]
struct Components {
    of: Vec<u32>,
    sizes: Vec<u32>,
}

impl Components {
    const UNSEEN: u32 = u32::MAX;

    fn size_of(&self, id: Id) -> u32 {
        self.sizes[self.of[id.index()] as usize]
    }

    fn same(&self, a: Id, b: Id) -> bool {
        self.of[a.index()] == self.of[b.index()]
    }

    fn of(nodes: &[Node]) -> Self {
        let mut tarjan = Tarjan {
            nodes,
            order: vec![Self::UNSEEN; nodes.len()],
            low: vec![0; nodes.len()],
            stack: Vec::new(),
            on_stack: vec![false; nodes.len()],
            count: 0,
            found: Self { of: vec![Self::UNSEEN; nodes.len()], sizes: Vec::new() },
        };
        for root in 0..nodes.len() {
            if tarjan.order[root] == Self::UNSEEN {
                tarjan.explore(root);
            }
        }
        tarjan.found
    }
}

struct Tarjan<'a> {
    nodes: &'a [Node],
    order: Vec<u32>,
    low: Vec<u32>,
    stack: Vec<usize>,
    on_stack: Vec<bool>,
    count: u32,
    found: Components,
}

impl Tarjan<'_> {
    /// Visits all that is reachable from `root`; `path` holds nodes and how many edges they are
    /// through.
    fn explore(&mut self, root: usize) {
        let mut path = vec![(self.enter(root), 0)];
        while let Some((at, edge)) = path.last_mut() {
            let at = *at;
            if let Some(next) = self.nodes[at].after.get(*edge).map(|it| it.index()) {
                *edge += 1;
                if self.order[next] == Components::UNSEEN {
                    path.push((self.enter(next), 0));
                } else if self.on_stack[next] {
                    self.low[at] = self.low[at].min(self.order[next]);
                }
                continue;
            }
            path.pop();
            if let Some((parent, _)) = path.last() {
                self.low[*parent] = self.low[*parent].min(self.low[at]);
            }
            if self.low[at] == self.order[at] {
                self.close(at);
            }
        }
    }

    fn enter(&mut self, node: usize) -> usize {
        self.order[node] = self.count;
        self.low[node] = self.count;
        self.count += 1;
        self.stack.push(node);
        self.on_stack[node] = true;
        node
    }

    /// Takes the component whose first node is `root` off the stack.
    fn close(&mut self, root: usize) {
        let component = u32::try_from(self.found.sizes.len()).expect("there are fewer than nodes");
        let mut size = 0;
        while let Some(node) = self.stack.pop() {
            self.on_stack[node] = false;
            self.found.of[node] = component;
            size += 1;
            if node == root {
                break;
            }
        }
        self.found.sizes.push(size);
    }
}

/// The cycle as people read it: `a -> b -> a`.
pub fn path_of(names: &[ServiceName]) -> String {
    names.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(usize, usize)], count: usize) -> (Graph, Vec<Id>) {
        let mut graph = Graph::default();
        let ids: Vec<Id> = (0..count).map(|_| graph.add()).collect();
        for (k, id) in ids.iter().enumerate() {
            let after = edges.iter().filter(|(from, _)| *from == k).map(|(_, to)| ids[*to]);
            graph.set_after(*id, after.collect());
        }
        (graph, ids)
    }

    #[test]
    fn a_cycle_is_found_from_each_of_its_members_and_from_nobody_else() {
        let (mut graph, ids) = graph(&[(0, 1), (1, 2), (2, 0), (3, 0), (2, 4)], 5);
        assert_eq!(graph.cycle(ids[0]), [ids[0], ids[1], ids[2], ids[0]]);
        assert_eq!(graph.cycle(ids[2]), [ids[2], ids[0], ids[1], ids[2]]);
        assert_eq!(graph.cycle(ids[3]), []);
        assert_eq!(graph.cycle(ids[4]), []);
    }

    #[test]
    fn a_service_that_waits_for_itself_is_a_cycle() {
        let (mut graph, ids) = graph(&[(0, 0)], 1);
        assert_eq!(graph.cycle(ids[0]), [ids[0], ids[0]]);
    }

    #[test]
    fn a_cycle_goes_when_an_edge_of_it_goes() {
        let (mut graph, ids) = graph(&[(0, 1), (1, 0)], 2);
        assert!(!graph.cycle(ids[0]).is_empty());
        graph.set_after(ids[1], Vec::new());
        assert_eq!(graph.cycle(ids[0]), []);
    }

    #[test]
    fn unmet_follows_what_is_satisfied_however_often_it_changes() {
        let (mut graph, ids) = graph(&[(0, 1), (0, 2)], 3);
        assert_eq!((graph.unmet(ids[0]), graph.obstacle(ids[0])), (2, Some(ids[1])));
        assert!(graph.set_satisfied(ids[1], true));
        assert!(!graph.set_satisfied(ids[1], true));
        assert_eq!((graph.unmet(ids[0]), graph.obstacle(ids[0])), (1, Some(ids[2])));
        graph.set_satisfied(ids[2], true);
        assert_eq!((graph.unmet(ids[0]), graph.obstacle(ids[0])), (0, None));
        graph.set_satisfied(ids[1], false);
        assert_eq!(graph.unmet(ids[0]), 1);
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_does_not_overflow_the_stack() {
        let edges: Vec<_> = (1..100_000).map(|k| k - 1).collect();
        let mut graph = Graph::default();
        let ids: Vec<Id> = (0..100_000).map(|_| graph.add()).collect();
        for k in edges {
            graph.set_after(ids[k], vec![ids[k + 1]]);
        }
        assert_eq!(graph.cycle(ids[0]), []);
        graph.set_after(ids[99_999], vec![ids[0]]);
        assert_eq!(graph.cycle(ids[0]).len(), 100_001);
    }
}
