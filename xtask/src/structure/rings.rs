//! Rings in a graph.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A ring, and all nodes of its circle.
type Circle<'a> = (Vec<&'a str>, Vec<&'a str>);

/// The circles of a graph: for each set of nodes that lead to one another, the shortest ring in
/// it, and the whole set.
pub(super) fn rings<'a>(edges: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Circle<'a>> {
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in edges {
        graph.entry(from).or_default().insert(to);
    }
    let reaches: BTreeMap<&str, BTreeSet<&str>> = graph
        .keys()
        .map(|node| (*node, from(&graph, node)))
        .collect();
    let leads = |a: &str, b: &str| reaches.get(a).is_some_and(|all| all.contains(b));
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut found = Vec::new();
    for node in graph.keys() {
        if done.contains(node) || !leads(node, node) {
            continue;
        }
        let members: BTreeSet<&str> = graph
            .keys()
            .copied()
            .filter(|other| leads(node, other) && leads(other, node))
            .collect();
        let shortest = members.iter().filter_map(|start| ring(&graph, start));
        if let Some(ring) = shortest.min_by_key(Vec::len) {
            found.push((ring, members.iter().copied().collect()));
        }
        done.extend(members);
    }
    found
}

/// Every node that one leads to, itself only by a circle.
fn from<'a>(graph: &BTreeMap<&'a str, BTreeSet<&'a str>>, start: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&str> = graph.get(start).into_iter().flatten().copied().collect();
    while let Some(node) = next.pop() {
        if seen.insert(node) {
            next.extend(graph.get(node).into_iter().flatten().copied());
        }
    }
    seen
}

/// The shortest way from a node to itself.
fn ring<'a>(graph: &BTreeMap<&'a str, BTreeSet<&'a str>>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for next in graph.get(node).into_iter().flatten() {
            if *next == start {
                let mut way = vec![node];
                let mut at = node;
                while at != start {
                    at = before[at];
                    way.push(at);
                }
                way.reverse();
                return Some(way);
            }
            if !before.contains_key(next) {
                before.insert(next, node);
                queue.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_circle_is_found_once() {
        let edges = [
            ("a", "b"),
            ("b", "c"),
            ("c", "a"),
            ("c", "b"),
            ("c", "d"),
            ("e", "f"),
            ("f", "e"),
            ("g", "g2"),
        ];
        assert_eq!(
            rings(edges.into_iter()),
            [
                (vec!["b", "c"], vec!["a", "b", "c"]),
                (vec!["e", "f"], vec!["e", "f"])
            ]
        );
        assert_eq!(rings([("a", "b"), ("a", "c"), ("b", "c")].into_iter()), []);
    }
}
