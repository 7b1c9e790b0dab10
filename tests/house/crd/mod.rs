//! What people write, the words it is refused with, and what it means.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock::crd::meaning::{self, Fault, Meaning, Surroundings};
use penstock::crd::{ClusterConnection, Connection, ScaledPipeline};
use serde_json::Value;

use manifests::{CLUSTER_CONNECTION, CONNECTION, EVERYTHING, PIPELINE, put, yaml};

#[path = "../../manifests/mod.rs"]
mod manifests;

mod schema;
mod refusals;
mod leaves;
mod meanings;
mod queues;
mod presets;
mod objectives;
mod total;

pub(crate) use leaves::not_yet;
pub(crate) use refusals::CHECKER;

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
