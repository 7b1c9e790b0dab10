//! Flink's autoscaler, which is DS2 with a catch-up: the true processing rate of the tasks against the rate of arrivals at a target
//! utilization. Used by the simulator for a single source vertex; alignment to partitions is in `align`.
//!
//! Source: `apache/flink-kubernetes-operator`, `flink-autoscaler`: `ScalingMetricEvaluator`, `JobVertexScaler`, `DelayedScaleDown`,
//! `utils/AutoScalerUtils`; defaults from `config/AutoScalerOptions`. The estimate of capacity is that of DS2 (Kalavri and others,
//! "Three steps is all you need", OSDI 2018). Two things differ from a real job: the busy time is the mean over tasks where Flink takes
//! the busiest one's, since that is what the world shows, and a rescale costs what the world says, not a restart of the whole job.

use super::hpa::{ceil, whole};
use super::window::Highs;
use super::{count, lag};
use crate::simulate::{Policy, View};

/// Settings of the autoscaler. Seconds.
#[derive(Debug, Clone, Copy)]
pub struct FlinkSettings {
    /// `utilization.target`. Default 0.7.
    pub utilization: f64,
    /// Half the width of the band in which nothing moves (`target.utilization.boundary`). Default 0.3: 0.4 to 1.0.
    pub boundary: f64,
    /// `metrics.window`: it must be full before a decision. Default 900.
    pub window: f64,
    /// `stabilization.interval`: no measuring for so long after a rescale. Default 300.
    pub stabilization: f64,
    /// `scale-down.interval`: a lower parallelism must have been enough for so long. Default 3600.
    pub down_interval: f64,
    /// `catch-up.duration`: what waits is to be done in so long. Default 1800.
    pub catch_up: f64,
    /// `restart.time` that is expected. Default 300.
    pub restart: f64,
    /// `scale-down.max-factor`: share of the parallelism that may go at once. Default 0.6.
    pub max_down: f64,
    /// `scale-up.max-factor`: how many times the parallelism may be added at once. Default 100,000.
    pub max_up: f64,
    /// `vertex.max-parallelism`. Default 200.
    pub max_parallelism: u32,
    /// `backlog-processing.lag-threshold`: with more lag than this, in seconds of processing, only a real shortage moves it. Default 300.
    pub backlog: f64,
    /// `observed-true-processing-rate.lag-threshold`: with more lag than this the rate itself is a true rate. Default 30.
    pub observed_lag: f64,
    /// `observed-true-processing-rate.switch-threshold`. Default 0.15.
    pub observed_switch: f64,
    /// Seconds between reconciliations (`kubernetes.operator.reconcile.interval`). Default 60.
    pub interval: f64,
}

impl Default for FlinkSettings {
    fn default() -> Self {
        Self {
            utilization: 0.7,
            boundary: 0.3,
            window: 900.0,
            stabilization: 300.0,
            down_interval: 3600.0,
            catch_up: 1800.0,
            restart: 300.0,
            max_down: 0.6,
            max_up: 100_000.0,
            max_parallelism: 200,
            backlog: 300.0,
            observed_lag: 30.0,
            observed_switch: 0.15,
            interval: 60.0,
        }
    }
}

/// One collection of metrics.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: f64,
    arrived: f64,
    processed: f64,
    lag: f64,
    busy: f64,
}

/// What a full window says of the vertex. Items a second.
#[derive(Debug, Clone, Copy)]
struct Evaluated {
    /// Rate of arrivals.
    target: f64,
    /// What the present tasks could process.
    true_rate: f64,
    lag: f64,
    is_backlog: bool,
}

/// The autoscaler of a job with one source vertex.
#[derive(Debug, Clone)]
pub struct Flink {
    settings: FlinkSettings,
    samples: Vec<Sample>,
    /// Since when the job runs as it does.
    running: f64,
    /// The first wish for less of those that have not been answered yet.
    down_since: Option<f64>,
    /// Wishes for less: inside and outside the band.
    downs: [Highs; 2],
}

