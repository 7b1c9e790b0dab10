//! Scenarios of a part that dies: the leader, politely and not, a leader that sleeps, the API server. Judged by who wrote what, and when.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::rig::{Cluster, ClusterOptions, Kubernetes, Penstock, shared};
use crate::scene::{SOON, Scene, kafka};

/// Does this replica hold the lease?
pub(crate) async fn leads(daemon: &Penstock) -> Result<bool> {
    let (_, metrics) = daemon.get("/metrics").await?;
    Ok(metrics.lines().any(|line| line.starts_with("penstock_leader 1")))
}

pub(crate) async fn until_leads(
    scene: &Scene,
    daemon: &Penstock,
    deadline: Duration,
) -> Result<()> {
    scene
        .until("the replica to lead", deadline, async || Ok(leads(daemon).await?.then_some(())))
        .await
}

/// A scene with a settled pipeline by a threshold, and a second replica of the daemon that stands by.
async fn with_standby(name: &str) -> Result<(Scene, Penstock)> {
    let broker = shared::broker().await?;
    let scene = Scene::open(name).await?;
    let topic = scene.namespace.clone();
    broker.topic(&topic, 12).await?;
    scene.deployment("worker", 1).await?;
    until_leads(&scene, &scene.daemon, SOON).await?;
    let only_here = ["--namespace", &topic, "--lease-namespace", &topic];
    let standby = Penstock::run(shared::cluster().await?.kubeconfig(), &only_here).await?;
    let per_replica = json!({"perReplica": 100, "offsetReset": "Earliest"});
    let stage = json!({
        "target": {"name": "worker"}, "replicas": {"max": 12},
        "sources": [kafka(broker, &[&topic], &topic, per_replica)],
    });
    scene.pipeline("orders", stage).await?;
    assert!(!leads(&standby).await?);
    Ok((scene, standby))
}

#[tokio::test]
async fn a_standby_takes_over_from_a_killed_leader() -> Result<()> {
    let (scene, standby) = with_standby("killed").await?;
    scene.daemon.process().kill9();
    shared::broker().await?.send(&scene.namespace, None, 1_000).await?;
    until_leads(&scene, &standby, SOON).await?;
    let moves = scene.until_moved(("worker", 1, 10), SOON).await?;
    assert_eq!(moves, [10]);
    Ok(())
}

#[tokio::test]
async fn a_leader_that_is_asked_to_end_hands_over_at_once() -> Result<()> {
    let (scene, standby) = with_standby("polite").await?;
    let end = scene.daemon.stop().await?;
    assert!(end.success(), "{end}");
    // Less than the 8 s after which a silent lease is free.
    until_leads(&scene, &standby, Duration::from_secs(7)).await
}

#[tokio::test]
async fn a_leader_that_slept_writes_nothing_when_it_wakes() -> Result<()> {
    let (scene, standby) = with_standby("slept").await?;
    scene.daemon.process().freeze()?;
    shared::broker().await?.send(&scene.namespace, None, 1_000).await?;
    until_leads(&scene, &standby, SOON).await?;
    let moves = scene.until_moved(("worker", 1, 10), SOON).await?;
    assert_eq!(moves, [10]);
    scene.daemon.process().thaw()?;
    scene
        .until("the old leader to step down", SOON, async || {
            Ok((!leads(&scene.daemon).await?).then_some(()))
        })
        .await?;
    assert_eq!(scene.moves("worker", 1)?, [10]);
    assert!(leads(&standby).await?);
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_was_away_finds_nothing_lost() -> Result<()> {
    let broker = shared::broker().await?;
    let options = ClusterOptions { nodes: 1, audit: true, ..ClusterOptions::default() };
    let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
    let scene = Scene::on(&cluster, "away").await?;
    let topic = format!("{}-away", scene.namespace);
    broker.topic(&topic, 12).await?;
    scene.deployment("worker", 1).await?;
    let per_replica = json!({"perReplica": 100, "offsetReset": "Earliest"});
    let stage = json!({
        "target": {"name": "worker"}, "replicas": {"max": 12},
        "sources": [kafka(broker, &[&topic], &topic, per_replica)],
    });
    scene.pipeline("orders", stage).await?;
    let pid = scene.daemon.process().pid()?;
    cluster.apiserver().kill9();
    broker.send(&topic, None, 600).await?;
    scene
        .until("the backlog to be seen", SOON, async || {
            let stage = scene.stage("orders").await?;
            Ok((stage.lag == Some(600)).then_some(()))
        })
        .await?;
    cluster.apiserver().start_again()?;
    cluster.apiserver_ready().await?;
    scene
        .until("the count to be right", SOON, async || {
            let worker: kube::Api<k8s_openapi::api::apps::v1::Deployment> =
                kube::Api::namespaced(scene.client.clone(), &scene.namespace);
            let count = worker.get("worker").await?.spec.and_then(|spec| spec.replicas);
            anyhow::ensure!(count == Some(6), "it is {count:?}");
            Ok(Some(()))
        })
        .await?;
    assert_eq!(scene.daemon.process().pid()?, pid, "the daemon stayed up");
    Ok(())
}
