//! What others run on the cluster must cost us next to nothing: the memory of a daemon beside 20,000 pods that are not its own.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use penstock::answer::view;
use serde_json::json;

use crate::crd::install;
use crate::rig::{Cluster, ClusterOptions, Kubernetes, Penstock, until};
use crate::scene::SOON;

/// Pods of others, in so many namespaces.
const FOREIGN: u32 = 20_000;
const NAMESPACES: u32 = 20;
/// What they may add.
const MOST: u64 = 16 << 20;
/// Requests in flight while they are made.
const ABREAST: usize = 64;

const OURS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker}
spec:
  replicas: 1
  selector: {matchLabels: {app: worker}}
  template: {metadata: {labels: {app: worker}}, spec: {containers: [{name: main, image: none}]}}
---
apiVersion: penstock.dev/v1alpha1
kind: ScaledPipeline
metadata: {name: orders}
spec:
  stages:
  - name: work
    target: {kind: Deployment, name: worker}
    replicas: {max: 20}
    sources: [{name: todo, kafka: {bootstrapServers: '127.0.0.1:1', topics: [todo], group: work}}]
";

#[tokio::test]
async fn twenty_thousand_pods_of_others_add_at_most_16_mib_however_they_are_met() -> Result<()> {
    // No controllers: nobody but us asks anything of the API server.
    let cluster = Cluster::start(Kubernetes::V1_36, ClusterOptions::default()).await?;
    install(&cluster).await?;
    let ours = cluster.namespace("ours").await?;
    cluster.apply(&ours, OURS).await?;
    let client = cluster.client().await?;
    let pods = Api::<Pod>::namespaced(client.clone(), &ours);
    pods.create(&PostParams::default(), &pod("worker-0", "worker")).await?;
    set_ready(&pods, "worker-0").await?;

    let daemon = Penstock::run(cluster.kubeconfig(), &[]).await?;
    until_ready(&daemon, &ours, 1).await?;
    let alone = settled(&daemon).await?;

    let begun = tokio::time::Instant::now();
    crowd(&cluster, &client).await?;
    let took = begun.elapsed();
    // What comes after all the others on the same watch has come after all the others.
    pods.create(&PostParams::default(), &pod("worker-1", "worker")).await?;
    set_ready(&pods, "worker-1").await?;
    until_ready(&daemon, &ours, 2).await?;
    let as_they_came = settled(&daemon).await?;
    daemon.stop().await?;

    let successor = Penstock::run(cluster.kubeconfig(), &[]).await?;
    until_ready(&successor, &ours, 2).await?;
    let at_once = settled(&successor).await?;
    let peak = successor.process().usage()?.peak;
    println!(
        "{FOREIGN} pods, made in {took:?}: alone {} KiB, as they came {} KiB, listed {} KiB, at its peak {} KiB",
        alone >> 10,
        as_they_came >> 10,
        at_once >> 10,
        peak >> 10
    );
    for (how, memory) in
        [("as they came", as_they_came), ("listed", at_once), ("at the peak of listing", peak)]
    {
        let added = memory.saturating_sub(alone);
        assert!(added <= MOST, "{} KiB more {how}", added >> 10);
    }
    Ok(())
}

/// Waits until the daemon counts so many Ready pods of ours.
async fn until_ready(daemon: &Penstock, namespace: &str, count: u32) -> Result<()> {
    until(&format!("{count} Ready pods"), SOON * 2, async || {
        let page = daemon.page(&format!("/api/v1/pipelines/{namespace}/orders")).await?;
        let view: view::Pipeline = serde_json::from_value(page)?;
        let ready = view.stages.first().context("no stage was decided on")?.replicas.ready;
        anyhow::ensure!(ready == Some(count), "{ready:?} are Ready");
        Ok(Some(()))
    })
    .await
}

/// Resident bytes, once they have stood still for a while.
async fn settled(daemon: &Penstock) -> Result<u64> {
    let (mut last, mut since) = (0, tokio::time::Instant::now());
    until("memory to stand still", SOON, async || {
        let now = daemon.process().usage()?.resident;
        if now.abs_diff(last) > 256 << 10 {
            (last, since) = (now, tokio::time::Instant::now());
        }
        Ok((since.elapsed() >= Duration::from_secs(3)).then_some(now))
    })
    .await
}

/// Makes all the others.
async fn crowd(cluster: &Cluster, client: &Client) -> Result<()> {
    let mut namespaces = Vec::new();
    for _ in 0..NAMESPACES {
        namespaces
            .push(Api::<Pod>::namespaced(client.clone(), &cluster.namespace("others").await?));
    }
    let made = futures::stream::iter(0..FOREIGN).map(|number| {
        let pods = &namespaces[usize::try_from(number % NAMESPACES).unwrap_or_default()];
        let app = format!("application-{}", number % 500);
        let pod = pod(&format!("{app}-6d4cf56db6-{number:05}"), &app);
        async move { pods.create(&PostParams::default(), &pod).await.map(drop) }
    });
    Ok(made.buffer_unordered(ABREAST).try_collect::<()>().await?)
}

/// A pod as a Deployment of a real cluster makes it, with the labels that people put on them.
fn pod(name: &str, app: &str) -> Pod {
    let environment: Vec<_> = (0..10)
        .map(|number| json!({"name": format!("SETTING_{number}"), "value": "something that an application is told"}))
        .collect();
    let container = |name: &str| {
        json!({
            "name": name, "image": format!("registry.example.com/{app}/{name}:1.27.3"), "env": environment,
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        })
    };
    serde_json::from_value(json!({
        "metadata": {
            "name": name,
            "labels": {
                "app": app, "app.kubernetes.io/name": app, "app.kubernetes.io/part-of": "somebody-elses-business",
                "pod-template-hash": "6d4cf56db6",
            },
            "annotations": {"prometheus.io/scrape": "true", "checksum/config": "0123456789abcdef".repeat(4)},
        },
        "spec": {"containers": [container("main"), container("sidecar")]},
    }))
    .expect("a pod")
}

/// Says what a kubelet would.
async fn set_ready(pods: &Api<Pod>, name: &str) -> Result<()> {
    let ready =
        json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = Patch::Strategic(json!({"status": {"phase": "Running", "conditions": [ready]}}));
    pods.patch_status(name, &PatchParams::default(), &status).await?;
    Ok(())
}
