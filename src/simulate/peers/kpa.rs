//! Knative's pod autoscaler (KPA): concurrency over a stable and a panic window. Used by the simulator; `window` keeps its past.
//!
//! Source: `knative/serving`, `pkg/autoscaler/scaling/autoscaler.go` and `pkg/reconciler/autoscaling/kpa/scaler.go`; defaults from
//! `config/core/configmaps/autoscaler.yaml`.
//!
//! A consumer takes one item at a time, so the concurrency that requests would show is the offered load: arrivals a second times the
//! seconds that one item takes (Little). What waits in the queue is not in it: the KPA has no idea of a backlog.

use super::hpa::whole;
use super::window::{Counter, Highs};
use crate::simulate::{Policy, View};

/// Settings of a revision.
#[derive(Debug, Clone, Copy)]
pub struct KpaSettings {
    /// Concurrency that one pod is meant to have, of a limit of 1 (`container-concurrency-target-percentage`). Default 0.7.
    pub target: f64,
    /// Seconds of the stable window. Default 60.
    pub stable: f64,
    /// The panic window as a share of the stable one (`panic-window-percentage`). Default 0.1: 6 s.
    pub panic_share: f64,
    /// It panics when the panic window asks for this many times the Ready pods (`panic-threshold-percentage`). Default 2.
    pub panic_threshold: f64,
    /// At most this many times the Ready pods at a step. Default 1000.
    pub up_rate: f64,
    /// At least the Ready pods by this at a step. Default 2.
    pub down_rate: f64,
    /// `scale-down-delay` in seconds: a lower count must have been enough for so long. Default 0.
    pub down_delay: f64,
    /// Seconds between the wish for zero and zero (`scale-to-zero-grace-period`). Default 30.
    pub grace: f64,
}

impl Default for KpaSettings {
    fn default() -> Self {
        Self {
            target: 0.7,
            stable: 60.0,
            panic_share: 0.1,
            panic_threshold: 2.0,
            up_rate: 1000.0,
            down_rate: 2.0,
            down_delay: 0.0,
            grace: 30.0,
        }
    }
}

/// The autoscaler of one revision.
#[derive(Debug, Clone)]
pub struct Kpa {
    settings: KpaSettings,
    arrivals: Counter,
    highs: Highs,
    /// When it last had cause to panic, and the most pods it asked for since it began; as long as it does.
    panic: Option<(f64, u32)>,
    /// Has it looked before?
    is_begun: bool,
    /// Since when it wants none.
    idle: Option<f64>,
}

impl Kpa {
    /// Without a past: if it finds more than one pod at its first look, it begins in panic, so as not to scale down blindly.
    pub fn new(settings: KpaSettings) -> Self {
        Self {
            settings,
            arrivals: Counter::new(settings.stable),
            highs: Highs::default(),
            panic: None,
            is_begun: false,
            idle: None,
        }
    }

    /// Pods wanted for what the two windows saw.
    fn scale(&mut self, at: f64, ready: u32, stable: f64, panic: f64) -> u32 {
        let KpaSettings { target, panic_threshold, up_rate, down_rate, .. } = self.settings;
        let pods = f64::from(ready.max(1));
        let most = (up_rate * pods).ceil();
        let least = (pods / down_rate).floor();
        let [by_stable, by_panic] = [stable, panic].map(|seen| (seen / target).ceil());
        let [bound_stable, bound_panic] =
            [by_stable, by_panic].map(|pods| whole(pods.max(least).min(most)));
        if panic_threshold <= by_panic / pods {
            let most = self.panic.map_or(0, |(_, most)| most);
            self.panic = Some((at, most));
        } else if self.panic.is_some_and(|(since, _)| since + self.settings.stable < at) {
            self.panic = None;
        }
        let mut wanted = bound_stable;
        if let Some((_, most)) = &mut self.panic {
            *most = wanted.max(bound_panic).max(*most);
            wanted = *most;
        }
        if 0.0 < self.settings.down_delay {
            self.highs.push(at, wanted);
            wanted = self.highs.largest_since(at - self.settings.down_delay).unwrap_or(wanted);
        }
        wanted
    }
}

impl Policy for Kpa {
    fn name(&self) -> String {
        let KpaSettings { target, stable, down_delay, .. } = self.settings;
        format!("kpa (target {target}, window {stable} s, delay {down_delay} s)")
    }

    fn period(&self) -> f64 {
        2.0
    }

    fn decide(&mut self, view: &View<'_>) -> u32 {
        if !self.is_begun {
            self.is_begun = true;
            self.panic = (1 < view.ready).then_some((view.at, view.ready));
        }
        let Some(queue) = &view.queue else { return view.desired };
        self.arrivals.push(view.at, queue.arrived);
        let KpaSettings { stable, panic_share, grace, .. } = self.settings;
        let seen = |window: f64| self.arrivals.rate(window).map(|rate| rate / view.true_rate);
        let (Some(calm), Some(hasty)) = (seen(stable), seen(panic_share * stable)) else {
            return view.desired;
        };
        let wanted = self.scale(view.at, view.ready, calm, hasty).max(view.min).min(view.max);
        if 0 < wanted {
            self.idle = None;
            return wanted;
        }
        let since = *self.idle.get_or_insert(view.at);
        if since + grace <= view.at { 0 } else { view.desired }
    }
}
