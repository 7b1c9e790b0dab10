//! Our own writes and the hands of others.

use insta::assert_snapshot;

use super::story::told;

#[test]
fn the_count_is_claimed_once_so_that_git_may_drop_it() {
    let story = "
stage: {perReplica: 1000, desired: 3}
then:
- {at: 0, ours: false, lag: 3000}
until: 20
";
    assert_snapshot!(told(story), @r"
        0 s  3 Threshold | claims 3
             3 replicas: orders stands at 3000, and each replica may have 1000
        ");
}

#[test]
fn a_hand_is_taken_over_once_by_force() {
    let story = "
stage: {perReplica: 1000, desired: 3, down: {window: 0}}
then:
- {at: 0, lag: 3000}
- {at: 10, desired: 7, ends: Conflict kubectl-scale}
until: 30
";
    assert_snapshot!(told(story), @r"
         0 s  3 Threshold
              3 replicas: orders stands at 3000, and each replica may have 1000
        10 s  3 Threshold | writes 3 for 7
              3 replicas: orders stands at 3000, and each replica may have 1000
        12 s  3 TakenOver | writes 3 for 7 by force
              taken over once: kubectl-scale had set 7 replicas
        14 s  3 Threshold
              3 replicas: orders stands at 3000, and each replica may have 1000
        ");
}

#[test]
fn a_hand_that_comes_back_within_a_minute_is_left_alone() {
    let story = "
stage: {perReplica: 1000, desired: 3, down: {window: 0}}
then:
- {at: 0, lag: 3000}
- {at: 10, desired: 7, ends: Conflict helm}
- {at: 40, desired: 9}
until: 130
";
    assert_snapshot!(told(story), @r"
          0 s  3 Threshold
               3 replicas: orders stands at 3000, and each replica may have 1000
         10 s  3 Threshold | writes 3 for 7
               3 replicas: orders stands at 3000, and each replica may have 1000
         12 s  3 TakenOver | writes 3 for 7 by force
               taken over once: helm had set 7 replicas
         14 s  3 Threshold
               3 replicas: orders stands at 3000, and each replica may have 1000
         40 s  3 Threshold | writes 3 for 9
               3 replicas: orders stands at 3000, and each replica may have 1000
         42 s  3 WriterConflict
               no write until 00:01:40 UTC: helm writes this replica count too
        100 s  3 Threshold | writes 3 for 9
               3 replicas: orders stands at 3000, and each replica may have 1000
        102 s  3 TakenOver | writes 3 for 9 by force
               taken over once: helm had set 9 replicas
        104 s  3 Threshold
               3 replicas: orders stands at 3000, and each replica may have 1000
        ");
}

#[test]
fn one_that_applies_is_never_fought_and_asked_ever_less_often() {
    let story = "
stage: {perReplica: 1000}
then:
- {at: 4, lag: 9000, ends: Apply argocd-controller}
until: 1800
";
    assert_snapshot!(told(story), @r"
           0 s  1 Threshold
                1 replica: orders stands at 0, and each replica may have 1000
           4 s  9 Threshold | writes 9 for 1
                9 replicas: orders stands at 9000, and each replica may have 1000
           6 s  9 WriterConflict
                no write until 00:01:04 UTC: argocd-controller writes this replica count too
          64 s  9 Threshold | writes 9 for 1
                9 replicas: orders stands at 9000, and each replica may have 1000
          66 s  9 WriterConflict
                no write until 00:04:04 UTC: argocd-controller writes this replica count too
         244 s  9 Threshold | writes 9 for 1
                9 replicas: orders stands at 9000, and each replica may have 1000
         246 s  9 WriterConflict
                no write until 00:13:04 UTC: argocd-controller writes this replica count too
         784 s  9 Threshold | writes 9 for 1
                9 replicas: orders stands at 9000, and each replica may have 1000
         786 s  9 WriterConflict
                no write until 00:23:04 UTC: argocd-controller writes this replica count too
        1384 s  9 Threshold | writes 9 for 1
                9 replicas: orders stands at 9000, and each replica may have 1000
        1386 s  9 WriterConflict
                no write until 00:33:04 UTC: argocd-controller writes this replica count too
        ");
}

#[test]
fn an_hpa_on_the_target_means_no_write() {
    let story = "
stage: {perReplica: 1000}
then:
- {at: 4, lag: 9000, hpa: keda-hpa-work}
- {at: 30, hpa: ''}
until: 40
";
    assert_snapshot!(told(story), @r"
         0 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 1000
         4 s  9 HpaOnTarget
              no write: HorizontalPodAutoscaler keda-hpa-work scales the same target
        30 s  9 Threshold | writes 9 for 1
              9 replicas: orders stands at 9000, and each replica may have 1000
        ");
}

#[test]
fn on_a_custom_resource_a_hand_shows_by_its_count() {
    let story = "
stage: {perReplica: 1000, desired: 3, merge: true, down: {window: 0}}
then:
- {at: 0, lag: 3000}
- {at: 10, desired: 7}
- {at: 30, desired: 9}
until: 100
";
    assert_snapshot!(told(story), @r"
         0 s  3 Threshold
              3 replicas: orders stands at 3000, and each replica may have 1000
        10 s  3 TakenOver | writes 3 for 7
              taken over once: another writer had set 7 replicas
        12 s  3 Threshold
              3 replicas: orders stands at 3000, and each replica may have 1000
        30 s  3 WriterConflict
              no write until 00:01:30 UTC: another writer writes this replica count too
        90 s  3 Threshold | writes 3 for 9
              3 replicas: orders stands at 3000, and each replica may have 1000
        ");
}

#[test]
fn a_write_without_an_answer_is_read_before_the_next() {
    let story = "
stage: {perReplica: 1000}
then:
- {at: 4, lag: 9000, ends: Lost}
- {at: 8, ends: Done}
until: 40
";
    assert_snapshot!(told(story), @r"
         0 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 1000
         4 s  9 Threshold | writes 9 for 1
              9 replicas: orders stands at 9000, and each replica may have 1000
        14 s  9 Threshold | writes 9 for 1
              9 replicas: orders stands at 9000, and each replica may have 1000
        ");
}

#[test]
fn an_unknown_outcome_that_was_carried_out_is_not_written_again() {
    let story = "
stage: {perReplica: 1000}
then:
- {at: 4, lag: 9000, ends: LostButDone}
until: 40
";
    assert_snapshot!(told(story), @r"
        0 s  1 Threshold
             1 replica: orders stands at 0, and each replica may have 1000
        4 s  9 Threshold | writes 9 for 1
             9 replicas: orders stands at 9000, and each replica may have 1000
        ");
}

#[test]
fn a_refusal_is_repeated_ever_later() {
    let story = "
stage: {perReplica: 1000}
then:
- {at: 4, lag: 9000, ends: Refused}
until: 700
";
    assert_snapshot!(told(story), @r"
          0 s  1 Threshold
               1 replica: orders stands at 0, and each replica may have 1000
          4 s  9 Threshold | writes 9 for 1
               9 replicas: orders stands at 9000, and each replica may have 1000
          6 s  9 WriteRefused
               the API server refused the write (403: quota exceeded); tried again at 00:00:34 UTC
         34 s  9 Threshold | writes 9 for 1
               9 replicas: orders stands at 9000, and each replica may have 1000
         36 s  9 WriteRefused
               the API server refused the write (403: quota exceeded); tried again at 00:01:34 UTC
         94 s  9 Threshold | writes 9 for 1
               9 replicas: orders stands at 9000, and each replica may have 1000
         96 s  9 WriteRefused
               the API server refused the write (403: quota exceeded); tried again at 00:03:34 UTC
        214 s  9 Threshold | writes 9 for 1
               9 replicas: orders stands at 9000, and each replica may have 1000
        216 s  9 WriteRefused
               the API server refused the write (403: quota exceeded); tried again at 00:07:34 UTC
        454 s  9 Threshold | writes 9 for 1
               9 replicas: orders stands at 9000, and each replica may have 1000
        456 s  9 WriteRefused
               the API server refused the write (403: quota exceeded); tried again at 00:15:34 UTC
        ");
}

#[test]
fn a_cache_older_than_our_own_write_is_not_decided_on() {
    let story = "
stage: {perReplica: 1000}
then:
- {at: 4, lag: 9000, shows: false}
- {at: 10, lag: 20000}
- {at: 20, desired: 9, ours: true, shows: true}
until: 30
";
    assert_snapshot!(told(story), @r"
         0 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 1000
         4 s  9 Threshold | writes 9 for 1
              9 replicas: orders stands at 9000, and each replica may have 1000
        20 s  20 Threshold | writes 20 for 9
              20 replicas: orders stands at 20000, and each replica may have 1000
        ");
}

#[test]
fn what_was_never_sent_is_asked_again() {
    let story = "
stage: {perReplica: 1000}
then:
- {at: 4, lag: 9000, ends: NotSent}
- {at: 10, ends: Done}
until: 20
";
    assert_snapshot!(told(story), @r"
         0 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 1000
         4 s  9 Threshold | writes 9 for 1
              9 replicas: orders stands at 9000, and each replica may have 1000
         6 s  9 Threshold | writes 9 for 1
              9 replicas: orders stands at 9000, and each replica may have 1000
         8 s  9 Threshold | writes 9 for 1
              9 replicas: orders stands at 9000, and each replica may have 1000
        10 s  9 Threshold | writes 9 for 1
              9 replicas: orders stands at 9000, and each replica may have 1000
        ");
}

#[test]
fn an_object_that_moved_is_read_and_decided_on_anew() {
    let story = "
stage: {perReplica: 1000}
then:
- {at: 4, lag: 9000, ends: Outdated}
- {at: 6, ends: Done}
until: 20
";
    assert_snapshot!(told(story), @r"
        0 s  1 Threshold
             1 replica: orders stands at 0, and each replica may have 1000
        4 s  9 Threshold | writes 9 for 1
             9 replicas: orders stands at 9000, and each replica may have 1000
        6 s  9 Threshold | writes 9 for 1
             9 replicas: orders stands at 9000, and each replica may have 1000
        ");
}

#[test]
fn a_standby_decides_and_writes_nothing_and_takes_the_leaders_moves_for_no_hand() {
    let story = "
stage: {perReplica: 1000, standby: true}
then:
- {at: 4, lag: 9000}
- {at: 6, desired: 9}
until: 20
";
    assert_snapshot!(told(story), @r"
        0 s  1 Threshold
             1 replica: orders stands at 0, and each replica may have 1000
        4 s  9 Threshold
             9 replicas: orders stands at 9000, and each replica may have 1000
        ");
}

#[test]
fn a_new_object_of_the_same_name_starts_afresh() {
    let story = "
stage: {perReplica: 1000}
then:
- {at: 4, lag: 9000, ends: Apply flux}
- {at: 20, uid: another, ends: Done}
until: 30
";
    assert_snapshot!(told(story), @r"
         0 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 1000
         4 s  9 Threshold | writes 9 for 1
              9 replicas: orders stands at 9000, and each replica may have 1000
         6 s  9 WriterConflict
              no write until 00:01:04 UTC: flux writes this replica count too
        20 s  9 Threshold | writes 9 for 1
              9 replicas: orders stands at 9000, and each replica may have 1000
        ");
}
