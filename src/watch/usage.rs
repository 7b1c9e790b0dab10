//! What pods use, as replicas wished: the arithmetic of the HPA (`pkg/controller/podautoscaler/replica_calculator.go` of Kubernetes), without
//! its tolerance, for which `behavior` has a word. Called by `seen` with the pods of one target and what metrics.k8s.io says of them;
//! plain values in, a number out.

use std::time::Duration;

use jiff::Timestamp;

use crate::crd::meaning::{Goal, Resource};

/// The HPA's `--horizontal-pod-autoscaler-cpu-initialization-period`: so long a pod that starts may burn CPU that says nothing.
const INITIALIZES: Duration = Duration::from_mins(5);
/// And its `--horizontal-pod-autoscaler-initial-readiness-delay`.
const FIRST_READY: Duration = Duration::from_secs(30);

/// A pod of the target.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct UsedBy {
    /// It is going, or has failed: it does not count.
    pub(super) is_over: bool,
    /// It has not been placed or its containers have not been made.
    pub(super) is_pending: bool,
    /// The Ready condition, and since when it is so.
    pub(super) ready: Option<(bool, Timestamp)>,
    pub(super) started: Option<Timestamp>,
    /// What it requests of the resource: cores or bytes. `None` when a container requests none.
    pub(super) request: Option<f64>,
    /// What it uses: cores or bytes, when that was measured, and over how long.
    pub(super) usage: Option<(f64, Timestamp, Duration)>,
}

/// What is lacking, so that nothing can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lacking {
    /// No pod matches, though some are wanted.
    Pods,
    /// None of them has been measured, or all that have are not ready.
    Metrics,
    /// A container requests none of it, so that there is no per cent of it.
    Request,
}

