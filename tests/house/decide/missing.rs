//! The table of missing and odd data (docs/missing-data.md), row by row: for each what is done, the code and the sentence.

use std::fmt::Write as _;

use insta::assert_snapshot;

use super::story::{Told, told, turns};

// Missing for less than 20 s, and for less than 2 min.

#[test]
fn missing_for_a_moment_lowers_nothing() {
    let story = "
stage: {objective: 60, rate: 50, startup: 5, desired: 8, commits: 2}
then:
- {at: 0, arrive: 380, take: 380}
- {at: 120, sight: Stale, arrive: 0}
- {at: 136, sight: Fresh}
until: 150
";
    let blind: Vec<_> =
        turns(story).into_iter().filter(|turn| (120..136).contains(&turn.at)).collect();
    assert_eq!(blind.len(), 8);
    for Told { replicas, code, sentence, .. } in blind {
        assert_eq!((replicas, code), (Some(8), "NoFreshData"));
        let words = "held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero";
        assert_eq!(sentence, words);
    }
}

#[test]
fn missing_for_longer_may_raise_when_what_came_since_demands_it() {
    let story = "
stage: {objective: 60, rate: 50, startup: 5, desired: 4, commits: 2, up: {policies: [[Pods, 2, 30]]}}
then:
- {at: 0, arrive: 190, take: 190}
- {at: 80, arrive: 900}
- {at: 92, sight: Stale}
until: 240
";
    // What was read last says that more comes than is taken, so what waits goes on growing unseen.
    assert_snapshot!(told(story), @r"
          0 s  4 HeldSinceStart
               kept at 4: 1 would do now, but what was needed before is not known; until 00:01:00 UTC
          4 s  4 Steady
               the present count fits: nothing waits, and 60 s are allowed
         84 s  6 LimitedByPolicy | writes 6 for 4
               6 replicas for now: 24 are wished, and a policy of behavior allows no more change within 30 s
         86 s  6 Steady
               the present count fits: the oldest message has waited 4.8 s of 60 s
         92 s  6 NoFreshData
               held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
        116 s  8 LimitedByPolicy | writes 8 for 6
               8 replicas for now: 24 are wished, and a policy of behavior allows no more change within 30 s
        118 s  8 NoFreshData
               held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
        124 s  8 LimitedByPolicy
               8 replicas for now: 24 are wished, and a policy of behavior allows no more change within 30 s
        146 s  10 LimitedByPolicy | writes 10 for 8
               10 replicas for now: 24 are wished, and a policy of behavior allows no more change within 30 s
        176 s  12 LimitedByPolicy | writes 12 for 10
               12 replicas for now: 24 are wished, and a policy of behavior allows no more change within 30 s
        206 s  14 LimitedByPolicy | writes 14 for 12
               14 replicas for now: 24 are wished, and a policy of behavior allows no more change within 30 s
        214 s  14 NoFreshData
               held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
        ");
}

#[test]
fn missing_while_another_trigger_says_more_is_raised_by_that_one() {
    let story = "
stage: {perReplica: 100, gauge: 10, desired: 4, down: {window: 0}}
then:
- {at: 0, lag: 400, gauge: 20}
- {at: 10, gauge: -1, lag: 900}
until: 20
";
    assert_snapshot!(told(story), @r"
         0 s  4 Threshold
              4 replicas: orders stands at 400, and each replica may have 100
        10 s  9 Threshold | writes 9 for 4
              9 replicas: orders stands at 900, and each replica may have 100
        12 s  9 NoFreshData
              held: gauge gives no fresh, complete reading (BadValue: -1 is no count), and not knowing is not zero
        ");
}

// For as long as fallback.after, and longer.

#[test]
fn missing_for_long_is_the_owners_fallback_and_only_their_word_lowers() {
    let story = |policy: &str| {
        format!(
            "
stage: {{perReplica: 100, desired: 12, fallback: {policy}}}
then:
- {{at: 0, lag: 1200}}
- {{at: 10, sight: Failed}}
until: 140
"
        )
    };
    assert_snapshot!(told(&story("[AtLeast, 20, 120]")), @r"
          0 s  12 Threshold
               12 replicas: orders stands at 1200, and each replica may have 100
         10 s  12 NoFreshData
               held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
        130 s  20 Fallback | writes 20 for 12
               20 replicas by fallback AtLeast: no source has answered completely for 2 min
        ");
    assert_snapshot!(told(&story("[AtMost, 4, 120]")), @r"
          0 s  12 Threshold
               12 replicas: orders stands at 1200, and each replica may have 100
         10 s  12 NoFreshData
               held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
        130 s  4 Fallback | writes 4 for 12
               4 replicas by fallback AtMost: no source has answered completely for 2 min
        ");
    let hold = "
stage: {perReplica: 100, desired: 12}
then:
- {at: 0, lag: 1200}
- {at: 10, sight: Failed}
until: 900
";
    assert_snapshot!(told(hold), @r"
         0 s  12 Threshold
              12 replicas: orders stands at 1200, and each replica may have 100
        10 s  12 NoFreshData
              held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
        ");
}

// One partition missing, and many.

#[test]
fn what_waits_in_a_missing_partition_goes_on_counting() {
    let raised = |lag: i64, missing: usize| {
        let story = format!(
            "
stage: {{objective: 60, rate: 50, startup: 5, desired: 4, min: 4, max: 4}}
then:
- {{at: 88, lag: {lag}}}
- {{at: 90, sight: Partial, missing: {missing}, max: 24}}
until: 90
"
        );
        let last = turns(&story).pop().unwrap();
        (last.replicas.unwrap(), last.code, last.sentence)
    };
    // What waited in those that are not seen any more is what it is sized by all the same: one of them, or half.
    let (all, one, half) = (raised(24_000, 12), raised(24_000, 1), raised(12_000, 12));
    assert_eq!(all, one);
    let (count, code, sentence) = all;
    assert!(half.0 < count && half.1 == "CatchUp", "{half:?} {count}");
    assert_eq!(code, "CatchUp");
    let words = format!(
        "{count} replicas: 24000 messages wait, the oldest for 4 s; at 50/s each, {count} work it off within 60 s"
    );
    assert_eq!(sentence, words);
}

/// How many items the last sentence counts that names a number of them, and when it was said.
fn last_counted(story: &str, after: &str) -> (i64, f64) {
    let of = |turn: &Told| {
        let at = turn.sentence.find(after)? + after.len();
        let number = turn.sentence[at..].split([' ', ',']).next()?;
        Some((turn.at, number.parse().unwrap()))
    };
    turns(story).iter().filter_map(of).next_back().expect("a sentence with a number")
}

#[test]
fn what_missing_partitions_should_hold_grows_as_the_others_do_for_thresholds_and_objectives() {
    let cases = [
        ("perReplica: 200", "stands at "),
        ("objective: 60, rate: 50, startup: 5, commits: 2", "replicas: "),
    ];
    for (stage, after) in cases {
        let story = format!(
            "
stage: {{{stage}, partitions: 240, max: 240}}
then:
- {{at: 0, arrive: 240}}
- {{at: 60, sight: Partial, missing: 120}}
until: 118
"
        );
        // Half of the partitions answer, and would show a half of it; what was last known of the others is another quarter.
        let (at, counted) = last_counted(&story, after);
        let real = 240.0 * f64::from(i32::try_from(at).unwrap());
        assert!(90 <= at && (counted / real - 1.0).abs() < 0.02, "{stage}: {counted} at {at} s");
    }
}

#[test]
fn what_is_not_seen_for_long_does_not_grow_for_ever() {
    let story = "
stage: {perReplica: 2000, partitions: 240, max: 240}
then:
- {at: 0, arrive: 240}
- {at: 60, sight: Partial, missing: 120}
until: 600
";
    let (at, counted) = last_counted(story, "stands at ");
    // What is seen, what the others had, and two minutes of what came to them.
    let grown = 120.0 * (f64::from(i32::try_from(at).unwrap()) + 60.0 + 120.0);
    assert!(500 <= at && (counted / grown - 1.0).abs() < 0.02, "{counted} at {at} s, not {grown}");
}

#[test]
fn one_missing_partition_lowers_nothing() {
    let story = "
stage: {perReplica: 100, desired: 12, down: {window: 0}}
then:
- {at: 0, lag: 1200}
- {at: 10, sight: Partial, missing: 1, lag: 0}
- {at: 20, lag: 2400}
until: 60
";
    assert_snapshot!(told(story), @r"
         0 s  12 Threshold
              12 replicas: orders stands at 1200, and each replica may have 100
        10 s  12 NoFreshData
              held: orders gives no fresh, complete reading (Partial: 1 of 24 partitions: leader not available), and not knowing is not zero
        20 s  24 Threshold | writes 24 for 12
              24 replicas: orders stands at 2350, and each replica may have 100
        22 s  24 NoFreshData
              held: orders gives no fresh, complete reading (Partial: 1 of 24 partitions: leader not available), and not knowing is not zero
        ");
}

#[test]
fn many_missing_partitions_still_lower_nothing() {
    let story = "
stage: {perReplica: 100, desired: 12, down: {window: 0}}
then:
- {at: 0, lag: 1200}
- {at: 10, sight: Partial, missing: 12, lag: 0}
until: 60
";
    assert_snapshot!(told(story), @r"
         0 s  12 Threshold
              12 replicas: orders stands at 1200, and each replica may have 100
        10 s  12 NoFreshData
              held: orders gives no fresh, complete reading (Partial: 12 of 24 partitions: leader not available), and not knowing is not zero
        ");
}

// No committed offset.

#[test]
fn a_group_without_commits_is_woken_by_an_end_that_moves() {
    let story = "
stage: {min: 0, perReplica: 100, desired: 0, uncommitted: true}
then:
- {at: 10, burst: 240}
until: 20
";
    assert_snapshot!(told(story), @r"
         0 s  0 Idle
              0 replicas: nothing has waited or arrived since 00:00:00 UTC
        10 s  1 Woken | writes 1 for 0
              woken from zero: 240 messages in orders
        12 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 100
        ");
}

#[test]
fn without_commits_what_waits_from_the_earliest_offset_counts_as_work_and_from_the_latest_as_none()
{
    let story = |earliest: bool| {
        format!(
            "
stage: {{perReplica: 100, uncommitted: true, earliest: {earliest}}}
then:
- {{at: 10, burst: 2400}}
until: 30
"
        )
    };
    assert_snapshot!(told(&story(true)), @r"
         0 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 100
        10 s  24 Threshold | writes 24 for 1
              24 replicas: orders stands at 2400, and each replica may have 100
        ");
    assert_snapshot!(told(&story(false)), @r"
        0 s  1 Threshold
             1 replica: orders stands at 0, and each replica may have 100
        ");
}

#[test]
fn partitions_without_commits_that_count_as_read_are_told_once_they_have_been_so_for_a_minute() {
    let story = |given: &str| {
        format!(
            "
stage: {{perReplica: 100, uncommitted: true{given}}}
then:
- {{at: 10, burst: 2400}}
- {{at: 100, committed: true}}
until: 110
"
        )
    };
    assert_snapshot!(told(&story("")), @r"
          0 s  1 Threshold
               1 replica: orders stands at 0, and each replica may have 100
         60 s  1 Threshold (Uncommitted)
               1 replica: orders stands at 0, and each replica may have 100
               odd: 24 of 24 partitions of orders count as read to the end, since the group has committed nothing there and offsetReset is Latest: if its consumers begin at the earliest, all that is in them waits unseen
        100 s  1 Threshold
               1 replica: orders stands at 0, and each replica may have 100
        ");
    // From the earliest offset all of it counts: there is nothing to tell.
    let all = turns(&story(", earliest: true"));
    assert!(all.iter().all(|turn| !turn.odd.contains(&"Uncommitted")), "{all:?}");
}

// Offsets went back.

#[test]
fn a_rewind_teaches_no_rate() {
    // Four pods do 200/s, and more comes: what one gets through is learned. Then the group stops, is reset and starts again.
    let story = "
stage: {objective: 600, poll: 2, commits: 2, desired: 4, min: 4, max: 4}
then:
- {at: 0, lag: 24000, arrive: 200, take: 200}
- {at: 300, rewind: 12000}
until: 420
";
    let turns = turns(story);
    let rate = |at: i64| turns.iter().find(|turn| turn.at == at).and_then(|turn| turn.rate);
    let learned = rate(298).expect("a rate");
    assert!((learned / 50.0 - 1.0).abs() < 0.02, "{learned}");
    for turn in turns.iter().filter(|turn| 300 <= turn.at) {
        let now = turn.rate.expect("a rate");
        assert!((now / learned - 1.0).abs() < 0.02, "{now} at {} s, {learned} before", turn.at);
    }
}

#[test]
fn a_rewind_is_real_work_once_a_second_reading_agrees() {
    let story = "
stage: {perReplica: 1000, down: {window: 0}}
then:
- {at: 10, rewind: 12000}
until: 20
";
    assert_snapshot!(told(story), @r"
         0 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 1000
        10 s  1 OffsetsReset
              held: offsets of orders went backwards, as after a reset or a recreated topic; a second reading must agree
        12 s  12 Threshold | writes 12 for 1
              12 replicas: orders stands at 12000, and each replica may have 1000
        ");
    let glitch = "
stage: {perReplica: 1000, down: {window: 0}}
then:
- {at: 10, rewind: 12000}
- {at: 12, lag: 0}
until: 20
";
    assert_snapshot!(told(glitch), @r"
         0 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 1000
        10 s  1 OffsetsReset
              held: offsets of orders went backwards, as after a reset or a recreated topic; a second reading must agree
        12 s  1 Threshold
              1 replica: orders stands at 0, and each replica may have 1000
        ");
}

#[test]
fn a_recreated_topic_is_held_for_one_window() {
    let story = "
stage: {objective: 60, rate: 50, startup: 5, desired: 12, follow: true}
then:
- {at: 0, arrive: 570, take: 570}
- {at: 200, recreate: true, arrive: 0, take: 0}
until: 420
";
    assert_snapshot!(told(story), @r"
          0 s  12 HeldSinceStart
               kept at 12: 1 would do now, but what was needed before is not known; until 00:01:00 UTC
          4 s  12 Steady
               the present count fits: nothing waits, and 60 s are allowed
        200 s  12 OffsetsReset
               held: offsets of orders went backwards, as after a reset or a recreated topic; a second reading must agree
        202 s  12 HeldByWindow
               kept at 12: 1 would do now, but 12 were needed within the last 60 s
        260 s  1 KeepUp | writes 1 for 12
               1 replica: 0/s arrive, and one gets through 50/s
        262 s  1 Steady
               the present count fits: nothing waits, and 60 s are allowed
        ");
}

// Partitions that stand still (Burrow's STALL and STOP).

#[test]
fn a_stuck_partition_is_left_out_of_the_count_and_not_out_of_the_delay() {
    let story = "
stage: {perReplica: 1000, down: {window: 0}, commits: 5}
then:
- {at: 0, arrive: 240, take: 240, stuck: 7}
- {at: 500, stuck: 99, take: 5000}
until: 520
";
    assert_snapshot!(told(story), @r"
          0 s  1 Threshold
               1 replica: orders stands at 0, and each replica may have 1000
        102 s  2 Threshold | writes 2 for 1
               2 replicas: orders stands at 1020, and each replica may have 1000
        152 s  1 Threshold (Stuck) | writes 1 for 2
               1 replica: orders stands at 0, and each replica may have 1000
               odd: partition 7 of orders is left out of the count: its consumer has stood still since 00:00:32 UTC while the others moved; 1520 messages wait there and still count as late
        502 s  1 Threshold
               1 replica: orders stands at 0, and each replica may have 1000
        ");
    // What waits there goes on growing old: its first item came within the first poll.
    let turns = turns(story);
    let stuck = turns.iter().filter(|turn| turn.odd.contains(&"Stuck"));
    let late: Vec<_> = stuck.map(|turn| (turn.at, turn.delay.unwrap())).collect();
    assert!(100 < late.len(), "{late:?}");
    for (at, delay) in late {
        let real = f64::from(i32::try_from(at).unwrap());
        assert!((real - 3.0..=real).contains(&delay), "{delay} at {at} s");
    }
}

#[test]
fn a_group_that_stopped_committing_keeps_its_count_however_much_waits() {
    let story = "
stage: {perReplica: 1000, down: {window: 0}, commits: 5}
then:
- {at: 0, arrive: 24, take: 24}
- {at: 60, take: 0}
- {at: 300, take: 10000}
until: 310
";
    assert_snapshot!(told(story), @r"
          0 s  1 Threshold
               1 replica: orders stands at 0, and each replica may have 1000
        102 s  2 Threshold | writes 2 for 1
               2 replicas: orders stands at 1008, and each replica may have 1000
        144 s  3 Threshold | writes 3 for 2
               3 replicas: orders stands at 2016, and each replica may have 1000
        182 s  3 Threshold (Stopped)
               3 replicas: orders stands at 2928, and each replica may have 1000
               odd: no consumer of orders has committed since 00:01:00 UTC though 2928 messages wait: neither more nor fewer replicas would change that
        186 s  3 Stopped (Stopped)
               no consumer of orders has committed since 00:01:00 UTC though 3024 messages wait: neither more nor fewer replicas would change that
        302 s  1 Threshold | writes 1 for 3
               1 replica: orders stands at 0, and each replica may have 1000
        ");
}

#[test]
fn one_source_that_stands_still_does_not_bind_what_the_others_ask_for() {
    // Two sources of 24 partitions each. Nobody takes anything from the only one of the first that has anything; the second is busy.
    let story = "
stage: {perReplica: 1000, sources: 2, partitions: 24, down: {window: 0}, commits: 5}
then:
- {at: 0, arrive: 24, take: 24}
- {at: 60, stuck: 0, hot: 0, arrive: 1, take: 1}
- {at: 398, hot: 30}
- {at: 400, burst: 9000, take: 50}
until: 410
";
    assert_snapshot!(told(story), @r"
          0 s  1 Threshold
               1 replica: orders stands at 0, and each replica may have 1000
        182 s  1 Threshold (Stopped)
               1 replica: orders stands at 122, and each replica may have 1000
               odd: no consumer of orders has committed since 00:01:00 UTC though 122 messages wait: neither more nor fewer replicas would change that
        400 s  9 Threshold (Stopped) | writes 9 for 1
               9 replicas: orders1 stands at 9000, and each replica may have 1000
               odd: no consumer of orders has committed since 00:01:00 UTC though 338 messages wait: neither more nor fewer replicas would change that
        ");
}

// Steps up without effect.

#[test]
fn steps_up_that_get_no_more_done_are_not_followed_by_others() {
    let story = "
stage: {objective: 600, rate: 50, startup: 5, commits: 2, desired: 4, max: 240, partitions: 240, up: {policies: [[Pods, 4, 200]]}}
then:
- {at: 0, lag: 200000, arrive: 200, take: 200}
- {at: 640, take: 500}
until: 900
";
    let turns = turns(story);
    let held: Vec<_> = turns.iter().filter(|turn| turn.code == "NoEffect").collect();
    let first = held.first().unwrap();
    assert!(420 < first.at && first.at < 520, "after the second step: {first:?}");
    let is_kept = |turn: &&Told| turn.replicas == first.replicas;
    assert!(
        turns.iter().filter(|turn| (first.at..640).contains(&turn.at)).all(|turn| is_kept(&turn))
    );
    let words = "the last steps up got no more done (200/s with 12, 200/s with 16); the limit seems to be something the replicas share";
    assert!(first.sentence.contains(words), "{}", first.sentence);
    assert!(first.odd.contains(&"NoEffect"));
    // More gets done: the limit is gone, and so is the block.
    let more = turns.iter().find(|turn| first.replicas < turn.replicas && first.at < turn.at);
    assert!(more.is_some_and(|turn| (640..760).contains(&turn.at)), "{more:?}");
}

#[test]
fn steps_up_that_one_partition_takes_no_more_of_are_told_to_fail_for_it() {
    let story = "
stage: {objective: 600, rate: 50, startup: 5, commits: 2, desired: 4, max: 240, partitions: 240, up: {policies: [[Pods, 4, 200]]}}
then:
- {at: 0, lag: 20000, take: 200}
- {at: 2, hot: 3, arrive: 2000}
- {at: 100, arrive: 0}
until: 600
";
    let turns = turns(story);
    let first = turns.iter().find(|turn| turn.code == "NoEffect").unwrap();
    let words = "the limit seems to be one partition, where half of it waits; until";
    assert!(first.sentence.contains(words), "{}", first.sentence);
}

// A number far above all of late.

#[test]
fn a_spike_that_no_counter_explains_at_most_doubles_until_a_second_reading_agrees() {
    let story = "
stage: {gauge: 10, sources: 0, poll: 15, desired: 4, down: {window: 0}}
then:
- {at: 0, gauge: 40}
- {at: 120, gauge: 900}
- {at: 150, gauge: 40}
- {at: 165, gauge: 90000}
- {at: 180, gauge: 40}
until: 200
";
    assert_snapshot!(told(story), @r"
          0 s  4 Threshold
               4 replicas: gauge stands at 40, and each replica may have 10
        120 s  8 SpikeUnconfirmed | writes 8 for 4
               at most 8 replicas until a second reading agrees: gauge says 900, and said no more than 40 within the last 10 min; 90 would be wished
        135 s  48 AtMax | writes 48 for 8
               kept at max 48: 90 are wished
        150 s  4 Threshold | writes 4 for 48
               4 replicas: gauge stands at 40, and each replica may have 10
        165 s  8 SpikeUnconfirmed | writes 8 for 4
               at most 8 replicas until a second reading agrees: gauge says 90000, and said no more than 900 within the last 10 min; 9000 would be wished
        180 s  4 Threshold | writes 4 for 8
               4 replicas: gauge stands at 40, and each replica may have 10
        ");
}

#[test]
fn a_backlog_that_moved_ends_explain_acts_at_once() {
    let story = "
stage: {perReplica: 10}
then:
- {at: 0, lag: 10}
- {at: 120, lag: 240}
until: 130
";
    assert_snapshot!(told(story), @r"
          0 s  1 Threshold
               1 replica: orders stands at 10, and each replica may have 10
        120 s  24 Threshold | writes 24 for 1
               24 replicas: orders stands at 240, and each replica may have 10
        ");
}

#[test]
fn what_stands_still_is_left_out_while_nothing_can_be_read_too() {
    let story = "
stage: {rate: 50, objective: 60, partitions: 12, commits: 5, desired: 6, max: 12}
then:
- {at: 0, arrive: 240, take: 240, stuck: 7}
- {at: 3000, sight: Stale}
- {at: 3002, sight: Fresh}
- {at: 3100, sight: Partial, missing: 6}
- {at: 3102, sight: Fresh}
until: 3200
";
    let (most, before) = most_from(story, 3000);
    assert!(most <= before && before < 12, "{most} after {before}");
}

#[test]
fn a_source_that_is_served_at_once_sizes_a_stage_whose_other_source_stands_still() {
    let story = "
stage: {perReplica: 1000, sources: 2, partitions: 24, down: {window: 0}, commits: 5}
then:
- {at: 0, arrive: 24, take: 24}
- {at: 60, stuck: 0, hot: 0, arrive: 1, take: 1}
- {at: 398, hot: 30}
- {at: 400, burst: 9000, take: 2000}
- {at: 420, arrive: 20, take: 20}
until: 700
";
    assert_eq!(most_from(story, 698), (1, 1));
}

#[test]
fn a_number_sizes_a_stage_whose_queue_stands_still() {
    let story = "
stage: {perReplica: 1000, gauge: 10, partitions: 24, commits: 5}
then:
- {at: 0, arrive: 24, take: 24, gauge: 10}
- {at: 60, take: 0}
- {at: 500, gauge: 80}
until: 510
";
    assert_eq!(most_from(story, 506).0, 8);
}

// What is odd, though it binds nothing.

#[test]
fn a_sick_consumer_among_well_ones_is_named() {
    let story = "
stage: {perReplica: 100000, rate: 50, partitions: 3, consumers: 3, desired: 3, min: 3, commits: 5, objective: 3600}
then:
- {at: 0, arrive: 120, take: 120}
- {at: 60, stuck: 1}
until: 200
";
    let turns = turns(story);
    let odd = turns.iter().find(|turn| turn.odd.contains(&"SickConsumer")).unwrap();
    assert!((120..=184).contains(&odd.at), "{odd:?}");
    assert_snapshot!(said(odd), @r#"
        Some(3) Steady: the present count fits: the oldest message has waited 60 s of 60 min
        ["SickConsumer"]: ["one consumer of orders is sick: the one that holds partition 1 gets through 0/s while the others are well and 50/s is usual; nothing is learned from it"]
        "#);
    // It binds nothing.
    assert!(turns.iter().all(|turn| turn.replicas == Some(3)), "{turns:?}");
}

#[test]
fn a_hot_partition_is_named_when_no_count_can_keep_up_with_it() {
    let story = "
stage: {rate: 50, objective: 600, partitions: 8, commits: 5, desired: 8, min: 8}
then:
- {at: 0, arrive: 80, take: 80, hot: 3}
until: 400
";
    let turns = turns(story);
    let odd = turns.iter().find(|turn| turn.odd.contains(&"HotPartition")).unwrap();
    assert!(180 <= odd.at, "{odd:?}");
    assert_snapshot!(said(odd), @r#"
        Some(8) AtMin: kept at min 8: 2 would do
        ["HotPartition"]: ["partition 3 of orders is hot: 80/s arrive in it alone, one replica gets through 50/s, and only one can read it"]
        "#);
}

#[test]
fn a_hot_partition_gets_no_more_consumers_than_help_it() {
    // 40 of 100 items come to one of 48 partitions: four times what one replica gets through. The others need six.
    let story = "
stage: {rate: 50, objective: 60, partitions: 48, commits: 5, desired: 20, max: 48}
then:
- {at: 0, arrive: 500, take: 350, hot: 3, share: 40}
until: 2400
";
    let turns = turns(story);
    assert!(turns.iter().any(|turn| turn.replicas == Some(48)), "before it is known");
    let last = turns.last().unwrap();
    assert_snapshot!(said(last), @r#"
        Some(12) Steady: the present count fits: nothing waits, and 60 s are allowed
        ["HotPartition"]: ["partition 3 of orders is hot: 207/s arrive in it alone, one replica gets through 50/s, and only one can read it"]
        "#);
}

/// The most replicas that are wished from then on, and those of the turn before.
fn most_from(story: &str, at: i64) -> (u32, u32) {
    let turns = turns(story);
    let before = turns.iter().rfind(|turn| turn.at < at).unwrap().replicas.unwrap();
    let most = turns.iter().filter(|turn| at <= turn.at).filter_map(|turn| turn.replicas).max();
    (most.unwrap(), before)
}

#[test]
fn where_a_hot_partition_is_missing_it_is_no_more_to_do_than_before() {
    let story = "
stage: {rate: 50, objective: 60, partitions: 48, commits: 5, desired: 20, max: 48}
then:
- {at: 0, arrive: 500, take: 350, hot: 3, share: 40}
- {at: 2400, sight: Partial, missing: 46}
until: 2420
";
    assert_eq!(most_from(story, 2400), (12, 12));
}

#[test]
fn a_hot_partition_does_not_count_for_a_threshold_beside_an_objective() {
    let story = "
stage: {rate: 50, objective: 60, perReplica: 1000, partitions: 48, commits: 5, desired: 20, max: 48}
then:
- {at: 0, arrive: 500, take: 350, hot: 3, share: 40}
until: 2400
";
    assert_eq!(most_from(story, 2398), (12, 12));
}

#[test]
fn a_hot_partition_of_several_topics_is_named_with_its_topic() {
    let story = "
stage: {rate: 50, objective: 600, topics: [[eu, 3], [us, 5]], commits: 5, desired: 8, min: 8}
then:
- {at: 0, arrive: 80, take: 80, hot: 4}
until: 400
";
    let turns = turns(story);
    let odd = turns.iter().find(|turn| turn.odd.contains(&"HotPartition")).unwrap();
    assert_snapshot!(odd.odds.join("; "), @"partition 1 of us (orders) is hot: 80/s arrive in it alone, one replica gets through 50/s, and only one can read it");
}

#[test]
fn replicas_that_get_less_done_than_they_used_to_are_named_after_ten_minutes() {
    // For an hour four pods are busy and do 50/s each, then 30/s.
    let story = "
stage: {objective: 86400, poll: 5, commits: 5, desired: 4, min: 4, max: 4}
then:
- {at: 0, lag: 100000, arrive: 200, take: 200}
- {at: 3600, take: 120}
until: 5400
";
    let turns = turns(story);
    let odd = turns.iter().find(|turn| turn.odd.contains(&"SlowerReplicas")).unwrap();
    assert!((4200..4500).contains(&odd.at), "{odd:?}");
    assert_snapshot!(odd.odds.join("; "), @"replicas have become slower: one gets through 30.8/s, and 49.6/s was usual");
    assert!(turns.iter().all(|turn| turn.replicas == Some(4)), "it binds nothing");
}

#[test]
fn rebalances_that_take_longer_than_they_used_to_are_named_after_ten_minutes() {
    // Every five minutes a pod comes or goes, and the group pauses: for 4 s in the first hour, for 20 s in the second.
    let mut story = "
stage: {objective: 86400, poll: 2, commits: 2, desired: 4, min: 1, max: 8, paused: true}
then:
- {at: 0, lag: 100000, arrive: 200, take: 200}
"
    .to_owned();
    for (count, at) in (1..24).map(|turn| (4 + turn % 2, 300 * turn)) {
        let pause = if at < 3600 { 4 } else { 20 };
        let back = at + pause;
        let _ = write!(
            story,
            "- {{at: {at}, desired: {count}, take: 0}}\n- {{at: {back}, take: 200}}\n"
        );
    }
    story.push_str("until: 7000\n");
    let turns = turns(&story);
    let odd = turns.iter().find(|turn| turn.odd.contains(&"LongerRebalances")).unwrap();
    assert!((4200..5400).contains(&odd.at), "{odd:?}");
    assert_snapshot!(odd.odds.join("; "), @"rebalances have become longer: the group pauses for 17 s, and 5.2 s was usual");
}

/// Count, code and sentence of a turn, and what is odd about it.
fn said(turn: &Told) -> String {
    let Told { replicas, code, sentence, odd, odds, .. } = turn;
    format!("{replicas:?} {code}: {sentence}\n{odd:?}: {odds:?}")
}