impl Flink {
    /// A job that was just started.
    pub fn new(settings: FlinkSettings) -> Self {
        let downs = [Highs::default(), Highs::default()];
        Self { settings, samples: Vec::new(), running: 0.0, down_since: None, downs }
    }

    /// Collects metrics. True once the window is full.
    fn collect(&mut self, view: &View<'_>) -> bool {
        if view.ready != view.desired || view.current != view.desired {
            // The job restarts: what was measured belongs to another topology.
            self.running = view.at;
            self.samples.clear();
        }
        let (Some(queue), true) =
            (&view.queue, self.running + self.settings.stabilization <= view.at)
        else {
            return false;
        };
        self.samples.push(Sample {
            at: view.at,
            arrived: queue.arrived,
            processed: queue.committed,
            lag: lag(queue),
            busy: view.busy,
        });
        let window = self.settings.window;
        let is_full = self.samples.first().is_some_and(|first| first.at + window <= view.at);
        self.samples.retain(|sample| view.at - window <= sample.at);
        is_full
    }

    /// The window's averages.
    fn evaluate(&self) -> Option<Evaluated> {
        let (first, last) = (self.samples.first()?, self.samples.last()?);
        let seconds = last.at - first.at;
        if seconds <= 0.0 {
            return None;
        }
        let FlinkSettings { backlog, observed_lag, observed_switch, .. } = self.settings;
        let rate = (last.processed - first.processed) / seconds;
        let target = ((last.arrived - first.arrived) / seconds).max(0.0);
        let busy = self.samples.iter().map(|sample| sample.busy).sum::<f64>();
        let busy = busy / count(self.samples.len());
        let by_busy = if rate <= 0.0 { f64::INFINITY } else { rate / busy };
        // While enough waits, tasks never idle, and what they do is what they can.
        let pairs = self.samples.windows(2).filter_map(|pair| match pair {
            [before, now] if observed_lag * rate <= now.lag => {
                Some((now.processed - before.processed) / (now.at - before.at))
            }
            _ => None,
        });
        let observed: Vec<f64> = pairs.collect();
        let is_enough = 2 <= observed.len() && 0.0 < rate;
        let mean = observed.iter().sum::<f64>() / count(observed.len()).max(1.0);
        let true_rate =
            if is_enough && (1.0 + observed_switch) * mean < by_busy { mean } else { by_busy };
        let is_backlog = backlog < last.lag / rate;
        Some(Evaluated { target, true_rate, lag: last.lag, is_backlog })
    }

    /// The rate that tasks must be able to process: arrivals at the given utilization, what waits, and what a restart lets wait.
    fn capacity(&self, seen: &Evaluated, utilization: f64, with_restart: bool) -> f64 {
        let FlinkSettings { catch_up, restart, .. } = self.settings;
        let utilization = utilization.clamp(0.0, 1.0);
        if utilization <= 0.0 {
            return f64::INFINITY;
        }
        let waiting = if catch_up <= 0.0 { 0.0 } else { seen.lag / catch_up };
        let restarting =
            if with_restart && 0.0 < catch_up { seen.target * restart / catch_up } else { 0.0 };
        (waiting + restarting + seen.target / utilization).round()
    }

    /// Is the true rate outside the band?
    fn is_outside(&self, seen: &Evaluated) -> bool {
        let FlinkSettings { utilization, boundary, .. } = self.settings;
        let (low, high) = if seen.is_backlog {
            (0.0, 1.0)
        } else {
            (utilization - boundary, utilization + boundary)
        };
        seen.true_rate < self.capacity(seen, high, false)
            || self.capacity(seen, low, true) < seen.true_rate
    }

