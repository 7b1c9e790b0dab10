//! What tests of nodes have in common: a node that KWOK plays, who drains it and what its budget says, and a topic in which as many items wait
//! as so many replicas are to work on.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{EvictParams, ListParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::rig::{Broker, shared, until};
use crate::scene::{SOON, Scene, kafka};

/// Partitions, where nobody says how many. A replica is to have one item of each.
const PARTITIONS: i32 = 12;

/// A node of a pool, with room for so many pods of one CPU.
pub(crate) fn node(pool: &str, number: u32, cpus: usize) -> Value {
    let room = json!({"cpu": cpus.to_string(), "memory": "32Gi", "pods": "110"});
    let name = format!("{pool}-{number}");
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"pool": pool, "kubernetes.io/hostname": name}},
        "status": {"capacity": room, "allocatable": room},
    })
}

/// Evicts a pod as drains do; what is answered. `pods` must be of a client that does not ask again by itself when it is told 429.
pub(crate) async fn evict(pods: &Api<Pod>, name: &str) -> Result<u16> {
    match pods.evict(name, &EvictParams::default()).await {
        Ok(_) => Ok(201),
        Err(kube::Error::Api(status)) => Ok(status.code),
        Err(error) => Err(error.into()),
    }
}

/// The pods on a node that have not been told to end.
pub(crate) async fn staying(pods: &Api<Pod>, node: &str) -> Result<Vec<String>> {
    let on_it = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let all = pods.list(&on_it).await?;
    let stays = all.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(stays.map(ResourceExt::name_any).collect())
}

/// Evicts all pods of a node, each again and again until it is let go; gives every answer.
pub(crate) async fn drain(pods: &Api<Pod>, node: &str) -> Result<Vec<u16>> {
    let mut codes = Vec::new();
    until(&format!("{node} to be drained"), SOON, async || {
        let left = staying(pods, node).await?;
        for name in &left {
            codes.push(evict(pods, name).await?);
        }
        Ok(left.is_empty().then_some(()))
    })
    .await?;
    Ok(codes)
}

/// Waits until a `PodDisruptionBudget` says: one may be lacking (`None`), or so many stay, and its controller has taken that in.
pub(crate) async fn until_budget(
    scene: &Scene,
    name: &str,
    least: Option<i32>,
) -> Result<PodDisruptionBudget> {
    let budgets = Api::<PodDisruptionBudget>::namespaced(scene.client.clone(), &scene.namespace);
    scene
        .until(&format!("a budget {name} that keeps {least:?}"), SOON, async || {
            let budget = budgets.get(name).await?;
            let spec = budget.spec.clone().context("no spec")?;
            let wanted = match least {
                None => (None, Some(IntOrString::Int(1))),
                Some(least) => (Some(IntOrString::Int(least)), None),
            };
            let says = (spec.min_available, spec.max_unavailable);
            let seen = budget.status.as_ref().and_then(|status| status.observed_generation);
            ensure!(says == wanted && seen == budget.metadata.generation, "it says {says:?}");
            Ok(Some(budget))
        })
        .await
}

/// The items of a topic, which is its consumer group as well.
pub(crate) struct Items {
    broker: &'static Broker,
    topic: String,
    partitions: i32,
    /// Items of each partition, and how many of them are done.
    sent: i64,
    done: i64,
}

impl Items {
    pub(crate) async fn open(topic: &str) -> Result<Self> {
        Self::over(topic, PARTITIONS).await
    }

    /// In so many partitions, which as many replicas can share.
    pub(crate) async fn over(topic: &str, partitions: i32) -> Result<Self> {
        let broker = shared::broker().await?;
        broker.topic(topic, partitions).await?;
        broker.commit(topic, topic, 0).await?;
        Ok(Self { broker, topic: topic.to_owned(), partitions, sent: 0, done: 0 })
    }

    /// The source that reads them.
    pub(crate) fn source(&self) -> Value {
        kafka(self.broker, &[&self.topic], &self.topic, json!({"perReplica": self.partitions}))
    }

    /// As many items wait as so many replicas are to work on.
    pub(crate) async fn want(&mut self, replicas: i64) -> Result<()> {
        let more = replicas - (self.sent - self.done);
        if more < 0 {
            self.done -= more;
            return self.broker.commit(&self.topic, &self.topic, self.done).await;
        }
        self.sent += more;
        let items = usize::try_from(more * i64::from(self.partitions))?;
        self.broker.send(&self.topic, None, items).await
    }
}