/// What to compare with the target: `amount / target`, rounded up, is the count that the HPA would ask for. `current`: replicas wanted now.
pub(super) fn amount(
    pods: &[UsedBy],
    resource: Resource,
    goal: Goal,
    current: u32,
    now: Timestamp,
) -> Result<f64, Lacking> {
    let target = goal.target();
    if current == 0 && pods.iter().all(|pod| pod.is_over) {
        return Ok(0.0);
    }
    if pods.is_empty() {
        return Err(Lacking::Pods);
    }
    let counted: Vec<&UsedBy> = pods.iter().filter(|pod| !pod.is_over).collect();
    let is_per_cent = matches!(goal, Goal::Utilization(_));
    if is_per_cent && counted.iter().any(|pod| pod.request.is_none()) {
        return Err(Lacking::Request);
    }
    let (mut ready, mut unready, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for pod in counted {
        let request = pod.request.unwrap_or(0.0);
        match pod.usage {
            _ if pod.is_pending => unready.push((0.0, request)),
            None => missing.push((0.0, request)),
            Some((_, at, window))
                if resource == Resource::Cpu && is_unready(pod, at, window, now) =>
            {
                unready.push((0.0, request));
            }
            Some((used, ..)) => ready.push((used, request)),
        }
    }
    let ratio = |all: &[(f64, f64)]| ratio(all, target, is_per_cent);
    let kept = f64::from(current) * target;
    let first = ratio(&ready).ok_or(Lacking::Metrics)?;
    let unready = if 1.0 < first { unready } else { Vec::new() };
    if missing.is_empty() && unready.is_empty() {
        return Ok(first * count(ready.len()) * target);
    }
    // What is not known counts against the move: as all that is requested on the way down, as nothing on the way up.
    let supposed = |(_, request): (f64, f64)| match (first < 1.0, is_per_cent) {
        (true, true) => (request * target.max(100.0) / 100.0, request),
        (true, false) => (target, request),
        (false, _) => (0.0, request),
    };
    let mut all = ready;
    all.extend(missing.into_iter().map(supposed));
    all.extend(unready);
    let second = ratio(&all).ok_or(Lacking::Metrics)?;
    let wished = second * count(all.len());
    let turned = (first < 1.0 && 1.0 < second) || (1.0 < first && second < 1.0);
    let current = f64::from(current);
    let against =
        (second < 1.0 && current < wished.ceil()) || (1.0 < second && wished.ceil() < current);
    Ok(if turned || against { kept } else { wished * target })
}

/// Usage over target: of what is requested, in whole per cent as the HPA has it, or of each pod.
fn ratio(all: &[(f64, f64)], target: f64, is_per_cent: bool) -> Option<f64> {
    if all.is_empty() {
        return None;
    }
    let used: f64 = all.iter().map(|(used, _)| used).sum();
    if !is_per_cent {
        return Some(used / count(all.len()) / target);
    }
    let requested: f64 = all.iter().map(|(_, request)| request).sum();
    (0.0 < requested).then(|| (used * 100.0 / requested + 1e-9).floor() / target)
}

/// Does its CPU say nothing yet: it starts, or has never been ready, or was measured over a time before it became so?
fn is_unready(pod: &UsedBy, measured: Timestamp, window: Duration, now: Timestamp) -> bool {
    let (Some((is_ready, since)), Some(started)) = (pod.ready, pod.started) else { return true };
    let after = |at: Timestamp, span: Duration| at.checked_add(span).unwrap_or(at);
    if now < after(started, INITIALIZES) {
        !is_ready || measured < after(since, window)
    } else {
        !is_ready && since < after(started, FIRST_READY)
    }
}

fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_second(10_000 + seconds).unwrap()
    }

    /// A pod that has long been ready and requests one core.
    fn pod(used: f64) -> UsedBy {
        UsedBy {
            ready: Some((true, time(-1000))),
            started: Some(time(-1010)),
            request: Some(1.0),
            usage: Some((used, time(-5), Duration::from_secs(30))),
            ..UsedBy::default()
        }
    }

    fn missing() -> UsedBy {
        UsedBy { usage: None, ..pod(0.0) }
    }

    fn starting(used: f64) -> UsedBy {
        UsedBy { ready: Some((false, time(-20))), started: Some(time(-20)), ..pod(used) }
    }

    fn wished(pods: &[UsedBy], goal: Goal, current: u32) -> Result<f64, Lacking> {
        wished_of(pods, Resource::Cpu, goal, current)
    }

    fn wished_of(
        pods: &[UsedBy],
        resource: Resource,
        goal: Goal,
        current: u32,
    ) -> Result<f64, Lacking> {
        let amount = amount(pods, resource, goal, current, time(0))?;
        Ok((amount / goal.target() - 1e-9).ceil().max(0.0))
    }

    const PER_CENT: Goal = Goal::Utilization(30);

    /// The cases of the HPA's own tests (`replica_calculator_test.go`, Kubernetes 1.36), without those of its tolerance.
    #[test]
    fn it_asks_for_what_the_hpa_asks_for() {
        let failed = || UsedBy { is_over: true, ..pod(0.5) };
        let pending = || UsedBy { is_pending: true, usage: None, ..pod(0.0) };
        for (title, pods, goal, current, expected) in [
            ("up", vec![pod(0.3), pod(0.5), pod(0.7)], PER_CENT, 3, 5.0),
            ("unready: less", vec![starting(0.3), pod(0.5), pod(0.7)], PER_CENT, 3, 4.0),
            (
                "hot starting pods: less",
                vec![starting(0.3), pod(0.5), starting(0.7)],
                PER_CENT,
                3,
                3.0,
            ),
            ("one pending", vec![pod(0.5), pending(), pod(0.7)], PER_CENT, 3, 4.0),
            ("several pending: none", vec![pod(0.5), pending(), pending()], PER_CENT, 3, 3.0),
            (
                "failed ones do not count",
                vec![pod(0.5), pod(0.7), failed(), failed()],
                PER_CENT,
                2,
                4.0,
            ),
            (
                "down",
                vec![pod(0.1), pod(0.3), pod(0.5), pod(0.25), pod(0.25)],
                Goal::Utilization(50),
                5,
                3.0,
            ),
            (
                "unready do not matter on the way down",
                vec![pod(0.1), pod(0.3), pod(0.5), starting(0.25), starting(0.25)],
                Goal::Utilization(50),
                5,
                2.0,
            ),
            ("missing, up: no change", vec![pod(0.4), missing(), missing()], PER_CENT, 3, 3.0),
            (
                "missing, down: as if all were used",
                vec![pod(0.1), missing(), missing()],
                Goal::Utilization(50),
                3,
                3.0,
            ),
            (
                "missing, down, one of five",
                vec![pod(0.1), pod(0.1), pod(0.1), pod(0.1), missing()],
                Goal::Utilization(50),
                5,
                3.0,
            ),
            ("each", vec![pod(0.4), pod(0.6)], Goal::Each(0.25), 2, 4.0),
            (
                "each, one missing on the way down counts as the target",
                vec![pod(0.1), pod(0.1), missing()],
                Goal::Each(0.5),
                3,
                2.0,
            ),
            (
                "each, one missing on the way up counts as nothing",
                vec![pod(0.9), pod(0.9), missing()],
                Goal::Each(0.5),
                3,
                4.0,
            ),
            ("asleep", vec![], PER_CENT, 0, 0.0),
            ("above 100 per cent", vec![pod(2.0), missing()], Goal::Utilization(150), 2, 2.0),
        ] {
            assert_eq!(wished(&pods, goal, current), Ok(expected), "{title}");
        }
    }

    #[test]
    fn what_cannot_be_reckoned_is_nothing_and_not_zero() {
        let bare = UsedBy { request: None, ..pod(0.5) };
        for (pods, expected) in [
            (vec![], Lacking::Pods),
            (vec![missing(), missing()], Lacking::Metrics),
            (vec![starting(0.9)], Lacking::Metrics),
            (vec![pod(0.5), bare.clone()], Lacking::Request),
        ] {
            assert_eq!(wished(&pods, PER_CENT, 2), Err(expected), "{pods:?}");
        }
        assert_eq!(wished(&[bare], Goal::Each(0.25), 1), Ok(2.0), "no request is needed");
    }

    #[test]
    fn memory_of_a_pod_that_starts_counts_and_its_cpu_does_not() {
        let pods = [starting(0.9), pod(0.9)];
        assert_eq!(wished_of(&pods, Resource::Memory, PER_CENT, 2), Ok(6.0));
        assert_eq!(wished_of(&pods, Resource::Cpu, PER_CENT, 2), Ok(3.0));
    }

    #[test]
    fn cpu_measured_before_a_pod_was_ready_does_not_count_in_its_first_minutes() {
        let young = |measured: i64| UsedBy {
            ready: Some((true, time(-60))),
            started: Some(time(-70)),
            usage: Some((0.9, time(measured), Duration::from_secs(30))),
            ..pod(0.9)
        };
        assert_eq!(wished(&[young(-31)], PER_CENT, 1), Err(Lacking::Metrics));
        assert_eq!(wished(&[young(-30)], PER_CENT, 1), Ok(3.0));
    }
}
