//! What people write, and what it means.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use penstock::crd::meaning::{self, Code, Fault, Meaning, Surroundings};
use penstock::crd::{ClusterConnection, Connection, ScaledPipeline};
use serde_json::{Value, json};

/// A cluster with nothing in it but what a test puts there.
#[derive(Default)]
struct Around {
    connections: BTreeMap<String, Arc<Connection>>,
    cluster_connections: BTreeMap<String, Arc<ClusterConnection>>,
    labels: BTreeMap<String, String>,
    lent: Vec<String>,
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

/// The shortest useful pipeline of the contract.
fn shortest() -> Value {
    json!({
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "ScaledPipeline",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "u-1", "generation": 3},
        "spec": {
            "objective": {"maxDelay": "60s"},
            "stages": [{
                "name": "enrich",
                "target": {"kind": "Deployment", "name": "enrich"},
                "replicas": {"min": 0, "max": 48},
                "sources": [{
                    "name": "orders",
                    "kafka": {"bootstrapServers": "kafka:9092", "topics": ["orders"], "group": "enrich"},
                }],
            }],
        },
    })
}

/// Reads a pipeline.
fn read(written: &Value, around: &Around) -> Result<Meaning, Vec<Fault>> {
    let written: ScaledPipeline = serde_json::from_value(written.clone()).unwrap();
    meaning::read(&written, around)
}

#[test]
fn the_shortest_pipeline_means_one_stage_and_one_question() {
    let meaning = read(&shortest(), &Around::default()).unwrap();
    let [stage] = meaning.pipeline.stages.as_slice() else { panic!("one stage") };
    assert_eq!((stage.min, stage.max), (0, 48));
    assert_eq!(stage.max_delay, Some(Duration::from_mins(1)));
    assert!(!stage.is_default_objective);
    assert_eq!(stage.target.to_string(), "Deployment shop/enrich");
    assert_eq!(meaning.pipeline.generation, 3);
    let [question] = meaning.questions.as_slice() else { panic!("one question") };
    assert_eq!(question.id.to_string(), "shop/orders/enrich/orders");
    assert_eq!(question.poll_interval, Duration::from_secs(2));
    assert!(question.secrets.is_empty());
    assert!(meaning.unanswerable.is_empty());
}

#[test]
fn a_missing_connection_is_a_fault_of_its_stage_alone() {
    let mut written = shortest();
    let kafka = &mut written["spec"]["stages"][0]["sources"][0]["kafka"];
    kafka.as_object_mut().unwrap().remove("bootstrapServers");
    kafka["connectionRef"] = json!({"name": "events"});
    let meaning = read(&written, &Around::default()).unwrap();
    assert!(meaning.questions.is_empty());
    let [(question, fault)] = meaning.unanswerable.as_slice() else { panic!("one question") };
    assert_eq!(question.to_string(), "shop/orders/enrich/orders");
    assert_eq!(fault.code, Code::ConnectionNotFound);
    assert_eq!(fault.path, "spec.stages[0].sources[0].kafka.connectionRef");
}
