//! Who needs whom, and in which way. An event costs as much as the edges that it touches, and never
//! as much as there are services.
//!
//! What counts as up or settled is not decided here: the policy says so, one service at a time, and
//! the graph carries it along the edges.

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

/// What one service needs of another before it may run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// That it is up.
    Up,
    /// That it is up, or will not be soon.
    Settled,
    /// That it is down.
    Down,
}

/// How a service is, as far as others need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Those who need it up may go on.
    pub up: bool,
    /// Those who only want it may go on.
    pub settled: bool,
    /// Those who conflict with it may go on.
    pub down: bool,
}

impl Facts {
    /// How a service is that does not exist.
    pub const ABSENT: Self = Self { up: false, settled: true, down: true };

    fn meet(self, need: Need) -> bool {
        match need {
            Need::Up => self.up,
            Need::Settled => self.settled,
            Need::Down => self.down,
        }
    }
}

#[derive(Clone, Debug)]
struct Node {
    needs: Vec<(Id, Need)>,
    dependents: Vec<(Id, Need)>,
    facts: Facts,
}

/// The dependencies of all services.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    /// For each node its component, and each component's members; `None` after an edge changed.
    components: Option<Components>,
}

impl Graph {
    /// Adds a node without edges.
    pub fn add(&mut self) -> Id {
        self.nodes.push(Node { needs: Vec::new(), dependents: Vec::new(), facts: Facts::ABSENT });
        self.components = None;
        Id(u32::try_from(self.nodes.len() - 1).expect("memory ends before the numbers do"))
    }

    /// Replaces what `id` needs. Who is needed in two ways is listed twice.
    pub fn set_needs(&mut self, id: Id, mut needs: Vec<(Id, Need)>) {
        let mut seen = std::collections::HashSet::new();
        needs.retain(|it| seen.insert(*it));
        if self.nodes[id.index()].needs == needs {
            return;
        }
        for (old, need) in std::mem::take(&mut self.nodes[id.index()].needs) {
            self.nodes[old.index()].dependents.retain(|it| *it != (id, need));
        }
        for (new, need) in &needs {
            self.nodes[new.index()].dependents.push((id, *need));
        }
        self.nodes[id.index()].needs = needs;
        self.components = None;
    }

    /// Says how `id` is. Returns whether that is news.
    pub fn set_facts(&mut self, id: Id, facts: Facts) -> bool {
        std::mem::replace(&mut self.nodes[id.index()].facts, facts) != facts
    }

    /// How `id` is.
    pub fn facts(&self, id: Id) -> Facts {
        self.nodes[id.index()].facts
    }

    /// What `id` needs.
    pub fn needs(&self, id: Id) -> &[(Id, Need)] {
        &self.nodes[id.index()].needs
    }

    /// Who needs `id`.
    pub fn dependents(&self, id: Id) -> &[(Id, Need)] {
        &self.nodes[id.index()].dependents
    }

    /// What `id` needs and does not have, in order. What it merely wants is no reason to wait where
    /// that waits for `id` in turn.
    pub fn unmet(&mut self, id: Id) -> Vec<(Id, Need)> {
        let lacks = |(it, need): &(Id, Need)| !self.nodes[it.index()].facts.meet(*need);
        let mut unmet: Vec<_> = self.needs(id).iter().copied().filter(lacks).collect();
        if unmet.iter().any(|(_, need)| *need == Need::Settled) {
            let components = self.components();
            unmet.retain(|(it, need)| *need != Need::Settled || !components.same(id, *it));
        }
        unmet
    }

    /// The first need of `id` that is not met, as [`unmet`](Self::unmet) has it.
    pub fn obstacle(&mut self, id: Id) -> Option<(Id, Need)> {
        let lacks = |(it, need): &(Id, Need)| !self.nodes[it.index()].facts.meet(*need);
        match self.needs(id).iter().copied().find(lacks) {
            Some((_, Need::Settled)) => self.unmet(id).first().copied(),
            found => found,
        }
    }

    /// Whether each of the two waits for the other, or for one that does.
    pub fn wait_for_each_other(&mut self, one: Id, other: Id) -> bool {
        self.components().same(one, other)
    }

    fn components(&mut self) -> &Components {
        if self.components.is_none() {
            self.components = Some(Components::of(&self.nodes));
        }
        self.components.as_ref().expect("it was just made")
    }

