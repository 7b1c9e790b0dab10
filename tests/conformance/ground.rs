//! The ground of all cases: raw requests, so that status codes and texts can be read as they were sent.

use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};

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

    /// Panics with the answer unless the code is this one.
    #[track_caller]
    pub(crate) fn expect(self, code: u16) -> Self {
        assert_eq!(self.code, code, "{:#}", self.body);
        self
    }
}

/// Any request; an empty body is sent as none.
pub(crate) async fn ask(
    client: &Client,
    method: Method,
    path: &str,
    media: &str,
    body: &Value,
) -> Answer {
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", media)
        .header("user-agent", "conformance/1")
        .body(kube::client::Body::from(bytes))
        .unwrap();
    let answer = client.send(request).await.unwrap();
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

pub(crate) async fn get(client: &Client, path: &str) -> Answer {
    ask(client, Method::GET, path, "", &Value::Null).await
}

pub(crate) async fn post(client: &Client, path: &str, body: &Value) -> Answer {
    ask(client, Method::POST, path, "application/json", body).await
}

pub(crate) async fn put(client: &Client, path: &str, body: &Value) -> Answer {
    ask(client, Method::PUT, path, "application/json", body).await
}

pub(crate) async fn delete(client: &Client, path: &str, body: &Value) -> Answer {
    ask(client, Method::DELETE, path, "application/json", body).await
}

pub(crate) async fn merge(client: &Client, path: &str, body: &Value) -> Answer {
    ask(client, Method::PATCH, path, "application/merge-patch+json", body).await
}

pub(crate) async fn strategic(client: &Client, path: &str, body: &Value) -> Answer {
    ask(client, Method::PATCH, path, "application/strategic-merge-patch+json", body).await
}

/// A server-side apply. The path carries `fieldManager`, and `force` if wanted.
pub(crate) async fn apply(client: &Client, path: &str, body: &Value) -> Answer {
    ask(client, Method::PATCH, path, "application/apply-patch+yaml", body).await
}

/// Everything about one deployment of a case.
pub(crate) fn deployment(name: &str, replicas: Option<i64>) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "demo:1"}]}
            }
        }
    });
    if let Some(replicas) = replicas {
        object["spec"]["replicas"] = json!(replicas);
    }
    object
}

/// The entries of `managedFields` as `manager/operation/subresource`, in their order.
pub(crate) fn managers(object: &Value) -> Vec<String> {
    let list = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let text = |entry: &Value, key: &str| {
        entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    list.into_iter()
        .flatten()
        .map(|entry| {
            format!(
                "{}/{}/{}",
                text(entry, "manager"),
                text(entry, "operation"),
                text(entry, "subresource")
            )
        })
        .collect()
}

/// The fields of one manager, as `manager/operation/subresource`.
pub(crate) fn fields(object: &Value, manager: &str) -> Value {
    let at = managers(object).iter().position(|name| name == manager);
    at.map(|at| object["metadata"]["managedFields"][at]["fieldsV1"].clone()).unwrap_or_default()
}
