//! Pods that grow under a stage: the real recommender of the Vertical Pod Autoscaler says what they should request, they are made anew with that,
//! and Penstock learns what they get through now. Played on the cluster of `metered`, which serves metrics.k8s.io.

use anyhow::{Context, Result, ensure};
use penstock::demo::traffic::{Load, Work};
use serde_json::{Value, json};

use crate::examples::apply;
use crate::rig::{Cluster, Recommender, shared};
use crate::scene::{SOON, Scene};

/// Items a second of a pod before and after.
const BEFORE: f64 = 25.0;
const AFTER: f64 = 60.0;

/// Four consumers with half a core each, until `size` and `cpu` are others. What a pod gets through hangs on its label, as in truth on its CPU.
fn worker(size: &str, cpu: &str) -> Value {
    let container = json!({
        "name": "worker", "image": "none", "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}},
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "worker"},
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": {"app": "worker"}},
            "template": {
                "metadata": {"labels": {"app": "worker", "size": size}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            },
        },
    })
}

/// Its example, with the CPU that the recommender names: pods use 900 thousandths of a core each.
pub(crate) async fn resized_pods_are_learned_anew(cluster: &Cluster, scene: &Scene) -> Result<()> {
    let broker = shared::broker().await?;
    let topic = &scene.namespace;
    broker.topic(topic, 12).await?;
    scene.create(worker("small", "500m")).await?;
    let small = scene.consume(broker, "worker,size=small", Work::on(topic, topic, BEFORE))?;
    let large = scene.consume(broker, "worker,size=large", Work::on(topic, topic, AFTER))?;
    let producer = small.sending(topic, Load::steady(60.0))?;
    producer.add(4000);
    let recommender = Recommender::start(cluster, &scene.namespace).await?;
    let replaced = [
        ("kafka.shop:9092", broker.bootstrap()),
        ("topics: [orders], group: worker", format!("topics: [{topic}], group: {topic}")),
    ];
    apply(scene, "vpa", &replaced).await?;
    let rate =
        async || -> Result<Option<f64>> { Ok(scene.stage("orders").await?.rate_per_replica) };
    let before = scene
        .until("the rate to be learned", SOON * 2, async || {
            Ok(rate().await?.filter(|rate| (rate / BEFORE - 1.0).abs() < 0.2))
        })
        .await?;

    let target = "jsonpath={.status.recommendation.containerRecommendations[0].target.cpu}";
    let named = ["-n", &scene.namespace, "get", "vpa", "worker", "-o", target];
    let cpu = scene
        .until("a recommendation", SOON * 2, async || {
            let cpu = cluster.kubectl(&named).await?;
            Ok(Some(cpu.trim().to_owned()).filter(|cpu| !cpu.is_empty()))
        })
        .await
        .with_context(|| recommender.process().log().unwrap_or_default())?;
    let cores = match cpu.strip_suffix('m') {
        Some(thousandths) => thousandths.parse::<f64>()? / 1000.0,
        None => cpu.parse()?,
    };
    ensure!((0.8..2.0).contains(&cores), "{cpu} are recommended, and pods use 900m");

    // By what was learned four are needed for long; by what is true soon, fewer. Work waits all the while.
    let mut resized = worker("large", &cpu);
    resized["spec"].as_object_mut().context("a spec")?.remove("replicas");
    producer.add(8000);
    scene.change(resized).await?;
    scene
        .until("the large ones at work", SOON, async || Ok((large.count() == 4).then_some(())))
        .await?;
    let after = scene
        .until("the rate to be learned anew", SOON * 2, async || {
            Ok(rate().await?.filter(|rate| 1.1 * before < *rate))
        })
        .await?;
    // One lesson and no creeping towards it.
    ensure!((after / AFTER - 1.0).abs() < 0.25, "{before} were learned first, and then {after}");
    assert_eq!(scene.moves("worker", 4)?, [0_u32; 0], "nothing was taken away before that");
    producer.stop().await;
    small.stop().await;
    large.stop().await;
    Ok(())
}
