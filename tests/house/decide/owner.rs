//! What the owner says by mode and annotation comes last, and nothing of it is remembered.

use insta::assert_snapshot;

use super::story::told;

#[test]
fn mode_observe_decides_and_writes_nothing() {
    let story = "
stage: {perReplica: 1000, observe: true}
then:
- {at: 4, lag: 24000}
until: 10
";
    assert_snapshot!(told(story), @r"
        0 s  1 Threshold
             1 replica: orders stands at 0, and each replica may have 1000
        4 s  24 Observed
             mode Observe: 24 replicas would be written
        ");
}

#[test]
fn paused_still_decides_and_goes_on_where_it_would_be() {
    let story = "
stage: {perReplica: 1000, paused: true}
then:
- {at: 4, lag: 24000}
- {at: 20, paused: false}
until: 30
";
    assert_snapshot!(told(story), @r"
         0 s  1 Paused
              paused by penstock.dev/paused: 1 replica would be written
         4 s  24 Paused
              paused by penstock.dev/paused: 24 replicas would be written
        20 s  24 Threshold | writes 24 for 1
              24 replicas: orders stands at 24000, and each replica may have 1000
        ");
}

#[test]
fn paused_replicas_are_written_whatever_the_bounds_and_the_readings() {
    let story = "
stage: {perReplica: 1000, pinned: 0, min: 2, desired: 5, paused: true}
then:
- {at: 0, sight: Failed}
until: 10
";
    assert_snapshot!(told(story), @r"
        0 s  0 PinnedByAnnotation | writes 0 for 5
             0 replicas, as penstock.dev/paused-replicas states
        ");
}

#[test]
fn paused_scale_in_lets_it_grow_and_not_shrink() {
    let story = "
stage: {perReplica: 1000, pausedIn: true, down: {window: 0}}
then:
- {at: 4, lag: 12000}
- {at: 20, lag: 100}
until: 30
";
    assert_snapshot!(told(story), @r"
         0 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 1000
         4 s  12 Threshold | writes 12 for 1
              12 replicas: orders stands at 12000, and each replica may have 1000
        20 s  12 Paused
              paused by penstock.dev/paused-scale-in: 1 replica would be written
        ");
}

#[test]
fn paused_scale_out_lets_it_shrink_and_not_grow() {
    let story = "
stage: {perReplica: 1000, pausedOut: true, desired: 6, down: {window: 0}}
then:
- {at: 0, lag: 12000}
- {at: 120, lag: 100}
until: 150
";
    assert_snapshot!(told(story), @r"
          0 s  6 Paused
               paused by penstock.dev/paused-scale-out: 12 replicas would be written
        120 s  1 Threshold | writes 1 for 6
               1 replica: orders stands at 100, and each replica may have 1000
        ");
}

#[test]
fn force_activation_wakes_and_keeps_awake() {
    let story = "
stage: {min: 0, perReplica: 1000, forced: true, desired: 0, idle: [0, 10]}
until: 60
";
    assert_snapshot!(told(story), @r"
        0 s  1 ForcedActive | writes 1 for 0
             1 replica kept, as penstock.dev/force-activation asks
        2 s  1 Threshold
             1 replica: orders stands at 0, and each replica may have 1000
        ");
}

#[test]
fn a_stage_without_sources_keeps_what_it_has() {
    let story = "
stage: {sources: 0, desired: 3}
until: 10
";
    assert_snapshot!(told(story), @r"
        0 s  3 NoSources
             held: the stage has no source to size it by
        ");
}

#[test]
fn a_target_that_cannot_be_scaled_is_named() {
    let story = "
stage: {perReplica: 1000}
then:
- {at: 0, target: Unseen}
- {at: 2, target: NotFound}
- {at: 4, target: Forbidden}
- {at: 6, target: Taken}
- {at: 8, target: Seen}
until: 10
";
    assert_snapshot!(told(story), @r"
        0 s  ? TargetUnseen
             held: the target has not been looked up yet
        2 s  ? TargetUnusable
             held: the target cannot be scaled: there is no Deployment shop/work
        6 s  ? TargetTaken
             no write: shop/other scales the same target
        8 s  1 Threshold
             1 replica: orders stands at 0, and each replica may have 1000
        ");
}
