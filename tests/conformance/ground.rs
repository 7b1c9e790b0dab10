//! The ground of all cases: raw requests, so that status codes and texts can be read as they were sent.

use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};
use std::time::Duration;

/// Where a case stands.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) client: Client,
    /// An empty namespace of this case alone.
    pub(crate) namespace: String,
    /// The minor version of the API: some texts differ.
    pub(crate) minor: u32,
}

/// An answer as it was sent.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    /// The text at a pointer; empty when there is none.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The Status message.
    pub(crate) fn message(&self) -> &str {
        self.text("/message")
    }

    /// `metadata.resourceVersion`.
    pub(crate) fn revision(&self) -> String {
        self.text("/metadata/resourceVersion").to_owned()
    }

    /// Panics with the answer unless the code is this one.
    #[track_caller]
    pub(crate) fn expect(self, code: u16) -> Self {
        assert_eq!(self.code, code, "{:#}", self.body);
        self
    }

    /// Panics unless the request was refused with this code, reason and message.
    #[track_caller]
    pub(crate) fn refused(self, code: u16, reason: &str, message: &str) -> Self {
        assert_eq!((self.code, self.text("/reason"), self.message()), (code, reason, message));
        assert_eq!(self.body["code"], code);
        self
    }
}

impl Ground {
    /// The path of a collection in the namespace, `v1` for the core group; with a name (and `/scale` or a query), of one object.
    pub(crate) fn path(&self, version: &str, plural: &str, rest: &str) -> String {
        let root = if version == "v1" { "/api" } else { "/apis" };
        let slash = if rest.is_empty() || rest.starts_with('?') { "" } else { "/" };
        format!("{root}/{version}/namespaces/{}/{plural}{slash}{rest}", self.namespace)
    }

    /// A deployment's path.
    pub(crate) fn deployment(&self, rest: &str) -> String {
        self.path("apps/v1", "deployments", rest)
    }

    /// A config map's path.
    pub(crate) fn config_map(&self, rest: &str) -> String {
        self.path("v1", "configmaps", rest)
    }

    /// Any request; a null body is sent as none.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        media: &str,
        body: &Value,
    ) -> Answer {
        self.ask_as(method, path, media, "", body).await
    }

    /// Any request for a form of answer.
    pub(crate) async fn ask_as(
        &self,
        method: Method,
        path: &str,
        media: &str,
        accept: &str,
        body: &Value,
    ) -> Answer {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let mut request =
            Request::builder().method(method).uri(path).header("user-agent", "conformance/1");
        if !media.is_empty() {
            request = request.header("content-type", media);
        }
        if !accept.is_empty() {
            request = request.header("accept", accept);
        }
        let request = request.body(kube::client::Body::from(bytes)).unwrap();
        let answer = self.client.send(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let bytes = body.collect_bytes().await.unwrap();
        let warnings = parts
            .headers
            .get_all("warning")
            .iter()
            .filter_map(|w| w.to_str().ok().map(str::to_owned))
            .collect();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { code: parts.status.as_u16(), body, warnings }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, "", &Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::POST, path, "application/json", body).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::PUT, path, "application/json", body).await
    }

    pub(crate) async fn delete(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::DELETE, path, "application/json", body).await
    }

    pub(crate) async fn merge(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::PATCH, path, "application/merge-patch+json", body).await
    }

    pub(crate) async fn strategic(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::PATCH, path, "application/strategic-merge-patch+json", body).await
    }

    pub(crate) async fn json_patch(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::PATCH, path, "application/json-patch+json", body).await
    }

    /// A server-side apply. The path carries `fieldManager`, and `force` if wanted.
    pub(crate) async fn apply(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::PATCH, path, "application/apply-patch+yaml", body).await
    }

    /// The events of a watch until it ends, by itself or by this many.
    pub(crate) async fn watch(&self, path: &str, accept: &str, most: usize) -> Vec<Value> {
        use futures::{AsyncBufReadExt, StreamExt};
        let request = Request::builder()
            .uri(path)
            .header("accept", if accept.is_empty() { "application/json" } else { accept });
        let stream = self.client.request_stream(request.body(Vec::new()).unwrap()).await.unwrap();
        let lines =
            stream.lines().take(most).map(|line| serde_json::from_str(&line.unwrap()).unwrap());
        tokio::time::timeout(Duration::from_secs(20), lines.collect()).await.unwrap()
    }

    /// Defines the custom kind that the cases use, under a group of its own, and waits until it is served. Returns its `group/version`.
    pub(crate) async fn define(&self, group: &str) -> String {
        let group = format!("{group}.example.com");
        let name = format!("rollouts.{group}");
        let all = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": {"plural": "rollouts", "kind": "Rollout", "shortNames": ["ro"], "categories": ["demo"]},
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "subresources": {
                        "status": {},
                        "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}
                    },
                    "additionalPrinterColumns": [
                        {"name": "Mode", "type": "string", "jsonPath": ".spec.mode"},
                        {"name": "Active", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Active\")].status"},
                        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
                    ],
                    "schema": {"openAPIV3Schema": schema()}
                }]
            }
        });
        self.post(all, &definition).await.expect(201);
        let list = format!("/apis/{group}/v1/namespaces/{}/rollouts", self.namespace);
        for _ in 0..100 {
            if self.get(&list).await.code == 200 {
                return format!("{group}/v1");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{name} is not served after 10 s");
    }

    /// Takes back what `define` did.
    pub(crate) async fn forget(&self, version: &str) {
        let group = version.split('/').next().unwrap_or_default();
        let path =
            format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/rollouts.{group}");
        self.delete(&path, &Value::Null).await.expect(200);
    }
}

