//! What is believed of every pool, and what that comes to for the lanes of a stage. How a belief changes says `belief`, who shares one `alone`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::pipeline::{Stage, TargetId};
use super::alone::{Known, lane_of};
use super::belief::Belief;
use super::split::Room;
use super::{PoolSeen, PoolVerdict, Sign};

/// What is remembered of all pools.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::decide) struct Pools(BTreeMap<Arc<str>, Known>);

impl Pools {
    /// Takes in what is seen of all pools. Pools that are not seen any more are forgotten.
    pub(in crate::decide) fn observe(
        &mut self,
        seen: &BTreeMap<Arc<str>, PoolSeen>,
        at: Timestamp,
    ) -> Vec<PoolVerdict> {
        self.0.retain(|name, _| seen.contains_key(name));
        let verdict = |(name, seen): (&Arc<str>, &PoolSeen)| {
            let new = || Known::recalled(seen, at);
            let known = self.0.entry(Arc::clone(name)).or_insert_with(new);
            known.observe(seen, at);
            known.by_all.verdict(name)
        };
        seen.iter().map(verdict).collect()
    }

    /// What room a lane has on a pool, or without one whoever is not alone. A pool that nobody describes is used as if nodes could be had.
    fn room(&self, pool: &str, lane: Option<&TargetId>) -> Room {
        let Some(known) = self.0.get(pool) else { return Room::Free };
        let own = lane.and_then(|lane| known.of(lane)).map(Belief::room);
        let rank = |room: &Room| match room {
            Room::BeyondPlaced(more) => (0, *more),
            Room::Full(most) => (1, *most),
            Room::AsAsked => (2, 0),
            Room::Free => (3, 0),
        };
        own.into_iter().chain([known.by_all.room()]).min_by_key(rank).unwrap_or(Room::Free)
    }

    /// Does its owner's limit keep a pool from growing, and nothing else?
    pub(in crate::decide) fn is_at_limits(&self, seen: &PoolSeen) -> bool {
        seen.full.is_some() && self.room(&seen.pool.name, None) == Room::AsAsked
    }
}

/// What is believed of pools, as it concerns the lanes of one stage.
#[derive(Debug, Clone, Copy)]
pub(in crate::decide) struct StagePools<'a> {
    pools: &'a Pools,
    stage: &'a Stage,
}

impl<'a> StagePools<'a> {
    pub(in crate::decide) fn new(pools: &'a Pools, stage: &'a Stage) -> Self {
        Self { pools, stage }
    }

