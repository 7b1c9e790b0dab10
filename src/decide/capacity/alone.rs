//! Who shares what is believed of a pool: all of its lanes, but those that are alone in what they meet with. A lane whose pods wait while
//! others get nodes (a toleration that is lacking, a zone that is dry, a machine that is rare) is left out of what counts for the rest, and
//! `belief` tells for it alone how much it may have, until its pods get nodes again.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::pipeline::TargetId;
use super::belief::Belief;
use super::{LaneNeed, PoolSeen, Sign};

/// What is believed of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Known {
    #[serde(flatten)]
    pub(super) by_all: Belief,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    alone: Vec<Alone>,
}

/// What one lane believes, and since when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Alone {
    target: TargetId,
    from: Timestamp,
    belief: Belief,
}

impl Known {
    pub(super) fn recalled(seen: &PoolSeen, at: Timestamp) -> Self {
        Self { by_all: Belief::recalled(seen, at), alone: Vec::new() }
    }

    /// What a lane believes that is alone.
    pub(super) fn of(&self, lane: &TargetId) -> Option<&Belief> {
        self.alone.iter().find(|it| it.target == *lane).map(|it| &it.belief)
    }

    /// Takes in what is seen.
    pub(super) fn observe(&mut self, seen: &PoolSeen, at: Timestamp) {
        self.alone.retain(|it| lane_of(seen, &it.target).is_some());
        let rest = self.rest(seen);
        for lane in self.by_all.stranded(&rest, &seen.lanes, at) {
            let target = lane.target.clone();
            let what = format!("pods of {target} find no node while others of the pool get theirs");
            self.by_all.note(Sign { at, is_hard: false, what: what.into() });
            self.alone.push(Alone { target, from: at, belief: self.by_all.clone() });
        }
        let rest = self.rest(seen);
        let is_theirs = rest.lanes.iter().any(|lane| lane.waiting.is_some());
        for it in &mut self.alone {
            let Some(lane) = lane_of(seen, &it.target) else { continue };
            let own = PoolSeen {
                // That there are nodes for others it knows.
                newest: None,
                full: None,
                signs: if is_theirs { Vec::new() } else { seen.signs.clone() },
                lanes: vec![lane.clone()],
                ..seen.clone()
            };
            it.belief = it.belief.clone().next(&own, at);
        }
        self.by_all = self.by_all.clone().next(&rest, at);
        let is_back = |it: &Alone| {
            let placed = lane_of(seen, &it.target).and_then(|lane| lane.placed);
            it.belief.is_free() && Some(it.from) <= placed
        };
        self.alone.retain(|it| !is_back(it));
    }

    /// What is seen of a pool but for those that are alone. What is said of it while only they wait is said of them.
    pub(super) fn rest<'a>(&self, seen: &'a PoolSeen) -> Cow<'a, PoolSeen> {
        let is_alone = |lane: &&LaneNeed| self.of(&lane.target).is_some();
        if !seen.lanes.iter().any(|lane| is_alone(&lane)) {
            return Cow::Borrowed(seen);
        }
        let waits = |lane: &LaneNeed| lane.waiting.is_some();
        let lanes: Vec<_> = seen.lanes.iter().filter(|lane| !is_alone(lane)).cloned().collect();
        let is_said_of_others = seen.lanes.iter().any(waits) && !lanes.iter().any(waits);
        let signs = if is_said_of_others { Vec::new() } else { seen.signs.clone() };
        Cow::Owned(PoolSeen { signs, lanes, ..seen.clone() })
    }
}

/// What is seen of one lane.
pub(super) fn lane_of<'a>(seen: &'a PoolSeen, target: &TargetId) -> Option<&'a LaneNeed> {
    seen.lanes.iter().find(|lane| lane.target == *target)
}

#[cfg(test)]
mod tests {
    use super::super::pool::tests::{Life, lane, seen, sign};
    use super::super::split::Room;
    use super::*;
    use crate::decide::PoolState;

    #[test]
    fn a_lane_whose_tries_fail_while_others_get_nodes_is_shut_for_itself_alone() {
        let mut life = Life::default();
        // Nobody else wants any: it is the pool.
        life.with(seen(&[]), [lane("a", Some(0), None), lane("b", None, Some(-900))], 60);
        life.with(seen(&[]), [lane("a", Some(0), None), lane("b", None, Some(-900))], 1080);
        assert_eq!(
            (life.room_of("a"), life.room_of("b")),
            (Room::BeyondPlaced(0), Room::BeyondPlaced(0))
        );
        life.with(seen(&[]), [lane("a", None, None), lane("b", None, Some(-900))], 1680);
        assert_eq!(life.room_of("a"), Room::BeyondPlaced(1));
        // Both try, one of them in vain.
        let (mut born, mut at) = (1681, 1741);
        for room in [Room::BeyondPlaced(2), Room::BeyondPlaced(4), Room::Free] {
            life.with(seen(&[]), [lane("a", Some(1681), None), lane("b", None, Some(at - 5))], at);
            assert_eq!((life.room_of("a"), life.room_of("b")), (Room::BeyondPlaced(1), room));
            at += 60;
        }
        // It goes on trying, and the others do not hear of it.
        let mut rooms = Vec::new();
        while at < 12_000 {
            let tries = life.room_of("a") != Room::BeyondPlaced(0);
            if !tries {
                born = at;
            }
            let waits = tries.then_some(born);
            let state =
                life.with(seen(&[]), [lane("a", waits, None), lane("b", None, Some(1860))], at);
            assert_eq!((state, life.room_of("b")), (PoolState::Available, Room::Free), "at {at}");
            if rooms.last() != Some(&life.room_of("a")) {
                rooms.push(life.room_of("a"));
            }
            at += 10;
        }
        assert!(5 < rooms.len(), "{rooms:?}");
        // Its owner mends it: it is one of all again.
        let mut made = at;
        while life.room_of("a") != Room::Free {
            assert!(at < 30_000, "it stays alone");
            made = if life.room_of("a") == Room::BeyondPlaced(0) { made } else { at };
            life.with(seen(&[]), [lane("a", None, Some(made)), lane("b", None, Some(1860))], at);
            at += 10;
        }
        life.with(seen(&[]), [lane("a", Some(at), None), lane("b", None, Some(1860))], at + 60);
        assert_eq!(life.room_of("b"), Room::AsAsked, "what it meets with counts for all");
    }

