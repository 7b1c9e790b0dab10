//! The pods of targets, cut down to what readiness needs: labels, Ready since when, going or not. 20,000 pods of others must
//! stay under 16 MiB, so labels are one string, shared by all pods that have the same, and nothing else of the object is kept.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use kube::core::Object;
use serde::{Deserialize, Serialize};

use crate::crd::meaning::Resource;
use crate::crd::quantity::Quantity;
use crate::decide::Places;

use super::meter::Measured;
use super::nodes::{End, Nodes};
use super::selector::Selector;
use super::stores::Name;
use super::usage::UsedBy;

use demand::{Request, requested};
use standing::Mark;

mod costs;
mod demand;
mod leaving;
mod standing;

pub(super) use demand::{Asked, Demand};

/// How the store of pods is called.
pub(super) const PODS: &str = "pods";

/// A pod as it is asked of the API server: everything that is not named here is dropped while it is parsed.
pub(super) type WirePod = Object<WireSpec, WireStatus>;

/// The part of a pod's spec that tells what it requests.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireSpec {
    node_name: Option<Arc<str>>,
    termination_grace_period_seconds: Option<u32>,
    #[serde(default)]
    containers: Vec<WireContainer>,
    #[serde(default)]
    init_containers: Vec<WireContainer>,
    /// Of the pod as a whole, where that is written.
    #[serde(default)]
    resources: WireResources,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireContainer {
    name: String,
    #[serde(default)]
    resources: WireResources,
    /// `Always` makes a sidecar of an init container.
    restart_policy: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct WireResources {
    #[serde(default)]
    requests: WireRequests,
    #[serde(default)]
    limits: WireRequests,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct WireRequests {
    cpu: Option<Quantity>,
    memory: Option<Quantity>,
}

/// The part of a pod's status that tells whether it is Ready.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireStatus {
    #[serde(default)]
    phase: String,
    start_time: Option<Timestamp>,
    /// The node on which others make place for it.
    nominated_node_name: Option<String>,
    #[serde(default)]
    conditions: Vec<WireCondition>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: Option<String>,
    last_transition_time: Option<Timestamp>,
}

/// All pods of the watched namespaces.
#[derive(Debug, Default)]
pub(super) struct Pods {
    by_namespace: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Pod>>,
    /// The labels of all of them, each once.
    labels: BTreeSet<Arc<str>>,
    /// What all of them request, each list once.
    requests: BTreeSet<Arc<[Request]>>,
    /// Does it matter on which node a pod stands, and since when none was found for it? Only where there are pools.
    pub(super) tells_places: bool,
    /// How many pods each node has that keep it from being empty.
    filling: BTreeMap<Arc<str>, u32>,
}

#[derive(Debug, PartialEq)]
struct Pod {
    /// `key=value` pairs, each ended by a zero byte.
    labels: Arc<str>,
    ready_since: Option<Timestamp>,
    state: State,
    requests: Arc<[Request]>,
    /// Since when it has run, and since when its Ready condition is as it is, in Unix seconds.
    started: Option<i64>,
    turned: Option<i64>,
    /// The node it stands on.
    node: Option<Arc<str>>,
    /// Since when it has waited, in Unix seconds: where it has no node, and the scheduler finds none, for that; else to be Ready.
    waits: Option<i64>,
    /// Seconds that it may take to end.
    grace: u32,
    mark: Mark,
}

/// How far a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Pending,
    Runs,
    /// It is being taken away, whatever its phase.
    Goes,
    /// It has gone down with an error, or has done its work.
    Failed,
    Succeeded,
}

/// How many of a target's pods are Ready.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Readiness {
    pub(super) ready: u32,
    /// Pods that exist, Ready or not.
    pub(super) there: u32,
    /// When the youngest Ready pod became so, and when the youngest of them got its node.
    pub(super) since: Option<Timestamp>,
    pub(super) placed: Option<Timestamp>,
    /// Thousandths of a core that the Ready ones request and are limited to, together.
    requests: f64,
    limits: f64,
}

impl Pod {
    fn has_ended(&self) -> bool {
        matches!(self.state, State::Failed | State::Succeeded)
    }

