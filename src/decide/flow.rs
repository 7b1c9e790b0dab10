//! What a stage hands to the stages after it, and what they make of it: a stage that is about to work off a backlog sends a burst, and
//! those below rise in the same turn instead of when it has reached them (the one-step property of DS2, Kalavri et al. 2018). Called by
//! `decide` between two stages' turns; knows neither bounds nor windows.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::demand::{Load, Means};
use super::evidence::float;
use super::partitions::capacity;
use super::writes::span;

/// A sample of what comes for what is sent spans at least so many seconds, and so many items sent.
const SPAN: f64 = 60.0;
const ITEMS: u64 = 100;
/// What was learned fades in so many seconds.
const FADES: f64 = 900.0;
/// More than so many items for one is a fault, not a sample.
const MOST: f64 = 10_000.0;

/// What one stage passes on with the count decided for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Passed {
    /// Items it has taken so far, as far as its queues count them.
    pub(super) taken: u64,
    /// Items a second that it takes in the long run.
    steady: f64,
    /// Items a second that it takes while it works off what waits, and for how many seconds.
    peak: f64,
    lasts: f64,
}

impl Passed {
    /// `None` while the rate of a replica is not known.
    pub(super) fn of(taken: u64, load: &Load<'_>, means: &Means, replicas: u32) -> Option<Self> {
        let most = means.rate? * capacity(replicas, load.partitions.filter(|&it| 0 < it));
        let spare = most - load.arrivals;
        let steady = load.arrivals.min(most);
        let backlog = load.backlog.max(0.0);
        let (peak, lasts) = match () {
            () if backlog < 1.0 => (steady, 0.0),
            () if spare <= 0.0 => (most, f64::INFINITY),
            () => (most, backlog / spare),
        };
        Some(Self { taken, steady, peak, lasts })
    }

    /// Items a second that whoever comes next must be up to if it may be late by `goal` seconds: a burst that ends soon may be
    /// worked off after it.
    fn expected(&self, goal: f64) -> f64 {
        let share = if self.lasts.is_finite() { self.lasts / (self.lasts + goal) } else { 1.0 };
        self.steady.max(self.peak * share)
    }
}

/// What the stages above one pass to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Above {
    passed: Vec<Passed>,
    /// Is there any stage of which that is not known?
    is_partial: bool,
}

impl Above {
    pub(super) fn push(&mut self, passed: Option<Passed>) {
        self.is_partial |= passed.is_none();
        self.passed.extend(passed);
    }

    /// Items taken so far, over all; `None` when one does not tell.
    fn taken(&self) -> Option<u64> {
        let sum = self.passed.iter().map(|passed| passed.taken).fold(0, u64::saturating_add);
        (!self.is_partial && !self.passed.is_empty()).then_some(sum)
    }
}

/// How many items come for one that is taken above: learned over all edges into a stage together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Selectivity {
    ratio: Option<f64>,
    /// Start of the present sample: when, items taken above by then, and items come.
    since: Option<(Timestamp, u64, u64)>,
}

impl Selectivity {
    /// Takes in how much was taken above and has come here so far.
    pub(super) fn observe(&mut self, above: &Above, arrived: Option<u64>, at: Timestamp) {
        let (Some(taken), Some(arrived)) = (above.taken(), arrived) else {
            self.since = None;
            return;
        };
        let start = self.since.filter(|&(_, sent, come)| sent <= taken && come <= arrived);
        let Some((since, sent, come)) = start else {
            self.since = Some((at, taken, arrived));
            return;
        };
        if (taken, arrived) == (sent, come) {
            // A sample begins with the work. Commits tell of it after what it brought has come here: in the first seconds after a pause that is nearly all.
            self.since = Some((at, taken, arrived));
            return;
        }
        let seconds = span(since, at).as_secs_f64();
        if seconds < SPAN || taken - sent < ITEMS {
            return;
        }
        self.since = Some((at, taken, arrived));
        let sample = float(arrived - come) / float(taken - sent);
        if MOST < sample {
            return;
        }
        let gain = (seconds / FADES).min(1.0);
        let known = self.ratio.unwrap_or(sample);
        self.ratio = Some(known + gain * (sample - known));
    }

    /// Items a second to be up to, once it is known what comes of what is sent.
    pub(super) fn expected(&self, above: &Above, goal: f64) -> Option<f64> {
        let sent: f64 = above.passed.iter().map(|passed| passed.expected(goal)).sum();
        self.ratio.map(|ratio| ratio * sent).filter(|_| !above.passed.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn passing(taken: u64, steady: f64, peak: f64, lasts: f64) -> Above {
        let mut above = Above::default();
        above.push(Some(Passed { taken, steady, peak, lasts }));
        above
    }

    #[test]
    fn what_comes_for_one_is_learned_and_applied_to_what_will_be_sent() {
        let mut edge = Selectivity::default();
        for minute in 0..10_u64 {
            let above = passing(minute * 6_000, 100.0, 100.0, 0.0);
            edge.observe(
                &above,
                Some(minute * 18_000),
                second(60 * i64::try_from(minute).unwrap()),
            );
        }
        let expected = edge.expected(&passing(60_000, 100.0, 400.0, f64::INFINITY), 50.0).unwrap();
        assert!((expected - 1200.0).abs() < 1e-6, "{expected}");
    }

    /// The ratio that is learned first after an hour of nothing, where 100 items a second are taken, each brings one, and commits tell of so many by a
    /// second of the work.
    fn first_learned(told: impl Fn(u64) -> u64) -> f64 {
        let mut edge = Selectivity::default();
        let mut observe = |at: i64, taken: u64, arrived: u64| {
            edge.observe(&passing(taken, 0.0, 0.0, 0.0), Some(arrived), second(at));
            edge.ratio
        };
        assert_eq!([observe(0, 0, 0), observe(3600, 0, 0)], [None; 2]);
        let learned = (1..=1000_u64).find_map(|second| {
            observe(3600 + i64::try_from(second).unwrap(), told(second), 100 * second)
        });
        learned.unwrap()
    }

    #[test]
    fn after_a_pause_a_sample_begins_with_the_work_however_rare_commits_are() {
        let late = first_learned(|second| 100 * second.saturating_sub(3));
        assert!((1.0..1.1).contains(&late), "{late}");
        for every in [5, 30, 60, 300] {
            let learned = first_learned(|second| 100 * (second - second % every));
            assert!((0.99..1.1).contains(&learned), "commits every {every} s: {learned}");
        }
    }

    #[test]
    fn a_burst_that_ends_soon_may_be_worked_off_after_it() {
        let passed = Passed { taken: 0, steady: 100.0, peak: 400.0, lasts: 50.0 };
        assert!((passed.expected(50.0) - 200.0).abs() < 1e-9);
        let short = Passed { lasts: 5.0, ..passed };
        assert!((short.expected(50.0) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_learned_across_a_counter_that_began_anew_or_from_a_stage_that_does_not_tell() {
        let mut edge = Selectivity::default();
        edge.observe(&passing(10_000, 1.0, 1.0, 0.0), Some(10_000), second(0));
        edge.observe(&passing(500, 1.0, 1.0, 0.0), Some(20_000), second(120));
        let mut partial = passing(9_000, 1.0, 1.0, 0.0);
        partial.push(None);
        edge.observe(&partial, Some(30_000), second(240));
        assert_eq!(edge.ratio, None);
    }
}
