//! Stages sized by what pods use and by how many there are: a real API server, with metrics.k8s.io aggregated from a double.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::FutureExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use penstock::clock::Clock;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::rig::{Cluster, ClusterOptions, External, Kubernetes, Reply};
use crate::scene::{SOON, Scene};

/// What each pod uses, in thousandths of a core, and the lists that were asked for.
#[derive(Debug, Default)]
struct Meter {
    used: Mutex<u32>,
    asked: Mutex<Vec<(Instant, String)>>,
}

impl Meter {
    fn set(&self, thousandths: u32) {
        *self.used.lock().unwrap() = thousandths;
    }

    /// Says that every Ready pod of a namespace uses as much.
    async fn list(self: Arc<Self>, client: kube::Client, path: String) -> Option<Value> {
        self.asked.lock().unwrap().push((Instant::now(), path.clone()));
        let namespace = path.strip_prefix("/namespaces/")?.strip_suffix("/pods")?;
        let pods = Api::<Pod>::namespaced(client, namespace);
        let used = *self.used.lock().unwrap();
        let measured = |pod: Pod| {
            json!({
                "metadata": {"name": pod.metadata.name, "namespace": namespace},
                "timestamp": Clock::start().now(), "window": "1ms",
                "containers": [{"name": "worker", "usage": {"cpu": format!("{used}m"), "memory": "64Mi"}}],
            })
        };
        let items: Vec<_> =
            pods.list(&ListParams::default()).await.ok()?.into_iter().map(measured).collect();
        Some(json!({
            "kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items,
        }))
    }
}

/// A Deployment whose pods request a core each.
async fn busy(scene: &Scene, name: &str, replicas: u32) -> Result<()> {
    scene.deployment(name, replicas).await?;
    let container =
        json!({"name": "worker", "image": "none", "resources": {"requests": {"cpu": "1"}}});
    scene
        .change(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"template": {"spec": {"containers": [container]}}},
        }))
        .await
}

#[tokio::test]
async fn stages_follow_the_cpu_of_their_pods_and_the_number_of_others() -> Result<()> {
    let options = ClusterOptions { nodes: 1, audit: true, ..ClusterOptions::default() };
    let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
    let (meter, client) = (Arc::new(Meter::default()), cluster.client().await?);
    let double = Arc::clone(&meter);
    let reply: Reply = Arc::new(move |path| Arc::clone(&double).list(client.clone(), path).boxed());
    let served = External::serve_group(&cluster, "metrics.k8s.io", reply).await?;
    let scene = Scene::on(&cluster, "metered").await?;
    meter.set(300);
    busy(&scene, "worker", 2).await?;
    busy(&scene, "second", 1).await?;
    let stage = |name: &str, source: Value| {
        json!({
            "target": {"name": name}, "replicas": {"min": 1, "max": 10}, "sources": [source],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        })
    };
    let cpu = |pace: &str| json!({"name": "cpu", "pollInterval": pace, "cpu": {"utilization": 50}});
    scene.pipeline("work", stage("worker", cpu("2s"))).await?;
    scene.pipeline("more", stage("second", cpu("2s"))).await?;
    // 90 % of what two pods request, at 50 % each: 3.6 of them.
    meter.set(900);
    assert_eq!(scene.until_moved(("worker", 2, 4), SOON).await?.last(), Some(&4));
    assert_eq!(scene.until_moved(("second", 1, 2), SOON).await?.last(), Some(&2));
    let reason = scene.stage("work").await?.reasons.pop().context("no reason")?;
    assert_eq!(reason.code, "Threshold", "{reason:?}");
    meter.set(450);
    // The pods of others: three of them, one for each two.
    scene.deployment("client", 5).await?;
    scene.deployment("sidecar", 1).await?;
    let others = json!({
        "name": "others", "workload": {"selector": {"matchLabels": {"app": "client"}}, "perReplica": 2},
    });
    scene.pipeline("beside", stage("sidecar", others)).await?;
    assert_eq!(scene.until_moved(("sidecar", 1, 3), SOON).await?, [3]);
    // Both stages by one list in each poll, whatever happens.
    let from = Instant::now();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let asked = meter.asked.lock().unwrap().clone();
    let lately = asked.iter().filter(|(at, path)| from < *at && path.ends_with("/pods")).count();
    assert!((3..=6).contains(&lately), "two stages, ten seconds, every two: {lately} lists");
    // The metrics go away: nobody is lowered, and status says why.
    let held = scene.moves("worker", 2)?;
    drop(served);
    scene
        .until("the metrics to be missed", SOON, async || {
            let stage = scene.stage("work").await?;
            let reason = stage.reasons.last().map(|reason| reason.code.clone());
            Ok((reason.as_deref() == Some("NoFreshData")).then_some(()))
        })
        .await?;
    assert_eq!(scene.moves("worker", 2)?, held);
    Ok(())
}
