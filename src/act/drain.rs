//! Holds who drains nodes: makes, changes and removes the `PodDisruptionBudget`s that decide asks for, and lets pods go, by name, before their
//! node ends. A budget is changed by a JSON merge patch that states the `resourceVersion` it was seen at, and goes by its uid. Pods are deleted and
//! not evicted: an eviction would ask the budgets, and what they protect ends with the node a moment later, without its grace.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Licence;
use super::kinds::is_plain;
use super::scale::{cut, ending_of, text};
use crate::clock::Clock;
use crate::decide::{Draining, Ending, Grip, HoldDrain, LetGo, PodSeen, Scale};

const FIELD_MANAGER: &str = "penstock-drain";
/// Requests at once.
const AT_ONCE: usize = 8;
/// The last pod is begun no later than this: who is left over is let go in the next turn, and the answers come within the deadline.
const BUDGET: Duration = Duration::from_secs(2);

/// What holds drains. Cheap to clone.
#[derive(Clone)]
pub(super) struct Warden {
    client: Client,
    clock: Clock,
}

/// Of what is answered nothing is read but the version, where there is one.
#[derive(Deserialize)]
struct Answered {
    #[serde(default)]
    metadata: Meta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    resource_version: String,
}

impl Warden {
    pub(super) fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock }
    }

    /// Makes a budget, has it say something else, or takes it away.
    pub(super) async fn hold(&self, hold: &HoldDrain, licence: &Licence) -> Ending {
        if let Some(refused) = odd(&[&hold.scale.target.namespace, &hold.budget]) {
            return refused;
        }
        let request = match budget(hold) {
            Ok(request) => request,
            Err(error) => return Ending::Refused { code: 400, message: cut(&error.to_string()) },
        };
        if let Err(none) = licence.check() {
            return Ending::NotSent { message: none.to_string() };
        }
        match self.client.request::<Answered>(request).await {
            Ok(answered) => {
                Ending::Done { resource_version: answered.metadata.resource_version.into() }
            }
            // There is one of this name, and whoever asked saw none: if it is Penstock's the watch shows it.
            Err(kube::Error::Api(status)) if status.code == 409 && hold.uid.is_none() => {
                Ending::Refused { code: 409, message: cut(&status.message) }
            }
            // Gone, or moved: the watch shows which.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ending::Outdated,
            Err(kube::Error::Api(status)) => ending_of(&status),
            Err(error) => Ending::Unknown { message: cut(&text(&error)) },
        }
    }

    /// Lets all of these pods go. Who went the watch will show; there is nothing to report but what keeps all of them.
    pub(super) async fn let_go(&self, gone: &LetGo, licence: &Licence) -> Ending {
        let scale = &gone.scale;
        let began = self.clock.now();
        let work: Vec<_> =
            gone.pods.iter().map(|pod| self.delete(scale, pod, began, licence)).collect();
        let endings: Vec<_> = stream::iter(work).buffered(AT_ONCE).collect().await;
        let done = || Ending::Done { resource_version: Arc::clone(&scale.resource_version) };
        endings.into_iter().flatten().next().unwrap_or_else(done)
    }

    /// Deletes one, with the grace that its own spec gives; `None` unless something stands in the way of others, too.
    async fn delete(
        &self,
        scale: &Scale,
        pod: &PodSeen,
        began: Timestamp,
        licence: &Licence,
    ) -> Option<Ending> {
        let namespace = &scale.target.namespace;
        if let Some(refused) = odd(&[namespace, &pod.pod]) {
            return Some(refused);
        }
        let passed = Duration::try_from(self.clock.now().duration_since(began));
        if passed.is_ok_and(|passed| BUDGET <= passed) {
            return None;
        }
        let body = json!({
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {"resourceVersion": pod.version.to_string()},
        });
        let path = format!("/api/v1/namespaces/{namespace}/pods/{}", pod.pod);
        let request = match request(Method::DELETE, path, "application/json", &body) {
            Ok(request) => request,
            Err(error) => {
                return Some(Ending::Refused { code: 400, message: cut(&error.to_string()) });
            }
        };
        if let Err(none) = licence.check() {
            return Some(Ending::NotSent { message: none.to_string() });
        }
        match self.client.request::<Answered>(request).await {
            Ok(_) => None,
            // Gone, or moved: the watch shows which.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => None,
            Err(kube::Error::Api(status)) => Some(ending_of(&status)),
            Err(error) => Some(Ending::Unknown { message: cut(&text(&error)) }),
        }
    }
}

/// A part of a path that would bend it.
fn odd(parts: &[&Arc<str>]) -> Option<Ending> {
    let part = parts.iter().find(|part| !is_plain(part))?;
    let message = format!("`{part}` cannot be part of an API path");
    Some(Ending::Refused { code: 400, message })
}

/// The request that brings a budget to what it should say.
fn budget(hold: &HoldDrain) -> Result<Request<Vec<u8>>, http::Error> {
    let all =
        format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets", hold.scale.target.namespace);
    let one = format!("{all}/{}", hold.budget);
    let by = format!("fieldManager={FIELD_MANAGER}");
    match (&hold.uid, hold.grip) {
        (Some(uid), None) => {
            let body = json!({
                "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid},
            });
            request(Method::DELETE, one, "application/json", &body)
        }
        (Some(_), Some(grip)) => {
            let mut body = object(hold, grip);
            body["metadata"]["resourceVersion"] = json!(hold.version);
            let kind = "application/merge-patch+json";
            request(Method::PATCH, format!("{one}?{by}"), kind, &body)
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
            request(Method::POST, format!("{all}?{by}"), "application/json", &body)
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

fn request(
    method: Method,
    path: String,
    kind: &str,
    body: &Value,
) -> Result<Request<Vec<u8>>, http::Error> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(CONTENT_TYPE, kind)
        .body(body.to_string().into_bytes())
}
