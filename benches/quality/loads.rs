//! The loads of the benchmark and the world they fall on: real traces of `tests/data/traces` and made-up shapes, each scaled to a peak
//! of 28 replicas. Which three days of a long trace are played depends on the seed, so that no policy is judged by one week.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use penstock::simulate::{
    Diurnal, Flash, Join, Outage, Peak, Pulses, Ragged, Ramp, Rare, Scenario, Shape, Span, Spikes,
    Startup, Steps, Switching, Trace, Week, Workload,
};

use crate::arena::Round;

const DAY: u32 = 86_400;
/// Items a second of one replica, nominally.
const RATE: f64 = 100.0;
/// Replicas that the highest minute needs.
const PEAK: f64 = 28.0;

/// A load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// What the table calls it.
    pub(crate) name: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Text of the trace, and what is between its rows.
    Real(&'static str, Join),
    /// Shape, days it lasts, the first of which is warm-up, and the least replicas.
    Made(fn() -> Shape, u32, u32),
    /// Shape, for a pipeline of several stages, each of which may keep an item as long as a single one may.
    Chain(fn() -> Shape),
}

/// What is asked for, and what it is asked of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Terms {
    /// L: the delay to keep, in seconds.
    pub(crate) deadline: f64,
    /// S: seconds from a write to Ready.
    pub(crate) startup: f64,
}

impl Terms {
    /// Those of the table.
    pub(crate) const USUAL: Self = Self { deadline: 60.0, startup: 45.0 };
}

/// All loads: real ones first.
pub(crate) const LOADS: [Load; 20] = [
    Load::real("worldcup98", include_str!("../../tests/data/traces/worldcup98.csv"), Join::Hold),
    Load::real("service-0", include_str!("../../tests/data/traces/service-0.csv"), Join::Hold),
    Load::real("service-9", include_str!("../../tests/data/traces/service-9.csv"), Join::Hold),
    Load::real("service-11", include_str!("../../tests/data/traces/service-11.csv"), Join::Hold),
    Load::real("llm-code", include_str!("../../tests/data/traces/llm-code.csv"), Join::Hold),
    Load::real("taxi", include_str!("../../tests/data/traces/taxi.csv"), Join::Linear),
    Load::made("step", || Shape::Steps(Steps::default())),
    Load::made("ramp", || Shape::Ramp(Ramp::default())),
    Load::made("diurnal", || Shape::Diurnal(Diurnal::default())),
    Load::made("mmpp", || Shape::Switching(Switching::default())),
    Load::made("flash", || Shape::Flash(Flash::default())),
    Load::made("outage", || Shape::Outage(Outage::default())),
    Load { name: "week", kind: Kind::Made(|| Shape::Week(Week::default()), 8, 1) },
    Load { name: "zero", kind: Kind::Made(|| Shape::Rare(Rare::default()), 3, 0) },
    Load::made("spikes", || Shape::Spikes(Spikes::default())),
    Load::made("pulses-2m", || pulses(120.0)),
    Load::made("pulses-4m", || pulses(240.0)),
    Load::made("pulses-10m", || pulses(600.0)),
    Load::made("ragged", || Shape::Ragged(Ragged::default())),
    Load { name: "four-stages", kind: Kind::Chain(|| Shape::Diurnal(Diurnal::default())) },
];

/// Half the time high, by the clock.
fn pulses(every: f64) -> Shape {
    let lasts = Span::of(every / 2.0);
    Shape::Pulses(Pulses { every: Span::of(every), lasts, ..Pulses::default() })
}

/// A pipeline of one stage; the rest is set load by load.
pub(crate) const BASE: &str = "
pipeline:
  apiVersion: penstock.dev/v1alpha1
  kind: ScaledPipeline
  metadata: {name: quality, namespace: default}
  spec:
    objective: {maxDelay: 60s}
    stages:
    - name: work
      target: {kind: Deployment, name: work}
      replicas: {min: 1, max: 48}
      sources:
      - name: items
        kafka: {bootstrapServers: 'kafka:9092', topics: [items], group: work}
workload: {steady: {}, peakRate: 1}
world: {rate: 100}
duration: 3d
warmup: 1d
";

