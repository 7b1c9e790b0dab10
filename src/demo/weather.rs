//! What befalls the nodes of the demo that is asked for with `--interrupt`: some of spot are announced to go and go, at the peak the rest
//! follow and no more can be had, and later spot is there again. Started by the story; it acts as clouds and node autoscalers do, and knows
//! nothing of Penstock.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;
use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::scenery::{KEPT, NAMESPACE, SPOT};
use super::traffic::Ledger;

/// Nodes of each pool.
const NODES: u32 = 4;
/// From the announcement to the end of a node.
pub(super) const NOTICE: Duration = Duration::from_secs(8);
/// Shares of the day at which nodes are announced to go, all of spot is, and it is there again.
const SOME: f64 = 0.38;
const ALL: f64 = 0.47;
const AGAIN: f64 = 0.62;
/// What aws-node-termination-handler leaves on a node that will be interrupted.
const TAINT: &str = "aws-node-termination-handler/spot-itn";

/// The weather; it ends with this.
#[derive(Debug)]
pub(super) struct Weather {
    _task: JoinSet<()>,
}

/// A node's price in an hour, on its label.
fn labels(pool: &str) -> serde_json::Value {
    let price = if pool == SPOT { "0.07" } else { "0.20" };
    json!({"pool": pool, "eks-node-viewer/instance-price": price})
}

/// Nodes of both pools.
pub(super) fn furnish(cluster: &Cluster) {
    for pool in [KEPT, SPOT] {
        for number in 1..=NODES {
            cluster.join(&format!("{pool}-{number}"), &labels(pool));
        }
    }
}

impl Weather {
    /// Lets a day of this length pass, by the ledger's time.
    pub(super) fn start(cluster: Cluster, length: Duration, ledger: Arc<Ledger>) -> Self {
        let mut task = JoinSet::new();
        task.spawn(async move {
            let until = |share: f64| {
                let left = length.mul_f64(share).saturating_sub(ledger.now());
                tokio::time::sleep(left)
            };
            until(SOME).await;
            go(&cluster, 1..=NODES / 2).await;
            until(ALL).await;
            for number in 1..=3 {
                dry(&cluster, number);
            }
            go(&cluster, NODES / 2 + 1..=NODES).await;
            until(AGAIN).await;
            for number in NODES + 1..=2 * NODES {
                cluster.join(&format!("{SPOT}-{number}"), &labels(SPOT));
            }
        });
        Self { _task: task }
    }
}

/// These nodes are announced to go; at the end of the notice their pods go, and they.
async fn go(cluster: &Cluster, numbers: std::ops::RangeInclusive<u32>) {
    let nodes = Api::<Node>::all(cluster.client());
    let names: Vec<_> = numbers.map(|number| format!("{SPOT}-{number}")).collect();
    let taint =
        json!({"spec": {"taints": [{"key": TAINT, "value": "true", "effect": "NoSchedule"}]}});
    for name in &names {
        told(nodes.patch(name, &PatchParams::default(), &Patch::Merge(&taint)).await);
    }
    tokio::time::sleep(NOTICE).await;
    let pods = Api::<Pod>::namespaced(cluster.client(), NAMESPACE);
    for name in &names {
        let here = ListParams::default().fields(&format!("spec.nodeName={name}"));
        for pod in pods.list(&here).await.map(|list| list.items).unwrap_or_default() {
            let name = pod.metadata.name.unwrap_or_default();
            told(pods.delete(&name, &DeleteParams::default()).await);
        }
        told(nodes.delete(name, &DeleteParams::default()).await);
    }
}

/// Karpenter says that it can have no node for a claim.
fn dry(cluster: &Cluster, number: u32) {
    let now = cluster.clock().now().to_string();
    let event = json!({
        "metadata": {"name": format!("dry-{number}"), "namespace": "default"},
        "involvedObject": {
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "name": format!("{SPOT}-x7k2{number}"), "namespace": "default",
        },
        "reason": "InsufficientCapacityError", "type": "Warning", "count": 1,
        "message": format!("NodeClaim {SPOT}-x7k2{number}: no spot capacity in any zone"),
        "firstTimestamp": now, "lastTimestamp": now, "source": {"component": "karpenter"},
    });
    told(cluster.put("", "v1", "events", "default", event));
}

fn told<T, E: std::fmt::Display>(end: Result<T, E>) {
    if let Err(error) = end {
        tracing::warn!(%error, "the weather of the demo met resistance");
    }
}
