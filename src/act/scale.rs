//! One write of a count, and what its answer means: to `/scale`, or to the field that `field` spells. Built-in workloads take a server-side apply; custom resources, whose `/scale`
//! refuses apply, a JSON merge patch. Both carry the uid and `resourceVersion` that the write was decided on.
//!
//! Seen on kube-apiserver 1.33 and 1.36: a stale `resourceVersion` gives 409 by both ways, another uid by apply only (a merge patch
//! ignores it, and the `resourceVersion` of a recreated object differs anyway). Of an apply that is stale and meets another owner the
//! conflict is told. Claiming the present count beside an Update manager takes the field from it; beside an Apply manager both own it.

use http::Method;
use kube::Client;
use serde_json::json;

use super::field;
use super::kinds::Kinds;
use super::wire::{self, Answered, Asked, send};
use super::{FIELD_MANAGER, Licence};
use crate::decide::{Ending, Scale, Writing};

/// What writes a scale. Cheap to clone.
#[derive(Clone)]
pub(super) struct Hand {
    client: Client,
    kinds: Kinds,
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
            Err(none) => return none.into(),
        };
        match send::<Answered>(&self.client, request(&path, scale, count, force), licence).await {
            Ok(answered) if answered.is_bare() => {
                Ending::Unknown { message: "the answer to the write tells no version".to_owned() }
            }
            Ok(written) => written.done(),
            Err(failed) => {
                if failed.code() == Some(404) {
                    self.kinds.forget(&scale.target);
                }
                failed.into()
            }
        }
    }
}

fn request(path: &str, scale: &Scale, count: u32, force: bool) -> Asked {
    let decided_on = json!({
        "name": scale.target.name,
        "namespace": scale.target.namespace,
        "uid": scale.uid,
        "resourceVersion": scale.resource_version,
    });
    let (kind, query, body) = match &scale.writing {
        Writing::Field(field) => return field::request(path, scale, field, count),
        Writing::Apply => (
            wire::APPLY,
            format!("fieldManager={FIELD_MANAGER}&force={force}"),
            json!({
                "apiVersion": "autoscaling/v1",
                "kind": "Scale",
                "metadata": decided_on,
                "spec": {"replicas": count},
            }),
        ),
        Writing::Merge => (
            wire::MERGE_PATCH,
            format!("fieldManager={FIELD_MANAGER}"),
            json!({"metadata": decided_on, "spec": {"replicas": count}}),
        ),
    };
    wire::request(Method::PATCH, &format!("{path}/scale?{query}"), Some((kind, &body)))
}
