//! Room of several stages under one limit: how it is shared out, that together it never takes more than is left, and that no real pod has less
//! of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock::decide::{Budget, Memory, Room, RoomVerdict, Snapshot, Step, Thing, decide};
use proptest::prelude::*;

use super::fleet::{Fleet, One};

/// So many CPUs by a quota, none of which others take; or by a budget that is kept, or not.
fn limit(name: &str, cores: f64, is_enforced: bool) -> (Arc<str>, Arc<Budget>) {
    let name: Arc<str> = name.into();
    let is_quota = name.contains('/');
    let budget = Budget {
        name: Arc::clone(&name),
        cost_per_hour: None,
        cores: (!is_quota).then_some(cores),
        is_enforced,
        rooms: is_quota
            .then_some(Room { of: Thing::Cpu, hard: cores, left: cores })
            .into_iter()
            .collect(),
    };
    (name, Arc::new(budget))
}

/// Pipelines of ten replicas of one CPU each, which are to be so many at nine, under these limits.
fn fleet<const N: usize>(at_nine: [u32; N], limits: &[(Arc<str>, Arc<Budget>)]) -> Fleet {
    let mut fleet = Fleet::warm(&[("kafka", N)]);
    fleet.budgets = limits.iter().cloned().collect::<BTreeMap<_, _>>();
    for (one, at_nine) in fleet.all.iter_mut().zip(at_nine) {
        one.at_nine = Some(at_nine);
    }
    fleet
}

fn quota(cores: f64) -> (Arc<str>, Arc<Budget>) {
    limit("shop/compute", cores, true)
}

fn replicas(fleet: &Fleet) -> Vec<u32> {
    fleet.all.iter().map(|one| one.replicas).collect()
}

/// For how many replicas something stands.
fn rooms(fleet: &Fleet) -> Vec<u32> {
    let of = |one: &One| one.reserves.iter().map(|seen| seen.replicas).sum();
    fleet.all.iter().map(of).collect()
}

fn told(step: &Step) -> Vec<&RoomVerdict> {
    step.plan.verdicts.iter().flat_map(|verdict| &verdict.rooms).collect()
}

/// Until all have been heard and have come to their parts.
const SETTLED: i64 = 14;

#[test]
fn equals_share_evenly_what_a_quota_leaves_and_nothing_moves_then() {
    let mut fleet = fleet([18, 18], &[quota(30.0)]);
    for step in fleet.turns(SETTLED) {
        let room: u32 = told(&step).iter().map(|room| room.replicas).sum();
        assert!(room <= 10, "{:?}", told(&step));
    }
    assert_eq!((replicas(&fleet), rooms(&fleet)), (vec![10, 10], vec![5, 5]));
    let steps = fleet.turns(100);
    assert!(steps.iter().all(|step| step.plan.actions.is_empty()), "and it stays so");
    assert_eq!(
        told(&steps[0])[0].to_string(),
        "room for 5 replicas is kept: a budget or a quota leaves the stage no more"
    );
    // By the parts of what they wish, as replicas are.
    let mut fleet = self::fleet([22, 16], &[quota(29.0)]);
    fleet.turns(SETTLED);
    assert_eq!(rooms(&fleet), [6, 3]);
    // There is enough for both.
    let mut fleet = self::fleet([22, 16], &[quota(38.0)]);
    fleet.turns(SETTLED);
    assert_eq!(rooms(&fleet), [12, 6]);
}

#[test]
fn who_comes_first_has_room_first_and_takes_it_over_only_when_the_other_has_given_it_back() {
    let mut fleet = fleet([18, 18], &[quota(30.0)]);
    fleet.turns(SETTLED);
    fleet.all[0].priority = 5;
    for _ in 0..4 {
        fleet.turn();
        assert!(rooms(&fleet).iter().sum::<u32>() <= 10, "{:?}", rooms(&fleet));
    }
    assert_eq!(rooms(&fleet), [8, 2]);
}

