//! Where the objects of a kind live in the API: the path segment of the built-in kinds by heart, of any other by one look at
//! discovery, remembered. Used by `scale` only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::Client;

use super::wire::{cut, text};
use crate::decide::{Ending, TargetId};

/// The one kind of target that lies in no namespace.
const NAMESPACES: &str = "namespaces";

type Kind = (Arc<str>, Arc<str>);

/// Paths by API version and kind. Cheap to clone; clones share what they know.
#[derive(Clone, Default)]
pub(super) struct Kinds {
    known: Arc<Mutex<BTreeMap<Kind, Arc<str>>>>,
}

/// Why there is no path.
pub(super) enum NoPath {
    /// The API server does not serve this kind, or its name cannot stand in a path.
    Unusable(String),
    /// Discovery failed; perhaps not the next time.
    Failed(kube::Error),
}

impl From<NoPath> for Ending {
    fn from(none: NoPath) -> Self {
        match none {
            NoPath::Unusable(message) => Self::Refused { code: 404, message },
            // Nothing was written: the object itself has not been touched yet.
            NoPath::Failed(error) => {
                let message = cut(&format!("its kind could not be looked up: {}", text(&error)));
                Self::NotSent { message }
            }
        }
    }
}

impl Kinds {
    /// The path of the target's object, starting with `/api`.
    pub(super) async fn path(&self, client: &Client, target: &TargetId) -> Result<String, NoPath> {
        let segments = [&target.kind, &target.namespace, &target.name];
        let version = target.api_version.split('/');
        for part in segments.into_iter().map(AsRef::as_ref).chain(version) {
            if !is_plain(part) {
                return Err(NoPath::Unusable(format!("`{part}` cannot be part of an API path")));
            }
        }
        let root = group_root(&target.api_version);
        let plural = self.plural(client, target, &root).await?;
        let (namespace, name) = (&target.namespace, &target.name);
        if &*plural == NAMESPACES {
            return Ok(format!("{root}/{plural}/{name}"));
        }
        Ok(format!("{root}/namespaces/{namespace}/{plural}/{name}"))
    }

    /// Forgets a kind, after its path led nowhere.
    pub(super) fn forget(&self, target: &TargetId) {
        let kind = (Arc::clone(&target.api_version), Arc::clone(&target.kind));
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&kind);
    }

    async fn plural(
        &self,
        client: &Client,
        target: &TargetId,
        root: &str,
    ) -> Result<Arc<str>, NoPath> {
        if let Some(plural) = built_in(&target.api_version, &target.kind) {
            return Ok(plural.into());
        }
        let kind = (Arc::clone(&target.api_version), Arc::clone(&target.kind));
        let known =
            self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&kind).map(Arc::clone);
        if let Some(plural) = known {
            return Ok(plural);
        }
        let request = http::Request::get(root)
            .body(Vec::new())
            .map_err(|error| NoPath::Failed(kube::Error::HttpError(error)))?;
        let list: APIResourceList = client.request(request).await.map_err(NoPath::Failed)?;
        let plural: Arc<str> = list
            .resources
            .into_iter()
            .find(|resource| resource.kind == *target.kind && !resource.name.contains('/'))
            .map(|resource| resource.name.into())
            .ok_or_else(|| {
                let (version, kind) = (&target.api_version, &target.kind);
                NoPath::Unusable(format!("the API server has no kind {kind} in {version}"))
            })?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(kind, Arc::clone(&plural));
        Ok(plural)
    }
}

fn built_in(api_version: &str, kind: &str) -> Option<&'static str> {
    match (api_version, kind) {
        ("apps/v1", "Deployment") => Some("deployments"),
        ("apps/v1", "StatefulSet") => Some("statefulsets"),
        ("apps/v1", "ReplicaSet") => Some("replicasets"),
        ("v1", "ReplicationController") => Some("replicationcontrollers"),
        ("v1", "ConfigMap") => Some("configmaps"),
        ("v1", "Namespace") => Some(NAMESPACES),
        _ => None,
    }
}

fn group_root(api_version: &str) -> String {
    if api_version.contains('/') {
        format!("/apis/{api_version}")
    } else {
        format!("/api/{api_version}")
    }
}

/// Names come from manifests: nothing in them may bend a path.
pub(super) fn is_plain(segment: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    !segment.is_empty() && !matches!(segment, "." | "..") && segment.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_bend_the_path_is_refused() {
        for name in ["", ".", "..", "a/b", "a?x=1", "a#b", "a%2fb", "a b", "é"] {
            assert!(!is_plain(name), "{name}");
        }
        for name in ["a", "a-b.c", "v1", "system:x", "Deployment"] {
            assert!(is_plain(name), "{name}");
        }
    }
}