    #[test]
    fn a_lane_that_waits_while_another_grows_keeps_it_from_nothing_and_two_that_wait_do() {
        let mut life = Life::default();
        let a = || lane("a", Some(0), None);
        let state = life.with(seen(&[]), [a(), lane("b", Some(55), Some(50))], 60);
        assert_eq!((state, life.room_of("b")), (PoolState::Available, Room::Free));
        assert_eq!(life.room_of("a"), Room::AsAsked);
        let sign = life.evidence().pop().unwrap();
        assert!(sign.what.contains("Deployment shop/a find no node"), "{sign:?}");
        // The pool runs dry in earnest.
        life.with(seen(&[]), [a(), lane("b", Some(55), Some(50))], 115);
        assert_eq!(life.room_of("b"), Room::AsAsked);
        life.with(seen(&[]), [a(), lane("b", Some(55), Some(50))], 1135);
        assert_eq!(life.room_of("b"), Room::BeyondPlaced(0));

        let mut life = Life::default();
        let some = |name: &str| lane(name, Some(0), Some(50));
        life.with(seen(&[]), [some("a"), some("b")], 60);
        assert_eq!(life.room(), Room::AsAsked, "a zone may have had room for a few");
    }

    #[test]
    fn a_word_on_the_pods_of_one_lane_ends_no_try_of_another() {
        let told = |at: i64, since| LaneNeed { signs: vec![sign(at)], ..lane("a", since, None) };
        let opened = || {
            let mut life = Life::default();
            life.with(seen(&[100, 110, 120]), [lane("a", Some(99), None)], 121);
            life.with(seen(&[]), [lane("a", None, None), lane("b", None, None)], 721);
            assert_eq!(life.room(), Room::BeyondPlaced(1));
            life
        };
        let mut life = opened();
        life.with(seen(&[]), [told(732, Some(722)), lane("b", Some(723), None)], 733);
        assert_eq!(life.room_of("b"), Room::BeyondPlaced(1), "nothing was said of its own");
        // Nor does what is said of a claim, which may be the other's.
        life.with(seen(&[740]), [told(742, Some(722)), lane("b", Some(723), None)], 743);
        assert_eq!(life.room_of("b"), Room::BeyondPlaced(1));
        life.with(seen(&[740]), [told(742, Some(722)), lane("b", None, Some(780))], 782);
        assert_eq!(
            (life.room_of("a"), life.room_of("b")),
            (Room::BeyondPlaced(0), Room::BeyondPlaced(2))
        );
        // Alone, it is told again and again.
        for at in [792, 803, 814] {
            let lanes = [told(at, Some(722)), lane("b", None, Some(at))];
            life.with(seen(&[at]), lanes, at + 1);
        }
        assert_eq!(life.room_of("b"), Room::Free);

        let mut life = opened();
        let b = LaneNeed { signs: vec![sign(733)], ..lane("b", Some(723), None) };
        life.with(seen(&[]), [told(732, Some(722)), b], 734);
        assert_eq!(life.room(), Room::BeyondPlaced(0), "both were told");
    }

    #[test]
    fn a_word_on_a_pod_that_tells_nothing_new_tells_nothing_new() {
        let mut life = Life::default();
        life.turn(seen(&[]), Some(0), None, 60);
        life.turn(seen(&[]), Some(0), None, 1080);
        life.turn(seen(&[]), Some(0), None, 1680);
        for at in [1690, 1700, 1710] {
            let old = LaneNeed { signs: vec![sign(at)], ..lane("a", Some(0), None) };
            life.with(seen(&[]), [old], at + 1);
        }
        assert_eq!(life.room(), Room::BeyondPlaced(1), "its own pods wait on");
        life.with(seen(&[]), [lane("a", Some(0), None)], 2300);
        assert_eq!(life.room(), Room::Free);
        for at in [2310, 2330, 2350] {
            let old = LaneNeed { signs: vec![sign(at)], ..lane("a", Some(0), None) };
            life.with(seen(&[at]), [old], at + 1);
        }
        assert_eq!(life.room(), Room::Free);
    }
}
