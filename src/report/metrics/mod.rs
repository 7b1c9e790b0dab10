//! The metrics: what stands in the latest pictures, and counts of what ticks told. A deleted pipeline's series vanish because nothing
//! of it is kept. The tellers feed them; `table` names them; `answer` prints them as OpenMetrics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::desk::Desk;
use super::pools::PoolPicture;
use super::status::Stand;
use super::{Heard, Picture, Polls, Requests, Standing, Tick};
use saved::{Fares, hours};

use crate::decide::{Action, Ending, PipelineId, Reason, StartJobs, Verdict};

mod exposition;
mod saved;
pub mod table;

/// Seconds. Turns take milliseconds, visits to a source up to 3 s.
const BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0];

/// All metrics. Cheap to clone; clones are one.
#[derive(Debug, Clone)]
pub struct Metrics {
    sheet: Sheet,
    registry: Arc<Registry>,
}

#[derive(Debug, Clone)]
struct Sheet {
    standing: Standing,
    pools: Desk<PoolPicture>,
    requests: Requests,
    leads: watch::Receiver<bool>,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    /// In the order of names.
    stages: BTreeMap<PipelineId, Vec<StageCounts>>,
    conditions: BTreeMap<PipelineId, Vec<Stand>>,
    turns: Turns,
    visits: Histogram,
    lateness: f64,
    violations: u64,
    fares: Fares,
    /// Turns recorded and turns lost; `None` when nothing is recorded.
    recorded: Option<(u64, u64)>,
}

#[derive(Debug)]
struct StageCounts {
    name: Arc<str>,
    /// By direction and reason.
    moves: Tally<(&'static str, &'static str)>,
    /// By reason.
    holds: Tally<&'static str>,
    /// Pods that interruptions ended, by pool, and by whether their replacements were Ready before.
    interruptions: BTreeMap<(Arc<str>, bool), u64>,
    /// What spot saved, by pool.
    saved: BTreeMap<Arc<str>, f64>,
    /// The hold that stands now, so that each is counted once.
    holding: Option<&'static str>,
}

/// How often each of a few things happened, in their order.
#[derive(Debug)]
struct Tally<K>(Vec<(K, u64)>);

