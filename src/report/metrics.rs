//! The metrics: what stands in the latest pictures, and counts of what ticks told. A deleted pipeline's series vanish because nothing
//! of it is kept. The tellers feed them; `answer` prints them as OpenMetrics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
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
struct Sheet {
    standing: Standing,
    requests: Requests,
    leads: watch::Receiver<bool>,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    stages: BTreeMap<PipelineId, BTreeMap<Arc<str>, StageCounts>>,
    turns: Histogram,
    visits: Histogram,
    lateness: f64,
    violations: u64,
}

#[derive(Debug, Default)]
struct StageCounts {
    /// By direction and reason.
    moves: BTreeMap<(&'static str, &'static str), u64>,
    holds: BTreeMap<&'static str, u64>,
    /// The hold that stands now, so that each is counted once.
    holding: Option<&'static str>,
    /// By source.
    polls: BTreeMap<Arc<str>, Polls>,
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
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

fn stage_labels<'a>(pipeline: &'a PipelineId, stage: &'a str) -> Labels<'a> {
    vec![("namespace", &pipeline.namespace), ("pipeline", &pipeline.name), ("stage", stage)]
}

/// A gauge of each stage, where its picture has one.
type Gauge = (&'static str, &'static str, fn(&Verdict) -> Option<f64>);

#[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
const STAGE_GAUGES: [Gauge; 6] = [
    ("stage_lag_messages", "Items waiting.", |v| v.signals.lag.map(|lag| lag as f64)),
    ("stage_delay_seconds", "Age of the oldest item waiting.", |v| v.signals.delay),
    ("stage_objective_seconds", "Age that it may reach.", |v| v.signals.objective),
    ("stage_arrival_rate", "Items a second that arrive.", |v| v.signals.arrival_rate),
    ("stage_service_rate", "Items a second that one replica gets through.", |v| {
        v.signals.rate_per_replica
    }),
    ("stage_resolution_seconds", "Finest delay that can be seen.", |v| v.signals.resolution),
];

impl Collector for Sheet {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let pictures = self.standing.all();
        encode_replicas(&mut to, &pictures)?;
        for (name, help, value) in STAGE_GAUGES {
            let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for picture in &pictures {
                for verdict in &picture.verdicts {
                    if let Some(value) = value(verdict).filter(|value| value.is_finite()) {
                        let labels = stage_labels(&verdict.stage.pipeline, &verdict.stage.name);
                        family.encode_family(&labels)?.encode_gauge(&value)?;
                    }
                }
            }
        }
        encode_sources(&mut to, &pictures)?;
        let counts = self.counts();
        encode_stage_counts(&mut to, &counts)?;
        encode_process(&mut to, &counts, *self.leads.borrow())?;
        drop(counts);
        let help = "Requests to the API server; code is error when no answer came.";
        let mut family = to.encode_descriptor("api_requests", help, None, MetricType::Counter)?;
        for ((verb, resource, code), count) in self.requests.counts() {
            let labels: Labels<'_> = vec![("verb", verb), ("resource", &resource), ("code", &code)];
            encode_count(&mut family, &labels, count)?;
        }
        Ok(())
    }
}

fn encode_count(family: &mut MetricEncoder<'_>, labels: &Labels<'_>, count: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<Labels<'_>, u64, f64>(&count, None)
}

fn encode_replicas(to: &mut DescriptorEncoder<'_>, pictures: &[Arc<Picture>]) -> fmt::Result {
    let help = "Replicas: there are, are ready, should be, may be.";
    let mut family = to.encode_descriptor("stage_replicas", help, None, MetricType::Gauge)?;
    for picture in pictures {
        let Some(situation) = &picture.situation else { continue };
        for (index, stage) in situation.pipeline.stages.iter().enumerate() {
            let workload = picture.workload(index);
            let states = [
                ("current", workload.map(|workload| workload.current)),
                ("ready", workload.map(|workload| workload.ready)),
                ("desired", picture.verdicts.get(index).and_then(|verdict| verdict.replicas)),
                ("min", Some(stage.min)),
                ("max", Some(stage.max)),
            ];
            for (state, replicas) in states {
                let Some(replicas) = replicas else { continue };
                let mut labels = stage_labels(&picture.glance.id, &stage.name);
                labels.push(("state", state));
                family.encode_family(&labels)?.encode_gauge(&f64::from(replicas))?;
            }
        }
    }
    Ok(())
}

