//! What the demo's cluster holds: the definitions, a namespace, a Deployment for each stage, and the pipeline that Penstock is to
//! size. Raised by the story; anyone can look at it with kubectl.

use std::time::Duration;

use serde_json::{Value, json};

use super::Error;
use super::cluster::{Cluster, Options};
use super::traffic::{Kafka, Pods, Work};
use super::weather;

/// Where everything is.
pub(super) const NAMESPACE: &str = "shop";
/// What it is called.
pub(super) const PIPELINE: &str = "orders";
/// How old an item may get.
pub(super) const OBJECTIVE: Duration = Duration::from_secs(30);
/// Partitions of each topic, and replicas a stage may have.
pub(super) const PARTITIONS: i32 = 24;

/// The pools of a cluster whose nodes may go.
pub(super) const KEPT: &str = "on-demand";
pub(super) const SPOT: &str = "spot";

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

/// A cluster in which all is ready for Penstock. Pods take two to four seconds to become Ready. `has_spot`: each stage has a lane on nodes that
/// are kept and one on spot.
pub(super) fn raise(seed: u64, kafka: &Kafka, has_spot: bool) -> Result<Cluster, Error> {
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
    let pools: &[&str] = if has_spot { &[KEPT, SPOT] } else { &[] };
    if has_spot {
        weather::furnish(&cluster);
    }
    for pool in pools {
        cluster
            .put("penstock.dev", "v1alpha1", "capacitypools", "", capacity_pool(pool))
            .map_err(|message| refused(pool, message))?;
    }
    for stage in STAGES {
        let one = [deployment(stage.name, None)];
        let lanes = pools.iter().map(|pool| deployment(stage.name, Some(pool)));
        for deployment in one.into_iter().filter(|_| !has_spot).chain(lanes) {
            cluster
                .put("apps", "v1", "deployments", NAMESPACE, deployment)
                .map_err(|message| refused(stage.name, message))?;
        }
    }
    cluster
        .put("penstock.dev", "v1alpha1", "scaledpipelines", NAMESPACE, pipeline(kafka, has_spot))
        .map_err(|message| refused(PIPELINE, message))?;
    Ok(cluster)
}

/// A day here lasts three minutes: what is tried again after ten minutes elsewhere is after ten seconds.
fn capacity_pool(name: &str) -> Value {
    let class = if name == SPOT { "Spot" } else { "OnDemand" };
    json!({
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "CapacityPool",
        "metadata": {"name": name},
        "spec": {
            "class": class, "nodeSelector": {"pool": name}, "provider": {"kind": "Karpenter", "name": name},
            "notice": format!("{}s", weather::NOTICE.as_secs()), "probe": {"interval": "10s", "maxInterval": "1m"},
        },
    })
}

/// The name of the Deployment of a stage's lane.
pub(super) fn lane_name(stage: &str, pool: &str) -> String {
    if pool == KEPT { stage.to_owned() } else { format!("{stage}-{pool}") }
}

fn deployment(stage: &str, pool: Option<&str>) -> Value {
    let name = pool.map_or_else(|| stage.to_owned(), |pool| lane_name(stage, pool));
    let labels = match pool {
        Some(pool) => json!({"app": stage, "lane": pool}),
        None => json!({"app": stage}),
    };
    let selector = pool.map(|pool| json!({"pool": pool}));
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "nodeSelector": selector.unwrap_or_else(|| json!({})),
                    "containers": [{
                        "name": "worker", "image": format!("shop/{stage}:1"),
                        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}},
                    }],
                },
            },
        },
    })
}

/// No threshold and no rate. A day here lasts three minutes, so what is in minutes elsewhere is in seconds: the wait before zero, the
/// window before fewer replicas, and the trust that a producer that has stopped really has.
fn pipeline(kafka: &Kafka, has_spot: bool) -> Value {
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
            if has_spot {
                let target =
                    |pool| json!({"kind": "Deployment", "name": lane_name(stage.name, pool)});
                written["lanes"] = json!([
                    {"pool": KEPT, "base": 2, "target": target(KEPT)},
                    {"pool": SPOT, "share": 75, "fallbackTo": KEPT, "target": target(SPOT)},
                ]);
                written.as_object_mut().map(|stage| stage.remove("target"));
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
