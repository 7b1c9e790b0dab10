//! A cloud that takes nodes back: says so as clouds and the makers of nodes do, has them drained where those would drain them, and ends what is
//! left on them when the notice is over. Used by the act of interruptions.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use penstock::clock::Clock;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::rig::plain_client;
use crate::yard::{evict, staying};

use super::ground::Ground;

/// Karpenter begins to drain so long after it has said so.
const DRAINED_AFTER: Duration = Duration::from_millis(100);
/// And asks again this often for a pod that it was refused.
const AGAIN: Duration = Duration::from_millis(500);

/// How the end of a node is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// aws-node-termination-handler's taint; nobody drains.
    Handler,
    /// GKE's taint; nobody drains.
    Gke,
    /// Karpenter's Event and taint, and it drains.
    Karpenter,
    /// The node is deleted, and whoever made it drains it.
    Deleted,
}

impl Way {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Handler => "aws-node-termination-handler's taint",
            Self::Gke => "GKE's taint",
            Self::Karpenter => "Karpenter's Event, taint and drain",
            Self::Deleted => "deletion and drain",
        }
    }

    fn taint(self) -> (&'static str, &'static str) {
        match self {
            Self::Handler => ("aws-node-termination-handler/spot-itn", "true"),
            Self::Gke => ("cloud.google.com/impending-node-termination", ""),
            Self::Karpenter | Self::Deleted => ("karpenter.sh/disrupted", ""),
        }
    }
}

/// The cloud, for the pods of one namespace.
pub(crate) struct Cloud {
    nodes: Api<Node>,
    /// By a client that is told of refusals.
    pods: Api<Pod>,
}

impl Cloud {
    pub(crate) async fn of(ground: &Ground) -> Result<Self> {
        let client = plain_client(ground.cluster.kubeconfig()).await?;
        let pods = Api::namespaced(client.clone(), &ground.scene.namespace);
        Ok(Self { nodes: Api::all(client), pods })
    }

    /// Says that a node goes.
    pub(crate) async fn tell(&self, ground: &Ground, node: &str, way: Way) -> Result<()> {
        match way {
            Way::Karpenter => ground.make_event(interrupted(node)).await?,
            Way::Deleted => drop(self.nodes.delete(node, &DeleteParams::default()).await?),
            Way::Handler | Way::Gke => {}
        }
        let (key, value) = way.taint();
        let taint = json!({"key": key, "value": value, "effect": "NoSchedule"});
        self.change(node, json!({"spec": {"taints": [taint]}})).await
    }

    /// Drains a node until its end, if it is told in a way that has somebody do so.
    pub(crate) async fn drain(&self, node: &str, way: Way, end: Instant) -> Result<()> {
        if matches!(way, Way::Handler | Way::Gke) {
            return Ok(());
        }
        tokio::time::sleep(DRAINED_AFTER).await;
        while Instant::now() < end {
            let left = staying(&self.pods, node).await?;
            if left.is_empty() {
                return Ok(());
            }
            for pod in &left {
                evict(&self.pods, pod).await?;
            }
            tokio::time::sleep(AGAIN).await;
        }
        Ok(())
    }

    /// Ends a node with whatever is on it.
    pub(crate) async fn end(&self, node: &str) -> Result<()> {
        let left = staying(&self.pods, node).await?;
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        for pod in &left {
            gone(self.pods.delete(pod, &now).await)?;
        }
        // A node that was deleted before goes by the first of these.
        let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        gone(self.nodes.patch(node, &PatchParams::default(), &free).await)?;
        gone(self.nodes.delete(node, &now).await)
    }

    async fn change(&self, node: &str, change: Value) -> Result<()> {
        self.nodes.patch(node, &PatchParams::default(), &Patch::Merge(change)).await?;
        Ok(())
    }
}

/// What is not there any more has gone as well.
fn gone<T>(answer: kube::Result<T>) -> Result<()> {
    match answer {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What Karpenter says of a node that its cloud takes back.
fn interrupted(node: &str) -> Value {
    let about = json!({"apiVersion": "v1", "kind": "Node", "name": node});
    event(
        ("SpotInterrupted", "Spot interruption warning was triggered"),
        &format!("{node}.interrupted"),
        &about,
    )
}

/// An Event of Karpenter's, about an object that lies in no namespace.
pub(crate) fn event((reason, message): (&str, &str), name: &str, about: &Value) -> Value {
    let now = Clock::start().now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "default"},
        "involvedObject": about, "reason": reason, "type": "Warning", "message": message,
        "firstTimestamp": now, "lastTimestamp": now, "count": 1, "source": {"component": "karpenter"},
    })
}
