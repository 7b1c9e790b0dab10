//! Scenarios of other writers on the same target: a hand, Git, an HPA, a second pipeline. Judged by the target's own count and managed
//! fields, and by what Penstock says of it.

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::rig::{Broker, shared};
use crate::scene::{SOON, Scene, kafka};

/// A stage that wants exactly `count` replicas of the Deployment `worker`, whatever waits.
fn fixed(broker: &Broker, topic: &str, count: u32) -> Value {
    json!({
        "target": {"name": "worker"}, "replicas": {"min": count, "max": count},
        "sources": [kafka(broker, &[topic], topic, json!({"perReplica": 100}))],
    })
}

/// A namespace with a Deployment of three and a pipeline that wants three, claimed.
async fn settled(name: &str) -> Result<(Scene, String)> {
    let broker = shared::broker().await?;
    let scene = Scene::open(name).await?;
    let topic = scene.namespace.clone();
    broker.topic(&topic, 4).await?;
    scene.deployment("worker", 3).await?;
    scene.pipeline("orders", fixed(broker, &topic, 3)).await?;
    scene
        .until("the count to be claimed", SOON, async || {
            let owners = owners(&scene).await?;
            Ok(owners.contains(&"penstock Apply".to_owned()).then_some(()))
        })
        .await?;
    Ok((scene, topic))
}

fn deployments(scene: &Scene) -> Api<Deployment> {
    Api::namespaced(scene.client.clone(), &scene.namespace)
}

/// Who owns the replica count: manager and operation.
async fn owners(scene: &Scene) -> Result<Vec<String>> {
    let fields =
        deployments(scene).get("worker").await?.metadata.managed_fields.unwrap_or_default();
    let owning = fields.iter().filter(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| fields.0.clone()).unwrap_or_default();
        fields["f:spec"].get("f:replicas").is_some()
    });
    let name = |word: &Option<String>| word.clone().unwrap_or_default();
    Ok(owning.map(|e| format!("{} {}", name(&e.manager), name(&e.operation))).collect())
}

async fn count(scene: &Scene) -> Result<Option<i32>> {
    Ok(deployments(scene).get("worker").await?.spec.and_then(|spec| spec.replicas))
}

async fn until_count(scene: &Scene, wanted: i32) -> Result<()> {
    scene
        .until(&format!("the count to be {wanted}"), SOON, async || {
            let count = count(scene).await?;
            anyhow::ensure!(count == Some(wanted), "it is {count:?}");
            Ok(Some(()))
        })
        .await
}

/// Writes a count as a field manager would.
async fn write(scene: &Scene, manager: &str, patch: &Value, applies: bool) -> Result<()> {
    let api = deployments(scene);
    if applies {
        let params = PatchParams::apply(manager).force();
        api.patch("worker", &params, &Patch::Apply(patch)).await?;
    } else {
        let params =
            PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        api.patch("worker", &params, &Patch::Merge(patch)).await?;
    }
    Ok(())
}

/// The manifest that Git holds, with or without a count.
fn in_git(replicas: Option<u32>) -> Value {
    let mut manifest = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "worker"},
        "spec": {
            "selector": {"matchLabels": {"app": "worker"}},
            "template": {
                "metadata": {"labels": {"app": "worker"}},
                "spec": {"containers": [{"name": "worker", "image": "none"}]},
            },
        },
    });
    if let Some(replicas) = replicas {
        manifest["spec"]["replicas"] = json!(replicas);
    }
    manifest
}