    fn lane(&self, pool: &str) -> Option<&'a TargetId> {
        self.stage.lanes.iter().find(|lane| *lane.pool == *pool).map(|lane| &lane.target)
    }

    /// What the stage's lane believes if it is alone.
    fn alone(&self, pool: &str) -> Option<&'a Belief> {
        self.pools.0.get(pool)?.of(self.lane(pool)?)
    }

    /// What room its lane has on a pool.
    pub(super) fn room(&self, pool: &str) -> Room {
        self.pools.room(pool, self.lane(pool))
    }

    /// Does its owner's limit keep a pool from growing, and nothing else?
    pub(super) fn is_at_limits(&self, seen: &PoolSeen) -> bool {
        self.pools.is_at_limits(seen) && self.alone(&seen.pool.name).is_none()
    }

    /// Is there such a pool?
    pub(super) fn knows(&self, pool: &str) -> bool {
        self.pools.0.contains_key(pool)
    }

    /// The last sign that its lane gets no more there.
    pub(super) fn sign(&self, pool: &str) -> Option<&'a Sign> {
        let by_all = self.pools.0.get(pool).map(|known| &known.by_all);
        self.alone(pool).or(by_all)?.sign()
    }

    /// When a pool may be thought of differently though nothing happens.
    pub(super) fn next(&self, pool: &str, seen: &PoolSeen) -> Option<Timestamp> {
        let known = self.pools.0.get(pool)?;
        let rest = known.by_all.changes(&known.rest(seen));
        let own = || {
            let lane = lane_of(seen, self.lane(pool)?)?.clone();
            self.alone(pool)?.changes(&PoolSeen { lanes: vec![lane], ..seen.clone() })
        };
        rest.into_iter().chain(own()).min()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::decide::capacity::{Class, LaneNeed, Pool};
    use crate::decide::{PoolState, Tariff};

    pub(in super::super) fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    pub(in super::super) fn seen(signs: &[i64]) -> PoolSeen {
        let pool = Pool {
            name: "spot".into(),
            class: Class::Spot,
            notice: Duration::from_mins(2),
            probe: Duration::from_mins(10),
            longest_probe: Duration::from_hours(1),
            tariff: Tariff::default(),
        };
        PoolSeen {
            pool: Arc::new(pool),
            nodes: 3,
            newest: None,
            boot: Some(Duration::from_secs(50)),
            signs: signs.iter().map(|at| sign(*at)).collect(),
            full: None,
            cpu: None,
            lanes: Vec::new(),
            recalled: None,
        }
    }

    fn target(name: &str) -> TargetId {
        TargetId::object(&"shop".into(), "apps/v1", "Deployment", name)
    }

    /// Since when a lane waits, and when its youngest pod got a node and was Ready.
    pub(in super::super) fn lane(name: &str, waiting: Option<i64>, ready: Option<i64>) -> LaneNeed {
        let (served, placed) = (ready.map(second), ready.map(second));
        let waiting = waiting.map(second);
        LaneNeed { target: target(name), waiting, served, placed, signs: Vec::new() }
    }

    pub(in super::super) fn sign(at: i64) -> Sign {
        Sign { at: second(at), is_hard: true, what: "no capacity".into() }
    }

    #[derive(Default)]
    pub(in super::super) struct Life(Pools);

    impl Life {
        pub(in super::super) fn turn(
            &mut self,
            seen: PoolSeen,
            unplaced: Option<i64>,
            ready: Option<i64>,
            at: i64,
        ) -> PoolState {
            self.with(seen, [lane("a", unplaced, ready)], at)
        }

        pub(in super::super) fn with<const N: usize>(
            &mut self,
            seen: PoolSeen,
            lanes: [LaneNeed; N],
            at: i64,
        ) -> PoolState {
            let seen = PoolSeen { lanes: lanes.into(), ..seen };
            self.0.observe(&BTreeMap::from([("spot".into(), seen)]), second(at))[0].state
        }

        pub(in super::super) fn room(&self) -> Room {
            self.0.room("spot", None)
        }

        /// What the pool's state rests on.
        pub(in super::super) fn evidence(&self) -> Vec<Sign> {
            self.0.0["spot"].by_all.verdict(&"spot".into()).evidence
        }

        pub(in super::super) fn room_of(&self, lane: &str) -> Room {
            self.0.room("spot", Some(&target(lane)))
        }
    }

    #[test]
    fn a_pod_that_waits_no_longer_than_nodes_take_to_come_is_no_sign() {
        let mut life = Life::default();
        assert_eq!(life.turn(seen(&[]), Some(100), None, 159), PoolState::Available);
        assert_eq!(life.turn(seen(&[]), Some(100), None, 160), PoolState::Constrained);
        assert_eq!(life.room(), Room::AsAsked);
        assert_eq!(life.turn(seen(&[]), None, Some(170), 171), PoolState::Available);
    }

    #[test]
    fn a_pool_that_serves_some_and_keeps_others_waiting_is_not_trusted_yet() {
        let mut life = Life::default();
        life.turn(seen(&[100]), Some(97), None, 101);
        assert_eq!(life.turn(seen(&[100]), Some(97), Some(110), 111), PoolState::Constrained);
        assert_eq!(life.turn(seen(&[100]), None, Some(120), 121), PoolState::Available);
    }

    #[test]
    fn one_hard_sign_is_believed_at_once_and_three_shut_the_pool() {
        let mut life = Life::default();
        assert_eq!(life.turn(seen(&[100]), Some(99), None, 101), PoolState::Constrained);
        assert_eq!(
            life.turn(seen(&[100, 103, 106]), Some(99), None, 107),
            PoolState::Constrained,
            "one batch"
        );
        assert_eq!(life.turn(seen(&[100, 110, 120]), Some(99), None, 121), PoolState::Exhausted);
        assert_eq!(life.room(), Room::BeyondPlaced(0));
    }

    #[test]
    fn signs_count_once_in_whatever_order_they_come_and_not_after_recovery() {
        let mut life = Life::default();
        life.turn(seen(&[100, 50]), Some(40), None, 101);
        assert_eq!(life.turn(seen(&[100, 50]), Some(40), None, 102), PoolState::Constrained);
        assert_eq!(life.turn(seen(&[100, 50]), None, Some(150), 151), PoolState::Available);
        assert_eq!(life.turn(seen(&[100, 50, 200]), Some(199), None, 201), PoolState::Constrained);
        assert_eq!(life.turn(seen(&[100, 50, 200]), Some(199), None, 203), PoolState::Constrained);
    }

    #[test]
    fn a_dry_pool_is_tried_by_one_then_two_then_four_then_all() {
        let mut life = Life::default();
        life.turn(seen(&[100, 110, 120]), Some(99), None, 121);
        assert_eq!(life.turn(seen(&[]), None, None, 720), PoolState::Exhausted);
        assert_eq!(life.room(), Room::BeyondPlaced(0));
        life.turn(seen(&[]), None, None, 721);
        assert_eq!(life.room(), Room::BeyondPlaced(1));
        assert_eq!(life.turn(seen(&[]), None, Some(780), 781), PoolState::Constrained);
        assert_eq!(life.room(), Room::BeyondPlaced(2));
        life.turn(seen(&[]), None, Some(840), 841);
        assert_eq!(life.room(), Room::BeyondPlaced(4));
        assert_eq!(life.turn(seen(&[]), None, Some(900), 901), PoolState::Available);
        assert_eq!(life.room(), Room::Free);
    }

    #[test]
    fn a_pool_of_which_nobody_wants_more_is_trusted_again_in_time() {
        let mut life = Life::default();
        life.turn(seen(&[100, 110, 120]), Some(99), None, 121);
        life.turn(seen(&[]), None, None, 721);
        life.turn(seen(&[]), None, Some(780), 781);
        assert_eq!(life.turn(seen(&[]), None, Some(780), 1380), PoolState::Constrained);
        assert_eq!(life.turn(seen(&[]), None, Some(780), 1381), PoolState::Available);
    }

    #[test]
    fn nodes_that_take_long_are_not_given_up_though_few_or_none_have_been_seen() {
        let mut life = Life::default();
        life.turn(seen(&[]), Some(0), None, 60);
        assert_eq!(life.turn(seen(&[]), Some(0), None, 1079), PoolState::Constrained);
        assert_eq!(life.turn(seen(&[]), Some(0), None, 1080), PoolState::Exhausted);
        let mut life = Life::default();
        let slow = || PoolSeen { nodes: 0, boot: None, ..seen(&[]) };
        assert_eq!(life.turn(slow(), Some(0), None, 60), PoolState::Constrained, "another carries");
        assert_eq!(
            life.turn(slow(), Some(0), None, 900),
            PoolState::Constrained,
            "but they may wait"
        );
        assert_eq!(life.turn(slow(), Some(0), None, 1080), PoolState::Exhausted);
    }

    #[test]
    fn a_pod_that_fits_nowhere_keeps_nobody_else_from_the_pool() {
        let mut life = Life::default();
        life.turn(seen(&[]), Some(0), None, 60);
        life.turn(seen(&[]), Some(0), None, 1080);
        assert_eq!(life.room(), Room::BeyondPlaced(0));
        life.turn(seen(&[]), Some(0), None, 1680);
        assert_eq!(life.room(), Room::BeyondPlaced(1));
        life.turn(seen(&[]), Some(0), None, 2200);
        assert_eq!(
            life.room(),
            Room::BeyondPlaced(1),
            "it waited before: it says nothing of this try"
        );
        for (ready, at) in [(2210, 2211), (2220, 2221), (2230, 2231)] {
            life.turn(seen(&[]), Some(0), Some(ready), at);
        }
        assert_eq!(life.turn(seen(&[]), Some(0), Some(2230), 2400), PoolState::Available);
    }

    #[test]
    fn each_try_in_vain_doubles_the_pause_up_to_the_longest() {
        let mut life = Life::default();
        life.turn(seen(&[0, 10, 20]), Some(0), None, 21);
        let mut at = 621;
        for pause in [1200, 2400, 3600, 3600] {
            life.turn(seen(&[]), None, None, at);
            assert_eq!(life.room(), Room::BeyondPlaced(1), "at {at}");
            at += 400;
            life.turn(seen(&[]), Some(at - 359), None, at);
            assert_eq!(life.room(), Room::BeyondPlaced(1), "a node may take so long");
            life.turn(seen(&[]), Some(at - 360), None, at);
            assert_eq!(life.room(), Room::BeyondPlaced(0));
            life.turn(seen(&[]), None, None, at + pause - 1);
            assert_eq!(life.room(), Room::BeyondPlaced(0));
            at += pause;
        }
    }

    #[test]
    fn what_status_says_is_believed_after_a_restart() {
        let mut life = Life::default();
        let recalled = Some((PoolState::Exhausted, second(0)));
        assert_eq!(
            life.turn(PoolSeen { recalled, ..seen(&[]) }, None, None, 300),
            PoolState::Exhausted
        );
        assert_eq!(life.room(), Room::BeyondPlaced(0));
        life.turn(seen(&[]), None, None, 600);
        assert_eq!(life.room(), Room::BeyondPlaced(1));
    }

    #[test]
    fn a_restart_counts_nobody_who_waited_before_the_pool_was_trusted() {
        for (state, since) in [(PoolState::Available, 5000), (PoolState::Constrained, 9000)] {
            let mut life = Life::default();
            let recalled = || PoolSeen { recalled: Some((state, second(since))), ..seen(&[]) };
            for at in [9100, 9102, 9104] {
                assert_eq!(life.turn(recalled(), Some(0), None, at), state);
            }
            // Who came to wait since counts.
            let other = |at| [lane("a", Some(0), None), lane("b", Some(at), None)];
            life.with(recalled(), other(9110), 9180);
            assert_eq!(life.room(), Room::AsAsked);
            life.with(recalled(), other(9110), 9110 + 1080);
            assert_eq!(life.room(), Room::BeyondPlaced(0), "{state:?}");
        }
    }

    #[test]
    fn a_pool_at_its_limit_grows_no_further_and_does_when_it_is_raised() {
        let mut life = Life::default();
        let full = || PoolSeen { full: Some("8 of 8 CPUs".into()), ..seen(&[]) };
        assert_eq!(life.turn(full(), None, None, 0), PoolState::Constrained);
        assert_eq!(life.turn(full(), None, Some(5), 5000), PoolState::Constrained);
        assert_eq!(life.turn(seen(&[]), None, Some(6000), 6001), PoolState::Available);
    }

    #[test]
    fn a_pool_that_is_distrusted_for_a_limit_alone_is_trusted_as_soon_as_it_is_lifted() {
        let mut life = Life::default();
        let full = |what: &str| PoolSeen { full: Some(what.into()), ..seen(&[]) };
        assert_eq!(life.turn(full("8 of 8"), Some(0), None, 5), PoolState::Constrained);
        // It is one sign, whatever its figures.
        for at in [100, 200, 300, 400] {
            life.turn(full(&format!("{at} of 8")), Some(0), None, at);
        }
        let told: Vec<_> = life.evidence().iter().map(|sign| sign.what.to_string()).collect();
        assert_eq!(told, ["400 of 8"]);
        assert_eq!(life.turn(seen(&[]), Some(0), None, 401), PoolState::Available);
        assert_eq!(life.turn(seen(&[]), Some(0), None, 900), PoolState::Available, "it waited");
        // Nor does a restart forget for what it was.
        let recalled = Some((PoolState::Constrained, second(0)));
        let mut life = Life::default();
        life.turn(PoolSeen { recalled, ..full("8 of 8") }, None, None, 10);
        assert_eq!(&*life.evidence()[0].what, "8 of 8");
        assert_eq!(life.turn(seen(&[]), None, None, 12), PoolState::Available);
        // Who has been told besides that there are none waits until there are.
        let mut life = Life::default();
        life.turn(full("8 of 8"), None, None, 5);
        life.turn(PoolSeen { full: Some("8 of 8".into()), ..seen(&[20]) }, Some(15), None, 21);
        assert_eq!(life.turn(seen(&[20]), Some(15), None, 30), PoolState::Constrained);
    }

    #[test]
    fn a_pool_without_nodes_or_signs_is_unknown_and_used() {
        let mut life = Life::default();
        let none = || PoolSeen { nodes: 0, ..seen(&[]) };
        assert_eq!(life.turn(none(), None, None, 0), PoolState::Unknown);
        assert_eq!(life.room(), Room::Free);
        assert_eq!(life.turn(seen(&[]), None, None, 10), PoolState::Available);
        assert_eq!(life.turn(none(), None, None, 20), PoolState::Available);
    }
}
