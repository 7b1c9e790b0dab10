//! What pods cost, and what those cost that only keep room for others. Asked for by `seen`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::crd::meaning::Resource;
use crate::decide::ReserveSeen;
use crate::watch::nodes::Nodes;
use crate::watch::selector::Selector;

use super::{Pod, Pods, State, requested};

impl Pods {
    /// What the pods cost in an hour that a selector matches, by the pool of their nodes: of each node the share of what they
    /// request of it, of CPU or of memory, whichever is larger. `None` when the price of a node is unknown.
    pub(in crate::watch) fn costs(
        &self,
        namespace: &str,
        selector: &Selector,
        nodes: &Nodes,
        now: Timestamp,
    ) -> BTreeMap<Arc<str>, Option<f64>> {
        costs_of(self.matching(namespace, selector).map(|(_, pod)| pod), nodes, now)
    }

    /// The placeholders that keep room, by the name of what they stand for.
    fn placeholders<'a>(&'a self, namespace: &str, name: &'a str) -> impl Iterator<Item = &'a Pod> {
        let pods = self.by_namespace.get(namespace).into_iter().flat_map(BTreeMap::values);
        pods.filter(move |pod| pod.reserve() == Some(name))
    }

    /// How many of them have a node and stay, by node; none of a node that is about to go.
    pub(in crate::watch) fn placeholder_nodes(
        &self,
        (namespace, name): (&str, &str),
        ground: &Nodes,
        now: Timestamp,
    ) -> Vec<(Arc<str>, u32)> {
        let mut nodes: BTreeMap<&Arc<str>, u32> = BTreeMap::new();
        for pod in self.placeholders(namespace, name) {
            let stays = matches!(pod.state, State::Pending | State::Runs);
            if let Some(node) = pod.node.as_ref().filter(|_| stays) {
                *nodes.entry(node).or_default() += 1;
            }
        }
        let stays = |node: &str| ground.ground(node, now).is_none_or(|it| it.going.is_none());
        let nodes = nodes.into_iter().filter(|(node, _)| stays(node));
        nodes.map(|(node, places)| (Arc::clone(node), places)).collect()
    }

    /// What they cost in an hour, by the pool of their nodes.
    pub(in crate::watch) fn room_costs(
        &self,
        (namespace, name): (&str, &str),
        nodes: &Nodes,
        now: Timestamp,
    ) -> BTreeMap<Arc<str>, Option<f64>> {
        costs_of(self.placeholders(namespace, name), nodes, now)
    }
}

impl Pod {
    /// Name of what it keeps room for, if it is a placeholder.
    pub(super) fn reserve(&self) -> Option<&str> {
        let mut pairs = self.labels.split_terminator('\0').filter(|_| self.mark.is_placeholder);
        pairs.find_map(|pair| pair.strip_prefix(ReserveSeen::LABEL)?.strip_prefix('='))
    }
}

/// What pods cost in an hour, by the pool of their nodes: of each node the share of what they request of it, of CPU or of memory, whichever
/// is larger. `None` when the price of a node is unknown.
fn costs_of<'a>(
    pods: impl Iterator<Item = &'a Pod>,
    nodes: &Nodes,
    now: Timestamp,
) -> BTreeMap<Arc<str>, Option<f64>> {
    let mut costs = BTreeMap::new();
    for pod in pods.filter(|pod| !pod.has_ended()) {
        let Some(ground) = pod.node.as_ref().and_then(|node| nodes.ground(node, now)) else {
            continue;
        };
        let Some(pool) = ground.pool else { continue };
        let cores = requested(&pod.requests, Resource::Cpu, None).unwrap_or(0.0);
        let bytes = requested(&pod.requests, Resource::Memory, None).unwrap_or(0.0);
        let share = (cores / ground.room.cores).max(bytes / ground.room.bytes);
        let cost = ground.price.map(|price| price * share).filter(|cost| cost.is_finite());
        let sum = costs.entry(Arc::clone(pool)).or_insert(Some(0.0));
        *sum = sum.zip(cost).map(|(sum, cost)| sum + cost);
    }
    costs
}
