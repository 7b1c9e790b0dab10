//! Makes nodes of a pool as node autoscalers do: for pods that find no place, each after its time; and a spare one besides, if wanted. Nodes are
//! KWOK's, which are Ready when their annotation says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};
use penstock::clock::Clock;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::scene::Scene;
use crate::yard::node;

use super::terms::{BOOT, FIT};

/// How often it looks.
const LOOK: Duration = Duration::from_millis(250);
/// A pod of the stage may end while places are filled.
const TRIES: usize = 5;
/// Its nodes stay until it says so, whoever deletes them.
pub(crate) const FINALIZER: &str = "example.com/cloud";

/// Makes nodes until it is dropped.
pub(crate) struct Maker {
    desk: Arc<Mutex<Desk>>,
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
        let desk = Arc::new(Mutex::new(Desk {
            pool,
            spare: if is_spare { FIT } else { 0 },
            nodes: Api::all(scene.client.clone()),
            pods: Api::namespaced(scene.client.clone(), &scene.namespace),
            made: 0,
        }));
        let at_it = Arc::clone(&desk);
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                // What cannot be read now is read the next time.
                drop(at_it.lock().await.look().await);
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { desk, _task: task }
    }

    /// Others' pods take every place that is free.
    pub(crate) async fn fill(&self) -> Result<()> {
        let mut desk = self.desk.lock().await;
        for _ in 0..TRIES {
            desk.fill().await?;
            if desk.places().await?.0.values().all(|free| *free == 0) {
                return Ok(());
            }
        }
        bail!("places of {} are free after all were filled", desk.pool)
    }
}

impl Desk {
    async fn look(&mut self) -> Result<()> {
        let (free, waiting) = self.places().await?;
        // Nodes that are on their way are among those that stay.
        let mut free: usize = free.values().sum();
        while free < waiting + self.spare {
            self.made += 1;
            let node = serde_json::from_value(coming(&self.pool, self.made))?;
            self.nodes.create(&PostParams::default(), &node).await?;
            free += FIT;
        }
        Ok(())
    }

    /// The free places of each node that stays, and how many pods wait for one.
    async fn places(&self) -> Result<(BTreeMap<String, usize>, usize)> {
        let ours = ListParams::default().labels(&format!("pool={}", self.pool));
        let nodes = self.nodes.list(&ours).await?;
        let stay = nodes.iter().filter(|node| stays(node));
        let mut free: BTreeMap<_, _> = stay.map(|node| (node.name_any(), FIT)).collect();
        let ours = ListParams::default().labels(&format!("app in ({0}, {0}-others)", self.pool));
        let pods = self.pods.list(&ours).await?;
        let mut waiting = 0;
        for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
            match pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) {
                Some(on) => {
                    if let Some(free) = free.get_mut(on) {
                        *free = free.saturating_sub(1);
                    }
                }
                None => waiting += 1,
            }
        }
        Ok((free, waiting))
    }

    async fn fill(&mut self) -> Result<()> {
        for (node, free) in self.places().await?.0 {
            for _ in 0..free {
                self.made += 1;
                let others = format!("{}-others", self.pool);
                let pod = json!({
                    "metadata": {"name": format!("{others}-{}", self.made), "labels": {"app": others}},
                    "spec": {
                        "nodeName": node, "terminationGracePeriodSeconds": 0,
                        "containers": [{"name": "c", "image": "none", "resources": {"requests": {"cpu": "1"}}}],
                    },
                });
                self.pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
            }
        }
        Ok(())
    }
}

/// A node that was asked for: it is there at once, and Ready when its time is over.
fn coming(pool: &str, number: u32) -> Value {
    let now = Clock::start().now();
    let mut node = node(pool, number, FIT);
    node["metadata"]["annotations"] = json!({"example.com/ready-at": now + BOOT});
    node["metadata"]["finalizers"] = json!([FINALIZER]);
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    // Without a word on that, the control plane takes it for one that pods may come to.
    node["status"]["conditions"] = json!([{
        "type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "it starts",
        "lastHeartbeatTime": now, "lastTransitionTime": now,
    }]);
    node
}

/// Nobody has told of its end. What the control plane itself writes on a node that is on its way does not count.
fn stays(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    let mut taints = spec.into_iter().flat_map(|spec| spec.taints.iter().flatten());
    node.metadata.deletion_timestamp.is_none()
        && spec.and_then(|spec| spec.unschedulable) != Some(true)
        && !taints.any(|taint| !taint.key.starts_with("node.kubernetes.io/"))
}
