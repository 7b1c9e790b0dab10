//! What a run is worth: how much came late, what it cost, how restless it was. Worked out by `run` from what the world summed up; means
//! and intervals over seeds by whoever compares.

use serde::Serialize;

use super::promise::{DueTimes, Kept};
use super::record::Move;
use super::tally::Ages;

/// A move is undone when one in the other direction follows within this many seconds.
const UNDONE: u32 = 600;

/// What a run came to, over the time after the warm-up. Of all stages together; delays are from the first arrival to the last read.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Score {
    /// Items read (or still unread at the end) later than was promised, as a share of all. By the age of each item when it was read,
    /// weighted by volume; where `doneBy` is the promise, by the first due time after it arrived, of items that came to one. Where not
    /// every stage of a pipeline promises a delay, of the items of those stages that promise something, each by its own promise.
    /// `None` where nothing is promised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_share: Option<f64>,
    /// Seconds a day in which the oldest waiting item of a stage was late at that stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_seconds_per_day: Option<f64>,
    /// How due times were kept, of stages that have such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<DueTimes>,
    /// Delay that half of the items do not exceed, in seconds.
    pub delay_p50: f64,
    /// Delay that 99 of 100 items do not exceed, in seconds.
    pub delay_p99: f64,
    /// The longest delay of an item, in seconds.
    pub delay_max: f64,
    /// Hours of pods that existed, whether Ready or not.
    pub replica_hours: f64,
    /// Hours of them that were work: what a policy with nothing to spare would need.
    pub work_hours: f64,
    /// Changes of a replica count, a day; what is asked for in the very first second is what a policy begins with, and none.
    pub actions_per_day: f64,
    /// Of those, changes that one in the other direction followed within 10 min.
    pub undone_per_day: f64,
    /// Times a group was formed anew, a day.
    pub rebalances_per_day: f64,
    /// Partitions that changed hands, a day.
    pub moved_per_day: f64,
    /// How far the policy's belief in the rate of a replica was from the truth, as a share, in the mean; `None` when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_error: Option<f64>,
    /// Items read.
    pub items: f64,
    /// Promises of its own that the policy broke.
    pub violations: u32,
}

/// What the world sums up of a stage.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    late_seconds: f64,
    replica_seconds: f64,
    work_seconds: f64,
    rebalances: f64,
    moved: f64,
    error: f64,
    beliefs: f64,
}

impl Sums {
    pub(super) fn second(&mut self, is_late: bool, current: u32, work: f64) {
        self.late_seconds += f64::from(u8::from(is_late));
        self.replica_seconds += f64::from(current);
        self.work_seconds += work;
    }

    pub(super) fn rebalanced(&mut self, moved: u32) {
        self.rebalances += 1.0;
        self.moved += f64::from(moved);
    }

    /// The rate that is believed, as a multiple of the true one.
    pub(super) fn believed(&mut self, ratio: f64) {
        self.error += (ratio - 1.0).abs();
        self.beliefs += 1.0;
    }

    fn add(&mut self, other: &Self) {
        self.late_seconds += other.late_seconds;
        self.replica_seconds += other.replica_seconds;
        self.work_seconds += other.work_seconds;
        self.rebalances += other.rebalances;
        self.moved += other.moved;
        self.error += other.error;
        self.beliefs += other.beliefs;
    }
}

/// What a score is worked out from, stage by stage or for all.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) sums: Sums,
    pub(super) ages: Ages,
    /// What was promised; `None` where nothing was.
    pub(super) kept: Option<Kept>,
    actions: f64,
    undone: f64,
}

impl Account {
    pub(super) fn of(
        sums: Sums,
        ages: Ages,
        kept: Option<Kept>,
        moves: &[Move],
        warmup: u32,
    ) -> Self {
        let moves: Vec<_> = moves.iter().filter(|it| warmup.max(1) <= it.at).collect();
        let is_undone = |pair: &&[&Move]| {
            let [before, after] = pair else { return false };
            let turns = (before.from < before.to) != (after.from < after.to);
            turns && after.at - before.at <= UNDONE
        };
        // What only changes lanes goes neither way, and stands between none.
        let ways: Vec<&Move> = moves.iter().copied().filter(|it| it.from != it.to).collect();
        let undone = ways.windows(2).filter(is_undone).count();
        Self { sums, ages, kept, actions: count(moves.len()), undone: count(undone) }
    }

