//! Argo CD: its real controllers sync the Application of deploy/argocd, with the Lua of deploy/argocd, while the real daemon scales what it syncs.

mod servers;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::rig::{shared, until};
use crate::scene::{SOON, Scene};
use crate::shop::{Shop, Workload, documents};

use servers::{ArgoCd, commit};

const ENRICH: Workload =
    Workload { kind: "Deployment", name: "enrich", image: "none:1", replicas: None, held: None };
/// Git states a count, which the Application has Argo CD ignore.
const SINK: Workload =
    Workload { kind: "StatefulSet", name: "sink", image: "none:1", replicas: Some(2), held: None };

/// The Application of deploy/argocd for this shop, under a name of its own.
fn application(name: &str, shop: &Shop) -> Result<Value> {
    let mut object =
        documents("deploy/argocd/workloads.yaml")?.into_iter().next().context("no Application")?;
    object["metadata"]["name"] = json!(name);
    object["spec"]["source"]["repoURL"] = json!(format!("file://{}", shop.folder.display()));
    object["spec"]["destination"]["namespace"] = json!(shop.namespace);
    Ok(object)
}

/// The health of one object in an Application: status and message.
fn health(application: &Value, kind: &str, name: &str) -> Result<(String, String)> {
    let all = application["status"]["resources"].as_array().context("no resources")?;
    let found = all.iter().find(|it| it["kind"] == kind && it["name"] == name);
    let health = &found.with_context(|| format!("no {kind} {name}"))?["health"];
    let word = |field: &str| health[field].as_str().unwrap_or_default().to_owned();
    Ok((word("status"), word("message")))
}

#[tokio::test]
async fn argo_cd_beside_penstock() -> Result<()> {
    let cluster = shared::cluster().await?;
    let argo = ArgoCd::start(cluster).await?;
    as_deploy_says(&argo).await?;
    without_respect(&argo).await?;
    without_ignoring(&argo).await
}

/// It waits for Penstock, heals what is not Penstock's, leaves the counts alone, and holds and resumes a pipeline by a click.
async fn as_deploy_says(argo: &ArgoCd<'_>) -> Result<()> {
    let cluster = shared::cluster().await?;
    let git = [ENRICH, SINK];
    let shop = Shop::open(cluster, "argo", &git).await?;
    let first = commit(&shop.folder).await?;
    argo.apply(&application("shop", &shop)?).await?;

    // Nobody has looked at the pipelines, and all else is well.
    until("the workloads to be healthy", SOON * 2, async || {
        let seen = argo.until_it_is("shop", "Synced Progressing", &first).await?;
        for workload in &git {
            let (status, message) = health(&seen, workload.kind, workload.name)?;
            ensure!(status == "Healthy", "{} is {status}: {message}", workload.name);
            let (status, _) = health(&seen, "ScaledPipeline", workload.name)?;
            ensure!(status == "Progressing", "the pipeline {} is {status}", workload.name);
        }
        Ok(Some(()))
    })
    .await?;

    // With a daemon: the first sync applied Git's count, and Penstock goes on from there.
    let scene = Scene::within(cluster, shop.namespace.clone()).await?;
    argo.until_it_is("shop", "Synced Healthy", &first).await?;
    shop.until_all_at(&scene, &git, 5).await?;
    argo.refresh("shop").await?;
    argo.until_it_is("shop", "Synced Healthy", &first).await?;
    // What a click on Sync and a heal change is not the count, not even for a moment.
    argo.sync("shop").await?;
    shop.desk_says(70);
    shop.until_all_at(&scene, &git, 7).await?;
    let drift = ["set", "image", "deployment/enrich", "statefulset/sink", "worker=none:drifted"];
    cluster.kubectl(&[&["-n", &*shop.namespace][..], &drift].concat()).await?;
    until_images(&scene, &shop, &git).await?;
    argo.until_it_is("shop", "Synced Healthy", &first).await?;
    // A new commit, which states yet another count.
    let git = [
        Workload { image: "none:2", ..ENRICH },
        Workload { image: "none:2", replicas: Some(3), ..SINK },
    ];
    shop.state(&git)?;
    let second = commit(&shop.folder).await?;
    argo.refresh("shop").await?;
    argo.until_it_is("shop", "Synced Healthy", &second).await?;
    until_images(&scene, &shop, &git).await?;
    for (workload, from) in [(&git[0], 1), (&git[1], 2)] {
        let seen = shop.see(workload).await?;
        ensure!(seen.count == Some(7), "{seen:?}");
        let moves = scene.moves(workload.name, from)?;
        ensure!(moves == [5, 7], "{}: {moves:?}", workload.name);
    }

    // By a click, and no sync takes it back.
    let pipeline = (&*shop.namespace, "enrich");
    let offered = argo.offered("shop", pipeline).await?;
    ensure!(offered == ["pause", "pause-at", "pause-scale-in"], "{offered:?}");
    argo.act("shop", pipeline, "pause").await?;
    scene.until_condition("enrich", ("Paused", "True", ""), SOON).await?;
    argo.until_it_is("shop", "Synced Suspended", &second).await?;
    argo.sync("shop").await?;
    let seen = argo.until_it_is("shop", "Synced Suspended", &second).await?;
    let (status, message) = health(&seen, "ScaledPipeline", "enrich")?;
    ensure!(status == "Suspended" && !message.is_empty(), "{status}: {message}");
    ensure!(argo.offered("shop", pipeline).await? == ["resume"]);
    argo.act("shop", pipeline, "resume").await?;
    scene.until_condition("enrich", ("Paused", "False", ""), SOON).await?;
    argo.until_it_is("shop", "Synced Healthy", &second).await?;
    Ok(())
}

