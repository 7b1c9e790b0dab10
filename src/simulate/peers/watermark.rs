//! Datadog's `WatermarkPodAutoscaler`: a metric per Ready pod is kept between two marks. Used by the simulator.
//!
//! Source: `DataDog/watermarkpodautoscaler`, `controllers/datadoghq/replica_calculator.go` and
//! `watermarkpodautoscaler_controller.go`; defaults from `apis/datadoghq/v1alpha1/watermarkpodautoscaler_default.go`. The metric is the
//! group's lag with the algorithm `average`; convergence towards a mark is off, which is the default.

use super::hpa::{ceil, whole};
use super::{Amount, lag};
use crate::simulate::{Policy, View};

/// Settings of one object.
#[derive(Debug, Clone, Copy)]
pub struct WatermarkSettings {
    /// Above this much lag per Ready pod it scales up. It must be given; here 10 s of work unless said otherwise.
    pub high: Amount,
    /// Below this much it scales down. It must be given; here 5 s of work unless said otherwise.
    pub low: Amount,
    /// How far outside the marks still counts as between them. Default 0.1.
    pub tolerance: f64,
    /// Share by which one step may raise the count, but at least by one (`scaleUpLimitFactor`). Default 0.5.
    pub up_limit: f64,
    /// The same downwards (`scaleDownLimitFactor`). Default 0.2.
    pub down_limit: f64,
    /// Seconds after a change before the next one up (`upscaleForbiddenWindowSeconds`). Default 60.
    pub up_forbidden: f64,
    /// Seconds after a change before the next one down (`downscaleForbiddenWindowSeconds`). Default 300.
    pub down_forbidden: f64,
    /// Is a metric of zero a reason to scale down? Default no.
    pub tolerates_zero: bool,
    /// Seconds between looks. Default 15.
    pub sync: f64,
}

impl Default for WatermarkSettings {
    fn default() -> Self {
        Self {
            high: Amount::Seconds(10.0),
            low: Amount::Seconds(5.0),
            tolerance: 0.1,
            up_limit: 0.5,
            down_limit: 0.2,
            up_forbidden: 60.0,
            down_forbidden: 300.0,
            tolerates_zero: false,
            sync: 15.0,
        }
    }
}

/// One object at work.
#[derive(Debug, Clone)]
pub struct Watermark {
    settings: WatermarkSettings,
    /// When it last changed the count.
    changed: Option<f64>,
}

impl Watermark {
    /// An object that was just made.
    pub fn new(settings: WatermarkSettings) -> Self {
        Self { settings, changed: None }
    }

    /// What the lag asks for, before limits and forbidden windows.
    fn propose(&self, view: &View<'_>, lag: f64) -> u32 {
        let WatermarkSettings { high, low, tolerance, tolerates_zero, .. } = self.settings;
        let [high, low] = [high, low].map(|mark| mark.of(view.true_rate));
        let ready = f64::from(view.ready);
        let usage = lag / ready;
        if lag <= 0.0 && !tolerates_zero {
            view.ready
        } else if high * (1.0 + tolerance) < usage {
            ceil(ready * usage / high).max(view.desired)
        } else if usage < low * (1.0 - tolerance) {
            whole((ready * usage / low).floor()).max(1).min(view.desired)
        } else {
            view.desired
        }
    }
}

impl Policy for Watermark {
    fn name(&self) -> String {
        let WatermarkSettings { high, low, up_limit, down_forbidden, .. } = self.settings;
        let percent = 100.0 * up_limit;
        format!("watermark ({low} to {high}, up {percent:.0} %, down after {down_forbidden} s)")
    }

    fn period(&self) -> f64 {
        self.settings.sync
    }

    fn decide(&mut self, view: &View<'_>) -> u32 {
        let floor = view.min.max(1);
        if view.desired < floor {
            return floor;
        }
        let (Some(queue), true) = (&view.queue, 0 < view.ready) else { return view.desired };
        let proposed = self.propose(view, lag(queue));
        let WatermarkSettings { up_limit, down_limit, up_forbidden, down_forbidden, .. } =
            self.settings;
        let present = f64::from(view.desired);
        let furthest_up = whole(present + (up_limit * present).floor().max(1.0));
        let furthest_down = whole(present - (down_limit * present).floor().max(1.0));
        let passed = |seconds: f64| self.changed.is_none_or(|then| then + seconds <= view.at);
        let wanted = if view.desired < proposed && passed(up_forbidden) {
            proposed.min(furthest_up).min(view.max)
        } else if proposed < view.desired && passed(down_forbidden) {
            proposed.max(furthest_down).max(floor)
        } else {
            view.desired
        };
        if wanted != view.desired {
            self.changed = Some(view.at);
        }
        wanted
    }
}