fn schema() -> Value {
    let replicas = json!({
        "type": "object", "required": ["max"],
        "properties": {"min": {"type": "integer", "default": 1}, "max": {"type": "integer"}}
    });
    let stage = json!({
        "type": "object", "required": ["name", "replicas"],
        "x-kubernetes-validations": [
            {"rule": "self.replicas.max >= self.replicas.min", "messageExpression": "'max is below min of ' + self.name"},
            {"rule": "self.kind == oldSelf.kind", "message": "kind is immutable", "reason": "FieldValueForbidden", "fieldPath": ".kind"},
        ],
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "kind": {"type": "string", "default": "A", "maxLength": 5},
            "replicas": replicas
        }
    });
    let condition = json!({
        "type": "object", "required": ["type", "status"],
        "properties": {"type": {"type": "string"}, "status": {"type": "string"}, "reason": {"type": "string"}}
    });
    json!({
        "type": "object", "required": ["spec"],
        "properties": {
            "spec": {
                "type": "object", "required": ["name"],
                "x-kubernetes-validations": [
                    {"rule": "!has(self.min) || !has(self.max) || self.min <= self.max", "message": "min must not exceed max", "fieldPath": ".min"},
                    {"rule": "!has(self.frozen) || !has(oldSelf.frozen) || self.frozen == oldSelf.frozen", "message": "frozen is immutable"},
                ],
                "properties": {
                    "name": {"type": "string", "maxLength": 10, "minLength": 2, "pattern": "^[a-z]+$"},
                    "mode": {"type": "string", "enum": ["Enforce", "Observe"], "default": "Enforce"},
                    "replicas": {"type": "integer", "format": "int32", "minimum": 0, "maximum": 100},
                    "min": {"type": "integer", "minimum": 0},
                    "max": {"type": "integer"},
                    "frozen": {"type": "string", "maxLength": 5},
                    "ratio": {"type": "number", "minimum": 0.5, "exclusiveMinimum": true},
                    "flag": {"type": "boolean"},
                    "port": {"x-kubernetes-int-or-string": true},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "tags": {"type": "array", "maxItems": 3, "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                    "atoms": {"type": "array", "minItems": 1, "items": {"type": "string"}},
                    "labels": {"type": "object", "maxProperties": 2, "additionalProperties": {"type": "string", "maxLength": 5}},
                    "stages": {"type": "array", "maxItems": 4, "items": stage, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
                }
            },
            "status": {
                "type": "object",
                "properties": {
                    "replicas": {"type": "integer"}, "selector": {"type": "string"}, "observedGeneration": {"type": "integer"},
                    "conditions": {"type": "array", "items": condition, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
                }
            }
        }
    })
}

/// A custom object of the kind that `define` makes.
pub(crate) fn rollout(version: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": version, "kind": "Rollout", "metadata": {"name": name}, "spec": spec})
}

/// A Scale object.
pub(crate) fn scale(name: &str, replicas: i64) -> Value {
    json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": name}, "spec": {"replicas": replicas}})
}

/// Everything about one deployment of a case.
pub(crate) fn deployment(name: &str, replicas: Option<i64>) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "demo:1"}]}}
        }
    });
    if let Some(replicas) = replicas {
        object["spec"]["replicas"] = json!(replicas);
    }
    object
}

/// Only the replicas of a deployment, as an applier of that alone writes them.
pub(crate) fn only_replicas(name: &str, replicas: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": replicas}})
}

/// A config map with a label.
pub(crate) fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"of": "case", "n": name}}, "data": {"a": name}})
}

/// The managers of an object as `manager/operation/subresource`, in their order; controllers are left out.
pub(crate) fn managers(object: &Value) -> Vec<String> {
    let list = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let text = |entry: &Value, key: &str| {
        entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let all = list.into_iter().flatten().map(|entry| {
        format!(
            "{}/{}/{}",
            text(entry, "manager"),
            text(entry, "operation"),
            text(entry, "subresource")
        )
    });
    all.filter(|name| !name.starts_with("kube-")).collect()
}

/// The fields of one manager, as `manager/operation/subresource`; null when it has none.
pub(crate) fn fields(object: &Value, manager: &str) -> Value {
    let list = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let entry = list.into_iter().flatten().find(|entry| {
        let one = json!({"metadata": {"managedFields": [entry]}});
        managers(&one).first().map(String::as_str) == Some(manager)
    });
    entry.map(|entry| entry["fieldsV1"].clone()).unwrap_or_default()
}
