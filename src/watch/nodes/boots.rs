//! How long the nodes of a pool took to come: of those that stand, and of the latest that are gone, so that with the slowest one goes not
//! what is known of how slow they can be. A restart forgets those that are gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Node;

/// Nodes that are gone are remembered up to so many, those that stand counted in.
const KEPT: usize = 20;
/// A boot that took longer was a repair.
const LONGEST: Duration = Duration::from_hours(1);

/// By the name and the birth of each node: when it was Ready, and how long that took.
#[derive(Debug, Clone, Default)]
pub(super) struct Boots {
    each: BTreeMap<(Arc<str>, Timestamp), (Timestamp, Duration)>,
    /// Half of them and 95 of 100 took no longer; at first what the status of the pool says.
    known: Option<(Duration, Duration)>,
}

impl Boots {
    /// Of a pool whose status says so.
    pub(super) fn recalled(known: Option<(Duration, Duration)>) -> Self {
        Self { each: BTreeMap::new(), known }
    }

    /// Takes in the nodes that stand. What one took is what it took the first time that it was seen Ready.
    pub(super) fn learn(&mut self, members: &[(&Arc<str>, &Node)]) -> Option<(Duration, Duration)> {
        for &(name, node) in members {
            let Some((created, ready)) = node.created.zip(node.ready_since) else { continue };
            let took = Duration::try_from(ready.duration_since(created)).ok();
            if let Some(took) = took.filter(|took| *took < LONGEST) {
                self.each.entry((Arc::clone(name), created)).or_insert((ready, took));
            }
        }
        let surplus = self.each.len().saturating_sub(KEPT);
        let stands = |(name, created): &(Arc<str>, Timestamp)| {
            let at = members.binary_search_by(|(member, _)| (*member).cmp(name)).ok();
            at.is_some_and(|at| members[at].1.created == Some(*created))
        };
        let gone = self.each.iter().filter(|(node, _)| !stands(node));
        let mut gone: Vec<_> = gone.map(|(node, (ready, _))| (*ready, node.clone())).collect();
        gone.sort_unstable();
        for (_, node) in gone.into_iter().take(surplus) {
            self.each.remove(&node);
        }
        let mut took: Vec<Duration> = self.each.values().map(|(_, took)| *took).collect();
        took.sort_unstable();
        let at = |hundredths: usize| {
            took.get((took.len() * hundredths).div_ceil(100).saturating_sub(1)).copied()
        };
        self.known = at(50).zip(at(95)).or(self.known);
        self.known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(created: i64, took: i64) -> Node {
        let at = |second| Timestamp::from_second(second).ok();
        Node { created: at(created), ready_since: at(created + took), ..Node::default() }
    }

    fn learn(boots: &mut Boots, nodes: &[(&str, Node)]) -> Option<(u64, u64)> {
        let names: Vec<Arc<str>> = nodes.iter().map(|(name, _)| Arc::from(*name)).collect();
        let members: Vec<_> = names.iter().zip(nodes.iter().map(|(_, node)| node)).collect();
        let (half, most) = boots.learn(&members)?;
        Some((half.as_secs(), most.as_secs()))
    }

    #[test]
    fn the_slowest_is_not_forgotten_when_it_goes() {
        let seconds = Duration::from_secs;
        let mut boots = Boots::recalled(Some((seconds(50), seconds(90))));
        assert_eq!(learn(&mut boots, &[]), Some((50, 90)));
        let both = [("a", node(0, 40)), ("b", node(10, 170))];
        assert_eq!(learn(&mut boots, &both), Some((40, 170)));
        assert_eq!(learn(&mut boots, &both[..1]), Some((40, 170)));
        assert_eq!(learn(&mut boots, &[]), Some((40, 170)));
    }

    #[test]
    fn of_those_that_are_gone_the_oldest_are_forgotten_and_of_those_that_stand_none() {
        let mut boots = Boots::default();
        learn(&mut boots, &[("slow", node(0, 300))]);
        let names: Vec<String> = (0..30).map(|at| format!("n{at:02}")).collect();
        let nodes: Vec<_> = names.iter().map(|name| (name.as_str(), node(1000, 60))).collect();
        assert_eq!(learn(&mut boots, &nodes[..19]), Some((60, 60)), "one in twenty");
        assert_eq!(boots.each.len(), 20);
        learn(&mut boots, &nodes);
        assert_eq!(boots.each.len(), 30);
        learn(&mut boots, &nodes[..2]);
        assert_eq!(boots.each.len(), 20);
    }

    #[test]
    fn a_node_that_is_ready_anew_took_what_it_took_at_first_and_a_repair_does_not_count() {
        let mut boots = Boots::default();
        assert_eq!(learn(&mut boots, &[("a", node(0, 40)), ("b", node(0, 4_000))]), Some((40, 40)));
        assert_eq!(learn(&mut boots, &[("a", node(0, 900))]), Some((40, 40)));
        assert_eq!(
            learn(&mut boots, &[("a", node(5_000, 70))]),
            Some((40, 70)),
            "another of its name"
        );
    }
}