impl<K: Copy + Ord> Tally<K> {
    fn count(&mut self, key: K) {
        match self.0.binary_search_by_key(&key, |(known, _)| *known) {
            Ok(at) => self.0[at].1 += 1,
            Err(at) => self.0.insert(at, (key, 1)),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (K, u64)> {
        self.0.iter().copied()
    }
}

/// How long turns took. Of each bucket the latest turn whose trace is collected is its exemplar: from a slow turn on a board, one step leads to
/// what it did.
#[derive(Debug)]
struct Turns(HistogramWithExemplars<[(&'static str, String); 1]>);

impl Default for Turns {
    fn default() -> Self {
        Self(HistogramWithExemplars::new(BUCKETS.into_iter()))
    }
}

#[derive(Debug, Default)]
struct Histogram {
    sum: f64,
    count: u64,
    buckets: [u64; BUCKETS.len()],
}

impl Histogram {
    fn take(&mut self, seconds: f64) {
        self.sum += seconds;
        self.count += 1;
        let index = BUCKETS.partition_point(|bound| *bound < seconds);
        if let Some(bucket) = self.buckets.get_mut(index) {
            *bucket += 1;
        }
    }

    /// Takes how long the latest visit to a source took, if the turn `before` did not tell of it.
    fn take_news(&mut self, heard: &Heard, before: Option<&Picture>) {
        let Some(polls) = heard.polls else { return };
        let told = before.and_then(|before| before.heard(&heard.question)?.polls);
        let total = |polls: Polls| polls.fresh + polls.partial + polls.failed;
        if total(polls) != total(told.unwrap_or_default()) {
            self.take(polls.took.as_secs_f64());
        }
    }

    /// Bounds and counts, each bucket by itself; the last has no bound.
    fn cells(&self) -> Vec<(f64, u64)> {
        let inside: u64 = self.buckets.iter().sum();
        let bounded = BUCKETS.iter().copied().zip(self.buckets);
        bounded.chain([(f64::INFINITY, self.count - inside)]).collect()
    }
}

impl Metrics {
    pub(super) fn new(
        standing: Standing,
        pools: Desk<PoolPicture>,
        requests: Requests,
        leads: watch::Receiver<bool>,
    ) -> Self {
        let sheet = Sheet { standing, pools, requests, leads, counts: Arc::default() };
        let mut registry = Registry::with_prefix(table::PREFIX);
        registry.register_collector(Box::new(sheet.clone()));
        Self { sheet, registry: Arc::new(registry) }
    }

    /// Everything, as OpenMetrics text.
    ///
    /// # Errors
    /// None that can be provoked: a `String` takes any text.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    pub(super) fn take_turn(&self, tick: &Tick) {
        let mut counts = self.sheet.counts();
        let trace = tick.trace.clone().map(|id| [("trace_id", id)]);
        // Without a time of its own an exemplar has that of the scrape.
        counts.turns.0.observe(tick.took.as_secs_f64(), trace, None);
        counts.lateness = tick.lateness.as_secs_f64();
        counts.violations += u64::from(tick.step.plan.violations);
        let pools = self.sheet.pools.pictures();
        counts.fares.take(pools.iter().map(|it| (&it.verdict.pool, &it.glance)));
    }

    /// Counts turns that were recorded, and turns that could not be.
    pub(super) fn count_recorded(&self, written: u64, lost: u64) {
        let mut counts = self.sheet.counts();
        let (before, lost_before) = counts.recorded.unwrap_or_default();
        counts.recorded = Some((before + written, lost_before + lost));
    }

    /// Takes in a turn of a pipeline and the conditions that stand after it; `before` is the turn before.
    pub(super) fn take(&self, picture: &Picture, before: Option<&Picture>, conditions: Vec<Stand>) {
        let mut counts = self.sheet.counts();
        let counts = &mut *counts;
        counts.conditions.insert(picture.glance.id.clone(), conditions);
        for heard in &picture.heard {
            counts.visits.take_news(heard, before);
        }
        let stages = counts.stages.entry(picture.glance.id.clone()).or_default();
        let meant = picture.situation.as_ref().map(|situation| &situation.pipeline.stages);
        stages.retain(|stage| meant.is_some_and(|all| all.iter().any(|s| s.name == stage.name)));
        for verdict in &picture.verdicts {
            // One who does not lead holds nothing back; it is counted once, by the one who would have moved.
            let stage = counts_of(stages, &verdict.stage.name);
            stage.take_hold(verdict, picture.may_act);
            if picture.may_act {
                stage.take_interruptions(verdict);
            }
        }
        if let (true, Some(meant), Some(hours)) = (picture.may_act, meant, hours(picture, before)) {
            for (stage, costs) in meant.iter().zip(&picture.glance.costs) {
                let pools: Vec<_> = stage.lanes.iter().map(|lane| &lane.pool).collect();
                for (pool, saved) in counts.fares.saved(&pools, costs) {
                    let sums = &mut counts_of(stages, &stage.name).saved;
                    *sums.entry(Arc::clone(pool)).or_default() += saved * hours;
                }
            }
        }
        let outcomes = picture.situation.iter().flat_map(|situation| &situation.outcomes);
        for (_, outcome) in outcomes {
            let (Action::Scale(scale) | Action::StartJobs(StartJobs { scale, .. })) =
                &outcome.action
            else {
                continue;
            };
            if scale.from != scale.to && matches!(outcome.result, Ending::Done { .. }) {
                let direction = if scale.to > scale.from { "up" } else { "down" };
                let stage = counts_of(stages, &scale.stage.name);
                stage.moves.count((direction, scale.why.code()));
            }
        }
    }

    pub(super) fn forget(&self, pipeline: &PipelineId) {
        let mut counts = self.sheet.counts();
        counts.stages.remove(pipeline);
        counts.conditions.remove(pipeline);
    }
}

/// The counts of a stage, from nothing when it is new.
fn counts_of<'a>(stages: &'a mut Vec<StageCounts>, name: &Arc<str>) -> &'a mut StageCounts {
    let at = stages.binary_search_by(|stage| stage.name.cmp(name)).unwrap_or_else(|at| {
        let (moves, holds) = (Tally(Vec::new()), Tally(Vec::new()));
        let (name, interruptions, saved) = (Arc::clone(name), BTreeMap::new(), BTreeMap::new());
        let new = StageCounts { name, moves, holds, interruptions, saved, holding: None };
        stages.insert(at, new);
        at
    });
    &mut stages[at]
}

impl StageCounts {
    fn take_interruptions(&mut self, verdict: &Verdict) {
        for lane in &verdict.lanes {
            for (survived, pods) in [(true, lane.survived), (false, lane.missed)] {
                if pods != 0 {
                    let key = (Arc::clone(&lane.pool), survived);
                    *self.interruptions.entry(key).or_default() += u64::from(pods);
                }
            }
        }
    }

    fn take_hold(&mut self, verdict: &Verdict, may_act: bool) {
        let holding = verdict.reason().filter(|reason| may_act && reason.is_hold());
        let holding = holding.map(Reason::code);
        if let Some(code) = holding
            && self.holding != holding
        {
            self.holds.count(code);
        }
        self.holding = holding;
    }
}

impl Sheet {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
