//! Pods that are given more CPU or less, by a rollout or in place: what was learned of them before sizes the stage, but takes nothing away until
//! they have shown their own.

use super::story::{Told, turns};

/// Eight busy pods of 100 items a second; from 300 s on 300 items a second come, by which three or four of them would do.
fn after(event: &str) -> Vec<Told> {
    sized_by("partitions: 48", event)
}

/// The same where something else sizes the stage as well.
fn sized_by(what: &str, event: &str) -> Vec<Told> {
    turns(&format!(
        "{{stage: {{objective: 60, desired: 8, commits: 2, {what}, forecastOff: true, follow: true, down: {{window: 0}}}}, then: [\
         {{at: 0, cpu: 1000, lag: 6000, arrive: 800, take: 800}}, \
         {{at: 300, lag: 0, arrive: 300, take: 300}}, {event}], until: 1500}}"
    ))
}

fn at(turns: &[Told], second: i64) -> &Told {
    turns.iter().find(|turn| turn.at == second).unwrap()
}

/// From that second on no count was ever higher than the first, nor lower than the one before it by more than a step.
fn went_by_steps(turns: &[Told], from: i64) {
    let after = turns.iter().filter(|turn| from <= turn.at);
    let counts: Vec<u32> = after.filter_map(|turn| turn.replicas).collect();
    let is_step = |pair: &[u32]| pair[0] <= pair[1] + 2 || 2 * pair[0] <= 3 * pair[1];
    let is_no_more = counts.iter().all(|it| it <= &counts[0]);
    assert!(counts.windows(2).all(is_step) && is_no_more, "{counts:?}");
}

#[test]
fn what_pods_did_with_other_cpu_takes_nothing_away() {
    let same = after("{at: 1400}");
    assert!(at(&same, 420).replicas < Some(6), "{:?}", at(&same, 420));

    let resized = after("{at: 290, cpu: 500}");
    let now = at(&resized, 420);
    assert_eq!((now.replicas, now.code), (Some(8), "Relearning"), "{now:?}");
    // Nothing is ever taken by the former rate: one step at a time shows whether fewer do.
    went_by_steps(&resized, 290);
}

#[test]
fn a_threshold_beside_the_objective_takes_nothing_away_either() {
    // By the threshold alone one would do for what waits at 420 s.
    let both = "partitions: 48, perReplica: 5000";
    let same = sized_by(both, "{at: 1400}");
    assert!(at(&same, 420).replicas < Some(6), "{:?}", at(&same, 420));

    let resized = sized_by(both, "{at: 290, cpu: 500}");
    let now = at(&resized, 420);
    assert_eq!((now.replicas, now.code), (Some(8), "Relearning"), "{now:?}");
    went_by_steps(&resized, 290);
}

#[test]
fn a_sum_of_what_sources_want_is_kept_once_and_not_for_each_of_them() {
    let sum = "partitions: 24, sources: 2, combine: \"orders + orders1\"";
    let resized = sized_by(sum, "{at: 290, cpu: 500}");
    let now = at(&resized, 340);
    assert_eq!((now.replicas, now.code), (Some(48), "Relearning"), "{now:?}");
    // Each source alone wants fewer than there are: did each ask for what there is, the sum would double at every turn. Tried is one
    // breakpoint of the partitions after the other.
    let after = resized.iter().filter(|turn| 300 <= turn.at);
    let mut counts: Vec<u32> = after.filter_map(|turn| turn.replicas).collect();
    counts.dedup();
    assert_eq!(counts, [48, 24, 16, 12, 10]);
}

#[test]
fn a_sum_does_not_grow_while_no_rate_is_known() {
    let sum = "partitions: 24, sources: 2, combine: \"orders + orders1\"";
    let turns = sized_by(sum, "{at: 290, cpu: 500}");
    let first = turns.iter().take_while(|turn| turn.code == "Learning");
    let counts: Vec<_> = first.filter_map(|turn| turn.replicas).collect();
    assert!(5 <= counts.len() && counts.iter().all(|&it| it == 8), "{counts:?}");
    let learned = turns.iter().find(|turn| turn.code == "Combined").unwrap();
    assert_eq!(learned.replicas, Some(10), "{learned:?}");
}

#[test]
fn busy_pods_show_what_they_do_with_their_cpu_and_are_counted_by_that() {
    let resized = after(
        "{at: 290, cpu: 500}, {at: 500, lag: 4000, arrive: 400, take: 400}, {at: 700, lag: 500}",
    );
    let is_lost = |turn: &&Told| ["Relearning", "Probing"].contains(&turn.code);
    assert!(resized.iter().any(|turn| turn.at < 500 && is_lost(&turn)));
    let late = resized.iter().find(|turn| 540 < turn.at && is_lost(turn));
    assert!(late.is_none(), "{late:?}");
}
