//! Workers of queues other than Kafka's: one at work for each Ready pod of a workload, as its pods would be. Used by the scenarios of
//! single sources; what a worker does is told by them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use tokio::task::JoinSet;

use crate::scene::{SOON, Scene};

/// Items worked off.
#[derive(Debug, Clone, Default)]
pub(crate) struct Done(Arc<AtomicU64>);

impl Done {
    pub(crate) fn add(&self, items: u64) {
        self.0.fetch_add(items, Ordering::Relaxed);
    }

    pub(crate) fn items(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The workers of one workload.
pub(crate) struct Workers {
    done: Done,
    /// Ends, with all workers, when it is dropped.
    _task: JoinSet<()>,
}

impl Workers {
    /// Puts a worker to work for each Ready pod labelled `app: NAME`, and sends it home when the pod goes.
    pub(crate) fn hire<W>(
        scene: &Scene,
        name: &str,
        work: impl Fn(Done) -> W + Send + 'static,
    ) -> Self
    where
        W: Future<Output = Result<()>> + Send + 'static,
    {
        let pods = Api::<Pod>::namespaced(scene.client.clone(), &scene.namespace);
        let chosen = ListParams::default().labels(&format!("app={name}"));
        let done = Done::default();
        let counted = done.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut at_work: BTreeMap<String, JoinSet<()>> = BTreeMap::new();
            loop {
                if let Ok(found) = pods.list(&chosen).await {
                    let ready: Vec<String> = found
                        .iter()
                        .filter(|pod| is_ready(pod))
                        .map(ResourceExt::name_any)
                        .collect();
                    at_work.retain(|name, worker| {
                        ready.contains(name) && worker.try_join_next().is_none()
                    });
                    for name in ready {
                        at_work.entry(name).or_insert_with(|| {
                            let work = work(counted.clone());
                            let mut worker = JoinSet::new();
                            worker.spawn(async move { drop(work.await) });
                            worker
                        });
                    }
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        });
        Self { done, _task: task }
    }

    /// Waits until so many items are worked off.
    pub(crate) async fn until_done(&self, scene: &Scene, items: u64) -> Result<()> {
        scene
            .until(&format!("{items} items to be worked off"), SOON * 2, async || {
                let done = self.done.items();
                ensure!(done >= items, "{done} are done");
                Ok(Some(()))
            })
            .await
    }
}

fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
