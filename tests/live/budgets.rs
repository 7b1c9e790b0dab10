//! A budget over two pipelines on a real control plane: who is served first, who gives way, and what is said of it; and a ceiling that is
//! raised again. Judged by what the API server recorded of who wrote what.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::examples::apply;
use crate::rig::shared;
use crate::scene::{SOON, Scene, kafka};

/// Pods that request one CPU each.
fn deployment(name: &str, replicas: u32) -> Value {
    let container =
        json!({"name": "worker", "image": "none", "resources": {"requests": {"cpu": "1"}}});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            },
        },
    })
}

fn budget(namespace: &str, cpu: &str) -> Value {
    json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityBudget", "metadata": {"name": namespace},
        "spec": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "limits": {"cpu": cpu},
        },
    })
}

#[tokio::test]
async fn the_example_of_priorities_reaches_its_counts() -> Result<()> {
    let broker = shared::broker().await?;
    let scene = Scene::open("example-priorities").await?;
    let namespace = scene.namespace.as_str();
    let topic = |name: &str| format!("{namespace}-{name}");
    for name in ["orders", "bills"] {
        broker.topic(&topic(name), 12).await?;
        broker.commit(&topic(name), &topic(name), 0).await?;
    }
    for name in ["book", "print"] {
        scene.create(deployment(name, 1)).await?;
    }
    let replaced = [
        ("{name: shop}", format!("{{name: {namespace}}}")),
        ("metadata.name: shop", format!("metadata.name: {namespace}")),
        ("kafka.shop:9092", broker.bootstrap()),
        ("topics: [orders], group: book", format!("topics: [{0}], group: {0}", topic("orders"))),
        ("topics: [bills], group: print", format!("topics: [{0}], group: {0}", topic("bills"))),
    ];
    apply(&scene, "priorities", &replaced).await?;
    broker.send(&topic("bills"), None, 80).await?;
    scene.until_moved(("print", 1, 8), SOON).await?;
    broker.send(&topic("orders"), None, 60).await?;
    scene.until_moved(("book", 1, 6), SOON).await?;
    scene.until_condition("bills", ("CapacityShort", "True", "OverBudget"), SOON).await?;
    // Down only after its window.
    scene.until_moved(("print", 1, 4), 3 * SOON).await?;
    Ok(())
}

#[tokio::test]
async fn who_comes_first_is_served_and_the_other_gives_way_within_the_budget() -> Result<()> {
    let cluster = shared::cluster().await?;
    let scene = Scene::open("budgets").await?;
    let (broker, namespace) = (shared::broker().await?, scene.namespace.as_str());
    cluster.apply("default", &budget(namespace, "10").to_string()).await?;
    for (name, priority) in [("orders", 5), ("bills", 0)] {
        let topic = format!("{namespace}-{name}");
        broker.topic(&topic, 12).await?;
        broker.commit(&topic, &topic, 0).await?;
        scene.create(deployment(name, 1)).await?;
        let at_once = json!({"stabilizationWindowSeconds": 0});
        scene
            .create(json!({
                "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "metadata": {"name": name},
                "spec": {"priority": priority, "stages": [{
                    "name": "work", "replicas": {"min": 1, "max": 12}, "target": {"name": name},
                    "behavior": {"scaleUp": at_once, "scaleDown": at_once},
                    "sources": [kafka(broker, &[&topic], &topic, json!({"perReplica": 10}))],
                }]},
            }))
            .await?;
    }
    let status = async || -> Result<Value> {
        let text = cluster.kubectl(&["get", "capacitybudget", namespace, "-o", "json"]).await?;
        Ok(serde_json::from_str::<Value>(&text)?["status"].clone())
    };

    // It wishes eight of ten, and nobody else asks for them.
    broker.send(&format!("{namespace}-bills"), None, 80).await?;
    scene.until_moved(("bills", 1, 8), SOON).await?;
    scene.until_condition("bills", ("CapacityShort", "False", "RoomForAll"), SOON).await?;

    // Who comes first wishes six: two are free, and the other gives four back.
    broker.send(&format!("{namespace}-orders"), None, 60).await?;
    scene.until_moved(("orders", 1, 6), SOON).await?;
    scene.until_moved(("bills", 1, 4), SOON).await?;
    scene.until_condition("bills", ("CapacityShort", "True", "OverBudget"), SOON).await?;
    let told = scene
        .until("the budget to tell of it", SOON, async || {
            let status = status().await?;
            let gave = json!([{"pipeline": format!("{namespace}/bills"), "replicas": 4}]);
            ensure!(status["gaveWay"] == gave && status["used"]["cpu"] == "10", "{status}");
            Ok(Some(status))
        })
        .await?;
    assert_eq!(told["conditions"][0]["reason"], "GaveWay", "{told}");
    let stage = scene.stage("bills").await?;
    let said = stage.reasons.last().context("a reason")?;
    assert!(
        said.sentence
            .ends_with(&format!("leaves 4 of 8 replicas: {namespace}/orders is served first")),
        "{}",
        said.sentence
    );

    // More is allowed: nobody gives way any more.
    cluster.apply("default", &budget(namespace, "16").to_string()).await?;
    scene.until_moved(("bills", 1, 8), SOON).await?;
    scene.until_condition("bills", ("CapacityShort", "False", "RoomForAll"), SOON).await?;
    scene
        .until("the budget to hold", SOON, async || {
            let status = status().await?;
            ensure!(status["gaveWay"].as_array().is_none_or(Vec::is_empty), "{status}");
            Ok(Some(()))
        })
        .await
}