    /// A way from `id` along what it needs to be up back to `id`; empty when there is none.
    pub fn cycle(&mut self, id: Id) -> Vec<Id> {
        if self.needs(id).contains(&(id, Need::Up)) {
            return vec![id, id];
        }
        if self.components().size_of(id) < 2 {
            return Vec::new();
        }
        self.way_home(id)
    }

    /// The shortest such way, by breadth.
    fn way_home(&self, id: Id) -> Vec<Id> {
        let components = self.components.as_ref().expect("its caller has made them");
        let mut came_from: std::collections::HashMap<Id, Id> = std::collections::HashMap::new();
        let mut queue = std::collections::VecDeque::from([id]);
        while let Some(at) = queue.pop_front() {
            for &(next, _) in self.needs(at).iter().filter(|(_, need)| *need == Need::Up) {
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
#[derive(Clone, Debug)]
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
            if let Some((next, need)) = self.nodes[at].needs.get(*edge) {
                let next = next.index();
                *edge += 1;
                if *need == Need::Down {
                    continue; // Nobody waits for the other to come.
                }
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
        let hard: Vec<_> = edges.iter().map(|(from, to)| (*from, *to, Need::Up)).collect();
        mixed(&hard, count)
    }

    fn mixed(edges: &[(usize, usize, Need)], count: usize) -> (Graph, Vec<Id>) {
        let mut graph = Graph::default();
        let ids: Vec<Id> = (0..count).map(|_| graph.add()).collect();
        for (k, id) in ids.iter().enumerate() {
            let of_k = edges.iter().filter(|(from, ..)| *from == k);
            graph.set_needs(*id, of_k.map(|(_, to, need)| (ids[*to], *need)).collect());
        }
        (graph, ids)
    }

    const UP: Facts = Facts { up: true, settled: true, down: false };
    const COMING: Facts = Facts { up: false, settled: false, down: false };

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
        graph.set_needs(ids[1], Vec::new());
        assert_eq!(graph.cycle(ids[0]), []);
    }

    #[test]
    fn who_is_only_wanted_closes_no_cycle_and_is_not_waited_for_in_one() {
        let (mut graph, ids) = mixed(&[(0, 1, Need::Settled), (1, 0, Need::Up)], 2);
        assert!(!graph.set_facts(ids[0], Facts::ABSENT));
        graph.set_facts(ids[1], COMING);
        assert_eq!(graph.cycle(ids[0]), []);
        assert_eq!((graph.obstacle(ids[0]), graph.unmet(ids[0])), (None, vec![]));
        assert_eq!(graph.obstacle(ids[1]), Some((ids[0], Need::Up)));
    }

    #[test]
    fn each_need_is_met_by_its_own_fact() {
        let edges = [(0, 1, Need::Up), (0, 2, Need::Settled), (0, 3, Need::Down)];
        let (mut graph, ids) = mixed(&edges, 4);
        assert_eq!(graph.unmet(ids[0]), [(ids[1], Need::Up)]);
        for other in &ids[1..] {
            assert!(graph.set_facts(*other, COMING));
        }
        let all = [(ids[1], Need::Up), (ids[2], Need::Settled), (ids[3], Need::Down)];
        assert_eq!(graph.unmet(ids[0]), all);
        assert!(graph.set_facts(ids[1], UP) && !graph.set_facts(ids[1], UP));
        assert_eq!(graph.obstacle(ids[0]), Some((ids[2], Need::Settled)));
        graph.set_facts(ids[2], UP);
        assert_eq!(graph.obstacle(ids[0]), Some((ids[3], Need::Down)));
        graph.set_facts(ids[3], Facts::ABSENT);
        assert_eq!(graph.obstacle(ids[0]), None);
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_does_not_overflow_the_stack() {
        let mut graph = Graph::default();
        let ids: Vec<Id> = (0..100_000).map(|_| graph.add()).collect();
        for pair in ids.windows(2) {
            graph.set_needs(pair[0], vec![(pair[1], Need::Up)]);
        }
        assert_eq!(graph.cycle(ids[0]), []);
        graph.set_needs(ids[99_999], vec![(ids[0], Need::Up)]);
        assert_eq!(graph.cycle(ids[0]).len(), 100_001);
    }
}
