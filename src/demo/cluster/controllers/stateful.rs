//! Stateful sets: pods with ordinals, made from the lowest up and removed from the highest down. Called by the crew.

use super::deployment::template_hash;
use super::{
    PODS, STATEFUL_SETS, count, create, delete, is_going, owned, pods, reference, set_status, text,
};
use crate::demo::cluster::http::Api;
use crate::demo::cluster::store::{Place, place_of};
use crate::demo::cluster::write::State;
use serde_json::{Value, json};
use std::sync::Arc;

fn ordinal(pod: &Value) -> i64 {
    text(pod, "/metadata/name").rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(-1)
}

/// Brings a stateful set one step closer to its replicas and writes its status. In order, unless its pods are managed in parallel.
pub(super) fn stateful_set(api: &Api, state: &mut State, place: &Place) {
    let Some(set) = state.store.object(STATEFUL_SETS, place).cloned() else { return };
    if is_going(&set) {
        return;
    }
    let uid = text(&set, "/metadata/uid").to_owned();
    let wanted = count(&set, "/spec/replicas");
    let parallel = text(&set, "/spec/podManagementPolicy") == "Parallel";
    let revision = format!("{}-{}", place.1, template_hash(&set["spec"]["template"]));
    let mut have = owned(state, &uid, PODS);
    have.sort_by_key(|pod| ordinal(pod));
    let settled = have.iter().all(|pod| pods::is_ready(pod) && !is_going(pod));
    let mut moved = false;
    for i in 0..wanted {
        match have.iter().find(|pod| ordinal(pod) == i) {
            None => {
                create(api, state, PODS, &place.0, pod(&set, place, i, &revision));
                moved = true;
            }
            Some(pod) if pods::is_ready(pod) && !is_going(pod) => continue,
            Some(_) => {}
        }
        if !parallel {
            break;
        }
    }
    let surplus: Vec<&Arc<Value>> =
        have.iter().rev().filter(|pod| ordinal(pod) >= wanted).collect();
    let leaving = surplus.iter().any(|pod| is_going(pod));
    if parallel {
        for pod in surplus.iter().filter(|pod| !is_going(pod)) {
            delete(api, state, PODS, &place_of(pod));
        }
    } else if let Some(pod) = surplus.first()
        && !leaving
        && !moved
    {
        delete(api, state, PODS, &place_of(pod));
    } else if settled
        && surplus.is_empty()
        && !moved
        && let Some(old) = have
            .iter()
            .rev()
            .find(|pod| text(pod, "/metadata/labels/controller-revision-hash") != revision)
    {
        delete(api, state, PODS, &place_of(old));
    }
    let pods = owned(state, &uid, PODS);
    let current = pods
        .iter()
        .filter(|pod| text(pod, "/metadata/labels/controller-revision-hash") == revision)
        .count();
    let ready = pods.iter().filter(|pod| pods::is_ready(pod)).count();
    let mut status = json!({
        "observedGeneration": set["metadata"]["generation"], "replicas": pods.len(), "availableReplicas": ready,
        "currentRevision": revision, "updateRevision": revision, "collisionCount": 0
    });
    for (key, value) in
        [("readyReplicas", ready), ("currentReplicas", current), ("updatedReplicas", current)]
    {
        if value > 0 {
            status[key] = json!(value);
        }
    }
    set_status(api, state, STATEFUL_SETS, place, status);
}

fn pod(set: &Value, place: &Place, i: i64, revision: &str) -> Value {
    let template = &set["spec"]["template"];
    let name = format!("{}-{i}", place.1);
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]});
    pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] = json!(i.to_string());
    pod["metadata"]["labels"]["controller-revision-hash"] = json!(revision);
    pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = json!(name);
    pod["metadata"]["name"] = json!(name);
    pod["metadata"]["generateName"] = json!(format!("{}-", place.1));
    pod["metadata"]["ownerReferences"] = reference(set);
    pod["spec"]["hostname"] = json!(name);
    pod["spec"]["subdomain"] = set["spec"]["serviceName"].clone();
    pod
}
