//! Pods: a node is found, a time passes, they are Ready; told to go, they take their time and are gone. The crew calls this for each
//! pod that changed or whose time has come. It stands in for scheduler and kubelet.

use super::{Crew, PODS, hand, set_status, text};
use crate::demo::cluster::store::Place;
use crate::demo::cluster::write::{Face, State};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Whether a pod's Ready condition is True.
pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// How many pods each node has that takes more.
fn load(state: &State) -> BTreeMap<String, usize> {
    let mut load = BTreeMap::new();
    for (place, node) in state.store.shelf("nodes").into_iter().flat_map(|shelf| &shelf.objects) {
        if node.pointer("/spec/unschedulable") != Some(&json!(true)) {
            load.insert(place.1.clone(), 0);
        }
    }
    for pod in state.store.shelf(PODS).into_iter().flat_map(|shelf| shelf.objects.values()) {
        if let Some(count) = load.get_mut(text(pod, "/spec/nodeName")) {
            *count += 1;
        }
    }
    load
}

/// Pods without a node.
pub(super) fn unplaced(state: &State) -> impl Iterator<Item = Place> {
    let pods = state.store.shelf(PODS).into_iter().flat_map(|shelf| &shelf.objects);
    pods.filter(|(_, pod)| text(pod, "/spec/nodeName").is_empty()).map(|(place, _)| place.clone())
}

/// May this pod stand on this node, by its selector and the node's taints? Tolerations are not known here.
fn takes(state: &State, node: &str, pod: &Value) -> bool {
    let Some(node) = state.store.object("nodes", &(String::new(), node.to_owned())) else {
        return false;
    };
    let wanted = pod.pointer("/spec/nodeSelector").and_then(Value::as_object);
    let has = |(key, value): (&String, &Value)| node["metadata"]["labels"][key] == *value;
    let taints = node.pointer("/spec/taints").and_then(Value::as_array);
    wanted.into_iter().flatten().all(has)
        && !taints.into_iter().flatten().any(|taint| taint["effect"] == "NoSchedule")
}

impl Crew {
    pub(super) fn pod(&mut self, state: &mut State, place: &Place, now: Instant) {
        let Some(pod) = state.store.object(PODS, place).cloned() else { return };
        if super::is_going(&pod) {
            self.stop(state, place, &pod, now);
            return;
        }
        if !matches!(text(&pod, "/status/phase"), "" | "Pending") {
            return;
        }
        if text(&pod, "/spec/nodeName").is_empty() {
            self.schedule(state, place, &pod, now);
            return;
        }
        if self
            .instant(&pod, "/metadata/annotations/demo.penstock.dev~1ready-at")
            .is_none_or(|at| at <= now)
        {
            self.start(state, place, &pod);
        }
    }

    /// Gives a pod the node with the most room, and draws when it will be Ready.
    fn schedule(&mut self, state: &mut State, place: &Place, pod: &Value, now: Instant) {
        if self.load.is_empty() {
            self.load = load(state);
        }
        let room = self.api.options.pods_per_node;
        let Some((node, taken)) = self
            .load
            .iter_mut()
            .filter(|(node, taken)| **taken < room && takes(state, node, pod))
            .min_by_key(|(_, taken)| **taken)
        else {
            let now = self.api.now();
            let status = json!({"phase": "Pending", "qosClass": "BestEffort", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0 nodes are available: too many pods, or none that the pod may stand on.", "lastProbeTime": null, "lastTransitionTime": now}
            ]});
            set_status(&self.api, state, PODS, place, status);
            return;
        };
        *taken += 1;
        let (least, most) = self.api.options.startup;
        let spread = u64::try_from(most.saturating_sub(least).as_millis()).unwrap_or_default();
        let wait = least + Duration::from_millis(state.lots.u64(..=spread));
        let at = self.api.clock.at(now + wait);
        let Some(resource) = state.kinds.by_shelf(PODS).cloned() else { return };
        let mut new = pod.clone();
        new["spec"]["nodeName"] = json!(node);
        new["metadata"]["annotations"]["demo.penstock.dev/ready-at"] = json!(at.to_string());
        let Some(live) = state.store.object(PODS, place).cloned() else { return };
        drop(hand(&self.api, state, &resource, "kube-scheduler", "").replace(
            place,
            &live,
            new,
            Face::Main,
            true,
        ));
        self.timers.entry(now + wait).or_default().insert(place.clone());
    }

    fn instant(&self, pod: &Value, pointer: &str) -> Option<Instant> {
        Some(self.api.clock.instant(text(pod, pointer).parse().ok()?))
    }

    fn start(&self, state: &mut State, place: &Place, pod: &Value) {
        let now = self.api.now();
        let condition = |kind: &str| json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
        let containers =
            pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
        let statuses = containers.map(|c| {
            json!({"name": c["name"], "image": c["image"], "imageID": "", "ready": true, "started": true, "restartCount": 0, "state": {"running": {"startedAt": now}}})
        });
        let n = text(pod, "/metadata/resourceVersion").parse::<u32>().unwrap_or_default();
        let ip = format!("10.{}.{}.{}", (n >> 16) & 255, (n >> 8) & 255, n & 255);
        let status = json!({
            "phase": "Running", "qosClass": "BestEffort", "startTime": now, "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "192.168.0.1",
            "conditions": [condition("PodScheduled"), condition("Initialized"), condition("ContainersReady"), condition("Ready")],
            "containerStatuses": statuses.collect::<Vec<_>>()
        });
        set_status(&self.api, state, PODS, place, status);
    }

    /// A pod told to go stays Terminating for its time, then is gone.
    fn stop(&mut self, state: &mut State, place: &Place, pod: &Value, now: Instant) {
        let grace = Duration::from_secs(
            pod.pointer("/metadata/deletionGracePeriodSeconds")
                .and_then(Value::as_u64)
                .unwrap_or_default(),
        );
        let due = *self
            .stopping
            .entry(text(pod, "/metadata/uid").to_owned())
            .or_insert_with(|| now + self.api.options.shutdown.min(grace));
        if due > now {
            self.timers.entry(due).or_default().insert(place.clone());
            return;
        }
        self.stopping.remove(text(pod, "/metadata/uid"));
        let Some(resource) = state.kinds.by_shelf(PODS).cloned() else { return };
        let has_finalizers = pod
            .pointer("/metadata/finalizers")
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty());
        let mut write = hand(&self.api, state, &resource, "kubelet", "");
        if has_finalizers {
            let Ok(live) = write.live(place) else { return };
            let mut new = pod.clone();
            new["metadata"]["deletionGracePeriodSeconds"] = json!(0);
            drop(write.replace(place, &live, new, Face::Main, true));
        } else {
            write.remove(place);
        }
    }
}