/// Without `RespectIgnoreDifferences` the difference is not shown, and a sync writes Git's count all the same.
async fn without_respect(argo: &ArgoCd<'_>) -> Result<()> {
    let cluster = shared::cluster().await?;
    let shop = Shop::open(cluster, "shown", &[SINK]).await?;
    let first = commit(&shop.folder).await?;
    let scene = Scene::within(cluster, shop.namespace.clone()).await?;
    let mut object = application("shown", &shop)?;
    object["spec"]["syncPolicy"]["syncOptions"] = json!([]);
    argo.apply(&object).await?;
    argo.until_it_is("shown", "Synced Healthy", &first).await?;
    shop.until_all_at(&scene, &[SINK], 5).await?;
    argo.refresh("shown").await?;
    argo.until_it_is("shown", "Synced Healthy", &first).await?;
    let before = shop.see(&SINK).await?;
    ensure!(before.count == Some(5), "{before:?}");
    argo.sync("shown").await?;
    // It fell to Git's count, and Penstock took it over: two changes of the spec.
    shop.until_all_at(&scene, &[SINK], 5).await?;
    let after = shop.see(&SINK).await?;
    ensure!(after.generation == before.generation + 2, "{before:?}\n{after:?}");
    let events = cluster.kubectl(&["-n", &shop.namespace, "get", "events", "-o", "json"]).await?;
    ensure!(events.contains("TakenOver") && events.contains("argocd-controller"), "{events}");
    Ok(())
}

/// With Git's count and nothing ignored, Argo CD heals what Penstock wrote, until Penstock names it and stops.
async fn without_ignoring(argo: &ArgoCd<'_>) -> Result<()> {
    let cluster = shared::cluster().await?;
    let shop = Shop::open(cluster, "fought", &[SINK]).await?;
    let first = commit(&shop.folder).await?;
    let scene = Scene::within(cluster, shop.namespace.clone()).await?;
    let mut object = application("fought", &shop)?;
    object["spec"]["ignoreDifferences"] = json!([]);
    argo.apply(&object).await?;
    let said = scene.until_condition("sink", ("WriterConflict", "True", ""), SOON * 2).await?;
    ensure!(said.contains("argocd-controller"), "{said}");
    argo.until_it_is("fought", "Synced Degraded", &first).await?;
    let seen = shop.see(&SINK).await?;
    ensure!(seen.count == Some(2), "Git's count stays: {seen:?}");
    Ok(())
}

/// Waits until each of these runs Git's image.
async fn until_images(scene: &Scene, shop: &Shop, workloads: &[Workload]) -> Result<()> {
    for workload in workloads {
        scene
            .until(&format!("{} to run {}", workload.name, workload.image), SOON * 2, async || {
                let seen = shop.see(workload).await?;
                ensure!(seen.image == workload.image, "{seen:?}");
                Ok(Some(()))
            })
            .await?;
    }
    Ok(())
}
