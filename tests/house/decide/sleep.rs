//! Sleep and waking: zero is earned, and left at the first sign of work.

use insta::assert_snapshot;

use super::story::{told, turns};

#[test]
fn zero_is_earned_by_quiet_for_as_long_as_idle_says() {
    let story = "
stage: {min: 0, perReplica: 1000, desired: 3, idle: [0, 20]}
then:
- {at: 0, lag: 2500}
- {at: 10, lag: 0}
until: 60
";
    assert_snapshot!(told(story), @r"
         0 s  3 Threshold
              3 replicas: orders stands at 2500, and each replica may have 1000
        10 s  3 HeldByWindow
              kept at 3: 1 would do now, but 3 were needed within the last 100 s
        30 s  0 Idle | writes 0 for 3
              0 replicas: nothing has waited or arrived since 00:00:10 UTC
        ");
}

#[test]
fn one_item_starts_the_quiet_anew() {
    let story = "
stage: {min: 0, perReplica: 1000, idle: [0, 20]}
then:
- {at: 14, burst: 1}
- {at: 16, lag: 0}
until: 60
";
    assert_snapshot!(told(story), @r"
         0 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 1000
        36 s  0 Idle | writes 0 for 1
              0 replicas: nothing has waited or arrived since 00:00:16 UTC
        ");
}

#[test]
fn left_out_idleness_is_as_long_as_waking_takes() {
    let story = "
stage: {min: 0, objective: 600, rate: 50, startup: 110}
until: 140
";
    assert_snapshot!(told(story), @r"
          0 s  1 Steady
               the present count fits: nothing waits, and 10 min are allowed
        116 s  0 Idle | writes 0 for 1
               0 replicas: nothing has waited or arrived since 00:00:00 UTC
        ");
}

/// A burst every so often. Says how long after the last of them the stage slept.
fn slept_after(bursts: i64, every: i64, idle: &str) -> i64 {
    use std::fmt::Write as _;
    let mut story = format!(
        "stage: {{min: 0, objective: 600, rate: 50, startup: 110, commits: 2{idle}}}\nthen:\n"
    );
    for burst in 0..bursts {
        let at = 200 + burst * every;
        write!(story, "- {{at: {at}, lag: 100}}\n- {{at: {}, lag: 0}}\n", at + 10).unwrap();
    }
    let last = 200 + (bursts - 1) * every + 10;
    writeln!(story, "until: {}", last + 700).unwrap();
    let slept = turns(&story).into_iter().find(|it| last <= it.at && it.replicas == Some(0));
    slept.unwrap().at - last
}

#[test]
fn who_has_seen_only_long_gaps_sleeps_soon() {
    let (untaught, taught) = (slept_after(3, 1000, ""), slept_after(24, 1000, ""));
    // Pods of a story are Ready at once, so that waking costs little and the least there is holds.
    assert!((60..=64).contains(&untaught), "{untaught}");
    assert!(taught <= 20, "{taught}");
}

#[test]
fn who_has_seen_gaps_shorter_than_waking_costs_waits_them_out() {
    let taught = slept_after(40, 60, "");
    assert!((50..=100).contains(&taught), "{taught}");
}

#[test]
fn idleness_that_is_written_binds_whatever_was_learned() {
    let taught = slept_after(24, 1000, ", idle: [0, 300]");
    assert!((300..=304).contains(&taught), "{taught}");
}

#[test]
fn a_stage_that_cannot_wake_in_time_is_kept_awake() {
    let story = "
stage: {min: 0, objective: 30, rate: 50, startup: 40}
until: 120
";
    assert_snapshot!(told(story), @r"
         0 s  1 Steady
              the present count fits: nothing waits, and 30 s are allowed
        60 s  1 KeptAwake
              1 replica kept awake: waking from zero takes 47 s, and 30 s are promised
        ");
}

#[test]
fn what_idle_says_is_kept_below_min() {
    let story = "
stage: {min: 4, perReplica: 1000, desired: 4, idle: [2, 30]}
then:
- {at: 60, lag: 10}
until: 90
";
    assert_snapshot!(told(story), @r"
         0 s  4 AtMin
              kept at min 4: 1 would do
        30 s  2 Idle | writes 2 for 4
              2 replicas: nothing has waited or arrived since 00:00:00 UTC
        60 s  4 AtMin | writes 4 for 2
              kept at min 4: 1 would do
        ");
}

#[test]
fn activation_lets_small_amounts_sleep() {
    let story = "
stage: {min: 0, perReplica: 10, activation: 50, idle: [0, 20], desired: 0}
then:
- {at: 4, lag: 50}
- {at: 10, lag: 51}
until: 20
";
    assert_snapshot!(told(story), @r"
         0 s  0 Idle
              0 replicas: nothing has waited or arrived since 00:00:00 UTC
        10 s  6 Threshold | writes 6 for 0
              6 replicas: orders stands at 51, and each replica may have 10
        ");
}

#[test]
fn with_a_known_rate_it_wakes_straight_to_the_right_count() {
    let story = "
stage: {min: 0, objective: 60, rate: 50, startup: 5, desired: 0}
then:
- {at: 4, lag: 16000}
until: 20
";
    assert_snapshot!(told(story), @r"
        0 s  0 Idle
             0 replicas: nothing has waited or arrived since 00:00:00 UTC
        4 s  12 CatchUp | writes 12 for 0
             12 replicas: 16000 messages wait, the oldest for 2 s; at 50/s each, 12 work it off within 60 s
        6 s  12 Steady
             the present count fits: the oldest message has waited 4 s of 60 s
        ");
}

#[test]
fn with_no_rate_it_wakes_to_an_eighth_of_the_partitions_to_learn() {
    let story = "
stage: {min: 0, objective: 60, desired: 0}
then:
- {at: 4, lag: 90000}
until: 20
";
    assert_snapshot!(told(story), @r"
        0 s  0 Idle
             0 replicas: nothing has waited or arrived since 00:00:00 UTC
        4 s  3 Learning | writes 3 for 0
             3 replicas to learn from: how much one gets through is not known yet, and shows once it has been busy for two commits
        ");
}

#[test]
fn a_group_without_commits_is_woken_by_an_end_that_moves() {
    let story = "
stage: {min: 0, objective: 60, desired: 0, uncommitted: true, idle: [0, 30]}
then:
- {at: 10, burst: 40}
until: 20
";
    assert_snapshot!(told(story), @r"
         0 s  0 Idle
              0 replicas: nothing has waited or arrived since 00:00:00 UTC
        10 s  3 Learning | writes 3 for 0
              3 replicas to learn from: how much one gets through is not known yet, and shows once it has been busy for two commits
        12 s  3 Steady
              the present count fits: nothing waits, and 60 s are allowed
        ");
}

#[test]
fn what_a_group_without_commits_missed_before_we_looked_does_not_wake_it() {
    let story = "
stage: {min: 0, objective: 60, desired: 0, uncommitted: true}
until: 60
";
    assert_snapshot!(told(story), @r"
         0 s  0 Idle
              0 replicas: nothing has waited or arrived since 00:00:00 UTC
        60 s  0 Idle (Uncommitted)
              0 replicas: nothing has waited or arrived since 00:00:00 UTC
              odd: 24 of 24 partitions of orders count as read to the end, since the group has committed nothing there and offsetReset is Latest: if its consumers begin at the earliest, all that is in them waits unseen
        ");
}

#[test]
fn arrivals_that_stop_all_at_once_are_no_proof_of_peace() {
    let story = "
stage: {min: 0, objective: 60, rate: 50, startup: 5, desired: 4}
then:
- {at: 0, arrive: 180, take: 180}
- {at: 240, arrive: 0, take: 180}
until: 900
";
    assert_snapshot!(told(story), @"
      0 s  4 HeldSinceStart
           kept at 4: 1 would do now, but what was needed before is not known; until 00:01:00 UTC
      4 s  4 Steady
           the present count fits: nothing waits, and 60 s are allowed
    248 s  4 HeldByWindow
           kept at 4: 3 would do now, but 4 were needed within the last 60 s
    314 s  4 HeldBySilence
           kept: arrivals stopped all at once, and a dead producer returns with its backlog; 1 would do now; until 00:14:00 UTC
    340 s  4 HeldByWindow
           kept at 4: 0 would do now, but 4 were needed within the last 92 s
    360 s  4 HeldBySilence
           kept: arrivals stopped all at once, and a dead producer returns with its backlog; 0 would do now; until 00:14:00 UTC
    840 s  0 Idle | writes 0 for 4
           0 replicas: nothing has waited or arrived since 00:04:02 UTC
    ");
}

#[test]
fn on_silence_follow_takes_it_at_its_word() {
    let story = "
stage: {min: 0, objective: 60, rate: 50, startup: 5, desired: 4, follow: true}
then:
- {at: 0, arrive: 180, take: 180}
- {at: 240, arrive: 0, take: 180}
until: 900
";
    assert_snapshot!(told(story), @"
      0 s  4 HeldSinceStart
           kept at 4: 1 would do now, but what was needed before is not known; until 00:01:00 UTC
      4 s  4 Steady
           the present count fits: nothing waits, and 60 s are allowed
    248 s  4 HeldByWindow
           kept at 4: 3 would do now, but 4 were needed within the last 60 s
    302 s  0 Idle | writes 0 for 4
           0 replicas: nothing has waited or arrived since 00:04:02 UTC
    ");
}
