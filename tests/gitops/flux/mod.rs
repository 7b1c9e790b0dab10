//! Flux: its real kustomize-controller applies the Kustomization of deploy/flux while the real daemon scales what it applies.

mod controller;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::rig::shared;
use crate::scene::{SOON, Scene};
use crate::shop::{Shop, Workload, documents};

use controller::Flux;

const ENRICH: Workload =
    Workload { kind: "Deployment", name: "enrich", image: "none:1", replicas: None, held: None };
const SINK: Workload =
    Workload { kind: "StatefulSet", name: "sink", image: "none:1", replicas: None, held: None };

/// The Kustomization of deploy/flux for this shop.
fn kustomization(flux: &Flux<'_>, shop: &Shop) -> Result<Value> {
    let mut object =
        documents("deploy/flux/workloads.yaml")?.into_iter().next().context("no Kustomization")?;
    object["metadata"]["namespace"] = json!(flux.namespace);
    object["spec"]["targetNamespace"] = json!(shop.namespace);
    Ok(object)
}

/// The same workload with another image.
fn newer(workload: &Workload) -> Workload {
    Workload { image: "none:2", ..*workload }
}

#[tokio::test]
async fn flux_waits_for_penstock_and_leaves_the_counts_alone() -> Result<()> {
    let cluster = shared::cluster().await?;
    let git = [ENRICH, SINK];
    let shop = Shop::open(cluster, "flux", &git).await?;
    let flux = Flux::start(cluster).await?;
    let revision = flux.push("shop", &shop.folder).await?;

    // Nobody has looked at the pipelines, and all else is well.
    let mut hasty = kustomization(&flux, &shop)?;
    hasty["spec"]["timeout"] = json!("30s");
    flux.apply(&hasty).await?;
    let said = flux.until_ready("shop", "False", &revision).await?;
    ensure!(
        said.contains("ScaledPipeline")
            && !said.contains("Deployment/")
            && !said.contains("StatefulSet/"),
        "{said}"
    );

    // As printed, and with a daemon.
    let scene = Scene::within(cluster, shop.namespace.clone()).await?;
    flux.apply(&kustomization(&flux, &shop)?).await?;
    flux.until_ready("shop", "True", &revision).await?;
    for workload in &git {
        let ready = scene.condition(workload.name, "Ready").await?.context("no condition")?;
        ensure!(ready.status == "True", "Flux was sooner: {ready:?}");
    }
    shop.until_all_at(&scene, &git, 5).await?;

    // Reconciles change nothing, not even for a moment.
    let mut before = Vec::new();
    for workload in &git {
        before.push(shop.see(workload).await?);
    }
    for _ in 0..2 {
        flux.reconcile("shop").await?;
    }
    for (workload, before) in git.iter().zip(before) {
        let after = shop.see(workload).await?;
        ensure!(after == before, "{before:?}\n{after:?}");
    }
    // A new revision is applied, and so is drift that is not Penstock's undone, both with the count left alone.
    shop.desk_says(70);
    shop.until_all_at(&scene, &git, 7).await?;
    let git = [newer(&ENRICH), newer(&SINK)];
    shop.state(&git)?;
    let revision = flux.push("shop", &shop.folder).await?;
    flux.until_ready("shop", "True", &revision).await?;
    for workload in &git {
        let seen = shop.see(workload).await?;
        ensure!(seen.image == workload.image && seen.count == Some(7), "{seen:?}");
    }
    cluster
        .kubectl(&[
            "-n",
            &shop.namespace,
            "set",
            "image",
            "deployment/enrich",
            "worker=none:drifted",
        ])
        .await?;
    flux.reconcile("shop").await?;
    let seen = shop.see(&git[0]).await?;
    ensure!(seen.image == git[0].image && seen.count == Some(7), "{seen:?}");
    for workload in &git {
        let moves = scene.moves(workload.name, 1)?;
        ensure!(moves == [5, 7], "{}: {moves:?}", workload.name);
        ensure!(
            !shop.see(workload).await?.owners.iter().any(|owner| owner.starts_with("kustomize"))
        );
    }

    // A pipeline whose workload someone else scales fails the wait.
    scene.create(hpa("enrich")).await?;
    scene.until_condition("enrich", ("WriterConflict", "True", ""), SOON).await?;
    flux.reconcile("shop").await?;
    let [is, _, said] = flux.condition("shop", "Ready").await?;
    let named = format!("ScaledPipeline/{}/enrich", shop.namespace);
    ensure!(is == "False" && said.contains(&named), "{is}: {said}");
    scene.delete("autoscaling/v2", "HorizontalPodAutoscaler", "enrich").await?;
    scene.until_condition("enrich", ("WriterConflict", "False", ""), SOON).await?;
    flux.reconcile("shop").await?;
    flux.until_ready("shop", "True", &revision).await?;
    Ok(())
}

