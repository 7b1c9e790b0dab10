//! What holds a stage back: Penstock's own windows, and the owner's `behavior`.

use insta::assert_snapshot;

use super::story::told;

#[test]
fn a_wish_for_less_waits_for_the_window() {
    let story = "
stage: {perReplica: 1000, startup: 40, desired: 8}
then:
- {at: 0, lag: 8000}
- {at: 120, lag: 3000}
until: 300
";
    assert_snapshot!(told(story), @r"
          0 s  8 Threshold
               8 replicas: orders stands at 8000, and each replica may have 1000
        120 s  8 HeldByWindow
               kept at 8: 3 would do now, but 8 were needed within the last 90 s
        208 s  3 Threshold | writes 3 for 8
               3 replicas: orders stands at 3000, and each replica may have 1000
        ");
}

#[test]
fn a_down_that_is_undone_makes_the_window_longer() {
    let story = "
stage: {perReplica: 1000, startup: 25, desired: 8}
then:
- {at: 0, lag: 8000}
- {at: 70, lag: 3000}
- {at: 150, lag: 8000}
- {at: 160, lag: 3000}
until: 400
";
    assert_snapshot!(told(story), @r"
          0 s  8 Threshold
               8 replicas: orders stands at 8000, and each replica may have 1000
         70 s  8 HeldByWindow
               kept at 8: 3 would do now, but 8 were needed within the last 60 s
        128 s  3 Threshold | writes 3 for 8
               3 replicas: orders stands at 3000, and each replica may have 1000
        150 s  8 Threshold | writes 8 for 3
               8 replicas: orders stands at 8000, and each replica may have 1000
        160 s  8 HeldByWindow
               kept at 8: 3 would do now, but 8 were needed within the last 2 min
        278 s  3 Threshold | writes 3 for 8
               3 replicas: orders stands at 3000, and each replica may have 1000
        ");
}

#[test]
fn an_open_window_outlives_a_restart_through_status() {
    let story = "
stage: {perReplica: 1000, startup: 40, desired: 8, recalled: [null, null, [8, 30]]}
then:
- {at: 0, lag: 3000}
until: 120
";
    assert_snapshot!(told(story), @r"
         0 s  8 HeldByWindow
              kept at 8: 3 would do now, but 8 were needed within the last 90 s
        60 s  3 Threshold | writes 3 for 8
              3 replicas: orders stands at 3000, and each replica may have 1000
        ");
}

#[test]
fn a_window_that_was_over_before_the_restart_is_no_word_of_what_was_needed() {
    let story = "
stage: {perReplica: 1000, startup: 40, desired: 8, recalled: [null, null, [8, 3600]]}
then:
- {at: 0, lag: 3000}
until: 120
";
    assert_snapshot!(told(story), @r"
         0 s  8 HeldSinceStart
              kept at 8: 3 would do now, but what was needed before is not known; until 00:01:30 UTC
        90 s  3 Threshold | writes 3 for 8
              3 replicas: orders stands at 3000, and each replica may have 1000
        ");
}

#[test]
fn without_word_from_an_earlier_life_what_runs_is_kept_for_one_window() {
    let story = "
stage: {perReplica: 1000, startup: 40, desired: 8}
then:
- {at: 0, lag: 3000}
- {at: 200, lag: 2000}
- {at: 240, restart: true}
until: 500
";
    assert_snapshot!(told(story), @r"
          0 s  8 HeldSinceStart
               kept at 8: 3 would do now, but what was needed before is not known; until 00:01:30 UTC
         90 s  3 Threshold | writes 3 for 8
               3 replicas: orders stands at 3000, and each replica may have 1000
        200 s  3 HeldByWindow
               kept at 3: 2 would do now, but 3 were needed within the last 90 s
        240 s  3 HeldSinceStart
               kept at 3: 2 would do now, but what was needed before is not known; until 00:05:30 UTC
        330 s  2 Threshold | writes 2 for 3
               2 replicas: orders stands at 2000, and each replica may have 1000
        ");
}

#[test]
fn pods_asked_for_are_not_killed_before_they_are_ready() {
    let story = "
stage: {perReplica: 1000, startup: 60, down: {window: 0}}
then:
- {at: 10, lag: 8000}
- {at: 12, ready: 2, lag: 3000}
- {at: 80, ready: 8}
until: 100
";
    assert_snapshot!(told(story), @r"
         0 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 1000
        10 s  8 Threshold | writes 8 for 1
              8 replicas: orders stands at 8000, and each replica may have 1000
        12 s  8 AwaitingPods
              kept: 3 would do now, but only 2 of the pods asked for are Ready yet
        80 s  3 Threshold | writes 3 for 8
              3 replicas: orders stands at 3000, and each replica may have 1000
        ");
}

#[test]
fn a_written_window_is_kept_to_the_second() {
    let story = "
stage: {perReplica: 1000, desired: 8, down: {window: 300}}
then:
- {at: 0, lag: 8000}
- {at: 400, lag: 3000}
until: 720
";
    assert_snapshot!(told(story), @r"
          0 s  8 Threshold
               8 replicas: orders stands at 8000, and each replica may have 1000
        400 s  8 HeldByWindow
               kept at 8: 3 would do now, but 8 were needed within the last 5 min
        698 s  3 Threshold | writes 3 for 8
               3 replicas: orders stands at 3000, and each replica may have 1000
        700 s  3 Threshold (Stopped)
               3 replicas: orders stands at 3000, and each replica may have 1000
               odd: no consumer of orders has committed since 00:06:40 UTC though 3000 messages wait: neither more nor fewer replicas would change that
        ");
}

#[test]
fn a_written_up_window_waits_for_the_smallest_wish() {
    let story = "
stage: {perReplica: 1000, up: {window: 30}}
then:
- {at: 10, lag: 8000}
- {at: 20, lag: 5000}
until: 60
";
    assert_snapshot!(told(story), @r"
         0 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 1000
        10 s  1 HeldByUpWindow
              kept at 1: 8 are wished now, but not throughout the last 30 s, as scaleUp.stabilizationWindowSeconds asks
        38 s  5 Threshold | writes 5 for 1
              5 replicas: orders stands at 5000, and each replica may have 1000
        ");
}

#[test]
fn policies_limit_each_step_over_a_sliding_period() {
    let story = "
stage: {perReplica: 1000, up: {policies: [[Pods, 4, 15], [Percent, 100, 15]]}}
then:
- {at: 10, lag: 24000}
until: 90
";
    assert_snapshot!(told(story), @r"
         0 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 1000
        10 s  5 LimitedByPolicy | writes 5 for 1
              5 replicas for now: 24 are wished, and a policy of behavior allows no more change within 15 s
        26 s  10 LimitedByPolicy | writes 10 for 5
              10 replicas for now: 24 are wished, and a policy of behavior allows no more change within 15 s
        42 s  20 LimitedByPolicy | writes 20 for 10
              20 replicas for now: 24 are wished, and a policy of behavior allows no more change within 15 s
        58 s  24 Threshold | writes 24 for 20
              24 replicas: orders stands at 24000, and each replica may have 1000
        ");
}

#[test]
fn select_min_takes_the_stricter_policy() {
    let story = "
stage: {perReplica: 1000, desired: 10, up: {select: Min, policies: [[Pods, 4, 15], [Percent, 10, 15]]}}
then:
- {at: 10, lag: 24000}
until: 30
";
    assert_snapshot!(told(story), @r"
         0 s  10 HeldSinceStart
              kept at 10: 1 would do now, but what was needed before is not known; until 00:01:40 UTC
        10 s  11 LimitedByPolicy | writes 11 for 10
              11 replicas for now: 24 are wished, and a policy of behavior allows no more change within 15 s
        26 s  13 LimitedByPolicy | writes 13 for 11
              13 replicas for now: 24 are wished, and a policy of behavior allows no more change within 15 s
        ");
}

#[test]
fn down_policies_limit_the_way_back() {
    let story = "
stage: {perReplica: 1000, desired: 20, down: {window: 0, policies: [[Percent, 50, 60]]}}
then:
- {at: 0, lag: 20000}
- {at: 100, lag: 1000}
until: 300
";
    assert_snapshot!(told(story), @r"
          0 s  20 Threshold
               20 replicas: orders stands at 20000, and each replica may have 1000
        100 s  10 LimitedByPolicy | writes 10 for 20
               10 replicas for now: 1 are wished, and a policy of behavior allows no more change within 60 s
        160 s  5 LimitedByPolicy | writes 5 for 10
               5 replicas for now: 1 are wished, and a policy of behavior allows no more change within 60 s
        220 s  2 LimitedByPolicy | writes 2 for 5
               2 replicas for now: 1 are wished, and a policy of behavior allows no more change within 60 s
        280 s  1 Threshold | writes 1 for 2
               1 replica: orders stands at 1000, and each replica may have 1000
        ");
}

#[test]
fn a_disabled_direction_stays_so_even_to_zero() {
    let story = "
stage: {min: 0, perReplica: 1000, desired: 3, idle: [0, 10], down: {select: Disabled}}
until: 60
";
    assert_snapshot!(told(story), @r"
         0 s  3 HeldSinceStart
              kept at 3: 1 would do now, but what was needed before is not known; until 00:01:40 UTC
        10 s  3 DirectionDisabled
              kept: 0 are wished, and behavior.scaleDown is disabled
        ");
}

#[test]
fn a_change_within_tolerance_is_not_made() {
    let story = "
stage: {perReplica: 1000, desired: 20, up: {tolerance: 0.1}, down: {window: 0, tolerance: 0.2}}
then:
- {at: 0, lag: 20000}
- {at: 100, lag: 22000}
- {at: 120, lag: 23000}
- {at: 140, lag: 19000}
- {at: 160, lag: 16000}
until: 180
";
    assert_snapshot!(told(story), @r"
          0 s  20 Threshold
               20 replicas: orders stands at 20000, and each replica may have 1000
        100 s  22 Threshold | writes 22 for 20
               22 replicas: orders stands at 22000, and each replica may have 1000
        120 s  22 WithinTolerance
               kept: 23 are wished, which is within the tolerance of 10 %
        160 s  16 Threshold | writes 16 for 22
               16 replicas: orders stands at 16000, and each replica may have 1000
        ");
}

#[test]
fn waking_is_no_change_of_size_for_a_policy() {
    let story = "
stage: {min: 0, perReplica: 1000, desired: 0, up: {policies: [[Percent, 100, 15]]}}
then:
- {at: 10, lag: 8000}
until: 90
";
    assert_snapshot!(told(story), @r"
         0 s  0 Idle
              0 replicas: nothing has waited or arrived since 00:00:00 UTC
        10 s  1 LimitedByPolicy | writes 1 for 0
              1 replica for now: 8 are wished, and a policy of behavior allows no more change within 15 s
        26 s  2 LimitedByPolicy | writes 2 for 1
              2 replicas for now: 8 are wished, and a policy of behavior allows no more change within 15 s
        42 s  4 LimitedByPolicy | writes 4 for 2
              4 replicas for now: 8 are wished, and a policy of behavior allows no more change within 15 s
        58 s  8 Threshold | writes 8 for 4
              8 replicas: orders stands at 8000, and each replica may have 1000
        ");
}

#[test]
fn two_writes_are_never_closer_than_five_seconds() {
    let story = "
stage: {perReplica: 1000}
then:
- {at: 4, lag: 5000}
- {at: 6, lag: 9000}
until: 20
";
    assert_snapshot!(told(story), @r"
         0 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 1000
         4 s  5 Threshold | writes 5 for 1
              5 replicas: orders stands at 5000, and each replica may have 1000
         6 s  5 TooSoon
              9 replicas at 00:00:09 UTC: the last write is too young
        10 s  9 Threshold | writes 9 for 5
              9 replicas: orders stands at 9000, and each replica may have 1000
        ");
}