#[tokio::test]
async fn a_hand_is_taken_over_once_and_left_alone_when_it_comes_back() -> Result<()> {
    let (scene, _) = settled("hand").await?;
    write(&scene, "kubectl", &json!({"spec": {"replicas": 5}}), false).await?;
    until_count(&scene, 3).await?;
    let events: Api<k8s_openapi::api::events::v1::Event> =
        Api::namespaced(scene.client.clone(), &scene.namespace);
    scene
        .until("an event that says so", SOON, async || {
            let events = events.list(&kube::api::ListParams::default()).await?;
            let said = events.items.iter().any(|event| {
                let note = event.note.as_deref().unwrap_or_default();
                event.reason.as_deref() == Some("TakenOver") && note.contains("kubectl")
            });
            Ok(said.then_some(()))
        })
        .await?;
    write(&scene, "kubectl", &json!({"spec": {"replicas": 6}}), false).await?;
    let said = scene.until_condition("orders", ("WriterConflict", "True", ""), SOON).await?;
    assert!(said.contains("kubectl"), "{said}");
    assert_eq!(count(&scene).await?, Some(6), "no fight");
    Ok(())
}

#[tokio::test]
async fn git_may_drop_replicas_without_a_fall_to_one() -> Result<()> {
    let broker = shared::broker().await?;
    let scene = Scene::open("git").await?;
    let topic = scene.namespace.clone();
    broker.topic(&topic, 4).await?;
    scene.deployment("worker", 4).await?;
    write(&scene, "kustomize-controller", &in_git(Some(4)), true).await?;
    scene.pipeline("orders", fixed(broker, &topic, 4)).await?;
    scene
        .until("the count to be claimed", SOON, async || {
            let owners = owners(&scene).await?;
            let both = ["penstock Apply", "kustomize-controller Apply"];
            Ok(both.iter().all(|who| owners.iter().any(|o| o == who)).then_some(()))
        })
        .await?;
    write(&scene, "kustomize-controller", &in_git(None), true).await?;
    assert!(!owners(&scene).await?.iter().any(|owner| owner.starts_with("kustomize")));
    assert_eq!(count(&scene).await?, Some(4));
    assert!(scene.moves("worker", 4)?.is_empty(), "nobody moved it");
    Ok(())
}

#[tokio::test]
async fn an_apply_manager_is_not_fought_but_named() -> Result<()> {
    let (scene, _) = settled("flux").await?;
    write(&scene, "kustomize-controller", &in_git(Some(2)), true).await?;
    let said = scene.until_condition("orders", ("WriterConflict", "True", ""), SOON).await?;
    assert!(said.contains("kustomize-controller"), "{said}");
    assert_eq!(count(&scene).await?, Some(2));
    Ok(())
}

#[tokio::test]
async fn an_autoscaler_on_the_target_is_named_and_nothing_is_written() -> Result<()> {
    let broker = shared::broker().await?;
    let scene = Scene::open("hpa").await?;
    let topic = scene.namespace.clone();
    broker.topic(&topic, 4).await?;
    scene.deployment("worker", 1).await?;
    scene
        .create(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "other"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"},
                "maxReplicas": 4,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}],
            },
        }))
        .await?;
    scene.pipeline("orders", fixed(broker, &topic, 3)).await?;
    let said = scene.until_condition("orders", ("WriterConflict", "True", ""), SOON).await?;
    assert!(said.contains("other"), "{said}");
    let stage = scene.stage("orders").await?;
    let last = stage.reasons.last().context("no reason")?;
    assert_eq!(last.code, "HpaOnTarget");
    assert!(scene.writes("worker")?.is_empty());
    scene.delete("autoscaling/v2", "HorizontalPodAutoscaler", "other").await?;
    until_count(&scene, 3).await
}

#[tokio::test]
async fn of_two_pipelines_on_one_target_the_younger_says_whose_it_is() -> Result<()> {
    let (scene, topic) = settled("twice").await?;
    // Creation times are whole seconds: the second pipeline must be younger to be told apart.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let broker = shared::broker().await?;
    scene.pipeline_unread("second", fixed(broker, &topic, 7)).await?;
    let said = scene.until_condition("second", ("Ready", "False", ""), SOON).await?;
    assert!(said.contains("orders"), "{said}");
    assert_eq!(count(&scene).await?, Some(3));
    Ok(())
}