    /// The parallelism wanted now.
    fn scale(&mut self, view: &View<'_>, partitions: u32, seen: &Evaluated) -> u32 {
        let present = view.desired;
        let FlinkSettings { utilization, max_down, max_up, max_parallelism, .. } = self.settings;
        let factor = self.capacity(seen, utilization, true) / seen.true_rate;
        let factor = factor.max(1.0 - max_down).min(1.0 + max_up);
        let least = view.min.max(1).min(present);
        let most = view.max.min(max_parallelism).max(present);
        let wished = ceil(factor * f64::from(present)).max(least).min(most);
        let wished = align(present, wished, partitions, least, most);
        let is_outside = self.is_outside(seen);
        if present <= wished {
            self.forget_downs();
            return if is_outside { wished } else { present };
        }
        self.delay(view.at, wished, is_outside)
            .filter(|(_, outside)| *outside)
            .map_or(present, |(wished, _)| wished)
    }

    /// Holds a wish for less until the interval has passed since the first, then gives the largest within it.
    fn delay(&mut self, at: f64, wished: u32, is_outside: bool) -> Option<(u32, bool)> {
        let interval = self.settings.down_interval;
        if interval <= 0.0 {
            return Some((wished, is_outside));
        }
        let since = *self.down_since.get_or_insert(at);
        let [inside, outside] = &mut self.downs;
        let highs = if is_outside { &mut *outside } else { &mut *inside };
        highs.push(at, wished);
        if at - interval < since {
            return None;
        }
        let inside = inside.largest_since(at - interval);
        let outside = outside.largest_since(at - interval);
        match (inside, outside) {
            (Some(inside), Some(outside)) if outside < inside => Some((inside, false)),
            (_, Some(outside)) => Some((outside, true)),
            (Some(inside), None) => Some((inside, false)),
            (None, None) => None,
        }
    }

    fn forget_downs(&mut self) {
        self.down_since = None;
        for highs in &mut self.downs {
            highs.clear();
        }
    }
}

/// The parallelism near the wish at which partitions spread well: the next divisor, or the next at which a task gets fewer whole
/// partitions; else the least at which it gets no more. Never across the present parallelism.
pub(super) fn align(present: u32, wished: u32, partitions: u32, least: u32, most: u32) -> u32 {
    if partitions == 0 || wished == present {
        return wished;
    }
    let wished = wished.min(partitions.max(1));
    let is_up = present < wished;
    let end = if is_up { most.min(partitions) } else { most.min(partitions).min(present) };
    let better = |p: &u32| partitions.is_multiple_of(*p) || partitions / p < partitions / wished;
    if let Some(found) = (wished.max(1)..=end).find(better) {
        return found;
    }
    let more = (1..=wished).rev().find(|p| partitions / wished < partitions / p);
    let found = match more {
        Some(p) if partitions.is_multiple_of(p) => p,
        Some(p) => p + 1,
        None => 0,
    };
    let found = found.max(least);
    let is_inverted = if is_up { found <= present } else { present <= found };
    if is_inverted { present } else { found }
}

impl Policy for Flink {
    fn name(&self) -> String {
        let FlinkSettings { utilization, boundary, window, .. } = self.settings;
        let FlinkSettings { stabilization, down_interval, .. } = self.settings;
        format!(
            "flink (target {utilization} +- {boundary}, window {window} s, pause {stabilization} s, down {down_interval} s)"
        )
    }

    fn period(&self) -> f64 {
        self.settings.interval
    }

    fn decide(&mut self, view: &View<'_>) -> u32 {
        let floor = view.min.max(1);
        if view.desired < floor {
            return floor;
        }
        if !self.collect(view) {
            return view.desired;
        }
        let partitions =
            view.queue.as_ref().map_or(0, |queue| whole(count(queue.partitions.len())));
        let Some(seen) = self.evaluate() else { return view.desired };
        let wanted = self.scale(view, partitions, &seen);
        if wanted != view.desired {
            self.running = view.at;
            self.samples.clear();
            self.forget_downs();
        }
        wanted
    }
}
