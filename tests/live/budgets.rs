//! A budget over two pipelines on a real control plane: who is served first, who gives way, and what is said of it; and a ceiling that is
//! raised again; a quota that pods and room share. Judged by what the API server recorded of who wrote what.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::{Timestamp, ToSpan};
use penstock::clock::Clock;
use serde_json::{Value, json};

use crate::examples::apply;
use crate::rig::{Penstock, shared};
use crate::scene::{SOON, Scene, kafka, workload};

/// Pods that request one CPU each.
fn deployment(name: &str, replicas: u32) -> Value {
    workload("Deployment", name, replicas, &json!({"cpu": "1"}), json!({}))
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

fn quota(cpu: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "compute"},
        "spec": {"hard": {"requests.cpu": cpu, "pods": "50"}},
    })
}

/// Two pipelines, of which the first is served first, each with a Deployment of pods of one CPU.
async fn two(scene: &Scene) -> Result<()> {
    let (broker, namespace) = (shared::broker().await?, scene.namespace.as_str());
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
    Ok(())
}

/// What binds a stage now, in words.
async fn said(scene: &Scene, pipeline: &str) -> Result<String> {
    let stage = scene.stage(pipeline).await?;
    Ok(stage.reasons.last().context("a reason")?.sentence.clone())
}

#[tokio::test]
async fn the_example_of_priorities_reaches_its_counts() -> Result<()> {
    let scene = Scene::open("example-priorities").await?;
    let budget = [
        ("{name: shop}", format!("{{name: {}}}", scene.namespace)),
        ("metadata.name: shop", format!("metadata.name: {}", scene.namespace)),
    ];
    gives_way(&scene, "priorities", &budget, "OverBudget").await
}

#[tokio::test]
async fn the_example_of_quotas_reaches_its_counts() -> Result<()> {
    let scene = Scene::open_with("example-quotas", &["--heed-quotas"]).await?;
    scene.create(deployment("other", 2)).await?;
    gives_way(&scene, "quotas", &[], "OverQuota").await
}

/// Who keeps room on the shared cluster has a class of its own: the chart's belongs to who installs it.
const ROOM: &str = "example-headroom";

#[tokio::test]
async fn the_example_of_headroom_shares_the_room_that_a_quota_leaves() -> Result<()> {
    let cluster = shared::cluster().await?;
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": ROOM},
        "value": -10, "preemptionPolicy": "Never",
    });
    cluster.apply("default", &class.to_string()).await?;
    let scene =
        Scene::open_with(ROOM, &["--heed-quotas", "--headroom-priority-class", ROOM]).await?;
    let broker = shared::broker().await?;
    let topic = |name: &str| format!("{}-{name}", scene.namespace);
    for (name, target) in [("orders", "book"), ("bills", "print")] {
        broker.topic(&topic(name), 12).await?;
        broker.commit(&topic(name), &topic(name), 0).await?;
        scene.create(deployment(target, 1)).await?;
    }
    // The peak is in half an hour, whatever the time is; pods that are said to take longer have room from now on.
    let now = Clock::start().now();
    let cron = |at: Timestamp| at.strftime("%-M %-H * * *").to_string();
    let (start, end) = (now.checked_add(30.minutes())?, now.checked_add(3.hours())?);
    let soon = format!("start: \"{}\", end: \"{}\", timeZone: UTC", cron(start), cron(end));
    let at_eight = "start: \"0 8 * * 1-5\", end: \"0 18 * * 1-5\", timeZone: Europe/Berlin";
    let slow = "replicas: {min: 1, max: 20}\n    startup: 50m";
    let replaced = [
        ("kafka.shop:9092", broker.bootstrap()),
        ("topics: [orders], group: book", format!("topics: [{0}], group: {0}", topic("orders"))),
        ("topics: [bills], group: print", format!("topics: [{0}], group: {0}", topic("bills"))),
        (at_eight, soon),
        ("replicas: {min: 1, max: 20}", slow.to_owned()),
    ];
    apply(&scene, "headroom", &replaced).await?;
    until_placed(&scene, [("orders-book", 5), ("bills-print", 5)]).await?;

    // Real pods come, and take room of both: each of them is made, and so is all room that is kept.
    broker.send(&topic("bills"), None, 40).await?;
    scene.until_moved(("print", 1, 4), SOON).await?;
    until_placed(&scene, [("orders-book", 4), ("bills-print", 3), ("print", 4), ("book", 1)]).await
}

/// Waits until the Deployments of these names, or what their names begin with before `-room`, have so many pods, all of them Ready.
async fn until_placed<const N: usize>(scene: &Scene, wanted: [(&str, i64); N]) -> Result<()> {
    let ask = ["-n", &scene.namespace, "get", "deployments", "-o", "json"];
    scene
        .until(&format!("{wanted:?} to stand"), 2 * SOON, async || {
            let list = shared::cluster().await?.kubectl(&ask).await?;
            let list: Value = serde_json::from_str(&list)?;
            let stand: BTreeMap<_, _> = list["items"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|it| {
                    let name = it["metadata"]["name"].as_str().unwrap_or_default();
                    let name = name.split("-room-").next().unwrap_or_default().to_owned();
                    let count = |path: &str| it.pointer(path).and_then(Value::as_i64);
                    (name, (count("/spec/replicas"), count("/status/readyReplicas")))
                })
                .collect();
            for (name, count) in wanted {
                let is_there = stand.get(name) == Some(&(Some(count), Some(count)));
                ensure!(is_there, "{stand:?}");
            }
            Ok(Some(()))
        })
        .await
}

