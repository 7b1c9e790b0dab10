//! Budgets in the turns of pipelines: who gives way to whom, what is never taken from anyone, and what is said of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock::decide::{Budget, BudgetVerdict, Reason, Room, Thing, Verdict};

use super::fleet::{Fleet, id};

/// Two pipelines of ten replicas of one CPU each, the second served first, under a budget of so many CPUs.
fn two(cores: f64, is_enforced: bool) -> Fleet {
    let mut fleet = Fleet::warm(&[("kafka", 2)]);
    fleet.all[1].priority = 5;
    let name: Arc<str> = "team".into();
    let cost_per_hour = None;
    let budget = Budget {
        name: Arc::clone(&name),
        cost_per_hour,
        cores: Some(cores),
        is_enforced,
        rooms: Vec::new(),
    };
    fleet.budgets = BTreeMap::from([(name, Arc::new(budget))]);
    // Until all may have been heard nobody grows under it.
    fleet.turns(8);
    fleet
}

fn replicas(fleet: &Fleet) -> [u32; 2] {
    [fleet.all[0].replicas, fleet.all[1].replicas]
}

fn says(verdict: &Verdict) -> String {
    verdict.reason().unwrap().to_string()
}

#[test]
fn who_is_served_first_grows_and_the_other_gives_way_at_its_next_turn() {
    let mut fleet = two(24.0, true);
    fleet.turns(3);
    assert_eq!(replicas(&fleet), [10, 10], "there is room for both");

    fleet.all[1].lag = Some(200);
    fleet.turns(3);
    assert_eq!(replicas(&fleet), [4, 20]);
    let step = fleet.turn();
    let [least, first] = &step.plan.verdicts[..] else { panic!("two stages") };
    assert_eq!(says(least), "budget team leaves 4 of 10 replicas: shop/p001 is served first");
    let hint = least.reason().unwrap().hint().unwrap();
    assert_eq!(hint, "raise the limits of CapacityBudget team, or spec.priority of this pipeline");
    assert_eq!(first.reason().unwrap().code(), "Threshold");
    assert_eq!(
        step.plan.budgets,
        [BudgetVerdict {
            budget: "team".into(),
            cost_per_hour: None,
            cores: 24.0,
            gave_way: vec![(id(0), 6)],
            is_exceeded: true,
            unpriced: Vec::new(),
        }]
    );

    // What is freed is had again.
    fleet.all[1].lag = Some(100);
    fleet.turns(3);
    assert_eq!(replicas(&fleet), [10, 10]);
}

#[test]
fn equals_have_equal_parts_of_what_they_wish() {
    let mut fleet = two(18.0, true);
    fleet.all[1].priority = 0;
    fleet.all[0].lag = Some(120);
    fleet.all[1].lag = Some(240);
    fleet.turns(4);
    assert_eq!(replicas(&fleet), [6, 12]);
    let step = fleet.turn();
    let said: Vec<_> = step.plan.verdicts.iter().map(says).collect();
    assert_eq!(
        said,
        [
            "budget team leaves 6 of 12 replicas: it is shared evenly with 1 more",
            "budget team leaves 12 of 24 replicas: it is shared evenly with 1 more",
        ]
    );
    assert!(fleet.turns(5).iter().all(|step| step.plan.actions.is_empty()), "and it stays so");
}

#[test]
fn min_data_and_the_owners_word_stand_above_a_budget() {
    // Not even the least: nobody is starved, and it is told.
    let mut fleet = two(1.0, true);
    fleet.turns(4);
    assert_eq!(replicas(&fleet), [1, 1]);
    assert!(fleet.turn().plan.budgets[0].is_exceeded);

    // Without fresh data nothing is taken away; with it, it is.
    let mut fleet = two(24.0, true);
    fleet.all[0].lag = None;
    fleet.all[1].lag = Some(200);
    fleet.turns(5);
    assert_eq!(replicas(&fleet), [10, 14], "who is served first gets what is left");
    fleet.all[0].lag = Some(100);
    fleet.turns(3);
    assert_eq!(replicas(&fleet), [4, 20]);

    // A pinned count is the owner's word.
    let mut fleet = two(24.0, true);
    fleet.all[0].pinned = Some(12);
    fleet.all[1].lag = Some(200);
    fleet.turns(4);
    assert_eq!(replicas(&fleet), [12, 12]);
}

