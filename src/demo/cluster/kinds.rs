//! What the API serves: one `Resource` for each kind in each version, and the catalogue of them all. Filled by `builtin` at start
//! and by `crds` when `CustomResourceDefinition`s come and go; read by the router, discovery and every write.

use crate::crd::schema::{Node, Schema};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a kind keeps what `/scale` shows, as JSON pointers.
#[derive(Debug, Clone)]
pub(super) struct ScalePaths {
    pub(super) spec: String,
    pub(super) status: String,
    pub(super) selector: Option<String>,
}

/// One column of `kubectl get`.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) format: String,
    pub(super) description: String,
    pub(super) priority: i64,
    pub(super) path: String,
}

/// Changes an object of a built-in kind: fills in what its Go defaulting functions fill in.
pub(super) type Fill = fn(&mut Value);

#[expect(
    clippy::struct_excessive_bools,
    reason = "each says what the kind has, as its definition does"
)]
/// One kind in one version.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    pub(super) singular: String,
    pub(super) kind: String,
    pub(super) short_names: Vec<String>,
    pub(super) categories: Vec<String>,
    pub(super) namespaced: bool,
    /// The shelf that holds its objects: `plural.group` of the storing kind.
    pub(super) shelf: String,
    /// `apiVersion` of the stored object.
    pub(super) stored_as: String,
    pub(super) has_status: bool,
    /// Whether a change of spec counts up `metadata.generation`.
    pub(super) counts_generations: bool,
    pub(super) scale: Option<ScalePaths>,
    /// Types, and for custom resources defaults, bounds and rules.
    pub(super) schema: Option<Schema>,
    /// The whole object's shape, metadata too, for server-side apply.
    pub(super) shape: Arc<Node>,
    pub(super) custom: bool,
    pub(super) columns: Vec<Column>,
    pub(super) fill: Option<Fill>,
    /// Fields that may be selected by, beside name and namespace: dotted path as written in the selector.
    pub(super) selectable: Vec<String>,
}

impl Resource {
    /// `apps/v1`, or `v1` for the core group.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// All kinds served, by group, version and plural.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    resources: BTreeMap<(String, String, String), Arc<Resource>>,
    /// Versions of each group in order of preference.
    groups: BTreeMap<String, Vec<String>>,
}

impl Catalogue {
    /// Adds or replaces a kind.
    pub(super) fn add(&mut self, resource: Resource) {
        let versions = self.groups.entry(resource.group.clone()).or_default();
        if !versions.contains(&resource.version) {
            versions.push(resource.version.clone());
        }
        let key = (resource.group.clone(), resource.version.clone(), resource.plural.clone());
        self.resources.insert(key, Arc::new(resource));
    }

    /// Takes out a kind in all its versions.
    pub(super) fn remove(&mut self, group: &str, plural: &str) {
        self.resources.retain(|(g, _, p), _| g != group || p != plural);
        let resources = &self.resources;
        if let Some(versions) = self.groups.get_mut(group) {
            versions.retain(|version| resources.keys().any(|(g, v, _)| g == group && v == version));
            if versions.is_empty() {
                self.groups.remove(group);
            }
        }
    }

    /// The kind behind `/apis/GROUP/VERSION/PLURAL`.
    pub(super) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.resources.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// The kind with this `apiVersion` and `kind`.
    pub(super) fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.resources.values().find(|r| r.kind == kind && r.api_version() == api_version)
    }

    /// The kind that stores its objects on this shelf.
    pub(super) fn by_shelf(&self, key: &str) -> Option<&Arc<Resource>> {
        self.resources.values().find(|r| r.shelf == key && r.api_version() == r.stored_as)
    }

    /// Groups and their versions, best first.
    pub(super) fn groups(&self) -> &BTreeMap<String, Vec<String>> {
        &self.groups
    }

    /// The kinds of one group and version.
    pub(super) fn of(&self, group: &str, version: &str) -> impl Iterator<Item = &Arc<Resource>> {
        let key = (group.to_owned(), version.to_owned());
        self.resources.values().filter(move |r| r.group == key.0 && r.version == key.1)
    }
}
