//! Room that a policy keeps on the nodes of a lane: placeholder pods. They take places and have nodes made as any pod does, serve nobody, and go at once
//! where a real pod finds no other place; then they wait for one again. Used by `lane`.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::pool::count;

/// The placeholders of a lane.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// How many there shall be.
    pub(super) wanted: u32,
    /// How many stand on each node that has any.
    on: BTreeMap<u32, u32>,
}

impl Room {
    /// Those that have a place, node by node.
    pub(super) fn places(&self) -> impl Iterator<Item = (u32, u32)> {
        self.on.iter().map(|(node, places)| (*node, *places))
    }

    /// Those on a node.
    pub(super) fn on(&self, node: u32) -> u32 {
        self.on.get(&node).copied().unwrap_or(0)
    }

    /// Those that have a place.
    pub(super) fn placed(&self) -> u32 {
        self.on.values().sum()
    }

    /// Those that wait for one.
    pub(super) fn waiting(&self) -> u32 {
        self.wanted.saturating_sub(self.placed())
    }

    /// A node is gone, and they with it.
    pub(super) fn leave(&mut self, node: u32) {
        self.on.remove(&node);
    }

    /// Those that are too many go, from where most stand first, as a `ReplicaSet` has it. Says whether any did.
    pub(super) fn shrink(&mut self) -> bool {
        let before = self.placed();
        for _ in self.wanted..before {
            self.go_from(|_| true);
        }
        self.placed() != before
    }

    /// One goes for a real pod, from where most stand of the nodes that are open: which node that was.
    pub(super) fn give_way(&mut self, is_open: impl Fn(u32) -> bool) -> Option<u32> {
        self.go_from(is_open)
    }

    fn go_from(&mut self, may: impl Fn(u32) -> bool) -> Option<u32> {
        let all = self.places().filter(|(node, _)| may(*node));
        let (node, places) = all.max_by_key(|(node, places)| (*places, Reverse(*node)))?;
        match places {
            1 => self.on.remove(&node),
            more => self.on.insert(node, more - 1),
        };
        Some(node)
    }

    /// Those that wait take what is free, the node with the fewest pods first; `free` has how many stand on each open one, and its number. Says
    /// whether any did.
    pub(super) fn place(&mut self, free: &mut [(u32, u32)], fit: u32) -> bool {
        let waiting = self.waiting();
        for _ in 0..waiting {
            let Some((on, node)) = free.iter_mut().min().filter(|(on, _)| *on < fit) else { break };
            *on += 1;
            *self.on.entry(*node).or_default() += 1;
        }
        self.waiting() != waiting
    }
}

/// Pods and placeholders on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulate) struct Stand {
    pub(in crate::simulate) node: u32,
    /// Real pods.
    pub(in crate::simulate) pods: u32,
    pub(in crate::simulate) room: u32,
    /// Is the node about to go?
    pub(in crate::simulate) is_going: bool,
}

/// Of so many nodes, those that `pods` and placeholders stand on.
pub(super) fn stands(
    pods: impl Iterator<Item = u32>,
    room: &Room,
    is_going: impl Fn(u32) -> bool,
) -> Vec<Stand> {
    let mut all: BTreeMap<u32, (usize, u32)> = BTreeMap::new();
    for node in pods {
        all.entry(node).or_default().0 += 1;
    }
    for (node, places) in room.places() {
        all.entry(node).or_default().1 = places;
    }
    let stand =
        |(node, (pods, room))| Stand { node, pods: count(pods), room, is_going: is_going(node) };
    all.into_iter().map(stand).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_spread_give_way_where_most_stand_and_wait_again() {
        let mut room = Room { wanted: 5, ..Room::default() };
        let mut free = [(2, 7), (0, 8)];
        assert!(room.place(&mut free, 4));
        assert_eq!((room.on(7), room.on(8), room.waiting()), (2, 3, 0));
        assert!(!room.place(&mut free, 4), "nobody waits");
        assert_eq!(room.give_way(|_| true), Some(8));
        assert_eq!(room.give_way(|node| node == 7), Some(7));
        assert_eq!((room.placed(), room.waiting()), (3, 2));
        assert_eq!(room.give_way(|_| false), None);
        assert!(!room.place(&mut [(4, 7), (4, 8)], 4), "real pods have their places now");
        room.wanted = 1;
        assert!(room.shrink() && !room.shrink());
        assert_eq!((room.placed(), room.waiting()), (1, 0));
        room.leave(8);
        room.leave(7);
        assert_eq!((room.placed(), room.waiting()), (0, 1));
    }
}
