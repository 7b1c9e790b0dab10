//! How long pods take: from a write to Ready, and how long a consumer group pauses when its members change. Fed once a turn;
//! both are learned, and stand at a careful guess until then.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::snapshot::Workload;
use super::writes::{later, span};

/// From a write to Ready, until learned.
const STARTUP: f64 = 45.0;
/// Pause of a group, until learned.
const REBALANCE: f64 = 5.0;
/// A start or pause longer than this is a fault, not a sample.
const LONGEST: Duration = Duration::from_hours(1);
/// A pause counts as this many times what was thought at most.
const SURPRISE: f64 = 3.0;
/// How much longer than is usual a pod may take to get Ready once it has a node, before it is taken for one that will not. At least so long that a
/// container which crashes twice (10 and 20 s of back-off) is none, and no longer than Kubernetes itself leaves pods on a node that does not
/// answer.
const LENIENCY: (f64, f64) = (60.0, 300.0);
/// Share of a new sample.
const GAIN: f64 = 0.3;

/// What is remembered of how long pods take, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Pods {
    startup: Option<f64>,
    rebalance: Option<f64>,
    /// Count wanted at the last turn.
    desired: Option<u32>,
    /// More were asked for: since when.
    rising: Option<Timestamp>,
    /// Ready pods at the last turn.
    ready: u32,
    /// What the Job that became Ready last took to do so.
    #[serde(default)]
    job: Option<Duration>,
    /// Members changed while work was waiting: since when commits are awaited.
    pausing: Option<Timestamp>,
}

impl Pods {
    /// What an earlier life or the owner says, until seen.
    pub(super) fn believe(&mut self, startup: Option<Duration>, rebalance: Option<Duration>) {
        self.startup =
            self.startup.or_else(|| startup.map(|startup| startup.min(LONGEST).as_secs_f64()));
        self.rebalance =
            self.rebalance.or_else(|| rebalance.map(|pause| pause.min(LONGEST).as_secs_f64()));
    }

    /// Looks at the pods. `moved`: when our own last write to them was taken, if it was since the last turn.
    pub(super) fn observe(&mut self, workload: &Workload, moved: Option<Timestamp>, at: Timestamp) {
        if let Some(jobs) = &workload.jobs {
            // Each tells for itself, and how many there are changes with each that ends.
            if let Some(took) = jobs.startup.filter(|&took| self.job.replace(took) != Some(took)) {
                learn(&mut self.startup, took);
            }
            return;
        }
        let before = self.desired.replace(workload.desired);
        if before.is_some_and(|before| before < workload.desired) {
            self.rising = Some(moved.unwrap_or(at));
        } else if before.is_some_and(|before| workload.desired < before) {
            self.rising = None;
        }
        if let Some(since) = self.rising
            && workload.desired <= workload.ready
        {
            self.rising = None;
            if let Some(ready) = workload.ready_since.filter(|&ready| since <= ready) {
                learn(&mut self.startup, span(since, ready));
            }
        }
    }

    /// Looks at the group: `commits` when they last moved; a pause can be told only when commits come often.
    pub(super) fn watch_group(
        &mut self,
        workload: &Workload,
        commits: Option<Timestamp>,
        often: Option<Duration>,
        at: Timestamp,
    ) {
        if workload.jobs.is_some() {
            return;
        }
        if self.ready != workload.ready {
            let worked = 0 < self.ready && 0 < workload.ready;
            // Fewer are ready since this turn: the youngest of those left may have been so for hours.
            let since = workload.ready_since.filter(|_| self.ready < workload.ready);
            self.pausing = worked.then(|| since.unwrap_or(at).min(at));
            self.ready = workload.ready;
        }
        let (Some(since), Some(moved)) = (self.pausing, commits) else { return };
        if moved <= since {
            return;
        }
        self.pausing = None;
        if let Some(often) = often {
            // Commits may stand still for other reasons, too: one sample does not change the picture.
            let most = self.rebalance().max(REBALANCE) * SURPRISE;
            let pause = span(since, moved).saturating_sub(often / 2).as_secs_f64().min(most);
            learn(&mut self.rebalance, Duration::try_from_secs_f64(pause).unwrap_or(LONGEST));
        }
    }

