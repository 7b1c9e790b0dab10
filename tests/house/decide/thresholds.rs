//! Thresholds: so many items for each replica.

use insta::assert_snapshot;

use super::story::{Given, World, told, verdict};

#[test]
fn from_one_to_twenty_four_is_one_write_at_the_first_poll_that_sees_the_backlog() {
    let story = "
stage: {perReplica: 1000}
then:
- {at: 4, lag: 24000}
until: 30
";
    assert_snapshot!(told(story), @r"
        0 s  1 Threshold
             1 replica: orders stands at 0, and each replica may have 1000
        4 s  24 Threshold | writes 24 for 1
             24 replicas: orders stands at 24000, and each replica may have 1000
        ");
}

#[test]
fn a_threshold_needs_no_learning_to_wake() {
    let story = "
stage: {min: 0, perReplica: 1000, desired: 0}
then:
- {at: 4, lag: 6500}
until: 30
";
    assert_snapshot!(told(story), @r"
        0 s  0 Idle
             0 replicas: nothing has waited or arrived since 00:00:00 UTC
        4 s  7 Threshold | writes 7 for 0
             7 replicas: orders stands at 6500, and each replica may have 1000
        ");
}

#[test]
fn more_replicas_than_partitions_would_stand_idle() {
    let story = "
stage: {perReplica: 100, partitions: 6}
then:
- {at: 2, lag: 24000}
until: 10
";
    assert_snapshot!(told(story), @r"
        0 s  1 Threshold
             1 replica: orders stands at 0, and each replica may have 100
        2 s  6 PartitionBound | writes 6 for 1
             6 replicas, one for each partition: 240 were wished, and more than 6 would stand idle
        ");
}

#[test]
fn of_several_thresholds_the_largest_wish_wins() {
    let story = "
stage: {perReplica: 1000, gauge: 0.5}
then:
- {at: 2, lag: 3000, gauge: 4}
- {at: 10, lag: 9500}
until: 20
";
    assert_snapshot!(told(story), @r"
         0 s  1 Threshold
              1 replica: gauge stands at 0, and each replica may have 0.5
         2 s  8 Threshold | writes 8 for 1
              8 replicas: gauge stands at 4, and each replica may have 0.5
        10 s  10 Threshold | writes 10 for 8
              10 replicas: orders stands at 9500, and each replica may have 1000
        ");
}

#[test]
fn max_and_min_bound_every_wish() {
    let story = "
stage: {perReplica: 100, min: 3, max: 8}
then:
- {at: 2, lag: 2000}
until: 6
";
    assert_snapshot!(told(story), @r"
        0 s  3 AtMin | writes 3 for 1
             kept at min 3: 1 would do
        2 s  3 TooSoon
             8 replicas at 00:00:05 UTC: the last write is too young
        6 s  8 AtMax | writes 8 for 3
             kept at max 8: 20 are wished
        ");
}

#[test]
fn with_an_objective_and_a_threshold_the_larger_wins() {
    let story = "
stage: {perReplica: 100, objective: 60, rate: 50}
then:
- {at: 2, lag: 1000}
until: 6
";
    assert_snapshot!(told(story), @r"
        0 s  1 Threshold
             1 replica: orders stands at 0, and each replica may have 100
        2 s  10 Threshold | writes 10 for 1
             10 replicas: orders stands at 1000, and each replica may have 100
        ");
}

#[test]
fn an_age_is_the_delay_of_its_stage_and_a_wish_by_its_threshold() {
    let given = Given {
        objective: Some(600),
        sources: Some(0),
        gauge: Some(600.0),
        is_age: true,
        ..Given::default()
    };
    let mut world = World::new(given);
    for (at, age, replicas) in [(0, 300.0, 1), (15, 1500.0, 3), (30, 1515.0, 3)] {
        (world.at, world.gauge) = (at, age);
        let step = world.turn();
        let verdict = verdict(&step);
        assert_eq!((verdict.signals.delay, verdict.replicas), (Some(age), Some(replicas)), "{at}");
        assert!(verdict.signals.is_fresh);
    }
}
