//! One stage: its bounds, its hints, its limits, what to do when blind.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::{Reader, not_yet};
use crate::crd::behaviour::{self, FallbackPolicy as WrittenPolicy, PolicyType, SelectPolicy};
use crate::crd::pipeline::{OnSilence as WrittenSilence, Stage as Written};
use crate::crd::quantity::{NOT_NEGATIVE, Quantity};
use crate::crd::rules;
use crate::crd::wish::{DoneBy as WrittenTime, ForecastMode};
use crate::crd::workload::{Actuate, Drain, HeadroomMode, Role, ScaleIn};
use crate::decide::{
    Behaviour, DoneBy, Fallback, FallbackPolicy, Headroom, Idle, Lane, Mode, OnSilence, Policy,
    Prefer, Rules, Select, Stage, TargetId, Unit,
};

/// Most replicas that any count may name.
pub(super) const MOST: u32 = 100_000;

impl Reader<'_> {
    /// Reads a stage; mode, pin and the share of the pipeline's objective are the caller's.
    pub(super) fn stage(
        &mut self,
        all: &[Written],
        index: usize,
        written: &Written,
        poll: Option<Duration>,
    ) -> Stage {
        let at = format!("spec.stages[{index}]");
        self.name(format!("{at}.name"), &written.name);
        self.refuse_later_fields(&at, written);
        self.refuse_sleep_without_queue(&at, written);
        let (target, lanes) = self.scaled(&at, written);
        let min =
            self.count(format!("{at}.replicas.min"), written.replicas.min.unwrap_or(1), 0, MOST);
        let max = self.count(format!("{at}.replicas.max"), written.replicas.max, 1, MOST);
        if min > max {
            self.refuse(format!("{at}.replicas.min"), rules::MIN_ABOVE_MAX);
        }
        let objective = written.objective.as_ref();
        let done_by = objective.and_then(|objective| objective.done_by.as_ref());
        let max_delay = objective.and_then(|objective| objective.max_delay.as_ref());
        if done_by.is_some() && max_delay.is_some() {
            self.refuse(format!("{at}.objective"), rules::DELAY_OR_TIME);
        }
        Stage {
            name: written.name.as_str().into(),
            mode: Mode::Enforce,
            after: self.after(&at, all, index, written),
            target: target.clone(),
            packs: self.packs(&at, written, &lanes, &target),
            holds: self.holds(&at, written, &lanes),
            is_dear: is_dear(written),
            headroom: self.headroom(&at, written, &lanes, &target),
            lanes,
            min,
            max,
            idle: self.idle(&at, written.idle.as_ref(), min),
            pinned: None,
            max_delay: self.span(format!("{at}.objective.maxDelay"), max_delay, "1s", "168h"),
            done_by: done_by.and_then(|done_by| self.done_by(&at, done_by)),
            prefer: Prefer::default(),
            is_forecast: written.forecast.as_ref().and_then(|it| it.mode)
                != Some(ForecastMode::Off),
            is_default_objective: false,
            rate_hint: self.rate_hint(&at, written.rate_per_replica),
            startup_hint: self.span(format!("{at}.startup"), written.startup.as_ref(), "0s", "1h"),
            on_silence: match written.on_silence {
                Some(WrittenSilence::Follow) => OnSilence::Follow,
                Some(WrittenSilence::Hold) | None => OnSilence::Hold,
            },
            sources: self.sources(&at, written, &target, poll),
            combine: self.combine(&at, written),
            schedules: self.schedules(&at, written, max),
            gates: self.gates(&at, written, &target, poll),
            behaviour: self.behaviour(&at, written.behavior.as_ref()),
            fallback: self.fallback(&at, written.fallback.as_ref()),
        }
    }

    /// What the contract has and this version cannot serve.
    fn refuse_later_fields(&mut self, at: &str, written: &Written) {
        if written.actuate == Some(Actuate::HPA) {
            self.faults.push(not_yet(format!("{at}.actuate")));
        }
    }

    /// Is room kept on nodes ahead of need? Only for pods whose shape a template tells.
    fn headroom(
        &mut self,
        at: &str,
        written: &Written,
        lanes: &[Lane],
        target: &TargetId,
    ) -> Option<Headroom> {
        let written = written.capacity.as_ref()?.headroom.as_ref()?;
        let at = format!("{at}.capacity.headroom");
        let most = written.max.map(|max| self.count(format!("{at}.max"), max, 0, MOST));
        if written.mode != Some(HeadroomMode::Auto) {
            return None;
        }
        let one = lanes.is_empty().then_some(target);
        let mut targets = lanes.iter().map(|lane| &lane.target).chain(one);
        if let Some(other) = targets.find(|target| !target.has_template()) {
            self.refuse(
                at,
                format!("is for a Deployment, StatefulSet or ReplicaSet: of a {} nobody can tell the shape of the next pod", other.kind),
            );
        }
        Some(Headroom { most })
    }

    /// Do the pods go first whose going empties a node? Those of a driver, or with state of their own, are left alone.
    fn packs(&mut self, at: &str, written: &Written, lanes: &[Lane], target: &TargetId) -> bool {
        let capacity = written.capacity.clone().unwrap_or_default();
        if capacity.scale_in != Some(ScaleIn::Pack) {
            return false;
        }
        let mut targets = lanes.iter().map(|lane| &lane.target).chain([target]);
        if let Some(other) = targets.find(|target| !target.chooses_by_cost()) {
            self.refuse(
                format!("{at}.capacity.scaleIn"),
                format!("Pack is for a Deployment, ReplicaSet or ReplicationController: a {} chooses by itself which pods go", other.kind),
            );
        }
        !is_dear(written)
    }

    /// Do evictions of its pods wait until replacements are Ready? Who replaces one that leads, or that holds state, is not Penstock.
    fn holds(&mut self, at: &str, written: &Written, lanes: &[Lane]) -> bool {
        let capacity = written.capacity.clone().unwrap_or_default();
        if capacity.drain != Some(Drain::Hold) {
            return false;
        }
        let path = format!("{at}.capacity.drain");
        if written.lanes.is_empty() {
            self.refuse(&path, rules::HOLD_LANES);
        }
        let mut targets = lanes.iter().map(|lane| &lane.target);
        if let Some(other) = targets.find(|target| !target.is_counted()) {
            self.refuse(
                path,
                format!("Hold is for Deployments, ReplicaSets, ReplicationControllers and StatefulSets: how many pods a {} should have a PodDisruptionBudget cannot know", other.kind),
            );
        }
        !is_dear(written)
    }

    /// The stages that feed this one, by index.
    fn after(&mut self, at: &str, all: &[Written], index: usize, written: &Written) -> Vec<usize> {
        let mut feeds = BTreeSet::new();
        for (entry, name) in written.after.iter().enumerate() {
            match all.iter().take(index).position(|above| above.name == *name) {
                Some(above) if feeds.insert(above) => {}
                Some(_) => self.refuse(format!("{at}.after[{entry}]"), "is named twice"),
                None => self.refuse(format!("{at}.after[{entry}]"), rules::AFTER_ABOVE),
            }
        }
        feeds.into_iter().collect()
    }

    fn idle(&mut self, at: &str, written: Option<&behaviour::Idle>, min: u32) -> Option<Idle> {
        let written = written?;
        let replicas = written.replicas.unwrap_or(0);
        if replicas > min {
            self.refuse(format!("{at}.idle.replicas"), rules::IDLE_ABOVE_MIN);
        }
        let after = self.span(format!("{at}.idle.after"), written.after.as_ref(), "0s", "24h");
        Some(Idle { replicas, after: after.unwrap_or(Duration::from_mins(5)) })
    }

    fn done_by(&mut self, at: &str, written: &WrittenTime) -> Option<DoneBy> {
        let at = format!("{at}.objective.doneBy");
        let parts = written.time.split_once(':');
        let parts = parts.filter(|(hour, minute)| (hour.len(), minute.len()) == (2, 2));
        let read =
            parts.and_then(|(hour, minute)| Some((hour.parse().ok()?, minute.parse().ok()?)));
        let time =
            read.filter(|&(hour, minute)| (0..24).contains(&hour) && (0..60).contains(&minute));
        if time.is_none() {
            self.refuse(format!("{at}.time"), "must be an hour and a minute, for example 06:00");
        }
        let zone = self.zone(format!("{at}.timeZone"), written.time_zone.as_deref());
        let ((hour, minute), zone) = time.zip(zone)?;
        Some(DoneBy { hour, minute, zone })
    }

    /// A time zone by its IANA name; UTC when none is written.
    fn zone(&mut self, path: String, name: Option<&str>) -> Option<TimeZone> {
        let name = name.unwrap_or("UTC");
        let zone = TimeZone::get(name).ok();
        if zone.is_none() {
            self.refuse(path, format!("{name} is no IANA time zone, as for example Europe/Berlin"));
        }
        zone
    }

    fn rate_hint(&mut self, at: &str, written: Option<f64>) -> Option<f64> {
        let rate = written?;
        if rate.is_finite() && rate > 0.0 && rate <= 1e12 {
            return Some(rate);
        }
        self.refuse(format!("{at}.ratePerReplica"), "must be above 0 and at most 1e12");
        None
    }

    fn behaviour(&mut self, at: &str, written: Option<&behaviour::Behavior>) -> Behaviour {
        let Some(written) = written else { return Behaviour::default() };
        Behaviour {
            up: self.rules(&format!("{at}.behavior.scaleUp"), written.scale_up.as_ref()),
            down: self.rules(&format!("{at}.behavior.scaleDown"), written.scale_down.as_ref()),
        }
    }

    fn rules(&mut self, at: &str, written: Option<&behaviour::Rules>) -> Rules {
        let Some(written) = written else { return Rules::default() };
        let window = written.stabilization_window_seconds.map(|seconds| {
            self.count(format!("{at}.stabilizationWindowSeconds"), seconds, 0, 3600)
        });
        if written.policies.len() > 16 {
            self.refuse(format!("{at}.policies"), "must have at most 16 items");
        }
        let mut policies = Vec::new();
        for (index, policy) in written.policies.iter().enumerate() {
            let at = format!("{at}.policies[{index}]");
            let seconds = self.count(format!("{at}.periodSeconds"), policy.period_seconds, 1, 1800);
            policies.push(Policy {
                unit: match policy.unit {
                    PolicyType::Pods => Unit::Pods,
                    PolicyType::Percent => Unit::Percent,
                },
                value: self.count(format!("{at}.value"), policy.value, 1, 1_000_000),
                period: Duration::from_secs(seconds.into()),
            });
        }
        let tolerance = written.tolerance.as_ref().map(Quantity::read);
        if tolerance == Some(None) {
            self.refuse(format!("{at}.tolerance"), NOT_NEGATIVE);
        }
        Rules {
            window: window.map(|seconds| Duration::from_secs(seconds.into())),
            select: match written.select_policy {
                Some(SelectPolicy::Min) => Select::Min,
                Some(SelectPolicy::Disabled) => Select::Disabled,
                Some(SelectPolicy::Max) | None => Select::Max,
            },
            policies,
            tolerance: tolerance.flatten(),
        }
    }

    fn fallback(&mut self, at: &str, written: Option<&behaviour::Fallback>) -> Fallback {
        let at = format!("{at}.fallback");
        let nothing = behaviour::Fallback::default();
        let written = written.unwrap_or(&nothing);
        let after = self.span(format!("{at}.after"), written.after.as_ref(), "1s", "24h");
        let policy = written.policy.unwrap_or(WrittenPolicy::Hold);
        if policy != WrittenPolicy::Hold && written.replicas.is_none() {
            self.refuse(format!("{at}.replicas"), rules::FALLBACK_REPLICAS);
        }
        let replicas = self.count(format!("{at}.replicas"), written.replicas.unwrap_or(0), 0, MOST);
        Fallback {
            after: after.unwrap_or(Duration::from_mins(2)),
            policy: match policy {
                WrittenPolicy::Hold => FallbackPolicy::Hold,
                WrittenPolicy::Static => FallbackPolicy::Static(replicas),
                WrittenPolicy::AtLeast => FallbackPolicy::AtLeast(replicas),
                WrittenPolicy::AtMost => FallbackPolicy::AtMost(replicas),
            },
        }
    }
}

/// Does one of its pods lead, or hold state that is dear to rebuild?
fn is_dear(written: &Written) -> bool {
    match written.capacity.as_ref().and_then(|capacity| capacity.role) {
        Some(Role::Driver | Role::Stateful) => true,
        Some(Role::Worker) | None => false,
    }
}
