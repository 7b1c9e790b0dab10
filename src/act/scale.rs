//! One write of a count, and what its answer means: to `/scale`, or to the field that `field` spells. Built-in workloads take a server-side apply; custom resources, whose `/scale`
//! refuses apply, a JSON merge patch. Both carry the uid and `resourceVersion` that the write was decided on.
//!
//! Seen on kube-apiserver 1.33 and 1.36: a stale `resourceVersion` gives 409 by both ways, another uid by apply only (a merge patch
//! ignores it, and the `resourceVersion` of a recreated object differs anyway). Of an apply that is stale and meets another owner the
//! conflict is told. Claiming the present count beside an Update manager takes the field from it; beside an Apply manager both own it.

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use kube::Client;
use kube::core::Status;
use serde::Deserialize;
use serde_json::{Value, json};

use super::field;
use super::kinds::{Kinds, NoPath};
use super::{FIELD_MANAGER, Licence};
use crate::decide::{Ending, ForeignWriter, Scale, Writing};

/// What a message of someone else may fill.
const MESSAGE_LIMIT: usize = 256;

/// What writes a scale. Cheap to clone.
#[derive(Clone)]
pub(super) struct Hand {
    client: Client,
    kinds: Kinds,
}

/// What we read of an answered `Scale`.
#[derive(Deserialize)]
struct Written {
    metadata: WrittenMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenMeta {
    resource_version: String,
}

impl Hand {
    pub(super) fn new(client: Client) -> Self {
        Self { client, kinds: Kinds::default() }
    }

    /// Writes the count once. The licence is asked at the last moment, after everything that can wait.
    pub(super) async fn write(
        &self,
        scale: &Scale,
        count: u32,
        force: bool,
        licence: &Licence,
    ) -> Ending {
        let path = match self.kinds.path(&self.client, &scale.target).await {
            Ok(path) => path,
            Err(NoPath::Unusable(message)) => return Ending::Refused { code: 404, message },
            Err(NoPath::Failed(error)) => {
                // Nothing was written: the object itself has not been touched yet.
                let message = cut(&format!("its kind could not be looked up: {}", text(&error)));
                return Ending::NotSent { message };
            }
        };
        let request = match request(&path, scale, count, force) {
            Ok(request) => request,
            Err(error) => return Ending::Refused { code: 400, message: cut(&error.to_string()) },
        };
        if let Err(none) = licence.check() {
            return Ending::NotSent { message: none.to_string() };
        }
        match self.client.request::<Written>(request).await {
            Ok(written) => {
                Ending::Done { resource_version: written.metadata.resource_version.into() }
            }
            Err(kube::Error::Api(status)) => {
                if status.code == 404 {
                    self.kinds.forget(&scale.target);
                }
                ending_of(&status)
            }
            Err(error) => Ending::Unknown { message: cut(&text(&error)) },
        }
    }
}

fn request(
    path: &str,
    scale: &Scale,
    count: u32,
    force: bool,
) -> Result<Request<Vec<u8>>, http::Error> {
    let decided_on = json!({
        "name": scale.target.name,
        "namespace": scale.target.namespace,
        "uid": scale.uid,
        "resourceVersion": scale.resource_version,
    });
    let (kind, query, body) = match &scale.writing {
        Writing::Field(field) => return field::request(path, scale, field, count),
        Writing::Apply => (
            "application/apply-patch+yaml",
            format!("fieldManager={FIELD_MANAGER}&force={force}"),
            json!({
                "apiVersion": "autoscaling/v1",
                "kind": "Scale",
                "metadata": decided_on,
                "spec": {"replicas": count},
            }),
        ),
        Writing::Merge => (
            "application/merge-patch+json",
            format!("fieldManager={FIELD_MANAGER}"),
            json!({"metadata": decided_on, "spec": {"replicas": count}}),
        ),
    };
    Request::builder()
        .method(Method::PATCH)
        .uri(format!("{path}/scale?{query}"))
        .header(CONTENT_TYPE, kind)
        .body(bytes_of(&body))
}

fn bytes_of(body: &Value) -> Vec<u8> {
    body.to_string().into_bytes()
}

/// What an answer other than 2xx means.
pub(super) fn ending_of(status: &Status) -> Ending {
    let message = cut(&status.message);
    match status.code {
        404 => Ending::Gone,
        409 => conflict_of(status),
        // Turned away before anything was done: the next turn may ask again.
        429 => Ending::NotSent { message: format!("the API server has no time (429): {message}") },
        code if (400..500).contains(&code) && code != 408 => Ending::Refused { code, message },
        code => Ending::Unknown { message: format!("the API server answered {code}: {message}") },
    }
}

fn conflict_of(status: &Status) -> Ending {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut writers = causes
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| foreign_writer(&cause.message));
    match writers.next() {
        // Several may own the count together; one that applies will come back, so it is the one to name.
        Some(first) => {
            let writer = writers.find(|writer| writer.applies).filter(|_| !first.applies);
            Ending::Conflict { writer: writer.unwrap_or(first) }
        }
        None if status.message.contains("Precondition failed: UID") => Ending::Gone,
        None => Ending::Outdated,
    }
}

/// Reads `conflict with "NAME"`, which has ` using autoscaling/v1` behind it only for an Update manager (kube-apiserver 1.33 and 1.36).
fn foreign_writer(message: &str) -> ForeignWriter {
    let quoted = message.split_once('"').map_or(message, |(_, rest)| rest);
    let (name, rest) = quoted.split_once('"').unwrap_or((quoted, ""));
    ForeignWriter { manager: cut(name).into(), applies: !rest.contains(" using ") }
}

pub(super) fn text(error: &kube::Error) -> String {
    // kube's own text for an API error repeats the whole status; its message is what a reader needs.
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

pub(super) fn cut(message: &str) -> String {
    message[..message.floor_char_boundary(MESSAGE_LIMIT)].to_owned()
}