#[test]
fn a_budget_that_only_warns_changes_nothing_and_tells() {
    let mut fleet = two(12.0, false);
    fleet.turns(3);
    assert_eq!(replicas(&fleet), [10, 10]);
    let step = fleet.turn();
    let fares = &step.plan.budgets[0];
    assert!(fares.is_exceeded && fares.gave_way.is_empty());
    let is_cut =
        |verdict: &Verdict| verdict.why.iter().any(|why| matches!(why, Reason::OverBudget { .. }));
    assert!(!step.plan.verdicts.iter().any(is_cut));
}

#[test]
fn a_deleted_pipeline_frees_what_it_had() {
    let mut fleet = two(24.0, true);
    fleet.all[1].lag = Some(200);
    fleet.turns(4);
    assert_eq!(replicas(&fleet), [4, 20]);
    fleet.memory.forget(&id(1));
    fleet.all.truncate(1);
    fleet.turns(3);
    assert_eq!(fleet.all[0].replicas, 10);
}

/// Two pipelines as above in a namespace with a quota of so many CPUs, of which pods of others take six.
fn under_quota(hard: f64) -> Fleet {
    let mut fleet = two(0.0, true);
    let name: Arc<str> = "shop/compute".into();
    let quota = Budget {
        name: Arc::clone(&name),
        cost_per_hour: None,
        cores: None,
        is_enforced: true,
        rooms: vec![
            Room { of: Thing::Cpu, hard, left: hard - 6.0 },
            Room { of: Thing::Pods, hard: 100.0, left: 94.0 },
        ],
    };
    fleet.budgets = BTreeMap::from([(name, Arc::new(quota))]);
    for one in &mut fleet.all {
        one.replicas = 10;
    }
    fleet.turns(8);
    fleet
}

#[test]
fn a_quota_is_never_asked_for_more_than_it_has_left() {
    let mut fleet = under_quota(30.0);
    assert_eq!(replicas(&fleet), [10, 10], "there is room for both");
    // The first wishes twenty of the twenty-four. Four are free; the rest is to be given back before it is asked for.
    fleet.all[1].lag = Some(200);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let step = fleet.turn();
        let now = replicas(&fleet);
        assert!(now.iter().sum::<u32>() <= 24, "{now:?} is more than the quota has left");
        seen.push((now, says(&step.plan.verdicts[1])));
    }
    assert_eq!(seen[0].0, [10, 14]);
    assert_eq!(
        seen[0].1,
        "ResourceQuota compute leaves 14 of 20 replicas: pipelines have 24 of its 30 requests.cpu, and some of that is given back first"
    );
    assert_eq!(seen[3].0, [4, 20]);
    let step = fleet.turn();
    let least = &step.plan.verdicts[0];
    assert_eq!(
        says(least),
        "ResourceQuota compute leaves 4 of 10 replicas: pipelines have 24 of its 30 requests.cpu, and shop/p001 is served first"
    );
    let hint = least.reason().unwrap().hint().unwrap();
    assert_eq!(
        hint,
        "raise requests.cpu of ResourceQuota compute, or spec.priority of this pipeline"
    );
    assert!(fleet.turns(5).iter().all(|step| step.plan.actions.is_empty()), "and it stays so");
}

#[test]
fn where_others_fill_a_quota_pipelines_keep_their_least() {
    let mut fleet = under_quota(6.0);
    fleet.turns(4);
    assert_eq!(replicas(&fleet), [1, 1]);
    let step = fleet.turn();
    assert_eq!(
        says(&step.plan.verdicts[1]),
        "ResourceQuota compute leaves 1 of 10 replicas: pipelines have 0 of its 6 requests.cpu"
    );
}
