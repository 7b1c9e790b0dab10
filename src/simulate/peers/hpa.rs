//! The HorizontalPodAutoscaler's arithmetic for external metrics with an average value per replica, which is what KEDA gives it, with
//! and without `behavior`. Used by `keda` and `cpu`; where the metrics come from is not its matter.
//!
//! Source: Kubernetes 1.36, `pkg/controller/podautoscaler/horizontal.go` and `replica_calculator.go`; defaults from
//! `pkg/apis/autoscaling/v2/defaults.go` and `pkg/controller/podautoscaler/config/v1alpha1/defaults.go`.

use std::cmp::Ordering;

use crate::decide::{Behaviour, Policy as Limit, Rules, Select, Unit};
use crate::simulate::View;

/// Settings of the controller and of one object.
#[derive(Debug, Clone)]
pub struct HpaSettings {
    /// Seconds between two looks (`--horizontal-pod-autoscaler-sync-period`). Default 15.
    pub sync: f64,
    /// A ratio of usage to target this near to 1 changes nothing (`--horizontal-pod-autoscaler-tolerance`). Default 0.1.
    pub tolerance: f64,
    /// Seconds in which the largest recommendation counts against a lower one
    /// (`--horizontal-pod-autoscaler-downscale-stabilization`). Default 300.
    pub window: f64,
    /// `spec.behavior`; `None`, the default, is also how KEDA makes its objects. In what is written, an empty list of policies or a
    /// window of `None` stands for the defaults of the API; a direction's own tolerance goes before the controller's.
    pub behavior: Option<Behaviour>,
}

impl Default for HpaSettings {
    fn default() -> Self {
        Self { sync: 15.0, tolerance: 0.1, window: 300.0, behavior: None }
    }
}

/// One external metric of an object.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// What the metrics server answers; `None` when it fails.
    pub value: Option<f64>,
    /// `averageValue`: how much of it one replica is good for.
    pub target: f64,
}

/// What one reconciliation sees.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// Seconds.
    pub at: f64,
    /// The target's `spec.replicas`.
    pub spec: u32,
    /// The target's `status.replicas`: pods that exist, Ready or not.
    pub status: u32,
    /// `minReplicas`.
    pub min: u32,
    /// `maxReplicas`.
    pub max: u32,
    /// All metrics of the object.
    pub metrics: &'a [Metric],
}

impl<'a> Sight<'a> {
    /// Of what a policy is shown; an HPA never goes to zero by itself.
    pub fn of(view: &View<'_>, metrics: &'a [Metric]) -> Self {
        Self {
            at: view.at,
            spec: view.desired,
            status: view.current,
            min: view.min.max(1),
            max: view.max,
            metrics,
        }
    }
}

/// One HPA object in the controller's memory.
#[derive(Debug, Clone)]
pub struct Hpa {
    settings: HpaSettings,
    past: Past,
}

impl Hpa {
    /// An object that the controller sees for the first time.
    pub fn new(settings: HpaSettings) -> Self {
        Self { settings, past: Past::default() }
    }

    /// One reconciliation: the replicas to write, or those there are. Zero replicas with a floor above zero switch it off; counts
    /// outside the bounds are brought inside without asking a metric; when a metric fails nothing moves, or up on the others' word.
    pub fn reconcile(&mut self, sight: &Sight<'_>) -> u32 {
        let proposal = self.settings.proposal(sight);
        self.settle(sight, proposal)
    }

    /// The same with what the metrics ask for already known; `None` when they cannot be read.
    pub(super) fn settle(&mut self, sight: &Sight<'_>, proposal: Option<u32>) -> u32 {
        let Sight { at, spec, min, max, .. } = *sight;
        let Self { settings, past } = self;
        if past.recommendations.is_empty() {
            past.recommendations.push((at, spec));
        }
        if spec == 0 && min != 0 {
            return 0;
        }
        let desired = if max < spec || spec < min {
            spec.clamp(min, max)
        } else {
            let Some(proposed) = proposal else { return spec };
            match &settings.behavior {
                None => past.plain(settings, sight, proposed),
                Some(behavior) => past.behaved(behavior, settings, sight, proposed),
            }
        };
        past.moved(settings, at, spec, desired);
        desired
    }
}

impl HpaSettings {
    /// The largest proposal of all metrics; `None` when all failed, or some did and the rest would scale down.
    fn proposal(&self, sight: &Sight<'_>) -> Option<u32> {
        let proposals = || sight.metrics.iter().map(|metric| self.propose(metric, sight.status));
        let largest = proposals().flatten().max()?;
        let all_answered = proposals().all(|proposal| proposal.is_some());
        (all_answered || sight.spec <= largest).then_some(largest)
    }

    /// What one metric asks for. The present count matters only to the tolerance.
    fn propose(&self, metric: &Metric, status: u32) -> Option<u32> {
        let Metric { value, target } = *metric;
        let value = value?;
        let ratio = value / (target * f64::from(status));
        let (mut up, mut down) = (self.tolerance, self.tolerance);
        if let Some(behavior) = &self.behavior {
            up = behavior.up.tolerance.unwrap_or(up);
            down = behavior.down.tolerance.unwrap_or(down);
        }
        let is_within = 1.0 - down <= ratio && ratio <= 1.0 + up;
        Some(if is_within { status } else { ceil(value / target) })
    }
}