#[test]
fn a_real_pod_takes_the_room_of_whoever_keeps_it() {
    let mut fleet = fleet([40, 18], &[quota(30.0)]);
    fleet.all[0].priority = 5;
    fleet.turns(SETTLED);
    assert_eq!((replicas(&fleet), rooms(&fleet)), (vec![10, 10], vec![10, 0]));
    // The one that keeps no room needs six more: the other gives that back, whatever its priority.
    fleet.all[1].lag = Some(160);
    fleet.turns(4);
    assert_eq!((replicas(&fleet), rooms(&fleet)), (vec![10, 16], vec![4, 0]));
    // It wishes more than there is: nobody keeps any.
    fleet.all[1].lag = Some(400);
    fleet.turns(8);
    assert_eq!((replicas(&fleet), rooms(&fleet)), (vec![10, 20], vec![0, 0]));
}

#[test]
fn who_shrinks_goes_no_lower_than_its_part_where_another_gives_back_as_well() {
    let mut fleet = fleet([18, 18], &[quota(30.0)]);
    fleet.turns(SETTLED);
    assert_eq!(rooms(&fleet), [5, 5]);
    // The second needs three more: seven are left, by eight and five. Its own room makes place for them at once.
    fleet.all[1].lag = Some(130);
    let seen: Vec<_> = (0..6)
        .map(|_| {
            fleet.turn();
            (replicas(&fleet), rooms(&fleet))
        })
        .collect();
    let rooms = [[5, 2], [4, 2], [4, 3], [4, 3], [4, 3], [4, 3]];
    assert_eq!(seen, rooms.map(|rooms| (vec![10, 13], rooms.to_vec())));
}

#[test]
fn a_budget_leaves_room_what_it_leaves_and_one_that_only_warns_cuts_none() {
    let mut all = fleet([18, 18], &[limit("team", 26.0, true)]);
    all.turns(SETTLED);
    assert_eq!((replicas(&all), rooms(&all)), (vec![10, 10], vec![3, 3]));
    let mut all = fleet([18, 18], &[limit("team", 26.0, false)]);
    all.turns(SETTLED);
    assert_eq!((replicas(&all), rooms(&all)), (vec![10, 10], vec![8, 8]));
}

#[test]
fn what_one_limit_does_not_leave_is_not_asked_of_another() {
    // The first has a budget of its own besides, which leaves it two of the eight that it wishes.
    let limits = [quota(32.0), limit("team", 12.0, true)];
    let mut fleet = fleet([18, 28], &limits);
    let turn = |fleet: &mut Fleet| {
        let mut now = fleet.snapshot();
        now.due[1].budgets.retain(|name| name.contains('/'));
        fleet.carry_out(&now)
    };
    for _ in 0..SETTLED {
        turn(&mut fleet);
    }
    // Of the twelve that the quota leaves, by two and eighteen.
    assert_eq!(rooms(&fleet), [1, 11]);
    assert!((0..50).all(|_| turn(&mut fleet).plan.actions.is_empty()), "and it stays so");
}

#[test]
fn who_starts_anew_and_who_stands_by_come_to_the_same() {
    let mut fleet = fleet([40, 18, 22], &[quota(41.0)]);
    fleet.all[1].priority = 5;
    // One that only looks, from the beginning.
    let mut beside = fleet.memory.clone();
    let mut seen = Vec::new();
    for _ in 0..2 * SETTLED {
        let now = fleet.snapshot();
        let step = decide(&Snapshot { may_act: false, ..now.clone() }, &beside);
        beside.merge(step.memory.clone());
        seen = told(&step).into_iter().cloned().collect();
        fleet.carry_out(&now);
    }
    let counts = rooms(&fleet);
    assert_eq!(counts, [2, 8, 1]);
    assert_eq!(seen.iter().map(|room| room.replicas).collect::<Vec<_>>(), counts);
    // It takes over, and then one that knows nothing.
    for memory in [beside, Memory::default()] {
        fleet.memory = memory;
        let steps = fleet.turns(2 * SETTLED);
        assert!(steps.iter().all(|step| step.plan.actions.is_empty()), "nothing is to be mended");
        assert_eq!(rooms(&fleet), counts);
    }
}