fn encode_sources(to: &mut DescriptorEncoder<'_>, pictures: &[Arc<Picture>]) -> fmt::Result {
    let help = "1 when the latest reading is complete and young.";
    let mut family = to.encode_descriptor("source_up", help, None, MetricType::Gauge)?;
    for picture in pictures {
        let Some(situation) = &picture.situation else { continue };
        for stage in &situation.pipeline.stages {
            for source in &stage.sources {
                let Some(seen) = picture.observations.get(&source.question) else { continue };
                let mut labels = stage_labels(&picture.glance.id, &stage.name);
                labels.push(("source", &source.name));
                let up = f64::from(u8::from(seen.is_fresh()));
                family.encode_family(&labels)?.encode_gauge(&up)?;
            }
        }
    }
    Ok(())
}

fn encode_stage_counts(to: &mut DescriptorEncoder<'_>, counts: &Counts) -> fmt::Result {
    let stages = || {
        counts.stages.iter().flat_map(|(pipeline, stages)| {
            stages.iter().map(move |(name, stage)| (stage_labels(pipeline, name), stage))
        })
    };
    let help = "Writes of a replica count that were taken.";
    let mut family = to.encode_descriptor("scale_moves", help, None, MetricType::Counter)?;
    for (labels, stage) in stages() {
        for ((direction, reason), count) in &stage.moves {
            let mut labels = labels.clone();
            labels.extend([("direction", *direction), ("reason", *reason)]);
            encode_count(&mut family, &labels, *count)?;
        }
    }
    let help = "Times that a stage began to be held back.";
    let mut family = to.encode_descriptor("holds", help, None, MetricType::Counter)?;
    for (labels, stage) in stages() {
        for (reason, count) in &stage.holds {
            let mut labels = labels.clone();
            labels.push(("reason", reason));
            encode_count(&mut family, &labels, *count)?;
        }
    }
    let help = "Times that a source was asked: fresh, partial or failed.";
    let mut family = to.encode_descriptor("source_polls", help, None, MetricType::Counter)?;
    for (labels, stage) in stages() {
        for (source, polls) in &stage.polls {
            let results =
                [("fresh", polls.fresh), ("partial", polls.partial), ("failed", polls.failed)];
            for (result, count) in results.into_iter().filter(|(_, count)| *count > 0) {
                let mut labels = labels.clone();
                labels.extend([("source", source.as_ref()), ("result", result)]);
                encode_count(&mut family, &labels, count)?;
            }
        }
    }
    Ok(())
}

fn encode_process(to: &mut DescriptorEncoder<'_>, counts: &Counts, leads: bool) -> fmt::Result {
    let version: Labels<'_> = vec![("version", env!("CARGO_PKG_VERSION"))];
    to.encode_descriptor("build", "What runs.", None, MetricType::Info)?.encode_info(&version)?;
    to.encode_descriptor("leader", "1 when this replica leads.", None, MetricType::Gauge)?
        .encode_gauge(&f64::from(u8::from(leads)))?;
    let help = "How long a turn of the loop took.";
    let turns = &counts.turns;
    to.encode_descriptor("turn_duration_seconds", help, None, MetricType::Histogram)?
        .encode_histogram::<Labels<'_>>(turns.sum, turns.count, &turns.cells(), None)?;
    let help = "How long a visit to a source took, by each question that it asked.";
    let visits = &counts.visits;
    to.encode_descriptor("source_poll_duration_seconds", help, None, MetricType::Histogram)?
        .encode_histogram::<Labels<'_>>(visits.sum, visits.count, &visits.cells(), None)?;
    let help = "How long after it was due the latest turn began.";
    to.encode_descriptor("turn_lateness_seconds", help, None, MetricType::Gauge)?
        .encode_gauge(&counts.lateness)?;
    let help = "Decisions that broke a promise of Penstock's own; always 0.";
    to.encode_descriptor("invariant_violations", help, None, MetricType::Counter)?
        .encode_counter::<Labels<'_>, u64, f64>(&counts.violations, None)
}
