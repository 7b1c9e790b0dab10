//! Argo Workflows: workflows that wait for a slot, whose number stands in a `ConfigMap` or on the namespace.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::yard::{Yard, change, seen};

fn semaphores() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "limits"},
        "data": {"import": "1", "export": "2", "words": "many"},
    })
}

fn stage(part: &str) -> Value {
    let target = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "limits", "part": part});
    json!({"target": target, "replicas": {"min": 0, "max": 20}})
}

pub(crate) async fn two_semaphores_of_one_config_map_get_slots(mut yard: Yard) -> Result<()> {
    yard.create(&semaphores()).await?;
    let api = yard.api("v1", "ConfigMap");
    let import = yard.follow(&api, "limits", "/data/import").await?;
    let export = yard.follow(&api, "limits", "/data/export").await?;
    let mut awake = stage("import");
    awake["replicas"]["min"] = json!(1);
    yard.pipeline("import", awake).await?;
    let mut awake = stage("export");
    awake["replicas"]["min"] = json!(2);
    yard.pipeline("export", awake).await?;
    yard.pipeline("words", stage("words")).await?;
    yard.pipeline("none", stage("none")).await?;
    // Both at once: whoever is told that the object has moved asks again.
    yard.wait_in("import", 120);
    yard.wait_in("export", 70);
    yard.until_gone(&import, &json!(["1", "12"])).await?;
    yard.until_gone(&export, &json!(["2", "7"])).await?;
    let said = yard.until_reason("words", "TargetUnusable").await?;
    ensure!(said.ends_with("its key words holds no whole number"), "{said}");
    let said = yard.until_reason("none", "TargetUnusable").await?;
    ensure!(said.contains("it has no key none"), "{said}");
    let data = seen(&api, "limits").await?["data"].clone();
    ensure!(data["words"] == "many", "{data}");
    Ok(())
}

pub(crate) async fn a_namespace_is_never_without_limit(mut yard: Yard) -> Result<()> {
    let label = "workflows.argoproj.io/parallelism-limit";
    let (api, name) = (yard.api("v1", "Namespace"), yard.namespace.clone());
    let target = json!({"apiVersion": "v1", "kind": "Namespace", "name": name});
    let idle = json!({"replicas": 0, "after": "1s"});
    let stage = json!({"target": target, "replicas": {"min": 0, "max": 20}, "idle": idle});
    yard.pipeline("flows", stage).await?;
    let said = yard.until_reason("flows", "TargetUnusable").await?;
    ensure!(said.contains(&format!("kubectl label namespace {name} {label}=1")), "{said}");
    change(&api, &name, ("kubectl-label", json!({"metadata": {"labels": {label: "3"}}}))).await?;
    let pointer = format!("/metadata/labels/{}", label.replace('/', "~1"));
    let trail = yard.follow(&api, &name, &pointer).await?;
    yard.wait_in("flows", 60);
    yard.until("six at once", async || Ok(trail.seen().contains(&json!("6")).then_some(())))
        .await?;
    yard.wait_in("flows", 0);
    yard.until(
        "one at once",
        async || Ok((trail.seen().last() == Some(&json!("1"))).then_some(())),
    )
    .await?;
    let said = yard.until_reason("flows", "TargetLimit").await?;
    ensure!(said == "kept at 1: 0 would do, but Argo takes 0 for no limit at all", "{said}");
    // Another namespace is none of its business.
    let target = json!({"apiVersion": "v1", "kind": "Namespace", "name": "kube-system"});
    yard.pipeline("other", json!({"target": target, "replicas": {"max": 20}})).await?;
    yard.until_reason("other", "TargetUnusable").await?;
    Ok(())
}

pub(crate) async fn a_hand_is_taken_over_once_and_then_named(mut yard: Yard) -> Result<()> {
    yard.create(&semaphores()).await?;
    let api = yard.api("v1", "ConfigMap");
    let trail = yard.follow(&api, "limits", "/data/import").await?;
    let mut fixed = stage("import");
    fixed["replicas"] = json!({"min": 4, "max": 4});
    yard.pipeline("import", fixed).await?;
    yard.until_gone(&trail, &json!(["1", "4"])).await?;
    let set = |to: &str| ("kubectl-edit", json!({"data": {"import": to}}));
    change(&api, "limits", set("9")).await?;
    yard.until_gone(&trail, &json!(["1", "4", "9", "4"])).await?;
    change(&api, "limits", set("8")).await?;
    let said = yard.until_reason("import", "WriterConflict").await?;
    ensure!(said.contains("kubectl-edit"), "{said}");
    yard.until_gone(&trail, &json!(["1", "4", "9", "4", "8"])).await
}
