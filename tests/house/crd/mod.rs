//! What people write, the words it is refused with, and what it means.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock::crd::meaning::{self, Fault, Meaning, Surroundings};
use penstock::crd::{ClusterConnection, Connection, ScaledPipeline};
use serde_json::Value;

mod schema;
mod refusals;
mod leaves;
mod meanings;
mod objectives;
mod total;

/// The manifests beside the refusals: the contract's own.
pub(crate) const PIPELINE: &str = include_str!("../../data/crd/pipeline.yaml");
/// The contract's Connection.
pub(crate) const CONNECTION: &str = include_str!("../../data/crd/connection.yaml");
/// The contract's ClusterConnection.
pub(crate) const CLUSTER_CONNECTION: &str = include_str!("../../data/crd/clusterconnection.yaml");
/// Every field of the contract at once.
pub(crate) const EVERYTHING: &str = include_str!("../../data/crd/everything.yaml");

/// A document of YAML.
fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// Puts a value where a JSON pointer points: null removes, one past the end of a list appends.
fn put(object: &mut Value, pointer: &str, value: &Value) {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap_or_else(|| panic!("nothing at {parent}"));
    match parent {
        Value::Array(items) => {
            let index: usize = last.parse().unwrap();
            if value.is_null() {
                items.remove(index);
            } else if index == items.len() {
                items.push(value.clone());
            } else {
                items[index] = value.clone();
            }
        }
        Value::Object(fields) if value.is_null() => {
            fields.shift_remove(last);
        }
        Value::Object(fields) => {
            fields.insert(last.to_owned(), value.clone());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            panic!("{pointer} points into {parent}")
        }
    }
}

/// A manifest with changes.
fn with(text: &str, changes: &[(&str, Value)]) -> Value {
    let mut object = yaml(text);
    for (pointer, value) in changes {
        put(&mut object, pointer, value);
    }
    object
}

/// A cluster with nothing in it but what a test puts there.
#[derive(Default)]
struct Around {
    connections: BTreeMap<String, Arc<Connection>>,
    cluster_connections: BTreeMap<String, Arc<ClusterConnection>>,
    labels: BTreeMap<String, String>,
    lent: Vec<String>,
}

impl Around {
    /// A cluster in which these manifests have been applied; Secrets of namespace `kafka` may be lent.
    fn with(manifests: &[Value]) -> Self {
        let mut around = Self { lent: vec!["kafka".to_owned()], ..Self::default() };
        around.labels.insert("team".to_owned(), "data".to_owned());
        for manifest in manifests {
            let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
            if manifest["kind"] == "Connection" {
                let namespace = manifest["metadata"]["namespace"].as_str().unwrap();
                let object = serde_json::from_value(manifest.clone()).unwrap();
                around.connections.insert(format!("{namespace}/{name}"), Arc::new(object));
            } else {
                let object = serde_json::from_value(manifest.clone()).unwrap();
                around.cluster_connections.insert(name, Arc::new(object));
            }
        }
        around
    }
}

impl Surroundings for Around {
    fn connection(&self, namespace: &str, name: &str) -> Option<Arc<Connection>> {
        self.connections.get(&format!("{namespace}/{name}")).cloned()
    }

    fn cluster_connection(&self, name: &str) -> Option<Arc<ClusterConnection>> {
        self.cluster_connections.get(name).cloned()
    }

    fn namespace_labels(&self, _: &str) -> Option<BTreeMap<String, String>> {
        Some(self.labels.clone())
    }

    fn may_lend_secrets_of(&self, namespace: &str) -> bool {
        self.lent.iter().any(|lent| lent == namespace)
    }
}

/// Reads a pipeline.
fn read(written: &Value, around: &Around) -> Result<Meaning, Vec<Fault>> {
    let written: ScaledPipeline = serde_json::from_value(written.clone()).unwrap();
    meaning::read(&written, around)
}
