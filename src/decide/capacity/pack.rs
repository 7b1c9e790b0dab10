//! Which pods go first, so that whole nodes become empty: a node that stands empty is taken away by whoever makes nodes, and one that is half
//! empty is paid for in full. Plain arithmetic; `costs` says when it is told to the controller of the workload.
//!
//! Left alone, a `ReplicaSet` spreads what it takes away over all nodes and empties none (kubernetes/kubernetes#138718).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The pods of one workload by the node they stand on, and who else stands there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// By the name of the node.
    pub nodes: BTreeMap<Arc<str>, NodeStanding>,
    /// Do they belong to more than one revision? Then the controller first shares out what goes among these, and costs say little.
    #[serde(default)]
    pub is_rolling: bool,
    /// The revision that they all are of, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Arc<str>>,
}

/// A node on which pods of the workload stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStanding {
    /// The workload's own pods that stay for now, by name.
    pub pods: Vec<PodStanding>,
    /// Pods of others, those apart that go with the node (of a `DaemonSet`, or the kubelet's own).
    #[serde(default)]
    pub others: u32,
    /// Is the node about to go?
    #[serde(default)]
    pub is_going: bool,
}

/// A pod of the workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStanding {
    /// Its name.
    pub name: Arc<str>,
    /// Its `resourceVersion`, so that what is written rests on what was seen.
    pub version: u64,
    /// Is it Ready? Others go before any that is, whatever they cost.
    pub is_ready: bool,
    /// Does an annotation of its own ask that nobody evicts it?
    #[serde(default)]
    pub is_kept: bool,
    /// What `controller.kubernetes.io/pod-deletion-cost` says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// A deletion cost that is written on a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// The lower, the sooner it goes.
    pub value: i32,
    /// Who wrote it; `None` is Penstock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<Arc<str>>,
}

/// A pod that is to go, and what it costs from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice<'a> {
    pub(super) node: &'a str,
    pub(super) pod: &'a PodStanding,
    pub(super) cost: i32,
}

/// What pods cost on nodes that go anyway: below what Karpenter gives, whose lowest is the lowest there is.
const GOING: i32 = -2_000_000_000;
/// What pods cost on the first node that is to become empty; on the next, one more.
const FIRST: i32 = -1_000_000;

impl PodStanding {
    /// May it be told to go?
    fn is_free(&self) -> bool {
        self.is_ready && !self.is_kept
    }

    /// Does it have a cost that Penstock wrote?
    pub(super) fn is_ours(&self) -> bool {
        self.cost.as_ref().is_some_and(|cost| cost.writer.is_none())
    }
}

impl NodeStanding {
    fn free(&self) -> impl Iterator<Item = &PodStanding> {
        self.pods.iter().filter(|pod| pod.is_free())
    }

    /// Does it become empty once all pods are gone that may be told to go? Those that are not Ready go before these.
    fn can_empty(&self) -> bool {
        self.others == 0 && self.pods.iter().all(|pod| pod.is_free() || !pod.is_ready)
    }
}

impl Standing {
    /// All of its pods.
    pub(super) fn pods(&self) -> impl Iterator<Item = &PodStanding> {
        self.nodes.values().flat_map(|node| &node.pods)
    }

    /// Pods on the fullest of its nodes, those apart that are about to go.
    pub(super) fn fullest(&self) -> u32 {
        self.loads().map(|(_, pods)| pods).max().unwrap_or(0)
    }

    /// How many pods stand on each of the same nodes.
    pub(super) fn loads(&self) -> impl Iterator<Item = (&str, u32)> {
        let stay = self.nodes.iter().filter(|(_, node)| !node.is_going);
        stay.map(|(name, node)| (&**name, count(node.pods.len())))
    }

    /// Its pods that have a cost of Penstock's.
    pub(super) fn ours(&self) -> impl Iterator<Item = &PodStanding> {
        self.pods().filter(|pod| pod.is_ours())
    }

    /// Somebody else who writes costs on its pods, the first by name, and on how many.
    pub(super) fn writer(&self) -> Option<(&Arc<str>, u32)> {
        let writers = || self.pods().filter_map(|pod| pod.cost.as_ref()?.writer.as_ref());
        let first = writers().min()?;
        Some((first, count(writers().count())))
    }

