//! Gates: a source whose value holds a stage as it is, and what is done while it cannot be read.

use insta::assert_snapshot;

use super::story::told;

#[test]
fn a_gate_that_says_so_holds_the_stage_up_and_down_until_it_opens() {
    let story = r#"
stage: {perReplica: 1000, gate: "value > 0.0"}
then:
- {at: 2, lag: 6000}
- {at: 10, gate: 3, lag: 12000}
- {at: 30, lag: 1000}
- {at: 100, lag: 9000}
- {at: 104, gate: 0}
until: 110
"#;
    assert_snapshot!(told(story), @"
      0 s  1 Threshold
           1 replica: orders stands at 0, and each replica may have 1000
      2 s  6 Threshold | writes 6 for 1
           6 replicas: orders stands at 6000, and each replica may have 1000
     10 s  6 GateHolds
           held by gate quality: value > 0.0, and value is 3
    104 s  9 Threshold | writes 9 for 6
           9 replicas: orders stands at 9000, and each replica may have 1000
    ");
}

#[test]
fn what_a_gate_kept_is_lowered_once_it_opens() {
    let story = r#"
stage: {perReplica: 1000, gate: "value > 0.0", down: {window: 0}}
then:
- {at: 2, lag: 6000}
- {at: 10, gate: 3, lag: 1000}
- {at: 90, gate: 0}
until: 100
"#;
    assert_snapshot!(told(story), @"
     0 s  1 Threshold
          1 replica: orders stands at 0, and each replica may have 1000
     2 s  6 Threshold | writes 6 for 1
          6 replicas: orders stands at 6000, and each replica may have 1000
    10 s  6 GateHolds
          held by gate quality: value > 0.0, and value is 3
    90 s  1 Threshold | writes 1 for 6
          1 replica: orders stands at 1000, and each replica may have 1000
    ");
}

#[test]
fn a_gate_keeps_a_sleeping_stage_asleep() {
    let story = r#"
stage: {min: 0, perReplica: 1000, desired: 0, gate: "value > 0.0"}
then:
- {at: 0, gate: 1}
- {at: 4, lag: 6000}
- {at: 20, gate: 0}
until: 30
"#;
    assert_snapshot!(told(story), @"
     0 s  0 GateHolds
          held by gate quality: value > 0.0, and value is 1
    20 s  6 Threshold | writes 6 for 0
          6 replicas: orders stands at 6000, and each replica may have 1000
    ");
}

#[test]
fn a_gate_that_cannot_be_read_keeps_the_stage_from_going_down_and_lets_it_go_up() {
    let story = r#"
stage: {perReplica: 1000, gate: "value > 0.0", down: {window: 0}}
then:
- {at: 2, lag: 6000}
- {at: 10, gateSight: Failed}
- {at: 20, lag: 9000}
- {at: 30, lag: 1000}
- {at: 90, gateSight: Fresh}
until: 100
"#;
    assert_snapshot!(told(story), @"
     0 s  1 Threshold
          1 replica: orders stands at 0, and each replica may have 1000
     2 s  6 Threshold | writes 6 for 1
          6 replicas: orders stands at 6000, and each replica may have 1000
    20 s  9 Threshold | writes 9 for 6
          9 replicas: orders stands at 9000, and each replica may have 1000
    30 s  9 GateUnread
          not lowered: gate quality cannot be read (Unreachable: nobody answers at checks:80), and not knowing is neither yes nor no
    90 s  1 Threshold | writes 1 for 9
          1 replica: orders stands at 1000, and each replica may have 1000
    ");
}

#[test]
fn what_a_gate_said_last_stands_for_as_long_as_fallback_after() {
    let story = r#"
stage: {perReplica: 1000, gate: "value > 0.0"}
then:
- {at: 2, lag: 6000, gate: 1}
- {at: 10, gateSight: Stale}
- {at: 20, lag: 9000}
until: 140
"#;
    assert_snapshot!(told(story), @"
      0 s  1 Threshold
           1 replica: orders stands at 0, and each replica may have 1000
      2 s  1 GateHolds
           held by gate quality: value > 0.0, and value is 1
    130 s  9 Threshold | writes 9 for 1
           9 replicas: orders stands at 9000, and each replica may have 1000
    ");
}

#[test]
fn an_open_gate_that_falls_silent_lets_the_stage_go_up() {
    let story = r#"
stage: {perReplica: 1000, gate: "value > 0.0"}
then:
- {at: 2, lag: 6000}
- {at: 10, gateSight: Stale}
- {at: 20, lag: 9000}
until: 30
"#;
    assert_snapshot!(told(story), @"
     0 s  1 Threshold
          1 replica: orders stands at 0, and each replica may have 1000
     2 s  6 Threshold | writes 6 for 1
          6 replicas: orders stands at 6000, and each replica may have 1000
    20 s  9 Threshold | writes 9 for 6
          9 replicas: orders stands at 9000, and each replica may have 1000
    ");
}

#[test]
fn before_its_first_answer_a_gate_holds() {
    let story = r#"
stage: {perReplica: 1000, gate: "value > 0.0"}
then:
- {at: 0, gateSight: None, lag: 6000}
- {at: 6, gateSight: Fresh}
until: 20
"#;
    assert_snapshot!(told(story), @"
    0 s  1 AwaitingData
         held: gate/quality has not answered yet
    6 s  6 Threshold | writes 6 for 1
         6 replicas: orders stands at 6000, and each replica may have 1000
    ");
}

#[test]
fn a_number_that_is_none_is_neither_yes_nor_no() {
    let story = r#"
stage: {perReplica: 1000, gate: "1 / int(value) > 0", down: {window: 0}}
then:
- {at: 2, lag: 6000, gate: .nan}
- {at: 20, lag: 1000}
until: 30
"#;
    let story = story.replace("1 / int(value) > 0", "value > 0.0");
    assert_snapshot!(told(&story), @"
     0 s  1 Threshold
          1 replica: orders stands at 0, and each replica may have 1000
     2 s  6 Threshold | writes 6 for 1
          6 replicas: orders stands at 6000, and each replica may have 1000
    20 s  6 GateUnread
          not lowered: gate quality cannot be read (BadValue: NaN is no count), and not knowing is neither yes nor no
    ");
}

#[test]
fn a_gate_stands_above_the_fallback_of_a_blind_stage() {
    let story = r#"
stage: {perReplica: 1000, gate: "value > 0.0", fallback: [Static, 9, 60]}
then:
- {at: 2, lag: 3000}
- {at: 10, sight: Failed, gate: 1}
- {at: 100, gate: 0}
until: 110
"#;
    assert_snapshot!(told(story), @"
      0 s  1 Threshold
           1 replica: orders stands at 0, and each replica may have 1000
      2 s  3 Threshold | writes 3 for 1
           3 replicas: orders stands at 3000, and each replica may have 1000
     10 s  3 GateHolds
           held by gate quality: value > 0.0, and value is 1
    100 s  9 Fallback | writes 9 for 3
           9 replicas by fallback Static: no source has answered completely for 90 s
    ");
}

#[test]
fn bounds_schedules_and_annotations_stand_above_a_gate() {
    let story = r#"
stage: {perReplica: 1000, gate: "value > 0.0", schedules: [[day, "1 0 * * *", "3 0 * * *", 4, null]]}
then:
- {at: 0, gate: 1}
- {at: 90, max: 2}
until: 100
"#;
    assert_snapshot!(told(story), @"
     0 s  1 GateHolds
          held by gate quality: value > 0.0, and value is 1
    60 s  4 AtScheduledMin | writes 4 for 1
          kept at min 4 by schedule day until 2026-01-01 00:03 UTC: 1 would do
    62 s  4 GateHolds
          held by gate quality: value > 0.0, and value is 1
    90 s  2 AtMax | writes 2 for 4
          kept at max 2: 4 are wished
    92 s  2 GateHolds
          held by gate quality: value > 0.0, and value is 1
    ");
    let pinned = r#"
stage: {perReplica: 1000, gate: "value > 0.0", pinned: 7}
then:
- {at: 0, gate: 1}
until: 10
"#;
    assert_snapshot!(told(pinned), @"
    0 s  7 PinnedByAnnotation | writes 7 for 1
         7 replicas, as penstock.dev/paused-replicas states
    ");
}
