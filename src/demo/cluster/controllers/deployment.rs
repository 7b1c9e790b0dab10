//! Deployments: one replica set for each pod template, the newest taking over from the others as fast as the strategy allows.
//! Called by the crew.

use super::{
    DEPLOYMENTS, REPLICA_SETS, count, create, delete, events, is_going, owned, reference,
    set_status, text, update,
};
use crate::crd::schema::go_json;
use crate::demo::cluster::http::Api;
use crate::demo::cluster::store::{Place, place_of};
use crate::demo::cluster::with_condition;
use crate::demo::cluster::write::State;
use serde_json::{Value, json};
use std::sync::Arc;

/// Ten letters that stand for a pod template.
pub(super) fn template_hash(template: &Value) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hash = go_json(template).bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut out = String::new();
    for _ in 0..10 {
        let i = usize::try_from(hash % LETTERS.len() as u64).unwrap_or_default();
        out.push(char::from(LETTERS[i]));
        hash /= LETTERS.len() as u64;
    }
    out
}

/// A count or a share of `of`, as `maxSurge` and `maxUnavailable` are written.
fn share(value: Option<&Value>, of: i64, up: bool) -> i64 {
    match value {
        Some(Value::Number(n)) => n.as_i64().unwrap_or_default(),
        Some(Value::String(text)) => {
            let percent = text.trim_end_matches('%').parse::<i64>().unwrap_or_default();
            if up { (percent * of + 99) / 100 } else { percent * of / 100 }
        }
        _ => 0,
    }
}

fn scale(api: &Api, state: &mut State, deployment: &Value, set: &Value, to: i64) {
    let from = count(set, "/spec/replicas");
    if from == to {
        return;
    }
    let mut new = set.clone();
    new["spec"]["replicas"] = json!(to);
    new["metadata"]["annotations"]["deployment.kubernetes.io/desired-replicas"] =
        json!(count(deployment, "/spec/replicas").to_string());
    update(api, state, REPLICA_SETS, &place_of(set), new);
    let way = if to > from { "up" } else { "down" };
    let message =
        format!("Scaled {way} replica set {} from {from} to {to}", text(set, "/metadata/name"));
    events::tell(api, state, deployment, "ScalingReplicaSet", &message);
}

fn new_set(deployment: &Value, hash: &str, revision: i64) -> Value {
    let mut template = deployment["spec"]["template"].clone();
    let mut selector = deployment["spec"]["selector"].clone();
    template["metadata"]["labels"]["pod-template-hash"] = json!(hash);
    selector["matchLabels"]["pod-template-hash"] = json!(hash);
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{}-{hash}", text(deployment, "/metadata/name")),
            "labels": template["metadata"]["labels"],
            "annotations": {
                "deployment.kubernetes.io/desired-replicas": count(deployment, "/spec/replicas").to_string(),
                "deployment.kubernetes.io/revision": revision.to_string()
            },
            "ownerReferences": reference(deployment)
        },
        "spec": {"replicas": 0, "selector": selector, "template": template}
    })
}

/// Brings a deployment's replica sets to what it asks for and writes its status.
pub(super) fn deployment(api: &Api, state: &mut State, place: &Place) {
    let Some(deployment) = state.store.object(DEPLOYMENTS, place).cloned() else { return };
    if is_going(&deployment) {
        return;
    }
    let uid = text(&deployment, "/metadata/uid").to_owned();
    let hash = template_hash(&deployment["spec"]["template"]);
    let is_new = |set: &Arc<Value>| text(set, "/metadata/labels/pod-template-hash") == hash;
    let sets = owned(state, &uid, REPLICA_SETS);
    let revision = |set: &Value| {
        text(set, "/metadata/annotations/deployment.kubernetes.io~1revision")
            .parse::<i64>()
            .unwrap_or_default()
    };
    let highest = sets.iter().map(|set| revision(set)).max().unwrap_or_default();
    if !sets.iter().any(is_new) && deployment["spec"]["paused"] != true {
        create(api, state, REPLICA_SETS, &place.0, new_set(&deployment, &hash, highest + 1));
        annotate(api, state, place, highest + 1);
    }
    roll(api, state, &deployment, &hash);
    retire(api, state, &deployment, &hash);
    let sets = owned(state, &uid, REPLICA_SETS);
    let Some(deployment) = state.store.object(DEPLOYMENTS, place).cloned() else { return };
    set_status(api, state, DEPLOYMENTS, place, status(&deployment, &sets, &hash, &api.now()));
}

fn annotate(api: &Api, state: &mut State, place: &Place, revision: i64) {
    let Some(live) = state.store.object(DEPLOYMENTS, place).cloned() else { return };
    let mut new = Value::clone(&live);
    // An annotation of the controller's own is no new generation.
    new["metadata"]["annotations"]["deployment.kubernetes.io/revision"] =
        json!(revision.to_string());
    update(api, state, DEPLOYMENTS, place, new);
}