#[test]
fn room_of_a_workload_that_is_gone_is_nobody_elses_before_it_is_given_back() {
    let mut fleet = fleet([18, 18], &[quota(30.0)]);
    fleet.turns(SETTLED);
    assert_eq!(rooms(&fleet), [5, 5]);
    // Its replicas are gone, too: there is room for all that the other wishes, and this one's lingers.
    fleet.all[0].is_gone = true;
    fleet.all[0].replicas = 0;
    fleet.turns(4);
    assert_eq!(rooms(&fleet), [5, 8]);
    // And where there is not, nothing stands that would be too much.
    let name = Arc::clone(fleet.budgets.keys().next().unwrap());
    fleet.budgets.insert(name, quota(18.0).1);
    fleet.turns(4);
    assert_eq!(rooms(&fleet).iter().sum::<u32>(), 8, "{:?}", rooms(&fleet));
}

#[test]
fn room_that_is_only_told_takes_nothing_from_others() {
    let mut fleet = fleet([18, 18], &[quota(30.0)]);
    fleet.all[0].is_observed = true;
    let step = fleet.turns(SETTLED).pop().unwrap();
    assert_eq!(rooms(&fleet), [0, 8]);
    let told = told(&step);
    assert_eq!((told[0].replicas, told[0].is_only_told), (2, true), "what nobody has");
}

proptest! {
    #![proptest_config(super::cases(24))]

    /// Whatever is wished and whoever comes first: room and real pods together never take more than a quota has left, once every stage has had
    /// its turn; real pods are what they would be if nobody kept any room; and when nothing moves any more, nothing is written.
    #[test]
    fn room_and_pods_fit_under_a_quota_and_no_pod_is_fewer_for_room(
        cores in 20_u32..120,
        stages in prop::collection::vec((0_u32..60, -1..2, 1_u64..300), 1..5),
        later in prop::collection::vec(1_u64..300, 5),
    ) {
        let mut fleet = Fleet::warm(&[("", stages.len())]);
        let (name, quota) = quota(f64::from(cores));
        fleet.budgets = BTreeMap::from([(name, quota)]);
        for (one, (_, priority, lag)) in fleet.all.iter_mut().zip(&stages) {
            (one.priority, one.lag) = (*priority, Some(*lag));
        }
        let mut plain = fleet.clone();
        for (one, (at_nine, ..)) in fleet.all.iter_mut().zip(&stages) {
            one.at_nine = Some(*at_nine);
        }
        // Too many at first, whom fleets let go one by one.
        let patience = 40;
        for lags in [None, Some(later)] {
            for (index, lag) in lags.into_iter().flatten().enumerate().take(stages.len()) {
                (fleet.all[index].lag, plain.all[index].lag) = (Some(lag), Some(lag));
            }
            for _ in 0..patience {
                let before = replicas(&fleet);
                let (with, without) = (fleet.turn(), plain.turn());
                prop_assert_eq!(replicas(&fleet), replicas(&plain));
                let counts = |step: &Step| step.plan.verdicts.iter().map(|it| it.replicas).collect::<Vec<_>>();
                prop_assert_eq!(counts(&with), counts(&without));
                // A pod that came in this turn finds its place when those who keep room have had their next one.
                let have = replicas(&fleet);
                let is_still = before == have;
                let real: u32 = have.iter().sum();
                let room: u32 = rooms(&fleet).iter().sum();
                prop_assert!(!is_still || room == 0 || real + room <= cores, "{have:?} and {:?} of {cores}", rooms(&fleet));
            }
            let steps = fleet.turns(10);
            prop_assert!(steps.iter().all(|step| step.plan.actions.is_empty()));
        }
    }
}
