//! The examples of the operators' kinds: what their READMEs say must be there before is applied as it is printed, an operator works there, and
//! the count that the README states is reached.

use anyhow::{Context, Result};
use penstock::demo::traffic::Work;
use serde_json::{Value, json};

use crate::examples::apply;
use crate::levers::operators::definitions;
use crate::levers::operators::flink::Flink;
use crate::levers::operators::numaflow::Numaflow;
use crate::levers::operators::ray::Ray;
use crate::levers::operators::scales::Echo;
use crate::levers::operators::yard::Yard;
use crate::levers::yard;
use crate::rig::{Redis, shared, until};
use crate::scene::{Crew, SOON, Scene};

/// Applies what a README says must be there before: its blocks of YAML.
async fn before(yard: &Yard, example: &str) -> Result<()> {
    let path = format!("{}/deploy/examples/{example}/README.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).context(path)?;
    let mut blocks = 0;
    for block in text.split("\n```yaml\n").skip(1) {
        let (block, _) = block.split_once("\n```").context("a block without an end")?;
        let objects = serde_saphyr::from_multiple::<Value>(block)?.into_iter();
        // Values of the chart, and parts of an object, are none.
        for mut object in objects.filter(|object| object["kind"].is_string()) {
            object["metadata"]["namespace"] = json!(yard.namespace);
            yard.create(&object).await?;
            blocks += 1;
        }
    }
    anyhow::ensure!(blocks > 0, "{example} says nothing of before");
    Ok(())
}

/// A topic of this name on the shared broker, with so many messages that nobody has read.
async fn unread(scene: &Scene, topic: &str, messages: u64) -> Result<Crew> {
    let broker = shared::broker().await?;
    broker.topic(topic, 24).await?;
    // Nobody works: no pod has this label.
    let crew = scene.consume(broker, "nobody", Work::on(topic, topic, 1.0))?;
    let producer = crew.producer(topic)?;
    producer.add(messages);
    until("all messages to be there", SOON, async || {
        Ok((producer.confirmed() >= messages).then_some(()))
    })
    .await?;
    producer.stop().await;
    Ok(crew)
}

/// What the address in the manifests becomes.
async fn at_our_broker() -> Result<[(&'static str, String); 1]> {
    Ok([("kafka.kafka:9092", shared::broker().await?.bootstrap().clone())])
}

#[tokio::test]
async fn the_example_of_argo_rollouts_reaches_its_count() -> Result<()> {
    let scene = Scene::open("example-rollouts").await?;
    let mut yard = yard(&scene).await?;
    yard.define(&definitions::rollout()).await?;
    before(&yard, "argo-rollouts").await?;
    let version = "argoproj.io/v1alpha1";
    yard.employ(Echo::of(&yard, (version, "Rollout"), "render"));
    let trail = yard.follow(&yard.api(version, "Rollout"), "render", "/spec/replicas").await?;
    let crew = unread(&scene, "pages", 600).await?;
    apply(&scene, "argo-rollouts", &at_our_broker().await?).await?;
    yard.until_gone(&trail, &json!([1, 12])).await?;
    crew.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_example_of_spark_reaches_its_count() -> Result<()> {
    let scene = Scene::open("example-spark").await?;
    let mut yard = yard(&scene).await?;
    yard.define(&definitions::scheduled_spark_application()).await?;
    before(&yard, "spark").await?;
    let api = yard.api("sparkoperator.k8s.io/v1beta2", "ScheduledSparkApplication");
    let pointer = "/spec/template/executor/instances";
    let trail = yard.follow(&api, "sessions", pointer).await?;
    let crew = unread(&scene, "clicks", 1_500).await?;
    apply(&scene, "spark", &at_our_broker().await?).await?;
    yard.until_gone(&trail, &json!([2, 15])).await?;
    crew.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_example_of_flink_reaches_its_count_without_a_restart() -> Result<()> {
    let scene = Scene::open("example-flink").await?;
    let mut yard = yard(&scene).await?;
    yard.define(&definitions::flink_deployment()).await?;
    before(&yard, "flink").await?;
    yard.employ(Flink::of(&yard, "score"));
    let api = yard.api("flink.apache.org/v1beta1", "FlinkDeployment");
    let pointer = "/spec/flinkConfiguration/job.autoscaler.vertex.max-parallelism";
    let trail = yard.follow(&api, "score", pointer).await?;
    let crew = unread(&scene, "payments", 2_000).await?;
    apply(&scene, "flink", &at_our_broker().await?).await?;
    yard.until_gone(&trail, &json!(["4", "20"])).await?;
    crew.stop().await;
    yard.is_unharmed()
}

#[tokio::test]
async fn the_example_of_numaflow_reaches_its_count() -> Result<()> {
    let scene = Scene::open("example-numaflow").await?;
    let mut yard = yard(&scene).await?;
    yard.define(&definitions::vertex("MonoVertex")).await?;
    before(&yard, "numaflow").await?;
    yard.employ(Numaflow::of(&yard, "MonoVertex", "enrich"));
    let api = yard.api("numaflow.numaproj.io/v1alpha1", "MonoVertex");
    let trail = yard.follow(&api, "enrich", "/spec/replicas").await?;
    let crew = unread(&scene, "readings", 700).await?;
    apply(&scene, "numaflow", &at_our_broker().await?).await?;
    yard.until_gone(&trail, &json!([1, 7])).await?;
    crew.stop().await;
    yard.is_unharmed()
}

#[tokio::test]
async fn the_example_of_argo_workflows_reaches_its_count() -> Result<()> {
    let server = Redis::start(&[]).await?;
    for number in 0..300 {
        server.tell(&format!("LPUSH files {number}")).await?;
    }
    let scene = Scene::open("example-workflows").await?;
    let mut yard = yard(&scene).await?;
    before(&yard, "argo-workflows").await?;
    let api = yard.api("v1", "ConfigMap");
    let slots = yard.follow(&api, "semaphores", "/data/import").await?;
    let other = yard.follow(&api, "semaphores", "/data/export").await?;
    apply(&scene, "argo-workflows", &[("redis.shop:6379", server.address())]).await?;
    yard.until_gone(&slots, &json!(["1", "12"])).await?;
    yard.until_gone(&other, &json!(["2"])).await
}

#[tokio::test]
async fn the_example_of_ray_reaches_its_count() -> Result<()> {
    let server = Redis::start(&[]).await?;
    for number in 0..240 {
        server.tell(&format!("LPUSH texts {number}")).await?;
    }
    let scene = Scene::open("example-ray").await?;
    let mut yard = yard(&scene).await?;
    yard.define(&definitions::ray_cluster()).await?;
    before(&yard, "ray").await?;
    yard.employ(Ray::of(&yard, "embed"));
    let api = yard.api("ray.io/v1", "RayCluster");
    let trail = yard.follow(&api, "embed", "/spec/workerGroupSpecs/1/replicas").await?;
    let other = yard.follow(&api, "embed", "/spec/workerGroupSpecs/0/replicas").await?;
    apply(&scene, "ray", &[("redis.shop:6379", server.address())]).await?;
    yard.until_gone(&trail, &json!([1, 6])).await?;
    for number in 0..200 {
        server.tell(&format!("LPUSH texts {number}")).await?;
    }
    yard.until_gone(&trail, &json!([1, 6, 8])).await?;
    let said = yard.until("what stops it", async || {
        let stage = yard.stage("embeddings").await?;
        let reason = stage["reasons"].as_array().and_then(|all| all.last()).cloned();
        Ok(reason.filter(|reason| reason["code"] == "TargetLimit"))
    });
    let said = said.await?.to_string();
    anyhow::ensure!(said.contains("maxReplicas of this worker group is 8"), "{said}");
    yard.until_gone(&other, &json!([2])).await?;
    yard.is_unharmed()
}