    /// Adds another stage; whose ages count is for the caller to say.
    pub(super) fn add(&mut self, other: &Self) {
        self.sums.add(&other.sums);
        self.kept = match (self.kept, other.kept) {
            (Some(own), Some(other)) => Some(own.and(other)),
            (own, other) => own.or(other),
        };
        self.actions += other.actions;
        self.undone += other.undone;
    }

    /// The score of so many seconds.
    pub(super) fn score(&self, seconds: u32, violations: u32) -> Score {
        let days = days(seconds);
        let (sums, items) = (&self.sums, self.ages.total());
        Score {
            late_share: self.kept.map(|kept| kept.late_share()),
            late_seconds_per_day: self.kept.map(|_| sums.late_seconds / days),
            due: self.kept.and_then(|kept| kept.due()),
            delay_p50: self.ages.quantile(0.5),
            delay_p99: self.ages.quantile(0.99),
            delay_max: self.ages.oldest(),
            replica_hours: sums.replica_seconds / 3600.0,
            work_hours: sums.work_seconds / 3600.0,
            actions_per_day: self.actions / days,
            undone_per_day: self.undone / days,
            rebalances_per_day: sums.rebalances / days,
            moved_per_day: sums.moved / days,
            rate_error: (0.0 < sums.beliefs).then(|| sums.error / sums.beliefs),
            items,
            violations,
        }
    }
}

/// So many seconds in days; never nothing, so that one may divide by it.
pub(super) fn days(seconds: u32) -> f64 {
    (f64::from(seconds) / 86_400.0).max(1e-9)
}

fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

/// A mean over seeds, and how far the true mean may lie from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Half the width of the 95 % interval (Student's t); 0 for a single seed, where nothing is known of it.
    pub half: f64,
}

/// Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

impl Interval {
    /// Of one figure of each of these.
    pub(super) fn over<T>(all: &[&T], figure: fn(&T) -> f64) -> Self {
        Self::of(&all.iter().map(|one| figure(one)).collect::<Vec<_>>())
    }

    /// Of these values; nothing of nothing.
    pub fn of(values: &[f64]) -> Self {
        let n = count(values.len());
        if values.is_empty() {
            return Self::default();
        }
        let mean = values.iter().sum::<f64>() / n;
        if values.len() < 2 {
            return Self { mean, half: 0.0 };
        }
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let t = STUDENT.get(values.len() - 2).copied().unwrap_or(1.96);
        Self { mean, half: t * (variance / n).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_students() {
        let interval = Interval::of(&[1.0, 2.0, 3.0]);
        assert!((interval.mean - 2.0).abs() < 1e-9 && (interval.half - 2.484).abs() < 1e-3);
        assert_eq!(Interval::of(&[5.0]), Interval { mean: 5.0, half: 0.0 });
        assert_eq!(Interval::of(&[]), Interval::default());
    }

    #[test]
    fn a_move_is_undone_by_one_the_other_way_within_ten_minutes() {
        let step =
            |at, from, to| Move { at, from, to, lanes: Vec::new(), code: None, sentence: None };
        let moves =
            [step(5, 1, 9), step(100, 2, 4), step(650, 4, 3), step(1300, 3, 5), step(1400, 5, 8)];
        let account = Account::of(Sums::default(), Ages::default(), None, &moves, 60);
        let score = account.score(86_400, 0);
        assert!((score.actions_per_day - 4.0).abs() < 1e-9);
        assert!((score.undone_per_day - 1.0).abs() < 1e-9, "{}", score.undone_per_day);
        assert_eq!((score.late_share, score.late_seconds_per_day), (None, None));
    }

    #[test]
    fn what_a_policy_begins_with_is_none_of_its_moves() {
        let step = |at| Move { at, from: 1, to: 9, lanes: Vec::new(), code: None, sentence: None };
        let account = Account::of(Sums::default(), Ages::default(), None, &[step(0), step(1)], 0);
        assert!((account.score(86_400, 0).actions_per_day - 1.0).abs() < 1e-9);
    }
}
