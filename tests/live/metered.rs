//! Stages sized by what pods use and by how many there are: a real API server, with metrics.k8s.io aggregated from a double.

use std::collections::BTreeMap;
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

use crate::examples::apply;
use crate::rig::{Cluster, ClusterOptions, External, Kubernetes, Reply};
use crate::scene::{SOON, Scene, workload};
use crate::vertical::resized_pods_are_learned_anew;

/// What pods use, and the lists that were asked for.
#[derive(Debug, Default)]
struct Meter {
    /// By namespace.
    used: Mutex<BTreeMap<String, Use>>,
    asked: Mutex<Vec<(Instant, String)>>,
}

/// What the pods of a namespace use.
#[derive(Debug, Clone, Copy)]
enum Use {
    /// Each so many thousandths of a core.
    Each(u32),
    /// All together so many thousandths of a core and MiB: a load that is spread over them.
    Together(u32, u32),
}

impl Meter {
    fn set(&self, scene: &Scene, used: Use) {
        self.used.lock().unwrap().insert(scene.namespace.clone(), used);
    }

    /// Says what every pod of a namespace uses.
    async fn list(self: Arc<Self>, client: kube::Client, path: String) -> Option<Value> {
        self.asked.lock().unwrap().push((Instant::now(), path.clone()));
        let namespace = path.strip_prefix("/namespaces/")?.strip_suffix("/pods")?;
        let used = *self.used.lock().unwrap().get(namespace)?;
        let pods = Api::<Pod>::namespaced(client, namespace);
        let pods = pods.list(&ListParams::default()).await.ok()?.items;
        let (cpu, memory) = match used {
            Use::Each(cpu) => (cpu, 64),
            Use::Together(cpu, memory) => {
                let pods = u32::try_from(pods.len()).ok()?.max(1);
                (cpu / pods, memory / pods)
            }
        };
        let measured = |pod: Pod| {
            json!({
                "metadata": {"name": pod.metadata.name, "namespace": namespace},
                "timestamp": Clock::start().now(), "window": "1ms",
                "containers": [{"name": "worker", "usage": {"cpu": format!("{cpu}m"), "memory": format!("{memory}Mi")}}],
            })
        };
        let items: Vec<_> = pods.into_iter().map(measured).collect();
        Some(json!({
            "kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items,
        }))
    }
}

/// A Deployment whose pods request so much CPU each.
async fn busy(scene: &Scene, name: &str, replicas: u32, cpu: &str) -> Result<()> {
    scene.create(workload("Deployment", name, replicas, &json!({"cpu": cpu}), json!({}))).await
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
    meter.set(&scene, Use::Each(300));
    busy(&scene, "worker", 2, "1").await?;
    busy(&scene, "second", 1, "1").await?;
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
    meter.set(&scene, Use::Each(900));
    assert_eq!(scene.until_moved(("worker", 2, 4), SOON).await?.last(), Some(&4));
    assert_eq!(scene.until_moved(("second", 1, 2), SOON).await?.last(), Some(&2));
    let reason = scene.stage("work").await?.reasons.pop().context("no reason")?;
    assert_eq!(reason.code, "Threshold", "{reason:?}");
    meter.set(&scene, Use::Each(450));
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
    let ten_seconds = tokio::time::sleep(Duration::from_secs(10));
    // Meanwhile the example.
    let (example, ()) = tokio::join!(the_example_reaches_its_count(&cluster, &meter), ten_seconds);
    let vertical = Scene::on(&cluster, "example-vpa").await?;
    meter.set(&vertical, Use::Each(900));
    resized_pods_are_learned_anew(&cluster, &vertical).await?;
    let (asked, until) = (meter.asked.lock().unwrap().clone(), from + Duration::from_secs(10));
    let own = format!("/namespaces/{}/pods", scene.namespace);
    let is_lately = |at: Instant| from < at && at < until;
    let lately = asked.iter().filter(|(at, path)| is_lately(*at) && *path == own).count();
    example?;
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

/// The example of deploy/examples/metrics: two pods with a load for four, which is then spread over four and moves nothing more.
async fn the_example_reaches_its_count(cluster: &Cluster, meter: &Meter) -> Result<()> {
    let scene = Scene::on(cluster, "example-metrics").await?;
    meter.set(&scene, Use::Together(600, 400));
    busy(&scene, "render", 2, "500m").await?;
    apply(&scene, "metrics", &[]).await?;
    scene.until_read("site", 2).await?;
    assert_eq!(scene.moves("render", 2)?, [0_u32; 0], "an even load moves nothing");
    meter.set(&scene, Use::Together(1_200, 1_000));
    assert_eq!(scene.until_moved(("render", 2, 4), SOON).await?, [4]);
    scene.until_read("site", 2).await?;
    assert_eq!(scene.moves("render", 2)?, [4], "spread over four it moves no more");
    Ok(())
}
