//! Readings that the cluster itself answers: what the pods of a target use, and how many pods a selector finds. Plain functions of store
//! contents; called by `seen`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::crd::meaning::{Goal, Inside, InsideDraft, Resource};
use crate::decide::{Missing, Observation, PipelineId, Reading, TargetId, Value};

use super::meter::{Held, Want};
use super::selector::Selector;
use super::stores::Stores;
use super::targets::ScaleNote;
use super::usage::{self, Lacking};

/// A reading older than this is stale, however short the poll interval.
const STALE_FLOOR: Duration = Duration::from_secs(10);

/// Whose pods are counted, by namespace.
pub(super) type Counted = BTreeMap<Arc<str>, Vec<(Selector, PipelineId)>>;

impl Stores {
    /// The reading of a question that the cluster answers; `None` while it cannot be told yet.
    pub(super) fn inside(&self, draft: &InsideDraft, now: Timestamp) -> Option<Observation> {
        match &draft.ask {
            Inside::Pods { namespace, selector, unit } => {
                let pods = self.pods.count(namespace, &Selector::of(selector));
                let at = read_at(now, draft.poll_interval);
                let value = unit.value(&"the watch of pods".into(), "pods", f64::from(pods));
                Some(match value {
                    Ok(value) => Observation::Fresh(Arc::new(Reading { at, value })),
                    Err(error) => Observation::Failed(error.missing(at)),
                })
            }
            Inside::Usage { target, resource, container, goal } => {
                let limit = STALE_FLOOR.max(draft.poll_interval.saturating_mul(3));
                self.usage(target, (*resource, container.as_deref(), *goal), limit, now)
            }
        }
    }

    fn usage(
        &self,
        target: &TargetId,
        (resource, container, goal): (Resource, Option<&str>, Goal),
        limit: Duration,
        now: Timestamp,
    ) -> Option<Observation> {
        let (desired, selector) = match self.targets.scales.get(target)? {
            ScaleNote::Unreadable(_) => return None,
            ScaleNote::Read { desired, selector, .. } => (*desired, selector.as_ref()),
        };
        let failed = |label: &'static str, message: String, is_lasting: bool, since: Timestamp| {
            let (label, message) = (label.into(), message.into());
            Observation::Failed(Missing { label, message, is_lasting, since })
        };
        let Some(selector) = selector else {
            let said = format!("{target} tells no selector, so that nobody knows its pods");
            return Some(failed("NoSelector", said, true, now));
        };
        let Held { read, missing } = self.meter.of(&target.namespace)?;
        let Some((at, measured)) = read else {
            return missing.clone().map(Observation::Failed);
        };
        let pods = self.pods.used_by(&target.namespace, selector, resource, container, measured);
        let name = resource.name();
        let amount = match usage::amount(&pods, resource, goal, desired, now) {
            Ok(amount) => amount,
            Err(Lacking::Pods) => {
                let said = format!("{target} wants {desired} replicas and has no pod yet");
                return Some(failed("NoPods", said, false, *at));
            }
            Err(Lacking::Metrics) => {
                let said = format!(
                    "metrics.k8s.io says nothing of the {name} of those pods of {target} that are ready"
                );
                return Some(failed("NoMetrics", said, false, *at));
            }
            Err(Lacking::Request) => {
                let said = format!(
                    "a container of {target} requests no {name}, so that there is no utilization of it; hint: set \
                     resources.requests.{name}, or perReplica instead of utilization"
                );
                return Some(failed("NoRequest", said, true, *at));
            }
        };
        let reading = Arc::new(Reading { at: *at, value: Value::Gauge(amount) });
        let age = now.duration_since(*at);
        Some(match missing {
            Some(missing) => Observation::Stale(reading, missing.clone()),
            None if SignedDuration::try_from(limit).is_ok_and(|limit| limit < age) => {
                let message = format!("nothing has come for {} s", age.as_secs()).into();
                let (label, since) = ("Late".into(), *at);
                Observation::Stale(reading, Missing { label, message, is_lasting: false, since })
            }
            None => Observation::Fresh(reading),
        })
    }

    /// Which namespaces are to be metered, and whose pods are counted.
    pub(super) fn work_out_inside(&self) -> (BTreeMap<Arc<str>, Want>, Counted) {
        let mut metered: BTreeMap<Arc<str>, Want> = BTreeMap::new();
        let mut counted = Counted::new();
        for (id, written) in &self.pipelines {
            for draft in written.meant().iter().flat_map(|meant| &meant.inside) {
                let namespace = Arc::clone(&id.namespace);
                match &draft.ask {
                    Inside::Pods { selector, .. } => {
                        let counted = counted.entry(namespace).or_default();
                        counted.push((Selector::of(selector), id.clone()));
                    }
                    Inside::Usage { target, .. } => {
                        let every = draft.poll_interval;
                        let only = Some(target.clone());
                        let want = metered.entry(namespace);
                        let want = want.or_insert_with(|| Want { every, only: only.clone() });
                        want.every = want.every.min(every);
                        if want.only != only {
                            want.only = None;
                        }
                    }
                }
            }
        }
        (metered, counted)
    }

    /// A pod with these labels moved: marks the pipelines that count it.
    pub(super) fn touch_counters(&mut self, namespace: &str, labels: &[&str]) {
        let counters = self.counted.get(namespace).into_iter().flatten();
        let touched = counters
            .filter(|(selector, _)| labels.iter().any(|labels| selector.matches(labels)))
            .map(|(_, id)| id.clone());
        self.dirty.extend(touched);
    }
}

/// The latest point of a grid as wide as the poll interval: between two of them nothing new is said to have been read, however often it is
/// looked at.
fn read_at(now: Timestamp, every: Duration) -> Timestamp {
    let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1);
    let past = now.as_millisecond().rem_euclid(every);
    now.checked_sub(SignedDuration::from_millis(past)).unwrap_or(now)
}