    /// Is it in all that counts what it was?
    fn counts_as(&self, old: &Self, tells_places: bool) -> bool {
        // Since when it is not Ready is only asked when there is a turn.
        let unplaced = |pod: &Self| pod.waits.filter(|_| pod.node.is_none());
        (self.ready_since, &self.labels, self.state) == (old.ready_since, &old.labels, old.state)
            && (!tells_places || (&self.node, unplaced(self)) == (&old.node, unplaced(old)))
            && !self.mark.costs_otherwise(&old.mark)
    }
}

impl Pods {
    /// Takes a pod in; returns the labels it has and had, when what counts has changed.
    pub(super) fn put(&mut self, name: &Name, wire: &WirePod) -> Option<[Arc<str>; 2]> {
        let labels = self.shared(packed(wire.metadata.labels.as_ref()));
        let is_going = wire.metadata.deletion_timestamp.is_some();
        let status = wire.status.as_ref();
        let is_over = status.is_some_and(|s| s.phase == "Succeeded" || s.phase == "Failed");
        let ready = status
            .and_then(|s| s.conditions.iter().find(|c| c.kind == "Ready" && c.status == "True"));
        let ready_since = match ready {
            Some(condition) if !is_going && !is_over => {
                Some(condition.last_transition_time.unwrap_or(Timestamp::UNIX_EPOCH))
            }
            _ => None,
        };
        let phase = status.map_or("", |status| status.phase.as_str());
        let state = match phase {
            "Succeeded" => State::Succeeded,
            "Failed" => State::Failed,
            _ if is_going => State::Goes,
            "Pending" => State::Pending,
            _ => State::Runs,
        };
        let turned = status.and_then(|s| s.conditions.iter().find(|c| c.kind == "Ready"));
        let seconds = |at: Timestamp| at.as_second();
        let has_node = wire.spec.node_name.is_some();
        let waits = if has_node { WireStatus::unready } else { WireStatus::unplaced };
        let requests = self.shared_requests(wire.spec.requests());
        let pod = Pod {
            labels: Arc::clone(&labels),
            ready_since,
            state,
            requests,
            started: status.and_then(|status| status.start_time).map(seconds),
            turned: turned.and_then(|condition| condition.last_transition_time).map(seconds),
            node: wire.spec.node_name.clone(),
            waits: status.and_then(waits).map(seconds),
            // What is left out the API server writes out, as 30.
            grace: wire.spec.termination_grace_period_seconds.unwrap_or(30),
            mark: Mark::read(&wire.metadata),
        };
        self.fill(&pod);
        let pods = self.by_namespace.entry(Arc::clone(&name.namespace)).or_default();
        let mut known = match pods.entry(Arc::clone(&name.name)) {
            Entry::Occupied(known) => known,
            Entry::Vacant(place) => {
                place.insert(pod);
                return Some([Arc::clone(&labels), labels]);
            }
        };
        let is_same = pod.counts_as(known.get(), self.tells_places);
        let old = known.insert(pod);
        self.unfill(&old);
        self.let_go_requests(&old.requests);
        if is_same {
            return None;
        }
        self.let_go(&old.labels);
        Some([labels, old.labels])
    }

    /// The same text as all others have who have it.
    fn shared(&mut self, labels: String) -> Arc<str> {
        if let Some(known) = self.labels.get(labels.as_str()) {
            return Arc::clone(known);
        }
        let new: Arc<str> = labels.into();
        self.labels.insert(Arc::clone(&new));
        new
    }

    /// Forgets labels that no pod has any more: then only the set and the caller hold them.
    fn let_go(&mut self, labels: &Arc<str>) {
        if Arc::strong_count(labels) <= 2 {
            self.labels.remove(labels);
        }
    }

    /// Drops a pod; returns its labels.
    pub(super) fn gone(&mut self, name: &Name) -> Option<Arc<str>> {
        let pods = self.by_namespace.get_mut(&name.namespace)?;
        let pod = pods.remove(&name.name)?;
        if pods.is_empty() {
            self.by_namespace.remove(&name.namespace);
        }
        self.unfill(&pod);
        self.let_go(&pod.labels);
        self.let_go_requests(&pod.requests);
        Some(pod.labels)
    }

    /// The same list as all others have who request the same.
    fn shared_requests(&mut self, requests: Vec<Request>) -> Arc<[Request]> {
        if let Some(known) = self.requests.get(requests.as_slice()) {
            return Arc::clone(known);
        }
        let new: Arc<[Request]> = requests.into();
        self.requests.insert(Arc::clone(&new));
        new
    }

