//! `combine.expression`: the owner's own rule for what several sources make of a stage.

use insta::assert_snapshot;

use super::story::{told, turns};

#[test]
fn the_expression_replaces_the_rule_that_the_largest_wish_wins() {
    let story = r#"
stage: {perReplica: 1000, gauge: 0.5, combine: "(orders + gauge) / 2.0"}
then:
- {at: 2, lag: 3000, gauge: 4}
until: 10
"#;
    assert_snapshot!(told(story), @"
    0 s  1 AtMin
         kept at min 1: 0 would do
    2 s  6 Combined | writes 6 for 1
         6 replicas by combine.expression: orders wants 3, gauge wants 8
    ");
}

#[test]
fn what_a_source_wants_is_not_rounded_before_the_expression_has_it() {
    let story = r#"
stage: {perReplica: 1000, gauge: 1, combine: "orders + gauge"}
then:
- {at: 2, lag: 2400, gauge: 1.3}
- {at: 10, gauge: 1.7}
until: 20
"#;
    assert_snapshot!(told(story), @"
     0 s  1 AtMin
          kept at min 1: 0 would do
     2 s  4 Combined | writes 4 for 1
          4 replicas by combine.expression: orders wants 2.4, gauge wants 1.3
    10 s  5 Combined | writes 5 for 4
          5 replicas by combine.expression: orders wants 2.4, gauge wants 1.7
    ");
}

#[test]
fn a_source_it_names_that_is_missing_holds_the_stage_whatever_the_others_say() {
    let story = r#"
stage: {perReplica: 1000, gauge: 1, combine: "[orders, gauge].max()"}
then:
- {at: 2, lag: 3000}
- {at: 10, gauge: .nan, lag: 9000}
- {at: 20, lag: 1000}
- {at: 60, gauge: 1}
until: 100
"#;
    assert_snapshot!(told(story), @"
     0 s  1 AtMin
          kept at min 1: 0 would do
     2 s  3 Combined | writes 3 for 1
          3 replicas by combine.expression: orders wants 3, gauge wants 0
    10 s  3 NoFreshData
          held: gauge gives no fresh, complete reading (BadValue: NaN is no count), and not knowing is not zero
    60 s  3 HeldByWindow
          kept at 3: 1 would do now, but 3 were needed within the last 60 s
    ");
}

#[test]
fn a_source_it_does_not_name_keeps_the_stage_from_going_down_while_it_fails() {
    let story = r#"
stage: {perReplica: 1000, gauge: 1, combine: "orders"}
then:
- {at: 2, lag: 9000}
- {at: 10, gauge: .nan}
- {at: 20, lag: 1000}
- {at: 40, lag: 12000}
until: 50
"#;
    assert_snapshot!(told(story), @"
     0 s  1 AtMin
          kept at min 1: 0 would do
     2 s  9 Combined | writes 9 for 1
          9 replicas by combine.expression: orders wants 9
    10 s  9 NoFreshData
          held: gauge gives no fresh, complete reading (BadValue: NaN is no count), and not knowing is not zero
    40 s  12 Combined | writes 12 for 9
          12 replicas by combine.expression: orders wants 12
    42 s  12 NoFreshData
          held: gauge gives no fresh, complete reading (BadValue: NaN is no count), and not knowing is not zero
    ");
}

#[test]
fn what_is_no_count_holds_the_stage() {
    let story = r#"
stage: {perReplica: 1000, gauge: 1, combine: "orders / gauge - 1.0"}
then:
- {at: 2, lag: 8000, gauge: 2}
- {at: 10, gauge: 0}
- {at: 20, gauge: 20}
until: 30
"#;
    assert_snapshot!(told(story), @"
     0 s  1 CombineFailed
          held: combine.expression gives no count of replicas: it gives NaN
     2 s  3 Combined | writes 3 for 1
          3 replicas by combine.expression: orders wants 8, gauge wants 2
    10 s  3 CombineFailed
          held: combine.expression gives no count of replicas: it gives inf
    ");
}

#[test]
fn the_fallback_of_a_blind_stage_comes_after_the_expression() {
    let story = r#"
stage: {perReplica: 1000, gauge: 1, combine: "orders + gauge", fallback: [AtLeast, 6, 60]}
then:
- {at: 2, lag: 3000}
- {at: 10, gauge: .nan}
until: 100
"#;
    assert_snapshot!(told(story), @"
     0 s  1 AtMin
          kept at min 1: 0 would do
     2 s  3 Combined | writes 3 for 1
          3 replicas by combine.expression: orders wants 3, gauge wants 0
    10 s  3 NoFreshData
          held: gauge gives no fresh, complete reading (BadValue: NaN is no count), and not knowing is not zero
    70 s  6 Fallback | writes 6 for 3
          6 replicas by fallback AtLeast: no source has answered completely for 60 s
    ");
}

#[test]
fn under_an_objective_each_queue_wants_what_it_would_alone() {
    let story = r#"
stage: {objective: 60, rate: 50, sources: 2, partitions: 48, combine: "[orders, orders1].max()"}
then:
- {at: 2, lag: 12000}
until: 4
"#;
    assert_snapshot!(told(story), @"
    0 s  1 AtMin
         kept at min 1: 0 would do
    2 s  7 Combined | writes 7 for 1
         7 replicas by combine.expression: orders wants 7, orders1 wants 7
    4 s  7 HeldByWindow
         kept at 7: 4 would do now, but 7 were needed within the last 60 s
    ");
    let added = story.replace("[orders, orders1].max()", "orders + orders1");
    assert_snapshot!(told(&added), @"
    0 s  1 AtMin
         kept at min 1: 0 would do
    2 s  14 Combined | writes 14 for 1
         14 replicas by combine.expression: orders wants 7, orders1 wants 7
    4 s  14 HeldByWindow
         kept at 14: 8 would do now, but 14 were needed within the last 60 s
    ");
}

#[test]
fn a_threshold_speaks_while_no_rate_of_the_queue_beside_it_is_known() {
    // Nothing waits in the queue, so that nobody ever learns how fast it would be worked off.
    let story = r#"
stage: {objective: 60, gauge: 1, combine: "[orders, gauge].max()", desired: 2, down: {window: 0}}
then:
- {at: 0, lag: 0, gauge: 10}
- {at: 200, gauge: 1}
until: 400
"#;
    let counts: Vec<_> = turns(story).iter().map(|turn| (turn.at, turn.replicas)).collect();
    let asked = counts.iter().filter(|(at, _)| (0..200).contains(at));
    assert!(asked.clone().all(|(_, replicas)| *replicas == Some(10)), "{counts:?}");
    assert!(counts.last().unwrap().1 < Some(10), "fewer are tried once nothing asks for more");
}

#[test]
fn bounds_and_sleep_are_as_for_any_stage() {
    let story = r#"
stage: {min: 0, max: 5, perReplica: 1000, gauge: 1, idle: [0, 60], combine: "orders + gauge", desired: 0}
then:
- {at: 4, lag: 9000}
- {at: 20, lag: 0}
until: 600
"#;
    assert_snapshot!(told(story), @"
     0 s  0 Idle
          0 replicas: nothing has waited or arrived since 00:00:00 UTC
     4 s  5 AtMax | writes 5 for 0
          kept at max 5: 9 are wished
    20 s  5 HeldByWindow
          kept at 5: 1 would do now, but 5 were needed within the last 60 s
    78 s  1 AtMin | writes 1 for 5
          kept at min 1: 0 would do
    80 s  1 TooSoon
          0 replicas at 00:01:23 UTC: the last write is too young
    84 s  0 Idle | writes 0 for 1
          0 replicas: nothing has waited or arrived since 00:00:20 UTC
    ");
}