/// Eighty bills, and then sixty orders: who prints has eight of ten, and then gives four back to who books.
async fn gives_way(
    scene: &Scene,
    example: &str,
    more: &[(&str, String)],
    reason: &str,
) -> Result<()> {
    let broker = shared::broker().await?;
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
        ("kafka.shop:9092", broker.bootstrap()),
        ("topics: [orders], group: book", format!("topics: [{0}], group: {0}", topic("orders"))),
        ("topics: [bills], group: print", format!("topics: [{0}], group: {0}", topic("bills"))),
    ];
    apply(scene, example, &[&replaced[..], more].concat()).await?;
    broker.send(&topic("bills"), None, 80).await?;
    scene.until_moved(("print", 1, 8), SOON).await?;
    broker.send(&topic("orders"), None, 60).await?;
    // With a quota not before the other has given it back.
    scene.until_moved(("book", 1, 6), 3 * SOON).await?;
    scene.until_condition("bills", ("CapacityShort", "True", reason), SOON).await?;
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
    two(&scene).await?;
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
    let said = said(&scene, "bills").await?;
    let end = format!("leaves 4 of 8 replicas: {namespace}/orders is served first");
    assert!(said.ends_with(&end), "{said}");

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

/// Killed when one has grown at the expense of another, which may not have given way yet, a daemon leaves that to the next.
#[tokio::test]
async fn a_daemon_that_is_killed_while_one_gives_way_to_another_leaves_the_budget_to_the_next()
-> Result<()> {
    let cluster = shared::cluster().await?;
    let scene = Scene::open("budgets-killed").await?;
    let (broker, namespace) = (shared::broker().await?, scene.namespace.as_str());
    cluster.apply("default", &budget(namespace, "10").to_string()).await?;
    two(&scene).await?;
    broker.send(&format!("{namespace}-bills"), None, 80).await?;
    scene.until_moved(("bills", 1, 8), SOON).await?;
    broker.send(&format!("{namespace}-orders"), None, 60).await?;
    scene.until_any_move("orders", 1).await?;
    scene.daemon.process().kill9();
    let killed = Clock::start().now();
    let here = ["--namespace", namespace, "--lease-namespace", namespace];
    let next = Penstock::run(cluster.kubeconfig(), &here).await?;
    // As without: each moves once, and no more.
    assert_eq!(scene.until_moved(("orders", 1, 6), SOON).await?, [6]);
    assert_eq!(scene.until_moved(("bills", 1, 4), SOON).await?, [8, 4]);
    scene.until_condition("bills", ("CapacityShort", "True", "OverBudget"), SOON).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((scene.moves("orders", 1)?, scene.moves("bills", 1)?), (vec![6], vec![8, 4]));
    // Nothing that was written since leaves more than the budget allows.
    let mut writes = scene.writes("bills")?;
    writes.extend(scene.writes("orders")?);
    writes.sort_by_key(|write| write.at);
    let mut asked = BTreeMap::from([("bills".to_owned(), 1), ("orders".to_owned(), 1)]);
    for write in writes {
        asked.insert(write.name, write.replicas.context("a write without its answer")?);
        let all = asked.values().sum::<u32>();
        ensure!(write.at < killed || all <= 10, "{asked:?}");
    }
    next.stop().await?;
    Ok(())
}

/// The same by a quota of the namespace, which the API server keeps: what is written is never more than it lets be made.
#[tokio::test]
async fn a_quota_is_shared_by_priority_and_never_asked_for_more_than_it_has_left() -> Result<()> {
    let scene = Scene::open_with("quotas", &["--heed-quotas"]).await?;
    let (broker, namespace) = (shared::broker().await?, scene.namespace.as_str());
    scene.create(quota("12")).await?;
    // Somebody else takes two of the twelve.
    scene.create(deployment("other", 2)).await?;
    two(&scene).await?;
    let left = "pipelines have 10 of its 12 requests.cpu";
    broker.send(&format!("{namespace}-bills"), None, 80).await?;
    scene.until_moved(("bills", 1, 8), SOON).await?;
    scene.until_condition("bills", ("CapacityShort", "False", "RoomForAll"), SOON).await?;

    // Who comes first wishes six: two are free at once, and the rest as soon as the other has given them back.
    broker.send(&format!("{namespace}-orders"), None, 60).await?;
    scene.until_moved(("orders", 1, 6), SOON).await?;
    assert_eq!(scene.until_moved(("bills", 1, 4), SOON).await?.last(), Some(&4));
    scene.until_condition("bills", ("CapacityShort", "True", "OverQuota"), SOON).await?;
    let told = said(&scene, "bills").await?;
    let expected = format!(
        "ResourceQuota compute leaves 4 of 8 replicas: {left}, and {namespace}/orders is served first"
    );
    assert_eq!(told, expected);
    // At no time was more asked for than it has: by what the API server recorded of both, in the order of time.
    let mut writes = scene.writes("bills")?;
    writes.extend(scene.writes("orders")?);
    writes.sort_by_key(|write| write.at);
    let mut asked = BTreeMap::from([("bills".to_owned(), 1), ("orders".to_owned(), 1)]);
    for write in writes {
        asked.insert(write.name, write.replicas.context("a write without its answer")?);
        assert!(asked.values().sum::<u32>() <= 10, "{asked:?}");
    }
    // Every pod that was asked for is there.
    scene
        .until("all pods to be made", SOON, async || {
            for (name, count) in [("bills", 4), ("orders", 6)] {
                let stage =
                    scene.view(name).await?.stages.into_iter().next().context("no stage")?;
                ensure!(stage.replicas.ready == Some(count), "{name}: {:?}", stage.replicas);
            }
            Ok(Some(()))
        })
        .await?;

    // The owner allows more.
    scene.change(quota("18")).await?;
    scene.until_moved(("bills", 1, 8), SOON).await?;
    scene.until_condition("bills", ("CapacityShort", "False", "RoomForAll"), SOON).await?;
    Ok(())
}
