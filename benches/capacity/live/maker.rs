//! Makes nodes of a pool as node autoscalers do: for pods that find no place, each after its time; and a spare one besides, if wanted. Nodes are
//! KWOK's, which are Ready when their annotation says.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::json;
use tokio::task::JoinSet;

use crate::scene::Scene;
use crate::yard::node;

use super::terms::{BOOT, FIT};

/// How often it looks.
const LOOK: Duration = Duration::from_millis(250);
/// Its nodes stay until it says so, whoever deletes them.
pub(crate) const FINALIZER: &str = "example.com/cloud";

/// Makes nodes until it is dropped.
pub(crate) struct Maker {
    _task: JoinSet<()>,
}

struct Desk {
    pool: String,
    /// Places that are free at all times.
    spare: usize,
    nodes: Api<Node>,
    pods: Api<Pod>,
    made: u32,
}

impl Maker {
    /// For pods labelled `app: POOL`, on nodes of the pool; with room for another node's pods at all times, if `is_spare`.
    pub(crate) fn start(scene: &Scene, pool: String, is_spare: bool) -> Self {
        let mut desk = Desk {
            pool,
            spare: if is_spare { FIT } else { 0 },
            nodes: Api::all(scene.client.clone()),
            pods: Api::namespaced(scene.client.clone(), &scene.namespace),
            made: 0,
        };
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                // What cannot be read now is read the next time.
                drop(desk.look().await);
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { _task: task }
    }
}

impl Desk {
    async fn look(&mut self) -> Result<()> {
        let ours = ListParams::default().labels(&format!("pool={}", self.pool));
        let nodes = self.nodes.list(&ours).await?;
        let stay: Vec<_> = nodes.iter().filter(|node| stays(node)).collect();
        let ours = ListParams::default().labels(&format!("app={}", self.pool));
        let pods = self.pods.list(&ours).await?;
        let has_place = |pod: &Pod| {
            let on = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
            on.map(|on| stay.iter().any(|node| node.metadata.name.as_ref() == Some(on)))
        };
        let lives = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let places: Vec<Option<bool>> = lives.map(has_place).collect();
        let standing = places.iter().filter(|place| **place == Some(true)).count();
        let waiting = places.iter().filter(|place| place.is_none()).count();
        // Nodes that are on their way are among those that stay.
        let mut free = (stay.len() * FIT).saturating_sub(standing);
        while free < waiting + self.spare {
            self.made += 1;
            let mut node = node(&self.pool, self.made, FIT);
            let boot = format!("{}ms", BOOT.as_millis());
            node["metadata"]["annotations"] = json!({"example.com/boot": boot});
            node["metadata"]["finalizers"] = json!([FINALIZER]);
            self.nodes.create(&PostParams::default(), &serde_json::from_value(node)?).await?;
            free += FIT;
        }
        Ok(())
    }
}

/// Nobody has told of its end. What the control plane itself writes on a node that is on its way does not count.
fn stays(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    let mut taints = spec.into_iter().flat_map(|spec| spec.taints.iter().flatten());
    node.metadata.deletion_timestamp.is_none()
        && spec.and_then(|spec| spec.unschedulable) != Some(true)
        && !taints.any(|taint| !taint.key.starts_with("node.kubernetes.io/"))
}