fn hpa(target: &str) -> Value {
    let cpu = json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}});
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": target},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "maxReplicas": 4, "metrics": [{"type": "Resource", "resource": cpu}],
        },
    })
}

#[tokio::test]
async fn flux_keeps_a_count_that_it_ignores_and_gives_up_one_that_git_drops() -> Result<()> {
    let cluster = shared::cluster().await?;
    let flux = Flux::start(cluster).await?;

    // Ignored: Flux owns what it applied first. Penstock does not fight it, and the wait fails.
    let git = [Workload { replicas: Some(2), ..ENRICH }];
    let shop = Shop::open(cluster, "ignored", &git).await?;
    let revision = flux.push("shop", &shop.folder).await?;
    let scene = Scene::within(cluster, shop.namespace.clone()).await?;
    let mut ignoring = kustomization(&flux, &shop)?;
    let deployments = json!({"paths": ["/spec/replicas"], "target": {"kind": "Deployment"}});
    ignoring["spec"]["ignore"] = json!([deployments]);
    flux.apply(&ignoring).await?;
    let said = scene.until_condition("enrich", ("WriterConflict", "True", ""), SOON).await?;
    ensure!(said.contains("kustomize-controller"), "{said}");
    flux.until_ready("shop", "False", &revision).await?;
    // Nor does it give up what Git drops: to it nothing has changed.
    shop.state(&[ENRICH])?;
    let revision = flux.push("shop", &shop.folder).await?;
    flux.until_ready("shop", "False", &revision).await?;
    let seen = shop.see(&ENRICH).await?;
    ensure!(seen.count == Some(2) && seen.owners == ["kustomize-controller Apply"], "{seen:?}");

    // Not ignored: held at Git's count Penstock owns it, too, and Git may drop it without a fall to one.
    let held = Workload { held: Some(2), ..SINK };
    let git = [Workload { replicas: Some(2), ..held }];
    let shop = Shop::open(cluster, "dropped", &git).await?;
    let mut plain = kustomization(&flux, &shop)?;
    plain["metadata"]["name"] = json!("dropped");
    plain["spec"]["sourceRef"]["name"] = json!("dropped");
    flux.push("dropped", &shop.folder).await?;
    flux.apply(&plain).await?;
    let scene = Scene::within(cluster, shop.namespace.clone()).await?;
    let owned_by = async |owners: &[&str]| {
        scene
            .until(&format!("the count to be owned by {owners:?}"), SOON, async || {
                let seen = shop.see(&SINK).await?;
                let mut found = seen.owners.clone();
                found.sort();
                ensure!(found == owners && seen.count == Some(2), "{seen:?}");
                Ok(Some(()))
            })
            .await
    };
    owned_by(&["kustomize-controller Apply", "penstock Apply scale"]).await?;
    // It applies what differs, and that it owns the count is no difference: something else of the object has to change, too.
    shop.state(&[newer(&held)])?;
    let revision = flux.push("dropped", &shop.folder).await?;
    flux.until_ready("dropped", "True", &revision).await?;
    owned_by(&["penstock Apply scale"]).await?;
    shop.state(&[newer(&SINK)])?;
    flux.push("dropped", &shop.folder).await?;
    shop.until_all_at(&scene, &[SINK], 5).await?;
    ensure!(scene.moves("sink", 2)? == [5], "{:?}", scene.moves("sink", 2)?);
    Ok(())
}