    /// The pods that go first when `most` of those that are Ready go. First all on nodes that go anyway; then those of the node that the
    /// fewest have to leave, then of the next: no other choice of as many empties more nodes. Pods on nodes that cannot become empty are
    /// not chosen. Who goes when fewer go, goes as well when more do.
    pub(super) fn choose(&self, most: u32) -> Vec<Choice<'_>> {
        let mut nodes: Vec<_> = self
            .nodes
            .iter()
            .map(|(name, node)| (node, name, node.free().count()))
            .filter(|(node, _, free)| *free != 0 && (node.is_going || node.can_empty()))
            .collect();
        // By name where all else is equal: the same picture gives the same choice.
        nodes.sort_by_key(|(node, name, free)| (!node.is_going, *free, Arc::clone(name)));
        let mut next = FIRST;
        let mut chosen = Vec::new();
        for (node, name, _) in nodes {
            let cost = if node.is_going { GOING } else { next };
            next += i32::from(!node.is_going);
            chosen.extend(node.free().map(|pod| Choice { node: name, pod, cost }));
        }
        chosen.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        chosen
    }

    /// How many nodes stand empty once these have gone, and those that are not Ready.
    pub(super) fn emptied(&self, chosen: &[Choice<'_>]) -> u32 {
        let of = |name: &str| chosen.iter().filter(|choice| choice.node == name).count();
        let is_emptied = |(name, node): &(&Arc<str>, &NodeStanding)| {
            let going = of(name);
            going != 0 && node.can_empty() && going == node.free().count()
        };
        count(self.nodes.iter().filter(is_emptied).count())
    }
}

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn pod(name: &str, is_ready: bool, is_kept: bool) -> PodStanding {
        PodStanding { name: name.into(), version: 1, is_ready, is_kept, cost: None }
    }

    /// A node by the pods on it (Ready, kept), who else stands there, and whether it goes.
    type Drawn = (Vec<(bool, bool)>, u32, bool);

    fn standing(drawn: &[Drawn]) -> Standing {
        let node = |(at, (pods, others, is_going)): (usize, &Drawn)| {
            let pods = pods.iter().enumerate().map(|(number, (is_ready, is_kept))| {
                pod(&format!("{at}-{number}"), *is_ready, *is_kept)
            });
            let node = NodeStanding { pods: pods.collect(), others: *others, is_going: *is_going };
            (Arc::from(format!("node-{at}")), node)
        };
        Standing {
            nodes: drawn.iter().enumerate().map(node).collect(),
            is_rolling: false,
            revision: None,
        }
    }

    fn drawn(nodes: usize, pods: usize) -> impl Strategy<Value = Vec<Drawn>> {
        let often = prop::bool::weighted(0.85);
        let rarely = || prop::bool::weighted(0.15);
        let others = prop_oneof![4 => Just(0_u32), 1 => 1_u32..3];
        vec((vec((often, rarely()), 0..=pods), others, rarely()), 1..=nodes)
    }

    /// The most nodes that any choice of so many pods that may be told to go leaves empty, by trying every set of nodes.
    fn most_emptied(standing: &Standing, most: u32) -> u32 {
        let nodes: Vec<_> = standing
            .nodes
            .values()
            .filter(|node| node.can_empty() && node.free().next().is_some())
            .map(|node| u32::try_from(node.free().count()).unwrap())
            .collect();
        let sets = 0..1_u32 << nodes.len();
        let of = |set: u32| {
            let inside = nodes.iter().enumerate().filter(|(at, _)| set & (1 << at) != 0);
            inside.map(|(_, free)| *free).collect::<Vec<_>>()
        };
        let fits = sets.map(of).filter(|set| set.iter().sum::<u32>() <= most);
        fits.map(|set| u32::try_from(set.len()).unwrap()).max().unwrap_or(0)
    }

    fn names<'a>(chosen: &[Choice<'a>]) -> Vec<&'a str> {
        chosen.iter().map(|choice| &*choice.pod.name).collect()
    }

    #[test]
    fn the_case_that_a_replica_set_leaves_with_five_half_empty_nodes_leaves_three_full_ones() {
        let five = standing(&vec![(vec![(true, false); 4], 0, false); 5]);
        let chosen = five.choose(10);
        assert_eq!((chosen.len(), five.emptied(&chosen)), (10, 2));
        assert_eq!(chosen.iter().map(|choice| choice.cost).max(), Some(FIRST + 2));
    }

    #[test]
    fn pods_on_nodes_that_go_anyway_go_first_also_where_others_stand() {
        let mixed = standing(&[
            (vec![(true, false)], 0, false),
            (vec![(true, false), (true, true)], 3, true),
        ]);
        let chosen = mixed.choose(2);
        assert_eq!(names(&chosen), ["1-0", "0-0"]);
        assert_eq!([chosen[0].cost, chosen[1].cost], [GOING, FIRST]);
    }

    #[test]
    fn where_others_stand_on_every_node_nobody_is_chosen() {
        let shared = standing(&vec![(vec![(true, false); 4], 1, false); 3]);
        assert!(shared.choose(8).is_empty());
    }

    proptest! {
        #[test]
        fn no_more_go_than_shall_no_protected_one_and_each_once(
            drawn in drawn(9, 6), most in 0_u32..40
        ) {
            let standing = standing(&drawn);
            let chosen = standing.choose(most);
            prop_assert!(u32::try_from(chosen.len()).unwrap() <= most);
            prop_assert!(chosen.iter().all(|choice| choice.pod.is_ready && !choice.pod.is_kept));
            let mut once = names(&chosen);
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), chosen.len());
        }

        #[test]
        fn the_same_picture_gives_the_same_choice_and_more_includes_fewer(
            drawn in drawn(9, 6), most in 0_u32..40
        ) {
            let standing = standing(&drawn);
            let (fewer, more) = (standing.choose(most), standing.choose(most + 1));
            prop_assert_eq!(&fewer, &standing.choose(most));
            prop_assert_eq!(&more[..fewer.len()], &fewer[..]);
        }

        #[test]
        fn no_other_choice_empties_more_nodes(drawn in drawn(8, 5), most in 0_u32..30) {
            let stay = drawn.into_iter().map(|(pods, others, _)| (pods, others, false));
            let standing = standing(&stay.collect::<Vec<_>>());
            let chosen = standing.choose(most);
            prop_assert_eq!(standing.emptied(&chosen), most_emptied(&standing, most));
        }

        #[test]
        fn costs_go_by_the_order_of_going(drawn in drawn(9, 6), most in 0_u32..40) {
            let standing = standing(&drawn);
            let costs: Vec<_> = standing.choose(most).iter().map(|choice| choice.cost).collect();
            prop_assert!(costs.is_sorted() && costs.iter().all(|cost| *cost < 0));
        }
    }
}
