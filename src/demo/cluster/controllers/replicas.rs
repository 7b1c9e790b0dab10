//! Replica sets: as many pods as asked for. Called by the crew; `custom` uses the same for custom workloads.

use super::{
    PODS, REPLICA_SETS, count, create, delete, is_going, owned, pods, reference, set_status, text,
};
use crate::demo::cluster::http::Api;
use crate::demo::cluster::store::{Place, place_of};
use crate::demo::cluster::write::{State, suffix};
use serde_json::{Value, json};
use std::sync::Arc;

/// Pods that count: not on their way out, not ended.
pub(super) fn active(state: &State, uid: &str) -> Vec<Arc<Value>> {
    let all = owned(state, uid, PODS).into_iter();
    all.filter(|pod| {
        !is_going(pod) && !matches!(text(pod, "/status/phase"), "Failed" | "Succeeded")
    })
    .collect()
}

/// Makes or removes pods until there are `wanted`. Those that lose least go first: without a node, not running, not ready, cheap by
/// `pod-deletion-cost`, then the newest.
pub(super) fn fit(api: &Api, state: &mut State, owner: &Value, wanted: i64, template: &Value) {
    let uid = text(owner, "/metadata/uid").to_owned();
    let (namespace, name) = place_of(owner);
    let mut have = active(state, &uid);
    let present = i64::try_from(have.len()).unwrap_or(i64::MAX);
    for _ in present..wanted {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]});
        if !pod["metadata"].is_object() {
            pod["metadata"] = json!({});
        }
        pod["metadata"]["name"] = json!(format!("{name}-{}", suffix(&mut state.lots)));
        pod["metadata"]["generateName"] = json!(format!("{name}-"));
        pod["metadata"]["ownerReferences"] = reference(owner);
        create(api, state, PODS, &namespace, pod);
    }
    if present > wanted {
        have.sort_by_key(|pod| {
            let cost =
                text(pod, "/metadata/annotations/controller.kubernetes.io~1pod-deletion-cost")
                    .parse::<i64>()
                    .unwrap_or_default();
            let newest = std::cmp::Reverse(
                text(pod, "/metadata/resourceVersion").parse::<u64>().unwrap_or_default(),
            );
            let created = std::cmp::Reverse(text(pod, "/metadata/creationTimestamp").to_owned());
            (
                !text(pod, "/spec/nodeName").is_empty(),
                text(pod, "/status/phase") == "Running",
                pods::is_ready(pod),
                cost,
                created,
                newest,
            )
        });
        let surplus = usize::try_from(present - wanted.max(0)).unwrap_or_default();
        for pod in have.into_iter().take(surplus) {
            delete(api, state, PODS, &place_of(&pod));
        }
    }
}

/// Brings a replica set to its replicas and writes its status.
pub(super) fn replica_set(api: &Api, state: &mut State, place: &Place) {
    let Some(set) = state.store.object(REPLICA_SETS, place).cloned() else { return };
    if is_going(&set) {
        return;
    }
    fit(api, state, &set, count(&set, "/spec/replicas"), &set["spec"]["template"]);
    let pods = active(state, text(&set, "/metadata/uid"));
    let ready = pods.iter().filter(|pod| pods::is_ready(pod)).count();
    let mut status = json!({"replicas": pods.len(), "fullyLabeledReplicas": pods.len(), "observedGeneration": set["metadata"]["generation"]});
    if ready > 0 {
        status["readyReplicas"] = json!(ready);
        status["availableReplicas"] = json!(ready);
    }
    if pods.is_empty()
        && let Some(status) = status.as_object_mut()
    {
        status.shift_remove("fullyLabeledReplicas");
    }
    set_status(api, state, REPLICA_SETS, place, status);
}
