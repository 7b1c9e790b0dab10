//! What the demo's cluster holds: the definitions, a namespace, a Deployment for each stage, and the pipeline that Penstock is to
//! size. Raised by the story; anyone can look at it with kubectl.

use std::time::Duration;

use serde_json::{Value, json};

use super::Error;
use super::cluster::{Cluster, Options};
use super::traffic::{Kafka, Pods, Work};

/// Where everything is.
pub(super) const NAMESPACE: &str = "shop";
/// What it is called.
pub(super) const PIPELINE: &str = "orders";
/// How old an item may get.
pub(super) const OBJECTIVE: Duration = Duration::from_secs(30);
/// Partitions of each topic, and replicas a stage may have.
pub(super) const PARTITIONS: i32 = 24;

/// The stages in flow order. What one replica gets through stands here and nowhere in the pipeline: Penstock has to learn it.
pub(super) const STAGES: [Stage; 1] = [Stage { name: "enrich", topic: "orders", rate: 50.0 }];

/// One stage.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage {
    /// Name of the stage, its Deployment and its consumer group.
    pub(super) name: &'static str,
    /// The topic it reads.
    pub(super) topic: &'static str,
    /// Items a second that one replica gets through.
    pub(super) rate: f64,
}

impl Stage {
    pub(super) fn pods(&self) -> Pods {
        Pods { namespace: NAMESPACE.to_owned(), selector: format!("app={}", self.name) }
    }

    /// What its consumers do, being stage `index`.
    pub(super) fn work(&self, index: usize) -> Work {
        let pass_on = STAGES.get(index + 1).map(|next| next.topic.to_owned());
        Work { stage: index, pass_on, ..Work::on(self.topic, self.name, self.rate) }
    }
}

/// A cluster in which all is ready for Penstock. Pods take two to four seconds to become Ready.
pub(super) fn raise(seed: u64, kafka: &Kafka) -> Result<Cluster, Error> {
    let startup = (Duration::from_secs(2), Duration::from_secs(4));
    let cluster = Cluster::new(Options { seed, startup, ..Options::default() });
    let refused = |what: &str, message: String| Error::Scenery { what: what.to_owned(), message };
    for crd in crate::crd::all() {
        let name = crd.metadata.name.clone().unwrap_or_default();
        let crd = serde_json::to_value(crd).map_err(|error| refused(&name, error.to_string()))?;
        cluster.define(crd).map_err(|message| refused(&name, message))?;
    }
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    cluster
        .put("", "v1", "namespaces", "", namespace)
        .map_err(|message| refused(NAMESPACE, message))?;
    for stage in STAGES {
        cluster
            .put("apps", "v1", "deployments", NAMESPACE, deployment(stage.name))
            .map_err(|message| refused(stage.name, message))?;
    }
    cluster
        .put("penstock.dev", "v1alpha1", "scaledpipelines", NAMESPACE, pipeline(kafka))
        .map_err(|message| refused(PIPELINE, message))?;
    Ok(cluster)
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "worker", "image": format!("shop/{name}:1")}]},
            },
        },
    })
}

/// No threshold and no rate. A day here lasts three minutes, so what is in minutes elsewhere is in seconds: the wait before zero, the
/// window before fewer replicas, and the trust that a producer that has stopped really has.
fn pipeline(kafka: &Kafka) -> Value {
    let stages: Vec<Value> = STAGES
        .iter()
        .enumerate()
        .map(|(index, stage)| {
            let after: Vec<_> =
                index.checked_sub(1).map(|before| STAGES[before].name).into_iter().collect();
            let mut written = json!({
                "name": stage.name,
                "target": {"kind": "Deployment", "name": stage.name},
                "replicas": {"min": 0, "max": PARTITIONS},
                "idle": {"replicas": 0, "after": "10s"},
                "onSilence": "Follow",
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 15}},
                "sources": [{"name": stage.topic, "kafka": {
                    "bootstrapServers": kafka.bootstrap_servers,
                    "topics": [stage.topic],
                    "group": stage.name,
                    "offsetReset": "Earliest",
                }}],
            });
            if !after.is_empty() {
                written["after"] = json!(after);
            }
            written
        })
        .collect();
    json!({
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "ScaledPipeline",
        "metadata": {"name": PIPELINE, "namespace": NAMESPACE},
        "spec": {"objective": {"maxDelay": format!("{}s", OBJECTIVE.as_secs())}, "stages": stages},
    })
}