    /// Seconds from a write to Ready; a guess until learned.
    pub(super) fn startup(&self) -> f64 {
        self.startup.unwrap_or(STARTUP)
    }

    /// The same, only if it is known.
    pub(super) fn known_startup(&self) -> Option<f64> {
        self.startup
    }

    /// After how long on a node a pod is hardly going to get Ready any more. What is learned is the slowest pod of each move and has a node's
    /// boot in it, so twice that is beyond what starts differ by.
    pub(super) fn overdue(&self) -> Duration {
        let startup = self.startup();
        let longest = startup + startup.clamp(LENIENCY.0, LENIENCY.1);
        Duration::try_from_secs_f64(longest).unwrap_or(LONGEST)
    }

    /// Seconds that a group pauses; a guess until learned.
    pub(super) fn rebalance(&self) -> f64 {
        self.rebalance.unwrap_or(REBALANCE)
    }

    /// The same, only if it is known.
    pub(super) fn known_rebalance(&self) -> Option<f64> {
        self.rebalance
    }

    /// Seconds until the pods asked for last should be Ready; none when they are, or long should have been.
    pub(super) fn pending(&self, at: Timestamp) -> Option<f64> {
        let passed = span(self.rising?, at).as_secs_f64();
        (passed < (2.0 * self.startup()).max(60.0)).then(|| (self.startup() - passed).max(0.0))
    }

    /// When pods still pending are given up on.
    pub(super) fn given_up(&self) -> Option<Timestamp> {
        let patience = Duration::try_from_secs_f64((2.0 * self.startup()).max(60.0));
        Some(later(self.rising?, patience.unwrap_or(LONGEST)))
    }
}

fn learn(known: &mut Option<f64>, sample: Duration) {
    if LONGEST < sample {
        return;
    }
    let sample = sample.as_secs_f64();
    let before = known.unwrap_or(sample);
    *known = Some(before + GAIN * (sample - before));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Writing;

    fn workload(ready: u32, ready_since: i64) -> Workload {
        Workload {
            uid: "a".into(),
            resource_version: "1".into(),
            desired: ready,
            current: ready,
            ready,
            ready_since: Some(second(ready_since)),
            writing: Writing::Apply,
            read_at: second(0),
            is_ours: true,
            hpa: None,
            cpu: None,
            jobs: None,
            lanes: Vec::new(),
        }
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_pause_after_a_move_down_is_counted_from_the_move() {
        let mut pods = Pods::default();
        let often = Some(Duration::from_secs(2));
        pods.watch_group(&workload(8, 0), Some(second(0)), often, second(2));
        pods.watch_group(&workload(5, 0), Some(second(7200)), often, second(7200));
        pods.watch_group(&workload(5, 0), Some(second(7204)), often, second(7204));
        assert_eq!(pods.known_rebalance(), Some(3.0));
    }

    #[test]
    fn a_pod_is_given_up_on_after_twice_what_starts_take_within_bounds() {
        let overdue = |startup| {
            let mut pods = Pods::default();
            pods.believe(startup, None);
            pods.overdue().as_secs()
        };
        let [short, usual, long] = [3, 90, 1800].map(Duration::from_secs);
        assert_eq!([short, usual, long].map(|it| overdue(Some(it))), [63, 180, 2100]);
        assert_eq!(overdue(None), 105);
    }

    #[test]
    fn one_long_standstill_is_not_believed_whole() {
        let mut pods = Pods::default();
        let often = Some(Duration::from_secs(2));
        pods.watch_group(&workload(8, 0), Some(second(0)), often, second(2));
        pods.watch_group(&workload(9, 100), Some(second(99)), often, second(100));
        pods.watch_group(&workload(9, 100), Some(second(900)), often, second(900));
        assert_eq!(pods.known_rebalance(), Some(15.0));
    }
}
