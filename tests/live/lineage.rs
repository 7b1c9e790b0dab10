//! OpenLineage events posted to real daemons: two replicas of which either may take an event, a leader that dies, and a restart of both.

use std::path::PathBuf;

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::examples::apply;
use crate::failover::until_leads;
use crate::rig::{Penstock, free_port, fresh_folder, http_post, shared, until};
use crate::scene::{SOON, Scene};

/// A token in a file.
pub(crate) fn token() -> Result<PathBuf> {
    let file = fresh_folder("lineage")?.join("token");
    std::fs::write(&file, "s3cret").context("write the token")?;
    Ok(file)
}

/// Posts an event of a run that wrote `shop.public.orders`; the status of the answer.
pub(crate) async fn post(port: u16, kind: &str, at: Timestamp) -> Result<u16> {
    let event = json!({
        "eventType": kind, "eventTime": at.to_string(),
        "run": {"runId": format!("{kind}-{at}")}, "job": {"namespace": "shop", "name": "load_orders"},
        "inputs": [], "producer": "https://github.com/OpenLineage/OpenLineage/tree/1.40.0/client/python",
        "outputs": [{"namespace": "postgres://warehouse:5432", "name": "shop.public.orders"}],
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    });
    let headers = [("Authorization", "Bearer s3cret"), ("Content-Type", "application/json")];
    let (status, _) = http_post(port, "/api/v1/lineage", &headers, &event.to_string()).await?;
    Ok(status)
}

/// So many minutes before now, by the clock of this machine.
pub(crate) fn minutes_ago(minutes: i64) -> Timestamp {
    penstock::clock::Clock::start().now() - SignedDuration::from_mins(minutes)
}

/// What the only source of `warehouse` is, as a daemon shows it.
async fn state(daemon: &Penstock, namespace: &str) -> Result<String> {
    let page = daemon.page(&format!("/api/v1/pipelines/{namespace}/warehouse")).await?;
    let state = page["stages"][0]["sources"][0]["state"].as_str();
    Ok(state.context("the source is not shown")?.to_owned())
}

async fn until_state(daemon: &Penstock, namespace: &str, wished: &str) -> Result<()> {
    until(&format!("the age to be {wished}"), SOON, async || {
        let state = state(daemon, namespace).await?;
        anyhow::ensure!(state == wished, "it is {state}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn an_event_reaches_the_leader_whichever_replica_takes_it_and_outlives_either() -> Result<()>
{
    let ports = [free_port()?, free_port()?];
    let places = ports.map(|port| format!("127.0.0.1:{port}"));
    let token = token()?.display().to_string();
    let listen = |own: usize| {
        let other = 1 - own;
        [
            ["--lineage-listen", &places[own]],
            ["--lineage-peer", &places[other]],
            ["--lineage-token-file", &token],
        ]
        .concat()
    };
    let scene = Scene::open_with("lineage", &listen(0)).await?;
    let namespace = scene.namespace.clone();
    let leader = &scene.daemon;
    until_leads(&scene, leader, SOON).await?;
    let only_here = ["--namespace", &namespace, "--lease-namespace", &namespace];
    let kubeconfig = shared::cluster().await?.kubeconfig();
    let other = Penstock::run(kubeconfig, &[&only_here[..], &listen(1)].concat()).await?;
    scene.deployment("load", 1).await?;
    apply(&scene, "openlineage", &[]).await?;
    // Nobody has told of a run yet: nothing is known, and nothing moves.
    until_state(leader, &namespace, "Failed").await?;
    // A run that began says nothing; one that completed reaches the leader through the replica that took it.
    assert_eq!(post(ports[1], "START", minutes_ago(1)).await?, 201);
    assert_eq!(post(ports[1], "COMPLETE", minutes_ago(25)).await?, 201);
    assert_eq!(scene.until_moved(("load", 1, 3), SOON).await?, [3]);
    until_state(leader, &namespace, "Fresh").await?;
    // The leader dies: the other knows as much. The first comes back: it learns from the other.
    leader.process().kill9();
    until_leads(&scene, &other, SOON).await?;
    until_state(&other, &namespace, "Fresh").await?;
    leader.process().start_again()?;
    leader.ready().await?;
    until_state(leader, &namespace, "Fresh").await?;
    // Both die: nobody knows, so the stage is held where it stands.
    leader.process().kill9();
    other.process().kill9();
    leader.process().start_again()?;
    leader.ready().await?;
    until_leads(&scene, leader, SOON).await?;
    until_state(leader, &namespace, "Failed").await?;
    assert_eq!(scene.moves("load", 1)?, [3]);
    // The next run tells.
    assert_eq!(post(ports[0], "COMPLETE", minutes_ago(45)).await?, 201);
    assert_eq!(scene.until_moved(("load", 1, 5), SOON).await?, [3, 5]);
    Ok(())
}