/// Moves replicas from old sets to the new one.
fn roll(api: &Api, state: &mut State, deployment: &Value, hash: &str) {
    let wanted = count(deployment, "/spec/replicas");
    let uid = text(deployment, "/metadata/uid").to_owned();
    let sets = owned(state, &uid, REPLICA_SETS);
    let (new, old): (Vec<_>, Vec<_>) =
        sets.into_iter().partition(|set| text(set, "/metadata/labels/pod-template-hash") == hash);
    let Some(new) = new.into_iter().next() else { return };
    let old: Vec<_> = old
        .into_iter()
        .filter(|set| count(set, "/spec/replicas") > 0 || count(set, "/status/replicas") > 0)
        .collect();
    if old.is_empty() {
        scale(api, state, deployment, &new, wanted);
        return;
    }
    let old_total: i64 = old.iter().map(|set| count(set, "/spec/replicas")).sum();
    if text(deployment, "/spec/strategy/type") == "Recreate" {
        for set in &old {
            scale(api, state, deployment, set, 0);
        }
        if old.iter().all(|set| count(set, "/status/replicas") == 0) {
            scale(api, state, deployment, &new, wanted);
        }
        return;
    }
    let rolling = deployment.pointer("/spec/strategy/rollingUpdate");
    let surge = share(rolling.and_then(|r| r.get("maxSurge")), wanted, true);
    let unavailable = share(rolling.and_then(|r| r.get("maxUnavailable")), wanted, false);
    let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
    let present = count(&new, "/spec/replicas");
    let room = wanted + surge - old_total - present;
    let next = if present > wanted { wanted } else { (present + room.max(0)).min(wanted) };
    scale(api, state, deployment, &new, next);
    let available: i64 =
        old.iter().chain([&new]).map(|set| count(set, "/status/availableReplicas")).sum();
    let mut spare = available - (wanted - unavailable);
    for set in &old {
        let replicas = count(set, "/spec/replicas");
        let broken = replicas - count(set, "/status/availableReplicas").min(replicas);
        let go = (broken + spare.max(0)).min(replicas);
        spare -= (go - broken).max(0);
        scale(api, state, deployment, set, replicas - go);
    }
}

/// Removes empty old sets beyond the history that is to be kept.
fn retire(api: &Api, state: &mut State, deployment: &Value, hash: &str) {
    let keep = usize::try_from(count(deployment, "/spec/revisionHistoryLimit")).unwrap_or_default();
    let mut old = owned(state, text(deployment, "/metadata/uid"), REPLICA_SETS);
    old.retain(|set| {
        text(set, "/metadata/labels/pod-template-hash") != hash
            && count(set, "/status/replicas") == 0
            && count(set, "/spec/replicas") == 0
    });
    old.sort_by_key(|set| text(set, "/metadata/creationTimestamp").to_owned());
    let surplus = old.len().saturating_sub(keep);
    for set in old.into_iter().take(surplus) {
        delete(api, state, REPLICA_SETS, &place_of(&set));
    }
}

fn status(deployment: &Value, sets: &[Arc<Value>], hash: &str, now: &str) -> Value {
    let sum = |pointer: &str| sets.iter().map(|set| count(set, pointer)).sum::<i64>();
    let updated: i64 = sets
        .iter()
        .filter(|set| text(set, "/metadata/labels/pod-template-hash") == hash)
        .map(|set| count(set, "/status/replicas"))
        .sum();
    let wanted = count(deployment, "/spec/replicas");
    let (replicas, ready, available) =
        (sum("/status/replicas"), sum("/status/readyReplicas"), sum("/status/availableReplicas"));
    let mut status = json!({"observedGeneration": deployment["metadata"]["generation"]});
    let unavailable = (replicas.max(wanted) - available).max(0);
    for (key, value) in [
        ("replicas", replicas),
        ("updatedReplicas", updated),
        ("readyReplicas", ready),
        ("availableReplicas", available),
        ("unavailableReplicas", unavailable),
    ] {
        if value > 0 {
            status[key] = json!(value);
        }
    }
    let slack =
        share(deployment.pointer("/spec/strategy/rollingUpdate/maxUnavailable"), wanted, false);
    let old = deployment.pointer("/status/conditions");
    let enough = available >= wanted - slack;
    let words = if enough {
        ("MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    let done = updated == wanted && available == wanted && replicas == wanted;
    let set = format!("{}-{hash}", text(deployment, "/metadata/name"));
    let message = if done {
        format!("ReplicaSet \"{set}\" has successfully progressed.")
    } else {
        format!("ReplicaSet \"{set}\" is progressing.")
    };
    let reason = if done { "NewReplicaSetAvailable" } else { "ReplicaSetUpdated" };
    let stamped = |kind: &str, mut condition: Value| {
        let before = super::super::entry_of(old, kind);
        let same = before.is_some_and(|b| {
            b["status"] == condition["status"]
                && b["reason"] == condition["reason"]
                && b["message"] == condition["message"]
        });
        condition["lastUpdateTime"] = if same {
            before.map(|b| b["lastUpdateTime"].clone()).unwrap_or_default()
        } else {
            json!(now)
        };
        condition
    };
    status["conditions"] = json!([
        stamped("Available", with_condition(old, "Available", enough, words, now)),
        stamped("Progressing", with_condition(old, "Progressing", true, (reason, &message), now)),
    ]);
    status
}