/// Two first stages that feed a third, which makes three items of each, of which the last keeps a third.
const CHAIN: &str = "
pipeline:
  apiVersion: penstock.dev/v1alpha1
  kind: ScaledPipeline
  metadata: {name: quality, namespace: default}
  spec:
    objective: {maxDelay: 180s}
    stages:
    - name: read
      target: {kind: Deployment, name: read}
      replicas: {min: 1, max: 48}
      sources:
      - name: read
        kafka: {bootstrapServers: 'kafka:9092', topics: [read], group: read}
    - name: listen
      target: {kind: Deployment, name: listen}
      replicas: {min: 1, max: 48}
      sources:
      - name: listen
        kafka: {bootstrapServers: 'kafka:9092', topics: [listen], group: listen}
    - name: parse
      after: [read, listen]
      target: {kind: Deployment, name: parse}
      replicas: {min: 1, max: 48}
      sources:
      - name: parse
        kafka: {bootstrapServers: 'kafka:9092', topics: [parse], group: parse}
    - name: store
      after: [parse]
      target: {kind: Deployment, name: store}
      replicas: {min: 1, max: 48}
      sources:
      - name: store
        kafka: {bootstrapServers: 'kafka:9092', topics: [store], group: store}
world: {rate: 100}
stages:
  read: {workload: {steady: {}, peakRate: 1}}
  listen: {workload: {steady: {}, peakRate: 1}}
  parse: {rate: 200, selectivity: {read: 1, listen: 0.3}}
  store: {rate: 400, selectivity: 3}
duration: 3d
warmup: 1d
";

impl Load {
    const fn real(name: &'static str, text: &'static str, join: Join) -> Self {
        Self { name, kind: Kind::Real(text, join) }
    }

    const fn made(name: &'static str, shape: fn() -> Shape) -> Self {
        Self { name, kind: Kind::Made(shape, 3, 1) }
    }

    /// Is it a trace of something real?
    pub(crate) fn is_real(&self) -> bool {
        matches!(self.kind, Kind::Real(..))
    }

    /// What is said of it above its rows.
    pub(crate) fn title(&self, rounds: &[&Round]) -> String {
        let kind = if self.is_real() { "real" } else { "made up" };
        let beside = rounds.iter().find_map(|round| Some((round, round.beside?)));
        let beside = beside.map(|(round, (feasible, shared))| {
            let [work, feasible, shared] =
                [round.work, feasible, shared].map(|cost| cost / round.bound);
            format!(
                "; of its first bound work alone is {work:.3}, a feasible plan {feasible:.3}, a bound that knows partitions {shared:.3}"
            )
        });
        let count = f64::from(u32::try_from(rounds.len()).unwrap_or(u32::MAX));
        let mean = rounds.iter().map(|round| round.bound / round.seconds).sum::<f64>() / count;
        let beside = beside.unwrap_or_default();
        format!("{} ({kind}): bound {mean:.2} replicas in the mean{beside}", self.name)
    }

    /// The scenario for a seed, from 1.
    pub(crate) fn scenario(&self, terms: Terms, seed: u64) -> Result<Scenario> {
        let base = if matches!(self.kind, Kind::Chain(_)) { CHAIN } else { BASE };
        let mut scenario = Scenario::read(base, Path::new("."))?;
        let (shape, least) = match self.kind {
            Kind::Real(text, join) => {
                let whole = Trace::read(text, Span::of(0.0), join, false).context(self.name)?;
                let length = Span::of(whole.seconds().floor()).steps();
                let from = if 3 * DAY <= length {
                    // A stride that meets other days and weekdays with each seed.
                    let starts = u64::from(length / DAY - 2);
                    f64::from(DAY) * f64::from(u32::try_from((5 * seed + 2) % starts)?)
                } else {
                    (scenario.duration, scenario.warmup) = (length, length / 3);
                    0.0
                };
                (Shape::Trace(Trace::read(text, Span::of(from), join, false)?), 1)
            }
            Kind::Made(shape, days, least) => {
                scenario.duration = days * DAY;
                (shape(), least)
            }
            Kind::Chain(shape) => (shape(), 1),
        };
        let mut workload = Workload { shape, peak: Peak::AsIs, dispersion: 0.0 };
        let rates = workload.rates(scenario.duration, RATE, seed, 0);
        let highest = rates.iter().copied().fold(0.0, f64::max);
        let minutes = rates.chunks(60).map(|minute| minute.iter().sum::<f64>() / 60.0);
        workload.peak = Peak::Rate(PEAK * RATE * highest / minutes.fold(0.0, f64::max));
        workload.dispersion = 1.0;
        let pipeline = Arc::make_mut(&mut scenario.pipeline);
        for stage in &mut pipeline.stages {
            stage.max_delay = Some(Duration::from_secs_f64(terms.deadline));
            stage.min = least;
        }
        for stage in &mut scenario.stages {
            stage.ground.startup = Startup::Fixed(Span::of(terms.startup));
            if stage.feeds.is_empty() {
                stage.workload = Some(workload.clone());
            }
        }
        Ok(scenario)
    }
}
