//! Offsets that go backwards, and partitions that come.

use insta::assert_snapshot;

use super::story::told;

#[test]
fn a_group_reset_backwards_is_believed_by_the_second_reading() {
    let story = "
stage: {perReplica: 1000}
then:
- {at: 10, rewind: 24000}
until: 20
";
    assert_snapshot!(told(story), @r"
         0 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 1000
        10 s  1 OffsetsReset
              held: offsets of orders went backwards, as after a reset or a recreated topic; a second reading must agree
        12 s  24 Threshold | writes 24 for 1
              24 replicas: orders stands at 24000, and each replica may have 1000
        ");
}

#[test]
fn a_recreated_topic_lowers_nothing_until_a_second_reading_agrees() {
    let story = "
stage: {perReplica: 1000, desired: 12, down: {window: 0}}
then:
- {at: 0, lag: 12000}
- {at: 10, recreate: true}
until: 20
";
    assert_snapshot!(told(story), @r"
         0 s  12 Threshold
              12 replicas: orders stands at 12000, and each replica may have 1000
        10 s  12 OffsetsReset
              held: offsets of orders went backwards, as after a reset or a recreated topic; a second reading must agree
        12 s  12 HeldSinceStart
              kept at 12: 1 would do now, but what was needed before is not known; until 00:01:50 UTC
        ");
}

#[test]
fn new_partitions_lift_the_bound_at_the_next_poll() {
    let story = "
stage: {perReplica: 100, partitions: 6}
then:
- {at: 4, lag: 2400}
- {at: 20, partitions: 24}
until: 30
";
    assert_snapshot!(told(story), @r"
         0 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 100
         4 s  6 PartitionBound | writes 6 for 1
              6 replicas, one for each partition: 24 were wished, and more than 6 would stand idle
        20 s  24 Threshold | writes 24 for 6
              24 replicas: orders stands at 2400, and each replica may have 100
        ");
}

#[test]
fn no_partition_at_all_is_held_like_a_topic_without_items() {
    let story = "
stage: {objective: 60, rate: 50, partitions: 0, desired: 2}
until: 30
";
    assert_snapshot!(told(story), @r"
        0 s  2 HeldSinceStart
             kept at 2: 1 would do now, but what was needed before is not known; until 00:01:40 UTC
        ");
}
