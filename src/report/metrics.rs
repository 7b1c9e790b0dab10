//! The metrics: what stands in the latest pictures, and counts of what ticks told. A deleted pipeline's series vanish because nothing
//! of it is kept. The tellers feed them; `answer` prints them as OpenMetrics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::{Picture, Polls, Requests, Standing, Tick};
use crate::decide::{Action, Ending, PipelineId, Reason, Situation, Verdict};

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
pub(super) struct Sheet {
    pub(super) standing: Standing,
    pub(super) requests: Requests,
    pub(super) leads: watch::Receiver<bool>,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) stages: BTreeMap<PipelineId, BTreeMap<Arc<str>, StageCounts>>,
    pub(super) turns: Histogram,
    pub(super) visits: Histogram,
    pub(super) lateness: f64,
    pub(super) violations: u64,
    /// Turns recorded and turns lost; `None` when nothing is recorded.
    pub(super) recorded: Option<(u64, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct StageCounts {
    /// By direction and reason.
    pub(super) moves: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) holds: BTreeMap<&'static str, u64>,
    /// The hold that stands now, so that each is counted once.
    holding: Option<&'static str>,
    /// By source.
    pub(super) polls: BTreeMap<Arc<str>, Polls>,
}

#[derive(Debug, Default)]
pub(super) struct Histogram {
    pub(super) sum: f64,
    pub(super) count: u64,
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

    /// Bounds and counts, each bucket by itself; the last has no bound.
    pub(super) fn cells(&self) -> Vec<(f64, u64)> {
        let inside: u64 = self.buckets.iter().sum();
        let bounded = BUCKETS.iter().copied().zip(self.buckets);
        bounded.chain([(f64::INFINITY, self.count - inside)]).collect()
    }
}

impl Metrics {
    pub(super) fn new(
        standing: Standing,
        requests: Requests,
        leads: watch::Receiver<bool>,
    ) -> Self {
        let sheet = Sheet { standing, requests, leads, counts: Arc::default() };
        let mut registry = Registry::with_prefix("penstock");
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
        counts.turns.take(tick.took.as_secs_f64());
        counts.lateness = tick.lateness.as_secs_f64();
        counts.violations += u64::from(tick.step.plan.violations);
    }

    /// Counts turns that were recorded, and turns that could not be.
    pub(super) fn count_recorded(&self, written: u64, lost: u64) {
        let mut counts = self.sheet.counts();
        let (before, lost_before) = counts.recorded.unwrap_or_default();
        counts.recorded = Some((before + written, lost_before + lost));
    }

    pub(super) fn take(&self, picture: &Picture) {
        let mut counts = self.sheet.counts();
        let stages = counts.stages.entry(picture.glance.id.clone()).or_default();
        let meant = picture.situation.as_ref().map(|situation| &situation.pipeline.stages);
        stages.retain(|name, _| meant.is_some_and(|all| all.iter().any(|s| s.name == *name)));
        for verdict in &picture.verdicts {
            let stage = stages.entry(Arc::clone(&verdict.stage.name)).or_default();
            stage.take_hold(verdict);
        }
        let Some(situation) = &picture.situation else { return };
        count_moves(situation, stages);
        let mut visits = Vec::new();
        for stage in &situation.pipeline.stages {
            let counts = stages.entry(Arc::clone(&stage.name)).or_default();
            let named = |name: &Arc<str>| stage.sources.iter().any(|source| source.name == *name);
            counts.polls.retain(|name, _| named(name));
            for source in &stage.sources {
                if let Some(polls) = picture.polls.get(&source.question) {
                    visits.extend(counts.take_polls(&source.name, *polls));
                }
            }
        }
        for took in visits {
            counts.visits.take(took);
        }
    }

    pub(super) fn forget(&self, pipeline: &PipelineId) {
        self.sheet.counts().stages.remove(pipeline);
    }
}

fn count_moves(situation: &Situation, stages: &mut BTreeMap<Arc<str>, StageCounts>) {
    for (_, outcome) in &situation.outcomes {
        if let (Action::Scale(scale), Ending::Done { .. }) = (&outcome.action, &outcome.result) {
            let direction = if scale.to > scale.from { "up" } else { "down" };
            let stage = stages.entry(Arc::clone(&scale.stage.name)).or_default();
            *stage.moves.entry((direction, scale.why.code())).or_default() += 1;
        }
    }
}

impl StageCounts {
    fn take_hold(&mut self, verdict: &Verdict) {
        let holding = verdict.reason().map(Reason::code).filter(|code| is_hold(code));
        if let Some(code) = holding
            && self.holding != holding
        {
            *self.holds.entry(code).or_default() += 1;
        }
        self.holding = holding;
    }

    /// How often a source was asked so far. Returns how long the latest visit took, if it is news.
    fn take_polls(&mut self, source: &Arc<str>, polls: Polls) -> Option<f64> {
        let before = self.polls.insert(Arc::clone(source), polls).unwrap_or_default();
        let total = |polls: Polls| polls.fresh + polls.partial + polls.failed;
        (total(before) != total(polls)).then_some(polls.took.as_secs_f64())
    }
}

/// Reasons that keep a stage from what it wishes.
fn is_hold(code: &str) -> bool {
    matches!(
        code,
        "HeldByWindow"
            | "HeldSinceStart"
            | "HeldByUpWindow"
            | "LimitedByPolicy"
            | "DirectionDisabled"
            | "WithinTolerance"
            | "HeldBySilence"
            | "AwaitingPods"
            | "NoFreshData"
            | "AwaitingData"
            | "OffsetsReset"
            | "NoSources"
            | "Observed"
            | "Paused"
            | "PinnedByAnnotation"
            | "WriterConflict"
            | "HpaOnTarget"
            | "TargetTaken"
            | "TargetUnusable"
            | "OutcomeUnknown"
            | "FleetBudget"
            | "WriteRefused"
            | "PromiseBroken"
            | "InternalError"
    )
}

impl Sheet {
    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
