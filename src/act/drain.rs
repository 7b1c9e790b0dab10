//! Holds who drains nodes: makes, changes and removes the `PodDisruptionBudget`s that decide asks for, and lets pods go, by name, before their
//! node ends. A budget is changed by a JSON merge patch that states the `resourceVersion` it was seen at, and goes by its uid. Pods are deleted and
//! not evicted: an eviction would ask the budgets, and what they protect ends with the node a moment later, without its grace.

use http::Method;
use kube::Client;
use serde_json::{Value, json};

use super::Licence;
use super::round::{Pods, Word};
use super::wire::{Answered, Asked, Failed, JSON, MERGE_PATCH, cut, odd, request, send};
use crate::clock::Clock;
use crate::decide::{Draining, Ending, Grip, HoldDrain, LetGo, PodSeen};

const FIELD_MANAGER: &str = "penstock-drain";

/// What holds drains. Cheap to clone.
#[derive(Clone)]
pub(super) struct Warden {
    client: Client,
    pods: Pods,
}

impl Warden {
    pub(super) fn new(client: Client, clock: Clock) -> Self {
        Self { pods: Pods::new(client.clone(), clock), client }
    }

    /// Makes a budget, has it say something else, or takes it away.
    pub(super) async fn hold(&self, hold: &HoldDrain, licence: &Licence) -> Ending {
        if let Some(refused) = odd(&[&hold.scale.target.namespace, &hold.budget]) {
            return refused;
        }
        match send::<Answered>(&self.client, budget(hold), licence).await {
            Ok(answered) => answered.done(),
            // There is one of this name, and whoever asked saw none: if it is Penstock's the watch shows it.
            Err(Failed::Answered(status)) if status.code == 409 && hold.uid.is_none() => {
                Ending::Refused { code: 409, message: cut(&status.message) }
            }
            // Gone, or moved: the watch shows which.
            Err(failed) if matches!(failed.code(), Some(404 | 409)) => Ending::Outdated,
            Err(failed) => failed.into(),
        }
    }

    /// Lets all of these pods go. Who went the watch will show; there is nothing to report but what keeps all of them.
    pub(super) async fn let_go(&self, gone: &LetGo, licence: &Licence) -> Ending {
        let words = gone.pods.iter().map(|pod| (&pod.pod, farewell(pod)));
        self.pods.tell(&gone.scale, words, licence).await
    }
}

/// Deletes it, with the grace that its own spec gives.
fn farewell(pod: &PodSeen) -> Word {
    let body = json!({
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "preconditions": {"resourceVersion": pod.version.to_string()},
    });
    Word { method: Method::DELETE, query: "", kind: JSON, body }
}

/// The request that brings a budget to what it should say.
fn budget(hold: &HoldDrain) -> Asked {
    let all =
        format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets", hold.scale.target.namespace);
    let one = format!("{all}/{}", hold.budget);
    let by = format!("fieldManager={FIELD_MANAGER}");
    match (&hold.uid, hold.grip) {
        (Some(uid), None) => {
            let body = json!({
                "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid},
            });
            request(Method::DELETE, &one, Some((JSON, &body)))
        }
        (Some(_), Some(grip)) => {
            let mut body = object(hold, grip);
            body["metadata"]["resourceVersion"] = json!(hold.version);
            request(Method::PATCH, &format!("{one}?{by}"), Some((MERGE_PATCH, &body)))
        }
        (None, grip) => {
            let grip = grip.unwrap_or(Grip::Loose);
            let mut body = object(hold, grip);
            body["apiVersion"] = json!("policy/v1");
            body["kind"] = json!("PodDisruptionBudget");
            body["metadata"]["name"] = json!(hold.budget);
            if grip == Grip::Loose
                && let Some(meta) = body["metadata"].as_object_mut()
            {
                // Of a new object null would be a value, and an empty one.
                meta.remove("annotations");
            }
            request(Method::POST, &format!("{all}?{by}"), Some((JSON, &body)))
        }
    }
}

/// All that a budget says; null takes away what another grip or somebody else had said.
fn object(hold: &HoldDrain, grip: Grip) -> Value {
    let (least, lacking, until) = match grip {
        Grip::Loose => (None, Some(1), None),
        Grip::Tight { least, until } => (Some(least), None, Some(until.to_string())),
    };
    let pipeline = &hold.scale.stage.pipeline;
    json!({
        "metadata": {
            "labels": {Draining::LABEL: "held"},
            "annotations": {Grip::UNTIL: until},
            "ownerReferences": [{
                "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
                "name": pipeline.name, "uid": hold.owner,
            }],
        },
        "spec": {
            "minAvailable": least,
            "maxUnavailable": lacking,
            // What somebody added to it would stay otherwise.
            "selector": {"matchLabels": null, "matchExpressions": hold.selector},
            // A pod that is not Ready serves nobody, and held would only keep its node.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    })
}
