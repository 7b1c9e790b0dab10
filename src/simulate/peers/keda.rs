//! KEDA: lag of a consumer group through the HPA, between 0 and 1 by its own poll and cooldown; with one trigger (lag) or two (lag and
//! the rate of arrivals). Used by the simulator; the HPA's arithmetic is in `hpa`.
//!
//! Source: `kedacore/keda`, `pkg/scalers/kafka_scaler.go` and `pkg/scaling/executor/scale_scaledobjects.go`; defaults from its
//! documentation of the `ScaledObject` and of the Apache Kafka trigger.

use super::hpa::{Hpa, HpaSettings, Metric, Sight};
use super::window::Counter;
use super::{Amount, count, lag};
use crate::simulate::{Policy, View};

/// Settings of a `ScaledObject` with a Kafka trigger.
#[derive(Debug, Clone)]
pub struct KedaSettings {
    /// `lagThreshold`. Default 10 items.
    pub lag: Amount,
    /// A second trigger on the rate of arrivals, as the Prometheus trigger gives it. Default none.
    pub rate: Option<RateTrigger>,
    /// `pollingInterval`, in seconds; it matters only at zero, since the HPA asks in its own time. Default 30.
    pub polling: f64,
    /// `cooldownPeriod`: seconds without work before the last replica goes. Default 300.
    pub cooldown: f64,
    /// The HPA that KEDA makes.
    pub hpa: HpaSettings,
}

impl Default for KedaSettings {
    fn default() -> Self {
        let hpa = HpaSettings::default();
        Self { lag: Amount::Items(10.0), rate: None, polling: 30.0, cooldown: 300.0, hpa }
    }
}

/// A trigger on `rate(arrivals[window])`.
#[derive(Debug, Clone, Copy)]
pub struct RateTrigger {
    /// Threshold, as a share of what one replica really does.
    pub share: f64,
    /// The range of the query, in seconds.
    pub window: f64,
}

/// One `ScaledObject` at work.
#[derive(Debug, Clone)]
pub struct Keda {
    settings: KedaSettings,
    hpa: Hpa,
    arrivals: Counter,
    /// When it polls next.
    poll: f64,
    /// When a trigger was last active.
    active: Option<f64>,
}

impl Keda {
    /// A `ScaledObject` that was just made.
    pub fn new(settings: KedaSettings) -> Self {
        let window = settings.rate.map_or(0.0, |rate| rate.window);
        let hpa = Hpa::new(settings.hpa.clone());
        Self { settings, hpa, arrivals: Counter::new(window), poll: 0.0, active: None }
    }

    /// The executor's part: from and to zero, at each poll.
    fn execute(&mut self, view: &View<'_>, is_active: bool) -> u32 {
        if is_active {
            self.active = Some(view.at);
            return if view.desired == 0 { view.min.max(1) } else { view.desired };
        }
        let is_cool = self.active.is_none_or(|active| active + self.settings.cooldown < view.at);
        if view.min == 0 && is_cool { 0 } else { view.desired.max(view.min) }
    }
}

impl Policy for Keda {
    fn name(&self) -> String {
        let rate = self.settings.rate.map(|rate| format!(", rate {:.0} %", 100.0 * rate.share));
        let window = self.settings.hpa.behavior.as_ref().and_then(|behavior| behavior.down.window);
        let window = window.map(|window| format!(", down window {} s", window.as_secs()));
        let [rate, window] = [rate, window].map(Option::unwrap_or_default);
        format!("keda (lag {}{rate}{window})", self.settings.lag)
    }

    fn period(&self) -> f64 {
        self.settings.hpa.sync
    }

    fn decide(&mut self, view: &View<'_>) -> u32 {
        let lag = view.queue.as_ref().map(lag);
        if let Some(queue) = &view.queue {
            self.arrivals.push(view.at, queue.arrived);
        }
        let rate = self.settings.rate.map(|trigger| {
            let value = view.queue.as_ref().and_then(|_| self.arrivals.rate(trigger.window));
            Metric { value, target: trigger.share * view.true_rate }
        });
        let mut desired = view.desired;
        if self.poll <= view.at {
            self.poll = view.at + self.settings.polling;
            let rate_active = rate.and_then(|rate| rate.value).is_some_and(|rate| 0.0 < rate);
            if let Some(lag) = lag {
                desired = self.execute(view, 0.0 < lag || rate_active);
            }
        }
        if desired != view.desired || view.desired == 0 {
            return desired;
        }
        let target = self.settings.lag.of(view.true_rate);
        // More replicas than partitions would idle, so the metric is cut there.
        let most = |lag: f64| match &view.queue {
            Some(queue) => lag.min(target * count(queue.partitions.len())),
            None => lag,
        };
        let metrics = [Some(Metric { value: lag.map(most), target }), rate];
        let metrics: Vec<_> = metrics.into_iter().flatten().collect();
        self.hpa.reconcile(&Sight::of(view, &metrics))
    }
}
