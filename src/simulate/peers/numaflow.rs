//! Numaflow's vertex autoscaler for sources: pending items over the rate of processing, in steps of two. Used by the simulator.
//!
//! Source: `numaproj/numaflow`, `pkg/reconciler/vertex/scaling/scaling.go` and `options.go`; defaults from
//! `pkg/apis/numaflow/v1alpha1/scale.go` and `const.go`. Backpressure of vertices further down is not part of a single stage.

use super::window::Counter;
use super::{count, hpa, lag};
use crate::simulate::{Policy, View};
use std::collections::VecDeque;

/// Settings of a vertex.
#[derive(Debug, Clone, Copy)]
pub struct NumaflowSettings {
    /// `targetProcessingSeconds`: pending items are to be done in so many seconds. Default 20.
    pub target: f64,
    /// `lookbackSeconds`: rate and pending are means over so long. Default 120.
    pub lookback: f64,
    /// `scaleUpCooldownSeconds`. Default 90.
    pub up_cooldown: f64,
    /// `scaleDownCooldownSeconds`. Default 90.
    pub down_cooldown: f64,
    /// `replicasPerScaleUp` and `replicasPerScaleDown`. Default 2.
    pub step: u32,
    /// `zeroReplicaSleepSeconds`: how long it sleeps at zero before it peeks with one pod. Default 120.
    pub sleep: f64,
    /// Seconds between looks at a vertex (`taskInterval`). Default 30.
    pub interval: f64,
}

impl Default for NumaflowSettings {
    fn default() -> Self {
        Self {
            target: 20.0,
            lookback: 120.0,
            up_cooldown: 90.0,
            down_cooldown: 90.0,
            step: 2,
            sleep: 120.0,
            interval: 30.0,
        }
    }
}

/// One vertex at work.
#[derive(Debug, Clone)]
pub struct Numaflow {
    settings: NumaflowSettings,
    processed: Counter,
    pending: VecDeque<(f64, f64)>,
    /// `lastScaledAt`.
    scaled: Option<f64>,
}

impl Numaflow {
    /// A vertex without a past.
    pub fn new(settings: NumaflowSettings) -> Self {
        let processed = Counter::new(settings.lookback);
        Self { settings, processed, pending: VecDeque::new(), scaled: None }
    }

    /// Mean of the pending items over the window.
    fn pending(&mut self, at: f64, lag: f64) -> f64 {
        self.pending.push_back((at, lag));
        while self.pending.front().is_some_and(|&(then, _)| then <= at - self.settings.lookback) {
            self.pending.pop_front();
        }
        let sum: f64 = self.pending.iter().map(|&(_, lag)| lag).sum();
        (sum / count(self.pending.len())).floor()
    }

    /// Replicas that would do what is pending in the target time, reckoned from what the present ones do.
    fn wanted(&self, replicas: u32, pending: f64, rate: f64) -> u32 {
        if pending <= 0.0 && rate <= 0.0 {
            return 0;
        }
        if pending <= 0.0 || rate <= 0.0 {
            return 1;
        }
        let share = pending / rate / self.settings.target;
        hpa::whole((share * f64::from(replicas)).round()).max(1).min(hpa::whole(pending)).max(1)
    }
}

impl Policy for Numaflow {
    fn name(&self) -> String {
        let NumaflowSettings { target, lookback, up_cooldown, down_cooldown, step, .. } =
            self.settings;
        format!(
            "numaflow ({target} s, lookback {lookback} s, {step} up in {up_cooldown} s, down in {down_cooldown} s)"
        )
    }

    fn period(&self) -> f64 {
        self.settings.interval
    }

    fn decide(&mut self, view: &View<'_>) -> u32 {
        let Some(queue) = &view.queue else { return view.desired };
        self.processed.push(view.at, queue.committed);
        let pending = self.pending(view.at, lag(queue));
        let NumaflowSettings { up_cooldown, down_cooldown, step, sleep, lookback, .. } =
            self.settings;
        let since = self.scaled.map_or(f64::INFINITY, |then| view.at - then);
        if (since < up_cooldown && since < down_cooldown) || view.current != view.desired {
            return view.desired;
        }
        let present = view.desired;
        let wanted = if present == 0 {
            u32::from(sleep <= since)
        } else {
            let Some(rate) = self.processed.rate(lookback) else { return present };
            let wanted = self.wanted(present, pending, rate).min(view.max).max(view.min);
            if present < view.min || view.max < present {
                wanted
            } else if present < wanted && up_cooldown <= since {
                wanted.min(present + step)
            } else if wanted < present && down_cooldown <= since {
                wanted.max(present.saturating_sub(step))
            } else {
                present
            }
        };
        if wanted != present {
            self.scaled = Some(view.at);
        }
        wanted
    }
}