    fn let_go_requests(&mut self, requests: &Arc<[Request]>) {
        if Arc::strong_count(requests) <= 2 {
            self.requests.remove(requests);
        }
    }

    /// The packed labels of a pod.
    pub(super) fn labels_of(&self, namespace: &str, name: &str) -> Option<&str> {
        self.by_namespace.get(namespace)?.get(name).map(|pod| &*pod.labels)
    }

    fn matching<'a>(
        &'a self,
        namespace: &str,
        selector: &'a Selector,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Pod)> {
        let pods = self.by_namespace.get(namespace).into_iter().flatten();
        // Placeholders are nobody's pods, whatever a selector leaves open.
        pods.filter(|(_, pod)| !pod.mark.is_placeholder && selector.matches(&pod.labels))
    }

    /// Counts the pods of a namespace that a selector matches and that have not ended.
    pub(super) fn count(&self, namespace: &str, selector: &Selector) -> u32 {
        let all = self.matching(namespace, selector).filter(|(_, pod)| !pod.has_ended()).count();
        u32::try_from(all).unwrap_or(u32::MAX)
    }

    /// What the pods of a namespace that a selector matches request and use, of the resource and perhaps of one container.
    pub(super) fn used_by(
        &self,
        namespace: &str,
        selector: &Selector,
        resource: Resource,
        container: Option<&str>,
        measured: &BTreeMap<Arc<str>, Measured>,
    ) -> Vec<UsedBy> {
        let time = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
        let each = self.matching(namespace, selector).map(|(name, pod)| UsedBy {
            is_over: matches!(pod.state, State::Goes | State::Failed),
            is_pending: pod.state == State::Pending,
            ready: pod.turned.map(|at| (pod.ready_since.is_some(), time(at))),
            started: pod.started.map(time),
            request: requested(&pod.requests, resource, container),
            usage: measured.get(name).and_then(|it| it.of(resource, container)),
        });
        each.collect()
    }

    /// Where the pods stand that a selector matches.
    pub(super) fn places(
        &self,
        namespace: &str,
        selector: &Selector,
        nodes: &Nodes,
        now: Timestamp,
    ) -> Places {
        let mut places = Places::default();
        for (_, pod) in self.matching(namespace, selector) {
            let time = |at| Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH);
            match (pod.waits.map(time), &pod.node, pod.state) {
                (Some(since), None, State::Pending) => {
                    places.unplaced += 1;
                    places.unplaced_since =
                        Some(places.unplaced_since.map_or(since, |it| it.min(since)));
                }
                (Some(since), Some(_), State::Pending | State::Runs) => places.unready.push(since),
                _ => {}
            }
            let ground = pod.node.as_ref().and_then(|node| nodes.ground(node, now));
            let Some(end) = ground.and_then(|ground| ground.going) else { continue };
            if pod.ready_since.is_some() {
                places.doomed += 1;
                if let End::By(end) = end {
                    places.deadline = places.deadline.into_iter().chain([end]).min();
                }
            }
        }
        places
    }

    /// Counts the pods of a namespace that a selector matches.
    pub(super) fn readiness(&self, namespace: &str, selector: &Selector) -> Readiness {
        let mut count = Readiness::default();
        for (_, pod) in self.matching(namespace, selector) {
            count.there += 1;
            if pod.ready_since.is_some() {
                let (request, limit) = pod.cpu();
                count.ready += 1;
                count.requests += request;
                count.limits += limit;
                let started = pod.started.and_then(|at| Timestamp::from_second(at).ok());
                count.placed = count.placed.max(started);
            }
            count.since = count.since.max(pod.ready_since);
        }
        count
    }
}

impl WireStatus {
    /// Since when the scheduler finds no node. One for which others make place has one.
    fn unplaced(&self) -> Option<Timestamp> {
        let mut conditions = self.conditions.iter();
        let placed = conditions.find(|it| it.kind == "PodScheduled" && it.status == "False")?;
        let is_refused = placed.reason.as_deref() == Some("Unschedulable");
        let is_nominated = self.nominated_node_name.as_ref().is_some_and(|node| !node.is_empty());
        placed.last_transition_time.filter(|_| is_refused && !is_nominated)
    }

