//! The words at the end of a run, from its score. Pure; printed by the story.

use std::time::Duration;

use super::score::{Run, Score};
use super::view::clock;

/// A few lines; `again` is how often an item was done more than once.
pub(super) fn summary(run: &Run<'_>, score: &Score, again: u64, seed: u64) -> String {
    let Score { items, waiting, moves, peak_hours, replica_hours, .. } = score;
    let saved = if *peak_hours > 0.0 { 1.0 - replica_hours / peak_hours } else { 0.0 };
    let mut lines = vec![
        format!("After {} (--seed {seed}):", clock(run.length)),
        format!(
            "  objective   no item older than {} s: kept {} of the time, for {} of {items} items",
            run.objective.as_secs(),
            percent(score.time_in_time),
            percent(score.items_in_time),
        ),
        format!(
            "  ages        half of the items within {}, 99 % within {}, the oldest {}",
            seconds(score.p50),
            seconds(score.p99),
            seconds(score.max),
        ),
        format!(
            "  cost        {replica_hours:.3} replica-hours; {peak_hours:.3} with the {} replicas that the peak needs all the time: {} saved",
            run.peak_replicas,
            percent(saved),
        ),
        format!("  moves       the replica count changed {moves} times"),
    ];
    if *waiting > 0 {
        lines.push(format!("  left over   {waiting} items were still waiting"));
    }
    if again > 0 {
        lines.push(format!(
            "  twice       {again} items were done again by a partition's next owner"
        ));
    }
    lines.join("\n")
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