/// Limits of the API when `behavior` is written but a direction has no policies: 4 pods or 100 % up, 100 % down, each per 15 s.
const UP: [(Unit, u32); 2] = [(Unit::Pods, 4), (Unit::Percent, 100)];
const DOWN: [(Unit, u32); 1] = [(Unit::Percent, 100)];
const PERIOD: f64 = 15.0;

/// What was recommended before stabilization, and what moved.
#[derive(Debug, Clone, Default)]
struct Past {
    recommendations: Vec<(f64, u32)>,
    ups: Vec<(f64, u32)>,
    downs: Vec<(f64, u32)>,
}

impl Past {
    /// Without `behavior`: the largest recommendation of the window, and at most a doubling (or 4).
    fn plain(&mut self, settings: &HpaSettings, sight: &Sight<'_>, proposed: u32) -> u32 {
        let Sight { at, spec, min, max, .. } = *sight;
        self.recommendations.retain(|&(then, _)| at - settings.window <= then);
        self.recommendations.push((at, proposed));
        let largest = self.recommendations.iter().map(|&(_, recommended)| recommended).max();
        let most = max.min(spec.saturating_mul(2).max(4));
        largest.unwrap_or(proposed).min(most).max(min)
    }

    /// With `behavior`: between the least of the up window and the most of the down window, then no further than the policies let.
    fn behaved(
        &mut self,
        behavior: &Behaviour,
        settings: &HpaSettings,
        sight: &Sight<'_>,
        proposed: u32,
    ) -> u32 {
        let Sight { at, spec, min, max, .. } = *sight;
        let up = behavior.up.window.unwrap_or_default().as_secs_f64();
        let down = behavior.down.window.map_or(settings.window, |window| window.as_secs_f64());
        self.recommendations.retain(|&(then, _)| at - up.max(down) < then);
        let within = |window: f64| {
            let recent = self.recommendations.iter().filter(move |&&(then, _)| at - window < then);
            recent.map(|&(_, recommended)| recommended)
        };
        let lowest = within(up).fold(proposed, u32::min);
        let highest = within(down).fold(proposed, u32::max);
        self.recommendations.push((at, proposed));
        let stable = spec.max(lowest).min(highest);
        match stable.cmp(&spec) {
            Ordering::Greater => {
                stable.min(self.end(&behavior.up, true, spec, at).max(spec)).min(max)
            }
            Ordering::Less => {
                stable.max(self.end(&behavior.down, false, spec, at).min(spec)).max(min)
            }
            Ordering::Equal => spec,
        }
    }

    /// How far the policies of one direction let the count go.
    fn end(&self, rules: &Rules, is_up: bool, spec: u32, at: f64) -> u32 {
        if rules.select == Select::Disabled {
            return spec;
        }
        let usual: &[(Unit, u32)] = if is_up { &UP } else { &DOWN };
        let usual = usual.iter().map(|&(unit, value)| (unit, value, PERIOD));
        let own = |limit: &Limit| (limit.unit, limit.value, limit.period.as_secs_f64());
        let limits: Vec<_> = if rules.policies.is_empty() {
            usual.collect()
        } else {
            rules.policies.iter().map(own).collect()
        };
        let ends = limits.into_iter().map(|(unit, value, period)| {
            let moved = |moves: &[(f64, u32)]| -> u32 {
                moves.iter().filter(|&&(then, _)| at - period < then).map(|&(_, by)| by).sum()
            };
            let start =
                f64::from(spec) - f64::from(moved(&self.ups)) + f64::from(moved(&self.downs));
            let value = f64::from(value);
            match (unit, is_up) {
                (Unit::Pods, true) => whole(start + value),
                (Unit::Pods, false) => whole(start - value),
                (Unit::Percent, true) => ceil(start * (1.0 + value / 100.0)),
                (Unit::Percent, false) => whole(start * (1.0 - value / 100.0)),
            }
        });
        // Most change is the highest end when going up and the lowest when going down.
        let furthest = is_up == (rules.select == Select::Max);
        if furthest { ends.max().unwrap_or(spec) } else { ends.min().unwrap_or(spec) }
    }

    /// Remembers an accepted move. As in the controller it takes the place of the last one that its own direction's policies no longer
    /// look back to, so that the other direction's policies lose sight of that one too, however long theirs are.
    fn moved(&mut self, settings: &HpaSettings, at: f64, spec: u32, desired: u32) {
        let Some(behavior) = &settings.behavior else { return };
        let (moves, rules) = match desired.cmp(&spec) {
            Ordering::Greater => (&mut self.ups, &behavior.up),
            Ordering::Less => (&mut self.downs, &behavior.down),
            Ordering::Equal => return,
        };
        let periods = rules.policies.iter().map(|policy| policy.period.as_secs_f64());
        let longest = periods.reduce(f64::max).unwrap_or(PERIOD);
        let event = (at, desired.abs_diff(spec));
        match moves.iter().rposition(|&(then, _)| then < at - longest) {
            Some(old) => moves[old] = event,
            None => moves.push(event),
        }
    }
}

/// Rounded up to whole replicas.
pub(super) fn ceil(x: f64) -> u32 {
    whole(x.ceil())
}

/// Cut off to whole replicas; below zero is zero.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float to int cast saturates"
)]
pub(super) fn whole(x: f64) -> u32 {
    x.max(0.0) as u32
}
