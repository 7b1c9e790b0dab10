//! The HPA on CPU utilization, which is what a team has that never asked for more. Used by the simulator; what follows on a proposal is
//! in `hpa`. A consumer's CPU is the share of its time that it works, so one that waits for a remote call looks as busy as it is.
//!
//! Source: Kubernetes 1.36, `pkg/controller/podautoscaler/replica_calculator.go`, `GetResourceReplicas`. Every pod has the same request.

use super::hpa::{Hpa, HpaSettings, Sight, ceil};
use crate::simulate::{Policy, View};

/// Settings of an HPA with the resource metric cpu.
#[derive(Debug, Clone)]
pub struct CpuSettings {
    /// `averageUtilization`, in per cent of the request, which is one consumer's full work. Default 80, as `kubectl autoscale` has it.
    pub utilization: u32,
    /// The controller and the object's `behavior`.
    pub hpa: HpaSettings,
}

impl Default for CpuSettings {
    fn default() -> Self {
        Self { utilization: 80, hpa: HpaSettings::default() }
    }
}

/// One HPA at work.
#[derive(Debug, Clone)]
pub struct CpuHpa {
    settings: CpuSettings,
    hpa: Hpa,
}

impl CpuHpa {
    /// An object that was just made.
    pub fn new(settings: CpuSettings) -> Self {
        let hpa = Hpa::new(settings.hpa.clone());
        Self { settings, hpa }
    }

    /// What the utilization asks for. Pods that are not Ready count as idle on the way up and not at all on the way down; where that
    /// turns the direction, nothing changes. `None` when no pod is Ready: there is nothing to read.
    fn proposal(&self, view: &View<'_>) -> Option<u32> {
        if view.ready == 0 {
            return None;
        }
        let is_within = |ratio: f64| (ratio - 1.0).abs() <= self.settings.hpa.tolerance + 1e-12;
        // Utilization is cut off to whole per cent before it is compared.
        let ratio = |pods: u32| {
            let used = 100.0 * view.busy * f64::from(view.ready) / f64::from(pods);
            (used + 1e-9).floor() / f64::from(self.settings.utilization)
        };
        let of_ready = ratio(view.ready);
        if of_ready <= 1.0 || view.current <= view.ready {
            let asked = ceil(of_ready * f64::from(view.ready));
            return Some(if is_within(of_ready) { view.desired } else { asked });
        }
        let of_all = ratio(view.current);
        let asked = ceil(of_all * f64::from(view.current));
        let turns = of_all < 1.0 || asked < view.desired;
        Some(if is_within(of_all) || turns { view.desired } else { asked })
    }
}

impl Policy for CpuHpa {
    fn name(&self) -> String {
        format!("HPA on CPU ({} %)", self.settings.utilization)
    }

    fn period(&self) -> f64 {
        self.settings.hpa.sync
    }

    fn decide(&mut self, view: &View<'_>) -> u32 {
        let proposal = self.proposal(view);
        self.hpa.settle(&Sight::of(view, &[]), proposal)
    }
}