    /// Since when it has not been Ready; while nothing on its node has said that of it, since it has the node.
    fn unready(&self) -> Option<Timestamp> {
        let of = |kind| self.conditions.iter().find(|it| it.kind == kind);
        let is = |condition: &&WireCondition, status| condition.status == status;
        let said = of("Ready").map_or_else(
            || of("PodScheduled").filter(|it| is(it, "True")),
            |ready| Some(ready).filter(|it| !is(it, "True")),
        );
        said?.last_transition_time
    }
}

/// `key=value` pairs, each ended by a zero byte.
pub(super) fn packed(labels: Option<&BTreeMap<String, String>>) -> String {
    let mut text = String::new();
    for (key, value) in labels.into_iter().flatten() {
        text.push_str(key);
        text.push('=');
        text.push_str(value);
        text.push('\0');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_for_which_others_make_place_has_one() {
        let status = |nominated: Option<&str>| -> WireStatus {
            let condition = serde_json::json!({
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            serde_json::from_value(serde_json::json!({
                "phase": "Pending", "nominatedNodeName": nominated, "conditions": [condition],
            }))
            .unwrap()
        };
        assert!(status(None).unplaced().is_some());
        assert!(status(Some("")).unplaced().is_some());
        assert_eq!(status(Some("n1")).unplaced(), None);
    }

    #[test]
    fn a_pod_that_has_a_node_waits_to_be_ready_until_it_is_or_goes() {
        let name = Name { namespace: "shop".into(), name: "sink-1".into() };
        let selector = Selector::read("app=sink").unwrap();
        let waits = |node: Option<&str>, going: bool, conditions: &[(&str, &str, i64)]| {
            let at = |second| Timestamp::from_second(second).unwrap();
            let conditions: Vec<_> = conditions
                .iter()
                .map(|(kind, status, since)| {
                    serde_json::json!({"type": kind, "status": status, "lastTransitionTime": at(*since)})
                })
                .collect();
            let deleted = going.then(|| at(900));
            let pod = serde_json::from_value(serde_json::json!({
                "metadata": {"labels": {"app": "sink"}, "deletionTimestamp": deleted},
                "spec": {"nodeName": node},
                "status": {"phase": "Running", "conditions": conditions},
            }));
            let mut pods = Pods::default();
            pods.put(&name, &pod.unwrap());
            let places = pods.places("shop", &selector, &Nodes::default(), at(1000));
            places.unready.iter().map(|since| since.as_second()).collect::<Vec<_>>()
        };
        let scheduled = ("PodScheduled", "True", 100);
        let node = Some("spot-1");
        assert_eq!(waits(node, false, &[scheduled]), [100], "no kubelet has said anything");
        assert_eq!(waits(node, false, &[scheduled, ("Ready", "False", 300)]), [300]);
        assert_eq!(waits(node, false, &[scheduled, ("Ready", "Unknown", 300)]), [300]);
        let nothing: [i64; 0] = [];
        assert_eq!(waits(node, false, &[scheduled, ("Ready", "True", 300)]), nothing);
        assert_eq!(waits(node, true, &[scheduled, ("Ready", "False", 300)]), nothing, "it goes");
        assert_eq!(waits(None, false, &[("PodScheduled", "False", 100)]), nothing, "it has none");
    }

    #[test]
    fn labels_are_kept_once_and_no_longer_than_a_pod_has_them() {
        let pod = |app: &str| -> WirePod {
            let labels = serde_json::json!({"app": app});
            serde_json::from_value(serde_json::json!({
                "metadata": {"labels": labels}, "spec": {}, "status": {},
            }))
            .unwrap()
        };
        let name = |name: &str| Name { namespace: "shop".into(), name: name.into() };
        let mut pods = Pods::default();
        for number in 0..10 {
            pods.put(&name(&number.to_string()), &pod("enrich"));
        }
        assert_eq!(pods.labels.len(), 1);
        assert!(pods.put(&name("0"), &pod("enrich")).is_none(), "nothing has changed");
        pods.put(&name("0"), &pod("sink"));
        assert_eq!(pods.labels.len(), 2);
        pods.gone(&name("0"));
        assert_eq!(pods.labels.len(), 1);
        for number in 1..10 {
            pods.gone(&name(&number.to_string()));
        }
        assert!(pods.labels.is_empty() && pods.by_namespace.is_empty());
    }
}
