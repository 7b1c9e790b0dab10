//! Not knowing is not zero: what is late, partial, stale, failed or no number never lowers a stage.

use insta::assert_snapshot;

use super::story::told;

#[test]
fn a_late_reading_holds_the_stage() {
    let story = "
stage: {perReplica: 100, desired: 12, down: {window: 0}}
then:
- {at: 0, lag: 1200}
- {at: 10, sight: Late}
- {at: 12, lag: 0}
until: 60
";
    assert_snapshot!(told(story), @r"
         0 s  12 Threshold
              12 replicas: orders stands at 1200, and each replica may have 100
        22 s  12 NoFreshData
              held: orders gives no fresh, complete reading (Late: its last answer is 12 s old), and not knowing is not zero
        ");
}

#[test]
fn a_partial_reading_may_raise_and_never_lowers() {
    let story = "
stage: {perReplica: 100, desired: 12, down: {window: 0}}
then:
- {at: 0, lag: 1200}
- {at: 10, sight: Partial, lag: 100}
- {at: 20, lag: 1800}
until: 30
";
    assert_snapshot!(told(story), @r"
         0 s  12 Threshold
              12 replicas: orders stands at 1200, and each replica may have 100
        10 s  12 NoFreshData
              held: orders gives no fresh, complete reading (Partial: 1 of 24 partitions: leader not available), and not knowing is not zero
        20 s  18 Threshold | writes 18 for 12
              18 replicas: orders stands at 1800, and each replica may have 100
        22 s  18 NoFreshData
              held: orders gives no fresh, complete reading (Partial: 1 of 24 partitions: leader not available), and not knowing is not zero
        ");
}

#[test]
fn a_failed_source_holds_for_as_long_as_it_fails_and_then_is_believed_again() {
    let story = "
stage: {perReplica: 100, desired: 12, down: {window: 0}}
then:
- {at: 0, lag: 1200}
- {at: 10, sight: Failed, lag: 0}
- {at: 600, sight: Fresh}
until: 620
";
    assert_snapshot!(told(story), @r"
          0 s  12 Threshold
               12 replicas: orders stands at 1200, and each replica may have 100
         10 s  12 NoFreshData
               held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
        600 s  1 Threshold | writes 1 for 12
               1 replica: orders stands at 0, and each replica may have 100
        ");
}

#[test]
fn nobody_has_answered_yet_is_not_zero() {
    let story = "
stage: {perReplica: 100, desired: 12, min: 0}
then:
- {at: 0, sight: None}
until: 900
";
    assert_snapshot!(told(story), @r"
        0 s  12 AwaitingData
             held: orders has not answered yet
        ");
}

#[test]
fn one_bad_source_of_two_lets_the_other_raise_but_not_lower() {
    let story = "
stage: {perReplica: 100, gauge: 1, desired: 4, down: {window: 0}}
then:
- {at: 0, lag: 400, gauge: 2}
- {at: 10, lag: 100, gauge: -1}
- {at: 20, lag: 900}
until: 30
";
    assert_snapshot!(told(story), @r"
         0 s  4 Threshold
              4 replicas: orders stands at 400, and each replica may have 100
        10 s  4 NoFreshData
              held: gauge gives no fresh, complete reading (BadValue: -1 is no count), and not knowing is not zero
        20 s  9 Threshold | writes 9 for 4
              9 replicas: orders stands at 900, and each replica may have 100
        22 s  9 NoFreshData
              held: gauge gives no fresh, complete reading (BadValue: -1 is no count), and not knowing is not zero
        ");
}

#[test]
fn what_is_no_number_is_no_reading() {
    let story = "
stage: {gauge: 1, sources: 0, desired: 4, down: {window: 0}}
then:
- {at: 0, gauge: 4}
- {at: 10, gauge: .nan}
- {at: 20, gauge: .inf}
- {at: 30, gauge: 0}
until: 40
";
    assert_snapshot!(told(story), @r"
         0 s  4 Threshold
              4 replicas: gauge stands at 4, and each replica may have 1
        10 s  4 NoFreshData
              held: gauge gives no fresh, complete reading (BadValue: NaN is no count), and not knowing is not zero
        30 s  1 Threshold | writes 1 for 4
              1 replica: gauge stands at 0, and each replica may have 1
        ");
}

#[test]
fn fallback_at_least_raises_a_stage_blind_for_long() {
    let story = "
stage: {perReplica: 100, fallback: [AtLeast, 6, 120]}
then:
- {at: 10, sight: Failed}
- {at: 200, sight: Fresh}
until: 400
";
    assert_snapshot!(told(story), @r"
          0 s  1 Threshold
               1 replica: orders stands at 0, and each replica may have 100
         10 s  1 NoFreshData
               held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
        130 s  6 Fallback | writes 6 for 1
               6 replicas by fallback AtLeast: no source has answered completely for 2 min
        200 s  6 HeldByWindow
               kept at 6: 1 would do now, but 6 were needed within the last 60 s
        258 s  1 Threshold | writes 1 for 6
               1 replica: orders stands at 0, and each replica may have 100
        ");
}

#[test]
fn fallback_static_is_the_owners_exception_and_may_lower() {
    let story = "
stage: {perReplica: 100, desired: 12, fallback: [Static, 3, 60]}
then:
- {at: 0, lag: 1200}
- {at: 10, sight: Failed}
until: 100
";
    assert_snapshot!(told(story), @r"
         0 s  12 Threshold
              12 replicas: orders stands at 1200, and each replica may have 100
        10 s  12 NoFreshData
              held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
        70 s  3 Fallback | writes 3 for 12
              3 replicas by fallback Static: no source has answered completely for 60 s
        ");
}

#[test]
fn fallback_at_most_lowers_only_what_is_above() {
    let story = "
stage: {perReplica: 100, desired: 12, fallback: [AtMost, 5, 60]}
then:
- {at: 0, lag: 1200}
- {at: 10, sight: Failed}
- {at: 100, desired: 2}
until: 120
";
    assert_snapshot!(told(story), @r"
          0 s  12 Threshold
               12 replicas: orders stands at 1200, and each replica may have 100
         10 s  12 NoFreshData
               held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
         70 s  5 Fallback | writes 5 for 12
               5 replicas by fallback AtMost: no source has answered completely for 60 s
        100 s  2 Fallback | claims 2
               2 replicas by fallback AtMost: no source has answered completely for 90 s
        ");
}

#[test]
fn a_lowered_max_is_kept_even_by_a_blind_stage() {
    let story = "
stage: {perReplica: 100, desired: 12}
then:
- {at: 0, lag: 1200}
- {at: 10, sight: Failed}
- {at: 20, max: 8}
until: 40
";
    assert_snapshot!(told(story), @r"
         0 s  12 Threshold
              12 replicas: orders stands at 1200, and each replica may have 100
        10 s  12 NoFreshData
              held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
        20 s  8 AtMax | writes 8 for 12
              kept at max 8: 12 are wished
        22 s  8 NoFreshData
              held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
        ");
}

#[test]
fn a_sleeping_stage_stays_asleep_while_blind() {
    let story = "
stage: {min: 0, perReplica: 100, desired: 0}
then:
- {at: 10, sight: Failed, lag: 5000}
- {at: 30, sight: Fresh}
until: 40
";
    assert_snapshot!(told(story), @r"
         0 s  0 Idle
              0 replicas: nothing has waited or arrived since 00:00:00 UTC
        10 s  0 NoFreshData
              held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
        30 s  24 PartitionBound | writes 24 for 0
              24 replicas, one for each partition: 50 were wished, and more than 24 would stand idle
        ");
}

#[test]
fn zero_is_not_earned_by_what_was_not_seen() {
    let story = "
stage: {min: 0, perReplica: 100, idle: [0, 20]}
then:
- {at: 10, sight: Stale}
- {at: 40, sight: Fresh}
until: 60
";
    assert_snapshot!(told(story), @r"
         0 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 100
        10 s  1 NoFreshData
              held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
        40 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 100
        44 s  0 Idle | writes 0 for 1
              0 replicas: nothing has waited or arrived since 00:00:00 UTC
        ");
}

#[test]
fn a_stale_reading_holds_a_stage_sized_by_an_objective() {
    let story = "
stage: {objective: 60, rate: 50, startup: 5, desired: 4}
then:
- {at: 0, arrive: 190, take: 190}
- {at: 80, arrive: 400, take: 190}
- {at: 90, sight: Stale}
until: 200
";
    assert_snapshot!(told(story), @"
      0 s  4 HeldSinceStart
           kept at 4: 1 would do now, but what was needed before is not known; until 00:01:00 UTC
      4 s  4 Steady
           the present count fits: nothing waits, and 60 s are allowed
     90 s  4 NoFreshData
           held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
    118 s  8 KeepUp | writes 8 for 4
           8 replicas: 400/s arrive, and one gets through 50/s
    120 s  8 NoFreshData
           held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
    ");
}
