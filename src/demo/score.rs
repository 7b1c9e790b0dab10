//! What a run was worth: how late its items were, and what it cost to keep them so. Pure; computed from the run's own ledger and
//! replica counts, never from what Penstock says of itself. Used by the story's summary and by tests.

use std::time::Duration;

use super::traffic::Item;

/// What is known of a run when it is over. All times count from its start.
#[derive(Debug, Clone, PartialEq)]
pub struct Run<'a> {
    /// How long it lasted.
    pub length: Duration,
    /// How old an item may get before it is done.
    pub objective: Duration,
    /// Every item.
    pub items: &'a [Item],
    /// Replicas asked for, from each time on; zero before the first.
    pub replicas: &'a [(Duration, u32)],
    /// Replicas that the load's peak needs: what a fleet without an autoscaler would keep all the time.
    pub peak_replicas: u32,
}

/// The figures of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    /// Items made.
    pub items: usize,
    /// Of those, items not done at the end.
    pub waiting: usize,
    /// Items not older than the objective when they were done (or, not done, at the end), as a share of all; 1 without items.
    pub items_in_time: f64,
    /// Time without any item that was older than the objective and not done, as a share of the run; 1 for an empty run.
    pub time_in_time: f64,
    /// Age that half of the items did not exceed. An item that was not done has its age at the end.
    pub p50: Duration,
    /// Age that 99 % of the items did not exceed.
    pub p99: Duration,
    /// Highest age.
    pub max: Duration,
    /// Replica-hours asked for; start-up counts, as it would be paid for.
    pub replica_hours: f64,
    /// Replica-hours of a fleet that is always as large as the peak needs.
    pub peak_hours: f64,
    /// Changes of the replica count.
    pub moves: usize,
}

/// Works out the figures.
pub fn score(run: &Run<'_>) -> Score {
    let mut ages: Vec<_> = run.items.iter().map(|item| age(item, run.length)).collect();
    ages.sort_unstable();
    let in_time = ages.partition_point(|age| *age <= run.objective);
    Score {
        items: ages.len(),
        waiting: run.items.iter().filter(|item| item.done.is_none()).count(),
        items_in_time: share(in_time, ages.len()),
        time_in_time: 1.0 - late(run).div_duration_f64(run.length.max(Duration::from_nanos(1))),
        p50: percentile(&ages, 50),
        p99: percentile(&ages, 99),
        max: ages.last().copied().unwrap_or_default(),
        replica_hours: hours(run),
        peak_hours: f64::from(run.peak_replicas) * run.length.as_secs_f64() / 3600.0,
        moves: run.replicas.windows(2).filter(|pair| pair[0].1 != pair[1].1).count(),
    }
}

fn age(item: &Item, end: Duration) -> Duration {
    item.done.unwrap_or(end).saturating_sub(item.made)
}

/// How long at least one item was late: the union of all (made + objective, done).
fn late(run: &Run<'_>) -> Duration {
    let mut spells: Vec<_> = run
        .items
        .iter()
        .map(|item| (item.made + run.objective, item.done.unwrap_or(run.length).min(run.length)))
        .filter(|(from, to)| from < to)
        .collect();
    spells.sort_unstable();
    let mut reached = Duration::ZERO;
    let mut total = Duration::ZERO;
    for (from, to) in spells {
        total += to.saturating_sub(from.max(reached));
        reached = reached.max(to);
    }
    total
}

fn hours(run: &Run<'_>) -> f64 {
    let ends = run.replicas.iter().skip(1).map(|(from, _)| *from).chain([run.length]);
    let spans = run.replicas.iter().zip(ends);
    spans
        .map(|((from, count), to)| {
            f64::from(*count) * to.min(run.length).saturating_sub(*from).as_secs_f64()
        })
        .sum::<f64>()
        / 3600.0
}

#[expect(clippy::cast_precision_loss, reason = "counts of items, far below 2^52")]
fn share(part: usize, whole: usize) -> f64 {
    if whole > 0 { part as f64 / whole as f64 } else { 1.0 }
}

/// The smallest age that this many percent of the items do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}
