//! Prices of nodes as OpenCost tells them, through a real Prometheus: what a pool and a stage cost follows from them, and where nobody knows
//! there is no figure.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::beside::exporter;
use crate::rig::{Prometheus, shared};
use crate::scene::{SOON, Scene, workload};

/// What OpenCost exports of these nodes and their prices: its own words, labels and all. One has the price 0 that it knows nothing of.
pub(crate) fn opencost(nodes: &[(&str, f64)]) -> String {
    let series = |metric: &str, node: &str, value: f64| {
        format!(
            "{metric}{{arch=\"amd64\",instance=\"{node}\",instance_type=\"m5.2xlarge\",node=\"{node}\",provider_id=\"i-0c1\",region=\"eu-west-1\"}} {value}\n"
        )
    };
    let each = |metric: &str, part: f64| -> String {
        nodes.iter().map(|(node, price)| series(metric, node, price * part)).collect()
    };
    [
        "# HELP node_cpu_hourly_cost node_cpu_hourly_cost hourly cost for each cpu on this node\n# TYPE node_cpu_hourly_cost gauge\n",
        &each("node_cpu_hourly_cost", 0.08),
        "# HELP node_total_hourly_cost node_total_hourly_cost Total node cost per hour\n# TYPE node_total_hourly_cost gauge\n",
        &each("node_total_hourly_cost", 1.0),
    ]
    .concat()
}

/// A Prometheus that scrapes this, and puts labels of its own before those of what it scrapes, as it does unless told otherwise.
pub(crate) async fn scraping(text: &str) -> Result<(Prometheus, JoinSet<()>)> {
    let (port, tasks) = exporter(Arc::new(Mutex::new(text.to_owned()))).await?;
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs:\n\
         - job_name: opencost\n  \
           static_configs: [{{targets: [\"127.0.0.1:{port}\"], labels: {{node: control}}}}]\n"
    );
    Ok((Prometheus::with_config(&config).await?, tasks))
}

#[tokio::test]
async fn a_pool_and_a_stage_cost_what_opencost_says_of_their_nodes() -> Result<()> {
    let cluster = shared::cluster().await?;
    let scene = Scene::open("prices").await?;
    // A node, a pool and a connection lie in no namespace; they are called as this one.
    let name = scene.namespace.as_str();
    let (knows, _exporter) = scraping(&opencost(&[(name, 0.384), ("unpriced", 0.0)])).await?;
    knows.scraped("node_total_hourly_cost").await?;
    let (knows_not, _other) = scraping("up_to_date 1\n").await?;
    let make = async |object: Value| cluster.apply("default", &object.to_string()).await;
    let room = json!({"cpu": "8", "memory": "32Gi", "pods": "110"});
    make(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"pool": name}, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        // Other tests share the cluster.
        "spec": {"taints": [{"key": "pool", "value": name, "effect": "NoSchedule"}]},
        "status": {"capacity": room, "allocatable": room},
    }))
    .await?;
    let connection = |name: &str, to: &Prometheus| {
        json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ClusterConnection", "metadata": {"name": name},
            "spec": {"prometheus": {"url": to.url()}},
        })
    };
    let ignorant = format!("{name}-ignorant");
    make(connection(name, &knows)).await?;
    make(connection(&ignorant, &knows_not)).await?;
    let pool = |connection: &str| {
        json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": name},
            "spec": {
                "class": "OnDemand", "nodeSelector": {"pool": name},
                "price": {"source": "OpenCost", "connectionRef": {"name": connection}},
            },
        })
    };
    make(pool(name)).await?;
    // Two pods of two cores each: half of the node.
    let requests = json!({"cpu": "2", "memory": "1Gi"});
    let on = json!({"nodeSelector": {"pool": name}, "tolerations": [{"key": "pool", "operator": "Exists"}]});
    scene.create(workload("Deployment", "worker", 2, &requests, on)).await?;
    let pods = json!({"name": "pods", "workload": {"selector": {"matchLabels": {"app": "worker"}}, "perReplica": 1}});
    let stage = json!({"target": {"name": "worker"}, "replicas": {"max": 2}, "sources": [pods]});
    scene.pipeline("work", stage).await?;

    let status = async || -> Result<Value> {
        let text = cluster.kubectl(&["get", "cpool", name, "-o", "json"]).await?;
        Ok(serde_json::from_str::<Value>(&text)?["status"].clone())
    };
    scene
        .until("the pool to cost what OpenCost says", SOON, async || {
            let status = status().await?;
            ensure!(status["costPerHour"] == "0.38", "{status}");
            Ok(Some(()))
        })
        .await?;
    assert_eq!(status().await?["conditions"][0]["reason"], "Serving");
    scene
        .until("the stage to cost half of it", SOON, async || {
            let (_, metrics) = scene.daemon.get("/metrics").await?;
            let told = metrics.lines().find(|it| it.starts_with("penstock_stage_cost_per_hour{"));
            let told = told.context("no cost of the stage")?;
            let cost: f64 = told.rsplit(' ').next().unwrap_or_default().parse()?;
            ensure!((cost - 0.192).abs() < 1e-6, "{told}");
            Ok(Some(()))
        })
        .await?;

    // Somebody is asked who knows nothing of nodes: no figure, and why.
    make(pool(&ignorant)).await?;
    let told = scene
        .until("nobody to know what it costs", SOON, async || {
            let status = status().await?;
            ensure!(status["costPerHour"].is_null(), "{status}");
            let told = status["conditions"][0].clone();
            ensure!(told["status"] == "False" && told["reason"] == "EmptyAnswer", "{status}");
            Ok(told["message"].as_str().map(str::to_owned))
        })
        .await?;
    ensure!(told.starts_with("what its nodes cost is not known: "), "{told}");
    scene
        .until("the stage to have no figure either", SOON, async || {
            let (_, metrics) = scene.daemon.get("/metrics").await?;
            Ok((!metrics.contains("penstock_stage_cost_per_hour{")).then_some(()))
        })
        .await?;
    for (kind, name) in [
        ("cpool", name),
        ("clusterconnection", name),
        ("clusterconnection", &ignorant),
        ("node", name),
    ] {
        cluster.kubectl(&["delete", kind, name, "--wait=false"]).await?;
    }
    Ok(())
}
