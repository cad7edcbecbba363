//! `zinit tree`: which services need which, with their states.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};
use zinit_host::refusal::Refusal;

use crate::commands::{Context, Outcome};
use crate::render::{Paint, items, word};

/// What `zinit tree` is told.
#[derive(Args, Debug)]
pub(crate) struct Tree {
    /// Where to begin [default: the services that no other needs]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Prints the graph in the language of graphviz
    #[arg(long)]
    dot: bool,
}

impl Tree {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        let all = cx.connect()?.call("service.status_all", json!([]))?;
        let graph = Graph::of(&all);
        if let Some(name) = self.names.iter().find(|it| !graph.0.contains_key(it.as_str())) {
            return Err(Refusal::unknown_service(name, graph.0.keys().copied()));
        }
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        cx.show(&all, |paint| if self.dot { graph.dot(&names) } else { graph.text(&names, paint) })
    }
}

/// Services with their states and what they need.
struct Graph<'a>(BTreeMap<&'a str, Node<'a>>);

struct Node<'a> {
    state: &'a str,
    needs: Vec<(&'a str, &'static str)>,
}

impl<'a> Graph<'a> {
    fn of(all: &'a Value) -> Self {
        Self(items(all).map(|it| (word(it, "name"), Node::of(it))).collect())
    }

    /// Those that nobody needs; and of each cycle that nothing else leads to, its first.
    fn roots(&self) -> Vec<&'a str> {
        let needs = self.0.values().flat_map(|it| it.needs.iter().map(|(name, _)| *name));
        let needed: BTreeSet<&str> = needs.collect();
        let mut roots: Vec<&str> =
            self.0.keys().copied().filter(|it| !needed.contains(it)).collect();
        let mut seen = BTreeSet::new();
        roots.iter().for_each(|it| self.reach(it, &mut seen));
        for name in self.0.keys() {
            if !seen.contains(name) {
                roots.push(name);
                self.reach(name, &mut seen);
            }
        }
        roots
    }

    fn reach(&self, from: &'a str, seen: &mut BTreeSet<&'a str>) {
        let mut waiting = vec![from];
        while let Some(name) = waiting.pop() {
            if seen.insert(name) {
                let needs = self.0.get(name).into_iter().flat_map(|it| &it.needs);
                waiting.extend(needs.map(|(name, _)| *name));
            }
        }
    }

    fn text(&self, names: &[&'a str], paint: Paint) -> String {
        if self.0.is_empty() {
            return "No services registered\n".to_owned();
        }
        let roots = if names.is_empty() { self.roots() } else { names.to_vec() };
        let mut drawing =
            Drawing { graph: self, paint, shown: BTreeSet::new(), text: String::new() };
        roots.iter().for_each(|it| drawing.draw(it, "", "", "", &mut Vec::new()));
        drawing.text
    }

    fn dot(&self, names: &[&'a str]) -> String {
        let mut wanted = BTreeSet::new();
        let from = if names.is_empty() { self.0.keys().copied().collect() } else { names.to_vec() };
        from.iter().for_each(|it| self.reach(it, &mut wanted));
        let mut text = String::from("digraph services {\n  rankdir=LR;\n  node [shape=box];\n");
        for name in &wanted {
            let state = self.0.get(name).map_or("Unknown", |it| it.state);
            let _ = writeln!(text, "  \"{name}\" [label=\"{name}\\n{state}\"];");
        }
        for (name, node) in self.0.iter().filter(|(name, _)| wanted.contains(*name)) {
            for (need, how) in &node.needs {
                let style = match *how {
                    "wants" => "dotted",
                    "requires" => "bold",
                    _ => "solid",
                };
                let _ = writeln!(text, "  \"{name}\" -> \"{need}\" [style={style}];");
            }
        }
        text + "}\n"
    }
}

impl<'a> Node<'a> {
    /// A service that is needed in several ways is listed once, with the strongest.
    fn of(it: &'a Value) -> Self {
        let mut needs: Vec<(&str, &'static str)> = Vec::new();
        for how in ["requires", "after", "wants"] {
            for name in items(&it[how]).filter_map(Value::as_str) {
                if !needs.iter().any(|(it, _)| *it == name) {
                    needs.push((name, how));
                }
            }
        }
        Self { state: word(it, "state"), needs }
    }
}

struct Drawing<'g, 'a> {
    graph: &'g Graph<'a>,
    paint: Paint,
    shown: BTreeSet<&'a str>,
    text: String,
}

impl<'a> Drawing<'_, 'a> {
    /// Draws a service and what it needs below it, unless that has been drawn above.
    fn draw(
        &mut self,
        name: &'a str,
        head: &str,
        indent: &str,
        how: &str,
        path: &mut Vec<&'a str>,
    ) {
        let node = self.graph.0.get(name);
        let state = self.paint.state(node.map_or("Unknown", |it| it.state));
        let how = if how.is_empty() { String::new() } else { format!(" [{how}]") };
        let has_more = node.is_some_and(|it| !it.needs.is_empty());
        let again = match () {
            () if path.contains(&name) => " (cycle)",
            () if has_more && self.shown.contains(name) => " (see above)",
            () => "",
        };
        let _ = writeln!(self.text, "{head}{} {state}{how}{again}", self.paint.bold(name));
        let Some(node) = node.filter(|_| again.is_empty()) else { return };
        self.shown.insert(name);
        path.push(name);
        for (index, (need, how)) in node.needs.iter().enumerate() {
            let is_last = index + 1 == node.needs.len();
            let (head, more) = if is_last { ("`-- ", "    ") } else { ("|-- ", "|   ") };
            let (head, indent) = (format!("{indent}{head}"), format!("{indent}{more}"));
            self.draw(need, &head, &indent, how, path);
        }
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::PLAIN;

    fn all() -> Value {
        json!([
            { "name": "a", "state": "Blocked", "after": ["b"] },
            { "name": "api", "state": "Running", "after": ["db", "gone"], "requires": ["db"] },
            { "name": "b", "state": "Blocked", "after": ["a"] },
            { "name": "db", "state": "Running", "after": ["disk"] },
            { "name": "disk", "state": "Success" },
            { "name": "web", "state": "Running", "after": ["api"], "wants": ["db"] },
        ])
    }

    #[test]
    fn what_a_service_needs_is_below_it_and_drawn_once() {
        let expected = "\
            web Running\n\
            |-- api Running [after]\n\
            |   |-- db Running [requires]\n\
            |   |   `-- disk Success [after]\n\
            |   `-- gone Unknown [after]\n\
            `-- db Running [wants] (see above)\n\
            a Blocked\n\
            `-- b Blocked [after]\n    `-- a Blocked [after] (cycle)\n";
        assert_eq!(Graph::of(&all()).text(&[], PLAIN), expected);
        let expected = "db Running\n`-- disk Success [after]\n";
        assert_eq!(Graph::of(&all()).text(&["db"], PLAIN), expected);
    }

    #[test]
    fn graphviz_gets_the_nodes_and_the_edges() {
        let expected = "digraph services {\n  rankdir=LR;\n  node [shape=box];\n  \
            \"db\" [label=\"db\\nRunning\"];\n  \"disk\" [label=\"disk\\nSuccess\"];\n  \
            \"db\" -> \"disk\" [style=solid];\n}\n";
        assert_eq!(Graph::of(&all()).dot(&["db"]), expected);
    }
}
