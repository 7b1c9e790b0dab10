//! The objective: no item older than promised, with a known rate; learning is told in `tale`.

use insta::assert_snapshot;

use super::story::told;

#[test]
fn a_backlog_is_met_in_one_write_when_the_rate_is_known() {
    let story = "
stage: {objective: 60, rate: 50, startup: 5}
then:
- {at: 4, lag: 36000}
until: 30
";
    assert_snapshot!(told(story), @r"
         0 s  1 Steady
              the present count fits: nothing waits, and 60 s are allowed
         4 s  24 CatchUp | writes 24 for 1
              24 replicas: 36000 messages wait, the oldest for 2 s; at 50/s each, 24 work it off within 60 s
         6 s  24 Steady
              the present count fits: the oldest message has waited 4 s of 60 s
        20 s  24 PartitionBound
              24 replicas, one for each partition: 25 were wished, and more than 24 would stand idle
        ");
}

#[test]
fn arrivals_are_kept_up_with_before_they_pile_up() {
    let story = "
stage: {objective: 60, rate: 50, startup: 5}
then:
- {at: 10, arrive: 500, take: 50}
until: 20
";
    assert_snapshot!(told(story), @r"
         0 s  1 Steady
              the present count fits: nothing waits, and 60 s are allowed
        14 s  12 KeepUp | writes 12 for 1
              12 replicas: 500/s arrive, and one gets through 50/s
        16 s  12 Steady
              the present count fits: the oldest message has waited 5.4 s of 60 s
        ");
}

#[test]
fn only_counts_that_even_out_the_partitions_are_chosen() {
    let story = "
stage: {objective: 60, rate: 50, startup: 5, partitions: 48}
then:
- {at: 0, arrive: 450, take: 450, desired: 12}
- {at: 30, arrive: 850, take: 600}
until: 160
";
    assert_snapshot!(told(story), @"
      0 s  12 HeldSinceStart | claims 12
           kept at 12: 1 would do now, but what was needed before is not known; until 00:01:00 UTC
     34 s  12 Steady
           the present count fits: the oldest message has waited 1.2 s of 60 s
    132 s  24 KeepUp | writes 24 for 12
           24 replicas: 850/s arrive, and one gets through 50/s
    134 s  24 Steady
           the present count fits: the oldest message has waited 32 s of 60 s
    ");
}

#[test]
fn an_objective_never_asks_for_more_than_there_are_partitions() {
    let story = "
stage: {objective: 60, rate: 50, startup: 5, partitions: 6}
then:
- {at: 4, lag: 36000}
until: 10
";
    assert_snapshot!(told(story), @r"
        0 s  1 Steady
             the present count fits: nothing waits, and 60 s are allowed
        4 s  6 PartitionBound | writes 6 for 1
             6 replicas, one for each partition: 22 were wished, and more than 6 would stand idle
        ");
}

#[test]
fn max_bounds_it_and_says_what_is_needed() {
    let story = "
stage: {objective: 60, rate: 50, startup: 5, max: 10}
then:
- {at: 4, lag: 36000}
until: 10
";
    assert_snapshot!(told(story), @r"
        0 s  1 Steady
             the present count fits: nothing waits, and 60 s are allowed
        4 s  10 AtMax | writes 10 for 1
             kept at max 10: 22 are wished
        ");
}

#[test]
fn backlogs_and_arrivals_of_several_queues_add_up() {
    let story = "
stage: {objective: 60, rate: 50, startup: 5, sources: 2, partitions: 12}
then:
- {at: 4, lag: 36000}
until: 10
";
    assert_snapshot!(told(story), @r"
        0 s  1 Steady
             the present count fits: nothing waits, and 60 s are allowed
        4 s  24 CatchUp | writes 24 for 1
             24 replicas: 36000 messages wait, the oldest for 2 s; at 50/s each, 24 work it off within 60 s
        6 s  24 Steady
             the present count fits: the oldest message has waited 4 s of 60 s
        ");
}

#[test]
fn a_slow_start_is_met_with_more_replicas() {
    let story = "
stage: {objective: 60, rate: 50, startup: 40}
then:
- {at: 4, lag: 9000}
until: 10
";
    assert_snapshot!(told(story), @r"
        0 s  1 Steady
             the present count fits: nothing waits, and 60 s are allowed
        4 s  24 CatchUp | writes 24 for 1
             24 replicas: 9000 messages wait, the oldest for 2 s; at 50/s each, 24 work it off within 60 s
        6 s  24 HeldByWindow
             kept at 24: 6 would do now, but 24 were needed within the last 66 s
        ");
}

#[test]
fn without_a_rate_the_present_pods_are_watched_first() {
    let story = "
stage: {objective: 60, desired: 2}
then:
- {at: 4, lag: 90000}
until: 30
";
    assert_snapshot!(told(story), @r"
        0 s  2 Steady
             the present count fits: nothing waits, and 60 s are allowed
        4 s  2 Learning
             2 replicas to learn from: how much one gets through is not known yet, and shows once it has been busy for two commits
        ");
}

#[test]
fn an_overprovisioned_stage_of_unknown_rate_tries_fewer_step_by_step() {
    let story = "
stage: {objective: 60, desired: 8, startup: 5}
then:
- {at: 0, arrive: 20, take: 20}
until: 200
";
    assert_snapshot!(told(story), @r"
          0 s  8 Steady
               the present count fits: nothing waits, and 60 s are allowed
         60 s  8 HeldByWindow
               kept at 8: 6 would do now, but 8 were needed within the last 60 s
        118 s  6 Probing | writes 6 for 8
               6 replicas for a try: nothing waits, and one replica was never busy enough to show more than 2.5/s
        120 s  6 Steady
               the present count fits: nothing waits, and 60 s are allowed
        180 s  6 HeldByWindow
               kept at 6: 5 would do now, but 6 were needed within the last 60 s
        ");
}
